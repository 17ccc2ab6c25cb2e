"""A study's books after the fact: Optuna's database, the records and MLflow, each read for itself, then held together.

Nothing here asks the driver: what it would get wrong alike in all three is seen in the sums, the rest in the differences.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_bench.core import fileio, formatting

# Reasons after which parameters run again.
AGAIN = ("driver_died", "interrupted", "pack_failed", "worker_died", "oom_shared")
Book = dict[Any, dict[str, Any]]


def study_database(folder: Path) -> tuple[Book, Book, dict[str, Any]]:
    """Trials by number, replicates by (digest, seed), and what the study knows of itself, from `study.db`."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}")
    try:
        if folder.name not in optuna.get_all_study_names(storage):
            return {}, {}, {}
        study = optuna.load_study(storage=storage, study_name=folder.name)
        trials, attrs = study.get_trials(deepcopy=False), study.user_attrs
    finally:
        storage.remove_session()
        storage.engine.dispose()
    found: Book = {}
    for trial in trials:
        result = trial.user_attrs.get("result", {})
        found[trial.number] = {
            "state": trial.state.name,
            "reason": trial.user_attrs.get("reason") or "",
            "retry_of": formatting.format_field(trial.user_attrs.get("retry_of")),
            "seed": formatting.format_field(trial.user_attrs.get("seed")),
            "value": formatting.format_field(trial.value) if trial.state.name == "COMPLETE" else "",
            "params": {path: formatting.format_exact(value) for path, value in trial.params.items()},
            "curve": [
                (epoch["epoch"], formatting.format_field(epoch["val_accuracy"])) for epoch in result.get("history", [])
            ],
        }
    replicates: Book = {}
    for key, row in attrs.items():
        if key.startswith("replicate/"):
            _, digest, seed = key.split("/")
            curve = [
                (epoch["epoch"], formatting.format_field(epoch["val_accuracy"])) for epoch in row.get("history", [])
            ]
            score = formatting.format_field(row.get("test_accuracy"))
            replicates[digest, int(seed)] = {"state": row["state"], "score": score, "curve": curve}
    return found, replicates, dict(attrs)


def records(folder: Path) -> tuple[Book, Book, list[str]]:
    """Trials by number, replicates by (trial, seed), and numbers or seeds that are there twice, from the CSV files."""
    rows, seeds = fileio.read_rows(folder / "trials.csv"), fileio.read_rows(folder / "replicates.csv")
    curves = defaultdict(list)
    for line in fileio.read_rows(folder / "history.csv"):
        owner = line["number"] if line["kind"] == "trial" else (line["trial"], line["number"])
        curves[owner].append((int(line["epoch"]), line["val_accuracy"]))
    trials: Book = {
        int(row["number"]): {
            **{key: row[key] for key in ("state", "reason", "retry_of", "seed")},
            "value": row["val_accuracy"] if row["state"] == "COMPLETE" else "",
            "params": {
                path.removeprefix("config_"): row[path] for path in row if path.startswith("config_") and row[path]
            },
            "curve": curves[row["number"]],
        }
        for row in rows
    }
    replicates: Book = {
        (row["trial"], int(row["seed"])): {
            "state": row["state"],
            "score": row["test_accuracy"],
            "curve": curves[row["trial"], row["seed"]],
        }
        for row in seeds
    }
    keys = [row["number"] for row in rows] + [(row["trial"], row["seed"]) for row in seeds]
    return trials, replicates, [str(key) for key, n in Counter(keys).items() if n > 1]


def mlflow_store(path: Path, study_id: str) -> tuple[Book, Book, list[str]]:
    """Trials by number, replicates by (digest, seed), and what is wrong with the runs, from MLflow's sqlite file."""
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as database:
        tags: dict[str, dict[str, str]] = defaultdict(dict)
        for run, key, value in database.execute("SELECT run_uuid, key, value FROM tags"):
            tags[run][key] = value
        status = dict(database.execute("SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'"))
        params: dict[str, dict[str, str]] = defaultdict(dict)
        for run, key, value in database.execute("SELECT run_uuid, key, value FROM params"):
            params[run][key] = value
        points: dict[str, dict[str, list[tuple[int, str]]]] = defaultdict(lambda: defaultdict(list))
        query = "SELECT run_uuid, key, value, step FROM metrics WHERE is_nan = 0 ORDER BY step"
        for run, key, value, step in database.execute(query):
            points[run][key].append((step, formatting.format_field(value)))
    wrong, trials, replicates = [], Book(), Book()
    parents = 0
    for run, ended in status.items():
        own = tags[run]
        if own.get("lstm_bench.study") != study_id:
            continue
        if ended not in ("FINISHED", "FAILED", "KILLED"):
            wrong.append(f"run {own.get('mlflow.runName')} is {ended}")
        seen = {"state": own.get("state", ""), "curve": points[run]["curves/val_accuracy"]}
        if own["lstm_bench.kind"] == "study":
            parents += 1
        elif own["lstm_bench.kind"] == "trial":
            number = int(own["lstm_bench.trial"].rpartition("/")[2])
            if number in trials:
                wrong.append(f"two runs of trial {number}")
            last = (points[run]["val_accuracy"] or [(0, "")])[-1][1]
            more = {key: own.get(key, "") for key in ("reason", "retry_of", "seed")} | {"params": params[run]}
            trials[number] = seen | more | {"value": last if seen["state"] == "COMPLETE" else ""}
        elif own["lstm_bench.kind"] == "replicate":
            _, digest, seed = own["lstm_bench.replicate"].rsplit("/", 2)
            if (digest, int(seed)) in replicates:
                wrong.append(f"two runs of seed {seed}")
            replicates[digest, int(seed)] = seen | {"score": (points[run]["test_accuracy"] or [(0, "")])[-1][1]}
    if parents != 1:
        wrong.append(f"{parents} parent runs")
    return trials, replicates, wrong


