"""What the leak meter asks of a family: which sequences it gets right, trained on one part of them and tested on the rest."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from lstm_bench.core import hardware, safe_load, schema
from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.console import Display
from lstm_bench.core.errors import ConfigError, NothingCameOutError
from lstm_bench.launcher.event_loop import Loop, Running
from lstm_bench.launcher.local import LocalLauncher
from lstm_bench.launcher.protocol import Result, TrialResult, TrialTask
from lstm_bench.study.leakage import Plan
from lstm_bench.study.pool import Pool
from lstm_bench.sweep import epochs

_HELD_OUT = 50  # sequences of the training part that stand in for validation data: nothing is chosen by them


class TrainedScores:
    """Trains a family at its own sizes; use it as a context.

    Args:
      asked: Resolved configuration of the meter: groups `model`, `train` and `backend`.
      pool: The sequences, of one class each.
      settles: Whether the epochs follow from the data, by `conf/epochs.yaml`.

    Raises:
      ConfigError: for sequences that have no class each.
    """

    def __init__(self, asked: schema.Leak, pool: Pool, *, settles: bool):
        if not pool.n_classes:
            raise ConfigError("model: a family is measured on a class for each sequence", remedy="Leave it out.")
        self._pool, self._settles, self._backend = pool, settles, str(asked["backend"]["name"])
        self._config: Any = {
            **{group: asked[group] for group in ("model", "train", "backend")},
            "kernel": {"name": "generic"},
            "launcher": {"keep_engines": 1},
            "tracking": {"name": "none"},
            "pruner": {"name": "none"},
            "study": {"objective": "val_accuracy", "direction": "maximize", "objectives": {}, "seed": 0},
        }
        self._number = itertools.count()
        self._display = Display("val_accuracy", self._config["train"]["epochs"])

    def __enter__(self) -> TrainedScores:
        self._folder = tempfile.TemporaryDirectory(prefix="lstm_bench-")
        slots = hardware.slots("auto", hardware.gpus())
        self._launcher = LocalLauncher(
            slots, self._backend, Path(self._folder.name), recycle_after=50, recycle_mib=6000
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._launcher.close()
        self._folder.cleanup()

    def __call__(self, plan: Plan) -> np.ndarray:
        """Whether each sequence that is tested is right, 1 or 0; of others NaN."""
        made, waiting = np.full(len(self._pool.y), np.nan), [self._task(*part) for part in plan]
        tested = {running.name: test for running, (_, test) in zip(waiting, plan, strict=True)}

        def finished(running: Running, result: Result) -> None:
            if not isinstance(result, TrialResult) or result.state != "COMPLETE":
                raise NothingCameOutError(f"{running.name}: {result.reason}: {result.detail}")
            rows = sorted(result.predictions, key=lambda row: row["sample"])
            made[tested[running.name]] = [row["prediction"] == row["label"] for row in rows]

        with self._display:
            Loop(self._launcher, self._display, None).run(lambda: waiting.pop(0) if waiting else None, finished)
        return made

    def _task(self, train: np.ndarray, test: np.ndarray) -> Running:
        number, pool = next(self._number), self._pool
        path = Path(self._folder.name) / f"{number}.npz"
        parts = {"train": train, "validation": train[:: max(1, len(train) // _HELD_OUT)], "test": test}
        present = np.unique(pool.y[train])  # classes that the training part lacks cannot be right
        arrays = {f"x_{name}": pool.x[rows] for name, rows in parts.items()}
        arrays |= {f"y_{name}": np.searchsorted(present, pool.y[rows]) for name, rows in parts.items()}
        known = np.isin(pool.y[test], present)
        if not known.all():
            raise ConfigError(
                "model: a class lies in one group alone, or in one stretch of time", remedy="Leave model out."
            )
        if pool.lengths is not None:
            arrays |= {f"lengths_{name}": pool.lengths[rows] for name, rows in parts.items()}
        np.savez(path, **arrays)
        dataset = {**_yaml("dataset", "file"), "path": str(path), "split": "given"}
        config: Any = {**self._config, "train": dict(self._config["train"]), "dataset": dataset}
        if self._settles:
            epochs.settle(config, {}, len(train))
        config["train"]["patience"] = None  # the last epoch's weights: nothing is chosen
        keep = str(Path(self._folder.name) / f"model-{number}")
        task = TrialTask(kind="replicate", config=config, seed=0, kernel="generic", steps_per_execution=1, keep=keep)
        return Running(f"training {number + 1}", task)


def _yaml(group: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = safe_load.from_yaml((conf_dir() / group / f"{name}.yaml").read_text(encoding="utf-8"))
    return found
