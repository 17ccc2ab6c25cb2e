"""What a study came to, as the metrics and tags of its parent run in MLflow: from a sweep or from the records."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from lstm_bench.candidate import Candidate
from lstm_bench.progress import number, values
from lstm_bench.statistic import t_interval


def outcome(
    counts: Mapping[str, int],
    best: tuple[int, float] | None,
    pick: Candidate | None,
    rows: Sequence[Mapping[str, Any]],
    *,
    objective: str,
    task: str,
    front: int | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and tags of a study.

    Args:
      counts: `complete pruned failed`, see `Study.counts`.
      best: Number and objective of the best trial.
      pick: The configuration that was picked.
      rows: Its finished replicates, by seed.
      objective: Name of the metric.
      task: Of the data: classification, tagging or regression.
      front: Trials of the front, of several objectives.
    """
    metrics: dict[str, Any] = {f"trials_{key}": counts[key] for key in ("complete", "pruned", "failed")}
    tags: dict[str, Any] = {}
    if best is not None:
        tags["best_trial"], metrics[objective] = best
        if front is not None:
            metrics["front"] = front
    if pick is not None and pick.trial is not None:
        tags["winner"], tags["winning_trial"] = values(pick.params), pick.trial
    if rows:
        for metric in tested(task):
            metrics |= confirmation([row[metric] for row in rows], metric)[1]
        speed = statistics.median(row["train_samples_per_s"] for row in rows)
        metrics |= {"n_weights": rows[0]["n_weights"], "train_samples_per_s": speed}
    return metrics, tags


def tested(task: str) -> tuple[str, ...]:
    """Which metrics of the test set a confirmation says, by the task of the data."""
    if task == "regression":
        return ("test_mse",)
    # Of a sequence of classes, the loss is what its baseline is held against.
    return ("test_accuracy", "test_loss") if task == "tagging" else ("test_accuracy",)


def confirmation(scores: Sequence[float], metric: str = "test_accuracy") -> tuple[str, dict[str, float]]:
    """A confirmed test score in words and as metrics: mean, 95 % t interval, n.

    Args:
      scores: Of the seeds.
      metric: What they are: test_accuracy, fractions; test_mse or test_loss.
    """
    mean, half_width, n = t_interval(scores)
    metrics: dict[str, float] = {metric: mean, f"{metric}_n": n}
    if metric == "test_accuracy":
        said, width = f"test accuracy {100 * mean:.2f} %", f"{100 * half_width:.2f}"
    else:
        said, width = f"{metric.replace('_mse', '_MSE').replace('_', ' ')} {number(mean)}", number(half_width)
    if n < 2:
        return f"{said} (n = 1: no interval)", metrics
    metrics |= {f"{metric}_low": mean - half_width, f"{metric}_high": mean + half_width}
    return f"{said} +- {width} (95 % interval, n = {n})", metrics
