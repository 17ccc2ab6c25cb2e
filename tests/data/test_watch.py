"""Real recordings of people, cut into windows: nobody, and no window, is on both sides of a split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from wheels import watch

from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import DataError
from lstm_bench.data import warning
from lstm_bench.data.dataset import Dataset, load

SPLITS = ("train", "validation", "test")
TABLE = {"id": "recording", "time": "t", "target": "exercise", "window": 100, "stride": 50, "standardize": False}
INPUTS = ["ax", "ay", "az", "wx", "wy", "wz"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("watch") / "watch.parquet"
    table = watch()
    assert table["recording"].nunique() == 140 and table["subject"].nunique() == 10 and len(table) == 244_102
    table.sample(frac=1, random_state=0).to_parquet(made, index=False)  # in any order
    return made


def loaded(path: Path, **more: Any) -> tuple[Dataset, dict[str, Any]]:
    usual = yaml.safe_load((conf_dir() / "dataset" / "file.yaml").read_text())
    config = {**usual, "path": str(path), **TABLE, "features": INPUTS, **more}
    return load(config), config


def owners(found: Dataset, column: str) -> dict[str, set[Any]]:
    """Of each split, whom its windows belong to: told by their first four timesteps, value for value."""
    table: pd.DataFrame = watch()
    values, names = table[INPUTS].to_numpy(np.float32), table[column].tolist()
    of: dict[bytes, Any] = {}
    for _, rows in table.groupby("recording").indices.items():
        for row in rows[:-3:50]:  # where windows begin
            of[values[row : row + 4].tobytes()] = names[row]
    return {split: {of[x[:4].tobytes()] for x in getattr(found, f"x_{split}")} for split in SPLITS}


def apart(sets: dict[str, set[Any]]) -> bool:
    return sum(map(len, sets.values())) == len(set().union(*sets.values()))


def test_no_subject_is_in_two_splits_whatever_is_drawn(path: Path) -> None:
    for redraw in (None, 1):
        found, _ = loaded(path, group="subject", resplit=True, redraw=redraw)
        assert found.input_shape == (100, 6) and len(found.classes or ()) == 7
        subjects = owners(found, "subject")
        assert apart(subjects) and len(set().union(*subjects.values())) == 10
        assert {*found.y_train} == set(range(7))


def test_windows_that_overlap_stay_on_one_side_of_a_split(path: Path) -> None:
    found, config = loaded(path)
    recordings = owners(found, "recording")
    assert apart(recordings) and len(set().union(*recordings.values())) == 140
    said = warning.warnings(found, config)
    assert any("Say dataset.group=subject" in warning for warning in said)
    assert not any("sequences of test are in train" in warning for warning in said)
    assert any("windows of one recording stay in one split" in note for note in found.notes)


def test_overlap_is_not_divided_at_random(path: Path) -> None:
    with pytest.raises(DataError, match=r"group 0 is in train and in test.*Leave the split to dataset.split=group"):
        loaded(path, split="stratified")
