"""The schema of `conf/`: types, ranges and choices of every value, checked before anything is created.

`load` turns what Hydra composed into plain nested dicts, which is what everything else sees (and what travels to
workers as JSON). Numbers live in `conf/`: the schema says what is allowed, not what is usual.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException, ValidationError

import lstm_bench
from lstm_bench.core import home
from lstm_bench.core.errors import ConfigError, nearest, redact, require_quoted
from lstm_bench.core.schema import Choice, Range, Sweep, Weights
from lstm_bench.core.vocabulary import DTYPES

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")


def conf_dir() -> Path:
    """The folder of the YAML files: inside the installed package, else beside it in a checkout."""
    package = Path(lstm_bench.__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def _schema(path: str, root: type = Sweep) -> type | None:
    """Dataclass at a dotted path, None where there is none."""
    node: Any = root
    for key in path.split(".") if path else ():
        hints = typing.get_type_hints(node) if dataclasses.is_dataclass(node) else {}
        node = hints.get(key)
    return node if isinstance(node, type) and dataclasses.is_dataclass(node) else None


def rules(root: Any = Sweep) -> Iterator[tuple[str, Any, Range | Choice | Weights | None]]:
    """`(dotted path, type, rule)` of every value of the schema."""
    for group in dataclasses.fields(root):
        node: Any = _schema(group.name, root)
        if node is None:
            yield group.name, typing.get_type_hints(root)[group.name], None
            continue
        hints = typing.get_type_hints(node)
        for leaf in dataclasses.fields(node):
            yield f"{group.name}.{leaf.name}", hints[leaf.name], leaf.metadata.get("rule")


def paths(root: Any = Sweep) -> list[str]:
    """Dotted paths of the schema's values, and its groups."""
    return list(dict.fromkeys([*(f.name for f in dataclasses.fields(root)), *(path for path, _, _ in rules(root))]))


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


def replaced(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy of nested dicts with the values at dotted paths replaced."""
    copy: dict[str, Any] = {k: replaced(v, {}) if isinstance(v, Mapping) else v for k, v in config.items()}
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


def redacted_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Copy of a resolved configuration as it may be stored and shown: no password in its URLs, no home in its paths."""
    copy = replaced(config, {})
    own = home.folder()
    for key in ("dir", "path", "test_path"):
        if copy["dataset"].get(key) and own:
            copy["dataset"][key] = re.sub(f"^{re.escape(str(own))}(?=/|$)", "~", copy["dataset"][key])
    for group, key in (("storage", "url"), ("tracking", "uri")):
        if copy[group][key]:
            copy[group][key] = redact(copy[group][key])
    return copy


def load(composed: DictConfig, root: type = Sweep) -> dict[str, Any]:
    """Checks what Hydra composed against the schema whose root is `root`.

    Returns:
      Nested plain dicts, interpolations resolved.

    Raises:
      ConfigError: for an unknown key, a wrong type or a value out of its range, naming the valid ones.
    """
    try:
        plain = typing.cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True))
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error
    _refuse_unknown(plain, root)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(root), plain)
        config = typing.cast(dict[str, Any], OmegaConf.to_container(merged, throw_on_missing=True))
    except (ValidationError, ConfigKeyError) as error:
        raise _type_error(plain, error.full_key or "", root) from error
    except OmegaConfBaseException as error:
        path = getattr(error, "full_key", "") or ""
        raise ConfigError(f"{path}: expected a value", remedy=f"Give one: {path}=VALUE.") from error
    _check_rules(config, root)
    if root is Sweep:
        _check_study(config)
    elif "method" in config:
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
        config = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(root), plain))
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
    groups = [f.name for f in dataclasses.fields(root)]
    for key, value in plain.items():
        if key not in groups:
            hint = nearest(key, groups)
            if "study" in groups and difflib.get_close_matches(key, ["study"], cutoff=0.5):
                hint = f"did you mean +study={value if isinstance(value, str) else 'NAME'}?"
            raise ConfigError(f"unknown option {key}", remedy=hint)
        known = _schema(key, root)
        if known is None:
            continue
        if not isinstance(value, Mapping):
            raise ConfigError(key, expected="one of its YAML files, or single values of it", received=value)
        names = [f.name for f in dataclasses.fields(known)]
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


