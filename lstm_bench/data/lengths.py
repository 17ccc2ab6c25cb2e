"""Sequences of unequal length: padded on the right with zeros, which count nowhere."""

from __future__ import annotations

from typing import Any

import numpy as np


def mask(lengths: np.ndarray, timesteps: int) -> np.ndarray:
    """Bool `(samples, timesteps)`: True at the timesteps that are no padding."""
    return np.asarray(np.arange(timesteps) < lengths[:, None])


def real(values: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """`(samples, timesteps, ...)` without its padding: as it is without lengths, else `(1, all true timesteps, ...)`.

    Either way the first two axes are what statistics run over.
    """
    return values if lengths is None else values[mask(lengths, values.shape[1])][None]


def blank(values: np.ndarray, lengths: np.ndarray | None) -> None:
    """Puts zeros where `(samples, timesteps, ...)` are padding."""
    if lengths is not None:
        values[~mask(lengths, values.shape[1])] = 0


def spread(values: np.ndarray, lengths: np.ndarray, timesteps: int) -> np.ndarray:
    """`(all true timesteps, ...)` as `(samples, timesteps, ...)`, zeros behind each sequence; objects None."""
    made = np.zeros((len(lengths), timesteps, *values.shape[1:]), values.dtype)
    if values.dtype == object:
        made.fill(None)
    made[mask(lengths, timesteps)] = values
    return made


def facts(lengths: np.ndarray, timesteps: int) -> dict[str, Any]:
    """What a record says of the lengths of all sequences: `min`, `median`, `max`, and the share of `padding`."""
    return {
        "min": int(lengths.min()),
        "median": float(np.median(lengths)),
        "max": int(lengths.max()),
        "padding": 1 - float(lengths.mean()) / timesteps,
    }
