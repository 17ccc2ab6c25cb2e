"""One invocation on one study: opens what is needed, runs what is left, closes everything."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lstm_bench
from lstm_bench import config as schema
from lstm_bench import data, device, environment, errors, health, kernel, memory, record
from lstm_bench import space as spaces
from lstm_bench import study as studies
from lstm_bench.arms import Arms
from lstm_bench.candidate import Candidate
from lstm_bench.driver import Driver
from lstm_bench.errors import ConfigError, InterruptedByUser, StorageError
from lstm_bench.launcher import LocalLauncher
from lstm_bench.loop import Loop
from lstm_bench.mapping import SharedDataset
from lstm_bench.progress import Display, number, values
from lstm_bench.statistic import t_interval
from lstm_bench.tracking import open_tracking, store_uri


class Session:
    """A sweep on one study, from its header to its summary.

    Args:
      config: Resolved configuration, under the name that the study really has.
      space: Parsed search space.
      folder: `sweeps/<study>/`, locked by this process.
      gpus: The visible GPUs.
      display: What a person sees.
      source: Where the data was found.
    """

    def __init__(
        self,
        config: dict[str, Any],
        space: dict[str, spaces.Domain],
        folder: Path,
        gpus: list[device.Gpu],
        display: Display,
        source: str,
    ):
        self.config, self.space, self.folder = config, space, folder
        self.gpus, self.display, self.source = gpus, display, source
        self.slots = device.slots(config["launcher"]["workers"], gpus)
        self.backend = config["backend"]["name"]
        self.gpu = gpus[0].name if gpus else None
        self.launcher: LocalLauncher | None = None
        self._loaded: data.Dataset | None = None  # until the workers have it
        self._shared: SharedDataset | None = None
        self._task, self._baselines = "classification", dict[str, float]()  # of the data, once it is there
        self._shown = str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)

    def run(self) -> None:
        """Runs the study to its end.

        Raises:
          LstmBenchError: any expected fault; what was finished before is kept.
        """
        self._header()
        own_file = self.config["storage"]["url"] is None
        if own_file:
            studies.check_file(self.folder / "study.db")
        fresh = not (own_file and (self.folder / "study.db").exists())
        try:
            if fresh:
                self._launch()  # the workers import their framework while the driver reads the data
            self._loaded = data.load(self.config["dataset"])
            data.check_objective(self.config["study"], self._loaded.name, self._loaded.task)
            self._task, self._baselines = self._loaded.task, self._loaded.baselines
            facts = self._facts(self._loaded)
            self._share()
            layers = self._check_in_worker() if fresh else None
            study = studies.Study(self.config, self.space, self.folder, facts["sha256"])
            try:
                self._drive(study, facts, layers)
            finally:
                study.close()
        finally:
            if self.launcher:
                self.launcher.close()
            if self._shared:
                self._shared.close()

    def _header(self) -> None:
        config, settings = self.config, self.config["study"]
        slot, tracking, url = self.slots[0], config["tracking"], config["storage"]["url"]
        searched = "nothing: one configuration"
        if self.space:
            searched = (
                f"{settings['n_trials']} trials over {len(self.space)} dimensions, sampler {config['sampler']['name']}"
            )
            searched += (
                f", pruner {config['pruner']['name']}, {self._wanted()} after {config['train']['epochs']} epochs"
            )
        self.display.facts(
            f"{settings['name']}: {settings['description'] or config['model']['_target_']}",
            {
                "search": searched,
                "confirm": self._confirmed_how() if settings["replicates"] else "no",
                "data": f"{config['dataset']['name']} ({self.source})",
                "device": slot.device + (f" x {len(self.gpus)}" if len(self.gpus) > 1 else ""),
                "workers": f"{len(self.slots)} ({slot.share}), backend {self.backend}",
                "kernel": config["kernel"]["name"],
                "storage": schema.redact(url) if url else f"{self._shown}/study.db",
                "tracking": schema.redact(store_uri(tracking)) if tracking["name"] == "mlflow" else "none",
            },
        )

    def _wanted(self) -> str:
        settings = self.config["study"]
        return " and ".join(settings["objectives"] or [settings["objective"]])

    def _confirmed_how(self) -> str:
        settings = self.config["study"]
        best = f"the best {settings['confirm']} configurations, " if self.space and settings["confirm"] > 1 else ""
        return f"{best}{settings['replicates']} seeds on the test set"

    def _facts(self, dataset: data.Dataset) -> dict[str, Any]:
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
            "task": dataset.task,
            "n_outputs": dataset.n_classes,
            "baselines": dataset.baselines,
        }

    def _launch(self) -> None:
        settings = self.config["launcher"]
        recycling = settings["recycle_after"], settings["recycle_mib"]
        self._shared = SharedDataset()
        given = self.slots, self.backend, self.folder / "logs"
        # Machines may share a home, but not what was compiled for one of their processors.
        programs = memory.folder() / "xla" / re.sub(r"\W+", "-", device.cpu_name())
        deterministic = self.config["train"]["deterministic"]
        self.launcher = LocalLauncher(
            *given, *recycling, data_fd=self._shared.fd, programs=programs, deterministic=deterministic
        )
        self._share()

    def _share(self) -> None:
        """Gives the workers the data, once both are there; the driver keeps no copy."""
        if self._shared and self._loaded:
            self._shared.store(self._loaded, self.config["dataset"])
            self._loaded = None

    def _check_in_worker(self) -> list[str]:
        """Builds the model once in a worker, before the study is created; returns the family's recurrent layers."""
        assert self.launcher is not None
        target = self.config["model"]["_target_"]
        corners = [schema.replaced(self.config, corner) for corner in spaces.corners(self.space)]
        self.launcher.submit("check", {"kind": "check", "config": self.config, "corners": corners})
        while True:
            for event in self.launcher.events(0.5):
                if event.kind == "died":
                    said = Path(event.body["log"]).read_text(errors="replace").strip().splitlines()[-1:]
                    raise StorageError(f"a worker died while it started (exit {event.body['exit']}): {' '.join(said)}")
                if event.kind == "ready" and self.gpu and event.body["seen"] == "cpu":
                    unseen, self.gpu = self.gpu, None
                    self.display.box(
                        f"{unseen} is there, but backend={self.backend} does not see it: this runs on the CPU. Install the"
                        " backend's GPU build, or set CUDA_VISIBLE_DEVICES= to run on the CPU knowingly."
                    )
                if event.kind == "result":
                    if event.body["state"] == "FAULT":
                        raise getattr(errors, event.body["error"], ConfigError)(event.body["detail"])
                    if event.body["state"] != "COMPLETE":
                        raise ConfigError(f"model._target_={target}: cannot be built ({event.body['detail']})")
                    return list(event.body["layers"])

    def _drive(self, study: studies.Study, facts: Mapping[str, Any], layers: list[str] | None) -> None:
        repaired = study.repair()
        if repaired:
            self.display.line(f"{repaired} trials that a dead driver left running are queued again", "yellow")
        if study.get("layers") is None:
            if layers is None:  # the driver that made this study died before it had written them down
                self._launch()
                layers = self._check_in_worker()
            study.set("layers", layers)
        layers = study.get("layers")
        kernel.require(self.config["kernel"]["name"], self.backend, layers, self.gpu)
        unavailable = {
            name: kernel.unavailable(name, self.backend, layers, self.gpu) for name in kernel.OF_BACKEND[self.backend]
        }
        tracking = open_tracking(self.config["tracking"], experiment=self.config["study"]["name"])
        loop = Loop(self.launcher, self.display, self.config["study"]["trial_timeout"])
        arms = Arms(
            self.config,
            self.space,
            study,
            loop,
            unavailable,
            facts["n_train"],
            facts["timesteps"],
            memory=memory.Memory(memory.folder() / "kernels.json") if self.config["kernel"]["remember"] else None,
            about=self._measured_on(facts),
            workers=len(self.slots),
            gpu=self.gpu is not None,
        )
        driver = Driver(self.config, self.space, study, loop, arms, tracking, self.display, self.folder)
        work = self._work_left(driver)
        if not work and not study.get("unsettled"):
            for name in driver.mend():
                self.display.line(f"{name} was not what the database says: written anew", "yellow")
            self.display.line("nothing to do: the study is complete")
            self._summary(driver)
            return
        if work and self.launcher is None:
            self._launch()
        loop.launcher = self.launcher
        if not study.get("unsettled"):
            study.set(
                "unsettled", True
            )  # until records and MLflow agree with the database: a killed driver leaves it so
        tracking.check_store()
        seen = self._write_down(driver, facts)
        loop.later(lambda: self._start_tracking(driver, facts, seen))
        status = "FAILED"
        try:
            if work:
                decided = arms.decide()
                if self.config["kernel"]["name"] == "auto":
                    self.display.line(f"  kernel    auto -> {decided}")
                driver.search()
            loop.catch_up()
            self._conclude(driver)
            status = "FINISHED"
        except (InterruptedByUser, KeyboardInterrupt):
            status = "KILLED"
            raise
        finally:
            # Whatever ended the session, what is known by now is written down in order.
            driver.rewrite()
            tracking.finish(status)
            if status == "FINISHED" and not tracking.warning:
                study.set("unsettled", False)
            if tracking.warning:
                self.display.box(tracking.warning)

    def _measured_on(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What a kernel's throughput depends on besides the configuration."""
        known, slot = environment.versions(), self.slots[0]
        return {
            "versions": {"lstm_bench": lstm_bench.__version__}
            | {name: known.get(name) for name in ("keras", self.backend)},
            "device": slot.device if self.gpu else device.cpu_name(),
            "share": slot.share,
            "cores": len(slot.cores),
            "data": [facts[name] for name in ("timesteps", "features", "n_classes")]
            + [facts["task"]] * (facts["task"] != "classification"),
            **({"deterministic": True} if self.config["train"]["deterministic"] else {}),  # often slower
        }

    def _work_left(self, driver: Driver) -> bool:
        counts = driver.study.counts()
        if counts["queued"] or counts["left"]:
            return True
        pick = driver.pick()
        if pick is None:
            return False
        return any(driver.missing_replicates(candidate.digest) for candidate in driver.candidates()) or (
            self._probes() and driver.study.get(f"probe/{pick.digest}") is None
        )

    def _probes(self) -> bool:
        return bool(self.config["kernel"]["probe"] and self.config["study"]["replicates"])

    def _write_down(self, driver: Driver, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The records as they are at the start of this session; returns the environment."""
        config = schema.redacted_config(self.config)
        seen = environment.collect(self.slots, self.gpus, dict(facts))
        record.write_yaml(self.folder / "config.yaml", config)
        record.write_json(self.folder / "environment.json", seen)
        driver.rewrite()
        return seen

    def _start_tracking(self, driver: Driver, facts: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """Opens the parent run. MLflow's import takes seconds: the first task is given out before."""
        settings = self.config["study"]
        driver.tracking.start(
            {
                "id": driver.study.get("id"),
                "name": settings["name"],
                "description": settings["description"],
                "params": schema.flatten(schema.redacted_config(self.config)),
                "tags": {
                    "backend": self.backend,
                    "device": self.slots[0].device,
                    "mlflow.source.git.commit": (seen["git"] or {}).get("commit") or "unknown",
                },
                "dataset": facts,
                "environment": seen,
                "objective": settings["objective"],
                "direction": settings["direction"],
                "searched": list(self.space),
            }
        )
        driver.track_all()

    def _conclude(self, driver: Driver) -> None:
        """Confirms the best, probes the kernels of the pick, hands figures and model to MLflow."""
        candidates = driver.candidates()
        if not candidates:
            self.display.line("no trial is complete: there is no winner to confirm", "yellow")
            return
        driver.tracking.log_confirmed([candidate.digest for candidate in candidates])
        if any(driver.missing_replicates(candidate.digest) for candidate in candidates):
            driver.confirm(candidates)
        pick = driver.pick()
        assert pick is not None
        driver.place(pick)
        if self._probes():
            driver.tracking.log_kernels(driver.arms.probe(pick.params, pick.digest))
        driver.rewrite()
        if driver.tracking.uri and not driver.tracking.warning:
            from lstm_bench.report import study_figures  # pandas and matplotlib, for MLflow alone

            driver.tracking.log_figures(study_figures(self.folder, self.folder / "figures"))
            if (self.folder / "model" / "mlflow").is_dir():
                driver.tracking.log_model(self.folder / "model" / "mlflow", self.config["study"]["name"])
        driver.tracking.log_summary(*self._summary(driver))

    def _summary(self, driver: Driver) -> tuple[dict[str, Any], dict[str, Any]]:
        """Prints how the study stands and what to do next; returns it as metrics and tags."""
        counts, best, pick = driver.study.counts(), driver.study.best(), driver.pick()
        settings = self.config["study"]
        metrics: dict[str, Any] = {f"trials_{key}": counts[key] for key in ("complete", "pruned", "failed")}
        tags: dict[str, Any] = {}
        facts: dict[str, Any] = {}
        if self.space:
            facts["trials"] = ", ".join(f"{counts[key]} {key}" for key in ("complete", "pruned", "failed"))
        if best is not None:
            value, objective = best.values[0], settings["objective"]
            facts["best trial"] = f"{best.number}: {objective} {number(value)} with {values(best.params)}"
            metrics[objective], tags["best_trial"] = value, best.number
            if settings["objectives"]:
                front = driver.study.front()
                facts["front"] = front_words(
                    settings["objectives"], [trial.values for trial in front], counts["complete"]
                )
                metrics["front"] = len(front)
        rows = driver.replicates(pick.digest) if pick is not None else []
        complete = [row for row in rows if row["state"] == "COMPLETE"]
        if pick is not None and pick.trial is not None:
            tags["winner"], tags["winning_trial"] = values(pick.params), pick.trial
            n = len(driver.candidates())
            if n > 1 and complete:
                facts["picked"] = picked(pick.trial, n, settings["objective"], complete) + f": {values(pick.params)}"
        if complete:
            metric = "test_mse" if self._task == "regression" else "test_accuracy"
            facts["confirmed"], confirmed = confirmation([row[metric] for row in complete], metric)
            if self._task == "tagging":  # what its baseline is held against
                words, of_loss = confirmation([row["test_loss"] for row in complete], "test_loss")
                facts["confirmed"], confirmed = f"{facts['confirmed']}; {words}", confirmed | of_loss
            metrics |= confirmed
            speed = statistics.median(row["train_samples_per_s"] for row in complete)
            metrics |= {"n_weights": complete[0]["n_weights"], "train_samples_per_s": speed}
            facts["weights"] = f"{complete[0]['n_weights']:,}"
            facts["training"] = (
                f"{speed:,.0f} samples/s, kernel {complete[0]['kernel_ran']}, {complete[0]['device_share']}"
            )
        facts |= self._health(driver, pick, complete)
        if len(complete) < len(rows):
            facts["failed seeds"] = f"{len(rows) - len(complete)} of {len(rows)}"
        for name, loss in self._baselines.items():
            facts["baseline"] = f"{name}: {'MSE' if self._task == 'regression' else 'loss'} {loss:.3g}"
        facts["records"] = f"{self._shown}/"
        facts["next"] = "python -m lstm_bench.ui      python -m lstm_bench.report"
        self.display.facts(f"{settings['name']}: done", facts)
        return metrics, tags

    def _health(
        self, driver: Driver, pick: Candidate | None, complete: Sequence[Mapping[str, Any]]
    ) -> dict[str, list[str]]:
        """What speaks against the search, under one heading; nothing where nothing was searched or nothing is complete."""
        settings = self.config["study"]
        if pick is None or not self.space:
            return {}
        found = health.sentences(
            self.space,
            health.ended(driver.study.rows(), settings["objective"]),
            winner=pick.trial,
            params=pick.params,
            seeds=[row[settings["objective"]] for row in complete],
            maximize=settings["direction"] == "maximize",
            several=bool(settings["objectives"]),
        )
        return {"health": found or ["nothing speaks against the search"]}


def front_words(objectives: Sequence[str], points: Sequence[Sequence[float]], complete: int) -> str:
    """The front of several objectives in words: how many trials, and the range of each objective among them.

    Args:
      objectives: Their names.
      points: Values of the trials of the front, in the order of `objectives`.
      complete: Number of complete trials.
    """
    found = zip(objectives, zip(*points, strict=True), strict=True)
    ranges = [f"{name} {min(values):,.5g} to {max(values):,.5g}" for name, values in found]
    return f"{len(points)} of {complete} trials: {', '.join(ranges)}"


def picked(trial: int, n: int, objective: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Which of `n` candidates was picked, in words: by the mean objective of its finished replicates `rows`."""
    mean = statistics.fmean(row[objective] for row in rows)
    return f"trial {trial} of {n} candidates by mean {objective} {mean:.4f} over {len(rows)} seeds"


def confirmation(scores: Sequence[float], metric: str = "test_accuracy") -> tuple[str, dict[str, float]]:
    """A confirmed test score in words and as metrics: mean, 95 % t interval, n.

    Args:
      scores: Of the seeds.
      metric: What they are: test_accuracy, fractions; test_mse or test_loss.
    """
    mean, half_width, n = t_interval(scores)
    metrics: dict[str, float] = {metric: mean, f"{metric}_n": n}
    if metric == "test_accuracy":
        said, width = f"test accuracy {100 * mean:.2f} %", f"{100 * half_width:.2f}"
    else:
        said, width = f"{metric.replace('_mse', '_MSE').replace('_', ' ')} {number(mean)}", number(half_width)
    if n < 2:
        return f"{said} (n = 1: no interval)", metrics
    metrics |= {f"{metric}_low": mean - half_width, f"{metric}_high": mean + half_width}
    return f"{said} +- {width} (95 % interval, n = {n})", metrics
