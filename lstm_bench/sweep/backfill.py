"""A study's records told to MLflow as the sweep that wrote them would have: after an outage, or to another store.

Neither Optuna nor a framework is needed. Records know digits and seconds, but no time of day. Where `study.db` lies beside
them, plain sqlite reads from it when each row began and ended, and the digits that the records round off. Elsewhere the
rows are laid one after the other, as long as each took, from the moment when `environment.json` was written.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lstm_bench.core import config as schema
from lstm_bench.core import fileio, safe_load, vocabulary
from lstm_bench.core.errors import StorageError
from lstm_bench.data.task import recorded
from lstm_bench.study import diagnostics, pareto
from lstm_bench.study import search_space as spaces
from lstm_bench.study.candidates import Candidate, digest, standing
from lstm_bench.study.reader import Recorded
from lstm_bench.study.summary import outcome
from lstm_bench.tracking import runs
from lstm_bench.tracking.client import Tracking

Row = dict[str, Any]
_WORDS = (*runs.TAGS, *runs.PROBE_WORDS, "values")  # columns that stay text


def described(config: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    """What `Tracking.start` is told of a study.

    Args:
      config: As in `config.yaml`: no password in it.
      environment: As in `environment.json`.
    """
    settings = config["study"]
    environment = json.loads(json.dumps(environment, sort_keys=True, default=str))  # as it is read from its file
    return {
        "id": environment.get("study_id"),
        "name": settings["name"],
        "description": settings["description"],
        "params": schema.flatten(config),
        "tags": {
            "backend": config["backend"]["name"],
            "device": next(iter(environment.get("workers") or [{}])).get("device"),
            "mlflow.source.git.commit": (environment.get("git") or {}).get("commit") or "unknown",
        },
        "dataset": environment.get("dataset"),
        "environment": environment,
        "objective": settings["objective"],
        "direction": settings["direction"],
        "searched": [path for path, domain in spaces.flatten(settings["space"]).items() if domain is not None],
    }


def tracked(config: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of one training's run, by dotted path, from its resolved configuration."""
    return schema.flatten({group: config[group] for group in ("model", "train")})


def bring(folder: Path, tracking: Tracking) -> None:
    """Tells a tracking a whole study: what is there already is left as it is. Failures are in `Tracking.warning`.

    Raises:
      StorageError: when the records cannot be read, or do not say which study they are.
    """
    past = _read(folder)
    tracking.start({**past.described, "id": past.id, "started_ms": past.span[0]})
    past.tell(tracking)
    status, ended_ms = past.status, past.span[1]
    if tracking.was is not None and (past.status != "FINISHED" or not tracking.added):
        status, ended_ms = tracking.was  # the sweep itself knew better
    tracking.finish(status, ended_ms)


def tell(folder: Path, tracking: Tracking) -> None:
    """As `bring`, to a tracking that was started and that others finish."""
    _read(folder).tell(tracking)


def _read(folder: Path) -> Past:
    try:
        return Past(folder)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StorageError(f"{folder}: its records cannot be read ({reason})") from error


