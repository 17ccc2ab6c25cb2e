"""The driver of one study's search, in the only process that talks to Optuna.

ask -> launcher -> epochs (prune?) -> tell -> events, until `n_trials`; what is best then is confirmed: `confirm.py`.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_bench.core import config as schema
from lstm_bench.core.console import Display
from lstm_bench.core.errors import StorageError, TooManyFailedError
from lstm_bench.launcher.event_loop import NO_TASK_YET, Loop, Running
from lstm_bench.study import search_space as spaces
from lstm_bench.sweep.events import Listener
from lstm_bench.sweep.kernel_choice import Arms
from lstm_bench.sweep.packing import PackBuilder
from lstm_bench.sweep.store.trials import Asked, TrialStore


class Driver:
    """Runs what is left of one study's search.

    Args:
      config: Resolved configuration.
      space: Parsed search space.
      study: The opened study.
      loop: Runs tasks.
      arms: The study's kernels.
      display: What a person sees.
      folder: `sweeps/<study>/`.
      events: Hears of what happens.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        space: dict[str, spaces.Domain],
        study: TrialStore,
        loop: Loop,
        arms: Arms,
        display: Display,
        folder: Path,
        events: Listener,
    ):
        self.config, self.space, self.study, self.loop, self.arms = config, space, study, loop, arms
        self.display, self.folder, self.events = display, folder, events
        self.settings = config["study"]
        self.timed_out = False  # the search ended by study.timeout, before n_trials

    def _config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return schema.replaced(self.config, params)

    # Search.

    def search(self) -> None:
        """Asks, runs and tells until `n_trials` are done or `study.timeout` has passed.

        Raises:
          TooManyFailedError: when more trials failed by their own fault than `study.max_failed`.
        """
        counts = self.study.counts()
        wanted = counts["left"] + counts["queued"]
        largest = min(wanted, self.arms.decide_packs(wanted))
        if largest > 1:
            self.display.line(f"  pack      up to {largest} trials in one program")
        if wanted and self.study.repeats():
            points = spaces.points(self.space)
            self.display.line(
                f"study.n_trials: the space has {points} points, so that some are trained again", "yellow"
            )
        ends = time.monotonic() + (self.settings["timeout"] or math.inf)
        announced = False
        packs = PackBuilder(
            self.study.ask,
            size=lambda asked: self.arms.at_once(asked.params),
            program=lambda asked: self.arms.program(asked.params),
            whole=self.config["launcher"]["pack"] == "auto",
        )
        flying: dict[str, list[Asked]] = {}  # packs
        pruned: dict[int, int] = {}  # their members that the pruner has stopped -> after how many epochs

        def next_task() -> Running | None:
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
            running = self._training(trials)
            if running.number is None:
                flying[running.name] = trials
            self._begun(running, trials)
            return running

        def report(running: Running, metrics: dict[str, Any]) -> bool:
            if running.number is not None:
                self._epochs_ended({running.number: metrics})
                return not running.stopped and self._prune(running.number, metrics)
            # A member that has failed has no metrics. The pack goes on as long as any of its members does.
            going = {t.number: its for t, its in zip(flying[running.name], metrics["each"], strict=True) if its}
            self._epochs_ended({trial: its for trial, its in going.items() if trial not in pruned})
            for trial, its in going.items():
                if trial not in pruned and self._prune(trial, its):
                    pruned[trial] = its["epoch"]
            return going.keys() <= pruned.keys()

        def finished(running: Running, result: dict[str, Any]) -> None:
            if running.number is not None:
                self._end_trial(running, result)
                return
            trials = flying.pop(running.name)
            stopped = {trial.number: pruned.pop(trial.number, None) for trial in trials}
            if "members" not in result and result.get("reason") != "interrupted":
                # That a pack failed says nothing of its members: they are queued again, each for itself.
                reason = result.get("reason") or result["state"]
                self.display.line(f"{running.name}: {reason} in one program, now one by one", "yellow")
                packs.unpack(trials[0])
                result = {"state": "FAIL", "reason": "pack_failed"}
            for at, trial in enumerate(trials):
                its, member = _member(running, result, at, stopped[trial.number])
                one = Running(f"trial {trial.number}", running.task, trial.number, its, started_ms=running.started_ms)
                self._end_trial(one, member)

        self.events.search_begun(ends, largest or 1)
        try:
            self.loop.run(next_task, finished, report)
        finally:
            with contextlib.suppress(StorageError):
                self._queue_again(packs)
                self.loop.run_deferred()
        self.check_failures()

    def _begun(self, running: Running, trials: Sequence[Asked]) -> None:
        rows = [
            {
                "kind": "trial",
                "number": trial.number,
                "retry_of": trial.retry_of,
                "seed": trial.seed,
                "started_ms": running.started_ms,
                **{f"config_{path}": value for path, value in trial.params.items()},
            }
            for trial in trials
        ]
        self.loop.defer(lambda: self.events.begun(rows))

    def _epochs_ended(self, epochs: Mapping[int, Mapping[str, Any]]) -> None:
        rows = [{"kind": "trial", "number": number, **metrics} for number, metrics in epochs.items()]
        self.loop.defer(lambda: self.events.epochs_ended(rows))

    def _training(self, trials: Sequence[Asked]) -> Running:
        """The task of one trial, or of several in one program."""
        first = trials[0]
        config = self._config(first.params)
        if len(trials) == 1:
            arm = self.arms.of(config, first.params)
            task = {"kind": "trial", "config": config, "seed": first.seed, **arm.task()}
            return Running(f"trial {first.number}", task, first.number)
        task = {
            "kind": "trials",
            "config": config,
            "seeds": [trial.seed for trial in trials],
            "trains": [self._config(trial.params)["train"] for trial in trials],
            **self.arms.packed().task(),
        }
        return Running(f"trial {first.number} and {len(trials) - 1} more", task)

    def _prune(self, number: int, metrics: Mapping[str, Any]) -> bool:
        """Whether a trial is to be stopped after an epoch."""
        if self.study.objectives:
            prune = self.study.dominated(metrics)
        else:
            prune = self.study.report(number, metrics["epoch"], metrics[self.settings["objective"]])
        return prune and metrics["epoch"] < self.config["train"]["epochs"] and not metrics.get("ended")

    def _queue_again(self, packs: PackBuilder) -> None:
        """Puts back what was asked for and not begun."""
        while (trial := packs.pop_waiting()) is not None:
            waiting = Running(f"trial {trial.number}", {}, trial.number)
            self._end_trial(waiting, {"state": "FAIL", "reason": "interrupted"})

    def _end_trial(self, running: Running, result: dict[str, Any]) -> None:
        assert running.number is not None
        number = running.number
        if result.get("reason") == "oom" and result.get("device_share") != "exclusive":
            result["reason"] = "oom_shared"  # the neighbour's memory may have been the cause: it may try again
        if not self.study.tell(number, {**result, "history": running.epochs, "started_ms": running.started_ms}):
            self.display.line(f"{running.name}: another driver has taken it over, this result does not count", "yellow")
            return
        self.loop.defer(
            lambda: self.events.trial_ended(running.name, {**self.study.row(number), "detail": result.get("detail")})
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


def _member(
    running: Running, result: Mapping[str, Any], at: int, stopped: int | None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Of one trial of a pack the epochs and the result that it would have alone.

    Args:
      running: The pack.
      result: Of the pack: with `members`, or that of each where it was not finished.
      at: Which member.
      stopped: After how many epochs the pruner stopped the trial, None where it did not.
    """
    epochs = [epoch["each"][at] for epoch in running.epochs if epoch["each"][at]]
    if "members" not in result:
        return epochs, dict(result)
    member = result["members"][at]
    if stopped is None:
        return epochs, member
    # Decided when the epoch was reported, whatever became of the member in the meantime.
    later = {"best_epoch", *(name for name in member if name.startswith("val_"))}  # of the member's own end alone
    kept = {name: value for name, value in member.items() if name not in ("reason", "detail", *later)}
    decided = {"state": "PRUNED", "epochs": stopped, "weights_sha256": None}
    return epochs[:stopped], {**kept, **epochs[stopped - 1], **decided}
