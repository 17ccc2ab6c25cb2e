"""The outputs of a family for one sequence alone, layer by layer in NumPy, float64: no batch, no mask, no padding."""

from __future__ import annotations

from typing import Any

import keras
import layer_reference
import numpy as np

from lstm_bench.kernels import reference
from lstm_bench.model.layers import LayerNormLSTMCell, MinGRU, Windows

KINDS = {keras.layers.LSTM: "lstm", keras.layers.GRU: "gru", keras.layers.SimpleRNN: "simple_rnn"}


def outputs(model: Any, x: np.ndarray) -> np.ndarray:
    """Of a Sequential model for `x` (timesteps, features), as it is after training: nothing is dropped."""
    found = x.astype(np.float64)
    for layer in model.layers:
        found = _layer(layer, found)
    return found


def _layer(layer: Any, x: np.ndarray) -> np.ndarray:
    layers, weights = keras.layers, [np.asarray(w, np.float64) for w in layer.get_weights()]
    if isinstance(layer, layers.Dropout | layers.InputLayer):
        return x
    if isinstance(layer, keras.Sequential):
        return outputs(layer, x)
    if isinstance(layer, layers.TimeDistributed):
        return np.stack([_layer(layer.layer, part) for part in x])
    if isinstance(layer, layers.Bidirectional):
        y, units = _recurrent("bidirectional_lstm", weights, x), layer.forward_layer.units
        return y if layer.return_sequences else np.concatenate([y[-1, :units], y[0, units:]])
    if isinstance(layer, layers.RNN | MinGRU):
        if isinstance(layer, MinGRU):
            y = layer_reference.min_gru(x[None], weights)[0]
        elif isinstance(layer.cell, LayerNormLSTMCell):
            y = layer_reference.layer_norm_lstm(x[None], weights, layer.cell.epsilon)[0]
        else:
            y = _recurrent(next(name for kind, name in KINDS.items() if isinstance(layer, kind)), weights, x)
        return y if layer.return_sequences else y[-1]
    if isinstance(layer, layers.BatchNormalization):
        gain, bias, mean, variance = weights
        return (x - mean) / np.sqrt(variance + layer.epsilon) * gain + bias
    if isinstance(layer, layers.Dense):
        return _activated(layer, x @ weights[0] + weights[1])
    if isinstance(layer, layers.Conv1D):
        return _activated(layer, _convolved(x, *weights))
    if isinstance(layer, layers.Conv2D):
        return _activated(layer, _convolved(x, *weights))
    if isinstance(layer, layers.ReLU):
        return np.maximum(x, 0)
    if isinstance(layer, layers.GlobalAveragePooling1D):
        return np.asarray(x.mean(axis=0))
    if isinstance(layer, layers.MaxPooling2D):
        sides = [slice(0, size - size % side) for size, side in zip(x.shape, layer.pool_size, strict=False)]
        x = x[*sides]
        rows, columns = layer.pool_size
        return np.asarray(x.reshape(len(x) // rows, rows, x.shape[1] // columns, columns, -1).max(axis=(1, 3)))
    if isinstance(layer, layers.Flatten):
        return x.ravel()
    assert isinstance(layer, Windows), layer
    x = np.concatenate([x, np.zeros((-len(x) % layer.window, x.shape[1]))])
    return x.reshape(-1, layer.window, x.shape[1], 1)


def _recurrent(kind: str, weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    width = weights[1].shape[0] * (1 + (kind == "bidirectional_lstm"))
    return reference.gradients({"layer": kind}, weights, x[None], np.zeros((1, len(x), width)))[0][0]


def _convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Along all axes but the last, with zeros around: "same"."""
    sides = kernel.shape[:-2]
    padded = np.pad(x, [((side - 1) // 2, side // 2) for side in sides] + [(0, 0)])
    seen = np.lib.stride_tricks.sliding_window_view(padded, sides, axis=tuple(range(len(sides))))
    return np.moveaxis(seen, len(sides), -1).reshape(*x.shape[:-1], -1) @ kernel.reshape(-1, kernel.shape[-1]) + bias


def _activated(layer: Any, x: np.ndarray) -> np.ndarray:
    name = layer.activation.__name__
    assert name in ("linear", "relu"), name
    return np.maximum(x, 0) if name == "relu" else x
