"""What a dataset holds, before anything trains: its columns, its classes, and which columns tell the target alone."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lstm_bench.core import schema
from lstm_bench.core.formatting import counted
from lstm_bench.data import dataset, file_dataset, missing
from lstm_bench.data.arrays import SPLITS
from lstm_bench.data.cutter import cutter_of
from lstm_bench.data.dataset import Dataset
from lstm_bench.data.lengths import mask, real
from lstm_bench.data.sequences import Columns, names_of
from lstm_bench.data.splits import moments
from lstm_bench.data.task import Task

MOST = 2_000  # sequences that are drawn to find out what tells the target: enough for a thousandth
TELLS = 0.999  # share of samples that one column classifies, or its correlation with a target
LEAST = 5  # samples of the rarest class below which a column tells it by chance


@dataclass(frozen=True)
class Column:
    """One feature in the training split, as the file has it.

    Attributes:
      name: Its name, or number.
      missing: Values that are missing, in all splits.
      mean: Likewise its deviation and extremes; of what is filled, with what is filled in.
      twin: Another column of the same values, "" for none.
      tells: How it tells the target alone, in words, "" where it does not.
    """

    name: str
    missing: int
    mean: float
    deviation: float
    low: float
    high: float
    twin: str = ""
    tells: str = ""

    @property
    def constant(self) -> bool:
        """Whether it has one value."""
        return self.low == self.high

    @property
    def remark(self) -> str:
        """What is said against it."""
        said = ["constant"] if self.constant else []
        said += [f"as {self.twin}"] if self.twin else []
        return ", ".join([*said, *(["tells the target"] if self.tells else [])])


def load(config: schema.Dataset) -> Dataset:
    """As `dataset.load`, but gaps that `dataset.missing` refuses are filled, so that the rest can be seen.

    Args:
      config: The `dataset` settings.

    Raises:
      LstmBenchError: as `dataset.load`.
    """
    if config["name"] != "file" or config.get("missing") not in (None, "refuse") or cutter_of(config):
        return dataset.load(config)
    found = dataset.load({**config, "missing": "mean"})
    notes = tuple(note for note in found.notes if not note.startswith(missing.FILLED))
    return dataclasses.replace(found, notes=notes, about={**(found.about or {}), "refused": True})


def unfit(config: schema.Dataset) -> list[str]:
    """What can be said of a file that cannot be divided: sequences, classes, a sentence each.

    Raises:
      LstmBenchError: where it cannot be read either.
    """
    made: list[str] = []
    if cutter_of(config):  # what it refuses it has said in full
        return made
    for split, part in file_dataset.parts_of(config).items():
        lengths = part.every_length()
        shape = (
            f"{len(part):,} sequences of {span(lengths.min(), lengths.max())} timesteps, {part.x.shape[2]:,} features"
        )
        made.append(shape if split == "all" else f"{split}: {shape}")
        y = part.labels()
        if y is not None and y.dtype.kind != "f":
            counts = Counter(map(str, y.ravel().tolist()))
            made.append("classes: " + ", ".join(f"{name} {n:,}" for name, n in counts.most_common(20)))
    return made


def span(low: int, high: int) -> str:
    """`30`, or `7 to 29`."""
    return f"{high:,}" if low == high else f"{low:,} to {high:,}"


def class_counts(found: Dataset) -> dict[str, dict[str, int]]:
    """Class, or label -> split -> how many of its samples, or timesteps, are in it; {} where the task has no such."""
    made = {split: found.kind.labels.counts(found.labels(split), found.n_classes) for split in SPLITS}
    counts = {split: of for split, of in made.items() if of is not None}
    if not counts:
        return {}
    names = found.classes or tuple(map(str, range(found.n_classes)))
    return {name: {split: int(counts[split][index]) for split in SPLITS} for index, name in enumerate(names)}


def columns(found: Dataset, config: schema.Dataset) -> list[Column]:
    """The features of a dataset; of a table whose rows are sequences its one feature, and timesteps that tell the target.

    Texts have none.
    """
    if found.tokens is not None:
        return []
    x, names = real(found.x_train, found.lengths_train), _names(found)
    twins, tells = _twins(x, names), _telling(found.x_train, names, found, config)
    measured = [(name, i, *figures) for i, (name, *figures) in enumerate(zip(names, *_figures(x), strict=True))]
    if config.get("layout") == "wide":
        steps = [(name, found.x_train[:, i]) for i, name in enumerate(_steps(found, config)) if name in tells]
        measured += [(name, 0, *(float(of[0]) for of in _figures(step[..., None]))) for name, step in steps]
    gone = (found.about or {}).get("missing", {})
    made = []
    for name, i, *figures in measured:
        # As the file has them.
        by, plus = (1.0, 0.0) if found.mean is None or found.scale is None else (found.scale[i], found.mean[i])
        mean, low, high = (float(figures[index] * by + plus) for index in (0, 2, 3))
        deviation = float(figures[1] * by)
        said = twins.get(name, ""), tells.get(name, "")
        made.append(Column(name, gone.get(name, 0), mean, deviation, low, high, *said))
    return made


def _figures(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean, deviation, least and most of every feature of `(samples, timesteps, features)`."""
    columns = [np.ascontiguousarray(x[..., index]) for index in range(x.shape[-1])]
    return *moments(x), np.array([column.min() for column in columns]), np.array([column.max() for column in columns])


