"""MLflow follows a study's folder: what its records say and MLflow does not hold is added, and nothing twice.

One function does it for a sweep that runs (every few seconds, see `live.py`), for its end, and for `sync`. It reads only
what was appended since it last looked, and needs neither Optuna nor a framework.
"""

from __future__ import annotations

import contextlib
import csv
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lstm_bench.core.clock import since_1970_ms
from lstm_bench.core.errors import StorageError
from lstm_bench.study.candidates import Candidate
from lstm_bench.tracking.client import Tracking
from lstm_bench.tracking.records import GrowingRecord, Key, Row
from lstm_bench.tracking.run_index import Training

Figures = Callable[[Path, Path], Iterable[Path]]
_TRIES = 3  # of one run to tell, when the store has answered before each


def follow(folder: Path, tracking: Tracking, figures: Figures) -> None:
    """Brings a study that nobody works on into MLflow. What MLflow raises is in `Tracking.error`.

    Args:
      folder: `sweeps/<study>/`, or published records.
      tracking: Not started.
      figures: Draws those of a study's folder into another one; returns their files.

    Raises:
      StorageError: when the records cannot be read, or do not say which study they are.
    """
    follower = Follower(folder, tracking, figures)
    try:
        follower.conclude()
    finally:
        follower.close()


class Follower:
    """Tells a tracking what a study's folder says.

    Args:
      folder: Of the study.
      tracking: What is told.
      figures: See `follow`.
      own: Whether only what this session has begun is told before the end: other drivers tell theirs.
      stopped: Whether to stop between two runs.
    """

    def __init__(
        self,
        folder: Path,
        tracking: Tracking,
        figures: Figures,
        *,
        own: bool = False,
        stopped: Callable[[], bool] = lambda: False,
    ):
        self._folder, self._tracking, self._figures, self._stopped = folder, tracking, figures, stopped
        self._own = own
        self._records: GrowingRecord | None = None
        self._open = False
        self._settled: set[Key] = set()  # whose end was told since the store was opened
        self._sent: dict[Key, tuple[str, int]] = {}  # of one that runs, the start of its try and the epochs told
        self._confirmed: list[str] | None = None
        self._tries: dict[Key, int] = defaultdict(int)
        self.refused: set[Key] = set()  # by a store that answers

    def open(self) -> None:
        """Opens the study's own run; after a failure, anew.

        Raises:
          StorageError: as `Tracking.start`, and when the records cannot be read.
        """
        tracking = self._tracking
        tracking.warning = tracking.error = None
        records = self._read()
        tracking.start({**records.described, "id": records.id, "started_ms": records.started_ms()})
        self._open = tracking.error is None
        self._settled.clear()
        self._sent.clear()
        self._confirmed = None

    def look(self) -> None:
        """Tells what is new since the last look.

        Raises:
          StorageError: as `open`.
        """
        with _readable(self._folder):
            self._look()

    def _look(self) -> None:
        if not self._open:
            self.open()
        records = self._read()
        for key, row in records.ended():
            if key not in self._settled and (not self._own or key in records.begun):
                self._tell(key, row, self._tell_end)
        for key, row in records.begun.items():
            if key not in self._settled and key not in records.over:
                self._tell(key, row, self._tell_epochs)
        if any(kind == "replicate" for kind, _, _ in records.begun):
            self._tell_confirmed()
        self._open = self._tracking.error is None

    def conclude(self, status: str | None = None) -> None:
        """Tells what is left at the end: what other drivers did, what the study came to, and how it ended.

        Args:
          status: FINISHED, FAILED or KILLED; None for what the records tell.

        Raises:
          StorageError: as `open`.
        """
        with _readable(self._folder):
            self._conclude(status)

    def _conclude(self, status: str | None) -> None:
        tracking, self._own = self._tracking, False
        if self._open:
            tracking.refresh_runs()
        self._look()
        if self._stopped():
            return
        records = self._read()
        tracking.end_left_over()
        self._tell_confirmed()
        known, ended_ms = status, None
        if known is None:
            known, ended_ms = records.status(), records.ended_ms()
        if fitted := records.controls():
            tracking.log_controls(fitted)
        if records.candidates():
            pick = records.pick()
            # Also of a study that is not done: its report from MLflow shows the probe as that from its records does.
            if probed := records.probed():
                tracking.log_kernels(probed)
            if known == "FINISHED":
                self._tell_outcome(pick, anew=status is not None or bool(tracking.added) or tracking.was is None)
        if status is None and tracking.was is not None and (known != "FINISHED" or not tracking.added):
            known, ended_ms = tracking.was  # the sweep itself knew better
        tracking.finish(known, ended_ms)
        self._open = tracking.error is None

    def _read(self) -> GrowingRecord:
        """The records as they are by now."""
        if self._records is None:
            self._records = GrowingRecord(self._folder)
        self._records.read()
        return self._records

    def close(self) -> None:
        """Closes the files that it reads."""
        if self._records is not None:
            self._records.close()

    def _tell(self, key: Key, row: Row, make: Callable[[Key, Row], None]) -> None:
        """Makes the calls for one run. One that the store never takes holds up no other."""
        tracking = self._tracking
        if tracking.error is not None or key in self.refused or self._stopped():
            return
        make(key, row)
        if tracking.error is None:
            return
        self._tries[key] += 1
        if refused(tracking.error) or self._tries[key] >= _TRIES:
            self.refused.add(key)
            tracking.warning = tracking.error = None

    def _training(self, key: Key) -> Training:
        assert self._records is not None
        kind, number, trial = key
        if kind == "trial":
            return Training.of_trial(number)
        return Training.of_replicate(self._records.candidate(trial).digest, number, trial)

    def _tell_epochs(self, key: Key, row: Row) -> None:
        """What a training that runs has come to."""
        assert self._records is not None
        records, epochs = self._records, self._records.epochs(key)
        if self._sent.get(key) == (row["started_at"], len(epochs)):
            return
        training, now = self._training(key), time.time_ns() // 1_000_000
        self._tracking.log_begun(training, row, records.params(key), since_1970_ms(row["started_at"]))
        for epoch in epochs:
            epoch.setdefault("at_ms", now)  # and told again with the same, should the answer be lost
        if epochs:
            self._tracking.log_epochs(training, epochs)
        if self._tracking.error is None:
            self._sent[key] = (row["started_at"], len(epochs))

    def _tell_end(self, key: Key, row: Row) -> None:
        assert self._records is not None
        records, training = self._records, self._training(key)
        if not self._tracking.is_told(training.kind, training.identity):
            epochs, span = records.epochs(key), records.span(key, row)
            if any("at_ms" in epoch for epoch in epochs):  # it was followed
                for epoch in epochs:
                    epoch.setdefault("at_ms", span[1])
            if key[0] == "trial":
                self._tracking.log_trial(row, epochs, *span, records.params(key))
            else:
                row = row | records.evidence(row)
                self._tracking.log_replicate(
                    row, epochs, *span, records.params(key), key=records.candidate(key[2]).digest
                )
        if self._tracking.error is None:
            self._settled.add(key)
            records.forget(key)

    def _tell_confirmed(self) -> None:
        assert self._records is not None
        keys = [candidate.digest for candidate in self._records.candidates()]
        if keys != self._confirmed:
            self._tracking.log_confirmed(keys)
            self._confirmed = keys

    def _tell_outcome(self, pick: Candidate, anew: bool) -> None:
        assert self._records is not None
        records, model = self._records, self._folder / "model" / "mlflow"
        if anew and self._tracking.error is None:  # else they are there: the run was ended after them
            with tempfile.TemporaryDirectory(prefix="lstm_bench-") as folder:
                self._tracking.log_figures(self._figures(self._folder, Path(folder)))
            if model.is_dir():
                self._tracking.log_model(model, records.name)
        self._tracking.log_summary(*records.outcome(pick))


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """What the records of a folder raise in the block, as one fault. What MLflow raises does not come here."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StorageError(f"{folder}: its records cannot be read ({reason})") from error


def refused(error: Exception) -> bool:
    """Whether the store understood and will never take it: MLflow's bad requests."""
    get_status = getattr(error, "get_http_status_code", lambda: None)
    return bool(get_status() == 400)
