"""How far work has come is told to the innermost listener, and said in a log every few seconds."""

from __future__ import annotations

import pytest

from lstm_bench.core import progress


def test_a_log_has_a_line_every_few_seconds_the_first_after_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [100.0], list[str]()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "_told_at", 0.0)  # else by the clock of whoever told something before
    with progress.heard(progress.as_lines(said.append)):
        for second in range(13):
            now[0] = 100.0 + second
            progress.tell("reading my.csv", second / 20)
        progress.tell("keeping my.csv")
        now[0] += progress.LINE_S
        progress.tell("keeping my.csv")
    assert said == ["reading my.csv: 25 %", "reading my.csv: 50 %", "keeping my.csv"]


def test_who_listens_first_hears_what_a_bar_would_show(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    progress.tell("nobody listens")
    with progress.heard(lambda what, share: told.append(what)), progress.shown():
        progress.tell("reading my.csv")
    assert told == ["reading my.csv"] and capsys.readouterr().err == ""
