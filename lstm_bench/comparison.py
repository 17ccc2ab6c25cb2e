"""What compares families across studies: a table per set of data, pairs, budgets, fronts, their data, and the index."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from lstm_bench import comparison_figure, figure
from lstm_bench.bootstrap import bootstrap_interval
from lstm_bench.caveat import UNKNOWN, caveats, circumstances, data_of, ground, grounds, length_of
from lstm_bench.contrast import contrast_parts, contrast_row, contrasts
from lstm_bench.cost import Curve, budget_parts, budget_rows, curve, front_parts, fronts, matched_parts, weights_of
from lstm_bench.page import Pages
from lstm_bench.recall import recall_parts
from lstm_bench.result import ACCURACY, Result, at
from lstm_bench.statistic import deviation, quantile, t_interval
from lstm_bench.table import (
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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMMAND = "python -m lstm_bench.report"
_INTRODUCTION = (
    "The score of a study is the mean over n fresh seeds of the configuration that was picked on validation data, after "
    "the last epoch: with its 95 % t interval, with the percentile bootstrap interval, which assumes no normal "
    "distribution and is too narrow for few seeds (of five, 83 % instead of 95 %), and with the standard deviation "
    "between seeds. Beside it what the finite test set leaves open of any single one of these accuracies: its 95 % Wilson "
    "interval. samples/s is the median training speed over the same seeds: training steps alone, no compiling, no "
    "evaluation. Search hours add up the trials' own time, however many ran at once. Marked rows differ from most in "
    "what the notes say."
)
_PAIRS = (
    "Differences over common seeds; the 95 % intervals are of each pair alone, p is corrected by Holm for all pairs on the "
    "same ground and, where one was asked for, at the same number of weights. P(first better) is the probability that a run "
    "of the first does better than one of the second. Studies on other data, other training samples or by another objective "
    "are not paired, nor those at one number of weights with others."
)


class Table(NamedTuple):
    """A table before it is text.

    Attributes:
      title: What its rows share, such as the data.
      columns: Headings.
      rows: Cells.
      right: Columns of numbers.
      notes: Sentences that the marks in the first column number.
    """

    title: str
    columns: list[str]
    rows: list[list[object]]
    right: set[str]
    notes: list[str]


def comparison(results: Sequence[Result], claims: Mapping[str, Any], links: Mapping[int, str]) -> Pages:
    """`comparison.md`, `comparison.csv`, `pairs.csv`, `budget.csv` and the figures.

    Args:
      results: Studies.
      claims: Contents of `conf/claims.yaml`.
      links: `id(result)` -> address of its page.
    """
    pages = Pages()
    results = ordered(results)
    names = {id(r): _label(r, results) for r in results}
    parts = ["# Comparison of families", _INTRODUCTION]
    pairs: list[dict[str, Any]] = []
    curves: list[Curve] = []
    for table, mine in zip(tables(results, claims, links), _sections(results), strict=True):
        place = slug("-".join([mine[0].dataset, *(str(n) for n in (length_of(mine[0]),) if n is not None)]))
        parts += [f"## {escape(table.title)}", markdown(table.columns, table.rows, table.right), _numbered(table.notes)]
        crowds = _crowds(mine)
        for where, words, crowd in crowds:
            title = f"{table.title}{words}"
            for kind, make, caption in (_accuracy_figure(crowd, names), _curves_figure(crowd, names)):
                said = f"{caption} {circumstances(crowd)}." if make else caption
                parts.append(_shown(pages, f"figures/{kind}-{where}", make, said, title))
        kind, make, caption = _speed_figure(mine, names)
        parts.append(_shown(pages, f"figures/{kind}-{place}", make, caption, table.title))
        rivals = _rivals(mine)
        found = [(shared, contrasts(group)) for shared, group in rivals]
        told = [contrast_parts(shared, pair, names) for shared, pair in found]
        if any(told):
            parts += ["### Pairs", "" if pairs else _PAIRS, *(part for one in told for part in one)]
        pairs += [{"data": table.title, **contrast_row(c)} for _, pair in found for c in pair]
        searched = {id(c.result): c for c in map(curve, mine) if c is not None}
        for number, (where, words, crowd) in enumerate(crowds):
            those = [searched[id(r)] for r in crowd if id(r) in searched]
            if those:
                more, make, caption = budget_parts(those, names)
                shown = _shown(pages, f"figures/budget-{where}", make, caption, f"{table.title}{words}")
                parts += ["" if number else "### Budget", *more, shown]
        curves += searched.values()
        told = [front_parts(words.removeprefix("; "), crowd, names) for _, words, crowd in crowds]
        if any(told):
            parts += ["### Pareto front", "Yes: no other study of the table is better in both, by the means."]
            parts += [part for one in told for part in one]
        if matched := matched_parts(mine):
            parts += ["### Matched weights", *matched]
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
    parts.append(f"As data: {', '.join(link(name, name) for name in data)}; accuracies are fractions in 0..1.")
    pages.texts["comparison.md"] = document(parts)
    pages.texts |= {name: csv_text(list(rows[0]), rows) for name, rows in data.items()}
    return pages


def tables(results: Sequence[Result], claims: Mapping[str, Any], links: Mapping[int, str]) -> list[Table]:
    """The tables of studies, one per set of data, the best study first.

    Args:
      results: Studies, as `ordered` has them.
      claims: Contents of `conf/claims.yaml`.
      links: `id(result)` -> address of its page.
    """
    several = len({r.source for r in results}) > 1
    return [_table(mine, claims, links, several) for mine in _sections(results)]


def _sections(results: Sequence[Result]) -> list[list[Result]]:
    """Results by data and measure."""
    groups: dict[tuple[str, int, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.dataset, length_of(result) or 0, result.measure.column), []).append(result)
    return [groups[key] for key in sorted(groups)]


def _rivals(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Studies whose difference is one of the families: what they share, in words, "" where there is one such group.

    Those for which one number of weights was asked are held against each other alone.
    """
    groups: dict[tuple[Any, float], list[Result]] = {}
    for result in results:
        asked = weights_of(result)
        groups.setdefault((ground(result), asked if asked > 0 else 0.0), []).append(result)
    found = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    several, matched = len({what for (what, _), _ in found}) > 1, len({asked for (_, asked), _ in found}) > 1

    def shared(what: Any, asked: float) -> str:
        weights = f"families at {count(asked)} weights" if asked else "families of any size"
        return "; ".join(filter(None, (weights if matched else "", what.text() if several else "")))

    return [(shared(*key), group) for key, group in found]


