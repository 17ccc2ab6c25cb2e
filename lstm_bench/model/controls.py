"""Controls, what a network has to beat: the most frequent class or the mean, a linear model on summaries, MiniRocket and a ridge;
of texts a linear model on TF-IDF.

A control is fitted in seconds on one core, without a framework. It is no family: nothing of it is searched but how strongly it is
regularised. What was fitted is arrays and a few facts, so that it is kept as npz and JSON and answers with NumPy alone.
"""

from __future__ import annotations

import functools
import io
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_bench.core import fileio, safe_load
from lstm_bench.core.errors import DataError
from lstm_bench.model import forecasters, minirocket, tfidf
from lstm_bench.model.forecasters import Forecaster

FOLDER = "controls"  # below a study's: a folder for each, of its first seed
VERSION = 1  # of what is kept
MOST = 10_000  # training sequences: of more, as many are drawn, evenly from every class
ALPHAS = np.logspace(-3, 3, 10)  # of a ridge on MiniRocket's features, as its authors have them
_STRENGTHS = np.logspace(
    -3, 3, 7
)  # 1 / C of a logistic regression, alpha of a ridge on summaries: chosen on validation data
_SHARPNESS = np.logspace(-1, 2, 31)  # by which a ridge's answers become logits: likewise
_EXACT = 1_500  # training sequences of which each is left out in turn: of more that would take minutes
_PENALTIES = np.array([1e-2, 1e-1, 1.0])  # as `_STRENGTHS`, of TF-IDF, whose features are many and small
_FEW = 50  # validation sequences: by fewer a strength is chosen along with five folds of the training split
_VALUES = 2**22  # of sequences summed up at a time
_MOST_VALUES = 2**28  # of one sequence
_BLOCK = 4096  # sequences answered at a time
SUMMARIES = ("mean", "deviation", "slope", "first", "last", "least", "most")


Features = Callable[[np.ndarray, np.ndarray | None], np.ndarray]  # of sequences and their lengths


class Asked(NamedTuple):
    """What a task asks of a control.

    Attributes:
      kind: `class`, one per sequence; `labels`, any number of them; `number`, one or several; `horizon`, the numbers that come
        next; `tags`, a class per timestep; "" for what no control knows.
      outputs: Of a network: classes, labels or numbers; of a forecast its steps.
      seasonal: Whether what is forecast has seasons.
      texts: Whether it is asked of texts, whose samples are ids `(samples, tokens)`.
    """

    kind: str
    outputs: int
    seasonal: bool = False
    texts: bool = False

    @property
    def numbers(self) -> bool:
        """Whether numbers are answered, and no classes."""
        return self.kind in ("number", "horizon")


ONE_CLASS = Asked("class", 2)


class Samples(NamedTuple):
    """Sequences of a split.

    Attributes:
      x: float32 `(samples, timesteps, features)`, of texts int32 `(samples, tokens)`; zeros behind the end of shorter ones.
      y: As the task has them.
      lengths: Timesteps of each; None where all have the same.
    """

    x: np.ndarray
    y: np.ndarray
    lengths: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Samples:
        """Those at some places."""
        return Samples(self.x[rows], self.y[rows], None if self.lengths is None else self.lengths[rows])


class Line(NamedTuple):
    """A linear model of features: `features @ weights + offset`.

    Attributes:
      weights: float64 `(features, outputs)`.
      offset: float64 `(outputs,)`.
      chosen: What was chosen, in words.
    """

    weights: np.ndarray
    offset: np.ndarray
    chosen: str


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
        if len(train.x) > MOST:
            notes.append(f"fitted to {MOST:,} of {len(train.x):,} training sequences, drawn evenly from every class")
            train = train.take(drawn(train.y, MOST))
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


