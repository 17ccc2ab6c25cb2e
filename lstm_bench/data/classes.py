"""Labels as a file has them (text, true and false, any whole numbers) and the classes 0, 1, ... that networks learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_bench.core.errors import ConfigError, DataError, nearest
from lstm_bench.data.lengths import mask
from lstm_bench.data.task import CLASSIFICATION, MULTILABEL, REGRESSION, TAGGING, Task, of

_MOST_WHOLE = 50  # different whole numbers up to which labels are classes without a second look
_SHARE = 0.2  # of the samples: more different whole numbers than that look like measurements


def task_of(y: np.ndarray, where: str, asked: str | None, several: bool = False) -> tuple[Task, str]:
    """Which task labels ask for, and why.

    Args:
      y: Of the training data, `(samples,)`, `(samples, timesteps)` or `(samples, labels)`.
      where: The file, for messages.
      asked: `dataset.task`, None to find out.
      several: Whether each sample has labels in several columns.

    Raises:
      ConfigError: for a task that does not go with the columns that are named.
      DataError: for labels that can be neither classes nor numbers, or either.
    """
    if asked is not None:
        task = of(asked)
        if several and not task.labels.several:
            raise ConfigError(f"dataset.task={asked}: dataset.target names several columns", remedy="Name one.")
        return task, f"dataset.task={asked}"
    if several:
        return MULTILABEL, "several targets of 0 and 1"
    if y.ndim == 2:
        return TAGGING, "the target changes within sequences: a label per timestep"
    if y.dtype.kind == "f":
        present = y[~np.isnan(y)]
        if len(present) and bool((present == np.rint(present)).all()) and len(np.unique(present)) <= _MOST_WHOLE:
            raise DataError(
                f"{where}: the target holds whole numbers with a decimal point",
                expected="classes as whole numbers or text, or numbers to predict",
                received=", ".join(f"{v:g}" for v in np.unique(present)[:5]),
                remedy="Say dataset.task=classification or dataset.task=regression.",
            )
        return REGRESSION, "the target holds numbers with decimals"
    if y.dtype.kind in "iu":
        different = len(np.unique(y))
        if different > max(_MOST_WHOLE, _SHARE * len(y)):
            raise DataError(
                f"{where}: the target looks continuous",
                expected="classes, or numbers to predict",
                received=f"{different:,} different whole numbers among {len(y):,} sequences",
                remedy="Say dataset.task=regression, or dataset.task=classification if each is a class.",
            )
        return CLASSIFICATION, f"the target holds {different} different whole numbers"
    return CLASSIFICATION, "the target holds names" if y.dtype.kind != "b" else "the target is true or false"


def require_present(
    y: np.ndarray, ids: np.ndarray | None, where: str, noun: str = "label", lengths: np.ndarray | None = None
) -> None:
    """Raises DataError where the target, or the group, of a sequence is missing.

    Args:
      y: `(samples,)` or `(samples, timesteps)`.
      ids: What the file calls the sequences, where it does.
      where: The file.
      noun: What `y` holds.
      lengths: `(samples,)`, of a `y` per timestep: what is behind them is padding.
    """
    missing: np.ndarray = (y == None) if y.dtype == object else (y != y)  # noqa: E711 (element by element)
    if lengths is not None:
        missing = missing & mask(lengths, y.shape[1])
    if missing.any():
        first = int(np.argwhere(missing)[0][0])
        n = int(missing.sum())
        raise DataError(
            f"{where}: {n:,} {noun}{' is' if n == 1 else 's are'} missing",
            expected=f"a {noun} for every sequence",
            received=f"none for sequence {first if ids is None else ids[first]}",
            remedy="Take such rows out.",
        )


def named(labels: Mapping[str, np.ndarray], where: str) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None]:
    """Labels as int32 classes, sorted as `numpy.unique` sorts them, and their names; None where they are 0 to k - 1 themselves.

    Args:
      labels: Split -> labels, `train` among them.
      where: The file, for messages.

    Raises:
      DataError: for fewer than two classes, or one that the training data has not.
    """
    plain = {split: _plain(y) for split, y in labels.items()}
    if any(y.dtype.kind == "U" for y in plain.values()):  # a class may look like a number in one file alone
        plain = {split: y.astype(str) for split, y in plain.items()}
    names = np.unique(plain["train"])
    if len(names) < 2:
        raise DataError(f"{where}: the target", expected="at least 2 classes", received=str(names[0]))
    coded = {}
    for split, y in plain.items():
        indices = np.minimum(np.searchsorted(names, y), len(names) - 1)
        unknown = np.unique(y[names[indices] != y])
        if len(unknown):
            raise DataError(
                f"{where}: the {split} split has a class that the training split has not",
                expected="only classes to learn from",
                received=str(unknown[0]),
                remedy=f"Of the training split: {nearest(str(unknown[0]), map(str, names))}",
            )
        coded[split] = indices.astype(np.int32)
    own = names.dtype.kind in "iu" and bool((names == np.arange(len(names))).all())
    return coded, None if own else tuple(str(name) for name in names.tolist())


def _plain(y: np.ndarray) -> np.ndarray:
    """Of one type that sorts: text, whole numbers or truth."""
    if y.dtype == object:
        return np.array([str(value) for value in y.ravel()]).reshape(y.shape)
    if y.dtype.kind == "f" and bool((y == np.rint(y)).all()):
        return y.astype(np.int64)
    return y


def weights(asked: Any, task: Task, y: np.ndarray, n_classes: int, names: Sequence[str] | None) -> np.ndarray | None:
    """What a label of each class weighs in the training loss, float32 (n_classes,); None where nothing is asked for.

    `balanced` is scikit-learn's: labels / (classes * labels of the class), so that all classes weigh the same.

    Args:
      asked: `train.class_weight`.
      task: Of the data.
      y: Labels of the training split.
      n_classes: Classes that there are.
      names: What they are called; None for their numbers.

    Raises:
      ConfigError: for a class that there is not, and for a task without classes.
    """
    if asked is None:
        return None
    if not task.labels.classes:
        raise ConfigError(f"train.class_weight: a {task.name} has no classes", remedy="Leave it out.")
    if asked == "balanced":
        counts = np.bincount(y.ravel(), minlength=n_classes)
        return np.asarray(y.size / (n_classes * np.maximum(counts, 1)), np.float32)
    indices = {str(index): index for index in range(n_classes)}
    indices |= {name: index for index, name in enumerate(names or ())}
    found = np.ones(n_classes, np.float32)
    for name, weight in asked.items():
        if str(name) not in indices:
            known = names or list(indices)
            raise ConfigError(f"train.class_weight: there is no class {name}", remedy=nearest(str(name), known))
        found[indices[str(name)]] = weight
    return found
