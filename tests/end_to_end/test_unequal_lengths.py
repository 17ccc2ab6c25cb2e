"""A study of sequences of unequal length goes through every command: what it knows of them arrives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from trainings import ragged_file, text_file

from lstm_bench.core import fileio


def passed_on(command: Command, folder: Path) -> None:
    """Repeats the study `smoke` of a folder, and gives it to other folders and to MLflow."""
    for what in ("trial=0", "seed=0"):
        again = command("repeat", "study=smoke", what)
        assert again.returncode == 0 and "equal: every figure is that of the record" in again.stdout, again.stdout
    for name, *arguments in (
        ("export", "study=smoke"),
        ("merge", "input=smoke.study.zip"),
        ("sync", "study=smoke", "tracking.uri=sqlite:///synced.db"),
    ):
        done = command(name, *arguments)
        assert done.returncode == 0, (name, done.stderr)
    merged = folder / "sweeps" / "merged" / "smoke"
    for name in ("trials.csv", "replicates.csv", "environment.json"):
        assert (merged / name).read_bytes() == (folder / "sweeps" / "smoke" / name).read_bytes()


@pytest.mark.long
def test_unequal_lengths_are_repeated_exported_merged_synced_and_predicted(command: Command, tmp_path: Path) -> None:
    done = command("sweep", *ragged_file(tmp_path / "own.npz"), "tracking=none", "train.deterministic=true")
    assert done.returncode == 0, done.stderr
    assert "lengths   batches of about one length, padded to " in done.stdout
    folder = tmp_path / "sweeps" / "smoke"
    for row in (*fileio.read_rows(folder / "trials.csv"), *fileio.read_rows(folder / "replicates.csv")):
        assert 0 < float(row["padding_share"]) < 0.4 and float(row["padding_s"]) > 0
    known = json.loads((folder / "environment.json").read_text())["dataset"]["lengths"]
    assert (known["min"], known["max"]) == (1, 12)
    passed_on(command, tmp_path)
    made = np.random.default_rng(2).standard_normal((15 + 1 + 7, 3)).astype(np.float32)  # longer than any that it knows
    np.savez(tmp_path / "new.npz", x=made, lengths=[15, 1, 7])
    done = command("predict", "study=smoke", "input=new.npz", "output=new.csv")
    assert done.returncode == 0 and "1 of 3 sequences are longer than the 12 timesteps" in done.stderr, done.stderr
    together = fileio.read_rows(tmp_path / "new.csv")
    np.savez(tmp_path / "one.npz", x=made[-7:], lengths=[7])
    assert command("predict", "study=smoke", "input=one.npz", "output=one.csv").returncode == 0
    (alone,) = fileio.read_rows(tmp_path / "one.csv")
    assert float(alone["probability_1"]) == pytest.approx(float(together[2]["probability_1"]), rel=1e-4)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_texts_in_folds_are_repeated_exported_merged_synced_and_predicted(command: Command, tmp_path: Path) -> None:
    folds = ("dataset.folds=2", "pruner=none", "tracking=none", "train.deterministic=true")
    done = command("sweep", *text_file(tmp_path / "own.csv"), *folds)
    assert done.returncode == 0, done.stderr
    passed_on(command, tmp_path)
    (first,) = fileio.read_rows(tmp_path / "sweeps" / "smoke" / "replicates.csv")
    words = (tmp_path / "sweeps" / "smoke" / "model" / "vocabulary.txt").read_text(encoding="utf-8").split()
    assert first["folds"] == "2" and int(first["n_embedding"]) == 32 * (2 + len(words)) < int(first["n_weights"])
    new = ("the film is good", "אב", "☂", "so bad", "so " * 200, "👨‍👩‍👧")
    (tmp_path / "new.csv").write_text("\n".join(["note", *new, ""]), encoding="utf-8")
    done = command("predict", "study=smoke", "input=new.csv", "output=out.csv")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "3 of 6 texts hold none that it knows" in done.stderr, done.stderr
    rows = fileio.read_rows(tmp_path / "out.csv")
    assert "1 of 6 texts are longer than the " in done.stderr, done.stderr
    assert len(rows) == 6 and {row["prediction"] for row in rows} <= {"up", "down"}
    assert rows[1]["probability_up"] == pytest.approx(rows[2]["probability_up"])
