"""What a confirmed classifier gets right and wrong, class by class, beside what guessing gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from lstm_bench.report.render.markdown import NONE, count, escape, markdown, percent, short
from lstm_bench.report.sources.records import Result

_SHOWN = 30  # classes of a table; of more, those with the lowest recall


def per_class(confusion: pd.DataFrame) -> list[dict[str, Any]]:
    """One mapping per class.

    Returns:
      `label`, `n` (test samples), `recall` and `precision` (fractions; NaN where the class has no sample, or is never said),
      `taken_for` (the most frequent wrong prediction, None where there is none) and `times`.
    """
    made = []
    for index, label in enumerate(confusion.index):
        row = confusion.iloc[index]
        right, n, said = int(row.iloc[index]), int(row.sum()), int(confusion.iloc[:, index].sum())
        wrong = [(-int(m), other) for other, m in row.items() if other != label and m]
        taken = min(wrong, default=(0, None))
        made.append(
            {
                "label": label,
                "n": n,
                "recall": right / n if n else math.nan,
                "precision": right / said if said else math.nan,
                "taken_for": taken[1],
                "times": -taken[0],
            }
        )
    return made


def balanced_accuracy(confusion: pd.DataFrame) -> float:
    """Mean recall of the classes that have samples; NaN for no sample.

    Source: Brodersen et al. 2010, "The balanced accuracy and its posterior distribution".
    """
    recalls = [row["recall"] for row in per_class(confusion) if row["n"]]
    return math.fsum(recalls) / len(recalls) if recalls else math.nan


def majority(confusion: pd.DataFrame) -> tuple[Any, float]:
    """The most frequent label, of equals the first, and the accuracy of always saying it."""
    sizes = [sum(map(int, row)) for row in confusion.to_numpy()]
    if not any(sizes):
        return None, math.nan
    return confusion.index[sizes.index(max(sizes))], max(sizes) / sum(sizes)


def section(result: Result) -> list[str]:
    """Paragraphs below the confirmation; for other tasks than classification, what guessing gives alone."""
    parts = [baselines(result)]
    confusion = result.confusion
    if not result.task.has_classes or confusion.empty:
        return [*parts, result.task.remark]
    label, guess = majority(confusion)
    total, right = int(confusion.to_numpy().sum()), int(confusion.to_numpy().diagonal().sum())
    rows = per_class(confusion)
    shown = rows if len(rows) <= _SHOWN else sorted(rows, key=lambda r: (not r["recall"] >= 0, r["recall"]))[:_SHOWN]
    lines = [
        [
            escape(result.class_name(r["label"])),
            count(r["n"]),
            percent(r["recall"]),
            percent(r["precision"]),
            f"{escape(result.class_name(r['taken_for']))} ({r['times']})" if r["times"] else NONE,
        ]
        for r in shown
    ]
    columns = ["class", "n", "recall, %", "precision, %", "most often taken for (times)"]
    more = f"The {_SHOWN} of {len(rows)} classes with the lowest recall." if len(shown) < len(rows) else ""
    return [
        *parts,
        f"Of the first replicate (n = 1 seed, {total:,} test samples): accuracy {percent(right / total)} %, balanced "
        f"accuracy {percent(balanced_accuracy(confusion))} % (the mean of the classes' recalls). Always the most frequent "
        f"class ({escape(result.class_name(label))}) would have {percent(guess)} %.",
        markdown(columns, lines, columns[1:4]),
        more,
    ]


def baselines(result: Result) -> str:
    """What predictors without memory or learning score, where the task's data came with that."""
    found = result.env("dataset.baselines")
    if not isinstance(found, Mapping) or not found:
        return ""
    told = "; ".join(f"{escape(name)}: {escape(short(value))}" for name, value in sorted(found.items()))
    return f"In closed form, without learning ({result.task.ruler.named}): {told}."
