"""`lstm_bench.doctor`: a sound place has no fault, and every constructed fault is one line with its remedy and exit code 6."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import importlib.metadata
import importlib.util
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import Command, series

from lstm_bench.core import locks
from lstm_bench.core.configuration import conf_dir
from lstm_bench.data import images
from lstm_bench.doctor import installation, inventory, machine, proof
from lstm_bench.doctor.finding import Finding
from lstm_bench.kernels.bench import BENCH

LIMITS = yaml.safe_load((conf_dir() / "doctor.yaml").read_text())["limits"]
ROOMY = ("kernels=false", "limits.free_mib=0", "limits.open_files=0")  # a test's machine may be poor
GPU = SimpleNamespace(index="0", name="NVIDIA H200", memory_mib=1, driver="1")


def faults(found: Sequence[Finding]) -> list[str]:
    return [str(finding.fault) for finding in found if finding.fault]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def said_faults(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("fault: ")]


def make_study(folder: Path, *states: str) -> Path:
    """A study's database with trials of these states, as far as the doctor looks at it."""
    folder.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(folder / "study.db") as database:
        database.execute("CREATE TABLE studies (study_id INTEGER)")
        database.execute("CREATE TABLE trials (number INTEGER, state TEXT, filler TEXT)")
        rows = [(number, state, "x" * 3000) for number, state in enumerate(states)]
        database.executemany("INSERT INTO trials VALUES (?, ?, ?)", rows)
        database.execute("CREATE TABLE experiments AS SELECT * FROM trials")
    database.close()
    return folder / "study.db"


# The command.


