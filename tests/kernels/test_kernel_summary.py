"""Rows of `cells.csv` from made-up runs and samples: what is computed, what is not, and that the order does not matter."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lstm_bench.core import fileio, formatting
from lstm_bench.kernels import case as cells
from lstm_bench.kernels import summary
from lstm_bench.kernels.summary import ratio_interval
from lstm_bench.study import columns as record

# Two units, three features, five timesteps: 48 weights, 400 operations forward.
CELL = {"layer": "lstm", "units": 2, "layers": 1, "timesteps": 5, "features": 3, "batch": 8, "dtype": "float32"}
STEPS = 10

Rows = list[dict[str, Any]]


def about(kernel: str = "generic", round_: int = 0, **changes: Any) -> dict[str, Any]:
    made = {**CELL, "backend": "jax", "operation": "inference", **changes}
    return {**made, "cell": cells.name(made), "kernel": kernel, "round": round_}


def run(kernel: str = "generic", round_: int = 0, **changes: Any) -> dict[str, Any]:
    """A row of `runs.csv`: two samples of ten steps, all well."""
    usual = {"state": "measured", "kernel_ran": kernel, "compile_s": 1.0, "first_call_s": 0.5, "error": 1e-6}
    usual |= {"tolerance": 1e-4, "steps": STEPS, "warm_up": 1, "n": 2, "peak_memory_mib": 100.0, "evidence": "while 1"}
    return dict.fromkeys(record.RUN_COLUMNS) | usual | about(kernel, round_, **changes)


def timed(seconds: Sequence[float], kernel: str = "generic", round_: int = 0, **changes: Any) -> Rows:
    """Rows of `samples.csv` of one run."""
    made = about(kernel, round_, **changes)
    return [
        {column: made.get(column) for column in record.SAMPLE_COLUMNS} | {"sample": i, "steps": STEPS, "seconds": each}
        for i, each in enumerate(seconds)
    ]


def rows(runs: Rows, samples: Rows, ceilings: Rows | None = None) -> Rows:
    made = summary.rows(runs, samples, ceilings or [], "a CPU", "exclusive")
    assert all(set(row) <= set(record.CELL_COLUMNS) for row in made)
    return made


def row_of(made: Rows, kernel: str = "generic", **about: Any) -> dict[str, Any]:
    (row,) = [row for row in made if row["kernel"] == kernel and all(row[key] == about[key] for key in about)]
    return row


def text(made: Rows) -> list[list[str]]:
    """Rows as `cells.csv` has them."""
    return [[formatting.format_field(row.get(column)) for column in record.CELL_COLUMNS] for row in made]


def two_arms(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> tuple[Rows, Rows]:
    """Runs and samples of `unrolled` and `generic`, the seconds of each round."""
    runs, samples = [], []
    for kernel, rounds in (("unrolled", first), ("generic", second)):
        for round_, seconds in enumerate(rounds):
            runs.append(run(kernel, round_, n=len(seconds)))
            samples += timed(seconds, kernel, round_)
    return runs, samples


# Medians of 80 / 0.08 = 1,000 and of 80 / 0.16 = 500 samples a second.
FAST = [[0.081, 0.083, 0.079], [0.077, 0.078, 0.082], [0.08, 0.085, 0.075]]
SLOW = [[0.161, 0.163, 0.157], [0.155, 0.158, 0.164], [0.16, 0.171, 0.15]]


def test_median_percentiles_and_milliseconds_by_hand() -> None:
    # 80 samples a window: 1600, 800 and 400 a second. The 10th percentile is 0.2 of the way from the first to the second.
    (row,) = rows([run(n=3)], timed([0.05, 0.1, 0.2]))
    assert row["samples_per_s"] == 800
    assert row["p10_samples_per_s"] == pytest.approx(480)
    assert row["p90_samples_per_s"] == pytest.approx(1440)
    assert row["step_ms"] == pytest.approx(10)
    assert (row["n"], row["rounds"], row["steps"]) == (3, 1, 30)
    assert (row["state"], row["kernel_ran"], row["evidence"]) == ("measured", "generic", "while 1")
    assert (row["device"], row["device_share"]) == ("a CPU", "exclusive")


def test_samples_of_all_rounds_count_alike() -> None:
    runs = [run(round_=0, n=1), run(round_=1, n=2, steps=20)]
    samples = [*timed([0.1]), *[{**sample, "steps": 20} for sample in timed([0.1, 0.1], round_=1)]]
    (row,) = rows(runs, samples)
    assert row["samples_per_s"] == 1600  # of 800, 1600, 1600: a round's steps are its own
    assert (row["n"], row["rounds"], row["steps"]) == (3, 2, 50)


def test_seconds_are_the_middle_round_s_memory_and_error_the_worst_round_s() -> None:
    numbers = [(1.0, 5.0, 1e-6, 300.0, 4.0), (9.0, 1.0, 3e-6, 100.0, 2.0), (2.0, 2.0, 2e-6, 200.0, 9.0)]
    names = ("compile_s", "first_call_s", "error", "peak_memory_mib", "energy_j_per_million")
    runs = [run(round_=i, **dict(zip(names, values, strict=True))) for i, values in enumerate(numbers)]
    (row,) = rows(runs, [])
    assert [row[name] for name in names] == [2.0, 2.0, 3e-6, 300.0, 4.0]


def test_what_no_round_measured_stays_empty() -> None:
    (row,) = rows([run(error=None, compile_s=None, first_call_s="", peak_memory_mib="")], [])
    names = ("error", "compile_s", "first_call_s", "peak_memory_mib", "energy_j_per_million", "samples_per_s", "n")
    assert [row.get(name) for name in names] == [None] * 7


def test_marks_of_all_rounds_are_said_once() -> None:
    marks = ["other load 20 %; power cap", None, "power cap; never steady"]
    (row,) = rows([run(round_=i, marks=mark) for i, mark in enumerate(marks)], [])
    assert row["marks"] == "other load 20 %; power cap; never steady"
    (row,) = rows([run(), run(round_=1, marks="")], [])
    assert row["marks"] == ""


def test_a_speedup_is_over_generic_of_the_same_backend_and_operation_with_its_interval() -> None:
    runs, samples = two_arms(FAST, SLOW)
    # Others that are no baseline: another backend's generic, another operation's, another cell's.
    for changes in ({"backend": "torch"}, {"operation": "train_step"}, {"units": 3}):
        runs.append(run(**changes))
        samples += timed([5.0, 5.0], **changes)
    made = rows(runs, samples)
    row = row_of(made, "unrolled")
    rates = [{i: [80 / s for s in seconds] for i, seconds in enumerate(rounds)} for rounds in (FAST, SLOW)]
    assert row["baseline"] == "generic"
    assert (row["speedup"], row["speedup_low"], row["speedup_high"]) == pytest.approx(ratio_interval(*rates))
    assert row["speedup"] == pytest.approx(1000 / 500)
    assert row["speedup_low"] < row["speedup"] < row["speedup_high"]
    assert all("speedup" not in row and "baseline" not in row for row in made if row["kernel"] == "generic")


def test_a_speedup_of_one_round_has_no_interval() -> None:
    row = row_of(rows(*two_arms(FAST[:1], SLOW[:1])), "unrolled")
    assert row["speedup"] == pytest.approx(0.161 / 0.081)
    assert (row["speedup_low"], row["speedup_high"]) == (None, None)


def test_a_round_that_failed_is_marked_beside_those_that_did_not() -> None:
    runs, samples = two_arms(FAST, SLOW)
    last = [each for each in runs if each["kernel"] == "unrolled"][-1]
    last |= {"state": "failed", "reason": "the process died (exit -9)"}
    samples = [each for each in samples if (each["kernel"], each["round"]) != ("unrolled", last["round"])]
    row = row_of(rows(runs, samples), "unrolled")
    assert (row["state"], row["rounds"]) == ("measured", len(FAST) - 1)
    assert row["marks"] == f"round {int(last['round']) + 1} failed" and row["speedup"] > 1


@pytest.mark.parametrize("state", ["other_kernel", "wrong", "compile_limit"])
@pytest.mark.parametrize("kernel", ["unrolled", "generic"])
def test_no_speedup_where_either_arm_is_not_what_it_should_be(kernel: str, state: str) -> None:
    runs, samples = two_arms(FAST, SLOW)
    next(each for each in runs if each["kernel"] == kernel)["state"] = state
    made = rows(runs, samples)
    assert all("speedup" not in row and "baseline" not in row for row in made)
    assert row_of(made, kernel)["state"] == state


def test_no_speedup_without_a_baseline() -> None:
    runs, samples = two_arms(FAST, [])
    (row,) = rows(runs, samples)
    assert row["samples_per_s"] == 1000
    assert "speedup" not in row and "baseline" not in row


@pytest.mark.parametrize("state", ["wrong", "compile_limit"])
def test_an_arm_that_is_not_right_in_one_round_shows_no_time(state: str) -> None:
    runs = [run(), run(round_=1, state=state, reason="it is", kernel_ran="x")]
    (row,) = rows(runs, [*timed([0.1, 0.1]), *timed([0.1, 0.1], round_=1)])
    assert (row["state"], row["reason"], row["kernel_ran"]) == (state, "it is", "x")
    assert not {"samples_per_s", "p10_samples_per_s", "step_ms", "flop_per_s"} & set(row)


def test_another_kernel_s_time_is_shown_with_the_reason() -> None:
    (row,) = rows([run(state="other_kernel", reason="asked for cudnn, generic ran")], timed([0.1, 0.1]))
    assert (row["state"], row["samples_per_s"]) == ("other_kernel", 800)
    assert row["reason"] == "asked for cudnn, generic ran"


WORST = ("wrong", "other_kernel", "compile_limit", "measured")


@pytest.mark.parametrize(("worse", "better"), list(itertools.combinations(WORST, 2)))
def test_the_worst_state_of_several_rounds_wins(worse: str, better: str) -> None:
    for states in itertools.permutations((worse, better, "measured")):
        runs = [run(round_=i, state=state, reason=f"{state} it is") for i, state in enumerate(states)]
        (row,) = rows(runs, [])
        assert (row["state"], row["reason"]) == (worse, f"{worse} it is")


@pytest.mark.parametrize("other", WORST)
@pytest.mark.parametrize("round_", [0, 1, 2])
def test_a_failed_round_makes_a_mark_and_leaves_the_state_to_the_others(other: str, round_: int) -> None:
    runs = [run(round_=i, state=other, reason=f"{other} it is") for i in range(3)]
    runs[round_] |= {"state": "failed", "reason": "died", "kernel_ran": None, "error": None, "marks": "power cap"}
    (row,) = rows(runs, [])
    assert (row["state"], row["reason"], row["kernel_ran"]) == (other, f"{other} it is", "generic")
    assert row["marks"] == f"power cap; round {round_ + 1} failed"


@pytest.mark.parametrize("worse", WORST[:-1])
def test_a_failed_round_hides_no_worse_one(worse: str) -> None:
    for states in itertools.permutations(("failed", worse, "measured")):
        runs = [run(round_=i, state=state, reason=f"{state} it is") for i, state in enumerate(states)]
        (row,) = rows(runs, [])
        assert (row["state"], row["reason"]) == (worse, f"{worse} it is")
        assert row["marks"] == f"round {states.index('failed') + 1} failed"


def test_an_arm_all_of_whose_rounds_failed_is_failed_without_a_time() -> None:
    runs = [run(round_=i, state="failed", reason=f"died of {i}", kernel_ran="x") for i in range(2)]
    (row,) = rows(runs, [*timed([0.1, 0.1]), *timed([0.1, 0.1], round_=1)])
    assert (row["state"], row["reason"], row["kernel_ran"], row["marks"]) == ("failed", "died of 0", "x", "")
    assert not {"samples_per_s", "p10_samples_per_s", "step_ms", "flop_per_s"} & set(row)


def test_samples_of_a_round_without_a_run_are_left_out() -> None:
    samples = [*timed([0.1, 0.1]), *timed([9.0], round_=1), *timed([9.0], kernel="xla"), *timed([9.0], backend="torch")]
    (row,) = rows([run()], samples)
    assert (row["samples_per_s"], row["n"], row["rounds"]) == (800, 2, 1)


def test_a_measured_run_whose_samples_are_lost_has_no_speedup() -> None:
    runs, samples = two_arms(FAST, SLOW)
    made = rows(runs, [sample for sample in samples if sample["kernel"] == "generic"])
    assert row_of(made, "unrolled").get("samples_per_s") is None


def test_an_infinite_error_is_the_largest() -> None:
    for error in (float("inf"), "inf"):
        (row,) = rows([run(), run(round_=1, state="wrong", error=error)], [])
        assert float(row["error"]) == float("inf")


def ceiling(backend: str, dtype: str, flop: float, byte: float) -> dict[str, Any]:
    return {"backend": backend, "dtype": dtype, "matmul_flop_per_s": flop, "copy_byte_per_s": byte, "n": 7}


# Forward: 2 * 4 * 2 * 5 * (3 + 2) operations. Bytes of a step of eight: 4 * (48 weights + 120 inputs + 80 outputs).
FLOP, BYTES = 400, 4 * (48 + 120 + 80) / 8


def test_a_roof_of_arithmetic_by_hand() -> None:
    ceilings = [ceiling("jax", "float32", 1e5, 1e6), ceiling("torch", "float32", 4e5, 1e5)]
    (row,) = rows([run()], timed([0.1, 0.1]), ceilings)
    assert (row["flop_per_sample"], row["bytes_per_sample"]) == (FLOP, BYTES)
    assert row["flop_per_s"] == 400 * 800
    assert row["roofline_flop_per_s"] == 4e5  # the best of the backends, below 400 / 124 * 1e6
    assert row["roofline_fraction"] == pytest.approx(0.8)


def test_a_roof_of_memory_by_hand() -> None:
    # The copy of any precision will do, it is of float32; the product of another will not.
    ceilings = [ceiling("jax", "float32", 1e9, 1e5), ceiling("jax", "bfloat16", 1e12, 2e5)]
    (row,) = rows([run()], timed([0.1, 0.1]), ceilings)
    assert row["roofline_flop_per_s"] == pytest.approx(400 / 124 * 2e5)
    assert row["roofline_fraction"] == pytest.approx(400 * 800 / (400 / 124 * 2e5))


def test_without_a_ceiling_of_its_precision_there_is_no_roof() -> None:
    for ceilings in ([], [ceiling("jax", "bfloat16", 1e12, 2e5)]):
        (row,) = rows([run()], timed([0.1, 0.1]), ceilings)
        assert row["flop_per_s"] == 400 * 800
        assert "roofline_flop_per_s" not in row and "roofline_fraction" not in row


def test_an_arm_without_a_time_has_a_roof_and_no_fraction_of_it() -> None:
    (row,) = rows([run(state="failed", reason="oom")], [], [ceiling("jax", "float32", 1e5, 1e6)])
    assert row["roofline_flop_per_s"] == 1e5
    assert "flop_per_s" not in row and "roofline_fraction" not in row


def everything() -> tuple[Rows, Rows, Rows]:
    """Two arms of two cells in all operations, with one failure and one mark, and ceilings."""
    runs: Rows = []
    samples: Rows = []
    for units, operation in itertools.product((2, 10), ("inference", "train_step", "forward_backward")):
        more = {"units": units, "operation": operation}
        for kernel, rounds in (("unrolled", FAST), ("generic", SLOW)):
            for round_, seconds in enumerate(rounds):
                runs.append(run(kernel, round_, n=len(seconds), marks="power cap" if round_ == 1 else None, **more))
                samples += timed(seconds, kernel, round_, **more)
    runs.append(run("xla", 0, state="failed", reason="oom", steps=None, n=None, error=None, peak_memory_mib=None))
    return runs, samples, [ceiling("jax", "float32", 1e5, 1e6), ceiling("jax", "bfloat16", 1e6, 1e6)]


def test_text_as_read_back_gives_what_numbers_give(tmp_path: Path) -> None:
    typed = everything()
    columns = (record.RUN_COLUMNS, record.SAMPLE_COLUMNS, record.CEILING_COLUMNS)
    read = []
    for i, (names, content) in enumerate(zip(columns, typed, strict=True)):
        fileio.write_rows(tmp_path / f"{i}.csv", names, content)
        read.append(fileio.read_rows(tmp_path / f"{i}.csv"))
    assert all(isinstance(value, str) for value in read[0][0].values())
    made = text(rows(*typed))
    assert len(made) == 13
    assert text(rows(*read)) == made


def test_rows_come_sorted_by_axes_operation_backend_and_kernel() -> None:
    made = rows(*everything())
    assert [(row["units"], row["operation"], row["kernel"]) for row in made] == [
        *((2, "inference", "generic"), (2, "inference", "unrolled"), (2, "inference", "xla")),
        *((2, "forward_backward", "generic"), (2, "forward_backward", "unrolled")),
        *((2, "train_step", "generic"), (2, "train_step", "unrolled")),
        *((10, "inference", "generic"), (10, "inference", "unrolled")),
        *((10, "forward_backward", "generic"), (10, "forward_backward", "unrolled")),
        *((10, "train_step", "generic"), (10, "train_step", "unrolled")),
    ]


def test_sizes_sort_as_numbers_when_they_are_text() -> None:
    made = rows([run(units=units) for units in ("10", "9", "100")], [])
    assert [row["units"] for row in made] == ["9", "10", "100"]


def test_the_order_of_the_rows_does_not_matter() -> None:
    made = text(rows(*everything()))
    parts = everything()
    for part in parts:
        random.Random(1).shuffle(part)
    assert text(rows(*parts)) == made


def test_the_order_of_the_rows_matters_to_no_row_but_its_interval() -> None:
    loose = ("speedup_low", "speedup_high")
    kept = [column for column in record.CELL_COLUMNS if column not in loose]
    parts = everything()
    for part in parts:
        random.Random(1).shuffle(part)
    pairs = list(zip(rows(*parts), rows(*everything()), strict=True))
    for shuffled, sorted_ in pairs:
        assert [shuffled.get(column) for column in kept] == [sorted_.get(column) for column in kept]


def test_an_arm_that_cannot_run_is_a_row_of_its_own() -> None:
    row = summary.unavailable(CELL, "jax", "cudnn", "train_step", "no GPU")
    assert tuple(sorted(row)) == tuple(sorted(record.CELL_COLUMNS))
    known = {column: value for column, value in row.items() if value is not None}
    assert known == {
        **{"cell": "lstm-1x2-t5-f3-b8-float32", **CELL, "backend": "jax", "kernel": "cudnn"},
        **{"operation": "train_step", "state": "unavailable", "reason": "no GPU"},
    }
    made = sorted([row, *rows(*everything())], key=summary.order)
    assert made.index(row) == 5  # after three of inference and two of forward_backward, before generic
