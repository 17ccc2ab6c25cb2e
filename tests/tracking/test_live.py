"""MLflow follows from a thread: whatever the store does, a sweep is not held up, and nothing is lost that can be told."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import itertools
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import spy

from lstm_bench.core import fileio
from lstm_bench.core.errors import StorageError
from lstm_bench.tracking import live, store

SETTINGS = {"patience": 30, "retry_s": 0.01, "retry_most_s": 0.04}
SERVER = "http://127.0.0.1:1"


class Follower:
    """A follower that takes notes, and fails when its script says so.

    Args:
      fail: Called with "look" or how the study ends; returns or raises what goes wrong, None when nothing does.
    """

    def __init__(self, fail: Callable[[str], Exception | None] = lambda _: None, uri: str | None = SERVER):
        self.fail, self.uri, self.address = fail, uri, str(uri)
        self.error: Exception | None = None
        self.told: list[str] = []
        self.times: list[float] = []
        self.refused: set[object] = set()
        self.threads: set[str] = set()
        self.own = False

    def look(self) -> None:
        self.conclude("look")

    def conclude(self, what: str) -> None:
        self.threads.add(threading.current_thread().name)
        self.times.append(time.monotonic())
        self.error = self.fail(what)
        if isinstance(self.error, StorageError):
            raise self.error
        if self.error is None:
            self.told.append(what)

    def close(self) -> None:
        self.told.append("closed")


@contextlib.contextmanager
def followed(follower: Follower, shared: bool = False, **settings: Any) -> Iterator[Any]:
    """A thread that was started, and ends whatever the test does."""
    later: list[Callable[[], None]] = []
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "Follower", lambda *_, own, **__: setattr(follower, "own", own) or follower)
        patch.setattr(live, "LOOK_S", 0.01)
        made = live.Live(
            Path(),
            follower,  # type: ignore[arg-type]
            {**SETTINGS, **settings},
            lambda *_: [],
            shared=shared,
            later=later.append,
            say=said.append,
            remedy="sync",
        )
        made.start()
        yield made, later, said
        with made._changed:
            made._stopped = True
            made._changed.notify_all()


def down(times: int) -> Callable[[str], Exception | None]:
    """Fails so often, then no more."""
    left = [times]

    def fail(_: str) -> Exception | None:
        left[0] -= 1
        return ConnectionError("the store is down") if left[0] >= 0 else None

    return fail


def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it never came to that"
        time.sleep(0.005)


def test_another_thread_looks_again_and_again_and_at_the_end_for_the_last_time() -> None:
    follower = Follower()
    with followed(follower) as (made, _, said):
        until(lambda: len(follower.told) >= 3)
        made.finish("FINISHED")
        made._thread.join(30)
    assert follower.told[-2:] == ["FINISHED", "closed"] and {*follower.told[:-2]} == {"look"}
    assert follower.threads == {"tracking"}
    assert (said, made.warning, follower.own) == ([], None, False)


def test_without_a_store_there_is_no_thread() -> None:
    follower = Follower(uri=None)
    with followed(follower) as (made, _, _):
        made.leave("FINISHED")
        made.finish("FINISHED")
    assert (follower.told, made.warning) == ([], None)


def test_an_outage_is_said_once_and_so_is_its_end() -> None:
    follower = Follower(down(7))
    with followed(follower) as (made, later, said):
        until(lambda: follower.told)
        for work in list(later):
            work()
        made.finish("FINISHED")
    assert len(follower.times) >= 8
    assert made.warning is None
    assert said == [
        "MLflow does not take what it is told, the sweep goes on: ConnectionError: the store is down",
        "MLflow answers again",
    ]


@pytest.mark.parametrize("ends_by", ["an answer", "a failure", "the user", "the limit"])
def test_the_study_s_run_is_waited_for_until_it_is_open_or_the_user_wants_to_end(ends_by: str) -> None:
    answers, wants_to_end = threading.Event(), threading.Event()

    def slow(_: str) -> Exception | None:
        answers.wait(60)
        return ConnectionError("down") if ends_by == "a failure" else None

    with followed(Follower(slow), shared=True) as (made, _, _):
        event = {"the user": wants_to_end, "the limit": threading.Event()}.get(ends_by, answers)
        threading.Timer(0.5, event.set).start()
        since = time.monotonic()
        made.wait_open(1.5 if ends_by == "the limit" else 60, wants_to_end.is_set)
        seconds = time.monotonic() - since
        answers.set()
    assert (1.5 if ends_by == "the limit" else 0.4) <= seconds < 5


def test_who_leaves_has_looked_once_more_and_tells_nothing_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Follower(lambda _: time.sleep(0.1))
    with followed(follower, shared=True) as (made, _, said):
        until(lambda: follower.times)
        patiently = made._patiently

        def slowly(*given: Any) -> None:
            patiently(*given)
            time.sleep(0.3)  # who waited is woken late: the thread had time to look again

        monkeypatch.setattr(made, "_patiently", slowly)
        asked = time.monotonic()
        made.leave("FINISHED")
        assert sum(begun > asked for begun in follower.times) == 1  # a look since, and no second one
        assert len(follower.told) == len(follower.times)  # to its end
        told = list(follower.told)
        time.sleep(0.4)
        made.finish("FINISHED", goes_on=True)
        made._thread.join(30)
    assert follower.told == [*told, "closed"] and "FINISHED" not in told
    assert (said, made.warning, follower.own) == ([], None, True)


def test_who_does_not_leave_after_all_goes_on_and_concludes() -> None:
    follower = Follower()
    with followed(follower, shared=True) as (made, _, _):
        made.leave("FINISHED")
        told = len(follower.told)
        made.stay()
        until(lambda: len(follower.told) > told)
        made.finish("FINISHED")
        made._thread.join(30)
    assert follower.told[-2:] == ["FINISHED", "closed"]
    assert made.warning is None


@pytest.mark.parametrize(
    ("hangs", "status", "least"), [(True, "FINISHED", 1.0), (True, "KILLED", 0.3), (False, "FINISHED", 0)]
)
def test_who_leaves_waits_for_no_store_that_hangs_or_fails(
    monkeypatch: pytest.MonkeyPatch, hangs: bool, status: str, least: float
) -> None:
    monkeypatch.setattr(live, "_HASTE_S", 0.3)
    answers = threading.Event()

    def fail(_: str) -> Exception | None:
        if hangs:
            answers.wait(60)
        return None if answers.is_set() else ConnectionError("down")

    follower = Follower(fail)
    with followed(follower, shared=True, patience=1.0) as (made, _, _):
        since = time.monotonic()
        made.leave(status)
        made.stay()
        if status == "FINISHED":
            made.leave(status)  # once more, as a sweep does that concludes
        assert least <= time.monotonic() - since < least + 8
        made.finish(status, goes_on=True)
        assert "is not up to date" in made.warning
        answers.set()
        made._thread.join(30)
    assert "FINISHED" not in follower.told


def test_tries_come_later_and_later_up_to_a_limit() -> None:
    follower = Follower(down(6))
    with followed(follower, retry_s=0.05, retry_most_s=0.2):
        until(lambda: len(follower.times) >= 7)
    pauses = [after - before for before, after in itertools.pairwise(follower.times[:7])]
    assert all(pause >= least for pause, least in zip(pauses, [0.05, 0.1, 0.2, 0.2, 0.2, 0.2], strict=True))


def test_the_end_waits_for_a_slow_store_but_no_longer_than_its_patience() -> None:
    go = threading.Event()
    follower = Follower(lambda _: go.wait(60) and None)
    with followed(follower, patience=1.2) as (made, _, said):
        began = time.monotonic()
        made.finish("FINISHED")
        assert 1.2 <= time.monotonic() - began < 20
        assert "is not up to date: it was too slow. The records are complete: sync" in made.warning
        go.set()
    assert said == ["waiting for MLflow (http://127.0.0.1:1), at most 1.2 s"]


def test_a_store_that_is_down_at_the_end_is_tried_again_and_then_not_waited_for() -> None:
    follower = Follower(down(10**9))
    with followed(follower, retry_s=1000, retry_most_s=1000, patience=20) as (made, _, _):
        until(lambda: follower.times)
        made.finish("FINISHED")
        made._thread.join(30)
    assert len(follower.times) == 3
    assert "is not up to date: ConnectionError: the store is down. The records are complete: sync" in made.warning


def test_what_the_store_refused_is_said() -> None:
    follower = Follower()
    follower.refused.add("a trial")
    with followed(follower) as (made, _, _):
        made.finish("FINISHED")
    assert "is not up to date: it refused 1 runs. The records are complete: sync" in made.warning


def test_an_interrupted_sweep_waits_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_HASTE_S", 0.2)
    go = threading.Event()
    with followed(Follower(lambda _: go.wait(60) and None), patience=50) as (made, _, said):
        began = time.monotonic()
        made.finish("KILLED")
        assert time.monotonic() - began < 10
        go.set()
    assert (said, made.warning is None) == ([], False)


def test_a_local_store_is_never_left_in_the_middle_of_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_HASTE_S", 0.1)
    follower = Follower(lambda _: time.sleep(1), uri="sqlite:////nowhere/mlflow.db")
    with followed(follower) as (made, _, _):
        until(lambda: follower.times)
        made.finish("KILLED")
        assert follower.told[-1] == "closed" and "KILLED" not in follower.told


def test_a_fault_of_the_store_ends_the_sweep() -> None:
    fault = StorageError("mlflow.db: corrupt")
    with followed(Follower(lambda _: fault)) as (made, later, _):
        until(lambda: later)
        with pytest.raises(StorageError, match="corrupt"):
            later[0]()
        made.finish("FAILED")  # what ends for that reason does not hear of it twice
        assert made.warning is None
    with followed(Follower(lambda _: fault)) as (made, _, _), pytest.raises(StorageError, match="corrupt"):
        made.finish("FINISHED")  # no one has looked in between


def test_a_fault_after_the_store_has_been_used_is_an_outage() -> None:
    follower = Follower()
    with followed(follower) as (made, _, _):
        until(lambda: follower.told)
        follower.fail = lambda _: StorageError("corrupt")
        made.finish("FINISHED")
    assert "is not up to date: corrupt." in made.warning


# Whole sweeps, whose training is a formula, on a real server.

SWEEP = (*spy.QUICK, "tracking=mlflow", "tracking.retry_s=0.3", "tracking.retry_most_s=1")
ONCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}  # the client's own patience would hide ours


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """An `mlflow server` that can be killed and started again on the same store.

    Args:
      folder: Of its store and artifacts.
    """

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", "sqlite:///mlflow.db"]
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--workers", "1", "--host", "127.0.0.1", "--port", str(self.port)],
                cwd=self.folder,
                env={**os.environ, **store.ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ready(self) -> None:
        assert self.process is not None

        def answers() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
                connection.request("GET", "/health")
                return connection.getresponse().status == 200
            return False

        until(answers, 300)

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None


class Proxy:
    """Stands before a server: passes requests on, late, or not at all.

    Attributes:
      delay_s: Before each answer.
      answer: Given the count of requests so far, "pass", "error" (500) or "refuse" (the connection is closed).
    """

    def __init__(self, port: int):
        self.delay_s, self.n = 0.0, 0
        self.answer: Callable[[int], str] = lambda n: "pass"
        ours = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                ours.n += 1
                time.sleep(ours.delay_s)
                what = ours.answer(ours.n)
                if what == "refuse":
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, kind, content = 500, "text/html", b"<html>Internal Server Error</html>"
                if what == "pass":
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                    headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
                    connection.request(self.command, self.path, body, {**headers, "Host": f"127.0.0.1:{port}"})
                    answer = connection.getresponse()
                    status, kind, content = answer.status, answer.getheader("Content-Type") or "", answer.read()
                    connection.close()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, unused_store: Path) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"))
    shutil.copy(unused_store, made.folder)
    made.start()
    made.ready()
    yield made
    made.kill()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    made = Proxy(server.port)
    yield made
    made.close()


def told(path: Path, experiment: str) -> dict[str, Any]:
    """Name -> status, parameters and metrics of the runs of an experiment; not what is this place's or moment's own."""
    places = ("tracking.uri", "dataset.path", "study.name")
    with sqlite3.connect(path) as database:
        runs = database.execute(
            "SELECT run_uuid, r.name, status FROM runs r JOIN experiments e USING (experiment_id)"
            " WHERE e.name = ? AND r.lifecycle_stage = 'active'",
            (experiment,),
        ).fetchall()
        found = {}
        for run, name, status in runs:
            params = database.execute("SELECT key, value FROM params WHERE run_uuid = ? ORDER BY key", (run,))
            metrics = database.execute(
                "SELECT key, step, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step", (run,)
            )
            kept = [param for param in params.fetchall() if param[0] not in places]
            assert name not in found, f"{name} is there twice"
            found[name] = (status, kept, metrics.fetchall())
        return found


def whole(path: Path, experiment: str, n_trials: int) -> None:
    """Asserts that each trial has one run, ended, with all of its curve."""
    found = told(path, experiment)
    assert sorted(found) == sorted([experiment, *(f"trial {n}" for n in range(n_trials))])
    assert {status for status, _, _ in found.values()} == {"FINISHED"}
    for name, (_, params, metrics) in found.items():
        if name != experiment:
            assert [step for key, step, _, _ in metrics if key == "curves/val_accuracy"] == [1, 2, 3]
            assert params and "total_s" in {key for key, *_ in metrics}


@pytest.mark.long  # one that answers later still is in CI
def test_a_slow_server_holds_no_worker(tmp_path: Path, server: Server, proxy: Proxy) -> None:
    proxy.delay_s = 0.3
    arguments = (*SWEEP, f"tracking.uri={proxy.uri}", "study.name=slow", "study.n_trials=6")
    code, out, err = spy.swept(tmp_path, *arguments, SPY_LOG=str(tmp_path / "log"), SPY_EPOCH_S="0.02", timeout=300)
    assert (code, err) == (0, ""), out
    trials = [line["time"] for line in spy.noted(tmp_path / "log") if line["kind"] == "trial"]
    searched_s, told_s = trials[-1] - trials[0], proxy.n * proxy.delay_s
    assert proxy.n >= 30
    assert searched_s < told_s / 2  # as long as MLflow is told, were each trial told before the next
    assert "waiting for MLflow (127.0.0.1:" in out and "not up to date" not in out
    whole(server.folder / "mlflow.db", "slow", 6)


@pytest.mark.long
def test_errors_for_a_while_leave_no_gap_and_no_warning(tmp_path: Path, server: Server, proxy: Proxy) -> None:
    proxy.answer = lambda n: "error" if n in (9, 10) else "refuse" if n in (25, 40) else "pass"
    arguments = (*SWEEP, f"tracking.uri={proxy.uri}", "study.name=errors", "study.n_trials=8")
    code, out, err = spy.swept(tmp_path, *arguments, SPY_EPOCH_S="0.5", **ONCE, timeout=300)
    assert (code, err) == (0, ""), out
    assert proxy.n > 40
    assert "not up to date" not in out
    whole(server.folder / "mlflow.db", "errors", 8)


@pytest.mark.long
def test_a_server_that_comes_back_in_mid_sweep_has_everything_at_the_end(
    tmp_path: Path, server: Server, proxy: Proxy
) -> None:
    log = tmp_path / "log"
    proxy.answer = lambda n: "refuse"
    arguments = (*SWEEP, f"tracking.uri={proxy.uri}", "study.name=back", "study.n_trials=10")
    sweep = spy.start(tmp_path, *arguments, SPY_LOG=str(log), SPY_EPOCH_S="0.3", **ONCE)
    until(lambda: proxy.n and sum(line["event"] == "end" for line in spy.noted(log)) >= 4, 300)
    proxy.answer = lambda n: "pass"
    out, err = sweep.communicate(timeout=300)
    assert (sweep.returncode, err) == (0, ""), out
    assert "not up to date" not in out
    whole(server.folder / "mlflow.db", "back", 10)


@pytest.mark.long  # CI: an outage in `test_client.py`, what sync brings back in `test_sync.py`
def test_a_server_killed_for_the_whole_sweep_costs_nothing_that_sync_does_not_bring_back(
    tmp_path: Path, server: Server, unused_store: Path
) -> None:
    arguments = (*SWEEP, "study.n_trials=6", "study.replicates=2", "study.name=outage")
    for name in ("undisturbed", "disturbed"):
        (tmp_path / name).mkdir()
    shutil.copy(unused_store, tmp_path / "undisturbed")
    server.kill()
    seconds = {}
    for name, uri in (("undisturbed", "null"), ("disturbed", server.uri)):
        began = time.monotonic()
        code, out, err = spy.swept(tmp_path / name, *arguments, f"tracking.uri={uri}", timeout=300)
        seconds[name] = time.monotonic() - began
        assert (code, err) == (0, ""), out
    assert "is not up to date: " in out
    assert "python -m lstm_bench.sync study=outage brings it up to date" in " ".join(out.split())
    assert seconds["disturbed"] < 2 * seconds["undisturbed"] + 15
    server.start()
    server.ready()
    command = [sys.executable, "-m", "lstm_bench.sync", "study=outage"]
    dumps = []
    for expected in ("9 of 9 runs added", "up to date, 9 runs"):
        done = subprocess.run(command, cwd=tmp_path / "disturbed", capture_output=True, text=True, timeout=300)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"outage: {expected} ({server.uri}/#/experiments/")
        dumps.append(told(server.folder / "mlflow.db", "outage"))
    assert dumps[0] == dumps[1] == told(tmp_path / "undisturbed" / "mlflow.db", "outage")


@pytest.mark.long
def test_four_sweeps_at_once_on_a_new_store_each_have_their_own_runs(tmp_path: Path) -> None:
    names = [f"s{n}" for n in range(4)]
    spy.tiny(tmp_path)
    sweeps = [spy.start(tmp_path, *SWEEP, f"study.name={name}", "study.n_trials=4") for name in names]
    said = [sweep.communicate(timeout=300) for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0] * 4, said
    assert not [out for out, _ in said if "not up to date" in out]
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("SELECT count(*) FROM runs WHERE experiment_id = 0").fetchone() == (0,)
        parents = database.execute(
            "SELECT e.name, p.name, count(*) FROM runs r JOIN experiments e USING (experiment_id)"
            " JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'mlflow.parentRunId'"
            " JOIN runs p ON p.run_uuid = t.value AND p.experiment_id = r.experiment_id GROUP BY 1, 2 ORDER BY 1"
        ).fetchall()
    assert parents == [(name, name, 4) for name in names]


def test_a_server_that_answers_after_twenty_seconds_delays_no_epoch(tmp_path: Path) -> None:
    """Epochs are in the records as they end, as if there were no MLflow; what it was not told is said."""

    class Late(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(20)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Late)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    uri, log = f"http://127.0.0.1:{server.server_port}", tmp_path / "log"
    arguments = (*SWEEP, f"tracking.uri={uri}", "study.name=late", "study.n_trials=1", "train.epochs=20")
    sweep = spy.start(tmp_path, *arguments, "tracking.patience=0", SPY_LOG=str(log), SPY_EPOCH_S="0.3")
    try:
        history, seen = tmp_path / "sweeps" / "late" / "history.csv", list[float]()
        until(lambda: any(line["event"] == "begin" for line in spy.noted(log)), 90)
        (begun,) = (line["time"] for line in spy.noted(log) if line["event"] == "begin")
        while len(seen) < 20:
            assert time.monotonic() < begun + 60, f"{len(seen)} epochs"
            seen += [time.monotonic()] * (len(fileio.read_rows(history)) - len(seen))
            time.sleep(0.02)
        out, err = sweep.communicate(timeout=60)
    finally:
        sweep.kill()
        server.shutdown()
        server.server_close()
    assert (sweep.returncode, err) == (0, "")
    assert "is not up to date: " in out
    late = [at - begun - 0.3 * epoch for epoch, at in enumerate(seen, start=1)]
    assert max(late) < 4, late  # a call lasts five seconds until it is given up, and two are made


def test_a_corrupt_store_ends_the_sweep_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 99)
    code, _, err = spy.swept(tmp_path, *SWEEP, "study.n_trials=2", SPY_LOG=str(tmp_path / "log"), timeout=300)
    assert code == 4
    assert err.startswith("error: ") and "mlflow.db: corrupt" in err and err.count("\n") == 1
    assert not [line for line in spy.noted(tmp_path / "log") if line["kind"] == "trial"]


@pytest.mark.parametrize(("uri", "loaded"), [(SERVER, [SERVER]), (None, [])])
def test_mlflow_is_imported_ahead_where_it_will_be_told_and_fails_in_silence(
    uri: str | None, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def broken(uri: str) -> None:
        seen.append(uri)
        raise ImportError("no MLflow")

    monkeypatch.setattr(live.store, "load", broken)
    before = {*threading.enumerate()}
    live.preload(uri)
    for thread in {*threading.enumerate()} - before:
        thread.join(5)
    assert seen == loaded
