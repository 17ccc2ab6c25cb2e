"""Writes MLflow's runs of one study: whatever is told again adds what is missing, and nothing twice."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lstm_bench.core.errors import redact
from lstm_bench.core.formatting import format_field
from lstm_bench.tracking import runs
from lstm_bench.tracking.run_index import ENDED, Run, RunIndex, Training

_TAG_LENGTH = 8000  # characters


class RunWriter:
    """Makes runs below the study's own, and brings runs up to date.

    Args:
      client: MLflow's.
      index: The study's runs that the store holds.
      experiment_id: MLflow's id of the experiment.
      study: The study's id.
      source: The command.
      maximize: Whether more of the objective is better.

    Attributes:
      parent_id: MLflow's id of the study's own run; "" before it is known.
    """

    def __init__(self, client: Any, index: RunIndex, experiment_id: str, study: str, source: str, maximize: bool):
        self._client, self._index, self._experiment_id = client, index, experiment_id
        self._study, self._source, self._maximize = study, source, maximize
        self.parent_id = ""

    def tags(self, kind: str, tags: Mapping[str, Any]) -> dict[str, str]:
        ours = {"lstm_bench.study": self._study, "lstm_bench.kind": kind, **tags}
        return {
            key: redact(format_field(value))[:_TAG_LENGTH] for key, value in ours.items() if value not in (None, "")
        }

    def create(self, kind: str, identity: str, name: str, started_ms: int, tags: Mapping[str, Any]) -> tuple[str, Any]:
        """Makes a nested run. Returns its id and what it holds."""
        ours = {
            f"lstm_bench.{kind}": identity,
            "mlflow.parentRunId": self.parent_id,
            "mlflow.source.name": self._source,
        }
        run = self._client.create_run(self._experiment_id, started_ms, self.tags(kind, {**tags, **ours}), name)
        return run.info.run_id, run.data

    def add(
        self,
        run_id: str,
        stored: Any,
        metrics: Mapping[str, Any],
        tags: Mapping[str, str],
        params: Mapping[str, str],
    ) -> None:
        """Logs what is not in `stored`, the data of the run, and adds it there.

        Numbers that a record would hold with the same digits are the same: from the records they are told anew.
        """
        found = ((runs.metric_name(key), runs.number(value)) for key, value in metrics.items())
        old = {key: format_field(float(value)) for key, value in stored.metrics.items()}
        numbers = {key: value for key, value in found if value is not None and old.get(key) != format_field(value)}
        words = {key: value for key, value in tags.items() if stored.tags.get(key) != value}
        now = time.time_ns() // 1_000_000
        self._client.log_batch(
            run_id,
            [runs.metric(key, value, now, 0) for key, value in numbers.items()],
            runs.params(params),
            runs.tags(words),
        )
        stored.metrics.update(numbers)
        stored.tags.update(words)

    def training(self, training: Training, row: Mapping[str, Any], params: Mapping[str, Any], started_ms: int) -> Run:
        """A training's run: the one that is there, with what it lacks, else a new one."""
        identity = f"{self._study}/{training.identity}"
        run, values = self._index.get(training.tag, identity), runs.param_strings(params)
        if run is not None and training.kind == "replicate" and run.is_of_another_try(started_ms):
            self._index.discard(run)
            run = None
        if run is None:
            words = runs.text_tags({**row, "state": None, "reason": None})  # they are told with its end
            if training.kind == "trial":
                words[runs.ORDER] = runs.order(None, self._maximize)
            run_id, _ = self.create(training.kind, identity, training.name, started_ms, words)
            run = self._index.put(training.tag, identity, Run(run_id, "RUNNING", started_ms=started_ms))
            self._client.log_batch(run_id, (), runs.params(values))
            run.points = set()
        elif run.points is None and run.status not in ENDED:  # made by a driver that died before it could end it
            stored = self._client.get_run(run.run_id).data
            values = {key: value for key, value in values.items() if key not in stored.params}
            self._client.log_batch(run.run_id, (), runs.params(values))
            run.points = self.logged_points(run.run_id, stored)
        return run

    def logged_points(self, run_id: str, stored: Any) -> set[tuple[str, int]]:
        """Key and step of each point of a curve that a run, whose data is `stored`, already has."""
        points = (point for key in stored.metrics for point in self._client.get_metric_history(run_id, key))
        return {(point.key, point.step) for point in points}
