"""Why Hydra could not compose a command line, in one line with the nearest valid names."""

from __future__ import annotations

import contextlib
import difflib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lstm_bench.core.errors import ConfigError, nearest
from lstm_bench.core.overrides import config_dirs, quoted


def choices(conf: Path, group: str) -> list[str]:
    """Names of the YAML files of a configuration group."""
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))


def from_hydra(error: Exception, conf: Path, argv: Sequence[str], root: Any) -> ConfigError:
    """Hydra's composition error in one line, with the nearest valid names."""
    from hydra.errors import OverrideParseException

    from lstm_bench.core.configuration import paths

    text = str(error)
    if (fault := _unnamed_choice(conf, argv)) is not None:
        return fault
    missing = re.search(r"Could not (?:find|load) '(?:\w+/)?([^'/]+)/([^'/]+)'", text)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if missing:
        group, name = missing.groups()
        valid = _valid(conf, argv, group)
        listed = f" Valid: {', '.join(valid)}" if len(valid) <= 20 else ""
        remedy = nearest(name, valid)
        return ConfigError(
            f"{group}={name}: there is no such {group}", remedy=remedy + (listed if "?" in remedy else "")
        )
    if unknown and unknown.group(1) == "study" and "study" in paths(root):
        return ConfigError("study=NAME is not how a study is chosen", remedy="Write +study=NAME.")
    if unknown:
        return ConfigError(
            f"{unknown.group(1)}: there is no such option", remedy=_nearest_option(unknown.group(1), argv, conf, root)
        )
    several = re.search(r"Ambiguous value for argument '(.+)'|Sweep parameters '(.+)' requires --multirun", text)
    if several:
        return _several(several.group(1) or several.group(2), conf, argv)
    if isinstance(error, OverrideParseException):
        return _unquoted(error.override, (re.findall(r"(?<= while evaluating ).+", text) or ["unreadable"])[0])
    return ConfigError((text.strip() or type(error).__name__).splitlines()[0])


def file_fault(conf: Path, argv: Sequence[str], *, every: bool = False) -> ConfigError | None:
    """The first fault in the YAML files that a command line chooses; with `every`, in all of its --config-dir too."""
    folders = [Path(folder) for folder in config_dirs(argv)]
    files = [
        folder / group / f"{name}.yaml"
        for group, names in re.findall(r"^\+{0,2}([\w/]+)=([\w.,/-]+)$", "\n".join(argv), re.MULTILINE)
        for name in names.split(",")
        for folder in [conf, *folders]
    ]
    if every:  # one that another names among its defaults
        files += [path for folder in folders for path in sorted(folder.glob("**/*.yaml"))]
    faults = (yaml_fault(path, is_global=path.parent.name == "study") for path in files if path.is_file())
    return next(filter(None, faults), None)


def yaml_fault(path: Path, *, is_global: bool = False) -> ConfigError | None:
    """What keeps a YAML file from being a configuration: file, line and column; None where nothing does.

    Args:
      path: The file.
      is_global: Whether its keys belong at the root, which the first line has to say.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
        read = OmegaConf.create(text)  # as Hydra reads it: a key that is given twice is refused
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        return ConfigError(f"{path}, line {line}, column {column}", expected="UTF-8", received=hex(raw[error.start]))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        tab = "\\t" in str(error.problem)
        return ConfigError(f"{path}{where}: {error.problem}", remedy="YAML is indented by blanks." if tab else None)
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        return ConfigError(f"{path}: cannot be read ({' '.join(str(error).split())})")
    if not OmegaConf.is_dict(read):
        return ConfigError(f"{path}, line 1", expected="a mapping of keys to values", received="a list")
    if is_global and {"study", "defaults"} & {*read} and not _is_at_root(text):
        return ConfigError(f"{path}: does it begin with # @package _global_? That is to be its first line")
    return None


def _is_at_root(text: str) -> bool:
    """Whether a YAML text begins with Hydra's header that puts its keys at the root; empty lines may come before it."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return re.fullmatch(r"\s*#+\s*@package +_global_\s*", first) is not None


