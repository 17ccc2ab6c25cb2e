"""`.tsf`: the text format of the Monash archive of series to forecast.

Source: Godahewa et al. 2021, "Monash Time Series Forecasting Archive", arXiv 2105.06643.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import numpy as np

from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.data.formats.source import Source
from lstm_bench.data.sequences import Columns, Sequences, from_rows
from lstm_bench.data.series import Found, Series, Step, moments

# Steps of the season that the archive's authors measure MASE by, the shortest of a frequency.
SEASONS = {
    **{"yearly": 1, "quarterly": 4, "monthly": 12, "weekly": 52, "daily": 7, "hourly": 24, "half_hourly": 48},
    **{"15_minutes": 96, "10_minutes": 144, "minutely": 1440},
}
_NAME, _START = "series_name", "start_timestamp"
# From one value to the next; those that are not here are written by their frequency alone.
STEPS = {
    **{"yearly": Step("months", 12), "quarterly": Step("months", 3), "monthly": Step("months", 1)},
    **{"weekly": Step("time", 604800), "daily": Step("time", 86400), "hourly": Step("time", 3600)},
    **{"half_hourly": Step("time", 1800), "15_minutes": Step("time", 900), "10_minutes": Step("time", 600)},
    "minutely": Step("time", 60),
}


def read(source: Source, columns: Columns) -> dict[str, Sequences]:
    """The series as sequences of one feature without a label.

    Raises:
      ConfigError: for settings of tables.
      DataError: for a file that is none.
    """
    found = series(source, columns).series
    with np.errstate(over="ignore"):  # a number that is too large is said where arrays are checked
        x = np.concatenate([one.values for one in found]).astype(np.float32)[:, None]
    ids = np.array([one.name for one in found], object)
    lengths = np.array([len(one) for one in found])
    return {"all": from_rows(x, lengths, None, columns, str(source), features=("value",), ids=ids)}


def series(source: Source, columns: Columns) -> Found:
    """The series of a file, as its header describes them.

    Raises:
      ConfigError: for settings of tables.
      DataError: for a file that is none.
    """
    if given := columns.of_tables():
        raise ConfigError(f"dataset.{given[0]}: a .tsf file has no columns", remedy="Leave it out.")
    header: dict[str, str] = {}
    attributes: list[str] = []
    made: list[Series] = []
    with source.open() as file:
        lines = enumerate(io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace"), 1)
        for number, line in lines:
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            if not text.startswith("@"):
                raise DataError(f"{source}: row {number}", expected="a line with @, before @data", received=text[:40])
            key, *words = text[1:].split() or [""]
            if key.lower() == "data":
                break
            if key.lower() == "attribute":
                attributes.append(words[0] if words else "")
            else:
                header[key.lower()] = " ".join(words)
        else:
            raise DataError(f"{source}: it has no @data", expected="a .tsf file of the Monash archive")
        for number, line in lines:
            if text := line.strip():
                frequency = header.get("frequency", "").lower()
                made.append(_line(text, attributes, len(made), f"{source}: row {number}", STEPS.get(frequency)))
    if not made:
        raise DataError(f"{source}: it holds no series", expected="a line for each after @data")
    names = [one.name for one in made]
    if len({*names}) < len(names):
        again = next(name for index, name in enumerate(names) if name in names[:index])
        raise DataError(f"{source}: series {again} is there twice", expected="a name for each")
    frequency, horizon = header.get("frequency", "").lower(), header.get("horizon", "")
    notes = (f"steps are {frequency}, by the header",) if frequency else ()
    ahead = int(horizon) if horizon.isdecimal() and 0 < int(horizon) < 10**6 else None
    return Found(made, SEASONS.get(frequency), ahead, notes)


def _line(text: str, attributes: list[str], number: int, where: str, step: Step | None) -> Series:
    *words, values = text.split(":", len(attributes)) if attributes else [text]
    if len(words) < len(attributes):
        expected = f"{len(attributes)} attributes and values, with colons between"
        raise DataError(where, expected=expected, received=f"{len(words) + 1} parts")
    named: dict[str, Any] = dict(zip(attributes, words, strict=True))
    found = np.array([_number(cell, where) for cell in values.split(",")])
    begin = _moment(str(named.get(_START, "")))
    stamps = moments(begin, step, np.arange(len(found))) if step and begin is not None else None
    return Series(str(named.get(_NAME, number)).strip(), found, stamps, dated=True, step=step)


def _moment(text: str) -> float | None:
    """Seconds since 1970 of `1979-01-01 00-00-00`; None of anything else."""
    try:
        stamp = datetime.strptime(text.strip(), "%Y-%m-%d %H-%M-%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return stamp.timestamp()


def _number(text: str, where: str) -> float:
    word = text.strip()
    if word in ("?", "NaN", "nan"):
        return float("nan")
    try:
        value = float(word)
    except ValueError:
        value = float("inf")
    if not abs(value) < float("inf"):
        raise DataError(where, expected="finite numbers with commas", received=word[:40] or "nothing")
    return value
