"""A thread that has MLflow follow a sweep: it looks at the study's folder every few seconds, off the training path.

The thread alone imports and calls MLflow. After a failure it looks again, later and later; it then opens the study's run
anew and goes on from what the store holds. The sweep never waits before its end, and there no longer than
`tracking.patience`. What could not be told by then is said in `Live.warning`, and `sync` tells it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lstm_bench.core.errors import LstmBenchError
from lstm_bench.tracking import store
from lstm_bench.tracking.client import Tracking
from lstm_bench.tracking.follower import Figures, Follower

LOOK_S = 2.0  # between two looks at the folder
_LAST_TRIES = 3  # failures in a row after which the end no longer waits
_HASTE_S = 2.5  # an interrupted sweep waits so long
_ASK_S = 0.2  # between two questions whether the user wants to end
_NOTICE_S = 1.0  # before it is said what the end waits for
_WRITE_S = 30.0  # a local store is not left in the middle of a write unless it takes longer


def preload(uri: str | None) -> None:
    """Imports MLflow in the background, for a store that `Live` opens soon.

    Three seconds of a core: while the driver waits for a worker to build the first model they delay nothing, and later they
    would keep the first epochs from MLflow. Nothing is made or touched, and what goes wrong is said when the store is opened.

    Args:
      uri: Of the store, None for no tracking.
    """

    def load() -> None:
        with contextlib.suppress(Exception):
            store.load(str(uri))

    if uri is not None:
        threading.Thread(target=load, name="mlflow", daemon=True).start()


class Live:
    """Follows one study in the background. `start` comes first, `finish` last.

    Args:
      folder: `sweeps/<study>/`, its records written.
      tracking: What the thread calls.
      settings: Group `tracking`: `patience`, `retry_s` and `retry_most_s`.
      figures: See `follower.follow`.
      shared: Whether other drivers are at the study: each has MLflow follow what it trains, the last one tells the rest.
      later: Has something done by the sweep's own thread when it next looks, see `Loop.defer`.
      say: Prints a line. Called from the sweep's own thread.
      remedy: How a person tells what is missing.

    Attributes:
      uri: Of the store, None for no tracking: every method then does nothing.
    """

    def __init__(
        self,
        folder: Path,
        tracking: Tracking,
        settings: Mapping[str, Any],
        figures: Figures,
        *,
        shared: bool,
        later: Callable[[Callable[[], None]], None],
        say: Callable[[str], None],
        remedy: str,
    ):
        self.uri, self._tracking, self._settings = tracking.uri, tracking, settings
        self._later, self._say, self._remedy = later, say, remedy
        self._follower = Follower(folder, tracking, figures, own=shared, stopped=lambda: self._stopped)
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards what follows
        self._asked = self._answered = 0  # looks that are waited for
        self._end: str | None = None  # status of the study at its end
        self._held = self._stopped = self._told = False
        self._leaving: int | None = None  # the look after which nothing more is told
        self._opened = self._fault_said = False
        self._failed = 0  # times in a row
        self._problem = ""
        self._fault: LstmBenchError | None = None
        self._waited_s = 0.0  # by `leave`

    @property
    def page(self) -> str | None:
        """See `Tracking.page`."""
        return self._tracking.page

    def check_store(self) -> None:
        """As `Tracking.check_store`, at once and by the caller; that another program holds the store is said, and no fault."""
        self._tracking.check_store(lambda held: self._say(f"{held}: the sweep goes on, MLflow is told when it is free"))

    def start(self) -> None:
        """Starts the thread.

        A fault of the store that ends a sweep (`StorageError`) is raised by what `later` has done.
        """
        if self.uri is not None and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
            self._thread.start()

    def wait_open(self, seconds: float, interrupted: Callable[[], bool]) -> None:
        """Waits until the study's run is open or the store has failed once, at most so long, and not once `interrupted`."""
        if self._thread is not None:
            self._await(lambda: self._opened or self._failed > 0, seconds, interrupted)

    def leave(self, status: str) -> None:
        """Waits until all that this driver did is told, then tells nothing more until `stay`.

        What it has told the last driver finds; what it told later would be there twice. Waits for at most
        `tracking.patience` seconds in all, and for no store that fails again and again.

        Args:
          status: How the sweep ends. An interrupted one (KILLED) waits for a moment only.
        """
        if self._thread is None or self._held:
            return
        with self._changed:
            self._asked += 1
            asked, self._failed = self._asked, min(self._failed, _LAST_TRIES - 1)
            self._leaving = asked  # the thread itself holds then: it could look once more before this one wakes
            self._changed.notify_all()
        since = time.monotonic()
        self._patiently(
            lambda: self._answered >= asked or self._failed >= _LAST_TRIES,
            self._settings["patience"] - self._waited_s,
            status,
        )
        self._waited_s += time.monotonic() - since
        with self._changed:
            self._held = True

    def stay(self) -> None:
        """Goes on following."""
        with self._changed:
            self._held, self._leaving = False, None
            self._changed.notify_all()

    def finish(self, status: str, goes_on: bool = False) -> None:
        """Has the study's run ended and waits until all is told, at most `tracking.patience` seconds.

        An interrupted sweep (KILLED) waits for a moment only. Whatever is left then is left; see `warning`.

        Args:
          status: FINISHED, FAILED or KILLED.
          goes_on: Whether the run does not end: other drivers are at the study, and `leave` has told them all.

        Raises:
          LstmBenchError: the fault that ends a sweep, unless it was raised before.
        """
        thread = self._thread
        if thread is None:
            return
        try:
            if not goes_on:
                with self._changed:
                    self._end = status
                    self._changed.notify_all()
                self._patiently(lambda: not thread.is_alive(), self._settings["patience"], status)
        finally:
            with self._changed:
                self._stopped = True
                self._told = self._told or (goes_on and self._answered >= self._asked)
                self._changed.notify_all()
            if store.sqlite_path(str(self.uri)) is not None:
                thread.join(_WRITE_S)
        if self._fault is not None and status == "FINISHED":
            raise self._fault

    @property
    def warning(self) -> str | None:
        """After `finish`: one line about what MLflow was not told, and the way to tell it. None where nothing is missing."""
        left_out = len(self._follower.refused)
        if self._thread is None or self._fault is not None or (self._told and not left_out):
            return None
        cause = self._problem or (f"it refused {left_out} runs" if left_out else "it was too slow")
        return (
            f"MLflow ({self._tracking.address}) is not up to date: {cause}. The records are complete: {self._remedy} "
            "brings it up to date, and so does the same command."
        )

    def _patiently(self, holds: Callable[[], bool], patience: float, status: str) -> None:
        """Waits until something holds, and says so where that takes a while."""
        notice = _NOTICE_S
        if status == "KILLED":
            patience = notice = min(patience, _HASTE_S)
        self._await(holds, min(patience, notice), lambda: False)
        if patience > notice and not (holds() or self._stopped):
            self._say(f"waiting for MLflow ({self._tracking.address}), at most {patience:g} s")
            self._await(holds, patience - notice, lambda: False)

    def _await(self, holds: Callable[[], bool], seconds: float, interrupted: Callable[[], bool]) -> None:
        ends = time.monotonic() + seconds
        with self._changed:
            while not (holds() or self._stopped or interrupted()) and (left := ends - time.monotonic()) > 0:
                self._changed.wait(min(left, _ASK_S))

    # What follows is the thread's.

    def _work(self) -> None:
        pause = self._settings["retry_s"]
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or not self._held)
                asked, end = self._asked, self._end
                if self._stopped:
                    break
            fault = self._try(end)
            with self._changed:
                self._failed = self._failed + 1 if fault else 0
                self._answered = self._answered if fault else asked
                self._held = self._held or (self._leaving is not None and self._answered >= self._leaving)
                self._told = end is not None and not fault and not self._stopped
                self._changed.notify_all()
                if self._told or (end is not None and self._failed >= _LAST_TRIES):
                    break
                wait_s = pause if fault else LOOK_S
                if fault and (end or asked > self._answered):  # somebody waits
                    wait_s = min(pause, _NOTICE_S)
                self._wait_for_news(asked, end, wait_s)
            pause = min(2 * pause, self._settings["retry_most_s"]) if fault else self._settings["retry_s"]
        self._follower.close()

    def _wait_for_news(self, asked: int, end: str | None, seconds: float) -> None:
        self._changed.wait_for(lambda: self._stopped or self._asked > asked or self._end != end, seconds)

    def _try(self, end: str | None) -> Exception | None:
        """Looks once, at the end for the last time; what went wrong."""
        first = not (self._opened or self._failed)
        fault: Exception | None = None
        try:
            if end is None:
                self._follower.look()
            else:
                self._follower.conclude(end)
        except Exception as error:  # whatever it is, it is the follower's: the sweep goes on
            fault = error
        fault = fault or self._tracking.error
        if fault is None:
            if self._fault_said:
                self._later(lambda: self._say("MLflow answers again"))
            self._opened, self._fault_said, self._problem = True, False, ""
            return None
        self._problem = str(fault) if isinstance(fault, LstmBenchError) else store.said(fault)
        if isinstance(fault, LstmBenchError) and first:
            self._fault, self._stopped = fault, True
            self._later(self._raise)
        elif not (self._fault_said or self._stopped):
            self._fault_said = True
            said = f"MLflow does not take what it is told, the sweep goes on: {self._problem}"
            self._later(lambda: self._say(said))
        return fault

    def _raise(self) -> None:
        assert self._fault is not None
        raise self._fault
