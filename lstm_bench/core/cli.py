"""The command line of the commands that Hydra composes: overrides in, one-line errors and an exit code out."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lstm_bench.core import composition, errors, home, overrides, streams
from lstm_bench.core.errors import ConfigError, LstmBenchError, nearest

if TYPE_CHECKING:
    from omegaconf import DictConfig


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
      root: Schema of it, of `core/schema.py`.
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
        overrides.require_options(argv, root)
    except errors.ConfigError as error:
        return say(error)
    import hydra
    import yaml
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from lstm_bench.core.configuration import conf_dir

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
        fault = composition.file_fault(conf_dir(), argv)
        if fault:  # what the file says may have come to another place, where nothing reads it
            codes.append(fault.exit_code if codes else say(fault))  # of every job: they have the same files
            return
        codes.append(_guarded(run, composed, _texts(HydraConfig.get().overrides.task)))

    with _scratch() as folder:
        OmegaConf.register_new_resolver("scratch_dir", lambda: folder, replace=True)
        before, sys.argv = sys.argv, [sys.argv[0], *overrides.arguments(argv)]
        try:
            job()
        except (HydraException, OmegaConfBaseException, TypeError, ValueError, yaml.YAMLError) as error:
            if composed_any and isinstance(error, TypeError | ValueError | yaml.YAMLError):
                raise  # not Hydra's way of saying that a group cannot be null or a number, or a file not be read
            unread = isinstance(error, ValueError | yaml.YAMLError) or "ConfigTypeError" in str(error)
            fault = composition.file_fault(conf_dir(), argv, every=unread)
            return say(fault or composition.from_hydra(error, conf_dir(), argv, root))
        finally:
            sys.argv = before
    return errors.INTERRUPTED if errors.INTERRUPTED in codes else max(codes, default=errors.DONE)


def _texts(given: Any) -> list[str]:
    """Overrides as they were written: an interpolation in one is not resolved here, where there is nothing to find it in."""
    from omegaconf import OmegaConf

    found: Any = OmegaConf.to_container(given, resolve=False)
    return [str(text) for text in found]


def _terminated(*_: object) -> None:
    """Takes a request to end for a Ctrl-C, where no loop of ours hears it."""
    raise KeyboardInterrupt


def _guarded(run: Callable[..., object], composed: DictConfig, given: list[str]) -> int:
    heard = threading.current_thread() is threading.main_thread()  # in another one, signals are the caller's
    before = signal.signal(signal.SIGTERM, _terminated) if heard else None
    try:
        run(composed, given)
        return errors.DONE
    except LstmBenchError as error:
        return say(error)
    except KeyboardInterrupt:
        return say(errors.InterruptedByUser("interrupted", remedy="The same command goes on from here."))
    finally:
        if heard:
            signal.signal(signal.SIGTERM, before)


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
