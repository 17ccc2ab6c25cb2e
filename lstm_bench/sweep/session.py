"""One invocation on one study: opens what is needed, runs what is left, closes everything."""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lstm_bench
from lstm_bench.core import busy, environment, errors, fileio, hardware, numerics, safe_load, vocabulary
from lstm_bench.core import config as schema
from lstm_bench.core import user_code as sources
from lstm_bench.core.cache import cache_folder
from lstm_bench.core.console import Display
from lstm_bench.core.errors import InterruptedByUser, NothingCameOutError, StorageError
from lstm_bench.core.formatting import number, values
from lstm_bench.data import classes, task
from lstm_bench.data import dataset as data
from lstm_bench.data.shared_memory import SharedDataset
from lstm_bench.launcher.event_loop import Loop
from lstm_bench.launcher.local import LocalLauncher
from lstm_bench.launcher.ray_launcher import RayLauncher
from lstm_bench.model import kernel, signature
from lstm_bench.study import diagnostics
from lstm_bench.study import search_space as spaces
from lstm_bench.study.candidates import Candidate
from lstm_bench.study.summary import confirmation, nothing, outcome
from lstm_bench.sweep import backfill, kernel_cache, precheck
from lstm_bench.sweep.driver import Driver
from lstm_bench.sweep.kernel_choice import Arms
from lstm_bench.sweep.store import database, postgres
from lstm_bench.sweep.store import trials as studies
from lstm_bench.tracking.background import Observer
from lstm_bench.tracking.client import open_tracking, store_uri

