"""Studies as an MLflow server or file holds them: the same tables as their records, from runs, metrics, parameters and tags.

`tracking` and `entity` wrote them; here they are read back, on whatever machine. Two artifacts hold what only machines read,
the winner's kernels and what it got wrong: where they cannot be had, the page says so. Metrics are the same 64-bit floats
that the records round to ten digits.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lstm_bench.core import formatting, schema
from lstm_bench.core.clock import time_of_day
from lstm_bench.core.errors import ConfigError, LstmBenchError, StorageError, nearest, redact
from lstm_bench.report.sources.records import Result, assemble
from lstm_bench.study import frames
from lstm_bench.study.columns import (
    CONTROL_COLUMNS,
    HISTORY_COLUMNS,
    KERNEL_COLUMNS,
    REPLICATE_COLUMNS,
    TRIAL_COLUMNS,
    WORST_COLUMNS,
    optional_columns,
)
from lstm_bench.tracking import store
from lstm_bench.tracking.runs import (
    BENCHMARK,
    CONFIRMED,
    ENVIRONMENT,
    EVIDENCE,
    FILES,
    FITTED,
    INFINITE_METRICS,
    KEYS,
    OLD_END,
    OLD_WITHOUT,
    PROBE_NUMBERS,
    PROBE_WORDS,
    PROBED,
    RESUMED,
    TAGS,
    curves,
    decode,
    kernel_name,
    old_curves,
)

_RUNS, _POINTS = 100, 25_000  # a server's limits on one request for many histories
_BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
_WAIT_S = "30"  # for one answer of a server: a page of a thousand runs takes it a while
_LARGEST = 1.797e308  # MLflow's infinity, were one logged by other means


_UNREACHED = "its file in MLflow cannot be reached from here"


def harvest(uri: str | None, experiments: Sequence[str] | None = None) -> tuple[list[Result], list[str]]:
    """Every study of a store, by name.

    Args:
      uri: As `tracking.uri`; None for its default.
      experiments: Names of those to read, None for all that are lstm_bench's studies.

    Returns:
      The studies, and a sentence for each thing that was left out.

    Raises:
      ConfigError: for a URI of no store, a file that is not there, or an experiment that the store does not hold.
      StorageError: when the store cannot be read or does not answer.
    """
    uri = uri or store.default()
    asked: schema.Store = {"name": "mlflow", "uri": uri}
    store.check(asked, key="uri")
    place = store.store_uri(asked)
    path = store.sqlite_path(place)
    if path is not None and not path.is_file():
        remedy = (
            "Give the file or server that the sweeps were tracked in: uri=sqlite:///mlflow.db or uri=http://HOST:5000"
        )
        raise ConfigError("uri", expected="an MLflow store", received=redact(place), remedy=remedy)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", _WAIT_S)
    try:
        client = store.connect(place, False, lambda held: print(f"{held}: waiting", file=sys.stderr, flush=True))
        return _harvest(client, experiments, store.artifact_dir(place))
    except LstmBenchError:
        raise
    except Exception as error:  # of MLflow, its database's driver or the network
        what = f"MLflow ({redact(place)}) cannot be read: {store.said(error)}"
        raise StorageError(what, remedy="Check uri=, and that its server runs and can be reached.") from error


def _harvest(client: Any, wanted: Sequence[str] | None, beside: Path) -> tuple[list[Result], list[str]]:
    found = {e.name: e.experiment_id for e in _all(client.search_experiments)}
    for name in wanted or ():
        if name not in found:
            remedy = nearest(name, found)
            raise ConfigError("experiments", expected="names of MLflow's experiments", received=name, remedy=remedy)
    names = {id_: name for name, id_ in found.items() if wanted is None or name in wanted}
    newest: dict[str, Any] = {}
    remarks = []
    for parent in _runs(client, list(names), "tags.`lstm_bench.kind` = 'study'"):  # the newest first
        name = names[parent.info.experiment_id]
        if "lstm_bench.study" not in parent.data.tags:
            continue
        if name in newest:
            remarks.append(f"experiment {name} holds an older study as well ({parent.info.run_id}): left out")
        newest.setdefault(name, parent)
    made = {name: run for name, run in newest.items() if run.data.tags.get("mlflow.source.name") != BENCHMARK}
    for ours, text in ((True, "kernel benchmarks, which are reported from their records"), (False, "not lstm_bench's")):
        left = sorted(n for n in names.values() if n not in made and (n in newest) == ours and n != "Default")
        if left:
            remarks.append(f"experiments left out, {text}: {', '.join(left)}")
    return [_study(client, name, made[name], beside / name) for name in sorted(made)], remarks


def _all(search: Callable[..., Any]) -> Iterator[Any]:
    """Every item of a search that gives its answer page by page."""
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _runs(client: Any, experiment_ids: list[str], filter_string: str) -> Iterator[Any]:
    """Runs of some experiments, the newest first: one that starts meanwhile makes another come twice, none is missed."""
    if not experiment_ids:
        return
    seen = set()
    for run in _all(lambda **page: client.search_runs(experiment_ids, filter_string, **page)):
        if run.info.run_id not in seen:
            yield run
        seen.add(run.info.run_id)


def _study(client: Any, name: str, parent: Any, beside: Path) -> Result:
    tags = parent.data.tags
    result = Result(Path(name), name, config=_config(parent.data), environment=_environment(tags))
    kinds: dict[str, dict[str, Any]] = {"trial": {}, "replicate": {}}
    unended = 0
    study = tags["lstm_bench.study"].replace("'", "")
    for run in _runs(client, [parent.info.experiment_id], f"tags.`lstm_bench.study` = '{study}'"):
        kind = run.data.tags.get("lstm_bench.kind", "")
        if kind in kinds and (run.info.status in ("RUNNING", "SCHEDULED") or "state" not in run.data.tags):
            unended += 1
        elif kind in kinds:
            kinds[kind].setdefault(run.data.tags[f"lstm_bench.{kind}"], run)
    trials, confirmed = list(kinds["trial"].values()), tags.get(CONFIRMED, "").split()
    replicates = [run for key, run in kinds["replicate"].items() if not confirmed or key.split("/")[-2] in confirmed]
    rows = {
        "trials.csv": [_trial(run, list(result.space())) for run in trials],
        "replicates.csv": [_row(run, REPLICATE_COLUMNS) for run in replicates],
        "history.csv": _history(client, trials, replicates),
        "kernels.csv": _kernels(client, parent, beside),
        "controls.csv": _controls(client, parent, beside),
    }
    assemble(result, rows)
    if not result.config:
        result.notes.append("MLflow holds no configuration of this study: an older lstm_bench tracked it.")
    if unended and parent.info.status != "RUNNING":  # of a study at work, that is as it should be
        result.notes.append(f"{unended} runs in MLflow were begun and not ended: left out.")
    if FILES[PROBED] == tags.get(PROBED) and not rows["kernels.csv"]:
        result.notes.append(f"The winner's kernels are left out: {_UNREACHED}.")
    if FILES[FITTED] == tags.get(FITTED) and not rows["controls.csv"]:
        result.notes.append(f"The controls are left out: {_UNREACHED}.")
    elif FITTED not in tags and any(name.startswith("control_") for name in parent.data.metrics):
        result.notes.append("The controls are left out: an older lstm_bench told MLflow their means alone.")
    _add_evidence(client, result, replicates, beside)
    return result


def _artifact(client: Any, run: Any, tag: str, beside: Path) -> Any:
    """What the file holds that a tag of a run names; None where there is no such tag, or no such file here.

    Args:
      client: Of the store.
      run: Of MLflow.
      tag: Of `entity.FILES`.
      beside: Where the experiment's files lie beside a store in a file: it may have been moved since it was written.
    """
    name, run_id = FILES[tag], run.info.run_id
    if run.data.tags.get(tag) != name:
        return None
    from mlflow.exceptions import MlflowException
    from mlflow.utils.rest_utils import http_request

    tracking = client._tracking_client.store
    try:
        if hasattr(tracking, "get_host_creds"):
            asked = {"path": name, "run_uuid": run_id}
            answer = http_request(
                tracking.get_host_creds(), "/get-artifact", "GET", params=asked, raise_on_status=False
            )
            return answer.json() if answer.status_code == 200 else None
        file = beside / run_id / "artifacts" / name
        return json.loads((file if file.is_file() else Path(client.download_artifacts(run_id, name))).read_bytes())
    except (OSError, ValueError, MlflowException):
        return None


def _config(data: Any) -> dict[str, Any]:
    """The configuration: parameters, and what a resume changed of them, in the order of their keys."""
    listed = "".join(data.tags[key] for key in sorted(data.tags) if key.startswith(KEYS))
    values = {path: data.tags.get(RESUMED + path, data.params.get(path)) for path in listed.split("\n")}
    return _tree({path: decode(value) for path, value in values.items() if value is not None})


def _environment(tags: Mapping[str, str]) -> dict[str, Any]:
    begins = ENVIRONMENT
    return _tree({key.removeprefix(begins): decode(tags[key]) for key in sorted(tags) if key.startswith(begins)})


def _tree(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings from dotted paths."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, last = path.split(".")
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = value
    return tree


def _row(run: Any, columns: Sequence[str]) -> dict[str, str]:
    """A trial's or replicate's row, as text."""
    metrics, tags = run.data.metrics, run.data.tags
    without = tags.get(OLD_WITHOUT, "").split()
    row = {}
    for column in columns:
        value = metrics.get(OLD_END + column, metrics.get(column))
        if column in TAGS or value is None:
            row[column] = tags.get(column, "")
        else:
            row[column] = "" if column in without else _text(value)
    row |= {name: _text(metrics[name]) for name in optional_columns() if name in metrics and name not in without}
    row |= {"started_at": time_of_day(run.info.start_time), "ended_at": time_of_day(run.info.end_time)}
    return row | {column: text for column, epoch, text in _infinite(tags) if epoch is None}


def _text(value: float) -> str:
    if abs(value) > _LARGEST:
        return "inf" if value > 0 else "-inf"
    return formatting.format_field(float(value))


def _infinite(tags: Mapping[str, str]) -> list[tuple[str, int | None, str]]:
    return [tuple(point) for point in _list(tags.get(INFINITE_METRICS, ""))]


def _list(text: str) -> list[Any]:
    """A list in a tag; none where there is no tag, or one that was edited or cut."""
    found = decode(text)
    return found if isinstance(found, list) else []


def _trial(run: Any, searched: Sequence[str]) -> dict[str, str]:
    params = run.data.params
    values = {path: formatting.format_exact(decode(params[path])) if path in params else "" for path in searched}
    number = {"number": _number(run)}
    return _row(run, TRIAL_COLUMNS) | number | {f"config_{path}": value for path, value in values.items()}


def _number(run: Any) -> str:
    """Of a trial its number, of a replicate its seed."""
    tags = run.data.tags
    return str(tags[f"lstm_bench.{tags['lstm_bench.kind']}"].rpartition("/")[2])


def _history(client: Any, trials: Sequence[Any], replicates: Sequence[Any]) -> list[dict[str, str]]:
    """Rows of history.csv."""
    runs = {run.info.run_id: run for run in (*trials, *replicates)}
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for column, name in (*old_curves().items(), *curves().items()):
        for run_id, step, value in _points(client, [r for r in runs if name in runs[r].data.metrics], name):
            if step > 0:  # 0: the run's own value, of no epoch
                rows.setdefault((run_id, step), {})[column] = _text(value)
    for run_id, run in runs.items():
        for column, epoch, text in _infinite(run.data.tags):
            if epoch is not None:
                rows.setdefault((run_id, epoch), {})[column] = text
    names = {"kind", "number", "epoch", "trial"}
    for (run_id, step), row in rows.items():
        run = runs[run_id]
        kind, of = run.data.tags["lstm_bench.kind"], run.data.metrics.get("trial")
        row |= {"kind": kind, "number": _number(run), "epoch": str(step)}
        row["trial"] = "" if of is None else _text(of)
        row |= {column: "" for column in HISTORY_COLUMNS if column not in row and column not in names}
    return list(rows.values())


def _kernels(client: Any, parent: Any, beside: Path) -> list[dict[str, str]]:
    """Rows of kernels.csv, from the study's own run."""
    if parent.data.tags.get(PROBED) != FILES[PROBED]:
        return _old_kernels(parent.data)
    rows = _artifact(client, parent, PROBED, beside) or []
    return [{column: formatting.format_field(row.get(column)) for column in KERNEL_COLUMNS} for row in rows]


