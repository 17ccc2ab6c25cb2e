"""MLflow behind a queue: whatever the store does, a sweep is not held up, and nothing is lost that can be told."""

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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import spy

from lstm_bench.core.errors import StorageError
from lstm_bench.tracking import background, store
from lstm_bench.tracking.background import Observer

SETTINGS = {"patience": 30, "retry_s": 0.01, "retry_most_s": 0.04, "queue": 1000}
SERVER = "http://127.0.0.1:1"


class RefusedError(Exception):
    """What MLflow raises for a request that it will never take."""

    def get_http_status_code(self) -> int:
        return 400


class Store:
    """A tracking that takes notes, and fails when its script says so.

    Args:
      fail: Called with the name of each call and its first argument; returns what goes wrong, None when nothing does.
    """

    def __init__(self, fail: Callable[[str, Any], Exception | None] = lambda *_: None, uri: str | None = SERVER):
        self.fail, self.uri, self.address = fail, uri, str(uri)
        self.warning: str | None = None
        self.error: Exception | None = None
        self.told: list[Any] = []
        self.starts: list[float] = []
        self.known: frozenset[str] = frozenset()
        self.threads: set[str] = set()

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not name.startswith("log_"):
            raise AttributeError(name)
        return lambda row, *_, **__: self._do(name, row)

    def start(self, study: dict[str, Any]) -> None:
        self.starts.append(time.monotonic())
        self.error = self.fail("start", study)
        if isinstance(self.error, StorageError):
            raise self.error

    def finish(self, status: str) -> None:
        self._do("finish", status)

    def _do(self, name: str, what: Any) -> None:
        self.threads.add(threading.current_thread().name)
        self.error = self.fail(name, what)
        if self.error is None:
            self.told.append(what if isinstance(what, str) else what.get("number", what))
            self.known |= {str(self.told[-1])}


@contextlib.contextmanager
def observed(tracking: Any, catch_up: Callable[[Any], None] | None = None, **settings: Any) -> Iterator[Any]:
    """An observer that was started, and ends whatever the test does."""
    later: list[Callable[[], None]] = []
    said: list[str] = []
    made = Observer(
        tracking,
        {**SETTINGS, **settings},
        later=later.append,
        say=said.append,
        catch_up=catch_up or (lambda _: None),
        remedy="sync",
    )
    made.start({"name": "study"})
    yield made, later, said
    made._stopped = True


def rows(n: int) -> list[dict[str, Any]]:
    return [{"number": number} for number in range(n)]


def tell(made: Observer, told: Sequence[dict[str, Any]]) -> None:
    for row in told:
        made.log_trial(row, [], 0, 1)


def down(times: int, error: type[Exception] = ConnectionError) -> Callable[[str, Any], Exception | None]:
    """Fails so often, then no more."""
    left = [times]

    def fail(*_: Any) -> Exception | None:
        left[0] -= 1
        return error("the store is down") if left[0] >= 0 else None

    return fail


def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it never came to that"
        time.sleep(0.005)


def test_calls_return_at_once_and_are_made_in_their_order_by_another_thread() -> None:
    go = threading.Event()
    tracking = Store(lambda *_: None if go.wait(30) else TimeoutError())
    with observed(tracking) as (made, _, _):
        tell(made, rows(20))
        made.log_summary({"number": "summary"}, {})
        assert (tracking.told, made.waiting, made.warning) == ([], 21, None)  # no store holds this thread
        go.set()
        made.finish("FINISHED")
    assert tracking.told == [*range(20), "summary", "FINISHED"]
    assert tracking.threads == {"tracking"}
    assert made.warning is None


def test_without_a_store_there_is_no_thread() -> None:
    tracking = Store(uri=None)
    with observed(tracking) as (made, _, _):
        tell(made, rows(3))
        made.finish("FINISHED")
    assert (tracking.starts, tracking.told, made.warning, made.waiting) == ([], [], None, 0)


def test_what_is_queued_is_as_it_was_when_it_was_told() -> None:
    go = threading.Event()
    seen: list[Any] = []
    tracking = Store(lambda name, row: seen.append(dict(row)) if name == "log_trial" and go.wait(30) else None)
    with observed(tracking) as (made, _, _):
        row = {"number": 0, "state": "COMPLETE"}
        tell(made, [row])
        row["state"] = "changed since"
        go.set()
        made.finish("FINISHED")
    assert seen == [{"number": 0, "state": "COMPLETE"}]


