"""What is read from memory is what the database holds: after every operation, for every sampler, and after a reload."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from lstm_bench.core.errors import StorageError
from lstm_bench.sweep.store import cached as ledger_module
from lstm_bench.sweep.store.cached import Ledger

SPACE = {
    "units": IntDistribution(8, 64, log=True),
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "kind": CategoricalDistribution(["a", "b", None]),
}
SAMPLERS = {
    "tpe": lambda: optuna.samplers.TPESampler(seed=1, n_startup_trials=3),
    "random": lambda: optuna.samplers.RandomSampler(seed=1),
    "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=1, n_startup_trials=2, warn_independent_sampling=False),
}


def opened(path: Path, directions: tuple[str, ...] = ("maximize",)) -> tuple[Ledger, optuna.Study]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    backend = optuna.storages.RDBStorage(f"sqlite:///{path}")
    if not optuna.get_all_study_names(backend):
        optuna.create_study(storage=backend, study_name="one", directions=list(directions))
    ledger = Ledger(backend, "one")
    return ledger, optuna.load_study(storage=ledger, study_name="one")


def plain(trial: Any) -> dict[str, Any]:
    names = ("number", "_trial_id", "state", "values", "params", "distributions", "user_attrs", "intermediate_values")
    names += ("datetime_start", "datetime_complete")
    return {name: getattr(trial, name) for name in names} | {"system_attrs": trial.system_attrs}


def agree(ledger: Ledger, running: bool = True) -> None:
    """Memory and database: all trials, or those that have ended."""
    stored = optuna.storages.RDBStorage(str(ledger.backend.engine.url))
    (study_id,) = (study._study_id for study in stored.get_all_studies())
    ours, theirs = (
        [plain(trial) for trial in storage.get_all_trials(study_id) if running or trial.state.is_finished()]
        for storage in (ledger, stored)
    )
    assert ours == theirs
    assert ledger.get_n_trials(study_id) == stored.get_n_trials(study_id)
    assert ledger.get_study_user_attrs(study_id) == stored.get_study_user_attrs(study_id)
    assert ledger.get_study_system_attrs(study_id) == stored.get_study_system_attrs(study_id)


def ask(ledger: Ledger, study: optuna.Study) -> optuna.Trial:
    trial = study.ask(fixed_distributions=SPACE)
    trial.set_user_attr("seed", 7)
    ledger.commit()
    return trial


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_memory_and_database_agree_when_a_trial_is_asked_for_and_when_it_ends(tmp_path: Path, sampler: str) -> None:
    ledger, study = opened(tmp_path / "study.db")
    study.sampler = SAMPLERS[sampler]()
    for n in range(9):
        number = ask(ledger, study).number
        assert number == n
        agree(ledger)
        trial_id = ledger.get_trial_id_from_study_id_trial_number(1, number)
        ledger.set_trial_intermediate_value(trial_id, 1, math.inf if n == 2 else 0.1 * n)
        ledger.set_trial_user_attr(trial_id, "result", {"pair": (1, 2), "history": [{"epoch": 1}]})
        ledger.set_trial_user_attr(trial_id, "seed", n % 2 * 7)  # there already, half of the time with this value
        ledger.set_trial_system_attr(trial_id, "rung", {"0": 0.5})
        agree(ledger, running=False)
        assert ledger.get_trial(trial_id).user_attrs["result"]["pair"] == [1, 2]  # as JSON has it
        state = {3: TrialState.PRUNED, 4: TrialState.FAIL}.get(n)
        study.tell(number, state=state) if state else study.tell(number, 0.1 * n)
        agree(ledger)
    ledger.set_study_user_attr(1, "fact", {"a": (1,)})
    agree(ledger)
    again, _ = opened(tmp_path / "study.db")
    agree(again)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_suggestions_are_those_of_optuna_s_own_storage(tmp_path: Path, sampler: str) -> None:
    def suggested(study: optuna.Study, after: Any) -> list[dict[str, Any]]:
        study.sampler, params = SAMPLERS[sampler](), []
        for _ in range(8):
            trial = study.ask(fixed_distributions=SPACE)
            after()
            params.append(dict(trial.params))
            study.tell(trial.number, trial.params["rate"])
        return params

    ledger, study = opened(tmp_path / "ours.db")
    theirs = optuna.create_study(storage=f"sqlite:///{tmp_path}/theirs.db", direction="maximize")
    assert suggested(study, ledger.commit) == suggested(theirs, lambda: None)


def test_a_draft_is_nowhere_until_it_is_settled(tmp_path: Path) -> None:
    ledger, study = opened(tmp_path / "study.db")
    study.ask(fixed_distributions=SPACE)
    assert opened(tmp_path / "study.db")[0].get_n_trials(1) == 0
    trial = study.ask(fixed_distributions=SPACE)  # the first was given up: its number is free
    assert trial.number == 0
    ledger.commit()
    agree(ledger)


def test_a_second_driver_that_no_lock_kept_out_is_one_line(tmp_path: Path) -> None:
    (ledger, study), (_, other) = opened(tmp_path / "study.db"), opened(tmp_path / "study.db")
    study.ask(fixed_distributions=SPACE)
    ask(other._storage, other)
    with pytest.raises(StorageError, match="study one: another driver writes to it"):
        ledger.commit()


def test_a_trial_is_two_transactions(tmp_path: Path) -> None:
    ledger, study = opened(tmp_path / "study.db")
    study.sampler = SAMPLERS["random"]()
    ledger.get_n_trials(1)
    commits = []
    sqlalchemy.event.listen(ledger.backend.engine, "commit", commits.append)
    number = ask(ledger, study).number
    assert len(commits) == 1
    for epoch in range(1, 20):
        ledger.set_trial_intermediate_value(ledger.get_trial_id_from_study_id_trial_number(1, number), epoch, 0.5)
    assert len(commits) == 1
    study.tell(number, 0.5)
    assert len(commits) == 2


def test_what_the_database_refuses_is_not_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, study = opened(tmp_path / "study.db")
    ask(ledger, study)
    before = [plain(trial) for trial in ledger.get_all_trials(1)]

    def full(*_: Any) -> None:
        raise optuna.exceptions.StorageInternalError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(ledger.backend, "set_study_user_attr", full)
        patched.setattr(ledger_module, "_insert", full)
        for write in (lambda: ledger.set_study_user_attr(1, "a", 1), lambda: study.tell(0, 0.5)):
            with pytest.raises(optuna.exceptions.StorageInternalError):
                write()
    assert [plain(trial) for trial in ledger.get_all_trials(1)] == before
    assert "a" not in ledger.get_study_user_attrs(1)
    agree(ledger)
    study.tell(0, 0.5)
    agree(ledger)


def test_a_trial_that_has_ended_never_changes(tmp_path: Path) -> None:
    ledger, study = opened(tmp_path / "study.db")
    ask(ledger, study)
    study.tell(0, 0.5)
    (trial,) = ledger.get_all_trials(1)
    for write in (
        lambda: ledger.set_trial_intermediate_value(trial._trial_id, 9, 0.5),
        lambda: ledger.set_trial_user_attr(trial._trial_id, "late", 1),
        lambda: ledger.set_trial_state_values(trial._trial_id, TrialState.FAIL),
    ):
        with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
            write()
    assert plain(ledger.get_trial(trial._trial_id)) == plain(trial)
    agree(ledger)


def test_what_an_earlier_version_has_written_of_a_running_trial_stays(tmp_path: Path) -> None:
    ledger, study = opened(tmp_path / "study.db")
    trial_id = ledger.get_trial_id_from_study_id_trial_number(1, ask(ledger, study).number)
    ledger.backend.set_trial_intermediate_value(trial_id, 1, 0.25)
    ledger.backend.set_trial_user_attr(trial_id, "reason", "none")
    again, study = opened(tmp_path / "study.db")
    again.set_trial_user_attr(trial_id, "reason", "driver_died")
    study.tell(0, state=TrialState.FAIL)
    agree(again)
    (trial,) = again.get_all_trials(1)
    assert trial.intermediate_values == {1: 0.25} and trial.user_attrs == {"seed": 7, "reason": "driver_died"}


def test_what_was_read_does_not_change(tmp_path: Path) -> None:
    ledger, study = opened(tmp_path / "study.db")
    ask(ledger, study)
    (read,) = ledger.get_all_trials(1, deepcopy=False)
    study.tell(0, 0.5)
    assert read.state is TrialState.RUNNING
    assert json.dumps(read.params)
