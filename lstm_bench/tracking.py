"""MLflow's picture of a study, or nothing. One experiment per study, one parent run, one nested run per trial and seed.

MLflow observes: the truth is in Optuna and in the records. Only the driver calls this, from one thread. Whatever MLflow
does, the sweep goes on: the first failure is kept as one line in `Tracking.warning` and ends tracking for this process.
Every run carries an id of ours as a tag, so giving the same command again adds what is missing and nothing twice.

MLflow is imported at `Tracking.start`, not before: it costs more than a second.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import logging
import math
import os
import re
import socket
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec
from urllib.parse import quote, urlsplit

from lstm_bench.errors import ConfigError, LstmBenchError, StorageError, nearest
from lstm_bench.record import REPLICATE_COLUMNS, TRIAL_COLUMNS, cell

NAMES = ("mlflow", "none")
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql")
# Query of an experiment's page: MLflow's view for training, with the table layout stored under this key.
VIEW = "trials"
PAGE_QUERY = f"workflowType=machine_learning&viewStateShareKey={VIEW}"

_CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
_TAGS = ("state", "reason", "retry_of", "seed", "kernel_ran", "backend", "device", "device_share")
_METRICS = tuple(
    column
    for column in dict.fromkeys((*REPLICATE_COLUMNS, *TRIAL_COLUMNS))
    if column not in _TAGS and column != "number"
)
_COLUMNS = ("val_accuracy", "test_accuracy", "n_weights", "train_samples_per_s")  # the table's metrics
_ENDED_BY_OTHERS = ("worker_died", "driver_died", "interrupted")
_ENDED = ("FINISHED", "FAILED", "KILLED")
_PARAM_LENGTH = 6000  # longest parameter value, characters; MLflow cuts there itself, not every store says so
_TAG_LENGTH = 8000
_DIGEST_LENGTH = 12  # of the dataset, as shown; MLflow takes 36 characters at most, the profile holds all
_CHECKED_BYTES = 64 * 2**20  # sqlite files up to this size are read through before use

# How long a server may keep a sweep waiting before it counts as down: two tries of 5 s. A user's own values win.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}
# No telemetry, no pickle, no addresses printed at the end of every run.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def redact(text: str) -> str:
    """`text` with the passwords of the URLs in it replaced by `***`: in the user-info and in the query."""
    text = re.sub(r"([A-Za-z][\w+.-]*://[^\s/:@\"']*):[^\s\"']*@", r"\1:***@", text)
    return re.sub(r"(?i)([?&;](?:ssl)?(?:password|passwd|pwd|token|secret)=)[^&\s\"']*", r"\1***", text)


def check(config: Mapping[str, Any]) -> None:
    """Checks `tracking.name` and `tracking.uri` without importing MLflow or touching a file.

    Raises:
      ConfigError: for an unknown name, a URI of an unknown scheme, or one that names no file or host.
    """
    name, uri = config.get("name"), config.get("uri")
    if name not in NAMES:
        raise ConfigError("tracking", received=name, remedy=nearest(str(name), NAMES))
    if uri is None:
        return
    if not isinstance(uri, str):
        raise ConfigError("tracking.uri", expected="a URI or null", received=uri)
    known = "a URI of " + ", ".join(SCHEMES)
    scheme, separator, _ = uri.partition("://")
    if not separator or scheme == "file":
        raise ConfigError(
            "tracking.uri",
            expected=known,
            received=redact(uri),
            remedy="MLflow keeps runs in a database now, not in a folder: tracking.uri=sqlite:///mlflow.db",
        )
    base, _, driver = scheme.partition("+")
    if base not in SCHEMES or (driver and base not in ("postgresql", "mysql")):
        raise ConfigError("tracking.uri", expected=known, received=redact(uri), remedy=nearest(base, SCHEMES))
    try:
        parts = urlsplit(uri)
        named = bool(parts.path.strip("/")) and not parts.netloc if base == "sqlite" else bool(parts.hostname)
        named = named and parts.port != 0 and ":memory:" not in parts.path
    except ValueError:  # a port that is no number
        named = False
    if not named:
        form = "sqlite:///FILE (four slashes: absolute)" if base == "sqlite" else f"{scheme}://HOST[:PORT]/..."
        raise ConfigError("tracking.uri", expected=form, received=redact(uri))


def store_uri(config: Mapping[str, Any]) -> str:
    """The absolute URI of the store: `tracking.uri`, or `mlflow.db` in the working directory."""
    uri = config.get("uri") or "sqlite:///mlflow.db"
    path = sqlite_path(uri)
    return uri if path is None else f"sqlite:///{path}"


def sqlite_path(uri: str) -> Path | None:
    """The absolute path of a `sqlite:///` URI's file, None for any other URI."""
    return Path.cwd() / urlsplit(uri).path[1:] if uri.startswith("sqlite:") else None


