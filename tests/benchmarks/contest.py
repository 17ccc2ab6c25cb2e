"""Whole lists of trainings, ours against what others would use: the same configurations, data, epochs and cores for all.

    python tests/benchmarks/contest.py [lists=single,stacked,simple_rnn,cnn_lstm] [contestants=all] [rounds=3]
        [train_size=N] [epochs=N] [n=N] [workers=N] [out=contest.csv]

Nothing is searched and nothing pruned: a list is a product of values, and every contestant trains each of its configurations
once and gives the validation accuracy after the last epoch. A contestant is a process started anew per list and round, timed
from its start to its exit, imports and everything included. Within a round and list they run in turn, a round later in rotated
order. Every finished run is a row of `out` at once; what has a row, also one without seconds for a contestant that failed, is
not run again: the same command goes on, `rounds=0` only prints the tables.

`n` cuts the axes of a list, evenly, until the product has at most n configurations; `train_size` and `epochs` are for rehearsals
too. `workers` (default: all cores) is how many cores anybody may use. Others live in environments of their own, eight gigabytes
that are made in the cache (~/.cache/lstm_bench/contest) when they are first needed; ours runs in the Python that runs this.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import record
from record import Row

HERE = Path(__file__).resolve().parent
Job = dict[str, Any]


def log_spaced(low: float, high: float, n: int) -> list[float]:
    return [float(f"{low * (high / low) ** (k / (n - 1)):.3g}") for k in range(n)]


@dataclass(frozen=True)
class List:
    """A product of values for one family; every other value that the family's study would search is in `fixed`."""

    axes: dict[str, list[Any]]
    fixed: dict[str, Any]
    epochs: int
    batch_size: int


LISTS = {
    "single": List(
        {"train.learning_rate": log_spaced(0.0005, 0.01, 8), "train.optimizer": ["adam", "rmsprop"]},
        {"model.units": 64},
        epochs=3,
        batch_size=64,
    ),
    "stacked": List(
        {"train.learning_rate": log_spaced(0.0005, 0.005, 4), "model.dropout": [0.1, 0.3]},
        {"model.units": 128, "model.layers": 2, "model.dense_units": 64, "train.optimizer": "adam"},
        epochs=2,
        batch_size=32,
    ),
    "simple_rnn": List(
        {"train.learning_rate": log_spaced(0.0002, 0.004, 8), "train.optimizer": ["adam", "rmsprop"]},
        {"model.units": 64},
        epochs=3,
        batch_size=64,
    ),
    "cnn_lstm": List(
        {"train.learning_rate": log_spaced(0.0005, 0.005, 4), "model.units": [32, 64]},
        {"model.window": 4, "model.filters": 16, "model.kernel_size": 3, "train.optimizer": "adam"},
        epochs=2,
        batch_size=64,
    ),
}

KERAS = "tensorflow==2.21.* keras==3.15.*,>=3.15.1"
# Environment -> what is installed, one call of pip each. Torch's and JAX's are the CPU's where pip is shown such a build.
REQUIREMENTS = {
    "keras": [KERAS],
    "keras_tuner": [f"{KERAS} keras-tuner==1.4.8 tensorboard==2.21.*"],  # the tuner imports it where TensorFlow is
    "ray_tune": [f"{KERAS} ray[tune]==2.60.0"],
    "torch": ["torch==2.13.0", "numpy==2.4.6"],
    "jax": ["jax==0.10.2"],
}
# Contestant -> environment, script below contestants/ and its further arguments; ours has neither.
OTHERS = {
    "fit": ("keras", "fit.py"),
    "fit_fresh": ("keras", "fit.py", "fresh"),
    "fit_no_stall": ("keras", "fit.py", "no_stall"),
    "keras_tuner": ("keras_tuner", "keras_tuner_search.py"),
    "ray_tune": ("ray_tune", "ray_tune_search.py"),
    "bare_torch": ("torch", "bare_torch.py"),
    "bare_jax": ("jax", "bare_jax.py"),
}
OURS = ("ours_tensorflow", "ours_tensorflow_cold", "ours_jax", "ours_torch")
CONTESTANTS = (*OTHERS, *OURS)

KEY = ("list", "round", "contestant", "n", "epochs", "train_size", "workers")
COLUMNS = (*KEY[:3], "seconds", *KEY[3:], "val_accuracy", "samples_per_s")


class ContestantError(Exception):
    """A contestant failed; the message holds the end of what it wrote."""


