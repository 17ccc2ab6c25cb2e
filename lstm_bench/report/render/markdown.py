"""Numbers, rows and paragraphs as Markdown, CSV and plain text; the same text on every machine."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lstm_bench.core import formatting
from lstm_bench.core.statistics import Interval

NONE = "–"  # noqa: RUF001
MOST_COLUMNS = 8  # of a table across studies: more do not fit beside each other
_NAMED = 4  # names in a list before the rest is counted


class Raw(str):
    """Text that is Markdown already."""

    __slots__ = ()


def escape(text: object) -> str:
    """Text for a Markdown paragraph or table cell: nothing in it starts markup or ends the cell."""
    if isinstance(text, Raw):
        return str(text)
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*|\[\]])", r"\\\1", line)


def link(text: object, target: str) -> Raw:
    """A Markdown link."""
    return Raw(f"[{escape(text)}]({target})")


def code(text: object) -> Raw:
    """Inline code. Backticks become quotes, bars are escaped as tables want it."""
    return Raw("`" + " ".join(str(text).split()).replace("`", "'").replace("|", "\\|") + "`")


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str] = ()) -> str:
    """A Markdown table; the columns named in `right` are aligned to the right."""
    numbers = set(right)
    lines = [
        "| " + " | ".join(map(escape, columns)) + " |",
        "|" + "|".join(" ---: " if c in numbers else " --- " for c in columns) + "|",
    ]
    lines += ["| " + " | ".join(escape(cell) or NONE for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def folded(columns: Sequence[str], rows: Sequence[Sequence[object]], right: Iterable[str] = ()) -> str:
    """`markdown`, of more columns than fit on a page as several tables, each with the first column."""
    numbers, most = set(right), MOST_COLUMNS - 1
    starts = range(1, max(len(columns), 2), most)
    parts = [[0, *range(start, min(start + most, len(columns)))] for start in starts]
    return "\n\n".join(
        markdown([columns[k] for k in part], [[row[k] for k in part] for row in rows], numbers) for part in parts
    )


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A CSV file; numbers as in the records, NaN as an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = [row.get(column) for column in columns]
        writer.writerow(["" if isinstance(c, float) and math.isnan(c) else formatting.format_field(c) for c in cells])
    return out.getvalue()


def percent(value: float, digits: int = 2) -> str:
    """A fraction in percent, without the sign."""
    return f"{100 * value:.{digits}f}" if math.isfinite(value) else NONE


def plus_minus(interval: Interval) -> str:
    """`98.83 ± 0.08` in percent; without an interval for a single run."""
    if math.isnan(interval.mean):
        return NONE
    return f"{percent(interval.mean)} ± {percent(interval.half_width)}"


def count(value: float) -> str:
    """A whole number with thousands separated: `220,874`."""
    return f"{value:,.0f}" if math.isfinite(value) else NONE


def short(value: object, digits: int = 4) -> str:
    """A value of a configuration: floats with `digits` significant digits, all else as it is."""
    text = str(value)
    if re.fullmatch(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?", text) and not text.lstrip("+-").isdigit():
        return format(float(text), f".{digits}g")
    return text


def seconds(value: float) -> str:
    """Seconds, with as many digits as can matter: `0.42`, `12.3`, `1,234`."""
    if not math.isfinite(value):
        return NONE
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def compact(value: Any) -> str:
    """A part of the configuration on one line: its name first, then what else is set."""
    if not isinstance(value, Mapping):
        return ", ".join(map(compact, value)) if isinstance(value, list) else str(value)
    rest = {k: v for k, v in value.items() if k not in ("name", "_target_") and v not in (None, {}, [])}
    name = str(value.get("name") or value.get("_target_") or "")
    nested = {k: f"{{{compact(v)}}}" if isinstance(v, Mapping) else compact(v) for k, v in rest.items()}
    words = " ".join(f"{k}={v}" for k, v in nested.items())
    return f"{name} ({words})" if name and words else name or words


def sentence(text: str) -> str:
    """`text` with a capital first."""
    return text[:1].upper() + text[1:]


def bullets(lines: Iterable[str]) -> str:
    """Lines as a Markdown list, as they are in meaning."""
    return "\n".join(f"- {escape(line)}" for line in lines)


def image(place: str, caption: str, up: str = "") -> str:
    """The figure `place`.svg with its caption; `up` leads from the page to the reports."""
    alt = escape(caption)
    return f"![{alt}]({up}{place}.svg)\n\n*{alt}*"


def document(parts: Iterable[str]) -> str:
    """Paragraphs as a file; empty ones are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def slug(name: str) -> str:
    """`name` as a part of a file name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name).strip(".") or "data"


def amount(value: float, percent_: bool) -> str:
    """A score: a fraction in percent with two digits, any other with four significant ones."""
    if not math.isfinite(value):
        return NONE
    return percent(value) if percent_ else format(value, ".4g")


def mean_text(interval: Interval, percent_: bool) -> str:
    """A mean score with its half-width: `98.83 ± 0.08` in percent, `0.001234 ± 0.00021` else."""
    if percent_:
        return plus_minus(interval)
    if math.isnan(interval.mean):
        return NONE
    half = format(interval.half_width, ".2g") if math.isfinite(interval.half_width) else NONE
    return f"{interval.mean:.4g} ± {half}"


def probability(p: float) -> str:
    """A p-value as a sentence has it: `p = 0.031`, `p < 0.0001`."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def whole(value: Any) -> str:
    """A whole number that a table holds as a float; nothing of what is none."""
    return f"{value:.0f}" if isinstance(value, float) and math.isfinite(value) else ""