def _check_study(config: Mapping[str, Any]) -> None:
    workers = config["launcher"]["workers"]
    if workers != "auto" and (not isinstance(workers, int) or workers < 1):
        raise ConfigError("launcher.workers", expected="auto or a whole number of at least 1", received=workers)
    weights = config["train"]["class_weight"]
    if isinstance(weights, dict):  # as it comes back from JSON
        config["train"]["class_weight"] = {str(name): weight for name, weight in weights.items()}
    _check_owned(config)
    pack, backend, kernel = config["launcher"]["pack"], config["backend"]["name"], config["kernel"]["name"]
    if pack != "auto" and (not isinstance(pack, int) or pack < 1):
        raise ConfigError("launcher.pack", expected="auto or a whole number of at least 1", received=pack)
    if pack not in ("auto", 1) and (backend != "jax" or kernel not in ("auto", "generic")):
        where = f"kernel={kernel}" if backend == "jax" else f"backend={backend}"
        raise ConfigError("launcher.pack", expected=f"1 or auto with {where}", received=pack)
    _check_cluster(config["launcher"])
    if config["study"]["name"] == "published":
        raise ConfigError("study.name=published: that folder holds the committed records", remedy="Choose another.")
    if config["study"]["name"] == "merged":
        raise ConfigError("study.name=merged: that folder holds what was merged", remedy="Choose another.")
    if config["study"]["name"].startswith("kernels-"):
        raise ConfigError("study.name: kernels-... are the folders of kernel benchmarks", remedy="Choose another.")
    if not config["study"]["name"]:
        studies = sorted(path.stem for path in (conf_dir() / "study").glob("*.yaml"))
        raise ConfigError("no study", expected=f"+study=NAME, one of {', '.join(studies)}")
    if not NAME.fullmatch(config["study"]["name"]):
        raise ConfigError(
            "study.name",
            expected="a letter or digit, then at most 99 of A-Za-z0-9._-",
            received=config["study"]["name"],
        )
    _check_objectives(config)
    url = config["storage"]["url"]
    if url is not None and not url.startswith("sqlite:"):
        require_quoted("storage.url", url)
    if url is not None and not re.match(r"^(sqlite:///(?!:memory:)[^?]|postgresql(\+\w+)?://)", url):
        scheme = url.split(":", 1)[0]
        raise ConfigError("storage.url", expected="sqlite:///FILE or postgresql://...", received=f"{scheme}:...")
    if config["study"]["shared"] and not str(url).startswith("postgresql"):
        raise ConfigError(
            "study.shared=true: several drivers need a database that serves several",
            remedy="Give storage=postgres, and its URL in $LSTM_BENCH_STORAGE.",
        )
    if config["storage"]["grace"] < 3 * config["storage"]["heartbeat"]:
        raise ConfigError(
            "storage.grace",
            expected="at least three times storage.heartbeat: a late sign of life is no death",
            received=config["storage"]["grace"],
        )


