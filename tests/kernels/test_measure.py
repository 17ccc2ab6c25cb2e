"""One arm of one cell: Keras's kernels against the float64 reference, and what a measurement reports in which order."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_bench.core import vocabulary
from lstm_bench.data.lengths import blank
from lstm_bench.kernels import case as cells
from lstm_bench.kernels import measure, reference
from lstm_bench.model import kernel
from lstm_bench.training import timer

METHOD = {"seed": 0, "samples": 2, "window_s": 0.02, "steady": 0.5, "max_other_load": 1.0}
METHOD["tolerance"] = {"float32": 1e-4, "bfloat16": 0.1}  # type: ignore[assignment]


LENGTHS = np.array([5, 1, 2, 5, 3, 4], np.int32)


def cell(**changes: Any) -> dict[str, Any]:
    small = {"layer": "lstm", "units": 4, "layers": 2, "timesteps": 5, "features": 3, "batch": 6, "dtype": "float32"}
    return small | changes


def check(backend: str, name: str, of: dict[str, Any]) -> None:
    """An arm agrees with the reference in all three operations, counts its steps, and proves its kernel."""
    measure.set_precision(backend, of["dtype"])
    weights, (x, cotangent) = reference.weights(of), reference.inputs(of)
    lengths = LENGTHS if of.get("lengths") else None
    arm = measure.make(backend, name, of, weights, x, cotangent, lengths)
    if lengths is None:
        outputs, gradients = reference.gradients(of, weights, x, cotangent)
    else:
        outputs, gradients = reference.unequal(of, weights, x, cotangent, lengths)
    expected = {"inference": [outputs], "forward_backward": gradients}
    tolerance = METHOD["tolerance"][of["dtype"]]  # type: ignore[index]
    rows = np.tile(np.arange(of["batch"], dtype=np.int32), (3, 1))
    for operation in vocabulary.OPERATIONS:
        arm.compile(operation)
        found = arm.values(operation)
        if operation == "inference" and lengths is not None:
            found = [blank(found[0].copy(), lengths)]
        if operation == "train_step":
            error = reference.step_error(found, weights, reference.adam_step(weights, gradients[:-1]))
            again = arm.values(operation)
            assert all((a == b).all() for a, b in zip(found, again, strict=True)), "values() left its step behind"
        else:
            error = reference.error(found, expected[operation])
        assert error < tolerance, (backend, name, cells.name(of), operation, error)
        assert arm.run(operation, rows) == 3
        assert arm.kernel_evidence(operation)[0] == name, arm.kernel_evidence(operation)
    moved = arm.values("train_step")
    assert any(not np.array_equal(a, b) for a, b in zip(found, moved, strict=True)), "training steps train nothing"


def arms(backend: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every kernel that a CPU has, the generic one with every layer, and one cell in bfloat16."""
    yield from (("generic", cell(layer=layer, layers=1 + (layer == "lstm"))) for layer in vocabulary.LAYERS)
    yield "generic", cell(layer="bidirectional_lstm", lengths="mine")
    if backend == "torch":
        yield "fused", cell(lengths="mine")
    names = [name for name in vocabulary.OF_BACKEND[backend] if name not in ("cudnn", "generic", "unrolled_xla")]
    yield from ((name, cell(layer="bidirectional_lstm", layers=1)) for name in names)
    if "fused" in names:
        yield from (("fused", cell(layer=layer, layers=1 + (layer == "lstm"))) for layer in vocabulary.LAYERS[:3])
    yield "generic", cell(dtype="bfloat16", layers=1)


