"""A study as its records describe it, found by name: what is needed to use its winner or to run one of its trials again."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lstm_bench.core import fileio, formatting, safe_load
from lstm_bench.core.config import NAME, check_recorded, conf_dir, get, replaced
from lstm_bench.core.errors import ConfigError, DataError, StorageError, nearest
from lstm_bench.data import dataset as data
from lstm_bench.data.splits import for_seed
from lstm_bench.study import search_space as spaces

Row = dict[str, str]
# Where a value comes from that an older version did not record. Those of `dataset` are in the file of its own name.
_DEFAULTS = {"train": "train/default", "launcher": "launcher/local", "kernel": "kernel/auto"}
_NEEDED = ("study.space", "study.objective", "study.direction", "study.replicates", "model._target_", "backend.name")


@dataclass(frozen=True)
class Recorded:
    """The records of one study.

    Attributes:
      name: Of the study, which is that of its folder.
      folder: Where they lie.
      published: Whether they are committed records, without a database and a model.
      config: The resolved configuration, complete also where an older version wrote it.
      environment: `environment.json`, {} where there is none.
    """

    name: str
    folder: Path
    published: bool
    config: dict[str, Any]
    environment: dict[str, Any]

    def rows(self, file: str) -> list[Row]:
        """Rows of a record file as text, [] when there is none.

        Raises:
          StorageError: when it cannot be read.
        """
        try:
            return fileio.read_rows(self.folder / file)
        except (OSError, ValueError, csv.Error) as error:
            raise StorageError(f"{self.folder / file}: cannot be read ({error})") from error

    def config_of(self, row: Mapping[str, str] | None) -> dict[str, Any]:
        """The configuration with the searched values of a row of `trials.csv`; of None, as it is."""
        space = spaces.flatten(self.config["study"]["space"])
        searched = {path: domain for path, domain in space.items() if domain is not None}
        return replaced(self.config, {path: _value(row, path, searched[path]) for path in searched} if row else {})

    def winner(self) -> Row | None:
        """The best COMPLETE trial by the objective, the first of several; None where nothing was searched."""
        objective, direction = (self.config["study"][key] for key in ("objective", "direction"))
        sign = -1.0 if direction == "maximize" else 1.0
        rows = self.rows("trials.csv")
        try:
            complete = [row for row in rows if row["state"] == "COMPLETE" and row.get(objective)]
            return min(complete, key=lambda row: (sign * float(row[objective]), int(row["number"])), default=None)
        except (KeyError, TypeError, ValueError) as error:  # no such column, a torn row, no number
            raise StorageError(f"{self.folder / 'trials.csv'}: cannot be read ({error})") from error

    def data(self, seed: int | None = None) -> data.Dataset:
        """The data of the study, found where it was or where this machine has it.

        Args:
          seed: Of the confirmation, where it has drawn its own training and validation data; None for those of the search.

        Raises:
          DataError: when it is not there, or is not what the study was made with.
        """
        settings = {**self.config["dataset"], "fallback": None}
        settings |= {} if seed is None else for_seed(settings, seed)
        try:
            found = data.load(settings)
        except DataError:
            if settings["name"] != "mnist" or settings["dir"] is None:
                raise
            found = data.load({**settings, "dir": None})  # another machine keeps it elsewhere
        expected = self.environment.get("dataset", {}).get("sha256")
        if expected not in (None, found.sha256):
            raise DataError(
                f"{found.source}: not the data of study {self.name}", expected=expected, received=found.sha256
            )
        return found


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


def places(root: Path) -> list[tuple[Path, bool]]:
    """Folders of studies below `sweeps/`, its `published/`, or a folder in that, each with whether it is published."""
    found = [(path.parent, False) for path in sorted(root.glob("*/config.yaml"))]
    found += [
        (path.parent, True) for pattern in ("published/*/*", "*/*") for path in root.glob(f"{pattern}/config.yaml")
    ]
    return [(folder, public) for folder, public in found if not folder.name.startswith("kernels-")]


def find(name: str, root: Path) -> Recorded:
    """The records of a study: its working folder, else the published ones of that name.

    Args:
      name: Of the study.
      root: `sweeps/`, its `published/`, or a folder in that.

    Raises:
      ConfigError: when there is no such study, or several machines have published one.
      StorageError: when its configuration cannot be read.
    """
    known = places(root)
    named = [(folder, public) for folder, public in known if folder.name == name]
    working = [place for place in named if not place[1]]
    if not named:
        names = {folder.name for folder, _ in known}
        remedy = nearest(name, names) if names else "run python -m lstm_bench.sweep +study=NAME first"
        raise ConfigError(f"study={name}: there is no such study below {root}", remedy=remedy)
    if not working and len(named) > 1:
        folders = " or ".join(f"sweeps={folder.parent}" for folder, _ in named)
        raise ConfigError(f"study={name}: several machines have published it", remedy=f"say {folders}")
    folder, public = (working or named)[0]
    elsewhere = not {"published", "merged"}.isdisjoint(folder.absolute().parts)
    public = public or (elsewhere and not (folder / "study.db").exists())
    try:
        config = safe_load.from_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
        file = folder / "environment.json"
        environment = safe_load.from_json(file.read_text(encoding="utf-8")) if file.exists() else {}
        if not isinstance(environment, dict):
            raise ValueError("environment.json holds no mapping")
        whole = complete(config)
        check_recorded(whole)
        for path in _NEEDED:
            get(whole, path)
        return Recorded(name, folder, public, whole, environment)
    except (OSError, ConfigError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StorageError(f"{folder}: config.yaml or environment.json cannot be read ({reason})") from error


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration with the values of `conf/` where an older version had none."""
    dataset = str(config["dataset"]["name"])
    if not NAME.fullmatch(dataset):  # it becomes a path
        raise ValueError(f"dataset.name is {dataset[:40]!r}")
    files = {**_DEFAULTS, "dataset": f"dataset/{dataset}"}
    whole = dict(config)
    for group, file in files.items():
        whole[group] = {**_known(conf_dir() / f"{file}.yaml"), **config.get(group, {})}
    return whole


@functools.cache
def _known(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def packages(study: Recorded, names: Sequence[str]) -> dict[str, str | None]:
    """Recorded versions of packages, None of those that were not there."""
    known = study.environment.get("packages", {})
    return {name: known.get(name) for name in names}
