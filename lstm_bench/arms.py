"""Which kernel a study runs: the one named, or for kernel=auto the one that measured best; and the winner's probe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lstm_bench import record
from lstm_bench import space as spaces
from lstm_bench.config import replaced
from lstm_bench.errors import KernelError
from lstm_bench.loop import Loop, Running
from lstm_bench.progress import values
from lstm_bench.study import Study

_DECISION_S = 0.5  # timed seconds per arm and shape: the choice needs the order, not the third digit


class Arms:
    """The kernels of one study.

    Args:
      config: Resolved configuration.
      space: Parsed search space.
      study: Keeps what was measured.
      loop: Runs the probes.
      unavailable: Kernel -> None, or the reason why it cannot run here.
      n_train: Training samples.
      timesteps: Length of the sequences.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        space: dict[str, spaces.Domain],
        study: Study,
        loop: Loop,
        unavailable: Mapping[str, str | None],
        n_train: int,
        timesteps: int,
    ):
        self.config, self.space, self.study, self.loop = config, space, study, loop
        self.unavailable, self.n_train = unavailable, n_train
        unroll = timesteps <= config["kernel"]["max_unroll"]
        # unrolled_xla compiles for longer than a trial saves by it.
        self.candidates = [
            name
            for name, reason in unavailable.items()
            if reason is None and name != "unrolled_xla" and (unroll or name != "unrolled")
        ]
        self._decided: list[dict[str, Any]] = []

    def decide(self) -> str:
        """`kernel=auto`: decides once per study, at the ends of its space, and keeps the answer. Returns it in words."""
        if self.config["kernel"]["name"] != "auto":
            return str(self.config["kernel"]["name"])
        stored = self.study.get("kernels")
        if stored is None:
            stored = self._measure()
            self.study.set("kernels", stored)
        self._decided = stored
        if len({decision["kernel"] for decision in stored}) == 1:
            return str(stored[0]["kernel"])
        return ", ".join(f"{found['kernel']} near {values(found['corner'])}" for found in stored)

    def of(self, config: Mapping[str, Any], params: Mapping[str, Any]) -> str:
        """The kernel of one configuration: the named one, or what was decided at the nearest measured shape.

        Args:
          config: Resolved configuration of the trial.
          params: Its searched values. Nearest is by the logarithm of the sizes.
        """
        if config["kernel"]["name"] != "auto":
            return str(config["kernel"]["name"])

        def distance(decision: Mapping[str, Any]) -> float:
            shared = {path: value for path, value in decision["corner"].items() if path in params}
            return sum((_size(params[path]) - _size(value)) ** 2 for path, value in shared.items())

        return str(min(self._decided, key=distance)["kernel"])

    def _measure(self) -> list[dict[str, Any]]:
        """Every candidate at every corner; the arm wins that finishes a trial first, compiling included."""
        corners = spaces.corners(self.space)
        if len(self.candidates) == 1:
            return [{"corner": corner, "kernel": self.candidates[0], "measured": {}} for corner in corners]
        waiting = [(corner, name) for corner in reversed(range(len(corners))) for name in self.candidates]
        measured: list[dict[str, dict[str, float]]] = [{} for _ in corners]

        def next_task() -> Running | None:
            if not waiting:
                return None
            corner, name = waiting.pop(0)
            return self._task(f"kernel {name}, shape {corner}", corners[corner], name, _DECISION_S, corner)

        def finished(running: Running, result: dict[str, Any]) -> None:
            if result["state"] == "COMPLETE" and result["kernel_ran"] in (result["kernel"], "none"):
                kept = {key: float(result[key]) for key in ("train_samples_per_s", "compile_s")}
                measured[int(running.task["corner"])][str(result["kernel"])] = kept

        self.loop.run(next_task, finished)
        samples = self.config["train"]["epochs"] * self.n_train
        decided: list[dict[str, Any]] = []
        for corner, arms in zip(corners, measured, strict=True):
            seconds = {name: arm["compile_s"] + samples / arm["train_samples_per_s"] for name, arm in arms.items()}
            if not seconds:
                raise KernelError(
                    "kernel=auto: none of the kernels ran", remedy="See the workers' logs; or name a kernel."
                )
            fastest, _ = min(seconds.items(), key=lambda item: item[1])
            decided.append({"corner": corner, "kernel": fastest, "measured": arms})
        return decided

    def _task(self, name: str, values: Mapping[str, Any], kernel: str, seconds: float, corner: int = 0) -> Running:
        config = replaced(self.config, values)
        task = {"kind": "probe", "config": config, "kernel": kernel, "seconds": seconds, "corner": corner}
        return Running(name, task)

    def probe(self, winner: Mapping[str, Any], digest: str) -> list[dict[str, Any]]:
        """Rows of `record.KERNEL_COLUMNS` for the winner: every arm measured, or the reason why it is not.

        One arm at a time, the other workers idle; measured once and kept.

        Args:
          winner: Searched values of the confirmed configuration.
          digest: Its name.
        """
        stored = self.study.get(f"probe/{digest}")
        if stored is not None:
            return list(stored)
        backend = self.config["backend"]["name"]
        rows: dict[str, dict[str, Any]] = {}
        for name, reason in self.unavailable.items():
            skipped = None if name in self.candidates else "not measured: compiles for too long"
            rows[name] = {"backend": backend, "kernel": name, "reason": reason or skipped}
        waiting = list(self.candidates)

        def next_task() -> Running | None:
            if self.loop.busy() or not waiting:
                return None
            name = waiting.pop(0)
            return self._task(f"kernel {name}", winner, name, self.config["kernel"]["probe_s"])

        def finished(running: Running, result: dict[str, Any]) -> None:
            row = rows[running.task["kernel"]]
            if result["state"] == "COMPLETE":
                row |= {key: result[key] for key in record.KERNEL_COLUMNS if key in result}
                row["device_share"] = str(row["device_share"]).replace("other busy", "other idle")
            else:
                row["reason"] = ": ".join(filter(None, (result.get("reason"), result.get("detail"))))

        self.loop.run(next_task, finished)
        found = list(rows.values())
        self.study.set(f"probe/{digest}", found)
        return found


def _size(value: float) -> float:
    """Logarithm of a size; of a negative value, mirrored."""
    return math.copysign(math.log1p(abs(value)), value)
