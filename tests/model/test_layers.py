"""Layers of our own against the equations of their papers, written out in NumPy, float64. The other backends: test_engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_reference import layer_norm_lstm, min_gru

from lstm_bench.model import layers

UNITS, EPSILON = 5, 1e-3


def trained_like(built: Any, seed: int = 0) -> list[np.ndarray]:
    """Weights that are all different from what they begin with: a gain or bias that is left out shows."""
    rng = np.random.default_rng(seed)
    built.set_weights([rng.standard_normal(w.shape).astype(np.float32) for w in built.get_weights()])
    return [w.astype(np.float64) for w in built.get_weights()]


def inputs(timesteps: int = 7) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((3, timesteps, 4)).astype(np.float32)


@pytest.mark.parametrize("unroll", [False, True])
def test_the_layer_normalised_lstm_is_that_of_the_paper(unroll: bool) -> None:
    made = layers.layer_norm_lstm(UNITS, return_sequences=True, unroll=unroll)
    x = inputs()
    made.build(x.shape)
    expected = layer_norm_lstm(x, trained_like(made), EPSILON)
    np.testing.assert_allclose(made(x), expected, rtol=1e-4, atol=1e-5)


def test_the_layer_normalised_lstm_begins_as_keras_s_lstm_does() -> None:
    import keras

    made = layers.LayerNormLSTMCell(UNITS)
    made.build((None, 4))
    ours = {w.name: w.numpy() for w in made.weights}
    theirs = keras.layers.LSTMCell(UNITS)
    theirs.build((None, 4))
    gates, known = ours["bias"].reshape(4, UNITS), theirs.bias.numpy().reshape(4, UNITS)
    np.testing.assert_array_equal(gates[[0, 1, 3]], known[[0, 1, 3]])
    assert (gates[2] != 0).all() and np.abs(gates[2]).max() < 0.5  # the candidate's: near 0, not at it
    assert [ours[name].shape for name in ("kernel", "recurrent_kernel")] == [(4, 4 * UNITS), (UNITS, 4 * UNITS)]
    np.testing.assert_allclose(ours["recurrent_kernel"] @ ours["recurrent_kernel"].T, np.eye(UNITS), atol=1e-5)
    assert all((ours[name] == 1).all() for name in ("kernel_gain", "recurrent_gain", "state_gain"))
    assert (ours["state_bias"] == 0).all()


def test_the_first_timestep_of_a_normalised_lstm_is_finite_in_value_and_gradient() -> None:
    import tensorflow as tf

    made, x = layers.layer_norm_lstm(UNITS), tf.zeros((2, 3, 4))  # nothing varies: the variance is 0
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(made(x))
    for gradient in tape.gradient(loss, made.trainable_variables):
        assert np.isfinite(gradient.numpy()).all()


@pytest.mark.parametrize("timesteps", [1, 2, 7, 8, 28])
def test_the_scan_of_min_gru_is_its_sequential_recurrence(timesteps: int) -> None:
    made, x = layers.MinGRU(UNITS, return_sequences=True), inputs(timesteps)
    made.build(x.shape)
    expected = min_gru(x, trained_like(made))
    np.testing.assert_allclose(made(x), expected, rtol=1e-4, atol=1e-5)
    last = layers.MinGRU(UNITS)
    last.build(x.shape)
    last.set_weights(made.get_weights())
    np.testing.assert_allclose(last(x), expected[:, -1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("made", [layers.MinGRU(UNITS), layers.layer_norm_lstm(UNITS)], ids=["min_gru", "layer_norm"])
def test_a_saved_layer_is_loaded_in_safe_mode(tmp_path: Path, made: Any) -> None:
    # Two of them: what the first gives is known in shape.
    import keras

    model, x = keras.Sequential([keras.Input((7, 4)), layers.MinGRU(UNITS, return_sequences=True), made]), inputs()
    trained_like(model)
    model.save(tmp_path / "it.keras")
    loaded = keras.saving.load_model(tmp_path / "it.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_long_margin_of_zeros_leaves_gradients_finite() -> None:
    import keras

    keras.utils.set_random_seed(0)
    x = np.zeros((8, 120, 3), np.float32)
    x[:, 100:] = np.random.default_rng(0).normal(size=(8, 20, 3))
    model = keras.Sequential([keras.Input((120, 3)), layers.layer_norm_lstm(6), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for _ in range(3):
        loss = model.train_on_batch(x, np.arange(8) % 2)
        assert np.isfinite(loss)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
