"""Scores of a model's outputs."""

from __future__ import annotations

import numpy as np


def scored(logits: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Mean cross-entropy (nats), accuracy (fraction) and class probabilities (samples, n_classes), in float64.

    Where there is a label for each timestep, means over all of them and probabilities (samples, timesteps, n_classes).

    Args:
      logits: `(samples, n_classes)` or `(samples, timesteps, n_classes)`.
      y: Labels `(samples,)` or `(samples, timesteps)`.
    """
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    loss = -np.take_along_axis(log_probability, y[..., None], axis=-1).mean()
    return float(loss), float((logits.argmax(axis=-1) == y).mean()), np.exp(log_probability)


def metrics(outputs: np.ndarray, y: np.ndarray, task: str, split: str) -> dict[str, float]:
    """What a model's outputs on a split are worth: `<split>_loss`, and the other metrics that the task has.

    Args:
      outputs: Of a classification, see `scored`; of a regression `(samples, 1)`.
      y: Labels or targets.
      task: See `data.Dataset`.
      split: "val" or "test".

    Returns:
      Of a regression `loss` and `mse`, both the mean squared error, and `mae`, the mean absolute one, in float64; of the others
      `loss`, mean cross-entropy in nats, and `accuracy`, a fraction.
    """
    if task == "regression":
        error = outputs[:, 0].astype(np.float64) - y
        mse = float(np.square(error).mean())
        found = {"loss": mse, "mse": mse, "mae": float(np.abs(error).mean())}
    else:
        loss, accuracy, _ = scored(outputs, y)
        found = {"loss": loss, "accuracy": accuracy}
    return {f"{split}_{name}": value for name, value in found.items()}
