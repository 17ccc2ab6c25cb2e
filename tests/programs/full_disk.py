"""A disk that is full at the n-th write of a sweep, for every n: nothing finished is lost, the same command ends it.

    python tests/programs/full_disk.py [set=NAME[/K],...] [jobs=J] [seed=S]

A sweep of `spy.py` makes so many hundreds of calls that take room on a disk. For each of them there is a case: a sweep
whose n-th such call, and all after it, fail (`full_disk.c`), of its write one half, and the same command again with room.
The first says in one line which file, and exits 4, or warns where MLflow alone was hit; the second ends the study, with every
trial that was finished before. A case costs half a second: processes are forked from one that has imported everything.

| set    | what is full                                                          |
|--------|-----------------------------------------------------------------------|
| for_ever | the working folder, from the n-th call on                           |
| moment | the working folder, at the n-th call alone                            |
| twice  | the working folder, from the n-th call on, and again at a random call of the second sweep, before a third |
| store  | MLflow's folder, from the n-th call on; the study's has room          |
| both   | the working folder with MLflow's store in it, from the n-th call on   |
| new    | MLflow's folder, while its database is being made                     |

With /K one call of K is taken, by chance.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

import books  # noqa: E402
import spy  # noqa: E402
from hydra import compose, initialize_config_dir  # noqa: E402

from lstm_bench.core import cli as command  # noqa: E402
from lstm_bench.core import overrides as given  # noqa: E402
from lstm_bench.core.configuration import conf_dir  # noqa: E402

N_TRIALS, REPLICATES = 2, 1
ARGUMENTS = (
    *(argument for argument in spy.QUICK if not argument.startswith(("launcher.", "study.replicates", "train.", "tracking"))),
    *("launcher.workers=1", f"study.n_trials={N_TRIALS}", f"study.replicates={REPLICATES}", "train.epochs=2"),
    *("kernel.probe=true", "kernel.probe_s=0.1", "study.name=full"),
)  # fmt: skip
ALL = "for_ever,moment,twice,store,both,new/50"  # six thousand calls make MLflow's database, all alike
WITH_MLFLOW = ("store", "both", "new")


class TaskRunner(spy.SpyBench):
    """Leaves predictions behind as well: files of their own, linked to where they are looked for."""

    def _trial(self, task: Mapping[str, Any], *given: Any) -> dict[str, Any]:
        result = super()._trial(task, *given)
        if task["kind"] == "replicate":
            sample = {"sample": 0, "label": 1, "prediction": 2, "probability": 0.5}
            result |= {"predictions": [sample], "worst": [{**sample, "timesteps": 1, "features": 1, "values": "0.5"}]}
        return result


def bench(setup: Mapping[str, Any]) -> tuple[Any, str]:
    return TaskRunner(setup["device"], setup["share"], None, setup["data_fd"]), "cpu"


def built(folder: Path) -> Path:
    """The shim, compiled into a folder."""
    library = folder / "full_disk.so"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "full_disk.c"), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, timeout=60)
    return library


class Forked:
    """A worker process without the half second of an interpreter and its imports: takes Popen's place in the launcher."""

    def __init__(
        self, command: Sequence[str], *, stdout: Any, env: Mapping[str, str], pass_fds: Sequence[int], **_: Any
    ):
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                _arm("", 0, 0)
                os.dup2(stdout.fileno(), 1)
                os.dup2(stdout.fileno(), 2)
                kept = sorted(pass_fds)
                for low, high in zip([2, *kept], [*kept, 4096], strict=True):
                    os.closerange(low + 1, high)  # the study's lock among them
                os.environ.update(env)
                from lstm_bench.launcher import worker

                os._exit(worker.main([command[-1]]))
            finally:
                os._exit(1)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _shim() -> Any:
    shim = ctypes.CDLL(os.environ["FULL_DISK_SO"])
    shim.full_disk_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_long]
    shim.full_disk_count.restype, shim.full_disk_hit.restype = ctypes.c_long, ctypes.c_char_p
    return shim


def _arm(below: str, first: int, n: int) -> None:
    _shim().full_disk_arm(below.encode(), first, n)


@functools.cache
def composed(*arguments: str) -> Any:
    """What Hydra composes; it writes nothing, and would take half of the time."""
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        return compose("sweep", overrides=given.arguments(arguments))


def driven(folder: Path, arguments: Sequence[str]) -> int:
    """A sweep in this process, with forked workers; returns its exit code."""
    from lstm_bench.launcher import local
    from lstm_bench.sweep import command as sweep
    from lstm_bench.sweep import workers

    os.chdir(folder)
    local.subprocess = types.SimpleNamespace(Popen=Forked, DEVNULL=subprocess.DEVNULL)  # type: ignore[assignment]
    workers.LocalLauncher = functools.partial(local.LocalLauncher, bench="full_disk:bench")  # type: ignore
    return command._guarded(sweep.run, composed(*arguments), [*arguments])


