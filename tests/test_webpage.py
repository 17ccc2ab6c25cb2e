"""Pages for a browser: nothing from a network, nothing unescaped, tables that sort, figures that can be interactive."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from test_report import hostile_text, make_study, sums

from lstm_bench.report import command as report
from lstm_bench.report.figures import study
from lstm_bench.report.render import chart, html

CHROMIUM, CHROMEDRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")


class Addresses(HTMLParser):
    """Everything a page shows or links to, and the names of its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [(tag, str(value)) for key, value in attrs if key in ("src", "href")]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def plain(monkeypatch):
    """As where plotly is not installed."""
    monkeypatch.setattr(html, "plotly_installed", lambda: False)


@pytest.fixture
def undrawn(monkeypatch):
    """Draws no figure: what is tested are pages."""
    monkeypatch.setattr(study, "render", lambda made, kind: f"{kind} of {len(made.axes)} axes".encode())


@pytest.fixture
def browser(tmp_path):
    for program in (CHROMIUM, CHROMEDRIVER):
        if not program.exists():
            pytest.fail(f"{program} is missing: apt-get install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-sync",
    ):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(CHROMEDRIVER)))
    yield driver
    driver.quit()


def fetched(driver) -> list[str]:
    """Addresses that the browser asked for."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith(("data:", "blob:", "chrome"))]


def test_pages_hold_only_addresses_of_their_own_folder_that_exist(here, undrawn, plain, capsys):
    make_study(here / "sweeps/published/cpu/single")
    folder = make_study(here / "sweeps/stacked")
    hostile_text(folder)
    assert report.main(["html=true"]) == 0
    assert "pip install 'lstm-bench[html]'" in capsys.readouterr().out
    for site in (here / "reports/html", here / "reports/working/html"):
        pages = sorted(site.rglob("*.html"))
        assert site / "index.html" in pages
        for page in pages:
            inside = Addresses(page.read_text())
            assert set(inside.tags) & {"iframe", "object", "embed", "base", "form"} == set()
            for tag, address in inside.found:
                assert not re.match(r"[a-z]+:|//", address), (page, address)
                if not address.startswith("../../") and "method.md" not in address:
                    assert (page.parent / unquote(address)).is_file(), (page, tag, address)
    text = (here / "reports/working/html/stacked.html").read_text()
    assert "<img>" not in text.replace("&lt;img&gt;", "")
    assert "a|b `c` &lt;img&gt; [x](y)中" in text


def test_pages_say_what_the_markdown_says(here, undrawn, plain):
    make_study(here / "sweeps/single")
    report.main(["html=true"])
    numbers = re.findall(r"\d+\.\d\d ± \d+\.\d\d", (here / "reports/comparison.md").read_text())
    text = (here / "reports/html/comparison.html").read_text()
    assert numbers and all(number in text for number in numbers)
    assert '<a href="single.html">single</a>' in text
    assert '<a href="comparison.csv">' in text
    markdown, page = ((here / f"reports/{name}").read_text() for name in ("single.md", "html/single.html"))
    assert page.count("<tr>") == sum(line.startswith("| ") for line in markdown.splitlines() if "---" not in line)


def test_pages_for_a_browser_change_no_committed_file_and_no_check(here, undrawn, plain):
    make_study(here / "sweeps/single", n_trials=2)
    report.main([])
    before = sums(here / "reports")
    report.main(["html=true"])
    after = sums(here / "reports")
    assert {k: v for k, v in after.items() if not k.startswith("html/")} == before
    (here / "reports/html/single.html").write_text("edited")
    assert report.main(["check=true"]) == 0
    assert report.main(["check=true", "html=true"]) == 0
    assert (here / "reports/html/single.html").read_text() == "edited"


def test_pages_of_studies_that_are_gone_are_removed_and_a_users_page_is_not(here, undrawn, plain):
    for name in ("single", "stacked"):
        make_study(here / "sweeps" / name, n_trials=1)
    report.main(["html=true"])
    (here / "reports/html/mine.html").write_text("<p>mine</p>")
    (here / "sweeps/stacked/trials.csv").unlink()
    for file in (here / "sweeps/stacked").iterdir():
        file.unlink()
    report.main(["html=true"])
    left = {path.name for path in (here / "reports/html").glob("*.html")}
    assert "stacked.html" not in left
    assert {"mine.html", "single.html"} <= left


def test_html_wants_true_or_false(here, capsys):
    assert report.main(["html=yes please"]) == 2
    assert "html: expected true or false" in capsys.readouterr().err


def test_links_lead_to_pages_inside_and_one_folder_further_up_outside():
    page = "[a](b.md) [r](../README.md) [m](../../docs/method.md) [w](https://example.org/x.md) [c](c.csv)"
    text = html.site({"d/p.md": page.encode()}, {})["d/p.html"].decode()
    links = dict(re.findall(r'<a href="([^"]+)">(\w)</a>', text))
    assert links == {
        "b.html": "a",
        "../index.html": "r",
        "../../../docs/method.md": "m",
        "https://example.org/x.md": "w",
        "c.csv": "c",
    }


def test_text_of_a_chart_cannot_end_its_script():
    made = {"data": [{"name": "</script><script>alert(1)</script>"}], "layout": {}}
    files = {"p.md": b"![x](f.svg)", "f.svg": b""}
    page = html._page("p.md", files["p.md"].decode(), {"f": made})
    assert "alert(1)" in page
    assert "<script>alert" not in page


def test_a_chart_holds_the_lines_marks_and_bars_of_the_figure():
    trials = pd.DataFrame(
        {"number": [0.0, 1, 2], "state": ["COMPLETE", "PRUNED", "COMPLETE"], "val_accuracy": [0.9, 0.8, 0.95]}
    )
    made = chart.chart(study.optimisation_history(trials))
    by_name = {trace["name"]: trace for trace in made["data"]}
    assert by_name["complete (2)"]["x"] == [0, 2]
    assert by_name["complete (2)"]["y"] == [90, 95]
    assert by_name["best so far"]["line"]["shape"] == "hv"
    assert made["layout"]["xaxis"]["title"]["text"] == "trial"
    rows = [{"label": "a<b", "device": "cpu", "kernel": "generic", "median": 10.0, "low": 9.0, "high": 11.0}]
    bars = chart.chart(study.throughput(rows))
    assert max(x for x in bars["data"][0]["x"] if x is not None) == pytest.approx(10)
    assert bars["layout"]["yaxis"]["ticktext"] == ["a&lt;b"]
    weights = chart.chart(
        study.accuracy_against_weights([{"label": "s", "n_weights": 1e4, "mean": 0.9, "half_width": 0.01}])
    )
    assert weights["layout"]["xaxis"]["type"] == "log"
    json.dumps([made, bars, weights], allow_nan=False)


def test_a_chart_of_an_image_has_its_values_and_colours():
    made = chart.chart(study.confusion_matrix(pd.DataFrame([[1, 1], [0, 2]])))
    heat = next(trace for trace in made["data"] if trace["type"] == "heatmap")
    assert heat["z"] == [[0.5, 0.5], [0, 1]]
    assert heat["colorscale"][0][1] != heat["colorscale"][-1][1]
    assert [note["text"] for note in made["layout"]["annotations"]] == ["1", "1", "2"]


def test_interactive_figures_are_asked_of_plotly_and_nothing_else(here, undrawn, monkeypatch):
    monkeypatch.setattr(html, "plotly_installed", lambda: True)
    monkeypatch.setattr(html, "_script", lambda interactive: f"interactive {interactive}")
    make_study(here / "sweeps/single", n_trials=3)
    report.main(["html=true"])
    page = (here / "reports/html/single.html").read_text()
    charts = re.findall(r'<script type="application/json" id="chart ([^"]+)">(.*?)</script>', page)
    assert "figures/single-history.svg" in [source for source, _ in charts]
    assert all(json.loads(text)["data"] for _, text in charts)
    assert (here / "reports/html/script.js").read_text() == "interactive True"


@pytest.mark.slow
def test_a_click_sorts_a_table_by_numbers_with_empty_cells_last(here, plain, browser):
    text = "# T\n\n| name | n |\n|---|---:|\n| a | 1,200 |\n| b | \N{EN DASH} |\n| c | 7.5 ± 1 |\n| d | 98 |\n"
    for path, data in html.site({"README.md": text.encode()}, {}).items():
        (here / path).write_bytes(data)
    browser.get((here / "index.html").as_uri())

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
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert all(url.startswith("file://") for url in fetched(browser))


@pytest.mark.slow
def test_with_plotly_figures_are_interactive_without_a_network(here, browser):
    if not html.plotly_installed():
        pytest.skip("plotly is not installed (extra html)")
    make_study(here / "sweeps/single", n_trials=12)
    assert report.main(["html=true"]) == 0
    browser.get((here / "reports/html/single.html").as_uri())
    drawn = "return document.querySelectorAll('.chart .main-svg').length"
    assert browser.execute_script(drawn) >= 4
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert all(url.startswith("file://") for url in fetched(browser))


def test_the_same_figure_gives_the_same_chart():
    trials = pd.DataFrame({"number": np.arange(5.0), "state": "COMPLETE", "val_accuracy": np.linspace(0.5, 0.9, 5)})
    assert chart.chart(study.optimisation_history(trials)) == chart.chart(study.optimisation_history(trials))
