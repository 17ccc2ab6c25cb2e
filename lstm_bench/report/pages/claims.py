"""`claims.md`: what the tutorials of `conf/claims.yaml` say beside what was measured here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lstm_bench.report.render.markdown import compact, count, document, link, markdown, percent, plus_minus, short
from lstm_bench.report.sources.records import Result


def claims_page(results: Sequence[Result], claims: Mapping[str, Any]) -> str:
    """The page.

    Args:
      results: Studies; those that are claimed about are found by name.
      claims: Contents of `conf/claims.yaml`.
    """
    rows: list[list[object]] = []
    for claim in claims.get("claims") or []:
        name = str(claim.get("study"))
        found = sorted((r for r in results if r.name == name), key=lambda r: r.source)
        rows += [_claim_row(claim, name, result, results) for result in found or (None,)]
    columns = ["study", "claim", "measured here", "n", "its settings", "ours", "where the two differ", "source"]
    parts = [
        "# Tutorial claims beside measurements",
        "Each tutorial's configuration, run over several seeds; test accuracy as mean and 95 % t interval.",
        markdown(columns, rows, {"n"}),
        f"Scores that others published on the same data: {link('literature.md', 'literature.md')}.",
    ]
    return document(parts)


def _claim_row(claim: Mapping[str, Any], name: str, result: Result | None, results: Sequence[Result]) -> list[object]:
    claimed: list[object] = [name, str(claim.get("claim", ""))]
    told = [str(claim.get("settings", "")), "", str(claim.get("differs", "")), str(claim.get("source", ""))]
    if result is None:
        return [*claimed, "not measured", "", *told]
    told[1] = _settings(result)
    measure, value = claim.get("measure"), claim.get("value")
    n: object = result.score.n or ""
    if measure == "n_weights":
        text = f"{count(result.n_weights)} weights"
    elif measure == "weight_ratio":
        text, n = _weight_ratio(claim, result, results), ""
    elif result.score.n:
        text = f"{plus_minus(result.score)} %"
        if isinstance(value, int | float):
            seeds = result.confirmed[result.measure.column]
            text += f" ({100 * (result.score.mean - value):+.2f} points); "
            text += f"seeds from {percent(seeds.min())} to {percent(seeds.max())}"
        text += f"; {count(result.n_weights)} weights, {count(result.samples_per_s)} samples/s"
    else:
        text = "not confirmed"
    return [*claimed, text, n, *told]


def _weight_ratio(claim: Mapping[str, Any], result: Result, results: Sequence[Result]) -> str:
    other = next((r for r in results if r.name == claim.get("against") and r.source == result.source), None)
    if other is None or not math.isfinite(other.n_weights) or not math.isfinite(result.n_weights):
        return f"needs {claim.get('against')} as well"
    mine, theirs = (r.n_weights - float(claim.get("minus", 0)) for r in (result, other))
    if theirs <= 0:
        return "the recorded weights are too few"
    return f"{mine / theirs:.2f} ({count(mine)} against {count(theirs)})"


def _settings(result: Result) -> str:
    parts = [str(result.winning("train.optimizer") or "")]
    for path, text in (
        ("train.learning_rate", "learning rate {}"),
        ("train.schedule", "schedule {}"),
        ("train.batch_size", "batch {}"),
    ):
        value = result.winning(path)
        if value not in (None, ""):
            parts.append(text.format(short(compact(value))))
    parts += [f"{result.one('epochs') or '?'} epochs", result.one("backend"), result.one("kernel_ran"), result.where]
    return ", ".join(part for part in parts if part)
