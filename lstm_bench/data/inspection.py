"""What a dataset holds, before anything trains: its columns, its classes, and what would make a score on it wrong."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_bench.core.formatting import counted
from lstm_bench.core.statistics import sampling_error
from lstm_bench.data import dataset, file_dataset, missing
from lstm_bench.data.arrays import SPLITS
from lstm_bench.data.dataset import Dataset
from lstm_bench.data.lengths import mask, real
from lstm_bench.data.sequences import Columns, names_of
from lstm_bench.data.splits import moments, scales_differ
from lstm_bench.data.task import Task

MOST = 2_000  # sequences that are drawn to find out what tells the target: enough for a thousandth
FEW_OF_CLASS = 10  # test samples: one more or less moves the recall of a class by ten points
RARE = 1 / 3  # of an equal share: a class below it hardly counts in an accuracy
WIDE = 0.05  # half width of the 95 % interval of an accuracy of 90 %: a hundred and forty samples
FEW_PICK = 30  # validation samples: the best of many trials is then the luckiest
TELLS = 0.999  # share of samples that one column classifies, or its correlation with a target
LEAST = 5  # samples of the rarest class below which a column tells it by chance
GAPS = 0.2  # of a column's values: what is filled in is then what is learned
_OWNER = re.compile(
    r"(^|_)(subject|person|patient|user|participant|speaker|driver|animal|machine|device|engine|station|site|session|"
    r"customer|household|group|fold|batch|cluster)s?(_?(id|no|nr|number|name))?$|^(uid|id)$|_id$"
)
_TIME = re.compile(r"(^|_)(time|times|timestamp|date|datetime|when|ts)(_?(s|ms|us|ns|utc))?$")


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


def load(config: Mapping[str, Any]) -> Dataset:
    """As `dataset.load`, but gaps that `dataset.missing` refuses are filled, so that the rest can be seen.

    Args:
      config: The `dataset` settings.

    Raises:
      LstmBenchError: as `dataset.load`.
    """
    if config["name"] != "file" or config.get("missing") not in (None, "refuse") or file_dataset.cutter_of(config):
        return dataset.load(config)
    found = dataset.load({**config, "missing": "mean"})
    notes = tuple(note for note in found.notes if not note.startswith(missing.FILLED))
    return dataclasses.replace(found, notes=notes, about={**(found.about or {}), "refused": True})


def unfit(config: Mapping[str, Any]) -> list[str]:
    """What can be said of a file that cannot be divided: sequences, classes, a sentence each.

    Raises:
      LstmBenchError: where it cannot be read either.
    """
    made: list[str] = []
    if file_dataset.cutter_of(config):  # what it refuses it has said in full
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
    return {name: {split: int(counts[split][place]) for split in SPLITS} for place, name in enumerate(names)}


def columns(found: Dataset, config: Mapping[str, Any]) -> list[Column]:
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
        mean, low, high = (float(figures[place] * by + plus) for place in (0, 2, 3))
        deviation = float(figures[1] * by)
        said = twins.get(name, ""), tells.get(name, "")
        made.append(Column(name, gone.get(name, 0), mean, deviation, low, high, *said))
    return made


def _figures(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean, deviation, least and most of every feature of `(samples, timesteps, features)`."""
    columns = [np.ascontiguousarray(x[..., place]) for place in range(x.shape[-1])]
    return *moments(x), np.array([column.min() for column in columns]), np.array([column.max() for column in columns])


def _names(found: Dataset) -> list[str]:
    n, reading = found.x_train.shape[2], found.reading or {}
    known = list(reading.get("features", ()))
    observed = ((reading.get("filling") or {}).get("observed")) or ()
    return names_of([*known, *(f"{names_of(known, n - len(observed))[place]} is there" for place in observed)], n)


