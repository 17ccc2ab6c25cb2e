"""The main command: `python -m lstm_bench.sweep +study=NAME` composes, checks, searches, confirms and records."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_bench import errors
from lstm_bench.errors import ConfigError, LstmBenchError, nearest

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = """\
python -m lstm_bench.sweep +study=NAME [GROUP=CHOICE ...] [PATH=VALUE ...]

Searches one architecture family with Optuna, trains every trial on the GPUs or cores there are, tracks it in MLflow,
confirms the winner over several seeds on the test set, and writes sweeps/<study>/. The same command again goes on.

studies   {studies}
groups    {groups}
examples  python -m lstm_bench.sweep +study=stacked
          python -m lstm_bench.sweep +study=stacked study.n_trials=40 train.epochs=5 study.name=stacked-long
          python -m lstm_bench.sweep +study=single dataset=npz dataset.path=my.npz study.name=mine
          python -m lstm_bench.sweep -m +study=single,stacked,cnn_lstm,simple_rnn
options   -m (several studies in turn)   --config-dir DIR (your own studies, families, datasets)   --cfg job (print the
          configuration)   --help
next      python -m lstm_bench.ui (the runs)   python -m lstm_bench.report (the tables)
exit      0 done, 1 composition error, 2 bad configuration, 3 bad data, 4 storage, 5 too many trials failed, 130 interrupted
"""


def _help() -> str:
    from lstm_bench.config import conf_dir

    conf = conf_dir()
    names = [path.name for path in sorted(conf.iterdir()) if path.is_dir() and path.name != "study"]
    groups = [f"{name} ({', '.join(_choices(conf, name))})" for name in names if name != "grid"]
    return HELP.format(studies=", ".join(_choices(conf, "study")), groups="\n          ".join(groups))


def _choices(conf: Path, group: str) -> list[str]:
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))


def _say(error: LstmBenchError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


def _from_hydra(error: Exception, conf: Path, argv: Sequence[str]) -> LstmBenchError:
    """Hydra's composition error in one line, with the nearest valid names."""
    from lstm_bench.config import GROUPS, paths

    text = str(error)
    missing = re.search(r"Could not find '(?:\w+/)?([^'/]+)/([^'/]+)'", text)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if missing:
        group, name = missing.groups()
        folders = [conf, *(Path(folder) for folder in _config_dirs(argv))]
        choices = sorted({choice for folder in folders for choice in _choices(folder, group)})
        valid = f" Valid: {', '.join(choices)}" if len(choices) <= 20 else ""
        remedy = nearest(name, choices)
        return LstmBenchError(
            f"{group}={name}: there is no such {group}", remedy=remedy + (valid if "?" in remedy else "")
        )
    if "Config group override must be" in text:
        nulls = [argument for argument in argv if argument.endswith("=null")]
        return LstmBenchError(f"{' '.join(nulls)}: a group cannot be null", expected="one of its choices")
    if unknown and unknown.group(1) == "study":
        return LstmBenchError("study=NAME is not how a study is chosen", remedy="Write +study=NAME.")
    if unknown:
        return LstmBenchError(
            f"{unknown.group(1)}: there is no such option", remedy=nearest(unknown.group(1), {*GROUPS, *paths()})
        )
    return LstmBenchError((text.strip() or type(error).__name__).splitlines()[0])


