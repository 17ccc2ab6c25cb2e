import math

import numpy as np
import pytest

from lstm_bench.core.statistics import median, quantile, sampling_error, t_interval
from lstm_bench.kernels.summary import ratio_interval


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


def rounds(levels, spread=0.001, n=7, seed=0):
    """Round -> `n` samples scattered around each level by a fraction of it."""
    rng = np.random.default_rng(seed)
    return {i: list(level * np.exp(rng.normal(0, spread, n))) for i, level in enumerate(levels)}


def test_a_ratio_is_that_of_the_medians_over_all_shared_rounds():
    above = {0: [10, 30, 20], 1: [500, 40], 7: [1000]}
    below = {1: [5], 0: [4, 6, 7, 8], 9: [0.001]}
    assert ratio_interval(above, below).value == 30 / 6  # of 10 20 30 40 500, and 4 5 6 7 8


def test_equal_samples_have_an_interval_of_no_width():
    assert ratio_interval({0: [6.0] * 7, 1: [6.0] * 3}, {0: [4.0] * 5, 1: [4.0] * 2}) == (1.5, 1.5, 1.5)


@pytest.mark.parametrize("n_rounds", [2, 3, 5])
def test_an_arm_against_itself_has_a_ratio_of_one_in_its_interval(n_rounds):
    arm = rounds(np.linspace(90, 110, n_rounds), spread=0.02)
    ratio, low, high = ratio_interval(arm, arm)
    assert ratio == 1
    assert low < 1 < high


def test_arms_far_apart_have_an_interval_without_one():
    ratio, low, high = ratio_interval(rounds([200, 202, 204], 0.01), rounds([100, 101, 99], 0.01, seed=1))
    assert 1.9 < low < ratio < high < 2.2


def pooled_interval(above, below, resamples=2000):
    """What one would compute without rounds: all samples of an arm drawn anew, whichever process they came from."""
    rng = np.random.default_rng(0)
    sides = [np.concatenate([side[r] for r in side]) for side in (above, below)]
    a, b = (np.median(side[rng.integers(0, len(side), (resamples, len(side)))], axis=1) for side in sides)
    return np.quantile(a / b, (0.025, 0.975))


def test_rounds_that_differ_widen_the_interval_although_their_samples_agree():
    """Three processes at 100, 110 and 120, fifty samples each within a thousandth: three figures, not a hundred and fifty."""
    above, below = rounds([100, 110, 120], n=50), rounds([100, 100, 100], n=50, seed=1)
    ratio, low, high = ratio_interval(above, below)
    assert ratio == pytest.approx(1.1, rel=0.002)
    assert (low, high) == pytest.approx((1.0, 1.2), rel=0.005)
    pooled = pooled_interval(above, below)
    assert pooled == pytest.approx((1.1, 1.1), rel=0.005)  # samples alone would hide it
    assert high - low > 10 * (pooled[1] - pooled[0])


def test_what_a_round_does_to_both_arms_is_no_noise_of_their_ratio():
    above, below = rounds([200, 400, 1000]), rounds([100, 200, 500], seed=1)
    ratio, low, high = ratio_interval(above, below)
    assert (ratio, low, high) == pytest.approx((2, 2, 2), rel=0.005)


def test_samples_that_scatter_widen_the_interval_too():
    narrow, wide = (ratio_interval(rounds([100] * 3, s), rounds([100] * 3, s, seed=1)) for s in (0.001, 0.1))
    assert wide.high - wide.low > 10 * (narrow.high - narrow.low) > 0


@pytest.mark.parametrize("above", [{0: [2, 3, 4]}, {0: [2, 3, 4], 1: [5]}, {0: [2, 3, 4], 2: []}])
def test_one_shared_round_has_a_ratio_and_no_interval(above):
    ratio, low, high = ratio_interval(above, {0: [1.5, 1.5], 2: [1]})
    assert ratio == 2
    assert math.isnan(low) and math.isnan(high)


@pytest.mark.parametrize(("above", "below"), [({}, {}), ({0: [1]}, {1: [1]}), ({0: []}, {0: [1]})])
def test_without_a_shared_round_there_is_no_ratio(above, below):
    assert all(math.isnan(value) for value in ratio_interval(above, below))


