"""Studies on a real PostgreSQL server: restarted in mid-sweep, and driven by several at once."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fake
import postgres
import psycopg
import pytest
import spy
from conftest import Command
from optuna.exceptions import StorageInternalError
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, InternalError, OperationalError
from trainings import ragged_file, text_file

from lstm_bench.core import configuration, fileio
from lstm_bench.core.console import Display
from lstm_bench.core.errors import StorageError
from lstm_bench.study import search_space as spaces
from lstm_bench.sweep import session, workers
from lstm_bench.sweep.store import postgres as served
from lstm_bench.sweep.store.trials import TrialStore

ARGUMENTS = (*spy.QUICK, "storage=postgres", "study.replicates=2")
SHARED = (*ARGUMENTS, "study.shared=true")
MORTAL = (*SHARED, "storage.heartbeat=0.3", "storage.grace=3")


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.running() as running:
        yield running


@pytest.fixture
def database(server: postgres.Server) -> str:
    return server.database()


# Sweeps of the spy: real drivers, real workers.


def trials(server: postgres.Server, database: str) -> list[dict[str, Any]]:
    """Trials as the database has them: number, state, and what is stored with each."""
    if server.ask(database, "SELECT to_regclass('trials')") == [(None,)]:
        return []
    rows = server.ask(
        database,
        "SELECT t.number, t.state::text, json_object_agg(a.key, a.value_json) FROM trials t JOIN trial_user_attributes a"
        " USING (trial_id) GROUP BY t.number, t.state ORDER BY t.number",
    )
    return [
        {"number": number, "state": state, **{key: json.loads(value) for key, value in attrs.items()}}
        for number, state, attrs in rows
    ]


def owners(server: postgres.Server, database: str) -> int:
    """Drivers that run a trial at this moment."""
    return len({trial["owner"] for trial in trials(server, database) if trial["state"] == "RUNNING"})


def facts(server: postgres.Server, database: str, beginning: str) -> dict[str, Any]:
    """Facts of the study whose key begins so."""
    rows = server.ask(database, "SELECT key, value_json FROM study_user_attributes ORDER BY key")
    return {key: json.loads(value) for key, value in rows if key.startswith(beginning)}


def check(server: postgres.Server, database: str, n_trials: int, *folders: Path) -> list[dict[str, Any]]:
    """Holds a finished study to its totals, and the records in each folder to the database; returns the trials."""
    found = trials(server, database)
    states = Counter(trial["state"] for trial in found)
    assert states["RUNNING"] == 0
    assert states["COMPLETE"] == n_trials
    assert [trial["number"] for trial in found] == list(range(len(found)))
    complete = [trial["seed"] for trial in found if trial["state"] == "COMPLETE"]
    assert len(set(complete)) == n_trials, "a suggestion was trained to its end twice, or two are one"
    replicates = facts(server, database, "replicate/")
    assert sorted(row["seed"] for row in replicates.values()) == [0, 1]
    for folder in folders:
        study = folder / "sweeps" / "smoke"
        rows = fileio.read_rows(study / "trials.csv")
        assert [(row["number"], row["state"], row["seed"]) for row in rows] == [
            (str(trial["number"]), trial["state"], str(trial["seed"])) for trial in found
        ]
        assert [row["seed"] for row in fileio.read_rows(study / "replicates.csv")] == ["0", "1"]
        epochs = Counter(row["number"] for row in fileio.read_rows(study / "history.csv") if row["kind"] == "trial")
        assert all(epochs[str(trial["number"])] == 3 for trial in found if trial["state"] == "COMPLETE")
    return found


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Waits for something to be so."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.1)
    return found


class Sweeps:
    """Sweeps on one database, each in a folder of its own; what is left of them is ended with the test."""

    def __init__(self, tmp_path: Path, url: str):
        self.tmp_path, self.url = tmp_path, url
        self.log = tmp_path / "log"
        self.running: list[subprocess.Popen[str]] = []

    def folder(self, name: str) -> Path:
        path = self.tmp_path / name
        path.mkdir(exist_ok=True)
        return path

    def start(self, name: str, *arguments: str, epoch_s: float = 0.1) -> subprocess.Popen[str]:
        environment = {"SPY_EPOCH_S": str(epoch_s), "SPY_LOG": str(self.log), "LSTM_BENCH_STORAGE": self.url}
        self.running.append(spy.start(self.folder(name), *arguments, **environment))
        return self.running[-1]

    def ended(self, *processes: subprocess.Popen[str]) -> list[str]:
        """Waits for sweeps that end well; what they printed."""
        said = [process.communicate(timeout=280) for process in processes]
        assert [process.returncode for process in processes] == [0] * len(processes), said
        return [out for out, _ in said]

    def begun(self) -> list[int]:
        """Seeds of the trials that workers have begun."""
        return [line["seed"] for line in spy.noted(self.log) if line["event"] == "begin" and line["kind"] == "trial"]


@pytest.fixture
def sweeps(tmp_path: Path, server: postgres.Server, database: str) -> Iterator[Sweeps]:
    made = Sweeps(tmp_path, server.url(database))
    yield made
    for process in made.running:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.communicate(timeout=30)


@pytest.mark.long
def test_a_sweep_killed_on_a_server_goes_on_at_once_and_to_the_exact_total(
    server: postgres.Server, database: str, sweeps: Sweeps
) -> None:
    arguments = (*ARGUMENTS, "study.n_trials=8")
    first = sweeps.start("a", *arguments)
    until(lambda: len(sweeps.begun()) > 3)
    first.kill()
    first.communicate(timeout=30)
    (said,) = sweeps.ended(sweeps.start("a", *arguments))  # long before a grace of 30 s is over
    assert re.search("trials? that a dead driver left running (is|are) queued again", said)
    found = check(server, database, 8, sweeps.folder("a"))
    assert 1 <= sum(trial.get("reason") == "driver_died" for trial in found) <= 2


@pytest.mark.long
@pytest.mark.parametrize(("write", "name"), [(ragged_file, "own.npz"), (text_file, "own.csv")])
def test_sequences_of_unequal_length_are_trained_from_a_server_s_study(
    server: postgres.Server, database: str, command: Command, tmp_path: Path, write: Any, name: str
) -> None:
    small = (*write(tmp_path / name), "tracking=none", "storage=postgres")
    done = command("sweep", *small, LSTM_BENCH_STORAGE=server.url(database))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "sweeps" / "smoke"
    found = [row for name in ("trials", "replicates") for row in fileio.read_rows(folder / f"{name}.csv")]
    assert [0 < float(row["padding_share"]) < 0.4 and float(row["padding_s"]) > 0 for row in found] == [True] * 2
    assert {trial["state"] for trial in trials(server, database)} == {"COMPLETE"}


@pytest.mark.slow
def test_a_sweep_outlasts_a_server_that_is_restarted_and_one_that_is_down_for_ten_seconds(
    server: postgres.Server, database: str, sweeps: Sweeps
) -> None:
    sweep = sweeps.start("a", *ARGUMENTS, "study.n_trials=12", epoch_s=0.2)
    until(lambda: len(sweeps.begun()) > 2)
    server.stop("immediate")
    server.start()
    until(lambda: len(sweeps.begun()) > 6)
    stopped = time.monotonic()
    server.stop("immediate")
    time.sleep(10)
    server.start()
    (said,) = sweeps.ended(sweep)
    assert said.count("database away, waiting for up to 60 s") in (1, 2)  # of the restart it may not have noticed
    assert "back after" in said
    found = check(server, database, 12, sweeps.folder("a"))
    assert len(found) == 12  # nothing was run again
    assert sorted(sweeps.begun()) == sorted(trial["seed"] for trial in found)
    ends = [line["time"] for line in spy.noted(sweeps.log) if line["event"] == "end"]
    assert any(stopped + 0.1 < end < stopped + 9 for end in ends)  # the workers went on meanwhile


@pytest.mark.long  # CI has a server that is away for a while, and one that cannot be reached
def test_a_server_that_stays_away_ends_the_sweep_and_the_same_command_goes_on(
    server: postgres.Server, database: str, sweeps: Sweeps
) -> None:
    arguments = (*ARGUMENTS, "study.n_trials=6")
    sweep = sweeps.start("a", *arguments, "storage.patience=1.5")
    until(lambda: len(sweeps.begun()) > 1)
    server.stop("immediate")
    try:
        out, err = sweep.communicate(timeout=100)
    finally:
        server.start()
    assert sweep.returncode == 4
    assert out.count("database away, waiting for up to 1.5 s") == 1  # not once more for each task in flight
    (line,) = err.strip().splitlines()
    assert "then give the same command again" in line and postgres.PASSWORD not in out + err
    sweeps.ended(sweeps.start("a", *arguments))
    check(server, database, 6, sweeps.folder("a"))


@pytest.mark.slow
def test_two_drivers_share_a_study_to_the_exact_total(server: postgres.Server, database: str, sweeps: Sweeps) -> None:
    arguments = (*SHARED, "study.n_trials=30", "kernel=auto", "kernel.probe=true", "kernel.remember=false")
    said = sweeps.ended(*[sweeps.start(name, *arguments) for name in "ab"])
    found = check(server, database, 30, sweeps.folder("a"), sweeps.folder("b"))
    assert len(found) == 30
    assert sorted(sweeps.begun()) == sorted(trial["seed"] for trial in found)  # each was trained once
    assert len({trial["owner"] for trial in found}) == 2
    assert all("done" in words and "30 complete" in words for words in said)
    seeds = [line["seed"] for line in spy.noted(sweeps.log) if line["event"] == "begin" and line["kind"] == "replicate"]
    assert sorted(seeds) == [0, 1]
    # What is measured once was measured by one: each arm in each shape, and each arm of the winner.
    (kernels,), (probe,) = facts(server, database, "kernels").values(), facts(server, database, "probe/").values()
    probes = [line for line in spy.noted(sweeps.log) if line["event"] == "probe"]
    measured = sum(len(corner["measured"]) for corner in kernels)
    assert len(probes) == measured + sum(row.get("train_samples_per_s") is not None for row in probe)
    for name in "ab":
        rows = fileio.read_rows(sweeps.folder(name) / "sweeps" / "smoke" / "kernels.csv")
        assert [row["kernel"] for row in rows] == [row["kernel"] for row in probe]
    assert facts(server, database, "unsettled") == {"unsettled": False}
    (again,) = sweeps.ended(sweeps.start("a", *arguments))
    assert "nothing to do" in again


@pytest.mark.long  # CI has it without processes, below
def test_what_a_killed_driver_leaves_is_done_by_the_other_in_mid_sweep(
    server: postgres.Server, database: str, sweeps: Sweeps
) -> None:
    arguments = (*MORTAL, "study.n_trials=10")
    doomed, other = sweeps.start("a", *arguments, epoch_s=0.3), sweeps.start("b", *arguments, epoch_s=0.3)
    until(lambda: owners(server, database) == 2)
    doomed.kill()
    doomed.communicate(timeout=30)
    (said,) = sweeps.ended(other)
    assert "trials of a driver that died are queued again" in said
    found = check(server, database, 10, sweeps.folder("b"))
    died = [trial for trial in found if trial.get("reason") == "driver_died"]
    assert 1 <= len(died) <= 2 and len(found) == 10 + len(died)
    # Its folder has all rows once the command is given there again.
    (said,) = sweeps.ended(sweeps.start("a", *arguments))
    assert "nothing to do" in said
    check(server, database, 10, sweeps.folder("a"))


@pytest.mark.long  # CI has it without processes, below
def test_a_driver_halted_beyond_the_grace_comes_back_and_no_trial_counts_twice(
    server: postgres.Server, database: str, sweeps: Sweeps
) -> None:
    arguments = (*MORTAL, "study.n_trials=20")
    halted, other = sweeps.start("a", *arguments, epoch_s=0.3), sweeps.start("b", *arguments, epoch_s=0.3)
    until(lambda: owners(server, database) == 2)
    halted.send_signal(signal.SIGSTOP)  # its workers go on
    until(lambda: any(trial.get("reason") == "driver_died" for trial in trials(server, database)))
    halted.send_signal(signal.SIGCONT)
    said, _ = sweeps.ended(halted, other)
    assert "this driver was given up, and begins anew" in said
    assert "another driver has taken it over, this result does not count" in said
    found = check(server, database, 20, sweeps.folder("a"), sweeps.folder("b"))
    assert len({trial["owner"] for trial in found}) == 3  # one of them under two names


@pytest.mark.long
def test_two_drivers_make_one_picture_in_mlflow(
    server: postgres.Server, database: str, sweeps: Sweeps, tmp_path: Path, unused_store: Path
) -> None:
    shutil.copy(unused_store, tmp_path / "mlflow.db")
    arguments = (*SHARED, "study.n_trials=10", "tracking=mlflow", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    sweeps.ended(*[sweeps.start(name, *arguments, epoch_s=0.4) for name in "ab"])
    found = check(server, database, 10, sweeps.folder("a"), sweeps.folder("b"))
    assert len({trial["owner"] for trial in found}) == 2
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        runs = store.execute("SELECT name, status, lifecycle_stage FROM runs").fetchall()
        summary = dict(store.execute("SELECT key, value FROM latest_metrics WHERE key LIKE 'trials_%'").fetchall())
    assert Counter(name.split(" of ")[0] for name, _, _ in runs) == Counter(
        ["smoke", *(f"trial {n}" for n in range(10)), "replicate seed 0", "replicate seed 1"]
    )
    assert {(status, stage) for _, status, stage in runs} == {("FINISHED", "active")}
    assert summary == {"trials_complete": 10, "trials_pruned": 0, "trials_failed": 0}


def test_a_wrong_password_is_one_line_without_it(server: postgres.Server, database: str, tmp_path: Path) -> None:
    wrong = "WR0NG+pass"
    code, out, err = spy.swept(tmp_path, *ARGUMENTS, LSTM_BENCH_STORAGE=server.url(database, wrong))
    assert code == 4
    (line,) = err.strip().splitlines()
    assert "password authentication failed" in line
    assert wrong not in out + err
    assert all(wrong.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


# The study alone, several of it in this process.

Opened = Callable[..., TrialStore]
MANY_SIGNS = {"storage.heartbeat": 0.2, "storage.grace": 10}


@pytest.fixture
def opened(server: postgres.Server, database: str, tmp_path: Path) -> Iterator[Opened]:
    """Opens the study as another driver would, in another folder."""
    made: list[TrialStore] = []
    fake.config()  # Hydra composes once, not in several threads

    def open_one(name: str = "a", **values: Any) -> TrialStore:
        usual = {"study.shared": True, **MANY_SIGNS}
        config = fake.config({**usual, "storage.url": server.url(database), **values})
        study = fake.study(tmp_path / name, config)
        assert isinstance(study.coordinator, served.Shared)
        made.append(study)
        return study

    yield open_one
    for study in made:
        study.close()


def score(study: TrialStore, seed: int, params: dict[str, Any]) -> dict[str, Any]:
    config = configuration.replaced(study.config, params)
    return fake.complete({"kind": "trial", "kernel": "generic", "seed": seed, "config": config})


def silent(study: TrialStore) -> None:
    """Lets a driver have been silent for an hour, on a server that has been up for longer than the grace."""
    study.coordinator.heartbeats.stop()
    assert study.coordinator.heartbeats._thread is not None
    study.coordinator.heartbeats._thread.join()  # it may be in the middle of a sign of life
    up = text("SELECT clock_timestamp() - pg_postmaster_start_time() > make_interval(secs => :grace)")
    with study._engine.connect() as connection:
        until(lambda: connection.scalar(up, {"grace": study.coordinator._grace_s}))
    with study._engine.begin() as connection:
        connection.execute(
            text("UPDATE lstm_bench_drivers SET seen = seen - interval '1 hour' WHERE id = :id"),
            {"id": study.coordinator.heartbeats.id},
        )


def test_drivers_that_ask_all_at_once_claim_each_slot_of_the_budget_once(opened: Opened) -> None:
    studies = [opened(name, **{"study.n_trials": 25}) for name in "abcd"]
    faults: list[BaseException] = []

    def work(study: TrialStore) -> None:
        try:
            while asked := study.ask():
                result = {"state": "FAIL", "reason": "worker_died"} if asked.seed % 5 == 0 else None
                study.tell(asked.number, result or score(study, asked.seed, asked.params))
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(study,)) for study in studies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not faults
    counts = studies[0].counts()
    assert counts["complete"] + counts["failed"] == 25 and counts["left"] == counts["running"] == 0
    found = studies[0].trials()
    first = [trial.user_attrs["seed"] for trial in found if trial.user_attrs.get("retry_of") is None]
    assert len(set(first)) == len(first) == 25  # each suggestion is another point
    assert len({tuple(trial.params.values()) for trial in found}) == 25
    retried = [trial.user_attrs["retry_of"] for trial in found if trial.user_attrs.get("retry_of") is not None]
    assert len(set(retried)) == len(retried) > 0  # each failure is run again by one driver


def test_a_driver_given_up_is_not_heard_of_what_others_run_again(opened: Opened) -> None:
    a, b = opened("a"), opened("b")
    lost, kept = a.ask(), b.ask()
    assert lost is not None and kept is not None
    silent(a)
    again = b.ask()
    assert again is not None and (again.retry_of, again.seed) == (lost.number, lost.seed)
    assert a.report(lost.number, 1, 0.5)  # it is to stop
    assert not a.tell(lost.number, score(a, lost.seed, lost.params))
    assert b.tell(again.number, score(b, again.seed, again.params))
    states = [(trial.number, trial.state.name) for trial in b.trials()]
    assert states == [(lost.number, "FAIL"), (kept.number, "RUNNING"), (again.number, "COMPLETE")]
    assert a.ask() is not None  # as a new driver
    assert len(a.coordinator.ids) == 2


def test_a_driver_given_up_keeps_what_nobody_has_taken_over(opened: Opened) -> None:
    a, b = opened("a"), opened("b")
    asked = a.ask()
    assert asked is not None
    silent(a)
    assert b.claim(["anything"])  # whoever does anything declares it dead
    a.claim(["something"])  # and it comes back
    assert b.repair() == 0
    assert a.tell(asked.number, score(a, asked.seed, asked.params))


def test_a_server_that_was_down_for_longer_than_the_grace_makes_nobody_dead(
    server: postgres.Server, opened: Opened
) -> None:
    a, b = opened("a"), opened("b")
    asked = a.ask()
    assert asked is not None
    silent(a)
    server.stop("immediate")
    server.start()
    assert b.repair() == 0
    assert a.tell(asked.number, score(a, asked.seed, asked.params))


def test_a_driver_halted_in_its_transaction_holds_up_nobody(opened: Opened) -> None:
    a, b = opened("a", **{"storage.grace": 1.5}), opened("b")
    inside, over, done = threading.Event(), threading.Event(), list[int]()

    def work() -> int:
        if not inside.is_set():
            inside.set()
            over.wait(60)
        return a.repair()

    thread = threading.Thread(target=lambda: done.append(a.coordinator.alone(work)))
    thread.start()
    assert inside.wait(30)
    assert b.ask() is not None  # the server threw the other out
    over.set()
    thread.join(60)
    assert done == [0]  # it tried again


def test_a_driver_halted_at_a_sign_of_life_or_a_report_holds_up_nobody(opened: Opened) -> None:
    limits = {"storage.grace": 1.5, "storage.patience": 3}
    a, b = opened("a", **limits), opened("b", **limits)
    asked = a.ask()
    assert asked is not None
    trial_id = a._trial_id(asked.number)
    silent(a)
    with contextlib.suppress(InternalError, OperationalError), a._engine.begin() as halted:
        assert a.coordinator.heartbeats.heartbeat(halted)  # not yet committed
        halted.execute(text("UPDATE trials SET state = 'RUNNING' WHERE trial_id = :id"), {"id": trial_id})
        again = b.ask()  # the server threw the other out
    assert again is not None and again.retry_of == asked.number
    assert not a.tell(asked.number, score(a, asked.seed, asked.params))  # it comes back
    assert a.ask() is not None


@pytest.mark.parametrize("connections", [1, 3])
def test_every_session_has_its_limit(opened: Opened, connections: int) -> None:
    a = opened("a", **{"storage.grace": 7.5})
    with contextlib.ExitStack() as stack:
        for _ in range(connections):
            session = stack.enter_context(a._engine.connect())
            session.rollback()
            assert session.scalar(text("SHOW idle_in_transaction_session_timeout")) == "7500ms"


@pytest.mark.parametrize(
    ("raised", "orig", "is_away"),
    [
        (OperationalError, psycopg.OperationalError("connection failed: Connection refused"), True),
        (OperationalError, psycopg.errors.CannotConnectNow("the database system is starting up"), True),
        (InternalError, psycopg.errors.IdleInTransactionSessionTimeout("terminating connection"), True),
        (InternalError, psycopg.errors.ReadOnlySqlTransaction("read-only"), False),
        (OperationalError, psycopg.OperationalError('FATAL: password authentication failed for user "me"'), False),
        (IntegrityError, psycopg.errors.UniqueViolation("duplicate key"), False),
    ],
)
def test_what_is_waited_for_and_what_is_not(raised: Any, orig: psycopg.Error, is_away: bool) -> None:
    error = StorageInternalError("in a commit")
    error.__cause__ = raised("", {}, orig)
    assert served.away(error) is is_away


def disconnected() -> OperationalError:
    return OperationalError("", {}, Exception("server closed the connection unexpectedly"), connection_invalidated=True)


def lose_answers(study: TrialStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lets the answer to every other transaction be lost; returns what was lost so far."""
    transaction, lost = study.coordinator._transaction, list[str]()
    turn = iter(range(1000))

    def lossy(work: Callable[[], Any]) -> Any:
        done = transaction(work)
        if next(turn) % 2 == 0:
            lost.append("an answer")
            study.coordinator._stale = True
            raise disconnected()
        return done

    monkeypatch.setattr(study.coordinator, "_transaction", lossy)
    monkeypatch.setattr(served, "_AGAIN_S", 0)
    return lost


