"""Missing values, `dataset.missing`: refused, or filled from what the training split says alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_bench.core.errors import DataError
from lstm_bench.data.arrays import Arrays
from lstm_bench.data.lengths import blank, real
from lstm_bench.data.sequences import names_of

FILLED = "missing values are filled"
WAYS = ("refuse", "forward_fill", "mean", "mask")


@dataclass(frozen=True)
class Filling:
    """How missing values were filled, so that new sequences are filled alike.

    Attributes:
      way: forward_fill, mean or mask.
      means: Of every feature over the training split.
      observed: Features that have a channel of their own, behind all, that is 1 where a value was there; of `mask` alone.
    """

    way: str
    means: tuple[float, ...]
    observed: tuple[int, ...] = ()

    def described(self) -> dict[str, Any]:
        """For `input.json`."""
        return {"way": self.way, "means": list(self.means), "observed": list(self.observed)}

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Filling:
        """From `input.json`."""
        return cls(about["way"], tuple(about["means"]), tuple(about["observed"]))

    def apply(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """`(samples, timesteps, features)` without a missing value, with the observed channels; padding stays 0."""
        gaps = np.isnan(x)
        if self.way == "forward_fill":
            x = _forward(x, gaps)
        filled = np.where(np.isnan(x), np.asarray(self.means, np.float32), x)
        if self.observed:
            seen = blank((~gaps[..., list(self.observed)]).astype(np.float32), lengths)
            filled = np.concatenate([filled, seen], axis=-1)
        return np.ascontiguousarray(filled, np.float32)


def _forward(x: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Each gap takes the last value before it in its sequence; one at the beginning stays."""
    steps = np.where(gaps, 0, np.arange(x.shape[1])[None, :, None])
    np.maximum.accumulate(steps, axis=1, out=steps)
    return np.take_along_axis(x, steps, axis=1)


def _inputs(arrays: Arrays) -> Arrays:
    return {key: x for key, x in arrays.items() if key.startswith("x_") and x.dtype.kind == "f"}


def gaps(arrays: Arrays) -> np.ndarray:
    """How many values of each feature are missing in `x_*` of all splits, `(features,)`."""
    n_features = arrays["x_train"].shape[-1]
    # The least of all is NaN where one of them is: that is known in a twentieth of the time of counting them.
    holes = (x for x in _inputs(arrays).values() if x.size and np.isnan(x.min()))
    return sum((np.isnan(x).sum(axis=(0, 1)) for x in holes), np.zeros(n_features, np.int64))


def fill(arrays: Arrays, way: str, features: Sequence[str], where: str) -> Filling | None:
    """Fills `x_*` in place of what they were; None where nothing is missing.

    Args:
      arrays: `x_train` and those of the other splits, float; `lengths_train` and so on where there are such.
      way: One of `WAYS`.
      features: Names, or ().
      where: The file, for messages.

    Raises:
      DataError: of `refuse`, with counts per column; for a column without any value.
    """
    counts = gaps(arrays)
    if not counts.any():
        return None
    xs = _inputs(arrays)
    names = names_of(features, len(counts))
    of = {key: arrays.get(f"lengths_{key[2:]}") for key in xs}
    total = sum(real(x[..., 0], of[key]).size for key, x in xs.items())
    train = real(arrays["x_train"], of["x_train"])
    empty = [
        name for name, gone in zip(names, np.asarray(np.isnan(train).all(axis=(0, 1))).tolist(), strict=True) if gone
    ]
    if empty:
        raise DataError(
            f"{where}: column {empty[0]} holds no value in the training split",
            expected="some",
            remedy="Leave it out by dataset.features=[...].",
        )
    if way == "refuse":
        told = ", ".join(f"{name} {n:,}" for name, n in zip(names, counts.tolist(), strict=True) if n)
        raise DataError(
            f"{where}: values are missing",
            expected=f"a number in each of {total:,} rows",
            received=told[:300],
            remedy="Say how to fill them: dataset.missing=forward_fill (the last value before), mean (of the training split), or "
            "mask (mean, and a channel that says what was there).",
        )
    means = np.asarray(np.nanmean(train, axis=(0, 1), dtype=np.float64))
    observed = tuple(int(i) for i in np.flatnonzero(counts)) if way == "mask" else ()
    filling = Filling(way, tuple(means.tolist()), observed)
    for key, x in xs.items():
        arrays[key] = filling.apply(x, of[key])
    return filling
