"""What works on an opened study, and how the parts of it hear of each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_bench.core import schema
from lstm_bench.core.console import Display
from lstm_bench.launcher.event_loop import Loop
from lstm_bench.model.question import ONE_CLASS, Asked
from lstm_bench.study import search_space
from lstm_bench.sweep.confirm import Confirmation
from lstm_bench.sweep.console_report import Progress
from lstm_bench.sweep.controls import Controls
from lstm_bench.sweep.driver import Driver
from lstm_bench.sweep.events import Events
from lstm_bench.sweep.folds import FoldedLoop
from lstm_bench.sweep.kernel_choice import KernelChoice
from lstm_bench.sweep.records_writer import Records
from lstm_bench.sweep.store import trials
from lstm_bench.sweep.waiting import Waiting, Watch


@dataclass(frozen=True)
class Parts:
    """What works on an opened study: search and confirmation, and the records that hear of both."""

    study: trials.TrialStore
    kernels: KernelChoice
    driver: Driver
    confirmation: Confirmation
    controls: Controls
    records: Records
    events: Events
    waiting: Waiting


def assembled(
    config: schema.Sweep,
    space: dict[str, search_space.Domain],
    study: trials.TrialStore,
    loop: Loop,
    kernels: KernelChoice,
    display: Display,
    folder: Path,
    asked: Asked = ONE_CLASS,
) -> Parts:
    """The parts of an opened study, which hear of each other."""
    events = Events()
    trains: Any = FoldedLoop(loop, study, config) if config["dataset"].get("folds") else loop
    confirmation = Confirmation(config, space, study, trains, kernels, display, folder, events)
    controls = Controls(config, study, loop, display, folder, asked)
    driver = Driver(config, space, study, trains, kernels, display, folder, events)
    records = Records(space, study, confirmation, folder)
    waiting = Waiting(config, space, kernels.workers, loop.running)
    display.left = waiting.left
    watch = Watch(waiting, space, study, confirmation, config["study"])
    events.listeners += [records, watch, Progress(study, config["study"], display)]
    return Parts(study, kernels, driver, confirmation, controls, records, events, waiting)
