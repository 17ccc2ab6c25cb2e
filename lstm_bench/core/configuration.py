"""The schema of `conf/`: types, ranges and choices of every value, checked before anything is created.

`load` turns what Hydra composed into plain nested dicts, which is what everything else sees (and what travels to
workers as JSON). Numbers live in `conf/`: the schema says what is allowed, not what is usual.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException, ValidationError

import lstm_bench
from lstm_bench.core import home, schema
from lstm_bench.core.errors import ConfigError, nearest, redact
from lstm_bench.core.schema import Choice, Range, Sweep
from lstm_bench.core.vocabulary import DTYPES

Config = typing.TypeVar("Config", bound=Mapping[str, Any])
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")


def conf_dir() -> Path:
    """The folder of the YAML files: inside the installed package, else beside it in a checkout."""
    package = Path(lstm_bench.__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def rules(root: Any = Sweep) -> Iterator[tuple[str, Any, schema.Rule | None]]:
    """`(dotted path, type, rule)` of every value of the schema."""
    for name, value in schema.values(root).items():
        if not schema.is_group(value.kind):
            yield name, value.kind, value.rule
            continue
        for key, leaf in schema.values(value.kind).items():
            yield f"{name}.{key}", leaf.kind, leaf.rule


def paths(root: Any = Sweep) -> list[str]:
    """Dotted paths of the schema's values, and its groups."""
    return list(dict.fromkeys([*schema.values(root), *(path for path, _, _ in rules(root))]))


def get(config: Mapping[str, Any], path: str) -> Any:
    """Value at a dotted path of nested dicts; KeyError when there is none."""
    node: Any = config
    for key in path.split("."):
        if not isinstance(node, Mapping) or key not in node:
            raise KeyError(path)
        node = node[key]
    return node


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts -> dotted path -> value; empty dicts and lists are values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, path + "."))
        else:
            flat[path] = value
    return flat


def replaced(config: Config, values: Mapping[str, Any]) -> Config:
    """Copy of nested dicts with the values at dotted paths replaced."""
    copy: Any = {k: replaced(v, {}) if isinstance(v, Mapping) else v for k, v in config.items()}
    for path, value in values.items():
        *parents, last = path.split(".")
        node = copy
        for key in parents:
            node = node[key]
        node[last] = value
    return copy


