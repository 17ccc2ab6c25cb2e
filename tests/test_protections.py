"""The table of protections: each is still where `protections.py` would take it out, and so is the test that watches over it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from protections import PROTECTIONS, ROOT, Protection, copied, said

TESTS = Path(__file__).parent


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda it: f"{it.requirement} {it.promise}")
def test_a_protection_is_where_the_table_says(protection: Protection) -> None:
    assert (ROOT / protection.file).read_text().count(protection.text) == 1
    assert protection.text != protection.instead
    file, _, test = protection.test.partition("::")
    names = {
        node.name for node in ast.parse(next(TESTS.rglob(file)).read_text()).body if isinstance(node, ast.FunctionDef)
    }
    assert test.partition("[")[0] in names


def test_every_test_of_faults_watches_over_a_protection_of_the_table() -> None:
    tree = ast.parse((TESTS / "end_to_end/test_faults.py").read_text())
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    watched = {found[1] for p in PROTECTIONS if (found := re.match(r"test_faults\.py::(\w+)", p.test))}
    assert tests == watched


def test_a_test_that_fails_is_red_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "tests" / "core").mkdir(parents=True)
    (tmp_path / "tests" / "core" / "test_it.py").write_text(
        "def test_good():\n    pass\n\ndef test_bad():\n    assert 1 + 1 == 3\n"
    )
    assert said(tmp_path, ["test_it.py::test_good"])[0] == 0
    assert said(tmp_path, ["test_it.py::test_bad"]) == (1, "assert (1 + 1) == 3")


def test_a_copy_has_the_code_its_tests_and_no_history(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    for name in (
        "lstm_bench/sweep/store/trials.py",
        "conf/sweep.yaml",
        "tests/programs/protections.py",
        "pyproject.toml",
    ):
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes()
    assert not (folder / ".git").exists()
