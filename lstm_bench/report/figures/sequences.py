"""A dataset at a glance: a few sequences of each class, how long they are, how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lstm_bench.data.arrays import SPLITS
from lstm_bench.data.dataset import Dataset
from lstm_bench.report.figures.style import COLOURS, _drawable, _styled

_PANELS, _ACROSS = 9, 3  # classes that are drawn, and how many side by side
_EACH, _FEATURES = 4, 4  # sequences of one feature that a panel holds; features of one sequence


@_styled
def overview(found: Dataset) -> Figure:
    """Panels of sequences, a class each (of a regression: by the size of the target), then lengths and classes.

    Args:
      found: As it is trained on: what was standardised is drawn so.
    """
    if found.tokens is not None:
        return _texts(found)
    groups = _groups(found)
    across = 2 if len(groups) == 4 else min(_ACROSS, len(groups))
    down = -(-len(groups) // across)
    figure = Figure(figsize=(7.4, 1.75 * down + 2.1), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = np.ravel(np.asarray(figure.subfigures(2, 1, height_ratios=(1.75 * down, 2.1))))
    panels = upper.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (title, rows) in zip(panels, groups, strict=False):
        _sequences(axes, [found.x_train[row, : _ends(found, "train")[row]] for row in rows])
        axes.set_title(_drawable(title), fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    named = list((found.reading or {}).get("features", ())) or [f"feature {i}" for i in range(found.input_shape[1])]
    drawn = named[:_FEATURES]
    if found.input_shape[1] > 1:
        more = f" (of {found.input_shape[1]:,})" if len(named) > len(drawn) else ""
        lines = [panels[0].plot([], [], color=COLOURS[i])[0] for i in range(len(drawn))]
        names = [_drawable(name) for name in drawn]
        names[-1] += more
        upper.legend(lines, names, loc="outside lower center", ncols=len(drawn))
    upper.supylabel("standardised" if found.mean is not None else "value", fontsize=9)
    _counts(lower, found)
    return figure


def _texts(found: Dataset) -> Figure:
    """Of texts their lengths and classes: ids are no values to draw."""
    figure = Figure(figsize=(7.4, 2.1), layout="constrained")
    FigureCanvasAgg(figure)
    _counts(figure, found)
    return figure


def _counts(figure: Any, found: Dataset) -> None:
    """Two panels: how long sequences are, and how many there are."""
    lengths, shares = figure.subplots(1, 2, width_ratios=(1, 2))
    _lengths(lengths, found)
    if found.kind.labels.counts(found.y_train, found.n_classes) is None:
        _targets(shares, found)
    else:
        _classes(shares, found)


def _groups(found: Dataset) -> list[tuple[str, np.ndarray]]:
    """Title and indices in the training split of what each panel draws."""
    y, n = found.y_train, _EACH if found.input_shape[1] == 1 else 1
    if found.kind.has_classes:
        names = found.classes or tuple(map(str, range(found.n_classes)))
        return [(names[label], np.flatnonzero(y == label)[:n]) for label in range(min(found.n_classes, _PANELS))]
    if y.ndim == 1:
        order = np.argsort(y, kind="stable")
        thirds = [(0, "least"), ((len(y) - n) // 2, "middle"), (len(y) - n, "greatest")]
        return [(f"{name} targets", order[max(0, at) : max(0, at) + n]) for at, name in thirds]
    return [(f"sequence {i}", np.array([i])) for i in range(min(_ACROSS, len(y)))]


def _ends(found: Dataset, split: str) -> np.ndarray:
    """Timesteps of each sequence."""
    known, x = found.lengths(split), getattr(found, f"x_{split}")
    return np.full(len(x), x.shape[1]) if known is None else known


def _sequences(axes: Axes, sequences: Sequence[np.ndarray]) -> None:
    for index, sequence in enumerate(sequences):
        n_features = sequence.shape[1]
        for feature in range(min(_FEATURES, n_features)):
            colour = COLOURS[feature if n_features > 1 else index]
            axes.plot(np.arange(len(sequence)), sequence[:, feature], color=colour, lw=0.9, alpha=0.9)


def _lengths(axes: Axes, found: Dataset) -> None:
    timesteps, ends = found.input_shape[0], np.concatenate([_ends(found, split) for split in SPLITS])
    if found.lengths_train is None:
        axes.bar([timesteps], [len(ends)], width=max(1.0, 0.1 * timesteps), color=COLOURS[0])
    else:
        bins = min(20, int(ends.max() - ends.min()) + 1)
        axes.hist(ends, bins=bins, range=(ends.min() - 0.5, ends.max() + 0.5), color=COLOURS[0])
    axes.set(xlabel="timesteps", ylabel="sequences", xlim=(0, 1.5 * timesteps))


def _classes(axes: Axes, found: Dataset) -> None:
    names = [_drawable(name) for name in found.classes or map(str, range(found.n_classes))]
    positions, left = np.arange(found.n_classes), np.zeros(found.n_classes)
    for split, colour in zip(SPLITS, COLOURS, strict=False):
        counts = np.asarray(found.kind.labels.counts(found.labels(split), found.n_classes))
        axes.barh(positions, counts, left=left, color=colour, label=split)
        left = left + counts
    if found.n_classes <= 20:
        axes.set_yticks(positions, names)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("timesteps" if found.per_timestep else "sequences")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)


def _targets(axes: Axes, found: Dataset) -> None:
    values = [found.labels(split).ravel() for split in SPLITS]
    axes.hist(values, bins=20, stacked=True, color=list(COLOURS[: len(SPLITS)]), label=list(SPLITS))
    axes.set(xlabel="target", ylabel="sequences")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
