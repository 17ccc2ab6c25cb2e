"""Which module makes samples of a file: `file_dataset` of most, one of their own of texts and of tasks that cut series."""

from __future__ import annotations

from typing import Any

from lstm_bench.core import schema
from lstm_bench.data import file_dataset, texts
from lstm_bench.data.task import of


def cutter_of(config: schema.Dataset) -> Any:
    """`Task.own_cutter` of the task that is asked for, `texts` where samples are such; None of any other.

    Args:
      config: The `dataset` settings.
    """
    if texts.are_asked(config):
        return texts
    asked = config.get("task")
    return of(asked).own_cutter if asked else None


def load(config: schema.Dataset) -> file_dataset.FileData:
    """Reads the files, divides and fills, by whoever makes the samples.

    Args:
      config: The `dataset` settings.

    Raises:
      ConfigError: for settings that do not fit the file.
      DataError: for a file that is unfit.
    """
    made: file_dataset.FileData = (cutter_of(config) or file_dataset).load(config)
    return made
