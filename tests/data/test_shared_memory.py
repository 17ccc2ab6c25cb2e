"""One copy of the data for all processes of a host: what others see, what it costs, and what is left when they are gone."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_bench.data import dataset as data
from lstm_bench.data import shared_memory
from lstm_bench.training import tasks

CONFIG: dict[str, Any] = {"name": "npz", "path": "/nowhere/toy.npz", "train_size": None, "validation_size": 0.1}
ARRAYS = [f"{axis}_{split}" for split in ("train", "validation", "test") for axis in "xy"]


def dataset(n: int = 1000) -> data.Dataset:
    """Arrays of odd sizes, one of them not in C order."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, size in (("train", n + 1), ("validation", 7), ("test", 33)):
        arrays[f"x_{split}"] = rng.standard_normal((size, 5, 3)).astype(np.float32)
        arrays[f"y_{split}"] = np.arange(size, dtype=np.int32) % 2
    arrays["x_test"] = np.asfortranarray(arrays["x_test"])
    return data.Dataset("toy", **arrays, n_classes=2, sha256="ab" * 32, source="~/toy.npz", notice="eine Übung")


@pytest.fixture
def shared() -> Iterator[shared_memory.SharedDataset]:
    made = shared_memory.SharedDataset()
    assert made.fd is not None
    yield made
    made.close()


class Child:
    """Another process with the descriptor; it runs one piece of code after the other on `made`, what it has loaded."""

    CODE = (
        "import json, sys; from lstm_bench.data import shared_memory as mapping\n"
        "made = mapping.load(int(sys.argv[1]), json.loads(sys.argv[2]))\n"
        "for line in sys.stdin: print(json.dumps(eval(json.loads(line))), flush=True)"
    )

    def __init__(self, fd: int):
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.CODE, str(fd), json.dumps(CONFIG)],
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "pass_fds": [fd]},
        )

    def __call__(self, code: str) -> Any:
        assert self.process.stdin and self.process.stdout
        print(json.dumps(code), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=20)
        assert self.process.returncode == 0


def test_another_process_sees_every_array_and_field(shared: shared_memory.SharedDataset) -> None:
    assert shared.fd is not None
    stored = dataset()
    shared.store(stored, CONFIG)
    with Child(shared.fd) as child:
        assert child("sorted(vars(made))") == sorted(vars(stored))
        for key, value in vars(stored).items():
            if key in ARRAYS:
                assert child(f"made.{key}.dtype.str") == value.dtype.str
                assert child(f"made.{key}.tolist()") == value.tolist()
            else:
                assert child(f"made.{key}") == (list(value) if isinstance(value, tuple) else value)  # JSON has no tuple


def test_arrays_are_aligned_views_that_outlive_the_file(shared: shared_memory.SharedDataset) -> None:
    assert shared.fd is not None
    stored = dataset()
    shared.store(stored, CONFIG)
    made = shared_memory.load(shared.fd, CONFIG)
    shared.close()
    assert made is not None
    for key in ARRAYS:
        array = getattr(made, key)
        assert array.ctypes.data % shared_memory.ALIGNMENT == 0
        assert array.flags.c_contiguous and array.flags.writeable and not array.flags.owndata
        np.testing.assert_array_equal(array, getattr(stored, key))


def test_what_one_process_writes_no_other_sees(shared: shared_memory.SharedDataset) -> None:
    assert shared.fd is not None
    stored = dataset()
    shared.store(stored, CONFIG)
    with Child(shared.fd) as writer, Child(shared.fd) as reader:
        writer("made.x_train.fill(7)")
        assert writer("float(made.x_train[3, 0, 0])") == 7
        assert reader("made.x_train.tolist()") == stored.x_train.tolist()
    made = shared_memory.load(shared.fd, CONFIG)
    assert made is not None and made.x_train.tolist() == stored.x_train.tolist()


