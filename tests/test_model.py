"""Families: the published parameter counts, layer orders and wrappings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml

from lstm_bench import family
from lstm_bench.config import conf_dir
from lstm_bench.errors import ConfigError

MNIST = (28, 28)
# One line per family of conf/model/, on MNIST rows.
WEIGHTS = {
    "single": 24_714,
    "simple_rnn": 6_858,
    "stacked": 220_874,
    "cnn_lstm": 132_138,
}


def settings(name: str) -> dict[str, Any]:
    return yaml.safe_load((conf_dir() / "model" / f"{name}.yaml").read_text())


def build(name: str, shape: tuple[int, int] = MNIST, **changes: Any) -> Any:
    model, _ = family.build({**settings(name), **changes}, shape, 10, "generic")
    return model


def families() -> list[str]:
    return sorted(path.stem for path in Path(conf_dir() / "model").glob("*.yaml"))


@pytest.mark.parametrize("name", families())
def test_parameter_count(name: str) -> None:
    assert build(name).count_params() == WEIGHTS[name]


def test_an_lstm_has_four_times_the_weights_of_a_simple_rnn() -> None:
    lstm, rnn = (build(name).layers[0].count_params() for name in ("single", "simple_rnn"))
    assert (lstm, rnn) == (23_808, 5_952)
    assert lstm == 4 * rnn


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("single", ["LSTM", "BatchNormalization", "Dense"]),
        ("simple_rnn", ["SimpleRNN", "BatchNormalization", "Dense"]),
        ("stacked", ["LSTM", "Dropout", "LSTM", "Dense", "Dropout", "Dense"]),
        ("cnn_lstm", ["Reshape", "TimeDistributed", "LSTM", "Dense"]),
    ],
)
def test_layer_order_as_published(name: str, layers: list[str]) -> None:
    assert [type(layer).__name__ for layer in build(name).layers] == layers


def test_initialisers_are_those_of_keras() -> None:
    layer = build("single").layers[0].cell
    names = [type(getattr(layer, f"{part}_initializer")).__name__ for part in ("kernel", "recurrent", "bias")]
    assert names == ["GlorotUniform", "Orthogonal", "Zeros"]
    assert layer.unit_forget_bias is True


def test_both_wrappings_are_the_same_function_of_the_same_weights() -> None:
    whole, layered = build("cnn_lstm", wrapping="model"), build("cnn_lstm", wrapping="layers")
    assert [w.shape for w in whole.weights] == [w.shape for w in layered.weights]
    layered.set_weights(whole.get_weights())
    x = np.random.default_rng(0).random((5, *MNIST), dtype=np.float32)
    np.testing.assert_allclose(whole(x), layered(x), rtol=1e-5, atol=1e-6)
    assert len([layer for layer in layered.layers if isinstance(layer, keras.layers.TimeDistributed)]) == 3


@pytest.mark.parametrize("name", families())
def test_families_take_their_shape_from_the_data(name: str) -> None:
    assert build(name, shape=(8, 8)).output_shape == (None, 10)


def test_the_head_gives_logits() -> None:
    for name in families():
        assert build(name).layers[-1].activation is keras.activations.linear


def test_a_window_must_divide_the_timesteps() -> None:
    with pytest.raises(
        ConfigError, match=r"model\.window: expected a divisor of the 28 timesteps, received 5\. Valid: 1, 2"
    ):
        build("cnn_lstm", window=5)


def test_depth_one_has_no_dropout_between_layers() -> None:
    assert [type(layer).__name__ for layer in build("stacked", layers=1).layers] == [
        "LSTM",
        "Dense",
        "Dropout",
        "Dense",
    ]


def test_cudnnlstm_had_a_second_bias_per_gate() -> None:
    # The tutorial's 221,898 weights: 4 gates x 128 units x 2 layers of biases more than today's LSTM.
    assert WEIGHTS["stacked"] + 4 * 128 * 2 == 221_898


def test_evidence_is_held_to_the_length_that_the_recurrence_runs_over() -> None:
    lengths = {name: family.build(settings(name), MNIST, 10, "generic")[1] for name in families()}
    assert lengths == {"single": [28], "simple_rnn": [28], "stacked": [28, 28], "cnn_lstm": [7]}
    assert family.build({**settings("cnn_lstm"), "window": 14}, MNIST, 10, "unrolled")[1] == [2]
