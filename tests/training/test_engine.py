"""Engines: each trains exactly as Keras's own `train_on_batch` does, on every backend that is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import long_but

from lstm_bench.core.hardware import gpus
from lstm_bench.core.vocabulary import OF_BACKEND
from lstm_bench.training.engine.factory import steps_per_execution

SUPPORT = Path(__file__).parents[1] / "support"
Printed = Callable[..., str]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Printed]:
    """What a script of `support/` prints in a process with a backend of Keras, where it is installed: see `forked.py`."""
    folder, having = tmp_path_factory.mktemp("printed"), dict[str, subprocess.Popen[str]]()

    def run(script: str, backend: str, *arguments: str) -> str:
        if importlib.util.find_spec(backend) is None:
            pytest.skip(f"{backend} is not installed: pip install 'lstm-bench[{backend}]'")
        if backend not in having:
            environment = {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
            having[backend] = subprocess.Popen(
                [sys.executable, str(SUPPORT / "forked.py"), backend],
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        process, (out, err) = having[backend], [folder / f"{script}.{backend}.{end}" for end in ("out", "err")]
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps([str(SUPPORT / script), str(out), str(err), backend, *arguments]) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "0\n", err.read_text()[-3000:]
        return out.read_text()

    yield run
    for process in having.values():
        with process:  # closes what it was told and told by
            os.killpg(process.pid, signal.SIGKILL)  # a script that hangs, too


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


FEW_MODELS = ("masked", "shared", "states", "subclassed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "kernels", "models"),
    [
        ("torch", ("generic",), FEW_MODELS),
        pytest.param("torch", ("generic", "fused"), OWN_MODELS, marks=pytest.mark.long),
        pytest.param("jax", ("generic", "unrolled"), OWN_MODELS, marks=pytest.mark.long),
        pytest.param("tensorflow", ("generic",), OWN_MODELS, marks=pytest.mark.long),
    ],
)
def test_models_as_users_write_them_train_as_keras_fits_them(
    printed: Printed, backend: str, kernels: tuple[str, ...], models: tuple[str, ...]
) -> None:
    """Functional, nested, shared, masked, subclassed, and with losses of their own: the total of each step is `fit`'s."""
    said = printed("own_model_steps.py", backend, ",".join(kernels), ",".join(models)).splitlines()
    expected = [f"{backend} {name} {kernel} equal" for name in models for kernel in kernels]
    assert said == [*expected, *(["pack equal"] if backend == "jax" else []), "refused and saved"]


@pytest.mark.slow
def test_the_proof_of_packed_sequences_takes_no_memory_of_a_gradient_per_timestep(printed: Printed) -> None:
    """300 timesteps: 2,700 MiB where the profiler's records lie between the gradients."""
    ran, more = printed("profile_memory.py", "torch").split()
    assert ran == "fused"
    assert int(more) < 500


ON_CPU = {backend: tuple(name for name in names if name != "cudnn") for backend, names in OF_BACKEND.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "names"),
    [("tensorflow", ("generic",)), *(pytest.param(*each, marks=pytest.mark.long) for each in ON_CPU.items())],
)
def test_an_engine_trains_as_keras_does(printed: Printed, backend: str, names: tuple[str, ...]) -> None:
    arms = [f"{name} x{n}" for name in names for n in steps_per_execution(backend, name)]
    said = printed("equivalence.py", backend, *names)
    assert [f"{backend} {arm} equal" in said for arm in arms] == [True] * len(arms)


@pytest.mark.slow
@pytest.mark.parametrize("backend", long_but("torch"))
def test_every_task_is_trained_on_its_own_loss(printed: Printed, backend: str) -> None:
    said = printed("criteria.py", backend)
    tasks = ("classification", "regression", "tagging", "multilabel", "scaled")
    arms = [f"{backend} {task} x{n} equal" for task in tasks for n in steps_per_execution(backend, "generic")]
    assert said.splitlines() == arms


@pytest.mark.slow
@pytest.mark.parametrize("backend", long_but("jax"))  # it alone has packs
def test_patience_plateaus_and_class_weights_do_the_same_on_every_backend_and_in_packs(
    printed: Printed, backend: str
) -> None:
    assert printed("ending.py", backend).splitlines() == [f"{backend} equal"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", long_but("torch"))
def test_every_family_trains_with_every_kernel_it_has_and_shows_it(printed: Printed, backend: str) -> None:
    said = printed("family_steps.py", backend)
    assert "layers as published" in said and "saved and loaded" in said
    for name in ("gru", "bidirectional", "recurrent_dropout", "layer_norm", "min_gru", "cnn", "mlp"):
        assert f"{backend} {name} generic ran:" in said


FAMILIES = ("single", "cnn", "cnn_lstm", "min_gru")
MORE = ("bidirectional", "stacked", "gru", "simple_rnn", "recurrent_dropout", "layer_norm")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "families", "examples"),
    [
        ("torch", FAMILIES, 3),
        pytest.param("torch", MORE, 12, marks=pytest.mark.long),
        *(
            pytest.param(backend, (name,), 12, marks=pytest.mark.long, id=f"{backend}-{name}")
            for backend in ("jax", "tensorflow")
            for name in FAMILIES + MORE
        ),
    ],
)
def test_no_result_depends_on_the_padding(
    printed: Printed, backend: str, families: tuple[str, ...], examples: int
) -> None:
    """Every family, kernel and backend: see `support/unequal_lengths.py`."""
    said = printed("unequal_lengths.py", backend, ",".join(families), str(examples)).splitlines()
    assert said[-1] == "dropped masks are found" and ("pack equal" in said) is (backend == "jax")
    found = [line.split() for line in said if line.startswith(f"{backend} ")]
    assert {name for _, name, *_ in found} == set(families)
    assert all(float(difference) < 2e-5 for line in found for difference in line[-2:])


@pytest.mark.gpu
@pytest.mark.parametrize("backend", sorted(OF_BACKEND))
def test_cudnn_runs_and_trains_as_the_generic_kernel_does(backend: str) -> None:
    if not gpus():
        pytest.skip("no GPU: the cuDNN kernel was not tested")
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install 'lstm-bench[{backend}]'")
    done = subprocess.run(
        [sys.executable, str(SUPPORT / "equivalence.py"), backend, "cudnn"],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{backend} cudnn x" in done.stdout
