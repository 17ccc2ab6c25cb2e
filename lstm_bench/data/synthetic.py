"""Problems that are drawn rather than read: sequences in which something must be remembered over a gap of any length."""

from __future__ import annotations

import math

import numpy as np

from lstm_bench.data.arrays import SPLITS, Arrays
from lstm_bench.data.task import REGRESSION, TAGGING

SYMBOLS, REMEMBERED = 8, 10  # of the copying problem: the alphabet, and how many of it are to be remembered
BLANK, DELIMITER = SYMBOLS, SYMBOLS + 1


def adding(n: int, length: int, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """The adding problem: two of the values are marked, their sum is the target.

    Args:
      n: Samples.
      length: Timesteps, at least 2.
      rng: Where they are drawn from.

    Returns:
      Inputs float32 `(n, length, 2)`: a value uniform in [0, 1), and a marker that is 1 at one timestep of each half and else 0;
      targets float32 `(n,)`, from 0 to 2.

    Source: Hochreiter & Schmidhuber 1997, experiment 4, in the form of Arjovsky et al. 2016 (arXiv 1511.06464) and Le et al. 2015
    (arXiv 1504.00941).
    """
    x = np.zeros((n, length, 2), np.float32)
    x[..., 0] = rng.random_sample((n, length))
    rows, half = np.arange(n), length // 2
    first, second = rng.randint(0, half, n), rng.randint(half, length, n)
    x[rows, first, 1] = x[rows, second, 1] = 1
    return x, x[rows, first, 0] + x[rows, second, 0]


def copying(n: int, length: int, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """The copying problem: ten symbols, `length` timesteps of nothing, then the ten symbols again from memory.

    Args:
      n: Samples.
      length: Timesteps between the last symbol and the first of the copy, at least 1; the last of them is the delimiter, which
        asks for the copy.
      rng: Where they are drawn from.

    Returns:
      Inputs uint8 `(n, length + 20, 10)`, one-hot: 8 symbols, blank, delimiter; a class of 9, 8 symbols and blank, for each
      timestep, int32 `(n, length + 20)`: blank up to the last ten, which are the first ten inputs.

    Source: Arjovsky et al. 2016 (arXiv 1511.06464), section 5.1, after Hochreiter & Schmidhuber 1997.
    """
    symbols = rng.randint(0, SYMBOLS, (n, REMEMBERED))
    shown = np.full((n, length + 2 * REMEMBERED), BLANK)
    shown[:, :REMEMBERED] = symbols
    shown[:, REMEMBERED + length - 1] = DELIMITER
    y = np.full(shown.shape, BLANK, np.int32)
    y[:, -REMEMBERED:] = symbols
    return (shown[..., None] == np.arange(DELIMITER + 1)).astype(np.uint8), y


MAKERS = {"adding": adding, "copy": copying}
SHORTEST = {"adding": 2, "copy": 1}
TASKS = {"adding": REGRESSION, "copy": TAGGING}
OUTPUTS = {"adding": 1, "copy": SYMBOLS + 1}


def baselines(name: str, length: int) -> dict[str, float]:
    """Closed-form losses of predictors that remember nothing, by what they do.

    Args:
      name: A key of `MAKERS`.
      length: See the problem.

    Returns:
      Of adding, a mean squared error: the variance of the sum of two uniform values. Of copying, a mean cross-entropy in nats:
      ten of the timesteps are guessed among eight symbols, the others are known.
    """
    if name == "adding":
        return {"always predicting 1": 2 / 12}
    return {"remembering nothing": REMEMBERED * math.log(SYMBOLS) / (length + 2 * REMEMBERED)}


def drawn(name: str, length: int, sizes: tuple[int, int, int], seed: int) -> Arrays:
    """Training, validation and test split of a problem, each from a stream of its own: none depends on another's size.

    Args:
      name: A key of `MAKERS`.
      length: See the problem.
      sizes: Samples of each split.
      seed: 0 to 2**32 - 1.
    """
    arrays: Arrays = {}
    for stream, (split, size) in enumerate(zip(SPLITS, sizes, strict=True)):
        rng = np.random.RandomState([seed, stream])  # NumPy froze its stream for good
        arrays[f"x_{split}"], arrays[f"y_{split}"] = MAKERS[name](size, length, rng)
    return arrays
