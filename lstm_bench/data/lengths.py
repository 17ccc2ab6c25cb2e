"""Sequences of unequal length: padded on the right with zeros, which count nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_bench.core.errors import DataError
from lstm_bench.data.formats.source import MAX_BYTES

TRUNCATE = (
    "refuse",
    "start",
    "end",
)  # what happens to what is longer than `dataset.max_length`: the end that is cut off


def mask(lengths: np.ndarray, timesteps: int) -> np.ndarray:
    """Bool `(samples, timesteps)`: True at the timesteps that are no padding."""
    return np.asarray(np.arange(timesteps) < lengths[:, None])


def real(values: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """`(samples, timesteps, ...)` without its padding: as it is without lengths, else `(1, all true timesteps, ...)`.

    Either way the first two axes are what statistics run over.
    """
    return values if lengths is None else values[mask(lengths, values.shape[1])][None]


def blank(values: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """Puts zeros where `(samples, timesteps, ...)` are padding, in place."""
    if lengths is not None:
        values[~mask(lengths, values.shape[1])] = 0
    return values


def spread(values: np.ndarray, lengths: np.ndarray, timesteps: int) -> np.ndarray:
    """`(all true timesteps, ...)` as `(samples, timesteps, ...)`, zeros behind each sequence; of objects None, of texts ""."""
    made = np.zeros((len(lengths), timesteps, *values.shape[1:]), values.dtype)
    if values.dtype == object:
        made.fill(None)
    made[mask(lengths, timesteps)] = values
    return made


def extended(values: np.ndarray, timesteps: int) -> np.ndarray:
    """`(samples, timesteps, ...)` cut or padded on the right to other timesteps."""
    if values.shape[1] >= timesteps:
        return values[:, :timesteps]
    more = np.zeros((len(values), timesteps - values.shape[1], *values.shape[2:]), values.dtype)
    if values.dtype == object:
        more.fill(None)
    return np.concatenate([values, more], axis=1)


def checked(lengths: np.ndarray, n: int, most: int | None, what: str) -> np.ndarray:
    """Lengths from outside as int32.

    Args:
      lengths: As the file has them.
      n: Sequences that there are.
      most: Timesteps that there are of each; None where that is not known.
      what: File and array, or column, for messages.

    Raises:
      DataError: unless there is a whole number for each sequence, from 1 to `most`.
    """
    if lengths.shape != (n,):
        raise DataError(what, expected=f"{n:,} lengths, one per sequence", received=f"shape {lengths.shape}")
    if lengths.dtype.kind not in "iuf":
        raise DataError(what, expected="whole numbers", received=f"type {lengths.dtype}")
    whole = lengths == np.rint(lengths)  # neither NaN nor inf: those come next
    fit = whole & (lengths >= 1) & (lengths <= (np.iinfo(np.int32).max if most is None else most))
    if not fit.all():
        at = int(np.flatnonzero(~fit)[0])
        upto = "of at least 1" if most is None else f"from 1 to {most}, the timesteps that there are"
        raise DataError(what, expected=f"whole numbers {upto}", received=f"{lengths[at]:g} for sequence {at}")
    return lengths.astype(np.int32)


def limited(
    lengths: np.ndarray, most: int | None, least: int | None, truncate: str | None, where: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which sequences `dataset.min_length` keeps, and of each of those its first row and length once `max_length` has cut it.

    Args:
      lengths: Of all, whose rows follow each other.
      most: `dataset.max_length`.
      least: `dataset.min_length`.
      truncate: One of `TRUNCATE`; None as refuse.
      where: The file, for messages.

    Raises:
      DataError: for one that is longer, of refuse; where none is left.
    """
    begins = np.cumsum(lengths, dtype=np.int64) - lengths
    kept = np.flatnonzero(lengths >= (least or 1))
    if not len(kept):
        raise DataError(
            f"{where}: no sequence has {least} timesteps", expected=f"dataset.min_length of at most {lengths.max()}"
        )
    begins, left = begins[kept], lengths[kept]
    over = left > most if most is not None else np.zeros(len(left), bool)
    if most is not None and over.any():
        if truncate not in ("start", "end"):
            raise DataError(
                f"{where}: {int(over.sum()):,} of {len(lengths):,} sequences are longer than dataset.max_length",
                expected=f"at most {most} timesteps",
                received=int(lengths.max()),
                remedy="Say what is cut off: dataset.truncate=end, or start.",
            )
        if truncate == "start":
            begins = begins + np.maximum(left - most, 0)
        left = np.minimum(left, most)
    return kept, begins, left.astype(np.int32)


def require_room(n: int, timesteps: int, each: int, where: str) -> None:
    """Raises DataError where padding would make an array of more bytes than a file may hold.

    Args:
      n: Sequences.
      timesteps: Of the longest.
      each: Bytes of a timestep.
      where: The file, for messages.
    """
    size = n * timesteps * each
    if size > MAX_BYTES:
        raise DataError(
            f"{where}: {n:,} sequences padded to {timesteps:,} timesteps",
            expected=f"at most {MAX_BYTES / 2**20:,.0f} MiB",
            received=f"{size / 2**20:,.0f} MiB",
            remedy="Cut the longest by dataset.max_length and dataset.truncate=end, or start.",
        )


def facts(lengths: np.ndarray, timesteps: int) -> dict[str, Any]:
    """What a record says of the lengths of all sequences: `min`, `median`, `max`, and the share of `padding`."""
    return {
        "min": int(lengths.min()),
        "median": float(np.median(lengths)),
        "max": int(lengths.max()),
        "padding": 1 - float(lengths.mean()) / timesteps,
    }


def said(known: Mapping[str, Any]) -> str:
    """`facts` in words: `7 to 29 timesteps, median 15: 46.2 % is padding`."""
    share = f"{100 * known['padding']:.1f} % of the timesteps are padding"
    return f"{known['min']:,} to {known['max']:,} timesteps, median {known['median']:g}: {share}"
