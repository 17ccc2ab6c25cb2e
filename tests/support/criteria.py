"""Run by test_engine.py, in a process of its own per backend: each task's loss is what NumPy says, and training lowers it."""

from __future__ import annotations

import sys
from typing import Any

if sys.argv[1] != "tensorflow":
    sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]  # as a worker does: see worker.py

import numpy as np
from trainings import config, problem

from lstm_bench.core.clock import Phases
from lstm_bench.training import fit, programs
from lstm_bench.training.engine import factory


def expected(outputs: np.ndarray, y: np.ndarray, task: str) -> tuple[float, int]:
    """Loss and count of one batch, from the outputs before its step, in float64."""
    outputs = outputs.astype(np.float64)
    if task == "regression":
        return float(((outputs[:, 0] - y) ** 2).mean()), 0
    probability = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True)
    chosen = probability.reshape(-1, outputs.shape[-1])[np.arange(y.size), y.ravel()]
    return float(-np.log(chosen).mean()), int((outputs.argmax(axis=-1) == y).sum())


def main(backend: str, task: str, n: int) -> None:
    toy = problem(task)
    settings: dict[str, Any] = {**config(epochs=4, learning_rate=0.05), "backend": {"name": backend}}
    # Without batch normalisation, whose training step has other outputs than inference.
    settings["model"] = {"_target_": "no_normalisation.family"}
    made = programs.prepare(settings, toy, "generic", seed=3, steps_per_execution=n)
    made.warm_up()
    rows = np.arange(8)[None]
    outputs = made.logits(toy.x_train[:8])
    assert outputs.shape == (8, *((5,) if task == "tagging" else ()), toy.n_classes)
    loss, correct, _ = made.steps(rows, np.array([0.05], np.float32))
    wanted_loss, wanted_correct = expected(outputs, toy.y_train[:8], task)
    np.testing.assert_allclose(loss, wanted_loss, rtol=1e-5)
    assert correct == wanted_correct
    quiet = {"phases": Phases(), "report": lambda _: None, "stopped": lambda: False}
    fresh = programs.prepare(settings, toy, "generic", seed=3, steps_per_execution=n)
    alone = fit.train(fresh, settings, toy, kernel="generic", seed=3, **quiet)
    assert alone.epochs[-1]["train_loss"] < 0.9 * alone.epochs[0]["train_loss"], alone.epochs
    if backend == "jax":
        pack = programs.prepare_pack(settings, toy, (3, 4), n)
        members = fit.train_pack(pack, settings, toy, seeds=(3, 4), phases=Phases(), report=lambda _: None)
        for ours, theirs in zip(members[0].epochs, alone.epochs, strict=True):
            assert set(ours) == set(theirs) - {"train_samples_per_s"}  # of no single member
            for name in set(ours) - {"train_s"}:
                np.testing.assert_allclose(ours[name], theirs[name], rtol=2e-3)
        assert members[1].epochs[-1]["val_loss"] != members[0].epochs[-1]["val_loss"]
    print(f"{backend} {task} x{n} equal")


if __name__ == "__main__":
    for task in ("classification", "regression", "tagging"):
        for per_execution in factory.steps_per_execution(sys.argv[1], "generic"):
            main(sys.argv[1], task, per_execution)
