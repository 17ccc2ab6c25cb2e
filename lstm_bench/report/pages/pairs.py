"""Which study beats which: pairs over common seeds, their table, and sentences that follow from the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lstm_bench.core.statistics import holm
from lstm_bench.data.metric import Metric
from lstm_bench.report.render.markdown import NONE, amount, bullets, escape, link, markdown, probability, sentence
from lstm_bench.report.sources.records import Result
from lstm_bench.report.stats.paired import Paired, floor, paired

ALPHA = 0.05
_ALL = 8  # studies up to which the page has every pair; beyond, the best against the others, and pairs.csv the rest


@dataclass
class Contrast:
    """One pair of studies.

    Attributes:
      first: The one that comes first in the order of scores.
      second: The other.
      found: Differences of a score of which more is better: of an error, the second less the first.
      test: `exact`, `t`, or "" for fewer than two common seeds.
      p: Of that test.
      adjusted: The same by Holm over the pairs of the group.
    """

    first: Result
    second: Result
    found: Paired
    test: str
    p: float
    adjusted: float = math.nan

    @property
    def verdict(self) -> str:
        """`first`, `second`, `none` (no difference shown) or `not tested`."""
        if not self.test:
            return "not tested"
        if self.adjusted > ALPHA:
            return "none"
        return "first" if self.found.difference.mean > 0 else "second"


def contrasts(results: Sequence[Result]) -> list[Contrast]:
    """All pairs of confirmed studies that stand on one ground, corrected for being several.

    The test is chosen by the number of seeds and pairs alone, never by the data: the exact sign-flip test where its
    smallest p-value, times the number of pairs, can be as low as 0.05, else the paired t test. With five seeds and
    one pair the exact test could show nothing: its p is at least 1/16. Where all seeds differ by the same, as on a small
    test set, there is no t, and the exact test has to do.

    Args:
      results: Of one ground, best first.
    """
    known = [(r, _scores(r)) for r in results if r.score.n]
    found = [
        (a, b, paired(scores, others))
        for k, (a, scores) in enumerate(known)
        for b, others in known[k + 1 :]
    ]  # fmt: skip
    tested = sum(pair.difference.n > 1 for _, _, pair in found)
    made = []
    for a, b, pair in found:
        n = pair.difference.n
        exact = n > 1 and (floor(n) * tested <= ALPHA or math.isnan(pair.p_t))
        test = "exact" if exact else "t" if n > 1 else ""
        made.append(Contrast(a, b, pair, test, {"exact": pair.p_exact, "t": pair.p_t}.get(test, math.nan)))
    for contrast, p in zip(made, holm([c.p for c in made]), strict=True):
        contrast.adjusted = p
    return made


def _scores(result: Result) -> dict[int, float]:
    """Seed -> test score, turned so that more is better."""
    sign = 1 if result.measure.maximize else -1
    rows = result.confirmed
    pairs = zip(rows["seed"], rows[result.measure.column], strict=True)
    return {int(seed): sign * float(score) for seed, score in pairs if math.isfinite(seed)}


def verdict_sentence(contrast: Contrast, names: Mapping[int, str], pairs: int) -> str:
    """What the numbers of one pair say, and no more.

    Args:
      contrast: The pair.
      names: `id(result)` -> name.
      pairs: Tested pairs of its group, which its p-value is adjusted for.
    """
    a, b, measure = names[id(contrast.first)], names[id(contrast.second)], contrast.first.measure
    mean, half, n = contrast.found.difference
    if not contrast.test:
        return f"{a} and {b}: {'one common seed' if n else 'no common seed'}, so nothing is tested."
    test = "exact sign-flip test" if contrast.test == "exact" else "paired t test"
    p = f"{probability(contrast.adjusted)} ({test}{f', Holm over {pairs} pairs' if pairs > 1 else ''})"
    tuned = [r.get("study.n_trials") for r in (contrast.first, contrast.second)]
    budgets = f"; {a} had {tuned[0]} trials of search, {b} {tuned[1]}" if tuned[0] != tuned[1] else ""
    epochs = [r.one("epochs") for r in (contrast.first, contrast.second)]
    budgets += f"; {a} was trained for {epochs[0]} epochs, {b} for {epochs[1]}" if epochs[0] != epochs[1] else ""
    if contrast.verdict == "none":
        return f"No difference shown between {a} and {b} at n = {n}: {_difference(mean, half, measure)}, {p}{budgets}."
    if contrast.verdict == "second":
        a, b, mean = b, a, -mean
    return f"{a} beats {b} by {_difference(mean, half, measure)}, n = {n}, {p}{budgets}."


def _difference(mean: float, half: float, measure: Metric) -> str:
    unit = "points" if measure.percent else f"of {measure.heading()}"
    low, high = (amount(v, measure.percent) for v in (mean - half, mean + half))
    return f"{amount(mean, measure.percent)} ({low} to {high}) {unit}"


def contrast_parts(shared: str, found: Sequence[Contrast], names: Mapping[int, str]) -> list[str]:
    """Paragraphs of a comparison page on the pairs of one group of studies; none where there is no pair.

    Args:
      shared: What they have in common, "" where all of the data have it.
      found: All pairs of the group, of the best study first.
      names: `id(result)` -> name.
    """
    if not found:
        return []
    tested = sum(bool(c.test) for c in found)
    studies = list(dict.fromkeys([id(found[0].first), *(id(c.second) for c in found if c.first is found[0].first)]))
    many = len(studies) > _ALL
    shown = [c for c in found if c.first is found[0].first] if many else list(found)
    parts = [f"{escape(sentence(shared))}:" if shared else ""]
    parts.append(bullets(verdict_sentence(c, names, tested) for c in shown))
    low = sorted({c.found.difference.n for c in found if c.test == "t"})
    if low:
        least = floor(low[-1])
        enough = next(n for n in range(2, 64) if floor(n) * tested <= ALPHA)
        after = f", {min(1.0, least * tested):.2g} after Holm over {tested} pairs" if tested > 1 else ""
        parts.append(
            f"With {low[-1]} seeds no exact p-value is below {least:.4g}{after}, so the p-values named t are of the "
            "paired t test, which takes the differences to be normal; the exact one, which does not, stands beside it. "
            f"It decides from {enough} seeds on (`study.replicates={enough}`)."
        )
    if many:
        parts.append(
            f"The best against the others; all {len(found)} pairs, over which Holm's correction goes, are in "
            f"{link('pairs.csv', 'pairs.csv')}."
        )
    else:
        parts.append(_table(shown, names))
    return parts


def _table(found: Sequence[Contrast], names: Mapping[int, str]) -> str:
    measure = found[0].first.measure
    unit = "points" if measure.percent else measure.heading()
    columns = ["first", "second", f"first better by, {unit}", "95 % t", "n", "P(first better)", "p exact", "p, Holm"]
    rows = []
    for c in found:
        mean, half, n = c.found.difference
        chance = c.found.improvement
        rows.append(
            [
                names[id(c.first)],
                names[id(c.second)],
                amount(mean, measure.percent),
                _range(mean - half, mean + half, measure.percent),
                n,
                f"{chance.value:.2f}" if math.isfinite(chance.value) else NONE,
                _p(c.found.p_exact),
                f"{_p(c.adjusted)} ({c.test})" if c.test else NONE,
            ]
        )
    return markdown(columns, rows, set(columns[2:]))


def _range(low: float, high: float, percent: bool) -> str:
    return f"{amount(low, percent)} to {amount(high, percent)}" if math.isfinite(low) else NONE


def _p(value: float) -> str:
    return NONE if math.isnan(value) else probability(value).removeprefix("p ").removeprefix("= ")


def contrast_row(contrast: Contrast) -> dict[str, Any]:
    """One pair as a row of `pairs.csv`: fractions in 0..1, differences positive where the first is better."""
    found, a, b = contrast.found, contrast.first, contrast.second
    mean, half, n = found.difference
    return {
        "first": a.name,
        "first_source": a.source,
        "second": b.name,
        "second_source": b.source,
        "measure": a.measure.column,
        "n": n,
        "difference": mean,
        "difference_low_95": mean - half,
        "difference_high_95": mean + half,
        "difference_bootstrap_low_95": found.bootstrap.low,
        "difference_bootstrap_high_95": found.bootstrap.high,
        "improvement": found.improvement.value,
        "improvement_low_95": found.improvement.low,
        "improvement_high_95": found.improvement.high,
        "p_exact": found.p_exact,
        "p_t": found.p_t,
        "test": contrast.test,
        "p_holm": contrast.adjusted,
        "better": contrast.verdict,
    }
