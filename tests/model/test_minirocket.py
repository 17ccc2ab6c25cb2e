"""MiniRocket held against its definition, kernel by kernel, and to sequences of unequal lengths."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_bench.model import minirocket


def by_hand(x: np.ndarray, made: minirocket.MiniRocket) -> np.ndarray:
    """Features of one sequence `(timesteps, features)`, from the paper's words: convolutions, zeros at both ends, shares."""
    found, which, first = [], 0, 0
    timesteps = len(x)
    for number, (dilation, count) in enumerate(zip(made.dilations, made.counts, strict=True)):
        for kernel, taps in enumerate(minirocket.KERNELS):
            weights = np.full(9, -1.0)
            weights[taps] = 2
            width = made.widths[number * 84 + kernel]
            signal = x[:, made.channels[first : first + width]].sum(axis=1)
            first += width
            padded = np.pad(signal, 4 * dilation)
            values = np.array([sum(weights[j] * padded[t + j * dilation] for j in range(9)) for t in range(timesteps)])
            if (number + kernel) % 2 and timesteps > 8 * dilation:
                values = values[4 * dilation : timesteps - 4 * dilation]
            for bias in made.biases[which : which + count]:
                found.append((values > bias).mean())
                which += 1
    return np.array(found)


@pytest.mark.parametrize("shape", [(3, 30, 1), (3, 41, 4)])
def test_features_are_what_the_kernels_give_by_hand(shape: tuple[int, int, int]) -> None:
    x = np.random.RandomState(0).randn(*shape).astype(np.float32)
    made = minirocket.fit(x, seed=1)
    features = made(x)
    assert features.shape == (3, 9996) and made.counts.sum() == 119
    # A value that lies on its bias may fall on either side: its share moves by one timestep.
    wrong = np.abs(features[2] - by_hand(x[2].astype(np.float64), made)) > 1e-6
    assert wrong.mean() < 0.005


def test_dilations_reach_from_one_to_the_whole_sequence() -> None:
    dilations, counts = minirocket._dilations(150)
    assert dilations[0] == 1 and dilations[-1] == 18 and 8 * dilations[-1] < 150
    assert counts.sum() == 119 and (counts > 0).all()


def test_what_lies_behind_the_end_of_a_sequence_does_not_count() -> None:
    rng = np.random.RandomState(0)
    short = rng.randn(4, 20, 2).astype(np.float32)
    padded = np.pad(short, ((0, 0), (0, 25), (0, 0)))
    lengths = np.full(4, 20)
    made = minirocket.fit(padded, 0, lengths)
    alone = minirocket.MiniRocket(made.dilations, made.counts, made.biases, made.channels, made.widths)
    assert np.allclose(made(padded, lengths), alone(short), atol=1e-6)
    assert not np.allclose(made(padded, lengths), made(padded))


def test_a_sequence_shorter_than_a_kernel_has_features_and_blocks_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = np.random.RandomState(0).randn(40, 4, 1).astype(np.float32)
    made = minirocket.fit(x, 0)
    whole = made(x)
    monkeypatch.setattr(minirocket, "_BLOCK", 64)
    assert np.isfinite(whole).all() and np.array_equal(made(x), whole)
