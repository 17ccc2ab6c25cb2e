"""A campaign: a list of studies with overrides (`conf/campaign/NAME.yaml`), composed one by one, run in turn, resumed as one."""

from __future__ import annotations

import functools
import itertools
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lstm_bench.core import cli, composition, errors, safe_load
from lstm_bench.core.configuration import NAME
from lstm_bench.core.errors import ConfigError, nearest
from lstm_bench.core.overrides import config_dirs, is_several

_OPTION = re.compile(r"\+{0,2}campaign=")
_OF_ONE = re.compile(r"([A-Za-z0-9][\w.-]*):(?=[+~\w.]+=)")
_KEYS = ("description", "studies", "overrides", "each")
_STUDY_KEYS = ("study", "name", "overrides")


class Planned(NamedTuple):
    """One study of a campaign.

    Attributes:
      name: Its `study.name`.
      overrides: What a command line would say for it, the study first.
    """

    name: str
    overrides: list[str]


def is_asked(argv: Sequence[str]) -> bool:
    """Whether a command line names a campaign."""
    return any(_OPTION.match(argument) for argument in argv)


def main(
    argv: Sequence[str],
    *,
    conf: Path,
    check: Callable[..., Any],
    run: Callable[..., None],
    root: Any,
    together: Callable[[list[Any]], Sequence[tuple[Sequence[str], errors.LstmBenchError]]] = lambda checked: (),
) -> int:
    """Runs the campaign of a command line: all its studies are checked before the first is run.

    Args:
      argv: The command line, without the program. Its overrides hold for every study and come last.
      conf: Folder of our YAML files; `--config-dir` is searched too.
      check: Called with what was composed for a study and its overrides, before any is run.
      run: Likewise, to run one; with `jobs`, what `check` returned of all, and `at`, which of them it is.
      root: Schema of a study.
      together: Called with what `check` returned of all; returns faults, each with the names of the studies that have it.

    Returns:
      The worst exit code. A study that fails does not keep the next from running, an interrupt ends all.
    """
    try:
        file, options, overrides = _parted(argv)
        folders = [conf, *map(Path, config_dirs(argv))]
        name, overrides = _named(file, overrides)
        described, studies = plan(name, _read(file, folders), overrides)
    except ConfigError as error:
        return cli.say(error)

    def each(one: Planned, action: Callable[..., object]) -> int:
        line = [*options, *one.overrides]
        return cli.main(line, config_name="sweep", root=root, help_text=str, run=action)

    codes: list[int] = []
    try:
        shows = any(option in ("--cfg", "-c") or option.startswith("--cfg=") for option in options)
        checked: list[Any] = []
        for one in studies:
            if code := each(one, lambda *composed: checked.append(check(*composed))):
                print(f"campaign {name}: nothing was run, because of {one.name}", file=sys.stderr)
                return code
        if shows:  # Hydra printed the configurations instead
            return errors.DONE
        if faults := together(checked):
            return cli.refuse(f"campaign {name}", faults)
        print(f"campaign {name}: {described}" if described else f"campaign {name}", flush=True)
        for number, one in enumerate(studies, 1):
            print(f"\ncampaign {name}: study {number} of {len(studies)}: {one.name}", flush=True)
            codes.append(each(one, functools.partial(run, jobs=checked, at=number - 1)))
            if codes[-1] == errors.INTERRUPTED:
                return errors.INTERRUPTED
    except KeyboardInterrupt:
        return cli.say(errors.InterruptedByUser("interrupted", remedy="The same command goes on from here."))
    failed = [f"{one.name} (exit {code})" for one, code in zip(studies, codes, strict=True) if code]
    said = f"; not done: {', '.join(failed)}" if failed else ""
    print(f"\ncampaign {name}: {len(studies) - len(failed)} of {len(studies)} studies done{said}", flush=True)
    say_verdict([one.name for one in studies])
    return max(codes)


