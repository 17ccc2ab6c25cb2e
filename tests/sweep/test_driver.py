"""`lstm_bench.sweep.driver` on a launcher that trains a formula: search, failures, interrupts, confirmation, records."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import fake
import pytest

from lstm_bench.core import fileio
from lstm_bench.core.errors import ConfigError, DataError, InterruptedByUser, KernelError, TooManyFailedError
from lstm_bench.launcher import event_loop
from lstm_bench.report.sources import records as result
from lstm_bench.study import columns
from lstm_bench.study.candidates import Candidate, digest, standing

FILES = ("trials.csv", "replicates.csv", "history.csv")


def nth(*special):
    """A script whose n-th task does the n-th thing, the others train; None trains as well."""
    things = list(special)

    def script(task):
        thing = things.pop(0) if things else None
        if thing is None:
            yield from fake.train(task)
        else:
            yield fake.metrics(task["config"], 1)
            yield thing

    return script


def states(bench) -> list[tuple]:
    return [(row["number"], row["state"], row["reason"], row["retry_of"]) for row in bench.study.rows()]


def records(folder) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in FILES if (folder / name).exists()}


# Search.


def test_a_search_runs_every_trial_and_tells_what_came_of_it(tmp_path):
    config = fake.config()
    with fake.opened(tmp_path, config) as bench:
        bench.driver.search()
        assert [row["state"] for row in bench.study.rows()] == ["COMPLETE"] * 6
        first = bench.launcher.submitted[0]
        assert (first["kind"], first["kernel"]) == ("trial", "generic")
        row = bench.study.row(0)
        assert row["val_accuracy"] == fake.accuracy(first["config"], 3)
        assert row["seed"] == first["seed"]
        assert first["config"]["model"]["units"] == row["config_model.units"]
        assert [epoch["epoch"] for epoch in row["history"]] == [1, 2, 3]


def test_parallel_workers_do_not_overshoot_the_budget(tmp_path):
    with fake.opened(tmp_path, fake.config({"study.n_trials": 7}), workers=4) as bench:
        bench.driver.search()
        assert len(bench.launcher.submitted) == 7
        assert bench.launcher.most == 4


def test_a_search_goes_on_where_it_was_left(tmp_path):
    with fake.opened(tmp_path, fake.config({"study.n_trials": 4})) as bench:
        bench.driver.search()
    with fake.opened(tmp_path, fake.config({"study.n_trials": 6})) as bench:
        bench.driver.search()
        assert len(bench.launcher.submitted) == 2
    with fake.opened(tmp_path, fake.config({"study.n_trials": 6})) as bench:
        bench.driver.search()
        assert bench.launcher.submitted == []


def test_the_pruner_stops_a_trial_whose_row_holds_the_last_reported_epoch(tmp_path):
    def script(task):
        bad = len(bench.launcher.submitted) == 4
        for epoch in (1, 2, 3, 4):
            score = {"val_accuracy": 0.1 * epoch} if bad else {}
            yield {**fake.metrics(task["config"], epoch), **score}
        yield fake.complete(task)

    values = {"pruner.name": "median", "pruner.n_startup_trials": 3, "pruner.n_warmup_epochs": 1, "train.epochs": 4}
    config = fake.config(
        {**values, "study.n_trials": 4, "study.space": {"train.decay": {"type": "float", "low": 0, "high": 1}}}
    )
    with fake.opened(tmp_path, config, script) as bench:
        bench.driver.search()
        assert bench.launcher.stopped == ["trial 3/1"]
        row = bench.study.row(3)
        assert (row["state"], row["reason"], row["epochs"], row["val_accuracy"]) == ("PRUNED", None, 2, 0.2)
        assert bench.study.counts()["pruned"] == 1
        assert "3,PRUNED,," in (tmp_path / "trials.csv").read_text()


@pytest.mark.parametrize(("patience", "state"), [(None, "COMPLETE"), (2, "PRUNED")])
def test_with_patience_the_pruner_compares_the_best_so_far(tmp_path, patience, state):
    falling, low = (
        (0.7, 0.1, 0.1),
        (0.6, 0.6, 0.6),
    )  # of its own Optuna takes the best, of the others what they had then
    script = nth_script(scores(falling, falling, falling), scores(falling, low, falling))
    values = {**RATES, **PRUNED, "pruner.n_warmup_epochs": 1, "train.patience": patience}
    with fake.opened(tmp_path, fake.config(values), script) as bench:
        bench.driver.search()
        assert bench.study.row(4)["state"] == state


def test_a_trial_that_its_own_patience_has_ended_is_not_pruned(tmp_path):
    def script(task):
        bad = len(bench.launcher.submitted) == 4
        score = {"val_accuracy": 0.1, "ended": True} if bad else {}
        yield {**fake.metrics(task["config"], 1), **score}
        yield fake.complete(task)

    values = {**PRUNED, "train.patience": 1, "study.n_trials": 4, "pruner.n_startup_trials": 1}
    with fake.opened(tmp_path, fake.config(values), script) as bench:
        bench.driver.search()
        assert bench.launcher.stopped == [] and bench.study.row(3)["state"] == "COMPLETE"


def test_a_pruned_trial_keeps_nothing_of_an_end_that_it_came_to_in_the_meantime(tmp_path):
    good, later = (0.5, 0.6, 0.7), {"val_auroc": 0.9, "best_epoch": 3}

    def late(task):
        *epochs, result = scores(good, (0.5, 0.1, 0.9), good)(task)
        yield from epochs
        yield {**result, "members": [{**member, **later} for member in result["members"]]}

    with fake.opened(tmp_path, fake.config({**RATES, **PRUNED}), nth_script(scores(good, good, good), late)) as bench:
        bench.driver.search()
        rows = [bench.study.row(number) for number in (3, 4, 5)]
        assert [(row["state"], row.get("val_auroc"), row.get("best_epoch")) for row in rows] == [
            ("COMPLETE", 0.9, 3), ("PRUNED", None, None), ("COMPLETE", 0.9, 3)
        ]  # fmt: skip
        assert rows[1]["val_accuracy"] == 0.1


def test_a_key_that_is_off_names_no_other_configuration(tmp_path):
    config = fake.config()
    without = {**config, "train": {name: value for name, value in config["train"].items() if name != "patience"}}
    assert config["train"]["patience"] is None and digest(config) == digest(without)
    assert digest({**config, "train": {**config["train"], "patience": 3}}) != digest(config)
    fake.study(tmp_path, without).close()
    fake.study(tmp_path, config).close()
    with pytest.raises(ConfigError, match=r"train\.patience was null, is 3"):
        fake.study(tmp_path, {**config, "train": {**config["train"], "patience": 3}})


def test_the_last_epoch_prunes_nothing(tmp_path):
    values = {"pruner.name": "median", "pruner.n_startup_trials": 0, "pruner.n_warmup_epochs": 0, "train.epochs": 1}
    with fake.opened(tmp_path, fake.config(values)) as bench:
        bench.driver.search()
        assert bench.launcher.stopped == []
        assert bench.study.counts()["complete"] == 6


def test_a_trial_that_fails_has_its_reason_and_the_sweep_goes_on(tmp_path, capsys, monkeypatch):
    # An hour passes in the trial that hangs, and in no other, however busy the machine is.
    clock, real = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + clock[0])
    script = nth(
        fake.failed("nan", "loss nan in epoch 2"),
        fake.failed("exception", "ValueError: x"),
        fake.failed("oom"),
        lambda: clock.__setitem__(0, 3600.0),
    )

    def timed(task):
        clock[0] = 0.0
        yield from script(task)

    with fake.opened(tmp_path, fake.config({"study.trial_timeout": 600.0}), timed) as bench:
        bench.driver.search()
        assert states(bench) == [
            (0, "FAIL", "nan", None),
            (1, "FAIL", "exception", None),
            (2, "FAIL", "oom", None),
            (3, "FAIL", "timeout", None),
            (4, "COMPLETE", None, None),
            (5, "COMPLETE", None, None),
        ]
    out = capsys.readouterr().out
    assert "trial 0      FAIL (nan)" in out
    assert "\n             loss nan in epoch 2\n" in out
    text = (tmp_path / "trials.csv").read_text().splitlines()
    assert text[1].startswith("0,FAIL,nan,,")


def test_memory_that_ran_out_beside_a_neighbour_is_tried_again(tmp_path):
    with fake.opened(tmp_path, fake.config(), nth(fake.failed("oom", device_share="shared"))) as bench:
        bench.driver.search()
        assert states(bench)[:2] == [(0, "FAIL", "oom_shared", None), (1, "COMPLETE", None, 0)]
        assert bench.study.counts()["complete"] == 6
        assert bench.study.row(1)["config_model.units"] == bench.study.row(0)["config_model.units"]


def test_more_failures_than_allowed_end_the_sweep(tmp_path):
    config = fake.config({"study.max_failed": 2})
    with fake.opened(tmp_path, config, nth(*[fake.failed("nan")] * 9)) as bench:
        with pytest.raises(TooManyFailedError) as caught:
            bench.driver.search()
        assert len(bench.launcher.submitted) == 3
    assert str(caught.value) == (
        "3 trials failed by their own fault, study.max_failed is 2. The reasons are in"
        f" {tmp_path}/trials.csv; a larger study.max_failed goes on."
    )
    assert caught.value.exit_code == 5
    assert len((tmp_path / "trials.csv").read_text().splitlines()) == 4
    with fake.opened(tmp_path, fake.config({"study.max_failed": 3})) as bench:
        bench.driver.search()
        assert bench.study.counts()["complete"] == 3


def test_too_many_failures_at_the_very_end_are_said_too(tmp_path):
    things = [None] * 5 + [fake.failed("nan")]
    with (
        fake.opened(tmp_path, fake.config({"study.max_failed": 0}), nth(*things)) as bench,
        pytest.raises(TooManyFailedError),
    ):
        bench.driver.search()


def test_a_dead_worker_s_trial_runs_again_up_to_max_retry(tmp_path):
    config = fake.config({"study.max_retry": 1, "study.n_trials": 2})
    with fake.opened(tmp_path, config, nth(fake.Died(), None, fake.Died(), fake.Died(-11))) as bench:
        bench.driver.search()
        assert states(bench) == [
            (0, "FAIL", "worker_died", None),
            (1, "COMPLETE", None, 0),
            (2, "FAIL", "worker_died", None),
            (3, "FAIL", "worker_died", 2),
        ]
        assert bench.study.counts()["failed"] == 1
        configs = [task["config"]["model"]["units"] for task in bench.launcher.submitted]
        assert configs[0] == configs[1] and configs[2] == configs[3]
        seeds = [task["seed"] for task in bench.launcher.submitted]
        assert seeds[0] == seeds[1] != seeds[2]
        assert bench.study.row(3)["detail"] == "exit -11"


def test_no_trial_starts_after_study_timeout(tmp_path, capsys, monkeypatch):
    clock, real = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + clock[0])
    steps = []

    def script(task):
        yield fake.metrics(task["config"], 1)
        steps.append(task)
        if len(steps) == 2:
            yield lambda: clock.__setitem__(0, 3600.0)
        yield fake.complete(task)

    with fake.opened(tmp_path, fake.config({"study.timeout": 600.0}), script) as bench:
        bench.driver.search()
        assert bench.study.counts()["complete"] == 2
        assert bench.study.counts()["left"] == 4
    assert capsys.readouterr().out.count("study.timeout: no new trial after 600 s") == 1


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [("ConfigError", ConfigError, 2), ("KernelError", KernelError, 2), ("DataError", DataError, 3)],
)
def test_a_fault_stops_the_sweep_and_its_trial_is_queued_again(tmp_path, name, kind, code):
    with fake.opened(tmp_path, fake.config(), nth(None, fake.fault(name, "what the worker said"))) as bench:
        with pytest.raises(kind) as caught:
            bench.driver.search()
        assert (str(caught.value), caught.value.exit_code) == ("what the worker said", code)
        assert len(bench.launcher.submitted) == 2
    with fake.opened(tmp_path, fake.config()) as bench:
        assert bench.study.counts()["queued"] == 1
        bench.driver.search()
        assert bench.study.counts()["complete"] == 6


# Interrupts.


def test_an_interrupted_trial_that_finishes_in_time_is_kept(tmp_path):
    def script(task):
        yield fake.metrics(task["config"], 1)
        if len(bench.launcher.submitted) == 2:
            yield lambda: os.kill(os.getpid(), signal.SIGINT)
        yield fake.complete(task)

    with fake.opened(tmp_path, fake.config(), script) as bench:
        with pytest.raises(InterruptedByUser) as caught:
            bench.driver.search()
        assert caught.value.exit_code == 130
        assert states(bench) == [(0, "COMPLETE", None, None), (1, "COMPLETE", None, None)]
        assert len((tmp_path / "trials.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_trial_that_does_not_is_queued_again_never_pruned(tmp_path, monkeypatch, times):
    monkeypatch.setattr(event_loop, "GRACE_S", 0.2 if times == 1 else 60)

    def script(task):
        yield fake.metrics(task["config"], 1)
        if len(bench.launcher.submitted) == 3:
            for _ in range(times):
                yield lambda: os.kill(os.getpid(), signal.SIGINT)
            yield fake.HANG
        yield fake.complete(task)

    with fake.opened(tmp_path, fake.config(), script) as bench:
        since = time.monotonic()
        with pytest.raises(InterruptedByUser):
            bench.driver.search()
        assert time.monotonic() - since < 5
        assert states(bench)[2:] == [(2, "FAIL", "interrupted", None)]
        assert bench.study.counts() == {"complete": 2, "pruned": 0, "failed": 0, "running": 0, "queued": 1, "left": 3}
        wanted = bench.study.row(2)["config_model.units"]
    with fake.opened(tmp_path, fake.config()) as bench:
        bench.driver.search()
        assert states(bench)[3] == (3, "COMPLETE", None, 2)
        assert bench.study.row(3)["config_model.units"] == wanted
        assert bench.study.counts()["complete"] == 6


# Confirmation.

CONFIRMED = {"study.replicates": 3, "study.n_trials": 2}
ONE = Candidate(None, {}, "d")


def test_the_winner_is_trained_once_with_every_seed(tmp_path):
    with fake.opened(tmp_path, fake.config(CONFIRMED)) as bench:
        bench.driver.search()
        (winner,) = bench.confirmation.candidates()
        assert winner == (bench.study.best().number, bench.study.best().params, winner.digest)
        digest = winner.digest
        assert bench.confirmation.missing_replicates(digest) == [0, 1, 2]
        bench.confirmation.run([winner])
        tasks = bench.launcher.submitted[2:]
        assert [(task["kind"], task["seed"]) for task in tasks] == [
            ("replicate", 0),
            ("replicate", 1),
            ("replicate", 2),
        ]
        assert {task["config"]["model"]["units"] for task in tasks} == {winner.params["model.units"]}
        assert [task.get("keep") for task in tasks] == [str(tmp_path / "candidates" / digest / "model"), None, None]
        assert [row["test_accuracy"] for row in bench.confirmation.replicates(digest)] == [0.9, 0.91, 0.92]
        assert bench.confirmation.missing_replicates(digest) == []
        bench.confirmation.run([winner])
        assert len(bench.launcher.submitted) == 5


def test_an_mlflow_model_is_saved_only_where_mlflow_will_take_it(tmp_path):
    for tracking, wanted in (("mlflow", True), ("none", False)):
        config = fake.config({**CONFIRMED, "study.replicates": 1, "tracking.name": tracking})
        with fake.opened(tmp_path / tracking, config) as bench:
            bench.confirmation.run([ONE])
            assert bench.launcher.submitted[0].get("for_mlflow", False) is wanted


def test_only_missing_seeds_are_trained_on_resume(tmp_path):
    with fake.opened(tmp_path, fake.config(CONFIRMED)) as bench:
        bench.driver.search()
        digest = bench.confirmation.pick().digest
        bench.confirmation.run(bench.confirmation.candidates())
    with fake.opened(tmp_path, fake.config({**CONFIRMED, "study.replicates": 5})) as bench:
        assert bench.confirmation.pick().digest == digest
        assert bench.confirmation.missing_replicates(digest) == [3, 4]
        bench.confirmation.run(bench.confirmation.candidates())
        assert [task["seed"] for task in bench.launcher.submitted] == [3, 4]


def test_an_empty_space_has_its_one_configuration_for_a_winner(tmp_path):
    with fake.opened(tmp_path, fake.config({**CONFIRMED, "study.space": {}, "study.n_trials": 0})) as bench:
        bench.driver.search()
        assert bench.confirmation.pick() == (None, {}, bench.confirmation.digest({}))
        bench.confirmation.run(bench.confirmation.candidates())
        assert len(bench.confirmation.replicates(bench.confirmation.digest({}))) == 3


def test_without_a_complete_trial_there_is_no_winner(tmp_path):
    with fake.opened(tmp_path, fake.config(CONFIRMED), nth(fake.failed("nan"), fake.failed("nan"))) as bench:
        bench.driver.search()
        assert bench.confirmation.candidates() == []
        assert bench.confirmation.pick() is None
        bench.records.rewrite()


@pytest.mark.parametrize(
    ("things", "ends"),
    [
        ((fake.Died(), None), [(0, "COMPLETE", None), (1, "COMPLETE", None)]),
        ((fake.Died(), None, fake.Died()), [(0, "FAIL", "worker_died"), (1, "COMPLETE", None)]),
    ],
)
def test_a_seed_whose_worker_died_runs_again_up_to_max_retry(tmp_path, things, ends):
    with fake.opened(tmp_path, fake.config({"study.replicates": 2, "study.max_retry": 1}), nth(*things)) as bench:
        bench.confirmation.run([ONE])
        assert [task["seed"] for task in bench.launcher.submitted] == [0, 1, 0]
        assert [(row["seed"], row["state"], row.get("reason")) for row in bench.confirmation.replicates("d")] == ends


def test_replicates_of_another_winner_are_not_reused(tmp_path):
    with fake.opened(tmp_path, fake.config(CONFIRMED)) as bench:
        one = bench.confirmation.digest({"model.units": 10})
        other = bench.confirmation.digest({"model.units": 11})
        assert one != other
        bench.confirmation.run([Candidate(0, {"model.units": 10}, one)])
        assert bench.confirmation.missing_replicates(one) == []
        assert bench.confirmation.missing_replicates(other) == [0, 1, 2]
        assert bench.confirmation.replicates(other) == []


def test_weights_are_part_of_what_is_confirmed(tmp_path):
    digests = set()
    for weights in (None, 25000, 100000):
        config = fake.config({**CONFIRMED, "model.weights": weights, "study.name": f"w{weights}"})
        with fake.opened(tmp_path / f"{weights}", config) as bench:
            digests.add(bench.confirmation.digest({}))
    assert len(digests) == 3
    with pytest.raises(ConfigError, match=r"model\.weights was 100000, is 25000"):
        fake.study(tmp_path / "100000", {**config, "model": {**config["model"], "weights": 25000}})


def test_a_seed_that_fails_is_a_row_with_its_reason(tmp_path):
    with fake.opened(tmp_path, fake.config({"study.replicates": 2}), nth(None, fake.failed("nan"))) as bench:
        bench.confirmation.run([ONE])
        assert [(row["seed"], row["state"], row.get("reason")) for row in bench.confirmation.replicates("d")] == [
            (0, "COMPLETE", None),
            (1, "FAIL", "nan"),
        ]
        assert bench.confirmation.missing_replicates("d") == []


def test_interrupted_seeds_are_trained_on_resume(tmp_path, monkeypatch):
    monkeypatch.setattr(event_loop, "GRACE_S", 0.1)

    def script(task):
        yield fake.metrics(task["config"], 1)
        if task["seed"] == 1:
            yield lambda: os.kill(os.getpid(), signal.SIGINT)
            yield fake.HANG
        yield fake.complete(task)

    with fake.opened(tmp_path, fake.config(CONFIRMED), script) as bench, pytest.raises(InterruptedByUser):
        bench.confirmation.run([ONE])
    with fake.opened(tmp_path, fake.config(CONFIRMED)) as bench:
        assert bench.confirmation.missing_replicates("d") == [1, 2]


def test_predictions_are_files_and_not_rows(tmp_path):
    extra = {
        "predictions": [{"sample": 0, "label": 7, "prediction": 7, "probability": 0.75}],
        "worst": [
            {
                "sample": 3,
                "label": 1,
                "prediction": 2,
                "probability": 0.5,
                "timesteps": 1,
                "features": 2,
                "values": "0 1",
            }
        ],
    }

    def script(task):
        yield fake.complete(task, **(extra if task["seed"] == 0 else {}))

    with fake.opened(tmp_path, fake.config(CONFIRMED), script) as bench:
        bench.confirmation.run([ONE])
        row = bench.confirmation.replicates("d")[0]
        assert not {"predictions", "worst"} & set(row)
        assert row["confusion"] == {"7/7": 1}  # for MLflow, whenever it is brought up to date
        assert bench.notes.replicates[0]["confusion"] == {"7/7": 1}
        bench.confirmation.place(ONE)
    assert (tmp_path / "predictions.csv").read_text() == "sample,label,prediction,probability\n0,7,7,0.75\n"
    assert (tmp_path / "worst.csv").read_text() == (
        "sample,label,prediction,probability,timesteps,features,values\n3,1,2,0.5,1,2,0 1\n"
    )


# Several candidates.

SEVERAL = {"study.replicates": 2, "study.n_trials": 5, "study.confirm": 3}


def seeded(best_units):
    """A script whose replicates do best near some units, whatever their trials did, and leave artefacts behind."""

    def script(task):
        if task["kind"] != "replicate":
            yield from fake.train(task)
            return
        units = task["config"]["model"]["units"]
        score = 0.5 - abs(units - best_units(task)) / 1000 + task["seed"] / 10
        result = fake.complete(task, val_accuracy=score, test_accuracy=score - 0.1)
        if task.get("keep"):
            folder = Path(task["keep"])
            folder.mkdir(parents=True)
            (folder / "model.keras").write_text(f"{units} units")
            result["predictions"] = [{"sample": units, "label": 7, "prediction": 7, "probability": 0.75}]
            result["worst"] = []
        yield result

    return script


def rounds(bench):
    """A whole session's work on a study."""
    bench.driver.search()
    bench.confirmation.run(bench.confirmation.candidates())
    bench.confirmation.place(bench.confirmation.pick())
    bench.records.rewrite()


