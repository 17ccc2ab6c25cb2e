"""LaTeX tables, read back by a small parser: what a reader of the PDF sees is what the Markdown says."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from lstm_bench.report.render import latex, markdown

HOSTILE = r"a_b 50% $x$ #1 {c} ~ ^ & \input{x} <i> | [y] *z* -- 'q' \"r\" ``s''"
_BACK = {
    r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textless{}": "<",
    r"\textgreater{}": ">", r"\textbar{}": "|", r"\textquotedbl{}": '"', r"\textasciigrave{}": "`",
    r"\textquotesingle{}": "'", "{[}": "[", "{]}": "]", "{*}": "*", r"$\pm$": "±",
    r"\&": "&", r"\%": "%", r"\$": "$", r"\#": "#", r"\_": "_", r"\{": "{", r"\}": "}", "{}": "",
}  # fmt: skip


def printed(cell: str) -> str:
    """What LaTeX prints for a cell."""
    cell = re.sub(r"\\text(?:tt|superscript)\{((?:[^{}]|\\[{}]|\{[^{}]*\})*)\}", r"\1", cell)
    words = sorted(_BACK, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, words)), lambda found: _BACK[found.group()], cell)


def rows(text: str) -> list[list[str]]:
    """Cells of a `tabular`, as printed."""
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    return [[printed(cell) for cell in re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))] for line in lines]


def made(columns: list[str], cells: list[list[object]], right: tuple[str, ...] = ()) -> str:
    page = f"# Title\n\n## Some numbers\n\n{markdown.markdown(columns, cells, right)}\n"
    return latex.tables({"a/page.md": page})["latex/a/page/some-numbers.tex"]


def test_a_table_has_the_cells_and_the_alignment_of_the_markdown() -> None:
    text = made(["study", "score, %"], [["one", "98.98 ± 0.06"], ["two", "1,234"]], ("score, %",))
    assert r"\begin{tabular}{@{}lr@{}}" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert rows(text) == [["study", "score, %"], ["one", "98.98 ± 0.06"], ["two", "1,234"]]


def test_hostile_text_is_printed_and_never_run() -> None:
    text = made(["a"], [[HOSTILE], [markdown.code("model.units_[x]")]])
    shown = rows(text)
    assert shown[1] == [HOSTILE]
    assert shown[2] == ["model.units_[x]"]
    assert r"\input" not in text.split("\n", 2)[2]
    assert "\\\\\n[" not in text


def test_letters_that_pdflatex_may_lack_become_question_marks() -> None:
    assert latex.escape("中 é") == "? é"


def test_dashes_and_quotation_marks_do_not_run_together() -> None:
    assert latex.escape("a--b") == "a-{}-b"
    assert latex.escape("a-b") == "a-b"


def test_notes_below_a_table_come_along() -> None:
    page = "## T\n\n| a |\n|---|\n| x<sup>1</sup> |\n\n1. Only *one* run: 5 %.\n"
    text = latex.tables({"p.md": page})["latex/p/t.tex"]
    assert r"x\textsuperscript{1} \\" in text
    assert r"{\footnotesize \textsuperscript{1} Only one run: 5 \%.}" in text


def test_several_marks_are_one_superscript() -> None:
    page = "## T\n\n| a |\n|---|\n| x<sup>1, 12</sup> |\n"
    assert r"x\textsuperscript{1, 12} \\" in latex.tables({"p.md": page})["latex/p/t.tex"]


def test_tables_under_one_heading_are_numbered_and_csv_is_left_alone() -> None:
    page = "## T\n\n| a |\n|---|\n| 1 |\n\nText.\n\n| b |\n|---|\n| 2 |\n"
    assert sorted(latex.tables({"p.md": page, "p.csv": "a\n1\n"})) == ["latex/p/t-2.tex", "latex/p/t.tex"]


def test_a_document_with_the_table_compiles(tmp_path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    (tmp_path / "t.tex").write_text(made(["a_b", "c"], [[HOSTILE, "1 ± 2"], ["[x]", "*"]], ("c",)))
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{textcomp,booktabs}\begin{document}\input{t}\end{document}"
    (tmp_path / "main.tex").write_text(head)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
