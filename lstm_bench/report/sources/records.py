"""Records of a study or a kernel benchmark as sorted tables; whatever is missing or torn is said in `notes`."""

from __future__ import annotations

import contextlib
import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from lstm_bench import __version__
from lstm_bench.core import fileio, safe_load, vocabulary
from lstm_bench.core.statistics import Interval, Share, median, sampling_error, t_interval
from lstm_bench.data.metric import Metric
from lstm_bench.data.task import CLASSIFICATION, Task, in_percent, recorded
from lstm_bench.study import columns as record
from lstm_bench.study import diagnostics
from lstm_bench.study.candidates import standing

REMARKS = "remarks.yaml"  # of a device: `speeds: {PATTERN: why the speeds of such studies compare with nothing}`
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Ends that are not the trial's own doing: its parameters ran, or will run, again under another number.
REQUEUED = (*vocabulary.RETRY_LIMITED, *vocabulary.RETRY_UNLIMITED)
# Columns of what a configuration costs, which records of before 0.2.0 have not.
COSTS = tuple(column for column in record.OPTIONAL_COLUMNS if column not in ("penalty", "learning_rate"))

_SHAPE = ["layer", "units", "layers", "timesteps", "features", "batch", "dtype"]
# What the page of a kernel benchmark is made of. Columns of cells.csv that are not ours are kept, as text.
_BENCHMARK = {file: record.BENCHMARK_FILES[file] for file in ("cells.csv", "ceilings.csv")}
_KEYS = {
    "trials.csv": ["number"],
    "replicates.csv": ["trial", "seed"],
    "history.csv": ["kind", "trial", "number", "epoch"],
    "kernels.csv": ["backend", "kernel"],
    "predictions.csv": ["sample"],
    "worst.csv": ["probability", "sample"],
    "controls.csv": ["control", "seed"],
    "cells.csv": [*_SHAPE, "cell", "operation", "backend", "kernel"],
    "ceilings.csv": ["dtype", "backend", "device"],
}


def not_alone(share: str) -> str:
    """Of a row's `device_share`: why its speed belongs into no table, "" where it does."""
    return "shared device" if share.startswith("shared") else "packed trainings" if share.startswith("packed ") else ""


def pack_size(share: str) -> int:
    """Of a row's `device_share`: how many trainings its seconds are those of."""
    return int(share.removeprefix("packed ")) if re.fullmatch(r"packed [1-9]\d*", share) else 1


def alone_s(rows: pd.DataFrame, phase: str = "total_s") -> pd.Series:
    """Seconds that a phase of each trial or replicate took of a device: of a pack's member, its share of the pack's."""
    return rows[phase] / [pack_size(str(share)) for share in rows["device_share"]]


