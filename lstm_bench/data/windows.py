"""Windows of series: what is known up to a moment, and the values after it, divided so that no later one is in an input.

The last `horizon` values of each series are the test targets, those before them the validation targets; windows for training are
cut from what comes before both. The input of a test window may hold validation targets, which are past by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.core.formatting import counted
from lstm_bench.data import file_dataset, formats
from lstm_bench.data.arrays import SPLITS, Arrays, checked, digest
from lstm_bench.data.formats.source import Source
from lstm_bench.data.horizon import Future
from lstm_bench.data.lengths import require_room
from lstm_bench.data.sequences import Columns
from lstm_bench.data.series import Series, even, filled

SCALES = ("none", "series", "window", "difference")
# Below this share of its mean size, what a series varies by is no unit: a quiet window would make its targets huge.
_LEAST = 0.01
_ELSEWHERE = ("layout", "features", "group", "window", "lengths", "max_length", "truncate", "test_path", "test_size")


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
    """

    horizon: int
    context: int
    least: int
    stride: int
    scale: str
    season: int
    resample: str
    missing: str


def check(config: Mapping[str, Any]) -> None:
    """Checks the settings of `dataset=file` for a forecast.

    Raises:
      ConfigError: for one that cannot be meant.
    """
    own = "null: the target's own past is the input, and its last steps are the test set"
    for key in _ELSEWHERE:
        if config.get(key) not in (None, "refuse"):
            raise ConfigError(f"dataset.{key}", expected=own, received=config[key], remedy="Leave it out.")
    if isinstance(config.get("target"), list):
        raise ConfigError("dataset.target", expected="one column", received=config["target"])
    kept_as = {
        "split": ("auto", "time", None),
        "validation": ("split",),
        "resplit": (False, None),
        "folds": ("null", None),
    }
    for key, kept in kept_as.items():
        if config.get(key) not in kept:
            expected = f"{kept[0]}, for a forecast is tested on what comes last"
            raise ConfigError(f"dataset.{key}", expected=str(expected).lower(), received=config[key])
    if config.get("missing") not in (None, "refuse", "forward_fill"):
        raise ConfigError(
            "dataset.missing",
            expected="refuse or forward_fill, which looks at the past alone",
            received=config["missing"],
        )
    if config.get("scale_target") not in (None, False, "auto") or config.get("standardize") is True:
        key = "standardize" if config.get("standardize") is True else "scale_target"
        raise ConfigError(f"dataset.{key}", expected="auto or false, as dataset.scale scales series", received=True)


