"""The study: what was suggested, what came of it, what is left to do. Optuna's database is its only truth.

Trials move RUNNING -> COMPLETE, PRUNED or FAIL. A FAIL has a reason. Those of the trial's own fault count towards
`n_trials`; the others (a dead worker, a dead driver, an interrupt) are run again with the same parameters, as a new trial
whose `retry_of` names the old one. What is queued is never stored: it is the FAILs to be retried that no trial retries yet.
Of a trial whose driver died while it asked for it, half the parameters may be there: its place is asked for anew.

How the database is reached, and who else is at work on it, is the coordinator's: `Solo`, or `Shared` of `postgres.py`. There
a trial names its `owner`. RUNNING trials whose owner is not alive are FAILed, hence queued again, by the next driver that
asks; what such an owner says later of a trial that is finished by then is not heard.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_bench.core import busy, configuration, schema
from lstm_bench.core.errors import InterruptedByUser, StorageError
from lstm_bench.core.vocabulary import RETRY_LIMITED, RETRY_UNLIMITED
from lstm_bench.data.objective import settled_objective
from lstm_bench.study import resume, search_space
from lstm_bench.sweep import samplers
from lstm_bench.sweep.store.coordinator import Coordinator, Solo
from lstm_bench.sweep.store.suggestions import Suggestions
from lstm_bench.sweep.store.tally import Tally, row

_KEPT = "study.db.kept"  # beside the database: see `TrialStore.recover`
_TURN_S = 0.2  # between two looks whether it is this driver's turn


@dataclass(frozen=True)
class Asked:
    """A trial to run."""

    number: int
    params: dict[str, Any]
    seed: int
    retry_of: int | None


def _nobody_hears(*_: object) -> None:
    return


def opened(
    config: schema.Sweep,
    space: dict[str, search_space.Domain],
    folder: Path,
    data_sha256: str,
    say: Callable[[str, str], None] = _nobody_hears,
    made: Mapping[str, Any] | None = None,
) -> TrialStore:
    """The study that a configuration asks for, wherever it is kept. Arguments and errors as `TrialStore`.

    Args:
      config: See `TrialStore`.
      space: See `TrialStore`.
      folder: See `TrialStore`.
      data_sha256: See `TrialStore`.
      say: Receives a line for people, and its colour.
      made: See `TrialStore`.
    """
    coordinator: Coordinator
    if str(config["storage"]["url"]).startswith("postgresql"):
        from lstm_bench.sweep.store.postgres import Shared

        coordinator = Shared(config, folder, say)
    else:
        coordinator = Solo(config, folder)
    return TrialStore(config, space, folder, data_sha256, coordinator, made)


class TrialStore:
    """One study in its database.

    Args:
      config: Resolved configuration, under the name that the study really has.
      space: Parsed search space.
      folder: `sweeps/<study>/`.
      data_sha256: Digest of the data.
      coordinator: Reaches the database, and knows the other drivers.
      made: What else it is made with: `code` (see `source.Code.record`; None of a family of ours) and `variables` (see
        `numerics.observed`).

    Attributes:
      shared: Whether other drivers may work on it.
      learned: Keys of `made` that an older version did not write down, and this session has.

    Raises:
      StorageError: when the database is corrupt or unreachable, or held by a driver that does not share it.
      ConfigError: when the study exists with another configuration.
    """

    def __init__(
        self,
        config: schema.Sweep,
        space: dict[str, search_space.Domain],
        folder: Path,
        data_sha256: str,
        coordinator: Coordinator,
        made: Mapping[str, Any] | None = None,
    ):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._made = {key: value for key, value in (made or {}).items() if value is not None}
        self.learned: list[str] = []
        self.config, self.space, self._settings, self.folder = config, space, config["study"], folder
        self._name: str = self._settings["name"]
        self._distributions = samplers.distributions(space)
        self.objectives: dict[str, str] = dict(self._settings["objectives"])
        self._mine: set[int] = set()  # trials that this driver runs
        self._study: Any = None
        self._reset_counters()
        # Not the study's own: Optuna would show the sampler only one bracket of hyperband, chosen by trial number.
        self._pruner = samplers.pruner(config["pruner"], config["train"]["epochs"])
        self.coordinator, self.shared, self.where = coordinator, coordinator.shared, coordinator.where
        self._storage = coordinator.connect(self._reload, self._adopt)
        self._engine = self._storage.engine
        try:
            coordinator.alone(lambda: self._enter(data_sha256))
        except BaseException:
            self._engine.dispose()
            raise
        coordinator.start()

    def _reset_counters(self) -> None:
        """Sets back what the trials read so far add up to."""
        self._tally, self._suggestions = Tally(self._settings), Suggestions(self.config, self.space)

    def _reload(self) -> None:
        """Forgets what is known of a transaction that failed."""
        import optuna

        if self._study is not None:
            self._reset_counters()
            self._study = optuna.load_study(storage=self._storage, study_name=self._name)

    def _adopt(self, owner: str) -> None:
        """Gives the trials that this driver runs to the name that it has from now on."""
        for trial in self.trials() if self._study is not None else ():
            if trial.number in self._mine and not trial.state.is_finished():
                self._storage.set_trial_user_attr(trial._trial_id, "owner", owner)

    def _enter(self, data_sha256: str) -> None:
        """Makes the study, or takes up the one that is there."""
        import optuna

        directions = list(self.objectives.values()) or [str(self._settings["direction"])]
        # Names alone: a summary would read every trial.
        if self._name not in optuna.get_all_study_names(self._storage):
            if self.space:
                search_space.require_points(self.space, self._settings["n_trials"])
            optuna.create_study(storage=self._storage, study_name=self._name, directions=directions)
        self._storage = self.coordinator.storage(self._name)
        self._study = optuna.load_study(storage=self._storage, study_name=self._name)
        # One that a driver killed while it made it has neither configuration nor trials yet.
        blank = self.get("config") is None and not self._study.get_trials(deepcopy=False)
        self.is_new = blank and [d.name.lower() for d in self._study.directions] == directions
        config = json.dumps(configuration.redacted_config(self.config))
        if self.is_new:
            # Runs of an earlier study of the same name, moved away since, are not this one's.
            self.set("id", f"{self._name}-{secrets.token_hex(4)}")
            self.set("data_sha256", data_sha256)
            for key, value in self._made.items():
                self.set(key, value)
            self.set("config", config)
        elif self.get("config") is None:
            raise StorageError(
                f"{self.where}: a study of that name was not made by lstm_bench", remedy="Choose another study.name."
            )
        else:
            if resume.refuse(self._attrs(), self.config, self.space, data_sha256, self._made):
                self.set("config", config)
            for key, value in self._made.items():
                if self.get(key) is None:
                    self.set(key, value)
                    self.learned.append(key)
        self._id = self._storage.get_study_id_from_name(self._name)

    # Facts about the study itself: kernel decisions, replicates, probes.

    def get(self, key: str) -> Any:
        """A stored fact, None when there is none."""
        return self._attrs().get(key)

    def set(self, key: str, value: Any) -> None:
        """Stores a fact (JSON)."""
        self.coordinator.run(lambda: self._study.set_user_attr(key, value))

    def facts(self, prefix: str) -> dict[str, Any]:
        """Stored facts whose key begins with `prefix`, without it."""
        return {key.removeprefix(prefix): value for key, value in self._attrs().items() if key.startswith(prefix)}

    def _attrs(self) -> dict[str, Any]:
        return self.coordinator.run(lambda: dict(self._study.user_attrs))

    # Work that drivers of the same study share out.

    def claim(self, keys: Sequence[str]) -> list[str]:
        """Which of these pieces of work are this driver's to do."""
        return self.coordinator.alone(lambda: self._claim(keys)) if self.shared else list(keys)

    def _claim(self, keys: Sequence[str]) -> list[str]:
        held, others = self.facts("claim/"), self.coordinator.others()
        free = [key for key in keys if held.get(key) not in others]
        for key in free:
            self.set(f"claim/{key}", self.coordinator.name())
        return free

    def put(self, key: str, value: Any) -> bool:
        """Stores what came of claimed work; returns whether it counts."""
        with self._or_kept(lambda: {"key": key, "value": value}):
            if self.shared:
                return self.coordinator.alone(lambda: self._put(key, value))
            self.set(key, value)
            return True

    def _put(self, key: str, value: Any) -> bool:
        known = self._attrs()
        if key in known:  # by this driver, when the answer was lost
            return json.dumps(known[key]) == json.dumps(json.loads(json.dumps(value)))
        if known.get(f"claim/{key}") in self.coordinator.others():
            return False
        self.set(key, value)
        return True

    @contextlib.contextmanager
    def turn(self, key: str) -> Iterator[None]:
        """Lets one driver after the other do what is in the block.

        A courtesy, no more: it waits for at most `storage.grace` seconds, and for no user who wants to end.
        """
        ends = time.monotonic() + self.config["storage"]["grace"]
        while not (taken := bool(self.claim([key]))):
            if time.monotonic() >= ends or self.coordinator.interrupted():
                break
            time.sleep(_TURN_S)
        try:
            yield
        finally:
            if taken and self.shared:
                self.set(f"claim/{key}", "")

    def pending(self) -> bool:
        """Whether there is work left, or trials of other drivers run, whose ends may make new work."""
        if not self.shared:
            return False
        counts = self.counts()
        others = any(number not in self._mine for number in self._tally.running)
        return bool(counts["queued"] or counts["left"] or others)

    def leave(self) -> bool:
        """Leaves the rest to other drivers; returns False where there is none, and leaves nothing then."""
        return self.coordinator.leave()

    # Trials.

    def trials(self) -> list[Any]:
        """All trials, as Optuna's FrozenTrial, by number."""
        return self.coordinator.run(lambda: self._study.get_trials(deepcopy=False))

    @contextlib.contextmanager
    def _or_kept(self, result: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
        """Keeps what cannot be told to a database that is held, when the user ends, for `recover`."""
        try:
            yield
        except InterruptedByUser:
            busy.keep(self.folder / _KEPT, result())
            raise

    def recover(self) -> int:
        """Tells what a session kept that was ended while the database was held; returns how many results. Under the lock."""
        path, told = self.folder / _KEPT, 0
        for kept in busy.kept(path):
            if "key" in kept:
                new = self.get(kept["key"]) is None
                if new:
                    self.set(kept["key"], kept["value"])
            else:
                trials, number = self.trials(), kept["number"]
                new = number < len(trials) and not trials[number].state.is_finished()
                new = new and trials[number].user_attrs.get("seed") == kept["seed"]  # not of another study of that name
                if new:
                    self.tell(number, kept["result"])
            told += new
        path.unlink(missing_ok=True)
        return told

    def repair(self) -> int:
        """Fails what dead drivers left RUNNING, which queues it again; returns how many. Alone, only before any `ask`."""
        return self.coordinator.alone(self._repair)

    def _repair(self) -> int:
        trials, living = self._read(), self.coordinator.others() | self.coordinator.ids
        left = [number for number in self._tally.running if trials[number].user_attrs.get("owner") not in living]
        for number in left:
            self._fail(number, "driver_died", {})
        return len(left)

    def _read(self) -> list[Any]:
        """Brings the sums over all trials up to date with the database; returns the trials."""
        trials = self.trials()
        self._tally.read(trials)
        return trials

    def counts(self) -> dict[str, int]:
        """`complete pruned failed` (what counts towards `n_trials`), `running`, `queued`, and `left` to ask for."""
        return self._tally.counts(self._read())

    def ask(self) -> Asked | None:
        """The next trial to run: a queued one first, else a fresh suggestion; None when `n_trials` is reached."""
        asked, repaired = self.coordinator.alone(self._ask)
        if repaired:
            self.coordinator.say(f"{repaired} trials of a driver that died are queued again", "yellow")
        if asked is not None:
            self._mine.add(asked.number)
        return asked

    def _ask(self) -> tuple[Asked | None, int]:
        repaired = self._repair() if self.coordinator.ids else 0  # else nobody but this driver has trials
        left = self.counts()["left"]
        if (lost := self._unanswered()) is not None:
            return lost, repaired
        asked = None
        if self._tally.queue:
            asked = self._again(self._tally.queue[min(self._tally.queue)])
        elif left:
            asked = self._suggest()
        if asked is not None and (owner := self.coordinator.name()) is not None:
            self._storage.set_trial_user_attr(self._trial_id(asked.number), "owner", owner)
        return asked, repaired

    def _unanswered(self) -> Asked | None:
        """A trial that this driver has asked for, and did not hear the answer."""
        trials = self.trials()
        for trial in (trials[number] for number in self._tally.running):
            attrs = trial.user_attrs
            if attrs.get("owner") in self.coordinator.ids and trial.number not in self._mine:
                return Asked(trial.number, dict(trial.params), attrs["seed"], attrs.get("retry_of"))
        return None

    def _suggest(self) -> Asked:
        # Retries repeat a suggestion; only distinct ones move the sampler on.
        suggestion, seed = self._tally.suggestions, self._settings["seed"]
        self._study.sampler = self._suggestions.sampler(suggestion, seed, self.trials())
        trial = self._study.ask(fixed_distributions=self._distributions)
        train_seed = samplers.derived_seed(seed, suggestion, "train")
        trial.set_user_attr("seed", train_seed)
        self.coordinator.settle()
        return Asked(trial.number, dict(trial.params), train_seed, None)

    def repeats(self) -> bool:
        """Whether there are more trials to be than points of the space: in a study that was made when this was allowed."""
        return bool(self.space) and self._settings["n_trials"] > search_space.points(self.space)

    def _again(self, failed: Any) -> Asked:
        """A new RUNNING trial with the parameters of a failed one, without moving the sampler."""
        import optuna

        attrs = {"retry_of": failed.number, "seed": failed.user_attrs["seed"]}
        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=failed.params,
            distributions=failed.distributions,
            user_attrs=attrs,
            system_attrs={k: v for k, v in failed.system_attrs.items() if k.startswith("cma:")},
        )
        trial_id = self._storage.create_new_trial(self._id, template_trial=template)
        number = self._storage.get_trial_number_from_id(trial_id)
        return Asked(number, dict(failed.params), attrs["seed"], failed.number)

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def report(self, number: int, epoch: int, value: float) -> bool:
        """Stores the objective after an epoch, with `train.patience` the best so far.

        Returns whether the trial is to stop: pruned, or taken over by another driver.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        def work() -> bool:
            trial_id, reported = self._trial_id(number), value
            if self.config["train"].get("patience") is not None:
                before = self._storage.get_trial(trial_id).intermediate_values.values()
                reported = (max if self._settings["direction"] == "maximize" else min)([value, *before])
            self._storage.set_trial_intermediate_value(trial_id, epoch, reported)
            return bool(self._pruner.prune(self._study, self._storage.get_trial(trial_id)))

        try:
            return self.coordinator.run(work)
        except UpdateFinishedTrialError:
            return True

    def dominated(self, metrics: Mapping[str, Any]) -> bool:
        """Whether a trial of several objectives would be stopped after an epoch: the rule is in `study/pareto.py`.

        Args:
          metrics: Of the epoch: `epoch`, and the objectives as far as they are known.
        """
        pruner = self.config["pruner"]
        if pruner["name"] != "dominated" or metrics["epoch"] <= pruner["n_warmup_epochs"]:
            return False
        self._read()
        return self._tally.n_complete >= pruner["n_startup_trials"] and self._tally.dominates(metrics)

    def tell(self, number: int, result: Mapping[str, Any]) -> bool:
        """Ends a trial by its result: state COMPLETE, PRUNED or FAIL (with its reason).

        Returns:
          Whether it counts: not where another driver has taken the trial over.
        """
        again = result.get("reason") in (*RETRY_LIMITED, *RETRY_UNLIMITED)  # is so without a word

        def kept() -> dict[str, Any]:
            return {"number": number, "seed": self.trials()[number].user_attrs.get("seed"), "result": dict(result)}

        with contextlib.nullcontext() if again else self._or_kept(kept):
            counts = self.coordinator.alone(lambda: self._tell(number, result))
        self._mine.discard(number)
        return counts

    def _tell(self, number: int, result: Mapping[str, Any]) -> bool:
        from optuna.trial import TrialState

        trial = self._storage.get_trial(self._trial_id(number))
        if trial.state.is_finished():
            return not _is_given_up(trial)  # then it was told, but the answer was lost
        if result["state"] == "FAIL":
            self._fail(number, result["reason"], result)
            return True
        self._storage.set_trial_user_attr(self._trial_id(number), "result", dict(result))
        if result["state"] == "PRUNED":
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, [result[name] for name in self.objectives or (settled_objective(self._settings),)])
        return True

    def _fail(self, number: int, reason: str, result: Mapping[str, Any]) -> None:
        from optuna.trial import TrialState

        trial_id = self._trial_id(number)
        self._storage.set_trial_user_attr(trial_id, "reason", reason)
        if result:
            self._storage.set_trial_user_attr(trial_id, "result", dict(result))
        self._study.tell(number, state=TrialState.FAIL)

    def best(self) -> Any | None:
        self._read()
        return self._tally.best()

    def front(self) -> list[Any]:
        self._read()
        return self._tally.front()

    def top(self, k: int) -> list[Any]:
        return self._tally.top(k, self._read())

    def row(self, number: int) -> dict[str, Any]:
        """A finished trial as a row of `trials.csv`, with its `history` and `detail`."""
        return row(self.trials()[number])

    def rows(self) -> list[dict[str, Any]]:
        """All finished trials as rows, by number."""
        return [row(trial) for trial in self.trials() if trial.state.is_finished()]

    def close(self) -> None:
        """Lets go of the database's connections."""
        self.coordinator.close()


def _is_given_up(trial: Any) -> bool:
    """Whether its driver was taken for dead: the trial runs again, and what that driver says of it does not count."""
    return bool(trial.user_attrs.get("reason") == "driver_died")
