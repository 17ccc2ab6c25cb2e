"""Linear models, which most controls are: on nothing, on summaries or the last values, on TF-IDF, on MiniRocket's features."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lstm_bench.model import minirocket, tfidf
from lstm_bench.model.question import Asked, Samples

ALPHAS = np.logspace(-3, 3, 10)  # of a ridge on MiniRocket's features, as its authors have them
_STRENGTHS = np.logspace(
    -3, 3, 7
)  # 1 / C of a logistic regression, alpha of a ridge on summaries: chosen on validation data
_EXACT = 1_500  # training sequences of which each is left out in turn: of more that would take minutes
_PENALTIES = (1.0, 1e-1, 1e-2)  # as `_STRENGTHS`, of TF-IDF, whose features are many and small
_FEW = 50  # validation sequences: by fewer a strength is chosen along with five folds of the training split
_VALUES = 2**22  # of sequences summed up at a time

Features = Callable[[np.ndarray, np.ndarray | None], np.ndarray]  # of sequences and their lengths


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
    centred = np.where(inside, np.arange(timesteps) - (count - 1) / 2, 0)
    moment = np.maximum(np.square(centred).sum(axis=1), 1)[:, None]
    parts = [
        mean,
        np.sqrt(np.square(spread).sum(axis=1) / count),
        np.einsum("st,stf->sf", centred, spread) / moment,
        x[:, 0],
        x[np.arange(n), ends - 1],
        np.where(inside[..., None], x, np.inf).min(axis=1),
        np.where(inside[..., None], x, -np.inf).max(axis=1),
    ]
    return np.concatenate([*parts, *([] if lengths is None else [count])], axis=1)


# Of the trivial one.


def prior(train: Samples, _: Samples, asked: Asked, seed: int) -> tuple[dict[str, np.ndarray], str]:
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
    steps = ends[:, None] - 1 - np.arange(timesteps)
    values = x[np.arange(n)[:, None], np.maximum(steps, 0)].astype(np.float64)
    return np.where(steps[..., None] >= 0, values, 0).reshape(n, timesteps * features)


def line_on(
    of: Features, train: Samples, validation: Samples, asked: Asked, seed: int
) -> tuple[dict[str, np.ndarray], str]:
    """A line on scaled features, its strength chosen by the validation split: what `Control.learn` is."""
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
            error += len(y_held_out) * loss(x_held_out @ line.weights + line.offset, y_held_out, asked)
        errors.append(error)
    strength = float(_STRENGTHS[len(errors) - 1 - int(np.argmin(errors[::-1]))])  # of equals the stronger
    line = _line(features, train.y, asked, strength)
    weights = line.weights / scale[:, None]
    return {"weights": weights, "offset": line.offset - mean @ weights}, line.chosen


def summarised(arrays: Mapping[str, np.ndarray]) -> Features:
    """`summaries` as a control learned them."""

    def features(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        with_length = len(arrays["weights"]) > 7 * x.shape[2]  # which was a feature where sequences differed in it
        return summaries(x, np.full(len(x), x.shape[1]) if with_length and lengths is None else lengths)

    return features


def _folds(y: np.ndarray) -> list[np.ndarray]:
    """Which samples each of five folds holds out, every class and every range of numbers evenly."""
    order = np.lexsort((np.arange(len(y)), y if y.ndim == 1 else y[:, 0]))
    fold_of = np.empty(len(y), np.int64)
    fold_of[order] = np.arange(len(y)) % 5
    return [fold_of == fold for fold in range(5)] if len(y) >= 10 else []


def _line(features: np.ndarray, y: np.ndarray, asked: Asked, strength: float) -> Line:
    """A ridge for numbers, else a logistic regression, for each label one."""
    (line,) = _lines(features, y, asked, [strength], 200)
    return line


def _lines(
    features: np.ndarray, y: np.ndarray, asked: Asked, strengths: Sequence[float], most_steps: int
) -> Iterator[Line]:
    """A line of each strength in turn; a logistic regression begins where the one before ended."""
    if asked.numbers:
        yield from (_ridge(features, y, asked, strength) for strength in strengths)
    elif asked.kind == "labels":
        of_labels = [
            _logistic(features, y[:, label].astype(int), 2, strengths, most_steps) for label in range(asked.outputs)
        ]
        for lines in zip(*of_labels, strict=True):
            weights = np.stack([line.weights[:, 1] - line.weights[:, 0] for line in lines], axis=1)
            offset = np.array([line.offset[1] - line.offset[0] for line in lines])
            yield Line(weights, offset, lines[0].chosen)
    else:
        yield from _logistic(features, y, asked.outputs, strengths, most_steps)


def _ridge(features: np.ndarray, y: np.ndarray, asked: Asked, strength: float) -> Line:
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


def _logistic(
    features: np.ndarray, y: np.ndarray, outputs: int, strengths: Sequence[float], most_steps: int
) -> Iterator[Line]:
    from sklearn.linear_model import LogisticRegression

    model, present = LogisticRegression(max_iter=most_steps, warm_start=True), np.unique(y)
    for strength in strengths:
        weights, offset = np.zeros((features.shape[1], outputs)), np.full(outputs, math.log(0.5 / (len(y) + 1)))
        if len(present) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it might be fitted more closely
                model.set_params(C=1 / strength).fit(features, y)
            coefficients, intercept = model.coef_.T, model.intercept_
            if len(present) == 2:
                coefficients, intercept = np.c_[-coefficients, coefficients] / 2, np.r_[-intercept, intercept] / 2
            weights[:, present], offset[present] = coefficients, intercept
        else:
            offset[present] = 0
        yield Line(weights, offset, f"C {1 / strength:g}")


# Of TF-IDF.


def line_on_runs(train: Samples, validation: Samples, asked: Asked, seed: int) -> tuple[dict[str, np.ndarray], str]:
    """A line on TF-IDF, its strength chosen by the validation split: what `Control.learn` is."""
    made = tfidf.fit(train.x)
    # In float32 in half of the time: tens of thousands of texts of a hundred classes take a minute.
    features, others = made(train.x).astype(np.float32), made(validation.x)
    line, least = None, math.inf
    for one in _lines(features, train.y, asked, _PENALTIES, 50):
        error = loss(others @ one.weights + one.offset, validation.y, asked)
        if line is None or error < least:  # of equals the stronger
            line, least = one, error
    assert line is not None
    return {**vars(made), "weights": line.weights, "offset": line.offset}, line.chosen


# Of MiniRocket.


def rocket_line(train: Samples, validation: Samples, asked: Asked, seed: int) -> tuple[dict[str, np.ndarray], str]:
    """A ridge on MiniRocket's features: what `Control.learn` is."""
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
    for index, alpha in enumerate(ALPHAS[3::2]):
        solved = cho_solve(cho_factor(gram + alpha * np.eye(len(gram)), overwrite_a=True), sides)
        weights = features.T @ solved if wide else solved
        found.append((float(np.square(others @ weights + middle - wanted).mean()), index, weights))
    _, index, weights = min(found, key=lambda one: one[:2])
    weights = weights / scale[:, None]
    return Line(weights, middle - (mean * scale) @ weights, f"alpha {ALPHAS[3::2][index]:.3g}")


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


def loss(answers: np.ndarray, y: np.ndarray, asked: Asked) -> float:
    """Mean squared error of numbers, else cross-entropy."""
    if asked.numbers:
        return float(np.square(answers - y.reshape(answers.shape)).mean())
    if asked.kind == "labels":
        return float((np.logaddexp(0, answers) - y * answers).mean())
    largest = answers.max(axis=1, keepdims=True)
    total = np.log(np.exp(answers - largest).sum(axis=1)) + largest[:, 0]
    return float((total - answers[np.arange(len(y)), y]).mean())
