"""The confirmation of a study: the best configurations are trained with fresh seeds, one is picked, its artefacts placed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lstm_bench.core import configuration, fileio, schema
from lstm_bench.core.console import Display
from lstm_bench.data.objective import settled_objective
from lstm_bench.data.splits import for_seed
from lstm_bench.launcher.event_loop import NO_TASK_YET, Loop, Running
from lstm_bench.launcher.protocol import EpochResult, Result, TrialTask
from lstm_bench.study import search_space
from lstm_bench.study.candidates import Candidate, digest, picked
from lstm_bench.study.columns import evidence_columns
from lstm_bench.sweep.events import Listener
from lstm_bench.sweep.kernel_choice import KernelChoice
from lstm_bench.sweep.packing import PackSizes
from lstm_bench.sweep.store.trials import TrialStore
from lstm_bench.tracking import runs


class Pending(NamedTuple):
    """Seeds to train a candidate with, in one program where they are several; `tries` counts this one."""

    candidate: Candidate
    seeds: list[int]
    tries: int = 1


class Confirmation:
    """Confirms what a study found.

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
        self._config, self._space, self._study, self._loop = config, space, study, loop
        self._settings, self._display, self._folder, self._events = config["study"], display, folder, events
        self._waiting: list[Pending] = []
        self._flying: dict[str, tuple[Candidate, int]] = {}  # seeds, by the name of the task
        self._sizes = PackSizes(kernels)
        self._several = False  # candidates in this confirmation

    @property
    def queue(self) -> Sequence[Pending]:
        """What is still to be trained."""
        return self._waiting

    def config_of(self, candidate: Candidate) -> schema.Sweep:
        """What a candidate's seeds are trained with."""
        return configuration.replaced(self._config, candidate.params)

    @property
    def redraws(self) -> bool:
        """Whether each seed has a training and a validation split of its own: members of a pack share theirs."""
        return bool(self._config["dataset"].get("resplit"))

    # What is confirmed, and what came of it.

    def candidates(self) -> list[Candidate]:
        """The best `study.confirm` configurations, best trial first; the only one where the space is empty."""
        found: list[tuple[int | None, Mapping[str, Any]]] = [(None, {})]
        if self._space:
            found = [(trial.number, trial.params) for trial in self._study.top(self._settings["confirm"])]
        return [Candidate(trial, dict(params), self.digest(params)) for trial, params in found]

    def pick(self) -> Candidate | None:
        """The candidate whose replicates have the best mean objective on validation data, the best trial before there are any.

        None when there is nothing to confirm. The rule is `candidates.picked`, which the report follows too.
        """

        def validation(candidate: Candidate) -> list[float]:
            complete = [row for row in self.replicates(candidate.digest) if row["state"] == "COMPLETE"]
            return [row[settled_objective(self._settings)] for row in complete]

        maximize = self._settings["direction"] == "maximize"
        return next(iter(picked(self.candidates(), validation, maximize=maximize)), None)

    def digest(self, params: Mapping[str, Any]) -> str:
        """Names a configuration by its searched values: replicates of another one are not its own."""
        return digest(configuration.replaced(self._config, params))

    def replicates(self, digest: str) -> list[dict[str, Any]]:
        """Rows of a candidate's replicates, by seed."""
        stored = self._study.facts(f"replicate/{digest}/")
        return [stored[str(seed)] for seed in range(self._settings["replicates"]) if str(seed) in stored]

    def missing_replicates(self, digest: str) -> list[int]:
        """Seeds that a candidate has still to be trained with."""
        done = {row["seed"] for row in self.replicates(digest)}
        return [seed for seed in range(self._settings["replicates"]) if seed not in done]

    def replicated(self) -> list[tuple[Candidate, dict[str, Any]]]:
        """Candidates with the rows of their replicates, by trial and seed."""
        return [
            (candidate, {**row, "trial": candidate.trial})
            for candidate in sorted(self.candidates(), key=lambda candidate: candidate.trial or 0)
            for row in self.replicates(candidate.digest)
        ]

    # Training.

    def run(self, candidates: Sequence[Candidate]) -> None:
        """Trains each candidate with the seeds 0, 1, ... and reads the test set once with each; all in one queue.

        Args:
          candidates: Best first. What the first seed of each leaves behind (predictions, model) goes to `artefacts`.
        """
        self._waiting, self._flying, self._several = [], {}, len(candidates) > 1
        for candidate in candidates:
            missing = self.missing_replicates(candidate.digest)
            size = (
                1
                if self.redraws or self._config["dataset"].get("folds")
                else self._sizes.seeds(self.config_of(candidate), candidate.params, len(missing))
            )
            self._waiting += [
                Pending(candidate, missing[start : start + size]) for start in range(0, len(missing), size)
            ]
        largest = max((len(pending.seeds) for pending in self._waiting), default=1)
        if self.redraws and self._config["launcher"]["pack"] != 1 and self._waiting:
            self._display.line("  pack      none: each seed has training data of its own (dataset.resplit=true)")
        if largest > 1:
            self._display.line(f"  pack      {largest} seeds in one program")
        self._events.confirmation_begun(sum(len(pending.seeds) for pending in self._waiting))
        self._loop.run(self._next_task, self._finished, self._report)

    def _name(self, candidate: Candidate, seeds: str) -> str:
        return f"trial {candidate.trial} {seeds}" if self._several else seeds

    def _take(self) -> Pending | None:
        """The first in the queue that no other driver has."""
        for pending in list(self._waiting):
            self._waiting.remove(pending)
            missing = self.missing_replicates(pending.candidate.digest)
            keys = {_key(pending.candidate, seed): seed for seed in pending.seeds if seed in missing}
            mine = [keys[key] for key in self._study.claim(list(keys))]
            theirs = [seed for seed in keys.values() if seed not in mine]
            if theirs:
                self._waiting.append(Pending(pending.candidate, theirs))
            if mine:
                return pending._replace(seeds=mine)
        return None

    def _next_task(self) -> Running | list[Running] | None:
        pending = self._take()
        if pending is None:
            return NO_TASK_YET if self._waiting else None
        begun = [self._training(pending, seed) for seed in pending.seeds]
        rows = [
            {**self._row(running), "seed": seed, "started_ms": running.started_ms}
            for running, seed in zip(begun, pending.seeds, strict=True)
        ]
        self._loop.defer(lambda: self._events.begun(rows))
        return begun

    def _training(self, pending: Pending, seed: int) -> Running:
        candidate, seeds, tries = pending
        config = self.config_of(candidate)
        choice = self._sizes.choice(config, candidate.params, len(seeds))
        if self.redraws:
            config = {**config, "dataset": for_seed(config["dataset"], seed)}
        task = TrialTask(
            kind="replicate",
            config=config,
            seed=seed,
            keep=None if seed else str(self.artefacts(candidate) / "model"),
            for_mlflow=not seed and self._config["tracking"]["name"] == "mlflow",
            **choice.task(),
        )
        running = Running(self._name(candidate, f"seed {seed}"), task, tries=tries)
        self._flying[running.name] = candidate, seed
        return running

    def _row(self, running: Running) -> dict[str, Any]:
        """What records know a replicate by."""
        candidate, seed = self._flying[running.name]
        return {"kind": "replicate", "number": seed, "trial": candidate.trial}

    def _report(self, running: Running, epoch: EpochResult) -> bool:
        row = {**self._row(running), **epoch.row()}
        self._loop.defer(lambda: self._events.epochs_ended([row]))
        return False

    def _finished(self, running: Running, result: Result) -> None:
        (candidate, seed), reason = self._flying.pop(running.name), result.reason
        if reason == "interrupted":
            return
        if reason == "pack_failed":
            self._waiting.append(Pending(candidate, [seed], running.tries))
        elif reason in ("worker_died", "oom") and running.tries <= self._settings["max_retry"]:
            self._waiting.append(Pending(candidate, [seed], running.tries + 1))
        else:
            self._store(
                running, candidate, seed, {"history": [epoch.row() for epoch in running.epochs], **result.row()}
            )

    def _store(self, running: Running, candidate: Candidate, seed: int, result: dict[str, Any]) -> None:
        result |= runs.evidence(result)
        for file in ("predictions", "worst"):
            if file in result:
                rows = result.pop(file)
                columns = evidence_columns(f"{file}.csv", rows)
                fileio.write_rows(self.artefacts(candidate) / f"{file}.csv", columns, rows)
        lasted_ms = int(running.elapsed_s() * 1000)
        times = {"started_ms": running.started_ms, "ended_ms": running.started_ms + lasted_ms}
        row, name = {**result, "seed": seed, **times}, self._name(candidate, f"seed {seed}")
        if not self._study.put(_key(candidate, seed), row):
            self._display.line(f"{name}: another driver has taken it over, this result does not count", "yellow")
            return
        self._loop.defer(lambda: self._events.replicate_ended(name, {**row, "trial": candidate.trial}))

    # Artefacts.

    def artefacts(self, candidate: Candidate) -> Path:
        """Folder of what a candidate's first seed left behind: predictions, worst samples, model."""
        return self._folder / "candidates" / candidate.digest

    def place(self, pick: Candidate) -> None:
        """Puts the pick's predictions, worst samples and model where the study's are looked for.

        Linked, not moved: another candidate may be picked when the study goes on. A driver that dies in between leaves a
        study whose next session places them again.
        """
        # Drivers that share a study have folders of their own, and what they placed there is no fact of the study.
        shared, source, folder = self._study.shared, self.artefacts(pick), self._folder
        placed = "" if shared else self._study.get("placed")
        if placed == pick.digest:
            return
        if source.is_dir() or placed is not None:
            if not shared:
                self._study.set("placed", "")
            for file in ("predictions.csv", "worst.csv"):
                (folder / file).unlink(missing_ok=True)
                if (source / file).exists():
                    _link(source / file, folder / file)
            shutil.rmtree(folder / "model", ignore_errors=True)
            if (source / "model").is_dir():
                shutil.copytree(source / "model", folder / "model", copy_function=_link)
        if not shared:
            self._study.set("placed", pick.digest)


def _key(candidate: Candidate, seed: int) -> str:
    """Of a replicate, among the study's facts."""
    return f"replicate/{candidate.digest}/{seed}"


def _link(source: str | Path, target: str | Path) -> None:
    """A second name of a file, or a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
