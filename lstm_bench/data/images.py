"""MNIST and what is published in its format: the files, their pinned digests, and how they are read without being believed."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lstm_bench.core.errors import DataError
from lstm_bench.data.arrays import Arrays
from lstm_bench.data.npz import read_npz

# Of the uncompressed IDX files. Looked up at every read: tests put the digests of small files here.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# Of the gzip files, as TensorFlow Datasets pins them (tensorflow_datasets/url_checksums/fashion_mnist.txt and kmnist.txt) for
# the publishers' own files: Xiao et al. 2017 (arXiv 1708.07747) and Clanuwat et al. 2018 (arXiv 1812.01718).
PACKED_SHA256 = {
    "fashion_mnist": {
        "train-images-idx3-ubyte": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    "kmnist": {
        "train-images-idx3-ubyte": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "train-labels-idx1-ubyte": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "t10k-images-idx3-ubyte": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "t10k-labels-idx1-ubyte": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    },
}
TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST"}
KEYS = dict(zip(("x_train", "y_train", "x_test", "y_test"), SHA256, strict=True))  # as in Keras's mnist.npz
MAX_BYTES = 64 * 2**20  # of one file, packed or unpacked; the largest has 47 MB
REPLACE = "Delete it and give the same command again, or put the right file in its place."


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 (in a folder that may not be entered, Path.is_file raises)


def files(folder: Path, of: str = "mnist") -> dict[str, Path]:
    """The files in `folder` by their official names; some tools spell them `train-images.idx3-ubyte`.

    Args:
      folder: Where to look.
      of: mnist, or one of `PACKED_SHA256`, whose files are verified as packed and count only so.
    """
    found: dict[str, Path] = {}
    for name in SHA256:
        for spelling in (name, name.replace("-idx", ".idx")):
            for path in (folder / f"{spelling}.gz", *([] if of in PACKED_SHA256 else [folder / spelling])):
                if name not in found and _is_file(path):
                    found[name] = path
    return found


def is_in(folder: Path, of: str = "mnist", *, partial: bool) -> bool:
    """Whether `folder` has all of a data set, as four IDX files or, of MNIST, as Keras's mnist.npz.

    Args:
      folder: Where to look.
      of: See `files`.
      partial: Whether a part of it may lie there, such as a download that was broken off.

    Raises:
      DataError: for a part of it, unless `partial`.
    """
    found = files(folder, of)
    if len(found) == len(SHA256) or (of == "mnist" and _is_file(folder / "mnist.npz")):
        return True
    if found and not partial:
        missing = ", ".join(name for name in SHA256 if name not in found)
        raise DataError(
            f"{folder}: {TITLES[of]} is incomplete, {missing} missing", remedy="Add it, or remove the others."
        )
    return False


def read(folder: Path, of: str = "mnist") -> Arrays:
    """Arrays uint8 of the data set in `folder`, from its IDX files rather than from mnist.npz.

    Args:
      folder: Where it is, as `is_in` says.
      of: See `files`.

    Raises:
      DataError: if a file is truncated, corrupt, too large or another one than it should be.
    """
    found = files(folder, of)
    if len(found) == len(SHA256):
        return {key: _read_idx(found[name], name, of) for key, name in KEYS.items()}
    if of != "mnist":
        raise DataError(f"{folder}: {TITLES[of]} is not there")
    arrays = read_npz(folder / "mnist.npz", KEYS)
    for key, name in KEYS.items():
        shape = arrays[key].shape
        if len(shape) > 3 or any(size >= 2**32 for size in shape):  # more than the IDX format can say
            _verify(f"{folder / 'mnist.npz'}: {key}", "none", "mnist", name, f"its shape is {shape}")
        header = b"\0\0\x08" + bytes([arrays[key].ndim]) + np.array(arrays[key].shape, ">u4").tobytes()
        actual = hashlib.sha256(header + arrays[key].tobytes()).hexdigest()  # as if it were the IDX file
        _verify(f"{folder / 'mnist.npz'}: {key}", actual, "mnist", name)
    return arrays


def digest(of: str = "mnist") -> str:
    """SHA-256 of a whole data set, the same for both kinds of MNIST's files."""
    return hashlib.sha256(" ".join(PACKED_SHA256.get(of, SHA256).values()).encode()).hexdigest()


def _read_idx(path: Path, name: str, of: str) -> np.ndarray:
    try:
        with path.open("rb") as file:
            return decode(file, str(path), name, of)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def decode(file: BinaryIO, where: str, name: str, of: str = "mnist") -> np.ndarray:
    """Array uint8 of one of the files, gzipped or not. No claim of its header is believed before it was checked.

    Args:
      file: Its bytes.
      where: Its path or URL, for messages.
      name: Which of the four files it should be, a key of `SHA256`.
      of: See `files`.

    Raises:
      DataError: if it is truncated, corrupt, too large or another file.
    """
    raw = file.read(MAX_BYTES + 1) if of in PACKED_SHA256 else None
    file.seek(0)
    packed = file.read(2) == b"\x1f\x8b"  # the content decides: some tools unpack and leave the .gz in the name
    file.seek(0)
    try:
        content = (gzip.GzipFile(fileobj=file) if packed else file).read(MAX_BYTES + 1)
    except EOFError as error:
        raise DataError(f"{where}: truncated", remedy=REPLACE) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{where}: corrupt ({error})", remedy=REPLACE) from error
    if len(content) > MAX_BYTES:
        raise DataError(f"{where}: too large", expected=f"at most {MAX_BYTES} bytes unpacked", remedy=REPLACE)

    n_dims = 3 if "idx3" in name else 1
    offset = 4 + 4 * n_dims
    shape = tuple(int(size) for size in np.frombuffer(content[4:offset].ljust(offset - 4, b"\0"), ">u4"))
    fault = None
    if content[:4] != bytes([0, 0, 8, n_dims]):  # 8: unsigned bytes
        fault = f"not an IDX file of bytes in {n_dims} dimensions, it starts with {content[:9]!r}"
    elif len(content) != offset + math.prod(shape):
        fault = f"its header claims shape {shape}, {offset + math.prod(shape)} bytes, and it has {len(content)}"
    _verify(where, hashlib.sha256(content if raw is None else raw).hexdigest(), of, name, fault)
    return np.frombuffer(content, np.uint8, offset=offset).reshape(shape)


def _verify(where: str, actual: str, of: str, name: str, fault: str | None = None) -> None:
    pinned = PACKED_SHA256.get(of, SHA256)[name]
    if fault or actual != pinned:
        fault = fault or f"foreign: not {TITLES[of]}"
        raise DataError(f"{where}: {fault}", expected=f"SHA-256 {pinned}", received=actual, remedy=REPLACE)
