"""How many workers one driver can serve: its cost per trial, measured, and clusters of any size, simulated from it.

    python tests/benchmarks/scaling.py measure  [n=1000] [workers=64] [epochs=10] [storage=URL] [out=FILE]
    python tests/benchmarks/scaling.py simulate [costs=FILE] [trial_s=10] [workers=10,100,1000]
    python tests/benchmarks/scaling.py page     [costs=FILE]

`measure` runs a whole search of `n` trials through the real driver, study, database and records, with workers that answer at
once: what remains is the driver's own work. It counts the database's transactions, and what MLflow is told per trial on a
sqlite store of its own. One row per run goes to `out`. `simulate` takes the costs of each row's device and storage (medians
of its rows) into a discrete simulation: one server (the driver) before which trials queue to be asked for, to report each
epoch and to be told; their durations are log-normal about `trial_s` with a coefficient of variation of 0.3. `page` writes both
into reports/scaling.md.
"""

from __future__ import annotations

import contextlib
import csv
import heapq
import io
import math
import platform
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import record

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

COSTS = HERE / "records" / "scaling.csv"
COLUMNS = (
    "device", "commit", "storage", "n", "workers", "epochs", "trials_per_s", "cpu_ms", "ask_ms", "report_ms", "tell_ms",
    "after_ms", "commits", "statements", "mlflow_ms", "mlflow_commits",
)  # fmt: skip
SPREAD = 0.3  # coefficient of variation of a trial's duration


class Clock:
    """Seconds in calls by name, those inside another of them not counted twice."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = 0.0

    def wrap(self, owner: Any, method: str, name: str) -> None:
        """Times a method of one object."""
        call = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            outer, self._inner = self._inner, 0.0
            start = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                spent = time.perf_counter() - start
                self.seconds[name] += spent - self._inner
                self._inner = outer + spent

        setattr(owner, method, timed)


def counted(engine: Any) -> dict[str, int]:
    """Transactions and statements of a database, counted from now on."""
    from sqlalchemy import event

    counts = {"commits": 0, "statements": 0}

    def count(what: str) -> Callable[..., None]:
        def heard(*_: Any) -> None:
            counts[what] += 1

        return heard

    event.listen(engine, "commit", count("commits"))
    event.listen(engine, "before_cursor_execute", count("statements"))
    return counts


def measure(n: int, workers: int, epochs: int, storage: str | None, out: Path) -> None:
    """Runs one search and writes its row."""
    import fake

    def at_once(task: Mapping[str, Any]) -> Iterator[Any]:
        for epoch in range(1, epochs + 1):
            yield fake.metrics(task["config"], epoch)
        yield fake.complete(task)

    clock = Clock()
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        config = fake.config({"study.n_trials": n, "train.epochs": epochs})
        if storage:
            config["storage"]["url"], config["study"]["name"] = storage, f"scaling-{time.time_ns()}"
        with fake.opened(Path(name) / "study", config, at_once, workers=workers) as bench:
            counts = counted(bench.study._engine)
            for method, phase in (("ask", "ask"), ("report", "report"), ("tell", "tell")):
                clock.wrap(bench.study, method, phase)
            clock.wrap(bench.driver.events, "trial_ended", "after")
            start, cpu = time.perf_counter(), time.process_time()
            with contextlib.redirect_stdout(io.StringIO()):
                bench.loop.display = _silent(bench.driver)
                bench.driver.search()
            wall, cpu = time.perf_counter() - start, time.process_time() - cpu
            assert bench.study.counts()["complete"] == n
            rows = bench.study.rows()[:50]
        mlflow_s, mlflow_commits = told(rows)
    from lstm_bench.core import environment
    from lstm_bench.core import hardware as device

    row = {
        "device": device.cpu_name() or platform.processor(),
        "commit": (environment.git(ROOT) or {}).get("commit", "")[:12],
        "storage": "sqlite" if storage is None else storage.partition(":")[0].partition("+")[0],
        "n": n, "workers": workers, "epochs": epochs, "trials_per_s": f"{n / wall:.1f}", "cpu_ms": f"{1000 * cpu / n:.3f}",
        **{f"{phase}_ms": f"{1000 * clock.seconds[phase] / n / (epochs if phase == 'report' else 1):.3f}"
           for phase in ("ask", "report", "tell", "after")},
        "commits": f"{counts['commits'] / n:.1f}", "statements": f"{counts['statements'] / n:.1f}",
        "mlflow_ms": f"{1000 * mlflow_s:.1f}", "mlflow_commits": f"{mlflow_commits:.1f}",
    }  # fmt: skip
    record.append(out, COLUMNS, row)
    print("  ".join(f"{key} {value}" for key, value in row.items()))


def _silent(driver: Any) -> Any:
    """A display that shows nothing: a terminal's speed is not the driver's."""
    from unittest import mock

    shown = mock.MagicMock()
    driver.display = shown
    for listener in driver.events.listeners:
        listener._display = shown
    return shown


def told(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Seconds and transactions that MLflow takes for one trial, on a sqlite store in the working directory."""
    import sqlalchemy
    from sqlalchemy import event

    from lstm_bench.tracking.client import open_tracking

    tracking = open_tracking({"name": "mlflow", "uri": None}, experiment="scaling")
    tracking.start({"name": "scaling", "params": {}, "tags": {}})
    commits = 0

    def heard(*_: Any) -> None:
        nonlocal commits
        commits += 1

    event.listen(sqlalchemy.engine.Engine, "commit", heard)
    start = time.perf_counter()
    for row in rows:
        tracking.log_trial(row, row["history"], started_ms=row["started_ms"], ended_ms=row["ended_ms"])
    spent = (time.perf_counter() - start) / len(rows)
    event.remove(sqlalchemy.engine.Engine, "commit", heard)
    assert tracking.warning is None, tracking.warning
    return spent, commits / len(rows)


