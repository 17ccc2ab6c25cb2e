"""What experiments and runs of MLflow are made of: tags, metrics, parameters and data, from a study or a benchmark."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lstm_bench.cell import AXES
from lstm_bench.errors import redact
from lstm_bench.kernel import OF_BACKEND
from lstm_bench.record import REPLICATE_COLUMNS, TRIAL_COLUMNS, cell

# Query of an experiment's page: MLflow's view for training, with the table layout stored under this key.
VIEW = "trials"
PAGE_QUERY = f"workflowType=machine_learning&viewStateShareKey={VIEW}"
TAGS = (  # columns in words
    *("state", "reason", "retry_of", "seed", "kernel_ran", "backend", "device", "device_share"),
    *("kernel", "weights_sha256"),
)
_COLUMNS = (
    "val_accuracy",
    "test_accuracy",
    "val_mse",
    "test_mse",
    "n_weights",
    "train_samples_per_s",
)  # the table's metrics
SWEEP, BENCHMARK = "lstm_bench.sweep", "lstm_bench.kernels"  # sources of runs: the commands that made them
_CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_mse", "val_mae")
_METRICS = tuple(
    column for column in dict.fromkeys((*REPLICATE_COLUMNS, *TRIAL_COLUMNS)) if column not in (*TAGS, "number")
)
_PARAM_LENGTH = 6000  # longest parameter value, characters; MLflow cuts there itself, not every store says so
_DIGEST_LENGTH = 12  # of the dataset, as shown; MLflow takes 36 characters at most, the profile holds all


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


def metrics(row: Mapping[str, Any], epochs: Sequence[Mapping[str, Any]], span: tuple[int, int]) -> list[Any]:
    """Curves with step = epoch, then everything measured once. Same input, same points: a replay adds none."""
    found = []
    last: dict[str, int] = {}
    for position, epoch in enumerate(epochs, start=1):
        at = span[0] + (span[1] - span[0]) * position // len(epochs)
        for name in _CURVES:
            if (value := number(epoch.get(name))) is not None:
                last[name] = int(epoch["epoch"])
                found.append(metric(name, value, at, last[name]))
    for name in _METRICS:
        if name not in last and (value := number(row.get(name))) is not None:
            found.append(metric(name, value, span[1], 0))
    return found


def texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as MLflow stores them: text, without passwords, cut to what every store takes."""
    values = {}
    for key, value in params.items():
        text = json.dumps(value, default=str) if isinstance(value, (list, tuple, dict)) else cell(value)
        values[key] = redact(text if value is not None else "null")[:_PARAM_LENGTH]
    return values


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
    from lstm_bench import bare  # numpy, which the UI does without

    arms = [
        {"backend": backend, "kernel": kernel}
        for backend, kernels in OF_BACKEND.items()
        for kernel in (*kernels, *bare.NAMES)
    ]
    throughputs = [f"{kernel_name(arm, several)}_samples_per_s" for several in (False, True) for arm in arms]
    throughputs += ["kernel_speedup", *(f"kernel_{backend}_speedup" for backend in OF_BACKEND)]
    params = [f"params.`{key}`" for key in AXES]
    metrics = [f"metrics.`{key}`" for key in dict.fromkeys(throughputs)]
    name = "attributes.`Run Name`"
    widths = {name: 360} | dict.fromkeys(params, 100) | {params[0]: 150}  # pixels: no name is cut off
    return {
        "selectedColumns": [*params, *metrics],
        "columnOrder": [name, *params, *metrics],
        "columnWidths": widths | {column: 6 * len(column) + 10 for column in metrics},
        "orderByKey": "tags.`mlflow.runName`",  # by start, the page would fold the cells into their parent
        "orderByAsc": True,
    }


def experiment_tags(study: Mapping[str, Any]) -> dict[str, str]:
    """Tags that give an experiment its description, and its page a table of the columns that matter."""
    shown = {"searchFilter": "tags.lstm_bench.kind != 'study'"}  # else the page shows the parent, folded up
    tags = {
        "mlflow.note.content": str(study.get("description") or ""),
        "mlflow.experimentKind": "custom_model_development",  # else the page asks, or shows traces
    }
    if study.get("source") == BENCHMARK:
        return tags | {f"mlflow.sharedViewState.{VIEW}": json.dumps(_benchmark_view() | shown)}
    objective = str(study.get("objective") or "val_accuracy")
    columns = [f"metrics.`{name}`" for name in dict.fromkeys((objective, *_COLUMNS))]
    columns += ["tags.`state`", "tags.`kernel_ran`", *(f"params.`{path}`" for path in study.get("searched", ()))]
    view = {
        "selectedColumns": columns,
        **shown,
        "orderByKey": f"metrics.`{objective}`",
        "orderByAsc": study.get("direction") == "minimize",
    }
    return tags | {
        "mlflow.experiment.primaryMetric.name": objective,
        f"mlflow.sharedViewState.{VIEW}": json.dumps(view),
    }
