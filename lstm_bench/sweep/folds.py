"""`dataset.folds`: each training of a search and of a confirmation is one per fold, its validation scores their means.

A fold is a task like any other, so that folds run on all workers, and what came of one is kept in the study's database: a
worker or driver that dies loses the fold that it was in. A seed of a confirmation is trained once more, on every training
sequence, as long as the fold that was at its best last, and has the weights of the epoch with the least loss on them; that
network reads the test set, and is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from lstm_bench.core import schema
from lstm_bench.core.errors import StorageError
from lstm_bench.data.objective import settled_objective
from lstm_bench.data.splits import ALL, for_fold
from lstm_bench.launcher.event_loop import NO_TASK_YET, Finished, Loop, Next, Report, Running
from lstm_bench.launcher.protocol import EpochResult, Result, TrialResult, TrialTask
from lstm_bench.study.candidates import digest

_SUMMED = ("setup_s", "compile_s", "train_s", "eval_s", "total_s", "padding_s")  # what all of them took
_MOST = ("peak_memory_mib", "peak_device_memory_mib", "epochs")


@dataclass
class _Whole:
    """A training as driver and confirmation know it, and what is known of its folds."""

    running: Running
    folds: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def task(self) -> TrialTask:
        assert isinstance(self.running.task, TrialTask)
        return self.running.task


class Facts(Protocol):
    """What keeps what came of a fold: a study."""

    def get(self, key: str) -> Any:
        """A stored fact, None when there is none."""

    def put(self, key: str, value: Any) -> bool:
        """Stores one; returns whether it counts."""


class Unkept:
    """Keeps nothing: every fold is trained."""

    def get(self, key: str) -> Any:
        return None

    def put(self, key: str, value: Any) -> bool:
        return True


class FoldedLoop:
    """Runs each training fold by fold; to driver and confirmation it is the loop that it stands before.

    Args:
      loop: Runs tasks.
      study: Keeps what came of each fold.
      config: Resolved configuration.
    """

    def __init__(self, loop: Loop, study: Facts, config: schema.Sweep):
        self._loop, self._study, self._config = loop, study, config
        self._n = schema.settled(config["dataset"].get("folds"))
        self._whole: dict[str, _Whole] = {}  # by the name of the training
        self._of: dict[tuple[str, int], tuple[_Whole, int | str]] = {}  # by name and tries of the fold's task
        self._pieces: list[Running] = []

    defer = property(lambda self: self._loop.defer)
    run_deferred = property(lambda self: self._loop.run_deferred)

    def run(self, next_task: Next, finished: Finished, report: Report | None = None) -> None:
        """As `Loop.run`, of trainings each alone in its program."""
        self._finished, self._report = finished, report

        def next_piece() -> Running | None:
            while not self._pieces:
                given = next_task()
                if given is None or given is NO_TASK_YET:
                    return None if given is None else NO_TASK_YET
                [running] = [given] if isinstance(given, Running) else given
                self._open(running)
            return self._pieces.pop(0)

        try:
            self._loop.run(next_piece, self._ended)
        finally:
            for whole in list(self._whole.values()):  # whose folds were not all begun when the loop ended
                with contextlib.suppress(StorageError):
                    self._close(whole, {"state": "FAIL", "reason": "interrupted"})
            self._pieces, self._of = [], {}
            self._loop.run_deferred()

    def _open(self, running: Running) -> None:
        whole = _Whole(running)
        self._whole[running.name] = whole
        for fold in range(self._n):
            known = self._study.get(self._key(whole, fold))
            if known is not None:
                whole.folds[fold] = known
            else:
                self._begin(whole, fold)
        self._go_on(whole)

    def _key(self, whole: _Whole, fold: int) -> str:
        """Of what came of a fold, among the study's facts."""
        return f"fold/{digest(whole.task.config)}/{whole.task.seed}/{fold}"

    def _begin(self, whole: _Whole, fold: int | str) -> None:
        task = whole.task
        config: schema.Sweep = {**task.config, "dataset": for_fold(task.config["dataset"], fold)}
        if fold == ALL:
            last, patience = last_epoch([*whole.folds.values()]), config["train"]["patience"]
            train: schema.TrainTo = {**config["train"], "last_epoch": last, "patience": patience and last}
            config["train"] = train
            config["study"] = {**config["study"], "objective": "val_loss", "direction": "minimize", "objectives": {}}
            name = f"{whole.running.name}, all {self._n} folds"
        else:
            task = replace(task, kind="trial", keep=None, for_mlflow=False)
            name = f"{whole.running.name}, fold {int(fold) + 1} of {self._n}"
        piece = Running(name, replace(task, config=config), whole.running.number, tries=whole.running.tries)
        self._of[name, piece.tries] = whole, fold
        self._pieces.append(piece)

    def _ended(self, piece: Running, ended: Result) -> None:
        whole, fold = self._of.pop((piece.name, piece.tries))
        result = ended.row()
        if result["state"] == "COMPLETE" and fold != ALL:
            known = {**result, "history": result.get("history", [epoch.row() for epoch in piece.epochs])}
            key = self._key(whole, int(fold))
            if not self._study.put(key, known):
                known = self._study.get(key) or known  # another driver's
            whole.folds[int(fold)] = known
        if whole.running.name not in self._whole or self._whole[whole.running.name] is not whole:
            return  # it has ended before, by another of its folds
        if result["state"] != "COMPLETE":
            self._close(whole, {key: value for key, value in result.items() if not key.startswith("val_")})
        elif fold == ALL:
            self._close(whole, confirmed(result, self._means(whole)))
        else:
            self._go_on(whole)

    def _go_on(self, whole: _Whole) -> None:
        """Ends a training whose folds are all there, or trains a seed on all of them together."""
        if len(whole.folds) < self._n:
            return
        if whole.task.kind == "replicate":
            self._begin(whole, ALL)
        else:
            self._close(whole, self._means(whole))

    def _means(self, whole: _Whole) -> dict[str, Any]:
        return joined([whole.folds[fold] for fold in range(self._n)], settled_objective(self._config["study"]))

    def _close(self, whole: _Whole, result: dict[str, Any]) -> None:
        del self._whole[whole.running.name]
        self._pieces = [piece for piece in self._pieces if self._of[piece.name, piece.tries][0] is not whole]
        for row in result.get("history", ()) if result["state"] == "COMPLETE" else ():
            epoch = EpochResult.read(row)
            whole.running.epochs.append(epoch)
            if self._report:
                self._report(whole.running, epoch)
        self._finished(whole.running, TrialResult.read(result))


