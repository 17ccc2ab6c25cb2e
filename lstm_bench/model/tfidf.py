"""TF-IDF of texts that are ids of tokens: how much each run of one to three tokens says of a text.

Frequencies are damped (1 + log), the inverse of how many texts have a run is smoothed, and each text has length 1, as in
scikit-learn's `TfidfTransformer(sublinear_tf=True)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LONGEST = 3  # tokens of a run
MOST = 20_000  # runs that are kept: those that the most texts have
LEAST = 2  # texts that have it


@dataclass(frozen=True, eq=False)
class TfIdf:
    """What was learned.

    Attributes:
      base: More than the largest id, `()`: a run is a number to this base.
      runs: int64 `(features,)`, sorted.
      idf: float64 `(features,)`.
    """

    base: np.ndarray
    runs: np.ndarray
    idf: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.runs) or self.runs.shape != self.idf.shape or bool((np.diff(self.runs) <= 0).any()):
            raise ValueError("runs")

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None = None) -> Any:
        """A sparse matrix float64 `(samples, features)` of ids `(samples, tokens)`, where 0 is padding."""
        from scipy.sparse import csr_array

        rows, runs = _runs(x, int(self.base))
        columns = np.minimum(np.searchsorted(self.runs, runs), len(self.runs) - 1)
        known = self.runs[columns] == runs
        made = csr_array((np.ones(int(known.sum())), (rows[known], columns[known])), (len(x), len(self.runs)))
        made.sum_duplicates()
        made.data = (1 + np.log(made.data)) * self.idf[made.indices]
        norms = np.sqrt(np.bincount(np.repeat(np.arange(len(x)), np.diff(made.indptr)), made.data**2, len(x)))
        made.data /= np.repeat(np.where(norms > 0, norms, 1), np.diff(made.indptr))
        return made


def fit(x: np.ndarray) -> TfIdf:
    """From the texts of a training split.

    Args:
      x: int32 ids `(samples, tokens)`, 0 behind the end of shorter ones.
    """
    base = int(x.max()) + 1
    rows, runs = _runs(x, base)
    found, counts = np.unique(np.unique(np.stack([runs, rows]), axis=1)[0], return_counts=True)
    if bool((counts >= LEAST).any()):
        found, counts = found[counts >= LEAST], counts[counts >= LEAST]
    kept = np.sort(np.lexsort((found, -counts))[:MOST])
    return TfIdf(np.array(base), found[kept], np.log((1 + len(x)) / (1 + counts[kept])) + 1)


def _runs(x: np.ndarray, base: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each run of tokens the sample that it is in, and its number; ids that were never learned are in none."""
    ids = np.where(x < base, x, 0).astype(np.int64)
    rows, runs = list[np.ndarray](), list[np.ndarray]()
    for n in range(1, min(LONGEST, x.shape[1]) + 1):
        parts = [ids[:, at : x.shape[1] - n + 1 + at] for at in range(n)]
        whole = np.logical_and.reduce([part > 0 for part in parts])
        number = sum((part * base**at for at, part in enumerate(parts)), np.zeros_like(parts[0]))
        rows.append(np.nonzero(whole)[0])
        runs.append(number[whole])
    return np.concatenate(rows), np.concatenate(runs)
