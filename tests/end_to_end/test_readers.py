"""A sample of damaged inputs for every reader; `python tests/programs/fuzz/inputs.py n=1000000` reads as many as one likes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import inputs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_bench.core.errors import DataError

ROOT = Path(__file__).parent.parent.parent
# Inputs of each reader here: what takes about a second and a half.
SAMPLE = {
    "texts": 100,
    "idx": 600,
    "npz": 300,
    "sequences": 300,
    "file": 150,
    "yaml": 100,
    "json": 300,
    "recorded": 60,
    "result": 20,
    "archive": 60,
    "control": 20,
}
CHANGES = st.lists(
    st.tuples(st.integers(0, len(inputs.CHANGES) - 1), st.integers(0, 2**31), st.integers(0, 2**16)), max_size=8
)


@pytest.fixture(scope="module")
def guard() -> inputs.Guard:
    return inputs.Guard()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy, about numbers that no one meant
        yield


@pytest.mark.parametrize("name", inputs.READERS)
def test_a_reader_gives_a_value_or_an_error_of_ours(name: str, guard: inputs.Guard, tmp_path: Path) -> None:
    reader, good = inputs.READERS[name], inputs.good_of(name)

    @settings(
        max_examples=SAMPLE[name],
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(CHANGES, st.integers(0, 2**31), st.one_of(st.none(), st.none(), st.binary(max_size=400)))
    def read(changes: list[inputs.Change], choice: int, raw: bytes | None) -> None:
        guard.run(name, inputs.made(reader, good, changes, choice) if raw is None else raw, tmp_path / "i")

    read()


@pytest.mark.parametrize("name", inputs.READERS)
def test_the_good_files_are_read(name: str, guard: inputs.Guard, tmp_path: Path) -> None:
    ends = [guard.run(name, body, tmp_path / "i") for body in inputs.good_of(name)]
    assert ends.count("value") >= len(ends) - (name == "npz")  # one of those holds Python objects


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


def _bad(how: str, folder: Path) -> None:
    if how == "raises":
        raise KeyError("x")
    if how == "writes":
        (folder.parent / "elsewhere").write_text("")
    elif how == "runs":
        subprocess.run(["true"], check=True)
    elif how == "unpickles":
        pickle.loads(pickle.dumps(_Evil()))  # noqa: S301
    elif how == "grows":
        bytearray(b"x") * (2**20 * (inputs.MIB + 200))
    elif how == "takes long":
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass
    elif how == "says much":
        error = DataError("x")
        error.args = ("two\nlines",)
        raise error


@pytest.mark.parametrize("how", ["raises", "writes", "runs", "unpickles", "grows", "takes long", "says much"])
def test_what_a_reader_must_not_do_is_seen(
    how: str, guard: inputs.Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inputs.READERS, "bad", inputs.Reader(1, list, lambda _, folder: _bad(how, folder)))
    monkeypatch.setattr(inputs, "SECONDS", 0.2)
    with pytest.raises((inputs.Broken, KeyError)):
        guard.run("bad", b"", tmp_path / "i")


def test_the_command_counts_and_an_index_is_always_the_same_input() -> None:
    done = subprocess.run(
        [sys.executable, "tests/programs/fuzz/inputs.py", "n=40", "reader=idx", "processes=1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 inputs, seed 0," in done.stdout and ", 0 failures" in done.stdout
    assert inputs.input_of("idx", 0, 7) == inputs.input_of("idx", 0, 7) != inputs.input_of("idx", 1, 7)