def last_epoch(folds: Sequence[Mapping[str, Any]]) -> int:
    """Epochs of a seed on all folds: as many as the one had that was at its best last; without patience all.

    No epoch is good for all of them: a fold is validated in spikes, and never at the same time as another. Which of the epochs
    counts is hence decided on what is trained on, as by Ismail Fawaz et al. 2019 (arXiv 1809.04356); and no patience ends it
    before, for that loss has spikes too.
    """
    return max(int(fold.get("best_epoch") or fold["epochs"]) for fold in folds)


def joined(folds: Sequence[Mapping[str, Any]], objective: str) -> dict[str, Any]:
    """The result of a training whose folds came to these: means of what is a score or a speed, sums of seconds.

    Args:
      folds: Their results, all complete, in order.
      objective: Column whose deviation over the folds is kept.
    """
    made = dict(folds[0])
    for name, value in folds[0].items():
        values = [fold[name] for fold in folds if fold.get(name) is not None]
        if not isinstance(value, int | float) or isinstance(value, bool) or len(values) < len(folds):
            continue
        if name in _SUMMED:
            made[name] = sum(values)
        elif name in _MOST:
            made[name] = max(values)
        elif name == "best_epoch":
            made[name] = int(statistics.median_low(values))
        elif isinstance(value, float) or name.startswith(("val_", "train_")):
            made[name] = statistics.fmean(values)
    digests = [str(fold.get("weights_sha256")) for fold in folds]
    made["weights_sha256"] = hashlib.sha256(" ".join(digests).encode()).hexdigest()
    made["folds"] = len(folds)
    if objective in made:
        made["fold_deviation"] = statistics.stdev(float(fold[objective]) for fold in folds)
    made["history"] = _history([fold["history"] for fold in folds])
    return made


def confirmed(result: Mapping[str, Any], means: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a seed: validation scores of its folds, all else of the training on all of them, seconds of both."""
    scores = {name: value for name, value in means.items() if name.startswith("val_")}
    own = {name: value for name, value in result.items() if not name.startswith("val_")}
    spent = {name: own[name] + means[name] for name in _SUMMED if name in own and name in means}
    kept = {name: means[name] for name in ("folds", "fold_deviation", "history") if name in means}
    return {**own, **scores, **spent, **kept}


def _history(folds: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Epochs as means over the folds that had so many; their seconds are sums."""
    made = []
    for at in range(max(map(len, folds))):
        each = [fold[at] for fold in folds if len(fold) > at]
        epoch: dict[str, Any] = {"epoch": at + 1}
        for name in each[0]:
            values = [one.get(name) for one in each]
            if name not in ("epoch", "ended") and None not in values:
                numbers = [float(value) for value in values if value is not None]
                epoch[name] = sum(numbers) if name == "train_s" else statistics.fmean(numbers)
        if "n_weights" in each[0]:
            epoch["n_weights"] = each[0]["n_weights"]
        made.append(epoch)
    return made
