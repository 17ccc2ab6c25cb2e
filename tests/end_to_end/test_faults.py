"""What a sweep survives: R1 to R20 of the reliability requirements and further faults, on real driver and worker processes.

Training is a formula (`spy.py`), so that a fault costs seconds. `tests/programs/protections.py` switches each protection off
and sees its test fail; `docs/developers/promises.md` is what it said.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake
import psutil
import pytest
import spy

from lstm_bench.core import fileio
from lstm_bench.tracking import client

Rows = list[dict[str, str]]
LONG = {"SPY_EPOCH_S": "60"}  # what runs is still running when the test is over
TRACKED = tuple(argument for argument in spy.QUICK if argument != "tracking=none")


def rows(folder: Path, study: str = "smoke") -> Rows:
    with (folder / "sweeps" / study / "trials.csv").open() as text:
        return list(csv.DictReader(text))


def query(database: Path, sql: str) -> list[tuple[Any, ...]]:
    uri = f"file:{database}?mode=rw"  # one that is not there is not made; not ro: a journal may be left to roll back
    with contextlib.closing(sqlite3.connect(uri, timeout=60, uri=True)) as connection:
        return list(connection.execute(sql))


def stored(folder: Path, study: str = "smoke") -> list[tuple[Any, ...]]:
    """Number and state of each trial in the database."""
    return query(folder / "sweeps" / study / "study.db", "SELECT number, state FROM trials ORDER BY number")


def until(holds: Callable[[], Any], seconds: float = 90) -> Any:
    """Waits for something that is true, and returns it."""
    ends = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.02)
    return found


def begun(log: Path, n: int = 1) -> list[dict[str, Any]]:
    """Waits until `n` tasks have begun; returns what the log says of their beginnings."""
    return until(lambda: len(found := [line for line in spy.noted(log) if line["event"] == "begin"]) >= n and found)


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Returns when the process has printed a text."""
    assert process.stdout
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} was never printed: {process.stderr.read() if process.stderr else ''}")


def orphans(folder: Path) -> list[int]:
    """Workers of a sweep in a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "lstm_bench.launcher.worker" in process.cmdline() and process.cwd() == str(folder):
                found.append(process.pid)
    return found


def settled(folder: Path, total: int, study: str = "smoke") -> Rows:
    """Checks that a study is done to its exact total, its records are its database, and nobody works on it any more."""
    found = rows(folder, study)
    assert [(int(row["number"]), row["state"]) for row in found] == stored(folder, study)
    assert [int(row["number"]) for row in found] == list(range(len(found)))
    retried = {row["retry_of"] for row in found if row["retry_of"]}
    # Of a trial whose driver died while it asked for it, there may be no seed yet.
    counted = [row for row in found if row["number"] not in retried and row["seed"]]
    assert len(counted) == total
    assert {row["reason"] for row in counted} <= {"", "nan", "oom", "exception", "timeout", "worker_died"}
    assert len({row["seed"] for row in counted}) == total  # each suggestion once
    assert orphans(folder) == []
    return found


@contextlib.contextmanager
def running(folder: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A sweep of the spy that is gone at the end, whatever the test came to."""
    process = spy.start(folder, *arguments, **environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def at_once(*started: subprocess.Popen[str]) -> list[tuple[int, str, str]]:
    """Exit code, output and complaints of sweeps that were started together."""
    return [(process.wait(), out, err) for process in started for out, err in [process.communicate(timeout=240)]]


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All files of a folder but the lock, which names its last owner."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("lock", "log"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# R1: the first start.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "repeats"),
    [(("one", "two"), 1), pytest.param(("one", "two", "three", "four"), 10, marks=pytest.mark.long)],
)
def test_r01_studies_started_at_once_on_an_empty_directory(
    tmp_path: Path, names: tuple[str, ...], repeats: int
) -> None:
    for repeat in range(repeats):
        folder = tmp_path / str(repeat)
        folder.mkdir()
        spy.tiny(folder)
        few = (*TRACKED, "study.n_trials=2", "launcher.workers=1")
        for code, out, err in at_once(*(spy.start(folder, *few, f"study.name={name}") for name in names)):
            assert (code, err) == (0, ""), err
            assert "is not up to date" not in out  # no outage
        for path in (folder / "mlflow.db", *(folder / "sweeps" / name / "study.db" for name in names)):
            assert query(path, "PRAGMA integrity_check") == [("ok",)]
        runs = query(
            folder / "mlflow.db", "SELECT e.name, r.status FROM runs r JOIN experiments e USING (experiment_id)"
        )
        assert Counter(runs) == {(name, "FINISHED"): 3 for name in names}  # none in Default


