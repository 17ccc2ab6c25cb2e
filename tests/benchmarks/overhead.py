"""What a sweep costs beside the training itself: a table of each part.

    python tests/benchmarks/overhead.py [PART ...] [KEY=VALUE ...]

parts  start    seconds from the command to its header, to the first worker ready, to the first training step begun
       phases   milliseconds of a trial by phase, in the driver and in its worker
       driver   CPU seconds of the driver, per trial and for its start and end
       memory   resident memory of one worker over 100 trials of one process
       study    a study of 10,000 finished trials: what one more trial costs, the report, the size
keys   backend=tensorflow[,jax,torch]   n=3 (runs of `start`)   trials=10000 (of `study`)   repeats=30 (of `study`)

Without parts, all of them. The first four run the sweep as a process of its own through this file, which writes down when
the functions named below are called, in the driver and in its workers; a function that is not there is left out. Nothing is
written but below the temporary folder; kernels remembered on this machine are neither used nor changed.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import gc
import importlib
import json
import math
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PARTS = ("start", "phases", "driver", "memory", "study")
QUIET = ("tracking=none", "study.replicates=0", "kernel=generic", "launcher.workers=1")
SMOKE = ("+study=smoke", "study.n_trials=20", "study.replicates=0", "kernel=generic", "launcher.workers=1")
SINGLE = (
    *("+study=single", "study.n_trials=20", "study.replicates=0", "dataset.fallback=null"),
    *("dataset.train_size=6400", "kernel=generic", "launcher.workers=1"),
)
UNITS = "+study.space.model.units={type: int, low: 16, high: 115}"
# Whose calls are written down: module, class or "", function -> name of the phase.
DRIVER = {
    ("core.console", "Display", "line"): "line",
    ("sweep.store.trials", "TrialStore", "ask"): "ask",
    ("sweep.store.trials", "TrialStore", "report"): "report",
    ("sweep.store.trials", "TrialStore", "tell"): "tell",
    ("launcher.local", "LocalLauncher", "submit"): "submit",
    ("core.fileio", "", "append_rows"): "record",
    ("tracking.follower", "Follower", "look"): "track",
    ("sweep.driver", "Driver", "search"): "search",
}
WORKER = {
    ("training.tasks", "TaskRunner", "run"): "run",
    ("training.programs", "Engines", "of"): "build",
    ("training.engine.tensorflow", "TensorflowEngine", "warm_up"): "warm_up",
    ("training.engine.tensorflow", "TensorflowEngine", "steps"): "train",
    ("training.engine.tensorflow", "TensorflowEngine", "logits"): "evaluate",
    ("training.engine.jax", "JaxEngine", "warm_up"): "warm_up",
    ("training.engine.jax", "JaxEngine", "steps"): "train",
    ("training.engine.jax", "JaxEngine", "logits"): "evaluate",
    ("training.engine.torch", "TorchEngine", "warm_up"): "warm_up",
    ("training.engine.torch", "TorchEngine", "steps"): "train",
    ("training.engine.torch", "TorchEngine", "logits"): "evaluate",
}

Spans = list[dict[str, Any]]


# Inside the processes of a sweep.


class Notes:
    """Writes down calls as lines of JSON: what, when it began (seconds, monotonic, one clock for all processes), how long."""

    def __init__(self, path: str):
        self.path, self._inside = path, set[str]()

    def write(self, what: str, began: float, seconds: float = 0.0, **more: Any) -> None:
        """One line, whole: it is appended in one call."""
        line = json.dumps({"what": what, "pid": os.getpid(), "at": began, "s": seconds, **more}) + "\n"
        with Path(self.path).open("ab", buffering=0) as file:
            file.write(line.encode())

    def wrap(self, owner: Any, name: str, what: str, about: Callable[..., dict[str, Any]] | None = None) -> None:
        """Replaces `owner.name` by itself with a clock around it; calls from within a call of the same phase are its own."""
        call = getattr(owner, name)

        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if what in self._inside:
                return call(*args, **kwargs)
            self._inside.add(what)
            more = about(*args) if about else {}
            if what in ("train", "run"):
                self.write(f"{what} begins", time.monotonic(), **more)
            began = time.monotonic()
            try:
                return call(*args, **kwargs)
            finally:
                seconds = time.monotonic() - began
                self._inside.discard(what)
                self.write(what, began, seconds, **more)
                if what == "search":
                    self.write("searched", time.monotonic(), **(about(*args) if about else {}))

        setattr(owner, name, timed)

    def wrap_all(self, calls: Mapping[tuple[str, str, str], str], about: Mapping[str, Callable[..., Any]]) -> None:
        """Wraps `calls`; one that is not there any more is an error, else nothing would be measured unsaid."""
        for (module, owner, name), what in calls.items():
            found = importlib.import_module(f"lstm_bench.{module}")
            self.wrap(getattr(found, owner) if owner else found, name, what, about.get(what))


def as_driver(path: str, args: Sequence[str]) -> int:
    """The sweep's command with notes; its workers are started through `as_worker`."""
    import psutil

    from lstm_bench.launcher import local
    from lstm_bench.sweep import command as sweep

    notes, popen = Notes(path), subprocess.Popen

    def start(command: list[str], **options: Any) -> Any:
        fd = command[command.index("lstm_bench.launcher.worker") + 1]
        return popen([sys.executable, str(Path(__file__).resolve()), "--worker", path, fd], **options)

    class Started:
        Popen, DEVNULL = staticmethod(start), subprocess.DEVNULL

    local.subprocess = Started  # type: ignore[attr-defined]
    happened = local.LocalLauncher.events

    def events(self: Any, timeout_s: float) -> list[Any]:
        found = happened(self, timeout_s)
        for event in found:
            if event.kind in ("ready", "result"):
                notes.write(event.kind, time.monotonic(), key=event.key)
        return found

    local.LocalLauncher.events = events  # type: ignore[method-assign]

    def cpu(*_: Any) -> dict[str, float]:
        used = psutil.Process().cpu_times()
        return {"cpu": used.user + used.system}

    notes.wrap_all(DRIVER, {"submit": lambda _, key, task: {"key": key, "kind": task["kind"]}, "search": cpu})
    code = sweep.main(list(args))
    notes.write("end", time.monotonic(), **cpu())
    return code


