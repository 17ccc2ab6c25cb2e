"""The driver of one study's search, in the only process that talks to Optuna.

ask -> launcher -> epochs (prune?) -> tell -> events, until `n_trials`; what is best then is confirmed: `confirm.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_bench.core import configuration, schema
from lstm_bench.core.console import Display
from lstm_bench.core.errors import StorageError, TooManyFailedError
from lstm_bench.data.objective import settled_objective
from lstm_bench.launcher.event_loop import NO_TASK_YET, Loop, Running
from lstm_bench.launcher.protocol import EpochResult, Result, TrialTask
from lstm_bench.study import search_space
from lstm_bench.sweep.events import Listener
from lstm_bench.sweep.kernel_choice import KernelChoice
from lstm_bench.sweep.packing import PackBuilder, PackSizes
from lstm_bench.sweep.store.trials import Asked, TrialStore


class Driver:
    """Runs what is left of one study's search.

    Args:
      config: Resolved configuration.
      space: Parsed search space.
      study: The opened study.
      loop: Runs tasks.
      kernels: The study's kernels.
      display: What a person sees.
      folder: `sweeps/<study>/`.
      events: Hears of what happens.
    """

    def __init__(
        self,
        config: schema.Sweep,
        space: dict[str, search_space.Domain],
        study: TrialStore,
        loop: Loop,
        kernels: KernelChoice,
        display: Display,
        folder: Path,
        events: Listener,
    ):
        self.config, self.space, self.study, self.loop, self.kernels = config, space, study, loop, kernels
        self.display, self.folder, self.events = display, folder, events
        self.settings, self._sizes = config["study"], PackSizes(kernels)
        self._ended: list[dict[str, Any]] = []  # epochs that nobody has heard of
        self.timed_out = False  # the search ended by study.timeout, before n_trials

    def _config(self, params: Mapping[str, Any]) -> schema.Sweep:
        return configuration.replaced(self.config, params)

    # Search.

    def search(self) -> None:
        """Asks, runs and tells until `n_trials` are done or `study.timeout` has passed.

        Raises:
          TooManyFailedError: when more trials failed by their own fault than `study.max_failed`.
        """
        counts = self.study.counts()
        wanted = counts["left"] + counts["queued"]
        largest = min(wanted, self._sizes.decide(wanted))
        if largest > 1:
            self.display.line(f"  pack      up to {largest} trials in one program")
        if wanted and self.study.repeats():
            points = search_space.points(self.space)
            self.display.line(
                f"study.n_trials: the space has {points} points, so that some are trained again", "yellow"
            )
        ends = time.monotonic() + (self.settings["timeout"] or math.inf)
        announced = False
        packs = self._sizes.builder(self.study.ask)

        def next_task() -> Running | list[Running] | None:
            nonlocal announced
            self.check_failures()
            if time.monotonic() > ends:
                self._queue_again(packs)
                counts = self.study.counts()
                # What is queued, and what other drivers run, may yet be better than the best there is.
                self.timed_out |= bool(counts["left"] or counts["queued"]) or self.study.pending()
                if not announced and self.timed_out:
                    announced = True
                    self.display.line(f"study.timeout: no new trial after {self.settings['timeout']:g} s", "yellow")
                return None
            trials = packs.next()
            if not trials:
                return NO_TASK_YET if self.study.pending() else None
            return self._begin(trials)

        def finished(running: Running, result: Result) -> None:
            if result.reason == "pack_failed":
                packs.unpack(_number(running))
            self._end_trial(running, result)

        self.events.search_begun(ends)
        try:
            self.loop.run(next_task, finished, self._report)
        finally:
            with contextlib.suppress(StorageError):
                self._queue_again(packs)
                self.loop.run_deferred()
        self.check_failures()

    def _begin(self, trials: list[Asked]) -> list[Running]:
        """The tasks of trials that share a program, mostly of one."""
        begun = [self._training(trial, len(trials)) for trial in trials]
        for running in begun:
            running.started_ms = begun[0].started_ms
        rows = [
            {
                "kind": "trial",
                "number": trial.number,
                "retry_of": trial.retry_of,
                "seed": trial.seed,
                "started_ms": running.started_ms,
                **{f"config_{path}": value for path, value in trial.params.items()},
            }
            for trial, running in zip(trials, begun, strict=True)
        ]
        self.loop.defer(lambda: self.events.begun(rows))
        return begun

    def _training(self, trial: Asked, together: int) -> Running:
        config = self._config(trial.params)
        choice = self._sizes.choice(config, trial.params, together)
        task = TrialTask(kind="trial", config=config, seed=trial.seed, **choice.task())
        return Running(f"trial {trial.number}", task, trial.number)

    def _report(self, running: Running, epoch: EpochResult) -> bool:
        number = _number(running)
        if not self._ended:
            self.loop.defer(self._epochs_ended)
        self._ended.append({"kind": "trial", "number": number, **epoch.row()})
        return not running.stopped and self._prune(number, epoch)

    def _epochs_ended(self) -> None:
        rows, self._ended = self._ended, []
        self.events.epochs_ended(rows)

    def _prune(self, number: int, epoch: EpochResult) -> bool:
        """Whether a trial is to be stopped after an epoch."""
        metrics = epoch.row()
        if self.study.objectives:
            prune = self.study.dominated(metrics)
        else:
            prune = self.study.report(number, epoch.epoch, metrics[settled_objective(self.settings)])
        return prune and epoch.epoch < self.config["train"]["epochs"] and not epoch.ended

    def _queue_again(self, packs: PackBuilder) -> None:
        """Puts back what was asked for and not begun."""
        while (trial := packs.pop_waiting()) is not None:
            self._end_trial(self._training(trial, 1), Result(state="FAIL", reason="interrupted"))

    def _end_trial(self, running: Running, result: Result) -> None:
        number, history = _number(running), [epoch.row() for epoch in running.epochs]
        if result.reason == "oom" and result.device_share != "exclusive":
            # The neighbour's memory may have been the cause: it may try again.
            result = dataclasses.replace(result, reason="oom_shared")
        if not self.study.tell(number, {**result.row(), "history": history, "started_ms": running.started_ms}):
            self.display.line(f"{running.name}: another driver has taken it over, this result does not count", "yellow")
            return
        self.loop.defer(
            lambda: self.events.trial_ended(running.name, {**self.study.row(number), "detail": result.detail})
        )

    def check_failures(self) -> None:
        """Refuses to go on where too many have failed.

        Raises:
          TooManyFailedError: when more trials failed by their own fault than `study.max_failed`.
        """
        failed, allowed = self.study.counts()["failed"], self.settings["max_failed"]
        if failed > allowed:
            raise TooManyFailedError(
                f"{failed} trials failed by their own fault, study.max_failed is {allowed}",
                remedy=f"The reasons are in {self.folder / 'trials.csv'}; a larger study.max_failed goes on.",
            )


def _number(running: Running) -> int:
    assert running.number is not None
    return running.number
