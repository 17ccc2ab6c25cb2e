"""`lstm_bench.sweep.kernel_choice`: which kernel a study runs, decided by measurement and kept."""

from __future__ import annotations

import fake
import pytest

from lstm_bench.core.errors import KernelError
from lstm_bench.sweep.kernel_cache import Memory

ARMS = {"cudnn": "no GPU", "generic": None, "xla": None, "unrolled": None, "unrolled_xla": None}
AUTO = {"kernel.name": "auto", "train.epochs": 2}
UNITS = {"study.space": {"model.units": fake.SPACE["model.units"]}}


def speeds(table, **failing):
    """A script of probes: `(kernel, units)` or `kernel` -> (samples per second, seconds of compiling)."""

    def script(task):
        name = task["kernel"]
        if name in failing:
            yield failing[name]
            return
        rate, compile_s = table.get((name, task["config"]["model"]["units"])) or table[name]
        yield fake.complete(task, train_samples_per_s=rate, compile_s=compile_s, evidence="While 1", n=5)

    return script


def test_a_named_kernel_is_not_measured(tmp_path):
    config = fake.config({"kernel.name": "xla"})
    with fake.opened(tmp_path, config, unavailable=ARMS) as bench:
        assert bench.kernels.decide() == "xla"
        assert bench.kernels.of(config, {}) == ("xla", 50)
        assert bench.launcher.submitted == []
        assert bench.study.get("kernels") is None


def test_auto_takes_the_arm_that_finishes_a_trial_first_compiling_included(tmp_path):
    # 2 epochs of 1,000 samples: generic 2 + 0.1, xla 0.5 + 3, unrolled 0.4 + 1.6 seconds.
    table = {"generic": (1000.0, 0.1), "xla": (4000.0, 3.0), "unrolled": (5000.0, 1.6)}
    with fake.opened(tmp_path, fake.config({**AUTO, **UNITS}), speeds(table), unavailable=ARMS) as bench:
        assert bench.kernels.decide() == "unrolled"
        tried = [(task["kernel"], task["config"]["model"]["units"]) for task in bench.launcher.submitted]
        assert sorted(tried) == sorted((name, units) for name in table for units in (8, 64))
        assert {task["kind"] for task in bench.launcher.submitted} == {"probe"}
        stored = bench.study.get("kernels")
        assert [decision["corner"] for decision in stored] == [{"model.units": 8}, {"model.units": 64}]
        assert stored[0]["measured"]["xla"] == {"train_samples_per_s": 4000.0, "compile_s": 3.0}


def test_more_epochs_pay_for_more_compiling(tmp_path):
    table = {"generic": (1000.0, 0.1), "xla": (4000.0, 3.0), "unrolled": (5000.0, 9.0)}
    for epochs, kernel in ((1, "generic"), (5, "xla"), (500, "unrolled")):
        config = fake.config({**AUTO, **UNITS, "train.epochs": epochs})
        with fake.opened(tmp_path / str(epochs), config, speeds(table), unavailable=ARMS) as bench:
            assert bench.kernels.decide() == f"{kernel}"


def test_each_shape_takes_the_arm_of_the_nearest_end(tmp_path):
    table = {
        ("generic", 8): (9000.0, 0.0),
        ("generic", 64): (1000.0, 0.0),
        "xla": (3000.0, 0.0),
        "unrolled": (2000.0, 0.0),
    }
    config = fake.config({**AUTO, **UNITS})
    with fake.opened(tmp_path, config, speeds(table), unavailable=ARMS) as bench:
        assert bench.kernels.decide() == "generic near units=8, xla near units=64"
        assert [bench.kernels.of(config, {"model.units": units}).kernel for units in (8, 22, 24, 64)] == [
            "generic",
            "generic",
            "xla",
            "xla",
        ]


def test_a_decision_is_kept_with_the_study(tmp_path):
    table = {"generic": (1000.0, 0.0), "xla": (3000.0, 0.0), "unrolled": (2000.0, 0.0)}
    config = fake.config({**AUTO, **UNITS})
    with fake.opened(tmp_path, config, speeds(table), unavailable=ARMS) as bench:
        assert bench.kernels.decide() == "xla"
    with fake.opened(tmp_path, config, speeds({}), unavailable=ARMS) as bench:
        assert bench.kernels.decide() == "xla"
        assert bench.launcher.submitted == []
        assert bench.kernels.of(config, {"model.units": 30}) == ("xla", 50)


def test_an_only_candidate_is_not_measured(tmp_path):
    with fake.opened(tmp_path, fake.config(AUTO), unavailable={"cudnn": "no GPU", "generic": None}) as bench:
        assert bench.kernels.decide() == "generic"
        assert bench.launcher.submitted == []


