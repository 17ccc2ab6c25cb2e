"""The clock: monotonic, and every second of a trial belongs to exactly one phase, so that the parts add up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

clock = time.perf_counter

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PHASES = ("setup_s", "compile_s", "train_s", "eval_s")


class Phases:
    """An exclusive phase timer: at any moment exactly one phase is charged, `setup_s` where no other is.

    The caller synchronises the device before it enters and leaves a phase; the engines return host numbers, which does.
    """

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._current = "setup_s"
        self._since = clock()

    def _switch(self, phase: str) -> str:
        now = clock()
        self._seconds[self._current] += now - self._since
        before, self._current, self._since = self._current, phase, now
        return before

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Charges the block to `phase`, one of `PHASES`; blocks may nest."""
        if phase not in self._seconds:
            raise ValueError(f"phase {phase!r} is none of {PHASES}")
        before = self._switch(phase)
        try:
            yield
        finally:
            self._switch(before)

    def seconds(self) -> dict[str, float]:
        """Seconds of each phase so far, and `total_s`, their sum."""
        self._switch(self._current)
        return {**self._seconds, "total_s": sum(self._seconds.values())}


def end_ms(started_ms: int, ended_ms: int) -> int:
    """End of what began at `started_ms`, in milliseconds since 1970: not before it, where the clock was put back meanwhile."""
    return max(started_ms, ended_ms)


def time_of_day(since_1970_ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC: `2026-01-31T12:00:00.250Z`."""
    moment = _EPOCH + timedelta(milliseconds=since_1970_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def since_1970_ms(time_of_day: str) -> int:
    """Milliseconds since 1970 of what `time_of_day` wrote.

    Raises:
      ValueError: for any other text, and one that names no time zone.
    """
    moment = datetime.fromisoformat(time_of_day)
    if moment.tzinfo is None:
        raise ValueError(f"{time_of_day!r} names no time zone")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def samples_per_s(samples: int, seconds: float) -> float | None:
    """Throughput, or None when nothing was timed."""
    return samples / seconds if samples and seconds > 0 else None
