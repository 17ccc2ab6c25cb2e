"""What can be known of several studies before the first is run: whether the data are there and each family fits them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lstm_bench.core import configuration, errors, formatting, hardware, schema, vocabulary
from lstm_bench.data import dataset as data
from lstm_bench.launcher.protocol import CheckResult, CheckTask, written
from lstm_bench.launcher.single_task import Process
from lstm_bench.study import columns, search_space
from lstm_bench.sweep import windows


class Unfit(NamedTuple):
    """A fault, and the studies that have it."""

    studies: list[str]
    error: errors.LstmBenchError


def begun(config: schema.Sweep) -> bool:
    """Whether a study was begun before: then it was checked, and may go on."""
    folder = columns.study_dir(config["study"]["name"])
    return any((folder / name).exists() for name in ("study.db", "config.yaml"))


def unfit(
    studies: Sequence[tuple[schema.Sweep, Mapping[str, Any]]], say: Callable[[str], None] = lambda text: None
) -> list[Unfit]:
    """Reads each data set once and builds each family at the ends of its space, in one process per backend; trains nothing.

    Args:
      studies: Resolved configuration and parsed space of each; those that were begun, or run on a cluster, are left out.
      say: Told how many are checked, and what is waited for.

    Returns:
      Every fault once.
    """
    fresh = [(c, space) for c, space in studies if not begun(c) and c["launcher"]["name"] == "local"]
    if not fresh:
        return []
    say(f"checking {formatting.counted(len(fresh), 'study', 'studies')}")
    faults: dict[str, Unfit] = {}

    def note(config: schema.Sweep, error: errors.LstmBenchError) -> None:
        faults.setdefault(str(error), Unfit([], error)).studies.append(config["study"]["name"])

    read: dict[str, tuple[schema.Dataset, data.Dataset] | errors.LstmBenchError] = {}
    sound: list[tuple[schema.Sweep, dict[str, Any]]] = []
    for config, space in fresh:
        key = json.dumps(config["dataset"], sort_keys=True)
        if key not in read:
            say(f"  reading {config['dataset']['name']} ...")
            read[key] = _read(config["dataset"])
        found = read[key]
        if isinstance(found, errors.LstmBenchError):
            note(config, found)
            continue
        settings, dataset = found
        whole: schema.Sweep = {**config, "dataset": settings}
        own, searched = configuration.replaced(whole, {}), dict(space)
        windows.settle(own, searched, dataset.input_shape[0], masked=dataset.lengths_train is not None)
        sound.append((own, searched))
    for backend in dict.fromkeys(config["backend"]["name"] for config, _ in sound):
        mine = [(config, space) for config, space in sound if config["backend"]["name"] == backend]
        say(f"  starting {vocabulary.BACKEND_NAMES[backend]} ...")
        for config, error in _built(backend, mine, say):
            note(config, error)
    return list(faults.values())


def _read(dataset: schema.Dataset) -> tuple[schema.Dataset, data.Dataset] | errors.LstmBenchError:
    """The settings that a worker can load, and what is loaded; or what is wrong."""
    try:
        found = data.resolve(dataset).config
        return found, data.load(found)
    except errors.LstmBenchError as error:
        return error


def _built(
    backend: str, studies: Sequence[tuple[schema.Sweep, Mapping[str, Any]]], say: Callable[[str], None]
) -> list[tuple[schema.Sweep, errors.LstmBenchError]]:
    slot = hardware.slots(1, hardware.gpus())[0]
    found: list[tuple[schema.Sweep, errors.LstmBenchError]] = []
    with tempfile.TemporaryDirectory(prefix="lstm_bench-") as folder:
        process = Process(slot, backend, Path(folder), keras=True, tasks=len(studies))
        try:
            if not process.wait():
                return []  # the first study says it better, with its log
            for number, (config, space) in enumerate(studies, 1):
                say(f"  building model {number} of {len(studies)}: {config['study']['name']}")
                result = CheckResult.read(process.run(task(config, space), lambda body: None, 600.0))
                if result.reason in ("died", "hung", "compile_limit"):
                    return found  # likewise
                if error := fault(config, result):
                    found.append((config, error))
        finally:
            process.end()
    return found


def task(config: schema.Sweep, space: Mapping[str, Any]) -> dict[str, Any]:
    """The task of a worker that builds a family: at the configuration's values, and at the choices and ends of its space."""
    searched = search_space.choices_to_check(space)
    corners = [configuration.replaced(config, values) for values in searched]
    return written(CheckTask(config=config, corners=corners, searched=searched))


def fault(config: schema.Sweep, result: CheckResult, more: str = "") -> errors.LstmBenchError | None:
    """What a worker found wrong with such a task, `more` said behind it; None where nothing is."""
    if result.state == "COMPLETE":
        return None
    if result.state == "FAULT":
        kind: type[errors.LstmBenchError] = getattr(errors, str(result.error), errors.ConfigError)
        return kind(f"{result.detail}{more}")
    target = config["model"]["_target_"]
    return errors.ConfigError(f"model._target_={target}: cannot be built ({result.detail}){more}")
