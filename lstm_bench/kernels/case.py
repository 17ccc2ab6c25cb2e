"""A cell of the kernel benchmark: one shape of one recurrent network in one precision, and what it costs at least.

The network is `layers` recurrent layers of `units`, each returning its whole sequence, and nothing else. A cell is a plain
dict of `AXES`, so that it travels as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lstm_bench.core.errors import ConfigError, nearest
from lstm_bench.core.vocabulary import LAYERS, SIZES

_GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1, "bidirectional_lstm": 4}
_BIASES = {"lstm": 1, "gru": 2, "simple_rnn": 1, "bidirectional_lstm": 1}  # of each gate


def name(cell: Mapping[str, Any]) -> str:
    """Identity of a cell, `lstm-1x64-t28-f28-b64-float32`."""
    return "{layer}-{layers}x{units}-t{timesteps}-f{features}-b{batch}-{dtype}".format(**cell)


def maker(cell: Mapping[str, Any]) -> str:
    """Which layer maker of `kernel.py` the network is made with."""
    return str(cell["layer"]).removeprefix("bidirectional_")


def directions(cell: Mapping[str, Any]) -> int:
    """Times that each layer runs over its sequence: 2 when bidirectional."""
    return 2 if cell["layer"] == "bidirectional_lstm" else 1


def widths(cell: Mapping[str, Any]) -> list[int]:
    """Features that go into each layer."""
    return [cell["features"], *[directions(cell) * cell["units"]] * (cell["layers"] - 1)]


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


def check(path: str, cell: Mapping[str, Any]) -> None:
    """Raises ConfigError when a cell, found at the configuration's `path`, cannot be meant."""
    if cell["layer"] not in LAYERS:
        remedy = nearest(str(cell["layer"]), LAYERS)
        raise ConfigError(
            f"{path}.layer", expected="one of " + ", ".join(LAYERS), received=cell["layer"], remedy=remedy
        )
    for axis in SIZES:
        if not isinstance(cell[axis], int) or isinstance(cell[axis], bool) or cell[axis] < 1:
            raise ConfigError(f"{path}.{axis}", expected="a whole number of at least 1", received=cell[axis])
