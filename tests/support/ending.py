"""Run by test_fit.py: early stopping, lowered rates and class weights do the same on each backend, alone and in packs of JAX."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

if __name__ == "__main__" and sys.argv[1] != "tensorflow":
    sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]  # as a worker does: see worker.py

import numpy as np
from trainings import config, data

from lstm_bench.core.clock import Phases
from lstm_bench.data import metric, task
from lstm_bench.training import fit, programs

STUDY = {"objective": "val_accuracy", "direction": "maximize", "objectives": {}}
# Validation accuracies of two trainings: of the first the second epoch is the best, of the other the last.
SOON, LATE = (0.5, 0.7, 0.6, 0.7, 0.6, 0.5), (0.5, 0.6, 0.7, 0.8, 0.7, 0.9)
RATE = 0.02


def settings(backend: str, **changes: Any) -> dict[str, Any]:
    # Without batch normalisation, whose training step has other outputs than inference.
    model = {"_target_": "no_normalisation.family"}
    made = config(epochs=len(SOON), batch_size=25, optimizer="sgd", learning_rate=RATE, **changes)
    return {**made, "model": model, "backend": {"name": backend}, "study": STUDY}


def scripted(*scores: float) -> None:
    """These in the order in which they are asked for; what is asked for at the end is 0."""
    left = list(scores)

    def score(self: Any, outputs: Any, y: Any, split: str, mask: Any = None, late: Any = None) -> dict[str, float]:
        return {"val_accuracy": left.pop(0) if left else 0.0, "val_loss": 1.0} if late is not None else {}

    task.Task.score = score  # type: ignore[method-assign]


def watched(trainee: Any) -> list[np.ndarray]:
    """The rates of the steps that are trained from now on."""
    given, inner = [], trainee.steps

    def steps(rows: np.ndarray, rates: np.ndarray) -> Any:
        given.append(rates)
        return inner(rows, rates)

    trainee.steps = steps
    return given


def alone(whole: dict[str, Any], scores: Sequence[float], seed: int) -> tuple[Any, list[np.ndarray], np.ndarray]:
    """A training, its weights, and the rate of each of its epochs."""
    scripted(*scores)
    toy = data()
    engine = programs.prepare(whole, toy, "generic", seed, 1)
    given = watched(engine)
    quiet: dict[str, Any] = {"phases": Phases(), "report": lambda _: None, "stopped": lambda: False}
    trained = fit.train(engine, whole, toy, kernel="generic", seed=seed, **quiet)
    engine.sync_model()
    return trained, engine.model.get_weights(), np.concatenate(given)[::2]


def together(whole: dict[str, Any], scores: Sequence[float]) -> tuple[list[Any], list[list[np.ndarray]], np.ndarray]:
    """Likewise of a pack, whose members have seeds 3 and 4."""
    scripted(*scores)
    toy = data()
    pack = programs.prepare_pack(whole, toy, (3, 4), 1)
    given, weights = watched(pack), []
    members = fit.train_pack(pack, whole, toy, seeds=(3, 4), phases=Phases(), report=lambda _: None)
    for at in range(2):
        pack.sync_model(at)
        weights.append(pack.model.get_weights())
    return members, weights, np.concatenate(given)[::2]


def same(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], **more: float) -> bool:
    return all(np.allclose(a, b, **{"rtol": 1e-4, "atol": 1e-6, **more}) for a, b in zip(ours, theirs, strict=True))


def early_stopping(backend: str) -> None:
    whole = settings(backend, patience=3)
    until, best_weights, _ = alone({**whole, "train": {**whole["train"], "epochs": 2, "patience": None}}, SOON, 3)
    soon, soon_weights, _ = alone(whole, SOON, 3)
    assert "best_epoch" not in until.measured
    assert [soon.measured[name] for name in ("epochs", "best_epoch", "val_accuracy")] == [5, 2, 0.7]
    assert same(soon_weights, best_weights, rtol=0, atol=0), "the weights of the best epoch, to the last bit"
    if backend == "jax":
        late, late_weights, _ = alone(whole, LATE, 4)
        mixed = [score for pair in zip(SOON[:5], LATE[:5], strict=True) for score in pair] + [LATE[5]]
        members, weights, _ = together(whole, mixed)
        for member, one in zip(members, (soon, late), strict=True):
            assert [epoch["val_accuracy"] for epoch in member.epochs] == [epoch["val_accuracy"] for epoch in one.epochs]
            assert member.measured["best_epoch"] == one.measured["best_epoch"]
        assert same(weights[0], soon_weights) and same(weights[1], late_weights)
        assert not same(weights[0], late_weights)


def plateaus(backend: str) -> None:
    whole = settings(backend, schedule="reduce_on_plateau", plateau_factor=0.5, plateau_patience=2, plateau_floor=0.006)
    soon, weights, rates = alone(whole, SOON, 3)
    lowered = [1, 1, 1, 1, 0.5, 0.5]  # two epochs without a better one than the second
    np.testing.assert_allclose(rates, np.multiply(RATE, lowered), rtol=1e-6)
    assert [epoch["learning_rate"] for epoch in soon.epochs] == [RATE * share for share in lowered]
    assert "learning_rate" not in soon.measured and "best_epoch" not in soon.measured
    if backend == "jax":
        mixed = [score for pair in zip(SOON, LATE, strict=True) for score in pair]
        members, packed, together_rates = together(whole, mixed)
        np.testing.assert_allclose(together_rates[:, 0], rates, rtol=1e-6)
        np.testing.assert_allclose(together_rates[:, 1], RATE, rtol=1e-6)
        assert [epoch["learning_rate"] for epoch in members[1].epochs] == [RATE] * 6
        assert same(packed[0], weights)


def class_weights(backend: str) -> None:
    toy, whole = data(), settings(backend, class_weight={"0": 0.0, "1": 3.0})
    engine = programs.prepare(whole, toy, "generic", 3, 1)
    engine.warm_up()
    before, none = engine.weights(), np.flatnonzero(toy.y_train == 0)[:25]
    assert engine.steps(none[None], np.array([RATE], np.float32)).loss == 0
    assert same(engine.weights(), before, rtol=0, atol=0), "a class of weight 0 has no say"
    rows = np.arange(25)
    logits, y = engine.logits(toy.x_train[rows]), toy.y_train[rows]
    picked = -np.take_along_axis(metric.log_probability(logits), y[:, None], -1)[:, 0]
    expected = (picked * np.where(y == 0, 0, 3)).mean()
    counted = engine.steps(rows[None], np.array([RATE], np.float32))
    np.testing.assert_allclose(counted.loss, expected, rtol=1e-5)
    assert counted.correct == (logits.argmax(axis=1) == y).sum()
    assert not same(engine.weights(), before)
    if backend == "jax":
        pack = programs.prepare_pack(whole, toy, (3, 4), 1)
        pack.warm_up()
        both = pack.steps(np.stack([none, rows])[None], np.full((1, 2), RATE, np.float32))
        assert both.loss[0] == 0 < both.loss[1]
        again = pack.steps(np.stack([rows, rows])[None], np.full((1, 2), RATE, np.float32))
        np.testing.assert_allclose(again.loss[0], expected, rtol=1e-5)


def main(backend: str) -> None:
    class_weights(backend)
    kept = task.Task.score
    try:
        early_stopping(backend)
        plateaus(backend)
    finally:
        task.Task.score = kept  # type: ignore[method-assign]
    print(f"{backend} equal")


if __name__ == "__main__":
    main(sys.argv[1])
