"""`lstm_bench.cohort`: which trials are asked for together, and which of those share a program."""

from __future__ import annotations

from lstm_bench.cohort import Cohorts
from lstm_bench.study import Asked


def cohorts(shapes: str, size: int = 3) -> tuple[Cohorts, list[Asked]]:
    """Cohorts of trials whose shapes are the letters, and the trials that are left to be asked for; "s" is never packed."""
    left = [Asked(number, {"shape": shape}, number, None) for number, shape in enumerate(shapes)]
    ask = lambda: left.pop(0) if left else None  # noqa: E731
    made = Cohorts(ask, size=lambda t: 1 if t.params["shape"] == "s" else size, program=lambda t: t.params["shape"])
    return made, left


def turns(made: Cohorts) -> list[list[int]]:
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


def test_what_is_given_back_is_trained_one_by_one_and_first():
    made, _ = cohorts("aaaa")
    made.alone(made.next())
    assert turns(made) == [[0], [1], [2], [3]]


def test_what_waits_can_be_given_up():
    made, _ = cohorts("abca")
    made.next()
    assert [t.number for t in made.give_up()] == [1, 2]
    assert made.give_up() == []
    assert turns(made) == [[3]]
