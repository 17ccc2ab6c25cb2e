"""The main command: `python -m lstm_bench.sweep +study=NAME` composes, checks, searches, confirms and records."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lstm_bench.core import cli, errors, streams
from lstm_bench.core.errors import ConfigError
from lstm_bench.sweep import campaign, multirun

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from lstm_bench.core import hardware

HELP = """\
python -m lstm_bench.sweep +study=NAME [GROUP=CHOICE ...] [PATH=VALUE ...]

Searches one architecture family with Optuna, trains every trial on the GPUs or cores there are, tracks it in MLflow,
confirms the winner over several seeds on the test set, and writes sweeps/<study>/. The same command again goes on.

studies   {studies}
campaigns {campaigns} (+campaign=NAME: several studies in turn, resumed like one;
          cnn_lstm:model.window=7 gives an option to one of them)
groups    {groups}
examples  python -m lstm_bench.sweep +study=stacked
          python -m lstm_bench.sweep +study=stacked study.n_trials=40 train.epochs=5 study.name=stacked-long
          python -m lstm_bench.sweep +study=single dataset=npz dataset.path=my.npz study.name=mine
          python -m lstm_bench.sweep -m +study=single,stacked,cnn_lstm,simple_rnn
          python -m lstm_bench.sweep +campaign=matched study.n_trials=8
options   -m (several studies in turn, all checked before the first is run)   --config-dir DIR (your own studies, families,
          datasets)   --cfg job (print the configuration)   --help
next      python -m lstm_bench.ui (the runs)   python -m lstm_bench.report (the tables)
exit      0 done, 2 bad configuration, 3 bad data, 4 storage, 5 too many trials failed or nothing came out, 130 interrupted
"""


def _help() -> str:
    from lstm_bench.core.config import conf_dir

    conf, apart = conf_dir(), ("study", "campaign", "grid")
    names = [path.name for path in sorted(conf.iterdir()) if path.is_dir()]
    groups = [f"{name} ({', '.join(cli.choices(conf, name))})" for name in names if name not in apart]
    return HELP.format(
        studies=", ".join(cli.choices(conf, "study")),
        campaigns=", ".join(cli.choices(conf, "campaign")),
        groups="\n          ".join(groups),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code: the worst one when several studies run."""
    with streams.lasting():
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    line = list(sys.argv[1:] if argv is None else argv)
    try:
        from lstm_bench.core.config import conf_dir
        from lstm_bench.core.schema import Sweep

        if campaign.is_asked(line) and not {"--help", "-h"} & {*line}:
            return campaign.main(line, conf=conf_dir(), check=checked, run=run, root=Sweep, together=_together)
        campaign.refuse_prefixes(line)
        if multirun.is_asked(line):
            return multirun.main(line, check=checked, run=run, root=Sweep, together=_together)
        return cli.main(line, config_name="sweep", root=Sweep, help_text=_help, run=run)
    except ConfigError as error:
        return cli.say(error)
    except KeyboardInterrupt:  # while it composes and imports; `command` has those of the sweep itself
        return cli.say(errors.InterruptedByUser("interrupted before anything was started"))


def _together(studies: list[tuple[dict[str, Any], dict[str, Any], dict[str, str]]]) -> list[Any]:
    """What is wrong with several studies on this machine, and once the data are read and the models built."""
    from lstm_bench.core import hardware
    from lstm_bench.sweep import precheck

    gpus = hardware.gpus() if any(config["launcher"]["name"] == "local" for config, _, _ in studies) else []
    faults: dict[str, precheck.Unfit] = {}
    for config, _, _ in studies:
        try:
            _check_here(config, gpus)
        except ConfigError as error:
            faults.setdefault(str(error), precheck.Unfit([], error)).studies.append(config["study"]["name"])
    unfit = {name for fault in faults.values() for name in fault.studies}
    rest = [(config, space) for config, space, _ in studies if config["study"]["name"] not in unfit]
    return [*faults.values(), *precheck.unfit(rest, lambda text: print(text, flush=True))]


