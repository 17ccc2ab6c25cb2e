"""What labels are, classes or numbers, and which are unfit: the remedy for their shape, type and values that loses nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lstm_bench.core.errors import DataError
from lstm_bench.core.formatting import number

Table = tuple[tuple[str, ...], list[dict[str, Any]]]  # columns and rows
_SHOWN = 5  # labels in a message


def shape_remedy(y: np.ndarray, x: np.ndarray, others: Sequence[np.ndarray] = ()) -> str | None:
    """What to do about labels that are not one per sample; None where nothing is known that keeps what they say.

    Args:
      y: Labels of any shape but `(samples,)`.
      x: Their samples, `(samples, timesteps, features)`.
      others: Labels of the other splits, which are to be treated alike.
    """
    n, timesteps = x.shape[:2]
    if y.ndim == 2 and y.shape == (1, n) != (n, 1):
        return "One row of labels: y[0]."
    if y.ndim < 2 or len(y) != n:
        return None
    width = y.size // n
    if width == 1:
        return "One label per sample: y[:, 0]." if y.ndim == 2 else "One label per sample: y.reshape(-1)."
    if y.dtype.kind not in "biuf":
        return None
    if _is_binary(y) and (y.ndim == 2 or y.shape[1:-1] == (1,)):
        alike = all(_is_one_hot(its) and its.shape[1:] == y.shape[1:] for its in others if its.ndim > 1)
        if _is_one_hot(y) and alike:
            if y.ndim == 2 and width == timesteps:
                return (
                    "If they are one-hot labels of classes: y.argmax(-1); a label for every timestep is not supported."
                )
            return "One-hot labels: y.argmax(-1)."
        if y.ndim == 2 and width != timesteps:
            return (
                "Some rows do not hold exactly one 1, so they are not one-hot: several labels per sample are another task, "
                "dataset.task=multilabel."
            )
    if y.shape[1] == timesteps:
        target = y.dtype.kind == "f" and not _is_binary(y)
        known = "is another task, dataset.task=tagging" if y.ndim == 2 and y.dtype.kind in "iu" else "is not supported"
        word = "target" if target else "label"
        return f"A {word} for every timestep {known}; one of them is a study of its own: {_column(y)}."
    if y.dtype.kind == "f":
        return (
            "A horizon, or several targets per sample, is not supported; one column is a study of its own: "
            f"{_column(y)}."
        )
    return f"Several labels per sample are not supported; one column is a study of its own: {_column(y)}."


def _column(y: np.ndarray) -> str:
    return "y[:, -1]" if y.ndim == 2 else f"y[:, -1{', 0' * (y.ndim - 2)}]"


def _is_binary(y: np.ndarray) -> bool:
    return bool(np.isin(y, (0, 1)).all())


def _is_one_hot(y: np.ndarray) -> bool:
    """Whether each last axis holds exactly one 1, and 0 else."""
    return y.dtype.kind in "biuf" and y.size > 0 and _is_binary(y) and bool((y.sum(axis=-1) == 1).all())


def integers(y: np.ndarray) -> str | None:
    """How labels that are whole numbers of another type become integers; None where they are none."""
    if y.dtype.kind == "b":
        return "True and false: y.astype(int)."
    if y.dtype.kind == "f" and bool(np.isfinite(y).all() and (y == np.rint(y)).all()):
        return "Labels of classes are integers: y.astype(int)."
    return None


def type_remedy(y: np.ndarray, labels: Mapping[str, np.ndarray]) -> str | None:
    """What to do about labels that are no integers; None where nothing is known that keeps what they say.

    Args:
      y: Labels `(samples,)`.
      labels: Key -> labels of every split.
    """
    if y.dtype.kind in "US":
        return f"Names of classes: {renamed(labels)}."
    if y.dtype.kind == "f" and integers(y) is None:
        return "The targets of a regression are floats in every split: y.astype(float)."
    return integers(y)


def check_classes(labels: Mapping[str, np.ndarray], where: str) -> int:
    """The number of classes of integer labels, which are 0, 1, ... in the training split, each of them; no others elsewhere.

    Args:
      labels: Key -> integer labels `(samples,)` of every split, `y_train` among them.
      where: File or folder, for messages.

    Raises:
      DataError: for labels that would be classes without a sample to learn them from.
    """
    names = np.unique(labels["y_train"])
    n = len(names)
    for key, y in labels.items():
        unknown = np.setdiff1d(y, names)
        if unknown.size:
            raise DataError(
                f"{where}: {key}",
                expected="only labels that y_train has",
                received=_few(unknown),
                remedy="A class without a sample to learn from: take its samples out of every split, or split anew.",
            )
    if n < 2:
        raise DataError(f"{where}: y_train", expected="at least 2 classes", received=_few(names))
    if names[0] != 0 or names[-1] != n - 1:
        raise DataError(
            f"{where}: y_train",
            expected=f"labels 0 to {n - 1}, as there are {n} of them",
            received=_few(names),
            remedy=f"Classes: {renamed(labels)}. The targets of a regression: y.astype(float).",
        )
    return n


def renamed(labels: Mapping[str, np.ndarray]) -> str:
    """A line of Python that names the classes 0, 1, ... in all splits together."""
    keys, ends = list(labels), np.cumsum([np.size(y) for y in labels.values()])[:-1].tolist()
    together = f"np.unique(np.concatenate([{', '.join(keys)}]), return_inverse=True)[1]"
    return f"{', '.join(keys)} = np.split({together}, {ends})"


def _few(labels: np.ndarray) -> list[int] | str:
    more = len(labels) - _SHOWN
    shown = labels[:_SHOWN].tolist()
    return f"{', '.join(map(str, shown))} and {more:,} more" if more > 0 else shown


class Labels(ABC):
    """What the labels of a task are: checked where data comes in, shown where a model answers.

    Attributes:
      classes: Whether they are whole numbers that name classes, and a network's outputs their logits.
      several: Whether each sample has a row of them, an output of the network for each.
      numbers: Whether they are real numbers, which may be scaled.
      ahead: Whether they are what follows in a series.
    """

    classes: bool
    several = False
    numbers = False
    ahead = False

    @abstractmethod
    def check(self, labels: Mapping[str, np.ndarray], n: int | None, where: str) -> tuple[dict[str, np.ndarray], int]:
        """The labels as they are trained on, and the outputs that a network has for them.

        Args:
          labels: Key -> labels of each split, of a fit shape, `y_train` first.
          n: Number of outputs, None to find it in the labels.
          where: File or folder, for messages.

        Raises:
          DataError: for the first that is unfit.
        """

    @abstractmethod
    def check_targets(self, y: np.ndarray, n: int, where: str) -> None:
        """Checks labels that answers are held against; a DataError says what is wrong with them.

        Args:
          y: Of a fit shape.
          n: Outputs of the network.
          where: File, for messages.
        """

    def wanted(self, y: np.ndarray) -> np.ndarray:
        """Of labels, what outputs are to come close to: all of them."""
        return y

    def counts(self, y: np.ndarray, n: int) -> np.ndarray | None:
        """How many labels are of each class, or samples have each label, `(n,)`; None of numbers."""
        return None

    @abstractmethod
    def table(self, answers: np.ndarray) -> Table:
        """Columns, and a row per sample, or per sample and timestep, of a network's answers `(samples, ..., n_outputs)`."""

    @abstractmethod
    def told(
        self, rows: Sequence[Mapping[str, Any]], n: int, y: np.ndarray | None, names: Sequence[str] | None = None
    ) -> list[str]:
        """Lines that sum up the rows of `table`, with `names` of classes; how right they are where labels `y` are known."""


