"""What compares: families across studies with figures and data, arms of a kernel benchmark in words, and the index."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lstm_bench import figure
from lstm_bench.kernel_figure import OPERATIONS, Row
from lstm_bench.page import Pages
from lstm_bench.result import Result, at
from lstm_bench.statistic import quantile
from lstm_bench.table import (
    NONE,
    Raw,
    count,
    csv_text,
    document,
    escape,
    image,
    link,
    markdown,
    plus_minus,
    sentence,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMMAND = "python -m lstm_bench.report"
_KERAS = ("cudnn", "fused", "generic", "xla", "unrolled", "unrolled_xla")
_NAMED = 4  # cells named in a list before the rest is counted


def comparison(results: Sequence[Result], claims: Mapping[str, Any], links: Mapping[int, str]) -> Pages:
    """`comparison.md`, `comparison.csv` and their figures.

    Args:
      results: Studies.
      claims: Contents of `conf/claims.yaml`.
      links: `id(result)` -> address of its page.
    """
    pages, notes = Pages(), []
    rows, several = [], len({r.source for r in results}) > 1
    results = ordered(results)
    for result in results:
        row, remarks = comparison_row(result), []
        if result.shared:
            remarks.append(f"{result.shared}: the speed compares with nothing and is left out.")
        if not row["n"]:
            remarks.append("not confirmed on the test set; weights and kernel are the best trial's.")
        elif row["n"] == 1:
            remarks.append("one seed: no interval.")
        validated = result.get("dataset.validation")
        if validated == "test" or (validated is None and at(claims, f"conditions.{result.name}")):
            remarks.append(str(at(claims, f"conditions.{result.name}", "Validates on the test set.")))
        wanted = result.get("study.replicates")
        if row["n"] and isinstance(wanted, int) and row["n"] < wanted:
            remarks.append(f"{row['n']} of {wanted} replicates.")
        mark = ""
        for remark in remarks:
            if remark not in notes:
                notes.append(remark)
            mark += f"<sup>{notes.index(remark) + 1}</sup>"
        cells: list[object] = [
            Raw(link(result.name, links[id(result)]) + mark),
            row["family"],
            row["dataset"],
            plus_minus(result.accuracy),
            row["n"],
            count(row["n_weights"]),
            count(row["train_samples_per_s"]),
            row["kernel_ran"],
            row["backend"],
            result.where,
            row["epochs"],
            f"{row['trials_complete']} / {row['trials_pruned']} / {row['trials_failed']}",
            f"{row['search_h']:.2f}",
        ]
        rows.append([*cells, row["source"]] if several else cells)
    columns = [
        "study", "family", "data", "test accuracy, %", "n", "weights", "samples/s", "kernel that ran", "backend",
        "device", "epochs", "trials complete / pruned / failed", "search, h",
    ]  # fmt: skip
    right = {"test accuracy, %", "n", "weights", "samples/s", "epochs", "search, h"}
    parts = [
        "# Comparison of families",
        "Test accuracy is the mean over n fresh seeds of the best configuration with its 95 % t interval, after the "
        "last epoch; the search saw validation data only. samples/s is the median training speed over the same seeds: "
        "training steps alone, no compiling, no evaluation. Search hours add up the trials' own time, however many ran "
        "at once.",
        markdown([*columns, "source"] if several else columns, rows, right),
    ]
    if notes:
        parts.append("\n".join(f"{i}. {escape(sentence(note))}" for i, note in enumerate(notes, 1)))
    for dataset in sorted({r.dataset for r in results}):
        mine = [r for r in results if r.dataset == dataset]
        for kind, make, caption in (_accuracy_figure(mine), _speed_figure(mine)):
            place = f"figures/{kind}-{slug(dataset)}"
            if make is None:
                parts.append(f"*{escape(dataset)}: {caption}*")
            else:
                pages.figures[place] = make
                parts.append(image(place, f"{caption} Data: {dataset}."))
    parts.append(f"As data: {link('comparison.csv', 'comparison.csv')}, fractions in 0..1.")
    pages.texts["comparison.md"] = document(parts)
    data = [comparison_row(r) for r in results]
    pages.texts["comparison.csv"] = csv_text(list(data[0]), data)
    return pages


def index(
    results: Sequence[Result], links: Mapping[int, str], title: str, remark: str, benchmarks: Sequence[Result] = ()
) -> str:
    """`README.md` of a folder of reports.

    Args:
      results: Studies.
      links: `id(result)` -> address of its page, of studies and benchmarks.
      title: Of the page.
      remark: What the folder holds.
      benchmarks: Kernel benchmarks; those of one grid share a page.
    """
    rows = [
        [
            link(r.name, links[id(r)]), r.source, r.family, r.dataset,
            Raw("; ".join(map(escape, r.notes)) or "complete"),
        ]
        for r in sorted(results, key=lambda r: (r.published or "", r.name))
    ]  # fmt: skip
    measured = [
        [
            link(r.name, links[id(r)]),
            r.source,
            ", ".join(sorted({*r.tables["cells.csv"]["device"]} - {""})) or str(r.env("device.name") or "unknown"),
            r.tables["cells.csv"]["cell"].nunique(),
            Raw("; ".join(map(escape, r.notes)) or "complete"),
        ]
        for r in sorted(benchmarks, key=lambda r: (r.name, r.source))
    ]
    parts = [
        f"# {title}",
        f"{remark} Made from the records alone by `{COMMAND}`; do not edit, the next run replaces it. "
        f"`{COMMAND} check=true` tells whether it is current.",
    ]
    if results:
        parts += [
            f"- {link('Comparison of families', 'comparison.md')} ({link('CSV', 'comparison.csv')})\n"
            f"- {link('Tutorial claims beside measurements', 'claims.md')}\n"
            f"- {link('Published scores beside ours', 'literature.md')}",
            "## Studies",
            markdown(["study", "source", "family", "data", "state"], rows),
        ]
    if measured:
        parts += ["## Kernels", markdown(["benchmark", "source", "device", "cells", "state"], measured, {"cells"})]
    return document(parts)


def comparison_row(result: Result) -> dict[str, Any]:
    """One study as a row of `comparison.csv`: numbers as measured, fractions in 0..1, NaN where there is none."""
    accuracy, ends = result.accuracy, result.counts
    return {
        "study": result.name,
        "source": result.source,
        "family": result.family,
        "dataset": result.dataset,
        "test_accuracy_mean": accuracy.mean,
        "test_accuracy_half_width_95": accuracy.half_width,
        "n": accuracy.n,
        "n_weights": result.n_weights,
        "train_samples_per_s": result.samples_per_s,
        "kernel_ran": result.one("kernel_ran"),
        "backend": result.one("backend") or str(result.get("backend.name", "")),
        "device": result.one("device") or str(result.env("device.name", "")),
        "device_share": result.one("device_share"),
        "epochs": result.one("epochs"),
        **{f"trials_{end}": n for end, n in ends.items()},
        "search_h": result.search_s / 3600,
    }


def short_table(results: Sequence[Result]) -> tuple[list[str], list[list[str]], set[str]]:
    """The comparison in few columns, for a terminal: columns, rows, and which columns are numbers."""
    columns = ["study", "data", "test accuracy, %", "n", "weights", "samples/s", "kernel", "device"]
    rows = [
        [
            r.name if r.published is None else f"{r.name} ({r.published})",
            r.dataset,
            plus_minus(r.accuracy),
            str(r.accuracy.n),
            count(r.n_weights),
            count(r.samples_per_s),
            r.one("kernel_ran") or NONE,
            r.where,
        ]
        for r in ordered(results)
    ]
    return columns, rows, {"test accuracy, %", "n", "weights", "samples/s"}


def ordered(results: Sequence[Result]) -> list[Result]:
    """Results by data, then the more accurate first, then by name."""

    def key(result: Result) -> tuple[str, bool, float, str, str]:
        mean = result.accuracy.mean
        return (result.dataset, math.isnan(mean), 0.0 if math.isnan(mean) else -mean, result.name, result.source)

    return sorted(results, key=key)


def arm_findings(rows: Sequence[Row]) -> list[str]:
    """Sentences on the arms of one device that follow from the numbers: the training step, or what there is instead."""
    good = [r for r in rows if r["state"] == "measured" and r["samples_per_s"] > 0]
    operation = next((o for o in OPERATIONS if any(r["operation"] == o for r in good)), "")
    cells: dict[str, list[Row]] = {}
    for row in good:
        if row["operation"] == operation:
            cells.setdefault(row["cell"], []).append(row)
    winners: dict[str, list[str]] = {}
    close, says = [], []
    for cell, arms in cells.items():
        first, *rest = sorted(arms, key=lambda r: (-r["samples_per_s"], arm_name(r)))
        winners.setdefault(arm_name(first), []).append(cell)
        if rest and not first["p10_samples_per_s"] > rest[0]["p90_samples_per_s"]:
            close.append(cell)
    if cells:
        lead = "; ".join(
            f"{a} in {len(c)} ({listed(c)})" for a, c in sorted(winners.items(), key=lambda w: (-len(w[1]), w[0]))
        )
        says.append(f"Highest median of a {OPERATIONS[operation]}, of {len(cells)} cells: {lead}.")
    if close:
        says.append(f"The first two arms overlap (p10 to p90), no difference shown between them: {listed(close)}.")
    pairs: dict[str, list[tuple[float, float, float]]] = {}
    for arms in cells.values():
        for backend in sorted({r["backend"] for r in arms}):
            by = {r["kernel"]: r for r in arms if r["backend"] == backend}
            keras = max((by[k] for k in _KERAS if k in by), key=lambda r: r["samples_per_s"], default=None)
            for name, over, text in (
                *((k, by.get("generic"), f"{k} over generic on {backend}") for k in _KERAS if k != "generic"),
                ("bare", keras, f"The bare layer over Keras's fastest kernel on {backend}"),
                ("native", by.get("bare"), f"One native call for the stack over layer by layer on {backend}"),
            ):
                if name in by and over is not None:
                    pairs.setdefault(text, []).append(_ratio(by[name], over))
    order = sorted(pairs, key=lambda text: (not text.startswith("cudnn"), not text.startswith("The bare"), text))
    says += [f"{text.replace('cudnn', 'cuDNN', 1)}: {_verdict(pairs[text])}." for text in order]
    for state, text in (
        ("wrong", "disagree with the float64 reference"),
        ("other_kernel", "ran another kernel than asked"),
    ):
        if odd := [r for r in rows if r["state"] == state]:
            says.append(
                f"{len(odd)} rows {text}, and are in no comparison: {listed(list(dict.fromkeys(map(arm_name, odd))))}."
            )
    if marked := sum(bool(r["marks"]) for r in good):
        says.append(
            f"{marked} of {len(good)} measured rows are marked (other load, throttling, sharing): see the tables."
        )
    return says


def arm_table(rows: Sequence[Row], cell: str) -> tuple[list[str], list[list[str]], set[str]]:
    """The arms of one cell's training step in few columns, as `short_table`; by backend, the fastest first."""
    columns = ["backend", "kernel", "ran", "training samples/s", "over generic (95 %)", "of roofline"]
    mine = [r for r in rows if (r["cell"], r["operation"], r["state"]) == (cell, "train_step", "measured")]
    made = [
        [
            r["backend"],
            r["kernel"],
            r["kernel_ran"],
            count(r["samples_per_s"]),
            ratio_text(*(r[c] for c in ("speedup", "speedup_low", "speedup_high"))) if r["baseline"] else "1",
            f"{100 * r['roofline_fraction']:.0f} %",
        ]
        for r in sorted(mine, key=lambda r: (r["backend"], -r["samples_per_s"]))
    ]
    return columns, made, set(columns[3:])


