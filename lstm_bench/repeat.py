"""Command: `python -m lstm_bench.repeat study=NAME trial=N` runs a recorded training again and compares."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lstm_bench.core import cli, home
from lstm_bench.core.errors import CheckFailedError, ConfigError, StorageError
from lstm_bench.study import columns
from lstm_bench.sweep.reproduce import Line, _is_of, compared, trained

if TYPE_CHECKING:
    from lstm_bench.core.hardware import Gpu, Slot
    from lstm_bench.launcher.protocol import PackTask, TrialTask
    from lstm_bench.study.reader import Row, StudyRecord

HELP = """\
python -m lstm_bench.repeat study=NAME trial=N | seed=N [sweeps=DIR]

Runs a trial of the search, or a replicate of the winner, again from its record: the same configuration, seed, kernel, steps
per execution, backend and number of threads. Prints what was recorded beside what came out, and writes nothing.

  study=NAME   a study in DIR, or a published one
  trial=N      a row of trials.csv
  seed=N       a row of replicates.csv; trial=N seed=N where several configurations were confirmed
  sweeps=DIR   where the records lie (sweeps)
  dataset.path=FILE, dataset.dir=DIR   where the data lie now, if they were moved

example  python -m lstm_bench.repeat study=stacked trial=12
exit     0 equal, or not promised to be; 6 a training with train.deterministic=true came out otherwise on the same device
         and versions, or the code of your own family is another one and so is what came out, or a training ended otherwise;
         2 no such study or trial, 3 other data, 130 interrupted
