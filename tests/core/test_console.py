"""`lstm_bench.core.console`: plain lines where there is no terminal, or with NO_COLOR."""

from __future__ import annotations

import io
import re
import sys

import pytest

from lstm_bench.core import console
from lstm_bench.core.console import Display, Left, result
from lstm_bench.core.formatting import counted, duration, number, values

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


def live(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Makes standard output a terminal of so many columns."""
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))


def shown_on(display: Display) -> None:
    """Bars of a sweep in the middle of its work."""
    display.total("families-recurrent_dropout  best 0.9877 (trial 0)", 1, 20)
    display.started("trial 1")
    display.epoch("trial 1", {"epoch": 1, "val_accuracy": 0.5})
    display.progress("trial 1", 1.5)
    display.started("trial 2")
    display.started("kernel 2 of 6: unrolled, shape 1", trains=False, about_s=8.0)


def rendered(display: Display, width: int) -> list[str]:
    """The live part of the screen as text."""
    screen = console.Console(file=io.StringIO(), width=width, force_terminal=False)
    screen.print(display._progress.get_renderable())
    return screen.file.getvalue().splitlines()


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
    monkeypatch.setattr(Display, "_width", lambda self: 200)
    shown(Display("val_accuracy", 3))
    assert sys.stdout.getvalue().splitlines() == PLAIN


def test_a_terminal_gets_a_live_display(monkeypatch):
    live(monkeypatch, 160)
    shown(Display("val_accuracy", 3))
    text = sys.stdout.getvalue()
    assert "\x1b[32m" in text  # a green COMPLETE
    assert "a notice" in text and "#####" not in text
    assert "0 of 3 trials" in text


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
    assert shown == ["-", "0.0000", "0.9877", "0.0010", "1.2e-04", "-2.0e-04", "12.00"]


def test_a_large_error_has_no_needless_digits() -> None:
    assert [number(value) for value in (6.87e10, 3163241.2, 123456.789, 1234.5, 187.25, -9.99)] == [
        *("6.87e+10", "3,163,241", "123,457", "1,234", "187.2", "-9.9900"),
    ]


def test_how_long_is_said_as_exactly_as_an_estimate_is() -> None:
    shown = [duration(seconds) for seconds in (0.2, 8.4, 33, 97, 130, 3000, 6100, 7200, 100_000, 200_000)]
    assert shown == ["1 s", "8 s", "35 s", "95 s", "2 min", "50 min", "1 h 40 min", "2 h", "27 h 50 min", "2 d 8 h"]


def test_one_is_no_plural() -> None:
    assert [counted(n, "epoch") for n in (0, 1, 2, 1000)] == ["0 epochs", "1 epoch", "2 epochs", "1,000 epochs"]
    assert [counted(n, "study", "studies") for n in (1, 3)] == ["1 study", "3 studies"]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("name", ["trial 3", "trial 1234 seed 12"])
def test_a_result_fits_the_terminal(width: int, name: str) -> None:
    line = result(name, ROW, "val_accuracy", "best 0.9877 (trial 0)", width)
    assert len(line) <= width
    assert name in line and "COMPLETE" in line and "val_accuracy 0.9877" in line
    assert "12.3 s" in line
    assert ("weights" in line) == (width >= 80)
    assert ("samples/s" in line) == (width >= 120)
    assert ("best 0.9877" in line and "generic" in line) == (width == 200)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_of_a_live_display_is_wrapped(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    live(monkeypatch, width)
    display = Display("val_accuracy", 3)
    display.left, display.several = lambda: Left(725.0, 6000.0), (3, 11)
    with display:
        shown_on(display)
        for line in rendered(display, width):
            assert len(line) <= width
        text = "\n".join(rendered(display, width))
    assert "study 3 of 11" in text
    if width >= 80:
        assert "1 of 20 trials  about 12 min left" in text and "about 1 h 50 min left" in text


def test_a_bar_moves_within_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    live(monkeypatch, 120)
    display = Display("val_accuracy", 4)
    with display:
        display.started("trial 0")
        assert "starting" in rendered(display, 120)[0]
        filled = []
        for epochs in (0.5, 0.75, 1.5, 3.5):
            display.progress("trial 0", epochs)
            filled.append(rendered(display, 120)[0].count("━"))
        assert "epoch 3/4" in rendered(display, 120)[0] or "epoch 0/4" in rendered(display, 120)[0]
    task = display._progress.tasks[0]
    assert task.completed == 3.5 and task.total == 4


def test_a_measurement_of_known_length_moves_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    live(monkeypatch, 120)
    display = Display("val_accuracy", 3)
    with display:
        display.started("kernel 2 of 6: xla", trains=False, about_s=8.0)
        shown = rendered(display, 120)[0]
        assert "kernel 2 of 6: xla" in shown and "measuring, about 8 s" in shown
        now = console.time.monotonic() + 4.0
        monkeypatch.setattr(console.time, "monotonic", lambda: now)
        display.tick()
    assert 3.9 < display._progress.tasks[0].completed < 4.2


def test_a_log_has_a_line_for_each_measurement_when_it_begins(capsys) -> None:
    display = Display("val_accuracy", 3)
    display.started("the winner's kernel 1 of 4: generic", trains=False, about_s=8.3)
    display.started("kernel 1 of 6: xla", trains=False)
    said = ["measuring the winner's kernel 1 of 4: generic, about 8 s ...", "measuring kernel 1 of 6: xla ..."]
    assert capsys.readouterr().out.splitlines() == said


def test_a_log_says_what_is_left_every_few_minutes(capsys, monkeypatch) -> None:
    now = console.time.monotonic()
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    display = Display("val_accuracy", 3)
    display.left = lambda: Left(None)
    display.total("smoke", 0, 20)
    display.started("trial 0")
    display.epoch("trial 0", {"epoch": 1, "val_accuracy": 0.5})
    display.tick()
    assert capsys.readouterr().out == "0 of 20 trials, time left: known when the first has ended\n"
    now += console.PLAIN_S + 1
    display.tick()
    display.tick()
    said = "0 of 20 trials, time left: known when the first has ended (trial 0 epoch 1/3  val_accuracy 0.5000)\n"
    assert capsys.readouterr().out == said
    now += console.PLAIN_S + 1
    display.left, display.several = lambda: Left(725.0, 6000.0), (1, 3)
    display.gone("trial 0")
    display.tick()
    said = "0 of 20 trials, about 12 min left, with the studies to come about 1 h 50 min left\n"
    assert capsys.readouterr().out == said


def test_what_is_waited_for_has_a_name(capsys, monkeypatch) -> None:
    with Display("val_accuracy", 3).waiting("reading mnist"):
        assert capsys.readouterr().out == "reading mnist ...\n"
    live(monkeypatch, 80)
    display = Display("val_accuracy", 3)
    with display, display.waiting("reading mnist"):
        assert "reading mnist" in rendered(display, 80)[0]
    assert display._progress.tasks == []


def test_nothing_of_the_whole_is_left_beside_the_summary(monkeypatch) -> None:
    live(monkeypatch, 80)
    display = Display("val_accuracy", 3)
    display.several = (1, 2)
    with display:
        display.total("smoke", 3, 3)
        display.done()
        assert display._progress.tasks == []
        display.done()


def test_long_facts_go_on_below_themselves(monkeypatch) -> None:
    live(monkeypatch, 60)
    Display("val_accuracy", 3).facts("smoke", {"search": "word " * 20, "data": "digits"})
    lines = re.sub(r"\x1b\[[0-9;]*m", "", sys.stdout.getvalue()).splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert (
        lines[1].startswith("  search  word")
        and lines[2].startswith("          word")
        and lines[-1] == "  data    digits"
    )


def test_a_regression_s_replicate_shows_its_test_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("val_mse", 3) as display:
        display.finished("seed 0", {"state": "COMPLETE", "test_mse": 0.0123, "val_mse": 0.5}, "")
        display.finished("trial 0", {"state": "COMPLETE", "val_mse": 0.5}, "")
    said = capsys.readouterr().out.splitlines()
    assert "test_mse 0.0123" in said[0] and "val_mse 0.5000" in said[1]
