"""`lstm_bench.study.diagnostics`: what speaks against a search, each sentence where it is due and nowhere else."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lstm_bench.study import diagnostics
from lstm_bench.study.diagnostics import Ended

SPACE: dict[str, dict[str, Any]] = {
    "model.units": {"type": "int", "low": 10, "high": 1000, "step": None, "log": True},
    "model.layers": {"type": "int", "low": 1, "high": 2, "step": None, "log": False},
    "train.decay": {"type": "float", "low": 0.0, "high": 1.0, "step": None, "log": False},
    "train.optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
}
INSIDE = {"model.units": 100, "model.layers": 2, "train.decay": 0.5, "train.optimizer": "adam"}


def search(*values: float | str | None) -> list[Ended]:
    """Trials that ended with these values; text is a state."""
    return [
        Ended(number, value, None) if isinstance(value, str) else Ended(number, "COMPLETE", value)
        for number, value in enumerate(values)
    ]


def said(*values: float | str | None, **more: Any) -> list[str]:
    return diagnostics.sentences(SPACE, search(*values), **{"winner": 0, "params": INSIDE, **more})


def test_a_sound_search_is_left_in_peace() -> None:
    assert said(0.9, 0.5, 0.6, seeds=[0.90, 0.91, 0.89]) == []


@pytest.mark.parametrize(
    ("params", "paths"),
    [
        ({"model.units": 10}, ["model.units"]),
        ({"model.units": 980}, ["model.units"]),
        ({"model.units": 900}, []),  # on a logarithmic scale, 0.977 of the way
        ({"train.decay": 0.99}, ["train.decay"]),
        ({"train.decay": 0.97}, []),
        ({"model.layers": 1}, []),  # of two values, each is at an edge
        ({"train.decay": "unknown"}, []),
        ({"train.decay": None}, []),
    ],
)
def test_an_edge_is_a_bound_on_the_dimension_s_own_scale(params: dict[str, Any], paths: list[str]) -> None:
    assert [edge.path for edge in diagnostics.edges(SPACE, {**INSIDE, **params})] == paths


def test_the_edge_is_said_with_its_bounds() -> None:
    assert said(0.9, params={**INSIDE, "model.units": 1000}) == [
        "The winner lies at the edge of the space: model.units = 1e+03 of 10 to 1e+03."
    ]


def test_failures_and_pruned_are_said() -> None:
    assert said(0.9, "FAIL", 0.5) == ["1 of 3 trials failed (33 %)."]
    assert said(0.9, 0.5, "PRUNED") == ["1 of 3 trials was pruned: 2 were trained to the end."]
    assert said(0.9, "FAIL", "PRUNED", "PRUNED", "PRUNED") == [
        "1 of 5 trials failed (20 %).",
        "3 of 5 trials were pruned: 1 was trained to the end.",
    ]


def test_no_improvement_in_the_last_third_is_said() -> None:
    line = "No improvement in the last third, 3 trials: the best is trial 5."
    rising = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.5, 0.4, 0.3]
    assert said(*rising, winner=5) == [line]
    assert said(*rising[:6], 0.7, 0.4, 0.3, winner=6) == []
    assert said(*(-value for value in rising), winner=5, maximize=False) == [line]
    assert said(0.9, 0.1, 0.1, 0.1, 0.1) == []  # a third of five is too few to tell


def test_trials_behind_the_winner_by_less_than_the_seeds_differ_are_within_noise() -> None:
    seeds = [0.88, 0.90, 0.92]  # a standard deviation of 0.02
    noise = "behind it by less than 0.02, its standard deviation between seeds."
    assert said(0.90, 0.885, 0.879, 0.89, seeds=seeds) == [
        f"The winner is within noise of trials 1, 3: they are {noise}"
    ]
    assert said(0.90, 0.885, seeds=seeds) == [f"The winner is within noise of trial 1: it is {noise}"]
    # One that was picked by its replicates may have had the worse trial.
    assert said(0.90, 0.885, 0.99, seeds=seeds) == [
        f"The winner is within noise of trials 1, 2: they are ahead of it, or {noise}"
    ]
    assert said(0.90, 0.885, seeds=seeds[:1]) == []
    lower = said(0.10, 0.115, 0.121, seeds=seeds, maximize=False)
    assert lower[0].startswith("The winner is within noise of trial 1: ")


def test_only_a_few_of_many_are_listed() -> None:
    (line,) = [line for line in said(*[0.9] * 20, seeds=[0.8, 0.9]) if "noise" in line]
    assert "trials 1, 2, 3, 4, 5 and 14 more: " in line


def test_of_several_objectives_the_first_alone_judges_neither_stagnation_nor_noise() -> None:
    assert said(*[0.9] * 20, seeds=[0.8, 0.9], several=True) == []


def test_nothing_is_said_of_an_empty_space() -> None:
    assert diagnostics.sentences({}, search("FAIL"), winner=None, params={}) == []


def test_trials_that_ran_again_are_no_trials_of_the_search() -> None:
    def row(number: int, state: str, reason: str | None = None, retry_of: int | None = None) -> dict[str, Any]:
        return {"number": number, "state": state, "reason": reason, "retry_of": retry_of, "val_accuracy": 0.5}

    rows = [
        row(0, "FAIL", "worker_died"),
        row(1, "COMPLETE", retry_of=0) | {"retry_of": "0"},  # as a reader of text has it
        row(2, "FAIL", "worker_died"),  # once too often
        row(3, "FAIL", "interrupted"),
        row(4, "PRUNED"),
        row(5, "FAIL", "nan"),
    ]
    assert diagnostics.ended(rows, "val_accuracy") == [
        Ended(1, "COMPLETE", 0.5),
        Ended(2, "FAIL", None),
        Ended(4, "PRUNED", None),
        Ended(5, "FAIL", None),
    ]


def test_what_could_not_be_judged_is_said() -> None:
    trials = [Ended(k, "COMPLETE", 0.5) for k in range(9)]
    assert diagnostics.unjudged(trials, seeds=[0.1, 0.2]) == []
    assert diagnostics.unjudged(trials[:8], seeds=[0.1, math.nan]) == [
        "Too few trials (8) to judge whether more would find better (9).",
        "Too few seeds to judge noise.",
    ]
    assert diagnostics.unjudged(trials, several=True) == [
        "With several objectives neither stagnation nor noise is judged."
    ]


FACTS = {"n_train": 50_000, "n_validation": 1000, "n_test": 1000, "trivial": {"label": 0, "test_accuracy": 0.1}}
CONFIG = {"study": {"objective": "val_accuracy"}, "train": {"batch_size": 50, "epochs": 3}}
SEED = {"test_accuracy": 0.9, "val_accuracy": 0.9, "epochs": 3}


def judged(facts: dict[str, Any], n_seeds: int = 2, accuracies: tuple[float, ...] = (0.8, 0.9, 0.9)) -> list[str]:
    history = [{"epoch": epoch, "val_accuracy": value} for epoch, value in enumerate(accuracies, 1)]
    return diagnostics.judge(
        CONFIG,
        facts,
        space={},
        trials=[],
        winner=None,
        params={},
        seeds=[{**SEED, "seed": seed, "history": history} for seed in range(n_seeds)],
        pairs={(0, 0): 500, (1, 1): 500},
    ).sentences()


def test_the_green_sentence_stands_only_where_everything_was_judged() -> None:
    assert judged(FACTS) == ["Nothing that was judged speaks against the search."]
    unsized = {key: value for key, value in FACTS.items() if key != "n_validation"}
    assert judged(unsized) == ["Not judged: whether validation agrees with test (sizes are not recorded)."]
    assert judged(FACTS, n_seeds=0) == ["Not judged: the result (no seed has confirmed it)."]
    assert judged(FACTS, n_seeds=1, accuracies=(0.8, 0.9)) == [
        "Not judged: whether it was still rising at the last epoch (too few epochs); "
        "whether seeds agree (fewer than two have a score)."
    ]
    assert judged(FACTS, accuracies=(0.5, 0.7, 0.9)) == [
        "Still rising at the last epoch in 2 of 2 seeds: more epochs may do better."
    ]
