"""What else happened on the machine while a clock ran: other load, throttling, a shared GPU; and the energy it took."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import psutil

from lstm_bench.timing import clock

# Bits of nvmlDeviceGetCurrentClocksEventReasons that take speed away, as nvml.h names them.
_THROTTLES = {
    0x04: "power cap",
    0x08: "slowdown",
    0x20: "thermal slowdown",
    0x40: "thermal slowdown",
    0x80: "power brake",
}


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

    def start(self) -> None:
        """Begins to watch."""
        self._before = clock(), _busy_s(), _own_s(), self._energy_mj(), _throttle_count()
        self._gpu_before = self._gpu_marks()

    def stop(self) -> tuple[str, float | None]:
        """What to know about the time since `start`, "" when nothing, and the GPU's energy in joules where it counts it."""
        since, busy, own, energy, throttled = self._before
        elapsed, other = clock() - since, (_busy_s() - busy) - (_own_s() - own)
        share = other / (elapsed * len(_cores())) if elapsed > 0 else 0.0
        marks = [f"other load {100 * share:.0f} %"] if share > self.max_other_load else []
        if _throttle_count() > throttled:
            marks.append("CPU thermal throttling")
        marks += dict.fromkeys([*self._gpu_before, *self._gpu_marks()])
        now = self._energy_mj()
        return "; ".join(marks), (now - energy) / 1000 if now is not None and energy is not None else None

    def _energy_mj(self) -> int | None:
        import pynvml

        if self._handle is not None:
            with contextlib.suppress(pynvml.NVMLError):
                return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        return None

    def _gpu_marks(self) -> list[str]:
        import pynvml

        if self._handle is None:
            return []
        found = []
        with contextlib.suppress(pynvml.NVMLError):
            reasons = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle)
            found += list(dict.fromkeys(word for bit, word in _THROTTLES.items() if reasons & bit))
        with contextlib.suppress(pynvml.NVMLError):
            # In a container the ids are the host's: that there is more than one says all that can be known.
            if len(pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle)) > 1:
                found.append("GPU shared with another process")
        return found


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
