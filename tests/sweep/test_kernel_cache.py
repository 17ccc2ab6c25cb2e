"""`lstm_bench.sweep.kernel_cache`: figures by description, and a file that may be anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstm_bench.core.cache import cache_folder
from lstm_bench.sweep.kernel_cache import Memory, bucket

ABOUT = {"device": "a CPU", "shape": {"units": 64}}


def test_what_is_put_is_got_by_an_equal_description_in_any_order(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "kernels.json"
    Memory(file).put(ABOUT, {"train_samples_per_s": 5.0})
    Memory(file).put({**ABOUT, "device": "another"}, {"train_samples_per_s": 6.0})
    assert Memory(file).get(dict(reversed(ABOUT.items()))) == {"train_samples_per_s": 5.0}
    assert Memory(file).get({**ABOUT, "shape": {"units": 65}}) is None
    assert [path.name for path in file.parent.iterdir()] == ["kernels.json"]
    assert '"device": "another"' in file.read_text(), "people can read what a figure is of"


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", '{"x": 3}', None])
def test_a_file_that_is_none_of_ours_counts_as_empty(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "kernels.json"
    if content is not None:
        file.write_text(content)
    assert Memory(file).get(ABOUT) is None
    Memory(file).put(ABOUT, {"a": 1.0})
    assert Memory(file).get(ABOUT) == {"a": 1.0}


def test_an_entry_without_figures_is_none(tmp_path: Path) -> None:
    file = tmp_path / "kernels.json"
    Memory(file).put(ABOUT, {"a": 1.0})
    file.write_text(file.read_text().replace("1.0", '"fast"'))
    assert Memory(file).get(ABOUT) is None


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    memory = Memory(tmp_path / "file" / "kernels.json")
    memory.put(ABOUT, {"a": 1.0})
    assert memory.get(ABOUT) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((64, 64), (90, 64), (91, 128), (1, 1), (0, False), (-3, False), (0.3, True), (0.0, False)),
        *(("model", "model"), (True, True), (None, None)),
        ({"units": 33, "dropout": 0.1}, {"units": 32, "dropout": True}),
    ],
)
def test_sizes_are_rounded_to_powers_of_two(value: object, expected: object) -> None:
    assert bucket(value) == expected


def test_the_folder_is_the_user_s_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "lstm_bench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "lstm_bench"
