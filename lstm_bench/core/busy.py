"""A sqlite database that another program holds: waited for statement by statement, said after seconds.

A statement that sqlite refuses as busy has done nothing, so the very same one is tried again: whoever asked for it sees only
that it took long, and what it has to write, a finished trial, is not lost. There is no end but the user's Ctrl-C: nothing is
gained by giving up, for the workers' results could be written nowhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")
NOTICE_S = 3.0  # before it is said
AGAIN_S = 60.0  # between two times that it is said
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _printed(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# Of the one driver in a process: whom a line is told, and whether the user wants to end.
say: Callable[[str], None] = _printed
interrupted: Callable[[], bool] = bool  # of nothing: no


def is_busy(error: BaseException) -> bool:
    """Whether another connection holds what a statement needs."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


class Patient(sqlite3.Connection):
    """A connection that waits for others; its own `timeout` is one try's."""

    def cursor(self, factory: Any = None) -> Any:
        """A cursor that waits."""
        return super().cursor(factory or _Cursor)

    def commit(self) -> None:
        """Commits, when those who read let it."""
        self.patiently(super().commit)

    def execute(self, *args: Any) -> Any:
        """A cursor that has executed a statement."""
        return self.cursor().execute(*args)

    def patiently(self, work: Callable[[], _T]) -> _T:
        """Does again what was refused as busy, as long as it has changed nothing and the user does not want to end."""
        since, said, before = time.monotonic(), -AGAIN_S, self.total_changes
        while True:
            try:
                done = work()
            except sqlite3.OperationalError as error:
                if not is_busy(error) or self.total_changes != before or interrupted():
                    raise
                now = time.monotonic() - since
                if now >= NOTICE_S and now - said >= AGAIN_S:
                    said = now
                    say(self._waiting(now))
                time.sleep(0.05)
            else:
                if said >= 0:
                    say(f"{self._name()}: free again after {time.monotonic() - since:.0f} s")
                return done

    def _name(self) -> str:
        # Not by a statement: it would wait as well.
        return getattr(self, "path", "study.db")

    def _waiting(self, seconds: float) -> str:
        return (
            f"{self._name()} is held by another program for {seconds:.0f} s by now{holders(self._name())}: waiting; what is "
            "finished is kept and written when it is free, Ctrl-C ends"
        )

    def __init__(self, database: Any, *args: Any, **kwargs: Any):
        super().__init__(database, *args, **kwargs)
        self.path = str(database).removeprefix("file:").partition("?")[0]


class _Cursor(sqlite3.Cursor):
    def execute(self, *args: Any) -> Any:
        return self._waited(lambda: super(_Cursor, self).execute(*args))

    def executemany(self, *args: Any) -> Any:
        return self._waited(lambda: super(_Cursor, self).executemany(*args))

    def _waited(self, work: Callable[[], _T]) -> _T:
        connection = self.connection
        return connection.patiently(work) if isinstance(connection, Patient) else work()


def holders(path: str | Path) -> str:
    """The processes that have locked a file, where the kernel tells: as a part of a sentence, "" where it does not."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        inode = Path(path).stat().st_ino
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        pids = {line[4] for line in lines if line[1] == "POSIX" and int(line[5].split(":")[2]) == inode}
        pids -= {str(os.getpid()), "-1", "0"}
        return f" (pid {', '.join(sorted(pids))})" if pids else ""
    return ""


def keep(path: Path, result: Mapping[str, Any]) -> None:
    """Adds a result to the file of those that a database that is held could not be told; they outlive this process.

    Args:
      path: JSON lines.
      result: Numbers, texts and what JSON makes of them.
    """
    with path.open("a") as file:
        file.write(json.dumps(result) + "\n")
        file.flush()
        os.fsync(file.fileno())


def kept(path: Path) -> list[dict[str, Any]]:
    """What `keep` has written; a last line that was cut off is none."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
    return found