@dataclass
class Result:
    """The records of one study, or of one kernel benchmark: the properties below are a study's.

    Attributes:
      folder: Where they lie.
      name: Name of the study or benchmark, which is that of the folder.
      published: Name of the device's folder below `published/`, None for a working folder.
      notes: One sentence for each thing that is missing, torn or contradictory.
      lacking: File -> why its rows cannot be had from where the others are.
      disturbed: What else used the machine while its speeds were measured, as whoever published it knows; "" for nothing.
    """

    folder: Path
    name: str
    published: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    lacking: dict[str, str] = field(default_factory=dict)
    disturbed: str = ""

    def get(self, path: str, default: Any = None) -> Any:
        """Value at a dotted path of the configuration."""
        return at(self.config, path, default)

    def env(self, path: str, default: Any = None) -> Any:
        """Value at a dotted path of the environment."""
        return at(self.environment, path, default)

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
        place = int(label)
        return str(names[place]) if isinstance(names, list) and 0 <= place < len(names) else str(place)

    @property
    def objective(self) -> str:
        """Column of the trials that was searched for."""
        return str(self.get("study.objective", CLASSIFICATION.objectives[0]))

    @property
    def maximize(self) -> bool:
        """Whether more of the objective is better."""
        return str(self.get("study.direction", "maximize")) != "minimize"

    @property
    def trials(self) -> pd.DataFrame:
        """The search."""
        return self.tables["trials.csv"]

    @property
    def replicates(self) -> pd.DataFrame:
        """The confirmation."""
        return self.tables["replicates.csv"]

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """Complete trials with a finite objective, best first; of equals the earlier one."""
        if self.objective not in self.trials:
            return self.trials.iloc[:0]
        values = pd.to_numeric(self.trials[self.objective], errors="coerce")
        good = self.trials[(self.trials["state"] == "COMPLETE") & values.map(math.isfinite)]
        order = -values[good.index] if self.maximize else values[good.index]
        return good.loc[order.sort_values(kind="stable").index]

    @property
    def best(self) -> pd.Series | None:
        """The best trial, None where none is complete."""
        return None if self.ranked.empty else self.ranked.iloc[0]

    @property
    def task(self) -> Task:
        """What was asked of its networks."""
        facts = self.env("dataset")
        return recorded(facts if isinstance(facts, Mapping) else {})

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
        ok = (self.replicates["state"] == "COMPLETE") & self.replicates[self.measure.column].map(math.isfinite)
        finished = self.replicates[ok]
        of = finished["trial"].fillna(-1.0)
        found = {trial if trial >= 0 else math.nan: finished[of == trial] for trial in sorted(set(of))}
        places = {number: place for place, number in enumerate(self.ranked["number"])}

        def rank(trial: float) -> tuple[tuple[int, float], int, float]:
            rows = found[trial]
            values = rows[self.objective] if self.objective in rows else rows[self.task.objectives[0]]
            return standing(values, maximize=self.maximize), places.get(trial, len(places)), trial

        return {trial: found[trial] for trial in sorted(found, key=rank)}

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
            known = self.tables["predictions.csv"].dropna(subset=["label", "prediction"])
            pairs = known[["label", "prediction"]].astype(int).value_counts().reset_index(name="n")
        classes = sorted({*pairs["label"], *pairs["prediction"]})
        counts = pairs.pivot_table("n", "label", "prediction", "sum", fill_value=0)
        return counts.reindex(index=classes, columns=classes, fill_value=0).astype(int)

    @cached_property
    def verdict(self) -> diagnostics.Verdict | None:
        """What is judged of the study; None where nothing is complete."""
        if self.winner is None and self.confirmed.empty:
            return None
        numbered = self.trials[self.trials["number"].notna()]
        if self.objective in numbered:
            numbered = numbered.assign(**{self.objective: pd.to_numeric(numbered[self.objective], errors="coerce")})
        space, facts = self.space(), self.env("dataset")
        epochs = self.tables["history.csv"]
        trial = next(iter(self.candidates), math.nan)
        seeds = []
        for row in _rows(self.confirmed.sort_values("seed", kind="stable")):
            mine = (epochs["kind"] == "replicate") & (epochs["number"] == row["seed"])
            mine &= (
                epochs["trial"].isna() if math.isnan(trial) else (epochs["trial"].isna() | (epochs["trial"] == trial))
            )
            seeds.append({**row, "history": _rows(epochs[mine])})
        return diagnostics.judge(
            self.config,
            facts if isinstance(facts, Mapping) else {},
            space=space,
            trials=_rows(numbered) if self.objective in numbered else [],
            winner=None if self.winner is None else int(self.winner["number"]),
            params={path: self.winning(path) for path in space},
            seeds=seeds,
            pairs=self._pairs(),
        )

    def _pairs(self) -> dict[tuple[int, int], int]:
        """(label, prediction) -> test samples of the first replicate."""
        table = self.confusion
        classes = [int(name) for name in table.index.tolist()]
        return {
            (label, said): n
            for label, row in zip(classes, table.to_numpy().tolist(), strict=True)
            for said, n in zip(classes, row, strict=True)
            if n
        }

    @property
    def counts(self) -> dict[str, int]:
        """Trials by end: complete, pruned, failed by their own fault, and queued again."""
        state, reason = self.trials["state"], self.trials["reason"]
        again = (state == "FAIL") & reason.isin(REQUEUED)
        return {
            "complete": int((state == "COMPLETE").sum()),
            "pruned": int((state == "PRUNED").sum()),
            "failed": int(((state == "FAIL") & ~again).sum()),
            "requeued": int(again.sum()),
        }

    @property
    def search_s(self) -> float:
        """Seconds of all trials together."""
        return math.fsum(v for v in alone_s(self.trials) if math.isfinite(v))

    def space(self) -> dict[str, dict[str, Any]]:
        """Searched paths with their domains, whether the configuration nests or dots them."""
        space = self.get("study.space")
        return dict(sorted(_domains(space, ()))) if isinstance(space, Mapping) else {}


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table; what is NaN is None."""
    return [
        {str(name): None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def at(tree: Any, path: str, default: Any = None) -> Any:
    """Value at a dotted path of nested mappings, `default` where there is none."""
    for key in path.split("."):
        if not isinstance(tree, Mapping) or key not in tree:
            return default
        tree = tree[key]
    return default if tree is None else tree


def find(root: Path) -> list[tuple[Path, str | None]]:
    """Study folders below `root`, sorted, each with the device it is published under.

    A study folder holds `config.yaml`, `trials.csv` or `replicates.csv` and is no benchmark's. It is a working folder
    when it lies in `root` (or is `root`) or in `merged/`, published when it lies in `published/<device>/`; `root` may be
    that `published`.
    """
    files = ("config.yaml", "trials.csv", "replicates.csv")
    return [p for p in _places(root) if any((p[0] / file).is_file() for file in files) and not _is_benchmark(p[0])]


def find_benchmarks(root: Path) -> list[tuple[Path, str | None]]:
    """Folders of kernel benchmarks, as `find`: those with a `cells.csv`, or named `kernels-<grid>` but no study."""
    return [place for place in _places(root) if _is_benchmark(place[0])]


def _places(root: Path) -> list[tuple[Path, str | None]]:
    public = root if root.name == "published" else root / "published"
    places: list[tuple[Path, str | None]] = [(folder, folder.parent.name) for folder in public.glob("*/*")]
    if root != public:
        places += [(folder, None) for folder in (root, *root.glob("*"), *root.glob("merged/*")) if folder != public]
    return sorted(places, key=lambda place: (place[1] or "", place[0].name))


def _is_benchmark(folder: Path) -> bool:
    if (folder / "cells.csv").is_file():
        return True
    begun = any((folder / file).is_file() for file in ("config.yaml", "ceilings.csv", "runs.csv", "samples.csv"))
    study = any((folder / file).is_file() for file in ("study.db", "trials.csv", "replicates.csv"))
    return folder.name.startswith("kernels-") and begun and not study


def load(folder: Path, published: str | None = None) -> Result:
    """Reads one study. Missing or damaged files leave empty tables and a note, never an exception."""
    result = Result(folder, folder.name, published)
    result.config = _mapping(result, "config.yaml", safe_load.from_yaml)
    result.environment = _mapping(result, "environment.json", safe_load.from_json)
    for file in record.FILES:
        result.tables[file] = _table(result, file)
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
    for file in record.FILES:
        result.tables[file] = frame(result, file, rows.get(file, []))
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
    _progress(result)
    return result


def load_benchmark(folder: Path, published: str | None = None) -> Result:
    """Reads one kernel benchmark: tables `cells.csv` and `ceilings.csv`; damage is a note, never an exception."""
    result = Result(folder, folder.name, published)
    result.config = _mapping(result, "config.yaml", safe_load.from_yaml)
    result.environment = _mapping(result, "environment.json", safe_load.from_json)
    for file in _BENCHMARK:
        result.tables[file] = _table(result, file)
        if not (folder / file).is_file():
            result.notes.append(f"{file} is missing.")
    table = result.tables["cells.csv"]
    cells = table[(table[["cell", "operation", "backend", "kernel", "state"]] != "").all(axis=1)]
    if len(cells) < len(table):
        result.notes.append(f"cells.csv: {len(table) - len(cells)} rows name no cell, arm or state and are left out.")
    keys = _KEYS["cells.csv"]
    most = cells.sort_values("rounds", ascending=False, kind="stable").drop_duplicates(keys).sort_index()
    if len(most) < len(cells):
        result.notes.append(f"cells.csv: {len(cells) - len(most)} rows repeat an arm with fewer rounds: left out.")
    result.tables["cells.csv"] = most.reset_index(drop=True)
    if most.empty:
        result.notes.append("cells.csv holds no row: nothing is measured yet.")
    wanted, timed = result.get("method.rounds"), most[most["state"].isin(("measured", "other_kernel"))]
    short = timed[timed["rounds"] < wanted] if isinstance(wanted, int) else timed.iloc[:0]
    if len(short):  # wrong, failed and too slow to compile end an arm after one round
        result.notes.append(
            f"Partially measured: {len(short)} of {len(timed)} rows have fewer than {wanted} rounds, "
            "the benchmark is unfinished or still running."
        )
    return result


def _mapping(result: Result, file: str, parse: Any) -> dict[str, Any]:
    try:
        value = parse((result.folder / file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        result.notes.append(f"{file} is missing.")
    except (OSError, ValueError) as error:
        reason = str(error) if isinstance(error, safe_load.UnreadableError) else type(error).__name__
        result.notes.append(f"{file} cannot be read: {reason}.")
    else:
        if isinstance(value, dict):
            return value
        result.notes.append(f"{file} does not hold a mapping.")
    return {}


def _table(result: Result, file: str) -> pd.DataFrame:
    path = result.folder / file
    rows: list[dict[str, str]] = []
    try:
        rows = fileio.read_rows(path)
        torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    except (OSError, ValueError, csv.Error) as error:
        result.notes.append(f"{file} cannot be read: {type(error).__name__}.")
        torn = False
    if torn:
        result.notes.append(f"{file} ends in a torn line, which is left out.")
    return frame(result, file, rows)


def frame(result: Result, file: str, rows: list[dict[str, str]]) -> pd.DataFrame:
    """Rows of a record file, given as text, as its table: sorted, whole rows alone, none twice; what is left out is noted."""
    columns = [*(record.FILES | _BENCHMARK)[file], *record.further(result.task, file)]
    whole = [row for row in rows if None not in row and None not in row.values()]
    known = (column for column in record.OPTIONAL_COLUMNS if column not in COSTS or file != "history.csv")
    columns += [column for column in known if any(row.get(column) for row in whole)]
    if len(whole) < len(rows):
        result.notes.append(f"{file}: {len(rows) - len(whole)} of {len(rows)} lines are torn and left out.")
    prefix = {"trials.csv": "config_", "cells.csv": ""}.get(file)
    extra = sorted({key for row in whole for key in row if prefix is not None and key.startswith(prefix)} - {*columns})
    table = pd.DataFrame(
        {c: pd.Series([row.get(c, "") for row in whole], dtype=object) for c in [*columns, *extra]},
    )
    for column in columns:
        if column not in record.TEXT:
            table[column] = pd.to_numeric(table[column], errors="coerce").astype(float)
    table = table.drop_duplicates()
    keys = _KEYS[file]
    table = table.sort_values([*keys, *(c for c in table.columns if c not in keys)], ignore_index=True)
    if file in ("trials.csv", "replicates.csv"):
        again = (table["state"] == "COMPLETE") & table[table["state"] == "COMPLETE"].duplicated(keys).reindex(
            table.index, fill_value=False
        )
        if again.any():
            result.notes.append(f"{file}: {int(again.sum())} rows repeat a {keys[-1]} and are left out.")
            table = table[~again].reset_index(drop=True)
    return table


def _progress(result: Result) -> None:
    ends, budget = result.counts, result.get("study.n_trials")
    done = ends["complete"] + ends["pruned"] + ends["failed"]
    if isinstance(budget, int) and done < budget:
        result.notes.append(f"{done} of {budget} trials are done: the search is unfinished or still running.")
    if done and result.best is None:
        result.notes.append("No trial is complete with a finite objective.")
    wanted, have = result.get("study.replicates"), len(result.confirmed)
    if wanted == 0:
        result.notes.append("study.replicates=0: not confirmed on the test set.")
    elif isinstance(wanted, int) and have < wanted:
        result.notes.append(f"{have} of {wanted} replicates are done.")
    elif not have:
        result.notes.append("There are no replicates: not confirmed on the test set.")


def _domains(tree: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in tree.items():
        here = (*path, str(key))
        if isinstance(value, Mapping) and isinstance(value.get("type"), str):
            yield ".".join(here), dict(value)
        elif isinstance(value, Mapping):
            yield from _domains(value, here)
