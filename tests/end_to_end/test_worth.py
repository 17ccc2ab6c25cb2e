"""What says whether a network is worth it, whole: verdicts of several studies, folds that are repeated, the meter by a family."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import Command

from lstm_bench.core import fileio

TINY = ("train.epochs=2", "train.batch_size=8", "kernel=generic", "kernel.probe=false", "launcher.workers=1")
DATA = ("dataset=file", "dataset.path=walks.csv", "dataset.id=recording", "dataset.time=t", "dataset.target=kind")


def write(path: Path, n: int = 60, timesteps: int = 8) -> None:
    """Recordings of six people, of two kinds that differ in their mean, a row per time stamp."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["recording", "t", "person", "kind", "ax", "ay"])
        for recording in range(n):
            kind = ("walk", "run")[recording % 2]
            values = rng.standard_normal((timesteps, 2)) * 0.3 + (kind == "run")
            rows = [
                (recording, t, f"p{recording // 2 % 6}", kind, *row) for t, row in enumerate(values.round(4).tolist())
            ]
            table.writerows(rows)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_studies_of_m_end_in_a_verdict_and_what_was_folded_is_repeated(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "walks.csv")
    study = (
        "-m",
        "+study=smoke",
        "model=single,gru",
        "study.name=walks-${hydra:runtime.choices.model}",
        "tracking=none",
    )
    folds = ("dataset.folds=2", "pruner=none", "train.patience=1", "train.deterministic=true", "model.units=4")
    done = command("sweep", *study, *DATA, *TINY, *folds, "study.n_trials=2", "study.replicates=2", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    _, heading, verdict = done.stdout.rpartition("verdict on ")
    first, *rest = verdict.splitlines()
    assert heading and first.startswith("walks") and rest[0].startswith("  Take "), done.stdout
    assert "linear on summaries" in verdict and "python -m lstm_bench.predict study=walks-" in verdict, verdict
    for name in ("walks-single", "walks-gru"):
        rows = fileio.read_rows(tmp_path / "sweeps" / name / "replicates.csv")
        assert [row["folds"] for row in rows] == ["2", "2"]
    for what in ("trial=1", "seed=1"):
        again = command("repeat", "study=walks-gru", what, timeout=300)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "equal: every figure is that of the record" in again.stdout, again.stdout


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_leak_meter_asks_a_family(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "walks.csv")
    few = ("model=gru", "model.units=4", "train.epochs=2", "train.batch_size=8", "seeds=1", "rounds=5")
    done = command("leak", *DATA, "dataset.group=person", *few, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "the accuracy of a network (gru) is" in said and "than under a split by group" in said, said
    row, *_ = fileio.read_rows(tmp_path / "sweeps" / "leak.csv")
    assert "a network (gru)" in row["says"] and row["alarm"] == "0", "people do not differ: nothing leaks"
    done = command("leak", *DATA, "dataset.group=person", *few, "model=nothing")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_family_is_compared_on_own_data(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "walks.csv")
    small = ("study.n_trials=1", "study.replicates=2", "model.weights=null", "tracking=none")
    done = command("sweep", "+campaign=families", *DATA, *TINY, *small, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    folders = sorted(path.name for path in (tmp_path / "sweeps").iterdir())
    assert len(folders) == 11 and all(name.startswith("families-") for name in folders)
    verdict = done.stdout.rpartition("verdict on ")[2]
    assert "Tried: 11 networks by 11 configurations, 3 controls" in verdict, verdict
    fitted = [fileio.read_rows(tmp_path / "sweeps" / name / "controls.csv") for name in folders]
    assert all(rows == fitted[0] for rows in fitted), "fitted once, and shared"
    done = command("report")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "reports" / "campaign-families.md").read_text()
    assert "### Controls" in page and "bidirectional" in page
