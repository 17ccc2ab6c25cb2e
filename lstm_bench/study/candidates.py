"""How the trials of a study ended, which of them are the best, which configurations are confirmed, and which of those is picked.

Over plain rows, whether a driver has them from its database, or a reader from records: text, numbers, None for nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from lstm_bench.core import schema
from lstm_bench.core.formatting import format_field
from lstm_bench.core.vocabulary import RETRY_LIMITED, RETRY_UNLIMITED
from lstm_bench.study import pareto

Row = Mapping[str, Any]
T = TypeVar("T")


class Candidate(NamedTuple):
    """One configuration to confirm.

    Attributes:
      trial: Number of the trial that found it, None where nothing was searched.
      params: Its searched values.
      digest: Names what is trained: replicates of another configuration are not its own.
    """

    trial: int | None
    params: Mapping[str, Any]
    digest: str


def digest(config: schema.Sweep) -> str:
    """Names a resolved configuration by what is trained: replicates of another one are not its own."""
    parts = {group: config[group] for group in ("model", "train", "backend")}
    later = (
        "deterministic",
        "global_clipnorm",
        "patience",
        "class_weight",
        "warmup",
        "plateau_factor",
        "plateau_patience",
        "plateau_floor",
        "weight_decay",
        "buckets",
    )  # a study that was made before there were these keeps its names
    parts["train"] = {name: value for name, value in parts["train"].items() if value or name not in later}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def standing(validation: Iterable[float], *, maximize: bool) -> tuple[int, float]:
    """Sort key of a candidate, the pick's being least: most finished seeds, then the best mean on validation data.

    A configuration that fails with some seeds never beats one that does not. Of equals, the caller's order decides: the
    better trial, then the earlier one.

    Args:
      validation: Objective of the finished replicates; at the digits of the records, so that driver and report agree.
      maximize: Whether more of it is better.
    """
    values = [float(format_field(float(value))) for value in validation]
    mean = math.fsum(values) / len(values) if values else 0.0
    return -len(values), -mean if maximize else mean


def picked(found: Iterable[T], validation: Callable[[T], Iterable[float]], *, maximize: bool) -> list[T]:
    """Candidates by their `standing`, the pick first; of equals the caller's order stays.

    Args:
      found: The candidates.
      validation: Of a candidate, the objective of its finished replicates.
      maximize: Whether more of it is better.
    """
    return sorted(found, key=lambda one: standing(validation(one), maximize=maximize))


def ranked(rows: Iterable[Row], objective: str, *, maximize: bool) -> list[Any]:
    """COMPLETE trials with a finite objective, best first; of equals the earlier one.

    Args:
      rows: Trials: `number state`, and the objective.
      objective: Its column.
      maximize: Whether more of it is better.
    """
    sign = -1.0 if maximize else 1.0
    found = [(number(row.get(objective)), row) for row in rows if row["state"] == "COMPLETE"]
    known = [(sign * value, _number_of(row), row) for value, row in found if value is not None and math.isfinite(value)]
    return [row for *_, row in sorted(known, key=lambda one: one[:2])]


def front(rows: Iterable[Row], objectives: Mapping[str, str]) -> list[Any]:
    """COMPLETE trials with finite objectives that no other one dominates, in the order given."""
    complete = [row for row in rows if row["state"] == "COMPLETE"]
    points = [[number(row.get(name)) for name in objectives] for row in complete]
    known = [[math.nan if value is None else value for value in point] for point in points]
    return [complete[index] for index in pareto.front(known, list(objectives.values()))]


def distinct(rows: Iterable[T], params: Callable[[T], Hashable]) -> list[T]:
    """The first row of each set of parameters, in the order given."""
    found: dict[Hashable, T] = {}
    for row in rows:
        found.setdefault(params(row), row)
    return list(found.values())


def is_final(row: Row, earlier: Callable[[int], Row | None], max_retry: float) -> bool:
    """Whether a FAILed trial counts: by its own fault, or as a worker died once too often; else its parameters run again.

    Args:
      row: With `reason` and `retry_of`.
      earlier: Gives the row of another number.
      max_retry: `study.max_retry`.
    """
    reason = row.get("reason")
    if reason not in RETRY_LIMITED:
        return reason not in RETRY_UNLIMITED
    return _deaths(row, earlier) > max_retry


def _deaths(row: Row, earlier: Callable[[int], Row | None]) -> int:
    """How many workers died of a trial, and of those that it retries."""
    deaths, one = 0, row
    while True:
        deaths += one.get("reason") in RETRY_LIMITED
        before = number(one.get("retry_of"))
        found = None if before is None else earlier(int(before))
        if found is None:
            return deaths
        one = found


def requeued(rows: Sequence[Row], max_retry: float) -> list[bool]:
    """Of each trial, whether it failed and its parameters run again, or will.

    One that was retried never counts, whatever `study.max_retry` is by now: its retry does.
    """
    by_number = {_number_of(row): row for row in rows}
    retried = {number(row.get("retry_of")) for row in rows} - {None}
    return [
        row["state"] == "FAIL" and (_number_of(row) in retried or not is_final(row, by_number.get, max_retry))
        for row in rows
    ]


def ends(rows: Sequence[Row], max_retry: float) -> dict[str, int]:
    """Trials by end: `complete pruned failed`, which count towards `n_trials`, and `requeued`.

    Args:
      rows: Trials that ended: `number state reason retry_of`.
      max_retry: `study.max_retry`; infinite where that is not known.
    """
    again = requeued(rows, max_retry)
    left = [row["state"] for row, runs_again in zip(rows, again, strict=True) if not runs_again]
    words = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    return {**{word: left.count(state) for word, state in words.items()}, "requeued": sum(again)}


def number(value: Any) -> float | None:
    """A field as a number; None where there is nothing, or NaN.

    Raises:
      ValueError: for a text that is no number.
    """
    found = None if value in (None, "") else float(value)
    return None if found is None or math.isnan(found) else found


def _number_of(row: Row) -> float:
    """A trial's number; after all others where a damaged row has none."""
    found = number(row.get("number"))
    return math.inf if found is None else found
