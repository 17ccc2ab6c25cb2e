"""How often a compiled XLA program asks a GPU to do something, counted from its optimised HLO. Needs no framework.

Which of them XLA then records as one CUDA graph, and launches at once, the optimised HLO does not show: that is decided later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# Operations that give a name or a place to what is there already, or end what another has begun.
_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "opt-barrier", "add-dependency"),
    *("partition-id", "replica-id", "copy-done", "async-done", "async-update", "domain", "get-dimension-size"),
}
_COPIES = {"copy", "copy-start"}
_CALLED = re.compile(r"(?:to_apply|calls|called_computations)=\{?%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclass
class Launches:
    """Of one call of a program, each loop's turns counted.

    Attributes:
      fusions: Kernels that XLA makes itself.
      library: Calls of a library, each one kernel or several.
      copies: From one place on the device to another.
      other: Operations that stand alone.
      loops: Turns of each outermost loop, and what each turn launches.
      unknown: Why the counts are too low; "" where they are not.
    """

    fusions: int = 0
    library: int = 0
    copies: int = 0
    other: int = 0
    loops: list[tuple[int, int]] = field(default_factory=list)
    unknown: str = ""

    @property
    def total(self) -> int:
        """Fusions, library calls, copies and the rest."""
        return self.fusions + self.library + self.copies + self.other

    def add(self, other: Launches, times: int = 1) -> None:
        """Adds what a called part launches, so many times."""
        for name in ("fusions", "library", "copies", "other"):
            setattr(self, name, getattr(self, name) + times * getattr(other, name))
        self.unknown = self.unknown or other.unknown


@dataclass(frozen=True)
class _Operation:
    code: str
    line: str


def counted(hlo: str) -> Launches:
    """What the entry computation of an optimised, scheduled module launches.

    Args:
      hlo: The module's text.

    Raises:
      ValueError: for a text without an entry computation.
    """
    computations: dict[str, list[_Operation]] = {}
    entry, current = "", None
    for line in hlo.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$", line):
            current = computations.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (found := _operation(line)):
            current.append(found)
    if not entry:
        raise ValueError("no entry computation in the module's text")
    known: dict[str, Launches] = {}
    return _of(entry, computations, known)


def _operation(line: str) -> _Operation | None:
    """The operation of a line: what follows the type, which may be a tuple with parentheses of its own."""
    match = re.match(r"\s+(?:ROOT )?%?[\w.\-]+ = ", line)
    if not match:
        return None
    rest = line[match.end() :]
    end = _closing(rest) + 1 if rest.startswith("(") else rest.index(" ")
    code = re.match(r"\s*([\w\-]+)\(", rest[end:])
    return _Operation(code[1], line) if code else None


def _closing(text: str) -> int:
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return at
    return len(text) - 1


def _of(name: str, computations: dict[str, list[_Operation]], known: dict[str, Launches]) -> Launches:
    if name not in known:
        found = known[name] = Launches()
        for operation in computations.get(name, []):
            _count(operation, found, computations, known)
    return known[name]


def _count(
    operation: _Operation, found: Launches, computations: dict[str, list[_Operation]], known: dict[str, Launches]
) -> None:
    code, line = operation.code, operation.line

    def inside(pattern: str) -> Iterator[Launches]:
        for called in re.findall(pattern, line):
            yield _of(called, computations, known)

    if code in _FREE or (code.endswith("-done") and code != "fusion-done"):
        return
    if code == "while":
        [body] = inside(r"body=%?([\w.\-]+)")
        trips = _TRIPS.search(line)
        if trips is None:
            found.unknown = found.unknown or "a loop whose number of turns is not known"
        n = int(trips[1]) if trips else 1
        found.add(body, n)
        found.loops.append((n, body.total))
    elif code == "fusion":
        found.fusions += 1
    elif code == "custom-call":
        found.library += 1
    elif code == "call" or code.startswith("async-start"):
        called = _CALLED.search(line)
        found.add(_of(called[1], computations, known) if called else Launches())
    elif code == "conditional":
        branches = [*inside(r"(?:true_computation|false_computation)=%?([\w.\-]+)")]
        listed = re.search(r"branch_computations=\{([^}]*)\}", line)
        branches += [
            _of(one.strip().lstrip("%"), computations, known) for one in (listed[1].split(",") if listed else ())
        ]
        found.add(max(branches, key=lambda one: one.total, default=Launches()))
        found.unknown = found.unknown or "a branch, of which the longer side is counted"
    elif code in _COPIES:
        found.copies += 1
    else:
        found.other += 1
