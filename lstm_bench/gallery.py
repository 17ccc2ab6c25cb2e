"""The figures of one study, each with its caption, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from lstm_bench import figure
from lstm_bench.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def study_figure_makers(result: Result) -> dict[str, tuple[Callable[[], Figure], str] | str]:
    """The figures of one study: name -> (maker, caption), or the reason why there is none."""
    counts, best = result.counts, result.best
    failed = counts["failed"] + counts["requeued"]
    ended = f"{counts['complete']} complete, {counts['pruned']} pruned, {failed} failed trials"
    device = result.where
    makers: dict[str, tuple[Callable[[], Figure], str] | str] = {}
    if len(result.trials) and result.objective in result.trials:
        make = partial(figure.optimisation_history, result.trials, result.objective, result.maximize)
        makers["history"] = (make, f"Optimisation history: {ended}, and the best so far; {device}.")
    else:
        makers["history"] = "No optimisation history: no trial is recorded."
    history = result.tables["history.csv"]
    if len(history[history["val_accuracy"].map(math.isfinite)]):
        winner = None if best is None else int(best["number"])
        make = partial(figure.learning_curves, history, winner)
        seeds = history[history["kind"] == "replicate"]["number"].nunique()
        trials = history[history["kind"] == "trial"]["number"].nunique()
        search = f"{trials} trials, the winner strong (what lies far below it is cut off)" if trials else ""
        shown = " and ".join(part for part in (search, f"{seeds} replicates" if seeds else "") if part)
        makers["curves"] = (make, f"Learning curves of {shown}; {device}.")
    else:
        makers["curves"] = "No learning curves: history.csv holds no epoch with a validation accuracy."
    confusion = result.confusion.to_numpy()
    if len(confusion):
        right, samples = int(confusion.trace()), int(confusion.sum())
        caption = f"Confusion matrix of the first replicate (n = 1 seed): {right:,} of {samples:,} samples"
        makers["confusion"] = (partial(figure.confusion_matrix, result.confusion), f"{caption} right; {device}.")
    else:
        makers["confusion"] = "No confusion matrix: predictions.csv holds no row."
    worst = result.tables["worst.csv"]
    worst = worst[[len(str(v).split()) == t * f > 0 for v, t, f in _columns(worst, "values", "timesteps", "features")]]
    if len(worst):
        makers["worst"] = (
            partial(figure.worst_samples, worst),
            f"The most confidently wrong test samples of the first replicate (n = {min(len(worst), 12)}); {device}.",
        )
    else:
        why = result.lacking.get("worst.csv", "worst.csv holds none")
        makers["worst"] = f"No pictures of wrong samples: {why}."
    return makers


def _columns(table: pd.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name] for name in names), strict=True))
