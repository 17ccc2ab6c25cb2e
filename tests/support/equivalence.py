"""Run by test_engine.py in a process of its own per backend: an engine must train exactly as Keras itself does."""

from __future__ import annotations

import sys

import keras
import numpy as np

from lstm_bench.model import kernel
from lstm_bench.model.families import recurrent
from lstm_bench.training import optimizer
from lstm_bench.training.engine import factory

SETTINGS = {
    "optimizer": "adam",
    "learning_rate": 0.01,
    "momentum": 0.0,
    "global_clipnorm": None,
    "schedule": "cosine",
    "decay": 0.0,
}


def build(kernel_name: str) -> keras.Model:
    keras.utils.set_random_seed(1)
    makers = kernel.makers(kernel_name)
    return recurrent.single((7, 3), 4, makers["lstm"], units=5)


def main(backend: str, kernel_name: str, n: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 7, 3)).astype(np.float32)
    y = rng.integers(0, 4, 30).astype(np.int32)
    rows = rng.integers(0, 30, (6, 5))

    ours = build(kernel_name)
    made = factory.make(
        backend,
        ours,
        optimizer.optimizer(SETTINGS),
        x,
        y,
        batch_size=5,
        evaluation_batch_size=8,
        kernel=kernel_name,
        lengths=[7],
        steps_per_execution=n,
    )
    rates = optimizer.rates(SETTINGS, steps=6)
    before = [w.copy() for w in ours.get_weights()]
    made.warm_up()
    made.sync_model()
    for was, now in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now, err_msg="warm_up() changed the weights")
    assert int(made.optimizer.iterations) == 0, "warm_up() moved the optimizer"
    assert made.kernel_ran == kernel_name, made.evidence

    theirs = build("generic")
    theirs.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, decay_steps=6)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    losses, correct, penalty = made.steps(rows[:4], rates[:4])
    more_losses, more_correct, _ = made.steps(rows[4:], rates[4:])
    expected = [float(theirs.train_on_batch(x[row], y[row])) for row in rows]
    made.sync_model()
    np.testing.assert_allclose(losses + more_losses, sum(expected), rtol=1e-4)
    assert (penalty, made.penalised) == (0, False)
    assert 0 <= correct + more_correct <= rows.size
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)
    np.testing.assert_allclose(made.logits(x), theirs.predict(x, verbose=0), rtol=2e-3, atol=1e-4)
    assert made.logits(x).shape == (30, 4)
    # Renewed, it trains as a fresh one does: weights, optimizer and random state begin anew.
    made.reset(build(kernel_name))
    again_losses, again_correct, _ = made.steps(rows, rates)
    assert again_correct == correct + more_correct
    np.testing.assert_allclose(again_losses, losses + more_losses, rtol=1e-5)
    made.sync_model()
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)
    print(f"{backend} {kernel_name} x{n} equal:", made.evidence)


if __name__ == "__main__":
    for arm in sys.argv[2:]:
        for per_execution in factory.steps_per_execution(sys.argv[1], arm):
            main(sys.argv[1], arm, per_execution)
