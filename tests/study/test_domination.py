"""`lstm_bench.study.pareto`: the front against its definition, and what a half-known point is compared on."""

from __future__ import annotations

import itertools
import random

from lstm_bench.study.pareto import Front, dominates, oriented

WANTED = {"val_accuracy": "maximize", "n_weights": "minimize", "train_samples_per_s": "maximize"}


def test_coordinates_are_turned_so_that_more_is_better() -> None:
    assert oriented({"val_accuracy": 0.9, "n_weights": 100, "epoch": 3}, WANTED) == (0.9, -100, None)


def test_to_dominate_is_to_be_as_good_everywhere_and_better_somewhere() -> None:
    assert dominates((1, 2), (1, 1))
    assert not dominates((1, 2), (1, 2))
    assert not dominates((2, 1), (1, 2))


def test_what_is_not_known_is_not_compared() -> None:
    assert dominates((2, 0, 5), (1, None, 5))
    assert not dominates((2, 0, 5), (None, None, 5))
    assert not dominates((2, 0, 5), (None, None, None))


def test_the_front_is_what_no_point_dominates_in_whatever_order_they_come() -> None:
    rng = random.Random(0)
    for _ in range(50):
        points = [tuple(rng.randrange(4) for _ in range(3)) for _ in range(30)]
        front = Front()
        for number, point in enumerate(points):
            front.add(point, number)
        brute = [n for n, p in enumerate(points) if not any(dominates(other, p) for other in points)]
        assert front.items() == brute
        for known in itertools.product((True, False), repeat=3):
            half = tuple(2 if k else None for k in known)
            assert front.dominates(half) == any(dominates(point, half) for point in points)
