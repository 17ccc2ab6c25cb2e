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

    from lstm_bench.data.formats.source import Source
    from lstm_bench.data.sequences import Sequences
    from lstm_bench.data.task import Task
    from lstm_bench.model.controls import Fitted
    from lstm_bench.study.reader import StudyRecord

HELP = """\
python -m lstm_bench.predict study=NAME input=FILE [output=FILE.csv] [control=NAME] [backend=NAME] [sweeps=DIR]

Uses the winner that a study confirmed, as trained with seed 0, on new sequences.

  study=NAME     a study in DIR whose model/ was kept
  input=FILE     .npy of shape (samples, timesteps, features); .npz with such an x, and y where it is known; else CSV: a
                 sequence per line, timesteps * features numbers, those of the first timestep first; of a study that
                 was made with dataset=file, a file laid out as that one, without target and groups where they are not known;
                 of one that learned from unequal lengths, sequences of any length, in .npz with their lengths;
                 of texts, a table with that column;
                 of a forecast, series up to now in a file laid out as that one: what follows their ends is predicted;
                 rows behind an end, without a value, bring what is known beforehand
  output=FILE    CSV: sample, prediction, probability, and the probability of every class; of several labels per sample
                 the prediction, 0 or 1, and the probability of each; of a forecast a row per step, with its time stamp
                 and quantiles where there are such
  control=NAME   trivial, linear or minirocket, of forecasts also naive, seasonal_naive, drift, smoothing or context,
                 of texts tfidf, as fitted with seed 0: without a framework
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
    given = cli.options(
        arguments, ("study", "input", "output", "control", "backend", "sweeps"), required=("study", "input")
    )
    from lstm_bench.core import fileio, vocabulary
    from lstm_bench.data import task, user_files
    from lstm_bench.data.formats.source import Source
    from lstm_bench.model import controls
    from lstm_bench.model.controls import CONTROLS
    from lstm_bench.study import reader

    study = reader.find(given["study"], Path(given.get("sweeps", "sweeps")))
    control, about = _control(study, given["control"]) if "control" in given else (None, {})
    model, about = (
        (study.folder / controls.FOLDER / given["control"] / "control.npz", about) if control else winner(study)
    )
    asked = task.of(about["task"])
    backend = given.get("backend", about["backend"])
    if backend not in vocabulary.OF_BACKEND:
        raise ConfigError("backend", expected=f"one of {', '.join(vocabulary.OF_BACKEND)}", received=backend)
    cli.require_backend(backend)
    path = home.expanded(given["input"])
    ids = lengths = beyond = y = None
    if asked.cutter:
        beyond = asked.own_cutter.beyond(Source.parse(path), about)
        x, lengths, ids, notes = beyond.x, beyond.lengths, beyond.ids, beyond.notes
        print("\n".join(notes), file=sys.stderr)
    elif about.get("reading") and (user_files.takes_any_length(about) or not _is_plain(path)):
        found = _alike(Source.parse(path), about, model.parent)
        for note in found.notes:
            print(note, file=sys.stderr)
        x, y, ids, lengths = found.x, found.labels(), found.ids, found.lengths
    else:
        x, y = user_files.read(path, (about["timesteps"], about["features"]))
    y = None if y is None else user_files.coded(y, about, str(path))
    x = user_files.scaled(x, about, str(path), lengths)
    if y is not None:
        _check_targets(y, x, asked, about["n_classes"], path, lengths)
    os.environ["KERAS_BACKEND"] = backend
    batch = min(len(x), study.config["train"]["evaluation_batch_size"])
    if control and beyond and CONTROLS[control.name].ahead:
        answers, _ = control.forecasts(beyond.pasts)
    else:
        answers = control.outputs(x, lengths) if control else outputs(load(model, study), x, batch, lengths)
        answers = beyond.own(answers) if beyond else answers
    columns, rows = beyond.table(answers) if beyond else asked.labels.table(answers)
    if lengths is not None and asked.per_timestep:
        rows = [row for row in rows if row["timestep"] < lengths[row["sample"]]]
    told = asked.labels.told(rows, answers.shape[-1], y, about.get("classes"))
    columns, rows = _named(columns, rows, about.get("classes"), ids)
    _show(study, about, "" if control else backend, columns, rows, given.get("control", ""))
    print("\n".join(told))
    if "output" in given:
        out = home.expanded(given["output"])
        fileio.write_rows(out, columns, rows)
        print(f"{out}: {len(rows):,} rows")


def _control(study: StudyRecord, name: str) -> tuple[Fitted, dict[str, Any]]:
    """A control of a study, and what it knows of its input.

    Raises:
      ConfigError: for one that was not fitted.
    """
    from lstm_bench.core.errors import nearest
    from lstm_bench.model import controls

    if name not in controls.CONTROLS:
        raise ConfigError(
            "control",
            expected=f"one of {', '.join(controls.CONTROLS)}",
            received=name,
            remedy=nearest(name, controls.CONTROLS),
        )
    folder = study.folder / controls.FOLDER / name
    if not (folder / "control.json").is_file():
        raise ConfigError(
            f"study {study.name}: no control {name} was kept",
            remedy="The sweep command that made it, with controls=true, fits them; published records hold none.",
        )
    made, about = controls.load(folder)
    return made, {**about, "backend": study.config["backend"]["name"]}


def _alike(source: Source, about: Mapping[str, Any], folder: Path) -> Sequences:
    """The sequences of a file laid out as that of the training; of texts by the vocabulary in the folder of the model."""
    from lstm_bench.data import texts, user_files

    known = about["reading"].get("vocabulary")
    return texts.unseen(source, about, folder) if known else user_files.read_alike(source, about)


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
    kinds = ("probability", "prediction")
    names = {f"{kind}_{index}": f"{kind}_{name}" for index, name in enumerate(classes or ()) for kind in kinds}
    known = [] if ids is None else ids.tolist()
    made = []
    for row in rows:
        own = {"sample": row["sample"], **({"id": known[row["sample"]]} if known else {})}
        whole = own | {names.get(name, name): value for name, value in row.items() if name != "sample"}
        if classes and "prediction" in row:
            whole["prediction"] = classes[row["prediction"]]
        made.append(whole)
    head = ("sample", *(("id",) if known else ()))
    return (*head, *(names.get(name, name) for name in columns if name != "sample")), made


def _check_targets(
    y: np.ndarray, x: np.ndarray, asked: Task, n_outputs: int, path: Path, lengths: np.ndarray | None = None
) -> None:
    from lstm_bench.data import labels

    shape = asked.shape(x, y)
    if lengths is not None and asked.per_timestep:
        shape = (int(lengths.sum()),)  # in a row, without padding
    if y.shape != shape:
        remedy = labels.shape_remedy(y, x) if len(shape) == 1 else None
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
    control: str = "",
) -> None:
    """What was predicted by what, and the first rows."""
    from lstm_bench.core.formatting import number, plain

    family_name, n = str(study.config["model"]["_target_"]).rpartition(".")[2], rows[-1]["sample"] + 1
    who = (
        f"{family_name} trained on {about['dataset']}, backend {backend}"
        if backend
        else f"control {control} trained on {about['dataset']}"
    )
    print(f"{study.name}: {who}, {n:,} sequences")
    names = [name for name in columns if not name.startswith("probability_")]
    shown = [[number(v) if isinstance(v := row[name], float) else v for name in names] for row in rows[:_SHOWN]]
    print(plain(names, shown, names) + ("\n..." if len(rows) > _SHOWN else ""))


if __name__ == "__main__":
    sys.exit(main())
