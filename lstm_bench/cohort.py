"""Trials that are asked for together, so that those of one program can be trained together: a cohort each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lstm_bench.study import Asked


class Cohorts:
    """The next trials of a study, one alone or several of one program at a time.

    As many are asked for as the first one's program takes. Those of them that need another program wait for the next turn,
    as cohorts of their own: a search of few shapes is packed well, one of many shapes not at all.

    Args:
      ask: Gives the study's next trial, None when there is none for now.
      size: Of a trial: how many of its kind one program trains.
      program: Of a trial: equal where one program trains both.
    """

    def __init__(
        self, ask: Callable[[], Asked | None], size: Callable[[Asked], int], program: Callable[[Asked], str]
    ) -> None:
        self._ask, self._size, self._program = ask, size, program
        self._waiting: list[list[Asked]] = []

    def next(self) -> list[Asked]:
        """Trials to be trained in one program, mostly one alone; none when there is nothing for now."""
        if not self._waiting:
            self._gather()
        return self._waiting.pop(0) if self._waiting else []

    def _gather(self) -> None:
        asked: list[Asked] = []
        while not asked or len(asked) < self._size(asked[0]):
            trial = self._ask()
            if trial is None:
                break
            asked.append(trial)
        cohorts: dict[str, list[Asked]] = {}
        for trial in asked:
            cohorts.setdefault(self._program(trial), []).append(trial)
        for cohort in cohorts.values():
            size = self._size(cohort[0])
            self._waiting += [cohort[start : start + size] for start in range(0, len(cohort), size)]

    def alone(self, trials: Sequence[Asked]) -> None:
        """Gives trials back, each to be trained by itself."""
        self._waiting += [[trial] for trial in trials]

    def give_up(self) -> list[Asked]:
        """The trials that wait; none do from then on."""
        waiting = [trial for cohort in self._waiting for trial in cohort]
        self._waiting.clear()
        return waiting