def say_verdict(names: Sequence[str]) -> None:
    """Prints what to take of several studies, for each set of data."""
    from lstm_bench.study import columns

    folders = [folder for name in names if ((folder := columns.study_dir(name)) / "config.yaml").is_file()]
    if len(folders) < 2:
        return  # one has said it itself
    from lstm_bench.report.pages import verdict  # pandas: half a second, for what has trained for longer
    from lstm_bench.report.sources import records

    for data, found in verdict.of_campaign([records.load(folder) for folder in folders]):
        said = [*found.lines, *found.rest, *(f"{words}: {command}" for words, command in found.commands)]
        print("\n".join([f"verdict on {data}", *(f"  {line}" for line in said)]), flush=True)


def plan(name: str, campaign: Mapping[str, Any], overrides: Sequence[str] = ()) -> tuple[str, list[Planned]]:
    """What a campaign's YAML comes to.

    Args:
      name: Of the campaign.
      campaign: `studies`: names, or mappings of `study` and, as wanted, `name` and `overrides`; `overrides` of all;
        `each`: path -> values, every combination of which is a study of its own; `description`.
      overrides: Of the command line: they come last, and hold for every study, or as `cnn_lstm:model.window=5` for those of that
        study, name or family.

    Returns:
      The description, and the studies in their order, named `<campaign>-<study>[-<value>...]`.

    Raises:
      ConfigError: for anything that cannot be meant.
    """
    where = f"campaign {name}"
    _refuse_unknown(where, campaign, _KEYS)
    studies = campaign.get("studies")
    if not isinstance(studies, list) or not studies:
        raise ConfigError(f"{where}: studies", expected="a list of at least one study", received=studies)
    common = _overrides(f"{where}: overrides", campaign.get("overrides"))
    axes = _axes(f"{where}: each", campaign.get("each"))
    planned: list[Planned] = []
    prefixes: set[str] = set()
    for study in studies:
        entry = {"study": study} if isinstance(study, str) else study
        if not isinstance(entry, Mapping) or not isinstance(entry.get("study"), str):
            raise ConfigError(f"{where}: studies", expected="names, or mappings with a study", received=str(study))
        _refuse_unknown(where, entry, _STUDY_KEYS)
        own = _overrides(f"{where}: {entry['study']}: overrides", entry.get("overrides"))
        for values in itertools.product(*axes.values()):
            chosen = [f"{path}={value}" for path, value in zip(axes, values, strict=True)]
            words = [name, str(entry.get("name", entry["study"])), *(re.sub(r"[^\w.-]+", "-", v) for v in values)]
            full = "-".join(words)
            if any(one.name == full for one in planned):
                raise ConfigError(f"{where}: two studies are named {full}", remedy="Give one of them a name.")
            meant = {str(entry["study"]), str(entry.get("name", entry["study"])), *_families([*common, *own, *chosen])}
            prefixes |= meant
            given = [
                o if prefix is None else o.partition(":")[2]
                for o in overrides
                if (prefix := _prefix(o)) in (None, *meant)
            ]
            line = [*common, *own, *chosen, f"study.name={full}", f"++study.campaign={name}", *given]
            if "dataset=file" in given and not any("train.epochs=" in override for override in (*own, *chosen, *given)):
                line = [
                    override for override in line if not override.startswith("train.epochs=")
                ]  # chosen for other data
            planned.append(Planned(full, [f"+study={entry['study']}", *_last(line)]))
    for override in overrides:
        if (prefix := _prefix(override)) is not None and prefix not in prefixes:
            raise ConfigError(f"{override}: {where} has no study {prefix}", remedy=nearest(prefix, prefixes))
    return str(campaign.get("description") or ""), planned