"""
_DATA = ("dataset.path", "dataset.test_path", "dataset.dir")  # what may be said of the data: where they are


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return cli.guarded(argv, HELP, run)


def run(arguments: list[str]) -> None:
    """Runs one recorded training again and prints the comparison.

    Raises:
      CheckFailedError: when it came out otherwise although that was promised.
      LstmBenchError: any other expected fault.
    """
    given = cli.options(arguments, ("study", "trial", "seed", "sweeps", *_DATA), required=("study",))
    numbers = {key: _number(key, given[key]) for key in ("trial", "seed") if key in given}
    if not numbers:
        raise ConfigError("nothing to repeat", expected="trial=N or seed=N")
    from lstm_bench.core import hardware
    from lstm_bench.core.formatting import plain
    from lstm_bench.model import signature
    from lstm_bench.study import reader as recorded

    study = recorded.find(given["study"], home.expanded(given.get("sweeps", "sweeps")))
    for option in _DATA:
        if option in given:  # whether they are the recorded ones, their digest tells
            where: Any = study.config["dataset"]
            where[option.partition(".")[2]] = given[option]
    target = str(study.config["model"].get("_target_"))
    if "merged" in study.folder.absolute().parts and not signature.is_own(target):
        raise ConfigError(
            f"study {study.name} came in an archive, which names {target!r} to be run",
            remedy="If you trust it, copy its folder to one in sweeps/ of the same name.",
        )
    name, row, trial = chosen(study, numbers.get("trial"), numbers.get("seed"))
    gpus = hardware.gpus()
    where = slot(study, row, gpus)
    work = task(study, row, trial, gpus)
    differences, edited = elsewhere(study, row, where), edits(study)
    print(f"{study.name}, {name}: recorded in {study.folder}/")
    print(f"  kernel    {work.kernel}, {work.steps_per_execution} steps per execution, backend {row['backend']}")
    print(f"  device    {where.device}, {len(where.cores)} thread{'s' * (len(where.cores) != 1)}")
    for difference in [*differences, *edited]:
        print(f"  differs   {difference}")
    if not signature.is_own(target) and "code" not in study.environment:
        print(f"  code      of {target}: not recorded, so whether it is the same is unknown")
    sys.stdout.flush()
    result = trained(study, name, work, where, row)
    lines = compared(row, result, [line for line in study.rows("history.csv") if _is_of(line, row, trial)])
    shown = [[line.name, line.recorded, line.again, line.difference] for line in lines]
    print(plain(["", "recorded", "again", "difference"], shown, {"recorded", "again", "difference"}))
    judge(lines, study.config["train"]["deterministic"], differences, result.get("detail"), edited)


def judge(
    lines: Sequence[Line],
    promised: bool,
    differences: Sequence[str],
    detail: str | None = None,
    edited: Sequence[str] = (),
) -> None:
    """Says whether the training came out as recorded.

    Args:
      lines: The comparison.
      promised: Whether it was recorded with `train.deterministic=true`.
      differences: Ways in which this machine is another than that of the record.
      detail: What the worker said of a failure.
      edited: Files of a user's own family that are not those of the record, in words.

    Raises:
      CheckFailedError: see above.
    """
    unequal = [line.name for line in lines if line.compared and not line.equal]
    if not unequal:
        print("equal: every figure is that of the record, to its last digit")
        return
    if edited:
        raise CheckFailedError(
            f"{', '.join(unequal)} differ{'s' * (len(unequal) == 1)}: the family's code is not the one that was recorded"
            f" ({', '.join(edited)})",
            remedy="Put it back as it was to repeat the training.",
        )
    if "state" in unequal:
        raise CheckFailedError(f"the training ended otherwise than it was recorded{f' ({detail})' if detail else ''}")
    named = f"{', '.join(unequal)} differ" + "s" * (len(unequal) == 1)
    if promised and not differences:
        raise CheckFailedError(
            f"{named} on the same device and versions, although train.deterministic=true was recorded"
        )
    if promised:
        print(f"{named}: train.deterministic=true promises the same bits on the same device and versions alone")
    else:
        print(f"{named}: nothing was promised, as train.deterministic=false was recorded")


def _number(key: str, text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(key, expected="a whole number of at least 0", received=text)
    return int(text)


def chosen(study: StudyRecord, trial: int | None, seed: int | None) -> tuple[str, Row, Row | None]:
    """What is to be repeated: its name, its row, and the row of the trial whose configuration it has.

    Args:
      study: The records.
      trial: Number of a trial, or of the one that a replicate confirms; None for the winner.
      seed: Of a replicate, None for the trial itself.

    Raises:
      ConfigError: when the records have no such row.
    """
    trials = {row["number"]: row for row in study.rows("trials.csv")}
    if trial is not None and str(trial) not in trials:
        remedy = f"there are {_few(trials)}" if trials else "nothing was searched: say seed=N"
        raise ConfigError(f"study {study.name} has no trial {trial}", remedy=remedy)
    if seed is None:
        return f"trial {trial}", trials[str(trial)], trials[str(trial)]
    replicates = study.rows("replicates.csv")
    rows = [row for row in replicates if row["seed"] == str(seed)]
    winner = study.best_trial()
    best = winner["number"] if winner else ""
    # A study that confirmed one configuration does not say whose it was: it was the best trial's.
    of = {row.get("trial") or best: row for row in rows}
    wanted = str(trial) if trial is not None else best if best in of else next(iter(of), None)
    if not rows:
        remedy = f"there are {_few(row['seed'] for row in replicates)}" if replicates else "it was not confirmed"
        raise ConfigError(f"study {study.name} has no replicate of seed {seed}", remedy=remedy)
    if wanted not in of:
        raise ConfigError(f"seed {seed} of trial {trial} is not recorded", remedy=f"say trial={next(iter(of)) or best}")
    return f"seed {seed}" + (f" of trial {wanted}" if wanted else ""), of[wanted], trials.get(wanted)


def _few(numbers: Any) -> str:
    found = sorted(set(numbers), key=int)
    return ", ".join(found) if len(found) <= 12 else f"{found[0]} to {found[-1]}"


def slot(study: StudyRecord, row: Mapping[str, str], gpus: list[Gpu]) -> Slot:
    """A worker's slot with as many threads as the recorded one had."""
    from lstm_bench.core import hardware

    (alone,) = hardware.slots(1, gpus[:1])
    workers = study.environment.get("workers", [])
    threads = {len(worker["cores"]) for worker in workers if worker["share"] == row["device_share"]}
    threads |= {len(worker["cores"]) for worker in workers[:1] if columns.pack_size(row["device_share"]) > 1}
    cores = alone.cores[: max(threads)] if threads else alone.cores
    environment = {**alone.environment, "OMP_NUM_THREADS": str(len(cores))}
    return dataclasses.replace(alone, cores=cores, share="exclusive", environment=environment)


