"""One invocation from its start: who has the data when, and when nobody needs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import fake
import numpy as np
import pytest

from lstm_bench.core.console import Display
from lstm_bench.core.errors import InterruptedByUser, NothingCameOutError, TooManyFailedError
from lstm_bench.data import dataset, shared_memory
from lstm_bench.data import metric as metrics
from lstm_bench.report.sources import records
from lstm_bench.study import search_space as spaces
from lstm_bench.study.summary import confirmation
from lstm_bench.sweep import console_report, session, workers
from lstm_bench.tracking import records as records_of


def answer(task: Any) -> Any:
    """A worker's: what the check finds, and a trial's epochs and result."""
    return iter([{"state": "COMPLETE", "layers": ["lstm"]}]) if task["kind"] == "check" else fake.train(task)


class Launcher(fake.FakeLauncher):
    """Notes when it was started and what its workers find in the file that they inherit."""

    made: list[Launcher] = []  # noqa: RUF012 (emptied before each test)
    answer = staticmethod(answer)

    def __init__(self, *_: Any, data_fd: int | None = None, **__: Any):
        super().__init__(self.answer)
        self.data_fd, self.found = data_fd, "nothing submitted"
        self.made.append(self)
        order.append("workers start")

    def submit(self, key: str, task: Any) -> None:
        order.append("first task")
        shared = self.data_fd is not None and shared_memory.load(self.data_fd, task["config"]["dataset"])
        self.found = f"{len(shared.x_train)} samples" if shared else "nothing"
        super().submit(key, task)


order: list[str] = []


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    order.clear()
    Launcher.made.clear()
    load, store = dataset.load, shared_memory.SharedDataset.store

    def loading(config: Any) -> dataset.Dataset:
        order.append("load")
        return load(config)

    def storing(self: Any, *given: Any) -> None:
        order.append("store")
        store(self, *given)

    monkeypatch.setattr(workers, "LocalLauncher", Launcher)
    monkeypatch.setattr(session.data, "load", loading)
    monkeypatch.setattr(shared_memory.SharedDataset, "store", storing)
    folder = tmp_path / "fake"
    folder.mkdir()

    def run(overrides: Any = None) -> session.Session:
        config = fake.config({"study.n_trials": 0} if overrides is None else overrides)
        display = Display(config["study"]["objective"], config["train"]["epochs"])
        made = session.Session(config, spaces.parse(config), folder, [], display, "here")
        made.run()
        return made

    return run


def test_workers_start_before_the_data_is_read_and_have_it_before_their_first_task(run: Any) -> None:
    made = run()
    assert order == ["workers start", "load", "store", "first task"]
    assert Launcher.made[0].found == "1293 samples"  # nine tenths of the 1,437 digits to train on
    assert not made.workers._loaded and made.workers._shared.fd is None


def test_each_seed_is_given_data_of_its_own_alone_in_its_program(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, Any, Any]] = []

    def noting(task: Any) -> Any:
        seen.append((task["kind"], task.get("seed"), task["config"]["dataset"].get("redraw")))
        return answer(task)

    monkeypatch.setattr(Launcher, "answer", staticmethod(noting))
    run({"study.n_trials": 2, "study.replicates": 3, "dataset.resplit": True, "launcher.pack": 3})
    replicates = sorted(one for one in seen if one[0] == "replicate")
    assert replicates == [("replicate", seed, seed) for seed in range(3)]
    assert all(redraw is None for kind, _, redraw in seen if kind != "replicate")
    assert order.count("load") == 4, "every draw is made before the search"
    said = capsys.readouterr().out
    assert "each seed draws its training and validation data; the 360 test sequences stay" in said
    assert "pack      none: each seed has training data of its own" in said


def test_without_work_nothing_is_stored_and_no_worker_is_started(run: Any) -> None:
    run()
    order.clear()
    run()
    assert order == ["load"]
    assert len(Launcher.made) == 1


def test_without_work_a_lost_record_comes_back(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    lost = tmp_path / "fake" / "trials.csv"
    whole = lost.read_text()
    lost.unlink()
    capsys.readouterr()
    run()
    assert lost.read_text() == whole
    out = capsys.readouterr().out
    assert "trials.csv was not what the database says: written anew\nnothing to do: the study is complete\n" in out
    run()
    assert "written anew" not in capsys.readouterr().out


def failing(task: Any) -> Any:
    return answer(task) if task["kind"] == "check" else iter([fake.failed("nan")])


def test_too_many_failures_are_said_by_every_run_not_by_the_first_alone(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Launcher, "answer", staticmethod(failing))
    for _ in range(3):
        with pytest.raises(TooManyFailedError, match=r"3 trials failed by their own fault, study\.max_failed is 2"):
            run({"study.n_trials": 3, "study.max_failed": 2})
    assert len(Launcher.made) == 1  # none is started for what cannot go on
    assert ": done" not in capsys.readouterr().out
    for _ in range(2):
        with pytest.raises(NothingCameOutError, match="study fake: no trial is complete: 3 of 3 trials failed: nan"):
            run({"study.n_trials": 3, "study.max_failed": 3})
    assert "nothing to do: the study has ended" in capsys.readouterr().out
    with pytest.raises(TooManyFailedError):
        run({"study.n_trials": 3, "study.max_failed": 2})


def test_a_confirmation_of_which_no_seed_is_complete_is_said_by_every_run(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def seedless(task: Any) -> Any:
        return failing(task) if task["kind"] == "replicate" else answer(task)

    monkeypatch.setattr(Launcher, "answer", staticmethod(seedless))
    for _ in range(2):
        with pytest.raises(
            NothingCameOutError, match="study fake: no seed is complete: 2 of 2 seeds failed: nan"
        ) as one:
            run({"study.n_trials": 2, "study.replicates": 2})
    assert one.value.exit_code == 5
    assert capsys.readouterr().out.count("fake: ended, nothing came out") == 2


@pytest.mark.parametrize("searched", [True, False])
def test_terminal_page_and_mlflow_say_the_same_of_a_study_s_health(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], searched: bool
) -> None:
    run({"study.n_trials": 2, "study.replicates": 2} | ({} if searched else {"study.n_trials": 0, "study.space": {}}))
    after = capsys.readouterr().out.partition("\n  health")[2].splitlines()
    said = [line.strip() for line in after]
    page, told = records.load(tmp_path / "fake").verdict, records_of.GrowingRecord(tmp_path / "fake")
    told.read()
    told.close()
    _, tags = told.outcome(told.pick())
    assert page is not None
    assert said[: len(page.sentences())] == page.sentences()
    assert tags["health"] == " ".join(page.sentences())
    assert ("Too few trials (2)" in tags["health"]) is searched
    assert page.result == ["120 optimiser steps: this measures who learns fast."]


def test_workers_that_start_after_the_data_was_read_have_it_too(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    order.clear()
    get = session.trials.TrialStore.get
    monkeypatch.setattr(session.trials.TrialStore, "get", lambda self, key: get(self, key) if key != "layers" else None)

    def far_enough(*_: Any, **__: Any) -> None:
        raise InterruptedByUser("far enough")

    monkeypatch.setattr(session.kernel, "require", far_enough)
    with pytest.raises(InterruptedByUser):
        run()
    assert order == ["load", "workers start", "store", "first task"]
    assert Launcher.made[1].found == "1293 samples"


def test_without_a_temporary_folder_workers_start_without_a_file(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory.tempfile, "tempdir", "/proc/nowhere")
    run()
    assert Launcher.made[0].data_fd is None
    assert Launcher.made[0].found == "nothing"


def test_the_first_task_is_given_out_before_mlflow_is_started(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.Session, "_start_tracking", lambda *_: order.append("tracking starts"))
    run({"study.n_trials": 2, "study.replicates": 0})
    asked = [at for at, what in enumerate(order) if what == "first task"]
    assert len(asked) == 3  # a check, then trials on one worker
    assert asked[1] < order.index("tracking starts") < asked[2]


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (metrics.ACCURACY, "test accuracy 50.00 % +- 124.21 (95 % interval, n = 3)"),
        (metrics.MSE, "test MSE 0.5000 +- 1.2421 (95 % interval, n = 3)"),
        (metrics.CROSS_ENTROPY, "test loss 0.5000 +- 1.2421 (95 % interval, n = 3)"),
    ],
)
def test_a_confirmation_is_said_in_the_words_of_its_metric(metric: metrics.Metric, said: str) -> None:
    words, found = confirmation([0.0, 0.5, 1.0], metric)
    assert words == said
    assert found[metric.column] == 0.5 and found[f"{metric.column}_n"] == 3
    assert found[f"{metric.column}_high"] - found[metric.column] == pytest.approx(1.2421, abs=1e-4)
    assert confirmation([0.25], metrics.MSE)[0] == "test MSE 0.2500 (n = 1: no interval)"


def test_a_front_is_said_with_the_range_of_each_objective() -> None:
    words = console_report.front_words(["val_accuracy", "n_weights"], [(0.9, 300.0), (0.8, 100.0)], 5)
    assert words == "2 of 5 trials: val_accuracy 0.8 to 0.9, n_weights 100 to 300"


def test_a_pick_among_candidates_is_said_with_its_mean() -> None:
    rows = [{"val_accuracy": 0.9}, {"val_accuracy": 0.8}]
    assert console_report.picked(7, 3, "val_accuracy", rows) == (
        "trial 7 of 3 candidates by mean val_accuracy 0.8500 over 2 seeds"
    )


def unequal(config: Any) -> dataset.Dataset:
    found = LOAD(config)
    cut = {f"lengths_{split}": np.ones(len(getattr(found, f"x_{split}")), np.int32) for split in dataset.SPLITS}
    cut["lengths_train"] = np.full(len(found.x_train), 8, np.int32)
    return replace(found, **cut)


LOAD = dataset.load


def test_a_record_says_how_long_sequences_are(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.data, "load", unequal)
    made = run()
    facts = made.prepared.facts(unequal(made.config["dataset"]))["lengths"]
    assert [facts[name] for name in ("min", "max", "cut", "dropped")] == [1, 8, 0, 0] and 0 < facts["padding"] < 0.5
    assert Launcher.made[0].found.endswith("samples")
    # What a kernel's speed is kept under.
    remembered = made._measured_on(made.prepared.facts(LOAD(made.config["dataset"])))
    assert remembered["buckets"] == {0: 8}
