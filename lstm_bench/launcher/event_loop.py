"""The event loop of a driver: keeps the launcher busy, hears its events, heeds signals and time limits."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from lstm_bench.core import errors, schema
from lstm_bench.core.console import Display
from lstm_bench.core.errors import InterruptedByUser, LstmBenchError, StorageError
from lstm_bench.launcher.base import Event, Launcher
from lstm_bench.launcher.packing import Packing
from lstm_bench.launcher.protocol import ControlTask, EpochResult, ProbeTask, Result, Task, TrialResult

GRACE_S = 5.0  # what running tasks get to finish in after the first interrupt
_TICK_S = 0.2
_LOOK_S = 1.0  # between two questions for a task while there is none yet
_DRAIN_S = 1.0  # from when a task is found late to when it is ended: what its worker had sent before is read first
_LOST = 3  # workers in a row that die before their first task: the installation is at fault


@dataclass
class Running:
    """A task in flight.

    Attributes:
      name: What a person sees: "trial 7", "seed 0".
      task: What a worker does.
      number: Of the trial, None for anything else.
      epochs: Those that have ended.
      stopped: Whether the pruner has stopped it.
      tries: How often this task was started, this time included.
      together: Trainings that share its program, and with it its time.
      about_s: How long it is expected to take, None where nobody knows.
      done: Epochs done, parts of them too.
      begun_s: Seconds from its start to its first steps, None before.
      late: When it was found to last too long, None while it was not; on the monotonic clock.
    """

    name: str
    task: Task
    number: int | None = None
    epochs: list[EpochResult] = field(default_factory=list)
    stopped: bool = False
    tries: int = 1
    together: int = 1
    about_s: float | None = None
    done: float = 0.0
    begun_s: float | None = None
    late: float | None = None
    since: float = field(default_factory=time.monotonic)
    started_ms: int = field(default_factory=lambda: int(time.time() * 1000))

    def elapsed_s(self) -> float:
        """Seconds since it was started, whatever is done to the clock on the wall."""
        return time.monotonic() - self.since

    def trains(self) -> bool:
        """Whether it is a training, of epochs, and no measurement."""
        return not isinstance(self.task, ProbeTask | ControlTask)

    def progress(self, epochs: float) -> None:
        """Notes how far it is."""
        self.done = epochs
        if self.begun_s is None:
            self.begun_s = self.elapsed_s()


# In place of a task: there is none yet, but the work of others may make one.
NO_TASK_YET = Running("later", Task(config=typing.cast(schema.Sweep, {})))

Next = Callable[[], Running | Sequence[Running] | None]
Finished = Callable[[Running, Result], None]
Report = Callable[[Running, EpochResult], bool]


class Loop:
    """Runs tasks to their ends.

    Args:
      launcher: Where tasks run; may be set later, but before `run`.
      display: What a person sees.
      task_timeout_s: Seconds after which a task has failed, trainings of one program after as many for each; None: no limit.
    """

    def __init__(self, launcher: Launcher | None, display: Display, task_timeout_s: float | None):
        self.launcher, self.display = launcher, display
        self._limit = task_timeout_s or math.inf
        self._tasks: Packing
        self._running: dict[str, Running] = {}
        self._later: list[Callable[[], None]] = []
        self._heard: list[Event] = []  # and not handled
        self._signals = self._lost = 0
        self._deadline = math.inf
        self._notice: threading.Thread | None = None

    def interrupted(self) -> bool:
        """Whether the user wants to end."""
        return self._signals > 0

    def defer(self, work: Callable[[], None]) -> None:
        """Puts off work that no worker waits for (records, tracking, display) until the workers are busy again."""
        self._later.append(work)

    def busy(self) -> bool:
        """Whether any task runs."""
        return bool(self._running)

    def running(self) -> list[Running]:
        """The tasks that run."""
        return list(self._running.values())

    def run(self, next_task: Next, finished: Finished, report: Report | None = None) -> None:
        """Submits what `next_task` gives until it gives None and nothing runs any more.

        Args:
          next_task: The next task, or several trainings for one program; None for now. Asked again after each result, which may
            have made new work. `NO_TASK_YET` for none yet: asked again soon, and waited for.
          finished: Receives each task with its result: what the worker said, or FAIL with reason worker_died, timeout or
            interrupted. A task that the pruner stopped is PRUNED.
          report: Receives each epoch, also of a task that was stopped and has not heard of it; returns
            whether to stop the task.

        Raises:
          InterruptedByUser: after Ctrl-C or SIGTERM, when all tasks have finished or been ended.
          LstmBenchError: a fault that a worker found in the configuration, the data or a kernel.
        """
        assert self.launcher is not None
        self._tasks = Packing(self.launcher, self.display.line)
        main = threading.current_thread() is threading.main_thread()  # in another one, signals are the caller's
        numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
        handlers = {number: signal.signal(number, self._signal) for number in numbers}
        try:
            exhausted, look_at = False, 0.0
            while True:
                self._handle_signals(finished)
                while not (self._signals or exhausted) and time.monotonic() >= look_at and self.launcher.capacity():
                    given = next_task()
                    if given is NO_TASK_YET:
                        look_at = time.monotonic() + _LOOK_S
                        break
                    if given is None:
                        exhausted = True
                        break
                    self._start([given] if isinstance(given, Running) else given)
                self.run_deferred()
                self.display.tick()
                if not self._running:
                    if self._signals:
                        raise InterruptedByUser("interrupted", remedy="The same command goes on from here.")
                    if exhausted:
                        return
                before = len(self._running)
                # A fault comes last: it ends the sweep, and what came together with it is finished.
                self._heard += sorted(self._tasks.events(_TICK_S), key=_is_fault)
                while self._heard:
                    self._handle(self._heard.pop(0), finished, report)
                self._kill_timed_out(finished)
                if len(self._running) != before:
                    exhausted, look_at = False, 0.0
        except LstmBenchError as error:
            if isinstance(error, InterruptedByUser):  # what has come by now is told, or kept
                for event in (*self._heard, *self._tasks.events(0)):
                    with contextlib.suppress(LstmBenchError):
                        self._handle(event, finished, None)
            # The sweep ends here: what still runs is queued again, unless it is the database that failed.
            with contextlib.suppress(StorageError, InterruptedByUser):
                for key in list(self._running):
                    self._kill(key, finished, "interrupted")
            raise
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self.run_deferred()

    def _start(self, together: Sequence[Running]) -> None:
        tasks = {f"{running.name}/{running.tries}": running for running in together}
        self._running |= tasks
        self._tasks.submit({key: running.task for key, running in tasks.items()})
        for running in together:
            running.together = len(together)
            self.display.started(running.name, trains=running.trains(), about_s=running.about_s)

    def run_deferred(self) -> None:
        """Does what was put off."""
        while self._later:
            self._later.pop(0)()

    def _signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals == 1:
            self._deadline = time.monotonic() + GRACE_S
            text = (
                f"interrupted: what runs gets {GRACE_S:g} s to finish, then it is queued again; Ctrl-C again stops now"
            )
            self._notice = self._say_at_once(text)

    def _say_at_once(self, text: str) -> threading.Thread:
        """Prints a line whatever the loop is busy with (MLflow's import takes seconds).

        Another thread prints it: this one may hold the display's locks.
        """
        notice = threading.Thread(target=self.display.line, args=(text, "yellow"))
        notice.start()
        return notice

    def _handle_signals(self, finished: Finished) -> None:
        if self._notice:
            self._notice.join()
        if self._is_grace_over():
            for key in list(self._running):
                self._kill(key, finished, "interrupted")

    def _is_grace_over(self) -> bool:
        """Whether what still runs is to be ended: the user has asked twice, or `GRACE_S` have passed."""
        return self._signals > 1 or time.monotonic() > self._deadline

    def _kill_timed_out(self, finished: Finished) -> None:
        for key, running in list(self._running.items()):
            now, elapsed = time.monotonic(), running.elapsed_s()
            if elapsed > self._limit * running.together:
                # A driver that was stopped, or its machine, hears only now of what ended in time.
                running.late = running.late or now
                if now - running.late < _DRAIN_S:
                    continue
                self._kill(key, finished, "timeout", elapsed)

    def _kill(self, key: str, finished: Finished, reason: str, after_s: float | None = None) -> None:
        running = self._running.pop(key)
        ended = running.task.answer(state="FAIL", reason=reason, setup_s=after_s, total_s=after_s)
        result = self._tasks.kill(key, ended)
        self.display.gone(running.name)
        finished(running, result)

    def _is_running(self, key: str) -> bool:
        """Whether a task still runs: what a worker says of one that was ended is ignored."""
        return key in self._running

    def _handle(self, event: Event, finished: Finished, report: Report | None) -> None:
        if event.key is None:
            self._lost = self._lost + 1 if event.kind == "died" else 0
            if self._lost >= _LOST:
                raise StorageError(f"{_LOST} workers died before their first task", remedy=f"See {event.body['log']}.")
            return
        if not self._is_running(event.key):
            return
        running = self._running[event.key]
        if event.kind == "progress":
            running.progress(event.body["progress"])
            self.display.progress(running.name, running.done)
            return
        if event.kind == "epoch":
            epoch = EpochResult.read(event.body)
            running.progress(epoch.epoch)
            running.epochs.append(epoch)
            self.display.epoch(running.name, epoch.row())
            if report and report(running, epoch) and not running.stopped:
                running.stopped = True
                self._tasks.stop(event.key)
            return
        del self._running[event.key]
        self.display.gone(running.name)
        if event.kind == "died":
            detail = event.body.get("why") or f"exit {event.body['exit']}"
            finished(running, running.task.answer(state="FAIL", reason="worker_died", detail=detail))
            return
        result = running.task.answer.read(event.body)
        if result.state == "FAULT":
            raise getattr(errors, str(result.error), LstmBenchError)(str(result.detail))
        if running.stopped and result.reason != "pack_failed":
            result = _pruned(result, running.epochs)
        finished(running, result)


def _pruned(result: Result, epochs: Sequence[EpochResult]) -> Result:
    """The result of a task that was stopped after its last epoch, however far the worker came in the meantime."""
    result = dataclasses.replace(result, state="PRUNED", reason=None, detail=None)
    if not isinstance(result, TrialResult):
        return result
    last = epochs[-1]
    own = {name: value for name, value in result.scores.items() if not name.startswith("val_")}  # of its end, perhaps
    return dataclasses.replace(
        result,
        epochs=len(epochs),
        best_epoch=None,
        weights_sha256=None,
        n_weights=last.n_weights or result.n_weights,
        train_samples_per_s=last.train_samples_per_s or result.train_samples_per_s,
        scores={**own, **last.scores},
    )


def _is_fault(event: Event) -> bool:
    return event.kind == "result" and event.body["state"] == "FAULT"
