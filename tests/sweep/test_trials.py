"""`lstm_bench.study`: budget, queue, resume and guard, by ask and tell with a formula for an objective."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import fake
import optuna
import pytest

from lstm_bench.core import busy
from lstm_bench.core.configuration import replaced
from lstm_bench.core.errors import ConfigError, InterruptedByUser, StorageError
from lstm_bench.study import candidates
from lstm_bench.sweep.store.database import check_file
from lstm_bench.sweep.store.trials import TrialStore

NAN = {"state": "FAIL", "reason": "nan"}
DIED = {"state": "FAIL", "reason": "worker_died"}
INTERRUPTED = {"state": "FAIL", "reason": "interrupted"}


@contextlib.contextmanager
def opened(folder: Path, values=None, sha256: str = fake.SHA256):
    study = fake.study(folder, fake.config(values), sha256)
    try:
        yield study
    finally:
        study.close()


def score(study: TrialStore, asked) -> dict:
    task = {"kind": "trial", "kernel": "generic", "seed": asked.seed, "config": replaced(study.config, asked.params)}
    return fake.complete(task)


def go_on(study: TrialStore, n: int = 1000, results=()) -> list:
    """Asks and tells at most `n` times; `results` by suggestion replace the formula's. Returns what was asked."""
    done = []
    while len(done) < n and (asked := study.ask()):
        done.append(asked)
        suggestion = sum(t.user_attrs.get("retry_of") is None for t in study.trials()) - 1
        study.tell(asked.number, dict(results).get(suggestion) or score(study, asked))
    return done


class Died(Exception):
    """In a driver's place."""


def _die():
    raise Died


def suggested(study: TrialStore) -> list[dict]:
    return [t.params for t in study.trials() if t.user_attrs.get("retry_of") is None]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# The budget.


def test_the_budget_counts_complete_pruned_and_failed_by_its_own_fault(tmp_path):
    with opened(tmp_path) as study:
        results = {1: {"state": "PRUNED"}, 2: NAN, 3: {"state": "FAIL", "reason": "oom"}}
        assert len(go_on(study, results=results)) == 6
        assert study.counts() == {"complete": 3, "pruned": 1, "failed": 2, "running": 0, "queued": 0, "left": 0}
        assert study.ask() is None


@pytest.mark.parametrize("reason", ["nan", "oom", "exception", "timeout"])
def test_a_fault_of_the_trial_itself_is_not_run_again(tmp_path, reason):
    with opened(tmp_path) as study:
        go_on(study, 1, {0: {"state": "FAIL", "reason": reason}})
        assert study.counts()["failed"] == 1
        assert study.ask().retry_of is None


def test_running_trials_are_within_the_budget(tmp_path):
    with opened(tmp_path, {"study.n_trials": 2}) as study:
        assert [study.ask().number, study.ask().number] == [0, 1]
        assert study.ask() is None
        assert study.counts()["running"] == 2


def test_a_dead_worker_s_trial_is_queued_again_with_the_same_parameters_and_seed(tmp_path):
    with opened(tmp_path) as study:
        first = study.ask()
        study.tell(first.number, DIED)
        assert study.counts()["queued"] == 1
        again = study.ask()
        assert (again.number, again.retry_of) == (1, 0)
        assert (again.params, again.seed) == (first.params, first.seed)
        assert study.counts() == {"complete": 0, "pruned": 0, "failed": 0, "running": 1, "queued": 0, "left": 5}


@pytest.mark.parametrize("reason", ["worker_died", "oom_shared"])
def test_a_trial_whose_worker_died_once_too_often_counts_as_failed(tmp_path, reason):
    with opened(tmp_path, {"study.max_retry": 2}) as study:
        chain = []
        for _ in range(3):
            asked = study.ask()
            chain.append((asked.number, asked.retry_of))
            study.tell(asked.number, {"state": "FAIL", "reason": reason})
        assert chain == [(0, None), (1, 0), (2, 1)]
        assert study.counts() == {"complete": 0, "pruned": 0, "failed": 1, "running": 0, "queued": 0, "left": 5}
        assert study.ask().retry_of is None


def test_without_retries_the_first_death_counts(tmp_path):
    with opened(tmp_path, {"study.max_retry": 0}) as study:
        go_on(study, 1, {0: DIED})
        assert study.counts()["failed"] == 1


def test_interrupts_are_queued_without_limit_and_are_no_deaths(tmp_path):
    with opened(tmp_path, {"study.max_retry": 1}) as study:
        for _ in range(5):
            study.tell(study.ask().number, INTERRUPTED)
        study.tell(study.ask().number, DIED)
        again = study.ask()
        assert (again.number, again.retry_of) == (6, 5)
        study.tell(again.number, DIED)
        assert study.counts()["failed"] == 1
        assert study.counts()["left"] == 5


