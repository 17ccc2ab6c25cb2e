"""`lstm_bench.family`: a family's signature against its configuration, without building anything."""

from __future__ import annotations

import sys

import pytest

from lstm_bench import family
from lstm_bench.config import Choice, Range
from lstm_bench.errors import ConfigError

TOY = """
from __future__ import annotations
from typing import TYPE_CHECKING, Annotated
from lstm_bench.config import Choice, Range
if TYPE_CHECKING:
    import keras

number = 3

def toy(input_shape, n_classes, lstm, gru, *, units: Annotated[int, Range(1)], rate: float = 0.1, deep: bool = False,
        cell: Annotated[str, Choice("a", "b")] = "a", free=None, odd: keras.Layer = None, worse: "not a type" = None):
    return None

def plain(input_shape, n_classes):
    return None

def _private():
    return None
"""


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """The name of a user's module that is there for this test alone."""
    (tmp_path / "toys.py").write_text(TOY)
    (tmp_path / "broken_toys.py").write_text("raise RuntimeError('no toys today')")
    monkeypatch.syspath_prepend(tmp_path)
    yield "toys"
    sys.modules.pop("toys", None)


def refused(model) -> str:
    with pytest.raises(ConfigError) as caught:
        family.check(model)
    return str(caught.value)


def test_rules_come_from_the_annotations(toys):
    found = family.rules(family.find("toys.toy"))
    assert list(found) == ["units", "rate", "deep", "cell", "free", "odd", "worse"]
    assert found["units"][0] is int and str(found["units"][1]) == str(Range(1))
    assert found["rate"] == (float, None)
    assert found["deep"] == (bool, None)
    assert found["cell"][0] is str and str(found["cell"][1]) == str(Choice("a", "b"))
    assert {found[name][1] for name in ("free", "odd", "worse")} == {None}
    assert "keras" not in vars(sys.modules["toys"])


def test_recurrent_layers_are_the_arguments_of_their_names(toys):
    assert family.recurrent_layers(family.find("toys.toy")) == ("lstm", "gru")
    assert family.recurrent_layers(family.find("toys.plain")) == ()


def test_what_fits_is_taken(toys):
    assert family.check({"_target_": "toys.toy", "units": 8, "rate": 1, "deep": True, "free": [1]}).__name__ == "toy"
    assert family.check({"_target_": "toys.plain"}).__name__ == "plain"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"unit": 3}, "unknown option model.unit. Did you mean units?"),
        ({"input_shape": 3}, "unknown option model.input_shape. Valid: cell, deep, free, odd, rate, units, worse"),
        ({"lstm": 3}, "unknown option model.lstm. Valid: cell, deep, free, odd, rate, units, worse"),
        ({"units": 0}, "model.units: expected a number of at least 1, received 0"),
        ({"units": 1.5}, "model.units: expected a whole number, received 1.5"),
        ({"units": True}, "model.units: expected a whole number, received True"),
        ({"rate": "high"}, "model.rate: expected a number, received 'high'"),
        ({"rate": False}, "model.rate: expected a number, received False"),
        ({"deep": 1}, "model.deep: expected true or false, received 1"),
        ({"cell": 3}, "model.cell: expected text, received 3"),
        ({"cell": "c"}, "model.cell: expected one of a, b, received 'c'. Valid: a, b"),
        ({}, "model.units: toys.toy needs it. Give model.units=VALUE."),
    ],
)
def test_what_does_not_fit_is_refused(toys, values, line):
    model = {"_target_": "toys.toy", **({"units": 8} if values else {}), **values}
    assert refused(model) == line


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("", "model._target_: expected package.module.function, received ''"),
        ("toy", "model._target_: expected package.module.function, received 'toy'"),
        ("toys.tyo", "model._target_=toys.tyo: toys has no function tyo. Did you mean toy?"),
        ("toys.number", "model._target_=toys.number: toys has no function number. Valid: plain, toy"),
        (
            "no_toys.toy",
            "model._target_=no_toys.toy: cannot be imported (ModuleNotFoundError: No module named 'no_toys')."
            " A module is looked for in the working directory and on PYTHONPATH.",
        ),
        (
            "broken_toys.toy",
            "model._target_=broken_toys.toy: cannot be imported (RuntimeError: no toys today)."
            " A module is looked for in the working directory and on PYTHONPATH.",
        ),
    ],
)
def test_a_target_that_is_no_function_is_refused(toys, target, line):
    assert refused({"_target_": target}) == line


