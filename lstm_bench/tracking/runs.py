"""What experiments and runs of MLflow are made of: tags, metrics, parameters and data, from a study or a benchmark."""

from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lstm_bench.core.errors import redact
from lstm_bench.core.formatting import format_field
from lstm_bench.core.vocabulary import AXES, OF_BACKEND
from lstm_bench.study.columns import OPTIONAL_COLUMNS, REPLICATE_COLUMNS, TRIAL_COLUMNS, optional_columns

# Query of an experiment's page: MLflow's view for training, with the table layout stored under this key.
VIEW = "trials"
TRAINING = "workflowType=machine_learning"
TAGS = (  # columns in words
    *("state", "reason", "retry_of", "seed", "kernel_ran", "backend", "device", "device_share"),
    *("kernel", "weights_sha256"),
)
_COLUMNS = ("test_accuracy", "test_mse", "n_weights", "train_samples_per_s")  # the table's metrics, after the objective
_NAME, _WIDTHS = "attributes.`Run Name`", (105, 70, 90)  # pixels of it, a score and the state: all on a small screen
SWEEP, BENCHMARK = "lstm_bench.sweep", "lstm_bench.kernels"  # sources of runs: the commands that made them
_CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_mse", "val_mae", "penalty", "learning_rate")
# Column of an epoch -> name of its metric. A page of charts begins with what has a prefix: that are the curves alone.
CURVES = {column: f"curves/{column}" for column in _CURVES} | {"train_s": "epoch_train_s"}
# Up to 0.1.0 a curve and its row's value were one metric, but for what `end/` begins and the tag `lstm_bench.without` names.
OLD_CURVES = {column: column for column in _CURVES} | {"train_s": "epoch_train_s"}
OLD_END, OLD_WITHOUT = "end/", "lstm_bench.without"
INFINITE_METRICS, PROBED, CONFIRMED, EVIDENCE, ORDER, FITTED = (
    f"lstm_bench.{word}" for word in ("infinite", "probed", "confirmed", "evidence", "order", "controls")
)
# Tag -> artifact that it names: read by machines alone.
FILES = {PROBED: "kernels.json", EVIDENCE: "evidence.json", FITTED: "controls.json"}
KEYS, ENVIRONMENT, RESUMED = "lstm_bench.keys.", "environment.", "resumed."  # begin tags of a study
# Columns of the probe: words, and what a run of 0.1.0 has as metrics
PROBE_WORDS = ("kernel_ran", "reason", "device", "device_share", "evidence")
PROBE_NUMBERS = ("p10_samples_per_s", "p90_samples_per_s", "n", "step_ms", "compile_s", "batch_size")
_METRICS = tuple(
    column
    for column in dict.fromkeys((*REPLICATE_COLUMNS, *TRIAL_COLUMNS, *OPTIONAL_COLUMNS))
    if column not in (*TAGS, "number", "started_at", "ended_at")
)
_PARAM_LENGTH = 6000  # longest parameter value, characters; MLflow cuts there itself, not every store says so
_KEYS_LENGTH = 4000  # of one tag
_PICTURE = 1024  # values of a test sample that is kept; a longer one is left out
_DIGEST_LENGTH = 12  # of the dataset, as shown; MLflow takes 36 characters at most, the profile holds all


def curves() -> dict[str, str]:
    """`CURVES`, and those of the metrics that tasks have beside the fixed columns."""
    return CURVES | {column: f"curves/{column}" for column in _further() if column not in CURVES}


def old_curves() -> dict[str, str]:
    """Likewise, of `OLD_CURVES`."""
    return OLD_CURVES | {column: column for column in _further() if column not in OLD_CURVES}


def _further() -> list[str]:
    of_tasks = (column for column in optional_columns() if column not in OPTIONAL_COLUMNS)
    return [column for column in of_tasks if not column.startswith("test_")]


