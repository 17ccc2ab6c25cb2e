"""Readers of files with sequences, one module per format, chosen by suffix.

A reader is a module with `read(source, columns)`, which returns `Sequences` by split, padded and with `lengths` where they
differ. A package of someone else's adds one by an entry point of the group `lstm_bench.formats`, whose name is the suffix without
its dot.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from lstm_bench.core.errors import DataError

if TYPE_CHECKING:
    from lstm_bench.data.formats.source import Source
    from lstm_bench.data.sequences import Columns, Sequences
    from lstm_bench.data.series import Found

GROUP = "lstm_bench.formats"
_READERS = {
    **dict.fromkeys((".csv", ".tsv", ".parquet"), "lstm_bench.data.formats.table"),
    ".npz": "lstm_bench.data.formats.arrays_file",
    ".ts": "lstm_bench.data.formats.ts",
    ".tsf": "lstm_bench.data.formats.tsf",
}


def suffixes() -> list[str]:
    """Suffixes that are read, those of plug-ins among them, sorted."""
    return sorted({*_READERS, *(f".{point.name}" for point in entry_points(group=GROUP))})


def read(source: Source, columns: Columns) -> dict[str, Sequences]:
    """The sequences of a file.

    Args:
      source: The file.
      columns: What its columns mean, of formats that have some.

    Returns:
      Split -> sequences: `train` and `test` where the file divides them, and `validation` where it has that too; `all` where it
      does not.

    Raises:
      ConfigError: for columns that the file has not, or a format that has none.
      DataError: for a file that cannot be read, or is unfit.
    """
    for point in entry_points(group=GROUP):
        if f".{point.name}" == source.suffix:
            from lstm_bench.data.sequences import from_padded

            made = dict(point.load().read(source, columns))
            return {split: from_padded(part, part.lengths, columns, str(source)) for split, part in made.items()}
    if source.suffix not in _READERS:
        raise DataError(
            f"{source}: a format that is not read",
            expected=f"a name that ends in {', '.join(suffixes())}, or .gz after .csv and .tsv",
            received=source.suffix or "no suffix",
        )
    module = importlib.import_module(_READERS[source.suffix])
    return dict(module.read(source, columns))


def series(source: Source, columns: Columns) -> Found:
    """The series of a file, of the formats that have such: tables and `.tsf`.

    Args:
      source: The file.
      columns: `id`, `time` and `target`, of a table.

    Raises:
      ConfigError: for columns that the file has not.
      DataError: for a file that cannot be read, or a format of sequences.
    """
    module = importlib.import_module(_READERS[source.suffix]) if source.suffix in _READERS else None
    if not hasattr(module, "series"):
        raise DataError(
            f"{source}: no format of series to forecast",
            expected="a row per time step: .csv, .tsv or .parquet; or .tsf",
            received=source.suffix or "no suffix",
        )
    found: Found = module.series(source, columns)  # type: ignore[union-attr]
    return found


def columns_of(source: Source) -> list[str] | None:
    """Names of a table's columns, None of a format that has none.

    Raises:
      DataError: for a file that is no table of its suffix.
    """
    if source.suffix not in (".csv", ".tsv", ".parquet"):
        return None
    from lstm_bench.data.formats import table

    return table.names(source)
