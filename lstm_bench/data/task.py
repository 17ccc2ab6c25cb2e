"""What a dataset asks for: its labels, what a network gives for them, how that is trained, scored and said.

Whatever depends on the kind of task asks a `Task`. Another kind is another object: here, or in a package of its own that names
it by an entry point of group `lstm_bench.tasks`.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Literal

import numpy as np

from lstm_bench.core.errors import ConfigError, nearest
from lstm_bench.data import metric as metrics
from lstm_bench.data.horizon import Future, Horizon
from lstm_bench.data.labels import Classes, Labels, Numbers, Several
from lstm_bench.data.metric import Metric

GROUP = "lstm_bench.tasks"

Guess = Callable[[np.ndarray, np.ndarray], dict[str, float]]  # labels of training and test split -> figures


def _nothing(y_train: np.ndarray, y_test: np.ndarray) -> dict[str, float]:
    return {}


@dataclass(frozen=True)
class Task:
    """A kind of task.

    Attributes:
      name: As the records have it.
      outputs: Whether a network answers once per `sequence`, or at every `timestep`.
      labels: What its labels are.
      metrics: What outputs are scored by. The first judges a confirmed configuration and is what a study aims at unless it says
        otherwise; one is named `loss`, and must stay finite.
      loss: What training minimises: a name of `lstm_bench.training.criteria`, or `module:function` of one like those there.
      predictor: What the trivial predictor does, which looks at no input, in words.
      trivial: What it scores on the test set: columns of `replicates.csv`.
      counted: Name of the metric that the steps of training count as they go, None for none.
      baselines: Further predictors, by what they do, and what each scores in `yardstick`: of data that brings none along.
      yardstick: What `baselines` are measured in; None: the first metric.
      rare: What a study aims at by itself where a class is rare, see `objective.settle_objective`; None: the first metric.
      remark: What a report says where it cannot show the classes of a confusion matrix.
      cutter: Module that cuts a file into the windows of a task which divides series itself, see `own_cutter`; "": what its
        sequences are, and how they are divided, is no matter of the task.
      settings: Of group `dataset`, those that only such a task has.
    """

    name: str
    outputs: Literal["sequence", "timestep"]
    labels: Labels
    metrics: tuple[Metric, ...]
    loss: str
    predictor: str = "a predictor that looks at no input"
    trivial: Guess = _nothing
    counted: str | None = None
    baselines: Guess = _nothing
    yardstick: Metric | None = None
    rare: Metric | None = None
    remark: str = ""
    cutter: str = ""
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [metric.name for metric in self.metrics]
        if "loss" not in names or len(set(names)) < len(names):
            raise ConfigError(f"task {self.name}: metrics", expected="one of them loss, each once", received=names)

    @property
    def own_cutter(self) -> Any:
        """The module `cutter`, None for none.

        Its `check(config)` raises ConfigError for settings of group `dataset` that cannot be meant, its `load(config)` returns
        `file_dataset.FileData`, and its `beyond(source, about)` what `predict` forecasts from. Where it has them, `evidence(data,
        outputs)` are the rows of `predictions.csv` and `worst.csv`, and `pasts(config, split)` what controls look at.
        """
        return importlib.import_module(self.cutter) if self.cutter else None

    @property
    def measure(self) -> Metric:
        """What a confirmed configuration is judged by."""
        return self.metrics[0]

    @property
    def ruler(self) -> Metric:
        """What predictors without memory or learning are measured in."""
        return self.yardstick or self.measure

    @property
    def objectives(self) -> tuple[str, ...]:
        """What a study may aim at, the usual one first."""
        return tuple(f"val_{metric.name}" for metric in self.metrics if metric.aim)

    @property
    def confirmed(self) -> tuple[Metric, ...]:
        """What a confirmation says: the measure, and what its baselines are held against."""
        return tuple(dict.fromkeys((self.measure, self.ruler)))

    @property
    def shown(self) -> tuple[Metric, ...]:
        """What a table of replicates has of the test set: the metrics, a second name of the measure and late ones left out."""
        return (self.measure, *(m for m in self.metrics if m.of is not self.measure.of and not m.late))

    @property
    def late(self) -> tuple[Metric, ...]:
        """What is not computed after every epoch."""
        return tuple(metric for metric in self.metrics if metric.late)

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the records: what its metrics are called there."""
        counted = () if self.counted is None else (f"train_{self.counted}",)
        return (*(f"{split}_{metric.name}" for metric in self.metrics for split in ("val", "test")), *counted)

    @property
    def per_timestep(self) -> bool:
        """Whether a network has an output for every timestep."""
        return self.outputs == "timestep"

    @property
    def axes(self) -> tuple[str, ...]:
        """Of its labels."""
        one = ("samples", "timesteps") if self.per_timestep else ("samples",)
        return (*one, "labels") if self.labels.several else one

    @property
    def has_classes(self) -> bool:
        """Whether each sample has one class: then there are predictions, a confusion matrix, strata."""
        return self.labels.classes and not self.per_timestep

    @property
    def marked(self) -> list[str]:
        """Its name, where it has to be told from the one task that older versions knew and did not name."""
        return [] if self is CLASSIFICATION else [self.name]

    def metric(self, column: str) -> Metric | None:
        """The one of its metrics whose column that is, None for another column."""
        split, _, name = column.partition("_")
        return next((m for m in self.metrics if m.name == name), None) if split in metrics.SPLITS else None

    def shape(self, x: np.ndarray, y: np.ndarray) -> tuple[int, ...]:
        """Of the labels of sequences `(samples, timesteps, features)`: of several per sample, as many as `y` has."""
        n = len(self.axes) - self.labels.several
        return (*x.shape[:n], *y.shape[n:]) if self.labels.several else x.shape[:n]

    def score(
        self,
        outputs: np.ndarray,
        y: np.ndarray,
        split: str,
        mask: np.ndarray | None = None,
        late: Collection[str] | None = None,
    ) -> dict[str, float]:
        """What a model's outputs on a split are worth: `<split>_<metric>` for each of its metrics that the split has.

        Args:
          outputs: `(samples, n_outputs)`, or `(samples, timesteps, n_outputs)`.
          y: Labels.
          split: "val" or "test".
          mask: As `y`: which labels count; None for all.
          late: Columns of the late metrics that are wanted; None for all.
        """
        found = {}
        for metric in self.metrics:
            column = f"{split}_{metric.name}"
            if metric.late and late is not None and column not in late:
                continue
            value = metric.value(outputs, y, mask)
            if not metric.late or not math.isnan(value):
                found[column] = value
        return found


