"""Predicted kernels: what programs built for a GPU say, of small networks and of users' own, and of other versions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lstm_bench.core import fileio, hardware
from lstm_bench.core.configuration import conf_dir
from lstm_bench.cuda import prediction, table
from lstm_bench.cuda.options import CELLS, KEPT, OPERATIONS
from lstm_bench.report.pages import predicted as page
from lstm_bench.study import columns

BACKENDS = ("tensorflow", "jax", "torch")
SUPPORT = Path(__file__).parents[1] / "support"
LOOPS = {"tensorflow": "loop", "jax": "scan", "torch": "loop"}


def steps(backend: str, *asked: str) -> Any:
    """What `support/prediction_steps.py` says, in a process of its own."""
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(SUPPORT / "prediction_steps.py"), backend, *asked]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long  # CI: the table as it stands, below; what it says is derived anew in `long` alone
@pytest.mark.parametrize("backend", sorted(LOOPS))
def test_a_few_cells_and_a_user_s_own_families_are_said_right(backend: str) -> None:
    pytest.importorskip(backend)
    said = steps(backend, "few")
    loop = LOOPS[backend]
    masked = "cudnn" if backend == "tensorflow" else loop
    assert said["lstm/plain"][:2] == ["cudnn", "cudnn"]
    assert said["lstm/mask"][:2] == [masked, masked]
    assert said[f"lstm/{KEPT}"][:2] == ["cudnn", "cudnn"]
    assert said["lstm/recurrent_dropout=0.2"][:2] == [loop, loop]
    assert said["gru/plain"][0] == (loop if backend == "jax" else "cudnn")
    # A user's own: no bias, a GRU that resets before the product, a layer called for each window, a mask dropped and kept.
    assert said["no_bias"][0] == loop
    assert said["reset_before"][0] == loop
    assert said["inside"][0] == "cudnn"
    assert said["dropped"][0] == "cudnn"
    assert said["kept"][0] == masked
    assert said["mapped"][0] in ("cannot say", loop)
    shown = {"jax": "@cudnn_rnn_ffi at jit(train_step)", "tensorflow": "CudnnRNNV3 ", "torch": "rule: "}
    assert shown[backend] in said["lstm/plain"][2]
    assert ("Assert" in said["lstm/mask"][2]) == (backend == "tensorflow")
    # Other versions: one line each, and no answer.
    assert all(line.startswith("predict=cuda: ") and "\n" not in line for line in said["changed"].values())
    assert all(name in line for name, line in said["changed"].items())


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_cell_is_what_the_table_says(backend: str) -> None:
    pytest.importorskip(backend)
    faults: list[str] = []
    made = prediction.cells(backend, faults.append)
    assert not faults
    told_of = [row for row in table.rows() if row["backend"] == backend]
    known = {(row["layer"], row["option"], row["operation"]): row for row in told_of}
    if table.version(backend) != (told_of[0]["keras"], told_of[0]["version"]):
        pytest.skip("the table is of other versions")
    for row in made:
        told = known[row["layer"], row["option"], row["operation"]]
        assert [str(row[name]) for name in ("predicted", "layers", "cudnn_layers")] == [
            told[name] for name in ("predicted", "layers", "cudnn_layers")
        ], (row, told)


@pytest.mark.gpu
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_predicted_is_what_a_gpu_runs(backend: str) -> None:
    """A cell that is wrong here is to be withdrawn: `cannot say`, in `verdict.py` or `torch_rules.py`."""
    if not hardware.gpus():
        pytest.skip("no GPU: predictions were not compared with what runs")
    pytest.importorskip(backend)
    said = steps(backend, "run")
    for cell, (ran, evidence) in said.items():
        layer, option = cell.split("/")
        [row] = [
            r
            for r in table.rows()
            if (r["backend"], r["layer"], r["option"], r["operation"]) == (backend, layer, option, "training")
        ]
        if row["predicted"] != "cannot say":
            assert (ran == "cudnn") == (row["predicted"] == "cudnn"), (cell, ran, evidence, row)


def test_the_table_has_every_cell_and_its_published_copy_is_the_same() -> None:
    cells = {(r["backend"], r["layer"], r["option"], r["operation"]) for r in table.rows()}
    wanted = {(b, layer, o, op) for b in BACKENDS for layer, os_ in CELLS.items() for o in os_ for op in OPERATIONS}
    wanted |= {(b, "family", name, op) for b in BACKENDS for name in prediction.families() for op in OPERATIONS}
    assert cells == wanted
    assert len(wanted) // 2 >= 60
    assert set(table.rows()[0]) == set(columns.PREDICTED_COLUMNS)
    published = conf_dir().parent / "sweeps/published/kernels-predicted/predicted.csv"
    if published.is_file():
        assert published.read_bytes() == (conf_dir() / table.FILE).read_bytes()
    for row in table.rows():
        assert row["reason"] if row["predicted"] == "cannot say" else row["evidence"]
        assert (row["by"] == "program") == (row["backend"] != "torch")


def test_layers_of_ours_keep_cudnn_where_keras_loops() -> None:
    told = {(row["backend"], row["layer"], row["option"]): row["predicted"] for row in table.rows()}
    lost = {key[:2] for key, kernel in told.items() if key[2] == "mask" and kernel in ("loop", "scan")}
    assert lost == {("jax", "lstm"), ("jax", "gru"), ("torch", "lstm"), ("torch", "gru")}
    assert {one for one in lost if told[*one, KEPT] == "cudnn"} == lost - {("jax", "gru")}


def study(family: str, backend: str, **more: Any) -> dict[str, Any]:
    return {
        "model": {"_target_": f"lstm_bench.model.{family}", **more},
        "kernel": {"name": "auto"},
        "backend": {"name": backend},
        "study": {"space": {}},
        "dataset": {"name": "mnist"},
    }


def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {row["backend"]: (row["keras"], row["version"]) for row in table.rows()}
    monkeypatch.setattr(table, "version", lambda backend: known[backend])


def test_words_of_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    assert table.of_study(study("stacked", "jax")) == "on an NVIDIA GPU: cuDNN for 2 of 2 layers, by table"
    assert "3 of 3 layers" in table.of_study(study("stacked", "jax", layers=3))
    assert "1 of 1 layer," in table.of_study(study("single", "torch"))
    assert table.of_study(study("gru", "jax")) == "on an NVIDIA GPU: no cuDNN (scan), by table"
    several = study("stacked", "jax") | {"study": {"space": {"model.layers": {}}}}
    assert "every layer" in table.of_study(several)
    mine = study("single", "jax") | {"dataset": {"name": "file"}}
    assert "for sequences of one length" in table.of_study(mine)
    # Nothing is said of what the table does not hold.
    assert table.of_study(study("recurrent_dropout", "jax", recurrent_dropout=0.0)) == ""
    assert table.of_study(study("single", "jax") | {"kernel": {"name": "generic"}}) == ""
    assert table.of_study(study("single", "jax") | {"model": {"_target_": "mine.net"}}) == ""
    assert "lstm cudnn (with a mask scan), gru scan" in table.of_backend("jax")


def test_other_versions_are_not_answered_by_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "version", lambda backend: ("9.0", "9.0"))
    assert table.of_study(study("stacked", "jax")) == ""
    assert "does not know these versions: it was made with Keras" in table.of_backend("jax")


def test_the_page_says_rules_and_reasons() -> None:
    made = page.page([*table.rows(), {"backend": "jax", "layer": None}])  # type: ignore[dict-item]
    text = made["kernels-predicted.md"]
    assert "| lstm | `mask` | cudnn | scan | loop |" in text
    assert "rule, not program" in text and "no program can be built: ValueError" in text
    rows = fileio.parsed(made["kernels-predicted.csv"])
    assert len(rows) == len(table.rows())
