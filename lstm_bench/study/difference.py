"""Two contenders held against each other: the difference of their validation scores over seeds, and whether it is one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lstm_bench.core.statistics import Interval, finite, t_interval
from lstm_bench.data.metric import Metric

ALPHA = 0.05  # of all comparisons of the best network together
_UNREAD = Interval(math.nan, math.nan, 0)


@dataclass(frozen=True)
class Contender:
    """What may be taken: a confirmed network, or a control.

    Attributes:
      name: As tables have it.
      is_control: Whether it is no network.
      is_trivial: Whether it looks at no input.
      validation: Score on validation data by seed; a control in which nothing is drawn has one.
      test: The same on the test set; n is 0 where it was not read.
      n_weights: Numbers that were fitted.
      epoch_s: Seconds per epoch; of a control seconds of fitting it.
      samples_per_s: Training samples per second, of a speed that may be compared; NaN elsewhere.
      kernel: That ran.
      latency_ms: Milliseconds per sequence, one at a time, or of a control 64 at a time.
      memory_mib: Peak of a training.
      tried: Configurations that were searched to find it.
      doubts: What was judged of it, a sentence each.
      commands: What to type: to use it, to search it further, to make it again.
    """

    name: str
    is_control: bool
    validation: Mapping[int, float]
    is_trivial: bool = False
    test: Interval = _UNREAD
    n_weights: float = math.nan
    epoch_s: float = math.nan
    samples_per_s: float = math.nan
    kernel: str = ""
    latency_ms: float = math.nan
    memory_mib: float = math.nan
    tried: int = 0
    doubts: tuple[str, ...] = ()
    commands: Mapping[str, str] = field(default_factory=dict)

    @property
    def score(self) -> Interval:
        """On validation data."""
        return t_interval(self.validation.values())


class Difference(NamedTuple):
    """The best network less another contender, turned so that more is better.

    Attributes:
      other: The other one.
      mean: Of the scores.
      half_width: Of its 95 % interval; NaN where nothing can be tested.
      p: That they are equal; NaN likewise.
      adjusted: The same, corrected for being several.
    """

    other: Contender
    mean: float
    half_width: float
    p: float
    adjusted: float = math.nan

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `open` or `not tested`: of the best network."""
        if math.isnan(self.adjusted):
            return "not tested"
        if self.adjusted > ALPHA:
            return "open"
        return "better" if self.mean > 0 else "worse"


class Ground(NamedTuple):
    """What all contenders stand on.

    Attributes:
      metric: What they are held against each other by: that of the objective.
      measure: What the test set is scored by.
      n_validation: Validation sequences; 0 where that is not recorded.
      rarest: Test and validation sequences of the rarest class together; None where there are no classes, or it is not known.
      padded: Share of padded steps.
      leaks: What the leak meter found, a sentence each.
    """

    metric: Metric
    measure: Metric
    n_validation: int = 0
    rarest: int | None = None
    padded: float = 0.0
    leaks: tuple[str, ...] = ()


def difference(one: Contender, other: Contender, ground: Ground) -> Difference:
    """Welch's test of two mean scores over seeds, widened by what the finite validation set leaves open.

    Seeds say what another training would give, and say nothing of other data: all of them are scored on the same sequences.
    So of a score in 0..1 the binomial variance `p (1 - p) / n` of either side is added, as if their errors had nothing to do
    with each other: an upper bound for two that err on the same sequences. Of other scores it is not known, and left out.

    Args:
      one: With one seed, only a control in which nothing is drawn is tested.
      other: Likewise.
      ground: What both stand on.

    Source: Welch 1947, Biometrika 34, 28-35; for the seeds Bouthillier et al. 2021, MLSys 3, 747-769.
    """
    sign = 1 if ground.metric.maximize else -1
    a, b = finite(one.validation.values()), finite(other.validation.values())
    if any(len(values) < (1 if who.is_control else 2) for values, who in ((a, one), (b, other))):
        mean = sign * (one.score.mean - other.score.mean)
        return Difference(other, mean, math.nan, math.nan)
    mean = sign * (math.fsum(a) / len(a) - math.fsum(b) / len(b))
    variances = [_variance(values) / len(values) for values in (a, b)]
    freedom = [len(values) - 1 for values in (a, b)]
    sampling = sum(_sampling(values, ground) for values in (a, b))
    total = math.fsum([*variances, sampling])
    if total <= 1e-24 * max(1.0, mean * mean):  # no spread at all that a difference could be held against
        return Difference(other, mean, math.nan, 1.0 if mean == 0 else math.nan)
    spread = math.fsum(v * v / df for v, df in zip(variances, freedom, strict=True) if df)
    degrees = total * total / spread if spread > 0 else 1e9
    from scipy.special import stdtr, stdtrit  # lazily: a third of a second

    error = math.sqrt(total)
    return Difference(
        other, mean, float(stdtrit(degrees, 0.975)) * error, 2 * float(stdtr(degrees, -abs(mean) / error))
    )


def _variance(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _sampling(values: Sequence[float], ground: Ground) -> float:
    """Variance of a score in 0..1 that comes of the finite validation set. Laplace's rule, so that 100 % is not certain."""
    if not ground.metric.percent or ground.n_validation < 1:
        return 0.0
    n = ground.n_validation
    share = (math.fsum(values) / len(values) * n + 1) / (n + 2)
    return share * (1 - share) / n
