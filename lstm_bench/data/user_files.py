"""A user's sequences to predict: read from .npy, .npz or CSV, checked, and scaled as those were that a model was trained on."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench.core.errors import DataError, LstmBenchError
from lstm_bench.core.formatting import is_number
from lstm_bench.data import formats
from lstm_bench.data.arrays import Arrays
from lstm_bench.data.formats import arrays_file
from lstm_bench.data.formats.source import Source
from lstm_bench.data.lengths import blank
from lstm_bench.data.missing import Filling
from lstm_bench.data.npz import MAX_NPZ_BYTES, check_npy, member_of, require_known
from lstm_bench.data.sequences import Columns, Sequences, changes
from lstm_bench.data.splits import standardized
from lstm_bench.data.task import recorded


def read(path: Path, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
    """The sequences of a file, and the targets where it has them.

    Args:
      path: `.npy`: an array; `.npz`: `x`, perhaps `y`, and `groups`, which say nothing here; else CSV: a sequence per line, all
        features of its first timestep first. A first line without a number is a header. Nothing is ever unpickled.
      shape: `(timesteps, features)` of the model.

    Returns:
      Real numbers `(samples, timesteps, features)` in the file's own type, of CSV int64 when it holds whole numbers alone; and
      `y` as it is, or None.

    Raises:
      DataError: if the file is missing, damaged or too large, or holds anything else.
    """
    try:
        if path.suffix == ".npz":
            found = _npz(path, ("x", "y"))
            x, y = found["x"], found.get("y")
        else:
            x, y = (_npy(path) if path.suffix == ".npy" else _csv(path, shape)), None
    except LstmBenchError:
        raise
    except Exception as error:  # a damaged file raises any of a dozen types
        raise _unreadable(path, error) from error
    _check(x, shape, path)
    return x, y


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return DataError(f"{path}: cannot be read ({reason})", expected="an .npy, .npz or CSV file")


def takes_any_length(about: Mapping[str, Any]) -> bool:
    """Whether a model, by its `input.json`, learned from sequences of unequal length."""
    return bool((about.get("reading") or {}).get("unequal"))


def read_alike(source: Source, about: Mapping[str, Any]) -> Sequences:
    """The sequences of a file that is laid out as the one that a model learned from; its target and groups may be missing.

    Args:
      source: The file; of a model that takes any length also `.npy`, or `.npz` with `x`, perhaps `y` and `lengths`.
      about: `input.json` of a model that was trained with `dataset=file`.

    Returns:
      The sequences, gaps filled and too long ones cut as in training, `x` float32 of the model's shape, or of any length where
      it takes such; `y` is None where the file has no target.

    Raises:
      ConfigError: for a column that is not there.
      DataError: for a file that cannot be read, or does not fit.
    """
    reading, where = about["reading"], str(source)
    known = formats.columns_of(source)
    given = dict(reading["columns"])
    least = given.pop("min_length", None)
    columns = Columns(**{key: given[key] for key in ("max_length", "truncate", "multilabel") if key in given})
    if known is not None:
        categories = {name: tuple(names) for name, names in reading["categories"].items()}
        inputs = dict.fromkeys(_column(name, categories) for name in reading["features"])
        wide = given.get("layout") == "wide"
        if not wide:
            given["features"] = tuple(inputs)
        for optional in ("target", "group", *(() if wide else ("lengths",))):
            names = given.get(optional)
            if names is None or not {*([names] if isinstance(names, str) else names)} <= {*known}:
                given.pop(optional, None)
        columns = Columns(**given, categories=categories)
    if takes_any_length(about) and (source.suffix == ".npy" or _has_x(source)):
        found = _arrays(source.path, columns)
    else:
        parts = formats.read(source, columns)
        found = parts.get("all") or parts.get("test") or parts["train"]
    filling = reading["filling"] and Filling.of(reading["filling"])
    extra = len(filling.observed) if filling else 0
    if filling and found.x.shape[-1] == about["features"] - extra:
        found = replace(found, x=filling.apply(found.x, found.lengths))
    if not takes_any_length(about):
        if found.lengths is not None:
            raise DataError(
                f"{where}: sequences of unequal length",
                expected=f"{about['timesteps']} timesteps of each, as the model has learned from",
                received=f"{found.lengths.min()} to {found.lengths.max()}",
            )
        _check(found.x, (about["timesteps"], about["features"]), Path(where))
        return found
    _check(found.x, (found.x.shape[1], about["features"]), Path(where), any_length=True)
    return replace(found, lengths=found.every_length(), notes=(*found.notes, *_said(found, columns, least, about)))


def _said(found: Sequences, columns: Columns, least: int | None, about: Mapping[str, Any]) -> list[str]:
    """What is worth knowing of the lengths of new sequences."""
    lengths = found.every_length()
    made = changes(found.cut, 0, len(found), columns)
    for wrong, side, of in (
        (lengths > about["timesteps"], "longer", f"the {about['timesteps']} timesteps"),
        (lengths < (least or 1), "shorter", f"the {least} timesteps"),
    ):
        if wrong.any():
            made.append(
                f"{int(wrong.sum()):,} of {len(found):,} sequences are {side} than {of} that the model has learned from"
            )
    return made


def _has_x(source: Source) -> bool:
    """Whether it is an `.npz` of arrays as `predict` takes them."""
    if source.suffix != ".npz" or source.member is not None:
        return False
    with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(source.path) as archive:
        return "x.npy" in archive.namelist()
    return False


def _arrays(path: Path, columns: Columns) -> Sequences:
    """Sequences of any length from `.npy` or `.npz`."""
    try:
        found = _npz(path, ("x", "y", "lengths")) if path.suffix == ".npz" else {"x": _npy(path)}
    except LstmBenchError:
        raise
    except Exception as error:  # a damaged file raises any of a dozen types
        raise _unreadable(path, error) from error
    return arrays_file.sequences(found, "", columns, str(path))


def coded(y: np.ndarray, about: Mapping[str, Any], where: str) -> np.ndarray:
    """Targets of a file as the model knows them: classes by their index.

    Raises:
      DataError: for a class that it does not know.
    """
    names = about.get("classes")
    if names is None or not recorded(about).labels.classes:
        return y
    indices = {name: index for index, name in enumerate(names)}
    unknown = sorted({str(label) for label in y.ravel()} - {*indices})
    if unknown:
        raise DataError(
            f"{where}: a class that the model does not know",
            expected=f"one of {', '.join(names)[:200]}",
            received=unknown[0],
            remedy="Take its sequences out; or leave the labels out of the file: then all are predicted and none is scored.",
        )
    return np.array([indices[str(label)] for label in y.ravel()], np.int32).reshape(y.shape)


def _column(feature: str, categories: Mapping[str, Any]) -> str:
    """The column that a feature comes from: `side` of `side=left`."""
    head = feature.partition("=")[0]
    return head if head in categories else feature


def _npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        check_npy(file, path.stat().st_size, str(path))
    return np.load(path, allow_pickle=False)


def _npz(path: Path, keys: Sequence[str]) -> Arrays:
    """Those of `keys` that there are, `x` among them."""
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if "x" not in names:
            raise DataError(f"{path}: x is missing", expected="x, and y where it is known", received=names[:12])
        require_known(archive, (*keys, "groups"), path)  # what matters for dividing data alone
        sizes = {key: archive.getinfo(f"{key}.npy").file_size for key in keys if key in names}
        if sum(sizes.values()) > MAX_NPZ_BYTES:
            raise DataError(f"{path}: too large", expected=f"at most {MAX_NPZ_BYTES} B", received=sum(sizes.values()))
        for key, size in sizes.items():
            with archive.open(f"{key}.npy") as member:
                check_npy(member, size, f"{path}: {key}")
        return {key: member_of(archive, key) for key in sizes}


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


def _check(x: np.ndarray, shape: tuple[int, int], path: Path, any_length: bool = False) -> None:
    timesteps = "any" if any_length else shape[0]
    expected = f"shape (samples, {timesteps}, {shape[1]}): samples, timesteps, features"
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


def scaled(x: np.ndarray, about: Mapping[str, Any], where: str, lengths: np.ndarray | None = None) -> np.ndarray:
    """Sequences as the model was trained on them, float32.

    Whole numbers are what the dataset's source holds (pixels), and are divided as there. Others are taken as divided already.

    Args:
      x: What `read` gave.
      about: `input.json`: `divisor`, `mean` and `scale`.
      where: The file, for messages.
      lengths: `(samples,)`, of padded ones: padding stays 0.

    Raises:
      DataError: when the numbers can be neither.
    """
    if x.ndim == 2:  # ids of tokens
        return x
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
    figures = np.asarray(about["mean"], np.float32), np.asarray(about["scale"], np.float32)
    return blank(standardized(x, *figures), lengths)
