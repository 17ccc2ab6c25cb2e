"""Series as a file has them, before anything is cut: values at even steps of time, or it is said that they are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from lstm_bench.core.errors import DataError
from lstm_bench.core.formatting import counted
from lstm_bench.data.rows import Table, is_numeric, ordered
from lstm_bench.data.sequences import Columns

_TOLERANCE = 1e-6  # of a step: times are rounded where they are written
_LONGEST = 20  # times as many steps as there are values: no grid that has gaps, but no grid
# What a calendar says of a moment: how many of each there are before it begins anew.
CALENDAR = {"month": 12, "day": 31, "weekday": 7, "hour": 24}


class Step(NamedTuple):
    """From one value of a series to the next.

    Attributes:
      kind: `time`, in the unit of the stamps; `months`, at one day of them; `month_ends`; `workdays`.
      size: So many of them.
    """

    kind: str
    size: float


@dataclass(frozen=True, eq=False)
class Series:
    """Values that follow each other in time.

    Attributes:
      name: What the file calls it, "" for the only one of a file.
      values: float64 `(timesteps,)`, NaN where one is missing.
      stamps: float64, of each row, ascending: numbers, or seconds since 1970; None where the file has none.
      dated: Whether `stamps` are seconds since 1970.
      made_up: bool `(timesteps,)`: which values were filled in; None for none.
      others: float64 `(rows, columns)`: the covariates, first those known up to now, then those known beforehand. Once a series
        is `filled`, rows behind the last value are steps to be forecast.
      step: From one row to the next; None where they are as they follow.
    """

    name: str
    values: np.ndarray
    stamps: np.ndarray | None = None
    dated: bool = False
    made_up: np.ndarray | None = None
    others: np.ndarray | None = None
    step: Step | None = None

    def __len__(self) -> int:
        return len(self.values)

    def stamps_of(self, n: int) -> np.ndarray | None:
        """Stamps of the first `n` rows, those behind the last by the step; None where nothing says what they are."""
        if self.stamps is None or n <= len(self.stamps):
            return None if self.stamps is None else self.stamps[:n]
        if self.step is None:
            return None
        more = moments(float(self.stamps[-1]), self.step, 1 + np.arange(n - len(self.stamps)))
        return np.concatenate([self.stamps, more])


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


def moments(first: float, step: Step, counts: np.ndarray) -> np.ndarray:
    """Stamps of so many steps, `counts`, after `first`; a day that a month lacks is its last."""
    if step.kind == "time":
        return np.asarray(first + step.size * counts)
    moment = np.datetime64(round(first), "s")
    day = moment.astype("datetime64[D]")
    clock = moment - day
    if step.kind == "workdays":
        days = np.busday_offset(day, (step.size * counts).astype(np.int64))
    else:
        months = day.astype("datetime64[M]") + (step.size * counts).astype(np.int64)
        last = (months + 1).astype("datetime64[D]") - 1
        same = months.astype("datetime64[D]") + (day - day.astype("datetime64[M]").astype("datetime64[D]"))
        days = last if step.kind == "month_ends" else np.minimum(same, last)
    return np.asarray((days.astype("datetime64[s]") + clock).astype(np.int64).astype(np.float64))


def calendar(stamps: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Where stamps (seconds since 1970) stand in each of `names` of `CALENDAR`, as a sine and a cosine: `(rows, 2 * names)`."""
    moment = np.rint(stamps).astype(np.int64).astype("datetime64[s]")
    days, months = moment.astype("datetime64[D]"), moment.astype("datetime64[M]")
    parts = {
        "month": months.astype(np.int64) % 12,
        "day": (days - months.astype("datetime64[D]")).astype(np.int64),
        "weekday": (days.astype(np.int64) + 3) % 7,  # 1970 began on a Thursday
        "hour": (moment - days).astype(np.int64) / 3600,
    }
    turns = [2 * np.pi * parts[name] / CALENDAR[name] for name in names]
    return np.stack([of(turn) for turn in turns for of in (np.sin, np.cos)], axis=1)


