"""Forecasts of a test set beside what came: what a study keeps of them, for figures and tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_bench.data.horizon import Future

if TYPE_CHECKING:
    from lstm_bench.data.dataset import Dataset

MOST_ROWS = 20_000  # of `predictions.csv`: of more, whole forecasts are taken, evenly over all
SHOWN = 6  # forecasts whose past is kept, evenly from that of the least error to that of the largest


def evidence(data: Dataset, outputs: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    """Rows of `predictions.csv`, one for each step of each forecast, and of `worst.csv`, the past of a few.

    Args:
      data: The dataset.
      outputs: Of a network, on its test split.
    """
    future, names = Future.of(data.y_test), (data.about or {}).get("series", [""])
    plan: dict[str, Any] = (data.reading or {})["plan"]
    n, horizon = future.targets.shape
    origins = int(plan.get("origins", 1))
    found, is_quantile = future.own(future.quantiles(outputs)), outputs.shape[1] != horizon
    truth, point, naive = future.own(future.targets), found[:, found.shape[1] // 2], future.own(future.naive())
    most = max(SHOWN, MOST_ROWS // horizon)
    taken = np.arange(n) if n <= most else (np.arange(most) * (n / most)).astype(np.int64)
    rows = []
    for sample in taken.tolist():
        unit = float(future.unit[sample])
        for step in range(horizon):
            value, low, high = (float(of[sample, step]) for of in (truth, found[:, 0], found[:, -1]))
            row: dict[str, Any] = {"sample": sample, "label": value, "prediction": float(point[sample, step])}
            row |= {"series": names[sample // origins], "step": step + 1, "last": float(naive[sample, step])}
            for name, of in (("error", point), ("naive_error", naive)):
                row[name] = abs(float(of[sample, step]) - value) / unit if unit > 0 else None
            row |= {"low": low, "high": high, "covered": int(low <= value <= high)} if is_quantile else {}
            rows.append(row)
    errors = np.abs(point - truth)[taken].mean(axis=1) / np.where(future.unit[taken] > 0, future.unit[taken], math.inf)
    order = taken[np.argsort(errors, kind="stable")]
    ranks = np.unique(np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int))
    shown = []
    for sample in order[ranks].tolist():
        past = past_of(data, future, plan, sample)
        values = " ".join(f"{value:.6g}" for value in past)
        shown.append({"sample": sample, "timesteps": len(past), "features": 1, "values": values})
    return {"predictions": rows, "worst": shown}


def past_of(data: Dataset, future: Future, plan: dict[str, Any], sample: int) -> np.ndarray:
    """The values that a forecast of the test split was made from, in the series' own unit."""
    lengths = data.lengths_test
    ahead = plan["horizon"] if plan.get("known") or plan.get("calendar") else 0
    end = (data.input_shape[0] if lengths is None else int(lengths[sample])) - ahead
    x = data.x_test[sample, :end, 0].astype(np.float64)
    if data.mean is not None and data.scale is not None:
        x = x * float(data.scale[0]) + float(data.mean[0])
    offset, scale = float(future.offset[sample]), float(future.scale[sample])
    if plan["scale"] == "difference":
        return np.asarray(offset - scale * np.r_[np.cumsum(x[:0:-1])[::-1], 0.0])
    if plan["scale"] == "return":
        return np.asarray(offset / np.r_[np.cumprod(1 + x[:0:-1] * scale / offset)[::-1], 1.0])
    return np.asarray(offset + scale * x)
