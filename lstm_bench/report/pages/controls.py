"""What a network has to beat: the controls of a study as a table, and of several as lines in a figure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lstm_bench.core.statistics import Interval
from lstm_bench.report.render.markdown import NONE, amount, bullets, count, markdown, mean_text, seconds, short
from lstm_bench.report.sources.records import Result
from lstm_bench.study.control_rows import ControlScore, failures, scores


def of(results: Iterable[Result]) -> list[ControlScore]:
    """Those of the first of some studies that has any: on one ground they are the same."""
    return next((found for result in results if (found := _scores(result))), [])


def _rows(result: Result) -> list[dict[Any, Any]]:
    return result.frame("controls").to_dict("records")


def _scores(result: Result) -> list[ControlScore]:
    return scores(_rows(result), result.measure)


def section(result: Result) -> list[str]:
    """Paragraphs of a study's page; nothing where its records have no controls."""
    found, failed = _scores(result), failures(_rows(result))
    if not found and not failed:
        return []
    return ["## Controls", *(table(found, result) if found else ()), bullets(failed) if failed else ""]


def table(found: list[ControlScore], result: Result) -> list[str]:
    """What a network has to beat on the data of a study, with what it costs.

    Args:
      found: The controls.
      result: The study, or one of several on one ground.
    """
    measure = result.measure
    rows = [
        [
            one.label,
            _shown(one.validation, measure.percent),
            _shown(one.test, measure.percent),
            max(one.validation.n, one.test.n),
            count(one.n_weights),
            count(one.n_train),
            seconds(one.fit_s),
            short(one.latency_ms, 3) if math.isfinite(one.latency_ms) else NONE,
        ]
        for one in found
    ]
    columns = [
        *("control", measure.heading("val"), measure.heading(), "n", "weights", "fitted on", "fit, s", "batch 64, ms"),
    ]
    notes = list(dict.fromkeys(f"{one.label}: {note}." for one in found for note in one.notes.split("; ") if note))
    return [
        "What a network has to beat, fitted on one core: no network, and nothing searched but how strongly it is regularised.",
        markdown(columns, rows, set(columns[1:])),
        bullets(notes) if notes else "",
    ]


def _shown(score: Interval, share: bool) -> str:
    if not score.n:
        return NONE
    return mean_text(score, share) if score.n > 1 else amount(score.mean, share)


def lines(found: Iterable[ControlScore]) -> list[dict[str, Any]]:
    """Test scores as lines of a figure: `label` and `mean`."""
    return [{"label": one.label, "mean": one.test.mean} for one in found if one.test.n]