def written(stamps: np.ndarray, dated: bool) -> list[str]:
    """Stamps as text: dates without a clock where all are midnight, else to the second; numbers as they are."""
    if not dated:
        return [f"{stamp:.15g}" for stamp in stamps.tolist()]
    moment = np.rint(stamps).astype(np.int64).astype("datetime64[s]")
    days = moment.astype("datetime64[D]")
    return [str(one).replace("T", " ") for one in (days if (days == moment).all() else moment)]


def from_table(table: Table, columns: Columns, where: str, others: Sequence[str] = ()) -> Found:
    """The series of a long table, one for each value of the column `id`.

    Args:
      table: Column -> values `(rows,)`, at least one row.
      columns: `target`, and perhaps `id` and `time`.
      where: The file, for messages.
      others: Columns of the covariates.

    Raises:
      DataError: for values that are no numbers, and stamps that are none, or there twice.
    """
    target = str(columns.target)
    values = _numbers(table, target, "a number to forecast", where)
    known = [_numbers(table, name, "a number, as every covariate is", where) for name in others]
    of, order, stamps = ordered(table, columns, len(values), where)
    names = None if columns.id is None else table[columns.id]
    more = np.stack(known, axis=1) if known else None
    if order is not None:
        values, names = values[order], None if names is None else names[order]
        more = None if more is None else more[order]
    starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]])
    dated = columns.time is not None and not is_numeric(table[columns.time])
    ends = np.r_[starts[1:], len(values)]
    made = [
        Series(
            "" if names is None else str(names[start]),
            values[start:end],
            None if stamps is None else stamps[start:end],
            dated,
            others=None if more is None else more[start:end],
        )
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
    return Found(made)


def _numbers(table: Table, column: str, expected: str, where: str) -> np.ndarray:
    values = table[column]
    if not is_numeric(values):
        row = next((index for index, value in enumerate(values) if _is_no_number(value)), 0)
        raise DataError(f"{where}: row {row + 2}, column {column}", expected=expected, received=str(values[row])[:40])
    return values.astype(np.float64)


def _is_no_number(value: object) -> bool:
    try:
        float(str("nan" if value is None else value))
    except ValueError:
        return True
    return False


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
    if series.stamps is None or len(series) < 3:
        return series
    best: tuple[np.ndarray, Step] | None = None
    for kind, counts in _countings(series):
        steps = np.diff(counts)
        step = float(np.median(steps))
        slack = _TOLERANCE * step + 8 * np.spacing(np.abs(counts).max())
        if (np.abs(steps - step) <= slack).all():
            return replace(series, step=Step(kind, step))
        step = float(steps.min())
        indices = np.rint((counts - counts[0]) / step)
        on_grid = bool((np.abs(counts - counts[0] - indices * step) <= slack * np.maximum(indices, 1)).all())
        if on_grid and indices[-1] < _LONGEST * len(indices) and (best is None or indices[-1] < best[0][-1]):
            best = indices.astype(np.int64), Step(kind, step)
    if rule == "order":
        return series
    what = f"{where}: column {column}: the steps{f' of {series.name}' * bool(series.name)} are not even"
    if best is None or rule == "refuse":
        gaps = "they are on no common grid"
        if best is not None:
            missing, first = int(best[0][-1]) + 1 - len(best[0]), int(np.argmax(np.diff(best[0]) > 1))
            gaps = f"{counted(missing, 'time stamp')} missing, the first after {_said(series, first)}"
        raise DataError(
            what,
            expected="one value per step",
            received=gaps,
            remedy="Say how they are taken: dataset.resample=order (rows as they follow, as trading days)"
            + (", or forward_fill (the value before)." if best is not None else "."),
        )
    grid, step_of = best
    n = int(grid[-1]) + 1
    rows = np.searchsorted(grid, np.arange(n), "right") - 1  # of the value before
    made_up = np.ones(n, bool)
    made_up[grid] = False
    stamps = moments(float(series.stamps[0]), step_of, np.arange(n))
    others = None if series.others is None else series.others[rows]
    return replace(series, values=series.values[rows], stamps=stamps, made_up=made_up, others=others, step=step_of)


def filled(series: Series, rule: str, where: str, target: str = "", past: Sequence[str] = (), known: int = 0) -> Series:
    """A series without a missing value: what is missing at its beginning is no part of it.

    Args:
      series: At even steps.
      rule: `dataset.missing`: `refuse`, or `forward_fill`.
      where: The file, for messages.
      target: Column of the values, likewise.
      past: Columns of the covariates: of `series.others`, those known beforehand last.
      known: How many of those are known beforehand: then rows behind the last value are steps to be forecast.

    Raises:
      DataError: for a missing value, of `refuse`; where there is no value at all; for covariates that end too early.
    """
    missing = np.isnan(series.values)
    named = f" of {series.name}" * bool(series.name)
    if missing.all():
        raise DataError(f"{where}: series{named} has no value", remedy="Take it out.")
    begin = int(np.argmin(missing))
    end = len(missing) - int(np.argmin(missing[::-1])) if known else len(missing)
    values, missing = series.values[begin:end], missing[begin:end]
    made_up = None if series.made_up is None else series.made_up[begin:end]
    stamps = None if series.stamps is None else series.stamps[begin:]
    others = None if series.others is None else series.others[begin:]
    if missing.any():
        if rule == "refuse":
            raise _missing(f"{where}: {counted(int(missing.sum()), 'value')}{named} missing")
        made_up = missing if made_up is None else made_up | missing
        values = _forward(values, missing)
    if others is not None:
        others = np.stack(
            [
                _covariate(
                    others[: len(values) if index < len(past) - known else None, index],
                    rule,
                    len(values),
                    len(others),
                    f"column {name}{named}",
                    where,
                    target,
                )
                for index, name in enumerate(past)
            ],
            axis=1,
        )
    return replace(series, values=values, stamps=stamps, made_up=made_up, others=others)


def _covariate(values: np.ndarray, rule: str, n: int, rows: int, named: str, where: str, target: str) -> np.ndarray:
    """A covariate without a missing value, NaN from where it is not known to `rows`."""
    gone = np.isnan(values)
    last = len(gone) - int(np.argmin(gone[::-1])) if not gone.all() else 0
    if last < n:
        raise DataError(
            f"{where}: {named} ends too early",
            expected=f"a value at each step of {target or 'the target'}, {n:,} from its first on",
            received=f"the last at step {last:,}",
        )
    gone = gone[:last]
    if gone.any() and (rule == "refuse" or gone[0]):
        raise _missing(f"{where}: {counted(int(gone.sum()), 'value')} of {named} missing")
    return np.concatenate([_forward(values[:last], gone), np.full(rows - last, np.nan)])


def _missing(what: str) -> DataError:
    return DataError(
        what,
        expected="a number at each step",
        remedy="Say how to fill them: dataset.missing=forward_fill (the value before).",
    )


def _forward(values: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    return np.asarray(values[np.maximum.accumulate(np.where(gaps, 0, np.arange(len(values))))])


def _countings(series: Series) -> Iterator[tuple[str, np.ndarray]]:
    """Ways to count the time of a series: as it is; of dates also by months and by working days, where all are alike."""
    assert series.stamps is not None
    yield "time", series.stamps
    if not series.dated:
        return
    moments = np.rint(series.stamps).astype(np.int64).astype("datetime64[s]")
    days = moments.astype("datetime64[D]")
    clock = moments - days
    if (clock != clock[0]).any():
        return
    months = days.astype("datetime64[M]")
    of_month = days - months.astype("datetime64[D]")
    ends = bool(((days + 1).astype("datetime64[M]") > months).all())
    if ends or (of_month == of_month[0]).all():
        yield "month_ends" if ends else "months", months.astype(np.float64)
    if np.is_busday(days).all():
        yield "workdays", np.busday_count(days[0], days).astype(np.float64)


def _said(series: Series, index: int) -> str:
    assert series.stamps is not None
    stamp = float(series.stamps[index])
    return str(np.datetime64(round(stamp), "s")).replace("T", " ") if series.dated else f"{stamp:g}"
