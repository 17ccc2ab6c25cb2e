"""Arrays from outside: checked for shapes and values, digested."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from lstm_bench.core.errors import DataError
from lstm_bench.data import labels as label

SPLITS = ("train", "validation", "test")

Arrays = dict[str, np.ndarray]  # x_train, y_train, ... of SPLITS


def checked(arrays: Arrays, n_classes: int | None, where: Path) -> tuple[Arrays, int]:
    """The arrays with labels as int32 and real inputs as float32, once their shapes and values were found fit.

    Floating-point labels of the training split are targets of a regression: then all are float32.

    Args:
      arrays: `x_<split>` and `y_<split>`, training among them.
      n_classes: Number of classes, None to count those of the training labels.
      where: File or folder, for messages.

    Returns:
      The arrays and the number of classes; 1 of a regression.

    Raises:
      DataError: for the first array that is unfit.
    """

    def need(key: str, valid: object, expected: str, received: object = None, remedy: str | None = None) -> None:
        if not valid:
            raise DataError(f"{where}: {key}", expected=expected, received=received, remedy=remedy)

    checked: Arrays = {}
    splits = [split for split in SPLITS if f"x_{split}" in arrays]
    labels = {f"y_{split}": arrays[f"y_{split}"] for split in splits}
    regression = arrays["y_train"].dtype.kind == "f" and n_classes in (None, 1)
    for split in splits:
        x_key, y_key = f"x_{split}", f"y_{split}"
        x, y = arrays[x_key], arrays[y_key]
        need(x_key, x.ndim == 3, "shape (samples, timesteps, features)", x.shape, _axes_remedy(x))
        need(x_key, x.size, "a shape with at least one sample, timestep and feature", x.shape)
        need(x_key, x.dtype.kind in "biuf", "real numbers", x.dtype)
        if x.dtype.kind == "f":
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, which is refused next
                x = x.astype(np.float32, copy=False)
            need(x_key, np.isfinite(x).all(), "finite float32 numbers, neither NaN nor inf")
        if y.ndim != 1:
            need(y_key, False, "shape (samples,)", y.shape, label.shape_remedy(y, x, [*labels.values()]))
        need(y_key, len(y) == len(x), f"as many labels as {x_key} has samples, {len(x)}", len(y))
        form = arrays["x_train"].shape[1:]
        need(x_key, x.shape[1:] == form, f"(timesteps, features) {form} as in x_train", x.shape[1:])
        checked[x_key] = x
        if regression:
            need(y_key, y.dtype.kind in "iuf", "numbers, as y_train has them", y.dtype)
            with np.errstate(over="ignore"):
                checked[y_key] = y.astype(np.float32)
            need(y_key, np.isfinite(checked[y_key]).all(), "finite float32 numbers, neither NaN nor inf")
        else:
            need(y_key, y.dtype.kind in "iu", "integer labels", y.dtype, label.type_remedy(y, labels))
    if regression:
        return checked, 1
    if n_classes is None:
        n_classes = label.check_classes(labels, str(where))
    for key, y in labels.items():
        wrong = y.min() if y.min() < 0 else y.max()
        need(key, 0 <= wrong < n_classes, f"labels 0 to {n_classes - 1}", wrong)
        checked[key] = y.astype(np.int32)
    return checked, n_classes


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
