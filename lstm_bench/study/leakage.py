"""What a score would lose if groups, or the past and the future, were kept apart: a small model under two splits.

The model is a ridge on MiniRocket's features and on summaries. Once it meets sequences of groups, or times, that it has learned
from, and once it does not; everything else is the same, fold by fold: sizes, and how many of each class. What is left is what
the split is worth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lstm_bench.model import linear, minirocket
from lstm_bench.study.pool import Pool

FOLDS = 5
ROUNDS = 20  # random divisions: their spread is what chance does
LEVEL = 0.99
FEW_GROUPS = 6  # of fewer, nothing is said about groups to come
BINS = 5  # of numbers to predict, each divided evenly
_ERRORS = 2  # standard errors of a mean over groups that an interval has at least on each side


class Measured(NamedTuple):
    """What a split is worth.

    Attributes:
      by: `group` or `time`.
      random: Score under random splits: accuracy, or R2.
      apart: Score where groups, or the past and the future, are kept apart.
      low: End of the 99 % interval of `random - apart`.
      high: Likewise.
      n: Test sequences that both are means over.
      units: Groups, or stretches of time.
      rounds: Random divisions.
    """

    by: str
    random: float
    apart: float
    low: float
    high: float
    n: int
    units: int
    rounds: int

    @property
    def difference(self) -> float:
        """How much higher the score is under random splits."""
        return self.random - self.apart

    @property
    def alarm(self) -> bool:
        """Whether the interval is above 0."""
        return self.low > 0


def kernel(x: np.ndarray, lengths: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """Inner products float64 `(samples, samples)` of MiniRocket's features and of summaries, each as much.

    Args:
      x: float32 `(samples, timesteps, features)`.
      lengths: Timesteps of each; None for all.
      seed: Of MiniRocket's biases.
    """
    total = np.zeros((len(x), len(x)))
    for features in (minirocket.fit(x, seed, lengths)(x, lengths), linear.summaries(x, lengths)):
        features = features - features.mean(axis=0, dtype=np.float64)
        scale = features.std(axis=0)
        kept = scale > 1e-9
        features = (features[:, kept] / scale[kept]).astype(np.float32)
        total += features @ features.T / max(1, kept.sum())
    return total


def measure(
    pool: Pool,
    by: str,
    seeds: int,
    inner: np.ndarray | None = None,
    rounds: int = ROUNDS,
    score: Callable[[Plan], np.ndarray] | None = None,
) -> Measured:
    """A model under random splits and under splits that keep groups, or the past and the future, apart.

    A random split is one of the other kind whose sequences change places within their class: were groups of no account, the two
    could not be told from each other. So the spread over random splits says what chance does (the variance of correlated
    repeats is not divided by their number), and is exact where a group says nothing of its sequences but their class. Where it
    says more, but nothing that helps, whole groups are right or wrong by luck: with groups enough, the interval has at least
    two standard errors of the mean over groups on each side.

    Args:
      pool: The sequences.
      by: `group` or `time`.
      seeds: Ways of joining groups to folds.
      inner: `kernel(pool.x)`, where it is known.
      rounds: Random divisions.
      score: Of a plan: whether each sequence that is tested is right, of others NaN; None: the small model's.
    """
    strata = _strata(pool)
    score = _small(pool, inner) if score is None else score
    plans = [_plan(pool, by, seed, strata) for seed in range(seeds if by == "group" else 1)]
    if by == "time":
        units = _stretches(pool)
    else:
        assert pool.groups is not None
        units = np.unique(pool.groups, return_inverse=True)[1]
    apart = np.array([score(plan) for plan in plans])
    shuffled = []
    for number in range(rounds):
        rng = np.random.RandomState(1000 + number)
        rows = _shuffle(strata, rng)
        plan = [(rows[train], rows[test]) for train, test in plans[number % len(plans)]]
        shuffled.append(score(plan))
    random = np.array(shuffled)
    tested = ~np.isnan(apart).all(axis=0)
    means = np.nanmean(random, axis=1)
    mean_random, mean_apart = float(means.mean()), float(np.nanmean(apart[:, tested]))
    half = _t(rounds - 1) * float(means.std(ddof=1)) * math.sqrt(1 + 1 / rounds)
    seen = tested & ~np.isnan(random).all(axis=0)
    each = np.nanmean(random[:, seen], axis=0) - np.nanmean(apart[:, seen], axis=0)
    n_units = len(np.unique(units[seen]))
    if n_units >= FEW_GROUPS:
        sums = np.bincount(units[seen], each - each.mean())
        error = math.sqrt(n_units / (n_units - 1) * float(np.square(sums).sum())) / len(each)
        half = max(half, _ERRORS * error)
    difference = mean_random - mean_apart
    return Measured(
        by, mean_random, mean_apart, difference - half, difference + half, int(tested.sum()), n_units, rounds
    )


def _small(pool: Pool, inner: np.ndarray | None) -> Callable[[Plan], np.ndarray]:
    """What the small model comes to."""
    products = kernel(pool.x, pool.lengths) if inner is None else inner
    strength = _strength(products, _targets(pool))
    return lambda plan: _scores(pool, products, plan, strength)


def _t(freedom: int) -> float:
    """Half the width of an interval in standard errors."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def _targets(pool: Pool) -> np.ndarray:
    if pool.n_classes:
        return np.where(pool.y[:, None] == np.arange(pool.n_classes), 1.0, -1.0)
    return (pool.y[:, None] - pool.y.mean()) / (pool.y.std() or 1.0)


