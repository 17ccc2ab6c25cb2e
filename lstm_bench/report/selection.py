"""A table of chosen columns of the data files, under chosen names: as CSV, and as LaTeX for a paper."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from lstm_bench.core.errors import ConfigError, nearest
from lstm_bench.core.statistics import Interval
from lstm_bench.data.task import in_percent
from lstm_bench.report.render import latex
from lstm_bench.report.render.markdown import NONE, count, mean_text, short

if TYPE_CHECKING:
    from lstm_bench.report.pages.study import Pages

SCORE = "score"  # of comparison.csv: what its columns of the score come to as text


def select(
    folders: Iterable[Pages],
    columns: Sequence[str],
    names: Sequence[str],
    studies: Collection[str] | None = None,
    as_latex: bool = False,
) -> None:
    """Adds `csv/<file>.csv`, and `latex/<file>.tex`, to what each folder is asked for, of every data file with the columns.

    Args:
      folders: Folders of reports.
      columns: In the order wanted.
      names: What the table calls them.
      studies: Names of studies, whose rows alone are taken; None for all.
      as_latex: Whether the LaTeX is wanted.

    Raises:
      ConfigError: for a column that no data file has, or columns that no one file has together.
    """
    heads: dict[str, list[str]] = {}
    for pages in folders:
        for path in sorted(path for path in pages.texts if path.endswith(".csv")):
            head, rows = _read(pages.texts[path], path)
            heads[path] = head
            if set(columns) <= set(head):
                mine = [[row[column] for column in columns] for row in rows if _is_of(row, studies)]
                pages.requested[f"csv/{path}"] = _csv(names, mine)
                if as_latex:
                    name = f"latex/{path.removesuffix('.csv')}.tex"
                    pages.requested[name] = latex.table_of(path, name, names, [[_shown(c) for c in r] for r in mine])
    known = {column for head in heads.values() for column in head}
    for column in columns:
        if column not in known:
            files = ", ".join(sorted(heads)) or "a data file, of which there is none"
            raise ConfigError(
                "columns", expected=f"columns of {files}", received=column, remedy=nearest(column, sorted(known))
            )
    if not any(set(columns) <= set(head) for head in heads.values()):
        raise ConfigError("columns", expected="columns of one data file", received=", ".join(columns))


def _read(text: str, path: str) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a data file, those of the comparison with the score as text."""
    reader = csv.DictReader(io.StringIO(text))
    head, rows = list(reader.fieldnames or ()), list(reader)
    if path == "comparison.csv":
        head, rows = [*head, SCORE], [row | {SCORE: _score(row)} for row in rows]
    return head, rows


def _score(row: Mapping[str, str]) -> str:
    mean, half = (float(row[f"score_{part}"] or "nan") for part in ("mean", "half_width_95"))
    return mean_text(Interval(mean, half, int(row["n"])), in_percent(row["measure"]))


def _is_of(row: Mapping[str, str], studies: Collection[str] | None) -> bool:
    """Whether a row is of the chosen studies: that of a pair of both."""
    named = [row[key] for key in ("study", "first", "second") if key in row]
    return studies is None or not named or set(named) <= set(studies)


def _csv(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([names, *rows])
    return out.getvalue()


def _shown(text: str) -> str:
    """A number as a reader wants it: whole ones by thousands, others with four digits."""
    try:
        value = float(text)
    except ValueError:
        return text or NONE
    if not math.isfinite(value):
        return text
    return count(value) if value.is_integer() or abs(value) >= 1000 else short(text)
