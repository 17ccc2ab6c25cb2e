"""`dataset=file`: tables, archives and arrays as they lie, and what is said of those that are unfit."""

from __future__ import annotations

import gzip
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from wheels import wheel

from lstm_bench.core import progress
from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import ConfigError, DataError, LstmBenchError
from lstm_bench.data import converted, dataset, division, inspection, user_files, warning
from lstm_bench.data.dataset import Dataset
from lstm_bench.data.formats.source import Source
from lstm_bench.data.sequences import Columns
from lstm_bench.data.settings import check

TABLE = {"id": "recording", "time": "t", "target": "activity"}
ARCHIVE = "sktime/datasets/data"


def loaded(path: object, **settings: Any) -> Dataset:
    whole = {**yaml.safe_load((conf_dir() / "dataset" / "file.yaml").read_text()), "path": str(path), **settings}
    return dataset.load(whole)


def refused(path: object, **settings: Any) -> LstmBenchError:
    with pytest.raises((ConfigError, DataError)) as caught:
        loaded(path, **settings)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    return caught.value


def frame(n: int = 60, timesteps: int = 5) -> pd.DataFrame:
    """A small table: 60 recordings of 10 persons, names for classes, one rare."""
    rng = np.random.RandomState(0)
    names = ["walk"] * 30 + ["run"] * 24 + ["fall"] * 6
    rows = [
        (
            f"r{i:03d}",
            t,
            f"p{i % 10}",
            float(np.sin(i + t)),
            100 * float(rng.rand()),
            "left" if i % 2 else "right",
            names[i % 60],
        )
        for i in range(n)
        for t in range(timesteps)
    ]
    return pd.DataFrame(rows, columns=["recording", "t", "person", "ax", "ay", "side", "activity"])


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    def write(table: pd.DataFrame | None = None, name: str = "own.csv") -> Path:
        path = tmp_path / name
        made = frame() if table is None else table
        if path.suffix == ".parquet":
            made.to_parquet(path)
        else:
            made.to_csv(path, index=False, sep="\t" if ".tsv" in name else ",")
        return path

    return write


# What is read.


def test_every_format_of_a_table_gives_the_same_data(written: Callable[..., Path]) -> None:
    first = loaded(written(), **TABLE)
    assert first.classes == ("fall", "run", "walk") and first.n_classes == 3
    assert [len(getattr(first, f"y_{split}")) for split in ("train", "validation", "test")] == [43, 5, 12]
    for name in ("own.tsv", "own.csv.gz", "own.tsv.gz", "own.parquet"):
        other = loaded(written(name=name), **TABLE)
        assert other.sha256 == first.sha256
        np.testing.assert_array_equal(other.x_train, first.x_train)
    shuffled = loaded(written(frame().sample(frac=1, random_state=1)), **TABLE)
    assert shuffled.sha256 == first.sha256, "rows come in any order"


