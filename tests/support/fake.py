"""A sweep without a framework: a launcher in this process, an objective that is a formula, a listener that takes notes."""

from __future__ import annotations

import contextlib
import copy
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import migrations
from hydra import compose, initialize_config_dir
from objective import accuracy, complete, configs, failed, fault, metrics

from lstm_bench.core import configuration
from lstm_bench.core.console import Display
from lstm_bench.core.schema import Sweep
from lstm_bench.data import objective
from lstm_bench.launcher.base import Event
from lstm_bench.launcher.event_loop import Loop
from lstm_bench.study import search_space as spaces
from lstm_bench.sweep.confirm import Confirmation
from lstm_bench.sweep.driver import Driver
from lstm_bench.sweep.events import Listener
from lstm_bench.sweep.kernel_cache import Memory
from lstm_bench.sweep.kernel_choice import KernelChoice
from lstm_bench.sweep.packing import PackSizes
from lstm_bench.sweep.parts import assembled
from lstm_bench.sweep.records_writer import Records
from lstm_bench.sweep.store import trials
from lstm_bench.sweep.store.trials import TrialStore

# Of `objective`, for those who script workers.
__all__ = ["accuracy", "complete", "configs", "failed", "fault", "metrics"]

SPACE = {
    "model.units": {"type": "int", "low": 8, "high": 64, "log": True},
    "train.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
}
GRID = {
    "model.units": {"type": "int", "low": 10, "high": 40, "step": 10},
    "train.batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
}
SHA256 = "ab" * 32

# Steps of a script beside an epoch's metrics and a result.
HANG = "hang"


@dataclass(frozen=True)
class Died:
    """The worker's process ends in the middle of its task."""

    exit: int = -9


Script = Callable[[Mapping[str, Any]], Iterator[Any]]


@functools.cache
def composed(*overrides: str) -> Any:
    """What Hydra composes from `conf/`."""
    with initialize_config_dir(version_base="1.3", config_dir=str(configuration.conf_dir())):
        return compose("sweep", overrides=list(overrides))


@functools.cache
def _base() -> dict[str, Any]:
    config = configuration.load(
        composed("+study=smoke", "tracking=none", "pruner=none", "sampler=random", "kernel=generic"), Sweep
    )
    objective.check_aims(config["study"])
    return config


def config(values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A resolved configuration: six trials of three epochs over `SPACE`, no replicates; values by dotted path."""
    usual = {"study.name": "fake", "study.n_trials": 6, "study.replicates": 0, "study.space": SPACE, "train.epochs": 3}
    return copy.deepcopy(configuration.replaced(_base(), {**usual, **(values or {})}))


def train(task: Mapping[str, Any]) -> Iterator[Any]:
    """The usual script: every epoch, then the result."""
    for epoch in range(1, task["config"]["train"]["epochs"] + 1):
        each = {"each": [metrics(own, epoch) for own in configs(task)]} if "seeds" in task else {}
        yield metrics(task["config"], epoch) | each
    yield complete(task)


class FakeLauncher:
    """Workers in this process: at each look, every task makes the next step of its script.

    A step is an epoch's metrics (of a pack those of every member, unless it has `each`), a result (it has a `state`), `Died`,
    `HANG` (no step follows), or a function that is called, to raise a signal for instance.

    Args:
      script: Gives the steps of a task.
      workers: Tasks that run at once.
    """

    def __init__(self, script: Script = train, workers: int = 1):
        self.script, self.workers = script, workers
        self.submitted: list[dict[str, Any]] = []
        self.stopped: list[str] = []
        self.killed: list[str] = []
        self.most = 0  # tasks that ran at once
        self._tasks: dict[str, tuple[dict[str, Any], Iterator[Any]]] = {}

    def capacity(self) -> int:
        return self.workers - len(self._tasks)

    def submit(self, key: str, task: Mapping[str, Any]) -> None:
        assert self.capacity() > 0 and key not in self._tasks
        self.submitted.append(dict(task))
        self._tasks[key] = (dict(task), self.script(task))
        self.most = max(self.most, len(self._tasks))

    def events(self, timeout_s: float) -> list[Event]:
        happened = [event for key in list(self._tasks) if (event := self._step(key))]
        if not happened:
            time.sleep(0.005)
        return happened

    def _step(self, key: str) -> Event | None:
        task, steps = self._tasks[key]
        step = next(steps, HANG)
        if key in self.stopped and isinstance(step, dict) and "epoch" in step:
            step = {**complete(task), "state": "PRUNED"}
        if step == HANG:
            self._tasks[key] = (task, iter(()))
            return None
        if callable(step):
            step()
            return None
        if isinstance(step, dict) and "state" not in step:
            each = {"each": [step] * len(task["seeds"])} if "seeds" in task else {}
            return Event("epoch", key, {**each, **step})
        del self._tasks[key]
        if isinstance(step, Died):
            return Event("died", key, {"exit": step.exit, "log": "worker-0.log"})
        return Event("result", key, step)

    def stop(self, key: str) -> None:
        self.stopped.append(key)

    def kill(self, key: str) -> None:
        self.killed.append(key)
        del self._tasks[key]

    def close(self) -> None:
        self._tasks.clear()


class Notes(Listener):
    """Takes notes of what ends."""

    def __init__(self) -> None:
        self.trials: list[dict[str, Any]] = []
        self.replicates: list[dict[str, Any]] = []

    def trial_ended(self, name: str, row: Mapping[str, Any]) -> None:
        self.trials.append(dict(row))

    def replicate_ended(self, name: str, row: Mapping[str, Any]) -> None:
        self.replicates.append(dict(row))


@dataclass
class TaskRunner:
    """The parts of an opened sweep."""

    driver: Driver
    confirmation: Confirmation
    records: Records
    study: TrialStore
    loop: Loop
    kernels: KernelChoice
    launcher: FakeLauncher
    notes: Notes
    folder: Path
    sizes: PackSizes
    unavailable: dict[str, str | None] = field(default_factory=dict)


def study(folder: Path, config: Mapping[str, Any], sha256: str = SHA256) -> TrialStore:
    """The study of a configuration, created or resumed."""
    folder.mkdir(parents=True, exist_ok=True)
    migrations.keep()
    return trials.opened(config, spaces.parse(config), folder, sha256)


@contextlib.contextmanager
def opened(
    folder: Path,
    config: Mapping[str, Any],
    script: Script = train,
    workers: int = 1,
    unavailable: Mapping[str, str | None] | None = None,
    memory: Memory | None = None,
    about: Mapping[str, Any] | None = None,
    gpu: bool = False,
) -> Iterator[TaskRunner]:
    """A sweep on `folder` with fakes for whatever needs a framework or MLflow, repaired as a session repairs it."""
    space = spaces.parse(config)
    known = study(folder, config)
    try:
        known.repair()
        launcher, notes = FakeLauncher(script, workers), Notes()
        display = Display(config["study"]["objective"], config["train"]["epochs"])
        loop = Loop(launcher, display, config["study"]["trial_timeout"])
        reasons = dict(unavailable or {"generic": None})
        sizes = {"n_train": 1000, "timesteps": 8}
        kernels = KernelChoice(
            config, space, known, loop, reasons, **sizes, memory=memory, about=about, workers=workers, gpu=gpu
        )
        parts = assembled(config, space, known, loop, kernels, display, folder)
        parts.events.listeners.append(notes)
        made = parts.driver, parts.confirmation, parts.records
        yield TaskRunner(*made, known, loop, kernels, launcher, notes, folder, PackSizes(kernels), reasons)
    finally:
        known.close()
