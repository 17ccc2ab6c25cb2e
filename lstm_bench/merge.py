"""`python -m lstm_bench.merge`: a study from another machine's archive into `sweeps/merged/`, where reports find it.

Not into `sweeps/<study>/`: a sweep owns that folder and would take the records for its own. Not into `sweeps/published/`: what
lies there is committed evidence. The same file twice changes nothing, a later one of the same study extends what is there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lstm_bench.core import cli, home
from lstm_bench.core.errors import ConfigError, StorageError
from lstm_bench.study.reader import StudyRecord
from lstm_bench.study.validate import Limits

HELP = """\
python -m lstm_bench.merge input=FILE [name=NAME] [sweeps=DIR]

Puts a study that lstm_bench.export packed into DIR/merged/<study>/, where lstm_bench.report finds it. The same file twice
changes nothing; a later one of the same study extends it, in whichever order they come. Two of which neither continues the
other are refused with the difference, and nothing is written.

  input=FILE     the archive
  name=NAME      of the folder, to keep two studies of one name apart (the study's)
  sweeps=DIR     where merged/ lies                             (sweeps)
  max_archive_mib= max_file_mib= max_total_mib= max_ratio= max_rows=   limits, see conf/archive.yaml

example  python -m lstm_bench.merge input=stacked.study.zip
next     python -m lstm_bench.report
exit     0 done, 2 bad usage, 3 the archive is damaged or contradicts what is there, 4 it cannot be written
"""
STAGE = ".part"  # in merged/: what is being written, and what it replaces


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return cli.guarded(argv, HELP, run)


def run(arguments: list[str]) -> None:
    """Merges one archive.

    Raises:
      LstmBenchError: any expected fault; then nothing was changed.
    """
    from lstm_bench.core import configuration, locks
    from lstm_bench.study import archive, validate

    given = cli.options(arguments, ("input", "name", "sweeps", *validate.LIMITS), required=("input",))
    bounds = validate.limits(given)
    came = archive.read(home.expanded(given["input"]), bounds)
    name = given.get("name", came.name)
    if not configuration.NAME.fullmatch(name) or name.startswith("kernels-") != came.benchmark:
        expected = "kernels-, then letters, digits and ._-" if came.benchmark else "letters, digits and ._-"
        raise ConfigError("name", expected=expected, received=name)
    folder = home.expanded(given.get("sweeps", "sweeps")) / "merged" / name
    with locks.hold(folder.parent, "time"):
        before, after = merge(folder, came, bounds)
    if after is None:
        print(f"{folder}/: nothing new, {validate.words(came)}")
    else:
        print(f"{folder}/: {validate.words(after)}" + (f", before {validate.words(before)}" if before else ""))
    print("next     python -m lstm_bench.report")


def merge(folder: Path, came: StudyRecord, bounds: Limits) -> tuple[StudyRecord | None, StudyRecord | None]:
    """Puts what came in the place of what lies in a folder, where it continues that; under the lock of the folder above.

    Returns:
      What lay there, and what lies there now; None each where there was nothing, or nothing changed.

    Raises:
      DataError: when the two are not the same study, or contradict each other; nothing was changed.
      StorageError: when what lies there is damaged, or nothing can be written.
    """
    from lstm_bench.study.later import later
    from lstm_bench.study.validate import from_folder

    with _writing(folder):
        _recover(folder)
    before = from_folder(folder, bounds) if folder.exists() else None
    after = came if before is None else later(before, came)
    if before is not None and before.texts == after.texts:
        return before, None
    with _writing(folder):
        _replace(folder, before.texts if before else {}, after.texts)
    return before, after


@contextlib.contextmanager
def _writing(folder: Path):  # type: ignore[no-untyped-def]
    try:
        yield
    except OSError as error:
        remedy = "What was there is unchanged: free space or mend the permissions, then give the same command again."
        raise StorageError(f"{folder}: cannot be written ({error.strerror or error})", remedy=remedy) from error


def _set_aside(stage: Path) -> Iterator[Path]:
    """Folders that a merge was about to replace, of whichever study."""
    return stage.glob("*.old")


def _recover(folder: Path) -> None:
    """Undoes what a crash left of an earlier merge, of whichever study: its folder is as it was before, or as it is after."""
    stage = folder.parent / STAGE
    for old in _set_aside(stage):
        place = folder.parent / old.name.removesuffix(".old")
        if not place.exists():
            old.rename(place)
    shutil.rmtree(stage, ignore_errors=True)


def _replace(folder: Path, before: dict[str, str], after: dict[str, str]) -> None:
    """Puts a folder with the new files in the place of the old one; files that are the same keep their times."""
    stage = folder.parent / STAGE
    new, old = stage / f"{folder.name}.new", stage / f"{folder.name}.old"
    try:
        if folder.exists():
            shutil.copytree(folder, new)
        else:
            new.mkdir(parents=True)
        for file, text in after.items():
            if before.get(file) != text:
                with (new / file).open("w", encoding="utf-8", newline="") as out:
                    out.write(text)
                    out.flush()
                    os.fsync(out.fileno())
        _sync(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        _sync(folder.parent)
    finally:
        _recover(folder)


def _sync(folder: Path) -> None:
    """Makes the names in a folder last."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


if __name__ == "__main__":
    sys.exit(main())
