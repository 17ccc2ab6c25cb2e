"""What a control is asked: which answer, and from which samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Asked(NamedTuple):
    """What a task asks of a control.

    Attributes:
      kind: `class`, one per sequence; `labels`, any number of them; `number`, one or several; `horizon`, the numbers that come
        next; `tags`, a class per timestep; "" for what no control knows.
      outputs: Of a network: classes, labels or numbers; of a forecast its steps.
      seasonal: Whether what is forecast has seasons.
      texts: Whether it is asked of texts, whose samples are ids `(samples, tokens)`.
    """

    kind: str
    outputs: int
    seasonal: bool = False
    texts: bool = False

    @property
    def numbers(self) -> bool:
        """Whether numbers are answered, and no classes."""
        return self.kind in ("number", "horizon")


ONE_CLASS = Asked("class", 2)


class Samples(NamedTuple):
    """Sequences of a split.

    Attributes:
      x: float32 `(samples, timesteps, features)`, of texts int32 `(samples, tokens)`; zeros behind the end of shorter ones.
      y: As the task has them.
      lengths: Timesteps of each; None where all have the same.
    """

    x: np.ndarray
    y: np.ndarray
    lengths: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Samples:
        """Those of some rows."""
        return Samples(self.x[rows], self.y[rows], None if self.lengths is None else self.lengths[rows])
