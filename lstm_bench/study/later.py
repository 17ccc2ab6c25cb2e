"""Which of two states of a study is the later one: it holds all that the other does, or both are refused.

The order of the two does not matter. Whatever differs is a conflict, and so are two configurations that no resumed sweep could
have, other data, another study, and a row that only the earlier state has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lstm_bench.core import configuration
from lstm_bench.core.errors import DataError
from lstm_bench.study import resume
from lstm_bench.study.reader import StudyRecord
from lstm_bench.study.resume import MAY_CHANGE
from lstm_bench.study.validate import IDENTITY, TABLES

_APART = "name=OTHER keeps it apart."
_SHOWN = 4  # differences that are named


def later(one: StudyRecord, other: StudyRecord) -> StudyRecord:
    """The later of two states.

    Args:
      one: A state of a study, or of a benchmark.
      other: Another state of it.

    Raises:
      DataError: when they are not of the same study, or neither continues the other; names the differences.
    """
    further, less = sorted((one, other), key=_progress, reverse=True)
    differences = _differences(further, less)
    for file in IDENTITY:
        if file != "cells.csv":  # computed from the others
            differences += _missing(file, further, less)
    if differences:
        more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise DataError(
            f"{one.name}: the two contradict each other: {'; '.join(differences[:_SHOWN])}{more}", remedy=_APART
        )
    return further


def _progress(study: StudyRecord) -> tuple[Any, ...]:
    """How far a study had come, so that any two states have an order: of equal ones the other files decide."""
    settings = study.config.get("study") or {}
    numbers = [settings.get(name) or 0 for name in ("n_trials", "confirm", "replicates")]
    counts = [study.count(file) for file in ("replicates.csv", "history.csv", "kernels.csv", "predictions.csv")]
    measured = [study.count(file) for file in ("runs.csv", "samples.csv", "ceilings.csv")]
    config = {key: value for key, value in study.config.items() if key != "arms"}
    environment = {key: value for key, value in study.environment.items() if key != "study_id"}
    whole = [study.texts.get(file, "") for file in TABLES if file not in IDENTITY]
    words = [json.dumps(config, sort_keys=True), json.dumps(environment, sort_keys=True), *whole]
    return study.count("trials.csv"), *numbers, *counts, *measured, words, study.study_id or ""


def _differences(further: StudyRecord, less: StudyRecord) -> list[str]:
    """What two states of one study cannot differ in, and do."""
    found = []
    if further.study_id and less.study_id and further.study_id != less.study_id:
        found.append(f"study {further.study_id!r} and study {less.study_id!r}")
    a, b = (configuration.flatten(study.config) for study in (further, less))
    free = (*(f"{path}." for path in resume.FREE), *resume.FREE) if further.benchmark else MAY_CHANGE
    for path in sorted(a.keys() | b.keys()):
        # A switch that an older version did not have, and is off, is no difference.
        first, second = (None if tree.get(path) is False else tree.get(path) for tree in (a, b))
        if first != second and not path.startswith(free):
            found.append(f"{path} {str(first)[:60]!r} and {str(second)[:60]!r}")
    machine = resume.MACHINE if further.benchmark else ()
    for path in (*machine, "dataset.sha256"):
        first, second = (_at(study.environment, path) for study in (further, less))
        if first != second and first is not None and second is not None:
            found.append(f"{path} {str(first)[:60]!r} and {str(second)[:60]!r}")
    first, second = (_of_strings(_at(study.environment, "code.files")) for study in (further, less))
    if first and second and first != second:
        files = [file for file in sorted(first.keys() | second.keys()) if first.get(file) != second.get(file)]
        found += [f"the code of {file[:60]}" for file in files]
    return found


def _of_strings(tree: Any) -> dict[str, str]:
    """What a record of files says, which anybody may have written."""
    return {str(key): str(value) for key, value in tree.items()} if isinstance(tree, Mapping) else {}


def _at(tree: Mapping[str, Any], path: str) -> Any:
    try:
        return configuration.get(tree, path)
    except KeyError:
        return None


def _missing(file: str, further: StudyRecord, less: StudyRecord) -> list[str]:
    """Rows and fields of a table that the further state lacks, or has otherwise."""
    if file not in less.checked:
        return []
    rows = further.checked[file].rows if file in further.checked else {}
    names = tuple(name for name in IDENTITY[file] if name in less.checked[file].columns)
    found = []
    for key, row in less.checked[file].rows.items():
        place = f"{file} {' '.join(f'{name} {row[name][:60]}' for name in names if row[name])}"
        mine = rows.get(key)
        if mine is None:
            if not _is_former_candidate(file, row, further):
                found.append(f"{place}: only in one, which the other does not continue")
        elif not (file == "runs.csv" and row["state"] == "failed"):  # which is tried again
            found += [
                f"{place}: {column} {mine.get(column, '')[:40]!r} and {value[:40]!r}"
                for column, value in row.items()
                if value and value != mine.get(column, "")
            ]
    return found


def _is_former_candidate(file: str, row: Mapping[str, str], further: StudyRecord) -> bool:
    """Whether a row is a replicate of a configuration that the further state has confirmed others in place of."""
    if file not in ("replicates.csv", "history.csv") or row.get("kind", "replicate") != "replicate":
        return False
    candidates = (
        {known.get("trial", "") for known in further.checked["replicates.csv"].rows.values()}
        if further.count("replicates.csv")
        else set()
    )
    return bool(candidates) and row.get("trial", "") not in candidates
