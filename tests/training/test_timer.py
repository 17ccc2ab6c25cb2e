"""The probe: a figure per kernel, from windows long enough to trust and steps that were counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from trainings import config, data

from lstm_bench.study import columns
from lstm_bench.training import tasks, timer


class Program:
    """A program on a clock of its own: a call lasts what `seconds` says of its number, from 0, and its steps.

    Args:
      seconds: Number of the call, steps -> seconds.
      counted: Steps asked for -> steps counted.
    """

    def __init__(self, seconds: Callable[[int, int], float], counted: Callable[[int], int] = int):
        self.seconds, self.counted = seconds, counted
        self.now = 0.0
        self.calls: list[int] = []
        self.operations: list[str] = []

    def compile(self, operation: str) -> None:
        self.operations.append(f"compile {operation}")
        self.now += 7.0

    def kernel_evidence(self, operation: str) -> tuple[str, str]:
        self.operations.append(f"proof {operation}")
        return "generic", "while 1"

    def run(self, operation: str, rows: np.ndarray) -> int:
        self.now += self.seconds(len(self.calls), len(rows))
        self.calls.append(len(rows))
        self.operations.append(operation)
        return self.counted(len(rows))


def sampled(monkeypatch: pytest.MonkeyPatch, program: Program, samples: int = 5, **more: Any) -> timer.Timing:
    monkeypatch.setattr(timer, "clock", lambda: program.now)
    timing = timer.sample(program, "inference", np.arange, samples=samples, **more)
    assert set(program.operations) == {"inference"}
    assert timing.all_steps == sum(program.calls)
    # After calibration every window has the same number of steps: the first, the warm-up, and last the timed ones.
    same = len(timing.seconds) + timing.warm_up + 1
    assert set(program.calls[-same:]) == {timing.steps}
    assert timing.steps == 1 or timing.steps not in program.calls[:-same]
    return timing


def test_calibration_finds_the_steps_of_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(lambda call, steps: 0.001 * steps)
    timing = sampled(monkeypatch, program)
    # The second step of 1 ms says that 50 last 50 ms: a fifth more, to be safe.
    assert program.calls == [1, 1, 60, 60, *[60] * 5]
    assert timing == timer.Timing(60, pytest.approx([0.06] * 5), 1, 2 + 60 * 7, True)


@pytest.mark.parametrize("faster", [1.2, 2, 3, 100])
@pytest.mark.parametrize("slow", [1, 2, 3])
def test_a_program_that_gets_faster_after_its_first_windows_is_calibrated_again(
    monkeypatch: pytest.MonkeyPatch, slow: int, faster: float
) -> None:
    # The third call is the first window of 30 steps.
    program = Program(lambda call, steps: 0.002 * steps / (1 if call < slow else faster))
    timing = sampled(monkeypatch, program)
    assert min(timing.seconds) >= timer.WINDOW_S * (1 - 1e-9)
    assert max(timing.seconds) <= 2.4 * timer.WINDOW_S
    assert timing.steady


def test_windows_far_too_short_are_not_warmed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # One step takes 1 ms or 2 ms in turn, and would never be steady.
    program = Program(lambda call, steps: 0.001 * steps * (1 + (call % 2 if steps == 1 else 0)))
    sampled(monkeypatch, program)
    assert program.calls[:7] == [1, 1, 30, 30, 60, 60, 60]


@pytest.mark.parametrize("window_s", [0.01, 0.05, 0.4])
@pytest.mark.parametrize("step_s", [1e-5, 3e-4, 0.02, 0.7])
@pytest.mark.parametrize("call_s", [0.0, 0.03])
def test_a_window_lasts_at_least_as_long_as_asked(
    monkeypatch: pytest.MonkeyPatch, window_s: float, step_s: float, call_s: float
) -> None:
    timing = sampled(monkeypatch, Program(lambda call, steps: call_s + step_s * steps), window_s=window_s)
    assert min(timing.seconds) >= window_s * (1 - 1e-9)
    # Not much longer either: the step before was too short, and steps grow twofold or to a fifth more than is needed.
    assert timing.steps == 1 or max(timing.seconds) <= 2.4 * window_s


def test_a_step_longer_than_a_window_is_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(lambda call, steps: 0.2 * steps)
    assert sampled(monkeypatch, program, samples=3).steps == 1
    assert set(program.calls) == {1}


@pytest.mark.parametrize("step_s", [0.0, 1e-12])
def test_steps_too_short_for_the_clock_are_bounded(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    assert sampled(monkeypatch, Program(lambda call, steps: step_s * steps)).steps == 2**16


def test_warm_up_ends_when_two_windows_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two calls calibrate; the fifth window after the first is the first that is like the one before.
    pace = [1, 1, 32, 16, 8, 4, 2, 1.9]
    timing = sampled(monkeypatch, Program(lambda call, steps: 0.001 * steps * pace[min(call, 7)]))
    assert (timing.steps, timing.warm_up, timing.steady) == (60, 5, True)
    assert timing.all_steps == 2 + 60 * (1 + 5 + 5)
    assert timing.seconds == pytest.approx([0.06 * 1.9] * 5)


@pytest.mark.parametrize(("steady", "warm_up"), [(0.05, 3), (0.2, 2), (0.6, 1)])
def test_how_well_they_agree_is_an_option(monkeypatch: pytest.MonkeyPatch, steady: float, warm_up: int) -> None:
    pace = [1, 1, 2, 1, 0.85]
    program = Program(lambda call, steps: 0.001 * steps * pace[min(call, 4)])
    assert sampled(monkeypatch, program, steady=steady).warm_up == warm_up


def test_a_warm_up_that_never_settles_is_ended_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = sampled(monkeypatch, Program(lambda call, steps: 0.001 * steps * (1 + call % 2)))
    assert (timing.warm_up, timing.steady) == (timer.LONGEST_WARM_UP, False)
    assert len(timing.seconds) == 5


def test_the_windows_of_the_warm_up_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = sampled(monkeypatch, Program(lambda call, steps: 0.001 * steps * (3 if call < 3 else 1)))
    assert max(timing.seconds) == pytest.approx(min(timing.seconds))


def test_what_a_first_call_does_once_does_not_shorten_the_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = sampled(monkeypatch, Program(lambda call, steps: 0.001 * steps + (0.3 if call == 0 else 0)))
    assert min(timing.seconds) >= timer.WINDOW_S


@pytest.mark.parametrize(
    ("samples", "seconds", "n"), [(5, 0.0, 5), (7, 0.1, 7), (5, 1.0, 17), (1, 0.119, 2), (1, 0.121, 3), (1, 0.0, 1)]
)
def test_samples_and_seconds_are_both_a_least(
    monkeypatch: pytest.MonkeyPatch, samples: int, seconds: float, n: int
) -> None:
    program = Program(lambda call, steps: 0.001 * steps)  # windows of 60 ms
    assert len(sampled(monkeypatch, program, samples=samples, seconds=seconds).seconds) == n


@pytest.mark.parametrize("wrong", [lambda steps: steps - 1, lambda steps: steps + 1, lambda steps: 0])
def test_steps_that_were_not_run_void_the_timing(monkeypatch: pytest.MonkeyPatch, wrong: Callable[[int], int]) -> None:
    with pytest.raises(RuntimeError, match=rf"^1 steps of inference were timed, the program counted {wrong(1)}$"):
        sampled(monkeypatch, Program(lambda call, steps: 0.001 * steps, wrong))


def test_a_miscount_in_a_timed_window_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(lambda call, steps: 0.001 * steps)
    program.counted = lambda steps: steps - (len(program.calls) == 6)
    with pytest.raises(RuntimeError, match=r"^60 steps of inference were timed, the program counted 59$"):
        sampled(monkeypatch, program)
    assert len(program.calls) == 6


def test_rates_are_samples_per_second_of_each_window() -> None:
    timing = timer.Timing(steps=10, seconds=[0.1, 0.2], warm_up=1, all_steps=41, steady=True)
    assert timing.rates(64).tolist() == [6400, 3200]


def test_quantiles_are_linear_between_neighbours() -> None:
    assert timer.quantiles([5, 1, 4, 2, 3]) == pytest.approx((1.4, 3, 4.6))
    assert timer.quantiles([7]) == (7, 7, 7)


def test_a_study_s_figures_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Steps of 1 ms, in windows of 60; every other window takes a twentieth longer, four of the seven.
    program = Program(lambda call, steps: 0.001 * steps * (1 + 0.05 * (call % 2)))
    monkeypatch.setattr(timer, "clock", lambda: program.now)
    row = timer.training_throughput(program, batch_size=32, n_samples=100, seconds=0.4)  # type: ignore[arg-type]
    assert program.operations[:3] == ["compile train_step", "train_step", "proof train_step"]
    assert set(program.operations[3:]) == {"train_step"}
    assert row == {
        "kernel_ran": "generic",
        "evidence": "while 1",
        "batch_size": 32,
        "compile_s": pytest.approx(7.001),  # with the first step
        "n": 7,
        "train_samples_per_s": pytest.approx(32_000 / 1.05),
        "p10_samples_per_s": pytest.approx(32_000 / 1.05),
        "p90_samples_per_s": pytest.approx(32_000),
        "step_ms": pytest.approx(1.05),
    }
    assert set(row) <= set(columns.KERNEL_COLUMNS)


def test_batches_are_drawn_from_all_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[np.ndarray] = []

    class Drawn(Program):
        def run(self, operation: str, rows: np.ndarray) -> int:
            drawn.append(rows)
            return super().run(operation, rows)

    program = Drawn(lambda call, steps: 0.001 * steps)
    monkeypatch.setattr(timer, "clock", lambda: program.now)
    timer.training_throughput(program, batch_size=8, n_samples=20, seconds=0.0)  # type: ignore[arg-type]
    assert {rows.shape[1] for rows in drawn} == {8}
    assert set(np.concatenate(drawn).ravel().tolist()) == set(range(20))


def probed(monkeypatch: pytest.MonkeyPatch, kernel: str) -> dict[str, Any]:
    """The row of a real kernel, as a study's worker makes it."""
    monkeypatch.setattr(tasks.datasets, "load", lambda settings: data())
    task = {"kind": "probe", "config": {**config(), "dataset": {}}, "kernel": kernel, "seconds": 0.3}
    task |= {"steps_per_execution": 50, "pack": 1}
    row = tasks.TaskRunner("a device", "exclusive").run(task, lambda metrics: None, lambda: False)
    assert row["state"] == "COMPLETE", row
    assert (row["device"], row["device_share"]) == ("a device", "exclusive")
    return row