def artifact_dir(uri: str) -> Path:
    """`mlartifacts/` beside a sqlite store, else below the working directory. A server decides for itself."""
    path = sqlite_path(uri)
    return (path.parent if path else Path.cwd()) / "mlartifacts"


def open_tracking(config: Mapping[str, Any], *, experiment: str) -> Tracking:
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
            self.warning = (
                f"MLflow ({redact(self.uri)}) failed in {method.__name__}: {_said(error)}. "
                "The sweep goes on and its records are complete; the same command later brings MLflow up to date."
            )

    return call


class Tracking:
    """What MLflow is told about one study. Methods never raise for MLflow's faults: see `warning`.

    Args:
      uri: Absolute URI of the store, None for no tracking: every method then does nothing.
      experiment: Name of the experiment.

    Attributes:
      warning: One line about the first failure, None while there is none.
      parent_id: MLflow's id of the study's parent run, None before `start`.
      experiment_id: MLflow's id of the experiment, None before `start`.
    """

    def __init__(self, uri: str | None, experiment: str):
        self.uri = uri
        self.experiment = experiment
        self.warning: str | None = None
        self.parent_id: str | None = None
        self.experiment_id: str | None = None
        self._client: Any = None
        self._study = experiment
        self._known: dict[tuple[str, str], tuple[str, str]] = {}  # (tag, identity) -> (run id, status)
        self._parent: Any = None
        self._note = ""

    @property
    def address(self) -> str:
        """For people: where the runs go, without a password."""
        return "none" if self.uri is None else redact(self.uri)

    @_observed
    def start(self, study: Mapping[str, Any]) -> None:
        """Opens the store and the study's parent run, made on the first start and RUNNING again on a resume.

        Args:
          study: `id` (letters, digits and `._:-`; default: `name`), `name`, `description`, `params` (dotted config path
            -> resolved value), `tags`, `dataset` (`name`, `sha256`, `source`, any further facts such as `shape`),
            `environment` (stored as environment.json) and, for the page's table, `objective`, `direction` and
            `searched` (dotted paths).

        Raises:
          StorageError: when a sqlite store is corrupt, foreign, out of date or cannot be written. It is left as it is.
        """
        self._study = str(study.get("id") or study["name"])
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}", self._study):
            raise ConfigError("study id for tracking", expected="letters, digits and ._:-", received=self._study)
        self._note = str(study.get("description") or "")
        self._client = _connect(str(self.uri))
        self.experiment_id = self._open_experiment(study)
        self._load_known()
        tags = {"lstm_bench.study_run": self._study, "mlflow.source.name": "lstm_bench.sweep", **study.get("tags", {})}
        known = self._known.get(("lstm_bench.study_run", self._study))
        if known is None:
            run = self._client.create_run(
                self.experiment_id, tags=self._tags("study", tags), run_name=str(study["name"])
            )
            parent_id = run.info.run_id
        else:
            parent_id = known[0]
            self._client.update_run(parent_id, status="RUNNING")
        self._parent = self._client.get_run(parent_id).data
        # Parameters cannot change in MLflow: what a resume may change (n_trials, workers) is kept as a tag.
        params = _params(study.get("params", {}))
        old = self._parent.params
        tags |= {f"resumed.{key}": value for key, value in params.items() if old.get(key, value) != value}
        self.parent_id = parent_id
        self._log_parent({}, tags, {key: value for key, value in params.items() if key not in old})
        if study.get("dataset"):
            self._client.log_inputs(parent_id, [_dataset_input(study["dataset"])])
        environment = json.dumps(study.get("environment", {}), indent=2, sort_keys=True, default=str)
        self._client.log_text(parent_id, redact(environment), "environment.json")

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
          epochs: Its rows of `HISTORY_COLUMNS`.
          started_ms: Start and end, milliseconds since 1970.
          ended_ms: See `started_ms`. Epochs are spread evenly in between, for MLflow's time axis.
          params: Dotted config path -> value as resolved for this trial.
        """
        searched = {key.removeprefix("config_"): value for key, value in row.items() if key.startswith("config_")}
        identity, name = f"{self._study}/{row['number']}", f"trial {row['number']}"
        self._log_run("trial", identity, name, row, epochs, (started_ms, ended_ms), searched | dict(params or {}))

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
          row: `REPLICATE_COLUMNS`.
          epochs: Its rows of `HISTORY_COLUMNS`.
          started_ms: Start, milliseconds since 1970.
          ended_ms: End, likewise.
          params: Dotted config path -> value.
          key: Digest of the confirmed configuration: another winner's seeds are other runs.
        """
        identity = f"{self._study}/{key}/{row['seed']}"
        name = f"replicate seed {row['seed']}"
        self._log_run("replicate", identity, name, row, epochs, (started_ms, ended_ms), dict(params or {}))

    @_observed
    def log_kernels(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """The winner's probe on the parent run: a figure per kernel, or the reason why there is none.

        Args:
          rows: `KERNEL_COLUMNS`. Of several backends, each metric is named after its backend too.
        """
        rows = list(rows)
        several = len({row.get("backend") for row in rows}) > 1
        metrics: dict[str, Any] = {}
        tags: dict[str, str] = {}
        proven: dict[tuple[Any, str], float] = {}
        for row in rows:
            name = f"kernel_{row['backend']}_{row['kernel']}" if several else f"kernel_{row['kernel']}"
            speed = _number(row.get("train_samples_per_s"))
            if speed is None:
                tags[f"{name}_unavailable"] = str(row.get("reason") or "no figure")
                continue
            metrics[f"{name}_samples_per_s"] = speed
            if row.get("kernel_ran") == row["kernel"]:
                proven[row.get("backend"), str(row["kernel"])] = speed
        for (backend, kernel), speed in proven.items():
            generic = proven.get((backend, "generic"))
            if kernel == "cudnn" and generic:
                metrics[f"kernel_{backend}_speedup" if several else "kernel_speedup"] = speed / generic
        self._log_parent(metrics, tags)

    @_observed
    def log_summary(self, metrics: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """The study's outcome on the parent run, and as a Markdown table in its description.

        Args:
          metrics: Numbers, such as the best `val_accuracy`, the mean `test_accuracy`, its interval, counts of states.
          tags: Words, such as the winner.
        """
        lines = [f"| {key} | {cell(value)} |" for key, value in {**metrics, **tags}.items() if value not in (None, "")]
        note = "\n".join([self._note, "", "| | |", "|---|---|", *lines])
        self._log_parent(metrics, {**tags, "mlflow.note.content": note})

    @_observed
    def log_figures(self, paths: Iterable[Path]) -> None:
        """Image files, into `figures/` of the parent run."""
        for path in paths:
            self._client.log_artifact(self.parent_id, str(path), "figures")

    @_observed
    def log_model(self, folder: Path, name: str) -> None:
        """The winner's model, listed in the experiment's Models tab; load it by `models:/<model id>`.

        Args:
          folder: Written by `mlflow.keras.save_model`. The same files are not stored twice.
          name: Of the model; `/ : . % " '` become `-`.
        """
        from mlflow.entities import LoggedModelOutput

        digest = hashlib.sha256()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
        tags = {"lstm_bench.model": f"{self._study}/{digest.hexdigest()[:16]}"}
        filter_string = f"source_run_id = '{self.parent_id}'"
        stored = self._client.search_logged_models([self.experiment_id], filter_string=filter_string)
        same = [model for model in stored if tags.items() <= model.tags.items()]
        if any(str(model.status) in ("READY", "LoggedModelStatus.READY") for model in same):
            return
        model = (same or [None])[0] or self._client.create_logged_model(
            self.experiment_id,
            name=re.sub(r"[/:.%\"']", "-", name),
            source_run_id=self.parent_id,
            tags=tags,
            model_type="keras",
        )
        self._client.log_model_artifacts(model.model_id, str(folder))
        self._client.finalize_logged_model(model.model_id, "READY")
        self._client.log_outputs(self.parent_id, [LoggedModelOutput(model.model_id, step=0)])

    @_observed
    def finish(self, status: str) -> None:
        """Ends the parent run: FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self.parent_id, status)

    def _open_experiment(self, study: Mapping[str, Any]) -> str:
        from mlflow.exceptions import MlflowException

        objective = str(study.get("objective") or "val_accuracy")
        columns = [f"metrics.`{name}`" for name in dict.fromkeys((objective, *_COLUMNS))]
        columns += ["tags.`state`", "tags.`kernel_ran`", *(f"params.`{path}`" for path in study.get("searched", ()))]
        view = {
            "selectedColumns": columns,
            "searchFilter": "tags.lstm_bench.kind != 'study'",  # else the page shows the parent, folded up
            "orderByKey": f"metrics.`{objective}`",
            "orderByAsc": study.get("direction") == "minimize",
        }
        tags = {
            "mlflow.note.content": self._note,
            "mlflow.experimentKind": "custom_model_development",  # else the page asks, or shows traces
            "mlflow.experiment.primaryMetric.name": objective,
            f"mlflow.sharedViewState.{VIEW}": json.dumps(view),
        }
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            local = urlsplit(str(self.uri)).scheme not in ("http", "https")
            place = (artifact_dir(str(self.uri)) / self.experiment).as_uri() if local else None
            try:
                return str(self._client.create_experiment(self.experiment, place, tags))
            except MlflowException:  # another driver was faster
                found = self._client.get_experiment_by_name(self.experiment)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        for key, value in tags.items():
            if found.tags.get(key) != value:
                self._client.set_experiment_tag(found.experiment_id, key, value)
        return str(found.experiment_id)

    def _load_known(self) -> None:
        """Finds this study's runs. A second run of one id, left by a lost answer of a server, is deleted."""
        token = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id], f"tags.`lstm_bench.study` = '{self._study}'", page_token=token
            )
            for run in page:
                for tag in ("lstm_bench.study_run", "lstm_bench.trial", "lstm_bench.replicate"):
                    if tag not in run.data.tags:
                        continue
                    found, other = (run.info.run_id, run.info.status), self._known.get((tag, run.data.tags[tag]))
                    if other is not None:
                        spare = other if found[1] in _ENDED else found
                        self._client.delete_run(spare[0])
                        found = found if spare is other else other
                    self._known[tag, run.data.tags[tag]] = found
            token = page.token
            if not token:
                return

    def _tags(self, kind: str, tags: Mapping[str, Any]) -> dict[str, str]:
        ours = {"lstm_bench.study": self._study, "lstm_bench.kind": kind, **tags}
        return {key: redact(cell(value))[:_TAG_LENGTH] for key, value in ours.items() if value not in (None, "")}

    def _log_run(
        self,
        kind: str,
        identity: str,
        name: str,
        row: Mapping[str, Any],
        epochs: Sequence[Mapping[str, Any]],
        span: tuple[int, int],
        params: Mapping[str, Any],
    ) -> None:
        run_id, status = self._known.get((f"lstm_bench.{kind}", identity), (None, None))
        if status in _ENDED:
            return
        values = _params(params)
        if run_id is None:
            tags = {column: row.get(column) for column in _TAGS} | {
                f"lstm_bench.{kind}": identity,
                "mlflow.parentRunId": self.parent_id,
                "mlflow.source.name": "lstm_bench.sweep",
            }
            run = self._client.create_run(self.experiment_id, span[0], self._tags(kind, tags), name)
            run_id = run.info.run_id
        else:  # made by a driver that died before it could end it
            stored = self._client.get_run(run_id).data.params
            values = {key: value for key, value in values.items() if key not in stored}
        self._client.log_batch(run_id, _metrics(row, epochs, span), _entities("Param", values))
        status = "FINISHED"
        if row.get("state") == "FAIL":
            status = "KILLED" if row.get("reason") in _ENDED_BY_OTHERS else "FAILED"
        self._client.set_terminated(run_id, status, span[1])
        self._known[f"lstm_bench.{kind}", identity] = (run_id, status)

    def _log_parent(
        self, metrics: Mapping[str, Any], tags: Mapping[str, Any], params: Mapping[str, str] | None = None
    ) -> None:
        """Logs on the parent run what it does not hold yet."""
        found = ((_metric_name(key), _number(value)) for key, value in metrics.items())
        old = self._parent.metrics
        numbers = {key: value for key, value in found if value is not None and old.get(key) != value}
        words = self._tags("study", tags)
        words = {key: value for key, value in words.items() if self._parent.tags.get(key) != value}
        now = time.time_ns() // 1_000_000
        self._client.log_batch(
            self.parent_id,
            [_metric(key, value, now, 0) for key, value in numbers.items()],
            _entities("Param", params or {}),
            _entities("RunTag", words),
        )
        self._parent.metrics.update(numbers)
        self._parent.tags.update(words)


