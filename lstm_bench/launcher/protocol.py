"""What a driver asks of its workers, and what they answer: each a mapping of plain values on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Literal, Self

from lstm_bench.core import schema

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a worker says; what it does not say is None, or empty."""

    @classmethod
    def read(cls, message: Row) -> Self:
        """The answer that came. What has no field of its own is one of its `scores`, where it has any."""
        own = {each.name for each in fields(cls)}
        known = {name: value for name, value in message.items() if name in own}
        if "scores" in own:
            known["scores"] = {name: value for name, value in message.items() if name not in own}
        return cls(**known)

    def row(self) -> dict[str, Any]:
        """As it travels, and as records have it: each field that says more than its default, by column."""
        found: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "scores":
                found |= value
            elif value is not None and (each.default is MISSING or value != each.default):
                found[each.name] = value
        return found


@dataclass(frozen=True, kw_only=True)
class EpochResult(Answer):
    """An epoch that has ended.

    Attributes:
      epoch: From 1.
      train_s: Seconds of its training steps.
      ended: Whether patience made it the last.
      n_weights: Of the network.
      train_samples_per_s: So far.
      learning_rate: Where it is lowered on the way.
      each: Of a pack, what each member has to say; None where it has failed or was done before.
      scores: Metrics by column: `train_*`, `val_*`, `penalty`.
    """

    epoch: int
    train_s: float | None = None
    ended: bool = False
    n_weights: int | None = None
    train_samples_per_s: float | None = None
    learning_rate: float | None = None
    each: Sequence[Row | None] = ()
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Result(Answer):
    """How a task ended. Columns are those of the records, see `study/columns.py`.

    Attributes:
      state: COMPLETE, PRUNED, FAIL (with `reason`), or FAULT: of configuration, data or kernel, which stops the sweep.
      reason: As in `trials.csv`; of what one kernel refuses, refused.
      detail: What there is to be said of it.
      error: Class of a FAULT.
      traceback: Of what a user's function raised, where that is kept.
      device: Column, like all that follow.
    """

    state: str
    reason: str | None = None
    detail: str | None = None
    error: str | None = None
    traceback: str | None = None
    device: str | None = None
    device_share: str | None = None
    setup_s: float | None = None
    compile_s: float | None = None
    train_s: float | None = None
    eval_s: float | None = None
    total_s: float | None = None
    width: int | None = None


@dataclass(frozen=True, kw_only=True)
class CheckResult(Result):
    """Of a `CheckTask`: size and recurrent layers of the network."""

    n_weights: int | None = None
    recurrent: int | None = None
    layers: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ProbeResult(Result):
    """Of a `ProbeTask`: columns of `kernels.csv`.

    Attributes:
      disturbed_by: What else used the machine.
    """

    backend: str | None = None
    kernel: str | None = None
    kernel_ran: str | None = None
    evidence: str | None = None
    train_samples_per_s: float | None = None
    p10_samples_per_s: float | None = None
    p90_samples_per_s: float | None = None
    n: int | None = None
    step_ms: float | None = None
    batch_size: int | None = None
    disturbed_by: str | None = None

    def figures(self) -> dict[str, float] | None:
        """Speed and seconds of compiling; None where another kernel ran than was asked for, or none."""
        ran = self.state == "COMPLETE" and self.kernel_ran in (self.kernel, "none")
        if not ran or self.train_samples_per_s is None or self.compile_s is None:
            return None
        return {"train_samples_per_s": float(self.train_samples_per_s), "compile_s": float(self.compile_s)}


@dataclass(frozen=True, kw_only=True)
class TrialResult(Result):
    """Of a `TrialTask`: columns of `trials.csv` and `replicates.csv`, its metrics as `scores`.

    Attributes:
      history: Its epochs, as rows.
      pack: Trainings of its program, where they are several.
      predictions: Of the test set, where the model is kept; `worst` likewise.
    """

    epochs: int | None = None
    best_epoch: int | None = None
    n_weights: int | None = None
    n_trainable: int | None = None
    backend: str | None = None
    kernel: str | None = None
    kernel_ran: str | None = None
    steps_per_execution: int | None = None
    train_samples_per_s: float | None = None
    epoch_s: float | None = None
    padding_share: float | None = None
    padding_s: float | None = None
    peak_memory_mib: float | None = None
    peak_device_memory_mib: float | None = None
    latency_ms_batch_1: float | None = None
    latency_ms_batch_64: float | None = None
    weights_sha256: str | None = None
    pack: int | None = None
    n_embedding: int | None = None
    folds: int | None = None
    fold_deviation: float | None = None
    history: Sequence[Row] = ()
    predictions: Sequence[Row] = ()
    worst: Sequence[Row] = ()
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PackResult(Result):
    """Of a `PackTask`: what each member would be as a task of its own."""

    members: Sequence[Row] = ()


@dataclass(frozen=True, kw_only=True)
class ControlResult(Result):
    """Of a `ControlTask`: columns of `controls.csv`, its metrics as `scores`."""

    n_weights: int | None = None
    n_train: int | None = None
    chosen: str | float | None = None
    notes: str | None = None
    folds: int | None = None
    latency_ms_batch_1: float | None = None
    latency_ms_batch_64: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Any task.

    Attributes:
      config: Resolved configuration.
      answer: What comes of it.
    """

    answer: ClassVar[type[Result]] = Result
    config: schema.Sweep


@dataclass(frozen=True, kw_only=True)
class CheckTask(Task):
    """Builds the model at the configuration's values, and at the ends of its space.

    Attributes:
      corners: Resolved configurations at those ends.
      searched: Their searched values.
    """

    answer: ClassVar[type[Result]] = CheckResult
    kind: Literal["check"] = "check"
    corners: Sequence[schema.Sweep]
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

    answer: ClassVar[type[Result]] = ProbeResult
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

    answer: ClassVar[type[Result]] = TrialResult
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

    answer: ClassVar[type[Result]] = PackResult
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

    answer: ClassVar[type[Result]] = ControlResult
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
