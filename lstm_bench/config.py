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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException, ValidationError

from lstm_bench import home
from lstm_bench.cell import DTYPES
from lstm_bench.errors import ConfigError, nearest, redact, require_quoted

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, ends included unless open; None is no bound."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return False
        below = self.low is not None and (value <= self.low if self.open_low else value < self.low)
        above = self.high is not None and (value >= self.high if self.open_high else value > self.high)
        return not below and not above

    def __str__(self) -> str:
        low = [] if self.low is None else [("above " if self.open_low else "of at least ") + f"{self.low:g}"]
        high = [] if self.high is None else [("below " if self.open_high else "of at most ") + f"{self.high:g}"]
        return "a number " + " and ".join(low + high) if low or high else "a finite number"


class Choice:
    """One of a few names."""

    def __init__(self, *names: str):
        self.names = names

    def __contains__(self, value: object) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return "one of " + ", ".join(self.names)


def _in(rule: Range | Choice) -> Any:
    return field(metadata={"rule": rule})


# What a study may aim at, and which way is up. val_mse and val_mae are a regression's, val_accuracy is every other task's.
OBJECTIVES = {"val_accuracy": "maximize", "val_loss": "minimize", "val_mse": "minimize", "val_mae": "minimize"}
# What may stand in study.objectives, likewise.
METRICS = {**OBJECTIVES, "n_weights": "minimize", "train_samples_per_s": "maximize"}
_COUNT, _SIZE, _SECONDS = Range(0), Range(1), Range(0, open_low=True)


@dataclass(kw_only=True)
class Dataset:
    """Group `dataset`; a value's further meaning is checked by `data.py`."""

    name: str
    dir: str | None
    path: str | None
    train_size: int | float | None = _in(Range(0, open_low=True))
    validation_size: int | float = _in(Range(0, open_low=True))
    validation: str = _in(Choice("split", "test"))
    split_seed: int = _in(_COUNT)
    standardize: bool
    fallback: str | None
    length: int | None = None  # of smnist and psmnist, adding and copy
    permutation_seed: int | None = None  # of psmnist
    test_size: int | None = None  # of adding and copy


@dataclass(kw_only=True)
class Kernel:
    """Group `kernel`."""

    name: str = _in(Choice("auto", "cudnn", "fused", "generic", "xla", "unrolled", "unrolled_xla"))
    probe: bool  # measure every arm for the confirmed winner
    probe_s: float = _in(_SECONDS)  # seconds of timed steps per arm
    max_unroll: int = _in(_SIZE)  # timesteps up to which auto and the probe consider unrolling
    remember: bool  # whether auto takes over what another study measured, and leaves what it measures


@dataclass(kw_only=True)
class Backend:
    """Group `backend`."""

    name: str = _in(Choice("tensorflow", "jax", "torch"))


@dataclass(kw_only=True)
class Train:
    """Group `train`."""

    epochs: int = _in(_SIZE)
    batch_size: int = _in(_SIZE)
    evaluation_batch_size: int = _in(_SIZE)
    optimizer: str = _in(Choice("adam", "adamw", "nadam", "rmsprop", "sgd"))
    learning_rate: float = _in(Range(0, open_low=True))
    momentum: float = _in(Range(0, 1, open_high=True))  # of sgd and rmsprop
    global_clipnorm: float | None = _in(Range(0, open_low=True))  # scales down all gradients together
    schedule: str = _in(Choice("constant", "cosine", "inverse_time"))
    decay: float = _in(Range(0))  # of inverse_time: lr / (1 + decay * step)
    deterministic: bool  # the same numbers bit for bit on the same device


@dataclass(kw_only=True)
class Sampler:
    """Group `sampler`."""

    name: str = _in(Choice("tpe", "random", "grid", "qmc", "cmaes"))
    n_startup_trials: int = _in(_COUNT)  # random trials before the model, of tpe and cmaes


@dataclass(kw_only=True)
class Pruner:
    """Group `pruner`."""

    name: str = _in(Choice("none", "median", "hyperband", "dominated"))
    n_startup_trials: int = _in(_COUNT)  # of median and dominated: trials finished before any is pruned
    n_warmup_epochs: int = _in(_COUNT)  # of median and dominated: epochs before a trial is pruned
    reduction_factor: int = _in(Range(2))  # of hyperband


@dataclass(kw_only=True)
class Storage:
    """Group `storage`: where Optuna's database is."""

    url: str | None  # null: sqlite in the study's folder
    patience: float = _in(Range(0))  # the next three are PostgreSQL's alone, in seconds; see conf/storage/
    heartbeat: float = _in(_SECONDS)
    grace: float = _in(_SECONDS)


@dataclass(kw_only=True)
class Tracking:
    """Group `tracking`."""

    name: str = _in(Choice("mlflow", "none"))
    uri: str | None  # null: sqlite:///<working directory>/mlflow.db
    patience: float = _in(_COUNT)  # seconds that a sweep's end waits for MLflow
    retry_s: float = _in(_SECONDS)  # from a failure to the next try, doubled each time up to retry_most_s
    retry_most_s: float = _in(_SECONDS)
    queue: int = _in(_SIZE)  # rows kept for a store that is slow or down


@dataclass(kw_only=True)
class Launcher:
    """Group `launcher`."""

    name: str = _in(Choice("local", "ray"))
    workers: int | str
    pack: int | str
    keep_engines: int = _in(_SIZE)  # networks whose compiled programs a worker keeps
    recycle_after: int = _in(_SIZE)  # trials of one worker process
    recycle_mib: int = _in(_SIZE)  # resident memory above which a worker is replaced after its trial
    address: str | None = None  # of ray, like those below
    cpus_per_trial: float | None = None
    gpus_per_trial: int | float | str | None = None


