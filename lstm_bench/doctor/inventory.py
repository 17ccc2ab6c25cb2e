"""What lies here: data and its digests, databases, locks and records of studies. Everything is read, nothing is mended."""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import importlib.util
import os
import re
import shutil
import socket
import sqlite3
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import psutil

from lstm_bench.core import locks, schema
from lstm_bench.core.errors import DataError, LstmBenchError, StorageError, redact
from lstm_bench.core.formatting import counted
from lstm_bench.data import dataset, readers
from lstm_bench.data import images as mnist
from lstm_bench.doctor.finding import Finding, at_fault
from lstm_bench.study import columns, leak_rows
from lstm_bench.tracking import store

_DIGITS = 1797  # samples in scikit-learn's file, one per line
_KEEP = "Restore it from a copy, or move it away to start afresh."


def findings(config: schema.Doctor, sweeps: Path) -> list[Finding]:
    """Data, stores and studies.

    Args:
      config: Resolved configuration of the doctor.
      sweeps: Folder of the studies.
    """
    answer_s = config["limits"]["answer_s"]
    found = datasets(config["dataset"])
    if config["tracking"]["name"] == "mlflow":
        found.append(mlflow_store(store.store_uri(config["tracking"]), answer_s))
    url = config["storage"]["url"]
    if url is not None:
        path = store.sqlite_path(url)
        found.append(
            server("storage", url, answer_s) if path is None else database("storage", path, "studies", answer_s)
        )
    folders = sorted(path for path in sweeps.glob("*") if path.is_dir() and path.name != "published")
    return [*found, *leaks(sweeps / leak_rows.FILE), *(one for folder in folders for one in study(folder, answer_s))]


def leaks(path: Path) -> list[Finding]:
    """What the leak meter has kept: of which data, and whether it can be read; nothing where there is no such file."""
    if not path.exists():
        return []
    try:
        rows = leak_rows.known(path)
    except StorageError as error:
        return [at_fault(path.name, error)]
    alarms = sum(row["alarm"] == "1" for row in rows)
    return [Finding(path.name, f"{counted(len({row['data'] for row in rows}), 'dataset')}, {counted(alarms, 'alarm')}")]


# Data.


def datasets(settings: schema.Dataset) -> list[Finding]:
    """Each set of images and the digits: where they are, verified; and the file or folder that the settings name."""
    found = []
    if settings["name"] == "npz":
        found.append(_own(settings))
    for name in mnist.TITLES:
        asked = settings.copy()
        if readers.IMAGES.get(settings["name"]) != name:
            asked.update({"name": name, "dir": None, "path": None, "fallback": None})
            asked.update({"train_size": None, "validation_size": 0.1, "test_size": None})
            asked.update({"length": None, "permutation_seed": None})
        found.append(_images(name, asked))
        parts = [part for folder in dataset.folders(name) for part in folder.glob("*.part")]
        found += [Finding(name, f"{part}: left by a download that was ended; may be deleted") for part in parts]
    return [*found, _digits()]


def _images(name: str, settings: schema.Dataset) -> Finding:
    try:
        here = dataset.find(settings)
        if here is None:
            return Finding(name, "not here: downloaded when it is first asked for")
        images = mnist.read(Path(schema.settled(here.config["dir"])), name)
    except LstmBenchError as error:
        return at_fault(name, error)
    return Finding(name, f"{here.source}: {len(images['x_train']):,} + {len(images['x_test']):,} images, SHA-256 good")


def _own(settings: schema.Dataset) -> Finding:
    try:
        loaded = dataset.load(settings)
    except LstmBenchError as error:
        return at_fault("npz", error)
    sizes = f"{len(loaded.x_train):,} training sequences of {' x '.join(map(str, loaded.input_shape))}"
    return Finding("npz", f"{loaded.source}: {sizes}, a {loaded.task}")


def _digits() -> Finding:
    spec = importlib.util.find_spec("sklearn")
    path = Path((spec and spec.origin) or "sklearn").parent / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(path) as file:
            n = sum(1 for _ in file)
    except (OSError, EOFError) as error:
        remedy = "python -m pip install --force-reinstall scikit-learn"
        return at_fault("digits", DataError(f"{path}: cannot be read ({error})", remedy=remedy))
    if n != _DIGITS:
        return at_fault("digits", DataError(f"{path}", expected=f"{_DIGITS} samples", received=n))
    return Finding("digits", f"embedded in scikit-learn: {n:,} samples")


