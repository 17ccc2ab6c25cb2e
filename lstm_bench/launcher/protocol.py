"""What a driver asks of its workers: tasks, each a mapping of plain values on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Task:
    """Any task.

    Attributes:
      config: Resolved configuration.
    """

    config: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class CheckTask(Task):
    """Builds the model at the configuration's values, and at the ends of its space.

    Attributes:
      corners: Resolved configurations at those ends.
      searched: Their searched values.
    """

    kind: Literal["check"] = "check"
    corners: Sequence[Mapping[str, Any]]
    searched: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True)
class StepsTask(Task):
    """Runs training steps.

    Attributes:
      kernel: Other than "auto".
      steps_per_execution: See `engine.make`.
    """

    kernel: str
    steps_per_execution: int


@dataclass(frozen=True, kw_only=True)
class ProbeTask(StepsTask):
    """Measures so many `seconds` of training steps, of `pack` trainings in one program."""

    kind: Literal["probe"] = "probe"
    seconds: float
    pack: int


@dataclass(frozen=True, kw_only=True)
class TrialTask(StepsTask):
    """A training; a `replicate` reads the test set after it, a `trial` does not.

    Attributes:
      seed: Of weights, dropout and the order of samples.
      keep: Folder of the trained model, None to keep none.
      for_mlflow: Whether an MLflow model is kept too.
    """

    kind: Literal["trial", "replicate"]
    seed: int
    keep: str | None = None
    for_mlflow: bool = False


@dataclass(frozen=True, kw_only=True)
class PackTask(StepsTask):
    """Several trainings in one program: `pack` of replicates, `trials` of trials.

    Attributes:
      seeds: Of the members.
      trains: Group `train` of each, where they differ in what gives the learning rate of a step; none: all of `config`.
      keep: As of `TrialTask`, for the member of seed 0.
      for_mlflow: Likewise.
    """

    kind: Literal["trials", "pack"]
    seeds: Sequence[int]
    trains: Sequence[Mapping[str, Any]] = ()
    keep: str | None = None
    for_mlflow: bool = False


@dataclass(frozen=True, kw_only=True)
class ControlTask(Task):
    """Fits a control.

    Attributes:
      control: Its name.
      seed: Of what is drawn.
      tests: Whether the test set is read.
      keep: Folder that it is kept in, None to keep none.
    """

    kind: Literal["control"] = "control"
    control: str
    seed: int
    tests: bool
    keep: str | None = None


_OF_KIND: Mapping[str, type[Task]] = {
    "check": CheckTask,
    "probe": ProbeTask,
    "control": ControlTask,
    **dict.fromkeys(("trial", "replicate"), TrialTask),
    **dict.fromkeys(("trials", "pack"), PackTask),
}


def written(task: Task) -> dict[str, Any]:
    """A task as it travels: `kind`, and each field that says more than its default."""
    values = {field.name: getattr(task, field.name) for field in fields(task)}
    usual = {
        field.name: field.default for field in fields(task) if field.default is not MISSING and field.name != "kind"
    }
    return {name: value for name, value in values.items() if name not in usual or value != usual[name]}


def read(message: Mapping[str, Any]) -> Task | Mapping[str, Any]:
    """The task that was `written`; one of a kind that only another runner knows is left as it came."""
    made = _OF_KIND.get(message["kind"])
    return made(**message) if made else message