def swept(folder: Path, arguments: Sequence[str], below: Path, first: int = 0, n: int = 0) -> dict[str, Any]:
    """A sweep in a process of its own, with a disk that is full from the `first` call on, for `n` calls.

    Returns:
      `rc`, `out`, `err`, `count` of the calls, and the one that was `hit`, "" for none.
    """
    around = Path(tempfile.mkdtemp(dir=folder.parent))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            for stream, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(around / name, os.O_CREAT | os.O_WRONLY), stream)
            signal.alarm(120)
            _arm(str(below), first, n)
            code = driven(folder, arguments)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            shim = _shim()
            said = {"count": shim.full_disk_count(), "hit": shim.full_disk_hit().decode()}
            _arm("", 0, 0)
            sys.stdout.flush()
            sys.stderr.flush()
            (around / "end").write_text(json.dumps(said))
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    end = json.loads((around / "end").read_text()) if (around / "end").exists() else {"count": 0, "hit": "it hung"}
    found = {"rc": code, **{name: (around / name).read_text() for name in ("out", "err")}, **end}
    shutil.rmtree(around)
    return found


class Case:
    """One place and one moment of a full disk.

    Args:
      name: Of its set.
      root: Folder that it has to itself.
      store: An unused MLflow store, to start from.
    """

    def __init__(self, name: str, root: Path, store: Path | None):
        self.name, self.folder = name, root / "work"
        self.folder.mkdir(parents=True)
        spy.tiny(self.folder)
        place = self.folder / "mlflow"
        if name in WITH_MLFLOW:
            place.mkdir()
            self.arguments = (*ARGUMENTS, "tracking=mlflow", "tracking.uri=sqlite:///mlflow/mlflow.db")
            if name != "new" and store is not None:
                shutil.copy(store, place / "mlflow.db")
        else:
            self.arguments = (*ARGUMENTS, "tracking=none")
        self.mlflow = place / "mlflow.db" if name in WITH_MLFLOW else None
        self.below = place if name in ("store", "new") else self.folder

    def counted(self) -> int:
        """How many calls there are."""
        faulted = swept(self.folder, self.arguments, self.below)
        assert faulted["rc"] == 0, faulted
        return int(faulted["count"])

    def run(self, n: int, seed: int) -> dict[str, Any]:
        """A full disk at the `n`-th call, and the same command again. Returns what was seen, `wrong` if anything."""
        begun = time.monotonic()
        wrong: list[str] = []
        faults = [(n, 1 if self.name == "moment" else 0)]
        if self.name == "twice":
            faults.append((random.Random(f"{seed}/{n}").randint(1, 400), 0))
        said = []
        kept: books.Book = {}
        for first, length in faults:
            faulted = swept(self.folder, self.arguments, self.below, first, length)
            wrong += self.faults(faulted)
            said.append({key: faulted[key] for key in ("rc", "hit")} | {"said": _error(faulted["err"])})
            before, kept = kept, self.kept(faulted["out"], wrong)
            wrong += [f"trial {number} is lost" for number in before if kept.get(number) != before[number]]
        again = swept(self.folder, self.arguments, self.below)
        if again["rc"] != 0 or again["err"] or "####" in again["out"]:
            wrong.append(f"with room again: exit {again['rc']}: {again['err'].strip() or again['out'][-500:]}")
        else:
            study = self.folder / "sweeps" / "full"
            wrong += books.complaints(study, N_TRIALS, REPLICATES, self.mlflow)
            trials, _, _ = books.study_database(study)
            wrong += [f"trial {number} is not kept" for number, row in kept.items() if trials.get(number) != row]
            wrong += [
                f"no {file}" for file in ("predictions.csv", "worst.csv", "kernels.csv") if not (study / file).exists()
            ]
        return {"n": n, "set": self.name, "faults": said, "wrong": wrong, "seconds": time.monotonic() - begun}

    def faults(self, faulted: Mapping[str, Any]) -> list[str]:
        """What is wrong with the end of a sweep whose disk was full."""
        rc, out, err = faulted["rc"], faulted["out"], faulted["err"]
        if not faulted["hit"]:
            return [] if rc == 0 else [f"nothing was hit, exit {rc}: {err}"]
        warned = any(line.startswith("# MLflow") for line in out.splitlines())
        mlflow = "/work/mlflow" in faulted["hit"]
        wrong = []
        if rc == 0 and not warned and self.name != "moment":  # Optuna tries some things again
            wrong.append("exit 0 and no warning")
        if rc == 0 and warned and not mlflow:
            wrong.append("exit 0, though it was not MLflow alone")
        if rc not in (0, 4) or (rc == 4 and self.name == "store"):
            wrong.append(f"exit {rc}")
        if "Traceback" in out + err:
            wrong.append("a traceback")
        lines = err.strip().splitlines()
        if rc == 4 and (len(lines) != 1 or not lines[0].startswith("error: ") or str(self.folder) not in lines[0]):
            wrong.append("not one line that names the path")
        return [f"full disk at {faulted['hit']}: {line}: {err.strip()[-2000:]}" for line in wrong]

    def kept(self, out: str, wrong: list[str]) -> books.Book:
        """The finished trials in the database, among them all that were shown as finished."""
        study = self.folder / "sweeps" / "full"
        if not (study / "study.db").exists() or not (study / "study.db").stat().st_size:
            return {}
        copy = self.folder.parent / "copy" / "full"  # to look at the database would roll back what the crash left
        shutil.copytree(study, copy)
        try:
            trials = books.finished(books.study_database(copy)[0])
        except Exception as error:
            wrong.append(f"the database cannot be read: {type(error).__name__}: {error}"[:300])
            return {}
        finally:
            shutil.rmtree(copy.parent)
        shown = {int(found[1]): found[2] for found in re.finditer(r"^trial (\d+) +(COMPLETE|FAIL|PRUNED)", out, re.M)}
        wrong += [
            f"trial {n} was shown as {s}, and is not" for n, s in shown.items() if trials.get(n, {}).get("state") != s
        ]
        return trials


