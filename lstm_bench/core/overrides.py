"""The arguments of a command line as Hydra's grammar can take them."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from lstm_bench.core.errors import ConfigError, nearest

# Paths, addresses and prose: their values are taken as they stand, without the quotes that Hydra's grammar asks for.
_FREE_TEXT = (
    *("dataset.path", "dataset.test_path", "dataset.dir", "storage.url", "tracking.uri", "launcher.address"),
    *("png", "svg", "study.description"),
    *(f"dataset.{column}" for column in ("id", "time", "target", "group", "lengths", "features")),
)
_LISTS = ("dataset.features", "dataset.target")  # of columns


def config_dirs(argv: Sequence[str]) -> Iterator[str]:
    """Folders that a command line gives by --config-dir."""
    for i, argument in enumerate(argv):
        if argument in ("--config-dir", "-cd") and i + 1 < len(argv):
            yield argv[i + 1]
        elif argument.startswith(("--config-dir=", "-cd=")):
            yield argument.partition("=")[2]


def arguments(argv: Sequence[str]) -> list[str]:
    """The command line as Hydra can take it: options first, overrides together and last.

    `study.space.model.units.high=9` becomes an addition: the space's keys are dotted paths, the override's are nested; and
    `study.space={...}` may name domains and keys that the study's file has not. `model.weights` and metrics of
    `study.objectives` need not be in a file. A path or an address may hold any character.
    """
    overrides = [argument for argument in argv if "=" in argument and not argument.startswith("-")]
    options = [argument for argument in argv if argument not in overrides]
    added = ("study.space.", "study.space=", "study.objectives.", "study.objectives=", "model.weights=")
    return options + ["++" + o if o.startswith(added) else o for o in map(_as_text, overrides)]


def quoted(text: str) -> str:
    """A text in the quotation marks of Hydra's grammar, which reads the same text from it, whatever it holds."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.double).with_quotes()


def _as_text(override: str) -> str:
    """An override whose value Hydra takes as it stands where its key is one of free text; others are left alone.

    What is quoted or escaped already, `null`, nothing, and `choice(...)` keep Hydra's meaning; so does `${...}`, and a list of
    targets.
    """
    key, _, value = override.partition("=")
    if key.lstrip("+") not in _FREE_TEXT or value.lower() in ("", "null") or value.startswith("choice("):
        return override
    kind = list if key.lstrip("+") in _LISTS and value[0] == "[" else str
    if kind is list or value[0] in "\"'" or "\\" in value:
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException

        with contextlib.suppress(HydraException):
            if isinstance(OverridesParser.create().parse_override(override).value(), kind):
                return override
        if kind is list and value[-1] == "]" and not {*"\"'\\"} & {*value}:  # a name such as Power (W)
            return f"{key}=[{','.join(quoted(name.strip()) for name in value[1:-1].split(','))}]"
    return f"{key}={quoted(value)}"


def is_several(argument: str) -> bool:
    """Whether Hydra would make several jobs of an override."""
    if not re.search(r"[,(]", argument):  # which spares most of them the parser
        return False
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return bool(OverridesParser.create().parse_override(_as_text(argument)).is_sweep_override())
    except HydraException:  # said when it is composed
        return False


_OPTIONS = ("--help", "-h", "--multirun", "-m", "--resolve", "--run", "-r", "--version", "--hydra-help")
_VALUED = ("--cfg", "-c", "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p")
_MORE = ("--info", "-i", "--shell-completion", "-sc", "--experimental-rerun")  # of Hydra's, for those who know them


def require_options(argv: Sequence[str], root: Any) -> None:
    """Checks the dashed arguments, of which Hydra's own parser would speak in paragraphs.

    Raises:
      ConfigError: for one that there is not, with the key that was meant; for one whose value is missing or unfit.
    """
    from lstm_bench.core.configuration import paths

    value_of = None
    for at, argument in enumerate(argv):
        if value_of or not argument.startswith("-") or argument == "-":
            value_of = None
            continue
        option, equals, given = argument.partition("=")
        if option in _VALUED:
            value_of = None if equals else option
            value = given if equals else argv[at + 1] if at + 1 < len(argv) else ""
            if not value or (value.startswith("-") and not equals):
                raise ConfigError(option, expected="a value behind it")
            if option in ("--cfg", "-c") and value not in ("job", "hydra", "all"):
                raise ConfigError(option, expected="job, hydra or all", received=value)
        elif option not in _OPTIONS + _MORE:
            raise _unknown_option(argv, at, list(paths(root)))


def _unknown_option(argv: Sequence[str], at: int, known: Sequence[str]) -> ConfigError:
    """`--n_trials 4` -> "options are key=value: study.n_trials=4"."""
    option, _, value = argv[at].partition("=")
    following = argv[at + 1] if at + 1 < len(argv) and not argv[at + 1].startswith("-") else ""
    value = value or ("" if "=" in following else following) or "VALUE"
    name = option.lstrip("-").replace("-", "_")
    what = f"{option}: there is no such option, options are key=value"
    dashed = [o for o in (*_OPTIONS, *_VALUED) if o.startswith("--")]
    whole = [path for path in known if name in (path, path.rpartition(".")[2])]
    close = difflib.get_close_matches(option, dashed, n=1, cutoff=0.8) if not whole else []
    if close:
        return ConfigError(what, remedy=f"did you mean {close[0]}?")
    leaves = {path.rpartition(".")[2]: path for path in known if "." in path}
    near = whole or [leaves[leaf] for leaf in difflib.get_close_matches(name, leaves, n=1, cutoff=0.6)]
    if not near:
        return ConfigError(what, remedy=nearest(name, known))
    return ConfigError(what, remedy=f"{'write' if whole else 'did you mean'} {near[0]}={value}{'' if whole else '?'}")
