"""A fresh worker process for one task, started ahead of it if need be, with a limit on how long it may compile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lstm_bench.core.hardware import Slot
from lstm_bench.launcher.local import LocalLauncher
from lstm_bench.launcher.runner import BENCH

Send = Callable[[Mapping[str, Any]], None]
SILENCE_S = (
    1800.0  # from one sign of life to the next: the longest cell on the slowest machine, not a driver that hangs
)
Kind = tuple[str, bool]  # backend, and whether with Keras


class Process:
    """One worker; it imports its framework at once.

    Args:
      slot: What it may use.
      backend: Of Keras.
      log_dir: Folder of its output.
      keras: Whether it imports Keras as well.
      tasks: How many it may be given, one after the other.
      bench: What makes its bench, see `runner.made`.
      tick: Called several times a second while it is waited for.

    Attributes:
      kind: `backend` and `keras`, as given.
      seen: "gpu" or "cpu", what its framework sees, once ready; None before, and when it died.
    """

    def __init__(
        self,
        slot: Slot,
        backend: str,
        log_dir: Path,
        keras: bool,
        tasks: int = 1,
        bench: str = BENCH,
        tick: Callable[[], None] = lambda: None,
    ):
        self._tick = tick
        self.kind: Kind = (backend, keras)
        self.seen: str | None = None
        self._launcher = LocalLauncher(
            [slot], backend, log_dir, recycle_after=tasks + 1, recycle_mib=2**40, keras=keras, bench=bench
        )

    def wait(self) -> bool:
        """Waits until the framework is imported; False when the process died of that, or hangs."""
        deadline = time.monotonic() + SILENCE_S
        while self.seen is None:
            if time.monotonic() > deadline:
                return False
            self._tick()
            for event in self._launcher.events(0.2):
                if event.kind == "died":
                    return False
                if event.kind == "ready":
                    self.seen = event.body["seen"]
        return True

    def run(self, task: Mapping[str, Any], report: Send, compile_limit_s: float) -> dict[str, Any]:
        """Runs the task to its end.

        Args:
          task: See `training.tasks`.
          report: Receives what the task reports.
          compile_limit_s: Seconds from a report of phase "compile" to the next report.

        Returns:
          The task's result. An end of another kind is one too: `state` FAIL, with `reason` and `detail`.
        """
        self._launcher.submit("it", task)
        compiling: float | None = None
        heard = time.monotonic()
        while True:
            self._tick()
            for event in self._launcher.events(0.2):
                heard = time.monotonic()
                if event.kind == "epoch":
                    compiling = time.monotonic() if event.body["phase"] == "compile" else None
                    report(event.body)
                elif event.kind == "result":
                    return dict(event.body)
                elif event.kind == "died":
                    detail = f"the process died (exit {event.body['exit']})"
                    return {"state": "FAIL", "reason": "died", "detail": detail}
            if compiling and time.monotonic() - compiling > compile_limit_s:
                detail = f"compile exceeded {compile_limit_s:g} s"
                return {"state": "FAIL", "reason": "compile_limit", "detail": detail}
            if time.monotonic() - heard > SILENCE_S:
                return {"state": "FAIL", "reason": "hung", "detail": f"nothing was heard for {SILENCE_S:g} s"}

    def end(self) -> None:
        """Ends the process, whatever it does."""
        self._launcher.close()
