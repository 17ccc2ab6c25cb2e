"""`dataset=file`: a file of sequences becomes the arrays of three splits, its classes whole numbers, its gaps filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench.core import home
from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.data import classes as class_names
from lstm_bench.data import converted, division, formats, missing
from lstm_bench.data.arrays import SPLITS, Arrays, checked, digest
from lstm_bench.data.formats.source import Source
from lstm_bench.data.sequences import Columns, Sequences, names_of
from lstm_bench.data.task import Task

TEST_SIZE = 0.2  # of a file that does not divide itself, where `dataset.test_size` is null


@dataclass(frozen=True, eq=False)
class FileData:
    """What a file came to.

    Attributes:
      arrays: `x_*` float32, `y_*` int32 or float32, of the three splits.
      n_classes: 1 of a regression.
      task: What is asked of a network.
      sha256: Of the arrays as the file has them.
      classes: Names of the classes; None where they are their numbers.
      reading: What `input.json` keeps so that new files are read alike: `columns`, `features`, `categories`, `filling`.
      notes: A sentence for each thing that was understood or left out.
      about: What `inspection` judges by: `split` (how it was divided), `divided` (in words), `windows`,
        `overlap` (of windows), `in_time` (whether the sequences follow each other), `columns` (of a table, else None),
        `missing` (column -> values).
    """

    arrays: Arrays
    n_classes: int
    task: Task
    sha256: str
    classes: tuple[str, ...] | None
    reading: dict[str, Any]
    notes: tuple[str, ...]
    about: dict[str, Any]


def sources(config: Mapping[str, Any]) -> dict[str, Source]:
    """`path`, and `test_path` where it is given, of settings that `find` has made absolute or not."""
    given = {key: config.get(key) for key in ("path", "test_path")}
    return {key: Source.parse(home.expanded(str(text))) for key, text in given.items() if text}


def parts_of(config: Mapping[str, Any]) -> dict[str, Sequences]:
    """The sequences as the files have them: `all`, or `train`, `test` and perhaps `validation`.

    Raises:
      ConfigError: for columns that are not there, or two files that divide themselves.
      DataError: for a file that cannot be read.
    """
    columns, given = Columns.of(config), sources(config)
    parts = converted.read(given["path"], columns)
    if "test_path" not in given:
        return parts
    if "all" not in parts:
        raise ConfigError(
            "dataset.test_path", expected=f"null: {given['path']} has a test set", received=config["test_path"]
        )
    known = parts["all"]
    if known.categories:
        columns = Columns(**{**vars(columns), "categories": dict(known.categories)})
    other = converted.read(given["test_path"], columns)
    if "all" not in other:
        raise DataError(f"{given['test_path']}: it divides itself", expected="sequences of the test set alone")
    if other["all"].x.shape[1:] != known.x.shape[1:] or other["all"].features != known.features:
        raise DataError(
            f"{given['test_path']}: not as {given['path'].name}",
            expected=f"{known.x.shape[1]} timesteps of {', '.join(known.features) or known.x.shape[2]}"[:200],
            received=f"{other['all'].x.shape[1]} of {', '.join(other['all'].features) or other['all'].x.shape[2]}"[
                :200
            ],
        )
    test = other["all"]
    if columns.group is None:  # recordings of two files may bear the same numbers and be others
        test = replace(test, groups=None)
    return {"train": known, "test": test}


def load(config: Mapping[str, Any]) -> FileData:
    """Reads, divides and fills.

    Args:
      config: The `dataset` settings.

    Raises:
      ConfigError: for settings that do not fit the file.
      DataError: for a file that is unfit.
    """
    where = str(sources(config)["path"])
    parts = parts_of(config)
    sha256 = _digest(parts)
    kind = division.kind_of(config.get("split") or "auto", parts, where)
    one = parts.get("all") or parts["train"]
    if one.y is None:
        raise ConfigError(f"{where}: no target is named", remedy="Give dataset.target=COLUMN.")
    for found in parts.values():
        if found.y is not None:
            class_names.require_present(found.y, found.ids, where)
        if found.groups is not None:
            class_names.require_present(found.groups, found.ids, where, "group")
    task, why = class_names.task_of(one.y, where, config.get("task"))
    parts, divided = _divided(parts, config, kind, task, where)
    labels = {split: _target(found, split, where) for split, found in parts.items()}
    classes = None
    if task.labels.classes:
        labels, classes = class_names.named(labels, where)
    arrays: Arrays = {f"x_{split}": found.x for split, found in parts.items()}
    counts = zip(names_of(one.features, one.x.shape[-1]), missing.gaps(arrays).tolist(), strict=True)
    about = {
        "split": kind,
        "divided": divided,
        "windows": one.windows,
        "overlap": bool(config.get("stride") and config["stride"] < config["window"]),
        "in_time": division.in_time(one),
        "columns": formats.columns_of(sources(config)["path"]),
        "missing": {name: n for name, n in counts if n},
    }
    filling = missing.fill(arrays, config.get("missing") or "refuse", one.features, where)
    arrays |= {f"y_{split}": y for split, y in labels.items()}
    arrays, n_classes = checked(arrays, task, None, Path(where))
    reading = {
        "columns": {key: value for key, value in vars(Columns.of(config)).items() if value and key != "categories"},
        "features": list(one.features),
        "categories": {name: list(known) for name, known in one.categories.items()},
        "filling": filling.described() if filling else None,
    }
    notes = [f"a {task.name}: {why}", *one.notes, f"divided {divided}"]
    if filling:
        notes.append(f"{missing.FILLED}: dataset.missing={filling.way}")
    return FileData(arrays, n_classes, task, sha256, classes, reading, tuple(notes), about)


def _target(found: Sequences, split: str, where: str) -> np.ndarray:
    if found.y is None:
        raise DataError(f"{where}: the {split} sequences have no target")
    return found.y


def _digest(parts: Mapping[str, Sequences]) -> str:
    """Of all arrays as the file has them: an `.npz` has the digest that `dataset=npz` gives it."""
    raw: Arrays = {}
    for split, found in parts.items():
        end = "" if split == "all" else f"_{split}"
        for name, array in (("x", found.x), ("y", found.y), ("groups", found.groups)):
            if array is not None:
                raw[f"{name}{end}"] = array.astype(str) if array.dtype == object else array
    return digest(raw)


def _divided(
    parts: dict[str, Sequences], config: Mapping[str, Any], kind: str, task: Task, where: str
) -> tuple[dict[str, Sequences], str]:
    """The three splits, and how that was done.

    The test set is drawn first: what `train_size` and `validation_size` are changes nothing in it.
    """
    seed = config["split_seed"]

    def drawn(found: Sequences, size: float, what: str, leave: int) -> tuple[Sequences, Sequences]:
        y = _sortable(found.y) if task.has_classes and found.y is not None else None
        picked, left = division.part(found, y, size, kind, seed, what, leave)
        return found.take(picked), found.take(left)

    made = dict(parts)
    if "all" in made:
        size = config.get("test_size") or TEST_SIZE
        made["test"], made["train"] = drawn(made.pop("all"), size, "dataset.test_size", 2)
    if config["validation"] == "test":
        n = division._count(config["validation_size"], len(made["test"]))
        if not 1 <= n <= len(made["test"]):
            raise DataError(
                "dataset.validation_size", expected=f"1 to {len(made['test'])} of the test samples", received=n
            )
        made["validation"] = made["test"].take(np.arange(n))
    elif "validation" not in made:
        made["validation"], made["train"] = drawn(
            made["train"], config["validation_size"], "dataset.validation_size", 1
        )
    made = {split: made[split] for split in SPLITS}
    apart = {"train": made["train"], "test": made["test"]}
    if config["validation"] != "test":
        apart["validation"] = made["validation"]
    division.require_apart(apart, where)
    groups = {
        split: len(np.unique(found.groups.astype(str))) for split, found in made.items() if found.groups is not None
    }
    sizes = {split: len(found) for split, found in made.items()}
    return made, division.said(kind, sizes, groups)


def _sortable(y: np.ndarray) -> np.ndarray:
    return np.array(["" if value is None else str(value) for value in y]) if y.dtype == object else y


def divided(parts: dict[str, Sequences], config: Mapping[str, Any]) -> dict[str, Sequences]:
    """What `parts_of` gave, divided into training, validation and test as `load` does it; values may stand in for `ids`.

    Raises:
      ConfigError: as `load`.
      DataError: likewise.
    """
    where = str(sources(config)["path"])
    one = parts.get("all") or parts["train"]
    assert one.y is not None
    task, _ = class_names.task_of(one.y, where, config.get("task"))
    return _divided(parts, config, division.kind_of(config.get("split") or "auto", parts, where), task, where)[0]
