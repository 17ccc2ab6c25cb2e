"""`study.space`: config paths and their domains -> Optuna distributions -> one trial's configuration."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Container, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from lstm_bench.core import configuration, safe_load, schema
from lstm_bench.core.errors import ConfigError, nearest
from lstm_bench.core.formatting import format_exact
from lstm_bench.core.schema import Range, Rule
from lstm_bench.model import signature

Domain = dict[str, Any]
SEARCHABLE = ("model", "train")
_KEYS = {"int": ("low", "high", "step", "log"), "float": ("low", "high", "step", "log"), "categorical": ("choices",)}


def flatten(space: Mapping[str, Any], prefix: str = "") -> dict[str, Domain | None]:
    """Nested or dotted `study.space` -> dotted path -> domain, in sorted order. A mapping with `type` is a domain.

    A command-line override (`study.space.model.units.high=9`) arrives nested beside the study file's dotted key: it changes
    that domain, or replaces it when it has another type. A null takes it out of the space and is its value here.
    """
    flat: dict[str, Domain | None] = {}

    def add(path: str, domain: Mapping[str, Any] | None) -> None:
        if domain is None:
            flat[path] = None
            return
        old = flat.get(path) or {}
        flat[path] = {**(old if domain.get("type") in (None, old.get("type")) else {}), **domain}

    for key, value in space.items():
        path = f"{prefix}{key}"
        if value is None:
            add(path, None)
            continue
        if not isinstance(value, Mapping):
            expected = "a domain such as {type: int, low: 1, high: 9}"
            raise ConfigError(f"study.space.{path}", expected=expected, received=value)
        if "type" in value or path in flat:
            add(path, value)
        else:
            for below, domain in _nested(value, path, flat).items():
                add(below, domain)
    return dict(sorted(flat.items()))


def _nested(value: Mapping[str, Any], path: str, flat: Mapping[str, Domain | None]) -> dict[str, Domain | None]:
    found: dict[str, Domain | None] = {}
    for key, deeper in value.items():
        below = f"{path}.{key}"
        if deeper is None:
            found[below] = None
            continue
        if not isinstance(deeper, Mapping):
            raise ConfigError(f"study.space.{path}: a domain needs a type", remedy="Valid: int, float, categorical.")
        if "type" in deeper or below in flat:
            found[below] = dict(deeper)
        else:
            found.update(_nested(deeper, below, flat))
    return found


def parse(config: schema.Sweep) -> dict[str, Domain]:
    """Checks `study.space` against the configuration that it varies.

    Args:
      config: Resolved configuration.

    Returns:
      Dotted path -> complete domain (`step` and `log` filled in).

    Raises:
      ConfigError: for a path that does not exist, an unknown type or key, bounds that are no bounds, or bounds beyond
        what the path allows. The model's own arguments are checked when its family is ours; others in the first worker.
    """
    space = {path: _domain(path, domain, config) for path, domain in flatten(config["study"]["space"]).items()}
    return {path: domain for path, domain in space.items() if domain is not None}


def _domain(path: str, domain: Domain | None, config: schema.Sweep) -> Domain | None:
    where = f"study.space.{path}"
    groups = {group: configuration.get(config, group) for group in SEARCHABLE}
    valid = [p for p in configuration.flatten(groups) if not p.endswith("._target_")]
    if path not in valid:
        remedy = nearest(path, valid)
        if path in _of_other_families():
            if domain is None:
                return None
            family = str(config["model"]["_target_"]).rpartition(".")[2]
            remedy = f"the family {family} has none: {where}=null takes it out of the space"
        elif path in configuration.paths():
            remedy = f"only {' and '.join(f'{group}.*' for group in SEARCHABLE)} can be searched"
        raise ConfigError(f"{where}: no such configuration path", remedy=remedy)
    if domain is None:
        return None
    if path == "train.deterministic":
        raise ConfigError(f"{where}: it holds for whole processes, not for one trial", remedy=f"Set {path}=true.")
    kind = domain.get("type")
    if kind not in _KEYS:
        raise ConfigError(f"{where}.type", expected="int, float or categorical", received=kind)
    for key in domain:
        # A key of another type is left over from the study file's domain, which Hydra merges an override into.
        if key != "type" and not any(key in keys for keys in _KEYS.values()):
            raise ConfigError(f"{where}: unknown key {key}", remedy=nearest(key, _KEYS[kind]))
    if kind == "categorical":
        choices = domain.get("choices")
        if not isinstance(choices, list) or not choices:
            raise ConfigError(f"{where}.choices", expected="a list of at least one value", received=choices)
        if not all(choice is None or isinstance(choice, str | int | float) for choice in choices):
            raise ConfigError(f"{where}.choices", expected="numbers, texts, true, false or null", received=choices)
        # Whoever reads the records must tell them apart: null is written as nothing.
        if len({format_exact(choice) for choice in choices}) < len(choices) or len(set(choices)) < len(choices):
            raise ConfigError(f"{where}.choices", expected="different values", received=choices)
        values, complete = choices, {"type": kind, "choices": list(choices)}
    else:
        complete = _numeric(where, kind, domain)
        values = [complete["low"], complete["high"]]
    hint, rule = _allowed(path, config)
    for value in values:
        signature.check_value(where, value, hint, rule)
    return complete


def _of_other_families() -> set[str]:
    """Paths of the arguments that some family of ours has: a study's space is often that of another one."""
    files = (configuration.conf_dir() / "model").glob("*.yaml")
    read = [safe_load.own_yaml(file.read_text(encoding="utf-8")) for file in files]
    return {f"model.{key}" for given in read if isinstance(given, Mapping) for key in given if key != "_target_"}


