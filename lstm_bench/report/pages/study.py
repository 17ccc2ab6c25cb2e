"""The page of a study: Markdown and figures, as a pure function of its records."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lstm_bench.core.statistics import Interval, deviation, median, t_interval
from lstm_bench.data import lengths
from lstm_bench.report.pages import controls, importance, pareto_front, per_class, reproduce
from lstm_bench.report.pages.study_figures import study_figure_makers
from lstm_bench.report.render.markdown import (
    NONE,
    Raw,
    bullets,
    code,
    compact,
    count,
    document,
    escape,
    image,
    markdown,
    percent,
    plus_minus,
    seconds,
    sentence,
    short,
)
from lstm_bench.report.sources.records import Result, alone_s
from lstm_bench.study import leak_rows
from lstm_bench.study.columns import pack_size

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RESERVED = (
    *("readme", "comparison", "claims", "literature", "figures", "working", "manifest", "report"),
    *("latex", "html", "png", "pdf", "csv"),
)
ESSENTIAL = ("front", "curves", "confusion")  # figures that every page shows; the others take six times their bytes
_PHASES = ("setup_s", "compile_s", "train_s", "eval_s", "total_s")
_SHOWN_FAILURES = 30
_SHOWN_TRIALS = 5


@dataclass
class Pages:
    """What one folder of reports holds.

    Attributes:
      texts: Path below the folder -> contents.
      figures: Path without suffix -> maker of the figure, called only when it is to be drawn.
      estimated: Those of `texts` that hold estimates of other packages (Optuna, scikit-learn), whose versions matter.
      answers: A line of Markdown per set of data: which family is best. For the index.
      requested: As `texts`, what was asked for beside them and belongs to no check.
    """

    texts: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Callable[[], Figure]] = field(default_factory=dict)
    estimated: set[str] = field(default_factory=set)
    answers: list[str] = field(default_factory=list)
    requested: dict[str, str] = field(default_factory=dict)


_COSTS = {  # column of a record -> heading
    "epoch_s": "epoch, s",
    "peak_memory_mib": "memory, MiB",
    "peak_device_memory_mib": "device memory, MiB",
    "latency_ms_batch_1": "batch 1, ms",
    "latency_ms_batch_64": "batch 64, ms",
}


def stem(result: Result) -> str:
    """Place of a study's page without `.md`, clear of the names that the reports need for themselves."""
    parts = [result.place, result.name] if result.place else [result.name]
    return "/".join(f"{p}-study" if str(p).lower() in _RESERVED else str(p) for p in parts)


def study_page(result: Result, every_figure: bool = False) -> Pages:
    """One study's page and figures. What the records do not hold is said in its place.

    Args:
      result: The study.
      every_figure: Shows all its figures; else the essential ones, and names the others at the page's end.
    """
    place = stem(result)
    up = "../" * place.count("/")
    pages, shown, others = Pages(), dict[str, str](), list[str]()
    shares = importance.importance(result)
    for name, made in study_figure_makers(result, shares).items():
        path = f"figures/{place}-{name}"
        if isinstance(made, str):
            shown[name] = made
        elif every_figure or name in ESSENTIAL:
            shown[name] = image(path, made[1], up)
            pages.figures[path] = made[0]
        else:
            others.append(made[1])
    parts = [
        f"# {escape(result.name)}",
        escape(sentence(str(result.get("study.description", "")))),
        _result_sentence(result),
        *([bullets(result.notes)] if result.notes else []),
        "## What was run",
        _what(result),
        *_space(result),
        "## Best configurations",
        *_best(result),
        shown.get("history", ""),
        *pareto_front.section(result),
        shown.get("front", ""),
        shown["curves"],
        *importance.section(result, shares),
        shown.get("slices", ""),
        shown.get("pairs", ""),
        "## Confirmation on the test set",
        *_candidates(result),
        *_confirmation(result),
        *_health(result),
        *per_class.section(result),
        shown["confusion"],
        shown.get("worst", ""),
        *controls.section(result),
        "## Kernels",
        *_kernels(result),
        "## Failures",
        *_failures(result),
        "## Where the time went",
        *_phases(result),
        "## How to make this again",
        *reproduce.section(result),
        *_more_figures(result, others),
    ]
    pages.texts[place + ".md"] = document(parts)
    if not isinstance(shares, str):
        pages.estimated.add(place + ".md")
    return pages


def _more_figures(result: Result, captions: list[str]) -> list[str]:
    if not captions:
        return []
    command = code(f"python -m lstm_bench.report studies={result.name} figures=all")
    return ["## More figures", f"Drawn by {command}, into this page:", bullets(captions)]


