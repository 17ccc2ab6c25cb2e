"""A study of version 0.1.0, half done, in the hands of this version: `tests/fixtures/0.1.0/README.md` says how it was made."""

from __future__ import annotations

import csv
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from conftest import Command, undrawn

from lstm_bench import export, merge, sync
from lstm_bench.core import fileio
from lstm_bench.model import build
from lstm_bench.report import command as report
from lstm_bench.report.figures import style
from lstm_bench.study import candidates, reader

ROOT = Path(__file__).parents[2]
MADE = ROOT / "tests" / "fixtures" / "0.1.0"
CONFIRMED = "31d4da848ed0"  # digest of trial 0, the winner
# The command that was interrupted, without its tracking.
OPTIONS = (
    *("+study=smoke", "study.name=half", "study.description=Half-done", "study.seed=3", "sampler=random"),
    *("pruner=none", "kernel=generic", "launcher.workers=1", "model.units=16", "model.batch_norm=false"),
    *("train.epochs=4", "study.space.train.learning_rate.low=1e-4", "study.space.train.learning_rate.high=2e-2"),
    *("study.n_trials=6", "study.replicates=5"),
)


def rows(folder: Path, file: str) -> list[dict[str, str]]:
    return fileio.read_rows(folder / file)


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`sweeps/half` in a working directory of its own; MLflow's settings are given back."""
    shutil.copytree(MADE / "half", tmp_path / "sweeps" / "half")
    monkeypatch.chdir(tmp_path)
    with mock.patch.dict(os.environ):
        yield tmp_path / "sweeps" / "half"


def test_the_fixture_is_half_done() -> None:
    states = [row["state"] for row in rows(MADE / "half", "trials.csv")]
    assert states == ["COMPLETE"] * 4 + ["FAIL"]
    assert [row["seed"] for row in rows(MADE / "half", "replicates.csv")] == ["0", "1"]
    assert reader.find("half", MADE).environment["lstm_bench"] == "0.1.0"
    assert all(option in (MADE / "README.md").read_text() for option in OPTIONS)


# Names of what is trained: of a family, of a confirmed configuration.


def test_a_family_of_every_published_study_is_found() -> None:
    studies = [reader.find(folder.name, folder.parent) for folder, *_ in reader.places(ROOT / "sweeps/published")]
    targets = {str(study.config["model"]["_target_"]) for study in studies}
    assert len(studies) >= 42 and len(targets) >= 11
    for target in sorted(targets):
        assert build.is_own(target)
        function = build.find(target)
        assert f"lstm_bench.model.{function.__name__}" == target
        assert "input_shape" in build.inspect.signature(function).parameters


with (MADE / "digests.csv").open(encoding="utf-8") as text:
    DIGESTS = list(csv.DictReader(text))


def test_every_confirmed_configuration_keeps_its_digest() -> None:
    now = []
    for row in DIGESTS:
        study = reader.find(row["study"], MADE / "published")
        trial = next((trial for trial in study.rows("trials.csv") if trial["number"] == row["trial"]), None)
        now.append({**row, "digest": candidates.digest(study.config_of(trial))})
    assert now == DIGESTS
    assert len({row["study"] for row in DIGESTS}) == 42  # those that confirmed something


def test_a_folder_of_a_candidate_is_named_after_its_digest() -> None:
    study = reader.find("half", MADE)
    winner = study.best_trial()
    assert winner is not None and winner["number"] == "0"
    assert candidates.digest(study.config_of(winner)) == CONFIRMED
    assert [path.name for path in (MADE / "half" / "candidates").iterdir()] == [CONFIRMED]


# What reads it as it is.


def test_it_is_exported_and_merged(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["study=half"]) == 0
    assert merge.main(["input=half.study.zip"]) == 0
    assert "5 trials, 2 replicates" in capsys.readouterr().out
    merged = half.parent / "merged" / "half"
    for file in ("trials.csv", "replicates.csv", "history.csv", "predictions.csv", "config.yaml"):
        assert (merged / file).read_bytes() == (half / file).read_bytes(), file


