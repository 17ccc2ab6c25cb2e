"""All pages of a folder of reports as one HTML page: nothing beside it, nothing from a network.

Made of the Markdown, so both say the same. Figures stand in it as SVG, data files as links that save them; tables sort by
a click; light or dark is as the reader's system has it. The template, with its style and script, is `page.html.j2`.
"""

from __future__ import annotations

import base64
import posixpath
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lstm_bench.report.render import parse

if TYPE_CHECKING:
    from markdown_it.token import Token

PAGE = "report.html"
_FIRST = ("README.md", "comparison.md")  # open from the start
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//|#|/", re.IGNORECASE)


class Chapter(NamedTuple):
    """One Markdown page as the template has it.

    Attributes:
      anchor: What a link to it names.
      title: Its first heading.
      body: The rest, as HTML.
      top: Whether it is listed at the top: pages of studies are not, the tables lead to them.
      open: Whether it is unfolded.
    """

    anchor: str
    title: str
    body: str
    top: bool
    open: bool


def page(files: Mapping[str, bytes]) -> bytes:
    """The one page.

    Args:
      files: Everything of one folder of reports, path -> contents; the `.md` among them become chapters.
    """
    import jinja2  # lazily: not for --help

    texts = {path: data.decode() for path, data in files.items() if path.endswith(".md")}
    order = sorted(texts, key=lambda path: (path not in _FIRST, "/" in path, path != "README.md", path))
    chapters = [_chapter(path, texts[path], files) for path in order]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8"))
    return (template.render(chapters=chapters) + "\n").encode()


def _chapter(path: str, text: str, files: Mapping[str, bytes]) -> Chapter:
    tokens = list(parse.parse(text))
    title = path
    if tokens and tokens[0].type == "heading_open":
        title, tokens = parse.plain(tokens[1]), tokens[3:]
    for number, token in enumerate(child for block in tokens for child in block.children or []):
        if token.type == "link_open":
            _link(token, path, files)
        elif token.type == "image":
            _inline(token, path, files, f"{_anchor(path)}-{number}-")
    body = parse.parser().renderer.render(tokens, parse.parser().options, {})
    body = re.sub(r"&lt;sup&gt;(\d+(?:, \d+)*)&lt;/sup&gt;", r"<sup>\1</sup>", body)
    body = body.replace("<table>", '<div class="wide" tabindex="0"><table>').replace("</table>", "</table></div>")
    return Chapter(_anchor(path), title, body, "/" not in path and path not in _study_pages(files), path in _FIRST)


def _study_pages(files: Mapping[str, bytes]) -> set[str]:
    """Pages of studies, which lie in the folder itself where nothing is published."""
    return {path for path, data in files.items() if path.endswith(".md") and b"\n## What was run\n" in data}


def _anchor(path: str) -> str:
    return "page/" + path.removesuffix(".md")


def _resolved(path: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def _link(token: Token, path: str, files: Mapping[str, bytes]) -> None:
    """Leads to the chapter, saves the data file, or goes from this page's folder to what lies outside."""
    target = str(token.attrGet("href"))
    if _ELSEWHERE.match(target):
        return
    place = _resolved(path, target)
    if place.endswith(".md") and place in files:
        token.attrSet("href", "#" + _anchor(place))
    elif place in files:
        token.attrSet("href", f"data:text/csv;base64,{base64.b64encode(files[place]).decode()}")
        token.attrSet("download", posixpath.basename(place))
    else:
        token.attrSet("href", place)


def _inline(token: Token, path: str, files: Mapping[str, bytes], prefix: str) -> None:
    """Makes an image the SVG itself."""
    drawn = files.get(_resolved(path, str(token.attrGet("src"))), b"").decode()
    token.type, token.content = "html_inline", _svg(drawn, token.content, prefix)


def _svg(drawn: str, caption: str, prefix: str) -> str:
    """An SVG file as an element of a page: its names made the page's own, its style left to the page's."""
    start = drawn.find("<svg")
    if start < 0:
        return f"<span>{escape(drawn or caption)}</span>"
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", drawn[start:], count=1, flags=re.DOTALL)
    text = re.sub(r'(?<= id=")(?=[^"]+")', prefix, text)
    text = re.sub(r'(?<=url\(#)|(?<=href="#)', prefix, text)
    return f'<span class="figure" tabindex="0"><svg role="img" aria-label="{escape(caption)}"{text.strip()[4:]}</span>'
