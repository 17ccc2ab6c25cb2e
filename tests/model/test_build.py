"""`lstm_bench.model.build`: a family's signature against its configuration, without building anything."""

from __future__ import annotations

import sys
from typing import Annotated

import pytest

from lstm_bench.core.errors import ConfigError
from lstm_bench.core.schema import Choice, Range
from lstm_bench.model import build, signature

TOY = """
from __future__ import annotations
from typing import TYPE_CHECKING, Annotated
from lstm_bench.core.configuration import Choice, Range
if TYPE_CHECKING:
    import keras

number = 3

def toy(input_shape, n_classes, lstm, gru, *, units: Annotated[int, Range(1)], rate: float = 0.1, deep: bool = False,
        cell: Annotated[str, Choice("a", "b")] = "a", free=None, odd: keras.Layer = None, worse: "not a type" = None):
    return None

def plain(input_shape, n_classes):
    return None

def narrow(input_shape, n_classes, *, units: Annotated[int, Range(1, 6)]):
    return Built(units * units)

def own(input_shape, n_classes, *, weights: str = "imagenet", units: int = 1):
    return None

def tags(input_shape, n_classes, *, units: int = 1, return_sequences: bool = False):
    return None

class Built:
    def __init__(self, n):
        self.n = n
    def count_params(self):
        return self.n

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
        signature.check(model)
    return str(caught.value)


def test_rules_come_from_the_annotations(toys):
    found = signature.rules(signature.find("toys.toy"))
    assert list(found) == ["units", "rate", "deep", "cell", "free", "odd", "worse"]
    assert found["units"][0] is int and str(found["units"][1]) == str(Range(1))
    assert found["rate"] == (float, None)
    assert found["deep"] == (bool, None)
    assert found["cell"][0] is str and str(found["cell"][1]) == str(Choice("a", "b"))
    assert {found[name][1] for name in ("free", "odd", "worse")} == {None}
    assert "keras" not in vars(sys.modules["toys"])


def test_recurrent_layers_are_the_arguments_of_their_names(toys):
    assert signature.recurrent_layers(signature.find("toys.toy")) == ("lstm", "gru")
    assert signature.recurrent_layers(signature.find("toys.plain")) == ()


def test_what_fits_is_taken(toys):
    assert signature.check({"_target_": "toys.toy", "units": 8, "rate": 1, "deep": True, "free": [1]}).__name__ == "toy"
    assert signature.check({"_target_": "toys.plain"}).__name__ == "plain"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"unit": 3}, "unknown option model.unit. Did you mean units?"),
        (
            {"input_shape": 3},
            "unknown option model.input_shape. Valid: cell, deep, embedding, free, odd, rate, units, weights, worse",
        ),
        (
            {"lstm": 3},
            "unknown option model.lstm. Valid: cell, deep, embedding, free, odd, rate, units, weights, worse",
        ),
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
        (
            "toys.number",
            "model._target_=toys.number: toys has no function number. Valid: narrow, own, plain, tags, toy",
        ),
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
    assert signature.is_own("lstm_bench.model.stacked")
    assert not signature.is_own("lstm_bench_more.model.stacked")
    assert not signature.is_own("toys.toy")


@pytest.mark.parametrize(
    ("value", "n"),
    [
        (None, None),
        (1, 1),
        (25_000, 25_000),
        ("25k", 25_000),
        ("2.5k", 2_500),
        ("1M", 10**6),
        ("700", 700),
        (1e5, 10**5),
    ],
)
def test_weights_are_a_number_or_its_short_form(toys, value, n):
    assert signature.budget(value) == n
    signature.check({"_target_": "toys.toy", "units": 3, "weights": value})


@pytest.mark.parametrize("value", [0, -5, 2.5, True, "many", "25 k", "25K", "0.0001k", "", [1]])
def test_weights_that_are_no_count_are_refused(toys, value):
    line = "model.weights: expected a whole number of at least 1, such as 25000, 25k or 1.5M, or null, received "
    assert refused({"_target_": "toys.toy", "units": 3, "weights": value}).startswith(line)


def test_weights_need_a_width(toys):
    line = "model.weights=25k: toys.plain has no argument units or filters. Set its own sizes."
    assert refused({"_target_": "toys.plain", "weights": "25k"}) == line
    assert signature.check({"_target_": "toys.plain", "weights": None})
    assert signature.width_argument(signature.find("toys.toy")) == "units"


def test_weights_give_the_width_that_a_family_needs(toys):
    assert signature.check({"_target_": "toys.toy", "weights": 100}).__name__ == "toy"


def test_a_width_stays_within_what_the_family_allows(toys, monkeypatch):
    for name, answer in (
        ("whole", lambda model, *rest: model),
        ("require_logits", lambda *a: None),
        ("lengths", lambda *a: []),
    ):
        monkeypatch.setattr(build.network, name, answer)  # what it builds only counts
    model = {"_target_": "toys.narrow"}
    assert [build.width(model, (1, 1), 2, n) for n in (1, 4, 9, 16, 25, 36)] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ConfigError, match=r"the nearest width, units=6, has 36 weights"):
        build.width(model, (1, 1), 2, 49)


def test_a_family_s_own_argument_named_weights_is_its_own(toys):
    assert signature.check({"_target_": "toys.own", "weights": "random"}).__name__ == "own"
    assert build.resolved({"_target_": "toys.own", "weights": "25k"}, (1, 1), 2)["weights"] == "25k"


def test_outputs_per_timestep_are_no_option(toys):
    assert list(signature.rules(signature.find("toys.tags"))) == ["units"]
    assert refused({"_target_": "toys.tags", "return_sequences": True}).startswith(
        "unknown option model.return_sequences"
    )


def nullable(input_shape, n_classes, *, window: int | None = None, rate: Annotated[float | None, Range(0, 1)] = 0.5,
             depth: Annotated[int, Range(1)] | None = None, implicit: int = None):  # fmt: skip  # noqa: RUF013
    """No model: only its signature is read."""


@pytest.mark.parametrize("name", ["window", "rate", "depth", "implicit"])
def test_null_is_a_value_of_every_argument_that_allows_it(name):
    target = f"{__name__}.nullable"
    assert signature.check({"_target_": target, name: None}) is nullable
    expected = "a number or null" if name == "rate" else "a whole number or null"
    with pytest.raises(ConfigError, match=f"model.{name}: expected {expected}, received 'a'"):
        signature.check({"_target_": target, name: "a"})
    if name in ("rate", "depth"):
        with pytest.raises(ConfigError, match=f"model.{name}: expected a number of at least"):
            signature.check({"_target_": target, name: -1})
