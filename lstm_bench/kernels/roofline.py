"""What a case needs at least: weights, operations, bytes, memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lstm_bench.kernels.case import directions

_GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1, "bidirectional_lstm": 4}
_BIASES = {"lstm": 1, "gru": 2, "simple_rnn": 1, "bidirectional_lstm": 1}  # of each gate


def _inputs(cell: Mapping[str, Any]) -> int:
    """The sum of `widths`, also of as many layers as records from elsewhere may claim."""
    return int(cell["features"] + directions(cell) * cell["units"] * (cell["layers"] - 1))


def n_weights(cell: Mapping[str, Any]) -> int:
    """Weights of the network, biases included (one per gate, two in a GRU, which resets after the product)."""
    units, gates, each = cell["units"], _GATES[cell["layer"]], cell["units"] + _BIASES[cell["layer"]]
    return int(directions(cell) * gates * units * (_inputs(cell) + cell["layers"] * each))


def flop_per_sample(cell: Mapping[str, Any], operation: str) -> int:
    """Floating-point operations of one sequence: the matrix products alone, a multiplication and an addition each.

    Forward, every timestep of a layer multiplies its input and its state by the kernels of all gates. Backward, each of
    these products has two: for the kernel and for what came in. forward_backward is therefore 3 forwards; train_step
    leaves out the gradient of the network's own inputs, which training does not need.
    """
    product = 2 * directions(cell) * _GATES[cell["layer"]] * cell["units"] * cell["timesteps"]
    forward = product * (_inputs(cell) + cell["layers"] * cell["units"])
    return {
        "inference": forward,
        "forward_backward": 3 * forward,
        "train_step": 3 * forward - product * cell["features"],
    }[operation]


def bytes_per_step(cell: Mapping[str, Any], operation: str) -> int:
    """Least bytes that one step moves to and from memory, were everything between them kept on the chip.

    Weights are float32 in every precision. inference: weights and inputs in, outputs out. forward_backward: weights,
    inputs and the outputs' gradient in, the gradients of weights and inputs out. train_step: inputs and the outputs'
    gradient in, weights and Adam's two moments in and out.
    """
    weights, inputs = 4 * n_weights(cell), 4 * cell["batch"] * cell["timesteps"] * cell["features"]
    outputs = cell["batch"] * cell["timesteps"] * directions(cell) * cell["units"]
    return {
        "inference": weights + inputs + outputs * (2 if cell["dtype"] == "bfloat16" else 4),
        "forward_backward": 2 * weights + 2 * inputs + 4 * outputs,
        "train_step": 6 * weights + inputs + 4 * outputs,
    }[operation]


def memory_mib(cell: Mapping[str, Any]) -> int:
    """Rough need of the hungriest operation: what automatic differentiation keeps of every timestep, and the reference.

    Per timestep, direction and unit the gates, a state or two and their gradients; weights, gradients, Adam's moments and
    a copy; the same in float64 for the reference.
    """
    kept = cell["batch"] * cell["timesteps"] * directions(cell) * cell["units"] * cell["layers"]
    activations = kept * (2 * _GATES[cell["layer"]] + 4)
    edges = cell["batch"] * cell["timesteps"] * (cell["features"] + 2 * directions(cell) * cell["units"])
    return math.ceil((4 + 8) * (activations + edges + 6 * n_weights(cell)) / 2**20)
