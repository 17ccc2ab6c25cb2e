"""One task in a process of its own: ends of every kind, and the two limits, on a launcher and a clock that are made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lstm_bench.core.hardware import Slot
from lstm_bench.launcher import single_task
from lstm_bench.launcher.base import Event
from lstm_bench.launcher.single_task import Process

SLOT = Slot(0, "a CPU", "exclusive", (0,))
TASK = {"kind": "cell", "kernel": "generic"}
READY = Event("ready", None, {"event": "ready", "seen": "cpu"})
DIED = Event("died", "it", {"exit": -9, "log": "worker-0.log"})
LIMIT_S, SILENCE_S = 60.0, 1000.0

Look = tuple[float, list[Event]]  # seconds that one look takes, and what it finds


def phase(name: str) -> Event:
    """A task's report."""
    return Event("epoch", "it", {"phase": name, "operation": "inference"})


def result(**values: Any) -> Event:
    return Event("result", "it", {"state": "COMPLETE", **values})


class FakeLauncher:
    """Takes the place of `LocalLauncher`: each look takes its seconds, and finds what it is to find; then nothing more."""

    looks: Sequence[Look] = ()
    now = 0.0
    made: list[FakeLauncher] = []  # noqa: RUF012

    def __init__(self, slots: Sequence[Slot], backend: str, log_dir: Path, **options: Any):
        self.given = (list(slots), backend, log_dir, options)
        self.submitted: list[tuple[str, Mapping[str, Any]]] = []
        self.closed = 0
        self._looks = list(FakeLauncher.looks)
        FakeLauncher.made.append(self)

    def submit(self, key: str, task: Mapping[str, Any]) -> None:
        self.submitted.append((key, task))

    def events(self, timeout_s: float) -> list[Event]:
        assert 0 < timeout_s <= 1  # the limits are looked at as often
        assert FakeLauncher.now < 10 * SILENCE_S, "waits for ever"
        seconds, found = self._looks.pop(0) if self._looks else (10.0, [])
        FakeLauncher.now += seconds
        return found

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_task, "LocalLauncher", FakeLauncher)
    monkeypatch.setattr(single_task, "SILENCE_S", SILENCE_S)
    monkeypatch.setattr(single_task.time, "monotonic", lambda: FakeLauncher.now)
    FakeLauncher.now, FakeLauncher.looks, FakeLauncher.made = 5.0, (), []


def made(*looks: Look) -> Process:
    FakeLauncher.looks = looks
    return Process(SLOT, "torch", Path("logs"), keras=False)


def ran(*looks: Look) -> tuple[dict[str, Any], list[str]]:
    """The result of a task, and the phases that it reported."""
    reported: list[Mapping[str, Any]] = []
    end = made(*looks).run(TASK, reported.append, LIMIT_S)
    return end, [report["phase"] for report in reported]


def test_one_worker_is_started_at_once_and_lives_for_one_task() -> None:
    it = made()
    (launcher,) = FakeLauncher.made
    slots, backend, log_dir, options = launcher.given
    assert (slots, backend, log_dir, options["keras"]) == ([SLOT], "torch", Path("logs"), False)
    assert options["recycle_after"] > 1  # or the launcher would start another after the task, for nothing
    assert (it.kind, it.seen) == (("torch", False), None)


def test_it_is_waited_for_until_its_framework_is_there() -> None:
    it = made((30, []), (30, [READY]))
    assert it.wait()
    assert it.seen == "cpu"
    assert FakeLauncher.now == 65


def test_one_that_is_ready_is_not_waited_for_again() -> None:
    it = made((1, [READY]))
    assert it.wait() and it.wait()
    assert FakeLauncher.now == 6


def test_one_that_dies_of_its_framework_is_not_ready() -> None:
    it = made((1, []), (1, [Event("died", None, {"exit": -11, "log": "worker-0.log"})]), (1, [READY]))
    assert not it.wait()
    assert it.seen is None


def test_one_whose_framework_hangs_is_given_up() -> None:
    it = made()
    assert not it.wait()
    assert it.seen is None
    assert SILENCE_S < FakeLauncher.now - 5 <= SILENCE_S + 20


def test_a_task_reports_and_its_result_is_handed_on() -> None:
    looks = (1, [READY]), (1, [phase("compile")]), (1, [phase("time"), phase("done")]), (1, [result(more=1)])
    assert ran(*looks) == ({"state": "COMPLETE", "more": 1}, ["compile", "time", "done"])
    assert FakeLauncher.made[0].submitted == [("it", TASK)]


def test_a_failure_of_the_task_is_handed_on_as_it_is() -> None:
    fail = {"state": "FAIL", "reason": "oom", "detail": "no memory"}
    assert ran((1, [phase("compile"), result(**fail)])) == (fail, ["compile"])


def test_what_was_reported_before_a_death_is_kept() -> None:
    end, reported = ran((1, [phase("compile"), phase("done")]), (1, [DIED]))
    assert end == {"state": "FAIL", "reason": "died", "detail": "the process died (exit -9)"}
    assert reported == ["compile", "done"]


def test_a_compile_within_its_limit_goes_on() -> None:
    looks = (1, [phase("compile")]), (LIMIT_S - 1, []), (1, [phase("time")]), (1, [result()])
    assert ran(*looks) == ({"state": "COMPLETE"}, ["compile", "time"])


def test_a_compile_beyond_its_limit_is_ended() -> None:
    end, reported = ran((1, [phase("compile")]), (LIMIT_S, []), (0.5, []), (1, [result()]))
    assert end == {"state": "FAIL", "reason": "compile_limit", "detail": "compile exceeded 60 s"}
    assert reported == ["compile"]
    assert FakeLauncher.now == 5 + 1 + LIMIT_S + 0.5


@pytest.mark.parametrize("after", ["time", "check", "done"])
def test_only_what_lies_between_compile_and_the_next_report_is_limited(after: str) -> None:
    looks = (500, []), (1, [phase("compile"), phase(after)]), (500, []), (500, [result()])
    assert ran(*looks)[0] == {"state": "COMPLETE"}


def test_every_operation_has_the_limit_to_itself() -> None:
    first = (1, [phase("compile")]), (50, [phase("done"), phase("compile")])
    assert ran(*first, (50, [phase("done")]), (1, [result()]))[0] == {"state": "COMPLETE"}
    assert ran(*first, (61, []))[0]["reason"] == "compile_limit"


def test_a_result_that_comes_with_the_limit_counts() -> None:
    assert ran((1, [phase("compile")]), (LIMIT_S + 1, [result()]))[0] == {"state": "COMPLETE"}


def test_a_task_that_falls_silent_is_given_up_as_hung() -> None:
    end, reported = ran((900, [phase("time")]))
    assert end == {"state": "FAIL", "reason": "hung", "detail": "nothing was heard for 1000 s"}
    assert reported == ["time"]
    assert SILENCE_S < FakeLauncher.now - 905 <= SILENCE_S + 20


def test_every_sign_of_life_begins_the_silence_anew() -> None:
    looks = [(900.0, [phase("time")]) for _ in range(4)]
    assert ran(*looks, (900, [result()]))[0] == {"state": "COMPLETE"}


def test_its_end_closes_the_launcher() -> None:
    it = made()
    (launcher,) = FakeLauncher.made
    assert launcher.closed == 0
    it.end()
    assert launcher.closed == 1
