"""Labels of a forecast: the next values of a series, and what a forecast of them is scaled by and held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_bench.core.errors import DataError
from lstm_bench.data.labels import Labels, Table

_ROWS, _NUMBERS = 2, 5  # of `Future`: as many arrays of a number per step, and of one number
LEVELS = 3  # of quantiles, where such are asked for: their number makes the width of labels even


class Future(NamedTuple):
    """What follows windows: `own` of what is scaled is `offset + scale * scaled`.

    Attributes:
      targets: `(samples, horizon)`, scaled.
      seasonal: Likewise: the value a season before each step, of as many seasons as it takes to be known.
      offset: `(samples,)`, in the series' own unit.
      scale: Likewise, above 0.
      unit: Of MASE: the mean error of the seasonal naive forecast one step ahead, over what the series was before; 0: none.
      last: `(samples,)`, scaled: the last value of the window.
      slope: `(samples,)`, scaled: the mean change per step from the series' first value to that.
      levels: `(samples, 3)`: of the quantiles that are forecast, the median in the middle; `(samples, 0)`: a value is.
    """

    targets: np.ndarray
    seasonal: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    unit: np.ndarray
    last: np.ndarray
    slope: np.ndarray
    levels: np.ndarray

    @classmethod
    def of(cls, y: np.ndarray) -> Future:
        """From labels `(samples, 2 * horizon + 5)`, or three more with levels; float64."""
        y, steps, n = y.astype(np.float64), horizon_of(y), n_levels(y)
        rows = [y[:, row * steps : (row + 1) * steps] for row in range(_ROWS)]
        rows += [y[:, row] for row in range(_ROWS * steps, y.shape[1] - n)]
        return cls(*[*rows, np.round(y[:, y.shape[1] - n :], 6)])  # levels as they were before they were float32

    def labels(self) -> np.ndarray:
        """Labels `(samples, 2 * horizon + 5)`, or three more with levels; float64."""
        ones = [one[:, None] for one in self[_ROWS : _ROWS + _NUMBERS]]
        return np.concatenate([*self[:_ROWS], *ones, self.levels], axis=1)

    def own(self, scaled: np.ndarray) -> np.ndarray:
        """`(samples, ..., horizon)` in the series' own unit."""
        offset, scale = (of.reshape(-1, *[1] * (scaled.ndim - 1)) for of in (self.offset, self.scale))
        return np.asarray(offset + scale * scaled)

    def naive(self) -> np.ndarray:
        """`(samples, horizon)`, scaled: the last value, repeated."""
        return np.repeat(self.last[:, None], self.targets.shape[1], axis=1)

    def drift(self) -> np.ndarray:
        """`(samples, horizon)`, scaled: on along the line through the series' first value and the last of the window."""
        return np.asarray(self.last[:, None] + self.slope[:, None] * np.arange(1, self.targets.shape[1] + 1))

    def quantiles(self, outputs: np.ndarray) -> np.ndarray:
        """See `quantiles`."""
        return quantiles(outputs, self.targets.shape[1])

    def point(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs of a network as `(samples, horizon)`: of quantiles the median."""
        return self.quantiles(outputs)[:, LEVELS // 2]

    @property
    def is_seasonal(self) -> bool:
        """Whether the seasonal naive forecast is another than the naive one."""
        return not np.array_equal(self.seasonal, self.naive())


def n_levels(y: np.ndarray) -> int:
    """Quantiles that labels ask for: 3 or 0."""
    return 0 if y.shape[1] % 2 else LEVELS


def horizon_of(y: np.ndarray) -> int:
    """Steps that labels look ahead."""
    return (int(y.shape[1]) - _NUMBERS - n_levels(y)) // _ROWS


def quantiles(outputs: np.ndarray, steps: int) -> np.ndarray:
    """Outputs of a network as `(samples, 3, horizon)`, ascending; a value stands for all three quantiles.

    A network may give quantiles that cross. Sorted they have no larger a loss: Chernozhukov, Fernandez-Val and Galichon 2010,
    "Quantile and probability curves without crossing".
    """
    outputs = outputs.astype(np.float64)
    if outputs.shape[1] == steps:
        return np.repeat(outputs[:, None], LEVELS, axis=1)
    return np.sort(outputs.reshape(len(outputs), LEVELS, steps), axis=1)


class Horizon(Labels):
    """`Future` of each window; a network's outputs are its scaled targets in one go, quantile by quantile."""

    classes = False
    several = True
    ahead = True

    def check(self, labels: Mapping[str, np.ndarray], n: int | None, where: str) -> tuple[dict[str, np.ndarray], int]:
        """See `Labels`; float32, and an output for each step, or each step of each quantile."""
        targets = {}
        for key, y in labels.items():
            with np.errstate(over="ignore"):
                targets[key] = y.astype(np.float32)
            if not np.isfinite(targets[key]).all():
                raise DataError(
                    f"{where}: {key}",
                    expected="finite float32 numbers once scaled",
                    received="larger ones",
                    remedy="Scale each window: dataset.scale=window.",
                )
        y = labels["y_train"]
        return targets, horizon_of(y) * (n_levels(y) or 1)

    def wanted(self, y: np.ndarray) -> np.ndarray:
        """See `Labels`: the scaled targets."""
        return Future.of(y).targets

    def check_targets(self, y: np.ndarray, n: int, where: str) -> None:
        """See `Labels`: what is forecast is not there yet."""
        raise DataError(where, expected="series alone, for forecasts are of what follows them")

    def table(self, answers: np.ndarray) -> Table:
        """See `Labels`: a row for each step from 1."""
        rows = [
            {"sample": sample, "step": step + 1, "prediction": float(value)}
            for (sample, step), value in np.ndenumerate(answers)
        ]
        return ("sample", "step", "prediction"), rows

    def told(
        self, rows: Sequence[Mapping[str, Any]], n: int, y: np.ndarray | None, names: Sequence[str] | None = None
    ) -> list[str]:
        """See `Labels`: the range of the forecasts."""
        found = [row["prediction"] for row in rows]
        return [f"{len(found) // n:,} series, {n} steps beyond the end of each: {min(found):.4g} to {max(found):.4g}"]
