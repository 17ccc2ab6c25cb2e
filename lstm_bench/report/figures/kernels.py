"""Figures of a kernel benchmark: speedups with intervals, scaling curves, rooflines; the same bytes from the same rows.

Rows are mappings with the columns of `cells.csv`, of one device. The colour tells the kernel, marker and line style the
backend. Only rows in state `measured` have a bar, dot or line; in a speedup figure the others say what became of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from lstm_bench.report.figures.style import (
    BLACK,
    GREY,
    KERNEL_COLOURS,
    _drawable,
    _styled,
    log_scale,
)
from lstm_bench.report.render.markdown import slug

Row = Mapping[str, Any]
Maker = tuple[Callable[[], Figure], str]

OPERATIONS = {"train_step": "training step", "forward_backward": "forward + backward", "inference": "inference"}
DIMENSIONS = ("timesteps", "units", "batch", "layers", "features")
_LOOKS = {"tensorflow": ("o", "-"), "jax": ("s", "--"), "torch": ("^", ":")}
_PANELS = 9  # cells in one figure of speedups


def kernel_figure_makers(rows: Sequence[Row], roofs: Mapping[str, tuple[float, float]], where: str) -> dict[str, Maker]:
    """The figures that the rows of one device allow: name -> (maker, caption).

    Args:
      rows: Sorted.
      roofs: dtype -> highest FLOP/s and byte/s that were measured there.
      where: The device, for the captions.
    """
    makers: dict[str, Maker] = {}
    steps = [r for r in rows if r["operation"] == "train_step"]
    panels = {layer: _compared(r for r in steps if r["layer"] == layer) for layer in sorted({r["layer"] for r in rows})}
    panels = {layer: cells for layer, cells in panels.items() if cells}
    for layer, cells in panels.items():
        parts = [cells[k : k + _PANELS] for k in range(0, len(cells), _PANELS)]
        for part in parts:
            first = slug(str(part[0][0]["cell"]).removeprefix(f"{layer}-"))
            name = f"speedup-{layer}" + (f"-from-{first}" if len(parts) > 1 else "")
            n = _rounds(row for cell in part for row in cell)
            caption = (
                f"Speedup of a training step over the generic kernel of the same backend, with 95 % intervals; pale: "
                f"the interval contains 1; *: marked, see the tables. {layer}, {n}, {where}."
            )
            makers[name] = (partial(speedups, part), caption)
    for dimension in DIMENSIONS:
        groups = scaling_groups(rows, dimension)
        for fixed, group in groups.items():
            caption = (
                f"Speed against {dimension} at {fixed}: medians, bars from the 10th to the 90th percentile; {_rounds(group)}, "
                f"{where}."
            )
            name = f"scaling-{dimension}-{slug(fixed.replace(', ', '-').replace(' ', ''))}"
            makers[name] = (partial(scaling, group, dimension), caption)
    operation = next((o for o in OPERATIONS if any(_rated(r, o, roofs) for r in rows)), "")
    rated = [r for r in rows if _rated(r, operation, roofs)]
    if rated:
        caption = (
            f"Effective speed of a {OPERATIONS[operation]} against its intensity, under the measured roof; {_rounds(rated)}, "
            f"{where}."
        )
        makers["roofline"] = (partial(roofline, rated, roofs), caption)
    return makers


def _rounds(rows: Iterable[Row]) -> str:
    """In how many rounds of fresh processes they were timed: `n = 3 rounds`."""
    found = sorted({int(r["rounds"]) for r in rows if math.isfinite(r["rounds"]) and r["rounds"] > 0})
    return (
        f"n = {found[0]}" + (f" to {found[-1]}" if len(found) > 1 else "") + " rounds"
        if found
        else "rounds not recorded"
    )


def scaling_groups(rows: Iterable[Row], dimension: str) -> dict[str, list[Row]]:
    """Measured rows in which only `dimension` differs, three values of it or more: what is fixed -> rows."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["state"] == "measured" and row["samples_per_s"] > 0:
            fixed = [f"{row[d]:.0f} {d}" for d in ("layers", "units", *DIMENSIONS) if d != dimension]
            groups.setdefault(", ".join([row["layer"], *dict.fromkeys(fixed), row["dtype"]]), []).append(row)
    return {k: v for k, v in sorted(groups.items()) if len({r[dimension] for r in v}) >= 3}