def _twins(x: np.ndarray, names: Sequence[str]) -> dict[str, str]:
    """Column -> an earlier one with the same values, constants left out."""
    first: dict[int, str] = {}
    made = {}
    for place, name in enumerate(names):
        values = np.ascontiguousarray(x[..., place])
        if (values == values.flat[0]).all():
            continue
        key = hash(values.tobytes())
        if key in first:
            made[name] = first[key]
        first.setdefault(key, name)
    return made


def _telling(x: np.ndarray, names: Sequence[str], found: Dataset, config: Mapping[str, Any]) -> dict[str, str]:
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
        for place, name in enumerate(names):
            told = _told(values[:, place], y, task)
            if told and name not in made:
                made[name] = f"its {view} {told}"
    return made


def _steps(found: Dataset, config: Mapping[str, Any]) -> list[str]:
    """Names of a table's timesteps, where a row is a sequence."""
    meant = {name for _, name in Columns.of(config).named()}
    names = config.get("features") or [c for c in (found.about or {}).get("columns") or () if c not in meant]
    n = found.x_train.shape[1]
    return list(names) if len(names) == n else [f"timestep {place + 1}" for place in range(n)]


def _told(values: np.ndarray, y: np.ndarray, task: Task) -> str:
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


def warnings(
    found: Dataset, config: Mapping[str, Any], known: Sequence[Column] | None = None, *, weighted: bool = False
) -> list[str]:
    """A sentence for each thing that would make a score wrong, and the option that mends it.

    Args:
      found: What `load` or `dataset.load` returned.
      config: The `dataset` settings.
      known: Its columns, where they are known already.
      weighted: Whether classes are weighed in training.
    """
    known = columns(found, config) if known is None else known
    file = config["name"] == "file"
    return [
        *_of_split(found, config),
        *(_of_table(found, config) if file else ()),
        *_of_repeats(found),
        *_of_lengths(found),
        *_of_columns(found, known, file),
        *_of_classes(found, file, weighted),
        *_of_sizes(found, config, file),
    ]


def _of_split(found: Dataset, config: Mapping[str, Any]) -> Iterator[str]:
    about = found.about or {}
    if about.get("windows") and about["split"] == "stratified":
        alike = "overlap" if about["overlap"] else "are alike"
        mended = "dataset.split=time" if config.get("time") else "dataset.time=COLUMN, or dataset.id=RECORDING"
        yield f"windows of one recording {alike} and are divided at random: the test set is no new data. Say {mended}."
    elif about.get("in_time") and about["split"] == "stratified":
        yield (
            "the sequences follow each other in time and are divided at random: a model that is to foretell is tested on its "
            "past. Say dataset.split=time."
        )
    if config.get("validation") == "test":
        yield "validation samples are test samples: the search picks what suits the test set. Say dataset.validation=split."


def _of_table(found: Dataset, config: Mapping[str, Any]) -> Iterator[str]:
    """Of columns whose name says what nobody said they are."""
    about = found.about or {}
    meant = {name for _, name in Columns.of(config).named()}
    inputs = (found.reading or {}).get("features", ())
    # pandas writes its row numbers into a column without a name.
    numbers = [name for name in inputs if name in ("", "index") or name.startswith("Unnamed: ")]
    for name in numbers:
        yield f"column {name!r} is an input and counts rows. Leave it out by dataset.features=[...]."
    for name in about.get("columns") or ():
        lower = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace(" ", "_")
        if name in meant or name in numbers:
            continue
        if _OWNER.search(lower):
            if name in inputs:
                yield (
                    f"column {name} is an input and seems to say what a row belongs to: networks learn it by heart. Say "
                    f"dataset.group={name}, or leave it out by dataset.features=[...]."
                )
            elif not config.get("group"):  # also where windows are kept together by their recording
                yield (
                    f"column {name} is not used: if sequences of one {name} are alike, those in the test set are half known. "
                    f"Say dataset.group={name}."
                )
        elif _TIME.search(lower) and not config.get("time") and config.get("layout") != "wide":
            what = "is an input and seems to be a time" if name in inputs else "seems to be a time and is not used"
            yield f"column {name} {what}: rows are taken in the order of the file. Say dataset.time={name}."


