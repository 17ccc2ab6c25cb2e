"""That no result depends on the padding, as a table: of every family and kernel of a backend the largest differences.

    python tests/benchmarks/padding.py [backend ...] [seconds=900] [examples=4]

What is compared is in `tests/support/unequal_lengths.py`: (a) loss, metrics, weights, running statistics, gradients and outputs
of batches padded to other lengths, with NaN and 1e30 in the padding; (b) outputs against each sequence alone in the float64
reference; both relative to the largest value. One process per backend, on the CPU, of which JAX's programs are compiled
without LLVM's optimisation: it changes none of the operations, and 40 programs take a third of the time. Whatever is not in
`records/padding.csv` yet is measured, for at most so many seconds, then the table is printed: the same command goes on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import record

RECORD = Path(__file__).parent / "records" / "padding.csv"
COLUMNS = ["backend", "kernel", "family", "answers_per", "padding", "alone"]
SUPPORT = Path(__file__).parents[1] / "support"


def measured(backend: str, examples: int) -> None:
    """In a process of its own: the arms that are not recorded, each a line of the record."""
    sys.path.insert(0, str(SUPPORT))
    import unequal_lengths as check

    known = {(row["backend"], row["family"], row["kernel"], row["answers_per"]) for row in record.rows(RECORD)}
    for family, kernel, per_timestep in check.arms(backend, list(check.FAMILIES)):
        answers_per = "timestep" if per_timestep else "sequence"
        if (backend, family, kernel, answers_per) in known:
            continue
        padding, alone = check.check(backend, family, kernel, per_timestep, examples).split()
        arm = [backend, kernel, family, answers_per, padding, alone]
        record.append(RECORD, COLUMNS, dict(zip(COLUMNS, arm, strict=True)))


def table() -> str:
    """Markdown, a line per family and kernel: of both kinds of answers the larger difference."""
    worst: dict[tuple[str, ...], list[float]] = {}
    for row in record.rows(RECORD):
        found = worst.setdefault((row["backend"], row["kernel"], row["family"]), [0.0, 0.0])
        found[:] = max(found[0], float(row["padding"])), max(found[1], float(row["alone"]))
    lines = ["| backend | kernel | family | padding | alone |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(arm)} | {a:.1e} | {b:.1e} |" for arm, (a, b) in sorted(worst.items())]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    options = dict(argument.split("=") for argument in arguments if "=" in argument)
    backends = [argument for argument in arguments if "=" not in argument] or ["torch", "jax", "tensorflow"]
    for backend in backends:
        environment = {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        environment |= {"XLA_FLAGS": "--xla_backend_optimization_level=0"} if backend == "jax" else {}
        command = [sys.executable, __file__, "measure", backend, options.get("examples", "4")]
        try:
            subprocess.run(
                command, env={**os.environ, **environment}, check=True, timeout=float(options.get("seconds", "900"))
            )
        except subprocess.TimeoutExpired:
            print(f"{backend}: out of time, the same command goes on", file=sys.stderr)
    print(table())


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measured(sys.argv[2], int(sys.argv[3]))
    else:
        main(sys.argv[1:])
