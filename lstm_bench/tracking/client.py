"""MLflow client of one study; a no-op when `tracking=none`.

One experiment per study, one parent run, one nested run per trial and seed.

A kernel benchmark is told like a study; its nested runs are its cells.

MLflow follows: the truth is in Optuna and in the records. One thread alone calls this: in a sweep that of `live`, which
tries again after a failure. Whatever MLflow does, no method raises: the first failure is kept as one line in
`Tracking.warning` and ends tracking until it is taken away and `start` is called again. Every run carries an id of ours as
a tag, so whatever is told again adds what is missing and nothing twice.

MLflow is imported at `Tracking.start`, not before: it costs more than a second.
"""

from __future__ import annotations

import functools
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

from lstm_bench.core import schema
from lstm_bench.core.clock import end_ms
from lstm_bench.core.configuration import flatten
from lstm_bench.core.errors import ConfigError, LstmBenchError, redact
from lstm_bench.core.formatting import format_field
from lstm_bench.tracking import experiment as experiments
from lstm_bench.tracking import runs
from lstm_bench.tracking.run_index import CELL, ENDED, REPLICATE, STUDY_RUN, TRIAL, Run, RunIndex, Training
from lstm_bench.tracking.run_writer import RunWriter
from lstm_bench.tracking.store import bare, check, check_sqlite, connect, said, shown, sqlite_path, store_uri

_ENDED_BY_OTHERS = ("worker_died", "driver_died", "interrupted", "pack_failed")


def open_tracking(config: schema.Store, *, experiment: str) -> Tracking:
    """The tracking that a configuration asks for. Touches nothing before `Tracking.start`.

    Args:
      config: `name`: mlflow or none; `uri`: of the store, or None for `mlflow.db` in the working directory.
      experiment: MLflow's experiment, named as the study.

    Raises:
      ConfigError: as `check`.
    """
    check(config)
    return Tracking(None if config["name"] == "none" else store_uri(config), experiment)


_P = ParamSpec("_P")


