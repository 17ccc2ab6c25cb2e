"""The figures of one study, each with its caption, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from lstm_bench.report.figures import study
from lstm_bench.report.pages import forecasts, pareto_front
from lstm_bench.report.pages.importance import Importance
from lstm_bench.report.render.markdown import escape
from lstm_bench.report.sources.records import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PICTURES = ("mnist", "fashion_mnist", "kmnist", "digits")  # data whose timesteps are the rows of a picture
_CURVES = 12  # features of a signal that can be told apart as curves; more are shades of grey
_PATHS = 5  # searched paths of which all planes are drawn


def study_figure_makers(
    result: Result, shares: Importance | str = ""
) -> dict[str, tuple[Callable[[], Figure], str] | str]:
    """The figures of one study: name -> (maker, caption), or the reason why there is none.

    Args:
      result: The study.
      shares: Importance of the searched paths: where there are many, the planes of the most important are drawn.
    """
    counts = result.counts
    failed = counts["failed"] + counts["requeued"]
    ended = f"{counts['complete']} complete, {counts['pruned']} pruned, {failed} failed trials"
    device = "; ".join(filter(None, (result.trained_on, result.where)))
    makers: dict[str, tuple[Callable[[], Figure], str] | str] = {}
    if len(result.trials) and result.objective in result.trials:
        make = partial(study.optimisation_history, result.trials, result.objective, result.maximize)
        makers["history"] = (make, f"Optimisation history: {ended}, and the best so far; {device}.")
    else:
        makers["history"] = "No optimisation history: no trial is recorded."
    space = {path: domain for path, domain in result.space().items() if "config_" + path in result.trials}
    if space and len(result.ranked):
        make = partial(study.slices, result.trials, space, result.objective, result.maximize)
        caption = (
            f"{result.objective} against each searched path: {counts['complete']} complete trials, darker the later"
        )
        makers["slices"] = (make, f"{caption}, the best ringed, what is far worse cut off; {device}.")
        if len(space) > 1:
            share = {} if isinstance(shares, str) else shares.ped_anova
            most = sorted(space, key=lambda path: (-share.get(path, 0.0), path))[:_PATHS]
            chosen = {path: space[path] for path in most}
            make = partial(study.pairs, result.trials, chosen, result.objective, result.maximize)
            some = f" ({_PATHS} of {len(space)}, by importance)" if len(space) > _PATHS else ""
            caption = (
                f"{result.objective} in each plane of two searched paths{some}: {counts['complete']} complete trials"
            )
            makers["pairs"] = (make, f"{caption}, the best ringed, one colour for the worse half; {device}.")
    else:
        makers["slices"] = "" if not space else "No slices: no trial is complete with a finite objective."
    front = pareto_front.front(result)
    if front is not None and len(front.objectives) > 1:
        third = f", the colour {list(front.objectives)[2]}" if len(front.objectives) > 2 else ""
        caption = f"Pareto front: {len(front.members)} of {len(front.trials)} complete trials{third}; {device}."
        makers["front"] = (partial(study.pareto, front.trials, front.members, front.objectives), caption)
    history = result.frame("history")
    picked = next(iter(result.candidates), math.nan)
    if not math.isnan(picked):
        history = history[(history["kind"] != "replicate") | history["trial"].isna() | (history["trial"] == picked)]
    curves = (result.task.objectives[0], "val_loss")
    metric = next((column for column in curves if history[column].map(math.isfinite).any()), "")
    if metric:
        winner = None if result.winner is None else int(result.winner["number"])
        make = partial(study.learning_curves, history, winner, metric)
        seeds = history[history["kind"] == "replicate"]["number"].nunique()
        trials = history[history["kind"] == "trial"]["number"].nunique()
        search = f"{trials} trials, the winner strong (what lies far below it is cut off)" if trials else ""
        shown = " and ".join(part for part in (search, f"{seeds} replicates" if seeds else "") if part)
        makers["curves"] = (make, f"Learning curves of {shown}; {device}.")
    else:
        makers["curves"] = "No learning curves: history.csv holds no epoch with a validation score."
    confusion = result.confusion.to_numpy()
    if len(confusion):
        right, samples = int(confusion.trace()), int(confusion.sum())
        named = result.confusion.rename(index=result.class_name, columns=result.class_name)
        caption = f"Confusion matrix of the first replicate (n = 1 seed): {right:,} of {samples:,} samples"
        makers["confusion"] = (partial(study.confusion_matrix, named), f"{caption} right; {device}.")
    elif not result.task.has_classes:
        makers["confusion"] = f"No confusion matrix: the task is {escape(result.task.name)}."
    else:
        makers["confusion"] = "No confusion matrix: predictions.csv holds no row."
    if result.task.labels.ahead:
        return makers | forecasts.figures(result, device)
    worst = result.frame("worst")
    worst = worst[[len(str(v).split()) == t * f > 0 for v, t, f in _columns(worst, "values", "timesteps", "features")]]
    if len(worst):
        named = worst.assign(**{column: worst[column].map(result.class_name) for column in ("label", "prediction")})
        makers["worst"] = (
            partial(study.worst_samples, named, result.dataset in _PICTURES or worst["features"].max() > _CURVES),
            f"The most confidently wrong test samples of the first replicate (n = {min(len(worst), 12)}); {device}.",
        )
    else:
        why = result.lacking.get("worst.csv", "worst.csv holds none")
        makers["worst"] = f"No pictures of wrong samples: {why}."
    return makers


def _columns(table: pd.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name] for name in names), strict=True))