def test_only_families_of_ours_are_ours():
    assert family.is_own("lstm_bench.model.stacked")
    assert not family.is_own("lstm_bench_more.model.stacked")
    assert not family.is_own("toys.toy")


# A width from a number of weights.


@pytest.mark.parametrize(
    ("written", "number"),
    [(25000, 25000), ("25k", 25000), ("100k", 100_000), ("1.5M", 1_500_000), ("0.5k", 500), (None, None)],
)
def test_a_number_of_weights_may_be_written_short(written, number):
    assert family.count(written) == number


@pytest.mark.parametrize("written", ["25 thousand", "k", 0, -3, "0.0001k", True, 1.5, [25]])
def test_what_is_no_number_of_weights_is_refused(written):
    with pytest.raises(ConfigError, match=r"model\.weights: expected a whole number such as 25000, 25k or 1\.5M"):
        family.count(written)


def test_weights_fit_every_family(toys):
    assert family.check({"_target_": "toys.plain", "weights": "25k"}).__name__ == "plain"
    assert "expected a whole number such as" in refused({"_target_": "toys.plain", "weights": "many"})


def test_the_width_is_the_nearest_to_the_weights_asked_for():
    model = {"_target_": "lstm_bench.model.single", "units": 3, "weights": "25k"}
    assert family.resolved(model, (28, 28), 10) == {"_target_": "lstm_bench.model.single", "units": 64}  # 24,714
    without = {"_target_": "lstm_bench.model.single", "units": 3}
    assert family.resolved(without, (28, 28), 10) == without
    assert family.resolved({**without, "weights": None}, (28, 28), 10) == without


def test_a_number_of_weights_that_no_width_comes_near_is_refused():
    model = {"_target_": "lstm_bench.model.single", "units": 3, "weights": 100}
    line = r"model\.weights=100: the nearest width, units=1, has 144 weights"
    with pytest.raises(ConfigError, match=line):
        family.resolved(model, (28, 28), 10)


def test_a_family_without_a_width_has_no_weights_to_choose(toys):
    with pytest.raises(ConfigError, match="has no width to choose"):
        family.resolved({"_target_": "toys.plain", "weights": 100}, (28, 28), 10)


def test_an_output_per_timestep_is_the_task_s_to_ask_for_and_no_option() -> None:
    single = {"_target_": "lstm_bench.model.single"}
    assert "return_sequences" not in family.rules(family.find("lstm_bench.model.single"))
    assert refused({**single, "return_sequences": True}).startswith("unknown option model.return_sequences")


@pytest.mark.parametrize("name", ["single", "simple_rnn"])
def test_a_family_gives_an_output_for_every_timestep_where_it_is_asked_to(name: str) -> None:
    model = {"_target_": f"lstm_bench.model.{name}", "units": 4}
    per_timestep, lengths = family.build(model, (7, 3), 5, "plain", per_timestep=True)
    once, _ = family.build(model, (7, 3), 5, "plain")
    assert (per_timestep.output_shape, once.output_shape) == ((None, 7, 5), (None, 5))
    assert per_timestep.count_params() == once.count_params() and lengths == [7]


def test_a_family_without_outputs_per_timestep_is_refused_where_they_are_wanted() -> None:
    model = {"_target_": "lstm_bench.model.cnn_lstm"}
    with pytest.raises(ConfigError, match=r"one output per sequence, .* Choose one that can: .*simple_rnn, single"):
        family.build(model, (28, 28), 5, "plain", per_timestep=True)
