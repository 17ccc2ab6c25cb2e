"""A study as its records tell it, also while they grow: what MLflow is told of it.

Rows of older versions name no time of day: they are laid one after the other, as long as each took, from the moment when
`environment.json` was written.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from lstm_bench.core import configuration, fileio, schema
from lstm_bench.core.clock import since_1970_ms
from lstm_bench.core.errors import StorageError
from lstm_bench.data.objective import settled_objective
from lstm_bench.study import candidates, contenders, search_space
from lstm_bench.study.candidates import Candidate, digest
from lstm_bench.study.control_rows import control_metrics
from lstm_bench.study.health import health
from lstm_bench.study.reader import StudyRecord
from lstm_bench.study.summary import outcome
from lstm_bench.tracking import runs

Row = dict[str, Any]
Key = tuple[str, int, int | None]  # kind, number or seed, trial of a replicate
_WORDS = (*runs.TAGS, *runs.PROBE_WORDS, "values", "started_at", "ended_at")  # columns that stay text


class Tail:
    """Rows of a record file as they are appended.

    Args:
      path: Of the file, which need not be there.
    """

    def __init__(self, path: Path):
        self._path, self._header = path, list[str]()
        self._file: BinaryIO | None = None  # open, so that no other file gets its number

    def read(self) -> tuple[bool, list[dict[str, str]]]:
        """Whether the file was written anew since the last call, and its rows since then; without a torn last line."""
        try:
            now = self._path.stat().st_ino
        except FileNotFoundError:
            return False, []
        anew = self._file is None or os.fstat(self._file.fileno()).st_ino != now
        if anew:
            self.close()
            self._file, self._header = self._path.open("rb"), []
        assert self._file is not None
        at, body = self._file.tell(), self._file.read()
        whole = body[: body.rfind(b"\n") + 1]
        self._file.seek(at + len(whole))
        lines = list(csv.reader(io.StringIO(whole.decode("utf-8"), newline="")))
        if not self._header and lines:
            self._header = lines.pop(0)
        return anew, [dict(zip(self._header, line, strict=False)) for line in lines]

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class GrowingRecord(StudyRecord):
    """The records of a study while they grow.

    Args:
      folder: Of the records.

    Attributes:
      id: Of the study.
      described: What `Tracking.start` is told of it, but for its id and times.
      begun: Rows of `begun.csv`, the last of each training.
      over: Rows of trials and replicates that ended, in the order of their files.
    """

    def __init__(self, folder: Path):
        super().__init__(folder, strict=True)
        self.described = described(self.config, self.environment)
        self._settings = self.config["study"]
        self.name = self._settings["name"]
        self.id = self.study_id or self._older_id()
        self._clock = int((folder / "environment.json").stat().st_mtime * 1000)
        self._searched = list(self.space())
        self._tails = {name: Tail(folder / f"{name}.csv") for name in ("begun", "trials", "replicates", "history")}
        self.begun: dict[Key, Row] = {}
        self.over: dict[Key, Row] = {}
        self._texts: dict[int, dict[str, str]] = {}  # of trials, as they are written
        self._curves: dict[Key, list[Row]] = defaultdict(list)
        self._spans: dict[Key, tuple[int, int]] = {}

    def _older_id(self) -> str:
        own_file = self.config["storage"]["url"] is None
        if not own_file or (self.folder / "study.db").exists():
            raise StorageError(
                f"{self.folder}: the records do not say which study they are",
                remedy="An older version wrote them: the same sweep command once more mends that.",
            )
        # Records that an older version wrote and that were copied since: they do not change any more.
        content = (self.folder / "trials.csv").read_bytes() + (self.folder / "replicates.csv").read_bytes()
        return f"{self._settings['name']}-{hashlib.sha256(content).hexdigest()[:8]}"

    def read(self) -> None:
        """Takes in what was written since the last call.

        In the order in which it is written, backwards: of a training that has ended, all epochs are read then.
        """
        self.begun |= {_key(row): row for row in map(typed, self._tails["begun"].read()[1])}
        for kind, column in (("trial", "number"), ("replicate", "seed")):
            anew, texts = self._tails[f"{kind}s"].read()
            if anew:
                self.over = {key: row for key, row in self.over.items() if key[0] != kind}
            for text in texts:
                key = (kind, int(text[column]), _whole(text.get("trial")) if kind == "replicate" else None)
                self.over[key] = self._row(key, text)
        anew, texts = self._tails["history"].read()
        times: dict[Key, dict[int, int]] = {}
        if anew:  # epochs keep the time when they were first seen
            times = {
                key: {epoch["epoch"]: epoch["at_ms"] for epoch in epochs if "at_ms" in epoch}
                for key, epochs in self._curves.items()
            }
            self._curves.clear()
        for row in map(typed, texts):
            key = _key(row)
            if at_ms := times.get(key, {}).get(row["epoch"]):
                row["at_ms"] = at_ms
            self._curves[key].append(row)

    def _row(self, key: Key, text: dict[str, str]) -> Row:
        if key[0] == "replicate":
            return {"trial": None, **typed(text), "seed": key[1]}
        self._texts[key[1]] = text
        config = self.config_of(text)
        return typed(text) | {f"config_{path}": configuration.get(config, path) for path in self._searched}

    def ended(self) -> Iterator[tuple[Key, Row]]:
        """Trainings that ended: trials, then replicates."""
        for kind in ("trial", "replicate"):
            yield from [item for item in self.over.items() if item[0][0] == kind]

    def close(self) -> None:
        """Closes the files."""
        for tail in self._tails.values():
            tail.close()

    def epochs(self, key: Key) -> list[Row]:
        """Epochs of a training so far."""
        return self._curves[key]

    def forget(self, key: Key) -> None:
        """Lets go of the epochs of a training whose end was told."""
        self._curves.pop(key, None)

    def span(self, key: Key, row: Row) -> tuple[int, int]:
        """Start and end of a training, milliseconds since 1970; where nothing says when it was, after the row before it."""
        if row.get("started_at") and row.get("ended_at"):
            return since_1970_ms(row["started_at"]), since_1970_ms(row["ended_at"])
        if key not in self._spans:
            started_ms = self._clock
            self._clock += round(1000 * (row.get("total_s") or 0))
            self._spans[key] = started_ms, self._clock
        return self._spans[key]

    def started_ms(self) -> int | None:
        """When the first training began; None before."""
        found = [self.span(key, row)[0] for key, row in self.ended()]
        found += [since_1970_ms(row["started_at"]) for row in self.begun.values()]
        return min(found, default=None)

    def ended_ms(self) -> int:
        """When the last training ended; of none, when the environment was written."""
        return max((self.span(key, row)[1] for key, row in self.ended()), default=self._clock)

    def params(self, key: Key) -> dict[str, Any]:
        """Parameters of a training's run, by dotted path, from its resolved configuration."""
        kind, number, trial = key
        config = self._config(trial)
        if kind == "trial":
            config = self.config_of(self._texts.get(number) or self.begun[key])
        return configuration.flatten({"model": config["model"], "train": config["train"]})

    def evidence(self, row: Row) -> dict[str, Any]:
        """What the first seed left behind of its predictions."""
        if row["seed"] != 0 or row["state"] != "COMPLETE":
            return {}
        place = self.folder / "candidates" / self.candidate(row["trial"]).digest
        if not place.is_dir() and self.candidates():  # published records hold those of the picked configuration
            place = self.folder if self.pick().trial == row["trial"] else place
        return runs.evidence(
            {
                file: [typed(text) for text in fileio.read_rows(place / f"{file}.csv")]
                for file in ("predictions", "worst")
            }
        )

    def probed(self) -> list[Row]:
        """The winner's probe."""
        return [typed(row) for row in self.rows("kernels.csv")]

    def controls(self) -> list[Row]:
        """What a network had to beat."""
        return [typed(row) for row in fileio.read_rows(self.folder / "controls.csv")]

    # What the driver would find.

    def _trials(self) -> list[Row]:
        return [row for key, row in self.over.items() if key[0] == "trial"]

    def _replicates(self) -> list[Row]:
        return [row for key, row in self.over.items() if key[0] == "replicate"]

    def _counts(self) -> dict[str, int]:
        return candidates.ends(self._trials(), self._settings["max_retry"])

    def _config(self, trial: int | None) -> schema.Sweep:
        return self.config_of(None if trial is None else self._texts[trial])

    def _ranked(self) -> list[Row]:
        """Complete trials, best first; of several objectives those of the front."""
        objective, maximize = settled_objective(self._settings), self._settings["direction"] == "maximize"
        among = self._front() if self._settings.get("objectives") else self._trials()
        return candidates.ranked(among, objective, maximize=maximize)

    def _front(self) -> list[Row]:
        return candidates.front(self._trials(), self._settings["objectives"])

    def candidates(self) -> list[Candidate]:
        """The configurations that the study confirms, as far as it has come."""
        if not self._searched:
            return [self.candidate(None)]
        found = candidates.distinct(
            self._ranked(), lambda row: json.dumps([row[f"config_{path}"] for path in self._searched])
        )
        return [self.candidate(row["number"]) for row in found[: self._settings.get("confirm", 1)]]

    def candidate(self, trial: int | None) -> Candidate:
        """The configuration that a trial found; of None the only one there is."""
        config = self._config(trial)
        return Candidate(trial, {path: configuration.get(config, path) for path in self._searched}, digest(config))

    def _rows_of(self, candidate: Candidate) -> list[Row]:
        rows = [row for row in self._replicates() if row.get("trial") == candidate.trial]
        return sorted(rows, key=lambda row: int(row["seed"]))

    def pick(self) -> Candidate:
        """The candidate that is picked."""

        def validation(candidate: Candidate) -> list[float]:
            complete = [row for row in self._rows_of(candidate) if row["state"] == "COMPLETE"]
            return [row[settled_objective(self._settings)] for row in complete]

        return candidates.picked(self.candidates(), validation, maximize=self._settings["direction"] == "maximize")[0]

    def status(self) -> str:
        """How the last session ended, as far as its rows tell: FINISHED, FAILED or KILLED."""
        counts = self._counts()
        if counts["failed"] > self._settings["max_failed"]:
            return "FAILED"
        rows = self._replicates() or self._trials()
        searched = sum(counts.values()) - counts["requeued"] >= self._settings["n_trials"]
        if searched and rows and not any(row["state"] == "COMPLETE" for row in rows):
            return "FAILED"  # nothing came out
        found = self.candidates()
        seeds = self._settings["replicates"] * len(found)
        if seeds and sum(len(self._rows_of(candidate)) for candidate in found) >= seeds:
            return "FINISHED"  # also where study.timeout ended the search
        return "FINISHED" if searched and not seeds else "KILLED"

    def outcome(self, pick: Candidate) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the study came to, as metrics and tags."""
        best, objective = self._ranked()[:1], settled_objective(self._settings)
        complete = [row for row in self._rows_of(pick) if row["state"] == "COMPLETE"]
        facts = self.environment.get("dataset") or {}
        verdict = health(StudyRecord(self.folder, strict=True))
        judged = verdict.sentences() if verdict else []
        metrics, tags = outcome(
            self._counts(),
            (best[0]["number"], best[0][objective]) if best else None,
            pick,
            complete,
            objective=objective,
            task=self.task,
            front=len(self._front()) if self._settings.get("objectives") else None,
            health=judged,
        )
        fitted = self.controls()
        found = contenders.recommended(
            self.name,
            self.folder,
            self.config,
            facts,
            self.task,
            rows=complete,
            controls=fitted,
            counts=self._counts(),
            health=judged,
        )
        if found:
            tags["verdict"] = " ".join((*found.lines, *found.rest))
        return metrics | control_metrics(fitted, self.task), tags


def described(config: schema.Sweep, environment: Mapping[str, Any]) -> dict[str, Any]:
    """What `Tracking.start` is told of a study.

    Args:
      config: `config.yaml`.
      environment: `environment.json`.
    """
    settings = config["study"]
    return {
        "id": environment.get("study_id"),
        "name": settings["name"],
        "description": settings["description"],
        "params": configuration.flatten(config),
        "tags": {
            "backend": config["backend"]["name"],
            "device": next(iter(environment.get("workers") or [{}])).get("device"),
            "mlflow.source.git.commit": (environment.get("git") or {}).get("commit") or "unknown",
        },
        "dataset": environment.get("dataset"),
        "environment": environment,
        "objective": settings["objective"],
        "direction": settings["direction"],
        "searched": [path for path, domain in search_space.flatten(settings["space"]).items() if domain is not None],
    }


def typed(row: Mapping[str, str]) -> Row:
    """A record's row as the sweep held it: numbers as such, None where there is nothing, text where it is meant."""
    return {
        column: (text or None) if column in _WORDS or column.startswith("config_") else _value(text)
        for column, text in row.items()
        if column is not None
    }


def _value(text: str | None) -> Any:
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _whole(value: Any) -> int | None:
    return None if value in (None, "") else int(value)


def _key(row: Row) -> Key:
    """Which training a row of `begun.csv` or `history.csv` is of."""
    return row["kind"], int(row["number"]), row.get("trial") if row["kind"] == "replicate" else None
