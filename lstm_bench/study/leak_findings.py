"""What would flatter a score, whatever the model, found by sight: sequences in two splits, inputs that are the answer."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lstm_bench.study.pool import Pool

NEAR = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.15,
)  # of a feature's deviation: root mean square difference of sequences that are the same but for noise
APART = 0.2  # of the usual distance of the tenth nearest: at most likewise
GAP = 0.75  # share of the pairs within three times such a distance that are within it: between copies and others there is a gap
_MOST_PAIRS = 4_000  # sequences compared pair by pair
_HITS = 50  # places looked at where a window's beginning stands
_BY_FAR = 5  # standard deviations
COUNTS = 0.999  # rank correlation with the number of the row, from which on a column counts rows


class Finding(NamedTuple):
    """What was found by sight.

    Attributes:
      what: In a word or two, as `leak.csv` has it.
      says: A sentence.
      alarm: Whether a score is flattered by it; else it is worth knowing.
      n: Sequences concerned, of validation and test; 0 where a column is.
    """

    what: str
    says: str
    alarm: bool = True
    n: int = 0


def findings(pool: Pool) -> list[Finding]:
    """What would flatter a score, whatever the model: sequences in two splits, inputs that are the answer.

    Args:
      pool: The sequences, with `split`.
    """
    found = [*_copies(pool), *([*_overlaps(pool), *_answers(pool), *_rows(pool)] if pool.x.ndim > 2 else ())]
    return sorted(found, key=lambda one: not one.alarm)


def near(pool: Pool) -> np.ndarray:
    """Pairs `(pairs, 2)` of rows whose sequences are the same, or the same but for noise; of the first few thousand.

    Those whose difference is a small part of the features' deviation, and far below what is usual between neighbours, with a gap
    to those that are no copies: where a set is dense or smooth, neighbours are close and there is none. Of texts the same ones
    alone.
    """
    if pool.x.ndim == 2:
        of = np.unique(pool.x, axis=0, return_inverse=True)[1].reshape(-1)
        order = np.argsort(of, kind="stable")  # of equal ones those of the earliest splits first
        order = order[np.lexsort((np.zeros(len(of)) if pool.split is None else pool.split[order], of[order]))]
        first = order[np.searchsorted(of[order], of)]
        again = np.flatnonzero(first != np.arange(len(of)))
        return np.stack([first[again], again], axis=1)
    x = pool.x[:_MOST_PAIRS].astype(np.float64)
    scale = x.std(axis=(0, 1))
    flat = ((x - x.mean(axis=(0, 1))) / np.where(scale > 0, scale, 1)).reshape(len(x), -1)
    squares = np.square(flat).sum(axis=1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares - 2 * flat @ flat.T, 0) / flat.shape[1])
    np.fill_diagonal(distance, np.inf)
    tenth = min(10, len(x) - 2)
    usual = float(np.median(np.partition(distance, tenth, axis=1)[:, tenth])) if tenth > 0 else math.inf
    above = distance[np.triu_indices(len(x), 1)]
    border = 1e-6
    for most in NEAR:
        within = int((above < most).sum())
        if most <= APART * usual and within > 2 and within > GAP * int((above < 3 * most).sum()):
            border = most
    return np.argwhere(np.triu(distance < border))


def _copies(pool: Pool) -> list[Finding]:
    if pool.split is None:
        return []
    split, pairs = pool.split, near(pool)
    pairs = pairs[split[pairs[:, 0]] != split[pairs[:, 1]]]
    same = np.array([np.array_equal(pool.x[one], pool.x[other]) for one, other in pairs], bool)
    total, made = int((split > 0).sum()), []
    for what, mine, how, least in (
        ("exact duplicates", pairs[same], "value for value", 1),
        ("near duplicates", pairs[~same], "but for noise", 2),
    ):
        later = mine[np.arange(len(mine)), split[mine].argmax(axis=1)]
        if (n := len(np.unique(later))) >= least:
            says = (
                f"{n:,} of {total:,} validation and test sequences are those of an earlier split {how}: what is known by heart "
                "counts. Take them out, or keep them in one split by dataset.group=COLUMN."
            )
            made.append(Finding(what, says, n=n))
    return made


def _overlaps(pool: Pool) -> list[Finding]:
    """Windows that share timesteps with one of another split: by their times, else by their values."""
    if pool.split is None:
        return []
    timed = pool.first is not None and pool.recording is not None
    held_out = pool.split > 0
    n, total = int(((_share_time(pool) if timed else _share_values(pool)) & held_out).sum()), int(held_out.sum())
    if n < max(2, 0.01 * total):
        return []
    says = (
        f"{n:,} of {total:,} validation and test windows share timesteps with one of another split: they are half known. Say "
        "dataset.split=time, dataset.group=RECORDING, or leave dataset.stride out."
    )
    return [Finding("overlapping windows", says, n=n)]


def _share_time(pool: Pool) -> np.ndarray:
    assert pool.first is not None and pool.last is not None and pool.recording is not None and pool.split is not None
    shared = np.zeros(len(pool.x), bool)
    order = np.lexsort((pool.first, pool.recording))
    for step in range(1, len(order)):
        one, other = order[:-step], order[step:]
        meet = (pool.recording[one] == pool.recording[other]) & (pool.first[other] <= pool.last[one])
        if not meet.any():
            break
        apart = meet & (pool.split[one] != pool.split[other])
        shared[one[apart]] = shared[other[apart]] = True
    return shared


def _share_values(pool: Pool) -> np.ndarray:
    """Windows whose beginning stands within one of another split, value for value: cut before the file was written."""
    assert pool.split is not None
    n, timesteps, _ = pool.x.shape
    shared, length = np.zeros(n, bool), max(4, timesteps // 8)
    if timesteps < 2 * length:
        return shared
    keys = _block_keys(pool.x, length)
    telling = np.array([len(np.unique(head)) > max(3, length // 2) for head in pool.x[:, :length, 0]])
    within = keys[:, 1:].ravel()  # a beginning at the beginning is a copy, which is told otherwise
    order = np.argsort(within, kind="stable")
    left, right = (np.searchsorted(within[order], keys[:, 0], side=side) for side in ("left", "right"))
    for one in np.flatnonzero(telling & (right > left)):
        for hit in order[left[one] : min(right[one], left[one] + _HITS)].tolist():
            other, at = hit // (keys.shape[1] - 1), hit % (keys.shape[1] - 1) + 1
            different = pool.split[one] != pool.split[other]
            if different and np.array_equal(pool.x[one, : timesteps - at], pool.x[other, at:]):
                shared[one] = shared[other] = True
    return shared


def _block_keys(x: np.ndarray, length: int) -> np.ndarray:
    """A number uint64 for every `length` timesteps in a row, `(samples, timesteps - length + 1)`: equal for equal values."""
    rng = np.random.RandomState(0)
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    weights = rng.randint(1, 2**31, (length, x.shape[2])).astype(np.uint64) * np.uint64(2) + np.uint64(1)
    made = np.zeros((len(x), x.shape[1] - length + 1), np.uint64)
    for step in range(length):
        made += (bits[:, step : step + made.shape[1]] * weights[step]).sum(axis=2, dtype=np.uint64)
    return made


def _answers(pool: Pool) -> list[Finding]:
    """Inputs that are the target under another name."""
    made = []
    for index, name in enumerate(_names(pool)):
        values = pool.x[..., index].astype(np.float64)
        views = {"value": values[:, 0]}
        if not _static(values):
            views = {"first value": values[:, 0], "last value": values[:, -1], "mean": values.mean(axis=1)}
        told = next((f"its {view} {words}" for view, value in views.items() if (words := _is_target(value, pool))), "")
        if told:
            says = f"column {name}: {told}. Leave it out by dataset.features=[...]."
            made.append(Finding("a feature is the target", says))
    return made


def _is_target(value: np.ndarray, pool: Pool) -> str:
    """How a number for each sequence is its target, "" where it is not."""
    if np.ptp(value) == 0 or np.ptp(pool.y) == 0:
        return ""
    if not pool.n_classes:
        same = abs(float(np.corrcoef(value, pool.y)[0, 1]))
        return f"is the target but for a straight line (correlation {same:.4f})" if same >= COUNTS else ""
    codes, code = np.unique(np.round(value, 6), return_inverse=True)
    # A value for each class, without exception.
    if len(codes) == len(np.unique(pool.y)) == _pairs(code, pool.y):
        return "is the class, as another number"
    return ""


def _pairs(one: np.ndarray, other: np.ndarray) -> int:
    """Different pairs of whole numbers."""
    return len(np.unique(one.astype(np.int64) * (int(other.max()) + 1) + other))


def _rows(pool: Pool) -> list[Finding]:
    """Inputs that say which sequence it is, where that says the class; and files that are sorted by it."""
    made = []
    row = np.arange(len(pool.x)) if pool.row is None else pool.row
    what = "class" if pool.n_classes else "target"
    for index, name in enumerate(_names(pool)):
        values = pool.x[..., index].astype(np.float64)
        told = _identifies(values, row, pool)
        if told and (share := _foretells(values[:, 0], pool)):
            says = f"column {name} {told} and foretells the {what} ({share}). Leave it out by dataset.features=[...]."
            made.append(Finding("an id predicts the class", says))
    if pool.row is not None and not made and (share := _foretells(row.astype(np.float64), pool)):
        says = f"the order of the file foretells the {what} ({share}): no input may count rows, and no split be drawn by them."
        made.append(Finding("sorted by class", says, alarm=False))
    return made


def _identifies(values: np.ndarray, row: np.ndarray, pool: Pool) -> str:
    """How a column names sequences, "" where it does not."""
    codes, code = np.unique(values[:, 0], return_inverse=True)
    if len(codes) <= max(2, pool.n_classes):
        return ""
    steps, static = np.diff(values, axis=1), _static(values)
    counting = not static and bool(np.allclose(steps, steps[0, 0], rtol=1e-3, atol=0))
    if len(codes) == len(values) and (static or counting):
        order = np.argsort(np.argsort(row, kind="stable"), kind="stable")
        if abs(float(np.corrcoef(code, order)[0, 1])) >= COUNTS:
            return "counts rows"
        if bool((values == np.rint(values)).all()):
            return "is another number for every sequence"
    if static and pool.groups is not None:
        of = np.unique(pool.groups, return_inverse=True)[1]
        if _pairs(code, of) == len(codes) == int(of.max()) + 1:
            return "names the group"
    return ""


def _static(values: np.ndarray) -> bool:
    """Whether a feature has one value in each sequence."""
    return bool((np.abs(values - values[:, :1]) <= 1e-6 * np.maximum(1, np.abs(values[:, :1]))).all())


def _foretells(value: np.ndarray, pool: Pool) -> str:
    """How far neighbours by a value agree, where that is beyond chance by far; else "": of many columns one is lucky."""
    y = pool.y[np.argsort(value, kind="stable")].astype(np.float64)
    rng = np.random.RandomState(0)

    def agree(y: np.ndarray) -> float:
        return float((y[1:] == y[:-1]).mean()) if pool.n_classes else -float(np.square(np.diff(y)).mean())

    own, chance = agree(y), np.array([agree(rng.permutation(y)) for _ in range(200)])
    if own <= chance.mean() + _BY_FAR * chance.std():
        return ""
    said = f"neighbours agree in {100 * own:.0f} %, by chance {100 * chance.mean():.0f} %"
    return said if pool.n_classes else "neighbours are alike"


def _names(pool: Pool) -> list[str]:
    n = pool.x.shape[2]
    return list(pool.names) if len(pool.names) == n else [f"feature {index}" for index in range(n)]


def components(n: int, pairs: np.ndarray) -> np.ndarray:
    """A number for each of `n` rows, the same for those that pairs join."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    joined = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(connected_components(joined, directed=False)[1])
