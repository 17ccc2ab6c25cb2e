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

    from lstm_bench.study.reader import Recorded

HELP = """\
python -m lstm_bench.predict study=NAME input=FILE [output=FILE.csv] [backend=NAME] [sweeps=DIR]

Uses the winner that a study confirmed, as trained with seed 0, on new sequences.

  study=NAME     a study in DIR whose model/ was kept
  input=FILE     .npy of shape (samples, timesteps, features); .npz with such an x, and y where it is known; else CSV: a
                 sequence per line, timesteps * features numbers, those of the first timestep first
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
    from lstm_bench.data import user_files
    from lstm_bench.study import reader

    study = reader.find(given["study"], Path(given.get("sweeps", "sweeps")))
    model, about = winner(study)
    backend = given.get("backend", about["backend"])
    if backend not in vocabulary.OF_BACKEND:
        raise ConfigError("backend", expected=f"one of {', '.join(vocabulary.OF_BACKEND)}", received=backend)
    cli.require_backend(backend)
    path = home.expanded(given["input"])
    x, y = user_files.read(path, (about["timesteps"], about["features"]))
    x = user_files.scaled(x, about, str(path))
    if y is not None:
        _check_targets(y, x, about, path)
    os.environ["KERAS_BACKEND"] = backend
    answers = outputs(load(model, study), x, min(len(x), study.config["train"]["evaluation_batch_size"]))
    columns, rows = table(answers, about["task"])
    _show(study, about, backend, columns, rows, answers, y)
    if "output" in given:
        out = home.expanded(given["output"])
        fileio.write_rows(out, columns, rows)
        print(f"{out}: {len(rows):,} rows")


def table(answers: np.ndarray, task: str) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Columns and rows of the predictions.

    Args:
      answers: `(samples, n_classes)`, of a class per timestep `(samples, timesteps, n_classes)`, of a regression
        `(samples, 1)`.
      task: classification, tagging or regression.

    Returns:
      Columns, and a row per sample, of tagging per sample and timestep.
    """
    from scipy.special import softmax

    if task == "regression":
        rows = [{"sample": i, "prediction": float(value)} for i, value in enumerate(answers.reshape(len(answers)))]
        return ("sample", "prediction"), rows
    probability = softmax(answers, axis=-1).reshape(-1, answers.shape[-1])
    names = [f"probability_{label}" for label in range(answers.shape[-1])]
    steps = answers.shape[1] if answers.ndim == 3 else 1
    place = ("sample", "timestep") if answers.ndim == 3 else ("sample",)
    rows = []
    for i, values in enumerate(probability.tolist()):
        best = max(range(len(values)), key=values.__getitem__)
        row: dict[str, Any] = {
            "sample": i // steps,
            "timestep": i % steps,
            "prediction": best,
            "probability": values[best],
        }
        rows.append(row | dict(zip(names, values, strict=True)))
    return (*place, "prediction", "probability", *names), rows


def _check_targets(y: np.ndarray, x: np.ndarray, about: Mapping[str, Any], path: Path) -> None:
    from lstm_bench.data import labels as label

    shape = x.shape[:2] if about["task"] == "tagging" else x.shape[:1]
    if y.shape != shape:
        remedy = label.shape_remedy(y, x) if len(shape) == 1 else None
        raise DataError(
            f"{path}: y", expected=f"shape {shape}, a target for each of x", received=y.shape, remedy=remedy
        )
    kinds, words = ("iuf", "real numbers") if about["task"] == "regression" else ("iu", "whole numbers")
    if y.dtype.kind not in kinds:
        raise DataError(f"{path}: y", expected=words, received=y.dtype, remedy=label.integers(y))
    last = about["n_classes"] - 1
    if about["task"] != "regression" and (y.min() < 0 or y.max() > last):
        raise DataError(f"{path}: y", expected=f"labels 0 to {last}", received=f"{y.min()} to {y.max()}")


def _show(
    study: Recorded,
    about: Mapping[str, Any],
    backend: str,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    answers: np.ndarray,
    y: np.ndarray | None,
) -> None:
    """The first rows, how often each class was predicted, and how right that is."""
    import numpy as np

    from lstm_bench.core.formatting import number, plain

    family_name = str(study.config["model"]["_target_"]).rpartition(".")[2]
    print(f"{study.name}: {family_name} trained on {about['dataset']}, backend {backend}, {len(answers):,} sequences")
    names = [name for name in columns if not name.startswith("probability_")]
    shown = [[number(v) if isinstance(v := row[name], float) else v for name in names] for row in rows[:_SHOWN]]
    print(plain(names, shown, names) + ("\n..." if len(rows) > _SHOWN else ""))
    found = np.array([row["prediction"] for row in rows])
    if about["task"] == "regression":
        print(f"predictions from {found.min():.4g} to {found.max():.4g}, mean {found.mean():.4g}")
        if y is not None:
            error = found - y
            print(f"mean squared error {np.square(error).mean():.4g}, mean absolute error {np.abs(error).mean():.4g}")
        return
    counts = np.bincount(found, minlength=answers.shape[-1])
    print("classes  " + "  ".join(f"{label}: {n:,}" for label, n in enumerate(counts.tolist())))
    if y is not None:
        right = int((found == y.ravel()).sum())
        print(f"accuracy {right / len(found):.4f} ({right:,} of {len(found):,})")


if __name__ == "__main__":
    sys.exit(main())
