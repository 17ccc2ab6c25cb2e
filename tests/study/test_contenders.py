"""`lstm_bench.study.contenders`: what one study's rows come to, in the words of a recommendation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lstm_bench.core import fileio
from lstm_bench.data.task import CLASSIFICATION
from lstm_bench.study import contenders, diagnostics, leak_rows
from lstm_bench.study.recommendation import Recommendation

CONFIG = {"model": {"_target_": "lstm_bench.model.gru"}, "study": {"objective": "val_balanced_accuracy"}}
FACTS = {"sha256": "abc", "n_validation": 1000}


def row(seed: int, **more: Any) -> dict[str, Any]:
    scores = {"val_accuracy": 0.5, "val_balanced_accuracy": 0.9 + seed / 100, "test_accuracy": 0.8}
    speed = {"train_samples_per_s": 1234.0, "device_share": "exclusive", "n_weights": 10, "epoch_s": 2.0}
    return {"state": "COMPLETE", "seed": seed, "kernel_ran": "generic", **scores, **speed, **more}


def taken(folder: Path, rows: list[dict[str, Any]], controls: list[dict[str, Any]] | None = None) -> Recommendation:
    counts = {"complete": 3, "pruned": 4, "failed": 5}
    found = contenders.recommended(
        "mine",
        folder / "mine",
        CONFIG,
        FACTS,
        CLASSIFICATION,
        rows=rows,
        controls=controls or [],
        counts=counts,
        health=["Few steps.", diagnostics.SOUND],
    )
    assert found is not None
    return found


def test_a_study_is_decided_by_its_objective_and_named_with_its_family(tmp_path: Path) -> None:
    found = taken(tmp_path, [row(0), row(1)])
    assert found.lines[0].startswith("Take mine (gru): validation balanced accuracy 90.50 % (")
    assert found.rest[0] == "Few steps." and diagnostics.SOUND not in found.rest
    assert found.rest[-1].startswith("Tried: 1 network by 7 configurations, 0 controls")


@pytest.mark.parametrize("share", ["shared by 2", "packed 3"])
def test_a_speed_that_compares_with_nothing_is_not_said(tmp_path: Path, share: str) -> None:
    assert "1,234 samples/s" in taken(tmp_path, [row(0), row(1)]).lines[-1]
    assert "speed not comparable" in taken(tmp_path, [row(0), row(1, device_share=share)]).lines[-1]


def test_alarms_of_the_leak_meter_about_these_data_are_doubts(tmp_path: Path) -> None:
    said = [("abc", 1, "Copies."), ("abc", 0, "Clean."), ("other", 1, "Not ours.")]
    rows = [dict.fromkeys(leak_rows.COLUMNS, "") | {"sha256": s, "alarm": a, "says": t} for s, a, t in said]
    fileio.write_rows(tmp_path / leak_rows.FILE, leak_rows.COLUMNS, rows)
    found = taken(tmp_path, [row(0), row(1)])
    assert "Copies." in found.rest and not {"Clean.", "Not ours."} & {*found.rest}


def test_controls_are_read_by_the_same_metric(tmp_path: Path) -> None:
    control = {"control": "trivial", "seed": 0, "state": "COMPLETE", "val_balanced_accuracy": 0.5, "test_accuracy": 0.5}
    found = taken(tmp_path, [row(0), row(1)], [control])
    assert "beats 1 control: the best of them is most frequent class or mean, 50.00 %" in found.lines[1]


def test_nothing_confirmed_and_nothing_fitted_is_nothing() -> None:
    given = {"rows": [], "controls": [], "counts": {"complete": 0, "pruned": 0}, "health": []}
    assert contenders.recommended("mine", Path("mine"), CONFIG, FACTS, CLASSIFICATION, **given) is None
