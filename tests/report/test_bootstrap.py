"""Bootstrap intervals against every resample there is."""

import itertools
import math

import numpy as np
import pytest

from lstm_bench.report.stats.bootstrap import bootstrap_interval, draws, improvement


def test_the_interval_of_a_mean_is_that_of_all_resamples():
    values = [0.9897, 0.9903, 0.9911, 0.9888, 0.9920]
    means = [sum(drawn) / 5 for drawn in itertools.product(values, repeat=5)]  # all 5^5
    low, high = np.quantile(means, (0.025, 0.975))
    found = bootstrap_interval(values)
    assert found == pytest.approx((low, high), abs=5e-5)  # of a width of 0.0018, in steps of 0.00002
    wide = bootstrap_interval(values, level=0.5)
    assert found.low < wide.low < wide.high < found.high
    assert wide == pytest.approx(tuple(np.quantile(means, (0.25, 0.75))), abs=5e-5)


def test_the_probability_of_improvement_is_the_share_of_pairs_and_a_tie_counts_half():
    x, y = [3.0, 5.0, 7.0], [1.0, 5.0, 6.0, 9.0]
    wins = sum((a > b) + 0.5 * (a == b) for a, b in itertools.product(x, y))
    assert improvement(x, y).value == wins / 12 == pytest.approx(5.5 / 12)
    assert improvement(y, x).value == pytest.approx(6.5 / 12)
    assert improvement([1.0, 1.0], [1.0]).value == 0.5


def test_the_interval_of_the_probability_is_that_of_all_resamples_of_both_sides():
    x, y = [3.0, 5.0, 7.0], [1.0, 5.0, 6.0]
    shares = [
        np.mean([(a > b) + 0.5 * (a == b) for a, b in itertools.product(xs, ys)])
        for xs in itertools.product(x, repeat=3)
        for ys in itertools.product(y, repeat=3)
    ]
    found = improvement(x, y)
    assert found[1:] == pytest.approx(tuple(np.quantile(shares, (0.025, 0.975))), abs=0.02)
    assert improvement([8.0, 9.0], [1.0, 2.0]) == (1.0, 1.0, 1.0)


def test_the_sides_are_resampled_on_their_own():
    sides = draws(5, 1000, 0), draws(5, 1000, 1)
    assert abs(np.corrcoef(sides[0].ravel(), sides[1].ravel())[0, 1]) < 0.1
    low, high = improvement([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])[1:]  # drawn together, each would be a half but for ties
    assert low < 0.2 and high > 0.8


def test_the_interval_covers_as_often_as_its_documentation_says():
    rng = np.random.default_rng(0)
    for n, share in ((5, 0.83), (10, 0.90)):
        samples = rng.standard_normal((2000, n))
        low, high = np.quantile(samples @ draws(n, 1000, 0).T / n, (0.025, 0.975), axis=1)
        assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(share, abs=0.02)


def test_the_same_values_in_any_order_give_the_same_interval():
    values = [0.1, 0.7, 0.30000000000000004, 0.2]
    assert bootstrap_interval(values) == bootstrap_interval(values[::-1])
    assert improvement(values, [0.2, 0.3]) == improvement(values[::-1], [0.3, 0.2])


def test_too_few_values_have_no_interval():
    assert all(map(math.isnan, bootstrap_interval([0.9])))
    assert all(map(math.isnan, bootstrap_interval([0.9, math.nan])))
    assert all(map(math.isnan, improvement([], [1.0])))
    value, low, high = improvement([2.0], [1.0, 3.0])
    assert value == 0.5
    assert math.isnan(low) and math.isnan(high)