@pytest.mark.parametrize(("max_unroll", "candidates"), [(8, ["generic", "xla", "unrolled"]), (7, ["generic", "xla"])])
def test_long_sequences_are_not_unrolled(tmp_path, max_unroll, candidates):
    config = fake.config({**AUTO, "kernel.max_unroll": max_unroll})
    with fake.opened(tmp_path, config, unavailable=ARMS) as bench:
        assert bench.kernels.candidates == candidates


def test_arms_that_fail_or_run_as_another_do_not_win(tmp_path):
    table = {"generic": (10.0, 0.0), "unrolled": (9000.0, 0.0)}

    def script(task):
        if task["kernel"] == "xla":
            yield fake.Died()
        elif task["kernel"] == "unrolled":
            yield fake.complete(
                task, train_samples_per_s=9000.0, compile_s=0.0, kernel="unrolled", kernel_ran="generic"
            )
        else:
            yield from speeds(table)(task)

    with fake.opened(tmp_path, fake.config({**AUTO, **UNITS}), script, unavailable=ARMS) as bench:
        assert bench.kernels.decide() == "generic"


def test_no_arm_at_all_is_a_fault(tmp_path):
    script = speeds({}, generic=fake.failed("oom"), xla=fake.failed("oom"), unrolled=fake.failed("oom"))
    with (
        fake.opened(tmp_path, fake.config({**AUTO, **UNITS}), script, unavailable=ARMS) as bench,
        pytest.raises(KernelError) as caught,
    ):
        bench.kernels.decide()
    assert str(caught.value) == "kernel=auto: none of the kernels ran. See the workers' logs; or name a kernel."


def test_sizes_of_a_user_s_family_may_be_negative(tmp_path):
    config = fake.config(AUTO)
    with fake.opened(tmp_path, config, unavailable=ARMS) as bench:
        bench.study.set(
            "kernels",
            [
                {"corner": {"model.units": -50}, "kernel": "xla", "measured": {}},
                {"corner": {"model.units": 5}, "kernel": "generic", "measured": {}},
            ],
        )
        bench.kernels.decide()
        assert [bench.kernels.of(config, {"model.units": units}).kernel for units in (-60, -1, 9)] == [
            "xla",
            "generic",
            "generic",
        ]


def test_the_winner_s_probe_has_a_row_for_every_arm_or_its_reason(tmp_path):
    table = {"generic": (1000.0, 0.1), "unrolled": (3000.0, 1.0)}
    script = speeds(table, xla=fake.failed("exception", "XlaError: no"))
    with fake.opened(tmp_path, fake.config(UNITS), script, workers=2, unavailable=ARMS) as bench:
        rows = {row["kernel"]: row for row in bench.kernels.probe({"model.units": 40}, "d1")}
        assert list(rows) == ["cudnn", "generic", "xla", "unrolled", "unrolled_xla"]
        assert {name: row["reason"] for name, row in rows.items()} == {
            "cudnn": "no GPU",
            "generic": None,
            "xla": "exception: XlaError: no",
            "unrolled": None,
            "unrolled_xla": "not measured: compiles for too long",
        }
        assert (rows["generic"]["train_samples_per_s"], rows["generic"]["compile_s"]) == (1000.0, 0.1)
        assert rows["unrolled"]["kernel_ran"] == "unrolled"
        assert "train_samples_per_s" not in rows["cudnn"]
        assert bench.launcher.most == 1  # the other worker is idle meanwhile
        assert {task["config"]["model"]["units"] for task in bench.launcher.submitted} == {40}
        assert {task["seconds"] for task in bench.launcher.submitted} == {0.3}


def test_on_jax_the_steps_of_a_call_are_measured_too(tmp_path):
    config = fake.config({**UNITS, "backend.name": "jax", "kernel.name": "generic", "train.epochs": 2})
    rates = {50: 2000.0, 1: 3000.0}

    def script(task):
        yield fake.complete(task, train_samples_per_s=rates[task["steps_per_execution"]], compile_s=0.0)

    reasons = {"cudnn": "no GPU", "generic": None, "unrolled": None}
    with fake.opened(tmp_path, config, script, unavailable=reasons) as bench:
        assert bench.kernels.decide() == "generic x1"
        assert {task["kernel"] for task in bench.launcher.submitted} == {"generic"}, "a named kernel stays the only one"
        assert bench.kernels.of(config, {"model.units": 30}).task() == {"kernel": "generic", "steps_per_execution": 1}
        submitted = len(bench.launcher.submitted)
        bench.kernels.probe({"model.units": 30}, "d1")
        tried = [(task["kernel"], task["steps_per_execution"]) for task in bench.launcher.submitted[submitted:]]
        assert tried == [("generic", 1), ("unrolled", 1)]


