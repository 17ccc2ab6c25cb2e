"""What runs a task in a worker: named as module:function, so that a launcher does not know what is done with a task."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from lstm_bench.training.tasks import TaskRunner


BENCH = "lstm_bench.training.backend:bench"


def made(setup: Mapping[str, Any]) -> tuple[TaskRunner, str]:
    """The bench that a launcher asks for, and what its framework sees: "gpu" or "cpu".

    Args:
      setup: What a launcher sends a worker first. `bench` is `module:function` of what makes a bench; the tests have one that
        trains nothing.
    """
    module, _, function = setup["bench"].partition(":")
    maker = getattr(importlib.import_module(module), function)
    found: tuple[TaskRunner, str] = maker(setup)
    return found


def end_with_driver() -> NoReturn:
    """Ends this worker process at once: its driver is gone, and nobody waits for what it works on."""
    os._exit(0)