class Past:
    """A study as its records, and its database where there is one, tell it.

    Args:
      folder: Of the records.

    Attributes:
      config: `config.yaml`.
      environment: `environment.json`.
      described: What `Tracking.start` is told of it, but for its id and times.
      id: Of the study.
      span: Begin and end of its trainings, milliseconds since 1970.
      status: How a sweep would have left its run: FINISHED, FAILED or KILLED.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = safe_load.from_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
        file = folder / "environment.json"
        self.environment = safe_load.from_json(file.read_text(encoding="utf-8"))
        self.described = described(self.config, self.environment)
        self._settings = self.config["study"]
        self._study = Recorded(self._settings["name"], folder, False, self.config, self.environment)
        own_file = self.config["storage"]["url"] is None
        self._facts, self._ends = _database(folder / "study.db", self._study.name) if own_file else ({}, {})
        self.id = self.environment.get("study_id") or self._facts.get("id")
        if not self.id:
            if not own_file or (folder / "study.db").exists():
                raise StorageError(
                    f"{folder}: the records do not say which study they are",
                    remedy="An older version wrote them: the same sweep command once more mends that.",
                )
            # Records that an older version wrote and that were copied since: they do not change any more.
            content = (folder / "trials.csv").read_bytes() + (folder / "replicates.csv").read_bytes()
            self.id = f"{self._study.name}-{hashlib.sha256(content).hexdigest()[:8]}"
        self._clock = int(file.stat().st_mtime * 1000)
        self._curves = self._histories()
        self._space = spaces.flatten(self._settings["space"])
        self._searched = [path for path, domain in self._space.items() if domain is not None]
        texts = self._study.rows("trials.csv")
        self._configs = {int(row["number"]): self._study.config_of(row) for row in texts}
        self.trials = [self._trial(row) for row in texts]
        self.candidates = self._candidates()
        self.replicates = [self._replicate(row) for row in self._study.rows("replicates.csv")]
        times = [row[key] for row in (*self.trials, *self.replicates) for key in ("started_ms", "ended_ms")]
        self.span = (min(times), max(times)) if times else (self._clock, self._clock)
        self.counts = _counts(self.trials, self._settings["max_retry"])
        self.status = self._status()

    def tell(self, tracking: Tracking) -> None:
        """Makes the calls of a sweep after `Tracking.start` and before `Tracking.finish`."""
        for row in self.trials:
            params = tracked(self._configs[row["number"]])
            tracking.log_trial(row, row["history"], row["started_ms"], row["ended_ms"], params)
        tracking.log_confirmed([candidate.digest for candidate in self.candidates])
        for row in self.replicates:
            candidate = self._candidate(row["trial"])
            params = tracked(self._config(candidate.trial))
            times = row["started_ms"], row["ended_ms"]
            tracking.log_replicate(row, row["history"], *times, params, key=candidate.digest)
        if self.candidates:
            pick = self._pick()
            # Also of a study that is not done: its report from MLflow shows the probe as that from its records does.
            probed = self._facts.get(f"probe/{pick.digest}") or [typed(row) for row in self._study.rows("kernels.csv")]
            if probed:
                tracking.log_kernels(probed)
            if self.status == "FINISHED":
                self._conclude(tracking, pick)

    def _conclude(self, tracking: Tracking, pick: Candidate) -> None:
        if tracking.added or tracking.was is None:  # else they are there: the run was ended after them
            from lstm_bench.report.command import study_figures  # pandas and matplotlib

            with tempfile.TemporaryDirectory(prefix="lstm_bench-") as folder:
                tracking.log_figures(study_figures(self.folder, Path(folder)))
            if (self.folder / "model" / "mlflow").is_dir():
                tracking.log_model(self.folder / "model" / "mlflow", self._study.name)
        best = self._ranked()[:1]
        objective = self._settings["objective"]
        complete = [row for row in self._rows_of(pick) if row["state"] == "COMPLETE"]
        first = next((row for row in complete if row["seed"] == 0), {})
        facts = self.environment.get("dataset") or {}
        judged = diagnostics.judge(
            self.config,
            facts,
            space={path: domain for path, domain in self._space.items() if domain is not None},
            trials=self.trials,
            winner=pick.trial,
            params=pick.params,
            seeds=complete,
            pairs=diagnostics.pairs(first.get("confusion") or {}),
        )
        tracking.log_summary(
            *outcome(
                self.counts,
                (best[0]["number"], best[0][objective]) if best else None,
                pick,
                complete,
                objective=objective,
                task=recorded(facts),
                front=len(self._front()) if self._settings.get("objectives") else None,
                health=judged.sentences(),
            )
        )

    # Rows.

    def _histories(self) -> dict[tuple[str, str, str], list[Row]]:
        found: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in self._study.rows("history.csv"):
            found[row["kind"], row["number"], row.get("trial") or ""].append(typed(row))
        return found

    def _span(self, row: Mapping[str, Any]) -> dict[str, int]:
        """Where nothing says when it was: after the row before it."""
        started_ms = self._clock
        self._clock += round(1000 * (row.get("total_s") or 0))
        return {"started_ms": started_ms, "ended_ms": self._clock}

    def _trial(self, text: Mapping[str, str]) -> Row:
        number = int(text["number"])
        exact = self._ends.get(number, {})
        found = {f"config_{path}": schema.get(self._configs[number], path) for path in self._searched}
        row = {**typed(text), **exact, **found, "number": number}
        row["history"] = exact.get("history") or self._curves[("trial", text["number"], "")]
        return row if "started_ms" in row else row | self._span(row)

    def _replicate(self, text: Mapping[str, str]) -> Row:
        row = {"trial": None, **typed(text), "seed": int(text["seed"])}
        stored = self._facts.get(f"replicate/{self._candidate(row['trial']).digest}/{row['seed']}")
        if stored:
            return {**stored, "trial": row["trial"]}
        history = self._curves[("replicate", text["seed"], text.get("trial") or "")]
        return {**row, "history": history, **self._span(row), **self._evidence(row)}

    def _evidence(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What the first seed left behind of its predictions."""
        if row["seed"] != 0 or row["state"] != "COMPLETE":
            return {}
        place = self.folder / "candidates" / self._candidate(row["trial"]).digest
        if not place.is_dir() and self.candidates:  # published records hold those of the picked configuration
            rows = [typed(text) for text in self._study.rows("replicates.csv")]
            place = self.folder if self._pick(rows).trial == row["trial"] else place
        return runs.evidence(
            {
                file: [typed(text) for text in fileio.read_rows(place / f"{file}.csv")]
                for file in ("predictions", "worst")
            }
        )

    # What the driver would find.

    def _config(self, trial: int | None) -> dict[str, Any]:
        return self._study.config_of(None) if trial is None else self._configs[trial]

    def _ranked(self) -> list[Row]:
        """Complete trials of different parameters, best first; of several objectives those of the front."""
        objective, sign = self._settings["objective"], -1 if self._settings["direction"] == "maximize" else 1
        rows = self._front() if self._settings.get("objectives") else self.trials
        complete = [row for row in rows if row["state"] == "COMPLETE" and row.get(objective) is not None]
        return sorted(complete, key=lambda row: (sign * row[objective], row["number"]))

    def _front(self) -> Sequence[Row]:
        front, objectives = pareto.Front(), self._settings["objectives"]
        for row in self.trials:
            if row["state"] == "COMPLETE":
                front.add(pareto.oriented(row, objectives), row)
        return front.items()

    def _candidates(self) -> list[Candidate]:
        if not self._searched:
            return [self._candidate(None)]
        found: dict[str, Candidate] = {}
        for row in self._ranked():
            candidate = self._candidate(row["number"])
            found.setdefault(json.dumps(candidate.params), candidate)
        return list(found.values())[: self._settings.get("confirm", 1)]

    def _candidate(self, trial: int | None) -> Candidate:
        config = self._config(trial)
        return Candidate(trial, {path: schema.get(config, path) for path in self._searched}, digest(config))

    def _rows_of(self, candidate: Candidate, rows: Sequence[Row] | None = None) -> list[Row]:
        rows = self.replicates if rows is None else rows
        return sorted((row for row in rows if row.get("trial") == candidate.trial), key=lambda row: int(row["seed"]))

    def _pick(self, rows: Sequence[Row] | None = None) -> Candidate:
        maximize = self._settings["direction"] == "maximize"

        def rank(candidate: Candidate) -> tuple[int, float]:
            complete = [row for row in self._rows_of(candidate, rows) if row["state"] == "COMPLETE"]
            return standing([row[self._settings["objective"]] for row in complete], maximize=maximize)

        return min(self.candidates, key=rank)

    def _status(self) -> str:
        """How the last session ended, as far as its rows tell."""
        if self.counts["failed"] > self._settings["max_failed"]:
            return "FAILED"
        rows = self.replicates or self.trials
        ended = sum(self.counts.values()) >= self._settings["n_trials"]
        if ended and rows and not any(row["state"] == "COMPLETE" for row in rows):
            return "FAILED"  # nothing came out
        seeds = self._settings["replicates"] * len(self.candidates)
        if seeds and sum(len(self._rows_of(candidate)) for candidate in self.candidates) >= seeds:
            return "FINISHED"  # also where study.timeout ended the search
        searched = sum(self.counts.values()) >= self._settings["n_trials"]
        return "FINISHED" if searched and not seeds else "KILLED"


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


