"""What to take of studies on one ground, in the words of `study.recommendation`: for pages, and for the end of a campaign."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lstm_bench.report.pages import reproduce
from lstm_bench.report.pages.rivals import foremost, rivals_of, sections
from lstm_bench.report.render.markdown import bullets, code
from lstm_bench.report.sources.records import Result
from lstm_bench.study import contenders
from lstm_bench.study.difference import Contender
from lstm_bench.study.recommendation import Recommendation, recommend


def verdict(
    results: Sequence[Result],
    name: Callable[[Result], str] = lambda result: contenders.called(result.name, result.family),
) -> Recommendation:
    """What to take.

    Args:
      results: Studies on one ground, at least one.
      name: What a table calls a study.
    """
    first = results[0]
    ground = contenders.ground(first.config, first.env("dataset") or {}, first.task, first.folder)
    known = [_network(result, name(result)) for result in results if len(result.confirmed)]
    fitted = next((made for result in results if (made := _controls(result))), [])
    found = recommend([*known, *fitted], ground)
    taken = next((r for r in results if found.take and name(r) == found.take.name), None)
    return found if taken is None else found.searching_by(reproduce.further(taken))


def _network(result: Result, name: str) -> Contender:
    judged = result.verdict
    rows: list[dict[Any, Any]] = result.confirmed.to_dict("records")
    return contenders.network(
        name,
        rows,
        result.task,
        contenders.aim(result.config, result.task),
        study=result.name,
        tried=result.counts["complete"] + result.counts["pruned"],
        doubts=[] if judged is None else judged.sentences(),
        comparable=not result.shared,
    )


def _controls(result: Result) -> list[Contender]:
    metric = contenders.aim(result.config, result.task)
    rows: list[dict[Any, Any]] = result.frame("controls").to_dict("records")
    return contenders.fitted(result.name, rows, result.task, metric)


def paragraphs(found: Recommendation) -> list[str]:
    """Of a page: the lines that are read first, then doubts, and what to type."""
    commands = "\n".join(f"- {words}: {code(command)}" for words, command in found.commands)
    return [bullets(found.lines), bullets(found.rest), commands]


def of_campaign(results: Sequence[Result]) -> list[tuple[str, Recommendation]]:
    """Of several studies: for each set of data its name, and what to take of the group that answers for it."""
    found = []
    for mine in sections(results):
        group = foremost(rivals_of(mine)).results
        found.append((group[0].dataset, verdict(group)))
    return found


def names(results: Mapping[int, str]) -> Callable[[Result], str]:
    """What a page calls its studies, as `verdict` takes it."""
    return lambda result: contenders.called(results[id(result)], result.family)
