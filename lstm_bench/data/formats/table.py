"""Tables: `.csv` and `.tsv`, UTF-8 with a header, also packed by gzip; `.parquet`. Rows may come in any order."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from lstm_bench.core import progress
from lstm_bench.core.errors import DataError
from lstm_bench.core.formatting import is_number
from lstm_bench.data.formats.source import MAX_BYTES, Source
from lstm_bench.data.sequences import Columns, Sequences, from_table, require

if TYPE_CHECKING:
    import pandas as pd

MISSING = ["?"]  # beside what pandas takes for missing: UCI's
_SAMPLE_ROWS, _SAMPLE_BYTES = 5_000, 2**20
_NUMERIC_SHARE = 0.9  # of a sample: a column is of numbers, and what else is in it a fault
_CHUNK_ROWS = 250_000  # read at a time: their text is gone before the next


def read(source: Source, columns: Columns) -> dict[str, Sequences]:
    """The sequences of a table, undivided.

    Raises:
      ConfigError: for a column that is not there.
      DataError: for a file that is no such table.
    """
    rows = table(source, columns)
    progress.tell(f"cutting {source.name} into sequences")
    return {"all": from_table(rows, columns, str(source))}


def table(source: Source, columns: Columns) -> dict[str, np.ndarray]:
    """Column -> values of a table: numbers as float32, those that `columns` name as they are, text as objects.

    Raises:
      DataError: for a file that is no such table.
    """
    made = _parquet(source, columns) if source.suffix == ".parquet" else _text(source, columns)
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
    if source.suffix == ".parquet":
        _, opened = _opened(source)
        return list(opened.schema_arrow.names)
    with source.open() as file:
        return _header(source, _head(file), "\t" if source.suffix == ".tsv" else ",")


# Text.


def _text(source: Source, columns: Columns) -> dict[str, np.ndarray]:
    import pandas as pd

    separator = "\t" if source.suffix == ".tsv" else ","
    with source.open() as file:
        head = _head(file)
        names = _header(source, head, separator)
        require(names, columns, str(source))
        numeric = _numeric_columns(head, names, separator)
        kept = [name for name in names if _is_read(name, columns, numeric)]
        as_they_are = {name for _, name in columns.named()}
        types: dict[str, Any] = {name: np.float32 for name in kept if name in numeric and name not in as_they_are}
        types |= dict.fromkeys((name for name in names if name not in numeric), "category")
        parts: dict[str, list[Any]] = {name: [] for name in kept}
        try:  # every column is parsed: with `usecols`, pandas says nothing of a row that has too many
            with pd.read_csv(
                file, sep=separator, dtype=types, chunksize=_CHUNK_ROWS, na_values=MISSING,
                encoding="utf-8-sig", low_memory=False,
            ) as chunks:  # fmt: skip
                for chunk in chunks:
                    for name in kept:
                        parts[name].append(chunk[name])
        except DataError:
            raise
        except pd.errors.ParserError as error:
            raise _ragged(source, error) from error
        except UnicodeDecodeError as error:
            raise DataError(f"{source}: it is not UTF-8", remedy=_utf8("LATIN1")) from error
        except (ValueError, OverflowError) as error:
            raise _bad_cell(source, separator, [n for n in kept if n in numeric]) or DataError(
                f"{source}: cannot be read ({error})"
            ) from error
    made: dict[str, np.ndarray] = {}
    if not any(map(len, parts[kept[0]] if kept else ())):
        return made
    for name in kept:
        made[name] = _joined(parts.pop(name))
        if name in numeric and made[name].dtype == object:  # numbers in the sample, something else further on
            raise _bad_cell(source, separator, [name]) or DataError(f"{source}: column {name} is not of numbers")
    return made


def _is_read(name: str, columns: Columns, numeric: set[str]) -> bool:
    if name in (column for _, column in columns.named()) or name in (columns.features or ()):
        return True
    return columns.features is None and name in numeric


def _joined(parts: Sequence[pd.Series]) -> np.ndarray:
    """One column of all chunks: numbers, or objects that share their texts, None for what is missing."""
    import pandas as pd
    from pandas.api.types import union_categoricals

    if not parts:
        return np.zeros(0, np.float32)
    if isinstance(parts[0].dtype, pd.CategoricalDtype):
        joined = union_categoricals([part.array for part in parts])
        names = np.array([*map(str, joined.categories), None], object)
        return names[joined.codes]  # -1, missing, is the last
    if all(part.dtype.kind in "biuf" for part in parts):
        return np.concatenate([part.to_numpy() for part in parts])
    return np.concatenate([part.to_numpy(object) for part in parts])


def _head(file: IO[bytes]) -> bytes:
    """The beginning of a file, which is read again afterwards."""
    return file.peek(_SAMPLE_BYTES)[:_SAMPLE_BYTES]  # type: ignore[attr-defined]


def _utf8(encoding: str) -> str:
    return f"Save it as UTF-8: iconv -f {encoding} -t UTF-8 OLD > NEW"


def _header(source: Source, head: bytes, separator: str) -> list[str]:
    """Names of the columns, once the file was found to be what its suffix says."""
    if not head.strip():
        raise DataError(f"{source}: the file is empty", expected="a header and rows")
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or head[:200].count(0) > 20:
        raise DataError(f"{source}: it is UTF-16", expected="UTF-8", remedy=_utf8("UTF-16"))
    if 0 in head:
        raise DataError(f"{source}: it holds a NUL byte", expected="text")
    text = head.decode("utf-8-sig", "replace")
    first = text.splitlines()[0]
    import csv

    names = [name.strip() for name in next(csv.reader([first], delimiter=separator))]
    other = max(";\t|,", key=first.count)
    if len(names) == 1 and other != separator and first.count(other):
        word = {"\t": "a tab", ";": "a semicolon", "|": "a bar", ",": "a comma"}
        decimal = ", decimal=','" if other == ";" and re.search(r"\d,\d", text) else ""
        raise DataError(
            f"{source}: its columns are separated by {word[other]}",
            expected=f"{word[separator]}, as {source.suffix} says",
            remedy=f"Save it anew: pandas.read_csv(OLD, sep={other!r}{decimal}).to_csv(NEW, index=False)",
        )
    raw = next(csv.reader([first], delimiter=separator))
    if all(map(is_number, raw)):
        raise DataError(f"{source}: row 1", expected="names of the columns", received=first[:40])
    twice = [name for place, name in enumerate(raw) if name in raw[:place]]
    if twice:
        raise DataError(f"{source}: two columns have one name", received=twice[0])
    rows = csv.reader(io.StringIO(text[len(first) :], newline=""), delimiter=separator)
    with contextlib.suppress(csv.Error):  # said when it is read
        cells = next(filter(None, rows), [])
        if len(cells) > len(raw):  # pandas would take the first for an index, and move all the others
            raise DataError(f"{source}: row 2", expected=f"{len(raw)} fields", received=f"{len(cells)} fields")
    return raw


def _numeric_columns(head: bytes, names: Sequence[str], separator: str) -> set[str]:
    """Columns whose cells are numbers in nearly all of the first rows; one without any value counts as such."""
    import pandas as pd

    whole = head if len(head) < _SAMPLE_BYTES else head[: head.rfind(b"\n") + 1]
    try:
        sample = pd.read_csv(
            io.BytesIO(whole), sep=separator, nrows=_SAMPLE_ROWS, dtype=str, na_values=MISSING, encoding="utf-8-sig",
            encoding_errors="replace", on_bad_lines="skip",
        )  # fmt: skip
    except (pd.errors.ParserError, ValueError):  # said when it is read
        return set()
    found = set()
    for name in names:
        if name in sample:
            cells = sample[name].dropna()
            n = pd.to_numeric(cells, errors="coerce").notna().sum()
            if n >= _NUMERIC_SHARE * len(cells):
                found.add(name)
    return found


def _ragged(source: Source, error: Exception) -> DataError:
    said = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
    if said:
        expected, row, received = said.groups()
        return DataError(f"{source}: row {row}", expected=f"{expected} fields", received=f"{received} fields")
    return DataError(f"{source}: no table ({' '.join(str(error).split())[:120]})")


def _bad_cell(source: Source, separator: str, numeric: Sequence[str]) -> DataError | None:
    """The first cell of these columns that is no number, and how many there are."""
    import pandas as pd

    first: tuple[int, str, str] | None = None
    n = 0
    with source.open() as file, pd.read_csv(
        file, sep=separator, usecols=list(numeric), dtype=str, chunksize=_CHUNK_ROWS, na_values=MISSING,
        encoding="utf-8-sig",
    ) as chunks:  # fmt: skip
        for chunk in chunks:
            for name in numeric:
                cells = chunk[name].dropna()
                bad = cells[pd.to_numeric(cells, errors="coerce").isna()]
                n += len(bad)
                if len(bad) and (first is None or bad.index[0] + 2 < first[0]):
                    first = int(bad.index[0]) + 2, name, str(bad.iloc[0])
    if first is None:
        return None
    row, name, text = first
    remedy = f"{n:,} such cell{'s' * (n != 1)}: mend them, or leave them empty and say dataset.missing."
    if text.strip() == name:
        remedy = "The header is there again: take that row out."
    elif re.fullmatch(r"\s*-?\d+,\d+\s*", text):
        remedy = "Decimal commas: save it anew with pandas.read_csv(OLD, decimal=',').to_csv(NEW, index=False)"
    return DataError(f"{source}: row {row}, column {name}", expected="a number", received=text[:40], remedy=remedy)


# Parquet.


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


def _parquet(source: Source, columns: Columns) -> dict[str, np.ndarray]:
    pa, opened = _opened(source)
    schema = opened.schema_arrow
    require(schema.names, columns, str(source))
    nested = [field.name for field in schema if pa.types.is_nested(field.type)]
    numeric = {field.name for field in schema if _is_number_type(pa, field.type)}
    kept = [name for name in schema.names if _is_read(name, columns, numeric)]
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
        for place, name in enumerate(kept):
            progress.tell(f"reading {source.name}", place / len(kept))
            made[name] = _values(opened.read([name]).column(0), pa, name in numeric)
        return made
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source}: damaged ({' '.join(str(error).split())[:100]})") from error


def _is_number_type(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _values(column: Any, pa: Any, numeric: bool) -> np.ndarray:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    values: np.ndarray = column.to_numpy(zero_copy_only=False) if hasattr(column, "to_numpy") else np.asarray(column)
    if values.dtype.kind == "M":  # time stamps: pandas takes them from here
        return values.astype(str).astype(object)
    return values if numeric or values.dtype.kind == "b" else values.astype(object)
