"""The structure of the house: wings import downwards (`pyproject.toml`), and the commands start without a framework."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import lstm_bench

PACKAGE = Path(lstm_bench.__file__).parent
ROOT = PACKAGE.parent
FRAMEWORKS = ("keras", "tensorflow", "jax", "torch", "mlflow", "ray")
MODULES = sorted(PACKAGE.rglob("*.py"))
WINGS = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())


def linted(root: Path) -> subprocess.CompletedProcess[str]:
    """`lint-imports` on the contracts of a checkout."""
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    command = [sys.executable, "-c", code, "--no-cache"]
    return subprocess.run(command, cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True)


def test_imports_keep_the_contracts() -> None:
    done = linted(ROOT)
    assert done.returncode == 0, done.stdout
    assert "ignore_imports" not in (ROOT / "pyproject.toml").read_text()


def test_broken_contracts_are_seen(tmp_path: Path) -> None:
    faults = {
        "core/errors": ("from lstm_bench.sweep import session", "Wings import downwards"),
        "sweep/driver": ("import keras", "Frameworks are imported"),
        "study/pareto": ("import optuna", "Optuna is imported"),
        "report/pages/study": ("import mlflow", "MLflow is imported"),
        "report/stats/paired": ("from lstm_bench.training import fit", "Neither the report nor the study"),
        "training/fit": ("from lstm_bench.cuda import pretended_gpu", "A pretended GPU is believed in"),
    }
    for path in MODULES:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    for module, (line, _) in faults.items():
        with (tmp_path / "lstm_bench" / f"{module}.py").open("a") as file:
            file.write(f"\n{line}\n")
    done = linted(tmp_path)
    assert done.returncode == 1
    for _, broken in faults.values():
        assert any(broken in row and "BROKEN" in row for row in done.stdout.splitlines()), done.stdout


def test_reports_start_without_optuna_and_without_a_renderer_of_markdown() -> None:
    code = (
        "import sys; from lstm_bench.report import command; from lstm_bench.report.pages import study, comparison, "
        "importance, reproduce; from lstm_bench.report.render import latex, html; "
        "print({'optuna', 'sklearn', 'markdown_it', 'hydra'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


COMMANDS = (
    *("sweep.command", "sweep.session", "kernels.command", "kernels.benchmark", "report.command", "doctor.command"),
    *("cuda.prediction", "cuda.table", "kernels.predicting", "doctor.proof", "ui", "predict", "repeat", "sync"),
    *("export", "merge", "look", "leak", "__main__"),
)


def test_neither_a_wing_nor_a_command_imports_a_framework() -> None:
    """In one process, one after the other: what none of all of them imports, none of them does."""
    code = (
        "import importlib, sys\n"
        f"for name in {(*WINGS, *COMMANDS)!r}:\n"
        "    importlib.import_module(f'lstm_bench.{name}')\n"
        f"    found = set({FRAMEWORKS!r}) & {{module.partition('.')[0] for module in sys.modules}}\n"
        "    assert not found, (name, found)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_says_its_contract(wing: str) -> None:
    said = ast.get_docstring(ast.parse((PACKAGE / wing / "__init__.py").read_text())) or ""
    assert said.count("\n") >= 2 and "Imports " in said


@pytest.mark.parametrize("wing", WINGS)
def test_no_two_modules_of_a_wing_share_a_stem(wing: str) -> None:
    stems = Counter(path.stem for path in (PACKAGE / wing).glob("*.py"))
    assert stems.most_common(1)[0][1] == 1


def test_the_top_level_holds_what_can_be_typed_and_nothing_else() -> None:
    from lstm_bench.__main__ import COMMANDS

    doors = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    behind = {path.parent.name for path in PACKAGE.glob("*/__main__.py")}
    assert doors | behind == set(COMMANDS)
    assert set(WINGS) == behind | {"core", "data", "model", "study", "launcher", "training", "tracking", "cuda"}


def test_every_module_says_what_it_is_for() -> None:
    for path in MODULES:
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[:1]
        assert first and first[0].endswith((".", ":", ";")), f"{path.name}: {first}"


def test_what_the_overhead_benchmark_times_is_there() -> None:
    code = (
        "import importlib, overhead\n"
        "for module, owner, name in (*overhead.DRIVER, *overhead.WORKER):\n"
        "    found = importlib.import_module(f'lstm_bench.{module}')\n"
        "    getattr(getattr(found, owner) if owner else found, name)\n"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "benchmarks")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
