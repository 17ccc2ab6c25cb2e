"""Command: `python -m lstm_bench.leak` says whether the way a dataset is divided flatters a score."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lstm_bench.core import cli, home, schema

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from lstm_bench.data.dataset import Dataset
    from lstm_bench.study.pool import Pool

HELP = """\
python -m lstm_bench.leak dataset=file dataset.path=FILE [dataset.NAME=value ...] [seeds=5] [rounds=20] [out=FILE]

Whether the way a file is divided flatters a score. One small model (a ridge on MiniRocket's features and on summaries) meets the
sequences under random splits, and under splits that keep groups, or the past and the future, apart; the difference is said with
its 99 % interval. And by sight: sequences that are in two splits or nearly so, windows that overlap across splits, an
input that is the target, an id or a row number that predicts the class. On one core seconds to a minute; without a framework.

  dataset.group=COLUMN   what must not be in two splits: a person, a machine      dataset.time=COLUMN   or what comes later
  seeds=N                ways of joining groups to five folds                     (5)
  rounds=N               random divisions                                         (20)
  model=NAME             a family instead, as gru: 5 * (seeds + rounds) trainings (backend=NAME, train.epochs=N)
  most=N                 sequences that are measured; of more, as many are drawn  (2000)
  out=FILE               leak.csv, which reports show; null: none                 (sweeps/leak.csv)

example  python -m lstm_bench.leak dataset=file dataset.path=my.csv dataset.id=recording dataset.target=activity \\
         dataset.group=person
exit     0 done, also with an alarm; 2 bad option, 3 unreadable or unfit data, 4 leak.csv cannot be written
"""
_PAIRED = 4_000  # sequences that are looked at pair by pair


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    from lstm_bench.core.schema import Leak

    line = list(sys.argv[1:] if argv is None else argv)
    return cli.main(line, config_name="leak", root=Leak, help_text=lambda: HELP, run=run)


def run(composed: DictConfig, overrides: Sequence[str]) -> None:
    """Measures, looks, says and writes down.

    Raises:
      LstmBenchError: any expected fault.
    """
    from rich.console import Console

    from lstm_bench.core import configuration, schema
    from lstm_bench.data import inspection
    from lstm_bench.study import leak_findings, leak_rows

    asked = configuration.load(composed, schema.Leak)
    settings = asked["dataset"].copy()
    if settings["name"] == "file":
        settings["train_size"] = None
    console = Console(highlight=False)
    found = inspection.load(settings)
    pool = _drawn(_pool(found, settings), _PAIRED)
    findings = leak_findings.findings(pool)
    for line in _answers(found, settings) if settings["name"] == "file" else ():
        if not any(finding.what == "a feature is the target" for finding in findings):
            findings.append(leak_findings.Finding("a feature is the target", line))
    console.print(
        f"{found.name}: {len(pool.x):,} sequences, divided {(found.about or {}).get('divided', 'as given')}",
        markup=False,
    )
    settles = not any(override.lstrip("+").startswith("train.epochs=") for override in overrides)
    measured = [_measured(pool, by, asked, settles) for by in _ways(found, pool, findings)]
    called = f"a network ({str(asked['model']['_target_']).rpartition('.')[2]})" if asked["model"] else "a small model"
    rows = [
        *(leak_rows.of_measured(one, found.kind, asked["seeds"], called) for one in measured),
        *map(leak_rows.of_finding, findings),
    ]
    for row in rows:
        console.print(
            f"{'!' if row['alarm'] else '-'} {row['says']}", markup=False, style="yellow" if row["alarm"] else ""
        )
    if found.tokens is not None:
        console.print("- of texts, those that are in two splits are looked for, and nothing is measured")
    elif not measured:
        console.print(
            "- no group and no time is named: say dataset.group=COLUMN or dataset.time=COLUMN to have them measured"
        )
    alarms = sum(row["alarm"] for row in rows)
    console.print(f"{alarms} alarm{'s' * (alarms != 1)}" if alarms else "nothing was found that flatters a score")
    if asked["out"]:
        path = home.expanded(asked["out"])
        leak_rows.write(path, found.name, found.sha256, rows)
        console.print(f"{path}", markup=False)


def _pool(found: Dataset, config: schema.Dataset) -> Pool:
    """All sequences of a dataset, with what its file says of each beside values and labels."""
    import numpy as np

    from lstm_bench.data import file_dataset
    from lstm_bench.study.pool import Pool

    splits = [
        name for name in ("train", "validation", "test") if name != "validation" or config["validation"] != "test"
    ]
    x, y = (np.concatenate([getattr(found, f"{axis}_{name}") for name in splits]) for axis in "xy")
    split_of = np.concatenate([np.full(len(getattr(found, f"x_{name}")), i) for i, name in enumerate(splits)])
    lengths = [getattr(found, f"lengths_{name}", None) for name in splits]
    pool = Pool(
        x,
        y,
        found.n_classes if found.kind.labels.classes else 0,
        split=split_of,
        names=(found.reading or {}).get("features", ()),
    )
    if all(one is not None for one in lengths):
        pool = pool._replace(lengths=np.concatenate([one for one in lengths if one is not None]))
    if config["name"] != "file" or found.tokens is not None:
        return pool
    parts = file_dataset.parts_of(config)
    known = [part.ids for part in parts.values()]
    starts = np.cumsum([0, *(len(part) for part in parts.values())])
    # Indices stand in for ids while it is divided, as it was for the dataset.
    numbered = {
        name: dataclasses.replace(part, ids=np.arange(len(part)) + start)
        for (name, part), start in zip(parts.items(), starts, strict=False)
    }
    divided = file_dataset.divided(numbered, config)
    mine = [divided[name] for name in splits]

    def of(name: str) -> np.ndarray | None:
        values = [getattr(part, name) for part in mine]
        return None if any(value is None for value in values) else np.concatenate(values)

    row = of("ids")
    groups, recording = of("groups"), None
    if mine[0].windows and row is not None and all(ids is not None for ids in known):
        recording = np.unique(np.concatenate([np.asarray(ids).astype(str) for ids in known])[row], return_inverse=True)[
            1
        ]
    elif mine[0].windows:
        recording = np.zeros(len(x), np.int64)
    codes = None if groups is None else np.unique(groups.astype(str), return_inverse=True)[1]
    return pool._replace(groups=codes, first=of("first"), last=of("last"), row=row, recording=recording)


def _drawn(pool: Pool, most: int) -> Pool:
    import numpy as np

    if len(pool.x) <= most:
        return pool
    return pool.take(np.sort(np.random.RandomState(0).permutation(len(pool.x))[:most]))


def _ways(found: Dataset, pool: Pool, findings: Sequence[Any]) -> list[str]:
    """What splits can be kept apart by."""
    if pool.y.ndim > 1 or pool.x.ndim == 2:
        return []  # a label for every timestep, several, or texts: no small model answers that
    made = ["group"] if pool.groups is not None and len({*pool.groups.tolist()}) > 1 else []
    if pool.last is not None and (found.about or {}).get("in_time"):
        made.append("time")
    copies = any(finding.what in ("exact duplicates", "near duplicates") for finding in findings)
    return [*made, *(["copies"] if copies and not made else [])]


def _measured(pool: Pool, by: str, asked: schema.Leak, settles: bool) -> Any:
    from lstm_bench.study import leak_findings, leakage

    pool, way = _drawn(pool, asked["most"]), by
    if by == "copies":
        pool, way = pool._replace(groups=leak_findings.components(len(pool.x), leak_findings.near(pool))), "group"
    if asked["model"] is None:
        return leakage.measure(pool, way, asked["seeds"], rounds=asked["rounds"])._replace(by=by)
    from lstm_bench.core import cli
    from lstm_bench.sweep.trained_scores import TrainedScores

    cli.require_backend(asked["backend"]["name"])
    with TrainedScores(asked, pool, settles=settles) as score:
        return leakage.measure(pool, way, asked["seeds"], rounds=asked["rounds"], score=score)._replace(by=by)


def _answers(found: Dataset, config: schema.Dataset) -> list[str]:
    """Columns that tell the target alone, as `look` finds them."""
    from lstm_bench.data import inspection

    told = [column for column in inspection.columns(found, config) if column.tells]
    return [
        f"column {column.name} alone tells the target: {column.tells}. Is it known when one predicts?"
        for column in told
    ]


if __name__ == "__main__":
    sys.exit(main())
