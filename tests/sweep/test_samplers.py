"""`lstm_bench.sweep.samplers`: samplers and pruners by name, and seeds that do not shift."""

from __future__ import annotations

from functools import partial

import fake
import optuna
import pytest

from lstm_bench.study import search_space as spaces
from lstm_bench.study.search_space import parse
from lstm_bench.sweep.samplers import derived_seed, distributions, pruner, sampler, unrepeated


def suggest(name, space, n, *, seed=0, failing=(), numbers_ahead=0):
    """Points that a study of `n` suggestions gets, its trials' numbers shifted."""
    study = optuna.create_study(direction="maximize")
    for _ in range(numbers_ahead):
        study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    config = fake.config({"study.space": space, "sampler.name": name, "sampler.n_startup_trials": 2})
    space = parse(config)
    points, tried = [], []
    for suggestion in range(n):
        given = {"n_trials": 16, "tried": tried, "suggestion": suggestion}
        study.sampler = sampler(config["sampler"], space, seed=seed, **given)
        trial = study.ask(fixed_distributions=distributions(space))
        points.append(tuple(trial.params.values()))
        tried.append(trial.params)
        if suggestion in failing:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial.number, -abs(trial.params["model.units"] - 32))
    return points


@pytest.mark.parametrize("name", ["tpe", "random", "qmc", "cmaes"])
def test_what_was_not_seen_is_taken_as_it_is_suggested(name):
    # Otherwise a study that is resumed would be suggested other trials from then on.
    settings = {"name": name, "n_startup_trials": 2}
    space = parse(fake.config({"study.space": fake.GRID}))
    found = []
    for wrapped in (False, True):
        study, points = optuna.create_study(direction="maximize"), []
        for suggestion in range(12):
            make = partial(sampler, settings, space, seed=3, suggestion=suggestion)
            inner = make() if not wrapped else unrepeated(lambda n, make=make: make(attempt=n), space, set(), 0)
            study.sampler = inner
            trial = study.ask(fixed_distributions=distributions(space))
            points.append(dict(trial.params))
            study.tell(trial.number, -abs(trial.params["model.units"] - 20))
        found.append(points)
    assert found[0] == found[1]


def test_a_repeated_point_is_asked_for_again_and_then_chance_decides():
    space = parse(fake.config({"study.space": fake.GRID}))
    attempts = []

    class Stuck(optuna.samplers.RandomSampler):
        def sample_independent(self, study, trial, param_name, param_distribution):
            return {"model.units": 20, "train.batch_size": 16}[param_name]

    def make(attempt):
        attempts.append(attempt)
        return Stuck()

    study = optuna.create_study(sampler=unrepeated(make, space, {(1, 0)}, seed=5))
    one = study.ask(fixed_distributions=distributions(space)).params
    assert attempts == list(range(16))
    assert one != {"model.units": 20, "train.batch_size": 16}
    assert one == spaces.point(space, spaces.unseen(space, {(1, 0)}, 5))


SPACES = {"grid": fake.GRID, "tpe": fake.SPACE, "random": fake.SPACE, "qmc": fake.SPACE, "cmaes": fake.SPACE}


def test_derived_seeds_are_pinned():
    # Another derivation would suggest other trials to a study that is resumed.
    assert derived_seed(0, 0, "sampler") == 1933340843
    assert derived_seed(0, 1, "sampler") == 1866343712
    assert derived_seed(0, 0, "train") == 1824836794
    assert derived_seed(2**40, 7, "x") < 2**31


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tpe", "TPESampler"),
        ("random", "RandomSampler"),
        ("qmc", "QMCSampler"),
        ("cmaes", "CmaEsSampler"),
        ("grid", "PartialFixedSampler"),
    ],
)
def test_each_name_is_its_sampler(name, kind):
    config = {"name": name, "n_startup_trials": 3}
    made = sampler(config, parse(fake.config({"study.space": fake.GRID})), seed=0, suggestion=0)
    assert kind in [base.__name__ for base in type(made).__mro__]


@pytest.mark.parametrize("name", SPACES)
def test_suggestions_do_not_depend_on_the_numbers_of_the_trials(name):
    expected = suggest(name, SPACES[name], 10)
    assert suggest(name, SPACES[name], 10, numbers_ahead=3) == expected
    assert suggest(name, SPACES[name], 10, seed=1) != expected


@pytest.mark.parametrize("name", SPACES)
def test_any_seed_of_the_schema_is_taken(name):
    assert len(suggest(name, SPACES[name], 2, seed=2**40)) == 2


def test_a_grid_is_visited_whole_the_longest_trials_first():
    points = suggest("grid", fake.GRID, 16, failing=(2, 15))
    assert len(set(points)) == 16
    times = [units / batch_size for units, batch_size in points]
    assert times == sorted(times, reverse=True)
    assert suggest("grid", fake.GRID, 16, seed=1) != points, "equal times in the order of the seed"


def test_a_part_of_a_grid_is_a_sample_of_it_and_goes_on_where_it_stopped():
    axes, config = parse(fake.config({"study.space": fake.GRID})), {"name": "grid", "n_startup_trials": 0}
    tried = []
    for n_trials, until in ((5, 5), (16, 16)):
        while len(tried) < until:
            made = sampler(config, axes, seed=0, suggestion=len(tried), n_trials=n_trials, tried=tried)
            tried.append(made._fixed_params)
    assert len({tuple(point.values()) for point in tried}) == 16
    first = [point["model.units"] / point["train.batch_size"] for point in tried[:5]]
    assert first == sorted(first, reverse=True)
    assert min(first) < 1, "not the five longest: chance takes the sample"


def test_a_quasi_random_sequence_covers_and_does_not_stick_to_failed_points():
    space = {
        "train.momentum": {"type": "float", "low": 0, "high": 0.99},
        "model.units": {"type": "int", "low": 1, "high": 80},
    }
    points = suggest("qmc", space, 9, failing=(0,))
    assert len(set(points)) == 9
    # Of a scrambled Sobol sequence the first four points lie in the four quarters of each axis.
    assert sorted(int(4 * units / 80.5) for units, _ in points[2:6]) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("none", [False, False, False]), ("median", [False, True, True]), ("hyperband", None)],
)
def test_each_name_is_its_pruner(name, expected):
    config = {"name": name, "n_startup_trials": 2, "n_warmup_epochs": 1, "reduction_factor": 3}
    made = pruner(config, 3)
    assert type(made).__name__ == {"none": "NopPruner", "median": "MedianPruner", "hyperband": "HyperbandPruner"}[name]
    study = optuna.create_study(direction="maximize", pruner=made)
    for value in (0.8, 0.9):
        trial = study.ask()
        for epoch in (1, 2, 3):
            trial.report(value, epoch)
        study.tell(trial, value)
    trial, decisions = study.ask(), []
    for epoch in (1, 2, 3):
        trial.report(0.1, epoch)
        decisions.append(trial.should_prune())
    if expected is not None:
        assert decisions == expected