def _ratio(row: Row, over: Row) -> tuple[float, float, float]:
    """Ratio of two arms of one backend and cell, with a cautious interval.

    Over the baseline it is the recorded one; else the recorded intervals of both over the same baseline are divided.
    """
    ratio, low, high = (float(row[c]) for c in ("speedup", "speedup_low", "speedup_high"))
    if over["kernel"] == "generic" and math.isfinite(ratio):
        return ratio, low, high
    ratio = row["samples_per_s"] / over["samples_per_s"]
    if over["speedup_low"] > 0 and over["speedup_high"] > 0:
        return ratio, low / over["speedup_high"], high / over["speedup_low"]
    return ratio, math.nan, math.nan


def _verdict(ratios: Sequence[tuple[float, float, float]]) -> str:
    """In words: of how many cells the interval lies above, below or around 1, with the ratios."""
    kinds: dict[str, list[tuple[float, float, float]]] = {}
    for ratio, low, high in ratios:
        kind = "no difference shown"
        if not low <= high:
            kind = "no interval"
        elif low > 1 or high < 1:
            kind = "faster" if low > 1 else "slower"
        kinds.setdefault(kind, []).append((ratio, low, high))
    if len(ratios) == 1:
        return f"{next(iter(kinds))}, {ratio_text(*ratios[0]).replace(': no difference shown', '')}"
    parts = []
    for kind in ("faster", "slower", "no difference shown", "no interval"):
        if found := sorted(r for r, _, _ in kinds.get(kind, [])):
            span = " to ".join(dict.fromkeys(f"{r:.2f}x" for r in (found[0], found[-1])))
            parts.append(f"{kind} in {len(found)} ({span})")
    return f"of {len(ratios)} cells, {', '.join(parts)}"


