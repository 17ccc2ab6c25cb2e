"""Engines: each trains exactly as Keras's own `train_on_batch` does, on every backend that is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import long_but

from lstm_bench.core.hardware import gpus
from lstm_bench.core.vocabulary import OF_BACKEND
from lstm_bench.training.engine.factory import steps_per_execution


def printed(script: str, backend: str, *arguments: str, timeout: float = 280) -> str:
    """What a script beside this file prints in a process with that backend of Keras, where it is installed."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install 'lstm-bench[{backend}]'")
    environment = {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parents[1] / "support" / script), backend, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


OWN_MODELS = (
    "plain",
    "functional",
    "residual",
    "masked",
    "nested",
    "shared",
    "branches",
    "states",
    "subclassed",
    "regularised",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "kernels", "models"),
    [
        ("torch", ("generic", "fused"), OWN_MODELS),
        pytest.param("jax", ("generic", "unrolled"), OWN_MODELS, marks=pytest.mark.long),
        pytest.param("tensorflow", ("generic",), OWN_MODELS, marks=pytest.mark.long),
    ],
)
def test_models_as_users_write_them_train_as_keras_fits_them(
    backend: str, kernels: tuple[str, ...], models: tuple[str, ...]
) -> None:
    """Functional, nested, shared, masked, subclassed, and with losses of their own: the total of each step is `fit`'s."""
    said = printed("own_model_steps.py", backend, ",".join(kernels), ",".join(models)).splitlines()
    expected = [f"{backend} {name} {kernel} equal" for name in models for kernel in kernels]
    assert said == [*expected, *(["pack equal"] if backend == "jax" else []), "refused and saved"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", long_but("tensorflow"))
def test_an_engine_trains_as_keras_does(backend: str) -> None:
    names = [name for name in OF_BACKEND[backend] if name != "cudnn"]
    arms = [f"{name} x{n}" for name in names for n in steps_per_execution(backend, name)]
    said = printed("equivalence.py", backend, *names)
    assert [f"{backend} {arm} equal" in said for arm in arms] == [True] * len(arms)


@pytest.mark.slow
@pytest.mark.parametrize("backend", long_but("torch"))
def test_every_task_is_trained_on_its_own_loss(backend: str) -> None:
    said = printed("criteria.py", backend)
    tasks = ("classification", "regression", "tagging", "multilabel", "scaled")
    arms = [f"{backend} {task} x{n} equal" for task in tasks for n in steps_per_execution(backend, "generic")]
    assert said.splitlines() == arms


@pytest.mark.slow
@pytest.mark.parametrize("backend", long_but("torch"))
def test_every_family_trains_with_every_kernel_it_has_and_shows_it(backend: str) -> None:
    said = printed("family_steps.py", backend)
    assert "layers as published" in said and "saved and loaded" in said
    for name in ("gru", "bidirectional", "recurrent_dropout", "layer_norm", "min_gru", "cnn", "mlp"):
        assert f"{backend} {name} generic ran:" in said


def test_the_data_of_workers_is_not_copied_where_tensorflow_can_use_it() -> None:
    from lstm_bench.training.engine.tensorflow import _placed

    if gpus():
        pytest.skip("a GPU: the data is copied to it")
    room = np.zeros(1000 + 32, np.float32)
    start = -(room.ctypes.data // 4) % 16  # floats up to the next 64 bytes
    for offset, shared in ((start, True), (start + 1, False)):
        array = room[offset : offset + 1000]
        tensor = _placed(array)
        array[7] = 5.0
        assert (float(tensor[7]) == 5.0) is shared
        array[7] = 0.0


@pytest.mark.gpu
@pytest.mark.parametrize("backend", sorted(OF_BACKEND))
def test_cudnn_runs_and_trains_as_the_generic_kernel_does(backend: str) -> None:
    if not gpus():
        pytest.skip("no GPU: the cuDNN kernel was not tested")
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install 'lstm-bench[{backend}]'")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parents[1] / "support" / "equivalence.py"), backend, "cudnn"],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{backend} cudnn x" in done.stdout
