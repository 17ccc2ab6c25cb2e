"""A database that another program holds: said, and waited for."""

from __future__ import annotations

import sqlite3
import threading
import time

import pytest

from lstm_bench.core import busy


def _held_for(path, seconds):
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    threading.Timer(seconds, lambda: other.execute("ROLLBACK")).start()


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(busy, "NOTICE_S", 0.2)
    monkeypatch.setattr(busy, "say", lines.append)
    return lines


def test_a_write_waits_for_the_program_that_holds_the_database_and_says_so_once(tmp_path, said):
    path = tmp_path / "study.db"
    ours = sqlite3.connect(path, timeout=0.1, factory=busy.Patient)
    ours.execute("CREATE TABLE t (n)")
    ours.commit()
    _held_for(path, 1.0)
    ours.execute("INSERT INTO t VALUES (7)")
    ours.commit()
    assert ours.execute("SELECT n FROM t").fetchall() == [(7,)]
    assert len(said) == 2
    assert said[0].startswith(f"{path} is held by another program for 0 s by now")
    assert said[1] == f"{path}: free again after 1 s"


def test_a_user_who_wants_to_end_is_not_kept_waiting(tmp_path, said, monkeypatch):
    path = tmp_path / "study.db"
    ours = sqlite3.connect(path, timeout=0.1, factory=busy.Patient)
    ours.execute("CREATE TABLE t (n)")
    ours.commit()
    _held_for(path, 2.0)
    monkeypatch.setattr(busy, "interrupted", lambda: True)
    since = time.monotonic()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        ours.execute("INSERT INTO t VALUES (7)")
    assert time.monotonic() - since < 1