# R2: exactly once.


@pytest.mark.slow
def test_r02_no_trial_runs_twice_and_none_vanishes(tmp_path: Path) -> None:
    faults, log = tmp_path / "faults", tmp_path / "log"
    faults.mkdir()
    for number in range(8):
        (faults / f"exit.{number}").touch()
    many = (*spy.QUICK, "study.n_trials=80", "launcher.workers=4", "study.max_retry=9")
    environment = {"SPY_LOG": str(log), "SPY_FAULTS": str(faults), "SPY_EPOCH_S": "0.02"}
    code, _, err = spy.swept(tmp_path, *many, timeout=240, **environment)
    assert code == 0, err
    found = settled(tmp_path, 80)
    assert Counter(row["reason"] for row in found) == {"": 80, "worker_died": 8}
    heard = spy.noted(log)
    begins = Counter(str(line["seed"]) for line in heard if line["event"] == "begin")
    assert begins == Counter(row["seed"] for row in found)  # as often as there are rows, never once more
    assert Counter(str(line["seed"]) for line in heard if line["event"] == "end") == Counter(
        row["seed"] for row in found if row["state"] == "COMPLETE"
    )


# R3: a worker dies.


def test_r03_the_trial_of_a_killed_worker_runs_again_within_ten_seconds(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(tmp_path, *spy.QUICK, "study.n_trials=3", SPY_LOG=str(log), SPY_EPOCH_S="0.4") as process:
        victim = begun(log)[0]
        os.kill(victim["pid"], signal.SIGKILL)
        since = time.monotonic()
        _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    again = [line for line in spy.noted(log) if line["event"] == "begin" and line["seed"] == victim["seed"]]
    assert len(again) == 2
    assert again[1]["time"] - since < 10
    assert again[1]["config"] == victim["config"]
    found = settled(tmp_path, 3)
    (died,) = [row for row in found if row["reason"] == "worker_died"]
    assert [row["state"] for row in found if row["retry_of"] == died["number"]] == ["COMPLETE"]


def test_r03_a_trial_that_always_dies_fails_after_max_retry_and_the_sweep_ends(tmp_path: Path) -> None:
    once = (*spy.QUICK, "study.n_trials=1", "launcher.workers=1", "study.max_retry=2")
    code, _, err = spy.swept(tmp_path, *once, SPY_ALWAYS="kill")
    assert code == 5 and "1 of 1 trial failed: worker_died" in err, err
    found = settled(tmp_path, 1)
    assert [(row["state"], row["reason"], row["retry_of"]) for row in found] == [
        ("FAIL", "worker_died", ""),
        ("FAIL", "worker_died", "0"),
        ("FAIL", "worker_died", "1"),
    ]


# R4: the driver dies.


def killed_at_random(folder: Path, seed: int, kills: int) -> None:
    """Kills a driver again and again, during its start or while its workers work, and sees the study through."""
    total, log, times = 2 * kills, folder / "log", random.Random(seed)
    arguments, environment = (*spy.QUICK, f"study.n_trials={total}"), {"SPY_LOG": str(log), "SPY_EPOCH_S": "0.2"}
    kept: dict[str, str] = {}
    for kill in range(kills):
        with running(folder, *arguments, **environment) as process:
            if kill % 2:
                lines = len(spy.noted(log))
                until(lambda n=lines, it=process: len(spy.noted(log)) > n or it.poll() is not None)
            time.sleep(times.uniform(0, 0.9 if kill % 2 else 2))
            process.kill()
            process.wait()
        until(lambda: not orphans(folder), 10)  # a worker without a driver is nobody's
        with contextlib.suppress(FileNotFoundError, sqlite3.OperationalError):
            kept |= {str(number): state for number, state in stored(folder) if state == "COMPLETE"}
    code, _, err = spy.swept(folder, *arguments, **environment)
    assert (code, err) == (0, "")
    found = settled(folder, total)
    assert kept.items() <= {row["number"]: row["state"] for row in found}.items()
    assert {row["reason"] for row in found} == {"", "driver_died"}  # some were killed in the midst of work
    database = folder / "sweeps" / "smoke" / "study.db"
    before_third = database.read_bytes()
    code, out, _ = spy.swept(folder, *arguments, **environment)
    assert code == 0
    assert "nothing to do" in out
    assert database.read_bytes() == before_third


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "kills"), [(0, 3), pytest.param(1, 20, marks=pytest.mark.long)])
def test_r04_a_driver_killed_at_random_times_ends_at_the_exact_total(tmp_path: Path, seed: int, kills: int) -> None:
    killed_at_random(tmp_path, seed, kills)


