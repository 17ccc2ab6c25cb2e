"""Figures of the reports: pure functions of the records' tables, the same bytes from the same rows.

Colours are those of Okabe and Ito (2008), which the colour-blind can tell apart; marker, line or hatching differ too,
for print. Text stays text: a reader can select and search it, and an SVG is half as large as with outlines. It is laid
out in matplotlib's own DejaVu Sans; where that is not installed Verdana, which is as wide, takes its place. No `pyplot`:
nothing is shared between figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lstm_bench.data.task import metric_of
from lstm_bench.report.figures.style import (
    _MANY,
    BLACK,
    BLUE,
    COLOURS,
    MARKERS,
    ORANGE,
    VERMILLION,
    _along,
    _drawable,
    _figure,
    _focus,
    _legend_above,
    _legend_below,
    _log_ticks,
    _marked,
    _positions,
    _scale,
    _styled,
    _thinned,
    _way,
    log_scale,
    outline,
)


@_styled
def optimisation_history(trials: pd.DataFrame, objective: str = "val_accuracy", maximize: bool = True) -> Figure:
    """Every trial in the order of its number, by how it ended, and the best so far."""
    figure, axes = _figure(6.4, 3.6)
    scale, label = _scale(objective)
    values = pd.to_numeric(trials[objective], errors="coerce").to_numpy(dtype=float) * scale
    number = trials["number"].to_numpy(dtype=float)
    state, known = trials["state"].to_numpy(), np.isfinite(values)
    many = len(trials) > _MANY
    size = 26 * max(0.1, _thinned(len(trials)))
    done = known & (state == "COMPLETE")
    if done.any():
        best = np.maximum.accumulate(values[done]) if maximize else np.minimum.accumulate(values[done])
        kept = np.append(True, np.diff(best) != 0) | (not many)  # thousands of steps that go nowhere are a large SVG
        steps = np.append(number[done][kept], max(number.max(), number[done][-1]))
        heights = np.append(best[kept], best[-1])
        axes.step(steps, heights, where="post", color=BLACK, lw=1.2, label="best so far", zorder=5 if many else 1)
        _focus(axes, values[known], best[-1], maximize)
    low, high = axes.get_ylim()
    beyond = known & done.any() & ((values < low) if maximize else (values > high))
    looks: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("COMPLETE", "complete", {"marker": "o", "color": BLUE, "s": size, "zorder": 3}),
        ("PRUNED", "pruned", {"marker": "v", "facecolor": "white", "edgecolor": ORANGE, "s": size, "zorder": 2}),
    )
    for name, text, look in looks:
        rows = known & (state == name)
        seen = rows & ~beyond
        if rows.any():
            axes.scatter(
                number[seen], values[seen], label=f"{text} ({np.count_nonzero(rows)})", rasterized=many, **look
            )
    lost = ~known | ~np.isin(state, ("COMPLETE", "PRUNED"))
    if lost.any():
        axes.scatter(
            number[lost], np.full(np.count_nonzero(lost), 0.02), marker="x", color=VERMILLION, s=26, zorder=4, clip_on=False,
            transform=axes.get_xaxis_transform(), label=f"failed ({np.count_nonzero(lost)})", rasterized=many,
        )  # fmt: skip
    if beyond.any():
        axes.scatter(
            number[beyond], np.full(np.count_nonzero(beyond), 0.02 if maximize else 0.98), marker="v" if maximize else "^",
            color="#777777", s=12, zorder=3, transform=axes.get_xaxis_transform(),
            label=f"{'below' if maximize else 'above'} the picture ({np.count_nonzero(beyond)})", rasterized=many,
        )  # fmt: skip
    axes.set(xlabel="trial", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.03)
    _legend_above(axes)
    return figure


@_styled
def learning_curves(history: pd.DataFrame, winner: int | None = None, metric: str = "val_accuracy") -> Figure:
    """Validation score by epoch: left every trial faint and the winner strong, right the winner's replicates.

    Args:
      history: Rows of history.csv.
      winner: Number of its trial.
      metric: Its column. The training curve is that of the same metric, else of the loss.
    """
    scale, label = _scale(metric)
    known = metric_of(metric)
    more, trained = known is not None and known.maximize, metric.replace("val_", "train_", 1)
    curves: dict[str, dict[int, np.ndarray]] = {}
    for kind in ("trial", "replicate"):
        rows = history[(history["kind"] == kind) & history["number"].notna()].sort_values("number", kind="stable")
        points = rows[["epoch", metric, trained if trained in history else "train_loss"]].to_numpy(dtype=float) * (
            1,
            scale,
            scale,
        )
        numbers, first = np.unique(rows["number"].to_numpy(dtype=float), return_index=True)
        parts = np.split(points, first[1:]) if len(first) else []
        curves[kind] = {int(n): part[~np.isnan(part[:, 0])] for n, part in zip(numbers, parts, strict=True)}
    trials, seeds = curves["trial"], curves["replicate"]
    both = bool(trials and seeds)
    figure = Figure(figsize=(7.4 if both else 4.6, 3.8), layout="constrained")
    panels = figure.subplots(1, 1 + both, sharey=True, squeeze=False)[0]
    left, right = panels[0], panels[-1]  # one panel where there is only one of the two
    others = [c[outline(c[:, 1]), :2] for number, c in trials.items() if number != winner]
    many, alpha = len(others) > _MANY, 0.35 * max(0.05, _thinned(len(others)))
    faint = LineCollection(others, colors="#777777", alpha=alpha, linewidths=0.9, rasterized=many)
    left.add_collection(faint)
    dots = [c for c in others if len(c) == 1]
    if dots:
        left.plot(*np.concatenate(dots).T, "o", color="#777777", alpha=alpha, ms=3, rasterized=many)
    if others:
        left.plot([], [], color="#999999", lw=0.9, label=f"other trials ({len(others)})")
    if winner in trials:
        won, trained_on = (trials[winner][outline(trials[winner][:, column])] for column in (1, 2))
        left.plot(won[:, 0], won[:, 1], "o-", color=BLUE, ms=4, label=f"winner, trial {winner}", **_marked(len(won)))
        left.plot(trained_on[:, 0], trained_on[:, 2], "--", color=BLUE, lw=1, label="winner, training")
    for index, (seed, points) in enumerate(seeds.items()):
        curve = points[outline(points[:, 1])]
        look = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index // len(COLOURS) % len(MARKERS)]}
        look |= _marked(len(curve))
        right.plot(curve[:, 0], curve[:, 1], ms=4, lw=1.3, label=f"seed {seed}" if len(seeds) <= 8 else None, **look)
    if len(seeds) > 8:
        right.plot([], [], color=BLUE, label=f"{len(seeds)} seeds")
    strong = [curve[:, 1] for curve in (*seeds.values(), *([trials[winner]] if winner in trials else []))]
    everything = np.concatenate([*strong, *(c[:, 1] for c in others)]) if strong or others else np.empty(0)
    if np.isfinite(everything).any():
        far = np.nanmin if more else np.nanmax
        target = far([far(s) for s in strong if np.isfinite(s).any()] or [np.nanmedian(everything)])
        _focus(left, everything, float(target), more)
    left.set_ylabel(label)
    for axes, title in zip(
        panels, [*(["search"] if trials else []), *(["confirmation"] if seeds else [])], strict=True
    ):
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.margins(x=0.06)
        axes.autoscale(axis="x")
        _legend_below(axes, 5 if title == "confirmation" else 2)
    return figure


@_styled
def confusion_matrix(counts: pd.DataFrame) -> Figure:
    """Counts of test samples by label (rows) and prediction (columns), shaded by the square root of the row's share.

    Args:
      counts: Square, the classes as index and columns.
    """
    classes, cells = list(counts.index), counts.to_numpy()
    share = cells / np.array([[max(1, sum(map(int, row)))] for row in cells])
    size = min(max(2.6, 0.42 * len(classes) + 1.2), 8.0)
    figure, axes = _figure(size + 0.4, size)
    # Few cells are shapes, which take less room in an SVG than the pixels of a picture.
    edges, few = np.arange(len(classes) + 1) - 0.5, len(classes) <= 20
    look: dict[str, Any] = {"edgecolors": "#EEEEEE", "linewidth": 0.6} if few else {"rasterized": True}
    axes.pcolormesh(edges, edges, share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1), **look)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    if few:
        for (row, column), n in np.ndenumerate(cells):
            if n:
                colour = "white" if share[row, column] > 0.35 else "#222222"
                axes.text(column, row, f"{n:,}", ha="center", va="center", color=colour, fontsize=7)
    step = 1 if few else math.ceil(len(classes) / 20)
    ticks = list(range(0, len(classes), step))
    axes.set_xticks(ticks, [str(classes[t]) for t in ticks])
    axes.set_yticks(ticks, [str(classes[t]) for t in ticks])
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


@_styled
def worst_samples(worst: pd.DataFrame, pictures: bool = True, limit: int = 12) -> Figure:
    """The most confidently wrong test samples: as pictures of timesteps by features, or as signals, a curve per feature.

    Args:
      worst: Rows of worst.csv, `label` and `prediction` as the data call their classes.
      pictures: Whether samples of several features are pictures.
      limit: Samples drawn at most.
    """
    rows = worst.sort_values(["probability", "sample"], ascending=[False, True]).head(limit)
    across = min(6, len(rows))
    down = math.ceil(len(rows) / across)
    figure = Figure(figsize=(1.35 * across, 1.65 * down), layout="constrained")
    for axes, (_, row) in zip(figure.subplots(down, across, squeeze=False).flat, rows.iterrows(), strict=False):
        x = np.array(str(row["values"]).split(), dtype=float).reshape(int(row["timesteps"]), int(row["features"]))
        if x.shape[1] == 1 or not pictures:
            for index, signal in enumerate(x.T):
                axes.plot(signal, color=COLOURS[index % len(COLOURS)], lw=1)
            axes.margins(x=0.02)
        else:
            axes.imshow(x, cmap="gray_r", aspect="equal" if max(x.shape) <= 3 * min(x.shape) else "auto")
        said = f"true {row['label']}, said {row['prediction']}\nat {row['probability']:.3f}"
        axes.set_title(said, fontsize=8)
    for index, axes in enumerate(figure.axes):
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(True)
        axes.set_visible(index < len(rows))
    return figure


@_styled
def slices(trials: pd.DataFrame, space: Mapping[str, Any], objective: str, maximize: bool = True) -> Figure:
    """The objective of the complete trials against each searched path, one panel each; darker the later, the best ringed.

    Args:
      trials: With `config_<path>` as recorded.
      space: Searched path -> its domain.
      objective: Column of the trials.
      maximize: Whether more of it is better.
    """
    scale, label = _scale(objective)
    values = pd.to_numeric(trials[objective], errors="coerce") * scale
    rows = trials[(trials["state"] == "COMPLETE") & np.isfinite(values)].sort_values("number", kind="stable")
    heights = values[rows.index].to_numpy(dtype=float)
    best = int(heights.argmax() if maximize else heights.argmin())
    across = min(4, len(space))
    down = math.ceil(len(space) / across)
    figure = Figure(figsize=(1.0 + 1.75 * across, 0.35 + 2.0 * down), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, sharey=True, squeeze=False)
    many, size = len(rows) > _MANY, 20 * max(0.15, _thinned(len(rows)))
    age = rows["number"].to_numpy(dtype=float)
    for axes, (path, domain) in zip(panels.flat, sorted(space.items()), strict=False):
        numbers, names = _positions(rows, path, domain)
        _along(axes, axes.xaxis, domain, numbers, names)
        axes.scatter(
            numbers, heights, c=age, cmap="viridis_r", vmin=age.min(), vmax=max(age.max(), age.min() + 1), s=size,
            rasterized=many, zorder=2,
        )  # fmt: skip
        axes.scatter(numbers[best], heights[best], s=70, facecolor="none", edgecolor=VERMILLION, lw=1.4, zorder=3)
        axes.set_xlabel(_drawable(path))
        axes.tick_params(axis="x", labelsize=7.5)
    for axes in panels.flat[len(space) :]:
        axes.set_visible(False)
    for row in panels:
        row[0].set_ylabel(label)
    _focus(panels.flat[0], heights, float(heights[best]), maximize)
    return figure


@_styled
def pairs(trials: pd.DataFrame, space: Mapping[str, Any], objective: str, maximize: bool = True) -> Figure:
    """The complete trials in each plane of two searched paths, the objective as colour, the best ringed.

    Args:
      trials: With `config_<path>` as recorded.
      space: Searched path -> its domain; at least two.
      objective: Column of the trials.
      maximize: Whether more of it is better.
    """
    scale, label = _scale(objective)
    values = pd.to_numeric(trials[objective], errors="coerce") * scale
    rows = trials[(trials["state"] == "COMPLETE") & np.isfinite(values)].sort_values("number", kind="stable")
    heights = values[rows.index].to_numpy(dtype=float)
    best = int(heights.argmax() if maximize else heights.argmin())
    # The good half of the trials spreads over all colours; what is worse than its median is all one.
    bounds = (float(np.median(heights)), float(heights[best]))
    paths = sorted(space)
    n = len(paths) - 1
    figure = Figure(figsize=(2.3 + 1.9 * n, 0.7 + 1.8 * n), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(n, n, sharex="col", sharey="row", squeeze=False)
    positions = {path: _positions(rows, path, space[path]) for path in paths}
    order = np.argsort(heights if maximize else -heights, kind="stable")  # the better on top
    shown = None
    for down, across in np.ndindex(n, n):
        axes = cast(Axes, panels[down, across])
        x, y = paths[across], paths[down + 1]
        if across > down:
            axes.set_visible(False)
            continue
        for axis, path in ((axes.xaxis, x), (axes.yaxis, y)):
            _along(axes, axis, space[path], *positions[path])
        shown = axes.scatter(
            positions[x][0][order], positions[y][0][order], c=heights[order], cmap="viridis" if maximize else "viridis_r",
            vmin=min(bounds), vmax=max(*bounds, min(bounds) + 1e-9), s=24 * max(0.15, _thinned(len(rows))),
            rasterized=len(rows) > _MANY, zorder=2,
        )  # fmt: skip
        spot = positions[x][0][best], positions[y][0][best]
        axes.scatter(*spot, s=80, facecolor="none", edgecolor=VERMILLION, lw=1.4, zorder=3)
        axes.tick_params(labelsize=7.5)
        if down == n - 1:
            axes.set_xlabel(_drawable(x))
        if across == 0:
            axes.set_ylabel(_drawable(y))
    assert shown is not None
    extend: Literal["min", "max"] = "min" if maximize else "max"
    figure.colorbar(shown, ax=panels, label=label, pad=0.02, shrink=0.9, extend=extend)
    return figure


@_styled
def pareto(trials: pd.DataFrame, members: pd.DataFrame, objectives: Mapping[str, str]) -> Figure:
    """Two objectives against each other, the third as colour: trials faint, those on the front strong.

    Args:
      trials: Complete trials with finite values of all objectives.
      members: Those of them on the front.
      objectives: Column -> `maximize` or `minimize`; the first is drawn upwards, the second across.
    """
    figure, axes = _figure(6.4, 4.2)
    up, across, *rest = objectives
    (y_scale, y_label), (x_scale, x_label) = _scale(up), _scale(across)
    many = len(trials) > _MANY
    others = trials[~trials["number"].isin(members["number"])]
    axes.scatter(
        others[across] * x_scale, others[up] * y_scale, color="#AAAAAA", s=18 * max(0.15, _thinned(len(others))), marker="o",
        rasterized=many, label=f"dominated ({len(others)})", zorder=2,
    )  # fmt: skip
    x, y = (members[across] * x_scale).to_numpy(dtype=float), (members[up] * y_scale).to_numpy(dtype=float)
    on: dict[str, Any] = {"s": 42, "marker": "D", "edgecolor": BLACK, "linewidth": 0.6, "zorder": 3}
    on["label"] = f"front ({len(members)})"
    if rest:
        colour_scale, colour_label = _scale(rest[0])
        shown = axes.scatter(x, y, c=(members[rest[0]] * colour_scale).to_numpy(dtype=float), cmap="viridis", **on)
        figure.colorbar(shown, ax=axes, label=f"{colour_label} ({_way(objectives[rest[0]])})", pad=0.02)
    else:
        axes.scatter(x, y, color=BLUE, **on)
        order = np.argsort(x, kind="stable")
        # What is reached with that much at most, or at least.
        step: Literal["post", "pre"] = "post" if objectives[across] == "minimize" else "pre"
        axes.step(x[order], y[order], where=step, color=BLUE, lw=0.8, zorder=1)
    axes.set(xlabel=f"{x_label} ({_way(objectives[across])})", ylabel=f"{y_label} ({_way(objectives[up])})")
    if across == "n_weights" and trials[across].min() > 0:
        axes.set_xscale(log_scale())
        _log_ticks(axes)
    axes.margins(0.06)
    _legend_above(axes)
    return figure
