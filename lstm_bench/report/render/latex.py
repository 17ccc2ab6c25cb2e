"""Tables of the Markdown pages as LaTeX (`booktabs`), one file per table, ready for \\input."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lstm_bench.report.render import parse
from lstm_bench.report.render.markdown import NONE

if TYPE_CHECKING:
    from markdown_it.token import Token

_ESCAPED = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # after \\\\ they would be its arguments
    "\N{PLUS-MINUS SIGN}": r"$\pm$", "\N{MULTIPLICATION SIGN}": r"$\times$", "\N{EN DASH}": "--", "\N{EM DASH}": "---",
    "\N{GREEK SMALL LETTER MU}": r"$\mu$", "\N{MICRO SIGN}": r"$\mu$",
}  # fmt: skip
_NUMBER = re.compile(rf"[-+]?\.?\d|{NONE}$")
_HEAD = """\
% Made by `python -m lstm_bench.report` from {page}; do not edit.
% Needs \\usepackage{{booktabs}}, and \\usepackage[T1]{{fontenc}} and {{textcomp}} with pdfLaTeX. Use: \\input{{{name}}}
"""


def escape(text: str) -> str:
    """Plain text as LaTeX that prints it. Letters beyond Latin-1, which pdfLaTeX may lack, become `?`."""
    made = []
    for c, after in zip(text, text[1:] + " ", strict=True):
        made.append(_ESCAPED.get(c) or (c if c.isprintable() and ord(c) < 256 else "?"))
        if c in "-<>?!`'," and after in "-<>?!`',":
            made.append("{}")  # two of them would run into a dash, a quotation mark or another sign
    return "".join(made)


def tables(texts: Mapping[str, str]) -> dict[str, str]:
    """Every table of the Markdown pages among `texts`.

    Args:
      texts: Path below the reports -> contents.

    Returns:
      `latex/<page>/<heading>.tex` -> a `tabular`, numbered where several stand under one heading; the notes that follow
      a table stand below it.
    """
    made: dict[str, str] = {}
    for path in sorted(p for p in texts if p.endswith(".md")):
        for heading, head, rows, right, notes in _found(parse.parse(texts[path])):
            stem = f"latex/{path.removesuffix('.md')}/{_slug(heading)}"
            name, number = f"{stem}.tex", 2
            while name in made:
                name, number = f"{stem}-{number}.tex", number + 1
            made[name] = _HEAD.format(page=path, name=name) + _tabular(head, rows, right, notes)
    return made


def table_of(source: str, name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """One table of plain text; columns of numbers alone stand to the right.

    Args:
      source: What it is made from, for its first line.
      name: Its own path.
      columns: Headings.
      rows: Cells.
    """
    right = [bool(rows) and all(_NUMBER.match(row[k]) for row in rows) for k in range(len(columns))]
    head, *cells = ([escape(text) for text in row] for row in (columns, *rows))
    return _HEAD.format(page=source, name=name) + _tabular(head, cells, right, [])


def _tabular(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], notes: Sequence[str]) -> str:
    lines = [
        f"\\begin{{tabular}}{{@{{}}{''.join('r' if r else 'l' for r in right)}@{{}}}}",
        r"\toprule",
        *([" & ".join(head) + r" \\", r"\midrule"] if any(head) else []),
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(f"\\par\\smallskip{{\\footnotesize {note}}}" for note in notes),
    ]
    return "\n".join(lines) + "\n"


def _found(
    tokens: Sequence[Token],
) -> Iterator[tuple[str, list[str], list[list[str]], list[bool], list[str]]]:
    """Heading, head, rows, right-aligned columns and notes of each table."""
    heading, i = "table", 0
    while i < len(tokens):
        if tokens[i].type == "heading_open":
            heading = parse.plain(tokens[i + 1])
        if tokens[i].type != "table_open":
            i += 1
            continue
        rows: list[list[str]] = []
        right: list[bool] = []
        while tokens[i].type != "table_close":
            kind = tokens[i].type
            if kind == "tr_open":
                rows.append([])
            elif kind == "th_open":
                right.append("right" in str(tokens[i].attrGet("style") or ""))
            elif kind == "inline":
                rows[-1].append(_inline(tokens[i]))
            i += 1
        yield heading, rows[0], rows[1:], right, list(_notes(tokens, i + 1))


def _notes(tokens: Sequence[Token], i: int) -> Iterator[str]:
    """Items of the numbered list that begins at `i`, if one does."""
    if i >= len(tokens) or tokens[i].type != "ordered_list_open":
        return
    number = 0
    while tokens[i].type != "ordered_list_close":
        if tokens[i].type == "inline":
            number += 1
            yield f"\\textsuperscript{{{number}}} {_inline(tokens[i])}"
        i += 1


def _inline(token: Token) -> str:
    """Text with code and footnote marks; of links and emphasis the text alone."""
    made = []
    for kind, text in parse.pieces(token):
        words = escape(text)
        made.append({"code": f"\\texttt{{{words}}}", "mark": f"\\textsuperscript{{{words}}}"}.get(kind, words))
    return "".join(made)


def _slug(heading: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
    return words[:60].rstrip("-") or "table"
