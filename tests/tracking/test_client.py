"""`lstm_bench.tracking` against real sqlite stores, a closed port, and damaged files."""

import hashlib
import json
import math
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

import lstm_bench
from lstm_bench.core.errors import ConfigError, StorageError
from lstm_bench.tracking import store
from lstm_bench.tracking.client import Tracking, open_tracking
from lstm_bench.tracking.run_index import STUDY_RUN, RunIndex
from lstm_bench.tracking.store import store_uri

ROOT = Path(lstm_bench.__file__).parents[1]
CONFIG = {"name": "mlflow", "uri": None}
STARTED = 1_700_000_000_000
SHA256 = "ba891046" * 8
STUDY = {
    "id": "stacked-7f3a",
    "name": "stacked",
    "description": "Width and depth of **stacked** LSTMs.",
    "params": {"study.n_trials": 3, "model.units": 128, "storage.url": "postgresql://me:S3CRET@db/optuna"},
    "tags": {"mlflow.source.git.commit": "0123456", "where": "http://me:S3CRET@host/x"},
    "dataset": {"name": "mnist", "sha256": SHA256, "source": "https://me:S3CRET@host/mnist", "shape": [55000, 28, 28]},
    "environment": {"python": "3.11", "storage": "postgresql://me:S3CRET@db/optuna?password=S3CRET"},
    "searched": ["model.units"],
}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, unused_store):
    """A working directory of its own with an unused store, and MLflow's settings given back afterwards."""
    for name in (*store.PATIENCE, *store.ENVIRONMENT):
        monkeypatch.setenv(name, store.ENVIRONMENT.get(name, store.PATIENCE.get(name, "")))
    monkeypatch.chdir(tmp_path)
    shutil.copy(unused_store, tmp_path)
    return tmp_path


@pytest.fixture
def empty(place):
    """The working directory without a store."""
    (place / "mlflow.db").unlink()
    return place


def trial(number, state="COMPLETE", reason="", **values):
    return {
        "number": number,
        "state": state,
        "reason": reason,
        "val_accuracy": 0.97,
        "val_loss": 0.1,
        "n_weights": 220_874,
        "n_trainable": 220_874,
        "train_samples_per_s": 3400.5,
        "kernel_ran": "generic",
        "backend": "tensorflow",
        "device": "cpu",
        "device_share": "exclusive",
        "setup_s": 0.1,
        "compile_s": 0.4,
        "train_s": 30.0,
        "eval_s": 1.0,
        "total_s": 31.5,
        "config_model.units": 32 + number,
        **values,
    }


def epochs(n):
    return [
        {"epoch": e, "train_loss": 1 / e, "train_accuracy": 0.8, "val_loss": 0.5 / e, "val_accuracy": 0.9 + e / 100}
        for e in range(1, n + 1)
    ]


def started(study=STUDY):
    observer = open_tracking(CONFIG, experiment="stacked")
    observer.start(study)
    assert observer.warning is None
    return observer


def log_three(observer):
    observer.log_trial(trial(0), epochs(3), STARTED, STARTED + 30_000, {"train.batch_size": 32})
    observer.log_trial(trial(1, "PRUNED"), epochs(1), STARTED, STARTED + 10_000)
    observer.log_trial(trial(2, "FAIL", "nan", val_loss=math.nan, train_loss=math.inf), [], STARTED, STARTED + 9)


def arm(kernel, speed, operation="train_step", backend="tensorflow", **values):
    """A row of a benchmark's cells.csv, as read from the file: text."""
    return {
        "cell": "lstm-1x64-t28-f28-b64-float32",
        "backend": backend,
        "kernel": kernel,
        "kernel_ran": kernel,
        "operation": operation,
        "state": "measured",
        "reason": "",
        "samples_per_s": str(speed),
        "speedup": "",
        "compile_s": "1.5",
        "peak_memory_mib": "",
        "marks": "",
        "device": "cpu",
        **values,
    }


def absent(kernel, reason, state="unavailable", **values):
    return arm(kernel, "", **{"state": state, "reason": reason, "kernel_ran": "", "compile_s": "", **values})


CELL = {"layer": "lstm", "units": 64, "layers": 1, "timesteps": 28, "features": 28, "batch": 64, "dtype": "float32"}
NAME = "lstm-1x64-t28-f28-b64-float32"
BENCHMARK = {"id": "kernels-quick-1", "name": "kernels-quick", "params": {"rounds": 3}, "source": "lstm_bench.kernels"}


