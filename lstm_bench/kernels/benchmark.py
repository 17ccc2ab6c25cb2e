"""The kernel benchmark's driver: every arm of every cell in fresh processes, round by round; what is known stays known.

plan -> reference -> one process per arm and round -> runs.csv, samples.csv -> cells.csv, MLflow. The files are the truth: a
run is finished when its row is in `runs.csv`, and the same command measures what is missing.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_bench.core import errors, fileio, hardware, schema, vocabulary
from lstm_bench.core.console import Display, Left
from lstm_bench.core.errors import ConfigError, DeviceError, LstmBenchError, StorageError
from lstm_bench.core.hardware import Gpu
from lstm_bench.kernels import case, grid, reference, summary
from lstm_bench.kernels.bench import BENCH
from lstm_bench.launcher.single_task import Kind, Process, Send
from lstm_bench.study import columns

Job = tuple[Mapping[str, Any], grid.Arm, int]  # cell, arm, round
_KEPT = "What was measured is kept: mend it, then give the same command again."
_STOPS = ("wrong", "failed", "compile_limit")  # further rounds would say the same


class Benchmark:
    """One kernel benchmark in its folder, locked by this process.

    Args:
      config: Resolved configuration.
      folder: `sweeps/kernels-<grid>/`.
      plan: Cells, in order.
      arms: Backend and kernel of each arm.
      operations: Some of `vocabulary.OPERATIONS`.
      gpus: The visible GPUs; the first is measured.
      say: Prints one line.
      display: Shows what runs and what is left; None for a program that is read by nobody.

    Attributes:
      rows: Of `cells.csv`, after `compute_cells`.
      commit: Of the code, written down with every run.
    """

    rows: list[dict[str, Any]]
    commit: str | None = None

    def __init__(
        self,
        config: schema.Kernels,
        folder: Path,
        plan: Sequence[Mapping[str, Any]],
        arms: Sequence[grid.Arm],
        operations: Sequence[str],
        gpus: Sequence[Gpu],
        say: Callable[[str], None],
        display: Display | None = None,
    ):
        self._display, self._lasted = display, list[float]()
        self.method = config["method"]
        self._grid: Mapping[str, Any] = config.get("grid", {})
        self.folder, self.plan, self.arms, self.operations, self.say = folder, plan, arms, operations, say
        self.gpus = list(gpus[:1])
        self.gpu = gpus[0].name if gpus else None
        self.slot = hardware.slots(1, self.gpus)[0]
        self.blind: set[str] = set()  # backends whose build cannot use the GPU
        self.logs = folder / "logs"
        self._standby: Process | None = None
        self._failed: set[tuple[str, str, str, str, int]] = set()
        self.rows = []
        self._load()

    def _load(self) -> None:
        # A failure of this session is not tried again in it; one of an earlier session is.
        self.runs = [
            run
            for run in fileio.read_rows(self.folder / "runs.csv")
            if run["state"] != "failed" or (*summary.key(run), int(run["round"])) in self._failed
        ]
        self.ceilings = fileio.read_rows(self.folder / "ceilings.csv")
        self._done: dict[summary.Key, dict[int, str]] = {}
        for run in self.runs:
            self._done.setdefault(summary.key(run), {})[int(run["round"])] = run["state"]

    def missing(self, cell: Mapping[str, Any], arm: grid.Arm, round_: int) -> list[str]:
        """Operations of an arm that a round has yet to run; none where it cannot, or an earlier round settled it."""
        if self._reason(arm, cell):
            return []
        left = []
        for operation in self.operations:
            done = self._done.get((case.name(cell), *arm, operation), {})
            if any(state in _STOPS for state in done.values()):
                continue
            if round_ not in done:
                left.append(operation)
        return left

    def _reason(self, arm: grid.Arm, cell: Mapping[str, Any]) -> str | None:
        return f"{arm[0]} does not see the GPU" if arm[0] in self.blind else grid.unavailable(arm, cell, self.gpu)

    def work_left(self) -> int:
        """Processes that are still to run."""
        rounds = range(self.method["rounds"])
        return sum(bool(self.missing(c, arm, r)) for r in rounds for c in self.plan for arm in self.arms)

    def run(self) -> None:
        """Measures what is missing.

        Raises:
          ConfigError: when no chosen backend can use the GPU.
          DeviceError: when the GPU has gone.
          KeyboardInterrupt: as it comes; what was measured is in the files.
        """
        if any((self.folder / file).exists() for file in ("runs.csv", "samples.csv")):
            self.compute_cells()  # samples whose run was never written down are taken out, and failures of earlier sessions
        with _terminable():
            try:
                jobs = self._jobs()
                self._ceilings(_kind(jobs[0][1]) if jobs else None)
                self._rounds(jobs)
            finally:
                self._dismiss()
                shutil.rmtree(self.folder / "reference", ignore_errors=True)
                self.compute_cells()

    def _jobs(self) -> list[Job]:
        """Every arm once per round, in shuffled order; a round goes over all cells before the next begins."""
        jobs: list[Job] = []
        for round_ in range(self.method["rounds"]):
            for cell in self.plan:
                arms = [arm for arm in self.arms if self.missing(cell, arm, round_)]
                random.Random(f"{self.method['seed']}/{round_}/{case.name(cell)}").shuffle(arms)
                jobs += [(cell, arm, round_) for arm in arms]
        return jobs

    def _rounds(self, jobs: list[Job]) -> None:
        for i, job in enumerate(jobs):
            if self.missing(*job):
                later = (other for other in jobs[i + 1 :] if self.missing(*other))
                following = next(later, None)
                where = f"{i + 1}/{len(jobs)} round {job[2] + 1}/{self.method['rounds']}"
                with self._shown(job, i, len(jobs)):
                    self._arm(job, where, _kind(following[1]) if following else None)

    @contextlib.contextmanager
    def _shown(self, job: Job, i: int, n: int) -> Iterator[None]:
        """Shows that a job runs; the jobs to come are expected to take what those before took in the mean."""
        if self._display is None:
            yield
            return
        cell, arm, round_ = job
        usual, since = statistics.fmean(self._lasted) if self._lasted else None, time.monotonic()
        self._display.left = lambda: Left(
            None if usual is None else max((n - i) * usual - (time.monotonic() - since), 0.0)
        )
        self._display.total(f"round {round_ + 1} of {self.method['rounds']}", i, n, "kernel")
        name = f"kernel {i + 1} of {n}: {case.name(cell)} {arm[0]} {arm[1]}"
        self._display.started(name, trains=False, about_s=usual)
        try:
            yield
        finally:
            self._display.gone(name)
            self._lasted.append(time.monotonic() - since)

    def compute_cells(self) -> None:
        """Computes `cells.csv`, and `rows`, from the other files, and sorts those."""
        self._load()
        samples = fileio.read_rows(self.folder / "samples.csv")
        known = {(*summary.key(run), run["round"]) for run in self.runs}
        samples = [sample for sample in samples if (*summary.key(sample), sample["round"]) in known]
        rows = summary.rows(self.runs, samples, self.ceilings, self.slot.device, self.slot.share)
        have = {summary.key(row) for row in rows}
        for cell in self.plan:
            for arm in self.arms:
                reason = self._reason(arm, cell)
                for operation in self.operations if reason else ():
                    if (case.name(cell), *arm, operation) not in have:
                        rows.append(summary.unavailable(cell, *arm, operation, str(reason)))
        rows.sort(key=summary.order)
        fileio.write_rows(self.folder / "cells.csv", columns.CELL_COLUMNS, rows)
        for file, found in (("runs.csv", self.runs), ("samples.csv", samples)):
            found.sort(key=lambda row: (*summary.key(row), int(row["round"]), int(row.get("sample") or 0)))
            fileio.write_rows(self.folder / file, columns.BENCHMARK_FILES[file], found)
        self.rows = rows

    def _ceilings(self, after: Kind | None) -> None:
        have = {(row["backend"], row["dtype"]) for row in self.ceilings}
        backends = list(dict.fromkeys(backend for backend, _ in self.arms))
        dtypes = [dtype for dtype in dict.fromkeys(cell["dtype"] for cell in self.plan) if self.gpu or dtype != "tf32"]
        todo = [(backend, dtype) for backend in backends for dtype in dtypes if (backend, dtype) not in have]
        for i, (backend, dtype) in enumerate(todo):
            task = {"kind": "ceiling", "backend": backend, "dtype": dtype}
            following = (todo[i + 1][0], False) if i + 1 < len(todo) else after
            what = f"measuring ceiling {i + 1} of {len(todo)}: {backend} {dtype}"
            with self._display.waiting(what) if self._display else contextlib.nullcontext():
                result = self._process((backend, False), task, lambda event: None, following)
            if result["state"] != "COMPLETE":
                self.say(f"ceilings of {backend} {dtype}: {result['detail']}")
                continue
            row = {"backend": backend, "dtype": dtype, "device": self.slot.device, **result}
            fileio.append_rows(self.folder / "ceilings.csv", columns.CEILING_COLUMNS, [row])
            self.say(
                f"ceilings of {backend} {dtype}: {row['matmul_flop_per_s'] / 1e12:.3g} TFLOP/s,"
                f" {row['copy_byte_per_s'] / 1e9:.3g} GB/s"
            )
        if self.gpu and self.blind.issuperset(backends):
            raise ConfigError(
                f"{self.gpu} is there, but {' and '.join(backends)} cannot use it",
                remedy="Install a GPU build, or set CUDA_VISIBLE_DEVICES= to measure the CPU knowingly.",
            )
        self._load()

    def _arm(self, job: Job, where: str, following: Kind | None) -> None:
        cell, arm, round_ = job
        operations = self.missing(cell, arm, round_)
        about = {"cell": case.name(cell), **cell, "backend": arm[0], "kernel": arm[1], "round": round_}
        about["commit"] = self.commit
        task: dict[str, Any] = {
            "kind": "cell",
            "cell": dict(cell),
            "backend": arm[0],
            "kernel": arm[1],
            "operations": operations,
            "round": round_,
            "lengths": self._lengths(cell),
            "reference": str(self._reference(cell)),
        }
        runs: list[dict[str, Any]] = []

        def done(event: Mapping[str, Any]) -> None:
            if event["phase"] != "done":
                return
            runs.append(about | event["run"] | {"operation": event["operation"]})
            self._keep(runs[-1], event["seconds"])

        result = self._process(_kind(arm), task, done, following)
        if arm[0] in self.blind:
            return
        left = operations[len(runs) :]
        for i, operation in enumerate(left if result["state"] != "COMPLETE" else ()):
            state = "compile_limit" if result["reason"] == "compile_limit" else "failed"
            reason = result["detail"] if not i else f"not tried: {left[0]} before it: {result['detail']}"
            runs.append(about | {"operation": operation, "state": state, "reason": reason})
            self._keep(runs[-1], [])
        said = [f"{run['operation']} {_said(run)}" for run in runs]
        self.say(f"{where} {about['cell']} {arm[0]} {arm[1]}: {', '.join(said)}")

    def _keep(self, run: dict[str, Any], seconds: Sequence[float]) -> None:
        """Samples first, then the run that makes them count: a crash between the two leaves nothing half measured."""
        about = {column: run.get(column) for column in columns.SAMPLE_COLUMNS}
        samples = [about | {"sample": i, "seconds": value} for i, value in enumerate(seconds)]
        if samples:
            fileio.append_rows(self.folder / "samples.csv", columns.SAMPLE_COLUMNS, samples)
            rates = sorted(run["steps"] * run["batch"] / value for value in seconds)
            run["samples_per_s"] = rates[len(rates) // 2]
        fileio.append_rows(self.folder / "runs.csv", columns.RUN_COLUMNS, [run])
        self._done.setdefault(summary.key(run), {})[run["round"]] = run["state"]
        if run["state"] == "failed":
            self._failed.add((*summary.key(run), run["round"]))

    def _lengths(self, cell: Mapping[str, Any]) -> list[int] | None:
        return grid.drawn(self._grid, cell)

    def _reference(self, cell: Mapping[str, Any]) -> Path:
        """What every arm must compute on a cell, worked out once."""
        path = self.folder / "reference" / f"{case.name({**cell, 'dtype': 'float64'})}.npz"
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                reference.write(cell, self.method["seed"], path, self._lengths(cell))
        except OSError as error:
            raise StorageError(
                f"{path}: cannot be written ({error.strerror or error})",
                remedy="What was measured is kept: free space, then give the same command again.",
            ) from error
        return path

    def _process(self, kind: Kind, task: Mapping[str, Any], report: Send, following: Kind | None) -> dict[str, Any]:
        """Runs one task in a process of its own.

        Args:
          kind: Of the process.
          task: See `training/tasks.py`.
          report: Receives what it reports.
          following: Kind of the process after it. On a CPU that one imports its framework beside this one, which is half of
            a small cell's time, and then sleeps until it is its turn. A GPU it would share.
        """
        process, self._standby = self._standby, None
        if process is None or process.kind != kind:
            if process:
                process.end()
            process = self._started(kind)
            if following and not self.gpu and len(self.slot.cores) > 1:
                self._standby = self._started(following)
        try:
            if self._standby and not self._standby.wait():
                self._dismiss()
            if not process.wait():
                return {"state": "FAIL", "reason": "died", "detail": f"{kind[0]} could not be loaded"}
            if self.gpu and process.seen == "cpu":
                if any(row["backend"] == kind[0] for row in (*self.ceilings, *self.runs)):  # it did see it before
                    raise DeviceError(f"{self.gpu} has gone: {kind[0]} does not see it any more", remedy=_KEPT)
                self.blind.add(kind[0])
                return {"state": "FAIL", "reason": "blind", "detail": f"{kind[0]} does not see the GPU"}
            return self._checked(process.run({**task, "method": self.method}, report, self.method["compile_limit_s"]))
        finally:
            process.end()

    def _started(self, kind: Kind) -> Process:
        return Process(self.slot, kind[0], self.logs, keras=kind[1], bench=BENCH, tick=self._tick)

    def _tick(self) -> None:
        if self._display:
            self._display.tick()

    def _dismiss(self) -> None:
        if self._standby:
            self._standby.end()
        self._standby = None

    def _checked(self, result: dict[str, Any]) -> dict[str, Any]:
        if result["state"] == "FAULT":
            fault: type[LstmBenchError] = getattr(errors, result["error"], LstmBenchError)
            raise fault(result["detail"])
        if result["state"] != "COMPLETE" and self.gpu and self.gpu not in {gpu.name for gpu in hardware.gpus()}:
            raise DeviceError(
                f"{self.gpu} has gone ({result['detail']})",
                remedy=_KEPT,
            )
        return result


def _kind(arm: grid.Arm) -> Kind:
    return arm[0], arm[1] not in vocabulary.NAMES


def _said(run: Mapping[str, Any]) -> str:
    return f"{run['samples_per_s']:,.0f}/s" if run.get("samples_per_s") else f"{run['state']} ({run['reason']})"


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the benchmark as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():  # there, signals are the caller's
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