def test_a_workbench_loads_only_what_is_not_shared(
    shared: shared_memory.SharedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    monkeypatch.setattr(tasks.datasets, "load", lambda config: loaded.append(config) or dataset())
    shared.store(dataset(), CONFIG)
    bench = tasks.TaskRunner("a device", "exclusive", data_fd=shared.fd)
    first = bench.data(CONFIG)
    assert bench.data(dict(CONFIG)) is first and not first.x_train.flags.owndata
    assert loaded == []
    other = {**CONFIG, "train_size": 7}
    bench.data(other)
    assert loaded == [other]
    tasks.TaskRunner("a device", "exclusive").data(CONFIG)
    assert loaded == [other, CONFIG]


SMAPS = Path("/proc/self/smaps")


def pages(smaps: str, address: int) -> dict[str, int]:
    """KiB by kind, of the mapping that `address` lies in."""
    found: dict[str, int] = {}
    inside = False
    for line in smaps.splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            low, high = (int(part, 16) for part in first.split("-"))
            inside = low <= address < high
        elif inside and rest[1:] == ["kB"]:
            found[first.rstrip(":")] = int(rest[0])
    return found


@pytest.mark.skipif(not SMAPS.exists(), reason="no /proc/self/smaps here to tell shared pages from private ones")
def test_two_processes_hold_one_copy_between_them(shared: shared_memory.SharedDataset) -> None:
    assert shared.fd is not None
    stored = dataset(n=100_000)
    whole = stored.x_train.nbytes / 1024
    shared.store(stored, CONFIG)
    with Child(shared.fd) as one, Child(shared.fd) as other:
        for child in (one, other):
            assert child("float(made.x_train.sum(dtype='f8'))") == pytest.approx(stored.x_train.sum(dtype="f8"))
        for child in (one, other):
            kib = pages(child("open('/proc/self/smaps').read()"), child("made.x_train.ctypes.data"))
            assert kib["Rss"] > whole
            assert kib["Shared_Clean"] + kib["Shared_Dirty"] == kib["Rss"]  # dirty: not written to the disk yet
            assert kib["Pss"] == pytest.approx(kib["Rss"] / 2, rel=0.01)


@pytest.mark.parametrize("key", ["path", "train_size", "validation_size"])
def test_a_dataset_of_other_settings_is_none(shared: shared_memory.SharedDataset, key: str) -> None:
    assert shared.fd is not None
    shared.store(dataset(), CONFIG)
    assert shared_memory.load(shared.fd, {**CONFIG, key: 0.5}) is None
    assert shared_memory.load(shared.fd, dict(reversed(CONFIG.items()))) is not None


def test_a_file_that_is_empty_or_cut_off_is_none(shared: shared_memory.SharedDataset) -> None:
    assert shared.fd is not None
    assert shared_memory.load(shared.fd, CONFIG) is None
    shared.store(dataset(), CONFIG)
    size = os.fstat(shared.fd).st_size
    for left in (size - 1, size // 2, 100, 8, 7, 1, 0):
        os.ftruncate(shared.fd, left)
        assert shared_memory.load(shared.fd, CONFIG) is None, left


def test_arrays_without_their_header_are_none(
    shared: shared_memory.SharedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a reader would find in the middle of `store`."""
    assert shared.fd is not None
    fd, put = shared.fd, os.pwrite

    def watched(fd: int, view: Any, offset: int) -> int:
        assert shared_memory.load(fd, CONFIG) is None
        return put(fd, view[:100], offset)  # no more at once: a system may write less than it is given

    monkeypatch.setattr(os, "pwrite", watched)
    shared.store(dataset(n=50), CONFIG)
    made = shared_memory.load(fd, CONFIG)
    assert made is not None and made.x_train.tolist() == dataset(n=50).x_train.tolist()


def test_a_full_disk_leaves_an_empty_file(shared: shared_memory.SharedDataset) -> None:
    assert shared.fd is not None
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        shared.store(dataset(), CONFIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.fstat(shared.fd).st_size == 0
    assert shared_memory.load(shared.fd, CONFIG) is None


def test_without_a_temporary_folder_there_is_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    made = shared_memory.SharedDataset()
    assert made.fd is None
    made.store(dataset(), CONFIG)
    made.close()


def test_nothing_is_left_of_a_process_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import test_shared_memory as t\n"
        "from lstm_bench.data import shared_memory as mapping\n"
        "made = mapping.SharedDataset(); made.store(t.dataset(), t.CONFIG); print(made.fd, flush=True); time.sleep(100)"
    )
    folder = tmp_path / "temporary"
    folder.mkdir()
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    with contextlib.closing(driver.stdout) as said:  # type: ignore[type-var]
        assert int(said.readline()) > 0  # type: ignore[union-attr]
    if SMAPS.exists():
        places = [str(fd.readlink()) for fd in Path(f"/proc/{driver.pid}/fd").iterdir()]
        assert any(place.startswith(str(folder)) for place in places)
    assert list(folder.iterdir()) == []
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["adding", "copy"])
def test_targets_of_any_shape_are_shared(shared: shared_memory.SharedDataset, name: str) -> None:
    assert shared.fd is not None
    sizes = {"train_size": 30, "validation_size": 7, "test_size": 5, "length": 9, "permutation_seed": None}
    config = {**sizes, "name": name, "dir": None, "path": None, "fallback": None}
    config |= {"validation": "split", "split_seed": 0, "standardize": False}
    stored = data.load(config)
    shared.store(stored, config)
    made = shared_memory.load(shared.fd, config)
    assert made is not None
    assert (made.task, made.baselines, made.per_timestep) == (stored.task, stored.baselines, stored.per_timestep)
    for key in ARRAYS:
        assert getattr(made, key).dtype == getattr(stored, key).dtype
        np.testing.assert_array_equal(getattr(made, key), getattr(stored, key))