def test_r04_workers_in_the_midst_of_work_end_with_their_driver(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(tmp_path, *spy.QUICK, "study.n_trials=2", SPY_LOG=str(log), **LONG) as process:
        begun(log, 2)
        assert len(orphans(tmp_path)) == 2
        process.kill()
        process.wait()
        until(lambda: not orphans(tmp_path), 10)


# R5: Ctrl-C and SIGTERM.


def test_r05_one_interrupt_lets_what_runs_finish(tmp_path: Path) -> None:
    arguments, log = (*spy.QUICK, "study.n_trials=4"), tmp_path / "log"
    with running(tmp_path, *arguments, SPY_LOG=str(log), SPY_EPOCH_S="1") as process:
        begun(log, 2)  # three seconds each: the first is still at work when the second has begun
        since = time.monotonic()
        process.send_signal(signal.SIGINT)
        read_until(process, "interrupted: what runs gets 5 s to finish")
        assert time.monotonic() - since < 3  # under a second on an idle machine
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "error: interrupted. The same command goes on from here.\n"
    assert stored(tmp_path) == [(0, "COMPLETE"), (1, "COMPLETE")]
    assert orphans(tmp_path) == []
    assert spy.swept(tmp_path, *arguments)[0] == 0
    assert len(settled(tmp_path, 4)) == 4


@pytest.mark.parametrize(
    ("signals", "most"),
    [
        pytest.param((signal.SIGINT,) * 2, 5, id="twice"),
        pytest.param((signal.SIGTERM,), 10, id="term", marks=pytest.mark.long),
    ],
)
def test_r05_what_does_not_finish_is_queued_again(
    tmp_path: Path, signals: tuple[signal.Signals, ...], most: float
) -> None:
    arguments, log = (*spy.QUICK, "study.n_trials=2"), tmp_path / "log"
    with running(tmp_path, *arguments, SPY_LOG=str(log), **LONG) as process:
        begun(log, 2)
        since = time.monotonic()
        for number in signals:
            process.send_signal(number)
            time.sleep(0.3)
        _, err = process.communicate(timeout=60)
        assert time.monotonic() - since < most
    assert process.returncode == 130
    assert err == "error: interrupted. The same command goes on from here.\n"
    assert [row["reason"] for row in rows(tmp_path)] == ["interrupted"] * 2
    assert orphans(tmp_path) == []
    assert spy.swept(tmp_path, *arguments)[0] == 0
    found = settled(tmp_path, 2)
    assert {row["retry_of"] for row in found} == {"", "0", "1"}


def test_r05_a_driver_that_waits_for_mlflow_hears_an_interrupt_all_the_same(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # it takes connections and never answers
        uri, log = f"http://127.0.0.1:{deaf.getsockname()[1]}", tmp_path / "log"
        with running(tmp_path, *TRACKED, f"tracking.uri={uri}", SPY_LOG=str(log), **LONG) as process:
            begun(log)
            deaf.settimeout(60)
            with deaf.accept()[0]:
                since = time.monotonic()
                process.send_signal(signal.SIGINT)
                read_until(process, "interrupted:")
                assert time.monotonic() - since < 3  # MLflow is given up after two times five seconds


def test_r05_sigterm_before_the_first_trial_is_an_interrupt(tmp_path: Path) -> None:
    with running(tmp_path, *spy.QUICK) as process:
        read_until(process, "tracking ")  # the header: workers are about to start
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "error: interrupted. The same command goes on from here.\n")
    until(lambda: not orphans(tmp_path), 10)


# R6: a worker is stopped, and goes on or not.


def test_r06_a_stopped_worker_is_waited_for_until_trial_timeout_and_no_longer(tmp_path: Path) -> None:
    faults, limit = tmp_path / "faults", 4.0
    faults.mkdir()
    for number in range(3):
        (faults / f"stop.{number}").touch()
    # The first goes on soon, the second about when it is given up, the third never.
    waits, goes_on = [0.3, limit, 1e9], dict[int, float]()
    arguments = (*spy.QUICK, "study.n_trials=6", f"study.trial_timeout={limit:g}")
    with running(tmp_path, *arguments, SPY_FAULTS=str(faults)) as process:
        ends = time.monotonic() + 90
        while process.poll() is None:
            assert time.monotonic() < ends, "it waits for ever"
            for pid in orphans(tmp_path):
                with contextlib.suppress(psutil.Error, ProcessLookupError):
                    if psutil.Process(pid).status() != psutil.STATUS_STOPPED:
                        continue
                    if pid not in goes_on:
                        goes_on[pid] = time.monotonic() + waits.pop(0)
                    if time.monotonic() > goes_on[pid]:
                        os.kill(pid, signal.SIGCONT)
                        del goes_on[pid]
            time.sleep(0.02)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    found = settled(tmp_path, 6)
    assert len(found) == 6  # none was run twice
    ends = Counter(row["reason"] for row in found)
    assert ends["timeout"] in (1, 2) and ends["timeout"] + ends[""] == 6


# R7: the disk is full.


@pytest.mark.parametrize(("size", "some"), [(4, False), pytest.param(90, False, marks=pytest.mark.long), (124, True)])
def test_r07_a_full_disk_is_one_line_and_what_was_finished_is_kept(tmp_path: Path, size: int, some: bool) -> None:
    """Of KiB: less than a database's first page, than one in the making, than one with all its trials."""
    arguments, environment = (*spy.QUICK, "study.n_trials=20", "launcher.workers=1"), {"SPY_EPOCH_S": "0.01"}
    process = spy.start(tmp_path, *arguments, **environment)
    psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (size * 1024, size * 1024))
    ((code, _, err),) = at_once(process)
    assert (code, len(err.splitlines())) == (4, 1), err
    assert str(tmp_path) in err
    assert orphans(tmp_path) == []
    finished = stored(tmp_path) if some else []
    assert (0 < len(finished) < 20) is some
    code, _, err = spy.swept(tmp_path, *arguments, **environment)
    assert (code, err) == (0, "")
    settled(tmp_path, 20)
    assert {pair for pair in finished if pair[1] == "COMPLETE"} <= set(stored(tmp_path))


