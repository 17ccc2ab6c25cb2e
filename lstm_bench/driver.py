"""The driver of one study: the only process that talks to Optuna and MLflow.

ask -> launcher -> epochs (prune?) -> tell -> record -> track, until `n_trials`; then confirm the winner, probe its kernels.
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from lstm_bench import config as schema
from lstm_bench import errors, kernel, record
from lstm_bench import space as spaces
from lstm_bench.errors import LstmBenchError, StorageError, TooManyFailedError
from lstm_bench.launcher import Event, Launcher
from lstm_bench.progress import Display, values
from lstm_bench.study import Asked, Study
from lstm_bench.tracking import Tracking

GRACE_S = 5.0  # what running trials get to finish in after the first interrupt
_TICK_S = 0.2
_KERNEL_DECISION_S = 0.5  # timed seconds per arm when kernel=auto decides
_LOST = 3  # workers that die before their first task: something is wrong with the installation


class InterruptedByUser(LstmBenchError):  # noqa: N818
    """Ctrl-C or SIGTERM: what was finished is kept, the rest is queued again."""

    exit_code = errors.INTERRUPTED


@dataclass
class _Running:
    """A task in flight."""

    name: str
    task: dict[str, Any]
    asked: Asked | None = None
    epochs: list[dict[str, Any]] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)
    started_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    pruned: bool = False
    tries: int = 1


class Driver:
    """Runs what is left of one study.

    Args:
      config: Resolved configuration.
      space: Parsed search space.
      study: Opened by `open_study` once the first worker has checked the configuration.
      launcher: Where tasks run.
      tracking: MLflow or nothing.
      display: What a person sees.
      folder: `sweeps/<study>/`.
      arms: Kernel -> None, or the reason why it is unavailable.
      dataset: Sizes of the data: `n_train`, `timesteps`.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        space: dict[str, spaces.Domain],
        study: Study,
        launcher: Launcher,
        tracking: Tracking,
        display: Display,
        folder: Path,
        arms: Mapping[str, str | None],
        dataset: Mapping[str, Any],
    ):
        self.config, self.space, self.study, self.launcher = config, space, study, launcher
        self.tracking, self.display, self.folder = tracking, display, folder
        self.arms, self.dataset = arms, dataset
        self.settings = config["study"]
        self.running: dict[str, _Running] = {}
        self.signals = 0
        self._told = 0
        self._deadline = math.inf
        self._lost = 0
        self._kernels: list[dict[str, Any]] = []
        self._later: list[
            Callable[[], None]
        ] = []  # records, tracking and display wait until the workers are busy again

    # The loop that search, confirmation and probes share.

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1

    def _loop(
        self, next_task: Callable[[], _Running | None], finished: Callable[[_Running, dict[str, Any]], None]
    ) -> None:
        """Keeps the launcher busy with `next_task` until it gives None and nothing runs."""
        before = {s: signal.signal(s, self._interrupt) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            exhausted = False
            while True:
                self._heed_signals()
                while not self.signals and not exhausted and self.launcher.capacity():
                    running = next_task()
                    if running is None:
                        exhausted = True
                        break
                    key = f"{running.name}/{running.tries}"
                    self.running[key] = running
                    self.launcher.submit(key, running.task)
                    self.display.started(running.name)
                self._catch_up()
                if not self.running:
                    if self.signals:
                        raise InterruptedByUser("interrupted", remedy="The same command goes on from here.")
                    if exhausted:
                        return
                for event in self.launcher.events(_TICK_S):
                    exhausted = self._handle(event, finished) and exhausted
                exhausted = self._time_out(finished) and exhausted
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._catch_up()

    def _catch_up(self) -> None:
        while self._later:
            self._later.pop(0)()

    def _heed_signals(self) -> None:
        if self.signals > self._told:
            self._told = self.signals
            if self.signals == 1:
                self._deadline = time.monotonic() + GRACE_S
                self.display.line(
                    f"interrupted: running trials get {GRACE_S:g} s to finish, then they are queued again; Ctrl-C again stops now",
                    "yellow",
                )
        if self.signals > 1 or time.monotonic() > self._deadline:
            for key, running in list(self.running.items()):
                self.launcher.kill(key)
                del self.running[key]
                self.display.gone(running.name)
                if running.asked:
                    self._end_trial(running, {"state": "FAIL", "reason": "interrupted"})

    def _time_out(self, finished: Callable[[_Running, dict[str, Any]], None]) -> bool:
        """Fails tasks beyond `study.trial_timeout`; returns whether there was none."""
        limit = self.settings["trial_timeout"]
        late = [k for k, r in self.running.items() if limit and time.monotonic() - r.since > limit]
        for key in late:
            self.launcher.kill(key)
            running = self.running.pop(key)
            total_s = time.monotonic() - running.since
            finished(running, {"state": "FAIL", "reason": "timeout", "total_s": total_s, "setup_s": total_s})
        return not late

    def _handle(self, event: Event, finished: Callable[[_Running, dict[str, Any]], None]) -> bool:
        """Handles an event; returns False when it may have given new work."""
        if event.key is None:
            self._lost = self._lost + 1 if event.kind == "died" else 0
            if self._lost >= _LOST:
                raise StorageError(
                    f"{self._lost} workers died before their first task", remedy=f"See {event.body['log']}."
                )
            return True
        running = self.running.get(event.key)
        if running is None:
            return True
        if event.kind == "epoch":
            running.epochs.append(event.body)
            self.display.epoch(running.name, event.body)
            if running.asked and not running.pruned:
                last = event.body["epoch"] >= self.config["train"]["epochs"]
                value = event.body[self.settings["objective"]]
                if self.study.report(running.asked.number, event.body["epoch"], value) and not last:
                    running.pruned = True
                    self.launcher.stop(event.key)
            return True
        del self.running[event.key]
        if event.kind == "died":
            finished(running, {"state": "FAIL", "reason": "worker_died", "detail": f"exit {event.body['exit']}"})
            return False
        result = dict(event.body)
        if result["state"] == "FAULT":
            fault = getattr(errors, result["error"], LstmBenchError)
            raise fault(result["detail"])
        if running.pruned:
            # Decided when the epoch was reported, however far the worker came in the meantime.
            result["state"] = "PRUNED"
            for name in ("val_accuracy", "val_loss", "train_accuracy", "train_loss"):
                result[name] = running.epochs[-1].get(name)
            result["epochs"] = len(running.epochs)
        result["history"] = running.epochs
        finished(running, result)
        return False

    def _config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return schema.replaced(self.config, params)

    # Search.

    def search(self) -> None:
        """Asks, runs and tells until `n_trials` are done, `study.timeout` has passed or too many have failed."""
        began = time.monotonic()
        timeout = self.settings["timeout"] or math.inf
        announced = False

        def next_task() -> _Running | None:
            nonlocal announced
            self._too_many()
            if time.monotonic() - began > timeout:
                if not announced and (announced := bool(self.study.counts()["left"])):
                    self.display.line(f"study.timeout: no new trial after {timeout:g} s", "yellow")
                return None
            asked = self.study.ask()
            if asked is None:
                return None
            config = self._config(asked.params)
            task = {"kind": "trial", "config": config, "kernel": self._kernel(config, asked.params), "seed": asked.seed}
            return _Running(f"trial {asked.number}", task, asked)

        self._show_total()
        self._loop(next_task, self._end_trial)

    def _show_total(self) -> None:
        counts, best = self.study.counts(), self.study.best()
        shown = f"best {best.value:.4f} (trial {best.number})" if best else "no trial complete yet"
        done = counts["complete"] + counts["pruned"] + counts["failed"]
        self.display.total(f"{self.settings['name']}: {shown}", done, self.settings["n_trials"])

    def _end_trial(self, running: _Running, result: dict[str, Any]) -> None:
        assert running.asked
        if result.get("reason") == "oom" and result.get("device_share") == "shared":
            result["reason"] = "oom_shared"
        number = running.asked.number
        self.study.tell(number, {**result, "history": running.epochs})
        self._later.append(lambda: self._after_trial(running.name, number, result.get("detail")))

    def _after_trial(self, name: str, number: int, detail: str | None) -> None:
        row = self.study.row(number)
        self._record_trial(row)
        best = self.study.best()
        shown = f"best {best.value:.4f} (trial {best.number})" if best else ""
        self.display.finished(name, row, shown)
        if row["reason"] and detail:
            self.display.line(f"             {detail}", "red")
        self._show_total()

    def _too_many(self) -> None:
        failed, allowed = self.study.counts()["failed"], self.settings["max_failed"]
        if failed > allowed:
            raise TooManyFailedError(
                f"{failed} trials failed by their own fault, study.max_failed is {allowed}",
                remedy=f"See the reasons in {self.folder / 'trials.csv'}; a larger study.max_failed goes on.",
            )

    def _record_trial(self, row: dict[str, Any]) -> None:
        record.append_rows(self.folder / "trials.csv", self.trial_columns(), [row])
        record.append_rows(self.folder / "history.csv", record.HISTORY_COLUMNS, _history("trial", row["number"], row))
        self._track_trial(row)

    def _track_trial(self, row: dict[str, Any]) -> None:
        params = {p: row.get(f"config_{p}") for p in self.space}
        self.tracking.log_trial(
            row,
            row["history"],
            started_ms=row["started_ms"],
            ended_ms=row["ended_ms"],
            params={**schema.flatten({k: self.config[k] for k in ("model", "train")}), **params},
        )

    def trial_columns(self) -> tuple[str, ...]:
        """Columns of this study's `trials.csv`."""
        return (*record.TRIAL_COLUMNS, *(f"config_{path}" for path in self.space))

    # Kernels.

    def _kernel(self, config: Mapping[str, Any], params: Mapping[str, Any]) -> str:
        """The kernel of a configuration: the named one, or what was decided at the nearest measured shape."""
        if config["kernel"]["name"] != "auto":
            return str(config["kernel"]["name"])

        def distance(decision: Mapping[str, Any]) -> float:
            return sum(
                (math.log1p(abs(params[path])) - math.log1p(abs(value))) ** 2
                for path, value in decision["corner"].items()
                if path in params
            )

        return str(min(self._kernels, key=distance)["kernel"])

    def decide_kernels(self) -> None:
        """`kernel=auto`: measures every arm at the corners of the space, once per study.

        The arm is chosen that finishes a trial first, compiling included.
        """
        if self.config["kernel"]["name"] != "auto":
            return
        stored = self.study.get("kernels")
        if stored is None:
            stored = self._decide()
            self.study.set("kernels", stored)
        self._kernels = stored
        chosen = "; ".join(
            f"{values(d['corner']) or 'this shape'}: {d['kernel']}" if len(stored) > 1 else str(d["kernel"])
            for d in stored
        )
        self.display.line(f"  kernel      auto -> {chosen}")

    def _candidates(self) -> list[str]:
        unroll = self.dataset["timesteps"] <= self.config["kernel"]["max_unroll"]
        names = [name for name, reason in self.arms.items() if reason is None and (unroll or "unrolled" not in name)]
        return [name for name in names if name != "unrolled_xla"]  # compiles for longer than it saves

    def _decide(self) -> list[dict[str, Any]]:
        names, corners = self._candidates(), spaces.corners(self.space)
        if len(names) == 1:
            return [{"corner": corner, "kernel": names[0], "measured": {}} for corner in corners]
        waiting = [(i, name) for i in reversed(range(len(corners))) for name in names]
        measured: list[dict[str, dict[str, float]]] = [{} for _ in corners]

        def next_task() -> _Running | None:
            if not waiting:
                return None
            i, name = waiting.pop(0)
            task = {"kind": "probe", "config": self._config(corners[i]), "kernel": name, "seconds": _KERNEL_DECISION_S}
            return _Running(f"kernel {name} {i}", {**task, "corner": i})

        def finished(running: _Running, result: dict[str, Any]) -> None:
            self.display.gone(running.name)
            if result["state"] == "COMPLETE" and result["kernel_ran"] in (result["kernel"], "none"):
                kept = {key: result[key] for key in ("train_samples_per_s", "compile_s")}
                measured[running.task["corner"]][result["kernel"]] = kept

        self._loop(next_task, finished)
        samples = self.config["train"]["epochs"] * self.dataset["n_train"]
        decided = []
        for corner, arms in zip(corners, measured, strict=True):
            if not arms:
                raise errors.KernelError("kernel=auto: no kernel ran", remedy=f"See {self.folder / 'logs'}.")
            seconds = {name: arm["compile_s"] + samples / arm["train_samples_per_s"] for name, arm in arms.items()}
            decided.append({"corner": corner, "kernel": min(seconds, key=lambda n: seconds[n]), "measured": arms})
        return decided

    def probe(self, winner: Mapping[str, Any], digest: str) -> list[dict[str, Any]]:
        """Measures every available kernel on the confirmed winner, one at a time with the other workers idle."""
        stored = self.study.get(f"probe/{digest}")
        if stored is not None:
            return list(stored)
        rows: dict[str, dict[str, Any]] = {}
        backend = self.config["backend"]["name"]
        candidates = self._candidates()
        for name, reason in self.arms.items():
            rows[name] = {"backend": backend, "kernel": name, "reason": reason}
            if reason is None and name not in candidates:
                rows[name]["reason"] = "not measured: compiles for too long"
        waiting = list(candidates)

        def next_task() -> _Running | None:
            if self.running or not waiting:
                return None
            seconds = self.config["kernel"]["probe_s"]
            name = waiting.pop(0)
            task = {"kind": "probe", "config": self._config(winner), "kernel": name, "seconds": seconds}
            return _Running(f"kernel {name}", task)

        def finished(running: _Running, result: dict[str, Any]) -> None:
            self.display.gone(running.name)
            row = rows[running.task["kernel"]]
            if result["state"] == "COMPLETE":
                row.update({key: result.get(key) for key in record.KERNEL_COLUMNS if key in result})
            else:
                row["reason"] = result.get("reason")

        self._loop(next_task, finished)
        found = list(rows.values())
        self.study.set(f"probe/{digest}", found)
        return found

    # Confirmation.

    def winner(self) -> dict[str, Any] | None:
        """Searched values of the best trial; {} where the space is empty; None when there is nothing to confirm."""
        if not self.space:
            return {}
        best = self.study.best()
        return None if best is None else dict(best.params)

    def digest(self, winner: Mapping[str, Any]) -> str:
        """Names a winning configuration: replicates of another winner are not its own."""
        parts = {key: self._config(winner)[key] for key in ("model", "train", "backend")}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def missing_replicates(self, digest: str) -> list[int]:
        """Seeds that the winner has still to be trained with."""
        stored = self.study.facts(f"replicate/{digest}/")
        return [seed for seed in range(self.settings["replicates"]) if str(seed) not in stored]

    def confirm(self, winner: Mapping[str, Any], digest: str) -> None:
        """Trains the winner with the seeds 0, 1, ... and reads the test set once with each."""
        seeds = self.missing_replicates(digest)
        waiting = [(seed, 1) for seed in seeds]
        config = self._config(winner)
        self.display.total(f"{self.settings['name']}: confirming", 0, len(seeds))
        done = 0

        def next_task() -> _Running | None:
            if not waiting:
                return None
            seed, tries = waiting.pop(0)
            task = {"kind": "replicate", "config": config, "kernel": self._kernel(config, winner), "seed": seed}
            if seed == 0:
                task |= {"keep": str(self.folder / "model"), "mlflow": self.config["tracking"]["name"] == "mlflow"}
            return _Running(f"seed {seed}", task, tries=tries)

        def finished(running: _Running, result: dict[str, Any]) -> None:
            nonlocal done
            seed = running.task["seed"]
            if result.get("reason") == "worker_died" and running.tries <= self.settings["max_retry"]:
                waiting.append((seed, running.tries + 1))
                self.display.gone(running.name)
                return
            done += 1
            for name, columns in (("predictions", record.PREDICTION_COLUMNS), ("worst", record.WORST_COLUMNS)):
                if name in result:
                    record.write_rows(self.folder / f"{name}.csv", columns, result.pop(name))
            row = {**result, "seed": seed, "history": running.epochs}
            row |= {"started_ms": running.started_ms, "ended_ms": int(time.time() * 1000)}
            self.study.set(f"replicate/{digest}/{seed}", row)
            self._later.append(lambda: after(running, row))

        def after(running: _Running, row: dict[str, Any]) -> None:
            seed = row["seed"]
            record.append_rows(self.folder / "replicates.csv", record.REPLICATE_COLUMNS, [row])
            record.append_rows(self.folder / "history.csv", record.HISTORY_COLUMNS, _history("replicate", seed, row))
            self._track_replicate(row, winner, digest)
            self.display.finished(running.name, row, "")
            self.display.total(f"{self.settings['name']}: confirming", done, len(seeds))

        self._loop(next_task, finished)

    def _track_replicate(self, row: dict[str, Any], winner: Mapping[str, Any], digest: str) -> None:
        self.tracking.log_replicate(
            row,
            row["history"],
            started_ms=row["started_ms"],
            ended_ms=row["ended_ms"],
            params=schema.flatten({k: self._config(winner)[k] for k in ("model", "train")}),
            key=f"{digest}/{row['seed']}",
        )

    def replicates(self, digest: str) -> list[dict[str, Any]]:
        """Rows of the winner's replicates, by seed."""
        stored = self.study.facts(f"replicate/{digest}/")
        wanted = [str(seed) for seed in range(self.settings["replicates"])]
        return [stored[seed] for seed in wanted if seed in stored]

    # Records from the database, whole: at the start what a crash left out, at the end in order.

    def rewrite(self, digest: str | None) -> None:
        """Writes `trials.csv`, `replicates.csv`, `history.csv` and `kernels.csv` anew from the database."""
        rows = self.study.rows()
        replicates = self.replicates(digest) if digest else []
        history = [line for row in rows for line in _history("trial", row["number"], row)]
        history += [line for row in replicates for line in _history("replicate", row["seed"], row)]
        record.write_rows(self.folder / "trials.csv", self.trial_columns(), rows)
        record.write_rows(self.folder / "replicates.csv", record.REPLICATE_COLUMNS, replicates)
        record.write_rows(self.folder / "history.csv", record.HISTORY_COLUMNS, history)
        probed = self.study.get(f"probe/{digest}") if digest else None
        if probed is not None:
            record.write_rows(self.folder / "kernels.csv", record.KERNEL_COLUMNS, probed)

    def track_all(self, winner: Mapping[str, Any] | None, digest: str | None) -> None:
        """Brings MLflow up to date: runs that are there already are left alone."""
        for row in self.study.rows():
            self._track_trial(row)
        if digest and winner is not None:
            for row in self.replicates(digest):
                self._track_replicate(row, winner, digest)


def _history(kind: str, number: int, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"kind": kind, "number": number, **epoch} for epoch in row.get("history", [])]
