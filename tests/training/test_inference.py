"""Latency: what is fed, what is counted, and which figure it is."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_bench.training import inference


class Model:
    """Takes a second for a first call of a size and then 10 ms, or 0.64 s for 64 sequences, of a clock of its own."""

    def __init__(self) -> None:
        self.now, self.sizes = 0.0, list[int]()

    def predict_on_batch(self, batch: np.ndarray) -> np.ndarray:
        self.now += 1.0 if len(batch) not in self.sizes else {1: 0.01, 64: 0.64}[len(batch)]
        self.sizes.append(len(batch))
        return batch[:, 0]


def test_latency_is_of_calls_after_the_first_ones_and_per_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    monkeypatch.setattr(inference, "clock", lambda: model.now)
    found = inference.latency(model, np.zeros((10, 3, 2), np.float32))  # fewer sequences than a batch
    assert found == {"latency_ms_batch_1": pytest.approx(10), "latency_ms_batch_64": pytest.approx(10)}
    assert 50 <= model.sizes.count(1) - 3 <= 51  # half a second of them
    assert model.sizes.count(64) == 3 + 5
