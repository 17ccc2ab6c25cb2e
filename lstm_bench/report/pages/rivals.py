"""Which studies share a table, which are held against each other, and what that comes to in words."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from lstm_bench.report.pages.budget_and_fronts import (
    weights_of,
)
from lstm_bench.report.pages.comparability import (
    Ground,
    ground,
    grounds,
    length_of,
)
from lstm_bench.report.pages.pairs import Contrast, contrasts
from lstm_bench.report.render.markdown import (
    amount,
    count,
    escape,
    link,
    mean_text,
    sentence,
)
from lstm_bench.report.sources.records import Result


class Crowd(NamedTuple):
    """Studies that share a table and figures: those on one ground, and of them apart those of matched weights.

    Attributes:
      slug: What they share, for the figures' names.
      heading: The same in words, for a reader of this set of data.
      words: What captions add to the data's name; "" where all of the data share it.
      results: The studies, best first.
    """

    slug: str
    heading: str
    words: str
    results: list[Result]


class Rivals(NamedTuple):
    """Studies whose difference is one of the families.

    Attributes:
      shared: What they have in common, in words; "" where all of the data have it.
      heading: The same, for a reader of this set of data.
      results: The studies, best first.
      pairs: All pairs of them.
    """

    shared: str
    heading: str
    results: list[Result]
    pairs: list[Contrast]


def data_order(result: Result) -> tuple[bool, bool, str, int, str]:
    """What sorts studies by their data and measure: MNIST first, then other real data, then problems of a chosen length."""
    length = length_of(result)
    return result.dataset != "mnist", length is not None, result.dataset, length or 0, result.measure.column


def sections(results: Sequence[Result]) -> list[list[Result]]:
    """Results by data and measure."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(data_order(result), []).append(result)
    return [groups[key] for key in sorted(groups)]


def order(results: Sequence[Result]) -> tuple[Any, ...]:
    """What sorts groups of studies: validated on data held out before on the test set, divided at random last, and then the
    most training samples."""
    n_train, what = results[0].env("dataset.n_train"), ground(results[0])
    held_out = what.validation != "test"
    drawn = what.split.startswith("at random")  # flatters, where groups or time stand beside it
    return (
        not held_out,
        drawn,
        -n_train if isinstance(n_train, int) else 0,
        weights_of(results[0]) > 0,
        -len(results),
        what,
    )


def headings_of(grounds_: Collection[Ground]) -> dict[Ground, str]:
    """What tells the grounds of one set of data apart, in as few words as do."""
    alike: dict[str, list[Ground]] = {}
    several = len({what.split for what in grounds_}) > 1
    for what in grounds_:
        how = f", divided {what.split}" if what.split else ", how it was divided is not recorded"
        alike.setdefault(what.short() + (how if several else ""), []).append(what)
    made = {}
    for words, those in alike.items():
        for what in those:
            more = [
                text
                for fact, text in (
                    ("digest", f"data {what.digest[:12]}"),
                    ("n_validation", f"{what.n_validation} validation samples"),
                    ("validation", f"validation {what.validation}"),
                    ("objective", f"chosen by {what.objective}"),
                )
                if len({getattr(other, fact) for other in those}) > 1
            ]
            made[what] = ", ".join([words, *more])
    return made


def rivals_of(results: Sequence[Result]) -> list[Rivals]:
    """Studies whose difference is one of the families.

    Those for which one number of weights was asked are held against each other alone.
    """
    groups: dict[tuple[Ground, float], list[Result]] = {}
    for result in results:
        asked = weights_of(result)
        groups.setdefault((ground(result), asked if asked > 0 else 0.0), []).append(result)
    found = sorted(groups.items(), key=lambda item: (order(item[1]), item[0]))
    several, matched = len({what for (what, _), _ in found}) > 1, len({asked for (_, asked), _ in found}) > 1
    headings = headings_of({what for what, _ in groups})

    def shared(asked: float, text: str) -> str:
        weights = f"families at {count(asked)} weights" if asked else "families of any size"
        return "; ".join(filter(None, (weights if matched else "", text)))

    return [
        Rivals(shared(asked, what.text() if several else ""), shared(asked, headings[what]), group, contrasts(group))
        for (what, asked), group in found
    ]


