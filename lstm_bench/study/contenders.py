"""The networks and controls of studies on one ground, as `recommendation` takes them: from records, or as a sweep has them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_bench.core.statistics import median, t_interval
from lstm_bench.data.metric import Metric
from lstm_bench.data.task import Task
from lstm_bench.model.controls import CONTROLS
from lstm_bench.study import diagnostics, leak_rows
from lstm_bench.study.difference import Contender, Ground
from lstm_bench.study.recommendation import Recommendation, recommend

Row = Mapping[str, Any]


def recommended(
    name: str,
    folder: Path,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    task: Task,
    *,
    rows: Sequence[Row],
    controls: Sequence[Row],
    counts: Mapping[str, int],
    health: Sequence[str],
) -> Recommendation | None:
    """What to take of one study, in the same words for the terminal and MLflow; None before anything is confirmed or fitted.

    Args:
      name: Of the study.
      folder: Of its records.
      config: Resolved configuration.
      facts: `dataset` of `environment.json`.
      task: Of the data.
      rows: Complete replicates of the picked configuration.
      controls: Rows of `columns.CONTROL_COLUMNS`.
      counts: Trials `complete` and `pruned`.
      health: What was judged of the study.
    """
    metric, known = aim(config, task), list[Contender]()
    if rows:
        called_ = called(name, str(config["model"]["_target_"]).rpartition(".")[2])
        tried = counts["complete"] + counts["pruned"]
        known.append(network(called_, rows, task, metric, study=name, tried=tried, doubts=health))
    known += fitted(name, controls, task, metric)
    return recommend(known, ground(config, facts, task, folder)) if known else None


def ground(config: Mapping[str, Any], facts: Mapping[str, Any], task: Task, folder: Path) -> Ground:
    """What a study's contenders stand on.

    Args:
      config: Resolved configuration.
      facts: `dataset` of `environment.json`.
      task: Of the data.
      folder: Of the study: beside it lies what the leak meter found.
    """
    leaks = leak_rows.read(folder.parent / leak_rows.FILE, str(facts.get("sha256")))
    n, lengths = facts.get("n_validation"), facts.get("lengths")
    padded = lengths.get("padding") if isinstance(lengths, Mapping) else None
    return Ground(
        aim(config, task),
        task.measure,
        int(n) if isinstance(n, int | float) else 0,
        padded=float(padded) if isinstance(padded, int | float) else 0.0,
        leaks=tuple(row["says"] for row in leaks if row.get("alarm") == "1"),
    )


def aim(config: Mapping[str, Any], task: Task) -> Metric:
    """The metric that a study is decided by: that of its objective, else the measure of its task."""
    study = config.get("study")
    named = str(study.get("objective") or "") if isinstance(study, Mapping) else ""
    return task.metric(named) or task.measure


def called(study: str, family: str) -> str:
    """A study as a recommendation names it: with its family, unless its name says that."""
    return study if family in study else f"{study} ({family})"


def network(
    name: str,
    rows: Iterable[Row],
    task: Task,
    metric: Metric,
    *,
    study: str,
    tried: int,
    doubts: Sequence[str] = (),
    comparable: bool = True,
) -> Contender:
    """A confirmed configuration.

    Args:
      name: What a table calls it.
      rows: Its complete replicates, `columns.REPLICATE_COLUMNS`; what is not there is None, "" or NaN.
      task: Of the data.
      metric: See `aim`.
      study: Name of its study.
      tried: Trials of the search that found it.
      doubts: What was judged of it.
      comparable: Whether its speed compares with that of others, as far as rows do not say so themselves.
    """
    rows = [row for row in rows if row.get("state") == "COMPLETE"]
    kernels = sorted({str(row["kernel_ran"]) for row in rows if row.get("kernel_ran") not in (None, "", "none")})
    shares = {str(row.get("device_share") or "") for row in rows}
    comparable = comparable and not any(share.startswith(("shared", "packed ")) for share in shares)
    quoted = shlex.quote(study)
    use = f"python -m lstm_bench.predict study={quoted} input=FILE"
    commands = {"use": use, "repeat": f"python -m lstm_bench.repeat study={quoted} seed=0"}
    return Contender(
        name,
        False,
        {int(row["seed"]): score for row in rows if (score := _number(row, f"val_{metric.name}")) is not None},
        test=t_interval(_numbers(rows, task.measure.column)),
        n_weights=median(_numbers(rows, "n_weights")),
        epoch_s=median(_numbers(rows, "epoch_s")) if comparable else math.nan,
        samples_per_s=median(_numbers(rows, "train_samples_per_s")) if comparable else math.nan,
        kernel=" and ".join(kernels),
        latency_ms=median(_numbers(rows, "latency_ms_batch_1")),
        memory_mib=median(_numbers(rows, "peak_device_memory_mib") or _numbers(rows, "peak_memory_mib")),
        tried=tried,
        doubts=tuple(text for text in doubts if text != diagnostics.SOUND),
        commands=commands,
    )


def fitted(study: str, rows: Iterable[Row], task: Task, metric: Metric) -> list[Contender]:
    """The controls of a study, in the order of what they can see.

    Args:
      study: Its name.
      rows: `columns.CONTROL_COLUMNS`.
      task: Of the data.
      metric: See `aim`.
    """
    complete, made = [row for row in rows if row.get("state") == "COMPLETE"], []
    for control in CONTROLS.values():
        mine = [row for row in complete if row["control"] == control.name]
        scores = {
            int(float(row["seed"])): score for row in mine if (score := _number(row, f"val_{metric.name}")) is not None
        }
        if not scores:
            continue
        use = f"python -m lstm_bench.predict study={shlex.quote(study)} control={control.name} input=FILE"
        made.append(
            Contender(
                control.label,
                True,
                scores,
                is_trivial=control.name == "trivial",
                test=t_interval(_numbers(mine, task.measure.column)),
                n_weights=median(_numbers(mine, "n_weights")),
                epoch_s=median(_numbers(mine, "train_s")),
                latency_ms=median(_numbers(mine, "latency_ms_batch_64")),
                commands={"use": use},
            )
        )
    return made


def _number(row: Row, column: str) -> float | None:
    value = row.get(column)
    if value is None or value == "":
        return None
    return float(value) if math.isfinite(float(value)) else None


def _numbers(rows: Iterable[Row], column: str) -> list[float]:
    return [value for row in rows if (value := _number(row, column)) is not None]
