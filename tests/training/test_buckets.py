"""Buckets: every sample once, few shapes, little padding, and the same for a member of a pack as for its solo run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_bench.training import buckets


def steps_of(lengths: np.ndarray, batch_size: int, timesteps: tuple[int, ...]) -> int:
    """Timesteps of an epoch's steps: each bucket has what is no longer, less what went before, in whole buckets."""
    done = [int((lengths <= bucket).sum()) // batch_size for bucket in (0, *timesteps)]
    return sum(bucket * (n - before) for bucket, before, n in zip(timesteps, done, done[1:], strict=False))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=4, max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_the_buckets_are_those_with_the_fewest_timesteps(sizes: list[int], batch_size: int, most: int) -> None:
    lengths = np.array(sizes)
    found = buckets.edges(lengths, batch_size, most)
    assert found[-1] == max(sizes) and sorted(set(found)) == list(found) and len(found) <= most
    shorter = sorted(set(sizes) - {max(sizes)})
    choices = (c for n in range(most) for c in itertools.combinations(shorter, n))
    least = min(steps_of(lengths, batch_size, (*choice, max(sizes))) for choice in choices)
    assert steps_of(lengths, batch_size, found) == least


def test_no_more_buckets_than_save_something() -> None:
    lengths = np.array([10] * 50 + [20] * 50 + [21] * 50)
    assert buckets.edges(lengths, 10, 6) == (10, 20, 21)
    assert buckets.edges(lengths, 10, 6, near=0.05) == (10, 21)
    assert buckets.planned({}, lengths, 30, 10) == (10, 21)
    assert buckets.planned({"buckets": 3}, lengths, 30, 10) == (10, 20, 21)
    assert buckets.planned({"buckets": 1}, lengths, 30, 10) == (30,)
    assert buckets.planned({"buckets": 3}, None, 30, 10) == ()


def epoch(made: buckets.Buckets, number: int, *seeds: int, most: int = 50) -> list[tuple[np.ndarray, int]]:
    return list(made.epoch(number, [np.random.default_rng(seed) for seed in seeds], most))


@pytest.mark.parametrize(("n", "batch_size"), [(103, 8), (64, 64), (70, 64), (5, 1)])
def test_an_epoch_has_every_sample_once_but_for_the_few_left_over(n: int, batch_size: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 40, n)
    timesteps = buckets.planned({}, lengths, 40, batch_size)
    made = buckets.Buckets(lengths, batch_size, timesteps, 0)
    parts = epoch(made, 1, 3)
    rows = np.concatenate([rows for rows, _ in parts])
    assert rows.shape == (n // batch_size, 1, batch_size)
    assert len(set(rows.ravel().tolist())) == rows.size
    for some, padded_to in parts:
        assert lengths[some].max() <= padded_to and padded_to in timesteps
    shares = np.bincount(
        np.searchsorted(timesteps, lengths[made.sample(4 * len(rows), np.random.default_rng(1))].max(1))
    )
    assert len(shares) <= len(timesteps) and shares.sum() == 4 * len(rows)


def test_long_and_short_sequences_are_left_over_equally_often() -> None:
    lengths = np.array([3] * 25 + [9] * 25)
    made, order, seen = buckets.Buckets(lengths, 8, (3, 9), 0), np.random.default_rng(0), np.zeros(50)
    for number in range(1, 401):
        for rows, _ in made.epoch(number, [order], 50):
            np.add.at(seen, rows.ravel(), 1)
    assert seen[:25].mean() == pytest.approx(384, abs=3) and seen[25:].mean() == pytest.approx(384, abs=3)
    assert seen.min() > 365  # none is left over always, or for long


def test_a_member_of_a_pack_has_the_batches_of_its_solo_run() -> None:
    lengths = np.random.default_rng(1).integers(1, 40, 90)
    made = buckets.Buckets(lengths, 8, buckets.edges(lengths, 8, 4), 7)
    for number in (1, 2):
        together, alone = epoch(made, number, 4, 5), epoch(made, number, 5)
        assert [padded_to for _, padded_to in together] == [padded_to for _, padded_to in alone]
        for (rows, _), (solo, _) in zip(together, alone, strict=True):
            np.testing.assert_array_equal(rows[:, 1], solo[:, 0])
            assert (rows[:, 0] != rows[:, 1]).any()
    first, second = ([padded_to for _, padded_to in epoch(made, number, 4)] for number in (1, 2))
    assert first != second, "the order of the buckets is the same in every epoch"
