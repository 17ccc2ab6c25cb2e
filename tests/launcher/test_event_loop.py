"""`lstm_bench.launcher.event_loop`: tasks in, results out, whatever workers and people do in between."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import fake
import pytest

from lstm_bench.core import errors
from lstm_bench.core.console import Display
from lstm_bench.core.errors import InterruptedByUser, StorageError
from lstm_bench.launcher import event_loop
from lstm_bench.launcher.base import Event
from lstm_bench.launcher.event_loop import Loop, Running
from lstm_bench.launcher.protocol import TrialTask


@dataclass(frozen=True, kw_only=True)
class Named(TrialTask):
    """A training that a script knows by its name."""

    name: str


def task(name: str, **values) -> Running:
    given = {"config": fake.config(), "kernel": "generic", "steps_per_execution": 50, "seed": 0}
    return Running(name, Named(kind="trial", name=name, **given, **values))


def runs(script, names="abc", *, workers=1, timeout=None, report=None):
    """Runs tasks by a script; returns the launcher and `(name, state, reason)` in the order of their ends."""
    launcher = fake.FakeLauncher(script, workers)
    waiting, ended = list(names), []

    def finished(running, result):
        ended.append((running.name, result.state, result.reason))

    Loop(launcher, Display("val_accuracy", 3), timeout).run(
        lambda: task(waiting.pop(0)) if waiting else None, finished, report
    )
    assert launcher.capacity() == workers
    return launcher, ended


def test_every_task_runs_once_and_workers_are_kept_busy():
    launcher, ended = runs(fake.train, "abcde", workers=2)
    assert ended == [(name, "COMPLETE", None) for name in "abcde"]
    assert launcher.most == 2
    assert [given["name"] for given in launcher.submitted] == list("abcde")


def test_a_result_may_make_new_work():
    launcher, waiting, ended = fake.FakeLauncher(), [task("a")], []

    def finished(running, result):
        ended.append(running.name)
        if running.tries < 3:
            waiting.append(Running("a", running.task, tries=running.tries + 1))

    Loop(launcher, Display("val_accuracy", 3), None).run(lambda: waiting.pop(0) if waiting else None, finished)
    assert ended == ["a", "a", "a"]


def test_work_that_others_may_yet_make_is_waited_for(monkeypatch):
    monkeypatch.setattr(event_loop, "_LOOK_S", 0.05)
    given = iter(
        [
            event_loop.NO_TASK_YET,
            event_loop.NO_TASK_YET,
            task("a"),
            event_loop.NO_TASK_YET,
            task("b"),
            event_loop.NO_TASK_YET,
            None,
        ]
    )
    launcher, ended = fake.FakeLauncher(), []
    Loop(launcher, Display("val_accuracy", 3), None).run(
        lambda: next(given), lambda running, _: ended.append(running.name)
    )
    assert ended == ["a", "b"]


def test_who_waits_for_the_work_of_others_can_be_interrupted():
    launcher = fake.FakeLauncher()

    def none_yet():
        os.kill(os.getpid(), signal.SIGINT)
        return event_loop.NO_TASK_YET

    waits = Loop(launcher, Display("val_accuracy", 3), None)
    with pytest.raises(InterruptedByUser):
        waits.run(none_yet, lambda *_: None)
    assert waits.interrupted()


def test_epochs_are_kept_and_reported():
    seen = []

    def report(running, epoch):
        seen.append((running.name, epoch.epoch))
        return False

    runs(fake.train, "ab", report=report)
    assert seen == [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("b", 3)]


def test_a_stopped_task_is_pruned_with_its_last_reported_epoch():
    ended = []
    launcher, waiting = fake.FakeLauncher(), [task("a")]
    Loop(launcher, Display("val_accuracy", 3), None).run(
        lambda: waiting.pop(0) if waiting else None,
        lambda running, result: ended.append((running, result)),
        lambda running, epoch: epoch.epoch == 2,
    )
    ((running, result),) = ended
    assert launcher.stopped == ["a/1"]
    assert (result.state, result.epochs) == ("PRUNED", 2)
    assert result.scores["val_accuracy"] == fake.metrics(fake.config(), 2)["val_accuracy"]
    assert result.scores == running.epochs[-1].scores
    assert result.train_s > running.epochs[-1].train_s  # its phases add up, and are not those of an epoch


def test_a_stop_that_comes_too_late_still_prunes():
    def late(given):
        yield fake.metrics(given["config"], 1)
        yield fake.complete(given)

    _, ended = runs(late, "a", report=lambda running, metrics: True)
    assert ended == [("a", "PRUNED", None)]


def test_a_task_that_does_not_heed_is_stopped_once_and_keeps_its_epochs():
    launcher, waiting, asked, stops, ended = fake.FakeLauncher(), [task("a")], [], [], []
    launcher.stop = stops.append
    Loop(launcher, Display("val_accuracy", 3), None).run(
        lambda: waiting.pop(0) if waiting else None,
        lambda running, result: ended.append((result.state, result.epochs)),
        lambda running, epoch: asked.append(epoch.epoch) or True,
    )
    # Its epochs are heard of, and recorded, though nothing is decided by them any more.
    assert (asked, stops, ended) == ([1, 2, 3], ["a/1"], [("PRUNED", 3)])


def test_a_worker_s_death_is_a_result():
    def dies(given):
        yield fake.metrics(given["config"], 1)
        yield fake.Died(-11)

    ended = []
    waiting = [task("a")]
    Loop(fake.FakeLauncher(dies), Display("val_accuracy", 3), None).run(
        lambda: waiting.pop(0) if waiting else None, lambda running, result: ended.append(result.row())
    )
    assert ended == [{"state": "FAIL", "reason": "worker_died", "detail": "exit -11"}]


def test_a_task_that_hangs_is_ended_after_its_time(monkeypatch):
    # An hour passes in the task that hangs, and in no other, however busy the machine is.
    clock, real = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + clock[0])

    def hangs(given):
        clock[0] = 0.0
        if given["name"] == "b":
            yield fake.metrics(given["config"], 1)
            yield lambda: clock.__setitem__(0, 3600.0)
            yield fake.HANG
        else:
            yield from fake.train(given)

    launcher, ended = runs(hangs, "abc", timeout=600)
    assert ended == [("a", "COMPLETE", None), ("b", "FAIL", "timeout"), ("c", "COMPLETE", None)]
    assert launcher.killed == ["b/1"]


def test_wall_clock_jumps_end_nothing(monkeypatch):
    real = time.time

    def jumps(given):
        yield fake.metrics(given["config"], 1)
        yield lambda: monkeypatch.setattr(time, "time", lambda: real() + 3600)
        yield fake.complete(given)

    _, ended = runs(jumps, "ab", timeout=30)
    assert [state for _, state, _ in ended] == ["COMPLETE", "COMPLETE"]


@pytest.mark.parametrize(
    ("name", "code"), [("ConfigError", 2), ("KernelError", 2), ("DataError", 3), ("StorageError", 4), ("NoSuch", 1)]
)
def test_a_fault_that_a_worker_found_stops_everything(name, code):
    def finds(given):
        yield fake.fault(name, "the worker's own line")

    with pytest.raises(errors.LstmBenchError) as caught:
        runs(finds)
    assert str(caught.value) == "the worker's own line"
    assert caught.value.exit_code == code
    assert type(caught.value).__name__ == (name if name != "NoSuch" else "LstmBenchError")


def test_what_comes_together_with_a_fault_is_heard_and_what_still_runs_is_queued_again():
    def script(given):
        if given["name"] == "a":
            yield fake.fault("DataError", "gone")
        elif given["name"] == "b":
            yield fake.complete(given)
        else:
            yield fake.HANG

    launcher, waiting, ended = fake.FakeLauncher(script, 3), [task(name) for name in "abc"], []
    with pytest.raises(errors.DataError, match="gone"):
        Loop(launcher, Display("val_accuracy", 3), None).run(
            lambda: waiting.pop(0) if waiting else None,
            lambda running, result: ended.append((running.name, result.state, result.reason)),
        )
    assert ended == [("b", "COMPLETE", None), ("c", "FAIL", "interrupted")]


def test_workers_that_die_before_their_first_task_are_an_installation_s_fault():
    launcher = fake.FakeLauncher()
    launcher.capacity = lambda: 1
    launcher.submit = lambda key, given: setattr(launcher, "capacity", lambda: 0)
    launcher.events = lambda timeout_s: [Event("died", None, {"exit": 1, "log": "logs/worker-0.log"})]
    launcher.kill = lambda key: None
    with pytest.raises(StorageError) as caught:
        Loop(launcher, Display("val_accuracy", 3), None).run(lambda: task("a"), lambda running, result: None)
    assert str(caught.value) == "3 workers died before their first task. See logs/worker-0.log."


def test_workers_that_get_ready_in_between_are_no_fault():
    launcher = fake.FakeLauncher()
    idle = [Event(kind, None, {"exit": 1, "log": "x"}) for kind in ("died", "died", "ready", "died", "died")]
    real = launcher.events
    launcher.events = lambda timeout_s: [idle.pop(0)] if idle else real(timeout_s)
    waiting, ended = [task("a")], []
    Loop(launcher, Display("val_accuracy", 3), None).run(
        lambda: waiting.pop(0) if waiting else None, lambda running, result: ended.append(result.state)
    )
    assert ended == ["COMPLETE"]


def test_events_of_tasks_that_are_gone_are_ignored():
    launcher = fake.FakeLauncher()
    real, stale = launcher.events, [Event("result", "z/1", {"state": "COMPLETE"}), Event("epoch", "z/1", {"epoch": 1})]
    launcher.events = lambda timeout_s: [*stale, *real(timeout_s)]
    waiting, ended = [task("a")], []
    Loop(launcher, Display("val_accuracy", 3), None).run(
        lambda: waiting.pop(0) if waiting else None, lambda running, result: ended.append(running.name)
    )
    assert ended == ["a"]


# Interrupts.


def interrupts(times: int, number=signal.SIGINT, then="train"):
    """A script whose first task raises a signal, then goes on or hangs."""

    def script(given):
        yield fake.metrics(given["config"], 1)
        if given["name"] == "a":
            for _ in range(times):
                yield lambda: os.kill(os.getpid(), number)
        if then == "hang":
            yield fake.HANG
        else:
            yield fake.complete(given)

    return script


def interrupted(script, names="abc", workers=1):
    launcher = fake.FakeLauncher(script, workers)
    waiting, ended = [task(name) for name in names], []
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    since = time.monotonic()
    with pytest.raises(InterruptedByUser) as caught:
        Loop(launcher, Display("val_accuracy", 3), None).run(
            lambda: waiting.pop(0) if waiting else None,
            lambda running, result: ended.append((running.name, result.state, result.reason)),
        )
    assert str(caught.value) == "interrupted. The same command goes on from here."
    assert caught.value.exit_code == 130
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    return launcher, ended, time.monotonic() - since


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_interrupt_lets_running_tasks_finish_and_starts_no_other(number, capsys):
    launcher, ended, _ = interrupted(interrupts(1, number), "abc", workers=2)
    assert ended == [("b", "COMPLETE", None), ("a", "COMPLETE", None)]
    assert len(launcher.submitted) == 2
    assert launcher.killed == []
    assert capsys.readouterr().out == (
        "interrupted: what runs gets 5 s to finish, then it is queued again; Ctrl-C again stops now\n"
    )


def test_what_does_not_finish_within_the_grace_is_queued_again(monkeypatch):
    monkeypatch.setattr(event_loop, "GRACE_S", 0.3)
    launcher, ended, seconds = interrupted(interrupts(1, then="hang"), "abc", workers=2)
    assert ended == [("a", "FAIL", "interrupted"), ("b", "FAIL", "interrupted")]
    assert sorted(launcher.killed) == ["a/1", "b/1"]
    assert 0.3 <= seconds < 2


def test_a_second_interrupt_stops_at_once():
    launcher, ended, seconds = interrupted(interrupts(2, then="hang"), "abc", workers=2)
    assert ended == [("a", "FAIL", "interrupted"), ("b", "FAIL", "interrupted")]
    assert len(launcher.submitted) == 2
    assert seconds < 1


# Work that no worker waits for.


def test_put_off_work_is_done_after_the_next_task_has_started_and_before_the_end():
    launcher, waiting, order = fake.FakeLauncher(), [task("a"), task("b")], []
    submit = launcher.submit

    def noted(key, given):
        order.append(f"start {given['name']}")
        submit(key, given)

    launcher.submit = noted
    known = Loop(launcher, Display("val_accuracy", 3), None)

    def finished(running, result):
        known.defer(lambda: order.append(f"record {running.name}"))

    known.run(lambda: waiting.pop(0) if waiting else None, finished)
    assert order == ["start a", "start b", "record a", "record b"]


def test_put_off_work_is_done_when_a_fault_ends_the_loop():
    def script(given):
        yield fake.complete(given) if given["name"] == "a" else fake.fault("DataError", "gone")

    launcher, waiting, order = fake.FakeLauncher(script, 2), [task("a"), task("b")], []
    known = Loop(launcher, Display("val_accuracy", 3), None)
    with pytest.raises(errors.DataError):
        known.run(
            lambda: waiting.pop(0) if waiting else None,
            lambda running, result: known.defer(lambda: order.append(running.name)),
        )
    assert order == ["a"]


def test_busy_says_whether_anything_runs():
    launcher, waiting, seen = fake.FakeLauncher(workers=2), [task("a"), task("b")], []
    known = Loop(launcher, Display("val_accuracy", 3), None)

    def one_at_a_time():
        seen.append(known.busy())
        return None if known.busy() or not waiting else waiting.pop(0)

    known.run(one_at_a_time, lambda running, result: None)
    assert launcher.most == 1
    assert len(launcher.submitted) == 2
    assert True in seen and not known.busy()
