"""The pages of the reports: Markdown and figures of studies, as pure functions of their records."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from lstm_bench import figure
from lstm_bench.result import Result, at
from lstm_bench.statistic import median, quantile
from lstm_bench.table import (
    NONE,
    Raw,
    code,
    count,
    csv_text,
    escape,
    link,
    markdown,
    percent,
    plus_minus,
    seconds,
    short,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMMAND = "python -m lstm_bench.report"
_RESERVED = ("readme", "comparison", "claims", "figures", "working", "manifest")
_PHASES = ("setup_s", "compile_s", "train_s", "eval_s", "total_s")
_SHOWN_FAILURES = 30
_SHOWN_TRIALS = 5


@dataclass
class Pages:
    """What one folder of reports holds.

    Attributes:
      texts: Path below the folder -> contents.
      figures: Path without suffix -> maker of the figure, called only when it is to be drawn.
    """

    texts: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Callable[[], Figure]] = field(default_factory=dict)


def stem(result: Result) -> str:
    """Place of a study's page without `.md`, clear of the names that the reports need for themselves."""
    parts = [result.published, result.name] if result.published else [result.name]
    return "/".join(f"{p}-study" if str(p).lower() in _RESERVED else str(p) for p in parts)


def comparison_row(result: Result) -> dict[str, Any]:
    """One study as a row of `comparison.csv`: numbers as measured, fractions in 0..1, NaN where there is none."""
    accuracy, ends = result.accuracy, result.counts
    return {
        "study": result.name,
        "source": result.source,
        "family": result.family,
        "dataset": result.dataset,
        "test_accuracy_mean": accuracy.mean,
        "test_accuracy_half_width_95": accuracy.half_width,
        "n": accuracy.n,
        "n_weights": result.n_weights,
        "train_samples_per_s": result.samples_per_s,
        "kernel_ran": result.one("kernel_ran"),
        "backend": result.one("backend") or str(result.get("backend.name", "")),
        "device": result.one("device") or str(result.env("device.name", "")),
        "device_share": result.one("device_share"),
        "epochs": result.one("epochs"),
        **{f"trials_{end}": n for end, n in ends.items()},
        "search_h": result.search_s / 3600,
    }


def ordered(results: Sequence[Result]) -> list[Result]:
    """Results by data, then the more accurate first, then by name."""

    def key(result: Result) -> tuple[str, bool, float, str, str]:
        mean = result.accuracy.mean
        return (result.dataset, math.isnan(mean), 0.0 if math.isnan(mean) else -mean, result.name, result.source)

    return sorted(results, key=key)


def short_table(results: Sequence[Result]) -> tuple[list[str], list[list[str]], set[str]]:
    """The comparison in few columns, for a terminal: columns, rows, and which columns are numbers."""
    columns = ["study", "data", "test accuracy, %", "n", "weights", "samples/s", "kernel", "device"]
    rows = [
        [
            r.name if r.published is None else f"{r.name} ({r.published})",
            r.dataset,
            plus_minus(r.accuracy),
            str(r.accuracy.n),
            count(r.n_weights),
            count(r.samples_per_s),
            r.one("kernel_ran") or NONE,
            _device(r),
        ]
        for r in ordered(results)
    ]
    return columns, rows, {"test accuracy, %", "n", "weights", "samples/s"}


