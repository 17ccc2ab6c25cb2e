"""The confirmation, of a study's page: the replicates, how one of several configurations was picked, and what is judged of it."""

from __future__ import annotations

import math

from lstm_bench.core.statistics import Interval, deviation, t_interval
from lstm_bench.report.render.markdown import (
    NONE,
    bullets,
    count,
    escape,
    markdown,
    percent,
    plus_minus,
    seconds,
    short,
    whole,
)
from lstm_bench.report.sources.records import Result
from lstm_bench.study import leak_rows
from lstm_bench.study.columns import pack_size
from lstm_bench.study.diagnostics import Verdict


def section(result: Result) -> list[str]:
    """What the fresh seeds came to, and how far that can be trusted."""
    return [*_candidates(result), *_confirmation(result), *_health(result)]


def _candidates(result: Result) -> list[str]:
    """Where several configurations were replicated: by what one of them was picked."""
    found = result.candidates
    if len(found) < 2:
        return []
    share, objective = result.percent, result.objective
    numbers = result.trials["number"]
    rows: list[list[object]] = []
    means: list[Interval] = []
    for trial, seeds in found.items():
        searched = result.trials[numbers == trial]
        own = float(searched[objective].iloc[0]) if len(searched) and objective in searched else math.nan
        score, test = t_interval(seeds[objective]), t_interval(seeds[result.measure.column])
        means.append(score)
        value = percent(own) if share else short(own)
        cells = [whole(trial), value, plus_minus(score) if share else shown_score(score, False), score.n]
        rows.append(
            [*cells, shown_score(test, result.measure.percent).removesuffix(" %"), "picked" if not rows else ""]
        )
    unit = ", %" if share else ""
    columns = [
        "trial",
        f"{objective} in the search{unit}",
        f"{objective} over the seeds{unit}",
        "n",
        result.measure.heading(),
        "",
    ]
    first, best = next(iter(found)), result.best
    by = "highest" if result.maximize else "lowest"
    least = min(score.n for score in means)
    says = (
        f"The {len(found)} best configurations were trained afresh with the same seeds; trial {whole(first)} is picked, for "
        f"the {by} mean {escape(objective)} over its seeds. Test scores chose nothing."
    )
    if best is not None and best["number"] != first:
        says += f" Trial {whole(best['number'])}, the best of the search, is not: its one run there was luck in part."
    if least < means[0].n:
        says += f" Those with fewer than {means[0].n} finished seeds come last."
    return [says, markdown(columns, rows, columns[:5])]


def _confirmation(result: Result) -> list[str]:
    if result.replicates.empty:
        return ["No replicates are recorded."]
    several, measure = len(result.candidates) > 1, result.measure
    shown = [(m.column, m.heading(), m.percent) for m in result.task.shown]
    shown.append((result.task.objectives[0], measure.heading("val"), measure.percent))
    rows = [
        [
            *([whole(row["trial"])] if several else []),
            count(row["seed"]).replace(",", ""),
            row["state"] if row["state"] != "FAIL" else f"FAIL ({row['reason'] or 'no reason given'})",
            *(percent(row[name]) if share else _short(row[name]) for name, _, share in shown),
            count(result.speed(row)),
            row["kernel_ran"],
            seconds(row["total_s"]),
        ]
        for _, row in result.replicates.iterrows()
    ]
    tests = [heading for _, heading, _ in shown]
    numbers = ["trial", "seed", *tests, "samples/s", "total, s"]
    columns = [*(["trial"] if several else []), "seed", "state", *tests, "samples/s", "kernel that ran", "total, s"]
    lost = len(result.replicates) - sum(map(len, result.candidates.values()))
    packed = any(pack_size(str(share)) > 1 for share in result.replicates["device_share"])
    ends = result.sampling
    spread = deviation(result.confirmed[result.measure.column])
    test_set = ""
    if math.isfinite(ends.low) and math.isfinite(spread):
        n = count(float(result.env("dataset.n_test")))
        test_set = (
            f"The {n} test samples alone leave {percent(ends.low)} to {percent(ends.high)} % open for a single network of "
            f"that accuracy (95 % Wilson interval, standard error {percent(ends.error)} %); the seeds' standard deviation is "
            f"{percent(spread)} %. More seeds make only the second weigh less."
        )
    said = f"{lost} of {len(result.replicates)} replicates failed or gave no finite {measure.noun}; they are not in the mean."
    return [
        f"{'Each of them' if several else 'The best configuration'}, trained afresh with each seed, the test set read once.",
        markdown(columns, rows, numbers),
        said if lost else "",
        _best_epochs(result),
        _padding(result),
        *_further(result),
        "" if several else _selection_bias(result),
        test_set,
        "Packed seeds were trained in one program: the seconds of each are those of all." if packed else "",
    ]