# Simulation.


def simulated(
    workers: int, trial_s: float, epochs: int, costs: Mapping[str, float], seconds: float, seed: int = 0
) -> dict[str, float]:
    """A cluster on one driver.

    Args:
      workers: How many there are.
      trial_s: Mean duration of a trial by itself.
      epochs: Reports of a trial.
      costs: Seconds of the driver: `ask`, `report` (of one epoch), `tell`, `after`.
      seconds: Simulated, after as much again as a trial takes until all workers are busy.
      seed: Of the durations.

    Returns:
      `trials_per_s`, `driver` (fraction of the time that it works), `idle` (fraction of the workers' time in which they wait for
      the driver) and `wait_s` (mean time from the end of a trial to the start of the next on the same worker).
    """
    rng = random.Random(seed)
    sigma = math.sqrt(math.log(1 + SPREAD**2))
    # What the driver has to do, by the time at which it is asked for: (time, order, kind, worker).
    todo: list[tuple[float, int, str, int]] = []
    order = 0

    def later(when: float, kind: str, worker: int) -> None:
        nonlocal order
        order += 1
        heapq.heappush(todo, (when, order, kind, worker))

    for worker in range(workers):
        later(rng.random() * trial_s, "first", worker)
    begin, end = 2 * trial_s, 2 * trial_s + seconds
    free = busy = idle = waited = 0.0
    done = 0
    while todo and todo[0][0] < end:
        arrived, _, kind, worker = heapq.heappop(todo)
        start = max(free, arrived)
        cost = {"report": costs["report"], "first": costs["ask"]}.get(
            kind, costs["tell"] + costs["ask"] + costs["after"]
        )
        # The next task goes out before records and display: `Loop.defer`.
        given = start + (cost if kind != "end" else costs["tell"] + costs["ask"])
        free = start + cost
        if begin <= start < end:
            busy += min(free, end) - start
        if kind == "report":
            continue
        if kind == "end" and begin <= given < end:
            done, waited, idle = done + 1, waited + given - arrived, idle + given - arrived
        duration = trial_s * rng.lognormvariate(-sigma * sigma / 2, sigma)
        for epoch in range(1, epochs + 1):
            later(given + duration * epoch / epochs, "report", worker)
        later(given + duration, "end", worker)
    return {
        "trials_per_s": done / seconds,
        "driver": busy / seconds,
        "idle": idle / (workers * seconds),
        "wait_s": waited / done if done else math.nan,
    }


