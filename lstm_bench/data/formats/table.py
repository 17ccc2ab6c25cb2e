"""Tables: `.csv` and `.tsv` (`delimited.py`), `.parquet` (`parquet.py`). Rows may come in any order."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np

from lstm_bench.core import progress
from lstm_bench.core.errors import DataError
from lstm_bench.data.formats import delimited, parquet
from lstm_bench.data.formats.source import Source
from lstm_bench.data.rows import from_table
from lstm_bench.data.sequences import Columns, Sequences
from lstm_bench.data.series import Found
from lstm_bench.data.series import from_table as from_series


def read(source: Source, columns: Columns) -> dict[str, Sequences]:
    """The sequences of a table, undivided.

    Raises:
      ConfigError: for a column that is not there.
      DataError: for a file that is no such table.
    """
    rows = table(source, columns)
    out = [] if columns.features or columns.layout == "wide" else [name for name in names(source) if name not in rows]
    progress.tell(f"cutting {source.name} into sequences")
    found = from_table(rows, columns, str(source))
    if out:
        every = names(source)
        shown = ", ".join(name if name.strip() else f"column {every.index(name) + 1}" for name in out[:12])
        more = f" and {len(out) - 12} more" if len(out) > 12 else ""
        note = f"no inputs, for they hold no numbers or have no name: {shown}{more} (dataset.features=[...] takes text too)"
        found = replace(found, notes=(*found.notes, note))
    return {"all": found}


def series(source: Source, columns: Columns) -> Found:
    """The series of a long table.

    Raises:
      ConfigError: for a column that is not there.
      DataError: for a file that is no such table.
    """
    return from_series(table(source, columns), columns, str(source), columns.features or ())


def table(source: Source, columns: Columns) -> dict[str, np.ndarray]:
    """Column -> values of a table: numbers as float32, those that `columns` name as they are, text as objects.

    Raises:
      DataError: for a file that is no such table.
    """
    made: dict[str, np.ndarray] = _kind(source).table(source, columns)
    if not made or not len(next(iter(made.values()))):
        raise DataError(f"{source}: it holds no row", expected="a header and rows")
    for name, values in made.items():
        if values.dtype.kind == "f" and np.isinf(values).any():
            row = int(np.flatnonzero(np.isinf(values))[0]) + 2
            raise DataError(
                f"{source}: row {row}, column {name}",
                expected="a finite float32 number",
                received=str(values[row - 2]),
                remedy="Leave the cell empty where the value is not known, and say dataset.missing.",
            )
    return made


def names(source: Source) -> list[str]:
    """Names of the columns.

    Raises:
      DataError: for a file that is no table of its suffix.
    """
    found: list[str] = _kind(source).names(source)
    return found


def _kind(source: Source) -> ModuleType:
    """The module that reads tables of that suffix."""
    return parquet if source.suffix == ".parquet" else delimited