class Classes(Labels):
    """Whole numbers from 0, each of them a class that the training split has."""

    classes = True

    def check(self, labels: Mapping[str, np.ndarray], n: int | None, where: str) -> tuple[dict[str, np.ndarray], int]:
        """See `Labels`; int32."""
        for key, y in labels.items():
            if y.dtype.kind not in "iu":
                remedy = type_remedy(y, labels)
                raise DataError(f"{where}: {key}", expected="integer labels", received=y.dtype, remedy=remedy)
        n = check_classes(labels, where) if n is None else n
        for key, y in labels.items():
            wrong = y.min() if y.min() < 0 else y.max()
            if not 0 <= wrong < n:
                raise DataError(f"{where}: {key}", expected=f"labels 0 to {n - 1}", received=wrong)
        return {key: y.astype(np.int32) for key, y in labels.items()}, n

    def check_targets(self, y: np.ndarray, n: int, where: str) -> None:
        """See `Labels`."""
        if y.dtype.kind not in "iu":
            raise DataError(where, expected="whole numbers", received=y.dtype, remedy=integers(y))
        if y.min() < 0 or y.max() >= n:
            raise DataError(where, expected=f"labels 0 to {n - 1}", received=f"{y.min()} to {y.max()}")

    def counts(self, y: np.ndarray, n: int) -> np.ndarray:
        """See `Labels`."""
        return np.bincount(y.ravel(), minlength=n)

    def table(self, answers: np.ndarray) -> Table:
        """See `Labels`: the likeliest class, its probability, and that of every class."""
        from scipy.special import softmax

        probability = softmax(answers, axis=-1).reshape(-1, answers.shape[-1])
        names = [f"probability_{label}" for label in range(answers.shape[-1])]
        rows = []
        for coordinates, values in zip(_coordinates(answers), probability.tolist(), strict=True):
            best = max(range(len(values)), key=values.__getitem__)
            said = {"prediction": best, "probability": values[best]}
            rows.append({**coordinates, **said, **dict(zip(names, values, strict=True))})
        return (*_coordinate_names(answers), "prediction", "probability", *names), rows

    def told(
        self, rows: Sequence[Mapping[str, Any]], n: int, y: np.ndarray | None, names: Sequence[str] | None = None
    ) -> list[str]:
        """See `Labels`: how often each class, and the accuracy."""
        found = np.array([row["prediction"] for row in rows])
        counts = zip(names or range(n), np.bincount(found, minlength=n).tolist(), strict=True)
        lines = ["classes  " + "  ".join(f"{label}: {count:,}" for label, count in counts)]
        if y is not None:
            right = int((found == y.ravel()).sum())
            lines.append(f"accuracy {right / len(found):.4f} ({right:,} of {len(found):,})")
        return lines


