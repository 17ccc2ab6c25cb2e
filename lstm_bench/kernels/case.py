"""A cell of the kernel benchmark: one shape of one recurrent network in one precision, and what it costs at least.

The network is `layers` recurrent layers of `units`, each returning its whole sequence, and nothing else. A cell is a plain
dict of `AXES`, so that it travels as JSON; sequences that differ in length have `lengths` besides, the name of a distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstm_bench.core.errors import ConfigError, nearest
from lstm_bench.core.vocabulary import LAYERS, SIZES


def name(cell: Mapping[str, Any]) -> str:
    """Identity of a cell, `lstm-1x64-t28-f28-b64-float32`; behind it the distribution of lengths, where they differ."""
    named = "{layer}-{layers}x{units}-t{timesteps}-f{features}-b{batch}-{dtype}".format(**cell)
    return f"{named}-{cell['lengths']}" if cell.get("lengths") else named


def maker(cell: Mapping[str, Any]) -> str:
    """Which layer maker of `model/kernel.py` the network is made with."""
    return str(cell["layer"]).removeprefix("bidirectional_")


def directions(cell: Mapping[str, Any]) -> int:
    """Times that each layer runs over its sequence: 2 when bidirectional."""
    return 2 if cell["layer"] == "bidirectional_lstm" else 1


def widths(cell: Mapping[str, Any]) -> list[int]:
    """Features that go into each layer."""
    return [cell["features"], *[directions(cell) * cell["units"]] * (cell["layers"] - 1)]


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
