"""A worker on a node of a Ray cluster: an actor whose bench keeps imports and data from task to task.

The bench has a thread of its own, so that "stop" and the driver's questions are heard in mid-step. The actor gets tasks and says
what happens; it holds no database handle and no password, and may be killed at any time.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import stat
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_bench.core import hardware, schema
from lstm_bench.core.cache import cache_folder
from lstm_bench.core.hardware import Slot
from lstm_bench.data.dataset import Dataset
from lstm_bench.launcher import worker
from lstm_bench.launcher.worker_environment import without_passwords, worker_environment

LISTEN_S = 5.0  # an idle worker answers the driver this often
_ALONE_S = 60.0  # without a question of the driver's there is none
_LOG_BYTES = 1 << 16  # of a log at a time


class Worker:
    """The actor. Every method returns at once but `listen`.

    Args:
      setup: See `runner.made`, and `node` (a name), `place` of `places` on that node, `cpus` and `gpus` of each, `programs`
        (whether compiled programs are kept).
    """

    def __init__(self, setup: Mapping[str, Any]):
        self._tasks: queue.Queue[dict[str, Any]] = queue.Queue()
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        self._stopped: set[str] = set()
        self._log = _Log()
        self._raylet, self._asked = os.getppid(), time.monotonic()
        self._folders: dict[str, str] = {}
        threading.Thread(target=self._watch, daemon=True).start()
        threading.Thread(target=self._serve, args=(dict(setup),), daemon=True).start()

    def submit(self, key: str, task: Mapping[str, Any], config: schema.Dataset | None, data: Dataset | None) -> None:
        """Takes a task; with the driver's dataset, and the settings it is of, when this worker has not got it yet."""
        given: dict[str, Any] = {"do": "run", "key": key, "task": dict(task)}
        if task.get("keep"):  # a folder of the driver's machine: its files go there with the result
            self._folders[key] = tempfile.mkdtemp(prefix="lstm_bench-")
            given["task"]["keep"] = self._folders[key]
        if data is not None:
            given["data"] = (config, data)
        self._tasks.put(given)

    def stop(self, key: str) -> None:
        """Asks a task to stop after its epoch."""
        self._stopped.add(key)

    def listen(self) -> list[dict[str, Any]]:
        """What happened since the last question; waits for the first of it, at most `LISTEN_S` seconds."""
        said: list[dict[str, Any]] = []
        with contextlib.suppress(queue.Empty):
            said.append(self._said.get(timeout=LISTEN_S))
            while True:
                said.append(self._said.get_nowait())
        self._asked = time.monotonic()
        text = self._log.rest()
        return [*said, {"event": "log", "text": text}] if text else said

    def _watch(self) -> None:
        # Where a raylet is killed, Ray lets its workers live as long as they are busy.
        while os.getppid() == self._raylet and time.monotonic() < self._asked + LISTEN_S + _ALONE_S:
            time.sleep(0.5)
        for folder in self._folders.values():
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    def _serve(self, setup: dict[str, Any]) -> None:
        try:
            for name in os.environ.keys() - without_passwords(os.environ).keys():  # of whoever started the node
                del os.environ[name]
            slot = placed(setup)
            programs = cache_folder() / "xla" / re.sub(r"\W+", "-", hardware.cpu_name()) if setup["programs"] else None
            given = worker_environment(
                os.environ, setup["backend"], programs, setup["deterministic"], gpu=slot.gpu is not None
            )
            os.environ.update({**given, **slot.environment})
            facts = {"device": slot.device, "share": slot.share, "cores": list(slot.cores), "gpu": slot.gpu}
            found = next((vars(gpu) for gpu in hardware.gpus() if slot.gpu), None)
            self._facts = {**facts, "found": found, "node": setup["node"]}
            worker.serve({**setup, **facts, "data_fd": None}, self._tasks, self._say, self._stopped.__contains__)
        except BaseException as error:  # a thread's end is not the process's
            traceback.print_exc()
            self._said.put({"event": "broken", "why": f"{type(error).__name__}: {error}"})

    def _say(self, message: dict[str, Any]) -> None:
        if message["event"] == "ready":
            message |= self._facts
        if message["event"] == "result":
            self._stopped.discard(message["key"])
            if message["key"] in self._folders:
                folder = Path(self._folders.pop(message["key"]))
                message["files"] = {
                    str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
                }
                shutil.rmtree(folder, ignore_errors=True)
        self._said.put(message)


class _Log:
    """What this process writes, where Ray keeps it in files of the node."""

    def __init__(self) -> None:
        self._read: dict[str, int] = {}  # path -> bytes that were sent
        for fd in (1, 2):
            with contextlib.suppress(OSError):
                if stat.S_ISREG(os.fstat(fd).st_mode):
                    path = str(Path(f"/proc/self/fd/{fd}").readlink())
                    self._read.setdefault(path, Path(path).stat().st_size)

    def rest(self) -> str:
        """What was added since."""
        text = ""
        for path, offset in self._read.items():
            with contextlib.suppress(OSError), Path(path).open("rb") as file:
                file.seek(offset)
                added = file.read(_LOG_BYTES)
                self._read[path] += len(added)
                text += added.decode(errors="replace")
        # Ray marks in its logs whose lines follow.
        return re.sub(r"(?m)^:(actor|task)_name:.*\n", "", text)


def placed(setup: Mapping[str, Any]) -> Slot:
    """What a worker may use of the node that it finds itself on.

    Args:
      setup: `place` of `places` on this node, `cpus` and `gpus` of each as Ray counts them.

    Returns:
      Its slot: cores of its own as long as there are enough, and the GPU that Ray has given it. "shared" where another
      trial may have the same GPU or the same cores.
    """
    available, width, n = hardware.cores(), max(1, int(setup["cpus"])), setup["places"]
    enough = n * width <= len(available)
    first = setup["place"] * width if enough else setup["place"] % len(available)
    cores = available[first : first + (width if enough else 1)]
    environment = {"OMP_NUM_THREADS": str(len(cores))}
    gpus = hardware.gpus() if setup["gpus"] else []
    if gpus:
        share = "exclusive" if setup["gpus"] >= 1 else "shared"
        return Slot(setup["place"], gpus[0].name, share, cores, gpus[0].name, environment)
    if 0 < setup["gpus"] < 1 or not enough:
        share = "shared"
    elif len(cores) == len(available):
        share = "exclusive"
    else:
        share = f"{len(cores)} core{'s' * (len(cores) > 1)} of {len(available)}, other busy"
    # A GPU that was not asked for must not be used by a framework that finds it.
    return Slot(setup["place"], hardware.cpu_name(), share, cores, None, {"CUDA_VISIBLE_DEVICES": "-1", **environment})
