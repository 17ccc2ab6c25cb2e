"""Domination among points of several objectives: the front, and when a trial is stopped because of it.

Optuna prunes studies of one objective only. Our rule for several, `pruner=dominated`: after an epoch, a trial is stopped when a
COMPLETE trial was, after the same epoch, at least as good on every objective known so far and better on one. Known so far are
the validation metrics of the epoch, the number of weights, and the training throughput until then. As with the median pruner,
the first `pruner.n_startup_trials` complete trials are never stopped, nor is any in its first `pruner.n_warmup_epochs` epochs,
nor after its last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Point = tuple[float | None, ...]


def oriented(values: Mapping[str, Any], objectives: Mapping[str, str]) -> Point:
    """Coordinates by objective, more being better; None where an objective is not known.

    Args:
      values: Objective -> value, among others.
      objectives: Objective -> maximize or minimize.
    """
    found = ((values.get(name), direction) for name, direction in objectives.items())
    return tuple(None if value is None else (value if way == "maximize" else -value) for value, way in found)


def dominates(one: Point, other: Point) -> bool:
    """Whether `one` is at least as good on every coordinate that both know, and better on one of them."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


class Front:
    """Points that no other one dominates, each with what it belongs to; equal points are all kept."""

    def __init__(self) -> None:
        self._kept: list[tuple[Point, Any]] = []

    def add(self, point: Point, item: Any = None) -> None:
        """Adds a complete point, and lets go of those that it dominates."""
        if not self.dominates(point):
            self._kept = [kept for kept in self._kept if not dominates(point, kept[0])]
            self._kept.append((point, item))

    def dominates(self, point: Point) -> bool:
        """Whether a point of the front dominates `point`, as far as that is known.

        Looking at the front alone is enough: what a point off the front dominates, one on it does too.
        """
        return any(dominates(kept, point) for kept, _ in self._kept)

    def items(self) -> Sequence[Any]:
        """What the points of the front belong to, in the order of their arrival."""
        return [item for _, item in self._kept]
