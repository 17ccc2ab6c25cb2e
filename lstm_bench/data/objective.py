"""What a study may aim at: the metrics of its task on validation data, and what a network costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_bench.core import schema
from lstm_bench.core.errors import ConfigError, nearest
from lstm_bench.data.labels import integers
from lstm_bench.data.task import CLASSIFICATION, Task, all_metrics

AUTO = "auto"  # of `study.objective`: what the task, and how rare its classes are, ask for
# What a study may aim at beside the metrics of its task, in `study.objectives`, and which way is better.
_COSTS = {"n_weights": "minimize", "train_samples_per_s": "maximize"}


def objectives() -> dict[str, str]:
    """What a study may aim at, by any task, and which way is better."""
    return {f"val_{metric.name}": metric.direction for metric in all_metrics() if metric.aim}


def usual_objective(dataset: str) -> str:
    """What a study aims at where nothing is said: of a file what the task asks for, of older sources what it always was."""
    return AUTO if dataset in ("file", "languages") else CLASSIFICATION.objectives[0]


def settled_objective(study: schema.Study) -> str:
    """What a study aims at, once `check_aims` and, where the data decides, `settle_objective` have filled it in."""
    return schema.settled(study["objective"])


def check_aims(study: schema.Study, dataset: str = "") -> None:
    """Checks that a study aims at metrics that there are, each the better way, and fills in what is left open.

    Args:
      study: Group `study`: `objective` (None: `usual_objective`), `direction` (None: that of the objective), `objectives`.
      dataset: Name of group `dataset`.

    Raises:
      ConfigError: for another name or direction.
    """
    known = objectives()
    study["objective"] = objective = study["objective"] or usual_objective(dataset)
    direction, either = study["direction"], {**known, **_COSTS}
    for name, way in study["objectives"].items():
        if name not in either:
            raise ConfigError(f"study.objectives: unknown metric {name}", remedy=nearest(name, either))
        if way != either[name]:
            raise ConfigError(f"study.objectives.{name}", expected=either[name], received=way)
    if objective == AUTO:
        return
    if objective not in known:
        expected, remedy = f"{AUTO} or one of {', '.join(known)}", nearest(objective, known)
        raise ConfigError("study.objective", expected=expected, received=objective, remedy=remedy)
    if direction not in (None, known[objective]):
        raise ConfigError(
            f"study.direction: {objective} is better the {'higher' if direction == 'minimize' else 'lower'} it is",
            expected=known[objective],
            received=direction,
            remedy=f"Give study.direction={known[objective]}.",
        )
    study["direction"] = known[objective]


def settle_objective(study: schema.Study, task: Task, train: np.ndarray, validation: np.ndarray, n_outputs: int) -> str:
    """Puts the metric in the place of `study.objective=auto`, with its direction; returns which and why, "" where none was asked.

    It is the first of the task's; of classes of which one is rare in training, with less than a third of an even share, it is
    `Task.rare`, if the validation split can have it.

    Args:
      study: Group `study`.
      task: Of the data.
      train: Labels of the training split.
      validation: Those of the validation split.
      n_outputs: Of a network.
    """
    if study["objective"] != AUTO:
        return ""
    aim, why = task.measure, f"a {task.name} task"
    if unfit := aim.unavailable(validation, n_outputs):
        why = f"the validation split has no {aim.label}: {unfit}"
        aim = next(metric for metric in task.metrics if not metric.unavailable(validation, n_outputs))
    if task.labels.classes:
        least = int(np.bincount(train.ravel(), minlength=n_outputs).min())
        share = least * n_outputs / train.size  # of an even one
        why = f"the rarest class has {least:,} of {train.size:,} labels, {share:.2f} of an even share"
        if share < 1 / 3 and task.rare:
            unfit = task.rare.unavailable(validation, n_outputs)
            aim, why = (aim, f"{why}, but of the validation split {unfit}") if unfit else (task.rare, why)
    study["objective"] = f"val_{aim.name}"
    check_aims(study)
    return f"{AUTO} -> {study['objective']}: {why}"


def check_objective(
    study: Mapping[str, Any],
    name: str,
    task: Task | None,
    targets: np.ndarray | None = None,
    validation: np.ndarray | None = None,
    n_outputs: int = 1,
) -> None:
    """Checks that a study aims at something that its task, and the validation data, have.

    Args:
      study: Group `study`: `objective`, or `objectives`.
      name: Of the dataset.
      task: Its task; None where that is not known before the data is read.
      targets: Labels, where they are known.
      validation: Those of the validation split, where they are known.
      n_outputs: Of a network.

    Raises:
      ConfigError: for the accuracy of a regression, or the error of a classification; for one that the split cannot have.
    """
    if task is None:
        return
    aims = study.get("objectives") or [study["objective"]]
    if wrong := next((aim for aim in aims if aim.startswith("val_") and aim not in task.objectives), None):
        remedy = f"Give study.objective={task.objectives[0]}."
        if targets is not None and (mended := integers(targets)):  # floats by mistake, perhaps
            remedy += f" {mended}"
        raise ConfigError(
            "study.objective",
            expected=f"one of {', '.join(task.objectives)} with dataset={name}, a {task.name}",
            received=wrong,
            remedy=remedy,
        )
    for aim in aims:
        metric = task.metric(aim)
        if metric and validation is not None and (why := metric.unavailable(validation, n_outputs)):
            raise ConfigError(
                f"study.objective={aim}: the validation split cannot have it ({why})",
                remedy=f"Give a larger dataset.validation_size, or study.objective={task.objectives[0]}.",
            )
