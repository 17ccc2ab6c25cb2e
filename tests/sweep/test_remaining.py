"""`lstm_bench.sweep.remaining`: what is left of a study, by what was trained of it."""

from __future__ import annotations

import math

import pytest

from lstm_bench.sweep.remaining import Going, Pace, Training, left_s, makespan

UNITS = {"model.units": {"type": "int", "low": 16, "high": 256, "step": None, "log": True}}
SPACE = {
    **UNITS,
    "train.batch_size": {"type": "categorical", "choices": [32, 64, 128]},
    "train.schedule": {"type": "categorical", "choices": ["constant", "cosine"]},
}


def cost(units: int) -> float:
    """Seconds per epoch of a made-up network."""
    return (units / 16) ** 1.4


def trained(units: int, epochs: int = 3, overhead: float = 1.0) -> Training:
    return Training({"model.units": units}, epochs, overhead + epochs * cost(units), overhead)


def test_workers_take_what_waits_in_turn():
    assert makespan([], [3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert makespan([5.0, 1.0], [2.0, 2.0], 2) == 5.0
    assert makespan([4.0], [], 3) == 4.0
    assert makespan([], [], 2) == 0.0


def test_what_has_no_space_takes_as_long_as_before():
    ended = [Training({}, 10, 42.0, 2.0)]
    assert left_s({}, ended, epochs=10, workers=2, seeds=[({}, 4)]) == pytest.approx(84.0)


@pytest.mark.parametrize("units", [16, 256])
def test_the_first_trial_may_be_the_smallest_or_the_largest(units):
    expected = 20 * (1.0 + 3 * sum(cost(round(16 * 16 ** ((i + 0.5) / 50))) for i in range(50)) / 50)
    said = left_s(UNITS, [trained(units)], epochs=3, workers=1, trials=20)
    assert said == pytest.approx(expected, rel=0.35)
    assert abs(20 * (1.0 + 3 * cost(units)) - expected) > 0.6 * expected, "the mean of what was seen is no estimate"


def test_more_trials_say_what_a_width_costs():
    pace = Pace(UNITS, [trained(units) for units in (16, 40, 100, 200)])
    for units in (20, 64, 256):
        assert pace.epoch_s({"model.units": units}) == pytest.approx(cost(units), rel=0.1)
    assert pace.overhead_s == pytest.approx(1.0)


def test_words_and_batches_are_part_of_a_pace():
    def one(batch: int, schedule: str, seconds: float) -> Training:
        return Training({"model.units": 64, "train.batch_size": batch, "train.schedule": schedule}, 1, seconds)

    pace = Pace(SPACE, [one(32, "constant", 8.0), one(128, "cosine", 4.0), one(32, "cosine", 8.0)])
    slow, fast = (
        pace.epoch_s({"model.units": 64, "train.batch_size": batch, "train.schedule": "constant"})
        for batch in (32, 128)
    )
    assert slow > 1.4 * fast


def test_pruned_trials_are_cheaper_and_seeds_are_not():
    ended = [trained(64), trained(64, epochs=1), trained(64, epochs=1), trained(64)]
    whole, cut = (left_s(UNITS, ended, epochs=3, workers=1, trials=6, pruned=pruned) - 6.0 for pruned in (False, True))
    assert cut == pytest.approx(whole * 8 / 12)
    winner = [({"model.units": 64}, 3)]
    seeds = [left_s(UNITS, ended, epochs=3, workers=1, seeds=winner, pruned=pruned) for pruned in (False, True)]
    assert seeds[0] == seeds[1] == pytest.approx(3 * (1.0 + 3 * cost(64)), rel=0.05)


def test_seeds_begin_when_the_last_trial_has_ended():
    ended = [trained(64)] * 3
    one = 1.0 + 3 * cost(64)
    going = [Going({"model.units": 64}, 1.0 + 1.5 * cost(64), 1.5, 1.0)]
    said = left_s(UNITS, ended, going, epochs=3, workers=2, seeds=[({"model.units": 64}, 2)], after_s=7.0)
    assert said == pytest.approx(1.5 * cost(64) + one + 7.0, rel=0.1)


def test_a_seed_that_runs_counts_in_the_confirmation():
    ended = [trained(64)] * 4
    going = [Going({"model.units": 64}, 0.0)]
    said = left_s(UNITS, ended, going, epochs=3, workers=2, seeds=[({"model.units": 64}, 1)], confirming=True)
    assert said == pytest.approx(1.0 + 3 * cost(64), rel=0.1)


def test_the_steps_of_a_large_trial_tell_before_its_end():
    going = [Going({"model.units": 256}, 1.0 + 0.5 * 10 * cost(256), 0.5, 1.0)]
    with_steps = left_s(UNITS, [trained(16)], going, epochs=3, workers=1)
    assert with_steps == pytest.approx(2.5 * 10 * cost(256), rel=0.2)


def test_what_lasts_longer_than_expected_never_comes_out_as_done():
    going = [Going({"model.units": 16}, 1000.0, 2.99, 1.0)]
    said = left_s(UNITS, [trained(16)], going, epochs=3, workers=1)
    assert 0 < said < 100 and math.isfinite(said)


def test_the_search_ends_with_its_timeout():
    ended = [trained(64)] * 3
    assert left_s(UNITS, ended, epochs=3, workers=1, trials=1000, search_s=50.0) == pytest.approx(50.0)
