"""`lstm_bench.study.columns`: rows that survive crashes, floats that are stable."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lstm_bench.core import fileio
from lstm_bench.core.errors import StorageError
from lstm_bench.core.fileio import append_rows, read_rows, write_json, write_rows, write_text, write_yaml
from lstm_bench.core.formatting import format_field
from lstm_bench.study import columns

COLUMNS = ("number", "state", "score")
ROWS = [{"number": 0, "state": "COMPLETE", "score": 0.5}, {"number": 1, "state": "FAIL", "score": None, "other": 3}]
TEXT = "number,state,score\n0,COMPLETE,0.5\n1,FAIL,\n"


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (220874, "220874"),
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.3333333333"),
        (1e-5, "1e-05"),
        (123456.789, "123456.789"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        ("1 core of 2, other busy", "1 core of 2, other busy"),
    ],
)
def test_one_field(value, field):
    assert format_field(value) == field


def test_appended_and_rewritten_files_are_equal(tmp_path):
    write_rows(tmp_path / "whole.csv", COLUMNS, ROWS)
    for row in ROWS:
        append_rows(tmp_path / "grown.csv", COLUMNS, [row])
    assert (tmp_path / "whole.csv").read_text() == (tmp_path / "grown.csv").read_text() == TEXT


def test_rows_are_read_back_as_text(tmp_path):
    write_rows(tmp_path / "a.csv", ("number", "text"), [{"number": 1, "text": 'a, "b"\nc é'}])
    assert read_rows(tmp_path / "a.csv") == [{"number": "1", "text": 'a, "b"\nc é'}]
    assert read_rows(tmp_path / "nothing.csv") == []


def test_a_torn_last_line_is_cut_off_and_kept_aside(tmp_path):
    path = tmp_path / "trials.csv"
    path.write_text(TEXT + "2,COMP")
    assert [row["number"] for row in read_rows(path)] == ["0", "1"]
    append_rows(path, COLUMNS, [{"number": 2, "state": "PRUNED", "score": 1}])
    assert path.read_text() == TEXT + "2,PRUNED,1\n"
    assert (tmp_path / "trials.csv.bad-tail").read_text() == "2,COMP\n"


def test_a_torn_header_is_written_again(tmp_path):
    path = tmp_path / "trials.csv"
    path.write_text("number,sta")
    append_rows(path, COLUMNS, ROWS[:1])
    assert [row["number"] for row in read_rows(path)] == ["0"]


def test_an_empty_file_gets_its_header(tmp_path):
    path = tmp_path / "trials.csv"
    path.write_text("")
    append_rows(path, COLUMNS, ROWS)
    assert path.read_text() == TEXT


def test_a_write_that_fails_leaves_the_old_file_and_one_line(tmp_path, monkeypatch):
    path = tmp_path / "trials.csv"
    write_rows(path, COLUMNS, ROWS)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fileio.os, "fsync", full)
    for write in (write_rows, append_rows):
        with pytest.raises(StorageError) as caught:
            write(path, COLUMNS, [])
        assert str(caught.value) == (
            f"{path}: cannot be written (No space left on device). Nothing that was finished is lost: free space or mend"
            " the permissions, then give the same command again."
        )
    assert path.read_text() == TEXT
    assert [entry.name for entry in tmp_path.iterdir()] == ["trials.csv"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (write_rows, append_rows):
        with pytest.raises(StorageError, match=r"file/a\.csv: cannot be written"):
            write(tmp_path / "file" / "a.csv", COLUMNS, ROWS)


def test_json_is_sorted_and_yaml_is_as_given(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": tmp_path})
    assert (tmp_path / "a.json").read_text() == f'{{\n  "a": "{tmp_path}",\n  "b": 1\n}}\n'
    write_yaml(tmp_path / "a.yaml", {"b": None, "a": {"c": [1]}})
    assert (tmp_path / "a.yaml").read_text() == "b: null\na:\n  c:\n  - 1\n"


def test_text_is_written_as_it_is(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "a\nb\r\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"a\nb\r\n"


def test_the_records_of_a_study_are_below_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert columns.study_dir("stacked") == tmp_path / "sweeps" / "stacked"
    assert list(columns.RECORDS) == [
        *("config.yaml", "environment.json", "trials.csv", "replicates.csv", "history.csv"),
        *("kernels.csv", "predictions.csv", "worst.csv", "controls.csv"),
    ]


def test_a_column_that_comes_later_is_added_to_what_was_written_before(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    fileio.append_rows(path, ("number", "epoch"), [{"number": 0, "epoch": 1}])
    rows = [{"number": 1, "epoch": 1, "penalty": 0.5}]
    assert columns.optional(rows) == ("penalty",)
    fileio.append_rows(path, ("number", "epoch", *columns.optional(rows)), rows)
    fileio.append_rows(path, ("number", "epoch"), [{"number": 2, "epoch": 1}])
    assert path.read_text() == "number,epoch,penalty\n0,1,\n1,1,0.5\n2,1,\n"
    assert columns.optional([{"number": 1, "penalty": None}]) == ()
