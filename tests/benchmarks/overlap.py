"""Two runs of one grid on one machine: in how many rows do the intervals of the speedups overlap?

    python tests/benchmarks/overlap.py sweeps/kernels-quick sweeps/kernels-quick-again

A row is a cell, an arm and an operation that both runs measured and proved. Prints the count, and the rows that do not.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path


def intervals(folder: Path) -> dict[tuple[str, ...], tuple[float, float]]:
    """Row -> ends of its speedup's interval."""
    with (folder / "cells.csv").open(encoding="utf-8") as file:
        return {
            tuple(row[column] for column in ("cell", "backend", "kernel", "operation")): (
                float(row["speedup_low"]),
                float(row["speedup_high"]),
            )
            for row in csv.DictReader(file)
            if row["speedup_low"]
        }


def main(first: str, second: str) -> None:
    """Prints the comparison of two folders."""
    a, b = intervals(Path(first)), intervals(Path(second))
    both = sorted(a.keys() & b.keys())
    apart = [row for row in both if max(a[row][0], b[row][0]) > min(a[row][1], b[row][1])]
    share = 100 * (1 - len(apart) / len(both)) if both else 0
    print(f"{len(both) - len(apart)} of {len(both)} intervals overlap ({share:.0f} %)")
    for row in apart:
        print(f"  {' '.join(row)}: [{a[row][0]:.2f}, {a[row][1]:.2f}] and [{b[row][0]:.2f}, {b[row][1]:.2f}]")


if __name__ == "__main__":
    main(*sys.argv[1:])
