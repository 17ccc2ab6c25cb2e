"""Worker processes: real ones, on a toy task of the embedded digits."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import trainings
from trainings import data

from lstm_bench.core.hardware import Slot
from lstm_bench.data.shared_memory import SharedDataset
from lstm_bench.launcher.base import Event
from lstm_bench.launcher.local import LocalLauncher

pytestmark = pytest.mark.slow


def config(epochs: int) -> dict[str, Any]:
    return {
        "dataset": {
            "name": "digits",
            "dir": None,
            "path": None,
            "train_size": None,
            "validation_size": 0.1,
            "validation": "split",
            "split_seed": 0,
            "standardize": False,
            "fallback": None,
        },
        "model": {"_target_": "lstm_bench.model.single", "units": 8},
        "backend": {"name": "tensorflow"},
        "launcher": {"keep_engines": 1},
        "train": {
            "epochs": epochs,
            "batch_size": 16,
            "evaluation_batch_size": 100,
            "optimizer": "adam",
            "learning_rate": 0.01,
            "momentum": 0.0,
            "global_clipnorm": None,
            "schedule": "constant",
            "decay": 0.0,
        },
    }


def task(epochs: int = 2) -> dict[str, Any]:
    return {"kind": "trial", "config": config(epochs), "kernel": "generic", "steps_per_execution": 50, "seed": 1}


ENDLESS = 100_000  # epochs


def until(launcher: LocalLauncher, kind: str, key: str | None = None, seconds: float = 200) -> Event:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        for event in launcher.events(0.2):
            if event.kind == kind and (key is None or event.key == key):
                return event
    raise AssertionError(f"no {kind} of {key} within {seconds} s")


def workers() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # gone by now, or a zombie that another test has left
            found += [process] if "lstm_bench.launcher.worker" in " ".join(process.cmdline()) else []
    return found


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[LocalLauncher]:
    made = LocalLauncher([Slot(0, "a CPU", "exclusive", (0,))], "tensorflow", tmp_path / "logs", 3, 100_000)
    yield made
    made.close()
    assert workers() == []


def test_a_worker_of_jax_keeps_what_xla_compiled_and_never_loads_tensorflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jax", reason="jax is not installed: pip install 'lstm-bench[jax]'")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    programs, slot = tmp_path / "programs", Slot(0, "a CPU", "exclusive", (0,))
    given = [slot], "jax", tmp_path / "logs", 3, 100_000
    made = LocalLauncher(*given, programs=programs)
    try:
        work = task()
        work["config"]["backend"] = {"name": "jax"}
        made.submit("a", work)
        assert until(made, "result", "a").body["state"] == "COMPLETE"
        (worker,) = workers()
        assert not [part.path for part in worker.memory_maps() if "/tensorflow/" in part.path]
    finally:
        made.close()
    assert list(programs.iterdir())


@pytest.mark.long
def test_a_task_that_is_killed_sends_nothing_more(launcher: LocalLauncher) -> None:
    launcher.submit("a", task(ENDLESS))
    until(launcher, "epoch", "a")
    launcher.kill("a")
    launcher.submit("b", task())
    seen = []
    while not any(event.kind == "result" for event in seen):
        seen += launcher.events(0.2)
    assert {event.key for event in seen} <= {"b", None}


@pytest.mark.long
def test_a_worker_is_replaced_after_so_many_tasks(launcher: LocalLauncher) -> None:
    pids = []
    for key in "abcd":
        launcher.submit(key, task(epochs=1))
        until(launcher, "epoch", key)
        pids.append(workers()[0].pid)
        until(launcher, "result", key)
    assert pids[0] == pids[1] == pids[2] != pids[3]


@pytest.mark.long
def test_a_worker_that_replaces_another_inherits_the_shared_data_too(tmp_path: Path) -> None:
    nowhere = config(1)
    nowhere["dataset"] |= {"name": "npz", "path": str(tmp_path / "nowhere.npz")}  # no worker could load it itself
    check = {"kind": "check", "config": nowhere, "corners": []}
    shared = SharedDataset()
    slot = Slot(0, "a CPU", "exclusive", (0,))
    made = LocalLauncher([slot], "tensorflow", tmp_path / "logs", 1, 100_000, data_fd=shared.fd)
    try:
        shared.store(data(), nowhere["dataset"])  # after the worker was started, before its first task
        pids = [workers()[0].pid]
        made.submit("first", check)
        assert until(made, "result", "first").body["state"] == "COMPLETE"
        pids.append(workers()[0].pid)  # recycled
        made.submit("killed", check)
        made.kill("killed")
        pids.append(workers()[0].pid)
        made.submit("last", check)
        assert until(made, "result", "last").body["state"] == "COMPLETE"
        assert len(set(pids)) == 3
    finally:
        made.close()
        shared.close()


def test_workers_end_when_their_driver_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; sys.path[:0] = sys.argv[2:]; from pathlib import Path; import test_local as t;"
        "from lstm_bench.launcher.local import LocalLauncher; from lstm_bench.core.hardware import Slot;"
        "made = LocalLauncher([Slot(0, 'a CPU', 'exclusive', (0,))], 'tensorflow', Path(sys.argv[1]), 9, 99999);"
        "made.submit('a', t.task(t.ENDLESS)); t.until(made, 'epoch', 'a');"
        "print(*(p.pid for p in t.workers()), flush=True); time.sleep(100)"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent), str(Path(trainings.__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout
    pid = int(driver.stdout.readline())
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
    assert not psutil.pid_exists(pid)


# The last of this file: the tests above count all workers.
@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalLauncher]:
    """One worker for the tests that leave it idle: to start one and to trace its program takes seconds."""
    logs = tmp_path_factory.mktemp("shared") / "logs"
    made = LocalLauncher([Slot(0, "a CPU", "exclusive", (0,))], "tensorflow", logs, 99, 100_000)
    yield made
    made.close()
    assert workers() == []


def test_a_task_reports_each_epoch_and_its_result(shared: LocalLauncher) -> None:
    assert shared.capacity() == 1
    shared.submit("reports", task(epochs=2))
    assert shared.capacity() == 0
    assert until(shared, "epoch", "reports").body["epoch"] == 1
    result = until(shared, "result", "reports").body
    assert (result["state"], result["epochs"], result["device"]) == ("COMPLETE", 2, "a CPU")
    assert shared.capacity() == 1


def test_a_worker_keeps_to_its_cores_ignores_an_interrupt_and_its_output_goes_to_a_log(
    shared: LocalLauncher, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared.submit("interrupted", task(ENDLESS))
    until(shared, "epoch", "interrupted")
    assert workers()[0].cpu_affinity() == [0]
    workers()[0].send_signal(signal.SIGINT)
    first = until(shared, "epoch", "interrupted").body["epoch"]
    assert until(shared, "epoch", "interrupted").body["epoch"] > first >= 1
    assert list(tmp_path_factory.getbasetemp().glob("shared*/logs/worker-0.log"))
    shared.stop("interrupted")
    assert until(shared, "result", "interrupted").body["state"] == "PRUNED"


def test_a_stopped_task_ends_at_once_and_its_worker_is_reused(shared: LocalLauncher) -> None:
    shared.submit("stopped", task(ENDLESS))
    until(shared, "epoch", "stopped")
    before = [process.pid for process in workers()]
    since = time.monotonic()
    shared.stop("stopped")
    assert until(shared, "result", "stopped").body["state"] == "PRUNED"
    assert time.monotonic() - since < 2
    shared.submit("next", task())
    assert until(shared, "result", "next").body["state"] == "COMPLETE"
    assert [process.pid for process in workers()] == before


@pytest.mark.long  # `test_faults.py` has it without a framework
def test_a_killed_worker_is_reported_with_its_task_and_replaced(shared: LocalLauncher) -> None:
    shared.submit("killed", task(ENDLESS))
    until(shared, "epoch", "killed")
    (worker,) = workers()
    worker.send_signal(signal.SIGKILL)
    event = until(shared, "died")
    assert (event.key, event.body["exit"]) == ("killed", -signal.SIGKILL)
    shared.submit("after", task())
    assert until(shared, "result", "after").body["state"] == "COMPLETE"
    assert [process.pid for process in workers()] != [worker.pid]
