"""A user's sequences to predict: read from .npy, .npz or CSV, checked, and scaled as those were that a model was trained on."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench.core.errors import DataError, LstmBenchError
from lstm_bench.core.formatting import is_number
from lstm_bench.data import formats
from lstm_bench.data.formats.source import Source
from lstm_bench.data.missing import Filling
from lstm_bench.data.npz import MAX_NPZ_BYTES, check_npy, member_of, require_known
from lstm_bench.data.sequences import Columns, Sequences
from lstm_bench.data.splits import standardized
from lstm_bench.data.task import recorded


def read(path: Path, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
    """The sequences of a file, and the targets where it has them.

    Args:
      path: `.npy`: an array; `.npz`: `x`, perhaps `y`, and nothing else; else CSV: a sequence per line, all features of its first
        timestep first. A first line without a number is a header. Nothing is ever unpickled.
      shape: `(timesteps, features)` of the model.

    Returns:
      Real numbers `(samples, timesteps, features)` in the file's own type, of CSV int64 when it holds whole numbers alone; and
      `y` as it is, or None.

    Raises:
      DataError: if the file is missing, damaged or too large, or holds anything else.
    """
    try:
        if path.suffix == ".npz":
            x, y = _npz(path)
        else:
            x, y = (_npy(path) if path.suffix == ".npy" else _csv(path, shape)), None
    except LstmBenchError:
        raise
    except Exception as error:  # a damaged file raises any of a dozen types
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason})", expected="an .npy, .npz or CSV file") from error
    _check(x, shape, path)
    return x, y


def read_alike(source: Source, about: Mapping[str, Any]) -> Sequences:
    """The sequences of a file that is laid out as the one that a model learned from; its target and groups may be missing.

    Args:
      source: The file.
      about: `input.json` of a model that was trained with `dataset=file`.

    Returns:
      The sequences, gaps filled as in training, `x` float32 of the model's shape; `y` is None where the file has no target.

    Raises:
      ConfigError: for a column that is not there.
      DataError: for a file that cannot be read, or does not fit.
    """
    reading = about["reading"]
    known = formats.columns_of(source)
    columns = Columns()
    if known is not None:
        given = dict(reading["columns"])
        categories = {name: tuple(names) for name, names in reading["categories"].items()}
        inputs = dict.fromkeys(_column(name, categories) for name in reading["features"])
        if given.get("layout") != "wide":
            given["features"] = tuple(inputs)
        for optional in ("target", "group"):
            names = given.get(optional)
            if names is None or not {*([names] if isinstance(names, str) else names)} <= {*known}:
                given.pop(optional, None)
        columns = Columns(**given, categories=categories)
    parts = formats.read(source, columns)
    found = parts.get("all") or parts.get("test") or parts["train"]
    filling = reading["filling"] and Filling.of(reading["filling"])
    extra = len(filling.observed) if filling else 0
    if filling and found.x.shape[-1] == about["features"] - extra:
        found = replace(found, x=filling.apply(found.x))
    _check(found.x, (about["timesteps"], about["features"]), Path(str(source)))
    return found


def coded(y: np.ndarray, about: Mapping[str, Any], where: str) -> np.ndarray:
    """Targets of a file as the model knows them: classes by their place.

    Raises:
      DataError: for a class that it does not know.
    """
    names = about.get("classes")
    if names is None or not recorded(about).labels.classes:
        return y
    places = {name: place for place, name in enumerate(names)}
    unknown = sorted({str(label) for label in y.ravel()} - {*places})
    if unknown:
        raise DataError(
            f"{where}: a class that the model does not know", expected=", ".join(names)[:200], received=unknown[0]
        )
    return np.array([places[str(label)] for label in y.ravel()], np.int32).reshape(y.shape)


def _column(feature: str, categories: Mapping[str, Any]) -> str:
    """The column that a feature comes from: `side` of `side=left`."""
    head = feature.partition("=")[0]
    return head if head in categories else feature


def _npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        check_npy(file, path.stat().st_size, str(path))
    return np.load(path, allow_pickle=False)


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if "x" not in names:
            raise DataError(f"{path}: x is missing", expected="x, and y where it is known", received=names[:12])
        require_known(archive, ("x", "y"), path)
        sizes = {key: archive.getinfo(f"{key}.npy").file_size for key in ("x", "y") if key in names}
        if sum(sizes.values()) > MAX_NPZ_BYTES:
            raise DataError(f"{path}: too large", expected=f"at most {MAX_NPZ_BYTES} B", received=sum(sizes.values()))
        for key, size in sizes.items():
            with archive.open(f"{key}.npy") as member:
                check_npy(member, size, f"{path}: {key}")
        return member_of(archive, "x"), member_of(archive, "y") if "y" in sizes else None


def _csv(path: Path, shape: tuple[int, int]) -> np.ndarray:
    timesteps, features = shape
    rows: list[list[float]] = []
    whole = True
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        fields = [field.strip() for field in line.split(",")]
        if not any(fields) or (number == 1 and not any(map(is_number, fields))):
            continue
        wrong = next((field for field in fields if not is_number(field)), None)
        if wrong is not None or len(fields) != timesteps * features:
            expected = f"{timesteps * features} numbers ({timesteps} timesteps of {features} features) and commas"
            received = f"{len(fields)} fields" if wrong is None else wrong[:40]
            raise DataError(f"{path}: line {number}", expected=expected, received=received)
        rows.append([float(field) for field in fields])
        whole = whole and all(field.lstrip("+-").isdecimal() for field in fields)
    x = np.array(rows, np.float64).reshape(-1, timesteps, features)
    return x.astype(np.int64) if whole else x


def _check(x: np.ndarray, shape: tuple[int, int], path: Path) -> None:
    expected = f"shape (samples, {shape[0]}, {shape[1]}): samples, timesteps, features"
    if x.ndim != 3 or x.shape[1:] != shape:
        remedy = None
        if x.shape == shape:
            remedy = "one sequence: x[None]"
        elif x.ndim == 2 and (x.shape[1], 1) == shape:
            remedy = "one feature: x[..., None]"
        raise DataError(f"{path}: wrong shape", expected=expected, received=x.shape, remedy=remedy)
    if not len(x):
        raise DataError(f"{path}: no sequence", expected=expected, received=x.shape)
    if x.dtype.kind not in "biuf":
        raise DataError(str(path), expected="real numbers", received=x.dtype)
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite(x.astype(np.float32)).all(axis=(1, 2)))
    if len(bad):
        found = f"neither in {len(bad)} of {len(x)} samples, the first is {bad[0]}"
        raise DataError(f"{path}: NaN or inf", expected="finite float32 numbers", received=found)


def scaled(x: np.ndarray, about: Mapping[str, Any], where: str) -> np.ndarray:
    """Sequences as the model was trained on them, float32.

    Whole numbers are what the dataset's source holds (pixels), and are divided as there. Others are taken as divided already.

    Args:
      x: What `read` gave.
      about: `input.json`: `divisor`, `mean` and `scale`.
      where: The file, for messages.

    Raises:
      DataError: when the numbers can be neither.
    """
    divisor = about["divisor"]
    if divisor != 1:
        whole = x.dtype.kind in "iu"
        high = divisor if whole else 1
        if x.min() < 0 or x.max() > high:
            raise DataError(
                f"{where}: not scaled as {about['dataset']} is",
                expected=f"whole numbers from 0 to {divisor}, or others from 0 to 1",
                received=f"{x.dtype} from {x.min():g} to {x.max():g}",
            )
        x = np.divide(x, divisor if whole else 1, dtype=np.float32)
    x = x.astype(np.float32)
    if about["mean"] is None:
        return x
    return standardized(x, np.asarray(about["mean"], np.float32), np.asarray(about["scale"], np.float32))