def test_scales_are_those_of_the_training_split_alone(written: Callable[..., Path]) -> None:
    found = loaded(written(), **TABLE)
    assert found.mean is not None and any("more than tenfold" in note for note in found.notes)
    np.testing.assert_allclose(found.x_train.mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(found.x_train.std(axis=(0, 1)), 1, atol=1e-5)
    assert loaded(written(), **TABLE, features=["ax"]).mean is None


def test_a_wide_table_is_a_sequence_per_row(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    table = pd.DataFrame(rng.rand(40, 6), columns=[f"v{i}" for i in range(6)])
    table["label"] = np.arange(40) % 2 == 0
    table.to_csv(tmp_path / "wide.csv", index=False)
    found = loaded(tmp_path / "wide.csv", layout="wide", target="label")
    assert found.input_shape == (6, 1) and found.classes == ("False", "True")


def test_text_becomes_a_feature_for_each_category(written: Callable[..., Path]) -> None:
    found = loaded(written(), **TABLE, features=["ax", "side"])
    assert found.reading is not None and found.reading["features"] == ["ax", "side=left", "side=right"]
    assert set(np.unique(found.x_train[..., 1:])) == {0.0, 1.0}
    np.testing.assert_array_equal(found.x_train[..., 1] + found.x_train[..., 2], 1)


def test_a_label_that_changes_is_one_per_timestep(written: Callable[..., Path]) -> None:
    table = frame()
    table["phase"] = np.where(table["t"] < 2, "begin", "end")
    found = loaded(written(table), **{**TABLE, "target": "phase"}, features=["ax"])
    assert found.task == "tagging" and found.y_train.shape == (len(found.x_train), 5)
    assert found.classes == ("begin", "end")


def test_recordings_are_cut_into_windows_that_stay_together(written: Callable[..., Path]) -> None:
    found = loaded(written(frame(timesteps=11)), **TABLE, window=4, stride=2)
    assert found.input_shape == (4, 2)
    assert any("240 windows of 4 timesteps" in note for note in found.notes)
    assert any("windows of one recording stay in one split" in note for note in found.notes)
    assert any(note.startswith("divided by group") for note in found.notes)
    groups = found.about["groups"]
    assert set(groups) == {"train", "validation", "test"} and sum(groups.values()) == 60


@pytest.mark.parametrize("labels", [["b", "a"], [7, -3], [1.5, 2.25, 3.125]])
def test_targets_are_understood_as_what_they_are(written: Callable[..., Path], labels: list[Any]) -> None:
    table = frame()
    table["activity"] = [labels[int(name[1:]) % len(labels)] for name in table["recording"]]
    found = loaded(written(table), **TABLE)
    if isinstance(labels[0], float):
        assert found.task == "regression" and found.n_classes == 1 and found.y_train.dtype == np.float32
    else:
        assert found.classes == tuple(map(str, sorted(labels))) and {*found.y_train} == {0, 1}


def labelled() -> pd.DataFrame:
    """The table with three columns of 0 and 1 that are constant within a recording."""
    table = frame()
    number = table["recording"].str[1:].astype(int)
    for name, by in (("loud", 2), ("fast", 3), ("far", 4)):
        table[name] = (number % by < 2).astype(int) if by > 2 else number % 2
    return table


def test_several_targets_are_labels_that_a_sequence_has_together(written: Callable[..., Path], tmp_path: Path) -> None:
    table, names = labelled(), ["loud", "fast", "far"]
    found = loaded(written(table.sample(frac=1, random_state=1)), **{**TABLE, "target": names})
    assert (found.task, found.n_classes, found.classes) == ("multilabel", 3, tuple(names))
    assert found.reading is not None and found.reading["features"] == ["ax", "ay"]
    assert found.y_train.shape == (43, 3) and found.y_train.dtype == np.int32
    firsts = table[table["t"] == 0]
    counts = inspection.class_counts(found)
    assert {name: sum(of.values()) for name, of in counts.items()} == {name: firsts[name].sum() for name in names}
    assert warning.warnings(found, {"name": "file", "target": names, "id": "recording"})
    again = user_files.read_alike(Source(written(table)), {**artefact(found), "dataset": "own"})
    assert again.y is not None and again.y.shape == (60, 3)
    assert user_files.read_alike(Source(written(table.drop(columns="far"))), artefact(found)).y is None
    np.savez(tmp_path / "y.npz", x=np.stack([*firsts[["ax", "ay"]].to_numpy()])[:, None], y=firsts[names].to_numpy())
    arrays = loaded(tmp_path / "y.npz", task="multilabel")
    np.testing.assert_array_equal(arrays.y_train, found.y_train)
    assert arrays.classes is None
    wide = pd.DataFrame(firsts[["ax", "ay", *names]])
    wide["loud"] = wide["loud"].astype(bool)
    alike = loaded(written(wide, "wide.csv"), layout="wide", target=names)
    np.testing.assert_array_equal(alike.y_train, found.y_train)


def artefact(found: Dataset) -> dict[str, Any]:
    """`input.json` of a model that was trained on it."""
    timesteps, features = found.input_shape
    return {"reading": found.reading, "timesteps": timesteps, "features": features, "task": found.task}


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        ({"far": 2}, {}, "row 2, column far: expected 0 or 1, as dataset.target names several labels, received 2"),
        ({"far": "yes"}, {}, "row 2, column far: expected 0 or 1"),
        ({"far": 0}, {}, "y_train has no sample with label 2: expected one for each label. Leave that label out"),
        ({"far": range(300)}, {}, "row 4, column far: expected 0 or 1"),
        ({"far": [0, 1] * 150}, {}, "column far changes within a sequence: expected 0 or 1 for a whole sequence"),
        ({}, {"task": "classification"}, "dataset.task=classification: dataset.target names several columns"),
        ({}, {"target": ["loud", "fsat"]}, "dataset.target: "),
        ({}, {"target": ["loud", "ax"], "features": ["ax"]}, "dataset.features: ax is dataset.target too"),
        ({}, {"target": "loud", "task": "multilabel"}, "expected shape (samples, labels), received (43,)"),
    ],
)  # fmt: skip
def test_labels_that_are_not_0_and_1_are_refused(
    written: Callable[..., Path], change: dict[str, Any], settings: dict[str, Any], said: str
) -> None:
    path = written(labelled().assign(**change))
    assert said in str(refused(path, **{**TABLE, "target": ["loud", "fast", "far"], **settings}))


