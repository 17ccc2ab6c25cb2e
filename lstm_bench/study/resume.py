"""Whether a study on disk may be gone on with: what of it may differ between two sessions, and what of it does."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from lstm_bench.core import numerics, schema, user_code
from lstm_bench.core.configuration import flatten, redacted_config
from lstm_bench.core.errors import ConfigError
from lstm_bench.core.formatting import format_field
from lstm_bench.study import search_space

# What may differ when a study is resumed: how much, how long, where; never what.
MAY_CHANGE = (
    *("study.n_trials", "study.confirm", "study.replicates", "study.max_failed", "study.max_retry"),
    *("study.timeout", "study.trial_timeout", "study.description", "study.campaign"),
    *("dataset.dir", "dataset.path", "dataset.test_path", "dataset.fallback"),
    *("launcher.", "storage.", "tracking.", "kernel.probe", "kernel.remember", "study.shared", "controls"),
)

# What may differ between the sessions of one benchmark.
FREE = ("arms", "tracking", "grid", "method.rounds", "arms.", "tracking.", "grid.", "method.rounds.")
# What must not: numbers of two machines or versions are not one table.
MACHINE = (
    *("lstm_bench", "python", "device.name", "device.kind", "device.cpu", "device.cores", "device.driver"),
    *(f"packages.{name}" for name in ("tensorflow", "keras", "jax", "jaxlib", "torch", "numpy")),
    *(f"packages.nvidia-cudnn-{cuda}" for cuda in ("cu12", "cu13")),
)

_SHOWN = 6  # differences that are named


class Change(NamedTuple):
    """A value that is not what it was.

    Attributes:
      path: Dotted.
      was: None for nothing.
      now: Likewise.
    """

    path: str
    was: Any
    now: Any


def changed(
    was: Mapping[str, Any], now: Mapping[str, Any], *, free: tuple[str, ...] = (), only: Collection[str] = ()
) -> list[Change]:
    """Values that differ between two configurations, or two descriptions of machines, by path.

    A switch that is off is as one that an older version did not have.

    Args:
      was: Nested.
      now: Likewise.
      free: Paths begin so that may differ.
      only: The paths that are compared; none: all.
    """
    a, b = flatten(was), flatten(now)
    found = []
    for path in only or sorted({*a, *b}):
        first, second = (None if tree.get(path) is False else tree.get(path) for tree in (a, b))
        if first != second and not path.startswith(free):
            found.append(Change(path, first, second))
    return found


def refuse(
    facts: Mapping[str, Any],
    config: schema.Sweep,
    space: Mapping[str, search_space.Domain],
    data_sha256: str,
    made: Mapping[str, Any],
) -> bool:
    """Compares a session with what its study was made with.

    Args:
      facts: What the study says of itself: `config data_sha256`, and `code variables` where they are known.
      config: Resolved configuration of the session.
      space: Its search space.
      data_sha256: Digest of its data.
      made: Its `code` and `variables`, see `TrialStore`.

    Returns:
      Whether anything differs at all, of what may.

    Raises:
      ConfigError: for what may not, with what was and what is.
    """
    was, now, name = json.loads(facts["config"]), redacted_config(config), config["study"]["name"]
    differences = [
        f"{path} was {format_field(before) or 'null'}, is {format_field(after) or 'null'}"
        for path, before, after in changed(was, now, free=MAY_CHANGE)
    ]
    earlier, later = was["study"], config["study"]
    for key in ("n_trials", "confirm"):
        if later[key] < earlier.get(key, 0):
            differences.append(f"study.{key} was {earlier[key]}, is {later[key]} (only upward)")
    # One that repeats points, from when that was allowed, may go on repeating them.
    if space and later["n_trials"] > earlier.get("n_trials", 0) <= search_space.points(space):
        search_space.require_points(space, later["n_trials"])
    before, objectives = earlier.get("objectives", {}), later["objectives"]
    if before == objectives and list(before) != list(objectives):
        differences.append(f"study.objectives were in the order {' '.join(before)}")
    differences += _other_data(facts, data_sha256)
    code, variables = _other_code(facts, made), _other_variables(facts, made)
    if code and not differences and not variables:
        raise ConfigError(
            f"study {name} was created with other code: {', '.join(code)}",
            remedy="Put it back, or make a new study with study.name=NEW.",
        )
    differences += [*code, *variables]
    if differences:
        more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise ConfigError(
            f"study {name} was created with another configuration: {'; '.join(differences[:_SHOWN])}{more}",
            remedy="Give the old values, or a new study with study.name=NAME.",
        )
    return bool(changed(was, now))


def refuse_benchmark(
    name: str,
    was: tuple[Mapping[str, Any], Mapping[str, Any]],
    now: tuple[Mapping[str, Any], Mapping[str, Any]],
    remedy: str,
) -> None:
    """Compares a session of a benchmark with what its figures were measured with.

    Args:
      name: Of its folder.
      was: `config.yaml` and `environment.json`.
      now: Likewise, of the session.
      remedy: What a person can do.

    Raises:
      ConfigError: for the first thing that differs and may not.
    """
    for path, before, after in changed(was[0], now[0], free=(*FREE, "name")):
        raise ConfigError(f"{name} was measured with {path}={before}", received=after, remedy=remedy)
    for path, before, after in changed(was[1], now[1], only=MACHINE):
        raise ConfigError(f"{name} was measured with {path} = {before}", received=after, remedy=remedy)


def _other_data(facts: Mapping[str, Any], data_sha256: str) -> list[str]:
    """Whether the data is not that of the study, in words."""
    return [] if facts.get("data_sha256") == data_sha256 else ["the data has another SHA-256"]


def _other_code(facts: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """Which files of a user's own family are not those that the study was made with, in words."""
    was, now = facts.get("code"), made.get("code")
    return [] if was is None or now is None else user_code.changed(was["files"], now["files"])


def _other_variables(facts: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    was, now = facts.get("variables"), made.get("variables")
    return [] if was is None or now is None else numerics.changed(was, now)
