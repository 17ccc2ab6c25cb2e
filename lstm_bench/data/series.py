"""Series as a file has them, before anything is cut: values at even steps of time, or it is said that they are not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from lstm_bench.core.errors import DataError
from lstm_bench.core.formatting import counted
from lstm_bench.data.sequences import Columns, Table, _numeric, _ordered

_TOLERANCE = 1e-6  # of a step: times are rounded where they are written
_LONGEST = 20  # times as many steps as there are values: no grid that has gaps, but no grid


@dataclass(frozen=True, eq=False)
class Series:
    """Values that follow each other in time.

    Attributes:
      name: What the file calls it, "" for the only one of a file.
      values: float64 `(timesteps,)`, NaN where one is missing.
      stamps: float64 `(timesteps,)`, ascending: numbers, or seconds since 1970; None where their steps are even by the format.
      dated: Whether `stamps` are seconds since 1970.
      made_up: bool `(timesteps,)`: which values were filled in; None for none.
    """

    name: str
    values: np.ndarray
    stamps: np.ndarray | None = None
    dated: bool = False
    made_up: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Found:
    """What a file holds.

    Attributes:
      series: In the order of the file, or of their names.
      season: Steps of a season, None where nothing says so.
      horizon: Steps that are usually forecast, None where nothing says so.
      notes: A sentence for each thing that was understood.
    """

    series: list[Series]
    season: int | None = None
    horizon: int | None = None
    notes: tuple[str, ...] = field(default=())


def from_table(table: Table, columns: Columns, where: str) -> Found:
    """The series of a long table, one for each value of the column `id`.

    Args:
      table: Column -> values `(rows,)`, at least one row.
      columns: `target`, and perhaps `id` and `time`.
      where: The file, for messages.

    Raises:
      DataError: for values that are no numbers, and stamps that are none, or there twice.
    """
    target = str(columns.target)
    values = table[target]
    if not _numeric(values):
        row = next(place for place, value in enumerate(values) if value is not None)
        raise DataError(
            f"{where}: row {row + 2}, column {target}", expected="a number to forecast", received=str(values[row])[:40]
        )
    of, order, stamps = _ordered(table, columns, len(values), where)
    names = None if columns.id is None else table[columns.id]
    if order is not None:
        values, names = values[order], None if names is None else names[order]
    starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]])
    dated = columns.time is not None and not _numeric(table[columns.time])
    ends = np.r_[starts[1:], len(values)]
    made = [
        Series(
            "" if names is None else str(names[start]),
            values[start:end].astype(np.float64),
            None if stamps is None else stamps[start:end],
            dated,
        )
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
    return Found(made)


def even(series: Series, rule: str, column: str | None, where: str) -> Series:
    """A series at even steps.

    Args:
      series: Perhaps with gaps between its stamps.
      rule: `refuse`; `order`: rows are a step each, whatever lies between; `forward_fill`: the value before.
      column: Of the stamps, for messages.
      where: The file, likewise.

    Raises:
      DataError: for uneven steps, of `refuse`; for steps that are on no grid, of `forward_fill`.
    """
    if series.stamps is None or rule == "order" or len(series) < 3:
        return series
    best: np.ndarray | None = None
    for counts in _countings(series):
        steps = np.diff(counts)
        step = float(np.median(steps))
        slack = _TOLERANCE * step + 8 * np.spacing(np.abs(counts).max())
        if (np.abs(steps - step) <= slack).all():
            return series
        step = float(steps.min())
        places = np.rint((counts - counts[0]) / step)
        on_grid = bool((np.abs(counts - counts[0] - places * step) <= slack * np.maximum(places, 1)).all())
        if on_grid and places[-1] < _LONGEST * len(places) and (best is None or places[-1] < best[-1]):
            best = places.astype(np.int64)
    what = f"{where}: column {column}: the steps{f' of {series.name}' * bool(series.name)} are not even"
    if best is None or rule == "refuse":
        gaps = "they are on no common grid"
        if best is not None:
            missing, first = int(best[-1]) + 1 - len(best), int(np.argmax(np.diff(best) > 1))
            gaps = f"{counted(missing, 'time stamp')} missing, the first after {_said(series, first)}"
        raise DataError(
            what,
            expected="one value per step",
            received=gaps,
            remedy="Say how they are taken: dataset.resample=order (rows as they follow, as trading days)"
            + (", or forward_fill (the value before)." if best is not None else "."),
        )
    values = np.full(int(best[-1]) + 1, np.nan)
    values[best] = series.values
    made_up = np.ones(len(values), bool)
    made_up[best] = False
    return replace(series, values=_forward(values, made_up), stamps=None, made_up=made_up)


def filled(series: Series, rule: str, where: str) -> Series:
    """A series without a missing value: what is missing at its beginning is no part of it.

    Args:
      series: At even steps.
      rule: `dataset.missing`: `refuse`, or `forward_fill`.
      where: The file, for messages.

    Raises:
      DataError: for a missing value, of `refuse`; where there is no value at all.
    """
    missing = np.isnan(series.values)
    if not missing.any():
        return series
    named = f" of {series.name}" * bool(series.name)
    if missing.all():
        raise DataError(f"{where}: series{named} has no value", remedy="Take it out.")
    begin = int(np.argmin(missing))
    series = replace(
        series,
        values=series.values[begin:],
        stamps=None if series.stamps is None else series.stamps[begin:],
        made_up=None if series.made_up is None else series.made_up[begin:],
    )
    if not (missing := missing[begin:]).any():
        return series
    if rule == "refuse":
        raise DataError(
            f"{where}: {counted(int(missing.sum()), 'value')}{named} missing",
            expected="a number at each step",
            remedy="Say how to fill them: dataset.missing=forward_fill (the value before).",
        )
    before = np.zeros_like(missing) if series.made_up is None else series.made_up
    return replace(series, values=_forward(series.values, missing), made_up=before | missing)


def _forward(values: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    return np.asarray(values[np.maximum.accumulate(np.where(gaps, 0, np.arange(len(values))))])


def _countings(series: Series) -> Iterator[np.ndarray]:
    """Ways to count the time of a series: as it is; of dates also by months and by working days, where all are alike."""
    assert series.stamps is not None
    yield series.stamps
    if not series.dated:
        return
    moments = np.rint(series.stamps).astype(np.int64).astype("datetime64[s]")
    days = moments.astype("datetime64[D]")
    clock = moments - days
    if (clock != clock[0]).any():
        return
    months = days.astype("datetime64[M]")
    of_month = days - months.astype("datetime64[D]")
    if (of_month == of_month[0]).all() or ((days + 1).astype("datetime64[M]") > months).all():
        yield months.astype(np.float64)
    if np.is_busday(days).all():
        yield np.busday_count(days[0], days).astype(np.float64)


def _said(series: Series, place: int) -> str:
    assert series.stamps is not None
    stamp = float(series.stamps[place])
    return str(np.datetime64(round(stamp), "s")).replace("T", " ") if series.dated else f"{stamp:g}"
