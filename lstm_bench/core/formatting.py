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
    """A score in four decimals; a loss too small for them in two digits."""
    if value is None:
        return "-"
    return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.4f}"


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
