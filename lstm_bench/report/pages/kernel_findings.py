"""What the arms of a kernel benchmark show: sentences that follow from the rows, and one cell's arms in few columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lstm_bench.report.figures.kernels import OPERATIONS, Row
from lstm_bench.report.render.markdown import NONE, count, listed

_KERAS = ("cudnn", "fused", "generic", "xla", "unrolled", "unrolled_xla")


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


def arm_name(row: Row) -> str:
    """An arm of a kernel benchmark, `jax cudnn`."""
    return f"{row['backend']} {row['kernel']}"
