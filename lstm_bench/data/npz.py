"""`.npz` files from outside: size, members and headers are checked before anything is read."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np

from lstm_bench.core.errors import DataError, LstmBenchError, nearest
from lstm_bench.data.arrays import SPLITS, Arrays

MAX_NPZ_BYTES = 16 * 2**30  # of all arrays in a file, unpacked
# What an array that is not read may be named after -> why it is not.
_NOT_YET = {
    (
        *("group", "groups", "subject", "subjects", "person", "persons", "patient", "patients", "user", "users"),
        *("participant", "participants", "session", "sessions"),
    ): "Groups are not supported yet: see to it that no group is in two splits, and save the file without it.",
    ("length", "lengths", "len", "lens", "mask", "masks", "masking", "padding", "pad"): (
        "All sequences have one length here, and padding would be read as data: dataset=file takes lengths_train and so on, or "
        "lengths, and predict what was trained so."
    ),
    ("weight", "weights"): "Weights of samples or classes are not supported yet: save the file without it.",
}


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


def read_structured(path: Path, key: str) -> list[np.ndarray]:
    """The array of a file that holds this one alone, in a list.

    Raises:
      DataError: if the file is damaged or too large, or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(f"{key}.npy").file_size
            if size > MAX_NPZ_BYTES:
                raise DataError(f"{path}: too large", expected=f"at most {MAX_NPZ_BYTES} bytes", received=size)
            with archive.open(f"{key}.npy") as member:
                check_npy(member, size, f"{path}: {key}")
            return [member_of(archive, key)]
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
        remedy = (
            "For sequences of several lengths: one behind the other, x=np.concatenate(x), and lengths=[len(s) for s in x]. For "
            "names: y.astype(str)."
        )
        raise DataError(
            f"{where}: Python objects are never unpickled", expected="numbers", received=dtype, remedy=remedy
        )
    if member.tell() + math.prod(shape) * dtype.itemsize != size:
        raise DataError(
            f"{where}: corrupt", expected=f"{dtype} of shape {shape}, its header says", received=f"{size} B"
        )
