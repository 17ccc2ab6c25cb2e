"""What experiments and runs of MLflow are made of: tags, metrics, parameters and data, from a study and its rows."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lstm_bench.errors import redact
from lstm_bench.record import REPLICATE_COLUMNS, TRIAL_COLUMNS, cell

# Query of an experiment's page: MLflow's view for training, with the table layout stored under this key.
VIEW = "trials"
PAGE_QUERY = f"workflowType=machine_learning&viewStateShareKey={VIEW}"
TAGS = ("state", "reason", "retry_of", "seed", "kernel_ran", "backend", "device", "device_share")  # columns in words
_COLUMNS = ("val_accuracy", "test_accuracy", "n_weights", "train_samples_per_s")  # the table's metrics
_CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
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


def experiment_tags(study: Mapping[str, Any]) -> dict[str, str]:
    """Tags that give an experiment its description, and its page a table of the columns that matter."""
    objective = str(study.get("objective") or "val_accuracy")
    columns = [f"metrics.`{name}`" for name in dict.fromkeys((objective, *_COLUMNS))]
    columns += ["tags.`state`", "tags.`kernel_ran`", *(f"params.`{path}`" for path in study.get("searched", ()))]
    view = {
        "selectedColumns": columns,
        "searchFilter": "tags.lstm_bench.kind != 'study'",  # else the page shows the parent, folded up
        "orderByKey": f"metrics.`{objective}`",
        "orderByAsc": study.get("direction") == "minimize",
    }
    return {
        "mlflow.note.content": str(study.get("description") or ""),
        "mlflow.experimentKind": "custom_model_development",  # else the page asks, or shows traces
        "mlflow.experiment.primaryMetric.name": objective,
        f"mlflow.sharedViewState.{VIEW}": json.dumps(view),
    }