def test_the_best_configurations_are_confirmed_in_one_queue_with_the_same_seeds(tmp_path):
    with fake.opened(tmp_path, fake.config(SEVERAL), workers=4) as bench:
        bench.driver.search()
        candidates = bench.confirmation.candidates()
        values = {trial.number: trial.value for trial in bench.study.trials()}
        assert [c.trial for c in candidates] == sorted(values, key=values.get, reverse=True)[:3]
        bench.launcher.submitted.clear()
        bench.confirmation.run(candidates)
        tasks = [(task["config"]["model"]["units"], task["seed"]) for task in bench.launcher.submitted]
        assert tasks == [(c.params["model.units"], seed) for c in candidates for seed in (0, 1)]
        assert bench.launcher.most == 4  # two candidates at a time
        kept = [task["keep"] for task in bench.launcher.submitted if task.get("keep")]
        assert kept == [str(tmp_path / "candidates" / c.digest / "model") for c in candidates]
        assert {row["trial"] for row in bench.notes.replicates} == {c.trial for c in candidates}


def test_the_pick_is_the_best_by_validation_over_seeds_and_its_artefacts_are_in_place(tmp_path):
    with fake.opened(tmp_path, fake.config(SEVERAL)) as bench:
        bench.driver.search()
        last = bench.confirmation.candidates()[-1]
        wanted = last.params["model.units"]
    with fake.opened(tmp_path, fake.config(SEVERAL), seeded(lambda _: wanted)) as bench:
        rounds(bench)
        assert bench.confirmation.pick() == last
    assert fileio.read_rows(tmp_path / "predictions.csv")[0]["sample"] == str(wanted)
    assert (tmp_path / "model" / "model.keras").read_text() == f"{wanted} units"


