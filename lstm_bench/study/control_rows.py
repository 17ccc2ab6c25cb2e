"""The rows of `controls.csv` in words: for the terminal, MLflow, and whoever decides by them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_bench.core.formatting import counted, number
from lstm_bench.core.statistics import Interval, t_interval
from lstm_bench.data.horizon import Future, horizon_of
from lstm_bench.data.metric import Metric
from lstm_bench.data.task import Task
from lstm_bench.model.controls import CONTROLS
from lstm_bench.model.question import Asked

Row = Mapping[str, Any]
# Losses of tasks whose answers a control gives as a network does, and what is answered.
_KINDS = {
    **{"sparse_categorical_crossentropy": "class", "binary_crossentropy": "labels", "mean_squared_error": "number"},
    **{"horizon_loss": "horizon"},
}


def asked_by(task: Task, y: np.ndarray, n_outputs: int, texts: bool = False) -> Asked:
    """What a task asks of a control: nothing that is known, where another package brings it with a loss of its own.

    Args:
      task: Of the data.
      y: Labels of the training split.
      n_outputs: Of a network.
      texts: Whether samples are ids of tokens.
    """
    kind = _KINDS.get(task.loss, "")
    if task.per_timestep:
        kind = "tags" if kind == "class" else ""
    if kind == "horizon":
        return Asked(kind, horizon_of(y), Future.of(y).is_seasonal)
    return Asked(kind, n_outputs, texts=texts)


class ControlScore(NamedTuple):
    """What a control came to.

    Attributes:
      name: As the records have it.
      label: What tables call it.
      validation: Its score by the task's measure over its seeds, and `test` likewise: n is 0 where it was not read.
      test: See `validation`.
      n_weights: Numbers that were fitted to labels.
      n_train: Sequences that it was fitted on.
      fit_s: Seconds of features and fitting on one core, the median of the seeds.
      latency_ms: Milliseconds per sequence, 64 at a time; NaN where it is not known.
      notes: What a reader has to know of it.
    """

    name: str
    label: str
    validation: Interval
    test: Interval
    n_weights: float
    n_train: float
    fit_s: float
    latency_ms: float
    notes: str


def scores(rows: Iterable[Row], measure: Metric) -> list[ControlScore]:
    """The controls that were fitted, in their order.

    Args:
      rows: Of `controls.csv`.
      measure: What the task is judged by.
    """
    complete = [row for row in rows if row.get("state") == "COMPLETE"]
    made = []
    for control in CONTROLS.values():
        mine = sorted((row for row in complete if row["control"] == control.name), key=lambda row: float(row["seed"]))
        if not mine:
            continue

        def values(column: str, mine: Sequence[Row] = mine) -> list[float]:
            return [
                float(row[column]) for row in mine if row.get(column) not in (None, "") and row[column] == row[column]
            ]

        latency = values("latency_ms_batch_64")
        made.append(
            ControlScore(
                control.name,
                control.label,
                t_interval(values(f"val_{measure.name}")),
                t_interval(values(measure.column)),
                values("n_weights")[0],
                values("n_train")[0],
                statistics.median(values("train_s")),
                statistics.median(latency) if latency else float("nan"),
                str(mine[0].get("notes") or ""),
            )
        )
    return made


def failures(rows: Iterable[Row]) -> list[str]:
    """The controls that could not be fitted, with the reason, and how often."""
    lost = [row for row in rows if row.get("state") not in (None, "", "COMPLETE")]
    told = Counter((str(row["control"]), str(row.get("reason") or "unknown")) for row in lost)
    return [
        f"{CONTROLS[name].label}: failed{f' {n} times' if n > 1 else ''} ({reason})"
        for (name, reason), n in told.items()
        if name in CONTROLS
    ]


def control_words(rows: Iterable[Row], task: Task) -> list[str]:
    """A line for each control: its score and what it costs; for one that could not be fitted the reason."""
    rows, said = list(rows), list[str]()
    for one in scores(rows, task.measure):
        split, score = ("test", one.test) if one.test.n else ("validation", one.validation)
        measure = task.measure
        text = f"{measure.text(score.mean) if measure.percent else number(score.mean)}{measure.sign}"
        if score.n > 1:
            width = measure.text(score.half_width) if measure.percent else number(score.half_width)
            text += f" +- {width} (95 % interval, n = {score.n})"
        weights = counted(round(one.n_weights), "weight")
        said.append(f"{one.label}: {split} {measure.label} {text}, {weights}, {one.fit_s:.1f} s on one core")
    return said + failures(rows)


def control_metrics(rows: Iterable[Row], task: Task) -> dict[str, float]:
    """As metrics of a study's run in MLflow: `control_minirocket_test_accuracy`."""
    made = {}
    for one in scores(rows, task.measure):
        for column, score in ((task.measure.column, one.test), (f"val_{task.measure.name}", one.validation)):
            if score.n:
                made[f"control_{one.name}_{column}"] = score.mean
    return made
