"""Where tasks run when that is a Ray cluster: an actor for each place that its nodes hold.

Ray core, not Tune: Ray starts the actors, carries messages and data, and says what died; what is run, how often and in
which order is the driver's. Every actor is asked what happened, and answers as soon as something has: a driver that
waits for the first answer of them all hears of an epoch within a millisecond or two, and never polls.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lstm_bench.core import schema
from lstm_bench.core.errors import StorageError
from lstm_bench.core.hardware import Gpu, Slot
from lstm_bench.data.dataset import Dataset
from lstm_bench.launcher import ray_actor, ray_cluster
from lstm_bench.launcher.base import Event
from lstm_bench.launcher.ray_cluster import Connection, Node
from lstm_bench.launcher.runner import BENCH
from lstm_bench.launcher.worker_environment import without_databases

_LOOK_S = 2.0  # between two looks at the cluster's nodes
_TAKEN_S = 60.0  # what the first worker gets to start in before a person is told
_PATIENCE_S = 5.0  # what further workers get to start in once the first has


@dataclass
class _Worker:
    node: Node
    place: int
    actor: Any
    listening: Any
    key: str | None = None
    given: Any = None  # the task on its way to it
    tasks: int = 0
    primed: str = ""  # the `dataset` settings of which it has the data
    facts: dict[str, Any] = field(default_factory=dict)  # what it said when it was ready
    keep: Path | None = None


class RayLauncher:
    """Workers on the nodes of a Ray cluster. Nodes that join are used, those that leave are missed only by their tasks.

    Args:
      settings: Group `launcher`.
      backend: Keras backend that the workers load.
      log_dir: Folder of the workers' output, and of Ray's.
      say: Shows a person one line.
      deterministic: Whether the workers compute the same bits whenever they are given the same task.
      bench: What makes a worker's bench, see `runner.made`.
      code: What the workers may train of a user's own: `target` and `files`, see `user_code.Guard`; None for a family of ours.

    Raises:
      ConfigError: when the cluster cannot be reached, or entered. `events` raises it when a node that is there from the
        start runs other code, before any worker is started.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        backend: str,
        log_dir: Path,
        say: Callable[[str], None],
        deterministic: bool = False,
        bench: str = BENCH,
        code: Mapping[str, Any] | None = None,
    ):
        self._settings, self._backend, self._log_dir, self._say = settings, backend, log_dir, say
        self._setup = {"do": "setup", "backend": backend, "keras": True, "deterministic": deterministic, "bench": bench}
        self._setup["code"], self._target = code, code["target"] if code else None
        self._workers: list[_Worker] = []
        self._waiting: deque[tuple[str, Mapping[str, Any]]] = deque()
        self._data: dict[str, tuple[Mapping[str, Any], Any]] = {}  # of each `dataset` settings
        self._request: dict[str, float] = {}
        self._nodes: dict[str, Node] = {}  # that are alive
        self._asked: dict[str, Any] = {}  # node -> what it answers when it is asked what it runs
        self._fit: dict[str, bool] = {}  # node -> whether it may be used
        self._begun = self._alone = False
        self._look_at, self._patient_until = 0.0, time.monotonic() + _TAKEN_S
        self._ours = ray_cluster.runs(backend, self._target)()
        self._connection = Connection(settings["address"], log_dir / "ray.log")
        import ray

        self._ray = ray
        self._look()

    @property
    def slots(self) -> list[Slot]:
        """What each worker that is ready may use."""
        return [
            Slot(index, facts["device"], facts["share"], tuple(facts["cores"]), facts["gpu"])
            for index, facts in enumerate(worker.facts for worker in self._workers if worker.facts)
        ]

    @property
    def gpus(self) -> list[Gpu]:
        """The GPU of each worker that is ready and has one."""
        found = [worker.facts.get("found") for worker in self._workers]
        return [Gpu(**facts) for facts in found if facts]

    def about(self) -> dict[str, Any]:
        """The cluster as `environment.json` has it."""
        used = [worker.node.name for worker in self._workers if worker.facts]
        return {"version": self._ray.__version__, "request": self._request, "nodes": dict(Counter(used))}

    def meet(self) -> None:
        """Waits until the first worker is ready, and a little for the others; before any task is submitted.

        Raises:
          StorageError: when a worker died while it started.
        """
        until = math.inf
        while time.monotonic() < until:
            for event in self.events(0.5):
                if event.kind == "died":
                    raise StorageError(
                        f"a worker died while it started: {event.body['why']}", remedy=f"See {event.body['log']}."
                    )
            ready = [worker for worker in self._workers if worker.facts]
            if ready and len(ready) == len(self._workers):
                return
            if ready and until == math.inf:
                until = time.monotonic() + _PATIENCE_S

    def share(self, dataset: Dataset, config: schema.Dataset) -> None:
        """Puts the dataset of a configuration into the object store: each node fetches it once, its workers map it.

        Args:
          dataset: What `data.load` returned.
          config: The `dataset` settings, as tasks have them.
        """
        with contextlib.suppress(self._ray.exceptions.RayError, OSError):  # no room: workers load it themselves
            self._data[json.dumps(config, sort_keys=True)] = (config, self._ray.put(dataset))

    def capacity(self) -> int:
        return sum(bool(worker.facts) and worker.key is None for worker in self._workers) - len(self._waiting)

    def submit(self, key: str, task: Mapping[str, Any]) -> None:
        self._waiting.append((key, task))
        self._assign()

    def _assign(self) -> None:
        """Gives what waits to workers that are ready."""
        for worker in self._workers:
            if not self._waiting:
                return
            if worker.facts and worker.key is None:
                worker.key, task = self._waiting.popleft()
                worker.tasks += 1
                worker.keep = Path(task["keep"]) if task.get("keep") else None
                wanted = json.dumps(task.get("config", {}).get("dataset"), sort_keys=True)
                config, data = self._data.get(wanted, (None, None)) if worker.primed != wanted else (None, None)
                worker.primed = wanted
                worker.given = worker.actor.submit.remote(worker.key, without_databases(task), config, data)

    def events(self, timeout_s: float) -> list[Event]:
        ends = time.monotonic() + timeout_s
        self._look()
        questions = {worker.listening: worker for worker in self._workers}
        answers = {ref: node for node, ref in self._asked.items()}
        tasks = {worker.given: worker for worker in self._workers if worker.given is not None}
        refs = [*questions, *answers, *tasks]
        if not refs:
            time.sleep(max(0.0, ends - time.monotonic()))
            return []
        if self._ray.wait(refs, num_returns=1, timeout=max(0.0, ends - time.monotonic()))[0]:
            refs, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        else:
            refs = []
        happened: list[Event] = []
        for ref in refs:
            if ref in answers:
                self._judge(answers[ref], ref)
            elif ref in tasks:
                happened += self._arrived(tasks[ref])
            else:
                happened += self._heard(questions[ref])
        self._assign()
        return happened

    def _arrived(self, worker: _Worker) -> list[Event]:
        """A task has reached its worker, or was lost on the way: no room for its files there, or for the data."""
        given, worker.given = worker.given, None
        try:
            self._ray.get(given)
        except self._ray.exceptions.RayError as error:
            return self._bury(worker, error) if worker in self._workers else []
        return []

    def _heard(self, worker: _Worker) -> list[Event]:
        try:
            said = self._ray.get(worker.listening)
            worker.listening = worker.actor.listen.remote()
        except self._ray.exceptions.RayError as error:
            return self._bury(worker, error)
        happened: list[Event] = []
        for message in said:
            happened += self._event(worker, message)
        return happened

    def _event(self, worker: _Worker, message: dict[str, Any]) -> list[Event]:
        if message["event"] == "log":
            with contextlib.suppress(OSError), (self._log(worker)).open("a") as file:
                file.write(message["text"])
            return []
        if message["event"] == "broken":
            return self._bury(worker, message["why"])
        if message["event"] == "ready":
            worker.facts = message
            if self._alone:
                self._say(f"a worker is there: node {worker.node.name}")
            self._alone = False
            return [Event("ready", None, message)]
        if message["key"] != worker.key:
            return []
        if message["event"] in ("epoch", "progress"):
            return [Event(message["event"], worker.key, message["metrics"])]
        event = Event("result", worker.key, message["result"])
        if worker.keep:
            event = Event("result", worker.key, _put(message.get("files", {}), worker.keep, message["result"]))
        worker.key = worker.keep = None
        out_of_memory = message["result"].get("reason") == "oom"
        tired = worker.tasks >= self._settings["recycle_after"] or message["rss_mib"] > self._settings["recycle_mib"]
        if out_of_memory or tired:
            self._dismiss(worker)
        return [event]

    def _log(self, worker: _Worker) -> Path:
        return self._log_dir / f"worker-{worker.node.name}-{worker.place}.log"

    def _bury(self, worker: _Worker, error: Exception | str) -> list[Event]:
        """Takes a dead worker out; its task has died with it. One that dies with its node is nobody's fault."""
        self._dismiss(worker)
        alive = worker.node.id in {node.id for node in self._connection.nodes()}
        # The death of a worker is reported by its node: where Ray knows of none, it is the node that does not answer.
        unknown = isinstance(error, self._ray.exceptions.ActorUnavailableError)
        with_its_node = unknown or not alive or "its node" in str(error)
        if with_its_node:
            words = f"node {worker.node.name} {'is out of reach' if unknown and alive else 'was lost'}"
        else:
            words = f"on node {worker.node.name}: {_reason(str(error))}"
        if worker.key is None and (with_its_node or worker.facts):
            return []
        return [Event("died", worker.key, {"exit": None, "why": words, "log": str(self._log(worker))})]

    def _dismiss(self, worker: _Worker) -> None:
        """Ends a worker; another takes its place when the cluster is next looked at, which is at once."""
        if worker in self._workers:
            self._workers.remove(worker)
        with contextlib.suppress(Exception):  # it may be dead, or its node
            self._ray.kill(worker.actor, no_restart=True)
        self._look_at = 0.0

    # Nodes.

    def _look(self) -> None:
        """Asks new nodes what they run, starts workers where there is room."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_S
        self._nodes = {node.id: node for node in self._connection.nodes()}
        if not self._request:
            self._request = self._asked_for()
        for node in self._nodes.values():
            if node.id in self._fit or node.id in self._asked:
                continue
            if not node.holds(self._request) and ray_cluster.loopback(node.address):
                self._fit[node.id] = True
            else:
                self._asked[node.id] = self._ask(node)
        self._begun = self._begun or all(identity in self._fit for identity in self._nodes)
        if self._begun:
            self._grow()

    def _asked_for(self) -> dict[str, float]:
        gpus = self._settings["gpus_per_trial"]
        if gpus == "auto":
            gpus = 1.0 if any(node.resources.get("GPU") for node in self._nodes.values()) else 0.0
        return {"CPU": float(self._settings["cpus_per_trial"]), "GPU": float(gpus)}

    def _ask(self, node: Node) -> Any:
        task = self._ray.remote(num_cpus=0, max_retries=0)(ray_cluster.runs(self._backend, self._target))
        return task.options(scheduling_strategy=self._on(node)).remote()

    @staticmethod
    def _on(node: Node) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node.id, soft=False)

    def _judge(self, identity: str, answer: Any) -> None:
        """Uses a node or refuses it: with an error before anything is run, later with a line."""
        del self._asked[identity]
        node = self._nodes.get(identity)
        if node is None:
            return
        # Where nothing of ours is run it need not be there; but where anybody may enter one node, all are open.
        ours = self._ours if node.holds(self._request) else {}
        try:
            refused = ray_cluster.refusal(node, self._ray.get(answer), ours)
        except self._ray.exceptions.RayError:  # it is gone, or will be asked again
            return
        self._look_at = 0.0
        if refused and not self._begun:
            raise refused
        if refused:
            self._say(f"not used: {refused}")
        self._fit[identity] = refused is None

    def _grow(self) -> None:
        """Starts workers until there are as many as wanted, on the emptiest node first."""
        room = {node.id: node.holds(self._request) for node in self._nodes.values() if self._fit.get(node.id)}
        wanted = sum(room.values()) if self._settings["workers"] == "auto" else self._settings["workers"]
        taken = Counter(worker.node.id for worker in self._workers)
        while len(self._workers) < wanted:
            free = {identity: places - taken[identity] for identity, places in room.items()}
            best = max(free, key=lambda identity: free[identity], default=None)
            if best is None or free[best] <= 0:
                break
            taken[best] += 1
            self._workers.append(self._start(self._nodes[best], room[best]))
        if self._alone or any(worker.facts for worker in self._workers):
            self._patient_until = time.monotonic() + _TAKEN_S
        elif any(room.values()):
            if time.monotonic() > self._patient_until:
                self._alone = True
                self._say("no worker: the cluster's resources are taken, or its workers still start")
        else:
            self._alone = True
            asked = " and ".join(f"{amount:g} {name}" for name, amount in self._request.items() if amount)
            self._say(f"no worker: waiting for a node{f' with {asked}' if asked else ''} of the Ray cluster")

    def _start(self, node: Node, places: int) -> _Worker:
        used = {worker.place for worker in self._workers if worker.node.id == node.id}
        place = next(number for number in range(places + 1) if number not in used)
        setup = {
            **self._setup,
            **{"node": node.name, "place": place, "places": places, "programs": not self._setup["deterministic"]},
            **{"cpus": self._request["CPU"], "gpus": self._request["GPU"]},
        }
        made = self._ray.remote(
            num_cpus=self._request["CPU"],
            num_gpus=self._request["GPU"],
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=4,
        )(ray_actor.Worker)
        actor = made.options(scheduling_strategy=self._on(node)).remote(setup)
        return _Worker(node, place, actor, actor.listen.remote())

    def stop(self, key: str) -> None:
        for worker in self._workers:
            if worker.key == key:
                worker.actor.stop.remote(key)

    def kill(self, key: str) -> None:
        self._waiting = deque((name, task) for name, task in self._waiting if name != key)
        for worker in list(self._workers):
            if worker.key == key:
                self._dismiss(worker)

    def close(self) -> None:
        for worker in list(self._workers):
            self._dismiss(worker)
        self._connection.close()


def _put(files: Mapping[str, bytes], folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Writes what a task has left behind into the driver's folder; the result, with what went wrong."""
    try:
        for name, content in files.items():
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                raise OSError(f"{name} is outside of it")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:  # what was measured stands
        return {**result, "detail": f"the model was not saved in {folder}: {error}"[:500]}
    return result


def _reason(text: str) -> str:
    """The reason for a death in Ray's words, cut to one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    exits = [line for line in lines if "exit detail:" in line]
    if exits:
        return exits[0].partition("exit detail:")[2].split(". Some common causes")[0].strip()[:300]
    return lines[-1][:300] if lines else "it died"


logging.getLogger("ray").setLevel(logging.ERROR)
