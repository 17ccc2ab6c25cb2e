"""From a table of texts to a prediction, and what of it stands in the records."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
from conftest import Command

DATA = ("dataset=file", "dataset.path=mood.csv", "dataset.text=note", "dataset.target=mood", "dataset.tokens=word")
SMALL = (
    "model.units=8",
    "model.embedding=6",
    "train.batch_size=16",
    "train.schedule=constant",
    "train.learning_rate=0.02",
)
SHORT = (
    "study.n_trials=0",
    "study.replicates=2",
    "train.epochs=4",
    "kernel=generic",
    "kernel.probe=false",
    "launcher.workers=1",
    "tracking=none",
    "backend=torch",  # nothing to compile: a quarter of the time
)


def write(folder: Path) -> None:
    rng = random.Random(0)
    rows = [["note", "mood"]]
    for _ in range(150):
        mood = rng.choice(["up", "down"])
        words = [rng.choice(["the", "film", "was", "so", "it", "is"]) for _ in range(rng.randint(2, 8))]
        rows.append([" ".join([*words, "good" if mood == "up" else "bad"]), mood])
    new = [["note"], ["so it is good"], ["bad, it is bad"], ["😀 ☂"]]
    for name, lines in (("mood.csv", rows), ("new.csv", new)):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.long  # CI: a task from sweep to prediction in `test_own_task.py`; texts in `test_text_reading.py`
@pytest.mark.timeout(1200)
def test_a_table_of_texts_is_trained_on_and_new_texts_are_predicted(command: Command, tmp_path: Path) -> None:
    write(tmp_path)
    done = command("sweep", "+study=text_bilstm", "study.name=mood", *DATA, *SMALL, *SHORT, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "linear on TF-IDF: test accuracy" in done.stdout and "MiniRocket" not in done.stdout
    study = tmp_path / "sweeps" / "mood"
    first, *_ = replicates = rows_of(study / "replicates.csv")
    words = (study / "model" / "vocabulary.txt").read_text(encoding="utf-8").split()
    assert {"good", "bad", "film"} <= {*words} and "☂" not in words
    assert {row["n_embedding"] for row in replicates} == {str(6 * (2 + len(words)))}
    assert int(first["n_weights"]) > int(first["n_embedding"]) and float(first["test_accuracy"]) > 0.9
    assert first["kernel_ran"] == "generic"
    facts = json.loads((study / "environment.json").read_text())["dataset"]
    assert facts["vocabulary"]["size"] == 2 + len(words)
    assert "values" not in (rows_of(study / "worst.csv") or [{}])[0] or not any(
        row["values"] for row in rows_of(study / "worst.csv")
    )
    for more in ((), ("control=tfidf",)):
        done = command("predict", "study=mood", "input=new.csv", "output=out.csv", *more)
        assert done.returncode == 0, done.stderr
        assert "1 of 3 texts hold none that it knows" in done.stderr
        assert [row["prediction"] for row in rows_of(tmp_path / "out.csv")][:2] == ["up", "down"]
    done = command("report")
    assert done.returncode == 0, done.stderr
    assert "linear on TF-IDF" in (tmp_path / "reports" / "mood.md").read_text(encoding="utf-8")
    (tmp_path / "new.csv").write_text("other\nx\n")
    done = command("predict", "study=mood", "input=new.csv")
    assert done.returncode == 2 and "has no column 'note'" in done.stderr and "Traceback" not in done.stderr
