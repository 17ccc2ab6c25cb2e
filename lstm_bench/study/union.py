"""Merges two states of one study: rows by primary key; other files from the state that is further.

The order of the two does not matter, and neither how often one is united. Fields that one state does not have (an older
version wrote none) are the other's; two that differ are a conflict, and so are two configurations that no resumed sweep
could have, other data, another study.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any, Protocol

import yaml

from lstm_bench.core import config as schema
from lstm_bench.core.errors import DataError
from lstm_bench.study import resume
from lstm_bench.study.resume import MAY_CHANGE
from lstm_bench.study.validate import IDENTITY, TABLES, Bundle, Key, Row, Table

_APART = "name=OTHER keeps it apart."
_SHOWN = 4  # differences that are named


class Benchmark(Protocol):
    """What is done for a benchmark alone: `kernels.merge_cells`, which lies above."""

    def arms(self, further: Mapping[str, Any], less: Mapping[str, Any]) -> dict[str, Any]: ...

    def cells(self, tables: dict[str, Table], further: Bundle, less: Bundle) -> None: ...


def union(one: Bundle, other: Bundle, benchmark: Benchmark) -> Bundle:
    """Both in one.

    Args:
      one: A state of a study, or of a benchmark.
      other: Another state of it.
      benchmark: What merges a benchmark's arms, and computes its cells anew.

    Raises:
      DataError: when they are not of the same study, or contradict each other; names the differences.
    """
    further, less = sorted((one, other), key=_progress, reverse=True)
    differences = _differences(further, less)
    tables = dict(further.tables)
    for file in IDENTITY:
        if file == "cells.csv" or file not in less.tables:
            continue
        mine = further.tables.get(file)
        tables[file] = less.tables[file] if mine is None else _joined(file, mine, less.tables[file], differences)
    if differences:
        more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise DataError(
            f"{one.name}: the two contradict each other: {'; '.join(differences[:_SHOWN])}{more}", remedy=_APART
        )
    _drop_former_candidates(tables, further)
    config = further.config
    if further.benchmark:
        config = benchmark.arms(further.config, less.config)
        benchmark.cells(tables, further, less)
    texts = dict(further.texts)
    if config != further.config:
        texts["config.yaml"] = yaml.safe_dump(config, sort_keys=False, width=120)
    environment, study_id = further.environment, further.study_id or less.study_id
    if study_id != further.study_id:
        environment = {**environment, "study_id": study_id}
        texts["environment.json"] = json.dumps(environment, indent=2, sort_keys=True) + "\n"
    for file, table in tables.items():
        if file not in further.tables or table.rows != further.tables[file].rows:
            texts[file] = _text(file, table)
    return Bundle(further.name, study_id, texts, config, environment, tables)


def _progress(bundle: Bundle) -> tuple[Any, ...]:
    """How far a study had come, so that any two states have an order: of equal ones the files that are not united decide."""
    settings = bundle.config.get("study") or {}
    numbers = [settings.get(name) or 0 for name in ("n_trials", "confirm", "replicates")]
    counts = [bundle.count(file) for file in ("replicates.csv", "history.csv", "kernels.csv", "predictions.csv")]
    measured = [bundle.count(file) for file in ("runs.csv", "samples.csv", "ceilings.csv")]
    config = {key: value for key, value in bundle.config.items() if key != "arms"}
    environment = {key: value for key, value in bundle.environment.items() if key != "study_id"}
    whole = [bundle.texts.get(file, "") for file in TABLES if file not in IDENTITY]
    words = [json.dumps(config, sort_keys=True), json.dumps(environment, sort_keys=True), *whole]
    return bundle.count("trials.csv"), *numbers, *counts, *measured, words


def _differences(further: Bundle, less: Bundle) -> list[str]:
    """What two states of one study cannot differ in, and do."""
    found = []
    if further.study_id and less.study_id and further.study_id != less.study_id:
        found.append(f"study {further.study_id!r} and study {less.study_id!r}")
    a, b = (schema.flatten(bundle.config) for bundle in (further, less))
    free = (*(f"{path}." for path in resume.FREE), *resume.FREE) if further.benchmark else MAY_CHANGE
    for path in sorted(a.keys() | b.keys()):
        # A switch that an older version did not have, and is off, is no difference.
        first, second = (None if tree.get(path) is False else tree.get(path) for tree in (a, b))
        if first != second and not path.startswith(free):
            found.append(f"{path} {str(first)[:60]!r} and {str(second)[:60]!r}")
    machine = resume.MACHINE if further.benchmark else ()
    for path in (*machine, "dataset.sha256"):
        first, second = (_at(bundle.environment, path) for bundle in (further, less))
        if first != second and first is not None and second is not None:
            found.append(f"{path} {str(first)[:60]!r} and {str(second)[:60]!r}")
    first, second = (_of_strings(_at(bundle.environment, "code.files")) for bundle in (further, less))
    if first and second and first != second:
        files = [file for file in sorted(first.keys() | second.keys()) if first.get(file) != second.get(file)]
        found += [f"the code of {file[:60]}" for file in files]
    return found


def _of_strings(tree: Any) -> dict[str, str]:
    """What a record of files says, which anybody may have written."""
    return {str(key): str(value) for key, value in tree.items()} if isinstance(tree, Mapping) else {}


def _at(tree: Mapping[str, Any], path: str) -> Any:
    try:
        return schema.get(tree, path)
    except KeyError:
        return None


def _joined(file: str, further: Table, less: Table, differences: list[str]) -> Table:
    """Rows of both; what contradicts is added to `differences`."""
    known = [c for c in TABLES[file] if c in further.columns or c in less.columns]
    searched = [c for c in (*further.columns, *sorted(less.columns)) if c not in known]
    columns = tuple(dict.fromkeys((*known, *searched)))
    rows: dict[Key, Row] = {}
    for table in (further, less):
        names = tuple(name for name in IDENTITY[file] if name in table.columns)
        for row in table.rows.values():
            key = tuple(row.get(name, "") for name in IDENTITY[file])
            mine = rows.get(key)
            if mine is None:
                rows[key] = {column: row.get(column, "") for column in columns}
                continue
            if file == "runs.csv" and "failed" in (mine["state"], row["state"]):
                if mine["state"] == "failed" != row["state"]:  # it was tried again, and measured
                    rows[key] = {column: row.get(column, "") for column in columns}
                continue
            for column, value in row.items():
                if value and mine[column] and value != mine[column]:
                    place = " ".join(f"{name} {row[name][:60]}" for name in names if row[name])
                    differences.append(f"{file} {place}: {column} {mine[column][:40]!r} and {value[:40]!r}")
                mine[column] = mine[column] or value
    if rows == further.rows and columns == further.columns:
        return further
    return Table(columns, rows)


def _drop_former_candidates(tables: dict[str, Table], further: Bundle) -> None:
    """Takes out replicates of configurations that the further state has confirmed others in place of, as its records do."""
    if not further.count("replicates.csv"):
        return
    candidates = {row.get("trial", "") for row in further.tables["replicates.csv"].rows.values()}
    for file in ("replicates.csv", "history.csv"):
        table = tables.get(file)
        if table is not None:
            kept = {
                key: row
                for key, row in table.rows.items()
                if row.get("kind", "replicate") != "replicate" or row.get("trial", "") in candidates
            }
            tables[file] = Table(table.columns, kept)


def _text(file: str, table: Table) -> str:
    """A table in the order in which a driver writes it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    rows = list(table.rows.values())
    if file != "cells.csv":
        rows.sort(key=lambda row: [_place(row.get(name, "")) for name in ("kind", *IDENTITY[file])])
    writer.writerows([row.get(column, "") for column in table.columns] for row in rows)
    return out.getvalue()


def _place(text: str) -> tuple[int, int, str]:
    """Numbers by their value, "trial" before "replicate", before anything else by its letters."""
    if text.isdecimal() and len(text) < 20:  # Python makes no number of a name of 5,000 digits
        return 0, int(text), ""
    return 1, 0, {"trial": " 0", "replicate": " 1"}.get(text, text)