def _counts(rows: Sequence[Row], max_retry: int) -> dict[str, int]:
    """`complete pruned failed` as `TrialStore.counts`: without the trials that run again under another number."""
    by_number = {row["number"]: row for row in rows}
    retried = {_number(row.get("retry_of")) for row in rows}  # whatever study.max_retry is by now

    def deaths(row: Row | None) -> int:
        found = 0
        while row is not None:
            found += row.get("reason") in vocabulary.RETRY_LIMITED
            row = by_number.get(_number(row.get("retry_of")))
        return found

    def counts(row: Row) -> bool:
        if row.get("reason") in vocabulary.RETRY_UNLIMITED or row["number"] in retried:
            return False
        return row.get("reason") not in vocabulary.RETRY_LIMITED or deaths(row) > max_retry

    ends = [row["state"] for row in rows if row["state"] != "FAIL" or counts(row)]
    return {
        word: ends.count(state) for word, state in (("complete", "COMPLETE"), ("pruned", "PRUNED"), ("failed", "FAIL"))
    }


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _database(path: Path, name: str) -> tuple[dict[str, Any], dict[int, Row]]:
    """Facts of a study and, by number, what its trials came to and when, of Optuna's file; nothing of what is none."""
    if not path.is_file():
        return {}, {}
    with contextlib.suppress(sqlite3.Error, ValueError, TypeError, LookupError):
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=20)) as database:
            (study,) = database.execute("SELECT study_id FROM studies WHERE study_name = ?", (name,)).fetchone()
            attrs = database.execute("SELECT key, value_json FROM study_user_attributes WHERE study_id = ?", (study,))
            facts = {key: json.loads(text) for key, text in attrs}
            rows = database.execute(
                "SELECT number, datetime_start, datetime_complete, value_json FROM trials LEFT JOIN trial_user_attributes"
                " ON trials.trial_id = trial_user_attributes.trial_id AND key = 'result'"
                " WHERE study_id = ? AND datetime_complete IS NOT NULL",
                (study,),
            )
            ends = {
                number: {"started_ms": _ms(started), **_known(json.loads(text or "{}")), "ended_ms": _ms(ended)}
                for number, started, ended, text in rows
            }
        return facts, ends
    return {}, {}


def _known(result: Mapping[str, Any]) -> Row:
    """Of a trial's result, what the row of the records does not say better."""
    return {key: value for key, value in result.items() if key not in ("state", "reason", "number", "seed")}


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)  # Optuna stores naive UTC
