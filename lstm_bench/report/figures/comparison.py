"""Figures across studies: scores against weights and budgets, learning curves, speed, and error against the length of a gap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from lstm_bench.report.figures.style import (
    BLACK,
    COLOURS,
    GREY,
    KERNEL_COLOURS,
    LINE_GAP_PT,
    MARKERS,
    _drawable,
    _figure,
    _label_lines,
    _log_ticks,
    _marked,
    _place_labels,
    _scale,
    _styled,
    log_scale,
    outline,
)

_DASHES = ("-", (0, (6, 1.5)), (0, (5, 1, 1, 1)), (0, (3, 1)))  # dotted is a baseline


_LEGEND_PT = 8


@_styled
def best_against_budget(lines: Sequence[Mapping[str, Any]], objective: str, maximize: bool = True) -> Figure:
    """The best validation score against trials, and beside it against device seconds, both on log axes.

    Args:
      lines: Mappings with `label`, `expected` (a line with a band, else a dashed step), and arrays `trials`,
        `device_s`, `values`, `low`, `high`, of which the last two are NaN for a step.
      objective: Name of the score.
      maximize: Whether more of it is better.
    """
    scale, label = _scale(objective)
    figure = Figure(figsize=(7.4, 3.9), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, kind in zip(panels, ("trials", "device_s"), strict=True):
        for index, line in enumerate(lines):
            colour = COLOURS[index % len(COLOURS)]
            x, y = np.maximum(line[kind], 1e-3), scale * line["values"]
            look: dict[str, Any] = {"color": colour, "label": _drawable(line["label"])}
            end = {"marker": MARKERS[(index + index // len(COLOURS)) % len(MARKERS)], "ms": 5, "markevery": [-1]}
            if line["expected"]:
                axes.fill_between(x, scale * line["low"], scale * line["high"], color=colour, alpha=0.15, lw=0)
                axes.plot(x, y, ls="-", **look, **end)
            else:
                axes.step(x, y, where="post", ls="--", lw=1.2, **look, **end)
        axes.set(xscale=log_scale(), xlabel={"trials": "trials", "device_s": "device seconds"}[kind])
        _plain_log(axes)
    panels[0].set_ylabel(label)
    _best_part(panels[0], [scale * line["values"] for line in lines], maximize)
    _legend(figure, panels[0])
    return figure


@_styled
def curves_by_family(lines: Sequence[Mapping[str, Any]], objective: str, maximize: bool = True) -> Figure:
    """Validation score by epoch, a line per study: the mean over its seeds, their range as a band.

    Args:
      lines: Mappings with `label`, `epochs`, and per epoch `mean`, `min` and `max`.
      objective: Name of the score.
      maximize: Whether more of it is better.
    """
    scale, label = _scale(objective)
    figure = Figure(figsize=(6.8, 4.2), layout="constrained")
    axes = figure.subplots()
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        epochs = np.array(line["epochs"])
        low, mean, high = (scale * np.array(line[end]) for end in ("min", "mean", "max"))
        band, along = outline(low, high), outline(mean)
        axes.fill_between(epochs[band], low[band], high[band], color=colour, alpha=0.12, lw=0)
        axes.plot(
            epochs[along], mean[along], color=colour, **_marked(len(along)), ms=5, lw=1.4, label=_drawable(line["label"]),
            marker=MARKERS[(index + index // len(COLOURS)) % len(MARKERS)], ls=_DASHES[index // len(COLOURS) % len(_DASHES)],
        )  # fmt: skip
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _best_part(axes, [scale * np.array(line["mean"]) for line in lines], maximize)
    _legend(figure, axes)
    return figure


def _legend(figure: Figure, axes: Axes) -> None:
    """A legend above all, in as many columns as its longest label leaves room for: it may be no wider than the figure."""
    handles, texts = axes.get_legend_handles_labels()
    room = figure.get_figwidth() * 72 / (0.6 * _LEGEND_PT)  # characters in a line
    columns = int(room // (max(map(len, texts), default=0) + 7))  # 7: line, marker and gaps
    figure.legend(
        handles, texts, loc="outside upper left", ncols=max(1, min(4, columns)), fontsize=_LEGEND_PT, frameon=False,
        borderaxespad=0.2,
    )  # fmt: skip


def _best_part(axes: Axes, values: Sequence[np.ndarray], maximize: bool) -> None:
    """Cuts off the poor beginnings of some lines, where they would press the good ends of all into one."""
    sign = 1.0 if maximize else -1.0
    ends = [sign * v[-1] for v in values]
    everything = sign * np.concatenate(values)
    best, worst = max(ends), float(everything.min())
    reach = max(best - min(ends), 1e-6 * abs(best)) * 3
    edge = max(worst, best - max(reach, float(best - np.quantile(everything, 0.1))))
    room = 0.06 * max(best - edge, 1e-9)
    top = max(best + 2 * room, float(everything.max()) + room)  # a line may have been better than it ended
    axes.set_ylim(*sorted((sign * (edge - room), sign * top)))


@_styled
def error_against_length(
    lines: Sequence[Mapping[str, Any]], baselines: Mapping[str, Mapping[int, float]], label: str
) -> Figure:
    """Test error on a log axis against sequence length, one line per family.

    Args:
      lines: Mappings with `label` and `points`: mappings with `length`, `mean`, `low` and `high` (NaN for one seed)
        and `seeds`, the error of each.
      baselines: Name of a trivial predictor -> length -> its error.
      label: Of the error.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for index, line in enumerate(lines):
        points = [p for p in line["points"] if p["mean"] > 0]
        x = np.array([p["length"] for p in points], dtype=float) * 1.02 ** (
            index - (len(lines) - 1) / 2
        )  # side by side
        mean = np.array([p["mean"] for p in points])
        ends = np.array([[p["low"], p["high"]] for p in points]).reshape(-1, 2)
        reach = np.where(np.isfinite(ends), np.abs(ends - mean[:, None]), 0.0).T
        colour = COLOURS[index % len(COLOURS)]
        axes.errorbar(
            x, mean, yerr=reach, color=colour, marker=MARKERS[index % len(MARKERS)], ms=5, capsize=3, elinewidth=1.2,
            ls=_DASHES[index % len(_DASHES)], label=_drawable(line["label"]),
        )  # fmt: skip
        for length, point in zip(x, points, strict=True):
            seeds = [s for s in point["seeds"] if s > 0]
            axes.plot([length] * len(seeds), seeds, "_", color=colour, ms=6, alpha=0.5)
    for name, at in baselines.items():
        axes.plot(sorted(at), [at[n] for n in sorted(at)], ":", color="#444444", lw=1.4, label=_drawable(name))
    lengths = sorted({p["length"] for line in lines for p in line["points"]})
    axes.set(xscale=log_scale(), yscale=log_scale(), xlabel="sequence length, timesteps", ylabel=label)
    axes.xaxis.set_major_locator(FixedLocator(lengths))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.08)
    low, high = axes.get_ylim()
    if math.log10(high / low) < 2:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    _legend(figure, axes)
    return figure


