"""`lstm_bench.report.figures.style`: how every figure is drawn."""

from __future__ import annotations

import io
import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from lstm_bench.report.figures import study, style
from lstm_bench.report.figures.comparison import accuracy_against_weights


def test_odd_data_say_nothing_on_standard_error() -> None:
    figure = style.Figure(figsize=(0.3, 0.3), layout="constrained")
    figure.subplots().set(title="数据", xlabel="wide " * 40)
    with warnings.catch_warnings(record=True) as bare:
        warnings.simplefilter("always")
        figure.savefig(io.BytesIO(), format="png")
    assert bare, "matplotlib warns of this figure"
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert style.render(figure, "png")
    assert heard == []


ROWS = [
    {"label": f"family {i}", "n_weights": 10 ** (3 + 0.3 * i), "mean": 3.5 + 0.1 * i, "half_width": 0.05}
    for i in range(4)
]
CLOSE = {
    "none": [],
    "one": [3.6],
    "six within one percent": [3.6 * (1 + 0.0016 * i) for i in range(6)],
    "six at the top": [4.9 + 0.001 * i for i in range(6)],
    "six equal": [3.2] * 6,
    "two pairs": [3.489, 3.5, 3.81, 3.795, 4.894],
    "forty": [3.6 + 0.001 * i for i in range(40)],
    "far": [3.6, 3.61, 90.0],
}


@pytest.mark.parametrize("name", CLOSE)
def test_names_of_controls_do_not_overlap_however_close_their_lines_are(name: str) -> None:
    controls = [{"label": f"linear on the last values {i}", "mean": mean} for i, mean in enumerate(CLOSE[name])]
    figure = accuracy_against_weights(ROWS, "test MASE", False, controls)
    figure.draw_without_rendering()  # as saving does, which lays it out once more
    axes, canvas = figure.axes[0], figure.canvas.get_renderer()  # type: ignore[attr-defined]
    texts = [text for text in axes.texts if isinstance(text, Annotation)]
    boxes = {text.get_text(): Text.get_window_extent(text, canvas) for text in texts}
    assert len(boxes) == len(ROWS) + len(controls)
    pairs = [(a, b) for a, b in itertools.combinations(boxes, 2) if boxes[a].overlaps(boxes[b])]
    assert pairs == []
    inside, page = axes.get_window_extent(), figure.bbox
    for label in (control["label"] for control in controls):
        box = boxes[str(label)]
        assert box.x0 > inside.x1 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1


def test_lines_are_spread_as_little_as_leaves_their_gap() -> None:
    assert style.spread([], 1, 0, 9) == []
    assert style.spread([5, 1, 8], 1, 0, 9) == [5, 1, 8], "far enough apart"
    assert style.spread([4, 4.5], 1, 0, 9) == pytest.approx([3.75, 4.75])
    assert style.spread([8.9, 9, 2], 1, 0, 9) == pytest.approx([8, 9, 2]), "the highest is no higher than may be"
    assert style.spread([0, 0, 0], 2, 0, 9) == pytest.approx([0, 2, 4])
    assert style.spread([5] * 4, 9, 0, 3) == pytest.approx([0, 1, 2, 3]), "as far apart as there is room"
    assert style.spread([1, 4, 4.2, 4.1, 8], 1, 0, 9) == pytest.approx([1, 3.1, 5.1, 4.1, 8])


@pytest.mark.parametrize("seeds", [1, 5, 8, 9])
def test_no_curve_is_behind_a_legend(seeds: int) -> None:
    rows = [("trial", n, e) for n in range(4) for e in (1, 2)] + [
        ("replicate", n, e) for n in range(seeds) for e in (1, 2)
    ]
    history = pd.DataFrame(rows, columns=["kind", "number", "epoch"]).assign(train_loss=2.0)
    history["val_mase"] = 2 + 0.1 * history["epoch"]
    for part in (history, history[history["kind"] == "replicate"]):
        figure = study.learning_curves(part, 1, "val_mase")
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
        assert_legends_are_clear(figure)


def assert_legends_are_clear(figure: Figure) -> None:
    canvas = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    legends = [legend.get_window_extent(canvas) for axes in figure.axes if (legend := axes.get_legend())]
    taken = [axes.get_tightbbox(canvas, bbox_extra_artists=[]) or axes.bbox for axes in figure.axes]
    assert legends and not any(a.overlaps(b) for a, b in itertools.combinations(legends, 2))
    for box in legends:
        assert not any(box.overlaps(other) for other in taken)
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0


def test_a_long_curve_keeps_its_ends_and_the_extremes_of_each_stretch() -> None:
    rng = np.random.default_rng(0)
    short = rng.normal(size=240)
    np.testing.assert_array_equal(style.outline(short), np.arange(240))
    low = np.sin(np.arange(5000) / 300) + rng.normal(size=5000) / 20
    high = low + rng.random(5000)
    high[1234], low[4321] = 9, -9
    low[2000:2100] = high[2000:2100] = np.nan
    kept = style.outline(low, high)
    assert len(kept) <= 242 and {0, 1234, 4321, 4999} <= set(kept)
    assert (np.diff(kept) > 0).all()
    # Drawn between the kept points, the curve is within its own range over a stretch of 42 points.
    whole = np.interp(np.arange(2000), kept[kept < 2000], low[kept[kept < 2000]])
    for at in range(0, 1900, 42):
        stretch = low[max(0, at - 42) : at + 84]
        assert stretch.min() <= whole[at : at + 42].min() and whole[at : at + 42].max() <= stretch.max()


def test_a_page_of_curves_is_small_however_many_epochs_they_have() -> None:
    def drawn(epochs: int) -> Figure:
        rows = [
            {
                "kind": kind,
                "number": number,
                "epoch": epoch,
                "train_accuracy": 0.5,
                "val_accuracy": (7 * epoch % 101) / 101,
            }
            for kind, number in [*(("trial", n) for n in range(6)), *(("replicate", n) for n in range(5))]
            for epoch in range(1, epochs + 1)
        ]
        return study.learning_curves(pd.DataFrame(rows), 1)

    few, many = drawn(15), drawn(1500)
    assert len(style.render(many, "svg")) < 70_000  # all points and their markers: 760,000
    (seed, *_) = many.axes[1].lines
    assert seed.get_markevery() is not None and few.axes[1].lines[0].get_markevery() is None
    assert len(few.axes[1].lines[0].get_xdata()) == 15
    assert seed.get_xdata()[0] == 1 and seed.get_xdata()[-1] == 1500