def elsewhere(study: StudyRecord, row: Mapping[str, str], where: Slot) -> list[str]:
    """Ways in which this machine is another than that of the record, as far as numbers depend on them."""
    import lstm_bench
    from lstm_bench.core import environment

    backend = row["backend"]
    names = [backend, "keras", "numpy", *(["jaxlib"] if backend == "jax" else [])]
    names += [name for name in environment.versions() if name.startswith("nvidia-cudnn") and where.gpu]
    was, now = study.environment.get("packages", {}), environment.versions()
    pairs = {name: (was.get(name), now.get(name)) for name in names}
    pairs["lstm_bench"] = study.environment.get("lstm_bench"), lstm_bench.__version__
    pairs["device"] = row["device"], where.device
    workers = study.environment.get("workers", [])
    known = {
        len(w["cores"])
        for w in workers
        if w["share"] == row["device_share"] or columns.pack_size(row["device_share"]) > 1
    }
    if len(known) == 1:
        pairs["threads"] = str(known.pop()), str(len(where.cores))
    return [f"{name}: recorded {old}, here {new}" for name, (old, new) in pairs.items() if old != new]


def edits(study: StudyRecord) -> list[str]:
    """Files of a user's own family that are not what they were, in words; none where the record does not say.

    Raises:
      StorageError: when the record of them cannot be read.
    """
    from lstm_bench.core import user_code

    recorded = study.environment.get("code")
    if recorded is None:
        return []
    try:
        was = {str(file): str(sha256) for file, sha256 in recorded["files"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise StorageError(f"{study.folder / 'environment.json'}: its code cannot be read") from error
    return user_code.changed(was, user_code.of(str(study.config["model"]["_target_"])).files)


def task(study: StudyRecord, row: Mapping[str, str], trial: Row | None, gpus: list[Gpu]) -> TrialTask | PackTask:
    """The task of a worker that trains as the record says.

    Raises:
      KernelError: when the kernel that ran cannot run here.
      ConfigError: when the record holds no seed or no backend: nothing was run.
    """
    from lstm_bench.data.splits import for_seed
    from lstm_bench.launcher.protocol import PackTask, TrialTask
    from lstm_bench.model import kernel, signature
    from lstm_bench.training.engine import factory

    if not row["seed"] or not row["backend"]:
        raise ConfigError(f"the record holds no training to repeat: {row['state']} ({row['reason'] or 'no reason'})")
    backend = row["backend"]
    config = study.config_of(trial)
    config["backend"] = {"name": backend}
    cli.require_backend(backend)
    named = row.get("kernel") or row["kernel_ran"]
    if named == "none":  # no recurrent layer, and an older record does not say what it was compiled as
        named = config["kernel"]["name"] if config["kernel"]["name"] != "auto" else "generic"
    target = config["model"]["_target_"]
    if signature.is_own(target):
        layers = signature.recurrent_layers(signature.find(target))
        known = study.environment.get("dataset", {}).get("lengths", {})
        masked = known.get("min") != known.get("max")
        kernel.require(named, backend, layers, gpus[0].name if gpus else None, masked=masked)
    steps = row.get("steps_per_execution") or factory.steps_per_execution(backend, named)[0]
    work: dict[str, Any] = {"config": config, "kernel": named, "steps_per_execution": int(float(steps))}
    size, seed = columns.pack_size(row["device_share"]), int(row["seed"])
    tested = any(value for name, value in row.items() if name.startswith("test_"))
    if size > 1:
        # What a member is given does not depend on which others are beside it. Replicates are packed in order.
        beside = range(seed // size * size, seed // size * size + size) if tested else [seed] * size
        return PackTask(kind="pack" if tested else "trials", seeds=list(beside), **work)
    if tested:
        config["dataset"] = for_seed(config["dataset"], seed)
    return TrialTask(kind="replicate" if tested else "trial", seed=seed, **work)


if __name__ == "__main__":
    sys.exit(main())
