"""Command: `python -m lstm_bench.predict study=NAME input=FILE` uses a confirmed winner on new sequences."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_bench.core import cli, home
from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.training.inference import load, outputs, winner

if TYPE_CHECKING:
    import numpy as np

    from lstm_bench.data.task import Task
    from lstm_bench.study.reader import StudyRecord

HELP = """\
python -m lstm_bench.predict study=NAME input=FILE [output=FILE.csv] [backend=NAME] [sweeps=DIR]

Uses the winner that a study confirmed, as trained with seed 0, on new sequences.

  study=NAME     a study in DIR whose model/ was kept
  input=FILE     .npy of shape (samples, timesteps, features); .npz with such an x, and y where it is known; else CSV: a
                 sequence per line, timesteps * features numbers, those of the first timestep first; of a study that
                 was made with dataset=file, a file laid out as that one, without target and groups where they are not known
  output=FILE    CSV: sample, prediction, probability, and the probability of every class
  backend=NAME   tensorflow, jax or torch                       (the study's)
  sweeps=DIR     where the study lies                           (sweeps)

Numbers are scaled as in training: whole ones of an image study are its pixels, others are taken as scaled to 0..1.

example  python -m lstm_bench.predict study=stacked input=new.npy output=new.csv
exit     0 done, 2 no such study or no model, 3 unreadable or unfit input, 4 the output cannot be written
"""
_SHOWN = 8  # rows in the terminal


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return cli.guarded(argv, HELP, run)


def run(arguments: list[str]) -> None:
    """Predicts the sequences of a file.

    Raises:
      LstmBenchError: any expected fault.
    """
    given = cli.options(arguments, ("study", "input", "output", "backend", "sweeps"), required=("study", "input"))
    from lstm_bench.core import fileio, vocabulary
    from lstm_bench.data import task, user_files
    from lstm_bench.data.formats.source import Source
    from lstm_bench.study import reader

    study = reader.find(given["study"], Path(given.get("sweeps", "sweeps")))
    model, about = winner(study)
    asked = task.of(about["task"])
    backend = given.get("backend", about["backend"])
    if backend not in vocabulary.OF_BACKEND:
        raise ConfigError("backend", expected=f"one of {', '.join(vocabulary.OF_BACKEND)}", received=backend)
    cli.require_backend(backend)
    path = home.expanded(given["input"])
    ids = None
    if about.get("reading") and not _is_plain(path):
        found = user_files.read_alike(Source.parse(path), about)
        for note in found.notes:
            print(note, file=sys.stderr)
        x, y, ids = found.x, None if found.y is None else user_files.coded(found.y, about, str(path)), found.ids
    else:
        x, y = user_files.read(path, (about["timesteps"], about["features"]))
    x = user_files.scaled(x, about, str(path))
    if y is not None:
        _check_targets(y, x, asked, about["n_classes"], path)
    os.environ["KERAS_BACKEND"] = backend
    answers = outputs(load(model, study), x, min(len(x), study.config["train"]["evaluation_batch_size"]))
    columns, rows = asked.labels.table(answers)
    told = asked.labels.told(rows, answers.shape[-1], y, about.get("classes"))
    columns, rows = _named(columns, rows, about.get("classes"), ids)
    _show(study, about, backend, columns, rows)
    print("\n".join(told))
    if "output" in given:
        out = home.expanded(given["output"])
        fileio.write_rows(out, columns, rows)
        print(f"{out}: {len(rows):,} rows")


def _is_plain(path: Path) -> bool:
    """Whether a file holds arrays of the model's shape, and no columns."""
    import zipfile

    if path.suffix != ".npz":
        return path.suffix == ".npy"
    try:
        with zipfile.ZipFile(path) as archive:
            return "x.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return True


def _named(
    columns: Sequence[str], rows: Sequence[Mapping[str, Any]], classes: Sequence[str] | None, ids: np.ndarray | None
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """A table of predictions with the file's own names of classes and sequences, where it has such."""
    names = {f"probability_{place}": f"probability_{name}" for place, name in enumerate(classes or ())}
    known = [] if ids is None else ids.tolist()
    made = []
    for row in rows:
        own = {"sample": row["sample"], **({"id": known[row["sample"]]} if known else {})}
        whole = own | {names.get(name, name): value for name, value in row.items() if name != "sample"}
        if classes:
            whole["prediction"] = classes[row["prediction"]]
        made.append(whole)
    head = ("sample", *(("id",) if known else ()))
    return (*head, *(names.get(name, name) for name in columns if name != "sample")), made


def _check_targets(y: np.ndarray, x: np.ndarray, asked: Task, n_outputs: int, path: Path) -> None:
    from lstm_bench.data import labels as label

    shape = asked.shape(x)
    if y.shape != shape:
        remedy = label.shape_remedy(y, x) if len(shape) == 1 else None
        raise DataError(
            f"{path}: y", expected=f"shape {shape}, a target for each of x", received=y.shape, remedy=remedy
        )
    asked.labels.check_targets(y, n_outputs, f"{path}: y")


def _show(
    study: StudyRecord,
    about: Mapping[str, Any],
    backend: str,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """What was predicted by what, and the first rows."""
    from lstm_bench.core.formatting import number, plain

    family_name, n = str(study.config["model"]["_target_"]).rpartition(".")[2], rows[-1]["sample"] + 1
    print(f"{study.name}: {family_name} trained on {about['dataset']}, backend {backend}, {n:,} sequences")
    names = [name for name in columns if not name.startswith("probability_")]
    shown = [[number(v) if isinstance(v := row[name], float) else v for name in names] for row in rows[:_SHOWN]]
    print(plain(names, shown, names) + ("\n..." if len(rows) > _SHOWN else ""))


if __name__ == "__main__":
    sys.exit(main())