def rows_of(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Medians of the measured rows by device and storage."""
    groups: defaultdict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    with path.open() as file:
        for row in csv.DictReader(file):
            groups[row["device"], row["storage"]].append(row)
    numbers = COLUMNS[3:]
    return {
        key: {name: statistics.median(float(row[name]) for row in rows) for name in numbers}
        | {"rounds": len(rows), "slowest": min(float(row["trials_per_s"]) for row in rows)}
        | {"fastest": max(float(row["trials_per_s"]) for row in rows)}
        for key, rows in groups.items()
    }


def simulate(path: Path, trial_s: float, workers: Sequence[int]) -> list[list[str]]:
    """Rows of the table: storage, workers and what comes of them."""
    table = []
    for (device, storage), row in rows_of(path).items():
        costs = {phase: row[f"{phase}_ms"] / 1000 for phase in ("ask", "report", "tell", "after")}
        for n in workers:
            found = simulated(n, trial_s, int(row["epochs"]), costs, seconds=60 * trial_s)
            rate = found["trials_per_s"]
            table.append(
                [
                    device, storage, f"{n:,}", f"{n / trial_s:,.0f}", f"{rate:,.1f}", f"{100 * found['driver']:.0f} %",
                    f"{100 * found['idle']:.1f} %", f"{found['wait_s']:.2f}", f"{rate * row['commits']:,.0f}",
                    f"{rate * row['mlflow_commits']:,.0f}", f"{100 * rate * row['mlflow_ms'] / 1000:,.0f} %",
                ]
            )  # fmt: skip
    return table


SIMULATED = [
    "device", "storage", "workers", "trials/s offered", "trials/s", "driver busy", "workers waiting", "wait, s",
    "database commits/s", "MLflow commits/s", "one MLflow writer busy",
]  # fmt: skip


def page(path: Path, trial_s: float, workers: Sequence[int]) -> str:
    """Contents of reports/scaling.md."""
    from lstm_bench.report.render.markdown import document, markdown

    measured = [
        [
            device, storage, f"{row['rounds']}", f"{row['n']:,.0f}", f"{row['workers']:.0f}", f"{row['epochs']:.0f}",
            f"{row['trials_per_s']:.0f} ({row['slowest']:.0f} to {row['fastest']:.0f})",
            *(f"{row[f'{phase}_ms']:.2f}" for phase in ("ask", "report", "tell", "after")),
            f"{row['commits']:.1f}", f"{row['mlflow_ms']:.0f}", f"{row['mlflow_commits']:.0f}",
        ]
        for (device, storage), row in rows_of(path).items()
    ]  # fmt: skip
    columns = [
        "device of the driver", "storage", "rounds", "trials", "workers", "epochs", "trials/s (lowest to highest)", "ask, ms",
        "report, ms", "tell, ms", "records, ms", "commits per trial", "MLflow, ms per trial", "MLflow commits per trial",
    ]  # fmt: skip
    limits = []
    for (device, storage), row in rows_of(path).items():
        epochs = int(row["epochs"])
        work = {
            "asking": row["ask_ms"],
            "reports": epochs * row["report_ms"],
            "telling": row["tell_ms"],
            "records": row["after_ms"],
        }
        total, most = sum(work.values()), max(work, key=lambda name: work[name])
        limits.append(
            f"- {device}, {storage}: {total:.1f} ms of the driver per trial of {epochs} epochs, hence at most "
            f"{1000 / total:,.0f} trials a second; {100 * work[most] / total:.0f} % of it is {most}. Trials of {trial_s:g} s "
            f"saturate it with {1000 / total * trial_s:,.0f} workers, trials of ten minutes with {1000 / total * 600:,.0f}."
        )
    return document(
        [
            "# How many workers one driver serves",
            "Made by `python tests/benchmarks/scaling.py page` from `tests/benchmarks/records/scaling.csv`; do not edit.",
            "## Measured: the driver's own work",
            "A whole search through the real driver, study, database and records, whose workers answer at once. "
            "Medians over the rounds.",
            markdown(columns, measured, set(columns[2:])),
            "## What limits it",
            "\n".join(limits),
            "## Simulated: clusters of any size",
            f"A discrete simulation with those costs: trials of {trial_s:g} s on average (log-normal, coefficient of variation "
            f"{SPREAD}), each reporting its epochs, sixty times as long as a trial. MLflow is told by a thread of its own, which "
            "keeps no worker waiting: the last column is how busy it would be; above 100 % it falls behind and catches up after "
            "the search.",
            markdown(SIMULATED, simulate(path, trial_s, workers), set(SIMULATED[2:])),
            "## What would be changed next",
            "Longer trials need nothing. For more, shorter ones: several drivers on one PostgreSQL study (`study.shared=true`) "
            "share the driver's work; the end of one trial and the beginning of the next can be one transaction; MLflow's "
            "trials can be sent in batches.",
        ]
    )


def main(args: Sequence[str]) -> int:
    """The command line."""
    if not args or args[0] not in ("measure", "simulate", "page"):
        print(__doc__)
        return 2
    given = dict(arg.split("=", 1) for arg in args[1:])
    costs = Path(given.get("costs", COSTS)).absolute()
    trial_s = float(given.get("trial_s", 10))
    workers = [int(n) for n in given.get("workers", "10,50,100,250,500,1000").split(",")]
    if args[0] == "measure":
        out = Path(given.get("out", COSTS)).absolute()
        numbers = {name: int(given.get(name, usual)) for name, usual in (("n", 1000), ("epochs", 10))}
        measure(workers=int(given.get("workers", 64)), storage=given.get("storage"), out=out, **numbers)
    elif args[0] == "simulate":
        for row in [SIMULATED, *simulate(costs, trial_s, workers)]:
            print("  ".join(f"{text:>18}" for text in row))
    else:
        target = ROOT / "reports" / "scaling.md"
        target.write_text(page(costs, trial_s, workers))
        print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
