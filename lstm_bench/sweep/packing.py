"""Trials that are asked for together, so that those of one program can be trained together: a pack each."""

from __future__ import annotations

from collections.abc import Callable

from lstm_bench.sweep.store.trials import Asked


class PackBuilder:
    """The next trials of a study, one alone or several of one program at a time.

    As many are asked for as the first one's program takes. Those of them that need another program wait for the next turn,
    as packs of their own.

    Args:
      ask: Gives the study's next trial, None when there is none for now.
      size: Of a trial: how many of its kind one program trains.
      program: Of a trial: equal where one program trains both.
      whole: Whether fewer than `size` are trained one by one: what was measured of a pack holds for its size.
    """

    def __init__(
        self,
        ask: Callable[[], Asked | None],
        size: Callable[[Asked], int],
        program: Callable[[Asked], str],
        *,
        whole: bool = False,
    ) -> None:
        self._ask, self._size, self._program, self._whole = ask, size, program, whole
        self._asked: list[Asked] = []
        self._waiting: list[list[Asked]] = []
        self._alone: set[str] = set()  # programs

    def next(self) -> list[Asked]:
        """Trials to be trained in one program, mostly one alone; none when there is nothing for now."""
        if not self._waiting:
            self._gather()
        return self._waiting.pop(0) if self._waiting else []

    def _gather(self) -> None:
        asked = self._asked
        while not asked or len(asked) < self._most(asked[0]):
            trial = self._ask()
            if trial is None:
                break
            asked.append(trial)
        cohorts: dict[str, list[Asked]] = {}
        for trial in asked:
            cohorts.setdefault(self._program(trial), []).append(trial)
        for cohort in cohorts.values():
            size = self._most(cohort[0])
            for start in range(0, len(cohort), size):
                part = cohort[start : start + size]
                apart = self._whole and len(part) < size
                self._waiting += [[trial] for trial in part] if apart else [part]
        asked.clear()

    def _most(self, trial: Asked) -> int:
        return 1 if self._program(trial) in self._alone else self._size(trial)

    def unpack(self, trial: Asked) -> None:
        """Trains what has this trial's program one by one from now on."""
        self._alone.add(self._program(trial))

    def pop_waiting(self) -> Asked | None:
        """One of the trials that wait, which does not from then on; None when none does."""
        if self._asked:
            return self._asked.pop()
        while self._waiting:
            if self._waiting[-1]:
                return self._waiting[-1].pop()
            self._waiting.pop()
        return None