def _names(found: Dataset) -> list[str]:
    n, reading = found.x_train.shape[2], found.reading or {}
    known = list(reading.get("features", ()))
    observed = ((reading.get("filling") or {}).get("observed")) or ()
    return names_of([*known, *(f"{names_of(known, n - len(observed))[index]} is there" for index in observed)], n)


def _twins(x: np.ndarray, names: Sequence[str]) -> dict[str, str]:
    """Column -> an earlier one with the same values, constants left out."""
    first: dict[int, str] = {}
    made = {}
    for index, name in enumerate(names):
        values = np.ascontiguousarray(x[..., index])
        if (values == values.flat[0]).all():
            continue
        key = hash(values.tobytes())
        if key in first:
            made[name] = first[key]
        first.setdefault(key, name)
    return made


def _telling(x: np.ndarray, names: Sequence[str], found: Dataset, config: schema.Dataset) -> dict[str, str]:
    """Column -> how it alone tells the target: it is a copy of it, or was made from it.

    Of a table whose rows are sequences the columns are timesteps. One feature that is all there is may well tell it.
    """
    drawn = np.random.RandomState(0).permutation(len(x))[:MOST]
    x, y = x[drawn], found.y_train[drawn]
    lengths = np.full(len(x), x.shape[1]) if found.lengths_train is None else found.lengths_train[drawn]
    task, steps = found.kind, config.get("layout") == "wide"
    if task.per_timestep and not steps:
        counts = mask(lengths, x.shape[1])
        views = {"value": x[counts][:MOST]}
        y = y[counts][:MOST]
    elif steps:
        views, names = {"value": x[..., 0]}, _steps(found, config)
    elif len(names) > 1:
        last = x[np.arange(len(x)), lengths - 1]
        views = {"mean": x.sum(axis=1) / lengths[:, None], "first value": x[:, 0], "last value": last}
    else:
        return {}
    made: dict[str, str] = {}
    for view, values in views.items():
        for index, name in enumerate(names):
            if name not in made and (words := told(values[:, index], y, task)):
                made[name] = f"its {view} {words}"
    return made


def _steps(found: Dataset, config: schema.Dataset) -> list[str]:
    """Names of a table's timesteps, where a row is a sequence."""
    meant = {name for _, name in Columns.of(config).named()}
    names = config.get("features") or [c for c in (found.about or {}).get("columns") or () if c not in meant]
    n = found.x_train.shape[1]
    return list(names) if len(names) == n else [f"timestep {index + 1}" for index in range(n)]


def told(values: np.ndarray, y: np.ndarray, task: Task) -> str:
    """How values tell labels: by an interval for each class, or by a straight line; "" where they do not."""
    if y.ndim > 1 or np.ptp(values) == 0:
        return ""
    if not task.labels.classes:
        same = abs(float(np.corrcoef(values, y)[0, 1])) if np.ptp(y) > 0 else 0.0
        return f"is the target but for a straight line (correlation {same:.4f})" if same >= TELLS else ""
    counts = np.bincount(y)
    if len(values) < 20 or min(counts[counts > 0]) < LEAST or len(counts[counts > 0]) < 2:
        return ""
    n, wrong = int((counts > 0).sum()), int((1 - TELLS) * len(y)) + 1
    labels = y[np.lexsort((y, values))]
    if (
        int((labels[1:] != labels[:-1]).sum()) > n - 1 + 2 * wrong
    ):  # more changes than so many intervals and errors make
        return ""
    from sklearn.tree import DecisionTreeClassifier  # lazily: it takes a second

    tree = DecisionTreeClassifier(max_leaf_nodes=n, random_state=0).fit(values[:, None], y)
    share = float(tree.score(values[:, None], y))
    return f"tells {100 * share:.1f} % of the classes by {counted(n - 1, 'threshold')}" if share >= TELLS else ""
