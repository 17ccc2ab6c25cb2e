"""The main command as a person meets it: what is refused, what runs, what a second run and a kill do."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fake
import numpy as np
import psutil
import pytest
import spy
from conftest import Command, series

from lstm_bench.core.errors import DataError
from lstm_bench.sweep import command as sweep
from lstm_bench.sweep import session, validate

SMALL = (
    "+study=smoke",
    "train.epochs=1",
    "kernel=generic",
    "kernel.probe=false",
    "dataset.train_size=200",
    "launcher.workers=1",
)
QUICK = (*SMALL, "tracking=none")  # making MLflow's database takes longer than the whole sweep
# The study as it is, but for what adds seconds alone: another worker's import of the framework, epochs, windows of probes.
SMOKE = ("+study=smoke", "launcher.workers=1", "train.epochs=2", "kernel.probe_s=0.1")
Completed = subprocess.CompletedProcess[str]


def rows(folder: Path, study: str = "smoke", file: str = "trials.csv") -> list[dict[str, str]]:
    with (folder / "sweeps" / study / file).open() as text:
        return list(csv.DictReader(text))


# What cannot be meant is refused in a few lines, before anything is created: one of each kind. More are in the tests of what
# refuses them.

REFUSED = [
    ((), 2, "no study: expected +study=NAME, one of adding"),
    (("+stdy=stacked",), 2, "unknown option stdy. Did you mean +study=stacked?"),
    (("+study=stackd",), 2, "study=stackd: there is no such study. Did you mean stacked"),
    (("study=stacked",), 2, "Write +study=NAME"),
    (("+study=stacked", "+study.zzz=3"), 2, "unknown option study.zzz"),
    (("+study=stacked", "train.epoch=3"), 2, "Did you mean train.epochs"),
    (("+study=stacked", "train.epochs=0"), 2, "train.epochs: expected a whole number of at least 1, received 0"),
    (("+study=stacked", "kernel=cudn"), 2, "kernel=cudn: there is no such kernel. Did you mean cudnn?"),
    (("+study=stacked", "kernel=cudnn"), 2, "kernel=cudnn cannot run: no GPU"),
    (("+study=simple_rnn", "kernel=cudnn"), 2, "SimpleRNN has no cuDNN kernel"),
    (("+study=stacked", "tracking.uri=ftp://x"), 2, "tracking.uri: expected a URI of"),
    (("+study=stacked", "study.name=../x"), 2, "study.name: expected a letter or digit"),
    (("+study=stacked", "study.space.model.units.high=3"), 2, "low 64 is above high 3"),
    (("+study=stacked", "study.space.model.unitz.high=3"), 2, "model.unitz"),
    (("+study=stacked", "model.unit=3"), 2, "model.unit: there is no such option"),
    (
        (
            "+study=smoke",
            "study.space.train.learning_rate={type: categorical, choices: [0.1, 0.2]}",
            "study.n_trials=3",
        ),
        2,
        "study.n_trials: expected at most 2, the points of the space, received 3. Each is trained once, and the best again",
    ),
    (("+study=stacked", "sampler=null"), 2, "sampler: expected one of cmaes, grid, qmc, random, tpe, received 'null'"),
    (("+study=stacked", "dataset=npz"), 2, "Give one: dataset.path=VALUE"),
    (("+study=stacked", "dataset=npz", "dataset.path=nowhere.npz"), 3, "nowhere.npz"),
    (
        ("+study=stacked", "model.weights=25k"),
        2,
        "model.weights=25000: model.units follows from it and cannot be searched. Give study.space.model.units=null as well",
    ),
    (
        ("+study=tutorial_single", "model.weights=25k", "model.units=8"),
        2,
        "model.weights=25000: model.units follows from it and cannot be given (model.units=8)",
    ),
    (
        ("+study=smoke", "model.weights=lots"),
        2,
        "model.weights: expected a whole number of at least 1, such as 25000, 25k or 1.5M",
    ),
    (
        ("+study=smoke", "model.weights=25k", "study.space.model.weights={type: int, low: 9, high: 99}"),
        2,
        "study.space.model.weights: it is not searched",
    ),
    (("+study=adding", "study.direction=maximize"), 2, "val_mse is better the lower it is: expected minimize"),
    (("+study=single", "dataset=adding"), 2, "Give study.objective=val_mse."),
    (("+study=adding", "dataset=mnist"), 2, "val_auroc, val_ece with dataset=mnist, a classification"),
    (
        ("+study=pareto", "launcher.workers=999"),
        2,
        "study.objectives.train_samples_per_s: with launcher.workers=999, trials share ",
    ),
    (
        ("+study=pareto", "study.objectives.val_acuracy=maximize"),
        2,
        "unknown metric val_acuracy. Did you mean val_accuracy",
    ),
    (("+study=tutorial_single", "study.n_trials=5"), 2, "expected 0 or 1 where study.space is empty, received 5"),
]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], tuple[Path, Completed]]:
    """The folder of each command line of `REFUSED`, and what was said to it."""
    folder = tmp_path_factory.mktemp("refused")
    lines = [arguments for arguments, _, _ in REFUSED]
    said = series(folder, "sweep", lines, CUDA_VISIBLE_DEVICES="")
    return {line: (folder / str(i), done) for i, (line, done) in enumerate(zip(lines, said, strict=True))}


@pytest.mark.parametrize(
    ("arguments", "code", "said"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    refused: dict[tuple[str, ...], tuple[Path, Completed]], arguments: tuple[str, ...], code: int, said: str
) -> None:
    folder, done = refused[arguments]
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) <= 8
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert list(folder.iterdir()) == []


def test_a_ctrl_c_before_anything_is_started_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    from lstm_bench.sweep import command as sweep

    monkeypatch.setattr("lstm_bench.core.cli._scratch", interrupted)
    assert sweep.main(["+study=smoke"]) == 130
    assert capsys.readouterr().err == "error: interrupted before anything was started\n"


def test_a_wrong_command_is_refused_in_under_three_seconds_without_a_framework(tmp_path: Path) -> None:
    # Seconds of the processor: on a machine that runs other tests beside this one, the clock's say little.
    code = (
        "import sys, time; from lstm_bench.sweep.command import main; since = time.process_time();"
        "code = main(['+study=stacked', 'kernel=cudnn']);"
        "frameworks = {'keras', 'tensorflow', 'jax', 'torch', 'mlflow'} & {m.partition('.')[0] for m in sys.modules};"
        "print(code, frameworks or None, time.process_time() - since < 3)"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "2 None True"


def test_help_is_ours_and_names_every_study(command: Command, tmp_path: Path) -> None:
    since = time.monotonic()
    done = command("sweep", "--help")
    assert time.monotonic() - since < 2  # under one second on an idle machine
    assert done.returncode == 0
    assert done.stdout.startswith("python -m lstm_bench.sweep +study=NAME")
    for name in ("stacked", "tutorial_cnn_lstm", "kernel (auto, cudnn", "--config-dir"):
        assert name in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_cfg_job_prints_the_configuration_and_no_password(command: Command, tmp_path: Path) -> None:
    done = command(
        "sweep", "+study=stacked", "--cfg", "job", "storage.url=${oc.env:STORAGE}", STORAGE="postgresql://u:S3CRET@h/d"
    )
    assert done.returncode == 0
    assert "units: 128" in done.stdout
    assert "S3CRET" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


# A whole sweep.


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A finished smoke study: its folder, what it printed, what it complained of."""
    folder, temporary = tmp_path_factory.mktemp("smoke"), tmp_path_factory.mktemp("temporary")
    done = subprocess.run(
        [sys.executable, "-m", "lstm_bench.sweep", *SMOKE],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert list(temporary.iterdir()) == [], "workers that are ended leave nothing behind"
    return folder, done.stdout, done.stderr


@pytest.mark.slow
def test_a_sweep_searches_confirms_and_probes(smoke: tuple[Path, str, str]) -> None:
    folder, printed, complained = smoke
    assert complained == ""
    trials, replicates = rows(folder), rows(folder, file="replicates.csv")
    assert [row["state"] for row in trials] == ["COMPLETE"] * 3
    assert [row["seed"] for row in replicates] == ["0", "1", "2"]
    for row in trials + replicates:
        parts = [float(row[part]) for part in ("setup_s", "compile_s", "train_s", "eval_s")]
        assert float(row["total_s"]) == pytest.approx(sum(parts), rel=1e-6)
        assert row["kernel_ran"] in ("generic", "unrolled", "xla")
        assert float(row["train_samples_per_s"]) > 0
    kernels = {row["kernel"]: row for row in rows(folder, file="kernels.csv")}
    assert kernels["cudnn"]["reason"] == "no GPU" or float(kernels["cudnn"]["train_samples_per_s"]) > 0
    assert {name for name, row in kernels.items() if row["kernel_ran"] == name} >= {"generic", "unrolled", "xla"}
    history = rows(folder, file="history.csv")
    assert len(history) == (3 + 3) * 2
    assert len(rows(folder, file="predictions.csv")) == 360
    mean = np.mean([float(row["test_accuracy"]) for row in replicates])
    assert f"test accuracy {100 * mean:.2f} % +-" in printed
    assert "python -m lstm_bench.ui" in printed


@pytest.mark.slow
def test_what_a_person_sees_is_plain_and_without_noise(smoke: tuple[Path, str, str]) -> None:
    _, printed, _ = smoke
    assert "\x1b" not in printed
    assert not re.search(r"oneDNN|cuda|absl|tensorflow/|WARNING|I0000", printed, re.IGNORECASE)
    lines = printed.splitlines()
    assert lines[0].startswith("smoke: ")
    assert len([line for line in lines if line.startswith("trial ")]) == 3
    assert all("samples/s" in line and "weights" in line for line in lines if line.startswith(("trial ", "seed ")))


@pytest.mark.slow
def test_outputs_stay_below_the_working_directory(smoke: tuple[Path, str, str]) -> None:
    folder, _, _ = smoke
    assert {path.name for path in folder.iterdir()} == {"sweeps", "mlflow.db", "mlartifacts"}
    assert {path.name for path in (folder / "sweeps").iterdir()} == {"smoke"}


@pytest.mark.slow
def test_mlflow_has_one_parent_and_a_nested_run_per_trial_and_replicate(smoke: tuple[Path, str, str]) -> None:
    import warnings

    folder, _, _ = smoke
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLAlchemy's, met while MLflow opens its store
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("smoke")
    runs = client.search_runs([experiment.experiment_id])
    assert client.search_runs([client.get_experiment_by_name("Default").experiment_id]) == []
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    names = sorted(run.info.run_name for run in children)
    best = parents[0].data.tags["winning_trial"]
    assert names == [f"replicate seed {i} of trial {best}" for i in range(3)] + [f"trial {i}" for i in range(3)]
    assert {run.info.status for run in runs} == {"FINISHED"}
    trial = next(run for run in children if run.info.run_name == "trial 0")
    row = rows(folder)[0]
    assert trial.data.metrics["val_accuracy"] == pytest.approx(float(row["val_accuracy"]))
    assert float(trial.data.params["train.learning_rate"]) == pytest.approx(float(row["config_train.learning_rate"]))
    assert [m.step for m in client.get_metric_history(trial.info.run_id, "curves/val_accuracy")] == [1, 2]
    assert parents[0].data.metrics["test_accuracy_n"] == 3
    artifacts = {item.path for item in client.list_artifacts(parents[0].info.run_id)}
    assert {"figures", "environment.json", "kernels.json"} <= artifacts
    assert len(client.search_logged_models([experiment.experiment_id])) == 1


@pytest.mark.long  # `test_faults.py` has it without a framework: a third run is a no-op
def test_a_second_run_does_nothing_and_changes_nothing(smoke: tuple[Path, str, str]) -> None:
    folder, _, _ = smoke
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
    done = subprocess.run(
        [sys.executable, "-m", "lstm_bench.sweep", *SMOKE],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert "nothing to do: the study is complete" in done.stdout
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
    assert after == before


@pytest.mark.long  # `test_faults.py` has it without a framework
def test_a_changed_value_is_refused_with_the_difference(smoke: tuple[Path, str, str]) -> None:
    folder, _, _ = smoke
    for override, said in [
        ("train.batch_size=16", "train.batch_size was 32, is 16"),
        ("study.seed=1", "study.seed was 0, is 1"),
        ("study.n_trials=2", "study.n_trials was 3, is 2 (only upward)"),
        ("study.space.train.learning_rate.high=0.1", "study.space.train.learning_rate.high was 0.01, is 0.1"),
    ]:
        done = subprocess.run(
            [sys.executable, "-m", "lstm_bench.sweep", *SMOKE, override],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


# Resuming.


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lstm_bench.sweep", *arguments],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


Running = dict[str, tuple[Path, subprocess.Popen[str]]]


@contextlib.contextmanager
def at_once(parent: Path, commands: Mapping[str, Sequence[str]], **environment: str) -> Iterator[Running]:
    """Commands that need not wait for each other, two or so for two cores: folder and process of each, by its name."""
    running: Running = {}
    try:
        for name, arguments in commands.items():
            folder = parent / name
            folder.mkdir()
            running[name] = folder, start(folder, *arguments, **environment)
        yield running
    finally:
        for _, process in running.values():
            process.kill()
            process.communicate()


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} was never printed: {process.stderr.read() if process.stderr else ''}")


def wait_for_a_running_trial(process: subprocess.Popen[str], folder: Path, seconds: float = 60) -> None:
    """Returns when a trial of `smoke` was given to a worker; ends the sweep where none is."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and process.poll() is None:
        path = folder / "sweeps" / "smoke" / "study.db"
        if path.exists() and path.stat().st_size:
            with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(path)) as database:
                query = "SELECT count(*) FROM trials WHERE state = 'RUNNING'"
                if database.execute(query).fetchone()[0]:
                    return
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"no trial ran: {process.communicate()}")


def states(folder: Path, study: str = "smoke") -> list[tuple[int, str]]:
    with sqlite3.connect(folder / "sweeps" / study / "study.db") as database:
        return list(database.execute("SELECT number, state FROM trials ORDER BY number"))


@pytest.mark.long  # `test_faults.py` has it without a framework
def test_a_killed_driver_loses_nothing_and_the_same_command_ends_at_the_exact_total(tmp_path: Path) -> None:
    arguments = (*QUICK, "study.n_trials=4", "study.replicates=1", "train.epochs=40")
    undisturbed = tmp_path / "undisturbed"
    disturbed = tmp_path / "disturbed"
    for folder in (undisturbed, disturbed):
        folder.mkdir()
    whole = start(undisturbed, *arguments)  # at the same time: there are two cores
    process = start(disturbed, *arguments)
    read_until(process, "trial 1 ")
    time.sleep(0.4)
    process.kill()
    process.communicate()
    left = states(disturbed)
    assert ("RUNNING" in [state for _, state in left]) or len(left) >= 2
    again = start(disturbed, *arguments)
    out, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    finished = [row for row in rows(disturbed) if row["state"] in ("COMPLETE", "PRUNED")]
    assert len(finished) == 4
    out, err = whole.communicate(timeout=200)
    assert whole.returncode == 0, err
    column = "config_train.learning_rate"
    assert [row[column] for row in finished] == [row[column] for row in rows(undisturbed)]
    assert [row["val_accuracy"] for row in finished] == [row["val_accuracy"] for row in rows(undisturbed)]
    third = start(disturbed, *arguments)
    out, _ = third.communicate(timeout=60)
    assert third.returncode == 0
    assert "nothing to do" in out


def set_attribute(folder: Path, key: str, value: str | None) -> None:
    """Puts a fact of the study back to what a driver that died at that point had left."""
    with contextlib.closing(sqlite3.connect(folder / "sweeps" / "smoke" / "study.db")) as database:
        if value is None:
            database.execute("DELETE FROM study_user_attributes WHERE key = ?", (key,))
        else:
            database.execute("UPDATE study_user_attributes SET value_json = ? WHERE key = ?", (value, key))
        assert database.total_changes == 1
        database.commit()


PINNED = (
    *spy.QUICK, "train.learning_rate=0.005", "study.n_trials=1", "launcher.workers=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def pinned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished study of one trial, its learning rate given, its width searched: its folder, what it printed."""
    folder = tmp_path_factory.mktemp("pinned")
    code, out, err = spy.swept(folder, *PINNED)
    assert code == 0, err
    return folder, out


@pytest.mark.long
def test_a_driver_that_died_before_or_after_its_trials_is_made_good(tmp_path: Path, pinned: tuple[Path, str]) -> None:
    shutil.copytree(pinned[0], tmp_path, dirs_exist_ok=True)
    before = rows(tmp_path)
    # Killed after the last trial was told, before the records were in order.
    set_attribute(tmp_path, "unsettled", "true")
    (tmp_path / "sweeps" / "smoke" / "trials.csv").unlink()
    code, out, err = spy.swept(tmp_path, *PINNED)
    assert code == 0, err
    assert rows(tmp_path) == before
    assert "nothing to do" not in out
    # Killed after the study was created, before the family's layers were written down.
    set_attribute(tmp_path, "layers", None)
    code, out, err = spy.swept(tmp_path, *PINNED)
    assert code == 0, err
    assert "nothing to do" in out


@pytest.mark.long  # `test_faults.py` has it without a framework
def test_a_killed_worker_costs_one_retry_with_the_same_parameters(tmp_path: Path) -> None:
    arguments = (*QUICK, "study.n_trials=2", "study.replicates=0", "train.epochs=150")
    process = start(tmp_path, *arguments)
    wait_for_a_running_trial(process, tmp_path)
    victims = [
        p for p in psutil.Process(process.pid).children() if "lstm_bench.launcher.worker" in " ".join(p.cmdline())
    ]
    victims[0].kill()
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    trials = rows(tmp_path)
    assert [row["state"] for row in trials if not row["reason"]] == ["COMPLETE"] * 2
    failed = [row for row in trials if row["reason"] == "worker_died"]
    retry = next(row for row in trials if row["retry_of"] == failed[0]["number"])
    assert len(failed) == 1
    assert retry["config_train.learning_rate"] == failed[0]["config_train.learning_rate"]


@pytest.mark.long  # `test_faults.py` has it without a framework
def test_one_interrupt_queues_what_runs_and_two_stop_at_once(tmp_path: Path) -> None:
    arguments = (*QUICK, "study.n_trials=2", "study.replicates=0", "train.epochs=100000")
    for presses, limit in ((1, 10), (2, 5)):
        process = start(tmp_path, *arguments)
        wait_for_a_running_trial(process, tmp_path)
        since = time.monotonic()
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - since < limit
        assert process.returncode == 130
        assert "interrupted" in out
        assert "The same command goes on from here" in err
        assert [row["reason"] for row in rows(tmp_path)][-1] == "interrupted"
    assert {row["state"] for row in rows(tmp_path)} == {"FAIL"}  # never PRUNED
    assert [
        p
        for p in psutil.process_iter()
        if "lstm_bench.launcher.worker" in " ".join(_words(p)) and _cwd(p) == str(tmp_path)
    ] == []


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _cwd(process: psutil.Process) -> str:
    try:
        return process.cwd()
    except psutil.Error:
        return ""


@pytest.mark.long  # `test_faults.py` has it without a framework
def test_a_second_driver_is_refused_naming_the_first(tmp_path: Path) -> None:
    arguments = (*QUICK, "study.replicates=0", "train.epochs=100000")
    first = start(tmp_path, *arguments)
    try:
        read_until(first, "kernel    generic")
        since = time.monotonic()
        start(tmp_path, *arguments, "study.n_trials=-1").communicate(timeout=30)
        refused_at_once = time.monotonic() - since  # what a start takes beside whatever else runs here
        since = time.monotonic()
        second = start(tmp_path, *arguments)
        _, err = second.communicate(timeout=30)
        assert time.monotonic() - since < max(5, 3 * refused_at_once)
        assert second.returncode == 4
        assert f"smoke is running as pid {first.pid} on " in err
        assert len(err.splitlines()) == 1
    finally:
        first.kill()
        first.communicate()


# Data, families and folders of one's own.


@pytest.mark.long  # `test_dataset.py` has the notice and the name
def test_mnist_falls_back_to_digits_with_a_notice_and_another_name(command: Command, tmp_path: Path) -> None:
    # No network, no data, no cache: the proxy answers nothing, so every download fails at once.
    nowhere = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "HTTPS_PROXY": "http://127.0.0.1:9"}
    environment = {"LSTM_BENCH_DATA": str(tmp_path / "nothing"), "https_proxy": "http://127.0.0.1:9", **nowhere}
    done = command(
        "sweep", "+study=single", "study.n_trials=1", "study.replicates=1", "train.epochs=1", "kernel=generic",
        "kernel.probe=false", "tracking=none", "launcher.workers=1", **environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The study is named single-digits.") == 2
    assert (tmp_path / "sweeps" / "single-digits" / "trials.csv").exists()
    refused = command("sweep", "+study=single", "dataset.fallback=null", **environment)
    assert refused.returncode == 3
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.long  # CI: a table in `test_docs.py`, a task in `test_own_task.py`, models in `test_engine.py`
def test_own_sequences_own_family_and_own_study(command: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, n in (("train", 120), ("test", 40)):
        y = np.arange(n) % 3
        arrays |= {f"x_{split}": rng.standard_normal((n, 6, 2)).astype("f4") + y[:, None, None], f"y_{split}": y}
    np.savez(tmp_path / "mine.npz", **arrays)
    (tmp_path / "mine.py").write_text(
        "def gru(input_shape, n_classes, gru, *, units: int = 4):\n"
        "    import keras\n"
        "    return keras.Sequential([keras.Input(input_shape), gru(units), keras.layers.Dense(n_classes)])\n"
    )
    (tmp_path / "conf" / "study").mkdir(parents=True)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "mine.yaml").write_text("_target_: mine.gru\nunits: 4\n")
    (tmp_path / "conf" / "study" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /model: mine\n  - override /dataset: npz\n"
        "study:\n  name: mine\n  n_trials: 2\n  replicates: 1\n"
        "  space:\n    model.units: {type: int, low: 3, high: 5}\n"
        "dataset: {path: mine.npz}\ntrain: {epochs: 1, batch_size: 8}\nkernel: {name: generic, probe: false}\n"
    )
    done = command(
        "sweep", "--config-dir", str(tmp_path / "conf"), "+study=mine", "tracking=none", "launcher.workers=1"
    )
    assert done.returncode == 0, done.stderr
    assert [row["state"] for row in rows(tmp_path, "mine")] == ["COMPLETE"] * 2
    assert {row["config_model.units"] for row in rows(tmp_path, "mine")} <= {"3", "4", "5"}
    bad = command("sweep", "--config-dir", str(tmp_path / "conf"), "+study=mine", "study.name=bad", "+model.depth=2")
    assert bad.returncode == 2
    assert "unknown option model.depth" in bad.stderr
    assert not (tmp_path / "sweeps" / "bad").exists()


@pytest.mark.parametrize("name", ["fake", "fake-digits"])
def test_more_trials_than_points_are_no_fault_of_a_study_that_was_made_before(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = fake.config({"dataset.fallback": "digits", "dataset.name": "mnist"})
    assert not validate._has_database(config)
    (tmp_path / "sweeps" / name).mkdir(parents=True)
    (tmp_path / "sweeps" / name / "study.db").touch()
    assert validate._has_database(config)
    assert validate._has_database(fake.config({"dataset.fallback": None})) == (name == "fake")


# Of 8 timesteps, cnn_lstm takes a window of 4 or 2 and refuses one of 3.
WINDOWS = (
    "-m", "+study=smoke", "model=cnn_lstm", "study.name=w${model.window}", "train.epochs=1", "study.n_trials=1",
    "study.replicates=0", "kernel=generic", "kernel.probe=false", "study.space.train.learning_rate.high=0.002",
    "tracking=none", "launcher.workers=1",
)  # fmt: skip


@pytest.mark.long  # `test_multirun.py` has it without a framework
def test_a_fault_that_the_second_study_s_network_has_keeps_the_first_from_running(
    command: Command, tmp_path: Path
) -> None:
    refused = command("sweep", *WINDOWS, "model.window=4,3")
    assert refused.returncode == 2
    assert refused.stdout.splitlines()[0] == "checking 2 studies"
    assert refused.stdout.splitlines()[-1] == "  building model 2 of 2: w3"
    assert refused.stderr.count("error: ") == 1
    assert refused.stderr.splitlines()[-1] == "-m: nothing was run, because of w3"
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.long
def test_several_studies_run_in_turn(command: Command, tmp_path: Path) -> None:
    done = command("sweep", *WINDOWS, "model.window=4,2")
    assert done.returncode == 0, done.stderr
    for name in ("w4", "w2"):
        assert [row["state"] for row in rows(tmp_path, name)] == ["COMPLETE"]
    assert not list(tmp_path.rglob("multirun.yaml"))


def test_an_override_of_a_searched_path_pins_it_and_says_so(pinned: tuple[Path, str]) -> None:
    folder, printed = pinned
    assert "train.learning_rate is fixed by train.learning_rate=0.005: it is not searched" in printed
    assert [column for column in rows(folder)[0] if column.startswith("config_")] == ["config_model.units"]


FAILING = {
    "nan": (
        *QUICK, "study.n_trials=4", "study.max_failed=1", "train.optimizer=sgd",
        "study.space.train.learning_rate.low=1e30", "study.space.train.learning_rate.high=1e32", "train.epochs=3",
    ),
    "timeout": (*QUICK, "train.epochs=100000", "study.trial_timeout=3", "study.n_trials=1"),
}  # fmt: skip


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with at_once(tmp_path_factory.mktemp("failing"), FAILING) as running:
        yield running


@pytest.mark.long  # `test_faults.py` has it without a framework
def test_nan_fails_the_trial_and_too_many_end_the_sweep(failing: Running) -> None:
    folder, process = failing["nan"]
    out, err = process.communicate(timeout=240)
    assert process.returncode == 5, out + err
    assert [(row["state"], row["reason"]) for row in rows(folder)] == [("FAIL", "nan")] * 2
    assert "study.max_failed is 1" in err


@pytest.mark.long  # `test_faults.py` has it without a framework
def test_a_trial_that_lasts_too_long_fails(failing: Running) -> None:
    folder, process = failing["timeout"]
    out, err = process.communicate(timeout=240)
    assert process.returncode == 5, err
    assert "no trial is complete: 1 of 1 trial failed: timeout. Raise study.trial_timeout" in err
    assert [(row["state"], row["reason"]) for row in rows(folder)] == [("FAIL", "timeout")]
    assert "there is no winner to confirm" in out


BACKENDS = ("jax", "torch")


@pytest.fixture(scope="module")
def others(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sweep on each of `BACKENDS` that is installed and asked for."""
    arguments = ("+study=smoke", "train.epochs=1", "study.n_trials=1", "study.replicates=1", "dataset.train_size=200")
    arguments += ("tracking=none", "launcher.workers=1", "kernel=generic", "kernel.probe_s=0.1")
    wanted = [name for name in BACKENDS if any(f"same_sweep[{name}]" in item.nodeid for item in request.session.items)]
    commands = {name: (*arguments, f"backend={name}") for name in wanted if importlib.util.find_spec(name)}
    with at_once(tmp_path_factory.mktemp("others"), commands) as running:
        yield running


@pytest.mark.long  # CI: a sweep with jax in `test_own_task.py`, torch's engine in `test_engine.py`
@pytest.mark.parametrize("backend", BACKENDS)
def test_other_backends_run_the_same_sweep(others: Running, backend: str) -> None:
    if backend not in others:
        pytest.skip(f"{backend} is not installed: pip install 'lstm-bench[{backend}]'")
    folder, process = others[backend]
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert rows(folder)[0]["backend"] == backend
    kernels = {row["kernel"]: row for row in rows(folder, file="kernels.csv")}
    assert kernels["generic"]["kernel_ran"] == "generic"


OUTAGE = (*SMALL, "study.n_trials=1", "study.replicates=1")
SECRETS = {"TRACK": "http://user:S3CRET@127.0.0.1:9", "STORE": "postgresql+psycopg://user:S3CRET@127.0.0.1:9/none"}


@pytest.fixture(scope="module")
def outage(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Completed]]:
    """What passwords open does not answer, MLflow in one sweep and the study's storage in another: folders, what was said."""
    commands = {
        "mlflow": (*OUTAGE, "tracking.uri=${oc.env:TRACK}"),
        "storage": (*QUICK, f"storage.url={SECRETS['STORE']}", "study.name=other"),
    }
    with at_once(tmp_path_factory.mktemp("outage"), commands, **SECRETS) as running:
        said = {name: process.communicate(timeout=240) for name, (_, process) in running.items()}
        return {
            name: (folder, Completed(commands[name], process.returncode, *said[name]))
            for name, (folder, process) in running.items()
        }


@pytest.mark.long  # CI: `test_trials.py`, `test_client.py` and `test_security.py`, without a whole sweep
def test_a_password_is_written_nowhere(outage: dict[str, tuple[Path, Completed]]) -> None:
    (folder, done), (_, refused) = outage["mlflow"], outage["storage"]
    assert done.returncode == 0, done.stderr
    assert refused.returncode in (2, 4)
    assert "S3CRET" not in done.stdout + done.stderr + refused.stdout + refused.stderr
    assert (folder / "sweeps" / "smoke" / "model" / "mlflow").is_dir()
    for place, _ in outage.values():
        for path in place.rglob("*"):
            if path.is_file():
                assert b"S3CRET" not in path.read_bytes(), path


@pytest.mark.long  # `test_live.py` has it without a framework
def test_an_mlflow_outage_is_a_warning_and_the_next_run_catches_up(
    command: Command, tmp_path: Path, outage: dict[str, tuple[Path, Completed]], unused_store: Path
) -> None:
    folder, down = outage["mlflow"]
    assert down.returncode == 0, down.stderr
    assert "MLflow" in down.stdout
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    shutil.copy(unused_store, tmp_path)
    up = command("sweep", *OUTAGE)
    assert up.returncode == 0, up.stderr
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        names = [row[0] for row in database.execute("SELECT name FROM runs ORDER BY name")]
    assert names == ["replicate seed 0 of trial 0", "smoke", "trial 0"]


def test_a_corrupt_database_is_left_alone(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "sweeps" / "smoke"
    folder.mkdir(parents=True)
    for content, said in (
        (b"", "an empty file where a study is expected"),
        (b"no database at all" * 99, "not a database"),
    ):
        (folder / "study.db").write_bytes(content)
        done = command("sweep", *QUICK)
        assert done.returncode == 4
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert (folder / "study.db").read_bytes() == content


def test_an_unwritable_folder_is_said_before_anything_starts(command: Command, tmp_path: Path) -> None:
    (tmp_path / "sweeps").write_text("a file where a folder is needed")
    done = command("sweep", *QUICK)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_the_environment_is_recorded(smoke: tuple[Path, str, str]) -> None:
    folder, _, _ = smoke
    seen = json.loads((folder / "sweeps" / "smoke" / "environment.json").read_text())
    assert seen["dataset"]["name"] == "digits"
    assert len(seen["dataset"]["sha256"]) == 64
    assert seen["packages"]["keras"] >= "3.15"
    assert seen["device"]["kind"] in ("cpu", "gpu")


TINY = ("dataset.train_size=64", "dataset.validation_size=16", "dataset.test_size=16", "dataset.length=5")
TINY += ("train.epochs=2", "study.n_trials=2", "study.replicates=2", "kernel=generic", "kernel.probe=false")
TINY += ("launcher.workers=1", "tracking=none", "train.batch_size=16")


@pytest.mark.long  # CI: a task of another package in `test_own_task.py`, each task's training in `test_engine.py`
@pytest.mark.parametrize(
    ("name", "filled", "empty", "said"),
    [
        ("adding", ("val_mse", "val_mae", "test_mse", "test_mae"), ("val_accuracy", "train_accuracy"), "test MSE"),
        ("copy", ("val_accuracy", "train_accuracy", "test_accuracy"), ("val_mse", "val_mae"), "test accuracy"),
    ],
)
def test_a_task_of_another_kind_is_searched_confirmed_and_recorded(
    name: str, filled: tuple[str, ...], empty: tuple[str, ...], said: str, command: Command, tmp_path: Path
) -> None:
    done = command("sweep", f"+study={name}", *TINY)
    assert done.returncode == 0, done.stderr
    environment = json.loads((tmp_path / "sweeps" / name / "environment.json").read_text())["dataset"]
    (baseline,) = environment["baselines"]
    assert f"confirmed   {said} " in done.stdout and f"baseline    {baseline}: " in done.stdout
    assert (environment["task"], environment["n_outputs"]) == (
        ("regression", 1) if name == "adding" else ("tagging", 9)
    )
    for file in ("trials.csv", "replicates.csv"):
        found = rows(tmp_path, name, file)
        assert [row["state"] for row in found] == ["COMPLETE"] * 2
        for row in found:
            assert all(float(row[key]) >= 0 for key in (*filled, "val_loss") if key in row)
            assert all(row[key] == "" for key in empty)
            assert float(row["val_loss"]) == float(row["val_mse"] or row["val_loss"])
    history = rows(tmp_path, name, "history.csv")
    assert len(history) == 8 and all(row[key] for row in history for key in filled if key.startswith("val"))
    assert not (tmp_path / "sweeps" / name / "predictions.csv").exists()
    again = command("sweep", f"+study={name}", *TINY)
    assert again.returncode == 0 and "nothing to do" in again.stdout and f"{said} " in again.stdout
    report = command("report")
    assert report.returncode == 0, report.stderr


MINE = ("+study=single", "dataset=npz", "dataset.path=mine.npz", "study.name=mine", "study.replicates=1")
MINE += ("study.n_trials=1", "kernel=generic", "kernel.probe=false", "launcher.workers=1", "tracking=none")
MINE += ("train.epochs=1", "controls=false")


@pytest.fixture
def numbers(tmp_path: Path) -> None:
    """`mine.npz`, whose labels are no classes."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 4, 2)), rng.standard_normal(60)
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])


def test_an_objective_that_the_labels_of_a_file_do_not_allow_leaves_no_study(
    command: Command, tmp_path: Path, numbers: None
) -> None:
    done = command("sweep", *MINE)
    assert done.returncode == 2
    assert "with dataset=mine, a regression, received 'val_accuracy'. Give study.objective=val_mse" in done.stderr
    assert "y.astype(int)" not in done.stderr  # they are no whole numbers: it would destroy them
    assert not (tmp_path / "sweeps" / "mine").exists()


@pytest.mark.long
def test_an_objective_that_they_allow_is_searched(command: Command, numbers: None) -> None:
    done = command("sweep", *MINE, "study.objective=val_mse", "study.direction=minimize")
    assert done.returncode == 0, done.stderr
    assert "always predicting the training mean: MSE " in done.stdout


@pytest.mark.parametrize(("file", "left"), [("config.yaml", True), ("study.db", True), ("lock", False)])
def test_a_late_fault_takes_no_records_away_wherever_the_study_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, left: bool
) -> None:
    def late(sweep: Any) -> None:
        (sweep.folder / file).write_text("")
        raise DataError("found by a worker in its tenth trial")

    composed = fake.composed("+study=smoke", "tracking=none", "storage.url=sqlite:///elsewhere.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session.Session, "run", late)
    with pytest.raises(DataError, match="found by a worker"):
        sweep.run(composed, ())
    assert (tmp_path / "sweeps" / "smoke").exists() is left