def benchmark(**values):
    observer = open_tracking(CONFIG, experiment="kernels-quick")
    observer.start({**BENCHMARK, **values})
    assert observer.warning is None
    return observer


def client():
    from mlflow import MlflowClient

    return MlflowClient(store_uri(CONFIG))


def runs(experiment="stacked"):
    """Name -> run, of every run of the experiment."""
    reader = client()
    found = reader.search_runs([reader.get_experiment_by_name(experiment).experiment_id])
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: run for run in found}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_store_that_could_not_be_made_is_made_by_the_next_command(empty, no_room):
    uri = f"sqlite:///{empty}/mlflow.db"
    with no_room(100_000), pytest.raises(StorageError, match=r"mlflow\.db: MLflow cannot use it"):
        store.connect(uri)
    assert not (empty / "mlflow.db").exists()
    assert list(empty.glob("mlflow.db.*.part"))  # half of it
    store.connect(uri).create_experiment("fine")
    assert [path.name for path in empty.glob("mlflow.db*")] == ["mlflow.db"]


def test_what_mlflow_raises_is_said_in_our_line_alone(place, capfd, no_room):
    tracking = open_tracking(CONFIG, experiment="stacked")
    with no_room(1000):
        tracking.start(STUDY)
    assert "failed in start" in tracking.warning
    assert capfd.readouterr() == ("", "")


def test_no_tracking_touches_nothing(empty):
    observer = open_tracking({"name": "none", "uri": None}, experiment="stacked")
    observer.start(STUDY)
    log_three(observer)
    observer.log_model(Path("nowhere"), "winner")
    observer.finish("FINISHED")
    assert (observer.warning, observer.address, list(empty.iterdir())) == (None, "none", [])


def test_every_trial_is_a_nested_run_with_its_state_curves_and_parameters(empty):
    observer = started()
    log_three(observer)
    observer.log_trial(trial(3, "FAIL", "worker_died"), [], STARTED, STARTED + 9)
    observer.finish("FINISHED")
    assert observer.warning is None
    found = runs()
    parent = found.pop("stacked")
    assert {name: run.info.status for name, run in found.items()} == {
        "trial 0": "FINISHED",
        "trial 1": "FINISHED",
        "trial 2": "FAILED",
        "trial 3": "KILLED",
    }
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parent.info.run_id}
    assert [found[f"trial {n}"].data.tags["state"] for n in range(3)] == ["COMPLETE", "PRUNED", "FAIL"]
    first = found["trial 0"]
    assert (first.info.start_time, first.info.end_time) == (STARTED, STARTED + 30_000)
    assert first.data.params == {"model.units": "32", "train.batch_size": "32"}
    assert (
        first.data.tags.items()
        >= {"kernel_ran": "generic", "device": "cpu", "lstm_bench.trial": "stacked-7f3a/0"}.items()
    )
    assert (
        first.data.metrics.items() >= {"n_weights": 220_874.0, "total_s": 31.5, "train_samples_per_s": 3400.5}.items()
    )
    curve = client().get_metric_history(first.info.run_id, "curves/val_accuracy")
    assert [(point.step, point.value) for point in curve] == [(1, 0.91), (2, 0.92), (3, 0.93)]
    failed = found["trial 2"].data
    assert failed.tags["reason"] == "nan"
    assert math.isnan(failed.metrics["val_loss"])
    assert "train_loss" not in failed.metrics  # infinite
    default = client().search_runs(["0"])
    assert (len(default), parent.info.status) == (0, "FINISHED")
    assert sorted(path.name for path in empty.iterdir()) == ["mlartifacts", "mlflow.db"]


def test_the_parent_holds_parameters_data_and_environment():
    observer = started()
    parent = runs()["stacked"]
    assert parent.info.status == "RUNNING"
    assert parent.data.params["study.n_trials"] == "3"
    assert parent.data.params["storage.url"] == "postgresql://me:***@db/optuna"
    (used,) = parent.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("mnist", SHA256[:12])
    assert SHA256 in used.dataset.profile
    assert [item.path for item in client().list_artifacts(observer.parent_id)] == ["environment.json"]


def test_a_resume_reuses_the_runs_and_adds_the_missing_ones():
    observer = started()
    log_three(observer)
    observer.finish("KILLED")
    before = {name: run.info.run_id for name, run in runs().items()}
    again = started({**STUDY, "params": {**STUDY["params"], "study.n_trials": 4, "study.new": None}})
    assert runs()["stacked"].info.status == "RUNNING"
    log_three(again)
    again.log_trial(trial(3), epochs(3), STARTED, STARTED + 9)
    again.finish("FINISHED")
    assert again.warning is None
    after = runs()
    assert {name: after[name].info.run_id for name in before} == before
    assert sorted(after.keys() - before.keys()) == ["trial 3"]
    parent = after["stacked"].data
    assert (parent.params["study.n_trials"], parent.tags["resumed.study.n_trials"]) == ("3", "4")
    assert parent.params["study.new"] == "null"
    assert len(after["stacked"].inputs.dataset_inputs) == 1


