"""What a person sees of a sweep: a live display on a terminal, plain lines elsewhere or with NO_COLOR."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from lstm_bench.core import progress
from lstm_bench.core.formatting import counted, duration, number

_STATE_STYLE = {"COMPLETE": "green", "PRUNED": "yellow", "FAIL": "red"}
_EACH_S = 1.0  # between two estimates of what is left, on a terminal
# Between two lines of a log that say what is left: often enough for someone who looks, seldom enough for a sweep of a night.
PLAIN_S = 180.0


class Left(NamedTuple):
    """What is still to be waited for.

    Attributes:
      seconds: Of this study, None as long as nothing tells.
      others_s: Of the studies after it, None as long as nothing tells; 0 where there are none.
    """

    seconds: float | None
    others_s: float | None = 0.0


def _may_colour() -> bool:
    """Whether the user's environment lets a terminal have colours: see no-color.org."""
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


class _Bars(Progress):
    """Bars whose columns fit the terminal: on a narrow one the bar is short and the seconds that have passed go."""

    def __init__(self, console: Console, *, live: bool):
        self._on = console
        super().__init__(console=console, transient=True, disable=not live)

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """See `Progress`."""
        width = self._on.width
        bar_width = 24 if width >= 120 else 12 if width >= 80 else 8
        passed = [TimeElapsedColumn()] if width >= 100 else []
        # How far it is and what is left matter more than the whole of a name.
        said = max((len(task.fields["shown"]) for task in tasks), default=0)
        room = max(width - bar_width - said - 2 - 8 * len(passed), 12)

        def text(field: str, most: int | None = None) -> ProgressColumn:
            return TextColumn(
                field, markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", max_width=most)
            )

        shown = text("{task.fields[shown]}")
        self.columns = (text("{task.description}", room), BarColumn(bar_width=bar_width), shown, *passed)
        return super().make_tasks_table(tasks)


