"""The structure of the house: imports go one way, and the commands start without a framework."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lstm_bench

PACKAGE = Path(lstm_bench.__file__).parent
FRAMEWORKS = ("keras", "tensorflow", "jax", "torch", "mlflow", "ray")
LEAVES = {"document", "errors", "stream", "timing"}


def imports(module: Path) -> set[str]:
    """Modules of ours that a module imports, at its top or inside its functions; not those for types alone."""
    tree = ast.parse(module.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "lstm_bench":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lstm_bench."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("lstm_bench.")}
    return found


GRAPH = {path.stem: imports(path) for path in sorted(PACKAGE.glob("*.py")) if path.stem != "__init__"}


def test_imports_never_point_back() -> None:
    seen: list[str] = []

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a circle: {' -> '.join((*path, module))}"
        if module not in seen:
            for below in sorted(GRAPH[module]):
                if below in GRAPH:
                    visit(below, (*path, module))
            seen.append(module)

    for module in GRAPH:
        visit(module, ())


def test_a_circle_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GRAPH, "errors", {"sweep"})
    with pytest.raises(AssertionError, match="a circle"):
        test_imports_never_point_back()


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_leaves_import_nothing_of_ours(leaf: str) -> None:
    assert GRAPH[leaf] == set()


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("sweep", "session"),
        ("sweep", "precheck"),
        ("sweep", "multirun"),
        ("session", "precheck"),
        ("session", "health"),
        ("health", "judgement"),
        ("study", "source"),
        ("family", "network"),
        ("session", "driver"),
        ("driver", "study"),
        ("study", "ledger"),
        ("session", "served"),
        ("served", "roster"),
        ("served", "study"),
        ("driver", "observer"),
        ("observer", "tracking"),
        ("session", "replay"),
        ("sync", "replay"),
        ("replay", "tracking"),
        ("trial", "train"),
        ("train", "engine"),
        ("engine", "kernel"),
        ("family", "kernel"),
        ("report", "record"),
        ("report", "harvest"),
        ("harvest", "store"),
        ("harvest", "entity"),
        ("kernels", "benchmark"),
        ("benchmark", "throughput"),
        ("trial", "measurement"),
        ("measurement", "probe"),
        ("predict", "recorded"),
        ("repeat", "recorded"),
        ("repeat", "launcher"),
        ("sequences", "arrays"),
        ("arrays", "label"),
        ("doctor", "installation"),
        ("doctor", "machine"),
        ("doctor", "inventory"),
        ("inventory", "finding"),
        ("proof", "process"),
        ("export", "archive"),
        ("merge", "union"),
        ("union", "bundle"),
        ("archive", "document"),
        ("session", "ray_launcher"),
        ("ray_worker", "worker"),
    ],
)
def test_the_flow_of_the_design(above: str, below: str) -> None:
    reached, todo = set(), [above]
    while todo:
        for module in GRAPH[todo.pop()] & set(GRAPH) - reached:
            reached.add(module)
            todo.append(module)
    assert below in reached


def test_reports_need_no_study_no_keras_and_no_mlflow() -> None:
    reached, todo = {"report"}, ["report"]
    while todo:
        for module in GRAPH[todo.pop()] & set(GRAPH) - reached - {"harvest"}:  # of source=mlflow alone
            reached.add(module)
            todo.append(module)
    text = "".join((PACKAGE / f"{module}.py").read_text() for module in reached - {"importance"})
    assert not {"study", "session", "tracking", "train", "engine"} & reached
    assert "import optuna" not in text and "import keras" not in text and "import mlflow" not in text


def test_reports_start_without_optuna_and_without_a_renderer_of_markdown() -> None:
    modules = "page, comparison, report, importance, latex, webpage, recipe"
    late = "{'optuna', 'sklearn', 'markdown_it', 'hydra'}"
    code = f"import sys; from lstm_bench import {modules}; print({late} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_reports_from_mlflow_do_not_need_the_tracking_that_wrote_it() -> None:
    assert GRAPH["harvest"] == {"entity", "errors", "record", "result", "store"}


@pytest.mark.parametrize(
    "module",
    [
        *("sweep", "session", "kernels", "benchmark", "report", "ui", "predict", "repeat", "sync", "doctor", "proof"),
        *("export", "merge"),
    ],
)
def test_commands_import_no_framework(module: str) -> None:
    code = (
        f"import sys, lstm_bench.{module}; "
        f"print(sorted(set(m.partition('.')[0] for m in sys.modules) & set({FRAMEWORKS!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_says_what_it_is_for() -> None:
    for path in PACKAGE.glob("*.py"):
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[:1]
        assert first and first[0].endswith((".", ":", ";")), f"{path.name}: {first}"
