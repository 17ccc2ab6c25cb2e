"""`dataset=file`: a file of sequences becomes the arrays of three splits, its classes whole numbers, its gaps filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lstm_bench.core import home, schema
from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.core.schema import settled
from lstm_bench.data import classes as class_names
from lstm_bench.data import converted, division, formats, missing
from lstm_bench.data.arrays import SPLITS, Arrays, checked, digest
from lstm_bench.data.formats.source import Source
from lstm_bench.data.labels import shape_remedy
from lstm_bench.data.lengths import spread
from lstm_bench.data.sequences import Columns, Sequences, aligned, changes, names_of
from lstm_bench.data.splits import ALL, fold_rows, nothing_to_fold, nothing_to_redraw, training_seed
from lstm_bench.data.task import Task

TEST_SIZE = 0.2  # of a file that does not divide itself, where `dataset.test_size` is null


@dataclass(frozen=True, eq=False)
class FileData:
    """What a file came to.

    Attributes:
      arrays: `x_*` float32, `y_*` int32 or float32, of the three splits; `lengths_*` int32 `(samples,)` where sequences differ in
        length: the timesteps of each that are no padding.
      n_classes: 1 of a regression.
      task: What is asked of a network.
      sha256: Of the arrays as the file has them.
      classes: Names of the classes, or of several labels per sample; None where they are their numbers.
      reading: What `input.json` keeps so that new files are read alike: `columns`, `features`, `categories`, `filling`.
      notes: A sentence for each thing that was understood or left out.
      about: What `warning` judges by: `split` (how it was divided), `divided` (in words), `groups` (split -> how many, where
        they stay together), `windows`, `overlap` (of windows), `in_time` (whether the sequences follow each other),
        `columns` (of a table, else None), `missing` (column -> values).
      tokens: Of texts, whose `x_*` are int32 `(samples, tokens)`: what the ids from 2 stand for; None of other data.
    """

    arrays: Arrays
    n_classes: int
    task: Task
    sha256: str
    classes: tuple[str, ...] | None
    reading: dict[str, Any]
    notes: tuple[str, ...]
    about: dict[str, Any]
    tokens: tuple[str, ...] | None = None


PathKey = Literal["path", "test_path"]


def sources(config: schema.Dataset) -> dict[PathKey, Source]:
    """`path`, and `test_path` where it is given, of settings that `find` has made absolute or not."""
    named: dict[PathKey, str | None] = {"path": config["path"], "test_path": config.get("test_path")}
    return {key: Source.parse(home.expanded(str(text))) for key, text in named.items() if text}


def parts_of(config: schema.Dataset) -> dict[str, Sequences]:
    """The sequences as the files have them: `all`, or `train`, `test` and perhaps `validation`.

    Raises:
      ConfigError: for columns that are not there, or two files that divide themselves.
      DataError: for a file that cannot be read.
    """
    columns, given = Columns.of(config), sources(config)
    parts = converted.read(given["path"], columns)
    if "test_path" not in given:
        return aligned(parts)
    if "all" not in parts:
        raise ConfigError(
            "dataset.test_path", expected=f"null: {given['path']} has a test set", received=config["test_path"]
        )
    known = parts["all"]
    if known.categories:
        columns = Columns(**{**vars(columns), "categories": dict(known.categories)})
    if known.features and columns.features is None and columns.layout != "wide":  # in the order of the training file
        columns = replace(columns, features=known.features)
    other = converted.read(given["test_path"], columns)
    if "all" not in other:
        raise DataError(f"{given['test_path']}: it divides itself", expected="sequences of the test set alone")
    test = other["all"]
    ends = known.lengths is not None or test.lengths is not None or not _is_rectangular(given["path"], columns)
    same = test.x.shape[1] == known.x.shape[1] or ends
    if not same or test.x.shape[2] != known.x.shape[2] or test.features != known.features:
        raise DataError(
            f"{given['test_path']}: not as {given['path'].name}",
            expected=f"{known.x.shape[1]} timesteps of {', '.join(known.features) or known.x.shape[2]}"[:200],
            received=f"{test.x.shape[1]} of {', '.join(test.features) or test.x.shape[2]}"[:200],
        )
    if columns.group is None:  # recordings of two files may bear the same numbers and be others
        test = replace(test, groups=None)
    return aligned({"train": known, "test": test})


def _is_rectangular(source: Source, columns: Columns) -> bool:
    """Whether the timesteps of a file are those of an array or of its columns, and not where each of its sequences ends."""
    return source.suffix == ".npz" or columns.layout == "wide"


def load(config: schema.Dataset) -> FileData:
    """Reads, divides and fills.

    Args:
      config: The `dataset` settings.

    Raises:
      ConfigError: for settings that do not fit the file.
      DataError: for a file that is unfit.
    """
    where = str(sources(config)["path"])
    parts, columns = parts_of(config), Columns.of(config)
    sha256 = digest_of(parts)
    one, kind, task, why = asked_of(config, parts, columns, where)
    changed = changed_by(parts)
    parts, divided = divided_by(parts, config, kind, task, where)
    labels, classes = labelled(parts, columns, task, where)
    lengths: Arrays = {f"lengths_{k}": found.lengths for k, found in parts.items() if found.lengths is not None}
    arrays: Arrays = {f"x_{split}": found.x for split, found in parts.items()} | lengths
    counts = zip(names_of(one.features, one.x.shape[-1]), missing.gaps(arrays).tolist(), strict=True)
    stride = config.get("stride")
    about = {
        "split": kind,
        "divided": divided,
        "groups": division.groups_of(parts) if kind != "stratified" else {},
        "windows": one.windows,
        "overlap": bool(stride and stride < settled(config.get("window"))),
        "in_time": division.in_time(one),
        "columns": formats.columns_of(sources(config)["path"]),
        "missing": {name: n for name, n in counts if n},
        **({"changed": changed} if changed else {}),
    }
    filling = missing.fill(arrays, config.get("missing") or "refuse", one.features, where)
    arrays |= {f"y_{split}": _padded(y, parts[split]) for split, y in labels.items()}
    arrays, n_classes = checked(arrays, task, None, Path(where))
    arrays |= lengths
    reading = {
        "columns": {key: value for key, value in vars(Columns.of(config)).items() if value and key != "categories"},
        "features": list(one.features),
        "categories": {name: list(known) for name, known in one.categories.items()},
        "filling": filling.described() if filling else None,
    }
    said = changes(changed.get("cut", 0), changed.get("dropped", 0), changed.get("of", 0), Columns.of(config))
    notes = [f"a {task.name} task: {why}", *one.notes, *said, f"divided {divided}"]
    if filling:
        notes.append(f"{missing.FILLED}: dataset.missing={filling.way}")
    return FileData(arrays, n_classes, task, sha256, classes, reading, tuple(notes), about)


def asked_of(
    config: schema.Dataset, parts: dict[str, Sequences], columns: Columns, where: str
) -> tuple[Sequences, str, Task, str]:
    """What sequences are trained on, how they are divided (see `division.kind_of`), and the task that they ask for, with why.

    Args:
      config: The `dataset` settings.
      parts: As the file has them.
      columns: Of the file.
      where: The file, for messages.

    Raises:
      ConfigError: for settings that do not fit it.
      DataError: for a label, or a group, that is missing, or is of another shape than the task asks for.
    """
    kind = division.kind_of(config.get("split") or "auto", parts, where)
    if config.get("test_size") is not None and "all" not in parts:
        raise ConfigError(
            "dataset.test_size",
            expected="null: the test set is given",
            received=config["test_size"],
            remedy="Leave it out.",
        )
    one = parts.get("all") or parts["train"]
    if one.y is None:
        raise ConfigError(f"{where}: no target is named", remedy="Give dataset.target=COLUMN.")
    for found in parts.values():
        if found.y is not None:
            until = found.lengths if found.per_timestep else None
            class_names.require_present(found.y, found.ids, where, lengths=until)
        if found.groups is not None:
            class_names.require_present(found.groups, found.ids, where, "group")
    task, why = class_names.task_of(one.y, where, config.get("task"), bool(columns.several))
    if task.has_classes and one.y.ndim != 1:  # which are divided by their classes
        remedy = shape_remedy(one.y, one.x)
        raise DataError(f"{where}: the target", expected="shape (samples,)", received=one.y.shape, remedy=remedy)
    return one, kind, task, why


def labelled(
    parts: Mapping[str, Sequences], columns: Columns, task: Task, where: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None]:
    """The labels of each split, classes as whole numbers, and the names of classes or of several labels, see `FileData`."""
    labels = {split: _target(found, split, where) for split, found in parts.items()}
    if task.labels.classes:
        return class_names.named(labels, where)
    return labels, columns.several or None


def _target(found: Sequences, split: str, where: str) -> np.ndarray:
    y = found.labels()
    if y is None:
        raise DataError(f"{where}: the {split} sequences have no target")
    return y


def _padded(y: np.ndarray, found: Sequences) -> np.ndarray:
    """Labels of a split, those of `Sequences.labels` in their places, zeros behind them."""
    if found.lengths is None or not found.per_timestep:
        return y
    return spread(y, found.lengths, found.x.shape[1])


def changed_by(parts: Mapping[str, Sequences]) -> dict[str, int]:
    """How many sequences the file has, and how many of them `max_length` has `cut` and `min_length` `dropped`; {} for none."""
    cut, dropped = (sum(getattr(found, name) for found in parts.values()) for name in ("cut", "dropped"))
    return {"of": sum(map(len, parts.values())) + dropped, "cut": cut, "dropped": dropped} if cut or dropped else {}


def digest_of(parts: Mapping[str, Sequences]) -> str:
    """Of all arrays as the file has them: an `.npz` has the digest that `dataset=npz` gives it."""
    raw: Arrays = {}
    for split, found in parts.items():
        end = "" if split == "all" else f"_{split}"
        for name, array in (("x", found.x), ("y", found.y), ("groups", found.groups), ("lengths", found.lengths)):
            if array is not None:
                raw[f"{name}{end}"] = array.astype(str) if array.dtype == object else array
    return digest(raw)


def divided_by(
    parts: dict[str, Sequences], config: schema.Dataset, kind: str, task: Task, where: str
) -> tuple[dict[str, Sequences], str]:
    """The three splits, and how that was done.

    The test set is drawn first: what `train_size` and `validation_size` are changes nothing in it.
    """
    if config.get("resplit") and (kind == "time" or "validation" in parts):
        own = (
            "the validation set is what comes before the test set" if kind == "time" else f"{where} has one of its own"
        )
        raise nothing_to_redraw(own)
    if config.get("folds") and (kind == "time" or "validation" in parts):
        own = "a split by time validates on what comes last" if kind == "time" else f"{where} has a validation set"
        raise nothing_to_fold(own)

    def drawn(found: Sequences, what: str, size: float, seed: int, leave: int) -> tuple[Sequences, Sequences]:
        y = _sortable(found.y) if task.has_classes and found.y is not None else None
        varied = seed != config["split_seed"]
        picked, left = division.part(found, y, size, kind, seed, what, leave, varied=varied)
        return found.take(picked), found.take(left)

    made = dict(parts)
    if "all" in made:
        size = config.get("test_size") or TEST_SIZE
        made["test"], made["train"] = drawn(made.pop("all"), "dataset.test_size", size, config["split_seed"], 2)
    if config["validation"] == "test":
        n = division._count(config["validation_size"], len(made["test"]))
        if not 1 <= n <= len(made["test"]):
            raise DataError(
                "dataset.validation_size", expected=f"1 to {len(made['test'])} of the test samples", received=n
            )
        made["validation"] = made["test"].take(np.arange(n))
    elif config.get("folds"):
        found = made["train"]
        y = _sortable(found.y) if task.has_classes and found.y is not None else None
        together = found.groups.astype(str) if found.groups is not None and kind == "group" else None
        held, left = fold_rows(config, y, together, len(found), config["split_seed"])
        made["validation"], made["train"] = found.take(held), found.take(left)
    elif "validation" not in made:
        made["validation"], made["train"] = drawn(
            made["train"], "dataset.validation_size", config["validation_size"], training_seed(config), 1
        )
    made = {split: made[split] for split in SPLITS}
    apart = {"train": made["train"], "test": made["test"]}
    if config["validation"] != "test" and config.get("fold") != ALL:
        apart["validation"] = made["validation"]
    division.require_apart(apart, where)
    sizes = {split: len(found) for split, found in made.items()}
    said = division.said(kind, sizes, division.groups_of(made))
    return made, said + (f", in turn with {config['folds']} folds" if config.get("folds") else "")


def _sortable(y: np.ndarray) -> np.ndarray:
    return np.array(["" if value is None else str(value) for value in y]) if y.dtype == object else y


def divided(parts: dict[str, Sequences], config: schema.Dataset) -> dict[str, Sequences]:
    """What `parts_of` gave, divided into training, validation and test as `load` does it; values may stand in for `ids`.

    Raises:
      ConfigError: as `load`.
      DataError: likewise.
    """
    where = str(sources(config)["path"])
    one = parts.get("all") or parts["train"]
    assert one.y is not None
    task, _ = class_names.task_of(one.y, where, config.get("task"))
    return divided_by(parts, config, division.kind_of(config.get("split") or "auto", parts, where), task, where)[0]