def _measured() -> dict[str, None]:
    return dict.fromkeys((*_METRICS, *optional_columns()))


def number(value: Any) -> float | None:
    """A float, NaN included; None for what is no number and for infinities, which MLflow would store as 1.8e308."""
    if value is None or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isinf(found) else found


def metric_name(name: str) -> str:
    """`name` with what MLflow refuses replaced by `_`."""
    return re.sub(r"[^\w\-./: ]", "_", name)


def metric(name: str, value: float, timestamp_ms: int, step: int) -> Any:
    """One point of a metric."""
    from mlflow.entities import Metric

    return Metric(metric_name(name), value, timestamp_ms, step)


def points(epochs: Sequence[Mapping[str, Any]], span: tuple[int, int]) -> list[Any]:
    """Curves with step = epoch, each epoch at its `at_ms`; without one, spread evenly over the span."""
    found = []
    for position, epoch in enumerate(epochs, start=1):
        at = epoch.get("at_ms") or span[0] + (span[1] - span[0]) * position // len(epochs)
        for column, name in curves().items():
            if (value := number(epoch.get(column))) is not None:
                found.append(metric(name, value, at, int(epoch["epoch"])))
    return found


def metrics(row: Mapping[str, Any], epochs: Sequence[Mapping[str, Any]], span: tuple[int, int]) -> list[Any]:
    """`points` of the curves, then everything measured once. Same input, same points: a replay adds none."""
    found = points(epochs, span)
    for name in _measured():
        if (value := number(row.get(name))) is not None:
            found.append(metric(name, value, span[1], 0))
    return found


