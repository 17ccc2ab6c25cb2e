"""A figure of the reports as a plotly chart: the lines, marks, bars and images that were drawn, to hover over and zoom.

What is converted is the finished figure, so every figure of every page is covered, and shows what its SVG shows.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_rgba, to_rgba_array
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross", "X": "x",
    "x": "x-thin-open", "|": "line-ns-open", "_": "line-ew-open", ".": "circle",
}  # fmt: skip
_DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}


def chart(figure: Figure) -> dict[str, Any]:
    """Plotly's `data` and `layout` of a figure, as values that JSON holds.

    Args:
      figure: Finished; it is drawn once, so that its layout is known.
    """
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    layout: dict[str, Any] = {
        "height": round(float(height) * 110),
        "margin": {"l": 10, "r": 10, "t": 30, "b": 10},
        "font": {"family": "DejaVu Sans, Verdana, sans-serif", "size": 12},
        "plot_bgcolor": "white",
        "hovermode": "closest",
        "annotations": [],
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02},
    }
    data: list[dict[str, Any]] = []
    for number, axes in enumerate((a for a in figure.axes if a.get_visible()), 1):
        end = "" if number == 1 else str(number)
        layout[f"xaxis{end}"], layout[f"yaxis{end}"] = _axis(axes, "x", end), _axis(axes, "y", end)
        if axes.images and axes.get_aspect() == 1:
            layout[f"yaxis{end}"]["scaleanchor"] = f"x{end}"
        place = {"xaxis": f"x{end}", "yaxis": f"y{end}"}
        data += [{**trace, **place} for trace in _traces(axes)]
        layout["annotations"] += _notes(axes, end)
    return {"data": data, "layout": layout, "width": round(float(width) * 110)}


def _axis(axes: Axes, kind: str, end: str) -> dict[str, Any]:
    box = axes.get_position()
    axis = axes.xaxis if kind == "x" else axes.yaxis
    limits = axes.get_xlim() if kind == "x" else axes.get_ylim()
    log = axis.get_scale() == "log"
    made: dict[str, Any] = {
        "domain": [_number(v) for v in ((box.x0, box.x1) if kind == "x" else (box.y0, box.y1))],
        "anchor": ("y" if kind == "x" else "x") + end,
        "type": "log" if log else "linear",
        "range": [_number(math.log10(v) if log else v) for v in limits],
        "title": {"text": html.escape(axis.get_label_text())},
        "zeroline": False,
        "showgrid": not axes.images,
        "gridcolor": "#E3E3E3",
        "automargin": True,
    }
    if isinstance(axis.get_major_locator(), FixedLocator):
        labels = [label.get_text() for label in axis.get_majorticklabels()]
        made["tickvals"] = [_number(v) for v in axis.get_majorticklocs()]
        made["ticktext"] = [html.escape(label) for label in labels]
    return made


def _traces(axes: Axes) -> Iterator[dict[str, Any]]:
    for image in axes.images:
        values = np.asarray(image.get_array(), dtype=float)
        if values.ndim == 2:
            yield {"type": "heatmap", "z": [[_number(v) for v in row] for row in values], **_shades(image, values),
                   "showscale": False, "name": ""}  # fmt: skip
    for patch in axes.patches:
        if isinstance(patch, Rectangle):
            corners = _data(axes, patch.get_path().vertices, patch.get_transform())
            yield {"type": "scatter", "mode": "lines", "fill": "toself", "fillcolor": _colour(to_rgba(patch.get_facecolor())),
                   **_points(corners), "line": {"width": 0}, **_named(patch)}  # fmt: skip
    for artist in axes.collections:
        if isinstance(artist, PathCollection):
            offsets = _data(axes, artist.get_offsets(), artist.get_offset_transform())
            face = artist.get_facecolor()
            colours = [_colour(c) for c in to_rgba_array(face if len(face) else artist.get_edgecolor())]
            edges = to_rgba_array(artist.get_edgecolor())
            look: dict[str, Any] = {
                "color": colours if len(colours) == len(offsets) else (colours or ["#777777"])[0],
                "size": 7,
            }
            if len(edges):
                look["line"] = {"color": _colour(edges[0]), "width": 1}
            yield {"type": "scatter", "mode": "markers", "marker": look, **_points(offsets), **_named(artist)}
        elif isinstance(artist, LineCollection | PolyCollection):
            transform, filled = artist.get_transform(), isinstance(artist, PolyCollection)
            parts = [_data(axes, path.vertices, transform) for path in artist.get_paths()]
            gap = np.full((1, 2), np.nan)
            points = np.concatenate([row for part in parts for row in (part, gap)]) if parts else np.empty((0, 2))
            shades = to_rgba_array(artist.get_facecolor() if filled else artist.get_edgecolor())
            colour = _colour(shades[0]) if len(shades) else "#777777"
            look = (
                {"fill": "toself", "fillcolor": colour, "line": {"width": 0}}
                if filled
                else {"line": {"color": colour, "width": 1}}
            )
            yield {"type": "scatter", "mode": "lines", **look, **_points(points), **_named(artist)}
    for line in axes.lines:
        marker, style = str(line.get_marker()), str(line.get_linestyle())
        mode = [*(["lines"] if style in _DASHES else []), *(["markers"] if marker in _SYMBOLS else [])]
        if mode:
            colour = _colour(to_rgba(line.get_color(), line.get_alpha()))
            shape = {"steps-post": "hv", "steps-pre": "vh"}.get(line.get_drawstyle(), "linear")
            dash, symbol = _DASHES.get(style, "solid"), _SYMBOLS.get(marker, "circle")
            yield {
                "type": "scatter", "mode": "+".join(mode),
                "line": {"color": colour, "width": float(line.get_linewidth()), "dash": dash, "shape": shape},
                "marker": {"symbol": symbol, "size": float(line.get_markersize()) + 2, "color": colour},
                **_points(_data(axes, line.get_xydata(), line.get_transform())), **_named(line),
            }  # fmt: skip


def _shades(image: Any, values: np.ndarray) -> dict[str, Any]:
    """An image's colours, as its map and norm give them."""
    known = values[np.isfinite(values)]
    low, high = image.norm.vmin, image.norm.vmax
    low, high = (known.min() if low is None else low), (known.max() if high is None else high)
    steps = np.linspace(0, 1, 17)
    colours = image.get_cmap()(image.norm(low + steps * (high - low)))
    scale = [[_number(step), _colour(rgba)] for step, rgba in zip(steps, colours, strict=True)]
    return {"colorscale": scale, "zmin": _number(low), "zmax": _number(high)}


