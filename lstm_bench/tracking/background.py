"""Logs to MLflow from a background thread: a sweep only queues calls, and after an outage the queue is replayed.

The thread alone imports and calls MLflow. After a failure it tries again, later and later; it then opens the parent run
anew, which is the same one, and goes on where it stopped: what is told twice is there once. The sweep never waits before
its end, and there no longer than `tracking.patience`. What could not be told by then is said in `Observer.warning` and
can be told from the records: `replay` does.
"""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec

from lstm_bench.core.errors import LstmBenchError
from lstm_bench.tracking import store
from lstm_bench.tracking.client import Tracking

_TRIES = 3  # of one thing to tell, when the store has answered before each
_LAST_TRIES = 3  # failures in a row after which the end no longer waits
_HASTE_S = 2.5  # an interrupted sweep waits so long
_LOOK_S = 0.2  # between two looks whether the user wants to end
_NOTICE_S = 1.0  # before it is said what the end waits for
_WRITE_S = 30.0  # a local store is not left in the middle of a write unless it takes longer
_ROWS = ("log_trial", "log_replicate")  # what the records hold as well, and what there is much of

_P = ParamSpec("_P")


@dataclass
class _Call:
    """One thing to tell."""

    name: str
    make: Callable[[Tracking], None]
    tries: int = 0


