"""Sweeps whose training is a formula: the real command, driver, launcher and worker processes, and no framework.

`python tests/support/spy.py ARGUMENTS` is `python -m lstm_bench.sweep ARGUMENTS` with workers that
train nothing. The environment says more:

| variable     | meaning                                                                                                     |
|--------------|-------------------------------------------------------------------------------------------------------------|
| SPY_LOG      | file that gets a line of JSON per task as it begins and ends: `event kind seed pid time config`, and per probe |
| SPY_EPOCH_S  | seconds that an epoch lasts, 0 by default                                                                   |
| SPY_FAULTS   | folder of faults to come: a task takes one file as it begins; its name up to the dot is the fault |
| SPY_ALWAYS   | a fault of every task                                                                                       |
| SPY_HOLD     | file: while it is there, a trial that has begun waits before its first epoch: no test has to meet a moment |
| SPY_CLOCK    | `SECONDS@AFTER`: the driver's clock jumps, AFTER seconds after its start, or once a file AFTER is there |

Faults: nan, oom, raise, kill, segv, exit, hang, stop (the process halts itself by SIGSTOP), slow (a second more).
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS))

import migrations  # noqa: E402
from objective import complete, metrics  # noqa: E402

from lstm_bench.core.clock import Phases  # noqa: E402
from lstm_bench.launcher.protocol import written  # noqa: E402
from lstm_bench.training.tasks import TaskRunner  # noqa: E402

# Few, small trials on a file of 40 sequences: a driver starts and ends within two seconds.
QUICK = (
    "+study=smoke", "dataset=npz", "dataset.path=tiny.npz", "dataset.validation_size=10",
    "tracking=none", "kernel=generic", "kernel.probe=false", "pruner=none", "sampler=random", "train.epochs=3",
    "study.space.model.units={type: int, low: 8, high: 64}", "launcher.workers=2", "study.replicates=0", "controls=false",
)  # fmt: skip


def note(**facts: Any) -> None:
    """A line in the log, whole whoever else writes."""
    path = os.environ.get("SPY_LOG")
    if path:
        line = json.dumps({**facts, "pid": os.getpid(), "time": time.monotonic()}) + "\n"
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line.encode())
        os.close(file)


def fault() -> str | None:
    """The fault that this task shall have: taken from the folder by one task alone."""
    folder = os.environ.get("SPY_FAULTS")
    for path in sorted(Path(folder).iterdir()) if folder and Path(folder).is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            return path.name.split(".")[0]
    return os.environ.get("SPY_ALWAYS")


def happen(name: str | None) -> None:
    """Lets a fault happen."""
    from lstm_bench.training.fit import NotFiniteError

    if name == "nan":
        raise NotFiniteError("loss nan in epoch 2")
    if name == "oom":
        raise MemoryError("out of memory")
    if name == "raise":
        raise ValueError("a trial's own fault")
    if name == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "exit":
        os._exit(3)
    if name == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if name == "slow":
        time.sleep(1)
    while name == "hang":
        time.sleep(60)


class SpyBench(TaskRunner):
    """Trains nothing: waits, and says what the formula says."""

    def work(self) -> dict[str, Any]:
        """Each task is given as it travelled."""
        return {
            kind: lambda task, *given, do=do: do(written(task), *given)  # type: ignore[misc]
            for kind, do in super().work().items()
        }

    def _check(self, task: Mapping[str, Any], *_: Any) -> dict[str, Any]:
        self.data(task["config"]["dataset"])  # the real one: it comes from the driver
        return {"state": "COMPLETE", "n_weights": 1, "recurrent": 1, "layers": ["lstm"]}

    def _trial(
        self,
        task: Mapping[str, Any],
        phases: Phases,
        report: Callable[[dict[str, Any]], None],
        stopped: Callable[[], bool],
    ) -> dict[str, Any]:
        about = {name: task.get(name) for name in ("kind", "seed")}
        chosen = {"units": task["config"]["model"]["units"], "rate": task["config"]["train"]["learning_rate"]}
        ray = sys.modules.get("ray")
        gpus = ray.get_runtime_context().get_accelerator_ids().get("GPU") if ray else None
        note(event="begin", config=chosen, gpus=gpus, task=json.dumps(task), **about)
        end: dict[str, Any] = {}
        what = fault()
        while (hold := os.environ.get("SPY_HOLD")) and Path(hold).exists():
            time.sleep(0.02)
        for epoch in range(1, task["config"]["train"]["epochs"] + 1):
            time.sleep(float(os.environ.get("SPY_EPOCH_S", "0")))
            if epoch == 2:
                happen(what)
            report(metrics(task["config"], epoch))
            if stopped():
                end = {"state": "PRUNED", "epochs": epoch}
                break
        note(event="end", epochs=epoch, **about)
        return {**complete(task), **end}

    def _probe(self, task: Mapping[str, Any], *_: Any) -> dict[str, Any]:
        note(event="probe", kind="probe", kernel=task["kernel"])
        return complete(task)


def bench(setup: Mapping[str, Any]) -> tuple[TaskRunner, str]:
    """What `backend.made` asks for."""
    return SpyBench(setup["device"], setup["share"], None, setup["data_fd"]), "cpu"


def tiny(folder: Path) -> None:
    """Writes the data of `QUICK` into a folder."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 4, 2)).astype("float32"), np.arange(40) % 3
    np.savez(folder / "tiny.npz", x_train=x, y_train=y, x_test=x[:10], y_test=y[:10])


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Starts a sweep of the spy in a folder, which gets its data if it has none."""
    if not (folder / "tiny.npz").exists():
        tiny(folder)
    return subprocess.Popen(
        [sys.executable, str(TESTS / "spy.py"), *arguments],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def swept(folder: Path, *arguments: str, timeout: float = 100, **environment: str) -> tuple[int, str, str]:
    """Runs a sweep of the spy to its end: exit code, what it printed, what it complained of."""
    process = start(folder, *arguments, **environment)
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def noted(path: Path) -> list[dict[str, Any]]:
    """Lines of a log, those that are whole by now."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def jump(spec: str) -> None:
    """Lets the wall clock of this process jump: `time.time`, `time.time_ns` and the clocks of the database."""
    by, _, after = spec.partition("@")
    real, begun = time.time_ns, time.monotonic()

    def jumped() -> bool:
        return Path(after).exists() if "/" in after else time.monotonic() - begun > float(after)

    class Jumped(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return cls.fromtimestamp(time.time(), tz)

    time.time_ns = lambda: real() + round(1e9 * float(by) * jumped())
    time.time = lambda: time.time_ns() / 1e9
    from optuna.storages._rdb import storage

    from lstm_bench.sweep.store import cached

    storage.datetime = cached.datetime = Jumped  # type: ignore[attr-defined, misc]


def main(argv: list[str]) -> int:
    """The sweep, with this file's bench."""
    from lstm_bench.sweep import command as sweep
    from lstm_bench.sweep import workers

    migrations.keep()
    if "SPY_CLOCK" in os.environ:
        jump(os.environ["SPY_CLOCK"])
    workers.RayLauncher = functools.partial(workers.RayLauncher, bench="spy:bench")  # type: ignore[misc,assignment]
    workers.LocalLauncher = functools.partial(workers.LocalLauncher, bench="spy:bench")  # type: ignore[misc,assignment]
    return sweep.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
