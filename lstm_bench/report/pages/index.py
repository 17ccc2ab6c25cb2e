"""The first page of the reports, and the tables that it and the README begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lstm_bench.report.pages.comparability import data_of
from lstm_bench.report.pages.comparison import COMMAND, marks, numbered
from lstm_bench.report.pages.rivals import ordered
from lstm_bench.report.render.markdown import (
    NONE,
    Raw,
    count,
    document,
    link,
    markdown,
    mean_text,
)
from lstm_bench.report.sources.records import Result


def index(
    results: Sequence[Result],
    links: Mapping[int, str],
    title: str,
    remark: str,
    benchmarks: Sequence[Result] = (),
    answers: Sequence[str] = (),
    campaigns: Sequence[str] = (),
) -> str:
    """`README.md` of a folder of reports.

    Args:
      results: Studies.
      links: `id(result)` -> address of its page, of studies and benchmarks.
      title: Of the page.
      remark: What the folder holds.
      benchmarks: Kernel benchmarks; those of one grid share a page.
      answers: A line per set of data, with which the page opens.
      campaigns: Pages of campaigns, without suffix.
    """
    notes: list[str] = []

    def state(result: Result) -> Raw:
        notes.extend(note for note in dict.fromkeys(result.notes) if note not in notes)
        return Raw(f"see{marks(result.notes, notes)}" if result.notes else "complete")

    rows = [
        [link(r.name, links[id(r)]), r.source, NONE if r.controls_only else r.family, r.dataset, state(r)]
        for r in sorted(results, key=lambda r: (r.place or "", r.name))
    ]
    studies_notes, notes = notes, []
    measured = [
        [
            link(r.name, links[id(r)]),
            r.source,
            ", ".join(sorted({*r.frame("cells")["device"]} - {""})) or str(r.env("device.name") or "unknown"),
            r.frame("cells")["cell"].nunique(),
            state(r),
        ]
        for r in sorted(benchmarks, key=lambda r: (r.name, r.source))
    ]
    pages = [
        f"- {link('Comparison of families', 'comparison.md')} ({link('CSV', 'comparison.csv')})",
        f"- {link('Tutorial claims beside measurements', 'claims.md')}",
        f"- {link('Published scores beside ours', 'literature.md')}",
    ]
    pages += [f"- {link('Campaign ' + name.removeprefix('campaign-'), f'{name}.md')}" for name in campaigns]
    kernels = dict.fromkeys(
        link(f"Kernel benchmark: {r.name.removeprefix('kernels-')}", links[id(r)]) for r in benchmarks
    )
    parts = [
        f"# {title}",
        "\n".join(answers),
        "Read on:",
        "\n".join([*(pages if results else []), *(f"- {to}" for to in kernels)]),
        f"{remark} Made from the records alone by `{COMMAND}`; do not edit, the next run replaces it. "
        f"`{COMMAND} check=true` tells whether it is current.",
    ]
    if results:
        parts += [
            "## Studies",
            markdown(["study", "source", "family", "data", "state"], rows),
            numbered(studies_notes),
        ]
    if measured:
        parts += [
            "## Kernels",
            markdown(["benchmark", "source", "device", "cells", "state"], measured, {"cells"}),
            numbered(notes),
        ]
    return document(parts)


def short_table(results: Sequence[Result]) -> tuple[list[str], list[list[str]], set[str]]:
    """The comparison in few columns, for a terminal: columns, rows, and which columns are numbers."""
    results = [r for r in results if not r.controls_only] or results
    one = len({r.measure for r in results}) == 1
    heading = results[0].measure.heading() if one else "test score"
    columns = ["study", "data", heading, "n", "weights", "samples/s", "kernel", "device"]
    rows = [
        [
            r.name if r.place is None else f"{r.name} ({r.place})",
            data_of(r),
            mean_text(r.score, r.measure.percent)
            + ("" if one else " %" if r.measure.percent else f" ({r.measure.label})"),
            str(r.score.n),
            count(r.n_weights),
            count(r.samples_per_s),
            r.one("kernel_ran") or NONE,
            r.where,
        ]
        for r in ordered(results)
    ]
    return columns, rows, {heading, "n", "weights", "samples/s"}
