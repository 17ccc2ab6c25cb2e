"""Packs: several trainings in one program, each of which looks like a task of its own to whoever submits it.

What is submitted together is one task of the launcher below. Its epochs and its result are handed out member by member, and
it is stopped when no member that is left is to go on. That the program fails says nothing of its members: each is `pack_failed`,
to be trained for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lstm_bench.launcher.base import Event, Launcher
from lstm_bench.launcher.protocol import PackTask, Result, Task, TrialTask, written

FAILED = {"state": "FAIL", "reason": "pack_failed"}


@dataclass
class _Pack:
    """A program that runs.

    Attributes:
      keys: Of the members, in their order; the first is the task's.
      going: Members that neither failed nor ended before the last epoch.
      stopped: Members that are to stop.
      over: Whether nothing is heard of it any more.
    """

    keys: list[str]
    going: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)
    over: bool = False


def joined(tasks: Sequence[TrialTask]) -> PackTask:
    """One task for several of one program: trials, which may differ in group `train`, or replicates of one configuration."""
    first, tested = tasks[0], tasks[0].kind == "replicate"
    kept = next((task for task in tasks if task.keep), first)
    return PackTask(
        kind="pack" if tested else "trials",
        config=first.config,
        kernel=first.kernel,
        steps_per_execution=first.steps_per_execution,
        seeds=[task.seed for task in tasks],
        trains=() if tested else [task.config["train"] for task in tasks],
        keep=kept.keep,
        for_mlflow=kept.for_mlflow,
    )


class Packing:
    """A launcher of tasks and packs.

    Args:
      launcher: Where they run.
      say: Shows a person one line.
    """

    def __init__(self, launcher: Launcher, say: Callable[[str, str], None]):
        self._launcher, self._say = launcher, say
        self._of: dict[str, _Pack] = {}  # by the keys of the members

    def submit(self, tasks: Mapping[str, Task]) -> None:
        """Starts a task, or several trainings in one program, by their keys."""
        keys = list(tasks)
        task = tasks[keys[0]]
        if len(keys) > 1:
            self._of |= dict.fromkeys(keys, _Pack(keys, set(keys)))
            task = joined([task for task in tasks.values() if isinstance(task, TrialTask)])
        self._launcher.submit(keys[0], written(task))

    def events(self, timeout_s: float) -> list[Event]:
        """As of `Launcher`, of each member its own."""
        return [one for event in self._launcher.events(timeout_s) for one in self._apart(event)]

    def stop(self, key: str) -> None:
        """Asks a task to stop; of a pack, once no member is left that is to go on."""
        pack = self._of.get(key)
        if pack is None:
            self._launcher.stop(key)
            return
        pack.stopped.add(key)
        self._stop_if_all(pack)

    def kill(self, key: str, result: Result) -> Result:
        """Ends the process of a task, and with it that of a whole pack; the result of this one."""
        pack = self._of.pop(key, None)
        if pack is None:
            self._launcher.kill(key)
            return result
        interrupted, running = result.reason == "interrupted", not pack.over
        if running:
            pack.over = True
            self._launcher.kill(pack.keys[0])
        if interrupted:
            return result
        if running:
            self._say_failed(pack, str(result.reason))
        return type(result).read(FAILED)

    def _stop_if_all(self, pack: _Pack) -> None:
        if pack.going <= pack.stopped:
            self._launcher.stop(pack.keys[0])

    def _say_failed(self, pack: _Pack, reason: str) -> None:
        first = pack.keys[0].rpartition("/")[0]
        self._say(f"{first} and {len(pack.keys) - 1} more: {reason} in one program, now one by one", "yellow")

    def _apart(self, event: Event) -> list[Event]:
        """What an event says of each member."""
        pack = self._of.get(event.key or "")
        if pack is None:
            return [event]
        if event.kind == "progress":
            return [Event("progress", key, event.body) for key in pack.keys if key in pack.going - pack.stopped]
        if event.kind == "epoch":
            each = {key: its for key, its in zip(pack.keys, event.body["each"], strict=True) if its}
            pack.going = set(each)
            self._stop_if_all(pack)
            return [Event("epoch", key, its) for key, its in each.items() if key not in pack.stopped]
        pack.over = True
        if event.body.get("state") == "FAULT":  # it ends the sweep
            return [event]
        for key in pack.keys:
            del self._of[key]
        if "members" in event.body:
            return [Event("result", *pair) for pair in zip(pack.keys, event.body["members"], strict=True)]
        died = event.kind == "died"
        self._say_failed(pack, "worker_died" if died else event.body.get("reason") or event.body["state"])
        return [Event("result", key, dict(FAILED)) for key in pack.keys]
