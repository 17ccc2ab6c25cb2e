"""Worker processes of the contestants without Keras: one per core, pinned, one thread each, trials from a shared queue."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

Train = Callable[[Mapping[str, Any], int], tuple[float, float]]  # config, seed -> validation accuracy, training seconds
_train: Train


def _start(load: Callable[[Mapping[str, Any]], Train], job: Mapping[str, Any], cores: Any) -> None:
    """Imports the framework after pinning: it counts the cores that it may use when it is loaded."""
    global _train
    os.sched_setaffinity(0, {cores.get()})
    os.environ["OMP_NUM_THREADS"] = "1"
    _train = load(job)


def _trial(config: Mapping[str, Any], seed: int) -> tuple[float, float]:
    return _train(config, seed)


def run(load: Callable[[Mapping[str, Any]], Train]) -> None:
    """Runs the job named on the command line; `load(job)` is called once per worker and returns its `Train`."""
    job = json.loads(Path(sys.argv[1]).read_text())
    context = multiprocessing.get_context("fork")  # nothing is loaded yet, so nothing can be broken by it
    cores = context.Queue()
    for core in sorted(os.sched_getaffinity(0))[: job["workers"]]:
        cores.put(core)
    with ProcessPoolExecutor(job["workers"], context, _start, (load, job, cores)) as pool:
        found = list(pool.map(_trial, job["configs"], range(len(job["configs"]))))
    accuracies, seconds = zip(*found, strict=True)
    print(json.dumps({"val_accuracy": accuracies, "train_s": seconds}), flush=True)
