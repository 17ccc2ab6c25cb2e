"""Records of a kernel benchmark as sorted tables; whatever is missing or torn is said in `notes`."""

from __future__ import annotations

from pathlib import Path

from lstm_bench.report.sources.records import Result, opened
from lstm_bench.study import frames


def load(folder: Path, published: str | None = None) -> Result:
    """Reads one kernel benchmark: tables `cells.csv` and `ceilings.csv`; damage is a note, never an exception."""
    result = opened(folder, published, ("cells.csv", "ceilings.csv"))
    result.notes += [f"{file} is missing." for file in result.tables if not (folder / file).is_file()]
    table = result.tables["cells.csv"]
    cells = table[(table[["cell", "operation", "backend", "kernel", "state"]] != "").all(axis=1)]
    if len(cells) < len(table):
        result.notes.append(f"cells.csv: {len(table) - len(cells)} rows name no cell, arm or state and are left out.")
    keys = frames.KEYS["cells.csv"]
    most = cells.sort_values("rounds", ascending=False, kind="stable").drop_duplicates(keys).sort_index()
    if len(most) < len(cells):
        result.notes.append(f"cells.csv: {len(cells) - len(most)} rows repeat an arm with fewer rounds: left out.")
    result.tables["cells.csv"] = most.reset_index(drop=True)
    if most.empty:
        result.notes.append("cells.csv holds no row: nothing is measured yet.")
    wanted, timed = result.get("method.rounds"), most[most["state"].isin(("measured", "other_kernel"))]
    short = timed[timed["rounds"] < wanted] if isinstance(wanted, int) else timed.iloc[:0]
    if len(short):  # wrong, failed and too slow to compile end an arm after one round
        result.notes.append(
            f"Partially measured: {len(short)} of {len(timed)} rows have fewer than {wanted} rounds, "
            "the benchmark is unfinished or still running."
        )
    return result
