"""The main command: `python -m lstm_bench.sweep +study=NAME` composes, checks, searches, confirms and records."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_bench import errors
from lstm_bench.errors import ConfigError, LstmBenchError, nearest

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from lstm_bench.driver import Driver
    from lstm_bench.study import Study

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


def _from_hydra(error: Exception, conf: Path, argv: Sequence[str]) -> int:
    """Says Hydra's composition error in one line, with the nearest valid names."""
    from lstm_bench.config import GROUPS, paths

    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    missing = re.search(r"Could not find '(?:\w+/)?([^'/]+)/([^'/]+)'", text)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if missing:
        group, name = missing.groups()
        folders = [conf, *(Path(d) for d in _config_dirs(argv))]
        choices = sorted({choice for folder in folders for choice in _choices(folder, group)})
        line = f"{group}={name}: there is no such {group}. {nearest(name, choices)}"
        if choices and "did you mean" in line:
            line += f" (valid: {', '.join(choices)})"
    elif unknown:
        name = unknown.group(1)
        where = {*GROUPS, *paths()}
        line = f"{name}: there is no such option. {nearest(name, where)}"
    print(f"error: {line}", file=sys.stderr)
    return errors.BUG


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

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="sweep")
    def job(composed: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        if codes and codes[-1] == errors.INTERRUPTED:
            return  # a Ctrl-C in one study of several ends them all
        codes.append(run(composed, list(HydraConfig.get().overrides.task)))

    with _scratch() as folder:
        OmegaConf.register_new_resolver("scratch_dir", lambda: folder, replace=True)
        before, sys.argv = sys.argv, [sys.argv[0], *argv]
        try:
            job()
        except (HydraException, OmegaConfBaseException) as error:
            return _from_hydra(error, conf_dir(), argv)
        finally:
            sys.argv = before
    return errors.INTERRUPTED if errors.INTERRUPTED in codes else max(codes, default=errors.DONE)


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
        return _say(_interrupted())


def _interrupted() -> LstmBenchError:
    from lstm_bench.driver import InterruptedByUser

    return InterruptedByUser("interrupted", remedy="The same command goes on from here.")


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
        spaces.grid(space)
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
    gpu = gpus[0].name if gpus else None
    if family.is_own(config["model"]["_target_"]):
        layers = family.recurrent_layers(family.find(config["model"]["_target_"]))
        kernel.require(config["kernel"]["name"], backend, layers, gpu)
    _require_backend(backend)
    found = data.resolve(config["dataset"])
    config["dataset"] = found.config
    if found.notice:
        config["study"]["name"] += f"-{found.name}"
    name = config["study"]["name"]
    folder = record.study_dir(name)
    slots = device.slots(config["launcher"]["workers"], gpus)
    display = Display(config["study"]["objective"], config["train"]["epochs"])
    if found.notice:
        display.box(f"{found.notice} This study is named {name}.")
    for path, override in pinned.items():
        display.line(f"{path} is fixed by {override}: it is not searched", "yellow")
    created = not folder.exists()
    try:
        with study.lock(folder), display:
            try:
                code = _Session(config, space, folder, slots, gpus, display, found.source).run()
            except (ConfigError, errors.DataError):
                if created and not (folder / "study.db").exists():
                    shutil.rmtree(folder, ignore_errors=True)
                raise
    finally:
        if found.notice:
            display.box(f"{found.notice} This study is named {name}.")
    return code


def _require_backend(backend: str) -> None:
    import importlib.util

    if importlib.util.find_spec(backend) is None:
        raise ConfigError(
            f"backend={backend}: {backend} is not installed", remedy=f"pip install 'lstm-bench[{backend}]', or another backend."
        )


class _Session:
    """One invocation on one study: opens what is needed, runs what is left, closes everything."""

    def __init__(
        self,
        config: dict[str, Any],
        space: dict[str, Any],
        folder: Path,
        slots: Sequence[Any],
        gpus: Sequence[Any],
        display: Any,
        source: str,
    ):
        self.config, self.space, self.folder = config, space, folder
        self.slots, self.gpus, self.display, self.source = slots, gpus, display, source
        self.gpu = gpus[0].name if gpus else None
        self.launcher: Any = None

    def run(self) -> int:
        from lstm_bench import data, study

        self._header()
        url = self.config["storage"]["url"]
        if url is None:
            study.check_file(self.folder / "study.db")
        fresh = url is None and not (self.folder / "study.db").exists()
        try:
            if fresh:
                self._launch()  # workers import their framework while the driver reads the data
            dataset = data.load(self.config["dataset"])
            facts = self._facts(dataset)
            del dataset
            layers = self._check_in_worker() if fresh else None
            opened = study.Study(self.config, self.space, self.folder, facts["sha256"])
            try:
                return self._drive(opened, facts, layers)
            finally:
                opened.close()
        finally:
            if self.launcher:
                self.launcher.close()

    def _header(self) -> None:
        config, settings = self.config, self.config["study"]
        slot = self.slots[0]
        searched = f"{settings['n_trials']} trials over {len(self.space)} dimensions" if self.space else "nothing to search"
        storage, tracking = config["storage"]["url"], config["tracking"]
        from lstm_bench.config import redacted
        from lstm_bench.tracking import store_uri

        where = self.folder.relative_to(Path.cwd()) if self.folder.is_relative_to(Path.cwd()) else self.folder
        self.display.facts(
            f"{settings['name']}: {settings['description'] or config['model']['_target_']}",
            {
                "search": f"{searched}, sampler {config['sampler']['name']}, pruner {config['pruner']['name']},"
                f" objective {settings['objective']} after {config['train']['epochs']} epochs",
                "confirm": f"{settings['replicates']} seeds on the test set",
                "data": f"{config['dataset']['name']} ({self.source})",
                "device": slot.device + (f" x {len(self.gpus)}" if len(self.gpus) > 1 else ""),
                "workers": f"{len(self.slots)} ({slot.share}), backend {config['backend']['name']}",
                "kernel": config["kernel"]["name"],
                "storage": redacted(storage) if storage else f"{where}/study.db",
                "tracking": redacted(store_uri(tracking)) if tracking["name"] == "mlflow" else "none",
            },
        )

    def _facts(self, dataset: Any) -> dict[str, Any]:
        timesteps, features = dataset.input_shape
        return {
            "name": dataset.name,
            "sha256": dataset.sha256,
            "source": self.source,
            "n_train": len(dataset.x_train),
            "n_validation": len(dataset.x_validation),
            "n_test": len(dataset.x_test),
            "timesteps": timesteps,
            "features": features,
            "n_classes": dataset.n_classes,
        }

    def _launch(self) -> None:
        from lstm_bench.launcher import LocalLauncher

        settings = self.config["launcher"]
        self.launcher = LocalLauncher(
            self.slots,
            self.config["backend"]["name"],
            self.folder / "logs",
            settings["recycle_after"],
            settings["recycle_mib"],
        )

    def _check_in_worker(self) -> list[str]:
        """Builds the model once in a worker, before the study is created; returns the family's recurrent layers."""
        from lstm_bench import config as schema
        from lstm_bench import space as spaces

        corners = [schema.replaced(self.config, corner) for corner in spaces.corners(self.space)]
        self.launcher.submit("check", {"kind": "check", "config": self.config, "corners": corners})
        while True:
            for event in self.launcher.events(0.5):
                if event.kind == "died":
                    tail = Path(event.body["log"]).read_text(errors="replace").strip().splitlines()[-1:]
                    raise errors.StorageError(
                        f"the first worker died (exit {event.body['exit']}): {' '.join(tail)}",
                        remedy=f"See {event.body['log']}.",
                    )
                if event.kind == "ready" and self.gpu and event.body["seen"] == "cpu":
                    self.display.box(
                        f"{self.gpu} is there, but backend={self.config['backend']['name']} does not see it: this runs on the CPU."
                        " Install the backend's GPU build (extra cuda), or set CUDA_VISIBLE_DEVICES= to silence this."
                    )
                if event.kind == "result":
                    if event.body["state"] == "FAULT":
                        raise getattr(errors, event.body["error"], ConfigError)(event.body["detail"])
                    if event.body["state"] != "COMPLETE":
                        raise ConfigError(
                            f"model._target_={self.config['model']['_target_']}: cannot be built ({event.body['detail']})"
                        )
                    return list(event.body["layers"])

    def _drive(self, opened: Study, facts: dict[str, Any], layers: list[str] | None) -> int:
        from lstm_bench import config as schema
        from lstm_bench import environment, kernel, record
        from lstm_bench import study as studies
        from lstm_bench.driver import Driver, InterruptedByUser
        from lstm_bench.tracking import open_tracking

        repaired = opened.repair()
        if repaired:
            self.display.line(f"{repaired} trials of a driver that died are queued again", "yellow")
        if layers is not None:
            opened.set("layers", layers)
        layers = opened.get("layers") or []
        backend = self.config["backend"]["name"]
        kernel.require(self.config["kernel"]["name"], backend, layers, self.gpu)
        arms = {name: kernel.unavailable(name, backend, layers, self.gpu) for name in kernel.OF_BACKEND[backend]}
        tracking = open_tracking(self.config["tracking"], experiment=self.config["study"]["name"])
        driver = Driver(
            self.config, self.space, opened, None, tracking, self.display, self.folder, arms, facts  # type: ignore[arg-type]
        )
        winner = driver.winner()
        digest = driver.digest(winner) if winner is not None else None
        counts = opened.counts()
        work = counts["queued"] + counts["left"]
        unconfirmed = digest is None or bool(driver.missing_replicates(digest))
        unprobed = self._wants_probe() and digest is not None and opened.get(f"probe/{digest}") is None
        unfinished = work or (unconfirmed and digest is not None) or unprobed
        if not unfinished and not opened.get("untracked"):
            self.display.line("nothing to do: the study is complete")
            self._summary(driver, opened)
            return errors.DONE
        if self.launcher is None and unfinished:
            self._launch()
        driver.launcher = self.launcher
        seen = environment.collect(self.slots, self.gpus, facts)
        record.write_yaml(self.folder / "config.yaml", schema.redacted_config(self.config))
        record.write_json(self.folder / "environment.json", seen)
        driver.rewrite(digest)
        with studies.guarded(opened.where):
            tracking.start(
                {
                    "id": opened.get("id"),
                    "name": self.config["study"]["name"],
                    "description": self.config["study"]["description"],
                    "params": schema.flatten(schema.redacted_config(self.config)),
                    "tags": {"backend": backend, "device": self.slots[0].device},
                    "dataset": facts,
                    "environment": seen,
                    "objective": self.config["study"]["objective"],
                    "direction": self.config["study"]["direction"],
                    "searched": list(self.space),
                }
            )
        driver.track_all(winner, digest)
        status = "FAILED"
        try:
            self._work(driver, opened)
            status = "FINISHED"
            return errors.DONE
        except (InterruptedByUser, KeyboardInterrupt):
            status = "KILLED"
            raise
        finally:
            # What is known now is written down in order, whatever ended the session.
            winner = driver.winner()
            driver.rewrite(driver.digest(winner) if winner is not None else None)
            tracking.finish(status)
            if bool(opened.get("untracked")) != bool(tracking.warning):
                opened.set("untracked", bool(tracking.warning))
            if tracking.warning:
                self.display.box(tracking.warning)

    def _wants_probe(self) -> bool:
        return bool(self.config["kernel"]["probe"] and self.config["study"]["replicates"])

    def _work(self, driver: Driver, opened: Study) -> None:
        counts = opened.counts()
        if self.launcher and (counts["queued"] + counts["left"] or self.config["study"]["replicates"]):
            driver.decide_kernels()
        driver.search()
        winner = driver.winner()
        if winner is None:
            self.display.line("no trial is complete: there is no winner to confirm", "yellow")
            return
        digest = driver.digest(winner)
        driver.confirm(winner, digest)
        if self._wants_probe():
            driver.tracking.log_kernels(driver.probe(winner, digest))
        driver.rewrite(digest)
        figures = self._figures()
        driver.tracking.log_figures(figures)
        if (self.folder / "model" / "mlflow").is_dir():
            driver.tracking.log_model(self.folder / "model" / "mlflow", self.config["study"]["name"])
        driver.tracking.log_summary(*self._summary(driver, opened))

    def _figures(self) -> list[Path]:
        from lstm_bench.report import study_figures

        return study_figures(self.folder, self.folder / "figures")

    def _summary(self, driver: Driver, opened: Study) -> tuple[dict[str, Any], dict[str, Any]]:
        """Prints how the study stands and what to do next; returns it as metrics and tags."""
        from lstm_bench.progress import values

        counts, best, winner = opened.counts(), opened.best(), driver.winner()
        objective = self.config["study"]["objective"]
        metrics: dict[str, Any] = {f"trials_{key}": counts[key] for key in ("complete", "pruned", "failed")}
        tags: dict[str, Any] = {}
        facts = {"trials": f"{counts['complete']} complete, {counts['pruned']} pruned, {counts['failed']} failed"}
        if best is not None:
            facts["best trial"] = f"{best.number}: {objective} {best.value:.4f} with {values(best.params)}"
            metrics[f"best_{objective}"], tags["best_trial"] = best.value, best.number
            tags["winner"] = values(best.params)
        rows = driver.replicates(driver.digest(winner)) if winner is not None else []
        scores = [row["test_accuracy"] for row in rows if row["state"] == "COMPLETE"]
        if scores:
            facts["confirmed"], confirmed = confirmation(scores)
            metrics.update(confirmed)
            speeds = [row["train_samples_per_s"] for row in rows if row.get("train_samples_per_s")]
            metrics["n_weights"] = rows[0]["n_weights"]
            facts["weights"] = f"{rows[0]['n_weights']:,}"
            if speeds:
                metrics["train_samples_per_s"] = statistics.median(speeds)
                facts["training"] = f"{statistics.median(speeds):,.0f} samples/s, kernel {rows[0]['kernel_ran']}"
        where = self.folder.relative_to(Path.cwd()) if self.folder.is_relative_to(Path.cwd()) else self.folder
        facts["records"] = f"{where}/"
        facts["next"] = "python -m lstm_bench.ui      python -m lstm_bench.report"
        self.display.facts(f"{self.config['study']['name']}: done", facts)
        return metrics, tags


def confirmation(scores: Sequence[float]) -> tuple[str, dict[str, float]]:
    """The confirmed test accuracy in words and as metrics: mean, 95 % t interval, n.

    Args:
      scores: Test accuracies of the seeds, fractions.
    """
    from lstm_bench.statistic import t_interval

    estimate = t_interval(scores)
    metrics: dict[str, float] = {"test_accuracy": estimate.mean, "test_accuracy_n": estimate.n}
    if estimate.n < 2:
        return f"test accuracy {100 * estimate.mean:.2f} % (n = 1: no interval)", metrics
    metrics |= {"test_accuracy_low": estimate.mean - estimate.half_width}
    metrics |= {"test_accuracy_high": estimate.mean + estimate.half_width}
    half = 100 * estimate.half_width
    return f"test accuracy {100 * estimate.mean:.2f} % +- {half:.2f} (95 % interval, n = {estimate.n})", metrics



if __name__ == "__main__":
    sys.exit(main())
