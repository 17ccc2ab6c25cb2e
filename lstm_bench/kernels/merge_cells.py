"""The part of a merge that only a benchmark has: arms of both, cells computed anew from the runs of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lstm_bench.core.errors import DataError
from lstm_bench.core.formatting import format_field
from lstm_bench.kernels import summary
from lstm_bench.study.columns import CELL_COLUMNS
from lstm_bench.study.validate import IDENTITY, TABLES, Bundle, Row, Table

MAX_SAMPLES, MAX_ROUNDS = 1000, 100  # of one arm, as many as its statistics take in an archive


def arms(further: Mapping[str, Any], less: Mapping[str, Any]) -> dict[str, Any]:
    """A benchmark's configuration with the arms of both, as `kernels` writes it when arms are added."""
    arms = {}
    for axis, names in (further.get("arms") or {}).items():
        others = (less.get("arms") or {}).get(axis)
        both = isinstance(names, list) and isinstance(others, list)
        arms[axis] = [*names, *sorted(set(map(str, others or ())) - set(map(str, names)))] if both else names
    return {**further, "arms": arms}


def cells(tables: dict[str, Table], further: Bundle, less: Bundle) -> None:
    """Computes `cells.csv` anew where the runs are more than those that the further state computed it from."""
    sources = ("runs.csv", "samples.csv", "ceilings.csv")
    if all(file not in tables or tables[file] == further.tables.get(file) for file in sources):
        return
    runs, samples, ceilings = ([*tables[file].rows.values()] if file in tables else [] for file in sources)
    old = [bundle.tables["cells.csv"].rows for bundle in (further, less) if "cells.csv" in bundle.tables]
    shares = [(row["device"], row["device_share"]) for rows in old for row in rows.values() if row.get("device")]
    device, share = shares[0] if shares else ("", "")
    _refuse_unmeasured(further, samples)
    full = [{column: row.get(column, "") for column in TABLES["runs.csv"]} for row in runs]
    try:
        made = summary.rows(full, samples, ceilings, device, share)
        have = {summary.key(row) for row in made}
        for rows in old:
            made += [row for row in rows.values() if row["state"] == "unavailable" and summary.key(row) not in have]
            have |= {summary.key(row) for row in made}
        made.sort(key=summary.order)
    except (KeyError, ValueError, ArithmeticError) as error:
        raise DataError(f"{further.name}: its runs are not those of a benchmark ({type(error).__name__})") from error
    fields = [{column: format_field(row.get(column)) for column in CELL_COLUMNS} for row in made]
    tables["cells.csv"] = Table(CELL_COLUMNS, {summary.key(row): row for row in fields})


def _refuse_unmeasured(bundle: Bundle, samples: Sequence[Row]) -> None:
    """Refuses more samples of a run, or rounds, than any benchmark measures: intervals need memory for their product."""
    runs = Counter(tuple(row.get(name, "") for name in IDENTITY["runs.csv"]) for row in samples)
    rounds = Counter(run[:-1] for run in runs)
    for n, most, what in ((max(runs.values(), default=0), MAX_SAMPLES, "samples of a run"),
                          (max(rounds.values(), default=0), MAX_ROUNDS, "rounds")):  # fmt: skip
        if n > most:
            raise DataError(f"{bundle.name}: too many {what}", expected=f"at most {most}", received=n)
