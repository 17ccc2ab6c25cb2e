"""The probe: steps of one operation in synchronised windows, calibrated, warmed up until steady, counted.

The one place where throughput is measured: `training/tasks.py` probes a study's kernels with it, `kernels/measure.py` the
cells of the kernel benchmark. docs/method.md says why it is done so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lstm_bench.core.clock import clock

WINDOW_S = 0.05  # the shortest timed window: the clock and the call are then below a thousandth of it
STEADY = 0.1  # two windows in a row within this fraction of each other end the warm-up
LONGEST_WARM_UP = 20  # windows
_MOST_STEPS = 2**16  # of a window

Rows = Callable[[int], np.ndarray]


class Timed(Protocol):
    """What can be timed."""

    def run(self, operation: str, rows: np.ndarray) -> int:
        """One step per row of `rows` (steps, batch), indices into the resident data; the device is idle on return.

        Returns:
          The steps that the program itself counted: what was asked for, or the timing is void.
        """


class Program(Timed, Protocol):
    """One implementation of one network, whose operations can be timed, checked and proved."""

    def compile(self, operation: str) -> None:
        """Traces and compiles an operation of `OPERATIONS` as far as the backend does so without running it."""

    def values(self, operation: str) -> list[np.ndarray]:
        """What an operation computes on the first `batch` samples in order, by the program that `run` runs, float32.

        Returns:
          inference: the outputs. forward_backward: the gradient of each weight, then that of the inputs. train_step: the
          weights after one step from where they are, and where they are left.
        """

    def kernel_evidence(self, operation: str) -> tuple[str, str]:
        """`(kernel_ran, evidence)` of a compiled operation, read from its program. Weights stay as they are."""


@dataclass(frozen=True)
class Timing:
    """What was timed of one operation.

    Attributes:
      steps: Of every window, as counted by the program.
      seconds: Of each timed window.
      warm_up: Windows of as many steps run before, the first left out.
      all_steps: Of calibration, warm-up and windows together.
      steady: Whether the last two of those agreed.
    """

    steps: int
    seconds: list[float]
    warm_up: int
    all_steps: int
    steady: bool

    def rates(self, batch_size: int) -> np.ndarray:
        """Samples per second of each window."""
        return self.steps * batch_size / np.array(self.seconds)


def sample(
    program: Timed,
    operation: str,
    rows_of: Rows,
    *,
    samples: int,
    seconds: float = 0.0,
    window_s: float = WINDOW_S,
    steady: float = STEADY,
) -> Timing:
    """Times windows of equal numbers of steps, each of which ends with the device idle.

    Args:
      program: Compiled for `operation`.
      operation: One of `OPERATIONS`.
      rows_of: Number of steps -> indices (steps, batch).
      samples: Timed windows, at least.
      seconds: Timed seconds in all, at least.
      window_s: Shortest window; a window is one step where that lasts longer.
      steady: Largest relative difference of two windows in a row that ends the warm-up.
    """
    steps, all_steps = 1, 0
    while True:
        rows, warm_up, agreed = rows_of(steps), 0, False
        elapsed = _timed(program, operation, rows)
        while warm_up < LONGEST_WARM_UP and not agreed:
            before, elapsed = elapsed, _timed(program, operation, rows)
            warm_up, agreed = warm_up + 1, abs(elapsed - before) <= steady * before
            if elapsed < window_s / 2 and steps < _MOST_STEPS:
                break  # far too short to be timed, however steady
        all_steps += steps * (warm_up + 1)
        # Only a steady window says how many steps last long enough: the first ones are slower than what follows.
        if steps >= _MOST_STEPS or elapsed >= window_s:
            break
        steps = min(max(steps + 1, int(1.2 * steps * window_s / max(elapsed, 1e-6))), _MOST_STEPS)
    timed: list[float] = []
    while len(timed) < samples or sum(timed) < seconds:
        timed.append(_timed(program, operation, rows))
    return Timing(steps, timed, warm_up, all_steps + steps * len(timed), agreed)


def _timed(program: Timed, operation: str, rows: np.ndarray) -> float:
    since = clock()
    done = program.run(operation, rows)
    elapsed = clock() - since
    if done != len(rows):
        raise RuntimeError(f"{len(rows)} steps of {operation} were timed, the program counted {done}")
    return elapsed


def training_throughput(
    program: Program, batch_size: int, n_samples: int, seconds: float, rows: Rows | None = None
) -> dict[str, Any]:
    """Training throughput of a study's kernel: the figures of a row of `columns.KERNEL_COLUMNS`.

    Args:
      program: Not compiled yet.
      batch_size: Sequences per step.
      n_samples: Resident sequences that batches are drawn from.
      seconds: Timed seconds, at least; and at least five windows.
      rows: Number of steps -> indices (steps, batch), where not any sample may be in any batch.
    """
    rng = np.random.default_rng(0)
    rows_of = rows or (lambda steps: rng.integers(0, n_samples, size=(steps, batch_size)))
    since = clock()
    program.compile("train_step")
    program.run("train_step", rows_of(1))
    compile_s = clock() - since
    kernel_ran, evidence = program.kernel_evidence("train_step")
    timing = sample(program, "train_step", rows_of, samples=5, seconds=seconds)
    p10, median, p90 = quantiles(timing.rates(batch_size))
    return {
        "kernel_ran": kernel_ran,
        "train_samples_per_s": median,
        "p10_samples_per_s": p10,
        "p90_samples_per_s": p90,
        "n": len(timing.seconds),
        "step_ms": 1000 * batch_size / median,
        "compile_s": compile_s,
        "batch_size": batch_size,
        "evidence": evidence,
    }


def quantiles(rates: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """10th percentile, median and 90th percentile."""
    p10, median, p90 = np.percentile(rates, (10, 50, 90))
    return float(p10), float(median), float(p90)
