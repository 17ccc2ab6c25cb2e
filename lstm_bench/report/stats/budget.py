"""The score that a budget buys: expected best of n random trials, and the best so far of any search."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from lstm_bench.core.statistics import finite, weighted_sums

_NEGLIGIBLE = 40  # weights below exp(-40) of the largest are less than a rounding error


def expected_best(values: Iterable[float], budgets: Sequence[int] | None = None, maximize: bool = True) -> np.ndarray:
    """Expected best of n of the N values of a random search, without bias, for many n at once.

    The mean of the best over all subsets of n values, computed from order statistics: the value of rank i from below is
    the largest of C(i - 1, n - 1) of the C(N, n) subsets. Dodge et al. 2019 draw with replacement instead, which is
    biased towards too little. O(N log N) for all n, since the weights of low ranks vanish.

    Args:
      values: Validation scores of independent trials of one random search without pruning: the estimator assumes that
        they are draws from one distribution. Those that are not finite are left out.
      budgets: The n, each in 1..N; all of them by default.
      maximize: Whether the best is the largest.

    Returns:
      One expected score per budget.

    Raises:
      ValueError: for a budget outside 1..N.

    Source: Tang et al. 2020, "Showing Your Work Doesn't Always Work", arXiv 2004.13705; Dodge et al. 2019,
    "Show Your Work", arXiv 1909.03004.
    """
    known = np.array(finite(values))
    budgets = range(1, len(known) + 1) if budgets is None else budgets
    return _expected(known[::-1] if maximize else known, budgets)


def expected_best_interval(
    values: Iterable[float],
    budgets: Sequence[int],
    maximize: bool = True,
    *,
    level: float = 0.95,
    resamples: int = 400,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap interval of `expected_best`: trials resampled, lowest and highest score per budget.

    As n comes near N all resamples have the same few best trials: there the interval is too narrow, and at n = N nothing
    better than the best trial is imagined (Tang et al. 2020 find such intervals poor).

    Args:
      values: As of `expected_best`.
      budgets: The n, each in 1..N.
      maximize: Whether the best is the largest.
      level: Confidence, 0 < level < 1.
      resamples: Of the bootstrap.
      seed: Of the bootstrap.
    """
    known = np.array(finite(values))
    ranked = known[::-1] if maximize else known
    drawn = np.random.default_rng(seed).integers(0, len(known), size=(len(known), resamples))
    drawn.sort(axis=0)  # ranks of a resample, the best first
    each = _expected(ranked[drawn], budgets)
    low, high = np.quantile(each, ((1 - level) / 2, (1 + level) / 2), axis=1)
    return low, high


def _expected(ranked: np.ndarray, budgets: Sequence[int]) -> np.ndarray:
    """Expected best per budget of values `(N, ...)`, the best first."""
    total = len(ranked)
    made = np.empty((len(budgets), *ranked.shape[1:]))
    for index, n in enumerate(budgets):
        if not 1 <= n <= total:
            raise ValueError(f"a budget is in 1..{total}, not {n}")
        # Of the k-th best: n / N * prod_{j < k} (N - n - j) / (N - 1 - j), which falls at least as (1 - (n - 1) / N)^k.
        ranks = total - n + 1 if n == 1 else min(total - n + 1, math.ceil(_NEGLIGIBLE * total / (n - 1)) + 1)
        below = np.arange(ranks - 1)
        weights = np.concatenate([[1.0], np.cumprod((total - n - below) / (total - 1 - below))]) * (n / total)
        if ranked.ndim == 1:
            made[index] = math.fsum(weights * ranked[:ranks])
        else:
            made[index] = weighted_sums(weights, ranked[:ranks])
    return made


def ladder(total: int, most: int = 60) -> list[int]:
    """Budgets 1..total: all where they are few, else `most` or fewer at equal distances of their logarithm, ends included."""
    if total <= most:
        return list(range(1, total + 1))
    return sorted({round(math.exp(math.log(total) * k / (most - 1))) for k in range(most)})


def running_best(values: Iterable[float], maximize: bool = True) -> list[tuple[int, float]]:
    """Where a search got better: index of the trial, from 0, and its score; values that are not finite never are.

    It says what one search found, not what another of that length would: where trials follow each other's lead, or
    are pruned, there is no expectation to estimate from a single one.
    """
    steps: list[tuple[int, float]] = []
    for index, value in enumerate(values):
        if math.isfinite(value) and (not steps or (value > steps[-1][1] if maximize else value < steps[-1][1])):
            steps.append((index, value))
    return steps