TRACEBACK = "logs/traceback.txt"  # in a study's folder: what a user's family raised


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
        gpus: list[hardware.Gpu],
        display: Display,
        source: str,
    ):
        self.config, self.space, self.folder = config, space, folder
        self.gpus, self.display, self.source = gpus, display, source
        self.slots = hardware.slots(config["launcher"]["workers"], gpus)
        self.backend = config["backend"]["name"]
        self.gpu = gpus[0].name if gpus else None
        self.launcher: LocalLauncher | RayLauncher | None = None
        self._on_ray = config["launcher"]["name"] == "ray"
        self._ray: RayLauncher | None = None  # the launcher, if it is that
        self._loaded: data.Dataset | None = None  # until the workers have it
        self._shared: SharedDataset | None = None
        self._give: Callable[[data.Dataset, Mapping[str, Any]], None] | None = None  # to the workers
        self._task, self._baselines = task.CLASSIFICATION, dict[str, float]()  # of the data, once it is there
        target = str(config["model"]["_target_"])
        self._code = None if signature.is_own(target) else sources.of(target)
        self._guarded = {"target": target, "files": self._code.files} if self._code and self._code.files else None
        self._variables = numerics.observed(os.environ)
        self._shown = str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)

    def run(self) -> None:
        """Runs the study to its end.

        Raises:
          LstmBenchError: any expected fault; what was finished before is kept.
        """
        busy.say, busy.interrupted = lambda text: self.display.line(text, "yellow"), lambda: False
        self._header()
        (self.folder / TRACEBACK).unlink(missing_ok=True)
        if self._code and self._code.unseen:
            names = ", ".join(self._code.unseen)
            self.display.line(f"no source of {names} was found: that it has changed would not be noticed", "yellow")
        own_file = self.config["storage"]["url"] is None
        if own_file:
            database.check_file(self.folder / "study.db")
        fresh = not (own_file and (self.folder / "study.db").exists())
        try:
            if fresh:
                self._launch()  # the workers import their framework while the driver reads the data
            self._loaded = data.load(self.config["dataset"])
            found = self._loaded
            labels = found.y_train, found.y_validation
            task.check_objective(self.config["study"], found.name, found.kind, *labels, n_outputs=found.n_classes)
            for note in found.notes:
                self.display.line(f"  data      {note}")
            if settled := task.settle_objective(self.config["study"], found.kind, *labels, found.n_classes):
                self.display.line(f"  objective {settled}")
                self.display.objective = self.config["study"]["objective"]
            weights = self.config["train"]["class_weight"]
            classes.weights(weights, found.kind, found.y_train, found.n_classes, found.classes)
            self._task, self._baselines = found.kind, found.baselines
            self.display.measure = found.kind.measure.column
            facts = self._facts(self._loaded)
            self._share()
            if fresh:
                self._meet()
            layers = self._check_in_worker() if fresh else None
            made = {"code": self._code.record() if self._code else None, "variables": self._variables}
            study = postgres.opened(self.config, self.space, self.folder, facts["sha256"], self.display.line, made)
            try:
                self._say_learned(study.learned)
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
            searched += f", pruner {config['pruner']['name']}, {self._wanted()} {self._which_epoch()}"
        self.display.facts(
            f"{settings['name']}: {settings['description'] or config['model']['_target_']}",
            {
                "search": searched,
                "confirm": self._confirmed_how() if settings["replicates"] else "no",
                "data": f"{config['dataset']['name']} ({self.source})",
                "device": slot.device + (f" x {len(self.gpus)}" if len(self.gpus) > 1 else ""),
                "workers": f"{len(self.slots)} ({slot.share}), backend {self.backend}",
                **(self._asked_of_ray() if self._on_ray else {}),
                "kernel": config["kernel"]["name"],
                "storage": (schema.redact(url) if url else f"{self._shown}/study.db")
                + (", shared with other drivers" if settings["shared"] else ""),
                "tracking": schema.redact(store_uri(tracking)) if tracking["name"] == "mlflow" else "none",
            },
        )

    def _say_learned(self, keys: Sequence[str]) -> None:
        """What an older version had not written down, and is held against every session from now on."""
        if "code" in keys and self._guarded:
            files = ", ".join(self._guarded["files"])
            self.display.line(
                f"the code of {files} was not recorded: what it is now is, for every session to come", "yellow"
            )
        if "variables" in keys and self._variables:
            set_to = ", ".join(f"{name}={value}" for name, value in self._variables.items())
            self.display.line(f"variables were not recorded: {set_to} is, for every session to come", "yellow")

    def _asked_of_ray(self) -> dict[str, str]:
        asked = self.config["launcher"]
        each = f"{asked['cpus_per_trial']:g} CPU and {asked['gpus_per_trial']} GPU each"
        return {
            "device": f"a Ray cluster ({asked['address']})",
            "workers": f"{asked['workers']}, {each}, backend {self.backend}",
        }

    def _wanted(self) -> str:
        settings = self.config["study"]
        return " and ".join(settings["objectives"] or [settings["objective"]])

    def _which_epoch(self) -> str:
        settings = self.config["train"]
        if settings["patience"] is None:
            return f"after {settings['epochs']} epochs"
        return f"of the best epoch, up to {settings['epochs']}, {settings['patience']} without a better one end it"

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
            "trivial": dataset.kind.trivial(dataset.y_train, dataset.y_test),
            **({"classes": list(dataset.classes)} if dataset.classes else {}),
            **({"notes": list(dataset.notes)} if dataset.notes else {}),
        }

    def _launch(self) -> None:
        settings = self.config["launcher"]
        if self._on_ray:
            deterministic = self.config["train"]["deterministic"]
            given = settings, self.backend, self.folder / "logs"
            self.launcher = self._ray = RayLauncher(
                *given, self.display.line, deterministic=deterministic, code=self._guarded
            )
            self._give = self._ray.share
            self._share()
            return
        recycling = settings["recycle_after"], settings["recycle_mib"]
        self._shared = SharedDataset()
        self._give = self._shared.store
        given = self.slots, self.backend, self.folder / "logs"
        # Machines may share a home, but not what was compiled for one of their processors.
        programs = cache_folder() / "xla" / re.sub(r"\W+", "-", hardware.cpu_name())
        deterministic = self.config["train"]["deterministic"]
        self.launcher = LocalLauncher(
            *given,
            *recycling,
            data_fd=self._shared.fd,
            programs=programs,
            deterministic=deterministic,
            code=self._guarded,
        )
        self._share()

    def _share(self) -> None:
        """Gives the workers the data, once both are there; the driver keeps no copy."""
        if self._give and self._loaded:
            self._give(self._loaded, self.config["dataset"])
            self._loaded = None

    def _meet(self) -> None:
        """Learns what a cluster's workers run on: here that was known before."""
        if self._ray:
            self._ray.meet()
            self.slots, self.gpus = self._ray.slots, self._ray.gpus
            self.gpu = self.slots[0].gpu
            nodes, slot = self._ray.about()["nodes"], self.slots[0]
            where = ", ".join(f"{n} on {name}" for name, n in nodes.items())
            self.display.line(f"  ray       workers: {where}; {slot.device} ({slot.share})")

    def _check_in_worker(self) -> list[str]:
        """Builds the model once in a worker, before the study is created; returns the family's recurrent layers."""
        assert self.launcher is not None
        self.launcher.submit("check", precheck.task(self.config, self.space))
        while True:
            for event in self.launcher.events(0.5):
                if event.kind == "died":
                    if event.body.get("why"):
                        raise StorageError(f"a worker died while it started {event.body['why']}")
                    said = Path(event.body["log"]).read_text(errors="replace").strip().splitlines()[-1:]
                    raise StorageError(f"a worker died while it started (exit {event.body['exit']}): {' '.join(said)}")
                if event.kind == "ready" and self.gpu and event.body["seen"] == "cpu":
                    unseen, self.gpu = self.gpu, None
                    self.display.box(
                        f"{unseen} is there, but backend={self.backend} does not see it: this runs on the CPU. Install the"
                        " backend's GPU build, or set CUDA_VISIBLE_DEVICES= to run on the CPU knowingly."
                    )
                if event.kind == "result":
                    traced = self._keep_traceback(event.body.get("traceback"))
                    if fault := precheck.fault(self.config, event.body, traced):
                        raise fault
                    return list(event.body["layers"])

    def _keep_traceback(self, text: str | None) -> str:
        """Writes what a user's function raised to a file; names it, in words that end a line."""
        file = self.folder / TRACEBACK
        if text is None:
            return ""
        fileio.write_text(file, errors.redact(text))
        return f"; the traceback is in {self._shown}/{TRACEBACK}"

    def _drive(self, study: studies.Study, facts: Mapping[str, Any], layers: list[str] | None) -> None:
        if recovered := study.recover():
            self.display.line(
                f"results that an interrupted session could not write, written now: {recovered}", "yellow"
            )
        repaired = study.repair()
        if repaired:
            self.display.line(f"{repaired} trials that a dead driver left running are queued again", "yellow")
        if study.get("layers") is None:
            if layers is None:  # the driver that made this study died before it had written them down
                self._launch()
                self._meet()
                layers = self._check_in_worker()
            study.set("layers", layers)
        layers = study.get("layers")
        loop = Loop(self.launcher, self.display, self.config["study"]["trial_timeout"])
        busy.interrupted = loop.interrupted
        if isinstance(study, postgres.ServedStudy):
            study.interrupted = loop.interrupted
        tracking = self._observer(loop)
        driver = self._driver(study, loop, tracking, facts, layers)
        work = self._work_left(driver)
        if not work and not study.get("unsettled"):
            for name in driver.mend():
                self.display.line(f"{name} was not what the database says: written anew", "yellow")
            driver.check_failures()
            nothing_came = self._nothing(driver)
            over = "the study has ended" if nothing_came else "the study is complete"
            self.display.line(f"nothing to do: {over}")
            if study.shared:  # by other drivers, perhaps: what they did is missing here
                self._write_down(driver, facts)
                pick = driver.pick()
                if pick is not None:
                    driver.place(pick)
            self._summary(driver)
            if nothing_came:
                raise nothing_came
            return
        if work and self.launcher is None:
            self._launch()
            if self._on_ray:  # what a kernel is there for is known only now
                self._meet()
                driver = self._driver(study, loop, tracking, facts, layers)
        loop.launcher = self.launcher
        if not study.get("unsettled"):
            study.set(
                "unsettled", True
            )  # until records and MLflow agree with the database: a killed driver leaves it so
        tracking.check_store()
        seen = self._write_down(driver, facts)
        loop.defer(lambda: self._start_tracking(driver, seen))
        status, fault = "FAILED", None
        try:
            if work:
                decided = driver.arms.decide()
                if self.config["kernel"]["name"] == "auto":
                    self.display.line(f"  kernel    auto -> {decided}")
                driver.search()
            loop.run_deferred()
            driver.check_failures()  # also where an earlier session has told the last of them
            if driver.timed_out and self._leave(driver):
                self.display.line("the other drivers go on, and the last of them confirms the winner")
            else:
                self._conclude(driver)
                fault = self._nothing(driver)
            status = "FAILED" if fault else "FINISHED"
        except (InterruptedByUser, KeyboardInterrupt):
            status = "KILLED"
            raise
        finally:
            # Whatever ended the session, what is known by now is written down in order.
            driver.rewrite()
            if self._leave(driver, status):  # the last one brings MLflow up to date, and says what came out
                fault = None
                tracking.finish(status, goes_on=True)
            else:
                if study.shared:
                    tracking.refresh_runs()
                    driver.track_all()
                tracking.finish(status)
                if (status == "FINISHED" or fault) and not tracking.warning:
                    study.set("unsettled", False)
            if tracking.warning:
                self.display.box(tracking.warning)
        if fault:
            raise fault

    def _nothing(self, driver: Driver) -> NothingCameOutError | None:
        """What is to be said where neither a trial nor a seed is complete."""
        rows = driver.study.rows()
        counted = {trial.number for trial in diagnostics.ended(rows, self.config["study"]["objective"])}
        return nothing(
            self.config["study"]["name"],
            [row for row in rows if row["number"] in counted],
            [row for candidate in driver.candidates() for row in driver.replicates(candidate.digest)],
            searched=bool(self.space),
            timed_out=driver.timed_out,
        )

    def _driver(
        self, study: studies.Study, loop: Loop, tracking: Observer, facts: Mapping[str, Any], layers: list[str]
    ) -> Driver:
        named = self.config["kernel"]["name"]
        if self.launcher or not self._on_ray:
            kernel.require(named, self.backend, layers, self.gpu)
        unavailable = {
            name: kernel.unavailable(name, self.backend, layers, self.gpu)
            for name in vocabulary.OF_BACKEND[self.backend]
        }
        arms = Arms(
            self.config,
            self.space,
            study,
            loop,
            unavailable,
            facts["n_train"],
            facts["timesteps"],
            memory=kernel_cache.Memory(cache_folder() / "kernels.json") if self.config["kernel"]["remember"] else None,
            about=self._measured_on(facts),
            workers=len(self.slots),
            gpu=self.gpu is not None,
        )
        return Driver(self.config, self.space, study, loop, arms, tracking, self.display, self.folder)

    def _measured_on(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What a kernel's throughput depends on besides the configuration."""
        known, slot = environment.versions(), self.slots[0]
        return {
            "versions": {"lstm_bench": lstm_bench.__version__}
            | {name: known.get(name) for name in ("keras", self.backend)},
            "device": slot.device if self.gpu or self._on_ray else hardware.cpu_name(),
            "share": slot.share,
            "cores": len(slot.cores),
            "data": [facts[name] for name in ("timesteps", "features", "n_classes")] + self._task.marked,
            **({"deterministic": True} if self.config["train"]["deterministic"] else {}),  # often slower
        }

    def _work_left(self, driver: Driver) -> bool:
        counts = driver.study.counts()
        if counts["queued"] or counts["left"] or counts["running"]:
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
        seen = environment.collect(self.slots, self.gpus, dict(facts)) | {"study_id": driver.study.get("id")}
        seen |= {"precision": numerics.precision(self.backend), "variables": self._variables}
        if driver.study.get("code") is not None:
            seen["code"] = driver.study.get("code")
        if self._ray:  # the machine of the trials, not the driver's
            seen["device"]["name"], seen["ray"] = self.slots[0].device, self._ray.about()
        fileio.write_yaml(self.folder / "config.yaml", config)
        fileio.write_json(self.folder / "environment.json", seen)
        driver.rewrite()
        return seen

    def _observer(self, loop: Loop) -> Observer:
        settings, name = self.config["tracking"], self.config["study"]["name"]
        return Observer(
            open_tracking(settings, experiment=name),
            settings,
            later=loop.defer,
            say=lambda text: self.display.line(text, "yellow"),
            catch_up=lambda tracking: backfill.tell(self.folder, tracking),
            remedy=f"python -m lstm_bench.sync study={name}",
        )

    def _start_tracking(self, driver: Driver, seen: Mapping[str, Any]) -> None:
        """Opens the parent run. MLflow's import takes seconds of a core: the first task is given out before."""
        study = driver.study
        with study.turn("tracking"):  # the second finds the parent run of the first
            driver.tracking.start(backfill.described(schema.redacted_config(self.config), seen))
            if study.shared:
                driver.tracking.wait_open(self.config["storage"]["grace"], driver.loop.interrupted)
        if not study.shared:  # else each driver logs its own, and the last one what is missing then
            driver.track_all()

    def _leave(self, driver: Driver, status: str = "FINISHED") -> bool:
        """Leaves the rest to other drivers, if there are any, and to the last of them what MLflow was not told by now."""
        if not driver.study.shared:
            return False
        driver.tracking.hold(status)
        left = False
        try:
            left = driver.study.leave()
        finally:
            if not left:
                driver.tracking.resume()
        return left

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
        probed = driver.arms.probe(pick.params, pick.digest) if self._probes() else []
        driver.rewrite()
        tracked = bool(driver.tracking.uri)
        if tracked and (self.folder / "model" / "mlflow").is_dir():  # of the driver that trained the first seed
            driver.tracking.log_model(self.folder / "model" / "mlflow", self.config["study"]["name"])
        summary = self._summary(driver)
        if self._leave(driver):
            return
        if probed:
            driver.tracking.log_kernels(probed)
        if tracked:
            from lstm_bench.report.command import study_figures  # pandas and matplotlib, for MLflow alone

            driver.tracking.log_figures(study_figures(self.folder, self.folder / "figures"))
        driver.tracking.log_summary(*summary)

    def _summary(self, driver: Driver) -> tuple[dict[str, Any], dict[str, Any]]:
        """Prints how the study stands and what to do next; returns it as metrics and tags."""
        counts, best, pick = driver.study.counts(), driver.study.best(), driver.pick()
        settings = self.config["study"]
        facts: dict[str, Any] = {}
        if self.space:
            facts["trials"] = ", ".join(f"{counts[key]} {key}" for key in ("complete", "pruned", "failed"))
        front = driver.study.front() if best is not None and settings["objectives"] else None
        if best is not None:
            value, objective = best.values[0], settings["objective"]
            facts["best trial"] = f"{best.number}: {objective} {number(value)} with {values(best.params)}"
            if front is not None:
                facts["front"] = front_words(
                    settings["objectives"], [trial.values for trial in front], counts["complete"]
                )
        rows = driver.replicates(pick.digest) if pick is not None else []
        complete = [row for row in rows if row["state"] == "COMPLETE"]
        if pick is not None and pick.trial is not None:
            n = len(driver.candidates())
            if n > 1 and complete:
                facts["picked"] = picked(pick.trial, n, settings["objective"], complete) + f": {values(pick.params)}"
        if complete:
            aim = self._task.metric(settings["objective"])
            late = [aim] if aim and aim.late and all(row.get(aim.column) is not None for row in complete) else []
            measured = (*self._task.confirmed, *late)
            words = [confirmation([row[metric.column] for row in complete], metric)[0] for metric in measured]
            facts["confirmed"] = "; ".join(words)
            speed = statistics.median(row["train_samples_per_s"] for row in complete)
            facts["weights"] = f"{complete[0]['n_weights']:,}"
            facts["training"] = (
                f"{speed:,.0f} samples/s, kernel {complete[0]['kernel_ran']}, {complete[0]['device_share']}"
            )
        judged = self._health(driver, pick, complete)
        if judged:
            facts["health"] = judged
        if len(complete) < len(rows):
            facts["failed seeds"] = f"{len(rows) - len(complete)} of {len(rows)}"
        for name, loss in self._baselines.items():
            facts["baseline"] = f"{name}: {self._task.ruler.label} {loss:.3g}"
        facts["records"] = f"{self._shown}/"
        facts["next"] = "python -m lstm_bench.ui      python -m lstm_bench.report"
        self.display.facts(
            f"{settings['name']}: {'ended, nothing came out' if self._nothing(driver) else 'done'}", facts
        )
        return outcome(
            counts,
            None if best is None else (best.number, best.values[0]),
            pick,
            complete,
            objective=settings["objective"],
            task=self._task,
            front=None if front is None else len(front),
            health=judged,
        )

    def _health(self, driver: Driver, pick: Candidate | None, complete: Sequence[Mapping[str, Any]]) -> list[str]:
        """What was judged of the study, in sentences; nothing where nothing is complete."""
        if pick is None:
            return []
        # As they are recorded: what a report will read is what is judged here, also where an older version wrote it.
        recorded = safe_load.from_json((self.folder / "environment.json").read_text(encoding="utf-8"))
        first = next((row for row in complete if row["seed"] == 0), {})
        return diagnostics.judge(
            self.config,
            recorded.get("dataset") or {},
            space=self.space,
            trials=driver.study.rows(),
            winner=pick.trial,
            params=pick.params,
            seeds=complete,
            pairs=diagnostics.pairs(first.get("confusion") or {}),
        ).sentences()


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
