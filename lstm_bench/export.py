"""`python -m lstm_bench.export`: the records of a study or kernel benchmark in one file, for another machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lstm_bench.core import cli, home

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
    from lstm_bench.study import archive, reader, validate

    given = cli.options(arguments, ("study", "output", "sweeps", *validate.LIMITS), required=("study",))
    place = reader.place(given["study"], home.expanded(given.get("sweeps", "sweeps")), benchmarks=True)
    study = validate.from_folder(place.folder, validate.limits(given))
    body = archive.packed(study)
    path = home.expanded(given.get("output", f"{study.name}.study.zip"))
    archive.write(path, body)
    print(f"{path}: {len(body):,} bytes, {validate.words(study)}")


if __name__ == "__main__":
    sys.exit(main())