def test_what_is_queued_comes_before_anything_new(tmp_path):
    with opened(tmp_path) as study:
        first, second = study.ask(), study.ask()
        study.tell(first.number, INTERRUPTED)
        study.tell(second.number, INTERRUPTED)
        assert [study.ask().retry_of, study.ask().retry_of, study.ask().retry_of] == [0, 1, None]


# Resume.


def test_what_a_dead_driver_left_running_is_queued_again(tmp_path):
    with opened(tmp_path) as study:
        go_on(study, 2)
        left = study.ask()
    with opened(tmp_path) as study:
        assert study.repair() == 1
        assert study.repair() == 0
        assert study.row(2)["reason"] == "driver_died"
        again = study.ask()
        assert (again.retry_of, again.params, again.seed) == (2, left.params, left.seed)


def test_a_result_that_a_held_database_cannot_be_told_is_kept_through_an_interrupt(tmp_path, monkeypatch):
    monkeypatch.setattr(busy, "interrupted", lambda: True)
    with opened(tmp_path) as study, contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as other:
        asked, running = study.ask(), study.ask()
        other.execute("BEGIN IMMEDIATE")
        for tell in (
            lambda: study.tell(asked.number, score(study, asked)),
            lambda: study.tell(running.number, INTERRUPTED),
            lambda: study.put("replicate/0", {"state": "COMPLETE"}),
        ):
            with pytest.raises(InterruptedByUser, match="interrupted while another program held"):
                tell()
    monkeypatch.setattr(busy, "interrupted", bool)
    with opened(tmp_path) as study:
        assert study.recover() == 2
        assert study.repair() == 1
        assert study.best().values == [score(study, asked)["val_accuracy"]]
        assert study.get("replicate/0") == {"state": "COMPLETE"}
        assert study.ask().retry_of == running.number
        assert study.recover() == 0
    assert not (tmp_path / "study.db.kept").exists()


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
@pytest.mark.parametrize("n_params", [0, 1, 2])
def test_a_trial_whose_driver_died_while_it_asked_for_it_is_asked_for_anew(tmp_path, monkeypatch, sampler, n_params):
    values = {"sampler.name": sampler, "study.space": fake.GRID if sampler == "grid" else fake.SPACE}
    with opened(tmp_path / "undisturbed", values) as study:
        go_on(study)
        wanted = [(trial.params, trial.user_attrs["seed"]) for trial in study.trials()]
    with opened(tmp_path / "disturbed", values) as study:
        go_on(study, 2)
        # As Optuna's own storage writes it, in a transaction for each parameter: drivers of before did, and shared ones do.
        backend = study._storage.backend
        trial_id = backend.create_new_trial(study._id)
        for path, distribution in list(study._distributions.items())[:n_params]:
            backend.set_trial_param(trial_id, path, distribution.to_internal_repr(wanted[2][0][path]), distribution)
    with opened(tmp_path / "disturbed", values) as study:
        assert len(study.trials()[2].params) == n_params
        assert study.repair() == 1
        assert study.counts()["left"] == 4 and not study.counts()["queued"]
        assert len(go_on(study)) == 4
        assert (study.row(2)["state"], study.row(2)["reason"]) == ("FAIL", "driver_died")
        assert study.counts() == {"complete": 6, "pruned": 0, "failed": 0, "running": 0, "queued": 0, "left": 0}
        found = [(trial.params, trial.user_attrs["seed"]) for trial in study.trials() if trial.number != 2]
        assert found == wanted and not any("retry_of" in trial.user_attrs for trial in study.trials())


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_a_driver_that_dies_while_it_asks_leaves_nothing_of_the_trial(tmp_path, monkeypatch, sampler):
    values = {"sampler.name": sampler, "study.space": fake.GRID if sampler == "grid" else fake.SPACE}
    with opened(tmp_path / "undisturbed", values) as study:
        go_on(study)
        wanted = [trial.params for trial in study.trials()]
    with opened(tmp_path / "disturbed", values) as study:
        go_on(study, 2)
        monkeypatch.setattr(study._storage, "commit", _die)
        with pytest.raises(Died):
            study.ask()
    with opened(tmp_path / "disturbed", values) as study:
        assert study.repair() == 0 and len(study.trials()) == 2
        go_on(study)
        assert [trial.params for trial in study.trials()] == wanted


def test_a_study_whose_file_could_not_be_made_is_made_by_the_same_command(tmp_path, no_room):
    with no_room(20_000), pytest.raises(StorageError, match=r"study\.db: ") as caught, opened(tmp_path):
        pass
    assert caught.value.exit_code == 4
    assert not (tmp_path / "study.db").exists()
    with opened(tmp_path) as study:
        assert len(go_on(study)) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.db"]


