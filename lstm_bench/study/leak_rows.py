"""`leak.csv`: what the leak meter measured and found, a row each, with a sentence; written by the meter, read by reports."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_bench.core import fileio
from lstm_bench.core.errors import StorageError
from lstm_bench.data.task import Task
from lstm_bench.study.leak_findings import Finding
from lstm_bench.study.leakage import LEVEL, Measured

FILE = "leak.csv"
COLUMNS = (
    "data",  # name of the dataset
    "sha256",  # of its arrays before they are divided: which studies it is about
    "what",  # group, time or copies: a measurement; else what was found by sight
    "alarm",  # 1: the interval is above 0, or a score is flattered by what was found
    "random",  # accuracy, or R2 of numbers, under random splits
    "apart",  # likewise, where what belongs together is in one split
    "difference",  # random - apart
    "low",  # end of the interval of the difference
    "high",  # likewise
    "level",  # of the interval
    "n",  # sequences: tested, or concerned
    "units",  # groups, or stretches of time
    "rounds",  # random divisions
    "seeds",  # ways of joining groups to folds
    "says",  # in a sentence
)
_APART = {
    "group": "a split by group",
    "time": "a split by time",
    "copies": "a split that keeps copies together",
}


def of_measured(one: Measured, task: Task, seeds: int, model: str = "a small model") -> dict[str, Any]:
    """A row of what a split is worth."""
    percent = task.labels.classes
    scale, unit, score = (100, " points", "accuracy") if percent else (1, "", "R2")
    half = scale * (one.high - one.low) / 2
    digits = 1 if percent else 3
    way = "higher" if one.difference >= 0 else "lower"
    difference = f"{abs(scale * one.difference):.{digits}f} ± {half:.{digits}f}{unit} {way}"
    scores = f"{scale * one.random:.{digits}f} against {scale * one.apart:.{digits}f}{' %' if percent else ''}"
    reading = "leakage, or a harder task; your use decides" if one.alarm else "no more than chance does"
    units = "stretches of time" if one.by == "time" else "groups"
    says = (
        f"under the random split the {score} of {model} is {difference} than under {_APART[one.by]} ({scores}; "
        f"99 % interval, {one.rounds} random divisions, {one.units:,} {units}): {reading}."
    )
    figures = {
        name: getattr(one, name) for name in ("random", "apart", "difference", "low", "high", "n", "units", "rounds")
    }
    return {"what": one.by, "alarm": int(one.alarm), **figures, "level": LEVEL, "seeds": seeds, "says": says}


def of_finding(one: Finding) -> dict[str, Any]:
    """A row of what was found by sight."""
    return {"what": one.what, "alarm": int(one.alarm), "n": one.n or None, "says": one.says}


def known(path: Path) -> list[dict[str, str]]:
    """All that the meter has said.

    Raises:
      StorageError: where it cannot be read, or is not what the meter writes.
    """
    try:
        found = fileio.read_rows(path)
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, getattr(error, "strerror", None) or error) from error
    if not path.read_bytes().endswith(b"\n"):
        raise _unreadable(path, "its last line is torn")
    if any(None in (*row, *row.values()) or not {*COLUMNS} <= {*row} for row in found):
        raise _unreadable(path, "its columns are not the leak meter's")
    return found


def _unreadable(path: Path, why: object) -> StorageError:
    remedy = "Take it away: python -m lstm_bench.leak writes it anew, for each dataset that it is asked of."
    return StorageError(f"{path}: cannot be read ({why})", remedy=remedy)


def write(path: Path, data: str, sha256: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes what was said of a dataset in the place of what was said of it before.

    Raises:
      StorageError: where it cannot be written.
    """
    kept = [row for row in (known(path) if path.is_file() else ()) if row["sha256"] != sha256]
    fileio.write_rows(path, COLUMNS, [*kept, *({"data": data, "sha256": sha256, **row} for row in rows)])


def read(path: Path, sha256: str) -> list[dict[str, str]]:
    """The rows about some data; none where there is no such file, or it is damaged."""
    try:
        said = known(path) if path.is_file() else []
    except StorageError:
        return []
    return [row for row in said if row["sha256"] == sha256 and row["says"]]
