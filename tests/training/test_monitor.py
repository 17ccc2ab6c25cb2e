"""What else happened on the machine: other load counted exactly on made-up cores, found on a real one; a fake GPU's words."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator, Mapping
from typing import Any

import pynvml
import pytest

from lstm_bench.training import monitor
from lstm_bench.training.monitor import Watch

Times = namedtuple("Times", "user nice system idle iowait irq softirq steal guest guest_nice")
Own = namedtuple("Own", "user system children_user children_system")


class Machine:
    """Four cores, of which this process may use cores 1 and 3, and ten seconds between two looks."""

    def __init__(self) -> None:
        self.now = 100.0
        self.cores = [dict.fromkeys(Times._fields, 1000.0) for _ in range(4)]
        self.own = dict.fromkeys(Own._fields, 50.0)
        self.throttled = 7

    def passes(self, core: int = 1, **seconds: float) -> None:
        """Adds seconds to one core's times."""
        for kind, value in seconds.items():
            self.cores[core][kind] += value


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(monitor, "clock", lambda: made.now)
    monkeypatch.setattr(monitor.psutil, "cpu_times", lambda percpu: [Times(**core) for core in made.cores])
    monkeypatch.setattr(monitor.psutil.Process, "cpu_times", lambda process: Own(**made.own))
    monkeypatch.setattr(monitor, "_cores", lambda: [1, 3])
    monkeypatch.setattr(monitor, "_throttle_count", lambda: made.throttled)
    return made


def watched(machine: Machine, limit: float = 0.1, own: float = 0.0, **seconds: float) -> str:
    """What is said of ten seconds in which core 1 spent `seconds`, `own` of them on this process."""
    it = Watch(None, limit)
    it.start()
    machine.now += 10
    machine.own["user"] += own
    machine.passes(1, **seconds)
    marks, energy = it.stop()
    assert energy is None
    return marks


def test_another_process_s_share_of_the_cores_is_said(machine: Machine) -> None:
    assert watched(machine, user=5.0) == "other load 25 %"  # 5 s of two cores' 20 s


def test_a_share_up_to_the_limit_is_not_said(machine: Machine) -> None:
    assert watched(machine, limit=0.25, user=5.0) == ""
    assert watched(machine, limit=0.24, user=5.0) == "other load 25 %"


def test_an_idle_machine_is_quiet(machine: Machine) -> None:
    assert watched(machine, limit=0.0, idle=9.0, iowait=1.0) == ""


def test_own_load_is_not_other_load(machine: Machine) -> None:
    assert watched(machine, limit=0.01, own=9.0, user=9.0) == ""
    assert watched(machine, own=4.0, user=9.0) == "other load 25 %"


@pytest.mark.parametrize("kind", ["user", "nice", "system", "irq", "softirq", "steal"])
def test_whatever_takes_a_core_is_load(machine: Machine, kind: str) -> None:
    assert watched(machine, **{kind: 10.0}) == "other load 50 %"


def test_a_guest_s_seconds_are_counted_once(machine: Machine) -> None:
    assert watched(machine, user=5.0, guest=5.0) == "other load 25 %"  # Linux counts them among the user's


def test_a_nice_guest_s_seconds_are_counted_once(machine: Machine) -> None:
    assert watched(machine, nice=5.0, guest_nice=5.0) == "other load 25 %"


def test_cores_of_others_are_none_of_ours(machine: Machine) -> None:
    it = Watch(None, 0.0)
    it.start()
    machine.now += 10
    machine.passes(0, user=10.0)
    machine.passes(2, user=10.0)
    assert it.stop()[0] == ""


def test_every_start_begins_anew(machine: Machine) -> None:
    it = Watch(None, 0.1)
    it.start()
    machine.now += 10
    machine.passes(1, user=20.0)
    it.start()
    machine.now += 10
    machine.passes(1, user=10.0)
    assert it.stop()[0] == "other load 50 %"


def test_no_time_is_no_load(machine: Machine) -> None:
    it = Watch(None, 0.0)
    it.start()
    machine.passes(1, user=1.0)
    assert it.stop() == ("", None)


def test_a_processor_that_was_throttled_is_said(machine: Machine) -> None:
    it = Watch(None, 0.1)
    it.start()
    machine.now += 10
    machine.passes(3, user=10.0)
    machine.throttled += 1
    assert it.stop() == ("other load 50 %; CPU thermal throttling", None)
    it.start()
    machine.now += 10
    assert it.stop() == ("", None)  # what was throttled before does not count


BURN = "import time\nend = time.monotonic() + 20\nprint('burning', flush=True)\nwhile time.monotonic() < end: pass"