def as_worker(path: str, fd: str) -> int:
    """A worker with notes."""
    import psutil

    from lstm_bench.launcher import worker
    from lstm_bench.training import backend as backends

    notes, load, send = Notes(path), backends.load, worker._Link.send

    def load_backend(backend: str, *args: Any) -> str:
        seen = load(backend, *args)
        calls = {call: what for call, what in WORKER.items() if not call[0].startswith("engine_") or backend in call[0]}
        notes.wrap_all(calls, {"run": lambda _, task, *__: {"kind": task["kind"]}})
        if backend == "tensorflow":
            import tensorflow as tf

            notes.wrap(type(tf.function(lambda: 0)), "get_concrete_function", "trace")
        if backend == "jax":
            import jax

            def heard(event: str, seconds: float, **_: Any) -> None:
                what = "compile" if "backend_compile" in event else "trace" if "/compile/" in event else None
                if what:
                    notes.write(what, time.monotonic() - seconds, seconds)

            jax.monitoring.register_event_duration_secs_listener(heard)
        return seen

    def sent(self: Any, message: dict[str, Any]) -> None:
        if message["event"] == "result":
            notes.write("collect", time.monotonic(), mib=psutil.Process().memory_info().rss / 2**20)
        send(self, message)

    backends.load, worker._Link.send = load_backend, sent  # type: ignore[method-assign]
    gc.collect()
    return worker.main([fd])


# Outside.


@contextlib.contextmanager
def sweep(args: Sequence[str], folder: Path) -> Iterator[tuple[subprocess.Popen[str], Path, float]]:
    """A running sweep in `folder`, the file of its notes, and when it was started; interrupted at the end."""
    notes = folder / "notes.jsonl"
    notes.write_bytes(b"")
    here = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--driver", str(notes), *args]
    began = time.monotonic()
    with (folder / "stderr.txt").open("w") as errors:
        child = subprocess.Popen(command, cwd=folder, env=here, text=True, stdout=subprocess.PIPE, stderr=errors)
    try:
        yield child, notes, began
    finally:
        for _ in range(2):  # the second interrupt does not wait for the trials
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
                time.sleep(0.5)
        if not child.stdout.closed:  # type: ignore[union-attr]
            child.communicate()


