"""A dataset in an anonymous, memory-mapped file that all workers of a host share.

The driver stores its arrays once and workers inherit the descriptor: they all see the same pages of the page cache, which the
system may reclaim, and copy only those that they write to. Whatever ends the processes, nothing is left in the temporary folder.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import tempfile
from typing import Any

import numpy as np

from lstm_bench.core import schema
from lstm_bench.data.dataset import Dataset

ALIGNMENT = 64  # bytes: what XLA, and any vector instruction, wants in order to use an array where it is
_LENGTH = struct.Struct("<Q")  # of the header, in front of it; 0 until everything is there


class SharedDataset:
    """The driver's end: a file that is empty until a dataset is stored.

    Where the temporary folder is full or cannot be written it stays so, and workers load the data themselves.

    Attributes:
      fd: Descriptor for the workers to inherit; None where there is no file.
    """

    def __init__(self) -> None:
        self.fd: int | None = None
        with contextlib.suppress(OSError):
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (open as long as workers may be started)
            self.fd = self._file.fileno()

    def store(self, dataset: Dataset, config: schema.Dataset) -> None:
        """Writes the dataset of a configuration, before the first task is submitted.

        Args:
          dataset: What `data.load` returned.
          config: The `dataset` settings, as tasks have them.
        """
        if self.fd is None:
            return
        try:
            _write(self.fd, dataset, config)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, 0)  # what little room there is belongs to the study

    def close(self) -> None:
        """Lets go of the file; it is gone when the last worker is."""
        if self.fd is not None:
            self._file.close()
            self.fd = None


def _write(fd: int, dataset: Dataset, config: schema.Dataset) -> None:
    arrays = {key: value for key, value in vars(dataset).items() if isinstance(value, np.ndarray)}
    rest = {key: value for key, value in vars(dataset).items() if key not in arrays}
    layout: dict[str, dict[str, Any]] = {}
    end = 0  # like every offset, from where the arrays begin
    for key, array in arrays.items():
        layout[key] = {"dtype": array.dtype.str, "shape": array.shape, "offset": _aligned(end)}
        end = layout[key]["offset"] + array.nbytes
    header = json.dumps({"config": _key(config), "rest": rest, "arrays": layout, "size": end}).encode()
    start = _aligned(_LENGTH.size + len(header))
    for key, array in arrays.items():
        _put(fd, array.reshape(-1).view(np.uint8).data, start + layout[key]["offset"])
    _put(fd, header, _LENGTH.size)
    _put(fd, _LENGTH.pack(len(header)), 0)


def _put(fd: int, data: bytes | memoryview, offset: int) -> None:
    # The file's position is shared with every process that has inherited it: nobody uses it.
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _key(config: schema.Dataset) -> str:
    return json.dumps(config, sort_keys=True)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def load(fd: int, config: schema.Dataset) -> Dataset | None:
    """The dataset in an inherited file, without a copy: its arrays are views of the mapped file, and keep it mapped.

    Args:
      fd: Descriptor of a `SharedDataset`.
      config: The `dataset` settings.

    Returns:
      The dataset, whose arrays this process may write to without another's seeing it. None when the file holds that of other
      settings, or none.
    """
    try:
        memory = mmap.mmap(fd, 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError):  # an empty file cannot be mapped
        return None
    length = _LENGTH.unpack_from(memory)[0] if len(memory) >= _LENGTH.size else 0
    start = _aligned(_LENGTH.size + length)
    if not length or start > len(memory):
        return None
    header = json.loads(memory[_LENGTH.size : _LENGTH.size + length])
    if header["config"] != _key(config) or start + header["size"] > len(memory):
        return None
    arrays: dict[str, Any] = {
        key: np.ndarray(entry["shape"], entry["dtype"], buffer=memory, offset=start + entry["offset"])
        for key, entry in header["arrays"].items()
    }
    rest: dict[str, Any] = header["rest"]
    rest = {key: tuple(value) if isinstance(value, list) else value for key, value in rest.items()}
    return Dataset(**arrays, **rest)
