"""How to make a study again: the command with every override, the commit and the versions, from its records."""

from __future__ import annotations

import functools
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from lstm_bench.core.configuration import conf_dir, flatten, get
from lstm_bench.core.overrides import quoted
from lstm_bench.data.objective import AUTO, objectives, usual_objective
from lstm_bench.report.render.markdown import escape
from lstm_bench.report.sources.records import Result

_GROUPS = ("dataset", "model", "kernel", "backend", "sampler", "pruner")
# Where things lie and run, and what is told about them: not what is computed.
_ELSEWHERE = (
    "storage.",
    "tracking.",
    "launcher.",
    "study.shared",
    "study.description",
    "study.space",
    "dataset.dir",
    "model._target_",
)
_INSTALLED = ("tensorflow", "keras", "jax", "torch", "numpy", "optuna")


def section(result: Result) -> list[str]:
    """Paragraphs with the commands."""
    commit = str(result.env("git.commit") or "")
    dirty = " with uncommitted changes" if result.env("git.dirty") else ""
    setup = [f"# ran at commit {commit}{dirty}"] if re.fullmatch(r"[0-9a-f]{7,40}", commit) else []
    if pins := _pins(result):
        setup.append(f"pip install -e . {' '.join(pins)}")
    study, command = _command(result)
    python = escape(result.env("python") or "")
    said = (
        [] if study else ["Its study is not among those of `conf/study/`: DIR is a folder with its YAML, `DIR/study/`."]
    )
    return [
        f"{f'With Python {python}. ' if python else ''}What differs from `conf/` is an override. The seeds are the same; other "
        "hardware or versions may give other last digits.",
        "```sh\n" + "\n".join(" ".join(line.splitlines()).replace("`", "'") for line in [*setup, command]) + "\n```",
        *said,
        f"Its configuration, environment and rows: `{result.records}`.",
    ]


def _pins(result: Result) -> list[str]:
    packages = result.env("packages")
    found = packages if isinstance(packages, Mapping) else {}
    backend = str(result.get("backend.name") or "")
    skipped = {"tensorflow", "jax", "torch"} - {backend, "tensorflow"}
    pins = [(name, str(found[name])) for name in _INSTALLED if name in found and name not in skipped]
    return [f"{name}=={version}" for name, version in pins if re.fullmatch(r"[\w.+!]+", version)]


def _command(result: Result) -> tuple[str, str]:
    """The study's name in `conf/`, "" where there is none, and the command line."""
    groups: dict[str, str] = {}
    study = _study(result)
    if not study:
        known, before = "", f"python -m lstm_bench.sweep --config-dir DIR +study={shlex.quote(result.name)}"
        return known, before
    composed = _composed(study, ())
    for group in _GROUPS:
        choice, usual = _choice(group, result.config), _choice(group, composed)
        if choice and choice != usual and (conf_dir() / group / f"{choice}.yaml").is_file():
            groups[group] = choice
    if groups:
        composed = _composed(study, tuple(sorted(groups.items())))
    overrides = [f"{group}={choice}" for group, choice in groups.items()]
    overrides += _changes(result.config, composed)
    return study, " ".join(["python -m lstm_bench.sweep", f"+study={study}", *map(shlex.quote, overrides)])


def further(result: Result) -> str:
    """The command that goes on searching, with twice the trials; "" of a study that searched nothing."""
    trials = result.get("study.n_trials")
    if not isinstance(trials, int) or trials < 2 or not result.space():
        return ""
    kept = [
        part for part in shlex.split(_command(result)[1]) if not part.startswith(("study.n_trials=", "study.name="))
    ]
    return shlex.join([*kept, f"study.name={result.name}", f"study.n_trials={2 * trials}"])


def _study(result: Result) -> str:
    """The longest name of a study in `conf/` that is, begins, ends or is a part of this one's, parts joined by `-`."""
    names = [path.stem for path in (conf_dir() / "study").glob("*.yaml")]
    found = [name for name in names if f"-{name}-" in f"-{result.name}-"]
    return max(sorted(found), key=len, default="")


def _choice(group: str, config: Mapping[str, Any]) -> str:
    """The YAML of a group that its values come from, as far as they tell."""
    part = config.get(group)
    values = part if isinstance(part, Mapping) else {}
    return str(values.get("_target_") or "").rpartition(".")[2] if group == "model" else str(values.get("name") or "")


@functools.cache
def _composed(study: str, groups: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """What `+study=STUDY` composes to; {} where it does not."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
            overrides = [f"+study={study}", *(f"{group}={choice}" for group, choice in groups)]
            value = OmegaConf.to_container(compose("sweep", overrides), resolve=True)
    except (HydraException, OmegaConfBaseException):
        return {}
    assert isinstance(value, dict)
    return {str(k): v for k, v in value.items()}


def _changes(config: Mapping[str, Any], composed: Mapping[str, Any]) -> list[str]:
    """Overrides that turn what is composed into what is recorded; values that the record does not have are left alone."""
    recorded, usual = (_space(c) for c in (config, composed))
    mine, theirs = flatten(config), flatten(composed)
    for path in [
        path for path, value in theirs.items() if value is None and any(k.startswith(f"{path}.") for k in mine)
    ]:
        mine = {k: v for k, v in mine.items() if not k.startswith(f"{path}.")} | {path: get(config, path)}
    if theirs.get("study.objective", "") is None:
        left_out = usual_objective(str(mine.get("dataset.name")))
        theirs["study.objective"] = mine.get("study.objective") if left_out == AUTO else left_out
    if theirs.get("study.direction", "") is None:  # it follows the objective
        theirs["study.direction"] = objectives().get(str(mine.get("study.objective")))
    # Where nobody says them, those of a file follow from the data: see `sweep/epochs.py`.
    said = {"train.epochs"} if mine.get("dataset.name") == "file" else set()
    changes = [
        f"{path}={_text(value)}"
        for path, value in mine.items()
        if not path.startswith(_ELSEWHERE) and (theirs.get(path) != value or path in said)
    ]
    out = [path for path in usual if path not in recorded and path in mine]
    # Beside a number of weights the width may not be given: that it is not searched is said otherwise.
    sized = mine.get("model.weights") is not None
    fixed = [path for path in out if not (sized and path.startswith("model."))]
    changes += [f"{path}={_text(mine[path])}" for path in fixed if theirs.get(path) == mine[path]]
    changes += [f"study.space.{path}=null" for path in out if path not in fixed]
    changes += [f"study.space.{path}={_text(d)}" for path, d in recorded.items() if usual.get(path) != d]
    return changes


def _space(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    domains = Result(conf_dir(), "", config=dict(config)).space()
    return {path: {k: v for k, v in d.items() if v is not None and v is not False} for path, d in domains.items()}


def _text(value: Any) -> str:
    """A value as Hydra's command line takes it."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = str(value)
    plain = isinstance(value, int | float) or re.fullmatch(r"[A-Za-z_./~][\w./~+-]*", text, re.ASCII)
    return text if plain and text not in ("null", "true", "false", "nan", "inf") else quoted(text.replace("${", "\\${"))
