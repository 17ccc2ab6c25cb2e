"""`lstm_bench.launcher.packing`: several trainings in one program look like a task each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lstm_bench.launcher.base import Event
from lstm_bench.launcher.packing import FAILED, Packing, joined
from lstm_bench.launcher.protocol import CheckTask, EpochResult, ProbeTask, Task, TrialResult, TrialTask, read, written

TIMEOUT = TrialResult(state="FAIL", reason="timeout")


class Below:
    """A launcher that takes notes, and says what it is told to."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.said: list[Event] = []

    def submit(self, key: str, task: Any) -> None:
        self.notes.append(("submit", key, task.get("seeds")))

    def stop(self, key: str) -> None:
        self.notes.append(("stop", key))

    def kill(self, key: str) -> None:
        self.notes.append(("kill", key))

    def events(self, timeout_s: float) -> list[Event]:
        said, self.said = self.said, []
        return said


def trial(seed: int, rate: float = 0.1, kind: Any = "trial", **more: Any) -> TrialTask:
    config = {"train": {"rate": rate}}
    return TrialTask(kind=kind, config=config, seed=seed, kernel="generic", steps_per_execution=50, **more)


@pytest.fixture
def below() -> Below:
    return Below()


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def packing(below: Below, lines: list[str]) -> Packing:
    found = Packing(below, lambda text, style: lines.append(text))  # type: ignore[arg-type]
    found.submit({"alone/1": trial(9)})
    found.submit({f"trial {n}/1": trial(n) for n in range(3)})
    assert below.notes == [("submit", "alone/1", None), ("submit", "trial 0/1", [0, 1, 2])]
    below.notes.clear()
    return found


def heard(packing: Packing, below: Below, *events: Event) -> list[tuple[str, str | None, dict[str, Any]]]:
    below.said = list(events)
    return [(event.kind, event.key, event.body) for event in packing.events(0)]


def epoch(number: int, *going: bool) -> Event:
    return Event(
        "epoch", "trial 0/1", {"each": [{"epoch": number, "of": n} if on else None for n, on in enumerate(going)]}
    )


def test_trials_keep_their_rates_and_replicates_the_folder_of_one_of_them() -> None:
    together = joined([trial(3, 0.1), trial(4, 0.2)])
    assert (together.kind, together.seeds, together.trains) == ("trials", [3, 4], [{"rate": 0.1}, {"rate": 0.2}])
    assert (together.config, together.kernel, together.keep) == ({"train": {"rate": 0.1}}, "generic", None)
    together = joined([trial(5, kind="replicate"), trial(0, kind="replicate", keep="here")])
    assert (together.kind, together.seeds, together.keep, together.trains) == ("pack", [5, 0], "here", ())


@pytest.mark.parametrize(
    "task",
    [
        trial(3, keep="here", for_mlflow=True),
        joined([trial(3), trial(4)]),
        ProbeTask(config={}, kernel="xla", steps_per_execution=1, seconds=0.5, pack=1),
        CheckTask(config={"a": 1}, corners=[{"a": 2}], searched=[{"a": 2}]),
    ],
)
def test_a_task_arrives_as_it_was_sent(task: Task) -> None:
    assert read(json.loads(json.dumps(written(task)))) == task


@pytest.mark.parametrize(
    ("answer", "row"),
    [
        (EpochResult(epoch=1, scores={"val_loss": 0.5}), {"epoch": 1, "val_loss": 0.5}),
        (
            TrialResult(state="PRUNED", n_weights=7, history=[{"epoch": 1}], scores={"val_accuracy": 1.0}),
            {"state": "PRUNED", "n_weights": 7, "history": [{"epoch": 1}], "val_accuracy": 1.0},
        ),
    ],
)
def test_an_answer_arrives_as_it_was_said(answer: EpochResult | TrialResult, row: dict[str, Any]) -> None:
    assert answer.row() == row
    assert type(answer).read(json.loads(json.dumps(row))) == answer


def test_only_what_is_asked_for_travels_and_other_kinds_are_left_alone() -> None:
    assert written(trial(0)).keys() == {"kind", "config", "seed", "kernel", "steps_per_execution"}
    assert read({"kind": "cell", "cell": {}}) == {"kind": "cell", "cell": {}}


def test_what_is_alone_passes_as_it_is(packing: Packing, below: Below) -> None:
    result = Event("result", "alone/1", {"state": "COMPLETE"})
    assert heard(packing, below, Event("ready", None), result) == [
        ("ready", None, {}),
        ("result", "alone/1", result.body),
    ]
    packing.stop("alone/1")
    assert packing.kill("alone/1", TIMEOUT) == TIMEOUT
    assert below.notes == [("stop", "alone/1"), ("kill", "alone/1")]


def test_each_member_has_its_own_epochs_and_its_own_result(packing: Packing, below: Below) -> None:
    found = heard(packing, below, epoch(1, True, False, True))
    assert found == [("epoch", f"trial {n}/1", {"epoch": 1, "of": n}) for n in (0, 2)]
    members = [{"state": "COMPLETE"}, {"state": "FAIL", "reason": "nan"}, {"state": "COMPLETE"}]
    found = heard(packing, below, Event("result", "trial 0/1", {"state": "COMPLETE", "members": members}))
    assert found == [("result", f"trial {n}/1", member) for n, member in enumerate(members)]


def test_it_is_stopped_when_none_that_is_left_is_to_go_on(packing: Packing, below: Below) -> None:
    heard(packing, below, epoch(1, True, True, True))
    packing.stop("trial 0/1")
    packing.stop("trial 1/1")
    assert below.notes == []
    assert [key for _, key, _ in heard(packing, below, epoch(2, True, True, True))] == ["trial 2/1"]
    heard(packing, below, epoch(3, True, True, False))  # the third has failed
    assert below.notes == [("stop", "trial 0/1")]


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("died", {"exit": -9}, "worker_died"),
        ("result", {"state": "FAIL", "reason": "oom"}, "oom"),
    ],
)
def test_that_it_fails_says_nothing_of_its_members(
    packing: Packing, below: Below, lines: list[str], kind: str, body: dict[str, Any], reason: str
) -> None:
    assert heard(packing, below, Event(kind, "trial 0/1", body)) == [
        ("result", f"trial {n}/1", FAILED) for n in range(3)
    ]
    assert lines == [f"trial 0 and 2 more: {reason} in one program, now one by one"]


def test_it_is_killed_once_for_all(packing: Packing, below: Below, lines: list[str]) -> None:
    late = [packing.kill(f"trial {n}/1", TIMEOUT).row() for n in range(3)]
    assert (late, below.notes, len(lines)) == ([FAILED] * 3, [("kill", "trial 0/1")], 1)


def test_an_interrupted_member_says_so(packing: Packing, below: Below, lines: list[str]) -> None:
    ended = TrialResult(state="FAIL", reason="interrupted")
    assert [packing.kill(f"trial {n}/1", ended) for n in range(3)] == [ended] * 3
    assert (below.notes, lines) == ([("kill", "trial 0/1")], [])


def test_a_fault_ends_the_sweep(packing: Packing, below: Below) -> None:
    fault = {"state": "FAULT", "error": "DataError", "detail": "no data"}
    assert heard(packing, below, Event("result", "trial 0/1", fault)) == [("result", "trial 0/1", fault)]
    interrupted = TrialResult(state="FAIL", reason="interrupted")
    assert packing.kill("trial 1/1", interrupted) == interrupted
    assert below.notes == []