def test_targets_of_a_regression_are_scaled_inside_and_the_data_stay_as_they_are(written: Callable[..., Path]) -> None:
    table = frame()
    table["activity"] = [1000 + int(name[1:]) / 7 for name in table["recording"]]
    found, plain = (loaded(written(table), **TABLE, scale_target=scaled) for scaled in ("auto", False))
    assert found.target == (found.y_train.mean(dtype=np.float64), found.y_train.std(dtype=np.float64))
    assert any(note.startswith("targets are standardised inside: mean 1004") for note in found.notes)
    assert plain.target is None and plain.sha256 == found.sha256
    np.testing.assert_array_equal(plain.y_train, found.y_train)
    assert loaded(written(), **TABLE).target is None
    assert "a classification has no targets to scale" in str(refused(written(), **TABLE, scale_target=True))
    with pytest.raises(ConfigError, match=r"dataset\.scale_target: expected false, as only dataset=npz,file has it"):
        check({**yaml.safe_load((conf_dir() / "dataset" / "digits.yaml").read_text()), "scale_target": True})


def test_classes_from_zero_stay_themselves(written: Callable[..., Path]) -> None:
    table = frame()
    table["activity"] = [int(name[1:]) % 3 for name in table["recording"]]
    assert loaded(written(table), **TABLE).classes is None


# Archives and arrays.


