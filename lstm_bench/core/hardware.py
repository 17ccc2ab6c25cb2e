"""What this machine offers, found without importing a framework: GPUs, cores, memory, and how workers share them."""

from __future__ import annotations

import contextlib
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_WORKER_MIB = 1500  # resident memory of a worker with TensorFlow and MNIST


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU as its driver names it."""

    index: str  # as CUDA_VISIBLE_DEVICES names it
    name: str
    memory_mib: int
    driver: str


@dataclass(frozen=True)
class Slot:
    """What one worker may use."""

    index: int
    device: str  # name of the GPU or CPU
    share: str  # "exclusive", "shared", or "1 core of 2, other busy"
    cores: tuple[int, ...]
    gpu: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


def gpus() -> list[Gpu]:
    """The NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves visible, in its order. Empty without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    found: dict[str, Gpu] = {}
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        for index in range(pynvml.nvmlDeviceGetCount()):
            with contextlib.suppress(pynvml.NVMLError):  # one that fell off the bus is not there
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total // 2**20
                gpu = Gpu(str(index), _text(pynvml.nvmlDeviceGetName(handle)), int(memory), driver)
                uuid = _text(pynvml.nvmlDeviceGetUUID(handle))
                found[gpu.index] = found[uuid] = gpu
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return list(dict.fromkeys(found.values()))
    chosen = []
    for name in visible.split(","):
        if name.strip() not in found:
            break  # CUDA's own rule: the first invalid entry ends the list
        chosen.append(found[name.strip()])
    return chosen


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def cpu_name() -> str:
    """The processor's name, "AMD EPYC" for instance."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores() -> tuple[int, ...]:
    """Cores that this process may use: its affinity, cut to the cgroup's quota."""
    if hasattr(os, "sched_getaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
    else:
        allowed = list(range(os.cpu_count() or 1))
    quota = _cgroup_cores()
    return tuple(allowed[: max(1, int(quota))] if quota else allowed)


def _cgroup_cores() -> float | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def memory_mib() -> int:
    """Memory that is free for this process: the machine's available memory, or what the cgroup leaves."""
    free = psutil.virtual_memory().available
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            used = int(Path("/sys/fs/cgroup/memory.current").read_text())
            free = min(free, int(limit) - used)
    except (OSError, ValueError):
        pass
    return max(0, free) // 2**20


def slots(workers: int | str, found: list[Gpu]) -> list[Slot]:
    """Divides the machine among workers.

    Args:
      workers: "auto" is one per GPU, or on a CPU one per core as far as memory goes; a number is that many.
      found: The visible GPUs.

    Returns:
      One slot per worker. Cores are disjoint as long as there are enough of them. Workers on one GPU are "shared".
    """
    available = cores()
    if workers == "auto":
        n = len(found) or max(1, min(len(available), memory_mib() // _WORKER_MIB))
    else:
        n = int(workers)
    made = []
    for index in range(n):
        mine = available[index::n] if n <= len(available) else (available[index % len(available)],)
        threads = {"OMP_NUM_THREADS": str(len(mine))}
        if found:
            gpu = found[index % len(found)]
            share = "exclusive" if n <= len(found) else "shared"
            made.append(
                Slot(
                    index,
                    gpu.name,
                    share,
                    mine,
                    gpu.name,
                    {"CUDA_VISIBLE_DEVICES": gpu.index, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", **threads},
                )
            )
        else:
            # A GPU that was not found here must not be used by a framework that finds it: what ran is said to be a CPU.
            hidden = {"CUDA_VISIBLE_DEVICES": "-1", **threads}
            made.append(Slot(index, cpu_name(), _share(n, len(mine), len(available)), mine, None, hidden))
    return made


def _share(workers: int, mine: int, available: int) -> str:
    if workers > available:
        return "shared"
    if workers == 1:
        return "exclusive"
    return f"{mine} core{'s' * (mine > 1)} of {available}, other busy"
