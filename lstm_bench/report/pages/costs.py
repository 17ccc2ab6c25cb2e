"""Where the time went, of a study's page, and what a configuration costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lstm_bench.core.statistics import median
from lstm_bench.report.render.markdown import (
    NONE,
    Raw,
    count,
    escape,
    markdown,
    seconds,
    short,
)
from lstm_bench.report.sources.records import Result, alone_s

_PHASES = ("setup_s", "compile_s", "train_s", "eval_s", "total_s")
_COSTS = {  # column of a record -> heading
    "epoch_s": "epoch, s",
    "peak_memory_mib": "memory, MiB",
    "peak_device_memory_mib": "device memory, MiB",
    "latency_ms_batch_1": "batch 1, ms",
    "latency_ms_batch_64": "batch 64, ms",
}


def section(result: Result) -> list[str]:
    """Seconds of trials and replicates by phase, and what the best configuration costs."""
    rows, device = [], []
    for name, table in (("all trials, sum", result.trials), ("all replicates, sum", result.replicates)):
        sums = [math.fsum(v for v in alone_s(table, phase) if math.isfinite(v)) for phase in _PHASES]
        whole = sums[-1]
        device.append(whole)
        share = [f"{seconds(s)} ({100 * s / whole:.0f} %)" if whole > 0 else NONE for s in sums[:-1]]
        rows.append([name, len(table), *share, seconds(whole) if len(table) else NONE])
    for name, table in (("a trial, median", result.trials), ("a replicate, median", result.replicates)):
        rows.append([name, len(table), *(seconds(median(alone_s(table, phase))) for phase in _PHASES)])
    columns = ["", "n", "setup, s", "compile, s", "training, s", "evaluation, s", "total, s"]
    told = (
        f"Device seconds in all: {seconds(math.fsum(device))} (search {seconds(device[0])}, confirmation {seconds(device[1])}), "
        "whatever ran side by side; the GPU or the cores of one worker are a device."
    )
    return [markdown(columns, rows, set(columns[1:])), told, *cost_table([result], [escape(result.name)])]


def cost_table(results: Sequence[Result], names: Sequence[str]) -> list[str]:
    """Seconds per epoch, peak memory and latency of studies' best configurations; nothing where no record has any."""
    if not any(result.cost for result in results):
        return []
    rows = []
    for result, name in zip(results, names, strict=True):
        cells = [result.cost.get(column, math.nan) for column in _COSTS]
        rows.append([Raw(name), *(_cost(cell) for cell in cells)])
    return [
        "The best configuration: seconds per epoch, peak memory of a training, and inference in milliseconds per sequence.",
        markdown(["study", *_COSTS.values()], rows, set(_COSTS.values())),
    ]


def _cost(value: float) -> str:
    return count(value) if value >= 1000 else short(value, 3) if math.isfinite(value) else NONE
