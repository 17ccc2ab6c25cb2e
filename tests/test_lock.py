"""The lock of a folder: one driver at a time, named, and free when it dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from lstm_bench.errors import StorageError
from lstm_bench.lock import hold

HOLDER = (
    "import pathlib, sys, time\n"
    "from lstm_bench.lock import hold\n"
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
