"""Small estimators: a mean with its t interval, quantiles, a ratio of medians, a share. What is not finite is left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


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


class Estimate(NamedTuple):
    """A value with the ends of its confidence interval, which need not lie around it; NaN for what there is not."""

    value: float
    low: float
    high: float


def finite(values: Iterable[float]) -> list[float]:
    """The finite values, sorted: a sum over them does not depend on the order of the rows."""
    return sorted(v for v in map(float, values) if math.isfinite(v))


def mean(values: Iterable[float]) -> float:
    """Mean of the finite values, summed exactly; NaN of none."""
    known = finite(values)
    return math.fsum(known) / len(known) if known else math.nan


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
    position = q * (len(known) - 1)
    low = math.floor(position)
    high = min(low + 1, len(known) - 1)
    return known[low] + (known[high] - known[low]) * (position - low)


def median(values: Iterable[float]) -> float:
    """Middle value, NaN for no values."""
    return quantile(values, 0.5)


def deviation(values: Iterable[float]) -> float:
    """Standard deviation, with n - 1 below; NaN for fewer than two values."""
    known = finite(values)
    if len(known) < 2:
        return math.nan
    mean = math.fsum(known) / len(known)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in known) / (len(known) - 1))


def weighted_sums(weights: Any, values: Any) -> Any:
    """Sum over k of `weights[k] * values[k]`, in the order of k.

    A product of matrices and a sum of NumPy take an order that depends on the processor, and with it the last bits; one
    product and one addition after another do not.

    Args:
      weights: A sequence of numbers, or of arrays (resamples,).
      values: Likewise, as long; at least one of the two holds arrays.
    """
    total = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        total = total + weight * value
    return total


class Share(NamedTuple):
    """A share of counted samples, such as an accuracy, with what their number leaves open.

    Attributes:
      error: Standard error, sqrt(p (1 - p) / n).
      low: End of the 95 % interval.
      high: Likewise.
    """

    error: float
    low: float
    high: float


def sampling_error(accuracy: float, n_test: float) -> Share:
    """What a finite test set leaves open of the accuracy of one trained network: another such set gives another figure.

    It does not shrink with more seeds, since all of them are judged by the same samples; and since they are the same,
    it weighs less on the difference of two networks than on either.

    Args:
      accuracy: Fraction, 0..1. A mean over seeds stands for the network that has it.
      n_test: Independent test samples, at least 1.

    Returns:
      Standard error and 95 % Wilson interval; NaN where one of the two is unknown.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if not (0 <= accuracy <= 1 and n_test >= 1):  # NaN as well
        return Share(math.nan, math.nan, math.nan)
    z = 1.959963984540054  # of the normal distribution, 97.5 %
    middle = (accuracy + z * z / (2 * n_test)) / (1 + z * z / n_test)
    half = z / (1 + z * z / n_test) * math.sqrt(accuracy * (1 - accuracy) / n_test + z * z / (4 * n_test**2))
    return Share(math.sqrt(accuracy * (1 - accuracy) / n_test), max(0.0, middle - half), min(1.0, middle + half))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for being several, in the order given.

    Those at most alpha may be called shown, and the chance that any of them is not so is at most alpha, whatever the
    tests have to do with each other. The k-th smallest of m is multiplied by m - k + 1, and none is left below one
    that was smaller.

    Args:
      p_values: In 0..1. NaN, where there was no test, stays NaN and is not counted.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    adjusted = [math.nan] * len(p_values)
    order = sorted((p, k) for k, p in enumerate(p_values) if not math.isnan(p))
    largest = 0.0
    for rank, (p, k) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[k] = largest
    return adjusted