def test_driver_and_report_pick_the_same_configuration(tmp_path):
    def of_its_own(task):  # equal means: the better trial wins
        return task["config"]["model"]["units"]

    for name, best in (("equal", of_its_own), ("other", lambda _: 8), ("most", lambda _: 64)):
        config = fake.config({**SEVERAL, "study.name": name})
        with fake.opened(tmp_path / name, config, seeded(best)) as bench:
            rounds(bench)
            pick = bench.confirmation.pick()
            fileio.write_yaml(tmp_path / name / "config.yaml", config)
        read = result.load(tmp_path / name)
        assert next(iter(read.candidates)) == pick.trial
        assert len(read.candidates) == 3
        assert read.winner["number"] == pick.trial
        assert read.confirmed["seed"].tolist() == [0, 1]
        assert read.get("study.confirm") == 3


def test_replicates_and_their_history_name_their_trial(tmp_path):
    with fake.opened(tmp_path, fake.config(SEVERAL)) as bench:
        bench.driver.search()
        bench.confirmation.run(bench.confirmation.candidates())
        trials = {str(c.trial) for c in bench.confirmation.candidates()}
        grown = {name: sorted(text.splitlines()) for name, text in records(tmp_path).items()}
        bench.records.rewrite()
        assert {name: sorted(text.splitlines()) for name, text in records(tmp_path).items()} == grown
    rows = fileio.read_rows(tmp_path / "replicates.csv")
    assert [(row["trial"], row["seed"]) for row in rows] == [(t, s) for t in sorted(trials, key=int) for s in "01"]
    history = [line for line in fileio.read_rows(tmp_path / "history.csv") if line["kind"] == "replicate"]
    assert {(line["trial"], line["number"]) for line in history} == {(t, s) for t in trials for s in "01"}


