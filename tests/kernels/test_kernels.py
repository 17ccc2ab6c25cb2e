"""`python -m lstm_bench.kernels` as a user gives it: what it writes, resumes, refuses and leaves behind."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import Command, series, undrawn

from lstm_bench.kernels import command as kernels
from lstm_bench.report import command as report
from lstm_bench.report.figures import style

Completed = subprocess.CompletedProcess[str]
TINY = (
    "grid.cells=[{layer: lstm, units: 4, layers: 1, timesteps: 5, features: 3, batch: 8}]",
    "grid.name=tiny",
    "method.samples=2",
    "method.window_s=0.01",
    "method.max_other_load=1",
)


def rows(folder: Path, file: str = "cells.csv") -> list[dict[str, str]]:
    with (folder / "sweeps" / "kernels-tiny" / file).open() as opened:
        return list(csv.DictReader(opened))


@pytest.mark.slow
def test_a_benchmark_is_measured_recorded_tracked_reported_and_then_complete(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (*TINY, "backend=torch", "kernel=[cudnn,generic,bare]", "method.rounds=1")
    done = command("kernels", *arguments, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr
    assert "2/2 round 1/1 lstm-1x4-t5-f3-b8-float32" in done.stdout
    assert "torch cudnn: unavailable: no GPU" in done.stdout
    found = rows(tmp_path)
    assert len(found) == 3 * 3
    measured = [row for row in found if row["state"] == "measured"]
    assert {(row["backend"], row["kernel"], row["kernel_ran"]) for row in measured} == {
        ("torch", "generic", "generic"),
        ("torch", "bare", "onednn"),
    }
    for row in measured:
        assert float(row["samples_per_s"]) > 0 and (row["n"], row["rounds"]) == ("2", "1")
        assert float(row["error"]) < 1e-5 and float(row["peak_memory_mib"]) > 50 and row["evidence"]
        assert 0 < float(row["roofline_fraction"]) < 1
        assert (row["speedup"] == "") == (row["kernel"] == "generic")
    for sample in rows(tmp_path, "samples.csv"):
        assert int(sample["steps"]) >= 1 and float(sample["seconds"]) > 0
    assert {row["backend"] for row in rows(tmp_path, "ceilings.csv")} == {"torch"}
    environment = json.loads((tmp_path / "sweeps" / "kernels-tiny" / "environment.json").read_text())
    assert environment["packages"]["torch"] and "dataset" not in environment

    speed = next(
        row for row in found if (row["backend"], row["kernel"], row["operation"]) == ("torch", "bare", "train_step")
    )
    tracked = sqlite3.connect(tmp_path / "mlflow.db")
    (value,) = tracked.execute("select value from latest_metrics where key = 'kernel_bare_samples_per_s'").fetchone()
    assert value == pytest.approx(float(speed["samples_per_s"]))
    count = "select count(*) from runs"
    assert tracked.execute(count).fetchone() == (2,)  # the benchmark and its cell

    again = command("kernels", *arguments, CUDA_VISIBLE_DEVICES="")
    assert again.returncode == 0 and "nothing to measure" in again.stdout
    assert rows(tmp_path) == found
    assert tracked.execute(count).fetchone() == (2,)
    tracked.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(style, "pictures", undrawn)  # figures are drawn in test_kernel_page.py
    assert report.main([]) == 0
    page = (tmp_path / "reports" / "kernels-tiny.md").read_text()
    assert f"{float(speed['samples_per_s']):,.0f}" in page and "no GPU" in page

    other = command("kernels", *arguments, "method.samples=3", CUDA_VISIBLE_DEVICES="")
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)
    assert "kernels-tiny was measured with method.samples=2" in other.stderr
    environment["device"]["name"] = "Another Machine"
    (tmp_path / "sweeps" / "kernels-tiny" / "environment.json").write_text(json.dumps(environment))
    other = command("kernels", *arguments, "method.rounds=3", CUDA_VISIBLE_DEVICES="")
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)
    assert "kernels-tiny was measured with device.name = Another Machine" in other.stderr
    assert rows(tmp_path) == found


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_an_interrupt_keeps_what_was_measured_and_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    arguments = [*TINY, "backend=torch", "kernel=bare", "method.rounds=30", "tracking=none"]
    started = subprocess.Popen(
        [sys.executable, "-m", "lstm_bench.kernels", *arguments],
        cwd=tmp_path,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    for line in started.stdout:
        if line.startswith("2/30 "):
            break
    children = psutil.Process(started.pid).children(recursive=True)
    started.send_signal(number)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 130
    assert said.strip() == "error: interrupted. The same command goes on from here."
    deadline = time.monotonic() + 10
    while any(child.is_running() and child.status() != "zombie" for child in children):
        assert time.monotonic() < deadline, "a process outlived its benchmark"
        time.sleep(0.1)
    runs = rows(tmp_path, "runs.csv")
    assert 6 <= len(runs) <= 12
    assert rows(tmp_path)[0]["rounds"] in ("2", "3", "4")


REFUSED = [
    (["grid=quik"], 2, "error: grid=quik: there is no such grid. Did you mean quick?"),
    (["kernel=cudn"], 2, "error: kernel: expected all, or some of cudnn, fused, generic,"),
    (["backend=mxnet"], 2, "error: backend: expected all, or some of tensorflow, jax, torch, received 'mxnet'"),
    (["dtype=float16"], 2, "error: dtype: expected all, or some of float32, tf32, bfloat16, received 'float16'"),
    (["operation=backward"], 2, "error: operation: expected all, or some of inference,"),
    (["method.rounds=0"], 2, "error: method.rounds: expected a whole number of at least 1, received 0"),
    (["method.round=3"], 2, "error: method.round: there is no such option. Did you mean method.rounds"),
    (["+methd=3"], 2, "error: unknown option methd. Did you mean method?"),
    (["name=../x"], 2, "error: name: expected kernels-, then letters, digits and ._-, received '../x'"),
    (["kernel=cudnn"], 2, "error: none of the chosen kernels can run here: no GPU."),
    (["backend=jax", "kernel=xla"], 2, "error: kernel: expected a kernel of jax, received 'xla'"),
    (
        ["grid.cells=[{layer: lstm, units: 0, layers: 1, timesteps: 5, features: 3, batch: 8}]"],
        2,
        "error: grid.cells[0].units: expected a whole number of at least 1, received 0",
    ),
    (
        ["grid.cells=[{layer: lstm, units: 4, layers: 1, timesteps: -5, features: 3, batch: 8}]"],
        2,
        "error: grid.cells[0].timesteps: expected a whole number of at least 1, received -5",
    ),
    (
        ["grid.cells=[{layer: lstm, units: 99999, layers: 9, timesteps: 999, features: 3, batch: 8}]"],
        2,
        "error: lstm-9x99999-t999-f3-b8-float32 needs about ",
    ),
]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Completed]]:
    """The folder of each command line of `REFUSED`, and what was said to it."""
    folder = tmp_path_factory.mktemp("refused")
    said = series(folder, "kernels", [arguments for arguments, _, _ in REFUSED], CUDA_VISIBLE_DEVICES="")
    return {str(done.args): (folder / str(i), done) for i, done in enumerate(said)}


@pytest.mark.parametrize(("arguments", "code", "line"), REFUSED)
def test_what_cannot_be_meant_is_one_line_and_makes_nothing(
    refused: dict[str, tuple[Path, Completed]], arguments: list[str], code: int, line: str
) -> None:
    folder, done = refused[str(arguments)]
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(line) and done.stderr.count("\n") == 1, done.stderr
    assert list(folder.iterdir()) == []


def test_figures_whose_configuration_is_lost_are_not_added_to(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "sweeps" / "kernels-tiny"
    folder.mkdir(parents=True)
    (folder / "runs.csv").write_text("cell,backend\n")
    done = command("kernels", *TINY, "backend=torch", "kernel=bare", "tracking=none", CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: kernels-tiny has figures, but what they were measured with cannot be read (FileNotFoundError)."
        " Choose another name=kernels-..., or remove that folder.\n"
    )
    assert (folder / "runs.csv").read_text() == "cell,backend\n"
    assert not {"config.yaml", "environment.json", "cells.csv"} & {path.name for path in folder.iterdir()}


def test_options_of_the_arms_are_given_without_their_group(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(kernels.cli, "main", lambda argv, **more: seen.append(list(argv)) or 0)
    given = ["backend=jax", "kernel=[cudnn,generic]", "dtype=tf32", "operation=all"]
    others = ["arms.backend=jax", "grid=quick", "name=kernels-x", "method.rounds=1", "grid.dtypes=[tf32]", "--help"]
    assert kernels.main([*given, *others]) == 0
    assert seen == [[*(f"arms.{each}" for each in given), *others]]


def test_a_backend_that_is_not_installed_is_refused_by_name(command: Command, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'jax' else find(name, *rest)\n"
    )
    done = command("kernels", "backend=jax", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert (
        done.stderr == "error: backend=jax: jax is not installed. Pip install 'lstm-bench[jax]', or another backend.\n"
    )


def test_help_lists_the_grids_at_once(command: Command) -> None:
    since = time.monotonic()
    done = command("kernels", "--help")
    assert time.monotonic() - since < 5
    assert "grids     braun, deepbench, quick, ragged, scaling, tutorial" in done.stdout
