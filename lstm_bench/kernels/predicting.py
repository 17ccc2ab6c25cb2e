"""`python -m lstm_bench.kernels predict=cuda`: which kernel an NVIDIA GPU would run, cell by cell, where there is none."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lstm_bench.core import cli, environment, fileio, formatting, hardware, locks, schema, vocabulary
from lstm_bench.core.errors import ConfigError, LstmBenchError
from lstm_bench.cuda import prediction
from lstm_bench.study import columns


def run(config: schema.Kernels, backends: Sequence[str]) -> None:
    """Predicts all cells of the backends, writes `sweeps/kernels-predicted/` and prints a table.

    Rows of other backends stay, as they were made.

    Raises:
      ConfigError: for options that have no meaning here.
    """
    asked: Mapping[str, Any] = config["arms"]
    for axis, usual in (("kernel", "all"), ("dtype", None), ("operation", "all")):
        if asked[axis] != usual:
            raise ConfigError(f"{axis} with predict=cuda", expected="no such option", remedy="Every cell is predicted.")
    folder, since = columns.study_dir(prediction.FOLDER), time.monotonic()
    with locks.hold(folder, "name"):
        rows: list[dict[str, Any]] = []
        for backend in backends:
            print(f"predicting {backend} ...", flush=True)
            rows += prediction.cells(backend, lambda text: print(f"warning: {text}", file=sys.stderr))
        fresh = {row["backend"] for row in rows}
        path = folder / "predicted.csv"
        rows += [row for row in fileio.read_rows(path) if row["backend"] not in fresh] if path.exists() else []
        rows.sort(key=lambda row: list(vocabulary.OF_BACKEND).index(row["backend"]))
        seen = environment.collect(hardware.slots(1, []), [], None)
        seen["study_id"] = f"{prediction.FOLDER}-{secrets.token_hex(4)}"
        fileio.write_rows(path, columns.PREDICTED_COLUMNS, rows)
        fileio.write_json(folder / "environment.json", seen)
        _track(config, seen, rows)
    print(_table(rows))
    print(f"{len(rows) // 2} cells, {time.monotonic() - since:.0f} s; nothing ran on a GPU, and no speed is said")
    print("records  sweeps/kernels-predicted/\nnext     python -m lstm_bench.report")


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Layer and option down, backends across: training, and inference where it differs."""
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    found = {(row["layer"], row["option"], row["backend"], row["operation"]): str(row["predicted"]) for row in rows}
    lines = []
    for layer, option in dict.fromkeys((row["layer"], row["option"]) for row in rows):
        line = [layer, option]
        for backend in backends:
            training, inference = (found.get((layer, option, backend, op), "") for op in ("training", "inference"))
            line.append(training if training == inference else f"{training} (inference: {inference})")
        lines.append(line)
    return formatting.plain(["layer", "option", *backends], lines, set())


def _track(config: schema.Kernels, seen: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """MLflow's picture: one run, a parameter for each cell. Its failure is a warning."""
    from lstm_bench.tracking.client import open_tracking

    tracking = open_tracking(config["tracking"], experiment=prediction.FOLDER)
    try:
        tracking.check_store(lambda held: print(f"{held}: waiting", file=sys.stderr, flush=True))
        tracking.start(
            {
                "name": prediction.FOLDER,
                "description": "which kernel an NVIDIA GPU would run; nothing ran on one",
                "params": {
                    "{backend}/{layer}/{option}/{operation}".format(**row).replace("=", "_"): row["predicted"]
                    for row in rows
                },
                "tags": {},
                "environment": seen,
                "source": "lstm_bench.kernels",
                "backends": list(dict.fromkeys(row["backend"] for row in rows)),
            }
        )
        tracking.finish("FINISHED")
    except LstmBenchError as error:
        cli.say(error)
        return
    if tracking.warning:
        print(f"warning: {tracking.warning}", file=sys.stderr)