def python_of(name: str) -> Path:
    """Interpreter of the environment `name`, which is made if it is not there with these very requirements."""
    from lstm_bench.core.cache import cache_folder

    folder = cache_folder() / "contest" / name
    wanted = "".join(f"{line}\n" for line in REQUIREMENTS[name])
    marker, python = folder / "requirements.txt", folder / "bin" / "python"
    if not marker.is_file() or marker.read_text() != wanted:
        print(f"making {folder}", flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        for line in REQUIREMENTS[name]:
            subprocess.run([str(python), "-m", "pip", "install", "-q", *line.split()], check=True)
        marker.write_text(wanted)  # last: an interrupted installation has none
    return python


def cut(axes: Mapping[str, list[Any]], n: int | None) -> dict[str, list[Any]]:
    """Axes whose product has at most `n` configurations: the longest axis loses a value as long as there are more."""
    sizes = {axis: len(values) for axis, values in axes.items()}
    while n is not None and math.prod(sizes.values()) > n:
        sizes[max(sizes, key=lambda axis: sizes[axis])] -= 1
    return {
        axis: [values[round(k * (len(values) - 1) / (size - 1))] for k in range(size)]
        if (size := sizes[axis]) > 1
        else [values[len(values) // 2]]
        for axis, values in axes.items()
    }


def jobs(options: Mapping[str, Any]) -> dict[str, Job]:
    """The lists asked for as the contestants get them, in short names (`units` of `model.units`)."""
    found = {}
    for name in options["lists"]:
        one = LISTS[name]
        axes = cut(one.axes, options["n"])
        products = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
        found[name] = {
            "family": name,
            "axes": {_short(axis): values for axis, values in axes.items()},
            "configs": [{_short(path): v for path, v in {**one.fixed, **values}.items()} for values in products],
            "epochs": options["epochs"] or one.epochs,
            "batch_size": one.batch_size,
            "workers": options["workers"],
        }
    return found


def _short(path: str) -> str:
    return path.rpartition(".")[2]


def dataset(train_size: int | None, folder: Path) -> dict[str, Any]:
    """Splits MNIST as ours does, stores it for the others, and says where and how many training samples there are."""
    import numpy as np
    import yaml

    from lstm_bench.core.configuration import conf_dir
    from lstm_bench.data import dataset as data

    config = yaml.safe_load((conf_dir() / "dataset" / "mnist.yaml").read_text())
    found = data.resolve({**config, "train_size": train_size, "fallback": None})
    mnist = data.load(found.config)
    arrays = {
        f"{axis}_{split}": getattr(mnist, f"{axis}_{split}") for split in ("train", "validation") for axis in "xy"
    }
    np.savez(folder / "mnist.npz", **arrays)
    return {"data": str(folder / "mnist.npz"), "mnist_dir": found.config["dir"], "train_size": len(mnist.x_train)}


def sweep(job: Job, backend: str) -> list[str]:
    """Our command for a list: its axes as a grid, every other value of the study's space pinned."""
    one = LISTS[job["family"]]
    space = {path: {"type": "categorical", "choices": job["axes"][_short(path)]} for path in one.axes}
    fixed = {"train.schedule": "constant", "train.momentum": 0.0, **one.fixed}
    return [
        *(sys.executable, "-m", "lstm_bench.sweep", f"+study={job['family']}", f"backend={backend}"),
        *("sampler=grid", "pruner=none", f"study.n_trials={len(job['configs'])}", "study.replicates=0"),
        *(f"train.epochs={job['epochs']}", f"train.batch_size={job['batch_size']}"),
        *(f"launcher.workers={job['workers']}", "dataset.fallback=null", f"dataset.train_size={job['train_size']}"),
        "dataset.dir='" + job["mnist_dir"].replace("'", "\\'") + "'",
        *(f"{path}={value}" for path, value in fixed.items()),
        *(f"study.space.{path}={json.dumps(domain).replace(chr(34), '')}" for path, domain in space.items()),
    ]


def swept(job: Job, folder: Path) -> tuple[list[float], list[float]]:
    """Validation accuracies of our trials in the list's order, and their training samples per second."""
    with (folder / "sweeps" / job["family"] / "trials.csv").open(encoding="utf-8") as file:
        trials = list(csv.DictReader(file))
    columns = {_short(column): column for column in trials[0] if column.startswith("config_")}
    found = {tuple(trial[columns[axis]] for axis in job["axes"]): trial for trial in trials}
    by_value = {tuple(_number(value) for value in values): trial for values, trial in found.items()}
    order = [by_value[tuple(_number(config[axis]) for axis in job["axes"])] for config in job["configs"]]
    return [float(trial["val_accuracy"]) for trial in order], [float(trial["train_samples_per_s"]) for trial in order]


def _number(value: Any) -> Any:
    try:
        return float(value)
    except ValueError:
        return value


def timed(command: list[str], folder: Path, environment: Mapping[str, str]) -> tuple[float, str]:
    """Seconds from start to exit, and stdout. Files, not pipes: a daemon left behind would hold a pipe open."""
    out, err = folder / "stdout", folder / "stderr"
    with out.open("w") as out_file, err.open("w") as err_file:
        since = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, stdout=out_file, stderr=err_file)
        seconds = time.perf_counter() - since
    if done.returncode:
        last = (err.read_text(errors="replace").strip() or out.read_text(errors="replace").strip()).splitlines()[-5:]
        raise ContestantError(f"exit code {done.returncode}: " + "\n".join(last))
    return seconds, out.read_text(errors="replace")


def run(contestant: str, job: Job) -> dict[str, Any]:
    """One contestant on one list: seconds, val_accuracy, samples_per_s.

    Raises:
      ContestantError: when it ends with an error or without all of its accuracies.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        speeds: list[float] = []
        if contestant in OURS:
            environment = {"XDG_CACHE_HOME": name} if contestant.endswith("_cold") else {}
            seconds, _ = timed(sweep(job, contestant.split("_")[1]), folder, environment)
            accuracies, speeds = swept(job, folder)
        else:
            environment_name, script, *arguments = OTHERS[contestant]
            (folder / "job.json").write_text(json.dumps(job))
            command = [str(python_of(environment_name)), str(HERE / "contestants" / script), str(folder / "job.json")]
            seconds, printed = timed([*command, *arguments], folder, {})
            answer = json.loads(printed.splitlines()[-1])
            accuracies = answer["val_accuracy"]
            if answer["train_s"]:
                samples = job["epochs"] * (job["train_size"] // job["batch_size"]) * job["batch_size"]
                speeds = [samples / train_s for train_s in answer["train_s"]]
    if len(accuracies) != len(job["configs"]) or not all(map(math.isfinite, accuracies)):
        raise ContestantError(f"{len(job['configs'])} accuracies were expected: {accuracies}")
    return {
        "seconds": f"{seconds:.2f}",
        "val_accuracy": " ".join(f"{accuracy:.4f}" for accuracy in accuracies),
        "samples_per_s": f"{statistics.median(speeds):.0f}" if speeds else "",
    }


def compete(options: Mapping[str, Any], out: Path) -> None:
    """Runs what `out` does not have yet, round by round, list by list, the contestants in turn."""
    for environment in {OTHERS[contestant][0] for contestant in options["contestants"] if contestant in OTHERS}:
        python_of(environment)
    have = {tuple(row[column] for column in KEY) for row in record.rows(out)}
    with tempfile.TemporaryDirectory() as folder:
        where = dataset(options["train_size"], Path(folder))
        for number in range(1, options["rounds"] + 1):
            for name, job in jobs(options).items():
                turn = (number - 1) % len(options["contestants"])
                for contestant in options["contestants"][turn:] + options["contestants"][:turn]:
                    row = {"list": name, "round": number, "contestant": contestant, "n": len(job["configs"])}
                    row |= {key: job[key] for key in ("epochs", "workers")} | {"train_size": where["train_size"]}
                    if tuple(str(row[column]) for column in KEY) in have:
                        continue
                    try:
                        row |= run(contestant, job | where)
                    except ContestantError as error:
                        print(f"{name}, round {number}: {contestant} failed: {error}", file=sys.stderr, flush=True)
                    record.append(out, COLUMNS, row)
                    print(f"{name}, round {number}: {contestant} {row.get('seconds', '-')} s", flush=True)


def ratio(rows: Iterable[Row], over: str, under: str, column: str = "seconds") -> str:
    """Median of the ratios of two contestants within the rounds that both finished, with their ends."""
    values: dict[str, dict[str, float]] = {over: {}, under: {}}
    for row in rows:
        if row["contestant"] in values and row[column]:
            values[row["contestant"]][row["round"]] = float(row[column])
    found = [values[over][number] / values[under][number] for number in values[over].keys() & values[under].keys()]
    if not found:
        return "-"
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def accuracies(rows: Iterable[Row], contestant: str) -> list[float]:
    """Validation accuracy of every configuration, mean over the rounds."""
    found = [[float(v) for v in row["val_accuracy"].split()] for row in rows if row["contestant"] == contestant]
    return [statistics.mean(values) for values in zip(*filter(None, found), strict=True)]


def table(headings: list[str], body: Iterable[list[str]]) -> str:
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(rows: list[Row]) -> str:
    """Markdown: per list and setting the times, and the throughput of a worker against that of the bare frameworks."""
    parts = []
    settings = dict.fromkeys(tuple(row[column] for column in ("list", *KEY[3:])) for row in rows)
    for setting in settings:
        name, n, epochs, train_size, workers = setting
        mine = [row for row in rows if tuple(row[column] for column in ("list", *KEY[3:])) == setting]
        present = [contestant for contestant in CONTESTANTS if any(row["contestant"] == contestant for row in mine)]
        reference = accuracies(mine, "fit")
        rounds = len({row["round"] for row in mine})
        parts.append(
            f"## {name}: {n} configurations, {epochs} epochs of {train_size} samples, {workers} workers, {rounds} rounds"
        )
        body = []
        for contestant in present:
            seconds = [float(row["seconds"]) for row in mine if row["contestant"] == contestant and row["seconds"]]
            reached = accuracies(mine, contestant)
            apart = [a - b for a, b in zip(reached, reference, strict=True)] if reached and reference else []
            body.append(
                [
                    contestant,
                    f"{statistics.median(seconds):.1f}" if seconds else "failed",
                    *(ratio(mine, other, contestant) for other in ("fit", "keras_tuner", "ray_tune")),
                    f"{statistics.mean(reached):.4f} ± {statistics.pstdev(reached):.4f}" if reached else "-",
                    f"{statistics.median(apart):+.4f}" if apart else "-",
                ]
            )
        headings = ["contestant", "seconds", "times as fast as fit", "as keras_tuner", "as ray_tune"]
        parts.append(table([*headings, "validation accuracy", "minus fit's"], body))
        speeds = _speeds(mine, present)
        if speeds:
            parts.append(speeds)
    parts.append(
        "Seconds: median over the rounds, from the start of the process to its exit. Ratios: median of those within a round "
        "(lowest to highest). Accuracy: after the last epoch, mean ± standard deviation over the list; then the median over "
        "the configurations of the difference to fit. tf.data's autotune thread stalls the end of each epoch of `fit` in "
        "TensorFlow 2.21; `fit_no_stall` is the same loop with autotune switched off."
    )
    return "\n\n".join(parts)


def _speeds(rows: list[Row], present: list[str]) -> str:
    """Training samples per second of one worker, and ours over the bare frameworks'."""
    speeds: dict[str, float] = {}
    for contestant in present:
        found = [
            float(row["samples_per_s"]) for row in rows if row["contestant"] == contestant and row["samples_per_s"]
        ]
        if found:
            speeds[contestant] = statistics.median(found)
    bare = [contestant for contestant in speeds if contestant.startswith("bare")]
    if not speeds:
        return ""
    best = max(bare, key=lambda contestant: speeds[contestant], default="")
    body = []
    for contestant, speed in speeds.items():
        twin = "bare_" + contestant.split("_")[1]
        columns = [
            ratio(rows, contestant, other, "samples_per_s") if other in speeds and contestant != other else "-"
            for other in (twin, best)
        ]
        body.append([contestant, f"{speed:,.0f}", *columns])
    return table(["contestant", "training samples/s per worker", "over its bare framework", f"over {best}"], body)


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    known = list(known)

    def parse(text: str) -> list[str]:
        names = known if text == "all" else text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"no {unknown[0]}; there are {', '.join(known)}")
        return names

    return parse


def _at_least(low: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdigit() or int(text) < low:
            raise ValueError(f"{text} is no whole number of at least {low}")
        return int(text)

    return parse


def parsed(arguments: list[str]) -> dict[str, Any]:
    """Options from `key=value` arguments; exits with one line for what cannot be meant."""
    cores = len(os.sched_getaffinity(0))
    parsers: dict[str, Callable[[str], Any]] = {
        **{"lists": _names(LISTS), "contestants": _names(CONTESTANTS), "rounds": _at_least(0), "out": Path},
        **{name: _at_least(1) for name in ("train_size", "epochs", "n", "workers")},
    }
    options: dict[str, Any] = {
        **{"lists": list(LISTS), "contestants": list(CONTESTANTS), "rounds": 3, "out": Path("contest.csv")},
        **{"train_size": None, "epochs": None, "n": None, "workers": cores},
    }
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in parsers:
            sys.exit(f"contest.py: unknown option {key}; there are {', '.join(parsers)}")
        try:
            options[key] = parsers[key](value)
        except ValueError as error:
            sys.exit(f"contest.py: {key}: {error}")
    if options["workers"] > cores:
        sys.exit(f"contest.py: workers: {options['workers']} of {cores} cores")
    return options


def main(arguments: list[str]) -> None:
    options = parsed(arguments)
    out = options["out"].absolute()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options["workers"]])  # of all that is started from here
    if options["rounds"]:
        compete(options, out)
    print(page(record.rows(out)))


if __name__ == "__main__":
    main(sys.argv[1:])