def summaries(x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
    """What a sequence is without its order, but for a slope and its ends: float64 `(samples, 7 * features)`, and its length.

    Args:
      x: `(samples, timesteps, features)`.
      lengths: Timesteps of each, which are then a feature as well.
    """
    n, timesteps, features = x.shape
    size = max(1, _VALUES // (timesteps * features))
    if n > size:
        blocks = [slice(start, start + size) for start in range(0, n, size)]
        return np.concatenate([summaries(x[rows], None if lengths is None else lengths[rows]) for rows in blocks])
    x = x.astype(np.float64)
    ends = np.full(n, timesteps) if lengths is None else np.asarray(lengths)
    inside = np.arange(timesteps) < ends[:, None]
    count = ends[:, None].astype(np.float64)
    total = np.where(inside[..., None], x, 0)
    mean = total.sum(axis=1) / count
    spread = np.where(inside[..., None], x - mean[:, None], 0)
    place = np.where(inside, np.arange(timesteps) - (count - 1) / 2, 0)
    moment = np.maximum(np.square(place).sum(axis=1), 1)[:, None]
    parts = [
        mean,
        np.sqrt(np.square(spread).sum(axis=1) / count),
        np.einsum("st,stf->sf", place, spread) / moment,
        x[:, 0],
        x[np.arange(n), ends - 1],
        np.where(inside[..., None], x, np.inf).min(axis=1),
        np.where(inside[..., None], x, -np.inf).max(axis=1),
    ]
    return np.concatenate([*parts, *([] if lengths is None else [count])], axis=1)


def of_pasts(name: str, asked: Asked, season: int) -> Fitted:
    """A control that has `ahead`, which learns nothing.

    Args:
      name: Of the control.
      asked: What the task asks.
      season: Steps of a season.
    """
    return Fitted(name, asked, {"offset": np.zeros(asked.outputs), "season": np.array(season)})


# Of the trivial one.


def _prior(train: Samples, _: Samples, asked: Asked, seed: int) -> tuple[dict[str, np.ndarray], str]:
    """The mean of numbers; of classes the logarithms of their shares, of which the largest is that of the most frequent one."""
    y = train.y
    if asked.numbers:
        return {"offset": y.reshape(len(y), -1).astype(np.float64).mean(axis=0)}, ""
    if asked.kind == "labels":
        share = (y.sum(axis=0) + 0.5) / (len(y) + 1)
        return {"offset": np.log(share / (1 - share))}, ""
    if train.lengths is not None and asked.kind == "tags":
        y = y[np.arange(y.shape[1]) < train.lengths[:, None]]
    counts = np.bincount(y.ravel(), minlength=asked.outputs) + 0.5
    return {"offset": np.log(counts / counts.sum())}, ""


# Of the linear one.


def _scaled(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-12 * np.maximum(1, np.abs(mean))] = 1
    return (features - mean) / scale, mean, scale


def latest(x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
    """A sequence's own values, the last timestep first: float64 `(samples, timesteps * features)`, 0 before its beginning.

    Args:
      x: `(samples, timesteps, features)`.
      lengths: Timesteps of each.
    """
    n, timesteps, features = x.shape
    ends = np.full(n, timesteps) if lengths is None else np.asarray(lengths)
    places = ends[:, None] - 1 - np.arange(timesteps)
    values = x[np.arange(n)[:, None], np.maximum(places, 0)].astype(np.float64)
    return np.where(places[..., None] >= 0, values, 0).reshape(n, timesteps * features)


def _line_on(
    of: Features, train: Samples, validation: Samples, asked: Asked, seed: int
) -> tuple[dict[str, np.ndarray], str]:
    features, mean, scale = _scaled(of(train.x, train.lengths))
    others = (of(validation.x, validation.lengths) - mean) / scale
    parts = [(features, train.y, others, validation.y)] if len(others) else []
    if len(others) < _FEW:
        parts += [(features[~fold], train.y[~fold], features[fold], train.y[fold]) for fold in _folds(train.y)]
    errors = []
    for strength in _STRENGTHS:
        error = 0.0
        for x, y, x_held_out, y_held_out in parts:
            line = _line(x, y, asked, float(strength))
            error += len(y_held_out) * _error(x_held_out @ line.weights + line.offset, y_held_out, asked)
        errors.append(error)
    strength = float(_STRENGTHS[len(errors) - 1 - int(np.argmin(errors[::-1]))])  # of equals the stronger
    line = _line(features, train.y, asked, strength)
    weights = line.weights / scale[:, None]
    return {"weights": weights, "offset": line.offset - mean @ weights}, line.chosen


def _summarised(arrays: Mapping[str, np.ndarray]) -> Features:
    def features(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        with_length = len(arrays["weights"]) > 7 * x.shape[2]  # which was a feature where sequences differed in it
        return summaries(x, np.full(len(x), x.shape[1]) if with_length and lengths is None else lengths)

    return features


def _folds(y: np.ndarray) -> list[np.ndarray]:
    """Which samples each of five folds holds out, every class and every range of numbers evenly."""
    order = np.lexsort((np.arange(len(y)), y if y.ndim == 1 else y[:, 0]))
    place = np.empty(len(y), np.int64)
    place[order] = np.arange(len(y)) % 5
    return [place == fold for fold in range(5)] if len(y) >= 10 else []


def _line(features: np.ndarray, y: np.ndarray, asked: Asked, strength: float) -> Line:
    """A ridge for numbers, else a logistic regression, for each label one."""
    if asked.numbers:
        targets = y.reshape(len(y), -1).astype(np.float64)
        middle = targets.mean(axis=0)
        if asked.texts:
            from sklearn.linear_model import Ridge

            ridge = Ridge(alpha=strength, solver="sparse_cg").fit(features, targets - middle)
            coefficients = ridge.coef_.reshape(targets.shape[1], -1).T
            return Line(coefficients, middle + ridge.intercept_, f"alpha {strength:g}")
        gram = features.T @ features + strength * np.eye(features.shape[1])
        weights = np.linalg.solve(gram, features.T @ (targets - middle))
        return Line(weights, middle, f"alpha {strength:g}")
    if asked.kind == "labels":
        lines = [_logistic(features, y[:, place].astype(int), 2, strength) for place in range(asked.outputs)]
        weights = np.stack([line.weights[:, 1] - line.weights[:, 0] for line in lines], axis=1)
        offset = np.array([line.offset[1] - line.offset[0] for line in lines])
        return Line(weights, offset, f"C {1 / strength:g}")
    return _logistic(features, y, asked.outputs, strength)


def _logistic(features: np.ndarray, y: np.ndarray, outputs: int, strength: float) -> Line:
    from sklearn.linear_model import LogisticRegression

    weights, offset = np.zeros((features.shape[1], outputs)), np.full(outputs, math.log(0.5 / (len(y) + 1)))
    present = np.unique(y)
    if len(present) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it might be fitted more closely
            model = LogisticRegression(C=1 / strength, max_iter=200).fit(features, y)
        coefficients, intercept = model.coef_.T, model.intercept_
        if len(present) == 2:
            coefficients, intercept = np.c_[-coefficients, coefficients] / 2, np.r_[-intercept, intercept] / 2
        weights[:, present], offset[present] = coefficients, intercept
    else:
        offset[present] = 0
    return Line(weights, offset, f"C {1 / strength:g}")


# Of TF-IDF.


def _line_on_runs(train: Samples, validation: Samples, asked: Asked, seed: int) -> tuple[dict[str, np.ndarray], str]:
    made = tfidf.fit(train.x)
    features, others = made(train.x), made(validation.x)
    found = []
    for strength in _PENALTIES:
        line = _line(features, train.y, asked, float(strength))
        found.append((_error(others @ line.weights + line.offset, validation.y, asked), float(strength), line))
    line = min(found, key=lambda one: (one[0], -one[1]))[2]  # of equals the stronger
    return {**vars(made), "weights": line.weights, "offset": line.offset}, line.chosen


# Of MiniRocket.


def _rocket_line(train: Samples, validation: Samples, asked: Asked, seed: int) -> tuple[dict[str, np.ndarray], str]:
    made = minirocket.fit(train.x, seed, train.lengths)
    features = made(train.x, train.lengths)
    if len(features) > _EXACT:
        held_out = made(validation.x, validation.lengths), validation.y
        line = _large_ridge(features, train.y, held_out, asked)
    else:
        line = ridge(features, train.y, asked)
    return {**vars(made), "weights": line.weights, "offset": line.offset}, line.chosen


def ridge(features: np.ndarray, y: np.ndarray, asked: Asked) -> Line:
    """A ridge on features, its strength by the error of each training sequence left out in turn, as MiniRocket's authors do.

    Args:
      features: `(samples, features)`.
      y: Labels.
      asked: `class`, `labels` or `number`.
    """
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV

    scale = _deviation(features)
    features = (features / scale).astype(np.float64)
    if asked.kind == "class":
        model = RidgeClassifierCV(alphas=ALPHAS).fit(features, y)
        present = model.classes_
        weights = np.zeros((features.shape[1], asked.outputs))
        offset = np.full(asked.outputs, -1.0)
        coefficients, intercept = model.coef_.T, model.intercept_
        if len(present) == 2:
            coefficients, intercept = np.c_[-coefficients, coefficients], np.r_[-intercept, intercept]
        weights[:, present], offset[present] = coefficients, intercept
    else:
        model = RidgeCV(alphas=ALPHAS).fit(features, _targets(y, asked))
        weights, offset = model.coef_.reshape(asked.outputs, -1).T, np.reshape(model.intercept_, (-1,))
    return Line(weights / scale[:, None], offset, f"alpha {model.alpha_:.3g}")


def _large_ridge(features: np.ndarray, y: np.ndarray, held_out: tuple[np.ndarray, np.ndarray], asked: Asked) -> Line:
    """As `ridge`, of many sequences: of a few strengths that with the least squared error on the validation split."""
    from scipy.linalg import cho_factor, cho_solve

    scale, targets = _deviation(features), _targets(y, asked)
    mean, middle = features.mean(axis=0, dtype=np.float64) / scale, targets.mean(axis=0)
    features, others = (made.astype(np.float64) / scale - mean for made in (features, held_out[0]))
    wide = features.shape[1] >= len(features)
    gram = features @ features.T if wide else features.T @ features
    sides = targets - middle if wide else features.T @ (targets - middle)
    wanted, found = _targets(held_out[1], asked), list[tuple[float, int, np.ndarray]]()
    for place, alpha in enumerate(ALPHAS[3::2]):
        solved = cho_solve(cho_factor(gram + alpha * np.eye(len(gram)), overwrite_a=True), sides)
        weights = features.T @ solved if wide else solved
        found.append((float(np.square(others @ weights + middle - wanted).mean()), place, weights))
    _, place, weights = min(found, key=lambda one: one[:2])
    weights = weights / scale[:, None]
    return Line(weights, middle - (mean * scale) @ weights, f"alpha {ALPHAS[3::2][place]:.3g}")


def _deviation(features: np.ndarray) -> np.ndarray:
    scale = features.std(axis=0, dtype=np.float64)
    scale[scale == 0] = 1
    return scale


def _targets(y: np.ndarray, asked: Asked) -> np.ndarray:
    """What a ridge is fitted to, float64 `(samples, outputs)`: numbers, or -1 and 1."""
    if asked.kind == "class":
        return np.where(y[:, None] == np.arange(asked.outputs), 1.0, -1.0)
    targets = y.reshape(len(y), -1).astype(np.float64)
    return 2 * targets - 1 if asked.kind == "labels" else targets


def _sharpness(made: Fitted, validation: Samples) -> float:
    """By what a ridge's answers are multiplied so that the cross-entropy of the validation split is least."""
    answers = made.outputs(validation.x, validation.lengths)
    errors = [_error(by * answers, validation.y, made.asked) for by in _SHARPNESS]
    return float(_SHARPNESS[int(np.argmin(errors))])


def _sharpened(made: Fitted, by: float) -> Fitted:
    """A ridge's answers as logits; no class changes by it."""
    arrays = {**made.arrays, "weights": by * made.arrays["weights"], "offset": by * made.arrays["offset"]}
    return replace(made, arrays=arrays, sharpness=by)


def _error(answers: np.ndarray, y: np.ndarray, asked: Asked) -> float:
    """Mean squared error of numbers, else cross-entropy."""
    if asked.numbers:
        return float(np.square(answers - y.reshape(answers.shape)).mean())
    if asked.kind == "labels":
        return float((np.logaddexp(0, answers) - y * answers).mean())
    largest = answers.max(axis=1, keepdims=True)
    total = np.log(np.exp(answers - largest).sum(axis=1)) + largest[:, 0]
    return float((total - answers[np.arange(len(y)), y]).mean())


def _of_series(name: str, label: str, says: str, ahead: Forecaster) -> Control:
    return Control(name, label, says, False, ("horizon",), _prior, lambda arrays: latest, ahead)


CONTROLS = {
    control.name: control
    for control in (
        Control(
            name="trivial",
            label="most frequent class or mean",
            says="always the most frequent class of the training split, or the mean of its numbers",
            drawn=False,
            kinds=("class", "labels", "number", "horizon", "tags"),
            learn=_prior,
            features=lambda arrays: lambda x, lengths: np.empty((len(x), 0)),
            of="",
        ),
        Control(
            name="tfidf",
            label="linear on TF-IDF",
            says="of texts: a logistic regression, or a ridge, on the TF-IDF of runs of one to three tokens",
            drawn=False,
            kinds=("class", "labels", "number"),
            learn=_line_on_runs,
            features=lambda arrays: tfidf.TfIdf(*(arrays[name] for name in ("base", "runs", "idf"))),
            of="texts",
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
            learn=functools.partial(_line_on, summaries),
            features=_summarised,
        ),
        Control(
            name="context",
            label="linear on the last values",
            says="a ridge on the values that a forecast is made from (NLinear, where windows are scaled: Zeng et al. 2023)",
            drawn=False,
            kinds=("horizon",),
            learn=functools.partial(_line_on, latest),
            features=lambda arrays: latest,
        ),
        Control(
            name="minirocket",
            label="MiniRocket, ridge",
            says="a ridge on the 9,996 features of MiniRocket (Dempster et al. 2021)",
            drawn=True,
            kinds=("class", "labels", "number", "horizon"),
            learn=_rocket_line,
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
