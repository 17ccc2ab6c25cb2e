"""Heartbeats of the drivers of a study: a row each in its database, renewed by a thread, timed by the database's clock."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_CREATE = """
CREATE TABLE IF NOT EXISTS lstm_bench_drivers (
  id text PRIMARY KEY,
  study text NOT NULL,
  host text NOT NULL,
  pid integer NOT NULL,
  place text NOT NULL,
  shared boolean NOT NULL,
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  seen timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended text
)"""
# While the server was down nobody could be seen: silence counts from its start.
_MARK_DEAD = """
UPDATE lstm_bench_drivers SET ended = 'silent' WHERE study = :study AND ended IS NULL AND id <> :id
AND clock_timestamp() - greatest(seen, pg_postmaster_start_time()) > make_interval(secs => :grace)"""
_MARK_DEAD_HERE = """
UPDATE lstm_bench_drivers SET ended = 'died' WHERE study = :study AND ended IS NULL AND id <> :id AND place = :place"""
_REGISTER = """
INSERT INTO lstm_bench_drivers (id, study, host, pid, place, shared) VALUES (:id, :study, :host, :pid, :place, :shared)"""
_BEAT = "UPDATE lstm_bench_drivers SET seen = clock_timestamp() WHERE id = :id AND ended IS NULL"
_END = "UPDATE lstm_bench_drivers SET ended = 'left' WHERE id = :id AND ended IS NULL"
_ALIVE = """
SELECT id, shared, host, pid, to_char(since, 'YYYY-MM-DD HH24:MI:SS') AS since,
extract(epoch FROM clock_timestamp() - seen) AS silent_s
FROM lstm_bench_drivers WHERE study = :study AND ended IS NULL ORDER BY since"""


class DriverInfo(NamedTuple):
    """A driver whose heartbeat is recent."""

    id: str
    shared: bool
    host: str
    pid: int
    since: str  # by the database's clock
    silent_s: float

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since}, last seen {self.silent_s:.0f} s ago"


class Heartbeats:
    """The drivers of one study, this one among them.

    Args:
      study: Name of the study.
      folder: `sweeps/<study>/`, locked by this process: an earlier driver of the same folder is dead.
      shared: Whether this driver works beside others.
      heartbeat_s: Seconds between two signs of life.
      grace_s: Seconds of silence after which a driver is dead.

    Attributes:
      id: Of this driver, None before `enter`; another one after it was declared dead.
    """

    def __init__(self, study: str, folder: Path, shared: bool, heartbeat_s: float, grace_s: float):
        self.study, self.shared, self._heartbeat_s, self._grace_s = study, shared, heartbeat_s, grace_s
        self._place = place(folder)
        self.id: str | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def create(self, connection: Connection) -> None:
        """Makes the table where there is none; one driver at a time."""
        self._execute(connection, _CREATE)

    def register(self, connection: Connection) -> None:
        """Registers this driver under a new id, and ends the row of an earlier driver of the same folder."""
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        values = {"study": self.study, "id": self.id, "place": self._place}
        self._execute(connection, _MARK_DEAD_HERE, **values)
        self._execute(connection, _REGISTER, **values, host=socket.gethostname(), pid=os.getpid(), shared=self.shared)

    def heartbeat(self, connection: Connection) -> bool:
        """Sends a heartbeat; returns False when this driver is not registered, or was marked dead."""
        return bool(self._execute(connection, _BEAT, id=self.id).rowcount)

    def mark_dead(self, connection: Connection) -> None:
        """Marks drivers as dead whose last heartbeat is too old."""
        self._execute(connection, _MARK_DEAD, study=self.study, id=self.id or "", grace=self._grace_s)

    def alive(self, connection: Connection) -> list[DriverInfo]:
        """Drivers that are alive, the oldest first."""
        rows = self._execute(connection, _ALIVE, study=self.study)
        return [DriverInfo(*row) for row in rows]

    def end(self, connection: Connection) -> None:
        """Ends the row of this driver."""
        self._execute(connection, _END, id=self.id)

    @staticmethod
    def _execute(connection: Connection, statement: str, **values: Any) -> Any:
        from sqlalchemy import text

        return connection.execute(text(statement), values)

    def start(self, engine: Engine) -> None:
        """Sends heartbeats from a thread until `stop`; after one that fails, the next is sent as usual."""
        from sqlalchemy.exc import SQLAlchemyError

        def live() -> None:
            while not self._over.wait(self._heartbeat_s):
                with contextlib.suppress(SQLAlchemyError), engine.begin() as connection:
                    self.heartbeat(connection)

        self._thread = threading.Thread(target=live, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(self._heartbeat_s)


def place(folder: Path) -> str:
    """Names a folder of this machine, as it runs now, and no other: hosts of one name and equal paths are common."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    known = boot.read_text() if boot.exists() else socket.gethostname()
    folder.mkdir(parents=True, exist_ok=True)
    stat = folder.stat()
    return hashlib.sha256(f"{known}/{stat.st_dev}/{stat.st_ino}".encode()).hexdigest()[:16]
