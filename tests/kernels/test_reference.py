"""The reference: held to values worked out by hand, a published example, finite differences and Keras itself."""

from __future__ import annotations

import math
from math import exp, tanh
from typing import Any

import numpy as np
import pytest

from lstm_bench.kernels import reference
from lstm_bench.kernels.reference import EPSILON, RATE, adam_step, error, gradients, inputs, shapes, step_error, weights

LAYERS = ("lstm", "gru", "simple_rnn", "bidirectional_lstm")


def cell(layer: str, **changes: Any) -> dict[str, Any]:
    made = {"layer": layer, "units": 3, "layers": 2, "timesteps": 5, "features": 4, "batch": 2, "dtype": "float32"}
    return {**made, **changes}


def problem(layer: str, **changes: Any) -> tuple[dict[str, Any], list[np.ndarray], np.ndarray, np.ndarray]:
    made = cell(layer, **changes)
    return made, weights(made), *inputs(made)


def outputs(layer: str, kernel: list, recurrent: list, bias: list, x: list[float]) -> list[float]:
    """Outputs of one unit over one sequence of one feature."""
    sequence = np.reshape(x, (1, -1, 1))
    found, _ = gradients(
        {"layer": layer, "layers": 1, "units": 1},
        [np.array([kernel]), np.array([recurrent]), np.array(bias)],
        sequence,
        np.ones_like(sequence),
    )
    return found[0, :, 0].tolist()


def logistic(x: float) -> float:
    return 1 / (1 + exp(-x))


def test_an_lstm_of_one_unit_by_hand() -> None:
    found = outputs("lstm", [0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], [0.01, 0.02, 0.03, 0.04], [1.0, -2.0])
    # i 0.1 + 0.01, f does nothing yet, candidate 0.3 + 0.03, o 0.4 + 0.04
    c1 = logistic(0.11) * tanh(0.33)
    h1 = logistic(0.44) * tanh(c1)
    c2 = logistic(-0.38 + 0.6 * h1) * c1 + logistic(-0.19 + 0.5 * h1) * tanh(-0.57 + 0.7 * h1)
    h2 = logistic(-0.76 + 0.8 * h1) * tanh(c2)
    assert found == pytest.approx([h1, h2], rel=1e-14)


def test_a_gru_of_one_unit_by_hand() -> None:
    bias = [[0.01, 0.02, 0.03], [0.1, 0.2, 0.3]]
    found = outputs("gru", [0.1, 0.2, 0.3], [0.5, 0.6, 0.7], bias, [1.0, -2.0])
    # z 0.1 + 0.01 + 0.1, r 0.2 + 0.02 + 0.2, candidate 0.3 + 0.03 + r * 0.3
    h1 = (1 - logistic(0.21)) * tanh(0.33 + logistic(0.42) * 0.3)
    z2, r2 = logistic(-0.09 + 0.5 * h1), logistic(-0.18 + 0.6 * h1)
    h2 = z2 * h1 + (1 - z2) * tanh(-0.57 + r2 * (0.7 * h1 + 0.3))
    assert found == pytest.approx([h1, h2], rel=1e-14)


def test_a_simple_rnn_of_one_unit_by_hand() -> None:
    h1 = tanh(0.5 + 0.1)
    assert outputs("simple_rnn", [0.5], [0.8], [0.1], [1.0, -2.0]) == pytest.approx([h1, tanh(-0.9 + 0.8 * h1)])


def test_the_backward_direction_starts_at_the_last_timestep() -> None:
    """One feature, one unit, weights equal in both directions: the backward outputs are those of x reversed."""
    run = [np.array([[0.1, 0.2, 0.3, 0.4]]), np.array([[0.5, 0.6, 0.7, 0.8]]), np.array([0.01, 0.02, 0.03, 0.04])]
    x = np.array([1.0, -2.0, 0.5])
    found, _ = gradients(cell("bidirectional_lstm"), [*run, *run], x.reshape(1, 3, 1), np.ones((1, 3, 2)))
    both = [outputs("lstm", *(part.reshape(-1).tolist() for part in run), list(way)) for way in (x, x[::-1])]
    assert found[0, :, 0].tolist() == pytest.approx(both[0])
    assert found[0, :, 1].tolist() == pytest.approx(both[1][::-1])


def test_a_saturated_gate_overflows_nowhere() -> None:
    assert outputs("lstm", [1e4] * 4, [0.0] * 4, [0.0] * 4, [1.0, -1.0]) == [tanh(1), 0.0]


