"""Tables in Parquet files, read by pyarrow (extra)."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_bench.core import progress
from lstm_bench.core.errors import DataError
from lstm_bench.data.formats.source import MAX_BYTES, Source
from lstm_bench.data.rows import is_read, require
from lstm_bench.data.sequences import Columns


def _opened(source: Source) -> tuple[Any, Any]:
    """pyarrow, and the file."""
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataError(f"{source}: .parquet needs pyarrow", remedy="pip install 'lstm-bench[parquet]'") from error
    with source.open() as file:
        body: Any = source.path if source.member is None else pa.BufferReader(file.read())
    try:
        return pa, pq.ParquetFile(body)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"{source}: no parquet file, or a damaged one ({reason})") from error


def names(source: Source) -> list[str]:
    """Names of the columns.

    Raises:
      DataError: for a file that is no such table.
    """
    _, opened = _opened(source)
    return list(opened.schema_arrow.names)


def table(source: Source, columns: Columns) -> dict[str, np.ndarray]:
    """Column -> values.

    Raises:
      ConfigError: for a column that is not there.
      DataError: for a file that is no such table, or too large a one.
    """
    pa, opened = _opened(source)
    schema = opened.schema_arrow
    require(schema.names, columns, str(source))
    nested = [field.name for field in schema if pa.types.is_nested(field.type)]
    numeric = {field.name for field in schema if _is_number_type(pa, field.type)}
    kept = [name for name in schema.names if is_read(name, columns, numeric)]
    if wrong := [name for name in nested if name in kept or columns.features is None]:
        raise DataError(
            f"{source}: column {wrong[0]} is nested",
            expected="one value per row",
            received=str(schema.field(wrong[0]).type)[:40],
            remedy="A row per timestep: pandas.DataFrame.explode makes them. Or leave it out by dataset.features=[...].",
        )
    size = opened.metadata.num_rows * len(kept) * 8  # a column of one value takes next to nothing in the file
    if size > MAX_BYTES:
        raise DataError(
            f"{source}: {opened.metadata.num_rows:,} rows of {len(kept)} columns",
            expected=f"at most {MAX_BYTES / 2**20:,.0f} MiB",
            received=f"{size / 2**20:,.0f} MiB",
            remedy="Leave columns out by dataset.features=[...], or rows.",
        )
    made = {}
    try:
        for index, name in enumerate(kept):
            progress.tell(f"reading {source.name}", index / len(kept))
            made[name] = _values(opened.read([name]).column(0), pa, name in numeric)
            if made[name].dtype.kind == "f" and name not in {column for _, column in columns.named()}:
                with np.errstate(over="ignore"):  # said as a value that is not finite
                    made[name] = made[name].astype(np.float32)
        return made
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source}: damaged ({' '.join(str(error).split())[:100]})") from error


def _is_number_type(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _values(column: Any, pa: Any, numeric: bool) -> np.ndarray:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    elif pa.types.is_binary(column.type):
        column = column.cast(pa.string())
    values: np.ndarray = column.to_numpy(zero_copy_only=False) if hasattr(column, "to_numpy") else np.asarray(column)
    if values.dtype.kind == "m":  # durations
        return values / np.timedelta64(1, "s")
    if values.dtype.kind == "M":  # time stamps: pandas takes them from here
        return values.astype(str).astype(object)
    return values if numeric or values.dtype.kind == "b" else values.astype(object)