def _best_epochs(result: Result) -> str:
    """Which epochs early stopping chose, "" where there was none."""
    patience = result.get("train.patience")
    chosen = result.confirmed["best_epoch"].dropna() if patience and "best_epoch" in result.confirmed else ()
    if not len(chosen):
        return ""
    epochs = ", ".join(whole(epoch) for epoch in chosen)
    return (
        f"Each seed's weights are those of its best epoch by {escape(result.objective)} on validation data ({epochs}); "
        f"{patience} epochs without a better one ended it, {result.get('train.epochs')} at most."
    )


def _padding(result: Result) -> str:
    """What the padding of sequences of unequal length took, "" where all have one length."""
    if "padding_share" not in result.confirmed or result.confirmed["padding_share"].dropna().empty:
        return ""
    share, seconds = (float(result.confirmed[name].median()) for name in ("padding_share", "padding_s"))
    return (
        f"Sequences differ in length: {percent(share)} % of the timesteps that training ran over were padding, "
        f"{seconds:.3g} s of each seed (medians). No result depends on it."
    )


def _further(result: Result) -> list[str]:
    """What else the picked configuration scores: metrics that its task has beside those of the table of replicates."""
    rows, columns = [], ["metric", "validation", "test", "n"]
    for metric in result.task.late:
        scores = [t_interval(result.confirmed[f"{split}_{metric.name}"].dropna()) for split in ("val", "test")]
        if any(score.n for score in scores):
            cells = [shown_score(score, metric.percent) if score.n else NONE for score in scores]
            rows.append([metric.label, *cells, max(score.n for score in scores)])
    if not rows:
        return []
    who = "the picked configuration" if len(result.candidates) > 1 else "it"
    return [f"What else {who} scores, mean and 95 % t interval over its n seeds:", markdown(columns, rows, columns[1:])]


def _selection_bias(result: Result) -> str:
    """The picked configuration's score in the search beside that over its seeds, on the same data: the winner's curse."""
    best, objective, n = result.winner, result.objective, result.counts["complete"]
    seeds = t_interval(result.confirmed[objective]) if objective in result.confirmed else t_interval([])
    if best is None or n < 2 or not seeds.n:
        return ""
    share = result.percent
    own, mean = ((f"{percent(v)} %" if share else short(v)) for v in (float(best[objective]), seeds.mean))
    return (
        f"On validation data it had {escape(objective)} {own} in the search and {mean} over its n = {seeds.n} seeds: the best "
        f"of {n} trials was picked for its luck as well, so the score of a search is optimistic (the winner's curse)."
    )


def _health(result: Result) -> list[str]:
    """What is judged of the search and its result, as at the end of a sweep."""
    found = result.verdict
    leaks = [
        row["says"] for row in leak_rows.read(result.folder.parent / leak_rows.FILE, str(result.env("dataset.sha256")))
    ]
    if leaks:
        return [
            *_judged(found),
            "Of the split, by the leak meter (docs/guide/controls.md):",
            bullets(map(escape, leaks)),
        ]
    return _judged(found)


def _judged(found: Verdict | None) -> list[str]:
    return ["Health of the study:", bullets(found.sentences())] if found else []


def shown_score(score: Interval, share: bool) -> str:
    """A mean over seeds with the half-width of its interval."""
    if share:
        return f"{plus_minus(score)} %"
    return f"{score.mean:.4g} ± {score.half_width:.2g}" if math.isfinite(score.mean) else NONE


def _short(value: float) -> str:
    return short(value) if math.isfinite(value) else NONE
