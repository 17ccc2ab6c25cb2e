"""Rows of a record file, given as text, as its table: sorted, whole rows alone, none twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lstm_bench.data.task import Task
from lstm_bench.study.columns import BENCHMARK_FILES, FILES, OPTIONAL_COLUMNS, TEXT, further

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Columns of what a configuration costs, which records of before 0.2.0 have not.
COSTS = tuple(column for column in OPTIONAL_COLUMNS if column not in ("penalty", "learning_rate"))
_SHAPE = ["layer", "units", "layers", "timesteps", "features", "batch", "dtype"]
KEYS = {
    "trials.csv": ["number"],
    "replicates.csv": ["trial", "seed"],
    "history.csv": ["kind", "trial", "number", "epoch"],
    "kernels.csv": ["backend", "kernel"],
    "predictions.csv": ["sample"],
    "worst.csv": ["probability", "sample"],
    "controls.csv": ["control", "seed"],
    "cells.csv": [*_SHAPE, "cell", "operation", "backend", "kernel"],
    "ceilings.csv": ["dtype", "backend", "device"],
}


def frame(file: str, rows: Sequence[dict[str, str]], task: Task, notes: list[str]) -> pd.DataFrame:
    """The table of a record file.

    Args:
      file: One of `KEYS`. Columns of `cells.csv` that are not ours are kept, as text.
      rows: As `fileio.read_rows` gives them.
      task: Of the study.
      notes: Are told what is left out.
    """
    import numpy as np
    import pandas as pd  # half a second: not for those who count rows

    columns = [*(FILES | BENCHMARK_FILES)[file], *further(task, file)]
    whole = [row for row in rows if None not in row and None not in row.values()]
    given = set[str]().union(*whole)
    known = (c for c in OPTIONAL_COLUMNS if c in given and (c not in COSTS or file != "history.csv"))
    columns += [column for column in known if any(row.get(column) for row in whole)]
    if len(whole) < len(rows):
        notes.append(f"{file}: {len(rows) - len(whole)} of {len(rows)} lines are torn and left out.")
    prefix = {"trials.csv": "config_", "cells.csv": ""}.get(file)
    extra = sorted({key for row in whole for key in row if prefix is not None and key.startswith(prefix)} - {*columns})
    cells: dict[str, pd.Series | np.ndarray] = {}
    for column in [*columns, *extra]:
        cell = np.array([row.get(column, "") for row in whole], dtype=object)
        if column in TEXT or column in extra:
            cells[column] = pd.Series(cell, dtype=object)
        else:
            cells[column] = pd.to_numeric(cell, errors="coerce").astype(float)
    table = pd.DataFrame(cells)
    by = keys = KEYS[file]
    if table.duplicated(keys).any():  # rare: to compare and sort by all columns takes most of the time of a report
        table = table.drop_duplicates()
        by = [*keys, *(column for column in table.columns if column not in keys)]
    table = table.sort_values(by, ignore_index=True)
    if file in ("trials.csv", "replicates.csv"):
        again = (table["state"] == "COMPLETE") & table[table["state"] == "COMPLETE"].duplicated(keys).reindex(
            table.index, fill_value=False
        )
        if again.any():
            notes.append(f"{file}: {int(again.sum())} rows repeat a {keys[-1]} and are left out.")
            table = table[~again].reset_index(drop=True)
    return table
