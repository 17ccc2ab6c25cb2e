"""How far a study can be trusted, in sentences: its search, and by `judgement` its result. Numbers in, words out.

`health.health` asks `judge` by a study's records: the terminal, MLflow, the study's page and the comparison say its words.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lstm_bench.core.formatting import counted
from lstm_bench.core.vocabulary import RETRY_UNLIMITED
from lstm_bench.data.task import recorded
from lstm_bench.study import judgement
from lstm_bench.study.judgement import Confirmed, Judged

SOUND = "Nothing that was judged speaks against the search."

_EDGE = 0.02  # of a dimension's range, on its own scale: nearer to a bound is at the edge
_FEWEST = 4  # values that a dimension has at least for its bounds to be edges; trials from which on stagnation is said
_SHOWN = 5  # trials listed by number


class Edge(NamedTuple):
    """A value at a bound of its dimension."""

    path: str
    value: float
    low: float
    high: float


class Ended(NamedTuple):
    """One trial of a search that ended by itself: those that were queued again are left out.

    Attributes:
      number: Of the trial.
      state: COMPLETE, PRUNED or FAIL.
      value: Objective of a COMPLETE one, else None.
    """

    number: int
    state: str
    value: float | None


def ended(rows: Sequence[Mapping[str, Any]], objective: str) -> list[Ended]:
    """Trials as they count: without those whose parameters ran again, or will.

    Args:
      rows: By number, of `number state reason retry_of` and the objective; what is not there is None or NaN. Some
        keep `retry_of` as text, others as a number.
      objective: Column.
    """
    again = {_whole(row["retry_of"]) for row in rows} | {
        row["number"] for row in rows if row["reason"] in RETRY_UNLIMITED
    }

    def value(row: Mapping[str, Any]) -> float | None:
        found = row[objective] if row["state"] == "COMPLETE" else None
        return None if found is None or not math.isfinite(found) else found

    return [Ended(int(row["number"]), row["state"], value(row)) for row in rows if row["number"] not in again]


def edges(space: Mapping[str, Mapping[str, Any]], params: Mapping[str, Any]) -> list[Edge]:
    """Values at a bound of what was searched: the best may lie beyond.

    Args:
      space: Path -> domain, see `study/search_space.py`; only ranges have bounds, and only those of four values or more.
      params: Path -> value.
    """
    found = []
    for path, domain in space.items():
        try:
            low, high, value = float(domain["low"]), float(domain["high"]), float(str(params[path]))
            scale = math.log if domain.get("log") else float
            share = (scale(value) - scale(low)) / (scale(high) - scale(low))
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            continue
        step = float(domain.get("step") or (1 if domain.get("type") == "int" else 0))
        few = step > 0 and (high - low) / step + 1 < _FEWEST
        if not few and (share < _EDGE or share > 1 - _EDGE):
            found.append(Edge(path, value, low, high))
    return found


def spread(seeds: Sequence[float]) -> float | None:
    """Standard deviation of the finite ones of a score over seeds (n - 1), None for fewer than two."""
    finite = [value for value in seeds if math.isfinite(value)]
    return statistics.stdev(finite) if len(finite) > 1 else None


def _behind(best: Ended, trial: Ended, maximize: bool) -> float:
    """By how much a trial with a value is behind the winner; negative where it is ahead."""
    assert best.value is not None and trial.value is not None
    return best.value - trial.value if maximize else trial.value - best.value


def within_noise(best: Ended, trials: Iterable[Ended], seeds: Sequence[float], *, maximize: bool) -> list[int]:
    """Numbers of the trials whose objective is behind the winner's by less than its standard deviation between seeds.

    Those that are ahead, where the winner was picked by its replicates, are among them.

    Args:
      best: The winner's trial.
      trials: Of the search.
      seeds: Objective of the winner's replicates; of fewer than two, nothing is known.
      maximize: Whether more is better.
    """
    noise = spread(seeds)
    if noise is None or best.value is None:
        return []
    return [
        trial.number
        for trial in trials
        if trial.number != best.number and trial.value is not None and _behind(best, trial, maximize) < noise
    ]


def stagnation(trials: Sequence[Ended], *, maximize: bool) -> tuple[int, int] | None:
    """Number of the best trial and length of the last third, where that third brought nothing better; else None.

    Args:
      trials: Of the search, by number.
      maximize: Whether more is better.
    """
    complete = [trial for trial in trials if trial.value is not None and math.isfinite(trial.value)]
    last = len(trials) // 3
    if last < _FEWEST - 1 or not complete:
        return None
    best = min(complete, key=lambda trial: (-trial.value if maximize else trial.value, trial.number))  # type: ignore[operator]
    return None if best in trials[-last:] else (best.number, last)


def sentences(
    space: Mapping[str, Mapping[str, Any]],
    trials: Sequence[Ended],
    *,
    winner: int | None,
    params: Mapping[str, Any],
    seeds: Sequence[float] = (),
    maximize: bool = True,
    several: bool = False,
) -> list[str]:
    """What speaks against a search's result, a sentence each; [] when nothing was found.

    Args:
      space: Path -> domain; of an empty one there is nothing to say.
      trials: By number.
      winner: Number of the confirmed trial, None where there is none.
      params: Its searched values.
      seeds: Objective of its replicates, on validation data.
      maximize: Whether more of the objective is better.
      several: Whether there are several objectives: then neither stagnation nor noise is judged by the first alone.
    """
    if not space:
        return []
    found = []
    at_edge = [f"{e.path} = {e.value:.3g} of {e.low:.3g} to {e.high:.3g}" for e in edges(space, params)]
    if at_edge:
        found.append(f"The winner lies at the edge of the space: {'; '.join(at_edge)}.")
    n, failed = len(trials), sum(trial.state == "FAIL" for trial in trials)
    pruned = sum(trial.state == "PRUNED" for trial in trials)
    if failed:
        found.append(f"{failed} of {counted(n, 'trial')} failed ({100 * failed / n:.0f} %).")
    if pruned:
        whole = n - pruned - failed
        verbs = ["was" if number == 1 else "were" for number in (pruned, whole)]
        found.append(f"{pruned} of {counted(n, 'trial')} {verbs[0]} pruned: {whole} {verbs[1]} trained to the end.")
    if several:
        return found
    if stagnant := stagnation(trials, maximize=maximize):
        best, last = stagnant
        found.append(f"No improvement in the last third, {counted(last, 'trial')}: the best is trial {best}.")
    of_winner = next((trial for trial in trials if trial.number == winner), None)
    near = within_noise(of_winner, trials, seeds, maximize=maximize) if of_winner else []
    if near:
        more = f" and {len(near) - _SHOWN} more" if len(near) > _SHOWN else ""
        numbers = ", ".join(map(str, near[:_SHOWN])) + more
        ahead = any(t.number in near and _behind(of_winner, t, maximize) < 0 for t in trials) if of_winner else False
        found.append(
            f"The winner is within noise of trial{'s' * (len(near) > 1)} {numbers}: {'it is' if len(near) == 1 else 'they are'} "
            f"{'ahead of it, or ' * ahead}behind it by less than {spread(seeds):.2g}, its standard deviation between seeds."
        )
    return found


def unjudged(trials: Sequence[Ended], *, seeds: Sequence[float] = (), several: bool = False) -> list[str]:
    """What could not be judged of a search, a sentence each: no fault of it, and no praise either.

    Args:
      trials: Of the search.
      seeds: Objective of the winner's replicates.
      several: Whether there are several objectives.
    """
    if several:
        return ["With several objectives neither stagnation nor noise is judged."]
    few = len(trials) // 3 < _FEWEST - 1
    found = (
        [f"Too few trials ({len(trials)}) to judge whether more would find better ({3 * (_FEWEST - 1)})."]
        if few
        else []
    )
    return found + (["Too few seeds to judge noise."] if spread(seeds) is None else [])


class Verdict(NamedTuple):
    """What was judged of a study.

    Attributes:
      search: What speaks against the search, a sentence each.
      result: What speaks against the result, likewise.
      open: What could not be judged, a sentence each.
    """

    search: list[str]
    result: list[str]
    open: list[str]

    def sentences(self) -> list[str]:
        """All of it; that nothing speaks against the search only where each judgement was made."""
        found = [*self.result, *self.search]
        return [*found, *self.open] if found or self.open else [SOUND]


def judge(
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    space: Mapping[str, Mapping[str, Any]],
    trials: Sequence[Mapping[str, Any]],
    winner: int | None,
    params: Mapping[str, Any],
    seeds: Sequence[Mapping[str, Any]],
    pairs: Mapping[tuple[int, int], int],
) -> Verdict:
    """Judges a study by what its records hold, wherever they were read from.

    Args:
      config: `config.yaml`.
      facts: `dataset` of `environment.json`.
      space: Path -> domain; {} where nothing was searched.
      trials: Rows of `trials.csv`, by number.
      winner: Number of the picked trial, None where there is none.
      params: Its searched values.
      seeds: Its finished replicates, by seed: rows of `replicates.csv`, with their epochs as `history`.
      pairs: (label, prediction) -> test samples of the first seed; {} where that is not known.
    """
    settings = _group(config, "study")
    objective = str(settings.get("objective", "val_accuracy"))
    maximize, several = settings.get("direction", "maximize") != "minimize", bool(settings.get("objectives"))
    task = recorded(facts)
    search, open_ = [], []
    if space:
        over = ended(trials, objective)
        scores = [float(row[objective]) for row in seeds if row.get(objective) is not None]
        search = sentences(space, over, winner=winner, params=params, seeds=scores, maximize=maximize, several=several)
        open_ = unjudged(over, seeds=scores, several=several)
    train = _group(config, "train")
    result = judgement.judge(
        Confirmed(
            task=task,
            seeds=seeds,
            facts=facts,
            pairs=pairs,
            curve=objective if objective in task.objectives else task.objectives[0],
            batch_size=_whole(params.get("train.batch_size", train.get("batch_size"))),
            epochs=_whole(params.get("train.epochs", train.get("epochs"))),
            patient=params.get("train.patience", train.get("patience")) is not None,
            on_test=_group(config, "dataset").get("validation") == "test",
        )
    )
    return Verdict(search, [one.found for one in result if one.found], [*open_, *_not_judged(result)])


def _not_judged(result: Sequence[Judged]) -> list[str]:
    """What of a result could not be judged, in one sentence."""
    left = [one.open for one in result if one.open]
    return [f"Not judged: {'; '.join(left)}."] if left else []


def _group(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def _whole(value: Any) -> int | None:
    """A whole number from a number or text, None where it is none."""
    try:
        return None if value is None or isinstance(value, bool) else int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
