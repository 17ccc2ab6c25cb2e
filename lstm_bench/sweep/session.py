"""One invocation on one study: opens what is needed, runs what is left, closes everything."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lstm_bench
from lstm_bench.core import busy, configuration, environment, fileio, hardware, numerics, schema, user_code, vocabulary
from lstm_bench.core.cache import cache_folder
from lstm_bench.core.console import Display
from lstm_bench.core.errors import InterruptedByUser
from lstm_bench.core.formatting import counted
from lstm_bench.data import dataset as data
from lstm_bench.launcher.event_loop import Loop
from lstm_bench.model import kernel, signature
from lstm_bench.study import search_space
from lstm_bench.sweep import kernel_cache
from lstm_bench.sweep.console_report import ConsoleReport
from lstm_bench.sweep.kernel_choice import KernelChoice
from lstm_bench.sweep.parts import Parts, assembled
from lstm_bench.sweep.preparation import Preparation
from lstm_bench.sweep.store import database, trials
from lstm_bench.sweep.workers import TRACEBACK, Workers
from lstm_bench.tracking.client import open_tracking
from lstm_bench.tracking.live import Live, preload
from lstm_bench.tracking.store import store_uri


class Session:
    """A sweep on one study, from its header to its summary.

    Args:
      config: Resolved configuration, under the name that the study really has.
      space: Parsed search space.
      folder: `sweeps/<study>/`, locked by this process.
      gpus: The visible GPUs.
      display: What a person sees.
      source: Where the data was found.
      others: Resolved configurations of the studies of the same command: those before this one, and those after.
      epochs_by_data: Whether `train.epochs` follows from the data: see `epochs`.
    """

    def __init__(
        self,
        config: schema.Sweep,
        space: dict[str, search_space.Domain],
        folder: Path,
        gpus: list[hardware.Gpu],
        display: Display,
        source: str,
        others: tuple[Sequence[schema.Sweep], Sequence[schema.Sweep]] = ((), ()),
        *,
        epochs_by_data: bool = False,
    ):
        self._others, self._since = others, time.monotonic()
        self.config, self.space, self.folder = config, space, folder
        self.display, self.source = display, source
        target = str(config["model"]["_target_"])
        self._code = None if signature.is_own(target) else user_code.of(target)
        guarded = {"target": target, "files": self._code.files} if self._code and self._code.files else None
        self.workers = Workers(config, space, folder, gpus, display, guarded)
        self.console = ConsoleReport(config, space, folder, display)
        trains = bool(config["study"]["n_trials"] or config["study"]["replicates"])  # and does not fit controls alone
        self.console.epochs_by_data = epochs_by_data and trains
        later = others[1] if epochs_by_data and trains else None
        self.prepared = Preparation(config, space, display, source, later)
        self._variables = numerics.observed(os.environ)

    def run(self) -> None:
        """Runs the study to its end.

        Raises:
          LstmBenchError: any expected fault; what was finished before is kept.
        """
        busy.say, busy.interrupted = lambda text: self.display.line(text, "yellow"), lambda: False
        self.console.header(self.workers, self.source)
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
                self.workers.start()  # they import their framework while the driver reads the data
            with self.display.waiting(f"reading {self.config['dataset']['name']}"):
                found = data.load(self.config["dataset"])
            self.prepared.settle(found)
            facts = self.prepared.facts(found)
            self.workers.give(found)
            self.prepared.redraw(found, self.workers)
            del found
            if fresh:
                self.workers.wait()
            tracking = self.config["tracking"]
            preload(None if tracking["name"] == "none" else store_uri(tracking))
            layers = self.workers.check() if fresh else None
            made = {"code": self._code.record() if self._code else None, "variables": self._variables}
            study = trials.opened(self.config, self.space, self.folder, facts["sha256"], self.display.line, made)
            try:
                self.console.learned(study.learned, [*self._code.files] if self._code else [], self._variables)
                self._drive(study, facts, layers)
            finally:
                study.close()
        finally:
            self.workers.close()

    def _drive(self, study: trials.TrialStore, facts: Mapping[str, Any], layers: list[str] | None) -> None:
        if recovered := study.recover():
            self.display.line(
                f"results that an interrupted session could not write, written now: {recovered}", "yellow"
            )
        repaired = study.repair()
        if repaired:
            said = f"{counted(repaired, 'trial')} that a dead driver left running"
            self.display.line(f"{said} {'is' if repaired == 1 else 'are'} queued again", "yellow")
        if study.get("layers") is None:
            if layers is None:  # the driver that made this study died before it had written them down
                self.workers.start()
                self.workers.wait()
                layers = self.workers.check()
            study.set("layers", layers)
        layers = study.get("layers")
        loop = Loop(self.workers.launcher, self.display, self.config["study"]["trial_timeout"])
        busy.interrupted = loop.interrupted
        study.coordinator.interrupted = loop.interrupted
        parts = self._parts(study, loop, facts, layers)
        work = self._work_left(parts)
        if not work and not study.get("unsettled"):
            self._nothing_to_do(parts, facts)
            return
        if work and self.workers.launcher is None:
            self.workers.start()
            if self.workers.on_ray:  # what a kernel is there for is known only now
                self.workers.wait()
                parts = self._parts(study, loop, facts, layers)
        loop.launcher = self.workers.launcher
        if not study.get("unsettled"):  # until records and MLflow agree with the database: a killed driver leaves it so
            study.set("unsettled", True)
        live = self._live(study, loop)
        live.check_store()
        self._write_down(parts, facts)
        loop.defer(lambda: self._start_tracking(study, loop, live))
        self._run_parts(parts, live, work)

    def _nothing_to_do(self, parts: Parts, facts: Mapping[str, Any]) -> None:
        """Mends the records where they need it, and says how the study stands."""
        for name in parts.records.mend():
            self.display.line(f"{name} was not what the database says: written anew", "yellow")
        parts.driver.check_failures()
        nothing_came = self.console.nothing(parts.driver, parts.confirmation)
        over = "the study has ended" if nothing_came else "the study is complete"
        self.display.line(f"nothing to do: {over}")
        if parts.study.shared:  # by other drivers, perhaps: what they did is missing here
            self._write_down(parts, facts)
            pick = parts.confirmation.pick()
            if pick is not None:
                parts.confirmation.place(pick)
        self._summary(parts, None)
        if nothing_came:
            raise nothing_came

    def _run_parts(self, parts: Parts, live: Live, work: bool) -> None:
        """Searches, confirms, and closes the books."""
        study, driver = parts.study, parts.driver
        status, fault = "FAILED", None
        try:
            if work:
                decided = parts.kernels.decide()
                if self._probes():
                    parts.waiting.after_s = parts.kernels.probing_s
                if self.config["kernel"]["name"] == "auto":
                    self.display.line(f"  kernel    auto -> {decided}")
                parts.waiting.others(*self._others, start_s=time.monotonic() - self._since)
                driver.search()
            driver.loop.run_deferred()
            driver.check_failures()  # also where an earlier session has told the last of them
            if driver.timed_out and self._leave(study, live):
                self.display.line("the other drivers go on, and the last of them confirms the winner")
            else:
                self._conclude(parts, live)
                fault = self.console.nothing(driver, parts.confirmation)
            status = "FAILED" if fault else "FINISHED"
        except (InterruptedByUser, KeyboardInterrupt):
            status = "KILLED"
            raise
        finally:
            left = self._leave(study, live, status)
            # Whatever ended the session, what is known by now is written down in order.
            parts.records.rewrite()
            live.finish(status, goes_on=left)  # the last one brings MLflow up to date, and says what came out
            if left:
                fault = None
            elif (status == "FINISHED" or fault) and not live.warning:
                study.set("unsettled", False)
            if live.warning:
                self.display.box(live.warning)
        if fault:
            raise fault

    def _parts(self, study: trials.TrialStore, loop: Loop, facts: Mapping[str, Any], layers: list[str]) -> Parts:
        named = self.config["kernel"]["name"]
        if self.workers.launcher or not self.workers.on_ray:
            kernel.require(
                named, self.config["backend"]["name"], layers, self.workers.gpu, masked=bool(self.prepared.buckets)
            )
        unavailable = {
            name: kernel.unavailable(
                name, self.config["backend"]["name"], layers, self.workers.gpu, masked=bool(self.prepared.buckets)
            )
            for name in vocabulary.OF_BACKEND[self.config["backend"]["name"]]
        }
        kernels = KernelChoice(
            self.config,
            self.space,
            study,
            loop,
            unavailable,
            facts["n_train"],
            self.prepared.buckets[-1] if self.prepared.buckets else facts["timesteps"],
            memory=kernel_cache.Memory(cache_folder() / "kernels.json") if self.config["kernel"]["remember"] else None,
            about=self._measured_on(facts),
            workers=len(self.workers.slots),
            gpu=self.workers.gpu is not None,
        )
        return assembled(self.config, self.space, study, loop, kernels, self.display, self.folder, self.prepared.asked)

    def _measured_on(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What a kernel's throughput depends on besides the configuration."""
        known, slot = environment.versions(), self.workers.slots[0]
        return {
            "versions": {"lstm_bench": lstm_bench.__version__}
            | {name: known.get(name) for name in ("keras", self.config["backend"]["name"])},
            "device": slot.device if self.workers.gpu or self.workers.on_ray else hardware.cpu_name(),
            "share": slot.share,
            "cores": len(slot.cores),
            "data": [facts[name] for name in ("timesteps", "features", "n_classes")] + self.prepared.task.marked,
            **({"deterministic": True} if self.config["train"]["deterministic"] else {}),  # often slower
            **(
                {"buckets": kernel_cache.bucket(dict(enumerate(self.prepared.buckets)))}
                if self.prepared.buckets
                else {}
            ),
        }

    def _work_left(self, parts: Parts) -> bool:
        counts = parts.study.counts()
        if counts["queued"] or counts["left"] or counts["running"]:
            return True
        pick = parts.confirmation.pick()
        if pick is None:
            return False
        return (
            self._seeds_left(parts)
            or bool(parts.controls.missing())
            or (self._probes() and parts.study.get(f"probe/{pick.digest}") is None)
        )

    def _seeds_left(self, parts: Parts) -> bool:
        found = parts.confirmation
        return any(found.missing_replicates(candidate.digest) for candidate in found.candidates())

    def _probes(self) -> bool:
        return bool(self.config["kernel"]["probe"] and self.config["study"]["replicates"])

    def _write_down(self, parts: Parts, facts: Mapping[str, Any]) -> None:
        """The records as they are at the start of this session."""
        study, slot = parts.study, self.workers.slots[0]
        seen = environment.collect(self.workers.slots, self.workers.gpus, dict(facts)) | {"study_id": study.get("id")}
        seen |= {"precision": numerics.precision(self.config["backend"]["name"]), "variables": self._variables}
        if study.get("code") is not None:
            seen["code"] = study.get("code")
        if cluster := self.workers.about():  # the machine of the trials, not the driver's
            seen["device"]["name"], seen["ray"] = slot.device, cluster
        fileio.write_yaml(self.folder / "config.yaml", configuration.redacted_config(self.config))
        fileio.write_json(self.folder / "environment.json", seen)
        parts.records.rewrite()

    def _live(self, study: trials.TrialStore, loop: Loop) -> Live:
        settings, name = self.config["tracking"], self.config["study"]["name"]
        return Live(
            self.folder,
            open_tracking(settings, experiment=name),
            settings,
            _figures,
            shared=study.shared,
            later=loop.defer,
            say=lambda text: self.display.line(text, "yellow"),
            remedy=f"python -m lstm_bench.sync study={name}",
        )

    def _start_tracking(self, study: trials.TrialStore, loop: Loop, live: Live) -> None:
        """Has MLflow follow. Its import takes seconds of a core: the first task is given out before."""
        with study.turn("tracking"):  # the second finds the study's run of the first
            live.start()
            if study.shared:
                live.wait_open(self.config["storage"]["grace"], loop.interrupted)

    def _leave(self, study: trials.TrialStore, live: Live, status: str = "FINISHED") -> bool:
        """Leaves the rest to other drivers, if there are any, and to the last of them what MLflow was not told by now."""
        if not study.shared:
            return False
        live.leave(status)
        left = False
        try:
            left = study.leave()
        finally:
            if not left:
                live.stay()
        return left

    def _conclude(self, parts: Parts, live: Live) -> None:
        """Confirms the best, probes the kernels of the pick, says what came out."""
        confirmation = parts.confirmation
        candidates = confirmation.candidates()
        if not candidates:
            self.display.line("no trial is complete: there is no winner to confirm", "yellow")
            return
        if self._seeds_left(parts):
            confirmation.run(candidates)
        pick = confirmation.pick()
        assert pick is not None
        confirmation.place(pick)
        parts.controls.take(self._others[0])
        parts.controls.run()
        if self._probes():
            parts.kernels.probe(pick.params, pick.digest)
        parts.records.rewrite(over=False)
        self._summary(parts, live.page)

    def _summary(self, parts: Parts, page: str | None) -> None:
        self.console.summary(parts.driver, parts.confirmation, self.prepared.task, self.prepared.baselines, page)


def _figures(folder: Path, into: Path) -> list[Path]:
    """See `follower.follow`."""
    from lstm_bench.report.command import study_figures  # pandas and matplotlib, for MLflow alone

    return study_figures(folder, into)
