"""What lies between a study and its database: the connection, and the other drivers that may work on the same study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from lstm_bench.core import schema
from lstm_bench.core.errors import redact
from lstm_bench.sweep.store.cached import Ledger
from lstm_bench.sweep.store.database import _make_file, _sqlite, _sqlite_url, check_file, guarded

_T = TypeVar("_T")


class Coordinator(Protocol):
    """What `TrialStore` asks of its coordinator.

    Attributes:
      where: What people know the database as.
      shared: Whether other drivers may work on the same study.
      ids: Under which names this driver is known, and was.
      interrupted: Says whether the user wants to end: then nothing is waited for.
    """

    where: str
    shared: bool
    ids: set[str]
    interrupted: Callable[[], bool]

    def connect(self, reload: Callable[[], None], adopt: Callable[[str], None]) -> Any:
        """Opens the database, with tables made if there are none.

        Args:
          reload: Forgets what is known of a transaction that failed.
          adopt: Gives the trials of this driver to the name that it has from now on.

        Returns:
          Optuna's storage of it.

        Raises:
          StorageError: when it is corrupt or unreachable.
        """

    def storage(self, study: str) -> Any:
        """How the trials of a study, which is there now, are read and written."""

    def run(self, work: Callable[[], _T]) -> _T:
        """Does what reads or writes the database."""

    def alone(self, work: Callable[[], _T]) -> _T:
        """Does what no other driver may do at the same time, as a whole or not at all."""

    def settle(self) -> None:
        """Writes what was suggested into the database."""

    def others(self) -> set[str]:
        """Names of the other drivers that are alive; within `alone`."""

    def name(self) -> str | None:
        """The name of this driver, which its trials bear; within `alone`."""

    def leave(self) -> bool:
        """Leaves the rest to the others; False where there is none, and then it stays."""

    def say(self, text: str, style: str) -> None:
        """Tells people."""

    def start(self) -> None:
        """The study is open."""

    def close(self) -> None:
        """Lets go of the database's connections."""


class Solo:
    """The only driver of a study, which holds the lock of its folder; its database is a file of sqlite.

    Args:
      config: Resolved configuration.
      folder: `sweeps/<study>/`.
    """

    shared = False

    def __init__(self, config: schema.Sweep, folder: Path):
        self._url, self._file = config["storage"]["url"], folder / "study.db"
        self.where = str(self._file) if self._url is None else redact(self._url)
        self.ids: set[str] = set()
        self.interrupted: Callable[[], bool] = lambda: False

    def connect(self, reload: Callable[[], None], adopt: Callable[[str], None]) -> Any:
        if self._url is None:
            check_file(self._file)
        with guarded(self.where):
            if self._url is None and not self._file.exists():
                _make_file(self._file)
            self._backend = _sqlite(self._url or _sqlite_url(self._file), self.where)
        return self._backend

    def storage(self, study: str) -> Any:
        """A cache, since nobody else writes: see `sweep/store/cached.py`."""
        self._ledger = Ledger(self._backend, study)
        return self._ledger

    def run(self, work: Callable[[], _T]) -> _T:
        with guarded(self.where):
            return work()

    alone = run

    def settle(self) -> None:
        self._ledger.commit()

    def others(self) -> set[str]:
        return set()

    def name(self) -> str | None:
        return None

    def leave(self) -> bool:
        return False

    def say(self, text: str, style: str) -> None:
        """See `Coordinator`."""

    def start(self) -> None:
        """See `Coordinator`."""

    def close(self) -> None:
        self._backend.remove_session()
        self._backend.engine.dispose()