def comparison(results: Sequence[Result], claims: Mapping[str, Any], links: Mapping[int, str]) -> Pages:
    """`comparison.md`, `comparison.csv` and their figures.

    Args:
      results: Studies.
      claims: Contents of `conf/claims.yaml`.
      links: `id(result)` -> address of its page.
    """
    pages, notes = Pages(), []
    rows, several = [], len({r.source for r in results}) > 1
    results = ordered(results)
    for result in results:
        row, remarks = comparison_row(result), []
        if result.shared:
            remarks.append("shared device: the speed compares with nothing and is left out.")
        if not row["n"]:
            remarks.append("not confirmed on the test set; weights and kernel are the best trial's.")
        elif row["n"] == 1:
            remarks.append("one seed: no interval.")
        validated = result.get("dataset.validation")
        if validated == "test" or (validated is None and at(claims, f"conditions.{result.name}")):
            remarks.append(str(at(claims, f"conditions.{result.name}", "Validates on the test set.")))
        wanted = result.get("study.replicates")
        if row["n"] and isinstance(wanted, int) and row["n"] < wanted:
            remarks.append(f"{row['n']} of {wanted} replicates.")
        mark = ""
        for remark in remarks:
            if remark not in notes:
                notes.append(remark)
            mark += f"<sup>{notes.index(remark) + 1}</sup>"
        cells: list[object] = [
            Raw(link(result.name, links[id(result)]) + mark),
            row["family"],
            row["dataset"],
            plus_minus(result.accuracy),
            row["n"],
            count(row["n_weights"]),
            count(row["train_samples_per_s"]),
            row["kernel_ran"],
            row["backend"],
            _device(result),
            row["epochs"],
            f"{row['trials_complete']} / {row['trials_pruned']} / {row['trials_failed']}",
            f"{row['search_h']:.2f}",
        ]
        rows.append([*cells, row["source"]] if several else cells)
    columns = [
        "study", "family", "data", "test accuracy, %", "n", "weights", "samples/s", "kernel that ran", "backend",
        "device", "epochs", "trials complete / pruned / failed", "search, h",
    ]  # fmt: skip
    right = {"test accuracy, %", "n", "weights", "samples/s", "epochs", "search, h"}
    parts = [
        "# Comparison of families",
        "Test accuracy is the mean over n fresh seeds of the best configuration with its 95 % t interval, after the "
        "last epoch; the search saw validation data only. samples/s is the median training speed over the same seeds: "
        "training steps alone, no compiling, no evaluation. Search hours add up the trials' own time, however many ran "
        "at once.",
        markdown([*columns, "source"] if several else columns, rows, right),
    ]
    if notes:
        parts.append("\n".join(f"{i}. {escape(_sentence(note))}" for i, note in enumerate(notes, 1)))
    for dataset in sorted({r.dataset for r in results}):
        mine = [r for r in results if r.dataset == dataset]
        for kind, make, caption in (_accuracy_figure(mine), _speed_figure(mine)):
            place = f"figures/{kind}-{_slug(dataset)}"
            if make is None:
                parts.append(f"*{escape(dataset)}: {caption}*")
            else:
                pages.figures[place] = make
                parts.append(_image(place, f"{caption} Data: {dataset}."))
    parts.append(f"As data: {link('comparison.csv', 'comparison.csv')}, fractions in 0..1.")
    pages.texts["comparison.md"] = _document(parts)
    data = [comparison_row(r) for r in results]
    pages.texts["comparison.csv"] = csv_text(list(data[0]), data)
    return pages


def claims_page(results: Sequence[Result], claims: Mapping[str, Any]) -> str:
    """`claims.md`: what the tutorials say beside what was measured here."""
    rows: list[list[object]] = []
    for claim in claims.get("claims") or []:
        name = str(claim.get("study"))
        found = sorted((r for r in results if r.name == name), key=lambda r: r.source)
        rows += [_claim_row(claim, name, result, results) for result in found or (None,)]
    columns = ["study", "claim", "measured here", "n", "its settings", "ours", "where the two differ", "source"]
    references = [
        [r.get("task", ""), r.get("what", ""), r.get("figure", ""), r.get("source", "")]
        for r in claims.get("references") or []
    ]
    parts = [
        "# Tutorial claims beside measurements",
        "Each tutorial's configuration, run over several seeds; test accuracy as mean and 95 % t interval.",
        markdown(columns, rows, {"n"}),
    ]
    if references:
        parts += [
            "## Published elsewhere, not reproduced here",
            markdown(["task", "what", "figure", "source"], references),
        ]
    return _document(parts)


