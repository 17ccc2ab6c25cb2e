"""The environment of a worker: no passwords, and what its framework must find before it is loaded."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_bench.core.errors import redact

_CREDENTIALS = ("PGPASSWORD", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


def deterministic_environment(known: Mapping[str, str]) -> dict[str, str]:
    """Variables that a framework must find before it is loaded to compute the same bits again.

    XLA on a GPU then uses no operation whose order of sums varies, and chooses no algorithm by timing it; cuBLAS gives
    each stream a workspace of its own (NVIDIA, cuBLAS, "Results reproducibility"; PyTorch asks for it too).

    Args:
      known: The environment so far; its XLA_FLAGS are kept.
    """
    flags = known.get("XLA_FLAGS", "").split()
    return {
        "XLA_FLAGS": " ".join([*flags, "--xla_gpu_deterministic_ops=true"]),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def without_passwords(known: Mapping[str, str]) -> dict[str, str]:
    """An environment for a worker, which runs a user's code and needs none of the driver's servers.

    Left out are variables whose value is a URL with a password, well formed or not, but for those of a proxy, and those that
    MLflow, its UI and PostgreSQL's library take credentials from.

    Args:
      known: The driver's environment.
    """
    return {
        name: value
        for name, value in known.items()
        if name not in _CREDENTIALS and (not _holds_password(value) or name.lower().endswith("_proxy"))
    }


def _holds_password(value: str) -> bool:
    return redact(value) != value or bool(re.search(r"://[^/]*:.*@", value, re.DOTALL))


def worker_environment(
    known: Mapping[str, str], backend: str, programs: Path | None, deterministic: bool, gpu: bool
) -> dict[str, str]:
    """Variables of a worker that its framework must find before it is loaded.

    Args:
      known: The environment so far; what a person has set goes first.
      backend: Keras backend.
      programs: Folder of the programs that XLA compiled before, None to compile anew.
      deterministic: Whether it is to compute the same bits again.
      gpu: Whether the worker is given an NVIDIA GPU. Where it is not, JAX does not start its CUDA plugin, which is installed as a
        compiler (`cuda-compiler`) and would complain of the missing driver.
    """
    kept = {}
    if backend == "jax" and not gpu and "JAX_PLATFORMS" not in known and _has_cuda_plugin():
        kept["JAX_PLATFORMS"] = "cpu"
    if programs and backend == "jax" and "JAX_COMPILATION_CACHE_DIR" not in known:
        # Every program is kept: those of the initial weights are small, many, and seconds in all.
        kept |= {"JAX_COMPILATION_CACHE_DIR": str(programs), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return {
        "TF_CPP_MIN_LOG_LEVEL": known.get("TF_CPP_MIN_LOG_LEVEL", "1"),
        "XLA_PYTHON_CLIENT_PREALLOCATE": known.get("XLA_PYTHON_CLIENT_PREALLOCATE", "false"),
        "KERAS_BACKEND": backend,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **kept,
        **(deterministic_environment(known) if deterministic else {}),
    }


def _has_cuda_plugin() -> bool:
    """Whether a CUDA plugin of JAX is installed; its modules are not imported."""
    plugins = importlib.util.find_spec("jax_plugins")
    places = plugins.submodule_search_locations if plugins else None
    return any(list(Path(place).glob("xla_cuda*")) for place in places or ())


def without_databases(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task as a worker gets it: its configurations say nothing of the databases, whose URLs may hold passwords."""

    def reduced(config: Any) -> Any:
        if not isinstance(config, Mapping):
            return config
        return {group: values for group, values in config.items() if group not in ("storage", "tracking")}

    known = {"config": reduced(task.get("config")), "corners": [reduced(corner) for corner in task.get("corners", ())]}
    return {name: known.get(name, value) for name, value in task.items()}
