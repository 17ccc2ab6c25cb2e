"""The driver of one study: the only process that talks to Optuna and MLflow.

ask -> launcher -> epochs (prune?) -> tell -> record -> track, until `n_trials`; then the winner is confirmed.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_bench import config as schema
from lstm_bench import entity, record
from lstm_bench import space as spaces
from lstm_bench.arms import Arms
from lstm_bench.errors import TooManyFailedError
from lstm_bench.loop import Loop, Running
from lstm_bench.progress import Display
from lstm_bench.study import Study
from lstm_bench.tracking import Tracking


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
        tracking: Tracking,
        display: Display,
        folder: Path,
    ):
        self.config, self.space, self.study, self.loop, self.arms = config, space, study, loop, arms
        self.tracking, self.display, self.folder = tracking, display, folder
        self.settings = config["study"]

    def _config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return schema.replaced(self.config, params)

    # Search.

    def search(self) -> None:
        """Asks, runs and tells until `n_trials` are done or `study.timeout` has passed.

        Raises:
          TooManyFailedError: when more trials failed by their own fault than `study.max_failed`.
        """
        ends = time.monotonic() + (self.settings["timeout"] or math.inf)
        announced = False

        def next_task() -> Running | None:
            nonlocal announced
            self._too_many()
            if time.monotonic() > ends:
                if not announced and self.study.counts()["left"]:
                    announced = True
                    self.display.line(f"study.timeout: no new trial after {self.settings['timeout']:g} s", "yellow")
                return None
            asked = self.study.ask()
            if asked is None:
                return None
            config = self._config(asked.params)
            arm = self.arms.of(config, asked.params)
            task = {"kind": "trial", "config": config, "seed": asked.seed, **arm.task()}
            return Running(f"trial {asked.number}", task, asked.number)

        def report(running: Running, metrics: dict[str, Any]) -> bool:
            assert running.number is not None
            prune = self.study.report(running.number, metrics["epoch"], metrics[self.settings["objective"]])
            return prune and metrics["epoch"] < self.config["train"]["epochs"]

        self._show_total()
        self.loop.run(next_task, self._end_trial, report)
        self._too_many()

    def _best(self) -> str:
        best = self.study.best()
        return f"best {best.value:.4f} (trial {best.number})" if best else ""

    def _show_total(self) -> None:
        counts = self.study.counts()
        done = counts["complete"] + counts["pruned"] + counts["failed"]
        self.display.total(f"{self.settings['name']}  {self._best()}", done, self.settings["n_trials"])

    def _end_trial(self, running: Running, result: dict[str, Any]) -> None:
        assert running.number is not None
        number = running.number
        if result.get("reason") == "oom" and result.get("device_share") != "exclusive":
            result["reason"] = "oom_shared"  # the neighbour's memory may have been the cause: it may try again
        self.study.tell(number, {**result, "history": running.epochs})
        self.loop.later(lambda: self._after_trial(running.name, number, result.get("detail")))

    def _after_trial(self, name: str, number: int, detail: str | None) -> None:
        row = self.study.row(number)
        record.append_rows(self.folder / "trials.csv", self.trial_columns(), [row])
        record.append_rows(self.folder / "history.csv", record.HISTORY_COLUMNS, _history("trial", number, row))
        self._track_trial(row)
        self.display.finished(name, row, self._best())
        if row["reason"] and detail:
            self.display.line(f"             {detail}", "red")
        self._show_total()

    def _too_many(self) -> None:
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
            params=self._tracked(self._config(params)),
        )

    @staticmethod
    def _tracked(config: Mapping[str, Any]) -> dict[str, Any]:
        return schema.flatten({group: config[group] for group in ("model", "train")})

    def trial_columns(self) -> tuple[str, ...]:
        """Columns of this study's `trials.csv`."""
        return (*record.TRIAL_COLUMNS, *(f"config_{path}" for path in self.space))

    # Confirmation.

    def winner(self) -> dict[str, Any] | None:
        """Searched values of the best trial; {} where the space is empty; None when there is nothing to confirm."""
        if not self.space:
            return {}
        best = self.study.best()
        return None if best is None else dict(best.params)

    def digest(self, winner: Mapping[str, Any]) -> str:
        """Names a winning configuration: replicates of another winner are not its own."""
        parts = {group: self._config(winner)[group] for group in ("model", "train", "backend")}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def replicates(self, digest: str) -> list[dict[str, Any]]:
        """Rows of the winner's replicates, by seed."""
        stored = self.study.facts(f"replicate/{digest}/")
        return [stored[str(seed)] for seed in range(self.settings["replicates"]) if str(seed) in stored]

    def missing_replicates(self, digest: str) -> list[int]:
        """Seeds that the winner has still to be trained with."""
        done = {row["seed"] for row in self.replicates(digest)}
        return [seed for seed in range(self.settings["replicates"]) if seed not in done]

    def confirm(self, winner: Mapping[str, Any], digest: str) -> None:
        """Trains the winner with the seeds 0, 1, ... and reads the test set once with each.

        Args:
          winner: Searched values.
          digest: Its name.
        """
        missing = self.missing_replicates(digest)
        n = len(missing)
        config = self._config(winner)
        size = self.arms.pack(config, winner, n)
        waiting = [(missing[start : start + size], 1) for start in range(0, n, size)]
        if size > 1 and n > 1:
            self.display.line(f"  pack      {size} seeds in one program")

        def next_task() -> Running | None:
            if not waiting:
                return None
            seeds, tries = waiting.pop(0)
            if len(seeds) > 1:
                name = f"seeds {seeds[0]}-{seeds[-1]}"
                task = {"kind": "pack", "config": config, "seeds": seeds, **self.arms.packed().task()}
            else:
                name = f"seed {seeds[0]}"
                task = {"kind": "replicate", "config": config, "seed": seeds[0], **self.arms.of(config, winner).task()}
            if 0 in seeds:
                tracked = self.config["tracking"]["name"] == "mlflow"
                task |= {"keep": str(self.folder / "model"), "for_mlflow": tracked}
            return Running(name, task, tries=tries)

        def finished(running: Running, result: dict[str, Any]) -> None:
            if result.get("reason") == "interrupted":
                return
            if running.task["kind"] == "replicate":
                again = result.get("reason") in ("worker_died", "oom") and running.tries <= self.settings["max_retry"]
                if again:
                    waiting.append(([running.task["seed"]], running.tries + 1))
                else:
                    store(running, running.task["seed"], {**result, "history": running.epochs})
            elif result["state"] == "COMPLETE":
                for seed, member in zip(running.task["seeds"], result["members"], strict=True):
                    store(running, seed, member)
            else:  # that a pack failed says nothing of its members
                self.display.line(f"{running.name}: {result['reason']} in one program, now one by one", "yellow")
                waiting.extend(([seed], 1) for seed in running.task["seeds"])

        def store(running: Running, seed: int, result: dict[str, Any]) -> None:
            result |= entity.evidence(result)
            for name, columns in (("predictions", record.PREDICTION_COLUMNS), ("worst", record.WORST_COLUMNS)):
                if name in result:
                    record.write_rows(self.folder / f"{name}.csv", columns, result.pop(name))
            times = {"started_ms": running.started_ms, "ended_ms": int(time.time() * 1000)}
            row = {**result, "seed": seed, **times}
            self.study.set(f"replicate/{digest}/{seed}", row)
            self.loop.later(lambda: self._after_replicate(f"seed {seed}", row, winner, digest, n))

        self.display.total(f"{self.settings['name']}  confirming", 0, n)
        self.loop.run(next_task, finished)

    def _after_replicate(self, name: str, row: dict[str, Any], winner: Mapping[str, Any], digest: str, n: int) -> None:
        record.append_rows(self.folder / "replicates.csv", record.REPLICATE_COLUMNS, [row])
        record.append_rows(self.folder / "history.csv", record.HISTORY_COLUMNS, _history("replicate", row["seed"], row))
        self._track_replicate(row, winner, digest)
        self.display.finished(name, row, "")
        if row.get("detail"):
            self.display.line(f"             {row['detail']}", "red")
        self.display.total(f"{self.settings['name']}  confirming", n - len(self.missing_replicates(digest)), n)

    def _track_replicate(self, row: dict[str, Any], winner: Mapping[str, Any], digest: str) -> None:
        self.tracking.log_replicate(
            row,
            row["history"],
            started_ms=row["started_ms"],
            ended_ms=row["ended_ms"],
            params=self._tracked(self._config(winner)),
            key=digest,
        )

    # Records from the database, whole: at the start what a crash left out, at the end in order.

    def rewrite(self) -> None:
        """Writes `trials.csv`, `replicates.csv`, `history.csv` and `kernels.csv` anew from the database."""
        winner = self.winner()
        digest = None if winner is None else self.digest(winner)
        rows = self.study.rows()
        replicates = self.replicates(digest) if digest else []
        history = [line for row in rows for line in _history("trial", row["number"], row)]
        history += [line for row in replicates for line in _history("replicate", row["seed"], row)]
        record.write_rows(self.folder / "trials.csv", self.trial_columns(), rows)
        record.write_rows(self.folder / "replicates.csv", record.REPLICATE_COLUMNS, replicates)
        record.write_rows(self.folder / "history.csv", record.HISTORY_COLUMNS, history)
        probed = self.study.get(f"probe/{digest}")
        if probed is not None:
            record.write_rows(self.folder / "kernels.csv", record.KERNEL_COLUMNS, probed)

    def track_all(self) -> None:
        """Brings MLflow up to date: runs that are there already are left alone."""
        for row in self.study.rows():
            self._track_trial(row)
        winner = self.winner()
        if winner is not None:
            digest = self.digest(winner)
            self.tracking.log_confirmed([digest])
            for row in self.replicates(digest):
                self._track_replicate(row, winner, digest)


def _history(kind: str, number: int, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"kind": kind, "number": number, **epoch} for epoch in row["history"]]
