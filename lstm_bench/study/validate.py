"""The records of one study or kernel benchmark, every field checked: what may be packed, merged and reported."""

from __future__ import annotations

import csv
import io
import math
import re
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lstm_bench.core import configuration, formatting, safe_load, vocabulary
from lstm_bench.core.errors import ConfigError, LstmBenchError, StorageError
from lstm_bench.core.schema import Kernels, Sweep
from lstm_bench.data import objective, task
from lstm_bench.study import search_space
from lstm_bench.study.columns import BENCHMARK_FILES, FILES, FORECAST_COLUMNS, TEXT, optional_columns
from lstm_bench.study.reader import Key, Row, StudyRecord, Table

DOCUMENTS = ("config.yaml", "environment.json")
# What a row of a table is known by. The rows of the others belong together: they are those of one pick.
IDENTITY = {
    "trials.csv": ("number",),
    "replicates.csv": ("trial", "seed"),
    "history.csv": ("kind", "trial", "number", "epoch"),
    "controls.csv": ("control", "seed"),
    "runs.csv": ("cell", "backend", "kernel", "operation", "round"),
    "samples.csv": ("cell", "backend", "kernel", "operation", "round", "sample"),
    "ceilings.csv": ("backend", "dtype", "device"),
    "cells.csv": ("cell", "backend", "kernel", "operation"),
}
TABLES: dict[str, tuple[str, ...]] = {**FILES, **BENCHMARK_FILES} | {
    file: (*FILES[file], *optional_columns())
    for file in ("trials.csv", "replicates.csv", "history.csv", "controls.csv")
}
TABLES["predictions.csv"] += FORECAST_COLUMNS
MAX_CLASSES = 4096  # of predictions: a confusion matrix has its square

_RUN_STATES = ("measured", "wrong", "other_kernel", "compile_limit", "failed")
# Values of a column, where they are few.
_STATES: dict[tuple[str, str], Collection[str]] = {
    ("trials.csv", "state"): ("COMPLETE", "PRUNED", "FAIL"),
    ("replicates.csv", "state"): ("COMPLETE", "FAIL"),
    ("controls.csv", "state"): ("COMPLETE", "FAIL"),
    ("history.csv", "kind"): ("trial", "replicate"),
    ("runs.csv", "state"): _RUN_STATES,
    ("cells.csv", "state"): (*_RUN_STATES, "unavailable"),
    **{(file, "operation"): vocabulary.OPERATIONS for file in BENCHMARK_FILES},
    **{(file, "layer"): vocabulary.LAYERS for file in BENCHMARK_FILES},
    **{(file, "dtype"): vocabulary.DTYPES for file in BENCHMARK_FILES},
}
# Whole numbers, and of those which may be missing. All other columns that are no words hold any number, or none.
_WHOLE = {"number", "seed", "trial", "epoch", "round", "sample", "retry_of", "steps", "n", *vocabulary.SIZES}
_POSITIVE = {"epoch", "seconds", "matmul_flop_per_s", "copy_byte_per_s", *vocabulary.SIZES}
_OPTIONAL = {("trials.csv", "seed"), ("replicates.csv", "trial"), ("history.csv", "trial")}
_NEEDED = {"seconds", "matmul_flop_per_s", "copy_byte_per_s", *vocabulary.SIZES, "state", "kind", "layer"}
_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_NUMBER = re.compile(r"-?[0-9]{1,25}(\.[0-9]{1,25})?(e[+-]?[0-9]{1,3})?|nan|-?inf")
# What is read from an environment, as far as it must be of a kind.
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(
        ("study_id", "lstm_bench", "python", "platform", "device.name", "device.cpu", "git.commit"), (str,)
    ),
    **{f"dataset.{name}": (str,) for name in ("name", "sha256", "source", "task")},
    **{f"dataset.n_{name}": (int,) for name in ("train", "validation", "test", "classes", "outputs")},
    **dict.fromkeys(("dataset.timesteps", "dataset.features"), (int,)),
    **dict.fromkeys(("device", "packages", "dataset", "dataset.baselines", "dataset.trivial", "git"), (dict,)),
    **dict.fromkeys(("workers", "dataset.classes", "dataset.notes"), (list,)),
}


@dataclass(frozen=True)
class Limits:
    """What an archive may hold: `conf/archive.yaml`."""

    max_archive_mib: int
    max_file_mib: int
    max_total_mib: int
    max_ratio: int
    max_rows: int


