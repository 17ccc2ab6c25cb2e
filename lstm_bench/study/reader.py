"""The records of a study: where they lie, and what they hold, as text, numbers and tables. Whoever reads them reads by this."""

from __future__ import annotations

import csv
import functools
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lstm_bench.core import fileio, formatting, safe_load, schema
from lstm_bench.core.configuration import NAME, check_recorded, conf_dir, get, replaced
from lstm_bench.core.errors import ConfigError, DataError, StorageError, nearest
from lstm_bench.data import dataset as data
from lstm_bench.data.splits import for_seed
from lstm_bench.data.task import CLASSIFICATION, Task, recorded
from lstm_bench.study import candidates, columns, frames, search_space

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, str]
Key = tuple[str, ...]
# Where a value comes from that an older version did not record. Those of `dataset` are in the file of its own name.
_DEFAULTS = {"train": "train/default", "launcher": "launcher/local", "kernel": "kernel/auto"}
_NEEDED = ("study.space", "study.objective", "study.direction", "study.replicates", "model._target_", "backend.name")


class Table(NamedTuple):
    """A record file: its columns, and its rows by what they are known by (the others' by their index)."""

    columns: tuple[str, ...]
    rows: dict[Key, Row]


class StudyRecord:
    """The records of one study, or of one kernel benchmark. A file is read when it is asked for.

    Args:
      folder: Where they lie.
      name: Of the study, that of the folder unless given.
      published: Name of the device's folder below `published/`, None for others.
      strict: Whether what cannot be read is a fault. Else it is empty, and said in `notes`.
      config: `config.yaml`, of records that came otherwise than in a folder: with one of these four, no file is read.
      environment: `environment.json`, likewise.
      tables: File -> its table, likewise.
      texts: File -> its text, likewise.

    Attributes:
      notes: One sentence for each thing that is missing, torn or contradictory.
      checked: File -> its rows, of records whose every field was checked: see `validate.py`.
    """

    def __init__(
        self,
        folder: Path,
        name: str | None = None,
        published: str | None = None,
        *,
        strict: bool = False,
        config: Mapping[str, Any] | None = None,
        environment: dict[str, Any] | None = None,
        tables: dict[str, pd.DataFrame] | None = None,
        texts: dict[str, str] | None = None,
    ):
        self.folder, self.name, self.published, self.strict = folder, name or folder.name, published, strict
        self.notes: list[str] = []
        self.tables, self.texts, self.checked = tables or {}, texts or {}, dict[str, Table]()
        self._in_memory = any(given is not None for given in (config, environment, tables, texts))
        if self._in_memory:
            self.config, self.environment = typing.cast(schema.Sweep, config or {}), environment or {}

    # As it is written.

    @cached_property
    def config(self) -> schema.Sweep:
        """`config.yaml`: of an older version without what came later, of a benchmark another tree, of none nothing."""
        found: Any = self._mapping("config.yaml", safe_load.from_yaml)
        return found

    @cached_property
    def environment(self) -> dict[str, Any]:
        """`environment.json`."""
        return self._mapping("environment.json", safe_load.from_json)

    def _mapping(self, file: str, parse: Callable[[str], Any]) -> dict[str, Any]:
        try:
            value = parse(self._whole(file))
        except FileNotFoundError:
            self.notes.append(f"{file} is missing.")
            return {}
        except (OSError, ValueError) as error:
            self._fault(file, error)
            return {}
        if isinstance(value, dict):
            return value
        if self.strict:
            raise StorageError(f"{self.folder / file}: it holds no mapping")
        self.notes.append(f"{file} does not hold a mapping.")
        return {}

    def _whole(self, file: str) -> str:
        return (self.folder / file).read_bytes().decode("utf-8")

    def text(self, file: str) -> str | None:
        """What a file holds, None where there is none. A table ends with a whole line: a driver may be writing the next.

        Raises:
          StorageError: when it cannot be read, of strict records.
        """
        if self._in_memory:
            return self.texts.get(file)
        try:
            text = self._whole(file)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._fault(file, error)
            return None
        if not file.endswith(".csv") or text.endswith("\n") or not text:
            return text
        self.notes.append(f"{file} ends in a torn line, which is left out.")
        return text[: text.rfind("\n") + 1]

    def _fault(self, file: str, error: Exception) -> None:
        said = getattr(error, "strerror", None) or str(error)
        if isinstance(error, UnicodeDecodeError):
            said = "it is not UTF-8"
        if self.strict:
            raise StorageError(f"{self.folder / file}: cannot be read ({said})") from error
        kind = said if isinstance(error, safe_load.UnreadableError) else type(error).__name__
        self.notes.append(f"{file} cannot be read: {kind}.")

    def rows(self, file: str) -> list[Row]:
        """Rows of a record file as text, [] when there is none.

        Raises:
          StorageError: when it cannot be read, of strict records.
        """
        try:
            return fileio.parsed(self.text(file) or "")
        except csv.Error as error:
            self._fault(file, error)
            return []

    def frame(self, file: str) -> pd.DataFrame:
        """A record file as a sorted table, read once: `frame("trials")` or `frame("trials.csv")`."""
        file = file if file.endswith(".csv") else f"{file}.csv"
        if file not in self.tables:
            self.tables[file] = frames.frame(file, self.rows(file), self.task, self.notes)
        return self.tables[file]

    def table(self, file: str) -> list[dict[str, Any]]:
        """Whole rows of a record file: words as they are written, numbers as such, None for nothing."""
        whole = (row for row in self.rows(file) if None not in row and None not in row.values())
        return [{column: _typed(column, text) for column, text in row.items()} for row in whole]

    # What it says.

    @property
    def objective(self) -> str:
        """Column of the trials that was searched for."""
        return str(self.get("study.objective", CLASSIFICATION.objectives[0]))

    @property
    def maximize(self) -> bool:
        """Whether more of the objective is better."""
        return str(self.get("study.direction", "maximize")) != "minimize"

    def pairs(self) -> dict[tuple[int, int], int]:
        """(label, prediction) -> test samples of the first replicate; {} where they have no classes."""
        rows = self.table("predictions.csv") if self.task.has_classes else []
        return Counter((int(row["label"]), int(row["prediction"])) for row in rows if row["label"] is not None)

    @property
    def benchmark(self) -> bool:
        """Whether it is a kernel benchmark's."""
        return self.name.startswith("kernels-")

    @property
    def copied(self) -> bool:
        """Whether they are published or merged: records without a database and a model."""
        elsewhere = not {"published", "merged"}.isdisjoint(self.folder.absolute().parts)
        return elsewhere and not (self.folder / "study.db").exists()

    @property
    def study_id(self) -> str | None:
        """What no other study has; None in records of versions that did not write it down."""
        return self.environment.get("study_id")

    def get(self, path: str, default: Any = None) -> Any:
        """Value at a dotted path of the configuration."""
        return at(self.config, path, default)

    def env(self, path: str, default: Any = None) -> Any:
        """Value at a dotted path of the environment."""
        return at(self.environment, path, default)

    @property
    def task(self) -> Task:
        """What was asked of its networks."""
        facts = self.env("dataset")
        return recorded(facts if isinstance(facts, Mapping) else {})

    def count(self, file: str) -> int:
        """Checked rows of a table, 0 where there is none."""
        return len(self.checked[file].rows) if file in self.checked else 0

    def space(self) -> dict[str, search_space.Domain]:
        """Searched paths with their domains, whether the configuration nests or dots them; {} of one that holds no space."""
        space = self.get("study.space", {})
        try:
            found = search_space.flatten(space) if isinstance(space, Mapping) else {}
        except (ConfigError, AttributeError, TypeError):  # a tree that is none of domains
            found = {}
        return {path: domain for path, domain in found.items() if domain is not None}

    def config_of(self, row: Mapping[str, str] | None) -> schema.Sweep:
        """The configuration with the searched values of a row of `trials.csv`; of None, as it is."""
        searched = self.space()
        return replaced(self.config, {path: _value(row, path, searched[path]) for path in searched} if row else {})

    def best_trial(self) -> Row | None:
        """The row of the best COMPLETE trial by the objective, the first of several; None where nothing was searched."""
        objective, direction = str(self.config["study"]["objective"]), self.config["study"]["direction"]
        rows = self.rows("trials.csv")
        try:
            return next(iter(candidates.ranked(rows, objective, maximize=direction == "maximize")), None)
        except (KeyError, TypeError, ValueError) as error:  # no such column, a torn row, no number
            raise StorageError(f"{self.folder / 'trials.csv'}: cannot be read ({error})") from error

    def data(self, seed: int | None = None) -> data.Dataset:
        """The data of the study, found where it was or where this machine has it.

        Args:
          seed: Of the confirmation, where it has drawn its own training and validation data; None for those of the search.

        Raises:
          DataError: when it is not there, or is not what the study was made with.
        """
        settings: schema.Dataset = {**self.config["dataset"], "fallback": None}
        if seed is not None:
            settings = for_seed(settings, seed)
        try:
            found = data.load(settings)
        except DataError:
            if settings["name"] != "mnist" or settings["dir"] is None:
                raise
            settings["dir"] = None  # another machine keeps it elsewhere
            found = data.load(settings)
        expected = self.environment.get("dataset", {}).get("sha256")
        if expected not in (None, found.sha256):
            raise DataError(
                f"{found.source}: not the data of study {self.name}", expected=expected, received=found.sha256
            )
        return found


