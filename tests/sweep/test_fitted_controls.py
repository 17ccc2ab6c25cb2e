"""The controls of a study: which are fitted, each once, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import lstm_bench
from lstm_bench.core import fileio
from lstm_bench.core.console import Display
from lstm_bench.data.task import CLASSIFICATION
from lstm_bench.launcher.event_loop import NO_TASK_YET, Running
from lstm_bench.launcher.protocol import ControlResult
from lstm_bench.model.question import Asked
from lstm_bench.study import columns as record
from lstm_bench.study.control_rows import control_metrics, control_words
from lstm_bench.sweep import controls
from lstm_bench.sweep.controls import Controls

ALL = [("trivial", 0), ("linear", 0), *(("minirocket", seed) for seed in range(5))]


class Store:
    """Facts of a study, and what other drivers have taken."""

    def __init__(self, theirs: Sequence[str] = ()):
        self.kept: dict[str, Any] = {}
        self.theirs = set(theirs)

    def facts(self, prefix: str) -> dict[str, Any]:
        return {key.removeprefix(prefix): value for key, value in self.kept.items() if key.startswith(prefix)}

    def get(self, key: str) -> Any:
        return {"data_sha256": "ab"}.get(key)

    def claim(self, keys: Sequence[str]) -> list[str]:
        return [key for key in keys if key not in self.theirs]

    def put(self, key: str, value: Any) -> bool:
        assert key not in self.kept
        self.kept[key] = value
        return True


class Loop:
    """Runs tasks one by one; what becomes of each is said by `result`."""

    def __init__(self, result: Callable[[Running], Mapping[str, Any]]):
        self.result, self.ran = result, list[tuple[str, int]]()
        self.tasks: list[Any] = []

    def run(self, next_task: Callable[[], Running | None], finished: Callable[[Running, Any], None]) -> None:
        while (running := next_task()) is not None and running is not NO_TASK_YET:
            self.ran.append((running.task.control, running.task.seed))
            self.tasks.append(running.task)
            finished(running, ControlResult.read(self.result(running)))


def complete(running: Running) -> dict[str, Any]:
    seed = running.task.seed
    scores = {"val_accuracy": 0.7, "test_accuracy": 0.8 + seed / 100, "n_weights": 12, "n_train": 90, "train_s": 1.5}
    return {"state": "COMPLETE", **scores, "latency_ms_batch_64": 0.25, "total_s": 2.0, "unknown": "left out"}


def made(store: Store, loop: Loop, kind: str = "class", **changed: Any) -> Controls:
    study = {"replicates": 2, "n_trials": 3, "max_retry": 1} | changed.pop("study", {})
    config = {"dataset": {"name": "file"}, "controls": None, "study": study} | changed
    display = Display("val_accuracy", 1)
    return Controls(config, store, loop, display, Path("sweeps/mine"), Asked(kind, 3))  # type: ignore[arg-type]


def test_each_is_fitted_once_and_a_resumed_study_fits_the_rest() -> None:
    store, loop = Store(), Loop(complete)
    made(store, loop).run()
    assert loop.ran == ALL and made(store, loop).missing() == []
    made(store, loop).run()
    assert loop.ran == ALL
    del store.kept["control/minirocket/3"]
    made(store, loop).run()
    assert loop.ran[len(ALL) :] == [("minirocket", 3)]
    assert [(row["control"], row["seed"]) for row in controls.rows(store)] == ALL  # type: ignore[arg-type]
    assert all("unknown" not in row for row in store.kept.values())


def test_what_another_driver_fits_is_left_to_it() -> None:
    store, loop = Store(theirs=["control/linear/0"]), Loop(complete)
    made(store, loop).run()
    assert loop.ran == [one for one in ALL if one[0] != "linear"]


def test_a_dead_worker_is_tried_again_and_a_fault_is_kept_without_ending_the_sweep() -> None:
    store, loop = Store(), Loop(lambda running: {"state": "FAIL", "reason": "worker_died", "detail": "killed"})
    made(store, loop).run()
    assert loop.ran.count(("trivial", 0)) == 2 and store.kept["control/trivial/0"]["reason"] == "worker_died"
    store, loop = Store(), Loop(lambda running: {"state": "FAIL", "reason": "interrupted"})
    made(store, loop).run()
    assert store.kept == {} and len(loop.ran) == len(ALL)


@pytest.mark.parametrize(
    ("said", "dataset", "fitted"),
    [(None, "file", True), (None, "npz", True), (None, "mnist", False), (True, "mnist", True), (False, "file", False)],
)
def test_they_are_fitted_to_own_data_unless_it_is_said_otherwise(said: bool | None, dataset: str, fitted: bool) -> None:
    assert bool(made(Store(), Loop(complete), controls=said, dataset={"name": dataset}).missing()) is fitted


def test_the_test_set_is_read_when_the_confirmation_reads_it_or_there_is_nothing_else() -> None:
    for study, tests in (({}, True), ({"replicates": 0}, False), ({"replicates": 0, "n_trials": 0}, True)):
        loop = Loop(complete)
        made(Store(), loop, study=study).run()
        assert {task.tests for task in loop.tasks} == {tests}


def test_of_a_class_for_every_timestep_there_is_the_trivial_one_alone() -> None:
    assert made(Store(), Loop(complete), kind="tags").missing() == [("trivial", 0)]
    assert made(Store(), Loop(complete), kind="").missing() == []


def test_rows_in_words_and_as_metrics() -> None:
    store, loop = Store(), Loop(complete)
    made(store, loop).run()
    rows = controls.rows(store)  # type: ignore[arg-type]
    words = control_words(rows, CLASSIFICATION)
    assert words[0] == "most frequent class or mean: test accuracy 80.00 %, 12 weights, 1.5 s on one core"
    assert words[2].startswith("MiniRocket, ridge: test accuracy 82.00 % +- 1.96 (95 % interval, n = 5)")
    metrics = control_metrics(rows, CLASSIFICATION)
    assert metrics["control_minirocket_test_accuracy"] == pytest.approx(0.82)
    assert metrics["control_trivial_val_accuracy"] == pytest.approx(0.7)
    unread = [{**row, "test_accuracy": None} for row in rows]
    assert "validation accuracy 70.00 %" in control_words(unread, CLASSIFICATION)[0]


def test_a_study_of_the_same_command_takes_over_what_was_fitted_to_the_same_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    groups = {"dataset": {"name": "file", "path": "a.csv"}, "storage": {"url": None}, "tracking": {"uri": None}}
    first, loop = Store(), Loop(complete)
    made(first, loop, **groups).run()
    folder = tmp_path / "sweeps" / "first"
    config = {**groups, "study": {"name": "first", "replicates": 2, "n_trials": 3}}
    fileio.write_yaml(folder / "config.yaml", config)
    fileio.write_json(folder / "environment.json", {"dataset": {"sha256": "ab"}, "lstm_bench": lstm_bench.__version__})
    columns = (*record.CONTROL_COLUMNS, "latency_ms_batch_64")
    fileio.write_rows(folder / "controls.csv", columns, controls.rows(first))  # type: ignore[arg-type]
    for name in ("trivial", "linear", "minirocket"):
        (folder / "controls" / name).mkdir(parents=True)
        (folder / "controls" / name / "control.json").write_text(name)
    second, again = Store(), Loop(complete)
    mine = made(second, again, **groups)
    mine.take([config])
    mine.run()
    assert not again.ran and [(row["control"], row["seed"]) for row in controls.rows(second)] == ALL  # type: ignore[arg-type]
    kept = {
        name: second.kept["control/minirocket/2"][name] for name in ("val_accuracy", "n_weights", "state", "train_s")
    }
    assert kept == {"val_accuracy": 0.7, "n_weights": 12, "state": "COMPLETE", "train_s": 1.5}
    assert (tmp_path / "sweeps" / "mine" / "controls" / "linear" / "control.json").read_text() == "linear"
    for other in ({"dataset": {"name": "file", "path": "b.csv"}}, {"study": {"replicates": 0}}):
        third = made(Store(), again, **{**groups, **other})
        third.take([config])
        assert len(third.missing()) == len(ALL), "other splits, or a test set that is not read"
