"""`python -m lstm_bench.look`: what is said of a dataset before anything trains, and what speaks against it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console
from wheels import wheel

from lstm_bench import look
from lstm_bench.core.configuration import conf_dir
from lstm_bench.data import inspection, warning
from lstm_bench.data.dataset import Dataset
from lstm_bench.report.figures import sequences, style

TABLE = {"id": "recording", "time": "t", "target": "activity"}


def settings(path: object, name: str = "file", **more: Any) -> dict[str, Any]:
    return {**yaml.safe_load((conf_dir() / "dataset" / f"{name}.yaml").read_text()), "path": str(path), **more}


def member(name: str) -> str:
    return f"{wheel('sktime==1.2.0')}!sktime/datasets/data/{name}/{name}_TRAIN.ts"


def frame(n: int = 800, timesteps: int = 5) -> pd.DataFrame:
    """A table that nothing speaks against: two classes of equal size."""
    rng, rows = np.random.RandomState(0), n * timesteps
    of = np.repeat(np.arange(n), timesteps)
    return pd.DataFrame(
        {
            "recording": of,
            "t": np.tile(np.arange(timesteps), n),
            "ax": rng.standard_normal(rows) + of % 2,
            "ay": rng.standard_normal(rows),
            "activity": np.where(of % 2, "walk", "run"),
        }
    )


def seen(folder: Path, table: pd.DataFrame, **more: Any) -> tuple[Dataset, list[str]]:
    """The dataset, and the warnings, of a table."""
    path = folder / "own.csv"
    table.to_csv(path, index=False)
    config = settings(path, **{**TABLE, **more})
    found = inspection.load(config)
    return found, warning.warnings(found, config)


def only(said: list[str], *words: str) -> None:
    """Asserts that there is one warning, which has these words."""
    assert len(said) == 1, said
    assert all(word in said[0] for word in words), said


def test_nothing_speaks_against_what_is_well(tmp_path: Path) -> None:
    found, said = seen(tmp_path, frame())
    assert said == []
    assert warning.half_width(found) < warning.WIDE
    assert inspection.class_counts(found)["run"] == {"train": 288, "validation": 32, "test": 80}


def test_a_column_that_nobody_named_is_asked_about(tmp_path: Path) -> None:
    table = frame()
    table["person"] = "p" + (table["recording"] // 80).astype(str)
    only(seen(tmp_path, table)[1], "column person is not used", "Say dataset.group=person.")
    found, said = seen(tmp_path, table, group="person")
    assert said == [] and found.about is not None and "groups" in found.about["divided"]
    table["person"] = (table["recording"] // 80).astype(float)
    only(seen(tmp_path, table)[1], "column person is an input", "Say dataset.group=person")
    table = frame().rename(columns={"t": "timestamp"})
    only(seen(tmp_path, table, time=None)[1], "timestamp is an input and seems to be a time", "dataset.time=timestamp")
    table = frame().reset_index().rename(columns={"index": "Unnamed: 0"})
    assert "counts rows" in seen(tmp_path, table)[1][0]


def test_columns_that_are_no_inputs_are_found(tmp_path: Path) -> None:
    table = frame()
    table["gain"], table["again"] = 2.0, table["ax"]
    _, said = seen(tmp_path, table)
    assert [warning.partition(".")[0] for warning in said] == [
        "column gain has one value, 2, in the training split",
        "column again has the values of ax",
    ]


@pytest.mark.parametrize("kind", ["classes", "numbers", "timesteps", "wide"])
def test_the_target_among_the_inputs_is_found(tmp_path: Path, kind: str) -> None:
    table, more, name = frame(), {}, "answer"
    table["answer"] = np.where(table["activity"] == "walk", 3.5, -1) + 0.01 * np.random.RandomState(1).rand(len(table))
    if kind == "numbers":
        table["activity"] = np.random.RandomState(2).standard_normal(800)[table["recording"]]
        table["answer"] = 3 * table["activity"] - 2
    elif kind == "timesteps":
        table["activity"] = np.where(np.random.RandomState(2).rand(len(table)) > 0.5, "on", "off")
        table["answer"] = 1.0 * (table["activity"] == "on")
    elif kind == "wide":
        table = frame().pivot(index="recording", columns="t", values="ax").add_prefix("v").reset_index(drop=True)
        table["activity"] = np.arange(800) % 2 == 0
        table["answer"] = 0.5 + table["activity"]
        more = {"layout": "wide", "id": None, "time": None}
    found, said = seen(tmp_path, table, **more)
    only(said, f"column {name} alone tells the target", "dataset.features=[...]")
    table[name] = np.random.RandomState(3).rand(len(table))
    assert seen(tmp_path, table, **more)[1] == []
    assert found.kind.name == {"numbers": "regression", "timesteps": "tagging"}.get(kind, "classification")


def test_repeated_sequences_are_counted_within_and_across_splits(tmp_path: Path) -> None:
    table = frame()
    same = (table["recording"] < 40) & (table["recording"] % 2 == 0)
    table.loc[same, ["ax", "ay"]] = 1.5
    _, said = seen(tmp_path, table)
    assert any("sequences of test are in train too, value for value" in warning for warning in said)
    assert any("sequences repeat another of their split" in warning for warning in said)


def test_gaps_are_reported_where_a_sweep_refuses_them(tmp_path: Path) -> None:
    table = frame()
    table.loc[[1, 2, 50], "ax"] = np.nan
    found, said = seen(tmp_path, table)
    only(said, "values are missing (ax 3): a sweep refuses them. Say dataset.missing=forward_fill")
    assert not any("filled" in note for note in found.notes)
    assert [column.missing for column in inspection.columns(found, settings("x", **TABLE))] == [3, 0]
    assert seen(tmp_path, table, missing="mask")[1] == []
    table.loc[table["t"] < 2, "ax"] = np.nan
    only(seen(tmp_path, table, missing="mean")[1], "much is missing", "dataset.missing=mask")


def test_rare_classes_and_small_sets_are_said_with_what_a_score_is_worth(tmp_path: Path) -> None:
    table = frame(60)
    table.loc[table["recording"] < 6, "activity"] = "fall"
    _, said = seen(tmp_path, table)
    few, unbalanced, small, validation = said
    assert "1 of 3 classes has fewer than 10 test sequences (fall 1)" in few or "fall 1, run" in few
    assert "classes are unbalanced: fall has" in unbalanced
    assert "on 12 sequences an accuracy of 90 % is known to ±" in small and "dataset.test_size" in small
    assert "by steps of 20 points" in validation
    found, config = seen(tmp_path, table)[0], settings("x", **TABLE)
    assert unbalanced.endswith("Say train.class_weight=balanced.")
    assert not any("train.class_weight" in sentence for sentence in warning.warnings(found, config, weighted=True))


def test_the_shares_of_tags_are_those_of_real_timesteps(tmp_path: Path) -> None:
    table = frame(60, 6)
    table["activity"] = np.where(table["t"] % 2, "on", "off")
    found, _ = seen(tmp_path, table[(table["t"] < 4) | (table["recording"] % 3 == 0)])
    console = Console(file=io.StringIO(), width=80)
    look._say_classes(console, found, inspection.class_counts(found))
    assert console.file.getvalue().count("50.0") == 6


def test_splits_that_flatter_are_said(tmp_path: Path) -> None:
    stamps = pd.date_range("2024-01-01", periods=4000, freq="h")
    values = np.random.RandomState(0).standard_normal(4000)
    one = pd.DataFrame({"t": stamps, "ax": values, "activity": np.arange(4000) // 5 % 2})
    cut = {"id": None, "window": 5, "stride": 2}
    assert "windows of one recording overlap" in seen(tmp_path, one, **cut, split="stratified")[1][0]
    assert not any("at random" in warning for warning in seen(tmp_path, one, **cut)[1])
    one["recording"] = np.arange(4000) // 5
    only(seen(tmp_path, one)[1], "follow each other in time", "Say dataset.split=time.")
    assert "validation samples are test samples" in seen(tmp_path, frame(), validation="test")[1][0]


def test_scales_are_a_warning_where_they_are_left_as_they_are(tmp_path: Path) -> None:
    table = frame()
    table["ay"] *= 1000
    found, said = seen(tmp_path, table)
    assert said == []
    (_, ay) = inspection.columns(found, settings("x", **TABLE))
    assert 900 < ay.deviation < 1100 and ay.low < -1000 < 1000 < ay.high, "as the file has it"
    only(seen(tmp_path, table, standardize=False)[1], "dataset.standardize=true")


def test_what_a_study_aims_at_is_named_with_the_reason(tmp_path: Path) -> None:
    def aim(table: pd.DataFrame) -> str:
        return str(dict(look._facts(seen(tmp_path, table)[0]))["objective"])

    table = frame()
    assert aim(table).startswith(
        "study.objective=auto -> val_accuracy: the rarest class has 288 of 576 labels, 1.00 of an"
    )
    assert "; or val_loss, val_balanced_accuracy" in aim(table)
    table.loc[table["recording"] % 20 == 0, "activity"] = "fall"
    said = aim(table)
    assert said.startswith(
        "study.objective=auto -> val_balanced_accuracy: the rarest class has 29 of 576 labels, 0.15 of an"
    )
    assert "or val_accuracy, val_loss, val_macro_f1" in said
    trivial = str(dict(look._facts(seen(tmp_path, table)[0]))["trivial"])
    assert trivial.endswith(
        ", test balanced accuracy 33.33 %: always predicting the most frequent class of the training set"
    )
    table["activity"] = np.random.RandomState(0).rand(800)[table["recording"]]
    assert aim(table).startswith("study.objective=auto -> val_mse: a regression task; or ")


def test_classes_that_differ_in_capitals_alone_are_asked_about(tmp_path: Path) -> None:
    table = frame()
    table.loc[table["recording"] % 8 == 0, "activity"] = "Run "
    said = seen(tmp_path, table)[1]
    assert any("classes 'Run ' and 'run' differ in capitals or blanks alone" in warning for warning in said)


@pytest.mark.parametrize(("name", "n"), [("GunPoint", 1), ("BasicMotions", 6), ("JapaneseVowels", 12)])
def test_archives_of_others_are_looked_at_and_drawn(name: str, n: int) -> None:
    config = settings(member(name))
    found = inspection.load(config)
    said = warning.warnings(found, config)
    assert len(inspection.columns(found, config)) == n
    assert all("tells the target" not in warning for warning in said), "one movement is told by its own channel"
    assert any("the validation set has" in warning for warning in said)
    assert dict(look._facts(found))["sequences"].startswith(
        {"GunPoint": "200 of 150 ", "BasicMotions": "80 of 100 ", "JapaneseVowels": "640 of 7 to 29 "}[name]
    )
    figure = sequences.overview(found)
    titles = [axes.get_title(loc="left") for panel in figure.subfigs for axes in panel.axes]
    assert set(found.classes or ()) <= {*titles}
    assert style.render(figure, "png")[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", ["digits", "adding", "copy"])
def test_every_dataset_is_looked_at(name: str) -> None:
    config = {**settings("", name), "path": None}
    if name != "digits":
        config |= {"train_size": 60, "validation_size": 20, "test_size": 20, "length": 20}
    found = inspection.load(config)
    warning.warnings(found, config)
    assert style.render(sequences.overview(found), "svg").startswith(b"<?xml")


def test_what_cannot_be_divided_is_shown_before_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = frame(60)
    table.loc[table["recording"] == 7, "activity"] = "fall"
    table.to_csv(tmp_path / "own.csv", index=False)
    line = [f"dataset.{key}={value}" for key, value in {"path": tmp_path / "own.csv", **TABLE}.items()]
    assert look.main(["dataset=file", *line]) == 3
    said = capsys.readouterr()
    assert "60 sequences of 5 timesteps, 2 features" in said.out and "fall 1" in said.out
    assert said.err.startswith("error: dataset.test_size") and said.err.count("\n") == 1
    assert look.main(["dataset=file", line[0], "dataset.id=recoding"]) == 2
    assert "Did you mean recording?" in capsys.readouterr().err


def test_it_prints_within_the_terminal_leaves_only_the_picture_and_imports_no_framework(tmp_path: Path) -> None:
    table = frame(60)
    table.loc[[1, 2, 50], "ax"] = np.nan
    (tmp_path / "data").mkdir()
    table.to_csv(tmp_path / "data" / "own.csv", index=False)
    line = [f"dataset.{key}={value}" for key, value in {"path": "data/own.csv", **TABLE}.items()]
    code = "import sys; from lstm_bench.look import main; code = main(sys.argv[1:]); "
    code += "print(code, sorted({'keras', 'tensorflow', 'jax', 'torch', 'mlflow', 'optuna'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, "dataset=file", *line, "png=own.png"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "72"},
        capture_output=True,
        text=True,
    )
    *said, last = done.stdout.splitlines()
    assert last == "0 []" and not done.stderr, done.stderr
    assert max(map(len, said)) <= 72
    text = " ".join(done.stdout.split())
    for words in (
        *("60 of 5 timesteps, 2 features", "at random: 43 train", "a classification task: the target holds names"),
        *(
            "test accuracy 50.00 %: always predicting",
            "study.objective=auto -> val_accuracy: the rarest",
            "values are missing (ax 3)",
        ),
    ):
        assert words in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "own.png"]
