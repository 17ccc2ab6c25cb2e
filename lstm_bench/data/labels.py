"""Labels that are not fit to train on: what they are, and the remedy for their shape, type and values that loses nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lstm_bench.core.errors import DataError

_SHOWN = 5  # labels in a message


def shape_remedy(y: np.ndarray, x: np.ndarray, others: Sequence[np.ndarray] = ()) -> str | None:
    """What to do about labels that are not one per sample; None where nothing is known that keeps what they say.

    Args:
      y: Labels of any shape but `(samples,)`.
      x: Their samples, `(samples, timesteps, features)`.
      others: Labels of the other splits, which are to be treated alike.
    """
    n, timesteps = x.shape[:2]
    if y.ndim == 2 and y.shape == (1, n) != (n, 1):
        return "One row of labels: y[0]."
    if y.ndim < 2 or len(y) != n:
        return None
    width = y.size // n
    if width == 1:
        return "One label per sample: y[:, 0]." if y.ndim == 2 else "One label per sample: y.reshape(-1)."
    if y.dtype.kind not in "biuf":
        return None
    if _is_binary(y) and (y.ndim == 2 or y.shape[1:-1] == (1,)):
        alike = all(_is_one_hot(its) and its.shape[1:] == y.shape[1:] for its in others if its.ndim > 1)
        if _is_one_hot(y) and alike:
            if y.ndim == 2 and width == timesteps:
                return (
                    "If they are one-hot labels of classes: y.argmax(-1); a label for every timestep is not supported."
                )
            return "One-hot labels: y.argmax(-1)."
        if y.ndim == 2 and width != timesteps:
            return (
                "Some rows do not hold exactly one 1, so they are not one-hot: several labels per sample are not "
                "supported; one column is a study of its own: y[:, 0]."
            )
    if y.shape[1] == timesteps:
        word = "target" if y.dtype.kind == "f" and not _is_binary(y) else "label"
        return f"A {word} for every timestep is not supported; one of them is a study of its own: {_column(y)}."
    if y.dtype.kind == "f":
        return (
            "A horizon, or several targets per sample, is not supported; one column is a study of its own: "
            f"{_column(y)}."
        )
    return f"Several labels per sample are not supported; one column is a study of its own: {_column(y)}."


def _column(y: np.ndarray) -> str:
    return "y[:, -1]" if y.ndim == 2 else f"y[:, -1{', 0' * (y.ndim - 2)}]"


def _is_binary(y: np.ndarray) -> bool:
    return bool(np.isin(y, (0, 1)).all())


def _is_one_hot(y: np.ndarray) -> bool:
    """Whether each last axis holds exactly one 1, and 0 else."""
    return y.dtype.kind in "biuf" and y.size > 0 and _is_binary(y) and bool((y.sum(axis=-1) == 1).all())


def integers(y: np.ndarray) -> str | None:
    """How labels that are whole numbers of another type become integers; None where they are none."""
    if y.dtype.kind == "b":
        return "True and false: y.astype(int)."
    if y.dtype.kind == "f" and bool(np.isfinite(y).all() and (y == np.rint(y)).all()):
        return "Labels of classes are integers: y.astype(int)."
    return None


def type_remedy(y: np.ndarray, labels: Mapping[str, np.ndarray]) -> str | None:
    """What to do about labels that are no integers; None where nothing is known that keeps what they say.

    Args:
      y: Labels `(samples,)`.
      labels: Key -> labels of every split.
    """
    if y.dtype.kind in "US":
        return f"Names of classes: {renamed(labels)}."
    if y.dtype.kind == "f" and integers(y) is None:
        return "The targets of a regression are floats in every split: y.astype(float)."
    return integers(y)


def check_classes(labels: Mapping[str, np.ndarray], where: str) -> int:
    """The number of classes of integer labels, which are 0, 1, ... in the training split, each of them; no others elsewhere.

    Args:
      labels: Key -> integer labels `(samples,)` of every split, `y_train` among them.
      where: File or folder, for messages.

    Raises:
      DataError: for labels that would be classes without a sample to learn them from.
    """
    names = np.unique(labels["y_train"])
    n = len(names)
    for key, y in labels.items():
        unknown = np.setdiff1d(y, names)
        if unknown.size:
            raise DataError(
                f"{where}: {key}",
                expected="only labels that y_train has",
                received=_few(unknown),
                remedy="A class without a sample to learn from: take its samples out of every split, or split anew.",
            )
    if n < 2:
        raise DataError(f"{where}: y_train", expected="at least 2 classes", received=_few(names))
    if names[0] != 0 or names[-1] != n - 1:
        raise DataError(
            f"{where}: y_train",
            expected=f"labels 0 to {n - 1}, as there are {n} of them",
            received=_few(names),
            remedy=f"Classes: {renamed(labels)}. The targets of a regression: y.astype(float).",
        )
    return n


def renamed(labels: Mapping[str, np.ndarray]) -> str:
    """A line of Python that names the classes 0, 1, ... in all splits together."""
    keys, ends = list(labels), np.cumsum([np.size(y) for y in labels.values()])[:-1].tolist()
    together = f"np.unique(np.concatenate([{', '.join(keys)}]), return_inverse=True)[1]"
    return f"{', '.join(keys)} = np.split({together}, {ends})"


def _few(labels: np.ndarray) -> list[int] | str:
    more = len(labels) - _SHOWN
    shown = labels[:_SHOWN].tolist()
    return f"{', '.join(map(str, shown))} and {more:,} more" if more > 0 else shown