def read(notes: Path) -> Spans:
    """What was written down, by time."""
    return sorted(map(json.loads, notes.read_text().splitlines()), key=lambda span: span["at"])


@functools.cache
def whole(*args: str) -> Spans:
    """Notes of a sweep that ran to its end."""
    with tempfile.TemporaryDirectory() as folder, sweep(args, Path(folder)) as (child, notes, _):
        said = child.communicate()[0]
        if child.returncode:
            raise SystemExit(f"{' '.join(args)}\n{said}\n{(Path(folder) / 'stderr.txt').read_text()[-2000:]}")
        return read(notes)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints Markdown; all columns but the first are numbers."""
    print("| " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * (len(columns) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def spread(values: Sequence[float], scale: float = 1000.0, digits: int = 1) -> list[str]:
    """Median, least, largest and count, as cells."""
    if not values:
        return ["-", "-", "-", "0"]
    figures = (statistics.median(values), min(values), max(values))
    return [*(f"{scale * value:,.{digits}f}" for value in figures), str(len(values))]


def start(backend: str, n: int) -> None:
    """From the command to the first step; a first time (the kernels are measured) and again (they are remembered)."""
    found: dict[str, list[float]] = {}
    for _ in range(n):
        with tempfile.TemporaryDirectory() as name:
            for time_ in ("first time", "again"):
                # Of another name, the second study is new as well, and what the first one measured is known.
                args = ("+study=single", f"backend={backend}", f"study.name=start-{time_[:5]}", "dataset.fallback=null")
                with sweep(args, Path(name)) as (child, notes, began):
                    assert child.stdout is not None
                    child.stdout.readline()
                    found.setdefault("header's first line", []).append(time.monotonic() - began)
                    for what, event, kind in (
                        (f"first worker ready, {time_}", "ready", None),
                        (f"first training step of a trial begins, {time_}", "train begins", "trial"),
                    ):
                        found.setdefault(what, []).append(_first(child, notes, event, kind) - began)
    print(f"### Start: `+study=single backend={backend}`, seconds after the command\n")
    table(["", "median", "least", "largest", "n"], [[what, *spread(s, 1, 2)] for what, s in found.items()])


def _first(child: subprocess.Popen[str], notes: Path, event: str, kind: str | None, limit_s: float = 300.0) -> float:
    """When something was first written down; with `kind`, in a task of that kind."""
    ends = time.monotonic() + limit_s
    while time.monotonic() < ends and child.poll() is None:
        in_kind = kind is None
        for span in read(notes) if notes.read_bytes().endswith(b"\n") else []:
            if span["what"] == "run begins":
                in_kind = kind in (None, span["kind"])
            elif span["what"] == event and in_kind:
                return float(span["at"])
        time.sleep(0.05)
    raise SystemExit(f"nothing like {event!r} happened; the sweep's exit code is {child.poll()}")


def phases(backend: str) -> None:
    """Milliseconds of a trial by phase: medians over the trials of two small studies."""
    for name, args in (("smoke, digits", SMOKE), ("single, MNIST, 6,400 samples, TPE", SINGLE)):
        spans = whole(*args, f"backend={backend}")
        rows = trials(spans)
        print(f"### Phases: {name}, {backend}, milliseconds per trial\n")
        names = dict.fromkeys(key for row in rows for key in row)
        table(["", "median", "least", "largest", "n"], [[k, *spread([r[k] for r in rows if k in r])] for k in names])


def trials(spans: Spans) -> list[dict[str, float]]:
    """Seconds of each trial by phase. With one worker, the i-th that was submitted is the i-th that ran."""
    driver = {what: [s for s in spans if s["what"] == what] for what in dict.fromkeys(DRIVER.values())}
    submitted = [s for s in driver["submit"] if s["kind"] == "trial"]
    results = {s["key"]: s["at"] for s in spans if s["what"] == "result"}
    ran = [s for s in spans if s["what"] == "run" and s["kind"] == "trial"]
    collected = [s["at"] for s in spans if s["what"] == "collect"]
    asked = list(driver["ask"])
    rows = []
    for index, (sent, run) in enumerate(zip(submitted, ran, strict=True)):
        end = run["at"] + run["s"]
        inside = [s for s in spans if s["pid"] == run["pid"] and run["at"] <= s["at"] <= end]
        took = {what: sum(s["s"] for s in inside if s["what"] == what) for what in {s["what"] for s in inside}}
        warm = [s for s in inside if s["what"] == "warm_up"]
        in_warm = [s for s in inside if any(w["at"] <= s["at"] <= w["at"] + w["s"] for w in warm)]
        traced, compiled = (sum(s["s"] for s in in_warm if s["what"] == what) for what in ("trace", "compile"))
        row = {"ask": asked[index]["s"], "dispatch": run["at"] - sent["at"], "build": took.get("build", 0.0)}
        row["trace"] = traced
        # TensorFlow and torch say nothing of their compilers: what is left of the warm-up is theirs, and the first steps.
        row["compile, first steps"] = took.get("warm_up", 0.0) - traced
        if compiled:
            row["of it the compiler"] = compiled
        row |= {what: took.get(what, 0.0) for what in ("train", "evaluate")}
        row["rest of the worker"] = run["s"] - sum(
            took.get(what, 0.0) for what in ("build", "warm_up", "train", "evaluate")
        )
        row["collect"] = min(at for at in collected if at >= end) - end
        back = results[sent["key"]]
        row["result to driver"] = back - min(at for at in collected if at >= end)
        until = submitted[index + 1]["at"] if index + 1 < len(submitted) else math.inf
        row["prune (all epochs)"] = sum(s["s"] for s in driver["report"] if sent["at"] <= s["at"] <= back)
        row["tell"] = next(s["s"] for s in driver["tell"] if s["at"] >= back)
        if until < math.inf:
            row["worker waits"] = until - back
        later = submitted[index + 2]["at"] if index + 2 < len(submitted) else math.inf
        for what in ("record", "track"):
            row[f"{what} (while the next one runs)"] = sum(
                s["s"] for s in driver[what] if back <= s["at"] < min(later, _next(results, back))
            )
        rows.append(row)
    return rows


def _next(results: Mapping[str, float], after: float) -> float:
    return min((at for at in results.values() if at > after), default=math.inf)


def driver(backend: str) -> None:
    """CPU seconds of the driver: the search by its trials, and all the rest."""
    rows = []
    for name, args in (("smoke, digits", SMOKE), ("single, MNIST, 6,400 samples, TPE", SINGLE)):
        spans = whole(*args, f"backend={backend}")
        before, after, end = (next(s for s in spans if s["what"] == what) for what in ("search", "searched", "end"))
        n = sum(s["what"] == "tell" for s in spans)
        used, wall = after["cpu"] - before["cpu"], before["s"]
        cells = (f"{1000 * used / n:.1f}", f"{100 * used / wall:.1f}", f"{end['cpu'] - used:.2f}", str(n))
        rows.append([f"{name}, {backend}", *cells])
    print("### Driver: its own CPU\n")
    table(["", "ms per trial of the search", "% of the search's wall time", "s, start and end", "trials"], rows)


def memory(backend: str) -> None:
    """Resident MiB of one worker after each of 100 trials."""
    rows = []
    options = (*QUIET, f"backend={backend}", "study.n_trials=100", "sampler=random", "pruner=none", "train.epochs=2")
    options += ("launcher.recycle_after=1000", "launcher.recycle_mib=1000000", "+study=smoke")
    for name, more in (("learning rate differs", ()), ("units differ", (UNITS,))):
        spans = whole(*options, *more)
        first = next(s["at"] for s in spans if s["what"] == "run begins" and s["kind"] == "trial")
        mib = [s["mib"] for s in spans if s["what"] == "collect" and s["at"] > first]
        growth = (mib[-1] - mib[9]) / (len(mib) - 10)
        cells = [
            *(f"{mib[at - 1]:,.0f}" for at in (1, 10, 50, len(mib))),
            f"{growth:+.2f}",
            f"{100 * (mib[-1] / mib[9] - 1):+.1f}",
        ]
        rows.append([f"{name}, {backend}", *cells])
    print("### Memory: resident MiB of one worker\n")
    table(["", "after trial 1", "10", "50", "100", "MiB per trial after the 10th", "% from the 10th to the last"], rows)


# A study of many trials, filled by Optuna's own storage with what `TrialStore.tell` leaves.


def composed(*overrides: str) -> dict[str, Any]:
    """The configuration of `+study=single`."""
    from hydra import compose, initialize_config_dir

    from lstm_bench.core import configuration
    from lstm_bench.data import objective
    from lstm_bench.sweep import validate

    with initialize_config_dir(version_base="1.3", config_dir=str(configuration.conf_dir())):
        config = validate.load(compose("sweep", overrides=["+study=single", "tracking=none", *overrides]))
        objective.check_aims(config["study"])
        return config


def result(state: str, rng: random.Random) -> dict[str, Any]:
    """What a worker says of a trial."""
    names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "train_s")
    best = rng.random()
    history = [
        {"epoch": epoch, **{name: best - rng.random() / 10 for name in names}}
        for epoch in range(1, 4 if state == "COMPLETE" else 3)
    ]
    seconds = {"setup_s": 0.25, "compile_s": 1.25, "train_s": 6.0, "eval_s": 0.5, "total_s": 8.0}
    where = {"kernel_ran": "generic", "backend": "tensorflow", "device": "a CPU", "device_share": "exclusive"}
    size = {"epochs": len(history), "n_weights": 24714, "n_trainable": 24586, "train_samples_per_s": 2e4 + rng.random()}
    last = {name: history[-1][name] for name in names[:4]}
    return {"state": state, **last, **size, **seconds, **where, "history": history}


def fill(folder: Path, config: dict[str, Any], n: int) -> None:
    """Six of ten trials COMPLETE, four PRUNED, one of a hundred lost with its worker and run again."""
    import sqlalchemy
    from optuna.samplers import RandomSampler
    from optuna.trial import TrialState, create_trial

    from lstm_bench.study import search_space as spaces
    from lstm_bench.sweep.samplers import distributions
    from lstm_bench.sweep.store.trials import opened as open_study

    space = spaces.parse(config)
    study = open_study(config, space, folder, "ab" * 32)
    # As in any fast import: nothing is lost if the machine goes down meanwhile but this study.
    sqlalchemy.event.listen(study._engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
    study._engine.dispose()
    distributions, rng, sampler = distributions(space), random.Random(0), RandomSampler(seed=0)
    params: dict[str, Any] = {}
    for number in range(n):
        retries = number % 100 == 0 < number
        state = "FAIL" if number % 100 == 99 else "COMPLETE" if number % 10 < 6 else "PRUNED"
        if not retries:
            params = {k: sampler.sample_independent(study._study, None, k, d) for k, d in distributions.items()}
        said = result(state, rng)
        failed = {"reason": "worker_died", "result": {"state": "FAIL", "reason": "worker_died", "detail": "exit -9"}}
        attrs = {"seed": number, **(failed if state == "FAIL" else {"result": said})}
        trial = create_trial(
            state=TrialState[state],
            value=None if state == "FAIL" else said["val_accuracy"],
            params=params,
            distributions=distributions,
            user_attrs=attrs | ({"retry_of": number - 1} if retries else {}),
            intermediate_values={epoch["epoch"]: epoch["val_accuracy"] for epoch in said["history"]},
        )
        began = datetime.datetime(2025, 1, 1) + datetime.timedelta(seconds=8 * number)
        trial.datetime_start, trial.datetime_complete = began, began + datetime.timedelta(seconds=8)
        study._storage.create_new_trial(study._id, trial)
    study.close()


class Clocks:
    """Seconds of named calls, with what of them was the sampler's and what the disk's."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._spent = {"sampler": 0.0, "disk": 0.0}
        self._inside = False

    def aside(self, owner: Any, name: str, who: str) -> None:
        """Calls of `owner.name` are `who`'s."""
        call = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return call(*args, **kwargs)
            self._inside, since = True, time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self._inside = False
                self._spent[who] += time.perf_counter() - since

        setattr(owner, name, timed)

    def __call__(self, name: str, call: Callable[..., Any], *args: Any) -> Any:
        self._spent = dict.fromkeys(self._spent, 0.0)
        since = time.perf_counter()
        value = call(*args)
        whole = time.perf_counter() - since
        self.seconds.setdefault(name, []).append(whole - self._spent["sampler"])
        for who, spent in self._spent.items():
            if spent > 5e-5:
                # The disk's share is within the figure above it, the sampler's beside it.
                self.seconds.setdefault(f"{name}: {'of it commits' if who == 'disk' else 'sampler, apart'}", []).append(
                    spent
                )
        return value