def test_a_probe_times_whole_windows_and_proves_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    row = probed(monkeypatch, "unrolled")
    assert (row["kernel"], row["kernel_ran"], row["backend"]) == ("unrolled", "unrolled", "tensorflow")
    assert row["n"] >= 5
    assert row["p10_samples_per_s"] <= row["train_samples_per_s"] <= row["p90_samples_per_s"]
    assert row["step_ms"] == pytest.approx(1000 * row["batch_size"] / row["train_samples_per_s"])
    assert row["compile_s"] > 0
    assert "While 0" in row["evidence"]


def test_a_probe_s_worker_watches_what_else_its_cores_do(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[float] = []

    class Busy:
        def __init__(self, gpu: str | None, max_other_load: float):
            assert gpu is None and max_other_load <= 0.5

        def start(self) -> None:
            started.append(0)

        def stop(self) -> tuple[str, float | None]:
            return f"other load {80 * len(started)} %", None

    monkeypatch.setattr(tasks, "Watch", Busy)
    assert probed(monkeypatch, "generic")["disturbed_by"] == "other load 80 %"


def test_windows_last_at_least_fifty_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    row = probed(monkeypatch, "generic")
    # n windows in at least 0.3 s, each of at least about WINDOW_S: no more of them than fit.
    assert row["n"] <= 0.3 / (0.5 * timer.WINDOW_S) + 5
