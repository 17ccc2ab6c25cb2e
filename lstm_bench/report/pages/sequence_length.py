"""Error against the length of the gap: what each family still recalls in the adding and copy problems."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from lstm_bench.data.synthetic import MAKERS
from lstm_bench.report.figures import comparison
from lstm_bench.report.pages.comparability import length_of
from lstm_bench.report.render.markdown import NONE, folded
from lstm_bench.report.sources.records import Result
from lstm_bench.report.stats.bootstrap import bootstrap_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def recall_parts(dataset: str, results: Sequence[Result]) -> tuple[list[str], Callable[[], Figure], str] | None:
    """Paragraphs, figure and caption on one of those problems; None with fewer than two lengths, or for other data.

    Args:
      dataset: Name of the data.
      results: Studies, of any data.
    """
    found = [r for r in results if r.dataset == dataset and length_of(r) is not None and r.score.n]
    lengths = sorted({length_of(r) or 0 for r in found})
    if dataset not in MAKERS or len(lengths) < 2:
        return None
    error = found[0].task.ruler  # what a predictor that remembers nothing is measured in
    label = f"test {error.named}{', ' * bool(error.unit)}{error.unit}"
    chosen: dict[tuple[str, int], Result] = {}
    for r in sorted(found, key=lambda r: (-r.score.n, r.name, r.source)):  # the one with the most seeds
        chosen.setdefault((r.family, length_of(r) or 0), r)
    families = sorted({family for family, _ in chosen})
    lines, rows = [], []
    for family in families:
        points, cells = [], []
        for length in lengths:
            result = chosen.get((family, length))
            seeds = sorted(result.confirmed[error.column].dropna()) if result else []
            if not seeds:
                cells.append(NONE)
                continue
            low, high = bootstrap_interval(seeds)
            mean = math.fsum(seeds) / len(seeds)
            points.append({"length": length, "mean": mean, "low": low, "high": high, "seeds": seeds})
            cells.append(f"{mean:.3g} ({low:.3g} to {high:.3g})" if len(seeds) > 1 else f"{mean:.3g}")
        lines.append({"label": family, "points": points})
        rows.append([family, *cells])
    baselines = _baselines(list(chosen.values()))
    rows += [
        [f"baseline: {name}", *(f"{at[n]:.3g}" if n in at else NONE for n in lengths)] for name, at in baselines.items()
    ]
    counted = sorted({r.score.n for r in chosen.values()})
    seeds_text = str(counted[0]) if len(counted) == 1 else f"{counted[0]} to {counted[-1]}"
    says = [
        f"{label[0].upper()}{label[1:]} of `{dataset}` against its length, one line per family: mean, 95 % "
        f"bootstrap interval and each of n = {seeds_text} seeds."
    ]
    says.append(
        f"Dotted: {', '.join(baselines)}." if baselines else "The error of a trivial predictor is not recorded."
    )
    sizes = sorted({str(r.env("dataset.n_train", "not recorded")) for r in chosen.values()})
    says.append(f"{' or '.join(sizes)} training sequences, {_span(chosen)} epochs;")
    left = len(found) - len(chosen)
    devices = "; ".join(sorted({r.where for r in chosen.values()}))
    says.append(f"{devices}.{f' {left} further studies of the same family and length are not drawn.' if left else ''}")
    caption = " ".join(says).replace("`", "")
    columns = ["family", *(f"length {n}" for n in lengths)]
    make = partial(comparison.error_against_length, lines, baselines, label)
    return [folded(columns, rows, set(columns[1:]))], make, caption


def _baselines(results: Sequence[Result]) -> dict[str, dict[int, float]]:
    """Name of a trivial predictor -> length -> its error, as the records have them."""
    found: dict[str, dict[int, float]] = {}
    for result in results:
        table = result.env("dataset.baselines")
        for name, value in sorted(table.items()) if isinstance(table, dict) else ():
            if isinstance(value, int | float):
                found.setdefault(str(name).replace("_", " "), {})[length_of(result) or 0] = float(value)
    return dict(sorted(found.items()))


def _span(chosen: dict[tuple[str, int], Result]) -> str:
    epochs = sorted({r.one("epochs") or "?" for r in chosen.values()}, key=lambda e: (len(e), e))
    return " or ".join(epochs)
