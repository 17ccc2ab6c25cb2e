"""What the docs say of the code's places is so: folders, files, and names in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
ARCHITECTURE = (ROOT / "docs" / "developers" / "architecture.md").read_text()
THINGS = ("family", "layer", "kernel", "dataset", "format", "task", "metric", "pruner", "figure")


def paths(text: str) -> list[str]:
    """Files and folders of the package, of conf/ and of tests/ that a text names; names that stand for others left out."""
    found = re.findall(r"`((?:lstm_bench|conf|tests)/[\w./-]*)`", text)
    return [path for path in found if "bigru" not in path]


def rows() -> dict[str, str]:
    """What can be added -> its row of the table."""
    table = ARCHITECTURE.partition("## Where do I add what?")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (\w+) (\|.*)\|$", table, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(page: Path) -> None:
    for path in paths(page.read_text()):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("thing", THINGS)
def test_there_is_one_row_for_each_thing_that_can_be_added(thing: str) -> None:
    assert paths(rows()[thing])


def test_names_in_the_table_are_in_the_files_that_it_names() -> None:
    for row in rows().values():
        for name, path in re.findall(r"`(\w+)` (?:in|of) `(lstm_bench/[\w/]+\.py)`", row):
            assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), f"{name} in {path}"


def test_the_folders_of_the_picture_are_those_of_the_package() -> None:
    picture = re.search(r"```text\n(.*?)```", ARCHITECTURE, re.DOTALL)
    assert picture
    shown = set(re.findall(r"\b(\w+)/ ", picture[1]))
    assert shown == {path.parent.name for path in (ROOT / "lstm_bench").glob("*/__init__.py")}


def test_the_contracts_are_of_the_same_folders() -> None:
    table = ARCHITECTURE.partition("## The contracts")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert named == {path.parent.name for path in (ROOT / "lstm_bench").glob("*/__init__.py")}