def test_lost_answers_repeat_nothing(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    study = opened()
    lost = lose_answers(study, monkeypatch)
    while asked := study.ask():
        assert study.tell(asked.number, score(study, asked.seed, asked.params))
    assert [trial.state.name for trial in study.trials()] == ["COMPLETE"] * 6
    assert study.put("replicate/x/0", {"seed": 0, "loss": float("nan")})
    assert len(lost) == 14  # six times two, the last question, and what was put


def test_what_fails_in_the_middle_of_a_question_leaves_no_trial(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opened()
    trial_id, broken = study._trial_id, [True]

    def breaks(number: int) -> int:
        if broken and broken.pop():
            raise disconnected()
        return trial_id(number)

    monkeypatch.setattr(study, "_trial_id", breaks)  # after Optuna has made its trial
    asked = study.ask()
    assert not broken and asked is not None and asked.number == 0
    assert [trial.state.name for trial in study.trials()] == ["RUNNING"]
    assert study.counts()["running"] == 1


def test_work_is_claimed_by_one_driver_and_taken_over_from_a_dead_one(opened: Opened) -> None:
    a, b = opened("a"), opened("b")
    assert a.claim(["x", "y"]) == ["x", "y"]
    assert a.claim(["x"]) == ["x"]
    assert b.claim(["x", "y", "z"]) == ["z"]
    silent(a)
    assert b.claim(["x"]) == ["x"]
    assert not a.put("x", 1)
    assert b.put("x", 2)
    assert not a.put("x", 1)
    assert a.put("y", 3)
    assert (a.get("x"), b.get("y")) == (2, 3)


TWO = {"study.n_trials": 2, "study.replicates": 2}


@contextlib.contextmanager
def driving(server: postgres.Server, database: str, tmp_path: Path) -> Iterator[fake.TaskRunner]:
    """A driver of two trials and two seeds."""
    usual = {"study.shared": True, **MANY_SIGNS, "storage.url": server.url(database)}
    with fake.opened(tmp_path / "b", fake.config({**usual, **TWO})) as bench:
        yield bench


@contextlib.contextmanager
def confirming(server: postgres.Server, database: str, tmp_path: Path) -> Iterator[fake.TaskRunner]:
    """A driver whose search is over."""
    with driving(server, database, tmp_path) as bench:
        bench.driver.search()
        yield bench


def test_the_last_trial_of_another_driver_is_waited_for(
    opened: Opened, server: postgres.Server, database: str, tmp_path: Path
) -> None:
    with driving(server, database, tmp_path) as bench:
        other = opened("a", **TWO)
        asked = other.ask()
        assert asked is not None
        result = score(other, asked.seed, asked.params)
        threading.Timer(1.5, other.tell, (asked.number, result)).start()
        bench.driver.search()
        assert bench.study.counts()["complete"] == 2
        assert len(bench.launcher.submitted) == 1


def test_the_last_trial_of_a_driver_that_died_is_taken_over(
    opened: Opened, server: postgres.Server, database: str, tmp_path: Path
) -> None:
    with driving(server, database, tmp_path) as bench:
        other = opened("a", **TWO)
        asked = other.ask()
        assert asked is not None
        threading.Timer(1.5, silent, (other,)).start()
        bench.driver.search()
        assert bench.study.counts()["complete"] == 2
        assert asked.seed in [task["seed"] for task in bench.launcher.submitted]


def test_what_another_driver_measures_is_waited_for_and_not_measured_again(
    opened: Opened, server: postgres.Server, database: str, tmp_path: Path
) -> None:
    def measure() -> list[str]:
        raise AssertionError("measured twice")

    with driving(server, database, tmp_path) as bench:
        other = opened("a", **TWO)
        assert other.claim(["kernels"])
        threading.Timer(1.5, other.set, ("kernels", ["measured"])).start()
        assert bench.kernels.once("kernels", measure) == ["measured"]


@pytest.mark.parametrize("late", [False, True])
def test_what_was_measured_by_a_driver_given_up_replaces_nothing(
    opened: Opened, server: postgres.Server, database: str, tmp_path: Path, late: bool
) -> None:
    with driving(server, database, tmp_path) as bench:
        other, measured = opened("a", **TWO), list[str]()

        def measure() -> list[str]:
            assert not measured, "measured twice"
            measured.append("here")
            silent(bench.study)  # type: ignore[arg-type]
            assert other.claim(["kernels"])
            if late:
                threading.Timer(1.5, other.put, ("kernels", ["by the other"])).start()
            else:
                other.put("kernels", ["by the other"])
            return measured

        assert bench.kernels.once("kernels", measure) == ["by the other"]
        assert other.get("kernels") == ["by the other"]


def test_a_parent_run_is_opened_by_one_driver_at_a_time(
    opened: Opened, server: postgres.Server, database: str, tmp_path: Path
) -> None:
    with driving(server, database, tmp_path) as bench:
        other, config = opened("a", **TWO), dict(bench.driver.config)
        sweep = session.Session(config, bench.driver.space, bench.folder, [], bench.driver.display, "here")
        seen: list[list[str]] = []
        live = types.SimpleNamespace(start=lambda: seen.append(other.claim(["tracking"])), wait_open=lambda *_: None)
        sweep._start_tracking(bench.study, bench.loop, live)  # type: ignore[arg-type]
        assert seen == [[]]
        assert other.claim(["tracking"])


class Notes:
    """A tracking that notes what it is told."""

    uri, address, known = "http://127.0.0.1:9", "notes", frozenset[object]()
    warning = error = was = None
    added = 0
    slow_s = 0.0  # that each call lasts
    made: ClassVar[list[Notes]] = []

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.made.append(self)

    def __getattr__(self, name: str) -> Callable[..., None]:
        def tell(*given: Any, **_: Any) -> None:
            time.sleep(self.slow_s)
            self.told.append((name, given[0] if given else None))

        return tell

    def all(self, name: str) -> list[Any]:
        return [given for told, given in self.told if told == name]


Ran = Callable[..., tuple[Notes, fake.FakeLauncher]]


@pytest.fixture
def ran(server: postgres.Server, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Runs a session of two trials and two seeds in this process: what tracking and workers were told."""

    def answer(task: Any) -> Any:
        return iter([{"state": "COMPLETE", "layers": ["lstm"]}]) if task["kind"] == "check" else fake.train(task)

    truly = session.trials.opened

    def run(**values: Any) -> tuple[Notes, fake.FakeLauncher]:
        notes, launcher = Notes(), fake.FakeLauncher(answer)
        usual = {**TWO, "study.shared": True, "storage.url": server.url(database), "kernel.probe": False}
        config = fake.config({**usual, **values})
        monkeypatch.setattr(workers, "LocalLauncher", lambda *_, **__: launcher)
        monkeypatch.setattr(session, "open_tracking", lambda *_, **__: notes)
        monkeypatch.setattr(session.trials, "opened", lambda c, s, f, _, say, made: truly(c, s, f, fake.SHA256, say))
        display = Display("val_accuracy", 3)
        session.Session(config, spaces.parse(config), tmp_path / "b", [], display, "here").run()
        return notes, launcher

    return run


def test_a_driver_out_of_time_leaves_the_confirmation_to_the_last_one(
    opened: Opened, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    def seeds(launcher: fake.FakeLauncher) -> list[int]:
        return [task["seed"] for task in launcher.submitted if task["kind"] == "replicate"]

    other = opened("a", **TWO)
    asked = other.ask()
    assert asked is not None and other.tell(asked.number, score(other, asked.seed, asked.params))
    _, first = ran(**{"study.timeout": 1e-9})
    assert seeds(first) == []
    assert "the other drivers go on, and the last of them confirms the winner" in capsys.readouterr().out
    other.close()
    _, last = ran(**{"study.timeout": 1e-9})
    assert seeds(last) == [0, 1]


@pytest.mark.parametrize("end", [None, "interrupted"])
def test_a_driver_out_of_time_does_not_confirm_while_the_last_trial_runs_or_is_queued(
    opened: Opened, ran: Ran, capsys: pytest.CaptureFixture[str], end: str | None
) -> None:
    other = opened("a", **TWO)
    for last in (False, True):
        asked = other.ask()
        assert asked is not None
        if not last:
            other.tell(asked.number, score(other, asked.seed, asked.params))
        elif end:
            other.tell(asked.number, {"state": "FAIL", "reason": end})
    assert other.counts()["left"] == 0
    _, launcher = ran(**{"study.timeout": 1e-9})
    assert [task["kind"] for task in launcher.submitted] == ["check"]
    assert "the other drivers go on, and the last of them confirms the winner" in capsys.readouterr().out


def test_the_last_driver_ends_the_parent_run_and_logs_what_is_missing(opened: Opened, ran: Ran) -> None:
    other = opened("a", **TWO)
    asked = other.ask()
    assert asked is not None and other.tell(asked.number, score(other, asked.seed, asked.params))
    first, _ = ran()
    assert [row["number"] for row in first.all("log_trial")] == [1]  # its own
    assert len(first.all("start")) == 1 and not first.all("finish") and not first.all("log_summary")
    other.close()
    last, _ = ran()
    assert [row["number"] for row in last.all("log_trial")] == [0, 1]  # what is there already is left alone
    assert last.all("finish") == ["FINISHED"] and len(last.all("log_summary")) == 1


def test_a_driver_that_leaves_has_told_mlflow_what_the_last_one_would_tell_again(
    opened: Opened, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = opened("a", **TWO)
    asked = other.ask()
    assert asked is not None and other.tell(asked.number, score(other, asked.seed, asked.params))
    leave, told = TrialStore.leave, list[int]()
    monkeypatch.setattr(Notes, "slow_s", 0.4)
    monkeypatch.setattr(Notes, "made", [])

    def leaving(study: TrialStore) -> bool:
        told.append(len(Notes.made[0].told))
        return leave(study)

    monkeypatch.setattr(TrialStore, "leave", leaving)
    notes, _ = ran()
    assert [len(notes.all(name)) for name in ("log_trial", "log_replicate")] == [1, 2]  # its own
    assert {*told} == {len(notes.told)}  # all before it left, nothing after


def test_what_a_driver_that_died_was_to_measure_is_measured(
    opened: Opened, server: postgres.Server, database: str, tmp_path: Path
) -> None:
    with driving(server, database, tmp_path) as bench:
        other = opened("a", **TWO)
        assert other.claim(["probe/x"])
        threading.Timer(1.5, silent, (other,)).start()
        assert bench.kernels.once("probe/x", lambda: ["by the other"]) == ["by the other"]


def test_a_seed_that_another_driver_trains_is_waited_for(
    opened: Opened, server: postgres.Server, database: str, tmp_path: Path
) -> None:
    with confirming(server, database, tmp_path) as bench:
        (winner,) = bench.confirmation.candidates()
        other, key = opened("a", **TWO), f"replicate/{winner.digest}/0"
        assert other.claim([key]) == [key]
        done = threading.Timer(1.5, other.put, (key, {"seed": 0, "state": "COMPLETE", "history": []}))
        done.start()
        bench.confirmation.run([winner])
        assert [task["seed"] for task in bench.launcher.submitted if task["kind"] == "replicate"] == [1]
        assert [found["seed"] for found in bench.confirmation.replicates(winner.digest)] == [0, 1]


def test_a_seed_of_a_driver_that_died_is_taken_over(
    opened: Opened, server: postgres.Server, database: str, tmp_path: Path
) -> None:
    with confirming(server, database, tmp_path) as bench:
        (winner,) = bench.confirmation.candidates()
        other, key = opened("a", **TWO), f"replicate/{winner.digest}/0"
        assert other.claim([key]) == [key]
        threading.Timer(1.5, silent, (other,)).start()
        bench.confirmation.run([winner])
        trained = [task["seed"] for task in bench.launcher.submitted if task["kind"] == "replicate"]
        assert sorted(trained) == [0, 1]
        assert not other.put(key, {"seed": 0, "late": True})


def test_drivers_wait_for_the_trials_of_others_and_the_last_one_concludes(opened: Opened) -> None:
    a, b = opened("a", **{"study.n_trials": 1}), opened("b", **{"study.n_trials": 1})
    asked = a.ask()
    assert asked is not None and b.ask() is None
    assert b.pending() and not a.pending()
    a.tell(asked.number, {"state": "FAIL", "reason": "interrupted"})
    assert b.pending()
    again = b.ask()
    assert again is not None and b.tell(again.number, score(b, again.seed, again.params))
    assert not a.pending() and not b.pending()
    assert a.leave()
    assert not b.leave()


def test_turns_are_taken_one_after_the_other(opened: Opened) -> None:
    a, b = opened("a"), opened("b")
    with a.turn("tracking"):
        assert b.claim(["tracking"]) == []
    with b.turn("tracking"):
        assert a.claim(["tracking"]) == []


def test_nobody_who_wants_to_end_waits_for_his_turn(opened: Opened) -> None:
    a, b = opened("a"), opened("b", **{"storage.grace": 60})
    wants_to_end = threading.Event()
    b.coordinator.interrupted = wants_to_end.is_set
    with a.turn("tracking"):
        threading.Timer(0.5, wants_to_end.set).start()
        since = time.monotonic()
        with b.turn("tracking"):
            assert time.monotonic() - since < 5
        assert wants_to_end.is_set()
        assert b.claim(["tracking"]) == []  # it was not his


def test_one_that_does_not_share_is_alone(opened: Opened) -> None:
    alone = opened("a", **{"study.shared": False})
    for shared in (False, True):
        with pytest.raises(
            StorageError, match=rf"fake is running as pid {os.getpid()} on .* since .*, last seen"
        ) as caught:
            opened("b", **{"study.shared": shared})
        assert "study.shared=true to all" in str(caught.value)
    asked = alone.ask()
    silent(alone)
    other = opened("b", **{"study.shared": False})
    assert asked is not None and other.repair() == 1
    with pytest.raises(StorageError, match="fake is running as"):
        alone.tell(asked.number, score(alone, asked.seed, asked.params))


def test_an_earlier_driver_of_the_same_folder_is_dead_without_any_grace(opened: Opened) -> None:
    first = opened("a", **{"study.shared": False, "storage.grace": 1000})
    assert first.ask() is not None
    again = opened("a", **{"study.shared": False, "storage.grace": 1000})
    assert again.repair() == 1


def test_studies_opened_at_once_on_an_empty_database_are_one(opened: Opened, server: postgres.Server) -> None:
    empty, faults = server.database(), list[BaseException]()
    made: list[TrialStore] = []

    def open_one(name: str) -> None:
        try:
            made.append(opened(name, **{"storage.url": server.url(empty)}))
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=open_one, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not faults
    assert len({study.get("id") for study in made}) == 1


def test_a_server_s_database_of_another_optuna_is_one_line(opened: Opened) -> None:
    with opened("a")._engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v2.6.0.a'"))
    with pytest.raises(
        StorageError, match=r"/\w+: a database of another version of Optuna\. The runtime optuna"
    ) as caught:
        opened("b")
    assert postgres.PASSWORD not in str(caught.value)


def test_a_plain_address_means_the_driver_of_the_extra(server: postgres.Server, database: str, tmp_path: Path) -> None:
    plain = server.url(database).replace("+psycopg", "")
    study = fake.study(tmp_path, fake.config({"storage.url": plain}))
    assert study._engine.dialect.driver == "psycopg"
    assert study.where == plain.replace(postgres.PASSWORD, "***")
    study.close()


def test_a_missing_driver_is_one_line_that_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"pip install 'lstm-bench\[postgres\]'"):
        fake.study(tmp_path, fake.config({"storage.url": "postgresql+psycopg2://me:S3CRET@127.0.0.1:1/x"}))
