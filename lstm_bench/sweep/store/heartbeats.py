"""Who drives a study: a row per driver in the study's database, renewed by a thread; silence is by the database's clock."""

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
_BURY = """
UPDATE lstm_bench_drivers SET ended = 'silent' WHERE study = :study AND ended IS NULL AND id <> :id
AND clock_timestamp() - greatest(seen, pg_postmaster_start_time()) > make_interval(secs => :grace)"""
_BURY_HERE = """
UPDATE lstm_bench_drivers SET ended = 'died' WHERE study = :study AND ended IS NULL AND id <> :id AND place = :place"""
_ENTER = """
INSERT INTO lstm_bench_drivers (id, study, host, pid, place, shared) VALUES (:id, :study, :host, :pid, :place, :shared)"""
_BEAT = "UPDATE lstm_bench_drivers SET seen = clock_timestamp() WHERE id = :id AND ended IS NULL"
_END = "UPDATE lstm_bench_drivers SET ended = 'left' WHERE id = :id AND ended IS NULL"
_LIVING = """
SELECT id, shared, host, pid, to_char(since, 'YYYY-MM-DD HH24:MI:SS') AS since,
extract(epoch FROM clock_timestamp() - seen) AS silent_s
FROM lstm_bench_drivers WHERE study = :study AND ended IS NULL ORDER BY since"""


class Living(NamedTuple):
    """A driver that is thought to be alive."""

    id: str
    shared: bool
    host: str
    pid: int
    since: str  # by the database's clock
    silent_s: float

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since}, last seen {self.silent_s:.0f} s ago"


class Roster:
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

    def enter(self, connection: Connection) -> None:
        """Adds this driver, under a new id, and ends the row of an earlier one of the same folder."""
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        values = {"study": self.study, "id": self.id, "place": self._place}
        self._execute(connection, _BURY_HERE, **values)
        self._execute(connection, _ENTER, **values, host=socket.gethostname(), pid=os.getpid(), shared=self.shared)

    def beat(self, connection: Connection) -> bool:
        """Gives a sign of life; returns False when this driver is not in the roster, or was declared dead."""
        return bool(self._execute(connection, _BEAT, id=self.id).rowcount)

    def bury(self, connection: Connection) -> None:
        """Declares dead who was silent for too long."""
        self._execute(connection, _BURY, study=self.study, id=self.id or "", grace=self._grace_s)

    def living(self, connection: Connection) -> list[Living]:
        """Who is thought to be alive, by age."""
        rows = self._execute(connection, _LIVING, study=self.study)
        return [Living(*row) for row in rows]

    def end(self, connection: Connection) -> None:
        """Takes this driver out."""
        self._execute(connection, _END, id=self.id)

    @staticmethod
    def _execute(connection: Connection, statement: str, **values: Any) -> Any:
        from sqlalchemy import text

        return connection.execute(text(statement), values)

    def start(self, engine: Engine) -> None:
        """Gives signs of life from a thread, until `stop`. One that fails is made good by the next."""
        from sqlalchemy.exc import SQLAlchemyError

        def live() -> None:
            while not self._over.wait(self._heartbeat_s):
                with contextlib.suppress(SQLAlchemyError), engine.begin() as connection:
                    self.beat(connection)

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
