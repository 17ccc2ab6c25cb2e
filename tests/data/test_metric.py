"""`lstm_bench.data.metric`: each figure is scikit-learn's, from what `predict` writes; there is none where a split has none."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.utils.class_weight import compute_class_weight

from lstm_bench.core import fileio
from lstm_bench.core.errors import ConfigError
from lstm_bench.data import classes, metric, objective, task

RNG = np.random.default_rng(0)
LABELS = np.concatenate([np.arange(4), RNG.choice(4, 196, p=[0.85, 0.05, 0.05, 0.05])]).astype(np.int32)
LOGITS = (RNG.standard_normal((200, 4)) + 2 * np.eye(4)[LABELS]).astype(np.float32)


def told(one: task.Task, outputs: np.ndarray, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and probabilities, read from the file that `predict` writes."""
    columns, rows = one.labels.table(outputs.astype(np.float64))
    fileio.write_rows(folder / "new.csv", columns, rows)
    with (folder / "new.csv").open() as file:
        read = list(csv.DictReader(file))
    chances = [[float(value) for name, value in row.items() if name.startswith("probability_")] for row in read]
    said = [[float(value) for name, value in row.items() if name.startswith("prediction")] for row in read]
    return np.array(said) if one.labels.several else np.ravel(said), np.array(chances)


def test_a_classification_scores_what_scikit_learn_makes_of_the_predictions_file(tmp_path: Path) -> None:
    predicted, chances = told(task.CLASSIFICATION, LOGITS, tmp_path)
    assert task.CLASSIFICATION.score(LOGITS, LABELS, "test") == pytest.approx(
        {
            "test_accuracy": reference.accuracy_score(LABELS, predicted),
            "test_loss": reference.log_loss(LABELS, chances / chances.sum(axis=1, keepdims=True)),
            "test_balanced_accuracy": reference.balanced_accuracy_score(LABELS, predicted),
            "test_macro_f1": reference.f1_score(LABELS, predicted, average="macro"),
            "test_auroc": reference.roc_auc_score(
                LABELS, chances / chances.sum(axis=1, keepdims=True), multi_class="ovr", average="macro"
            ),
            "test_ece": by_bins(predicted == LABELS, chances.max(axis=1)),
        },
        abs=1e-9,
    )


def by_bins(right: np.ndarray, confidence: np.ndarray) -> float:
    """The expected calibration error, a bin after the other as Guo et al. write it."""
    total = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


def test_a_regression_scores_what_scikit_learn_makes_of_the_predictions_file(tmp_path: Path) -> None:
    y = RNG.standard_normal(50).astype(np.float32)
    outputs = (y + 0.3 * RNG.standard_normal(50)).astype(np.float32)[:, None]
    predicted, _ = told(task.REGRESSION, outputs, tmp_path)
    squared = reference.mean_squared_error(y, predicted)
    expected = {"val_mse": squared, "val_loss": squared, "val_mae": reference.mean_absolute_error(y, predicted)}
    assert task.REGRESSION.score(outputs, y, "val") == pytest.approx(
        expected | {"val_r2": reference.r2_score(y, predicted)}, abs=1e-8
    )


def test_a_multilabel_scores_what_scikit_learn_makes_of_the_predictions_file(tmp_path: Path) -> None:
    y = (RNG.random((80, 3)) < (0.5, 0.2, 0.7)).astype(np.int32)
    outputs = (RNG.standard_normal((80, 3)) + 2 * y - 1).astype(np.float32)
    predicted, chances = told(task.MULTILABEL, outputs, tmp_path)
    expected = {
        "test_macro_f1": reference.f1_score(y, predicted, average="macro"),
        "test_micro_f1": reference.f1_score(y, predicted, average="micro"),
        "test_loss": np.mean([reference.log_loss(y[:, label], chances[:, label]) for label in range(3)]),
        "test_subset_accuracy": reference.accuracy_score(y, predicted),
        "test_auroc": reference.roc_auc_score(y, chances, average="macro"),
    }
    assert task.MULTILABEL.score(outputs, y, "test") == pytest.approx(expected, abs=1e-9)
    present = y.any(axis=1)
    masked = task.MULTILABEL.score(outputs, y, "test", present)
    assert masked["test_micro_f1"] == pytest.approx(
        reference.f1_score(y[present], predicted[present], average="micro"), abs=1e-9
    )
    assert masked["test_subset_accuracy"] == reference.accuracy_score(y[present], predicted[present])
    told_of = task.MULTILABEL.labels.told(task.MULTILABEL.labels.table(outputs)[1], 3, y, ("a", "b", "c"))
    assert told_of[0].startswith("labels  a: ") and f"macro F1 {expected['test_macro_f1']:.4f}" in told_of[1]


