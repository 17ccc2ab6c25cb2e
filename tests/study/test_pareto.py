"""Fronts and hypervolumes by hand, by definition, and against Optuna's."""

import itertools
import math

import numpy as np
import pytest

from lstm_bench.study.pareto import front, hypervolume


def dominated(a, b):
    return all(y <= x for x, y in zip(a, b, strict=True)) and any(y < x for x, y in zip(a, b, strict=True))


def test_a_front_by_hand():
    # accuracy up, weights down: (0.97, 100) is beaten by (0.98, 90); (0.98, 90) twice
    points = [(0.99, 300), (0.97, 100), (0.98, 90), (0.95, 20), (0.98, 90), (0.99, 400), (0.94, 30)]
    assert front(points, ["maximize", "minimize"]) == [0, 2, 3, 4]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_a_front_is_what_nothing_dominates(objectives):
    points = np.random.default_rng(0).integers(0, 7, size=(120, objectives)).astype(float)  # with ties
    wanted = [k for k, a in enumerate(points) if not any(dominated(a, b) for b in points)]
    assert front(points.tolist(), ["minimize"] * objectives) == wanted
    assert front((-points).tolist(), ["maximize"] * objectives) == wanted


def test_points_that_are_not_finite_are_on_no_front_and_dominate_none():
    points = [(math.nan, 0.0), (1.0, 1.0), (math.inf, -math.inf)]
    assert front(points, ["minimize", "minimize"]) == [1]
    assert front([], ["minimize", "minimize"]) == []


def test_a_hypervolume_by_hand():
    # Boxes to (4, 4): 3 x 1, 2 x 2 and 1 x 3, of which the staircase has 3 + 2 + 1.
    points = [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0), (3.0, 3.0), (5.0, 0.0)]
    assert hypervolume(points, (4.0, 4.0), ["minimize", "minimize"]) == 6
    assert hypervolume([(0.9, 10.0)], (0.5, 30.0), ["maximize", "minimize"]) == pytest.approx(0.4 * 20)
    # Two boxes 2 x 2 x 1 and 1 x 1 x 2 with one corner in common: 4 + 2 - 1.
    assert hypervolume([(0, 0, 1), (1, 1, 0)], (2, 2, 2), ["minimize"] * 3) == 5
    assert hypervolume([(1.0,), (2.0,)], (5.0,), ["minimize"]) == 4
    assert hypervolume([], (1.0, 1.0), ["minimize", "minimize"]) == 0
    assert hypervolume([(math.nan, 0.0), (-math.inf, 0.0)], (1.0, 1.0), ["minimize", "minimize"]) == 0


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_a_hypervolume_is_the_cells_of_a_grid_that_are_dominated(objectives):
    points = np.random.default_rng(1).integers(0, 6, size=(12, objectives))
    cells = itertools.product(range(6), repeat=objectives)  # each by its lower corner
    wanted = sum(any((p <= cell).all() for p in points) for cell in cells)
    found = hypervolume(points.tolist(), [6] * objectives, ["minimize"] * objectives)
    assert found == wanted
    mirrored = hypervolume((-points).tolist(), [-6] * objectives, ["maximize"] * objectives)
    assert mirrored == wanted


@pytest.mark.parametrize("objectives", [2, 3])
def test_a_hypervolume_is_optunas(objectives):
    from optuna._hypervolume import compute_hypervolume

    points = 0.9 * np.random.default_rng(2).random((60, objectives))
    reference = np.full(objectives, 0.9)
    theirs = compute_hypervolume(points, reference)
    assert hypervolume(points.tolist(), list(reference), ["minimize"] * objectives) == pytest.approx(theirs)


def test_odd_questions_are_refused():
    with pytest.raises(ValueError, match="not up"):
        front([(1.0,)], ["up"])
    with pytest.raises(ValueError, match="2 values"):
        hypervolume([(1.0,)], (1.0, 1.0), ["minimize", "minimize"])
