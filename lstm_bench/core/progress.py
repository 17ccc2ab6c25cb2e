"""How far a long piece of work has come: told where it is done, shown by whoever listens."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Hear = Callable[[str, float | None], None]  # what is done, and the share of it that is: None where that is not known

EACH_S = 0.1  # between two times that a listener is told
LINE_S = 5.0  # between two lines of a log

_hears: list[Hear] = []
_told_at = 0.0


def tell(what: str, share: float | None = None) -> None:
    """Says how far something is, 0 to 1; often, for only some of it is heard."""
    global _told_at
    now = time.monotonic()
    if _hears and (share is None or now - _told_at >= EACH_S):
        _told_at = now
        _hears[-1](what, share)


@contextlib.contextmanager
def heard(hear: Hear) -> Iterator[None]:
    """Has `hear` told as long as it lasts."""
    _hears.append(hear)
    try:
        yield
    finally:
        _hears.pop()


def as_lines(say: Callable[[str], None]) -> Hear:
    """A listener that says a line every few seconds, for a log: the first after as long."""
    last = time.monotonic()

    def hear(what: str, share: float | None) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_S:
            last = time.monotonic()
            say(what + ("" if share is None else f": {100 * share:.0f} %"))

    return hear


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Shows what is told meanwhile on stderr: as a bar on a terminal, else as lines; nothing where another listens already."""
    if _hears:
        yield
        return
    if not sys.stderr.isatty():
        with heard(as_lines(lambda line: print(line, file=sys.stderr, flush=True))):
            yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns: tuple[Any, ...] = TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("reading", total=None)
        with heard(lambda what, share: bars.update(bar, description=what, completed=share or 0, total=share and 1)):
            yield