def _of_repeats(found: Dataset) -> Iterator[str]:
    if found.kind.cutter:
        yield from _of_repeating_series(found)
        return
    hashes = {split: [hash(row.tobytes()) for row in _rows(found, split)] for split in SPLITS}
    total, different = sum(map(len, hashes.values())), {split: {*own} for split, own in hashes.items()}
    for place, one in enumerate(SPLITS):
        for other in SPLITS[place + 1 :]:
            both = sum(value in different[one] for value in hashes[other])
            if both:
                yield (
                    f"{both:,} of {len(hashes[other]):,} sequences of {other} are in {one} too, value for value: what is known "
                    "by heart counts. Take them out, or keep them in one split by dataset.group=COLUMN."
                )
    again = sum(len(own) - len(different[split]) for split, own in hashes.items())
    if again:
        yield f"{again:,} of {total:,} sequences repeat another of their split, value for value. Take them out."


def _of_repeating_series(found: Dataset) -> Iterator[str]:
    """Windows of series are no samples that anyone could take out: what repeats is the series."""
    known = {row.tobytes() for row in _rows(found, "train")}
    again = sum(row.tobytes() in known for row in _rows(found, "test"))
    if again:
        yield (
            f"{again:,} of {len(found.x_test):,} forecasts of test are made from a past that is in train, value for value: the "
            "series repeat themselves, and what is known by heart counts."
        )


def _rows(found: Dataset, split: str) -> Iterator[np.ndarray]:
    """The sequences of a split without their padding."""
    x, lengths = getattr(found, f"x_{split}"), found.lengths(split)
    return iter(x) if lengths is None else (row[:n] for row, n in zip(x, lengths.tolist(), strict=True))


def _of_lengths(found: Dataset) -> Iterator[str]:
    if found.lengths_train is None:
        return
    told = _told(found.lengths_train[:MOST].astype(np.float32), found.y_train[:MOST], found.kind)
    if told:
        yield (
            f"their length alone tells the target: it {told}. Is it known when one predicts? Else cut all to one: "
            "dataset.max_length and dataset.min_length of one value, dataset.truncate=end."
        )


def _of_columns(found: Dataset, known: Sequence[Column], file: bool) -> Iterator[str]:
    about = found.about or {}
    gaps = {column.name: column.missing for column in known if column.missing}
    if gaps:
        told = ", ".join(f"{name} {n:,}" for name, n in gaps.items())[:200]
        total = sum(real(getattr(found, f"x_{split}")[..., 0], found.lengths(split)).size for split in SPLITS)
        filling = (found.reading or {}).get("filling") or {}
        if about.get("refused"):
            yield (
                f"values are missing ({told}): a sweep refuses them. Say dataset.missing=forward_fill (the last value before), "
                "mean, or mask (mean, and a channel that says what was there)."
            )
        elif any(n > GAPS * total for n in gaps.values()) and filling.get("way") != "mask":
            yield f"much is missing ({told} of {total:,}) and filled in. Say dataset.missing=mask."
    out = "Leave it out by dataset.features=[...]." if file else "Leave it out of the file."
    for column in known:
        if column.constant and len(known) > 1:
            yield f"column {column.name} has one value, {column.low:g}, in the training split. {out}"
        elif column.twin:
            yield f"column {column.name} has the values of {column.twin}. {out}"
        if column.tells:
            yield (
                f"column {column.name} alone tells the target: {column.tells}. Is it known when one predicts? "
                f"Else {out[0].lower()}{out[1:]}"
            )
    if (
        found.tokens is None
        and found.mean is None
        and scales_differ(real(found.x_train, found.lengths_train))
        and not _is_picture(found)
    ):
        yield "scales differ more than tenfold: networks see the largest. Say dataset.standardize=true."


