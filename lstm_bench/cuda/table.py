"""What was predicted for the versions of this release, `conf/kernels-predicted.csv`, in words. Needs no framework."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from lstm_bench.core import configuration, fileio
from lstm_bench.cuda.options import CELLS, FAMILY

FILE = "kernels-predicted.csv"
_OWN = "lstm_bench.model."
_DECIDES = ("recurrent_dropout",)  # arguments of our families that choose the kernel


@functools.cache
def rows() -> list[dict[str, str]]:
    """Rows of the table, with columns `columns.PREDICTED_COLUMNS`; none where it is missing."""
    path = configuration.conf_dir() / FILE
    return fileio.read_rows(path) if path.is_file() else []


def version(backend: str) -> tuple[str, str]:
    """Installed versions of Keras and of a backend; "" for what is not there."""
    found = []
    for package in ("keras", backend):
        try:
            found.append(importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            found.append("")
    return found[0], found[1].split("+")[0]  # a build's own suffix, as torch's +cpu, changes no rule


def _of(backend: str, layer: str, option: str, operation: str = "training") -> dict[str, str] | None:
    """The row of a cell for the versions that are installed."""
    for row in rows():
        if (row["backend"], row["layer"], row["option"], row["operation"]) == (backend, layer, option, operation):
            return row if (row["keras"], row["version"]) == version(backend) else None
    return None


def of_study(study: Mapping[str, Any]) -> str:
    """What an NVIDIA GPU would run for a study's network, in words; "" where the table has no answer.

    Args:
      study: Resolved configuration.
    """
    model, space = study["model"], study["study"]["space"]
    target = str(model.get("_target_", ""))
    named = study["kernel"]["name"] in ("auto", "cudnn")
    row = _of(study["backend"]["name"], FAMILY, target.removeprefix(_OWN)) if target.startswith(_OWN) else None
    if row is None or not named or row["predicted"] == "cannot say":
        return ""
    if any(name in model and (f"model.{name}" in space or not model[name]) for name in _DECIDES):
        return ""
    n = int(row["layers"])
    several = "model.layers" in space
    if row["predicted"] == "cudnn":
        n = model["layers"] if isinstance(model.get("layers"), int) and n > 1 else n
        what = "cuDNN for every layer" if several else f"cuDNN for {n} of {n} layer{'s' * (n > 1)}"
    else:
        what = f"no cuDNN ({row['predicted']})"
    equal = ", for sequences of one length" if study["dataset"]["name"] in ("file", "npz") else ""
    return f"on an NVIDIA GPU: {what}{equal}, by table"


def of_backend(backend: str) -> str:
    """What an NVIDIA GPU would run for each kind of layer, in words."""
    said = []
    for layer in CELLS:
        plain, mask = (_of(backend, layer, option) for option in ("plain", "mask"))
        if plain is not None:
            changed = f" (with a mask {mask['predicted']})" if mask and mask["predicted"] != plain["predicted"] else ""
            said.append(f"{layer} {plain['predicted']}{changed}")
    if said:
        return "on an NVIDIA GPU, by table: " + ", ".join(said)
    made = next((row for row in rows() if row["backend"] == backend), None)
    known = f": it was made with Keras {made['keras']} and {backend} {made['version']}" if made else ""
    return f"on an NVIDIA GPU: the table does not know these versions{known}"
