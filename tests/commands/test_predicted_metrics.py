"""What scikit-learn makes of the file that `predict` writes is what the records say of the test set, for every task of a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn import metrics as reference
from trainings import config

from lstm_bench import predict
from lstm_bench.core import fileio
from lstm_bench.core.configuration import conf_dir
from lstm_bench.data import dataset as datasets
from lstm_bench.training import inference, tasks

NAMES = ["loud", "fast", "far"]


def table(n: int, first: int) -> pd.DataFrame:
    """Recordings of 6 timesteps with a name, three labels and a number far from 0 for each."""
    rng = np.random.RandomState(first)
    rows = []
    for i in range(first, first + n):
        loud, fast, far = i % 2, i // 2 % 2, i // 3 % 2
        what = ("walk", "run", "fall")[i % 3]
        for t in range(6):
            x = (loud * np.sin(t), fast * np.cos(t), far + 0.3 * (i % 3)) + 0.3 * rng.standard_normal(3)
            rows.append((f"r{i:03d}", t, *x, what, loud, fast, far, 5000 + 300 * loud + 20 * far + i / 9))
    return pd.DataFrame(rows, columns=["id", "t", "x", "y", "z", "what", *NAMES, "price"])


def classification(rows: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    y, chances = truth["what"], rows[[f"probability_{name}" for name in ("fall", "run", "walk")]].to_numpy()
    chances = chances / chances.sum(axis=1, keepdims=True)
    return {
        "test_accuracy": reference.accuracy_score(y, rows["prediction"]),
        "test_balanced_accuracy": reference.balanced_accuracy_score(y, rows["prediction"]),
        "test_macro_f1": reference.f1_score(y, rows["prediction"], average="macro"),
        "test_auroc": reference.roc_auc_score(y, chances, multi_class="ovr"),
        "test_loss": reference.log_loss(y, chances),
    }


def regression(rows: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    y, found = truth["price"].astype(np.float32), rows["prediction"]
    squared = reference.mean_squared_error(y, found)
    absolute = {"test_mae": reference.mean_absolute_error(y, found)}
    return {"test_mse": squared, "test_loss": squared, **absolute, "test_r2": reference.r2_score(y, found)}


def multilabel(rows: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    y = truth[NAMES].to_numpy()
    said, chances = (rows[[f"{kind}_{name}" for name in NAMES]].to_numpy() for kind in ("prediction", "probability"))
    return {
        "test_macro_f1": reference.f1_score(y, said, average="macro"),
        "test_micro_f1": reference.f1_score(y, said, average="micro"),
        "test_subset_accuracy": reference.accuracy_score(y, said),
        "test_auroc": reference.roc_auc_score(y, chances),
        "test_loss": np.mean([reference.log_loss(y[:, i], chances[:, i]) for i in range(3)]),
    }


@pytest.mark.parametrize(
    ("target", "recomputed"),
    [
        pytest.param("what", classification, id="classification"),
        pytest.param("price", regression, id="regression", marks=pytest.mark.long),
        pytest.param(NAMES, multilabel, id="multilabel", marks=pytest.mark.long),
    ],
)
def test_the_records_are_what_scikit_learn_makes_of_the_predictions(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: Any,
    recomputed: Callable[[pd.DataFrame, pd.DataFrame], dict[str, float]],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setattr(inference, "_TIMED_S", 0.0)  # latency is not what is measured here
    table(60, 0).to_csv("own.csv", index=False)
    table(40, 60).sample(frac=1, random_state=0).to_csv("test.csv", index=False)
    table(40, 60).drop(columns=[*NAMES, "what", "price"]).to_csv("new.csv", index=False)
    columns = {"id": "id", "time": "t", "features": ["x", "y", "z"], "target": target}
    given = {"path": str(tmp_path / "own.csv"), "test_path": str(tmp_path / "test.csv"), **columns}
    whole = fake.config({"study.name": "own", "study.replicates": 1})
    whole |= {key: {**whole[key], **config(epochs=20)[key]} for key in ("train", "backend")}
    whole |= {"model": config()["model"]}
    whole["dataset"] = yaml.safe_load((conf_dir() / "dataset" / "file.yaml").read_text()) | given
    task = {"kind": "replicate", "config": whole, "kernel": "generic", "steps_per_execution": 50, "seed": 0}
    folder = tmp_path / "sweeps" / "own"
    runner = tasks.TaskRunner("a device", "exclusive")
    result = runner.run({**task, "keep": str(folder / "model")}, lambda metrics: None, lambda: False)
    assert result["state"] == "COMPLETE" and "detail" not in result
    fileio.write_yaml(folder / "config.yaml", whole)
    fileio.write_json(folder / "environment.json", {})
    assert predict.main(["study=own", "input=new.csv", "output=new-predicted.csv"]) == 0
    expected = recomputed(pd.read_csv("new-predicted.csv"), table(40, 60).query("t == 0"))

    assert {name: result[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)
    about = json.loads((folder / "model" / "input.json").read_text())
    found = datasets.load(whole["dataset"])
    if target == "price":  # the network learns in units of its own and answers in those of the file
        assert about["target"] == {"mean": found.y_train.mean(dtype=float), "scale": found.y_train.std(dtype=float)}
        assert result["test_r2"] > 0.5 and result["train_loss"] == pytest.approx(result["val_loss"], rel=3)
