"""Paired comparisons against enumeration, and Holm's correction against its definition."""

import itertools
import math

import numpy as np
import pytest

from lstm_bench.core.statistics import holm
from lstm_bench.report.stats import paired as module
from lstm_bench.report.stats.paired import floor, paired, sign_flip, t_test


def flips(differences):
    """Two-sided p by the definition."""
    sums = [sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in flipped(len(differences))]
    return np.mean([abs(total) >= abs(sum(differences)) - 1e-9 for total in sums])


def flipped(n):
    return itertools.product((1, -1), repeat=n)


@pytest.mark.parametrize(
    "differences",
    [[1.0, 2.0, 3.0, 4.0, 5.0], [1.0, -2.0, 3.0, 0.5], [0.3, -0.1, 0.2, 0.0, 0.1, -0.4, 0.7], [2.0], [0.0]],
)
def test_the_exact_p_value_counts_all_signs(differences):
    assert sign_flip(differences) == pytest.approx(flips(differences))
    assert sign_flip([-d for d in differences]) == sign_flip(differences)


def test_sums_that_differ_by_rounding_alone_are_equal():
    # 0.1 + 0.2 - 0.3 is 5.6e-17: as far as 0.3 - 0.1 - 0.2 is from zero, so every assignment that comes to nothing counts.
    assert sign_flip([0.1, 0.2, -0.3]) == 1.0
    assert sign_flip([0.97 - 0.95, 0.98 - 0.96, 0.99 - 0.97]) == 0.25


def test_darwins_maize_as_fisher_counted_it():
    # The Design of Experiments, section 21: crossed less self-fertilised, in eighths of an inch; 863 of 2^15 assignments
    # of signs come to at least the 314 observed on one side, so 1726 of 32768 on both.
    differences = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert sum(differences) == 314
    assert sign_flip(differences) == 1726 / 32768
    # Section 17 of the same: t = 2.148 on 14 degrees of freedom, just beyond 5 % (2.145).
    assert t_test(differences) == pytest.approx(0.0497, abs=1e-4)


def test_five_seeds_cannot_have_an_exact_p_below_one_sixteenth():
    assert sign_flip([1.0, 1.1, 0.9, 1.2, 0.8]) == floor(5) == 1 / 16
    assert floor(8) == 2 / 256


def test_beyond_sixteen_seeds_signs_are_drawn_and_never_give_zero(monkeypatch):
    rng = np.random.default_rng(0)
    differences = rng.normal(0.4, 1, 17)
    monkeypatch.setattr(module, "_ALL_FLIPS", 17)
    exact = sign_flip(differences)
    monkeypatch.setattr(module, "_ALL_FLIPS", 16)
    assert sign_flip(differences) == pytest.approx(exact, abs=0.005)
    assert sign_flip([1.0] * 20) >= floor(20) > 0


def test_the_t_test_of_known_differences():
    # Mean 3, s / sqrt(5) = 0.7071: t = 4.2426 on 4 degrees of freedom, two-sided 0.0132 (any t table).
    assert t_test([1, 2, 3, 4, 5]) == pytest.approx(0.013236, abs=1e-5)
    assert math.isnan(t_test([1.0, 1.0]))  # no spread to hold the difference against
    assert math.isnan(t_test([0.1 + 0.2, 0.3])), "equal but for rounding"
    assert t_test([0.0, 0.0]) == 1
    assert math.isnan(t_test([1.0]))


def test_a_pair_is_compared_over_its_common_seeds_and_improves_over_all_runs():
    first = {0: 0.97, 1: 0.98, 2: 0.99, 7: 0.5, 8: math.nan}
    second = {2: 0.96, 1: 0.96, 0: 0.94, 9: 0.99, 8: 0.9}
    found = paired(first, second)
    assert found.difference.n == 3
    assert found.difference.mean == pytest.approx(0.08 / 3)
    assert found.difference.half_width == pytest.approx(4.302653 * np.std([0.03, 0.02, 0.03], ddof=1) / math.sqrt(3))
    assert found.bootstrap.low == pytest.approx(0.02)
    assert found.bootstrap.high == pytest.approx(0.03)
    assert found.p_exact == 0.25
    wins = [(a > b) + 0.5 * (a == b) for a in (0.97, 0.98, 0.99, 0.5) for b in (0.96, 0.96, 0.94, 0.99, 0.9)]
    assert found.improvement.value == pytest.approx(np.mean(wins))


def test_without_a_common_seed_there_is_no_difference_and_no_p():
    found = paired({0: 1.0}, {1: 2.0})
    assert found.difference.n == 0
    assert math.isnan(found.difference.mean) and math.isnan(found.p_exact) and math.isnan(found.p_t)


def test_swapping_the_two_turns_the_signs():
    first, second = {0: 0.97, 1: 0.98, 2: 0.93}, {0: 0.95, 1: 0.99, 2: 0.90}
    there, back = paired(first, second), paired(second, first)
    assert back.difference.mean == -there.difference.mean
    assert (back.p_exact, back.p_t) == (there.p_exact, there.p_t)
    assert back.improvement.value == 1 - there.improvement.value


def test_holm_on_published_examples():
    # R 4.3, p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm").
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    # The example of Wikipedia's "Holm-Bonferroni method": at 5 % the first and the last are rejected.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def closed(p_values):
    """Holm as what it is: every set of hypotheses is tested by Bonferroni, and a hypothesis falls with all its sets."""
    places = range(len(p_values))
    sets = [s for size in range(1, len(p_values) + 1) for s in itertools.combinations(places, size)]
    return [max(min(1.0, len(s) * min(p_values[k] for k in s)) for s in sets if place in s) for place in places]


def test_holm_is_the_closure_of_bonferroni():
    rng = np.random.default_rng(0)
    for size in range(1, 8):
        p_values = list(np.round(rng.random(size) ** 3, 2))  # with ties
        assert holm(p_values) == pytest.approx(closed(p_values))


def test_holm_leaves_out_what_was_not_tested():
    adjusted = holm([0.01, math.nan, 0.04])
    assert adjusted[0] == 0.02
    assert math.isnan(adjusted[1])
    assert adjusted[2] == 0.04
    assert holm([]) == []
