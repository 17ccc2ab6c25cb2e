"""`dataset=`: name -> arrays `(samples, timesteps, features)`, checked, split and scaled.

A driver calls `resolve` once: it finds or downloads the data, or falls back with a notice. Workers call `load` with the
configuration that `resolve` returned, which neither searches nor touches the network.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench.core import home, schema
from lstm_bench.core.cache import cache_folder
from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.core.schema import settled
from lstm_bench.data import cutter, download, file_dataset, images, languages, lengths, settings, synthetic
from lstm_bench.data.arrays import SPLITS, Arrays
from lstm_bench.data.formats.source import Source, is_packaged
from lstm_bench.data.readers import DIVISOR, IMAGES, _read, known_task
from lstm_bench.data.splits import (
    _count,
    _standardize,
    _stratified,
    fold_rows,
    nothing_to_fold,
    nothing_to_redraw,
    scales_differ,
    training_seed,
)
from lstm_bench.data.task import CLASSIFICATION, Task, of, of_labels
from lstm_bench.data.tokens import Vocabulary


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Dataset:
    """Arrays ready to train on: `x_*` float32 `(samples, timesteps, features)`, or ids of texts; `y_*` as the task has them.

    | task             | `y_*`                                 | loss                                             |
    |------------------|---------------------------------------|--------------------------------------------------|
    | `classification` | int32 `(samples,)` from 0             | cross-entropy, mean over samples                 |
    | `tagging`        | int32 `(samples, timesteps)` from 0   | cross-entropy, mean over samples and timesteps   |
    | `regression`     | float32 `(samples,)`                  | mean squared error                               |
    | `multilabel`     | int32 `(samples, labels)` of 0 and 1  | cross-entropy, mean over samples and labels      |
    | `forecasting`    | float32 `(samples, 2 * horizon + 5)`  | mean squared error over samples and steps        |
    |                  | with quantiles three columns more     | pinball loss, mean over samples, steps and those |
    """

    name: str  # what was really used: the name of the settings, or the stem of the npz file
    x_train: np.ndarray
    y_train: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    n_classes: int  # outputs of a network, per timestep if so: at least 2 classes, or 1 number
    sha256: str  # of the arrays before they were split and scaled
    source: str  # where they were found, the home folder as ~, or the URL they were just downloaded from
    notice: str | None = None  # why this is not the dataset that was asked for
    task: str = CLASSIFICATION.name
    baselines: dict[str, float] = field(default_factory=dict)  # trivial predictor -> its loss
    divisor: float = 1  # of the source's whole numbers
    mean: np.ndarray | None = None  # float32 (features,), subtracted after the division; None: nothing was standardised
    scale: np.ndarray | None = None  # float32 (features,), divided by after that
    classes: tuple[str, ...] | None = None  # names of the classes, or of several labels per sample; None: their numbers
    reading: dict[str, Any] | None = None  # of a file: how new ones are read alike, see `file_dataset.FileData`
    notes: tuple[str, ...] = ()  # of a file: what was understood or left out, a sentence each
    about: dict[str, Any] | None = None  # of a file: what `warning` judges by, see `file_dataset.FileData`
    target: tuple[float, float] | None = (
        None  # mean and deviation that a network's last layer gives its outputs; None: none
    )
    # True timesteps of each sequence, int32 `(samples,)`, from 1 to T; what follows in `x_*`, and in labels per timestep, is 0
    # and counts nowhere. None for all three where every sequence has T of them.
    lengths_train: np.ndarray | None = None
    lengths_validation: np.ndarray | None = None
    lengths_test: np.ndarray | None = None
    # Of texts: what the ids from 2 in `x_*` stand for. These are int32 `(samples, tokens)` then, and 0 is padding.
    tokens: tuple[str, ...] | None = None

    @property
    def vocabulary(self) -> Vocabulary | None:
        """Of texts."""
        if self.tokens is None or self.reading is None:
            return None
        return Vocabulary(self.reading["vocabulary"]["kind"], self.tokens)

    @property
    def kind(self) -> Task:
        """What is asked of a network."""
        return of(self.task)

    @property
    def per_timestep(self) -> bool:
        """Whether a network has an output for every timestep."""
        return self.kind.per_timestep

    @property
    def input_shape(self) -> tuple[int, int]:
        """`(timesteps, features)`, without the batch axis; of texts `(tokens, ids that there are)`."""
        return self.x_train.shape[1], self.x_train.shape[2] if self.tokens is None else 2 + len(self.tokens)

    def lengths(self, split: str) -> np.ndarray | None:
        """`lengths_<split>`."""
        found: np.ndarray | None = getattr(self, f"lengths_{split}")
        return found

    def label_mask(self, split: str) -> np.ndarray | None:
        """Which labels of a split count, as `y_<split>`: of a label per timestep those of true timesteps; None for all."""
        of = self.lengths(split)
        return lengths.mask(of, self.x_train.shape[1]) if of is not None and self.per_timestep else None

    def labels(self, split: str) -> np.ndarray:
        """`y_<split>`; where some of them are padding those that count, in a row `(labels,)`."""
        y, counts = getattr(self, f"y_{split}"), self.label_mask(split)
        return np.asarray(y if counts is None else y[counts])

    def length_facts(self) -> dict[str, Any]:
        """What a record says of lengths: `min`, `median`, `max`, share of `padding`, and how many were `cut` and `dropped`.

        {} where all sequences have one length, and none was changed for it.
        """
        changed = (self.about or {}).get("changed", {})
        if self.lengths_train is None and not changed:
            return {}
        timesteps = self.input_shape[0]
        sizes = {split: len(getattr(self, f"y_{split}")) for split in SPLITS}
        every = {split: self.lengths(split) for split in SPLITS}
        whole = [np.full(sizes[split], timesteps) if of is None else of for split, of in every.items()]
        return {
            **lengths.facts(np.concatenate(whole), timesteps),
            **{name: changed.get(name, 0) for name in ("cut", "dropped")},
        }


@dataclass(frozen=True)
class Found:
    """What `resolve` found: a `dataset` configuration that any worker can load without searching."""

    config: schema.Dataset
    name: str  # as in `Dataset`
    source: str
    notice: str | None = None


def find(config: schema.Dataset) -> Found | None:
    """Finds the data on this machine; None where it would have to be downloaded. Contents are verified by `load`.

    Args:
      config: The `dataset` settings.

    Raises:
      ConfigError: if a setting cannot be meant.
      DataError: if the file or folder that was named is not there, or there is only a part of the data.
    """
    settings.check(config)
    if config["name"] == "digits":
        return Found(config.copy(), "digits", "scikit-learn load_digits")
    name = config["name"]
    if name in synthetic.MAKERS:
        return Found(config.copy(), name, f"generated, seed {config['split_seed']}")
    if name == "npz":
        path = _absolute(settled(config["path"]))
        if not os.path.isfile(path):  # noqa: PTH113 (in a folder that may not be entered, Path.is_file raises)
            raise DataError(f"{path}: no such file", remedy="Give an existing one: dataset.path=FILE.npz")
        return Found({**config, "path": str(path)}, path.stem, _short(path))
    if name == "file":
        return _find_file(config)
    if name == "languages":
        folder = languages.find(config["path"])
        source = f"Django {languages.version(folder)}"
        if config["path"] is None:  # a worker finds it as well, on whatever machine
            return Found(config.copy(), name, source)
        return Found({**config, "path": str(folder)}, name, f"{source}, {_short(folder)}")
    of = IMAGES[name]
    cache, title = _cache(of), images.TITLES[of]
    if config["dir"] is not None:
        folder = _absolute(config["dir"])
        if not images.is_in(folder, of, partial=folder == cache):
            spelt = "mnist.npz or " + " ".join(f"{file}[.gz]" for file in images.SHA256)
            raise DataError(
                f"dataset.dir={folder}: {title} is not there",
                expected=spelt if of == "mnist" else " ".join(f"{file}.gz" for file in images.SHA256),
                remedy="Correct dataset.dir, or leave it out to search and download.",
            )
        return Found({**config, "dir": str(folder)}, name, _short(folder))
    for folder in folders(of):
        if images.is_in(folder, of, partial=folder == cache):
            return Found({**config, "dir": str(folder)}, name, _short(folder))
    return None


def _find_file(config: schema.Dataset) -> Found:
    made = config.copy()
    for key, source in file_dataset.sources(config).items():
        source.require()
        if is_packaged(settled(config[key])):  # which lies elsewhere on another machine
            continue
        path = source.path.absolute()
        made[key] = f"{path}!{source.member}" if source.member else str(path)
    file = settled(made["path"])
    stem = Source.parse(file).stem
    name = config.get("title") or re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "file"
    return Found(made, name[:100], file if is_packaged(file) else _short(Path(file)))


def folders(of: str) -> list[Path]:
    """Where images are looked for, in order: `$LSTM_BENCH_DATA`, the user's cache, and for MNIST Keras's own."""
    own = home.folder()
    places = [_cache(of), *([own / ".keras" / "datasets"] if own and of == "mnist" else [])]
    if root := os.environ.get("LSTM_BENCH_DATA"):
        places.insert(0, _absolute(root) / of)
    return places


def resolve(config: schema.Dataset) -> Found:
    """Finds the data, downloading images if need be. Contents are verified by `load`, except for a download's.

    Args:
      config: The `dataset` settings.

    Returns:
      What was found: with an absolute `dir` or `path`, or the settings of `digits` and a notice.

    Raises:
      ConfigError: if a setting cannot be meant.
      DataError: if there is nothing, or only a part of it, and no fallback.
      StorageError: if a download cannot be stored.
    """
    if here := find(config):
        return here
    name, of = config["name"], IMAGES[config["name"]]
    cache, title = _cache(of), images.TITLES[of]
    try:
        url = download.complete(cache, of)
    except download.UnreachableError as error:
        searched = ", ".join(map(_short, folders(of)))
        missing = f"{title} was neither found in {searched} nor could it be downloaded ({error})"
        if config["fallback"] is None:
            remedy = "Say dataset.dir=FOLDER of its four IDX files"
            remedy += ", or allow dataset.fallback=digits." if name == "mnist" else "."
            raise DataError(missing, remedy=remedy) from error
        return _fall_back(config, missing)
    return Found({**config, "dir": str(cache)}, name, url)


def _fall_back(config: schema.Dataset, missing: str) -> Found:
    """The settings of `digits`, with the sizes that were asked for where so small a set allows them."""
    asked, default = (config["train_size"], config["validation_size"]), (None, 0.1)
    candidates = dict.fromkeys((asked, (asked[0], default[1]), (default[0], asked[1]), default))
    for train_size, validation_size in candidates:
        digits = config.copy()
        digits.update({"name": "digits", "dir": None, "path": None, "fallback": None})
        digits.update({"train_size": train_size, "validation_size": validation_size})
        with contextlib.suppress(DataError):
            load(digits)
            break
    sizes = (("train_size", asked[0], train_size), ("validation_size", asked[1], validation_size))
    changed = [f"{key} {size} instead of {wanted}" for key, wanted, size in sizes if size != wanted]
    notice = f"{missing}: using scikit-learn's 8x8 digits instead, and everything produced is named after them"
    notice += f" ({', '.join(changed)})" if changed else ""
    return Found(digits, "digits", "scikit-learn load_digits", notice + ".")


def load(config: schema.Dataset) -> Dataset:
    """Arrays of a dataset, verified, split and scaled.

    Args:
      config: The `dataset` settings, best those that `resolve` returned.

    Returns:
      The `Dataset`. Samples keep the order of their source within each split. The training and validation splits of what was
      read are stratified and depend on `split_seed` and the labels alone; of other labels than one class per sample, on the
      number of samples instead.

    Raises:
      ConfigError: if a setting cannot be meant.
      DataError: if the data is missing, corrupt, foreign or unfit, or too small for the sizes asked for.
      StorageError: if a download cannot be stored.
    """
    found = resolve(config)
    config = found.config
    own = cutter.load(config) if config["name"] in ("file", "languages") else None
    arrays, n_classes, sha256 = (own.arrays, own.n_classes, own.sha256) if own else _read(config)
    task = own.task if own else known_task(config) or of_labels(arrays["y_train"])
    size, seed, y = config["validation_size"], training_seed(config), arrays["y_train"]
    if config.get("resplit") and not own and "x_validation" in arrays:
        raise nothing_to_redraw(f"{found.source} has validation data of its own")
    if config.get("folds") and not own and "x_validation" in arrays:
        raise nothing_to_fold(f"{found.source} has validation data of its own")
    if not task.has_classes:
        y = np.zeros(len(y), np.int32)  # nothing to stratify by
    generated = config["name"] in synthetic.MAKERS
    rows: dict[str, Any] = {}
    train = np.arange(len(y))
    cut = config["train_size"] if not generated else None
    if config["validation"] == "test" and not own:
        n_test = len(arrays["y_test"])
        if not 1 <= (n := _count(size, n_test)) <= n_test:
            raise DataError("dataset.validation_size", expected=f"1 to {n_test} of the test samples", received=n)
        for axis in "xy":
            arrays[f"{axis}_validation"] = arrays[f"{axis}_test"][:n]
    elif config.get("folds") and not own:
        if cut is not None:
            train = _stratified(y, _count(cut, len(y)), seed, "dataset.train_size", leave=0)
        held, left = fold_rows(config, y[train] if task.has_classes else None, None, len(train), seed)
        rows["validation"], train, cut = train[held], train[left], None
    elif "x_validation" not in arrays:
        rows["validation"] = _stratified(y, _count(size, len(y)), seed, "dataset.validation_size", leave=1)
        train = np.setdiff1d(train, rows["validation"])
    if cut is not None:
        n = _count(cut, len(train))
        train = train[_stratified(y[train], n, seed, "dataset.train_size", leave=0)]
    if len(train) < len(y):
        rows["train"] = train
    for split, index in rows.items():  # validation first: it is cut out of what the training rows then replace
        for name in ("x", "y", "lengths"):
            if f"{name}_train" in arrays:
                arrays[f"{name}_{split}"] = arrays[f"{name}_train"][index]
    if not config.get("resplit") and not config.get("folds"):  # whose seeds or folds are trained on one shape
        _trim(arrays, task)
    tokens = own.tokens if own else None
    for split in SPLITS if tokens is None else ():  # scaled after the split: bytes are cheaper to copy than floats
        arrays[f"x_{split}"] = np.divide(arrays[f"x_{split}"], DIVISOR[config["name"]], dtype=np.float32)
    notes = list(own.notes) if own else []
    standardize = config["standardize"] if tokens is None else False
    real = lengths.real(arrays["x_train"], arrays.get("lengths_train"))
    if standardize == "auto" and (standardize := scales_differ(real)):
        notes.append("scales differ more than tenfold: every feature is standardised by the training split")
    mean, scale = _standardize(arrays) if standardize else (None, None)
    target = _target_scale(config, task, arrays["y_train"])
    if own and target:
        notes.append(f"targets are standardised inside: mean {target[0]:.4g}, deviation {target[1]:.4g} in training")
    if generated:
        baselines = synthetic.baselines(config["name"], settled(config["length"]))
    else:
        counted = [
            y if of is None or not task.per_timestep else lengths.real(y, of)[0]
            for y, of in ((arrays[f"y_{split}"], arrays.get(f"lengths_{split}")) for split in ("train", "test"))
        ]
        baselines = task.baselines(*counted)
    made: dict[str, Any] = {**arrays, "task": task.name, "baselines": baselines, "notice": found.notice}
    made |= {"divisor": DIVISOR[config["name"]], "mean": mean, "scale": scale, "notes": tuple(notes), "target": target}
    if own:
        made |= {"classes": own.classes, "reading": own.reading, "about": own.about, "tokens": tokens}
    dataset = Dataset(found.name, **made, n_classes=n_classes, sha256=sha256, source=found.source)
    if dataset.lengths_train is None:
        return dataset
    reading = {**(dataset.reading or {}), "unequal": True}
    return replace(dataset, reading=reading, notes=(*dataset.notes, lengths.said(dataset.length_facts())))


def _trim(arrays: Arrays, task: Task) -> None:
    """Takes away the padding that no sequence needs, and the lengths where all have become one; texts keep theirs."""
    known = {key: of for key, of in arrays.items() if key.startswith("lengths_")}
    if not known:
        return
    longest = max(int(of.max()) for of in known.values())
    for split in SPLITS:
        for axis in "xy" if task.per_timestep else "x":
            arrays[f"{axis}_{split}"] = arrays[f"{axis}_{split}"][:, :longest]
    if arrays["x_train"].ndim > 2 and all(int(of.min()) == longest for of in known.values()):
        for key in known:
            del arrays[key]


def _target_scale(config: schema.Dataset, task: Task, y: np.ndarray) -> tuple[float, float] | None:
    """Mean and deviation of the training targets, where outputs are to be scaled by them.

    Raises:
      ConfigError: where `dataset.scale_target` is asked for and there are none.
    """
    asked = config.get("scale_target")
    if not asked or (asked == "auto" and not task.labels.numbers):
        return None
    if not task.labels.numbers:
        raise ConfigError(f"dataset.scale_target: a {task.name} has no targets to scale", remedy="Leave it out.")
    mean, deviation = float(y.mean(dtype=np.float64)), float(y.std(dtype=np.float64))
    return mean, deviation if deviation > 1e-6 * abs(mean) else 1.0


def _absolute(path: str) -> Path:
    with contextlib.suppress(RuntimeError):  # ~nobody: taken literally, and not found
        return Path(path).expanduser().absolute()
    return Path(path).absolute()


def _cache(of: str) -> Path:
    return _absolute(str(cache_folder())) / of


def _short(path: Path) -> str:
    own = home.folder()
    return f"~/{path.relative_to(own)}" if own and path.is_relative_to(own) else str(path)
