"""Backends loaded and kernels proved: each arm compiles one training step in a worker, is held to float64, and shows what ran."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lstm_bench.core import hardware, vocabulary
from lstm_bench.core.errors import DeviceError, KernelError, LstmBenchError
from lstm_bench.kernels import grid, reference
from lstm_bench.kernels.bench import BENCH
from lstm_bench.launcher.single_task import Process

_OPERATION = "train_step"


class Proof(NamedTuple):
    """One backend and kernel: what ran and how that is known, or why nothing did."""

    backend: str
    kernel: str  # empty where the backend itself is meant
    ran: str  # empty where nothing did
    said: str
    fault: LstmBenchError | None = None


def proofs(
    backends: Sequence[str], cell: Mapping[str, Any], method: Mapping[str, Any], gpus: Sequence[hardware.Gpu]
) -> Iterator[Proof]:
    """Loads every backend in a process of its own and proves its kernels, one after the other.

    Args:
      backends: Of Keras.
      cell: What they are proved on.
      method: Group `method` of the configuration.
      gpus: The visible GPUs; the first is used.

    Yields:
      One proof for each backend, and one for each of its kernels. What is not installed or has no device is no fault.
    """
    gpu = gpus[0].name if gpus else None
    with tempfile.TemporaryDirectory(prefix="lstm_bench-") as scratch:
        logs, expected = Path(scratch), Path(scratch) / "reference.npz"
        reference.write(cell, method["seed"], expected)
        slot = hardware.slots(1, list(gpus[:1]))[0]
        for backend in backends:
            if importlib.util.find_spec(backend) is None:
                yield Proof(backend, "", "", f"unavailable: not installed (pip install 'lstm-bench[{backend}]')")
                continue
            yield from _Arms(backend, cell, method, gpu, slot, logs, expected).proofs()


class _Arms:
    """The kernels of one backend, in one process after another: one that dies or hangs takes no other kernel with it."""

    def __init__(
        self,
        backend: str,
        cell: Mapping[str, Any],
        method: Mapping[str, Any],
        gpu: str | None,
        slot: hardware.Slot,
        logs: Path,
        expected: Path,
    ):
        self.backend, self.cell, self.method, self.gpu = backend, cell, method, gpu
        self.slot, self.logs, self.expected = slot, logs, expected
        self.names = vocabulary.OF_BACKEND[backend]

    def _started(self) -> Process:
        return Process(self.slot, self.backend, self.logs, keras=True, tasks=len(self.names), bench=BENCH)

    def proofs(self) -> Iterator[Proof]:
        process = self._started()
        try:
            if not process.wait():
                yield self._unloaded()
                return
            seen = process.seen
            if self.gpu and seen == "cpu":
                fault = DeviceError(
                    f"{self.gpu} is there, but {self.backend} does not see it",
                    remedy="Install its GPU build, or set CUDA_VISIBLE_DEVICES= to use the CPU knowingly.",
                )
                yield Proof(self.backend, "", "", "FAULT, see below", fault)
                self.gpu = None
            else:
                yield Proof(self.backend, "", "", f"loaded, sees the {seen}")
            for name in self.names:
                reason = grid.unavailable((self.backend, name), self.cell, self.gpu)
                if reason:
                    yield Proof(self.backend, name, "", f"unavailable: {reason}")
                    continue
                result, run = self._run(process, name)
                yield self._proof(name, result, run)
                if result["state"] != "COMPLETE":  # whatever is left of it
                    process.end()
                    process = self._started()
                    if not process.wait():
                        yield self._unloaded()
                        return
        finally:
            process.end()

    def _unloaded(self) -> Proof:
        lines = [line for path in self.logs.glob("*.log") for line in path.read_text(errors="replace").splitlines()]
        said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        fault = KernelError(
            f"backend={self.backend} cannot be loaded ({said[:300]})",
            remedy=f"Install it anew: pip install {self.backend}",
        )
        return Proof(self.backend, "", "", "FAULT, see below", fault)

    def _run(self, process: Process, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        runs: list[dict[str, Any]] = []

        def report(event: Mapping[str, Any]) -> None:
            if event["phase"] == "done":
                runs.append(event["run"])

        task = {"kind": "cell", "cell": dict(self.cell), "backend": self.backend, "kernel": name, "round": 0}
        task |= {"operations": [_OPERATION], "reference": str(self.expected), "method": dict(self.method)}
        result = process.run(task, report, self.method["compile_limit_s"])
        return result, runs[0] if runs else {}

    def _proof(self, name: str, result: Mapping[str, Any], run: Mapping[str, Any]) -> Proof:
        about = f"kernel={name} of backend={self.backend}"
        if run.get("state") == "measured":
            off = (
                f"off by {run['error']:.1g} of {run['tolerance']:g}" if run["error"] else "right to float32's rounding"
            )
            said = f"{run['evidence']}; {off}"
            return Proof(self.backend, name, run["kernel_ran"], said)
        detail = run.get("reason") or result.get("detail") or result["state"]
        slow = result.get("reason") == "compile_limit"
        remedy = (
            "Raise method.compile_limit_s, or use another kernel." if slow else "Use another kernel, and report this."
        )
        fault = KernelError(f"{about}: {detail}", remedy=remedy)
        return Proof(self.backend, name, run.get("kernel_ran", ""), "FAULT, see below", fault)
