"""Sequences as a file has them, before anything is split, filled or scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lstm_bench.data import lengths as length
from lstm_bench.data.lengths import mask
from lstm_bench.data.task import of as task_of

_OF_ALL = ("max_length", "min_length", "truncate", "multilabel", "categories")  # settings of files of every kind


@dataclass(frozen=True)
class Columns:
    """What the columns of a table mean: settings `dataset.<name>`.

    Attributes:
      layout: `long`: a row is a timestep. `wide`: a row is a sequence of one feature. None: long, where something says so.
      id: Column whose every value is a sequence, or a recording that `window` cuts.
      time: Column that orders the rows of a sequence: numbers or time stamps.
      features: Columns of the inputs; None: the numeric ones that are nothing else.
      target: Column of the label or the number to predict; several, of 0 and 1, are labels that a sequence may have together.
      group: Column of what must not be in two splits: a person, a machine.
      window: Timesteps of the windows that recordings are cut into; None: a sequence is what it is.
      stride: Timesteps from the beginning of a window to that of the next; None: `window`, so that none overlap.
      lengths: Column of how many timesteps each sequence has: of a wide table the others of its row are padding.
      max_length: Timesteps that a sequence has at most.
      min_length: Timesteps of the shortest that is kept; None: 1.
      truncate: What happens to a sequence of more than `max_length`: `refuse`, or the `start` or `end` that is cut off.
      multilabel: Whether each sequence has a row of labels, which are none of its timesteps.
      text: Column of texts: each is a sequence of tokens, see `texts.py`.
      known: Which of `features` are known of the time that is forecast.
    """

    layout: str | None = None
    id: str | None = None
    time: str | None = None
    features: tuple[str, ...] | None = None
    target: str | tuple[str, ...] | None = None
    group: str | None = None
    window: int | None = None
    stride: int | None = None
    lengths: str | None = None
    max_length: int | None = None
    min_length: int | None = None
    truncate: str | None = None
    multilabel: bool = False
    text: str | None = None
    known: tuple[str, ...] | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of a model: column -> those it knows

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Columns:
        """From group `dataset`."""
        given: dict[str, Any] = {name: settings.get(name) for name in cls.__dataclass_fields__ if name != "categories"}
        for key in ("features", "target", "known"):
            if isinstance(given[key], list):
                given[key] = tuple(given[key])
        if given["max_length"] is None:
            given["truncate"] = None
        task = settings.get("task")
        given["multilabel"] = isinstance(given["target"], tuple) or bool(task and task_of(task).labels.several)
        return cls(**given)

    @property
    def several(self) -> tuple[str, ...]:
        """Columns of the labels, where a sequence may have several."""
        return () if self.target is None or isinstance(self.target, str) else tuple(self.target)

    def named(self) -> list[tuple[str, str]]:
        """Setting and column, of those that name one."""
        one = [(key, getattr(self, key)) for key in ("id", "time", "target", "group", "lengths", "text")]
        found = [(key, str(name)) for key, name in one if name is not None and (key != "target" or not self.several)]
        return found + [("target", name) for name in self.several]

    def of_tables(self) -> list[str]:
        """Those given of the settings that only a table can have."""
        return [key for key, value in vars(self).items() if value and key not in _OF_ALL]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences, of one length or padded on the right.

    Attributes:
      x: `(samples, timesteps, features)`, float32 with NaN where a value is missing, or a file's own type; padding is 0.
      y: `(samples,)`, of a label per timestep `(samples, timesteps)`, as the file has them; None where it has none.
      features: A name for each feature, or ().
      ids: `(samples,)`: what the file calls each sequence, or the recording of each window; None where it does not.
      groups: `(samples,)`: what must not be in two splits; None where nothing says so.
      first: `(samples,)` float64, the time of the first timestep; None where there is no time.
      last: Likewise of the last.
      windows: Whether they were cut out of recordings, and may overlap.
      categories: Column -> its values, of columns that became a feature for each.
      notes: A sentence for each thing that was left out or understood.
      lengths: int32 `(samples,)`, the timesteps of each that are no padding; None where all have as many as `x`.
      cut: How many `max_length` has cut.
      dropped: How many `min_length` has left out.
      several: Whether `y` is `(samples, labels)`, as many as there may be.
    """

    x: np.ndarray
    y: np.ndarray | None
    features: tuple[str, ...] = ()
    ids: np.ndarray | None = None
    groups: np.ndarray | None = None
    first: np.ndarray | None = None
    last: np.ndarray | None = None
    windows: bool = False
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lengths: np.ndarray | None = None
    cut: int = 0
    dropped: int = 0
    several: bool = False

    def __len__(self) -> int:
        return len(self.x)

    @property
    def per_timestep(self) -> bool:
        """Whether there is a label for every timestep."""
        return not self.several and self.y is not None and self.y.ndim == 2 and self.y.shape[1] == self.x.shape[1]

    def labels(self) -> np.ndarray | None:
        """`y`; where some of it is padding what counts, in a row `(labels,)`."""
        if self.y is None or self.lengths is None or not self.per_timestep:
            return self.y
        return np.asarray(self.y[mask(self.lengths, self.y.shape[1])])

    def every_length(self) -> np.ndarray:
        """`lengths`, also where all are one."""
        return np.full(len(self), self.x.shape[1], np.int32) if self.lengths is None else self.lengths

    def take(self, rows: np.ndarray) -> Sequences:
        """Those of some rows."""

        def of(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[rows]

        named = ("y", "ids", "groups", "first", "last", "lengths")
        kept: dict[str, Any] = {name: of(getattr(self, name)) for name in named}
        return replace(self, x=self.x[rows], **kept)


def from_rows(
    x: np.ndarray, lengths: np.ndarray, y: np.ndarray | None, columns: Columns, where: str, **rest: Any
) -> Sequences:
    """Sequences of which each is behind the other: cut, left out and padded as `columns` say.

    Args:
      x: `(all timesteps, features)`.
      lengths: `(samples,)` whole numbers of at least 1, whose sum is all timesteps.
      y: `(samples,)`, or `(all timesteps,)` where lengths differ from that.
      columns: Of which `max_length`, `min_length` and `truncate` count.
      where: The file, for messages.
      rest: Further attributes of `Sequences`; `first` and `last` are those of the file, whatever is cut.

    Raises:
      DataError: for what `limited` and `require_room` refuse.
    """
    kept, begins, left = length.limited(lengths, columns.max_length, columns.min_length, columns.truncate, where)
    timesteps = int(left.max())
    equal = bool((left == timesteps).all())
    if equal and len(left) * timesteps == len(x):
        rows: Any = slice(None)  # as it is: no copy
    else:
        rows = np.repeat(begins - np.cumsum(left, dtype=np.int64) + left, left) + np.arange(int(left.sum()))
        length.require_room(len(left), timesteps, x[:1].nbytes, where)

    def laid(values: np.ndarray) -> np.ndarray:
        taken = values[rows]
        return (
            taken.reshape(len(left), timesteps, *values.shape[1:]) if equal else length.spread(taken, left, timesteps)
        )

    arrays = {name: rest.pop(name) for name in ("ids", "groups", "first", "last") if rest.get(name) is not None}
    if y is not None:
        y = y[kept] if len(y) == len(lengths) else laid(y)
    made = Sequences(laid(x), y, **{name: array[kept] for name, array in arrays.items()}, **rest)
    cut = int((left < lengths[kept]).sum())
    return replace(made, lengths=None if equal else left, cut=cut, dropped=len(lengths) - len(kept))


def from_padded(found: Sequences, lengths: np.ndarray | None, columns: Columns, where: str) -> Sequences:
    """Rectangular sequences as `from_rows` makes them, whatever is in their padding.

    Args:
      found: Without lengths.
      lengths: `(samples,)` whole numbers from 1 to the timesteps of `found`; None where all are as long as that.
      columns: As of `from_rows`.
      where: The file, for messages.
    """
    if lengths is None and not columns.max_length and not columns.min_length:
        return found
    known = found.every_length() if lengths is None else lengths
    counts = mask(known, found.x.shape[1])
    y = found.y[counts] if found.y is not None and found.per_timestep else found.y
    rest = {name: value for name, value in vars(found).items() if name not in ("x", "y", "lengths", "cut", "dropped")}
    return from_rows(found.x[counts], known, y, columns, where, **rest)


def aligned(parts: Mapping[str, Sequences]) -> dict[str, Sequences]:
    """Parts of one dataset, padded to the longest of all; without lengths where all have one."""
    timesteps = max(found.x.shape[1] for found in parts.values())
    if all(found.lengths is None and found.x.shape[1] == timesteps for found in parts.values()):
        return dict(parts)
    made = {}
    for split, found in parts.items():
        y = length.extended(found.y, timesteps) if found.y is not None and found.per_timestep else found.y
        lengths = found.every_length()
        made[split] = replace(found, x=length.extended(found.x, timesteps), y=y, lengths=lengths)
    return made


def changes(cut: int, dropped: int, n: int, columns: Columns) -> list[str]:
    """A sentence for what `max_length` has cut of `n` sequences, and one for what `min_length` has left out."""
    made = []
    if cut:
        most = f"dataset.max_length={columns.max_length}"
        made.append(f"{cut:,} of {n:,} sequences are longer than {most}: their {columns.truncate} is cut off")
    if dropped:
        least = f"dataset.min_length={columns.min_length}"
        made.append(f"{dropped:,} of {n:,} sequences are shorter than {least} and left out")
    return made


def names_of(features: Sequence[str], n: int) -> list[str]:
    """A name for every feature: its own, or its number."""
    return list(features) if len(features) == n else [f"feature {index}" for index in range(n)]
