"""The page for a browser: nothing beside it, nothing from a network, nothing unescaped, tables that sort, figures inside."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser

import chromium
import pandas as pd
import pytest
from test_report import hostile_text, make_study, sums

from lstm_bench.report import command as report
from lstm_bench.report.figures import study, style
from lstm_bench.report.render import html


class Addresses(HTMLParser):
    """Everything a page shows or links to, the names of its elements, and their ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [(tag, str(value)) for key, value in attrs if key in ("src", "href", "xlink:href")]
        self.ids += [str(value) for key, value in attrs if key == "id"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def undrawn(monkeypatch):
    """Draws no figure: what is tested are pages."""
    monkeypatch.setattr(style, "render", lambda made, kind: f"{kind} of {len(made.axes)} axes".encode())


@pytest.fixture
def browser(tmp_path):
    driver = chromium.start(tmp_path / "profile")
    yield driver
    driver.quit()


def fetched(driver) -> list[str]:
    """Addresses that the browser asked for."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith(("data:", "blob:", "chrome"))]


def test_a_page_needs_nothing_beside_it(here):
    make_study(here / "sweeps/published/cpu/single")
    hostile_text(make_study(here / "sweeps/stacked"))
    assert report.main(["html=true", "figures=all"]) == 0
    for folder in (here / "reports", here / "reports/working"):
        text = (folder / "report.html").read_text()
        inside = Addresses(text)
        assert set(inside.tags) & {"iframe", "object", "embed", "base", "form", "link", "img"} == set()
        assert inside.tags.count("script") == 1
        assert len(inside.ids) == len(set(inside.ids)), "one element of each name"
        assert inside.tags.count("svg") == len(list((folder / "figures").rglob("*.svg"))) >= 6
        for tag, address in inside.found:
            if address.startswith("#"):
                assert address[1:] in inside.ids, address
            else:
                assert re.match(r"data:(text/csv|image/png);base64,|\.\./", address), (tag, address[:60])
        names = set(re.findall(r"url\(#([^)]+)\)", text))
        assert names and names <= set(inside.ids)
    assert "<img>" not in text.replace("&lt;img&gt;", "")
    assert "a|b `c` &lt;img&gt; [x](y)中" in text


def test_a_page_says_what_the_markdown_says(here, undrawn):
    make_study(here / "sweeps/single")
    report.main(["html=true"])
    text = (here / "reports/report.html").read_text()
    pages = [path.read_text() for path in (here / "reports").glob("*.md")]
    numbers = re.findall(r"\d+\.\d\d ± \d+\.\d\d", "".join(pages))
    assert numbers and all(number in text for number in numbers)
    assert '<a href="#page/single">single</a>' in text
    lines = [line for page in pages for line in page.splitlines() if line.startswith("| ") and "---" not in line]
    assert text.count("<tr>") == len(lines)
    data = re.search(r'href="data:text/csv;base64,([^"]+)" download="comparison.csv"', text)
    assert data and base64.b64decode(data.group(1)) == (here / "reports/comparison.csv").read_bytes()


def test_the_page_changes_no_committed_file_and_no_check(here, undrawn):
    make_study(here / "sweeps/single", n_trials=2)
    report.main([])
    before = sums(here / "reports")
    report.main(["html=true"])
    after = sums(here / "reports")
    assert {path: digest for path, digest in after.items() if path != html.PAGE} == before
    (here / "reports/report.html").write_text("edited")
    assert report.main(["check=true"]) == 0
    assert report.main(["check=true", "html=true"]) == 0
    assert (here / "reports/report.html").read_text() == "edited"


def test_html_wants_true_or_false(here, capsys):
    assert report.main(["html=yes please"]) == 2
    assert "html: expected true or false" in capsys.readouterr().err


def test_links_lead_to_chapters_inside_and_to_files_outside():
    page = (
        "# P\n\n[a](b.md) [r](../README.md) [m](../../METHOD.md) [w](https://example.org/x.md) [c](c.csv) [g](gone.md)"
    )
    files = {"d/p.md": page.encode(), "d/b.md": b"# B\n", "README.md": b"# R\n", "d/c.csv": b"x\n"}
    links = dict(re.findall(r'<a href="([^"]+)"(?: download="c.csv")?>(\w)</a>', html.page(files).decode()))
    assert links == {
        "#page/d/b": "a", "#page/README": "r", "../METHOD.md": "m", "https://example.org/x.md": "w",
        "data:text/csv;base64,eAo=": "c", "d/gone.md": "g",
    }  # fmt: skip


def test_marks_of_notes_are_raised_and_other_html_is_text():
    text = html.page({"p.md": b"# P\n\na<sup>1</sup> b<sup>1, 12</sup> c<sup>x</sup>\n"}).decode()
    assert "a<sup>1</sup> b<sup>1, 12</sup> c&lt;sup&gt;x&lt;/sup&gt;" in text


def test_titles_and_captions_cannot_end_their_place():
    files = {
        "p.md": b'# a</title><script>x\n\n!["><script>y](f.svg)\n',
        "f.svg": b'<?xml?><svg id="a"><g id="b"/></svg>',
    }
    text = html.page(files).decode()
    assert text.count("<script>") == 1
    assert "a&lt;/title&gt;&lt;script&gt;x" in text
    assert 'aria-label="&quot;&gt;&lt;script&gt;y"' in text


def test_studies_are_folded_and_the_pages_across_them_are_listed(here, undrawn):
    make_study(here / "sweeps/single", n_trials=1)
    report.main(["html=true"])
    text = (here / "reports/report.html").read_text()
    listed = re.findall(r'<a href="#page/(\w+)">', text[text.index("<nav") : text.index("</nav>")])
    assert listed == ["README", "comparison", "claims", "literature"]
    assert re.findall(r"<details( open)?>\s*<summary>([^<]+)</summary>", text) == [
        (" open", "Comparison of families"), ("", "Tutorial claims beside measurements"),
        ("", "Published scores beside ours"), ("", "single"),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_browser_sorts_unfolds_and_fits_the_page_into_a_narrow_window(here, browser):
    text = "# T\n\n| name | n |\n|---|---:|\n| a | 1,200 |\n| b | \N{EN DASH} |\n| c | 7.5 ± 1 |\n| d | 98 |\n\n[s](d/s.md)\n"
    wide = (
        "# S\n\n| " + " | ".join("a long heading" for _ in range(12)) + " |\n|" + "---|" * 12 + "\n\n![x](../f.svg)\n"
    )
    trials = pd.DataFrame({"number": [0.0, 1], "state": "COMPLETE", "val_accuracy": [0.9, 0.95]})
    svg = style.render(study.optimisation_history(trials), "svg")
    files = {"README.md": text.encode(), "d/s.md": wide.encode(), "f.svg": svg}
    (here / "report.html").write_bytes(html.page(files))
    browser.set_window_size(400, 900)
    browser.get((here / "report.html").as_uri())

    def names() -> str:
        return browser.execute_script(
            "return Array.from(document.querySelectorAll('tbody tr td:first-child'), c => c.textContent).join('')"
        )

    head = "document.querySelectorAll('th button')[arguments[0]].click()"
    assert names() == "abcd"
    browser.execute_script(head, 1)
    assert names() == "cdab"
    browser.execute_script(head, 1)
    assert names() == "adcb"
    browser.execute_script(head, 0)
    assert names() == "abcd"
    shown = "return document.querySelector('details').open"
    assert not browser.execute_script(shown)
    browser.execute_script("document.querySelector('main section a').click()")
    browser.execute_async_script("setTimeout(arguments[0], 100)")
    assert browser.execute_script(shown)
    assert browser.execute_script("return document.querySelector('svg').getBoundingClientRect().width") >= 400
    excess = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(excess) == 0
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert all(url.startswith("file://") for url in fetched(browser))
