"""Sampler and pruner by name, each a thin choice of Optuna's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lstm_bench import space as spaces

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


def derived_seed(seed: int, suggestion: int, purpose: str) -> int:
    """A 31-bit seed from the study's seed and the count of distinct suggestions before this one.

    Trial numbers shift when a trial is queued again; the count of distinct suggestions does not, so an interrupted study
    goes on as the uninterrupted one would have.
    """
    digest = hashlib.sha256(f"{seed}/{suggestion}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def sampler(
    config: Mapping[str, Any], space: Mapping[str, spaces.Domain], *, seed: int, suggestion: int
) -> BaseSampler:
    """Optuna sampler for the suggestion of that index.

    Args:
      config: Group `sampler`.
      space: Parsed search space.
      seed: `study.seed`.
      suggestion: Count of distinct suggestions made before.
    """
    from optuna import samplers

    now = derived_seed(seed, suggestion, "sampler")
    name, startup = config["name"], config["n_startup_trials"]
    if name == "tpe":
        return samplers.TPESampler(seed=now, n_startup_trials=startup, multivariate=True, constant_liar=True)
    if name == "cmaes":
        return samplers.CmaEsSampler(seed=now, n_startup_trials=startup)
    if name == "grid":
        # The grid's order is its own; it must stay the same from ask to ask, as must the quasi-random sequence.
        return samplers.GridSampler(spaces.grid(space), seed=seed)
    if name == "qmc":
        return samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
    return samplers.RandomSampler(seed=now)


def pruner(config: Mapping[str, Any], epochs: int) -> BasePruner:
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