def _strata(pool: Pool) -> np.ndarray:
    """Classes, or a few ranges of numbers."""
    if pool.n_classes:
        return pool.y
    return np.searchsorted(np.quantile(pool.y, np.arange(1, BINS) / BINS), pool.y, side="right")


def _shuffle(strata: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """A permutation of rows that leaves each in its class."""
    rows = np.arange(len(strata))
    for label in np.unique(strata):
        mine = np.flatnonzero(strata == label)
        rows[mine] = mine[rng.permutation(len(mine))]
    return rows


def _strength(inner: np.ndarray, targets: np.ndarray) -> float:
    """Of the ridge: the best by leaving each sequence out in turn."""
    values, vectors = np.linalg.eigh(inner + 1)
    turned = vectors.T @ (targets - targets.mean(axis=0))
    best, error = 1.0, math.inf
    for strength in np.logspace(-3, 2, 11):
        left = 1 - np.square(vectors) @ (values / (values + strength))
        residual = vectors @ (turned * (strength / (values + strength))[:, None]) / np.maximum(left, 1e-9)[:, None]
        own = float(np.square(residual).mean())
        if own < error:
            best, error = float(strength), own
    return best


Plan = list[tuple[np.ndarray, np.ndarray]]  # rows to learn from, and to be tested on


def _plan(pool: Pool, by: str, seed: int, strata: np.ndarray) -> Plan:
    if by == "time":
        return _in_time(pool)
    assert pool.groups is not None
    of = np.unique(pool.groups, return_inverse=True)[1]
    n = int(of.max()) + 1
    folds = min(FOLDS, n)
    rng = np.random.RandomState(seed)
    counts = np.zeros((n, int(strata.max()) + 1))
    np.add.at(counts, (of, strata), 1)
    fold_of, have = np.zeros(n, np.int64), np.zeros((folds, counts.shape[1]))
    for group in sorted(rng.permutation(n).tolist(), key=lambda group: -counts[group].sum()):
        # Where it is missed most: of its classes, then of all.
        lacks = [(float((have[fold] * counts[group]).sum()), float(have[fold].sum())) for fold in range(folds)]
        fold = min(range(folds), key=lambda fold: lacks[fold])
        fold_of[group] = fold
        have[fold] += counts[group]
    fold_of_row = fold_of[of]
    return [(np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold)) for fold in range(folds)]


def _in_time(pool: Pool) -> Plan:
    """Stretch after stretch of the later half is foretold from all that lay before it; what reaches across is left out."""
    assert pool.first is not None and pool.last is not None
    order = np.argsort(pool.last, kind="stable")
    edges = np.linspace(len(order) / 2, len(order), FOLDS + 1).astype(int)
    plan: Plan = []
    for start, end in itertools.pairwise(edges):
        earlier, test = order[:start], order[start:end]
        train = earlier[pool.last[earlier] < pool.first[test].min()]
        if len(train) and len(test):
            plan.append((train, test))
    return plan


def _stretches(pool: Pool) -> np.ndarray:
    """Which of many stretches of time a sequence lies in: neighbours are alike, and count as one."""
    assert pool.last is not None
    rank = np.empty(len(pool.last), np.int64)
    rank[np.argsort(pool.last, kind="stable")] = np.arange(len(rank))
    return rank * min(40, max(2, len(rank) // 5)) // len(rank)


def _scores(pool: Pool, inner: np.ndarray, plan: Plan, strength: float) -> np.ndarray:
    """Whether each sequence that is tested is right; of numbers 1 less its squared error over their variance; of others NaN."""
    from scipy.linalg import cho_factor, cho_solve

    targets, made = _targets(pool), np.full(len(pool.y), math.nan)
    for train, test in plan:
        middle = targets[train].mean(axis=0)
        own = inner[np.ix_(train, train)] + 1
        own[np.diag_indices(len(train))] += strength
        solved = cho_solve(cho_factor(own, overwrite_a=True), targets[train] - middle)
        answers = (inner[np.ix_(test, train)] + 1) @ solved + middle
        if pool.n_classes:
            made[test] = answers.argmax(axis=1) == pool.y[test]
        else:
            made[test] = 1 - np.square(answers[:, 0] - targets[test, 0])
    return made
