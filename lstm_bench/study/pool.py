"""The sequences of all splits of a dataset together, in which leaks are sought, with what its file says of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Pool(NamedTuple):
    """The sequences of all splits together.

    Attributes:
      x: float32 `(samples, timesteps, features)`, finite; of texts int32 `(samples, tokens)`.
      y: Whole numbers from 0, or float `(samples,)`.
      n_classes: 0 of numbers.
      groups: Whole numbers; None where none are named.
      first: Time of the first timestep of each, and `last` of the last; None without one.
      last: See `first`.
      split: 0, 1 or 2: which of training, validation and test it is in as it is divided now.
      recording: Whole numbers: which recording a window is of; None where sequences are none.
      row: Index of each in the file.
      names: Of the features.
      lengths: Timesteps of each; None where all have the same.
    """

    x: np.ndarray
    y: np.ndarray
    n_classes: int
    groups: np.ndarray | None = None
    first: np.ndarray | None = None
    last: np.ndarray | None = None
    split: np.ndarray | None = None
    recording: np.ndarray | None = None
    row: np.ndarray | None = None
    names: Sequence[str] = ()
    lengths: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Pool:
        """Those of some rows."""
        kept: dict[str, Any] = {name: None if (a := getattr(self, name)) is None else a[rows] for name in _OF_EACH}
        return self._replace(**kept)


_OF_EACH = ("x", "y", "groups", "first", "last", "split", "recording", "row", "lengths")
