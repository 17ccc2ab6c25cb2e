"""`lstm_bench.sweep.validate`: what a study's configuration may say, checked before anything is created."""

from __future__ import annotations

import fake
import pytest
from omegaconf import OmegaConf

from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import ConfigError
from lstm_bench.core.schema import Sweep, Weights, values
from lstm_bench.data import objective
from lstm_bench.sweep.validate import load

STUDIES = sorted(path.stem for path in (conf_dir() / "study").glob("*.yaml"))


def loaded(changes):
    composed = fake.composed("+study=smoke").copy()
    OmegaConf.set_struct(composed, False)
    for path, value in changes.items():
        OmegaConf.update(composed, path, value)
    config = load(composed)
    objective.check_aims(config["study"])
    return config


def refused(changes) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("objective", "direction"), list(objective.objectives().items()))
def test_an_objective_knows_its_direction_unless_it_is_given(objective, direction):
    assert loaded({"study.objective": objective})["study"]["direction"] == direction
    assert loaded({"study.objective": objective, "study.direction": direction})["study"]["direction"] == direction
    other = {"maximize": "minimize", "minimize": "maximize"}[direction]
    assert f"expected {direction}" in refused({"study.objective": objective, "study.direction": other})


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_of_ours_is_valid(study):
    config = load(fake.composed(f"+study={study}"))
    assert config["study"]["name"] == study
    assert set(config) == {*values(Sweep)}


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("study.n_trials", -1, "study.n_trials: expected a whole number of at least 0, received -1"),
        ("study.replicates", -1, "study.replicates: expected a whole number of at least 0, received -1"),
        ("study.seed", -1, "study.seed: expected a whole number of at least 0, received -1"),
        ("study.max_failed", -1, "study.max_failed: expected a whole number of at least 0, received -1"),
        ("study.max_retry", -1, "study.max_retry: expected a whole number of at least 0, received -1"),
        ("study.timeout", 0, "study.timeout: expected a number above 0, received 0.0"),
        ("study.trial_timeout", -3, "study.trial_timeout: expected a number above 0, received -3.0"),
        ("train.weight_decay", 0.1, "train.weight_decay: only train.optimizer=adamw has it. Leave it out."),
        ("train.warmup", 0.1, "train.warmup: only train.schedule=warmup_cosine has it. Leave it out."),
        (
            "train.plateau_factor",
            0.1,
            "train.plateau_factor: only train.schedule=reduce_on_plateau has it. Leave it out.",
        ),
        (
            "train.schedule",
            "reduce_on_plateau",
            "train.schedule=reduce_on_plateau: train.plateau_factor is not said. Give train=reduce_on_plateau, or "
            "train.plateau_factor=0.1 train.plateau_patience=10.",
        ),
        (
            "train.schedule",
            "warmup_cosine",
            "train.schedule=warmup_cosine: how long it rises is not said. Give train.warmup=0.1.",
        ),
        *(
            ("train.class_weight", value, f"train.class_weight: expected {Weights()}, received {value!r}")
            for value in ("balance", {"a": -1}, {0: "x"})
        ),
        (
            "study.objective",
            "accuracy",
            f"study.objective: expected auto or one of {', '.join(objective.objectives())}, received 'accuracy'. Did you mean"
            " val_accuracy or val_subset_accuracy or val_balanced_accuracy?",
        ),
        (
            "study.direction",
            "max",
            "study.direction: expected one of maximize, minimize, received 'max'. Did you mean maximize?",
        ),
        ("train.epochs", 0, "train.epochs: expected a whole number of at least 1, received 0"),
        ("train.batch_size", 0, "train.batch_size: expected a whole number of at least 1, received 0"),
        ("train.learning_rate", 0, "train.learning_rate: expected a number above 0, received 0.0"),
        ("train.learning_rate", float("nan"), "train.learning_rate: expected a number above 0, received nan"),
        ("train.learning_rate", float("inf"), "train.learning_rate: expected a number above 0, received inf"),
        ("train.momentum", 1, "train.momentum: expected a number of at least 0 and below 1, received 1.0"),
        ("train.decay", -1, "train.decay: expected a number of at least 0, received -1.0"),
        (
            "train.optimizer",
            "sdg",
            "train.optimizer: expected one of adam, adamw, nadam, rmsprop, sgd, received 'sdg'. Did you mean sgd?",
        ),
        ("dataset.train_size", 0, "dataset.train_size: expected a number above 0, received 0"),
        ("dataset.validation_size", -0.5, "dataset.validation_size: expected a number above 0, received -0.5"),
        (
            "kernel.name",
            "cudn",
            "kernel.name: expected one of auto, cudnn, fused, generic, xla, unrolled, unrolled_xla, received 'cudn'. Did you"
            " mean cudnn?",
        ),
        ("kernel.probe_s", 0, "kernel.probe_s: expected a number above 0, received 0.0"),
        (
            "backend.name",
            "numpy",
            "backend.name: expected one of tensorflow, jax, torch, received 'numpy'. Valid: jax, tensorflow, torch",
        ),
        ("pruner.reduction_factor", 1, "pruner.reduction_factor: expected a whole number of at least 2, received 1"),
        (
            "tracking.name",
            "mlfow",
            "tracking.name: expected one of mlflow, none, received 'mlfow'. Did you mean mlflow?",
        ),
        ("launcher.recycle_after", 0, "launcher.recycle_after: expected a whole number of at least 1, received 0"),
        *(
            (
                "launcher.workers",
                value,
                f"launcher.workers: expected auto or a whole number of at least 1, received {value!r}",
            )
            for value in (0, -1, "2", "many")
        ),
        *(
            (
                "launcher.pack",
                value,
                f"launcher.pack: expected auto or a whole number of at least 1, received {value!r}",
            )
            for value in (0, -1, "2", "many")
        ),
        ("launcher.pack", 2, "launcher.pack: expected 1 or auto with backend=tensorflow, received 2"),
    ],
)
def test_a_value_out_of_its_range_is_refused(path, value, line):
    assert refused({path: value}) == line