def test_an_npz_has_the_digest_that_it_has_as_npz(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    arrays = {
        "x_train": rng.rand(40, 3, 2),
        "y_train": np.arange(40) % 3,
        "x_test": rng.rand(9, 3, 2),
        "y_test": np.arange(9) % 3,
    }
    np.savez(tmp_path / "own.npz", **arrays)
    old = yaml.safe_load((conf_dir() / "dataset" / "npz.yaml").read_text())
    before = dataset.load({**old, "path": str(tmp_path / "own.npz")})
    now = loaded(tmp_path / "own.npz")
    assert now.sha256 == before.sha256
    np.testing.assert_array_equal(now.x_train, before.x_train)
    np.testing.assert_array_equal(now.y_validation, before.y_validation)


def test_an_undivided_npz_keeps_groups_apart(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    np.savez(tmp_path / "own.npz", x=rng.rand(60, 3, 2), y=np.arange(60) % 3, groups=np.arange(60) // 6)
    found = loaded(tmp_path / "own.npz")
    assert len(found.x_train) + len(found.x_validation) + len(found.x_test) == 60
    assert len(found.x_test) % 6 == 0 and any("by group" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "classes"),
    [
        ("GunPoint", (150, 1), (50, 150), ("1", "2")),
        ("ItalyPowerDemand", (24, 1), (67, 1029), ("1", "2")),
        ("ArrowHead", (251, 1), (36, 175), None),
        ("OSULeaf", (427, 1), (200, 242), ("1", "2", "3", "4", "5", "6")),
        ("ACSF1", (1460, 1), (100, 100), None),
        ("BasicMotions", (100, 6), (40, 40), ("Badminton", "Running", "Standing", "Walking")),
    ],
)
def test_a_member_of_a_wheel_finds_its_test_set(
    name: str, shape: tuple[int, int], sizes: tuple[int, int], classes: tuple[str, ...] | None
) -> None:
    found = loaded(f"{wheel('sktime==1.2.0')}!{ARCHIVE}/{name}/{name}_TRAIN.ts")
    assert found.name == name and found.input_shape == shape and found.classes == classes
    assert (len(found.x_train) + len(found.x_validation), len(found.x_test)) == sizes


# Splits.


def test_a_split_by_time_drops_what_reaches_across(tmp_path: Path) -> None:
    stamps = pd.date_range("2024-01-01", periods=400, freq="h")
    table = pd.DataFrame({"when": stamps, "v": np.sin(np.arange(400)), "label": np.arange(400) // 5 % 2})
    table.to_csv(tmp_path / "one.csv", index=False)
    settings = {"time": "when", "target": "label", "window": 5}
    found = loaded(tmp_path / "one.csv", **settings)
    assert any(note.startswith("divided by time") for note in found.notes)
    columns = Columns.of({**settings, "features": None})
    whole = converted.read(Source(tmp_path / "one.csv"), columns)["all"]
    later, earlier = division.part(whole, None, 0.2, "time", 0, "x", 1)
    assert whole.first is not None and whole.last is not None
    window_s = float((whole.last - whole.first).max())
    assert whole.first[later].min() > whole.last[earlier].max() + window_s


def test_no_group_is_in_two_splits(written: Callable[..., Path]) -> None:
    found = loaded(written(), **TABLE, group="person", features=["ax"])
    by_values = {x.tobytes(): name for x, name in zip(*_values(frame()), strict=True)}
    seen = {
        split: {by_values[x.tobytes()] for x in getattr(found, f"x_{split}")}
        for split in ("train", "validation", "test")
    }
    assert not (seen["train"] & seen["test"] or seen["train"] & seen["validation"] or seen["validation"] & seen["test"])
    assert set().union(*seen.values()) == {f"p{i}" for i in range(10)}


def _values(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    x = table["ax"].to_numpy(np.float32).reshape(60, 5, 1)
    return x, table["person"].to_numpy().reshape(60, 5)[:, 0]


def test_a_test_set_does_not_depend_on_what_trains(written: Callable[..., Path]) -> None:
    first, second = (
        loaded(written(), **TABLE, features=["ax"], **more) for more in ({}, {"train_size": 20, "validation_size": 9})
    )
    np.testing.assert_array_equal(first.x_test, second.x_test)
    assert len(second.x_train) == 20 and len(second.x_validation) == 9


def test_two_files_are_a_training_and_a_test_set(written: Callable[..., Path]) -> None:
    table = frame()
    held = table["person"].isin(["p0", "p1"])
    train, test = written(table[~held], "train.csv"), written(table[held], "test.csv")
    assert len(loaded(train, test_path=str(test), **TABLE).x_test) == 12
    both = written(table, "both.csv")
    said = str(refused(both, test_path=str(test), **TABLE, group="person"))
    assert "group p0 is in train and in test" in said


@pytest.mark.parametrize("group", [None, "person"])
def test_each_seed_draws_what_it_trains_on_and_tests_on_the_same(
    written: Callable[..., Path], group: str | None
) -> None:
    path, search = written(), {**TABLE, "features": ["ax"], "group": group}
    known = loaded(path, **search)
    np.testing.assert_array_equal(loaded(path, **search, resplit=True).x_train, known.x_train)
    seeds = [loaded(path, **search, resplit=True, redraw=seed) for seed in range(5)]
    for found in seeds:
        np.testing.assert_array_equal(found.x_test, known.x_test)
        both = np.concatenate([found.x_train, found.x_validation])
        assert {x.tobytes() for x in both} == {x.tobytes() for x in (*known.x_train, *known.x_validation)}
        assert found.sha256 == known.sha256
        if group:
            by_values = {x.tobytes(): name for x, name in zip(*_values(frame()), strict=True)}
            trains, validates = ({by_values[x.tobytes()] for x in of} for of in (found.x_train, found.x_validation))
            assert not trains & validates
    drawn = {found.x_validation.tobytes() for found in (known, *seeds)}
    assert len(drawn) == 6 if group is None else len(drawn) > 2
    again = loaded(path, **search, resplit=True, redraw=3)
    np.testing.assert_array_equal(again.x_validation, seeds[3].x_validation)


def test_what_has_no_draw_is_not_drawn_anew(written: Callable[..., Path], tmp_path: Path) -> None:
    path = written()
    assert "redrawing it would leak" in str(refused(path, **TABLE, resplit="test"))
    assert "expected true or false" in str(refused(path, **TABLE, resplit=2))
    assert "dataset.validation=test: there is nothing to draw anew" in str(
        refused(path, **TABLE, resplit=True, validation="test")
    )
    rng = np.random.RandomState(0)
    np.savez(
        tmp_path / "own.npz",
        **{f"x_{split}": rng.rand(9, 3, 2) for split in ("train", "validation", "test")},
        **{f"y_{split}": np.arange(9) % 3 for split in ("train", "validation", "test")},
    )
    assert "has one of its own: there is nothing" in str(refused(tmp_path / "own.npz", resplit=True))
    stamps = pd.date_range("2024-01-01", periods=400, freq="h")
    table = pd.DataFrame({"when": stamps, "v": np.sin(np.arange(400)), "label": np.arange(400) // 5 % 2})
    said = refused(written(table, "one.csv"), time="when", target="label", window=5, resplit=True)
    assert "the validation set is what comes before the test set" in str(said)


@pytest.mark.parametrize("group", [None, "person"])
def test_folds_validate_on_every_training_sequence_once(written: Callable[..., Path], group: str | None) -> None:
    path, more = written(), {**TABLE, "features": ["ax"], "group": group, "folds": 3}
    known = loaded(path, **{**more, "folds": None})
    every = {x.tobytes() for x in (*known.x_train, *known.x_validation)}
    parts = [loaded(path, **more, fold=fold) for fold in range(3)]
    held_out = [{x.tobytes() for x in found.x_validation} for found in parts]
    assert set().union(*held_out) == every and sum(map(len, held_out)) == len(every)
    for found, held in zip(parts, held_out, strict=True):
        assert {x.tobytes() for x in found.x_train} == every - held
        np.testing.assert_array_equal(found.x_test, known.x_test)
        assert {*found.y_train} == {0, 1, 2} and (group is not None or {*found.y_validation} == {0, 1, 2})
        if group:
            by_values = {x.tobytes(): name for x, name in zip(*_values(frame()), strict=True)}
            assert not {by_values[x] for x in held} & {by_values[x] for x in every - held}
    whole = loaded(path, **more, fold="all")
    assert {x.tobytes() for x in whole.x_train} == every and whole.sha256 == known.sha256
    np.testing.assert_array_equal(whole.x_validation, whole.x_train)
    np.testing.assert_array_equal(loaded(path, **more).x_train, parts[0].x_train)


def test_what_cannot_be_folded_is_refused(written: Callable[..., Path], tmp_path: Path) -> None:
    path = written()
    for more, line in (
        ({"validation": "test"}, "dataset.folds=3 and dataset.validation=test"),
        ({"resplit": True}, "Leave one of the two out: dataset.folds=null or dataset.resplit=false."),
        ({"split": "time"}, "a fold would be validated on what came before its training data"),
        ({"train_size": 20}, "of a file every training sequence is validated on"),
        (
            {"folds": 6},
            "too few training sequences to be in each fold: expected at least 6 of a class, received 'fall 5'",
        ),
        ({"folds": 9, "group": "person"}, "expected at least 9 groups to train on, received 8"),
    ):
        assert line in str(refused(path, **{**TABLE, "folds": 3, **more}))
    rng = np.random.RandomState(0)
    np.savez(
        tmp_path / "own.npz",
        **{f"x_{split}": rng.rand(9, 3, 2) for split in ("train", "validation", "test")},
        **{f"y_{split}": np.arange(9) % 3 for split in ("train", "validation", "test")},
    )
    assert "dataset.folds: " in (said := str(refused(tmp_path / "own.npz", folds=3))) and "has a validation set" in said


# Gaps.


def gaps() -> pd.DataFrame:
    table = frame()
    table.loc[[1, 2, 50, 299], "ax"] = np.nan
    return table


def test_gaps_are_refused_with_counts_and_a_remedy(written: Callable[..., Path]) -> None:
    said = refused(written(gaps()), **TABLE)
    assert said.exit_code == 3 and "ax 4" in str(said) and "dataset.missing=forward_fill" in str(said)


@pytest.mark.parametrize("way", ["forward_fill", "mean", "mask"])
def test_gaps_are_filled_from_the_training_split(written: Callable[..., Path], way: str) -> None:
    found = loaded(written(gaps()), **TABLE, missing=way, standardize=False, features=["ax"])
    whole = np.concatenate([found.x_train, found.x_validation, found.x_test])
    assert np.isfinite(whole).all() and found.input_shape == (5, 2 if way == "mask" else 1)
    if way == "mask":
        assert (whole[..., 1] == 0).sum() == 4
    if way == "forward_fill":  # the second and third timestep of r000 take the first
        row = whole[[np.isclose(x[0, 0], np.sin(0)) for x in whole]][0, :, 0]
        assert row[0] == row[1] == row[2] != row[3]
    assert found.reading is not None and found.reading["filling"]["way"] == way


# New files, read alike.


def test_a_new_file_is_read_as_that_of_the_training(written: Callable[..., Path], tmp_path: Path) -> None:
    found = loaded(written(gaps()), **TABLE, missing="mask", features=["ax", "side"])
    about = {"reading": found.reading, "timesteps": 5, "features": found.input_shape[1]}
    table = gaps().drop(columns="activity")
    table.loc[table["recording"] == "r005", "side"] = "above"
    new = user_files.read_alike(Source(written(table, "new.csv")), about)
    assert (
        new.x.shape == (60, 5, 4) and new.y is None and new.ids is not None and new.ids[:2].tolist() == ["r000", "r001"]
    )
    assert any("5 rows hold what the model does not know (above)" in note for note in new.notes)
    assert not new.x[5, :, 1:3].any()


# The cache.


def test_a_large_table_is_read_once(
    written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(converted, "MIN_BYTES", 0)
    path = written()
    first = loaded(path, **TABLE)
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "own.csv")
    monkeypatch.setattr("lstm_bench.data.formats.read", lambda *_: pytest.fail("it is in the cache"))
    again = loaded(moved, **TABLE)
    assert again.sha256 == first.sha256 and again.classes == first.classes
    np.testing.assert_array_equal(again.x_test, first.x_test)
    kept = sorted((tmp_path / "cache" / "lstm_bench" / "files").iterdir())
    assert len(kept) == 1 and not kept[0].name.startswith(".")


def test_the_cache_keeps_what_was_used_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: Callable[..., Path]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(converted, "MIN_BYTES", 0)
    monkeypatch.setattr(converted, "MAX_BYTES", 1)
    for n in (40, 50, 60):
        loaded(written(frame(n), f"{n}.csv"), **{**TABLE, "target": "side"})
    assert len([*(tmp_path / "cache" / "lstm_bench" / "files").iterdir()]) == 1


def test_the_digest_of_a_file_is_remembered_until_it_is_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: Callable[..., Path]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(converted, "MIN_BYTES", 0)
    monkeypatch.setattr(converted, "SETTLED_S", -3600.0)
    path, digested = written(), []
    before = Source.sha256
    monkeypatch.setattr(Source, "sha256", lambda self: digested.append(self.name) or before(self))
    first = [loaded(path, **TABLE).sha256 for _ in range(2)]
    assert len(digested) == 1 and first[0] == first[1]
    stamp = path.stat()
    changed = path.read_bytes().replace(b"walk", b"wait")  # as long as before, and with the time of then
    path.write_bytes(changed)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert loaded(path, **TABLE).classes == ("fall", "run", "wait") and len(digested) == 2
    monkeypatch.setattr(converted, "SETTLED_S", 3600.0)
    path.write_bytes(changed + b"\n")
    for n in (3, 4):
        loaded(path, **TABLE)
        assert len(digested) == n, "a file that was just written to is not remembered"


def test_a_large_file_that_changes_after_its_digest_is_not_kept_as_what_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: Callable[..., Path]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(converted, "MIN_BYTES", 0)
    path, before = written(), Source.sha256

    def digest_then_write(source: Source) -> str:
        found = before(source)
        frame(50).to_csv(path, index=False)
        return found

    monkeypatch.setattr(Source, "sha256", digest_then_write)
    assert "changed while it was read" in str(refused(path, **TABLE))


def test_how_far_a_large_table_is_read_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: Callable[..., Path]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(converted, "MIN_BYTES", 0)
    monkeypatch.setattr(progress, "EACH_S", 0.0)
    for name in ("own.csv", "own.csv.gz", "own.parquet"):
        told: list[tuple[str, float | None]] = []
        with progress.heard(lambda what, share, told=told: told.append((what, share))):
            loaded(written(name=name), **TABLE)
        shares = [share for what, share in told if what == f"reading {name}" and share is not None]
        assert shares == sorted(shares) and shares[-1] > 0.7, told
        assert (f"cutting {name} into sequences", None) in told and (f"keeping {name}", None) in told


def test_missing_labels_of_a_large_table_are_said_each_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: Callable[..., Path]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(converted, "MIN_BYTES", 0)
    for column, said in (("activity", "1 label is missing"), ("person", "1 group is missing")):
        table = frame()
        table.loc[table["recording"] == "r000", column] = None
        path = written(table, f"{column}.csv")
        for _ in range(2):
            assert said in str(refused(path, **TABLE, group="person"))


def test_a_test_set_in_small_letters_is_part_of_what_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(converted, "MIN_BYTES", 0)
    head = "@problemName own\n@timeStamps false\n@classLabel true a b\n@data\n"
    lines = [f"{i},{i + 1},{i + 2}:{'ab'[i % 2]}" for i in range(30)]
    (tmp_path / "own_train.ts").write_text(head + "\n".join(lines))
    for value in (1.0, 2.0):
        (tmp_path / "own_test.ts").write_text(head + f"{value},0,0:a\n{value},0,0:b\n")
        assert loaded(tmp_path / "own_train.ts").x_test[0, 0, 0] == value


def test_recordings_of_two_files_may_bear_the_same_names(written: Callable[..., Path]) -> None:
    train, test = written(frame(timesteps=8), "train.csv"), written(frame(12, timesteps=8), "test.csv")
    assert len(loaded(train, test_path=str(test), **{**TABLE, "target": "side"}, window=4).x_test) == 24


def test_a_class_that_looks_like_a_number_in_the_test_file_alone_is_the_same(written: Callable[..., Path]) -> None:
    train = frame()
    train["activity"] = ["a" if int(name[1:]) % 2 else "1" for name in train["recording"]]
    test = train[(train["activity"] == "1") & (train["recording"] < "r020")]
    found = loaded(written(train, "train.csv"), test_path=str(written(test, "test.csv")), **TABLE)
    assert found.classes == ("1", "a") and {*found.y_test} == {0}


def test_a_home_of_nobody_is_one_line() -> None:
    assert "there is no home folder" in str(refused("~nobody-at-all/own.csv"))


# Bad input: one line, exit 2 or 3.

HEADER = "recording,t,ax,activity\n"
ROWS = "".join(f"r{i},{t},{i}.5,{'ab'[i % 2]}\n" for i in range(20) for t in range(3))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "the file is empty"),
        (HEADER.encode(), "it holds no row"),
        ((HEADER + ROWS).replace(",", ";").encode(), "separated by a semicolon"),
        ((HEADER + ROWS).replace(",", "\t").encode(), "separated by a tab"),
        ((HEADER + ROWS).encode("utf-16"), "it is UTF-16: expected UTF-8"),
        ((HEADER + ROWS + HEADER).encode(), "row 62, column "),
        ((HEADER + ROWS + "r0,9,oops,a\nr1,9,,a\nr2,9,bad,a\n").encode(),
         "row 62, column ax: expected a number, received 'oops'. 2 such cells"),
        ((HEADER + ROWS + 'r0,9,"1,5",a\n').encode(), "Decimal commas"),
        ((HEADER + ROWS + "r0,9,1,a,extra\n").encode(), "row 62: expected 4 fields, received '5 fields'"),
        ((HEADER + ROWS.replace("\n", ",extra\n")).encode(), "row 2: expected 4 fields, received '5 fields'"),
        ((HEADER + ROWS + "r0,3,inf,a\n").encode(), "row 62, column ax: expected a finite float32 number"),
        ((HEADER + ROWS + "r0,2,1,a\n").encode(), "row 62, column t: a time stamp of recording r0 is there twice"),
        ((HEADER + ROWS).replace("r0,0,0.5,a", ",0,0.5,a").encode(), "row 2, column recording: expected the id of a sequence"),
        ((HEADER + ROWS).replace("r0,1,", "r0,soon,").encode(), "row 3, column t: expected a number, received 'soon'"),
        ((HEADER + ROWS).replace("r0,1,0.5,a", "r0,1,0.5,").encode(), "1 label is missing: expected a label for every sequence"),
        (HEADER.replace("activity", "ax").encode() + ROWS.encode(), "two columns have one name: received 'ax'"),
        (ROWS.replace("r", "").replace(",a", ",1").replace(",b", ",2").encode(), "row 1: expected names of the columns"),
    ],
)  # fmt: skip
def test_a_table_that_is_unfit_is_refused_in_one_line(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "own.csv").write_bytes(text)
    settings = {**TABLE, "target": "activity" if b"activity" in text or b"a\x00c" in text else None}
    fault = refused(tmp_path / "own.csv", **settings)
    assert said in str(fault)
    assert fault.exit_code == 3


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"target": "activty"}, 2, "dataset.target: {} has no column 'activty'. Did you mean activity?"),
        ({"id": None}, 2, "what a sequence is was not said"),
        ({"id": "activity"}, 2, "dataset.id and dataset.target are one column"),
        ({"features": ["ax", "activity"]}, 2, "dataset.features: activity is dataset.target too"),
        ({"target": None}, 2, "no target is named"),
        ({"split": "group"}, 2, "dataset.split=group: no group is named"),
        ({"split": "given"}, 2, "does not divide itself"),
        ({"stride": 2}, 2, "dataset.stride: expected null without dataset.window"),
        ({"window": 50}, 3, "no recording has 50 timesteps"),
        ({"test_size": 59}, 3, "dataset.test_size"),
        ({"validation_size": 1000}, 3, "dataset.validation_size: expected 1 to 47 of 48 sequences, received 1000"),
        ({"group": "activity"}, 2, "dataset.target and dataset.group are one column"),
        ({"target": "ay", "features": ["ax"]}, 3, "column ay changes within a sequence"),
    ],
)
def test_settings_that_do_not_fit_a_table_are_refused(
    written: Callable[..., Path], settings: dict[str, Any], code: int, said: str
) -> None:
    path = written()
    fault = refused(path, **{**TABLE, **settings})
    assert said.format(path) in str(fault) and fault.exit_code == code


