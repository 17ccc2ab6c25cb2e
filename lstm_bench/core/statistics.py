"""Small estimators: a mean with its t interval, quantiles, a ratio of medians, a share. What is not finite is left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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


class Ratio(NamedTuple):
    """A ratio of medians with its confidence interval.

    Attributes:
      ratio: Median of the one over median of the other; NaN where they share no round.
      low: End of the interval; NaN for fewer than two rounds: one round says nothing about the next.
      high: Likewise.
    """

    ratio: float
    low: float
    high: float


def ratio_interval(
    above: Mapping[int, Sequence[float]],
    below: Mapping[int, Sequence[float]],
    *,
    level: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> Ratio:
    """Ratio of two medians, with an expanded percentile interval from a bootstrap of rounds, then of samples within them.

    A percentile interval of so few rounds is far too narrow (with three, about 80 % instead of 95 % where processes differ
    more than samples). Expanded: cut off where the t of that many rounds would, with its sqrt(n / (n - 1)).

    A round drawn is drawn for both, since they ran side by side: what a round does to both is not noise of their ratio.
    What samples of one process share (its memory layout, its clocks) differs between rounds: resampling samples alone
    would hide it.

    Args:
      above: Round -> positive values, such as samples per second.
      below: Likewise, of what it is compared with.
      level: Confidence, 0 < level < 1.
      resamples: Of the bootstrap.
      seed: Of the bootstrap.

    Source: Davison & Hinkley 1997, Bootstrap Methods and their Application, section 3.8 (hierarchical data); Hesterberg 2015,
    "What Teachers Should Know About the Bootstrap" (expanded percentile interval).
    """
    import numpy as np
    from scipy.special import ndtr, stdtrit

    rounds = sorted(r for r in set(above) & set(below) if len(above[r]) and len(below[r]))
    if not rounds:
        return Ratio(math.nan, math.nan, math.nan)
    sides = [[np.sort(np.asarray(side[r], dtype=float)) for r in rounds] for side in (above, below)]
    ratio = float(np.median(np.concatenate(sides[0])) / np.median(np.concatenate(sides[1])))
    if len(rounds) < 2:
        return Ratio(ratio, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(rounds), size=(resamples, len(rounds)))
    medians = []
    for side in sides:
        sizes = np.array([len(values) for values in side])
        padded = np.full((len(side), sizes.max()), math.nan)
        for row, values in zip(padded, side, strict=True):
            row[: len(values)] = values
        places = np.arange(sizes.max())
        chosen = np.floor(rng.random((*drawn.shape, sizes.max())) * sizes[drawn][..., None]).astype(int)
        values = np.where(places < sizes[drawn][..., None], padded[drawn[..., None], chosen], math.nan)
        medians.append(np.nanmedian(values.reshape(resamples, -1), axis=1))
    n = len(rounds)
    tail = float(ndtr(math.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 - level) / 2)))
    low, high = np.quantile(medians[0] / medians[1], (tail, 1 - tail))
    return Ratio(ratio, float(low), float(high))


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