def study_page(result: Result) -> Pages:
    """One study's page and figures. What the records do not hold is said in its place."""
    place = stem(result)
    up = "../" * place.count("/")
    pages = Pages()
    parts = [
        f"# {escape(result.name)}",
        escape(_sentence(str(result.get("study.description", "")))),
        _result_sentence(result),
        *([markdown_list(result.notes)] if result.notes else []),
        "## What was run",
        _what(result),
        *_space(result),
        "## Best configurations",
        *_best(result),
        *_figure_part(result, pages, place, up, "history"),
        *_figure_part(result, pages, place, up, "curves"),
        "## Confirmation on the test set",
        *_confirmation(result),
        *_figure_part(result, pages, place, up, "confusion"),
        *_figure_part(result, pages, place, up, "worst"),
        "## Kernels",
        *_kernels(result),
        "## Failures",
        *_failures(result),
        "## Where the time went",
        *_phases(result),
        "## Again",
        f"```sh\n{_again(result)}\n```",
        f"Its configuration, environment and rows: {code(result.records)}.",
    ]
    pages.texts[place + ".md"] = _document(parts)
    return pages


def study_figure_makers(result: Result) -> dict[str, tuple[Callable[[], Figure], str] | str]:
    """The figures of one study: name -> (maker, caption), or the reason why there is none."""
    counts, best = result.counts, result.best
    failed = counts["failed"] + counts["requeued"]
    ended = f"{counts['complete']} complete, {counts['pruned']} pruned, {failed} failed trials"
    device = _device(result)
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
    predictions = result.tables["predictions.csv"].dropna(subset=["label", "prediction"])
    if len(predictions):
        right = int((predictions["label"] == predictions["prediction"]).sum())
        caption = f"Confusion matrix of the first replicate (n = 1 seed): {right:,} of {len(predictions):,} samples"
        makers["confusion"] = (partial(figure.confusion_matrix, predictions), f"{caption} right; {device}.")
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
        makers["worst"] = "No pictures of wrong samples: worst.csv holds none."
    return makers


def index(results: Sequence[Result], links: Mapping[int, str], title: str, remark: str) -> str:
    """`README.md` of a folder of reports."""
    rows = [
        [
            link(r.name, links[id(r)]), r.source, r.family, r.dataset,
            Raw("; ".join(map(escape, r.notes)) or "complete"),
        ]
        for r in sorted(results, key=lambda r: (r.published or "", r.name))
    ]  # fmt: skip
    parts = [
        f"# {title}",
        f"{remark} Made from the records alone by `{COMMAND}`; do not edit, the next run replaces it. "
        f"`{COMMAND} check=true` tells whether it is current.",
        f"- {link('Comparison of families', 'comparison.md')} ({link('CSV', 'comparison.csv')})\n"
        f"- {link('Tutorial claims beside measurements', 'claims.md')}",
        "## Studies",
        markdown(["study", "source", "family", "data", "state"], rows),
    ]
    return _document(parts)


def markdown_list(lines: Sequence[str]) -> str:
    """Lines as a Markdown list, as they are in meaning."""
    return "\n".join(f"- {escape(line)}" for line in lines)


def _document(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _slug(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name).strip(".") or "data"


def _columns(table: pd.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name] for name in names), strict=True))


def _device(result: Result) -> str:
    """Device, with whom it was shared."""
    device = result.one("device") or str(result.env("device.name") or "unknown device")
    share = result.one("device_share")
    return device if share in ("", "exclusive") else f"{device}, {share}"


def _image(place: str, caption: str, up: str = "") -> str:
    alt = escape(caption)
    return f"![{alt}]({up}{place}.svg)\n\n*{alt}* ({link('PNG', f'{up}{place}.png')})"


def _accuracy_figure(results: Sequence[Result]) -> tuple[str, Callable[[], Figure] | None, str]:
    rows = [
        {"label": _label(r, results), "n_weights": r.n_weights, **r.accuracy._asdict()}
        for r in results
        if r.accuracy.n and r.n_weights > 0
    ]
    if not rows:
        return "accuracy", None, "no figure of accuracy against weights, since nothing is confirmed."
    seeds = _span([r.accuracy.n for r in results if r.accuracy.n])
    caption = f"Test accuracy against the number of weights: mean and 95 % t interval over n = {seeds} seeds."
    return "accuracy", partial(figure.accuracy_against_weights, rows), caption


