"""`python -m lstm_bench.kernels forecast=cuda`: what JAX's training steps would launch on NVIDIA GPUs, counted without one."""

from __future__ import annotations

import importlib.metadata
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lstm_bench.core import cli, environment, fileio, formatting, hardware, locks, schema
from lstm_bench.core.errors import ConfigError
from lstm_bench.cuda import compiler
from lstm_bench.cuda.targets import TARGETS, Target
from lstm_bench.kernels import case, grid, launch_bench, roofline
from lstm_bench.launcher.single_task import Process
from lstm_bench.model import kernel
from lstm_bench.study import columns

FOLDER = "kernels-forecast"
LOOPS = ("generic", "unrolled")  # JAX's kernels that XLA compiles whole
_LIMIT_S = 900.0  # of one compilation: unrolled steps take minutes
Row = dict[str, Any]


def run(config: schema.Kernels) -> None:
    """Counts the cells of a grid, writes `sweeps/kernels-forecast/` after each, and prints a table.

    What was counted before with the same versions stays; the same command counts what is missing.

    Raises:
      ConfigError: for options that have no meaning here, or without the compiler.
    """
    asked = config["arms"]
    for axis in ("kernel", "operation", "dtype"):
        if asked[axis] not in ("all", None):
            raise ConfigError(f"{axis} with forecast=cuda", expected="no such option", remedy="Every loop is compiled.")
    if asked["backend"] not in ("all", "jax", ["jax"]):
        raise ConfigError("backend with forecast=cuda", expected="jax", received=asked["backend"])
    cli.require_backend("jax")
    versions = {"keras": importlib.metadata.version("keras"), "jaxlib": importlib.metadata.version("jaxlib")}
    versions["compiler"] = compiler.require()
    plan = [cell for cell in grid.cells_of(config["grid"], ["float32"]) if not cell.get("lengths")]
    folder = columns.study_dir(FOLDER)
    with locks.hold(folder, "name"):
        path = folder / "forecast.csv"
        before = fileio.read_rows(path) if path.exists() else []
        kept = [row for row in before if all(row[name] == version for name, version in versions.items())]
        rows: dict[tuple[str, str, str], Row] = {_key(row): dict(row) for row in kept if row["state"] == "counted"}
        seen = environment.collect(hardware.slots(1, []), [], None)
        seen["study_id"] = f"{FOLDER}-{secrets.token_hex(4)}"
        fileio.write_json(folder / "environment.json", seen)
        for row in _counted(plan, rows):
            rows[_key(row)] = row | versions
            order = {one: at for at, one in enumerate(TARGETS)}
            found = sorted(rows.values(), key=lambda one: order[one["gpu"]])
            fileio.write_rows(path, columns.LAUNCH_COLUMNS, found)
    print(_table(list(rows.values())))
    print("a forecast: compiled for GPUs that are not here, and never run; no speed is said")
    print(f"records  sweeps/{FOLDER}/\nnext     python -m lstm_bench.report")


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(row["cell"]), str(row["kernel"]), str(row["gpu"])


def _counted(plan: list[dict[str, Any]], known: Mapping[tuple[str, str, str], Row]) -> Iterator[Row]:
    """The rows that are not known yet, as they come."""
    for name in ("cudnn", *LOOPS):  # unrolled steps, which compile for minutes, come last
        for cell in plan:
            missing = [gpu for gpu in TARGETS if (case.name(cell), name, gpu) not in known]
            if name == "cudnn":
                reason = "NVIDIA's library decides on the card what it launches"
                if case.maker(cell) in kernel.CUDNN_LAYERS["jax"]:
                    yield from (_row(cell, name, gpu, {"state": "not_known", "reason": reason}) for gpu in missing)
            elif missing:
                print(f"compiling {case.name(cell)} {name} for {', '.join(missing)} ...", flush=True)
                yield from _compiled(cell, name, missing)


def _compiled(cell: Mapping[str, Any], name: str, gpus: list[str]) -> Iterator[Row]:
    found: list[Row] = []
    task = {"kind": "forecast", "cell": dict(cell), "kernel": name, "gpus": gpus}
    with tempfile.TemporaryDirectory(prefix="lstm_bench-") as folder:
        process = Process(hardware.slots(1, [])[0], "jax", Path(folder), keras=True, bench=launch_bench.BENCH)
        try:
            result: Mapping[str, Any] = {"detail": "JAX does not start with its compiler for GPUs"}
            if process.wait():
                result = process.run(task, lambda said: found.extend([said["row"]] if "row" in said else []), _LIMIT_S)
        finally:
            process.end()
    for row in found:
        yield _row(cell, name, row["gpu"], {"state": "counted", **row})
    for gpu in gpus[len(found) :]:
        reason = str(result.get("detail") or result.get("reason"))
        yield _row(cell, name, gpu, {"state": "not_known", "reason": reason})


def _row(cell: Mapping[str, Any], name: str, gpu: str, found: Mapping[str, Any]) -> Row:
    bound, by = bound_us(cell, TARGETS[gpu])
    return {"cell": case.name(cell), **cell, "kernel": name, "gpu": gpu, "bound_us": bound, "bound_by": by, **found}


def bound_us(cell: Mapping[str, Any], target: Target) -> tuple[float, str]:
    """Microseconds that no training step of a cell goes below, and by what: the roofline, launches left out.

    The products, at the peak of TF32, which JAX takes for float32 on these cards; or the least bytes at the memory's bandwidth,
    where they do not fit into the cache, in which they could stay from step to step.
    """
    operation = launch_bench.OPERATION
    products = cell["batch"] * roofline.flop_per_sample(cell, operation) / target.tf32
    least = roofline.bytes_per_step(cell, operation)
    memory = least / target.bandwidth if least > target.cache else 0.0
    return round(1e6 * max(products, memory), 3), "products" if products >= memory else "memory"


def _table(rows: list[Row]) -> str:
    """Cell and kernel down, GPUs across: launches per training step."""
    found = {_key(row): row.get("launches") or "not known" for row in rows}
    lines = [
        [cell, name, *(str(found.get((cell, name, gpu), "")) for gpu in TARGETS)]
        for cell, name in dict.fromkeys((row["cell"], row["kernel"]) for row in rows)
    ]
    return formatting.plain(["launches per step", "kernel", *TARGETS], lines, set(TARGETS))
