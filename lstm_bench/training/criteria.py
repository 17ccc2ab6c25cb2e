"""What training minimises: a loss by the name that a task has for it. The only part of a task that needs a framework."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np

from lstm_bench.core.errors import ConfigError
from lstm_bench.data.horizon import LEVELS, n_levels

# All labels or targets, a batch of indices and the model's outputs for it -> the mean loss, and a count: of what the task
# counts (`Task.counted`) in the batch, 0 where that is nothing. One of outputs per timestep takes a mask `(batch, timesteps)` as
# well, given where sequences differ in length: mean and count are then over all true timesteps of the batch, whichever their
# sequence.
Criterion = Callable[[Any, Any, Any], tuple[Any, Any]]


def sparse_categorical_crossentropy(y: Any, batch: Any, logits: Any, mask: Any = None) -> tuple[Any, Any]:
    """Mean cross-entropy (nats) of `logits` for labels `y[batch]`, and how many of them are right.

    Logits `(batch, n_classes)`, or `(batch, timesteps, n_classes)` with a label for each timestep.
    """
    from keras import losses, ops

    labels = ops.take(y, batch, axis=0)
    if mask is not None:
        return _over_true_timesteps(labels, logits, mask)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    right = ops.equal(ops.argmax(logits, -1), ops.cast(labels, "int32"))
    return loss, ops.sum(ops.cast(right, "int32"))


def _over_true_timesteps(labels: Any, logits: Any, mask: Any, weights: Any = None) -> tuple[Any, Any]:
    """Mean of the (weighted) cross-entropy over the timesteps where `mask` is True, and how many of those are right."""
    from keras import losses, ops

    each = losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    each = each if weights is None else each * weights
    loss = ops.sum(ops.where(mask, each, 0.0)) / ops.sum(ops.cast(mask, each.dtype))
    right = ops.logical_and(mask, ops.equal(ops.argmax(logits, -1), ops.cast(labels, "int32")))
    return loss, ops.sum(ops.cast(right, "int32"))


def weighted(weights: np.ndarray) -> Criterion:
    """`sparse_categorical_crossentropy` with a weight for the labels of each class: the mean over all labels of weight * loss."""

    def criterion(y: Any, batch: Any, logits: Any, mask: Any = None) -> tuple[Any, Any]:
        from keras import losses, ops

        labels = ops.cast(ops.take(y, batch, axis=0), "int32")
        each = ops.take(ops.convert_to_tensor(weights), labels, axis=0)
        if mask is not None:
            return _over_true_timesteps(labels, logits, mask, each)
        loss = losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits, sample_weight=each)
        return loss, ops.sum(ops.cast(ops.equal(ops.argmax(logits, -1), labels), "int32"))

    return criterion


def mean_squared_error(y: Any, batch: Any, outputs: Any) -> tuple[Any, Any]:
    """Mean squared error of `outputs` (batch, 1) for targets `y[batch]`; there is nothing to count."""
    from keras import ops

    return ops.mean(ops.square(ops.squeeze(outputs, -1) - ops.take(y, batch, axis=0))), 0


def binary_crossentropy(y: Any, batch: Any, logits: Any) -> tuple[Any, Any]:
    """Mean cross-entropy (nats) of the sigmoid of `logits` (batch, labels) for `y[batch]` of 0 and 1; nothing is counted."""
    from keras import losses, ops

    labels = ops.cast(ops.take(y, batch, axis=0), logits.dtype)
    return losses.BinaryCrossentropy(from_logits=True)(labels, logits), 0


def horizon_loss(y: Any, batch: Any, outputs: Any) -> tuple[Any, Any]:
    """Mean squared error of `outputs` (batch, horizon) for the first `horizon` numbers of `y[batch]`; nothing is counted.

    Of three quantiles (batch, 3 * horizon), whose levels are the last three numbers of `y[batch]`, the mean pinball loss.
    """
    from keras import ops

    labels, n = ops.take(y, batch, axis=0), outputs.shape[-1]
    if not n_levels(y):
        return ops.mean(ops.square(outputs - labels[:, :n])), 0
    levels = labels[:, -LEVELS:, None]
    errors = labels[:, None, : n // LEVELS] - ops.reshape(outputs, (-1, LEVELS, n // LEVELS))
    return ops.mean(ops.maximum(levels * errors, (levels - 1) * errors)), 0


def standardised(of: Criterion, mean: float, scale: float) -> Criterion:
    """`of`, minimised as if targets and outputs were less `mean` and over `scale`; its value is that in their own units.

    So the size of the targets has no say in how fast is learned, and the training loss can be held beside the validation loss.
    """

    def criterion(y: Any, batch: Any, outputs: Any, *mask: Any) -> tuple[Any, Any]:
        from keras import ops

        plain, count = of(y, batch, outputs, *mask)
        mine = (ops.take(y, batch, axis=0) - mean) / scale
        minimised, _ = of(mine, ops.arange(ops.shape(mine)[0]), (outputs - mean) / scale, *mask)
        return minimised + ops.stop_gradient(plain - minimised), count

    return criterion


CRITERIA: dict[str, Criterion] = {
    criterion.__name__: criterion
    for criterion in (sparse_categorical_crossentropy, mean_squared_error, binary_crossentropy, horizon_loss)
}


def criterion(loss: str) -> Criterion:
    """The criterion that a task names, or finds as `module:function`."""
    return CRITERIA.get(loss) or pkgutil.resolve_name(loss)


def require_mask(loss: str) -> None:
    """Raises ConfigError where the criterion of that name takes no mask, as outputs per timestep of unequal sequences need it."""
    try:
        inspect.signature(criterion(loss)).bind(None, None, None, None)
    except TypeError:
        raise ConfigError(
            f"{loss}: it takes no mask, and the timesteps of these sequences differ",
            expected="a function of y, batch, outputs, mask",
            remedy="Take the mean over the timesteps where mask (batch, timesteps) is true.",
        ) from None