class Numbers(Labels):
    """Real numbers, one per label, which a network's one output is to come close to."""

    classes = False
    numbers = True

    def check(self, labels: Mapping[str, np.ndarray], n: int | None, where: str) -> tuple[dict[str, np.ndarray], int]:
        """See `Labels`; float32."""
        targets = {}
        for key, y in labels.items():
            if y.dtype.kind not in "iuf":
                raise DataError(f"{where}: {key}", expected="numbers, as y_train has them", received=y.dtype)
            with np.errstate(over="ignore"):
                targets[key] = y.astype(np.float32)
            if not np.isfinite(targets[key]).all():
                raise DataError(f"{where}: {key}", expected="finite float32 numbers, neither NaN nor inf")
        return targets, 1

    def check_targets(self, y: np.ndarray, n: int, where: str) -> None:
        """See `Labels`."""
        if y.dtype.kind not in "iuf":
            raise DataError(where, expected="real numbers", received=y.dtype, remedy=integers(y))

    def table(self, answers: np.ndarray) -> Table:
        """See `Labels`: the output."""
        rows = zip(_coordinates(answers), answers.reshape(-1), strict=True)
        return (*_coordinate_names(answers), "prediction"), [{**at, "prediction": float(value)} for at, value in rows]

    def told(
        self, rows: Sequence[Mapping[str, Any]], n: int, y: np.ndarray | None, names: Sequence[str] | None = None
    ) -> list[str]:
        """See `Labels`: the range, and the errors."""
        found = np.array([row["prediction"] for row in rows])
        lines = [f"predictions from {number(found.min())} to {number(found.max())}, mean {number(found.mean())}"]
        if y is not None:
            error = found - y.ravel()
            squared, absolute = np.square(error).mean(), np.abs(error).mean()
            lines.append(f"mean squared error {number(squared)}, mean absolute error {number(absolute)}")
        return lines


