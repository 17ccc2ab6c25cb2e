"""Small estimators: a mean with its t interval, quantiles. Values that are not finite are left out and not counted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple


class Interval(NamedTuple):
    """A mean with the half-width of its confidence interval.

    Attributes:
      mean: NaN for no values.
      half_width: NaN for fewer than two values: one run has no interval.
      n: Values that were counted.
    """

    mean: float
    half_width: float
    n: int


def finite(values: Iterable[float]) -> list[float]:
    """The finite values, sorted: a sum over them does not depend on the order of the rows."""
    return sorted(v for v in map(float, values) if math.isfinite(v))


def t_interval(values: Iterable[float], level: float = 0.95) -> Interval:
    """Mean and two-sided Student t interval of independent values.

    Args:
      values: One per seed.
      level: Confidence, 0 < level < 1.

    Returns:
      `Interval(mean, half_width, n)`, half-width t(n - 1) * s / sqrt(n) with the unbiased s.

    Source: Student 1908; t is `scipy.special.stdtrit`.
    """
    known = finite(values)
    n = len(known)
    if n == 0:
        return Interval(math.nan, math.nan, 0)
    mean = math.fsum(known) / n
    if n == 1:
        return Interval(mean, math.nan, 1)
    from scipy.special import stdtrit  # a third of a second: not for those who only ask for --help

    variance = math.fsum((v - mean) ** 2 for v in known) / (n - 1)
    return Interval(mean, float(stdtrit(n - 1, (1 + level) / 2)) * math.sqrt(variance / n), n)


def quantile(values: Iterable[float], q: float) -> float:
    """Quantile `q` in 0..1, linear between neighbours; NaN for no values."""
    known = finite(values)
    if not known:
        return math.nan
    place = q * (len(known) - 1)
    low = math.floor(place)
    high = min(low + 1, len(known) - 1)
    return known[low] + (known[high] - known[low]) * (place - low)


def median(values: Iterable[float]) -> float:
    """Middle value, NaN for no values."""
    return quantile(values, 0.5)
