"""The kernel benchmark's driver, with processes that only pretend: rounds, resume, limits, faults, what stays on disk."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lstm_bench.core import fileio
from lstm_bench.core.errors import ConfigError, DeviceError, StorageError
from lstm_bench.core.hardware import Gpu
from lstm_bench.kernels import benchmark
from lstm_bench.kernels.bench import BENCH
from lstm_bench.study import columns

CELL = {"layer": "lstm", "units": 3, "layers": 1, "timesteps": 2, "features": 2, "batch": 4, "dtype": "float32"}
OTHER = CELL | {"units": 5}
METHOD = {"rounds": 3, "samples": 2, "seed": 0, "compile_limit_s": 60, "tolerance": {"float32": 1e-4}}
ARMS = [("tensorflow", "generic"), ("tensorflow", "unrolled"), ("torch", "bare")]
OPERATIONS = ["inference", "train_step"]
GPU = Gpu("0", "NVIDIA Test", 80000, "1.0")

Behaviour = Callable[[Mapping[str, Any], Callable[[Mapping[str, Any]], None]], dict[str, Any]]


def measured(operation: str, rate: float = 100.0, **changes: Any) -> dict[str, Any]:
    run = {"state": "measured", "kernel_ran": "generic", "error": 1e-7, "tolerance": 1e-4, "steps": 10, "n": 2}
    run |= {"compile_s": 0.1, "first_call_s": 0.2, "marks": "", "evidence": "While 1", "warm_up": 1, **changes}
    return {"phase": "done", "operation": operation, "run": run, "seconds": [40 / rate, 40 / rate]}


def well(task: Mapping[str, Any], report: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    if task["kind"] == "ceiling":
        return {"state": "COMPLETE", "matmul_flop_per_s": 1e11, "copy_byte_per_s": 1e10, "n": 7}
    for operation in task["operations"]:
        report({"phase": "compile", "operation": operation})
        report({"phase": "time", "operation": operation})
        report(measured(operation, 300.0 if task["kernel"] == "unrolled" else 100.0))
    return {"state": "COMPLETE"}


class Pretender:
    """Stands in for `Process`; remembers every one that was started, and how many were alive at once."""

    behaviour: Behaviour = staticmethod(well)
    sees = "cpu"
    started: list[tuple[str, bool]] = []  # noqa: RUF012
    tasks: list[Mapping[str, Any]] = []  # noqa: RUF012
    alive = most = 0

    def __init__(self, slot: Any, backend: str, log_dir: Path, keras: bool, bench: str, tick: Any):
        assert bench == BENCH
        self.kind, self.seen = (backend, keras), type(self).sees
        Pretender.started.append(self.kind)
        Pretender.alive += 1
        Pretender.most = max(Pretender.most, Pretender.alive)

    def wait(self) -> bool:
        return True

    def run(self, task: Mapping[str, Any], report: Any, compile_limit_s: float) -> dict[str, Any]:
        Pretender.tasks.append(task)
        return type(self).behaviour(task, report)

    def end(self) -> None:
        Pretender.alive -= 1


@pytest.fixture(autouse=True)
def pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "Process", Pretender)
    for name, value in (("started", []), ("tasks", []), ("alive", 0), ("most", 0), ("sees", "cpu")):
        setattr(Pretender, name, value)
    Pretender.behaviour = staticmethod(well)


def make(folder: Path, **changes: Any) -> benchmark.Benchmark:
    said: list[str] = []
    values = {"plan": [CELL, OTHER], "arms": ARMS, "operations": OPERATIONS, "gpus": [], **changes}
    method = METHOD | values.pop("method", {})
    folder.mkdir(exist_ok=True)
    made = benchmark.Benchmark({"method": method}, folder, say=said.append, **values)
    made.said = said  # type: ignore[attr-defined]
    return made


def rows(folder: Path, file: str = "cells.csv") -> list[dict[str, str]]:
    with (folder / file).open() as opened:
        return list(csv.DictReader(opened))


def cell_tasks() -> list[Mapping[str, Any]]:
    return [task for task in Pretender.tasks if task["kind"] == "cell"]


def test_every_arm_runs_once_per_round_in_a_process_of_its_own(tmp_path: Path) -> None:
    made = make(tmp_path / "kernels-x")
    assert made.work_left() == 2 * 3 * 3
    made.run()
    tasks = cell_tasks()
    assert len(tasks) == 18 and len({(t["cell"]["units"], t["kernel"], t["round"]) for t in tasks}) == 18
    assert len(Pretender.started) == 18 + 2  # and one per backend for the ceilings
    assert Pretender.alive == 0
    assert [t["round"] for t in tasks] == [0] * 6 + [1] * 6 + [2] * 6
    found = rows(tmp_path / "kernels-x")
    assert len(found) == 2 * 3 * 2 and {row["state"] for row in found} == {"measured"}
    assert {(row["n"], row["rounds"], row["steps"]) for row in found} == {("6", "3", "60")}
    by_kernel = {row["kernel"]: row for row in found if row["operation"] == "train_step"}
    assert float(by_kernel["unrolled"]["speedup"]) == pytest.approx(3.0)
    assert (by_kernel["generic"]["speedup"], by_kernel["bare"]["speedup"]) == ("", "")
    assert len(rows(tmp_path / "kernels-x", "samples.csv")) == 18 * 2 * 2
    assert not (tmp_path / "kernels-x" / "reference").exists()


def test_the_order_within_a_round_is_shuffled_by_the_seed(tmp_path: Path) -> None:
    orders = []
    for i, seed in enumerate((0, 0, 1)):
        Pretender.tasks = []
        make(tmp_path / f"kernels-{i}", method={"seed": seed, "rounds": 4}).run()
        orders.append([(t["cell"]["units"], t["kernel"]) for t in cell_tasks()])
    assert orders[0] == orders[1] != orders[2]
    per_round = [orders[0][i : i + 3] for i in range(0, len(orders[0]), 6)]
    assert len({tuple(order) for order in per_round}) > 1


def test_yardsticks_start_without_keras_and_two_processes_at_most_wait(tmp_path: Path) -> None:
    make(tmp_path / "kernels-x").run()
    assert ("torch", False) in Pretender.started and ("tensorflow", True) in Pretender.started
    assert ("torch", True) not in Pretender.started
    assert Pretender.most <= 2


def test_the_same_command_measures_only_what_is_missing(tmp_path: Path) -> None:
    make(tmp_path / "kernels-x", plan=[CELL], method={"rounds": 2}).run()
    before = rows(tmp_path / "kernels-x", "runs.csv")
    Pretender.tasks = []
    again = make(tmp_path / "kernels-x")
    assert again.work_left() == 3 * 1 + 3 * 3
    again.run()
    assert len(cell_tasks()) == 12 and "ceiling" not in {t["kind"] for t in Pretender.tasks}
    after = rows(tmp_path / "kernels-x", "runs.csv")
    assert all(row in after for row in before) and len(after) == 2 * 3 * 2 * 3
    assert make(tmp_path / "kernels-x").work_left() == 0


def test_an_interrupt_keeps_what_was_measured_and_ends_every_process(tmp_path: Path) -> None:
    def interrupted(task: Mapping[str, Any], report: Any) -> dict[str, Any]:
        if len(cell_tasks()) == 5:
            report(measured(task["operations"][0]))
            raise KeyboardInterrupt
        return well(task, report)

    Pretender.behaviour = staticmethod(interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "kernels-x").run()
    assert Pretender.alive == 0
    assert len(rows(tmp_path / "kernels-x", "runs.csv")) == 4 * 2 + 1
    assert rows(tmp_path / "kernels-x")  # what there is, is shown
    Pretender.behaviour, Pretender.tasks = staticmethod(well), []
    make(tmp_path / "kernels-x").run()
    assert [t["operations"] for t in cell_tasks()].count(["train_step"]) == 1  # the half that was left
    assert len(rows(tmp_path / "kernels-x", "runs.csv")) == 18 * 2


def test_samples_of_a_run_that_was_never_written_down_do_not_count(tmp_path: Path) -> None:
    folder = tmp_path / "kernels-x"
    make(folder, plan=[CELL], method={"rounds": 1}).run()
    runs = rows(folder, "runs.csv")
    fileio.write_rows(folder / "runs.csv", columns.RUN_COLUMNS, runs[1:])  # killed between the two
    make(folder, plan=[CELL], method={"rounds": 1}).run()
    assert len(rows(folder, "samples.csv")) == 3 * 2 * 2
    assert {row["n"] for row in rows(folder)} == {"2"}


def test_a_compile_that_is_too_long_is_a_result_and_is_not_tried_again(tmp_path: Path) -> None:
    def slow(task: Mapping[str, Any], report: Any) -> dict[str, Any]:
        if task.get("kernel") == "unrolled":
            report(measured("inference"))
            return {"state": "FAIL", "reason": "compile_limit", "detail": "compile exceeded 60 s"}
        return well(task, report)

    Pretender.behaviour = staticmethod(slow)
    make(tmp_path / "kernels-x", plan=[CELL], operations=["inference", "forward_backward", "train_step"]).run()
    assert sum(t["kernel"] == "unrolled" for t in cell_tasks()) == 3  # inference still has its three rounds
    assert [t["operations"] for t in cell_tasks() if t["kernel"] == "unrolled"][1:] == [["inference"], ["inference"]]
    found = {row["operation"]: row for row in rows(tmp_path / "kernels-x") if row["kernel"] == "unrolled"}
    assert (found["inference"]["state"], found["inference"]["rounds"]) == ("measured", "3")
    assert (found["forward_backward"]["state"], found["forward_backward"]["samples_per_s"]) == ("compile_limit", "")
    assert found["forward_backward"]["reason"] == "compile exceeded 60 s"
    assert found["train_step"]["reason"].startswith("not tried: forward_backward before it")


def test_a_process_that_dies_fails_its_arm_alone(tmp_path: Path) -> None:
    def dies(task: Mapping[str, Any], report: Any) -> dict[str, Any]:
        if task.get("kernel") == "bare":
            return {"state": "FAIL", "reason": "died", "detail": "the process died (exit -11)"}
        return well(task, report)

    Pretender.behaviour = staticmethod(dies)
    made = make(tmp_path / "kernels-x", plan=[CELL])
    made.run()
    states = {(row["kernel"], row["state"]) for row in rows(tmp_path / "kernels-x")}
    assert states == {("generic", "measured"), ("unrolled", "measured"), ("bare", "failed")}
    assert sum(t["kernel"] == "bare" for t in cell_tasks()) == 1
    assert any("failed (the process died (exit -11))" in line for line in made.said)  # type: ignore[attr-defined]


def test_a_failure_is_tried_again_by_the_next_session_and_its_rows_are_gone(tmp_path: Path) -> None:
    def dies(task: Mapping[str, Any], report: Any) -> dict[str, Any]:
        if task.get("kernel") == "bare" and task["round"] == 1:
            report(measured(task["operations"][0]))
            return {"state": "FAIL", "reason": "died", "detail": "the process died (exit -11)"}
        return well(task, report)

    folder = tmp_path / "kernels-x"
    Pretender.behaviour = staticmethod(dies)
    make(folder, plan=[CELL]).run()
    bare = [run for run in rows(folder, "runs.csv") if run["kernel"] == "bare"]
    assert [(run["operation"], run["round"], run["state"]) for run in bare] == [
        *(("inference", "0", "measured"), ("inference", "1", "measured"), ("inference", "2", "measured")),
        *(("train_step", "0", "measured"), ("train_step", "1", "failed")),  # the third round would have said the same
    ]
    before = [run for run in rows(folder, "runs.csv") if run["state"] != "failed"]
    Pretender.behaviour, Pretender.tasks = staticmethod(well), []
    again = make(folder, plan=[CELL])
    assert again.work_left() == 2
    again.run()
    assert [(t["kernel"], t["round"], t["operations"]) for t in cell_tasks()] == [
        *(("bare", 1, ["train_step"]), ("bare", 2, ["train_step"]))
    ]
    after = rows(folder, "runs.csv")
    assert {run["state"] for run in after} == {"measured"} and len(after) == 3 * 3 * 2
    assert all(run in after for run in before)
    assert {(row["state"], row["marks"], row["n"]) for row in rows(folder)} == {("measured", "", "6")}


def test_a_failure_that_comes_again_is_one_row(tmp_path: Path) -> None:
    def dies(task: Mapping[str, Any], report: Any) -> dict[str, Any]:
        if task.get("kernel") == "bare":
            return {"state": "FAIL", "reason": "died", "detail": "the process died (exit -11)"}
        return well(task, report)

    folder = tmp_path / "kernels-x"
    Pretender.behaviour = staticmethod(dies)
    for _ in range(2):
        Pretender.tasks = []
        make(folder, plan=[CELL]).run()
        assert sum(t["kernel"] == "bare" for t in cell_tasks()) == 1
        failed = [run for run in rows(folder, "runs.csv") if run["kernel"] == "bare"]
        assert [(run["operation"], run["round"], run["state"]) for run in failed] == [
            *(("inference", "0", "failed"), ("train_step", "0", "failed"))
        ]


def test_a_reference_that_cannot_be_written_is_a_storage_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(cell: Mapping[str, Any], seed: int, path: Path, *_: Any) -> None:
        raise OSError(28, "No space left on device")

    folder = tmp_path / "kernels-x"
    make(folder, plan=[CELL], method={"rounds": 1}).run()
    before = rows(folder, "runs.csv")
    monkeypatch.setattr(benchmark.reference, "write", full)
    with pytest.raises(
        StorageError, match=r"reference/.*\.npz: cannot be written \(No space left on device\)"
    ) as caught:
        make(folder, plan=[CELL], method={"rounds": 2}).run()
    assert caught.value.exit_code == 4 and "\n" not in str(caught.value)
    assert rows(folder, "runs.csv") == before and Pretender.alive == 0
    assert not (folder / "reference").exists()


def test_a_wrong_arm_has_no_time_and_no_ratio(tmp_path: Path) -> None:
    def wrong(task: Mapping[str, Any], report: Any) -> dict[str, Any]:
        if task.get("kernel") != "unrolled":
            return well(task, report)
        for operation in task["operations"]:
            done = measured(operation, state="wrong", reason="wrong against the float64 reference", error=0.5)
            report(done | {"seconds": []})
        return {"state": "COMPLETE"}

    Pretender.behaviour = staticmethod(wrong)
    make(tmp_path / "kernels-x", plan=[CELL]).run()
    for row in rows(tmp_path / "kernels-x"):
        if row["kernel"] == "unrolled":
            assert (row["state"], row["error"]) == ("wrong", "0.5")
            assert (row["samples_per_s"], row["speedup"]) == ("", "")


def test_cudnn_is_unavailable_without_a_gpu_and_never_a_number(tmp_path: Path) -> None:
    make(tmp_path / "kernels-x", plan=[CELL], arms=[*ARMS, ("tensorflow", "cudnn")]).run()
    found = [row for row in rows(tmp_path / "kernels-x") if row["kernel"] == "cudnn"]
    assert [(row["state"], row["reason"], row["samples_per_s"]) for row in found] == [("unavailable", "no GPU", "")] * 2
    assert "cudnn" not in {t["kernel"] for t in cell_tasks()}


def test_a_backend_that_does_not_see_the_gpu_is_left_out_and_all_of_them_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark.hardware, "gpus", lambda: [GPU])
    made = make(tmp_path / "kernels-x", plan=[CELL], gpus=[GPU])
    with pytest.raises(ConfigError, match="NVIDIA Test is there, but tensorflow and torch cannot use it"):
        made.run()
    assert cell_tasks() == []
    assert {row["reason"] for row in rows(tmp_path / "kernels-x") if row["backend"] == "torch"} == {
        "torch does not see the GPU"
    }


@pytest.mark.parametrize("processes", [1, 2])
def test_a_backend_blind_from_the_start_leaves_rows_that_say_so_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    class Torch(Pretender):
        """On which PyTorch sees no GPU; the first of two processes gets as far as its ceiling, and dies of it."""

        def __init__(self, slot: Any, backend: str, log_dir: Path, keras: bool, bench: str, tick: Any):
            super().__init__(slot, backend, log_dir, keras, bench, tick)
            blind = Pretender.started.count((backend, keras)) == processes
            self.seen = "cpu" if backend == "torch" and blind else "gpu"

    def dies(task: Mapping[str, Any], report: Any) -> dict[str, Any]:
        if task["backend"] == "torch":
            return {"state": "FAIL", "reason": "died", "detail": "the process died (exit -11)"}
        return well(task, report)

    Pretender.behaviour = staticmethod(dies)
    monkeypatch.setattr(benchmark, "Process", Torch)
    monkeypatch.setattr(benchmark.hardware, "gpus", lambda: [GPU])
    folder = tmp_path / "kernels-x"
    make(folder, plan=[CELL], gpus=[GPU]).run()
    assert {t["backend"] for t in cell_tasks()} == {"tensorflow"}
    assert Pretender.started.count(("torch", False)) == processes and Pretender.alive == 0
    for file in ("runs.csv", "samples.csv", "ceilings.csv"):
        assert {row["backend"] for row in rows(folder, file)} == {"tensorflow"}
    found = {(row["backend"], row["state"], row["reason"]) for row in rows(folder)}
    assert found == {("tensorflow", "measured", ""), ("torch", "unavailable", "torch does not see the GPU")}


@pytest.mark.parametrize("seen", ["ceilings.csv", "runs.csv"])
def test_a_backend_that_sees_the_gpu_no_more_ends_the_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: str
) -> None:
    monkeypatch.setattr(benchmark.hardware, "gpus", lambda: [GPU])
    folder = tmp_path / "kernels-x"
    Pretender.sees = "gpu"
    make(folder, plan=[CELL], gpus=[GPU], method={"rounds": 1}).run()
    kept = {"ceilings.csv": rows(folder, "ceilings.csv"), "runs.csv": rows(folder, "runs.csv")}
    for file in {*kept} - {seen}:
        (folder / file).unlink()
        kept[file] = []
    Pretender.sees, Pretender.tasks = "cpu", []
    with pytest.raises(
        DeviceError, match=r"^NVIDIA Test has gone: (tensorflow|torch) does not see it any more"
    ) as caught:
        make(folder, plan=[CELL], gpus=[GPU]).run()
    assert caught.value.exit_code == 5
    assert Pretender.tasks == [] and Pretender.alive == 0
    for file, before in kept.items():
        assert not (folder / file).exists() or rows(folder, file) == before
    assert {row["state"] for row in rows(folder)} <= {"measured"}


def test_on_a_gpu_no_process_waits_beside_the_one_that_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark.hardware, "gpus", lambda: [GPU])
    Pretender.sees = "gpu"
    make(tmp_path / "kernels-x", plan=[CELL], gpus=[GPU]).run()
    assert Pretender.most == 1
    assert {row["device"] for row in rows(tmp_path / "kernels-x")} == {"NVIDIA Test"}


def test_a_device_that_vanishes_ends_the_benchmark_and_keeps_its_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(task: Mapping[str, Any], report: Any) -> dict[str, Any]:
        if len(cell_tasks()) < 4:
            return well(task, report)
        monkeypatch.setattr(benchmark.hardware, "gpus", lambda: [])
        return {"state": "FAIL", "reason": "died", "detail": "the process died (exit -6)"}

    monkeypatch.setattr(benchmark.hardware, "gpus", lambda: [GPU])
    Pretender.sees, Pretender.behaviour = "gpu", staticmethod(lost)
    with pytest.raises(DeviceError) as caught:
        make(tmp_path / "kernels-x", gpus=[GPU]).run()
    assert caught.value.exit_code == 5
    assert str(caught.value).startswith("NVIDIA Test has gone (the process died (exit -6))")
    assert len(rows(tmp_path / "kernels-x", "runs.csv")) == 3 * 2
