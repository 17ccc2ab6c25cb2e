"""The leak meter: what it measures where there is a leak and where there is none, and what it finds by sight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lstm_bench.core.errors import StorageError
from lstm_bench.data.task import CLASSIFICATION, REGRESSION
from lstm_bench.doctor import inventory
from lstm_bench.study import leak_findings, leak_rows, leakage
from lstm_bench.study.pool import Pool


def noise(n: int = 90, timesteps: int = 20, features: int = 1, seed: int = 0) -> Pool:
    """Labels that nothing tells, groups that mean nothing, splits drawn at random."""
    rng = np.random.RandomState(seed)
    x = rng.randn(n, timesteps, features).astype(np.float32)
    split = rng.choice(3, n, p=[0.7, 0.1, 0.2])
    return Pool(x, rng.randint(0, 2, n), 2, rng.randint(0, 9, n), split=split, row=np.arange(n))


def people(pool: Pool) -> Pool:
    """Each group has ways of its own and one class: known groups are known, others are guessed."""
    assert pool.groups is not None
    ways = 3 * np.random.RandomState(1).randn(9, *pool.x.shape[1:])
    return pool._replace(x=(pool.x + ways[pool.groups]).astype(np.float32), y=pool.groups % 2)


def test_groups_that_mean_nothing_raise_no_alarm() -> None:
    found = leakage.measure(noise(), "group", 3)
    assert found.low < 0 < found.high and not found.alarm
    assert "no more than chance does" in leak_rows.of_measured(found, CLASSIFICATION, 3)["says"]


def test_people_of_one_class_raise_an_alarm_with_both_readings() -> None:
    found = leakage.measure(people(noise()), "group", 3)
    assert found.random > 0.9 and found.apart < 0.8 and found.alarm and found.units == 9
    row = leak_rows.of_measured(found, CLASSIFICATION, 3)
    assert row["says"].startswith("under the random split the accuracy of a small model is ")
    assert (
        row["says"].endswith("9 groups): leakage, or a harder task; your use decides.")
        and "points higher" in row["says"]
    )


def test_what_drifts_in_time_is_foretold_by_its_neighbours_alone() -> None:
    rng = np.random.RandomState(0)
    drift = np.cumsum(rng.randn(120))
    x = (drift[:, None, None] + rng.randn(120, 12, 1)).astype(np.float32)
    times = np.arange(120.0)
    pool = Pool(x, drift + 0.1 * rng.randn(120), 0, first=times, last=times + 0.5)
    found = leakage.measure(pool._replace(y=np.sin(times / 4), x=x + np.float32(0)), "time", 1)
    assert found.by == "time" and found.units > 6
    assert "R2" in leak_rows.of_measured(found, REGRESSION, 1)["says"]
    # All that a fold learns from lies before what it is tested on.
    for train, test in leakage._in_time(pool):
        assert times[train].max() + 0.5 < times[test].min() and len(test) >= 11


def test_random_splits_have_the_sizes_and_classes_of_those_by_group() -> None:
    pool = people(noise())
    places = leakage._shuffle(pool.y, np.random.RandomState(0))
    assert np.array_equal(pool.y[places], pool.y) and not np.array_equal(places, np.arange(len(places)))
    for train, test in leakage._plan(pool, "group", 0, pool.y):
        assert pool.groups is not None
        assert not {*pool.groups[train].tolist()} & {*pool.groups[test].tolist()}


def alarms(pool: Pool) -> list[str]:
    return [finding.what for finding in leak_findings.findings(pool) if finding.alarm]


def test_nothing_is_found_in_noise() -> None:
    assert leak_findings.findings(noise(features=3)) == []


@pytest.mark.parametrize(("noisy", "what"), [(0.0, "exact duplicates"), (0.01, "near duplicates")])
def test_copies_across_splits_are_found(noisy: float, what: str) -> None:
    pool = noise()
    assert pool.split is not None
    held_out, train = np.flatnonzero(pool.split > 0)[:5], np.flatnonzero(pool.split == 0)[:5]
    pool.x[held_out] = pool.x[train] + noisy * np.random.RandomState(2).randn(5, *pool.x.shape[1:])
    (found,) = leak_findings.findings(pool)
    assert (found.what, found.n) == (what, 5)
    assert len({*leak_findings.components(len(pool.x), leak_findings.near(pool)).tolist()}) == len(pool.x) - 5


@pytest.mark.parametrize("timed", [True, False])
def test_windows_that_overlap_across_splits_are_found(timed: bool) -> None:
    whole = np.random.RandomState(0).randn(10 * 40 + 20, 1).astype(np.float32)
    starts = np.arange(0, 400, 10)
    pool = noise(40)._replace(x=np.stack([whole[start : start + 20] for start in starts]))
    if timed:
        pool = pool._replace(first=starts.astype(float), last=starts + 19.0, recording=np.zeros(40, int))
    assert alarms(pool) == ["overlapping windows"]
    apart = pool.take(np.arange(0, 40, 2))
    assert alarms(apart) == []


def with_column(pool: Pool, column: np.ndarray) -> Pool:
    made = np.broadcast_to(column.reshape(len(column), -1), pool.x.shape[:2])
    return pool._replace(x=np.concatenate([pool.x, made[..., None].astype(np.float32)], axis=2))


def test_a_feature_that_is_the_target_is_found() -> None:
    pool = noise()
    assert alarms(with_column(pool, np.where(pool.y, 7.5, -1.0))) == ["a feature is the target"]
    last = np.random.RandomState(3).randn(90, 20)
    last[:, -1] = pool.y
    (found,) = leak_findings.findings(with_column(pool, last))
    assert "its last value is the class" in found.says
    numbers = pool._replace(y=np.random.RandomState(4).randn(90), n_classes=0)
    assert alarms(with_column(numbers, 3 - 2 * numbers.y)) == ["a feature is the target"]


def test_a_row_number_that_foretells_the_class_is_found_and_one_that_does_not_is_not() -> None:
    pool = noise()
    assert alarms(with_column(pool, np.arange(90.0))) == []
    ordered = pool.take(np.argsort(pool.y, kind="stable"))._replace(row=np.arange(90))
    (note,) = leak_findings.findings(ordered)
    assert (note.what, note.alarm) == ("sorted by class", False)
    assert alarms(with_column(ordered, np.arange(90.0))) == ["an id predicts the class"]
    known = people(pool)
    assert known.groups is not None
    assert alarms(with_column(known, known.groups.astype(float))) == ["an id predicts the class"]


def test_rows_about_the_same_data_are_replaced_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / leak_rows.FILE
    finding = leak_findings.Finding("near duplicates", "two are alike, nearly", n=2)
    for data, digest in (("one", "a1"), ("other", "b2"), ("one", "a1")):
        leak_rows.write(path, data, digest, [leak_rows.of_finding(finding)])
    assert [row["n"] for row in leak_rows.read(path, "a1")] == ["2"]
    assert len(leak_rows.read(path, "b2")) == 1 and leak_rows.read(tmp_path / "none.csv", "a1") == []
    whole = path.read_bytes()
    for damaged in (whole[:-3], b"\xff\xfe" + whole, whole.replace(b"sha256", b"sha512"), whole + b"1," * 40 + b"\n"):
        path.write_bytes(damaged)
        assert leak_rows.read(path, "b2") == [] and inventory.leaks(path)[0].fault is not None
        with pytest.raises(StorageError, match="leak writes it anew"):
            leak_rows.write(path, "mine", "c3", [])
    path.write_bytes(whole)
    (found,) = inventory.leaks(path)
    assert found.fault is None and found.said.startswith("2 datasets, ")
    assert inventory.leaks(tmp_path / "none.csv") == []