def _typed(column: str, text: str) -> Any:
    if column in columns.TEXT or column.startswith("config_"):
        return text or None
    try:
        return candidates.number(text)
    except ValueError:
        return None


def at(tree: Any, path: str, default: Any = None) -> Any:
    """Value at a dotted path of nested mappings, `default` where there is none."""
    for key in path.split("."):
        if not isinstance(tree, Mapping) or key not in tree:
            return default
        tree = tree[key]
    return default if tree is None else tree


def _value(row: Mapping[str, str], path: str, domain: Mapping[str, Any]) -> Any:
    """A searched value from its text."""
    text = row.get(f"config_{path}")
    try:
        if domain["type"] == "categorical":
            return next(
                choice
                for choice in domain["choices"]
                if text in (formatting.format_exact(choice), formatting.format_field(choice))
            )
        return int(text or "") if domain["type"] == "int" else float(text or "")
    except (KeyError, TypeError, ValueError, StopIteration):  # no such value, or a domain that is none
        raise ConfigError(f"trial {row.get('number')}: its {path} is not in the records", received=text) from None


class Place(NamedTuple):
    """A folder of records, and the device that it is published under: None for a working folder, and in `merged/`."""

    folder: Path
    device: str | None = None

    @property
    def benchmark(self) -> bool:
        """Whether it is a kernel benchmark's: one with a `cells.csv`, or named `kernels-<grid>` but no study."""
        if (self.folder / "cells.csv").is_file():
            return True
        begun = any(
            (self.folder / file).is_file() for file in ("config.yaml", "ceilings.csv", "runs.csv", "samples.csv")
        )
        study = any((self.folder / file).is_file() for file in ("study.db", "trials.csv", "replicates.csv"))
        return self.folder.name.startswith("kernels-") and begun and not study