def test_raising_confirm_trains_only_the_new_candidates_and_may_change_the_pick(tmp_path):
    one = {**SEVERAL, "study.confirm": 1}
    with fake.opened(tmp_path, fake.config(one)) as bench:
        bench.driver.search()
        wanted = bench.study.top(3)[2].params["model.units"]
    with fake.opened(tmp_path, fake.config(one), seeded(lambda _: wanted)) as bench:
        rounds(bench)
        first = bench.confirmation.pick()
    with fake.opened(tmp_path, fake.config(SEVERAL), seeded(lambda _: wanted)) as bench:
        rounds(bench)
        assert len(bench.launcher.submitted) == 4
        assert bench.confirmation.pick() == bench.confirmation.candidates()[2] != first
    assert (tmp_path / "model" / "model.keras").read_text() == f"{wanted} units"
    with pytest.raises(ConfigError, match=r"study\.confirm was 3, is 1 \(only upward\)"):
        fake.study(tmp_path, fake.config(one))


def test_a_pick_that_lost_its_first_seed_leaves_no_other_one_s_artefacts(tmp_path):
    with fake.opened(tmp_path, fake.config(SEVERAL), seeded(lambda _: 32)) as bench:
        rounds(bench)
        bare = Candidate(9, {"model.units": 9}, "nothing-kept")
        bench.confirmation.place(bare)
        assert not (tmp_path / "model").exists() and not (tmp_path / "predictions.csv").exists()
        bench.confirmation.place(bench.confirmation.pick())
        assert (tmp_path / "model" / "model.keras").exists()


def test_a_driver_killed_while_it_places_artefacts_places_them_again(tmp_path, monkeypatch):
    with fake.opened(tmp_path, fake.config(SEVERAL), seeded(lambda _: 32)) as bench:
        rounds(bench)
        first, other = bench.confirmation.pick(), bench.confirmation.candidates()[-1]
        units = first.params["model.units"]

        def killed(*_, **__):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("shutil.copytree", killed)
            bench.confirmation.place(other)
        bench.confirmation.place(first)
    assert (tmp_path / "model" / "model.keras").read_text() == f"{units} units"


