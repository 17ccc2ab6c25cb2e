"""The machine's own ceilings, by the framework at hand: a large matrix product and a copy, for the probe to time."""

from __future__ import annotations

from typing import Any

import numpy as np

# Side of the square matrices and bytes of the copied array: far beyond any cache, and short enough for many samples.
SIZES = {"cpu": (2048, 2**28), "gpu": (8192, 2**30)}


class Ceiling:
    """Operations `matmul` and `copy` on one device: see `timer.Timed`. Steps are eager calls, each long enough to hide that.

    Args:
      backend: Of Keras.
      dtype: Of the product, see `cell.DTYPES`; the copy is of float32.
      device: "cpu" or "gpu".
    """

    def __init__(self, backend: str, dtype: str, device: str):
        self.side, self.n_bytes = SIZES[device]
        rng = np.random.default_rng(0)
        matrix = rng.standard_normal((self.side, self.side), dtype=np.float32)
        vector = np.ones(self.n_bytes // 4, np.float32)
        self._steps = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[backend](
            matrix, vector, dtype == "bfloat16"
        )

    def units(self, operation: str) -> float:
        """What one step does: floating-point operations of the product, bytes read and written of the copy."""
        return 2.0 * self.side**3 if operation == "matmul" else 2.0 * self.n_bytes

    def run(self, operation: str, rows: np.ndarray) -> int:
        """See `timer.Timed`; `rows` says how many."""
        step, wait = self._steps[operation]
        done, result = 0, None
        for _ in rows:
            result = step()
            done += 1
        wait(result)
        return done


def _tensorflow(matrix: np.ndarray, vector: np.ndarray, half: bool) -> dict[str, Any]:
    import tensorflow as tf

    a, v = tf.constant(matrix, tf.bfloat16 if half else tf.float32), tf.constant(vector)
    products = (lambda: tf.matmul(a, a), lambda c: c[0, 0].numpy())
    return {"matmul": products, "copy": (lambda: tf.raw_ops.DeepCopy(x=v), lambda c: c[0].numpy())}


def _jax(matrix: np.ndarray, vector: np.ndarray, half: bool) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    a, v = jnp.asarray(matrix, jnp.bfloat16 if half else jnp.float32), jnp.asarray(vector)
    product, copy = jax.jit(lambda a: a @ a), jax.jit(lambda v: v + 1)
    return {"matmul": (lambda: product(a), jax.block_until_ready), "copy": (lambda: copy(v), jax.block_until_ready)}


def _torch(matrix: np.ndarray, vector: np.ndarray, half: bool) -> dict[str, Any]:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, v = torch.as_tensor(matrix, device=device), torch.as_tensor(vector, device=device)
    a = a.bfloat16() if half else a
    out = torch.empty_like(v)

    def wait(_: Any) -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    return {"matmul": (lambda: a @ a, wait), "copy": (lambda: out.copy_(v), wait)}