def test_the_published_worked_example_of_an_lstm() -> None:
    """Gomez 2016, "Backpropogating an LSTM: A Numerical Example": two timesteps, forward and backward, five decimals.

    Source: blog.aidangomez.ca/2016/04/17/Backpropogating-an-LSTM-A-Numerical-Example. Its gates are in the order a
    (candidate), i, f, o and its loss is (output - label)**2 / 2, summed. Its gradients are worked out from values
    rounded to five decimals, and so are within a few of the fifth decimal.
    """
    order = [1, 2, 0, 3]  # a, i, f, o -> i, f, candidate, o
    kernel = np.array([[0.45, 0.25], [0.95, 0.8], [0.7, 0.45], [0.6, 0.4]])[order].T
    recurrent = np.array([[0.15, 0.8, 0.1, 0.25]])[:, order]
    bias = np.array([0.2, 0.65, 0.15, 0.1])[order]
    x = np.array([[[1.0, 2.0], [0.5, 3.0]]])
    labels = np.array([[[0.5], [1.25]]])

    single = {"layer": "lstm", "layers": 1, "units": 1}
    found, _ = gradients(single, [kernel, recurrent, bias], x, labels)
    assert found[0, :, 0].tolist() == pytest.approx([0.53631, 0.77198], abs=6e-6)

    _, (dkernel, drecurrent, dbias, dx) = gradients(single, [kernel, recurrent, bias], x, found - labels)
    published = np.array([[-0.02672, -0.0922], [-0.00221, -0.00666], [-0.00316, -0.01893], [-0.02593, -0.16262]])
    assert dkernel == pytest.approx(published[order].T, abs=3e-5)
    assert drecurrent == pytest.approx(np.array([[-0.01039, -0.00060, -0.00338, -0.02970]])[:, order], abs=3e-5)
    assert dbias == pytest.approx(np.array([-0.03641, -0.00277, -0.00631, -0.05362])[order], abs=3e-5)
    assert dx[0] == pytest.approx(np.array([[-0.00817, -0.00487], [-0.04743, -0.03073]]), abs=3e-5)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("layer", LAYERS)
def test_gradients_agree_with_finite_differences(layer: str, layers: int) -> None:
    made, arrays, x, cotangent = problem(layer, layers=layers, units=2, features=3, timesteps=4)
    at = [array.astype(np.float64) for array in (*arrays, x)]

    def loss() -> float:
        return float((gradients(made, at[:-1], at[-1], cotangent)[0] * cotangent).sum() / made["batch"])

    exact = gradients(made, at[:-1], at[-1], cotangent)[1]
    assert [g.shape for g in exact] == [*shapes(made), x.shape]
    for array, gradient in zip(at, exact, strict=True):
        for place in np.ndindex(array.shape):
            middle, ends = array[place], []
            for step in (1e-5, -1e-5):
                array[place] = middle + step
                ends.append(loss())
            array[place] = middle
            assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("layer", LAYERS)
def test_keras_agrees_in_outputs_and_gradients(layer: str) -> None:
    import keras
    import tensorflow as tf

    made, arrays, x, cotangent = problem(layer, units=8, timesteps=12, batch=4)
    kinds = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple_rnn": keras.layers.SimpleRNN}

    def stage() -> Any:
        if layer == "bidirectional_lstm":
            return keras.layers.Bidirectional(keras.layers.LSTM(8, return_sequences=True))
        return kinds[layer](8, return_sequences=True)

    network = keras.Sequential([keras.Input(x.shape[1:]), *(stage() for _ in range(made["layers"]))])
    assert [weight.shape for weight in network.weights] == shapes(made)
    network.set_weights(arrays)
    batch = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(batch)
        y = network(batch)
        loss = tf.reduce_sum(y * cotangent) / len(x)
    found = tape.gradient(loss, [*(weight.value for weight in network.trainable_weights), batch])

    expected, exact = gradients(made, arrays, x, cotangent)
    assert error([y.numpy()], [expected]) < 1e-5
    assert error([gradient.numpy() for gradient in found], exact) < 1e-5


@pytest.mark.parametrize("layer", ["lstm", "bidirectional_lstm"])
def test_swapped_gates_show(layer: str) -> None:
    made, arrays, x, cotangent = problem(layer)
    swapped = [np.concatenate([np.split(w, 4, axis=-1)[n] for n in (1, 0, 2, 3)], axis=-1) for w in arrays]
    assert error([gradients(made, swapped, x, cotangent)[0]], [gradients(made, arrays, x, cotangent)[0]]) > 0.1


@pytest.mark.parametrize("layer", LAYERS)
def test_every_weight_acts_on_the_outputs(layer: str) -> None:
    made, arrays, x, cotangent = problem(layer)
    whole = gradients(made, arrays, x, cotangent)[0]
    for n, array in enumerate(arrays):
        without = [*arrays[:n], 0 * array, *arrays[n + 1 :]]
        assert error([gradients(made, without, x, cotangent)[0]], [whole]) > 1e-3


@pytest.mark.parametrize("layer", LAYERS)
def test_nothing_given_is_changed(layer: str) -> None:
    made, arrays, x, cotangent = problem(layer)
    given = [array.astype(np.float64) for array in (*arrays, x, cotangent)]
    before = [array.copy() for array in given]
    gradients(made, given[:-2], *given[-2:])
    assert all(np.array_equal(now, then) for now, then in zip(given, before, strict=True))