def test_a_split_without_a_label_has_no_mean_over_the_labels() -> None:
    y = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 1]])
    found = task.MULTILABEL.score(np.where(y == 1, 1.0, -1.0), y, "val")
    assert list(found) == ["val_micro_f1", "val_loss", "val_subset_accuracy"]
    assert metric.LABEL_MACRO_F1.unavailable(y, 3) == "it has no sample with label 1"
    assert metric.LABEL_AUROC.unavailable(1 - y[:, 1:2], 1) == "it has no sample without label 0"
    study = {"objective": "auto", "direction": None, "objectives": {}}
    told_of = objective.settle_objective(study, task.MULTILABEL, y, y, 3)
    assert told_of.startswith(
        "auto -> val_micro_f1: the validation split has no macro F1: it has no sample with label 1"
    )


def test_predictors_of_labels_that_look_at_no_input() -> None:
    y_train, y_test = np.array([[1, 0], [1, 0], [0, 1]]), np.array([[1, 0], [1, 1], [0, 0], [1, 0]])
    fixed = np.tile([1, 0], (4, 1))
    assert task.MULTILABEL.trivial(y_train, y_test) == pytest.approx(
        {
            "test_macro_f1": reference.f1_score(y_test, fixed, average="macro", zero_division=0),
            "test_micro_f1": reference.f1_score(y_test, fixed, average="micro"),
            "test_subset_accuracy": reference.accuracy_score(y_test, fixed),
        }
    )
    every = reference.f1_score(y_test, np.ones((4, 2)), average="macro")
    assert task.MULTILABEL.baselines(y_train, y_test) == pytest.approx({"always predicting every label": every})


def test_a_tagging_scores_all_its_timesteps_and_a_mask_leaves_some_out() -> None:
    outputs, y, mask = LOGITS.reshape(20, 10, 4), LABELS.reshape(20, 10), np.arange(200).reshape(20, 10) % 3 > 0
    for inside in (None, mask):
        kept = slice(None) if inside is None else inside.ravel()
        predicted, labels = LOGITS.argmax(axis=1)[kept], LABELS[kept]
        found = task.TAGGING.score(outputs, y, "val", inside)
        assert found["val_macro_f1"] == pytest.approx(reference.f1_score(labels, predicted, average="macro"), abs=1e-9)
        assert found["val_accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted), abs=1e-9)


def test_a_split_without_a_class_has_no_mean_over_the_classes() -> None:
    kept = LABELS != 3
    found = task.CLASSIFICATION.score(LOGITS[kept], LABELS[kept], "val")
    assert list(found) == ["val_accuracy", "val_loss", "val_ece"]
    assert metric.AUROC.unavailable(LABELS[kept], 4) == "it has no sample of class 3"
    assert list(task.REGRESSION.score(np.ones((3, 1)), np.ones(3), "val")) == ["val_mse", "val_mae", "val_loss"]


def test_outputs_that_are_not_finite_leave_the_loss_to_say_so() -> None:
    outputs = np.where(np.arange(4) == 1, np.nan, LOGITS)
    found = task.CLASSIFICATION.score(outputs, LABELS, "val")
    assert math.isnan(found.pop("val_loss")) and list(found) == ["val_accuracy"]


def test_a_late_metric_is_computed_where_it_is_asked_for() -> None:
    found = task.CLASSIFICATION.score(LOGITS, LABELS, "val", late=["val_macro_f1", "n_weights"])
    assert list(found) == ["val_accuracy", "val_loss", "val_macro_f1"]


def test_balanced_class_weights_are_scikit_learn_s() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(4), y=LABELS)
    found = classes.weights("balanced", task.CLASSIFICATION, LABELS, 4, None)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_classes_are_weighted_by_name_or_number() -> None:
    names = ("ill", "well", "2")
    found = classes.weights({"ill": 5, "2": 0.5}, task.CLASSIFICATION, LABELS, 3, names)
    assert found is not None and found.tolist() == [5, 1, 0.5]
    assert classes.weights(None, task.REGRESSION, LABELS, 1, None) is None
    with pytest.raises(ConfigError, match=r"train\.class_weight: there is no class il\. Did you mean ill?"):
        classes.weights({"il": 5}, task.CLASSIFICATION, LABELS, 3, names)
    with pytest.raises(ConfigError, match="a regression has no classes"):
        classes.weights("balanced", task.REGRESSION, LABELS, 1, None)


