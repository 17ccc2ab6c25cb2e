"""MiniRocket: 9,996 features of a sequence, each the share of its timesteps at which a fixed kernel exceeds a bias.

Dempster, Schmidt and Webb 2021, arXiv 2012.08791, and the multivariate variant of the authors' code. NumPy alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

TAPS = 9
KERNELS = np.array(
    list(combinations(range(TAPS), 3)), np.int32
)  # indices of the three weights of 2; the six others are -1
PER_KERNEL = 119  # features: 84 x 119 = 9,996, the multiple of 84 next below 10,000
MAX_DILATIONS = 32  # of a kernel
_BLOCK = 2**15  # values of a block of sequences: it stays in the processor's cache
_ONES = np.ones(8, np.uint16)
_LANES = 255  # words of eight bytes that are added before a byte could overflow


@dataclass(frozen=True, eq=False)
class MiniRocket:
    """The features that were fitted.

    Attributes:
      dilations: int32 `(dilations,)`.
      counts: int32 `(dilations,)`: features of each kernel at each dilation, 119 in all.
      biases: float32 `(9996,)`, by dilation, kernel and feature.
      channels: int32, the features of a sequence that each kernel adds up, one combination behind the other.
      widths: int32 `(dilations * 84,)`: how many those are.
    """

    dilations: np.ndarray
    counts: np.ndarray
    biases: np.ndarray
    channels: np.ndarray
    widths: np.ndarray

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Features float32 `(samples, 9996)` of sequences.

        Args:
          x: float32 `(samples, timesteps, features)`, behind each sequence's end zeros.
          lengths: Timesteps of each, None for all. This part is ours: a kernel sees zeros beyond the end of its sequence as
            the published one does, and what counts are the sequence's own timesteps; where a sequence is too short for the
            timesteps at which the whole of a kernel lies inside, all of its timesteps count.
        """
        x = _long_enough(x)
        made = np.empty((len(x), len(self.biases)), np.float32)
        size = max(1, _BLOCK // x.shape[1])
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            made[rows] = self._block(x[rows], None if lengths is None else lengths[rows]).T
        return made

    def _block(self, x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        """Features of a few sequences, `(9996, samples)`."""
        n, timesteps = x.shape[:2]
        into = np.empty((len(self.biases), n), np.float32)
        ends = np.full(n, timesteps) if lengths is None else np.asarray(lengths)
        wide = timesteps + -timesteps % 8
        at, first, start = np.arange(wide), 0, 0
        for number, (dilation, count) in enumerate(zip(self.dilations.tolist(), self.counts.tolist(), strict=True)):
            margin = dilation * (TAPS // 2)
            outside = at >= ends[:, None]
            inner = np.where(ends > 2 * margin, margin, 0)
            beyond = (at < inner[:, None]) | (at >= (ends - inner)[:, None])
            totals = ends, ends - 2 * inner
            for kernel, values in enumerate(self._convolved(x, number, dilation, first, wide)):
                inside = (number + kernel) % 2  # of every second kernel only where the whole of it lies inside
                values[beyond if inside else outside] = -np.inf
                into[start : start + count] = _exceeding(values, self.biases[start : start + count]) / totals[inside]
                start += count
            first += int(self.widths[number * len(KERNELS) : (number + 1) * len(KERNELS)].sum())
        return into

    def _convolved(self, x: np.ndarray, number: int, dilation: int, first: int, wide: int) -> Iterator[np.ndarray]:
        """What each kernel gives at one dilation, `(samples, wide)`, a timestep for each of the sequence's."""
        univariate = x.shape[2] == 1
        shifted = _shifted(x[..., 0], dilation, wide) if univariate else None
        below = None if shifted is None else shifted.sum(axis=0)
        for kernel, taps in enumerate(KERNELS):
            width = int(self.widths[number * len(KERNELS) + kernel])
            if univariate:
                assert shifted is not None and below is not None
                yield 3 * (shifted[taps[0]] + shifted[taps[1]] + shifted[taps[2]]) - below
            else:
                mixed = _shifted(x[..., self.channels[first : first + width]].sum(axis=2), dilation, wide)
                yield 3 * (mixed[taps[0]] + mixed[taps[1]] + mixed[taps[2]]) - mixed.sum(axis=0)
            first += width


def fit(x: np.ndarray, seed: int, lengths: np.ndarray | None = None) -> MiniRocket:
    """Draws dilations, combinations of features and biases from training sequences, as published.

    Args:
      x: float32 `(samples, timesteps, features)`.
      seed: Of the sequences that biases are quantiles of, and of the combinations.
      lengths: Timesteps of each, None for all: ours, see `MiniRocket`.
    """
    x = _long_enough(x)
    rng = np.random.RandomState(seed)
    dilations, counts = _dilations(x.shape[1])
    n = len(dilations) * len(KERNELS)
    features = x.shape[2]
    if features == 1:
        widths, channels = np.ones(n, np.int32), np.zeros(n, np.int32)
    else:
        widths = (2 ** rng.uniform(0, np.log2(min(features, TAPS) + 1), n)).astype(np.int32)
        channels = np.concatenate([rng.choice(features, width, replace=False) for width in widths]).astype(np.int32)
    golden = (np.arange(1, PER_KERNEL * len(KERNELS) + 1) * ((np.sqrt(5) + 1) / 2)) % 1
    biases = np.empty(len(golden), np.float32)
    ends = np.cumsum(widths)
    start = 0
    for number, (dilation, count) in enumerate(zip(dilations.tolist(), counts.tolist(), strict=True)):
        for kernel, taps in enumerate(KERNELS):
            one, which = int(rng.randint(len(x))), number * len(KERNELS) + kernel
            mine = channels[ends[which] - widths[which] : ends[which]]
            length = x.shape[1] if lengths is None else int(lengths[one])
            shifted = _shifted(x[one : one + 1][..., mine].sum(axis=2), dilation, x.shape[1])
            values = 3 * shifted[taps].sum(axis=0) - shifted.sum(axis=0)
            biases[start : start + count] = np.quantile(values[0, :length], golden[start : start + count])
            start += count
    return MiniRocket(dilations, counts, biases, channels, widths)


def _dilations(timesteps: int) -> tuple[np.ndarray, np.ndarray]:
    """Dilations up to the length of a sequence, on a logarithmic scale, and the features of a kernel at each."""
    most = min(PER_KERNEL, MAX_DILATIONS)
    exponent = np.log2((timesteps - 1) / (TAPS - 1))
    dilations, n = np.unique(np.logspace(0, exponent, most, base=2).astype(np.int32), return_counts=True)
    counts = (n * (PER_KERNEL / most)).astype(np.int32)
    for index in range(PER_KERNEL - int(counts.sum())):
        counts[index % len(counts)] += 1
    return dilations, counts


def _long_enough(x: np.ndarray) -> np.ndarray:
    """Sequences shorter than a kernel, with zeros behind them: ours."""
    short = TAPS - x.shape[1]
    return np.pad(x, ((0, 0), (0, short), (0, 0))) if short > 0 else x


def _shifted(x: np.ndarray, dilation: int, wide: int) -> np.ndarray:
    """`(9, samples, wide)` of `(samples, timesteps)`: what each tap of a kernel sees at every timestep, zeros beyond the ends."""
    n, timesteps = x.shape
    made = np.zeros((TAPS, n, wide), np.float32)
    for tap in range(TAPS):
        by = (tap - TAPS // 2) * dilation
        to = slice(max(0, -by), min(timesteps, timesteps - by))
        if to.start < to.stop:
            made[tap, :, to] = x[:, to.start + by : to.stop + by]
    return made


def _exceeding(values: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """How many values of each row exceed each bias, `(biases, rows)`; eight comparisons are added at once, as bytes of a word."""
    words = (values > biases[:, None, None]).view(np.uint64)
    total = np.zeros((len(biases), len(values)), np.int64)
    for start in range(0, words.shape[2], _LANES):
        lanes = np.add.reduce(words[..., start : start + _LANES], axis=2)
        total += (lanes[..., None].view(np.uint8) @ _ONES).astype(np.int64)
    return total