def test_jax_alone_packs_and_no_other_kernel_than_generic():
    jax = {"backend.name": "jax", "launcher.pack": 3}
    assert refused({**jax, "kernel.name": "cudnn"}) == "launcher.pack: expected 1 or auto with kernel=cudnn, received 3"
    for fine in (jax, {**jax, "kernel.name": "generic"}, {"launcher.pack": 1}, {"launcher.pack": "auto"}):
        assert loaded(fine)["launcher"]["pack"] == fine["launcher.pack"]


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("study.n_trials", "abc", "study.n_trials: expected a whole number, received 'abc'"),
        ("study.n_trials", 1.5, "study.n_trials: expected a whole number, received 1.5"),
        ("study.n_trials", True, "study.n_trials: expected a whole number, received True"),
        ("study.n_trials", None, "study.n_trials: expected a whole number"),
        ("study.timeout", "soon", "study.timeout: expected a number or null, received 'soon'"),
        ("kernel.probe", "maybe", "kernel.probe: expected true or false, received 'maybe'"),
        ("dataset.train_size", "all", "dataset.train_size: expected a number or null, received 'all'"),
        ("launcher.workers", True, "launcher.workers: expected a whole number or text, received True"),
        ("launcher.pack", True, "launcher.pack: expected a whole number or text, received True"),
        ("study.space", "x", "study.space: expected a mapping, received 'x'"),
        ("study.description", None, "study.description: expected text"),
        ("study.seed", "???", "study.seed: expected a value. Give one: study.seed=VALUE."),
        ("sampler", 3, "sampler: expected one of its YAML files, or single values of it, received 3"),
        ("train.epochs", "${nothing}", "Interpolation key 'nothing' not found"),
    ],
)
def test_a_value_of_another_type_is_refused(path, value, line):
    assert refused({path: value}) == line


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"stdy": "stacked"}, "unknown option stdy. Did you mean +study=stacked?"),
        ({"studi": {"name": "x"}}, "unknown option studi. Did you mean +study=NAME?"),
        ({"trian": 3}, "unknown option trian. Did you mean train or tracking or storage?"),
        ({"train.epoch": 3}, "unknown option train.epoch. Did you mean epochs?"),
        (
            {"sampler.zzz": 3},
            "unknown option sampler.zzz. Valid: n_startup_trials, name",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(values, line):
    assert refused(values) == line


@pytest.mark.parametrize(
    "name", ["../x", "it's", "<script>", "a" * 101, "a" * 600, "naïve", "a/b", ".a", "-a", "a\n", "a b"]
)
def test_a_name_that_is_no_folder_of_its_own_is_refused(name):
    assert refused({"study.name": name}).startswith(
        "study.name: expected a letter or digit, then at most 99 of A-Za-z0-9._-, received "
    )


def test_no_name_is_no_study():
    assert refused({"study.name": ""}).startswith("no study: expected +study=NAME, one of adding, ")


def test_the_folder_of_the_committed_records_is_no_study_s():
    assert refused({"study.name": "published"}).startswith("study.name=published: that folder holds")


@pytest.mark.parametrize("name", ["a", "stacked-digits", "2024.1_b", "a" * 100])
def test_other_names_are_taken(name):
    assert loaded({"study.name": name})["study"]["name"] == name


@pytest.mark.parametrize(
    ("url", "received"),
    [
        ("mysql://me:S3CRET@db/x", "'mysql:...'"),
        ("postgres://me:S3CRET@db/x", "'postgres:...'"),
        ("./study.db", "'./study.db:...'"),
        ("sqlite://x.db", "'sqlite:...'"),
        ("sqlite:///", "'sqlite:...'"),
        ("sqlite:///:memory:", "'sqlite:...'"),
    ],
)
def test_a_storage_that_would_not_keep_the_study_is_refused(url, received):
    line = refused({"storage.url": url})
    assert line == f"storage.url: expected sqlite:///FILE or postgresql://..., received {received}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:p@ss:S3CRET@db/x",
        "postgresql://me:p@S3CRET@db/x",
        "postgresql://me:p@ss/S3CRET@db/x",
        "postgresql://db:abc/x",
        "postgresql://[::1/x",
    ],
)
def test_a_url_that_a_database_would_take_apart_otherwise_is_refused_without_being_shown(url):
    line = refused({"storage.url": url})
    assert line == "storage.url: cannot be read. Percent-encode the password: @ is %40, : is %3A."
    assert loaded({"storage.url": "postgresql://me:p%40ss%3Aword@[::1]:5432/x?options=a@b"})


