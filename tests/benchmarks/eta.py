"""How true the time left is that a sweep shows: |said - true| / true at the end of each training of published records.

    python tests/benchmarks/eta.py [FOLDER]     (default: sweeps/published)

A timeline is rebuilt from `trials.csv` and `replicates.csv`: the `total_s` of each training is given, in order of number, to
the first of the W workers that is free, the seeds after the last trial. At each end, while more than a minute remains, the
model of the sweep (`lstm_bench/sweep/remaining.py`) is asked what is left. It knows the trainings that have ended and, of those
that run, their configuration, how long they have run and how many steps they have reported. What records do not hold is left
out on both sides: the start, the choice and the probe of kernels. Exits with 1 where the median of studies without patience is
above 25 %: of the others nobody knows how many epochs are to come.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_bench.core import configuration
from lstm_bench.study import reader
from lstm_bench.study import search_space as spaces
from lstm_bench.sweep import remaining

LEAST_S = 60.0  # left: what is nearly done needs no estimate
MOST = 0.25  # of the median


@dataclass
class Timed:
    """A training: what is known once it has ended, seconds from its start to each epoch's end, and where it is placed."""

    training: remaining.Training
    epoch_ends: list[float]
    score: float | None = None
    start: float = 0.0

    @property
    def end(self) -> float:
        """Seconds from the study's start to its end."""
        return self.start + self.training.seconds

    def going(self, now: float) -> remaining.Going:
        """What a sweep knows of it while it runs: its steps are reported as it goes."""
        elapsed, since, done = now - self.start, self.training.overhead_s, 0.0
        for end in self.epoch_ends:
            if elapsed < end:
                done += max(elapsed - since, 0.0) / (end - since)
                break
            since, done = end, done + 1
        return remaining.Going(self.training.params, elapsed, done, min(elapsed, self.training.overhead_s))


def timed(row: Mapping[str, str], params: Mapping[str, Any], epochs_s: Sequence[float], objective: str) -> Timed:
    """A row of `trials.csv` or `replicates.csv`, with the seconds of its epochs' steps."""
    total, overhead = float(row["total_s"]), float(row["setup_s"]) + float(row["compile_s"])
    scale = (total - overhead) / sum(epochs_s)  # what follows the steps of an epoch belongs to it
    ends = [overhead + scale * sum(epochs_s[: i + 1]) for i in range(len(epochs_s))]
    score = float(row[objective]) if row["state"] == "COMPLETE" else None
    return Timed(remaining.Training(params, int(row["epochs"]), total, overhead), ends, score)


class Study:
    """A published study on its timeline."""

    def __init__(self, folder: Path):
        recorded = reader.find(folder.name, folder.parent)
        self.name, self.config, self.space = folder.name, recorded.config, spaces.parse(recorded.config)
        self.settings, self.workers = self.config["study"], len(recorded.environment["workers"])
        self.sign = 1.0 if self.settings["direction"] == "maximize" else -1.0
        epochs: dict[tuple[str, ...], list[float]] = {}
        for line in recorded.rows("history.csv"):
            epochs.setdefault((line["kind"], line["number"], line.get("trial") or ""), []).append(
                float(line["train_s"])
            )
        self.trials, params = [], {}
        for row in recorded.rows("trials.csv"):
            configured = recorded.config_of(row)
            params[row["number"]] = {path: configuration.get(configured, path) for path in self.space}
            if known := epochs.get(("trial", row["number"], "")):  # none of what failed before its first epoch ended
                self.trials.append(timed(row, params[row["number"]], known, self.settings["objective"]))
        best = recorded.best_trial()
        self.seeds = []
        for row in recorded.rows("replicates.csv"):
            trial = row.get("trial") or ""
            of = params[trial or best["number"]] if best else {}
            known = epochs.get(("replicate", row["seed"], trial)) or epochs["replicate", row["seed"], ""]
            self.seeds.append(timed(row, of, known, self.settings["objective"]))
        self.searched_s = self._place(self.trials, 0.0)
        self.lasted_s = self._place(self.seeds, self.searched_s)

    def _place(self, trainings: Sequence[Timed], since: float) -> float:
        free = [since] * self.workers
        for one in trainings:
            first = min(range(self.workers), key=free.__getitem__)
            one.start = free[first]
            free[first] = one.end
        return max(free)

    def said(self, now: float) -> float:
        """Seconds left as a sweep would show them at that second of the study."""
        everything = [*self.trials, *self.seeds]
        confirming = now >= self.searched_s
        if confirming:
            seeds = [(one.training.params, 1) for one in self.seeds if one.start > now]
        else:
            scored = [one for one in self.trials if one.end <= now and one.score is not None]
            scored.sort(key=lambda one: -self.sign * float(one.score or 0))
            best = scored[: self.settings.get("confirm", 1)]
            seeds = [(one.training.params, self.settings["replicates"]) for one in best]
        return remaining.left_s(
            self.space,
            [one.training for one in everything if one.end <= now],
            [one.going(now) for one in everything if one.start <= now < one.end],
            epochs=self.config["train"]["epochs"],
            workers=self.workers,
            trials=sum(one.start > now for one in self.trials),
            seeds=seeds,
            confirming=confirming,
            pruned=self.config["pruner"]["name"] != "none",
        )

    def errors(self) -> Iterator[float]:
        """At each end, in order."""
        for now in sorted(one.end for one in [*self.trials, *self.seeds]):
            true = self.lasted_s - now
            if true > LEAST_S:
                yield abs(self.said(now) - true) / true


def main(argv: Sequence[str]) -> int:
    """Prints the table; returns the exit code."""
    root = Path(argv[0]) if argv else Path(__file__).parents[2] / "sweeps" / "published"
    found: dict[str, list[float]] = {"without patience": [], "with patience": []}
    print(f"{'study':<27} {'ends':>4} {'first':>6} {'median':>6} {'worst':>6}")
    for folder, *_ in reader.places(root):
        study = Study(folder)
        if errors := list(study.errors()):
            print(
                f"{folder.name:<27} {len(errors):>4} {errors[0]:>6.0%} {statistics.median(errors):>6.0%}"
                f" {max(errors):>6.0%}"
            )
        found["with patience" if study.config["train"].get("patience") else "without patience"] += errors
    for kind, errors in found.items():
        if errors:
            print(f"{kind:<27} {len(errors):>4} {'':>6} {statistics.median(errors):>6.0%} {max(errors):>6.0%}")
    plain = found["without patience"]
    return int(bool(plain) and statistics.median(plain) > MOST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