def most_frequent(y_train: np.ndarray, y_test: np.ndarray) -> dict[str, float]:
    """Of always predicting the `label` that is most frequent in training (of equals the least, over all timesteps): accuracy."""
    label = int(np.bincount(y_train.ravel()).argmax())
    return {"label": label, "test_accuracy": int(np.count_nonzero(y_test == label)) / y_test.size}


def training_mean(y_train: np.ndarray, y_test: np.ndarray) -> dict[str, float]:
    """Of always predicting the mean of the training targets: mean squared error."""
    targets = y_train.astype(np.float64).ravel().tolist()
    mean = math.fsum(targets) / len(targets)
    errors = [(target - mean) ** 2 for target in y_test.astype(np.float64).ravel().tolist()]
    return {"test_mse": math.fsum(errors) / len(errors)}


def _mean_baseline(y_train: np.ndarray, y_test: np.ndarray) -> dict[str, float]:
    error = float(np.square(y_test - y_train.mean(dtype=np.float64)).mean())
    return {"always predicting the training mean": error}


def likeliest_labels(y_train: np.ndarray, y_test: np.ndarray) -> dict[str, float]:
    """Of always predicting of each label what is more frequent in training, present or absent: the scores on the test set."""
    fixed = np.where(2 * y_train.sum(axis=0) > len(y_train), 1.0, -1.0)
    return _of_one_answer(fixed, y_test)


def _every_label(y_train: np.ndarray, y_test: np.ndarray) -> dict[str, float]:
    found = _of_one_answer(np.ones(y_test.shape[1]), y_test)
    return {"always predicting every label": found[metrics.LABEL_MACRO_F1.column]}


def _of_one_answer(logits: np.ndarray, y_test: np.ndarray) -> dict[str, float]:
    outputs = np.broadcast_to(logits, y_test.shape)
    scored = (metrics.LABEL_MACRO_F1, metrics.LABEL_MICRO_F1, metrics.SUBSET_ACCURACY)
    return {metric.column: metric.of(outputs, y_test, None) for metric in scored}


def last_value(y_train: np.ndarray, y_test: np.ndarray) -> dict[str, float]:
    """Of the naive forecast, which repeats the last value: the scores on the test set."""
    outputs = Future.of(y_test).naive()
    scored = (metrics.MASE, metrics.FORECAST_MAE, metrics.RMSE, metrics.SMAPE)
    return {metric.column: metric.of(outputs, y_test, None) for metric in scored}


def _simple_forecasts(y_train: np.ndarray, y_test: np.ndarray) -> dict[str, float]:
    future = Future.of(y_test)
    made = {"naive: the last value, repeated": future.naive()}
    if future.is_seasonal:
        made["seasonal naive: the value a season before"] = future.seasonal
    made["drift: on along the line from the first value to the last"] = future.drift()
    return {name: metrics.MASE.of(outputs, y_test, None) for name, outputs in made.items()}


