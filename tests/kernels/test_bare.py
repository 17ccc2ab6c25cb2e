"""Bare arms: each agrees with the float64 reference, counts its steps and proves its kernel; on a GPU where there is one."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lstm_bench.core import hardware, vocabulary
from lstm_bench.kernels import bare, reference

# Three frameworks in one process: none may take the whole memory of a GPU.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

GPU = next((gpu.name for gpu in hardware.gpus()), None)
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}
BACKENDS = ("tensorflow", "jax", "torch")


def cell(layer: str = "lstm", layers: int = 2, dtype: str = "float32") -> dict[str, Any]:
    return {"layer": layer, "units": 5, "layers": layers, "timesteps": 7, "features": 3, "batch": 4, "dtype": dtype}


# In every run of the tests; the others take JAX over ten seconds to compile.
QUICK = [cell("lstm"), cell("gru"), cell("lstm", 1, "bfloat16")]
CELLS = [
    *QUICK,
    *[cell(layer) for layer in reference.KINDS if layer not in ("lstm", "gru")],
    cell("lstm", 1),
    *[cell(layer, 1, "bfloat16") for layer in ("gru", "bidirectional_lstm")],
]
ARMS = [
    pytest.param(
        kernel,
        backend,
        each,
        id="-".join(map(str, (kernel, backend, each["layer"], each["layers"], each["dtype"]))),
        marks=() if each in QUICK else pytest.mark.long,
    )
    for kernel, backend, each in itertools.product(vocabulary.NAMES, BACKENDS, CELLS)
    if bare.unavailable(kernel, backend, each, GPU) is None
]


def made(kernel: str, backend: str, cell: dict[str, Any], change: Callable[[list], list] = list) -> Any:
    """The arm on the reference's weights, after a change to them, and its inputs."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install 'lstm-bench[{backend}]'")
    if backend == "torch":
        import torch

        torch.set_num_threads(1)  # two would wait for each other wherever a core is busy
    return bare.make(kernel, backend, cell, change(reference.weights(cell)), *reference.inputs(cell))


def error(arm: Any, cell: dict[str, Any], operation: str) -> float:
    weights, (x, cotangent) = reference.weights(cell), reference.inputs(cell)
    outputs, gradients = reference.gradients(cell, weights, x, cotangent)
    found = arm.values(operation)
    assert all(array.dtype == np.float32 for array in found)
    if operation == "train_step":
        return reference.step_error(found, weights, reference.adam_step(weights, gradients[:-1]))
    return reference.error(found, [outputs] if operation == "inference" else gradients)


def some_rows(cell: dict[str, Any], steps: int) -> np.ndarray:
    random = np.random.default_rng(0)
    return np.stack([random.permutation(cell["batch"]) for _ in range(steps)]).astype(np.int32)


def swapped(weights: list[np.ndarray]) -> list[np.ndarray]:
    """The first two gates of the first kernel in each other's place."""
    first, second, *rest = np.split(weights[0], 4, axis=1)
    return [np.concatenate([second, first, *rest], axis=1), *weights[1:]]


@pytest.mark.parametrize(("kernel", "backend", "cell"), ARMS)
def test_an_arm_agrees_with_the_reference_counts_its_steps_and_proves_its_kernel(
    kernel: str, backend: str, cell: dict[str, Any]
) -> None:
    arm = made(kernel, backend, cell)
    for operation in vocabulary.OPERATIONS:
        arm.compile(operation)
        assert error(arm, cell, operation) < TOLERANCE[cell["dtype"]], operation
        assert arm.run(operation, some_rows(cell, 3)) == 3
        assert arm.run(operation, some_rows(cell, 2)) == 2
        ran, evidence = arm.kernel_evidence(operation)
        assert ran == bare.expected(kernel, backend, cell, GPU), evidence
        assert error(arm, cell, operation) < TOLERANCE[cell["dtype"]], f"{operation} after running"


@pytest.mark.parametrize("backend", BACKENDS)
def test_swapped_gates_are_wrong_and_not_merely_slow(backend: str) -> None:
    each = cell(layers=1)
    arm = made("bare", backend, each, swapped)
    for operation in ("inference", "forward_backward"):
        arm.compile(operation)
        assert error(arm, each, operation) > 0.1, operation