class Reader:
    """Checks texts; every fault is of one kind and names the place and the file."""

    def __init__(self, where: str, limits: Limits, fault: type[LstmBenchError]):
        self.where, self.limits, self.fault = where, limits, fault

    def refuse(self, file: str | None, reason: str, **words: Any) -> NoReturn:
        raise self.fault(f"{self.where}: {file}: {reason}" if file else f"{self.where}: {reason}", **words)

    def record(self, name: str, texts: dict[str, str]) -> StudyRecord:
        """The checked records of study `name`."""
        missing = [file for file in DOCUMENTS if file not in texts]
        if missing or not (texts.keys() - {*DOCUMENTS}):
            self.refuse(None, f"{missing[0] if missing else 'a table'} is missing")
        config = self.mapping("config.yaml", texts["config.yaml"], safe_load.from_yaml)
        environment = self.mapping("environment.json", texts["environment.json"], safe_load.from_json)
        self._environment(environment)
        space = self._config(name, config)
        tables = {file: self._table(file, texts[file]) for file in TABLES if file in texts}
        self._values(tables, space, environment.get("dataset") or {})
        study_id = environment.get("study_id")
        if study_id is not None and not configuration.NAME.fullmatch(study_id):
            self.refuse("environment.json", "study_id", expected="letters, digits and ._-", received=study_id[:40])
        study = StudyRecord(Path(name), name, strict=True, config=config, environment=environment, texts=texts)
        study.checked = tables
        return study

    def mapping(self, file: str, text: str, parse: Any) -> dict[str, Any]:
        try:
            tree = parse(text)
        except safe_load.UnreadableError as error:
            self.refuse(file, str(error))
        if not isinstance(tree, dict):
            self.refuse(file, "it holds no mapping")
        return tree

    def _environment(self, environment: Mapping[str, Any]) -> None:
        for path, kinds in _KINDS.items():
            try:
                value = configuration.get(environment, path)
            except KeyError:
                continue
            if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
                self.refuse("environment.json", path, expected=f"a value of type {kinds[0].__name__}")
        for name in ("baselines", "trivial"):
            scores = (environment.get("dataset") or {}).get(name) or {}
            if not all(isinstance(value, int | float) for value in scores.values()):
                self.refuse("environment.json", f"dataset.{name}", expected="numbers")

    def _config(self, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """Checks a configuration; returns the domains of its searched paths."""
        benchmark = name.startswith("kernels-")
        try:
            configuration.check_recorded(config, Kernels if benchmark else Sweep)
            for group in () if benchmark else ("dataset", "model", "train", "study"):
                if not isinstance(config.get(group), dict):
                    raise ConfigError(f"{group} is missing")
            known = config.get("name") if benchmark else config["study"].get("name")
            if known != name:
                raise ConfigError("the name", expected=repr(name), received=str(known)[:100])
            if benchmark:
                return {}
            if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", str(config["model"].get("_target_")), re.ASCII):
                raise ConfigError("model._target_", expected="package.module.function")
            aims: dict[str, Any] = {"objective": task.CLASSIFICATION.objectives[0], "direction": None, "objectives": {}}
            study: Any = {key: config["study"].get(key, usual) for key, usual in aims.items()}
            objective.check_aims(study)
            return search_space.parse(typing.cast(Sweep, config)) if config["study"].get("space") else {}
        except LstmBenchError as error:
            self.refuse("config.yaml", str(error))

    def _table(self, file: str, text: str) -> Table:
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        csv.field_size_limit(max(csv.field_size_limit(), self.limits.max_file_mib * 2**20))
        try:
            columns = tuple(next(lines, ()))
            self._columns(file, columns)
            rows: dict[Key, Row] = {}
            indices = [columns.index(column) for column in IDENTITY.get(file, ()) if column in columns]
            width = len(columns)
            for number, fields in enumerate(lines, 2):
                if len(fields) != width:
                    self.refuse(file, f"row {number} has {len(fields)} fields", expected=str(width))
                if number > self.limits.max_rows + 1:
                    self.refuse(
                        file, "too many rows", expected=f"at most {self.limits.max_rows}: max_rows=N takes more"
                    )
                row = dict(zip(columns, fields, strict=True))
                key = tuple(fields[index] for index in indices) or (str(number),)
                if rows.setdefault(key, row) != row:
                    self.refuse(file, f"{' '.join(key)!r} is there twice, and not the same")
        except csv.Error as error:
            self.refuse(file, f"it is no CSV ({error})")
        return Table(columns, rows)

    def _columns(self, file: str, columns: tuple[str, ...]) -> None:
        prefix = file == "trials.csv"
        for column in columns:
            if column not in TABLES[file] and not (prefix and re.fullmatch(r"config_[\w.]{1,200}", column, re.ASCII)):
                self.refuse(file, f"unknown column {column[:40]!r}", remedy="A newer lstm_bench may know it.")
        if len(set(columns)) < len(columns):
            self.refuse(file, "a column is there twice")
        optional = {column for other, column in _OPTIONAL if other == file}
        lost = [column for column in IDENTITY.get(file, TABLES[file][:1]) if column not in columns]
        if set(lost) - optional:
            self.refuse(file, f"column {lost[0]} is missing")

    def _values(self, tables: Mapping[str, Table], space: Mapping[str, Any], dataset: Mapping[str, Any]) -> None:
        """Checks every field that is not free text."""
        for file, table in tables.items():
            checks = {column: self._check(file, column, space) for column in table.columns}
            for row in table.rows.values():
                for column, valid in checks.items():
                    if valid and not valid(row[column]):
                        place = " ".join(row.get(name, "") for name in IDENTITY.get(file, ()))[:80]
                        self.refuse(
                            file, f"{place} {column}".strip(), expected="another value", received=row[column][:40]
                        )
        self._classes(tables, dataset)
        for row in tables["worst.csv"].rows.values() if "worst.csv" in tables else ():
            numbers = row["values"].split() if "values" in row else []
            if numbers and (not all(map(_NUMBER.fullmatch, numbers)) or len(numbers) != _product(row)):
                self.refuse("worst.csv", "values", expected="timesteps x features numbers", received=f"{len(numbers)}")

    @staticmethod
    def _check(file: str, column: str, space: Mapping[str, Any]) -> Any:
        """A predicate of the fields of a column, None where any text will do."""
        known = _STATES.get((file, column))
        if known is not None:
            return set(known).__contains__
        if column.startswith("config_"):
            domain = space.get(column.removeprefix("config_"))
            if domain is None:
                return None
            if domain["type"] != "categorical":
                return lambda text: not text or bool(_NUMBER.fullmatch(text))
            written = {
                form(choice)
                for choice in domain["choices"]
                for form in (formatting.format_exact, formatting.format_field)
            }
            return (written | {""}).__contains__
        if column in TEXT:
            return (lambda text: bool(text)) if column in IDENTITY.get(file, ()) else None
        if column == "reason":
            return None
        whole = column in _WHOLE and (column in IDENTITY.get(file, ()) or file != "predictions.csv")
        empty = (column not in IDENTITY.get(file, ()) and column not in _NEEDED) or (file, column) in _OPTIONAL
        pattern = _WHOLE_NUMBER if whole else _NUMBER

        def valid(text: str) -> bool:
            if not text:
                return empty
            if not pattern.fullmatch(text):
                return False
            if (file, column) == ("worst.csv", "features") and text == "0":
                return True  # a text, which the records do not hold
            return column not in _POSITIVE or 0 < float(text) < math.inf

        return valid

    def _classes(self, tables: Mapping[str, Table], dataset: Mapping[str, Any]) -> None:
        """Labels and predictions of a task with classes are classes that there are."""
        if not task.recorded(dataset).labels.classes:
            return
        n = min(dataset.get("n_outputs") or dataset.get("n_classes") or MAX_CLASSES, MAX_CLASSES)
        for file in ("predictions.csv", "worst.csv"):
            for row in tables[file].rows.values() if file in tables else ():
                for column in ("label", "prediction"):
                    text = row.get(column, "")
                    if text and not (_WHOLE_NUMBER.fullmatch(text) and int(text) < n):
                        self.refuse(file, column, expected=f"a class below {n}", received=text[:40])


def _product(row: Mapping[str, str]) -> int:
    sizes = [row.get(name, "") for name in ("timesteps", "features")]
    return int(sizes[0]) * int(sizes[1]) if all(map(_WHOLE_NUMBER.fullmatch, sizes)) else 0


def limits(given: Mapping[str, str]) -> Limits:
    """`conf/archive.yaml`, and what a command line gives in its place.

    Raises:
      ConfigError: for a value that is no whole number of at least 1.
    """
    path = configuration.conf_dir() / "archive.yaml"
    known = safe_load.from_yaml(path.read_text(encoding="utf-8"))
    for key in known.keys() & given.keys():
        if not _WHOLE_NUMBER.fullmatch(given[key]) or given[key] == "0":
            raise ConfigError(key, expected="a whole number of at least 1", received=given[key])
        known[key] = int(given[key])
    return Limits(**known)


LIMITS = tuple(Limits.__dataclass_fields__)


def from_folder(folder: Path, bounds: Limits) -> StudyRecord:
    """The records that lie in a folder.

    Raises:
      StorageError: when a file cannot be read, or is damaged.
    """
    here = StudyRecord(folder, strict=True)
    files = (*DOCUMENTS, *(BENCHMARK_FILES if here.benchmark else FILES))
    texts = {file: text for file in files if (text := here.text(file))}
    reader = Reader(str(folder), bounds, StorageError)
    config = reader.mapping("config.yaml", texts.get("config.yaml", "{}"), safe_load.from_yaml)
    study = config.get("study")
    own = config if here.benchmark else study if isinstance(study, dict) else {}
    name = str(own.get("name") or folder.name)  # a merged study may lie under another
    return reader.record(name, texts)


def words(study: StudyRecord) -> str:
    """What checked records hold, for people."""
    names = {"runs.csv": "runs", "cells.csv": "cells"} if study.benchmark else {}
    names = names or {"trials.csv": "trials", "replicates.csv": "replicates", "history.csv": "epochs"}
    return ", ".join(f"{study.count(file):,} {name}" for file, name in names.items())
