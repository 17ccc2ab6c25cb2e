"""What a study ran on and with: `environment.json`, so that its numbers can be traced."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

import lstm_bench
from lstm_bench.core import hardware

_PACKAGES = (
    *("tensorflow", "keras", "jax", "jaxlib", "torch", "numpy", "optuna", "mlflow", "hydra-core"),
    *("pandas", "matplotlib", "scikit-learn", "scipy", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
)


def git(folder: Path) -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout at `folder`, None when it is none."""
    if not (folder / ".git").exists():
        return None
    try:
        commit = _run(["git", "-C", str(folder), "rev-parse", "HEAD"])
        dirty = bool(_run(["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"]))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": dirty}


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Installed versions of the packages whose behaviour the numbers depend on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def collect(
    slots: Sequence[hardware.Slot], gpus: Sequence[hardware.Gpu], dataset: dict[str, Any] | None
) -> dict[str, Any]:
    """The environment of a study or kernel benchmark.

    Args:
      slots: What each worker may use.
      gpus: The visible GPUs.
      dataset: Name, digest, source and sizes of the data, None where there is none.
    """
    name = gpus[0].name if gpus else hardware.cpu_name()
    return {
        "lstm_bench": lstm_bench.__version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": versions(),
        "git": git(Path(lstm_bench.__file__).resolve().parent.parent),
        "device": {
            "name": name,
            "kind": "gpu" if gpus else "cpu",
            "cpu": hardware.cpu_name(),
            "cores": len(hardware.cores()),
            "memory_mib": psutil.virtual_memory().total // 2**20,
            "gpus": [{"name": gpu.name, "memory_mib": gpu.memory_mib} for gpu in gpus],
            "driver": gpus[0].driver if gpus else None,
        },
        "workers": [{"device": s.device, "share": s.share, "cores": list(s.cores)} for s in slots],
        **({"dataset": dataset} if dataset else {}),
    }