class Display:
    """One sweep's display.

    Args:
      objective: Metric shown as the objective.
      epochs: Epochs of a trial.

    Attributes:
      left: Estimates what is still to be waited for, None where nobody does.
      several: Of a campaign: which study this is, and of how many; None of one study alone.
    """

    def __init__(self, objective: str, epochs: int):
        self.objective, self.epochs = objective, epochs
        self.measure = objective.replace("val_", "test_", 1)  # of a replicate; a session knows what its task has
        self.left: Callable[[], Left] | None = None
        self.several: tuple[int, int] | None = None
        self._terminal = sys.stdout.isatty()
        self.live = self._terminal and _may_colour()
        # With `no_color` alone rich still writes bold on a terminal.
        self.console = Console(file=sys.stdout, force_terminal=self.live, highlight=False, soft_wrap=not self.live)
        self._bars: dict[str, TaskID] = {}
        self._shown: dict[str, str] = {}  # of each task that runs: how far it is
        self._ends: dict[str, tuple[float, float]] = {}  # of what is measured: since when, and seconds it is to take
        self._total: TaskID | None = None
        self._all: TaskID | None = None
        self._counted = self._unit = ""  # "3 of 20 trials", "trial"
        self._look_at, self._say_at = 0.0, time.monotonic() + PLAIN_S
        self._progress = _Bars(self.console, live=self.live)

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _width(self) -> int | None:
        """Columns that a line may have; None where it is not read on a terminal."""
        return self.console.width if self._terminal else None

    def line(self, text: str = "", style: str = "") -> None:
        """Prints one line above the live display."""
        self.console.print(Text(text, style=style))  # a style of the call would be that of the bars too
        self.console.file.flush()

    def facts(self, title: str, facts: Mapping[str, Any]) -> None:
        """Prints a title and aligned facts; of a list, one below the other. What is too long goes on below itself."""
        self.line(title, "bold")
        width, most = max(map(len, facts), default=0), self._width()
        for name, value in facts.items():
            texts = [str(text) for text in (value if isinstance(value, list) else [value])]
            if most:
                room = max(most - width - 4, 20)
                texts = [
                    part
                    for text in texts
                    for part in textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
                ]
            for position, text in enumerate(texts):
                self.line(f"  {'' if position else name:<{width}}  {text}")

    def box(self, text: str) -> None:
        """Prints a notice that cannot be overlooked."""
        if self.live:
            self.console.print(Panel(Text(text), border_style="yellow", title="notice"))
        else:
            bar = "#" * min(78, self._width() or 78)
            self.line(f"{bar}\n# {text}\n{bar}")

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Names what is waited for as long as it lasts, and how far it is where that is told: a bar, or lines."""
        if not self.live:
            self.line(f"{what} ...")
        bar = self._progress.add_task(what, total=None, shown="")

        def moved(what: str, share: float | None) -> None:
            shown = "" if share is None else f"{100 * share:.0f} %"
            self._progress.update(bar, description=what, completed=share or 0, total=share and 1, shown=shown)

        try:
            with progress.heard(moved if self.live else progress.as_lines(self.line)):
                yield
        finally:
            self._progress.remove_task(bar)
            self._progress.refresh()

    def total(self, label: str, done: int, of: int, unit: str = "trial") -> None:
        """Sets the bar of the whole: `done` of `of`."""
        if self._all is None and self.several:
            at, n = self.several
            self._all = self._progress.add_task(f"study {at} of {n}", completed=at - 1, total=n, shown="")
        self._counted = f"{done} of {counted(of, unit)}"
        if unit != self._unit and done < of:  # a log says what begins, and not only a few minutes later
            self._say_at = 0.0
        self._unit = unit
        if self._total is None:
            self._total = self._progress.add_task(label, total=of, shown=self._counted)
        self._progress.update(self._total, completed=done, total=of, description=label)
        self._look_at = 0.0
        self.tick()

    def done(self) -> None:
        """Takes the bars of the whole away: nothing is waited for any more."""
        for bar in (self._all, self._total):
            if bar is not None:
                self._progress.remove_task(bar)
        self._all, self._total, self._counted = None, None, ""
        self._progress.refresh()  # else the next line is printed above what was there

    def tick(self) -> None:
        """Moves what moves by itself, at most once in a second: measurements of known length, and the time that is left."""
        now = time.monotonic()
        if self.live and now >= self._look_at:
            self._look_at = now + _EACH_S
            for name, (since, lasts) in self._ends.items():
                self._progress.update(self._bars[name], completed=min(now - since, 0.95 * lasts))
            if self._total is not None:
                left = self.left() if self.left else None
                words = _left(left.seconds) if left else ""
                self._progress.update(self._total, shown="  ".join(filter(None, (self._counted, words))))
                if self._all is not None and left:
                    all_s = _sum(left)
                    self._progress.update(self._all, shown="" if all_s is None else _left(all_s))
        elif not self.live and now >= self._say_at and self.left and self._counted:
            self._say_at = now + PLAIN_S
            left = self.left()
            text = f"{self._counted}, {_left(left.seconds)}"
            if self.several and (all_s := _sum(left)) is not None:
                text += f", with the studies to come {_left(all_s)}"
            running = ", ".join(f"{name} {shown}" for name, shown in self._shown.items())
            self.line(text + (f" ({running})" if running else ""))

    def started(self, name: str, *, trains: bool = True, about_s: float | None = None) -> None:
        """A task has begun: a training of so many epochs, or a measurement, of which may be known how long it takes."""
        shown, lasts = "starting", about_s
        if trains:
            lasts = self.epochs
        else:
            doing = "fitting" if name.startswith("control ") else "measuring"
            shown = doing + (f", about {duration(about_s)}" if about_s else "")
            if about_s:
                self._ends[name] = time.monotonic(), about_s
            if not self.live:
                self.line(f"{doing} {name}{shown.removeprefix(doing)} ...")
        self._shown[name] = shown
        self._bars[name] = self._progress.add_task(name, total=lasts, shown=shown)

    def _epochs(self, done: float) -> str:
        return f"epoch {int(done)}/{self.epochs}"

    def progress(self, name: str, epochs: float) -> None:
        """So many epochs are done, parts of them too."""
        if name in self._bars:
            bar, shown = self._bars[name], self._shown[name]
            if shown == "starting":
                self._shown[name] = shown = self._epochs(epochs)
            self._progress.update(bar, completed=epochs, shown=shown)

    def epoch(self, name: str, metrics: Mapping[str, Any]) -> None:
        """An epoch has ended."""
        if name in self._bars:
            shown = f"{self._epochs(metrics['epoch'])}  {self.objective} {number(metrics.get(self.objective))}"
            self._shown[name] = shown
            self._progress.update(self._bars[name], completed=metrics["epoch"], shown=shown)

    def gone(self, name: str) -> None:
        """Takes a trial's bar away."""
        self._ends.pop(name, None)
        self._shown.pop(name, None)
        if name in self._bars:
            self._progress.remove_task(self._bars.pop(name))

    def finished(self, name: str, row: Mapping[str, Any], best: str) -> None:
        """One line for a finished trial or replicate."""
        self.gone(name)
        metric = self.objective if row.get(self.measure) is None else self.measure
        self.line(result(name, row, metric, best, self._width()), _STATE_STYLE.get(row["state"], ""))


def result(name: str, row: Mapping[str, Any], metric: str, best: str, width: int | None) -> str:
    """The line of a finished training, in at most `width` columns: what matters least is left out first.

    Args:
      name: Of the trial or seed.
      row: Of the records.
      metric: Which of its figures is its score.
      best: Which trial is the best by now, in words.
      width: Of the terminal, None for as long as it gets.
    """
    state = row["state"] + (f" ({row['reason']})" if row.get("reason") else "")
    rate, weights = row.get("train_samples_per_s"), row.get("n_weights")
    wide = width is None or width >= 120
    parts = {
        "name": f"{name:<12} {state:<{18 if wide else 10}}",
        "score": f" {metric} {number(row.get(metric))}",
        "weights": f"  {weights:>9,} weights" if weights else f"  {'-':>9} weights",
        "speed": f"  {rate:>8,.0f} samples/s" if rate else f"  {'-':>8} samples/s",
        "kernel": f"  {row.get('kernel_ran') or '-':<9}",
        "seconds": f" {row.get('total_s') or 0:6.1f} s",
        "best": f"  {best}",
    }
    for least in ("kernel", "best", "speed", "weights", "seconds"):
        if width is None or len("".join(parts.values()).rstrip()) <= width:
            break
        del parts[least]
    text = "".join(parts.values()).rstrip()
    return text if width is None or len(text) <= width else text[: width - 1] + "…"


def _sum(left: Left) -> float | None:
    return None if left.seconds is None or left.others_s is None else left.seconds + left.others_s


def _left(seconds: float | None) -> str:
    return "time left: known when the first has ended" if seconds is None else f"about {duration(seconds)} left"
