"""Which kind of task a dataset asks for, and which objective fits it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_bench.core.errors import ConfigError
from lstm_bench.data import labels as label
from lstm_bench.data.readers import DIVISOR

# What a dataset asks for; that of an npz file is in its labels. See `Dataset.task`.
TASKS = dict.fromkeys(DIVISOR, "classification") | {
    "npz": None,
    "file": None,
    "adding": "regression",
    "copy": "tagging",
}


def check_objective(
    settings: Mapping[str, Any], name: str, task: str | None, targets: np.ndarray | None = None
) -> None:
    """Checks that a study aims at something that its task has.

    Args:
      settings: Group `study`: `objective`, or `objectives`.
      name: Of the dataset.
      task: Its task; None where that is not known before the data is read.
      targets: Of a regression, where they are known.

    Raises:
      ConfigError: for the accuracy of a regression, or the error of a classification.
    """
    if task is None:
        return
    valid = ("val_mse", "val_mae", "val_loss") if task == "regression" else ("val_accuracy", "val_loss")
    aims = settings.get("objectives") or [settings["objective"]]
    if wrong := next((aim for aim in aims if aim.startswith("val_") and aim not in valid), None):
        remedy = f"Give study.objective={valid[0]}."
        if targets is not None and (mended := label.integers(targets)):  # floats by mistake, perhaps
            remedy += f" {mended}"
        raise ConfigError(
            "study.objective",
            expected=f"one of {', '.join(valid)} with dataset={name}, a {task}",
            received=wrong,
            remedy=remedy,
        )