def _unnamed_choice(conf: Path, argv: Sequence[str]) -> ConfigError | None:
    """An argument that chooses a group by something other than names, which Hydra says nothing of, or a traceback."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep, QuotedString, Sweep
    from hydra.errors import HydraException

    folders = [conf, *map(Path, config_dirs(argv))]
    for argument in argv:
        group, equals, given = argument.partition("=")
        group = group.lstrip("+").partition("@")[0]
        if argument.startswith("-") or not equals or not any((folder / group).is_dir() for folder in folders):
            continue
        try:
            chosen = OverridesParser.create().parse_override(argument).value()
        except HydraException:  # what cannot be read is said by whoever raised it
            continue
        names = chosen.list if isinstance(chosen, ChoiceSweep) else chosen if isinstance(chosen, list) else [chosen]
        if isinstance(chosen, Sweep) and not isinstance(chosen, ChoiceSweep):  # a range, or a pattern of names
            continue
        if chosen and all(isinstance(name, str | QuotedString) for name in names):
            continue
        return ConfigError(group, expected=f"one of {', '.join(_valid(conf, argv, group))}", received=given)
    return None


def _valid(conf: Path, argv: Sequence[str], group: str) -> list[str]:
    """Choices of a group, those of the folders of a command line among them."""
    return sorted({choice for folder in (conf, *map(Path, config_dirs(argv))) for choice in choices(folder, group)})


def _several(argument: str, conf: Path, argv: Sequence[str]) -> ConfigError:
    """An argument that asks for several jobs, without -m: choices of a group are meant, other values may be one text."""
    why, group = "several values, which need -m", argument.partition("=")[0].lstrip("+")
    is_group = any((folder / group).is_dir() for folder in (conf, *map(Path, config_dirs(argv))))
    if is_group or re.search(r"=(choice|range|interval|glob)\(", argument):
        asked = f"+{argument}" if argument.startswith("study=") else argument
        return ConfigError(f"{argument}: {why}", remedy=f"Write -m {shlex.quote(asked)}")
    return _unquoted(argument, why)


def _unquoted(argument: str, why: str) -> ConfigError:
    """An argument that Hydra's grammar does not take, with the quoting that makes a text of it."""
    key, equals, value = argument.partition("=")
    if not equals or not re.fullmatch(r"(\+{0,2}|~)[\w$@:/.-]+", key):
        return ConfigError(argument, expected="KEY=VALUE")
    return ConfigError(f"{argument}: {why}", remedy=f"A text is quoted twice: {shlex.quote(f'{key}={quoted(value)}')}")


def _nearest_option(option: str, argv: Sequence[str], conf: Path, root: Any) -> str:
    """The remedy for an unknown option: the choices of its group that have it, a near one of the family's or of the schema's."""
    from lstm_bench.core.configuration import paths

    group, _, leaf = option.partition(".")
    of_family = _arguments_of_family(argv, conf) if group == "model" else []
    if not of_family and option in paths(root):
        having = [name for name in choices(conf, group) if leaf in _yaml([conf], group, name)]
        return f"It is one of {' and '.join(f'{group}={name}' for name in having)}." if having else ""
    if not of_family:
        return nearest(option, paths(root))
    close = difflib.get_close_matches(leaf, of_family, n=1, cutoff=0.5)
    return (
        f"did you mean model.{close[0]}?"
        if close
        else "valid: " + ", ".join(f"model.{name}" for name in sorted(of_family))
    )


def _arguments_of_family(argv: Sequence[str], conf: Path) -> list[str]:
    """Options of the family that a command line chooses, as its YAML has them."""
    folders = [conf, *(Path(folder) for folder in config_dirs(argv))]

    def named(read: dict[str, Any]) -> list[str]:
        entries = [entry for entry in read.get("defaults") or [] if isinstance(entry, dict)]
        return [str(v) for entry in entries for k, v in entry.items() if str(k).split()[-1].strip("/") == "model"]

    family = [argument[6:] for argument in argv if argument.startswith("model=")]
    studies = [argument[7:] for argument in argv if argument.startswith("+study=")]
    chosen = (
        family
        or [name for study in studies for name in named(_yaml(folders, "study", study))]
        or named(_yaml(folders, ".", "sweep"))
    )
    return [str(key) for name in chosen[-1:] for key in _yaml(folders, "model", name) if not str(key).startswith("_")]


def _yaml(folders: Sequence[Path], group: str, name: str) -> dict[str, Any]:
    """What the first of `folders` that has it says; nothing where none has, or it cannot be read."""
    import yaml

    from lstm_bench.core import safe_load

    for folder in folders:
        with contextlib.suppress(OSError, ValueError, yaml.YAMLError):
            found = safe_load.own_yaml((folder / group / f"{name}.yaml").read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
    return {}
