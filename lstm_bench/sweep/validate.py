"""What the values of a study's configuration have to do with each other, and with this machine.

Everything here needs no data and no framework, and is checked before anything is created.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lstm_bench.core import cli, configuration, schema
from lstm_bench.core.configuration import NAME, conf_dir, flatten
from lstm_bench.core.errors import ConfigError, require_quoted
from lstm_bench.core.schema import Range

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from lstm_bench.core import hardware


def load(composed: DictConfig) -> schema.Sweep:
    """A study's configuration as plain dicts: what `core.configuration.load` makes of it, with values checked against each other.

    Raises:
      ConfigError: for anything that cannot be meant.
    """
    config = configuration.load(composed, schema.Sweep)
    _check_study(config)
    return config


def checked(composed: DictConfig, overrides: Sequence[str]) -> tuple[schema.Sweep, dict[str, Any], dict[str, str]]:
    """Every check that needs no data and no framework.

    Returns:
      The resolved configuration, the parsed space, and what overrides took out of it.

    Raises:
      ConfigError: for anything that cannot be meant. Nothing was created.
    """
    from lstm_bench.data import objective, readers, settings
    from lstm_bench.model import signature
    from lstm_bench.study import search_space
    from lstm_bench.tracking import client

    config = load(composed)
    _settle_embedding(config)
    objective.check_aims(config["study"], config["dataset"]["name"])
    settings.check(config["dataset"])
    objective.check_objective(config["study"], config["dataset"]["name"], readers.known_task(config["dataset"]))
    client.check(config["tracking"])
    if signature.is_own(str(config["model"].get("_target_", ""))):
        signature.check(config["model"])
    space = search_space.parse(config)
    _check_weights(config["model"], space, overrides)
    pinned = search_space.pinned(space, overrides)
    space = {path: domain for path, domain in space.items() if path not in pinned}
    config["study"]["space"] = space
    if config["sampler"]["name"] == "grid":
        search_space.grid(space)
        search_space.require_points(space, config["study"]["n_trials"], "grid")
    # One that was made when points were repeated goes on as it was; `TrialStore` sees whether it is there behind a URL.
    elif space and config["storage"]["url"] is None and not _has_database(config):
        search_space.require_points(space, config["study"]["n_trials"])
    if space and not config["study"]["n_trials"]:
        raise ConfigError(
            "study.n_trials",
            expected="at least 1 where study.space is not empty",
            received=0,
            remedy=f"To search nothing, fix what is searched: {' '.join(f'{path}=VALUE' for path in space)}",
        )
    if not space and config["study"]["n_trials"] > 1:
        raise ConfigError(
            "study.n_trials", expected="0 or 1 where study.space is empty", received=config["study"]["n_trials"]
        )
    return config, space, pinned


def _has_database(config: schema.Sweep) -> bool:
    """Whether a study was made before, under its name or the one that it has with the data that stand in for its own."""
    from lstm_bench.study import columns

    name, other = config["study"]["name"], config["dataset"]["fallback"]
    names = [name, f"{name}-{other}"] if other else [name]
    return any((columns.study_dir(one) / "study.db").exists() for one in names)


def _settle_embedding(config: schema.Sweep) -> None:
    """Says how many numbers stand for a token, where samples are texts; refuses it where they are none."""
    from lstm_bench.data import texts, tokens

    model = config["model"]
    if texts.are_asked(config["dataset"]):
        if model.get("embedding") is None:
            model["embedding"] = tokens.usual()["embedding"]
    elif model.pop("embedding", None) is not None:
        raise ConfigError(
            f"model.embedding: dataset={config['dataset']['name']} has no tokens",
            remedy="Leave it out, or name a column of texts by dataset.text.",
        )


def _check_weights(model: dict[str, Any], space: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Makes `model.weights` a number; refuses it beside a width of its own."""
    from lstm_bench.model import signature
    from lstm_bench.study import search_space

    if "model.weights" in space:
        raise ConfigError(
            "study.space.model.weights: it is not searched", remedy="Give model.weights=N, one study for each number."
        )
    if model.get("weights") is None:
        return
    model["weights"] = signature.budget(model["weights"])
    own = signature.is_own(str(model["_target_"]))
    width = (
        signature.width_argument(signature.find(model["_target_"]))
        if own
        else next((name for name in signature.WIDTHS if name in model), None)
    )
    if width is None:
        raise ConfigError(f"model.weights: {model['_target_']} has no width ({' or '.join(signature.WIDTHS)})")
    path = f"model.{width}"
    if path in space:
        raise ConfigError(
            f"model.weights={model['weights']}: {path} follows from it and cannot be searched",
            remedy=f"Give study.space.{path}=null as well, which takes it out of the space.",
        )
    for override in search_space.pinned({path: {}}, overrides).values():
        raise ConfigError(f"model.weights={model['weights']}: {path} follows from it and cannot be given ({override})")