def test_a_sound_place_has_no_fault_and_nothing_is_written(command: Command, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = command("doctor", *ROOMY)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.endswith("\nno fault found\n")
    for shown in ("lstm_bench", "tensorflow", "gpu", "memory", "open files", "sweeps", "mnist", "digits", "tracking"):
        assert re.search(rf"^  {shown} ", done.stdout, re.MULTILINE), shown
    assert list(tmp_path.iterdir()) == []
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 5  # of a processor: 1.5 here


def test_every_fault_is_one_line_with_a_remedy_and_no_password(command: Command, tmp_path: Path) -> None:
    make_study(tmp_path / "sweeps" / "orphaned", "COMPLETE", "RUNNING")
    (tmp_path / "sweeps" / "torn").mkdir()
    (tmp_path / "sweeps" / "torn" / "trials.csv").write_text("number,state\n0,COMP")
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    (tmp_path / "mnist").mkdir()
    places = ("dataset.dir=mnist", "storage.url=${oc.env:STORE}")
    done = command("doctor", *ROOMY, *places, STORE="postgresql+psycopg://me:S3CRET@127.0.0.1:9/none")
    assert done.returncode == 6
    assert done.stderr == "error: 5 faults found. See above\n"
    said = said_faults(done)
    for one, part in zip(
        said, ("mnist", "mlflow.db: corrupt", "postgresql", "1 trial RUNNING, and nobody runs it", "torn"), strict=True
    ):
        assert part in one and re.search(r"\. [A-Z]", one), one
    assert "S3CRET" not in done.stdout + done.stderr


REFUSED = {
    "kernelz=false": (2, "Did you mean kernels?"),
    "kernels=maybe": (2, "kernels: expected true or false"),
    "backends=jaxx": (2, "Did you mean jax?"),
    "limits.free_mib=-1": (2, "limits.free_mib"),
    "tracking.uri=./mlruns": (2, "sqlite:///mlflow.db"),
    "storage.url=mysql://me:S3CRET@h/x": (2, "sqlite:///FILE or postgresql://"),
    "storage.url='postgresql://me:p@ss:S3CRET@h/x'": (2, "storage.url: cannot be read. Percent-encode the password"),
    "tracking.uri='mysql://me:p@S3CRET@h/x'": (2, "tracking.uri: cannot be read. Percent-encode the password"),
    "cell.units=0": (2, "cell.units"),
    "cell.layer=rnn": (2, "cell.layer"),
    "cell.dtype=float16": (2, "cell.dtype"),
}


def test_an_option_that_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    done = series(tmp_path, "doctor", [[argument] for argument in REFUSED])
    for one, (code, said) in zip(done, REFUSED.values(), strict=True):
        assert (one.returncode, one.stdout) == (code, ""), one
        assert said in one.stderr and one.stderr.count("\n") == 1 and "S3CRET" not in one.stderr


# Installation.


class Metadata:
    """Stands in for `importlib.metadata`."""

    PackageNotFoundError = importlib.metadata.PackageNotFoundError

    def __init__(self, requires: Sequence[str], python: str = ">=3.11", **installed: str):
        self.all = {"lstm-bench": "0.1.0", **{name.replace("_", "-"): version for name, version in installed.items()}}
        self.asked, self.wanted = requires, python

    def version(self, name: str) -> str:
        if name not in self.all:
            raise self.PackageNotFoundError(name)
        return self.all[name]

    def requires(self, name: str) -> list[str]:
        return list(self.asked) if name == "lstm-bench" else ["cudnn; extra == 'and-cuda'"]

    def metadata(self, name: str) -> Any:
        self.version(name)
        extras = sorted({line.split("'")[1] for line in self.asked if "extra" in line})
        return _Fields(self.wanted, extras)


class _Fields(dict[str, str]):
    def __init__(self, python: str, extras: list[str]):
        super().__init__({"Requires-Python": python})
        self.extras = extras

    def get_all(self, key: str) -> list[str]:
        assert key == "Provides-Extra"
        return self.extras


def installed(monkeypatch: pytest.MonkeyPatch, *requires: str, **versions: str) -> list[Finding]:
    fake = Metadata(requires, **versions)
    for name in ("version", "requires", "metadata"):
        monkeypatch.setattr(installation.importlib.metadata, name, getattr(fake, name))
    return installation.findings()


def test_floors_are_those_of_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    found = installed(monkeypatch, "keras>=3.15.1", "optuna>=5.0", keras="3.15.0", optuna="5.0.0")
    assert [finding.said for finding in found[1:]] == ["3.15.0 (needs >=3.15.1)", "5.0.0 (needs >=5.0)"]
    (fault,) = faults(found)
    assert fault.startswith("keras: expected >=3.15.1, received '3.15.0'. ")
    assert fault.endswith("-m pip install 'keras>=3.15.1'")


def test_what_is_required_and_missing_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [fault.split(".")[0] for fault in faults(installed(monkeypatch, "keras>=3.15.1"))] == ["keras is missing"]


def test_an_extra_may_be_missing_but_not_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ("jax>=0.10; extra == 'jax'", "torch>=2.10; extra == 'torch'", "mypy; extra == 'dev'")
    found = installed(monkeypatch, *requires, torch="2.9")
    assert [(finding.what, finding.said) for finding in found[1:]] == [
        ("jax [jax]", "not installed: pip install 'lstm-bench[jax]'"),
        ("torch [torch]", "2.9 (needs >=2.10)"),
    ]
    assert [fault.split(":")[0] for fault in faults(found)] == ["torch"]


def test_a_pinned_version_is_a_wish_and_an_extra_of_an_extra_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ("numpy==2.4.6; extra == 'report'", "tensorflow[and-cuda]>=2.21; extra == 'cuda'")
    found = installed(monkeypatch, *requires, numpy="2.4.5", tensorflow="2.21.0")
    assert faults(found) == []
    assert ("tensorflow [cuda]", "without cudnn; not installed: pip install 'lstm-bench[cuda]'") in [
        (finding.what, finding.said) for finding in found
    ]


def test_another_python_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    (fault,) = faults(installed(monkeypatch, python="<3.11"))
    assert fault.startswith("Python: expected <3.11, received '3.")


def test_a_package_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "DISTRIBUTION", "lstm-bench-that-is-not-there")
    (fault,) = faults(installation.findings())
    assert fault.endswith("In the checkout: python -m pip install -e .")


# Machine.


def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "sweeps").write_text("a file")
    (fault,) = faults([machine.folder("sweeps", tmp_path / "sweeps" / "below", {**LIMITS, "free_mib": 0})])
    assert fault.startswith(f"{tmp_path}/sweeps/below: cannot be written (Not a directory)")


def test_a_folder_that_is_not_there_is_judged_by_the_one_it_would_be_made_in(tmp_path: Path) -> None:
    assert faults([machine.folder("sweeps", tmp_path / "a" / "b", {**LIMITS, "free_mib": 0})]) == []
    assert list(tmp_path.iterdir()) == []


def test_a_full_file_system_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(machine.os, "fsync", full)
    (fault,) = faults([machine.folder("sweeps", tmp_path, LIMITS)])
    assert "cannot be written (No space left on device)" in fault


