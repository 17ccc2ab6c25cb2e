"""How a worker does a task of kind `control`: fits it to the dataset on one core, scores it, keeps it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lstm_bench.core import schema
from lstm_bench.core.clock import Phases, clock
from lstm_bench.data.dataset import Dataset
from lstm_bench.data.horizon import Future
from lstm_bench.data.splits import ALL, for_fold
from lstm_bench.launcher.protocol import ControlResult, ControlTask
from lstm_bench.model import controls
from lstm_bench.model.question import Asked, Samples
from lstm_bench.study.control_rows import asked_by
from lstm_bench.training import inference
from lstm_bench.training.artefacts import described


def fitted(task: ControlTask, load: Callable[[schema.Dataset], Dataset], phases: Phases) -> ControlResult:
    """Result of a control: a row of `columns.CONTROL_COLUMNS` but for its times of day.

    With `dataset.folds` its validation scores are the means of as many controls; the one that reads the test set, and is
    kept, is fitted to all training sequences, its strength chosen by folds of these.

    Args:
      task: What is asked.
      load: Gives the dataset of group `dataset`.
      phases: The clock of the task.
    """
    from threadpoolctl import threadpool_limits

    control, settings = controls.CONTROLS[task.control], task.config["dataset"]
    folds = settings.get("folds")
    data = load(for_fold(settings, ALL) if folds else settings)
    asked = asked_by(data.kind, data.y_train, data.n_classes, data.tokens is not None)
    each: list[dict[str, float]] = []
    sharpness: list[float] = []
    with threadpool_limits(limits=1):
        for fold in range(folds or 0):
            part = load(for_fold(settings, fold))
            with phases("train_s"):
                made = control.fit(samples(part, "train"), samples(part, "validation"), asked, task.seed)
            with phases("eval_s"):
                each.append(_scores(made, part, "validation", "val"))
            sharpness.append(made.sharpness)
        held_out = samples(data, "validation")
        if folds:
            held_out = held_out.take(np.arange(0))  # it is trained on
        with phases("train_s"):
            if control.ahead:
                return _of_series(task, data, asked, phases)
            by = statistics.geometric_mean(sharpness) if sharpness else None
            made = control.fit(samples(data, "train"), held_out, asked, task.seed, by)
        with phases("eval_s"):
            scores = _means(each) if folds else _scores(made, data, "validation", "val")
            if task.tests:
                scores |= _scores(made, data, "test", "test")
        seconds = phases.seconds()
        speed = inference.latency(made, data.x_validation)
    if task.keep:
        made.save(Path(task.keep), described(data))
        if data.vocabulary is not None:
            data.vocabulary.save(Path(task.keep))
    facts = {
        "n_weights": made.n_weights,
        "n_train": made.n_train,
        "chosen": made.chosen,
        "notes": "; ".join(made.notes),
        **({"folds": folds} if folds else {}),
    }
    return ControlResult.read({"state": "COMPLETE", **scores, **facts, **speed, **seconds})


def _of_series(task: ControlTask, data: Dataset, asked: Asked, phases: Phases) -> ControlResult:
    """As `fitted`, of a control that looks at the whole past of each series: what it takes is the time of its forecasts."""
    cutter, config = data.kind.own_cutter, task.config["dataset"]
    scores, since, n, chosen = dict[str, float](), clock(), 0, ""
    for split, name in (("validation", "val"), *((("test", "test"),) if task.tests else ())):
        pasts, season = cutter.pasts(config, split)
        made = controls.of_pasts(task.control, asked, season)
        answers, chosen = made.forecasts(pasts)
        y, n = getattr(data, f"y_{split}"), n + len(pasts)
        future = Future.of(y)
        scores |= data.kind.score((answers - future.offset[:, None]) / future.scale[:, None], y, name)
    latency = 1000 * (clock() - since) / n
    if task.keep:
        made.save(Path(task.keep), described(data))
    facts = {"n_weights": 0, "n_train": 0, "chosen": chosen, "notes": "", "latency_ms_batch_1": latency}
    return ControlResult.read({"state": "COMPLETE", **scores, **facts, "latency_ms_batch_64": latency})


def _means(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.fmean(one[name] for one in each) for name in each[0]}


def samples(data: Dataset, split: str) -> Samples:
    """A split of a dataset, with what outputs are to come close to."""
    wanted = data.kind.labels.wanted(getattr(data, f"y_{split}"))
    return Samples(getattr(data, f"x_{split}"), wanted, getattr(data, f"lengths_{split}", None))


def _scores(made: controls.Fitted, data: Dataset, split: str, name: str) -> dict[str, float]:
    outputs = made.outputs(getattr(data, f"x_{split}"), data.lengths(split))
    return data.kind.score(outputs, getattr(data, f"y_{split}"), name, data.label_mask(split))