def sound(path: Path) -> list[str]:
    """What sqlite finds wrong with a file."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        found = [row[0] for row in database.execute("PRAGMA integrity_check")]
    return [] if found == ["ok"] else [f"{path.name}: {line}" for line in found]


def finished(trials: Mapping[int, Mapping[str, Any]]) -> Book:
    """The trials that ended."""
    return {number: dict(trial) for number, trial in trials.items() if trial["state"] not in ("RUNNING", "WAITING")}


def complaints(
    folder: Path, n_trials: int, replicates: int, mlflow: Path | None = None, max_retry: int = 2
) -> list[str]:
    """What is wrong with a study whose command has said that it is done; nothing, if all is well.

    Args:
      folder: `sweeps/<study>/`.
      n_trials: Its budget.
      replicates: Seeds of each confirmed configuration.
      mlflow: MLflow's sqlite file, None where it is not tracked.
      max_retry: `study.max_retry`.
    """
    trials, seeds, attrs = study_database(folder)
    wrong = sound(folder / "study.db") + _sums(trials, n_trials, max_retry)
    written, replicated, twice = records(folder)
    wrong += [f"{key} is in the records twice" for key in twice]
    for number, trial in trials.items():  # what a killed driver's trial had come to is in history.csv alone
        if trial["reason"] == "driver_died" and number in written:
            curve = written[number]["curve"]
            if [epoch for epoch, _ in curve] != [*range(1, len(curve) + 1)]:
                wrong.append(f"records: trial {number}: its epochs are {[epoch for epoch, _ in curve]}")
            trial["curve"] = curve
    wrong += _differences("records", trials, written)
    wrong += [f"{path.name} was left behind" for path in folder.rglob("*.part")]
    by_trial = sorted(json.dumps(row, sort_keys=True) for row in seeds.values())
    if replicates and {row["state"] for row in trials.values()} >= {"COMPLETE"}:
        digests = Counter(digest for digest, _ in seeds)
        if not digests or set(digests.values()) != {replicates}:
            wrong.append(f"replicates by configuration: {dict(digests)}")
        # Those of a configuration that is no longer among the best stay in the database alone.
        in_records = [json.dumps(row, sort_keys=True) for row in replicated.values()]
        if len(in_records) != replicates or not set(in_records) <= set(by_trial):
            wrong.append(f"replicates: {in_records} in the records, {by_trial} in the database")
    if attrs.get("unsettled"):
        wrong.append("the study is unsettled")
    if mlflow is not None:
        wrong += sound(mlflow)
        runs, seed_runs, more = mlflow_store(mlflow, attrs["id"])
        wrong += [f"MLflow: {line}" for line in more]
        for run in runs.values():  # it holds every value of model and train, as text of its own
            number = next((n for n, other in runs.items() if other is run), None)
            searched = trials.get(number, {}).get("params", {}) if number is not None else {}
            run["params"] = {path: formatting.format_exact(json.loads(run["params"][path])) for path in searched}
        wrong += _differences("MLflow", trials, runs)
        if not set(seed_runs) <= set(seeds) or any(seeds[key] != row for key, row in seed_runs.items()):
            wrong.append(f"MLflow: replicates {seed_runs}, database {seeds}")
        if len(seed_runs) != len(seeds):
            wrong.append(f"MLflow: {len(seed_runs)} replicates, database {len(seeds)}")
    return wrong


def _sums(trials: Book, n_trials: int, max_retry: int) -> list[str]:
    """Every suggestion was run to one end, and there are as many as the budget says."""
    wrong = []
    if sorted(trials) != list(range(len(trials))):
        wrong.append(f"trial numbers {sorted(trials)}")
    # Without a seed, its driver died while it asked for it: no suggestion yet.
    first = [
        n for n, trial in trials.items() if trial["retry_of"] == "" and (trial["seed"] or trial["state"] != "FAIL")
    ]
    if len(first) != n_trials:
        wrong.append(f"{len(first)} suggestions, {n_trials} wanted")
    after: dict[int, int] = {}
    for number, trial in trials.items():
        if trial["state"] not in ("COMPLETE", "PRUNED", "FAIL"):
            wrong.append(f"trial {number} is {trial['state']}")
        if trial["retry_of"] != "":
            before = int(trial["retry_of"])
            if before in after:
                wrong.append(f"trial {before} was retried twice")
            after[before] = number
            if trials[before]["params"] != trial["params"] or trials[before]["reason"] not in AGAIN:
                wrong.append(f"trial {number} retries {before}, which is {trials[before]}")
    for number in first:
        deaths = 0
        while True:
            deaths += trials[number]["reason"] in ("worker_died", "oom_shared")
            if number not in after:
                break
            number = after[number]
        last = trials[number]
        if last["reason"] in AGAIN and not (deaths > max_retry and last["reason"] in ("worker_died", "oom_shared")):
            wrong.append(f"trial {number} failed by {last['reason']} and was not run again")
    return wrong


def _differences(name: str, trials: Book, others: Book) -> list[str]:
    if set(trials) != set(others):
        return [f"{name}: trials {sorted(others)}, database {sorted(trials)}"]
    return [
        f"{name}: trial {number}: {key} is {others[number][key]!r}, in the database {trial[key]!r}"
        for number, trial in trials.items()
        for key in trial
        if others[number][key] != trial[key]
    ]