@pytest.mark.parametrize(
    ("one", "counts", "validation", "n_outputs", "aim", "said"),
    [
        (task.CLASSIFICATION, [30, 30, 10], [0, 1, 2], 3, "val_accuracy", "10 of 70 labels, 0.43 of an even share"),
        (task.CLASSIFICATION, [46, 46, 10], [0, 1, 2], 3, "val_balanced_accuracy", "10 of 102 labels, 0.29 of an even share"),
        (task.CLASSIFICATION, [46, 46, 10], [0, 1], 3, "val_accuracy", "of the validation split it has no sample of class 2"),
        (task.TAGGING, [90, 10], [[0, 1]], 2, "val_macro_f1", "10 of 100 labels"),
        (task.REGRESSION, [5], [0.0], 1, "val_mse", "a regression task"),
    ],
)  # fmt: skip
def test_an_objective_is_settled_by_the_task_and_its_rarest_class(
    one: task.Task, counts: list[int], validation: list[int], n_outputs: int, aim: str, said: str
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    study = {"objective": None, "direction": None, "objectives": {}}
    objective.check_aims(study, "file")
    told = objective.settle_objective(study, one, labels, np.array(validation), n_outputs)
    assert told.startswith(f"auto -> {aim}: ") and said in told
    assert (study["objective"], study["direction"]) == (aim, one.metric(aim).direction)
    assert objective.settle_objective(study, one, labels, np.array(validation), n_outputs) == ""


def test_older_sources_and_a_named_objective_are_left_as_they_are() -> None:
    for dataset, named, aim in (
        ("npz", None, "val_accuracy"),
        ("file", "val_loss", "val_loss"),
        ("npz", "auto", "auto"),
    ):
        study = {"objective": named, "direction": None, "objectives": {}}
        objective.check_aims(study, dataset)
        assert study["objective"] == aim


@pytest.mark.parametrize(
    ("aim", "one", "labels", "n_outputs", "why"),
    [
        ("val_auroc", task.CLASSIFICATION, LABELS[LABELS != 2], 4, "it has no sample of class 2"),
        ("val_macro_f1", task.TAGGING, np.zeros((3, 4), int), 2, "it has no sample of class 1"),
        ("val_r2", task.REGRESSION, np.ones(4), 1, "all its targets are the same"),
    ],
)
def test_an_objective_that_the_validation_split_cannot_have_is_refused(
    aim: str, one: task.Task, labels: np.ndarray, n_outputs: int, why: str
) -> None:
    for study in ({"objective": aim}, {"objectives": {aim: "maximize", "n_weights": "minimize"}}):
        with pytest.raises(ConfigError) as caught:
            objective.check_objective(study, "it", one, labels, labels, n_outputs)
        assert f"study.objective={aim}: the validation split cannot have it ({why})" in str(caught.value)
    objective.check_objective({"objective": one.objectives[0]}, "it", one, labels, labels, n_outputs)