def test_little_room_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = SimpleNamespace(f_bavail=100, f_frsize=2**20)
    monkeypatch.setattr(machine.os, "statvfs", lambda place: room)
    assert faults([machine.folder("cache", tmp_path, {**LIMITS, "free_mib": 100})]) == []
    (fault,) = faults([machine.folder("cache", tmp_path, {**LIMITS, "free_mib": 101})])
    assert fault == f"{tmp_path}: little room: expected 101 MiB, received '100 MiB'. Free some."


def test_another_clock_on_the_file_system_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(machine.time, "time", lambda: real() + 3600)
    (fault,) = faults([machine.folder("sweeps", tmp_path, {**LIMITS, "free_mib": 0})])
    assert "its files are dated -3600 s from this machine's clock" in fault


def test_a_clock_behind_what_it_wrote_before_is_a_fault(tmp_path: Path) -> None:
    record = make_study(tmp_path / "fake")
    assert faults([machine.clock(tmp_path, LIMITS)]) == []
    os.utime(record, (time.time() + 3600,) * 2)
    (fault,) = faults([machine.clock(tmp_path, LIMITS)])
    assert fault.startswith("clock: it is behind the newest file of a study: expected later than ")


def test_small_limits_of_a_process_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {machine.resource.RLIMIT_NOFILE: 64, machine.resource.RLIMIT_FSIZE: 2**20}
    monkeypatch.setattr(machine.resource, "getrlimit", lambda which: (limits[which], -1))
    few, large = faults(machine.limits_of_a_process(LIMITS))
    assert few == "open files of a process: expected at least 256, received 64. Ulimit -n 256"
    assert large == "size of a file: expected at least 1024 MiB, received '1 MiB'. Ulimit -f unlimited"


# Data.


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MNIST's four files with two images each, their digests pinned, in a folder; nothing else is found."""
    digests = {}
    for name in images.SHA256:
        shape = (2, 28, 28) if "idx3" in name else (2,)
        header = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
        content = header + bytes(2 * (784 if len(shape) == 3 else 1))
        digests[name] = hashlib.sha256(content).hexdigest()
        (tmp_path / "mnist").mkdir(exist_ok=True)
        (tmp_path / "mnist" / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(images, "SHA256", digests)
    monkeypatch.setattr(images, "KEYS", dict(zip(images.KEYS, digests, strict=True)))
    monkeypatch.delenv("LSTM_BENCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "mnist"


def settings(name: str = "mnist", **values: Any) -> dict[str, Any]:
    return {**yaml.safe_load((conf_dir() / "dataset" / f"{name}.yaml").read_text()), **values}


def test_data_is_verified_and_what_is_missing_is_no_fault(small: Path) -> None:
    found = {finding.what: finding for finding in inventory.datasets(settings(dir=str(small)))}
    assert faults(list(found.values())) == []
    assert found["mnist"].said == f"{small}: 2 + 2 images, SHA-256 good"
    assert found["kmnist"].said == "not here: downloaded when it is first asked for"
    assert found["digits"].said == "embedded in scikit-learn: 1,797 samples"


def test_a_truncated_file_of_mnist_is_a_fault(small: Path) -> None:
    path = next(small.glob("train-images*"))
    path.write_bytes(path.read_bytes()[:-9])
    (fault,) = faults(inventory.datasets(settings(dir=str(small))))
    assert fault.startswith(f"{path}: truncated. Delete it")


def test_a_changed_file_of_mnist_is_a_fault(small: Path) -> None:
    path = next(small.glob("train-labels*"))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1] + b"\1"))
    (fault,) = faults(inventory.datasets(settings(dir=str(small))))
    assert f"{path}: foreign: not MNIST: expected SHA-256" in fault


