"""The equations of the papers behind `lstm_bench.model.layers`, timestep by timestep in NumPy, float64."""

from __future__ import annotations

import numpy as np


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def normal(z: np.ndarray, gain: np.ndarray, bias: np.ndarray | float, epsilon: float) -> np.ndarray:
    """LN(z; gain, bias) of Ba et al. 2016, eq. 15-16 of the supplement."""
    return (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + epsilon) * gain + bias


def layer_norm_lstm(x: np.ndarray, weights: list[np.ndarray], epsilon: float) -> np.ndarray:
    """States h (batch, timesteps, units) of eq. 20-22; weights in the order of `LayerNormLSTMCell`."""
    kernel, recurrent, bias, kernel_gain, recurrent_gain, state_gain, state_bias = weights
    h = c = np.zeros((len(x), len(recurrent)))
    states = []
    for t in range(x.shape[1]):
        z = normal(h @ recurrent, recurrent_gain, 0, epsilon) + normal(x[:, t] @ kernel, kernel_gain, 0, epsilon) + bias
        i, f, g, o = np.split(z, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(normal(c, state_gain, state_bias, epsilon))
        states.append(h)
    return np.stack(states, axis=1)


def min_gru(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """States h (batch, timesteps, units) of Feng et al. 2024; weights in the order of `MinGRU`."""
    kernel, bias = weights
    units = kernel.shape[1] // 2
    h, states = np.zeros((len(x), units)), []
    for t in range(x.shape[1]):
        z = sigmoid(x[:, t] @ kernel[:, :units] + bias[:units])
        h = (1 - z) * h + z * (x[:, t] @ kernel[:, units:] + bias[units:])
        states.append(h)
    return np.stack(states, axis=1)