@dataclass(kw_only=True)
class Study:
    """What is searched, how long, and how the winner is confirmed."""

    name: str
    description: str
    shared: bool  # with other drivers, each on a machine of its own
    n_trials: int = _in(_COUNT)
    confirm: int = _in(_SIZE)
    replicates: int = _in(_COUNT)
    objective: str = _in(Choice(*OBJECTIVES))
    direction: str = _in(Choice("maximize", "minimize"))  # null, where it is composed: that of the objective
    objectives: dict[str, Any]  # metric -> direction; several: the first stands in for objective and direction
    seed: int = _in(_COUNT)
    max_failed: int = _in(_COUNT)
    max_retry: int = _in(_COUNT)
    timeout: float | None = _in(_SECONDS)
    trial_timeout: float | None = _in(_SECONDS)
    space: dict[str, Any]


@dataclass(kw_only=True)
class Sweep:
    """Root of `conf/sweep.yaml`."""

    dataset: Dataset
    model: dict[str, Any]
    kernel: Kernel
    backend: Backend
    train: Train
    sampler: Sampler
    pruner: Pruner
    storage: Storage
    tracking: Tracking
    launcher: Launcher
    study: Study


@dataclass(kw_only=True)
class Grid:
    """Group `grid` of the kernel benchmark; its cells are checked by `grid.py`."""

    name: str
    description: str
    dtypes: list[str]
    skip: list[str]  # arms left out, as backend/kernel
    cells: list[Any]


@dataclass(kw_only=True)
class Method:
    """How the kernel benchmark measures: see docs/method.md."""

    rounds: int = _in(_SIZE)  # fresh processes of every arm
    samples: int = _in(Range(2))  # timed windows per round and operation
    window_s: float = _in(_SECONDS)  # a sample lasts at least as long
    steady: float = _in(
        Range(0, 1, open_low=True)
    )  # warm-up ends when two windows in a row differ by at most this fraction
    compile_limit_s: float = _in(_SECONDS)  # compile and first call; beyond it the arm is ended
    seed: int = _in(_COUNT)  # of weights, inputs and the order of the arms
    max_other_load: float = _in(Range(0, 1))  # share of the cores taken by other processes above which a row is marked
    tolerance: dict[str, float]  # dtype -> largest relative error against the float64 reference


@dataclass(kw_only=True)
class Arms:
    """What the kernel benchmark measures on each cell of its grid: all, one, or a list of each."""

    backend: Any
    kernel: Any
    dtype: Any  # null: those of the grid
    operation: Any


@dataclass(kw_only=True)
class Kernels:
    """Root of `conf/kernels.yaml`."""

    name: str | None  # of the folder, the experiment and the page; null: kernels-<grid>
    arms: Arms
    grid: Grid
    method: Method
    tracking: Tracking


@dataclass(kw_only=True)
class Limits:
    """What the doctor wants of a machine."""

    free_mib: int = _in(_COUNT)
    open_files: int = _in(_COUNT)
    clock_s: float = _in(_SECONDS)
    answer_s: float = _in(_SECONDS)


@dataclass(kw_only=True)
class Doctor:
    """Root of `conf/doctor.yaml`."""

    dataset: Dataset
    storage: Storage
    tracking: Tracking
    sweeps: str
    backends: Any  # all, one, or a list
    kernels: bool
    limits: Limits
    cell: dict[str, Any]  # checked by `cell.py`
    method: Method


GROUPS = tuple(f.name for f in dataclasses.fields(Sweep))


def conf_dir() -> Path:
    """The folder of the YAML files: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def _schema(path: str, root: type = Sweep) -> type | None:
    """Dataclass at a dotted path, None where there is none."""
    node: Any = root
    for key in path.split(".") if path else ():
        hints = typing.get_type_hints(node) if dataclasses.is_dataclass(node) else {}
        node = hints.get(key)
    return node if isinstance(node, type) and dataclasses.is_dataclass(node) else None


def rules(root: Any = Sweep) -> Iterator[tuple[str, Any, Range | Choice | None]]:
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
    for key in ("dir", "path"):
        if copy["dataset"][key] and own:
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
    if root is Sweep and plain["study"].get("direction") is None:
        plain["study"]["direction"] = OBJECTIVES.get(str(plain["study"].get("objective")), "maximize")
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
    else:
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
    objective, direction = config["study"]["objective"], config["study"]["direction"]
    if direction != OBJECTIVES[objective]:
        raise ConfigError(
            f"study.direction: {objective} is better the {'higher' if direction == 'minimize' else 'lower'} it is",
            expected=OBJECTIVES[objective],
            received=direction,
            remedy=f"Give study.direction={OBJECTIVES[objective]}.",
        )
    workers = config["launcher"]["workers"]
    if workers != "auto" and (not isinstance(workers, int) or workers < 1):
        raise ConfigError("launcher.workers", expected="auto or a whole number of at least 1", received=workers)
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
    for name, direction in objectives.items():
        if name not in METRICS:
            raise ConfigError(f"study.objectives: unknown metric {name}", remedy=nearest(name, METRICS))
        if direction != METRICS[name]:
            raise ConfigError(f"study.objectives.{name}", expected=METRICS[name], received=direction)
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