def ratio_text(ratio: float, low: float, high: float) -> str:
    """`2.31x (2.20 to 2.41)`, and whether the interval shows a difference."""
    if not math.isfinite(ratio):
        return NONE
    if not low <= high:
        return f"{ratio:.2f}x"
    return f"{ratio:.2f}x ({low:.2f} to {high:.2f}{': no difference shown' if low <= 1 <= high else ''})"


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def arm_name(row: Row) -> str:
    """An arm of a kernel benchmark, `jax cudnn`."""
    return f"{row['backend']} {row['kernel']}"


def _accuracy_figure(results: Sequence[Result]) -> tuple[str, Callable[[], Figure] | None, str]:
    rows = [
        {"label": _label(r, results), "n_weights": r.n_weights, **r.accuracy._asdict()}
        for r in results
        if r.accuracy.n and r.n_weights > 0
    ]
    if not rows:
        return "accuracy", None, "no figure of accuracy against weights, since nothing is confirmed."
    seeds = _span([r.accuracy.n for r in results if r.accuracy.n])
    caption = f"Test accuracy against the number of weights: mean and 95 % t interval over n = {seeds} seeds."
    return "accuracy", partial(figure.accuracy_against_weights, rows), caption


def _speed_figure(results: Sequence[Result]) -> tuple[str, Callable[[], Figure] | None, str]:
    rows = [
        {
            "label": _label(r, results),
            "device": r.where,
            "kernel": r.one("kernel_ran") or "unknown",
            "median": r.samples_per_s,
            "low": quantile(r.measured["train_samples_per_s"], 0),
            "high": quantile(r.measured["train_samples_per_s"], 1),
        }
        for r in results
        if math.isfinite(r.samples_per_s)
    ]
    if not rows:
        return "speed", None, "no figure of the speed, since no exclusive measurement is recorded."
    runs = _span([len(r.measured) for r in results if math.isfinite(r.samples_per_s)])
    devices = "; ".join(sorted({str(r["device"]) for r in rows}))
    caption = f"Training speed: median and range over n = {runs} runs, with the kernel that ran; {devices}."
    return "speed", partial(figure.throughput, rows), caption


def _label(result: Result, results: Sequence[Result]) -> str:
    alone = sum(r.name == result.name for r in results) == 1
    return result.name if alone else f"{result.name} ({result.published or 'working'})"


def _span(numbers: Sequence[int]) -> str:
    return str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"


def slug(name: str) -> str:
    """`name` as a part of a file name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name).strip(".") or "data"
