"""In which precision workers compute, whatever a user's Keras file or variables say; and which variables are left as they are.

A benchmark's numbers depend on it, so it is the same for all: what each framework does where nobody has set anything. The
variables of `OBSERVED` are the user's to set; a study writes them down and does not go on with others.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from lstm_bench.core.errors import redact

# Left as the user has set them; a resumed study must find the same.
OBSERVED = (
    *("XLA_FLAGS", "TF_XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS", "KERAS_HOME"),
    *("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
)
# Taken from a worker: each would have it compute in another precision, with other random numbers, or less than it is asked to.
REMOVED = (
    *("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED", "KERAS_TORCH_DEVICE"),
    *("JAX_DEFAULT_MATMUL_PRECISION", "JAX_DEFAULT_DTYPE_BITS", "JAX_EXPLICIT_X64_DTYPES", "JAX_NUMPY_DTYPE_PROMOTION"),
    *("JAX_NUMPY_RANK_PROMOTION", "JAX_ALLOW_F16_REDUCTIONS", "JAX_SOFTMAX_CUSTOM_JVP", "JAX_USE_DIRECT_LINEARIZE"),
    *("JAX_DEFAULT_PRNG_IMPL", "JAX_ENABLE_CUSTOM_PRNG", "JAX_LEGACY_PRNG_KEY", "JAX_RANDOM_SEED_OFFSET"),
    *("JAX_THREEFRY_PARTITIONABLE", "JAX_THREEFRY_GPU_KERNEL_LOWERING", "JAX_HIGH_DYNAMIC_RANGE_GUMBEL"),
    *(
        "JAX_DISABLE_JIT",
        "JAX_NO_TRACING",
        "JAX_NO_EXECUTION",
        "JAX_OPTIMIZATION_LEVEL",
        "JAX_DEBUG_NANS",
        "JAX_DEBUG_INFS",
    ),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "ONEDNN_DEFAULT_FPMATH_MODE"),
    *("DNNL_DEFAULT_FPMATH_MODE", "TF_SET_ONEDNN_FPMATH_MODE", "TF_ENABLE_AUTO_MIXED_PRECISION"),
    *("TF_ENABLE_AUTO_MIXED_PRECISION_GRAPH_REWRITE", "TF_ENABLE_CUBLAS_TENSOR_OP_MATH_FP32"),
    *("TF_ENABLE_CUDNN_TENSOR_OP_MATH_FP32", "TF_ENABLE_CUDNN_RNN_TENSOR_OP_MATH_FP32"),
)
_KERAS = {"floatx": "float32", "image_data_format": "channels_last", "epsilon": 1e-7}
# How float32 matrices are multiplied: TensorFloat-32 (a GPU's, 10 bits of mantissa) where the framework itself chooses it.
_MATMUL = {
    "tensorflow": {"matmul_precision": "default", "tf32": True},
    "jax": {"matmul_precision": "default", "x64": False},
    "torch": {"matmul_precision": "highest", "tf32": False, "tf32_cudnn": True},
}


def precision(backend: str) -> dict[str, Any]:
    """What workers compute in, as `environment.json` has it."""
    return {**_KERAS, "dtype_policy": "float32", **_MATMUL[backend]}


def observed(known: Mapping[str, str]) -> dict[str, str]:
    """The variables that a user has set and that numbers or speed depend on, without passwords.

    Args:
      known: The driver's environment.
    """
    return {name: redact(known[name]) for name in OBSERVED if known.get(name)}


def changed(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """In words, which variables are not what they were."""
    names = [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]
    return [f"variable {name} was {was.get(name, 'not set')}, is {now.get(name, 'not set')}" for name in names]


def prepare(variables: MutableMapping[str, str]) -> None:
    """Takes out of an environment what would change a framework's precision; before the framework is imported."""
    for name in REMOVED:
        variables.pop(name, None)
    variables["JAX_ENABLE_X64"] = "0"