def test_targets_that_look_like_something_else_are_asked_about(written: Callable[..., Path]) -> None:
    table = frame(400)
    table["activity"] = [int(name[1:]) * 3 for name in table["recording"]]
    assert "the target looks continuous" in str(refused(written(table), **TABLE))
    assert loaded(written(table), **TABLE, task="regression").task == "regression"
    table["activity"] = [float(int(name[1:]) % 2) for name in table["recording"]]
    assert "whole numbers with a decimal point" in str(refused(written(table), **TABLE))
    assert loaded(written(table), **TABLE, task="classification").n_classes == 2


def test_an_unknown_class_in_the_test_file_is_named(written: Callable[..., Path]) -> None:
    table = frame()
    other = table[table["recording"] < "r012"].copy()
    other["activity"] = other["activity"].replace("walk", "wlak")
    said = str(refused(written(), test_path=str(written(other, "other.csv")), **TABLE))
    assert "the test split has a class that the training split has not" in said and "did you mean walk?" in said


def test_a_column_without_a_value_is_named(written: Callable[..., Path]) -> None:
    table = frame()
    table["ay"] = np.nan
    assert "column ay holds no value in the training split" in str(refused(written(table), **TABLE, missing="mean"))


def test_a_nested_column_is_refused(tmp_path: Path) -> None:
    table = frame()
    table["list"] = [[1, 2]] * len(table)
    table.to_parquet(tmp_path / "own.parquet")
    assert "column list is nested" in str(refused(tmp_path / "own.parquet", **TABLE))
    assert loaded(tmp_path / "own.parquet", **TABLE, features=["ax"]).input_shape == (5, 1)


