"""Small sets of other people, as a user would bring them: recurrent families, a CNN and the controls on each; and their records.

    python tests/benchmarks/own_data.py run     [sets=a,b] [families=a,b] [folder=~/lstm_bench-own-data]
    python tests/benchmarks/own_data.py publish [sets=a,b] [folder=~/lstm_bench-own-data] to=sweeps/published/PLACE
    python tests/benchmarks/own_data.py list

`run` fetches the pinned wheels that the sets lie in as files (nothing is installed), then runs `+campaign=worth` on each set,
with one worker, on JAX; of it the families that are named, where a machine is not there for long enough. It goes on where it was
interrupted. `publish` copies the records of the studies that are complete, without values of samples. `list` says where each set
comes from, and the command.
"""

from __future__ import annotations

import csv
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import wheels

from lstm_bench.core import configuration

FAMILIES = ("gru", "single", "bidirectional", "stacked", "min_gru", "cnn")


class Set(NamedTuple):
    """A set of sequences.

    Attributes:
      wheel: That it lies in.
      member: Its place there; "" where a table is made of it first.
      source: Whom it is from.
      licence: Under which it may be used.
      options: Of the sweep.
    """

    wheel: str
    member: str
    source: str
    licence: str
    options: tuple[str, ...]


# 67 sequences are 4 steps of 16: batch normalisation alone, whose averages keep 0.99 of a step, wants a few hundred of them.
FOLDS = ("dataset.folds=3", "train.epochs=600", "train.patience=150")
SETS = {
    "ItalyPowerDemand": Set(
        "sktime==1.2.0",
        "sktime/datasets/data/ItalyPowerDemand/ItalyPowerDemand_TRAIN.ts",
        "Keogh et al. 2006, in the UCR archive (Dau et al. 2019, arXiv 1810.07758)",
        "as the UCR archive: free for research",
        FOLDS,
    ),
    "JapaneseVowels": Set(
        "sktime==1.2.0",
        "sktime/datasets/data/JapaneseVowels/JapaneseVowels_TRAIN.ts",
        "Kudo, Toyama and Shimbo 1999, in the UEA archive (Bagnall et al. 2018, arXiv 1811.00075)",
        "CC BY 4.0 (UCI, doi 10.24432/C5NS47)",
        ("train.epochs=80", "train.patience=20"),
    ),
    "GunPoint": Set(
        "sktime==1.2.0",
        "sktime/datasets/data/GunPoint/GunPoint_TRAIN.ts",
        "Ratanamahatana and Keogh 2005, in the UCR archive (Dau et al. 2019, arXiv 1810.07758)",
        "as the UCR archive: free for research",
        FOLDS,
    ),
    "PickupGestureWiimoteZ": Set(
        "aeon==1.6.0",
        "aeon/datasets/data/PickupGestureWiimoteZ/PickupGestureWiimoteZ_TRAIN.ts",
        "Guna, Humar and Pogacnik 2014, in the UCR archive (Dau et al. 2019, arXiv 1810.07758)",
        "as the UCR archive: free for research",
        FOLDS,
    ),
    "watch": Set(
        "seglearn==1.2.5",
        "",
        "Burns et al. 2018, Physiological Measurement 39(7), 075007",
        "BSD 3-Clause, as seglearn, which it comes with",
        (
            *("dataset.id=recording", "dataset.time=t", "dataset.target=exercise", "dataset.group=subject"),
            *("dataset.window=100", "dataset.stride=100", "dataset.features=[ax,ay,az,wx,wy,wz]"),
            *("train.batch_size=64", "train.epochs=100", "train.patience=20"),
        ),
    ),
}


def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns its exit code."""
    given = dict(argument.split("=", 1) for argument in argv[1:])
    names = given["sets"].split(",") if "sets" in given else list(SETS)
    folder = Path(given.get("folder", "~/lstm_bench-own-data")).expanduser()
    if argv[:1] == ["run"]:
        families = tuple(given["families"].split(",")) if "families" in given else FAMILIES
        return max(run(name, folder, families) for name in names)
    if argv[:1] == ["publish"]:
        published = [study for name in names for study in publish(name, folder, Path(given["to"]))]
        print("published:", " ".join(published) or "nothing, for nothing is complete")
        return 0
    for name in names:
        print(
            f"{name}: {SETS[name].source}. Licence: {SETS[name].licence}.\n  {shlex.join(command(name, Path('data')))}"
        )
    return 0


def command(name: str, data: Path) -> list[str]:
    """What is typed for a set, its file in a folder `data`."""
    one = SETS[name]
    pinned = wheels.wheel(one.wheel).name if one.member else ""
    path = f"{data / pinned}!{one.member}" if one.member else str(data / f"{name}.parquet")
    given = [
        *("+campaign=worth", f"study.name={name}", "dataset=file", f"dataset.path={path}", *one.options),
        *("backend=jax", "kernel=generic", "launcher.workers=1", "tracking=none"),
    ]
    return ["python", "-m", "lstm_bench.sweep", *given]


def run(name: str, folder: Path, families: Sequence[str] = FAMILIES) -> int:
    """Fetches a set, and runs or resumes its campaign, or some of its families."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    one = SETS[name]
    file = wheels.wheel(one.wheel)
    if one.member and not (data / file.name).exists():
        shutil.copyfile(file, data / file.name)
    if not one.member and not (data / f"{name}.parquet").exists():
        wheels.watch().to_parquet(data / f"{name}.parquet", index=False)
    line = [sys.executable, *command(name, data)[1:]]
    if families != FAMILIES:
        line[line.index("+campaign=worth")] = "+campaign=part_of_worth"
        line += ["--config-dir", str(part_of_campaign(folder / "conf", families))]
    return subprocess.run(line, cwd=folder, env=os.environ, check=False).returncode


def part_of_campaign(folder: Path, families: Sequence[str]) -> Path:
    """A folder of configurations with the campaign `part_of_worth`: `worth` with these families alone."""
    campaign = yaml.safe_load((configuration.conf_dir() / "campaign" / "worth.yaml").read_text(encoding="utf-8"))
    part = [study for study in campaign["studies"] if study["study"] in families]
    if {study["study"] for study in part} != set(families):
        sys.exit(f"families={','.join(families)}: expected some of {', '.join(FAMILIES)}")
    (folder / "campaign").mkdir(parents=True, exist_ok=True)
    (folder / "campaign" / "part_of_worth.yaml").write_text(
        yaml.safe_dump({**campaign, "studies": part}), encoding="utf-8"
    )
    return folder


def publish(name: str, folder: Path, place: Path) -> list[str]:
    """Copies the records of those studies of a set that are complete, of `worst.csv` without the samples' values; their names."""
    studies = [folder / "sweeps" / f"{name}-{family}" for family in FAMILIES]
    complete = [study for study in studies if is_complete(study)]
    for study in complete:
        target = place / study.name
        target.mkdir(parents=True, exist_ok=True)
        for file in (study / "config.yaml", study / "environment.json", *sorted(study.glob("*.csv"))):
            if file.name == "worst.csv":
                _without_values(file, target / file.name)
            elif file.name != "begun.csv":
                shutil.copyfile(file, target / file.name)
    return [study.name for study in complete]


def is_complete(study: Path) -> bool:
    """Whether five seeds of a study and its controls are there."""
    return all(len(_rows(study / f"{file}.csv")) >= 5 for file in ("replicates", "controls"))


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _without_values(source: Path, target: Path) -> None:
    rows: list[Mapping[str, str]] = [{**row, "values": ""} for row in _rows(source)]
    with target.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
