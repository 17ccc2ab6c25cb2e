"""Cuts of a series: where windows begin and end, what is in them, and by what they are scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lstm_bench.core.errors import DataError
from lstm_bench.data.arrays import SPLITS, Arrays
from lstm_bench.data.horizon import Future
from lstm_bench.data.lengths import require_room
from lstm_bench.data.series import Series

SCALES = ("none", "series", "window", "difference", "return")
# Below this share of its mean size, what a series varies by is no unit: a quiet window would make its targets huge.
_LEAST = 0.01


@dataclass(frozen=True)
class Plan:
    """How series are cut: settings `dataset.<name>`.

    Attributes:
      horizon: Steps that are forecast.
      context: Values that a forecast is made from, at most.
      least: Values of the shortest training window, of a series that has none of `context`.
      stride: Steps from the beginning of a training window to that of the next.
      scale: One of `SCALES`.
      season: Steps of a season.
      resample: Rule for uneven stamps.
      missing: Rule for missing values.
      origins: Forecasts of each series that are validated, and as many that are tested, one step after the other.
      quantiles: Levels of those that are forecast, () for a value.
      past: Columns of the covariates that are known up to now, `known` those known beforehand.
      known: See `past`.
      calendar: What of the calendar is known beforehand, of `CALENDAR`.
    """

    horizon: int
    context: int
    least: int
    stride: int
    scale: str
    season: int
    resample: str
    missing: str
    origins: int = 1
    quantiles: Sequence[float] = ()
    past: Sequence[str] = ()
    known: Sequence[str] = ()
    calendar: Sequence[str] = ()

    @property
    def part(self) -> int:
        """Values of each series that are test targets, and as many validation targets."""
        return self.horizon + self.origins - 1

    @property
    def ahead(self) -> int:
        """Timesteps behind a window in which what is known beforehand stands."""
        return self.horizon if self.known or self.calendar else 0

    def features(self, target: str) -> list[str]:
        """A name for each feature of a window."""
        turns = [f"{name} {of}" for name in self.calendar for of in ("sine", "cosine")]
        return [target, *self.past, *self.known, *turns, *(["is forecast"] if self.ahead else [])]


class Windows(NamedTuple):
    """`x` float32 `(samples, context, features)` and what follows; `lengths` int32 `(samples,)`."""

    x: np.ndarray
    lengths: np.ndarray
    future: Future


def arrays_of(series: Sequence[Series], plan: Plan, where: str) -> tuple[Arrays, int, int]:
    """The arrays of three splits; how many series are too short to train on, and how many have no MASE.

    Raises:
      DataError: where there is nothing to train on, or nothing to score.
    """
    n_windows = sum(len(_ends(len(one), plan)) for one in series)
    width = (plan.context + plan.ahead) * len(plan.features("")) + 2 * plan.horizon
    require_room(n_windows, width, 4, where)
    cuts: dict[str, list[Windows]] = {split: [] for split in SPLITS}
    untrained = 0
    for one in series:
        test, ends = len(one) - plan.part, _ends(len(one), plan)
        untrained += not len(ends)
        # A series without a validation window is scaled by what comes before its test targets.
        before = test - plan.part if test > plan.part else test
        if len(ends):
            cuts["train"].append(cut(one, ends, plan.context, plan, before))
        if len(origins := origins_of(len(one), plan, "validation")):
            cuts["validation"].append(cut(one, origins, plan.context, plan, max(test - plan.part, 1)))
        cuts["test"].append(cut(one, origins_of(len(one), plan, "test"), plan.context, plan, before, known=test))
    if not cuts["train"]:
        longest = max(map(len, series))
        raise DataError(
            f"{where}: no series is long enough to train on",
            expected=f"at least {trained_from(plan)} values, targets of three splits and what to forecast from",
            received=longest,
            remedy="Give a smaller dataset.horizon, or dataset.min_length.",
        )
    arrays: Arrays = {}
    undefined = 0
    for split, parts in cuts.items():
        made = joined(parts)
        arrays |= {f"x_{split}": made.x, f"y_{split}": made.future.labels(), f"lengths_{split}": made.lengths}
        undefined = int((made.future.unit == 0).sum())  # of test, the last
        if split != "train" and not (made.future.unit > 0).any():
            raise DataError(
                f"{where}: no series changes{_by_season(plan)} before its {split} targets",
                expected="one that does: MASE measures by what a naive forecast errs there",
                remedy="Say dataset.season=1, or a season of which a series has more." if plan.season > 1 else None,
            )
    return arrays, untrained, undefined


def _by_season(plan: Plan) -> str:
    return f" from one season of {plan.season:,} steps to the next" if plan.season > 1 else ""


def _ends(n: int, plan: Plan) -> np.ndarray:
    """Where training windows of a series of `n` values end: of `context` values, of fewer where the series has none such."""
    last = n - 2 * plan.part - plan.horizon  # of which the targets end where those of validation begin
    first = plan.context if last >= plan.context else min(plan.least, plan.context)
    return np.arange(last, first - 1, -plan.stride)[::-1]


def origins_of(n: int, plan: Plan, split: str) -> np.ndarray:
    """How many values of a series of `n` each forecast of the validation or test split knows; 1 or more."""
    first = n - plan.part * (1 if split == "test" else 2)
    return np.arange(max(first, 1), first + plan.origins)


def trained_from(plan: Plan) -> int:
    """Values of the shortest series that has a training window."""
    return 2 * plan.part + plan.horizon + min(plan.least, plan.context)


def cut(
    series: Series, ends: np.ndarray, context: int, plan: Plan, history: int, *, known: int = 0, ahead: bool = True
) -> Windows:
    """Windows of one series.

    Args:
      series: Prepared.
      ends: `(samples,)`: how many values each window knows.
      context: Of which it sees so many, at most.
      plan: How.
      history: Values that `series`, `difference` and `return` take their scale from.
      known: Values that MASE takes its unit from; 0: `history`.
      ahead: Whether the values after each window are there.
    """
    values = series.values
    begins = np.maximum(ends - context, 0)
    lengths = (ends - begins).astype(np.int32)
    indices = begins[:, None] + np.arange(context)
    seen = np.arange(context) < lengths[:, None]
    inputs = values[np.minimum(indices, len(values) - 1)]
    last = values[ends - 1]
    if plan.scale == "difference":
        inputs = np.diff(values, prepend=values[0])[np.minimum(indices, len(values) - 1)]
        offset, centre = last, np.zeros(len(ends))
        scale = np.full(len(ends), _unit(np.diff(values[:history]), values[:history]))
    elif plan.scale == "return":
        returns = np.diff(values, prepend=values[0]) / np.r_[values[0], values[:-1]]
        spread = np.sqrt(np.square(returns[1:history]).mean()) if history > 1 else 0.0
        unit = float(spread) or 1.0
        inputs = returns[np.minimum(indices, len(values) - 1)] / unit
        offset, centre, scale = last, np.zeros(len(ends)), last * unit
    elif plan.scale == "window":
        mean, size = ((of * seen).sum(axis=1) / lengths for of in (inputs, np.abs(inputs)))
        spread = np.sqrt((np.square(inputs - mean[:, None]) * seen).sum(axis=1) / lengths)
        scale = np.maximum(spread, _LEAST * size)
        scale, offset = np.where(scale > 0, scale, 1.0), last
        centre = offset
    elif plan.scale == "series":
        offset = np.full(len(ends), values[:history].mean())
        scale, centre = np.full(len(ends), _unit(values[:history] - offset[0], values[:history])), offset
    else:
        offset, centre, scale = np.zeros(len(ends)), np.zeros(len(ends)), np.ones(len(ends))
    shown = inputs if plan.scale == "return" else (inputs - centre[:, None]) / scale[:, None]
    x = np.where(seen, shown, 0).astype(np.float32)[..., None]
    if series.others is not None:
        x = np.concatenate([_widened(x, plan), _beside(series.others, begins, lengths, context, plan)], axis=2)
    steps = np.arange(plan.horizon)
    after = values[np.minimum(ends[:, None] + steps, len(values) - 1)] if ahead else np.zeros((len(ends), plan.horizon))
    before = ends[:, None] - plan.season + steps % plan.season
    seasonal = values[np.where(ends[:, None] >= plan.season, before, ends[:, None] - 1)]
    slope = (last - values[0]) / np.maximum(ends - 1, 1)
    return Windows(
        x,
        lengths + np.int32(plan.ahead),
        Future(
            targets=(after - offset[:, None]) / scale[:, None],
            seasonal=(seasonal - offset[:, None]) / scale[:, None],
            offset=offset,
            scale=scale,
            unit=np.full(len(ends), _naive_error(values[: known or history], plan.season)),
            last=(last - offset) / scale,
            slope=slope / scale,
            levels=np.tile(np.asarray(plan.quantiles, np.float64), (len(ends), 1)),
        ),
    )


def _widened(x: np.ndarray, plan: Plan) -> np.ndarray:
    """Windows with the steps behind them, in which the series' own value is 0."""
    return np.pad(x, ((0, 0), (0, plan.ahead), (0, 0)))