def test_a_bomb_is_refused_while_it_is_unpacked(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "own.csv.gz", "wb", compresslevel=9) as file:
        file.write((HEADER + ROWS).encode())
        for _ in range(80):
            file.write(b"0" * 2**20)
    assert "unpacks to more than it may: expected at most 64 MiB" in str(refused(tmp_path / "own.csv.gz", **TABLE))


def test_a_parquet_of_too_many_rows_is_refused_unread(
    written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(name="own.parquet")
    monkeypatch.setattr("lstm_bench.data.formats.parquet.MAX_BYTES", 300 * 5 * 8 - 1)
    said = str(refused(path, **TABLE))
    assert "300 rows of 5 columns: expected at most 0 MiB" in said and "dataset.features" in said


def test_a_file_that_is_damaged_is_said(written: Callable[..., Path], tmp_path: Path) -> None:
    path = written(name="own.csv.gz")
    whole = path.read_bytes()
    for damaged in (whole[:-20], whole[:200] + b"\xff" * 50 + whole[250:]):
        path.write_bytes(damaged)
        assert "cannot be read" in str(refused(path, **TABLE))
    (tmp_path / "own.ts").write_text("@\n")
    assert "it has no @data" in str(refused(tmp_path / "own.ts"))


def test_a_file_that_changes_while_it_is_read_is_said(written: Callable[..., Path]) -> None:
    source = Source(written())
    with pytest.raises(DataError, match="changed while it was read"), source.open() as file:
        file.read()
        os.utime(source.path, (1, 1))


def test_what_is_no_file_or_no_member_is_said(tmp_path: Path) -> None:
    assert "no such file" in str(refused(tmp_path / "none.csv"))
    assert "a folder, not a file" in str(refused(tmp_path))
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        archive.writestr("a/own.csv", HEADER + ROWS)
    assert loaded(f"{tmp_path}/own.zip!a/own.csv", **TABLE).n_classes == 2
    assert "Did you mean a/own.csv?" in str(refused(f"{tmp_path}/own.zip!a/one.csv", **TABLE))
    (tmp_path / "own.xlsx").write_bytes(b"PK")
    assert "a format that is not read" in str(refused(tmp_path / "own.xlsx"))


def test_a_plug_in_reads_a_suffix_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lstm_bench.data import formats
    from lstm_bench.data.formats import table

    class Point:
        name = "mine"

        @staticmethod
        def load() -> Any:
            return type(
                "Mine",
                (),
                {"read": staticmethod(lambda source, columns: table.read(Source(tmp_path / "own.csv"), columns))},
            )

    (tmp_path / "own.csv").write_text(HEADER + ROWS)
    (tmp_path / "own.mine").write_text("anything")
    monkeypatch.setattr(formats, "entry_points", lambda group: [Point] if group == formats.GROUP else [])
    assert loaded(tmp_path / "own.mine", **TABLE).n_classes == 2