def _controls(client: Any, parent: Any, beside: Path) -> list[dict[str, str]]:
    """Rows of controls.csv, from the study's own run."""
    rows = _artifact(client, parent, FITTED, beside) or []
    columns = (*CONTROL_COLUMNS, *optional_columns())
    return [{column: formatting.format_field(row.get(column)) for column in columns} for row in rows]


def _old_kernels(data: Any) -> list[dict[str, str]]:
    """As `_kernels`, from metrics and tags."""
    arms = _list(data.tags.get(PROBED, ""))
    several = len({backend for backend, _ in arms}) > 1
    rows = []
    for backend, kernel in arms:
        row = {"backend": backend or "", "kernel": kernel}
        name = kernel_name(row, several)
        row |= {column: data.tags.get(f"{name}_{column}", "") for column in PROBE_WORDS}
        figures = {column: f"{name}_{column}" for column in PROBE_NUMBERS}
        figures["train_samples_per_s"] = f"{name}_samples_per_s"
        rows.append(row | {c: _text(data.metrics[key]) if key in data.metrics else "" for c, key in figures.items()})
    return rows


def _add_evidence(client: Any, result: Result, replicates: Sequence[Any], beside: Path) -> None:
    """The confusion of the picked configuration's first replicate, and the pictures of what it got wrong."""
    winner = result.winner
    for run in sorted(replicates, key=lambda run: float(_number(run))):
        if winner is not None and run.data.metrics.get("trial") not in (None, winner["number"]):
            continue
        if EVIDENCE in run.data.tags:
            seen = _artifact(client, run, EVIDENCE, beside)
            if seen is None:
                result.notes.append(f"No confusion matrix and no pictures of wrong samples: {_UNREACHED}.")
                result.lacking["worst.csv"] = _UNREACHED
                return
            pairs, pictures = list(seen["confusion"].items()), seen["pictures"]
            break
        pairs, pictures = _old_evidence(client, run)
        if pairs:
            break
    else:
        return
    rows = [{"label": int(key.split("/")[0]), "prediction": int(key.split("/")[1]), "n": int(n)} for key, n in pairs]
    result.tables["confusion"] = pd.DataFrame(rows)
    texts = [{column: formatting.format_field(value) for column, value in picture.items()} for picture in pictures]
    result.tables["worst.csv"] = frames.frame("worst.csv", texts, result.task, result.notes)
    if not pictures and any(row["label"] != row["prediction"] for row in rows):
        result.lacking["worst.csv"] = "MLflow holds none of sequences this long"


