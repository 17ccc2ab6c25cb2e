"""The user's home folder, which a process may not have: no HOME, and no entry in the list of users."""

from __future__ import annotations

from pathlib import Path

from lstm_bench.errors import ConfigError


def folder() -> Path | None:
    """The home folder, None where there is none."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def expanded(path: str | Path) -> Path:
    """A path with its `~` written out.

    Raises:
      ConfigError: when it begins with one and there is no such folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{path}: there is no home folder", remedy="Write the path from the root, or set HOME."
        ) from error
