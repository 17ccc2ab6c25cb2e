"""A family of a test's own: an LSTM and a dense head, the same outputs in training and inference."""

from __future__ import annotations

from typing import Any


def family(input_shape: Any, n_classes: int, lstm: Any, *, return_sequences: bool = False) -> Any:
    from keras import Input, Sequential, layers

    return Sequential([Input(input_shape), lstm(6, return_sequences=return_sequences), layers.Dense(n_classes)])
