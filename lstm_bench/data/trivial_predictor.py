"""What a predictor scores on the test set that looks at no input: the yardstick of `judgement`, recorded with a study's data."""

from __future__ import annotations

import math

import numpy as np

from lstm_bench.data.dataset import Dataset


def trivial(dataset: Dataset) -> dict[str, float]:
    """Scores on the test set of always predicting what is most frequent in the training set, or its mean.

    Returns:
      Of a regression `test_mse`; else `label`, the most frequent class (of equals the least; of a tagging, over all
      timesteps), and `test_accuracy`, its share of the test set, 0..1.
    """
    if dataset.task == "regression":
        targets = dataset.y_train.astype(np.float64).ravel().tolist()
        mean = math.fsum(targets) / len(targets)
        errors = [(target - mean) ** 2 for target in dataset.y_test.astype(np.float64).ravel().tolist()]
        return {"test_mse": math.fsum(errors) / len(errors)}
    label = int(np.bincount(dataset.y_train.ravel()).argmax())
    return {"label": label, "test_accuracy": int(np.count_nonzero(dataset.y_test == label)) / dataset.y_test.size}