@pytest.mark.long  # CI: `test_engine.py` trains every family, `test_bare.py` has arms beside the reference
@pytest.mark.parametrize("backend", sorted(vocabulary.OF_BACKEND))
def test_every_keras_arm_agrees_with_the_reference(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install 'lstm-bench[{backend}]'")
    done = subprocess.run(
        [sys.executable, __file__, backend],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            **{"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1] == f"{backend}: {len(list(arms(backend)))} arms agree"


def events(tmp_path: Path, **changes: Any) -> list[dict[str, Any]]:
    task = {"cell": cell(), "backend": "tensorflow", "kernel": "generic", "operations": ["inference", "train_step"]}
    task |= {"round": 0, "method": METHOD, "reference": str(tmp_path / "reference.npz"), **changes}
    if not (tmp_path / "reference.npz").exists():
        reference.write(task["cell"], 0, tmp_path / "reference.npz")
    found: list[dict[str, Any]] = []
    measure.measure(task, None, found.append)
    return found


def test_numerics_come_before_time_and_every_operation_is_reported_when_it_is_done(tmp_path: Path) -> None:
    found = events(tmp_path)
    phases = [(event["phase"], event["operation"]) for event in found]
    assert phases == [(p, o) for o in ("inference", "train_step") for p in ("compile", "time", "done")]
    run, seconds = found[2]["run"], found[2]["seconds"]
    assert (run["state"], run["reason"], run["kernel_ran"], run["n"]) == ("measured", None, "generic", len(seconds))
    assert run["error"] < 1e-5 and "While" in run["evidence"]
    assert run["compile_s"] > 0 and run["first_call_s"] > 0 and run["peak_memory_mib"] > 100
    assert run["energy_j_per_million"] is None
    # Calibrated beside other load, a window is shorter once that is over: less than half has been seen.
    assert run["steps"] > 1 and max(seconds) > 0.2 * METHOD["window_s"]  # type: ignore[operator]


def test_an_arm_that_disagrees_is_wrong_and_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference.write(cell(), 0, tmp_path / "reference.npz")
    true = reference.weights
    # The weights of other gates, as an arm with the gates in another order would use them.
    monkeypatch.setattr(measure.reference, "weights", lambda *a: [np.roll(w, 4, axis=-1) for w in true(*a)])
    done = [event for event in events(tmp_path) if event["phase"] == "done"]
    assert [event["run"]["state"] for event in done] == ["wrong", "wrong"]
    assert all(event["run"]["error"] > 0.05 and event["seconds"] == [] for event in done)
    assert "steps" not in done[0]["run"] and done[0]["run"]["reason"].startswith("wrong against the float64 reference")


def test_values_that_are_not_finite_are_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference.write(cell(), 0, tmp_path / "reference.npz")
    true = reference.weights
    monkeypatch.setattr(measure.reference, "weights", lambda *a: [w * np.float32("nan") for w in true(*a)])
    assert {e["run"]["state"] for e in events(tmp_path) if e["phase"] == "done"} == {"wrong"}


def test_another_kernel_than_asked_for_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    makers = kernel.makers
    monkeypatch.setattr(measure.kernel, "makers", lambda name, **_: makers("generic"))  # a silent fall-back
    found = events(tmp_path, kernel="unrolled", operations=["inference"])
    run = found[-1]["run"]
    assert (run["state"], run["kernel_ran"]) == ("other_kernel", "generic")
    assert run["reason"] == "asked for unrolled, generic ran"


def test_the_probe_of_a_study_and_the_benchmark_share_the_sampler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called: list[str] = []
    sample = timer.sample
    monkeypatch.setattr(
        timer, "sample", lambda arm, operation, *a, **k: called.append(operation) or sample(arm, operation, *a, **k)
    )  # type: ignore[func-returns-value]
    events(tmp_path, operations=["inference"])

    class Quick:
        def compile(self, operation: str) -> None: ...

        def run(self, operation: str, rows: np.ndarray) -> int:
            return len(rows)

        def kernel_evidence(self, operation: str) -> tuple[str, str]:
            return "generic", "none"

    timer.training_throughput(Quick(), 4, 10, 0.0)  # type: ignore[arg-type]
    assert called == ["inference", "train_step"]


if __name__ == "__main__":
    every = list(arms(sys.argv[1]))
    for arm_name, arm_cell in every:
        check(sys.argv[1], arm_name, arm_cell)
    print(f"{sys.argv[1]}: {len(every)} arms agree")
