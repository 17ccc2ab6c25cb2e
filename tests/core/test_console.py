"""`lstm_bench.core.console`: plain lines where there is no terminal, or with NO_COLOR."""

from __future__ import annotations

import io
import sys

import pytest

from lstm_bench.core.console import Display
from lstm_bench.core.formatting import number, values

ROW = {
    "state": "COMPLETE",
    "val_accuracy": 0.98765,
    "n_weights": 220874,
    "train_samples_per_s": 3412.4,
    "kernel_ran": "generic",
    "total_s": 12.34,
}


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(display: Display) -> None:
    """Everything that a display can show."""
    with display:
        display.facts("smoke: a [small] sweep", {"data": "digits", "workers": 2})
        display.box("a notice")
        display.total("smoke", 0, 3)
        display.started("trial 0")
        display.epoch("trial 0", {"epoch": 1, "val_accuracy": 0.5})
        display.epoch("trial 9", {"epoch": 1})
        display.finished("trial 0", ROW, "best 0.9877 (trial 0)")
        display.finished("trial 1", {"state": "FAIL", "reason": "nan"}, "")
        display.gone("trial 1")
        display.line("a warning", "yellow")


PLAIN = [
    "smoke: a [small] sweep",
    "  data     digits",
    "  workers  2",
    "#" * 78,
    "# a notice",
    "#" * 78,
    "trial 0      COMPLETE           val_accuracy 0.9877    220,874 weights     3,412 samples/s  generic     12.3 s  best"
    " 0.9877 (trial 0)",
    "trial 1      FAIL (nan)         val_accuracy -          - weights         - samples/s  -            0.0 s",
    "a warning",
]


def test_without_a_terminal_there_are_plain_lines(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich's own switch must not undo it
    display = Display("val_accuracy", 3)
    assert not display.live
    shown(display)
    assert capsys.readouterr().out.splitlines() == PLAIN


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colour_gets_plain_lines(monkeypatch, name, value):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv(name, value)
    shown(Display("val_accuracy", 3))
    assert sys.stdout.getvalue().splitlines() == PLAIN


def test_a_terminal_gets_a_live_display(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    shown(Display("val_accuracy", 3))
    text = sys.stdout.getvalue()
    assert "\x1b[32m" in text  # a green COMPLETE
    assert "a notice" in text and "#####" not in text
    assert "0/3" in text


def test_long_lines_are_not_broken(capsys):
    Display("val_accuracy", 3).line("x" * 500)
    assert capsys.readouterr().out == "x" * 500 + "\n"


def test_a_replicate_shows_its_test_accuracy(capsys):
    Display("val_accuracy", 3).finished("seed 0", {**ROW, "test_accuracy": 0.5}, "")
    assert "test_accuracy 0.5000" in capsys.readouterr().out


def test_searched_values_in_a_few_words():
    params = {"model.units": 87, "train.learning_rate": 0.00212345, "train.optimizer": "adam", "model.x": None}
    assert values(params) == "units=87 learning_rate=0.00212 optimizer=adam x=null"


def test_a_small_error_is_not_shown_as_zero() -> None:
    shown = [number(value) for value in (None, 0.0, 0.98765, 0.001, 0.00012345, -0.0002, 12.0)]
    assert shown == ["-", "0.0000", "0.9877", "0.0010", "1.2e-04", "-2.0e-04", "12.0000"]


def test_a_regression_s_replicate_shows_its_test_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("val_mse", 3) as display:
        display.finished("seed 0", {"state": "COMPLETE", "test_mse": 0.0123, "val_mse": 0.5}, "")
        display.finished("trial 0", {"state": "COMPLETE", "val_mse": 0.5}, "")
    said = capsys.readouterr().out.splitlines()
    assert "test_mse 0.0123" in said[0] and "val_mse 0.5000" in said[1]
