"""Forecasts that need no training split: each looks at the whole past of its series, and at no other.

A forecaster takes the past values of series, the steps that are forecast and those of a season, and gives forecasts
`(series, horizon)` in their own units, and what was chosen, in words.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

Forecaster = Callable[[Sequence[np.ndarray], int, int], tuple[np.ndarray, str]]
_MOST = 500  # values, the last ones, that smoothing is fitted to: what is older weighs next to nothing
_LEAST = 8  # values from which on a trend may be fitted: four parameters and some to judge them by


def naive(pasts: Sequence[np.ndarray], horizon: int, season: int) -> tuple[np.ndarray, str]:
    """The last value, repeated."""
    return np.stack([np.full(horizon, values[-1]) for values in pasts]), ""


def seasonal_naive(pasts: Sequence[np.ndarray], horizon: int, season: int) -> tuple[np.ndarray, str]:
    """The value a season before, of as many seasons as it takes to be known; of a shorter series the last value."""
    made = [
        values[len(values) - season + np.arange(horizon) % season]
        if len(values) >= season
        else np.full(horizon, values[-1])
        for values in pasts
    ]
    return np.stack(made), ""


def drift(pasts: Sequence[np.ndarray], horizon: int, season: int) -> tuple[np.ndarray, str]:
    """On along the line through the first value and the last."""
    steps = np.arange(1, horizon + 1)
    return np.stack([v[-1] + steps * (v[-1] - v[0]) / max(len(v) - 1, 1) for v in pasts]), ""


def has_smoothing() -> bool:
    """Whether statsmodels, the extra `forecast`, is installed."""
    return importlib.util.find_spec("statsmodels") is not None


def smoothing(pasts: Sequence[np.ndarray], horizon: int, season: int) -> tuple[np.ndarray, str]:
    """Exponential smoothing: of a level, a trend and a damped one, each with additive seasons, that of the least AICc.

    Hyndman et al. 2002, "A state space framework for automatic forecasting using exponential smoothing methods", of whose 30
    methods these are the additive ones but for the errors; fitted by statsmodels' `ExponentialSmoothing`.
    """
    found = [_smoothed(values[-max(_MOST, 4 * season) :], horizon, season) for values in pasts]
    counts = Counter(words for _, words in found)
    return np.stack([forecast for forecast, _ in found]), ", ".join(f"{words} {n}" for words, n in counts.most_common())


def _smoothed(values: np.ndarray, horizon: int, season: int) -> tuple[np.ndarray, str]:
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    # Of one size, whatever the unit: the optimiser's first steps have one.
    size = float(np.abs(values).mean()) or 1.0
    trends: list[tuple[str, str | None, bool]] = [("level", None, False)]
    if len(values) >= _LEAST:
        trends += [("trend", "add", False), ("damped trend", "add", True)]
    seasons = [None, "add"] if season > 1 and len(values) >= 2 * season + 4 else [None]
    best: tuple[float, np.ndarray, str] | None = None
    for words, trend, damped in trends:
        for seasonal in seasons:
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")  # that it did not converge: the AICc says how good it is
                    model = ExponentialSmoothing(
                        values / size,
                        trend=trend,
                        damped_trend=damped,
                        seasonal=seasonal,
                        seasonal_periods=season if seasonal else None,
                        initialization_method="estimated",
                    ).fit()
                    forecast = size * np.asarray(model.forecast(horizon), np.float64)
                    score = float(model.aicc)
            except (ValueError, ZeroDivisionError, FloatingPointError, np.linalg.LinAlgError):
                continue  # too short for it, or constant
            name = f"{words}, seasons" if seasonal else words
            if np.isfinite(forecast).all() and not math.isnan(score) and (best is None or score < best[0]):
                best = score, forecast, name
    return (np.full(horizon, values[-1]), "last value") if best is None else best[1:]
