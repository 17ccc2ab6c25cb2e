"""Ceilings: each backend counts its steps, does what `units` says, and in the precision asked for."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np
import pytest

from lstm_bench.kernels import ceiling
from lstm_bench.kernels.ceiling import Ceiling
from lstm_bench.training import timer

# Three frameworks in one process: none may take the whole memory of a GPU.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

BACKENDS = ("tensorflow", "jax", "torch")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend that is installed, with matrices of 16 x 16 and copies of 4 KiB."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: pip install 'lstm-bench[{request.param}]'")
    monkeypatch.setattr(ceiling, "SIZES", {"cpu": (16, 2**12), "gpu": (32, 2**13)})
    return request.param


def spied(made: Ceiling, operation: str) -> tuple[list[Any], list[Any]]:
    """Results of every step from now on, and what was waited for."""
    results: list[Any] = []
    waited: list[Any] = []
    step, wait = made._steps[operation]

    def stepping() -> Any:
        results.append(step())
        return results[-1]

    def waiting(result: Any) -> None:
        waited.append(result)
        wait(result)

    made._steps[operation] = stepping, waiting
    return results, waited


@pytest.mark.parametrize("operation", ["matmul", "copy"])
def test_every_step_is_made_and_counted_and_the_last_is_waited_for(backend: str, operation: str) -> None:
    made = Ceiling(backend, "float32", "cpu")
    results, waited = spied(made, operation)
    assert made.run(operation, np.arange(3)) == 3
    assert made.run(operation, np.arange(1)) == 1
    assert len(results) == 4
    assert [result is results[i] for i, result in zip((2, 3), waited, strict=True)] == [True, True]


def test_units_are_operations_of_the_product_and_bytes_read_and_written(backend: str) -> None:
    made = Ceiling(backend, "float32", "cpu")
    assert made.units("matmul") == 2 * 16 * 16 * 16
    assert made.units("copy") == 2 * 4096


@pytest.mark.parametrize("dtype", ["float32", "tf32", "bfloat16"])
def test_a_step_is_a_product_in_its_precision_or_a_copy_in_float32(backend: str, dtype: str) -> None:
    made = Ceiling(backend, dtype, "cpu")
    products, _ = spied(made, "matmul")
    copies, _ = spied(made, "copy")
    for operation in ("matmul", "copy"):
        made.run(operation, np.arange(1))
    (product,), (copy,) = products, copies
    assert tuple(product.shape) == (16, 16)
    assert ("bfloat16" if dtype == "bfloat16" else "float32") in str(product.dtype)
    assert "float32" in str(copy.dtype)
    assert np.prod(copy.shape) * 4 == 4096


def test_a_product_is_of_the_matrix_with_itself(backend: str) -> None:
    made = Ceiling(backend, "float32", "cpu")
    products, _ = spied(made, "matmul")
    made.run("matmul", np.arange(1))
    matrix = np.random.default_rng(0).standard_normal((16, 16), dtype=np.float32)
    np.testing.assert_allclose(
        np.asarray(products[0].cpu() if backend == "torch" else products[0]), matrix @ matrix, atol=1e-4
    )


@pytest.mark.parametrize("operation", ["matmul", "copy"])
def test_the_probe_times_it(backend: str, operation: str) -> None:
    timing = timer.sample(
        Ceiling(backend, "float32", "cpu"), operation, np.arange, samples=3, window_s=1e-4, steady=1.0
    )
    assert len(timing.seconds) == 3
    assert timing.all_steps > 3 * timing.steps


def test_sizes_are_those_of_the_device(backend: str) -> None:
    made = Ceiling(backend, "float32", "gpu")
    assert (made.units("matmul"), made.units("copy")) == (2 * 32**3, 2 * 8192)
