"""Of a study of forecasts: its scores beside those of what needs no network, by step and by series."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from lstm_bench.core.statistics import mean, t_interval
from lstm_bench.data.forecasts import MOST_ROWS
from lstm_bench.data.metric import CORRELATION, ECHO
from lstm_bench.model.controls import CONTROLS
from lstm_bench.report.figures import forecasts
from lstm_bench.report.render.markdown import NONE, Raw, count, escape, markdown, mean_text, short
from lstm_bench.report.sources.records import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN_STEPS = 24  # of a longer horizon as many, evenly
_LOOKS_RIGHT = 0.9  # a correlation from which on a plotted forecast looks right
_NO_BETTER = 0.98  # of the naive forecast's error: above, a network is at most a fiftieth better


def figures(result: Result, circumstances: str) -> dict[str, tuple[Callable[[], Figure], str] | str]:
    """The figures of forecasts: name -> (maker, caption), or the reason why there is none; {} for other tasks.

    Args:
      result: The study.
      circumstances: On how many samples and where the study was trained, for every caption.
    """
    if not result.task.labels.ahead:
        return {}
    rows, shown = _rows(result), result.frame("worst")
    if rows.empty:
        return {"forecasts": "No figures of forecasts: predictions.csv holds no row."}
    made: dict[str, tuple[Callable[[], Figure], str] | str] = {}
    first = f"of the first replicate (n = 1 seed, {count(rows['sample'].nunique())} forecasts; {circumstances})"
    one_step = rows["step"].max() == 1 and rows["sample"].nunique() > rows["series"].nunique()
    if rows["label"].isna().all():
        made["forecasts"] = "No forecasts are drawn over their series: these records hold no values of the data."
    elif one_step:
        made["forecasts"] = (partial(forecasts.one_step, rows), f"One-step forecasts {first}, and their errors.")
    else:
        shown = shown[[bool(str(values).split()) for values in shown["values"]]]
        if len(shown):
            says = f"{count(len(shown))} forecasts {first}, from that of the least error to that of the largest."
            made["forecasts"] = (partial(forecasts.over_series, rows, shown), says)
    steps = by_step(rows)
    if len(steps) > 1:
        made["steps"] = (partial(forecasts.by_step, steps, nominal(result)), f"Error by step of the horizon, {first}.")
    series = by_series(rows)
    if len(series) > 1:
        better = int((series["error"] < series["naive_error"]).sum())
        says = f"Error by series, {first}: {better:,} of {len(series):,} are better than the naive forecast."
        made["series"] = (partial(forecasts.by_series, series), says)
    return made


def by_step(rows: pd.DataFrame) -> pd.DataFrame:
    """`step`, and means of `error`, `naive_error` and, of quantiles, `covered`."""
    kept = [column for column in ("error", "naive_error", "covered") if column in rows]
    return rows.groupby("step", sort=True)[kept].agg(mean).reset_index()


def by_series(rows: pd.DataFrame) -> pd.DataFrame:
    """`series`, and means of `error` and `naive_error`."""
    return rows.groupby("series", sort=True)[["error", "naive_error"]].agg(mean).reset_index()


def nominal(result: Result) -> float:
    """Share of the values that the interval is to cover; NaN where a value is forecast."""
    levels = result.get("dataset.quantiles")
    return float(levels[-1]) - float(levels[0]) if isinstance(levels, list) and levels else math.nan


def section(result: Result, shown: dict[str, str]) -> list[str]:
    """Paragraphs of a study's page; nothing for other tasks.

    Args:
      result: The study.
      shown: Figure -> Markdown.
    """
    if not result.task.labels.ahead:
        return []
    rows = _rows(result)
    parts = ["## Forecasts", *_scores(result), *_look(result), shown.get("forecasts", "")]
    if len(rows) >= MOST_ROWS - int(rows["step"].max() if len(rows) else 0):
        parts.append(f"Of the forecasts {count(rows['sample'].nunique())}, evenly drawn, are in the figures and below.")
    return [*parts, *_steps(rows, nominal(result)), shown.get("steps", ""), shown.get("series", "")]


def _rows(result: Result) -> pd.DataFrame:
    rows = result.frame("predictions")
    if "step" not in rows:
        return rows.iloc[:0]
    return rows.dropna(subset=["sample", "step"]).sort_values(["sample", "step"], ignore_index=True)


def _scores(result: Result) -> list[str]:
    """All metrics of the test set: of the network over its seeds, and of each control."""
    tables = (
        [(Raw(f"**{escape(result.name)}** ({escape(result.family)})"), result.confirmed)]
        if len(result.confirmed)
        else []
    )
    controls = result.frame("controls")
    controls = controls[controls["state"] == "COMPLETE"]
    fitted = [(control.label, controls[controls["control"] == control.name]) for control in CONTROLS.values()]
    tables += [(Raw(escape(label)), mine) for label, mine in fitted if len(mine)]
    columns = [
        metric
        for metric in result.task.metrics
        if any(metric.column in mine and mine[metric.column].notna().any() for _, mine in tables)
    ]
    if not tables or not columns:
        return []
    lines = []
    for name, mine in tables:
        cells: list[object] = [name, len(mine)]
        for metric in columns:
            score = t_interval(mine[metric.column].dropna()) if metric.column in mine else t_interval([])
            scale = 100 if metric.percent else 1
            one = short(scale * score.mean) if score.n else NONE
            cells.append(mean_text(score, metric.percent) if score.n > 1 else one)
        lines.append(cells)
    headings = [metric.label + (", %" if metric.percent else "") for metric in columns]
    return [
        "Test scores, in the series' own units but for the loss; of several seeds mean and 95 % t interval.",
        markdown(["", "n", *headings], lines, {"n", *headings}),
    ]


def _look(result: Result) -> list[str]:
    """Whether a plotted forecast would look right and is the naive one: correlation and MASE beside each other."""
    mine, controls = result.confirmed, result.frame("controls")
    naive = controls[controls["control"] == "naive"]
    if not len(mine) or not len(naive) or CORRELATION.column not in mine or ECHO.column not in mine:
        return []
    near, last = (mean(mine[metric.column]) for metric in (CORRELATION, ECHO))
    error, least = float(result.score.mean), float(naive[result.measure.column].iloc[0])
    if not near >= _LOOKS_RIGHT or not math.isfinite(last) or not math.isfinite(least):
        return []
    label = result.measure.label
    if error < _NO_BETTER * least:
        return [
            f"Its forecasts correlate {near:.3f} with what came and {last:.3f} with the last value before; their {label} is "
            f"{error:.4g}, where the naive forecast, which repeats that value, has {least:.4g}."
        ]
    return [
        f"**Plotted, these forecasts look right, and they are no better than the value before, repeated.** They correlate "
        f"{near:.3f} with what came; so does any series that moves little from step to step with itself, a step later. With "
        f"that last value they correlate {last:.3f}: the curve is that of the series, shifted by a step. {label} says so: "
        f"{error:.4g}, where the naive forecast has {least:.4g}."
    ]


def _steps(rows: pd.DataFrame, share: float) -> list[str]:
    table = by_step(rows)
    if len(table) < 2:
        return []
    covers = "covered" in table and table["covered"].notna().any()
    if len(table) > _SHOWN_STEPS:
        table = table.iloc[[round(i * (len(table) - 1) / (_SHOWN_STEPS - 1)) for i in range(_SHOWN_STEPS)]]
    columns = ["step", "scaled error", "naive", *([f"inside the {100 * share:g} % interval, %"] if covers else [])]
    lines = [
        [
            f"{row['step']:.0f}",
            short(row["error"]),
            short(row["naive_error"]),
            *([f"{100 * row['covered']:.1f}"] if covers else []),
        ]
        for _, row in table.iterrows()
    ]
    says = "By step of the horizon, mean over the forecasts of the first replicate: the error in units of MASE."
    return [says, markdown(columns, lines, set(columns))]
