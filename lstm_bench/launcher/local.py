"""Where tasks run: submit -> events -> result, with a capacity, a stop and a kill.

`LocalLauncher` keeps spawned worker processes, each on its own device or share of the cores, across many tasks.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_bench.core.errors import StorageError
from lstm_bench.core.hardware import Slot
from lstm_bench.launcher.base import Event
from lstm_bench.launcher.runner import BENCH
from lstm_bench.launcher.worker_environment import without_databases, without_passwords, worker_environment


@dataclass
class _Worker:
    slot: Slot
    process: subprocess.Popen[bytes]
    socket: socket.socket
    log: Path
    key: str | None = None
    tasks: int = 0
    buffer: bytes = b""

    def in_service(self) -> bool:
        """Whether it was not ended yet, as one is whose replacement could not be started."""
        return self.socket.fileno() != -1


class LocalLauncher:
    """Worker processes of this machine.

    Args:
      slots: What each worker may use.
      backend: Keras backend that the workers load.
      log_dir: Folder of the workers' output.
      recycle_after: Tasks after which a worker is replaced: TensorFlow's memory grows with each model.
      recycle_mib: Resident MiB above which it is.
      keras: Whether workers import Keras too; a yardstick is measured without it.
      programs: Folder of the programs that XLA compiled before, None to compile anew. JAX's own variable goes first.
      data_fd: Descriptor of a `shared_memory.SharedDataset`, which every worker inherits.
      deterministic: Whether the workers compute the same bits whenever they are given the same task.
      bench: What makes a worker's bench, see `runner.made`.
      code: What the workers may train of a user's own: `target` and `files`, see `user_code.Guard`; None for a family of ours.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        backend: str,
        log_dir: Path,
        recycle_after: int,
        recycle_mib: int,
        keras: bool = True,
        data_fd: int | None = None,
        programs: Path | None = None,
        deterministic: bool = False,
        bench: str = BENCH,
        code: Mapping[str, Any] | None = None,
    ):
        self._deterministic, self._bench, self._code = deterministic, bench, code
        self._backend, self._log_dir, self._keras, self._data_fd = backend, log_dir, keras, data_fd
        self._programs = programs
        self._recycle_after, self._recycle_mib = recycle_after, recycle_mib
        self._selector = selectors.DefaultSelector()
        self._workers = [self._start(slot) for slot in slots]

    def _start(self, slot: Slot) -> _Worker:
        ours, theirs = socket.socketpair()
        log = self._log_dir / f"worker-{slot.index}.log"
        environment = {
            **without_passwords(os.environ),
            **worker_environment(
                os.environ, self._backend, self._programs, self._deterministic, gpu=slot.gpu is not None
            ),
            "PYTHONPATH": os.pathsep.join(str(Path(p).absolute()) for p in sys.path if p or p == ""),
            **slot.environment,
        }
        try:
            self._log_dir.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "lstm_bench.launcher.worker", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment,
                    pass_fds=[fd for fd in (theirs.fileno(), self._data_fd) if fd is not None],
                    start_new_session=True,  # a Ctrl-C in the terminal reaches the driver alone
                )
        except OSError as error:
            raise StorageError(f"{log}: a worker cannot be started ({error.strerror})") from error
        theirs.close()
        worker = _Worker(slot, process, ours, log)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        self._send(
            worker,
            {"do": "setup", "backend": self._backend, "device": slot.device, "share": slot.share}
            | {"gpu": slot.gpu, "cores": list(slot.cores), "keras": self._keras, "data_fd": self._data_fd}
            | {"deterministic": self._deterministic, "bench": self._bench, "code": self._code},
        )
        return worker

    @staticmethod
    def _send(worker: _Worker, message: Mapping[str, Any]) -> None:
        # A worker that is gone is noticed where its socket is read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.socket.sendall((json.dumps(message) + "\n").encode())

    def capacity(self) -> int:
        return sum(worker.key is None for worker in self._workers)

    def submit(self, key: str, task: Mapping[str, Any]) -> None:
        worker = next(worker for worker in self._workers if worker.key is None)
        worker.key, worker.tasks = key, worker.tasks + 1
        self._send(worker, {"do": "run", "key": key, "task": without_databases(task)})

    def events(self, timeout_s: float) -> list[Event]:
        happened: list[Event] = []
        for ready, _ in self._selector.select(timeout_s):
            worker: _Worker = ready.data
            try:
                chunk = worker.socket.recv(1 << 20)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                happened.append(self._bury(worker))
                continue
            *lines, worker.buffer = (worker.buffer + chunk).split(b"\n")
            happened += [event for line in lines if (event := self._event(worker, json.loads(line)))]
        return happened

    def _event(self, worker: _Worker, message: dict[str, Any]) -> Event | None:
        if message["event"] == "ready":
            return Event("ready", None, message)
        if message["key"] != worker.key:
            return None
        if message["event"] in ("epoch", "progress"):
            return Event(message["event"], worker.key, message["metrics"])
        event = Event("result", worker.key, message["result"])
        worker.key = None
        out_of_memory = message["result"].get("reason") == "oom"
        if out_of_memory or worker.tasks >= self._recycle_after or message["rss_mib"] > self._recycle_mib:
            self._replace(worker)
        return event

    def _bury(self, worker: _Worker) -> Event:
        code = self._end(worker)
        event = Event("died", worker.key, {"exit": code, "log": str(worker.log)})
        self._workers[self._workers.index(worker)] = self._start(worker.slot)
        return event

    def _replace(self, worker: _Worker) -> None:
        self._send(worker, {"do": "exit"})
        self._end(worker)
        self._workers[self._workers.index(worker)] = self._start(worker.slot)

    def _end(self, worker: _Worker) -> int:
        """Takes the worker out of service; its process is dead on return."""
        if worker.in_service():
            self._selector.unregister(worker.socket)
            worker.socket.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.process.pid, signal.SIGKILL)
        return worker.process.wait()

    def stop(self, key: str) -> None:
        for worker in self._workers:
            if worker.key == key:
                self._send(worker, {"do": "stop", "key": key})

    def kill(self, key: str) -> None:
        for worker in list(self._workers):
            if worker.key == key:
                self._end(worker)
                self._workers[self._workers.index(worker)] = self._start(worker.slot)

    def close(self) -> None:
        for worker in self._workers:
            self._end(worker)
        self._workers = []
        self._selector.close()
