"""The table of protections: what it names is there, can be switched off in every process, and has a test that watches over it."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from protections import (
    NOT_RUN,
    PAGE,
    PROTECTIONS,
    ROOT,
    VARIABLE,
    chosen,
    copied,
    located,
    page,
    row,
    said,
    without_table,
)
from switch_off import found

IN_CODE = [name for name, it in PROTECTIONS.items() if not it.in_file]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("copy"))


def without(copy: Path, off: str, code: str) -> str:
    """What a program prints that runs with protections off."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", VARIABLE: off}
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("name", PROTECTIONS)
def test_a_protection_and_its_test_are_where_the_table_says(name: str) -> None:
    protection = PROTECTIONS[name]
    place, _, path = protection.place.partition(":")
    if protection.in_file:
        text = (ROOT / place).read_text()
        whole, rest = tomllib.loads(text), tomllib.loads(without_table(text, path))
        *parents, last = path.split(".")
        node = whole
        for parent in parents:
            node = node[parent]
        del node[last]  # KeyError where it is not there
        assert rest == whole
    else:
        found(importlib.import_module(place), path)
        assert protection.instead is not None
    file, _, test = located(ROOT, protection.test).partition("::")
    names = {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)}
    assert test.partition("[")[0] in names


def test_every_protection_can_be_switched_off_in_a_process(copy: Path) -> None:
    code = f"""
import importlib, sys
import switch_off
done = []
replace = switch_off.replace
def noted(module, path, replacement):
    replace(module, path, replacement)
    done.append(f"{{module.__name__}}:{{path}} {{replacement.words}}")
switch_off.replace = noted
for module in {sorted({PROTECTIONS[name].place.partition(":")[0] for name in IN_CODE})!r}:
    importlib.import_module(module)
print(*sorted(done), sep="\\n")
"""
    expected = [f"{it.place} {it.instead.words}" for it in map(PROTECTIONS.get, IN_CODE) if it and it.instead]
    assert without(copy, ",".join(IN_CODE), code).splitlines() == sorted(expected)


# Of a protection: a program, what it prints, and what it prints without the protection.
PROGRAMS = {
    "R3.retry": ("from lstm_bench.core.vocabulary import RETRY_LIMITED as it; print(it)",
        "('worker_died', 'oom_shared')", "()"),
    "R5.uncounted": ("from lstm_bench.study.candidates import RETRY_UNLIMITED as it; print(it)",
        "('driver_died', 'interrupted', 'pack_failed')", "('driver_died', 'pack_failed')"),
    "R15.host": ("from lstm_bench import ui; print(ui.is_local('localhost'), ui.is_local('::'))",
        "True False", "True True"),
    "R11.start": ("from lstm_bench.sweep import samplers; from lstm_bench.sweep.store.suggestions import Suggestions\n"
        "samplers.sampler = lambda *_, **given: given['suggestion']\n"
        "made = Suggestions({'sampler': {'name': 'random'}, 'study': {'n_trials': 1}}, {})\n"
        "print(made.sampler(7, 0, []), made.sampler(suggestion=8, seed=0, trials=[]))",
        "7 8", "0 0"),
    "clock.trial": ("from lstm_bench.core.clock import end_ms; print(end_ms(2, 1), end_ms(started_ms=2, ended_ms=1))",
        "2 2", "1 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_protection_is_off_in_what_a_process_starts_too(copy: Path, name: str) -> None:
    code, on, off = PROGRAMS[name]
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    assert without(copy, "", nested).strip() == on
    assert without(copy, name, nested).strip() == off


def test_every_test_of_faults_watches_over_a_protection_of_the_table() -> None:
    tree = ast.parse((ROOT / located(ROOT, "test_faults.py")).read_text())
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    watched = {hit[1] for it in PROTECTIONS.values() if (hit := re.match(r"test_faults\.py::(\w+)", it.test))}
    assert tests == watched


def test_a_test_that_fails_is_red_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "tests" / "core").mkdir(parents=True)
    (tmp_path / "tests" / "core" / "test_it.py").write_text(
        "def test_good():\n    pass\n\ndef test_bad():\n    assert 1 + 1 == 3\n"
    )
    assert said(tmp_path, ["test_it.py::test_good"])[0] == 0
    assert said(tmp_path, ["test_it.py::test_bad"]) == (1, "assert (1 + 1) == 3")


def test_a_copy_has_the_code_its_tests_and_no_history(copy: Path) -> None:
    for name in (
        "lstm_bench/sweep/store/trials.py",
        "conf/sweep.yaml",
        "tests/programs/protections.py",
        "pyproject.toml",
    ):
        assert (copy / name).read_bytes() == (ROOT / name).read_bytes()
    assert not (copy / ".git").exists()


def test_names_choose_protections() -> None:
    assert chosen([]) == list(PROTECTIONS)
    assert chosen(["R4"]) == ["R4.requeue", "R4.orphans"]
    assert chosen(["R3.limit", "test_sync.py"]) == ["R3.limit", "sync.points", "sync.times"]
    assert chosen(["corrupt_mnist"]) == ["R19.data"]


def test_the_page_keeps_what_was_seen_of_a_protection_until_it_is_another() -> None:
    text = page("By hand.\n\n| | promise | of an older version |\n", {"R4.requeue": ("red", "`a \\| b`")})
    assert text.startswith("By hand.\n\n| | promise | test |")
    assert row("R4.requeue", ("red", "`a \\| b`")) in text.splitlines()
    assert row("R4.orphans", (NOT_RUN, "")) in text.splitlines()
    assert page(text, {}) == text
    assert row("R4.requeue", ("GREEN", "`c`")) in page(text, {"R4.requeue": ("GREEN", "`c`")}).splitlines()
    moved = text.replace("TrialStore.repair", "TrialStore.mend")
    assert row("R4.requeue", (NOT_RUN, "")) in page(moved, {}).splitlines()


def test_the_committed_page_is_that_of_the_table() -> None:
    text = PAGE.read_text()
    assert page(text, {}) == text, "python tests/programs/protections.py NAME of what is new"
