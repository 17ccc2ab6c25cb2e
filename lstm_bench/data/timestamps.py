"""Time stamps and durations as text: one way of writing for a whole column, never a guess for each cell."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import numpy as np

from lstm_bench.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_ISO = re.compile(r"\s*\d{4}-\d")
_ZONE = re.compile(r".*(\d\d:\d\d.*|\d)\s*(Z|UTC|GMT|[+-]\d\d:?\d\d)\s*", re.IGNORECASE)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def seconds(values: np.ndarray, column: str, where: str) -> np.ndarray:
    """Seconds since 1970 of time stamps (UTC where they name no zone), or seconds of durations; NaN of what is neither.

    Args:
      values: Texts `(rows,)`, None where one is missing.
      column: Where they come from, for messages.
      where: The file, likewise.

    Raises:
      DataError: where day and month, or time zones, can be taken in more than one way.
    """
    import pandas as pd

    texts = pd.Series(
        [None if value is None or value != value else str(value) for value in values.tolist()], dtype=object
    )
    present = texts.dropna()
    zones = present.str.match(_ZONE)
    if bool(zones.any()) and not bool(zones.all()):
        raise DataError(
            f"{where}: column {column}",
            expected="time stamps with a time zone, or all without",
            received=f"{present[zones].iloc[0]} and {present[~zones].iloc[0]}"[:80],
        )
    if bool(present.str.match(_ISO).all()):
        return _since_1970(pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a day came first
        month_first, day_first = (
            _since_1970(pd.to_datetime(texts, errors="coerce", dayfirst=first, utc=True)) for first in (False, True)
        )
    unread = [int(np.isnan(found).sum()) for found in (month_first, day_first)]
    if not len(present) or min(unread) > len(texts) - len(present):
        lasting = pd.to_timedelta(texts, errors="coerce")
        durations = lasting.dt.total_seconds().to_numpy()
        return (
            durations
            if int(np.isnan(durations).sum()) < min(unread)
            else (month_first, day_first)[int(np.argmin(unread))]
        )
    if unread[0] == unread[1] and not np.array_equal(month_first, day_first, equal_nan=True):
        raise DataError(
            f"{where}: column {column}: whether the day or the month comes first cannot be told",
            expected="time stamps such as 2024-10-05 12:30",
            received=str(present.iloc[0])[:40],
            remedy="Write them so: pandas.to_datetime(table[COLUMN], dayfirst=True).",
        )
    return (month_first, day_first)[int(np.argmin(unread))]


def _since_1970(stamps: pd.Series) -> np.ndarray:
    found = stamps.astype("int64").to_numpy() / _PER_SECOND[stamps.dt.unit]
    return np.where(stamps.isna().to_numpy(), np.nan, found)