def test_a_fresh_study_of_the_same_name_gets_a_parent_of_its_own():
    started().finish("FINISHED")
    other = started({**STUDY, "id": "stacked-0000"})
    log_three(other)
    reader = client()
    experiment = reader.get_experiment_by_name("stacked").experiment_id
    assert len(reader.search_runs([experiment])) == 5


def test_a_run_that_its_driver_could_not_end_is_completed():
    observer = started()
    log_batch, observer._client.log_batch = observer._client.log_batch, None
    log_three(observer)
    observer.finish("FINISHED")
    observer._client.log_batch = log_batch
    assert "failed in log_trial" in observer.warning
    assert {name: run.info.status for name, run in runs().items()} == {"stacked": "RUNNING", "trial 0": "RUNNING"}
    again = started()
    log_three(again)
    again.finish("FINISHED")
    found = runs()
    assert {run.info.status for run in found.values()} == {"FINISHED", "FAILED"}
    assert len(found) == 4
    assert found["trial 0"].data.metrics["curves/val_accuracy"] == 0.93


def test_drivers_that_make_a_study_s_run_at_once_keep_the_first_one(place, monkeypatch):
    one, other = (open_tracking({"name": "mlflow", "uri": None}, experiment="s") for _ in range(2))
    looked = []

    def blind(self):
        looked.append(self)
        if looked.count(self) > 1:
            known(self)

    known = RunIndex.load
    monkeypatch.setattr(RunIndex, "load", blind)  # neither sees the other's before it has made its own
    one.start(STUDY)
    other.start(STUDY)
    assert one.warning is None and other.warning is None
    assert other.parent_id == one.parent_id
    one.refresh_runs()
    assert one.parent_id in [run.run_id for run in one._index.of(STUDY_RUN).values()]


def test_a_run_made_twice_by_a_lost_answer_is_deleted():
    observer = started()
    log_three(observer)
    tags = {key: runs()["trial 0"].data.tags[key] for key in ("lstm_bench.study", "lstm_bench.trial")}
    client().create_run(observer.experiment_id, tags=tags, run_name="twin")
    log_three(started())
    assert "twin" not in runs()
    assert runs()["trial 0"].info.status == "FINISHED"


def test_more_runs_than_a_page_of_mlflow_are_all_known(monkeypatch):
    observer = started()
    search = observer._client.search_runs
    log_three(observer)
    monkeypatch.setattr(type(observer._client), "search_runs", lambda self, *a, **k: search(*a, **k, max_results=2))
    again = started()
    assert len(again.known) == 4


