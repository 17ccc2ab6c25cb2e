"""The style of all figures: colours, fonts, scales, labels, and figures as bytes."""

from __future__ import annotations

import functools
import hashlib
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, cast

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.scale import InvertedLogTransform, LogScale, LogTransform
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import Bbox, ScaledTranslation, Transform

from lstm_bench.core import statistics
from lstm_bench.data.task import all_metrics, metric_of
from lstm_bench.report.render import markdown

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
BROWN, GREY = "#a6761d", "#777777"
# Of a kernel, the same in every figure; an unknown one and none at all are grey.
KERNEL_COLOURS = {
    "cudnn": BLUE, "fused": BROWN, "generic": BLACK, "xla": GREEN, "unrolled": ORANGE, "unrolled_xla": PURPLE, "bare": VERMILLION,
    "native": SKY,
}  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "xtick.color": "#666666",
    "ytick.color": "#666666",
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "svg.hashsalt": "lstm_bench",
    "text.parse_math": False,
    "path.simplify": False,
}
_FONTS = "font-family: 'DejaVu Sans', 'Verdana', sans-serif"
_MANY = 200  # lines or dots beyond which an SVG holds them as pixels
_STRETCHES = 120  # of a long curve: a panel is some 240 points wide
_MARKED = 20  # markers of a long curve
_LINE_PT = 7  # font of what names a line beside the axes
LINE_GAP_PT = 10  # from one such name to the next
_BELOW_PT = 34  # ticks and label of an x axis
# The modules that a figure is drawn by: those here, and the few that they call.
DRAWN_BY = (*sorted(Path(__file__).parent.glob("*.py")), Path(statistics.__file__), Path(markdown.__file__))
_P = ParamSpec("_P")


