"""Tables of chosen columns: which files give them, what they hold, and that LaTeX prints what was meant."""

from __future__ import annotations

import csv

import pytest
from test_latex import rows

from lstm_bench.core.errors import ConfigError
from lstm_bench.report.pages.study import Pages
from lstm_bench.report.selection import select

COMPARISON = """study,measure,score_mean,score_half_width_95,n,n_weights,train_samples_per_s
one,test_accuracy,0.98765,0.00123,5,12345,3482.44
two,test_mse,0.0021,0.0002,3,678,
three,test_accuracy,,,0,9,1.5
"""
PAIRS = "first,second,p_holm\none,three,0.012345\none,two,1.0\n"


@pytest.fixture
def pages() -> Pages:
    return Pages(texts={"comparison.csv": COMPARISON, "pairs.csv": PAIRS, "page.md": "# T\n"})


def test_a_csv_has_the_columns_in_the_order_asked_under_their_names_and_the_numbers_as_recorded(pages: Pages) -> None:
    select([pages], ["n_weights", "study", "score_mean"], ["Weights", "Study", "Accuracy"])
    assert list(pages.requested) == ["csv/comparison.csv"]
    made = list(csv.reader(pages.requested["csv/comparison.csv"].splitlines()))
    assert made == [
        ["Weights", "Study", "Accuracy"], ["12345", "one", "0.98765"], ["678", "two", "0.0021"], ["9", "three", ""],
    ]  # fmt: skip


def test_the_score_is_the_mean_and_interval_that_the_pages_print(pages: Pages) -> None:
    columns, names = ["study", "score", "train_samples_per_s", "n_weights"], ["Study", "a_b, %", "speed", "weights"]
    select([pages], columns, names, as_latex=True)
    text = pages.requested["latex/comparison.tex"]
    assert r"\begin{tabular}{@{}lrrr@{}}" in text
    assert rows(text.replace("--", "none")) == [
        names, ["one", "98.77 ± 0.12", "3,482", "12,345"], ["two", "0.0021 ± 0.0002", "none", "678"],
        ["three", "none", "1.5", "9"],
    ]  # fmt: skip


def test_the_file_that_has_all_columns_gives_the_table_and_studies_choose_its_rows(pages: Pages) -> None:
    select([pages], ["first", "second", "p_holm"], ["A", "B", "p"], studies=["one", "three"], as_latex=True)
    assert pages.requested["csv/pairs.csv"] == "A,B,p\none,three,0.012345\n"
    assert rows(pages.requested["latex/pairs.tex"])[1] == ["one", "three", "0.01235"]


def test_a_column_of_one_folder_alone_is_known(pages: Pages) -> None:
    other = Pages(texts={"comparison.csv": COMPARISON})
    select([other, pages], ["p_holm"], ["p"])
    assert not other.requested and list(pages.requested) == ["csv/pairs.csv"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["study", "p_hol"], "columns: expected columns of comparison.csv, pairs.csv, received 'p_hol'. Did you mean p_holm?"),
        (["study", "p_holm"], "columns: expected columns of one data file, received 'study, p_holm'"),
    ],
)  # fmt: skip
def test_columns_that_no_file_has_are_refused_in_one_line(pages: Pages, columns: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        select([pages], columns, columns)
    assert str(caught.value) == said
    assert not pages.requested


def test_without_any_data_file_a_column_is_refused_too() -> None:
    with pytest.raises(ConfigError, match="a data file, of which there is none"):
        select([Pages(texts={"README.md": "# T\n"})], ["study"], ["study"])
