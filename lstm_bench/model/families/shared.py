"""What the families share: the arguments that all of them have, documented once, and the layers that they end in."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from lstm_bench.model import kernel
from lstm_bench.model.signature import Shape

if TYPE_CHECKING:
    import keras

_Family = TypeVar("_Family", bound=Callable[..., Any])
_ARGUMENTS = {
    "input_shape": "`(timesteps, features)`, without the batch axis.",
    "n_classes": "Number of classes, at least 2.",
    **dict.fromkeys(kernel.LAYERS, "Layer maker of the chosen kernel."),
    "batch_norm": "Whether batch normalisation follows the recurrent layer.",
    "return_sequences": "Whether there are logits for every timestep.",
    "masked": "Whether sequences differ in length, and a mask is passed.",
}
_RETURNS = "Returns:\n  Uncompiled model: `(batch, timesteps, features)` -> logits `(batch, n_classes)`."


def documented(family: _Family) -> _Family:
    """Completes the section `Args:` of a family's docstring, and adds `Returns:`, with what all families share.

    The function writes down the arguments that are its own, and any other of which there is more to say.
    """
    sections = inspect.cleandoc(family.__doc__ or "").split("\n\n")
    index = next((i for i, section in enumerate(sections) if section.startswith("Args:\n")), None)
    if index is not None:  # python -OO leaves no docstring
        known = _ARGUMENTS | dict(re.findall(r"^  (\w+): (.*(?:\n    .*)*)", sections[index], re.MULTILINE))
        lines = [f"  {name}: {known[name]}" for name in inspect.signature(family).parameters]
        sections[index : index + 1] = ["\n".join(["Args:", *lines]), _RETURNS]
        family.__doc__ = "\n\n".join(sections)
    return family


def with_head(input_shape: Shape, n_classes: int, *body: keras.layers.Layer, batch_norm: bool = False) -> keras.Model:
    """The layers `body` in a row, batch normalisation where asked for, and a dense layer that gives the logits."""
    from keras import Input, Sequential, layers

    between = [layers.BatchNormalization()] if batch_norm else []
    return Sequential([Input(input_shape), *body, *between, layers.Dense(n_classes)])