def _old_evidence(client: Any, run: Any) -> tuple[list[tuple[str, float]], list[dict[str, Any]]]:
    """Pairs of classes with their numbers, and pictures, from metrics."""
    metrics = run.data.metrics
    pairs = [(key.removeprefix("confusion/"), n) for key, n in metrics.items() if key.startswith("confusion/")]
    pictures: list[dict[str, Any]] = []
    while f"worst/{len(pictures)}/values" in metrics:
        begins = f"worst/{len(pictures)}/"
        values = sorted((step, value) for _, step, value in _points(client, [run.info.run_id], begins + "values"))
        row = {column: metrics[begins + column] for column in WORST_COLUMNS if begins + column in metrics}
        pictures.append(row | {"values": " ".join(f"{value:.3g}" for _, value in values)})
    return pairs, pictures


def _points(client: Any, run_ids: Sequence[str], key: str) -> Iterator[tuple[str, int, float]]:
    """Every point of one metric of many runs: run, step and value, of one step the newest last."""
    for start in range(0, len(run_ids), _RUNS):
        yield from _some_points(client, run_ids[start : start + _RUNS], key)


def _some_points(client: Any, run_ids: Sequence[str], key: str) -> list[tuple[str, int, float]]:
    """`_points` of at most `_RUNS` runs, which one request answers unless they are long."""
    if len(run_ids) == 1:
        return [(run_ids[0], p.step, p.value) for p in client.get_metric_history(run_ids[0], key)]
    found = _bulk_points(client, run_ids, key)
    if len(found) < _POINTS:
        return found
    half = len(run_ids) // 2
    return _some_points(client, run_ids[:half], key) + _some_points(client, run_ids[half:], key)


def _bulk_points(client: Any, run_ids: Sequence[str], key: str) -> list[tuple[str, int, float]]:
    """The first `_POINTS` points, by what MLflow's own pages use: its client asks for one run and metric at a time."""
    tracking = client._tracking_client.store
    if hasattr(tracking, "get_metric_history_bulk"):
        points = [point.to_dict() for point in tracking.get_metric_history_bulk(list(run_ids), key, _POINTS)]
    else:
        from mlflow.utils.rest_utils import http_request, verify_rest_response

        asked = {"run_id": list(run_ids), "metric_key": key, "max_results": _POINTS}
        answer = http_request(tracking.get_host_creds(), _BULK, "GET", params=asked)
        points = verify_rest_response(answer, _BULK).json()["metrics"]
    return [(point["run_id"], int(point["step"]), float(point["value"])) for point in points]
