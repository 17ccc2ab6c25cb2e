"""The pages across studies: the comparison of families, its figures and data, and the index."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lstm_bench import figure
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
            remarks.append("shared device: the speed compares with nothing and is left out.")
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
            place = f"figures/{kind}-{_slug(dataset)}"
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


def index(results: Sequence[Result], links: Mapping[int, str], title: str, remark: str) -> str:
    """`README.md` of a folder of reports."""
    rows = [
        [
            link(r.name, links[id(r)]), r.source, r.family, r.dataset,
            Raw("; ".join(map(escape, r.notes)) or "complete"),
        ]
        for r in sorted(results, key=lambda r: (r.published or "", r.name))
    ]  # fmt: skip
    parts = [
        f"# {title}",
        f"{remark} Made from the records alone by `{COMMAND}`; do not edit, the next run replaces it. "
        f"`{COMMAND} check=true` tells whether it is current.",
        f"- {link('Comparison of families', 'comparison.md')} ({link('CSV', 'comparison.csv')})\n"
        f"- {link('Tutorial claims beside measurements', 'claims.md')}",
        "## Studies",
        markdown(["study", "source", "family", "data", "state"], rows),
    ]
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


def _slug(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name).strip(".") or "data"
