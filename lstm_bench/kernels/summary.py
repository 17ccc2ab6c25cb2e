"""Runs and samples of a kernel benchmark -> rows of `cells.csv`: medians, speedups with intervals, fractions of the roof."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lstm_bench.core import vocabulary
from lstm_bench.core.statistics import Estimate, finite, median
from lstm_bench.kernels import case, roofline
from lstm_bench.study import columns
from lstm_bench.training import timer

BASELINE = "generic"  # what `kernel_speedup` is over, in the benchmark as in a study's probe
Key = tuple[str, str, str, str]  # cell, backend, kernel, operation
Row = Mapping[str, Any]
# One round of these makes the arm so; of several kinds the first says most.
_BAD = ("wrong", "other_kernel", "compile_limit")


def key(row: Row) -> Key:
    """What a row is about."""
    return row["cell"], row["backend"], row["kernel"], row["operation"]


def rows(runs: Iterable[Row], samples: Iterable[Row], ceilings: Sequence[Row], device: str, share: str) -> list[dict]:
    """Rows of `columns.CELL_COLUMNS` for everything that ran, sorted.

    Args:
      runs: Rows of `runs.csv`, text or numbers.
      samples: Rows of `samples.csv`; those of rounds without a run are left out.
      ceilings: Rows of `ceilings.csv`.
      device: What it ran on.
      share: With whom.
    """
    of: dict[Key, dict[int, Row]] = {}
    for run in runs:
        of.setdefault(key(run), {})[int(run["round"])] = run
    rates: dict[Key, dict[int, list[float]]] = {}
    for sample in samples:
        about, round_ = key(sample), int(sample["round"])
        if round_ in of.get(about, {}):
            rate = int(sample["steps"]) * int(of[about][round_]["batch"]) / float(sample["seconds"])
            rates.setdefault(about, {}).setdefault(round_, []).append(rate)
    made = {about: _row(by_round, rates.get(about, {})) for about, by_round in of.items()}
    for about, row in made.items():
        base = (*about[:2], BASELINE, about[3])
        if row["kernel"] != BASELINE and row["state"] == "measured" and made.get(base, {}).get("state") == "measured":
            ratio = ratio_interval(rates.get(about, {}), rates.get(base, {}))
            row |= {"baseline": BASELINE, "speedup": _known(ratio.value)}
            row |= {"speedup_low": _known(ratio.low), "speedup_high": _known(ratio.high)}
        row |= _limits(row, ceilings) | {"device": device, "device_share": share}
    return [made[about] for about in sorted(made, key=lambda about: order(made[about]))]


def order(row: Row) -> tuple:
    """Sort key: cells by their axes, operations as `vocabulary.OPERATIONS`, then backend and kernel."""
    axes = [str(row["layer"]), *(int(row[axis]) for axis in vocabulary.SIZES), str(row["dtype"])]
    return (
        *axes,
        str(row.get("lengths") or ""),
        vocabulary.OPERATIONS.index(row["operation"]),
        row["backend"],
        row["kernel"],
    )


def _row(by_round: Mapping[int, Row], rates: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    runs = [by_round[round_] for round_ in sorted(by_round)]
    worst = next((run for state in _BAD for run in runs if run["state"] == state), runs[0])
    failed = [run for run in runs if run["state"] == "failed"]
    if worst["state"] == "failed" and len(failed) < len(runs):  # other rounds have its figures
        worst = next(run for run in runs if run["state"] != "failed")

    def numbers(column: str) -> list[float]:
        return finite(run[column] for run in runs if run[column] not in ("", None))

    row: dict[str, Any] = {
        column: runs[0][column] for column in ("cell", *vocabulary.AXES, "backend", "kernel", "operation")
    }
    row["lengths"] = runs[0].get("lengths") or None
    row |= {column: worst[column] for column in ("state", "reason", "kernel_ran", "tolerance", "evidence")}
    row |= {"compile_s": _median(numbers("compile_s")), "first_call_s": _median(numbers("first_call_s"))}
    row |= {
        "error": max((float(run["error"]) for run in runs if run["error"] not in ("", None)), default=None),
        "peak_memory_mib": max(numbers("peak_memory_mib"), default=None),
    }
    row |= {"energy_j_per_million": _median(numbers("energy_j_per_million"))}
    marks = dict.fromkeys(mark for run in runs if run["marks"] for mark in str(run["marks"]).split("; "))
    if worst["state"] != "failed":
        marks |= {f"round {int(run['round']) + 1} failed": None for run in failed}
    row["marks"] = "; ".join(marks)
    pooled = [rate for round_ in sorted(rates) for rate in rates[round_]]
    if pooled and row["state"] in ("measured", "other_kernel"):
        p10, middle, p90 = timer.quantiles(pooled)
        row |= {"samples_per_s": middle, "p10_samples_per_s": p10, "p90_samples_per_s": p90}
        row |= {"step_ms": 1000 * int(row["batch"]) / middle, "n": len(pooled), "rounds": len(rates)}
        row["steps"] = sum(int(run["steps"]) * int(run["n"]) for run in runs if run["steps"] not in ("", None))
    return row


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _limits(row: Row, ceilings: Sequence[Row]) -> dict[str, Any]:
    """Counted work of a row, and the roofline of Williams et al. 2009: min(peak, operations per byte * bandwidth).

    Nothing for sequences that differ in length: the formulas count every timestep of a batch.
    """
    if row.get("lengths"):
        return {}
    cell = {axis: row[axis] if axis in ("layer", "dtype") else int(row[axis]) for axis in vocabulary.AXES}
    flop = roofline.flop_per_sample(cell, row["operation"])
    bytes_ = roofline.bytes_per_step(cell, row["operation"]) / cell["batch"]
    found: dict[str, Any] = {"flop_per_sample": flop, "bytes_per_sample": bytes_}
    peaks = [float(c["matmul_flop_per_s"]) for c in ceilings if c["dtype"] == cell["dtype"]]
    if peaks:
        found["roofline_flop_per_s"] = min(
            max(peaks), flop / bytes_ * max(float(c["copy_byte_per_s"]) for c in ceilings)
        )
    if row.get("samples_per_s"):
        found["flop_per_s"] = flop * row["samples_per_s"]
        if peaks:
            found["roofline_fraction"] = found["flop_per_s"] / found["roofline_flop_per_s"]
    return found


def unavailable(cell: Mapping[str, Any], backend: str, kernel: str, operation: str, reason: str) -> dict[str, Any]:
    """A row of `columns.CELL_COLUMNS` for an arm that cannot run here."""
    about = {"cell": case.name(cell), **cell, "backend": backend, "kernel": kernel, "operation": operation}
    return dict.fromkeys(columns.CELL_COLUMNS) | about | {"state": "unavailable", "reason": reason}


def ratio_interval(
    above: Mapping[int, Sequence[float]],
    below: Mapping[int, Sequence[float]],
    *,
    level: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> Estimate:
    """Ratio of two medians, with an expanded percentile interval from a bootstrap of rounds, then of samples within them.

    A percentile interval of so few rounds is far too narrow (with three, about 80 % instead of 95 % where processes differ
    more than samples). Expanded: cut off where the t of that many rounds would, with its sqrt(n / (n - 1)).

    A round drawn is drawn for both, since they ran side by side: what a round does to both is not noise of their ratio.
    What samples of one process share (its memory layout, its clocks) differs between rounds: resampling samples alone
    would hide it.

    Args:
      above: Round -> positive values, such as samples per second.
      below: Likewise, of what it is compared with.
      level: Confidence, 0 < level < 1.
      resamples: Of the bootstrap.
      seed: Of the bootstrap.

    Returns:
      The ratio, NaN where they share no round, with its interval, NaN for fewer than two: one round says nothing of the next.

    Source: Davison & Hinkley 1997, Bootstrap Methods and their Application, section 3.8 (hierarchical data); Hesterberg 2015,
    "What Teachers Should Know About the Bootstrap" (expanded percentile interval).
    """
    import numpy as np
    from scipy.special import ndtr, stdtrit

    rounds = sorted(r for r in set(above) & set(below) if len(above[r]) and len(below[r]))
    if not rounds:
        return Estimate(math.nan, math.nan, math.nan)
    sides = [[np.sort(np.asarray(side[r], dtype=float)) for r in rounds] for side in (above, below)]
    ratio = float(np.median(np.concatenate(sides[0])) / np.median(np.concatenate(sides[1])))
    if len(rounds) < 2:
        return Estimate(ratio, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(rounds), size=(resamples, len(rounds)))
    medians = []
    for side in sides:
        sizes = np.array([len(values) for values in side])
        padded = np.full((len(side), sizes.max()), math.nan)
        for row, values in zip(padded, side, strict=True):
            row[: len(values)] = values
        positions = np.arange(sizes.max())
        chosen = np.floor(rng.random((*drawn.shape, sizes.max())) * sizes[drawn][..., None]).astype(int)
        values = np.where(positions < sizes[drawn][..., None], padded[drawn[..., None], chosen], math.nan)
        medians.append(np.nanmedian(values.reshape(resamples, -1), axis=1))
    n = len(rounds)
    tail = float(ndtr(math.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 - level) / 2)))
    low, high = np.quantile(medians[0] / medians[1], (tail, 1 - tail))
    return Estimate(ratio, float(low), float(high))