def test_resume_runs_only_the_missing_trials(tmp_path):
    with opened(tmp_path) as study:
        go_on(study, 4, {1: {"state": "PRUNED"}, 2: NAN})
    with opened(tmp_path) as study:
        assert not study.is_new
        assert [asked.number for asked in go_on(study)] == [4, 5]
    with opened(tmp_path, {"study.n_trials": 8}) as study:
        assert [asked.number for asked in go_on(study)] == [6, 7]


def test_driver_deaths_without_number_end_at_the_exact_total(tmp_path):
    for _ in range(20):
        with opened(tmp_path) as study:
            study.repair()
            go_on(study, 1)
            if study.ask() is None:
                break
            points = {tuple(params.values()) for params in suggested(study)}
    with opened(tmp_path) as study:
        assert study.counts() == {"complete": 6, "pruned": 0, "failed": 0, "running": 0, "queued": 0, "left": 0}
        assert {tuple(params.values()) for params in suggested(study)} == points
        assert len(points) == 6


def test_the_third_run_writes_nothing(tmp_path):
    with opened(tmp_path) as study:
        go_on(study, 3)
    with opened(tmp_path) as study:
        go_on(study)
    before = sha256(tmp_path / "study.db")
    with opened(tmp_path) as study:
        assert study.repair() == 0
        assert study.ask() is None
        study.best()
        study.rows()
    assert sha256(tmp_path / "study.db") == before
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "grid", "cmaes"])
def test_an_interrupted_study_is_suggested_what_an_uninterrupted_one_is(tmp_path, sampler):
    startup = {"tpe": 3, "cmaes": 2}.get(sampler, 0)
    space = fake.GRID if sampler == "grid" else fake.SPACE
    values = {"sampler.name": sampler, "sampler.n_startup_trials": startup, "study.space": space, "study.n_trials": 11}
    results = {4: NAN, 6: {**NAN, "reason": "exception"}}
    with opened(tmp_path / "whole", values) as study:
        go_on(study, results=results)
        expected = suggested(study)
    assert len({tuple(params.values()) for params in expected}) == 11
    for at in (0, 5, 9):
        folder = tmp_path / f"interrupted-{at}"
        with opened(folder, values) as study:
            go_on(study, at, results)
            study.ask()  # the driver dies with this one running
        with opened(folder, values) as study:
            study.repair()
            again = study.ask()
            study.tell(again.number, INTERRUPTED)
            again = study.ask()
            study.tell(again.number, DIED)
        with opened(folder, values) as study:
            go_on(study, results=results)
            assert suggested(study) == expected, at
            assert len(study.trials()) == 14


def test_a_sampler_s_seed_is_the_study_s(tmp_path):
    found = []
    for seed in (0, 1, 0):
        with opened(tmp_path / str(len(found)), {"study.seed": seed, "study.n_trials": 2}) as study:
            go_on(study)
            found.append(suggested(study))
    assert found[0] == found[2] != found[1]


def test_workers_that_start_together_never_get_the_same_point(tmp_path):
    for sampler in ("tpe", "random", "qmc", "cmaes"):
        with opened(tmp_path / sampler, {"sampler.name": sampler, "sampler.n_startup_trials": 4}) as study:
            points = [tuple(study.ask().params.values()) for _ in range(4)]
            assert len(set(points)) == 4, sampler


def test_a_first_trial_that_fails_is_not_suggested_for_ever(tmp_path):
    with opened(tmp_path, {"sampler.name": "qmc"}) as study:
        go_on(study, 3, {0: NAN, 1: NAN, 2: NAN})
        assert len({tuple(params.values()) for params in suggested(study)}) == 3


def test_a_whole_grid_is_visited_once_each(tmp_path):
    values = {"sampler.name": "grid", "study.space": fake.GRID, "study.n_trials": 16}
    with opened(tmp_path, values) as study:
        go_on(study, results={3: NAN})
        points = {(p["model.units"], p["train.batch_size"]) for p in suggested(study)}
        assert points == {(u, b) for u in (10, 20, 30, 40) for b in (16, 32, 64, 128)}


FINITE = {
    "model.units": {"type": "int", "low": 10, "high": 13},
    "train.decay": {"type": "float", "low": 0.1, "high": 0.3, "step": 0.1},
    "train.global_clipnorm": {"type": "categorical", "choices": [None, 1.0]},
    "train.optimizer": {"type": "categorical", "choices": ["adam"]},
}


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cmaes"])
def test_a_finite_space_is_visited_once_each_interrupted_or_not(tmp_path, sampler):
    values = {"sampler.name": sampler, "sampler.n_startup_trials": 3, "study.space": FINITE, "study.n_trials": 24}
    results = {2: {"state": "PRUNED"}, 4: NAN}
    with opened(tmp_path / "whole", values) as study:
        go_on(study, results=results)
        expected = suggested(study)
    points = {tuple(params[path] for path in FINITE) for params in expected}
    assert len(expected) == len(points) == 24
    assert {point[2] for point in points} == {None, 1.0}
    with opened(tmp_path / "interrupted", values) as study:
        go_on(study, 15, results)
        study.ask()  # the driver dies with this one running
    with opened(tmp_path / "interrupted", values) as study:
        study.repair()
        study.tell(study.ask().number, INTERRUPTED)
        go_on(study, results=results)
        assert suggested(study) == expected