def _named(file: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """What the studies' names begin with, `study.name=NAME` or the campaign's own; and the other overrides."""
    given = [override.partition("=")[2] for override in overrides if override.startswith("study.name=")]
    if given and not NAME.fullmatch(given[-1]):
        raise ConfigError("study.name", expected="a letter or digit, then A-Za-z0-9._-", received=given[-1])
    return (given[-1] if given else file), [one for one in overrides if not one.startswith("study.name=")]


def _prefix(override: str) -> str | None:
    """`cnn_lstm` of `cnn_lstm:model.window=5`, an option of one study; None of an option of all."""
    found = _OF_ONE.match(override)
    return found[1] if found else None


def _families(overrides: Sequence[str]) -> list[str]:
    return [override[6:] for override in overrides if override.startswith("model=")][-1:]


def refuse_prefixes(argv: Sequence[str]) -> None:
    """Raises ConfigError for an option of one study where there is no campaign."""
    for argument in argv:
        if prefix := _prefix(argument):
            raise ConfigError(
                f"{argument}: {prefix}: gives an option to one study of a campaign, and there is none",
                remedy=f"Write {argument.partition(':')[2]}, or name a campaign: +campaign=NAME",
            )


def _parted(argv: Sequence[str]) -> tuple[str, list[str], list[str]]:
    """The campaign's name, the options and the overrides of a command line."""
    asked = [argument for argument in argv if _OPTION.match(argument)]
    name = asked[-1].partition("=")[2]
    if len(asked) > 1 or not asked[0].startswith("+"):
        raise ConfigError(" ".join(asked) + " is not how a campaign is chosen", remedy="Write +campaign=NAME.")
    rest = [argument for argument in argv if argument not in asked]
    overrides = [argument for argument in rest if "=" in argument and not argument.startswith("-")]
    options = [argument for argument in rest if argument not in overrides]
    for argument in rest:
        if argument in ("-m", "--multirun"):
            raise ConfigError(f"{argument}: a campaign runs its studies by itself", remedy="Leave it out.")
        if is_several(argument.partition(":")[2] if _prefix(argument) else argument):
            raise ConfigError(
                f"{argument}: several values",
                remedy="A campaign has those in its file, as `each: {PATH: [VALUE, ...]}`.",
            )
        if argument.lstrip("+").startswith("study="):
            raise ConfigError(f"{argument}: a campaign names its studies itself", remedy="Leave it out.")
    return name, options, overrides


def _read(name: str, folders: Sequence[Path]) -> Mapping[str, Any]:
    found = [path for folder in folders if (path := folder / "campaign" / f"{name}.yaml").is_file()]
    if not found:
        valid = {choice for folder in folders for choice in composition.choices(folder, "campaign")}
        raise ConfigError(f"+campaign={name}: there is no such campaign", remedy=nearest(name, valid))
    if fault := composition.yaml_fault(found[0]):
        raise fault
    try:
        read = safe_load.own_yaml(found[0].read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{found[0]}: cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(read, Mapping):
        raise ConfigError(str(found[0]), expected="a mapping with studies", received=str(read))
    return read


def _refuse_unknown(where: str, entry: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in entry:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key}", remedy=nearest(str(key), known))


def _overrides(where: str, value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) and "=" in one for one in value):
        raise ConfigError(where, expected="a list of texts such as train.epochs=3", received=str(value))
    return value


def _axes(where: str, value: Any) -> dict[str, list[str]]:
    """Path -> values as they are written in an override."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(where, expected="a mapping of paths to lists of values", received=str(value))
    axes = {}
    for path, values in value.items():
        fit = isinstance(values, list) and values and all(isinstance(v, str | int | float | None) for v in values)
        if not fit:
            raise ConfigError(f"{where}: {path}", expected="a list of at least one value", received=str(values))
        axes[str(path)] = [v if isinstance(v, str) else json.dumps(v) for v in values]
    return axes


def _last(overrides: Sequence[str]) -> list[str]:
    """Overrides without those that a later one of the same path replaces: Hydra refuses a group that is given twice."""
    kept: dict[str, str] = {}
    for override in overrides:
        path = override.lstrip("+").partition("=")[0]
        kept.pop(path, None)
        kept[path] = override
    return list(kept.values())
