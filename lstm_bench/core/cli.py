"""The command line of the commands that Hydra composes: overrides in, one-line errors and an exit code out."""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_bench.core import errors, home, streams
from lstm_bench.core.errors import ConfigError, LstmBenchError, nearest

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Paths, addresses and prose: their values are taken as they stand, without the quotes that Hydra's grammar asks for.
_FREE_TEXT = (
    *("dataset.path", "dataset.test_path", "dataset.dir", "storage.url", "tracking.uri", "launcher.address"),
    *("png", "svg", "study.description", *(f"dataset.{column}" for column in ("id", "time", "target", "group"))),
)


def choices(conf: Path, group: str) -> list[str]:
    """Names of the YAML files of a configuration group."""
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))


def say(error: LstmBenchError) -> int:
    """Prints an expected fault as one line, without passwords; returns its exit code."""
    try:
        print(f"error: {errors.redact(str(error))}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # nobody reads it: the exit code still says what it was
        streams.discard(sys.stderr)
    return error.exit_code


def refuse(what: str, faults: Sequence[tuple[Sequence[str], LstmBenchError]]) -> int:
    """Says why none of several studies is run: each fault once, and which studies have one.

    Args:
      what: That was to run them.
      faults: Each with the names of the studies that have it; at least one.

    Returns:
      The worst exit code.
    """
    codes = [say(error) for _, error in faults]
    having = dict.fromkeys(study for named, _ in faults for study in named)
    print(f"{what}: nothing was run, because of {', '.join(having)}", file=sys.stderr)
    return max(codes)


def main(
    argv: Sequence[str], *, config_name: str, root: Any, help_text: Callable[[], str], run: Callable[..., object]
) -> int:
    """Composes `conf/<config_name>.yaml` with the overrides of a command line, as often as -m asks, and runs each.

    Args:
      argv: The command line, without the program.
      config_name: Root YAML in `conf/`.
      root: Schema of it, a dataclass of `core/config.py`.
      help_text: What --help prints.
      run: Called with what was composed and the list of overrides; raises LstmBenchError for expected faults.

    Returns:
      The exit code of `core/errors.py`: the worst one when several jobs run.
    """
    home.lend()
    if "--help" in argv or "-h" in argv:
        print(help_text(), end="")
        return errors.DONE
    try:
        require_options(argv, root)
    except errors.ConfigError as error:
        return say(error)
    import hydra
    import yaml
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from lstm_bench.core.config import conf_dir

    # Hydra hands its exceptions on instead of printing them; what a user sees of them is one line of ours.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    codes: list[int] = []
    composed_any = False

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)
    def job(composed: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        nonlocal composed_any
        composed_any = True
        if codes and codes[-1] == errors.INTERRUPTED:
            return  # a Ctrl-C in one of several jobs ends them all
        fault = _file_fault(conf_dir(), argv)
        if fault:  # what the file says may have come to another place, where nothing reads it
            codes.append(fault.exit_code if codes else say(fault))  # of every job: they have the same files
            return
        codes.append(_guarded(run, composed, _texts(HydraConfig.get().overrides.task)))

    with _scratch() as folder:
        OmegaConf.register_new_resolver("scratch_dir", lambda: folder, replace=True)
        before, sys.argv = sys.argv, [sys.argv[0], *_arguments(argv)]
        try:
            job()
        except (HydraException, OmegaConfBaseException, ValueError, yaml.YAMLError) as error:
            if composed_any and isinstance(error, ValueError | yaml.YAMLError):
                raise  # not Hydra's way of saying that a group cannot be null or a file not be read
            unread = isinstance(error, ValueError | yaml.YAMLError) or "ConfigTypeError" in str(error)
            fault = _file_fault(conf_dir(), argv, every=unread)
            return say(fault or _from_hydra(error, conf_dir(), argv, root))
        finally:
            sys.argv = before
    return errors.INTERRUPTED if errors.INTERRUPTED in codes else max(codes, default=errors.DONE)


def _texts(overrides: Any) -> list[str]:
    """Overrides as they were written: an interpolation in one is not resolved here, where there is nothing to find it in."""
    from omegaconf import OmegaConf

    found: Any = OmegaConf.to_container(overrides, resolve=False)
    return [str(text) for text in found]


def _terminated(*_: object) -> None:
    """Takes a request to end for a Ctrl-C, where no loop of ours hears it."""
    raise KeyboardInterrupt


def _guarded(run: Callable[..., object], composed: DictConfig, overrides: list[str]) -> int:
    heard = threading.current_thread() is threading.main_thread()  # in another one, signals are the caller's
    before = signal.signal(signal.SIGTERM, _terminated) if heard else None
    try:
        run(composed, overrides)
        return errors.DONE
    except LstmBenchError as error:
        return say(error)
    except KeyboardInterrupt:
        return say(errors.InterruptedByUser("interrupted", remedy="The same command goes on from here."))
    finally:
        if heard:
            signal.signal(signal.SIGTERM, before)


def _from_hydra(error: Exception, conf: Path, argv: Sequence[str], root: Any) -> ConfigError:
    """Hydra's composition error in one line, with the nearest valid names."""
    from hydra.errors import OverrideParseException

    from lstm_bench.core.config import paths

    text = str(error)
    missing = re.search(r"Could not find '(?:\w+/)?([^'/]+)/([^'/]+)'", text)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if missing:
        group, name = missing.groups()
        folders = [conf, *(Path(folder) for folder in config_dirs(argv))]
        valid = sorted({choice for folder in folders for choice in choices(folder, group)})
        listed = f" Valid: {', '.join(valid)}" if len(valid) <= 20 else ""
        remedy = nearest(name, valid)
        return ConfigError(
            f"{group}={name}: there is no such {group}", remedy=remedy + (listed if "?" in remedy else "")
        )
    if "Config group override must be" in text:
        nulls = [argument for argument in argv if argument.endswith("=null")]
        return ConfigError(f"{' '.join(nulls)}: a group cannot be null", expected="one of its choices")
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


def _file_fault(conf: Path, argv: Sequence[str], *, every: bool = False) -> ConfigError | None:
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
    kind = list if key.lstrip("+") == "dataset.target" and value[0] == "[" else str
    if kind is list or value[0] in "\"'" or "\\" in value:
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException

        with contextlib.suppress(HydraException):
            if isinstance(OverridesParser.create().parse_override(override).value(), kind):
                return override
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


def _nearest_option(option: str, argv: Sequence[str], conf: Path, root: Any) -> str:
    """The remedy for an unknown option: below `model.` one of the family's, else of the schema's."""
    from lstm_bench.core.config import paths

    group, _, leaf = option.partition(".")
    of_family = _arguments_of_family(argv, conf) if group == "model" else []
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

    def read(group: str, name: str) -> dict[str, Any]:
        import yaml

        for folder in folders:
            with contextlib.suppress(OSError, ValueError, yaml.YAMLError):
                found = yaml.safe_load((folder / group / f"{name}.yaml").read_text(encoding="utf-8"))
                return found if isinstance(found, dict) else {}
        return {}

    def named(read: dict[str, Any]) -> list[str]:
        entries = [entry for entry in read.get("defaults") or [] if isinstance(entry, dict)]
        return [str(v) for entry in entries for k, v in entry.items() if str(k).split()[-1].strip("/") == "model"]

    family = [argument[6:] for argument in argv if argument.startswith("model=")]
    studies = [argument[7:] for argument in argv if argument.startswith("+study=")]
    chosen = family or [name for study in studies for name in named(read("study", study))] or named(read(".", "sweep"))
    return [str(key) for name in chosen[-1:] for key in read("model", name) if not str(key).startswith("_")]


_OPTIONS = ("--help", "-h", "--multirun", "-m", "--resolve", "--run", "-r", "--version", "--hydra-help")
_VALUED = ("--cfg", "-c", "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p")
_MORE = ("--info", "-i", "--shell-completion", "-sc", "--experimental-rerun")  # of Hydra's, for those who know them


def require_options(argv: Sequence[str], root: Any) -> None:
    """Checks the dashed arguments, of which Hydra's own parser would speak in paragraphs.

    Raises:
      ConfigError: for one that there is not, with the key that was meant; for one whose value is missing or unfit.
    """
    from lstm_bench.core.config import paths

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
                raise errors.ConfigError(option, expected="a value behind it")
            if option in ("--cfg", "-c") and value not in ("job", "hydra", "all"):
                raise errors.ConfigError(option, expected="job, hydra or all", received=value)
        elif option not in _OPTIONS + _MORE:
            raise _unknown_option(argv, at, list(paths(root)))


def _unknown_option(argv: Sequence[str], at: int, known: Sequence[str]) -> errors.ConfigError:
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
        return errors.ConfigError(what, remedy=f"did you mean {close[0]}?")
    leaves = {path.rpartition(".")[2]: path for path in known if "." in path}
    near = whole or [leaves[leaf] for leaf in difflib.get_close_matches(name, leaves, n=1, cutoff=0.6)]
    if not near:
        return errors.ConfigError(what, remedy=nearest(name, known))
    return errors.ConfigError(
        what, remedy=f"{'write' if whole else 'did you mean'} {near[0]}={value}{'' if whole else '?'}"
    )


def config_dirs(argv: Sequence[str]) -> Iterator[str]:
    """Folders that a command line gives by --config-dir."""
    for i, argument in enumerate(argv):
        if argument in ("--config-dir", "-cd") and i + 1 < len(argv):
            yield argv[i + 1]
        elif argument.startswith(("--config-dir=", "-cd=")):
            yield argument.partition("=")[2]


def _arguments(argv: Sequence[str]) -> list[str]:
    """The command line as Hydra can take it: options first, overrides together and last.

    `study.space.model.units.high=9` becomes an addition: the space's keys are dotted paths, the override's are nested; and
    `study.space={...}` may name domains and keys that the study's file has not. `model.weights` and metrics of
    `study.objectives` need not be in a file. A path or an address may hold any character.
    """
    overrides = [argument for argument in argv if "=" in argument and not argument.startswith("-")]
    options = [argument for argument in argv if argument not in overrides]
    added = ("study.space.", "study.space=", "study.objectives.", "study.objectives=", "model.weights=")
    return options + ["++" + o if o.startswith(added) else o for o in map(_as_text, overrides)]


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    """A folder for what Hydra insists on writing with -m."""
    folder = tempfile.mkdtemp(prefix="lstm_bench-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_backend(backend: str) -> None:
    """Raises ConfigError when a backend is not installed."""
    import importlib.util

    if importlib.util.find_spec(backend) is None:
        raise errors.ConfigError(
            f"backend={backend}: {backend} is not installed",
            remedy=f"pip install 'lstm-bench[{backend}]', or another backend.",
        )


def options(argv: Sequence[str], known: Collection[str], required: Collection[str] = ()) -> dict[str, str]:
    """The `key=value` arguments of a command without a configuration, as text.

    Raises:
      ConfigError: for an argument of another form, an unknown key, or a required one that is missing.
    """
    found: dict[str, str] = {}
    for argument in argv:
        key, equals, value = argument.partition("=")
        if not equals or key not in known:
            remedy = nearest(key.lstrip("-+"), known)
            raise errors.ConfigError("options", expected="key=value", received=argument, remedy=remedy)
        if not value:
            raise errors.ConfigError(key, expected="a value", received=argument)
        found[key] = value
    for key in required:
        if key not in found:
            raise errors.ConfigError(f"{key}=... is missing", remedy="see --help")
    return found


def resolved(key: str, text: str) -> str:
    """A value as it stands, with `${oc.env:NAME}` filled in: of a command without a configuration.

    Raises:
      ConfigError: for an interpolation of another form, or of a variable that is not set.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return str(OmegaConf.create({"it": text})["it"])
    except OmegaConfBaseException as error:
        why = str(error).splitlines()[0].removeprefix("KeyError raised while resolving interpolation: ").strip("\"'")
        raise ConfigError(f"{key}={errors.redact(text)}: {why}") from error


def guarded(argv: Sequence[str] | None, help_text: str, run: Callable[[list[str]], None]) -> int:
    """Runs a command without a configuration: --help, expected faults as one line, an exit code."""
    streams.ensure()
    home.lend()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if any(argument in ("-h", "--help", "help") for argument in arguments):
            print(help_text, end="")
        else:
            run(arguments)
        sys.stdout.flush()
        return errors.DONE
    except LstmBenchError as error:
        return say(error)
    except KeyboardInterrupt:
        return say(errors.InterruptedByUser("interrupted"))
    except BrokenPipeError:  # `| head`
        streams.discard(sys.stdout)
        return errors.DONE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        streams.discard(sys.stdout)
        return say(errors.StorageError(f"what is printed cannot be written ({error.strerror})"))