def _queued(method: Callable[Concatenate[Tracking, _P], None]) -> Callable[Concatenate[Observer, _P], None]:
    """A method of `Tracking` that is put off until the thread comes to it, with copies of what it was given."""
    name = method.__name__

    def call(self: Observer, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        if self.uri is not None:
            given, named = [copy.copy(arg) for arg in args], {key: copy.copy(arg) for key, arg in kwargs.items()}
            self._put(_Call(name, lambda tracking: getattr(tracking, name)(*given, **named)))

    call.__doc__ = f"Queues `Tracking.{name}`."
    return call


class Observer:
    """`Tracking` behind a queue. Its methods return at once; `start` comes first, `finish` last.

    Args:
      tracking: What the thread calls.
      settings: Group `tracking`: `patience`, `retry_s`, `retry_most_s` and `queue`.
      later: Has something done by the sweep's own thread when it next looks, see `Loop.defer`.
      say: Prints a line. Called from the sweep's own thread.
      catch_up: Tells a tracking all that the records hold. Called by the thread at the end, when rows were left out.
      remedy: How a person does that.

    Attributes:
      uri: Of the store, None for no tracking: every method then does nothing.
    """

    def __init__(
        self,
        tracking: Tracking,
        settings: Mapping[str, Any],
        *,
        later: Callable[[Callable[[], None]], None],
        say: Callable[[str], None],
        catch_up: Callable[[Tracking], None],
        remedy: str,
    ):
        self.uri, self._tracking, self._settings = tracking.uri, tracking, settings
        self._later, self._say, self._catch_up, self._remedy = later, say, catch_up, remedy
        self._changed = threading.Condition()  # guards what follows
        self._calls: deque[_Call] = deque()
        self._closing = self._stopped = self._held = False
        self._waited_s = 0.0  # by `hold`
        self._left_out = 0  # refused by the store, or beyond the queue, or lost by the store
        # The thread's own.
        self._study: Mapping[str, Any] = {}
        self._thread: threading.Thread | None = None
        self._up = self._tried = self._down_said = False
        self._told: frozenset[str] = frozenset()
        self._problem, self._n_made = "", 0
        self._failed = 0  # times in a row
        self._fault: LstmBenchError | None = None

    log_trial = _queued(Tracking.log_trial)
    log_replicate = _queued(Tracking.log_replicate)
    log_kernels = _queued(Tracking.log_kernels)
    log_confirmed = _queued(Tracking.log_confirmed)
    log_summary = _queued(Tracking.log_summary)
    log_figures = _queued(Tracking.log_figures)
    log_model = _queued(Tracking.log_model)
    refresh_runs = _queued(Tracking.refresh_runs)

    def check_store(self) -> None:
        """As `Tracking.check_store`, at once and by the caller; that another program holds the store is said, and no fault."""
        self._tracking.check_store(lambda held: self._say(f"{held}: the sweep goes on, MLflow is told when it is free"))

    def start(self, study: Mapping[str, Any]) -> None:
        """Starts the thread, which opens the store and the study's parent run; `study` as for `Tracking.start`.

        A fault of the store that ends a sweep (`StorageError`) is raised by what `later` has done.
        """
        if self.uri is not None and self._thread is None:
            self._study = copy.deepcopy(dict(study))
            self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
            self._thread.start()

    def wait_open(self, seconds: float, interrupted: Callable[[], bool]) -> None:
        """Waits until the parent run is open or the store has failed once, at most so long, and not once `interrupted`."""
        if self._thread is not None:
            self._await(lambda: bool(self._up or self._problem), seconds, interrupted)

    def _await(self, holds: Callable[[], bool], seconds: float, interrupted: Callable[[], bool]) -> None:
        ends = time.monotonic() + seconds
        with self._changed:
            while not (holds() or self._stopped or interrupted()) and (left := ends - time.monotonic()) > 0:
                self._changed.wait(min(left, _LOOK_S))

    def hold(self, status: str) -> None:
        """Waits until all that is queued is told, then tells nothing more until `release`; `finish` in between drops the rest.

        For a driver that leaves: what it has told, the last one finds; what it told later would be there twice. Waits for at
        most `tracking.patience` seconds in all, and for no store that fails again and again.

        Args:
          status: How the sweep ends. An interrupted one (KILLED) waits for a moment only.
        """
        if self._thread is None or self._held:
            return
        since = time.monotonic()
        patience, notice = self._settings["patience"] - self._waited_s, _NOTICE_S
        if status == "KILLED":
            patience = notice = min(patience, _HASTE_S)

        def done() -> bool:
            return not self._calls or self._failed >= _LAST_TRIES

        self._await(done, min(patience, notice), lambda: False)
        if patience > notice and not (done() or self._stopped):
            self._say_waiting(patience)
            self._await(done, patience - notice, lambda: False)
        self._waited_s += time.monotonic() - since
        with self._changed:
            self._held = True

    def resume(self) -> None:
        """Resumes logging."""
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def finish(self, status: str, goes_on: bool = False) -> None:
        """Has the parent run ended and waits for all that is queued, at most `tracking.patience` seconds.

        An interrupted sweep (KILLED) waits for a moment only. Whatever is left then is left; see `warning`.

        Args:
          status: FINISHED, FAILED or KILLED.
          goes_on: Whether the run does not end: other drivers are at the study.

        Raises:
          LstmBenchError: the fault that ends a sweep, unless it was raised before.
        """
        thread = self._thread
        if thread is None:
            return
        with self._changed:
            if status == "FINISHED" and not goes_on:
                self._calls.append(_Call("catch_up", self._replay))
            if not goes_on:
                self._calls.append(_Call("finish", lambda tracking: tracking.finish(status)))
            self._closing, self._stopped = True, self._stopped or self._held
            self._changed.notify_all()
        patience, notice = self._settings["patience"], _NOTICE_S
        if status == "KILLED":
            patience = notice = min(patience, _HASTE_S)
        if self._held:
            patience = notice = min(patience, _LOOK_S)  # it has been waited for
        try:
            thread.join(min(patience, notice))
            if thread.is_alive() and patience > notice:
                self._say_waiting(patience)
                thread.join(patience - notice)
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            if store.sqlite_path(str(self.uri)) is not None:
                thread.join(_WRITE_S)
        if self._fault is not None and status == "FINISHED":
            raise self._fault

    def _say_waiting(self, patience: float) -> None:
        address = self._tracking.address
        self._say(f"waiting for MLflow ({address}), at most {patience:g} s: {self.waiting} calls to go")

    @property
    def page(self) -> str | None:
        """See `Tracking.page`."""
        return self._tracking.page

    @property
    def waiting(self) -> int:
        """What is still to be told."""
        with self._changed:
            return len(self._calls)

    @property
    def warning(self) -> str | None:
        """After `finish`: one line about what MLflow was not told, and the way to tell it. None where nothing is missing."""
        waiting, left_out = self.waiting, self._left_out
        if not self._closing or not (waiting or left_out) or self._fault is not None:
            return None
        cause = self._problem or (f"it was too slow, {waiting} calls were left" if waiting else "rows were left out")
        return (
            f"MLflow ({self._tracking.address}) is not up to date: {cause}. The records are complete: {self._remedy} "
            "brings it up to date, and so does the same command."
        )

    def _put(self, call: _Call) -> None:
        with self._changed:
            if call.name in _ROWS and len(self._calls) >= self._settings["queue"]:
                self._left_out += 1
                return
            self._calls.append(call)
            self._changed.notify_all()

    # What follows is the thread's.

    def _work(self) -> None:
        pause = self._settings["retry_s"]
        while self._may_tell():
            before, closing = self._n_made, self._closing
            if self._up or self._connect():
                if self._tell():
                    return
                if self._n_made > before:
                    self._failed, pause = 0, self._settings["retry_s"]
            self._failed += 1
            if closing and self._failed >= _LAST_TRIES:
                return
            with self._changed:
                if closing:
                    self._changed.wait_for(lambda: self._stopped, min(pause, _NOTICE_S))
                else:
                    self._changed.wait_for(lambda: self._closing or self._stopped, pause)
            pause = min(2 * pause, self._settings["retry_most_s"])

    def _may_tell(self) -> bool:
        """Waits while this driver is held; False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._held)
            return not self._stopped

    def _connect(self) -> bool:
        """Opens the parent run; whether that went well."""
        first, self._tried = not self._tried, True
        fault = self._call(lambda tracking: tracking.start(self._study))
        with self._changed:
            self._up = fault is None
            self._changed.notify_all()
        if isinstance(fault, LstmBenchError) and first:
            self._fault, self._stopped = fault, True
            self._later(self._raise)
        if fault is not None:
            if not (self._down_said or self._stopped):
                self._down_said = True
                said = f"MLflow does not take what it is told, the sweep goes on: {self._problem}"
                self._later(lambda: self._say(said))
            return False
        if self._told - self._tracking.known:  # another store has come up under the same address
            with self._changed:
                self._left_out += 1
        if self._down_said:
            self._later(lambda: self._say("MLflow answers again"))
        self._up, self._down_said, self._problem = True, False, ""
        return True

    def _raise(self) -> None:
        assert self._fault is not None
        raise self._fault

    def _tell(self) -> bool:
        """Makes the calls in their order; True when there is no more to come, False at a failure."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or (not self._held and (self._calls or self._closing)))
                if self._stopped or not self._calls:
                    return True
                call = self._calls[0]
            call.tries += 1
            fault = self._call(call.make)
            if fault is not None and not _refused(fault) and call.tries < _TRIES:
                self._up = False
                return False
            self._told, self._n_made = self._tracking.known, self._n_made + 1
            with self._changed:
                self._calls.popleft()
                self._left_out += fault is not None
                self._changed.notify_all()

    def _call(self, make: Callable[[Tracking], None]) -> Exception | None:
        """Calls the tracking once; what went wrong, also in `_problem`."""
        tracking = self._tracking
        tracking.warning = tracking.error = None
        try:
            make(tracking)
        except Exception as error:  # whatever it is, it is the observer's: the sweep goes on
            self._problem = str(error) if isinstance(error, LstmBenchError) else store.said(error)
            return error
        if tracking.error is not None:
            self._problem = store.said(tracking.error)
        return tracking.error

    def _replay(self, tracking: Tracking) -> None:
        if not self._left_out:
            return
        self._catch_up(tracking)
        if tracking.error is None:
            with self._changed:
                self._left_out = 0


def _refused(error: Exception) -> bool:
    """Whether the store understood and will never take it: MLflow's bad requests."""
    status = None
    with contextlib.suppress(AttributeError):
        status = error.get_http_status_code()  # type: ignore[attr-defined]
    return status == 400
