"""`.npz`: arrays of every split, or undivided ones; never a pickle."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping

import numpy as np

from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.data.arrays import SPLITS, require_axes
from lstm_bench.data.formats.source import Source
from lstm_bench.data.labels import shape_remedy
from lstm_bench.data.lengths import checked, mask
from lstm_bench.data.npz import read_npz, read_structured
from lstm_bench.data.rows import require
from lstm_bench.data.sequences import Columns, Sequences, from_padded, from_rows
from lstm_bench.data.series import Found, from_table

_DIVIDED = tuple(f"{axis}_{split}" for split in SPLITS for axis in "xy")


def read(source: Source, columns: Columns) -> dict[str, Sequences]:
    """`x_train y_train [x_validation y_validation] x_test y_test`, or `x y`, with `groups` and `lengths` where there are such.

    With lengths `x` is `(samples, timesteps, features)`, whatever is in its padding, or `(all timesteps, features)`, one
    sequence behind the other; `y` has a label for each sequence, or for each timestep as `x` has them.

    Raises:
      ConfigError: for settings of tables.
      DataError: for a file that is damaged, incomplete, or holds other arrays; for lengths that do not fit.
    """
    if given := columns.of_tables():
        raise ConfigError(
            f"dataset.{given[0]}: an .npz file has no columns",
            remedy="Leave it out; groups and lengths are arrays `groups` and `lengths`.",
        )
    if source.member is not None:
        raise DataError(f"{source}: an .npz within an archive is not read", remedy="Unpack the archive.")
    source.require()
    keys = _DIVIDED if (names := _names(source)) is None or "x" not in names else ("x", "y")
    splits = dict.fromkeys(key.partition("_")[2] or "all" for key in keys)
    more = {f"{name}{_end(split)}" for name in ("groups", "lengths") for split in splits} & (names or set())
    found = read_npz(source.path, [*keys, *sorted(more)])
    made = {}
    for split in splits:
        end = _end(split)
        if f"x{end}" in found:
            made[split] = sequences(found, end, columns, str(source))
    lacking = [split for split in made if f"lengths{_end(split)}" not in found]
    if lacking and len(lacking) < len(made):
        raise DataError(f"{source}: lengths_{lacking[0]} is missing", expected="lengths of every split, or of none")
    if lacking and len({part.x.shape[1:2] for part in made.values()}) > 1:
        shapes = {split: part.x.shape for split, part in made.items()}
        raise DataError(
            f"{source}: the splits have other timesteps than each other",
            expected="as many, or lengths_train and so on",
            received=", ".join(f"x_{split} {shape}" for split, shape in shapes.items()),
        )
    return made


def series(source: Source, columns: Columns) -> Found:
    """The series of the one structured array of a file, whose fields are columns: as pandas' `to_records` makes it.

    Raises:
      ConfigError: for a column that is not there.
      DataError: for a file that is damaged, or holds anything else.
    """
    if source.member is not None:
        raise DataError(f"{source}: an .npz within an archive is not read", remedy="Unpack the archive.")
    source.require()
    expected = "one structured array, whose fields are columns: a row per time step"
    names = _names(source) or set()
    if len(names) != 1:
        raise DataError(f"{source}: no series to forecast", expected=expected, received=", ".join(sorted(names)[:12]))
    [rows] = read_structured(source.path, *names)
    if rows.dtype.names is None or rows.ndim != 1 or not len(rows):
        raise DataError(f"{source}: {names.pop()}", expected=expected, received=f"{rows.dtype} of shape {rows.shape}")
    require(rows.dtype.names, columns, str(source))
    table = {name: rows[name] for name in rows.dtype.names}
    dates = {name: values.astype(str).astype(object) for name, values in table.items() if values.dtype.kind in "MmU"}
    return from_table(table | dates, columns, str(source), columns.features or ())


def sequences(found: Mapping[str, np.ndarray], end: str, columns: Columns, where: str) -> Sequences:
    """Those of the arrays `x`, `y`, `groups` and `lengths`, the last three where they are there, with `end` behind each name.

    Args:
      found: Name -> array.
      end: "" or `_<split>`.
      columns: What cuts them.
      where: The file, for messages.

    Raises:
      DataError: for lengths that do not fit.
    """
    x, y, groups, lengths = (found.get(f"{name}{end}") for name in ("x", "y", "groups", "lengths"))
    assert x is not None
    what = f"{where}: lengths{end}"
    if x.ndim == 3 or lengths is None:
        require_axes(x, f"{where}: x{end}")
        known = None if lengths is None else checked(lengths, len(x), x.shape[1], what)
        if y is not None and y.shape[:1] != x.shape[:1]:
            raise DataError(
                f"{where}: y{end}",
                expected=f"as many labels as x{end} has samples, {len(x)}",
                received=y.shape,
                remedy=shape_remedy(y, x),
            )
        _require_one_each(groups, len(x), f"{where}: groups{end}")
        return from_padded(Sequences(x, y, groups=groups, several=columns.multilabel), known, columns, where)
    if x.ndim != 2 or not x.size:
        raise DataError(
            f"{where}: x{end}",
            expected="with lengths shape (samples, timesteps, features), or (all timesteps, features)",
            received=x.shape,
            remedy="One feature: x[:, None]." if x.ndim == 1 else None,
        )
    n = lengths.size
    known = checked(lengths, n, None, what)
    if known.sum(dtype=np.int64) != len(x):
        raise DataError(
            what,
            expected=f"a sum of {len(x):,}, the rows of x{end}",
            received=f"{known.sum(dtype=np.int64):,}",
            remedy="Padded sequences of one feature: x[..., None]." if len(x) == n else None,
        )
    if y is not None and y.shape != (len(x),) and y.shape[:1] != (n,):
        raise DataError(f"{where}: y{end}", expected=f"{n:,} labels, one per sequence", received=f"shape {y.shape}")
    _require_one_each(groups, n, f"{where}: groups{end}")
    if y is not None and y.shape == (n, known.max()) and not columns.multilabel:
        y = y[mask(known, y.shape[1])]
    return from_rows(x, known, y, columns, where, groups=groups, several=columns.multilabel)


def _require_one_each(groups: np.ndarray | None, n: int, what: str) -> None:
    """Raises DataError unless there is a group for each of `n` sequences."""
    if groups is not None and groups.shape != (n,):
        raise DataError(what, expected=f"{n:,}, one per sequence", received=f"shape {groups.shape}")


def _end(split: str) -> str:
    return "" if split == "all" else f"_{split}"


def _names(source: Source) -> set[str] | None:
    """Names of the arrays; None where the file cannot be read, which `read_npz` says."""
    try:
        with zipfile.ZipFile(source.path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return None
