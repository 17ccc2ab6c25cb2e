"""The machine as a sweep will find it: devices, memory, room on its disks, limits of a process, and its clock."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from lstm_bench.core import hardware
from lstm_bench.core import locks as lock
from lstm_bench.core.cache import cache_folder
from lstm_bench.core.errors import LstmBenchError, StorageError
from lstm_bench.doctor.finding import Finding, at_fault

_MIB = 2**20
_SHARED = Path("/dev/shm")  # its room is looked at, nothing is written  # nosec B108


def findings(sweeps: Path, store: Path | None, limits: Mapping[str, Any]) -> list[Finding]:
    """Everything about the machine.

    Args:
      sweeps: Folder of the studies.
      store: Folder of MLflow's sqlite file, None where the store is a server.
      limits: Group `limits` of the configuration.
    """
    places = {
        "sweeps": sweeps,
        "mlflow": store,
        "cache": cache_folder(),
        "temporary": Path(tempfile.gettempdir()),
    }
    found = [*devices(), *limits_of_a_process(limits)]
    for name, place in places.items():
        if place is not None:
            found.append(folder(name, place, limits))
    found += [locks(name, place) for name, place in {"working folder": Path.cwd(), "sweeps": sweeps}.items()]
    if _SHARED.is_dir():
        # Of torch's and Ray's, which make do with less: no fault.
        found.append(Finding(str(_SHARED), f"{_free_mib(_SHARED):,} MiB free"))
    return [*found, clock(sweeps, limits)]


def devices() -> list[Finding]:
    """GPUs, cores and memory."""
    gpus = [f"{gpu.name}, {gpu.memory_mib:,} MiB, driver {gpu.driver}" for gpu in hardware.gpus()]
    cores, total = len(hardware.cores()), psutil.virtual_memory().total // _MIB
    return [
        Finding("gpu", "; ".join(gpus) or "none, or hidden by CUDA_VISIBLE_DEVICES"),
        Finding("cpu", f"{hardware.cpu_name()}, {cores} of {os.cpu_count()} cores to use"),
        Finding("memory", f"{hardware.memory_mib():,} of {total:,} MiB free"),
    ]


def limits_of_a_process(limits: Mapping[str, Any]) -> list[Finding]:
    """Open files, and the size of one."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    size, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    few = large = None
    if files != resource.RLIM_INFINITY and files < limits["open_files"]:
        few = StorageError(
            "open files of a process",
            expected=f"at least {limits['open_files']}",
            received=files,
            remedy=f"ulimit -n {limits['open_files']}",
        )
    if size != resource.RLIM_INFINITY and size < limits["free_mib"] * _MIB:
        large = StorageError(
            "size of a file",
            expected=f"at least {limits['free_mib']} MiB",
            received=f"{size // _MIB} MiB",
            remedy="ulimit -f unlimited",
        )
    return [
        Finding("open files", _number(files), few),
        Finding("size of a file", "unlimited" if size == resource.RLIM_INFINITY else f"{size // _MIB:,} MiB", large),
    ]


def _number(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else f"{limit:,}"


def _free_mib(place: Path) -> int:
    room = os.statvfs(place)
    return room.f_bavail * room.f_frsize // _MIB


def _existing(place: Path) -> Path:
    place = place.absolute()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    return place


def folder(name: str, place: Path, limits: Mapping[str, Any]) -> Finding:
    """Whether a folder, or the one that it would be made in, can be written, and has room.

    A file without a name is written and gone at once: that alone tells a full or read-only file system, and a quota.

    Args:
      name: What it is for.
      place: The folder.
      limits: `free_mib`, `clock_s`.
    """
    there = _existing(place)
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            ahead = os.fstat(file.fileno()).st_mtime - time.time()
        free = _free_mib(there)
    except OSError as error:
        remedy = "Mend the permissions, free space, or work in a folder of your own."
        return at_fault(name, StorageError(f"{place}: cannot be written ({error.strerror or error})", remedy=remedy))
    fault: LstmBenchError | None = None
    if free < limits["free_mib"]:
        fault = StorageError(
            f"{there}: little room",
            expected=f"{limits['free_mib']:,} MiB",
            received=f"{free:,} MiB",
            remedy="Free some.",
        )
    elif abs(ahead) > limits["clock_s"]:
        fault = StorageError(
            f"{there}: its files are dated {ahead:+.0f} s from this machine's clock",
            remedy="Let the clocks of both machines be set by NTP.",
        )
    return Finding(name, f"{place}: can be written, {free:,} MiB free", fault)


def locks(name: str, place: Path) -> Finding:
    """How a driver would hold a folder, or one that is made in it; that it cannot be written is said elsewhere."""
    try:
        return Finding(f"lock, {name}", lock.kind(_existing(place)))
    except OSError as error:
        return Finding(f"lock, {name}", f"not tried: {error.strerror or error}")


def clock(sweeps: Path, limits: Mapping[str, Any]) -> Finding:
    """Whether the wall clock lies behind what was written by it before, and whether it goes as fast as the other one."""
    wall, steady = time.time(), time.monotonic()
    time.sleep(0.05)
    drift = (time.time() - wall) - (time.monotonic() - steady)
    newest = max(_times(sweeps), default=0.0)
    fault = None
    if newest - wall > limits["clock_s"]:
        written = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(newest))
        fault = StorageError(
            "clock: it is behind the newest file of a study",
            expected=f"later than {written}",
            received=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall)),
            remedy="Set the clock. Budgets are safe, they go by another one; times shown and in MLflow are not.",
        )
    elif abs(drift) > limits["clock_s"]:
        fault = StorageError(f"clock: it jumped by {drift:+.0f} s while it was looked at", remedy="Look at NTP's log.")
    return Finding("clock", time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(wall)), fault)


def _times(sweeps: Path) -> Iterable[float]:
    for path in sweeps.glob("*/*"):
        try:
            yield path.stat().st_mtime
        except OSError:
            continue  # gone, or a broken link
