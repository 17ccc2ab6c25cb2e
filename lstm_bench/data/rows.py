"""Rows of a table made into sequences: a row is a timestep, or a sequence."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from lstm_bench.core.errors import ConfigError, DataError, nearest
from lstm_bench.core.formatting import counted
from lstm_bench.data import lengths as length
from lstm_bench.data import timestamps
from lstm_bench.data.sequences import Columns, Sequences, from_padded, from_rows

Table = dict[str, np.ndarray]  # column -> values `(rows,)`: float, whole, bool or text; NaN and None are missing
_UNNAMED = re.compile(r"\s*|__index_level_\d+__")  # columns that pandas writes for its row numbers


def from_table(table: Table, columns: Columns, where: str) -> Sequences:
    """The sequences that a table holds.

    Args:
      table: Columns of equal length, at least one row; it is emptied.
      columns: What they mean.
      where: The file, for messages.

    Raises:
      ConfigError: for a column that is not there, or settings that contradict each other.
      DataError: for rows that are no sequences of one length.
    """
    require(table, columns, where)
    if columns.layout == "wide":
        return _wide(table, columns, where)
    if columns.layout is None and columns.id is None and columns.window is None:
        raise ConfigError(
            f"{where}: what a sequence is was not said",
            remedy="A row per timestep: dataset.id=COLUMN, whose every value is a sequence, or dataset.window=TIMESTEPS of one "
            "recording. A row per sequence: dataset.layout=wide.",
        )
    return _long(table, columns, where)


def require(table: Collection[str], columns: Columns, where: str) -> None:
    """Raises ConfigError for a column that a table has not, or that means two things.

    Args:
      table: Names of the columns.
      columns: What they mean.
      where: The file.
    """
    known = {*(columns.known or ())}
    names = [
        *columns.named(),
        *(("known" if name in known else "features", name) for name in columns.features or ()),
    ]
    for setting, name in names:
        if name not in table:
            raise ConfigError(f"dataset.{setting}: {where} has no column {name!r}", remedy=nearest(name, table))
    used = columns.named()
    for index, (setting, name) in enumerate(used):
        for other, also in used[:index]:
            if name == also and {setting, other} != {"id", "group"}:
                raise ConfigError(f"dataset.{other} and dataset.{setting} are one column", received=name)
    twice = {name for _, name in used} & {*(columns.features or ())}
    if twice - {columns.time, columns.group}:
        name = sorted(twice)[0]
        raise ConfigError(
            f"dataset.features: {name} is dataset.{next(key for key, of in used if of == name)} too",
            remedy="An input that holds the answer, or names the sequence, makes every score wrong: leave it out.",
        )


def is_read(name: str, columns: Columns, numeric: set[str]) -> bool:
    """Whether a column of a table is read: it is named, or an input by being numeric."""
    if name in (column for _, column in columns.named()) or name in (columns.features or ()):
        return True
    return columns.features is None and name in numeric and not _UNNAMED.fullmatch(name)


def _inputs(
    table: Table, columns: Columns, where: str
) -> tuple[list[str], list[np.ndarray], dict[str, tuple[str, ...]], list[str]]:
    """Names and float32 values `(rows,)` of the features, text one-hot; the categories of such; and what is unknown of them."""
    meant = {name for _, name in columns.named()}
    names = columns.features or tuple(
        name for name, values in table.items() if name not in meant and is_numeric(values)
    )
    if not names:
        raise DataError(
            f"{where}: no column is left to be an input",
            expected="a numeric column that is neither dataset.id, time, target nor group",
            remedy="Name columns of text by dataset.features=[...]: they are one-hot encoded.",
        )
    made: list[str] = []
    arrays: list[np.ndarray] = []
    categories: dict[str, tuple[str, ...]] = {}
    notes: list[str] = []
    for name in names:
        values = table[name]
        if is_numeric(values) and name not in columns.categories:
            made.append(name)
            arrays.append(values.astype(np.float32, copy=False))
            continue
        text = np.array(["" if value is None or value != value else str(value) for value in values.tolist()], object)
        known = columns.categories.get(name) or tuple(sorted({*text.tolist()} - {""}))
        if known and name not in columns.categories and {category.lower() for category in known} <= {"false", "true"}:
            # 0 and 1, as a parquet file has them
            made.append(name)
            truth = np.array([value.lower() for value in known]) == "true"
            arrays.append(np.array([*truth.astype(np.float32), np.nan], np.float32)[[*map([*known, ""].index, text)]])
            continue
        if len(known) > MAX_CATEGORIES:
            raise DataError(
                f"{where}: column {name} has {len(known):,} different texts",
                expected=f"numbers, or at most {MAX_CATEGORIES} categories",
                received=text[0][:40],
            )
        categories[name] = known
        unknown = sorted({*text.tolist()} - {*known, ""})
        if unknown:
            n = int(np.isin(text, unknown).sum())
            notes.append(
                f"column {name}: {n:,} rows hold what the model does not know ({', '.join(unknown)[:60]}): all zeros"
            )
        for category in known:
            made.append(f"{name}={category}")
            arrays.append((text == category).astype(np.float32))
    return made, arrays, categories, notes


MAX_CATEGORIES = 256  # of a column of text: each is a feature


def is_numeric(values: np.ndarray) -> bool:
    """Whether a column holds numbers or truths."""
    return values.dtype.kind in "biuf"


def _wide(table: Table, columns: Columns, where: str) -> Sequences:
    """A row is a sequence, its columns the timesteps of one feature."""
    if columns.time or columns.window:
        raise ConfigError(
            "dataset.layout=wide: a row is a sequence", remedy="Leave out dataset.time and dataset.window."
        )
    names, arrays, categories, _ = _inputs(table, columns, where)
    if categories:
        raise DataError(f"{where}: column {next(iter(categories))} is text", expected="numbers, a timestep per column")
    x = np.stack(arrays, axis=1)[..., None]
    y = answers(table, columns, where)
    groups = None if columns.group is None else table[columns.group]
    ids = None if columns.id is None else table[columns.id]
    notes = (f"a row is a sequence of {len(names):,} timesteps",)
    found = Sequences(x, y, ("value",), ids, groups, notes=notes, several=columns.multilabel)
    lengths = None
    if columns.lengths:
        lengths = length.checked(table[columns.lengths], len(x), len(names), f"{where}: column {columns.lengths}")
        found = replace(found, notes=(f"a row is a sequence of at most {len(names):,} timesteps",))
    return from_padded(found, lengths, columns, where)


def _long(table: Table, columns: Columns, where: str) -> Sequences:
    """A row is a timestep."""
    names, arrays, categories, notes = _inputs(table, columns, where)
    rows = len(next(iter(table.values())))
    of, order, stamps = ordered(table, columns, rows, where)
    starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]])
    del of
    lengths = np.diff(np.r_[starts, rows])

    def column(name: str | None) -> np.ndarray | None:
        if name is None:
            return None
        return table[name] if order is None else table[name][order]

    if columns.lengths:
        _require_lengths(column(columns.lengths), lengths, starts, columns, where)
    if columns.window:
        begins, said = _windows(starts, lengths, columns, where)
        notes += said
        lengths = np.full(len(begins), columns.window)
    else:
        begins = starts
    x = np.empty((rows, len(arrays)), np.float32)
    for name in columns.features or ():
        table.pop(name, None)  # what was read is let go of, column by column
    for feature in range(len(arrays)):
        x[:, feature] = arrays[feature] if order is None else arrays[feature][order]
        arrays[feature] = x[:0, 0]
    taken = begins[:, None] + np.arange(columns.window) if columns.window else None

    def of_windows(values: np.ndarray | None) -> np.ndarray | None:
        """Values `(all timesteps, ...)`, one window behind the other; they may overlap."""
        return values if taken is None or values is None else values[taken.ravel()]

    given = answers(table, columns, where)
    y = of_windows(given if given is None or order is None else given[order])
    groups, ids = of_windows(column(columns.group)), column(columns.id)
    ids = None if ids is None else ids[begins]
    if columns.window and groups is None and ids is not None:
        notes.append(f"windows of one {columns.id} stay in one split")  # they are alike
    found = of_windows(x)
    assert found is not None
    return from_rows(
        found,
        lengths,
        None if y is None else _targets(y, lengths, columns, where),
        columns,
        where,
        features=tuple(names),
        ids=ids,
        groups=(ids if columns.window else None) if groups is None else _constant(groups, lengths, columns, where),
        first=None if stamps is None else stamps[begins],
        last=None if stamps is None else stamps[begins + lengths - 1],
        windows=columns.window is not None,
        categories=categories,
        notes=tuple(notes),
        several=columns.multilabel,
    )


def _require_lengths(
    said: np.ndarray | None, lengths: np.ndarray, starts: np.ndarray, columns: Columns, where: str
) -> None:
    """Raises DataError where the column that says how long sequences are and their rows disagree."""
    assert said is not None
    numbers = said.astype(np.float64) if is_numeric(said) else np.full(len(said), np.nan)
    wrong = np.flatnonzero(numbers != np.repeat(lengths, lengths))
    if len(wrong):
        sequence = int(np.searchsorted(starts, wrong[0], "right")) - 1
        raise DataError(
            f"{where}: column {columns.lengths} disagrees with the rows",
            expected=f"{lengths[sequence]}, the rows of sequence {sequence}",
            received=str(said[wrong[0]])[:40],
            remedy="Rows are missing, or doubled: leave dataset.lengths out to take the rows as they are.",
        )


def ordered(
    table: Table, columns: Columns, rows: int, where: str
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Sequence number of each row in order, the order of the rows (None: as they are), and their times in that order."""
    of = np.zeros(rows, np.int32)
    if columns.id is not None:
        ids = table[columns.id]
        missing = (
            [value is None or value != value for value in ids] if ids.dtype == object else np.isnan(ids.astype(float))
        )
        if np.any(missing):
            line = int(np.flatnonzero(missing)[0]) + 2
            raise DataError(
                f"{where}: row {line}, column {columns.id}", expected="the id of a sequence", received="nothing"
            )
        of = _numbered(ids)
    stamps = None if columns.time is None else times(table[columns.time], columns.time, where)
    if stamps is None:
        sorted_already = bool((of[1:] >= of[:-1]).all())
        order = None if sorted_already else np.argsort(of, kind="stable")
    else:
        ahead = (of[1:] > of[:-1]) | ((of[1:] == of[:-1]) & (stamps[1:] >= stamps[:-1]))
        order = None if bool(ahead.all()) else np.lexsort((stamps, of))
    if order is not None:
        of = of[order]
        stamps = None if stamps is None else stamps[order]
    if stamps is not None:
        again = np.flatnonzero((of[1:] == of[:-1]) & (stamps[1:] == stamps[:-1]))
        if len(again):
            row = int(again[0] + 1 if order is None else order[again[0] + 1])
            which = f" of {columns.id} {table[columns.id][row]}" if columns.id else ""
            raise DataError(
                f"{where}: row {row + 2}, column {columns.time}: a time stamp{which} is there twice",
                received=str(table[str(columns.time)][row]),
                remedy=f"{counted(len(again), 'such row')} to be taken out; or name the column that tells sequences apart by "
                "dataset.id.",
            )
    return of, order, stamps


