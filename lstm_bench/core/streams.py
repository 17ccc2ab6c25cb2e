"""Standard output and error that are closed, full, or read by nobody any more: no reason to end a sweep, nor for a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class Lasting:
    """A text stream that goes on as if it were read: from its first failed write on, what it gets goes nowhere."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes, or drops, a text; returns its length."""
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Writes, or drops, what waits."""
        with self._dropping():
            self._stream.flush()

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):  # full, without a reader; closed
            discard(self._stream)


def discard(stream: TextIO) -> None:
    """Lets a stream's file lead nowhere, so that what waits in it can be written when Python ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def ensure() -> None:
    """Opens what the caller has closed (`>&-`): the next file would get its number, and be written to by others."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the least number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115 - a number


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """What is printed inside never fails: for commands whose work is worth more than their words."""
    ensure()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (s if isinstance(s, Lasting) else Lasting(s) for s in before)
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout, sys.stderr = before
