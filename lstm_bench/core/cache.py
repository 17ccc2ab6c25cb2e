"""The user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

from lstm_bench.core import home


def cache_folder() -> Path:
    """The user's cache folder of this package; without a home, one in the working folder."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else (home.folder() or Path.cwd()) / ".cache") / "lstm_bench"