def _speed_figure(results: Sequence[Result]) -> tuple[str, Callable[[], Figure] | None, str]:
    rows = [
        {
            "label": _label(r, results),
            "device": _device(r),
            "kernel": r.one("kernel_ran") or "unknown",
            "median": r.samples_per_s,
            "low": quantile(r.measured["train_samples_per_s"], 0),
            "high": quantile(r.measured["train_samples_per_s"], 1),
        }
        for r in results
        if math.isfinite(r.samples_per_s)
    ]
    if not rows:
        return "speed", None, "no figure of the speed, since no exclusive measurement is recorded."
    runs = _span([len(r.measured) for r in results if math.isfinite(r.samples_per_s)])
    devices = "; ".join(sorted({str(r["device"]) for r in rows}))
    caption = f"Training speed: median and range over n = {runs} runs, with the kernel that ran; {devices}."
    return "speed", partial(figure.throughput, rows), caption


def _label(result: Result, results: Sequence[Result]) -> str:
    alone = sum(r.name == result.name for r in results) == 1
    return result.name if alone else f"{result.name} ({result.published or 'working'})"


def _span(numbers: Sequence[int]) -> str:
    return str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"


def _settings(result: Result) -> str:
    parts = [str(result.winning("train.optimizer") or "")]
    for path, text in (
        ("train.learning_rate", "learning rate {}"),
        ("train.schedule", "schedule {}"),
        ("train.batch_size", "batch {}"),
    ):
        value = result.winning(path)
        if value not in (None, ""):
            parts.append(text.format(short(_compact(value))))
    parts += [f"{result.one('epochs') or '?'} epochs", result.one("backend"), result.one("kernel_ran"), _device(result)]
    return ", ".join(part for part in parts if part)


def _compact(value: Any) -> str:
    """A part of the configuration on one line: its name first, then what else is set."""
    if not isinstance(value, Mapping):
        return ", ".join(map(_compact, value)) if isinstance(value, list) else str(value)
    rest = {k: v for k, v in value.items() if k not in ("name", "_target_") and v not in (None, {}, [])}
    name = str(value.get("name") or value.get("_target_") or "")
    nested = {k: f"{{{_compact(v)}}}" if isinstance(v, Mapping) else _compact(v) for k, v in rest.items()}
    words = " ".join(f"{k}={v}" for k, v in nested.items())
    return f"{name} ({words})" if name and words else name or words


def _claim_row(claim: Mapping[str, Any], name: str, result: Result | None, results: Sequence[Result]) -> list[object]:
    claimed: list[object] = [name, str(claim.get("claim", ""))]
    told = [str(claim.get("settings", "")), "", str(claim.get("differs", "")), str(claim.get("source", ""))]
    if result is None:
        return [*claimed, "not measured", "", *told]
    told[1] = _settings(result)
    measure, value = claim.get("measure"), claim.get("value")
    n: object = result.accuracy.n or ""
    if measure == "n_weights":
        text = f"{count(result.n_weights)} weights"
    elif measure == "weight_ratio":
        text, n = _weight_ratio(claim, result, results), ""
    elif result.accuracy.n:
        text = f"{plus_minus(result.accuracy)} %"
        if isinstance(value, int | float):
            seeds = result.confirmed["test_accuracy"]
            text += f" ({100 * (result.accuracy.mean - value):+.2f} points); "
            text += f"seeds from {percent(seeds.min())} to {percent(seeds.max())}"
        text += f"; {count(result.n_weights)} weights, {count(result.samples_per_s)} samples/s"
    else:
        text = "not confirmed"
    return [*claimed, text, n, *told]


def _weight_ratio(claim: Mapping[str, Any], result: Result, results: Sequence[Result]) -> str:
    other = next((r for r in results if r.name == claim.get("against") and r.source == result.source), None)
    if other is None or not math.isfinite(other.n_weights) or not math.isfinite(result.n_weights):
        return f"needs {claim.get('against')} as well"
    mine, theirs = (r.n_weights - float(claim.get("minus", 0)) for r in (result, other))
    if theirs <= 0:
        return "the recorded weights are too few"
    return f"{mine / theirs:.2f} ({count(mine)} against {count(theirs)})"


