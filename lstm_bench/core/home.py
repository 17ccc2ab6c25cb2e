"""The user's home folder, which a process may not have: no HOME, and no entry in the list of users."""

from __future__ import annotations

import os
from pathlib import Path

from lstm_bench.core.errors import ConfigError

_LENT = "LSTM_BENCH_LENT_HOME"  # what HOME was set to for libraries; workers inherit it


def folder() -> Path | None:
    """The user's home folder, None where there is none."""
    lent = os.environ.get(_LENT)
    if lent and lent == os.environ.get("HOME"):
        return None
    try:
        return Path.home()
    except RuntimeError:
        return None


def lend() -> None:
    """Sets HOME to a folder of the cache where the user has none: MLflow cannot be imported without one."""
    if folder() is None:
        os.environ[_LENT] = os.environ["HOME"] = str(Path.cwd() / ".cache" / "lstm_bench" / "home")


def expanded(path: str | Path) -> Path:
    """A path with its `~` written out.

    Raises:
      ConfigError: when it begins with one and there is no such folder.
    """
    try:
        if str(path).partition("/")[0] == "~" and folder() is None:
            raise RuntimeError
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{path}: there is no home folder", remedy="Write the path from the root, or set HOME."
        ) from error