def study(n: int, repeats: int) -> None:
    """What one more trial costs after `n`, for a sampler that looks at none of them and one that looks at all."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder = root / "sweeps" / "single"
        folder.mkdir(parents=True)
        budget = f"study.n_trials={n + 1000}"
        since = time.perf_counter()
        fill(folder, composed(budget, "sampler=random"), n)
        print(f"### Study of {n:,} trials (filled in {time.perf_counter() - since:.0f} s)\n", flush=True)
        rows: list[list[str]] = []
        for sampler in ("random", "tpe"):
            with _of_sampler(folder, sampler, budget) as config:
                clocks = _measure(folder, config, repeats)
            rows += [[f"{what}, {sampler}", *spread(seconds)] for what, seconds in clocks.seconds.items()]
        table(["milliseconds", "median", "least", "largest", "n"], rows)
        _lookup(folder, n, root)
        _report(root)


@contextlib.contextmanager
def _of_sampler(folder: Path, sampler: str, budget: str) -> Iterator[dict[str, Any]]:
    """The study under another sampler, which a resume would refuse: its stored configuration is replaced."""
    config = composed(budget, f"sampler={sampler}")
    stored = json.dumps(json.dumps(config))
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as database:
        database.execute("UPDATE study_user_attributes SET value_json=? WHERE key='config'", (stored,))
        database.commit()
    yield config


def _parts(folder: Path, config: dict[str, Any], opened: Any) -> Any:
    """Driver and records without workers, whose `later` is now and whose display shows nothing."""
    from lstm_bench.core.console import Display
    from lstm_bench.study import search_space as spaces
    from lstm_bench.sweep.parts import assembled

    class Now:
        def defer(self, work: Callable[[], None]) -> None:
            work()

    display = Display("val_accuracy", config["train"]["epochs"])
    display.line = lambda *_: None  # type: ignore[method-assign]
    loop: Any = Now()
    kernels: Any = None
    return assembled(config, spaces.parse(config), opened, loop, kernels, display, folder)


def _measure(folder: Path, config: dict[str, Any], repeats: int) -> Clocks:
    from optuna import samplers

    from lstm_bench.study import search_space as spaces
    from lstm_bench.sweep.store.trials import opened as open_study

    clocks, rng = Clocks(), random.Random(1)
    opened = clocks("open", open_study, config, spaces.parse(config), folder, "ab" * 32)
    clocks("first read of all trials (repair)", opened.repair)
    made = {"tpe": samplers.TPESampler, "random": samplers.RandomSampler}[config["sampler"]["name"]]
    kept = {name: getattr(made, name) for name in _SAMPLING}
    for name in _SAMPLING:
        clocks.aside(made, name, "sampler")
    clocks.aside(opened._engine.dialect, "do_commit", "disk")
    parts = _parts(folder, config, opened)
    clocks("rewrite of the records", parts.records.rewrite)
    while opened.counts()["queued"]:  # what the last one left, so that the next is a suggestion
        opened.tell(opened.ask().number, result("COMPLETE", rng))
    for _ in range(repeats):
        asked = clocks("ask", opened.ask)
        for epoch in (1, 2, 3):
            clocks("report of an epoch, median pruner", opened.report, asked.number, epoch, rng.random())
        clocks("tell", opened.tell, asked.number, result("COMPLETE", rng))
        row = clocks("row", opened.row, asked.number)
        epoch = {"kind": "trial", "number": asked.number, **row["history"][0]}
        clocks("an epoch in the records", parts.events.epochs_ended, [epoch])
        clocks("after the trial: records, display", parts.events.trial_ended, "x", {**row, "detail": None})
        for name in ("counts", "best"):
            clocks(name, getattr(opened, name))
    opened.close()
    for name, call in kept.items():
        setattr(made, name, call)
    return clocks


_SAMPLING = ("infer_relative_search_space", "sample_relative", "sample_independent", "before_trial", "after_trial")


def _lookup(folder: Path, n: int, root: Path) -> None:
    """MLflow on a store that has a run of every trial: what is there is looked up, and left alone."""
    from lstm_bench.study import search_space as spaces
    from lstm_bench.sweep.store.trials import opened as open_study
    from lstm_bench.tracking.client import open_tracking
    from lstm_bench.tracking.follower import Follower

    uri = f"sqlite:///{root / 'mlflow.db'}"
    config = composed(f"study.n_trials={n + 1000}", "sampler=tpe")
    opened = open_study(config, spaces.parse(config), folder, "ab" * 32)
    about = {"id": opened.get("id"), "name": "single", "objective": "val_accuracy", "direction": "maximize"}
    store = {"name": "mlflow", "uri": uri}
    tracking = open_tracking(store, experiment="single")
    tracking.start(about)
    row = opened.row(0)
    tracking.log_trial(row, row["history"], row["started_ms"], row["ended_ms"])
    tracking.finish("FINISHED")
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database:
        first, identity = database.execute(
            "SELECT run_uuid, value FROM tags WHERE key='lstm_bench.trial' AND value LIKE '%/0'"
        ).fetchone()
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        for name in tables:
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({name})")]
            if "run_uuid" not in columns:
                continue
            new = {"run_uuid": "printf('%032x', i)"}
            if name == "tags":
                new["value"] = f"CASE key WHEN 'lstm_bench.trial' THEN '{identity[:-1]}' || i ELSE value END"
            database.execute(
                "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?) "
                f"INSERT INTO {name} SELECT {', '.join(new.get(c, c) for c in columns)} FROM {name}, c WHERE run_uuid = ?",
                (len(opened.trials()) - 1, first),
            )
        database.commit()
        (runs,) = database.execute("SELECT count(*) FROM runs").fetchone()
    clocks = Clocks()
    tracking = open_tracking(store, experiment="single")
    clocks(f"MLflow's lookup of {runs - 1:,} runs", tracking.start, about)
    follower = Follower(folder, tracking, lambda *_: [])
    for what in ("a look at all, all there", "a look at what is new, nothing there"):
        clocks(what, follower.look)
    follower.close()
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database:
        assert tracking.warning is None and database.execute("SELECT count(*) FROM runs").fetchone() == (runs,)
    opened.close()
    table(["milliseconds", "median", "least", "largest", "n"], [[k, *spread(v)] for k, v in clocks.seconds.items()])


def _report(root: Path) -> None:
    """The report as a command, and the sizes."""
    import psutil
    import yaml

    folder = root / "sweeps" / "single"
    (folder / "config.yaml").write_text(yaml.safe_dump(composed(), sort_keys=False))
    rows = []
    for what in ("report", "report, nothing changed"):
        since, before = time.perf_counter(), psutil.Process().cpu_times()
        subprocess.run([sys.executable, "-m", "lstm_bench.report"], cwd=root, check=True, stdout=subprocess.DEVNULL)
        after = psutil.Process().cpu_times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        rows.append(
            [f"`python -m lstm_bench.report`, {what}", f"{time.perf_counter() - since:.1f} s, {cpu:.1f} s of CPU"]
        )
    files = [folder / name for name in ("study.db", "trials.csv", "history.csv")]
    files += sorted((root / "reports" / "figures").glob("single-*.svg"))
    rows += [[f"`{path.name}`", f"{path.stat().st_size / 2**20:.1f} MiB"] for path in files]
    table(["", "figure"], rows)


def main(args: Sequence[str]) -> int:
    """Runs the parts that are named."""
    if args[:1] == ["--driver"]:
        return as_driver(args[1], args[2:])
    if args[:1] == ["--worker"]:
        return as_worker(args[1], args[2])
    keys = {"backend": "tensorflow", "n": "3", "trials": "10000", "repeats": "30"}
    parts = [arg for arg in args if "=" not in arg]
    given = dict(arg.split("=", 1) for arg in args if "=" in arg)
    if not set(parts) <= set(PARTS) or not set(given) <= set(keys):
        print(__doc__)
        return 2
    keys |= given
    for part in parts or PARTS:
        if part == "study":
            study(int(keys["trials"]), int(keys["repeats"]))
            continue
        for backend in keys["backend"].split(","):
            if part == "start":
                start(backend, int(keys["n"]))
            else:
                {"phases": phases, "driver": driver, "memory": memory}[part](backend)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
