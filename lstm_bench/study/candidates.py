"""Configurations that are confirmed over seeds, and which of them is picked."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lstm_bench.core.formatting import format_field


class Candidate(NamedTuple):
    """One configuration to confirm.

    Attributes:
      trial: Number of the trial that found it, None where nothing was searched.
      params: Its searched values.
      digest: Names what is trained: replicates of another configuration are not its own.
    """

    trial: int | None
    params: Mapping[str, Any]
    digest: str


def digest(config: Mapping[str, Any]) -> str:
    """Names a resolved configuration by what is trained: replicates of another one are not its own."""
    parts = {group: config[group] for group in ("model", "train", "backend")}
    later = (
        "deterministic",
        "global_clipnorm",
        "patience",
        "class_weight",
        "warmup",
        "weight_decay",
        "buckets",
    )  # a study that was made before there were these keeps its names
    parts["train"] = {name: value for name, value in parts["train"].items() if value or name not in later}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def standing(validation: Iterable[float], *, maximize: bool) -> tuple[int, float]:
    """Sort key of a candidate, the pick's being least: most finished seeds, then the best mean on validation data.

    A configuration that fails with some seeds never beats one that does not. Of equals, the caller's order decides: the
    better trial, then the earlier one.

    Args:
      validation: Objective of the finished replicates; at the digits of the records, so that driver and report agree.
      maximize: Whether more of it is better.
    """
    values = [float(format_field(float(value))) for value in validation]
    mean = math.fsum(values) / len(values) if values else 0.0
    return -len(values), -mean if maximize else mean
