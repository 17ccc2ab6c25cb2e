"""The study: what was suggested, what came of it, what is left to do. Optuna's database is its only truth.

Trials move RUNNING -> COMPLETE, PRUNED or FAIL. A FAIL has a reason. Those of the trial's own fault count towards
`n_trials`; the others (a dead worker, a dead driver, an interrupt) are run again with the same parameters, as a new trial
whose `retry_of` names the old one. What is queued is never stored: it is the FAILs to be retried that no trial retries yet.
Of a trial whose driver died while it asked for it, half the parameters may be there: its place is asked for anew.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_bench.core import busy, numerics, user_code
from lstm_bench.core import config as schema
from lstm_bench.core.clock import end_ms
from lstm_bench.core.errors import ConfigError, InterruptedByUser, StorageError
from lstm_bench.core.formatting import format_field
from lstm_bench.core.vocabulary import RETRY_LIMITED, RETRY_UNLIMITED
from lstm_bench.study import pareto
from lstm_bench.study import search_space as spaces
from lstm_bench.study.resume import MAY_CHANGE
from lstm_bench.sweep import samplers
from lstm_bench.sweep.store.database import _T, _make_file, _sqlite, _sqlite_url, check_file, guarded

_KEPT = "study.db.kept"  # beside the database: see `Study.recover`


@dataclass(frozen=True)
class Asked:
    """A trial to run."""

    number: int
    params: dict[str, Any]
    seed: int
    retry_of: int | None


class Study:
    """One study in its database.

    Args:
      config: Resolved configuration, under the name that the study really has.
      space: Parsed search space.
      folder: `sweeps/<study>/`.
      data_sha256: Digest of the data.
      made: What else it is made with: `code` (see `source.Code.record`; None of a family of ours) and `variables` (see
        `numerics.observed`).

    Attributes:
      learned: Keys of `made` that an older version did not write down, and this session has.

    Raises:
      StorageError: when the database is corrupt or unreachable.
      ConfigError: when the study exists with another configuration.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        space: dict[str, spaces.Domain],
        folder: Path,
        data_sha256: str,
        made: Mapping[str, Any] | None = None,
    ):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._made = {key: value for key, value in (made or {}).items() if value is not None}
        self.learned: list[str] = []
        self.config, self.space, self._settings, self.folder = config, space, config["study"], folder
        self._distributions = samplers.distributions(space)
        self.objectives: dict[str, str] = dict(self._settings["objectives"])
        self._reset_counters()
        # Not the study's own: Optuna would show the sampler only one bracket of hyperband, chosen by trial number.
        self._pruner = samplers.pruner(config["pruner"], config["train"]["epochs"])
        self._connect()
        self._alone(lambda: self._enter(data_sha256))

    def _reset_counters(self) -> None:
        """Sets back what the trials read so far add up to, see `_sum_up`."""
        self._n_read = self._suggestions = self._n_placed = 0
        self._seen: set[tuple[int, ...]] = set()  # of a finite space, the places of what was suggested
        self._open: list[int] = []
        self._ended = {"COMPLETE": 0, "PRUNED": 0, "FAIL": 0}
        self._queue: dict[int, Any] = {}
        self._best: Any | None = None
        # Of several objectives: complete trials, as they ended and as they were after each epoch.
        self._front, self._fronts = pareto.Front(), defaultdict[int, pareto.Front](pareto.Front)

    def _connect(self) -> None:
        """Opens the database, with tables made if there are none."""
        url, file = self.config["storage"]["url"], self.folder / "study.db"
        self.where = str(file) if url is None else schema.redact(url)
        if url is None:
            check_file(file)
        with guarded(self.where):
            if url is None and not file.exists():
                _make_file(file)
            self._storage = _sqlite(url or _sqlite_url(file), self.where)

    def _enter(self, data_sha256: str) -> None:
        """Makes the study, or takes up the one that is there."""
        import optuna

        # Names alone: a summary would read every trial.
        if self._settings["name"] not in optuna.get_all_study_names(self._storage):
            if self.space:
                spaces.require_points(self.space, self._settings["n_trials"])
            optuna.create_study(storage=self._storage, study_name=self._settings["name"], directions=self._directions())
        self._engine = self._storage.engine
        self._storage = self._kept(self._storage)
        self._study = optuna.load_study(storage=self._storage, study_name=self._settings["name"])
        # One that a driver killed while it made it has neither configuration nor trials yet.
        blank = self.get("config") is None and not self._study.get_trials(deepcopy=False)
        self.is_new = blank and [d.name.lower() for d in self._study.directions] == self._directions()
        if self.is_new:
            # Runs of an earlier study of the same name, moved away since, are not this one's.
            self.set("id", f"{self._settings['name']}-{secrets.token_hex(4)}")
            self.set("data_sha256", data_sha256)
            for key, value in self._made.items():
                self.set(key, value)
            self.set("config", json.dumps(schema.redacted_config(self.config)))
        else:
            self._refuse_changes(data_sha256)
        self._id = self._storage.get_study_id_from_name(self._settings["name"])

    def _kept(self, storage: Any) -> Any:
        """How trials are read and written: by a driver that is alone, see `sweep/store/cached.py`."""
        from lstm_bench.sweep.store.cached import Ledger

        return Ledger(storage, self._settings["name"])

    def _do(self, work: Callable[[], _T]) -> _T:
        """Does what reads or writes the database."""
        with guarded(self.where):
            return work()

    def _alone(self, work: Callable[[], _T]) -> _T:
        """Does what no other driver may do at the same time: one that holds the folder's lock is alone."""
        return self._do(work)

    def _directions(self) -> list[str]:
        return list(self.objectives.values()) or [self._settings["direction"]]

    def _refuse_changes(self, data_sha256: str) -> None:
        stored = self.get("config")
        if stored is None:
            raise StorageError(
                f"{self.where}: a study of that name was not made by lstm_bench", remedy="Choose another study.name."
            )
        was, now = (schema.flatten(c) for c in (json.loads(stored), schema.redacted_config(self.config)))
        # A switch that was not there when the study was made, and is off, changes nothing.
        now = {path: value for path, value in now.items() if path in was or value is not False}
        changed = _changed(was, now)
        differences = [
            f"{p} was {format_field(was.get(p)) or 'null'}, is {format_field(now.get(p)) or 'null'}" for p in changed
        ]
        for path in ("study.n_trials", "study.confirm"):
            if now[path] < was.get(path, 0):
                differences.append(f"{path} was {was[path]}, is {now[path]} (only upward)")
        # One that repeats points, from when that was allowed, may go on repeating them.
        if self.space and now["study.n_trials"] > was.get("study.n_trials", 0) <= spaces.points(self.space):
            spaces.require_points(self.space, now["study.n_trials"])
        before = json.loads(stored)["study"].get("objectives", {})
        if before == self.objectives and list(before) != list(self.objectives):
            differences.append(f"study.objectives were in the order {' '.join(before)}")
        differences += self._other_data(data_sha256)
        code, variables = self._other_code(), self._other_variables()
        if code and not differences and not variables:
            raise ConfigError(
                f"study {self._settings['name']} was created with other code: {', '.join(code)}",
                remedy="Put it back, or make a new study with study.name=NEW.",
            )
        differences += [*code, *variables]
        if differences:
            more = f" and {len(differences) - 6} more" if len(differences) > 6 else ""
            raise ConfigError(
                f"study {self._settings['name']} was created with another configuration: {'; '.join(differences[:6])}{more}",
                remedy="Give the old values, or a new study with study.name=NAME.",
            )
        if was != now:
            self.set("config", json.dumps(schema.redacted_config(self.config)))
        for key, value in self._made.items():
            if self.get(key) is None:
                self.set(key, value)
                self.learned.append(key)

    def _other_data(self, data_sha256: str) -> list[str]:
        """Whether the data is not that of the study, in words."""
        return [] if self.get("data_sha256") == data_sha256 else ["the data has another SHA-256"]

    def _other_code(self) -> list[str]:
        """Which files of a user's own family are not those that the study was made with, in words."""
        was, now = self.get("code"), self._made.get("code")
        return [] if was is None or now is None else user_code.changed(was["files"], now["files"])

    def _other_variables(self) -> list[str]:
        was, now = self.get("variables"), self._made.get("variables")
        return [] if was is None or now is None else numerics.changed(was, now)

    # Facts about the study itself: kernel decisions, replicates, probes.

    def get(self, key: str) -> Any:
        """A stored fact, None when there is none."""
        return self._attrs().get(key)

    def set(self, key: str, value: Any) -> None:
        """Stores a fact (JSON)."""
        self._do(lambda: self._study.set_user_attr(key, value))

    def facts(self, prefix: str) -> dict[str, Any]:
        """Stored facts whose key begins with `prefix`, without it."""
        return {key.removeprefix(prefix): value for key, value in self._attrs().items() if key.startswith(prefix)}

    def _attrs(self) -> dict[str, Any]:
        return self._do(lambda: dict(self._study.user_attrs))

    # Other drivers on the same study. Here there are none; where there may be some, see `sweep/store/postgres.py`.

    shared = False

    def claim(self, keys: Sequence[str]) -> list[str]:
        """Which of these pieces of work are this driver's to do."""
        return list(keys)

    def put(self, key: str, value: Any) -> bool:
        """Stores what came of claimed work; returns whether it counts."""
        with self._or_kept({"key": key, "value": value}):
            self.set(key, value)
        return True

    @contextlib.contextmanager
    def turn(self, key: str) -> Iterator[None]:
        """Lets one driver after the other do what is in the block."""
        yield

    def pending(self) -> bool:
        """Whether trials of other drivers run, whose ends may make new work."""
        return False

    def leave(self) -> bool:
        """Leaves the rest to other drivers; returns False where there is none, and leaves nothing then."""
        return False

    # Trials.

    def trials(self) -> list[Any]:
        """All trials, as Optuna's FrozenTrial, by number."""
        return self._do(lambda: self._study.get_trials(deepcopy=False))

    @contextlib.contextmanager
    def _or_kept(self, result: Mapping[str, Any]) -> Iterator[None]:
        """Keeps what cannot be told to a database that is held, when the user ends, for `recover`."""
        try:
            yield
        except InterruptedByUser:
            busy.keep(self.folder / _KEPT, result)
            raise

    def recover(self) -> int:
        """Tells what a session kept that was ended while the database was held; returns how many results. Under the lock."""
        path = self.folder / _KEPT
        told = 0
        for kept in busy.kept(path):
            if "key" in kept:
                new = self.get(kept["key"]) is None
                if new:
                    self.set(kept["key"], kept["value"])
            else:
                trials = self.trials()
                new = kept["number"] < len(trials) and not trials[kept["number"]].state.is_finished()
                new = (
                    new and trials[kept["number"]].user_attrs.get("seed") == kept["seed"]
                )  # not of another study of that name
                if new:
                    self.tell(kept["number"], kept["result"])
            told += new
        path.unlink(missing_ok=True)
        return told

    def repair(self) -> int:
        """Fails what a dead driver left RUNNING, which queues it again; returns how many. Only under the lock."""
        left = [trial for trial in self.trials() if not trial.state.is_finished()]
        for trial in left:
            self._fail(trial.number, "driver_died", {})
        return len(left)

    def _deaths(self, trial: Any, trials: list[Any]) -> int:
        deaths = 0
        while trial is not None:
            deaths += trial.user_attrs.get("reason") in RETRY_LIMITED
            before = trial.user_attrs.get("retry_of")
            trial = None if before is None else trials[before]
        return deaths

    def _is_final(self, trial: Any, trials: list[Any]) -> bool:
        """Whether a FAIL counts: the trial's own fault, or a worker that died once too often."""
        reason = trial.user_attrs.get("reason")
        if reason in RETRY_UNLIMITED:
            return False
        return reason not in RETRY_LIMITED or self._deaths(trial, trials) > self._settings["max_retry"]

    def _sum_up(self) -> list[Any]:
        """Brings the sums over all trials up to date with the database; returns the trials.

        A finished trial never changes, so each is added once, when it is first read as such; only the open ones are looked
        at again. A trial is retried after it has FAILed, under a higher number, hence looked at after its failure. A failure
        that was retried never counts, whatever `study.max_retry` is by now: its retry does.
        """
        trials = self.trials()
        still_open = []
        for trial in (*(trials[number] for number in self._open), *trials[self._n_read :]):
            if trial.number >= self._n_read:
                retry_of = trial.user_attrs.get("retry_of")
                self._suggestions += _is_suggestion(trial)
                if retry_of is not None and self._queue.pop(retry_of, None) is None:
                    self._ended["FAIL"] -= 1
            if not trial.state.is_finished():
                still_open.append(trial.number)
            elif _is_incomplete_suggestion(trial):
                self._suggestions -= 1
            elif trial.state.name == "FAIL" and not self._is_final(trial, trials):
                self._queue[trial.number] = trial
            else:
                self._ended[trial.state.name] += 1
                if trial.state.name == "COMPLETE":
                    self._add(trial)
        self._open, self._n_read = still_open, len(trials)
        return trials

    def _add(self, trial: Any) -> None:
        if self.objectives:
            ended = dict(zip(self.objectives, trial.values, strict=True))
            self._front.add(pareto.oriented(ended, self.objectives), trial)
            for epoch in trial.user_attrs["result"].get("history", ()):
                self._fronts[epoch["epoch"]].add(pareto.oriented(epoch, self.objectives))
            self._best = min(self._front.items(), key=self._rank)
        else:
            self._best = min(filter(None, (self._best, trial)), key=self._rank)

    def _rank(self, trial: Any) -> tuple[float, int]:
        value = trial.values[0]
        return (-value if self._settings["direction"] == "maximize" else value, trial.number)

    def counts(self) -> dict[str, int]:
        """`complete pruned failed` (what counts towards `n_trials`), `running`, `queued`, and `left` to ask for."""
        trials = self._sum_up()
        running, queued = sum(trials[number].state.name == "RUNNING" for number in self._open), len(self._queue)
        return {
            "complete": self._ended["COMPLETE"],
            "pruned": self._ended["PRUNED"],
            "failed": self._ended["FAIL"],
            "running": running,
            "queued": queued,
            "left": self._n_left(unfinished=running + queued),
        }

    def _n_left(self, unfinished: int) -> int:
        """How many suggestions `n_trials` leaves to ask for: each trial that runs or is queued will count as well."""
        return max(0, self._settings["n_trials"] - sum(self._ended.values()) - unfinished)

    def ask(self) -> Asked | None:
        """The next trial to run: a queued one first, else a fresh suggestion; None when `n_trials` is reached."""
        left = self.counts()["left"]
        with guarded(self.where):
            if self._queue:
                return self._again(self._queue[min(self._queue)])
            if not left:
                return None
            # Retries repeat a suggestion; only distinct ones move the sampler on.
            suggestion, seed = self._suggestions, self._settings["seed"]
            self._study.sampler = self._sampler(suggestion, seed)
            trial = self._study.ask(fixed_distributions=self._distributions)
            train_seed = samplers.derived_seed(seed, suggestion, "train")
            trial.set_user_attr("seed", train_seed)
            self._settle()
            return Asked(trial.number, dict(trial.params), train_seed, None)

    def _sampler(self, suggestion: int, seed: int) -> Any:
        """The sampler of a suggestion: of a finite space, one that repeats no point as long as there are others."""
        grid = self.config["sampler"]["name"] == "grid"
        make = functools.partial(
            samplers.sampler,
            self.config["sampler"],
            self.space,
            seed=seed,
            suggestion=suggestion,
            n_trials=self._settings["n_trials"],
            tried=[trial.params for trial in self.trials() if not _is_incomplete_suggestion(trial)] if grid else (),
        )
        points = spaces.points(self.space)
        if grid or not self.space or math.isinf(points):
            return make()
        trials = self.trials()
        places = (
            spaces.place(self.space, trial.params)
            for trial in trials[self._n_placed :]
            if not _is_incomplete_suggestion(trial)
        )
        self._seen.update(places)
        self._n_placed = len(trials)
        if len(self._seen) >= points:
            return make()
        last = samplers.derived_seed(seed, suggestion, "unseen")
        return samplers.unrepeated(lambda attempt: make(attempt=attempt), self.space, self._seen, last)

    def repeats(self) -> bool:
        """Whether there are more trials to be than points of the space: in a study that was made when this was allowed."""
        return bool(self.space) and self._settings["n_trials"] > spaces.points(self.space)

    def _settle(self) -> None:
        self._storage.commit()

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
        """Stores the objective after an epoch, with `train.patience` the best so far; returns whether to prune."""
        with guarded(self.where):
            trial_id = self._trial_id(number)
            if self.config["train"].get("patience") is not None:
                before = self._storage.get_trial(trial_id).intermediate_values.values()
                value = (max if self._settings["direction"] == "maximize" else min)([value, *before])
            self._storage.set_trial_intermediate_value(trial_id, epoch, value)
            return bool(self._pruner.prune(self._study, self._storage.get_trial(trial_id)))

    def dominated(self, metrics: Mapping[str, Any]) -> bool:
        """Whether a trial of several objectives would be stopped after an epoch: the rule is in `study/pareto.py`.

        Args:
          metrics: Of the epoch: `epoch`, and the objectives as far as they are known.
        """
        settings = self.config["pruner"]
        if settings["name"] != "dominated" or metrics["epoch"] <= settings["n_warmup_epochs"]:
            return False
        self._sum_up()
        if self._ended["COMPLETE"] < settings["n_startup_trials"]:
            return False
        return self._fronts[metrics["epoch"]].dominates(pareto.oriented(metrics, self.objectives))

    def tell(self, number: int, result: Mapping[str, Any]) -> bool:
        """Ends a trial by its result: state COMPLETE, PRUNED or FAIL (with its reason); returns whether it counts."""
        from optuna.trial import TrialState

        if result["state"] == "FAIL":
            again = result["reason"] in RETRY_LIMITED or result["reason"] in RETRY_UNLIMITED  # is so without a word
            with contextlib.nullcontext() if again else self._or_kept(self._told(number, result)):
                self._fail(number, result["reason"], result)
            return True
        with self._or_kept(self._told(number, result)), guarded(self.where):
            self._storage.set_trial_user_attr(self._trial_id(number), "result", dict(result))
            if result["state"] == "PRUNED":
                self._study.tell(number, state=TrialState.PRUNED)
            else:
                self._study.tell(number, [result[name] for name in self.objectives or (self._settings["objective"],)])
        return True

    def _told(self, number: int, result: Mapping[str, Any]) -> dict[str, Any]:
        return {"number": number, "seed": self.trials()[number].user_attrs.get("seed"), "result": dict(result)}

    def _fail(self, number: int, reason: str, result: Mapping[str, Any]) -> None:
        from optuna.trial import TrialState

        with guarded(self.where):
            trial_id = self._trial_id(number)
            self._storage.set_trial_user_attr(trial_id, "reason", reason)
            if result:
                self._storage.set_trial_user_attr(trial_id, "result", dict(result))
            self._study.tell(number, state=TrialState.FAIL)

    def best(self) -> Any | None:
        """The best COMPLETE trial, of several objectives by the first; None when there is none."""
        self._sum_up()
        return self._best

    def front(self) -> list[Any]:
        """Of several objectives, the COMPLETE trials that no other one dominates, by number."""
        self._sum_up()
        return sorted(self._front.items(), key=lambda trial: trial.number)

    def top(self, k: int) -> list[Any]:
        """The best `k` COMPLETE trials of different parameters, best first; of equals the earlier one.

        Of several objectives, those of the front that are best by the first.
        """
        trials = self.front() if self.objectives else self.trials()
        complete = (trial for trial in trials if trial.state.name == "COMPLETE")
        distinct: dict[str, Any] = {}
        for trial in sorted(complete, key=self._rank):
            distinct.setdefault(json.dumps(trial.params, sort_keys=True), trial)
        return list(distinct.values())[:k]

    def row(self, number: int) -> dict[str, Any]:
        """A finished trial as a row of `trials.csv`, with its `history` and `detail`."""
        return row(self.trials()[number])

    def rows(self) -> list[dict[str, Any]]:
        """All finished trials as rows, by number."""
        return [row(trial) for trial in self.trials() if trial.state.is_finished()]

    def close(self) -> None:
        """Lets go of the database's connections."""
        self._storage.remove_session()
        self._engine.dispose()