def type_words(hint: Any) -> str:
    """A type as a person says it: `int | None` -> "a whole number or null"."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        names = [words.get(part, str(part)) for part in typing.get_args(hint)]
        if "a number" in names and "a whole number" in names:
            names.remove("a whole number")
        return " or ".join(names)
    return words.get(hint, {dict: "a mapping", list: "a list"}.get(typing.get_origin(hint), str(hint)))


def redacted_config(config: Sweep) -> Sweep:
    """Copy of a resolved configuration as it may be stored and shown: no password in its URLs, no home in its paths."""
    copy: Any = replaced(config, {})
    own = home.folder()
    for key in ("dir", "path", "test_path"):
        if copy["dataset"].get(key) and own:
            copy["dataset"][key] = re.sub(f"^{re.escape(str(own))}(?=/|$)", "~", copy["dataset"][key])
    for group, key in (("storage", "url"), ("tracking", "uri")):
        if copy[group][key]:
            copy[group][key] = redact(copy[group][key])
    return copy


def load(composed: DictConfig, root: type[Config]) -> Config:
    """Checks what Hydra composed against the schema whose root is `root`.

    Returns:
      Nested plain dicts, interpolations resolved; of a sweep, what its values have to do with each other is left to
      `sweep.validate`.

    Raises:
      ConfigError: for an unknown key, a wrong type or a value out of its range, naming the valid ones.
    """
    try:
        plain = typing.cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True))
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error
    _refuse_unknown(plain, root)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema.structured(root)), plain)
        config = typing.cast(Config, OmegaConf.to_container(merged, throw_on_missing=True))
    except (ValidationError, ConfigKeyError) as error:
        raise _type_error(plain, error.full_key or "", root) from error
    except OmegaConfBaseException as error:
        path = getattr(error, "full_key", "") or ""
        raise ConfigError(f"{path}: expected a value", remedy=f"Give one: {path}=VALUE.") from error
    _check_rules(config, root)
    if "method" in config:
        _check_tolerances(config["method"]["tolerance"])
    return config


def check_recorded(plain: Mapping[str, Any], root: type = Sweep) -> None:
    """Checks a configuration from records, in which what an older version did not know may be missing.

    Args:
      plain: Nested dicts with text as keys.
      root: The root of its schema.

    Raises:
      ConfigError: for an unknown key, a wrong type or a value out of its range.
    """
    for path, value in flatten(plain).items():
        if "${" in str(value):  # records are resolved: no variable of this machine is looked up for them
            raise ConfigError(path, expected="a value", received=str(value)[:40])
    _refuse_unknown(plain, root)
    try:
        config = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(schema.structured(root)), plain))
    except (ValidationError, ConfigKeyError) as error:
        raise _type_error(plain, error.full_key or "", root) from error
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error
    known = flatten(plain)
    for path, value in flatten(typing.cast(dict[str, Any], config)).items():
        if isinstance(known.get(path), str) and value is not None and not isinstance(value, str):  # a number as text
            raise ConfigError(path, expected=f"a value of type {type(value).__name__}", received=known[path][:40])
    _check_rules(typing.cast(dict[str, Any], config), root, [path for path, _, _ in rules(root) if path in known])


def _refuse_unknown(plain: Mapping[str, Any], root: Any) -> None:
    groups = schema.values(root)
    for key, value in plain.items():
        if key not in groups:
            hint = nearest(key, groups)
            if "study" in groups and difflib.get_close_matches(key, ["study"], cutoff=0.5):
                hint = f"did you mean +study={value if isinstance(value, str) else 'NAME'}?"
            raise ConfigError(f"unknown option {key}", remedy=hint)
        if not schema.is_group(groups[key].kind):
            continue
        if not isinstance(value, Mapping):
            raise ConfigError(key, expected="one of its YAML files, or single values of it", received=value)
        names = schema.values(groups[key].kind)
        for name in value:
            if name not in names:
                raise ConfigError(f"unknown option {key}.{name}", remedy=nearest(name, names))


def _type_error(plain: Mapping[str, Any], path: str, root: type) -> ConfigError:
    hints = {name: hint for name, hint, _ in rules(root)}
    try:
        received = get(plain, path)
    except KeyError:
        received = None
    hint = hints.get(path)
    inside = hints.get(path.rpartition(".")[0])
    if hint is None and typing.get_origin(inside) is dict:
        hint = typing.get_args(inside)[1]
    return ConfigError(path, expected=type_words(hint or str), received=received)


def _check_rules(config: Mapping[str, Any], root: type, only: Collection[str] | None = None) -> None:
    for path, hint, rule in rules(root):
        if only is not None and path not in only:
            continue
        value = get(config, path)
        if value is None or rule is None or value in rule:
            continue
        expected = str(rule).replace("a number", "a whole number") if hint is int else str(rule)
        remedy = nearest(str(value), rule.names) if isinstance(rule, Choice) else None
        raise ConfigError(path, expected=expected, received=value, remedy=remedy)


def _check_tolerances(tolerance: Mapping[str, float]) -> None:
    rule = Range(0, open_low=True)
    for dtype in dict.fromkeys((*tolerance, *DTYPES)):
        if dtype not in DTYPES:
            raise ConfigError(f"unknown option method.tolerance.{dtype}", remedy=nearest(dtype, DTYPES))
        if tolerance.get(dtype) not in rule:
            raise ConfigError(f"method.tolerance.{dtype}", expected=str(rule), received=tolerance.get(dtype))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
