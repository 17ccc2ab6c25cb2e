"""What compares families across studies: a table per set of data, pairs, budgets, fronts, their data, and the index."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lstm_bench.core.statistics import deviation, quantile, t_interval
from lstm_bench.report.figures.comparison import accuracy_against_weights, curves_by_family, throughput
from lstm_bench.report.pages import controls, verdict
from lstm_bench.report.pages.budget_and_fronts import (
    Curve,
    budget_parts,
    budget_rows,
    curve,
    front_parts,
    fronts,
    matched_parts,
)
from lstm_bench.report.pages.comparability import (
    UNKNOWN,
    caveats,
    circumstances,
    data_of,
    ground,
    grounds,
    length_of,
)
from lstm_bench.report.pages.costs import cost_table
from lstm_bench.report.pages.pairs import contrast_parts, contrast_row
from lstm_bench.report.pages.rivals import (
    answer,
    answers,
    crowds_of,
    foremost,
    ordered,
    rivals_of,
    sections,
)
from lstm_bench.report.pages.sequence_length import recall_parts
from lstm_bench.report.pages.study import Pages
from lstm_bench.report.render.markdown import (
    NONE,
    Raw,
    amount,
    count,
    csv_text,
    document,
    escape,
    image,
    link,
    markdown,
    mean_text,
    sentence,
    slug,
)
from lstm_bench.report.sources.records import Result
from lstm_bench.report.stats.bootstrap import bootstrap_interval
from lstm_bench.study.reader import at

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMMAND = "python -m lstm_bench.report"
_READING = (
    "A score is the mean over n fresh seeds of the configuration that was picked on validation data, {epoch}, "
    "with its 95 % t interval. Beside it what the finite test set leaves open of any single one of these accuracies: its "
    "95 % Wilson interval. samples/s is the median training speed over the same seeds: training steps alone, no compiling, "
    "no evaluation. A table ranks what was trained on the same samples; marked rows differ from most of it in what the "
    "notes say. The percentile bootstrap interval, which assumes no normal distribution and is too narrow for few seeds "
    "(of five, 83 % instead of 95 %), the standard deviation between seeds, device, backend, epochs, trials by their end "
    "and search hours (the trials' own time, however many ran at once) are in "
)
_PAIRS = (
    "Differences over common seeds; the 95 % intervals are of each pair alone, p is corrected by Holm for all pairs on the "
    "same ground and, where one was asked for, at the same number of weights. P(first better) is the probability that a run "
    "of the first does better than one of the second; its interval, and that of the difference by bootstrap, are in "
    "pairs.csv. Studies on other data, other training samples or by another objective "
    "are not paired, nor those at one number of weights with others."
)


def comparison(results: Sequence[Result], claims: Mapping[str, Any], links: Mapping[int, str]) -> Pages:
    """`comparison.md`, `comparison.csv`, `pairs.csv`, `budget.csv` and the figures.

    Args:
      results: Studies.
      claims: Contents of `conf/claims.yaml`.
      links: `id(result)` -> address of its page.
    """
    pages = Pages()
    bare = ordered([result for result in results if result.controls_only])  # no families: what those have to beat
    results = ordered([result for result in results if not result.controls_only])
    names = {id(r): _label(r, results) for r in results}
    several = len({r.source for r in results}) > 1
    parts = ["# Comparison of families"]
    pairs: list[dict[str, Any]] = []
    curves: list[Curve] = []
    for section, mine in enumerate(sections(results)):
        name, place = data_of(mine[0]), slug(data_of(mine[0]).replace(", length ", "-"))
        rivals, crowds = rivals_of(mine), crowds_of(mine)
        pages.answers.append(f"- **{escape(name)}**: {answer(foremost(rivals), names, links)}")
        found = verdict.verdict(foremost(rivals).results, verdict.names(names))
        parts += [f"## {escape(name)}", *answers(rivals, names, links)]
        if found.rest:  # else nothing is confirmed, which was said
            pages.answers[-1] += f" Verdict, by validation scores: {escape(found.lines[0])}"
            parts += ["### Verdict", *verdict.paragraphs(found)]
        for crowd in crowds:
            shown, notes = table(crowd.results, claims, links, several)
            parts += [f"### {escape(sentence(crowd.heading))}" if len(crowds) > 1 else "", shown, notes]
            if not section and crowd is crowds[0]:
                stopped = any(result.get("train.patience") for one in crowds for result in one.results)
                epoch = (
                    "after the last epoch (of the best one, with train.patience)" if stopped else "after the last epoch"
                )
                parts.append(f"{_READING.format(epoch=epoch)}{link('comparison.csv', 'comparison.csv')}.")
            where = ground(crowd.results[0])
            beaten = controls.of([*crowd.results, *(one for one in bare if ground(one) == where)])
            if beaten:
                parts += [f"{'####' if len(crowds) > 1 else '###'} Controls", *controls.table(beaten, crowd.results[0])]
            if len(crowd.results) < 2 < len(crowds) + len(crowd.results):
                continue  # alone beside others, it has its own page
            title = f"{name}{crowd.words}"
            for kind, make, caption in (_accuracy_figure(crowd.results, names), _curves_figure(crowd.results, names)):
                said = f"{caption} {circumstances(crowd.results)}." if make else caption
                parts.append(_shown(pages, f"figures/{kind}-{crowd.slug}", make, said, title))
        crowds = [crowd for crowd in crowds if len(crowd.results) > 1] or crowds[:1]
        kind, make, caption = _speed_figure(mine, names)
        parts.append(_shown(pages, f"figures/{kind}-{place}", make, caption, name))
        told = [contrast_parts(one.shared, one.pairs, names) for one in rivals]
        if any(told):
            parts += ["### Pairs", "" if pairs else _PAIRS, *(part for one in told for part in one)]
        pairs += [{"data": name, **contrast_row(c)} for one in rivals for c in one.pairs]
        searched = {id(c.result): c for c in map(curve, mine) if c is not None}
        budgets = [(crowd, [searched[id(r)] for r in crowd.results if id(r) in searched]) for crowd in crowds]
        for number, (crowd, those) in enumerate((crowd, those) for crowd, those in budgets if those):
            more, make, caption = budget_parts(those, names)
            heading = f"{escape(sentence(crowd.heading))}:" if len(crowds) > 1 and more else ""
            shown = _shown(pages, f"figures/budget-{crowd.slug}", make, caption, f"{name}{crowd.words}")
            parts += ["" if number else "### Budget", heading, *more, shown]
        curves += searched.values()
        told = [front_parts(c.heading if len(crowds) > 1 else "", c.results, names) for c in crowds]
        if any(told):
            parts += ["### Pareto front", "Yes: no other study of the table is better in both, by the means."]
            parts += [part for one in told for part in one]
        if costs := cost_table(mine, [link(names[id(r)], links[id(r)]) for r in mine]):
            parts += ["### Cost", *costs]
        if matched := matched_parts(mine):
            parts += ["### Matched weights", *matched]
    met = {data_of(result) for result in results}
    for mine in sections([result for result in bare if data_of(result) not in met]):
        name, one = escape(data_of(mine[0])), mine[0]
        said = f"no network was trained; {link(one.name, links[id(one)])} has what one would have to beat."
        pages.answers.append(f"- **{name}**: {said}")
        parts += [f"## {name}", sentence(said), "### Controls", *controls.table(controls.of(mine), one)]
    for dataset in sorted({r.dataset for r in results}):
        if recalled := recall_parts(dataset, results):
            more, make, caption = recalled
            parts += [f"## Long memory: {escape(dataset)}", *more]
            parts.append(_shown(pages, f"figures/long-memory-{slug(dataset)}", make, caption, ""))
    data = {
        "comparison.csv": [comparison_row(r) for r in results],
        "pairs.csv": pairs,
        "budget.csv": budget_rows(curves),
    }
    data = {name: rows for name, rows in data.items() if rows}
    if data:
        parts.append(f"As data: {', '.join(link(name, name) for name in data)}; accuracies are fractions in 0..1.")
    pages.texts["comparison.md"] = document(parts)
    pages.texts |= {name: csv_text(list(rows[0]), rows) for name, rows in data.items()}
    return pages


def table(results: list[Result], claims: Mapping[str, Any], links: Mapping[int, str], several: bool) -> tuple[str, str]:
    """The table of a crowd, and the notes that the marks in its first column number.

    Args:
      results: Best first.
      claims: Contents of `conf/claims.yaml`.
      links: `id(result)` -> address of its page.
      several: Whether their sources differ, and are shown.
    """
    notes: list[str] = []
    rows = []
    measure = results[0].measure
    for result, differs in zip(results, caveats(results), strict=True):
        remarks = _remarks(result, claims) + differs
        notes += [remark for remark in dict.fromkeys(remarks) if remark not in notes]
        cells: list[object] = [
            Raw(link(result.name, links[id(result)]) + marks(remarks, notes)),
            result.family,
            mean_text(result.score, measure.percent),
            result.score.n,
            *([_test_set(result)] if measure.sampling == "share" and not several else []),
            count(result.n_weights),
            count(result.samples_per_s),
            result.one("kernel_ran"),
        ]
        rows.append([*cells, result.source] if several else cells)
    columns = [
        "study", "family", measure.heading(), "n", *(["test set, 95 %"] if measure.sampling == "share" and not several else []),
        "weights", "samples/s", "kernel that ran", *(["source"] if several else []),
    ]  # fmt: skip
    right = set(columns) - {"study", "family", "kernel that ran", "source"}
    return markdown(columns, rows, right), numbered(notes)


def marks(remarks: Sequence[str], notes: Sequence[str]) -> str:
    """Superscript numbers of `remarks` among the notes below a table."""
    marks = ", ".join(str(notes.index(remark) + 1) for remark in dict.fromkeys(remarks))
    return f"<sup>{marks}</sup>" if marks else ""


def _remarks(result: Result, claims: Mapping[str, Any]) -> list[str]:
    """What is to be said of one study whatever it stands beside."""
    n, remarks = result.score.n, []
    if result.shared:
        remarks.append(f"{result.shared}: the speed compares with nothing and is left out.")
    if not n:
        remarks.append("not confirmed on the test set; weights and kernel are the best trial's.")
    elif n == 1:
        remarks.append("one seed: no interval.")
    validated = result.get("dataset.validation")
    if validated == "test" or (validated is None and at(claims, f"conditions.{result.name}")):
        remarks.append(str(at(claims, f"conditions.{result.name}", "Validates on the test set.")))
    wanted = result.get("study.replicates")
    if n and isinstance(wanted, int) and n < wanted:
        remarks.append(f"{n} of {wanted} replicates.")
    return remarks + (result.verdict.result if result.verdict else [])


def _test_set(result: Result) -> str:
    """The Wilson interval in percent, or why there is none."""
    if result.env("dataset.n_test") is None:
        return UNKNOWN if result.score.n else NONE
    error = result.sampling
    return _range(error.low, error.high, True)


def _range(low: float, high: float, percent: bool) -> str:
    return f"{amount(low, percent)} to {amount(high, percent)}" if math.isfinite(low) else NONE


def numbered(notes: Sequence[str]) -> str:
    """The notes below a table, as a list in Markdown."""
    return "\n".join(f"{i}. {escape(sentence(note))}" for i, note in enumerate(notes, 1))


def _shown(pages: Pages, place: str, make: Callable[[], Figure] | None, caption: str, title: str) -> str:
    """A figure with its caption, kept in `pages`; without a maker the reason why there is none."""
    if make is None:
        return f"*{escape(title)}: {caption}*"
    pages.figures[place] = make
    return image(place, f"{caption} Data: {title}." if title else caption)


def comparison_row(result: Result) -> dict[str, Any]:
    """One study as a row of `comparison.csv`: numbers as measured, fractions in 0..1, NaN where there is none."""
    score, ends, error = result.score, result.counts, result.sampling
    scores = result.confirmed[result.measure.column]
    low, high = bootstrap_interval(scores)
    return {
        "study": result.name,
        "source": result.source,
        "family": result.family,
        "dataset": result.dataset,
        "length": length_of(result),
        "measure": result.measure.column,
        "score_mean": score.mean,
        "score_half_width_95": score.half_width,
        "score_bootstrap_low_95": low,
        "score_bootstrap_high_95": high,
        "score_sd": deviation(scores),
        "n": score.n,
        "test_set_low_95": error.low,
        "test_set_high_95": error.high,
        "n_weights": result.n_weights,
        "train_samples_per_s": result.samples_per_s,
        "kernel_ran": result.one("kernel_ran"),
        "backend": result.one("backend") or str(result.get("backend.name", "")),
        "device": result.one("device") or str(result.env("device.name", "")),
        "device_share": result.one("device_share"),
        "epochs": result.one("epochs"),
        "dataset_sha256": result.env("dataset.sha256"),
        "n_train": result.env("dataset.n_train"),
        "n_test": result.env("dataset.n_test"),
        "lstm_bench": result.env("lstm_bench"),
        **{f"trials_{end}": n for end, n in ends.items()},
        "search_h": result.search_s / 3600,
    }


def _accuracy_figure(
    results: Sequence[Result], names: Mapping[int, str]
) -> tuple[str, Callable[[], Figure] | None, str]:
    known = [r for r in results if r.score.n and r.n_weights > 0]
    measure = results[0].measure
    word = "accuracy" if measure.percent else "score"
    if not known:
        return word, None, f"no figure of {word} against weights, since nothing is confirmed."
    small = set().union(*(fronts(group)[0] for group in grounds(known).values()))
    one = len(grounds(known)) == 1
    rows = [
        {"label": names[id(r)], "n_weights": r.n_weights, "front": one and id(r) in small, **r.score._asdict()}
        for r in known
    ]
    seeds = _span([r.score.n for r in known])
    what = measure.heading().removesuffix(", %")
    caption = f"{sentence(what)} against the number of weights: mean and 95 % t interval over n = {seeds} seeds."
    if sum(bool(row["front"]) for row in rows) > 1:
        caption += " Dotted: the Pareto front."
    beaten = controls.lines(controls.of(results)) if one else []
    if beaten:
        caption += " Dashed: the controls, which are no networks."
    make = partial(accuracy_against_weights, rows, measure.heading(), measure.percent, beaten)
    return word, make, caption


def _curves_figure(results: Sequence[Result], names: Mapping[int, str]) -> tuple[str, Callable[[], Figure] | None, str]:
    """Learning curves of the confirmed configurations side by side."""
    lines: list[dict[str, Any]] = []
    objective = results[0].objective
    for result in results:
        rows = result.frame("history")
        if objective not in rows:
            continue
        rows = rows[(rows["kind"] == "replicate") & rows[objective].map(math.isfinite)]
        picked = next(iter(result.candidates), math.nan)
        rows = rows if math.isnan(picked) else rows[rows["trial"].isna() | (rows["trial"] == picked)]
        if len(rows):
            by_epoch = {epoch: scores.tolist() for epoch, scores in rows.groupby("epoch")[objective]}  # sorted by epoch
            line = {"label": names[id(result)], "epochs": list(by_epoch), "n": rows["number"].nunique()}
            line["mean"] = [t_interval(scores).mean for scores in by_epoch.values()]
            lines.append(line | {end.__name__: [end(scores) for scores in by_epoch.values()] for end in (min, max)})
    if max((len(line["epochs"]) for line in lines), default=0) < 2:
        return "curves", None, "no learning curves, since no confirmed study has several epochs."
    seeds = _span([line["n"] for line in lines])
    caption = f"Learning curves of the confirmed configurations: mean and range over n = {seeds} seeds."
    return "curves", partial(curves_by_family, lines, objective, results[0].maximize), caption


def _speed_figure(results: Sequence[Result], names: Mapping[int, str]) -> tuple[str, Callable[[], Figure] | None, str]:
    known = [r for r in results if math.isfinite(r.samples_per_s)]
    rows = [
        {
            "label": names[id(r)],
            "device": r.where,
            "kernel": r.one("kernel_ran") or "unknown",
            "median": r.samples_per_s,
            "low": quantile(r.measured["train_samples_per_s"], 0),
            "high": quantile(r.measured["train_samples_per_s"], 1),
        }
        for r in known
    ]
    if not rows:
        return "speed", None, "no figure of the speed, since no exclusive measurement is recorded."
    runs = _span([len(r.measured) for r in known])
    caption = (
        f"Training speed: median and range over n = {runs} runs, with the kernel that ran; {circumstances(known)}."
    )
    return "speed", partial(throughput, rows), caption


def _label(result: Result, results: Sequence[Result]) -> str:
    alone = sum(r.name == result.name for r in results) == 1
    return result.name if alone else f"{result.name} ({result.place or 'working'})"


def _span(numbers: Sequence[int]) -> str:
    return str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"
