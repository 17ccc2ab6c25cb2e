"""The lock of a folder: one driver at a time, named, and free when it dies."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time

import pytest

from lstm_bench.core import locks
from lstm_bench.core.errors import StorageError
from lstm_bench.core.locks import hold

HOLDER = (
    "import pathlib, sys, time\n"
    "from lstm_bench.core.locks import hold\n"
    "with hold(pathlib.Path(sys.argv[1]), 'study.name'):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


def test_a_second_driver_is_refused_naming_the_first_until_that_dies(tmp_path):
    folder = tmp_path / "sweeps" / "fake"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        since = time.monotonic()
        with pytest.raises(StorageError) as caught, hold(folder, "study.name"):
            pass
        assert time.monotonic() - since < 1
        assert str(caught.value).startswith(f"fake is running as pid {holder.pid} on ")
        assert str(caught.value).endswith("Wait for it, end it, or choose another study.name.")
        assert caught.value.exit_code == 4
    finally:
        holder.kill()
        holder.communicate()
    with hold(folder, "study.name"):
        assert (folder / "lock").read_text().startswith(f"pid {os.getpid()} on ")


def test_a_lock_is_free_again_after_its_block(tmp_path):
    for _ in range(2):
        with hold(tmp_path, "study.name"):
            pass


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path):
    (tmp_path / "sweeps").write_text("a file")
    with pytest.raises(StorageError) as caught, hold(tmp_path / "sweeps" / "fake", "study.name"):
        pass
    assert str(caught.value).startswith(f"{tmp_path}/sweeps/fake: cannot be written (Not a directory)")


def test_a_lock_that_cannot_be_written_is_said_in_one_line_and_is_free_again(tmp_path, no_room):
    with no_room(0), pytest.raises(StorageError) as caught, hold(tmp_path, "study.name"):
        pass
    assert str(caught.value).startswith(f"{tmp_path}: cannot be written (File too large)")
    with hold(tmp_path, "study.name"):
        pass


KINDS = {"flock": (), "record": ("flock",), "owner": ("flock", "lockf")}
WITHOUT = (
    "import errno, fcntl, sys\n"
    "def refuse(*_):\n"
    "    raise OSError(errno.ENOSYS, 'Function not implemented')\n"
    "for name in sys.argv[2:]:\n"
    "    setattr(fcntl, name, refuse)\n"
)


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_drivers_exclude_each_other_whatever_lock_each_of_them_has(tmp_path, monkeypatch, first, second):
    command = [sys.executable, "-c", WITHOUT + HOLDER, str(tmp_path), *KINDS[first]]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for name in KINDS[second]:
        monkeypatch.setattr(fcntl, name, _missing(errno.ENOSYS))
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match=f"is running as pid {holder.pid} on "), hold(tmp_path, "study.name"):
            pass
        assert locks.owner(tmp_path).startswith(f"pid {holder.pid} on ")
    finally:
        holder.kill()
        holder.communicate()
    with hold(tmp_path, "study.name"):
        pass


@pytest.mark.parametrize(
    "number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.EPERM, errno.EACCES]
)
def test_a_file_system_without_flock_has_another_lock(tmp_path, monkeypatch, number):
    monkeypatch.setattr(fcntl, "flock", _missing(number))
    with hold(tmp_path, "study.name"):
        with pytest.raises(StorageError, match=f"is running as pid {os.getpid()} on "), hold(tmp_path, "study.name"):
            pass
        assert (tmp_path / "lock.posix").read_text().startswith(f"pid {os.getpid()} on ")
    assert locks.kind(tmp_path) == f"POSIX record locks, no flock ({os.strerror(number)})"


def test_an_owner_of_another_machine_is_not_judged_and_the_way_on_is_said(tmp_path, monkeypatch):
    for name in ("flock", "lockf"):
        monkeypatch.setattr(fcntl, name, _missing(errno.ENOSYS))
    path = tmp_path / "lock.owner"
    path.write_text("pid 1 on elsewhere since 2026-01-01 00:00:00\nanother machine")
    with pytest.raises(StorageError) as caught, hold(tmp_path, "study.name"):
        pass
    assert str(caught.value) == (
        f"{tmp_path.name} is running as pid 1 on elsewhere since 2026-01-01 00:00:00. Wait for it, end it, or choose another"
        f" study.name; where it is dead: rm {path}"
    )


def _missing(number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    return refuse