class Several(Labels):
    """0 or 1 for each of several labels, any number of which a sample may have; a network's outputs are their logits."""

    classes = False
    several = True

    def check(self, labels: Mapping[str, np.ndarray], n: int | None, where: str) -> tuple[dict[str, np.ndarray], int]:
        """See `Labels`; int32. Training has each label and its absence, the test set each label: else it has no score."""
        n = labels["y_train"].shape[1] if n is None else n
        if n < 2:
            raise DataError(f"{where}: y_train", expected="at least 2 labels", received=n, remedy="One is two classes.")
        for key, y in labels.items():
            self.check_targets(y, n, f"{where}: {key}")
        for key, lacking in (("y_train", "with"), ("y_train", "without"), ("y_test", "with")):
            if key in labels:
                present = (labels[key] == (lacking == "with")).any(axis=0)
                if not present.all():
                    raise DataError(
                        f"{where}: {key} has no sample {lacking} label {present.argmin()}",
                        expected="one for each label",
                        remedy="Leave that label out, or divide otherwise: dataset.split_seed, dataset.test_size of a file.",
                    )
        return {key: y.astype(np.int32) for key, y in labels.items()}, n

    def check_targets(self, y: np.ndarray, n: int, where: str) -> None:
        """See `Labels`."""
        if y.shape[1] != n:
            raise DataError(where, expected=f"{n} labels per sample", received=y.shape[1])
        if y.dtype.kind not in "biuf":
            raise DataError(where, expected="0 and 1", received=y.dtype)
        wrong = y[~np.isin(y, (0, 1))]
        if wrong.size:
            raise DataError(where, expected="0 and 1", received=wrong[0])

    def counts(self, y: np.ndarray, n: int) -> np.ndarray:
        """See `Labels`."""
        return np.asarray(y.sum(axis=0))

    def table(self, answers: np.ndarray) -> Table:
        """See `Labels`: whether each label is predicted, which it is above a probability of 0.5, and that probability."""
        from scipy.special import expit

        columns = [(f"prediction_{label}", f"probability_{label}") for label in range(answers.shape[-1])]
        made = []
        for coordinates, logits, chances in zip(
            _coordinates(answers), answers.tolist(), expit(answers).tolist(), strict=True
        ):
            row: dict[str, Any] = dict(coordinates)
            for (prediction, probability), logit, chance in zip(columns, logits, chances, strict=True):
                row |= {prediction: int(logit > 0), probability: chance}
            made.append(row)
        return (*_coordinate_names(answers), *(name for pair in columns for name in pair)), made

    def told(
        self, rows: Sequence[Mapping[str, Any]], n: int, y: np.ndarray | None, names: Sequence[str] | None = None
    ) -> list[str]:
        """See `Labels`: how many have each label, and the F1 scores."""
        found = np.array([[row[f"prediction_{label}"] for label in range(n)] for row in rows])
        counts = zip(names or range(n), found.sum(axis=0).tolist(), strict=True)
        lines = ["labels  " + "  ".join(f"{label}: {count:,}" for label, count in counts)]
        if y is not None:
            from sklearn.metrics import f1_score

            macro, micro = (f1_score(y, found, average=average, zero_division=0) for average in ("macro", "micro"))
            lines.append(f"macro F1 {macro:.4f}, micro F1 {micro:.4f}")
        return lines


def _coordinate_names(answers: np.ndarray) -> tuple[str, ...]:
    return ("sample", "timestep")[: answers.ndim - 1]


def _coordinates(answers: np.ndarray) -> Iterator[dict[str, int]]:
    """Sample, and timestep where there is one, of each of a network's answers."""
    columns = _coordinate_names(answers)
    return (dict(zip(columns, index, strict=True)) for index in np.ndindex(answers.shape[:-1]))
