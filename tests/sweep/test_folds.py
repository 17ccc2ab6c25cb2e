"""`dataset.folds`: a training is one per fold, what is finished stays, and the test set is read by one on all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fake
import pytest

from lstm_bench.core.errors import ConfigError, InterruptedByUser
from lstm_bench.sweep import folds, validate

FOLDS = {"dataset.folds": 3, "study.n_trials": 2, "train.patience": 2, "kernel.probe": False}


def fold_of(task: Mapping[str, Any]) -> Any:
    return task["config"]["dataset"]["fold"]


def train(task: Mapping[str, Any]) -> Iterator[Any]:
    """Fold k is k / 10 worse, and at its best after k + 1 epochs; all together after two."""
    fold = fold_of(task)
    worse = 0 if fold == "all" else fold / 10
    for epoch in range(1, 4):
        score = fake.accuracy(task["config"], epoch) - worse
        yield fake.metrics(task["config"], epoch) | {"val_accuracy": score, "val_loss": abs(epoch - 2) + worse}
    best = {"best_epoch": 2 if fold == "all" else fold + 1}
    result = fake.complete(task, **best, weights_sha256=f"{fold}")
    yield {**result, "val_accuracy": result["val_accuracy"] - worse}


def asked(launcher: fake.FakeLauncher) -> list[tuple[str, Any]]:
    return [(task["kind"], fold_of(task)) for task in launcher.submitted]


def test_a_trial_is_worth_the_mean_of_its_folds(tmp_path: Path) -> None:
    with fake.opened(tmp_path, fake.config(FOLDS), train, workers=2) as sweep:
        sweep.driver.search()
        rows = sweep.study.rows()
        assert sorted(asked(sweep.launcher)) == sorted([("trial", fold) for fold in range(3)] * 2)
        assert sweep.launcher.most == 2, "folds run side by side"
        for row, notes in zip(rows, sweep.notes.trials, strict=True):
            alone = fake.accuracy({"model": {"units": row["config_model.units"]}, "train": _train(row)}, 3)
            assert row["val_accuracy"] == pytest.approx(alone - 0.1) == notes["val_accuracy"]
            assert (row["folds"], row["fold_deviation"]) == (3, pytest.approx(0.1))
            assert (
                row["total_s"] == 3 * fake.complete(sweep.launcher.submitted[0])["total_s"] and row["best_epoch"] == 2
            )
            assert [epoch["epoch"] for epoch in row["history"]] == [1, 2, 3]
            assert row["history"][2]["val_accuracy"] == pytest.approx(alone - 0.1)
        sweep.records.rewrite()
        head = (tmp_path / "trials.csv").read_text().splitlines()[0]
        assert "folds,fold_deviation,config_" in head


def _train(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"learning_rate": row["config_train.learning_rate"]}


def test_a_worker_that_dies_loses_no_fold_that_is_finished(tmp_path: Path) -> None:
    deaths = iter([True])

    def dying(task: Mapping[str, Any]) -> Iterator[Any]:
        if fold_of(task) == 1 and next(deaths, False):
            return iter([fake.Died()])
        return train(task)

    config = fake.config({**FOLDS, "study.n_trials": 1})
    with fake.opened(tmp_path, config, dying) as sweep:
        sweep.driver.search()
        first, again = sweep.study.rows()
        assert (first["reason"], again["state"], again["retry_of"]) == ("worker_died", "COMPLETE", 0)
        assert asked(sweep.launcher) == [("trial", fold) for fold in (0, 1, 1, 2)]
        died = again["val_accuracy"]
    with fake.opened(tmp_path / "whole", config, train) as sweep:
        sweep.driver.search()
        assert sweep.study.rows()[0]["val_accuracy"] == died


def test_a_driver_goes_on_in_the_middle_of_a_trial(tmp_path: Path) -> None:
    def interrupting(task: Mapping[str, Any]) -> Iterator[Any]:
        if fold_of(task) == 2:
            sweep.loop._signals = 2
            return iter([fake.HANG])
        return train(task)

    config = fake.config({**FOLDS, "study.n_trials": 1})
    with fake.opened(tmp_path, config, interrupting) as sweep, pytest.raises(InterruptedByUser):
        sweep.driver.search()
    with fake.opened(tmp_path, config, train) as sweep:
        sweep.driver.search()
        assert asked(sweep.launcher) == [("trial", 2)]
        assert sweep.study.rows()[-1]["folds"] == 3 and sweep.study.counts()["complete"] == 1


def test_a_seed_is_scored_by_its_folds_and_reads_the_test_set_trained_on_all(tmp_path: Path) -> None:
    with fake.opened(tmp_path, fake.config({**FOLDS, "study.replicates": 2}), train) as sweep:
        sweep.driver.search()
        done = len(sweep.launcher.submitted)
        sweep.confirmation.run(sweep.confirmation.candidates())
        asked_for = sweep.launcher.submitted[done:]
        kinds = [(task["kind"], fold_of(task)) for task in asked_for]
        assert kinds == [*(("trial", fold) for fold in range(3)), ("replicate", "all")] * 2
        whole = [task["config"] for task in asked_for if task["kind"] == "replicate"]
        last = {(one["train"]["last_epoch"], one["train"]["patience"]) for one in whole}
        assert last == {(3, 3)}, "as long as the fold that was at its best last: no patience ends it before"
        assert all((one["study"]["objective"], one["study"]["direction"]) == ("val_loss", "minimize") for one in whole)
        assert [task.get("keep") is not None for task in asked_for if task["seed"] == 0] == [False, False, False, True]
        best = sweep.study.best()
        assert best is not None
        for seed, row in enumerate(sweep.notes.replicates):
            assert row["val_accuracy"] == pytest.approx(best.value), "as the trial: the formula knows no seed"
            assert row["test_accuracy"] == 0.9 + seed / 100 and row["weights_sha256"] == "all"
            assert row["best_epoch"] == 2 and row["folds"] == 3 and len(row["history"]) == 3


def test_a_fold_that_fails_ends_its_training_and_the_search_goes_on(tmp_path: Path) -> None:
    def diverging(task: Mapping[str, Any]) -> Iterator[Any]:
        return iter([fake.failed("nan")]) if fold_of(task) == 0 and len(sweep.launcher.submitted) == 1 else train(task)

    with fake.opened(tmp_path, fake.config(FOLDS), diverging) as sweep:
        sweep.driver.search()
        assert [row["reason"] for row in sweep.study.rows()] == ["nan", None]
        assert len(sweep.launcher.submitted) == 4, "its other folds are not begun"


def test_means_are_of_scores_and_sums_of_seconds() -> None:
    each = [
        {
            "val_loss": 1.0,
            "total_s": 2.0,
            "epochs": 4,
            "n_weights": 10,
            "kernel": "xla",
            "history": [{"epoch": 1, "val_loss": 4.0}],
        },
        {"val_loss": 2.0, "total_s": 3.0, "epochs": 6, "n_weights": 10, "kernel": "xla", "history": []},
    ]
    found = folds.joined(each, "val_loss")
    assert {name: found[name] for name in ("val_loss", "total_s", "epochs", "n_weights", "kernel", "folds")} == {
        **{"val_loss": 1.5, "total_s": 5.0, "epochs": 6, "n_weights": 10, "kernel": "xla", "folds": 2}
    }
    assert found["history"] == [{"epoch": 1, "val_loss": 4.0}], "of the folds that had so many epochs"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"pruner.name": "median"},
            "dataset.folds=3: pruner=median: epochs of one fold say too little. Give pruner=none.",
        ),
        ({"launcher.pack": 4}, "members of a pack share their data. Give launcher.pack=1."),
        ({"train.schedule": "reduce_on_plateau"}, "the training on all folds has no validation data"),
    ],
)
def test_what_needs_one_course_of_one_training_is_refused(values: Mapping[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate._check_folds(fake.config({**FOLDS, **values}))
    assert line in str(caught.value) and "\n" not in str(caught.value)