def _check_owned(config: Mapping[str, Any]) -> None:
    """Checks that what one optimizer or one schedule has is given to it, unless that is searched."""
    train, searched = config["train"], config["study"]["space"]
    lowered = ("plateau_factor", "plateau_patience", "plateau_floor")
    owners = [("weight_decay", "optimizer", "adamw"), ("warmup", "schedule", "warmup_cosine")]
    for key, owner, name in (*owners, *((key, "schedule", "reduce_on_plateau") for key in lowered)):
        varies = any(path.startswith(f"train.{owner}") for path in flatten(searched))
        if train[key] is not None and train[owner] != name and not varies:
            raise ConfigError(f"train.{key}: only train.{owner}={name} has it", remedy="Leave it out.")
    if train["schedule"] == "warmup_cosine" and train["warmup"] is None:
        raise ConfigError(
            "train.schedule=warmup_cosine: how long it rises is not said", remedy="Give train.warmup=0.1."
        )
    schedules = [train["schedule"], *flatten(searched).get("train.schedule.choices", ())]
    open_ones = [key for key in lowered[:2] if train[key] is None and f"train.{key}.type" not in flatten(searched)]
    if "reduce_on_plateau" in schedules and open_ones:
        raise ConfigError(
            f"train.schedule=reduce_on_plateau: train.{open_ones[0]} is not said",
            remedy="Give train=reduce_on_plateau, or train.plateau_factor=0.1 train.plateau_patience=10.",
        )


def _check_cluster(launcher: dict[str, Any]) -> None:
    """Checks what only a Ray cluster has."""
    names = ("address", "cpus_per_trial", "gpus_per_trial")
    if launcher["name"] != "ray":
        for name in names:
            if launcher[name] is not None:
                raise ConfigError(f"launcher.{name}: launcher={launcher['name']} has none", remedy="Give launcher=ray.")
        return
    address, cpus, gpus = (launcher[name] for name in names)
    if address is None or not re.fullmatch(
        r"auto|local|(ray://)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):\d{1,5}", address
    ):
        raise ConfigError(
            "launcher.address", expected="auto, local, HOST:PORT or ray://HOST:PORT", received=address or "null"
        )
    if cpus is None or cpus not in Range(0):
        raise ConfigError("launcher.cpus_per_trial", expected=str(Range(0)), received=cpus)
    if gpus == "auto":
        return
    try:
        launcher["gpus_per_trial"] = number = float(gpus)
    except (TypeError, ValueError):
        number = math.nan
    if number not in Range(0) or (number > 1 and number != int(number)):
        raise ConfigError(
            "launcher.gpus_per_trial", expected="auto, a share of one (0.5), or a whole number", received=gpus
        )


def _check_objectives(config: Mapping[str, Any]) -> None:
    """Checks `study.objectives`, takes its nulls out, and lets the first stand for `study.objective`."""
    study, pruner = config["study"], config["pruner"]["name"]
    objectives = {name: direction for name, direction in study["objectives"].items() if direction is not None}
    study["objectives"] = objectives
    if not objectives:
        if pruner == "dominated":
            raise ConfigError(
                "pruner=dominated: with one objective it would stop all but the best", remedy="Name another."
            )
        return
    first = next(iter(objectives))
    if len(objectives) == 1:
        raise ConfigError("study.objectives", expected="two or more", remedy=f"For one, give study.objective={first}.")
    if not first.startswith("val_"):
        raise ConfigError("study.objectives", expected="a validation metric first: it picks the winner", received=first)
    if pruner == "dominated" and config["train"]["patience"] is not None:
        raise ConfigError(
            "train.patience: pruner=dominated compares single epochs, not the best so far", remedy="Give pruner=none."
        )
    if pruner not in ("none", "dominated"):
        raise ConfigError(f"pruner={pruner}: it needs one objective", remedy="Give pruner=dominated or pruner=none.")
    if config["sampler"]["name"] == "cmaes":
        raise ConfigError("sampler=cmaes: it needs one objective", remedy="Give sampler=tpe, random, qmc or grid.")
    pack = config["launcher"]["pack"]
    if "train_samples_per_s" in objectives and pack not in ("auto", 1):
        raise ConfigError(
            "study.objectives.train_samples_per_s: trainings packed into one program have no throughput of their own",
            remedy=f"Give launcher.pack=1 instead of {pack}.",
        )
    study["objective"], study["direction"] = first, objectives[first]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