def test_those_asked_for_together_share_no_point_of_a_finite_space(tmp_path):
    space = {"train.batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]}}
    with opened(tmp_path, {"study.space": space, "study.n_trials": 4, "sampler.name": "tpe"}) as study:
        assert {study.ask().params["train.batch_size"] for _ in range(4)} == {16, 32, 64, 128}
        assert not study.repeats()


def test_more_trials_than_points_are_refused(tmp_path):
    space = {"train.batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]}}
    said = "study.n_trials: expected at most 4, the points of the space, received 5. Each is trained once"
    with pytest.raises(ConfigError, match=said), opened(tmp_path / "new", {"study.space": space, "study.n_trials": 5}):
        pass
    with opened(tmp_path / "old", {"study.space": space, "study.n_trials": 3}) as study:
        go_on(study)
    with pytest.raises(ConfigError, match=said), opened(tmp_path / "old", {"study.space": space, "study.n_trials": 5}):
        pass
    with opened(tmp_path / "old", {"study.space": space, "study.n_trials": 4}) as study:
        go_on(study)
        assert {params["train.batch_size"] for params in suggested(study)} == {16, 32, 64, 128}


def test_a_study_made_when_points_were_repeated_goes_on_to_its_total(tmp_path, monkeypatch):
    space = {"train.batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]}}
    values = {"study.space": space, "study.n_trials": 7, "sampler.name": "tpe", "sampler.n_startup_trials": 1}
    with monkeypatch.context() as older:
        older.setattr("lstm_bench.study.search_space.require_points", lambda *_: None)
        older.setattr("lstm_bench.sweep.samplers.unrepeated", lambda make, *_: make(0))
        with opened(tmp_path, values) as study:
            go_on(study, 2)
    with opened(tmp_path, values) as study:
        assert study.repeats()
        go_on(study, 3)
        assert len({params["train.batch_size"] for params in suggested(study)}) == 4
        go_on(study)
        assert study.counts()["complete"] == 7
    with opened(tmp_path, {**values, "study.n_trials": 9}) as study:
        go_on(study)
        assert study.counts()["complete"] == 9


# Sums over the trials, each finished one added once.


def recounted(study: TrialStore) -> tuple[dict, int | None]:
    """`counts` and the number of the best trial, from all trials anew and by nothing but what the words mean."""
    trials = study.trials()
    attrs = [trial.user_attrs for trial in trials]

    def deaths(number: int | None) -> int:
        if number is None:
            return 0
        return (attrs[number].get("reason") in ("worker_died", "oom_shared")) + deaths(attrs[number].get("retry_of"))

    limit = study.config["study"]["max_retry"]
    fails = [t.number for t in trials if t.state.name == "FAIL"]
    again = [n for n in fails if attrs[n]["reason"] in ("driver_died", "interrupted")]
    again += [n for n in fails if attrs[n]["reason"] in ("worker_died", "oom_shared") and deaths(n) <= limit]
    again = {*again} | {
        attr["retry_of"] for attr in attrs if attr.get("retry_of") is not None
    }  # a retry counts in its place
    done = {state: sum(t.state.name == state for t in trials) for state in ("COMPLETE", "PRUNED", "RUNNING")}
    queued = len(again - {attr.get("retry_of") for attr in attrs})
    failed = len(fails) - len(again)
    left = study.config["study"]["n_trials"] - done["COMPLETE"] - done["PRUNED"] - failed - done["RUNNING"] - queued
    counts = {"complete": done["COMPLETE"], "pruned": done["PRUNED"], "failed": failed}
    counts |= {"running": done["RUNNING"], "queued": queued, "left": max(0, left)}
    good = [t for t in trials if t.state.name == "COMPLETE"]
    top = max((t.value for t in good), default=None)
    return counts, next((t.number for t in good if t.value == top), None)


def test_sums_are_what_all_trials_together_say_whichever_driver_reads_them(tmp_path):
    rng = random.Random(3)
    values = {"study.n_trials": 14, "study.max_retry": 1}
    ends = [{"state": "PRUNED"}, NAN, DIED, INTERRUPTED, {"state": "FAIL", "reason": "oom_shared"}, None, None]
    with opened(tmp_path, values) as study, opened(tmp_path, values) as other:
        running = []
        for step in range(70):
            if len(running) < 4 and (asked := study.ask()):
                running.append(asked)
            if running:
                asked = running.pop(rng.randrange(len(running)))  # trials end in any order
                better = {**score(study, asked), "val_accuracy": rng.choice([0.5, 0.6, 0.7])}
                study.tell(asked.number, rng.choice(ends) or better)
            for reader in (study, other) if step % 4 == 0 else (study,):
                best = reader.best()
                assert (reader.counts(), best and best.number) == recounted(reader), step
        assert study.ask() is None
        assert recounted(study)[0]["left"] == 0
        with opened(tmp_path, values) as resumed:
            assert resumed.counts() == study.counts()
            assert resumed.best().number == study.best().number


def test_a_finished_trial_is_looked_at_once(tmp_path, monkeypatch):
    with opened(tmp_path, {"study.n_trials": 9}) as study:
        go_on(study, 8, {2: NAN, 3: {"state": "PRUNED"}, 5: DIED})
        study.counts()
        looks = []
        attrs = optuna.trial.FrozenTrial.user_attrs
        watched = property(lambda trial: looks.append(trial.number) or attrs.fget(trial), attrs.fset)
        monkeypatch.setattr(optuna.trial.FrozenTrial, "user_attrs", watched)
        running = study.ask().number
        assert (study.counts()["running"], study.best() is None) == (1, False)
        assert set(looks) == {running}


def test_opening_a_study_reads_none_of_its_trials(tmp_path, monkeypatch):
    with opened(tmp_path) as study:
        go_on(study, 3)
    read = []
    build = optuna.storages.RDBStorage._build_frozen_trial_from_trial_model
    monkeypatch.setattr(
        optuna.storages.RDBStorage,
        "_build_frozen_trial_from_trial_model",
        lambda storage, model: read.append(model.number) or build(storage, model),
    )
    with opened(tmp_path) as study:
        assert read == []
        assert study.counts()["complete"] == 3
        assert study.best() is not None
        assert read == [0, 1, 2]


# The best, and the pruner.


def test_best_maximizes_and_minimizes_and_takes_the_first_of_equals(tmp_path):
    for direction, expected in (("maximize", 1), ("minimize", 0)):
        values = {"study.direction": direction, "study.n_trials": 4, "study.name": direction}
        with opened(tmp_path / direction, values) as study:
            assert study.best() is None
            for value in (0.2, 0.7, 0.7, None):
                asked = study.ask()
                study.tell(asked.number, {**score(study, asked), "val_accuracy": value} if value else NAN)
            assert study.best().number == expected


def test_the_objective_may_be_the_loss(tmp_path):
    values = {"study.objective": "val_loss", "study.direction": "minimize", "study.n_trials": 2}
    with opened(tmp_path, values) as study:
        asked = study.ask()
        study.tell(asked.number, {**score(study, asked), "val_loss": 0.25})
        assert study.best().value == 0.25


def test_the_median_pruner_stops_a_trial_below_the_median_after_its_warm_up(tmp_path):
    values = {"pruner.name": "median", "pruner.n_startup_trials": 3, "pruner.n_warmup_epochs": 1}
    with opened(tmp_path, values) as study:
        for value in (0.5, 0.6, 0.7):
            asked = study.ask()
            assert not any(study.report(asked.number, epoch, value) for epoch in (1, 2, 3))
            study.tell(asked.number, score(study, asked))
        bad = study.ask()
        assert [study.report(bad.number, epoch, 0.1) for epoch in (1, 2)] == [False, True]
        good = study.ask()
        assert [study.report(good.number, epoch, 0.65) for epoch in (1, 2)] == [False, False]


def test_a_row_holds_the_result_the_reason_and_the_searched_values(tmp_path):
    with opened(tmp_path) as study:
        asked = study.ask()
        study.tell(asked.number, {**fake.failed("nan", "loss nan in epoch 1"), "history": [{"epoch": 1}]})
        row = study.row(0)
        assert (row["number"], row["state"], row["reason"], row["retry_of"]) == (0, "FAIL", "nan", None)
        assert (row["detail"], row["history"], row["total_s"]) == ("loss nan in epoch 1", [{"epoch": 1}], 2.5)
        assert row["config_model.units"] == asked.params["model.units"]
        assert row["seed"] == asked.seed
        assert row["ended_ms"] >= row["started_ms"] > 1_600_000_000_000


def test_facts_about_the_study_are_kept(tmp_path):
    with opened(tmp_path) as study:
        study.set("probe/x", [{"kernel": "generic"}])
        study.set("replicate/d/0", {"seed": 0})
        identity = study.get("id")
    with opened(tmp_path) as study:
        assert study.get("probe/x") == [{"kernel": "generic"}]
        assert study.facts("replicate/d/") == {"0": {"seed": 0}}
        assert study.get("nothing") is None
        assert study.get("id") == identity
        assert identity.startswith("fake-")


# The guard.


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"study.direction": "minimize"}, "study.direction was maximize, is minimize"),
        ({"study.objective": "val_loss"}, "study.objective was val_accuracy, is val_loss"),
        ({"train.epochs": 4}, "train.epochs was 3, is 4"),
        ({"train.optimizer": "sgd"}, "train.optimizer was adam, is sgd"),
        ({"model.units": 65}, "model.units was 64, is 65"),
        ({"sampler.name": "tpe"}, "sampler.name was random, is tpe"),
        ({"study.seed": 1}, "study.seed was 0, is 1"),
        ({"backend.name": "jax"}, "backend.name was tensorflow, is jax"),
        ({"kernel.name": "xla"}, "kernel.name was generic, is xla"),
        ({"study.n_trials": 5}, "study.n_trials was 6, is 5 (only upward)"),
        (
            {"study.space": {**fake.SPACE, "model.units": {"type": "int", "low": 8, "high": 65, "log": True}}},
            "study.space.model.units.high was 64, is 65",
        ),
        (
            {"study.space": {"model.units": fake.SPACE["model.units"]}},
            "study.space.train.learning_rate.high was 0.1, is null",
        ),
    ],
)
def test_a_resume_with_another_value_is_refused_naming_it(tmp_path, values, said):
    with opened(tmp_path) as study:
        go_on(study, 1)
    before = sha256(tmp_path / "study.db")
    with pytest.raises(ConfigError) as caught:
        fake.study(tmp_path, fake.config(values))
    text = str(caught.value)
    assert text.startswith("study fake was created with another configuration: ")
    assert said in text
    assert text.endswith("Give the old values, or a new study with study.name=NAME.")
    assert sha256(tmp_path / "study.db") == before


