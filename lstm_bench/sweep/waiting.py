"""What a sweep tells the display of the time that is left: of its study, and of the studies that come after it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lstm_bench.core import configuration, fileio, schema
from lstm_bench.core.console import Left
from lstm_bench.launcher.event_loop import Running
from lstm_bench.study import columns
from lstm_bench.study.search_space import Domain
from lstm_bench.sweep import remaining
from lstm_bench.sweep.confirm import Confirmation
from lstm_bench.sweep.events import Listener, Row
from lstm_bench.sweep.store.trials import TrialStore


class Waiting:
    """Keeps what the model of the remaining work needs.

    Args:
      config: Resolved configuration.
      space: Parsed search space.
      workers: Trainings at a time.
      running: The tasks that run.

    Attributes:
      trials: Trials that are to be begun and to end, those that run among them.
      best: Searched values of the configurations that would be confirmed now, best first.
      seeds: Of the confirmation: searched values of each replicate that has not ended; None before it.
      after_s: Seconds of what follows when all are trained.
      ends: When no trial is begun any more, on the monotonic clock.
    """

    def __init__(
        self,
        config: schema.Sweep,
        space: Mapping[str, Domain],
        workers: int,
        running: Callable[[], Sequence[Running]],
    ):
        self._config, self._space, self._workers, self._running = config, space, workers, running
        self._work_later = self._fixed_later = self._spent = self._worked = 0.0  # of the other studies
        self._ended: list[remaining.Training] = []
        self.trials, self.best = 0, list[Mapping[str, Any]]()
        self.seeds: list[Mapping[str, Any]] | None = None
        self.ends = math.inf
        self.after_s: Callable[[], float] = lambda: 0.0

    def others(self, earlier: Sequence[schema.Sweep], later: Sequence[schema.Sweep], start_s: float = 0.0) -> None:
        """Looks at the studies of the same command: what those before took, and what those after have left.

        Args:
          earlier: Resolved configurations, as recorded.
          later: Likewise.
          start_s: Seconds that this study took to its first training.
        """
        for config in (*earlier, *later):
            rows = _ended_rows(config)
            self._spent += sum(float(row["total_s"]) for row in rows)
            self._worked += sum(work(config, float(row["epochs"])) for row in rows)
        left = {config["study"]["name"]: max(_wanted(config) - len(_ended_rows(config)), 0) for config in later}
        self._work_later = sum(work(config) * left[config["study"]["name"]] for config in later)
        self._fixed_later = sum(start_s + self.after_s() for n in left.values() if n)

    def ended(self, params: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """A training has ended, in this session or before; of one that failed nothing is learnt."""
        if row["state"] in ("COMPLETE", "PRUNED") and row.get("epochs") and row.get("total_s"):
            overhead = (row.get("setup_s") or 0.0) + (row.get("compile_s") or 0.0)
            self._ended.append(remaining.Training(dict(params), row["epochs"], row["total_s"], overhead))

    def seed_ended(self, params: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """A replicate has ended, whatever came of it."""
        self.ended(params, row)
        if self.seeds and params in self.seeds:
            self.seeds.remove(params)

    def left(self) -> Left:
        """What is left now."""
        if not self._ended:
            return Left(None, None if self._work_later else 0.0)
        going = []
        for running in self._running():
            if not running.trains():
                continue
            elapsed = running.elapsed_s()
            begun = elapsed if running.begun_s is None else running.begun_s
            params = {path: configuration.get(running.task.config, path) for path in self._space}
            going.append(remaining.Going(params, elapsed, running.done, begun))
        confirming, settings = self.seeds is not None, self._config["study"]
        if self.seeds is not None:  # those that run are of them, and which does not matter: they cost the same
            seeds = [(params, 1) for params in self.seeds[len(going) :]]
        else:
            seeds = [(params, settings["replicates"]) for params in self.best]
        seconds = remaining.left_s(
            self._space,
            self._ended,
            going,
            epochs=self._config["train"]["epochs"],
            workers=self._at_once(),
            trials=0 if confirming else max(self.trials - len(going), 0),
            seeds=seeds,
            confirming=confirming,
            pruned=self._config["pruner"]["name"] != "none",
            search_s=max(self.ends - time.monotonic(), 0.0),
            after_s=self.after_s(),
        )
        return Left(seconds, self._others_s())

    def _at_once(self) -> int:
        """Trainings at a time: workers, and trainings that share a program."""
        return self._workers * max((running.together for running in self._running()), default=1)

    def _others_s(self) -> float:
        """Seconds of the studies to come: their work, at what such work has taken in this study and those before."""
        if not self._work_later:
            return 0.0
        spent = self._spent + sum(training.seconds for training in self._ended)
        worked = self._worked + sum(work(self._config, training.epochs) for training in self._ended)
        return self._fixed_later + self._work_later * spent / worked / self._at_once()


class Watch(Listener):
    """Tells `Waiting` what happens to the trainings of a study.

    Args:
      waiting: What is told.
      space: Parsed search space.
      study: The opened study.
      confirmation: Of the study.
      settings: Group `study`.
    """

    def __init__(
        self,
        waiting: Waiting,
        space: Mapping[str, Domain],
        study: TrialStore,
        confirmation: Confirmation,
        settings: Mapping[str, Any],
    ):
        self._waiting, self._space, self._study = waiting, space, study
        self._confirmation, self._settings = confirmation, settings

    def search_begun(self, ends: float) -> None:
        self._waiting.ends = ends
        for row in self._study.rows():
            self._learn(row)
        self._count()

    def trial_ended(self, name: str, row: Row) -> None:
        self._learn(row)
        self._count()

    def confirmation_begun(self, n: int) -> None:
        queue = self._confirmation.queue
        self._waiting.seeds = [pending.candidate.params for pending in queue for _ in pending.seeds]
        for candidate, row in self._confirmation.replicated():
            self._waiting.ended(candidate.params, row)

    def replicate_ended(self, name: str, row: Row) -> None:
        params = {candidate.trial: candidate.params for candidate in self._confirmation.candidates()}
        self._waiting.seed_ended(params.get(row["trial"], {}), row)

    def _learn(self, row: Row) -> None:
        """What an ended trial says of those to come."""
        self._waiting.ended({path: row.get(f"config_{path}") for path in self._space}, row)

    def _count(self) -> None:
        counts, n = self._study.counts(), self._settings["confirm"]
        done = counts["complete"] + counts["pruned"] + counts["failed"]
        self._waiting.trials = self._settings["n_trials"] - done
        best = [self._study.best()] if n == 1 else self._study.top(n)
        self._waiting.best = [trial.params for trial in best if trial]


def work(config: schema.Sweep, epochs: float | None = None) -> float:
    """What a training costs beside others, by what is known before anything is built: steps through time, and weights if named.

    Args:
      config: Resolved configuration.
      epochs: Of the training; None for all of them.
    """
    dataset, weights = config["dataset"], config["model"].get("weights")
    samples = dataset.get("train_size") or 1000
    # A network of four times the weights takes about as long again for each sample: what is not matrix product stays.
    size = math.sqrt(weights) if weights else 1.0
    return float(samples * (dataset.get("length") or 28) * size * (epochs or config["train"]["epochs"]))


def _wanted(config: schema.Sweep) -> int:
    """Trainings of a study: its trials, and the seeds of what is confirmed."""
    settings = config["study"]
    candidates = settings["confirm"] if settings["space"] else 1
    return int(settings["n_trials"] + candidates * settings["replicates"])


def _ended_rows(config: schema.Sweep) -> list[dict[str, str]]:
    """Records of a study's trainings; none where they cannot be read."""
    folder, rows = columns.study_dir(config["study"]["name"]), list[dict[str, str]]()
    for file in ("trials.csv", "replicates.csv"):
        with contextlib.suppress(OSError, ValueError):
            rows += [row for row in fileio.read_rows(folder / file) if row.get("total_s") and row.get("epochs")]
    return rows
