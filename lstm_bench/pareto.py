"""Pareto fronts and their hypervolume, exact."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, ...]], directions: Sequence[str]) -> list[int]:
    """Places of the points that no other point dominates, in order.

    Args:
      points: Finite values, one per objective.
      directions: `maximize` or `minimize`, one per objective.

    Returns:
      Of equal points each; a point dominates another when it is nowhere worse and somewhere better.
    """
    rows = [tuple(-v if d == "maximize" else v for v, d in zip(p, directions, strict=True)) for p in points]
    kept: list[tuple[float, ...]] = []
    for row in sorted(set(rows)):  # whoever dominates a row comes before it
        if not any(all(a <= b for a, b in zip(other, row, strict=True)) for other in kept):
            kept.append(row)
    best = set(kept)
    return [place for place, row in enumerate(rows) if row in best]


def hypervolume(points: Sequence[tuple[float, ...]], reference: tuple[float, ...], directions: Sequence[str]) -> float:
    """Volume of what the points dominate and `reference` bounds, in the product of the objectives' units.

    Source: Zitzler & Thiele 1998; computed by slicing along the last objective.
    """
    signs = [-1 if d == "maximize" else 1 for d in directions]
    rows = [tuple(s * (r - v) for v, r, s in zip(p, reference, signs, strict=True)) for p in points]
    return _volume([row for row in rows if min(row) > 0])


def _volume(rows: Sequence[tuple[float, ...]]) -> float:
    """Of the union of boxes from the origin to each of `rows`."""
    if not rows:
        return 0.0
    if len(rows[0]) == 1:
        return max(row[0] for row in rows)
    total, ends = 0.0, sorted({row[-1] for row in rows}, reverse=True)
    for end, below in zip(ends, [*ends[1:], 0.0], strict=True):
        total += (end - below) * _volume([row[:-1] for row in rows if row[-1] >= end])
    return total
