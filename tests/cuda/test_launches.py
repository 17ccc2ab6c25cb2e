"""Forecast launches: how they are counted, what is called a bound, and that a compiler for GPUs changes nothing on a CPU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lstm_bench.core.errors import ConfigError
from lstm_bench.cuda import compiler, launches
from lstm_bench.cuda.targets import TARGETS
from lstm_bench.kernels import launching
from lstm_bench.launcher import worker_environment
from lstm_bench.report.pages import launches as page
from lstm_bench.study import columns

HLO = """HloModule jit_train_step, is_scheduled=true

%fused (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %add.1 = f32[4]{0} add(%p, %p)
}

%command_buffer (p.1: f32[4]) -> f32[4] {
  %p.1 = f32[4]{0} parameter(0)
  %one = f32[4]{0} fusion(%p.1), kind=kLoop, calls=%fused
  ROOT %two = f32[4]{0} fusion(%one), kind=kLoop, calls=%fused
}

%inner_body (s: (s32[], f32[4])) -> (s32[], f32[4]) {
  %s = (s32[], f32[4]{0}) parameter(0)
  %x = f32[4]{0} get-tuple-element(%s), index=1
  %y = f32[4]{0} fusion(%x), kind=kCustom, calls=%fused
  ROOT %t = (s32[], /*index=1*/f32[4]{0}) tuple(%x, %y)
}

%cond (s.1: (s32[], f32[4])) -> pred[] {
  %s.1 = (s32[], f32[4]{0}) parameter(0)
  ROOT %lt = pred[] fusion(%s.1), kind=kLoop, calls=%fused
}

%body (s.2: (s32[], f32[4])) -> (s32[], f32[4]) {
  %s.2 = (s32[], f32[4]{0}) parameter(0)
  %gemm = (f32[4]{0}, s8[64]{0}) custom-call(%s.2), custom_call_target="__cublas$gemm"
  ROOT %w = (s32[], f32[4]{0}) while(%s.2), condition=%cond, body=%inner_body, backend_config={"known_trip_count":{"n":"3"}}
}

