"""The batches of each epoch: which samples every step of every member is trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lstm_bench.data.dataset import Dataset
from lstm_bench.training.buckets import Buckets
from lstm_bench.training.engine import factory


@dataclass
class Part:
    """Steps of an epoch in a row, for one call of an engine.

    Attributes:
      rows: Samples (steps, members, batch).
      timesteps: That they are padded to; None where all sequences have one length.
      true: Of each member, how many timesteps of its sequences these are.
    """

    rows: np.ndarray
    timesteps: int | None
    true: np.ndarray

    @property
    def padding(self) -> float:
        """Share of the timesteps that are none of a sequence."""
        return 0.0 if self.timesteps is None else 1 - float(self.true.sum()) / (self.rows.size * self.timesteps)


class Batches:
    """Of each member a fresh permutation of the training split per epoch, cut to whole batches.

    The few samples left over differ from epoch to epoch. Sequences of unequal length come in batches of about one length, see
    `buckets.py`.

    Args:
      data: Dataset.
      batch_size: Samples of a batch; of a smaller training split, all of it.
      seeds: Of the members: each has an order of its own.
      timesteps: That batches of sequences of unequal length are padded to, see `buckets.edges`.
      seed: The study's, which the order of the buckets follows from.

    Attributes:
      size: Samples of a batch.
      per_epoch: Whole batches of an epoch.
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int,
        seeds: Sequence[int],
        timesteps: Sequence[int | None] = (None,),
        seed: int = 0,
    ):
        self._n, self._data, self._lengths, self._epoch = len(data.x_train), data, data.lengths_train, 0
        self.size = min(batch_size, self._n)
        self.per_epoch = self._n // self.size
        self._orders = [np.random.default_rng(seed) for seed in seeds]
        known = [each for each in timesteps if each is not None]
        self._buckets = None if self._lengths is None else Buckets(self._lengths, self.size, known, seed)

    def epoch(self) -> Iterator[Part]:
        """The next epoch's batches."""
        self._epoch += 1
        if self._buckets is not None and self._lengths is not None:
            for rows, timesteps in self._buckets.epoch(self._epoch, self._orders, factory.MAX_STEPS):
                yield Part(rows, timesteps, self._lengths[rows].sum(axis=(0, 2)))
            return
        used = self.per_epoch * self.size
        orders = [order.permutation(self._n)[:used].reshape(self.per_epoch, self.size) for order in self._orders]
        rows = np.stack(orders, axis=1)
        for start in range(0, self.per_epoch, factory.MAX_STEPS):
            some = rows[start : start + factory.MAX_STEPS]
            true = len(some) * self.size * self._data.x_train.shape[1]
            yield Part(some, None, np.full(len(orders), true))

    def labels(self, part: Part) -> np.ndarray:
        """How many labels count of each member."""
        if self._data.per_timestep:
            return part.true
        each = math.prod(self._data.y_train.shape[1:])
        return np.full(part.rows.shape[1], len(part.rows) * self.size * each)
