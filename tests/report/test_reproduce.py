"""The command that makes a study again: what it composes to is what was recorded."""

from __future__ import annotations

import shlex

import pytest
import yaml
from hydra import compose, initialize_config_dir

from lstm_bench.core import configuration
from lstm_bench.core.configuration import flatten
from lstm_bench.core.overrides import arguments
from lstm_bench.data.objective import AUTO
from lstm_bench.report.pages import reproduce
from lstm_bench.report.sources.records import Result
from lstm_bench.sweep.validate import checked


def recorded(*overrides: str) -> dict:
    """config.yaml of a sweep with these overrides."""
    with initialize_config_dir(version_base="1.3", config_dir=str(configuration.conf_dir())):
        composed = compose("sweep", arguments(overrides))
    return checked(composed, [o for o in overrides if not o.startswith("+study")])[0]


def of(values: dict, name: str | None = None, **environment) -> Result:
    return Result(None, name or values["study"]["name"], config=values, environment=environment)  # type: ignore[arg-type]


def line(made: Result) -> str:
    (found,) = [row for part in reproduce.section(made) for row in part.splitlines() if row.startswith("python -m")]
    return found


def test_a_study_as_it_stands_in_conf_needs_no_override() -> None:
    assert line(of(recorded("+study=single"))) == "python -m lstm_bench.sweep +study=single"


@pytest.mark.parametrize(
    "overrides",
    [
        ["+study=single", "train.epochs=10", "study.name=single-long"],
        ["+study=stacked", "study.n_trials=7", "study.name=a-stacked-b", "sampler=random", "pruner=none"],
        ["+study=single", "backend=jax", "kernel=generic", "study.name=single-jax"],
        ["+study=single", "model.units=64", "study.name=single-64"],
        ["+study=single", "study.space.train.learning_rate.high=0.05", "study.name=single-wide"],
        ["+study=single", "model=simple_rnn", "study.name=single-rnn"],
        ["+study=smoke", "dataset.train_size=100", "study.trial_timeout=5.5"],
        ["+study=single", "dataset=npz", 'dataset.path="my data/x=1.npz"', "study.name=single-mine"],
        ["+study=single", "dataset=npz", "dataset.path=数据.npz", "study.name=single-mine"],
        ["+study=single", "dataset=npz", "dataset.path=données.npz", "study.name=single-mine"],
        ["+study=single", "dataset=npz", 'dataset.path=it\'s "a",  (1) [b]{c}#d.npz', "study.name=single-mine"],
        ["+study=single", "dataset=npz", "dataset.path=a\\b'c\\", "study.name=single-mine"],
        ["+study=single", "dataset=npz", r"dataset.path=\${a}.npz", "study.name=single-mine"],
        ["+study=gru", "model.weights=25k", "study.space.model.units=null", "study.name=gru-25k"],
        [
            "+study=stacked",
            "model.weights=25k",
            "study.space.model.units=null",
            "model.layers=3",
            "study.name=stacked-25k",
        ],
        ["+study=cnn", "model.weights=100k", "study.space.model.filters=null", "model.blocks=3", "study.name=cnn-100k"],
        ["+study=single", "study.timeout=60", "study.max_failed=9", "train.optimizer=sgd", "study.seed=3"],
    ],
)
def test_the_command_composes_to_what_was_recorded(overrides: list[str]) -> None:
    want = recorded(*overrides)
    words = shlex.split(line(of(want)))
    assert words[:3] == ["python", "-m", "lstm_bench.sweep"]
    got = recorded(*words[3:])
    for values in (want, got):
        values["study"].pop("description")
    assert got == want


@pytest.mark.long
def test_the_command_of_every_published_study_composes_to_its_record() -> None:
    folders = sorted(path.parent for path in (configuration.conf_dir().parent / "sweeps/published").rglob("trials.csv"))
    wrong = []
    for folder in folders:
        values = yaml.safe_load((folder / "config.yaml").read_text())
        words = shlex.split(line(of(values, folder.name)))
        want, got = (flatten(c) for c in (values, recorded(*words[3:])))
        spaces = (reproduce._space(c) for c in (values, recorded(*words[3:])))
        wrong += [] if next(spaces) == next(spaces) else [f"{folder.name}: study.space"]
        by_data = ("study.objective", "study.direction") if got["study.objective"] == AUTO else ()
        apart = (*reproduce._ELSEWHERE, *by_data)
        compared = [path for path in want if path in got and not path.startswith(apart)]
        wrong += [f"{folder.name}: {path}" for path in compared if got[path] != want[path]]
    assert wrong == [] and len(folders) > 10


def test_every_override_differs_from_the_file_and_no_other_value_is_named() -> None:
    made = line(of(recorded("+study=single", "train.epochs=10", "study.name=single-long", "launcher.workers=1")))
    assert made == "python -m lstm_bench.sweep +study=single train.epochs=10 study.name=single-long"


def test_values_that_an_older_record_does_not_have_are_left_alone() -> None:
    values = recorded("+study=single")
    del values["kernel"]["remember"], values["launcher"], values["train"]["decay"]
    assert line(of(values)) == "python -m lstm_bench.sweep +study=single"


def test_a_study_of_ones_own_wants_its_folder() -> None:
    values = recorded("+study=single", "study.name=mine")
    assert line(of(values)) == "python -m lstm_bench.sweep --config-dir DIR +study=mine"
    assert "DIR is a folder with its YAML" in "".join(reproduce.section(of(values)))


@pytest.mark.parametrize("values", [{}, {"study": "text"}, {"study": {"space": 3}, "train": None, "model": [1]}])
def test_a_damaged_configuration_still_gives_a_command(values: dict) -> None:
    assert line(of(values, "single")).startswith("python -m lstm_bench.sweep +study=single")


def test_versions_and_commit_are_those_recorded() -> None:
    packages = {
        "tensorflow": "2.21.0",
        "keras": "3.15.1",
        "jax": "0.10.2",
        "torch": "2.13.0+cpu",
        "numpy": "2; rm -rf x",
    }
    facts = {"packages": packages, "python": "3.11.7", "git": {"commit": "ab12cd34", "dirty": True}}
    text = "\n".join(reproduce.section(of(recorded("+study=single"), **facts)))
    assert "# ran at commit ab12cd34 with uncommitted changes\n" in text
    assert "pip install -e . tensorflow==2.21.0 keras==3.15.1\n" in text
    assert "With Python 3.11.7." in text
    text = "\n".join(reproduce.section(of(recorded("+study=single", "backend=torch"), **facts)))
    assert "keras==3.15.1 torch==2.13.0+cpu" in text