def _plain_log(axes: Axes) -> None:
    low, high = axes.get_xlim()
    few = math.log10(high / max(low, 1e-9)) < 2.2
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


@_styled
def accuracy_against_weights(
    rows: Sequence[Mapping[str, Any]],
    label: str = "test accuracy, %",
    percent: bool = True,
    controls: Sequence[Mapping[str, Any]] = (),
) -> Figure:
    """Test score over the number of weights, one labelled point per study, and the front of the two as a dotted step.

    Args:
      rows: Mappings with `label`, `n_weights`, and `mean` and `half_width`, fractions where `percent`; NaN half-width
        for n = 1; `front` where a point is on the front.
      label: Of the score.
      percent: Whether it is a fraction, shown in percent.
      controls: What is to be beaten, with `label` and `mean`: a dashed line each, named right of the axes.
    """
    figure, axes = _figure(6.8 + 1.2 * bool(controls), max(4.2, 1.2 + len(controls) * LINE_GAP_PT / 72))
    scale = 100 if percent else 1
    heights = [scale * float(control["mean"]) for control in controls]
    points = [(float(r["n_weights"]), scale * float(r["mean"]), scale * float(r["half_width"])) for r in rows]
    for index, (x, y, half) in enumerate(points):
        reach = [[min(half, y)], [min(half, max(100 - y, 0.0))]] if percent else [[half], [half]]  # within 0 to 100 %
        axes.errorbar(
            x, y, yerr=None if math.isnan(half) else reach, color=COLOURS[index % len(COLOURS)], ms=5, capsize=4,
            fmt=MARKERS[index % len(MARKERS)], elinewidth=1.2,
        )  # fmt: skip
    axes.set(xscale=log_scale(), xlabel="weights", ylabel=label)
    xs, ys = [x for x, _, _ in points], [*(y for _, y, _ in points), *heights]
    if not percent and 0 < 10 * min(ys) < max(ys):  # errors of several orders
        axes.set_yscale(log_scale())
        axes.set_ylim(min(ys) / 3, 3 * max(ys))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.set_xlim(min(xs) / 1.7, max(xs) * 2.6)
    front = sorted((x, y) for (x, y, _), r in zip(points, rows, strict=True) if r.get("front"))
    if len(front) > 1:
        axes.step(*zip(*front, strict=True), where="post", ls=":", lw=1, color="#777777", zorder=1)
    for height in heights:
        axes.axhline(height, ls="--", lw=1, color="#555555", zorder=1)
    _log_ticks(axes)
    axes.margins(y=0.12)
    _label_lines(figure, axes, [(h, _drawable(c["label"])) for h, c in zip(heights, controls, strict=True)])
    figure.draw_without_rendering()  # the layout is settled: labels can look for free places
    _place_labels(figure, axes, points, [_drawable(r["label"]) for r in rows], heights)
    return figure