def _result_sentence(result: Result) -> str:
    accuracy = result.accuracy
    kernel = escape(result.one("kernel_ran") or "unknown")
    where = f"{count(result.n_weights)} weights, kernel {kernel}, {escape(_device(result))}"
    speed = "speed not comparable (shared device)" if result.shared else f"{count(result.samples_per_s)} samples/s"
    if accuracy.n > 1:
        return (
            f"Test accuracy **{plus_minus(accuracy)} %** (mean and 95 % t interval, n = {accuracy.n} seeds; "
            f"{where}, {speed})."
        )
    if accuracy.n == 1:
        return f"Test accuracy **{percent(accuracy.mean)} %** (n = 1 seed, so no interval; {where}, {speed})."
    if result.best is not None:
        value = result.best[result.objective]
        shown = f"{percent(float(value))} %" if result.objective.endswith("accuracy") else short(value)
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
    versions = [f"{name} {packages[name]}" for name in wanted if name in packages]
    if env("python"):
        versions.insert(0, f"Python {env('python')}")
    if env("lstm_bench"):
        versions.insert(0, f"lstm_bench {env('lstm_bench')}")
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
        ("family", f"{result.family} ({_compact(model)})" if model else result.family),
        ("training", _compact(train)),
        ("kernel asked for", get("kernel.name")),
        ("backend", backend),
        ("budget", budget),
        ("objective", f"{result.objective}, {'maximised' if result.maximize else 'minimised'}"),
        ("sampler", _compact(get("sampler", ""))),
        ("pruner", _compact(get("pruner", ""))),
        ("seed", get("study.seed")),
        ("device", _device(result)),
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
    on_test = "validated on the test set" if result.get("dataset.validation") == "test" else ""
    return "; ".join(part for part in (result.dataset, ", ".join(sizes), on_test) if part)


def _space(result: Result) -> list[str]:
    space = result.space()
    if not space:
        return ["The search space is empty: one configuration."]
    rows = []
    for path, domain in space.items():
        if "choices" in domain:
            text = ", ".join(map(short, domain["choices"]))
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
    share = result.objective.endswith("accuracy")
    name = f"{result.objective}, %" if share else result.objective
    rows = [
        [
            int(row["number"]),
            percent(float(row[result.objective])) if share else short(row[result.objective], 6),
            count(row["n_weights"]),
            NONE if str(row["device_share"]).startswith("shared") else count(row["train_samples_per_s"]),
            row["kernel_ran"],
            *(short(row[c]) for c in searched),
        ]
        for _, row in top.iterrows()
    ]
    columns = ["trial", name, "weights", "samples/s", "kernel that ran", *(c.removeprefix("config_") for c in searched)]
    complete = result.counts["complete"]
    text = f"By {escape(result.objective)} on validation data, of {complete} complete trials; one run each."
    edges = _edges(result)
    return [text, markdown(columns, rows, {"trial", name, "weights", "samples/s"}), edges]


def _edges(result: Result) -> str:
    """A warning where the winner lies at the edge of what was searched: the best may lie beyond."""
    found = []
    for path, domain in result.space().items():
        try:
            low, high = float(domain["low"]), float(domain["high"])
            value = float(str(result.winning(path)))
            scale = math.log if domain.get("log") else float
            share = (scale(value) - scale(low)) / (scale(high) - scale(low))
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            continue
        if share < 0.02 or share > 0.98:
            found.append(f"{path} = {short(value)} of {short(low)} to {short(high)}")
    return f"The winner lies at the edge of the space: {escape('; '.join(found))}." if found else ""


def _confirmation(result: Result) -> list[str]:
    if result.replicates.empty:
        return ["No replicates are recorded."]
    rows = [
        [
            count(row["seed"]).replace(",", ""),
            row["state"] if row["state"] != "FAIL" else f"FAIL ({row['reason'] or 'no reason given'})",
            percent(row["test_accuracy"]),
            short(row["test_loss"]) if math.isfinite(row["test_loss"]) else NONE,
            percent(row["val_accuracy"]),
            NONE if str(row["device_share"]).startswith("shared") else count(row["train_samples_per_s"]),
            row["kernel_ran"],
            seconds(row["total_s"]),
        ]
        for _, row in result.replicates.iterrows()
    ]
    numbers = ["seed", "test accuracy, %", "test loss", "val accuracy, %", "samples/s", "total, s"]
    columns = [numbers[0], "state", *numbers[1:5], "kernel that ran", numbers[5]]
    lost = len(result.replicates) - len(result.confirmed)
    said = f"{lost} of {len(result.replicates)} replicates failed or gave no finite accuracy; they are not in the mean."
    return [
        "The best configuration, trained afresh with each seed, the test set read once.",
        markdown(columns, rows, numbers),
        said if lost else "",
    ]