def test_a_resume_on_other_data_is_refused(tmp_path):
    with opened(tmp_path):
        pass
    with pytest.raises(ConfigError, match="another configuration: the data has another SHA-256"):
        fake.study(tmp_path, fake.config(), "cd" * 32)


def test_many_differences_are_cut_to_six(tmp_path):
    with opened(tmp_path):
        pass
    changed = {f"train.{key}": 7 for key in ("epochs", "batch_size", "evaluation_batch_size", "learning_rate")}
    changed |= {"train.decay": 0.5, "train.momentum": 0.5, "model.units": 7, "study.seed": 7}
    with pytest.raises(ConfigError, match="and 2 more"):
        fake.study(tmp_path, fake.config(changed))


def test_how_much_how_long_and_where_may_change(tmp_path):
    with opened(tmp_path) as study:
        go_on(study, 1)
    changes = {
        "study.n_trials": 7,
        "study.confirm": 3,
        "study.replicates": 3,
        "study.max_failed": 9,
        "study.max_retry": 9,
        "study.timeout": 60.0,
        "study.trial_timeout": 60.0,
        "study.description": "other words",
        "launcher.workers": 7,
        "launcher.recycle_after": 3,
        "tracking.name": "mlflow",
        "tracking.uri": "http://127.0.0.1:5000",
        "kernel.probe": False,
        "dataset.dir": "elsewhere",
    }
    with opened(tmp_path, changes) as study:
        assert study.counts()["left"] == 6
    with pytest.raises(ConfigError, match=r"study\.n_trials was 7, is 6 \(only upward\)"):
        fake.study(tmp_path, fake.config())


