"""How often the leak meter finds what is planted, and how often it cries without: `python tests/benchmarks/leak.py [sets=200]`.

Sets of short sequences whose class is a bump of noise and shape; five kinds of leaks in one half, none in the other. Groups,
times, sizes, numbers of classes and how hard a set is are drawn; of clean sets some have groups of one class, ways of groups
that say nothing, files sorted by class. An alarm is an interval above 0, or a finding that is an alarm. It goes on where it
stopped: rows are appended to `leak-rates.csv` in the working folder.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import numpy as np

from lstm_bench.core import fileio
from lstm_bench.study import leak_findings, leakage
from lstm_bench.study.pool import Pool

KINDS = ("group", "copies", "target", "id", "windows")
COLUMNS = ("planted", "kind", "set", "interval", "sight", "found", "low", "high", "difference", "seconds")


def base(rng: np.random.RandomState) -> Pool:
    """A clean set."""
    n_classes, n = int(rng.randint(2, 5)), int(rng.randint(80, 201))
    timesteps, features = int(rng.randint(16, 65)), int(rng.randint(1, 4))
    y = rng.randint(0, n_classes, n)
    shapes = np.cumsum(rng.randn(n_classes, timesteps, features), axis=1)
    shapes /= shapes.std()
    noise = rng.randn(n, timesteps, features)
    if rng.rand() < 0.5:
        noise = np.cumsum(noise, axis=1) / math.sqrt(timesteps / 3)
    n_groups = int(rng.randint(5, 25))
    groups = rng.randint(0, n_groups, n)
    own = rng.rand() < 0.2  # ways of people which say nothing of the class, and nothing else does
    x = rng.choice([0.0, 0.3, 0.6, 1.0]) * (not own) * shapes[y] + noise
    if own:
        ways = np.cumsum(rng.randn(n_groups, timesteps, features), axis=1)
        x = x + ways[groups] / ways.std()
    elif rng.rand() < 0.15:  # a smooth family without noise: neighbours are close and no copies
        place = np.linspace(0, 6, timesteps)[:, None] * rng.uniform(0.8, 1.2, (n, 1, 1))
        x = rng.uniform(0.5, 2, (n, 1, 1)) * np.sin(place + rng.uniform(0, 6, (n, 1, 1))) * np.ones(features)
    elif rng.rand() < 0.3:  # people of one class each
        of_group = rng.randint(0, n_classes, n_groups)
        of_group[:n_classes] = np.arange(n_classes)
        groups = np.array([rng.choice(np.flatnonzero(of_group == label)) for label in y])
    order = np.argsort(y, kind="stable") if rng.rand() < 0.3 else np.arange(n)
    split = rng.choice(3, n, p=[0.7, 0.1, 0.2])
    pool = Pool(x.astype(np.float32), y, n_classes, groups, split=split, row=np.arange(n))
    pool = pool.take(order)._replace(row=np.arange(n))
    if rng.rand() < 0.3:
        times = np.sort(rng.rand(n))
        pool = pool._replace(first=times, last=times + 1e-6, groups=None)
    return pool


def planted(kind: str, rng: np.random.RandomState) -> Pool:
    """A set with a leak."""
    pool = base(rng)
    while kind == "group" and pool.groups is None:
        pool = base(rng)
    n, timesteps, features = pool.x.shape
    x = pool.x.copy()
    if kind == "group":  # people whose recordings are alike, each of one class: known people are known by their ways
        n_groups = int(rng.randint(8, 20))
        of_group = rng.permutation(np.arange(n_groups) % pool.n_classes)
        groups = rng.randint(0, n_groups, n)
        ways = np.cumsum(rng.randn(n_groups, timesteps, features), axis=1)
        x = (rng.randn(*x.shape) + rng.uniform(1.0, 2.0) * ways[groups] / ways.std()).astype(np.float32)
        return pool._replace(x=x, y=of_group[groups], groups=groups)
    if kind == "copies":
        share, noise = rng.uniform(0.05, 0.4), rng.choice([0.0, 0.005, 0.02, 0.05])
        held_out = np.flatnonzero(pool.split > 0)
        mine = held_out[: max(3, int(share * len(held_out)))]
        source = rng.choice(np.flatnonzero(pool.split == 0), len(mine))
        x[mine] = x[source] + (noise * x.std() * rng.randn(len(mine), timesteps, features)).astype(np.float32)
        y = pool.y.copy()
        y[mine] = y[source]
        return pool._replace(x=x, y=y)
    if kind == "target":
        codes = rng.permutation(pool.n_classes) * rng.uniform(0.5, 3)
        column = np.repeat(codes[pool.y][:, None], timesteps, axis=1)
        if rng.rand() < 0.5:
            column[:, :-1] = rng.randn(n, timesteps - 1)
        return pool._replace(x=np.concatenate([x, column[..., None].astype(np.float32)], axis=2))
    if kind == "id":
        order = np.argsort(pool.y + 0.3 * rng.rand() * rng.randn(n), kind="stable")
        pool = pool.take(order)._replace(row=np.arange(n))
        number = np.arange(n) + rng.randint(0, 1000)
        column = np.repeat(number[:, None], timesteps, axis=1)
        if rng.rand() < 0.5:
            column = number[:, None] * timesteps + np.arange(timesteps)
        return pool._replace(x=np.concatenate([pool.x, column[..., None].astype(np.float32)], axis=2))
    # windows: recordings cut with half of each window in the next
    recordings, stride = int(rng.randint(6, 12)), max(2, timesteps // int(rng.randint(2, 5)))
    per = max(8, n // recordings)
    made, label, of, first = [], [], [], []
    for recording in range(recordings):
        whole = np.cumsum(rng.randn(stride * per + timesteps, features), axis=0)
        for place in range(per):
            made.append(whole[place * stride : place * stride + timesteps])
            label.append(recording % pool.n_classes)
            of.append(recording)
            first.append(float(place * stride))
    times = np.array(first) if rng.rand() < 0.5 else None
    split = rng.choice(3, len(made), p=[0.7, 0.1, 0.2])
    return Pool(
        np.array(made, np.float32), np.array(label), pool.n_classes, np.array(of),
        first=times, last=None if times is None else times + timesteps - 1, split=split, recording=np.array(of),
        row=np.arange(len(made)),
    )  # fmt: skip


def judged(pool: Pool) -> dict[str, object]:
    """What the meter says of a set."""
    since = time.process_time()
    by = "group" if pool.groups is not None else "time" if pool.last is not None else ""
    measured = leakage.measure(pool, by, 5) if by else None
    sight = [finding for finding in leak_findings.findings(pool) if finding.alarm]
    interval = measured is not None and measured.alarm
    figures = (
        {} if measured is None else {"low": measured.low, "high": measured.high, "difference": measured.difference}
    )
    said = {"interval": int(interval), "sight": "; ".join(f.what for f in sight), "found": int(interval or bool(sight))}
    return said | figures | {"seconds": time.process_time() - since}


def rates(rows: list[dict[str, str]]) -> str:
    """The rates in words."""
    leaks, clean = ([row for row in rows if row["planted"] == name] for name in ("leak", "clean"))
    lines = []
    for name, mine in (("clean", clean), *((kind, [r for r in leaks if r["kind"] == kind]) for kind in KINDS)):
        if mine:
            n, found = len(mine), sum(int(r["found"]) for r in mine)
            alone = sum(int(r["interval"]) for r in mine)
            lines.append(f"{name:8} {found} of {n} ({100 * found / n:.1f} %), by the interval alone {alone}")
    found = sum(int(r["found"]) for r in leaks)
    lines.append(f"planted  {found} of {len(leaks)} ({100 * found / max(1, len(leaks)):.1f} %)")
    return "\n".join(lines)


def main(sets: int, path: Path) -> None:
    rows = fileio.read_rows(path)
    done = {(row["planted"], row["set"]) for row in rows}
    for number in range(sets):
        for name in ("leak", "clean"):
            if (name, str(number)) in done:
                continue
            rng = np.random.RandomState(10_000 * (name == "leak") + number)
            kind = KINDS[number % len(KINDS)] if name == "leak" else ""
            pool = planted(kind, rng) if kind else base(rng)
            fileio.append_rows(path, COLUMNS, [{"planted": name, "kind": kind, "set": number, **judged(pool)}])
    print(rates(fileio.read_rows(path)))


if __name__ == "__main__":
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    main(int(given.get("sets", 200)), Path(given.get("rows", "leak-rates.csv")))
