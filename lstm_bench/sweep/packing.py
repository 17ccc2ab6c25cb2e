"""What is trained in one program, a pack: how many trainings, by measurement where asked, and which trials of a search."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from lstm_bench.core import schema
from lstm_bench.core.configuration import replaced
from lstm_bench.launcher.event_loop import Running
from lstm_bench.launcher.protocol import ProbeResult, Result
from lstm_bench.study import search_space
from lstm_bench.sweep.kernel_choice import DECISION_S, INPUTS, Choice, KernelChoice, distance
from lstm_bench.sweep.store.trials import Asked
from lstm_bench.training.engine import factory

MAX_PACK = 16  # trials in one program where that is measured: those asked for together do not learn from each other


class PackSizes:
    """How many trainings of a study go into one program; 1 is one by one. The first line that holds decides:

    | `launcher.pack` | where                                                                  | trials in one | seeds in one |
    |-----------------|------------------------------------------------------------------------|---------------|--------------|
    | any             | most trials have a program of their own: what is suggested ahead       | 1             | as below     |
    |                 | would only know less                                                   |               |              |
    | a number        | anywhere                                                               | the number    | the number   |
    | auto            | no GPU, another backend than JAX, or a kernel that is named            | 1             | 1            |
    | auto            | a sampler that learns (tpe, cmaes) or a pruner, which gain more by     | 1             | as below     |
    |                 | training one by one; or throughput is an objective                     |               |              |
    | auto            | else, no worker idle and at most `MAX_PACK` trials, where measurement says that so many in one program |||
    |                 | end sooner than one by one, compiling included                         | so many       | so many      |

    Trials are measured at the ends of the search space, seeds at the configuration that is confirmed; once per shape and size,
    one program at a time; kept with the study.

    Args:
      kernels: The study's kernels.
    """

    def __init__(self, kernels: KernelChoice):
        self._kernels, self._config = kernels, kernels.config
        self._wanted = kernels.config["launcher"]["pack"]
        self._sizes: list[tuple[dict[str, Any], int]] = []  # of packs of trials: corner, members

    def choice(self, config: schema.Sweep, params: Mapping[str, Any], together: int) -> Choice:
        """What runs the steps of so many trainings in one program."""
        if together == 1:
            return self._kernels.of(config, params)
        return Choice("generic", factory.steps_per_execution(self._kernels.backend, "generic")[0])

    def seeds(self, config: schema.Sweep, params: Mapping[str, Any], n: int) -> int:
        """How many of `n` seeds of one configuration, of searched values `params`, are trained in one program."""
        if self._wanted != "auto":
            return int(self._wanted)
        size = math.ceil(n / self._kernels.workers)
        return self._faster(config, params, size) if size > 1 and self._is_measured() else 1

    def decide(self, n: int) -> int:
        """Decides how many of the `n` trials that are still to be run go into one program; the most of them."""
        self._sizes = []
        if self._config["dataset"].get("folds"):
            return 1
        if self._programs() > self._config["study"]["n_trials"] / 2:
            return 1
        if self._wanted != "auto":
            self._sizes = [({}, int(self._wanted))]
            return int(self._wanted)
        size = min(MAX_PACK, math.ceil(n / self._kernels.workers))
        waits = self._config["sampler"]["name"] in ("tpe", "cmaes") or self._config["pruner"]["name"] != "none"
        counted = "train_samples_per_s" in self._config["study"]["objectives"]
        if size < 2 or not self._is_measured() or waits or counted:
            return 1
        corners = search_space.corners(self._kernels.space)
        self._sizes = [(end, self._faster(replaced(self._config, end), end, size)) for end in corners]
        return max(found for _, found in self._sizes)

    def at_once(self, params: Mapping[str, Any]) -> int:
        """How many trials of such searched values go into one program, as `decide` decided."""
        return min(self._sizes, key=lambda decided: distance(decided[0], params))[1] if self._sizes else 1

    def program(self, params: Mapping[str, Any]) -> str:
        """Names what a configuration is compiled to: equal for searched values that one program trains."""
        return json.dumps({path: value for path, value in params.items() if path not in INPUTS}, sort_keys=True)

    def builder(self, ask: Callable[[], Asked | None]) -> PackBuilder:
        """Packs of the trials that `ask` gives."""
        return PackBuilder(
            ask,
            size=lambda asked: self.at_once(asked.params),
            program=lambda asked: self.program(asked.params),
            whole=self._wanted == "auto",
        )

    def _programs(self) -> float:
        """How many programs the space has."""
        return math.prod(
            search_space.size(domain) for path, domain in self._kernels.space.items() if path not in INPUTS
        )

    def _is_measured(self) -> bool:
        return self._kernels.gpu and self._kernels.backend == "jax" and self._kernels.named == "auto"

    def _faster(self, config: schema.Sweep, params: Mapping[str, Any], size: int) -> int:
        """`size` where so many trainings end sooner in one program than one by one, compiling included, else 1."""
        key = f"pack/{size}/{self.program(params)}"
        measured = self._kernels.once(key, lambda: self._measure(config, params, size))
        samples = size * self._config["train"]["epochs"] * self._kernels.n_train
        lasts = {name: got["compile_s"] + samples / got["train_samples_per_s"] for name, got in measured.items()}
        return size if lasts.get("packed", math.inf) < lasts.get("alone", math.inf) else 1

    def _measure(self, config: schema.Sweep, params: Mapping[str, Any], size: int) -> dict[str, dict[str, float]]:
        """Training samples per second in all, and seconds of compiling: one by one, and of a pack; without what did not run."""
        waiting, found, loop = [("alone", 1), ("packed", size)], dict[str, dict[str, float]](), self._kernels.loop

        def next_task() -> Running | None:
            if loop.busy() or not waiting:
                return None
            name, members = waiting.pop(0)
            task = self._kernels.probe_task(params, self.choice(config, params, members), DECISION_S, members)
            return Running(f"trainings {name}", task)

        def finished(running: Running, result: Result) -> None:
            assert isinstance(result, ProbeResult)
            if kept := result.figures():
                found[running.name.removeprefix("trainings ")] = kept

        loop.run(next_task, finished)
        return found


class PackBuilder:
    """The next trials of a study, one alone or several of one program at a time.

    As many are asked for as the first one's program takes. Those of them that need another program wait for the next turn,
    as packs of their own.

    Args:
      ask: Gives the study's next trial, None when there is none for now.
      size: Of a trial: how many of its kind one program trains.
      program: Of a trial: equal where one program trains both.
      whole: Whether fewer than `size` are trained one by one: what was measured of a pack holds for its size.
    """

    def __init__(
        self,
        ask: Callable[[], Asked | None],
        size: Callable[[Asked], int],
        program: Callable[[Asked], str],
        *,
        whole: bool = False,
    ) -> None:
        self._ask, self._size, self._program, self._whole = ask, size, program, whole
        self._asked: list[Asked] = []
        self._waiting: list[list[Asked]] = []
        self._alone: set[str] = set()  # programs
        self._given: dict[int, str] = {}  # number -> program, of those in packs

    def next(self) -> list[Asked]:
        """Trials to be trained in one program, mostly one alone; none when there is nothing for now."""
        if not self._waiting:
            self._gather()
        given = self._waiting.pop(0) if self._waiting else []
        if len(given) > 1:
            self._given |= {trial.number: self._program(trial) for trial in given}
        return given

    def _gather(self) -> None:
        asked = self._asked
        while not asked or len(asked) < self._most(asked[0]):
            trial = self._ask()
            if trial is None:
                break
            asked.append(trial)
        cohorts: dict[str, list[Asked]] = {}
        for trial in asked:
            cohorts.setdefault(self._program(trial), []).append(trial)
        for cohort in cohorts.values():
            size = self._most(cohort[0])
            for start in range(0, len(cohort), size):
                part = cohort[start : start + size]
                apart = self._whole and len(part) < size
                self._waiting += [[trial] for trial in part] if apart else [part]
        asked.clear()

    def _most(self, trial: Asked) -> int:
        return 1 if self._program(trial) in self._alone else self._size(trial)

    def unpack(self, number: int) -> None:
        """Trains what has the program of this trial, which was in a pack, one by one from now on."""
        self._alone.add(self._given[number])

    def pop_waiting(self) -> Asked | None:
        """One of the trials that wait, which does not from then on; None when none does."""
        if self._asked:
            return self._asked.pop()
        while self._waiting:
            if self._waiting[-1]:
                return self._waiting[-1].pop()
            self._waiting.pop()
        return None