def test_weights_are_those_of_the_seed_and_scaled_by_fan_in() -> None:
    made = cell("gru", units=64, features=400, layers=1)
    assert all(np.array_equal(a, b) for a, b in zip(weights(made, 3), weights(made, 3), strict=True))
    kernel, recurrent, bias = weights(made)
    assert [kernel.shape, recurrent.shape, bias.shape] == [(400, 192), (64, 192), (2, 192)]
    assert [kernel.std(), recurrent.std(), bias.std()] == pytest.approx([1 / 20, 1 / 8, 0.1], rel=0.1)
    assert {array.dtype for array in (*weights(made), *inputs(made))} == {np.dtype(np.float32)}
    assert error(weights(made, 1), weights(made)) > 1


def test_inputs_are_not_the_numbers_of_the_weights() -> None:
    """One generator seeded alike for both would make x a multiple of the first kernel."""
    made = cell("lstm", units=16, batch=16)
    count = 100
    x, cotangent = (array.ravel()[:count] for array in inputs(made))
    kernel = weights(made)[0].ravel()[:count]
    assert abs(np.corrcoef([x, cotangent, kernel]) - np.eye(3)).max() < 0.4


def test_a_bidirectional_layer_above_the_first_reads_both_directions() -> None:
    first = [(4, 12), (3, 12), (12,)]
    above = [(6, 12), (3, 12), (12,)]
    assert shapes(cell("bidirectional_lstm")) == [*first, *first, *above, *above]
    assert inputs(cell("bidirectional_lstm"))[1].shape == (2, 5, 6)


def test_the_first_step_of_adam_is_the_whole_formula_at_time_one() -> None:
    w, g = np.array([0.5, -0.25, 0.0, 2.0]), np.array([1.0, -3.0, 0.0, 1e-3])
    m, v = (1 - reference.BETA_1) * g, (1 - reference.BETA_2) * g**2
    expected = w - RATE * (m / (1 - reference.BETA_1)) / (np.sqrt(v / (1 - reference.BETA_2)) + EPSILON)
    assert adam_step([w], [g])[0] == pytest.approx(expected, rel=1e-15)
    assert expected[0] == 0.5 - 1e-4 / 2
    with pytest.raises(ValueError, match="zip"):
        adam_step([w], [g, g])


def test_adam_of_keras_makes_the_same_first_step() -> None:
    """Keras adds its epsilon before the correction of the second moment, hence the factor."""
    import keras

    made, arrays, x, cotangent = problem("lstm", units=8, timesteps=12)
    exact = gradients(made, arrays, x, cotangent)[1][:-1]
    variables = [keras.Variable(array) for array in arrays]
    epsilon = EPSILON * math.sqrt(1 - reference.BETA_2)
    optimizer = keras.optimizers.Adam(RATE, beta_1=reference.BETA_1, beta_2=reference.BETA_2, epsilon=epsilon)
    optimizer.apply([keras.ops.convert_to_tensor(g, "float32") for g in exact], variables)
    expected = adam_step(arrays, exact)
    assert step_error([variable.numpy() for variable in variables], arrays, expected) < 1e-4
    assert step_error(arrays, arrays, expected) > 0.9


def test_a_gradient_of_the_wrong_size_shows_in_the_step() -> None:
    made, arrays, x, cotangent = problem("gru")
    exact = gradients(made, arrays, x, cotangent)[1][:-1]
    doubled = [w.astype(np.float32) for w in adam_step(arrays, [2 * g for g in exact])]
    assert step_error(doubled, arrays, adam_step(arrays, exact)) > 0.2


def test_error_is_that_of_the_worst_array() -> None:
    right = [np.array([3.0, 4.0]), np.ones((2, 2))]
    assert error(right, right) == 0
    assert error([np.array([3.0, 4.5]), np.ones((2, 2))], right) == pytest.approx(0.1)
    assert error([np.array([3.0, 4.5]), 3 * np.ones((2, 2))], right) == pytest.approx(2)
    assert error([np.array([3.0, 4.5], np.float32)], right[:1]) == pytest.approx(0.1)


def test_error_is_absolute_where_zeros_are_expected() -> None:
    assert error([np.array([3e-3, 4e-3])], [np.zeros(2)]) == pytest.approx(5e-3)


@pytest.mark.parametrize(
    "found",
    [[np.ones((1, 2))], [np.ones(1)], [np.array([1.0, np.nan])], [np.array([1.0, np.inf])], [], [np.ones(2)] * 2],
)
def test_what_cannot_be_compared_is_infinitely_wrong(found: list[np.ndarray]) -> None:
    expected = [np.ones(2)]
    assert error(found, expected) == math.inf
    assert step_error(found, [np.zeros(2)], expected) == math.inf


def test_an_expectation_that_is_not_finite_is_met_by_nothing() -> None:
    assert error([np.ones(2)], [np.array([1.0, np.nan])]) == math.inf


def test_step_error_leaves_out_the_rounding_of_the_weights_alone() -> None:
    before = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    expected = before - 1e-6 * np.ones(1000)
    rounded = expected.astype(np.float32)
    assert error([rounded.astype(np.float64) - before], [expected - before]) > 0.01
    assert step_error([rounded], [before], [expected]) == 0
    assert step_error([before], [before], [expected]) == pytest.approx(1, abs=0.1)
    assert step_error([(before - 2e-6).astype(np.float32)], [before], [expected]) == pytest.approx(1, abs=0.1)
