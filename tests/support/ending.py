"""Run by test_engine.py: early stopping, lowered rates and class weights do the same on each backend, and in packs of JAX."""

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
from lstm_bench.data.dataset import Dataset
from lstm_bench.training import fit, programs

STUDY = {"objective": "val_accuracy", "direction": "maximize", "objectives": {}}
# Validation accuracies of two trainings: of the first the second epoch is the best, of the other the last.
SOON, LATE = (0.5, 0.7, 0.6, 0.7, 0.6, 0.5), (0.5, 0.6, 0.7, 0.8, 0.7, 0.9)
RATE = 0.02


def settings(backend: str, **changes: Any) -> dict[str, Any]:
    """All at once, so that one program is compiled: a class without weight, a patience, and a shorter one of the rate."""
    asked = {
        "patience": 3,
        "schedule": "reduce_on_plateau",
        "plateau_factor": 0.5,
        "plateau_patience": 2,
        "plateau_floor": 0,
    }
    asked |= {"class_weight": {"0": 0.0, "1": 3.0}, "optimizer": "sgd", "learning_rate": RATE, "batch_size": 25}
    made = config(**{"epochs": len(SOON), **asked, **changes})
    # Without batch normalisation, whose training step has other outputs than inference.
    return {**made, "model": {"_target_": "no_normalisation.family"}, "backend": {"name": backend}, "study": STUDY}


def scripted(*scores: float) -> None:
    """These in the order in which they are asked for; what is asked for at the end is 0."""
    left = list(scores)

    def score(self: Any, outputs: Any, y: Any, split: str, mask: Any = None, late: Any = None) -> dict[str, float]:
        return {"val_accuracy": left.pop(0) if left else 0.0, "val_loss": 1.0} if late is not None else {}

    task.Task.score = score  # type: ignore[method-assign]


def watched(trainee: Any) -> list[np.ndarray]:
    """The rates of the steps that are trained from now on."""
    given: list[np.ndarray] = []
    inner = type(trainee).steps.__get__(trainee)

    def steps(rows: np.ndarray, rates: np.ndarray, *more: Any) -> Any:
        given.append(rates)
        return inner(rows, rates, *more)

    trainee.steps = steps
    return given


def alone(
    engines: programs.Engines, toy: Dataset, whole: dict[str, Any], scores: Sequence[float], seed: int
) -> tuple[Any, list[np.ndarray], np.ndarray]:
    """A training, its weights, and the rate of each of its epochs."""
    scripted(*scores)
    engine = engines.of(whole, toy, "generic", seed)
    given = watched(engine)
    quiet: dict[str, Any] = {"phases": Phases(), "report": lambda _: None, "stopped": lambda: False}
    trained = fit.train(engine, whole, toy, kernel="generic", seed=seed, **quiet)
    engine.sync_model()
    return trained, engine.model.get_weights(), np.concatenate(given)[::2]


def same(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], **more: float) -> bool:
    return all(np.allclose(a, b, **{"rtol": 1e-4, "atol": 1e-6, **more}) for a, b in zip(ours, theirs, strict=True))


def check_weighted(trainee: Any, toy: Dataset, members: int = 0) -> None:
    """A class of weight 0 has no say, and the others have theirs; of a pack, in each member."""
    axes = (1, members, 25) if members else (1, 25)
    rates = np.full(axes[:-1], RATE, np.float32)
    none, both = (np.broadcast_to(rows, axes) for rows in (np.flatnonzero(toy.y_train == 0)[:25], np.arange(25)))
    x, y = toy.x_train[:25], toy.y_train[:25]
    logits = trainee.logits(x)
    np.testing.assert_array_equal(trainee.steps(none, rates).loss, 0)
    np.testing.assert_array_equal(trainee.logits(x), logits)
    picked = -np.take_along_axis(metric.log_probability(logits), np.broadcast_to(y, logits.shape[:-1])[..., None], -1)
    counted = trainee.steps(both, rates)
    np.testing.assert_allclose(counted.loss, (picked[..., 0] * np.where(y == 0, 0, 3)).mean(axis=-1), rtol=1e-5)
    np.testing.assert_array_equal(counted.correct, (logits.argmax(axis=-1) == y).sum(axis=-1))
    assert not np.array_equal(trainee.logits(x), logits)


def main(backend: str) -> None:
    toy, whole, engines, kept = data(), settings(backend), programs.Engines(), task.Task.score
    try:
        until, best, _ = alone(engines, toy, settings(backend, epochs=2, patience=None), SOON, 3)
        soon, soon_weights, rates = alone(engines, toy, whole, SOON, 3)
        late, late_weights, _ = alone(engines, toy, whole, LATE, 4)
        if backend == "jax":
            mixed = [score for pair in zip(SOON[:5], LATE[:5], strict=True) for score in pair]
            scripted(*mixed, LATE[5])
            pack, weights = programs.prepare_pack(whole, toy, (3, 4), 1), []
            given = watched(pack)
            members = fit.train_pack(pack, whole, toy, seeds=(3, 4), phases=Phases(), report=lambda _: None)
            of_pack = np.concatenate(given)[::2]
            for at in range(2):
                pack.sync_model(at)
                weights.append(pack.model.get_weights())
    finally:
        task.Task.score = kept  # type: ignore[method-assign]
    assert "best_epoch" not in until.measured
    assert [soon.measured[name] for name in ("epochs", "best_epoch", "val_accuracy")] == [5, 2, 0.7]
    assert [late.measured[name] for name in ("epochs", "best_epoch", "val_accuracy")] == [6, 6, 0.9]
    assert same(soon_weights, best, rtol=0, atol=0), "those of the best epoch, to the last bit"
    lowered = np.multiply(RATE, [1, 1, 1, 1, 0.5])  # after two epochs without a better one than the second
    np.testing.assert_allclose(np.ravel(rates), lowered, rtol=1e-6)
    assert [epoch["learning_rate"] for epoch in soon.epochs] == lowered.tolist()
    assert {epoch["learning_rate"] for epoch in late.epochs} == {RATE}
    assert "learning_rate" not in soon.measured
    check_weighted(engines.of(whole, toy, "generic", 4), toy)
    if backend == "jax":
        for member, one in zip(members, (soon, late), strict=True):
            for name in ("val_accuracy", "learning_rate"):
                assert [epoch[name] for epoch in member.epochs] == [epoch[name] for epoch in one.epochs]
            assert member.measured["best_epoch"] == one.measured["best_epoch"]
        assert same(weights[0], soon_weights) and same(weights[1], late_weights)
        assert not same(weights[0], late_weights)
        np.testing.assert_allclose(of_pack[:, 1], RATE, rtol=1e-6)
        check_weighted(pack, toy, members=2)
    print(f"{backend} equal")


if __name__ == "__main__":
    main(sys.argv[1])