def _changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Paths of two flat configurations whose values differ, without those that a resume may change."""
    return [p for p in sorted({*was, *now}) if was.get(p) != now.get(p) and not p.startswith(MAY_CHANGE)]


def _is_suggestion(trial: Any) -> bool:
    """Whether the sampler suggested a trial: a retry repeats a suggestion, and moves the sampler on no further."""
    return trial.user_attrs.get("retry_of") is None


def _is_incomplete_suggestion(trial: Any) -> bool:
    """Whether a driver died while it asked for the trial."""
    return trial.state.name == "FAIL" and "seed" not in trial.user_attrs


def row(trial: Any) -> dict[str, Any]:
    """A finished FrozenTrial as a row of `columns.TRIAL_COLUMNS` and `config_<path>`, with `history` and times."""
    result = trial.user_attrs.get("result", {})
    # One that was asked for ahead began later than Optuna thinks.
    started_ms = result.get("started_ms") or int(trial.datetime_start.timestamp() * 1000)
    return {
        **result,
        "number": trial.number,
        "state": trial.state.name,
        "reason": trial.user_attrs.get("reason"),
        "retry_of": trial.user_attrs.get("retry_of"),
        "seed": trial.user_attrs.get("seed"),
        "history": result.get("history", []),
        "started_ms": started_ms,
        "ended_ms": end_ms(started_ms, int(trial.datetime_complete.timestamp() * 1000)),
        **{f"config_{path}": value for path, value in trial.params.items()},
    }