def check_here(config: schema.Sweep, gpus: list[hardware.Gpu]) -> None:
    """Refuses what this machine cannot run: a kernel, an objective, a backend."""
    from lstm_bench.model import kernel, signature

    backend, target = config["backend"]["name"], str(config["model"]["_target_"])
    if config["launcher"]["name"] != "ray" and signature.is_own(target):
        layers = signature.recurrent_layers(signature.find(target))
        kernel.require(config["kernel"]["name"], backend, layers, gpus[0].name if gpus else None)
    _check_exclusive(config, gpus)
    cli.require_backend(backend)


def _check_exclusive(config: schema.Sweep, gpus: list[hardware.Gpu]) -> None:
    """Refuses throughput as an objective where trials share a device: it would measure the neighbours."""
    from lstm_bench.core import hardware

    workers = config["launcher"]["workers"]
    if config["launcher"]["name"] == "ray":
        share = config["launcher"]["gpus_per_trial"]
        is_part = isinstance(share, int | float) and 0 < share < 1
        if "train_samples_per_s" in config["study"]["objectives"] and is_part:
            raise ConfigError(
                f"study.objectives.train_samples_per_s: with launcher.gpus_per_trial={share:g}, trials share a GPU",
                remedy="Give launcher.gpus_per_trial=1, or leave that objective out.",
            )
        return
    if "train_samples_per_s" in config["study"]["objectives"]:
        shared = [slot for slot in hardware.slots(workers, gpus) if slot.share == "shared"]
        if shared:
            raise ConfigError(
                f"study.objectives.train_samples_per_s: with launcher.workers={workers}, trials share {shared[0].device}",
                remedy="Give launcher.workers=auto, or leave that objective out.",
            )


def _check_study(config: schema.Sweep) -> None:
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
    _check_folds(config)
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


def _check_owned(config: schema.Sweep) -> None:
    """Checks that what one optimizer or one schedule has is given to it, unless that is searched."""
    train: Mapping[str, Any] = config["train"]
    searched = config["study"]["space"]
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


def _check_folds(config: schema.Sweep) -> None:
    """Refuses what needs one course of one training, where each is several on different data."""
    if not (folds := config["dataset"]["folds"]):
        return
    train, searched = config["train"], flatten(config["study"]["space"])
    schedules = [train["schedule"], *searched.get("train.schedule.choices", ())]
    pack, pruner = config["launcher"]["pack"], config["pruner"]["name"]
    for bad, what, remedy in (
        (pruner != "none", f"pruner={pruner}: epochs of one fold say too little", "pruner=none"),
        (pack not in ("auto", 1), f"launcher.pack={pack}: members of a pack share their data", "launcher.pack=1"),
        (
            "reduce_on_plateau" in schedules,
            "train.schedule=reduce_on_plateau: the training on all folds has no validation data",
            "train.schedule=constant",
        ),
    ):
        if bad:
            raise ConfigError(f"dataset.folds={folds}: {what}", remedy=f"Give {remedy}.")


def _check_cluster(launcher: schema.Launcher) -> None:
    """Checks what only a Ray cluster has."""
    address, cpus, gpus = launcher["address"], launcher["cpus_per_trial"], launcher["gpus_per_trial"]
    if launcher["name"] != "ray":
        for name, value in (("address", address), ("cpus_per_trial", cpus), ("gpus_per_trial", gpus)):
            if value is not None:
                raise ConfigError(f"launcher.{name}: launcher={launcher['name']} has none", remedy="Give launcher=ray.")
        return
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
        launcher["gpus_per_trial"] = number = float("nan" if gpus is None else gpus)
    except ValueError:
        number = math.nan
    if number not in Range(0) or (number > 1 and number != int(number)):
        raise ConfigError(
            "launcher.gpus_per_trial", expected="auto, a share of one (0.5), or a whole number", received=gpus
        )


def _check_objectives(config: schema.Sweep) -> None:
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
