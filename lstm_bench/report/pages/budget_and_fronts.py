"""What a score costs: in trials and device seconds of the search, in weights, in speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lstm_bench.report.figures import comparison
from lstm_bench.report.pages.comparability import circumstances, data_of, grounds
from lstm_bench.report.render.markdown import (
    NONE,
    amount,
    bullets,
    count,
    escape,
    folded,
    markdown,
    mean_text,
    seconds,
    sentence,
)
from lstm_bench.report.sources.records import Result, alone_s
from lstm_bench.report.stats.budget import expected_best, expected_best_interval, ladder, running_best
from lstm_bench.study.pareto import front

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_YES = "yes"


@dataclass
class Curve:
    """What one study's search had found by a budget.

    Attributes:
      result: The study.
      expected: Whether the values are the expected best of n random trials; else the running best of this one search.
      trials: Budgets in trials, rising.
      device_s: The same in seconds of trials, however many ran at once.
      values: Validation score at each.
      low: End of the 95 % interval of an expectation; NaN of a running best.
      high: Likewise.
    """

    result: Result
    expected: bool
    trials: np.ndarray
    device_s: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def search(self) -> str:
        """How the trials were chosen: `random, no pruning`."""
        sampler, pruner = (str(self.result.get(f"{part}.name", "")) for part in ("sampler", "pruner"))
        ended = {"": "pruner not recorded", "none": "no pruning"}.get(pruner, f"{pruner} pruning")
        return f"{sampler or 'sampler not recorded'}, {ended}"

    def at(self, axis: str, budget: float) -> float:
        """Value that `budget` trials or device seconds (`axis`: `trials`, `device_s`) buy; NaN where they buy none."""
        if self.expected:
            scores = self.result.ranked[self.result.objective].astype(float)
            one = 1.0 if axis == "trials" else self.result.search_s / len(scores)
            n = min(math.floor(budget / one * (1 + 1e-12)), len(scores)) if one > 0 else 0
            return float(expected_best(scores, [n], self.result.maximize)[0]) if n else math.nan
        index = int(np.searchsorted(getattr(self, axis), budget, side="right")) - 1
        return float(self.values[index]) if index >= 0 else math.nan


def curve(result: Result) -> Curve | None:
    """The search of one study against its budget; None where no trial has a finite objective.

    An expectation is estimated of random search without pruning alone, since only there are trials draws from one
    distribution. Failed trials have no score and count for their seconds: a budget of n buys n that finish.
    """
    if result.ranked.empty:
        return None
    if result.get("sampler.name") == "random" and result.get("pruner.name") == "none":
        scores = result.ranked[result.objective].astype(float)
        n = ladder(len(scores))
        low, high = expected_best_interval(scores, n, result.maximize)
        budgets = np.array(n, dtype=float)
        spent = budgets * (result.search_s / len(scores))
        return Curve(result, True, budgets, spent, expected_best(scores, n, result.maximize), low, high)
    rows = result.trials.sort_values("number", kind="stable")
    score = pd.to_numeric(rows[result.objective], errors="coerce").where(rows["state"] == "COMPLETE")
    steps = running_best(score.tolist(), result.maximize)
    counted = (~pd.Series(result.requeued, index=result.trials.index)[rows.index]).cumsum().to_numpy(dtype=float)
    each = alone_s(rows)
    spent = each.where(each.map(math.isfinite), 0.0).cumsum().to_numpy(dtype=float)
    indices = [k for k, _ in steps] + [len(rows) - 1]
    values = np.array([value for _, value in steps] + [steps[-1][1]])
    none = np.full(len(values), math.nan)
    return Curve(result, False, counted[indices], spent[indices], values, none, none)


def budget_rows(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Rows of `budget.csv`."""
    return [
        {
            "study": c.result.name,
            "source": c.result.source,
            "data": data_of(c.result),
            "objective": c.result.objective,
            "search": c.search,
            "kind": "expected best" if c.expected else "running best",
            "trials": int(trials),
            "device_s": float(spent),
            "device": c.result.where,
            "value": float(value),
            "low_95": float(low),
            "high_95": float(high),
        }
        for c in curves
        for trials, spent, value, low, high in zip(c.trials, c.device_s, c.values, c.low, c.high, strict=True)
    ]