# Databases.


def examined(path: Path, table: str, answer_s: float) -> dict[str, int]:
    """Reads a sqlite file through without changing it; returns the number of its trials by state.

    Args:
      path: The file.
      table: One that it must have.
      answer_s: Seconds to wait for a writer.

    Raises:
      StorageError: when it is empty, corrupt, or another program's.
      TimeoutError: when it is busy for longer.
    """
    if path.stat().st_size == 0:
        raise StorageError(f"{path}: an empty file where a database is expected", remedy=_KEEP)
    try:
        return _read(path, table, answer_s)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise TimeoutError from error
        # A writer that died left a journal, which whoever writes next rolls back: done here with a copy.
        journals = [path.with_name(path.name + end) for end in ("-journal", "-wal")]
        if not any(journal.exists() for journal in journals):
            raise _corrupt(path, error) from error
        return _read_copy(path, journals, table, answer_s)
    except sqlite3.DatabaseError as error:
        raise _corrupt(path, error) from error


def _corrupt(path: Path, error: object) -> StorageError:
    return StorageError(f"{path}: corrupt, or not a database ({str(error).splitlines()[0]})", remedy=_KEEP)


def _read(path: Path, table: str, answer_s: float) -> dict[str, int]:
    address = f"file:{quote(str(path))}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=answer_s)) as database:
        verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        if table not in tables:
            raise sqlite3.DatabaseError(f"it has no table of {table}")
        counted = database.execute("SELECT state, COUNT(*) FROM trials GROUP BY state") if "trials" in tables else ()
        return {str(state): int(n) for state, n in counted}


def _read_copy(path: Path, journals: list[Path], table: str, answer_s: float) -> dict[str, int]:
    try:
        with tempfile.TemporaryDirectory(prefix="lstm_bench-") as folder:
            for file in (path, *journals):
                if file.exists():
                    shutil.copy(file, folder)
            copy = Path(folder) / path.name
            with contextlib.closing(sqlite3.connect(copy)) as database:
                database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()  # rolls back
            return _read(copy, table, answer_s)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except sqlite3.DatabaseError as error:
        raise _corrupt(path, error) from error


def database(what: str, path: Path, table: str, answer_s: float) -> Finding:
    """A sqlite file; one that is not there yet is no fault."""
    if not path.exists():
        return Finding(what, f"{path}: none yet")
    try:
        examined(path, table, answer_s)
    except TimeoutError:
        return Finding(what, f"{path}: busy")
    except OSError as error:
        return at_fault(what, StorageError(f"{path}: cannot be read ({error.strerror or error})"))
    except StorageError as error:
        return at_fault(what, error)
    return Finding(what, f"{path}: sound")


def mlflow_store(uri: str, answer_s: float) -> Finding:
    """MLflow's store: its file is sound, or its server answers."""
    path = store.sqlite_path(uri)
    if path is not None:
        return database("tracking", path, "experiments", answer_s)
    return _http(uri, answer_s) if uri.startswith(("http:", "https:")) else server("tracking", uri, answer_s)


def server(what: str, url: str, answer_s: float) -> Finding:
    """A database server: whether it lets us in. Optuna and MLflow reach it by SQLAlchemy as well."""
    import sqlalchemy

    remedy = "Start it, or correct its address, name and password."
    try:
        engine = sqlalchemy.create_engine(url, connect_args={"connect_timeout": max(1, int(answer_s))})
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
        engine.dispose()
    except ImportError as error:
        fault = StorageError(f"{redact(url)}: its driver is not installed ({error})", remedy="Install it with pip.")
        return at_fault(what, fault)
    except Exception as error:  # a driver's own, of any kind
        return at_fault(what, StorageError(f"{redact(url)}: {store.said(error)}", remedy=remedy))
    return Finding(what, f"{redact(url)}: answers")