def test_replicates_kernels_and_summary(place):
    observer = started()
    row = trial(0) | {"seed": 3, "test_accuracy": 0.988, "test_loss": 0.04}
    for _ in range(2):
        observer.log_replicate(row, epochs(2), STARTED, STARTED + 9, {"model.units": 64}, key="c0ffee")
    kernels = [
        {"backend": "tensorflow", "kernel": "cudnn", "kernel_ran": "cudnn", "train_samples_per_s": 300.0},
        {"backend": "tensorflow", "kernel": "generic", "kernel_ran": "generic", "train_samples_per_s": "100"},
        {"backend": "tensorflow", "kernel": "xla", "reason": "no compiler", "train_samples_per_s": ""},
    ]
    for _ in range(2):
        observer.log_kernels(kernels)
    observer.log_summary(
        {"val_accuracy": 0.97, "test_accuracy": 0.988, "low+high": 1, "none": None},
        {"winner": "units=32", "confirmed": "test accuracy 98.80 % (n = 1)"},
    )
    (place / "curve.svg").write_text("<svg/>")
    observer.log_figures([place / "curve.svg"])
    observer.finish("FINISHED")
    assert observer.warning is None
    found = runs()
    replicate = found["replicate seed 3"].data
    assert replicate.metrics.items() >= {"test_accuracy": 0.988, "test_loss": 0.04}.items()
    assert replicate.tags["lstm_bench.replicate"] == "stacked-7f3a/c0ffee/3"
    parent = found["stacked"].data
    assert parent.metrics == {
        "val_accuracy": 0.97,
        "test_accuracy": 0.988,
        "low_high": 1.0,
    }
    (file,) = place.rglob("kernels.json")
    assert (json.loads(file.read_text()), parent.tags["lstm_bench.probed"]) == (kernels, "kernels.json")
    note = client().get_experiment(observer.experiment_id).tags["mlflow.note.content"]
    curves = f"#/experiments/{observer.experiment_id}/runs/{found['replicate seed 3'].info.run_id}/model-metrics"
    assert note == (
        f"**test accuracy 98.80 % (n = 1)** units=32 [curves]({curves}?workflowType=machine_learning)"
        f"\n\n{STUDY['description']}"
    )
    started()
    assert client().get_experiment(observer.experiment_id).tags["mlflow.note.content"] == note  # while it goes on
    assert "| test_accuracy | 0.988 |" in parent.tags["mlflow.note.content"]
    assert [item.path for item in client().list_artifacts(observer.parent_id, "figures")] == ["figures/curve.svg"]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_table_has_the_study_first_then_its_trials_the_best_one_first(direction):
    scores = {0: 0.5, 1: 2.0, 2: -1.5, 3: -0.25, 4: None, 5: 1e-9}
    observer = started({**STUDY, "objective": "val_accuracy", "direction": direction})
    for number, score in scores.items():
        observer.log_trial(trial(number, val_accuracy=score), [], STARTED, STARTED + 9)
    observer.log_replicate(trial(0) | {"seed": 0}, [], STARTED, STARTED + 9, key="c0ffee")
    view = json.loads(client().get_experiment(observer.experiment_id).tags["mlflow.sharedViewState.trials"])
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    found = client().search_runs([observer.experiment_id], view["searchFilter"], order_by=[order])
    ranked = sorted((n for n in scores if n != 4), key=lambda n: scores[n], reverse=direction == "maximize")
    assert [run.info.run_name for run in found] == ["stacked", *(f"trial {n}" for n in [*ranked, 4])]
    assert view["columnOrder"][1:5] == [
        f"metrics.`{key}`" for key in ("val_accuracy", "test_accuracy", "test_mse", "n_weights")
    ]


def test_deleted_runs_come_back_with_their_study():
    observer = started()
    log_three(observer)
    observer.finish("FINISHED")
    before = {name: (run.info.run_id, run.data.tags["lstm_bench.study"]) for name, run in runs().items()}
    for name in ("stacked", "trial 1"):
        client().delete_run(before[name][0])
    again = started()
    log_three(again)
    again.finish("FINISHED")
    assert (again.warning, again.added) == (None, 0)
    assert {name: (run.info.run_id, run.data.tags["lstm_bench.study"]) for name, run in runs().items()} == before


def test_runs_below_a_parent_that_is_gone_are_put_below_the_study_s(place):
    observer = started()
    log_three(observer)
    with sqlite3.connect(place / "mlflow.db") as database:
        for table in ("tags", "params", "metrics", "latest_metrics", "runs"):
            database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (observer.parent_id,))
    again = started()
    assert again.parent_id != observer.parent_id
    parents = {run.data.tags.get("mlflow.parentRunId") for name, run in runs().items() if name != "stacked"}
    assert parents == {again.parent_id}


def test_the_files_of_a_moved_project_are_beside_its_store_again(place, monkeypatch):
    from mlflow.tracking._tracking_service import utils

    (place / "old").mkdir()
    (place / "mlflow.db").rename(place / "old" / "mlflow.db")
    monkeypatch.chdir(place / "old")
    (place / "old" / "curve.svg").write_text("<svg/>")
    observer = started()
    observer.log_figures([place / "old" / "curve.svg"])
    (place / "old").rename(place / "new")
    monkeypatch.chdir(place / "new")
    utils._artifact_repos_cache.clear()  # of a process
    again = started()
    again.log_figures([place / "new" / "curve.svg"])
    log_three(again)
    assert (again.warning, again.remark, (place / "old").exists()) == (None, None, False)
    assert [item.path for item in client().list_artifacts(again.parent_id, "figures")] == ["figures/curve.svg"]
    (place / "alone").mkdir()
    (place / "new" / "mlflow.db").rename(place / "alone" / "mlflow.db")
    monkeypatch.chdir(place / "alone")
    alone = started()
    assert alone.remark.startswith(f"MLflow keeps figures and models in {place}/new/mlartifacts/stacked, not beside ")


