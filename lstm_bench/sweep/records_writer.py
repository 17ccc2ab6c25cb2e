"""The record files that grow with a study: rows are appended as they come, and written whole, in order, from the database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_bench.core import fileio
from lstm_bench.core.clock import time_of_day
from lstm_bench.study import search_space
from lstm_bench.study.columns import (
    BEGUN_COLUMNS,
    CONTROL_COLUMNS,
    HISTORY_COLUMNS,
    KERNEL_COLUMNS,
    REPLICATE_COLUMNS,
    TRIAL_COLUMNS,
    optional,
)
from lstm_bench.sweep import controls
from lstm_bench.sweep.confirm import Confirmation
from lstm_bench.sweep.events import Listener, Row
from lstm_bench.sweep.store.trials import TrialStore

_Key = tuple[str, str, str]  # kind, number or seed, trial of a replicate


class Records(Listener):
    """The files `trials.csv`, `replicates.csv`, `history.csv`, `kernels.csv` and `begun.csv` of a study.

    Args:
      space: Parsed search space.
      study: The opened study.
      confirmation: Of the study.
      folder: `sweeps/<study>/`.
    """

    def __init__(
        self, space: dict[str, search_space.Domain], study: TrialStore, confirmation: Confirmation, folder: Path
    ):
        self._space, self._study, self._confirmation, self._folder = space, study, confirmation, folder

        self._with_epochs: set[_Key] = set()  # trainings that have lines in history.csv since it was written whole

    # As they grow: rows of history.csv in the order in which epochs end.

    def begun(self, rows: Sequence[Row]) -> None:
        again = {key for key in map(_key, rows) if key in self._with_epochs}
        if again:  # a seed whose worker died: its first try has no place beside this one
            path = self._folder / "history.csv"
            lines = [line for line in fileio.read_rows(path) if _key(line) not in again]
            fileio.write_rows(path, (*HISTORY_COLUMNS, *optional(lines)), lines)
            self._with_epochs -= again
        columns = (*BEGUN_COLUMNS, *(f"config_{path}" for path in self._space))
        fileio.append_rows(self._folder / "begun.csv", columns, [_timed(row) for row in rows])

    def epochs_ended(self, rows: Sequence[Row]) -> None:
        self._with_epochs.update(map(_key, rows))
        columns = (*HISTORY_COLUMNS, *optional(rows))
        fileio.append_rows(self._folder / "history.csv", columns, rows)

    def trial_ended(self, name: str, row: Row) -> None:
        fileio.append_rows(self._folder / "trials.csv", self._trial_columns([row]), [_timed(row)])

    def replicate_ended(self, name: str, row: Row) -> None:
        columns = (*REPLICATE_COLUMNS, *optional([row]))
        fileio.append_rows(self._folder / "replicates.csv", columns, [_timed(row)])

    # From the database, whole: at the start what a crash left out, at the end in order.

    def _tables(self) -> Iterator[tuple[Path, Sequence[str], list[dict[str, Any]]]]:
        """Each record file that grows, with its columns and the rows that the database has for it."""
        pick = self._confirmation.pick()
        rows = [_timed(row) for row in self._study.rows()]
        confirmed = [_timed(row) for _, row in self._confirmation.replicated()]
        history = self._history(rows, confirmed)
        yield self._folder / "trials.csv", self._trial_columns(rows), rows
        yield self._folder / "replicates.csv", (*REPLICATE_COLUMNS, *optional(confirmed)), confirmed
        yield self._folder / "history.csv", (*HISTORY_COLUMNS, *optional(history)), history
        probed = None if pick is None else self._study.get(f"probe/{pick.digest}")
        if probed is not None:
            yield self._folder / "kernels.csv", KERNEL_COLUMNS, probed
        fitted = [_timed(row) for row in controls.rows(self._study)]
        if fitted:
            yield self._folder / "controls.csv", (*CONTROL_COLUMNS, *optional(fitted)), fitted

    def _history(self, rows: Sequence[Row], confirmed: Sequence[Row]) -> list[dict[str, Any]]:
        """Epochs in order. Of a trial that its driver could not end, the file alone knows them: they stay under its number."""
        kept: dict[_Key, list[dict[str, Any]]] = {}
        if any(row["reason"] == "driver_died" for row in rows):
            for line in fileio.read_rows(self._folder / "history.csv"):
                kept.setdefault(_key(line), []).append(line)
        history: list[dict[str, Any]] = []
        for row in rows:
            lines = [{"kind": "trial", "number": row["number"], **epoch} for epoch in row["history"]]
            history += lines or (
                kept.get(("trial", str(row["number"]), ""), []) if row["reason"] == "driver_died" else []
            )
        for row in confirmed:
            known = {"kind": "replicate", "number": row["seed"]}
            history += [{**known, **epoch, "trial": row["trial"]} for epoch in row["history"]]
        return history

    def rewrite(self, *, over: bool = True) -> None:
        """Writes `trials.csv`, `replicates.csv`, `history.csv` and `kernels.csv` anew from the database; nothing runs.

        Args:
          over: Whether what this session has begun is of no more interest: MLflow is told of it by `begun.csv`.
        """
        if over:
            fileio.remove(self._folder / "begun.csv")
        self._with_epochs.clear()
        for path, columns, rows in self._tables():
            fileio.write_rows(path, columns, rows)

    def mend(self) -> list[str]:
        """Writes anew which of them does not say what the database says: lost or torn since. Returns their names."""
        mended = [table for table in self._tables() if not fileio.holds(*table)]
        for path, columns, rows in mended:
            fileio.write_rows(path, columns, rows)
        return [path.name for path, _, _ in mended]

    def _trial_columns(self, rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
        """Columns of this study's `trials.csv` for those rows."""
        return (*TRIAL_COLUMNS, *optional(rows), *(f"config_{path}" for path in self._space))


def _key(row: Row) -> _Key:
    """Which training a row of `begun.csv` or `history.csv` is of."""
    kind, trial = row["kind"], row.get("trial")
    return kind, str(row["number"]), "" if trial is None or kind == "trial" else str(trial)


def _timed(row: Row) -> dict[str, Any]:
    """A row with its times of day."""
    times = {"started_at": row.get("started_ms"), "ended_at": row.get("ended_ms")}
    return {**row, **{column: time_of_day(ms) for column, ms in times.items() if ms is not None}}