def _crowds(results: Sequence[Result]) -> list[tuple[str, str, list[Result]]]:
    """Studies that share their figures: those on one ground, and of them apart those of matched weights.

    Returns:
      Slug of what they share, for the figures' names; words for their captions; and the studies. The largest crowd comes
      first, beside it none of a single study.
    """
    crowds: dict[tuple[Any, bool], list[Result]] = {}
    for result in results:
        crowds.setdefault((ground(result), weights_of(result) > 0), []).append(result)
    several = len(grounds(results)) > 1
    found: list[tuple[str, str, list[Result]]] = []
    for (what, matched), mine in sorted(crowds.items(), key=lambda item: (-len(item[1]), item[0])):
        if found and len(mine) < 2:
            break  # alone, it has its own page
        asked = ", ".join(count(w) for w in sorted({weights_of(r) for r in mine})) if matched else ""
        words = (f"; families at {asked} weights" if matched else "") + (f"; {what.text()}" if several else "")
        found.append((what.slug() + ("-matched" if matched else ""), words, mine))
    return found


def _table(results: list[Result], claims: Mapping[str, Any], links: Mapping[int, str], several: bool) -> Table:
    notes: list[str] = []
    rows = []
    measure = results[0].measure
    for result, differs in zip(results, caveats(results), strict=True):
        row = comparison_row(result)
        remarks = _remarks(result, claims) + differs
        notes += [remark for remark in dict.fromkeys(remarks) if remark not in notes]
        marks = ", ".join(str(notes.index(remark) + 1) for remark in dict.fromkeys(remarks))
        mark = f"<sup>{marks}</sup>" if marks else ""
        cells: list[object] = [
            Raw(link(result.name, links[id(result)]) + mark),
            row["family"],
            mean_text(result.score, measure.percent),
            _range(row["score_bootstrap_low_95"], row["score_bootstrap_high_95"], measure.percent),
            amount(row["score_sd"], measure.percent),
            row["n"],
            *([_test_set(result)] if measure == ACCURACY else []),
            count(row["n_weights"]),
            count(row["train_samples_per_s"]),
            row["kernel_ran"],
            row["backend"],
            result.where,
            row["epochs"],
            f"{row['trials_complete']} / {row['trials_pruned']} / {row['trials_failed']}",
            f"{row['search_h']:.2f}",
        ]
        rows.append([*cells, row["source"]] if several else cells)
    columns = [
        "study", "family", measure.label, "95 % bootstrap", "sd of seeds", "n",
        *(["test set, 95 %"] if measure == ACCURACY else []), "weights", "samples/s", "kernel that ran", "backend",
        "device", "epochs", "trials complete / pruned / failed", "search, h",
    ]  # fmt: skip
    words = {"study", "family", "kernel that ran", "backend", "device", "trials complete / pruned / failed"}
    right = {c for c in columns if c not in words}
    return Table(data_of(results[0]), [*columns, "source"] if several else columns, rows, right, notes)


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


def _numbered(notes: Sequence[str]) -> str:
    return "\n".join(f"{i}. {escape(sentence(note))}" for i, note in enumerate(notes, 1))


