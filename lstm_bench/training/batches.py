"""The batches of each epoch: which samples every step of every member is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lstm_bench.data.dataset import Dataset
from lstm_bench.training.engine import factory as engines


class Batches:
    """Of each member a fresh permutation of the training split per epoch, cut to whole batches.

    The few samples left over differ from epoch to epoch.

    Args:
      data: Dataset.
      batch_size: Samples of a batch; of a smaller training split, all of it.
      seeds: Of the members: each has an order of its own.

    Attributes:
      size: Samples of a batch.
      per_epoch: Whole batches of an epoch.
    """

    def __init__(self, data: Dataset, batch_size: int, seeds: Sequence[int]):
        self._n = len(data.x_train)
        self.size = min(batch_size, self._n)
        self.per_epoch = self._n // self.size
        self._orders = [np.random.default_rng(seed) for seed in seeds]

    def epoch(self) -> Iterator[np.ndarray]:
        """The next epoch's samples (steps, members, batch), in parts of one call of an engine each."""
        used = self.per_epoch * self.size
        orders = [order.permutation(self._n)[:used].reshape(self.per_epoch, self.size) for order in self._orders]
        rows = np.stack(orders, axis=1)
        for start in range(0, self.per_epoch, engines.MAX_STEPS):
            yield rows[start : start + engines.MAX_STEPS]
