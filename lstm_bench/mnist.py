"""MNIST as files: their pinned digests, where they lie in a folder, and how they are read without being believed."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lstm_bench.arrays import Arrays, read_npz
from lstm_bench.errors import DataError

# Of the uncompressed IDX files. Looked up at every read: tests put the digests of small files here.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
KEYS = dict(zip(("x_train", "y_train", "x_test", "y_test"), SHA256, strict=True))  # as in Keras's mnist.npz
MAX_BYTES = 64 * 2**20  # of one file, packed or unpacked; the largest has 47 MB
REPLACE = "Delete it and give the same command again, or put the right file in its place."


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 (in a folder that may not be entered, Path.is_file raises)


def files(folder: Path) -> dict[str, Path]:
    """The MNIST files in `folder` by their official names; some tools spell them `train-images.idx3-ubyte`."""
    found: dict[str, Path] = {}
    for name in SHA256:
        for spelling in (name, name.replace("-idx", ".idx")):
            for path in (folder / f"{spelling}.gz", folder / spelling):
                if name not in found and _is_file(path):
                    found[name] = path
    return found


def is_in(folder: Path, *, partial: bool) -> bool:
    """Whether `folder` has all of MNIST, as four IDX files or as Keras's mnist.npz.

    Args:
      folder: Where to look.
      partial: Whether a part of it may lie there, such as a download that was broken off.

    Raises:
      DataError: for a part of it, unless `partial`.
    """
    found = files(folder)
    if len(found) == len(SHA256) or _is_file(folder / "mnist.npz"):
        return True
    if found and not partial:
        missing = ", ".join(name for name in SHA256 if name not in found)
        raise DataError(f"{folder}: MNIST is incomplete, {missing} missing", remedy="Add it, or remove the others.")
    return False


def read(folder: Path) -> Arrays:
    """Arrays uint8 of the MNIST in `folder`, from its IDX files rather than from mnist.npz.

    Raises:
      DataError: if a file is truncated, corrupt, too large or another one than it should be.
    """
    found = files(folder)
    if len(found) == len(SHA256):
        return {key: _read_idx(found[name], name) for key, name in KEYS.items()}
    arrays = read_npz(folder / "mnist.npz", KEYS)
    for key, name in KEYS.items():
        header = b"\0\0\x08" + bytes([arrays[key].ndim]) + np.array(arrays[key].shape, ">u4").tobytes()
        actual = hashlib.sha256(header + arrays[key].tobytes()).hexdigest()  # as if it were the IDX file
        _verify(f"{folder / 'mnist.npz'}: {key}", actual, SHA256[name])
    return arrays


def digest() -> str:
    """SHA-256 of all of MNIST, the same for both kinds of files."""
    return hashlib.sha256(" ".join(SHA256.values()).encode()).hexdigest()


def _read_idx(path: Path, name: str) -> np.ndarray:
    try:
        with path.open("rb") as file:
            return decode(file, str(path), name)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def decode(file: BinaryIO, where: str, name: str) -> np.ndarray:
    """Array uint8 of an MNIST file, gzipped or not. No claim of its header is believed before it was checked.

    Args:
      file: Its bytes.
      where: Its path or URL, for messages.
      name: Which of the four files it should be, a key of `SHA256`.

    Raises:
      DataError: if it is truncated, corrupt, too large or another file.
    """
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
    _verify(where, hashlib.sha256(content).hexdigest(), SHA256[name], fault)
    return np.frombuffer(content, np.uint8, offset=offset).reshape(shape)


def _verify(where: str, actual: str, pinned: str, fault: str | None = None) -> None:
    if fault or actual != pinned:
        fault = fault or "foreign: not MNIST"
        raise DataError(f"{where}: {fault}", expected=f"SHA-256 {pinned}", received=actual, remedy=REPLACE)
