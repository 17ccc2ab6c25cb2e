"""What a study came to, as the metrics and tags of its parent run in MLflow: from a sweep or from the records."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lstm_bench.core.errors import NothingCameOutError
from lstm_bench.core.formatting import counted, number, values
from lstm_bench.core.statistics import t_interval
from lstm_bench.data.metric import Metric
from lstm_bench.data.task import Task
from lstm_bench.study.candidates import Candidate


def outcome(
    counts: Mapping[str, int],
    best: tuple[int, float] | None,
    pick: Candidate | None,
    rows: Sequence[Mapping[str, Any]],
    *,
    objective: str,
    task: Task,
    front: int | None = None,
    health: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and tags of a study.

    Args:
      counts: `complete pruned failed`, see `Study.counts`.
      best: Number and objective of the best trial.
      pick: The configuration that was picked.
      rows: Its finished replicates, by seed.
      objective: Name of the metric.
      task: Of the data.
      front: Trials of the front, of several objectives.
      health: What was judged of the study, a sentence each.
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
        said = []
        for metric in dict.fromkeys((*task.confirmed, *task.late)):
            scores = [row[metric.column] for row in rows if row.get(metric.column) is not None]
            if scores:
                words, figures = confirmation(scores, metric)
                said += [words] * (metric in task.confirmed)
                metrics |= figures
        tags["confirmed"] = "; ".join(said)
        speed = statistics.median(row["train_samples_per_s"] for row in rows)
        metrics |= {"n_weights": rows[0]["n_weights"], "train_samples_per_s": speed}
    if health:
        tags["health"] = " ".join(health)
    return metrics, tags


def confirmation(scores: Sequence[float], metric: Metric) -> tuple[str, dict[str, float]]:
    """A confirmed test score in words and as metrics: mean, 95 % t interval, n.

    Args:
      scores: Of the seeds.
      metric: What they are.
    """
    mean, half_width, n = t_interval(scores)
    name = metric.column
    metrics: dict[str, float] = {name: mean, f"{name}_n": n}
    width = metric.text(half_width) if metric.percent else number(half_width)
    said = f"test {metric.label} {metric.text(mean) if metric.percent else number(mean)}{metric.sign}"
    if n < 2:
        return f"{said} (n = 1: no interval)", metrics
    metrics |= {f"{name}_low": mean - half_width, f"{name}_high": mean + half_width}
    return f"{said} +- {width} (95 % interval, n = {n})", metrics


_REMEDIES = {
    "nan": "Lower train.learning_rate or set train.global_clipnorm, under another study.name",
    "oom": "Lower train.batch_size or the model's size, under another study.name",
    "oom_shared": "Fewer launcher.workers leave each more memory; then give another study.name",
    "timeout": "Raise study.trial_timeout, and give another study.name",
    "pruned": "Set pruner=none, or let it begin later, under another study.name",
    "time": "Raise study.timeout: the same command goes on",
}


def nothing(
    name: str,
    trials: Sequence[Mapping[str, Any]],
    seeds: Sequence[Mapping[str, Any]],
    *,
    searched: bool,
    timed_out: bool = False,
) -> NothingCameOutError | None:
    """The fault of a study that has ended and of which nothing came out; None where something did, or nothing was asked.

    Args:
      name: Of the study.
      trials: Those that count towards `n_trials`: `number state reason`, and `detail` where it is known.
      seeds: Of the confirmation, those of all candidates: `seed state reason`, likewise.
      searched: Whether there is a space: then nothing is confirmed unless a trial is complete.
      timed_out: Whether `study.timeout` ended the search.
    """
    tried = trials if searched or not seeds else seeds
    if any(row["state"] == "COMPLETE" for row in tried):
        if tried is seeds or not seeds or any(row["state"] == "COMPLETE" for row in seeds):
            return None
        tried = seeds
    if not tried:
        if not timed_out:
            return None
        what = f"study {name}: no trial is complete: study.timeout passed before the first had ended"
        return NothingCameOutError(what, remedy=f"{_REMEDIES['time']}.")
    kind = "seed" if tried is seeds else "trial"
    return NothingCameOutError(
        f"study {name}: no {kind} is complete: {_why(tried, kind)}",
        remedy=f"{_remedy(tried, timed_out=timed_out)}.",
    )


def _why(rows: Sequence[Mapping[str, Any]], kind: str) -> str:
    """How rows without a COMPLETE one ended: the commonest reason with an example, and how many for others."""
    failed = [row for row in rows if row["state"] == "FAIL"]
    if not failed:
        return f"{len(rows)} of {counted(len(rows), kind)} {'was' if len(rows) == 1 else 'were'} pruned"
    reason, n = _commonest(failed)
    example = next((row for row in failed if _reason(row) == reason and row.get("detail")), None)
    said = f"{len(failed)} of {counted(len(rows), kind)} failed"
    said += f", {n} of them with {reason}" if n < len(failed) else f": {reason}"
    if example is not None:
        which = f"trial {example['number']}" if "number" in example else f"seed {example['seed']}"
        said += f" ({which}: {' '.join(str(example['detail']).split())[:200]})"
    pruned = len(rows) - len(failed)
    return said + (f"; {pruned} {'was' if pruned == 1 else 'were'} pruned" if pruned else "")


def _remedy(rows: Sequence[Mapping[str, Any]], *, timed_out: bool) -> str:
    failed = [row for row in rows if row["state"] == "FAIL"]
    if timed_out and len(failed) < len(rows):
        return _REMEDIES["time"]
    reason = _commonest(failed)[0] if failed else "pruned"
    return _REMEDIES.get(
        reason, "What was raised is in logs/ of the study's folder; mend it and give another study.name"
    )


def _reason(row: Mapping[str, Any]) -> str:
    return str(row.get("reason") or "unknown")


def _commonest(failed: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """The most frequent reason and how often it is there; of equals the first."""
    return Counter(map(_reason, failed)).most_common(1)[0]
