"""JAX's training step compiled ahead of time for a GPU that is not here. Runs in a worker; nothing is executed for a GPU.

The compiler is the extra `cuda-compiler`: the CUDA plugin of JAX and NVIDIA's assembler, without driver or card. It cannot try
out there which of several programs is fastest, as XLA does on a card (autotuning): products are what its rules choose.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Any

from lstm_bench.core.errors import ConfigError
from lstm_bench.cuda.targets import TARGETS

PLUGIN, MODULE = "jax-cuda13-pjrt", "jax_plugins.xla_cuda13"


def require() -> str:
    """The compiler's version.

    Raises:
      ConfigError: where it is not installed, or has not jaxlib's version.
    """
    try:
        version = importlib.metadata.version(PLUGIN)
    except importlib.metadata.PackageNotFoundError:
        version = ""
    jaxlib = importlib.metadata.version("jaxlib")
    if version != jaxlib:
        remedy = f"Run pip install 'lstm-bench[cuda-compiler]' {PLUGIN}=={jaxlib} (700 MB; no driver, no GPU)"
        raise ConfigError("forecast=cuda", expected=f"{PLUGIN} {jaxlib}", received=version or "none", remedy=remedy)
    return version


def compiled(engine: Any, operation: str, target: str) -> Any:
    """The program of an operation, as `jax.stages.Compiled`, for one of `TARGETS`.

    Args:
      engine: A `JaxEngine`, on a CPU.
      operation: See `JaxEngine.functions`.
      target: Name of the GPU.
    """
    import jax
    from jax.experimental import topologies

    described = topologies.get_topology_desc(
        platform="cuda", target_config=TARGETS[target].description, topology="1x1x1"
    )
    sharding = jax.sharding.SingleDeviceSharding(described.devices[0])
    return engine.lowered(operation, "cuda", sharding).compile()