def places(root: Path, *, benchmarks: bool = False) -> list[Place]:
    """Folders of studies, by device and name; a working one before a merged one of its name.

    Args:
      root: `sweeps/`, its `published/`, or a folder of records.
      benchmarks: Whether those of kernel benchmarks are wanted instead.
    """
    public = root if root.name == "published" else root / "published"
    found = [Place(folder, folder.parent.name) for folder in public.glob("*/*")]
    if root != public:
        folders = (root, *root.glob("*"), *root.glob("merged/*"))
        found += [Place(folder) for folder in folders if folder != public]
    files = ("config.yaml", "trials.csv", "replicates.csv")
    known = (one for one in found if any((one.folder / file).is_file() for file in files) or one.benchmark)
    return sorted(
        (one for one in known if one.benchmark == benchmarks), key=lambda one: (one.device or "", one.folder.name)
    )


def place(name: str, root: Path, *, benchmarks: bool = False) -> Place:
    """Where the records of a study lie: its working folder, else the merged one, else the published one of that name.

    Args:
      name: Of the study.
      root: See `places`.
      benchmarks: Whether a kernel benchmark will do as well.

    Raises:
      ConfigError: when there is no such study, or several machines have published it.
    """
    all_ = [*places(root), *(places(root, benchmarks=True) if benchmarks else ())]
    known = [one for one in all_ if (one.folder / "config.yaml").is_file()]
    named = [one for one in known if one.folder.name == name]
    if not named:
        names = {one.folder.name for one in known}
        remedy = nearest(name, names) if names else "run python -m lstm_bench.sweep +study=NAME first"
        raise ConfigError(f"study={name}: there is no such study below {root}", remedy=remedy)
    if named[0].device and len(named) > 1:
        folders = " or ".join(f"sweeps={one.folder.parent}" for one in named)
        raise ConfigError(f"study={name}: several machines have published it", remedy=f"say {folders}")
    return named[0]


def find(name: str, root: Path) -> StudyRecord:
    """The records of a study, its configuration complete also where an older version wrote it. Arguments as `place`.

    Raises:
      ConfigError: as `place`.
      StorageError: when its configuration cannot be read.
    """
    folder, device = place(name, root)
    study = StudyRecord(folder, published=device, strict=True)
    try:
        study.config = complete(study.config)
        assert isinstance(study.environment, dict)
        check_recorded(study.config)
        for path in _NEEDED:
            get(study.config, path)
    except (ConfigError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StorageError(f"{folder}: config.yaml or environment.json cannot be read ({reason})") from error
    return study


def complete(config: schema.Sweep) -> schema.Sweep:
    """A recorded configuration with the values of `conf/` where an older version had none."""
    dataset = str(config["dataset"]["name"])
    if not NAME.fullmatch(dataset):  # it becomes a path
        raise ValueError(f"dataset.name is {dataset[:40]!r}")
    files = {**_DEFAULTS, "dataset": f"dataset/{dataset}"}
    recorded: Mapping[str, Any] = config
    whole: Any = {**recorded}
    for group, file in files.items():
        whole[group] = {**_known(conf_dir() / f"{file}.yaml"), **recorded.get(group, {})}
    return typing.cast(schema.Sweep, whole)


@functools.cache
def _known(path: Path) -> dict[str, Any]:
    return safe_load.own_yaml(path.read_text(encoding="utf-8")) if path.exists() else {}
