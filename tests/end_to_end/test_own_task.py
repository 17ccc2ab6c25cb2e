"""A task that another package brings by an entry point: searched, confirmed, reported, predicted. Ours knows nothing of it."""

from __future__ import annotations

import csv
import functools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import Command

PLUGIN = Path(__file__).parent.parent / "support" / "plugin"
STUDY = ("+study=single", "dataset=npz", "dataset.path=mine.npz", "dataset.task=counting", "study.name=marks")
STUDY += ("study.objective=val_hits", "study.n_trials=1", "study.replicates=1", "train.epochs=2", "train.batch_size=16")
STUDY += ("kernel=generic", "kernel.probe=false", "launcher.workers=1", "tracking=none", "pruner=none", "backend=jax")
STUDY += ("model.units=8", "train.learning_rate=0.01")


def written(folder: Path) -> np.ndarray:
    """`mine.npz`: which of six timesteps are marked; their number is the label."""
    x = np.random.default_rng(0).integers(0, 2, (120, 6, 1)).astype(np.float32)
    y = x.sum(axis=(1, 2)).astype(int)
    np.savez(folder / "mine.npz", x_train=x[:90], y_train=y[:90], x_test=x[90:], y_test=y[90:])
    np.savez(folder / "new.npz", x=x[:9], y=y[:9])
    return y[90:]


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.slow
def test_a_task_of_another_package_is_searched_confirmed_reported_and_predicted(
    command: Command, tmp_path: Path
) -> None:
    written(tmp_path)
    paths = os.pathsep.join([str(PLUGIN), os.environ.get("PYTHONPATH", "")])
    with_plugin = functools.partial(command, PYTHONPATH=paths)
    wrong = with_plugin("sweep", *STUDY, "study.objective=val_accuracy")
    assert wrong.returncode == 2 and "Give study.objective=val_hits." in wrong.stderr
    done = with_plugin("sweep", *STUDY)
    assert done.returncode == 0, done.stderr
    assert "confirmed   test exact counts " in done.stdout and "test_hits 0." in done.stdout

    folder = tmp_path / "sweeps" / "marks"
    facts = json.loads((folder / "environment.json").read_text())["dataset"]
    assert facts["task"] == "counting" and set(facts["trivial"]) == {"test_hits"}
    trials, seeds, epochs = (rows(folder / file) for file in ("trials.csv", "replicates.csv", "history.csv"))
    assert [row["state"] for row in (*trials, *seeds)] == ["COMPLETE"] * 2
    assert all(0 <= float(row[name]) <= 1 for row in seeds for name in ("test_hits", "val_hits", "train_hits"))
    assert all(row["val_accuracy"] == "" and float(row["val_loss"]) < 9 for row in (*trials, *seeds))
    assert len(epochs) == 4 and all(row["val_hits"] and row["train_hits"] for row in epochs)

    report = with_plugin("report", "studies=marks")
    assert report.returncode == 0, report.stderr
    page = (tmp_path / "reports" / "marks.md").read_text()
    assert page.splitlines()[4].startswith("Test exact counts **") and "Counts have no confusion matrix." in page
    assert "| test exact counts, % | test loss | val exact counts, % |" in page
    assert "val_hits, maximised" in page and "(its accuracy" not in page

    said = with_plugin("predict", "study=marks", "input=new.npz", "output=new.csv")
    assert said.returncode == 0, said.stderr
    assert "marks are counted in all" in said.stdout and set(rows(tmp_path / "new.csv")[0]) == {"sample", "prediction"}

    elsewhere = command("report", "studies=marks")
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert "Its task, counting, is not known here" in (tmp_path / "reports" / "marks.md").read_text()