def _numbered(ids: np.ndarray) -> np.ndarray:
    """The index of each id among all of them, sorted."""
    if ids.dtype != object and bool((ids[1:] >= ids[:-1]).all()):
        return np.r_[0, np.cumsum(ids[1:] != ids[:-1], dtype=np.int32)].astype(np.int32)
    import pandas as pd

    codes, _ = pd.factorize(ids, sort=True)
    return codes.astype(np.int32)


def times(values: np.ndarray, column: str, where: str) -> np.ndarray:
    """Times as float64: numbers as they are, those beyond 2**53 from the first on; time stamps as seconds since 1970.

    Raises:
      DataError: for the first that is neither.
    """
    if is_numeric(values):
        if values.dtype.kind in "iu" and int(np.abs(values).max(initial=0)) >= 2**53:  # nanoseconds since 1970
            values = values - values.min()
        found = values.astype(np.float64)
    else:
        found = timestamps.seconds(values, column, where)
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise DataError(
            f"{where}: row {int(bad[0]) + 2}, column {column}",
            expected="a number or a time stamp",
            received="nothing"
            if values[bad[0]] is None or values[bad[0]] != values[bad[0]]
            else str(values[bad[0]])[:40],
        )
    return found


def _windows(starts: np.ndarray, lengths: np.ndarray, columns: Columns, where: str) -> tuple[np.ndarray, list[str]]:
    """First rows of the windows, and what was left out."""
    window, stride = int(columns.window or 0), int(columns.stride or columns.window or 0)
    if not (lengths >= window).any():
        raise DataError(
            f"{where}: no recording has {window} timesteps", expected=f"dataset.window of at most {lengths.max()}"
        )
    begins = np.concatenate(
        [start + np.arange(0, length - window + 1, stride) for start, length in zip(starts, lengths, strict=True)]
    )
    used = np.zeros(int(lengths.sum()) + 1, np.int64)
    np.add.at(used, begins, 1)
    np.add.at(used, begins + window, -1)
    left = int((np.cumsum(used)[:-1] == 0).sum())
    notes = [f"{len(begins):,} windows of {window} timesteps, one every {stride}"]
    short = int((lengths < window).sum())
    if short:
        notes.append(f"{short:,} of {len(lengths):,} recordings are shorter than a window and left out")
    if left:
        notes.append(f"{left:,} of {len(used) - 1:,} rows are in no window")
    return begins.astype(np.int64), notes


