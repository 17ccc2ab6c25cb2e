"""Tables as people have them: written by spreadsheets, sensors and pandas; what can be read is, what cannot is named."""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.data import dataset, user_files
from lstm_bench.data.dataset import Dataset
from lstm_bench.data.formats.source import Source

COLUMNS = ["recording", "t", "ax", "ay", "activity"]


def settings(path: object, **more: Any) -> dict[str, Any]:
    usual = yaml.safe_load((conf_dir() / "dataset" / "file.yaml").read_text())
    return {**usual, "path": str(path), "id": "recording", "time": "t", "target": "activity", **more}


def loaded(path: object, **more: Any) -> Dataset:
    return dataset.load(settings(path, **more))


def refused(path: object, **more: Any) -> str:
    with pytest.raises((ConfigError, DataError)) as caught:
        loaded(path, **more)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 700
    return said


def frame() -> pd.DataFrame:
    rng = np.random.RandomState(0)
    rows = [
        (f"r{i:02d}", t, round(float(rng.rand()), 3), round(float(rng.rand()), 3), "walk" if i % 2 else "run")
        for i in range(24)
        for t in range(5)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


TEXT = frame().to_csv(index=False)
HEADER, BODY = TEXT.split("\n", 1)


@pytest.fixture
def plain(tmp_path: Path) -> Dataset:
    (tmp_path / "plain.csv").write_text(TEXT)
    return loaded(tmp_path / "plain.csv")


# What can be read.


@pytest.mark.parametrize(
    "body",
    [
        TEXT.encode("utf-8-sig"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.replace(",", ", ").encode(),
        (HEADER.replace(",ax,", ", ax ,") + "\n" + BODY).encode(),
        (HEADER + ",\n" + BODY.replace("\n", ",\n")).encode(),  # a comma at the end of each line
        frame().reset_index().rename(columns={"index": ""}).to_csv(index=False).encode(),  # pandas' row numbers
        frame().assign(note='said "hm",\nand more').to_csv(index=False).encode(),
        frame().assign(t=lambda rows: rows["t"].map("00:0{}:30".format)).to_csv(index=False).encode(),
        frame().assign(t=lambda rows: rows["t"].map("{} min".format)).to_csv(index=False).encode(),
        frame().assign(t=lambda rows: rows["t"].map("2024-03-31T0{}:30:00+02:00".format)).to_csv(index=False).encode(),
        # Days of one column are written in one way: taken for months, some of these would come before the others.
        frame().assign(t=lambda rows: (rows["t"] + 11).map("{}.05.2024 10:00".format)).to_csv(index=False).encode(),
        frame().assign(t=lambda rows: (rows["t"] + 11).map("05/{}/2024".format)).to_csv(index=False).encode(),
        frame().assign(t=lambda rows: 1_711_843_200_000_000_000 + rows["t"]).to_csv(index=False).encode(),
        frame().assign(recording=lambda rows: rows["recording"].str[1:]).to_csv(index=False).encode(),
        frame().assign(recording=lambda rows: rows["recording"].str.replace("r0", "0").str.replace("r1", "1"))
        .to_csv(index=False).encode(),  # most ids are numbers
    ],
)  # fmt: skip
def test_what_spreadsheets_and_sensors_write_is_read(tmp_path: Path, plain: Dataset, body: bytes) -> None:
    (tmp_path / "own.csv").write_bytes(body)
    found = loaded(tmp_path / "own.csv")
    assert found.input_shape == (5, 2) and found.classes == ("run", "walk")
    np.testing.assert_array_equal(found.x_train, plain.x_train)
    np.testing.assert_array_equal(found.y_test, plain.y_test)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.assign(activity=rows["activity"].astype("category")),
        lambda rows: rows.assign(activity=rows["activity"].map(str.encode)),
        lambda rows: rows.assign(t=pd.to_timedelta(rows["t"], "s")),
        lambda rows: rows.assign(t=pd.Timestamp("2024-03-31", tz="Europe/Berlin") + pd.to_timedelta(rows["t"], "h")),
        lambda rows: rows.assign(t=[datetime.time(12, value) for value in rows["t"]]),
        lambda rows: rows.assign(t=[datetime.date(2024, 1, 9 + value) for value in rows["t"]]),
        lambda rows: rows.sample(frac=1, random_state=0),  # pandas keeps its row numbers as a column
    ],
)
def test_columns_of_a_parquet_file_are_read_as_what_they_are(
    tmp_path: Path, plain: Dataset, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    change(frame()).to_parquet(tmp_path / "own.parquet")
    found = loaded(tmp_path / "own.parquet")
    assert found.input_shape == (5, 2) and found.classes == ("run", "walk")
    np.testing.assert_array_equal(found.x_train, plain.x_train)


@pytest.mark.parametrize(
    "name", ["a b.csv", "ü=x/ä=ö.csv", "a,1.csv", "a(b)[c]{d}.csv", "it's.csv", "a!b.csv", "$HOME.csv"]
)
def test_a_file_may_have_any_name(tmp_path: Path, plain: Dataset, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(tmp_path / "plain.csv", path)
    assert loaded(path).sha256 == plain.sha256
    (tmp_path / "link.csv").symlink_to(path)
    assert loaded(tmp_path / "link.csv").sha256 == plain.sha256


def test_truth_is_a_number_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    table = frame().assign(on=lambda rows: (rows["t"] % 2 == 0).astype(object), note="n", side=["left", "right"] * 60)
    table.loc[3, "on"] = None
    table.to_csv(tmp_path / "own.csv")
    said = " ".join(loaded(tmp_path / "own.csv").notes)
    assert (
        "no inputs, for they hold no numbers or have no name: column 1, on, note, side (dataset.features=[...]" in said
    )
    found = loaded(tmp_path / "own.csv", features=["ax", "on"], missing="mask", standardize=False)
    assert found.input_shape == (5, 3) and {*np.unique(found.x_train[..., 1])} >= {0.0, 1.0}
    about = {"reading": found.reading, "timesteps": 5, "features": 3}
    frame().assign(on=True).to_csv(tmp_path / "new.csv", index=False)
    new = user_files.read_alike(Source(tmp_path / "new.csv"), about)
    assert new.x.shape == (24, 5, 3) and (new.x[..., 1] == 1).all()


def test_columns_of_the_test_file_may_come_in_another_order(tmp_path: Path) -> None:
    table = frame()
    held = table["recording"] < "r06"
    table[~held].to_csv(tmp_path / "train.csv", index=False)
    table[held][COLUMNS[::-1]].to_csv(tmp_path / "test.csv", index=False)
    found = loaded(tmp_path / "train.csv", test_path=str(tmp_path / "test.csv"))
    np.testing.assert_array_equal(found.x_test[0], table[["ax", "ay"]].to_numpy(np.float32)[:5])
    assert "dataset.test_size: expected null" in refused(
        tmp_path / "train.csv", test_path=str(tmp_path / "test.csv"), test_size=5
    )
    table[held].drop(columns="ay").to_csv(tmp_path / "test.csv", index=False)
    assert "has no column 'ay'" in refused(tmp_path / "train.csv", test_path=str(tmp_path / "test.csv"))


# What is refused, and how it is mended.


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (BODY.replace(",", '","').replace("\n", '"\n').replace("r", '"r').replace('""', '"').replace("0.", "0,"), ""),
        ("\n\n" + TEXT, "row 1 is empty: expected names of the columns"),
        ("# a\n# b, c\n" + TEXT, "row 1 is a remark: expected names of the columns, received '# a'. Take it out: tail -n +3"),
        ("sep=,\n" + TEXT, "row 1 is a remark"),
        ("Export of May\n" + TEXT, "row 2: expected 1 field, received '5 fields'. If row 1 is a title"),
        (HEADER + "\n-,s,m/s2,g,-\n" + BODY, "row 2, column t: expected a number, received 's'"),
        (TEXT.replace("r03,1,", "r03,,"), "row 18, column t: expected a number or a time stamp, received 'nothing'"),
        (TEXT.replace("r03,1", '"r03,1'), "row 18: expected quotation marks in pairs"),
        (HEADER.replace("ay", " ax") + "\n" + BODY, "two columns have one name: received 'ax'"),
        (frame().assign(ax="1,5").to_csv(index=False), "row 2, column ax: expected a number, received '1,5'. Commas in numbers: "
         "read it by pandas.read_csv(OLD), with decimal=','"),
        (frame().assign(ax="0,125").to_csv(index=False), "with decimal=','"),
        (frame().assign(ax="1,234.5").to_csv(index=False), "with thousands=','"),
        (frame().assign(ax="1,234").to_csv(index=False), "with decimal=',' or thousands=',', whichever it is"),
        (frame().assign(t=lambda rows: (rows["t"] + 1).map("0{}/02/2024".format)).to_csv(index=False),
         "column t: whether the day or the month comes first cannot be told"),
        (frame().assign(t=["2024-01-01 00:00", *["2024-01-01 00:00Z"] * 4] * 24).to_csv(index=False),
         "column t: expected time stamps with a time zone, or all without"),
        (frame().assign(activity=["fall"] * 10 + ["run", "walk"] * 55).to_csv(index=False).replace("run", "walk"),
         "1 class with too few sequences to be in each split: expected at least 3 sequences of a class, received 'fall 2'"),
        (HEADER + "\nr1,0,1,1,walk\n", "dataset.test_size: 1 sequence: expected at least 3, one for each split"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_the_way_to_mend_it(tmp_path: Path, body: str, said: str) -> None:
    (tmp_path / "own.csv").write_text(body)
    assert said in refused(tmp_path / "own.csv")


@pytest.mark.parametrize(
    ("begins", "said"),
    [
        (b"\x1f\x8b\x08\x00", "packed by gzip"),
        (b"PK\x03\x04", "a zip archive or a spreadsheet"),
        (b"\xd0\xcf\x11\xe0", "a spreadsheet"),
        (b"PAR1", "a parquet file"),
        (b"\x93NUMPY", "a NumPy array"),
    ],
)
def test_a_file_of_another_kind_under_this_suffix_is_named(tmp_path: Path, begins: bytes, said: str) -> None:
    (tmp_path / "own.csv").write_bytes(begins + b"\x00\x01" * 200)
    assert f"it is {said}" in refused(tmp_path / "own.csv")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "own.csv")
    for path in (tmp_path / "own.csv", "/dev/null"):
        assert "a pipe or a device: expected a file. It is read more than once: save it." in refused(path)


def test_a_number_that_float32_cannot_hold_is_shown_where_it_is(tmp_path: Path) -> None:
    table = frame()
    table.loc[7, "ax"] = 1e300
    table.to_parquet(tmp_path / "own.parquet")
    table.to_csv(tmp_path / "own.csv", index=False)
    for name in ("own.csv", "own.parquet"):
        assert "row 9, column ax: expected a finite float32 number" in refused(tmp_path / name)