def _is_picture(found: Dataset) -> bool:
    return found.divisor != 1


def _of_classes(found: Dataset, file: bool, weighted: bool) -> Iterator[str]:
    counts = class_counts(found)
    if not counts:
        return
    what = "timesteps" if found.per_timestep else "sequences"
    written: dict[str, str] = {}
    for name in counts:
        alike = written.setdefault(" ".join(name.lower().split()), name)
        if alike != name:
            yield f"classes {alike!r} and {name!r} differ in capitals or blanks alone: if they are one, write them alike."
    few = [f"{name} {of['test']}" for name, of in counts.items() if of["test"] < FEW_OF_CLASS]
    if few:
        called, one = ("labels", "such a label") if found.kind.labels.several else ("classes", "such a class")
        more = "Say dataset.test_size=... larger" if file else "Give the test set more of them"
        yield (
            f"{len(few)} of {len(counts)} {called} {'has' if len(few) == 1 else 'have'} fewer than {FEW_OF_CLASS} test {what} "
            f"({', '.join(few[:8])}{', ...' if len(few) > 8 else ''}): what is said of {one} says little. {more}, or join "
            "it with another."
        )
    if not found.kind.labels.classes:
        return
    total = sum(of["train"] for of in counts.values())
    rarest, most = (pick(counts, key=lambda name: counts[name]["train"]) for pick in (min, max))
    if counts[rarest]["train"] < RARE * total / len(counts):
        share = [100 * counts[name]["train"] / total for name in (rarest, most)]
        # Of a file study.objective=auto comes to this by itself.
        aims = [f"study.objective=val_{found.kind.rare.name}"] if not file and found.kind.rare else []
        aims += ["train.class_weight=balanced"] * (not weighted)
        mended = (
            f"Say {' and '.join(aims)}."
            if aims
            else "Compare with the trivial score, and look at the confusion matrix."
        )
        yield (
            f"classes are unbalanced: {rarest} has {share[0]:.1f} % of the training {what}, {most} {share[1]:.1f} %; accuracy "
            f"hardly counts the former. {mended}"
        )


def _of_sizes(found: Dataset, config: Mapping[str, Any], file: bool) -> Iterator[str]:
    n = len(found.x_test)
    more = " Say dataset.folds=3 (with pruner=none), or dataset.validation_size=0.2 or more."
    larger = " Say dataset.test_size=... larger." if file and (found.about or {}).get("split") != "given" else ""
    if found.kind.cutter:  # of series: their ends are the test set
        larger = more = f" Say dataset.origins={_origins(found, config)} for more forecasts of each series."
    if (half := half_width(found)) > WIDE:
        yield f"the test set is small: on {n:,} sequences an accuracy of 90 % is known to ±{100 * half:.0f} points.{larger}"
    elif not found.kind.labels.classes and n < FEW_PICK:
        yield f"the test set is small: {n:,} sequences.{larger}"
    n = len(found.x_validation)
    if n < FEW_PICK and config.get("validation") != "test" and not config.get("folds"):
        by = f" by steps of {100 / n:.0f} points" if found.kind.has_classes else ""
        yield f"the validation set has {n:,} sequences: of many trials the search picks{by} the luckiest.{more}"


def _origins(found: Dataset, config: Mapping[str, Any]) -> int:
    """Forecasts of each series with which the test set is none of few."""
    return math.ceil(FEW_PICK * int(config.get("origins") or 1) / len(found.x_test))


def half_width(found: Dataset) -> float:
    """Of the 95 % interval of an accuracy of 90 % on the test set, as a fraction; 0 of a task without such an accuracy."""
    if found.kind.measure.sampling != "share" or found.per_timestep:
        return 0.0
    share = sampling_error(0.9, len(found.x_test))
    return (share.high - share.low) / 2