@_styled
def speedups(cells: Sequence[Sequence[Row]]) -> Figure:
    """A panel per cell, a bar per arm from 1 to its speedup on a log axis; what has no speedup says why."""
    across = min(3, len(cells))
    down = math.ceil(len(cells) / across)
    bands = [cells[k * across : (k + 1) * across] for k in range(down)]
    heights = [max(map(len, band)) + 1.2 for band in bands]
    figure = Figure(figsize=(0.6 + 3.5 * across, 0.7 + 0.2 * sum(heights) + 0.25 * down), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, squeeze=False, height_ratios=heights)
    known = [r[c] for cell in cells for r in cell for c in ("speedup", "speedup_low", "speedup_high") if _bar(r)]
    ends = [float(v) for v in known if math.isfinite(v) and v > 0]
    low, high = min([0.85, *ends]) / 1.2, max([1.6, *ends])
    limits = (low, high * (high / low) ** 0.32)  # room for the numbers
    for axes, rows in zip(panels.flat, cells, strict=False):
        for position, row in enumerate(rows):
            _draw_speedup(axes, position, row)
        axes.axvline(1, color="#444444", lw=0.9, zorder=1)
        axes.set(xscale=log_scale(), xlim=limits, ylim=(len(rows) - 0.4, -0.6))
        axes.set_yticks(range(len(rows)), [_drawable(f"{r['backend']} {r['kernel']}") for r in rows], fontsize=7.5)
        axes.set_title(_drawable(rows[0]["cell"]), fontsize=7.5)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        _log_axis(axes.xaxis, math.log10(limits[1] / limits[0]), "{:g}x".format)
        axes.xaxis.set_tick_params(labelbottom=True)
    for axes in panels.flat[len(cells) :]:
        axes.set_visible(False)
    figure.supxlabel("speedup over generic of the same backend (log)", fontsize=9)
    return figure


def _draw_speedup(axes: Axes, position: int, row: Row) -> None:
    look: dict[str, Any] = {"textcoords": "offset points", "xytext": (4, 0), "va": "center", "fontsize": 7.5}
    if not _bar(row):
        axes.annotate(_drawable(_end(row)), (1, position), color="#A03000", style="italic", **look)
        return
    value, low, high = (float(row[c]) for c in ("speedup", "speedup_low", "speedup_high"))
    shown = low > 1 or high < 1
    colour = KERNEL_COLOURS.get(row["kernel"], GREY)
    axes.barh(position, value - 1, left=1, height=0.68, color=colour, alpha=0.9 if shown else 0.3)
    if math.isfinite(low) and math.isfinite(high):
        bar = [[max(value - low, 0)], [max(high - value, 0)]]
        axes.errorbar(value, position, xerr=bar, color="#444444", elinewidth=1, capsize=2, fmt="none")
    text = f"{value:.2f}" + ("*" if row["marks"] else "")
    axes.annotate(text, (max(1.0, value, high if math.isfinite(high) else 1.0), position), **look)


@_styled
def scaling(rows: Sequence[Row], dimension: str) -> Figure:
    """samples/s against one dimension on log axes, a panel per operation, a line per arm."""
    shown = [o for o in OPERATIONS if any(r["operation"] == o for r in rows)]
    figure = Figure(figsize=(1.8 + 2.9 * len(shown), 3.9), layout="constrained")
    panels = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    for axes, operation in zip(panels, shown, strict=True):
        mine = [r for r in rows if r["operation"] == operation]
        for backend, kernel in sorted({(r["backend"], r["kernel"]) for r in mine}):
            line = sorted(
                (r for r in mine if (r["backend"], r["kernel"]) == (backend, kernel)), key=lambda r: r[dimension]
            )
            x, y = ([float(r[c]) for r in line] for c in (dimension, "samples_per_s"))
            # a percentile that is missing has no bar; percentiles cross the median in no honest record
            bars = [
                [max(0.0, s * (v - float(r[c]))) if math.isfinite(r[c]) else 0.0 for v, r in zip(y, line, strict=True)]
                for c, s in (("p10_samples_per_s", 1), ("p90_samples_per_s", -1))
            ]
            marker, style = _LOOKS.get(backend, ("D", "-."))
            axes.errorbar(
                x, y, yerr=bars, color=KERNEL_COLOURS.get(kernel, GREY), marker=marker, ls=style, ms=4, lw=1.3, elinewidth=0.8
            )  # fmt: skip
        values = sorted({float(r[dimension]) for r in rows})
        axes.set(xscale=log_scale(), yscale=log_scale(), title=OPERATIONS[operation], xlabel=f"{dimension} (log)")
        ticks = values if len(values) <= 7 else values[:: math.ceil(len(values) / 7)]
        axes.set_xticks(ticks, [f"{v:g}" for v in ticks], fontsize=7.5)
        axes.xaxis.set_minor_locator(NullLocator())
        ends = axes.get_ylim()
        _log_axis(axes.yaxis, math.log10(ends[1] / ends[0]), _big)
    panels[0].set_ylabel("samples/s (log)")
    _legend(figure, rows)
    return figure