def test_an_incomplete_set_and_a_broken_download_are_told_apart(small: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "lstm_bench" / "mnist"
    cache.mkdir(parents=True)
    (cache / "train-images-idx3-ubyte.gz.17.part").write_bytes(b"half")
    next(small.glob("t10k-images*")).unlink()
    found = inventory.datasets(settings(dir=str(small)))
    (fault,) = faults(found)
    assert "MNIST is incomplete, t10k-images-idx3-ubyte missing" in fault
    assert any("17.part: left by a download that was ended" in finding.said for finding in found)


def test_a_file_of_one_s_own_is_read(tmp_path: Path, small: Path) -> None:
    import numpy as np

    x, y = np.zeros((20, 4, 2), "float32"), np.arange(20) % 2
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    mine = settings("npz", path=str(tmp_path / "a.npz"), validation_size=0.2)
    assert inventory.datasets(mine)[0].said.endswith("a.npz: 16 training sequences of 4 x 2, a classification")
    (tmp_path / "a.npz").write_bytes(b"PK")
    assert "a.npz" in faults(inventory.datasets(mine))[0]


# Studies.


def test_a_study_s_trials_are_counted(tmp_path: Path) -> None:
    make_study(tmp_path / "fake", "COMPLETE", "COMPLETE", "PRUNED")
    (found,) = inventory.study(tmp_path / "fake", 1)
    assert (found.what, found.said, found.fault) == ("fake", "2 COMPLETE, 1 PRUNED", None)


def overwritten(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * 8192 + content[12288:])


def one_bad_page(path: Path) -> None:
    """Of a table that nobody counts."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE versions AS SELECT * FROM trials")
    database.close()
    content = path.read_bytes()
    path.write_bytes(content[:-4096] + b"\xff" * 4096)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (overwritten, "corrupt, or not a database"),
        (one_bad_page, "corrupt, or not a database"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "corrupt, or not a database"),
        (lambda path: path.write_bytes(b""), "an empty file where a database is expected"),
        (lambda path: path.write_text("no database at all, just words" * 100), "file is not a database"),
    ],
    ids=["overwritten", "one bad page", "truncated", "empty", "foreign"],
)
@pytest.mark.parametrize("which", ["study", "mlflow"])
def test_a_corrupt_database_is_a_fault_and_left_alone(tmp_path: Path, which: str, break_it: Any, said: str) -> None:
    path = make_study(tmp_path / "fake", *["COMPLETE"] * 20)
    break_it(path)
    before = sha256(path)
    if which == "study":
        found = inventory.study(tmp_path / "fake", 1)
    else:
        found = [inventory.mlflow_store(f"sqlite:///{path}", 1)]
    (fault,) = faults(found)
    assert fault.startswith(f"{path}: ") and said in fault and "no table" not in fault
    assert fault.endswith("Restore it from a copy, or move it away to start afresh.")
    assert sha256(path) == before and sorted(p.name for p in path.parent.iterdir()) == ["study.db"]


def test_another_program_s_database_is_a_fault(tmp_path: Path) -> None:
    path = make_study(tmp_path / "fake", "COMPLETE")
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE experiments")
    database.close()
    (fault,) = faults([inventory.mlflow_store(f"sqlite:///{path}", 1)])
    assert "it has no table of experiments" in fault


def test_a_sound_store_says_so(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER)")
    database.close()
    found = inventory.mlflow_store(f"sqlite:///{tmp_path}/mlflow.db", 1)
    assert (found.said, found.fault) == (f"{tmp_path}/mlflow.db: sound", None)


def test_a_transaction_that_a_killed_driver_left_is_looked_through_and_left_to_the_next(tmp_path: Path) -> None:
    path = make_study(tmp_path / "fake", "COMPLETE", "RUNNING")
    code = (
        "import os, sqlite3, sys\n"
        "d = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "d.execute('PRAGMA cache_size = 1')\n"
        "d.execute('BEGIN IMMEDIATE')\n"
        "d.executemany('INSERT INTO trials VALUES (?, ?, ?)', [(n, 'FAIL', 'y' * 3000) for n in range(50)])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.with_name("study.db-journal").exists()
    before = {file.name: sha256(file) for file in path.parent.iterdir()}
    found = inventory.study(tmp_path / "fake", 1)
    assert found[0].said == "1 COMPLETE, 1 RUNNING"
    assert {file.name: sha256(file) for file in path.parent.iterdir()} == before


def test_a_busy_database_is_no_fault(tmp_path: Path) -> None:
    path = make_study(tmp_path / "fake", "COMPLETE")
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("BEGIN EXCLUSIVE")
        (found,) = inventory.study(tmp_path / "fake", 0.1)
    database.close()
    assert (found.said, found.fault) == ("database busy", None)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the study `fake`."""
    code = (
        "import pathlib, sys, time\nfrom lstm_bench.core.locks import hold\n"
        "with hold(pathlib.Path(sys.argv[1]), 'study.name'):\n print('held', flush=True)\n time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "fake")], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_running_driver_is_named_and_what_it_is_writing_is_no_fault(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    make_study(tmp_path / "fake", "RUNNING")
    (tmp_path / "fake" / "trials.csv").write_text("number,state\n0,COM")
    (found,) = inventory.study(tmp_path / "fake", 1)
    assert re.fullmatch(rf"running as pid {holder.pid} on \S+ since \S+ \S+, 1 RUNNING", found.said)
    assert found.fault is None
    holder.kill()
    holder.wait()
    found, orphan, torn = inventory.study(tmp_path / "fake", 1)
    assert (found.said, found.fault) == ("1 RUNNING", None)
    assert "1 trial RUNNING, and nobody runs it. The study's command once more queues it again, and goes on." in str(
        orphan.fault
    )
    assert str(torn.fault).endswith(
        "trials.csv: its last line is torn. The study's command once more cuts it off and keeps it in trials.csv.bad-tail."
    )


def test_looking_at_a_lock_takes_it_from_nobody(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    before = (tmp_path / "fake" / "lock").read_text()
    assert locks.owner(tmp_path / "fake") == before
    assert (tmp_path / "fake" / "lock").read_text() == before
    holder.kill()
    holder.wait()
    assert locks.owner(tmp_path / "fake") is None
    assert locks.owner(tmp_path / "none") is None and not (tmp_path / "none").exists()
    with locks.hold(tmp_path / "fake", "study.name"):
        assert locks.owner(tmp_path / "fake") is not None


def test_a_driver_that_is_stopped_is_a_fault(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGSTOP)
    os.waitpid(holder.pid, os.WUNTRACED)
    (fault,) = faults(inventory.study(tmp_path / "fake", 1))
    assert fault.endswith(f", which is stopped. To go on: kill -CONT {holder.pid}")


def test_leftovers_are_told_and_no_fault(tmp_path: Path) -> None:
    folder = tmp_path / "kernels-quick"
    folder.mkdir()
    for name in ("runs.csv.bad-tail", "cells.csv.part"):
        (folder / name).write_text("x")
    found = inventory.study(folder, 1)
    assert faults(found) == []
    assert [finding.said.split("/")[-1] for finding in found[1:]] == [
        "cells.csv.part: a file whose writer was ended; may be deleted",
        "runs.csv.bad-tail: a torn line that was cut off; may be deleted",
    ]


# Servers.


class Answer(http.server.BaseHTTPRequestHandler):
    """Lets `me` in with `S3CRET`."""

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == "Basic bWU6UzNDUkVU"
        self.send_response(200 if allowed else 401)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def mlflow_server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_server_is_asked_with_the_credentials_of_a_sweep(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = inventory.mlflow_store(f"http://me:S3CRET@{mlflow_server}", 5)
    assert (found.said, found.fault) == (f"http://me:***@{mlflow_server}: answers", None)
    (fault,) = faults([inventory.mlflow_store(f"http://{mlflow_server}", 5)])
    assert "lets nobody in (401). Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD." in fault
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "S3CRET")
    assert faults([inventory.mlflow_store(f"http://{mlflow_server}", 5)]) == []


@pytest.mark.parametrize("uri", ["http://me:S3CRET@127.0.0.1:9", "postgresql+psycopg://me:S3CRET@127.0.0.1:9/x"])
def test_a_server_that_does_not_answer_is_a_fault_without_its_password(uri: str) -> None:
    (fault,) = faults([inventory.mlflow_store(uri, 1)])
    assert "me:***@127.0.0.1:9" in fault and "S3CRET" not in fault and "\n" not in fault


# Kernels.

CONF = yaml.safe_load((conf_dir() / "doctor.yaml").read_text())
MEASURED = {"state": "measured", "kernel_ran": "generic", "evidence": "While 2", "error": 1e-6, "tolerance": 1e-4}


class FakeProcess:
    """Takes the place of `single_task.Process`: loads, and answers each kernel as told."""

    seen: str | None = "cpu"
    loads = True
    answers: Mapping[str, Any] = {}
    made = ended = 0

    def __init__(self, slot: Any, backend: str, logs: Path, keras: bool, tasks: int, bench: str):
        assert bench == BENCH
        FakeProcess.made += 1
        self.stuck = False
        (logs / "worker-0.log").write_text("ImportError: libcudnn.so\n")

    def wait(self) -> bool:
        return FakeProcess.loads

    def run(self, task: Mapping[str, Any], report: Callable[[Any], None], limit: float) -> Mapping[str, Any]:
        assert Path(task["reference"]).exists() and limit == CONF["method"]["compile_limit_s"]
        assert not self.stuck, "it is still compiling"
        answer = FakeProcess.answers.get(task["kernel"], {**MEASURED, "kernel_ran": task["kernel"]})
        if answer["state"] == "FAIL":
            self.stuck = True
            return answer
        report({"phase": "compile"})
        report({"phase": "done", "run": answer})
        return {"state": "COMPLETE"}

    def end(self) -> None:
        FakeProcess.ended += 1


@pytest.fixture
def proved(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, proof.Proof]]:
    """The proofs of a backend by kernel, with a process that is made up."""
    monkeypatch.setattr(proof, "Process", FakeProcess)
    for name in ("seen", "loads", "answers", "made", "ended"):
        monkeypatch.setattr(FakeProcess, name, getattr(FakeProcess, name))

    def prove(backend: str, gpus: Sequence[Any] = (), **fake: Any) -> dict[str, proof.Proof]:
        for name, value in fake.items():
            setattr(FakeProcess, name, value)
        found = {one.kernel: one for one in proof.proofs([backend], CONF["cell"], CONF["method"], gpus)}
        assert FakeProcess.made == FakeProcess.ended
        return found

    return prove


def test_a_proved_kernel_shows_its_evidence_and_an_unavailable_one_its_reason(proved: Any) -> None:
    found = proved("tensorflow")
    assert found[""].said == "loaded, sees the cpu"
    assert (found["cudnn"].said, found["cudnn"].ran, found["cudnn"].fault) == ("unavailable: no GPU", "", None)
    assert (found["xla"].ran, found["xla"].said) == ("xla", "While 2; off by 1e-06 of 0.0001")
    assert not any(one.fault for one in found.values())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({**MEASURED, "state": "wrong", "reason": "wrong against the float64 reference"}, "wrong against the float64"),
        ({**MEASURED, "state": "other_kernel", "reason": "asked for xla, generic ran"}, "asked for xla, generic ran"),
        ({"state": "FAIL", "reason": "died", "detail": "the process died (exit -11)"}, "the process died (exit -11)"),
        (
            {"state": "FAIL", "reason": "compile_limit", "detail": "compile exceeded 1 s"},
            "Raise method.compile_limit_s",
        ),
    ],
)
def test_a_kernel_that_is_not_proved_is_a_fault_and_the_others_go_on(proved: Any, answer: Any, said: str) -> None:
    found = proved("tensorflow", answers={"xla": answer})
    assert [name for name, one in found.items() if one.fault] == ["xla"]
    assert str(found["xla"].fault).startswith("kernel=xla of backend=tensorflow: ") and said in str(found["xla"].fault)
    assert found["unrolled"].ran == "unrolled"


