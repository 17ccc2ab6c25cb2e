"""The driver of one study: the only process that talks to Optuna and MLflow.

ask -> launcher -> epochs (prune?) -> tell -> record -> track, until `n_trials`; then the best are confirmed.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_bench.core import config as schema
from lstm_bench.core import fileio
from lstm_bench.core.console import Display
from lstm_bench.core.errors import StorageError, TooManyFailedError
from lstm_bench.core.formatting import number
from lstm_bench.launcher.event_loop import NO_TASK_YET, Loop, Running
from lstm_bench.study import columns as record
from lstm_bench.study import search_space as spaces
from lstm_bench.study.candidates import Candidate, digest, standing
from lstm_bench.sweep.backfill import tracked
from lstm_bench.sweep.kernel_choice import Arms
from lstm_bench.sweep.packing import PackBuilder
from lstm_bench.sweep.store.trials import Asked, Study
from lstm_bench.tracking import runs
from lstm_bench.tracking.background import Observer


class Driver:
    """Runs what is left of one study.

    Args:
      config: Resolved configuration.
      space: Parsed search space.
      study: The opened study.
      loop: Runs tasks.
      arms: The study's kernels.
      tracking: MLflow or nothing.
      display: What a person sees.
      folder: `sweeps/<study>/`.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        space: dict[str, spaces.Domain],
        study: Study,
        loop: Loop,
        arms: Arms,
        tracking: Observer,
        display: Display,
        folder: Path,
    ):
        self.config, self.space, self.study, self.loop, self.arms = config, space, study, loop, arms
        self.tracking, self.display, self.folder = tracking, display, folder
        self.settings = config["study"]
        self._n_replicates = self._n_replicated = 0  # of this confirmation
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
            return running

        def report(running: Running, metrics: dict[str, Any]) -> bool:
            if running.number is not None:
                return self._prune(running.number, metrics)
            # A member that has failed has no metrics. The pack goes on as long as any of its members does.
            going = {t.number: its for t, its in zip(flying[running.name], metrics["each"], strict=True) if its}
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

        self._show_total()
        try:
            self.loop.run(next_task, finished, report)
        finally:
            with contextlib.suppress(StorageError):
                self._queue_again(packs)
                self.loop.run_deferred()
        self.check_failures()

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

    def _best(self) -> str:
        best = self.study.best()
        if self.study.objectives:
            return f"front of {len(self.study.front())}" if best else ""
        return f"best {number(best.value)} (trial {best.number})" if best else ""

    def _show_total(self) -> None:
        counts = self.study.counts()
        done = counts["complete"] + counts["pruned"] + counts["failed"]
        self.display.total(f"{self.settings['name']}  {self._best()}", done, self.settings["n_trials"])

    def _end_trial(self, running: Running, result: dict[str, Any]) -> None:
        assert running.number is not None
        number = running.number
        if result.get("reason") == "oom" and result.get("device_share") != "exclusive":
            result["reason"] = "oom_shared"  # the neighbour's memory may have been the cause: it may try again
        if not self.study.tell(number, {**result, "history": running.epochs, "started_ms": running.started_ms}):
            self.display.line(f"{running.name}: another driver has taken it over, this result does not count", "yellow")
            return
        self.loop.defer(lambda: self._after_trial(running.name, number, result.get("detail")))

    def _after_trial(self, name: str, number: int, detail: str | None) -> None:
        row = self.study.row(number)
        fileio.append_rows(self.folder / "trials.csv", self.trial_columns([row]), [row])
        _append_history(self.folder, _history("trial", number, row))
        self._track_trial(row)
        self.display.finished(name, row, self._best())
        if row["reason"] and detail:
            self.display.line(f"             {detail}", "red")
        self._show_total()

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

    def _track_trial(self, row: dict[str, Any]) -> None:
        params = {path: row[f"config_{path}"] for path in self.space if f"config_{path}" in row}
        self.tracking.log_trial(
            row,
            row["history"],
            started_ms=row["started_ms"],
            ended_ms=row["ended_ms"],
            params=tracked(self._config(params)),
        )

    def trial_columns(self, rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
        """Columns of this study's `trials.csv` for those rows."""
        return (*record.TRIAL_COLUMNS, *record.optional(rows), *(f"config_{path}" for path in self.space))

    # Confirmation.

    def candidates(self) -> list[Candidate]:
        """The best `study.confirm` configurations, best trial first; the only one where the space is empty."""
        found = (
            [(None, {})] if not self.space else [(t.number, t.params) for t in self.study.top(self.settings["confirm"])]
        )
        return [Candidate(trial, dict(params), self.digest(params)) for trial, params in found]

    def pick(self) -> Candidate | None:
        """The candidate whose replicates have the best mean objective on validation data, the best trial before there are any.

        None when there is nothing to confirm. The rule is `candidates.standing`, which the report follows too.
        """

        def rank(candidate: Candidate) -> tuple[int, float]:
            complete = [row for row in self.replicates(candidate.digest) if row["state"] == "COMPLETE"]
            values = [row[self.settings["objective"]] for row in complete]
            return standing(values, maximize=self.settings["direction"] == "maximize")

        return min(self.candidates(), key=rank, default=None)

    def digest(self, params: Mapping[str, Any]) -> str:
        """Names a configuration by its searched values: replicates of another one are not its own."""
        return digest(self._config(params))

    def replicates(self, digest: str) -> list[dict[str, Any]]:
        """Rows of a candidate's replicates, by seed."""
        stored = self.study.facts(f"replicate/{digest}/")
        return [stored[str(seed)] for seed in range(self.settings["replicates"]) if str(seed) in stored]

    def missing_replicates(self, digest: str) -> list[int]:
        """Seeds that a candidate has still to be trained with."""
        done = {row["seed"] for row in self.replicates(digest)}
        return [seed for seed in range(self.settings["replicates"]) if seed not in done]

    def confirm(self, candidates: Sequence[Candidate]) -> None:
        """Trains each candidate with the seeds 0, 1, ... and reads the test set once with each; all in one queue.

        Args:
          candidates: Best first. What the first seed of each leaves behind (predictions, model) goes to `artefacts`.
        """
        waiting: list[tuple[Candidate, list[int], int]] = []
        for candidate in candidates:
            missing = self.missing_replicates(candidate.digest)
            size = self.arms.pack(self._config(candidate.params), candidate.params, len(missing))
            waiting += [(candidate, missing[start : start + size], 1) for start in range(0, len(missing), size)]
        self._n_replicates, self._n_replicated = sum(len(seeds) for _, seeds, _ in waiting), 0
        largest = max((len(seeds) for _, seeds, _ in waiting), default=1)
        if largest > 1:
            self.display.line(f"  pack      {largest} seeds in one program")

        def name(candidate: Candidate, seeds: str) -> str:
            return seeds if len(candidates) == 1 else f"trial {candidate.trial} {seeds}"

        def take() -> tuple[Candidate, list[int], int] | None:
            """The first in the queue that no other driver has."""
            for entry in list(waiting):
                waiting.remove(entry)
                candidate, seeds, tries = entry
                missing = self.missing_replicates(candidate.digest)
                keys = {_key(candidate, seed): seed for seed in seeds if seed in missing}
                mine = [keys[key] for key in self.study.claim(list(keys))]
                theirs = [seed for seed in keys.values() if seed not in mine]
                if theirs:
                    waiting.append((candidate, theirs, 1))
                if mine:
                    return candidate, mine, tries
            return None

        def next_task() -> Running | None:
            found = take()
            if found is None:
                return NO_TASK_YET if waiting else None
            candidate, seeds, tries = found
            config = self._config(candidate.params)
            if len(seeds) > 1:
                words = f"seeds {seeds[0]}-{seeds[-1]}"
                task = {"kind": "pack", "config": config, "seeds": seeds, **self.arms.packed().task()}
            else:
                words = f"seed {seeds[0]}"
                arm = self.arms.of(config, candidate.params)
                task = {"kind": "replicate", "config": config, "seed": seeds[0], **arm.task()}
            if 0 in seeds:
                tracked = self.config["tracking"]["name"] == "mlflow"
                task |= {"keep": str(self.artefacts(candidate) / "model"), "for_mlflow": tracked}
            running = Running(name(candidate, words), task, tries=tries)
            flying[running.name] = candidate
            return running

        flying: dict[str, Candidate] = {}

        def finished(running: Running, result: dict[str, Any]) -> None:
            candidate = flying.pop(running.name)
            if result.get("reason") == "interrupted":
                return
            if running.task["kind"] == "replicate":
                again = result.get("reason") in ("worker_died", "oom") and running.tries <= self.settings["max_retry"]
                if again:
                    waiting.append((candidate, [running.task["seed"]], running.tries + 1))
                else:
                    store(running, candidate, running.task["seed"], {**result, "history": running.epochs})
            elif result["state"] == "COMPLETE":
                for seed, member in zip(running.task["seeds"], result["members"], strict=True):
                    store(running, candidate, seed, member)
            else:  # that a pack failed says nothing of its members
                self.display.line(f"{running.name}: {result['reason']} in one program, now one by one", "yellow")
                waiting.extend((candidate, [seed], 1) for seed in running.task["seeds"])

        def store(running: Running, candidate: Candidate, seed: int, result: dict[str, Any]) -> None:
            result |= runs.evidence(result)
            for file, columns in (("predictions", record.PREDICTION_COLUMNS), ("worst", record.WORST_COLUMNS)):
                if file in result:
                    fileio.write_rows(self.artefacts(candidate) / f"{file}.csv", columns, result.pop(file))
            lasted_ms = int(running.elapsed_s() * 1000)
            times = {"started_ms": running.started_ms, "ended_ms": running.started_ms + lasted_ms}
            row = {**result, "seed": seed, **times}
            if not self.study.put(_key(candidate, seed), row):
                words = name(candidate, f"seed {seed}")
                self.display.line(f"{words}: another driver has taken it over, this result does not count", "yellow")
                return
            self.loop.defer(lambda: self._after_replicate(name(candidate, f"seed {seed}"), row, candidate))

        self.display.total(f"{self.settings['name']}  confirming", 0, self._n_replicates)
        self.loop.run(next_task, finished)

    def _after_replicate(self, name: str, row: dict[str, Any], candidate: Candidate) -> None:
        row = {**row, "trial": candidate.trial}
        columns = (*record.REPLICATE_COLUMNS, *record.optional([row]))
        fileio.append_rows(self.folder / "replicates.csv", columns, [row])
        _append_history(self.folder, _replicate_history(row))
        self._track_replicate(row, candidate)
        self.display.finished(name, row, "")
        if row.get("detail"):
            self.display.line(f"             {row['detail']}", "red")
        self._n_replicated += 1
        self.display.total(f"{self.settings['name']}  confirming", self._n_replicated, self._n_replicates)

    def _track_replicate(self, row: dict[str, Any], candidate: Candidate) -> None:
        self.tracking.log_replicate(
            row,
            row["history"],
            started_ms=row["started_ms"],
            ended_ms=row["ended_ms"],
            params=tracked(self._config(candidate.params)),
            key=candidate.digest,
        )

    def artefacts(self, candidate: Candidate) -> Path:
        """Folder of what a candidate's first seed left behind: predictions, worst samples, model."""
        return self.folder / "candidates" / candidate.digest

    def place(self, pick: Candidate) -> None:
        """Puts the pick's predictions, worst samples and model where the study's are looked for.

        Linked, not moved: another candidate may be picked when the study goes on. A driver that dies in between leaves a
        study whose next session places them again.
        """
        # Drivers that share a study have folders of their own, and what they placed there is no fact of the study.
        placed, source = "" if self.study.shared else self.study.get("placed"), self.artefacts(pick)
        if placed == pick.digest:
            return
        if source.is_dir() or placed is not None:
            if not self.study.shared:
                self.study.set("placed", "")
            for file in ("predictions.csv", "worst.csv"):
                (self.folder / file).unlink(missing_ok=True)
                if (source / file).exists():
                    _link(source / file, self.folder / file)
            shutil.rmtree(self.folder / "model", ignore_errors=True)
            if (source / "model").is_dir():
                shutil.copytree(source / "model", self.folder / "model", copy_function=_link)
        if not self.study.shared:
            self.study.set("placed", pick.digest)

    # Records from the database, whole: at the start what a crash left out, at the end in order.

    def _tables(self) -> Iterator[tuple[Path, Sequence[str], list[dict[str, Any]]]]:
        """Each record file that grows, with its columns and the rows that the database has for it."""
        pick = self.pick()
        rows, replicates = self.study.rows(), self._replicated()
        history = [line for row in rows for line in _history("trial", row["number"], row)]
        history += [line for _, row in replicates for line in _replicate_history(row)]
        confirmed = [row for _, row in replicates]
        yield self.folder / "trials.csv", self.trial_columns(rows), rows
        yield self.folder / "replicates.csv", (*record.REPLICATE_COLUMNS, *record.optional(confirmed)), confirmed
        yield self.folder / "history.csv", (*record.HISTORY_COLUMNS, *record.optional(history)), history
        probed = None if pick is None else self.study.get(f"probe/{pick.digest}")
        if probed is not None:
            yield self.folder / "kernels.csv", record.KERNEL_COLUMNS, probed

    def rewrite(self) -> None:
        """Writes `trials.csv`, `replicates.csv`, `history.csv` and `kernels.csv` anew from the database."""
        for path, columns, rows in self._tables():
            fileio.write_rows(path, columns, rows)

    def mend(self) -> list[str]:
        """Writes anew which of them does not say what the database says: lost or torn since. Returns their names."""
        mended = [table for table in self._tables() if not fileio.holds(*table)]
        for path, columns, rows in mended:
            fileio.write_rows(path, columns, rows)
        return [path.name for path, _, _ in mended]

    def _replicated(self) -> list[tuple[Candidate, dict[str, Any]]]:
        """Candidates with the rows of their replicates, by trial and seed."""
        return [
            (candidate, {**row, "trial": candidate.trial})
            for candidate in sorted(self.candidates(), key=lambda candidate: candidate.trial or 0)
            for row in self.replicates(candidate.digest)
        ]

    def track_all(self) -> None:
        """Brings MLflow up to date: runs that are there already are left alone."""
        for row in self.study.rows():
            self._track_trial(row)
        self.tracking.log_confirmed([candidate.digest for candidate in self.candidates()])
        for candidate, row in self._replicated():
            self._track_replicate(row, candidate)


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


def _key(candidate: Candidate, seed: int) -> str:
    """Of a replicate, among the study's facts."""
    return f"replicate/{candidate.digest}/{seed}"


def _append_history(folder: Path, lines: list[dict[str, Any]]) -> None:
    fileio.append_rows(folder / "history.csv", (*record.HISTORY_COLUMNS, *record.optional(lines)), lines)


def _history(kind: str, number: int, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"kind": kind, "number": number, **epoch} for epoch in row["history"]]


def _replicate_history(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**line, "trial": row["trial"]} for line in _history("replicate", row["seed"], row)]


def _link(source: str | Path, target: str | Path) -> None:
    """A second name of a file, or a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
