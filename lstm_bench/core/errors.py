"""The faults a user can meet, each with its exit code, each printed as one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

DONE = 0
BUG = 1
INTERRUPTED = 130


class LstmBenchError(Exception):
    """An expected fault. Printed as one line: what, expected, received, how to mend it.

    Args:
      what: The thing at fault: a config path, a file, a kernel.
      expected: What would have been right.
      received: What was there instead.
      remedy: What to do about it.
    """

    exit_code = BUG

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        received: object = None,
        remedy: str | None = None,
    ):
        self.what = what
        parts = [what]
        if expected is not None:
            parts.append(f"expected {expected}")
        if received is not None:
            parts.append(f"received {received!r}" if isinstance(received, str) else f"received {received}")
        line = parts[0] + (": " + ", ".join(parts[1:]) if parts[1:] else "")
        if remedy:
            line += f". {remedy[0].upper()}{remedy[1:]}"
        super().__init__(" ".join(line.split()))


class ConfigError(LstmBenchError):
    """A configuration or command that cannot be meant: nothing was created."""

    exit_code = 2


class KernelError(ConfigError):
    """A named kernel that cannot run here. Kernels never fall back."""


class DataError(LstmBenchError):
    """Data that is missing, corrupt, foreign or unfit."""

    exit_code = 3


class StorageError(LstmBenchError):
    """A database, lock or folder that is busy, corrupt, full or unwritable."""

    exit_code = 4


class TooManyFailedError(LstmBenchError):
    """More trials failed than `study.max_failed` allows."""

    exit_code = 5


class NothingCameOutError(LstmBenchError):
    """No trial is complete, or no seed of the confirmation: there is no result."""

    exit_code = 5


class DeviceError(LstmBenchError):
    """The device was lost in the middle: what was finished is kept, the rest could not be done."""

    exit_code = 5


class CheckFailedError(LstmBenchError):
    """A check found something: stale reports, for instance."""

    exit_code = 6


class InterruptedByUser(LstmBenchError):  # an end, not a fault
    """Ctrl-C or SIGTERM: what was finished is kept, the rest is queued again."""

    exit_code = INTERRUPTED


def nearest(name: object, valid: Iterable[str], n: int = 3) -> str:
    """Words for a remedy: the valid names nearest to `name`, or all of a few."""
    names = sorted(map(str, valid))
    close = difflib.get_close_matches(str(name), names, n=n, cutoff=0.5)  # YAML has keys that are no text
    if close:
        return "did you mean " + " or ".join(close) + "?"
    shown = names if len(names) <= 12 else [*names[:12], "..."]
    return "valid: " + ", ".join(shown) if shown else "there is none to choose from"


def require_quoted(key: str, url: str) -> None:
    """Refuses a URL in which `redact` or a database could not see where a password ends, without showing it.

    Raises:
      ConfigError: when it holds a blank or a quotation mark; when it is a database's and cannot be taken apart.
    """
    if re.search(r"[\s\"']", url):
        raise ConfigError(key, expected="a URL with %20, %22 and %27 in place of blanks, \" and '")
    if not url.startswith(("postgresql", "mysql")):
        return
    import sqlalchemy

    try:
        sqlalchemy.make_url(url)
        clear = url.partition("?")[0].count("@") < 2  # after the first, a password would be taken for a host, and shown
    except (ValueError, sqlalchemy.exc.ArgumentError):
        clear = False
    if not clear:
        raise ConfigError(f"{key}: cannot be read", remedy="Percent-encode the password: @ is %40, : is %3A.")


def redact(text: str) -> str:
    """`text` with the passwords of the URLs in it replaced by `***`: in the user part and in the query."""
    text = re.sub(r"([A-Za-z][\w+.-]*://[^\s/:@\"']*):[^\s\"']*@", r"\1:***@", text)
    return re.sub(r"(?i)([?&;](?:ssl)?(?:password|passwd|pwd|token|secret)=)[^&\s\"']*", r"\1***", text)
