"""The probe: a figure per kernel, from windows long enough to trust."""

from __future__ import annotations

import pytest
from test_train import config, data

from lstm_bench import probe


def test_a_probe_times_whole_windows_and_proves_the_kernel() -> None:
    row = probe.measure(config(), data(), "unrolled", seconds=0.3)
    assert (row["kernel"], row["kernel_ran"], row["backend"]) == ("unrolled", "unrolled", "tensorflow")
    assert row["n"] >= 5
    assert row["p10_samples_per_s"] <= row["train_samples_per_s"] <= row["p90_samples_per_s"]
    assert row["step_ms"] == pytest.approx(1000 * row["batch_size"] / row["train_samples_per_s"])
    assert row["compile_s"] > 0
    assert "While 0" in row["evidence"]


def test_windows_last_at_least_fifty_milliseconds() -> None:
    row = probe.measure(config(), data(), "generic", seconds=0.3)
    # n windows in at least 0.3 s, each of at least about WINDOW_S: no more of them than fit.
    assert row["n"] <= 0.3 / (0.5 * probe.WINDOW_S) + 5