def test_a_configuration_suggested_twice_is_one_candidate(tmp_path, monkeypatch, capsys):
    # In a study that was made when there could be more trials than points.
    monkeypatch.setattr("lstm_bench.study.search_space.require_points", lambda *_: None)
    space = {"train.batch_size": {"type": "categorical", "choices": [16, 32]}}
    with fake.opened(tmp_path, fake.config({**SEVERAL, "study.space": space})) as bench:
        bench.driver.search()
        assert len(bench.study.trials()) == 5
        assert sorted(c.params["train.batch_size"] for c in bench.confirmation.candidates()) == [16, 32]
    assert "study.n_trials: the space has 2 points, so that some are trained again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("better", "worse", "maximize"),
    [
        ([0.9, 0.9], [0.99], True),  # all seeds finished, before any score
        ([0.9, 0.8], [0.8, 0.8], True),
        ([0.1, 0.2], [0.3, 0.2], False),
    ],
)
def test_a_candidate_stands_by_finished_seeds_then_by_the_mean(better, worse, maximize):
    assert standing(better, maximize=maximize) < standing(worse, maximize=maximize)


def test_standing_sees_what_the_records_hold():
    assert standing([0.1 + 0.2, 0.3], maximize=True) == standing([0.3, 0.3], maximize=True)


# Several objectives.


