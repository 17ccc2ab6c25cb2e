"""Throughput of one kernel on one configuration: compiled, warmed up until steady, timed in synchronised windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_bench import train
from lstm_bench.data import Dataset
from lstm_bench.timing import clock

WINDOW_S = 0.05  # the shortest timed window: the clock and the call are then below a thousandth of it
STEADY = 0.1  # two windows in a row within this fraction of each other end the warm-up
_LONGEST_WARM_UP = 20  # windows


def measure(config: Mapping[str, Any], data: Dataset, kernel: str, seconds: float) -> dict[str, Any]:
    """Training throughput of `kernel`: a row of `record.KERNEL_COLUMNS`.

    The device is idle at each reading of the clock, since a window ends with a number on the host. Windows of equal
    numbers of steps, at least 5 of them and at least `seconds` in all.

    Args:
      config: Resolved configuration.
      data: Dataset.
      kernel: A kernel other than "auto" that is available here.
      seconds: Timed seconds, at least.
    """
    engine, _ = train.prepare(config, data, kernel, seed=0)
    since = clock()
    engine.compile()
    compile_s = clock() - since
    batch_size = min(config["train"]["batch_size"], len(data.x_train))
    rng = np.random.default_rng(0)
    steps = 1
    while True:
        rows = rng.integers(0, len(data.x_train), size=(steps, batch_size))
        if (elapsed := _timed(engine, rows)) >= WINDOW_S or steps >= 2**16:
            break
        steps = min(max(2 * steps, int(1.2 * steps * WINDOW_S / max(elapsed, 1e-6))), 2**16)
    for _ in range(_LONGEST_WARM_UP):
        before, elapsed = elapsed, _timed(engine, rows)
        if abs(elapsed - before) <= STEADY * before:
            break
    windows: list[float] = []
    while len(windows) < 5 or sum(windows) < seconds:
        windows.append(_timed(engine, rows))
    rates = rows.size / np.array(windows)
    p10, median, p90 = np.percentile(rates, (10, 50, 90))
    return {
        "backend": config["backend"]["name"],
        "kernel": kernel,
        "kernel_ran": engine.kernel_ran,
        "train_samples_per_s": float(median),
        "p10_samples_per_s": float(p10),
        "p90_samples_per_s": float(p90),
        "n": len(windows),
        "step_ms": float(1000 * batch_size / median),
        "compile_s": compile_s,
        "batch_size": batch_size,
        "evidence": engine.evidence,
    }


def _timed(engine: Any, rows: np.ndarray) -> float:
    since = clock()
    engine.steps(rows)
    return clock() - since
