"""`lstm_bench.study.search_space`: paths and domains in, distributions out, everything else refused."""

from __future__ import annotations

import math

import fake
import pytest
from omegaconf import OmegaConf

from lstm_bench.core import formatting
from lstm_bench.core.errors import ConfigError
from lstm_bench.study import reader
from lstm_bench.study.search_space import (
    choices_to_check,
    corners,
    flatten,
    grid,
    indices,
    parse,
    pinned,
    point,
    points,
    unseen,
)
from lstm_bench.sweep.samplers import distributions

INT = {"type": "int", "low": 8, "high": 64}
RATE = {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}


def parsed(space):
    return parse(fake.config({"study.space": space}))


def test_nested_and_dotted_paths_are_the_same():
    expected = {
        "model.units": {"type": "int", "low": 8, "high": 64, "step": None, "log": False},
        "train.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "step": None, "log": True},
    }
    assert parsed({"model.units": INT, "train.learning_rate": RATE}) == expected
    assert parsed({"train": {"learning_rate": RATE}, "model": {"units": INT}}) == expected
    assert parsed({"train.learning_rate": RATE, "model": {"units": INT}}) == expected
    assert list(parsed({"train.learning_rate": RATE, "model": {"units": INT}})) == sorted(expected)


def test_a_command_line_changes_one_bound_of_a_dotted_domain():
    # As Hydra composes the YAML's dotted key and `++study.space.model.units.high=128`.
    composed = OmegaConf.create({"model.units": INT, "train.learning_rate": RATE})
    OmegaConf.update(composed, "model.units.high", 128, force_add=True)
    space = parsed(OmegaConf.to_container(composed))
    assert (space["model.units"]["low"], space["model.units"]["high"]) == (8, 128)
    assert space["train.learning_rate"]["high"] == 1e-2


def test_a_command_line_may_replace_the_type():
    space = parsed({"model.units": INT, "model": {"units": {"type": "int", "low": 1, "high": 2}}})
    assert (space["model.units"]["low"], space["model.units"]["high"]) == (1, 2)


def test_a_null_takes_a_dimension_out_of_the_space():
    assert list(parsed({"model.units": INT, "train.learning_rate": RATE, "model": {"units": None}})) == [
        "train.learning_rate"
    ]
    assert parsed({"model.units": None}) == {}
    with pytest.raises(ConfigError, match=r"study\.space\.model\.unit: no such configuration path"):
        parsed({"model": {"unit": None}})


def test_what_a_study_searches_of_another_family_is_named_and_can_be_taken_out():
    with pytest.raises(
        ConfigError,
        match=r"study\.space\.model\.filters: no such configuration path\. "
        r"The family single has none: study\.space\.model\.filters=null takes it out of the space",
    ):
        parsed({"model.filters": INT, "train.learning_rate": RATE})
    space = parsed({"model.filters": INT, "train.learning_rate": RATE, "model": {"filters": None}})
    assert list(space) == ["train.learning_rate"]


def test_an_empty_space_is_one_configuration():
    assert parsed({}) == {}
    assert corners({}) == [{}]
    assert flatten({}) == {}


