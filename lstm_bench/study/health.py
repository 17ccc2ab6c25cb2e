"""How far a study can be trusted, by its records: what the terminal, MLflow, the study's page and the comparison say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lstm_bench.core.errors import ConfigError
from lstm_bench.study import candidates, diagnostics
from lstm_bench.study.reader import StudyRecord, at

Row = dict[str, Any]


def health(study: StudyRecord) -> diagnostics.Verdict | None:
    """What is judged of a study; None where nothing is complete."""
    trials = sorted((row for row in study.table("trials.csv") if row["number"] is not None), key=lambda r: r["number"])
    found = finished(study)
    trial, seeds = next(iter(found.items()), (None, []))
    mine = [row for row in trials if row["number"] == trial] or ranked(study)[:1]
    if not (mine or seeds):
        return None
    facts = study.env("dataset")
    return diagnostics.judge(
        study.config,
        facts if isinstance(facts, Mapping) else {},
        space=study.space(),
        trials=trials if all(study.objective in row for row in trials) else [],
        winner=int(mine[0]["number"]) if mine else None,
        params=_searched(study, mine[0]) if mine else {},
        seeds=_with_curves(study, trial, sorted(seeds, key=lambda row: row["seed"])),
        pairs=study.pairs(),
    )


def ranked(study: StudyRecord) -> list[Row]:
    """Rows of the complete trials with a finite objective, best first; of equals the earlier one."""
    return candidates.ranked(study.table("trials.csv"), study.objective, maximize=study.maximize)


def finished(study: StudyRecord) -> dict[float | None, list[Row]]:
    """Finished replicates by trial, the picked configuration first: the best mean of the objective on validation data.

    With `study.confirm=1` there is one, its trial None where nothing was searched.
    """
    found: dict[float | None, list[Row]] = {}
    for row in study.table("replicates.csv"):
        measured = row.get(study.task.measure.column)
        if row["state"] == "COMPLETE" and measured is not None and math.isfinite(measured):
            found.setdefault(row.get("trial"), []).append(row)
    ranks = {row["number"]: rank for rank, row in enumerate(ranked(study))}
    better_first = sorted(found, key=lambda trial: (ranks.get(trial, len(ranks)), -1 if trial is None else trial))
    known = any(study.objective in row for rows in found.values() for row in rows)
    column = study.objective if known else study.task.objectives[0]

    def validation(trial: float | None) -> list[float]:
        return [math.nan if row[column] is None else row[column] for row in found[trial]]

    return {trial: found[trial] for trial in candidates.picked(better_first, validation, maximize=study.maximize)}


def _with_curves(study: StudyRecord, trial: float | None, seeds: list[Row]) -> list[Row]:
    """Finished replicates with their epochs as `history`."""
    epochs = [
        epoch
        for epoch in study.table("history.csv")
        if epoch["kind"] == "replicate" and epoch.get("trial") in (None, trial)
    ]
    return [{**row, "history": [epoch for epoch in epochs if epoch["number"] == row["seed"]]} for row in seeds]


def _searched(study: StudyRecord, row: Row) -> Row:
    """Searched values of a trial; what cannot be read is the configuration's."""
    try:
        config = study.config_of({column: "" if value is None else str(value) for column, value in row.items()})
    except (ConfigError, KeyError):  # a group that is searched is missing from records of a store
        config = study.config
    return {path: at(config, path) for path in study.space()}
