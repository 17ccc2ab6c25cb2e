"""Two configurations over the same seeds: their difference with intervals and p-values, and several such pairs at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from lstm_bench.core.statistics import Estimate, Interval, finite, t_interval, weighted_sums
from lstm_bench.report.stats.bootstrap import Span, bootstrap_interval, improvement

_ALL_FLIPS = 16  # seeds up to which every assignment of signs is counted
_FLIPS = 100_000  # drawn beyond that


class Paired(NamedTuple):
    """What the values of two configurations say of their difference.

    Attributes:
      difference: First less second over the common seeds, with its t interval.
      bootstrap: Percentile interval of the same mean.
      p_exact: Of the sign-flip test.
      p_t: Of the paired t test.
      improvement: Probability that a run of the first is higher than one of the second, over all pairs of runs.
    """

    difference: Interval
    bootstrap: Span
    p_exact: float
    p_t: float
    improvement: Estimate


def paired(first: Mapping[int, float], second: Mapping[int, float], level: float = 0.95, seed: int = 0) -> Paired:
    """Compares two configurations that were trained with the same seeds.

    Args:
      first: Seed -> score. Seeds that only one side has, or with a score that is not finite, count for `improvement`
        alone.
      second: Likewise.
      level: Confidence of the intervals, 0 < level < 1.
      seed: Of the bootstraps.

    Source: Student 1908 (the t interval and test of paired differences); see `sign_flip` and `bootstrap`.
    """
    differences = finite(first[k] - second[k] for k in sorted(set(first) & set(second)))
    return Paired(
        t_interval(differences, level),
        bootstrap_interval(differences, level, seed=seed),
        sign_flip(differences),
        t_test(differences),
        improvement(first.values(), second.values(), level, seed=seed),
    )


def sign_flip(differences: Iterable[float]) -> float:
    """Two-sided p-value of the hypothesis that each paired difference is as likely to be negative as positive.

    The share of all 2^n assignments of signs whose mean is at least as far from zero as the observed one. It assumes
    nothing but that symmetry, and no normal distribution, which five seeds could not show. The price is its floor,
    `floor(n)`: with five seeds no p-value is below 1/16, however large the difference. Beyond 16 seeds 100,000 drawn
    assignments stand for all, the observed one counted among them.

    Args:
      differences: One per seed. Those that are not finite are left out; NaN for none.

    Source: Fisher 1935, The Design of Experiments, section 21; for drawn assignments Phipson & Smyth 2010.
    """
    known = np.array(finite(differences))
    n = len(known)
    if n == 0:
        return math.nan
    if n <= _ALL_FLIPS:
        signs = 1 - 2 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1)  # the other half mirrors these
        extra = 0
    else:
        signs, extra = 1 - 2 * np.random.default_rng(0).integers(0, 2, size=(_FLIPS, n)), 1
    edge = abs(math.fsum(known)) - 1e-12 * math.fsum(abs(known))  # sums that are equal but for rounding are equal
    as_far = int(np.count_nonzero(abs(weighted_sums(signs.T, known)) >= edge))
    return (as_far + extra) / (len(signs) + extra)


def floor(n: int) -> float:
    """Smallest p-value that `sign_flip` can give with `n` seeds."""
    return 2.0 ** (1 - n) if 0 < n <= _ALL_FLIPS else 1 / (_FLIPS + 1) if n else math.nan


def t_test(differences: Iterable[float]) -> float:
    """Two-sided p-value of the paired t test, which takes the differences to be normal.

    NaN for fewer than two, and for equal ones: seeds that all differ by the same, such as by one sample of a small test
    set, show no spread that a difference could be held against.
    """
    known = finite(differences)
    mean, _, n = t_interval(known)
    if n < 2:
        return math.nan
    from scipy.special import stdtr

    error = math.sqrt(math.fsum((v - mean) ** 2 for v in known) / (n - 1) / n)
    if error <= 1e-12 * abs(mean):  # or but for rounding
        return 1.0 if mean == 0 else math.nan
    return 2 * float(stdtr(n - 1, -abs(mean) / error))
