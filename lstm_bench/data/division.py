"""Which sequences of a file train, validate and test: at random, by group, or by time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.core.formatting import counted
from lstm_bench.data.sequences import Sequences
from lstm_bench.data.splits import _count, _stratified

_MOST = 0.9  # of the sequences: they begin one after the other
KINDS = ("auto", "stratified", "group", "time", "given")


def kind_of(asked: str, parts: dict[str, Sequences], where: str) -> str:
    """What a split is drawn by.

    Args:
      asked: One of `KINDS`; `auto`: given where the file divides itself, else by group where it names one, else by time where
        windows of one recording have a time, else at random.
      parts: The sequences as the file has them.
      where: The file, for messages.

    Raises:
      ConfigError: for a split that the file cannot have.
    """
    one = parts.get("all") or parts["train"]
    if asked == "auto":
        if "all" not in parts and one.groups is None:
            return "given"
        if one.groups is not None:
            return "group"
        return "time" if one.windows and one.last is not None else "stratified"
    if asked == "given" and "all" in parts:
        raise ConfigError(f"dataset.split=given: {where} does not divide itself", remedy="Give dataset.test_path=FILE.")
    if asked == "group" and one.groups is None:
        raise ConfigError("dataset.split=group: no group is named", remedy="Give dataset.group=COLUMN.")
    if asked == "time" and one.last is None:
        raise ConfigError("dataset.split=time: no time is named", remedy="Give dataset.time=COLUMN.")
    return asked


def part(
    found: Sequences,
    y: np.ndarray | None,
    size: float,
    kind: str,
    seed: int,
    what: str,
    leave: int,
    *,
    varied: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Places of the part that is drawn and of what is left, each sorted; windows at a border in time are in neither.

    Args:
      found: The sequences.
      y: Their classes, to stratify by; None for none.
      size: Of the part: a count, or a fraction below 1.
      kind: stratified, group or time; given as stratified.
      seed: Of the draw.
      what: The setting, for messages.
      leave: Sequences of each class that are left at least.
      varied: Whether another seed is to bring other groups, even where some fit the classes best.

    Raises:
      DataError: when there are too few.
    """
    n = _count(size, len(found))
    if len(found) <= leave:
        raise DataError(
            f"{what}: {counted(len(found), 'sequence')}",
            expected=f"at least {1 + leave}, one for each split",
            remedy="Cut a long recording by dataset.window=TIMESTEPS, or name what tells sequences apart by dataset.id=COLUMN.",
        )
    if not 1 <= n < len(found):
        raise DataError(what, expected=f"1 to {len(found) - 1} of {len(found)} sequences", received=n)
    if kind == "time":
        return _by_time(found, n, what)
    if kind == "group" and found.groups is not None:
        picked = _by_group(found.groups, y, n, seed, what, varied)
    else:
        if y is not None:
            _require_enough(y, leave, what)
        picked = _stratified(np.zeros(len(found), np.int32) if y is None else y, n, seed, what, leave)
    return picked, np.setdiff1d(np.arange(len(found)), picked)


def _require_enough(y: np.ndarray, leave: int, what: str) -> None:
    """Raises DataError for a class that cannot be in each split."""
    names, counts = np.unique(y, return_counts=True)
    if counts.min() > leave:
        return
    few = [f"{name} {n}" for name, n in zip(names.tolist(), counts.tolist(), strict=True) if n <= leave]
    raise DataError(
        f"{what}: {counted(len(few), 'class', 'classes')} with too few sequences to be in each split",
        expected=f"at least {1 + leave} sequences of a class",
        received=", ".join(few)[:100],
        remedy="Join it with another class, take its rows out, or cut recordings into more sequences by dataset.window.",
    )


def _by_time(found: Sequences, n: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    """The last `n` by the time of their last timestep, and those before; windows that reach across are dropped, with a gap."""
    first, last = found.first, found.last
    assert first is not None and last is not None
    order = np.argsort(last, kind="stable")
    border = float(last[order[len(order) - n - 1]])
    earlier, later = last <= border, last > border
    if found.windows:
        later &= first > border + float((last - first).max())
    if not later.any() or not earlier.any():
        raise DataError(
            what,
            expected="sequences after a border in time, and before it",
            received=f"{int(later.sum())} after, {int(earlier.sum())} before",
            remedy="Windows that reach across are dropped, with a gap of one: cut shorter ones, or take a larger part.",
        )
    return np.flatnonzero(later), np.flatnonzero(earlier)


def _by_group(
    groups: np.ndarray, y: np.ndarray | None, n: int, seed: int, what: str, varied: bool = False
) -> np.ndarray:
    """Places of whole groups, about `n`, their classes as near to those of all as taking groups in a random order allows."""
    names, of = np.unique(groups.astype(str), return_inverse=True)
    if len(names) < 2:
        raise DataError(
            what,
            expected="at least 2 groups to divide, 3 for all splits",
            received=f"{len(names)} ({names[0]})",
            remedy="Name a column with more groups by dataset.group, or say dataset.split=stratified where groups may be alike.",
        )
    if y is None:
        y = np.zeros(len(of), np.int32)
    _, classes = np.unique(y if y.ndim == 1 else y[:, 0], return_inverse=True)
    counts = np.zeros((len(names), classes.max() + 1))
    np.add.at(counts, (of, classes), 1)
    wanted = counts.sum(axis=0) * n / len(of)
    rng = np.random.RandomState(seed)
    free, have = [int(i) for i in rng.permutation(len(names))], np.zeros_like(wanted)
    taken: list[int] = []
    while len(free) > 1:
        seen = max(2, len(free) // 3) if varied else len(free)
        distances = [float(np.abs(have + counts[i] - wanted).sum()) for i in free[:seen]]
        best = int(np.argmin(distances))
        if taken and distances[best] >= float(np.abs(have - wanted).sum()):
            break
        taken.append(free.pop(best))
        have = have + counts[taken[-1]]
    return np.flatnonzero(np.isin(of, taken))


def require_apart(parts: dict[str, Sequences], where: str) -> None:
    """Raises DataError for a group in two splits."""
    names = [split for split, found in parts.items() if found.groups is not None]
    of = {split: {*np.asarray(parts[split].groups).astype(str).tolist()} for split in names}
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            if both := sorted(of[one] & of[other]):
                raise DataError(
                    f"{where}: group {both[0]} is in {one} and in {other}",
                    expected="every group in one split",
                    received=f"{len(both)} in both",
                    remedy="Leave the split to dataset.split=group, or take them out of one.",
                )


def in_time(found: Sequences) -> bool:
    """Whether sequences follow each other in time, one beginning when another has ended, rather than each having its own zero."""
    if found.first is None or found.last is None or len(found) < 3:
        return False
    order = np.argsort(found.first, kind="stable")
    after = found.first[order[1:]] > found.first[order[:-1]]
    return bool(after.mean() > _MOST)


def groups_of(parts: Mapping[str, Sequences]) -> dict[str, int]:
    """Groups in each split; {} of a file that names none."""
    return {
        split: len(np.unique(found.groups.astype(str))) for split, found in parts.items() if found.groups is not None
    }


def said(kind: str, sizes: dict[str, int], groups: dict[str, Any]) -> str:
    """A split in words: `by group: 96 train (6 groups), ...`."""
    how = {"stratified": "at random", "group": "by group", "time": "by time", "given": "as given"}[kind]
    words = [
        f"{n:,} {name}" + (f" ({counted(groups[name], 'group')})" if groups.get(name) else "")
        for name, n in sizes.items()
    ]
    return f"{how}: {', '.join(words)}"
