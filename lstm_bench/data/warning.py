"""What would make a score on a dataset wrong, before anything trains: a sentence each, with the option that mends it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np

from lstm_bench.core import schema
from lstm_bench.core.statistics import sampling_error
from lstm_bench.data.arrays import SPLITS
from lstm_bench.data.dataset import Dataset
from lstm_bench.data.inspection import MOST, Column, class_counts, columns, told
from lstm_bench.data.lengths import real
from lstm_bench.data.sequences import Columns
from lstm_bench.data.splits import scales_differ

FEW_OF_CLASS = 10  # test samples: one more or less moves the recall of a class by ten points
RARE = 1 / 3  # of an equal share: a class below it hardly counts in an accuracy
WIDE = 0.05  # half width of the 95 % interval of an accuracy of 90 %: a hundred and forty samples
FEW_PICK = 30  # validation samples: the best of many trials is then the luckiest
GAPS = 0.2  # of a column's values: what is filled in is then what is learned
_OWNER = re.compile(
    r"(^|_)(subject|person|patient|user|participant|speaker|driver|animal|machine|device|engine|station|site|session|"
    r"customer|household|group|fold|batch|cluster)s?(_?(id|no|nr|number|name))?$|^(uid|id)$|_id$"
)
_TIME = re.compile(r"(^|_)(time|times|timestamp|date|datetime|when|ts)(_?(s|ms|us|ns|utc))?$")


def warnings(
    found: Dataset, config: schema.Dataset, known: Sequence[Column] | None = None, *, weighted: bool = False
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


def _of_split(found: Dataset, config: schema.Dataset) -> Iterator[str]:
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


def _of_table(found: Dataset, config: schema.Dataset) -> Iterator[str]:
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
    noun, alike = ("sequences", "value for value") if found.tokens is None else ("texts", "as a model sees them")
    hashes = {split: [hash(row.tobytes()) for row in _rows(found, split)] for split in SPLITS}
    total, different = sum(map(len, hashes.values())), {split: {*own} for split, own in hashes.items()}
    for index, one in enumerate(SPLITS):
        for other in SPLITS[index + 1 :]:
            both = sum(value in different[one] for value in hashes[other])
            if both:
                yield (
                    f"{both:,} of {len(hashes[other]):,} {noun} of {other} are in {one} too, {alike}: what is known "
                    "by heart counts. Take them out, or keep them in one split by dataset.group=COLUMN."
                )
    again = sum(len(own) - len(different[split]) for split, own in hashes.items())
    if again:
        yield f"{again:,} of {total:,} {noun} repeat another of their split, {alike}. Take them out."


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
    words = told(found.lengths_train[:MOST].astype(np.float32), found.y_train[:MOST], found.kind)
    if words:
        yield (
            f"their length alone tells the target: it {words}. Is it known when one predicts? Else cut all to one: "
            "dataset.max_length and dataset.min_length of one value, dataset.truncate=end."
        )


def _of_columns(found: Dataset, known: Sequence[Column], file: bool) -> Iterator[str]:
    about = found.about or {}
    gaps = {column.name: column.missing for column in known if column.missing}
    if gaps:
        listed = ", ".join(f"{name} {n:,}" for name, n in gaps.items())[:200]
        total = sum(real(getattr(found, f"x_{split}")[..., 0], found.lengths(split)).size for split in SPLITS)
        filling = (found.reading or {}).get("filling") or {}
        if about.get("refused"):
            yield (
                f"values are missing ({listed}): a sweep refuses them. Say dataset.missing=forward_fill (the last value before), "
                "mean, or mask (mean, and a channel that says what was there)."
            )
        elif any(n > GAPS * total for n in gaps.values()) and filling.get("way") != "mask":
            yield f"much is missing ({listed} of {total:,}) and filled in. Say dataset.missing=mask."
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


def _of_sizes(found: Dataset, config: schema.Dataset, file: bool) -> Iterator[str]:
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


def _origins(found: Dataset, config: schema.Dataset) -> int:
    """Forecasts of each series with which the test set is none of few."""
    return math.ceil(FEW_PICK * int(config.get("origins") or 1) / len(found.x_test))


def half_width(found: Dataset) -> float:
    """Of the 95 % interval of an accuracy of 90 % on the test set, as a fraction; 0 of a task without such an accuracy."""
    if found.kind.measure.sampling != "share" or found.per_timestep:
        return 0.0
    share = sampling_error(0.9, len(found.x_test))
    return (share.high - share.low) / 2