def _kernels(result: Result) -> list[str]:
    table = result.tables["kernels.csv"]
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
                row["backend"],
                row["kernel"],
                row["kernel_ran"],
                count(row["train_samples_per_s"]),
                spread if known else NONE,
                count(row["n"]) if known else NONE,
                short(row["step_ms"], 3) if math.isfinite(row["step_ms"]) else NONE,
                seconds(row["compile_s"]),
                count(row["batch_size"]),
                row["device"],
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
    failed = [
        ["trial", int(row["number"]) if row["number"] == row["number"] else "?", row]
        for _, row in result.trials[result.trials["state"] == "FAIL"].iterrows()
    ] + [
        ["replicate", f"seed {row['seed']:.0f}", row]
        for _, row in result.replicates[result.replicates["state"] == "FAIL"].iterrows()
    ]
    odd = sorted(set(result.trials["state"]) - {"COMPLETE", "PRUNED", "FAIL"})
    other = f"Trials in other states, not counted: {escape(', '.join(odd))}." if odd else ""
    nowhere = result.trials[(result.trials["state"] == "COMPLETE") & ~result.trials.index.isin(result.ranked.index)]
    no_value = (
        f"Complete without a finite {escape(result.objective)}, never a winner: trials "
        f"{', '.join(f'{n:.0f}' for n in nowhere['number'])}."
        if len(nowhere)
        else ""
    )
    if not failed:
        return ["None.", other, no_value]
    reasons = pd.Series([str(row["reason"]) or "no reason given" for _, _, row in failed]).value_counts()
    summary = ", ".join(f"{name} {reasons[name]}" for name in sorted(reasons.index))
    rows = [
        [
            what,
            name,
            row["reason"] or "no reason given",
            _number(row.get("retry_of")),
            row["device"],
            seconds(row.total_s),
        ]
        for what, name, row in failed[:_SHOWN_FAILURES]
    ]
    more = f"And {len(failed) - _SHOWN_FAILURES} more in the records." if len(failed) > _SHOWN_FAILURES else ""
    requeued = result.counts["requeued"]
    again = f"{requeued} of them were queued again and do not count against the budget." if requeued else ""
    table = markdown(["what", "number", "reason", "again as of", "device", "total, s"], rows, {"number", "total, s"})
    return [f"{escape(summary)}. {again}".strip(), table, more, other, no_value]


def _number(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, float) and math.isfinite(value) else ""


def _phases(result: Result) -> list[str]:
    rows = []
    for name, table in (("all trials, sum", result.trials), ("all replicates, sum", result.replicates)):
        sums = [math.fsum(v for v in table[phase] if math.isfinite(v)) for phase in _PHASES]
        whole = sums[-1]
        share = [f"{seconds(s)} ({100 * s / whole:.0f} %)" if whole > 0 else NONE for s in sums[:-1]]
        rows.append([name, len(table), *share, seconds(whole) if len(table) else NONE])
    for name, table in (("a trial, median", result.trials), ("a replicate, median", result.replicates)):
        rows.append([name, len(table), *(seconds(median(table[phase])) for phase in _PHASES)])
    columns = ["", "n", "setup, s", "compile, s", "training, s", "evaluation, s", "total, s"]
    return [markdown(columns, rows, set(columns[1:]))]


def _again(result: Result) -> str:
    dataset = str(result.env("dataset.name") or "")
    if dataset and result.name.endswith("-" + dataset):
        return f"python -m lstm_bench.sweep +study={result.name.removesuffix('-' + dataset)} dataset={dataset}"
    return f"python -m lstm_bench.sweep +study={result.name}"


def _figure_part(result: Result, pages: Pages, place: str, up: str, name: str) -> list[str]:
    made = study_figure_makers(result)[name]
    if isinstance(made, str):
        return [made]
    make, caption = made
    path = f"figures/{place}-{name}"
    pages.figures[path] = make
    return [_image(path, caption, up)]
