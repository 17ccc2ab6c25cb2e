"""What each dataset's files hold, as arrays."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from lstm_bench.core import schema
from lstm_bench.core.errors import ConfigError
from lstm_bench.core.schema import settled
from lstm_bench.data import images as mnist
from lstm_bench.data import synthetic
from lstm_bench.data.arrays import SPLITS, Arrays, checked, digest
from lstm_bench.data.npz import read_npz
from lstm_bench.data.splits import _stratified
from lstm_bench.data.task import CLASSIFICATION, Task, of, of_labels

# Pixels to [0, 1]; a user's arrays and generated ones are taken as they are.
DIVISOR = {
    **{
        "mnist": 255,
        "digits": 16,
        "npz": 1,
        "file": 1,
        "languages": 1,
        "smnist": 255,
        "psmnist": 255,
        "fashion_mnist": 255,
        "kmnist": 255,
    },
    **dict.fromkeys(synthetic.MAKERS, 1),
}
IMAGES = {"smnist": "mnist", "psmnist": "mnist"} | {name: name for name in mnist.TITLES}  # the files that each reads
LENGTHS = {784: 1, 196: 2, 49: 4}  # of smnist -> side of the squares of pixels that are averaged
DIGITS_TEST, DIGITS_SEED = 360, 0  # a fifth of the 1,797 digits is the test set, whatever `split_seed` says


def known_task(config: schema.Dataset) -> Task | None:
    """What a dataset asks for; None where the labels of a file say it.

    Raises:
      ConfigError: for a `dataset.task` that there is not, or that is of series.
    """
    if config.get("task") is not None:
        asked = of(settled(config["task"]))
        if asked.cutter and config["name"] != "file":
            remedy = "Give dataset=file and a table with a row per time step, or a .tsf file."
            raise ConfigError(f"dataset.task={asked.name}: dataset={config['name']} holds no series", remedy=remedy)
        return asked
    return None if config["name"] in ("npz", "file") else synthetic.TASKS.get(config["name"], CLASSIFICATION)


def _read(config: schema.Dataset) -> tuple[Arrays, int, str]:
    """Arrays as their source has them, the number of outputs and the digest of all."""
    name = config["name"]
    if name == "digits":
        return _digits()
    if name in synthetic.MAKERS:
        train, validation, test = settled(config["train_size"]), config["validation_size"], settled(config["test_size"])
        sizes = int(train), int(validation), int(test)
        arrays = synthetic.drawn(name, settled(config["length"]), sizes, config["split_seed"])
        return arrays, synthetic.OUTPUTS[name], digest(arrays)
    if name in IMAGES:
        folder = Path(settled(config["dir"]))
        arrays, n_classes = checked(mnist.read(folder, IMAGES[name]), CLASSIFICATION, 10, folder)
        sha256 = mnist.digest(IMAGES[name])
        if name in ("smnist", "psmnist"):
            sha256 = hashlib.sha256(
                f"{sha256} {config['length']} {config.get('permutation_seed')}".encode()
            ).hexdigest()
            for split in ("train", "test"):
                arrays[f"x_{split}"] = _pixels(arrays[f"x_{split}"], config)
        return arrays, n_classes, sha256
    path = Path(settled(config["path"]))
    raw = read_npz(path, [f"{axis}_{split}" for split in SPLITS for axis in "xy"])
    task = known_task(config) or of_labels(raw["y_train"])
    return *checked(raw, task, None, path), digest(raw)


def _pixels(images: np.ndarray, config: schema.Dataset) -> np.ndarray:
    """Images `(samples, 28, 28)` as sequences `(samples, length, 1)`, row by row or permuted; squares of pixels averaged."""
    n, length = len(images), settled(config["length"])
    side = LENGTHS[length]
    if side > 1:
        squares = images.reshape(n, 28 // side, side, 28 // side, side)
        images = squares.mean(axis=(2, 4), dtype=np.float32)
    x = images.reshape(n, length, 1)
    if config["name"] == "psmnist":
        x = x[:, np.random.RandomState(config["permutation_seed"]).permutation(length)]
    return x


def _digits() -> tuple[Arrays, int, str]:
    from sklearn.datasets import load_digits  # lazily: it takes a second, and MNIST needs none of it

    digits = load_digits()
    x, y = digits.images.astype(np.uint8), digits.target.astype(np.int32)
    test = _stratified(y, DIGITS_TEST, DIGITS_SEED, "digits", leave=1)
    train = np.setdiff1d(np.arange(len(y)), test)
    arrays = {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
    return arrays, 10, digest({"x": x, "y": y})
