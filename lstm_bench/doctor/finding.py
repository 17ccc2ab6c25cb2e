"""A finding of the doctor: what was looked at, what was seen, and the fault in it if there is one."""

from __future__ import annotations

from dataclasses import dataclass

from lstm_bench.core.errors import LstmBenchError


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Attributes:
      what: The thing looked at: a package, a folder, a file.
      said: What was seen, in a few words.
      fault: What is wrong with it, with the remedy; None when nothing is. What is merely not there is no fault.
    """

    what: str
    said: str
    fault: LstmBenchError | None = None


def at_fault(what: str, error: LstmBenchError) -> Finding:
    """A finding that is nothing but its fault."""
    return Finding(what, "FAULT, see below", error)
