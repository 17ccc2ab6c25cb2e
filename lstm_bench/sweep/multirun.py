"""Several studies of one command line, by -m: all are checked before the first is run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lstm_bench.core import cli, errors, schema
from lstm_bench.core.errors import ConfigError, LstmBenchError
from lstm_bench.sweep import campaign

if TYPE_CHECKING:
    from omegaconf import DictConfig

Fault = tuple[Sequence[str], LstmBenchError]
_OPTIONS = ("-m", "--multirun")


def is_asked(argv: Sequence[str]) -> bool:
    """Whether a command line asks for several jobs, and for more than a look at the help."""
    return any(option in argv for option in _OPTIONS) and not {"--help", "-h"} & {*argv}


def main(
    argv: Sequence[str],
    *,
    check: Callable[..., Any],
    run: Callable[..., object],
    root: Any,
    together: Callable[[list[Any]], Sequence[Fault]] = lambda checked: (),
) -> int:
    """Runs the jobs of a command line in turn, once every one of them was checked.

    Args:
      argv: The command line, without the program.
      check: Called with what was composed for a job and its overrides; returns the configuration first.
      run: Likewise, to run one; with `jobs`, what `check` returned of all, and `at`, which of them it is.
      root: Schema of a study.
      together: Called with what `check` returned of all, where there are several; returns faults, each with the names of the
        studies that have it.

    Returns:
      The worst exit code. A study that fails does not keep the next from running, an interrupt ends all.
    """
    checked: list[Any] = []
    lines: list[list[str]] = []
    faults: dict[str, tuple[list[str], LstmBenchError]] = {}

    def look(composed: DictConfig, overrides: list[str]) -> None:
        try:
            checked.append(check(composed, overrides))
            lines.append(overrides)
        except LstmBenchError as error:
            faults.setdefault(str(error), ([], error))[0].append(_name(composed))

    if code := cli.main(argv, config_name="sweep", root=root, help_text=str, run=look):
        return code
    found: Sequence[Fault] = list(faults.values()) or one_name([study[0] for study in checked], lines)
    if not found and len(checked) > 1:
        found = together(checked)
    if found:
        return cli.refuse("-m", found)
    at = itertools.count()

    def one(composed: DictConfig, overrides: list[str]) -> None:
        run(composed, overrides, jobs=checked, at=next(at))

    code = cli.main(argv, config_name="sweep", root=root, help_text=str, run=one)
    if len(checked) > 1 and code != errors.INTERRUPTED:
        campaign.say_verdict(list(dict.fromkeys(study[0]["study"]["name"] for study in checked)))
    return code


def _name(composed: DictConfig) -> str:
    from omegaconf import OmegaConf

    return str(OmegaConf.select(composed, "study.name", throw_on_resolution_failure=False))


def one_name(configs: Sequence[schema.Sweep], lines: Sequence[Sequence[str]]) -> list[Fault]:
    """Jobs that are to be one study, and cannot be: the second would be refused when the first has been trained.

    Args:
      configs: Resolved, one of each job.
      lines: The overrides of each.
    """
    from lstm_bench.core.configuration import redacted_config
    from lstm_bench.study.resume import MAY_CHANGE, changed

    first: dict[str, int] = {}
    faults: dict[str, Fault] = {}
    for i, config in enumerate(configs):
        name = config["study"]["name"]
        k = first.setdefault(name, i)
        if changed(redacted_config(configs[k]), redacted_config(config), free=MAY_CHANGE):
            error = ConfigError(
                f"study.name={name}: several jobs have it, and are not the same study", remedy=_apart(lines)
            )
            faults.setdefault(name, ([name], error))
    return list(faults.values())


def _apart(lines: Sequence[Sequence[str]]) -> str:
    """The override that names every job after what it is given alone."""
    keys = [override.partition("=")[0].lstrip("+") for override in dict.fromkeys(o for line in lines for o in line)]
    given = [key for key in dict.fromkeys(keys) if keys.count(key) > 1 and key != "study.name"]
    words = [f"${{{key}}}" if "." in key else f"${{hydra:runtime.choices.{key}}}" for key in given]
    return f"name each: 'study.name={'-'.join(words)}'"