def _result_sentence(result: Result) -> str:
    if result.controls_only:
        return "**No network was trained**: the controls alone, which a network has to beat."
    score, what = result.score, result.measure.heading().removesuffix(", %")
    kernel = escape(result.one("kernel_ran") or "unknown")
    where = f"{count(result.n_weights)} weights, kernel {kernel}, {escape(result.where)}"
    speed = f"{count(result.samples_per_s)} samples/s"
    if result.shared:
        speed = f"speed not comparable ({result.shared})"
    what += " per position" if result.task.per_timestep else ""
    if score.n > 1:
        shown = _shown(score, result.measure.percent)
        return f"{sentence(what)} **{shown}** (mean and 95 % t interval, n = {score.n} seeds; {where}, {speed})."
    if score.n == 1:
        one = f"{percent(score.mean)} %" if result.measure.percent else short(score.mean)
        return f"{sentence(what)} **{one}** (n = 1 seed, so no interval; {where}, {speed})."
    if result.best is not None:
        value = result.best[result.objective]
        shown = f"{percent(float(value))} %" if result.percent else short(value)
        return (
            f"**Not confirmed on the test set.** The best of {result.counts['complete']} complete trials by "
            f"{escape(result.objective)} has {shown} on validation data, which is optimistic ({where}, {speed})."
        )
    return "**No result**: no trial is complete."


def _what(result: Result) -> str:
    env, get = result.env, result.get
    packages = env("packages") if isinstance(env("packages"), Mapping) else {}
    backend = str(get("backend.name", "") or result.one("backend"))
    wanted = ["keras", backend, "optuna", "numpy"]
    versions = [f"{name} {env(key)}" for name, key in (("lstm_bench", "lstm_bench"), ("Python", "python")) if env(key)]
    versions += [f"{name} {packages[name]}" for name in wanted if name in packages]
    commit = str(env("git.commit") or "")
    dirty = " with uncommitted changes" if env("git.dirty") else ""
    digest = str(env("dataset.sha256") or "")
    searched = result.space()
    budget = f"{get('study.n_trials')} trials, {get('study.replicates')} replicates" if get("study") else ""
    train, model = (
        {k: v for k, v in get(part).items() if f"{part}.{k}" not in searched and k != "_target_"}
        if isinstance(get(part), Mapping)
        else {}
        for part in ("train", "model")
    )
    rows: list[tuple[str, object]] = [
        ("data", _data(result)),
        ("data from", env("dataset.source")),
        ("data SHA-256", code(digest) if digest else ""),
        ("family", f"{result.family} ({compact(model)})" if model else result.family),
        ("training", compact(train)),
        ("kernel asked for", get("kernel.name")),
        ("backend", backend),
        ("budget", budget),
        ("objective", f"{result.objective}, {'maximised' if result.maximize else 'minimised'}"),
        ("sampler", compact(get("sampler", ""))),
        ("pruner", compact(get("pruner", ""))),
        ("seed", get("study.seed")),
        ("device", result.where),
        ("platform", env("platform")),
        ("versions", ", ".join(versions)),
        ("commit", Raw(code(commit) + dirty) if commit else ""),
    ]
    return markdown(["", ""], [(k, v if v not in (None, "") else "not recorded") for k, v in rows])


def _data(result: Result) -> str:
    sizes = [
        f"{text} {count(float(n))}"
        for text, key in (("training", "n_train"), ("validation", "n_validation"), ("test", "n_test"))
        if isinstance(n := result.env(f"dataset.{key}"), int | float)
    ]
    redrawn = "training and validation data drawn anew for each seed" if result.get("dataset.resplit") is True else ""
    if folds := result.get("dataset.folds"):
        redrawn = f"each training sequence is validated on in one of {folds} folds; a seed's test score is of a training on all"
    on_test = "validated on the test set" if result.get("dataset.validation") == "test" else ""
    known = result.env("dataset.lengths")
    unequal = lengths.said(known) if isinstance(known, Mapping) else ""
    return "; ".join(part for part in (result.dataset, ", ".join(sizes), unequal, on_test, redrawn) if part)


def _space(result: Result) -> list[str]:
    space = result.space()
    if not space:
        return ["The search space is empty: one configuration."]
    rows = []
    for path, domain in space.items():
        if "choices" in domain:
            text = ", ".join("null" if choice is None else short(choice) for choice in domain["choices"])
        else:
            text = f"{short(domain.get('low'))} to {short(domain.get('high'))}"
            text += f", step {short(domain['step'])}" if domain.get("step") else ""
            text += ", log" if domain.get("log") else ""
        rows.append([code(path), domain["type"], text])
    return ["Searched:", markdown(["path", "type", "domain"], rows)]


