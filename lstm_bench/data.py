"""`dataset=`: name -> arrays `(samples, timesteps, features)`, checked, split and scaled.

A driver calls `resolve` once: it finds or downloads the data, or falls back with a notice. Workers call `load` with the
configuration that `resolve` returned, which neither searches nor touches the network.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench import download, memory, mnist
from lstm_bench.arrays import SPLITS, Arrays, checked, digest, read_npz
from lstm_bench.errors import ConfigError, DataError, nearest

DIVISOR = {"mnist": 255, "digits": 16, "npz": 1}  # pixels to [0, 1]; a user's arrays are taken as they are
DIGITS_TEST, DIGITS_SEED = 360, 0  # a fifth of the 1,797 digits is the test set, whatever `split_seed` says


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Dataset:
    """Arrays ready to train on: `x_*` float32 `(samples, timesteps, features)`, `y_*` int32 `(samples,)` from 0."""

    name: str  # what was really used: mnist, digits or the stem of the npz file
    x_train: np.ndarray
    y_train: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    n_classes: int  # at least 2
    sha256: str  # of the arrays before they were split and scaled
    source: str  # where they were found, the home folder as ~, or the URL they were just downloaded from
    notice: str | None = None  # why this is not the dataset that was asked for
    divisor: float = 1  # of the source's whole numbers
    mean: np.ndarray | None = None  # float32 (features,), subtracted after the division; None: nothing was standardised
    scale: np.ndarray | None = None  # float32 (features,), divided by after that

    @property
    def input_shape(self) -> tuple[int, int]:
        """`(timesteps, features)`, without the batch axis."""
        return self.x_train.shape[1], self.x_train.shape[2]


@dataclass(frozen=True)
class Found:
    """What `resolve` found: a `dataset` configuration that any worker can load without searching."""

    config: dict[str, Any]
    name: str  # as in `Dataset`
    source: str
    notice: str | None = None


def check(config: Mapping[str, Any]) -> None:
    """Checks ranges and types of the `dataset` settings. Opens nothing.

    Raises:
      ConfigError: if a setting cannot be meant, whatever the data.
    """

    def need(key: str, valid: bool, expected: str) -> None:
        if not valid:
            raise ConfigError(f"dataset.{key}", expected=expected, received=config[key])

    name, seed = config["name"], config["split_seed"]
    if not isinstance(name, str) or name not in DIVISOR:
        raise ConfigError("dataset.name", received=name, remedy=nearest(str(name), DIVISOR))
    size = "a count of at least 1 or a fraction between 0 and 1"
    need("validation_size", _is_size(config["validation_size"]), size)
    need("train_size", config["train_size"] is None or _is_size(config["train_size"]), size + ", or null for all")
    need("validation", config["validation"] in ("split", "test"), "split or test")
    need("split_seed", type(seed) is int and 0 <= seed < 2**32, "an integer from 0 to 2**32 - 1")
    need("standardize", isinstance(config["standardize"], bool), "true or false")
    for key, owner in (("dir", "mnist"), ("path", "npz"), ("fallback", "mnist")):
        need(key, name == owner or config[key] is None, f"null, because only dataset={owner} has it")
    need("dir", config["dir"] is None or _is_text(config["dir"]), "a folder, or null to search")
    need("path", name != "npz" or _is_text(config["path"]), "the path of an .npz file")
    need("fallback", config["fallback"] in (None, "digits"), "digits or null")


def _is_size(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value < 1 or (value >= 1 and float(value).is_integer())


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() not in ("", "???")


def resolve(config: Mapping[str, Any]) -> Found:
    """Finds the data, downloading MNIST if need be. Contents are verified by `load`, except for a download's.

    Args:
      config: The `dataset` settings.

    Returns:
      What was found: with an absolute `dir` or `path`, or the settings of `digits` and a notice.

    Raises:
      ConfigError: if a setting cannot be meant.
      DataError: if there is nothing, or only a part of it, and no fallback.
      StorageError: if a download cannot be stored.
    """
    check(config)
    if config["name"] == "digits":
        return Found(dict(config), "digits", "scikit-learn load_digits")
    if config["name"] == "npz":
        path = _absolute(config["path"])
        if not os.path.isfile(path):  # noqa: PTH113 (in a folder that may not be entered, Path.is_file raises)
            raise DataError(f"{path}: no such file", remedy="Give an existing one: dataset.path=FILE.npz")
        return Found({**config, "path": str(path)}, path.stem, _short(path))
    if config["dir"] is not None:
        folder = _absolute(config["dir"])
        if not mnist.is_in(folder, partial=folder == _cache()):
            raise DataError(
                f"dataset.dir={folder}: MNIST is not there",
                expected="mnist.npz or " + " ".join(f"{name}[.gz]" for name in mnist.SHA256),
                remedy="Correct dataset.dir, or leave it out to search and download.",
            )
        return Found({**config, "dir": str(folder)}, "mnist", _short(folder))

    cache = _cache()
    folders = [cache, Path.home() / ".keras" / "datasets"]
    if root := os.environ.get("LSTM_BENCH_DATA"):
        folders.insert(0, _absolute(root) / "mnist")
    for folder in folders:
        if mnist.is_in(folder, partial=folder == cache):
            return Found({**config, "dir": str(folder)}, "mnist", _short(folder))
    try:
        url = download.complete(cache)
    except download.UnreachableError as error:
        missing = f"MNIST was neither found in {', '.join(map(_short, folders))} nor could it be downloaded ({error})"
        if config["fallback"] is None:
            remedy = "Say dataset.dir=FOLDER of its four IDX files, or allow dataset.fallback=digits."
            raise DataError(missing, remedy=remedy) from error
        return _fall_back(config, missing)
    return Found({**config, "dir": str(cache)}, "mnist", url)


def _fall_back(config: Mapping[str, Any], missing: str) -> Found:
    """The settings of `digits`, with the sizes that were asked for where so small a set allows them."""
    asked, default = (config["train_size"], config["validation_size"]), (None, 0.1)
    candidates = dict.fromkeys((asked, (asked[0], default[1]), (default[0], asked[1]), default))
    for train_size, validation_size in candidates:
        sizes = {"train_size": train_size, "validation_size": validation_size}
        digits = {**config, "name": "digits", "dir": None, "path": None, "fallback": None, **sizes}
        with contextlib.suppress(DataError):
            load(digits)
            break
    changed = [f"{key} {value} instead of {config[key]}" for key, value in sizes.items() if value != config[key]]
    notice = f"{missing}: using scikit-learn's 8x8 digits instead, and everything produced is named after them"
    notice += f" ({', '.join(changed)})" if changed else ""
    return Found(digits, "digits", "scikit-learn load_digits", notice + ".")


def load(config: Mapping[str, Any]) -> Dataset:
    """Arrays of a dataset, verified, split and scaled.

    Args:
      config: The `dataset` settings, best those that `resolve` returned.

    Returns:
      The `Dataset`. Samples keep the order of their source within each split. The training and validation splits are
      stratified and depend on `split_seed` and the labels alone.

    Raises:
      ConfigError: if a setting cannot be meant.
      DataError: if the data is missing, corrupt, foreign or unfit, or too small for the sizes asked for.
      StorageError: if a download cannot be stored.
    """
    found = resolve(config)
    config = found.config
    arrays, n_classes, sha256 = _read(config)
    size, seed, y = config["validation_size"], config["split_seed"], arrays["y_train"]
    rows: dict[str, Any] = {}
    train = np.arange(len(y))
    if config["validation"] == "test":
        n_test = len(arrays["y_test"])
        if not 1 <= (n := _count(size, n_test)) <= n_test:
            raise DataError("dataset.validation_size", expected=f"1 to {n_test} of the test samples", received=n)
        for axis in "xy":
            arrays[f"{axis}_validation"] = arrays[f"{axis}_test"][:n]
    elif "x_validation" not in arrays:
        rows["validation"] = _stratified(y, _count(size, len(y)), seed, "dataset.validation_size", leave=1)
        train = np.setdiff1d(train, rows["validation"])
    if config["train_size"] is not None:
        n = _count(config["train_size"], len(train))
        train = train[_stratified(y[train], n, seed, "dataset.train_size", leave=0)]
    if len(train) < len(y):
        rows["train"] = train
    for split, index in rows.items():  # validation first: it is cut out of what the training rows then replace
        for axis in "xy":
            arrays[f"{axis}_{split}"] = arrays[f"{axis}_train"][index]
    for split in SPLITS:  # scaled after the split: bytes are cheaper to copy than floats
        arrays[f"x_{split}"] = np.divide(arrays[f"x_{split}"], DIVISOR[config["name"]], dtype=np.float32)
    mean, scale = _standardize(arrays) if config["standardize"] else (None, None)
    return Dataset(
        found.name,
        **arrays,
        n_classes=n_classes,
        sha256=sha256,
        source=found.source,
        notice=found.notice,
        divisor=DIVISOR[config["name"]],
        mean=mean,
        scale=scale,
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
    mean = arrays["x_train"].mean(axis=(0, 1), dtype=np.float64)
    variance = np.square(arrays["x_train"] - mean.astype(np.float32)).mean(axis=(0, 1), dtype=np.float64)
    scale = np.sqrt(variance)
    scale[scale <= 1e-6 * np.abs(mean)] = 1  # a constant feature; its deviation is float32's rounding, or 0
    figures = mean.astype(np.float32), scale.astype(np.float32)
    for split in SPLITS:
        arrays[f"x_{split}"] = standardized(arrays[f"x_{split}"], *figures)
    return figures


def standardized(x: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """`(x - mean) / scale` per feature, float32, as a new array."""
    centred = x - mean
    return np.divide(centred, scale, out=centred)


def _read(config: Mapping[str, Any]) -> tuple[Arrays, int, str]:
    """Arrays as their source has them, the number of classes and the digest of all."""
    if config["name"] == "digits":
        return _digits()
    if config["name"] == "mnist":
        folder = Path(config["dir"])
        return *checked(mnist.read(folder), 10, folder), mnist.digest()
    path = Path(config["path"])
    raw = read_npz(path, [f"{axis}_{split}" for split in SPLITS for axis in "xy"])
    return *checked(raw, None, path), digest(raw)


def _digits() -> tuple[Arrays, int, str]:
    from sklearn.datasets import load_digits  # lazily: it takes a second, and MNIST needs none of it

    digits = load_digits()
    x, y = digits.images.astype(np.uint8), digits.target.astype(np.int32)
    test = _stratified(y, DIGITS_TEST, DIGITS_SEED, "digits", leave=1)
    train = np.setdiff1d(np.arange(len(y)), test)
    arrays = {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
    return arrays, 10, digest({"x": x, "y": y})


def _absolute(path: str) -> Path:
    with contextlib.suppress(RuntimeError):  # ~nobody: taken literally, and not found
        return Path(path).expanduser().absolute()
    return Path(path).absolute()


def _cache() -> Path:
    return _absolute(str(memory.folder())) / "mnist"


def _short(path: Path) -> str:
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)