def test_rounds_of_unequal_size_count_by_their_samples():
    above = {0: [10.0], 1: [20.0] * 9}
    ratio, low, high = ratio_interval(above, {0: [10.0] * 3, 1: [10.0]})
    assert (ratio, low, high) == (2, 1, 2)


def test_an_interval_is_the_same_at_every_computation():
    above, below = rounds([100, 101, 102], 0.05, n=50), rounds([100, 99, 98], 0.05, n=50, seed=1)
    first = ratio_interval(above, below)
    assert ratio_interval(above, below) == first
    assert ratio_interval(dict(reversed(above.items())), dict(reversed(below.items()))) == first
    assert ratio_interval({r: np.array(above[r]) for r in above}, below) == first
    other = ratio_interval(above, below, seed=1)
    assert other != first
    assert other == pytest.approx(first, rel=0.05)


def test_the_order_of_the_samples_does_not_matter_to_an_interval():
    above, below = rounds([100, 110, 120], 0.05), rounds([100, 90, 95], 0.05, seed=1)
    assert ratio_interval({r: above[r][::-1] for r in above}, below) == ratio_interval(above, below)


def test_a_lower_level_has_a_narrower_interval_within():
    above, below = rounds([100, 110, 120], 0.05), rounds([100, 90, 95], 0.05, seed=1)
    half, usual = (ratio_interval(above, below, level=level) for level in (0.5, 0.95))
    assert half.value == usual.value
    assert usual.low < half.low < half.high < usual.high


def coverage(n_rounds, between, within, pairs=300, true=1.3):
    """Share of made-up pairs of arms whose interval holds the true ratio.

    Seven samples a round. A round moves both arms by 5 %, each process moves its arm by `between`, a sample scatters by
    `within` (standard deviations of logarithms).
    """
    rng = np.random.default_rng(n_rounds)
    hits = 0
    for _ in range(pairs):
        both = rng.normal(0, 0.05, n_rounds)
        above, below = (
            {r: level * np.exp(both[r] + rng.normal(0, between) + rng.normal(0, within, 7)) for r in range(n_rounds)}
            for level in (true, 1.0)
        )
        found = ratio_interval(above, below, resamples=500)
        hits += found.low <= true <= found.high
    return hits / pairs


@pytest.mark.parametrize(
    ("n_rounds", "within", "least", "most"),
    [(3, 0.01, 0.90, 0.98), (5, 0.01, 0.95, 1.0), (3, 0.001, 0.68, 0.85), (5, 0.001, 0.88, 0.98)],
)
def test_an_interval_covers_the_true_ratio_as_often_as_it_says_unless_processes_alone_scatter(
    n_rounds, within, least, most
):
    """Processes differ by 2 %. Where samples scatter by 1 %, three rounds cover 95 %; where they do not, 77 %, and five 94 %."""
    assert least <= coverage(n_rounds, between=0.02, within=within) <= most


def test_an_interval_covers_the_true_ratio_where_samples_are_what_scatters():
    assert coverage(3, between=0.0, within=0.02) >= 0.95


def test_the_interval_of_a_share_is_wilsons():
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = sampling_error(hits / n, n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
        assert found.error == pytest.approx(math.sqrt(hits / n * (1 - hits / n) / n))


def test_ten_thousand_test_images_leave_a_fifth_of_a_point_open():
    found = sampling_error(0.99, 10_000)
    assert found.error == pytest.approx(0.000995, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((0.98785, 0.99177), abs=1e-5)
    # All right: the other end is n / (n + z^2), never above 1.
    assert sampling_error(1.0, 100)[1:] == pytest.approx((100 / 103.8415, 1.0), abs=1e-6)


@pytest.mark.parametrize(("accuracy", "n"), [(math.nan, 100), (0.9, math.nan), (0.9, 0), (1.2, 10)])
def test_a_share_of_nothing_known_has_no_error(accuracy, n):
    assert all(map(math.isnan, sampling_error(accuracy, n)))