def _best(result: Result) -> list[str]:
    top = result.ranked.head(_SHOWN_TRIALS)
    if top.empty:
        fixed = result.get("study.n_trials") == 0 and result.trials.empty
        return ["Nothing was searched." if fixed else "No trial is complete with a finite objective."]
    searched = [c for c in top.columns if c.startswith("config_")]
    share = result.percent
    name = f"{result.objective}, %" if share else result.objective
    rows = [
        [
            int(row["number"]),
            percent(float(row[result.objective])) if share else short(row[result.objective], 6),
            count(row["n_weights"]),
            count(result.speed(row)),
            row["kernel_ran"],
            *(short(row[c]) or "null" for c in searched),
        ]
        for _, row in top.iterrows()
    ]
    columns = ["trial", name, "weights", "samples/s", "kernel that ran", *(c.removeprefix("config_") for c in searched)]
    complete = result.counts["complete"]
    text = f"By {escape(result.objective)} on validation data, of {complete} complete trials; one run each."
    return [text, markdown(columns, rows, {"trial", name, "weights", "samples/s"})]


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


def _judged(found: Any) -> list[str]:
    return ["Health of the study:", bullets(found.sentences())] if found else []


def _shown(score: Interval, share: bool) -> str:
    if share:
        return f"{plus_minus(score)} %"
    return f"{score.mean:.4g} ± {score.half_width:.2g}" if math.isfinite(score.mean) else NONE


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
        cells = [_number(trial), value, plus_minus(score) if share else _shown(score, False), score.n]
        rows.append([*cells, _shown(test, result.measure.percent).removesuffix(" %"), "picked" if not rows else ""])
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
        f"The {len(found)} best configurations were trained afresh with the same seeds; trial {_number(first)} is picked, for "
        f"the {by} mean {escape(objective)} over its seeds. Test scores chose nothing."
    )
    if best is not None and best["number"] != first:
        says += f" Trial {_number(best['number'])}, the best of the search, is not: its one run there was luck in part."
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
            *([_number(row["trial"])] if several else []),
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
        "" if several else _curse(result),
        test_set,
        "Packed seeds were trained in one program: the seconds of each are those of all." if packed else "",
    ]


def _best_epochs(result: Result) -> str:
    """Which epochs early stopping chose, "" where there was none."""
    patience = result.get("train.patience")
    chosen = result.confirmed["best_epoch"].dropna() if patience and "best_epoch" in result.confirmed else ()
    if not len(chosen):
        return ""
    epochs = ", ".join(_number(epoch) for epoch in chosen)
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
            cells = [_shown(score, metric.percent) if score.n else NONE for score in scores]
            rows.append([metric.label, *cells, max(score.n for score in scores)])
    if not rows:
        return []
    who = "the picked configuration" if len(result.candidates) > 1 else "it"
    return [f"What else {who} scores, mean and 95 % t interval over its n seeds:", markdown(columns, rows, columns[1:])]


def _curse(result: Result) -> str:
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


def _kernels(result: Result) -> list[str]:
    table = result.frame("kernels")
    if table.empty:
        off = " (kernel.probe=false)" if result.get("kernel.probe") is False else ""
        return [f"Not probed{off}."]
    rows = []
    for _, row in table.iterrows():
        known = math.isfinite(row["train_samples_per_s"])
        spread = f"{count(row['p10_samples_per_s'])} to {count(row['p90_samples_per_s'])}"
        why = "" if known else f"unavailable: {row['reason'] or 'no reason given'}"
        rows.append(
            [
                *(row[column] for column in ("backend", "kernel", "kernel_ran")),
                count(row["train_samples_per_s"]),
                spread if known else NONE,
                count(row["n"]) if known else NONE,
                short(row["step_ms"], 3) if math.isfinite(row["step_ms"]) else NONE,
                seconds(row["compile_s"]),
                count(row["batch_size"]),
                "; ".join(filter(None, (row["device"], str(row["device_share"]).partition("; ")[2]))),
                why or row["evidence"],
            ]
        )
    columns = [
        "backend", "kernel", "kernel that ran", "samples/s", "p10 to p90", "n", "step, ms", "compile, s", "batch",
        "device", "evidence, or why there is no figure",
    ]  # fmt: skip
    speed = {
        (row["backend"], row["device"], row["kernel"]): row["train_samples_per_s"]
        for _, row in table.iterrows()
        if row["train_samples_per_s"] > 0
    }
    ratios = [
        f"cuDNN over generic on {backend}, {device}: {value / speed[backend, device, 'generic']:.2f}x."
        for (backend, device, kernel), value in sorted(speed.items())
        if kernel == "cudnn" and (backend, device, "generic") in speed
    ]
    return [
        "The winner's shapes, warm and synchronised; median over n timed windows.",
        markdown(columns, rows, set(columns[3:9])),
        "\n".join(map(escape, ratios)) or "No speedup of cuDNN over generic: one of the two has no figure.",
    ]


