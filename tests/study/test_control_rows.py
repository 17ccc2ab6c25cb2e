"""`lstm_bench.study.control_rows`: the controls in words."""

from __future__ import annotations

from lstm_bench.data.task import CLASSIFICATION
from lstm_bench.study import control_rows

FITTED = {"control": "linear", "seed": 0, "state": "COMPLETE", "test_accuracy": 0.5, "val_accuracy": 0.25}
FITTED |= {"n_weights": 1, "n_train": 9, "train_s": 0.5}


def test_a_control_that_could_not_be_fitted_is_said_with_its_reason() -> None:
    lost = {"control": "minirocket", "state": "FAIL", "reason": "oom"}
    assert control_rows.control_words([FITTED, {**lost, "seed": 0}, {**lost, "seed": 1}], CLASSIFICATION) == [
        "linear on summaries: test accuracy 50.00 %, 1 weight, 0.5 s on one core",
        "MiniRocket, ridge: failed 2 times (oom)",
    ]
