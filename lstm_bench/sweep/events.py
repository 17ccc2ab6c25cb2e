"""What happens to the trainings of a study, and who hears of it: records, display, whatever else listens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


class Listener:
    """Hears of events, in their order and by the driver's own thread. Each does nothing unless it is overridden."""

    def search_begun(self, ends: float) -> None:
        """The search begins: no trial after `ends`, on the monotonic clock."""

    def confirmation_begun(self, n: int) -> None:
        """The confirmation begins, with `n` seeds to train."""

    def begun(self, rows: Sequence[Row]) -> None:
        """Trainings have begun together: rows of `columns.BEGUN_COLUMNS` and `config_<path>`, with `started_ms`."""

    def epochs_ended(self, rows: Sequence[Row]) -> None:
        """Epochs have ended: rows of `columns.HISTORY_COLUMNS`."""

    def trial_ended(self, name: str, row: Row) -> None:
        """A trial has ended: its name for people, and its row as `store.trials.row` makes it."""

    def replicate_ended(self, name: str, row: Row) -> None:
        """A seed of the confirmation has ended: its name for people, its row of `columns.REPLICATE_COLUMNS` and more."""


class Events(Listener):
    """Passes every event on.

    Args:
      listeners: In the order in which they hear.
    """

    def __init__(self, *listeners: Listener):
        self.listeners = list(listeners)

    def search_begun(self, ends: float) -> None:
        for listener in self.listeners:
            listener.search_begun(ends)

    def confirmation_begun(self, n: int) -> None:
        for listener in self.listeners:
            listener.confirmation_begun(n)

    def begun(self, rows: Sequence[Row]) -> None:
        for listener in self.listeners:
            listener.begun(rows)

    def epochs_ended(self, rows: Sequence[Row]) -> None:
        for listener in self.listeners:
            listener.epochs_ended(rows)

    def trial_ended(self, name: str, row: Row) -> None:
        for listener in self.listeners:
            listener.trial_ended(name, row)

    def replicate_ended(self, name: str, row: Row) -> None:
        for listener in self.listeners:
            listener.replicate_ended(name, row)
