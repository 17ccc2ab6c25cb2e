"""The bench of a worker that believes in a GPU: predicts and trains nothing that counts, and dies with its one task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstm_bench.core import configuration
from lstm_bench.core.clock import Phases
from lstm_bench.cuda import networks, pretended_gpu, verdict
from lstm_bench.cuda.options import FAMILY, OPERATIONS
from lstm_bench.training import backend, programs
from lstm_bench.training.tasks import Send, TaskRunner, Work, sized


class Predictor(TaskRunner):
    """A bench that builds programs for a GPU and reads them."""

    def work(self) -> dict[str, Work]:
        """What is done for each kind of task."""
        return {"predict_cells": self._cells, "predict_study": self._study}

    def _cells(self, task: Mapping[str, Any], phases: Phases, report: Send, *_: Any) -> dict[str, Any]:
        """Reports `{"phase": "done", "rows"}` for each cell of `cells` (layer, option) and each family of `families`."""
        name = task["backend"]
        with pretended_gpu.pretended(name):
            networks.require_effect(name)
            for layer, option in task["cells"]:
                read = networks.readings(name, networks.engine_of(name, layer, option))
                report({"phase": "done", "rows": networks.rows({"layer": layer, "option": option}, read, name)})
            for family, model in task["families"].items():
                read = networks.readings(name, networks.engine_of_family(name, model))
                report({"phase": "done", "rows": networks.rows({"layer": FAMILY, "option": family}, read, name)})
        return {"state": "COMPLETE"}

    def _study(self, task: Mapping[str, Any], phases: Phases, report: Send, *_: Any) -> dict[str, Any]:
        """The layers of a study's network at its own values, and at the choices and ends of its space."""
        config, found = task["config"], []
        name, data = config["backend"]["name"], self.data(config["dataset"])
        kernel = "plain" if config["kernel"]["name"] == "auto" else config["kernel"]["name"]
        with pretended_gpu.pretended(name):
            networks.require_effect(name)
            for values, one in zip(({}, *task["searched"]), (config, *task["corners"]), strict=True):
                engine = programs.prepare(
                    configuration.replaced(one, {"model": sized(one["model"], data)}), data, kernel, seed=0
                )
                operations = ("training",) if values else tuple(OPERATIONS)  # at the ends of the space training will do
                for operation, read in networks.readings(name, engine, operations).items():
                    found += [
                        {
                            "operation": operation,
                            "at": values,
                            "index": index,
                            "layer": layer.name,
                            "kind": layer.kind,
                            **vars(said),
                        }
                        for index, (layer, said) in enumerate(zip(*read, strict=True))
                    ]
        return {"state": "COMPLETE", "layers": found, "by": verdict.RULE if name == "torch" else verdict.PROGRAM}


def bench(setup: Mapping[str, Any]) -> tuple[TaskRunner, str]:
    """The bench of a worker, and what its framework sees; see `launcher.runner.made`."""
    return backend.bench(setup, Predictor)
