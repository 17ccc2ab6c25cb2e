"""`lstm_bench.sweep.packing`: which trials are asked for together, and which of those share a program."""

from __future__ import annotations

import fake
import pytest

from lstm_bench.core.errors import StorageError
from lstm_bench.sweep.packing import PackBuilder
from lstm_bench.sweep.store.trials import Asked


def cohorts(shapes: str, size: int = 3, whole: bool = False) -> tuple[PackBuilder, list[Asked]]:
    """PackBuilder of trials whose shapes are the letters, and the trials that are left to be asked for; "s" is never packed."""
    left = [Asked(number, {"shape": shape}, number, None) for number, shape in enumerate(shapes)]
    ask = lambda: left.pop(0) if left else None  # noqa: E731
    sizes = lambda trial: 1 if trial.params["shape"] == "s" else size  # noqa: E731
    return PackBuilder(ask, sizes, lambda trial: trial.params["shape"], whole=whole), left


def turns(made: PackBuilder) -> list[list[int]]:
    found = []
    while trials := made.next():
        found.append([trial.number for trial in trials])
    return found


def test_trials_of_one_program_go_together_up_to_its_size():
    assert turns(cohorts("aaaaaaa")[0]) == [[0, 1, 2], [3, 4, 5], [6]]


def test_those_of_another_program_wait_for_the_next_turn():
    assert turns(cohorts("abab")[0]) == [[0, 2], [1], [3]]
    assert turns(cohorts("abc")[0]) == [[0], [1], [2]]


def test_no_more_is_asked_for_than_one_program_takes():
    made, left = cohorts("sssaaaa")
    assert [t.number for t in made.next()] == [0]
    assert len(left) == 6, "one that is trained alone is asked for alone: it may learn from those before it"
    assert turns(made) == [[1], [2], [3, 4, 5], [6]]


def test_a_shape_that_is_trained_alone_is_not_packed_with_others_that_were_asked_for_with_it():
    assert turns(cohorts("asa")[0]) == [[0, 2], [1]]
    assert turns(cohorts("ass")[0]) == [[0], [1], [2]]


def test_what_has_failed_together_is_trained_one_by_one_from_then_on():
    made, _ = cohorts("aaaaabbb")
    (first, *_) = made.next()
    made.unpack(first.number)
    assert turns(made) == [[3], [4], [5, 6, 7]]


def test_where_a_pack_was_measured_fewer_are_trained_one_by_one():
    assert turns(cohorts("aaaaa", whole=True)[0]) == [[0, 1, 2], [3], [4]]
    assert turns(cohorts("abab", whole=True)[0]) == [[0], [2], [1], [3]]


def test_what_waits_can_be_given_up():
    made, left = cohorts("abca")
    made.next()
    assert len(left) == 1
    assert [trial.number for trial in iter(made.pop_waiting, None)] == [2, 1]
    assert turns(made) == [[3]]


def test_what_was_asked_for_before_the_study_failed_can_be_given_up():
    def ask() -> Asked:
        if len(asked) == 2:
            raise StorageError("away")
        asked.append(Asked(len(asked), {}, 0, None))
        return asked[-1]

    asked: list[Asked] = []
    made = PackBuilder(ask, size=lambda trial: 3, program=lambda trial: "a")
    with pytest.raises(StorageError):
        made.next()
    assert [trial.number for trial in iter(made.pop_waiting, None)] == [1, 0]


PACKING = {"backend.name": "jax", "kernel.name": "auto", "study.space": {}, "study.replicates": 5}
GPU = {"cudnn": None, "generic": None}


def seeds_at(alone, packed):
    """A script of probes: samples per second of trainings one by one and of packs; None where one fails."""

    def script(task):
        rate = packed if task["pack"] > 1 else alone
        yield fake.failed("oom") if rate is None else fake.complete(task, train_samples_per_s=rate)

    return script


@pytest.mark.parametrize(
    ("alone", "packed", "size"), [(10.0, 30.0, 5), (30.0, 10.0, 1), (10.0, None, 1), (None, 1.0, 5)]
)
def test_seeds_are_packed_where_that_is_measured_to_be_faster(tmp_path, alone, packed, size):
    config = fake.config(PACKING)
    with fake.opened(tmp_path, config, seeds_at(alone, packed), workers=1, unavailable=GPU, gpu=True) as bench:
        bench.study.set("kernels", [{"corner": {}, "kernel": "cudnn", "steps_per_execution": 50, "measured": {}}])
        bench.kernels.decide()
        assert bench.sizes.seeds(config, {}, 5) == size
        tried = [(task["kind"], task["kernel"], task["pack"]) for task in bench.launcher.submitted]
        assert tried == [("probe", "cudnn", 1), ("probe", "generic", 5)]
        assert bench.sizes.seeds(config, {"train.learning_rate": 0.1}, 5) == size  # of the same shape
        assert len(bench.launcher.submitted) == 2
        bench.sizes.seeds(config, {"model.units": 9}, 5)
        assert len(bench.launcher.submitted) == 4
    with fake.opened(tmp_path, config, unavailable=GPU, gpu=True) as bench:
        assert bench.sizes.seeds(config, {}, 5) == size
        assert bench.launcher.submitted == []


def test_every_worker_has_a_part_of_the_seeds(tmp_path):
    config = fake.config(PACKING)
    with fake.opened(tmp_path, config, seeds_at(10.0, 30.0), workers=2, unavailable=GPU, gpu=True) as bench:
        assert bench.sizes.seeds(config, {}, 5) == 3
        assert bench.launcher.most == 1  # the other worker is idle while a figure is taken
        assert bench.sizes.seeds(config, {}, 2) == 1