def test_an_outage_ends_and_everything_is_told_in_order() -> None:
    tracking = Store(down(7))
    with observed(tracking) as (made, later, said):
        tell(made, rows(5))
        until(lambda: tracking.told)
        for work in list(later):
            work()
        made.finish("FINISHED")
    assert tracking.told == [0, 1, 2, 3, 4, "FINISHED"]
    assert len(tracking.starts) == 8
    assert made.warning is None
    assert said == [
        "MLflow does not take what it is told, the sweep goes on: ConnectionError: the store is down",
        "MLflow answers again",
    ]


@pytest.mark.parametrize("ends_by", ["an answer", "a failure", "the user", "the limit"])
def test_the_parent_run_is_waited_for_until_it_is_open_or_the_user_wants_to_end(ends_by: str) -> None:
    answers, wants_to_end = threading.Event(), threading.Event()

    def slow(*_: Any) -> Exception | None:
        answers.wait(60)
        return ConnectionError("down") if ends_by == "a failure" else None

    with observed(Store(slow)) as (made, _, _):
        event = {"the user": wants_to_end, "the limit": threading.Event()}.get(ends_by, answers)
        threading.Timer(0.5, event.set).start()
        since = time.monotonic()
        made.wait_open(1.5 if ends_by == "the limit" else 60, wants_to_end.is_set)
        seconds = time.monotonic() - since
        answers.set()
    assert (1.5 if ends_by == "the limit" else 0.4) <= seconds < 5


def test_who_leaves_has_told_what_was_queued_and_tells_nothing_after_it() -> None:
    tracking = Store(lambda *_: time.sleep(0.05))
    with observed(tracking) as (made, _, said):
        tell(made, rows(10))
        made.hold("FINISHED")
        assert tracking.told == list(range(10))
        tell(made, [{"number": "late"}])
        time.sleep(0.3)
        made.finish("FINISHED", goes_on=True)
        made._thread.join(30)
    assert tracking.told == list(range(10))
    assert said == []


def test_who_does_not_leave_after_all_goes_on_telling() -> None:
    tracking = Store()
    with observed(tracking) as (made, _, _):
        tell(made, rows(2))
        made.hold("FINISHED")
        tell(made, rows(4)[2:])
        made.resume()
        made.finish("FINISHED")
    assert tracking.told == [0, 1, 2, 3, "FINISHED"]
    assert made.warning is None


@pytest.mark.parametrize(
    ("hangs", "status", "least"), [(True, "FINISHED", 1.0), (True, "KILLED", 0.3), (False, "FINISHED", 0)]
)
def test_who_leaves_waits_for_no_store_that_hangs_or_fails(
    monkeypatch: pytest.MonkeyPatch, hangs: bool, status: str, least: float
) -> None:
    monkeypatch.setattr(background, "_HASTE_S", 0.3)
    answers = threading.Event()

    def fail(*_: Any) -> Exception | None:
        if hangs:
            answers.wait(60)
        return None if answers.is_set() else ConnectionError("down")

    tracking = Store(fail)
    with observed(tracking, patience=1.0) as (made, _, _):
        tell(made, rows(3))
        since = time.monotonic()
        made.hold(status)
        made.resume()
        if status == "FINISHED":
            made.hold(status)  # once more, as a sweep does that concludes
        assert least <= time.monotonic() - since < least + 5
        made.finish(status, goes_on=True)
        answers.set()
        made._thread.join(30)
        assert "is not up to date" in made.warning
    assert tracking.told == []


def test_tries_come_later_and_later_up_to_a_limit() -> None:
    tracking = Store(down(6))
    with observed(tracking, retry_s=0.05, retry_most_s=0.2):
        until(lambda: len(tracking.starts) == 7)
    pauses = [after - before for before, after in itertools.pairwise(tracking.starts)]
    assert all(pause >= least for pause, least in zip(pauses, [0.05, 0.1, 0.2, 0.2, 0.2, 0.2], strict=True))
    assert sum(pauses) < 0.05 * (2**6 - 1)  # what it would be without the limit


def test_a_failure_in_the_middle_is_told_again() -> None:
    calls: list[Any] = []

    def fail(name: str, what: Any) -> Exception | None:
        calls.append(name)
        return ConnectionError("reset") if len(calls) in (3, 4) else None

    tracking = Store(fail)
    with observed(tracking) as (made, _, _):
        tell(made, rows(3))
        made.finish("FINISHED")
    assert tracking.told == [0, 1, 2, "FINISHED"]
    assert made.warning is None


