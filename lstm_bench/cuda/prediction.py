"""Predictions, from the driver's side: one process per backend that believes in a GPU, and what it says."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lstm_bench.core import configuration, errors, formatting, hardware, safe_load, schema
from lstm_bench.cuda import table
from lstm_bench.cuda.options import CELLS, FAMILY, OPERATIONS
from lstm_bench.launcher.single_task import Process
from lstm_bench.model import signature
from lstm_bench.study import search_space

BENCH = "lstm_bench.cuda.bench:bench"
FOLDER = "kernels-predicted"
_LIMIT_S = 600.0
_WIDTH = 110  # characters of evidence on a line of the terminal
Row = dict[str, Any]


def families() -> dict[str, dict[str, Any]]:
    """Name -> group `model` of each of our families that has recurrent layers, as `conf/model/` has it."""
    found = {path.stem: safe_load.from_yaml(path.read_text()) for path in configuration.conf_dir().glob("model/*.yaml")}
    recurrent = {name: model for name, model in found.items() if _is_recurrent(model)}
    return dict(sorted(recurrent.items()))


def _is_recurrent(model: Mapping[str, Any]) -> bool:
    return bool(signature.recurrent_layers(signature.find(str(model["_target_"]))))


def cells(backend: str, say: Callable[[str], None]) -> list[Row]:
    """Rows of `predicted.csv` of one backend: every cell of `options.CELLS`, and our families.

    A cell that the process did not come to cannot be said, with the reason.

    Args:
      backend: Of Keras, installed.
      say: Told what stands in the way of the backend's cells.
    """
    asked = [(layer, option) for layer, options in CELLS.items() for option in options]
    found: list[Row] = []
    ours = families()
    task = {"kind": "predict_cells", "backend": backend, "cells": asked, "families": ours}

    def heard(body: Mapping[str, Any]) -> None:
        found.extend(body["rows"])

    result = _run(backend, task, heard)
    said = "" if result["state"] == "COMPLETE" else str(result.get("detail") or result.get("reason"))
    if said:
        say(said)
    known = {(row["layer"], row["option"]) for row in found}
    for cell in (*asked, *((FAMILY, name) for name in ours)):
        if tuple(cell) not in known:
            about = {"backend": backend, "layer": cell[0], "option": cell[1], "predicted": "cannot say", "reason": said}
            found += [about | {"operation": operation} for operation in OPERATIONS]
    keras, version = table.version(backend)
    return [row | {"keras": keras, "version": version} for row in found]


def of_study(config: schema.Sweep, space: Mapping[str, Any], say: Callable[[str], None] = print) -> None:
    """Prints which kernel an NVIDIA GPU would run for each recurrent layer of a study's network; writes nothing.

    Args:
      config: Resolved configuration, its data found.
      space: Parsed.
      say: Prints.

    Raises:
      LstmBenchError: where the network cannot be built, or the installed versions are not known.
    """
    backend = config["backend"]["name"]
    searched: list[dict[str, Any]] = []
    for values in search_space.choices_to_check(space):
        model = {path: value for path, value in values.items() if path.startswith("model.")}
        if model and model not in searched:
            searched.append(model)
    corners = [configuration.replaced(config, values) for values in searched]
    task = {"kind": "predict_study", "config": config, "searched": searched, "corners": corners}
    result = _run(backend, task, lambda body: None)
    if result["state"] == "FAULT":
        kind: type[errors.LstmBenchError] = getattr(errors, result["error"], errors.ConfigError)
        raise kind(result["detail"])
    if result["state"] != "COMPLETE":
        target = config["model"]["_target_"]
        raise errors.ConfigError(f"model._target_={target}: cannot be built ({result.get('detail')})")
    layers = result["layers"]
    say(f"{config['study']['name']}: on an NVIDIA GPU, {backend}, by {result['by']}")
    if not layers:
        say("  the network has no recurrent layer of Keras")
        return
    shown: dict[tuple[Any, ...], Row] = {}
    for one in layers:  # what the ends of the space have in common with the configuration's own values is said once
        shown.setdefault((one["operation"], one["index"], one["kernel"], one["reason"]), one)
    rows = [
        [one["operation"], f"{one['layer']} ({one['kind']})", one["kernel"], _why(one), _at(one)]
        for one in shown.values()
    ]
    say(formatting.plain(["operation", "layer", "kernel", "evidence", "at"], rows, set()))
    own = [one for one in layers if one["operation"] == "training" and not one["at"]]
    n = sum(one["kernel"] == "cudnn" for one in own)
    say(f"training: cuDNN for {n} of {formatting.counted(len(own), 'layer')}; nothing was trained")


def _why(row: Row) -> str:
    return textwrap.shorten(row["reason"] or row["evidence"], _WIDTH, placeholder=" ...")


def _at(row: Row) -> str:
    return ", ".join(f"{path}={value}" for path, value in row["at"].items())


def _run(backend: str, task: Mapping[str, Any], report: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="lstm_bench-") as folder:
        # A slot without a GPU: where there is one, its program is what is asked for, not its memory.
        process = Process(hardware.slots(1, [])[0], backend, Path(folder), keras=True, bench=BENCH)
        try:
            if not process.wait():
                log = "".join(path.read_text(errors="replace") for path in sorted(Path(folder).glob("*")))
                last = next((line for line in reversed(log.splitlines()) if line.strip()), "no word")
                return {"state": "FAIL", "detail": f"{backend} does not start: {last}"}
            return process.run(task, report, _LIMIT_S)
        finally:
            process.end()