CLASSIFICATION = Task(
    name="classification",
    outputs="sequence",
    labels=Classes(),
    metrics=(
        *(metrics.ACCURACY, metrics.CROSS_ENTROPY),
        *(metrics.BALANCED_ACCURACY, metrics.MACRO_F1, metrics.AUROC, metrics.CALIBRATION_ERROR),
    ),
    loss="sparse_categorical_crossentropy",
    counted="accuracy",
    predictor="always predicting the most frequent class of the training set",
    trivial=most_frequent,
    rare=metrics.BALANCED_ACCURACY,
)
TAGGING = Task(
    name="tagging",
    outputs="timestep",
    labels=Classes(),
    metrics=(metrics.ACCURACY, metrics.CROSS_ENTROPY, metrics.MACRO_F1),
    loss="sparse_categorical_crossentropy",
    counted="accuracy",
    predictor="always predicting the most frequent tag of the training set",
    trivial=most_frequent,
    yardstick=metrics.CROSS_ENTROPY,
    rare=metrics.MACRO_F1,
    remark="Accuracy is per position: the share of all timesteps.",
)
REGRESSION = Task(
    name="regression",
    outputs="sequence",
    labels=Numbers(),
    metrics=(metrics.MSE, metrics.MAE, metrics.SQUARED_LOSS, metrics.R2),
    loss="mean_squared_error",
    predictor="always predicting the mean of the training targets",
    trivial=training_mean,
    baselines=_mean_baseline,
    remark="A regression has no classes.",
)
MULTILABEL = Task(
    name="multilabel",
    outputs="sequence",
    labels=Several(),
    metrics=(
        *(metrics.LABEL_MACRO_F1, metrics.LABEL_MICRO_F1, metrics.LABEL_CROSS_ENTROPY),
        *(metrics.SUBSET_ACCURACY, metrics.LABEL_AUROC),
    ),
    loss="binary_crossentropy",
    predictor="always predicting of each label what is more frequent in the training set",
    trivial=likeliest_labels,
    baselines=_every_label,
    remark="Samples with several labels have no confusion matrix.",
)
FORECASTING = Task(
    name="forecasting",
    outputs="sequence",
    labels=Horizon(),
    metrics=(
        *(metrics.MASE, metrics.FORECAST_MAE, metrics.RMSE, metrics.SMAPE, metrics.SCALED_LOSS),
        *(metrics.WEIGHTED_QUANTILE_LOSS, metrics.COVERAGE, metrics.CORRELATION, metrics.ECHO),
    ),
    loss="horizon_loss",
    predictor="naive: the last value, repeated",
    trivial=last_value,
    baselines=_simple_forecasts,
    remark="A forecast has no classes.",
    cutter="lstm_bench.data.windows",
    settings=("horizon", "context", "scale", "season", "resample", "origins", "quantiles", "known", "calendar"),
)
OWN = {task.name: task for task in (CLASSIFICATION, TAGGING, REGRESSION, MULTILABEL, FORECASTING)}


@functools.cache
def _found() -> tuple[dict[str, Task], dict[str, str]]:
    """Tasks by name, and of entry points that give none, why."""
    tasks, faults = dict(OWN), dict[str, str]()
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            task = point.load()
            _require_consistent(task, point.name, tasks)
        except Exception as error:  # whatever a package raises when it is imported
            faults[point.name] = " ".join(f"{point.value}: {type(error).__name__}: {error}".split())[:300]
        else:
            tasks[task.name] = task
    return tasks, faults


def _require_consistent(task: Any, name: str, others: Mapping[str, Task]) -> None:
    """Raises TypeError unless it is a task of that name which calls nothing by a name that means something else."""
    if not isinstance(task, Task) or task.name != name or name in others:
        raise TypeError(f"expected a Task of its own, named {name}")
    for metric in task.metrics:
        for other in (m for t in others.values() for m in t.metrics if m.name == metric.name):
            said = [(m.maximize, m.percent, m.label) for m in (metric, other)]
            if said[0] != said[1]:
                raise TypeError(f"metric {metric.name} is another one elsewhere: {said[1]}, not {said[0]}")


def tasks() -> Mapping[str, Task]:
    """All that there are, by name: ours first."""
    return _found()[0]


def of(name: str) -> Task:
    """The task of that name.

    Raises:
      ConfigError: for one that there is not, or that cannot be imported.
    """
    known, faults = _found()
    if name in faults:
        raise ConfigError(f"task {name}: its package cannot be used ({faults[name]})", remedy="Mend or remove it.")
    if name not in known:
        raise ConfigError(f"unknown task {name}", expected=f"one of {', '.join(known)}", remedy=nearest(name, known))
    return known[name]


def recorded(facts: Mapping[str, Any]) -> Task:
    """The task of recorded data; older versions, and those whose package is not here, stand as a classification."""
    return tasks().get(str(facts.get("task")), CLASSIFICATION)


def of_labels(y: np.ndarray) -> Task:
    """What labels ask for where nothing else is said: floats are targets, all others classes."""
    return REGRESSION if y.dtype.kind == "f" else CLASSIFICATION


def all_metrics() -> Iterator[Metric]:
    """Those of all tasks, a name once."""
    return iter({metric.name: metric for task in tasks().values() for metric in task.metrics}.values())


def metric_of(column: str) -> Metric | None:
    """The metric of a column such as `val_accuracy`, None for another column."""
    return next((found for task in tasks().values() if (found := task.metric(column))), None)


def in_percent(column: str) -> bool:
    """Whether a column holds fractions that are shown in percent."""
    metric = metric_of(column)
    return metric is not None and metric.percent