def test_it_is_told_to_a_new_store_and_reported_from_it(
    half: Path, unused_store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "pictures", undrawn)
    shutil.copy(unused_store, "mlflow.db")
    assert sync.main([]) == 0
    with sqlite3.connect("mlflow.db") as database:
        keys = database.execute(
            "SELECT value FROM tags WHERE key LIKE 'lstm_bench.%' AND value LIKE ?", [f"%{CONFIRMED}%"]
        )
        assert keys.fetchall()
    assert report.main(["reports=records"]) == 0
    shutil.rmtree(half.parent)
    assert report.main(["source=mlflow", "reports=server"]) == 0
    assert capsys.readouterr().err == ""
    pages = {path.name: path.read_text() for path in Path("records").iterdir() if path.suffix in (".md", ".csv")}
    assert "75.97" in pages["half.md"]
    assert {name: Path("server", name).read_text() for name in pages} == pages


@pytest.mark.slow
def test_its_model_predicts_what_it_predicted(command: Command, half: Path) -> None:
    found = reader.find("half", half.parent).data()
    np.save("new.npy", np.rint(found.x_test * found.divisor).astype(np.uint8))
    done = command("predict", "study=half", "input=new.npy", "output=said.csv")
    assert (done.returncode, done.stderr) == (0, "")
    wanted = [row["prediction"] for row in rows(half, "predictions.csv")]
    assert [row["prediction"] for row in rows(Path(), "said.csv")] == wanted


@pytest.mark.long  # CI: it predicts, and is resumed; `test_repeat.py` has what is compared
def test_its_confirmed_seed_is_repeated(command: Command, half: Path) -> None:
    done = command("repeat", "study=half", "seed=1")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "differs   lstm_bench: recorded 0.1.0" in done.stdout
    accuracy = next(line for line in done.stdout.splitlines() if "test_accuracy" in line)
    assert "0.7472222222" in accuracy
    assert "equal: every figure" in done.stdout or "nothing was promised" in done.stdout


# And it goes on.


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory, unused_store: Path) -> tuple[Path, str]:
    """The study after the command that was interrupted was given again, a new MLflow store beside it; what that said."""
    folder = tmp_path_factory.mktemp("resumed")
    shutil.copytree(MADE / "half", folder / "sweeps" / "half")
    shutil.copy(unused_store, folder)
    done = subprocess.run(
        [sys.executable, "-m", "lstm_bench.sweep", *OPTIONS],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return folder / "sweeps" / "half", done.stdout


@pytest.mark.slow
def test_it_is_resumed_to_the_exact_total_and_no_seed_is_trained_twice(resumed: tuple[Path, str]) -> None:
    folder, said = resumed
    trials, before = rows(folder, "trials.csv"), rows(MADE / "half", "trials.csv")
    assert [row["state"] for row in trials].count("COMPLETE") == 6 and len(trials) == 7
    assert [row["number"] for row in trials if row["retry_of"] == "4"] == ["5"]
    assert [{name: row[name] for name in before[0]} for row in trials[:5]] == before
    seeds, confirmed = rows(folder, "replicates.csv"), rows(MADE / "half", "replicates.csv")
    assert [(row["trial"], row["seed"]) for row in seeds] == [("0", str(seed)) for seed in range(5)]
    assert [{name: row[name] for name in confirmed[0]} for row in seeds[:2]] == confirmed
    began = [line.split()[1] for line in said.splitlines() if line.startswith("seed ")]
    assert sorted(began) == ["2", "3", "4"]
    assert [path.name for path in (folder / "candidates").iterdir()] == [CONFIRMED]
    assert (folder / "model/model.keras").read_bytes() == (MADE / "half/model/model.keras").read_bytes()
    with sqlite3.connect(folder / "study.db") as database:
        (total,) = database.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'").fetchone()
        stored = [
            key for (key,) in database.execute("SELECT key FROM study_user_attributes WHERE key LIKE 'replicate/%'")
        ]
    assert total == 6 and sorted(stored) == [f"replicate/{CONFIRMED}/{seed}" for seed in range(5)]


@pytest.mark.long  # CI has it of the study as it was left
def test_mlflow_is_told_all_of_it(
    resumed: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(resumed[0].parents[1], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(style, "pictures", undrawn)
    with mock.patch.dict(os.environ):
        assert sync.main([]) == 0
        assert "half: up to date" in capsys.readouterr().out
        assert report.main(["reports=records"]) == 0
        shutil.rmtree("sweeps")
        assert report.main(["source=mlflow", "reports=server"]) == 0
    pages = {path.name: path.read_text() for path in Path("records").iterdir() if path.suffix in (".md", ".csv")}
    assert {name: Path("server", name).read_text() for name in pages} == pages