def weights_of(arm: Any) -> list[np.ndarray]:
    """Weights as training left them, in Keras's order."""
    if isinstance(arm, bare.JaxArm):
        return arm._to_keras(arm.states["train_step"][0])
    return arm._to_keras(
        [weight.numpy() for weight in arm.weights] if isinstance(arm, bare.TensorflowArm) else arm.weights
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_is_adam_on_the_rows_given_and_reading_values_does_not_disturb_it(backend: str) -> None:
    each = cell(layers=1)
    arm = made("bare", backend, each)
    arm.compile("train_step")
    rows = some_rows(each, 4)
    arm.run("train_step", rows[:2])
    arm.values("train_step")
    arm.kernel_evidence("train_step")
    arm.run("train_step", rows[2:])

    initial, (x, cotangent) = reference.weights(each), reference.inputs(each)
    weights: list[Any] = [weight.astype(np.float64) for weight in initial]
    first, second = [0.0] * 3, [0.0] * 3
    for time, row in enumerate(rows, start=1):
        acting = list(weights)
        if backend == "torch":  # the second bias starts at zero, has the first one's gradients and acts with it
            acting[2] = 2 * weights[2] - initial[2]
        gradients = reference.gradients(each, acting, x[row], cotangent)[1]
        shares = 1 - reference.BETA_1**time, 1 - reference.BETA_2**time
        # TensorFlow's op adds epsilon before it corrects the bias of the second moment.
        early = np.sqrt((1 - reference.BETA_2) / shares[1]) if backend == "tensorflow" else 1.0
        for n, g in enumerate(gradients[:3]):
            first[n] = reference.BETA_1 * first[n] + (1 - reference.BETA_1) * g
            second[n] = reference.BETA_2 * second[n] + (1 - reference.BETA_2) * g**2
            step = first[n] / shares[0] / (np.sqrt(second[n] / shares[1]) + reference.EPSILON * early)
            weights[n] = weights[n] - reference.RATE * step
    assert reference.step_error(weights_of(arm), initial, weights) < 1e-3
    assert reference.step_error(weights_of(arm), initial, initial) > 0


def test_the_gradient_that_tensorflow_registers_for_blocklstmv2_is_wrong() -> None:
    each = cell(layers=1)
    arm = made("bare", "tensorflow", each)
    import tensorflow as tf

    state, peephole = tf.zeros((4, 5)), tf.zeros((5,))

    def registered(sequence: Any, weight: Any, bias: Any) -> Any:
        return tf.raw_ops.BlockLSTMV2(
            seq_len_max=7,
            x=sequence,
            cs_prev=state,
            h_prev=state,
            w=weight,
            wci=peephole,
            wcf=peephole,
            wco=peephole,
            b=bias,
        ).h

    arm._layer = registered
    for operation in ("inference", "forward_backward"):
        arm.compile(operation)
    assert error(arm, each, "inference") < 1e-4
    assert error(arm, each, "forward_backward") > 0.1, "it is right by now: BlockLSTMGradV2 need not be called by hand"
    assert arm.kernel_evidence("forward_backward")[0] == "unknown"


def test_jax_native_gives_cudnn_its_weights_in_the_published_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    rnn = pytest.importorskip("jax.experimental.rnn")

    def published(x: Any, h: Any, c: Any, weights: Any, lengths: Any, *sizes: Any) -> Any:
        features, units, layers, dropout, bidirectional = sizes
        unpacked = rnn.unpack_lstm_weights(weights, features, units, layers, bidirectional)
        return rnn.lstm_ref(x, h, c, *unpacked, lengths, features, units, layers, dropout, bidirectional)

    monkeypatch.setattr(rnn, "lstm", published)
    each = cell("bidirectional_lstm")
    arm = made("native", "jax", each)
    for operation in ("forward_backward", "train_step"):
        arm.compile(operation)
        assert error(arm, each, operation) < 1e-4, operation


@pytest.mark.parametrize(
    ("kernel", "backend", "changed", "reason"),
    [
        ("bare", "torch", {}, None),
        ("native", "torch", {}, None),
        ("native", "torch", {"layers": 1}, "one layer: the same as bare"),
        ("bare", "jax", {"layer": "gru", "dtype": "bfloat16"}, None),
        ("native", "jax", {}, "no GPU"),
        ("native", "jax", {"layer": "gru"}, "JAX has no cuDNN call for GRU"),
        ("native", "jax", {"dtype": "bfloat16"}, "JAX's cuDNN call has no bfloat16"),
        ("bare", "tensorflow", {"layer": "bidirectional_lstm"}, None),
        ("bare", "tensorflow", {"layer": "simple_rnn"}, "TensorFlow has no BlockLSTM for SimpleRNN"),
        ("bare", "tensorflow", {"dtype": "bfloat16"}, "BlockLSTM has no bfloat16"),
        ("native", "tensorflow", {}, "TensorFlow has no call of several layers"),
    ],
)
def test_a_yardstick_that_does_not_exist_says_why(kernel: str, backend: str, changed: dict, reason: str | None) -> None:
    assert bare.unavailable(kernel, backend, {**cell(), **changed}, None) == reason


def test_a_gpu_brings_tf32_and_the_native_call_of_jax() -> None:
    assert bare.unavailable("bare", "torch", cell(dtype="tf32"), "NVIDIA") is None
    assert bare.unavailable("native", "jax", cell(layers=1, dtype="tf32"), "NVIDIA") is None
    assert (
        bare.expected("native", "jax", cell(), "NVIDIA")
        == bare.expected("bare", "torch", cell("gru"), "NVIDIA")
        == "cudnn"
    )


def test_what_exists_is_told_without_a_framework() -> None:
    code = (
        "import sys; from lstm_bench.kernels import bare; "
        f"bare.unavailable('native', 'jax', {cell()!r}, None); bare.expected('bare', 'torch', {cell()!r}, None); "
        "print(sorted(set(sys.modules) & {'keras', 'tensorflow', 'jax', 'torch'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
