"""`lstm_bench.precheck`: which studies are looked at, once each, and what is said of them. The process is a fake one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fake
import numpy as np
import pytest

from lstm_bench.core import errors
from lstm_bench.core import hardware as device
from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.launcher.protocol import CheckResult
from lstm_bench.study import search_space as spaces
from lstm_bench.sweep import command as sweep
from lstm_bench.sweep import precheck

COMPLETE = {"state": "COMPLETE"}
Answer = Callable[[Mapping[str, Any]], dict[str, Any]]


class Built:
    """Stands for `Process`: notes what it is asked to build, and answers as it is told."""

    def __init__(self, answer: Answer, starts: bool = True):
        self.answer, self.starts = answer, starts
        self.tasks: list[tuple[str, dict[str, Any]]] = []
        self.begun: list[str] = []
        self.ended = 0

    def __call__(self, slot: Any, backend: str, log_dir: Path, keras: bool, tasks: int) -> Any:
        self.begun.append(backend)
        self.backend = backend
        return self

    def wait(self) -> bool:
        return self.starts

    def run(self, task: dict[str, Any], report: Any, limit_s: float) -> dict[str, Any]:
        self.tasks.append((self.backend, task))
        return self.answer(task)

    def end(self) -> None:
        self.ended += 1


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).random((40, 4, 3), np.float32)
    y = np.arange(40) % 4
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x[:8], y_test=y[:8])
    return tmp_path


def study(name: str, **values: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    given = {
        "study.name": name,
        "dataset.name": "npz",
        "dataset.path": "mine.npz",
        "dataset.validation_size": 8,
        "dataset.train_size": None,
    }
    config = fake.config({**given, **{path.replace("__", "."): value for path, value in values.items()}})
    return config, spaces.parse(config)


def unfit(
    monkeypatch: pytest.MonkeyPatch, built: Built, *studies: Any
) -> tuple[list[tuple[list[str], str]], list[str]]:
    said: list[str] = []
    monkeypatch.setattr(precheck, "Process", built)
    found = precheck.unfit(studies, said.append)
    return [(names, str(error)) for names, error in found], said


def test_sound_studies_have_no_fault_and_are_built_in_one_process_for_each_backend(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = Built(lambda task: COMPLETE)
    on = [study("a"), study("b", backend__name="jax"), study("c")]
    assert unfit(monkeypatch, built, *on) == (
        [],
        [
            "checking 3 studies",
            "  reading npz ...",
            "  starting TensorFlow ...",
            "  building model 1 of 2: a",
            "  building model 2 of 2: c",
            "  starting JAX ...",
            "  building model 1 of 1: b",
        ],
    )
    assert (built.begun, built.ended) == (["tensorflow", "jax"], 2)
    assert [(backend, task["config"]["study"]["name"]) for backend, task in built.tasks] == [
        ("tensorflow", "a"),
        ("tensorflow", "c"),
        ("jax", "b"),
    ]


def test_those_that_were_begun_or_run_on_a_cluster_are_left_out(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, file in (("a", "study.db"), ("b", "config.yaml")):
        (here / "sweeps" / name).mkdir(parents=True)
        (here / "sweeps" / name / file).touch()
    (here / "sweeps" / "d").mkdir()  # an empty folder begins nothing
    on = [study("a"), study("b"), study("c", launcher__name="ray"), study("d")]
    assert [precheck.begun(config) for config, _ in on] == [True, True, False, False]
    built = Built(lambda task: COMPLETE)
    assert unfit(monkeypatch, built, *on[:3]) == ([], [])
    assert built.begun == []
    assert unfit(monkeypatch, built, *on)[1][0] == "checking 1 study"
    assert [task["config"]["study"]["name"] for _, task in built.tasks] == ["d"]


def test_data_are_read_once_and_their_fault_is_told_once_and_nothing_is_built_on_them(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    resolve = precheck.data.resolve

    def resolved(dataset: Mapping[str, Any]) -> Any:
        read.append(dataset["path"])
        return resolve(dataset)

    monkeypatch.setattr(precheck.data, "resolve", resolved)
    built = Built(lambda task: COMPLETE)
    on = [study("a"), study("b", dataset__path="no.npz"), study("c"), study("d", dataset__path="no.npz")]
    found, _ = unfit(monkeypatch, built, *on)
    assert found == [(["b", "d"], f"{here}/no.npz: no such file. Give an existing one: dataset.path=FILE.npz")]
    assert sorted(read)[1:] == ["mine.npz", "no.npz"], "and once by its absolute path, when it is loaded"
    assert [task["config"]["study"]["name"] for _, task in built.tasks] == ["a", "c"]


def test_a_fault_of_several_families_is_told_once_with_their_names(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(task: Mapping[str, Any]) -> dict[str, Any]:
        if task["config"]["study"]["name"] == "b":
            return COMPLETE
        return {"state": "FAULT", "error": "ConfigError", "detail": "model.units: too wide"}

    found, _ = unfit(monkeypatch, Built(answer), study("a"), study("b"), study("c"))
    assert found == [(["a", "c"], "model.units: too wide")]


def test_what_the_first_study_says_better_is_left_to_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Built(lambda task: COMPLETE, starts=False)
    assert unfit(monkeypatch, dead, study("a"))[0] == []
    assert (dead.tasks, dead.ended) == ([], 1)

    def dies(task: Mapping[str, Any]) -> dict[str, Any]:
        name = task["config"]["study"]["name"]
        return {"state": "FAIL", "reason": "died" if name == "b" else "exception", "detail": name}

    died = Built(dies)
    found, _ = unfit(monkeypatch, died, study("a"), study("b"), study("c"))
    assert [names for names, _ in found] == [["a"]]
    assert len(died.tasks) == 2 and died.ended == 1


def test_the_process_ends_also_when_the_user_does_not_want_to_wait(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(task: Mapping[str, Any]) -> dict[str, Any]:
        raise KeyboardInterrupt

    built = Built(interrupt)
    with pytest.raises(KeyboardInterrupt):
        unfit(monkeypatch, built, study("a"))
    assert built.ended == 1


def test_a_family_is_built_at_the_ends_and_at_every_choice_of_its_space() -> None:
    space = {
        "model.units": {"type": "categorical", "choices": [8, 16, 32]},
        "train.epochs": {"type": "int", "low": 1, "high": 2},
    }
    config = fake.config({"study.space": space})
    made = precheck.task(config, spaces.parse(config))
    assert made["kind"] == "check" and made["config"] == config
    assert {values["model.units"] for values in made["searched"]} == {8, 16, 32}
    assert [corner["model"]["units"] for corner in made["corners"]] == [v["model.units"] for v in made["searched"]]


@pytest.mark.parametrize(
    ("result", "kind", "said"),
    [
        ({"state": "FAULT", "error": "DataError", "detail": "too short"}, DataError, "too short, see x"),
        ({"state": "FAULT", "error": "KernelError", "detail": "no kernel"}, errors.KernelError, "no kernel, see x"),
        ({"state": "FAULT", "error": "AnotherError", "detail": "odd"}, ConfigError, "odd, see x"),
        (
            {"state": "FAIL", "reason": "exception", "detail": "ValueError: no"},
            ConfigError,
            "model._target_=lstm_bench.model.single: cannot be built (ValueError: no), see x",
        ),
    ],
)
def test_what_a_worker_found_is_the_fault_of_its_kind(result: dict[str, Any], kind: type, said: str) -> None:
    found = precheck.fault(fake.config(), CheckResult.read(result), ", see x")
    assert type(found) is kind and str(found) == said


def test_a_family_that_can_be_built_has_no_fault() -> None:
    assert precheck.fault(fake.config(), CheckResult.read(COMPLETE)) is None


def test_what_this_machine_cannot_run_is_told_once_before_data_and_models(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "gpus", lambda: [])
    built = Built(lambda task: COMPLETE)
    monkeypatch.setattr(precheck, "Process", built)
    on = [study("a", kernel__name="cudnn"), study("b"), study("c", kernel__name="cudnn")]
    (unfit,) = sweep._together([(config, space, {}) for config, space in on])
    assert unfit.studies == ["a", "c"] and isinstance(unfit.error, errors.KernelError)
    assert str(unfit.error).startswith("kernel=cudnn cannot run: no GPU")
    assert [task["config"]["study"]["name"] for _, task in built.tasks] == ["b"]
