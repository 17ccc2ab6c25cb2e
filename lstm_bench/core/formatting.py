"""Numbers and values as text: in records, exact; for people, short."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def format_field(value: Any) -> str:
    """One CSV field. Floats keep 10 significant digits: enough for any metric, stable across machines."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isfinite(value):
            return format(value, ".10g")
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return str(value)


def format_exact(value: Any) -> str:
    """One CSV field of a searched value: a float with all its digits, so that its trial can be run again."""
    return repr(float(value)) if isinstance(value, float) and math.isfinite(value) else format_field(value)


def number(value: Any) -> str:
    """A score in four decimals; what is too small or too large for them in three or four digits."""
    if value is None:
        return "-"
    size = abs(value)
    if 0 < size < 0.001:
        return f"{value:.1e}"
    if size < 10:
        return f"{value:.4f}"
    if size < 1000:
        return f"{value:#.4g}"
    return f"{value:,.0f}" if size < 1e9 else f"{value:.3g}"


def counted(n: int, name: str, several: str | None = None) -> str:
    """How many of something: "1 epoch", "2,000 epochs", "3 studies"."""
    return f"{n:,} {name if n == 1 else several or name + 's'}"


def duration(seconds: float) -> str:
    """How long something takes, as exactly as an estimate is: "8 s", "35 s", "12 min", "1 h 40 min", "3 d 5 h"."""
    if seconds < 100:
        return f"{max(1, round(seconds)) if seconds < 10 else 5 * round(seconds / 5)} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    minutes = 10 * round(minutes / 10)
    if minutes < 48 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    hours = round(minutes / 60)
    return f"{hours // 24} d" + (f" {hours % 24} h" if hours % 24 else "")


def values(params: Mapping[str, Any]) -> str:
    """Searched values in a few words: `units=87 learning_rate=0.0021`."""
    return " ".join(f"{path.rpartition('.')[2]}={_value(value)}" for path, value in params.items())


def _value(value: Any) -> str:
    if isinstance(value, float):
        return format(value, ".3g")
    return "null" if value is None else format_field(value)


def plain(columns: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str] = ()) -> str:
    """A table for a terminal, columns padded with spaces."""
    numbers = set(right)
    lines = [[str(c) for c in columns], *([" ".join(str(cell).split()) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]

    def text(line: list[str]) -> str:
        cells = zip(columns, line, widths, strict=True)
        return "  ".join(c.rjust(w) if name in numbers else c.ljust(w) for name, c, w in cells).rstrip()

    return "\n".join(map(text, lines))


def is_number(text: str) -> bool:
    """Whether a text is a number as Python reads one, `nan` and `inf` among them."""
    try:
        float(text)
    except ValueError:
        return False
    return True