def _shown(pages: Pages, place: str, make: Callable[[], Figure] | None, caption: str, title: str) -> str:
    """A figure with its caption, kept in `pages`; without a maker the reason why there is none."""
    if make is None:
        return f"*{escape(title)}: {caption}*"
    pages.figures[place] = make
    return image(place, f"{caption} Data: {title}." if title else caption)


def index(
    results: Sequence[Result], links: Mapping[int, str], title: str, remark: str, benchmarks: Sequence[Result] = ()
) -> str:
    """`README.md` of a folder of reports.

    Args:
      results: Studies.
      links: `id(result)` -> address of its page, of studies and benchmarks.
      title: Of the page.
      remark: What the folder holds.
      benchmarks: Kernel benchmarks; those of one grid share a page.
    """
    rows = [
        [
            link(r.name, links[id(r)]), r.source, r.family, r.dataset,
            Raw("; ".join(map(escape, r.notes)) or "complete"),
        ]
        for r in sorted(results, key=lambda r: (r.place or "", r.name))
    ]  # fmt: skip
    measured = [
        [
            link(r.name, links[id(r)]),
            r.source,
            ", ".join(sorted({*r.tables["cells.csv"]["device"]} - {""})) or str(r.env("device.name") or "unknown"),
            r.tables["cells.csv"]["cell"].nunique(),
            Raw("; ".join(map(escape, r.notes)) or "complete"),
        ]
        for r in sorted(benchmarks, key=lambda r: (r.name, r.source))
    ]
    parts = [
        f"# {title}",
        f"{remark} Made from the records alone by `{COMMAND}`; do not edit, the next run replaces it. "
        f"`{COMMAND} check=true` tells whether it is current.",
    ]
    if results:
        parts += [
            f"- {link('Comparison of families', 'comparison.md')} ({link('CSV', 'comparison.csv')})\n"
            f"- {link('Tutorial claims beside measurements', 'claims.md')}\n"
            f"- {link('Published scores beside ours', 'literature.md')}",
            "## Studies",
            markdown(["study", "source", "family", "data", "state"], rows),
        ]
    if measured:
        parts += ["## Kernels", markdown(["benchmark", "source", "device", "cells", "state"], measured, {"cells"})]
    return document(parts)


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


def short_table(results: Sequence[Result]) -> tuple[list[str], list[list[str]], set[str]]:
    """The comparison in few columns, for a terminal: columns, rows, and which columns are numbers."""
    one = len({r.measure for r in results}) == 1
    heading = results[0].measure.label if one else "test score"
    columns = ["study", "data", heading, "n", "weights", "samples/s", "kernel", "device"]
    rows = [
        [
            r.name if r.place is None else f"{r.name} ({r.place})",
            data_of(r),
            mean_text(r.score, r.measure.percent) + ("" if one else " %" if r.measure.percent else " (MSE)"),
            str(r.score.n),
            count(r.n_weights),
            count(r.samples_per_s),
            r.one("kernel_ran") or NONE,
            r.where,
        ]
        for r in ordered(results)
    ]
    return columns, rows, {heading, "n", "weights", "samples/s"}


def ordered(results: Sequence[Result]) -> list[Result]:
    """Results by data, then the better score first, then by name."""

    def key(result: Result) -> tuple[str, int, str, bool, float, str, str]:
        mean, measure = result.score.mean, result.measure
        rank = 0.0 if math.isnan(mean) else -mean if measure.maximize else mean
        data = (result.dataset, length_of(result) or 0, measure.column)
        return (*data, math.isnan(mean), rank, result.name, result.source)

    return sorted(results, key=key)


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
    what = measure.label.removesuffix(", %")
    caption = f"{sentence(what)} against the number of weights: mean and 95 % t interval over n = {seeds} seeds."
    if sum(bool(row["front"]) for row in rows) > 1:
        caption += " Dotted: the Pareto front."
    make = partial(figure.accuracy_against_weights, rows, measure.label, measure.percent)
    return word, make, caption


def _curves_figure(results: Sequence[Result], names: Mapping[int, str]) -> tuple[str, Callable[[], Figure] | None, str]:
    """Learning curves of the confirmed configurations side by side."""
    lines: list[dict[str, Any]] = []
    objective = results[0].objective
    for result in results:
        rows = result.tables["history.csv"]
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
    return "curves", partial(comparison_figure.curves_by_family, lines, objective, results[0].maximize), caption


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
    return "speed", partial(figure.throughput, rows), caption


def _label(result: Result, results: Sequence[Result]) -> str:
    alone = sum(r.name == result.name for r in results) == 1
    return result.name if alone else f"{result.name} ({result.place or 'working'})"


def _span(numbers: Sequence[int]) -> str:
    return str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"
