"""One driver per folder below `sweeps/` and per study of a sqlite file: file locks that name their owner and die with it.

Where a file system knows no `flock` (NFS without a lock daemon, Lustre mounted without it) a POSIX record lock does, which
dies with its owner as well; where there is none either, a file that only one can make, and which names its owner. Each kind
has a file of its own, and machines may see one file system by different kinds: a driver first writes its name into its own
file and then looks into the others', so that of two that start at once at least one sees the other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil

from lstm_bench.core.errors import StorageError

_RECORD, _OWNER = ".posix", ".owner"  # after the name of the lock, what the other two kinds lock
_SLACK_S = 60.0  # of a file server's clock
_AGAIN_S = 0.2  # between two tries for a lock that is waited for
_mine: set[Path] = set()  # a record lock holds off other processes alone


class _Busy(Exception):
    """Another driver has the lock: who, and of which file."""

    def __init__(self, owner: str, path: Path):
        super().__init__(owner)
        self.owner, self.path = owner, path


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
def wait(path: Path) -> Iterator[None]:
    """Holds a lock file, however long another process has it. For where a folder itself cannot be locked.

    Args:
      path: The lock file; it stays behind.

    Raises:
      StorageError: when it cannot be written.
    """
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(_taken(path))
                break
            except _Busy:
                time.sleep(_AGAIN_S)
        yield


@contextlib.contextmanager
def _held(path: Path, name: str, option: str) -> Iterator[None]:
    """Holds a lock file, for what people know by a name."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_taken(path))
        except _Busy as busy:
            if busy.path == path:
                remedy = f"Wait for it, end it, or choose another {option}."
            else:
                remedy = f"Wait for it, end it, or choose another {option}; where it is dead: rm {busy.path}"
            raise StorageError(f"{name} is running as {busy.owner}", remedy=remedy) from busy
        yield


@contextlib.contextmanager
def _taken(path: Path) -> Iterator[None]:
    """Takes the best kind of lock there is.

    Raises:
      _Busy: when another driver has one.
      StorageError: when a file cannot be written.
    """
    place = path.absolute()
    if place in _mine:
        raise _Busy(_this(), path)
    with contextlib.ExitStack() as opened:
        own, file = _lock(path, opened)
        try:
            file.truncate(0)
            file.write((_this() if own == path else f"{_this()}\n{_machine()}").encode())
        except OSError as error:
            raise _unwritable(path.parent, error) from error
        opened.callback(_emptied, file)
        others = (path, path.with_name(path.name + _RECORD), path.with_name(path.name + _OWNER))
        for other in others:
            if other != own and (owner := _living(other)):
                raise _Busy(owner, other)
        _mine.add(place)
        opened.callback(_mine.discard, place)
        yield


def _lock(path: Path, opened: contextlib.ExitStack) -> tuple[Path, IO[bytes]]:
    """The file that is locked, and open."""
    file = _open(path, opened)
    if _flocked(file):
        return path, file
    record = path.with_name(path.name + _RECORD)
    file = _open(record, opened)
    if _record_locked(file):
        return record, file
    owner = path.with_name(path.name + _OWNER)
    return owner, opened.enter_context(_owned(owner))


def _open(path: Path, opened: contextlib.ExitStack) -> IO[bytes]:
    try:
        return opened.enter_context(path.open("ab+", buffering=0))  # nothing is left to write when it is closed
    except OSError as error:
        raise _unwritable(path.parent, error) from error


def _flocked(file: IO[bytes]) -> bool:
    """Whether a file is locked as a whole; False where the file system knows no such lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _Busy(_named(file), Path(file.name)) from error
    except OSError:
        return False
    return True


def _record_locked(file: IO[bytes]) -> bool:
    """As `_flocked`, by a POSIX record lock."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):  # POSIX lets a system choose
            raise _Busy(_named(file), Path(file.name)) from error
        return False
    return True


@contextlib.contextmanager
def _owned(path: Path) -> Iterator[IO[bytes]]:
    """Makes a file that only one can make; what a driver of this machine has left that is dead is taken away first."""
    with contextlib.ExitStack() as opened:
        try:
            if path.exists() and _living(path) is None:
                opened.enter_context(_alone_here(path))
                if _living(path) is None:  # still: nobody else of this machine takes it away now, and no other may
                    path.unlink(missing_ok=True)
            file = opened.enter_context(path.open("xb+", buffering=0))
        except FileExistsError as error:
            raise _Busy(_living(path) or "another process", path) from error
        except OSError as error:
            raise _unwritable(path.parent, error) from error
        opened.pop_all()
    with file:
        try:
            yield file
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone_here(path: Path) -> Iterator[None]:
    """One process of this machine at a time: a socket's name in the kernel, which dies with its owner."""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    with socket.socket(socket.AF_UNIX) as held:
        try:
            held.bind(f"\0lstm_bench-{name}")
        except OSError as error:
            raise _Busy("another process", path) from error
        yield


def _emptied(file: IO[bytes]) -> None:
    """A lock that is given up names nobody."""
    with contextlib.suppress(OSError):
        file.truncate(0)


def _this() -> str:
    return f"pid {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"


def _machine() -> str:
    """Where a process number means something: until the next start of this machine, in this container."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return "unknown"


def _named(file: IO[bytes]) -> str:
    file.seek(0)
    return _first(file.read().decode(errors="replace")) or "another process"


def _first(said: str) -> str:
    return (said.strip().splitlines() or [""])[0]


def _living(path: Path) -> str | None:
    """Whom a lock's file names that is not known to be dead; None for nobody."""
    try:
        said, written = path.read_text(errors="replace"), path.stat().st_mtime
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    first, machine = _first(said), said.strip().partition("\n")[2]
    if not first:
        # A kernel's lock was given up; an owner's file has not been written yet.
        return "another process" if path.name.endswith(_OWNER) else None
    named = re.match(r"pid (\d+) on (\S+) ", first)
    here = named and named[2] == socket.gethostname() and machine in ("", _machine())
    return None if named and here and _is_dead(int(named[1]), written) else first


def _is_dead(pid: int, written: float) -> bool:
    """Whether no process has that number, or one that began long after the number was written down."""
    try:
        return psutil.Process(pid).create_time() > written + _SLACK_S
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def kind(folder: Path) -> str:
    """How a driver would hold a folder, in a few words; what is tried is gone at once.

    Args:
      folder: It is there.

    Raises:
      OSError: when nothing can be written there.
    """
    import tempfile

    tries = {"flock": fcntl.flock, "POSIX record locks": fcntl.lockf}
    refused = []
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".lock-") as file:
        for name, take in tries.items():
            try:
                take(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                refused.append(f"no {name} ({error.strerror})")
            else:
                return ", ".join([name, *refused])
    return f"owner files, {', '.join(refused)}: one that a killed driver of another machine leaves is yours to delete"


def owner(folder: Path) -> str | None:
    """Who holds a folder below `sweeps/`, None when nobody does; holds nothing and writes nothing.

    Args:
      folder: Of a study or a kernel benchmark.
    """
    with contextlib.suppress(StorageError):
        for end in (_RECORD, _OWNER):
            if said := _living(folder / f"lock{end}"):
                return said
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
        except BlockingIOError:
            return said or "another process"
        except OSError:  # no such lock here
            return said or None
    return None


def _unwritable(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{folder}: cannot be written ({error.strerror})",
        remedy="Work in a folder of your own, free space, or mend the permissions.",
    )