@_styled
def throughput(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Training speed, one bar per study, devices apart.

    Args:
      rows: Mappings with `label`, `device`, `kernel`, and `median`, `low`, `high` in samples/s.
    """
    devices = sorted({str(r["device"]) for r in rows})
    kernels = sorted({str(r["kernel"]) for r in rows})
    hatches = ("", "///", "...", "xx", "\\\\\\", "++")
    figure = Figure(figsize=(6.8, 0.55 + 0.38 * len(devices) + 0.32 * len(rows)), layout="constrained")
    heights = [sum(str(r["device"]) == d for r in rows) + 0.6 for d in devices]
    panels = figure.subplots(len(devices), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    top = max(float(r["high"]) for r in rows)
    for axes, device in zip(panels, devices, strict=True):
        mine = [r for r in rows if str(r["device"]) == device]
        for position, row in enumerate(mine):
            kernel = str(row["kernel"])
            middle = float(row["median"])
            axes.barh(
                position, middle, height=0.66, color=KERNEL_COLOURS.get(kernel, GREY), alpha=0.85,
                edgecolor="white", hatch=hatches[kernels.index(kernel) % len(hatches)],
            )  # fmt: skip
            axes.errorbar(
                middle, position, xerr=[[middle - float(row["low"])], [float(row["high"]) - middle]], color=BLACK,
                elinewidth=1, capsize=2.5, fmt="none",
            )  # fmt: skip
            text = f"{middle:,.0f} ({_drawable(row['kernel'])})"
            axes.annotate(
                text, (float(row["high"]), position), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8
            )
        axes.set_yticks(range(len(mine)), [_drawable(r["label"]) for r in mine])
        axes.set_ylim(len(mine) - 0.4, -0.6)
        axes.set_xlim(0, 1.28 * top)
        axes.set_title(_drawable(device), fontsize=8.5, color="#444444")
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    panels[-1].set_xlabel("training speed, samples/s")
    return figure
