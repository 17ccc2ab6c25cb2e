"""What was run, of a study's page: data, network, budget, machine, and the space that was searched."""

from __future__ import annotations

from collections.abc import Mapping

from lstm_bench.data import lengths
from lstm_bench.report.render.markdown import (
    Raw,
    code,
    compact,
    count,
    markdown,
    short,
)
from lstm_bench.report.sources.records import Result


def section(result: Result) -> list[str]:
    """What the records say was asked for."""
    return [_what(result), *_space(result)]


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
