"""`literature.md`: scores that others published, with their conditions and sources, beside ours on the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lstm_bench.report.render.markdown import bullets, count, document, link, markdown, plus_minus, short
from lstm_bench.report.sources.records import Result

_COLUMNS = ["whose", "what", "weights", "score", "n", "conditions", "source"]


def literature_page(results: Sequence[Result], literature: Mapping[str, Any], links: Mapping[int, str]) -> str:
    """The page.

    Args:
      results: Studies; the confirmed ones stand below others' figures of their data.
      literature: Contents of `conf/literature.yaml`.
      links: `id(result)` -> address of its page.
    """
    parts = [
        "# Published scores beside ours",
        "Scores on the test set. Others' are quoted with their conditions: other splits, sizes, epochs and machines, mostly one "
        "run, so a difference from ours is no finding by itself. Ours: mean over n seeds and 95 % t interval.",
    ]
    for group in literature.get("scores") or []:
        percent = group.get("unit") == "percent"
        ours = [r for r in results if r.dataset == group["dataset"] and r.score.n and r.measure.percent == percent]
        rows: list[list[object]] = [
            [
                "published",
                entry["what"],
                entry["weights"] or "not given",
                f"{entry['score']} %" if percent and not isinstance(entry["score"], str) else str(entry["score"]),
                "",
                entry["conditions"],
                entry["source"],
            ]
            for entry in group["entries"]
        ]
        sign = -1 if percent else 1
        for result in sorted(ours, key=lambda r: (sign * r.score.mean, r.name, r.source)):
            rows.append(
                [
                    "ours",
                    link(result.name, links[id(result)]),
                    count(result.n_weights),
                    _score(result),
                    result.score.n,
                    _conditions(result),
                    result.source,
                ]
            )
        parts += [f"## {group['task']}", markdown(_COLUMNS, rows, {"weights", "score", "n"})]
        parts += [] if ours else ["Not measured here."]
    told = [f"{entry['what']}: {entry['source']}" for entry in literature.get("method") or []]
    parts += ["## Method", bullets(told)] if told else []
    return document(parts)


def _score(result: Result) -> str:
    if result.measure.percent:
        return f"{plus_minus(result.score)} %"
    width = f" ± {result.score.half_width:.2g}" if result.score.n > 1 else ""
    return f"{short(result.score.mean)}{width}"


def _conditions(result: Result) -> str:
    length = result.get("dataset.length")
    on_test = "validated on the test set" if result.get("dataset.validation") == "test" else ""
    weights = result.get("model.weights")
    asked = f"width chosen for {weights:,} weights" if isinstance(weights, int) else ""
    epochs = f"{result.one('epochs') or '?'} epochs"
    parts = [f"length {length}" if length else "", result.trained_on, epochs, asked, on_test, result.where]
    return ", ".join(part for part in parts if part)
