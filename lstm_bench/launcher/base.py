"""What a launcher is: tasks in, events out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Event:
    """What happened to a task, or to a worker without one (`key` None).

    Kinds: "ready" (a worker has loaded its backend: `body` {"seen"}), "epoch" (`body`: metrics),
    "progress" (`body`: {"progress": epochs done, parts of them too}), "result" (`body`: see
    `training/tasks.py`), "died" (`body`: {"exit": code or -signal, "log": file}; "why", in words, where there is no code).
    """

    kind: str
    key: str | None
    body: dict[str, Any] = field(default_factory=dict)


class Launcher(Protocol):
    """What `sweep/store/trials.py` sees of any launcher."""

    def capacity(self) -> int:
        """Tasks that could be submitted now."""

    def submit(self, key: str, task: Mapping[str, Any]) -> None:
        """Starts a task. Keys are the caller's, unique among the tasks that run."""

    def events(self, timeout_s: float) -> list[Event]:
        """What happened since, waiting at most `timeout_s` for the first event."""

    def stop(self, key: str) -> None:
        """Asks a task to stop: its result is PRUNED unless it ends first."""

    def kill(self, key: str) -> None:
        """Ends a task's process; no further event of this key follows."""

    def close(self) -> None:
        """Ends every worker."""
