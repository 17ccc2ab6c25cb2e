"""A PostgreSQL server of the tests' own, from Debian's packages, in a folder of its own; and databases on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

PASSWORD = "S3CRET"
_SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "fsync": "off",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "log_min_messages": "fatal",
}


def binary(name: str) -> str:
    """A program of PostgreSQL's; a missing one fails, it does not skip."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = next((str(place / name) for place in places if (place / name).exists()), None) or shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is needed: apt-get install -y --no-install-recommends postgresql")
    return found


class Server:
    """A running server.

    Args:
      folder: Its data's, owned by `user`.
      user: Who runs it: PostgreSQL refuses root. None is this user.
    """

    def __init__(self, folder: Path, user: str | None):
        self.folder, self._user, self._n = folder, user, 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [binary(name), *arguments], user=self._user, cwd=self.folder, capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{name}: {done.stderr}{log.read_text() if log.exists() else ''}")

    def make(self) -> None:
        """Makes the data folder."""
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        if self._user:
            shutil.chown(secret, self._user)
        options = ("--auth=scram-sha-256", "--username=tests", f"--pwfile={secret}", "--no-sync", "--encoding=UTF8")
        self._run("initdb", "-D", str(self.folder / "data"), "--locale=C", *options)
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{key} = {value}\n" for key, value in {**_SETTINGS, "port": self.port}.items())

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        self._control("start", "-l", str(self.folder / "log"))

    def stop(self, mode: str = "immediate") -> None:
        """Stops it: `immediate` is a crash, `fast` disconnects everyone."""
        self._control("stop", "-m", mode)

    def _control(self, what: str, *more: str) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", "60", what, *more)

    def url(self, database: str = "postgres", password: str = PASSWORD) -> str:
        """Address of a database."""
        return f"postgresql+psycopg://tests:{password}@127.0.0.1:{self.port}/{database}"

    def ask(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with psycopg.connect(self.url(database).replace("+psycopg", ""), autocommit=True) as connection:
            cursor = connection.execute(query)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def database(self) -> str:
        """Makes a database; its name."""
        self._n += 1
        self.ask("postgres", f"CREATE DATABASE test{self._n}")
        return f"test{self._n}"


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A server that is stopped at the end, whatever happens."""
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # below pytest's folders, another user finds no way
    data = folder / "data"
    # The end of its input is the end of this process, even one that was killed.
    clean = f"read x; {binary('pg_ctl')} -D {data} -m immediate stop; rm -rf {folder}"
    guard = subprocess.Popen(
        ["/bin/sh", "-c", clean],
        cwd="/",
        user=user,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if user:
            shutil.chown(folder, user)
        server = Server(folder, user)
        server.make()
        server.start()
        yield server
    finally:
        guard.communicate(timeout=90)
        shutil.rmtree(folder, ignore_errors=True)
