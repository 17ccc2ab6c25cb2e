"""Bare arms: the recurrent layers of each framework without Keras, tuned as an expert would, as a yardstick for Keras.

| kernel   | tensorflow                     | jax                               | torch                                 |
|----------|--------------------------------|-----------------------------------|---------------------------------------|
| `bare`   | a BlockLSTMV2 op per direction | a jitted `lax.scan` per direction | one `nn.LSTM`, `GRU`, `RNN` per layer |
| `native` | -                              | one cuDNN call for all layers     | one `nn.LSTM`, ... for all layers     |

A cell and its weights, flat and in Keras's order and layout, are those of `kernels/reference.py`; a cell has a `dtype` besides:
"float32" (strict), "tf32" (float32 with TF32 products) or "bfloat16" (float32 weights, bfloat16 in the layers).
A step gathers its batch from resident inputs by one row of indices, and all its results are really computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_bench.kernels import case
from lstm_bench.kernels.bare_jax import CudnnJaxArm, JaxArm
from lstm_bench.kernels.bare_tensorflow import TensorflowArm
from lstm_bench.kernels.bare_torch import TorchArm
from lstm_bench.model.kernel import LAYERS
from lstm_bench.training.timer import Program

Cell = Mapping[str, Any]
Arrays = list[np.ndarray]


def unavailable(kernel: str, backend: str, cell: Cell, gpu: str | None) -> str | None:
    """Why there is no such yardstick, or None where there is one; `gpu` names the NVIDIA GPU, None without one."""
    layer, dtype = LAYERS[case.maker(cell)], cell["dtype"]
    if backend == "tensorflow":
        if kernel == "native":
            return "TensorFlow has no call of several layers"
        if layer != "LSTM":
            return f"TensorFlow has no BlockLSTM for {layer}"
        if dtype == "bfloat16":
            return "BlockLSTM has no bfloat16"
    if kernel == "native" and backend == "torch" and cell["layers"] == 1:
        return "one layer: the same as bare"
    if kernel == "native" and backend == "jax":
        if layer != "LSTM":
            return f"JAX has no cuDNN call for {layer}"
        if dtype == "bfloat16":
            return "JAX's cuDNN call has no bfloat16"
    if gpu is None and (kernel, backend) == ("native", "jax"):
        return "no GPU"
    return None


def expected(kernel: str, backend: str, cell: Cell, gpu: str | None) -> str:
    """What `proof` has to name when all is well, for an arm that is available."""
    if backend == "tensorflow":
        return "block"
    if backend == "jax":
        return "cudnn" if kernel == "native" else "generic"
    if gpu is not None:
        return "cudnn"
    return (
        "onednn" if LAYERS[case.maker(cell)] == "LSTM" else "aten"
    )  # on a CPU oneDNN has the LSTM, ATen loops over the rest


def make(kernel: str, backend: str, cell: Cell, weights: Arrays, x: np.ndarray, cotangent: np.ndarray) -> Program:
    """The arm on `weights`, inputs x (B, T, F) and cotangent (B, T, D*U) of the loss, in the precision that the process has."""
    if backend == "torch":
        return TorchArm(kernel, cell, weights, x, cotangent)
    if backend == "tensorflow":
        return TensorflowArm(cell, weights, x, cotangent)
    return (CudnnJaxArm if kernel == "native" else JaxArm)(cell, weights, x, cotangent)