def test_a_backend_that_cannot_be_loaded_is_a_fault_with_its_last_words(proved: Any) -> None:
    found = proved("torch", loads=False)
    assert str(found[""].fault).startswith("backend=torch cannot be loaded (ImportError: libcudnn.so). ")


def test_a_gpu_that_a_backend_does_not_see_is_a_fault(proved: Any) -> None:
    found = proved("jax", [GPU])
    assert str(found[""].fault).startswith("NVIDIA H200 is there, but jax does not see it. Install its GPU build")
    assert found["cudnn"].said == "unavailable: no GPU"
    assert found["generic"].fault is None


def test_a_backend_that_is_not_installed_is_no_fault(proved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof.importlib.util, "find_spec", lambda name: None)
    (one,) = proved("jax").values()
    assert (one.said, one.fault) == ("unavailable: not installed (pip install 'lstm-bench[jax]')", None)


@pytest.mark.long
def test_every_kernel_of_every_backend_here_is_proved(command: Command, tmp_path: Path) -> None:
    from lstm_bench.core import vocabulary

    done = command("doctor", "limits.free_mib=0", "limits.open_files=0", CUDA_VISIBLE_DEVICES="-1")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for backend, names in vocabulary.OF_BACKEND.items():
        if importlib.util.find_spec(backend) is None:
            assert f"  {backend:<10}  {'':<12}  unavailable: not installed" in done.stdout
            continue
        for name in names:
            said = "unavailable: no GPU" if name == "cudnn" else f"{name}: "
            assert f"  {backend:<10}  {name:<12}  {said}" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert shutil.which("nvidia-smi") or re.search(r"^  gpu +none", done.stdout, re.MULTILINE)