def _failures(result: Result) -> list[str]:
    trials, replicates = result.trials, result.replicates
    failed = [("trial", _number(row["number"]) or "?", row) for _, row in trials[trials["state"] == "FAIL"].iterrows()]
    failed += [
        ("replicate", f"seed {row['seed']:.0f}", row) for _, row in replicates[replicates["state"] == "FAIL"].iterrows()
    ]
    odd = sorted(set(trials["state"]) - {"COMPLETE", "PRUNED", "FAIL"})
    other = f"Trials in other states, not counted: {escape(', '.join(odd))}." if odd else ""
    nowhere = trials[(trials["state"] == "COMPLETE") & ~trials.index.isin(result.ranked.index)]
    numbers = ", ".join(f"{n:.0f}" for n in nowhere["number"])
    no_value = f"Complete without a finite {escape(result.objective)}, never a winner: trials {numbers}."
    if not failed:
        return ["None.", other, no_value if numbers else ""]
    reasons = [row["reason"] or "no reason given" for _, _, row in failed]
    summary = ", ".join(f"{reason} {reasons.count(reason)}" for reason in sorted(set(reasons)))
    rows = [
        [what, name, reason, _number(row.get("retry_of")), row["device"], seconds(row.total_s)]
        for (what, name, row), reason in zip(failed[:_SHOWN_FAILURES], reasons, strict=False)
    ]
    more = f"And {len(failed) - _SHOWN_FAILURES} more in the records." if len(failed) > _SHOWN_FAILURES else ""
    requeued = result.counts["requeued"]
    again = f"{requeued} of them were queued again and do not count against the budget." if requeued else ""
    table = markdown(["what", "number", "reason", "again as of", "device", "total, s"], rows, {"number", "total, s"})
    return [f"{escape(summary)}. {again}".strip(), table, more, other, no_value if numbers else ""]


def _cost(value: float) -> str:
    return count(value) if value >= 1000 else short(value, 3) if math.isfinite(value) else NONE


def _short(value: float) -> str:
    return short(value) if math.isfinite(value) else NONE


def _number(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, float) and math.isfinite(value) else ""


def _phases(result: Result) -> list[str]:
    rows, device = [], []
    for name, table in (("all trials, sum", result.trials), ("all replicates, sum", result.replicates)):
        sums = [math.fsum(v for v in alone_s(table, phase) if math.isfinite(v)) for phase in _PHASES]
        whole = sums[-1]
        device.append(whole)
        share = [f"{seconds(s)} ({100 * s / whole:.0f} %)" if whole > 0 else NONE for s in sums[:-1]]
        rows.append([name, len(table), *share, seconds(whole) if len(table) else NONE])
    for name, table in (("a trial, median", result.trials), ("a replicate, median", result.replicates)):
        rows.append([name, len(table), *(seconds(median(alone_s(table, phase))) for phase in _PHASES)])
    columns = ["", "n", "setup, s", "compile, s", "training, s", "evaluation, s", "total, s"]
    told = (
        f"Device seconds in all: {seconds(math.fsum(device))} (search {seconds(device[0])}, confirmation {seconds(device[1])}), "
        "whatever ran side by side; the GPU or the cores of one worker are a device."
    )
    return [markdown(columns, rows, set(columns[1:])), told, *cost_table([result], [escape(result.name)])]


def cost_table(results: Sequence[Result], names: Sequence[str]) -> list[str]:
    """Seconds per epoch, peak memory and latency of studies' best configurations; nothing where no record has any."""
    if not any(result.cost for result in results):
        return []
    rows = []
    for result, name in zip(results, names, strict=True):
        cells = [result.cost.get(column, math.nan) for column in _COSTS]
        rows.append([Raw(name), *(_cost(cell) for cell in cells)])
    return [
        "The best configuration: seconds per epoch, peak memory of a training, and inference in milliseconds per sequence.",
        markdown(["study", *_COSTS.values()], rows, set(_COSTS.values())),
    ]
