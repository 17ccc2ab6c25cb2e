"""What else happened on the machine while a clock ran: other load, throttling, a shared GPU; and the energy it took."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import psutil

from lstm_bench.core.clock import clock

# NVML's counters of the nanoseconds for which a GPU was held back, by policy; names as in nvml.h.
_HELD_BACK = {"NVML_PERF_POLICY_POWER": "power cap", "NVML_PERF_POLICY_THERMAL": "thermal slowdown"}
_HELD_BACK_SHARE = 0.01  # of the time, from which it is said


class Watch:
    """Watches the cores that this process may use, and one GPU.

    Args:
      gpu: The GPU as CUDA_VISIBLE_DEVICES names it, None for none.
      max_other_load: Share of the cores, 0..1, that other processes may take before it is said.
    """

    def __init__(self, gpu: str | None, max_other_load: float):
        self.max_other_load = max_other_load
        self._handle: Any = None
        if gpu is not None:
            import pynvml

            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlInit()
                by_uuid = gpu.startswith(("GPU-", "MIG-"))
                find = pynvml.nvmlDeviceGetHandleByUUID if by_uuid else pynvml.nvmlDeviceGetHandleByIndex
                self._handle = find(gpu if by_uuid else int(gpu))

    @property
    def counts_energy(self) -> bool:
        """Whether `stop` will know the energy."""
        return self._energy_mj() is not None

    def start(self) -> None:
        """Begins to watch."""
        self._before = clock(), _busy_s(), _own_s(), self._energy_mj(), _throttle_count(), self._held_back_ns()

    def stop(self) -> tuple[str, float | None]:
        """What to know about the time since `start`, "" when nothing, and the GPU's energy in joules where it counts it."""
        since, busy, own, energy, throttled, held_back = self._before
        elapsed, other = clock() - since, (_busy_s() - busy) - (_own_s() - own)
        share = other / (elapsed * len(_cores())) if elapsed > 0 else 0.0
        marks = [f"other load {100 * share:.0f} %"] if share > self.max_other_load else []
        if _throttle_count() > throttled:
            marks.append("CPU thermal throttling")
        for word, now_ns in self._held_back_ns().items():
            part = (now_ns - held_back.get(word, now_ns)) / (1e9 * elapsed) if elapsed > 0 else 0.0
            if part > _HELD_BACK_SHARE:
                marks.append(f"{word} {100 * part:.0f} % of the time")
        marks += ["GPU shared with another process"] if self._shared() else []
        now = self._energy_mj()
        return "; ".join(marks), (now - energy) / 1000 if now is not None and energy is not None else None

    def _energy_mj(self) -> int | None:
        import pynvml

        if self._handle is not None:
            with contextlib.suppress(pynvml.NVMLError):
                return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        return None

    def _held_back_ns(self) -> dict[str, int]:
        import pynvml

        found = {}
        for policy, word in _HELD_BACK.items() if self._handle is not None else ():
            with contextlib.suppress(pynvml.NVMLError, AttributeError):
                status = pynvml.nvmlDeviceGetViolationStatus(self._handle, getattr(pynvml, policy))
                found[word] = int(status.violationTime)
        return found

    def _shared(self) -> bool:
        import pynvml

        if self._handle is not None:
            with contextlib.suppress(pynvml.NVMLError):
                # In a container the ids are the host's: that there is more than one says all that can be known.
                return len(pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle)) > 1
        return False


def reset_peak_memory(backend: str, gpu: str | None) -> None:
    """Forgets the peaks so far, where that can be done: of the process on Linux, of the device by TensorFlow and torch."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if gpu is not None and backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.reset_memory_stats("GPU:0")
    elif gpu is not None and backend == "torch":
        import torch

        torch.cuda.reset_peak_memory_stats()


def peak_memory_mib() -> float:
    """Peak MiB of the resident memory of this process, since `reset_peak_memory` where that could be done."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peak_device_memory_mib(backend: str, gpu: str | None) -> float | None:
    """Peak MiB of the framework's allocator on a GPU, of JAX since it began; None where there is none, or it does not say."""
    if gpu is None:
        return None
    if backend == "tensorflow":
        import tensorflow as tf

        return float(tf.config.experimental.get_memory_info("GPU:0")["peak"]) / 2**20
    if backend == "jax":
        import jax

        peak = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        return None if peak is None else float(peak) / 2**20
    import torch

    return float(torch.cuda.max_memory_allocated()) / 2**20


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _busy_s() -> float:
    """CPU seconds that anything, a hypervisor's other guests included, has used on the cores of this process."""
    times = psutil.cpu_times(percpu=True)
    mine = [times[core] for core in _cores() if core < len(times)]
    # Linux counts the time of guests a second time as user time.
    idle = ("idle", "iowait", "guest", "guest_nice")
    return float(sum(sum(core) - sum(getattr(core, name, 0.0) for name in idle) for core in mine))


def _own_s() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)


def _throttle_count() -> int:
    total = 0
    for core in _cores():
        with contextlib.suppress(OSError, ValueError):
            path = Path(f"/sys/devices/system/cpu/cpu{core}/thermal_throttle/core_throttle_count")
            total += int(path.read_text())
    return total
