"""Generated problems: what they ask for, that they come again, and their closed-form baselines against simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import yaml

from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import ConfigError
from lstm_bench.data import dataset, synthetic
from lstm_bench.data.settings import check

SPLITS = ("train", "validation", "test")


def settings(name: str, **changes: Any) -> dict[str, Any]:
    sizes = {"length": 20, "train_size": 300, "validation_size": 100, "test_size": 200}
    return {**yaml.safe_load((conf_dir() / "dataset" / f"{name}.yaml").read_text()), **sizes, **changes}


def refused(name: str, **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check(settings(name, **changes))
    return str(caught.value)


@pytest.mark.parametrize("length", [2, 3, 50, 51])
def test_the_target_of_adding_is_the_sum_of_the_two_marked_values(length: int) -> None:
    x, y = synthetic.adding(500, length, np.random.RandomState(0))
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((500, length, 2), np.float32, (500,), np.float32)
    values, marks = x[..., 0], x[..., 1]
    assert values.min() >= 0 and values.max() < 1
    assert set(np.unique(marks)) <= {0, 1}
    half = length // 2
    assert (marks[:, :half].sum(axis=1) == 1).all() and (marks[:, half:].sum(axis=1) == 1).all()
    np.testing.assert_allclose((values * marks).sum(axis=1), y, rtol=1e-6)
    assert (marks.sum(axis=0) > 0).all()  # every timestep is marked in some sample


@pytest.mark.parametrize("length", [1, 2, 30])
def test_the_target_of_copying_is_the_first_ten_symbols_at_the_end(length: int) -> None:
    x, y = synthetic.copying(400, length, np.random.RandomState(0))
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((400, length + 20, 10), np.uint8, (400, length + 20), np.int32)
    assert (x.sum(axis=2) == 1).all()
    shown = x.argmax(axis=2)
    assert sorted(np.unique(shown[:, :10])) == list(range(8))
    np.testing.assert_array_equal(y[:, -10:], shown[:, :10])
    assert (y[:, :-10] == synthetic.BLANK).all()
    assert (shown[:, 10 + length - 1] == synthetic.DELIMITER).all()  # ten timesteps before the end
    assert (np.delete(shown[:, 10:], length - 1, axis=1) == synthetic.BLANK).all()


def test_always_predicting_one_has_the_closed_form_error() -> None:
    _, y = synthetic.adding(200_000, 10, np.random.RandomState(0))
    simulated = np.square(y.astype(np.float64) - 1).mean()
    assert synthetic.baselines("adding", 10) == {"always predicting 1": pytest.approx(1 / 6)}
    assert simulated == pytest.approx(1 / 6, rel=0.02)
    constants = [np.square(y.astype(np.float64) - c).mean() for c in (0.9, 1.1)]
    assert min(constants) > simulated  # no other constant is better


@pytest.mark.parametrize("length", [5, 100])
def test_remembering_nothing_has_the_closed_form_cross_entropy(length: int) -> None:
    _, y = synthetic.copying(1000, length, np.random.RandomState(0))
    probability = np.zeros((length + 20, 9))
    probability[:-10, synthetic.BLANK] = 1
    probability[-10:, : synthetic.SYMBOLS] = 1 / 8
    chosen = probability[np.arange(length + 20), y]
    (baseline,) = synthetic.baselines("copy", length).values()
    assert -np.log(chosen).mean() == pytest.approx(baseline)
    assert baseline == pytest.approx(10 * math.log(8) / (length + 20))


@pytest.mark.parametrize(
    ("name", "task", "outputs", "steps"), [("adding", "regression", 1, 20), ("copy", "tagging", 9, 40)]
)
def test_a_generated_dataset_has_the_sizes_asked_for(name: str, task: str, outputs: int, steps: int) -> None:
    got = dataset.load(settings(name))
    assert [len(getattr(got, f"x_{split}")) for split in SPLITS] == [300, 100, 200]
    assert (got.name, got.task, got.n_classes, got.input_shape[0]) == (name, task, outputs, steps)
    assert {getattr(got, f"x_{split}").dtype for split in SPLITS} == {np.dtype(np.float32)}
    assert got.per_timestep is (name == "copy")
    assert got.source == "generated, seed 0"
    assert got.baselines == synthetic.baselines(name, 20)


@pytest.mark.parametrize("name", sorted(synthetic.MAKERS))
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(name: str) -> None:
    first, again, other = (dataset.load(settings(name, split_seed=seed)) for seed in (3, 3, 4))
    for split in SPLITS:
        for axis in "xy":
            key = f"{axis}_{split}"
            assert getattr(first, key).tobytes() == getattr(again, key).tobytes()
            assert getattr(first, key).tobytes() != getattr(other, key).tobytes()
    assert first.sha256 == again.sha256 != other.sha256


@pytest.mark.parametrize("name", sorted(synthetic.MAKERS))
def test_splits_are_disjoint_and_none_depends_on_another_s_size(name: str) -> None:
    got, larger = dataset.load(settings(name)), dataset.load(settings(name, train_size=400))
    seen = [{row.tobytes() for row in getattr(got, f"x_{split}")} for split in SPLITS]
    assert [len(rows) for rows in seen] == [300, 100, 200]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    np.testing.assert_array_equal(got.x_validation, larger.x_validation)
    np.testing.assert_array_equal(got.x_test, larger.x_test)


def test_generated_samples_are_the_same_for_ever() -> None:
    assert dataset.load(settings("adding")).sha256 == "62e1ad96fe48353238d9c3e0f59ef1d2db9c4f79ce236ca98205d101d9015dbd"
    assert dataset.load(settings("copy")).sha256 == "1ec0c395833a0fb35449b920306eb7ab79a3eb289cc031635651852e61a44fbe"


def test_settings_that_a_generated_dataset_cannot_mean_are_refused() -> None:
    for key in ("train_size", "validation_size", "test_size"):
        for value in (None, 0.5, 0, "all"):
            assert refused("adding", **{key: value}).startswith(f"dataset.{key}: expected a count of at least 1, which")
    assert refused("adding", length=1) == "dataset.length: expected a whole number of at least 2, received 1"
    assert refused("copy", length=0) == "dataset.length: expected a whole number of at least 1, received 0"
    assert refused("copy", length=None) == "dataset.length: expected a whole number of at least 1"
    assert refused("copy", dir="x").startswith("dataset.dir: expected null, because only dataset=smnist,psmnist,mnist")
    assert refused("copy", permutation_seed=1).startswith("dataset.permutation_seed: expected null, because only")
