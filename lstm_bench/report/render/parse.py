"""The Markdown of the pages, parsed: what LaTeX tables and HTML pages are made of, so that all say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

MARK = re.compile(r"<sup>(\d+(?:, \d+)*)</sup>")  # the one piece of HTML that pages hold: footnotes' marks


@cache
def parser() -> MarkdownIt:
    """CommonMark with tables; HTML in the text is text."""
    from markdown_it import MarkdownIt  # lazily: not for --help

    return MarkdownIt("commonmark", {"html": False}).enable("table")


def parse(text: str) -> Sequence[Token]:
    """A page as a flat list of block tokens."""
    return parser().parse(text)


def pieces(token: Token) -> Iterator[tuple[str, str]]:
    """An inline token as (kind, text): `text`, `code` or `mark` (a footnote's number)."""
    for child in token.children or []:
        if child.type == "code_inline":
            yield "code", child.content
        elif child.type in ("softbreak", "hardbreak"):
            yield "text", " "
        elif child.type == "image":
            yield "text", child.content
        elif child.content:
            for i, part in enumerate(MARK.split(child.content)):
                if part:
                    yield ("mark" if i % 2 else "text"), part


def plain(token: Token) -> str:
    """An inline token's text without markup."""
    return "".join(text for _, text in pieces(token))
