"""Domination among points of several objectives: the front, and when a trial is stopped because of it.

Optuna prunes studies of one objective only. Our rule for several, `pruner=dominated`: after an epoch, a trial is stopped when a
COMPLETE trial was, after the same epoch, at least as good on every objective known so far and better on one. Known so far are
the validation metrics of the epoch, the number of weights, and the training throughput until then. As with the median pruner,
the first `pruner.n_startup_trials` complete trials are never stopped, nor is any in its first `pruner.n_warmup_epochs` epochs,
nor after its last one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

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


def front(points: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """Indices of the points that no other dominates, in the order given.

    A point dominates another that is no better in any objective and worse in one. Equal points do not dominate each
    other: all of them are on the front, or none. A point with a value that is not finite is not on it.

    Args:
      points: One value per objective each.
      directions: `maximize` or `minimize` per objective.

    Raises:
      ValueError: for another direction, or a point of another length.

    """
    kept = Front()
    costs = _costs(points, directions)
    for index in np.lexsort(costs.T[::-1]):  # the best first: what is kept is let go of by none that follows
        if np.isfinite(costs[index]).all():
            kept.add(tuple(-costs[index]), int(index))
    return sorted(kept.items())


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float], directions: Sequence[str]) -> float:
    """Volume between the points and `reference`: what at least one of them dominates. Exact.

    Cut into slabs along the last objective, down to one objective: quick for two and three, and for few points in more.

    Args:
      points: One value per objective each. Those that are not better than the reference in every objective add nothing.
      reference: A point that is worse than all that counts; it sets the unit, so state it beside the volume.
      directions: `maximize` or `minimize` per objective.

    Raises:
      ValueError: for another direction, or a point of another length.

    Source: Zitzler & Thiele 1998 (the measure); While et al. 2006 (by slicing objectives).
    """
    costs = _costs(points, directions)
    gains = _costs([reference], directions) - costs
    return _volume(gains[(gains > 0).all(axis=1) & np.isfinite(gains).all(axis=1)])


def _costs(points: Sequence[Sequence[float]], directions: Sequence[str]) -> np.ndarray:
    """Points as an array of which less is better."""
    for direction in directions:
        if direction not in ("maximize", "minimize"):
            raise ValueError(f"a direction is maximize or minimize, not {direction}")
    if any(len(point) != len(directions) for point in points):
        raise ValueError(f"a point has {len(directions)} values, one per direction")
    signs = np.array([1.0 if direction == "minimize" else -1.0 for direction in directions])
    return np.array(points, dtype=float).reshape(-1, len(directions)) * signs


def _volume(gains: np.ndarray) -> float:
    """Volume of the union of the boxes from zero to each of the rows."""
    if not len(gains):
        return 0.0
    if gains.shape[1] == 1:
        return float(gains.max())
    gains = gains[np.argsort(-gains[:, -1], kind="stable")]
    if gains.shape[1] == 2:  # a step for every point that is wider than those above it
        widest = np.maximum.accumulate(gains[:, 0])
        return math.fsum(widest * (gains[:, 1] - np.append(gains[1:, 1], 0.0)))
    edges = np.append(gains[1:, -1], 0.0)
    heights = gains[:, -1] - edges
    return math.fsum(_volume(gains[: k + 1, :-1]) * float(height) for k, height in enumerate(heights) if height > 0)
