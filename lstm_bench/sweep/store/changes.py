"""What a session that takes up a study must not have changed: its configuration, its data, its code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lstm_bench.core import configuration, numerics, user_code
from lstm_bench.core.errors import ConfigError
from lstm_bench.core.formatting import format_field
from lstm_bench.study import search_space
from lstm_bench.study.resume import MAY_CHANGE


def refuse(
    facts: Mapping[str, Any],
    config: Mapping[str, Any],
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
    stored, name = json.loads(facts["config"]), config["study"]["name"]
    was, now = configuration.flatten(stored), configuration.flatten(configuration.redacted_config(config))
    # A switch that was not there when the study was made, and is off, changes nothing.
    now = {path: value for path, value in now.items() if path in was or value is not False}
    differences = [
        f"{p} was {format_field(was.get(p)) or 'null'}, is {format_field(now.get(p)) or 'null'}"
        for p in _changed(was, now)
    ]
    for path in ("study.n_trials", "study.confirm"):
        if now[path] < was.get(path, 0):
            differences.append(f"{path} was {was[path]}, is {now[path]} (only upward)")
    # One that repeats points, from when that was allowed, may go on repeating them.
    if space and now["study.n_trials"] > was.get("study.n_trials", 0) <= search_space.points(space):
        search_space.require_points(space, now["study.n_trials"])
    before, objectives = stored["study"].get("objectives", {}), config["study"]["objectives"]
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
        more = f" and {len(differences) - 6} more" if len(differences) > 6 else ""
        raise ConfigError(
            f"study {name} was created with another configuration: {'; '.join(differences[:6])}{more}",
            remedy="Give the old values, or a new study with study.name=NAME.",
        )
    return was != now


def _changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Paths of two flat configurations whose values differ, without those that a resume may change."""
    return [p for p in sorted({*was, *now}) if was.get(p) != now.get(p) and not p.startswith(MAY_CHANGE)]


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
