"""One engine as the epoch loop of `training/fit.py` sees it: a pack of one member."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lstm_bench.training.engine.base import Engine, Totals


class Solo:
    """The only member of its pack, which has the methods of `pack.Pack`: axes of members have length 1.

    Args:
      engine: With fresh weights; trained in place.
    """

    def __init__(self, engine: Engine):
        self._engine, self.model, self.steps_per_execution = engine, engine.model, engine.steps_per_execution
        self._kept: list[np.ndarray] | None = None
        self.warm_up, self.buckets = engine.warm_up, engine.buckets

    @property
    def penalised(self) -> bool:
        """See `Engine`; known once training is compiled."""
        return self._engine.penalised

    @property
    def kernel_ran(self) -> str:
        """Kernel that trains."""
        return self._engine.kernel_ran

    @property
    def evidence(self) -> str:
        """What says so."""
        return self._engine.evidence

    def steps(self, indices: np.ndarray, rates: np.ndarray, timesteps: int | None = None) -> Totals:
        """Trains one step per row of `indices` (steps, 1, batch) at `rates` (steps, 1); see `Engine`."""
        return Totals(*(np.array([total]) for total in self._engine.steps(indices[:, 0], rates[:, 0], timesteps)))

    def logits(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """See `Engine`, with an axis of one member before the others."""
        return self._engine.logits(x, lengths)[None]

    def keep(self, members: Sequence[int]) -> None:
        """Keeps the weights and random state for `restore`, instead of what was kept before."""
        self._kept = self._engine.weights()

    def restore(self) -> None:
        """Puts back what `keep` kept; no training goes on from there."""
        if self._kept is not None:
            self._engine.restore(self._kept)
