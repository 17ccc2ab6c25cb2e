"""Run by test_engine.py in a process of its own per backend: models as users write them train as Keras's own step does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import Input, Sequential, layers, ops

from lstm_bench.core.errors import ConfigError
from lstm_bench.model import build, kernel, network
from lstm_bench.training import optimizer
from lstm_bench.training.engine import factory
from lstm_bench.training.engine import pack as packed

SHAPE, CLASSES, STEPS, BATCH = (8, 3), 4, 5, 6
SETTINGS = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.0, "global_clipnorm": None, "schedule": "constant"}
SETTINGS |= {"decay": 0.0}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, *SHAPE)).astype(np.float32)
X[::3, 5:] = 0  # what Masking leaves out, at the right
Y = RNG.integers(0, CLASSES, 30).astype(np.int32)
ROWS = RNG.integers(0, 30, (STEPS, BATCH))


class Shrinks(layers.Layer):
    """Adds a loss that depends on its input."""

    def call(self, x: Any) -> Any:
        self.add_loss(0.1 * ops.mean(ops.square(x)))
        return x


class Subclassed(keras.Model):
    def __init__(self, lstm: Any):
        super().__init__()
        self.recurrent, self.head = lstm(5), layers.Dense(CLASSES)

    def call(self, x: Any) -> Any:
        return self.head(self.recurrent(x))


def plain(lstm: Any) -> Any:
    return Sequential([Input(SHAPE), lstm(5), layers.Dense(CLASSES)])


def functional(lstm: Any) -> Any:
    start = Input(SHAPE)
    return keras.Model([start], [layers.Dense(CLASSES)(lstm(5)(start))])


def residual(lstm: Any) -> Any:
    start = Input(SHAPE)
    x = layers.Dense(5)(start)
    x = layers.Add()([x, lstm(5, return_sequences=True)(x)])
    return keras.Model(start, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(x)))


def masked(lstm: Any) -> Any:
    return Sequential([Input(SHAPE), layers.Masking(0.0), lstm(5), layers.Dense(CLASSES)])


def nested(lstm: Any) -> Any:
    inner = Sequential([Input(SHAPE), lstm(5, return_sequences=True), Shrinks()])
    start = Input(SHAPE)
    return keras.Model(start, layers.Dense(CLASSES)(lstm(4)(inner(start))))


def shared(lstm: Any) -> Any:
    start, layer = Input(SHAPE), lstm(5)
    early, late = start[:, :4], start[:, 4:]
    return keras.Model(start, layers.Dense(CLASSES)(layers.Concatenate()([layer(early), layer(late)])))


def branches(lstm: Any) -> Any:
    start = Input(SHAPE)
    short = layers.AveragePooling1D(2)(start)
    return keras.Model(start, layers.Dense(CLASSES)(layers.Concatenate()([lstm(4)(start), lstm(3)(short)])))


def states(lstm: Any) -> Any:
    start = Input(SHAPE)
    begun = [layers.Dense(5)(layers.Flatten()(start)) for _ in range(2)]
    return keras.Model(start, layers.Dense(CLASSES)(lstm(5)(start, initial_state=begun)))


def subclassed(lstm: Any) -> Any:
    return Subclassed(lstm)


def regularised(lstm: Any) -> Any:
    """Every regulariser that Keras has, and a loss of a layer's own in a nested model."""
    l2, l1 = keras.regularizers.L2(0.3), keras.regularizers.L1(0.05)
    start = Input(SHAPE)
    x = Sequential([Input(SHAPE), layers.Dense(5, activity_regularizer=l2), Shrinks()])(start)
    x = lstm(5, kernel_regularizer=l2, recurrent_regularizer=l1, bias_regularizer=l2)(x)
    return keras.Model(start, layers.Dense(CLASSES, kernel_regularizer=l2, activity_regularizer=l1)(x))


MODELS: dict[str, tuple[Callable[[Any], Any], list[int]]] = {
    "plain": (plain, [8]),
    "functional": (functional, [8]),
    "residual": (residual, [8]),
    "masked": (masked, [8]),
    "nested": (nested, [8, 8]),
    "shared": (shared, [4, 4]),
    "branches": (branches, [4, 8]),
    "states": (states, [8]),
    "subclassed": (subclassed, [8]),
    "regularised": (regularised, [8]),
}
PENALISED = ("nested", "regularised")


def built(name: str, kernel_name: str, seed: int = 1) -> tuple[Any, list[int]]:
    keras.utils.set_random_seed(seed)
    made = MODELS[name][0](kernel.makers(kernel_name)["lstm"])
    made = network.whole(made, SHAPE, (None, CLASSES), name)
    return made, network.lengths(made, SHAPE[0])


def fitted(model: Any) -> tuple[list[float], list[float]]:
    """Total loss of each of Keras's own training steps, and what of it is the model's own."""
    model.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    totals, added = [], []
    for row in ROWS:
        answers = ops.convert_to_tensor(model.predict_on_batch(X[row]))
        data = float(keras.losses.SparseCategoricalCrossentropy(from_logits=True)(Y[row], answers))
        totals.append(float(model.train_on_batch(X[row], Y[row])))
        added.append(totals[-1] - data)
    return totals, added


def prepared(backend: str, name: str, kernel_name: str, n: int) -> Any:
    model, lengths = built(name, kernel_name)
    assert sorted(lengths) == MODELS[name][1], (name, lengths)
    given = {"batch_size": BATCH, "evaluation_batch_size": 8, "kernel": kernel_name, "lengths": lengths}
    return factory.make(backend, model, optimizer.optimizer(SETTINGS), X, Y, steps_per_execution=n, **given)