@pytest.mark.parametrize(("error", "tries"), [(RefusedError, 1), (ConnectionError, 3)])
def test_a_row_that_the_store_never_takes_holds_up_no_other(error: type[Exception], tries: int) -> None:
    asked: list[Any] = []

    def fail(name: str, what: Any) -> Exception | None:
        if name != "log_trial" or what["number"] != 1:
            return None
        asked.append(what)
        return error("not this one")

    tracking = Store(fail)
    with observed(tracking) as (made, _, _):
        tell(made, rows(3))
        until(lambda: not made.waiting)
        made.finish("FAILED")
    assert tracking.told == [0, 2, "FAILED"]
    assert len(asked) == tries
    assert "MLflow (http://127.0.0.1:1) is not up to date: " in made.warning
    assert made.warning.endswith("sync brings it up to date, and so does the same command.")


def test_the_queue_is_bounded_and_what_is_beyond_comes_from_the_records_at_the_end() -> None:
    answers = threading.Event()
    tracking = Store(lambda name, _: None if answers.is_set() else ConnectionError("down"))
    caught_up: list[Any] = []
    with observed(tracking, catch_up=lambda given: caught_up.append((given, list(tracking.told))), queue=4) as found:
        made = found[0]
        tell(made, rows(100))
        made.log_summary({"number": "summary"}, {})
        assert made.waiting == 5  # the summary is in no record: it is never left out
        answers.set()
        made.finish("FINISHED")
    assert tracking.told == [0, 1, 2, 3, "summary", "FINISHED"]
    assert caught_up == [(tracking, [0, 1, 2, 3, "summary"])]
    assert made.warning is None


def test_rows_left_out_are_said_when_the_records_cannot_be_told_either() -> None:
    tracking = Store()

    def catch_up(given: Any) -> None:
        raise StorageError("the records cannot be read")

    with observed(tracking, catch_up=catch_up, queue=1) as (made, _, _):
        with made._changed:  # the thread waits
            tell(made, rows(3))
        made.finish("FINISHED")
    assert "is not up to date: the records cannot be read." in made.warning


def test_a_store_that_comes_back_empty_is_told_all_from_the_records() -> None:
    broken, caught_up = threading.Event(), []

    def fail(name: str, _: Any) -> Exception | None:
        if broken.is_set() and name != "start":
            broken.clear()
            tracking.known = frozenset()
            return ConnectionError("gone")
        return None

    tracking = Store(fail)
    with observed(tracking, catch_up=caught_up.append) as (made, _, _):
        tell(made, rows(2))
        until(lambda: len(tracking.told) == 2)
        broken.set()
        tell(made, rows(1))
        made.finish("FINISHED")
    assert caught_up == [tracking]
    assert made.warning is None


def test_the_end_waits_for_a_slow_store_but_no_longer_than_its_patience() -> None:
    go = threading.Event()
    tracking = Store(lambda *_: go.wait(60) and None)
    with observed(tracking, patience=1.2) as (made, _, said):
        tell(made, rows(2))
        began = time.monotonic()
        made.finish("FINISHED")
        assert 1.2 <= time.monotonic() - began < 20
        go.set()
    assert said == ["waiting for MLflow (http://127.0.0.1:1), at most 1.2 s: 4 calls to go"]
    assert "is not up to date: it was too slow, 4 calls were left. The records are complete: sync" in made.warning


def test_a_store_that_is_down_at_the_end_is_tried_again_and_then_not_waited_for() -> None:
    tracking = Store(down(10**9))
    with observed(tracking, retry_s=1000, retry_most_s=1000, patience=20) as (made, _, _):
        tell(made, rows(2))
        until(lambda: tracking.starts)
        made.finish("FINISHED")
    assert len(tracking.starts) == 3
    assert "is not up to date: ConnectionError: the store is down. The records are complete: sync" in made.warning


def test_an_interrupted_sweep_waits_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_HASTE_S", 0.2)
    go = threading.Event()
    with observed(Store(lambda *_: go.wait(60) and None), patience=50) as (made, _, said):
        began = time.monotonic()
        made.finish("KILLED")
        assert time.monotonic() - began < 10
        go.set()
    assert (said, made.warning is None) == ([], False)


