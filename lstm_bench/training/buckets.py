"""Batches of sequences of unequal length: which samples each step takes, and to how many timesteps it pads them.

Sequences go into buckets: a batch holds sequences of about one length, and is padded to its bucket's number of timesteps, of
which there are few, for each is a program. What a bucket has left over goes to the next longer one, so that an epoch has as many
steps as it would without buckets, and every sample is left over equally often, whatever its length. Which bucket comes at which
step, and how many samples each leaves over, follows from the study's seed and the epoch; which samples these are, and how they
meet, from the member's: the members of a pack pad alike, and each takes the batches of its solo run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lstm_bench.core import safe_load
from lstm_bench.core.configuration import conf_dir


def edges(lengths: np.ndarray, batch_size: int, most: int, near: float = 0.0) -> tuple[int, ...]:
    """The numbers of timesteps, ascending, that batches are padded to: those with the fewest timesteps in an epoch's steps.

    By dynamic programming over the lengths that occur: so many steps end at a bucket as there are whole batches of sequences
    that are no longer than it, less those of the shorter buckets.

    Args:
      lengths: Of the training sequences, at least `batch_size` of them.
      batch_size: Samples per step.
      most: Buckets, at least 1.
      near: As few as come within this fraction of the fewest timesteps.
    """
    ends, counts = np.unique(lengths, return_counts=True)
    steps = np.cumsum(counts) // batch_size
    cost = (ends * steps).astype(np.float64)  # one bucket up to each length
    costs, before = [cost[-1]], [np.full(len(ends), -1)]
    for _ in range(min(most, len(ends)) - 1):
        cost, last = cost.copy(), np.full(len(ends), -1)
        shorter = cost.copy()
        for i in range(1, len(ends)):
            with_one_more = shorter[:i] + ends[i] * (steps[i] - steps[:i])
            j = int(with_one_more.argmin())
            if with_one_more[j] < cost[i]:
                cost[i], last[i] = with_one_more[j], j
        costs.append(cost[-1])
        before.append(last)
    at = next(n for n, total in enumerate(costs) if total <= (1 + near) * costs[-1])
    found, i = list[int](), len(ends) - 1
    while i >= 0:
        found.append(int(ends[i]))
        # Where one bucket more gains nothing here, the shorter ones are those of one bucket less.
        while at > 0 and before[at][i] < 0:
            at -= 1
        i, at = int(before[at][i]), at - 1
    return tuple(reversed(found))


class Buckets:
    """The epochs of sequences of unequal length.

    Args:
      lengths: Of the training sequences.
      batch_size: Samples of a step.
      timesteps: Of each bucket, see `edges`.
      seed: The study's.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, timesteps: Sequence[int], seed: int):
        self._size, self._seed = batch_size, seed
        self._timesteps = np.array(timesteps, np.int64)
        self._of = np.searchsorted(self._timesteps, lengths)

    def epoch(self, number: int, orders: Sequence[np.random.Generator], most: int) -> Iterator[tuple[np.ndarray, int]]:
        """The steps of an epoch, at most `most` at a time, all of one bucket: samples (steps, members, batch), its timesteps.

        Args:
          number: Of the epoch, from 1.
          orders: Of each member: what the order of its samples is drawn from.
          most: Steps in one call of a program.
        """
        counts = np.bincount(self._of, minlength=len(self._timesteps))
        rng = np.random.default_rng([self._seed, number])
        kept = counts - rng.multivariate_hypergeometric(counts, len(self._of) % self._size)
        drawn = [self._drawn(kept, order) for order in orders]
        sequence = rng.permutation(np.repeat(np.arange(len(counts)), [len(rows) for rows in drawn[0]]))
        taken = np.zeros_like(counts)
        starts = np.flatnonzero(np.diff(sequence, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], len(sequence)], strict=True):
            bucket = int(sequence[start])
            for first in range(start, end, most):
                some = slice(taken[bucket], taken[bucket] + min(most, end - first))
                taken[bucket] = some.stop
                yield np.stack([member[bucket][some] for member in drawn], axis=1), int(self._timesteps[bucket])

    def sample(self, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Samples (steps, batch) of an epoch's steps, of each bucket its share: for timing."""
        parts = sorted(self.epoch(1, [rng], len(self._of)), key=lambda part: part[1])
        rows = np.concatenate([rows for rows, _ in parts])[:, 0]
        return rows[((np.arange(steps) + 0.5) * len(rows) / steps).astype(int)]

    def _drawn(self, kept: np.ndarray, order: np.random.Generator) -> list[np.ndarray]:
        """A member's batches of each bucket; what makes no whole batch goes to the next longer one."""
        found, rest = list[np.ndarray](), np.array([], np.int64)
        for bucket, n in enumerate(kept):
            own = order.permutation(np.flatnonzero(self._of == bucket))[:n]
            pool = order.permutation(np.concatenate([rest, own]))
            steps = len(pool) // self._size
            found.append(pool[: steps * self._size].reshape(steps, self._size))
            rest = pool[steps * self._size :]
        return found


def planned(config: Any, lengths: np.ndarray | None, longest: int, batch_size: int) -> tuple[int, ...]:
    """The buckets of a configuration: none where sequences have one length.

    `train.buckets` is how many there may be; null: as few as come near what the most save, see `conf/buckets.yaml`.

    Args:
      config: Group `train`.
      lengths: Of the training sequences.
      longest: Timesteps of the data.
      batch_size: Of a step.
    """
    if lengths is None:
        return ()
    asked = config.get("buckets")
    if asked == 1:
        return (longest,)
    usual = safe_load.from_yaml((conf_dir() / "buckets.yaml").read_text(encoding="utf-8"))
    return edges(lengths, batch_size, asked or usual["most"], 0.0 if asked else usual["near"])
