"""Sequences as they were read once, kept in the user's cache: a large table is read in seconds from then on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench.core import fileio, progress
from lstm_bench.core.cache import cache_folder
from lstm_bench.core.errors import StorageError
from lstm_bench.data import formats
from lstm_bench.data.formats import ts
from lstm_bench.data.formats.source import Source
from lstm_bench.data.sequences import Columns, Sequences

VERSION = 2  # of what readers make of a file: raised when one of them makes something else
MIN_BYTES = 8 * 2**20  # a smaller file is read as quickly as its copy
MAX_BYTES = 20 * 2**30  # of all that is kept: the longest unused goes first
MAX_DIGESTS = 1_000  # of files, remembered
SETTLED_S = 2.0  # since the last write to a file: the coarsest clock of a file system in use
_ARRAYS = ("x", "y", "ids", "groups", "first", "last", "lengths")


def read(source: Source, columns: Columns) -> dict[str, Sequences]:
    """As `formats.read`, from the cache where it is there; what cannot be kept is read all the same.

    Raises:
      ConfigError: as `formats.read`.
      DataError: likewise.
    """
    source.require()
    if source.path.stat().st_size < MIN_BYTES or source.suffix == ".npz":
        return formats.read(source, columns)
    with progress.shown():
        return _kept(source, columns)


def _kept(source: Source, columns: Columns) -> dict[str, Sequences]:
    before = _identity(source)
    folder = cache_folder() / "files" / _key(source, columns)
    with contextlib.suppress(OSError, ValueError, KeyError):
        kept = _load(folder)
        os.utime(folder)
        return kept
    made = formats.read(source, columns)
    if _identity(source) != before:  # between its digest and its end: it would be kept under that of another
        raise source.changed()
    progress.tell(f"keeping {source.name}")
    if any(_has_holes(getattr(found, name)) for found in made.values() for name in _ARRAYS):
        return made  # a missing text has no place in a file of texts: it would come back as a word
    with contextlib.suppress(OSError):  # no room: it is read again next time
        _keep(folder, made)
        _forget(folder.parent)
    return made


def _has_holes(array: np.ndarray | None) -> bool:
    """Whether an array of texts lacks one."""
    return array is not None and array.dtype == object and bool((array == None).any())  # noqa: E711 (element by element)


def _key(source: Source, columns: Columns) -> str:
    """Of contents, options and version; where the file lies is no part of it."""
    said = {name: str(value) for name, value in vars(columns).items() if value}
    digests = [_digest(source)]
    if source.suffix == ".ts" and (other := ts.test_set(source)):
        digests.append(_digest(other))
    known = json.dumps([VERSION, source.suffix, digests, said], sort_keys=True)
    return hashlib.sha256(known.encode()).hexdigest()[:32]


def _identity(source: Source) -> tuple[str | int | None, ...]:
    """What is another when the contents of a file are, as far as its folder knows."""
    known = source.path.stat()
    return str(source), known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns


def _digest(source: Source) -> str:
    """Of the contents: remembered as long as the file is the one that it was, for a large one takes seconds to read.

    One that was written to just now is not: the next write may come within the same tick of the file system's clock.
    """
    identity = _identity(source)
    name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
    known = cache_folder() / "files" / ".digests" / name
    with contextlib.suppress(OSError, ValueError):
        found = known.read_text(encoding="ascii")
        if len(found) == 64:
            os.utime(known)
            return found
    made = source.sha256()
    last = source.path.stat()
    if _identity(source) == identity and time.time() - max(last.st_mtime, last.st_ctime) > SETTLED_S:
        with contextlib.suppress(OSError, StorageError):
            fileio.write_bytes(known, made.encode())
            for old in sorted(known.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-MAX_DIGESTS]:
                old.unlink(missing_ok=True)
    return made


def _load(folder: Path) -> dict[str, Sequences]:
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    made = {}
    for split, facts in about.items():
        arrays: dict[str, Any] = dict.fromkeys(_ARRAYS)
        for name in facts.pop("arrays"):
            arrays[name] = np.load(folder / f"{split}.{name}.npy", mmap_mode="c", allow_pickle=False)
        facts |= {"features": tuple(facts["features"]), "notes": tuple(facts["notes"])}
        facts["categories"] = {name: tuple(known) for name, known in facts["categories"].items()}
        whole: dict[str, Any] = arrays | facts
        made[split] = Sequences(**whole)
    return made


def _keep(folder: Path, parts: dict[str, Sequences]) -> None:
    """Writes beside it, then renames: another driver sees all of it or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
    try:
        about = {}
        for split, found in parts.items():
            arrays = {name: getattr(found, name) for name in _ARRAYS if getattr(found, name) is not None}
            for name, array in arrays.items():
                np.save(made / f"{split}.{name}.npy", array.astype(str) if array.dtype == object else array)
            about[split] = {
                "arrays": list(arrays),
                "features": found.features,
                "windows": found.windows,
                "categories": dict(found.categories),
                "notes": found.notes,
                "cut": found.cut,
                "dropped": found.dropped,
                "several": found.several,
            }
        (made / "about.json").write_text(json.dumps(about), encoding="utf-8")
        with contextlib.suppress(OSError):  # another driver was quicker
            made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _forget(root: Path) -> None:
    """Takes out what was not used for the longest time until the rest is small enough."""
    folders = [folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    sizes = {folder: sum(file.stat().st_size for file in folder.iterdir()) for folder in folders}
    for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime)[:-1]:
        if sum(sizes.values()) <= MAX_BYTES:
            return
        shutil.rmtree(folder, ignore_errors=True)
        sizes.pop(folder)
