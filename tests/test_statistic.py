import math

import pytest

from lstm_bench.statistic import median, quantile, t_interval


def test_t_interval_of_a_known_sample():
    # Mean 3, s = sqrt(2.5), t(4, 0.975) = 2.776445 (any t table): 2.776445 * 1.581139 / 2.236068.
    interval = t_interval([1, 2, 3, 4, 5])
    assert interval.mean == 3
    assert interval.n == 5
    assert interval.half_width == pytest.approx(1.963243, abs=1e-6)


def test_t_interval_of_two_values_uses_one_degree_of_freedom():
    # t(1, 0.975) = 12.7062, s / sqrt(2) = 0.5.
    assert t_interval([0.0, 1.0]).half_width == pytest.approx(6.3531, abs=1e-4)


def test_t_interval_at_another_level():
    # t(4, 0.95) = 2.131847.
    assert t_interval([1, 2, 3, 4, 5], level=0.9).half_width == pytest.approx(2.131847 / math.sqrt(2), abs=1e-6)


def test_one_value_has_a_mean_and_no_interval():
    mean, half_width, n = t_interval([0.9])
    assert (mean, n) == (0.9, 1)
    assert math.isnan(half_width)


def test_no_value_has_neither():
    mean, half_width, n = t_interval([])
    assert math.isnan(mean)
    assert math.isnan(half_width)
    assert n == 0


def test_values_that_are_not_finite_do_not_count():
    assert t_interval([math.nan, 1, math.inf, 2, 3, 4, 5, -math.inf]) == t_interval([1, 2, 3, 4, 5])


def test_equal_values_have_an_interval_of_zero():
    assert t_interval([0.1] * 5).half_width == pytest.approx(0, abs=1e-15)


def test_the_order_of_the_values_does_not_matter():
    values = [0.1, 0.7, 0.30000000000000004, 0.2]
    assert t_interval(values) == t_interval(values[::-1])


@pytest.mark.parametrize(("q", "expected"), [(0, 1), (0.1, 1.3), (0.5, 2.5), (0.9, 3.7), (1, 4)])
def test_quantiles_are_linear_between_neighbours(q, expected):
    assert quantile([4, 1, 3, 2], q) == pytest.approx(expected)


def test_median():
    assert median([3, 1, math.nan, 2]) == 2
    assert median([5]) == 5
    assert math.isnan(median([]))
