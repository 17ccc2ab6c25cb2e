"""How a worker does a task of kind `control`: fits it to the dataset on one core, scores it, keeps it."""

from __future__ import annotations

from pathlib import Path

from lstm_bench.core.clock import Phases, clock
from lstm_bench.data.dataset import Dataset
from lstm_bench.data.horizon import Future
from lstm_bench.launcher.protocol import ControlResult, ControlTask
from lstm_bench.model import controls
from lstm_bench.model.controls import Asked, Samples
from lstm_bench.study.control_rows import asked_by
from lstm_bench.training import inference
from lstm_bench.training.artefacts import described


def fitted(task: ControlTask, data: Dataset, phases: Phases) -> ControlResult:
    """Result of a control: a row of `columns.CONTROL_COLUMNS` but for its times of day.

    Args:
      task: What is asked.
      data: Its dataset.
      phases: The clock of the task.
    """
    from threadpoolctl import threadpool_limits

    control = controls.CONTROLS[task.control]
    asked = asked_by(data.kind, data.y_train, data.n_classes, data.tokens is not None)
    with threadpool_limits(limits=1):
        with phases("train_s"):
            if control.ahead:
                return _of_series(task, data, asked, phases)
            made = control.fit(samples(data, "train"), samples(data, "validation"), asked, task.seed)
        with phases("eval_s"):
            scores = _scores(made, data, "validation", "val")
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


def samples(data: Dataset, split: str) -> Samples:
    """A split of a dataset, with what outputs are to come close to."""
    wanted = data.kind.labels.wanted(getattr(data, f"y_{split}"))
    return Samples(getattr(data, f"x_{split}"), wanted, getattr(data, f"lengths_{split}", None))


def _scores(made: controls.Fitted, data: Dataset, split: str, name: str) -> dict[str, float]:
    outputs = made.outputs(getattr(data, f"x_{split}"), data.lengths(split))
    return data.kind.score(outputs, getattr(data, f"y_{split}"), name, data.label_mask(split))
