"""Expected best of n trials against all subsets of n."""

import itertools
import math
import time

import numpy as np
import pytest

from lstm_bench.report.stats.budget import expected_best, expected_best_interval, ladder, running_best

VALUES = [0.91, 0.55, 0.97, 0.97, 0.12, 0.83, 0.90]


@pytest.mark.parametrize(("maximize", "best"), [(True, max), (False, min)])
def test_expected_best_is_the_mean_over_all_subsets(maximize, best):
    wanted = [np.mean([best(s) for s in itertools.combinations(VALUES, n)]) for n in range(1, 8)]
    assert expected_best(VALUES, maximize=maximize) == pytest.approx(wanted, rel=1e-12)
    assert expected_best(VALUES, [3], maximize) == pytest.approx([wanted[2]])


def test_it_is_unbiased_where_drawing_with_replacement_is_not():
    # Of n draws from the uniform distribution the best is n / (n + 1) on average, here 5 / 6.
    rng = np.random.default_rng(0)
    samples = np.sort(rng.random((4000, 8)), axis=1)
    ours = np.mean([expected_best(s, [5])[0] for s in samples])
    ranks = np.arange(1, 9)
    dodge = np.mean(samples @ ((ranks / 8) ** 5 - ((ranks - 1) / 8) ** 5))
    assert ours == pytest.approx(5 / 6, abs=0.004)
    assert dodge < 5 / 6 - 0.02


def test_weights_of_many_trials_are_exact_although_low_ranks_are_left_out():
    values = np.random.default_rng(0).normal(size=1000)
    ranked = sorted(values)
    for n in (1, 2, 30, 500, 999, 1000):
        exact = sum(ranked[i - 1] * (math.comb(i - 1, n - 1) / math.comb(1000, n)) for i in range(1, 1001))
        assert expected_best(values, [n])[0] == pytest.approx(exact, rel=1e-12)


def test_the_first_is_the_mean_the_last_the_best_and_none_falls():
    made = expected_best(VALUES)
    assert made[0] == pytest.approx(np.mean(VALUES))
    assert made[-1] == max(VALUES)
    assert (np.diff(made) >= 0).all()


def test_values_that_are_not_finite_are_no_trials_and_their_order_does_not_matter():
    odd = [math.nan, *VALUES[::-1], math.inf]
    assert (expected_best(odd) == expected_best(VALUES)).all()
    assert len(expected_best([])) == 0


@pytest.mark.parametrize("n", [0, 8])
def test_a_budget_that_was_not_run_is_refused(n):
    with pytest.raises(ValueError, match=r"in 1\.\.7"):
        expected_best(VALUES, [n])


def test_its_interval_is_that_of_all_resamples():
    values = [0.2, 0.5, 0.6, 0.9]
    each = [expected_best(drawn, [1, 2, 4]) for drawn in itertools.product(values, repeat=4)]
    low, high = expected_best_interval(values, [1, 2, 4], resamples=20_000)
    assert low == pytest.approx(np.quantile(each, 0.025, axis=0), abs=0.03)
    assert high == pytest.approx(np.quantile(each, 0.975, axis=0), abs=0.03)
    mirrored = expected_best_interval([-v for v in values], [1, 2, 4], maximize=False, resamples=20_000)
    assert mirrored[0] == pytest.approx(-high, abs=0.03)


def test_10000_trials_take_no_time():
    values = np.random.default_rng(0).normal(size=10_000)
    start = time.process_time()
    assert len(expected_best(values)) == 10_000
    expected_best_interval(values, ladder(10_000))
    assert time.process_time() - start < 4


def test_a_ladder_has_all_budgets_or_some_at_equal_distances():
    assert ladder(4) == [1, 2, 3, 4]
    steps = ladder(10_000)
    assert len(steps) <= 60
    assert steps[0] == 1 and steps[-1] == 10_000
    assert steps == sorted(set(steps))
    assert ladder(0) == []


def test_running_best_names_the_trials_that_were_better_than_all_before():
    assert running_best([math.nan, 0.5, 0.4, 0.7, math.inf, 0.7, 0.9]) == [(1, 0.5), (3, 0.7), (6, 0.9)]
    assert running_best([3.0, 4.0, 2.0], maximize=False) == [(0, 3.0), (2, 2.0)]
    assert running_best([]) == []
