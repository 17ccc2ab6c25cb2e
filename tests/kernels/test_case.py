"""Cells: what is counted by formula is what counting one by one, published figures and the reference's weights say."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from lstm_bench.core import vocabulary
from lstm_bench.core.errors import ConfigError
from lstm_bench.kernels import case as cells
from lstm_bench.kernels import reference, roofline

KINDS = ("lstm", "gru", "simple_rnn", "bidirectional_lstm")


def cell(**changes: Any) -> dict[str, Any]:
    """The single tutorial's LSTM, with changes."""
    usual = {"layer": "lstm", "units": 64, "layers": 1, "timesteps": 28, "features": 28, "batch": 64}
    return {**usual, "dtype": "float32", **changes}


# Two units, three features, five timesteps, a batch of seven: small enough to count by hand.
SMALL = cell(units=2, features=3, timesteps=5, batch=7)


def refused(**changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        cells.check("grid.cells[3]", cell(**changes))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_cell_has_a_name_that_tells_it_from_every_other() -> None:
    assert cells.name(cell()) == "lstm-1x64-t28-f28-b64-float32"
    assert cells.name(cell(layer="bidirectional_lstm", layers=4)) == "bidirectional_lstm-4x64-t28-f28-b64-float32"
    others = [cell(layer="gru"), cell(dtype="bfloat16"), *[cell(**{axis: 3}) for axis in vocabulary.SIZES]]
    assert len({cells.name(other) for other in [cell(), *others]}) == 8


def test_a_cell_travels_as_json_with_its_axes_in_order() -> None:
    assert tuple(cell()) == vocabulary.AXES
    assert json.loads(json.dumps(cell())) == cell()


@pytest.mark.parametrize(
    ("changes", "n"),
    [
        # The two tutorials' layers; 23,808 is four times 5,952.
        ({}, 23_808),
        ({"layer": "simple_rnn"}, 5_952),
        # LSTM(128) twice: 220,874 weights of the published network, less those of its Dense(64) and Dense(10).
        ({"units": 128, "layers": 2}, 220_874 - (128 * 64 + 64) - (64 * 10 + 10)),
        # Keras's GRU resets after the product and has two biases per gate: 3 (28 * 64 + 64 * 64 + 2 * 64).
        ({"layer": "gru"}, 18_048),
        ({"layer": "bidirectional_lstm"}, 2 * 23_808),
        # The second layer reads both directions: 2 * 4 (128 * 64 + 64 * 64 + 64).
        ({"layer": "bidirectional_lstm", "layers": 2}, 2 * 23_808 + 98_816),
    ],
)
def test_weights_are_as_many_as_published(changes: dict[str, Any], n: int) -> None:
    assert roofline.n_weights(cell(**changes)) == n


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("layer", KINDS)
def test_weights_are_as_many_as_the_reference_makes(layer: str, layers: int) -> None:
    made = cell(layer=layer, layers=layers, units=5, features=3)
    assert roofline.n_weights(made) == sum(weight.size for weight in reference.weights(made))


def test_every_layer_of_the_reference_can_be_a_cell() -> None:
    assert set(vocabulary.LAYERS) == set(reference.KINDS) == set(KINDS)


def test_the_training_step_of_the_tutorials_costs_what_was_published() -> None:
    assert roofline.flop_per_sample(cell(), "train_step") == 3_555_328  # 3.56 MFLOP
    stacked = roofline.flop_per_sample(cell(units=128, layers=2, batch=32), "train_step")
    dense = 3 * 2 * (128 * 64 + 64 * 10)  # its head, which is no part of a cell
    assert stacked + dense == pytest.approx(34.7e6, rel=1e-3)


def one_by_one(cell: dict[str, Any], operation: str) -> int:
    """Multiplications and additions of every product of a sequence, gate by gate and timestep by timestep."""
    gates = {"lstm": 4, "bidirectional_lstm": 4, "gru": 3, "simple_rnn": 1}[cell["layer"]]
    ways = 2 if cell["layer"] == "bidirectional_lstm" else 1
    total = 0
    for layer in range(cell["layers"]):
        width = cell["units"] * ways if layer else cell["features"]
        for _ in range(ways * cell["timesteps"] * gates):
            for rows, is_input in ((width, layer == 0), (cell["units"], False)):
                product = 2 * rows * cell["units"]
                total += product
                if operation != "inference":
                    total += product  # the gradient of the kernel
                if operation == "forward_backward" or (operation == "train_step" and not is_input):
                    total += product  # the gradient of what came in
    return total


@pytest.mark.parametrize("operation", vocabulary.OPERATIONS)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("layer", KINDS)
def test_operations_are_as_many_as_counting_finds(layer: str, layers: int, operation: str) -> None:
    made = cell(layer=layer, layers=layers, units=5, features=3, timesteps=7)
    assert roofline.flop_per_sample(made, operation) == one_by_one(made, operation)


@pytest.mark.parametrize("layer", KINDS)
def test_forward_and_backward_is_three_forwards(layer: str) -> None:
    made = cell(layer=layer, layers=2)
    assert roofline.flop_per_sample(made, "forward_backward") == 3 * roofline.flop_per_sample(made, "inference")


def test_operations_of_a_sample_know_nothing_of_batch_and_precision() -> None:
    for operation in vocabulary.OPERATIONS:
        assert roofline.flop_per_sample(cell(batch=1, dtype="bfloat16"), operation) == roofline.flop_per_sample(
            cell(), operation
        )


@pytest.mark.parametrize(
    ("changes", "operation", "n_bytes"),
    [
        # 48 weights are 192 bytes, 105 inputs 420, 70 outputs 280.
        ({}, "inference", 192 + 420 + 280),
        ({}, "forward_backward", 2 * 192 + 2 * 420 + 280),
        ({}, "train_step", 6 * 192 + 420 + 280),
        ({"dtype": "tf32"}, "inference", 192 + 420 + 280),
        # Outputs alone are half as wide; the gradient of the outputs is float32.
        ({"dtype": "bfloat16"}, "inference", 192 + 420 + 140),
        ({"dtype": "bfloat16"}, "train_step", 6 * 192 + 420 + 280),
        # Twice the weights and the outputs, the same inputs.
        ({"layer": "bidirectional_lstm"}, "train_step", 6 * 384 + 420 + 560),
        # What passes between layers need not leave the chip: 40 more weights, no more outputs.
        ({"layers": 2}, "inference", 192 + 160 + 420 + 280),
    ],
)
def test_bytes_of_a_step_by_hand(changes: dict[str, Any], operation: str, n_bytes: int) -> None:
    assert roofline.bytes_per_step({**SMALL, **changes}, operation) == n_bytes


@pytest.mark.parametrize("layer", KINDS)
@pytest.mark.parametrize("axis", vocabulary.SIZES)
def test_a_larger_cell_needs_more_memory(layer: str, axis: str) -> None:
    base = cell(layer=layer, units=512, layers=2, timesteps=64, features=512, batch=64)
    assert roofline.memory_mib({**base, axis: 2 * base[axis]}) > roofline.memory_mib(base)


@pytest.mark.parametrize("layer", KINDS)
def test_memory_holds_weights_gradients_moments_and_the_batch(layer: str) -> None:
    for made in (cell(layer=layer, units=2048, features=2048, batch=1, timesteps=1), cell(layer=layer, batch=4096)):
        # Read and written once each, 6 and 1 are fewer than what must be there at the same time.
        assert roofline.memory_mib(made) * 2**20 > roofline.bytes_per_step(made, "train_step")


def test_the_smallest_cell_needs_some_memory() -> None:
    assert roofline.memory_mib(cell(units=1, timesteps=1, features=1, batch=1)) == 1


@pytest.mark.parametrize("layer", KINDS)
def test_the_reference_takes_no_more_than_the_estimate(layer: str) -> None:
    made = cell(layer=layer, units=96, layers=2, timesteps=32, features=64, batch=64)
    weights, (x, cotangent) = reference.weights(made), reference.inputs(made)
    tracemalloc.start()
    try:
        reference.gradients(made, weights, x, cotangent)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / 2**20 < roofline.memory_mib(made) < 10 * peak / 2**20


@pytest.mark.parametrize("axis", vocabulary.SIZES)
@pytest.mark.parametrize("value", [0, -1, True, False, 64.0, "64", [64], {"low": 1}, float("nan")])
def test_a_size_that_is_no_count_is_refused_by_its_path(axis: str, value: Any) -> None:
    shown = repr(value) if isinstance(value, str) else str(value)
    expected = f"grid.cells[3].{axis}: expected a whole number of at least 1, received {shown}"
    assert refused(**{axis: value}) == expected


def test_a_size_of_null_is_refused() -> None:
    assert refused(units=None) == "grid.cells[3].units: expected a whole number of at least 1"


@pytest.mark.parametrize(
    ("layer", "remedy"),
    [
        ("lstmm", "Did you mean lstm?"),
        ("LSTM", "Valid: bidirectional_lstm, gru, lstm, simple_rnn"),
        ("grus", "Did you mean gru?"),
        ("bidirectional_gru", "Did you mean bidirectional_lstm?"),
    ],
)
def test_an_unknown_layer_is_refused_with_the_nearest(layer: str, remedy: str) -> None:
    valid = "lstm, gru, simple_rnn, bidirectional_lstm"
    assert refused(layer=layer) == f"grid.cells[3].layer: expected one of {valid}, received {layer!r}. {remedy}"


@pytest.mark.parametrize("layer", [None, 3, True, ["lstm"], {}])
def test_a_layer_that_is_no_text_is_refused(layer: Any) -> None:
    assert refused(layer=layer).startswith("grid.cells[3].layer: expected one of lstm, gru, ")


@pytest.mark.parametrize("layer", KINDS)
def test_a_cell_of_sizes_from_one_is_taken(layer: str) -> None:
    cells.check("grid.cells[3]", cell(layer=layer, units=1, layers=1, timesteps=1, features=1, batch=1))