def _http(uri: str, answer_s: float) -> Finding:
    """An MLflow server: whether it answers a request as a sweep would make one, with the same credentials."""
    parts = urlsplit(uri)
    name = unquote(parts.username or "") or os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    password = unquote(parts.password or "") or os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    request = urllib.request.Request(f"{bare}/api/2.0/mlflow/experiments/search?max_results=1")
    if name:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=answer_s) as answer:  # http(s) alone  # nosec B310
            status = int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
    except (OSError, http.client.HTTPException) as error:
        said = f"{redact(uri)}: does not answer ({getattr(error, 'reason', None) or error})"
        remedy = "Start it; sweeps go on without it, and their next run, or lstm_bench.sync, catches up."
        return at_fault("tracking", StorageError(said, remedy=remedy))
    if status in (401, 403):
        remedy = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        return at_fault("tracking", StorageError(f"{redact(uri)}: lets nobody in ({status})", remedy=remedy))
    if status != http.HTTPStatus.OK:
        return at_fault("tracking", StorageError(f"{redact(uri)}: answers {status}", remedy="Is it MLflow's address?"))
    return Finding("tracking", f"{redact(uri)}: answers")


# Studies.


def study(folder: Path, answer_s: float) -> list[Finding]:
    """A folder of a study or kernel benchmark: who holds it, its database, and what a crash left in it.

    Args:
      folder: Below `sweeps/`.
      answer_s: Seconds to wait for a writer.
    """
    held = locks.owner(folder)
    path = folder / "study.db"
    states: dict[str, int] = {}
    found: list[Finding] = []
    said = [f"running as {held}"] if held else []
    if path.exists():
        try:
            states = examined(path, "studies", answer_s)
            nothing = "controls alone" if (folder / "controls.csv").exists() else "no trial yet"
            said += [f"{n} {state}" for state, n in sorted(states.items())] or [nothing]
        except TimeoutError:
            said.append("database busy")
        except OSError as error:
            found.append(at_fault(folder.name, StorageError(f"{path}: cannot be read ({error.strerror or error})")))
        except StorageError as error:
            found.append(at_fault(folder.name, error))
    found.insert(0, Finding(folder.name, ", ".join(said) or "no database of its own", _stopped(folder, held)))
    running = states.get("RUNNING", 0)
    if running and held is None:
        what = (
            f"{path}: {running} trial{'s' * (running > 1)} RUNNING, and nobody runs {'it' if running == 1 else 'them'}"
        )
        remedy = "The study's command once more queues it again, and goes on."
        found.append(at_fault(folder.name, StorageError(what, remedy=remedy)))
    if held is None:
        found += _records(folder)
    return found


def _stopped(folder: Path, held: str | None) -> StorageError | None:
    """The fault of a driver that holds a study and does nothing."""
    named = re.match(r"pid (\d+) on (\S+) ", held or "")
    if not named or named[2] != socket.gethostname():
        return None
    with contextlib.suppress(psutil.Error):
        if psutil.Process(int(named[1])).status() == psutil.STATUS_STOPPED:
            return StorageError(
                f"{folder.name} is running as {held}, which is stopped", remedy=f"To go on: kill -CONT {named[1]}"
            )
    return None


def _records(folder: Path) -> list[Finding]:
    """What a crash left in records that nobody writes now: torn ends, which are a fault, and files that are not in the way."""
    found = []
    for name in (*columns.FILES, *columns.BENCHMARK_FILES):
        path = folder / name
        try:
            if _is_torn(path):
                what = f"{path}: its last line is torn"
                remedy = f"The study's command once more cuts it off and keeps it in {name}.bad-tail."
                found.append(at_fault(folder.name, StorageError(what, remedy=remedy)))
        except OSError as error:
            fault = StorageError(f"{path}: cannot be read ({error.strerror or error})", remedy="Mend the permissions.")
            found.append(at_fault(folder.name, fault))
    for path in sorted([*folder.glob("*.bad-tail"), *folder.glob("*.part")]):
        kind = "a torn line that was cut off" if path.suffix == ".bad-tail" else "a file whose writer was ended"
        found.append(Finding(folder.name, f"{path}: {kind}; may be deleted"))
    return found


def _is_torn(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
