"""`lstm_bench.core.hardware`: how workers share what there is. The GPUs are fakes of NVIDIA's library."""

from __future__ import annotations

import pynvml
import pytest

from lstm_bench.core import hardware
from lstm_bench.core.hardware import Gpu, slots

H200 = Gpu("0", "NVIDIA H200", 143771, "570.86")
OTHER = Gpu("1", "NVIDIA L4", 23034, "570.86")


@pytest.fixture
def cpu(monkeypatch):
    """A machine of four cores and much memory."""
    monkeypatch.setattr(hardware, "cores", lambda: (0, 1, 2, 3))
    monkeypatch.setattr(hardware, "memory_mib", lambda: 100_000)
    monkeypatch.setattr(hardware, "cpu_name", lambda: "AMD EPYC")


@pytest.fixture
def nvidia(monkeypatch):
    """Two GPUs as the driver's library tells of them."""
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlSystemGetDriverVersion", lambda: b"570.86")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda i: ["NVIDIA H200", "NVIDIA L4"][i])
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda i: ["GPU-aa", "GPU-bb"][i])
    memory = [143771, 23034]
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda i: type("M", (), {"total": memory[i] * 2**20}))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_auto_is_one_worker_per_core(cpu):
    found = slots("auto", [])
    assert [slot.cores for slot in found] == [(0,), (1,), (2,), (3,)]
    assert {slot.share for slot in found} == {"1 core of 4, other busy"}
    assert {slot.environment["OMP_NUM_THREADS"] for slot in found} == {"1"}
    assert {slot.device for slot in found} == {"AMD EPYC"}
    assert {slot.gpu for slot in found} == {None}


def test_auto_takes_no_more_workers_than_memory_holds(cpu, monkeypatch):
    for mib, workers in ((3200, 2), (1000, 1), (0, 1)):
        monkeypatch.setattr(hardware, "memory_mib", lambda mib=mib: mib)
        assert len(slots("auto", [])) == workers


def test_cores_are_divided_without_overlap(cpu):
    assert [slot.cores for slot in slots(2, [])] == [(0, 2), (1, 3)]
    assert {slot.share for slot in slots(2, [])} == {"2 cores of 4, other busy"}
    assert [slot.cores for slot in slots(3, [])] == [(0, 3), (1,), (2,)]


def test_one_worker_has_the_machine_to_itself(cpu):
    (slot,) = slots(1, [])
    assert (slot.cores, slot.share) == ((0, 1, 2, 3), "exclusive")


@pytest.mark.parametrize("workers", [1, 3, "auto"])
def test_a_gpu_that_was_not_found_is_hidden_from_the_workers(cpu, workers):
    found = slots(workers, [])
    assert {slot.environment["CUDA_VISIBLE_DEVICES"] for slot in found} == {"-1"}
    assert [slot.environment["OMP_NUM_THREADS"] for slot in found] == [str(len(slot.cores)) for slot in found]
    assert all(set(slot.environment) == {"CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"} for slot in found)


def test_more_workers_than_cores_share(cpu):
    found = slots(6, [])
    assert [slot.cores for slot in found] == [(0,), (1,), (2,), (3,), (0,), (1,)]
    assert {slot.share for slot in found} == {"shared"}


def test_auto_is_one_worker_per_gpu(cpu):
    found = slots("auto", [H200, OTHER])
    assert [slot.device for slot in found] == ["NVIDIA H200", "NVIDIA L4"]
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in found] == ["0", "1"]
    assert [slot.cores for slot in found] == [(0, 2), (1, 3)]
    assert {slot.share for slot in found} == {"exclusive"}


def test_workers_on_one_gpu_are_marked_as_shared(cpu):
    found = slots(2, [H200])
    assert {slot.share for slot in found} == {"shared"}
    assert {slot.environment["CUDA_VISIBLE_DEVICES"] for slot in found} == {"0"}


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["NVIDIA H200", "NVIDIA L4"]),
        ("1", ["NVIDIA L4"]),
        ("1,0", ["NVIDIA L4", "NVIDIA H200"]),
        ("GPU-bb", ["NVIDIA L4"]),
        ("0,7,1", ["NVIDIA H200"]),
        ("-1", []),
        ("", []),
    ],
)
def test_cuda_visible_devices_is_honoured(nvidia, monkeypatch, visible, names):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = hardware.gpus()
    assert [gpu.name for gpu in found] == names
    if visible is None:
        assert found == [H200, OTHER]


def test_without_a_driver_there_is_no_gpu(monkeypatch):
    def missing():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    assert hardware.gpus() == []


@pytest.mark.parametrize("call", ["HandleByIndex", "MemoryInfo", "Name"])
@pytest.mark.parametrize(("broken", "left"), [({0}, [OTHER]), ({1}, [H200]), ({0, 1}, [])])
def test_a_gpu_that_fell_off_the_bus_is_left_out(nvidia, monkeypatch, call, broken, left):
    works = getattr(pynvml, f"nvmlDeviceGet{call}")

    def lost(index):
        if index in broken:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return works(index)

    monkeypatch.setattr(pynvml, f"nvmlDeviceGet{call}", lost)
    assert hardware.gpus() == left


@pytest.mark.parametrize("call", ["SystemGetDriverVersion", "DeviceGetCount"])
def test_a_driver_that_does_not_answer_has_no_gpu_and_is_shut_down(nvidia, monkeypatch, call):
    ended = []

    def silent():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)

    monkeypatch.setattr(pynvml, f"nvml{call}", silent)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: ended.append(True))
    assert hardware.gpus() == []
    assert ended == [True]


@pytest.mark.parametrize(("quota", "n"), [(None, 8), (2.0, 2), (2.5, 2), (0.5, 1), (64.0, 8)])
def test_a_container_s_quota_limits_the_cores(monkeypatch, quota, n):
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(hardware, "_cgroup_cores", lambda: quota)
    assert hardware.cores() == tuple(range(n))


def test_what_is_really_here_can_be_named():
    assert hardware.cpu_name()
    assert len(hardware.cores()) >= 1
    assert hardware.memory_mib() > 0