def _notes(axes: Axes, end: str) -> Iterator[dict[str, Any]]:
    """Titles and texts that stand in the axes."""
    if title := axes.get_title(loc="left") or axes.get_title():
        place = {"xref": f"x{end} domain", "yref": f"y{end} domain", "x": 0, "y": 1}
        yield {"text": _said(title), **place, "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    logs = axes.get_xscale() == "log", axes.get_yscale() == "log"
    for text in axes.texts:
        at = getattr(text, "xy", None) or text.get_position()
        point = _data(axes, np.array([at], dtype=float), axes.transData)[0]
        x, y = (math.log10(v) if log else v for v, log in zip(point, logs, strict=True))
        shift = text.get_position() if hasattr(text, "xy") else (0.0, 0.0)
        yield {
            "text": _said(text.get_text()), "xref": f"x{end}", "yref": f"y{end}", "x": _number(x), "y": _number(y),
            "xshift": _number(shift[0]), "yshift": _number(shift[1]), "xanchor": str(text.get_horizontalalignment()),
            "showarrow": False, "font": {"size": 10, "color": _colour(to_rgba(text.get_color()))},
        }  # fmt: skip


def _said(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


def _data(axes: Axes, points: Any, transform: Any) -> np.ndarray:
    """Points in the axes' own units, whatever they were drawn in."""
    rows: np.ndarray = np.ma.filled(np.ma.asarray(points, dtype=float), np.nan).reshape(-1, 2)
    if not len(rows) or transform == axes.transData:
        return rows
    return np.asarray(axes.transData.inverted().transform(transform.transform(rows)))


def _points(rows: np.ndarray) -> dict[str, list[float | None]]:
    return {"x": [_number(v) for v in rows[:, 0]], "y": [_number(v) for v in rows[:, 1]]}


def _number(value: float) -> float | None:
    return float(f"{value:.7g}") if math.isfinite(value) else None


def _named(artist: Any) -> dict[str, Any]:
    label = str(artist.get_label() or "")
    return {"name": "" if label.startswith("_") else html.escape(label), "showlegend": bool(label) and label[0] != "_"}


def _colour(rgba: Sequence[float]) -> str:
    r, g, b, a = (float(v) for v in rgba)
    return f"rgba({round(255 * r)},{round(255 * g)},{round(255 * b)},{a:.3g})"