def _numeric(where: str, kind: str, domain: Domain) -> Domain:
    low, high, step, log = domain.get("low"), domain.get("high"), domain.get("step"), domain.get("log", False)
    for key, value in (("low", low), ("high", high), ("step", step)):
        if value is None and key == "step":
            continue
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (whole or (kind == "float" and value in Range())):
            expected = "a whole number" if kind == "int" else "a finite number"
            raise ConfigError(f"{where}.{key}", expected=expected, received=value)
    assert isinstance(low, int | float) and isinstance(high, int | float)
    if low > high:
        raise ConfigError(f"{where}: low {low:g} is above high {high:g}", remedy="Exchange them.")
    if not isinstance(log, bool):
        raise ConfigError(f"{where}.log", expected="true or false", received=log)
    if log and low <= 0:
        raise ConfigError(f"{where}.low", expected="a number above 0 where log is true", received=low)
    if step is not None and (step <= 0 or log):
        raise ConfigError(f"{where}.step", expected="a number above 0, and no log", received=step)
    if step is not None:
        try:
            rest = (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step))
        except InvalidOperation:  # more steps than 28 digits can count
            raise ConfigError(f"{where}.step", expected="a larger step", received=step) from None
        if rest:
            raise ConfigError(f"{where}.high", expected=f"low {low:g} plus whole steps of {step:g}", received=high)
    if kind == "float":
        low, high, step = float(low), float(high), None if step is None else float(step)
    return {"type": kind, "low": low, "high": high, "step": step, "log": log}


def _allowed(path: str, config: schema.Sweep) -> tuple[Any, Rule | None]:
    for known, hint, rule in configuration.rules():
        if known == path:
            return hint, rule
    if not signature.is_own(str(config["model"].get("_target_", ""))):
        return Any, None
    return signature.rules(signature.find(config["model"]["_target_"])).get(path.removeprefix("model."), (Any, None))


def pinned(space: Mapping[str, Domain], overrides: Iterable[str]) -> dict[str, str]:
    """Searched paths that a command-line override fixes: path -> the override."""
    found: dict[str, str] = {}
    for override in overrides:
        path, _, _ = override.lstrip("+").partition("=")
        if path in space:
            found[path] = override
    return found


def grid(space: Mapping[str, Domain]) -> dict[str, list[Any]]:
    """Every value of every dimension, for grid search.

    Raises:
      ConfigError: for a float without a step, which has no finite grid.
    """
    points: dict[str, list[Any]] = {}
    for path, domain in space.items():
        if domain["type"] == "categorical":
            points[path] = list(domain["choices"])
            continue
        n = size(domain)
        if not math.isfinite(n):
            raise ConfigError(f"study.space.{path}: sampler=grid needs a step", remedy="Give one, or list choices.")
        points[path] = [min(domain["low"] + i * (domain["step"] or 1), domain["high"]) for i in range(int(n))]
    return points


