"""`lstm_bench.study.recommendation`: what to take, from scores of which the answer is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lstm_bench.core.statistics import t_interval
from lstm_bench.data.metric import ACCURACY, MSE
from lstm_bench.study.difference import Contender, Ground, difference
from lstm_bench.study.recommendation import recommend

LARGE, SMALL = Ground(ACCURACY, ACCURACY, 10_000), Ground(ACCURACY, ACCURACY, 60)
COMMANDS = {"use": "predict", "search": "sweep", "repeat": "repeat"}


def network(name: str, *scores: float, test: float | None = None, **more: Any) -> Contender:
    tested = t_interval([value if test is None else test + value - scores[0] for value in scores])
    given: dict[str, Any] = {"n_weights": 1000, "test": tested, "commands": COMMANDS} | more
    return Contender(name, False, dict(enumerate(scores)), **given)


def control(name: str, *scores: float, **more: Any) -> Contender:
    return Contender(name, True, dict(enumerate(scores)), n_weights=10, **more)


def controls(trivial: float, linear: float, minirocket: float = math.nan) -> list[Contender]:
    found = [control("the most frequent class", trivial, is_trivial=True), control("linear", linear)]
    return (
        found if math.isnan(minirocket) else [*found, control("MiniRocket", *(minirocket + d / 1000 for d in range(5)))]
    )


def test_welch_s_test_is_scipy_s_where_no_sampling_is_known() -> None:
    rng = np.random.default_rng(0)
    for n, m in ((5, 5), (3, 8), (2, 2)):
        a, b = rng.normal(3, 1, n), rng.normal(2, 0.3, m)
        found = difference(network("a", *a), network("b", *b), Ground(MSE, MSE))
        expected = stats.ttest_ind(b, a, equal_var=False)  # of an error less is better
        low, high = expected.confidence_interval(0.95)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
        assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high), rel=1e-9)


def test_a_control_without_seeds_is_a_constant() -> None:
    scores = [3.0, 3.1, 2.9, 3.2]
    found = difference(network("a", *scores), control("mean", 4.0), Ground(MSE, MSE))
    assert found.p == pytest.approx(stats.ttest_1samp(scores, 4.0).pvalue, rel=1e-9)


def test_few_validation_sequences_widen_an_interval() -> None:
    pair = network("a", 0.90, 0.91, 0.92), network("b", 0.85, 0.86, 0.87)
    narrow, wide = (difference(*pair, ground) for ground in (LARGE, SMALL))
    assert narrow.p < 0.01 < wide.p
    assert wide.half_width > 0.08 > narrow.half_width


def test_a_shift_of_the_mean_is_a_linear_model_s() -> None:
    found = recommend(
        [network("gru", 1.0, 1.0, 0.998), network("cnn", 0.99, 1.0, 1.0), *controls(0.5, 1.0, 0.99)], LARGE
    )
    assert found.take is not None and found.take.name == "linear"
    assert found.lines[0].startswith("Take linear, which is no network: validation accuracy 100.00 %")
    assert "gru is not shown to beat linear" in found.lines[3]


def test_a_network_that_fails_now_and_then_leaves_the_field_to_the_control_that_does_not() -> None:
    ground = Ground(ACCURACY, ACCURACY, 120)
    found = recommend([network("gru", 1.0, 0.94, 0.52), *controls(0.51, 1.0, 1.0)], ground)
    assert found.take is not None and found.take.name == "linear"
    errors = [control("mean", 9.0, is_trivial=True), control("linear", 1.0)]
    found = recommend([network("gru", 0.5, 1.0, 15.0), *errors], Ground(MSE, MSE))
    assert found.take is not None and found.take.name == "linear"


def test_of_controls_that_no_network_beats_the_simplest_within_an_error_of_the_best_is_taken() -> None:
    ground = Ground(ACCURACY, ACCURACY, 67)
    found = recommend([network("single", 0.97, 0.99), *controls(0.5, 0.90, 0.965)], ground)
    assert found.take is not None and found.take.name == "MiniRocket"
    found = recommend([network("single", 0.97, 0.99), *controls(0.5, 0.95, 0.965)], ground)
    assert found.take is not None and found.take.name == "linear"


def test_random_labels_are_nobody_s() -> None:
    ground = Ground(ACCURACY, ACCURACY, 200)
    found = recommend([network("gru", 0.53, 0.54, 0.525), *controls(0.5, 0.49, 0.52)], ground)
    assert found.take is None
    assert found.lines[0].startswith("Take none: gru, the best network, is not shown to beat what looks at no input")
    assert [words for words, _ in found.commands] == ["search it further", "make this again"], "nothing is to be used"


def test_what_only_a_memory_solves_is_a_recurrent_network_s() -> None:
    found = recommend(
        [network("cnn", 0.5, 0.52, 0.51), network("gru", 0.99, 1.0, 1.0), *controls(0.5, 0.51, 0.8)], LARGE
    )
    assert found.take is not None and found.take.name == "gru"
    assert found.lines[1].startswith("gru beats cnn by 48.67 +- ")
    assert found.lines[3].startswith("gru beats 3 controls: the best of them is MiniRocket, 80.20 %")


def test_of_equally_good_networks_the_smallest_is_taken() -> None:
    large, small = (
        network(name, 0.9800, 0.9805, 0.9810 + more, n_weights=n)
        for name, n, more in (("stacked", 50_000, 0.0005), ("gru", 900, 0))
    )
    found = recommend([large, small, *controls(0.1, 0.6)], Ground(ACCURACY, ACCURACY, 100_000))
    assert found.take is small
    assert "stacked has the best mean and more weights, and is not distinguishable from it" in found.lines[0]
    assert "gru: smaller (900 weights)" in found.lines[2]
    few = recommend([large, small, *controls(0.1, 0.6)], SMALL)  # nothing is known to a point
    assert few.take is large and "Any of stacked and gru will do" in few.lines[2]


def test_test_scores_stand_beside_and_change_nothing() -> None:
    def taken(test: float) -> str:
        found = recommend([network("gru", 0.95, 0.96, 0.94, test=test), network("cnn", 0.9, 0.91, 0.9)], LARGE)
        assert found.take is not None
        return found.take.name

    assert {taken(0.5), taken(0.99)} == {"gru"}
    doubted = recommend([network("gru", 0.95, 0.96, 0.94, test=0.5)], LARGE)
    assert any("Validation and test score are 45.00 points apart" in text for text in doubted.rest)


def test_a_control_that_beats_the_network_is_taken_rather_than_a_simpler_one() -> None:
    found = recommend([network("gru", 0.80, 0.805, 0.80), *controls(0.3, 0.801, 0.95)], LARGE)
    assert found.take is not None and found.take.name == "MiniRocket"


def test_an_error_is_better_the_smaller_it_is() -> None:
    found = recommend(
        [network("gru", 1.0, 1.1, 0.9), network("cnn", 3.0, 3.1, 3.3), control("mean", 9.0, is_trivial=True)],
        Ground(MSE, MSE),
    )
    assert found.take is not None and found.take.name == "gru"
    assert "gru beats cnn by 2.13 +- " in found.lines[1]


def test_single_seeds_are_not_tested() -> None:
    found = recommend([network("gru", 0.9), network("cnn", 0.8), control("linear", 0.7)], LARGE)
    assert "not tested: too few seeds" in found.lines[1]
    assert found.take is not None and found.take.is_control  # nothing is shown to beat it


def test_all_comparisons_are_corrected_together() -> None:
    pair = network("gru", 0.910, 0.915, 0.920), network("cnn", 0.890, 0.895, 0.900)
    ground = Ground(ACCURACY, ACCURACY, 10**9)
    assert "gru beats cnn" in recommend(pair, ground).lines[1]
    many = [network(f"n{k}", 0.9095, 0.9149, 0.9199) for k in range(40)]
    assert "gru is not shown to beat any other network" in recommend([*pair, *many], ground).lines[1]


def test_nothing_confirmed_is_said() -> None:
    assert recommend([], LARGE).lines == ("Nothing is confirmed yet: no network has been trained with fresh seeds.",)
    found = recommend(controls(0.5, 0.6), LARGE)
    assert found.lines[0].startswith("No network is confirmed yet; of the controls linear is best")


def test_five_lines_and_three_commands() -> None:
    found = recommend(
        [network("gru", 0.9, 0.91, 0.92, epoch_s=2.5, samples_per_s=12_345.6, kernel="generic", latency_ms=1.25)], LARGE
    )
    assert len(found.lines) == 3
    assert found.lines[2] == (
        "Cost: 1,000 weights, 2.5 s per epoch, 12,346 samples/s in training (generic kernel), 1.25 ms for one sequence."
    )
    assert found.commands == (
        ("use it", "predict"),
        ("search it further", "sweep"),
        ("make this again", "repeat"),
    )
    assert found.rest[-1].startswith("Tried: 1 network by 1 configuration, 0 controls; chosen on validation data")