ENTRY %main (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  %b = f32[4]{0} bitcast(%a)
  %c = (f32[4]{0}, f32[4]{0}, u32[]) copy-start(%b)
  %d = f32[4]{0} copy-done(%c)
  %e = f32[4]{0} call(%d), to_apply=%command_buffer
  %w.1 = (s32[], f32[4]{0}) while(%e), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"28"}}
  ROOT %r = f32[4]{0} sort(%e), dimensions={0}
}
"""


def test_launches_are_counted_in_loops_times_their_turns() -> None:
    found = launches.counted(HLO)
    # A turn of the outer loop: one call of cuBLAS, and the inner loop's fusion three times.
    assert (found.fusions, found.library, found.copies, found.other) == (2 + 28 * 3, 28, 1, 1)
    assert found.total == 2 + 28 * 4 + 2
    assert (found.loops, found.unknown) == ([(28, 4)], "")


def test_a_loop_whose_turns_are_not_known_makes_the_count_too_low_and_says_so() -> None:
    found = launches.counted(HLO.replace('{"known_trip_count":{"n":"3"}}', "{}"))
    assert found.unknown == "a loop whose number of turns is not known"
    assert found.loops == [(28, 2)]
    with pytest.raises(ValueError, match="no entry computation"):
        launches.counted("HloModule none")


def test_of_a_branch_the_longer_side_is_counted() -> None:
    branch = "%e = f32[4]{0} conditional(%d, %d, %d), branch_computations={%command_buffer, %fused}"
    found = launches.counted(HLO.replace("%e = f32[4]{0} call(%d), to_apply=%command_buffer", branch))
    assert found.fusions == 2 + 28 * 3 and found.unknown.startswith("a branch")


def cell(**sizes: int) -> dict[str, Any]:
    small = {"units": 64, "layers": 1, "timesteps": 28, "features": 28, "batch": 64}
    return {"layer": "lstm", "dtype": "float32", **small, **sizes}


def test_a_bound_is_the_products_time_or_that_of_bytes_that_no_cache_holds() -> None:
    small, by = launching.bound_us(cell(), TARGETS["H200"])
    # 64 sequences of 28 timesteps, 4 gates of 64 units on 28 inputs and 64 states, forward and twice backward, less the inputs'.
    flop = 64 * 28 * 2 * 4 * 64 * (3 * (28 + 64) - 28)
    assert (small, by) == (round(1e6 * flop / 494.7e12, 3), "products")
    assert launching.bound_us(cell(), TARGETS["A100"])[0] > small
    assert launching.bound_us(cell(units=8192, batch=1, timesteps=1), TARGETS["A100"])[1] == "memory"


def test_a_compiler_that_is_not_there_or_of_another_version_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> str:
        if name == compiler.PLUGIN:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr(importlib.metadata, "version", gone)
    with pytest.raises(
        ConfigError, match=r"expected jax-cuda13-pjrt 1.2.3, received 'none'. Run pip install"
    ) as raised:
        compiler.require()
    assert "\n" not in str(raised.value)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.0" if name == compiler.PLUGIN else "1.2.3")
    with pytest.raises(ConfigError, match=r"received '2.0'"):
        compiler.require()


def test_a_worker_without_a_gpu_does_not_start_the_compiler_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def given(known: dict[str, str], backend: str = "jax", gpu: bool = False) -> str | None:
        made = worker_environment.worker_environment(known, backend, None, False, gpu=gpu)
        return made.get("JAX_PLATFORMS")

    monkeypatch.setattr(worker_environment, "_has_cuda_plugin", lambda: True)
    assert given({}) == "cpu"
    assert given({"JAX_PLATFORMS": "cuda"}) is None and given({}, gpu=True) is None and given({}, "torch") is None
    monkeypatch.setattr(worker_environment, "_has_cuda_plugin", lambda: False)
    assert given({}) is None


def rows() -> list[dict[str, str]]:
    about = {"cell": "lstm-1x64", "kernel": "generic", "gpu": "H100", "state": "counted", "launches": "831"}
    known = dict.fromkeys(columns.LAUNCH_COLUMNS, "") | about | {"temporary_bytes": str(2**21), "bound_us": "0.5"}
    other = known | {
        "kernel": "cudnn",
        "state": "not_known",
        "launches": "",
        "temporary_bytes": "",
        "reason": "NVIDIA's",
    }
    return [known, other, {"cell": "torn"}]


def test_every_heading_of_the_page_says_forecast_and_a_bound_is_called_one() -> None:
    made = page.page(rows())
    text = made["kernels-forecast.md"]
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len(headings) == 3 and all("forecast" in line.lower() for line in headings)
    assert "| `lstm-1x64` | generic | 831 |" in text and "| 2.0 | 0.5 |" in text
    assert "cudnn | not known" in text and "lower bound, us" in text


def where() -> Path | None:
    """The folder that the compiler was installed into, where that is one of its own."""
    found = importlib.util.find_spec("jax_plugins")
    places = [Path(place).parent for place in (found.submodule_search_locations or ())] if found else []
    return next((place for place in places if place.name not in ("site-packages", "dist-packages")), None)


@pytest.mark.long
@pytest.mark.timeout(3100)
def test_steps_are_compiled_and_counted_where_the_compiler_is_installed(tmp_path: Path) -> None:
    if importlib.util.find_spec("jax_plugins") is None:
        pytest.skip("the extra cuda-compiler is not installed")
    command = [sys.executable, "-m", "lstm_bench.kernels", "forecast=cuda", "grid=quick"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr
    assert "a forecast: compiled for GPUs that are not here" in done.stdout
    assert (tmp_path / "sweeps/kernels-forecast/forecast.csv").read_text().count(",counted,") == 6


@pytest.mark.long
@pytest.mark.timeout(1300)
def test_a_sweep_on_a_cpu_says_and_computes_the_same_with_the_compiler_installed(tmp_path: Path) -> None:
    place = where()
    if place is None:
        pytest.skip(
            "no compiler in a folder of its own: pip install --no-deps --target DIR jax-cuda13-pjrt, PYTHONPATH=DIR"
        )
    without = os.pathsep.join(entry for entry in sys.path if entry and Path(entry) != place)
    said, scores = [], []
    for name, path in (("with", os.pathsep.join([str(place), without])), ("without", without)):
        folder = tmp_path / name
        folder.mkdir()
        command = [sys.executable, "-m", "lstm_bench.sweep", "+study=smoke", "backend=jax", "tracking=none"]
        command += [
            "kernel=generic",
            "study.n_trials=1",
            "study.replicates=0",
            "train.epochs=1",
            "kernel.remember=false",
        ]
        environment = {k: v for k, v in os.environ.items() if k != "JAX_PLATFORMS"} | {"PYTHONPATH": path}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        said.append((len(done.stdout.splitlines()), done.stderr))
        logs = [log.read_text() for log in sorted(folder.rglob("worker-*.log"))]
        assert not any("jax_plugins" in log or "cuDNN" in log for log in logs), logs
        [history] = folder.rglob("history.csv")
        table = [line.split(",") for line in history.read_text().splitlines()]
        kept = [at for at, column in enumerate(table[0]) if "loss" in column or "accuracy" in column]
        scores.append([[line[at] for at in kept] for line in table])
    assert said[0] == said[1] and scores[0] == scores[1] and len(scores[0]) == 2
