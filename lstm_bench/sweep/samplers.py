"""Sampler and pruner by name, each a thin choice of Optuna's own."""

from __future__ import annotations

import copy
import hashlib
import itertools
import math
import random
import warnings
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lstm_bench.study import search_space as spaces

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
from lstm_bench.core import schema
from lstm_bench.study.search_space import Domain

_ATTEMPTS = 16  # at a point that was not seen, before chance decides


def derived_seed(seed: int, suggestion: int, purpose: str) -> int:
    """A 31-bit seed from the study's seed and the count of distinct suggestions before this one.

    Trial numbers shift when a trial is queued again; the count of distinct suggestions does not, so an interrupted study
    goes on as the uninterrupted one would have.
    """
    digest = hashlib.sha256(f"{seed}/{suggestion}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def sampler(
    config: schema.Sampler,
    space: Mapping[str, spaces.Domain],
    *,
    seed: int,
    suggestion: int,
    n_trials: int = 0,
    tried: Iterable[Mapping[str, Any]] = (),
    attempt: int = 0,
) -> BaseSampler:
    """Optuna sampler for the suggestion of that index.

    Args:
      config: Group `sampler`.
      space: Parsed search space.
      seed: `study.seed`.
      suggestion: Count of distinct suggestions made before.
      n_trials: `study.n_trials`: how many points of a grid are wanted.
      tried: Points suggested before, which a grid leaves out.
      attempt: How many suggestions were thrown away because that point was seen before, see `unrepeated`.
    """
    from optuna import samplers
    from optuna.exceptions import ExperimentalWarning

    now = derived_seed(seed, suggestion, f"sampler/{attempt}" if attempt else "sampler")
    # A grid's order and a quasi-random sequence must stay the same from ask to ask.
    steady = derived_seed(seed, 0, "sequence")
    name, startup = config["name"], config["n_startup_trials"]
    if name == "tpe":
        return samplers.TPESampler(seed=now, n_startup_trials=startup, multivariate=True, constant_liar=True)
    if name == "cmaes":
        return _cmaes(now, startup, suggestion)
    independent = samplers.RandomSampler(seed=now)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if name == "grid":
            # Optuna's own goes by the trial's number, and ends a study that is asked and told by an exception.
            return samplers.PartialFixedSampler(_next_point(spaces.grid(space), steady, n_trials, tried), independent)
        if name == "qmc":
            # Until a trial has succeeded, Optuna takes independent points.
            return samplers.QMCSampler(
                seed=steady, scramble=True, independent_sampler=independent, warn_independent_sampling=False
            )
    return independent


def unrepeated(
    make: Callable[[int], BaseSampler],
    space: Mapping[str, spaces.Domain],
    seen: Container[tuple[int, ...]],
    seed: int,
) -> BaseSampler:
    """A sampler of a finite space that suggests no point twice.

    What the sampler of attempt 0 suggests is taken unless it was seen; then other attempts follow, and at last chance decides
    among the points that are left.

    Args:
      make: Attempt, from 0 -> sampler.
      space: Parsed search space, finite.
      seen: `search_space.indices` of points; not all that there are.
      seed: Of the last resort.
    """
    from optuna.samplers import BaseSampler, RandomSampler

    known = distributions(space)

    class Unrepeated(BaseSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return known

        def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
            for attempt in range(_ATTEMPTS):
                inner = make(attempt)
                found = inner.sample_relative(study, trial, inner.infer_relative_search_space(study, trial))
                for path, distribution in known.items():
                    if distribution.single():  # Optuna asks no sampler for it
                        found[path] = spaces.point(space, (0,) * len(space))[path]
                    elif path not in found:
                        found[path] = inner.sample_independent(study, trial, path, distribution)
                if spaces.indices(space, found) not in seen:
                    return found
            return spaces.point(space, spaces.unseen(space, seen, seed))

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            # Never asked: every value is in the point.
            return RandomSampler(seed=seed).sample_independent(study, trial, param_name, param_distribution)

    return Unrepeated()


def _next_point(
    axes: Mapping[str, Sequence[Any]], seed: int, n_trials: int, tried: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Of the `n_trials` points that chance takes from a grid, the one left that should train longest.

    The list is known beforehand: with its longest trials first, no worker is left alone with one at the end.
    """
    points = list(itertools.product(*axes.values()))
    random.Random(seed).shuffle(points)
    before = {tuple(point[path] for path in axes) for point in tried}
    left = [dict(zip(axes, point, strict=True)) for point in points[: max(1, n_trials)] if point not in before]
    return max(left, key=_expected_time, default=dict(zip(axes, points[0], strict=True)))


def _expected_time(point: Mapping[str, Any]) -> float:
    """Logarithm of a training's time, up to what all points have in common: sizes and epochs, over the batch size."""
    time = 0.0
    for path, value in point.items():
        if type(value) is int and value > 0 and (path.startswith("model.") or path == "train.epochs"):
            time += math.log(value)
        elif path == "train.batch_size":
            time -= math.log(value)
    return time


def _cmaes(seed: int, n_startup_trials: int, suggestion: int) -> BaseSampler:
    from optuna.samplers import CmaEsSampler

    class Steady(CmaEsSampler):
        """Seeded by the count of suggestions where Optuna adds the trial's number, which shifts with queuing again."""

        def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
            trial = copy.copy(trial)
            trial.number = suggestion
            return super().sample_relative(study, trial, search_space)

    return Steady(seed=seed, n_startup_trials=n_startup_trials)


def pruner(config: schema.Pruner, epochs: int) -> BasePruner:
    """Optuna pruner; steps are epochs, counted from 1."""
    from optuna import pruners

    if config["name"] == "median":
        return pruners.MedianPruner(
            n_startup_trials=config["n_startup_trials"], n_warmup_steps=config["n_warmup_epochs"] + 1
        )
    if config["name"] == "hyperband":
        return pruners.HyperbandPruner(
            min_resource=1, max_resource=max(1, epochs), reduction_factor=config["reduction_factor"]
        )
    return pruners.NopPruner()


def distributions(space: Mapping[str, Domain]) -> dict[str, BaseDistribution]:
    """Optuna distributions by config path."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    make: dict[str, Callable[[Domain], BaseDistribution]] = {
        "int": lambda d: IntDistribution(d["low"], d["high"], log=d["log"], step=d["step"] or 1),
        "float": lambda d: FloatDistribution(d["low"], d["high"], log=d["log"], step=d["step"]),
        "categorical": lambda d: CategoricalDistribution(d["choices"]),
    }
    return {path: make[domain["type"]](domain) for path, domain in space.items()}
