"""Coordination of the drivers of a study in PostgreSQL: retries while the server is unreachable, and turns at its table.

Whatever depends on what others may change at the same time (to ask, to tell, to claim) is one transaction that holds an
advisory lock of the study, Optuna's own statements included: it happens as a whole or not at all, and a driver that is
killed or halted in its middle holds nothing. An answer that is lost with the server is found again by what it left.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lstm_bench.core import schema
from lstm_bench.core.errors import StorageError, redact
from lstm_bench.sweep.store.database import guarded, rdb
from lstm_bench.sweep.store.heartbeats import DriverInfo, Heartbeats

if TYPE_CHECKING:
    from sqlalchemy import Connection

_T = TypeVar("_T")
_AGAIN_S = 0.5  # between two tries while the server is away
# Of libpq: a server that does not answer, or is cut off, is noticed.
_LIBPQ = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "lstm_bench",
}
# What a server answers that is there: to wait mends nothing.
_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|does not exist|permission denied"
)
# SQLSTATEs of a session that the server ended for its idleness: this driver was halted. Psycopg thinks it still open.
_THROWN_OUT = ("25P03", "57P05")


class Shared:
    """A driver of a study on a PostgreSQL server, beside others where `study.shared` says so. See `coordinator.Coordinator`.

    Args:
      config: Resolved configuration.
      folder: `sweeps/<study>/`, locked by this process.
      say: Receives a line for people, and its colour.

    Raises:
      StorageError: from `alone`, when another driver is on the study that does not share it, or this one does not.
    """

    def __init__(self, config: schema.Sweep, folder: Path, say: Callable[[str, str], None]):
        settings, self._study = config["storage"], config["study"]["name"]
        self.shared, self._say = bool(config["study"]["shared"]), say
        self._url = schema.settled(settings["url"])
        self.where = redact(self._url)
        self.interrupted: Callable[[], bool] = lambda: False
        self._grace_s, self._patience_s = settings["grace"], settings["patience"]
        self._wait_s = 0.0  # a wrong address is told at once
        self.heartbeats = Heartbeats(self._study, folder, self.shared, settings["heartbeat"], settings["grace"])
        # Of this study in this database; eight bytes are what PostgreSQL takes.
        digest = hashlib.sha256(f"lstm_bench/{self._study}".encode()).digest()
        self._lock = int.from_bytes(digest[:8], "big", signed=True)
        self._inside: Connection | None = None  # while the lock is held
        self.ids: set[str] = set()
        self._stale = self._left = False

    def connect(self, reload: Callable[[], None], adopt: Callable[[str], None]) -> Any:
        import sqlalchemy

        self._reload, self._adopt = reload, adopt
        url = re.sub("^postgresql:", "postgresql+psycopg:", self._url)
        with guarded(self.where):
            parsed = sqlalchemy.make_url(url)
            libpq = parsed.drivername.endswith(("+psycopg", "+psycopg2"))
            connect = {key: value for key, value in _LIBPQ.items() if libpq and key not in parsed.query}
            options = {"pool_pre_ping": True, "isolation_level": "READ COMMITTED", "connect_args": connect}
            try:
                opening = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=connect)
            except ImportError as error:
                raise StorageError(
                    f"{self.where}: the database's driver is not installed",
                    remedy="For PostgreSQL: pip install 'lstm-bench[postgres]', and a URL of postgresql+psycopg://...",
                ) from error
            # Of several that make the tables at once, all but one would fail.
            with opening.begin() as connection:
                connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(hashtext('lstm_bench'))"))
                self.heartbeats.create(connection)
                self._storage = rdb(url, self.where, options)
        # A driver that is halted between a statement and its commit is thrown out: what it had locked is free then.
        sqlalchemy.event.listen(self._storage.engine, "connect", self._limit_idleness)
        self._storage.engine.dispose()  # of connections from before
        return self._storage

    def _limit_idleness(self, connection: Any, _: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET idle_in_transaction_session_timeout = {int(1000 * self._grace_s)}")
        connection.commit()

    def storage(self, study: str) -> Any:
        """Without a cache: other drivers write too."""
        return self._storage

    def settle(self) -> None:
        """Nothing: `alone` commits."""

    # Retries and transactions.

    def run(self, work: Callable[[], _T]) -> _T:
        if self._inside is None:
            return self._with_retries(work)
        with guarded(self.where):  # tried again as a whole, by `alone`
            return work()

    def alone(self, work: Callable[[], _T]) -> _T:
        if self._inside is None:
            return self._with_retries(lambda: self._transaction(work))
        return self.run(work)

    def _with_retries(self, work: Callable[[], _T]) -> _T:
        """Retries an idempotent operation while the server is unreachable, for at most `storage.patience` seconds."""
        since: float | None = None
        while True:
            try:
                with guarded(self.where):
                    if self._stale:
                        self._reload()
                        self._stale = False
                    done = work()
            except StorageError as error:
                if not away(error.__cause__):
                    raise
                if since is None:
                    since = time.monotonic()
                    if self._wait_s and not self.interrupted():
                        self._say(f"{error.what}: database away, waiting for up to {self._wait_s:g} s", "yellow")
                if time.monotonic() - since >= self._wait_s or self.interrupted():
                    self._wait_s = 0.0  # nor on the way out
                    raise
                time.sleep(_AGAIN_S)
            else:
                if since is not None:
                    self._say(f"{self.where}: back after {time.monotonic() - since:.0f} s", "yellow")
                return done

    def _transaction(self, work: Callable[[], _T]) -> _T:
        from sqlalchemy import text
        from sqlalchemy.orm import sessionmaker

        usual = self._storage.scoped_session
        try:
            with self._storage.engine.begin() as connection:
                # A driver halted in here is thrown out, see `_limit_idleness`; one that waits for the lock learns of it.
                connection.execute(text(f"SET LOCAL lock_timeout = {int(1000 * self._grace_s)}"))
                self._lock_study(connection)
                # What Optuna commits is part of this transaction.
                self._storage.scoped_session = sessionmaker(connection, join_transaction_mode="create_savepoint")
                self._inside = connection
                self._appear(connection)
                done = work()
        except BaseException:
            self._stale = True
            raise
        finally:
            self._storage.scoped_session, self._inside = usual, None
        return done

    def _lock_study(self, connection: Connection) -> None:
        """Waits until no other driver is in a transaction of this study; ends with the transaction."""
        from sqlalchemy import text

        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._lock})

    def _appear(self, connection: Connection) -> None:
        """Sends a heartbeat and marks silent drivers as dead; a driver that was itself marked dead registers again."""
        if self._left:
            return
        self.heartbeats.mark_dead(connection)
        if self.heartbeats.heartbeat(connection):
            return
        again = bool(self.ids)
        self.heartbeats.register(connection)
        assert self.heartbeats.id is not None
        self.ids.add(self.heartbeats.id)
        for other in self._others_alive():
            if not (self.shared and other.shared):
                raise StorageError(
                    f"{self._study} is running as {other}",
                    remedy=f"Wait for it (one that is dead is forgotten after {self._grace_s:g} s), end it, choose another "
                    "study.name, or give study.shared=true to all.",
                )
        if again:
            self._say(
                f"no sign of life for over {self._grace_s:g} s: this driver was given up, and begins anew", "yellow"
            )
            self._adopt(self.heartbeats.id)

    def _others_alive(self) -> list[DriverInfo]:
        assert self._inside is not None
        return [driver for driver in self.heartbeats.alive(self._inside) if driver.id not in self.ids]

    def others(self) -> set[str]:
        return {driver.id for driver in self._others_alive()}

    def name(self) -> str | None:
        return self.heartbeats.id

    def leave(self) -> bool:
        if self.shared and not self._left:
            self._left = self.alone(self._leave)
        return self._left

    def _leave(self) -> bool:
        assert self._inside is not None
        others = bool(self.others())
        if others:
            self.heartbeats.end(self._inside)
        return others

    def say(self, text: str, style: str) -> None:
        self._say(text, style)

    def start(self) -> None:
        """From now on a server that goes away is waited for, and hears a heartbeat."""
        self._wait_s = self._patience_s
        self.heartbeats.start(self._storage.engine)

    def close(self) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        self.heartbeats.stop()
        with contextlib.suppress(SQLAlchemyError), self._storage.engine.begin() as connection:
            self.heartbeats.end(connection)
        self._storage.remove_session()
        self._storage.engine.dispose()


def away(error: BaseException | None) -> bool:
    """Whether an exception means that the server is unreachable or overloaded, and a retry may succeed."""
    import sqlalchemy.exc as exc
    from optuna.exceptions import StorageInternalError

    if isinstance(error, StorageInternalError):
        error = error.__cause__
    if isinstance(error, exc.DBAPIError):
        thrown_out = getattr(error.orig, "sqlstate", None) in _THROWN_OUT
        lost = (
            thrown_out or error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError)
        )
        return bool(lost) and not _REFUSED.search(str(error.orig))
    # What follows in a transaction whose connection is gone; no connection free.
    return isinstance(error, exc.PendingRollbackError | exc.ResourceClosedError | exc.TimeoutError)
