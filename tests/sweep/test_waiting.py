"""`lstm_bench.sweep.waiting`: what the display is told of the time that is left."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import fake
import pytest

from lstm_bench.core import fileio
from lstm_bench.launcher.event_loop import Running
from lstm_bench.launcher.protocol import ProbeTask, TrialTask
from lstm_bench.study import columns
from lstm_bench.study import search_space as spaces
from lstm_bench.sweep.waiting import Waiting, work

PARAMS = {"model.units": 32, "train.learning_rate": 1e-3}
ROW = {"state": "COMPLETE", "epochs": 3, "setup_s": 0.5, "compile_s": 0.5, "total_s": 31.0}


def waiting(running: list[Running] | None = None, **values: Any) -> Waiting:
    config = fake.config({"study.replicates": 4, **values})
    found = Waiting(config, spaces.parse(config), 2, lambda: running or [])
    found.trials, found.best = 6, [PARAMS]
    return found


def training(kind: Any = "trial", done: float = 0.0, elapsed: float = 1.0) -> Running:
    given: dict[str, Any] = {"config": fake.config(PARAMS), "kernel": "generic", "steps_per_execution": 50}
    task = ProbeTask(**given, seconds=1.0, pack=1) if kind == "probe" else TrialTask(kind=kind, seed=0, **given)
    since = time.monotonic() - elapsed
    return Running(kind, task, since=since, done=done, begun_s=min(elapsed, 1.0))


def test_nothing_is_known_before_the_first_training_has_ended() -> None:
    found = waiting([training()])
    assert found.left() == (None, 0.0)
    found.ended(PARAMS, {"state": "FAIL", "reason": "nan", "epochs": 1, "total_s": 3.0})
    assert found.left().seconds is None


def test_trials_then_seeds_then_the_probe() -> None:
    found = waiting()
    found.ended(PARAMS, ROW)
    all_of_it = found.left().seconds
    found.after_s = lambda: 12.0
    assert found.left().seconds == pytest.approx(all_of_it + 12.0)
    found.trials = 0
    assert found.left().seconds == pytest.approx(2 * 31.0 + 12.0, rel=0.05)
    assert all_of_it > 62.0 + 60.0


def test_what_runs_is_no_trial_to_come() -> None:
    alone, beside = waiting(), waiting([training(done=2.9, elapsed=30.0), training(done=2.9, elapsed=30.0)])
    for one in (alone, beside):
        one.ended(PARAMS, ROW)
    alone.trials = 4
    assert beside.left().seconds == pytest.approx(alone.left().seconds + 1.0, abs=1.0)


def test_a_measurement_that_runs_is_no_training() -> None:
    measured, nothing = waiting([training("probe")]), waiting()
    for one in (measured, nothing):
        one.ended(PARAMS, ROW)
    assert measured.left() == nothing.left()


def test_seeds_that_run_and_that_wait_count_once() -> None:
    found = waiting([training("replicate"), training("replicate")])
    found.ended(PARAMS, ROW)
    found.seeds = [PARAMS] * 4
    assert found.left().seconds == pytest.approx(2 * 31.0 - 1.0, rel=0.05)
    found.seed_ended(PARAMS, {**ROW, "state": "FAIL"})
    found.seed_ended(PARAMS, ROW)
    assert found.left().seconds == pytest.approx(31.0 - 1.0, rel=0.05)


def test_a_pack_counts_for_all_its_members() -> None:
    members = [training("replicate") for _ in range(4)]
    for member in members:
        member.together = 4
    found = waiting(members)
    found.ended(PARAMS, ROW)
    found.seeds = [PARAMS] * 4
    assert found.left().seconds == pytest.approx(31.0 - 1.0, rel=0.05)


def test_studies_to_come_cost_what_such_work_has_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    later = fake.config({"study.name": "later", "study.n_trials": 8, "study.replicates": 2, "train.epochs": 6})
    found = waiting()
    found.others([], [later])
    assert found.left() == (None, None)
    found.ended(PARAMS, ROW)
    whole = found.left().others_s
    assert whole == pytest.approx(10 * 2 * 31.0 / 2)  # ten trainings of twice the epochs, two at a time
    folder = columns.study_dir("later")
    folder.mkdir(parents=True)
    done = [{"number": n, "state": "COMPLETE", "epochs": 6, "total_s": 62.0} for n in range(5)]
    fileio.write_rows(folder / "trials.csv", ("number", "state", "epochs", "total_s"), done)
    again = waiting()
    again.after_s = lambda: 4.0
    again.others([], [later], start_s=10.0)
    again.ended(PARAMS, ROW)
    assert again.left().others_s == pytest.approx(whole / 2 + 14.0)


def test_the_studies_before_say_what_such_work_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    earlier, later = (fake.config({"study.name": name}) for name in ("earlier", "later"))
    folder = columns.study_dir("earlier")
    folder.mkdir(parents=True)
    slow = [{"number": n, "state": "COMPLETE", "epochs": 3, "total_s": 310.0} for n in range(3)]
    fileio.write_rows(folder / "trials.csv", ("number", "state", "epochs", "total_s"), slow)
    found = waiting()
    found.others([earlier], [later])
    found.ended(PARAMS, ROW)
    assert found.left().others_s == pytest.approx(6 * (3 * 310.0 + 31.0) / 4 / 2)


def test_work_grows_with_what_is_known_beforehand() -> None:
    usual = work(fake.config())
    assert work(fake.config({"train.epochs": 6})) == 2 * usual
    assert work(fake.config({"dataset.length": 112})) > usual
    small, large = (work(fake.config({"model.weights": n})) for n in (25_000, 100_000))
    assert large == 2 * small
