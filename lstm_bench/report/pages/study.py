"""The page of a study: Markdown and figures, as a pure function of its records."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lstm_bench.report.pages import (
    confirmation,
    controls,
    costs,
    forecasts,
    importance,
    pareto_front,
    per_class,
    reproduce,
    what_was_run,
)
from lstm_bench.report.pages.confirmation import shown_score
from lstm_bench.report.pages.study_figures import study_figure_makers
from lstm_bench.report.render.markdown import (
    NONE,
    bullets,
    code,
    count,
    document,
    escape,
    image,
    markdown,
    percent,
    seconds,
    sentence,
    short,
    whole,
)
from lstm_bench.report.sources.records import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RESERVED = (
    *("readme", "comparison", "claims", "literature", "figures", "working", "manifest", "report"),
    *("latex", "html", "png", "pdf", "csv"),
)
# Figures that every page shows; the others take six times their bytes
ESSENTIAL = ("front", "curves", "confusion", "forecasts", "steps", "series")
_SHOWN_FAILURES = 30
_SHOWN_TRIALS = 5


@dataclass
class Pages:
    """What one folder of reports holds.

    Attributes:
      texts: Path below the folder -> contents.
      figures: Path without suffix -> maker of the figure, called only when it is to be drawn.
      estimated: Those of `texts` that hold estimates of other packages (Optuna, scikit-learn), whose versions matter.
      answers: A line of Markdown per set of data: which family is best. For the index.
      requested: As `texts`, what was asked for beside them and belongs to no check.
    """

    texts: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Callable[[], Figure]] = field(default_factory=dict)
    estimated: set[str] = field(default_factory=set)
    answers: list[str] = field(default_factory=list)
    requested: dict[str, str] = field(default_factory=dict)


def stem(result: Result) -> str:
    """Place of a study's page without `.md`, clear of the names that the reports need for themselves."""
    parts = [result.place, result.name] if result.place else [result.name]
    return "/".join(f"{p}-study" if str(p).lower() in _RESERVED else str(p) for p in parts)


def study_page(result: Result, every_figure: bool = False) -> Pages:
    """One study's page and figures. What the records do not hold is said in its place.

    Args:
      result: The study.
      every_figure: Shows all its figures; else the essential ones, and names the others at the page's end.
    """
    place = stem(result)
    up = "../" * place.count("/")
    pages, shown, others = Pages(), dict[str, str](), list[str]()
    shares = importance.importance(result)
    for name, made in study_figure_makers(result, shares).items():
        path = f"figures/{place}-{name}"
        if isinstance(made, str):
            shown[name] = made
        elif every_figure or name in ESSENTIAL:
            shown[name] = image(path, made[1], up)
            pages.figures[path] = made[0]
        else:
            others.append(made[1])
    parts = [
        f"# {escape(result.name)}",
        escape(sentence(str(result.get("study.description", "")))),
        _result_sentence(result),
        *([bullets(result.notes)] if result.notes else []),
        "## What was run",
        *what_was_run.section(result),
        "## Best configurations",
        *_best(result),
        shown.get("history", ""),
        *pareto_front.section(result),
        shown.get("front", ""),
        shown["curves"],
        *importance.section(result, shares),
        shown.get("slices", ""),
        shown.get("pairs", ""),
        "## Confirmation on the test set",
        *confirmation.section(result),
        *per_class.section(result),
        shown["confusion"],
        shown.get("worst", ""),
        *forecasts.section(result, shown),
        *controls.section(result),
        "## Kernels",
        *_kernels(result),
        "## Failures",
        *_failures(result),
        "## Where the time went",
        *costs.section(result),
        "## How to make this again",
        *reproduce.section(result),
        *_more_figures(result, others),
    ]
    pages.texts[place + ".md"] = document(parts)
    if not isinstance(shares, str):
        pages.estimated.add(place + ".md")
    return pages


def _more_figures(result: Result, captions: list[str]) -> list[str]:
    if not captions:
        return []
    command = code(f"python -m lstm_bench.report studies={result.name} figures=all")
    return ["## More figures", f"Drawn by {command}, into this page:", bullets(captions)]


def _result_sentence(result: Result) -> str:
    if result.controls_only:
        return "**No network was trained**: the controls alone, which a network has to beat."
    score, what = result.score, result.measure.heading().removesuffix(", %")
    kernel = escape(result.one("kernel_ran") or "unknown")
    where = f"{count(result.n_weights)} weights, kernel {kernel}, {escape(result.where)}"
    speed = f"{count(result.samples_per_s)} samples/s"
    if result.shared:
        speed = f"speed not comparable ({result.shared})"
    what += " per position" if result.task.per_timestep else ""
    if score.n > 1:
        shown = shown_score(score, result.measure.percent)
        return f"{sentence(what)} **{shown}** (mean and 95 % t interval, n = {score.n} seeds; {where}, {speed})."
    if score.n == 1:
        one = f"{percent(score.mean)} %" if result.measure.percent else short(score.mean)
        return f"{sentence(what)} **{one}** (n = 1 seed, so no interval; {where}, {speed})."
    if result.best is not None:
        value = result.best[result.objective]
        shown = f"{percent(float(value))} %" if result.percent else short(value)
        return (
            f"**Not confirmed on the test set.** The best of {result.counts['complete']} complete trials by "
            f"{escape(result.objective)} has {shown} on validation data, which is optimistic ({where}, {speed})."
        )
    return "**No result**: no trial is complete."


