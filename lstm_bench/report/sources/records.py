"""Records of a study or a kernel benchmark as sorted tables; whatever is missing or torn is said in `notes`."""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from lstm_bench import __version__
from lstm_bench.core import fileio, safe_load
from lstm_bench.core.statistics import Interval, Share, median, sampling_error, t_interval
from lstm_bench.data.metric import Metric
from lstm_bench.data.task import in_percent
from lstm_bench.study import candidates, columns, diagnostics, frames, health
from lstm_bench.study.frames import COSTS
from lstm_bench.study.reader import StudyRecord, at

REMARKS = "remarks.yaml"  # of a device: `speeds: {PATTERN: why the speeds of such studies compare with nothing}`


def not_alone(share: str) -> str:
    """Of a row's `device_share`: why its speed belongs into no table, "" where it does."""
    return "shared device" if share.startswith("shared") else "packed trainings" if share.startswith("packed ") else ""


def alone_s(rows: pd.DataFrame, phase: str = "total_s") -> pd.Series:
    """Seconds that a phase of each trial or replicate took of a device: of a pack's member, its share of the pack's."""
    return rows[phase] / [columns.pack_size(str(share)) for share in rows["device_share"]]


class Result(StudyRecord):
    """The records of one study, or of one kernel benchmark, as a report sees them: the properties below are a study's.

    Attributes:
      lacking: File -> why its rows cannot be had from where the others are.
      disturbed: What else used the machine while its speeds were measured, as whoever published it knows; "" for nothing.
    """

    def __init__(self, *args: Any, **given: Any):
        super().__init__(*args, **given)
        self.lacking, self.disturbed = dict[str, str](), ""

    def winning(self, path: str) -> Any:
        """Value of the winner: what its trial was given, else the configuration's."""
        best, column = self.winner, "config_" + path
        if best is not None and best.get(column):
            return best[column]
        searched = best is not None and column in best and None in self.space().get(path, {}).get("choices", ())
        return None if searched else self.get(path)  # null is written as nothing

    @property
    def place(self) -> str | None:
        """The device that a study is published under, "merged" where an archive brought it, None for a working folder."""
        return self.published or ("merged" if self.folder and self.folder.parent.name == "merged" else None)

    @property
    def source(self) -> str:
        """Which of several studies of one name: `published/<device>`, `merged` or `working`."""
        return f"published/{self.published}" if self.published else self.place or "working"

    @property
    def records(self) -> str:
        """The records' place in a checkout: the same text wherever it lies on this machine."""
        return f"sweeps/{self.name}/" if self.place is None else f"sweeps/{self.source}/{self.name}/"

    @property
    def family(self) -> str:
        """Name of the model function; a user's own with its module."""
        return str(self.get("model._target_", "?")).removeprefix("lstm_bench.model.")

    @property
    def dataset(self) -> str:
        """Name of the data that was really used."""
        return str(self.env("dataset.name") or self.get("dataset.name", "?"))

    def class_name(self, label: Any) -> str:
        """What the data calls a class; of numbered ones the number."""
        names = self.env("dataset.classes")
        index = int(label)
        return str(names[index]) if isinstance(names, list) and 0 <= index < len(names) else str(index)

    @property
    def controls_only(self) -> bool:
        """Whether it fitted controls and trained no network."""
        nothing = self.get("study.n_trials") == 0 and self.get("study.replicates") == 0
        return nothing and len(self.frame("controls")) > 0

    @property
    def trials(self) -> pd.DataFrame:
        """The search."""
        return self.frame("trials")

    @property
    def replicates(self) -> pd.DataFrame:
        """The confirmation."""
        return self.frame("replicates")

    def table(self, file: str) -> list[dict[str, Any]]:
        """See `StudyRecord`: of the sorted table, with its `index` there."""
        return [{**row, "index": index} for index, row in enumerate(_rows(self.frame(file)))]

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """Complete trials with a finite objective, best first; of equals the earlier one."""
        return self.trials.iloc[[row["index"] for row in health.ranked(self)]]

    @property
    def best(self) -> pd.Series | None:
        """The best trial, None where none is complete."""
        return None if self.ranked.empty else self.ranked.iloc[0]

    @property
    def measure(self) -> Metric:
        """What a confirmed configuration is judged by."""
        return self.task.measure

    @property
    def percent(self) -> bool:
        """Whether the objective is a fraction that is shown in percent."""
        return in_percent(self.objective)

    @cached_property
    def candidates(self) -> dict[float, pd.DataFrame]:
        """Finished replicates by trial, the picked configuration first: the best mean of the objective on validation data.

        With `study.confirm=1` there is one, its trial NaN where nothing was searched.
        """
        return {
            math.nan if trial is None else trial: self.replicates.iloc[[row["index"] for row in rows]]
            for trial, rows in health.finished(self).items()
        }

    @property
    def winner(self) -> pd.Series | None:
        """The trial of the picked configuration; before a confirmation the best trial, None where none is complete."""
        trial = next(iter(self.candidates), math.nan)
        mine = self.trials[self.trials["number"] == trial]
        return mine.iloc[0] if len(mine) else self.best

    @property
    def confirmed(self) -> pd.DataFrame:
        """Replicates of the picked configuration that finished with a finite test score."""
        return next(iter(self.candidates.values()), self.replicates.iloc[:0])

    @property
    def score(self) -> Interval:
        """`measure` of the picked configuration over its seeds."""
        return t_interval(self.confirmed[self.measure.column])

    @property
    def sampling(self) -> Share:
        """Sampling error of the test set; none for classes per timestep, whose errors within a sequence go together."""
        n = self.env("dataset.n_test")
        alone = self.measure.sampling == "share" and not self.task.per_timestep
        return sampling_error(self.score.mean, float(n) if alone and isinstance(n, int | float) else math.nan)

    @property
    def measured(self) -> pd.DataFrame:
        """The rows that describe the best configuration: its replicates, else the best trial."""
        return self.confirmed if len(self.confirmed) else self.ranked.iloc[:1]

    def one(self, column: str) -> str:
        """The value of `column` in the measured rows; several, where they differ, joined."""
        values = [v for v in self.measured[column].tolist() if v not in ("", None) and v == v]
        return ", ".join(sorted({f"{v:.0f}" if isinstance(v, float) else str(v) for v in values}))

    @property
    def where(self) -> str:
        """Device, with whom it was shared."""
        device, share = self.one("device") or str(self.env("device.name") or "unknown device"), self.one("device_share")
        return device if share in ("", "exclusive") else f"{device}, {share}"

    @property
    def n_weights(self) -> float:
        """Weights of the best configuration."""
        return median(self.measured["n_weights"])

    @property
    def shared(self) -> str:
        """Why its speed compares with nothing, "" where it does: what else used the device while it was measured."""
        kinds = {not_alone(share) for share in self.measured["device_share"]}
        return next((kind for kind in ("shared device", "packed trainings") if kind in kinds), self.disturbed)

    def speed(self, row: pd.Series) -> float:
        """Training samples per second of a trial or replicate; NaN where that compares with nothing."""
        alone = not (self.disturbed or not_alone(str(row["device_share"])))
        return float(row["train_samples_per_s"]) if alone else math.nan

    @property
    def trained_on(self) -> str:
        """How many samples, in words; "" where that is not recorded."""
        n = self.env("dataset.n_train")
        return f"{n:,} training samples" if isinstance(n, int) else ""

    @property
    def samples_per_s(self) -> float:
        """Median training speed over the replicates; NaN where that compares with nothing."""
        return math.nan if self.shared else median(self.measured["train_samples_per_s"])

    @cached_property
    def cost(self) -> dict[str, float]:
        """What the best configuration costs: `epoch_s`, peak memory and latency; medians of the rows that say so."""
        found = {column: median(self.measured[column]) for column in COSTS if column in self.measured}
        if self.shared:
            found.pop("epoch_s", None)  # which compares with nothing
        return {column: value for column, value in found.items() if math.isfinite(value)}

    @cached_property
    def confusion(self) -> pd.DataFrame:
        """Counts of the first replicate's test samples: a row per true class, a column per predicted class, both sorted.

        Counted in predictions.csv, or given as the table "confusion" of `label`, `prediction` and `n`. Empty where
        there is neither.
        """
        if "confusion" in self.tables:
            pairs = self.tables["confusion"].astype(int)
        else:
            known = self.frame("predictions").dropna(subset=["label", "prediction"])
            known = known if self.task.has_classes else known.iloc[:0]
            pairs = known[["label", "prediction"]].astype(int).value_counts().reset_index(name="n")
        classes = sorted({*pairs["label"], *pairs["prediction"]})
        counts = pairs.pivot_table("n", "label", "prediction", "sum", fill_value=0)
        return counts.reindex(index=classes, columns=classes, fill_value=0).astype(int)

    @cached_property
    def verdict(self) -> diagnostics.Verdict | None:
        """What is judged of the study; None where nothing is complete."""
        return health.health(self)

    def pairs(self) -> dict[tuple[int, int], int]:
        """See `StudyRecord`."""
        return {
            (int(str(label)), int(str(said))): int(n)
            for label, row in self.confusion.iterrows()
            for said, n in row.items()
            if n
        }

    @property
    def counts(self) -> dict[str, int]:
        """Trials by end: complete, pruned, failed by their own fault, and queued again."""
        return candidates.ends(*self._ends)

    @property
    def requeued(self) -> list[bool]:
        """Of each trial, by row, whether it was queued again."""
        return candidates.requeued(*self._ends)

    @property
    def _ends(self) -> tuple[list[dict[str, Any]], float]:
        """How each trial ended, and how often one is tried again."""
        rows, limit = _rows(self.trials[["number", "state", "reason", "retry_of"]]), self.get("study.max_retry")
        return rows, float(limit) if isinstance(limit, int | float) else math.inf

    @property
    def search_s(self) -> float:
        """Seconds of all trials together."""
        return math.fsum(v for v in alone_s(self.trials) if math.isfinite(v))


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table; what is NaN is None."""
    return [
        {str(name): None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def opened(folder: Path, published: str | None, files: Iterable[str]) -> Result:
    """Records all of which are read, so that `notes` says what of them cannot be."""
    result = Result(folder, published=published)
    assert isinstance(result.config, dict) and isinstance(result.environment, dict)
    for file in files:
        result.frame(file)
    return result


def load(folder: Path, published: str | None = None) -> Result:
    """Reads one study. Missing or damaged files leave empty tables and a note, never an exception."""
    result = opened(folder, published, columns.FILES)
    _leave_out_unended(result)
    result.disturbed = _disturbed(result) if published else ""
    return _noted(result)


def _leave_out_unended(result: Result) -> None:
    """Takes out the epochs of trainings that have begun and not ended: of those there is no row yet."""
    path, history = result.folder / "begun.csv", result.tables["history.csv"]
    if not path.exists():  # no session is at work, and none was killed
        return
    trials, replicates = (result.tables[f"{kind}.csv"] for kind in ("trials", "replicates"))
    ended = {("trial", number, 0.0) for number in trials["number"]}
    ended |= {("replicate", row["seed"], row["trial"]) for _, row in replicates.fillna({"trial": 0.0}).iterrows()}
    with contextlib.suppress(OSError, ValueError, LookupError, csv.Error):
        begun = {
            (row["kind"], float(row["number"]), float(row["trial"] or 0)) for row in fileio.read_rows(path)
        } - ended
        keys = zip(history["kind"], history["number"], history["trial"].fillna(0.0), strict=True)
        result.tables["history.csv"] = history[[key not in begun for key in keys]].reset_index(drop=True)


def _disturbed(result: Result) -> str:
    """What the device's `remarks.yaml` says of the speeds of this study: the first pattern that fits its name."""
    try:
        remarks = safe_load.from_yaml((result.folder.parent / REMARKS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        result.notes.append(f"{REMARKS} of its device cannot be read: {type(error).__name__}.")
        return ""
    speeds = at(remarks, "speeds") if isinstance(remarks, dict) else None
    if not isinstance(speeds, dict):
        result.notes.append(f"{REMARKS} of its device holds no mapping `speeds`.")
        return ""
    return next((str(why) for pattern, why in speeds.items() if fnmatchcase(result.name, str(pattern))), "")


def assemble(result: Result, rows: Mapping[str, list[dict[str, str]]]) -> Result:
    """Gives a study from elsewhere than its records the tables and notes that `load` would.

    Args:
      result: With its configuration and environment.
      rows: File -> rows as text, as `fileio.read_rows` gives them; a file left out has none.
    """
    for file in columns.FILES:
        result.tables[file] = frames.frame(file, rows.get(file, []), result.task, result.notes)
    return _noted(result)


def _noted(result: Result) -> Result:
    """Says what is missing or contradictory in a study whose tables are there."""
    named = result.get("study.name")
    if named and str(named) != result.name:
        result.notes.append(f"config.yaml says study.name={named}, the folder {result.name}.")
    version = result.env("lstm_bench")
    if version and str(version) != __version__:
        result.notes.append(f"Recorded by version {version} of lstm_bench, read by {__version__}.")
    named = result.env("dataset.task")
    if named is not None and named != result.task.name:
        result.notes.append(f"Its task, {named}, is not known here: the package that brings it is not installed.")
    if result.disturbed:
        result.notes.append(f"Speeds and seconds compare with nothing: {result.disturbed}.")
    if result.objective not in result.trials:
        result.notes.append(f"trials.csv has no column {result.objective}, the objective.")
    ends, budget = result.counts, result.get("study.n_trials")
    done = ends["complete"] + ends["pruned"] + ends["failed"]
    if isinstance(budget, int) and done < budget:
        result.notes.append(f"{done} of {budget} trials are done: the search is unfinished or still running.")
    if done and result.best is None:
        result.notes.append("No trial is complete with a finite objective.")
    wanted, have = result.get("study.replicates"), len(result.confirmed)
    if result.controls_only:
        result.notes.append("No network was trained: the controls alone.")
    elif wanted == 0:
        result.notes.append("Not confirmed on the test set, by study.replicates=0.")
    elif isinstance(wanted, int) and have < wanted:
        result.notes.append(f"{have} of {wanted} replicates are done.")
    elif not have:
        result.notes.append("There are no replicates: not confirmed on the test set.")
    return result
