"""Arrays from outside: read from an .npz as far as its headers are true, checked for shapes and values, digested."""

from __future__ import annotations

import hashlib
import math
import re
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np

from lstm_bench.core.errors import DataError, LstmBenchError, nearest
from lstm_bench.data import labels as label

SPLITS = ("train", "validation", "test")
MAX_NPZ_BYTES = 16 * 2**30  # of all arrays in a file, unpacked
# What an array that is not read may be named after -> why it is not.
_NOT_YET = {
    (
        *("group", "groups", "subject", "subjects", "person", "persons", "patient", "patients", "user", "users"),
        *("participant", "participants", "session", "sessions"),
    ): "Groups are not supported yet: see to it that no group is in two splits, and save the file without it.",
    ("length", "lengths", "len", "lens", "mask", "masks", "masking", "padding", "pad"): (
        "Sequences of several lengths are not supported yet, and padding would be read as data: bring them to one length, "
        "and save the file without it."
    ),
    ("weight", "weights"): "Weights of samples or classes are not supported yet: save the file without it.",
}

Arrays = dict[str, np.ndarray]  # x_train, y_train, ... of SPLITS


def read_npz(path: Path, keys: Collection[str]) -> Arrays:
    """Those `keys` that the file has: x and y of training and test, those of validation both or neither.

    Raises:
      DataError: if the file is missing, damaged, too large or incomplete, or holds Python objects or other arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            require_known(archive, keys, path)
            names = {key for key in keys if f"{key}.npy" in archive.namelist()}
            sizes = {key: archive.getinfo(f"{key}.npy").file_size for key in names}
            if sum(sizes.values()) > MAX_NPZ_BYTES:
                limit = f"at most {MAX_NPZ_BYTES} bytes"
                raise DataError(f"{path}: too large", expected=limit, received=sum(sizes.values()))
            for key in keys:
                other = ("y" if key[0] == "x" else "x") + key[1:]
                if key not in names and ("validation" not in key or other in names):
                    expected = "x_train y_train x_test y_test, and x_validation y_validation both or neither"
                    raise DataError(f"{path}: {key} is missing", expected=expected, received=archive.namelist()[:12])
            for key, size in sizes.items():
                with archive.open(f"{key}.npy") as member:
                    check_npy(member, size, f"{path}: {key}")
            return {key: member_of(archive, key) for key in keys if key in names}
    except LstmBenchError:
        raise
    except Exception as error:  # a damaged zip raises any of a dozen types
        raise DataError(f"{path}: cannot be read ({error or type(error).__name__})", expected="an .npz file") from error


def require_known(archive: zipfile.ZipFile, keys: Collection[str], path: Path) -> None:
    """Raises DataError for an array that nobody reads: what it says of the others would be ignored without a word."""
    names = [name[:-4] for name in archive.namelist() if name.lower().endswith(".npy")]
    for name in names:
        if name not in keys:
            words = {*re.findall("[a-z]+", name.lower())}
            remedy = next((why for of, why in _NOT_YET.items() if words & {*of}), None)
            missing = [key for key in keys if key not in names]
            split = words & {*SPLITS}
            meant = nearest(name.lower(), [key for key in missing if not split or key.partition("_")[2] in split])
            if remedy is None and meant.startswith("did you mean"):
                remedy = meant
            raise DataError(
                f"{path}: unknown array {name[:80]}",
                expected=f"none but {' '.join(keys)}",
                remedy=remedy or "Save the file without it.",
            )


def member_of(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    """The array of member `key`.npy, which `check_npy` has passed. `np.load` would prefer a member named `key`, unchecked."""
    with archive.open(f"{key}.npy") as member:
        array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
        return array


def check_npy(member: IO[bytes], size: int, where: str) -> None:
    """Refuses what NumPy would allocate, or unpickle, on the word of an array's header alone."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    if dtype.hasobject:
        remedy = "For sequences of several lengths: bring them to one length. For names: y.astype(str)."
        raise DataError(
            f"{where}: Python objects are never unpickled", expected="numbers", received=dtype, remedy=remedy
        )
    if member.tell() + math.prod(shape) * dtype.itemsize != size:
        raise DataError(
            f"{where}: corrupt", expected=f"{dtype} of shape {shape}, its header says", received=f"{size} B"
        )


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
