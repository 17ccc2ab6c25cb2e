"""`lstm_bench.sweep.packing`: which trials are asked for together, and which of those share a program."""

from __future__ import annotations

import pytest

from lstm_bench.core.errors import StorageError
from lstm_bench.sweep.packing import PackBuilder
from lstm_bench.sweep.store.trials import Asked


def cohorts(shapes: str, size: int = 3, whole: bool = False) -> tuple[PackBuilder, list[Asked]]:
    """PackBuilder of trials whose shapes are the letters, and the trials that are left to be asked for; "s" is never packed."""
    left = [Asked(number, {"shape": shape}, number, None) for number, shape in enumerate(shapes)]
    ask = lambda: left.pop(0) if left else None  # noqa: E731
    sizes = lambda trial: 1 if trial.params["shape"] == "s" else size  # noqa: E731
    return PackBuilder(ask, sizes, lambda trial: trial.params["shape"], whole=whole), left


def turns(made: PackBuilder) -> list[list[int]]:
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


def test_what_has_failed_together_is_trained_one_by_one_from_then_on():
    made, _ = cohorts("aaaaabbb")
    (first, *_) = made.next()
    made.unpack(first)
    assert turns(made) == [[3], [4], [5, 6, 7]]


def test_where_a_pack_was_measured_fewer_are_trained_one_by_one():
    assert turns(cohorts("aaaaa", whole=True)[0]) == [[0, 1, 2], [3], [4]]
    assert turns(cohorts("abab", whole=True)[0]) == [[0], [2], [1], [3]]


def test_what_waits_can_be_given_up():
    made, left = cohorts("abca")
    made.next()
    assert len(left) == 1
    assert [trial.number for trial in iter(made.pop_waiting, None)] == [2, 1]
    assert turns(made) == [[3]]


def test_what_was_asked_for_before_the_study_failed_can_be_given_up():
    def ask() -> Asked:
        if len(asked) == 2:
            raise StorageError("away")
        asked.append(Asked(len(asked), {}, 0, None))
        return asked[-1]

    asked: list[Asked] = []
    made = PackBuilder(ask, size=lambda trial: 3, program=lambda trial: "a")
    with pytest.raises(StorageError):
        made.next()
    assert [trial.number for trial in iter(made.pop_waiting, None)] == [1, 0]
