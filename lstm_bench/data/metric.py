"""What a model's outputs are scored by: one entry per metric, for training, search, confirmation and reports alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

# Outputs, labels or targets, and which of them count (None: all) -> a number.
Score = Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]
SPLITS = ("train", "val", "test")  # begin the columns of a metric: `val_accuracy`


@dataclass(frozen=True)
class Metric:
    """A score.

    Attributes:
      name: Its columns are `val_<name>` and `test_<name>`, and `train_<name>` where training steps count it.
      of: Computes it, in float64.
      maximize: Whether more is better.
      label: In a table's heading, behind the split: `test accuracy, %`.
      percent: Whether it is a fraction, which tables and figures show in percent.
      sampling: What a finite set leaves open of it: of a `share` of right samples Wilson's interval, of a mean of `squares`
        that of residuals; "" where no such interval is known.
      words: What a predictor in closed form is said to score; "" is the label.
      unit: Of `words`.
    """

    name: str
    of: Score
    maximize: bool
    label: str
    percent: bool = False
    sampling: Literal["share", "squares", ""] = ""
    words: str = ""
    unit: str = ""

    @property
    def direction(self) -> str:
        """As Optuna has it."""
        return "maximize" if self.maximize else "minimize"

    @property
    def column(self) -> str:
        """Of `replicates.csv`: its value on the test set."""
        return f"test_{self.name}"

    def heading(self, split: str = "test") -> str:
        """`test accuracy, %`."""
        return f"{split} {self.label}{', %' if self.percent else ''}"

    @property
    def noun(self) -> str:
        """What a sentence calls it."""
        return self.label if self.maximize else "error"

    @property
    def named(self) -> str:
        """`MSE`, `cross-entropy`."""
        return self.words or self.label

    def text(self, value: float) -> str:
        """A value as a sentence has it, without its sign."""
        return f"{100 * value:.2f}" if self.percent else f"{value:.3g}"

    @property
    def sign(self) -> str:
        """What follows a value."""
        return " %" if self.percent else ""


def log_probability(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the softmax over the last axis, float64."""
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _mean(values: np.ndarray, mask: np.ndarray | None) -> float:
    return float((values if mask is None else values[mask]).mean())


def cross_entropy(logits: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean cross-entropy in nats, over samples, and timesteps where those have labels.

    Args:
      logits: `(samples, n_classes)` or `(samples, timesteps, n_classes)`.
      y: Labels `(samples,)` or `(samples, timesteps)`.
      mask: As `y`: which count.
    """
    picked = np.take_along_axis(log_probability(logits), y[..., None], axis=-1)
    return -_mean(picked, None if mask is None else mask[..., None])


def accuracy(logits: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Fraction of labels that the largest logit names; shapes as of `cross_entropy`."""
    return _mean(logits.argmax(axis=-1) == y, mask)


def squared_error(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean squared error of outputs `(..., 1)` for targets `(...,)`."""
    return _mean(np.square(outputs[..., 0].astype(np.float64) - y), mask)


def absolute_error(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean absolute error of outputs `(..., 1)` for targets `(...,)`."""
    return _mean(np.abs(outputs[..., 0].astype(np.float64) - y), mask)


ACCURACY = Metric("accuracy", accuracy, maximize=True, label="accuracy", percent=True, sampling="share")
CROSS_ENTROPY = Metric("loss", cross_entropy, maximize=False, label="loss", words="cross-entropy", unit="nats")
MSE = Metric("mse", squared_error, maximize=False, label="MSE", sampling="squares")
MAE = Metric("mae", absolute_error, maximize=False, label="MAE")
SQUARED_LOSS = Metric(
    "loss", squared_error, maximize=False, label="loss", sampling="squares"
)  # what `MSE` is trained on
