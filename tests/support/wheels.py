"""Real data of others, from pinned wheels that are fetched as files and never installed."""

from __future__ import annotations

import functools
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Name and version -> SHA-256 of the wheel.
WHEELS = {
    "aeon==1.6.0": "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
    "seglearn==1.2.5": "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
    "sktime==1.2.0": "dbffc6731d2d683b668dceb5e2bbc5804bebc8446b4c580803a281684d90e4ae",
}


@functools.cache
def wheel(pinned: str) -> Path:
    """The wheel, from the package index that pip is set up with; kept for later runs in the temporary folder.

    A missing index fails the test, it does not skip it.
    """
    folder = Path(tempfile.gettempdir()) / f"lstm_bench-wheels-{WHEELS[pinned][:12]}"
    found = next(folder.glob("*.whl"), None)
    if found is None or _sha256(found) != WHEELS[pinned]:
        folder.mkdir(exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary",
            ":all:",
            "-d",
            str(folder),
            pinned,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{pinned} could not be fetched: {done.stderr[-500:]}"
        found = next(folder.glob("*.whl"))
    assert _sha256(found) == WHEELS[pinned], f"{found}: not the pinned wheel"
    return found


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def watch() -> pd.DataFrame:
    """seglearn's watch data, 140 recordings of shoulder exercises by 10 subjects at 50 Hz, as a table: a row per timestep.

    Burns et al. 2018, "Shoulder physiotherapy exercise recognition", Physiological Measurement 39(7). They lie in a pickle, which
    the package never reads: it is opened here, of a wheel whose digest is pinned.
    """
    with zipfile.ZipFile(wheel("seglearn==1.2.5")) as archive:
        body = archive.read("seglearn/data/watch_dataset.npy")
    held = np.load(io.BytesIO(body), allow_pickle=True).item()
    lengths = [len(x) for x in held["X"]]

    def column(values: Sequence[Any]) -> np.ndarray:
        return np.repeat(np.asarray(values), lengths)

    table = pd.DataFrame(np.concatenate(held["X"]).astype(np.float32), columns=held["X_labels"])
    table.insert(0, "recording", column(np.arange(len(lengths))))
    table.insert(1, "t", np.concatenate([np.arange(n) / 50 for n in lengths]))
    table["side"] = column(["right" if side else "left" for side in held["side"]])
    table["subject"] = column(held["subject"])
    table["exercise"] = column([held["y_labels"][label] for label in held["y"]])
    return table