def test_a_dominated_trial_is_stopped_and_the_front_is_confirmed_by_the_first_objective(tmp_path, capsys):
    rate = {"train.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}}
    ends = [(0.9, 300), (0.8, 100), (0.7, 400), (0.95, 900)]  # the third is worse than the first in both

    def script(task):
        if task["kind"] == "replicate":
            yield fake.complete(task)
            return
        score, weights = ends[len(bench.launcher.submitted) - 1]
        for epoch in (1, 2, 3):
            yield {**fake.metrics(task["config"], epoch), "val_accuracy": score - 0.1 / epoch, "n_weights": weights}
        yield fake.complete(task, val_accuracy=score, n_weights=weights)

    wanted = {"study.objectives": {"val_accuracy": "maximize", "n_weights": "minimize"}, "pruner.name": "dominated"}
    config = fake.config(
        {**wanted, "pruner.n_startup_trials": 2, "pruner.n_warmup_epochs": 1, "study.space": rate, "study.n_trials": 4}
        | {"study.confirm": 2, "study.replicates": 1}
    )
    with fake.opened(tmp_path, config, script) as bench:
        bench.driver.search()
        assert [(row["state"], row.get("epochs")) for row in bench.study.rows()][:3] == [
            ("COMPLETE", 3),
            ("COMPLETE", 3),
            ("PRUNED", 2),
        ]
        assert [trial.number for trial in bench.study.front()] == [0, 1, 3]
        assert [c.trial for c in bench.confirmation.candidates()] == [3, 0]
        bench.confirmation.run(bench.confirmation.candidates())
        assert bench.confirmation.pick().trial in (0, 3)
        assert "front of 3" in capsys.readouterr().out
        bench.records.rewrite()
    rows = fileio.read_rows(tmp_path / "trials.csv")
    assert [(row["val_accuracy"], row["n_weights"]) for row in rows] == [
        ("0.9", "300"),
        ("0.8", "100"),
        ("0.65", "400"),
        ("0.95", "900"),
    ]


# Packs.

PACKED = {"backend.name": "jax", "launcher.pack": 3, "study.replicates": 4}


def test_packed_seeds_have_the_rows_that_they_have_alone(tmp_path):
    with fake.opened(tmp_path, fake.config(PACKED)) as bench:
        bench.confirmation.run([ONE])
        pack, rest = bench.launcher.submitted
        assert (pack["kind"], pack["seeds"], pack["kernel"]) == ("pack", [0, 1, 2], "generic")
        assert pack["steps_per_execution"] == 50
        assert pack["keep"] == str(tmp_path / "candidates" / "d" / "model")
        assert (rest["kind"], rest["seed"], "keep" in rest) == ("replicate", 3, False)
        assert bench.confirmation.missing_replicates("d") == []
        found = bench.confirmation.replicates("d")
        assert [row["seed"] for row in found] == [0, 1, 2, 3]
        assert [row["test_accuracy"] for row in found] == [0.9, 0.91, 0.92, 0.93]
        assert [row["device_share"] for row in found] == ["packed 3"] * 3 + ["exclusive"]
        assert found[0].keys() - {"pack"} == found[3].keys()
        assert [[epoch["val_loss"] for epoch in row["history"]] for row in found[:3]] == [[0, 0], [1, 1], [2, 2]]
        assert [row["seed"] for row in bench.notes.replicates] == [0, 1, 2, 3]
        assert bench.notes.replicates[1]["history"] == found[1]["history"]
    assert [row["seed"] for row in fileio.read_rows(tmp_path / "replicates.csv")] == ["0", "1", "2", "3"]
    history = fileio.read_rows(tmp_path / "history.csv")
    assert [(line["number"], line["epoch"]) for line in history[:6]] == [(n, e) for e in "12" for n in "012"]


def test_a_kept_member_s_predictions_are_written_and_not_stored(tmp_path):
    def script(task):
        result = fake.complete(task)
        result["members"][0]["predictions"] = [{"sample": 0, "label": 7, "prediction": 7, "probability": 0.75}]
        yield result

    with fake.opened(tmp_path, fake.config({**PACKED, "study.replicates": 3}), script) as bench:
        bench.confirmation.run([ONE])
        assert "predictions" not in bench.confirmation.replicates("d")[0]
        bench.confirmation.place(ONE)
    assert (tmp_path / "predictions.csv").read_text() == "sample,label,prediction,probability\n0,7,7,0.75\n"


def test_a_resume_packs_the_missing_seeds_alone(tmp_path):
    with fake.opened(tmp_path, fake.config({**PACKED, "study.replicates": 5})) as bench:
        for seed in (0, 2):
            bench.study.set(f"replicate/d/{seed}", {"seed": seed, "state": "COMPLETE", "history": []})
        bench.confirmation.run([ONE])
        (pack,) = bench.launcher.submitted
        assert (pack["seeds"], "keep" in pack) == ([1, 3, 4], False)
        assert bench.confirmation.missing_replicates("d") == []


def test_a_pack_of_one_packs_nothing(tmp_path):
    with fake.opened(tmp_path, fake.config({**PACKED, "launcher.pack": 1})) as bench:
        bench.confirmation.run([ONE])
        assert [task["kind"] for task in bench.launcher.submitted] == ["replicate"] * 4


@pytest.mark.parametrize("end", [fake.Died(), fake.failed("oom"), fake.failed("exception")])
def test_a_pack_that_fails_leaves_its_seeds_to_be_trained_one_by_one(tmp_path, capsys, end):
    config = fake.config({**PACKED, "study.replicates": 3, "study.max_retry": 1})
    with fake.opened(tmp_path, config, nth(end, fake.Died())) as bench:
        bench.confirmation.run([ONE])
        tasks = [(task["kind"], task.get("seed")) for task in bench.launcher.submitted]
        assert tasks == [("pack", None)] + [("replicate", seed) for seed in (0, 1, 2, 0)]  # a death of its own: retried
        assert bench.launcher.submitted[-1]["keep"] == str(tmp_path / "candidates" / "d" / "model")
        assert [row["state"] for row in bench.confirmation.replicates("d")] == ["COMPLETE"] * 3
    assert "seed 0 and 2 more: " in capsys.readouterr().out


def test_a_member_that_fails_is_a_row_and_the_others_are_theirs(tmp_path):
    def script(task):
        result = fake.complete(task)
        result["members"][1] = {
            **fake.failed("nan", "loss nan in epoch 2"),
            "history": [fake.metrics(task["config"], 1)],
        }
        yield result

    with fake.opened(tmp_path, fake.config({**PACKED, "study.replicates": 3}), script) as bench:
        bench.confirmation.run([ONE])
        rows = [(row["seed"], row["state"], row.get("reason")) for row in bench.confirmation.replicates("d")]
        assert rows == [(0, "COMPLETE", None), (1, "FAIL", "nan"), (2, "COMPLETE", None)]
        assert len(bench.launcher.submitted) == 1


def test_an_interrupted_pack_leaves_all_its_seeds_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(event_loop, "GRACE_S", 0.2)

    def script(task):
        yield fake.metrics(task["config"], 1)
        yield lambda: os.kill(os.getpid(), signal.SIGINT)
        yield fake.HANG

    with fake.opened(tmp_path, fake.config(PACKED), script) as bench:
        with pytest.raises(InterruptedByUser):
            bench.confirmation.run([ONE])
        assert bench.confirmation.missing_replicates("d") == [0, 1, 2, 3]


# Packs of trials.

RATES = {
    **{"backend.name": "jax", "launcher.pack": 3, "study.n_trials": 7, "study.max_retry": 0},
    "study.space": {"train.learning_rate": fake.SPACE["train.learning_rate"]},
}


def of(bench) -> list[tuple]:
    return [(task["kind"], len(task.get("seeds", [0]))) for task in bench.launcher.submitted]


def test_packed_trials_have_the_rows_that_they_have_alone(tmp_path):
    rows = {}
    for pack in (3, 1):
        with fake.opened(tmp_path / str(pack), fake.config({**RATES, "launcher.pack": pack})) as bench:
            bench.driver.search()
            packed = of(bench)
            rows[pack] = bench.study.rows()
            noted = [(row["number"], row["history"]) for row in bench.notes.trials]
        assert packed == ([("trials", 3), ("trials", 3), ("trial", 1)] if pack == 3 else [("trial", 1)] * 7)
        assert noted == [(row["number"], row["history"]) for row in rows[pack]]
    assert [row["device_share"] for row in rows[3]] == ["packed 3"] * 6 + ["exclusive"]
    for together, alone in zip(rows[3], rows[1], strict=True):
        differ = {key for key in alone if together[key] != alone[key]}
        assert differ <= {"device_share", "started_ms", "ended_ms"}
    together, alone = (fileio.read_rows(tmp_path / pack / "history.csv") for pack in "31")
    assert sorted(together, key=lambda line: (line["number"], line["epoch"])) == alone


def test_a_pack_has_the_seeds_and_rates_of_its_trials(tmp_path):
    with fake.opened(tmp_path, fake.config({**RATES, "study.n_trials": 3})) as bench:
        bench.driver.search()
        (pack,) = bench.launcher.submitted
        rows = bench.study.rows()
        assert pack["seeds"] == [row["seed"] for row in rows]
        assert [t["learning_rate"] for t in pack["trains"]] == [row["config_train.learning_rate"] for row in rows]
        assert (pack["kernel"], pack["steps_per_execution"]) == ("generic", 50)


def test_trials_of_other_shapes_are_packed_apart(tmp_path):
    space = {**RATES["study.space"], "model.units": {"type": "categorical", "choices": [8, 16]}}
    with fake.opened(tmp_path, fake.config({**RATES, "study.space": space, "study.n_trials": 12})) as bench:
        bench.driver.search()
        assert sum(n for _, n in of(bench)) == 12
        assert ("trials", 3) in of(bench) or ("trials", 2) in of(bench)
        units = {row["number"]: row["config_model.units"] for row in bench.study.rows()}
        by_seed = {row["seed"]: row["number"] for row in bench.study.rows()}
        for task in bench.launcher.submitted:
            numbers = [by_seed[seed] for seed in task.get("seeds", [task.get("seed")])]
            assert {units[number] for number in numbers} == {task["config"]["model"]["units"]}
        assert bench.study.counts()["complete"] == 12


def scores(*each):
    """A script of packs: val_accuracy of each member after each epoch, None where it has failed by then."""

    def script(task):
        n = len(task["seeds"])
        for epoch in range(1, len(each[0]) + 1):
            now = [values[epoch - 1] for values in each[:n]]
            its = [v if v is None else {**fake.metrics(task["config"], epoch), "val_accuracy": v} for v in now]
            yield {**fake.metrics(task["config"], epoch), "each": its}
        result = fake.complete(task)
        for at, values in enumerate(each[:n]):
            if values[-1] is None:
                result["members"][at] = fake.failed("nan", "loss nan in epoch 2")
        yield result

    return script


PRUNED = {
    **{"pruner.name": "median", "pruner.n_startup_trials": 3, "pruner.n_warmup_epochs": 0, "train.epochs": 3},
    "study.n_trials": 6,
}


def nth_script(*scripts):
    """The n-th task follows the n-th script, the others train."""
    left = list(scripts)
    return lambda task: (left.pop(0) if left else fake.train)(task)


def test_a_member_is_pruned_and_the_pack_goes_on(tmp_path):
    good, bad = (0.5, 0.6, 0.7), (0.5, 0.1, 0.9)
    script = nth_script(scores(good, good, good), scores((0.6, 0.7, 0.8), bad, (0.5, 0.6, 0.7)))
    with fake.opened(tmp_path, fake.config({**RATES, **PRUNED}), script) as bench:
        bench.driver.search()
        assert bench.launcher.stopped == []
        assert [row["state"] for row in bench.study.rows()] == ["COMPLETE"] * 4 + ["PRUNED", "COMPLETE"]
        row = bench.study.row(4)
        assert (row["epochs"], row["val_accuracy"], row.get("weights_sha256"), row["reason"]) == (2, 0.1, None, None)
        assert [epoch["val_accuracy"] for epoch in row["history"]] == [0.5, 0.1]
    assert "4,PRUNED,," in (tmp_path / "trials.csv").read_text()


def test_a_pack_stops_when_all_that_is_left_of_it_is_pruned(tmp_path):
    good = (0.5, 0.6, 0.7)
    script = nth_script(scores(good, good, good), scores((0.5, 0.1), (0.5, None), (0.5, 0.2)))
    with fake.opened(tmp_path, fake.config({**RATES, **PRUNED}), script) as bench:
        bench.driver.search()
        assert bench.launcher.stopped == ["trial 3/1"]
        rows = [(row["state"], row["reason"], len(row["history"])) for row in bench.study.rows()[3:]]
        assert rows == [("PRUNED", None, 2), ("FAIL", "nan", 1), ("PRUNED", None, 2)]


def test_a_pruned_member_stays_pruned_whatever_becomes_of_it(tmp_path):
    good = (0.5, 0.6, 0.7)
    script = nth_script(scores(good, good, good), scores(good, (0.1, None, None), good))
    with fake.opened(tmp_path, fake.config({**RATES, **PRUNED}), script) as bench:
        bench.driver.search()
        row = bench.study.row(4)
        assert (row["state"], row["reason"], row["epochs"], row.get("detail")) == ("PRUNED", None, 1, None)


def test_a_trial_that_fails_in_a_pack_fails_alone(tmp_path):
    config = fake.config({**RATES, "study.n_trials": 3})
    with fake.opened(tmp_path, config, scores((0.5, 0.5), (0.5, None), (0.5, 0.5))) as bench:
        bench.driver.search()
        rows = [(row["state"], row["reason"], len(row["history"])) for row in bench.study.rows()]
        assert rows == [("COMPLETE", None, 2), ("FAIL", "nan", 1), ("COMPLETE", None, 2)]


@pytest.mark.parametrize("end", [fake.Died(), fake.failed("oom"), fake.failed("exception"), fake.failed("timeout")])
def test_a_pack_that_fails_leaves_its_trials_to_be_trained_one_by_one(tmp_path, capsys, end):
    def first(task):
        yield {**fake.metrics(task["config"], 1), "each": [fake.metrics(own, 1) for own in fake.configs(task)]}
        yield end

    with fake.opened(tmp_path, fake.config({**RATES, "study.n_trials": 4}), nth_script(first)) as bench:
        bench.driver.search()
        assert of(bench) == [("trials", 3)] + [("trial", 1)] * 4
        assert states(bench)[:3] == [(number, "FAIL", "pack_failed", None) for number in range(3)]
        assert states(bench)[3:6] == [(number + 3, "COMPLETE", None, number) for number in range(3)]
        assert states(bench)[6:] == [(6, "COMPLETE", None, None)]
        counts = bench.study.counts()
        assert (counts["complete"], counts["failed"], counts["queued"]) == (4, 0, 0)
    assert "trial 0 and 2 more: " in capsys.readouterr().out


def test_a_pack_lasts_as_long_as_its_members_may(tmp_path, monkeypatch):
    clock, real = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + clock[0])
    passed = iter((2500.0, 3500.0))

    def script(task):
        if "seeds" in task:
            clock[0] += next(passed)
            yield lambda: None
            yield lambda: time.sleep(1.2 * event_loop._DRAIN_S)
        yield from fake.train(task)

    values = {"study.n_trials": 6, "study.trial_timeout": 1000.0}
    with fake.opened(tmp_path, fake.config({**RATES, **values}), script) as bench:
        bench.driver.search()
        assert of(bench) == [("trials", 3), ("trials", 3)] + [("trial", 1)] * 3
        assert [row["reason"] for row in bench.study.rows()] == [None] * 3 + ["pack_failed"] * 3 + [None] * 3


