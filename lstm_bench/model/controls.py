"""Controls, what a network has to beat: the most frequent class or the mean, a linear model on summaries, MiniRocket and a ridge;
of texts a linear model on TF-IDF.

A control is fitted in seconds on one core, without a framework. It is no family: nothing of it is searched but how strongly it is
regularised. What was fitted is arrays and a few facts, so that it is kept as npz and JSON and answers with NumPy alone.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench.core import fileio, safe_load
from lstm_bench.core.errors import DataError
from lstm_bench.model import forecasters, minirocket, tfidf
from lstm_bench.model.forecasters import Forecaster
from lstm_bench.model.linear import (
    Features,
    latest,
    line_on,
    line_on_runs,
    loss,
    prior,
    rocket_line,
    summaries,
    summarised,
)
from lstm_bench.model.question import Asked, Samples

FOLDER = "controls"  # below a study's: a folder for each, of its first seed
VERSION = 1  # of what is kept
MOST = 10_000  # training sequences: of more, as many are drawn, evenly from every class
_MOST_TEXTS = 100_000  # of TF-IDF, whose features are sparse, and which gains by each text as a network does
_SHARPNESS = np.logspace(-1, 2, 31)  # by which a ridge's answers become logits: likewise
_MOST_VALUES = 2**28  # of one sequence
_BLOCK = 4096  # sequences answered at a time


@dataclass(frozen=True, eq=False)
class Fitted:
    """A control that has been fitted.

    Attributes:
      name: Of the control.
      asked: What it answers.
      arrays: All that it has learned, by name.
      seed: Of what is drawn; 0 where nothing is.
      n_train: Sequences that it was fitted on.
      chosen: What was chosen on validation data, in words; "" for nothing.
      notes: What a reader has to know of it.
      unequal: Whether it learned from sequences of unequal length: a length is then among what it sees.
    """

    name: str
    asked: Asked
    arrays: Mapping[str, np.ndarray]
    seed: int = 0
    n_train: int = 0
    chosen: str = ""
    notes: tuple[str, ...] = ()
    unequal: bool = False
    sharpness: float = 1.0  # by which a ridge's answers were made logits

    @property
    def n_weights(self) -> int:
        """Numbers that were fitted to labels: MiniRocket's biases are not."""
        if CONTROLS[self.name].ahead:
            return 0
        return sum(self.arrays[name].size for name in ("weights", "offset") if name in self.arrays)

    def forecasts(self, pasts: Sequence[np.ndarray]) -> tuple[np.ndarray, str]:
        """What follows series, of a control that looks at their whole past: in their own units, and what was chosen.

        Args:
          pasts: All values of each that are known.
        """
        ahead = CONTROLS[self.name].ahead
        assert ahead is not None
        return ahead(pasts, self.asked.outputs, int(self.arrays["season"]))

    def outputs(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """What a network would give: logits or numbers, float64 `(samples, outputs)`, of tags `(samples, timesteps, outputs)`.

        Args:
          x: float32 `(samples, timesteps, features)`, scaled as those it was fitted on.
          lengths: Timesteps of each; None for all.
        """
        if "weights" not in self.arrays:
            shape = (*x.shape[: 1 + (self.asked.kind == "tags")], self.asked.outputs)
            return np.broadcast_to(self.arrays["offset"], shape).astype(np.float64)
        if lengths is None and self.unequal:
            lengths = np.full(len(x), x.shape[1])
        features, made = CONTROLS[self.name].features(self.arrays), []
        for start in range(0, len(x), _BLOCK):
            rows = slice(start, start + _BLOCK)
            values = features(x[rows], None if lengths is None else lengths[rows])
            made.append(values @ self.arrays["weights"] + self.arrays["offset"])
        return np.concatenate(made)

    def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
        """As a Keras model has it."""
        return self.outputs(x)

    def save(self, folder: Path, about: Mapping[str, Any] | None = None) -> None:
        """Writes `control.npz` and `control.json` into a folder, which is made.

        Args:
          folder: Where to.
          about: Facts of the data that are kept beside: see `artefacts.about`.

        Raises:
          StorageError: where it cannot be written.
        """
        body = io.BytesIO()
        np.savez_compressed(body, allow_pickle=False, **self.arrays)
        fileio.write_bytes(folder / "control.npz", body.getvalue())
        facts = {"version": VERSION, "name": self.name, "kind": self.asked.kind, "outputs": self.asked.outputs}
        facts |= {"seed": self.seed, "n_train": self.n_train, "chosen": self.chosen, "notes": list(self.notes)}
        facts |= {"unequal": self.unequal, "texts": self.asked.texts}
        fileio.write_text(folder / "control.json", json.dumps({**facts, "about": dict(about or {})}, indent=2) + "\n")


def load(folder: Path) -> tuple[Fitted, dict[str, Any]]:
    """A control that `Fitted.save` kept, and the facts beside it.

    Raises:
      DataError: for files that are missing or damaged, or that another version wrote.
    """
    try:
        facts = safe_load.from_json((folder / "control.json").read_text(encoding="utf-8"))
        if facts["version"] != VERSION or facts["name"] not in CONTROLS:
            raise DataError(f"{folder}: a control of another version", expected=str(VERSION), received=facts["version"])
        with np.load(io.BytesIO((folder / "control.npz").read_bytes()), allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        asked = Asked(str(facts["kind"]), int(facts["outputs"]), texts=bool(facts.get("texts")))
        if arrays["offset"].shape != (asked.outputs,):
            raise ValueError("offset")
        if facts["name"] != "trivial" and not CONTROLS[facts["name"]].ahead and "weights" not in arrays:
            raise ValueError("weights")
        seed, n_train, chosen = (facts[name] for name in ("seed", "n_train", "chosen"))
        made = Fitted(
            facts["name"], asked, arrays, seed, n_train, chosen, tuple(facts["notes"]), bool(facts["unequal"])
        )
        about = dict(facts["about"])
        if "timesteps" in about:
            _answer_once(made, about["timesteps"], about["features"])
        return made, about
    except DataError:
        raise
    except Exception as error:  # a damaged archive raises any of several types
        raise DataError(f"{folder}: no control can be read ({type(error).__name__})") from error


def _answer_once(made: Fitted, timesteps: int, features: int) -> None:
    """Raises whatever arrays that do not belong together raise, before they meet a user's sequences."""
    if not 0 < timesteps * features <= _MOST_VALUES:
        raise ValueError("input")
    texts = made.asked.texts
    answers = made.outputs(
        np.ones((1, timesteps), np.int32) if texts else np.zeros((1, timesteps, features), np.float32)
    )
    finite = all(bool(np.isfinite(array).all()) for array in (answers, *made.arrays.values()))
    if answers.shape[-1] != made.asked.outputs or not finite:
        raise ValueError("answers")


@dataclass(frozen=True)
class Control:
    """What a network has to beat.

    Attributes:
      name: As the records have it.
      label: What tables call it.
      says: What it is, in a sentence.
      drawn: Whether something of it is drawn, so that seeds differ.
      kinds: Of tasks that it can answer.
      learn: Training, validation, what is asked and seed -> arrays, what was chosen; None of one that has `ahead`.
      features: Of arrays that were learned; of the trivial one nothing.
      ahead: Of forecasts: looks at the whole past of each series, and learns nothing of others.
      of: What its samples are: `numbers`, `texts`, or "" for either.
      most: Training sequences that it is fitted to; None for all.
    """

    name: str
    label: str
    says: str
    drawn: bool
    kinds: tuple[str, ...]
    learn: Callable[[Samples, Samples, Asked, int], tuple[dict[str, np.ndarray], str]] = field(repr=False)
    features: Callable[[Mapping[str, np.ndarray]], Features] = field(repr=False)
    ahead: Forecaster | None = field(default=None, repr=False)
    of: str = "numbers"
    most: int | None = MOST

    def fit(
        self, train: Samples, validation: Samples, asked: Asked, seed: int = 0, sharpness: float | None = None
    ) -> Fitted:
        """Fits it to the training split; what is to be chosen is chosen on the validation split.

        Args:
          train: The training split.
          validation: The validation split; without any samples, a strength is chosen by folds of the training split.
          asked: What the task asks.
          seed: Of what is drawn.
          sharpness: By which a ridge's answers become logits; None: that is chosen on the validation split.
        """
        notes: list[str] = []
        if self.most and len(train.x) > self.most:
            notes.append(
                f"fitted to {self.most:,} of {len(train.x):,} training sequences, drawn evenly from every class"
            )
            train = train.take(drawn(train.y, self.most))
        if len(validation.x) > MOST:
            validation = validation.take(drawn(validation.y, MOST))
        if self.name == "minirocket" and (train.lengths is not None or train.x.shape[1] < minirocket.TAPS):
            notes.append(
                "MiniRocket for sequences of unequal lengths, or shorter than its kernels, is a variant of ours"
            )
        if self.of == "texts":
            notes.append("it sees the tokens that a network sees; the other controls are of numbers, and ids are none")
        arrays, chosen = self.learn(train, validation, asked, seed)
        unequal = train.lengths is not None
        made = Fitted(self.name, asked, arrays, seed, len(train.x), chosen, tuple(notes), unequal)
        if self.name != "minirocket" or asked.numbers:
            return made
        return _sharpened(made, _sharpness(made, validation) if sharpness is None else sharpness)


def drawn(y: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """Places of `n` samples, sorted: evenly over the sorted labels, and at random among equal ones."""
    order = np.random.RandomState(seed).permutation(len(y))
    if y.ndim == 1:
        order = order[np.argsort(y[order], kind="stable")]
    return np.sort(order[(np.arange(n) * (len(y) / n)).astype(np.int64)])


def of_pasts(name: str, asked: Asked, season: int) -> Fitted:
    """A control that has `ahead`, which learns nothing.

    Args:
      name: Of the control.
      asked: What the task asks.
      season: Steps of a season.
    """
    return Fitted(name, asked, {"offset": np.zeros(asked.outputs), "season": np.array(season)})


def _sharpness(made: Fitted, validation: Samples) -> float:
    """By what a ridge's answers are multiplied so that the cross-entropy of the validation split is least."""
    answers = made.outputs(validation.x, validation.lengths)
    errors = [loss(by * answers, validation.y, made.asked) for by in _SHARPNESS]
    return float(_SHARPNESS[int(np.argmin(errors))])


def _sharpened(made: Fitted, by: float) -> Fitted:
    """A ridge's answers as logits; no class changes by it."""
    arrays = {**made.arrays, "weights": by * made.arrays["weights"], "offset": by * made.arrays["offset"]}
    return replace(made, arrays=arrays, sharpness=by)


def _of_series(name: str, label: str, says: str, ahead: Forecaster) -> Control:
    return Control(name, label, says, False, ("horizon",), prior, lambda arrays: latest, ahead)


CONTROLS = {
    control.name: control
    for control in (
        Control(
            name="trivial",
            label="most frequent class or mean",
            says="always the most frequent class of the training split, or the mean of its numbers",
            drawn=False,
            kinds=("class", "labels", "number", "horizon", "tags"),
            learn=prior,
            features=lambda arrays: lambda x, lengths: np.empty((len(x), 0)),
            of="",
            most=None,
        ),
        Control(
            name="tfidf",
            label="linear on TF-IDF",
            says="of texts: a logistic regression, or a ridge, on the TF-IDF of runs of one to three tokens",
            drawn=False,
            kinds=("class", "labels", "number"),
            learn=line_on_runs,
            features=lambda arrays: tfidf.TfIdf(*(arrays[name] for name in ("base", "runs", "idf"))),
            of="texts",
            most=_MOST_TEXTS,
        ),
        _of_series("naive", "naive", "the last value, repeated", forecasters.naive),
        _of_series("seasonal_naive", "seasonal naive", "the value a season before", forecasters.seasonal_naive),
        _of_series("drift", "drift", "on along the line from the first value to the last", forecasters.drift),
        _of_series(
            "smoothing",
            "exponential smoothing",
            "of level, trend and damped trend, with seasons and without, that of the least AICc (Hyndman et al. 2002)",
            forecasters.smoothing,
        ),
        Control(
            name="linear",
            label="linear on summaries",
            says="a logistic regression, or a ridge, on mean, deviation, slope, first and last value, extremes and length",
            drawn=False,
            kinds=("class", "labels", "number", "horizon"),
            learn=functools.partial(line_on, summaries),
            features=summarised,
        ),
        Control(
            name="context",
            label="linear on the last values",
            says="a ridge on the values that a forecast is made from (NLinear, where windows are scaled: Zeng et al. 2023)",
            drawn=False,
            kinds=("horizon",),
            learn=functools.partial(line_on, latest),
            features=lambda arrays: latest,
        ),
        Control(
            name="minirocket",
            label="MiniRocket, ridge",
            says="a ridge on the 9,996 features of MiniRocket (Dempster et al. 2021)",
            drawn=True,
            kinds=("class", "labels", "number", "horizon"),
            learn=rocket_line,
            features=lambda arrays: minirocket.MiniRocket(
                *(arrays[name] for name in ("dilations", "counts", "biases", "channels", "widths"))
            ),
        ),
    )
}


def able(asked: Asked) -> list[Control]:
    """The controls that can answer what is asked, and whose packages are installed."""
    left_out = {"seasonal_naive"} if not asked.seasonal else set[str]()
    if not forecasters.has_smoothing():
        left_out.add("smoothing")
    ours = ("", "texts" if asked.texts else "numbers")
    return [
        control
        for control in CONTROLS.values()
        if asked.kind in control.kinds and control.of in ours and control.name not in left_out
    ]
