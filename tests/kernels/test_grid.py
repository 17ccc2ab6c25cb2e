"""Grids: every YAML of ours holds the shapes it is for, and what cannot be meant is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lstm_bench.core import vocabulary
from lstm_bench.core.configuration import NAME, conf_dir
from lstm_bench.core.errors import ConfigError
from lstm_bench.kernels import case as cells
from lstm_bench.kernels import grid, roofline
from lstm_bench.model import kernel

GRIDS = sorted((conf_dir() / "grid").glob("*.yaml"))
GPU = "NVIDIA H200"
ONE = {"layer": "lstm", "units": 64, "layers": 1, "timesteps": 28, "features": 28, "batch": 64}
Shape = tuple[str, int, int, int, int, int]


def cell(**changes: Any) -> dict[str, Any]:
    return {**ONE, "dtype": "float32", **changes}


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def shapes(name: str) -> list[Shape]:
    """Layer, units, layers, timesteps, features and batch of each cell of a grid of ours, in one precision."""
    found = grid.cells_of(read(conf_dir() / "grid" / f"{name}.yaml"), ["float32"])
    return [tuple(one[axis] for axis in vocabulary.AXES if axis != "dtype") for one in found]  # type: ignore[misc]


def refused(*entries: Any, dtypes: tuple[str, ...] = ("float32",)) -> str:
    with pytest.raises(ConfigError) as caught:
        grid.cells_of({"cells": list(entries)}, list(dtypes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused_choice(value: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        grid.chosen("dtype", value, vocabulary.DTYPES)
    return str(caught.value)


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_grid_has_the_name_of_its_file_and_cells_that_can_be_meant(path: Path) -> None:
    found = read(path)
    assert found["name"] == path.stem and NAME.fullmatch(f"kernels-{path.stem}")
    assert found["description"]
    assert path.read_text().startswith("# python -m lstm_bench.kernels")  # the command that runs it
    dtypes = grid.chosen("dtype", found["dtypes"], vocabulary.DTYPES)
    plan = grid.cells_of(found, dtypes)
    assert len({cells.name(one) for one in plan}) == len(plan) >= 1
    assert {one["dtype"] for one in plan} == set(dtypes)
    assert grid.arms_of(list(vocabulary.OF_BACKEND), [*kernel.NAMES, *vocabulary.NAMES], found["skip"])


def test_the_grids_of_the_documentation_are_there() -> None:
    assert {path.stem for path in GRIDS} >= {"quick", "tutorial", "deepbench", "braun", "scaling"}


def test_quick_is_the_single_tutorial_s_lstm() -> None:
    assert shapes("quick") == [("lstm", 64, 1, 28, 28, 64)]


def test_tutorial_holds_the_tutorials_layers_on_mnist_rows() -> None:
    assert shapes("tutorial") == [
        ("lstm", 64, 1, 28, 28, 64),
        ("gru", 64, 1, 28, 28, 64),
        ("simple_rnn", 64, 1, 28, 28, 64),
        ("bidirectional_lstm", 64, 1, 28, 28, 64),
        ("lstm", 128, 2, 28, 28, 32),
        ("lstm", 64, 1, 7, 448, 64),
    ]


def test_tutorial_has_the_sizes_of_the_tutorial_studies() -> None:
    """The studies' own YAML says units, layers and batch; what it does not say is the family's default."""
    studies = {path.stem: read(path) for path in (conf_dir() / "study").glob("tutorial_*.yaml")}
    assert studies
    batches = {study["train"]["batch_size"] for study in studies.values()}
    assert batches == {batch for *_, batch in shapes("tutorial")}


def test_deepbench_holds_the_published_rows_with_as_many_features_as_units() -> None:
    published = {  # hidden, batch, timesteps
        *((512, 16, 25), (512, 128, 25), (1024, 128, 25), (2048, 128, 25), (4096, 128, 25)),
        *((1536, 32, 50), (256, 16, 150), (256, 64, 150)),
    }
    found = shapes("deepbench")
    assert len(found) == 8
    assert {(units, batch, timesteps) for _, units, _, timesteps, _, batch in found} == published
    assert {(layer, layers) for layer, _, layers, *_ in found} == {("lstm", 1)}
    assert all(features == units for _, units, _, _, features, _ in found)
    assert read(conf_dir() / "grid" / "deepbench.yaml")["dtypes"] == ["float32", "bfloat16"]


def test_braun_holds_one_layer_and_four_bidirectional_ones() -> None:
    assert sorted(shapes("braun")) == [
        ("bidirectional_lstm", 320, 4, 100, 123, 64),
        ("bidirectional_lstm", 320, 4, 1000, 123, 32),
        ("lstm", 320, 1, 100, 123, 64),
        ("lstm", 320, 1, 1000, 123, 32),
    ]


def test_scaling_varies_one_dimension_at_a_time_over_the_whole_range() -> None:
    found = shapes("scaling")
    base = ("lstm", 128, 1, 64, 64, 64)
    assert base in found
    varied: dict[int, list[int]] = {}
    for shape in found:
        differing = [axis for axis in range(6) if shape[axis] != base[axis]]
        assert len(differing) == 1 or shape == base
        for axis in differing:
            varied.setdefault(axis, []).append(shape[axis])  # type: ignore[arg-type]
    assert {axis: sorted(values) for axis, values in varied.items()} == {
        1: [32, 64, 256, 512, 1024, 2048],
        3: [28, 128, 256, 512, 1024],
        5: [1, 4, 16, 256, 1024],
    }


def test_lists_multiply_in_the_order_of_the_axes_and_precisions_last() -> None:
    found = grid.cells_of({"cells": [{**ONE, "units": [8, 16], "batch": [1, 2]}]}, ["float32", "bfloat16"])
    assert [(one["units"], one["batch"], one["dtype"]) for one in found] == [
        *((8, 1, "float32"), (8, 1, "bfloat16"), (8, 2, "float32"), (8, 2, "bfloat16")),
        *((16, 1, "float32"), (16, 1, "bfloat16"), (16, 2, "float32"), (16, 2, "bfloat16")),
    ]
    assert all(tuple(one) == vocabulary.AXES for one in found)


def test_a_cell_named_twice_is_measured_once_where_it_was_first() -> None:
    found = grid.cells_of({"cells": [{**ONE, "units": [8, 8]}, {**ONE, "units": 16}, {**ONE, "units": 8}]}, ["float32"])
    assert [one["units"] for one in found] == [8, 16]


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({**ONE, "unit": 3}, "unknown option grid.cells[1].unit. Did you mean units?"),
        ({**ONE, "dtype": "tf32"}, "unknown option grid.cells[1].dtype. Valid: batch, features, layer, layers, "),
        (
            {axis: ONE[axis] for axis in ONE if axis != "batch"},
            "grid.cells[1].batch: expected a value. Give layer, units, layers, timesteps, features, batch.",
        ),
        (
            "lstm",
            "grid.cells[1]: expected a mapping of layer, units, layers, timesteps, features, batch, received 'lstm'",
        ),
        (None, "grid.cells[1]: expected a mapping of layer, units, layers, timesteps, features, batch"),
        ({**ONE, "units": [8, 0]}, "grid.cells[1].units: expected a whole number of at least 1, received 0"),
        ({**ONE, "units": [8, [16]]}, "grid.cells[1].units: expected a whole number of at least 1, received [16]"),
        ({**ONE, "batch": -1}, "grid.cells[1].batch: expected a whole number of at least 1, received -1"),
        ({**ONE, "timesteps": None}, "grid.cells[1].timesteps: expected a whole number of at least 1"),
        ({**ONE, "layer": "lstn"}, "grid.cells[1].layer: expected one of lstm, gru, simple_rnn, bidirectional_lstm, "),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused_by_its_path(entry: Any, line: str) -> None:
    assert refused(ONE, entry).startswith(line)


def test_a_grid_without_a_cell_is_refused() -> None:
    assert refused().startswith("grid.cells: expected at least one cell")


def test_an_axis_without_a_value_is_refused() -> None:
    assert refused(ONE, {**ONE, "units": []}).startswith("grid.cells[1].units: expected a value")


def test_a_choice_is_all_one_or_some_in_the_order_of_the_valid_ones() -> None:
    assert grid.chosen("dtype", "all", vocabulary.DTYPES) == ["float32", "tf32", "bfloat16"]
    assert grid.chosen("dtype", "tf32", vocabulary.DTYPES) == ["tf32"]
    assert grid.chosen("dtype", ["bfloat16", "float32", "bfloat16"], vocabulary.DTYPES) == ["float32", "bfloat16"]


@pytest.mark.parametrize(
    ("value", "end"),
    [
        ("bfloat", "received 'bfloat'. Did you mean bfloat16 or float32?"),
        ("float64", "received 'float64'. Did you mean bfloat16 or float32?"),
        (["float32", "x"], "received 'x'. Valid: bfloat16, float32, tf32"),
        (["float32", "all"], "received 'all'. Valid: bfloat16, float32, tf32"),
        (32, "received 32. Did you mean tf32?"),
        (64, "received 64. Valid: bfloat16, float32, tf32"),
        ([["float32"]], "received ['float32']. Did you mean float32 or bfloat16?"),
    ],
)
def test_a_choice_that_is_not_there_is_refused_with_the_nearest(value: Any, end: str) -> None:
    assert refused_choice(value) == f"dtype: expected all, or some of float32, tf32, bfloat16, {end}"


def test_a_choice_of_nothing_is_refused() -> None:
    assert refused_choice([]).startswith("dtype: expected all, or some of float32, tf32, bfloat16")


def test_arms_are_keras_s_kernels_then_the_yardsticks_backend_by_backend() -> None:
    every = ["cudnn", "generic", "xla", "unrolled", "unrolled_xla", "bare", "native"]
    assert grid.arms_of(["tensorflow", "jax", "torch"], every, []) == [
        *(("tensorflow", name) for name in every),
        *(("jax", name) for name in ("cudnn", "generic", "unrolled", "bare", "native")),
        *(("torch", name) for name in ("cudnn", "generic", "bare", "native")),
    ]


def test_arms_are_those_that_were_chosen() -> None:
    assert grid.arms_of(["torch", "jax"], ["native", "xla", "generic"], []) == [
        *(("torch", "generic"), ("torch", "native"), ("jax", "generic"), ("jax", "native"))
    ]
    assert grid.arms_of(["torch"], ["xla"], []) == []


def test_arms_to_skip_are_left_out() -> None:
    skip = ["jax/generic", "torch/bare", "tensorflow/xla"]
    assert grid.arms_of(["torch", "jax"], ["generic", "bare"], skip) == [("torch", "generic"), ("jax", "bare")]


@pytest.mark.parametrize(
    ("arm", "end"),
    [
        ("jax/generik", "received 'jax/generik'. Did you mean jax/generic or "),
        ("torch/xla", "received 'torch/xla'. Did you mean "),
        ("generic", "received 'generic'. Did you mean "),
    ],
)
def test_an_arm_to_skip_that_does_not_exist_is_refused_with_the_nearest(arm: str, end: str) -> None:
    with pytest.raises(ConfigError) as caught:
        grid.arms_of(["torch"], ["generic"], [arm])
    assert str(caught.value).startswith(f"grid.skip: expected backend/kernel, {end}")


BIDIRECTIONAL = {"layer": "bidirectional_lstm"}


@pytest.mark.parametrize(
    ("arm", "changes", "gpu", "reason"),
    [
        # cuDNN
        (("tensorflow", "cudnn"), {}, None, "no GPU"),
        (("jax", "cudnn"), {}, None, "no GPU"),
        (("torch", "cudnn"), BIDIRECTIONAL, None, "no GPU"),
        (("tensorflow", "cudnn"), {}, GPU, None),
        (("jax", "cudnn"), BIDIRECTIONAL, GPU, None),
        (("torch", "cudnn"), {"layer": "gru", "dtype": "tf32"}, GPU, None),
        (("tensorflow", "cudnn"), {"layer": "simple_rnn"}, GPU, "SimpleRNN has no cuDNN kernel on backend=tensorflow"),
        (("jax", "cudnn"), {"layer": "gru"}, GPU, "GRU has no cuDNN kernel on backend=jax"),
        (("jax", "cudnn"), {"dtype": "bfloat16"}, GPU, "JAX's cuDNN call has no bfloat16"),
        (("jax", "cudnn"), {"dtype": "tf32"}, GPU, None),
        (("tensorflow", "cudnn"), {"dtype": "bfloat16"}, GPU, None),
        (("torch", "cudnn"), {"dtype": "bfloat16"}, GPU, None),
        (("jax", "generic"), {"dtype": "bfloat16"}, GPU, None),
        # Loops of any kind run everywhere, in TF32 where the hardware has it.
        (("tensorflow", "generic"), {}, None, None),
        (("tensorflow", "unrolled_xla"), {"layer": "simple_rnn", "dtype": "bfloat16"}, None, None),
        (("jax", "generic"), {"dtype": "tf32"}, None, "no GPU"),
        (("torch", "bare"), {"dtype": "tf32"}, None, "no GPU"),
        (("jax", "generic"), {"dtype": "tf32"}, GPU, None),
        (("torch", "bare"), {"dtype": "tf32"}, GPU, None),
        # One call for all layers
        (("tensorflow", "native"), {}, None, "TensorFlow has no call of several layers"),
        (("tensorflow", "native"), {"layers": 2}, GPU, "TensorFlow has no call of several layers"),
        (("jax", "native"), {"layers": 2}, None, "no GPU"),
        (("jax", "native"), {}, GPU, None),
        (("jax", "native"), {"layer": "gru"}, GPU, "JAX has no cuDNN call for GRU"),
        (("jax", "native"), {"dtype": "bfloat16"}, GPU, "JAX's cuDNN call has no bfloat16"),
        (("torch", "native"), {}, None, "one layer: the same as bare"),
        (("torch", "native"), {}, GPU, "one layer: the same as bare"),
        (("torch", "native"), {"layers": 2}, None, None),
        (("torch", "native"), {"layers": 2, **BIDIRECTIONAL}, GPU, None),
        # The bare layer
        (("tensorflow", "bare"), {}, None, None),
        (("tensorflow", "bare"), BIDIRECTIONAL, None, None),
        (("tensorflow", "bare"), {"layer": "gru"}, GPU, "TensorFlow has no BlockLSTM for GRU"),
        (("tensorflow", "bare"), {"dtype": "bfloat16"}, None, "BlockLSTM has no bfloat16"),
        (("jax", "bare"), {"layer": "simple_rnn", "dtype": "bfloat16"}, None, None),
        (("torch", "bare"), {"layer": "gru"}, None, None),
    ],
)
def test_an_arm_that_cannot_run_says_why(
    arm: grid.Arm, changes: dict[str, Any], gpu: str | None, reason: str | None
) -> None:
    assert grid.unavailable(arm, cell(**changes), gpu) == reason


@pytest.mark.parametrize(
    ("arm", "changes", "gpu", "ran"),
    [
        *((("tensorflow", name), {}, None, name) for name in ("generic", "xla", "unrolled", "unrolled_xla")),
        (("jax", "cudnn"), {}, GPU, "cudnn"),
        (("tensorflow", "bare"), {}, None, "block"),
        (("tensorflow", "bare"), {}, GPU, "block"),
        (("jax", "bare"), {"layer": "gru"}, GPU, "generic"),
        (("jax", "native"), {}, GPU, "cudnn"),
        (("torch", "bare"), {}, None, "onednn"),
        (("torch", "native"), {"layers": 2, **BIDIRECTIONAL}, None, "onednn"),
        (("torch", "bare"), {"layer": "gru"}, None, "aten"),
        (("torch", "bare"), {"layer": "simple_rnn"}, GPU, "cudnn"),
    ],
)
def test_an_arm_is_held_to_the_kernel_it_is_named_after(
    arm: grid.Arm, changes: dict[str, Any], gpu: str | None, ran: str
) -> None:
    assert grid.expected(arm, cell(**changes), gpu) == ran


def test_a_cell_that_needs_more_memory_than_there_is_is_refused_by_name() -> None:
    small, large = cell(), cell(units=4096, features=4096)
    need = roofline.memory_mib(large)
    plan = [small, large]
    grid.require_memory(plan, need, None)
    grid.require_memory(plan, need, need)
    remedy = "Take it out of the grid, or make it smaller."
    named = f"lstm-1x4096-t28-f4096-b64-float32 needs about {need:,} MiB: expected at most the {need - 1:,} MiB"
    for host_mib, gpu_mib, where in [
        (need - 1, None, "free"),
        (need - 1, need, "free"),
        (need, need - 1, "of GPU memory"),
    ]:
        with pytest.raises(ConfigError) as caught:
            grid.require_memory(plan, host_mib, gpu_mib)
        assert str(caught.value) == f"{named} {where}. {remedy}"


RAGGED = yaml.safe_load((conf_dir() / "grid" / "ragged.yaml").read_text())


def test_the_grid_of_unequal_lengths_names_its_distributions_and_takes_kernels_with_a_mask() -> None:
    found = grid.cells_of(RAGGED, ["float32"])
    assert [one["lengths"] for one in found] == ["japanese_vowels"] * 3 + ["plaid"]
    assert cells.name(found[3]) == "lstm-1x64-t1344-f1-b64-float32-plaid"
    lengths = grid.drawn(RAGGED, found[3])
    assert lengths is not None and len(lengths) == 64 and min(lengths) >= 100 and max(lengths) <= 1344
    assert abs(float(np.mean(lengths)) - 324) < 40  # the mean of the archive
    assert grid.drawn(RAGGED, {**found[3], "lengths": None}) is None
    reasons = [grid.unavailable(arm, found[0], "a GPU") for arm in (("jax", "cudnn"), ("torch", "native"))]
    assert reasons == [None, "the yardsticks take no mask"]
    assert grid.unavailable(("tensorflow", "cudnn"), found[0], "a GPU") is None


@pytest.mark.parametrize("quantiles", [[], [0, 3], [5, 3], "7", [1.5, 2]])
def test_a_distribution_is_an_ascending_list_of_lengths(quantiles: Any) -> None:
    with pytest.raises(ConfigError, match=r"grid\.lengths\.mine: expected an ascending list"):
        grid.drawn({"lengths": {"mine": quantiles}}, {"batch": 4, "timesteps": 9, "lengths": "mine"})


def test_a_distribution_that_is_not_there_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"grid.cells\[0\].lengths: expected one of grid.lengths: japanese_vowels, plaid"
    ):
        grid.cells_of({**RAGGED, "cells": [{**RAGGED["cells"][0], "lengths": "mine"}]}, ["float32"])