def load(config: Mapping[str, Any]) -> file_dataset.FileData:
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
    horizon = config.get("horizon") or found.horizon
    if horizon is None:
        raise ConfigError(
            "dataset.horizon: how many steps are forecast was not said", remedy="Give dataset.horizon=12."
        )
    plan = Plan(
        horizon=horizon,
        context=config.get("context") or 3 * horizon,
        least=config.get("min_length") or max(2, horizon // 2),
        stride=config.get("stride") or 1,
        scale=config.get("scale") or "window",
        season=config.get("season") or found.season or 1,
        resample=config.get("resample") or "refuse",
        missing=config.get("missing") or "refuse",
    )
    sha256 = _digest(found.series)
    series = [_prepared(one, plan, columns, where) for one in found.series]
    _require_long_enough(series, plan, where)
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large is said where arrays are checked
        arrays, untrained, undefined = _divided(series, plan, where)
    task, _ = file_dataset.class_names.task_of(arrays["y_train"], where, config["task"])
    lengths = {key: of for key, of in arrays.items() if key.startswith("lengths_")}
    arrays, n_outputs = checked(arrays, task, None, source.path)
    sizes = ", ".join(f"{len(arrays[f'x_{split}']):,} {split}" for split in SPLITS)
    divided = f"in time, the last {counted(plan.horizon, 'step')} of each series for test: {sizes}"
    about = {
        **{"split": "time", "divided": divided, "windows": True, "overlap": True, "in_time": True},
        **{"columns": formats.columns_of(source), "missing": {}},
    }
    reading = {
        "columns": {key: value for key, value in vars(columns).items() if value and key in ("id", "time", "target")},
        **{"features": [columns.target or "value"], "categories": {}, "filling": None, "plan": vars(plan)},
    }
    notes = [f"a {task.name}: dataset.task={config['task']}", *found.notes, *_said(series, plan, untrained, undefined)]
    notes.append(f"divided {divided}")
    return file_dataset.FileData(arrays | lengths, n_outputs, task, sha256, None, reading, tuple(notes), about)


class Beyond(NamedTuple):
    """What is forecast from: the ends of series.

    Attributes:
      x: float32 `(series, timesteps, 1)`, scaled, zeros behind the end of shorter ones.
      lengths: Values of each; None where all have as many as `x`.
      ids: Names of the series; None of the only one.
      offset: `(series,)`: a forecast is `offset + scale * output`.
      scale: Likewise.
      notes: A sentence for each thing that was understood.
    """

    x: np.ndarray
    lengths: np.ndarray | None
    ids: np.ndarray | None
    offset: np.ndarray
    scale: np.ndarray
    notes: tuple[str, ...]

    def own(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs `(series, horizon)` in the series' own units."""
        return np.asarray(self.offset[:, None] + self.scale[:, None] * outputs)


def beyond(source: Source, about: Mapping[str, Any]) -> Beyond:
    """The last values of each series of a file, as a model forecasts from them.

    Args:
      source: Laid out as the file that it learned from.
      about: `input.json` of the model.

    Raises:
      ConfigError: for a column that is not there.
      DataError: for a file that cannot be read, or a series that is too short.
    """
    reading, where = about["reading"], str(source)
    plan = Plan(**reading["plan"])
    source.require()
    given = {} if source.suffix == ".tsf" else reading["columns"]
    columns = Columns(**given, features=() if given else None)
    series = [_prepared(one, plan, columns, where) for one in formats.series(source, columns).series]
    any_length = bool(reading.get("unequal"))
    context = plan.context if any_length else about["timesteps"]
    if not any_length and (short := next((one for one in series if len(one) < context), None)):
        raise DataError(
            f"{where}: series{' ' * bool(short.name)}{short.name} is too short for this model",
            expected=f"{context} values",
            received=len(short),
        )
    cuts = [_cut(one.values, np.array([len(one)]), context, plan, len(one), ahead=False) for one in series]
    made = _joined(cuts)
    lengths = made.lengths if any_length else None
    ids = np.array([one.name for one in series], object) if given.get("id") or source.suffix == ".tsf" else None
    notes = (
        f"forecasts of {counted(plan.horizon, 'step')} beyond the end of {counted(len(series), 'series', 'series')}",
    )
    return Beyond(made.x, lengths, ids, made.future.offset, made.future.scale, notes)


def _columns(source: Source, config: Mapping[str, Any]) -> Columns:
    """What is read of a file.

    Raises:
      ConfigError: where a table's target is not named.
    """
    if source.suffix == ".tsf":
        return Columns(id=config.get("id"), time=config.get("time"), target=config.get("target"))
    if config.get("target") is None:
        raise ConfigError(f"{source}: no target is named", remedy="Give dataset.target=COLUMN, which is forecast.")
    return Columns(id=config.get("id"), time=config.get("time"), target=config["target"], features=())


def _prepared(series: Series, plan: Plan, columns: Columns, where: str) -> Series:
    return filled(even(series, plan.resample, columns.time, where), plan.missing, where)


def _require_long_enough(series: Sequence[Series], plan: Plan, where: str) -> None:
    """Raises DataError for a series that has nothing before its test targets, or targets that no file holds."""
    for one in series:
        named = f"series {one.name}" if one.name else "the series"
        if len(one) <= plan.horizon:
            short = sum(len(other) <= plan.horizon for other in series)
            raise DataError(
                f"{where}: {named} is no longer than the horizon",
                expected=f"more than {counted(plan.horizon, 'value')}, the test targets",
                received=f"{len(one)} ({short:,} of {len(series):,} series are that short)",
                remedy="Give a smaller dataset.horizon, or take them out of the file.",
            )
        if one.made_up is not None and one.made_up[-2 * plan.horizon :].any():
            raise DataError(
                f"{where}: {named} lacks values in its last {2 * plan.horizon} steps",
                expected="true values to validate and test on, none that are filled in",
                remedy="Let the file end earlier, or say dataset.resample=order where only time stamps lack.",
            )


class _Windows(NamedTuple):
    """`x` float32 `(samples, context, 1)` and what follows; `lengths` int32 `(samples,)`."""

    x: np.ndarray
    lengths: np.ndarray
    future: Future


def _divided(series: Sequence[Series], plan: Plan, where: str) -> tuple[Arrays, int, int]:
    """The arrays of three splits; how many series are too short to train on, and how many have no MASE.

    Raises:
      DataError: where there is nothing to train on, or nothing to score.
    """
    n_windows = sum(len(_ends(len(one), plan)) for one in series)
    require_room(n_windows, plan.context + 2 * plan.horizon, 4, where)
    cuts: dict[str, list[_Windows]] = {split: [] for split in SPLITS}
    untrained = 0
    for one in series:
        values, test = one.values, len(one) - plan.horizon
        validation = test - plan.horizon
        ends = _ends(len(one), plan)
        untrained += not len(ends)
        if len(ends):
            cuts["train"].append(_cut(values, ends, plan.context, plan, validation))
        if validation > 0:
            cuts["validation"].append(_cut(values, np.array([validation]), plan.context, plan, validation))
        # A series without a validation window is scaled by what comes before its test targets.
        cuts["test"].append(
            _cut(values, np.array([test]), plan.context, plan, validation if validation > 0 else test, known=test)
        )
    if not cuts["train"]:
        longest = max(map(len, series))
        raise DataError(
            f"{where}: no series is long enough to train on",
            expected=f"at least {_trained_from(plan)} values, three horizons and what to forecast from",
            received=longest,
            remedy="Give a smaller dataset.horizon, or dataset.min_length.",
        )
    arrays: Arrays = {}
    undefined = 0
    for split, parts in cuts.items():
        made = _joined(parts)
        arrays |= {f"x_{split}": made.x, f"y_{split}": made.future.labels(), f"lengths_{split}": made.lengths}
        undefined = int((made.future.unit == 0).sum())  # of test, the last
        if split != "train" and not (made.future.unit > 0).any():
            raise DataError(
                f"{where}: no series changes before its {split} targets",
                expected="one that does: MASE measures by what a naive forecast errs there",
            )
    return arrays, untrained, undefined


def _ends(n: int, plan: Plan) -> np.ndarray:
    """Where training windows of a series of `n` values end: of `context` values, of fewer where the series has none such."""
    last = n - 3 * plan.horizon  # of which the targets end where those of validation begin
    first = plan.context if last >= plan.context else min(plan.least, plan.context)
    return np.arange(last, first - 1, -plan.stride)[::-1]


def _trained_from(plan: Plan) -> int:
    """Values of the shortest series that has a training window."""
    return 3 * plan.horizon + min(plan.least, plan.context)


def _cut(
    values: np.ndarray, ends: np.ndarray, context: int, plan: Plan, history: int, *, known: int = 0, ahead: bool = True
) -> _Windows:
    """Windows of one series.

    Args:
      values: float64 `(timesteps,)`.
      ends: `(samples,)`: how many values each window knows.
      context: Of which it sees so many, at most.
      plan: How.
      history: Values that `series` and `difference` take their scale from.
      known: Values that MASE takes its unit from; 0: `history`.
      ahead: Whether the values after each window are there.
    """
    begins = np.maximum(ends - context, 0)
    lengths = (ends - begins).astype(np.int32)
    places = begins[:, None] + np.arange(context)
    seen = np.arange(context) < lengths[:, None]
    inputs = values[np.minimum(places, len(values) - 1)]
    last = values[ends - 1]
    if plan.scale == "difference":
        inputs = np.diff(values, prepend=values[0])[np.minimum(places, len(values) - 1)]
        offset, centre = last, np.zeros(len(ends))
        scale = np.full(len(ends), _unit(np.diff(values[:history]), values[:history]))
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
    x = np.where(seen, (inputs - centre[:, None]) / scale[:, None], 0).astype(np.float32)[..., None]
    steps = np.arange(plan.horizon)
    after = values[np.minimum(ends[:, None] + steps, len(values) - 1)] if ahead else np.zeros((len(ends), plan.horizon))
    before = ends[:, None] - plan.season + steps % plan.season
    seasonal = values[np.where(ends[:, None] >= plan.season, before, ends[:, None] - 1)]
    slope = (last - values[0]) / np.maximum(ends - 1, 1)
    return _Windows(
        x,
        lengths,
        Future(
            targets=(after - offset[:, None]) / scale[:, None],
            seasonal=(seasonal - offset[:, None]) / scale[:, None],
            offset=offset,
            scale=scale,
            unit=np.full(len(ends), _naive_error(values[: known or history], plan.season)),
            last=(last - offset) / scale,
            slope=slope / scale,
        ),
    )


def _unit(spread: np.ndarray, values: np.ndarray) -> float:
    """Root of the mean square of `spread`, at least a share of the size of `values`; 1 where both are 0."""
    root = float(np.sqrt(np.square(spread).mean())) if len(spread) else 0.0
    return max(root, _LEAST * float(np.abs(values).mean())) or 1.0


def _naive_error(values: np.ndarray, season: int) -> float:
    """Mean absolute error of the seasonal naive forecast one step ahead; 0 where there is none."""
    return float(np.abs(values[season:] - values[:-season]).mean()) if len(values) > season else 0.0


def _joined(parts: Sequence[_Windows]) -> _Windows:
    x, lengths = (np.concatenate([part[place] for part in parts]) for place in range(2))
    return _Windows(
        x, lengths, Future(*(np.concatenate(of) for of in zip(*(part.future for part in parts), strict=True)))
    )


def _digest(series: Sequence[Series]) -> str:
    """Of all series as the file has them."""
    values = np.concatenate([one.values for one in series])
    lengths, names = np.array([len(one) for one in series]), np.array([one.name for one in series])
    return digest({"values": values, "lengths": lengths, "names": names})


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
            "difference": "inputs are differences, forecasts changes from the last value, in the deviation of a series' steps",
        }[plan.scale],
    ]
    if untrained:
        few = f"{untrained:,} of {len(series):,} series have fewer than {_trained_from(plan)} values"
        made.append(f"{few}: none trains, all are tested")
    if any(one.made_up is not None for one in series):
        n = sum(int(one.made_up.sum()) for one in series if one.made_up is not None)
        made.append(f"{counted(n, 'value')} filled with the one before")
    if undefined:
        made.append(
            f"{undefined:,} of {len(series):,} series never change before their test targets: they count in no MASE"
        )
    return made
