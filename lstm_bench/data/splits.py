"""Stratified splits, and scaling that is fitted on the training split."""

from __future__ import annotations

import numpy as np

from lstm_bench.core.errors import DataError
from lstm_bench.data.arrays import SPLITS, Arrays
from lstm_bench.data.lengths import blank, real


def _count(size: float, n: int) -> int:
    return int(size) if size >= 1 else round(size * n)


def _stratified(y: np.ndarray, n: int, seed: int, what: str, leave: int) -> np.ndarray:
    """Sorted indices of `n` samples, every class in proportion: at least one taken of each and `leave` left behind."""
    classes, counts = np.unique(y, return_counts=True)
    low, high = len(classes), len(y) - leave * len(classes)
    if not low <= n <= high or counts.min() <= leave:
        raise DataError(
            what,
            expected=f"{low} to {high} of {len(y)} samples in {len(classes)} classes of {1 + leave} or more",
            received=n,
            remedy=f"The rarest class has {counts.min()}.",
        )
    share = n * counts / len(y)
    take = np.clip(share.astype(int), 1, counts - leave)
    while missing := n - take.sum():  # by largest remainder; each round mends one sample
        step = int(np.sign(missing))
        free = take < counts - leave if step > 0 else take > 1
        take[np.argmax(np.where(free, step * (share - take), -np.inf))] += step
    rng = np.random.RandomState(seed)  # NumPy froze its stream for good; that of default_rng may change
    picked = [rng.permutation(np.flatnonzero(y == label))[:k] for label, k in zip(classes, take, strict=True)]
    return np.sort(np.concatenate(picked))


def _standardize(arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Mean 0 and deviation 1 of every feature over the training split; the other splits by the same figures, returned."""
    train = real(arrays["x_train"], arrays.get("lengths_train"))
    mean = train.mean(axis=(0, 1), dtype=np.float64)
    variance = np.square(train - mean.astype(np.float32)).mean(axis=(0, 1), dtype=np.float64)
    scale = np.sqrt(variance)
    scale[scale <= 1e-6 * np.abs(mean)] = 1  # a constant feature; its deviation is float32's rounding, or 0
    figures = mean.astype(np.float32), scale.astype(np.float32)
    for split in SPLITS:
        arrays[f"x_{split}"] = blank(standardized(arrays[f"x_{split}"], *figures), arrays.get(f"lengths_{split}"))
    return figures


def scales_differ(x: np.ndarray) -> bool:
    """Whether the deviations of the features, and 1, what networks expect, differ more than tenfold; constants do not count.

    Args:
      x: `(samples, timesteps, features)` without padding, see `lengths.real`.
    """
    deviations = x.std(axis=(0, 1), dtype=np.float64)
    scales = [1.0, *(float(value) for value in deviations if value > 0)]
    return max(scales) > 10 * min(scales)


def standardized(x: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """`(x - mean) / scale` per feature, float32, as a new array."""
    centred = x - mean
    return np.divide(centred, scale, out=centred)