def crowds_of(results: Sequence[Result]) -> list[Crowd]:
    """Studies by their ground, those of matched weights apart."""
    groups: dict[tuple[Ground, bool], list[Result]] = {}
    for result in results:
        groups.setdefault((ground(result), weights_of(result) > 0), []).append(result)
    several, headings = len(grounds(results)) > 1, headings_of({what for what, _ in groups})
    found = []
    for (what, matched), mine in sorted(groups.items(), key=lambda item: (order(item[1]), item[0])):
        asked = ", ".join(count(w) for w in sorted({weights_of(r) for r in mine})) if matched else ""
        weights = f"; families at {asked} weights" if matched else ""
        words = weights + (f"; {what.text()}" if several else "")
        found.append(Crowd(what.slug() + ("-matched" if matched else ""), headings[what] + weights, words, mine))
    return found


def foremost(rivals: Sequence[Rivals]) -> Rivals:
    """The group that answers for its data: the first in which two are confirmed, else one, else the first."""
    return max(rivals, key=lambda one: min(sum(r.score.n > 0 for r in one.results), 2))


def answers(rivals: Sequence[Rivals], names: Mapping[int, str], links: Mapping[int, str]) -> list[str]:
    """The answer of each group in words."""
    if len(rivals) == 1:
        return [sentence(answer(rivals[0], names, links))]
    return ["\n".join(f"- {escape(sentence(one.heading))}: {answer(one, names, links, alone=False)}" for one in rivals)]


def answer(one: Rivals, names: Mapping[int, str], links: Mapping[int, str], alone: bool = True) -> str:
    """Which study of a group is best, with its score, weights and speed, and what it does not beat; Markdown.

    Args:
      one: The group.
      names: `id(result)` -> name.
      links: `id(result)` -> address of its page.
      alone: Whether no heading says what it was trained on.
    """
    known = [r for r in one.results if r.score.n]
    if not known:
        return f"no study is confirmed on the test set ({len(one.results)} searched)."
    best, n = known[0], known[0].score.n
    what = best.measure.heading().removesuffix(", %")
    text = mean_text(best.score, best.measure.percent) if n > 1 else amount(best.score.mean, best.measure.percent)
    score = f"{text} %" if best.measure.percent else text
    how = f"mean and 95 % t interval, n = {n} seeds" if n > 1 else "n = 1 seed, so no interval"
    speed = f"{count(best.samples_per_s)} samples/s" if math.isfinite(best.samples_per_s) else "speed not comparable"
    family = "" if best.family == names[id(best)] else f" (family {escape(best.family)})"
    trained = f"; {best.trained_on}" if best.trained_on and alone else ""
    says = (
        f"**{link(names[id(best)], links[id(best)])}**{family} has the best mean {what} "
        f"of {len(known)} studies, **{score}** ({how}{trained}), with {count(best.n_weights)} weights and {speed}."
    )
    if len(known) < 2:
        return says.replace(f"has the best mean {what} of 1 studies,", "alone has")
    mine = [c for c in one.pairs if c.first is best]
    open_ = [names[id(c.second)] for c in mine if c.verdict == "none"]
    untested = [names[id(c.second)] for c in mine if c.verdict == "not tested"]
    beaten = len(mine) - len(open_) - len(untested)
    others = "the other one" if beaten == 1 else f"the other {beaten}"
    told = [
        f"is not shown to beat {escape(_and(open_))}" if open_ else "",
        f"beats {others}" if beaten else "",
        f"is not tested against {escape(_and(untested))}" if untested else "",
    ]
    return f"{says} It {'; it '.join(filter(None, told))}."


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def ordered(results: Sequence[Result]) -> list[Result]:
    """Results by data as the page has them, then the better score first, then by name."""

    def key(result: Result) -> tuple[Any, ...]:
        mean = result.score.mean
        rank = 0.0 if math.isnan(mean) else -mean if result.measure.maximize else mean
        return data_order(result), math.isnan(mean), rank, result.name, result.source

    return sorted(results, key=key)
