"""One driver per folder below `sweeps/` and per study of a sqlite file: file locks that name their owner and die with it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from lstm_bench.errors import StorageError


@contextlib.contextmanager
def hold(folder: Path, option: str) -> Iterator[None]:
    """Holds a folder below `sweeps/` for this process; the lock dies with its owner.

    Args:
      folder: Of a study or a kernel benchmark.
      option: What another name is given by: `study.name`.

    Raises:
      StorageError: when another driver holds it, naming it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    with _held(folder / "lock", folder.name, option):
        yield


@contextlib.contextmanager
def hold_database(url: str | None, study: str) -> Iterator[None]:
    """Holds a study in a sqlite file that was named by a URL: drivers in other folders may be given the same one.

    Args:
      url: `storage.url`. For None, and for a server, which knows its drivers itself, nothing is held.
      study: Its name. Other studies of the file have drivers of their own.

    Raises:
      StorageError: when another driver holds it, naming it.
    """
    if not str(url).startswith("sqlite:"):
        yield
        return
    from sqlalchemy import make_url

    file = Path(str(make_url(str(url)).database).removeprefix("file:")).resolve()
    with _held(file.with_name(f"{file.name}.{study}.lock"), study, "study.name"):
        yield


@contextlib.contextmanager
def _held(path: Path, name: str, option: str) -> Iterator[None]:
    """Holds a lock file, for what people know by a name."""
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(path.open("ab+", buffering=0))  # nothing is left to write when it is closed
        except OSError as error:
            raise _unwritable(path.parent, error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = file.read().decode(errors="replace").strip() or "another process"
            raise StorageError(
                f"{name} is running as {owner}",
                remedy=f"Wait for it, end it, or choose another {option}.",
            ) from error
        try:
            file.truncate(0)
            owner = f"pid {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
            file.write(owner.encode())
        except OSError as error:
            raise _unwritable(path.parent, error) from error
        yield


def owner(folder: Path) -> str | None:
    """Who holds a folder below `sweeps/`, None when nobody does; holds nothing and writes nothing.

    Args:
      folder: Of a study or a kernel benchmark.
    """
    try:
        file = (folder / "lock").open()
    except OSError:
        return None
    with file:
        said = file.read().strip()
        named = re.match(r"pid (\d+) on (\S+) ", said)
        if named and named[2] == socket.gethostname() and not psutil.pid_exists(int(named[1])):
            return None  # without a look at the lock, which for that moment a driver could not take
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return said or "another process"
    return None


def _unwritable(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{folder}: cannot be written ({error.strerror})",
        remedy="Work in a folder of your own, free space, or mend the permissions.",
    )