def test_a_raised_limit_gives_a_dead_worker_s_trial_another_try(tmp_path):
    with opened(tmp_path, {"study.max_retry": 0}) as study:
        go_on(study, 1, {0: DIED})
        assert study.counts()["queued"] == 0
    with opened(tmp_path, {"study.max_retry": 1}) as study:
        assert study.ask().retry_of == 0


@pytest.mark.parametrize("read", ["after each end", "at once", "when a retry runs"])
def test_a_lowered_limit_counts_no_failure_beside_its_retry(tmp_path, read):
    with opened(tmp_path, {"study.max_retry": 3}) as study, opened(tmp_path, {"study.max_retry": 0}) as lowered:
        for n, result in enumerate((DIED, INTERRUPTED, DIED, None)):
            asked = study.ask()
            assert (asked.number, asked.retry_of) == (n, n - 1 if n else None)
            if read == "when a retry runs":
                lowered._storage.__dict__.pop("_trials", None)
                assert lowered.counts() == recounted(lowered)[0]
            study.tell(asked.number, result or score(study, asked))
            if read == "after each end":
                lowered._storage.__dict__.pop("_trials", None)
                assert lowered.counts() == recounted(lowered)[0]
        lowered._storage.__dict__.pop("_trials", None)
        ended = {"complete": 1, "pruned": 0, "failed": 0, "running": 0, "queued": 0, "left": 5}
        assert lowered.counts() == study.counts() == ended
        assert candidates.ends(lowered.rows(), 0) == {"complete": 1, "pruned": 0, "failed": 0, "requeued": 3}
    with opened(tmp_path, {"study.max_retry": 0}) as study:
        assert len(go_on(study)) == 5
        assert study.counts()["complete"] == 6