def _changes(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Places of `(all timesteps, ...)` where a value is another than the one before it in its sequence."""
    other: np.ndarray = np.asarray(values[1:] != values[:-1], bool)
    if other.ndim > 1:
        other = np.any(other, axis=1)
    if values.dtype.kind == "f":
        other &= ~(np.isnan(values[1:]) & np.isnan(values[:-1]))
    other[np.cumsum(lengths)[:-1] - 1] = False  # the first of each
    return np.flatnonzero(other) + 1


def answers(table: Table, columns: Columns, where: str) -> np.ndarray | None:
    """The target of each row; of several labels `(rows, labels)` of 0 and 1. None where no target is named."""
    if not columns.several:
        return None if columns.target is None else table[str(columns.target)]
    made = []
    for name in columns.several:
        values = table[name]
        if values.dtype == object:  # text, as true and false are in a file
            values = np.array([{"true": 1, "false": 0}.get(str(value).lower(), value) for value in values], object)
            fit = np.array([value in (0, 1) for value in values.tolist()])
        else:
            fit = np.isin(values, (0, 1))
        if not fit.all():
            row = int(fit.argmin())
            raise DataError(
                f"{where}: row {row + 2}, column {name}",
                expected="0 or 1, as dataset.target names several labels",
                received=values[row : row + 1].tolist()[0],
            )
        made.append(values.astype(np.int32))
    return np.stack(made, axis=1)


def _targets(values: np.ndarray, lengths: np.ndarray, columns: Columns, where: str) -> np.ndarray:
    """The target of each sequence, of `(all timesteps,)`; of each timestep where it changes within one."""
    changes = _changes(values, lengths)
    if not len(changes):
        return values[np.cumsum(lengths) - lengths]
    if columns.several:
        name = columns.several[int((values[changes[0]] != values[changes[0] - 1]).argmax())]
        raise DataError(f"{where}: column {name} changes within a sequence", expected="0 or 1 for a whole sequence")
    if values.dtype.kind == "f":
        at = changes[0]
        raise DataError(
            f"{where}: column {columns.target} changes within a sequence",
            expected="one number per sequence, or classes",
            received=f"{values[at - 1]:g} and {values[at]:g}",
            remedy="A number for every timestep is not supported yet.",
        )
    return values


def _constant(values: np.ndarray, lengths: np.ndarray, columns: Columns, where: str) -> np.ndarray:
    changes = _changes(values, lengths)
    if len(changes):
        at = changes[0]
        raise DataError(
            f"{where}: column {columns.group or columns.id} changes within a sequence",
            expected="one group per sequence",
            received=", ".join(sorted({str(values[at - 1]), str(values[at])})),
        )
    return values[np.cumsum(lengths) - lengths]
