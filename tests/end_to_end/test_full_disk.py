"""A full disk at the n-th write: a sample of what `full_disk.py` does at every one, and that it does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import full_disk
import pytest

WRITES = """
import os, subprocess, sys
file = os.open("a.txt", os.O_CREAT | os.O_WRONLY)  # call 1
for text in (b"one,", b"two,", b"three,"):  # calls 2 to 4
    try:
        os.write(file, text)
    except OSError as error:
        print(error.strerror)
with open("../elsewhere", "w") as other:
    other.write("not counted")
os.write(file, b"four")  # call 5
subprocess.run([sys.executable, "-c", "open('child.txt', 'w').write('spared')"], check=True)
"""


def written(folder: Path, **environment: str) -> tuple[str, str, str]:
    """What a program says that writes under the shim, what it wrote, and the shim's log."""
    work = folder / "work"
    work.mkdir()
    library = full_disk.built(folder)
    below = {"LD_PRELOAD": str(library), "FULL_BELOW": str(work), "FULL_LOG": str(folder / "log")}
    command = [sys.executable, "-c", WRITES]
    done = subprocess.run(
        command, cwd=work, env={**os.environ, **below, **environment}, capture_output=True, text=True, timeout=60
    )
    assert (work / "child.txt").read_text() == "spared"
    return done.stdout, (work / "a.txt").read_text(), (folder / "log").read_text()


def test_calls_below_the_folder_are_counted_and_none_fails_unasked(tmp_path: Path) -> None:
    assert written(tmp_path) == ("", "one,two,three,four", "5 \n")


def test_one_call_alone_fails(tmp_path: Path) -> None:
    said, text, log = written(tmp_path, FULL_AT="3", FULL_FOR="1")
    assert (said, text) == ("No space left on device\n", "one,three,four")
    assert log == f"5 write {tmp_path}/work/a.txt\n"


def test_of_the_first_write_of_several_one_half_is_written(tmp_path: Path) -> None:
    assert written(tmp_path, FULL_AT="3", FULL_FOR="2")[:2] == ("No space left on device\n", "one,twfour")


def test_a_sample_has_one_call_of_each_stretch_and_the_last() -> None:
    assert full_disk.sampled(5, 1, seed=0) == [1, 2, 3, 4, 5]
    found = full_disk.sampled(95, 10, seed=3)
    assert found[-1] == 95 and len(found) in (10, 11)
    assert all(any(10 * i < n <= 10 * i + 10 for n in found) for i in range(10))


@pytest.mark.slow
@pytest.mark.parametrize(
    "sets",
    [
        ("for_ever/1500",),
        pytest.param(("for_ever/500", "moment/1800", "twice/2400", "store/800", "new/6000"), marks=pytest.mark.long),
    ],
    ids=["few", "all"],
)
def test_a_disk_that_is_full_at_any_write_costs_nothing_that_was_finished(sets: tuple[str, ...]) -> None:
    """Exit 4 and one line that names the file, or a warning where MLflow alone was hit; then the same command is done."""
    done = subprocess.run(
        [sys.executable, full_disk.__file__, f"set={','.join(sets)}", "seed=6"],
        capture_output=True,
        text=True,
        timeout=290,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" 0 wrong") == len(sets), done.stdout
