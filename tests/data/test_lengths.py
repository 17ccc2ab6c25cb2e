"""Sequences of unequal length: every format reads them alike, and nothing depends on the padding."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from wheels import wheel

from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import ConfigError, DataError, LstmBenchError
from lstm_bench.data import converted, dataset, inspection, lengths, shared_memory, warning
from lstm_bench.data.dataset import SPLITS, Dataset

TABLE = {"id": "recording", "time": "t", "target": "label"}


def loaded(path: object, **given: Any) -> Dataset:
    whole = {**yaml.safe_load((conf_dir() / "dataset" / "file.yaml").read_text()), "path": str(path), **given}
    return dataset.load(whole)


def refused(path: object, **given: Any) -> LstmBenchError:
    with pytest.raises((ConfigError, DataError)) as caught:
        loaded(path, **given)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    return caught.value


def drawn(n: int = 40, shortest: int = 1, longest: int = 9, features: int = 2, seed: int = 0) -> list[np.ndarray]:
    """Sequences `(its length, features)` float32, the longest and the shortest among them."""
    rng = np.random.RandomState(seed)
    sizes = [shortest, longest, *rng.randint(shortest, longest + 1, n - 2)]
    return [rng.randn(size, features).astype(np.float32) for size in sizes]


def labels(n: int) -> np.ndarray:
    return np.arange(n) % 2


def flat(path: Path, made: list[np.ndarray], y: np.ndarray, **more: np.ndarray) -> Path:
    np.savez(path, x=np.concatenate(made), y=y, lengths=[len(s) for s in made], **more)
    return path


def rectangular(path: Path, made: list[np.ndarray], y: np.ndarray, padding: Any, more: int = 0) -> Path:
    x = np.full((len(made), max(map(len, made)) + more, made[0].shape[1]), padding, np.float32)
    for place, sequence in enumerate(made):
        x[place, : len(sequence)] = sequence
    np.savez(path, x=x, y=y, lengths=[len(s) for s in made])
    return path


def table(made: list[np.ndarray], y: np.ndarray) -> pd.DataFrame:
    """A row per timestep; `y` per sequence or, as a list of arrays would be concatenated, per timestep."""
    rows = pd.DataFrame(np.concatenate(made), columns=[f"v{i}" for i in range(made[0].shape[1])])
    sizes = [len(s) for s in made]
    rows["recording"] = np.repeat([f"r{i:03d}" for i in range(len(made))], sizes)
    rows["t"] = np.concatenate([np.arange(size) for size in sizes])
    rows["n"] = np.repeat(sizes, sizes)
    rows["label"] = y if len(y) == len(rows) else np.repeat(y, sizes)
    return rows


def of_split(found: Dataset, split: str) -> list[np.ndarray]:
    """The sequences of a split without their padding, which is all zeros."""
    x, sizes = getattr(found, f"x_{split}"), found.lengths(split)
    assert sizes is not None and sizes.dtype == np.int32
    assert not x[~lengths.mask(sizes, x.shape[1])].any()
    return [row[:size] for row, size in zip(x, sizes.tolist(), strict=True)]


def same(one: Dataset, other: Dataset) -> None:
    assert one.sha256 == other.sha256
    for split in SPLITS:
        for name in ("x", "y", "lengths"):
            np.testing.assert_array_equal(getattr(one, f"{name}_{split}"), getattr(other, f"{name}_{split}"))


# What is read.


@given(
    sizes=st.lists(st.integers(1, 7), min_size=20, max_size=30),
    padding=st.sampled_from([0.0, np.nan, np.inf, -1e30, 1.5]),
    more=st.integers(0, 4),
    per_timestep=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_every_format_gives_the_same_sequences_whatever_is_in_the_padding(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], padding: float, more: int, per_timestep: bool
) -> None:
    folder = tmp_path_factory.mktemp("lengths")
    rng = np.random.RandomState(sum(sizes))
    made = [rng.randn(size, 2).astype(np.float32) for size in sizes]
    y = np.arange(sum(sizes)) % 2 if per_timestep and max(sizes) > 1 else labels(len(sizes))
    asked = {"task": "tagging"} if len(y) != len(sizes) else {}
    first = loaded(flat(folder / "flat.npz", made, y), **asked)
    padded_y = y
    if asked:
        padded_y = np.full((len(sizes), max(sizes) + more), 7)
        padded_y[lengths.mask(np.array(sizes), padded_y.shape[1])] = y
    same(loaded(rectangular(folder / "rectangular.npz", made, padded_y, padding, more), **asked), first)
    rows = table(made, y)
    rows["label"] = rows["label"].astype(np.int64)
    rows.sample(frac=1, random_state=0).to_csv(folder / "own.csv", index=False)
    again = loaded(folder / "own.csv", **TABLE, features=["v0", "v1"], **asked)
    for split in SPLITS:
        np.testing.assert_array_equal(getattr(again, f"x_{split}"), getattr(first, f"x_{split}"))
        np.testing.assert_array_equal(getattr(again, f"y_{split}"), getattr(first, f"y_{split}"))
        np.testing.assert_array_equal(again.lengths(split), first.lengths(split))
    if len(set(sizes)) == 1:
        assert first.lengths_train is None and first.input_shape == (sizes[0], 2)
    else:
        whole = [sequence for split in SPLITS for sequence in of_split(first, split)]
        assert sorted(map(len, whole)) == sorted(sizes)
        assert {s.tobytes() for s in whole} == {s.tobytes() for s in made}


@pytest.mark.parametrize(
    ("pinned", "name", "sizes", "features", "classes", "shortest", "longest"),
    [
        ("sktime==1.2.0", "JapaneseVowels", (270, 370), 12, 9, 7, 29),
        ("sktime==1.2.0", "PLAID", (537, 537), 1, 11, 100, 1344),
        ("aeon==1.6.0", "PickupGestureWiimoteZ", (50, 50), 1, 10, 29, 361),
    ],
)
def test_archives_of_unequal_lengths_have_their_published_counts(
    pinned: str, name: str, sizes: tuple[int, int], features: int, classes: int, shortest: int, longest: int
) -> None:
    member = f"{pinned.partition('=')[0]}/datasets/data/{name}/{name}_TRAIN.ts"
    found = loaded(f"{wheel(pinned)}!{member}", validation_size=0.3)
    assert (len(found.x_train) + len(found.x_validation), len(found.x_test)) == sizes
    assert found.input_shape == (longest, features) and found.n_classes == classes
    facts = found.length_facts()
    assert (facts["min"], facts["max"]) == (shortest, longest) and 0 < facts["padding"] < 1
    assert any(f"{shortest} to {longest:,} timesteps, median" in note for note in found.notes)


def test_sequences_of_one_length_need_no_mask_and_keep_their_digest(tmp_path: Path) -> None:
    made = drawn(shortest=4, longest=4)
    np.savez(tmp_path / "plain.npz", x=np.stack(made), y=labels(40))
    plain = loaded(tmp_path / "plain.npz")
    for other in (
        loaded(flat(tmp_path / "flat.npz", made, labels(40))),
        loaded(rectangular(tmp_path / "padded.npz", made, labels(40), np.nan, 3)),
    ):
        same(other, plain)
        assert other.lengths_train is None and other.length_facts() == {}
        assert other.reading is not None and "unequal" not in other.reading


def test_a_divided_npz_has_lengths_of_every_split(tmp_path: Path) -> None:
    train, test = drawn(longest=5), drawn(12, longest=8, seed=1)
    x = np.full((12, 9, 2), np.nan, np.float32)
    for place, sequence in enumerate(test):
        x[place, : len(sequence)] = sequence
    arrays = {"x_train": np.concatenate(train), "lengths_train": [len(s) for s in train], "y_train": labels(40)}
    arrays |= {"x_test": x, "lengths_test": [len(s) for s in test], "y_test": labels(12)}
    np.savez(tmp_path / "own.npz", **arrays)
    found = loaded(tmp_path / "own.npz")
    assert found.input_shape == (8, 2)
    for sequence, raw in zip(of_split(found, "test"), test, strict=True):
        np.testing.assert_array_equal(sequence, raw)
    arrays.pop("lengths_test")
    np.savez(tmp_path / "half.npz", **arrays)
    assert "lengths_test is missing" in str(refused(tmp_path / "half.npz"))


def test_a_wide_table_is_padded_only_where_it_says_so(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    wide = pd.DataFrame(rng.rand(40, 6), columns=[f"v{i}" for i in range(6)])
    wide["n"], wide["label"] = np.arange(40) % 4 + 3, labels(40)
    wide.iloc[np.flatnonzero(wide["n"] == 3), 3:6] = np.nan
    wide.to_csv(tmp_path / "wide.csv", index=False)
    found = loaded(tmp_path / "wide.csv", layout="wide", target="label", lengths="n")
    assert found.input_shape == (6, 1) and {len(s) for s in of_split(found, "train")} == {3, 4, 5, 6}
    settings = {"layout": "wide", "target": "label"}
    assert "values are missing" in str(refused(tmp_path / "wide.csv", **settings, features=[f"v{i}" for i in range(6)]))
    wide.loc[7, "n"] = 7
    wide.to_csv(tmp_path / "wrong.csv", index=False)
    said = str(refused(tmp_path / "wrong.csv", **settings, lengths="n"))
    assert (
        "column n: expected whole numbers from 1 to 6, the timesteps that there are, received '7 for sequence 7'"
        in said
    )


def test_two_files_may_have_other_lengths(tmp_path: Path) -> None:
    for name, longest in (("train", 5), ("test", 8)):
        table(drawn(longest=longest), labels(40)).to_csv(tmp_path / f"{name}.csv", index=False)
    found = loaded(tmp_path / "train.csv", test_path=str(tmp_path / "test.csv"), **TABLE, lengths="n")
    assert found.input_shape == (8, 2) and found.lengths_train is not None and found.lengths_train.max() == 5
    for name, longest in (("five", 5), ("eight", 8)):
        table(drawn(shortest=longest, longest=longest), labels(40)).to_csv(tmp_path / f"{name}.csv", index=False)
    found = loaded(tmp_path / "five.csv", test_path=str(tmp_path / "eight.csv"), **TABLE, lengths="n")
    assert (
        found.lengths_train is not None
        and {*found.lengths_train} == {5}
        and found.lengths_test is not None
        and {*found.lengths_test} == {8}
    )


# Cut and left out.


@pytest.mark.parametrize("end", ["start", "end"])
def test_max_length_cuts_the_end_that_is_named_and_counts(tmp_path: Path, end: str) -> None:
    made = drawn()
    path = flat(tmp_path / "own.npz", made, labels(40))
    found = loaded(path, max_length=4, min_length=2, truncate=end)
    kept = {s[-4:].tobytes() if end == "start" else s[:4].tobytes() for s in made if len(s) > 1}
    assert {s.tobytes() for split in SPLITS for s in of_split(found, split)} == kept
    cut, dropped = sum(len(s) > 4 for s in made), sum(len(s) < 2 for s in made)
    assert {name: found.length_facts()[name] for name in ("cut", "dropped", "max")} == {
        **{"cut": cut, "dropped": dropped, "max": 4}
    }
    assert f"{cut} of 40 sequences are longer than dataset.max_length=4: their {end} is cut off" in found.notes
    assert f"{dropped} of 40 sequences are shorter than dataset.min_length=2 and left out" in found.notes
    assert found.sha256 != loaded(path).sha256


def test_arrays_of_one_length_are_cut_too(tmp_path: Path) -> None:
    x = np.arange(40 * 6, dtype=np.float32).reshape(40, 6, 1)
    np.savez(tmp_path / "own.npz", x=x, y=labels(40))
    found = loaded(tmp_path / "own.npz", max_length=4, truncate="start", standardize=False)
    assert found.input_shape == (4, 1) and found.lengths_train is None
    assert found.x_train[0, 0, 0] % 6 == 2 and found.length_facts()["cut"] == 40


def test_labels_per_timestep_are_cut_as_their_sequences(tmp_path: Path) -> None:
    made = [np.arange(n, dtype=np.float32)[:, None] for n in (3, 9, 5, 7, 6) * 8]
    y = np.concatenate([np.arange(len(s)) % 3 for s in made])
    found = loaded(flat(tmp_path / "own.npz", made, y), max_length=5, truncate="start", standardize=False)
    assert found.task == "tagging" and found.lengths_train is not None
    for x, labelled, n in zip(found.x_train, found.y_train, found.lengths_train.tolist(), strict=True):
        np.testing.assert_array_equal(labelled[:n], x[:n, 0] % 3)
        assert not labelled[n:].any()


# Nothing is computed from the padding.


def test_scales_gaps_and_classes_are_those_of_true_timesteps(tmp_path: Path) -> None:
    made = drawn(longest=12)
    for sequence in made:
        sequence[:, 1] *= 100
    made[1][4:6, 0] = np.nan
    y = np.concatenate([np.arange(len(s)) % 2 + 1 for s in made])  # 0 is no class, but the padding
    found = loaded(flat(tmp_path / "own.npz", made, y), missing="mask")
    assert found.classes == ("1", "2") and found.input_shape == (12, 3)
    train = np.concatenate(of_split(found, "train"))
    np.testing.assert_allclose(train.mean(axis=0)[:2], 0, atol=1e-5)
    np.testing.assert_allclose(train.std(axis=0)[:2], 1, atol=1e-5)
    counted = {split: found.labels(split) for split in SPLITS}
    assert sum(map(len, counted.values())) == len(y) and found.label_mask("test") is not None
    counts = inspection.class_counts(found)
    assert sum(of[split] for of in counts.values() for split in SPLITS) == len(y)
    most = found.kind.trivial(counted["train"], counted["test"])["test_accuracy"]
    assert most == max(np.bincount(counted["test"])) / len(counted["test"]) or found.baselines
    listed = {column.name: column for column in inspection.columns(found, {"name": "file"})}
    raw = np.concatenate(made)[:, 1]
    assert listed["feature 0"].missing == 2 and abs(listed["feature 1"].mean - raw.mean()) < 30
    assert not any("has one value" in said for said in warning.warnings(found, {"name": "file"}))


def test_missing_values_before_the_end_are_refused_and_those_behind_it_are_none(tmp_path: Path) -> None:
    made = drawn()
    assert loaded(rectangular(tmp_path / "good.npz", made, labels(40), np.nan)).n_classes == 2
    made[1][2, 0] = np.nan
    said = str(refused(rectangular(tmp_path / "bad.npz", made, labels(40), np.nan)))
    total = sum(map(len, made))
    assert "values are missing" in said and f"a number in each of {total} rows" in said and "feature 0 1" in said
    assert np.isfinite(loaded(tmp_path / "bad.npz", missing="forward_fill").x_train).all()


def test_a_sequence_is_no_repeat_of_a_longer_one_with_zeros(tmp_path: Path) -> None:
    made = [*drawn(38), np.ones((3, 2), np.float32), np.r_[np.ones((3, 2)), np.zeros((2, 2))].astype(np.float32)]
    assert "repeat" not in " ".join(loaded(flat(tmp_path / "own.npz", made, labels(40))).notes)
    warned = warning.warnings(loaded(tmp_path / "own.npz"), {"name": "file"})
    assert not any("value for value" in said for said in warned)


def test_a_length_that_tells_the_class_is_a_warning(tmp_path: Path) -> None:
    made = [np.random.RandomState(i).randn(4 + 3 * (i % 2), 2).astype(np.float32) for i in range(80)]
    found = loaded(flat(tmp_path / "own.npz", made, labels(80)))
    (said,) = [said for said in warning.warnings(found, {"name": "file"}) if "length alone" in said]
    assert "tells 100.0 % of the classes" in said


# On the way to the workers, and from the cache.


def test_lengths_reach_a_worker_through_shared_memory(tmp_path: Path) -> None:
    config = {"path": "own.npz"}
    found = loaded(flat(tmp_path / "own.npz", drawn(), labels(40)))
    shared = shared_memory.SharedDataset()
    assert shared.fd is not None
    shared.store(found, config)
    there = shared_memory.load(shared.fd, config)
    assert there is not None
    for other in (there, pickle.loads(pickle.dumps(found))):  # noqa: S301 (as a cluster has it)
        same(other, found)
        assert other.length_facts() == found.length_facts()
    shared.close()


def test_lengths_are_kept_with_the_converted_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(converted, "MIN_BYTES", 0)
    table(drawn(), labels(40)).to_csv(tmp_path / "own.csv", index=False)
    settings = {**TABLE, "lengths": "n", "max_length": 5, "truncate": "end"}
    first = loaded(tmp_path / "own.csv", **settings)
    monkeypatch.setattr("lstm_bench.data.formats.read", lambda *_: pytest.fail("it is in the cache"))
    again = loaded(tmp_path / "own.csv", **settings)
    same(again, first)
    assert again.length_facts() == first.length_facts() and again.notes == first.notes


def test_a_smaller_training_split_needs_no_more_padding_than_it_has(tmp_path: Path) -> None:
    made = [np.ones((3, 1), np.float32)] * 60
    made = [s * i for i, s in enumerate(made)] + [np.ones((9, 1), np.float32), np.ones((8, 1), np.float32)]
    arrays = {"x_train": np.concatenate(made), "lengths_train": [len(s) for s in made], "y_train": labels(62)}
    arrays |= {"x_test": np.ones((12, 3, 1)), "lengths_test": np.full(12, 3), "y_test": labels(12)}
    np.savez(tmp_path / "own.npz", **arrays)
    seen = {loaded(tmp_path / "own.npz", train_size=4, split_seed=seed).input_shape[0] for seed in range(8)}
    assert 3 in seen
    for seed in range(8):
        found = loaded(tmp_path / "own.npz", train_size=4, split_seed=seed)
        assert (found.lengths_train is None) == (found.input_shape[0] == 3)


# Bad input.

X = np.ones((20, 5, 2), np.float32)
GOOD = np.full(20, 4)


def with_length(value: Any) -> np.ndarray:
    made = np.full(20, 4, np.asarray(value).dtype)
    made[7] = value
    return made


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"lengths": with_length(0)}, "expected whole numbers from 1 to 5, the timesteps that there are, received '0 for"),
        ({"lengths": with_length(-3)}, "received '-3 for sequence 7'"),
        ({"lengths": with_length(6)}, "received '6 for sequence 7'"),
        ({"lengths": with_length(2.5)}, "received '2.5 for sequence 7'"),
        ({"lengths": with_length(np.nan)}, "received 'nan for sequence 7'"),
        ({"lengths": with_length(1e300)}, "expected whole numbers from 1 to 5"),
        ({"lengths": GOOD.astype(str)}, "lengths: expected whole numbers, received 'type <U"),
        ({"lengths": GOOD > 1}, "lengths: expected whole numbers, received 'type bool'"),
        ({"lengths": GOOD[:-1]}, "lengths: expected 20 lengths, one per sequence, received 'shape (19,)'"),
        ({"lengths": GOOD[:, None]}, "lengths: expected 20 lengths, one per sequence, received 'shape (20, 1)'"),
        ({"lengths": np.int64(4)}, "lengths: expected 20 lengths, one per sequence"),
        ({"x": X.reshape(100, 2), "lengths": GOOD}, "lengths: expected a sum of 100, the rows of x, received '80'"),
        ({"x": X.reshape(100, 2), "lengths": with_length(0)}, "expected whole numbers of at least 1, received '0 for"),
        ({"x": X[:, :, 0], "lengths": GOOD}, "Padded sequences of one feature: x[..., None]."),
        ({"x": X.ravel(), "lengths": GOOD}, "One feature: x[:, None]."),
        ({"x": X[:, :0], "lengths": GOOD}, "a shape with at least one sample, timestep and feature"),
        ({"x": X[:0, 0], "lengths": GOOD}, "expected with lengths shape (samples, timesteps, features)"),
        ({"lengths": GOOD, "y": labels(19)}, "y: expected as many labels as x has samples, 20, received (19,)"),
        ({"lengths": GOOD, "groups": np.arange(19)}, "groups: expected 20, one per sequence, received 'shape (19,)'"),
        ({"x": X.reshape(100, 2), "lengths": np.full(20, 5), "y": labels(99)}, "y: expected 20 labels, one per sequence"),
        ({"y": labels(19)}, "y: expected as many labels as x has samples, 20, received (19,)"),
        ({"y": np.int64(1)}, "y: expected as many labels as x has samples, 20, received ()"),
        ({"groups": np.arange(19)}, "groups: expected 20, one per sequence, received 'shape (19,)'"),
        ({"groups": np.ones((20, 1))}, "groups: expected 20, one per sequence, received 'shape (20, 1)'"),
    ],
)  # fmt: skip
def test_lengths_that_do_not_fit_are_refused_in_one_line(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "own.npz", **{"x": X, "y": labels(20), **arrays})
    fault = refused(tmp_path / "own.npz")
    assert said in str(fault) and fault.exit_code == 3


def test_a_label_per_timestep_is_no_class_of_a_sequence(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x=X, y=np.ones((20, 5), int), lengths=GOOD)
    said = str(refused(tmp_path / "own.npz", task="classification"))
    assert "the target: expected shape (samples,), received (20, 4)" in said and "dataset.task=tagging" in said


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"max_length": 4}, 3, "sequences are longer than dataset.max_length: expected at most 4 timesteps, received 9"),
        ({"min_length": 10}, 3, "no sequence has 10 timesteps: expected dataset.min_length of at most 9"),
        ({"max_length": 3, "min_length": 4, "truncate": "end"}, 2, "dataset.min_length: expected at most dataset.max_length, 3"),
        ({"truncate": "end"}, 2, "dataset.truncate: expected refuse without dataset.max_length"),
        ({"window": 3, "max_length": 3}, 2, "dataset.max_length: expected null with dataset.window"),
        ({"lengths": "label"}, 2, "dataset.target and dataset.lengths are one column"),
        ({"lengths": "m"}, 2, "has no column 'm'"),
        ({"lengths": "v0"}, 3, "column v0 disagrees with the rows: expected 1, the rows of sequence 0"),
    ],
)  # fmt: skip
def test_settings_of_lengths_that_do_not_fit_are_refused(
    tmp_path: Path, settings: dict[str, Any], code: int, said: str
) -> None:
    table(drawn(), labels(40)).to_csv(tmp_path / "own.csv", index=False)
    fault = refused(tmp_path / "own.csv", **{**TABLE, **settings})
    assert said in str(fault) and fault.exit_code == code


def test_a_column_of_lengths_that_disagrees_with_the_rows_is_refused(tmp_path: Path) -> None:
    rows = table(drawn(), labels(40)).drop(index=20)
    rows.to_csv(tmp_path / "own.csv", index=False)
    said = refused(tmp_path / "own.csv", **TABLE, lengths="n")
    assert "column n disagrees with the rows: expected" in str(said) and said.exit_code == 3
    assert loaded(tmp_path / "own.csv", **TABLE, features=["v0", "v1"]).lengths_train is not None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("1,2:3,4:a\n1,2:3:b", "row 5: expected as many timesteps of every feature, received '1 and 2'"),
        ("1,2:3,4:a\n1,2:b", "row 5: expected 2 features, as the first sequence has, received '2 of 1'"),
        ("1,2:3,4:a\n::b", "row 5: expected at least one timestep, received 'none'"),
        (
            "@equal\n1,2:3,4:a\n1:3:b",
            "expected 2 timesteps of 2 features, as the first sequence has, received '1 of 2'",
        ),
    ],
)
def test_a_ts_file_whose_features_disagree_is_refused(tmp_path: Path, data: str, said: str) -> None:
    head = "@problemName own\n" + ("@equalLength true\n" if data.startswith("@equal") else "")
    (tmp_path / "own.ts").write_text(head + "@classLabel true a b\n@data\n" + data.removeprefix("@equal\n"))
    fault = refused(tmp_path / "own.ts")
    assert said in str(fault) and fault.exit_code == 3


def test_padding_that_no_machine_holds_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = flat(tmp_path / "own.npz", drawn(), labels(40))
    monkeypatch.setattr(lengths, "MAX_BYTES", 40 * 9 * 2 * 4 - 1)
    said = refused(path)
    assert "40 sequences padded to 9 timesteps: expected at most 0 MiB" in str(said) and said.exit_code == 3
    assert loaded(path, max_length=5, truncate="end").input_shape == (5, 2)


def test_an_npz_of_two_shapes_without_lengths_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x_train=X, y_train=labels(20), x_test=X[:, :3], y_test=labels(20))
    assert "expected as many, or lengths_train and so on" in str(refused(tmp_path / "own.npz"))
