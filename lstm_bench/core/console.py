"""What a person sees of a sweep: a live display on a terminal, plain lines elsewhere or with NO_COLOR."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lstm_bench.core.formatting import number

_STATE_STYLE = {"COMPLETE": "green", "PRUNED": "yellow", "FAIL": "red"}


def _may_colour() -> bool:
    """Whether the user's environment lets a terminal have colours: see no-color.org."""
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


class Display:
    """One sweep's display.

    Args:
      objective: Metric shown as the objective.
      epochs: Epochs of a trial.
    """

    def __init__(self, objective: str, epochs: int):
        self.objective, self.epochs = objective, epochs
        self.measure = objective.replace("val_", "test_", 1)  # of a replicate; a session knows what its task has
        self.live = sys.stdout.isatty() and _may_colour()
        # With `no_color` alone rich still writes bold on a terminal.
        self.console = Console(file=sys.stdout, force_terminal=self.live, highlight=False, soft_wrap=not self.live)
        self._bars: dict[str, TaskID] = {}
        self._total: TaskID | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[shown]}"),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.live,
        )

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def line(self, text: str = "", style: str = "") -> None:
        """Prints one line above the live display."""
        self.console.print(escape(text), style=style or None)
        self.console.file.flush()

    def facts(self, title: str, facts: Mapping[str, Any]) -> None:
        """Prints a title and aligned facts; of a list, one below the other."""
        self.line(title, "bold")
        width = max(map(len, facts), default=0)
        for name, value in facts.items():
            for position, text in enumerate(value if isinstance(value, list) else [value]):
                self.line(f"  {'' if position else name:<{width}}  {text}")

    def box(self, text: str) -> None:
        """Prints a notice that cannot be overlooked."""
        if self.live:
            self.console.print(Panel(escape(text), border_style="yellow", title="notice"))
        else:
            bar = "#" * 78
            self.line(f"{bar}\n# {text}\n{bar}")

    def total(self, label: str, done: int, of: int) -> None:
        """Sets the bar of the whole: `done` of `of`."""
        if self._total is None:
            self._total = self._progress.add_task("", total=of, shown="")
        self._progress.update(self._total, completed=done, total=of, description=label, shown=f"{done}/{of}")

    def started(self, name: str, *, trains: bool = True) -> None:
        """A task has begun: a training of so many epochs, or something of which no end is known."""
        total, shown = (self.epochs, f"epoch 0/{self.epochs}") if trains else (None, "measuring")
        self._bars[name] = self._progress.add_task(name, total=total, shown=shown)

    def epoch(self, name: str, metrics: Mapping[str, Any]) -> None:
        """An epoch has ended."""
        if name in self._bars:
            shown = f"epoch {metrics['epoch']}/{self.epochs}  {self.objective} {number(metrics.get(self.objective))}"
            self._progress.update(self._bars[name], completed=metrics["epoch"], shown=shown)

    def gone(self, name: str) -> None:
        """Takes a trial's bar away."""
        if name in self._bars:
            self._progress.remove_task(self._bars.pop(name))

    def finished(self, name: str, row: Mapping[str, Any], best: str) -> None:
        """One line for a finished trial or replicate."""
        self.gone(name)
        metric = self.objective if row.get(self.measure) is None else self.measure
        state = row["state"] + (f" ({row['reason']})" if row.get("reason") else "")
        rate = row.get("train_samples_per_s")
        speed = f"{rate:>8,.0f} samples/s" if rate else f"{'-':>8} samples/s"
        weights = f"{row['n_weights']:>9,} weights" if row.get("n_weights") else f"{'-':>9} weights"
        text = (
            f"{name:<12} {state:<18} {metric} {number(row.get(metric))}  {weights}  {speed}"
            f"  {row.get('kernel_ran') or '-':<9} {row.get('total_s') or 0:6.1f} s  {best}"
        )
        self.line(text.rstrip(), _STATE_STYLE.get(row["state"], ""))
