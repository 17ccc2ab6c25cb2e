"""A worker process: `python -m lstm_bench.launcher.worker FD`, started by the launcher, never by a person.

It gets tasks and sends events as lines of JSON over one socket. It holds no database handle and no password, may be killed
at any time, and ends itself when its driver is gone. Its standard output and error go to a log file.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import psutil

from lstm_bench.launcher import runner


class _Link:
    """The worker's end of the socket: a thread reads, so that "stop" and the driver's death are seen in mid-step."""

    def __init__(self, fd: int):
        self._socket = socket.socket(fileno=fd)
        self._lock = threading.Lock()
        self._stop: set[str] = set()
        self.tasks: queue.Queue[dict[str, Any]] = queue.Queue()

    def start(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for line in self._socket.makefile("r", encoding="utf-8"):
                message = json.loads(line)
                if message["do"] == "stop":
                    self._stop.add(message["key"])
                else:
                    self.tasks.put(message)
        finally:
            runner.end_with_driver()

    def send(self, message: dict[str, Any]) -> None:
        with self._lock:
            self._socket.sendall((json.dumps(message) + "\n").encode())

    def stopped(self, key: str) -> bool:
        return key in self._stop


def main(argv: list[str]) -> int:
    """Serves tasks until the launcher says exit or goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the driver's to understand
    link = _Link(int(argv[0]))
    link.start()
    serve(link.tasks.get(), link.tasks, link.send, link.stopped)
    return 0


def serve(
    setup: Mapping[str, Any],
    tasks: queue.Queue[dict[str, Any]],
    send: Callable[[dict[str, Any]], None],
    stopped: Callable[[str], bool],
) -> None:
    """Makes a bench in this thread and runs tasks on it until one says exit.

    Args:
      setup: See `runner.made`; `cores` are those to run on.
      tasks: Messages of a launcher. One that brings the `data` of its task, a pair of the `dataset` settings and the
        dataset, spares the bench to load it.
      send: Takes what happens: "ready", "progress", "epoch", "result".
      stopped: Whether the task of a key is to stop.
    """
    if setup["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, setup["cores"])
    bench, seen = runner.made(setup)
    # What was imported is never garbage: leaving it out makes the collection after each task a matter of milliseconds.
    gc.collect()
    gc.freeze()
    send({"event": "ready", "seen": seen})
    while (task := tasks.get())["do"] != "exit":
        key = task["key"]
        if "data" in task:
            bench.preload_data(*task["data"])

        def report(metrics: dict[str, Any], key: str = key) -> None:
            send({"event": "progress" if "progress" in metrics else "epoch", "key": key, "metrics": metrics})

        result = bench.run(task["task"], report, functools.partial(stopped, key))
        gc.collect()  # a traced model is one large circle of references
        rss = psutil.Process().memory_info().rss // 2**20
        send({"event": "result", "key": key, "result": result, "rss_mib": rss})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
