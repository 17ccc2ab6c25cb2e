"""`.ts`: the text format of the UCR/UEA archive, univariate and multivariate, of equal and unequal lengths.

Source: Bagnall et al. 2018, "The UEA multivariate time series classification archive", arXiv 1811.00075.
"""

from __future__ import annotations

import io
import re

import numpy as np

from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.data.formats.source import Source
from lstm_bench.data.sequences import Columns, Sequences, from_rows


def read(source: Source, columns: Columns) -> dict[str, Sequences]:
    """The sequences of a file: `X_TRAIN.ts` and the `X_TEST.ts` beside it, or one undivided.

    Raises:
      ConfigError: for settings of tables.
      DataError: for a file that is none, or whose features have other lengths than each other within a sequence.
    """
    if given := columns.of_tables():
        raise ConfigError(f"dataset.{given[0]}: a .ts file has no columns", remedy="Leave it out.")
    other = test_set(source)
    if other is None:
        return {"all": _read(source, columns)}
    return {"train": _read(source, columns), "test": _read(other, columns)}


def test_set(source: Source) -> Source | None:
    """The file of the test set beside `X_TRAIN.ts`, in its letters; None where there is none."""
    name = source.name
    at = name.upper().rfind("_TRAIN.")
    if at < 1:
        return None
    return source.sibling(name[:at] + ("_TEST" if name[at + 1 : at + 6].isupper() else "_test") + name[at + 6 :])


def _read(source: Source, columns: Columns) -> Sequences:
    header: dict[str, list[str]] = {}
    rows: list[np.ndarray] = []
    labels: list[str] = []
    with source.open() as file:
        lines = enumerate(io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace"), 1)
        for number, line in lines:
            text = line.strip()
            if not text or text.startswith(("#", "%")):
                continue
            if not text.startswith("@"):
                raise DataError(f"{source}: row {number}", expected="a line with @, before @data", received=text[:40])
            key, *words = text[1:].split() or [""]
            if key.lower() == "data":
                break
            header[key.lower()] = words
        else:
            raise DataError(f"{source}: it has no @data", expected="a .ts file of the UCR/UEA archive")
        if header.get("timestamps", ["false"])[0].lower() == "true":
            raise DataError(f"{source}: @timeStamps true is not supported", expected="values alone")
        kind = "classlabel" if header.get("classlabel", ["false"])[0].lower() == "true" else "targetlabel"
        labelled = header.get(kind, ["false"])[0].lower() == "true"
        equal = header.get("equallength", ["false"])[0].lower() == "true"
        for number, line in lines:
            if not line.strip():
                continue
            values = _values(line.strip(), labelled, labels, f"{source}: row {number}")
            first = rows[0] if rows else values
            if values.shape[1] != first.shape[1] or (equal and len(values) != len(first)):
                raise DataError(
                    f"{source}: row {number}",
                    expected=f"{f'{len(first)} timesteps of ' * equal}{first.shape[1]} features, as the first sequence has",
                    received=f"{values.shape[0]} of {values.shape[1]}",
                    remedy="Its header says @equalLength true." if equal else None,
                )
            rows.append(values)
    if not rows:
        raise DataError(f"{source}: it holds no sequence", expected="a line for each after @data")
    lengths = np.array([len(values) for values in rows])
    y = _targets(labels, kind, str(source)) if labelled else None
    return from_rows(np.concatenate(rows), lengths, y, columns, str(source))


def _targets(labels: list[str], kind: str, where: str) -> np.ndarray:
    """Numbers to predict, or classes: whole numbers where all are such, else text."""
    if kind == "targetlabel":
        return np.array([_number(label, where) for label in labels])
    if all(re.fullmatch(r"-?\d{1,18}", label) for label in labels):
        return np.array([int(label) for label in labels])
    return np.array(labels, object)


def _values(line: str, labelled: bool, labels: list[str], where: str) -> np.ndarray:
    """Values `(timesteps, features)` of a line; its label is put to the others."""
    parts = line.split(":")
    if labelled:
        labels.append(parts.pop().strip())
    if not all(part.strip() for part in parts):
        raise DataError(where, expected="at least one timestep", received="none")
    features = [[_number(cell, where) for cell in part.split(",")] for part in parts]
    lengths = {len(feature) for feature in features}
    if len(lengths) != 1:
        raise DataError(
            where,
            expected="as many timesteps of every feature",
            received=f"{min(lengths, default=0)} and {max(lengths, default=0)}",
        )
    return np.array(features, np.float32).T


def _number(text: str, where: str) -> float:
    word = text.strip()
    if word in ("?", "", "NaN", "nan"):
        return float("nan")
    try:
        return float(word)
    except ValueError:
        raise DataError(where, expected="numbers with commas, features with colons", received=word[:40]) from None