@pytest.fixture
def one_core() -> Iterator[None]:
    """This thread, and what it starts, on one core: what another process takes of that is the larger share."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity on this system: other load was tested on made-up cores alone")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def test_a_process_that_burns_a_core_is_found(one_core: None) -> None:
    burner = subprocess.Popen([sys.executable, "-c", BURN], stdout=subprocess.PIPE, text=True)
    try:
        assert burner.stdout is not None and burner.stdout.readline() == "burning\n"
        it = Watch(None, 0.5)
        it.start()
        time.sleep(0.5)
        marks, energy = it.stop()
    finally:
        burner.kill()
        burner.communicate()
    assert marks.startswith("other load ") and energy is None
    assert 50 < int(marks.split()[2]) <= 110  # the kernel counts in hundredths of a second


def test_a_core_burnt_by_this_process_is_its_own(one_core: None) -> None:
    it = Watch(None, 0.0)
    begun, spent = time.monotonic(), time.process_time()
    it.start()
    while time.monotonic() < begun + 0.5:
        pass
    marks, _ = it.stop()
    own = (time.process_time() - spent) / (time.monotonic() - begun)
    other = int(marks.split()[2]) / 100 if "other load" in marks else 0.0
    assert other < 1 - own + 0.15  # what is left of the core; the kernel counts in hundredths of a second


Violation = namedtuple("Violation", "referenceTime violationTime")


class Nvml:
    """NVIDIA's library with one GPU in it; a method in `broken` raises what the library raises."""

    def __init__(self) -> None:
        self.energy_mj, self.processes = 5000, 1
        # Nanoseconds by policy, since the driver was loaded.
        self.held_back = dict.fromkeys(range(pynvml.NVML_PERF_POLICY_COUNT), 7 * 10**9)
        self.broken: set[str] = set()
        self.asked: list[Any] = []

    def value(self, name: str, value: Any) -> Any:
        if name in self.broken:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return value

    def handle(self, by: str, name: Any) -> str:
        self.asked.append((by, name))
        return self.value("handle", "the GPU")


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> Nvml:
    made = Nvml()

    def of(name: str, value: Any) -> Any:
        def call(handle: str) -> Any:
            assert handle == "the GPU"
            return made.value(name, value())

        return call

    def violation(handle: str, policy: int) -> Any:
        assert handle == "the GPU"
        return made.value("held back", Violation(referenceTime=1, violationTime=made.held_back[policy]))

    fakes = {
        "nvmlInit": lambda: made.value("init", None),
        "nvmlDeviceGetHandleByIndex": lambda index: made.handle("index", index),
        "nvmlDeviceGetHandleByUUID": lambda uuid: made.handle("uuid", uuid),
        "nvmlDeviceGetTotalEnergyConsumption": of("energy", lambda: made.energy_mj),
        "nvmlDeviceGetViolationStatus": violation,
        "nvmlDeviceGetComputeRunningProcesses": of("processes", lambda: [object()] * made.processes),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(pynvml, name, fake)
    return made


def seen(
    nvml: Nvml, machine: Machine, gained_ns: Mapping[int, int] | None = None, used_mj: int = 2500
) -> tuple[str, float | None]:
    """What is said of ten seconds in which the GPU was held back for `gained_ns` by each policy."""
    it = Watch("0", 0.1)
    it.start()
    machine.now += 10
    nvml.energy_mj += used_mj
    for policy, nanoseconds in (gained_ns or {}).items():
        nvml.held_back[policy] += nanoseconds
    return it.stop()


def test_energy_is_what_the_counter_gained_in_joules(nvml: Nvml, machine: Machine) -> None:
    assert seen(nvml, machine) == ("", 2.5)
    assert seen(nvml, machine, used_mj=0) == ("", 0.0)


def test_whether_energy_is_counted_is_known_beforehand(nvml: Nvml) -> None:
    assert Watch("0", 0.1).counts_energy is True
    assert Watch(None, 0.1).counts_energy is False
    nvml.energy_mj = 0  # a counter at its beginning counts
    assert Watch("0", 0.1).counts_energy is True
    for broken in ("init", "handle", "energy"):
        nvml.broken = {broken}
        assert Watch("0", 0.1).counts_energy is False


@pytest.mark.parametrize(
    ("name", "asked"),
    [("0", ("index", 0)), ("3", ("index", 3)), ("GPU-aa", ("uuid", "GPU-aa")), ("MIG-b", ("uuid", "MIG-b"))],
)
def test_the_gpu_is_found_as_cuda_names_it(nvml: Nvml, name: str, asked: tuple[str, Any]) -> None:
    Watch(name, 0.1)
    assert nvml.asked == [asked]


POWER, THERMAL = pynvml.NVML_PERF_POLICY_POWER, pynvml.NVML_PERF_POLICY_THERMAL
SECOND = 10**9  # in NVML's nanoseconds


@pytest.mark.parametrize(
    ("gained", "words"),
    [
        ({}, ""),
        ({POWER: SECOND // 10}, ""),  # one hundredth of the ten seconds is not above it
        ({POWER: SECOND * 3 // 20}, "power cap 2 % of the time"),
        ({POWER: 10 * SECOND}, "power cap 100 % of the time"),
        ({THERMAL: 4 * SECOND}, "thermal slowdown 40 % of the time"),
        ({THERMAL: 4 * SECOND, POWER: SECOND}, "power cap 10 % of the time; thermal slowdown 40 % of the time"),
        ({pynvml.NVML_PERF_POLICY_SYNC_BOOST: 9 * SECOND, pynvml.NVML_PERF_POLICY_LOW_UTILIZATION: 9 * SECOND}, ""),
    ],
)
def test_what_holds_the_gpu_back_is_said_with_its_share_of_the_time(
    nvml: Nvml, machine: Machine, gained: dict[int, int], words: str
) -> None:
    assert seen(nvml, machine, gained) == (words, 2.5)


def test_what_held_the_gpu_back_before_does_not_count(nvml: Nvml, machine: Machine) -> None:
    it = Watch("0", 0.1)
    it.start()
    machine.now += 10
    nvml.held_back[POWER] += 5 * SECOND
    it.start()
    machine.now += 10
    nvml.held_back[POWER] += 3 * SECOND
    assert it.stop()[0] == "power cap 30 % of the time"


def test_a_counter_that_fails_at_either_end_says_nothing(nvml: Nvml, machine: Machine) -> None:
    for first, then in (({"held back"}, set()), (set(), {"held back"})):
        it = Watch("0", 0.1)
        nvml.broken = first
        it.start()
        machine.now += 10
        nvml.held_back[POWER] += 5 * SECOND
        nvml.broken = then
        assert it.stop()[0] == ""


@pytest.mark.parametrize(("processes", "words"), [(0, ""), (1, ""), (2, "GPU shared with another process")])
def test_a_gpu_with_more_than_one_process_is_shared(nvml: Nvml, machine: Machine, processes: int, words: str) -> None:
    nvml.processes = processes
    assert seen(nvml, machine) == (words, 2.5)


CAP = "power cap 50 % of the time"


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({"init"}, ("", None)),
        ({"handle"}, ("", None)),
        ({"energy"}, (f"{CAP}; GPU shared with another process", None)),
        ({"held back"}, ("GPU shared with another process", 2.5)),
        ({"processes"}, (CAP, 2.5)),
        ({"energy", "held back", "processes"}, ("", None)),
    ],
)
def test_what_nvml_does_not_tell_is_left_out(
    nvml: Nvml, machine: Machine, broken: set[str], expected: tuple[str, float | None]
) -> None:
    nvml.processes, nvml.broken = 2, broken
    assert seen(nvml, machine, {POWER: 5 * SECOND}) == expected


def test_an_energy_counter_that_fails_in_between_gives_nothing(nvml: Nvml, machine: Machine) -> None:
    it = Watch("0", 0.1)
    it.start()
    machine.now += 10
    nvml.broken = {"energy"}
    assert it.stop() == ("", None)


def test_load_comes_before_what_the_gpu_says(nvml: Nvml, machine: Machine) -> None:
    it = Watch("0", 0.1)
    it.start()
    machine.now += 10
    nvml.held_back[POWER] += 5 * SECOND
    machine.passes(1, user=10.0)
    assert it.stop()[0] == f"other load 50 %; {CAP}"


def test_without_a_gpu_nvml_is_not_asked(nvml: Nvml) -> None:
    it = Watch(None, 0.1)
    it.start()
    assert it.stop() == ("", None)
    assert nvml.asked == []


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="Linux alone sets a peak back")  # noqa: PTH110
def test_a_peak_of_memory_is_that_since_it_was_set_back() -> None:
    monitor.reset_peak_memory("tensorflow", None)
    before = monitor.peak_memory_mib()
    block = bytearray(b"x") * (200 * 2**20)
    assert monitor.peak_memory_mib() > before + 150
    del block
    monitor.reset_peak_memory("tensorflow", None)
    assert monitor.peak_memory_mib() < before + 100
    assert monitor.peak_device_memory_mib("torch", None) is None
