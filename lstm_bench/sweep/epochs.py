"""How many epochs a study trains on a user's file: as many as its optimiser needs steps, where nobody said it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lstm_bench.core import safe_load, schema
from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.formatting import counted


def are_open(config: schema.Sweep, overrides: Sequence[str]) -> bool:
    """Whether a study's epochs follow from the data: it is given a file (`dataset=file`) and no `train.epochs`.

    The epochs in a study's own YAML were chosen for the data that it names there.
    """
    given = [override.lstrip("+") for override in overrides]
    named = any(override.startswith("train.epochs=") for override in given)
    return config["dataset"]["name"] == "file" and "dataset=file" in given and not named


def settle(config: schema.Sweep, space: Mapping[str, Any], n_train: int) -> str:
    """Raises `train.epochs` to what `conf/epochs.yaml` asks for, and sets `train.patience`; returns what and why.

    Args:
      config: Resolved configuration.
      space: Parsed search space: a searched number of epochs stays, and the largest batch that is searched counts.
      n_train: Training sequences.
    """
    train, rule = config["train"], limits()
    if "train.epochs" in space:
        return ""
    batch = space.get("train.batch_size") or {"choices": [train["batch_size"]]}
    steps = math.ceil(n_train / max(batch.get("choices") or [batch["high"]]))
    own, needed = train["epochs"], math.ceil(rule["steps"] / steps)
    train["epochs"] = max(own, min(needed, rule["max_epochs"]))
    about = f"{train['epochs'] * steps:,} optimiser steps on {counted(n_train, 'sequence')}"
    said = f"{train['epochs']}: {'at least ' if 'train.batch_size' in space else ''}{about}"
    if own == train["epochs"]:
        return f"{said}, as the study has it; train.epochs=N says otherwise"
    # A pruner of several objectives compares single epochs, not the best so far.
    may_stop = "train.patience" not in space and config["pruner"]["name"] != "dominated"
    if train["patience"] is None and may_stop:
        train["patience"] = max(rule["min_patience"], round(rule["patience"] * train["epochs"]))
    said += f" instead of {own}"
    said += f", {train['patience']} without a better one end it (train.patience)" if train["patience"] else ""
    return f"{said}; train.epochs=N says otherwise"


def limits() -> dict[str, Any]:
    """`conf/epochs.yaml`."""
    found: dict[str, Any] = safe_load.from_yaml((conf_dir() / "epochs.yaml").read_text(encoding="utf-8"))
    return found
