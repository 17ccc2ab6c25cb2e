"""Tables as text: `.csv` and `.tsv`, UTF-8 with a header, also packed by gzip."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import re
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from lstm_bench.core import progress
from lstm_bench.core.errors import DataError
from lstm_bench.core.formatting import counted, is_number
from lstm_bench.data.formats.source import Source
from lstm_bench.data.rows import is_read, require
from lstm_bench.data.sequences import Columns

if TYPE_CHECKING:
    import pandas as pd


MISSING = ["?"]  # beside what pandas takes for missing: UCI's
_SAMPLE_ROWS, _SAMPLE_BYTES = 5_000, 2**20
_NUMERIC_SHARE = 0.9  # of a sample: a column is of numbers, and what else is in it a fault
_COMMA = re.compile(r"\s*[-+]?\d+(,\d+)+(\.\d+)?\s*|\s*[-+]?\d{1,3}(\.\d{3})*,\d+\s*")  # decimal commas, or thousands
_CHUNK_ROWS = 250_000  # read at a time: their text is gone before the next


def table(source: Source, columns: Columns, texts: frozenset[str] = frozenset()) -> dict[str, np.ndarray]:
    """Column -> values; `texts` are not of numbers, whatever the sample says.

    Raises:
      ConfigError: for a column that is not there.
      DataError: for a file that is no such table.
    """
    import pandas as pd

    separator = "\t" if source.suffix == ".tsv" else ","
    with source.open() as file:
        head = _head(file)
        names = _header(source, head, separator)
        require(names, columns, str(source))
        numeric, verbatim = _numeric_columns(source, head, names, separator, columns)
        numeric -= texts | {str(columns.text)}
        kept = [name for name in names if is_read(name, columns, numeric)]
        as_they_are = {name for _, name in columns.named()}
        types: dict[str, Any] = {name: np.float32 for name in kept if name in numeric and name not in as_they_are}
        types |= dict.fromkeys((name for name in names if name not in numeric), "category")
        # pandas takes categories for numbers where all look like them: 007 would be 7.
        types |= dict.fromkeys(verbatim, str)
        # A text may be "NA", or "007": with a mark before it pandas takes it for neither.
        raw = {} if columns.text is None else {columns.text: "|{}".format}
        types = {name: kind for name, kind in types.items() if name not in raw}
        parts: dict[str, list[Any]] = {name: [] for name in kept}
        try:  # every column is parsed: with `usecols`, pandas says nothing of a row that has too many
            with np.errstate(over="ignore"), pd.read_csv(  # a number that is too large is said below
                file, **_how(separator, names), dtype=types, converters=raw, chunksize=_CHUNK_ROWS, low_memory=False
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
            raise _bad_cell(source, separator, names, [n for n in kept if n in numeric]) or DataError(
                f"{source}: cannot be read ({error})"
            ) from error
    made: dict[str, np.ndarray] = {}
    if not any(map(len, parts[kept[0]] if kept else ())):
        return made
    for name in kept:
        made[name] = _joined(parts.pop(name))
        if name in raw:
            made[name] = np.array([text[1:] for text in made[name].tolist()], object)
            continue
        if name in numeric and made[name].dtype == object:  # numbers in the sample, something else further on
            if name in (columns.id, columns.group):  # names, some of which look like numbers
                return table(source, columns, texts | {name})
            raise _bad_cell(source, separator, names, [name]) or DataError(f"{source}: column {name} is not of numbers")
    return made


def names(source: Source) -> list[str]:
    """Names of the columns.

    Raises:
      DataError: for a file that is no such table.
    """
    with progress.heard(lambda what, share: None), source.open() as file:  # the beginning alone
        return _header(source, _head(file), "\t" if source.suffix == ".tsv" else ",")


def _how(separator: str, names: Sequence[str]) -> dict[str, Any]:
    """What pandas is told of every text file."""
    return {
        **{"sep": separator, "names": list(names), "header": 0, "na_values": MISSING, "encoding": "utf-8-sig"},
        "skipinitialspace": True,
    }


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
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            raise DataError(f"{source}: it is {what}", expected="a table as text")
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or head[:200].count(0) > 20:
        raise DataError(f"{source}: it is UTF-16", expected="UTF-8", remedy=_utf8("UTF-16"))
    if 0 in head:
        raise DataError(f"{source}: it holds a NUL byte", expected="text")
    text = head.decode("utf-8-sig", "replace")
    first = text.splitlines()[0]
    if not first.strip():
        raise DataError(f"{source}: row 1 is empty", expected="names of the columns", remedy="Take such lines out.")
    if first.lstrip().startswith(("#", "%", "//")) or first.startswith("sep="):
        raise DataError(
            f"{source}: row 1 is a remark",
            expected="names of the columns",
            received=first[:40],
            remedy=f"Take it out: tail -n +{_remarks(text) + 1} OLD > NEW",
        )
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
    if all(map(is_number, names)):
        raise DataError(
            f"{source}: row 1",
            expected="names of the columns",
            received=first[:40],
            remedy="Put a line with a name for each column before it.",
        )
    twice = [name for index, name in enumerate(names) if name and name in names[:index]]
    if twice:
        raise DataError(f"{source}: two columns have one name", received=twice[0])
    rows = csv.reader(io.StringIO(text[len(first) :], newline=""), delimiter=separator)
    with contextlib.suppress(csv.Error):  # said when it is read
        cells = next(filter(None, rows), [])
        if len(cells) > len(names):  # pandas would take the first for an index, and move all the others
            title = "If row 1 is a title, take it out: tail -n +2 OLD > NEW" if len(names) == 1 else None
            wanted = counted(len(names), "field")
            raise DataError(f"{source}: row 2", expected=wanted, received=f"{len(cells)} fields", remedy=title)
    return [
        name or f"{' ' * index}" for index, name in enumerate(names)
    ]  # no name: as many blanks, so that none is there twice


# How files begin that are no text.
_MAGIC = {
    b"\x1f\x8b": "packed by gzip: name it so, with .gz behind",
    b"PK\x03\x04": "a zip archive or a spreadsheet: save the sheet as CSV, or name the member, FILE.zip!MEMBER",
    b"\xd0\xcf\x11\xe0": "a spreadsheet: save the sheet as CSV",
    b"PAR1": "a parquet file: name it .parquet",
    b"\x89HDF": "an HDF5 file: pandas.read_hdf(OLD).to_csv(NEW)",
    b"\x93NUMPY": "a NumPy array: numpy.savez(NEW, x=..., y=...) makes an .npz",
}


def _remarks(text: str) -> int:
    """How many lines at the beginning are remarks."""
    lines = iter(text.splitlines())
    return sum(1 for _ in itertools.takewhile(lambda line: line.lstrip().startswith(("#", "%", "//", "sep=")), lines))


def _numeric_columns(
    source: Source, head: bytes, names: Sequence[str], separator: str, columns: Columns
) -> tuple[set[str], set[str]]:
    """Columns of numbers, and those of names that look like numbers, 007, or do in part, A12 beside 5.

    The former are those whose cells are numbers in nearly all of the first rows; one without any value counts as such.

    Raises:
      DataError: for a column that may be an input, whose numbers are written with commas: else it would be left out as text.
    """
    import pandas as pd

    whole = head if len(head) < _SAMPLE_BYTES else head[: head.rfind(b"\n") + 1]
    try:
        sample = pd.read_csv(
            io.BytesIO(whole), **_how(separator, names), nrows=_SAMPLE_ROWS, dtype=str,
            encoding_errors="replace", on_bad_lines="skip",
        )  # fmt: skip
    except (pd.errors.ParserError, ValueError):  # said when it is read
        return set(), set()
    found, verbatim = set[str](), set[str]()
    for name in names:
        if name in sample:
            cells = sample[name].dropna()
            values = pd.to_numeric(cells, errors="coerce").notna()
            if int(values.sum()) >= _NUMERIC_SHARE * len(cells):
                names_it = name in (columns.id, columns.group)
                written = names_it and not (values.all() and not cells.str.match(r"[-+]?0\d").any())
                (verbatim if written else found).add(name)
            elif name in (columns.features or names) and name not in {column for _, column in columns.named()}:
                _require_no_commas(source, name, cells, separator)
    return found, verbatim


def _require_no_commas(source: Source, name: str, cells: pd.Series, separator: str) -> None:
    """Raises DataError where the cells of a column are numbers with decimal commas, or with commas between thousands."""
    commas = cells.str.fullmatch(_COMMA) & cells.str.contains(",")
    if not commas.any() or not (commas | cells.map(is_number)).mean() >= _NUMERIC_SHARE:
        return
    written = cells[commas].str.strip()
    how = "decimal=',' or thousands=',', whichever it is"
    if written.str.contains(r"\.\d+$|,\d+,").any():
        how = "thousands=','"
    elif not written.str.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}").all():
        how = "decimal=','"
    tab = ", sep='\\t'" if separator == "\t" else ""
    raise DataError(
        f"{source}: row {int(cells[commas].index[0]) + 2}, column {name}",
        expected="a number",
        received=str(cells[commas].iloc[0])[:40],
        remedy=f"Commas in numbers: read it by pandas.read_csv(OLD{tab}), with {how}, and save it anew",
    )


def _ragged(source: Source, error: Exception) -> DataError:
    said = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
    if said:
        expected, row, received = said.groups()
        return DataError(f"{source}: row {row}", expected=f"{expected} fields", received=f"{received} fields")
    if said := re.search(r"EOF inside string starting at row (\d+)", str(error)):
        return DataError(
            f"{source}: row {int(said[1]) + 1}", expected="quotation marks in pairs", received="one that is not closed"
        )
    return DataError(f"{source}: no table ({' '.join(str(error).split())[:120]})")


def _bad_cell(source: Source, separator: str, names: Sequence[str], numeric: Sequence[str]) -> DataError | None:
    """The first cell of these columns that is no number, and how many there are."""
    import pandas as pd

    first: tuple[int, str, str] | None = None
    n = 0
    with (
        source.open() as file,
        pd.read_csv(file, **_how(separator, names), usecols=list(numeric), dtype=str, chunksize=_CHUNK_ROWS) as chunks,
    ):
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