@pytest.mark.parametrize(
    "url", [None, "sqlite:///x.db", "sqlite:////var/x.db", "postgresql://me@db/x", "postgresql+psycopg://me@db/x"]
)
def test_storages_that_are_taken(url):
    assert loaded({"storage.url": url})["storage"]["url"] == url


@pytest.mark.parametrize("url", [None, "sqlite:///x.db"])
def test_a_study_is_shared_on_a_server_alone(url):
    line = refused({"study.shared": True, "storage.url": url})
    assert line.startswith(
        "study.shared=true: several drivers need a database that serves several. Give storage=postgres"
    )
    assert loaded({"study.shared": True, "storage.url": "postgresql://me@db/x"})["study"]["shared"]


def test_a_driver_is_not_declared_dead_for_one_late_sign_of_life():
    line = refused({"storage.heartbeat": 10, "storage.grace": 29})
    assert line.startswith("storage.grace: expected at least three times storage.heartbeat")
    assert loaded({"storage.heartbeat": 10, "storage.grace": 30})["storage"]["grace"] == 30


def test_numbers_become_what_the_schema_says():
    config = loaded({"study.timeout": 60, "train.learning_rate": 1, "dataset.validation_size": 5})
    assert repr(config["study"]["timeout"]) == "60.0"
    assert repr(config["train"]["learning_rate"]) == "1.0"
    assert repr(config["dataset"]["validation_size"]) == "5"


@pytest.mark.parametrize("name", ["kernels-quick", "kernels-", "kernels-of-mine"])
def test_the_folder_of_a_benchmark_is_no_study_s(name):
    assert refused({"study.name": name}).startswith("study.name: kernels-... are the folders of kernel benchmarks")


@pytest.mark.parametrize("name", ["kernels", "my-kernels-quick"])
def test_a_study_may_speak_of_kernels(name):
    assert loaded({"study.name": name})["study"]["name"] == name


# Several objectives.

BOTH = {"val_loss": "minimize", "n_weights": "minimize"}


def test_the_first_of_several_objectives_stands_for_the_objective():
    study = loaded({"study.objectives": {**BOTH, "val_accuracy": None}, "pruner.name": "dominated"})["study"]
    assert (study["objective"], study["direction"]) == ("val_loss", "minimize")
    assert study["objectives"] == BOTH


def test_pareto_is_a_study_of_three_objectives():
    study = load(fake.composed("+study=pareto"))["study"]
    assert list(study["objectives"]) == ["val_accuracy", "n_weights", "train_samples_per_s"]


@pytest.mark.parametrize(
    ("objectives", "more", "line"),
    [
        ({**BOTH, "weights": "minimize"}, {}, "study.objectives: unknown metric weights. Did you mean n_weights?"),
        (
            {**BOTH, "val_accuracy": "minimize"},
            {},
            "study.objectives.val_accuracy: expected maximize, received 'minimize'",
        ),
        (
            {"val_loss": "minimize"},
            {},
            "study.objectives: expected two or more. For one, give study.objective=val_loss.",
        ),
        (
            dict(reversed(BOTH.items())),
            {},
            "study.objectives: expected a validation metric first: it picks the winner, received 'n_weights'",
        ),
        (
            BOTH,
            {"pruner.name": "median"},
            "pruner=median: it needs one objective. Give pruner=dominated or pruner=none.",
        ),
        (
            BOTH,
            {"sampler.name": "cmaes"},
            "sampler=cmaes: it needs one objective. Give sampler=tpe, random, qmc or grid.",
        ),
        (
            {**BOTH, "train_samples_per_s": "maximize"},
            {"launcher.pack": 2, "backend.name": "jax"},
            "study.objectives.train_samples_per_s: trainings packed into one program have no throughput of their own."
            " Give launcher.pack=1 instead of 2.",
        ),
        ({}, {}, "pruner=dominated: with one objective it would stop all but the best. Name another."),
    ],
)
def test_objectives_that_cannot_be_meant_are_refused(objectives, more, line):
    assert refused({"study.objectives": objectives, "pruner.name": "dominated", **more}) == line
