"""Packs: every member trains as its solo run does, and a sweep's packed replicates are those of one by one."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Command

ENVIRONMENT = {"KERAS_BACKEND": "jax", "CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.long
def test_every_member_trains_as_its_solo_run_does() -> None:
    pytest.importorskip("jax", reason="jax is not installed: pip install 'lstm-bench[jax]'")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parents[1] / "support" / "packed_equivalence.py")],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = [f"{family} {what} equal" for family in ("stacked", "single") for what in ("x50", "x1", "epochs")]
    assert done.stdout.splitlines() == [
        *expected,
        "buckets equal",
        "best epochs equal",
        "trials equal",
        "nan alone",
        "tasks equal",
    ]


def _rows(folder: Path, name: str, table: str) -> list[dict[str, str]]:
    with (folder / "sweeps" / name / f"{table}.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.long
def test_packed_trials_are_those_of_one_by_one(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="jax is not installed: pip install 'lstm-bench[jax]'")
    study = ("+study=smoke", "backend=jax", "kernel=generic", "tracking=none", "study.n_trials=4", "study.replicates=0")
    study += ("train.epochs=2", "launcher.workers=1", "sampler=random", "pruner=none")
    for pack in (4, 1):
        done = command("sweep", *study, f"launcher.pack={pack}", f"study.name=packed{pack}", **ENVIRONMENT)
        assert done.returncode == 0, done.stderr
        assert ("up to 4 trials in one program" in done.stdout) is (pack == 4)
    together, alone = (_rows(tmp_path, f"packed{pack}", "trials") for pack in (4, 1))
    assert {row["device_share"] for row in together} == {"packed 4"}
    for ours, theirs in zip(together, alone, strict=True):
        for column in ("number", "state", "seed", "n_weights", "epochs", "kernel_ran", "config_train.learning_rate"):
            assert ours[column] == theirs[column]
        assert float(ours["val_accuracy"]) == pytest.approx(float(theirs["val_accuracy"]), abs=1e-6)
        for column in ("val_loss", "train_loss"):
            assert float(ours[column]) == pytest.approx(float(theirs[column]), rel=1e-3)
    assert len({row["val_loss"] for row in together}) == 4


@pytest.mark.long
def test_packed_replicates_are_those_of_one_by_one(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="jax is not installed: pip install 'lstm-bench[jax]'")
    study = ("+study=smoke", "backend=jax", "kernel=generic", "kernel.probe=false", "tracking=none", "study.n_trials=1")
    study += ("train.epochs=2", "launcher.workers=1")
    for pack in (3, 1):
        done = command("sweep", *study, f"launcher.pack={pack}", f"study.name=packed{pack}", **ENVIRONMENT)
        assert done.returncode == 0, done.stderr
        assert ("3 seeds in one program" in done.stdout) is (pack == 3)
    together, alone = (_rows(tmp_path, name, "replicates") for name in ("packed3", "packed1"))
    assert [row["seed"] for row in together] == ["0", "1", "2"]
    assert [row["device_share"] for row in together] == ["packed 3"] * 3
    assert "packed 3" not in {row["device_share"] for row in alone}
    for ours, theirs in zip(together, alone, strict=True):
        for column in ("state", "n_weights", "n_trainable", "epochs", "kernel_ran", "backend"):
            assert ours[column] == theirs[column]
        for column in ("test_accuracy", "val_accuracy"):
            assert float(ours[column]) == pytest.approx(float(theirs[column]), abs=1e-6)
        for column in ("test_loss", "val_loss", "train_loss"):
            assert float(ours[column]) == pytest.approx(float(theirs[column]), rel=1e-3)
        parts = [float(ours[part]) for part in ("setup_s", "compile_s", "train_s", "eval_s")]
        assert float(ours["total_s"]) == pytest.approx(sum(parts), rel=1e-6)
    assert len({row["test_loss"] for row in together}) == 3
    saved = [(tmp_path / "sweeps" / f"packed{pack}" / "model" / "model.keras").stat().st_size for pack in (3, 1)]
    assert saved[0] == pytest.approx(saved[1], rel=0.01)