@_styled
def roofline(rows: Sequence[Row], roofs: Mapping[str, tuple[float, float]]) -> Figure:
    """Effective TFLOP/s against FLOP per byte on log axes, a panel per dtype under its own roof."""
    dtypes = sorted({r["dtype"] for r in rows})
    figure = Figure(figsize=(1.8 + 3.6 * len(dtypes), 3.9), layout="constrained")
    panels = figure.subplots(1, len(dtypes), sharex=True, sharey=True, squeeze=False)[0]
    intensities = [_intensity(r) for r in rows] + [peak / width for d, (peak, width) in roofs.items() if d in dtypes]
    left, right = min(intensities) / 2, max(intensities) * 2
    for axes, dtype in zip(panels, dtypes, strict=True):
        peak, width = roofs[dtype]
        axes.plot([left, peak / width, right], [left * width / 1e12, peak / 1e12, peak / 1e12], color=BLACK, lw=1.2)
        axes.annotate(
            f"{peak / 1e12:.3g} TFLOP/s, {round(width / 1e9, 1):,g} GB/s", (0.97, peak / 1e12), ha="right", fontsize=7.5,
            xycoords=("axes fraction", "data"), xytext=(0, 4), textcoords="offset points",
        )  # fmt: skip
        for row in (r for r in rows if r["dtype"] == dtype):
            axes.plot(
                _intensity(row), float(row["flop_per_s"]) / 1e12, marker=_LOOKS.get(row["backend"], ("D", ""))[0], ms=5,
                ls="", color=KERNEL_COLOURS.get(row["kernel"], GREY), alpha=0.8, mec="white", mew=0.4,
            )  # fmt: skip
        axes.set(xscale=log_scale(), yscale=log_scale(), title=_drawable(dtype), xlim=(left, right))
        axes.set_xlabel("FLOP per byte, least traffic (log)")
        ends = axes.get_ylim()
        axes.set_ylim(ends[0], max(ends[1], 2 * peak / 1e12))
        _log_axis(axes.xaxis, math.log10(right / left), "{:g}".format)
        _log_axis(axes.yaxis, math.log10(ends[1] / ends[0]), "{:g}".format)
    panels[0].set_ylabel("TFLOP/s (log)")
    _legend(figure, rows)
    return figure


def _compared(rows: Iterable[Row]) -> list[list[Row]]:
    """By cell, the arms that have a speedup or an end that says why not; cells without any speedup are left out."""
    cells: dict[str, list[Row]] = {}
    for row in rows:
        if _bar(row) or row["state"] in ("wrong", "compile_limit", "other_kernel"):
            cells.setdefault(row["cell"], []).append(row)
    return [cell for cell in cells.values() if any(map(_bar, cell))]


def _bar(row: Row) -> bool:
    return row["state"] == "measured" and math.isfinite(row["speedup"]) and row["speedup"] > 0


def _end(row: Row) -> str:
    if row["state"] == "wrong":
        return f"wrong (error {row['error']:.2g})"
    text = row["reason"] or row["state"].replace("_", " ")
    return text if len(text) <= 30 else text[:27] + "..."


def _intensity(row: Row) -> float:
    return float(row["flop_per_sample"]) / float(row["bytes_per_sample"])


def _rated(row: Row, operation: str, roofs: Mapping[str, tuple[float, float]]) -> bool:
    numbers = (row["flop_per_sample"], row["bytes_per_sample"], row["flop_per_s"])
    known = all(math.isfinite(v) and v > 0 for v in numbers)
    return row["operation"] == operation and row["state"] == "measured" and known and row["dtype"] in roofs


def _log_axis(axis: Any, decades: float, text: Callable[[float], str]) -> None:
    """Ticks at 1, 2 and 5 where there is room for them, else at powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.6 else (1, 3) if decades < 2.6 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(labelsize=7.5)


def _big(value: float) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value >= 1e3 else f"{value:g}"


def _legend(figure: Figure, rows: Sequence[Row]) -> None:
    """What colours and markers mean, beside the panels."""
    kernels, backends = {r["kernel"] for r in rows}, {r["backend"] for r in rows}
    lines = [
        Line2D([], [], color=KERNEL_COLOURS.get(k, GREY), lw=4, label=_drawable(k))
        for k in (*(k for k in KERNEL_COLOURS if k in kernels), *sorted(kernels - {*KERNEL_COLOURS}))
    ]
    for backend in sorted(backends):
        marker, style = _LOOKS.get(backend, ("D", "-."))
        lines.append(Line2D([], [], color=GREY, marker=marker, ls=style, ms=5, lw=1.2, label=_drawable(backend)))
    figure.legend(handles=lines, loc="outside right upper")