def test_a_local_store_is_never_left_in_the_middle_of_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_HASTE_S", 0.1)
    written: list[int] = []

    def write(name: str, what: Any) -> None:
        time.sleep(1)
        written.append(1)

    with observed(Store(write, uri="sqlite:////nowhere/mlflow.db")) as (made, _, _):
        tell(made, rows(3))
        made.finish("KILLED")
        done = len(written)
        assert done == 1
        time.sleep(1.2)
    assert len(written) == done  # and it began no other


def test_a_fault_of_the_store_ends_the_sweep() -> None:
    fault = StorageError("mlflow.db: corrupt")
    with observed(Store(lambda *_: fault)) as (made, later, _):
        until(lambda: later)
        with pytest.raises(StorageError, match="corrupt"):
            later[0]()
        tell(made, rows(1))
        made.finish("FAILED")  # what ends for that reason does not hear of it twice
        assert made.warning is None
    with observed(Store(lambda *_: fault)) as (made, _, _), pytest.raises(StorageError, match="corrupt"):
        made.finish("FINISHED")  # no one has looked in between


def test_a_fault_after_the_store_has_been_used_is_an_outage() -> None:
    calls: list[str] = []

    def fail(name: str, _: Any) -> Exception | None:
        calls.append(name)
        return ConnectionError("full") if len(calls) == 2 else StorageError("corrupt") if len(calls) > 2 else None

    with observed(Store(fail)) as (made, _, _):
        tell(made, rows(1))
        until(lambda: len(calls) > 3)
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
            assert [step for key, step, _, _ in metrics if key == "val_accuracy"] == [1, 2, 3]
            assert params and "total_s" in {key for key, *_ in metrics}


@pytest.mark.long  # a slow store without a server is told beside the work in CI
def test_a_slow_server_holds_no_worker(tmp_path: Path, server: Server, proxy: Proxy) -> None:
    proxy.delay_s = 0.3
    arguments = (*SWEEP, f"tracking.uri={proxy.uri}", "study.name=slow", "study.n_trials=6")
    code, out, err = spy.swept(tmp_path, *arguments, SPY_LOG=str(tmp_path / "log"), SPY_EPOCH_S="0.02", timeout=300)
    assert (code, err) == (0, ""), out
    trials = [line["time"] for line in spy.noted(tmp_path / "log") if line["kind"] == "trial"]
    searched_s, told_s = trials[-1] - trials[0], proxy.n * proxy.delay_s
    assert proxy.n >= 30
    assert searched_s < told_s / 2  # as long as MLflow is told, were each trial told before the next
    assert "waiting for MLflow (http://127.0.0.1" in out and "not up to date" not in out
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


@pytest.mark.slow
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
        assert done.stdout == f"outage: {expected} ({server.uri})\n"
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


@pytest.mark.long
@pytest.mark.parametrize("end", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_no_run_is_left_running_once_the_same_command_was_given_again(
    tmp_path: Path, unused_store: Path, end: signal.Signals
) -> None:
    shutil.copy(unused_store, tmp_path)
    arguments = (*SWEEP, "study.n_trials=6", "study.name=ended")
    sweep = spy.start(tmp_path, *arguments, SPY_EPOCH_S="0.4")
    until(lambda: len(told(tmp_path / "mlflow.db", "ended")) >= 3, 300)
    sweep.send_signal(end)
    sweep.communicate(timeout=300)
    assert sweep.returncode == (130 if end == signal.SIGINT else -signal.SIGKILL)
    parent = told(tmp_path / "mlflow.db", "ended")["ended"]
    assert parent[0] == ("KILLED" if end == signal.SIGINT else "RUNNING")
    code, out, err = spy.swept(tmp_path, *arguments, timeout=300)
    assert (code, err) == (0, ""), out
    found = told(tmp_path / "mlflow.db", "ended")
    assert {status for name, (status, _, _) in found.items()} <= {"FINISHED", "KILLED"}
    assert found["ended"][0] == "FINISHED"
    records = (tmp_path / "sweeps" / "ended" / "trials.csv").read_text().splitlines()[1:]
    assert len(found) == 1 + len(records)


def test_a_corrupt_store_ends_the_sweep_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 99)
    code, _, err = spy.swept(tmp_path, *SWEEP, "study.n_trials=2", SPY_LOG=str(tmp_path / "log"), timeout=300)
    assert code == 4
    assert err.startswith("error: ") and "mlflow.db: corrupt" in err and err.count("\n") == 1
    assert not [line for line in spy.noted(tmp_path / "log") if line["kind"] == "trial"]