def _beside(others: np.ndarray, begins: np.ndarray, lengths: np.ndarray, context: int, plan: Plan) -> np.ndarray:
    """float32 `(samples, context + plan.ahead, features)`: covariates, and where something is known beforehand its mark."""
    steps = np.arange(context + plan.ahead)
    seen = steps < lengths[:, None]
    forecast = ~seen & (steps < lengths[:, None] + plan.ahead)
    found = others[np.minimum(begins[:, None] + steps, len(others) - 1)]
    n_past = len(plan.past)
    parts = [np.where(seen[..., None], found[..., :n_past], 0)]
    parts.append(np.where((seen | forecast)[..., None], found[..., n_past:], 0))
    if plan.ahead:
        parts.append(forecast[..., None])
    return np.concatenate(parts, axis=2).astype(np.float32)


def _unit(spread: np.ndarray, values: np.ndarray) -> float:
    """Root of the mean square of `spread`, at least a share of the size of `values`; 1 where both are 0."""
    root = float(np.sqrt(np.square(spread).mean())) if len(spread) else 0.0
    return max(root, _LEAST * float(np.abs(values).mean())) or 1.0


def _naive_error(values: np.ndarray, season: int) -> float:
    """Mean absolute error of the seasonal naive forecast one step ahead; 0 where there is none."""
    return float(np.abs(values[season:] - values[:-season]).mean()) if len(values) > season else 0.0


def joined(parts: Sequence[Windows]) -> Windows:
    """Windows of several series, one behind the other."""
    x, lengths = (np.concatenate([part[index] for part in parts]) for index in range(2))
    return Windows(
        x, lengths, Future(*(np.concatenate(of) for of in zip(*(part.future for part in parts), strict=True)))
    )
