"""Figures of forecasts: over what came, by step of the horizon, by series."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from lstm_bench.core.statistics import mean
from lstm_bench.report.figures.style import (
    _MANY,
    BLACK,
    BLUE,
    ORANGE,
    _drawable,
    _figure,
    _legend_above,
    _styled,
    log_scale,
)

_ACROSS = 3  # panels side by side
_PAST = 4  # horizons of the past that a panel shows, at most
_MOST_SERIES = 2  # whose one-step forecasts are drawn along the test values


@_styled
def over_series(predictions: pd.DataFrame, shown: pd.DataFrame) -> Figure:
    """A panel for each of a few forecasts: the past, what came, what was forecast with its interval, the naive forecast.

    Args:
      predictions: Rows of predictions.csv.
      shown: Rows of worst.csv, the past in `values`.
    """
    known = [row for _, row in shown.iterrows() if (predictions["sample"] == row["sample"]).any()]
    across = min(_ACROSS, len(known))
    down = -(-len(known) // across)
    figure = Figure(figsize=(7.4, 2.0 * down + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, row in zip(panels, known, strict=False):
        mine = predictions[predictions["sample"] == row["sample"]].sort_values("step")
        steps = mine["step"].to_numpy(dtype=float)
        past = np.array(str(row["values"]).split(), dtype=float)[-max(_PAST * len(mine), 8) :]
        axes.plot(np.arange(1 - len(past), 1), past, color="#777777", lw=1.1, label="past")
        joined = np.r_[0, steps]
        _band(axes, mine, steps)
        axes.plot(joined, np.r_[past[-1], mine["label"]], color=BLACK, lw=1.3, label="what came")
        axes.plot(steps, mine["last"], color=ORANGE, lw=1.2, ls=":", label="naive")
        axes.plot(steps, mine["prediction"], color=BLUE, lw=1.5, marker="o", ms=2.5, label="forecast")
        name, error = str(mine["series"].iloc[0]), mean(mine["error"])
        said = f"MASE {error:.2f}" if math.isfinite(error) else "no MASE"
        axes.set_title(_drawable(f"{name}: {said}" if name else said), fontsize=8)
        axes.axvline(0, color="#BBBBBB", lw=0.7, zorder=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    for axes in panels[len(known) :]:
        axes.set_axis_off()
    figure.supxlabel("steps from the forecast", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=5)
    return figure


@_styled
def one_step(predictions: pd.DataFrame) -> Figure:
    """One-step forecasts along the test values: above over them, below the errors of forecast and naive forecast.

    Args:
      predictions: Rows of predictions.csv, of a horizon of 1 and several origins.
    """
    names = list(dict.fromkeys(predictions["series"]))[:_MOST_SERIES]
    figure = Figure(figsize=(7.4, 3.9 * len(names) + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 * len(names), 1, squeeze=False, sharex=True, height_ratios=[2, 1] * len(names)).ravel()
    for index, name in enumerate(names):
        mine = predictions[predictions["series"] == name].sort_values("sample")
        origins = np.arange(1, len(mine) + 1, dtype=float)
        upper, lower = panels[2 * index], panels[2 * index + 1]
        _band(upper, mine, origins)
        upper.plot(origins, mine["label"], color=BLACK, lw=1.3, label="what came")
        upper.plot(origins, mine["last"], color=ORANGE, lw=1.1, ls=":", label="naive: the value before")
        upper.plot(origins, mine["prediction"], color=BLUE, lw=1.3, label="forecast")
        lower.plot(origins, mine["last"] - mine["label"], color=ORANGE, lw=1.1, ls=":")
        lower.plot(origins, mine["prediction"] - mine["label"], color=BLUE, lw=1.1)
        lower.axhline(0, color=BLACK, lw=0.8)
        upper.set_ylabel(_drawable(name) or "value")
        lower.set_ylabel("error")
        _legend_above(upper)
    panels[-1].set_xlabel("step of the test values")
    return figure


def _band(axes: Axes, rows: pd.DataFrame, origins: np.ndarray) -> None:
    if "low" in rows and rows["low"].notna().any():
        axes.fill_between(
            origins,
            rows["low"].to_numpy(float),
            rows["high"].to_numpy(float),
            color=BLUE,
            alpha=0.18,
            lw=0,
            label="interval",
        )


@_styled
def by_step(table: pd.DataFrame, nominal: float) -> Figure:
    """Error by step of the horizon beside the naive forecast's, and where quantiles were forecast the coverage.

    Args:
      table: `step`, `error`, `naive_error`, and perhaps `covered`, means over the forecasts.
      nominal: Share that the interval is to cover; NaN for none.
    """
    covers = "covered" in table and table["covered"].notna().any()
    figure = Figure(figsize=(7.4 if covers else 5.0, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = np.ravel(figure.subplots(1, 2 if covers else 1, squeeze=False))
    steps = table["step"].to_numpy(dtype=float)
    panels[0].plot(steps, table["naive_error"], color=ORANGE, marker="s", ms=4, ls=":", label="naive")
    panels[0].plot(steps, table["error"], color=BLUE, marker="o", ms=4, label="forecast")
    panels[0].set(xlabel="step of the horizon", ylabel="scaled error (MASE of the step)")
    panels[0].set_ylim(bottom=0)
    if covers:
        panels[1].plot(steps, 100 * table["covered"], color=BLUE, marker="o", ms=4, label="coverage")
        if math.isfinite(nominal):
            panels[1].axhline(100 * nominal, color=BLACK, lw=1, ls="--", label=f"asked for: {100 * nominal:g} %")
        panels[1].set(xlabel="step of the horizon", ylabel="values inside the interval, %", ylim=(0, 105))
    for axes in panels:
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        _legend_above(axes)
    return figure


@_styled
def by_series(table: pd.DataFrame) -> Figure:
    """Each series' error against that of its naive forecast: below the diagonal the network is better.

    Args:
      table: `error` and `naive_error` of each series, means over its forecasts.
    """
    figure, axes = _figure(4.6, 4.4)
    pairs = table[["naive_error", "error"]].to_numpy(dtype=float)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    above = pairs[pairs > 0]
    least = float(above.min()) if above.size else 1.0
    pairs = np.maximum(pairs, least)
    ends = (0.8 * float(pairs.min()), 1.25 * float(pairs.max()))
    axes.plot(ends, ends, color=BLACK, lw=0.9, ls="--", label="as good as the naive forecast")
    axes.scatter(
        pairs[:, 0], pairs[:, 1], s=14, color=BLUE, alpha=0.55, lw=0, rasterized=len(pairs) > _MANY, label="a series"
    )
    axes.set_xscale(log_scale())
    axes.set_yscale(log_scale())
    axes.set(xlim=ends, ylim=ends, xlabel="MASE of the naive forecast", ylabel="MASE of the network")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    _legend_above(axes)
    return figure