def _observed(method: Callable[Concatenate[Tracking, _P], None]) -> Callable[Concatenate[Tracking, _P], None]:
    """Nothing without a store or after a failure; a failure becomes `Tracking.warning`."""

    @functools.wraps(method)
    def call(self: Tracking, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        if self.uri is None or self.warning is not None or (self.parent_id is None and method.__name__ != "start"):
            return
        try:
            method(self, *args, **kwargs)
        except LstmBenchError:
            raise
        except Exception as error:
            self._warn(method.__name__, error)

    return call


class Tracking:
    """What MLflow is told about one study or benchmark. Methods never raise for MLflow's faults: see `warning`.

    Args:
      uri: Absolute URI of the store, None for no tracking: every method then does nothing.
      experiment: Name of the experiment.

    Attributes:
      warning: One line about the first failure, None while there is none.
      error: What MLflow raised then.
      added: Runs that this object has ended, or made.
      remark: One line about what MLflow could not keep though the store works, None where there is nothing.
      was: How the parent run had ended before `start`: status and milliseconds since 1970, None where it had not.
      parent_id: MLflow's id of the study's parent run, None before `start`.
      experiment_id: MLflow's id of the experiment, None before `start`.
    """

    def __init__(self, uri: str | None, experiment: str):
        self.uri = uri
        self.experiment = experiment
        self.warning: str | None = None
        self.error: Exception | None = None
        self.added = 0
        self.remark: str | None = None
        self.was: tuple[str, int] | None = None
        self.parent_id: str | None = None
        self.experiment_id: str | None = None
        self._client: Any = None
        self._study = experiment
        self._backends: set[str] = set()  # of a benchmark
        self._index = RunIndex(None, "", "")
        self._writer = RunWriter(None, self._index, "", "", "", True)
        self._parent: Any = None
        self._since_ms = 0
        self._note = ""
        self._objective, self._maximize = "", True

    @property
    def address(self) -> str:
        """For people: where the runs go, without a password; of a server the page that shows them, once it is known."""
        return self.page or ("none" if self.uri is None else shown(self.uri))

    @property
    def page(self) -> str | None:
        """The page that shows the study's runs; None without a server, which `ui` starts, and before `start`."""
        if self.experiment_id is None or not str(self.uri).startswith("http"):
            return None
        return runs.page(bare(str(self.uri)), self.experiment_id)

    @property
    def known(self) -> frozenset[str]:
        """Identities of the runs that the store holds of this study, as far as this object has seen."""
        return frozenset(self._index.of(STUDY_RUN, TRIAL, REPLICATE, CELL))

    def check_store(self, busy: Callable[[str], None]) -> None:
        """Refuses a sqlite file that is not fit for use, at once and without MLflow; other stores are seen by `start`.

        Args:
          busy: Told who holds it, where another program does.

        Raises:
          StorageError: as `store.check_sqlite`.
        """
        path = None if self.uri is None else sqlite_path(self.uri)
        if path is not None and path.parent.is_dir():
            check_sqlite(path, busy=busy)

    def _warn(self, method: str, error: Exception) -> None:
        """Keeps what MLflow raised as a warning: tracking ends, and the sweep goes on."""
        self.error = error
        self.warning = (
            f"MLflow ({redact(str(self.uri))}) failed in {method}: {said(error)}. "
            "The command goes on and its records are complete; the same command later brings MLflow up to date."
        )

    @_observed
    def start(self, study: Mapping[str, Any]) -> None:
        """Opens the store and the study's parent run, made on the first start and RUNNING again on a resume.

        Args:
          study: `id` (letters, digits and `._:-`; default: `name`), `name`, `description`, `params` (dotted config path
            -> resolved value), `tags`, `dataset` (`name`, `sha256`, `source`, any further facts such as `shape`),
            `environment` (as environment.json and, by dotted path, as tags), `source` (the command; default: the
            sweep) and, for the page's table, `objective`, `direction` and `searched` (dotted paths). A benchmark has
            no dataset and none of these three, but may name its `backends`: else they are those of the cells logged
            so far. `started_ms`: milliseconds since 1970, for a run that is made; default: now.

        Raises:
          StorageError: when a sqlite store is corrupt, foreign, out of date or cannot be written. It is left as it is.
        """
        self._study = str(study.get("id") or study["name"])
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}", self._study):
            raise ConfigError("study id for tracking", expected="letters, digits and ._:-", received=self._study)
        source = str(study.get("source") or runs.SWEEP)
        self._backends = set(study.get("backends", ()))
        self._note = str(study.get("description") or "")
        self._objective = str(study.get("objective") or "val_accuracy")
        self._maximize = study.get("direction") != "minimize"
        self._client = connect(str(self.uri))
        self.experiment_id, elsewhere = experiments.open_experiment(self._client, str(self.uri), self.experiment, study)
        self.remark = elsewhere or self.remark
        self._index = RunIndex(self._client, self.experiment_id, self._study)
        self._index.load()
        self._writer = RunWriter(self._client, self._index, self.experiment_id, self._study, source, self._maximize)
        tags = {
            STUDY_RUN: self._study,
            "mlflow.source.name": source,
            runs.ORDER: "0",
            **study.get("tags", {}),
        }
        known = self._index.get(STUDY_RUN, self._study)
        if known is None:
            run = self._client.create_run(
                self.experiment_id, study.get("started_ms"), self._writer.tags("study", tags), str(study["name"])
            )
            parent_id = run.info.run_id
            self._index.load()  # another driver may have made one at the same time: all keep the first
            found = self._index.get(STUDY_RUN, self._study)
            parent_id = (found or self._index.put(STUDY_RUN, self._study, Run(parent_id, "RUNNING"))).run_id
            self.added += 1
        else:
            parent_id = known.run_id
            info = self._client.get_run(parent_id).info
            if info.status in ENDED:
                self.was = (info.status, info.end_time)
            self._client.update_run(parent_id, status="RUNNING")
        run = self._client.get_run(parent_id)
        self._parent, self._since_ms = run.data, run.info.start_time
        # Parameters cannot change in MLflow: what a resume may change (n_trials, workers) is kept as a tag.
        params = runs.param_strings(study.get("params", {}))
        old = self._parent.params
        tags |= {f"{runs.RESUMED}{key}": value for key, value in params.items() if old.get(key, value) != value}
        seen = runs.param_strings(flatten(study.get("environment", {})))
        facts = {f"{runs.ENVIRONMENT}{key}": value for key, value in seen.items()} | runs.param_order(params)
        self.parent_id = self._writer.parent_id = parent_id
        for run_id in self._index.strays - {parent_id}:  # their own parent is gone for good
            self._client.set_tag(run_id, "mlflow.parentRunId", parent_id)
        self._forget((runs.ENVIRONMENT, runs.KEYS, runs.RESUMED), {**tags, **facts})
        self._log_parent({}, tags | facts, {key: value for key, value in params.items() if key not in old})
        if study.get("dataset"):
            self._client.log_inputs(parent_id, [runs.dataset_input(study["dataset"])])
        environment = json.dumps(study.get("environment", {}), indent=2, sort_keys=True, default=str)
        self._file(lambda: self._client.log_text(parent_id, redact(environment), "environment.json"))

    @_observed
    def refresh_runs(self) -> None:
        """Finds what other drivers of the same study have logged since `start`."""
        self._index.load()

    def is_told(self, kind: str, name: str) -> bool:
        """Whether the store holds the end of a run.

        Args:
          kind: trial or replicate.
          name: Number of the trial, or `<digest>/<seed>` of the replicate.
        """
        run = self._index.get(f"lstm_bench.{kind}", f"{self._study}/{name}")
        return run is not None and run.status in ENDED

    @_observed
    def log_begun(self, training: Training, row: Mapping[str, Any], params: Mapping[str, Any], started_ms: int) -> None:
        """A training that was begun, as a nested run that is RUNNING.

        Args:
          training: Which it is.
          row: `BEGUN_COLUMNS`.
          params: Dotted config path -> value as resolved for it.
          started_ms: Milliseconds since 1970.
        """
        self._writer.training(training, row, params, started_ms)

    @_observed
    def log_epochs(self, training: Training, epochs: Sequence[Mapping[str, Any]]) -> None:
        """Epochs of a run that `log_begun` has opened: those that it has already are left alone.

        Args:
          training: Which it is.
          epochs: Rows of `HISTORY_COLUMNS`, and `at_ms`: when each ended, milliseconds since 1970.
        """
        run = self._index.get(training.tag, f"{self._study}/{training.identity}")
        assert run is not None and run.points is not None
        points = [point for point in runs.points(epochs, (0, 0)) if (point.key, point.step) not in run.points]
        self._client.log_batch(run.run_id, points)
        run.points |= {(point.key, point.step) for point in points}

    @_observed
    def log_trial(
        self,
        row: Mapping[str, Any],
        epochs: Sequence[Mapping[str, Any]],
        started_ms: int,
        ended_ms: int,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """One finished trial as a nested run: FINISHED (also when pruned), FAILED, or KILLED when it was not its fault.

        Args:
          row: `TRIAL_COLUMNS` and `config_<path>` per searched path; text or numbers.
          epochs: Its rows of `HISTORY_COLUMNS`. Those without `at_ms` are spread evenly over its time.
          started_ms: Start and end, milliseconds since 1970.
          ended_ms: See `started_ms`.
          params: Dotted config path -> value as resolved for this trial.
        """
        searched = {key.removeprefix("config_"): value for key, value in row.items() if key.startswith("config_")}
        values = searched | dict(params or {})
        self._log_ended(Training.of_trial(row["number"]), row, epochs, values, (started_ms, ended_ms))

    @_observed
    def log_replicate(
        self,
        row: Mapping[str, Any],
        epochs: Sequence[Mapping[str, Any]],
        started_ms: int,
        ended_ms: int,
        params: Mapping[str, Any] | None = None,
        *,
        key: str,
    ) -> None:
        """One seed of the confirmation as a nested run. Arguments as `log_trial`.

        Args:
          row: `REPLICATE_COLUMNS`, and of the first seed `runs.evidence`.
          epochs: Its rows of `HISTORY_COLUMNS`.
          started_ms: Start, milliseconds since 1970.
          ended_ms: End, likewise.
          params: Dotted config path -> value.
          key: Digest of the confirmed configuration: another winner's seeds are other runs.
        """
        training = Training.of_replicate(key, row["seed"], row.get("trial"))
        self._log_ended(training, row, epochs, dict(params or {}), (started_ms, ended_ms))

    def _log_ended(
        self,
        training: Training,
        row: Mapping[str, Any],
        epochs: Sequence[Mapping[str, Any]],
        params: Mapping[str, Any],
        span: tuple[int, int],
    ) -> None:
        run = self._writer.training(training, row, params, span[0])
        if run.status in ENDED:
            return
        assert run.points is not None
        marks = {key: value for key, value in runs.metric_tags(row, epochs).items() if value}
        if training.kind == "trial":
            marks[runs.ORDER] = runs.order(row.get(self._objective), self._maximize)
        if row.get("confusion"):
            seen = {"confusion": row["confusion"], "pictures": row.get("pictures", ())}
            if self._log_json(run.run_id, runs.EVIDENCE, seen):
                marks[runs.EVIDENCE] = runs.FILES[runs.EVIDENCE]
        points = [point for point in runs.metrics(row, epochs, span) if (point.key, point.step) not in run.points]
        self._client.log_batch(
            run.run_id, points, (), runs.tags(self._writer.tags(training.kind, runs.text_tags(row)) | marks)
        )
        status = "FINISHED"
        if row.get("state") == "FAIL":
            status = "KILLED" if row.get("reason") in _ENDED_BY_OTHERS else "FAILED"
        self._client.set_terminated(run.run_id, status, span[1])
        run.status, run.running, run.points = status, False, None
        self.added += 1

    @_observed
    def end_left_over(self) -> None:
        """Ends what nobody trains any more, as KILLED: its end is told once the records know it."""
        for run in self._index.of(TRIAL, REPLICATE).values():
            if run.running:
                self._client.set_terminated(run.run_id, "KILLED", end_ms(run.started_ms, time.time_ns() // 1_000_000))
                run.running = False
                self.added += 1

    @_observed
    def log_kernels(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """The winner's probe, as a file of the parent run: only machines read it, and pages begin with what people do.

        Args:
          rows: `KERNEL_COLUMNS`.
        """
        self._forget(("kernel_",), {})  # of an older version
        if self._log_json(str(self.parent_id), runs.PROBED, list(rows)):
            self._log_parent({}, {runs.PROBED: runs.FILES[runs.PROBED]})

    @_observed
    def log_controls(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """What a network had to beat, as a file of the parent run.

        Args:
          rows: `CONTROL_COLUMNS`.
        """
        if self._log_json(str(self.parent_id), runs.FITTED, list(rows)):
            self._log_parent({}, {runs.FITTED: runs.FILES[runs.FITTED]})

    @_observed
    def log_confirmed(self, keys: Sequence[str]) -> None:
        """Which configurations the study confirms, by their digests: replicates of others are those of earlier winners."""
        self._log_parent({}, {runs.CONFIRMED: " ".join(keys)})

    @_observed
    def log_cell(
        self, cell_params: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], started_ms: int, ended_ms: int
    ) -> None:
        """One cell of a benchmark as a nested run: FINISHED, or FAILED when none of its arms has a figure.

        Logged again, it is brought up to date: what has no figure any more becomes NaN, for MLflow forgets none.

        Args:
          cell_params: Its shape: `layer`, `units`, `layers`, `timesteps`, `features`, `batch`, `dtype`.
          rows: All rows of `cells.csv` of this cell, at least one; text or numbers. Where the benchmark has several
            backends, each name holds its backend too.
          started_ms: Start, milliseconds since 1970.
          ended_ms: End, likewise.
        """
        name = str(rows[0]["cell"])
        self._backends |= {str(row["backend"]) for row in rows}
        metrics, tags = runs.cell_figures(rows, several=len(self._backends) > 1)
        identity = f"{self._study}/{name}"
        if (known := self._index.get(CELL, identity)) is not None:
            run_id = known.run_id
            stored = self._client.get_run(run_id).data
        else:
            device = {key: next((row[key] for row in rows if row.get(key)), "") for key in ("device", "device_share")}
            run_id, stored = self._writer.create("cell", identity, name, started_ms, device)
        for key in [key for key in stored.tags if key.startswith("kernel_") and key not in tags]:
            self._client.delete_tag(run_id, key)
        gone = {key: math.nan for key, old in stored.metrics.items() if key not in metrics and not math.isnan(old)}
        params = {key: value for key, value in runs.param_strings(cell_params).items() if key not in stored.params}
        self._writer.add(run_id, stored, gone | metrics, self._writer.tags("cell", tags), params)
        status = "FINISHED" if any(row["state"] == "measured" for row in rows) else "FAILED"
        self._client.set_terminated(run_id, status, ended_ms)
        self._index.put(CELL, identity, Run(run_id, status, running=False))

    @_observed
    def log_summary(self, metrics: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """The study's outcome on the parent run, and as a Markdown table in its description.

        Args:
          metrics: Numbers, such as the best `val_accuracy`, the mean `test_accuracy`, its interval, counts of states.
          tags: Words, such as the winner.
        """
        lines = [
            f"| {key} | {format_field(value)} |"
            for key, value in {**metrics, **tags}.items()
            if value not in (None, "")
        ]
        note = "\n".join([self._note, "", "| | |", "|---|---|", *lines])
        self._log_parent(metrics, {**tags, "mlflow.note.content": note})
        if tags.get("confirmed"):
            best = self._index.get(TRIAL, f"{self._study}/{tags.get('winning_trial')}")
            shown_run = best or next(iter(self._index.of(REPLICATE).values()), None)
            run_id = str(self.parent_id) if shown_run is None else shown_run.run_id
            link = f"[curves]({runs.page('', self.experiment_id, run_id)})"
            first = f"**{tags['confirmed']}** {tags.get('winner', '')} {link}"  # what a closed description shows
            self._client.set_experiment_tag(self.experiment_id, experiments.NOTE, f"{first}\n\n{self._note}")

    def _file(self, keep: Callable[[], Any]) -> bool:
        """Keeps a file with a run; where its place cannot be written, that is said and the rest is told all the same."""
        try:
            keep()
        except OSError as error:
            if urlsplit(str(self.uri)).scheme in ("http", "https"):
                raise
            self.remark = f"MLflow ({self.address}) keeps no figure and no model: {error.strerror}, {error.filename}"
            return False
        return True

    def _log_json(self, run_id: str, tag: str, content: Any) -> bool:
        text = json.dumps(content, default=float)
        return self._file(lambda: self._client.log_text(run_id, text, runs.FILES[tag]))

    @_observed
    def log_figures(self, paths: Iterable[Path]) -> None:
        """Image files, into `figures/` of the parent run."""
        for path in paths:
            if not self._file(functools.partial(self._client.log_artifact, self.parent_id, str(path), "figures")):
                return

    @_observed
    def log_model(self, folder: Path, name: str) -> None:
        """The winner's model, listed in the experiment's Models tab; load it by `models:/<model id>`.

        Args:
          folder: Written by `mlflow.keras.save_model`. The same files are not stored twice.
          name: Of the model; `/ : . % " '` become `-`.
        """
        experiments.log_model(
            self._client, str(self.experiment_id), str(self.parent_id), folder, name, self._study, self._file
        )

    @_observed
    def finish(self, status: str, ended_ms: int | None = None) -> None:
        """Ends the parent run.

        Args:
          status: FINISHED, FAILED or KILLED.
          ended_ms: Milliseconds since 1970; None: now.
        """
        ended_ms = time.time_ns() // 1_000_000 if ended_ms is None else ended_ms
        self._client.set_terminated(self.parent_id, status, end_ms(self._since_ms, ended_ms))

    def _forget(self, beginnings: tuple[str, ...], but: Mapping[str, Any]) -> None:
        """Deletes the parent's tags that begin so, without those about to be logged."""
        for key in [key for key in self._parent.tags if key.startswith(beginnings) and key not in but]:
            self._client.delete_tag(self.parent_id, key)
            del self._parent.tags[key]

    def _log_parent(
        self, metrics: Mapping[str, Any], tags: Mapping[str, Any], params: Mapping[str, str] | None = None
    ) -> None:
        """Logs on the parent run what it does not hold yet."""
        self._writer.add(str(self.parent_id), self._parent, metrics, self._writer.tags("study", tags), params or {})
