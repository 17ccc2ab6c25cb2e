"""Trial storage in PostgreSQL: retries while the server is unreachable; with `study.shared=true` drivers share a study.

Whatever depends on what others may change at the same time (to ask, to tell, to claim) is one transaction that holds an
advisory lock of the study, Optuna's own statements included: it happens as a whole or not at all, and a driver that is
killed or halted in its middle holds nothing. An answer that is lost with the server is found again by what it left.

A trial names its `owner`, a row of `heartbeats.py`. RUNNING trials whose owner is not alive are FAILed, hence queued again,
by whoever asks next; what such an owner says later of a trial that is finished by then is not heard.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lstm_bench.core import config as schema
from lstm_bench.core.errors import StorageError
from lstm_bench.study import search_space as spaces
from lstm_bench.sweep.store.database import guarded, rdb
from lstm_bench.sweep.store.heartbeats import DriverInfo, Heartbeats
from lstm_bench.sweep.store.trials import Asked, Study

if TYPE_CHECKING:
    from sqlalchemy import Connection

_T = TypeVar("_T")
_AGAIN_S = 0.5  # between two tries while the server is away
_TURN_S = 0.2  # between two looks whether it is this driver's turn
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


def _nobody_hears(*_: object) -> None:
    return


def opened(
    config: Mapping[str, Any],
    space: dict[str, spaces.Domain],
    folder: Path,
    data_sha256: str,
    say: Callable[..., None] = _nobody_hears,
    made: Mapping[str, Any] | None = None,
) -> Study:
    """The study that a configuration asks for, wherever it is kept. Arguments and errors as `Study`.

    Args:
      config: See `Study`.
      space: See `Study`.
      folder: See `Study`.
      data_sha256: See `Study`.
      say: Receives a line for people, and its colour.
      made: See `Study`.
    """
    if str(config["storage"]["url"]).startswith("postgresql"):
        return ServedStudy(config, space, folder, data_sha256, say, made)
    return Study(config, space, folder, data_sha256, made)


class ServedStudy(Study):
    """A study on a PostgreSQL server. Arguments as `opened`.

    Attributes:
      interrupted: Says whether the user wants to end: then the server is not waited for.

    Raises:
      StorageError: as `Study`; and when another driver is on the study that does not share it, or this one does not.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        space: dict[str, spaces.Domain],
        folder: Path,
        data_sha256: str,
        say: Callable[..., None],
        made: Mapping[str, Any] | None = None,
    ):
        settings, name = config["storage"], config["study"]["name"]
        self.shared, self._say = bool(config["study"]["shared"]), say
        self.interrupted: Callable[[], bool] = lambda: False
        self._grace_s, self._wait_s = settings["grace"], 0.0  # a wrong address is told at once
        self._roster = Heartbeats(name, folder, self.shared, settings["heartbeat"], settings["grace"])
        # Of this study in this database; eight bytes are what PostgreSQL takes.
        self._lock = int.from_bytes(hashlib.sha256(f"lstm_bench/{name}".encode()).digest()[:8], "big", signed=True)
        self._inside: Connection | None = None  # while the lock is held
        self._ids: set[str] = set()  # that this driver has or had
        self._mine: set[int] = set()  # trials that it runs
        self._stale = self._left = False
        try:
            super().__init__(config, space, folder, data_sha256, made)
        except BaseException:
            if hasattr(self, "_storage"):
                self._storage.engine.dispose()
            raise
        self._wait_s = settings["patience"]
        self._roster.start(self._storage.engine)

    def _connect(self) -> None:
        import sqlalchemy

        given = self.config["storage"]["url"]
        self.where = schema.redact(given)
        url = re.sub("^postgresql:", "postgresql+psycopg:", given)
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
                self._roster.create(connection)
                self._storage = rdb(url, self.where, options)
        # A driver that is halted between a statement and its commit is thrown out: what it had locked is free then.
        sqlalchemy.event.listen(self._storage.engine, "connect", self._limit_idleness)
        self._storage.engine.dispose()  # of connections from before

    def _limit_idleness(self, connection: Any, _: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET idle_in_transaction_session_timeout = {int(1000 * self._grace_s)}")
        connection.commit()

    def _kept(self, storage: Any) -> Any:
        return storage  # other drivers write too

    def _settle(self) -> None:
        return

    # Patience and solitude.

    def _do(self, work: Callable[[], _T]) -> _T:
        if self._inside is not None:  # tried again as a whole, by `_alone`
            return super()._do(work)
        return self._with_retries(work)

    def _alone(self, work: Callable[[], _T]) -> _T:
        return self._do(work) if self._inside is not None else self._with_retries(lambda: self._transaction(work))

    def _with_retries(self, work: Callable[[], _T]) -> _T:
        """Retries an idempotent operation while the server is unreachable, for at most `storage.patience` seconds."""
        since: float | None = None
        while True:
            try:
                with guarded(self.where):
                    if self._stale:
                        self._read_anew()
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

    def _read_anew(self) -> None:
        """Forgets what Optuna's cache holds of a transaction that failed."""
        import optuna

        self._reset_counters()
        self._study = optuna.load_study(storage=self._storage, study_name=self._settings["name"])
        self._stale = False

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
            self._stale = hasattr(self, "_study")
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
        self._roster.mark_dead(connection)
        if self._roster.heartbeat(connection):
            return
        again = bool(self._ids)
        self._roster.register(connection)
        assert self._roster.id is not None
        self._ids.add(self._roster.id)
        for other in self._others():
            if not (self.shared and other.shared):
                name = self._settings["name"]
                raise StorageError(
                    f"{name} is running as {other}",
                    remedy=f"Wait for it (one that is dead is forgotten after {self._grace_s:g} s), end it, choose another "
                    "study.name, or give study.shared=true to all.",
                )
        if again:
            self._say(
                f"no sign of life for over {self._grace_s:g} s: this driver was given up, and begins anew", "yellow"
            )
            for trial in self.trials():
                if trial.number in self._mine and not trial.state.is_finished():
                    self._storage.set_trial_user_attr(trial._trial_id, "owner", self._roster.id)

    def _others(self) -> list[DriverInfo]:
        assert self._inside is not None
        return [driver for driver in self._roster.alive(self._inside) if driver.id not in self._ids]

    # Trials.

    def repair(self) -> int:
        """Fails the RUNNING trials whose driver is dead, which queues them again; returns how many."""
        return self._alone(self._repair)

    def _repair(self) -> int:
        living = {driver.id for driver in self._others()} | self._ids
        trials = self._sum_up()
        left = [trials[number] for number in self._open if trials[number].user_attrs.get("owner") not in living]
        for trial in left:
            self._fail(trial.number, "driver_died", {})
        return len(left)

    def ask(self) -> Asked | None:
        asked, repaired = self._alone(self._ask)
        if repaired:
            self._say(f"{repaired} trials of a driver that died are queued again", "yellow")
        if asked is not None:
            self._mine.add(asked.number)
        return asked

    def _ask(self) -> tuple[Asked | None, int]:
        repaired = self._repair()
        trials = self._sum_up()
        for trial in (trials[number] for number in self._open):
            attrs = trial.user_attrs
            if attrs.get("owner") in self._ids and trial.number not in self._mine:  # asked for, but the answer was lost
                return Asked(trial.number, dict(trial.params), attrs["seed"], attrs.get("retry_of")), repaired
        asked = super().ask()
        if asked is not None:
            self._storage.set_trial_user_attr(self._trial_id(asked.number), "owner", self._roster.id)
        return asked, repaired

    def report(self, number: int, epoch: int, value: float) -> bool:
        """As in `Study`; a trial that another driver has taken over is to stop."""
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            return self._do(functools.partial(super().report, number, epoch, value))
        except UpdateFinishedTrialError:
            return True

    def tell(self, number: int, result: Mapping[str, Any]) -> bool:
        """As in `Study`; what is said of a trial that was taken over does not count."""
        counts = self._alone(lambda: self._tell(number, result))
        self._mine.discard(number)
        return counts

    def _tell(self, number: int, result: Mapping[str, Any]) -> bool:
        trial = self._storage.get_trial(self._trial_id(number))
        if not trial.state.is_finished():
            return super().tell(number, result)
        return not _is_given_up(trial)  # then it was told, but the answer was lost

    def pending(self) -> bool:
        counts = self.counts()
        others = any(number not in self._mine for number in self._open)
        return self.shared and bool(counts["queued"] or counts["left"] or others)

    # Other work.

    def claim(self, keys: Sequence[str]) -> list[str]:
        return self._alone(lambda: self._claim(keys)) if self.shared else list(keys)

    def _claim(self, keys: Sequence[str]) -> list[str]:
        held, others = self.facts("claim/"), {driver.id for driver in self._others()}
        free = [key for key in keys if held.get(key) not in others]
        for key in free:
            self.set(f"claim/{key}", self._roster.id)
        return free

    def put(self, key: str, value: Any) -> bool:
        return self._alone(lambda: self._put(key, value))

    def _put(self, key: str, value: Any) -> bool:
        known = self._attrs()
        if key in known:  # by this driver, when the answer was lost
            return json.dumps(known[key]) == json.dumps(json.loads(json.dumps(value)))
        if known.get(f"claim/{key}") in {driver.id for driver in self._others()}:
            return False
        self.set(key, value)
        return True

    @contextlib.contextmanager
    def turn(self, key: str) -> Iterator[None]:
        """Waits for at most `storage.grace` seconds, and for no user who wants to end: the turn is a courtesy, no more."""
        ends = time.monotonic() + self._grace_s
        while not (taken := bool(self.claim([key]))) and time.monotonic() < ends and not self.interrupted():
            time.sleep(_TURN_S)
        try:
            yield
        finally:
            if taken and self.shared:
                self.set(f"claim/{key}", "")

    def leave(self) -> bool:
        if self.shared and not self._left:
            self._left = self._alone(self._leave)
        return self._left

    def _leave(self) -> bool:
        assert self._inside is not None
        others = bool(self._others())
        if others:
            self._roster.end(self._inside)
        return others

    def close(self) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        self._roster.stop()
        with contextlib.suppress(SQLAlchemyError), self._storage.engine.begin() as connection:
            self._roster.end(connection)
        super().close()


def _is_given_up(trial: Any) -> bool:
    """Whether its driver was taken for dead: the trial runs again, and what that driver says of it does not count."""
    return bool(trial.user_attrs.get("reason") == "driver_died")


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
