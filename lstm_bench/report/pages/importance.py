"""Which searched path mattered: PED-ANOVA and fANOVA, as Optuna computes them, from the records of a search."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from lstm_bench.report.render.markdown import code, escape, markdown, short
from lstm_bench.report.sources.records import Result

# Fewer complete trials say nothing about several paths; PED-ANOVA wants five above its threshold, of which this is a half.
LEAST = 10
# fANOVA's time grows with the square of the trials (half a second at 100, nine at 500), and Optuna copies each trial that
# either is given. More are thinned out evenly.
FANOVA_MOST, PED_MOST = 100, 1000
_PED_LEAST_ABOVE = 5
_FEW = 50
_LEARNING_RATE = "train.learning_rate"
_GREFF = 2 / 3


class Importance(NamedTuple):
    """Shares of the importance, 1 in all.

    Attributes:
      ped_anova: Path -> share; Watanabe et al. 2023, arXiv 2304.10255, on the trials better than the `quantile` best.
      fanova: Path -> share of the variance of a forest fitted to `n_fanova` trials; Hutter et al. 2014.
      n: Complete trials with a finite objective.
      n_ped: Trials that PED-ANOVA was given.
      quantile: Fraction of the trials that PED-ANOVA calls good.
      n_fanova: Trials that fANOVA was fitted to.
    """

    ped_anova: dict[str, float]
    fanova: dict[str, float]
    n: int
    quantile: float
    n_ped: int
    n_fanova: int


def importance(result: Result) -> Importance | str:
    """The importance of every searched path for the objective, or the reason why there is none.

    The same trials give the same numbers: rows are taken by trial number, forests have a fixed seed.
    """
    space = {path: domain for path, domain in result.space().items() if "config_" + path in result.ranked}
    if not space:
        return "Nothing was searched."
    ranked = result.ranked.sort_values("number", kind="stable")
    columns = [[_value(text, domain) for text in ranked["config_" + path]] for path, domain in space.items()]
    scores = ranked[result.objective].astype(float) if len(ranked) else ()  # an unknown objective is no column
    known = zip(zip(*columns, strict=True), scores, strict=True)
    rows = [(dict(zip(space, values, strict=True)), score) for values, score in known if None not in values]
    if len(rows) < LEAST:
        return f"Too few complete trials to tell: {len(rows)}, at least {LEAST} are needed."
    if len({value for _, value in rows}) == 1:
        return f"All {len(rows)} complete trials have the same {escape(result.objective)}: nothing to explain."
    if len(space) == 1:
        return f"One path was searched, {code(next(iter(space)))}: there is nothing to compare it with."
    few, fewer = (rows[:: math.ceil(len(rows) / most)] for most in (PED_MOST, FANOVA_MOST))
    if len({value for _, value in fewer}) == 1:
        return (
            f"The {len(fewer)} trials that are looked at have the same {escape(result.objective)}: nothing to explain."
        )
    quantile = max(0.1, min(0.5, _PED_LEAST_ABOVE / len(few)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's own: experimental features
        from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

        try:
            ped = _evaluated(PedAnovaImportanceEvaluator(target_quantile=quantile), few, space, result.maximize)
            fanova = _evaluated(FanovaImportanceEvaluator(seed=0), fewer, space, result.maximize)
        except (ValueError, TypeError) as error:  # a domain that is none, or values that are not its own
            return f"The records do not fit the space: {escape(error)}"
    return Importance(ped, fanova, len(rows), quantile, len(few), len(fewer))


def _evaluated(
    evaluator: Any, rows: list[tuple[dict[str, Any], float]], space: Mapping[str, Any], maximize: bool
) -> dict[str, float]:
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def distribution(domain: Mapping[str, Any]) -> Any:
        if domain["type"] == "categorical":
            return CategoricalDistribution([str(choice) for choice in domain["choices"]])
        ends, log, step = (domain["low"], domain["high"]), bool(domain.get("log")), domain.get("step")
        if domain["type"] == "int":
            return IntDistribution(*ends, log=log, step=step or 1)
        return FloatDistribution(*ends, log=log, step=step)

    distributions = {path: distribution(domain) for path, domain in space.items()}
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(direction="maximize" if maximize else "minimize")
        study.add_trials(
            [optuna.trial.create_trial(params=p, distributions=distributions, value=value) for p, value in rows]
        )
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    finally:
        optuna.logging.set_verbosity(before)
    # Both add by NumPy, whose last bits are the processor's: they must decide neither an order nor a percentage.
    return {path: round(float(shares.get(path, 0.0)), 9) for path in space}


def _value(text: object, domain: Mapping[str, Any]) -> Any:
    """A recorded value as its distribution takes it; None where it is missing or outside the domain."""
    if domain.get("type") == "categorical":
        names = {record: str(choice) for choice in domain.get("choices") or [] for record in _records(choice)}
        return names.get(str(text))
    try:
        number, low, high = float(str(text)), float(domain["low"]), float(domain["high"])
    except (KeyError, TypeError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    number = min(max(number, low), high) if math.isclose(number, min(max(number, low), high), rel_tol=1e-6) else number
    return (round(number) if domain["type"] == "int" else number) if low <= number <= high else None


def _records(choice: Any) -> set[str]:
    """How a choice may stand in the records."""
    if isinstance(choice, bool):
        return {str(choice), str(choice).lower()}
    if choice is None:
        return {"", "None"}
    return {str(choice), format(choice, ".10g")} if isinstance(choice, float) else {str(choice)}


def section(result: Result, found: Importance | str) -> list[str]:
    """Paragraphs on the importance; none where nothing was searched."""
    if isinstance(found, str):
        return [] if found == "Nothing was searched." else ["## Hyperparameter importance", found]
    order = sorted(found.fanova, key=lambda path: (-found.fanova[path], path))
    rows = [[code(p), f"{100 * found.fanova[p]:.0f}", f"{100 * found.ped_anova[p]:.0f}"] for p in order]
    columns = ["path", "fANOVA, %", "PED-ANOVA, %"]
    used = [f"{n} for {name}" for name, n in (("PED-ANOVA", found.n_ped), ("fANOVA", found.n_fanova)) if n < found.n]
    thinned = f", thinned out evenly to {' and '.join(used)}" if used else ""
    sampler = str(result.get("sampler.name") or "")
    drawn = (
        "" if sampler == "random" else f" They were drawn by {escape(sampler or 'an unknown sampler')}, not at random."
    )
    rough = " So few tell little: the next study may order them otherwise." if found.n < _FEW else ""
    return [
        "## Hyperparameter importance",
        f"For {escape(result.objective)}, from {found.n} complete trials{thinned}; shares in all 100. fANOVA (Hutter et al. "
        f"2014): of the variance over the whole space. PED-ANOVA (Watanabe et al. 2023): for being among the best "
        f"{100 * found.quantile:.0f} %.{drawn}{rough}",
        markdown(columns, rows, columns[1:]),
        greff(result, found),
    ]


def greff(result: Result, found: Importance) -> str:
    """The finding of Greff et al. 2015 (arXiv 1503.04069, section V-C) beside ours, as the numbers have it."""
    theirs = (
        "Greff et al. 2015 (arXiv 1503.04069; random search, fANOVA) found the learning rate to explain over two thirds of the "
        "variance for every LSTM variant, drawn from 1e-6 to 1e-2."
    )
    first = [_first(shares) for shares in (found.fanova, found.ped_anova)]
    if _LEARNING_RATE not in found.fanova:
        return f"{theirs} It was not searched here."
    domain, share = result.space()[_LEARNING_RATE], found.fanova[_LEARNING_RATE]
    drawn = f", drawn from {short(domain.get('low'))} to {short(domain.get('high'))}" if "low" in domain else ""
    says = f"{100 * share:.0f} % by fANOVA{drawn}"
    if first == [_LEARNING_RATE] * 2:
        more = "it dominates" if share >= _GREFF else "it comes first by both, but explains less"
        return f"{theirs} Here {more}: {says}."
    if _LEARNING_RATE in first:
        one, other = ("fANOVA", "PED-ANOVA") if first[0] == _LEARNING_RATE else ("PED-ANOVA", "fANOVA")
        rival = next(path for path in first if path != _LEARNING_RATE)
        return f"{theirs} Here the two disagree: it comes first by {one}, {code(rival)} by {other}; the learning rate has {says}."
    rivals = " and ".join(code(path) for path in dict.fromkeys(first))
    return f"{theirs} Here it does not come first, {rivals} {'do' if 'and' in rivals else 'does'}; the learning rate has {says}."


def _first(shares: Mapping[str, float]) -> str:
    return min(shares, key=lambda path: (-shares[path], path))
