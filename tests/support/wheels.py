"""Real data of others, from pinned wheels that are fetched as files and never installed."""

from __future__ import annotations

import functools
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

# Name and version -> SHA-256 of the wheel.
WHEELS = {
    "aeon==1.6.0": "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
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
