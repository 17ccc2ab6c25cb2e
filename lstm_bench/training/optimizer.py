"""Optimizers, and the learning rate of each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def rates(train: Mapping[str, Any], steps: int) -> np.ndarray:
    """Learning rate of every step, float32 (steps,): what `keras.optimizers.schedules` of the same names give.

    Args:
      train: Group `train`.
      steps: Optimiser updates of the whole training, which is what cosine decays over.
    """
    done = np.arange(steps)
    rising = round(steps * (train.get("warmup") or 0))
    falling = 0.5 * (1 + np.cos(np.pi * (done - rising) / max(1, steps - rising)))
    shape = {
        "constant": np.ones(steps),
        "cosine": 0.5 * (1 + np.cos(np.pi * done / max(1, steps))),
        "warmup_cosine": np.where(done < rising, done / max(1, rising), falling),
        "inverse_time": 1 / (1 + train["decay"] * done),
    }[train["schedule"]]
    return np.asarray(train["learning_rate"] * shape, np.float32)


class Rates:
    """The learning rates of all members of a pack, epoch by epoch.

    Args:
      trains: Group `train` of each member.
      per_epoch: Steps of an epoch.
    """

    def __init__(self, trains: Sequence[Mapping[str, Any]], per_epoch: int):
        self._per_epoch = per_epoch
        self._all = np.stack([rates(train, train["epochs"] * per_epoch) for train in trains], axis=1)

    def epoch(self, number: int) -> np.ndarray:
        """Of every step of epoch `number`, from 1: (steps, members)."""
        return self._all[(number - 1) * self._per_epoch : number * self._per_epoch]


def optimizer(train: Mapping[str, Any]) -> Any:
    """Keras optimizer of group `train`. Its learning rate is a variable, which an engine sets before every step."""
    import keras

    make = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "nadam": keras.optimizers.Nadam,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }[train["optimizer"]]
    momentum = {"momentum": train["momentum"]} if train["optimizer"] in ("sgd", "rmsprop") else {}
    if train["optimizer"] == "adamw" and train.get("weight_decay") is not None:
        return make(
            learning_rate=train["learning_rate"],
            global_clipnorm=train["global_clipnorm"],
            weight_decay=train["weight_decay"],
        )
    return make(learning_rate=train["learning_rate"], global_clipnorm=train["global_clipnorm"], **momentum)
