"""One arm of one cell, in the process it was started in: numerics first, then proof, then time. Runs in a worker.

What was measured is reported operation by operation, so that a compile that never ends takes nothing with it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench.core import vocabulary
from lstm_bench.core.clock import clock
from lstm_bench.data.lengths import blank
from lstm_bench.kernels import bare, case, ceiling, grid, reference
from lstm_bench.model import kernel
from lstm_bench.training import monitor, timer
from lstm_bench.training.engine import factory
from lstm_bench.training.monitor import Watch

Send = Callable[[dict[str, Any]], None]
_ENERGY_S = 2.0  # timed at least where energy is counted: NVML refreshes its counter some ten times a second


def measure(task: Mapping[str, Any], gpu: str | None, report: Send) -> None:
    """Measures an arm's operations on a cell.

    Reports `{"phase": "compile", "operation"}` before an operation is compiled, `{"phase": "time", "operation"}` when its
    first call has returned, and `{"phase": "done", "operation", "run", "seconds"}` with its row of `columns.RUN_COLUMNS`
    and the seconds of its samples.

    Args:
      task: `cell`, `backend`, `kernel`, `operations`, `round`, `method` (group of the configuration), `lengths` (of the
        sequences, None for all) and `reference`, a file of `reference.write`.
      gpu: Name of the NVIDIA GPU, None on a CPU.
      report: Receives what happens.
    """
    cell, method = task["cell"], task["method"]
    set_precision(task["backend"], cell["dtype"])
    weights, (x, cotangent) = reference.weights(cell, method["seed"]), reference.inputs(cell, method["seed"])
    lengths = None if task.get("lengths") is None else np.array(task["lengths"], np.int32)
    arm = make(task["backend"], task["kernel"], cell, weights, x, cotangent, lengths)
    watch = Watch(os.environ.get("CUDA_VISIBLE_DEVICES", "0") if gpu else None, method["max_other_load"])
    rng = np.random.default_rng(task["round"])

    def rows_of(steps: int) -> np.ndarray:
        order = np.tile(np.arange(cell["batch"], dtype=np.int32), (steps, 1))
        return rng.permuted(order, axis=1)

    for operation in task["operations"]:
        report({"phase": "compile", "operation": operation})
        since = clock()
        arm.compile(operation)
        compiled = clock()
        found = arm.values(operation)
        if operation == "inference" and lengths is not None:  # what stands behind an end is no result
            found = [blank(found[0].copy(), lengths)]
        first_call_s = clock() - compiled
        report({"phase": "time", "operation": operation})
        run: dict[str, Any] = {
            "compile_s": compiled - since,
            "first_call_s": first_call_s,
            "error": reference.disagreement(operation, found, weights, Path(task["reference"])),
            "tolerance": method["tolerance"][cell["dtype"]],
        }
        del found
        run["kernel_ran"], run["evidence"] = arm.kernel_evidence(operation)
        seconds: list[float] = []
        if not run["error"] <= run["tolerance"]:
            run |= {"state": "wrong", "reason": f"wrong against the float64 reference (error {run['error']:.2g})"}
        else:
            monitor.reset_peak_memory(task["backend"], gpu)  # what the arm was checked with is not its own memory
            watch.start()
            timing = timer.sample(
                arm,
                operation,
                rows_of,
                samples=method["samples"],
                seconds=_ENERGY_S if watch.counts_energy else 0.0,
                window_s=method["window_s"],
                steady=method["steady"],
            )
            marks, energy_j = watch.stop()
            seconds = timing.seconds
            asked = grid.expected((task["backend"], task["kernel"]), cell, gpu)
            proved = run["kernel_ran"] == asked
            run |= {
                "state": "measured" if proved else "other_kernel",
                "reason": None if proved else f"asked for {asked}, {run['kernel_ran']} ran",
                "steps": timing.steps,
                "warm_up": timing.warm_up,
                "n": len(seconds),
                "marks": "; ".join(filter(None, (marks, "" if timing.steady else "never steady"))),
                "peak_memory_mib": _peak_mib(task["backend"], gpu, arm, operation),
                # The joules of calibration and warm-up are counted, and so are their samples.
                "energy_j_per_million": energy_j and 1e6 * energy_j / (timing.all_steps * cell["batch"]),
            }
        report({"phase": "done", "operation": operation, "run": run, "seconds": seconds})


def set_precision(backend: str, dtype: str) -> None:
    """Makes products of float32 IEEE or, where `dtype` says so, TF32."""
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(dtype == "tf32")
    elif backend == "jax":
        import jax

        precision = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}[dtype]
        jax.config.update("jax_default_matmul_precision", precision)
    else:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = dtype == "tf32"


def make(
    backend: str,
    kernel_name: str,
    cell: Mapping[str, Any],
    weights: list[np.ndarray],
    x: np.ndarray,
    cotangent: np.ndarray,
    true: np.ndarray | None = None,
) -> timer.Program:
    """The arm of a kernel on a cell: a yardstick, or the engine that trains with Keras's layers.

    Args:
      backend: Of Keras.
      kernel_name: Of Keras's layers, or one of `bare.NAMES`.
      cell: See `kernels/case.py`.
      weights: As `reference.weights`.
      x: Inputs (batch, timesteps, features).
      cotangent: Gradient of batch times the loss with respect to the outputs, of their shape.
      true: Timesteps of each sequence, where a mask says them: int32.
    """
    if kernel_name in vocabulary.NAMES:
        return bare.make(kernel_name, backend, cell, weights, x, cotangent)
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16" if cell["dtype"] == "bfloat16" else "float32")
    maker = kernel.makers(kernel_name, masked=true is not None)[case.maker(cell)]
    model = keras.Sequential([keras.Input(x.shape[1:])])
    for _ in range(cell["layers"]):
        layer = maker(cell["units"], return_sequences=True)
        model.add(keras.layers.Bidirectional(layer) if case.directions(cell) == 2 else layer)
    model.set_weights(weights)
    optimizer = keras.optimizers.Adam(
        reference.RATE,
        beta_1=reference.BETA_1,
        beta_2=reference.BETA_2,
        # Keras adds epsilon before the bias correction, the textbook after it.
        epsilon=reference.EPSILON * math.sqrt(1 - reference.BETA_2),
    )

    if true is not None:
        cotangent = blank(cotangent.copy(), true)

    def linear(y: Any, batch: Any, outputs: Any, mask: Any = None) -> tuple[Any, Any]:
        return keras.ops.sum(keras.ops.cast(outputs, "float32") * y) / cell["batch"], 0

    lengths = [cell["timesteps"]] * (cell["layers"] * case.directions(cell))
    return factory.make(
        backend,
        model,
        optimizer,
        x,
        cotangent,
        batch_size=cell["batch"],
        evaluation_batch_size=cell["batch"],
        kernel=kernel_name,
        lengths=lengths,
        criterion=linear,
        true=true,
        buckets=() if true is None else (cell["timesteps"],),
    )


def ceilings(task: Mapping[str, Any], gpu: str | None) -> dict[str, Any]:
    """The machine's ceilings as `task["backend"]` reaches them in `task["dtype"]`: a row of `columns.CEILING_COLUMNS`."""
    method = task["method"]
    set_precision(task["backend"], task["dtype"])
    arm = ceiling.Ceiling(task["backend"], task["dtype"], "gpu" if gpu else "cpu")
    best = {}
    for operation in ("matmul", "copy"):
        timing = timer.sample(
            arm, operation, np.arange, samples=method["samples"], window_s=method["window_s"], steady=method["steady"]
        )
        _, best[operation], _ = timer.quantiles(arm.units(operation) * timing.steps / np.array(timing.seconds))
    return {"matmul_flop_per_s": best["matmul"], "copy_byte_per_s": best["copy"], "n": len(timing.seconds)}


def _peak_mib(backend: str, gpu: str | None, arm: Any, operation: str) -> float:
    """Peak MiB of the device's allocator, or of the process's resident memory on a CPU.

    JAX's allocator has one peak for the process's life, in which the check's copies and the compiler's trials are: what the
    compiled program holds stands for it.
    """
    if gpu is not None and backend == "jax":
        return float(arm.memory_bytes(operation)) / 2**20
    on_device = monitor.peak_device_memory_mib(backend, gpu)
    return monitor.peak_memory_mib() if on_device is None else on_device