def checked(composed: DictConfig, overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Every check that needs no data and no framework.

    Returns:
      The resolved configuration, the parsed space, and what overrides took out of it.

    Raises:
      ConfigError: for anything that cannot be meant. Nothing was created.
    """
    from lstm_bench.core import config as schema
    from lstm_bench.data import dataset, task
    from lstm_bench.model import signature
    from lstm_bench.study import search_space as spaces
    from lstm_bench.tracking import client

    config = schema.load(composed)
    task.check_aims(config["study"], config["dataset"]["name"])
    dataset.check(config["dataset"])
    task.check_objective(config["study"], config["dataset"]["name"], dataset.known_task(config["dataset"]))
    client.check(config["tracking"])
    if signature.is_own(str(config["model"].get("_target_", ""))):
        signature.check(config["model"])
    space = spaces.parse(config)
    _check_weights(config["model"], space, overrides)
    pinned = spaces.pinned(space, overrides)
    space = {path: domain for path, domain in space.items() if path not in pinned}
    config["study"]["space"] = space
    if config["sampler"]["name"] == "grid":
        spaces.grid(space)
        spaces.require_points(space, config["study"]["n_trials"], "grid")
    # One that was made when points were repeated goes on as it was; `TrialStore` sees whether it is there behind a URL.
    elif space and config["storage"]["url"] is None and not _has_database(config):
        spaces.require_points(space, config["study"]["n_trials"])
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


def _has_database(config: Mapping[str, Any]) -> bool:
    """Whether a study was made before, under its name or the one that it has with the data that stand in for its own."""
    from lstm_bench.study import columns

    name, other = config["study"]["name"], config["dataset"]["fallback"]
    names = [name, f"{name}-{other}"] if other else [name]
    return any((columns.study_dir(one) / "study.db").exists() for one in names)


def _check_weights(model: dict[str, Any], space: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Makes `model.weights` a number; refuses it beside a width of its own."""
    from lstm_bench.model import signature
    from lstm_bench.study import search_space as spaces

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
    for override in spaces.pinned({path: {}}, overrides).values():
        raise ConfigError(f"model.weights={model['weights']}: {path} follows from it and cannot be given ({override})")


def _check_here(config: Mapping[str, Any], gpus: list[hardware.Gpu]) -> None:
    """Refuses what this machine cannot run: a kernel, an objective, a backend."""
    from lstm_bench.model import kernel, signature

    backend, target = config["backend"]["name"], str(config["model"]["_target_"])
    if config["launcher"]["name"] != "ray" and signature.is_own(target):
        layers = signature.recurrent_layers(signature.find(target))
        kernel.require(config["kernel"]["name"], backend, layers, gpus[0].name if gpus else None)
    _check_exclusive(config, gpus)
    cli.require_backend(backend)


def _check_exclusive(config: Mapping[str, Any], gpus: list[hardware.Gpu]) -> None:
    """Refuses throughput as an objective where trials share a device: it would measure the neighbours."""
    from lstm_bench.core import hardware

    workers = config["launcher"]["workers"]
    if config["launcher"]["name"] == "ray":
        share = config["launcher"]["gpus_per_trial"]
        if "train_samples_per_s" in config["study"]["objectives"] and share != "auto" and 0 < share < 1:
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


def run(
    composed: DictConfig,
    overrides: Sequence[str],
    jobs: Sequence[tuple[dict[str, Any], dict[str, Any], dict[str, str]]] = (),
    at: int = 0,
) -> None:
    """Runs one study to its end.

    Args:
      composed: What Hydra composed.
      overrides: Of the command line.
      jobs: What `checked` returned of each study of the command, where there are several.
      at: Which of them this is.

    Raises:
      LstmBenchError: any expected fault.
    """
    from lstm_bench.core import hardware, locks
    from lstm_bench.core.console import Display
    from lstm_bench.data import dataset
    from lstm_bench.launcher import ray_cluster
    from lstm_bench.study import columns

    config, space, pinned = checked(composed, overrides)
    if config["launcher"]["name"] == "ray":
        ray_cluster.check(config["launcher"]["address"])
        gpus = []
    else:
        gpus = hardware.gpus()
    _check_here(config, gpus)
    found = dataset.resolve(config["dataset"])
    config["dataset"] = found.config
    notice = None
    if found.notice:
        config["study"]["name"] += f"-{found.name}"
        notice = f"{found.notice} The study is named {config['study']['name']}."
    display = Display(config["study"]["objective"], config["train"]["epochs"])
    if len(jobs) > 1:
        display.several = at + 1, len(jobs)
    others = [job for job, _, _ in jobs[:at]], [job for job, _, _ in jobs[at + 1 :]]
    if notice:
        display.box(notice)
    for path, override in pinned.items():
        display.line(f"{path} is fixed by {override}: it is not searched", "yellow")
    folder = columns.study_dir(config["study"]["name"])
    created = not folder.exists()
    try:
        alone = locks.hold_database(config["storage"]["url"], config["study"]["name"])
        with locks.hold(folder, "study.name"), alone, display:
            from lstm_bench.sweep import epochs
            from lstm_bench.sweep.session import Session

            by_data = epochs.are_open(config, overrides)
            Session(config, space, folder, gpus, display, found.source, others, epochs_by_data=by_data).run()
    except (ConfigError, errors.DataError):
        # A study behind a URL leaves no study.db here; its config.yaml is written before anything runs.
        kept = ("study.db", "config.yaml", "logs/traceback.txt")
        if created and not any((folder / name).exists() for name in kept):
            shutil.rmtree(folder, ignore_errors=True)  # nothing was run: no file is left behind
        raise
    finally:
        if notice:
            display.box(notice)
