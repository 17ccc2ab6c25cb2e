"""A randomised fault run: start, fault, the same command, again and again; every book must agree after each.

    python tests/programs/chaos/rounds.py [rounds=200] [seed=0] [tracking=mixed|none|sqlite|server] [study_rounds=8] [first=0]

A study lasts for `study_rounds` rounds, and its budget grows by `GROWTH` trials with each. In a round the command runs into
one fault of `FAULTS`, at a time by chance; then the same command runs undisturbed, and must say that it is done. Then the
study's database, its records and MLflow are read (`books.py`): exact totals, no trial twice, nothing left running, equal
values everywhere, no process left behind. `mixed` tracks one study in five in a sqlite file, one in ten by a server.

A line for each round, on standard output; exit 1 if anything was wrong. The same seed gives the same faults; the times
follow the machine's speed.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PROGRAMS = Path(__file__).parent.parent
sys.path[:0] = [str(PROGRAMS), str(PROGRAMS.parent / "support")]

import books  # noqa: E402
import full_disk  # noqa: E402
import spy  # noqa: E402

GROWTH = 4  # trials
REPLICATES = 1
EPOCH_S = "0.2"
SEARCH_S = 1.5  # that the trials of a round take, and a little
LIMIT_S = 120  # of one command
WORKER_FAULTS = ("nan", "oom", "raise", "exit", "kill", "segv", "slow", "hang", "stop")
ARGUMENTS = (*(a for a in spy.QUICK if not a.startswith(("study.replicates", "tracking"))), "study.name=chaos")
MARK = "LSTM_BENCH_CHAOS"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy there is


@dataclass
class Study:
    """One study in its folder, and how it is tracked."""

    folder: Path
    tracking: str
    rng: random.Random
    library: Path
    base_s: float
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    n_trials: int = 0
    seen: int = 0  # lines of the spy's log, as the last command started
    server: subprocess.Popen[bytes] | None = None
    port: int = 0

    def arguments(self) -> list[str]:
        budget = [f"study.n_trials={self.n_trials}", f"study.replicates={REPLICATES}", "study.max_failed=10000"]
        if self.tracking == "none":
            return [*ARGUMENTS, *budget, "tracking=none"]
        uri = "sqlite:///mlflow.db" if self.tracking == "sqlite" else f"http://127.0.0.1:{self.port}"
        return [*ARGUMENTS, *budget, "tracking=mlflow", f"tracking.uri={uri}"]

    def start(self, *more: str, **environment: str) -> subprocess.Popen[str]:
        log = self.folder / "log"
        self.seen = len(spy.noted(log))
        environment = {
            MARK: self.mark,
            "SPY_LOG": str(log),
            "SPY_EPOCH_S": EPOCH_S,
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        }
        return spy.start(self.folder, *self.arguments(), *more, **environment)

    def moment(self, process: subprocess.Popen[str]) -> str:
        """Waits for a time by chance: most often while trials run, else before or after them. Returns it in words."""
        early = self.rng.random() < 0.25
        after = self.rng.uniform(0, 0.5 * self.base_s if early else SEARCH_S)
        lock, log = self.folder / "sweeps" / "chaos" / "lock", self.folder / "log"
        while process.poll() is None:
            if early and lock.exists() and lock.read_text().startswith(f"pid {process.pid} "):
                break
            if not early and len(spy.noted(log)) > self.seen:
                break
            time.sleep(0.02)
        time.sleep(after)
        return f"{after:.2f} s after the {'lock' if early else 'first trial'}"

    def workers(self, driver: subprocess.Popen[str]) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(driver.pid).children()
        return []

    def orphans(self) -> list[int]:
        """Processes that are left of this study."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found

    def mlflow(self) -> Path | None:
        return None if self.tracking == "none" else self.folder / "mlflow.db"

    def serve(self) -> None:
        """Starts MLflow's server on the study's store, and waits until it answers."""
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            "sqlite:///mlflow.db",
            "--workers",
            "1",
        ]
        command += ["--artifacts-destination", str(self.folder / "mlartifacts"), "--host", "127.0.0.1"]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self.server = subprocess.Popen(
                [*command, "--port", str(self.port)],
                cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        ends = time.monotonic() + LIMIT_S
        while time.monotonic() < ends:
            with (
                contextlib.suppress(OSError),
                _DIRECT.open(f"http://127.0.0.1:{self.port}/health", timeout=2),
            ):
                return
            time.sleep(0.2)
        raise TimeoutError(f"no MLflow server on port {self.port}")

    def end_server(self) -> None:
        if self.server:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait()
            self.server = None


# A fault: given a study, runs its command into it; returns what happened in words, and what is wrong with it.
Told = tuple[str, list[str]]
Fault = Callable[[Study], Told]


def _end(process: subprocess.Popen[str], allowed: Sequence[int]) -> tuple[str, list[str]]:
    """Waits for a command: its exit code in words, and what is wrong with its end."""
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return "hung", [f"hung: {out[-1500:]} {err[-1500:]}"]
    wrong = []
    if process.returncode not in allowed:
        wrong.append(f"exit {process.returncode}, allowed {allowed}: {out[-1500:]} {err[-1500:]}")
    if "Traceback" in out + err:
        wrong.append(f"a traceback: {err[-3000:]}")
    if process.returncode in (4, 130) and len([line for line in err.splitlines() if line]) != 1:
        wrong.append(f"not one line: {err[-3000:]}")
    return f"rc {process.returncode}", wrong


def driver_signal(*numbers: signal.Signals, pause_s: float = 0.0) -> Fault:
    """One signal or several to the driver."""

    def happen(study: Study) -> Told:
        process = study.start()
        after = study.moment(process)
        for number in numbers:
            process.send_signal(number)
            time.sleep(pause_s)
        # A signal before Python can hear it ends the process as the system wills.
        usual = {signal.SIGKILL: (0, -9), signal.SIGTERM: (0, 130, -15), signal.SIGINT: (0, 130, -2)}
        said, wrong = _end(process, usual.get(numbers[0], (0,)))
        return f"{after} {said}", wrong

    return happen


def worker_signal(*numbers: signal.Signals) -> Fault:
    """A signal to one of the workers; SIGCONT comes after a while."""

    def happen(study: Study) -> Told:
        process = study.start()
        after = study.moment(process)
        workers = study.workers(process)
        if workers:
            victim = study.rng.choice(workers)
            for number in numbers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    victim.send_signal(number)
                time.sleep(0.0 if number == numbers[-1] else 1.5)
        said, wrong = _end(process, (0, 4))  # 4: a worker died while the model was checked, before there was a study
        return f"{after} one of {len(workers)} {said}", wrong

    return happen


def task_fault(name: str) -> Fault:
    """A fault of one task's own, or of two tasks."""

    def happen(study: Study) -> Told:
        folder = study.folder / "faults"
        folder.mkdir(exist_ok=True)
        n = study.rng.choice([1, 1, 2])
        for i in range(n):
            (folder / f"{name}.{i}").touch()
        timed = ["study.trial_timeout=4"] if name in ("hang", "stop") else []
        said, wrong = _end(study.start(*timed, SPY_FAULTS=str(folder)), (0,))
        shutil.rmtree(folder)
        return f"x {n} {said}", wrong

    return happen


def records_fault(tear: bool) -> Fault:
    """A record file torn or deleted, of a study whose driver was killed, or while it runs."""

    def happen(study: Study) -> Told:
        process = study.start()
        after = study.moment(process)
        kills = study.rng.random() < 0.7
        if kills:
            process.kill()
        files = [path for path in sorted((study.folder / "sweeps" / "chaos").glob("*.csv")) if path.stat().st_size]
        name = "nothing"
        if files:
            path = study.rng.choice(files)
            name = path.name
            if tear:
                with contextlib.suppress(FileNotFoundError):
                    os.truncate(path, max(0, path.stat().st_size - study.rng.randint(1, 40)))
            else:
                path.unlink(missing_ok=True)
        said, wrong = _end(process, (0, -9))
        return f"{after} {name}{', driver killed' if kills else ''} {said}", wrong

    return happen


def full(study: Study) -> Told:
    """A disk without room from some call on, for ever or for some calls."""
    at, n = study.rng.randint(1, 900), study.rng.choice([0, 0, 1, 20])
    environment = {"LD_PRELOAD": str(study.library), "FULL_BELOW": str(study.folder), "FULL_AT": str(at)}
    said, wrong = _end(study.start(**environment, FULL_FOR=str(n)), (0, 4))
    return f"from call {at} for {n or 'ever'} {said}", wrong


def two(study: Study) -> Told:
    """Two commands at once: one is refused, unless it came late."""
    first = study.start()
    after = study.moment(first)
    second = study.start()
    said, wrong = _end(second, (0, 4))
    more, also = _end(first, (0, 4))
    if {said, more} == {"rc 4"}:
        wrong.append("both were refused")
    return f"second at {after} {said}, first {more}", wrong + also


def locked(study: Study) -> Told:
    """MLflow's sqlite file locked for a while, longer or shorter than MLflow waits."""
    process = study.start()
    after = study.moment(process)
    held = study.rng.choice([1, 3, 6])
    if (study.folder / "mlflow.db").exists():
        with contextlib.closing(sqlite3.connect(study.folder / "mlflow.db", timeout=20)) as database:
            with contextlib.suppress(sqlite3.OperationalError):
                database.execute("BEGIN EXCLUSIVE")
                time.sleep(held)
            database.rollback()
    said, wrong = _end(process, (0,))
    return f"{after} for {held} s {said}", wrong


def server_killed(study: Study) -> Told:
    """MLflow's server killed while the command runs."""
    process = study.start()
    after = study.moment(process)
    study.end_server()
    said, wrong = _end(process, (0,))
    study.serve()
    return f"{after} {said}", wrong


FAULTS: dict[str, Fault] = {
    "driver killed": driver_signal(signal.SIGKILL),
    "driver terminated": driver_signal(signal.SIGTERM),
    "interrupted": driver_signal(signal.SIGINT),
    "interrupted twice": driver_signal(signal.SIGINT, signal.SIGINT, pause_s=0.3),
    "driver stopped": driver_signal(signal.SIGSTOP, signal.SIGCONT, pause_s=1.0),
    "worker killed": worker_signal(signal.SIGKILL),
    "worker segv": worker_signal(signal.SIGSEGV),
    "worker stopped": worker_signal(signal.SIGSTOP, signal.SIGCONT),
    **{f"task {name}": task_fault(name) for name in WORKER_FAULTS},
    "record torn": records_fault(tear=True),
    "record deleted": records_fault(tear=False),
    "disk full": full,
    "two commands": two,
}
OF_SQLITE = {"MLflow locked": locked}
OF_SERVER = {"server killed": server_killed}
WEIGHTS = {"driver killed": 4, "disk full": 3, "interrupted": 2, "MLflow locked": 5, "server killed": 5}  # 1 each else


def chosen(study: Study) -> tuple[str, Fault]:
    """A fault by chance."""
    faults = FAULTS | (OF_SQLITE if study.tracking == "sqlite" else OF_SERVER if study.tracking == "server" else {})
    name = study.rng.choices(list(faults), [WEIGHTS.get(name, 1) for name in faults])[0]
    return name, faults[name]


def played(study: Study) -> tuple[str, list[str]]:
    """One round: a fault, the command again, the books. Returns what happened and what is wrong."""
    study.n_trials += GROWTH
    name, fault = chosen(study)
    told, wrong = fault(study)
    said, more = _end(study.start(), (0,))
    wrong += more
    ends = time.monotonic() + 10
    while (left := study.orphans()) and time.monotonic() < ends:
        time.sleep(0.1)
    if left:
        wrong.append(f"processes left behind: {left}")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if said == "rc 0":
        found = study.folder / "sweeps" / "chaos"
        wrong += books.complaints(found, study.n_trials, REPLICATES, study.mlflow())
    return f"{name} {told}, again {said}, {study.n_trials} trials", wrong


def tracked(mode: str, number: int) -> str:
    """How the `number`-th study is tracked."""
    if mode != "mixed":
        return mode
    return {3: "sqlite", 7: "server", 8: "sqlite"}.get(number % 10, "none")


@contextlib.contextmanager
def opened(folder: Path, tracking: str, rng: random.Random, library: Path, base_s: float) -> Iterator[Study]:
    """A study, with its server if it has one."""
    folder.mkdir()
    study = Study(folder, tracking, rng, library, base_s)
    try:
        if tracking == "server":
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                study.port = free.getsockname()[1]
            study.serve()
        yield study
    finally:
        study.end_server()


def run(rounds: int, seed: int, mode: str = "mixed", study_rounds: int = 8, first: int = 0) -> int:
    """Plays rounds; prints a line each. Returns how many had anything wrong.

    Args:
      rounds: How many, in all.
      seed: Of chance.
      mode: How studies are tracked.
      study_rounds: Rounds of one study.
      first: Number of the first study: to repeat a later one alone.
    """
    bad, played_in_all, number = 0, 0, first
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        os.environ["XDG_CACHE_HOME"] = f"{scratch}/cache"
        library = full_disk.built(Path(scratch))
        while played_in_all < rounds:
            rng, tracking = random.Random(f"{seed}/{number}"), tracked(mode, number)
            base_s = _base_s(Path(scratch) / f"base-{number}", tracking, library)
            with opened(Path(scratch) / f"study-{number}", tracking, rng, library, base_s) as study:
                for within in range(min(study_rounds, rounds - played_in_all)):
                    since = time.monotonic()
                    told, wrong = played(study)
                    played_in_all += 1
                    bad += bool(wrong)
                    verdict = "ok" if not wrong else "WRONG"
                    where = f"seed {seed} study {number} ({tracking}) round {within}"
                    print(f"{played_in_all:4} {where}: {told}: {verdict} {time.monotonic() - since:.1f} s", flush=True)
                    for line in wrong:
                        print(f"       {line}", flush=True)
                    if wrong:  # what follows from it says nothing new
                        kept = Path(tempfile.gettempdir()) / f"chaos-wrong-{seed}-{number}"
                        shutil.rmtree(kept, ignore_errors=True)
                        shutil.copytree(study.folder, kept)
                        print(f"       kept as {kept}", flush=True)
                        break
            shutil.rmtree(study.folder, ignore_errors=True)
            number += 1
    print(f"{played_in_all} rounds, {bad} wrong, {time.monotonic() - begun:.0f} s", flush=True)
    return bad


def _base_s(folder: Path, tracking: str, library: Path) -> float:
    """Seconds of an undisturbed command on this machine, as busy as it is now."""
    with opened(folder, "none" if tracking == "server" else tracking, random.Random(0), library, 0) as study:
        study.n_trials = GROWTH
        since = time.monotonic()
        said, wrong = _end(study.start(), (0,))
        assert said == "rc 0", wrong
        taken = time.monotonic() - since
    shutil.rmtree(folder)
    return taken


def main(argv: Sequence[str]) -> int:
    """The command line."""
    options = dict(argument.split("=", 1) for argument in argv)
    numbers = [int(options.get(key, usual)) for key, usual in (("rounds", 200), ("seed", 0))]
    more = {key: int(options[key]) for key in ("study_rounds", "first") if key in options}
    return int(run(*numbers, options.get("tracking", "mixed"), **more) > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