@pytest.mark.parametrize(
    ("values", "gpu"),
    [
        ({}, False),
        ({"backend.name": "tensorflow"}, True),
        ({"kernel.name": "generic"}, True),
        ({"launcher.pack": 1}, True),
    ],
)
def test_auto_packs_nothing_but_measured_kernels_of_jax_on_a_gpu(tmp_path, values, gpu):
    config = fake.config({**PACKING, **values})
    with fake.opened(tmp_path, config, seeds_at(10.0, 30.0), unavailable=GPU, gpu=gpu) as bench:
        assert bench.sizes.seeds(config, {}, 5) == 1
        assert bench.launcher.submitted == []


RATE = {"train.learning_rate": fake.SPACE["train.learning_rate"]}
ENDS = {"model.units": {"type": "categorical", "choices": [8, 64]}}
TRIALS = {**PACKING, "study.space": RATE, "sampler.name": "random", "pruner.name": "none"}


def test_trials_are_packed_where_that_is_measured_to_be_faster_at_the_nearest_end(tmp_path):
    def script(task):
        units, packed = task["config"]["model"]["units"], task["pack"] > 1
        yield fake.complete(task, train_samples_per_s=30.0 if packed == (units < 20) else 10.0)

    config = fake.config({**TRIALS, "study.space": {**RATE, **ENDS}})
    with fake.opened(tmp_path, config, script, workers=2, unavailable=GPU, gpu=True) as bench:
        bench.study.set("kernels", [{"corner": {}, "kernel": "cudnn", "steps_per_execution": 50, "measured": {}}])
        bench.kernels.decide()
        assert bench.sizes.decide(12) == 6  # no worker idle
        tried = [(t["kernel"], t["pack"], t["config"]["model"]["units"]) for t in bench.launcher.submitted]
        assert tried == [("cudnn", 1, 8), ("generic", 6, 8), ("cudnn", 1, 64), ("generic", 6, 64)]
        assert [bench.sizes.at_once({"model.units": units}) for units in (8, 10, 60, 64)] == [6, 6, 1, 1]
        assert bench.sizes.decide(1000) == 16
        assert bench.sizes.decide(1) == 1


@pytest.mark.parametrize(
    ("values", "gpu"),
    [
        ({}, False),
        ({"backend.name": "tensorflow"}, True),
        ({"kernel.name": "generic"}, True),
        ({"launcher.pack": 1}, True),
        ({"sampler.name": "tpe"}, True),
        ({"sampler.name": "cmaes"}, True),
        ({"pruner.name": "median"}, True),
        ({"study.objectives": {"val_accuracy": "maximize", "train_samples_per_s": "maximize"}}, True),
    ],
)
def test_auto_packs_no_trials_that_something_waits_for(tmp_path, values, gpu):
    config = fake.config({**TRIALS, **values})
    with fake.opened(tmp_path, config, seeds_at(10.0, 30.0), unavailable=GPU, gpu=gpu) as bench:
        assert bench.sizes.decide(12) == 1
        assert bench.sizes.at_once({"train.learning_rate": 0.1}) == 1
        assert bench.launcher.submitted == []


def test_compiling_counts_where_a_pack_is_chosen(tmp_path):
    def script(task):
        packed = task["pack"] > 1
        yield fake.complete(task, train_samples_per_s=3000.0 if packed else 2000.0, compile_s=9.0 if packed else 1.0)

    for epochs, size in (
        (3, 1),
        (30, 6),
    ):  # 6 trainings of 1,000 samples an epoch: a third less, or 3 s and 30 s, against 8 s
        config = fake.config({**TRIALS, "train.epochs": epochs})
        with fake.opened(tmp_path / str(epochs), config, script, unavailable=GPU, gpu=True) as bench:
            bench.study.set("kernels", [{"corner": {}, "kernel": "cudnn", "steps_per_execution": 50, "measured": {}}])
            bench.kernels.decide()
            assert bench.sizes.decide(6) == bench.sizes.at_once({}) == size


@pytest.mark.parametrize(
    ("space", "size"),
    [
        ({}, 3),
        (ENDS, 3),
        ({"model.units": {"type": "int", "low": 8, "high": 10}}, 3),  # three programs for six trials
        ({"model.units": {"type": "int", "low": 8, "high": 11}}, 1),
        ({"model.units": {"type": "int", "low": 1, "high": 10**12}}, 1),  # counted, not listed
        ({"train.momentum": {"type": "float", "low": 0.0, "high": 0.5}}, 1),
        ({"train.momentum": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.25}}, 3),
        ({"train.decay": {"type": "float", "low": 0.0, "high": 0.5}}, 3),
    ],
)
def test_nothing_is_asked_for_ahead_where_most_trials_have_a_program_of_their_own(tmp_path, space, size):
    config = fake.config({**TRIALS, "launcher.pack": 3, "study.space": {**RATE, **space}})
    with fake.opened(tmp_path, config) as bench:
        assert bench.sizes.decide(6) == bench.sizes.at_once({}) == size


def test_one_program_trains_what_differs_in_learning_rate_alone(tmp_path):
    with fake.opened(tmp_path, fake.config(TRIALS), unavailable=GPU) as bench:
        programs = [
            bench.sizes.program({"train.learning_rate": rate, "model.dropout": dropout})
            for rate, dropout in ((0.1, 0.3), (0.2, 0.3), (0.1, 0.30001))
        ]
    assert programs[0] == programs[1] != programs[2]


def test_a_number_packs_without_measurement(tmp_path):
    config = fake.config({**PACKING, "launcher.pack": 3})
    with fake.opened(tmp_path, config) as bench:
        assert bench.sizes.seeds(config, {}, 5) == bench.sizes.decide(9) == bench.sizes.at_once({}) == 3
        assert bench.launcher.submitted == []
