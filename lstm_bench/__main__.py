"""`python -m lstm_bench`: which commands there are, a line each."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lstm_bench.core import cli
from lstm_bench.core.errors import ConfigError, nearest

COMMANDS = {
    "leak": "whether a split flatters a score: random against group or time, duplicates, inputs that are the answer",
    "look": "look at your data before anything trains: what it holds, how it is divided, what would make a score wrong",
    "sweep": "search a family of networks, confirm the winner, record everything: +study=NAME or +campaign=NAME",
    "kernels": "time every kernel on the same shapes and prove which one ran",
    "report": "write tables, figures and pages of what was recorded",
    "ui": "show the runs in a browser, in MLflow",
    "predict": "use a confirmed winner on new sequences",
    "repeat": "run a recorded training again and compare",
    "sync": "bring MLflow up to date from the records",
    "export": "pack the records of a study into one file, for another machine",
    "merge": "put a study that export packed beside your own",
    "doctor": "say what this installation can do, what is wrong with it, and how to mend that",
}
HELP = "python -m lstm_bench.COMMAND [OPTION ...]\n\n{commands}\n\noptions   --help (of each command)\n"


def listed() -> str:
    """What is printed: the commands, a line each."""
    wide = max(map(len, COMMANDS))
    return HELP.format(commands="\n".join(f"{name:<{wide}}  {what}" for name, what in COMMANDS.items()))


def run(argv: Sequence[str]) -> None:
    """Prints the commands.

    Raises:
      ConfigError: for any argument, with the command that was meant.
    """
    if argv and argv[0] in COMMANDS:
        raise ConfigError(f"python -m lstm_bench {argv[0]}: a command is a module", remedy=_write(argv[0]))
    if argv:
        raise ConfigError(
            f"python -m lstm_bench {argv[0]}: there is no such command", remedy=nearest(argv[0], COMMANDS)
        )
    print(listed(), end="")


def _write(name: str) -> str:
    return f"Write python -m lstm_bench.{name}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    line = list(sys.argv[1:] if argv is None else argv)
    if line and not line[0].startswith("-"):  # also with --help behind it: whose help that is, is said
        line = line[:1]
    return cli.guarded(line, listed(), run)


if __name__ == "__main__":
    sys.exit(main())
