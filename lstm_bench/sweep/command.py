"""The main command: `python -m lstm_bench.sweep +study=NAME` composes, checks, searches, confirms and records."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lstm_bench.core import cli, composition, errors, schema, streams
from lstm_bench.core.errors import ConfigError
from lstm_bench.data.objective import settled_objective
from lstm_bench.sweep import campaign, multirun

if TYPE_CHECKING:
    from omegaconf import DictConfig


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
          python -m lstm_bench.sweep +study=stacked kernel.predict=cuda   (which kernel a GPU would run; trains nothing)
options   -m (several studies in turn, all checked before the first is run)   --config-dir DIR (your own studies, families,
          datasets)   --cfg job (print the configuration)   --help
next      python -m lstm_bench.ui (the runs)   python -m lstm_bench.report (the tables)
exit      0 done, 2 bad configuration, 3 bad data, 4 storage, 5 too many trials failed or nothing came out, 130 interrupted
"""


def _help() -> str:
    from lstm_bench.core.configuration import conf_dir

    conf, apart = conf_dir(), ("study", "campaign", "grid")
    names = [path.name for path in sorted(conf.iterdir()) if path.is_dir()]
    groups = [f"{name} ({', '.join(composition.choices(conf, name))})" for name in names if name not in apart]
    return HELP.format(
        studies=", ".join(composition.choices(conf, "study")),
        campaigns=", ".join(composition.choices(conf, "campaign")),
        groups="\n          ".join(groups),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code: the worst one when several studies run."""
    with streams.lasting():
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    line = list(sys.argv[1:] if argv is None else argv)
    try:
        from lstm_bench.core.configuration import conf_dir
        from lstm_bench.core.schema import Sweep
        from lstm_bench.sweep.validate import checked

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


def _together(studies: list[tuple[schema.Sweep, dict[str, Any], dict[str, str]]]) -> list[Any]:
    """What is wrong with several studies on this machine, and once the data are read and the models built."""
    from lstm_bench.core import hardware
    from lstm_bench.sweep import precheck
    from lstm_bench.sweep.validate import check_here

    gpus = hardware.gpus() if any(config["launcher"]["name"] == "local" for config, _, _ in studies) else []
    faults: dict[str, precheck.Unfit] = {}
    for config, _, _ in studies:
        try:
            check_here(config, gpus)
        except ConfigError as error:
            faults.setdefault(str(error), precheck.Unfit([], error)).studies.append(config["study"]["name"])
    unfit = {name for fault in faults.values() for name in fault.studies}
    rest = [(config, space) for config, space, _ in studies if config["study"]["name"] not in unfit]
    return [*faults.values(), *precheck.unfit(rest, lambda text: print(text, flush=True))]


def run(
    composed: DictConfig,
    overrides: Sequence[str],
    jobs: Sequence[tuple[schema.Sweep, dict[str, Any], dict[str, str]]] = (),
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
    from lstm_bench.sweep.validate import check_here, checked

    config, space, pinned = checked(composed, overrides)
    if config["kernel"].pop("predict", None):
        from lstm_bench.cuda import prediction

        prediction.of_study({**config, "dataset": dataset.resolve(config["dataset"]).config}, space)
        return
    if config["launcher"]["name"] == "ray":
        ray_cluster.check(schema.settled(config["launcher"]["address"]))
        gpus = []
    else:
        gpus = hardware.gpus()
    check_here(config, gpus)
    found = dataset.resolve(config["dataset"])
    config["dataset"] = found.config
    notice = None
    if found.notice:
        config["study"]["name"] += f"-{found.name}"
        notice = f"{found.notice} The study is named {config['study']['name']}."
    display = Display(settled_objective(config["study"]), config["train"]["epochs"])
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
