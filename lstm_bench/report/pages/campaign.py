"""A page per campaign: the verdict, and beneath it the table of its studies, for each set of data that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lstm_bench.report.pages import controls, verdict
from lstm_bench.report.pages.comparability import data_of
from lstm_bench.report.pages.comparison import table
from lstm_bench.report.pages.rivals import answers, crowds_of, foremost, ordered, rivals_of, sections
from lstm_bench.report.render.markdown import document, escape, link, sentence
from lstm_bench.report.sources.records import Result


def of(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The campaigns of some studies: name of the page without suffix -> studies; one alone is no campaign."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if named := result.get("study.campaign"):
            groups.setdefault((str(named), result.place or ""), []).append(result)
    names = [name for name, _ in groups]
    return {
        f"campaign-{name}" + (f"-{place}" if names.count(name) > 1 and place else ""): mine
        for (name, place), mine in sorted(groups.items())
        if len(mine) > 1
    }


def page(name: str, results: Sequence[Result], claims: Mapping[str, Any], links: Mapping[int, str]) -> str:
    """The page.

    Args:
      name: Of the campaign.
      results: Its studies.
      claims: Contents of `conf/claims.yaml`.
      links: `id(result)` -> address of its page.
    """
    trained = ordered([result for result in results if not result.controls_only])
    names = {id(result): result.name for result in results}
    parts = [
        f"# Campaign {escape(name)}",
        f"{len(results)} studies; all there is of them: {link('comparison', 'comparison.md')}.",
    ]
    for mine in sections(trained):
        group = foremost(rivals_of(mine)).results
        found = verdict.verdict(group, verdict.names(names))
        parts += [f"## {escape(data_of(mine[0]))}"]
        parts += verdict.paragraphs(found) if found.rest else answers(rivals_of(mine), names, links)
        crowds = crowds_of(mine)
        for crowd in crowds:
            rows, notes = table(crowd.results, claims, links, several=False)
            parts += [f"### {escape(sentence(crowd.heading))}" if len(crowds) > 1 else "### Studies", rows, notes]
        if beaten := controls.of([*mine, *(r for r in results if r.controls_only and r.dataset == mine[0].dataset)]):
            parts += ["### Controls", *controls.table(beaten, mine[0])]
    return document(parts)
