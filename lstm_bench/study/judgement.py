"""Whether a confirmed result can be believed, one judgement each: numbers in, a sentence or what is missing out.

Each judgement is found (a sentence), sound (None, None) or open (what could not be judged, and why).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lstm_bench.core.formatting import counted
from lstm_bench.core.statistics import deviation, sampling_error, t_interval
from lstm_bench.data.metric import Metric
from lstm_bench.data.task import CLASSIFICATION, Task

FEW_STEPS = 1000  # of an optimiser: below, what is measured is who learns fast
_Z = 1.959963984540054  # of the normal distribution, 97.5 %
_LEAST_SPREAD = 0.05  # of accuracies, between seeds: less is not wild, however large the test set
_LEAST_SKILL_SPREAD = 0.1  # likewise, of an error, in units of the trivial predictor's
_FAR = 0.1  # an accuracy so much above the trivial one is far from it
_LEAST_GAIN, _LEAST_SKILL_GAIN = (
    0.01,
    0.01,
)  # of an accuracy; of a loss, in units of the trivial predictor's: less is no loss
_LEAST_FALL = 0.05  # of a loss, relative: it falls a little for ever
_FEWEST_EPOCHS = 3
_FEW_RISING = 1 / 3  # of the seeds: of fewer, it may be chance


class Judged(NamedTuple):
    """What a judgement came to; both None where it is sound.

    Attributes:
      found: What speaks against the result, a sentence.
      open: What could not be judged, with the reason, to follow "Not judged:".
    """

    found: str | None = None
    open: str | None = None


@dataclass(frozen=True)
class Confirmed:
    """A confirmed configuration in plain numbers.

    Attributes:
      task: Of the data.
      seeds: Finished replicates: columns of `replicates.csv`, and `history`, their epochs.
      facts: `dataset` of `environment.json`; what an older version did not record is missing.
      pairs: (label, prediction) -> test samples of the first seed; {} where that is not recorded.
      curve: Column of an epoch that the study aims at.
      batch_size: Of its training, None where that is not known.
      epochs: That were asked for, likewise.
      patient: Whether a training ends sooner, when nothing has got better for long enough (`train.patience`).
      on_test: Whether it was validated on the test set.
    """

    task: Task
    seeds: Sequence[Mapping[str, Any]]
    facts: Mapping[str, Any]
    pairs: Mapping[tuple[int, int], int] = field(default_factory=dict)
    curve: str = CLASSIFICATION.objectives[0]
    batch_size: int | None = None
    epochs: int | None = None
    patient: bool = False
    on_test: bool = False

    def scores(self, column: str) -> list[float]:
        """Finite values of a column over the seeds, in their order."""
        found = (_number(row.get(column)) for row in self.seeds)
        return [value for value in found if math.isfinite(value)]

    def size(self, split: str) -> float:
        """Samples of a split: of classes per timestep, sequences, whose errors go together; NaN where not recorded."""
        return _number(self.facts.get(f"n_{split}"))

    def drawn(self, split: str) -> float:
        """What was drawn into a split one by one: its samples, or its groups, whose samples go together; NaN likewise."""
        groups = self.facts.get("groups")
        return min(self.size(split), _number(groups.get(split))) if isinstance(groups, Mapping) else self.size(split)

    @property
    def measure(self) -> Metric:
        """What it is judged by."""
        return self.task.measure

    @property
    def trivial(self) -> float:
        """Test score of a predictor that looks at no input, the best of those known; NaN: unknown."""
        return self._guesses().get(self.predictor, math.nan)

    @property
    def predictor(self) -> str:
        """What `trivial` does, in words."""
        guesses = self._guesses()
        best = max if self.measure.maximize else min
        return best(guesses, key=guesses.__getitem__, default=self.task.predictor)

    def _guesses(self) -> dict[str, float]:
        """Trivial predictor -> its score; of equals the first."""
        recorded, baselines = self.facts.get("trivial"), self.facts.get("baselines")
        known = {self.task.predictor: recorded.get(self.measure.column)} if isinstance(recorded, Mapping) else {}
        if self.task.ruler is self.measure and isinstance(baselines, Mapping):
            known |= baselines
        return {str(name): _number(score) for name, score in known.items() if math.isfinite(_number(score))}


def judge(confirmed: Confirmed) -> list[Judged]:
    """All judgements of a result; of a study without a finished seed the one that there is none."""
    if not confirmed.seeds:
        return [Judged(open="the result (no seed has confirmed it)"), few_steps(confirmed)]
    judgements: tuple[Callable[[Confirmed], Judged], ...] = (
        *(trivial, remembered, single_class, validation_far, still_rising, disagreement, few_steps),
    )
    return [one(confirmed) for one in judgements]


def trivial(confirmed: Confirmed) -> Judged:
    """Whether the result is better than that of a predictor that looks at no input.

    The interval takes seeds and test set together: Student's half-width over the seeds (none of one seed) and the test
    set's, as the root of their squares. The test set's is Wilson's of the mean accuracy; of a mean squared error
    it is that of normal residuals, whose squares have the relative standard error sqrt(2 / n).

    Where the most frequent training class is not recorded, no constant predictor does better than the most frequent
    class of the test set: a result above that is better than the trivial one, of any other nothing is known.
    """
    measure, least = confirmed.measure, confirmed.trivial
    scores, n = confirmed.scores(measure.column), confirmed.size("test")
    what = f"whether it beats {confirmed.predictor}"
    if not scores or not n >= 1:
        return Judged(open=f"{what} (the {'test score' if not scores else 'size of the test set'} is not recorded)")
    mean, half, _ = t_interval(scores)
    half = half if math.isfinite(half) else 0.0
    test = _ends(measure, mean, n, kurtosis=3)
    low, high = mean - math.hypot(half, mean - test[0]), mean + math.hypot(half, test[1] - mean)
    if measure.sampling:
        low, high = max(0.0, low), min(1.0, high) if measure.sampling == "share" else high
    if not math.isfinite(least):
        sound = measure.sampling == "share" and low > _largest_share(confirmed.pairs)
        return Judged() if sound else Judged(open=f"{what} (its {measure.noun} is not recorded)")
    if low > least if measure.maximize else high < least:
        return Judged()
    word = "Worse than" if (high < least if measure.maximize else low > least) else "No better than"
    of_both = " by seeds and test set" if measure.sampling == "share" else ""
    return Judged(
        f"{word} {confirmed.predictor}: test {measure.label} {measure.text(mean)}{measure.sign} ({measure.text(low)} to "
        f"{measure.text(high)}{of_both}) where that has {measure.text(least)}{measure.sign}."
    )


def remembered(confirmed: Confirmed) -> Judged:
    """Where predictors without memory are measured in another metric: whether it is better than they, by the seeds."""
    baselines, ruler = confirmed.facts.get("baselines"), confirmed.task.ruler
    if ruler is confirmed.measure or not isinstance(baselines, Mapping) or not baselines:
        return Judged()
    name, least = min(baselines.items(), key=lambda item: _number(item[1]) * (-1 if ruler.maximize else 1))
    scores = confirmed.scores(ruler.column)
    if not scores or not math.isfinite(_number(least)):
        return Judged(open=f"whether it beats {name} (its {ruler.label} is not recorded)")
    mean, half, _ = t_interval(scores)
    half = half if math.isfinite(half) else 0.0
    if mean - half > _number(least) if ruler.maximize else mean + half < _number(least):
        return Judged()
    said, that = (f"{ruler.text(value)}{ruler.sign}" for value in (mean, _number(least)))
    return Judged(f"No better than {name}: test {ruler.label} {said} where that has {that}.")


def single_class(confirmed: Confirmed) -> Judged:
    """Whether the first seed predicts one class for all test samples, though there are several."""
    if not confirmed.task.labels.classes:
        return Judged()
    if not confirmed.pairs:
        return Judged(open="whether a single class is predicted (no predictions are recorded)")
    if len({label for label, _ in confirmed.pairs}) < 2:
        return Judged(open="whether a single class is predicted (the test set holds but one)")
    said = {prediction for _, prediction in confirmed.pairs}
    if len(said) > 1:
        return Judged()
    n, one, names = sum(confirmed.pairs.values()), said.pop(), confirmed.facts.get("classes")
    name = names[one] if isinstance(names, list) and 0 <= one < len(names) else one
    return Judged(f"A single class is predicted: {name} for each of the {n:,} test samples (first seed).")


def validation_far(confirmed: Confirmed) -> Judged:
    """Whether the scores on validation and test data are further apart than the sizes of both sets explain.

    They are where the 95 % intervals of the two do not meet (together a test of more than 99 % where both have one size),
    and the seeds agree on it: the mean difference is beyond its t interval. Of data divided by group a set's size is its
    number of groups, whose samples may be alike, or equally hard. The intervals are Wilson's; of a mean squared
    error, those of residuals with heavy tails: kurtosis 9, Student's t with 5 degrees of freedom, so that squares
    have the relative standard error sqrt(8 / n).
    """
    what = "whether validation agrees with test"
    measure = confirmed.measure
    if confirmed.on_test:
        return Judged(open=f"{what} (both are the test set)")
    if not measure.sampling:
        return Judged(open=f"{what} (what a set's size leaves open of {measure.label} is not known)")
    both = [
        (_number(row.get(f"val_{measure.name}")), _number(row.get(f"test_{measure.name}"))) for row in confirmed.seeds
    ]
    both = [(v, t) for v, t in both if math.isfinite(v) and math.isfinite(t)]
    sizes = confirmed.drawn("validation"), confirmed.drawn("test")
    if not both or not min(sizes) >= 1:
        return Judged(open=f"{what} ({'scores' if not both else 'sizes'} are not recorded)")
    means = [math.fsum(values) / len(values) for values in zip(*both, strict=True)]
    ends = [_ends(measure, mean, n, kurtosis=9) for mean, n in zip(means, sizes, strict=True)]
    apart, half, _ = t_interval(v - t for v, t in both)
    meet = ends[0][0] <= ends[1][1] and ends[1][0] <= ends[0][1]
    if meet or abs(apart) <= (half if math.isfinite(half) else 0.0):
        return Judged()
    val, test = (
        f"{split} {measure.label} {measure.text(mean)}{measure.sign}"
        for split, mean in zip(("val", "test"), means, strict=True)
    )
    better = (apart > 0) if measure.maximize else (apart < 0)
    why = (
        "validation shares with training what the test set does not (a leak), or the test data are of another kind"
        if better
        else "the test data are easier, or of another kind"
    )
    size = "numbers of groups" if isinstance(confirmed.facts.get("groups"), Mapping) else "sizes"
    return Judged(f"Validation is far from test: {val}, {test}, beyond what both sets' {size} explain: {why}.")


def still_rising(confirmed: Confirmed) -> Judged:
    """In how many seeds the objective was still getting better at the last epoch, see `rises`; said from a third of them on.

    One that patience ended had stopped getting better, whatever its curve: of folds it is a mean over those that go on.
    """
    curve = confirmed.task.metric(confirmed.curve)
    falls = curve is None or not curve.maximize
    what = f"whether it was still {'falling' if falls else 'rising'} at the last epoch"
    curves = [
        [_number(epoch.get(confirmed.curve)) for epoch in _epochs(row)] for row in confirmed.seeds if row.get("history")
    ]
    whole = [curve for curve in curves if len(curve) >= _FEWEST_EPOCHS and all(map(math.isfinite, curve))]
    if not whole:
        short = bool(curves) and max(map(len, curves)) < _FEWEST_EPOCHS
        return Judged(open=f"{what} ({'too few epochs' if short else 'no learning curve is recorded'})")
    unit = confirmed.trivial if curve and curve.of is confirmed.measure.of else math.nan
    asked = (confirmed.epochs or 0) if confirmed.patient else 0
    trained_out = [curve for curve in whole if len(curve) >= asked]
    k = sum(rises(curve, confirmed.size("validation"), falls=falls, unit=unit) for curve in trained_out)
    if k < _FEW_RISING * len(whole):
        return Judged()
    word = "falling" if falls else "rising"
    return Judged(f"Still {word} at the last epoch in {k} of {counted(len(whole), 'seed')}: more epochs may do better.")


def rises(
    curve: Sequence[float], n_validation: float = math.nan, *, falls: bool = False, unit: float = math.nan
) -> bool:
    """Whether a learning curve was still getting better when it ended.

    It was where the last third of the epochs has the best of all, and its mean is better than that of as many epochs before by
    more than noise: twice the standard error of that difference. The scatter s of an epoch is the root of the mean
    square of the steps back among all steps of the last two thirds, 0 for a step forward: of scatter without a trend
    that is s, and a trend that flattens does not count as scatter. An accuracy must also gain 1 %, and twice the standard error
    that the validation set leaves to it; a loss fall by a twentieth, and by a hundredth of the trivial one.

    Args:
      curve: Values by epoch, at least three.
      n_validation: Samples they are measured on, NaN where not recorded.
      falls: Whether less is better.
      unit: Of what falls, the trivial predictor's, NaN where that is not known.
    """
    values = [-value for value in curve] if falls else list(curve)
    k = len(values) // 3
    last, before = values[-k:], values[-2 * k : -k]
    tail = values[-max(2 * k, _FEWEST_EPOCHS) :]
    back = [min(0.0, after - before_it) for before_it, after in itertools.pairwise(tail)]
    scatter = math.sqrt(math.fsum(step * step for step in back) / len(back))
    late, early = math.fsum(last) / k, math.fsum(before) / k
    if falls:
        least = max(_LEAST_FALL * abs(early), _LEAST_SKILL_GAIN * unit if math.isfinite(unit) else 0.0)
    else:
        error = sampling_error(late, n_validation).error
        least = max(_LEAST_GAIN, 2 * error if math.isfinite(error) else 0.0)
    return max(last) >= max(values) and late - early > max(least, 2 * scatter * math.sqrt(2 / k))


def disagreement(confirmed: Confirmed) -> Judged:
    """Whether seeds disagree wildly, or one has learnt nothing while others have.

    Shares such as an accuracy do where their standard deviation is three times what the test set alone leaves open, and 5 % at
    least; errors where it is a tenth of the trivial predictor's. A seed has learnt nothing where its Wilson interval
    holds the trivial accuracy (or its error is nine tenths of the trivial one), and others have where one is 10 % above
    (or has half the trivial error).
    """
    what = "whether seeds agree"
    measure, n, least = confirmed.measure, confirmed.size("test"), confirmed.trivial
    rows = [row for row in confirmed.seeds if math.isfinite(_number(row.get(measure.column)))]
    scores = [_number(row[measure.column]) for row in rows]
    if len(scores) < 2:
        return Judged(open=f"{what} (fewer than two have a score)")
    mean, spread = math.fsum(scores) / len(scores), deviation(scores)
    alone_leaves = ""
    if measure.sampling != "share":
        if measure.maximize:
            return Judged(open=f"{what} (how far {measure.label} scatters by chance is not known)")
        if not least > 0:
            return Judged(open=f"{what} (the error of {confirmed.predictor} is not recorded)")
        wild = spread > _LEAST_SKILL_SPREAD * least
        stuck = [score >= 0.9 * least for score in scores] if min(scores) <= least / 2 else []
    else:
        if not n >= 1:
            return Judged(open=f"{what} (the size of the test set is not recorded)")
        alone = sampling_error(mean, n).error
        wild = spread > max(3 * alone, _LEAST_SPREAD)
        far = max(scores) - least >= _FAR  # False where the trivial accuracy is unknown
        stuck = [sampling_error(score, n).low <= least for score in scores] if far else []
        alone_leaves = f" (the test set alone leaves {measure.text(alone)}{measure.sign})"
    nothing = [f"{int(_number(row['seed']))}" for row, is_stuck in zip(rows, stuck, strict=False) if is_stuck]
    if not (wild or nothing):
        return Judged()
    text, sign, also = measure.text, measure.sign, ""
    said = f"test {measure.label} {text(mean)}{sign} with standard deviation {text(spread)}{sign}{alone_leaves}, "
    said += f"from {text(min(scores))} to {text(max(scores))}{sign}"
    if nothing:
        many = len(nothing) > 1
        also = f"; seed{'s' * many} {', '.join(nothing)} {'are' if many else 'is'} no better than {confirmed.predictor}"
    return Judged(f"The seeds disagree: {said}{also}.")


def few_steps(confirmed: Confirmed) -> Judged:
    """Whether the optimiser took so few steps that a result says who learns fast, not who learns most."""
    trained = confirmed.scores("epochs")
    epochs = max(trained) if trained else _number(confirmed.epochs)
    batch, n = _number(confirmed.batch_size), confirmed.size("train")
    if not (epochs >= 1 and batch >= 1 and n >= 1):
        return Judged(open="the number of optimiser steps (epochs, batch size or training samples are not recorded)")
    steps = int(epochs) * int(n // min(batch, n))  # whole batches alone are trained on
    return Judged(f"{steps:,} optimiser steps: this measures who learns fast." if steps < FEW_STEPS else None)


def _epochs(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return sorted(row["history"], key=lambda epoch: _number(epoch.get("epoch")))


def _ends(measure: Metric, mean: float, n: float, *, kurtosis: float) -> tuple[float, float]:
    """95 % interval that a set of `n` samples leaves to a score; the score itself where none is known.

    Args:
      measure: A `share` has Wilson's interval; a mean of `squares` the relative standard error sqrt((kurtosis - 1) / n).
      mean: The score.
      n: Samples.
      kurtosis: Of the residuals.
    """
    if measure.sampling == "share":
        share = sampling_error(mean, n)
        return share.low, share.high
    width = _Z * mean * math.sqrt((kurtosis - 1) / n) if measure.sampling == "squares" else 0.0
    return max(0.0, mean - width) if measure.sampling else mean, mean + width


def _largest_share(pairs: Mapping[tuple[int, int], int]) -> float:
    """Share of the most frequent label, infinite where there is none."""
    sizes: dict[int, int] = {}
    for (label, _), n in pairs.items():
        sizes[label] = sizes.get(label, 0) + n
    return max(sizes.values()) / sum(sizes.values()) if sizes else math.inf


def _number(value: Any) -> float:
    """A float, NaN for what is none."""
    try:
        return math.nan if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return math.nan