def test_where_no_file_can_be_kept_the_rest_is_told_and_it_is_said(place):
    (place / "mlartifacts").write_text("in the way")
    (place / "curve.svg").write_text("<svg/>")
    observer = started()
    log_three(observer)
    observer.log_figures([place / "curve.svg"])
    observer.log_kernels([{"backend": "jax", "kernel": "xla"}])
    observer.finish("FINISHED")
    assert observer.warning is None
    assert "keeps no figure and no model: " in observer.remark
    assert sorted(runs()) == ["stacked", "trial 0", "trial 1", "trial 2"]
    assert "lstm_bench.probed" not in runs()["stacked"].data.tags


def test_mlflow_s_own_variable_is_named_where_it_is_wrong(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    with pytest.raises(ConfigError, match=r"^MLFLOW_TRACKING_URI: expected a URI of sqlite"):
        store.check({"name": "mlflow", "uri": store.default()})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert store.default() is None


def test_a_server_is_no_link_but_to_a_study_s_runs():
    observer = open_tracking({"name": "mlflow", "uri": "https://me:S3CRET@host:5000/ml/"}, experiment="stacked")
    assert (observer.address, observer.page) == ("host:5000/ml", None)
    observer.experiment_id = "7"
    assert (
        observer.address
        == observer.page
        == ("https://host:5000/ml/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=trials")
    )


def test_a_cell_is_a_nested_run_with_a_figure_or_a_reason_per_arm():
    observer = benchmark()
    rows = [
        arm("generic", 100.0, marks="other load 23 %", peak_memory_mib="512"),
        arm("generic", 400.0, "inference", kernel_ran="xla"),
        arm("cudnn", 310.0, speedup="3.05"),
        arm("xla", 90.0, state="wrong", reason="error 0.3"),
        absent("unrolled", "compile exceeded 60 s", "compile_limit", operation="forward_backward"),
        absent("unrolled_xla", "", "failed"),
    ]
    observer.log_cell(CELL, rows, STARTED, STARTED + 60_000)
    observer.finish("FINISHED")
    assert observer.warning is None
    found = runs("kernels-quick")
    assert sorted(found) == ["kernels-quick", NAME]
    parent, run = found["kernels-quick"], found[NAME]
    assert (parent.info.status, parent.inputs.dataset_inputs) == ("FINISHED", [])
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("FINISHED", STARTED, STARTED + 60_000)
    assert run.data.params == {key: str(value) for key, value in CELL.items()}
    assert run.data.metrics == {
        "kernel_generic_samples_per_s": 100.0,
        "kernel_generic_compile_s": 1.5,
        "kernel_generic_peak_memory_mib": 512.0,
        "kernel_generic_inference_samples_per_s": 400.0,
        "kernel_generic_inference_compile_s": 1.5,
        "kernel_cudnn_samples_per_s": 310.0,
        "kernel_cudnn_compile_s": 1.5,
        "kernel_speedup": 3.05,  # the record's own
    }
    assert {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.user")} == {
        "device": "cpu",
        "kernel_generic_ran": "generic",
        "kernel_generic_marks": "other load 23 %",
        "kernel_generic_inference_ran": "xla",
        "kernel_cudnn_ran": "cudnn",
        "kernel_xla_ran": "xla",
        "kernel_xla_unavailable": "error 0.3",
        "kernel_unrolled_forward_backward_unavailable": "compile exceeded 60 s",
        "kernel_unrolled_xla_unavailable": "failed",
        "lstm_bench.cell": f"kernels-quick-1/{NAME}",
        "lstm_bench.kind": "cell",
        "lstm_bench.study": "kernels-quick-1",
        "mlflow.parentRunId": parent.info.run_id,
        "mlflow.runName": NAME,
        "mlflow.source.name": "lstm_bench.kernels",
    }
    assert parent.data.tags["mlflow.source.name"] == "lstm_bench.kernels"


def test_the_table_of_a_benchmark_shows_shapes_and_training_throughputs():
    observer = benchmark()
    tags = client().get_experiment(observer.experiment_id).tags
    columns = json.loads(tags["mlflow.sharedViewState.trials"])["selectedColumns"]
    assert columns[:7] == [f"params.`{key}`" for key in CELL]
    throughputs = {"kernel_cudnn_samples_per_s", "kernel_bare_samples_per_s", "kernel_jax_generic_samples_per_s"}
    assert {f"metrics.`{name}`" for name in (*throughputs, "kernel_speedup", "kernel_torch_speedup")} <= set(columns)
    assert len(set(columns)) == len(columns)
    assert [column for column in columns if "accuracy" in column or "inference" in column] == []


def test_a_cell_logged_again_shows_its_newest_figures_in_the_same_run():
    first = [arm("generic", 100.0), arm("xla", 50.0, marks="power cap"), absent("unrolled", "no", "failed")]
    observer = benchmark()
    observer.log_cell(CELL, first, STARTED, STARTED + 60_000)
    observer.finish("KILLED")
    run_id = runs("kernels-quick")[NAME].info.run_id
    newer = [arm("generic", 90.0), absent("xla", "compile exceeded 60 s", "compile_limit"), arm("unrolled", 200.0)]
    again = benchmark()
    for _ in range(2):
        again.log_cell(CELL, newer, STARTED, STARTED + 120_000)
    again.finish("FINISHED")
    assert (observer.warning, again.warning) == (None, None)
    found = runs("kernels-quick")
    run = found.pop(NAME)
    assert (run.info.run_id, run.info.status, run.info.end_time) == (run_id, "FINISHED", STARTED + 120_000)
    assert sorted(found) == ["kernels-quick"]
    figures = {key: value for key, value in run.data.metrics.items() if not math.isnan(value)}
    assert figures == {
        "kernel_generic_samples_per_s": 90.0,
        "kernel_generic_compile_s": 1.5,
        "kernel_unrolled_samples_per_s": 200.0,
        "kernel_unrolled_compile_s": 1.5,
    }
    assert run.data.metrics.keys() - figures.keys() == {"kernel_xla_samples_per_s", "kernel_xla_compile_s"}
    assert {key: value for key, value in run.data.tags.items() if key.startswith("kernel_")} == {
        "kernel_generic_ran": "generic",
        "kernel_unrolled_ran": "unrolled",
        "kernel_xla_unavailable": "compile exceeded 60 s",
    }
    history = {
        name: len(client().get_metric_history(run_id, f"kernel_{name}_samples_per_s"))
        for name in ("generic", "xla", "unrolled")
    }
    assert history == {"generic": 2, "xla": 2, "unrolled": 1}


@pytest.mark.parametrize("known", [(), ("torch", "tensorflow")], ids=["by the rows", "by the benchmark"])
def test_of_several_backends_each_name_holds_its_backend(known):
    rows = [
        arm(kernel, speed, backend=backend)
        for backend in (known[:1] or ("tensorflow", "torch"))
        for kernel, speed in (("cudnn", 300.0), ("generic", 100.0))
    ]
    observer = benchmark(backends=known)
    observer.log_cell(CELL, rows, STARTED, STARTED + 9)
    assert observer.warning is None
    metrics = runs("kernels-quick")[NAME].data.metrics
    assert metrics.items() >= {"kernel_torch_generic_samples_per_s": 100.0, "kernel_torch_speedup": 3.0}.items()
    assert "kernel_generic_samples_per_s" not in metrics


def test_no_speedup_of_a_cell_without_proof_or_of_another_operation():
    observer = benchmark()
    rows = [arm(kernel, 100.0, "inference") for kernel in ("cudnn", "generic")]
    rows += [arm("cudnn", 300.0, kernel_ran="generic", state="other_kernel", reason="ran generic", speedup="3")]
    observer.log_cell(CELL, [*rows, arm("generic", 100.0)], STARTED, STARTED + 9)
    data = runs("kernels-quick")[NAME].data
    assert [key for key in data.metrics if "speedup" in key] == []
    assert data.tags.items() >= {"kernel_cudnn_unavailable": "ran generic", "kernel_cudnn_ran": "generic"}.items()


def test_a_cell_without_any_figure_is_failed():
    observer = benchmark()
    observer.log_cell(CELL, [absent("cudnn", "no GPU")], STARTED, STARTED + 9)
    run = runs("kernels-quick")[NAME]
    assert (run.info.status, run.data.metrics) == ("FAILED", {})
    assert run.data.tags["kernel_cudnn_unavailable"] == "no GPU"


def test_values_too_long_for_mlflow_are_cut():
    started({**STUDY, "params": {"long": "x" * 9000}, "tags": {"tag": "y" * 9000}})
    parent = runs()["stacked"].data
    assert (len(parent.params["long"]), len(parent.tags["tag"])) == (6000, 8000)


def test_a_deleted_experiment_is_restored():
    observer = started()
    client().delete_experiment(observer.experiment_id)
    started()
    assert "stacked" in runs()


def test_no_password_reaches_the_store(place):
    observer = started()
    observer.log_trial(trial(0), [], STARTED, STARTED + 9, STUDY["params"])
    observer.log_summary({}, {"storage": STUDY["params"]["storage.url"]})
    observer.finish("FINISHED")
    assert observer.warning is None
    files = [path for path in place.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"mlflow.db", "environment.json"}
    assert [path for path in files if b"S3CRET" in path.read_bytes()] == []


def _truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def _overwrite(path):
    with path.open("rb+") as file:
        file.seek(4096)
        file.write(os.urandom(64 * 1024))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_truncate, "corrupt"),
        (_overwrite, "corrupt"),
        (lambda path: path.write_bytes(b"\0" * 8192), "corrupt"),
        (lambda path: path.write_text("hello, this is no database" * 100), "corrupt"),
        (lambda path: path.write_bytes(b""), "an empty file"),
    ],
    ids=["truncated", "overwritten", "zeroed", "text", "empty"],
)
def test_a_corrupt_store_is_refused_and_left_as_it_is(place, damage, said):
    started()
    path = place / "mlflow.db"
    damage(path)
    before = sha256(path)
    with pytest.raises(StorageError, match=said) as caught:
        open_tracking(CONFIG, experiment="stacked").start(STUDY)
    assert caught.value.exit_code == 4
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sha256(path) == before


