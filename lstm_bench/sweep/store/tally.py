"""What the trials of a study add up to: how many count, which are to be run again, which is the best."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from lstm_bench.core import schema
from lstm_bench.core.clock import end_ms
from lstm_bench.study import candidates, pareto


class Tally:
    """Sums over the trials of a study, brought up to date by `read`.

    Args:
      settings: Group `study` of the configuration.

    Attributes:
      queue: By number, the FAILed trials that are to be run again and no trial retries yet.
      running: Numbers of the trials that have not ended.
      suggestions: How many times the sampler suggested something.
      n_complete: How many trials are COMPLETE.
    """

    def __init__(self, settings: schema.Study):
        self._settings, self.objectives = settings, dict[str, str](settings["objectives"])
        self._n_read = self.suggestions = 0
        self.running: list[int] = []
        self._ended = {"COMPLETE": 0, "PRUNED": 0, "FAIL": 0}
        self.queue: dict[int, Any] = {}
        self._best: Any | None = None
        # Of several objectives: complete trials, as they ended and as they were after each epoch.
        self._front, self._fronts = pareto.Front(), defaultdict[int, pareto.Front](pareto.Front)

    def read(self, trials: list[Any]) -> None:
        """Brings the sums up to date with the database.

        A finished trial never changes, so each is added once, when it is first read as such; only the open ones are looked
        at again. A trial is retried after it has FAILed, under a higher number, hence looked at after its failure. A failure
        that was retried never counts, whatever `study.max_retry` is by now: its retry does.
        """
        still_open = []
        for trial in (*(trials[number] for number in self.running), *trials[self._n_read :]):
            if trial.number >= self._n_read:
                retry_of = trial.user_attrs.get("retry_of")
                self.suggestions += _is_suggestion(trial)
                if retry_of is not None and self.queue.pop(retry_of, None) is None:
                    self._ended["FAIL"] -= 1
            if not trial.state.is_finished():
                still_open.append(trial.number)
            elif is_incomplete_suggestion(trial):
                self.suggestions -= 1
            elif trial.state.name == "FAIL" and not self._is_final(trial, trials):
                self.queue[trial.number] = trial
            else:
                self._ended[trial.state.name] += 1
                if trial.state.name == "COMPLETE":
                    self._add(trial)
        self.running, self._n_read = still_open, len(trials)

    def _is_final(self, trial: Any, trials: list[Any]) -> bool:
        return candidates.is_final(
            trial.user_attrs, lambda number: trials[number].user_attrs, self._settings["max_retry"]
        )

    def _add(self, trial: Any) -> None:
        if self.objectives:
            ended = dict(zip(self.objectives, trial.values, strict=True))
            self._front.add(pareto.oriented(ended, self.objectives), trial)
            for epoch in trial.user_attrs["result"].get("history", ()):
                self._fronts[epoch["epoch"]].add(pareto.oriented(epoch, self.objectives))
            self._best = next(iter(self._ranked(self._front.items())), None)
        else:
            self._best = next(iter(self._ranked(filter(None, (self._best, trial)))), None)

    def _ranked(self, trials: Iterable[Any]) -> list[Any]:
        """The COMPLETE of some trials, best first."""
        rows = [
            {"number": trial.number, "state": trial.state.name, "value": (trial.values or [None])[0], "trial": trial}
            for trial in trials
        ]
        maximize = self._settings["direction"] == "maximize"
        return [row["trial"] for row in candidates.ranked(rows, "value", maximize=maximize)]

    @property
    def n_complete(self) -> int:
        """How many trials are COMPLETE."""
        return self._ended["COMPLETE"]

    def counts(self, trials: list[Any]) -> dict[str, int]:
        """`complete pruned failed` (what counts towards `n_trials`), `running`, `queued`, and `left` to ask for."""
        running, queued = sum(trials[number].state.name == "RUNNING" for number in self.running), len(self.queue)
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

    def best(self) -> Any | None:
        """The best COMPLETE trial, of several objectives by the first; None when there is none."""
        return self._best

    def front(self) -> list[Any]:
        """Of several objectives, the COMPLETE trials that no other one dominates, by number."""
        return sorted(self._front.items(), key=lambda trial: trial.number)

    def top(self, k: int, trials: list[Any]) -> list[Any]:
        """The best `k` COMPLETE trials of different parameters, best first; of equals the earlier one.

        Of several objectives, those of the front that are best by the first.
        """
        among = self._ranked(self.front() if self.objectives else trials)
        return candidates.distinct(among, lambda trial: json.dumps(trial.params, sort_keys=True))[:k]

    def dominates(self, metrics: Mapping[str, Any]) -> bool:
        """Whether what was reached by the same epoch is better in every objective than `metrics`."""
        return self._fronts[metrics["epoch"]].dominates(pareto.oriented(metrics, self.objectives))


def _is_suggestion(trial: Any) -> bool:
    """Whether the sampler suggested a trial: a retry repeats a suggestion, and moves the sampler on no further."""
    return trial.user_attrs.get("retry_of") is None


def is_incomplete_suggestion(trial: Any) -> bool:
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
