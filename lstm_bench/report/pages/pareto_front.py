"""A study of several objectives: its Pareto front as a table, with its hypervolume."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from lstm_bench.data.task import in_percent
from lstm_bench.report.render.markdown import count, escape, markdown, percent, short
from lstm_bench.report.sources.records import Result
from lstm_bench.study import pareto

_SHOWN = 40


class Front(NamedTuple):
    """Complete trials that no other dominates.

    Attributes:
      objectives: Column of the trials -> `maximize` or `minimize`.
      trials: Complete trials with finite values of all, by number.
      members: Those of them on the front, best by the first objective first.
      hypervolume: Over the worst value of each objective among `trials`, as a fraction of the box between worst and best.
    """

    objectives: dict[str, str]
    trials: pd.DataFrame
    members: pd.DataFrame
    hypervolume: float


def front(result: Result) -> Front | None:
    """The front of a study of several objectives; None for a study of one, and without a complete trial."""
    wanted = result.get("study.objectives")
    if not isinstance(wanted, Mapping) or not wanted:
        return None
    objectives = {str(k): str(v) for k, v in wanted.items() if str(k) in result.trials}
    complete = result.trials[result.trials["state"] == "COMPLETE"]
    if len(objectives) < len(wanted) or complete.empty:
        return None
    values = complete[list(objectives)].apply(pd.to_numeric, errors="coerce")
    known = complete[values.map(math.isfinite).all(axis=1)]
    if known.empty:
        return None
    rows = [tuple(map(float, row)) for row in known[list(objectives)].to_numpy()]
    ways = list(objectives.values())
    members = known.iloc[pareto.front(rows, ways)]
    up = [way == "maximize" for way in ways]
    worst = tuple((min if m else max)(column) for column, m in zip(zip(*rows, strict=True), up, strict=True))
    best = tuple((max if m else min)(column) for column, m in zip(zip(*rows, strict=True), up, strict=True))
    box = math.prod(abs(b - w) for b, w in zip(best, worst, strict=True))
    on = [tuple(map(float, row)) for row in members[list(objectives)].to_numpy()]
    share = pareto.hypervolume(on, worst, ways) / box if box > 0 else math.nan
    first = next(iter(objectives))
    return Front(
        objectives, known, members.sort_values([first, "number"], ascending=[not up[0], True], kind="stable"), share
    )


def section(result: Result) -> list[str]:
    """Paragraphs on the front; none for a study of one objective."""
    wanted = result.get("study.objectives")
    if not isinstance(wanted, Mapping) or not wanted:
        return []
    found = front(result)
    names = " and ".join(f"{escape(name)} ({escape(way)}d)" for name, way in wanted.items())
    if found is None:
        return ["## Pareto front", f"Searched for {names}; no trial is complete with finite values of all."]
    searched = [c for c in found.members.columns if c.startswith("config_")]
    rows = [
        [
            int(row["number"]),
            *(_value(name, row[name]) for name in found.objectives),
            *(short(row[c]) or "null" for c in searched),
        ]
        for _, row in found.members.head(_SHOWN).iterrows()
    ]
    heads = [f"{name}, %" if in_percent(name) else name for name in found.objectives]
    columns = ["trial", *heads, *(c.removeprefix("config_") for c in searched)]
    more = f"And {len(found.members) - _SHOWN} more in the records." if len(found.members) > _SHOWN else ""
    volume = "not defined, since an objective has one value in all trials"
    if math.isfinite(found.hypervolume):
        volume = f"{found.hypervolume:.4f} of the box between the worst and the best value of each among them"
    return [
        "## Pareto front",
        f"Searched for {names}. Of {len(found.trials)} complete trials {len(found.members)} are dominated by no other; one "
        f"run each, on validation data. Hypervolume: {volume}.",
        markdown(columns, rows, {"trial", *heads}),
        more,
    ]


def _value(name: str, value: float) -> str:
    if in_percent(name):
        return percent(value)
    return count(value) if value >= 100 else short(value)
