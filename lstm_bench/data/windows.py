"""Windows of series: what is known up to a moment, and the values after it, divided so that no later one is in an input.

The last `horizon` values of each series are the test targets, those before them the validation targets; windows for training are
cut from what comes before both. The input of a test window may hold validation targets, which are past by then. Of several
origins (Tashman 2000, "Out-of-sample tests of forecasting accuracy") a part is so much longer, and each forecast knows what came
before it.

What is known beforehand goes behind the window: steps to be forecast, in which the series' own values are 0, and a column that
says so 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstm_bench.core import schema
from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.core.formatting import counted
from lstm_bench.data import file_dataset, forecasts, formats
from lstm_bench.data.arrays import SPLITS, checked, digest
from lstm_bench.data.cuts import Plan, arrays_of, cut, joined, origins_of, trained_from
from lstm_bench.data.formats.source import Source
from lstm_bench.data.horizon import LEVELS, quantiles
from lstm_bench.data.sequences import Columns
from lstm_bench.data.series import CALENDAR, Found, Series, calendar, even, filled, written

if TYPE_CHECKING:
    from lstm_bench.data.dataset import Dataset

_ELSEWHERE = ("layout", "group", "window", "lengths", "max_length", "truncate", "test_path", "test_size")


def check(config: schema.Dataset) -> None:
    """Checks the settings of `dataset=file` for a forecast.

    Raises:
      ConfigError: for one that cannot be meant.
    """
    own = "null: the target's own past is the input, and its last steps are the test set"
    values: Mapping[str, Any] = config
    for key in _ELSEWHERE:
        if values.get(key) not in (None, "refuse"):
            raise ConfigError(f"dataset.{key}", expected=own, received=values[key], remedy="Leave it out.")
    if isinstance(config.get("target"), list):
        raise ConfigError("dataset.target", expected="one column", received=config["target"])
    kept_as = {
        "split": ("auto", "time", None),
        "validation": ("split",),
        "resplit": (False, None),
        "folds": ("null", None),
    }
    for key, kept in kept_as.items():
        if values.get(key) not in kept:
            expected = f"{kept[0]}, for a forecast is tested on what comes last"
            raise ConfigError(f"dataset.{key}", expected=str(expected).lower(), received=values[key])
    if config.get("missing") not in (None, "refuse", "forward_fill"):
        raise ConfigError(
            "dataset.missing",
            expected="refuse or forward_fill, which looks at the past alone",
            received=config["missing"],
        )
    columns = [*(config.get("features") or ()), *(config.get("known") or ())]
    if len({*columns, config.get("target"), config.get("id")} - {None}) < len(columns) + sum(
        values.get(key) is not None for key in ("target", "id")
    ):
        expected = "covariates, each once and none of them the target or the id"
        raise ConfigError("dataset.features and dataset.known", expected=expected, received=", ".join(columns))
    levels = config.get("quantiles")
    if levels is not None and (
        len(levels) != LEVELS or levels != sorted({*levels}) or min(levels) <= 0 or max(levels) >= 1 or levels[1] != 0.5
    ):
        expected = "three ascending levels between 0 and 1, the median in the middle, such as [0.1,0.5,0.9]"
        raise ConfigError("dataset.quantiles", expected=expected, received=levels)
    asked = list(config.get("calendar") or ())
    if wrong := [name for name in asked if name not in CALENDAR or asked.count(name) > 1]:
        raise ConfigError("dataset.calendar", expected=f"any of {', '.join(CALENDAR)}, each once", received=wrong[0])
    if config.get("scale_target") not in (None, False, "auto") or config.get("standardize") is True:
        key = "standardize" if config.get("standardize") is True else "scale_target"
        raise ConfigError(f"dataset.{key}", expected="auto or false, as dataset.scale scales series", received=True)


def load(config: schema.Dataset) -> file_dataset.FileData:
    """Reads series, makes them even, divides and cuts them.

    Args:
      config: The `dataset` settings.

    Raises:
      ConfigError: for settings that do not fit the file.
      DataError: for a file that is unfit.
    """
    source = file_dataset.sources(config)["path"]
    where, columns = str(source), _columns(source, config)
    found = formats.series(source, columns)
    plan = _plan(config, found)
    sha256 = _digest(found.series)
    series = [_prepared(one, plan, columns, where) for one in found.series]
    _require_long_enough(series, plan, where)
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large is said where arrays are checked
        arrays, untrained, undefined = arrays_of(series, plan, where)
    task, _ = file_dataset.class_names.task_of(arrays["y_train"], where, config["task"])
    lengths = {key: of for key, of in arrays.items() if key.startswith("lengths_")}
    arrays, n_outputs = checked(arrays, task, None, source.path)
    sizes = ", ".join(f"{len(arrays[f'x_{split}']):,} {split}" for split in SPLITS)
    last = counted(plan.part, "step")
    origins = f" in {counted(plan.origins, 'forecast')} of {plan.horizon}" * (plan.origins > 1)
    divided = f"in time, the last {last} of each series for test{origins}: {sizes}"
    about = {
        **{"split": "time", "divided": divided, "windows": True, "overlap": True, "in_time": True},
        **{"columns": formats.columns_of(source), "missing": {}, "series": [one.name for one in series]},
    }
    reading = {
        "columns": {key: value for key, value in vars(columns).items() if value and key in ("id", "time", "target")},
        **{"features": plan.features(str(columns.target or "value")), "categories": {}, "filling": None},
        "plan": vars(plan),
    }
    notes = [
        f"a {task.name} task: dataset.task={config['task']}",
        *found.notes,
        *_said(series, plan, untrained, undefined),
    ]
    notes.append(f"divided {divided}")
    return file_dataset.FileData(arrays | lengths, n_outputs, task, sha256, None, reading, tuple(notes), about)


def _plan(config: schema.Dataset, found: Found) -> Plan:
    """How the series of a file are cut.

    Raises:
      ConfigError: where nothing says how many steps are forecast.
    """
    horizon = config.get("horizon") or found.horizon
    if horizon is None:
        raise ConfigError(
            "dataset.horizon: how many steps are forecast was not said", remedy="Give dataset.horizon=12."
        )
    return Plan(
        horizon=horizon,
        context=config.get("context") or 3 * horizon,
        least=config.get("min_length") or max(2, horizon // 2),
        stride=config.get("stride") or 1,
        scale=config.get("scale") or "window",
        season=config.get("season") or found.season or 1,
        resample=config.get("resample") or "refuse",
        missing=config.get("missing") or "refuse",
        origins=config.get("origins") or 1,
        quantiles=list(config.get("quantiles") or ()),
        known=list(config.get("known") or ()),
        calendar=list(config.get("calendar") or ()),
        past=list(config.get("features") or ()),
    )


def evidence(data: Dataset, outputs: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    """See `forecasts.evidence`."""
    return forecasts.evidence(data, outputs)


class Beyond(NamedTuple):
    """What is forecast from: the ends of series.

    Attributes:
      x: float32 `(series, timesteps, features)`, scaled, zeros behind the end of shorter ones.
      lengths: Timesteps of each; None where all have as many as `x`.
      ids: Names of the series; None of the only one.
      offset: `(series,)`: a forecast is `offset + scale * output`.
      scale: Likewise.
      notes: A sentence for each thing that was understood.
      pasts: All values of each.
      plan: How they were cut.
      stamps: Of each series those of the steps that are forecast, as text; None where it has none.
    """

    x: np.ndarray
    lengths: np.ndarray | None
    ids: np.ndarray | None
    offset: np.ndarray
    scale: np.ndarray
    notes: tuple[str, ...]
    pasts: list[np.ndarray]
    plan: Plan
    stamps: list[list[str] | None]

    def own(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs `(series, outputs)` in the series' own units: `(series, horizon)`, of quantiles `(series, 3, horizon)`."""
        if self.plan.quantiles and outputs.shape[1] != self.plan.horizon:
            outputs = quantiles(outputs, self.plan.horizon)
        offset, scale = (of.reshape(-1, *[1] * (outputs.ndim - 1)) for of in (self.offset, self.scale))
        return np.asarray(offset + scale * outputs)

    def table(self, answers: np.ndarray) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
        """Columns and rows of forecasts in the series' own units, one for each step from 1.

        Args:
          answers: Of `own`; the forecast of quantiles is the median, and a column has each of them.
        """
        several = answers if answers.ndim == 3 else answers[:, None]
        names = [f"quantile_{level:g}" for level in self.plan.quantiles] if answers.ndim == 3 else []
        stamped = any(self.stamps)
        rows = []
        for sample, of_series in enumerate(several):
            stamps = self.stamps[sample] or [""] * self.plan.horizon
            for step, values in enumerate(of_series.T.tolist()):
                row: dict[str, Any] = {"sample": sample, "step": step + 1}
                row |= {"time": stamps[step]} if stamped else {}
                rows.append(row | {"prediction": values[len(values) // 2]} | dict(zip(names, values, strict=False)))
        return ("sample", "step", *(["time"] if stamped else []), "prediction", *names), rows


def beyond(source: Source, about: Mapping[str, Any]) -> Beyond:
    """The last values of each series of a file, as a model forecasts from them.

    Args:
      source: Laid out as the file that it learned from; with steps to be forecast where something is known of them.
      about: `input.json` of the model.

    Raises:
      ConfigError: for a column that is not there.
      DataError: for a file that cannot be read, a series that is too short, or covariates that end too early.
    """
    reading, where = about["reading"], str(source)
    plan = Plan(**reading["plan"])
    source.require()
    given = {} if source.suffix == ".tsf" else reading["columns"]
    columns = Columns(**given, features=(*plan.past, *plan.known) if given else None)
    series = [_prepared(one, plan, columns, where, ahead=True) for one in formats.series(source, columns).series]
    any_length = bool(reading.get("unequal"))
    context = plan.context if any_length else about["timesteps"] - plan.ahead
    if not any_length and (short := next((one for one in series if len(one) < context), None)):
        raise DataError(
            f"{where}: series{' ' * bool(short.name)}{short.name} is too short for this model",
            expected=f"{context} values",
            received=len(short),
        )
    cuts = [cut(one, np.array([len(one)]), context, plan, len(one), ahead=False) for one in series]
    made = joined(cuts)
    lengths = made.lengths if any_length else None
    ids = np.array([one.name for one in series], object) if given.get("id") or source.suffix == ".tsf" else None
    ends = [one.stamps_of(len(one) + plan.horizon) for one in series]
    stamps = [None if of is None else written(of, one.dated)[len(one) :] for of, one in zip(ends, series, strict=True)]
    notes = [
        f"forecasts of {counted(plan.horizon, 'step')} beyond the end of {counted(len(series), 'series', 'series')}"
    ]
    if any(one.stamps is not None and of is None for of, one in zip(ends, series, strict=True)):
        notes.append("the steps of the file are uneven: forecasts have no time stamps")
    future, pasts = made.future, [one.values for one in series]
    return Beyond(made.x, lengths, ids, future.offset, future.scale, tuple(notes), pasts, plan, stamps)


def pasts(config: schema.Dataset, split: str) -> tuple[list[np.ndarray], int]:
    """All that was known of a series at each forecast of a split, and the steps of a season.

    Args:
      config: The `dataset` settings.
      split: "validation" or "test".

    Raises:
      LstmBenchError: as `load`.
    """
    source = file_dataset.sources(config)["path"]
    where, columns = str(source), _columns(source, config)
    found = formats.series(source, columns)
    plan = _plan(config, found)
    series = [_prepared(one, plan, columns, where) for one in found.series]
    return [one.values[:end] for one in series for end in origins_of(len(one), plan, split).tolist()], plan.season


def _columns(source: Source, config: schema.Dataset) -> Columns:
    """What is read of a file.

    Raises:
      ConfigError: where a table's target is not named.
    """
    named: dict[str, Any] = {key: config.get(key) for key in ("id", "time", "target")}
    named["known"] = tuple(config.get("known") or ())
    others = (*(config.get("features") or ()), *named["known"])
    if source.suffix == ".tsf":
        return Columns(**named, features=others or None)
    if config.get("target") is None:
        raise ConfigError(f"{source}: no target is named", remedy="Give dataset.target=COLUMN, which is forecast.")
    return Columns(**named, features=others)


def _prepared(series: Series, plan: Plan, columns: Columns, where: str, *, ahead: bool = False) -> Series:
    """A series at even steps without gaps, with what is known of the calendar.

    Args:
      series: As the file has it.
      plan: How.
      columns: What was read.
      where: The file, for messages.
      ahead: Whether what is behind its end is forecast.
    """
    series = even(series, plan.resample, columns.time, where)
    names = [*plan.past, *plan.known]
    series = filled(series, plan.missing, where, str(columns.target or "value"), names, len(plan.known))
    if plan.scale == "return" and (series.values <= 0).any():
        raise DataError(
            f"{where}: dataset.scale=return{f', series {series.name}' * bool(series.name)}",
            expected="values above 0, of which changes are relative",
            received=f"{series.values.min():g}",
            remedy="Say dataset.scale=difference.",
        )
    n = len(series) + plan.horizon * ahead
    others = series.others
    if plan.known and others is not None:
        there = int(np.isfinite(others[:, len(plan.past) :]).all(axis=1).sum())
        if there < n:
            raise DataError(
                f"{where}: what is known beforehand{f' of {series.name}' * bool(series.name)} ends too early",
                expected=f"{', '.join(plan.known)} of {counted(plan.horizon, 'step')} behind the last value, in rows without one",
                received=there - len(series),
            )
    if plan.calendar:
        stamps = series.stamps_of(n)
        if stamps is None or not series.dated:
            raise DataError(
                f"{where}: dataset.calendar needs the date of each step"
                + " that is forecast" * (stamps is None and ahead),
                expected="dates" if ahead else "dataset.time, a column of dates",
                received="none" if stamps is None else "numbers",
            )
        turns = calendar(stamps, plan.calendar)
        kept = np.zeros((n, 0)) if others is None else _padded(others, n)
        others = np.concatenate([kept, turns], axis=1)
    return replace(series, others=None if others is None else np.nan_to_num(others))


def _padded(rows: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([rows[:n], np.full((max(n - len(rows), 0), rows.shape[1]), np.nan)])


def _of_part(plan: Plan) -> str:
    """The setting that makes the test targets of a series so many."""
    return "dataset.horizon" if plan.origins <= plan.horizon else "dataset.origins"


def _require_long_enough(series: Sequence[Series], plan: Plan, where: str) -> None:
    """Raises DataError for a series that has nothing before its test targets, or targets that no file holds."""
    for one in series:
        named = f"series {one.name}" if one.name else "the series"
        if len(one) <= plan.part:
            short = sum(len(other) <= plan.part for other in series)
            raise DataError(
                f"{where}: {named} is no longer than {'the horizon' if plan.origins == 1 else 'its forecasts reach'}",
                expected=f"more than {counted(plan.part, 'value')}, the test targets",
                received=f"{len(one)} ({short:,} of {len(series):,} series are that short)",
                remedy=f"Give a smaller {_of_part(plan)}, or take them out of the file.",
            )
        if one.made_up is not None and one.made_up[-2 * plan.part :].any():
            raise DataError(
                f"{where}: {named} lacks values in its last {2 * plan.part} steps",
                expected="true values to validate and test on, none that are filled in",
                remedy="Let the file end earlier, or say dataset.resample=order where only time stamps lack.",
            )


def _digest(series: Sequence[Series]) -> str:
    """Of all series as the file has them."""
    values = np.concatenate([one.values for one in series])
    lengths, names = np.array([len(one) for one in series]), np.array([one.name for one in series])
    others = [one.others for one in series if one.others is not None]
    more = {"others": np.concatenate(others)} if others else {}
    return digest({"values": values, "lengths": lengths, "names": names, **more})


def _said(series: Sequence[Series], plan: Plan, untrained: int, undefined: int) -> list[str]:
    """A sentence for each thing that a reader of the scores has to know."""
    shortest, longest = (of(map(len, series)) for of in (min, max))
    sizes = f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    made = [
        f"{counted(len(series), 'series', 'series')} of {sizes} values: "
        f"{counted(plan.horizon, 'step')} from at most {plan.context:,}, season {plan.season}",
        {
            "none": "series are not scaled",
            "series": "each series is scaled by mean and deviation of its training part",
            "window": "each window is taken from its last value on, in its own deviation",
            "return": "inputs are relative changes, forecasts those from the last value, in the deviation of a series' own",
            "difference": "inputs are differences, forecasts changes from the last value, in the deviation of a series' steps",
        }[plan.scale],
    ]
    if plan.quantiles:
        made.append(f"quantiles {', '.join(f'{level:g}' for level in plan.quantiles)} are forecast")
    if plan.past:
        made.append(f"known up to each forecast: {', '.join(plan.past)}")
    if plan.ahead:
        made.append(f"known beforehand: {', '.join([*plan.known, *plan.calendar])}")
    if untrained:
        few = f"{untrained:,} of {len(series):,} series have fewer than {trained_from(plan)} values"
        made.append(f"{few}: none trains, all are tested")
    if any(one.made_up is not None for one in series):
        n = sum(int(one.made_up.sum()) for one in series if one.made_up is not None)
        made.append(f"{counted(n, 'value')} filled with the one before")
    if undefined:
        made.append(
            f"{undefined:,} of {len(series):,} series never change before their test targets: they count in no MASE"
        )
    return made