def budget_parts(curves: Sequence[Curve], names: Mapping[int, str]) -> tuple[list[str], Callable[[], Figure], str]:
    """Paragraphs, figure and caption on the searches of one set of data by one objective.

    Args:
      curves: At least one.
      names: `id(result)` -> name.
    """
    share = curves[0].result.percent
    objective = curves[0].result.objective
    fair = [c for c in curves if c.expected]
    other = [c for c in curves if not c.expected]
    says = [f"Best {objective.replace('val_', 'validation ')} against trials and device seconds."]
    if fair:
        which = ", ".join(f"{names[id(c.result)]} ({c.trials[-1]:.0f} trials)" for c in fair)
        says.append(
            f"Lines with a band: expected best of n random trials, unbiased, with 95 % bootstrap interval: {which}."
        )
    if other:
        which = ", ".join(f"{names[id(c.result)]} ({c.search}, {c.trials[-1]:.0f} trials)" for c in other)
        says.append(f"Dashed steps: running best of a single search, no expectation: {which}.")
    if len({tuple(ground) for ground in grounds([c.result for c in curves])}) > 1:
        says.append("Not all have the same training and validation samples: see the marks above.")
    caption = f"{' '.join(says)} {circumstances([c.result for c in curves])}."
    lines = [
        {
            "label": names[id(c.result)],
            "expected": c.expected,
            "trials": c.trials,
            "device_s": c.device_s,
            "values": c.values,
            "low": c.low,
            "high": c.high,
        }
        for c in curves
    ]
    make = partial(comparison.best_against_budget, lines, objective, curves[0].result.maximize)
    parts = []
    if len(curves) > 1:
        n, spent = min(c.trials[-1] for c in curves), min(c.device_s[-1] for c in curves)
        columns = [
            "study", "search", "what is shown", "trials", "device, s", f"at {n:.0f} trials", f"at {seconds(spent)} s",
            "device",
        ]  # fmt: skip
        rows = [
            [
                names[id(c.result)],
                c.search,
                "expected best" if c.expected else "running best",
                count(c.trials[-1]),
                seconds(float(c.device_s[-1])),
                amount(c.at("trials", n), share),
                amount(c.at("device_s", spent), share),
                c.result.where,
            ]
            for c in curves
        ]
        unit = ", %" if share else ""
        parts.append(
            f"At the budgets that all of them had, so that none wins by a longer search; {escape(objective)}{unit}. A "
            "running best is one search's luck, and compares with no expectation; seconds compare on one device alone. No value: "
            "the budget buys no whole trial."
        )
        parts.append(markdown(columns, rows, set(columns[3:-1])))
        lost = [f"{names[id(c.result)]} {n}" for c in fair if (n := c.result.counts["failed"])]
        if lost:
            parts.append(
                f"Trials that failed by their own fault (such as a loss that is no number): {', '.join(lost)}. They have no "
                "score, so an expected best is that of the others: a family that often fails is flattered."
            )
        loaded = sorted({names[id(c.result)] for c in curves if c.result.disturbed})
        if loaded:
            parts.append(
                f"Measured beside other work, so that their seconds compare with nothing: {', '.join(loaded)}."
            )
    return parts, make, caption


def fronts(results: Sequence[Result]) -> tuple[set[int], set[int]]:
    """`id(result)` of the studies of one ground that no other beats in score and weights, and in score and speed.

    Speeds compare on one device, shared in the same way: each has a front of its own, none where it has one study alone.
    """
    known = [r for r in results if r.score.n and r.n_weights > 0]
    directions = ["maximize" if r.measure.maximize else "minimize" for r in known[:1]]
    small = front([(r.score.mean, r.n_weights) for r in known], [*directions, "minimize"]) if known else []
    fast: set[int] = set()
    for where in sorted({r.where for r in known}):
        mine = [r for r in known if r.where == where and math.isfinite(r.samples_per_s)]
        if len(mine) > 1:
            points = [(r.score.mean, r.samples_per_s) for r in mine]
            fast |= {id(mine[k]) for k in front(points, [*directions, "maximize"])}
    return {id(known[k]) for k in small}, fast


def front_parts(shared: str, results: Sequence[Result], names: Mapping[int, str]) -> list[str]:
    """Paragraphs on what the scores of studies of one ground cost in weights and speed; none for fewer than two.

    Args:
      shared: What they have in common, "" where all of the data have it.
      results: The studies.
      names: `id(result)` -> name.
    """
    known = [r for r in results if r.score.n and r.n_weights > 0]
    if len(known) < 2:
        return []
    small, fast = fronts(known)
    measure = known[0].measure
    score = measure.heading()
    columns = ["study", score, "weights", "front: score, weights", "samples/s", "front: score, speed", "device"]
    rows = [
        [
            names[id(r)],
            mean_text(r.score, measure.percent),
            count(r.n_weights),
            _YES if id(r) in small else NONE,
            count(r.samples_per_s),
            _YES if id(r) in fast else NONE,
            r.where,
        ]
        for r in known
    ]
    heading = f"{escape(sentence(shared))}:" if shared else ""
    return [heading, markdown(columns, rows, {score, "weights", "samples/s"})]


def weights_of(result: Result) -> float:
    """The number of weights that `model.weights` asked for, which records hold as a number; NaN where it did not."""
    asked = result.get("model.weights")
    return float(asked) if isinstance(asked, int) else math.nan


def matched_parts(results: Sequence[Result]) -> list[str]:
    """A table of families by the weights that were asked for, of studies of one set of data; none where none asked."""
    asked = [(r, weights_of(r)) for r in results]
    asked = [(r, w) for r, w in asked if w > 0]
    if not asked:
        return []
    measure = asked[0][0].measure
    budgets = sorted({w for _, w in asked})
    rows = []
    for family in sorted({r.family for r, _ in asked}):
        cells = []
        for budget in budgets:
            mine = [r for r, w in asked if (r.family, w) == (family, budget)]
            cells.append("; ".join(_matched(r) for r in mine) or NONE)
        rows.append([family, *cells])
    columns = ["family", *(f"{count(w)} weights" for w in budgets)]
    marks = "Studies on other data or training samples are marked in the table above."
    more = [marks] if len(grounds([r for r, _ in asked])) > 1 else []
    return [
        f"Each family's width was chosen for the number of weights at the head of the column; {measure.heading()}, mean and "
        "95 % t interval, with the weights it came to.",
        folded(columns, rows, set(columns[1:])),
        bullets(more) if more else "",
    ]


def _matched(result: Result) -> str:
    score = mean_text(result.score, result.measure.percent) if result.score.n else "not confirmed"
    return f"{score} ({count(result.n_weights)}, n = {result.score.n})"