def test_no_password_is_stored(tmp_path):
    uri = "postgresql://me:S3CRET@db/mlflow?password=S3CRET2"
    with opened(tmp_path, {"tracking.name": "mlflow", "tracking.uri": uri}) as study:
        assert "postgresql://me:***@db/mlflow" in study.get("config")
    assert b"S3CRET" not in (tmp_path / "study.db").read_bytes()


# Files that are no study.


def damaged(kind: str, path: Path) -> None:
    if kind == "empty":
        path.write_bytes(b"")
        return
    if kind == "foreign":
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE cats (name)")
        return
    if kind == "text":
        path.write_text("number,state\n" * 300)
        return
    with opened(path.parent) as study:
        go_on(study, 2)
    body = path.read_bytes()
    path.write_bytes(body[: len(body) // 2] if kind == "cut" else body[:4096] + os.urandom(8192) + body[12288:])


@pytest.mark.parametrize("kind", ["empty", "foreign", "text", "cut", "overwritten"])
def test_a_file_that_is_no_sound_study_is_refused_and_left_alone(tmp_path, kind):
    path = tmp_path / "study.db"
    damaged(kind, path)
    before = sha256(path)
    with pytest.raises(StorageError) as caught:
        fake.study(tmp_path, fake.config())
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(f"move it away to start afresh: mv {path} {path}.bad")
    assert caught.value.exit_code == 4
    assert sha256(path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.db"]


@pytest.mark.parametrize(
    ("revision", "remedy"), [("v2.6.0.a", "optuna storage upgrade"), ("v9.0.0", "pip install -U optuna")]
)
def test_a_database_of_another_optuna_is_one_line_and_left_alone(tmp_path, revision, remedy):
    with opened(tmp_path) as study:
        go_on(study, 2)
    path = tmp_path / "study.db"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    before = sha256(path)
    with pytest.raises(StorageError, match=re.escape(remedy)) as caught:
        fake.study(tmp_path, fake.config())
    assert str(caught.value).startswith(f"{path}: a database of another version of Optuna. The runtime optuna version ")
    assert "\n" not in str(caught.value)
    assert sha256(path) == before


def test_an_optuna_study_of_someone_else_is_refused(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    optuna.create_study(storage=storage, study_name="fake", direction="maximize").add_trial(
        optuna.trial.create_trial(value=1.0)
    )
    storage.remove_session()
    storage.engine.dispose()
    with pytest.raises(StorageError, match="a study of that name was not made by lstm_bench"):
        fake.study(tmp_path, fake.config())


def test_a_study_whose_driver_died_while_it_made_it_is_made_again(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    optuna.create_study(storage=storage, study_name="fake", direction="maximize")
    storage.remove_session()
    storage.engine.dispose()
    with opened(tmp_path) as study:
        assert study.is_new
        assert len(go_on(study)) == 6


def test_a_driver_killed_in_mid_transaction_leaves_a_study_that_goes_on(tmp_path):
    with opened(tmp_path) as study:
        go_on(study, 3)
    code = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1])\n"
        "database.execute('PRAGMA cache_size=1')\n"
        "database.execute('BEGIN')\n"
        "for i in range(3000):\n"
        "    database.execute('INSERT INTO study_user_attributes VALUES (?, 1, ?, ?)', (1000 + i, str(i), 'x' * 500))\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "study.db")], check=False)
    assert (tmp_path / "study.db-journal").stat().st_size > 0
    with opened(tmp_path) as study:
        assert [asked.number for asked in go_on(study)] == [3, 4, 5]
        assert study.facts("1") == {}


def test_any_folder_s_name_will_do(tmp_path):
    folder = tmp_path / "50%25 of {it}, a#b? é"
    with opened(folder) as study:
        go_on(study, 1)
    with opened(folder) as study:
        assert study.counts()["complete"] == 1
    assert [path.name for path in folder.iterdir()] == ["study.db"]


def test_a_missing_file_is_fine(tmp_path):
    check_file(tmp_path / "study.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["postgresql+psycopg2", "postgresql+nodriver"])
def test_a_server_that_cannot_be_reached_is_one_line_without_the_password(tmp_path, scheme):
    with pytest.raises(StorageError) as caught:
        fake.study(tmp_path, fake.config({"storage.url": f"{scheme}://me:S3CRET@127.0.0.1:1/x"}))
    assert str(caught.value).startswith(f"{scheme}://me:***@127.0.0.1:1/x: ")
    assert "S3CRET" not in str(caught.value)


# Several objectives.

SEVERAL = {
    "study.objectives": {"val_accuracy": "maximize", "n_weights": "minimize"},
    "pruner.name": "dominated",
    "pruner.n_startup_trials": 2,
    "pruner.n_warmup_epochs": 0,
    "study.n_trials": 12,
}


def told(study, accuracy, weights, history=()):
    """A trial that ended so; `history` holds its accuracies by epoch."""
    asked = study.ask()
    epochs = [{"epoch": i, "val_accuracy": value, "n_weights": weights} for i, value in enumerate(history, 1)]
    result = {"state": "COMPLETE", "val_accuracy": accuracy, "n_weights": weights, "history": epochs}
    study.tell(asked.number, result)
    return asked.number


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_a_study_of_several_objectives_resumes_to_the_same_suggestions(tmp_path, sampler):
    values = {**SEVERAL, "sampler.name": sampler, "sampler.n_startup_trials": 3}
    with opened(tmp_path / "whole", values) as study:
        go_on(study)
        wanted = suggested(study)
        assert study.counts()["complete"] == 12
    broken = {1: INTERRUPTED}
    for n in (2, 3, 4, 1000):
        with opened(tmp_path / "parts", values) as study:
            study.repair()
            go_on(study, n, broken)
            broken = {}
            if n == 3:
                study.ask()  # and the driver dies
    with opened(tmp_path / "parts", values) as study:
        assert suggested(study) == wanted
        assert study.counts() == {"complete": 12, "pruned": 0, "failed": 0, "running": 0, "queued": 0, "left": 0}


def test_the_front_holds_what_no_trial_dominates_whichever_driver_reads_it(tmp_path):
    with opened(tmp_path, SEVERAL) as study:
        for accuracy, weights in [(0.8, 100), (0.9, 300), (0.7, 200), (0.9, 200), (0.95, 900), (0.8, 100)]:
            told(study, accuracy, weights)
        assert [trial.number for trial in study.front()] == [0, 3, 4, 5]
        assert study.best().number == 4
        assert [trial.number for trial in study.top(2)] == [4, 3]
    with opened(tmp_path, SEVERAL) as study:
        assert [trial.number for trial in study.front()] == [0, 3, 4, 5]
        assert study.best().number == 4


def test_a_trial_is_stopped_where_a_finished_one_dominates_it_at_the_same_epoch(tmp_path):
    with opened(tmp_path, SEVERAL) as study:
        first = {"epoch": 1, "val_accuracy": 0.0, "n_weights": 999}
        told(study, 0.9, 200, [0.5, 0.9])
        assert not study.dominated(first)  # one finished trial: still starting up
        told(study, 0.8, 100, [0.6, 0.8])
        assert study.dominated(first)
        assert not study.dominated({**first, "val_accuracy": 0.7})  # better than all
        assert not study.dominated({**first, "n_weights": 50})  # smaller than all
        assert not study.dominated({**first, "val_accuracy": 0.6, "n_weights": 100})  # equal to one
        assert study.dominated({**first, "val_accuracy": 0.55, "n_weights": 150})  # 0.6 with 100, after one epoch
        assert not study.dominated({"epoch": 2, "val_accuracy": 0.85, "n_weights": 150})  # between the two, after two
        assert study.dominated({"epoch": 1, "val_accuracy": 0.55})  # as far as it is known
        assert not study.dominated({"epoch": 3, "val_accuracy": 0.0, "n_weights": 999})  # where nothing has come yet
    for change in ({"pruner.name": "none"}, {"pruner.n_warmup_epochs": 1}, {"pruner.n_startup_trials": 3}):
        values = {**SEVERAL, **change}
        with opened(tmp_path / str(change), values) as study:
            told(study, 0.9, 200, [0.5, 0.9])
            told(study, 0.8, 100, [0.6, 0.8])
            assert not study.dominated(first)


def test_pruned_and_failed_trials_dominate_nothing(tmp_path):
    with opened(tmp_path, {**SEVERAL, "pruner.n_startup_trials": 0}) as study:
        good = {"val_accuracy": 0.99, "n_weights": 1, "history": [{"epoch": 1, "val_accuracy": 0.99, "n_weights": 1}]}
        for end in ({"state": "PRUNED"}, NAN):
            study.tell(study.ask().number, {**good, **end})
        assert not study.dominated({"epoch": 1, "val_accuracy": 0.1, "n_weights": 9})
        assert study.front() == [] and study.best() is None


def test_the_order_of_objectives_may_not_change(tmp_path):
    with opened(tmp_path, SEVERAL):
        pass
    turned = {**SEVERAL, "study.objectives": dict(reversed(SEVERAL["study.objectives"].items()))}
    with pytest.raises(ConfigError, match=r"study\.objectives were in the order val_accuracy n_weights"):
        fake.study(tmp_path, fake.config(turned))
    with pytest.raises(ConfigError, match=r"study\.objectives"):
        fake.study(tmp_path, fake.config())