def _best(result: Result) -> list[str]:
    top = result.ranked.head(_SHOWN_TRIALS)
    if top.empty:
        fixed = result.get("study.n_trials") == 0 and result.trials.empty
        return ["Nothing was searched." if fixed else "No trial is complete with a finite objective."]
    searched = [c for c in top.columns if c.startswith("config_")]
    share = result.percent
    name = f"{result.objective}, %" if share else result.objective
    rows = [
        [
            int(row["number"]),
            percent(float(row[result.objective])) if share else short(row[result.objective], 6),
            count(row["n_weights"]),
            count(result.speed(row)),
            row["kernel_ran"],
            *(short(row[c]) or "null" for c in searched),
        ]
        for _, row in top.iterrows()
    ]
    columns = ["trial", name, "weights", "samples/s", "kernel that ran", *(c.removeprefix("config_") for c in searched)]
    complete = result.counts["complete"]
    text = f"By {escape(result.objective)} on validation data, of {complete} complete trials; one run each."
    return [text, markdown(columns, rows, {"trial", name, "weights", "samples/s"})]


def _kernels(result: Result) -> list[str]:
    table = result.frame("kernels")
    if table.empty:
        off = " (kernel.probe=false)" if result.get("kernel.probe") is False else ""
        return [f"Not probed{off}."]
    rows = []
    for _, row in table.iterrows():
        known = math.isfinite(row["train_samples_per_s"])
        spread = f"{count(row['p10_samples_per_s'])} to {count(row['p90_samples_per_s'])}"
        why = "" if known else f"unavailable: {row['reason'] or 'no reason given'}"
        rows.append(
            [
                *(row[column] for column in ("backend", "kernel", "kernel_ran")),
                count(row["train_samples_per_s"]),
                spread if known else NONE,
                count(row["n"]) if known else NONE,
                short(row["step_ms"], 3) if math.isfinite(row["step_ms"]) else NONE,
                seconds(row["compile_s"]),
                count(row["batch_size"]),
                "; ".join(filter(None, (row["device"], str(row["device_share"]).partition("; ")[2]))),
                why or row["evidence"],
            ]
        )
    columns = [
        "backend", "kernel", "kernel that ran", "samples/s", "p10 to p90", "n", "step, ms", "compile, s", "batch",
        "device", "evidence, or why there is no figure",
    ]  # fmt: skip
    speed = {
        (row["backend"], row["device"], row["kernel"]): row["train_samples_per_s"]
        for _, row in table.iterrows()
        if row["train_samples_per_s"] > 0
    }
    ratios = [
        f"cuDNN over generic on {backend}, {device}: {value / speed[backend, device, 'generic']:.2f}x."
        for (backend, device, kernel), value in sorted(speed.items())
        if kernel == "cudnn" and (backend, device, "generic") in speed
    ]
    return [
        "The winner's shapes, warm and synchronised; median over n timed windows.",
        markdown(columns, rows, set(columns[3:9])),
        "\n".join(map(escape, ratios)) or "No speedup of cuDNN over generic: one of the two has no figure.",
    ]


def _failures(result: Result) -> list[str]:
    trials, replicates = result.trials, result.replicates
    failed = [("trial", whole(row["number"]) or "?", row) for _, row in trials[trials["state"] == "FAIL"].iterrows()]
    failed += [
        ("replicate", f"seed {row['seed']:.0f}", row) for _, row in replicates[replicates["state"] == "FAIL"].iterrows()
    ]
    odd = sorted(set(trials["state"]) - {"COMPLETE", "PRUNED", "FAIL"})
    other = f"Trials in other states, not counted: {escape(', '.join(odd))}." if odd else ""
    nowhere = trials[(trials["state"] == "COMPLETE") & ~trials.index.isin(result.ranked.index)]
    numbers = ", ".join(f"{n:.0f}" for n in nowhere["number"])
    no_value = f"Complete without a finite {escape(result.objective)}, never a winner: trials {numbers}."
    if not failed:
        return ["None.", other, no_value if numbers else ""]
    reasons = [row["reason"] or "no reason given" for _, _, row in failed]
    summary = ", ".join(f"{reason} {reasons.count(reason)}" for reason in sorted(set(reasons)))
    rows = [
        [what, name, reason, whole(row.get("retry_of")), row["device"], seconds(row.total_s)]
        for (what, name, row), reason in zip(failed[:_SHOWN_FAILURES], reasons, strict=False)
    ]
    more = f"And {len(failed) - _SHOWN_FAILURES} more in the records." if len(failed) > _SHOWN_FAILURES else ""
    requeued = result.counts["requeued"]
    again = f"{requeued} of them were queued again and do not count against the budget." if requeued else ""
    table = markdown(["what", "number", "reason", "again as of", "device", "total, s"], rows, {"number", "total, s"})
    return [f"{escape(summary)}. {again}".strip(), table, more, other, no_value if numbers else ""]