def test_programs_that_come_again_are_compiled_once_per_worker(tmp_path):
    # 2 epochs of 1,000 samples: generic 2 s, xla 0.5 s and 3 s of compiling, which 20 trials of one shape share.
    table = {"generic": (1000.0, 0.0), "xla": (4000.0, 3.0), "unrolled": (1000.0, 9.0)}
    rate = {"train.learning_rate": {"type": "float", "low": 1e-3, "high": 1e-2, "log": True}}
    dropout = {"model.units": fake.SPACE["model.units"]}
    for name, space, expected in (("rate", rate, "xla"), ("units", rate | dropout, "generic")):
        config = fake.config({**AUTO, "study.space": space, "study.n_trials": 20})
        with fake.opened(tmp_path / name, config, speeds(table), unavailable=ARMS) as bench:
            assert bench.kernels.decide() == expected


def test_what_another_study_measured_is_not_measured_again(tmp_path):
    table = {"generic": (1000.0, 0.0), "xla": (3000.0, 0.0), "unrolled": (2000.0, 0.0)}
    known, config = Memory(tmp_path / "cache" / "kernels.json"), fake.config({**AUTO, **UNITS})
    given = {"unavailable": ARMS, "memory": known, "about": {"device": "a CPU"}}
    with fake.opened(tmp_path / "a", config, speeds(table), **given) as bench:
        assert bench.kernels.decide() == "xla"
        assert len(bench.launcher.submitted) == 6
    with fake.opened(tmp_path / "b", config, speeds({}), **given) as bench:
        assert bench.kernels.decide() == "xla"
        assert bench.launcher.submitted == []
    slower = {**table, "xla": (1.0, 0.0)}
    with fake.opened(tmp_path / "c", config, speeds(slower), **{**given, "about": {"device": "another"}}) as bench:
        assert bench.kernels.decide() == "unrolled"
    wide = fake.config({**AUTO, "study.space": {"model.units": {**fake.SPACE["model.units"], "high": 600}}})
    with fake.opened(tmp_path / "d", wide, speeds(table), **given) as bench:
        bench.kernels.decide()
        assert {task["config"]["model"]["units"] for task in bench.launcher.submitted} == {600}, "only the new end"


def test_what_was_measured_beside_other_load_is_not_remembered(tmp_path):
    table = {"generic": (1000.0, 0.0), "xla": (3000.0, 0.0), "unrolled": (2000.0, 0.0)}

    def script(task):
        (end,) = speeds(table)(task)
        yield end | {"disturbed_by": "other load 80 %" if task["kernel"] == "xla" else ""}

    known, config = Memory(tmp_path / "cache" / "kernels.json"), fake.config({**AUTO, **UNITS})
    given = {"unavailable": ARMS, "memory": known, "about": {"device": "a CPU"}}
    with fake.opened(tmp_path / "a", config, script, **given) as bench:
        assert bench.kernels.decide() == "xla", "this study has no better answer"
    with fake.opened(tmp_path / "b", config, speeds({**table, "xla": (500.0, 0.0)}), **given) as bench:
        assert bench.kernels.decide() == "unrolled"
        assert {task["kernel"] for task in bench.launcher.submitted} == {"xla"}, "the others are remembered"


def test_a_probe_is_kept_with_its_winner(tmp_path):
    table = {"generic": (1000.0, 0.1), "xla": (1.0, 1.0), "unrolled": (1.0, 1.0)}
    with fake.opened(tmp_path, fake.config(UNITS), speeds(table), unavailable=ARMS) as bench:
        first = bench.kernels.probe({"model.units": 40}, "d1")
        assert bench.kernels.probe({"model.units": 40}, "d1") == first
        assert len(bench.launcher.submitted) == 3
        bench.kernels.probe({"model.units": 41}, "d2")
        assert len(bench.launcher.submitted) == 6


def test_a_probe_s_worker_has_idle_neighbours(tmp_path):
    def script(task):
        yield fake.complete(task, device_share="1 core of 2, other busy")

    with fake.opened(tmp_path, fake.config(UNITS), script, unavailable={"generic": None}) as bench:
        (row,) = bench.kernels.probe({}, "d1")
        assert row["device_share"] == "1 core of 2, other idle"


def test_a_probe_beside_other_load_says_so(tmp_path):
    def script(task):
        yield fake.complete(task, device_share="1 core of 2, other busy", disturbed_by="other load 80 %")

    with fake.opened(tmp_path, fake.config(UNITS), script, unavailable={"generic": None}) as bench:
        (row,) = bench.kernels.probe({}, "d1")
        assert row["device_share"] == "1 core of 2, other idle; other load 80 %"