def test_two_workers_have_packs_of_their_own(tmp_path):
    with fake.opened(tmp_path, fake.config(RATES), workers=2) as bench:
        bench.driver.search()
        assert of(bench) == [("trials", 3), ("trials", 3), ("trial", 1)]
        assert bench.launcher.most == 2
        assert bench.study.counts()["complete"] == 7


def test_an_interrupted_pack_and_what_was_asked_for_with_it_are_queued_again(tmp_path, monkeypatch):
    monkeypatch.setattr(event_loop, "GRACE_S", 0.2)

    def script(task):
        yield {**fake.metrics(task["config"], 1), "each": [fake.metrics(own, 1) for own in fake.configs(task)]}
        yield lambda: os.kill(os.getpid(), signal.SIGINT)
        yield fake.HANG

    space = {**RATES["study.space"], "model.units": {"type": "categorical", "choices": [8, 9]}}
    config = fake.config({**RATES, "study.space": space, "study.n_trials": 8, "launcher.pack": 6})
    with fake.opened(tmp_path, config, script) as bench:
        with pytest.raises(InterruptedByUser):
            bench.driver.search()
        begun = len(bench.launcher.submitted[0]["seeds"])
        assert begun < 6, "the seed of this study draws both shapes"
        assert [row["reason"] for row in bench.study.rows()] == ["interrupted"] * 6
        assert {len(row["history"]) for row in bench.study.rows()} == {0, 1}
        assert len(bench.notes.trials) == 6
        assert bench.study.counts()["queued"] == 6
        asked = [{**row} for row in bench.study.rows()]
    with fake.opened(tmp_path, config) as bench:
        bench.driver.search()
        rows = bench.study.rows()
        assert bench.study.counts()["complete"] == 8
        assert len(rows) == 14
        again = {row["retry_of"]: row["seed"] for row in rows if row["retry_of"] is not None}
        assert again == {row["number"]: row["seed"] for row in asked}


def test_a_search_whose_time_is_over_puts_back_what_it_has_not_begun(tmp_path, monkeypatch):
    clock, real = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + clock[0])

    def script(task):
        clock[0] = 3600.0
        yield from fake.train(task)

    space = {**RATES["study.space"], "model.units": {"type": "categorical", "choices": [8, 9]}}
    values = {"study.space": space, "study.n_trials": 6, "launcher.pack": 6, "study.timeout": 1800.0}
    with fake.opened(tmp_path, fake.config({**RATES, **values}), script) as bench:
        bench.driver.search()
        begun = sum(n for _, n in of(bench))
        assert begun < 6, "the seed of this study draws both shapes"
        assert (len(bench.launcher.submitted), bench.driver.timed_out) == (1, True)
        counts = bench.study.counts()
        assert (counts["complete"], counts["queued"]) == (begun, 6 - begun)
        assert counts["queued"] > 0


def test_too_many_failures_leave_no_trial_running(tmp_path):
    def script(task):
        result = fake.complete(task)
        result["members"][0] = fake.failed("nan", "loss nan in epoch 1")
        yield result

    space = {**RATES["study.space"], "model.units": {"type": "categorical", "choices": [8, 9]}}
    values = {"study.space": space, "study.n_trials": 8, "launcher.pack": 6, "study.max_failed": 0}
    with fake.opened(tmp_path, fake.config({**RATES, **values}), script) as bench:
        with pytest.raises(TooManyFailedError):
            bench.driver.search()
        assert sum(n for _, n in of(bench)) < 6, "the seed of this study draws both shapes"
        counts = bench.study.counts()
        assert (counts["running"], counts["failed"], counts["queued"] > 0) == (0, 1, True)


def test_a_trial_begins_when_its_training_does(tmp_path):
    def script(task):
        yield lambda: time.sleep(0.2)
        yield from fake.train(task)

    space = {**RATES["study.space"], "model.units": {"type": "categorical", "choices": [8, 9]}}
    values = {"study.space": space, "study.n_trials": 6, "launcher.pack": 6}
    with fake.opened(tmp_path, fake.config({**RATES, **values}), script) as bench:
        bench.driver.search()
        begun = sorted({row["started_ms"] for row in bench.study.rows()})
        assert len(begun) == len(bench.launcher.submitted) == 2
        assert begun[1] - begun[0] >= 200


