"""Which network, or which control, to take: decided on validation scores of fresh seeds, said in words.

Numbers in, words out. The terminal, MLflow, `comparison.md` and the index say these words. Test scores stand beside and
change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lstm_bench.core.formatting import counted
from lstm_bench.core.statistics import Interval, holm
from lstm_bench.data.metric import Metric
from lstm_bench.study.difference import Contender, Difference, Ground, difference

# Half-width of the interval of a difference up to which two networks count as equally good, if neither is shown to be better:
# one point of a share, a twentieth of any other score.
_ALIKE, _ALIKE_SHARE = 0.01, 0.05
_ONE_ERROR = 0.3173  # two-sided p of a difference of one standard error
_FEW = 30  # sequences of the rarest class below which its share of a score is a matter of single sequences
_PADDED = 0.5  # share of padded steps from which on it is said
_FASTER = 1.25  # how many times faster counts as faster


@dataclass(frozen=True)
class Recommendation:
    """What to take, and why.

    Attributes:
      take: The contender; None where none is confirmed, or nothing beats what looks at no input.
      lines: The five that are read first.
      rest: Doubts and what was tried, a sentence each.
      commands: What to type next: why, and the command.
    """

    take: Contender | None
    lines: tuple[str, ...]
    rest: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()

    def searching_by(self, command: str) -> Recommendation:
        """With a command, or words, that search further; "" where there is none."""
        words = _WORDS["search"]
        others = [pair for pair in self.commands if pair[0] != words]
        at = min(1, len(others))
        found = (*others[:at], (words, command), *others[at:]) if command else tuple(others)
        return replace(self, commands=found)


def recommend(contenders: Sequence[Contender], ground: Ground) -> Recommendation:
    """What to take of networks and controls that stand on one ground.

    The network of the best mean validation score is held against each other network and each control, and all p-values are
    corrected together by Holm's method. It is what to take, unless

    - a control is not beaten by it: then the simplest such control within one standard error of the best of them (they come in
      the order of what they can see), or the best, where one beats the network;
    - a smaller network is not distinguishable from it, and their difference is known to a point: then the smallest is.

    Args:
      contenders: Controls in the order of what they can see.
      ground: What they stand on.
    """
    sign = 1 if ground.metric.maximize else -1
    known = [c for c in contenders if c.score.n]
    networks = sorted((c for c in known if not c.is_control), key=lambda c: (-sign * c.score.mean, c.n_weights))
    controls = [c for c in known if c.is_control]
    if not networks:
        return _without_network(controls, ground)
    best = networks[0]
    found = [difference(best, other, ground) for other in [*networks[1:], *controls]]
    found = [d._replace(adjusted=p) for d, p in zip(found, holm([d.p for d in found]), strict=True)]
    take = _taken(best, found, controls, ground)
    lines = [
        _take_line(take, best, ground),
        _beats_line(best, found, ground),
        _alike_line(best, found, take),
        _controls_line(best, found, ground),
        _cost_line(take),
    ]
    lines = [line for line in lines if line]
    rest = [*_doubts(take, best, networks, ground), _tried(networks, controls)]
    return Recommendation(take, tuple(lines), tuple(rest), _commands(take, best))


def _taken(
    best: Contender, found: Sequence[Difference], controls: Sequence[Contender], ground: Ground
) -> Contender | None:
    sign = 1 if ground.metric.maximize else -1
    over = [d.other for d in found if d.other.is_control and d.verdict == "worse"]
    if over:
        return max(over, key=lambda c: sign * c.score.mean)
    unbeaten = [d.other for d in found if d.other.is_control and d.verdict != "better"]
    if unbeaten:
        foremost = max(unbeaten, key=lambda c: sign * c.score.mean)
        simplest = min((c for c in unbeaten if _is_within_an_error(c, foremost, ground)), key=controls.index)
        return None if simplest.is_trivial else simplest  # what looks at no input answers nothing
    alike = [d.other for d in found if not d.other.is_control and d.verdict == "open" and _is_close(d, best, ground)]
    return min([best, *alike], key=lambda c: c.n_weights if math.isfinite(c.n_weights) else math.inf)


def _is_within_an_error(one: Contender, foremost: Contender, ground: Ground) -> bool:
    """Whether a control is within one standard error of the best, or is it; where nothing can be tested, within a twentieth.

    Source: Breiman et al. 1984, Classification and Regression Trees, section 3.4.3: the simplest within one standard error.
    """
    found = difference(foremost, one, ground)
    if math.isnan(found.p):
        return found.mean <= _ALIKE_SHARE * abs(one.score.mean)
    return found.mean <= 0 or found.p >= _ONE_ERROR


def _is_close(found: Difference, best: Contender, ground: Ground) -> bool:
    """Whether a difference is known well enough to call two contenders equally good."""
    edge = _ALIKE if ground.metric.percent else _ALIKE_SHARE * abs(best.score.mean)
    return abs(found.mean) + found.half_width <= edge


def _without_network(controls: Sequence[Contender], ground: Ground) -> Recommendation:
    if not controls:
        text = "Nothing is confirmed yet: no network has been trained with fresh seeds."
        return Recommendation(None, (text,))
    sign = 1 if ground.metric.maximize else -1
    best = max(controls, key=lambda c: sign * c.score.mean)
    text = f"No network is confirmed yet; of the controls {best.name} is best: {_scores(best, ground)}."
    return Recommendation(None, (text,))


def _value(value: float, metric: Metric) -> str:
    return f"{100 * value:.2f} %" if metric.percent else f"{value:.4g}"


def _amount(value: float, metric: Metric) -> str:
    """A difference."""
    return f"{100 * value:.2f} points" if metric.percent else f"{value:.3g}"


def _gap(found: Difference, metric: Metric) -> str:
    """`1.49 +- 0.68 points`."""
    if math.isnan(found.half_width):
        return _amount(found.mean, metric)
    scale, form, unit = (100, ".2f", " points") if metric.percent else (1, ".3g", "")
    return f"{scale * found.mean:{form}} +- {scale * found.half_width:{form}}{unit}"


def _score(score: Interval, metric: Metric) -> str:
    """`97.10 % (96.80 to 97.40, n = 5)`."""
    if score.n < 2:
        return f"{_value(score.mean, metric)} (n = {score.n}, so no interval)"
    low, high = score.mean - score.half_width, score.mean + score.half_width
    if metric.percent:
        low, high = max(0.0, low), min(1.0, high)
    elif not metric.maximize:  # an error
        low = max(0.0, low)
    return f"{_value(score.mean, metric)} ({_value(low, metric).removesuffix(' %')} to {_value(high, metric)}, n = {score.n})"


def _scores(one: Contender, ground: Ground) -> str:
    text = f"validation {ground.metric.label} {_score(one.score, ground.metric)}"
    if one.test.n:
        text += f", test {ground.measure.label} {_score(one.test, ground.measure)}"
    return text


def _take_line(take: Contender | None, best: Contender, ground: Ground) -> str:
    if take is None:
        return (
            f"Take none: {best.name}, the best network, is not shown to beat what looks at no input "
            f"({_scores(best, ground)})."
        )
    if take.is_control:
        beside = f"Best network: {best.name}, {_scores(best, ground)}."
        return f"Take {take.name}, which is no network: {_scores(take, ground)}. {beside}"
    if take is not best:
        return (
            f"Take {take.name}: {_scores(take, ground)}. {best.name} has the best mean and more weights, and is not "
            f"distinguishable from it: {_scores(best, ground)}."
        )
    return f"Take {take.name}: {_scores(take, ground)}."


def _named(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


def _beats_line(best: Contender, found: Sequence[Difference], ground: Ground) -> str:
    mine = [d for d in found if not d.other.is_control]
    if not mine:
        return ""
    over = [d for d in mine if d.verdict == "better"]
    tested = sum(not math.isnan(d.p) for d in found)
    corrected = f"95 % intervals; corrected for {counted(tested, 'comparison')} (Holm), on validation scores"
    if not over:
        untested = [d.other.name for d in mine if d.verdict == "not tested"]
        why = f" ({_named(untested)} not tested: too few seeds)" if untested else ""
        return f"{best.name} is not shown to beat any other network{why}; {corrected}."
    parts = [f"{d.other.name} by {_gap(d, ground.metric)}" for d in over]
    return f"{best.name} beats {_named(parts)}; {corrected}."


def _alike_line(best: Contender, found: Sequence[Difference], take: Contender | None) -> str:
    others = [d for d in found if not d.other.is_control and d.verdict != "not tested"]
    alike = [d.other for d in others if d.verdict == "open"]
    if not others:
        return ""
    if not alike:
        return f"Every other network is distinguishable from {best.name}."
    told = []
    for one in alike:
        better = [
            f"smaller ({one.n_weights:,.0f} weights)" if one.n_weights < best.n_weights else "",
            "faster to train" if _is_faster(best.epoch_s, one.epoch_s) else "",
            "faster to predict" if _is_faster(best.latency_ms, one.latency_ms) else "",
        ]
        words = ", ".join(filter(None, better))
        told.append(f"{one.name}{f': {words}' if words else ''}")
    any_ = (
        f" Any of {_named([best.name, *(c.name for c in alike)])} will do."
        if take is not None and not take.is_control
        else ""
    )
    return f"Not distinguishable from {best.name}: {'; '.join(told)}.{any_}"


def _is_faster(slow: float, fast: float) -> bool:
    return math.isfinite(slow) and math.isfinite(fast) and fast * _FASTER <= slow


def _controls_line(best: Contender, found: Sequence[Difference], ground: Ground) -> str:
    mine = [d for d in found if d.other.is_control]
    if not mine:
        return (
            "No control stands beside it (controls=false, or older records): whether a network is needed is not known."
        )
    sign = 1 if ground.metric.maximize else -1
    strongest = max(mine, key=lambda d: sign * d.other.score.mean).other
    says = f"the best of them is {strongest.name}, {_value(strongest.score.mean, ground.metric)}"
    unbeaten = [d for d in mine if d.verdict != "better"]
    if not unbeaten:
        return f"{best.name} beats {counted(len(mine), 'control')}: {says}."
    parts = [
        f"{d.other.name} ({_gap(d, ground.metric)})" if math.isfinite(d.half_width) else d.other.name for d in unbeaten
    ]
    return f"{best.name} is not shown to beat {_named(parts)}; of the controls, {says}."


def _cost_line(take: Contender | None) -> str:
    if take is None:
        return "Cost: none."
    parts = [f"{take.n_weights:,.0f} weights" if math.isfinite(take.n_weights) else ""]
    if take.is_control:
        parts += [f"{take.epoch_s:.3g} s to fit on one core" if math.isfinite(take.epoch_s) else ""]
        parts += [f"{take.latency_ms:.3g} ms per sequence in batches of 64" if math.isfinite(take.latency_ms) else ""]
    else:
        kernel = f" ({take.kernel} kernel)" if take.kernel else ""
        parts += [
            f"{take.epoch_s:.3g} s per epoch" if math.isfinite(take.epoch_s) else "",
            f"{take.samples_per_s:,.0f} samples/s in training{kernel}"
            if math.isfinite(take.samples_per_s)
            else f"speed not comparable{kernel}",
            f"{take.latency_ms:.3g} ms for one sequence" if math.isfinite(take.latency_ms) else "",
            f"{take.memory_mib:,.0f} MiB of memory" if math.isfinite(take.memory_mib) else "",
        ]
    return f"Cost: {', '.join(filter(None, parts))}."


def _doubts(take: Contender | None, best: Contender, networks: Sequence[Contender], ground: Ground) -> list[str]:
    one = best if take is None else take
    found = list(one.doubts)
    if ground.rarest is not None and ground.rarest < _FEW:
        found.append(
            f"The rarest class has {counted(ground.rarest, 'sequence')} to be scored on: single ones move the result."
        )
    if ground.metric.percent and ground.n_validation:
        share = min(max(one.score.mean, 0.0), 1.0)
        half = 1.96 * math.sqrt(max(share * (1 - share), 0.25 / ground.n_validation) / ground.n_validation)
        if half > _ALIKE:
            found.append(
                f"{counted(ground.n_validation, 'validation sequence')} leave {100 * half:.1f} points of any such score open."
            )
    if one.test.n and ground.metric.name == ground.measure.name and _is_far(one):
        found.append(
            f"Validation and test score are {_amount(abs(one.score.mean - one.test.mean), ground.metric)} apart: "
            "the two splits differ, or the choice fitted the validation data."
        )
    few = [c.name for c in networks if c.score.n < 3]
    if few:
        found.append(f"{_named(few)}: fewer than three seeds say little of what another training gives.")
    if ground.padded > _PADDED:
        found.append(f"{100 * ground.padded:.0f} % of all steps are padding.")
    found += ground.leaks
    return list(dict.fromkeys(found)) or ["Nothing that was judged speaks against it."]


def _is_far(one: Contender) -> bool:
    """Whether validation and test score differ by more than the spread of the seeds, and by more than two points or a tenth."""
    gap, width = abs(one.score.mean - one.test.mean), one.score.half_width + one.test.half_width
    edge = 0.02 if abs(one.score.mean) <= 1 else 0.1 * abs(one.score.mean)
    return gap > edge and not gap <= width  # an unknown width is no excuse


def _tried(networks: Sequence[Contender], controls: Sequence[Contender]) -> str:
    configurations = sum(max(1, c.tried) for c in networks)
    return (
        f"Tried: {counted(len(networks), 'network')} by {counted(configurations, 'configuration')}, "
        f"{counted(len(controls), 'control')}; chosen on validation data, the test set read once for each confirmed one."
    )


def _commands(take: Contender | None, best: Contender) -> tuple[tuple[str, str], ...]:
    """What to do next; where nothing is to be taken, nothing is to be used."""
    given = {**best.commands, **(take.commands if take else {"use": ""})}
    return tuple((words, given[key]) for key, words in _WORDS.items() if given.get(key))


_WORDS = {"use": "use it", "search": "search it further", "repeat": "make this again"}
