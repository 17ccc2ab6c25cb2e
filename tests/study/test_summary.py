"""`lstm_bench.study.summary.nothing`: what is said of a study of which nothing came out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lstm_bench.study.summary import nothing

DONE = {"state": "COMPLETE", "reason": None}
PRUNED = {"state": "PRUNED", "reason": None}
NAN = {"state": "FAIL", "reason": "nan", "detail": "loss nan in\nepoch 1"}
OOM = {"state": "FAIL", "reason": "oom"}


def said(trials: Sequence[Any], seeds: Sequence[Any] = (), **more: Any) -> str | None:
    numbered = [{**row, "number": number} for number, row in enumerate(trials)]
    seeded = [{**row, "seed": seed} for seed, row in enumerate(seeds)]
    fault = nothing("mine", numbered, seeded, **{"searched": True, **more})
    return None if fault is None else str(fault)


@pytest.mark.parametrize(
    ("trials", "seeds", "searched"),
    [
        ([], [], True),  # nothing was asked
        ([DONE, NAN], [], True),  # study.replicates=0
        ([DONE], [NAN, DONE], True),
        ([], [DONE], False),
        ([NAN], [DONE], False),  # a trial of an empty space decides nothing
        ([DONE], [], False),
    ],
)
def test_where_something_came_out_nothing_is_said(trials: Any, seeds: Any, searched: bool) -> None:
    assert said(trials, seeds, searched=searched) is None


@pytest.mark.parametrize(
    ("trials", "seeds", "more", "text"),
    [
        (
            [OOM, NAN, NAN],
            [],
            {},
            "study mine: no trial is complete: 3 of 3 trials failed, 2 of them with nan (trial 1: loss nan in epoch 1). "
            "Lower train.learning_rate or set train.global_clipnorm, under another study.name.",
        ),
        (
            [PRUNED, PRUNED],
            [],
            {},
            "study mine: no trial is complete: 2 of 2 trials were pruned. "
            "Set pruner=none, or let it begin later, under another study.name.",
        ),
        (
            [PRUNED, OOM],
            [],
            {},
            "study mine: no trial is complete: 1 of 2 trials failed: oom; 1 was pruned. "
            "Lower train.batch_size or the model's size, under another study.name.",
        ),
        (
            [],
            [],
            {"timed_out": True},
            "study mine: no trial is complete: study.timeout passed before the first had ended. "
            "Raise study.timeout: the same command goes on.",
        ),
        (
            [DONE],
            [NAN, NAN],
            {},
            "study mine: no seed is complete: 2 of 2 seeds failed: nan (seed 0: loss nan in epoch 1). "
            "Lower train.learning_rate or set train.global_clipnorm, under another study.name.",
        ),
        (
            [],
            [{"state": "FAIL", "reason": "exception"}],
            {"searched": False},
            "study mine: no seed is complete: 1 of 1 seed failed: exception. "
            "What was raised is in logs/ of the study's folder; mend it and give another study.name.",
        ),
        (
            [NAN],
            [],
            {"searched": False},
            "study mine: no trial is complete: 1 of 1 trial failed: nan (trial 0: loss nan in epoch 1). "
            "Lower train.learning_rate or set train.global_clipnorm, under another study.name.",
        ),
    ],
)
def test_why_nothing_came_out_and_what_to_do(trials: Any, seeds: Any, more: Any, text: str) -> None:
    assert said(trials, seeds, **more) == text