def test_another_program_s_database_is_refused(empty):
    with sqlite3.connect(empty / "mlflow.db") as database:
        database.execute("CREATE TABLE studies (name TEXT)")
    database.close()
    before = sha256(empty / "mlflow.db")
    with pytest.raises(StorageError, match="not MLflow's"):
        open_tracking(CONFIG, experiment="stacked").start(STUDY)
    assert sha256(empty / "mlflow.db") == before


def test_an_unusable_study_id_is_refused():
    with pytest.raises(ConfigError, match="study id"):
        open_tracking(CONFIG, experiment="stacked").start({**STUDY, "id": "x' OR 1=1"})


def test_a_store_that_others_keep_locked_is_an_outage(place, monkeypatch):
    import mlflow
    import sqlalchemy.exc

    def locked(*_, **__):
        raise sqlalchemy.exc.OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is locked"))

    with monkeypatch.context() as patched:
        patched.setattr(mlflow, "MlflowClient", locked)
        observer = open_tracking(CONFIG, experiment="stacked")
        observer.start(STUDY)
    assert "failed in start: OperationalError: (sqlite3.OperationalError) database is locked" in observer.warning
    assert started().warning is None


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_an_outage_is_one_warning_and_costs_seconds(scheme, empty, capfd):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    began = time.monotonic()
    observer = Tracking(f"{scheme}://me:S3CRET@127.0.0.1:{port}", "stacked")
    observer.start(STUDY)
    log_three(observer)
    observer.finish("FINISHED")
    assert time.monotonic() - began < 20
    assert observer.warning.startswith(f"MLflow ({scheme}://me:***@127.0.0.1:{port}) failed in start: ")
    assert "\n" not in observer.warning
    assert "S3CRET" not in observer.warning
    assert capfd.readouterr() == ("", "")
    assert list(empty.iterdir()) == []


