"""A task of somebody else's: how many timesteps of a sequence are marked. The package knows nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_bench.core.errors import DataError
from lstm_bench.data.labels import Numbers
from lstm_bench.data.metric import Metric
from lstm_bench.data.task import Task


class Counts(Numbers):
    """Whole numbers from 0, of which a network gives the logarithm."""

    def check(self, labels: Mapping[str, np.ndarray], n: int | None, where: str) -> tuple[dict[str, np.ndarray], int]:
        for key, y in labels.items():
            if y.dtype.kind not in "iu" or y.min() < 0:
                raise DataError(f"{where}: {key}", expected="counts", received=y.dtype)
        return super().check(labels, n, where)

    def told(self, rows: Any, n: int, y: np.ndarray | None, names: Any = None) -> list[str]:
        return [f"{sum(np.exp(row['prediction']) for row in rows):.0f} marks are counted in all"]


def poisson(y: Any, batch: Any, outputs: Any) -> tuple[Any, Any]:
    """Mean deviance of the logarithm of a rate, without what depends on the counts alone; how many counts are hit."""
    from keras import ops

    wanted, found = ops.take(y, batch, axis=0), ops.squeeze(outputs, -1)
    hit = ops.equal(ops.round(ops.exp(found)), wanted)
    return ops.mean(ops.exp(found) - wanted * found), ops.sum(ops.cast(hit, "int32"))


def deviance(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    found = outputs[..., 0].astype(np.float64)
    return float((np.exp(found) - y * found).mean())


def hits(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    return float((np.rint(np.exp(outputs[..., 0].astype(np.float64))) == y).mean())


def commonest(y_train: np.ndarray, y_test: np.ndarray) -> dict[str, float]:
    return {"test_hits": float((y_test == np.bincount(y_train.astype(int)).argmax()).mean())}


COUNTING = Task(
    name="counting",
    outputs="sequence",
    labels=Counts(),
    metrics=(
        Metric("hits", hits, maximize=True, label="exact counts", percent=True, sampling="share"),
        Metric("loss", deviance, maximize=False, label="loss"),
    ),
    loss="counting:poisson",
    predictor="always saying the commonest count",
    trivial=commonest,
    counted="hits",
    remark="Counts have no confusion matrix.",
)