# Records and tracking.


def test_records_rewritten_from_the_database_equal_those_that_grew(tmp_path):
    things = (fake.failed("nan"), None, fake.Died(), None, None, None, None)
    with fake.opened(tmp_path, fake.config({"study.replicates": 2}), nth(*things)) as bench:
        bench.driver.search()
        bench.confirmation.run(bench.confirmation.candidates())
        grown = records(tmp_path)
        assert set(grown) == set(FILES)
        bench.records.rewrite()
        assert records(tmp_path) == grown
    rows = fileio.read_rows(tmp_path / "trials.csv")
    assert list(rows[0]) == [*columns.TRIAL_COLUMNS, "config_model.units", "config_train.learning_rate"]
    assert [(row["number"], row["state"], row["reason"], row["retry_of"]) for row in rows[:4]] == [
        ("0", "FAIL", "nan", ""),
        ("1", "COMPLETE", "", ""),
        ("2", "FAIL", "worker_died", ""),
        ("3", "COMPLETE", "", "2"),
    ]
    history = fileio.read_rows(tmp_path / "history.csv")
    assert [(line["kind"], line["number"], line["epoch"]) for line in history[:5]] == [
        ("trial", "0", "1"),
        ("trial", "1", "1"),
        ("trial", "1", "2"),
        ("trial", "1", "3"),
        ("trial", "2", "1"),
    ]
    assert [(row["seed"], row["test_accuracy"]) for row in fileio.read_rows(tmp_path / "replicates.csv")] == [
        ("0", "0.9"),
        ("1", "0.91"),
    ]


def test_lost_records_come_back_from_the_database(tmp_path):
    with fake.opened(tmp_path, fake.config()) as bench:
        bench.driver.search()
        bench.records.rewrite()
        whole = records(tmp_path)
        for name in FILES:
            (tmp_path / name).unlink()
        bench.records.rewrite()
        assert records(tmp_path) == whole


def test_only_records_that_do_not_say_what_the_database_says_are_mended(tmp_path):
    with fake.opened(tmp_path, fake.config()) as bench:
        bench.driver.search()
        bench.records.rewrite()
        whole, made = records(tmp_path), {name: (tmp_path / name).stat().st_ino for name in FILES}
        assert bench.records.mend() == []
        (tmp_path / "history.csv").unlink()
        os.truncate(tmp_path / "trials.csv", (tmp_path / "trials.csv").stat().st_size - 9)
        assert bench.records.mend() == ["trials.csv", "history.csv"]
        assert records(tmp_path) == whole
        assert (tmp_path / "replicates.csv").stat().st_ino == made["replicates.csv"]


def test_a_probe_is_recorded(tmp_path):
    config = fake.config({"study.n_trials": 1})
    with fake.opened(tmp_path, config, unavailable={"cudnn": "no GPU", "generic": None}) as bench:
        bench.driver.search()
        pick = bench.confirmation.pick()
        bench.kernels.probe(pick.params, pick.digest)
        bench.records.rewrite()
    assert [(row["kernel"], row["reason"]) for row in fileio.read_rows(tmp_path / "kernels.csv")] == [
        ("cudnn", "no GPU"),
        ("generic", ""),
    ]


def test_listeners_hear_of_every_trial_and_replicate_once(tmp_path):
    things = (fake.failed("nan"), fake.Died())
    with fake.opened(tmp_path, fake.config(CONFIRMED), nth(*things), workers=2) as bench:
        bench.driver.search()
        bench.confirmation.run([Candidate(2, {"model.units": 12}, "d")])
        seen = sorted(bench.notes.trials, key=lambda row: row["number"])
        assert [(row["number"], row["state"], row["reason"]) for row in seen] == [
            (0, "FAIL", "nan"),
            (1, "FAIL", "worker_died"),
            (2, "COMPLETE", None),
        ]
        assert len(seen[2]["history"]) == 3
        assert seen[2]["ended_ms"] >= seen[2]["started_ms"]
        assert sorted(row["seed"] for row in bench.notes.replicates) == [0, 1, 2]


def test_an_epoch_is_in_the_records_when_it_has_ended_and_a_trial_when_it_has_begun(tmp_path):
    seen = []

    def script(task):
        for epoch in (1, 2):
            yield fake.metrics(task["config"], epoch)
            yield lambda: seen.append(
                [len(fileio.read_rows(tmp_path / f"{file}.csv")) for file in ("begun", "history")]
            )
        yield fake.complete(task)

    with fake.opened(tmp_path, fake.config({"study.n_trials": 1, "study.replicates": 1}), script) as bench:
        bench.driver.search()
        bench.confirmation.run(bench.confirmation.candidates())
        (begun, seed), (row,) = fileio.read_rows(tmp_path / "begun.csv"), fileio.read_rows(tmp_path / "trials.csv")
        assert begun["started_at"] == row["started_at"] < row["ended_at"]
        assert begun["config_model.units"] == row["config_model.units"]
        assert (seed["kind"], seed["trial"], seed["number"]) == ("replicate", "0", "0")
        bench.records.rewrite()
    assert seen == [[1, 1], [1, 2], [2, 3], [2, 4]]
    assert not (tmp_path / "begun.csv").exists()


@pytest.mark.filterwarnings(r"ignore:os.fork\(\) was called:RuntimeWarning")  # JAX, where another file has imported it
def test_epochs_of_a_trial_that_its_driver_could_not_end_stay_under_its_number(tmp_path):
    def script(task):
        yield fake.metrics(task["config"], 1)
        yield fake.metrics(task["config"], 2)
        yield lambda: os._exit(9)

    child = os.fork()
    if not child:
        with fake.opened(tmp_path, fake.config({"study.n_trials": 1}), script) as bench:
            bench.driver.search()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    for _ in range(2):
        with fake.opened(tmp_path, fake.config({"study.n_trials": 1})) as bench:
            bench.records.rewrite()
            bench.driver.search()
            bench.records.rewrite()
    history = fileio.read_rows(tmp_path / "history.csv")
    assert [(line["number"], line["epoch"]) for line in history] == [
        *(("0", epoch) for epoch in "12"),
        *(("1", epoch) for epoch in "123"),
    ]


def test_a_seed_that_is_trained_again_has_each_epoch_once(tmp_path):
    seen = []

    def script(task):
        yield fake.metrics(task["config"], 1)
        yield lambda: seen.append([line["epoch"] for line in fileio.read_rows(tmp_path / "history.csv")])
        yield fake.Died() if len(seen) == 1 else fake.metrics(task["config"], 2)
        yield fake.complete(task)

    config = fake.config({"study.n_trials": 0, "study.replicates": 1, "study.space": {}})
    with fake.opened(tmp_path, config, script) as bench:
        bench.confirmation.run(bench.confirmation.candidates())
    assert seen == [["1"], ["1"]]
    assert [line["epoch"] for line in fileio.read_rows(tmp_path / "history.csv")] == ["1", "2"]