def _connect(uri: str) -> Any:
    """A client, and the store behind it ready for use; a new sqlite store is made by one process at a time."""
    for key, value in _PATIENCE.items():
        os.environ.setdefault(key, value)
    os.environ.update(ENVIRONMENT)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # says every retry
    path = sqlite_path(uri)
    parts = urlsplit(uri)
    if path is None and parts.scheme not in ("http", "https"):
        port = parts.port or (5432 if parts.scheme.startswith("postgresql") else 3306)
        socket.create_connection((str(parts.hostname), port), timeout=5).close()
    with _alone(path) if path else contextlib.nullcontext(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations between MLflow and its libraries
        if path:
            check_sqlite(path)
        from mlflow import MlflowClient

        if path or not uri.startswith("http"):
            from mlflow.store.db import utils

            utils.MAX_RETRY_COUNT = 3  # ten, with growing pauses, take two minutes to say that a password is wrong
        try:
            return MlflowClient(uri, registry_uri=uri)
        except Exception as error:
            if path is None:
                raise
            remedy = "Mend it, or choose another tracking.uri."
            raise StorageError(f"{path}: MLflow cannot use it ({_said(error)})", remedy=remedy) from error


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds off other drivers by a lock on the folder of `path`: nothing to leave behind, freed when the owner dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"{path.parent}: cannot be used ({error.strerror})") from error
    try:
        with contextlib.suppress(OSError):  # a network file system without locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def check_sqlite(path: Path) -> None:
    """Refuses a file that MLflow would break, or break on. A missing one is fine.

    Raises:
      StorageError: when it is empty, corrupt, another program's, or cannot be written. It is left as it is.
    """
    remedy = "It was left as it is: move it away to start anew, or choose another tracking.uri."
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise StorageError(f"{path}: cannot be written", remedy="Mend the permissions, or choose another tracking.uri.")
    if not path.exists():
        return
    if path.stat().st_size == 0:
        raise StorageError(f"{path}: an empty file, not MLflow's database", remedy=remedy)
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=20)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if path.stat().st_size <= _CHECKED_BYTES:
                (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
                if verdict != "ok":
                    raise sqlite3.DatabaseError(verdict)
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            return  # busy, not broken: MLflow waits for it, or says so
        raise StorageError(f"{path}: corrupt ({str(error).splitlines()[0]})", remedy=remedy) from error
    if tables and "experiments" not in tables:
        raise StorageError(f"{path}: a database, but not MLflow's", remedy=remedy)


def _said(error: Exception) -> str:
    first = (str(error).strip() or "no reason given").splitlines()[0]
    return f"{type(error).__name__}: {redact(first)[:300]}"


def _number(value: Any) -> float | None:
    """A float, NaN included; None for what is no number and for infinities, which MLflow would store as 1.8e308."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isinf(number) else number


def _metric_name(name: str) -> str:
    return re.sub(r"[^\w\-./: ]", "_", name)


def _metric(name: str, value: float, timestamp_ms: int, step: int) -> Any:
    from mlflow.entities import Metric

    return Metric(_metric_name(name), value, timestamp_ms, step)


def _metrics(row: Mapping[str, Any], epochs: Sequence[Mapping[str, Any]], span: tuple[int, int]) -> list[Any]:
    """Curves with step = epoch, then everything measured once. Same input, same points: a replay adds none."""
    found = []
    last: dict[str, int] = {}
    for position, epoch in enumerate(epochs, start=1):
        at = span[0] + (span[1] - span[0]) * position // len(epochs)
        for name in _CURVES:
            if (number := _number(epoch.get(name))) is not None:
                last[name] = int(epoch["epoch"])
                found.append(_metric(name, number, at, last[name]))
    for name in _METRICS:
        if name not in last and (number := _number(row.get(name))) is not None:
            found.append(_metric(name, number, span[1], 0))
    return found


def _params(params: Mapping[str, Any]) -> dict[str, str]:
    values = {}
    for key, value in params.items():
        text = json.dumps(value, default=str) if isinstance(value, (list, tuple, dict)) else cell(value)
        values[key] = redact(text if value is not None else "null")[:_PARAM_LENGTH]
    return values


def _entities(kind: str, values: Mapping[str, str]) -> list[Any]:
    from mlflow import entities

    return [getattr(entities, kind)(key, value) for key, value in values.items()]


def _dataset_input(dataset: Mapping[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest = str(dataset.get("sha256") or "")
    facts = {key: value for key, value in dataset.items() if key not in ("name", "source")}
    entity = Dataset(
        name=str(dataset["name"]),
        digest=digest[:_DIGEST_LENGTH] or "unknown",
        source_type="local",
        source=json.dumps({"uri": redact(str(dataset.get("source", "")))}),
        profile=json.dumps(facts, default=str),  # the whole digest too
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])
