"""How many epochs a study trains on a file, where nobody said it."""

from __future__ import annotations

from typing import Any

import pytest

from lstm_bench.core.configuration import replaced
from lstm_bench.sweep import epochs

LINE = ["+study=single", "dataset=file", "dataset.path=my.csv"]


def config(**train: Any) -> dict[str, Any]:
    known = {"epochs": 3, "batch_size": 64, "patience": None, **train}
    return {"train": known, "pruner": {"name": "median"}, "dataset": {"name": "file"}}


@pytest.mark.parametrize(
    ("line", "name", "open_"),
    [
        (LINE, "file", True),
        ([*LINE, "train.epochs=3"], "file", False),
        ([*LINE, "++train.epochs=3"], "file", False),
        (["+study=mine"], "file", False),  # its YAML names the file, and the epochs
        (["+study=single", "dataset=npz"], "npz", False),
        (["+study=single"], "mnist", False),
    ],
)
def test_epochs_follow_from_a_file_where_nobody_says_them(line: list[str], name: str, open_: bool) -> None:
    assert epochs.are_open({"dataset": {"name": name}}, line) is open_


@pytest.mark.parametrize(
    ("n", "more", "space", "expected"),
    [
        (640, {}, {}, (100, 20)),  # 10 steps in an epoch
        (641, {}, {}, (91, 18)),
        (20, {}, {}, (300, 60)),  # no more passes than that
        (64_000, {}, {}, (3, None)),  # 1,000 in one epoch: as the study has it
        (25_600, {"patience": 4}, {}, (3, 4)),
        (9_600, {}, {}, (7, 5)),
        (640, {"patience": 3}, {}, (100, 3)),
        (640, {"batch_size": 32}, {}, (50, 10)),
        (640, {}, {"train.batch_size": {"type": "categorical", "choices": [16, 128, 64]}}, (200, 40)),
        (640, {}, {"train.batch_size": {"type": "int", "low": 16, "high": 128}}, (200, 40)),
        (640, {}, {"train.epochs": {"type": "int", "low": 2, "high": 9}}, (3, None)),
        (640, {}, {"train.patience": {"type": "int", "low": 2, "high": 9}}, (100, None)),
    ],
)
def test_they_are_as_many_as_make_a_thousand_steps(n: int, more: Any, space: Any, expected: Any) -> None:
    made = config(**more)
    said = epochs.settle(made, space, n)
    assert (made["train"]["epochs"], made["train"]["patience"]) == expected
    assert "train.epochs" in space or said.startswith(f"{expected[0]}: ")
    once = replaced(made, {})
    epochs.settle(made, space, n)
    assert made == once, "the same again on resume"


def test_a_pruner_that_compares_single_epochs_has_no_patience_beside_it() -> None:
    made = {**config(), "pruner": {"name": "dominated"}}
    assert epochs.settle(made, {}, 640).startswith("100: 1,000 optimiser steps on 640 sequences instead of 3;")
    assert made["train"]["patience"] is None
