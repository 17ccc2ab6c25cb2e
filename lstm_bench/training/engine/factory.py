"""Engines: a Keras model, its optimizer and its data on one device, behind one interface whatever runs the steps.

`training/fit.py` sees `warm_up`, `reset`, `steps` and `logits`; the kernel benchmark times the same compiled programs through
`compile`, `run`, `values` and `proof`. An engine keeps the data resident on its device, gathers batches by index there, and
returns host numbers, so that whoever holds the clock reads it with the device idle. The learning rate of each step is an input
of the program, not part of it: trainings that differ in nothing else but it and the seed share an engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstm_bench.training.criteria import Criterion, sparse_categorical_crossentropy
from lstm_bench.training.engine.base import MAX_STEPS, Base, Engine
from lstm_bench.training.engine.jax import JaxEngine
from lstm_bench.training.engine.tensorflow import TensorflowEngine
from lstm_bench.training.engine.torch import TorchEngine

# Steps in one call of the compiled program, as Keras calls it. Where a backend has several, `kernel=auto` measures them.
STEPS_PER_EXECUTION = {"tensorflow": (MAX_STEPS,), "jax": (MAX_STEPS, 1), "torch": (1,)}


def steps_per_execution(backend: str, kernel: str) -> tuple[int, ...]:
    """The choices that a kernel has, the usual one first. Unrolled, JAX compiles for long enough without a loop around."""
    return (1,) if (backend, kernel) == ("jax", "unrolled") else STEPS_PER_EXECUTION[backend]


def make(
    backend: str,
    model: Any,
    optimizer: Any,
    x: np.ndarray,
    y: np.ndarray,
    *,
    batch_size: int,
    evaluation_batch_size: int,
    kernel: str,
    lengths: Sequence[int],
    criterion: Criterion = sparse_categorical_crossentropy,
    steps_per_execution: int = 1,
    true: np.ndarray | None = None,
    buckets: Sequence[int] = (),
) -> Engine:
    """The engine of `backend` for `model` on training data `x` (samples, timesteps, features) and `y` (samples,).

    `lengths` are those of the sequences that the model's recurrent layers run over, one per layer: what evidence is held to.
    `criterion` maps all of `y`, a batch of indices and the model's outputs for it to a loss and a count. For
    `steps_per_execution` only JAX has a choice: one step per call, or a loop of `MAX_STEPS` training steps inside the program.
    Where sequences differ in length `true` has their lengths (samples,), `buckets` the numbers of timesteps that batches are
    padded to: for each there is a program, which masks what lies beyond a sequence's end.
    """
    engines: dict[str, type[Base]] = {"tensorflow": TensorflowEngine, "jax": JaxEngine, "torch": TorchEngine}
    given = batch_size, evaluation_batch_size, kernel, lengths, criterion, steps_per_execution, true, buckets
    return engines[backend](model, optimizer, x, y, *given)
