"""Which sampler makes a suggestion: one that begins anew each time, and repeats no point of a finite space."""

from __future__ import annotations

import functools
import math
from typing import Any

from lstm_bench.core import schema
from lstm_bench.study import search_space
from lstm_bench.sweep import samplers
from lstm_bench.sweep.store.tally import is_incomplete_suggestion


class Suggestions:
    """The samplers of a study.

    Args:
      config: Resolved configuration.
      space: Parsed search space.
    """

    def __init__(self, config: schema.Sweep, space: dict[str, search_space.Domain]):
        self._config, self._space, self._n_placed = config, space, 0
        self._seen: set[tuple[int, ...]] = set()  # of a finite space, the `indices` of what was suggested

    def sampler(self, suggestion: int, seed: int, trials: list[Any]) -> Any:
        """The sampler of a suggestion: of a finite space, one that repeats no point as long as there are others."""
        grid = self._config["sampler"]["name"] == "grid"
        make = functools.partial(
            samplers.sampler,
            self._config["sampler"],
            self._space,
            seed=seed,
            suggestion=suggestion,
            n_trials=self._config["study"]["n_trials"],
            tried=[trial.params for trial in trials if not is_incomplete_suggestion(trial)] if grid else (),
        )
        points = search_space.points(self._space)
        if grid or not self._space or math.isinf(points):
            return make()
        new = (trial for trial in trials[self._n_placed :] if not is_incomplete_suggestion(trial))
        self._seen.update(search_space.indices(self._space, trial.params) for trial in new)
        self._n_placed = len(trials)
        if len(self._seen) >= points:
            return make()
        last = samplers.derived_seed(seed, suggestion, "unseen")
        return samplers.unrepeated(lambda attempt: make(attempt=attempt), self._space, self._seen, last)