def _config_dirs(argv: Sequence[str]) -> Iterator[str]:
    for i, argument in enumerate(argv):
        if argument in ("--config-dir", "-cd") and i + 1 < len(argv):
            yield argv[i + 1]
        elif argument.startswith(("--config-dir=", "-cd=")):
            yield argument.partition("=")[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code of `design`: the worst one when several studies run."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if "--help" in argv or "-h" in argv:
        print(_help(), end="")
        return errors.DONE
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from lstm_bench.config import conf_dir

    # Hydra hands its exceptions on instead of printing them; what a user sees of them is one line of ours.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    codes: list[int] = []
    composed_any = False

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="sweep")
    def job(composed: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        nonlocal composed_any
        composed_any = True
        if codes and codes[-1] == errors.INTERRUPTED:
            return  # a Ctrl-C in one study of several ends them all
        codes.append(run(composed, list(HydraConfig.get().overrides.task)))

    with _scratch() as folder:
        OmegaConf.register_new_resolver("scratch_dir", lambda: folder, replace=True)
        before, sys.argv = sys.argv, [sys.argv[0], *_arguments(argv)]
        try:
            job()
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            if isinstance(error, ValueError) and composed_any:
                raise  # not Hydra's way of saying that a group cannot be null
            return _say(_from_hydra(error, conf_dir(), argv))
        finally:
            sys.argv = before
    return errors.INTERRUPTED if errors.INTERRUPTED in codes else max(codes, default=errors.DONE)


def _arguments(argv: Sequence[str]) -> list[str]:
    """The command line as Hydra can take it: options first, overrides together and last.

    `study.space.model.units.high=9` becomes an addition: the space's keys are dotted paths, the override's are nested; and
    `study.space={...}` may name domains and keys that the study's file has not.
    """
    overrides = [argument for argument in argv if "=" in argument and not argument.startswith("-")]
    options = [argument for argument in argv if argument not in overrides]
    return options + ["++" + o if o.startswith(("study.space.", "study.space=")) else o for o in overrides]


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    """A folder for what Hydra insists on writing with -m."""
    folder = tempfile.mkdtemp(prefix="lstm_bench-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(composed: DictConfig, overrides: Sequence[str]) -> int:
    """Runs one study to its end; returns its exit code, expected faults already said."""
    try:
        return _run(composed, overrides)
    except LstmBenchError as error:
        return _say(error)
    except KeyboardInterrupt:
        return _say(errors.InterruptedByUser("interrupted", remedy="The same command goes on from here."))


def checked(composed: DictConfig, overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Every check that needs no data and no framework.

    Returns:
      The resolved configuration, the parsed space, and what overrides took out of it.

    Raises:
      ConfigError: for anything that cannot be meant. Nothing was created.
    """
    from lstm_bench import config as schema
    from lstm_bench import data, family, tracking
    from lstm_bench import space as spaces

    config = schema.load(composed)
    data.check(config["dataset"])
    tracking.check(config["tracking"])
    if family.is_own(str(config["model"].get("_target_", ""))):
        family.check(config["model"])
    space = spaces.parse(config)
    pinned = spaces.pinned(space, overrides)
    space = {path: domain for path, domain in space.items() if path not in pinned}
    config["study"]["space"] = space
    if config["sampler"]["name"] == "grid":
        points = math.prod(len(values) for values in spaces.grid(space).values())
        if config["study"]["n_trials"] > points:
            raise ConfigError(
                "study.n_trials",
                expected=f"at most {points}, the points of the grid",
                received=config["study"]["n_trials"],
            )
    if not space and config["study"]["n_trials"] > 1:
        raise ConfigError(
            "study.n_trials", expected="0 or 1 where study.space is empty", received=config["study"]["n_trials"]
        )
    return config, space, pinned


def _run(composed: DictConfig, overrides: Sequence[str]) -> int:
    from lstm_bench import data, device, family, kernel, record, study
    from lstm_bench.progress import Display

    config, space, pinned = checked(composed, overrides)
    backend = config["backend"]["name"]
    gpus = device.gpus()
    if family.is_own(config["model"]["_target_"]):
        layers = family.recurrent_layers(family.find(config["model"]["_target_"]))
        kernel.require(config["kernel"]["name"], backend, layers, gpus[0].name if gpus else None)
    _require_backend(backend)
    found = data.resolve(config["dataset"])
    config["dataset"] = found.config
    notice = None
    if found.notice:
        config["study"]["name"] += f"-{found.name}"
        notice = f"{found.notice} The study is named {config['study']['name']}."
    display = Display(config["study"]["objective"], config["train"]["epochs"])
    if notice:
        display.box(notice)
    for path, override in pinned.items():
        display.line(f"{path} is fixed by {override}: it is not searched", "yellow")
    folder = record.study_dir(config["study"]["name"])
    created = not folder.exists()
    try:
        with study.lock(folder), display:
            from lstm_bench.session import Session

            Session(config, space, folder, gpus, display, found.source).run()
    except (ConfigError, errors.DataError):
        if created and not (folder / "study.db").exists():
            shutil.rmtree(folder, ignore_errors=True)  # nothing was run: no file is left behind
        raise
    finally:
        if notice:
            display.box(notice)
    return errors.DONE


def _require_backend(backend: str) -> None:
    import importlib.util

    if importlib.util.find_spec(backend) is None:
        raise ConfigError(
            f"backend={backend}: {backend} is not installed",
            remedy=f"pip install 'lstm-bench[{backend}]', or another backend.",
        )


if __name__ == "__main__":
    sys.exit(main())