def metric_tags(row: Mapping[str, Any], epochs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What metrics cannot say, as tags: `INFINITE_METRICS` names those that are infinite.

    It is a list of `[column, epoch, "inf" or "-inf"]`, the epoch null for the row's own value.
    """
    found: list[list[Any]] = [[name, None, format_field(row[name])] for name in _measured() if _infinite(row.get(name))]
    found += [
        [column, int(epoch["epoch"]), format_field(epoch[column])]
        for epoch in epochs
        for column in curves()
        if _infinite(epoch.get(column))
    ]
    return {INFINITE_METRICS: json.dumps(found) if found else ""}


def order(score: Any, maximize: bool) -> str:
    """Text by which a trial stands in the table: the best first, those without a score last; the study's run, "0", before all.

    The text of a number is that of its bits, which sort as the numbers do once those of negative ones are turned round.
    """
    if (value := number(score)) is None or math.isnan(value):
        return "2"
    value = float(format_field(value))  # the digits of the records: told from them, it is the same
    (bits,) = struct.unpack(">Q", struct.pack(">d", -value if maximize else value))
    return f"1 {bits ^ (2**64 - 1 if bits >> 63 else 1 << 63):016x}"


def page(address: str, experiment_id: Any, run_id: str = "") -> str:
    """Where a person sees a study's runs, or with `run_id` a run's curves.

    Args:
      address: Of the server, without a name and a password; "" for a link within its pages.
      experiment_id: Of MLflow.
      run_id: Of MLflow.
    """
    place = f"{address}{'/' * bool(address)}#/experiments/{experiment_id}/runs"
    return f"{place}/{run_id}/model-metrics?{TRAINING}" if run_id else f"{place}?{TRAINING}&viewStateShareKey={VIEW}"


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)


def text_tags(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row that are tags: `TAGS`, and whatever else is text and no number."""
    return {key: row.get(key) for key in TAGS} | {
        key: row[key] for key in _measured() if isinstance(row.get(key), str) and row[key] and number(row[key]) is None
    }


def evidence(result: Mapping[str, Any]) -> dict[str, Any]:
    """What of a replicate's predictions goes to MLflow, {} where there are none.

    Args:
      result: Perhaps with `predictions` and `worst`, rows of `PREDICTION_COLUMNS` and `WORST_COLUMNS`.

    Returns:
      `confusion`: `label/prediction` -> number of test samples; `pictures`: the worst of at most 1,024 values.
    """
    if not result.get("predictions") or "step" in result["predictions"][0]:  # of forecasts MLflow has the scores alone
        return {}
    pairs = Counter(f"{row['label']}/{row['prediction']}" for row in result["predictions"])
    pictures = [row for row in result.get("worst", ()) if 0 < row["timesteps"] * row["features"] <= _PICTURE]
    return {"confusion": dict(sorted(pairs.items())), "pictures": pictures}


def param_strings(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as MLflow stores them: text, without passwords, cut to what every store takes."""
    return {key: redact(encode(value))[:_PARAM_LENGTH] for key, value in params.items()}


def encode(value: Any) -> str:
    """A value as text that `decode` gives back: JSON, but a string bare unless that reads as something else."""
    if isinstance(value, str) and value and decode(value) == value:
        return value
    return json.dumps(value, default=str, ensure_ascii=False)


def decode(text: str) -> Any:
    """The value of a text that `encode` made."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def param_order(paths: Iterable[str]) -> dict[str, str]:
    """Dotted paths in their order, as tags: parameters have none."""
    text = "\n".join(paths)
    starts = range(0, len(text), _KEYS_LENGTH)
    return {f"{KEYS}{start // _KEYS_LENGTH:03}": text[start : start + _KEYS_LENGTH] for start in starts}


def params(values: Mapping[str, str]) -> list[Any]:
    """Parameters of a run."""
    from mlflow.entities import Param

    return [Param(key, value) for key, value in values.items()]


def tags(values: Mapping[str, str]) -> list[Any]:
    """Tags of a run."""
    from mlflow.entities import RunTag

    return [RunTag(key, value) for key, value in values.items()]


def dataset_input(dataset: Mapping[str, Any]) -> Any:
    """The data of a study, from its `name`, `sha256`, `source` and further facts."""
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


def kernel_name(row: Mapping[str, Any], several: bool) -> str:
    """How the metrics and tags of one arm begin: `kernel_generic`, or `kernel_torch_generic_inference`.

    Args:
      row: `backend`, `kernel` and perhaps `operation`: only another one than the training step is part of the name.
      several: Whether there are arms of more than one backend: then the backend is part of the name.
    """
    words = ["kernel", *([row["backend"]] if several else []), row["kernel"]]
    operation = row.get("operation", "train_step")
    return "_".join(map(str, words if operation == "train_step" else [*words, operation]))


def kernel_figures(rows: Sequence[Mapping[str, Any]], several: bool) -> tuple[dict[str, float], dict[str, str]]:
    """Metrics and tags of arms of one shape: a throughput per arm, or the reason why there is none.

    `kernel_speedup` is cuDNN over generic in the training step, where it is proven that both ran: the row's own
    `speedup`, else the ratio of the throughputs.

    Args:
      rows: `backend`, `kernel`, `kernel_ran`, `state`, `reason`, `samples_per_s`, `operation` and `speedup`, the last
        two optional. Only the state "measured" gives a throughput.
      several: As for `kernel_name`.
    """
    metrics: dict[str, float] = {}
    tags: dict[str, str] = {}
    proven: dict[tuple[Any, str], tuple[float, float | None]] = {}
    for row in rows:
        name = kernel_name(row, several)
        speed = number(row.get("samples_per_s")) if row["state"] == "measured" else None
        if speed is None:
            state = "no figure" if row["state"] == "measured" else row["state"]
            tags[f"{name}_unavailable"] = str(row.get("reason") or state)
            continue
        metrics[f"{name}_samples_per_s"] = speed
        if row.get("kernel_ran") == row["kernel"] and row.get("operation", "train_step") == "train_step":
            proven[row.get("backend"), str(row["kernel"])] = speed, number(row.get("speedup"))
    for (backend, kernel), (speed, ratio) in proven.items():
        generic, _ = proven.get((backend, "generic"), (None, None))
        if kernel == "cudnn" and generic:
            metrics[f"kernel_{backend}_speedup" if several else "kernel_speedup"] = ratio or speed / generic
    return metrics, tags


def cell_figures(rows: Sequence[Mapping[str, Any]], several: bool) -> tuple[dict[str, float], dict[str, str]]:
    """`kernel_figures` of a benchmark's cell, and per arm what ran, its marks, its compile time and its memory."""
    metrics, tags = kernel_figures(rows, several)
    for row in rows:
        name = kernel_name(row, several)
        words = {"ran": row.get("kernel_ran"), "marks": row.get("marks")}
        tags |= {f"{name}_{key}": str(value) for key, value in words.items() if value not in (None, "")}
        if f"{name}_samples_per_s" in metrics:
            found = {key: number(row.get(key)) for key in ("compile_s", "peak_memory_mib")}
            metrics |= {f"{name}_{key}": value for key, value in found.items() if value is not None}
    return metrics, tags


def _benchmark_view() -> dict[str, Any]:
    """The table of a benchmark: its cells by name, the shape first, then the training throughputs.

    The page leaves out a column that no run has, so the names for one backend and for several are all asked for.
    """
    from lstm_bench.core import vocabulary  # numpy, which the UI does without

    arms = [
        {"backend": backend, "kernel": kernel}
        for backend, kernels in OF_BACKEND.items()
        for kernel in (*kernels, *vocabulary.NAMES)
    ]
    throughputs = [f"{kernel_name(arm, several)}_samples_per_s" for several in (False, True) for arm in arms]
    throughputs += ["kernel_speedup", *(f"kernel_{backend}_speedup" for backend in OF_BACKEND)]
    params = [f"params.`{key}`" for key in AXES]
    metrics = [f"metrics.`{key}`" for key in dict.fromkeys(throughputs)]
    widths = {_NAME: 360} | dict.fromkeys(params, 100) | {params[0]: 150}  # pixels: no name is cut off
    return {
        "selectedColumns": [*params, *metrics],
        "columnOrder": [_NAME, *params, *metrics],
        "columnWidths": widths | {column: 6 * len(column) + 10 for column in metrics},
        "orderByKey": "tags.`mlflow.runName`",  # by start, the page would fold the cells into their parent
        "orderByAsc": True,
    }


def experiment_tags(study: Mapping[str, Any]) -> dict[str, str]:
    """Tags that give an experiment its description, and its page a table of the columns that matter."""
    tags = {
        "mlflow.note.content": str(study.get("description") or ""),
        "mlflow.experimentKind": "custom_model_development",  # else the page asks, or shows traces
    }
    if study.get("source") == BENCHMARK:
        shown = {"searchFilter": "tags.lstm_bench.kind != 'study'"}  # else the page shows the parent, folded up
        return tags | {f"mlflow.sharedViewState.{VIEW}": json.dumps(_benchmark_view() | shown)}
    objective = str(study.get("objective") or "val_accuracy")
    scores = [f"metrics.`{name}`" for name in dict.fromkeys((objective, *_COLUMNS))]
    columns = [
        *scores,
        "tags.`state`",
        "tags.`kernel_ran`",
        *(f"params.`{path}`" for path in study.get("searched", ())),
    ]
    view = {
        "selectedColumns": columns,
        "columnOrder": [_NAME, *columns],
        "columnWidths": dict.fromkeys(scores, _WIDTHS[1]) | {_NAME: _WIDTHS[0], "tags.`state`": _WIDTHS[2]},
        "searchFilter": "tags.lstm_bench.kind != 'replicate'",
        "orderByKey": f"tags.`{ORDER}`",
        "orderByAsc": True,
    }
    return tags | {
        "mlflow.experiment.primaryMetric.name": objective,
        f"mlflow.sharedViewState.{VIEW}": json.dumps(view),
    }