@contextmanager
def style() -> Iterator[None]:
    """How every figure is drawn, whatever a user's matplotlibrc says, and without the warnings of odd data."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A glyph that no font has, axes too small for their labels: the person at the terminal cannot do anything about it.
        warnings.simplefilter("ignore", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(cast("Any", _STYLE))
        yield


def _styled(make: Callable[_P, Figure]) -> Callable[_P, Figure]:
    @functools.wraps(make)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with style():
            return make(*args, **kwargs)

    return styled


def renderer() -> dict[str, str]:
    """What the bytes of a figure, and the estimates of a page, depend on besides the rows."""
    import platform
    from importlib.metadata import version

    packages = {name: version(name) for name in ("matplotlib", "numpy", "pillow", "optuna", "scikit-learn")}
    return packages | {"machine": platform.machine()}


def drawn_from(make: Callable[[], Figure]) -> str:
    """Digest of what the bytes of a figure depend on: rows, options, the code and versions that draw, the labels of metrics.

    Equal digests are of equal figures, wherever their rows were read. Equal figures may have others, which costs a drawing.
    """
    return hashlib.sha256(_code() + _spelt(make).encode()).hexdigest()[:16]


def _spelt(value: Any) -> str:
    """A value in full, the same for equal ones: no order of a set, no address, no layout of a table in memory."""
    if isinstance(value, partial):
        return f"{value.func.__module__}.{value.func.__qualname__}{_spelt((*value.args, value.keywords))}"
    if isinstance(value, pd.DataFrame):
        return _spelt({name: [*value.index, *value[name]] for name in value.columns})
    if isinstance(value, np.ndarray | pd.Series):
        return _spelt([*value.tolist()])
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_spelt(key)}:{_spelt(item)}" for key, item in value.items()) + "}"
    if isinstance(value, set | frozenset):
        return _spelt(sorted(map(_spelt, value)))
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_spelt, value)) + "]"
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str | int | float):
        return repr(value)
    raise TypeError(f"{type(value).__name__} in what a figure is drawn from: give it rows, text and numbers")


@functools.cache
def _code() -> bytes:
    labels = repr([(metric.name, metric.label, metric.percent) for metric in all_metrics()])
    return b"".join([*(path.read_bytes() for path in DRAWN_BY), labels.encode(), repr(renderer()).encode()])


_DATED = {  # what a file of each kind would say of the day and the program that made it
    "svg": ("Date", "Creator"),
    "png": ("Software",),
    "pdf": ("CreationDate", "ModDate", "Creator", "Producer"),
}


def render(figure: Figure, kind: str) -> bytes:
    """The figure as `svg`, `png` or `pdf`, without dates and versions in it."""
    out = io.BytesIO()
    with style():
        figure.savefig(out, format=kind, metadata=dict.fromkeys(_DATED[kind]))
    return _compact(out.getvalue().decode()).encode() if kind == "svg" else out.getvalue()


def _compact(svg: str) -> str:
    """An SVG that draws the same to a hundredth of a point in half the bytes, an element per line.

    Left out are comments, metadata, the names of groups, groups around nothing or one text, and the fonts of each text,
    which are those of all.
    """
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<!DOCTYPE[^>]*>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<[^>]*>", lambda tag: _compact_tag(tag.group()), svg)
    svg = svg.replace("</style>", f"\ntext{{{_FONTS}}}</style>", 1)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    while (less := re.sub(r"<g/>\n|<g>\n</g>\n|<g>\n(<text[^>]*>[^<]*</text>\n)</g>\n", r"\1", svg)) != svg:
        svg = less
    return svg


def _compact_tag(tag: str) -> str:
    if tag.startswith("<image"):
        return tag
    tag = re.sub(r"-?\d+\.\d{3,}", _short_number, " ".join(tag.split()))
    tag = re.sub(r"(?<= d=\")[^\"]*", lambda path: re.sub(r" ?([A-Za-z]) ?", r"\1", path.group()), tag)
    tag = re.sub(r'^<g id="[^"]*_\d+"', "<g", tag)
    return re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", tag.replace(f" {_FONTS};", ""))


def _short_number(found: re.Match[str]) -> str:
    value = float(found.group())
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) >= 10 else f"{value:.4g}"


def pictures(make: Callable[[], Figure], kinds: Sequence[str] = ("svg",)) -> dict[str, bytes]:
    """What a maker draws, in each of `kinds`."""
    made = make()
    return {kind: render(made, kind) for kind in kinds}


def _positions(rows: pd.DataFrame, path: str, domain: Mapping[str, Any]) -> tuple[np.ndarray, list[str]]:
    """Where the trials are along a searched path, and the names of its places; none along numbers."""
    texts = rows["config_" + path].astype(str)
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=float)
    if domain.get("type") != "categorical" and np.isfinite(numbers).any():
        return numbers, []
    names = sorted(set(texts), key=lambda name: (_sortable(name), name))
    spread = (rows["number"].to_numpy(dtype=float) * 0.618034) % 1 - 0.5  # side by side, always the same way
    return np.array([names.index(text) for text in texts]) + 0.5 * spread, names


def _along(axes: Axes, axis: Axis, domain: Mapping[str, Any], values: np.ndarray, names: Sequence[str]) -> None:
    """One axis over what was searched, with a margin."""
    across = axis is axes.xaxis
    limits, scale = (axes.set_xlim, axes.set_xscale) if across else (axes.set_ylim, axes.set_yscale)
    if names:
        axis.set_ticks(range(len(names)), [_drawable(name) or "none" for name in names])
        limits(-0.6, len(names) - 0.4)
        return
    low, high = float(domain.get("low", np.nanmin(values))), float(domain.get("high", np.nanmax(values)))
    if domain.get("log") and 0 < low < high:
        decades = math.log10(high / low)
        scale(log_scale())
        subs = (1.0,) if decades > 1.4 else (1.0, 2.0, 5.0) if decades > 0.6 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set_minor_locator(NullLocator())
        margin = 10 ** (0.06 * decades)
        limits(low / margin, high * margin)
    else:
        axis.set_major_locator(MaxNLocator(4, integer=domain.get("type") == "int"))
        margin = 0.06 * (high - low) or 0.5
        limits(low - margin, high + margin)


class _Log10(LogTransform):
    """matplotlib's logarithm, by the C library's: NumPy's has other last bits where a processor has AVX-512.

    The place of everything beside such an axis has them too, and with it the names inside an SVG.
    """

    def transform_non_affine(self, values: Any) -> np.ndarray:
        return _each(lambda v: -1000.0 if v <= 0 else math.log10(v) if v < math.inf else v, values)

    def inverted(self) -> InvertedLogTransform:
        return _Power10(self.base)


class _Power10(InvertedLogTransform):
    def transform_non_affine(self, values: Any) -> np.ndarray:
        return _each(lambda v: math.exp(v * math.log(10)) if v < 308 else math.inf, values)

    def inverted(self) -> LogTransform:
        return _Log10(self.base)


class _LogScale(LogScale):
    def get_transform(self) -> Transform:
        return _Log10(self.base)


def _each(function: Callable[[float], float], values: Any) -> np.ndarray:
    given: np.ndarray = np.ma.filled(np.ma.asarray(values, dtype=float), math.nan)
    return np.array([v if math.isnan(v) else function(v) for v in given.ravel().tolist()]).reshape(given.shape)


def log_scale() -> LogScale:
    """A logarithmic scale for `set_xscale` and its like, which draws the same bytes on every processor."""
    return _LogScale(None)


def _way(direction: str) -> str:
    return "more is better" if direction == "maximize" else "less is better"


def _sortable(name: str) -> float:
    try:
        return float(name)
    except ValueError:
        return math.inf


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _thinned(n: int) -> float:
    """How much smaller or fainter each of `n` marks is drawn, lest the many run into one blot: 1 up to `_MANY`."""
    return min(1.0, _MANY / max(n, 1))


def outline(low: np.ndarray, high: np.ndarray | None = None) -> np.ndarray:
    """Places of the points of a long curve, or band, that are enough to draw it: its ends, and the extremes of each stretch.

    After Jugel et al. 2014, "M4: a visualization-oriented time series data aggregation", PVLDB 7(10). All places up to two per
    stretch, of which there are as many as a panel has points across.

    Args:
      low: The curve, or the lower side of the band, `(points,)`.
      high: Its upper side; None of a curve.
    """
    n, high = len(low), low if high is None else high
    if n <= 2 * _STRETCHES:
        return np.arange(n)
    kept = {0, n - 1}
    for part in np.array_split(np.arange(n), _STRETCHES):
        kept |= {int(part[np.argmin(np.nan_to_num(low[part], nan=np.inf))])}
        kept |= {int(part[np.argmax(np.nan_to_num(high[part], nan=-np.inf))])}
    return np.array(sorted(kept))


def _marked(n: int) -> dict[str, Any]:
    """The options of a line of `n` points that has as many markers as can be told apart."""
    return {"markevery": math.ceil(n / _MARKED)} if n > 2 * _MARKED else {}


def _scale(objective: str) -> tuple[float, str]:
    if objective == "n_weights":
        return 1.0, "weights"
    words = {"val": "validation", "train": "training"}
    split, _, rest = objective.removesuffix("_samples_per_s").partition("_")
    metric = metric_of(objective)
    text = " ".join(filter(None, (words.get(split, split), metric.label if metric else rest.replace("_", " "))))
    if objective.endswith("_samples_per_s"):
        return 1.0, f"{text} speed, samples/s"
    return (100.0, text + ", %") if metric and metric.percent else (1.0, text)


def _focus(axes: Axes, values: np.ndarray, target: float, maximize: bool) -> None:
    """Cuts the far bad end off the y axis, where a few hopeless trials would press the good ones into a line."""
    known = values[np.isfinite(values)]
    best, worst = (known.max(), known.min()) if maximize else (known.min(), known.max())
    usual = np.quantile(known, 0.25 if maximize else 0.75)
    far = max(abs(best - usual), abs(best - target), 1e-3 * abs(best), 1e-6) * 1.6
    sign = 1 if maximize else -1
    edge = best - sign * far
    end = best + sign * 0.08 * far
    if (worst - edge) * sign >= 0:
        edge = worst - sign * 0.08 * abs(end - worst)
    axes.set_ylim(min(edge, end), max(edge, end))


def _legend_above(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=4 if len(labels) < 5 else 3,
            borderaxespad=0.2,
            columnspacing=1.2,
            handletextpad=0.4,
        )


def _legend_below(axes: Axes, columns: int) -> None:
    """A legend under the label of the x axis: no curve is behind it wherever the curves go."""
    under = ScaledTranslation(0, -_BELOW_PT / 72, cast("Figure", axes.figure).dpi_scale_trans)
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=axes.transAxes + under, ncols=columns, borderaxespad=0,
        columnspacing=1.0, handletextpad=0.4, handlelength=1.5,
    )  # fmt: skip


def _log_ticks(axes: Axes) -> None:
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1e6:g} M" if x >= 1e6 else f"{x / 1e3:g} k"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _drawable(text: object) -> str:
    """Text with only letters that the bundled font certainly has."""
    return str(text).encode("latin-1", "replace").decode("latin-1")


def _place_labels(
    figure: Figure, axes: Axes, points: Sequence[tuple[float, float, float]], labels: list[str], lines: Sequence[float]
) -> None:
    """Puts each label at the nearest free place around its point, on none of `lines`, with a leader where it is not beside it."""
    dot = 7 * figure.dpi / 72  # pixels around a marker
    taken = []
    for x, y, half in points:
        px, py = axes.transData.transform((x, y))
        bar = 0 if math.isnan(half) else axes.transData.transform((x, y + half))[1] - py
        taken.append(Bbox([[px - dot, py - max(bar, dot)], [px + dot, py + max(bar, dot)]]))
    inside = axes.get_window_extent()
    across = [axes.transData.transform((1, height))[1] for height in lines]
    taken += [Bbox([[inside.x0, y - 1], [inside.x1, y + 1]]) for y in across]
    canvas = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    offsets = [(side, up) for up in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5) for side in (1, -1)]
    for (x, y, _), label in zip(points, labels, strict=True):
        best = None
        for side, up in offsets:
            text = axes.annotate(
                label, (x, y), xytext=(9 * side + 4 * side * abs(up), 11 * up), textcoords="offset points", va="center",
                ha="left" if side > 0 else "right", fontsize=8,
                arrowprops={"arrowstyle": "-", "lw": 0.6, "color": "#888888"} if abs(up) > 1 else None,
            )  # fmt: skip
            box = text.get_window_extent(canvas) if not text.arrow_patch else _text_box(text, canvas)
            free = not any(box.overlaps(other) for other in taken)
            if free and inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1:
                best = text
                taken.append(box)
                break
            text.remove()
        if best is None:
            axes.annotate(label, (x, y), xytext=(9, 0), textcoords="offset points", va="center", fontsize=8)


def spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights moved as little as leaves `gap` between neighbours, and all from `low` to `high`, in their order.

    Isotonic regression: neighbours too close become a group around the mean of where they would be.

    Args:
      heights: In any order.
      gap: Least distance.
      low: Of the lowest.
      high: Of the highest; where too many do not fit, the gap is what does.
    """
    from scipy.optimize import isotonic_regression

    if not len(heights):
        return []
    order = np.argsort(heights, kind="stable")
    steps = min(gap, (high - low) / max(len(heights) - 1, 1)) * np.arange(len(heights))
    moved = np.empty(len(heights))
    moved[order] = np.clip(isotonic_regression(np.asarray(heights)[order] - steps).x, low, high - steps[-1]) + steps
    return [float(height) for height in moved]


