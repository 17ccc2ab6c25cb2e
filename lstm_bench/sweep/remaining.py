"""How long a study still takes: what is left to train, by the seconds of what was trained, over the workers.

Seconds per epoch follow the searched sizes by a power law (their logarithms, by ridge regression). Before the trials say
otherwise the exponents are those of a plain cost model, so that one trial, the smallest or the largest, tells of the others.
Pure arithmetic: `sweep/waiting.py` feeds it in a sweep, `tests/benchmarks/eta.py` from records.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_bench.study.search_space import Domain

_NOISE = 0.25  # of the logarithm of seconds per epoch: what load and chance add
_SAMPLES = 64  # points that stand for the trials to come
_LATEST = 200  # trainings that are looked at: a study of thousands has long said what it will
# Exponents of seconds per epoch before any is seen, and how sure they are: a recurrent step costs between its width and its
# square, an epoch has fewer and better filled steps as batches grow, and a learning rate costs nothing.
_WIDTH, _DEPTH, _BATCH, _FREE = (1.2, 0.4), (0.8, 0.4), (-0.3, 0.2), (0.0, 0.1)
_TOLD = 0.1  # of an epoch: what has to be done before its seconds say something
_OTHER = (0.3, 0.4)  # any other whole number of a model
_WIDTHS, _DEPTHS = ("units", "filters", "width"), ("layers", "blocks")


@dataclass(frozen=True)
class Training:
    """A training that ended.

    Attributes:
      params: Its searched values.
      epochs: That it ran.
      seconds: It took in all.
      overhead_s: Of them before the first step: set-up and compiling.
    """

    params: Mapping[str, Any]
    epochs: float
    seconds: float
    overhead_s: float = 0.0

    def epoch_s(self) -> float:
        """Seconds per epoch."""
        return max(self.seconds - self.overhead_s, 1e-3) / max(self.epochs, _TOLD)


@dataclass(frozen=True)
class Going:
    """A training that runs.

    Attributes:
      params: Its searched values.
      elapsed_s: Seconds since it began.
      epochs: That it has done, parts of them too.
      overhead_s: Seconds before its first step; those that passed, as long as there was none.
    """

    params: Mapping[str, Any]
    elapsed_s: float
    epochs: float = 0.0
    overhead_s: float = 0.0

    def so_far(self) -> Training | None:
        """What it says of the seconds of an epoch; nothing before a tenth of one is done."""
        if self.epochs < _TOLD:
            return None
        return Training(self.params, self.epochs, self.elapsed_s, self.overhead_s)


class Pace:
    """What a training of a space takes, by the trainings that have ended.

    Args:
      space: Parsed search space.
      ended: At least one.
    """

    def __init__(self, space: Mapping[str, Domain], ended: Sequence[Training]):
        self._space, ended = space, ended[-_LATEST:]
        self._points = _points(space)
        self._priors = [prior for path, domain in space.items() for prior in _priors(path, domain)]
        x = np.array([self._features(training.params) for training in ended])
        y = np.log([training.epoch_s() for training in ended])
        mean = np.array([0.0, *(mean for mean, _ in self._priors)])
        precision = np.array([1e-6, *(_NOISE**2 / sd**2 for _, sd in self._priors)])
        left = np.einsum("ni,nj->ij", x, x) + np.diag(precision)
        self._b = mean + np.linalg.solve(left, np.einsum("ni,n->i", x, y - np.einsum("ni,i->n", x, mean)))
        fitted = np.einsum("ni,i->n", x, self._b)
        # Of a power law's median, the mean lies above it by what is scattered.
        self._lift = float(np.mean(np.exp(y)) / np.mean(np.exp(fitted)))
        self._own: dict[str, list[float]] = {}
        for training in ended:
            self._own.setdefault(_key(training.params), []).append(training.epoch_s())
        self.overhead_s = float(np.mean([training.overhead_s for training in ended]))

    def _features(self, params: Mapping[str, Any]) -> list[float]:
        found = [1.0]
        for path, domain in self._space.items():
            found += _feature(domain, params.get(path))
        return found

    def epoch_s(self, params: Mapping[str, Any]) -> float:
        """Seconds per epoch of a configuration; nearer to what was measured, the more often it was."""
        expected = self._lift * math.exp(float(np.dot(self._features(params), self._b)))
        own = self._own.get(_key(params), [])
        weight = len(own) / (len(own) + 0.5)
        return weight * (sum(own) / len(own) if own else 0.0) + (1 - weight) * expected

    def to_come(self) -> list[float]:
        """Seconds per epoch of points all over the space."""
        return [self._lift * math.exp(float(np.dot(self._features(point), self._b))) for point in self._points]


def left_s(
    space: Mapping[str, Domain],
    ended: Sequence[Training],
    going: Sequence[Going] = (),
    *,
    epochs: int,
    workers: int,
    trials: int = 0,
    seeds: Sequence[tuple[Mapping[str, Any], int]] = (),
    confirming: bool = False,
    pruned: bool = False,
    search_s: float = math.inf,
    after_s: float = 0.0,
) -> float:
    """Seconds that a study still takes.

    Args:
      space: Parsed search space.
      ended: Trainings that ended, at least one.
      going: Those that run.
      epochs: Of a whole training.
      workers: Trainings at a time.
      trials: Still to be begun.
      seeds: Searched values of each configuration to be confirmed, the best so far, and with how many seeds.
      confirming: Whether `going` are seeds.
      pruned: Whether a pruner may end a trial early.
      search_s: Until no trial is begun any more.
      after_s: What follows when all are trained: the probe of the winner's kernels.
    """
    told = [training for one in going if (training := one.so_far())]
    pace = Pace(space, [*ended, *told])
    share = sum(min(t.epochs, epochs) for t in ended) / (len(ended) * epochs) if pruned else 1.0
    full = epochs if confirming else epochs * share
    running = []
    for one in going:
        expected = pace.epoch_s(one.params)
        begun = pace.overhead_s if one.epochs < _TOLD else one.elapsed_s
        running.append(max(begun - one.elapsed_s, 0.0) + max(full - one.epochs, 0.02) * expected)
    points = pace.to_come()
    random.Random(0).shuffle(points)
    waiting = [pace.overhead_s + epochs * share * points[i % len(points)] for i in range(trials)]
    if trials:  # few points may be none of the usual ones: their sum is what counts
        usual = pace.overhead_s + epochs * share * sum(points) / len(points)
        waiting = [seconds * usual * trials / sum(waiting) for seconds in waiting]
    again = [pace.overhead_s + epochs * pace.epoch_s(params) for params, n in seeds for _ in range(n)]
    if confirming:
        return makespan(running, [*waiting, *again], workers) + after_s
    searching = min(makespan(running, waiting, workers), max(search_s, makespan(running, [], workers)))
    return searching + makespan([], again, workers) + after_s


def makespan(running: Sequence[float], waiting: Iterable[float], workers: int) -> float:
    """Seconds until all are done, each given in turn to the first worker that is free.

    Args:
      running: Seconds left of each that runs.
      waiting: Seconds of each that does not.
      workers: At a time.
    """
    free = [*running, *[0.0] * (workers - len(running))]
    heapq.heapify(free)
    for seconds in waiting:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free, default=0.0)


def _key(params: Mapping[str, Any]) -> str:
    return repr(sorted(params.items()))


def _points(space: Mapping[str, Domain]) -> list[dict[str, Any]]:
    rng = random.Random(0)
    return [{path: _drawn(domain, rng) for path, domain in space.items()} for _ in range(_SAMPLES)] if space else [{}]


def _drawn(domain: Domain, rng: random.Random) -> Any:
    if domain["type"] == "categorical":
        return rng.choice(domain["choices"])
    low, high = domain["low"], domain["high"]
    value = math.exp(rng.uniform(math.log(low), math.log(high))) if domain["log"] else rng.uniform(low, high)
    return round(value) if domain["type"] == "int" else value


def _numbers(domain: Domain) -> tuple[float, float] | None:
    """The ends of a domain of numbers, None of one of words."""
    if domain["type"] != "categorical":
        return domain["low"], domain["high"]
    choices = domain["choices"]
    if all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in choices):
        return min(choices), max(choices)
    return None


def _feature(domain: Domain, value: Any) -> list[float]:
    """What a value adds to the regression: a logarithm, a position within the range, or which of several words it is."""
    ends = _numbers(domain)
    if ends is None:
        return [float(value == choice) for choice in domain["choices"]]
    low, high = ends
    if low > 0:
        middle = math.sqrt(low * high)
        return [math.log((value if value is not None else middle) / middle)]
    return [0.0 if value is None or high == low else (value - low) / (high - low) - 0.5]


def _priors(path: str, domain: Domain) -> list[tuple[float, float]]:
    """Exponent and its standard deviation of each number of `_feature`."""
    ends, name = _numbers(domain), path.rpartition(".")[2]
    if ends is None:
        return [_FREE if path.startswith("train.") else (0.0, 0.3)] * len(domain["choices"])
    whole = isinstance(ends[0], int) and ends[0] > 0
    if path == "train.batch_size":
        return [_BATCH]
    if path.startswith("train.") or not whole:
        return [_FREE]
    return [_DEPTH if name in _DEPTHS else _WIDTH if name in _WIDTHS else _OTHER]