def size(domain: Domain) -> float:
    """How many values a dimension has: infinitely many where it is a float without a step."""
    if domain["type"] == "categorical":
        return len(domain["choices"])
    step = domain["step"] or (1 if domain["type"] == "int" else None)
    return math.inf if step is None else int((domain["high"] - domain["low"]) / step + 1e-9) + 1


def points(space: Mapping[str, Domain]) -> float:
    """How many points a space has, a whole number or infinitely many; 1 where it is empty."""
    return math.prod(size(domain) for domain in space.values())


def indices(space: Mapping[str, Domain], params: Mapping[str, Any]) -> tuple[int, ...]:
    """Where a point of a finite space is along each dimension, counted from 0: equal for equal points alone."""

    def along(domain: Domain, value: Any) -> int:
        if domain["type"] == "categorical":
            return int(domain["choices"].index(value))
        return round((value - domain["low"]) / (domain["step"] or 1))

    return tuple(along(domain, params[path]) for path, domain in space.items())


def point(space: Mapping[str, Domain], at: tuple[int, ...]) -> dict[str, Any]:
    """The point of a finite space at `indices`."""

    def value(domain: Domain, index: int) -> Any:
        if domain["type"] == "categorical":
            return domain["choices"][index]
        return min(domain["low"] + index * (domain["step"] or 1), domain["high"])

    return {path: value(domain, index) for (path, domain), index in zip(space.items(), at, strict=True)}


def unseen(space: Mapping[str, Domain], seen: Container[tuple[int, ...]], seed: int) -> tuple[int, ...]:
    """`indices` of the first point that is not in `seen`, in an order of all that `seed` decides; no list of all is made.

    Args:
      space: Finite.
      seen: `indices` of points; not all that there are.
      seed: Of the order.
    """
    sizes, n = [int(size(domain)) for domain in space.values()], int(points(space))
    rng = random.Random(seed)
    at, stride = rng.randrange(n), rng.randrange(n)
    while math.gcd(stride, n) != 1:  # else it would not come past all of them
        stride += 1
    while True:
        rest, found = at, []
        for length in sizes:
            rest, index = divmod(rest, length)
            found.append(index)
        if tuple(found) not in seen:
            return tuple(found)
        at = (at + stride) % n


def require_points(space: Mapping[str, Domain], n_trials: int, what: str = "space") -> None:
    """Raises ConfigError for more trials than there are points: each is trained once."""
    if n_trials > points(space):
        raise ConfigError(
            "study.n_trials",
            expected=f"at most {points(space)}, the points of the {what}",
            received=n_trials,
            remedy="Each is trained once, and the best again by study.replicates.",
        )


def corners(space: Mapping[str, Domain]) -> list[dict[str, Any]]:
    """The cheapest and the dearest end of the space, as far as numbers tell; one empty corner for an empty space."""
    numeric = {
        path: (domain["low"], domain["high"]) if "low" in domain else (min(domain["choices"]), max(domain["choices"]))
        for path, domain in space.items()
        if path.startswith("model.") or path == "train.batch_size"
        if "low" in domain or all(isinstance(c, int | float) for c in domain["choices"])
    }
    # A large batch of narrow layers is cheap per sample, a small batch of wide ones dear.
    small = {path: ends[path == "train.batch_size"] for path, ends in numeric.items()}
    large = {path: ends[path != "train.batch_size"] for path, ends in numeric.items()}
    return [small] if small == large else [small, large]


def choices_to_check(space: Mapping[str, Domain], limit: int = 64) -> list[dict[str, Any]]:
    """What is to be built before the first trial: the corners, and the choices whose ends are no numbers' ends.

    Args:
      space: Parsed.
      limit: As many combinations of choices are all taken; of more, each choice at least once.

    Returns:
      Searched values by path; numbers are at the cheapest or the dearest end.
    """
    ends = corners(space)
    listed = {
        path: domain["choices"]
        for path, domain in space.items()
        if domain["type"] == "categorical" and path.startswith("model.")
    }
    n = math.prod(map(len, listed.values()))
    if n <= limit:
        combined = list(itertools.product(*listed.values()))
    else:
        longest = max(map(len, listed.values()))
        combined = [tuple(c[min(i, len(c) - 1)] for c in listed.values()) for i in range(longest)]
    built = [{path: value for path, value in end.items() if path.startswith("model.")} for end in ends]
    found = [*ends, *({**end, **dict(zip(listed, choice, strict=True))} for choice in combined for end in built)]
    return [values for i, values in enumerate(found) if values not in found[:i]]
