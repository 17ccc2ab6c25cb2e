"""Several objectives at once: which points nothing else beats in all of them, and the volume that they dominate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def front(points: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """Indices of the points that no other dominates, in the order given.

    A point dominates another that is no better in any objective and worse in one. Equal points do not dominate each
    other: all of them are on the front, or none. A point with a value that is not finite is not on it.

    Args:
      points: One value per objective each.
      directions: `maximize` or `minimize` per objective.

    Raises:
      ValueError: for another direction, or a point of another length.

    Source: Kung, Luccio & Preparata 1975 (sort first: a point can be dominated only by those before it).
    """
    costs = _costs(points, directions)
    good = np.isfinite(costs).all(axis=1)
    order = [k for k in np.lexsort(costs.T[::-1]) if good[k]]
    kept: list[int] = []
    best = np.empty((len(order), costs.shape[1]))
    for k in order:
        before = best[: len(kept)]
        if not ((before <= costs[k]).all(axis=1) & (before < costs[k]).any(axis=1)).any():
            best[len(kept)] = costs[k]
            kept.append(int(k))
    return sorted(kept)


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
