"""Stratified splits, and scaling that is fitted on the training split."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, NotRequired

import numpy as np

from lstm_bench.core import schema
from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.core.schema import settled
from lstm_bench.data.arrays import SPLITS, Arrays
from lstm_bench.data.lengths import blank, real

_BLOCK = 16_384  # rows


class Drawn(schema.Dataset):
    """Group `dataset` as one training of several is given it. No user writes what is added."""

    redraw: NotRequired[int]  # of `dataset.resplit`: the seed of a confirmation
    fold: NotRequired[int | str]  # of `dataset.folds`: `for_fold`


def for_seed(config: schema.Dataset, seed: int) -> schema.Dataset:
    """The `dataset` settings of a seed of a confirmation: of `dataset.resplit` those of a draw of its own, `redraw`."""
    drawn: Drawn = {**config, "redraw": seed}
    return drawn if config.get("resplit") else config.copy()


ALL = "all"  # the fold of a training that leaves none out


def for_fold(config: schema.Dataset, fold: int | str) -> schema.Dataset:
    """The `dataset` settings of a training of `dataset.folds`.

    Args:
      config: The settings.
      fold: Which one is validated on, from 0; `ALL`: every training sequence is trained on and validated on.
    """
    drawn: Drawn = {**config, "fold": fold}
    return drawn


def check_folds(config: schema.Dataset) -> None:
    """Raises ConfigError for a `dataset.folds` beside what says otherwise where validation data come from."""
    if config.get("folds") is None:
        return
    others = {"validation": "split", "resplit": False, "split": "auto", "train_size": None}
    why = {
        "validation": "the validation data are some of the test set",
        "resplit": "each seed validates on every training sequence as it is",
        "split": "a fold would be validated on what came before its training data",
        "train_size": "of a file every training sequence is validated on",
    }
    bad = {
        "validation": config["validation"] == "test",
        "resplit": bool(config.get("resplit")),
        "split": config.get("split") == "time",
        "train_size": config["name"] == "file" and config.get("train_size") is not None,
    }
    values: Mapping[str, Any] = config
    for key in others:
        if bad[key]:
            raise ConfigError(
                f"dataset.folds={config['folds']} and dataset.{key}={values[key]}: {why[key]}",
                remedy=f"Leave one of the two out: dataset.folds=null or dataset.{key}={_written(others[key])}.",
            )


def _written(value: Any) -> str:
    return "null" if value is None else str(value).lower()


def nothing_to_fold(why: str) -> ConfigError:
    """What is raised where validation data are given, or lie in another time."""
    return ConfigError(f"dataset.folds: {why}", remedy="Leave dataset.folds out.")


def fold_rows(
    config: schema.Dataset, y: np.ndarray | None, groups: np.ndarray | None, n: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Places, sorted, of what a training of `dataset.folds` is validated and trained on.

    Args:
      config: The `dataset` settings, perhaps `for_fold`; else those of the first fold.
      y: Classes of the training sequences, to stratify by; None for none.
      groups: What must not be on both sides; None for nothing.
      n: Training sequences.
      seed: Of the draw.

    Raises:
      DataError: when there are too few sequences, or of a class, or too few groups.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    folds, fold = settled(config.get("folds")), typing.cast(Drawn, config).get("fold", 0)
    _require_folds(folds, np.arange(n) if groups is None else groups, "sequences" if groups is None else "groups")
    if groups is None and y is not None:
        _require_classes(folds, y)
    split: Any = KFold if groups is None else GroupKFold
    if y is not None:
        split = StratifiedKFold if groups is None else StratifiedGroupKFold
    parts = split(folds, shuffle=True, random_state=seed).split(np.zeros(n), y, groups)
    held_out = [np.sort(held) for _, held in parts]
    if fold == ALL:
        return np.arange(n), np.arange(n)
    return held_out[int(fold)], np.setdiff1d(np.arange(n), held_out[int(fold)])


def _require_folds(folds: int, of: np.ndarray, what: str) -> None:
    n = len(np.unique(of))
    if n < folds:
        raise DataError(f"dataset.folds={folds}", expected=f"at least {folds} {what} to train on", received=n)


def _require_classes(folds: int, y: np.ndarray) -> None:
    names, counts = np.unique(y, return_counts=True)
    if counts.min() < folds:
        few = ", ".join(f"{name} {n}" for name, n in zip(names, counts, strict=True) if n < folds)
        raise DataError(
            f"dataset.folds={folds}: classes with too few training sequences to be in each fold",
            expected=f"at least {folds} of a class",
            received=few[:100],
            remedy="Give fewer folds, or join such a class with another.",
        )


def training_seed(config: schema.Dataset) -> int:
    """What the training and validation splits are drawn by: `split_seed`, or what it and the seed of a confirmation make.

    The test set knows `split_seed` alone.
    """
    seed: int = config["split_seed"]
    redraw = typing.cast(Drawn, config).get("redraw")
    return seed if redraw is None else int(np.random.SeedSequence([seed, redraw]).generate_state(1)[0])


def check_resplit(config: schema.Dataset) -> None:
    """Raises ConfigError for a `dataset.resplit` that cannot be meant, before anything is read."""
    asked = config.get("resplit")
    if asked is None or isinstance(asked, bool):
        if asked and config["validation"] == "test":
            raise nothing_to_redraw("dataset.validation=test")
        return
    if asked in ("test", "all"):
        raise ConfigError(
            f"dataset.resplit={asked}: the test set stays that of the search, for redrawing it would leak: what was trained "
            "and picked on would be tested on",
            remedy="Say dataset.resplit=true: each seed draws its training and validation data anew.",
        )
    raise ConfigError("dataset.resplit", expected="true or false", received=asked)


def nothing_to_redraw(why: str) -> ConfigError:
    """What is raised where there is no draw to be made anew."""
    return ConfigError(
        f"dataset.resplit=true: {why}: there is nothing to draw anew", remedy="Leave dataset.resplit out."
    )


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
    scales = [1.0, *(float(value) for value in moments(x)[1] if value > 0)]
    return max(scales) > 10 * min(scales)


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every feature of `(samples, timesteps, features)`, in float64 and in blocks that fit a cache."""
    rows = x.reshape(-1, x.shape[-1])
    parts = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    ones = np.ones(_BLOCK)  # a product of matrices adds a narrow array up faster than `sum` does
    mean = sum((ones[: len(part)] @ part.astype(np.float64) for part in parts), np.zeros(rows.shape[1])) / len(rows)
    squares = sum((ones[: len(part)] @ np.square(part - mean) for part in parts), np.zeros(rows.shape[1]))
    return mean, np.sqrt(squares / len(rows))


def standardized(x: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """`(x - mean) / scale` per feature, float32, as a new array."""
    centred = x - mean
    return np.divide(centred, scale, out=centred)
