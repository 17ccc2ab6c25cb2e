"""What a worker does with the tasks of a forecast: JAX's training step of a cell, compiled for GPUs that are not here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstm_bench.core.clock import Phases, clock
from lstm_bench.cuda import compiler, launches
from lstm_bench.kernels import measure, reference
from lstm_bench.training import backend
from lstm_bench.training.tasks import Send, TaskRunner, Work

BENCH = "lstm_bench.kernels.launch_bench:bench"
OPERATION = "train_step"


class Forecaster(TaskRunner):
    """A bench that compiles and counts."""

    def work(self) -> dict[str, Work]:
        """What is done for each kind of task."""
        return {"forecast": self._forecast}

    def _forecast(self, task: Mapping[str, Any], phases: Phases, report: Send, *_: Any) -> dict[str, Any]:
        """Reports `{"phase": "done", "row"}`, part of a row of `forecast.csv`, for each of the task's `gpus`."""
        cell = task["cell"]
        weights, (x, cotangent) = reference.weights(cell, 0), reference.inputs(cell, 0)
        engine = measure.make("jax", task["kernel"], cell, weights, x, cotangent)
        for gpu in task["gpus"]:
            report({"phase": "compile", "operation": OPERATION})
            since = clock()
            program = compiler.compiled(engine, OPERATION, gpu)
            found = launches.counted(program.as_text())
            row = {
                "gpu": gpu,
                "launches": found.total,
                "fusions": found.fusions,
                "library_calls": found.library,
                "copies": found.copies,
                "other": found.other,
                "loops": " + ".join(f"{turns} x {each}" for turns, each in found.loops),
                "temporary_bytes": int(program.memory_analysis().temp_size_in_bytes),
                "compile_s": round(clock() - since, 1),
                "reason": found.unknown,
            }
            report({"phase": "done", "operation": OPERATION, "row": row})
        return {"state": "COMPLETE"}


def bench(setup: Mapping[str, Any]) -> tuple[TaskRunner, str]:
    """The bench of a worker, and what its framework sees; see `launcher.runner.made`."""
    return backend.bench(setup, Forecaster)
