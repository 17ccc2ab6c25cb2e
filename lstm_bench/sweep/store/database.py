"""Optuna's database: its file, its errors, its connection."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from lstm_bench.core import busy
from lstm_bench.core.errors import InterruptedByUser, StorageError, redact

_T = TypeVar("_T")
_TRY_S = 0.2  # sqlite waits in C, where no signal is heard


@contextlib.contextmanager
def guarded(where: str) -> Iterator[None]:
    """Turns a database's own exceptions into StorageError, without passwords."""
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, sqlite3.Error) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        if busy.interrupted() and busy.is_busy(getattr(cause, "orig", None) or cause):
            raise InterruptedByUser(
                f"interrupted while another program held {where}", remedy="The same command goes on from here."
            ) from error
        raise StorageError(
            f"{where}: {first_line(cause)}",
            remedy="Finished trials are kept: mend the cause (space, permissions, server), then give the same command again.",
        ) from error


def first_line(error: BaseException) -> str:
    """What a database said, in one line and without passwords."""
    lines = str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__]
    several = lines[0].startswith("Multiple connection attempts failed") and len(lines) > 1  # one for each address
    return redact(lines[-1].strip("- ") if several else lines[0])


def check_file(path: Path) -> None:
    """Raises StorageError when a study's sqlite file is there and is not sound; never touches one that is not."""
    if not path.exists():
        return
    remedy = f"Nothing was changed. Restore it from a copy, or move it away to start afresh: mv {path} {path}.bad"
    if path.stat().st_size == 0:
        raise StorageError(f"{path}: an empty file where a study is expected", remedy=remedy)
    try:
        # Not read-only: a driver killed in mid-transaction leaves a journal, which sqlite rolls back as it opens.
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=_TRY_S, factory=busy.Patient)
        ) as database:
            verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    except sqlite3.Error as error:
        if busy.is_busy(error):
            remedy = "Nothing was changed. End what holds it, then give the same command again."
        raise StorageError(f"{path}: {error}", remedy=remedy) from error
    if verdict != "ok" or "studies" not in tables:
        raise StorageError(f"{path}: corrupt, or not a study's database", remedy=remedy)


def _make_file(path: Path) -> None:
    """Makes a study's sqlite file, whole or not at all: from an empty one nobody could tell who left it."""
    part = path.with_name(f"{path.name}.part")
    try:
        for left in (part, part.with_name(f"{part.name}-journal")):  # by a driver that died
            left.unlink(missing_ok=True)
        storage = _sqlite(_sqlite_url(part), str(part))
        storage.remove_session()
        storage.engine.dispose()
        part.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be made ({error.strerror})", remedy="Free space, or mend the permissions."
        ) from error


def _sqlite_url(path: Path) -> str:
    # The only characters of a path that mean something in SQLAlchemy's URL.
    return "sqlite:///" + re.sub("[%?]", lambda found: quote(found[0]), str(path))


def _sqlite(url: str, where: str) -> Any:
    return rdb(url, where, {"connect_args": {"timeout": _TRY_S, "factory": busy.Patient}})


def rdb(url: str, where: str, options: Mapping[str, Any]) -> Any:
    """Optuna's storage of a database.

    Args:
      url: Of the database.
      where: What people know it as.
      options: Of SQLAlchemy's engine.

    Raises:
      StorageError: when another version of Optuna made its tables.
    """
    import optuna

    # Optuna fills in a template: braces are its own.
    template = url.replace("{", "{{").replace("}", "}}")
    storage = optuna.storages.RDBStorage(template, engine_kwargs=dict(options), skip_compatibility_check=True)
    try:
        storage._version_manager.check_table_schema_compatibility()  # apart: what it has opened can be closed
    except RuntimeError as error:
        storage.remove_session()
        storage.engine.dispose()
        raise StorageError(f"{where}: a database of another version of Optuna", remedy=redact(str(error))) from error
    return storage