DRIVER = """
import sys
sys.path.insert(0, sys.argv[2])
from lstm_bench.tracking.client import open_tracking
name = sys.argv[1]
observer = open_tracking({"name": "mlflow", "uri": None}, experiment=name)
observer.start({"name": name, "id": name + "-" + sys.argv[3], "params": {"a": 1}})
for number in range(3):
    observer.log_trial({"number": number, "state": "COMPLETE", "val_accuracy": 0.9}, [], 1000, 2000)
observer.finish("FINISHED")
sys.exit(observer.warning)
"""


@pytest.mark.long  # CI has two whole sweeps on an empty directory: test_faults.py, R1
def test_four_drivers_at_once_on_an_empty_directory(empty):
    """Two pairs: each pair shares a new experiment, all share the new database."""
    command = [sys.executable, "-c", DRIVER]
    drivers = [
        subprocess.Popen([*command, f"s{n % 2}", str(ROOT), str(n)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for n in range(4)
    ]
    said = [driver.communicate(timeout=120)[0] for driver in drivers]
    assert ([driver.returncode for driver in drivers], said) == ([0] * 4, [b""] * 4)
    with sqlite3.connect(empty / "mlflow.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT name FROM experiments ORDER BY name").fetchall() == [
            ("Default",),
            ("s0",),
            ("s1",),
        ]
        counts = database.execute(
            "SELECT experiment_id, COUNT(*), MIN(status) FROM runs GROUP BY experiment_id"
        ).fetchall()
    database.close()
    assert sorted(count[1:] for count in counts) == [(8, "FINISHED"), (8, "FINISHED")]
    assert sorted(path.name for path in empty.iterdir()) == ["mlartifacts", "mlflow.db"]


LOAD = """
import sys, mlflow, mlflow.keras, numpy
mlflow.set_tracking_uri(sys.argv[1])
print("output", mlflow.keras.load_model(sys.argv[2]).predict(numpy.ones((1, 4, 3), "float32"), verbose=0).tolist())
"""


@pytest.mark.long
def test_the_winner_s_model_is_stored_once_and_loads_back_to_the_same_outputs(place):
    import keras
    import numpy as np

    model = keras.Sequential([keras.Input((4, 3)), keras.layers.LSTM(5), keras.layers.Dense(2)])
    x = np.ones((1, 4, 3), "float32")
    expected = model.predict(x, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # between MLflow and Keras
        import mlflow.keras
        from mlflow.models import infer_signature

        # Named requirements: to find them out, MLflow would load the model in a process of its own.
        signature = infer_signature(x, expected)
        mlflow.keras.save_model(model, str(place / "model"), pip_requirements=["keras"], signature=signature)
    observer = started()
    observer.log_model(place / "model", "stacked/winner")
    started().log_model(place / "model", "stacked/winner")
    assert observer.warning is None
    (model,) = client().search_logged_models([observer.experiment_id])
    assert (model.name, str(model.status), model.source_run_id) == ("stacked-winner", "READY", observer.parent_id)
    assert [output.model_id for output in runs()["stacked"].outputs.model_outputs] == [model.model_id]
    command = [sys.executable, "-W", "ignore", "-c", LOAD, store_uri(CONFIG), f"models:/{model.model_id}"]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("output")]
    assert lines == [f"output {expected.tolist()}"], done.stderr[-3000:]


def test_what_a_resume_changes_back_is_the_first_value_again():
    params = {"study.replicates": 5, "study.n_trials": 3}
    for replicates, found in ((5, None), (3, "3"), (5, None)):
        started({**STUDY, "params": {**params, "study.replicates": replicates}})
        parent = runs()["stacked"].data
        assert (parent.params["study.replicates"], parent.tags.get("resumed.study.replicates")) == ("5", found)


def test_the_environment_of_the_last_session_is_tags_of_the_parent():
    started({**STUDY, "environment": {"python": "3.10", "device": {"name": "cpu", "driver": None}, "cores": [0, 1]}})
    started({**STUDY, "environment": {"python": "3.11", "device": {"name": "cpu"}}})
    tags = runs()["stacked"].data.tags
    found = {key: value for key, value in tags.items() if key.startswith("environment.")}
    assert found == {"environment.python": '"3.11"', "environment.device.name": "cpu"}


def test_the_probe_of_another_winner_replaces_the_first():
    observer = started()
    arms = {"backend": "jax", "device": "cpu", "n": 7, "evidence": "while"}
    observer.log_kernels([{**arms, "kernel": "xla", "train_samples_per_s": 9.0, "kernel_ran": "xla"}])
    again = started()
    again.log_kernels([{**arms, "kernel": "generic", "train_samples_per_s": 5.0, "kernel_ran": "generic"}])
    assert (observer.warning, again.warning) == (None, None)
    (file,) = Path.cwd().rglob("kernels.json")
    assert [row["kernel"] for row in json.loads(file.read_text())] == ["generic"]


def test_what_a_metric_cannot_say_is_a_tag():
    observer = started()
    curve = [{"epoch": 1, "train_loss": 2.0, "train_s": 0.5}, {"epoch": 2, "train_loss": math.inf, "train_s": 0.7}]
    failed = trial(0, "FAIL", "timeout", val_accuracy=None, val_loss=-math.inf, train_loss=None, train_s=9.0)
    observer.log_trial(failed, curve, STARTED, STARTED + 9)
    observer.log_trial(trial(1, val_accuracy=0.5), epochs(2), STARTED, STARTED + 9)
    assert observer.warning is None
    found = runs()
    first, second = found["trial 0"].data, found["trial 1"].data
    assert "train_loss" not in first.metrics and first.metrics["curves/train_loss"] == 2.0
    assert json.loads(first.tags["lstm_bench.infinite"]) == [["val_loss", None, "-inf"], ["train_loss", 2, "inf"]]
    assert (first.metrics["train_s"], first.metrics["epoch_train_s"]) == (9.0, 0.7)
    assert (second.metrics["curves/val_accuracy"], second.metrics["val_accuracy"]) == (0.92, 0.5)
    assert "lstm_bench.infinite" not in second.tags
