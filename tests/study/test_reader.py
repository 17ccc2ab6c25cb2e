"""One reader of records: a file is read when it is asked for, and what cannot be read is a note, or a fault of strict ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstm_bench.core.errors import StorageError
from lstm_bench.study.candidates import ends, ranked
from lstm_bench.study.reader import Place, StudyRecord, places

TORN = "number,state,val_accuracy\n1,COMPLETE,0.5\n0,COMPLETE,0.25\n2,FA"


def test_what_cannot_be_read_is_said_or_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("study: [")
    (tmp_path / "trials.csv").write_bytes(b"number\n\xff\n")
    tolerant, strict = StudyRecord(tmp_path), StudyRecord(tmp_path, strict=True)
    assert (tolerant.config, tolerant.environment, tolerant.rows("trials.csv")) == ({}, {}, [])
    assert [note.partition(":")[0] for note in tolerant.notes] == [
        "config.yaml cannot be read",
        "environment.json is missing.",
        "trials.csv cannot be read",
    ]
    with pytest.raises(StorageError, match=r"config\.yaml: cannot be read \(it is no YAML"):
        _ = strict.config
    with pytest.raises(StorageError, match=r"trials\.csv: cannot be read \(it is not UTF-8\)"):
        strict.rows("trials.csv")


def test_a_table_is_read_once_whole_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text(TORN)
    study = StudyRecord(tmp_path)
    table = study.frame("trials")
    (tmp_path / "trials.csv").unlink()
    assert study.frame("trials.csv") is table
    assert table["number"].tolist() == [0, 1]  # as text they are in the file's own order
    assert "trials.csv ends in a torn line, which is left out." in study.notes


def test_records_that_came_otherwise_read_no_file() -> None:
    study = StudyRecord(Path("nowhere"), texts={"trials.csv": TORN[: TORN.rindex("\n") + 1]})
    assert [row["number"] for row in study.rows("trials.csv")] == ["1", "0"]
    assert (study.config, study.rows("history.csv"), study.notes) == ({}, [], [])


def test_rows_as_text_and_as_numbers_rank_and_count_alike() -> None:
    text = [
        {"number": "0", "state": "FAIL", "reason": "worker_died", "retry_of": "", "val_loss": ""},
        {"number": "1", "state": "FAIL", "reason": "worker_died", "retry_of": "0", "val_loss": ""},
        {"number": "10", "state": "COMPLETE", "reason": "", "retry_of": "", "val_loss": "0.5"},
        {"number": "9", "state": "COMPLETE", "reason": "", "retry_of": "", "val_loss": "0.50"},
        {"number": "2", "state": "COMPLETE", "reason": "", "retry_of": "", "val_loss": "inf"},
    ]
    numbers = [
        {key: value if key in ("state", "reason") else float(value) if value else None for key, value in row.items()}
        for row in text
    ]
    for rows in (text, numbers):
        assert [int(float(row["number"])) for row in ranked(rows, "val_loss", maximize=False)] == [9, 10]
        assert ends(rows, 1) == {"complete": 3, "pruned": 0, "failed": 1, "requeued": 1}
        assert ends(rows, 2) == {"complete": 3, "pruned": 0, "failed": 0, "requeued": 2}


def test_a_working_folder_comes_before_a_merged_one_and_those_before_published_ones(tmp_path: Path) -> None:
    for folder in ("published/x/a", "merged/a", "a", "kernels-q", "logs"):
        (tmp_path / folder).mkdir(parents=True)
        if folder != "logs":
            (tmp_path / folder / "config.yaml").touch()
    public = Place(tmp_path / "published" / "x" / "a", "x")
    assert places(tmp_path) == [Place(tmp_path / "a"), Place(tmp_path / "merged" / "a"), public]
    assert places(tmp_path / "published") == [public]
    assert places(tmp_path, benchmarks=True) == [Place(tmp_path / "kernels-q")]
