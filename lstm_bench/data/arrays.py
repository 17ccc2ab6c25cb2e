"""Arrays from outside: checked for shapes and values, digested."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from lstm_bench.core.errors import DataError
from lstm_bench.data.labels import shape_remedy
from lstm_bench.data.task import Task

SPLITS = ("train", "validation", "test")

Arrays = dict[str, np.ndarray]  # x_train, y_train, ... of SPLITS


def checked(arrays: Arrays, task: Task, n_outputs: int | None, where: Path) -> tuple[Arrays, int]:
    """The arrays with labels as the task trains on them and real inputs as float32, once they were found fit.

    Args:
      arrays: `x_<split>` and `y_<split>`, training among them.
      task: What is asked of them.
      n_outputs: Number of classes, None to count those of the training labels.
      where: File or folder, for messages.

    Returns:
      The arrays and the number of a network's outputs.

    Raises:
      DataError: for the first array that is unfit.
    """

    def need(key: str, valid: object, expected: str, received: object = None, remedy: str | None = None) -> None:
        if not valid:
            raise DataError(f"{where}: {key}", expected=expected, received=received, remedy=remedy)

    checked: Arrays = {}
    splits = [split for split in SPLITS if f"x_{split}" in arrays]
    labels = {f"y_{split}": arrays[f"y_{split}"] for split in splits}
    form = arrays["x_train"].shape[1:]
    for split in splits:
        x_key, y_key = f"x_{split}", f"y_{split}"
        x, y = arrays[x_key], arrays[y_key]
        require_axes(x, f"{where}: {x_key}")
        need(x_key, x.dtype.kind in "biuf", "real numbers", x.dtype)
        if x.dtype.kind == "f":
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, which is refused next
                x = x.astype(np.float32, copy=False)
            need(x_key, np.isfinite(x).all(), "finite float32 numbers, neither NaN nor inf")
        if y.ndim != len(task.axes):
            remedy = shape_remedy(y, x, [*labels.values()]) if len(task.axes) == 1 else None
            need(y_key, False, f"shape ({', '.join(task.axes)}{',' * (len(task.axes) == 1)})", y.shape, remedy)
        need(y_key, len(y) == len(x), f"as many labels as {x_key} has samples, {len(x)}", len(y))
        need(x_key, x.shape[1:] == form, f"(timesteps, features) {form} as in x_train", x.shape[1:])
        shape = task.shape(x, y)
        remedy = shape_remedy(y, x, [*labels.values()]) if y.shape != shape else None
        need(y_key, y.shape == shape, f"shape {shape}, a label for each of x", y.shape, remedy)
        checked[x_key] = x
    converted, n_outputs = task.labels.check(labels, n_outputs, str(where))
    return {**checked, **converted}, n_outputs


def require_axes(x: np.ndarray, what: str) -> None:
    """Raises DataError unless an x has its three axes, and something in each; `what` names it."""
    if x.ndim != 3:
        raise DataError(what, expected="shape (samples, timesteps, features)", received=x.shape, remedy=_axes_remedy(x))
    if not x.size:
        raise DataError(what, expected="a shape with at least one sample, timestep and feature", received=x.shape)


def _axes_remedy(x: np.ndarray) -> str | None:
    """How an x that has not three axes comes to them with all that it holds."""
    if x.ndim == 2:
        return "One feature: x[..., None]."
    if x.ndim > 3:
        return (
            "One feature: x[..., 0]."
            if x.ndim == 4 and x.shape[-1] == 1
            else "More axes as features: x.reshape(*x.shape[:2], -1)."
        )
    return None


def digest(arrays: Arrays) -> str:
    """SHA-256 of names, types, shapes and values."""
    total = hashlib.sha256()
    for key in sorted(arrays):
        total.update(f"{key} {arrays[key].dtype.str} {arrays[key].shape}\n".encode())
        total.update(np.ascontiguousarray(arrays[key]).reshape(-1).view(np.uint8).data)
    return total.hexdigest()
