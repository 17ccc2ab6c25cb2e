"""Optimizers, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        "reduce_on_plateau": np.ones(steps),  # until `Plateau` lowers it
    }[train["schedule"]]
    return np.asarray(train["learning_rate"] * shape, np.float32)


@dataclass
class Plateau:
    """The learning rate of `reduce_on_plateau`, lowered where the objective no longer gets better.

    As `keras.callbacks.ReduceLROnPlateau` does, without its `min_delta` and `cooldown`: what is better is what `train.patience`
    takes for better.

    Attributes:
      rate: Of the epoch to come.
      best: Objective so far.
      waited: Epochs without a better one since the best, or since it was last lowered.
    """

    rate: float
    best: float = math.nan
    waited: int = 0

    def after(self, train: Mapping[str, Any], score: float, *, maximize: bool) -> bool:
        """Whether the rate was lowered after an epoch.

        Args:
          train: Group `train`.
          score: The objective on validation data after that epoch.
          maximize: Whether more of it is better.
        """
        if math.isnan(self.best) or (score > self.best if maximize else score < self.best):
            self.best, self.waited = score, 0
            return False
        self.waited += 1
        if self.waited < train["plateau_patience"]:
            return False
        self.waited = 0
        floor = train.get("plateau_floor") or 0.0
        if self.rate <= floor:
            return False
        self.rate = max(self.rate * train["plateau_factor"], floor)
        return True


class Rates:
    """The learning rates of all members of a pack, epoch by epoch.

    Args:
      trains: Group `train` of each member.
      per_epoch: Steps of an epoch.
    """

    def __init__(self, trains: Sequence[Mapping[str, Any]], per_epoch: int):
        self._per_epoch, self._trains = per_epoch, trains
        self._plateaus = {
            at: Plateau(train["learning_rate"])
            for at, train in enumerate(trains)
            if train["schedule"] == "reduce_on_plateau"
        }
        self._all = np.stack([rates(train, train["epochs"] * per_epoch) for train in trains], axis=1)

    def epoch(self, number: int) -> np.ndarray:
        """Of every step of epoch `number`, from 1: (steps, members)."""
        return self._all[(number - 1) * self._per_epoch : number * self._per_epoch]

    def heed(self, member: int, epoch: dict[str, Any], study: Mapping[str, Any]) -> None:
        """Lowers the rate of a member's further epochs where its `reduce_on_plateau` says so; the epoch is given its own.

        Args:
          member: Its index.
          epoch: Its metrics, the objective among them; receives `learning_rate`.
          study: Group `study`: `objective` and `direction`.
        """
        if (plateau := self._plateaus.get(member)) is None:
            return
        epoch["learning_rate"] = plateau.rate
        maximize = study["direction"] == "maximize"
        if plateau.after(self._trains[member], epoch[study["objective"]], maximize=maximize):
            self._all[epoch["epoch"] * self._per_epoch :, member] = plateau.rate


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
