"""`lstm_bench.data.task`: what a kind of task is, and that nothing else of the package asks for its name."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstm_bench
from lstm_bench.core.errors import ConfigError
from lstm_bench.data import metric, objective, task
from lstm_bench.study import columns

PACKAGE = Path(lstm_bench.__file__).parent
KNOWING = {"data/task.py", "data/metric.py", "training/criteria.py"}
SPOKEN = {*task.OWN, *(column for one in task.OWN.values() for column in one.columns), "accuracy", "mse", "mae"}

HITS = metric.Metric("hits", metric.accuracy, maximize=True, label="hits", percent=True)
OTHER = dataclasses.replace(task.CLASSIFICATION, name="other", metrics=(HITS, metric.CROSS_ENTROPY), counted="hits")
CLASH = dataclasses.replace(OTHER, name="clash", metrics=(dataclasses.replace(metric.MSE, name="loss", label="MSE"),))


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Entry points: a task, one that cannot be imported, one under another's name, one whose loss is no loss."""
    points = {"other": f"{__name__}:OTHER", "torn": "no_such_package:TASK", "copied": f"{__name__}:OTHER"}
    points["clash"] = f"{__name__}:CLASH"
    found = [EntryPoint(name, value, task.GROUP) for name, value in points.items()]
    monkeypatch.setattr(task, "entry_points", lambda group: found)
    task._found.cache_clear()
    columns.optional_columns.cache_clear()
    yield
    task._found.cache_clear()
    columns.optional_columns.cache_clear()


def test_a_task_of_an_entry_point_stands_beside_ours() -> None:
    assert list(task.tasks()) == ["classification", "tagging", "regression", "multilabel", "forecasting", "other"]
    assert task.of("other") is task.recorded({"task": "other"}) is OTHER
    assert objective.objectives()["val_hits"] == "maximize" and task.in_percent("test_hits")
    rows = [{"val_hits": 0.5, "val_accuracy": None}]
    assert columns.optional(rows) == ("val_hits",) and columns.optional([{"val_accuracy": 0.5}]) == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torn", "task torn: its package cannot be used (no_such_package:TASK: ModuleNotFoundError"),
        ("copied", "expected a Task of its own, named copied"),
        ("clash", "metric loss is another one elsewhere: (False, False, 'loss'), not (False, False, 'MSE')"),
        ("taging", "unknown task taging: expected one of classification, tagging, regression, multilabel, forecasting, other"),
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_used_is_one_line_where_it_is_asked_for_and_nowhere_else(name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        task.of(name)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert task.recorded({"task": name}) is task.CLASSIFICATION


@pytest.mark.parametrize("names", [("accuracy",), ("loss", "loss")])
def test_a_task_has_a_loss_and_no_metric_twice(names: tuple[str, ...]) -> None:
    metrics = tuple(dataclasses.replace(metric.ACCURACY, name=name) for name in names)
    with pytest.raises(ConfigError, match="one of them loss, each once"):
        dataclasses.replace(OTHER, metrics=metrics)


def test_a_mask_leaves_labels_out_of_every_metric() -> None:
    rng = np.random.default_rng(0)
    y, mask = rng.integers(0, 3, (4, 5)), rng.random((4, 5)) < 0.5
    for one, outputs in ((task.TAGGING, rng.random((4, 5, 3))), (task.REGRESSION, rng.random((4, 5, 1)))):
        inside = one.score(outputs[mask], y[mask], "val")
        assert one.score(outputs, y, "val", mask) == pytest.approx(inside)
        assert one.score(outputs, y, "val") != pytest.approx(inside)


@pytest.mark.parametrize("one", task.OWN.values(), ids=list(task.OWN))
def test_the_records_have_columns_for_all_that_a_task_of_ours_says(one: task.Task) -> None:
    more = [column for column in one.columns if column not in columns.REPLICATE_COLUMNS]
    assert list(columns.further(one)) == more and len(more) >= 2 * len(one.late)
    for file in ("trials.csv", "history.csv"):
        assert list(columns.further(one, file)) == more[::2]


def decisions(tree: ast.AST) -> Iterator[str]:
    """What compares a value with the name of a task or a metric's column, looks it up by one, or tests how it ends."""
    for node in ast.walk(tree):
        found: list[Any] = []
        if isinstance(node, ast.Compare):
            found = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("endswith", "startswith", "removesuffix"):
                found = node.args
        elif isinstance(node, ast.Dict):
            found = list(node.keys)
        for part in (inner for one in found if one is not None for inner in ast.walk(one)):
            if isinstance(part, ast.Constant) and part.value in SPOKEN:
                yield f"{node.lineno}: {part.value}"  # type: ignore[attr-defined]


def test_no_other_module_decides_by_the_name_of_a_task_or_of_a_metric() -> None:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        text = path.read_text()
        if name in KNOWING or not any(f'"{known}"' in text for known in SPOKEN):
            continue
        if told := list(decisions(ast.parse(text))):
            found[name] = told
    assert found == {}


@pytest.mark.parametrize(
    "line",
    ['x = task == "regression"', 'y = name.endswith("accuracy")', 'z = {"tagging": 1}[task]', 'm = c in ("val_mse", "")'],
)  # fmt: skip
def test_a_decision_by_name_is_seen(line: str) -> None:
    assert len(list(decisions(ast.parse(line)))) == 1
