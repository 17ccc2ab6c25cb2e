"""What a worker does with the tasks of a kernel benchmark: cells are measured, and the machine's ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstm_bench.core.clock import Phases
from lstm_bench.kernels import measure
from lstm_bench.training import backend
from lstm_bench.training.tasks import Send, TaskRunner, Work

BENCH = "lstm_bench.kernels.bench:bench"


class KernelRunner(TaskRunner):
    """A bench that also measures."""

    def work(self) -> dict[str, Work]:
        """What is done for each kind of task."""
        return {**super().work(), "cell": self._cell, "ceiling": self._ceiling}

    def _cell(self, task: Mapping[str, Any], phases: Phases, report: Send, *_: Any) -> dict[str, Any]:
        measure.measure(task, self.gpu, report)
        return {"state": "COMPLETE"}

    def _ceiling(self, task: Mapping[str, Any], *_: Any) -> dict[str, Any]:
        return {"state": "COMPLETE", **measure.ceilings(task, self.gpu)}


def bench(setup: Mapping[str, Any]) -> tuple[TaskRunner, str]:
    """The bench of a worker, and what its framework sees: "gpu" or "cpu"; see `launcher.runner.made`."""
    return backend.bench(setup, KernelRunner)
