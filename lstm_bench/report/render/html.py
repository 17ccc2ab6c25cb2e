"""The pages as HTML for a browser without a network: the same text, tables to sort, figures to hover over and zoom.

Made of the Markdown, so both say the same. Everything a page needs lies beside it in one folder, which can be copied as
a whole: pages, figures, data, and one script. With plotly installed (extra `html`) figures are interactive; without it they
are the SVG files, larger on a click.
"""

from __future__ import annotations

import html
import importlib.util
import json
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_bench.report.render import parse

SCRIPT = "script.js"
MADE_BY = '<meta name="generator" content="lstm_bench.report">'
# Nothing is fetched from anywhere but this folder, whatever a page or the script might ask for.
_POLICY = (
    "default-src 'none'; img-src 'self' file: data: blob:; script-src 'self' file:; style-src 'unsafe-inline'; "
    "connect-src 'none'; form-action 'none'; base-uri 'none'"
)
_STYLE = """\
body { font: 15px/1.5 Verdana, "DejaVu Sans", sans-serif; color: #222; max-width: 84rem; margin: 1.5rem auto; padding: 0 1rem }
h1, h2, h3 { line-height: 1.25 } a { color: #0072B2 } code { font-size: 0.92em; background: #f4f4f4; padding: 0 0.2em }
pre { background: #f4f4f4; padding: 0.7rem; overflow-x: auto } pre code { padding: 0 }
.wide { overflow-x: auto } table { border-collapse: collapse; margin: 0.7rem 0; font-size: 0.92em }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
td[style*=right] { white-space: nowrap }
th button { all: unset; cursor: pointer } th button:focus-visible { outline: 2px solid #0072B2 }
th[aria-sort=ascending] button::after { content: " \\2191" } th[aria-sort=descending] button::after { content: " \\2193" }
img { max-width: 100%; cursor: zoom-in } img.large { max-width: none; width: 160%; cursor: zoom-out }
"""
# Sorts by numbers where a cell begins with one, empty cells last; draws charts where plotly came with the script.
_BEHAVIOUR = r"""
(() => {
  const number = (text) => {
    const found = text.replace(/,/g, "").match(/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/i);
    return found ? parseFloat(found[0]) : NaN;
  };
  const sort = (table, column, sign) => {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row, place) => ({ row, place, text: row.cells[column].textContent.trim() }));
    const numeric = rows.every((r) => r.text === "" || r.text === "\u2013" || !isNaN(number(r.text)));
    const empty = (r) => r.text === "" || r.text === "\u2013";
    rows.sort((a, b) => {
      if (empty(a) !== empty(b)) return empty(a) ? 1 : -1;
      const way = numeric ? number(a.text) - number(b.text) : a.text.localeCompare(b.text, "en");
      return sign * (way || 0) || a.place - b.place;
    });
    rows.forEach((r) => body.append(r.row));
  };
  document.querySelectorAll("table").forEach((table) => {
    const heads = Array.from(table.tHead ? table.tHead.rows[0].cells : []);
    heads.forEach((head, column) => {
      if (!head.textContent.trim() || !table.tBodies.length) return;
      const button = document.createElement("button");
      button.append(...head.childNodes);
      button.title = "sort by this column";
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        sort(table, column, up ? 1 : -1);
      });
    });
  });
  document.querySelectorAll("img").forEach((image) => {
    const source = document.getElementById("chart " + image.getAttribute("src"));
    if (source && window.Plotly) {
      const chart = JSON.parse(source.textContent);
      const place = document.createElement("div");
      place.className = "chart";
      place.style.maxWidth = chart.width + "px";
      place.setAttribute("role", "img");
      place.setAttribute("aria-label", image.alt);
      image.replaceWith(place);
      const options = { responsive: true, displaylogo: false, displayModeBar: "hover", plotlyServerURL: "" };
      Plotly.newPlot(place, chart.data, chart.layout, options);
    } else {
      image.addEventListener("click", () => image.classList.toggle("large"));
    }
  });
})();
"""


def plotly_installed() -> bool:
    """Whether figures can be interactive."""
    return importlib.util.find_spec("plotly") is not None


def site(files: Mapping[str, bytes], charts: Mapping[str, dict[str, Any]]) -> dict[str, bytes]:
    """The folder of pages for a browser.

    Args:
      files: Everything of one folder of reports, path -> contents; the `.md` among them become pages.
      charts: Path of a figure without suffix -> its chart.

    Returns:
      Path below the folder -> contents: pages, the script, and whatever the pages show or link to.
    """
    made = {path: data for path, data in files.items() if not path.endswith((".md", ".tex", ".json"))}
    for path, data in files.items():
        if path.endswith(".md"):
            made[_page_of(path)] = _page(path, data.decode(), charts).encode()
    made[SCRIPT] = _script(bool(charts)).encode()
    return made


def _script(interactive: bool) -> str:
    if not interactive:
        return _BEHAVIOUR
    import plotly

    library = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return library.read_text(encoding="utf-8") + "\n;" + _BEHAVIOUR


def _page_of(path: str) -> str:
    folder, name = posixpath.split(path)
    return posixpath.join(folder, "index.html" if name == "README.md" else name.removesuffix(".md") + ".html")


def _page(path: str, text: str, charts: Mapping[str, dict[str, Any]]) -> str:
    tokens = parse.parse(text)
    title = next((parse.plain(tokens[i + 1]) for i, t in enumerate(tokens) if t.type == "heading_open"), "Reports")
    data = []
    for token in (child for block in tokens for child in block.children or []):
        if token.type == "link_open":
            token.attrSet("href", _target(path, str(token.attrGet("href"))))
        elif token.type == "image":
            source = str(token.attrGet("src"))
            token.attrSet("title", token.content)
            chart = charts.get(_resolved(path, source).removesuffix(".svg"))
            if chart is not None:
                data.append(_embedded(source, chart))
    body = parse.parser().renderer.render(tokens, parse.parser().options, {})
    body = re.sub(r"&lt;sup&gt;(\d+)&lt;/sup&gt;", r"<sup>\1</sup>", body)
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    up = "../" * path.count("/")
    index = "" if path == "README.md" else f'<p><a href="{up}index.html">All reports</a></p>\n'
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{MADE_BY}\n'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{html.escape(title)}</title>\n'
        f"<style>\n{_STYLE}</style>\n</head>\n<body>\n{index}{body}{''.join(data)}"
        f'<script src="{up}{SCRIPT}"></script>\n</body>\n</html>\n'
    )


def _embedded(source: str, chart: Mapping[str, Any]) -> str:
    value = json.dumps(chart, separators=(",", ":"), sort_keys=True).replace("<", "\\u003c")
    return f'<script type="application/json" id="chart {html.escape(source)}">{value}</script>\n'


def _resolved(path: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def _target(path: str, target: str) -> str:
    """Where a link of the page `path` leads to: pages of the folder as HTML, files outside it one folder further up."""
    if re.match(r"[a-z][a-z0-9+.-]*:|//|#|/", target, re.IGNORECASE):
        return target
    if _resolved(path, target).startswith(".."):
        return "../" + target
    return _page_of(target) if target.endswith(".md") else target
