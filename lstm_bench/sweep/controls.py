"""The controls of a study: which there are, fitted by workers once the winner is confirmed, each once whatever is resumed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lstm_bench
from lstm_bench.core import configuration, errors, fileio, safe_load, schema
from lstm_bench.core.console import Display
from lstm_bench.launcher.event_loop import NO_TASK_YET, Loop, Running
from lstm_bench.launcher.protocol import ControlTask, Result
from lstm_bench.model.controls import CONTROLS, FOLDER, able
from lstm_bench.model.forecasters import has_smoothing
from lstm_bench.model.question import Asked
from lstm_bench.study import columns
from lstm_bench.sweep.store.trials import TrialStore

SEEDS = 5  # of a control of which something is drawn
_FILE = "controls.csv"
_WORDS = ("control", "state", "reason", "chosen", "notes", "device", "started_at", "ended_at")  # columns of text
_USUAL = ("file", "npz", "languages")  # data for which they are fitted unless it is said otherwise


def rows(study: TrialStore) -> list[dict[str, Any]]:
    """Rows of `columns.CONTROL_COLUMNS`, in the order of the controls, by seed."""
    order = list(CONTROLS)
    found = study.facts("control/").values()
    return sorted(found, key=lambda row: (order.index(row["control"]), row["seed"]))


class Controls:
    """Fits what a study's controls are.

    Args:
      config: Resolved configuration.
      study: The opened study, which keeps what came of each.
      loop: Runs tasks.
      display: What a person sees.
      folder: `sweeps/<study>/`.
      asked: What the task asks of a control.
    """

    def __init__(
        self, config: schema.Sweep, study: TrialStore, loop: Loop, display: Display, folder: Path, asked: Asked
    ):
        self._config, self._study, self._loop, self._display, self._folder = config, study, loop, display, folder
        self._asked = asked
        self._waiting: list[tuple[str, int, int]] = []  # name, seed, tries

    @property
    def wanted(self) -> bool:
        """Whether there are any."""
        said = self._config.get("controls")
        return bool(self._config["dataset"]["name"] in _USUAL if said is None else said)

    def missing(self) -> list[tuple[str, int]]:
        """Those still to be fitted: name and seed."""
        if not self.wanted:
            return []
        done = self._study.facts("control/")
        each = [(control, seed) for control in able(self._asked) for seed in range(SEEDS if control.drawn else 1)]
        return [(control.name, seed) for control, seed in each if f"{control.name}/{seed}" not in done]

    def take(self, others: Sequence[Mapping[str, Any]]) -> None:
        """Takes over what an earlier study of the same command has fitted to the same data, row and files.

        Args:
          others: Resolved configurations of those studies.
        """
        for config in others:
            folder = columns.study_dir(config["study"]["name"])
            missing = {_key(*one) for one in self.missing()}
            if not missing or not self._is_alike(folder):
                continue
            rows = {_key(row["control"], row["seed"]): row for row in map(_typed, fileio.read_rows(folder / _FILE))}
            taken = {key: row for key, row in rows.items() if key in missing and row.get("state") == "COMPLETE"}
            for key in self._study.claim(list(taken)):
                name = taken[key]["control"]
                kept, own = folder / FOLDER / name, self._folder / FOLDER / name
                if taken[key]["seed"] == 0 and not own.is_dir():
                    if not kept.is_dir():
                        continue
                    half = own.with_name(f".{name}")
                    shutil.rmtree(half, ignore_errors=True)
                    shutil.copytree(kept, half)
                    half.rename(own)
                self._study.put(key, taken[key])
            if taken:
                self._display.line(f"controls   those of {folder.name}, which were fitted to the same data")

    def _is_alike(self, folder: Path) -> bool:
        """Whether the controls of a study are what this one's would be: of the same splits, by the same version."""
        try:
            config = safe_load.from_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
            seen = safe_load.from_json((folder / "environment.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, errors.LstmBenchError):
            return False
        mine = configuration.redacted_config(self._config)
        facts = (
            config.get("dataset"),
            seen.get("dataset", {}).get("sha256"),
            seen.get("lstm_bench"),
            self._tests(config),
        )
        known = (mine["dataset"], self._study.get("data_sha256"), lstm_bench.__version__, self._tests(mine))
        return (folder / _FILE).is_file() and facts == known

    @staticmethod
    def _tests(config: schema.Sweep) -> bool:
        """Whether the test set is read: where the confirmation reads it, or there is nothing to confirm."""
        return bool(config["study"]["replicates"] > 0 or config["study"]["n_trials"] == 0)

    def run(self) -> None:
        """Fits what is missing."""
        self._waiting = [(name, seed, 1) for name, seed in self.missing()]
        if self._waiting and self._asked.kind == "horizon" and not has_smoothing():
            self._display.line(
                "no control by exponential smoothing: pip install 'lstm-bench[forecast]' brings it", "yellow"
            )
        if self._waiting:
            self._loop.run(self._next_task, self._finished)

    def _next_task(self) -> Running | None:
        missing = self.missing()
        self._waiting = [one for one in self._waiting if one[:2] in missing]  # another driver may have done it
        for one in self._waiting:
            name, seed, tries = one
            if not self._study.claim([_key(name, seed)]):
                continue
            self._waiting.remove(one)
            tests = self._tests(self._config)
            keep = None if seed else str(self._folder / FOLDER / name)
            task = ControlTask(config=self._config, control=name, seed=seed, tests=tests, keep=keep)
            return Running(f"control {name}" + (f" {seed}" if CONTROLS[name].drawn else ""), task, tries=tries)
        return NO_TASK_YET if self._waiting else None

    def _finished(self, running: Running, result: Result) -> None:
        task = running.task
        assert isinstance(task, ControlTask)
        name, seed = task.control, task.seed
        if result.reason == "interrupted":
            return
        if result.reason in ("worker_died", "oom") and running.tries <= self._config["study"]["max_retry"]:
            self._waiting.append((name, seed, running.tries + 1))
            return
        ended_ms = running.started_ms + int(running.elapsed_s() * 1000)
        row = {**result.row(), "control": name, "seed": seed, "started_ms": running.started_ms, "ended_ms": ended_ms}
        kept = {*columns.CONTROL_COLUMNS, *columns.optional_columns(), "started_ms", "ended_ms"}
        if not self._study.put(_key(name, seed), {column: value for column, value in row.items() if column in kept}):
            self._display.line(
                f"{running.name}: another driver has taken it over, this result does not count", "yellow"
            )
        elif result.state == "COMPLETE":
            self._display.line(f"{running.name}  {result.total_s:.1f} s")
        else:
            self._display.line(f"{running.name}  {result.reason}: {result.detail}", "yellow")


def _typed(row: Mapping[str, str]) -> dict[str, Any]:
    """A row of `controls.csv` as it was written: numbers as such, nothing for what is empty."""
    typed: dict[str, Any] = {}
    for column, text in row.items():
        if text and column in _WORDS:
            typed[column] = text
        elif text:
            typed[column] = int(text) if text.isdecimal() else float(text)
    return typed


def _key(name: str, seed: int) -> str:
    """Of a control, among the study's facts."""
    return f"control/{name}/{seed}"
