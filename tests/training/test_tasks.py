"""A worker's workbench: every way a task can end is a result, and winners are saved as plain Keras layers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from trainings import config, data, problem, ragged

from lstm_bench.core.errors import DataError, KernelError
from lstm_bench.data.task import TAGGING
from lstm_bench.model import kernel
from lstm_bench.training import artefacts, fit, precision, programs, tasks


def bench(monkeypatch: pytest.MonkeyPatch, scale: float = 1.0, found: Any = None) -> tasks.TaskRunner:
    monkeypatch.setattr(tasks.datasets, "load", lambda settings: found or data(scale=scale))
    precision.pin(
        precision.keras().config.backend()
    )  # as a worker does: another file's tests may have set something else
    return tasks.TaskRunner("a device", "exclusive")


def task(kind: str = "trial", **more: Any) -> dict[str, Any]:
    steps = {} if kind == "check" else {"kernel": "generic", "steps_per_execution": 50}
    seed = {"seed": 1} if kind in ("trial", "replicate") else {}
    return {"kind": kind, "config": {**config(), "dataset": {}}, **steps, **seed, **more}


def run(made: tasks.TaskRunner, work: dict[str, Any], stopped: bool = False) -> dict[str, Any]:
    result = made.run(work, lambda metrics: None, lambda: stopped)
    json.dumps(result)  # it travels as JSON
    return result


def test_a_trial_is_complete_with_everything_that_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(bench(monkeypatch), task())
    assert (result["state"], result["kernel_ran"], result["device"]) == ("COMPLETE", "generic", "a device")
    assert (result["n_weights"], result["n_trainable"]) == (154, 146)  # LSTM 128, BatchNormalization 16, Dense 10
    parts = [result[part] for part in ("setup_s", "compile_s", "train_s", "eval_s")]
    assert result["total_s"] == pytest.approx(sum(parts))
    assert result["epoch_s"] == pytest.approx((result["train_s"] + result["eval_s"]) / config()["train"]["epochs"])
    assert 50 < result["peak_memory_mib"] < 50_000 and "peak_device_memory_mib" not in result  # no GPU here
    assert not {"test_accuracy", "latency_ms_batch_1"} & result.keys()


def test_seconds_of_an_epoch_are_those_of_epochs_that_were_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    study = {"objective": "val_accuracy", "direction": "maximize", "objectives": {}}
    patient = {**config(epochs=50, patience=1, learning_rate=0.0), "dataset": {}, "study": study}
    result = run(bench(monkeypatch), task(config=patient))
    assert (result["state"], result["epochs"], result["best_epoch"]) == ("COMPLETE", 2, 1)
    assert result["epoch_s"] == pytest.approx((result["train_s"] + result["eval_s"]) / 2)


def test_nan_is_a_fail_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(bench(monkeypatch, scale=np.nan), task())
    assert (result["state"], result["reason"]) == ("FAIL", "nan")


def test_a_stopped_trial_is_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(bench(monkeypatch), task(), stopped=True)
    assert (result["state"], result["n_weights"], result["kernel_ran"]) == ("PRUNED", 154, "generic")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("a bug"), "exception"),
        (MemoryError(), "oom"),
        (RuntimeError("RESOURCE_EXHAUSTED: 9 GiB"), "oom"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "oom"),
    ],
)
def test_an_exception_is_a_fail_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*args: Any, **more: Any) -> None:
        raise error

    made = bench(monkeypatch)
    monkeypatch.setattr(fit, "train", fails)
    result = run(made, task())
    assert (result["state"], result["reason"]) == ("FAIL", reason)
    assert type(error).__name__ in result["detail"]
    assert "Traceback" in capsys.readouterr().err  # kept in the worker's log


def test_bad_data_is_a_fault_that_stops_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(settings: Any) -> None:
        raise DataError("mnist: torn")

    monkeypatch.setattr(tasks.datasets, "load", fails)
    result = run(tasks.TaskRunner("a device", "exclusive"), task())
    assert (result["state"], result["error"], result["detail"]) == ("FAULT", "DataError", "mnist: torn")


@pytest.mark.parametrize("kind", ["pack", "trials"])
def test_a_kernel_that_a_pack_cannot_run_stops_no_sweep(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def refuse(*_: Any) -> None:
        raise KernelError("kernel=generic was asked for and none ran")

    monkeypatch.setattr(programs, "prepare_pack", refuse)
    result = run(bench(monkeypatch), task(kind, seeds=[0, 1]))
    assert (result["state"], result["reason"]) == ("FAIL", "refused")
    assert result["detail"].startswith("kernel=generic was asked for")


def test_a_replicate_reads_the_test_set_and_keeps_a_plain_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import keras

    work = task("replicate", kernel="unrolled", keep=str(tmp_path / "model"))
    work["config"]["kernel"] = {"name": "unrolled"}
    result = run(bench(monkeypatch), work)
    assert 0 <= result["test_accuracy"] <= 1
    assert 0 < result["latency_ms_batch_64"] < result["latency_ms_batch_1"] < 1000
    toy = data()
    assert [row["label"] for row in result["predictions"]] == toy.y_test.tolist()
    wrong = [row for row in result["predictions"] if row["label"] != row["prediction"]]
    assert len(result["worst"]) == min(len(wrong), artefacts.N_WORST)
    saved = keras.saving.load_model(tmp_path / "model" / "model.keras")
    assert saved.layers[0].unroll is False
    predicted = saved.predict(toy.x_test, verbose=0).argmax(axis=1)
    assert predicted.tolist() == [row["prediction"] for row in result["predictions"]]


@pytest.mark.parametrize("kind", ["trial", pytest.param("replicate", marks=pytest.mark.long)])
def test_a_model_asked_for_by_its_weights_has_the_nearest_width_wherever_it_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    import keras

    work = task(kind, **({"keep": str(tmp_path / "model")} if kind == "replicate" else {}))
    work["config"]["model"] = {**work["config"]["model"], "units": 9, "weights": 155}
    result = run(bench(monkeypatch), work)
    assert (result["n_weights"], result["width"]) == (154, 4)
    if kind == "replicate":
        assert keras.saving.load_model(tmp_path / "model" / "model.keras").count_params() == 154
    assert "width" not in run(bench(monkeypatch), task(kind))


def test_a_check_finds_corners_that_no_width_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {**config(), "dataset": {}}
    bad["model"] = {**bad["model"], "weights": 180}
    result = run(bench(monkeypatch), task("check", corners=[bad]))
    assert (result["state"], result["error"]) == ("FAULT", "ConfigError")
    assert "model.weights=180: the nearest width, units=" in result["detail"]


@pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning")  # MLflow's, of its own functions
@pytest.mark.parametrize(
    ("kind", "measured", "shape"),
    [
        pytest.param("regression", {"test_loss", "test_mse", "test_mae", "test_r2"}, (1,), marks=pytest.mark.long),
        ("tagging", {"test_loss", "test_accuracy", "test_macro_f1"}, (5, 2)),
    ],
)
def test_a_replicate_of_another_task_has_its_metrics_and_no_predictions(
    kind: str, measured: set[str], shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import keras

    monkeypatch.setattr(tasks.datasets, "load", lambda settings: problem(kind))
    result = run(
        tasks.TaskRunner("a device", "exclusive"), task("replicate", keep=str(tmp_path / "model"), for_mlflow=True)
    )
    assert (result["state"], result.get("detail")) == ("COMPLETE", None)
    assert {name for name in result if name.startswith("test_")} == measured
    assert measured <= {name.replace("val_", "test_") for name in result if name.startswith("val_")}
    assert not any(metric.column.replace("test_", "val_") in result["history"][0] for metric in problem(kind).kind.late)
    assert "predictions" not in result and "worst" not in result
    saved = keras.saving.load_model(tmp_path / "model" / "model.keras")
    toy = problem(kind)
    found = toy.kind.score(saved.predict(toy.x_test, verbose=0), toy.y_test, "test")
    assert found == pytest.approx({name: result[name] for name in measured}, rel=1e-4)
    signature = yaml.safe_load((tmp_path / "model" / "mlflow" / "MLmodel").read_text())["signature"]
    assert json.loads(signature["outputs"])[0]["tensor-spec"]["shape"] == [-1, *shape]


@pytest.mark.parametrize("name", ["gru", "bidirectional", "recurrent_dropout", "layer_norm", "min_gru", "cnn", "mlp"])
def test_every_family_is_saved_as_it_was_trained_and_loaded_in_safe_mode(tmp_path: Path, name: str) -> None:
    import keras

    width = "filters" if name == "cnn" else "units"
    settings, toy = {**config(), "model": {"_target_": f"lstm_bench.model.{name}", width: 3}}, data()
    model, _ = tasks.build.build(settings["model"], toy.input_shape, toy.n_classes, "generic")
    artefacts.save(model, settings, toy, tmp_path, for_mlflow=False)
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(toy.x_test), model(toy.x_test), rtol=1e-4, atol=1e-5)


def test_the_worst_predictions_come_first() -> None:
    probability = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.99, 0.01]])
    kept = artefacts.predictions(np.zeros((4, 2, 3), np.float32), np.array([0, 0, 1, 1]), probability)
    assert [row["sample"] for row in kept["worst"]] == [3, 1, 2]
    assert kept["worst"][0]["values"] == "0 0 0 0 0 0"
    assert kept["predictions"][1] == {"sample": 1, "label": 0, "prediction": 1, "probability": 0.8}


def test_a_check_builds_the_corners_too(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {**config(), "dataset": {}, "model": {"_target_": "lstm_bench.model.cnn_lstm", "window": 4}}
    result = run(bench(monkeypatch), task("check", corners=[bad]))
    assert (result["state"], result["error"]) == ("FAULT", "ConfigError")
    assert "model.window: expected a divisor of the 5 timesteps" in result["detail"]
    named = run(bench(monkeypatch), task("check", corners=[bad], searched=[{"model.window": 4}]))
    assert named["error"] == "ConfigError" and named["detail"].startswith("study.space.model.window=4: model.window: ")
    checked = run(bench(monkeypatch), task("check", corners=[]))
    assert checked.get("layers") == ["lstm"], checked


def test_a_check_knows_what_takes_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    unequal = ragged()
    monkeypatch.setitem(kernel.CUDNN_MASKED, "jax", set())
    asked = {**config(), "dataset": {}, "kernel": {"name": "cudnn"}, "backend": {"name": "jax"}}
    result = run(bench(monkeypatch, found=unequal), task("check", config=asked, corners=[]))
    assert result["error"] == "KernelError" and "where sequences differ in length" in result["detail"]
    tags = {f"y_{split}": np.zeros((50, 12), np.int32) for split in ("train", "validation", "test")}
    unequal = dataclasses.replace(unequal, **tags, task="tagging")
    monkeypatch.setattr(type(unequal), "kind", dataclasses.replace(TAGGING, loss="mean_squared_error"))
    result = run(
        bench(monkeypatch, found=unequal), task("check", config={**asked, "kernel": {"name": "auto"}}, corners=[])
    )
    assert result["error"] == "ConfigError" and "traceback" not in result
    assert result["detail"].startswith(
        "mean_squared_error: it takes no mask, and the timesteps of these sequences differ"
    )


def test_a_probe_times_batches_of_the_lengths_that_an_epoch_has(monkeypatch: pytest.MonkeyPatch) -> None:
    unequal, drawn = ragged(n=400), []

    def timed(arm: Any, size: int, n: int, seconds: float, rows: Any) -> dict[str, Any]:
        drawn.append((arm.buckets, rows(200)))
        return {"train_samples_per_s": 1.0}

    monkeypatch.setattr(tasks.timer, "training_throughput", timed)
    result = run(bench(monkeypatch, found=unequal), task("probe", seconds=0.1, pack=1))
    assert result["state"] == "COMPLETE", result
    [(timesteps, rows)] = drawn
    longest = unequal.lengths_train[rows].max(axis=1)
    assert rows.shape == (200, 8) and len(timesteps) > 1 and len(set(longest.tolist())) > 3
    steps = np.bincount(np.searchsorted(timesteps, longest), minlength=len(timesteps))
    share = np.diff([0, *((unequal.lengths_train <= bucket).mean() for bucket in timesteps)])
    np.testing.assert_allclose(steps / 200, share, atol=0.06)