def _label_lines(figure: Figure, axes: Axes, lines: Sequence[tuple[float, str]]) -> None:
    """Names horizontal lines in a column right of the axes, pushed apart where they lie close, each with a thin leader.

    Args:
      figure: Whose layout is settled by this, where there are lines.
      axes: With its limits set.
      lines: Height in data coordinates, and label, of each.
    """
    if not lines:
        return
    texts = [
        axes.annotate(
            label, (1, height), xycoords=axes.get_yaxis_transform(), xytext=(14, 0), textcoords="offset points",
            ha="left", va="center", fontsize=_LINE_PT, color="#555555", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "lw": 0.6, "color": "#888888", "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)},
        )
        for height, label in lines
    ]  # fmt: skip
    figure.draw_without_rendering()
    point = figure.dpi / 72
    heights = [axes.transData.transform((1, height))[1] for height, _ in lines]
    inside, half = axes.get_window_extent(), 0.5 * LINE_GAP_PT * point
    moved = spread(heights, 2 * half, inside.y0 + half, inside.y1 - half)
    for text, height, at in zip(texts, heights, moved, strict=True):
        text.set_position((14, (at - height) / point))


def _text_box(text: Any, canvas: Any) -> Bbox:
    from matplotlib.text import Text

    text.update_positions(canvas)
    return Text.get_window_extent(text, canvas)