@pytest.mark.parametrize(
    ("space", "line"),
    [
        (
            {"model.unit": INT},
            "study.space.model.unit: no such configuration path. Did you mean model.units or model.weights or model.batch_norm?",
        ),
        (
            {"study.seed": INT},
            "study.space.study.seed: no such configuration path. Only model.* and train.* can be searched",
        ),
        (
            {"model._target_": INT},
            "study.space.model._target_: no such configuration path. "
            "Did you mean model.batch_norm or model.weights or model.units?",
        ),
        ({"model.units": 64}, "study.space.model.units: expected a domain such as {type: int, low: 1, high: 9}, received 64"),
        ({"model": {"units": {"low": 1}}}, "study.space.model.units: a domain needs a type. Valid: int, float, categorical."),
        (
            {"model.units": {**INT, "type": "integer"}},
            "study.space.model.units.type: expected int, float or categorical, received 'integer'",
        ),
        ({"model.units": {**INT, "hihg": 3}}, "study.space.model.units: unknown key hihg. Did you mean high?"),
        ({"model.units": {**INT, "low": 65}}, "study.space.model.units: low 65 is above high 64. Exchange them."),
        ({"model.units": {"type": "int", "low": 8}}, "study.space.model.units.high: expected a whole number"),
        ({"model.units": {**INT, "low": 8.5}}, "study.space.model.units.low: expected a whole number, received 8.5"),
        ({"model.units": {**INT, "low": True}}, "study.space.model.units.low: expected a whole number, received True"),
        ({"model.units": {**INT, "low": 0}}, "study.space.model.units: expected a number of at least 1, received 0"),
        ({"model.units": {**INT, "log": 1}}, "study.space.model.units.log: expected true or false, received 1"),
        ({"model.units": {**INT, "step": 0}}, "study.space.model.units.step: expected a number above 0, and no log, received 0"),
        (
            {"model.units": {**INT, "step": 2, "log": True}},
            "study.space.model.units.step: expected a number above 0, and no log, received 2",
        ),
        ({"model.units": {**INT, "step": 5}}, "study.space.model.units.high: expected low 8 plus whole steps of 5, received 64"),
        (
            {"train.learning_rate": {**RATE, "low": 0}},
            "study.space.train.learning_rate.low: expected a number above 0 where log is true, received 0",
        ),
        (
            {"train.learning_rate": {"type": "float", "low": 0, "high": 1}},
            "study.space.train.learning_rate: expected a number above 0, received 0.0",
        ),
        (
            {"train.learning_rate": {**RATE, "high": float("nan")}},
            "study.space.train.learning_rate.high: expected a finite number, received nan",
        ),
        (
            {"train.learning_rate": {**RATE, "high": float("inf")}},
            "study.space.train.learning_rate.high: expected a finite number, received inf",
        ),
        (
            {"train.learning_rate": {**RATE, "high": "1e-2"}},
            "study.space.train.learning_rate.high: expected a finite number, received '1e-2'",
        ),
        (
            {"model.units": {"type": "float", "low": 8, "high": 64}},
            "study.space.model.units: expected a whole number, received 8.0",
        ),
        (
            {"train.optimizer": {"type": "categorical", "choices": ["adam", "sdg"]}},
            "study.space.train.optimizer: expected one of adam, adamw, nadam, rmsprop, sgd, received 'sdg'. Did you mean sgd?",
        ),
        (
            {"train.optimizer": {"type": "categorical", "choices": []}},
            "study.space.train.optimizer.choices: expected a list of at least one value, received []",
        ),
        (
            {"train.optimizer": {"type": "categorical", "choices": "adam"}},
            "study.space.train.optimizer.choices: expected a list of at least one value, received 'adam'",
        ),
        (
            {"train.batch_size": {"type": "categorical", "choices": [32, 32]}},
            "study.space.train.batch_size.choices: expected different values, received [32, 32]",
        ),
        (
            {"train.batch_size": {"type": "categorical", "choices": [32, None]}},
            "study.space.train.batch_size: expected a whole number",
        ),
        (
            {"train.global_clipnorm": {"type": "categorical", "choices": [None, 0]}},
            "study.space.train.global_clipnorm: expected a number above 0, received 0",
        ),
        (
            {"train.global_clipnorm": {"type": "categorical", "choices": [None, "a"]}},
            "study.space.train.global_clipnorm: expected a number or null, received 'a'",
        ),
        (
            {"train.global_clipnorm": {"type": "categorical", "choices": [None, ""]}},
            "study.space.train.global_clipnorm.choices: expected different values, received [None, '']",
        ),
        (
            {"train.decay": {"type": "categorical", "choices": [1, 1.0]}},
            "study.space.train.decay.choices: expected different values, received [1, 1.0]",
        ),
        (
            {"train.batch_size": {"type": "categorical", "choices": [[32], [64]]}},
            "study.space.train.batch_size.choices: expected numbers, texts, true, false or null, received [[32], [64]]",
        ),
        (
            {"train.batch_size": {"type": "categorical", "choices": [32, 0]}},
            "study.space.train.batch_size: expected a number of at least 1, received 0",
        ),
    ],
)  # fmt: skip
def test_what_is_no_space_is_refused(space, line):
    with pytest.raises(ConfigError) as caught:
        parsed(space)
    assert str(caught.value) == line


def test_the_arguments_of_a_user_s_own_family_are_left_to_the_worker():
    config = fake.config({"study.space": {"model.units": {"type": "int", "low": -9, "high": 9}}})
    config["model"]["_target_"] = "no.such.module.family"
    assert parse(config)["model.units"]["low"] == -9


def test_an_override_pins_its_dimension():
    space = parsed({"model.units": INT, "train.learning_rate": RATE})
    overrides = ["+study=fake", "train.learning_rate=0.01", "++model.units=3", "train.epochs=1", "study.n_trials=2"]
    assert pinned(space, overrides) == {
        "train.learning_rate": "train.learning_rate=0.01",
        "model.units": "++model.units=3",
    }
    assert pinned(space, ["++study.space.model.units.high=9"]) == {}


def test_distributions_are_optuna_s():
    space = parsed(
        {
            "model.units": {**INT, "log": True},
            "train.batch_size": {**INT, "step": 8},
            "train.learning_rate": RATE,
            "train.decay": {"type": "float", "low": 0, "high": 1, "step": 0.25},
            "train.optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
        }
    )
    assert {path: str(found) for path, found in distributions(space).items()} == {
        "model.units": "IntDistribution(high=64, log=True, low=8, step=1)",
        "train.batch_size": "IntDistribution(high=64, log=False, low=8, step=8)",
        "train.learning_rate": "FloatDistribution(high=0.01, log=True, low=0.0001, step=None)",
        "train.decay": "FloatDistribution(high=1.0, log=False, low=0.0, step=0.25)",
        "train.optimizer": "CategoricalDistribution(choices=('adam', 'sgd'))",
    }


