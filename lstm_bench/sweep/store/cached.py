"""Optuna's storage as the one driver of a study needs it: the database for every write, memory for every read.

Optuna's own storage asks the database again for each trial that is not finished, and commits each parameter, attribute and
report by itself: beside sixty workers that is most of a driver's time. Whoever alone writes a study knows what is in it. Here
a trial is two transactions. Being suggested it is a draft, which goes into the database whole: a driver that dies before leaves
nothing of it. What it reports while it runs is kept in memory, and goes in with its end: a trial whose driver dies is run
again from its first epoch, so nobody would read what it had reported.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from lstm_bench.core.errors import StorageError

_DRAFT = -1  # its id, until the database has given it one


class Ledger(BaseStorage):
    """One study, written by this process alone.

    Args:
      backend: The database, which holds the study.
      name: Of the study.

    Raises:
      KeyError: when the database holds no such study.
    """

    def __init__(self, backend: RDBStorage, name: str):
        self.backend, self._name = backend, name
        self._study_id = backend.get_study_id_from_name(name)
        self._directions = backend.get_study_directions(self._study_id)
        self._user_attrs = dict(backend.get_study_user_attrs(self._study_id))
        self._system_attrs = dict(backend.get_study_system_attrs(self._study_id))
        self._written: dict[int, FrozenTrial] = {}  # those that have not ended, by id, as the database has them

    @functools.cached_property
    def _trials(self) -> list[FrozenTrial]:
        """All of them, by number, read when first wanted."""
        trials = self.backend.get_all_trials(self._study_id, deepcopy=False)
        self._written = {trial._trial_id: trial for trial in trials if not trial.state.is_finished()}
        return trials

    @functools.cached_property
    def _numbers(self) -> dict[int, int]:
        return {trial._trial_id: trial.number for trial in self._trials}

    def commit(self) -> int:
        """Writes the draft into the database; returns its number.

        Raises:
          StorageError: when another driver has written to this study; then nothing of the draft is in it.
        """
        from optuna.distributions import distribution_to_json
        from optuna.storages._rdb import models

        number = self._numbers[_DRAFT]
        draft = self._trials[number]
        with self._session() as session:
            row = models.TrialModel(
                study_id=self._study_id, number=number, state=draft.state, datetime_start=draft.datetime_start
            )
            session.add(row)
            session.flush()
            if row.count_past_trials(session) != number:
                raise StorageError(
                    f"study {self._name}: another driver writes to it",
                    remedy="End it, then give the same command again.",
                )
            trial_id = int(row.trial_id)
            params = [
                {
                    "trial_id": trial_id,
                    "param_name": name,
                    "param_value": draft.distributions[name].to_internal_repr(value),
                    "distribution_json": distribution_to_json(draft.distributions[name]),
                }
                for name, value in draft.params.items()
            ]
            _insert(session, models.TrialParamModel, params)
            _insert(session, models.TrialUserAttributeModel, _attributes(trial_id, draft.user_attrs))
            _insert(session, models.TrialSystemAttributeModel, _attributes(trial_id, draft.system_attrs))
        draft._trial_id = trial_id
        self._written[trial_id] = draft
        del self._numbers[_DRAFT]
        self._numbers[trial_id] = number
        return number

    def _session(self) -> AbstractContextManager[Any]:
        """A transaction on the database, with Optuna's exceptions."""
        from optuna.storages._rdb import storage

        return storage._create_scoped_session(self.backend.scoped_session)

    # The study.

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return self.backend.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        self.backend.delete_study(study_id)

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._study_id if study_name == self._name else self.backend.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._directions

    def get_all_studies(self) -> list[FrozenStudy]:
        return self.backend.get_all_studies()

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._user_attrs

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._system_attrs

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self.backend.set_study_user_attr(study_id, key, value)
        self._user_attrs = {**self._user_attrs, key: _as_read(value)}

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self.backend.set_study_system_attr(study_id, key, value)
        self._system_attrs = {**self._system_attrs, key: _as_read(value)}

    # Its trials.

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if template_trial is None:
            trial = FrozenTrial(
                number=len(self._trials), state=TrialState.RUNNING, value=None, datetime_start=datetime.now(),
                datetime_complete=None, params={}, distributions={}, user_attrs={}, system_attrs={}, intermediate_values={},
                trial_id=_DRAFT,
            )  # fmt: skip
            if _DRAFT in self._numbers:  # of a suggestion that failed
                self._trials.pop(self._numbers[_DRAFT])
                trial.number -= 1
        else:
            trial_id = self.backend.create_new_trial(study_id, template_trial)
            trial = self.backend.get_trial(trial_id)
            if not trial.state.is_finished():
                self._written[trial_id] = trial
        self._trials.append(trial)
        self._numbers[trial._trial_id] = trial.number
        return int(trial._trial_id)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        if trial_id != _DRAFT:
            self.backend.set_trial_param(trial_id, param_name, param_value_internal, distribution)

        def change(trial: FrozenTrial) -> None:
            value = distribution.to_external_repr(param_value_internal)
            trial.params = {**trial.params, param_name: value}
            trial.distributions = {**trial.distributions, param_name: distribution}

        self._change(trial_id, change)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        assert state.is_finished(), "nothing waits here"
        trial = copy.copy(self._trials[self._numbers[trial_id]])
        self.check_trial_is_updatable(trial_id, trial.state)
        trial.state, trial.datetime_complete = state, datetime.now()
        if values is not None:
            trial.values = list(values)
        self._end(trial, self._written[trial_id])
        del self._written[trial_id]
        self._trials[self._numbers[trial_id]] = trial
        return True

    def _end(self, trial: FrozenTrial, written: FrozenTrial) -> None:
        """Writes a trial's end into the database, and whatever it has got since it was written there."""
        from optuna.storages._rdb import models

        trial_id = trial._trial_id
        with self._session() as session:
            row = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
            for model, now, before in (
                (models.TrialUserAttributeModel, trial.user_attrs, written.user_attrs),
                (models.TrialSystemAttributeModel, trial.system_attrs, written.system_attrs),
            ):
                _insert(session, model, _attributes(trial_id, {key: now[key] for key in now if key not in before}))
                for key in before:
                    if now[key] != before[key]:
                        self.backend._set_trial_attr_without_commit(session, model, trial_id, key, now[key])
            steps = []
            for step, value in trial.intermediate_values.items():
                if step not in written.intermediate_values:
                    stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
                    about = {"trial_id": trial_id, "step": step}
                    steps.append({**about, "intermediate_value": stored, "intermediate_value_type": kind})
            _insert(session, models.TrialIntermediateValueModel, steps)
            values = []
            for objective, value in enumerate(trial.values or ()):
                stored, kind = models.TrialValueModel.value_to_stored_repr(value)
                values.append({"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind})
            _insert(session, models.TrialValueModel, values)
            row.state, row.datetime_complete = trial.state, trial.datetime_complete

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        def change(trial: FrozenTrial) -> None:
            trial.intermediate_values = {**trial.intermediate_values, step: intermediate_value}

        self._change(trial_id, change)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        def change(trial: FrozenTrial) -> None:
            trial.user_attrs = {**trial.user_attrs, key: _as_read(value)}

        self._change(trial_id, change)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        def change(trial: FrozenTrial) -> None:
            trial.system_attrs = {**trial.system_attrs, key: _as_read(value)}

        self._change(trial_id, change)

    def _change(self, trial_id: int, change: Callable[[FrozenTrial], None]) -> None:
        """Changes a copy: whoever has read a trial keeps what he has read."""
        number = self._numbers[trial_id]
        trial = copy.copy(self._trials[number])
        self.check_trial_is_updatable(trial_id, trial.state)
        change(trial)
        self._trials[number] = trial

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._trials[self._numbers[trial_id]]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = [trial for trial in self._trials if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        if not 0 <= trial_number < len(self._trials):
            raise KeyError(f"No trial with number {trial_number} exists.")
        return int(self._trials[trial_number]._trial_id)

    def get_trial_number_from_id(self, trial_id: int) -> int:
        return self._numbers[trial_id]

    def remove_session(self) -> None:
        self.backend.remove_session()


def _insert(session: Any, model: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Adds rows to a table with one statement: its objects would each be asked for first."""
    if rows:
        session.execute(model.__table__.insert(), rows)


def _attributes(trial_id: int, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for key, value in found.items()]


def _as_read(value: Any) -> Any:
    """A value as the database would give it back."""
    return json.loads(json.dumps(value))
