"""The MLflow store behind `tracking.uri`: which there are, where they lie, and whether one is fit for use.

Importing this module imports no MLflow: that costs more than a second and is left to `connect`.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import logging
import os
import re
import secrets
import socket
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from lstm_bench.core import locks, schema
from lstm_bench.core.busy import holders
from lstm_bench.core.errors import ConfigError, StorageError, nearest, redact, require_quoted

NAMES = ("mlflow", "none")
VARIABLE = "MLFLOW_TRACKING_URI"
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql")
# No telemetry, no pickle, no addresses printed at the end of every run, no bars for files of a kilobyte.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
# How long a server may keep a sweep waiting before it counts as down: two tries of 5 s. A user's own values win.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # it prints a traceback of what it raises as well, and that is said in a line of ours
}
_CHECKED_BYTES = 64 * 2**20  # sqlite files up to this size are read through before use
_WAIT_S = 20.0  # for another program that holds a sqlite file
_NOTICE_S = 2.0  # before it is said


def check(config: schema.Store, key: str = "tracking.uri") -> None:
    """Checks `tracking.name` and `tracking.uri` without importing MLflow or touching a file.

    Args:
      config: `name` and `uri`.
      key: What a user knows the URI as.

    Raises:
      ConfigError: for an unknown name, a URI of an unknown scheme, or one that names no file or host.
    """
    name, uri = config.get("name"), config.get("uri")
    if uri and uri == default():
        key = VARIABLE
    if name not in NAMES:
        raise ConfigError("tracking", received=name, remedy=nearest(str(name), NAMES))
    if uri is None:
        return
    if not isinstance(uri, str):
        raise ConfigError(key, expected="a URI or null", received=uri)
    if not uri.startswith("sqlite:"):
        require_quoted(key, uri)
    known = "a URI of " + ", ".join(SCHEMES)
    scheme, separator, _ = uri.partition("://")
    if not separator or scheme == "file":
        raise ConfigError(
            key,
            expected=known,
            received=redact(uri),
            remedy=f"MLflow keeps runs in a database now, not in a folder: {key}=sqlite:///mlflow.db",
        )
    base, _, driver = scheme.partition("+")
    if base not in SCHEMES or (driver and base not in ("postgresql", "mysql")):
        raise ConfigError(key, expected=known, received=redact(uri), remedy=nearest(base, SCHEMES))
    try:
        parts = urlsplit(uri)
        named = bool(parts.path.strip("/")) and not parts.netloc if base == "sqlite" else bool(parts.hostname)
        named = named and parts.port != 0 and ":memory:" not in parts.path
    except ValueError:  # a port that is no number
        named = False
    if not named:
        form = "sqlite:///FILE (four slashes: absolute)" if base == "sqlite" else f"{scheme}://HOST[:PORT]/..."
        raise ConfigError(key, expected=form, received=redact(uri))


def default() -> str | None:
    """What `tracking.uri` is unless it is given: MLflow's own variable, None where it is not set."""
    return os.environ.get(VARIABLE) or None


def bare(uri: str) -> str:
    """The address of a server without a name and a password."""
    return re.sub(r"//[^/?#]*@", "//", uri).rstrip("/")


def shown(uri: str) -> str:
    """A store in words, no password in it. Of a server its name alone: its first page shows no runs, so it is no link."""
    return bare(uri).partition("//")[2] if uri.startswith("http") else redact(uri)


def store_uri(config: schema.Store) -> str:
    """The absolute URI of the store: `tracking.uri`, or `mlflow.db` in the working directory."""
    uri = config.get("uri") or "sqlite:///mlflow.db"
    path = sqlite_path(uri)
    return uri if path is None else f"sqlite:///{path}"


def sqlite_path(uri: str) -> Path | None:
    """The absolute path of a `sqlite:///` URI's file, None for any other URI."""
    # Not by urlsplit: a folder may have a # in its name.
    return Path.cwd() / uri.partition(":///")[2].partition("?")[0] if uri.startswith("sqlite:") else None


def artifact_dir(uri: str) -> Path:
    """`mlartifacts/` beside a sqlite store, else below the working directory. A server decides for itself."""
    path = sqlite_path(uri)
    return (path.parent if path else Path.cwd()) / "mlartifacts"


def move_artifacts(path: Path, old: str, new: str) -> None:
    """Has a sqlite store know the files of an experiment under another address; MLflow has no call for it.

    Args:
      path: Of the store.
      old: How the addresses begin, a folder's.
      new: How they shall begin.
    """
    places = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"}
    with contextlib.closing(sqlite3.connect(path, timeout=_WAIT_S)) as database, database:
        for table, column in places.items():
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # names of our own  # nosec B608
                f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
            )


