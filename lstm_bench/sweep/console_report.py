"""What a session prints of itself: its header, and at the end how the study stands and what to do next."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_bench.core import safe_load, schema
from lstm_bench.core.console import Display
from lstm_bench.core.errors import NothingCameOutError, redact
from lstm_bench.core.formatting import counted, number, values
from lstm_bench.cuda import table
from lstm_bench.data.objective import AUTO, settled_objective
from lstm_bench.data.task import Task
from lstm_bench.study import contenders, diagnostics, search_space
from lstm_bench.study.control_rows import control_words
from lstm_bench.study.health import health
from lstm_bench.study.reader import StudyRecord
from lstm_bench.study.recommendation import Recommendation
from lstm_bench.study.summary import confirmation, nothing
from lstm_bench.sweep import controls
from lstm_bench.sweep.confirm import Confirmation
from lstm_bench.sweep.driver import Driver
from lstm_bench.sweep.events import Listener, Row
from lstm_bench.sweep.store.trials import TrialStore
from lstm_bench.sweep.workers import Workers, shown
from lstm_bench.tracking.store import shown as shown_store
from lstm_bench.tracking.store import store_uri


class ConsoleReport:
    """The words of one session.

    Args:
      config: Resolved configuration.
      space: Parsed search space.
      folder: `sweeps/<study>/`.
      display: What a person sees.
    """

    def __init__(self, config: schema.Sweep, space: dict[str, search_space.Domain], folder: Path, display: Display):
        self._config, self._space = config, space
        self._folder, self._display = folder, display
        self.epochs_by_data = False  # whether `train.epochs` is not known yet

    @property
    def _settings(self) -> schema.Study:
        return self._config["study"]  # whose objective may be settled only once the data is there

    def header(self, workers: Workers, source: str) -> None:
        """Prints what the session is about to do; `source` says where the data was found."""
        config, settings = self._config, self._settings
        slot, tracking, url = workers.slots[0], config["tracking"], config["storage"]["url"]
        backend = config["backend"]["name"]
        several = f" x {len(workers.gpus)}" if len(workers.gpus) > 1 else ""
        on_gpu = "" if workers.gpus or workers.on_ray else table.of_study(config)
        self._display.facts(
            f"{settings['name']}: {settings['description'] or config['model']['_target_']}",
            {
                "search": self._searched_how(),
                "confirm": self._confirmed_how() if settings["replicates"] else "no",
                "data": f"{config['dataset']['name']} ({source})",
                "device": slot.device + several,
                "workers": f"{len(workers.slots)} ({slot.share}), backend {backend}{overruled(backend)}",
                **(self._asked_of_ray() if workers.on_ray else {}),
                "kernel": config["kernel"]["name"] + (f" ({on_gpu})" if on_gpu else ""),
                "storage": (redact(url) if url else f"{shown(self._folder)}/study.db")
                + (", shared with other drivers" if settings["shared"] else ""),
                "tracking": shown_store(store_uri(tracking)) if tracking["name"] == "mlflow" else "none",
            },
        )

    def _searched_how(self) -> str:
        config, settings = self._config, self._settings
        if not settings["n_trials"] and not settings["replicates"]:
            return "nothing: no network is trained"
        if not self._space:
            return "nothing: one configuration"
        wanted = " and ".join([*settings["objectives"]] or [settled_objective(settings)])
        if wanted == AUTO:
            wanted = "what the labels ask for"
        return (
            f"{counted(settings['n_trials'], 'trial')} over {counted(len(self._space), 'dimension')},"
            f" sampler {config['sampler']['name']}, pruner {config['pruner']['name']},"
            f" {wanted} {self._which_epoch()}"
        )

    def _which_epoch(self) -> str:
        epochs, patience = self._config["train"]["epochs"], self._config["train"]["patience"]
        if self.epochs_by_data:
            return "after as many epochs as the data ask for"
        if patience is None:
            return f"after {counted(epochs, 'epoch')}"
        return f"of the best epoch, up to {epochs}, {patience} without a better one end it"

    def _confirmed_how(self) -> str:
        settings = self._settings
        best = f"the best {settings['confirm']} configurations, " if self._space and settings["confirm"] > 1 else ""
        return f"{best}{counted(settings['replicates'], 'seed')} on the test set"

    def _asked_of_ray(self) -> dict[str, str]:
        asked = self._config["launcher"]
        each = f"{asked['cpus_per_trial']:g} CPU and {asked['gpus_per_trial']} GPU each"
        return {
            "device": f"a Ray cluster ({asked['address']})",
            "workers": f"{asked['workers']}, {each}, backend {self._config['backend']['name']}",
        }

    def learned(self, keys: Sequence[str], files: Sequence[str], variables: Mapping[str, str]) -> None:
        """Says what an older version had not written down, and is held against every session from now on.

        Args:
          keys: `Study.learned`.
          files: Of a user's own family.
          variables: Of the environment that change numbers.
        """
        if "code" in keys and files:
            self._display.line(
                f"the code of {', '.join(files)} was not recorded: what it is now is, for every session to come",
                "yellow",
            )
        if "variables" in keys and variables:
            set_to = ", ".join(f"{name}={value}" for name, value in variables.items())
            self._display.line(f"variables were not recorded: {set_to} is, for every session to come", "yellow")

    def nothing(self, driver: Driver, confirmation: Confirmation) -> NothingCameOutError | None:
        """What is to be said where neither a trial nor a seed is complete."""
        rows = driver.study.rows()
        done = {trial.number for trial in diagnostics.ended(rows, settled_objective(self._settings))}
        return nothing(
            self._settings["name"],
            [row for row in rows if row["number"] in done],
            [row for candidate in confirmation.candidates() for row in confirmation.replicates(candidate.digest)],
            searched=bool(self._space),
            timed_out=driver.timed_out,
        )

    def summary(
        self, driver: Driver, confirmed: Confirmation, task: Task, baselines: Mapping[str, float], page: str | None
    ) -> None:
        """Prints how the study stands and what to do next.

        Args:
          driver: Of the study.
          confirmed: Of the study.
          task: Of the data.
          baselines: Of the data, loss by name.
          page: Where MLflow shows the runs, None where no server does.
        """
        self._display.done()
        counts, best, pick, settings = driver.study.counts(), driver.study.best(), confirmed.pick(), self._settings
        facts: dict[str, Any] = {}
        if self._space:
            facts["trials"] = ", ".join(f"{counts[key]} {key}" for key in ("complete", "pruned", "failed"))
        front = driver.study.front() if best is not None and settings["objectives"] else None
        if best is not None:
            value, objective = best.values[0], settled_objective(settings)
            facts["best trial"] = f"{best.number}: {objective} {number(value)} with {values(best.params)}"
            if front is not None:
                facts["front"] = front_words(
                    [*settings["objectives"]], [trial.values for trial in front], counts["complete"]
                )
        rows = confirmed.replicates(pick.digest) if pick is not None else []
        complete = [row for row in rows if row["state"] == "COMPLETE"]
        if pick is not None and pick.trial is not None:
            n = len(confirmed.candidates())
            if n > 1 and complete:
                facts["picked"] = (
                    picked(pick.trial, n, settled_objective(settings), complete) + f": {values(pick.params)}"
                )
        if complete:
            aim = task.metric(settled_objective(settings))
            late = [aim] if aim and aim.late and all(row.get(aim.column) is not None for row in complete) else []
            words = [
                confirmation([row[m.column] for row in complete], m)[0] for m in dict.fromkeys((*task.confirmed, *late))
            ]
            facts["confirmed"] = "; ".join(words)
            speed = statistics.median(row["train_samples_per_s"] for row in complete)
            facts["weights"] = f"{complete[0]['n_weights']:,}"
            facts["training"] = (
                f"{speed:,.0f} samples/s, kernel {complete[0]['kernel_ran']}, {complete[0]['device_share']}"
            )
            if complete[0].get("padding_share") is not None:
                share, seconds = (
                    statistics.median(row[name] for row in complete) for name in ("padding_share", "padding_s")
                )
                facts["padding"] = f"{100 * share:.1f} % of the timesteps trained on, {seconds:.1f} s"
        if fitted := controls.rows(driver.study):
            facts["controls"] = control_words(fitted, task)
        found = health(StudyRecord(self._folder))
        judged = found.sentences() if found else []
        taken = self._recommended(driver, complete, fitted, task, judged) if complete or fitted else None
        if taken:
            facts = {"verdict": list(taken.lines), **facts}
        if judged and (settings["n_trials"] or settings["replicates"]):
            facts["health"] = judged
        if len(complete) < len(rows):
            facts["failed seeds"] = f"{len(rows) - len(complete)} of {len(rows)}"
        if baselines:
            facts["baseline"] = [f"{name}: {task.ruler.label} {loss:.3g}" for name, loss in baselines.items()]
        if page:
            facts["runs"] = page
        facts["records"] = f"{shown(self._folder)}/"
        commands = [f"{words}: {command}" for words, command in (taken.commands if taken else ())]
        facts["next"] = ["python -m lstm_bench.ui      python -m lstm_bench.report", *commands]
        ended = "ended, nothing came out" if self.nothing(driver, confirmed) else "done"
        self._display.facts(f"{settings['name']}: {ended}", facts)

    def _recommended(
        self,
        driver: Driver,
        complete: Sequence[Mapping[str, Any]],
        fitted: Sequence[Mapping[str, Any]],
        task: Task,
        judged: Sequence[str],
    ) -> Recommendation | None:
        """What to take: this network, a control, or none."""
        recorded = safe_load.from_json((self._folder / "environment.json").read_text(encoding="utf-8"))
        found = contenders.recommended(
            self._settings["name"],
            self._folder,
            self._config,
            recorded.get("dataset") or {},
            task,
            rows=complete,
            controls=fitted,
            counts=driver.study.counts(),
            health=judged,
        )
        if found is None:
            return None
        trials = self._settings["n_trials"]
        return found.searching_by(
            f"the same command with study.n_trials={2 * trials}" if self._space and complete else ""
        )


class Progress(Listener):
    """What a person sees of the trainings as they end.

    Args:
      study: The opened study.
      settings: Group `study`.
      display: What a person sees.
    """

    def __init__(self, study: TrialStore, settings: schema.Study, display: Display):
        self._study, self._settings, self._display = study, settings, display
        self._n_replicates = self._n_replicated = 0  # of this confirmation

    def search_begun(self, ends: float) -> None:
        self._show_total()

    def _show_total(self) -> None:
        counts = self._study.counts()
        done = counts["complete"] + counts["pruned"] + counts["failed"]
        self._display.total(f"{self._settings['name']}  {self._best()}", done, self._settings["n_trials"])

    def confirmation_begun(self, n: int) -> None:
        self._n_replicates, self._n_replicated = n, 0
        self._show_seeds()

    def trial_ended(self, name: str, row: Row) -> None:
        self._display.finished(name, row, self._best())
        if row["reason"] and row.get("detail"):
            self._display.line(f"             {row['detail']}", "red")
        self._show_total()

    def replicate_ended(self, name: str, row: Row) -> None:
        self._display.finished(name, row, "")
        if row.get("detail"):
            self._display.line(f"             {row['detail']}", "red")
        self._n_replicated += 1
        self._show_seeds()

    def _show_seeds(self) -> None:
        self._display.total(f"{self._settings['name']}  confirming", self._n_replicated, self._n_replicates, "seed")

    def _best(self) -> str:
        best = self._study.best()
        if self._study.objectives:
            return f"front of {len(self._study.front())}" if best else ""
        return f"best {number(best.value)} (trial {best.number})" if best else ""


def overruled(backend: str) -> str:
    """That a user's KERAS_BACKEND is another one than the study's `backend`; "" where it is not."""
    theirs = os.environ.get("KERAS_BACKEND", backend)
    return "" if theirs == backend else f" (KERAS_BACKEND={theirs} is not used)"


def front_words(objectives: Sequence[str], points: Sequence[Sequence[float]], complete: int) -> str:
    """The front of several objectives in words: how many trials, and the range of each objective among them.

    Args:
      objectives: Their names.
      points: Values of the trials of the front, in the order of `objectives`.
      complete: Number of complete trials.
    """
    found = zip(objectives, zip(*points, strict=True), strict=True)
    ranges = [f"{name} {min(values):,.5g} to {max(values):,.5g}" for name, values in found]
    return f"{len(points)} of {counted(complete, 'trial')}: {', '.join(ranges)}"


def picked(trial: int, n: int, objective: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Which of `n` candidates was picked, in words: by the mean objective of its finished replicates `rows`."""
    mean = statistics.fmean(row[objective] for row in rows)
    return f"trial {trial} of {n} candidates by mean {objective} {number(mean)} over {counted(len(rows), 'seed')}"