# R9: two drivers.


def test_r09_a_second_driver_is_refused_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(tmp_path, *spy.QUICK, SPY_LOG=str(log), **LONG) as first:
        begun(log)
        # Stopped it still owns its study, for it may go on.
        for stopped in (False, True):
            if stopped:
                first.send_signal(signal.SIGSTOP)
            since = time.monotonic()
            code, _, err = spy.swept(tmp_path, *spy.QUICK)
            assert time.monotonic() - since < 9  # under three seconds on an idle machine
            assert (code, len(err.splitlines())) == (4, 1)
            assert f"smoke is running as pid {first.pid} on {socket.gethostname()} since 2" in err
        first.kill()
    assert spy.swept(tmp_path, *spy.QUICK)[0] == 0
    settled(tmp_path, 3)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///{}/shared.db",
        pytest.param("sqlite:///../shared.db", marks=pytest.mark.long),
        pytest.param("sqlite:///file:{}/shared.db?uri=true", marks=pytest.mark.long),
    ],
)
def test_r09_a_sqlite_file_named_by_a_url_has_one_driver_whatever_the_folder(tmp_path: Path, url: str) -> None:
    log, folders = tmp_path / "log", [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    given = (*spy.QUICK, f"storage.url='{url.format(tmp_path)}'")
    with running(
        folders[0], *spy.QUICK, f"storage.url=sqlite:///{tmp_path}/shared.db", SPY_LOG=str(log), **LONG
    ) as first:
        begun(log)
        code, _, err = spy.swept(folders[1], *given)
        assert (code, len(err.splitlines())) == (4, 1)
        assert f"smoke is running as pid {first.pid} on {socket.gethostname()} since 2" in err
        assert query(tmp_path / "shared.db", "SELECT state FROM trials")[0] == ("RUNNING",)  # and was left alone
        assert spy.swept(folders[1], *given, "study.name=another")[0] == 0
        first.kill()


# R10: what a resume may not change.


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study of three trials, done."""
    folder = tmp_path_factory.mktemp("finished")
    code, _, err = spy.swept(folder, *spy.QUICK)
    assert code == 0, err
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("study.objective=val_loss", "study.direction=minimize"),
            "study.direction was maximize, is minimize; study.objective was val_accuracy, is val_loss",
        ),
        *(
            pytest.param(*each, marks=pytest.mark.long)  # `test_trials.py` has the comparison
            for each in (
                (("study.space.model.units.high=32",), "study.space.model.units.high was 64, is 32"),
                (("study.space.train.learning_rate=null",), "study.space.train.learning_rate.high was 0.01, is null"),
                (("train.epochs=4",), "train.epochs was 3, is 4"),
            )
        ),
        ((), "the data has another SHA-256"),
    ],
    ids=["direction", "bound", "dimension", "training", "data"],
)
def test_r10_a_resume_of_something_else_is_refused_and_writes_nothing(
    finished: Path, change: tuple[str, ...], said: str
) -> None:
    before, data = bytes_of(finished), (finished / "tiny.npz").read_bytes()
    try:
        if not change:
            x, y = spy.np.ones((40, 4, 2), "float32"), spy.np.arange(40) % 3
            spy.np.savez(finished / "tiny.npz", x_train=x, y_train=y, x_test=x, y_test=y)
        code, _, err = spy.swept(finished, *spy.QUICK, "study.n_trials=9", *change)
    finally:
        (finished / "tiny.npz").write_bytes(data)
    assert (code, len(err.splitlines())) == (2, 1)
    assert said in err
    assert bytes_of(finished) == before


# R11: seeds.


@pytest.mark.long  # CI: every sampler in `test_trials.py`, without processes
def test_r11_an_interrupted_sweep_suggests_what_an_uninterrupted_one_does(tmp_path: Path) -> None:
    arguments = tuple(argument for argument in spy.QUICK if argument != "sampler=random")
    arguments = (*arguments, "sampler=tpe", "sampler.n_startup_trials=3", "study.n_trials=8", "launcher.workers=1")
    disturbed, log = tmp_path / "disturbed", tmp_path / "disturbed" / "log"
    undisturbed = tmp_path / "undisturbed"
    for folder in (disturbed, undisturbed):
        folder.mkdir()
    whole = spy.start(undisturbed, *arguments, SPY_EPOCH_S="0.1")
    for n, number in ((2, signal.SIGKILL), (4, signal.SIGTERM)):
        with running(disturbed, *arguments, SPY_LOG=str(log), SPY_EPOCH_S="0.1") as process:
            begun(log, n)
            process.send_signal(number)
            process.wait(60)
    (code, _, err), (expected, _, _) = at_once(spy.start(disturbed, *arguments), whole)
    assert (code, expected) == (0, 0), err
    columns = ("seed", "config_model.units", "config_train.learning_rate", "val_accuracy")
    suggested = [
        [[row[column] for column in columns] for row in settled(folder, 8) if row["state"] == "COMPLETE"]
        for folder in (disturbed, undisturbed)
    ]
    assert sorted(suggested[0]) == sorted(suggested[1])
    assert len(rows(disturbed)) > 8


def test_r11_workers_that_start_together_start_at_different_points(tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = (*spy.QUICK, "study.n_trials=4", "launcher.workers=4")
    code, _, err = spy.swept(tmp_path, *arguments, SPY_LOG=str(log), SPY_EPOCH_S="0.3")
    assert code == 0, err
    first = begun(log, 4)
    assert len({line["pid"] for line in first}) == 4
    assert len({str(line["config"]) for line in first}) == len({line["seed"] for line in first}) == 4


# R14: nothing is left running.


@pytest.mark.slow
@pytest.mark.long  # CI: any fault, both stores, in `test_chaos.py`
@pytest.mark.parametrize("also_terminated", [False, True])
def test_r14_nothing_is_left_running_in_either_store_once_the_same_command_ran_again(
    tmp_path: Path, unused_store: Path, also_terminated: bool
) -> None:
    """Trials that hang after their first epoch are ended with their driver, at a moment that cannot be missed."""
    log, faults, database = tmp_path / "log", tmp_path / "faults", tmp_path / "mlflow.db"
    arguments = (*TRACKED, "study.n_trials=3", "study.replicates=2")
    environment = {"SPY_LOG": str(log), "SPY_FAULTS": str(faults), "SPY_EPOCH_S": "0.2"}
    shutil.copy(unused_store, database)
    points = (
        "SELECT name FROM runs JOIN metrics USING (run_uuid) WHERE key = 'curves/val_accuracy' AND status = 'RUNNING'"
    )

    def runs(status: str) -> set[str]:
        return {name for (name,) in query(database, f"SELECT name FROM runs WHERE status = '{status}'")}

    def ended_by(number: signal.Signals, *names: str) -> None:
        """Sweeps until these two trials hang and MLflow shows what they have come to; then ends it."""
        faults.mkdir(exist_ok=True)
        for n in range(2):
            (faults / f"hang.{n}").touch()
        with running(tmp_path, *arguments, **environment) as process:
            until(lambda: {name for (name,) in query(database, points)} == {*names})
            process.send_signal(number)
            process.communicate(timeout=60)
        until(lambda: not orphans(tmp_path), 10)

    ended_by(signal.SIGKILL, "trial 0", "trial 1")
    assert runs("RUNNING") == {"smoke", "trial 0", "trial 1"}
    assert {state for _, state in stored(tmp_path)} == {"RUNNING"}
    history = tmp_path / "sweeps" / "smoke" / "history.csv"
    with history.open() as text:
        assert sorted((row["number"], row["epoch"]) for row in csv.DictReader(text)) == [("0", "1"), ("1", "1")]
    if also_terminated:
        ended_by(signal.SIGTERM, "trial 2", "trial 3")
    code, _, err = spy.swept(tmp_path, *arguments, **environment)
    assert (code, err) == (0, "")
    found = settled(tmp_path, 3)
    ends = Counter(row["reason"] for row in found)
    assert ends == {"": 3, "driver_died": 2, **({"interrupted": 2} if also_terminated else {})}
    assert {state for _, state in stored(tmp_path)} <= {"COMPLETE", "FAIL"}
    assert runs("RUNNING") == set()
    # No run, no point of a curve and no epoch is there twice, and none is missing.
    seeds = [f"replicate seed {seed} of trial {trial}" for seed, trial in replicates(tmp_path)]
    names = query(database, "SELECT name FROM runs WHERE lifecycle_stage = 'active'")
    assert sorted(name for (name,) in names) == sorted(["smoke", *seeds, *(f"trial {row['number']}" for row in found)])
    twice = "SELECT run_uuid, key, step FROM metrics GROUP BY 1, 2, 3 HAVING count(*) > 1"
    assert query(database, twice) == []
    with history.open() as text:
        epochs = Counter((row["kind"], row["number"], row["epoch"]) for row in csv.DictReader(text))
    assert set(epochs.values()) == {1}
    assert {number for kind, number, _ in epochs if kind == "trial"} == {row["number"] for row in found}
    curves = "SELECT name, step FROM runs JOIN metrics USING (run_uuid) WHERE key = 'curves/val_accuracy' AND step > 0"
    assert {(name, step) for name, step in query(database, curves) if name.startswith("trial")} == {
        (f"trial {number}", int(epoch)) for kind, number, epoch in epochs if kind == "trial"
    }


def replicates(folder: Path, study: str = "smoke") -> list[tuple[str, str]]:
    """Seed and trial of each replicate in the records."""
    with (folder / "sweeps" / study / "replicates.csv").open() as text:
        return [(row["seed"], row["trial"]) for row in csv.DictReader(text)]


# R20: a bad trial.


def test_r20_a_bad_trial_fails_with_its_reason_and_the_sweep_goes_on(tmp_path: Path) -> None:
    faults = tmp_path / "faults"
    faults.mkdir()
    for name in ("nan", "oom", "raise", "segv", "hang"):
        (faults / f"{name}.0").touch()
    arguments = (*spy.QUICK, "study.n_trials=8", "study.trial_timeout=12", "study.max_failed=9")
    code, out, err = spy.swept(tmp_path, *arguments, SPY_FAULTS=str(faults))
    assert (code, err) == (0, "")
    found = settled(tmp_path, 8)
    reasons = Counter(row["reason"] for row in found if row["state"] == "FAIL")
    # A neighbour's memory and a segmentation fault may be nobody's fault: they are tried again.
    assert reasons == {"nan": 1, "oom_shared": 1, "exception": 1, "worker_died": 1, "timeout": 1}
    assert Counter(row["state"] for row in found) == {"COMPLETE": 5, "FAIL": 5}
    for reason in reasons:
        assert f"FAIL ({reason})" in out


@pytest.mark.parametrize("fault", ["nan", pytest.param("raise", marks=pytest.mark.long)])
def test_r20_more_bad_trials_than_allowed_end_the_sweep(tmp_path: Path, fault: str) -> None:
    arguments = (*spy.QUICK, "study.n_trials=20", "study.max_failed=2", "launcher.workers=1")
    code, _, err = spy.swept(tmp_path, *arguments, SPY_ALWAYS=fault)
    assert code == 5
    assert "3 trials failed by their own fault, study.max_failed is 2" in err
    assert [state for _, state in stored(tmp_path)] == ["FAIL"] * 3


# The clock jumps.


@pytest.mark.long  # CI: `core/test_clock.py` has what reads it
@pytest.mark.parametrize(("hours", "kind"), [(1, "trial"), (-1, "trial"), (-1, "replicate")])
def test_a_clock_that_jumps_by_an_hour_changes_no_budget(tmp_path: Path, hours: int, kind: str) -> None:
    faults, log, jump = tmp_path / "faults", tmp_path / "log", tmp_path / "jump"
    faults.mkdir()
    (faults / "hang.0").touch()
    arguments = (*spy.QUICK, "study.n_trials=4", "study.timeout=90", "study.trial_timeout=6", "study.replicates=2")
    environment = {"SPY_CLOCK": f"{3600 * hours}@{jump}", "SPY_FAULTS": str(faults), "SPY_LOG": str(log)}
    with running(
        tmp_path, *arguments, SPY_EPOCH_S="0.9", **environment
    ) as process:  # far more than `event_loop._DRAIN_S` in all, also on a busy machine
        # Both workers have one: what is asked for after the jump would not feel it.
        until(lambda: sum((line["event"], line["kind"]) == ("begin", kind) for line in spy.noted(log)) >= 2)
        jump.touch()
        _, err = process.communicate(timeout=90)
    assert (process.returncode, err) == (0, "")
    found = settled(tmp_path, 4)
    assert Counter(row["reason"] for row in found) == {"": 3, "timeout": 1}
    assert all(float(row["total_s"]) >= 0 for row in found)
    seeds = "SELECT value_json FROM study_user_attributes WHERE key LIKE 'replicate/%'"
    replicates = [json.loads(row) for (row,) in query(tmp_path / "sweeps" / "smoke" / "study.db", seeds)]
    assert [row["state"] for row in replicates] == ["COMPLETE"] * 2
    assert all(0 < row["ended_ms"] - row["started_ms"] < 60_000 for row in replicates)


def test_a_clock_put_back_leaves_no_trial_that_ends_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Earlier(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return datetime.datetime.now(tz) - datetime.timedelta(hours=1)

    def script(task: Any) -> Iterator[Any]:
        yield lambda: monkeypatch.setattr("lstm_bench.sweep.store.cached.datetime", Earlier)
        yield fake.complete(task)

    with fake.opened(tmp_path, fake.config({"study.n_trials": 1}), script) as bench:
        bench.driver.search()
        (row,) = bench.study.rows()
        assert row["ended_ms"] == row["started_ms"]
        (written,) = fileio.read_rows(tmp_path / "trials.csv")
        assert written["ended_at"] == written["started_at"]


def test_a_clock_put_back_leaves_no_study_that_ends_before_it_begins(
    tmp_path: Path, unused_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "mlflow.db"
    store.write_bytes(unused_store.read_bytes())
    found = client.open_tracking({"name": "mlflow", "uri": f"sqlite:///{store}"}, experiment="smoke")
    found.start({"name": "smoke"})
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 3600 * 10**9)
    found.finish("FINISHED")
    assert found.warning is None
    ((started, ended),) = query(store, "SELECT start_time, end_time FROM runs")
    assert started == ended


# The file system is read-only.


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder on a file system that cannot be written to; files that are open stay as they are."""
    aside = folder.with_name("aside")  # nobody has a file open there, who would keep it writable
    aside.mkdir()
    with contextlib.ExitStack() as mounted:

        def mount(*options: str | Path) -> None:
            if subprocess.run(["mount", *options], capture_output=True).returncode:
                pytest.skip("only root may mount")
            if "--bind" in options:
                mounted.callback(subprocess.run, ["umount", "--lazy", options[-1]], check=True)

        mount("--bind", folder, aside)
        mount("-o", "remount,bind,ro", aside)
        mount("--bind", aside, folder)
        yield
    aside.rmdir()


def test_a_read_only_folder_is_said_in_one_line_before_anything_starts(finished: Path) -> None:
    before = bytes_of(finished)
    with read_only(finished / "sweeps"):
        code, out, err = spy.swept(finished, *spy.QUICK, "study.n_trials=5")
        assert (code, out, len(err.splitlines())) == (4, "", 1)
        assert f"{finished}/sweeps/smoke: cannot be written (Read-only file system)" in err
        code, out, err = spy.swept(finished, *spy.QUICK, "study.name=new")
        assert (code, out, len(err.splitlines())) == (4, "", 1)
    assert bytes_of(finished) == before


@pytest.mark.long
def test_a_folder_that_becomes_read_only_ends_the_sweep_and_the_same_command_goes_on(tmp_path: Path) -> None:
    log, arguments = tmp_path / "log", (*spy.QUICK, "study.n_trials=5", "launcher.recycle_after=1")
    with running(tmp_path, *arguments, SPY_LOG=str(log), SPY_EPOCH_S="0.2") as process:
        begun(log, 3)
        with read_only(tmp_path / "sweeps"):
            _, err = process.communicate(timeout=60)
    assert (process.returncode, len(err.splitlines())) == (4, 1)
    assert f"{tmp_path}/sweeps/smoke/" in err
    finished = {number for number, state in stored(tmp_path) if state == "COMPLETE"}
    assert finished
    assert orphans(tmp_path) == []
    code, _, err = spy.swept(tmp_path, *arguments)
    assert (code, err) == (0, "")
    assert {int(row["number"]) for row in settled(tmp_path, 5) if row["state"] == "COMPLETE"} > finished


# The driver is stopped, and goes on.


def test_a_stopped_driver_hears_first_what_ended_in_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = (*spy.QUICK, "study.n_trials=4", "study.trial_timeout=4")
    with running(tmp_path, *arguments, SPY_LOG=str(log), SPY_EPOCH_S="0.3") as process:
        begun(log, 2)
        # It is stopped while it writes an epoch down: what came in meanwhile it has not looked at.
        database = sqlite3.connect(tmp_path / "sweeps" / "smoke" / "study.db", isolation_level=None, timeout=60)
        with contextlib.closing(database):
            database.execute("BEGIN IMMEDIATE")
            time.sleep(0.6)
            process.send_signal(signal.SIGSTOP)
            database.execute("ROLLBACK")
        until(lambda: sum(line["event"] == "end" for line in spy.noted(log)) == 2)
        time.sleep(5)  # both ended long before their time was up
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert [row["state"] for row in settled(tmp_path, 4)] == ["COMPLETE"] * 4
    assert len([line for line in spy.noted(log) if line["event"] == "begin"]) == 4
