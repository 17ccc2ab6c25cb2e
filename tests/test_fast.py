"""`pytest -m fast`: what it holds, and that the rest stays known by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COLLECTED

TEST = "def test_it() -> None:\n    import keras\n"


def whole(request: pytest.FixtureRequest) -> tuple[int, int, set[str]]:
    config = request.config
    if config.args != config.getini("testpaths") or config.option.markexpr == "fast":
        pytest.skip("only some of the tests were collected")
    return config.stash[COLLECTED]


def test_two_thirds_of_all_tests_are_fast(request: pytest.FixtureRequest) -> None:
    n_fast, n_others, _ = whole(request)
    assert n_fast >= 2 * n_others, f"{n_fast} of {n_fast + n_others}"


def test_every_file_that_is_not_fast_is_there(request: pytest.FixtureRequest) -> None:
    assert whole(request)[2] == set()


def test_a_fast_test_that_imports_a_framework_fails(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "keras.py").write_text("")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  fast: \n  slow: \npythonpath = .\n")
    for name in ("test_one.py", "test_layers.py"):
        (tmp_path / name).write_text(TEST)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "fast"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and "keras: imported by a test that is `fast`" in done.stdout, done.stdout
    assert "1 passed, 1 error" in done.stdout, "the file that may import it is left out"
