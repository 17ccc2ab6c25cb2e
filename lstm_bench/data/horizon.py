"""Labels of a forecast: the next values of a series, and what a forecast of them is scaled by and held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_bench.core.errors import DataError
from lstm_bench.data.labels import Labels, Table

_ROWS, _NUMBERS = 2, 5  # of `Future`: as many arrays of a number per step, and of one number


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
    """

    targets: np.ndarray
    seasonal: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    unit: np.ndarray
    last: np.ndarray
    slope: np.ndarray

    @classmethod
    def of(cls, y: np.ndarray) -> Future:
        """From labels `(samples, 2 * horizon + 5)`, float64."""
        y, steps = y.astype(np.float64), horizon_of(y)
        rows = (y[:, place * steps : (place + 1) * steps] for place in range(_ROWS))
        return cls(*rows, *(y[:, place] for place in range(_ROWS * steps, y.shape[1])))

    def labels(self) -> np.ndarray:
        """Labels `(samples, 2 * horizon + 5)`, float64."""
        return np.concatenate([*self[:_ROWS], *(one[:, None] for one in self[_ROWS:])], axis=1)

    def own(self, scaled: np.ndarray) -> np.ndarray:
        """`(samples, horizon)` in the series' own unit."""
        return np.asarray(self.offset[:, None] + self.scale[:, None] * scaled)

    def naive(self) -> np.ndarray:
        """`(samples, horizon)`, scaled: the last value, repeated."""
        return np.repeat(self.last[:, None], self.targets.shape[1], axis=1)

    def drift(self) -> np.ndarray:
        """`(samples, horizon)`, scaled: on along the line through the series' first value and the last of the window."""
        return np.asarray(self.last[:, None] + self.slope[:, None] * np.arange(1, self.targets.shape[1] + 1))


def horizon_of(y: np.ndarray) -> int:
    """Steps that labels `(samples, 2 * horizon + 5)` look ahead."""
    return (int(y.shape[1]) - _NUMBERS) // _ROWS


class Horizon(Labels):
    """`Future` of each window; a network's outputs are its scaled targets, in one go."""

    classes = False
    several = True

    def check(self, labels: Mapping[str, np.ndarray], n: int | None, where: str) -> tuple[dict[str, np.ndarray], int]:
        """See `Labels`; float32, and an output for each step."""
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
        return targets, horizon_of(labels["y_train"])

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