def _error(err: str) -> str:
    return next((line for line in reversed(err.splitlines()) if line), "")


def warmed(folder: Path, names: Sequence[str]) -> Path | None:
    """Runs a sweep with and without MLflow in this process: forked ones then have what it imports, and compiles.

    Returns:
      An unused MLflow store, None where no set has one.
    """
    from lstm_bench.tracking import store

    unused = None
    os.environ.update(store.PATIENCE)
    if {*names} & {*WITH_MLFLOW}:
        unused = folder / "unused.db"
        store.connect(f"sqlite:///{unused}")
    for name in {"store", "for_ever"} if unused else {"for_ever"}:
        case = Case(name, folder / f"warm-{name}", unused)
        with contextlib.redirect_stdout(io.StringIO()):
            assert driven(case.folder, case.arguments) == 0
    os.chdir(folder)
    return unused


def _case(job: tuple[str, int, int, str, str | None]) -> dict[str, Any]:
    name, n, seed, root, store = job
    folder = Path(root) / f"{name}-{n}"
    try:
        return Case(name, folder, Path(store) if store else None).run(n, seed)
    except Exception as error:
        import traceback

        return {"n": n, "set": name, "faults": [], "wrong": [f"{error!r} {traceback.format_exc()}"], "seconds": 0}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sampled(count: int, every: int, seed: int) -> list[int]:
    """Numbers from 1 to `count`: one of each stretch of `every`, by chance, and the last."""
    rng = random.Random(seed)
    stretches = range(1, count + 1, every)
    return sorted({count, *(rng.randint(start, min(start + every - 1, count)) for start in stretches)})


def main(argv: Sequence[str]) -> int:
    """Runs the sets; prints a line for what is wrong and a sum for each set. Returns 1 if anything was wrong."""
    options = dict(argument.split("=", 1) for argument in argv)
    wanted = [name.partition("/") for name in options.get("set", ALL).split(",")]
    seed = int(options.get("seed", 0))
    shared = Path("/dev/shm")  # memory: no case waits for a disk's sync
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None, prefix="full_disk-") as scratch:
        if "FULL_DISK_SO" not in os.environ:
            library = str(built(Path(scratch)))
            environment = {**os.environ, "LD_PRELOAD": library, "FULL_DISK_SO": library, "NO_COLOR": "1"}
            environment |= {"XDG_CACHE_HOME": f"{scratch}/cache", "TMPDIR": scratch, "SPY_FAULTS": ""}
            return subprocess.call([sys.executable, __file__, *argv], env=environment)
        store = warmed(Path(scratch), [name for name, _, _ in wanted])
        given = scratch, str(store) if store else None
        failed = 0
        with multiprocessing.get_context("fork").Pool(int(options.get("jobs", 2))) as pool:
            for name, _, every in wanted:
                begun = time.monotonic()
                count = pool.apply(_counted, ((name, *given),))
                jobs = [(name, n, seed, *given) for n in sampled(count, int(every or 1), seed)]
                codes: Counter[int] = Counter()
                bad = 0
                for done in pool.imap_unordered(_case, jobs):
                    codes.update(fault["rc"] for fault in done["faults"])
                    bad += bool(done["wrong"])
                    for line in done["wrong"]:
                        print(f"{name} n={done['n']}: {line} {[f['hit'] for f in done['faults']]}", flush=True)
                ends = ", ".join(f"{n} x exit {code}" for code, n in sorted(codes.items()))
                seconds = time.monotonic() - begun
                print(f"{name}: {count} calls, {len(jobs)} cases: {ends}; {bad} wrong, {seconds:.0f} s", flush=True)
                failed += bad
        return int(failed > 0)


def _counted(job: tuple[str, str, str | None]) -> int:
    name, root, store = job
    folder = Path(root) / f"{name}-count"
    try:
        return Case(name, folder, Path(store) if store else None).counted()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
