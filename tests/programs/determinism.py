"""Whether the same training gives the same bits: twice in fresh workers, per backend, kernel and number of threads.

`python tests/programs/determinism.py [BACKEND ...]` prints what holds with and without `train.deterministic` on this machine;
`test_deterministic.py` asks for the former.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from lstm_bench.core import hardware, vocabulary
from lstm_bench.core.configuration import conf_dir
from lstm_bench.launcher.local import LocalLauncher
from lstm_bench.training.engine import factory

ARMS = [
    (backend, name, n)
    for backend, names in vocabulary.OF_BACKEND.items()
    for name in names
    if name != "cudnn"
    for n in factory.steps_per_execution(backend, name)
]


def group(path: str) -> dict[str, Any]:
    """Values of a file of `conf/`."""
    return dict(yaml.safe_load((conf_dir() / f"{path}.yaml").read_text()))


def config(backend: str, units: int = 24, dropout: float = 0.2, **train: Any) -> dict[str, Any]:
    """Two stacked layers with dropout on the digits: weights, masks and order are all drawn."""
    model = {"_target_": "lstm_bench.model.stacked", "units": units, "layers": 2, "dropout": dropout, "dense_units": 16}
    return {
        "dataset": group("dataset/digits"),
        "model": model,
        "backend": {"name": backend},
        "train": {**group("train/default"), "batch_size": 32, "schedule": "cosine", **train},
        "launcher": group("launcher/local"),
    }


def results(backend: str, tasks: list[dict[str, Any]], deterministic: bool, cores: int) -> list[dict[str, Any]]:
    """Results of tasks that one fresh worker with so many cores runs in turn."""
    (slot,) = hardware.slots(1, [])
    slot = hardware.Slot(0, slot.device, slot.share, slot.cores[:cores], None, slot.environment)
    with tempfile.TemporaryDirectory() as folder:
        launcher = LocalLauncher([slot], backend, Path(folder), 100, 2**40, deterministic=deterministic)
        try:
            found: list[dict[str, Any]] = []
            for number, task in enumerate(tasks):
                launcher.submit(str(number), task)
                while len(found) <= number:
                    for event in launcher.events(1.0):
                        assert event.kind != "died", Path(event.body["log"]).read_text()
                        found += [event.body] if event.kind == "result" else []
            return found
        finally:
            launcher.close()


def task(backend: str, name: str, n: int, seed: int = 1, **changes: Any) -> dict[str, Any]:
    """A trial of an arm."""
    if (backend, name) == ("jax", "unrolled"):
        changes["dropout"] = 0.0  # JAX draws masks in a loop, which the proof of the kernel takes for the layer's
    made = config(backend, **changes)
    return {"kind": "trial", "config": made, "kernel": name, "steps_per_execution": n, "seed": seed}


def bits(result: dict[str, Any]) -> tuple[Any, ...]:
    """All that must be equal: losses as reported, and the digest of the weights."""
    assert result["state"] == "COMPLETE", result
    metrics = [
        {k: v for k, v in epoch.items() if k not in ("train_s", "train_samples_per_s")} for epoch in result["history"]
    ]
    return result["weights_sha256"], metrics


def main(backends: list[str]) -> None:
    """Three runs of every arm, of products large enough to be divided among threads."""
    most = len(hardware.cores())
    for (backend, name, n), cores, deterministic in itertools.product(ARMS, sorted({1, most}), (False, True)):
        if backend not in backends:
            continue
        work = task(backend, name, n, units=128, batch_size=128)
        runs = [bits(results(backend, [work], deterministic, cores)[0]) for _ in range(3)]
        equal = sum(run == runs[0] for run in runs)
        print(f"{backend:<10} {name:<12} x{n:<3} {cores} cores  deterministic {deterministic!s:<5}  {equal} of 3 equal")
        print(f"    {runs[0][0][:12]} {runs[0][1][-1]['val_loss']!r}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(vocabulary.OF_BACKEND))
