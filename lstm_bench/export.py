"""`python -m lstm_bench.export`: the records of a study or kernel benchmark in one file, for another machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lstm_bench.core import cli, home
from lstm_bench.core.errors import ConfigError, nearest

HELP = """\
python -m lstm_bench.export study=NAME [output=FILE] [sweeps=DIR]

Packs the records of a study or kernel benchmark into one file: configuration, environment and tables, with their SHA-256. No
database, no model, no pickle. The same records give the same bytes; a sweep may be running.

  study=NAME     in DIR, else in DIR/merged/, else in DIR/published/<device>/
  output=FILE    (NAME.study.zip)
  sweeps=DIR     where the study lies                           (sweeps)

example  python -m lstm_bench.export study=stacked
next     python -m lstm_bench.merge input=stacked.study.zip     (on the other machine)
exit     0 done, 2 no such study, 4 its records are damaged or the output cannot be written
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return cli.guarded(argv, HELP, run)


def run(arguments: list[str]) -> None:
    """Packs one study.

    Raises:
      LstmBenchError: any expected fault.
    """
    from lstm_bench.study import archive, validate

    given = cli.options(arguments, ("study", "output", "sweeps", *validate.LIMITS), required=("study",))
    folder = find(given["study"], home.expanded(given.get("sweeps", "sweeps")))
    study = validate.from_folder(folder, validate.limits(given))
    body = archive.packed(study)
    path = home.expanded(given.get("output", f"{study.name}.study.zip"))
    archive.write(path, body)
    print(f"{path}: {len(body):,} bytes, {validate.words(study)}")


def find(name: str, root: Path) -> Path:
    """The folder of a study: a working one, else a merged one, else the published one.

    Raises:
      ConfigError: when there is no such study, or several machines have published it.
    """
    folders = [path.parent for path in sorted(root.glob("*/config.yaml"))]
    folders += [path.parent for path in sorted(root.glob("merged/*/config.yaml"))]
    public = [path.parent for path in sorted(root.glob("published/*/*/config.yaml"))]
    named = [folder for folder in folders if folder.name == name] or [p for p in public if p.name == name]
    if not named:
        names = {folder.name for folder in (*folders, *public)}
        remedy = nearest(name, names) if names else "run python -m lstm_bench.sweep +study=NAME first"
        raise ConfigError(f"study={name}: there is no such study below {root}", remedy=remedy)
    if named[0] in public and len(named) > 1:
        choices = " or ".join(f"sweeps={folder.parent}" for folder in named)
        raise ConfigError(f"study={name}: several machines have published it", remedy=f"say {choices}")
    return named[0]


if __name__ == "__main__":
    sys.exit(main())
