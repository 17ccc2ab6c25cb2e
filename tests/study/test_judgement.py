"""`lstm_bench.study.judgement`: of each judgement a case that is found, one that is sound, and one that cannot be judged."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from lstm_bench.data import task as tasks
from lstm_bench.study import judgement
from lstm_bench.study.judgement import Confirmed, Judged

FACTS = {"n_train": 50_000, "n_validation": 1000, "n_test": 1000, "trivial": {"label": 0, "test_accuracy": 0.5}}
PAIRS = {(0, 0): 400, (0, 1): 100, (1, 1): 500}


def of(*scores: float, column: str = "test_accuracy", more: Any = None, **fields: Any) -> Confirmed:
    """A confirmation with these test scores; `more` goes to its facts, None takes one away."""
    facts = {key: value for key, value in {**FACTS, **(more or {})}.items() if value is not None}
    other = "val_mse" if column == "test_mse" else "val_accuracy"
    seeds = [{"seed": seed, column: score, other: score, "epochs": 5} for seed, score in enumerate(scores)]
    task = tasks.REGRESSION if column == "test_mse" else tasks.CLASSIFICATION
    return Confirmed(**{"task": task, "seeds": seeds, "facts": facts, "pairs": PAIRS, "batch_size": 100, **fields})


def curves(*histories: list[float], column: str = "val_accuracy", **fields: Any) -> Confirmed:
    seeds = [
        {"seed": at, "history": [{"epoch": n, column: v} for n, v in enumerate(c, 1)]} for at, c in enumerate(histories)
    ]
    return Confirmed(**{"task": tasks.CLASSIFICATION, "seeds": seeds, "facts": FACTS, "curve": column, **fields})


SPLIT = "by seeds and test set"
UNKNOWN = "is not recorded"
CLASS = "always predicting the most frequent class of the training set"
MEAN = "always predicting the mean of the training targets"


@pytest.mark.parametrize(
    ("confirmed", "judged"),
    [
        (of(0.9, 0.91, 0.92), Judged()),
        (of(0.6), Judged()),  # one seed: by the test set alone
        (
            of(0.97, 0.97, 0.97, more={"n_test": 400, "trivial": {"test_accuracy": 0.97}}),
            Judged(f"No better than {CLASS}: test accuracy 97.00 % (94.83 to 98.28 {SPLIT}) where that has 97.00 %."),
        ),
        (
            of(0.4, 0.4, more={"trivial": {"test_accuracy": 0.5}}),
            Judged(f"Worse than {CLASS}: test accuracy 40.00 % (37.01 to 43.07 {SPLIT}) where that has 50.00 %."),
        ),
        (  # a mean above the trivial one, with seeds that scatter
            of(0.2, 0.9, 0.9, more={"n_test": 10_000}),
            Judged(f"No better than {CLASS}: test accuracy 66.67 % (0.00 to 100.00 {SPLIT}) where that has 50.00 %."),
        ),
        (of(0.51, more={"n_test": None}), Judged(None, f"whether it beats {CLASS} (the size of the test set is not recorded)")),
        # An older record: no constant beats the most frequent class of the test set, here 50 %.
        (of(0.9, 0.91, more={"trivial": None}), Judged()),
        (of(0.5, 0.5, more={"trivial": None}), Judged(None, f"whether it beats {CLASS} (its accuracy is not recorded)")),
        (of(0.9, more={"trivial": None}, pairs={}), Judged(None, f"whether it beats {CLASS} (its accuracy is not recorded)")),
    ],
)  # fmt: skip
def test_a_classifier_beats_the_most_frequent_class_or_that_is_said(confirmed: Confirmed, judged: Judged) -> None:
    assert judgement.trivial(confirmed) == judged


@pytest.mark.parametrize(
    ("confirmed", "judged"),
    [
        (of(1.0, 1.0001, column="test_mse", more={"trivial": {"test_mse": 2.0}}), Judged()),
        (
            of(6.89e10, 6.89e10, column="test_mse", more={"trivial": {"test_mse": 6.44e9}}),
            Judged(f"Worse than {MEAN}: test MSE 6.89e+10 (6.29e+10 to 7.49e+10) where that has 6.44e+09."),
        ),
        (
            of(1e44, column="test_mse", more={"trivial": {"test_mse": 1e44}}),
            Judged(f"No better than {MEAN}: test MSE 1e+44 (9.12e+43 to 1.09e+44) where that has 1e+44."),
        ),
        (of(0.1, 0.1, column="test_mse", more={"trivial": None, "baselines": {"always 1": 1 / 6}}), Judged()),
        (of(0.1, column="test_mse", more={"trivial": None}), Judged(None, f"whether it beats {MEAN} (its error {UNKNOWN})")),
    ],
)  # fmt: skip
def test_a_regression_beats_the_training_mean_or_that_is_said(confirmed: Confirmed, judged: Judged) -> None:
    assert judgement.trivial(confirmed) == judged


def test_an_older_record_names_the_predictor_that_it_knows() -> None:
    older = of(0.2, column="test_mse", more={"trivial": None, "baselines": {"always predicting 1": 1 / 6}})
    assert judgement.trivial(older).found == (
        "Worse than always predicting 1: test MSE 0.2 (0.182 to 0.218) where that has 0.167."
    )


def test_a_tagging_beats_its_most_frequent_tag_and_a_predictor_without_memory() -> None:
    facts = {"n_test": 2000, "trivial": {"test_accuracy": 0.86}, "baselines": {"remembering nothing": 0.3}}

    def tagged(accuracy: float, loss: float) -> Confirmed:
        return Confirmed(
            tasks.TAGGING, [{"seed": s, "test_accuracy": accuracy, "test_loss": loss} for s in (0, 1)], facts
        )

    assert judgement.trivial(tagged(0.95, 0.1)) == judgement.remembered(tagged(0.95, 0.1)) == Judged()
    assert str(judgement.trivial(tagged(0.86, 0.3)).found).startswith(
        "No better than always predicting the most frequent tag of the training set: test accuracy 86.00 %"
    )
    assert judgement.remembered(tagged(0.87, 0.301)) == Judged(
        "No better than remembering nothing: test loss 0.301 where that has 0.3."
    )
    assert (
        judgement.single_class(tagged(0.9, 0.1)).open
        == "whether a single class is predicted (no predictions are recorded)"
    )


def test_a_single_class() -> None:
    assert judgement.single_class(of(0.9)) == Judged()
    assert judgement.single_class(of(0.9, pairs={(0, 3): 988, (1, 3): 12})) == Judged(
        "A single class is predicted: 3 for each of the 1,000 test samples (first seed)."
    )
    named = of(0.9, pairs={(0, 1): 988, (1, 1): 12})
    named = dataclasses.replace(named, facts={**named.facts, "classes": ["run", "walk"]})
    assert "predicted: walk for each" in str(judgement.single_class(named).found)
    assert (
        judgement.single_class(of(1.0, pairs={(0, 0): 9})).open
        == "whether a single class is predicted (the test set holds but one)"
    )
    assert judgement.single_class(of(1.0, column="test_mse", pairs={})) == Judged()


def far(
    val: list[float],
    test: list[float],
    n_val: int,
    n_test: int,
    *,
    measure: str = "accuracy",
    on_test: bool = False,
    groups: tuple[int, int] | None = None,
) -> Judged:
    seeds = [{f"val_{measure}": v, f"test_{measure}": t} for v, t in zip(val, test, strict=True)]
    facts: dict[str, Any] = {"n_validation": n_val, "n_test": n_test}
    if groups:
        facts["groups"] = dict(zip(("train", "validation", "test"), (500, *groups), strict=True))
    return judgement.validation_far(
        Confirmed(tasks.REGRESSION if measure == "mse" else tasks.CLASSIFICATION, seeds, facts, on_test=on_test)
    )


def test_validation_far_from_test() -> None:
    leak = "validation shares with training what the test set does not (a leak), or the test data are of another kind"
    assert far([0.77, 0.77], [0.51, 0.51], 100, 220) == Judged(
        f"Validation is far from test: val accuracy 77.00 %, test accuracy 51.00 %, beyond what both sets' sizes explain: {leak}."
    )
    assert str(far([0.5], [0.8], 1000, 1000).found).endswith(": the test data are easier, or of another kind.")
    assert far([0.77, 0.77], [0.70, 0.70], 100, 220) == Judged()  # so few samples leave that open
    # Ten thousand samples of few groups, which are easy or hard together, leave more open than ten thousand of their own.
    assert far([0.77, 0.77], [0.72, 0.72], 4056, 10_419).found is not None
    assert far([0.77, 0.77], [0.72, 0.72], 4056, 10_419, groups=(62, 133)) == Judged()
    assert "beyond what both sets' numbers of groups explain" in str(
        far([0.97], [0.4], 4056, 10_419, groups=(62, 133)).found
    )
    assert far([0.77, 0.77], [0.72, 0.72], 4056, 10_419, groups=(9000, 12_000)).found is not None
    assert far([0.9, 0.2], [0.2, 0.3], 1000, 1000) == Judged()  # the seeds do not agree on it
    assert far([1.0], [0.2], 3, 3) == Judged()
    assert str(far([1.0], [4.0], 500, 500, measure="mse").found).startswith(
        f"Validation is far from test: val MSE 1, test MSE 4, beyond what both sets' sizes explain: {leak}"
    )
    assert far([1.0], [1.3], 500, 500, measure="mse") == Judged()
    assert (
        far([0.9], [0.1], 500, 500, on_test=True).open == "whether validation agrees with test (both are the test set)"
    )


@pytest.mark.parametrize(
    ("curve", "rising"),
    [
        ([0.6, 0.75, 0.83], True),
        ([0.6, 0.9, 0.901], False),  # 1 % at least
        ([0.5, 0.6, 0.7, 0.8, 0.9, 0.95], True),
        ([0.5, 0.8, 0.95, 0.95, 0.95, 0.95], False),
        ([0.5, 0.95, 0.9, 0.96, 0.9, 0.95], False),  # the best lies before
        ([0.80, 0.70, 0.80, 0.70, 0.78, 0.82], False),  # up and down by ten points, a rise of five
        ([0.9, 0.8, 0.7], False),
        ([0.1, 0.1, 0.1, 0.1], False),
    ],
)
def test_a_curve_that_rises_when_it_ends(curve: list[float], rising: bool) -> None:
    assert judgement.rises(curve, 10_000) is rising
    assert judgement.rises([1 - value for value in curve], falls=True, unit=0.5) is rising


def test_a_small_validation_set_and_a_good_regression_leave_a_little_rise_open() -> None:
    assert judgement.rises([0.6, 0.75, 0.81], 10_000) and not judgement.rises([0.6, 0.75, 0.81], 100)
    assert judgement.rises([0.2, 0.1, 0.05], falls=True, unit=1.0)
    assert not judgement.rises([2e-3, 1e-3, 5e-4], falls=True, unit=1.0)  # of no weight beside the trivial error


def test_still_rising_in_k_of_n_seeds() -> None:
    up, flat = [0.5, 0.6, 0.7, 0.8], [0.8, 0.8, 0.8, 0.8]
    assert judgement.still_rising(curves(up, flat, up)) == Judged(
        "Still rising at the last epoch in 2 of 3 seeds: more epochs may do better."
    )
    assert judgement.still_rising(curves(flat, flat, up, flat)) == Judged()  # one of four is chance, perhaps
    assert judgement.still_rising(curves([4.0, 2.0, 1.0], column="val_loss")).found == (
        "Still falling at the last epoch in 1 of 1 seed: more epochs may do better."
    )
    assert judgement.still_rising(curves([0.5, 0.6])) == Judged(
        None, "whether it was still rising at the last epoch (too few epochs)"
    )
    assert judgement.still_rising(curves(up, up, epochs=5, patient=True)) == Judged(), "patience has ended them"
    assert judgement.still_rising(curves(up, up, epochs=4, patient=True)).found
    assert judgement.still_rising(curves(up, up, patient=True)).found, "how many were asked for is not known"
    assert (
        judgement.still_rising(curves([])).open
        == "whether it was still rising at the last epoch (no learning curve is recorded)"
    )


def test_seeds_that_disagree() -> None:
    assert judgement.disagreement(of(0.9, 0.92, 0.91)) == Judged()
    assert judgement.disagreement(of(0.90, 0.93, 0.88, more={"n_test": 20})) == Judged()  # so few samples explain it
    assert judgement.disagreement(of(0.5, 0.95, 0.96)) == Judged(
        "The seeds disagree: test accuracy 80.33 % with standard deviation 26.27 % (the test set alone leaves 1.26 %), "
        f"from 50.00 to 96.00 %; seed 0 is no better than {CLASS}."
    )
    # A large seed count hides one that has learnt nothing from the deviation alone, not from this.
    assert "; seed 5 is no better" in str(judgement.disagreement(of(*[0.61] * 5, 0.5)).found)
    assert judgement.disagreement(of(0.7, 0.9, more={"trivial": None})).found is not None  # by the deviation
    assert judgement.disagreement(of(0.9)).open == "whether seeds agree (fewer than two have a score)"
    errors = {"column": "test_mse", "more": {"trivial": {"test_mse": 1.0}}}
    assert judgement.disagreement(of(0.01, 0.03, **errors)) == Judged()
    assert str(judgement.disagreement(of(0.01, 0.98, **errors)).found).endswith(f"; seed 1 is no better than {MEAN}.")
    assert judgement.disagreement(of(0.1, 0.2, column="test_mse", more={"trivial": None})).open == (
        f"whether seeds agree (the error of {MEAN} is not recorded)"
    )


def test_few_steps() -> None:
    assert judgement.few_steps(of(0.9)) == Judged()  # 2,500
    assert judgement.few_steps(of(0.9, more={"n_train": 2050})) == Judged(
        "100 optimiser steps: this measures who learns fast."
    )
    assert (
        judgement.few_steps(of(0.9, more={"n_train": 20})).found == "5 optimiser steps: this measures who learns fast."
    )
    assert str(judgement.few_steps(of(0.9, batch_size=None)).open).startswith("the number of optimiser steps")


def test_without_a_finished_seed_there_is_no_result_to_judge() -> None:
    assert judgement.judge(of(epochs=5)) == [Judged(None, "the result (no seed has confirmed it)"), Judged()]


def guessed(task: tasks.Task, y_train: list[Any], y_test: list[Any]) -> dict[str, float]:
    return task.trivial(*(np.array(y, np.int32 if task.labels.classes else np.float32) for y in (y_train, y_test)))


def test_what_guessing_scores_is_taken_from_the_training_set() -> None:
    assert guessed(tasks.CLASSIFICATION, [2, 2, 1], [1, 1, 1, 2]) == {"label": 2, "test_accuracy": 0.25}
    assert guessed(tasks.TAGGING, [[0, 0, 1]], [[0, 1, 1], [0, 0, 1]]) == {"label": 0, "test_accuracy": 0.5}
    assert guessed(tasks.REGRESSION, [1, 3], [2, 5]) == {"test_mse": 4.5}
    assert guessed(tasks.REGRESSION, [1e22, 3e22], [2e22, 5e22])["test_mse"] == pytest.approx(4.5e44, rel=1e-6)
