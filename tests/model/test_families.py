"""Families: the published parameter counts, layer orders and wrappings."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import ConfigError
from lstm_bench.model import build as family
from lstm_bench.model import signature

MNIST = (28, 28)
# One line per family of conf/model/, on MNIST rows.
WEIGHTS = {
    "single": 24_714,
    "simple_rnn": 6_858,
    "stacked": 220_874,
    "cnn_lstm": 132_138,
    "gru": 18_954,
    "bidirectional": 49_418,
    "recurrent_dropout": 24_714,
    "layer_norm": 25_354,
    "min_gru": 12_938,
    "cnn": 51_530,
    "mlp": 55_050,
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
        ("gru", ["GRU", "BatchNormalization", "Dense"]),
        ("bidirectional", ["Bidirectional", "BatchNormalization", "Dense"]),
        ("recurrent_dropout", ["LSTM", "BatchNormalization", "Dense"]),
        ("layer_norm", ["RNN", "BatchNormalization", "Dense"]),
        ("min_gru", ["MinGRU", "MinGRU", "BatchNormalization", "Dense"]),
        ("cnn", ["Conv1D", "BatchNormalization", "ReLU"] * 3 + ["GlobalAveragePooling1D", "Dense"]),
        ("mlp", ["Flatten", "Dense", "Dropout", "Dense", "Dropout", "Dense"]),
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
    import keras

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
    import keras

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
    assert lengths == {
        **{name: [28] for name in ("single", "simple_rnn", "gru", "recurrent_dropout", "layer_norm")},
        **{name: [28, 28] for name in ("stacked", "bidirectional")},
        **{name: [] for name in ("min_gru", "cnn", "mlp")},
        "cnn_lstm": [7],
    }
    assert family.build({**settings("cnn_lstm"), "window": 14}, MNIST, 10, "unrolled")[1] == [2]


def test_every_family_has_a_study_and_a_place_in_the_docs() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "sweeps.md").read_text()
    for name in families():
        study = yaml.safe_load((conf_dir() / "study" / f"{name}.yaml").read_text())
        assert {"override /model": name} in study["defaults"] and study["study"]["n_trials"] == 20
        assert f"`{name}`" in guide


def test_a_gru_is_the_one_that_cudnn_computes() -> None:
    assert build("gru").layers[0].reset_after is True


def test_recurrent_dropout_is_on_the_state_and_has_the_weights_of_single() -> None:
    model = build("recurrent_dropout", recurrent_dropout=0.4, dropout=0.1)
    assert (model.layers[0].recurrent_dropout, model.layers[0].dropout) == (0.4, 0.1)
    plain = build("single")
    model.set_weights(plain.get_weights())
    x = np.random.default_rng(0).random((5, *MNIST), dtype=np.float32)
    np.testing.assert_allclose(model(x), plain(x), rtol=1e-4, atol=1e-5)
    assert not np.allclose(model(x, training=True), plain(x, training=True), atol=1e-2)


SEQUENCES = ["bidirectional", "gru", "layer_norm", "min_gru", "recurrent_dropout", "simple_rnn", "single", "stacked"]


def test_the_families_that_give_an_output_per_timestep() -> None:
    assert family.per_timestep_families() == SEQUENCES


@pytest.mark.parametrize("name", SEQUENCES)
def test_an_output_per_timestep_has_the_weights_of_one_per_sequence(name: str) -> None:
    model, _ = family.build(settings(name), (9, 4), 3, "generic", per_timestep=True)
    assert model.output_shape == (None, 9, 3)
    assert model(np.zeros((2, 9, 4), np.float32)).shape == (2, 9, 3)
    whole, _ = family.build(settings(name), (9, 4), 3, "generic")
    assert model.count_params() == whole.count_params()
    if name != "bidirectional":  # whose backward outputs end at the first timestep
        whole.set_weights(model.get_weights())
        x = np.random.default_rng(1).random((2, 9, 4), dtype=np.float32)
        np.testing.assert_allclose(model(x)[:, -1], whole(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cnn", "mlp", "cnn_lstm"])
def test_a_family_without_an_output_per_timestep_names_those_that_have(name: str) -> None:
    with pytest.raises(ConfigError, match="one output per sequence") as caught:
        family.build(settings(name), MNIST, 3, "generic", per_timestep=True)
    assert str(caught.value).endswith(f"These can: {', '.join(SEQUENCES)}.")


@pytest.mark.parametrize(
    ("name", "weights", "width"),
    [
        ("single", "25k", 64),
        ("simple_rnn", 25_000, 138),
        ("stacked", "100k", 84),
        ("cnn", "0.1M", 92),
        ("single", 24_714, 64),
    ],
)
def test_the_width_for_a_number_of_weights_is_the_nearest(name: str, weights: Any, width: int) -> None:
    model = settings(name)
    found = family.resolved({**model, "weights": weights}, MNIST, 10)
    argument = "filters" if name == "cnn" else "units"
    assert found == {**{key: value for key, value in model.items() if key != "weights"}, argument: width}
    wanted, counts = signature.budget(weights), {}
    for near in (width - 1, width, width + 1):
        counts[near] = family.build({**found, argument: near}, MNIST, 10, "plain")[0].count_params()
    assert min(counts, key=lambda near: abs(counts[near] - wanted)) == width


def test_a_build_takes_the_width_of_its_weights_and_the_seed_s_numbers() -> None:
    import keras

    family._counted.cache_clear()
    twice = []
    for _ in range(2):  # with the widths counted now, and known from before
        keras.utils.set_random_seed(5)
        twice.append(family.build({**settings("simple_rnn"), "weights": 700}, (8, 8), 10, "generic")[0])
    assert 686 <= twice[0].count_params() <= 714
    for a, b in zip(twice[0].get_weights(), twice[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_weights_change_nothing() -> None:
    model = {"_target_": "lstm_bench.model.single", "units": 5}
    assert family.resolved(model, MNIST, 10) == model
    assert family.resolved({**model, "weights": None}, MNIST, 10) == {**model, "weights": None}


def test_weights_that_no_width_comes_near_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"model\.weights=25000: the nearest width, units=13, has 24,324 weights\. It must"
    ):
        family.width(settings("cnn_lstm"), MNIST, 10, 25_000)
    with pytest.raises(ConfigError, match=r"model\.weights=3: the nearest width, units=1, has"):
        family.build({**settings("single"), "weights": 3}, MNIST, 10, "generic")


@pytest.mark.parametrize("name", families())
def test_a_docstring_says_every_argument_in_order_and_what_comes_out(name: str) -> None:
    function = signature.find(settings(name)["_target_"])
    text = inspect.getdoc(function) or ""
    said = re.findall(r"^  (\w+): \S", text.partition("Args:\n")[2].partition("\n\n")[0], re.MULTILINE)
    assert said == list(inspect.signature(function).parameters)
    assert "\n\nReturns:\n  Uncompiled model: " in text


@pytest.mark.filterwarnings("ignore:.*does not support masking")  # said of a Sequential model; its layers get the mask
@pytest.mark.parametrize("kernel", ["generic", "unrolled"])
def test_a_layer_that_reads_backwards_answers_at_each_timestep_whatever_the_padding(kernel: str) -> None:
    """Keras's unrolled loop of TensorFlow zeroes its outputs by a mask that runs the other way."""
    from lstm_bench.model import network

    lengths, x = np.array([1, 4, 6]), np.random.default_rng(0).standard_normal((3, 9, 2)).astype(np.float32)
    mask, sizes = np.arange(9) < lengths[:, None], {"_target_": "lstm_bench.model.bidirectional", "units": 4}
    model = family.build(sizes, (9, 2), 3, kernel, per_timestep=True, masked=True)[0]
    long, short = (np.asarray(network.masked_call(model, x[:, :n], mask[:, :n], training=False)) for n in (9, 6))
    np.testing.assert_allclose(long[:, :6][mask[:, :6]], short[mask[:, :6]], atol=1e-6)
    for i, n in enumerate(lengths):
        alone = np.asarray(network.masked_call(model, x[i : i + 1, :n], mask[i : i + 1, :n], training=False))
        np.testing.assert_allclose(long[i, :n], alone[0], atol=1e-6)