def check_sqlite(path: Path, write: bool = True, busy: Callable[[str], None] | None = None) -> None:
    """Refuses a file that MLflow would break, or break on. A missing one is fine.

    Args:
      path: The file.
      write: Whether it is to be written.
      busy: Told who holds it, where another program does after a moment: it is not waited for here then.

    Raises:
      StorageError: when it is empty, corrupt, another program's, or cannot be written. It is left as it is.
    """
    remedy = "It was left as it is: move it away to start anew, or choose another tracking.uri."
    if write and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise StorageError(f"{path}: cannot be written", remedy="Mend the permissions, or choose another tracking.uri.")
    if not path.exists():
        return
    if path.stat().st_size == 0:
        raise StorageError(f"{path}: an empty file, not MLflow's database", remedy=remedy)
    address, wait_s = f"file:{quote(str(path))}?mode=rw", _NOTICE_S if busy else _WAIT_S
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=wait_s)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if path.stat().st_size <= _CHECKED_BYTES:
                (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
                if verdict != "ok":
                    raise sqlite3.DatabaseError(verdict)
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):  # busy, not broken: MLflow waits for it, or says so
            if busy:
                busy(f"{path} is held by another program{holders(path)}")
            return
        raise StorageError(f"{path}: corrupt ({str(error).splitlines()[0]})", remedy=remedy) from error
    if tables and "experiments" not in tables:
        raise StorageError(f"{path}: a database, but not MLflow's", remedy=remedy)


def load(uri: str) -> None:
    """Imports what `connect` needs of MLflow for a store."""
    os.environ.update({**PATIENCE, **os.environ, **ENVIRONMENT})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations between MLflow and its libraries
        from mlflow import MlflowClient  # noqa: F401

        if not uri.startswith("http"):
            from mlflow.store.tracking import sqlalchemy_store  # noqa: F401


def connect(uri: str, write: bool = True, busy: Callable[[str], None] | None = None) -> Any:
    """An `MlflowClient`, and the store behind it ready for use; a new sqlite store is made by one process at a time.

    Args:
      uri: Of the store, absolute.
      write: Whether it is to be written.
      busy: See `check_sqlite`.

    Raises:
      StorageError: for a sqlite store that cannot be used. Other stores, and one that others keep locked, raise whatever
        MLflow or the network does.
    """
    os.environ.update({**PATIENCE, **os.environ, **ENVIRONMENT})
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # says every retry
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])  # also where it was imported before
    path = sqlite_path(uri)
    parts = urlsplit(uri)
    if path is None and parts.scheme not in ("http", "https"):
        port = parts.port or (5432 if parts.scheme.startswith("postgresql") else 3306)
        socket.create_connection((str(parts.hostname), port), timeout=5).close()
    with _alone(path) if path else contextlib.nullcontext(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations between MLflow and its libraries
        if path:
            check_sqlite(path, write, busy)
        from mlflow import MlflowClient

        if path or not uri.startswith("http"):
            from mlflow.store.db import utils

            utils.MAX_RETRY_COUNT = 3  # ten, with growing pauses, take two minutes to say that a password is wrong
        try:
            if path and write and not path.exists():
                # Hundreds of statements, without a transaction around them: half of them are a file of no use to anyone.
                for left in path.parent.glob(f"{glob.escape(path.name)}.*.part*"):  # by a driver that died
                    left.unlink(missing_ok=True)
                part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")  # MLflow keeps connections by name
                MlflowClient(f"sqlite:///{part}", registry_uri=f"sqlite:///{part}")
                part.replace(path)
            return MlflowClient(uri, registry_uri=uri)
        except Exception as error:
            if path is None or "database is locked" in str(error):  # busy for longer than MLflow waits: an outage
                raise
            remedy = "Mend it, or choose another tracking.uri."
            raise StorageError(f"{path}: MLflow cannot use it ({said(error)})", remedy=remedy) from error


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds off other drivers by a lock on the folder of `path`: nothing to leave behind, freed when the owner dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"{path.parent}: cannot be used ({error.strerror})") from error
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, folder)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError:  # a file system without such locks
            stack.enter_context(locks.wait(path.with_name(f"{path.name}.lock")))
        yield


def said(error: Exception) -> str:
    """A foreign error as part of one line, without passwords."""
    first = (str(error).strip() or "no reason given").splitlines()[0]
    return f"{type(error).__name__}: {redact(first)[:300]}"
