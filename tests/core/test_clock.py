"""`lstm_bench.core.clock`: every second belongs to exactly one phase."""

from __future__ import annotations

import pytest

from lstm_bench.core import clock
from lstm_bench.core.clock import Phases, samples_per_s


@pytest.fixture
def now(monkeypatch):
    """A clock that a test sets by hand."""
    time = [100.0]
    monkeypatch.setattr(clock, "clock", lambda: time[0])
    return time


def test_phases_add_up_and_what_is_unclaimed_is_setup(now):
    phases = Phases()
    now[0] += 1
    with phases("compile_s"):
        now[0] += 2
    now[0] += 4
    with phases("train_s"):
        now[0] += 8
    with phases("eval_s"):
        now[0] += 16
    now[0] += 32
    assert phases.seconds() == {"setup_s": 37, "compile_s": 2, "train_s": 8, "eval_s": 16, "total_s": 63}


def test_a_nested_phase_takes_its_time_from_the_outer_one(now):
    phases = Phases()
    with phases("train_s"):
        now[0] += 1
        with phases("eval_s"):
            now[0] += 2
        now[0] += 4
    assert phases.seconds() == {"setup_s": 0, "compile_s": 0, "train_s": 5, "eval_s": 2, "total_s": 7}


def test_a_phase_left_by_an_exception_is_charged(now):
    phases = Phases()
    with pytest.raises(KeyError), phases("train_s"):
        now[0] += 3
        raise KeyError
    now[0] += 1
    assert phases.seconds() == {"setup_s": 1, "compile_s": 0, "train_s": 3, "eval_s": 0, "total_s": 4}


def test_it_can_be_read_in_the_middle(now):
    phases = Phases()
    with phases("train_s"):
        now[0] += 3
        assert phases.seconds()["train_s"] == 3
        now[0] += 3
    assert phases.seconds()["train_s"] == 6


def test_an_unknown_phase_is_an_error():
    with pytest.raises(ValueError, match="phase 'training' is none of"), Phases()("training"):
        pass


def test_the_clock_never_goes_back_with_the_wall_s():
    import time

    assert clock.clock is time.perf_counter


@pytest.mark.parametrize(("samples", "seconds", "rate"), [(100, 4, 25.0), (0, 4, None), (100, 0, None)])
def test_throughput_needs_samples_and_time(samples, seconds, rate):
    assert samples_per_s(samples, seconds) == rate