def main(backend: str, name: str, kernel_name: str, n: int) -> None:
    made = prepared(backend, name, kernel_name, n)
    made.warm_up()
    assert made.kernel_ran == kernel_name, made.evidence
    totals, added = fitted(built(name, "generic")[0])
    rates = optimizer.rates(SETTINGS, STEPS)
    for step in range(STEPS):
        loss, _, penalty = made.steps(ROWS[step : step + 1], rates[step : step + 1])
        np.testing.assert_allclose(loss + penalty, totals[step], rtol=2e-4, err_msg=f"{name} {kernel_name} {step}")
        np.testing.assert_allclose(penalty, added[step], rtol=2e-3, atol=2e-4)
    assert made.penalised is (name in PENALISED), name
    assert (abs(penalty) > 1e-3) is made.penalised


def a_pack_pays_the_same_penalty(n: int) -> None:
    alone = prepared("jax", "regularised", "generic", n)
    pack = packed.Pack(alone, [built("regularised", "generic", seed)[0] for seed in (1, 2)])
    pack.warm_up()
    rates = optimizer.rates(SETTINGS, STEPS)
    sums = pack.steps(np.repeat(ROWS[:, None], 2, axis=1), np.repeat(rates[:, None], 2, axis=1))
    assert pack.penalised
    alone.warm_up()
    for member, seed in enumerate((1, 2)):
        alone.reset(built("regularised", "generic", seed)[0])
        own = alone.steps(ROWS, rates)
        np.testing.assert_allclose([total[member] for total in sums], own, rtol=2e-4)


def refused() -> None:
    """What is no logits, no model of one input, or no mask for a kernel, is said before anything is trained."""
    head = layers.Dense(CLASSES, activation="softmax")
    for ends in (
        Sequential([Input(SHAPE), layers.LSTM(3), head]),
        Sequential([Input(SHAPE), layers.LSTM(3), layers.Dense(CLASSES), layers.Softmax()]),
        Sequential(
            [Input(SHAPE), layers.LSTM(3), layers.Dense(CLASSES), layers.Activation("sigmoid"), layers.Dropout(0.1)]
        ),
        Sequential([Input(SHAPE), layers.LSTM(3), Sequential([layers.Dense(CLASSES, activation="sigmoid")])]),
    ):
        try:
            network.require_logits(network.whole(ends, SHAPE, (None, CLASSES), "own.net"), "own.net")
        except ConfigError as error:
            assert "its outputs are probabilities" in str(error) and "expected logits" in str(error), error
        else:
            raise AssertionError(ends.layers)
    start = Input(SHAPE)
    by_operation = keras.Model(start, ops.softmax(layers.Dense(CLASSES)(layers.LSTM(3)(start))))
    halves = [layers.Dense(CLASSES, activation="softmax")(layers.LSTM(3)(start)) for _ in range(2)]
    hidden = keras.Model(start, layers.Average()(halves))
    for check, model in ((network.require_logits, by_operation), (network.require_no_distribution, hidden)):
        try:
            check(model, "own.net")
        except ConfigError as error:
            assert "probabilities" in str(error)
        else:
            raise AssertionError(check)
    sound = plain(layers.LSTM)
    network.require_logits(sound, "own.net")
    network.require_no_distribution(sound, "own.net")
    regression = Sequential([Input(SHAPE), layers.LSTM(3), layers.Dense(1, activation="sigmoid")])
    network.require_logits(network.whole(regression, SHAPE, (None, 1), "own.net"), "own.net")
    for model, expected in (
        (keras.Model([start, Input((2,))], layers.LSTM(4)(start)), "one input and one output"),
        (Sequential([Input((5, 3)), layers.LSTM(4)]), "an input of shape (None, 8, 3)"),
        (Sequential([Input(batch_shape=(2, 8, 3)), layers.LSTM(4)]), "an input of shape (None, 8, 3)"),
        (Sequential([Input(SHAPE), layers.LSTM(3)]), "logits of shape (None, 4)"),
        (layers.LSTM(4), "a function that returns a keras.Model"),
        (None, "a function that returns a keras.Model"),
    ):
        try:
            network.whole(model, SHAPE, (None, CLASSES), "own.net")
        except ConfigError as error:
            assert expected in str(error), error
        else:
            raise AssertionError(expected)


def saved_and_loaded() -> None:
    registered = dict(keras.saving.get_custom_objects())
    keras.utils.set_random_seed(1)
    build.require_saveable(residual(layers.LSTM), "lstm_bench.model.single", registered)
    doubled = Sequential([Input(SHAPE), layers.Lambda(lambda x: x * 2), layers.LSTM(4)])
    for model, remedy in ((doubled, "A Lambda holds code"), (nested(layers.LSTM), "(its own Shrinks)")):
        try:
            build.require_saveable(model, "lstm_bench.model.single", registered)
        except ConfigError as error:
            assert remedy in str(error) and "\n" not in str(error), error
        else:
            raise AssertionError(remedy)
    assert keras.saving.get_custom_objects() == registered


if __name__ == "__main__":
    backend, kernels = sys.argv[1], sys.argv[2].split(",")
    for name in sys.argv[3].split(","):
        for kernel_name in kernels:
            for n in factory.steps_per_execution(backend, kernel_name)[:1]:
                main(backend, name, kernel_name, n)
                print(f"{backend} {name} {kernel_name} equal", flush=True)
    if backend == "jax":
        a_pack_pays_the_same_penalty(1)
        print("pack equal", flush=True)
    refused()
    saved_and_loaded()
    print("refused and saved", flush=True)