def test_a_grid_has_every_value_and_none_beyond_its_end():
    space = parsed(
        {
            "model.units": {"type": "int", "low": 8, "high": 10},
            "train.momentum": {"type": "float", "low": 0.1, "high": 0.3, "step": 0.1},
            "train.optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
        }
    )
    assert grid(space) == {
        "model.units": [8, 9, 10],
        "train.momentum": [0.1, 0.2, 0.3],
        "train.optimizer": ["adam", "sgd"],
    }


def test_a_float_without_a_step_has_no_grid():
    with pytest.raises(ConfigError) as caught:
        grid(parsed({"train.learning_rate": RATE}))
    assert str(caught.value) == (
        "study.space.train.learning_rate: sampler=grid needs a step. Give one, or list choices."
    )


def test_corners_are_the_cheapest_and_the_dearest_shape():
    space = parsed(
        {
            "model.units": INT,
            "train.batch_size": {"type": "categorical", "choices": [64, 16, 32]},
            "train.learning_rate": RATE,
            "train.optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
        }
    )
    assert corners(space) == [
        {"model.units": 8, "train.batch_size": 64},
        {"model.units": 64, "train.batch_size": 16},
    ]


def test_a_space_of_one_shape_has_one_corner():
    assert corners(parsed({"train.learning_rate": RATE})) == [{}]
    assert corners(parsed({"model.units": {**INT, "low": 64}})) == [{"model.units": 64}]


def test_null_is_a_choice_where_it_is_allowed():
    clip = {"type": "categorical", "choices": [None, 1.0]}
    assert parsed({"train.global_clipnorm": clip}) == {"train.global_clipnorm": clip}
    assert corners({"train.global_clipnorm": clip, "train.batch_size": clip}) == [{}]
    row = {"number": "3", "config_train.global_clipnorm": formatting.format_exact(None)}
    assert reader._value(row, "train.global_clipnorm", clip) is None
    assert reader._value({"config_train.global_clipnorm": "1.0"}, "train.global_clipnorm", clip) == 1.0


def test_every_point_of_a_finite_space_has_a_place_and_its_turn():
    space = parsed(
        {
            "model.units": {"type": "int", "low": 8, "high": 24, "step": 8},
            "train.decay": {"type": "float", "low": 0.1, "high": 0.4, "step": 0.1},
            "train.global_clipnorm": {"type": "categorical", "choices": [None, 1.0]},
        }
    )
    seen = set()
    for _ in range(points(space)):
        at = unseen(space, seen, 7)
        assert indices(space, point(space, at)) == at
        seen.add(at)
    assert len(seen) == points(space) == 24
    assert unseen(space, set(), 7) == unseen(space, set(), 7)
    assert len({unseen(space, set(), seed) for seed in range(30)}) > 10
    assert points({}) == 1
    assert math.isinf(points(parsed({"train.learning_rate": RATE})))


def test_a_space_of_many_points_is_never_listed():
    space = parsed({"train.batch_size": {"type": "int", "low": 1, "high": 10**15}})
    first = unseen(space, set(), 0)
    assert unseen(space, {first}, 0) != first


def test_every_choice_of_the_model_is_checked_at_both_ends_of_the_numbers():
    space = {
        "model.kind": {"type": "categorical", "choices": ["a", "b", None]},
        "model.units": {"type": "int", "low": 2, "high": 4, "step": None, "log": False},
        "train.learning_rate": {"type": "float", "low": 0.1, "high": 0.2, "step": None, "log": False},
    }
    found = choices_to_check(space)
    assert found[:2] == corners(space) == [{"model.units": 2}, {"model.units": 4}]
    assert [(values["model.kind"], values["model.units"]) for values in found[2:]] == [
        *(("a", 2), ("a", 4), ("b", 2), ("b", 4), (None, 2), (None, 4)),
    ]
    assert choices_to_check({}) == [{}]


def test_of_too_many_combinations_each_choice_is_checked_once():
    space = {
        "model.kind": {"type": "categorical", "choices": ["a", "b", "c"]},
        "model.more": {"type": "categorical", "choices": ["d", "e"]},
    }
    assert len(choices_to_check(space, limit=6)) == 1 + 6
    found = choices_to_check(space, limit=5)[1:]
    assert [(values["model.kind"], values["model.more"]) for values in found] == [
        ("a", "d"),
        ("b", "e"),
        ("c", "e"),
    ]
