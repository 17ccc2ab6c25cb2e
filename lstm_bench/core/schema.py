"""The schema of `conf/`: each group's keys, their types, ranges and choices.

A configuration stays what Hydra, the records and the workers' JSON have: nested dicts. They are typed here, so that a
misspelt key or a wrong type is found before anything runs. `NotRequired` is what no YAML has to have: composed, it is
always there. The records of an older version may lack other keys, too: `study/reader.py` completes them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, NotRequired, TypeAlias, TypedDict


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, ends included unless open; None is no bound."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return False
        below = self.low is not None and (value <= self.low if self.open_low else value < self.low)
        above = self.high is not None and (value >= self.high if self.open_high else value > self.high)
        return not below and not above

    def __str__(self) -> str:
        low = [] if self.low is None else [("above " if self.open_low else "of at least ") + f"{self.low:g}"]
        high = [] if self.high is None else [("below " if self.open_high else "of at most ") + f"{self.high:g}"]
        return "a number " + " and ".join(low + high) if low or high else "a finite number"


class Choice:
    """One of a few names."""

    def __init__(self, *names: str):
        self.names = names

    def __contains__(self, value: object) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return "one of " + ", ".join(self.names)


class Weights:
    """`balanced`, or a weight for each of some classes."""

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, dict):
            return value == "balanced"
        return bool(value) and all(weight in Range(0) for weight in value.values())

    def __str__(self) -> str:
        return "balanced, or {class: weight} with weights of at least 0"


class Names:
    """One name, or several, each once."""

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, list):
            return isinstance(value, str)
        return bool(value) and all(isinstance(name, str) for name in value) and len({*value}) == len(value)

    def __str__(self) -> str:
        return "a name, or a list of names, each once"


Rule: TypeAlias = Range | Choice | Weights | Names
_COUNT, _SIZE, _SECONDS = Range(0), Range(1), Range(0, open_low=True)
_SHARE = Range(0, 1, open_low=True, open_high=True)


class Dataset(TypedDict):
    """Group `dataset`; a value's further meaning is checked by `data/dataset.py`."""

    name: str
    dir: str | None
    path: str | None
    train_size: Annotated[int | float | None, Range(0, open_low=True)]
    validation_size: Annotated[int | float, Range(0, open_low=True)]
    validation: Annotated[str, Choice("split", "test")]
    split_seed: Annotated[int, _COUNT]
    standardize: bool | str  # auto: of file
    fallback: str | None
    length: NotRequired[int | None]  # of smnist and psmnist, adding and copy
    permutation_seed: NotRequired[int | None]  # of psmnist
    test_size: NotRequired[int | float | None]  # of adding and copy, and of a file that does not divide itself
    task: NotRequired[str | None]  # of npz and file: what its labels are, where their type does not say it
    # Those below are of file; see conf/dataset/file.yaml.
    test_path: NotRequired[str | None]
    title: NotRequired[str | None]
    layout: NotRequired[Annotated[str | None, Choice("long", "wide")]]
    id: NotRequired[str | None]
    time: NotRequired[str | None]
    features: NotRequired[list[str] | None]
    target: NotRequired[Annotated[Any, Names()]]  # or several: a list
    group: NotRequired[str | None]
    window: NotRequired[Annotated[int | None, Range(1)]]
    stride: NotRequired[Annotated[int | None, Range(1)]]
    split: NotRequired[Annotated[str | None, Choice("auto", "stratified", "group", "time", "given")]]
    missing: NotRequired[Annotated[str | None, Choice("refuse", "forward_fill", "mean", "mask")]]
    lengths: NotRequired[str | None]
    max_length: NotRequired[Annotated[int | None, Range(1)]]
    min_length: NotRequired[Annotated[int | None, Range(1)]]
    truncate: NotRequired[Annotated[str | None, Choice("refuse", "start", "end")]]
    scale_target: NotRequired[bool | str | None]  # of npz and file; auto: of file
    horizon: NotRequired[Annotated[int | None, Range(1)]]
    context: NotRequired[Annotated[int | None, Range(1)]]
    scale: NotRequired[Annotated[str | None, Choice("none", "series", "window", "difference", "return")]]
    season: NotRequired[Annotated[int | None, Range(1)]]
    resample: NotRequired[Annotated[str | None, Choice("refuse", "order", "forward_fill")]]
    origins: NotRequired[Annotated[int | None, Range(1)]]
    quantiles: NotRequired[list[float] | None]
    known: NotRequired[list[str] | None]
    calendar: NotRequired[list[str] | None]
    text: NotRequired[str | None]
    tokens: NotRequired[Annotated[str | None, Choice("char", "word")]]  # these of texts: of dataset.text, and languages
    vocabulary: NotRequired[Annotated[int | None, Range(1)]]
    min_count: NotRequired[Annotated[int | None, Range(1)]]
    resplit: NotRequired[bool | str | None]  # each seed of a confirmation draws its own validation split
    folds: NotRequired[Annotated[int | None, Range(2, 20)]]  # of what draws its validation split: docs/guide/data.md


class Kernel(TypedDict):
    """Group `kernel`."""

    name: Annotated[str, Choice("auto", "cudnn", "fused", "generic", "xla", "unrolled", "unrolled_xla")]
    probe: bool  # measure every kernel for the confirmed winner
    probe_s: Annotated[float, _SECONDS]  # seconds of timed steps per kernel
    max_unroll: Annotated[int, _SIZE]  # timesteps up to which auto and the probe consider unrolling
    remember: bool  # whether auto takes over what another study measured, and leaves what it measures
    predict: NotRequired[Annotated[str | None, Choice("cuda")]]  # says what a GPU would run, and ends
    forecast: NotRequired[Annotated[str | None, Choice("cuda")]]  # counts what a GPU would be asked to launch, and ends


class Backend(TypedDict):
    """Group `backend`."""

    name: Annotated[str, Choice("tensorflow", "jax", "torch")]


class Train(TypedDict):
    """Group `train`."""

    epochs: Annotated[int, _SIZE]
    batch_size: Annotated[int, _SIZE]
    evaluation_batch_size: Annotated[int, _SIZE]
    optimizer: Annotated[str, Choice("adam", "adamw", "nadam", "rmsprop", "sgd")]
    learning_rate: Annotated[float, Range(0, open_low=True)]
    momentum: Annotated[float, Range(0, 1, open_high=True)]  # of sgd and rmsprop
    global_clipnorm: Annotated[float | None, Range(0, open_low=True)]  # scales down all gradients together
    schedule: Annotated[str, Choice("constant", "cosine", "warmup_cosine", "inverse_time", "reduce_on_plateau")]
    decay: Annotated[float, Range(0)]  # of inverse_time: lr / (1 + decay * step)
    warmup: NotRequired[Annotated[float | None, _SHARE]]  # of warmup_cosine: a share of all steps
    plateau_factor: NotRequired[Annotated[float | None, _SHARE]]  # these of reduce_on_plateau
    plateau_patience: NotRequired[Annotated[int | None, _SIZE]]
    plateau_floor: NotRequired[Annotated[float | None, Range(0)]]
    weight_decay: NotRequired[Annotated[float | None, Range(0)]]  # of adamw
    class_weight: NotRequired[Annotated[Any, Weights()]]  # of the training loss
    buckets: NotRequired[Annotated[int | None, Range(1, 6)]]  # of sequences of unequal length: `training/batches.py`
    patience: NotRequired[Annotated[int | None, _SIZE]]  # epochs without a better objective that end a training
    deterministic: bool  # the same numbers bit for bit on the same device


class TrainTo(Train):
    """Group `train` of a training that is to end with another epoch than `epochs`. No user writes what is added."""

    last_epoch: NotRequired[int]


class Sampler(TypedDict):
    """Group `sampler`."""

    name: Annotated[str, Choice("tpe", "random", "grid", "qmc", "cmaes")]
    n_startup_trials: Annotated[int, _COUNT]  # random trials before the model, of tpe and cmaes


class Pruner(TypedDict):
    """Group `pruner`."""

    name: Annotated[str, Choice("none", "median", "hyperband", "dominated")]
    n_startup_trials: Annotated[int, _COUNT]  # of median and dominated: trials finished before any is pruned
    n_warmup_epochs: Annotated[int, _COUNT]  # of median and dominated: epochs before a trial is pruned
    reduction_factor: Annotated[int, Range(2)]  # of hyperband


class Storage(TypedDict):
    """Group `storage`: where Optuna's database is."""

    url: str | None  # null: sqlite in the study's folder
    patience: Annotated[float, Range(0)]  # the next three are PostgreSQL's alone, in seconds; see conf/storage/
    heartbeat: Annotated[float, _SECONDS]
    grace: Annotated[float, _SECONDS]


class Store(TypedDict):
    """Where runs are tracked."""

    name: Annotated[str, Choice("mlflow", "none")]
    uri: str | None  # null: sqlite:///<working directory>/mlflow.db


class Tracking(Store):
    """Group `tracking`."""

    patience: Annotated[float, _COUNT]  # seconds that a sweep's end waits for MLflow
    retry_s: Annotated[float, _SECONDS]  # from a failure to the next try, doubled each time up to retry_most_s
    retry_most_s: Annotated[float, _SECONDS]
    queue: Annotated[int, _SIZE]  # without effect: in the configurations of older studies


class Launcher(TypedDict):
    """Group `launcher`."""

    name: Annotated[str, Choice("local", "ray")]
    workers: int | str
    pack: int | str
    keep_engines: Annotated[int, _SIZE]  # networks whose compiled programs a worker keeps
    recycle_after: Annotated[int, _SIZE]  # trials of one worker process
    recycle_mib: Annotated[int, _SIZE]  # resident memory above which a worker is replaced after its trial
    address: NotRequired[str | None]  # of ray, like those below
    cpus_per_trial: NotRequired[float | None]
    gpus_per_trial: NotRequired[int | float | str | None]


class Study(TypedDict):
    """What is searched, how long, and how the winner is confirmed."""

    name: str
    description: str
    shared: bool  # with other drivers, each on a machine of its own
    n_trials: Annotated[int, _COUNT]
    confirm: Annotated[int, _SIZE]
    replicates: Annotated[int, _COUNT]
    objective: str | None  # one of the task's metrics on validation data, or auto: see `data/task.py`
    direction: Annotated[str | None, Choice("maximize", "minimize")]  # null, as composed: the objective's
    objectives: dict[str, Any]  # metric -> direction; several: the first stands in for objective and direction
    seed: Annotated[int, _COUNT]
    max_failed: Annotated[int, _COUNT]
    max_retry: Annotated[int, _COUNT]
    timeout: Annotated[float | None, _SECONDS]
    trial_timeout: Annotated[float | None, _SECONDS]
    space: dict[str, Any]
    campaign: NotRequired[str | None]  # that it is one study of, which a campaign says itself


class Sweep(TypedDict):
    """Root of `conf/sweep.yaml`."""

    dataset: Dataset
    model: dict[str, Any]
    kernel: Kernel
    backend: Backend
    train: Train
    sampler: Sampler
    pruner: Pruner
    storage: Storage
    tracking: Tracking
    launcher: Launcher
    study: Study
    controls: NotRequired[bool | None]  # whether they are fitted beside; null: of dataset=file and npz


class Grid(TypedDict):
    """Group `grid` of the kernel benchmark; its cells are checked by `kernels/grid.py`."""

    name: str
    description: str
    dtypes: list[str]
    skip: list[str]  # arms left out, as backend/kernel
    cells: list[Any]
    lengths: NotRequired[dict[str, Any]]  # distribution of timesteps -> its quantiles, evenly spaced


class Method(TypedDict):
    """How the kernel benchmark measures: see docs/method.md."""

    rounds: Annotated[int, _SIZE]  # fresh processes of every arm
    samples: Annotated[int, Range(2)]  # timed windows per round and operation
    window_s: Annotated[float, _SECONDS]  # a sample lasts at least as long
    steady: Annotated[float, Range(0, 1, open_low=True)]  # warm-up ends when two windows differ by no more
    compile_limit_s: Annotated[float, _SECONDS]  # compile and first call; beyond it the arm is ended
    seed: Annotated[int, _COUNT]  # of weights, inputs and the order of the arms
    max_other_load: Annotated[float, Range(0, 1)]  # share of the cores that others take, above which a row is marked
    tolerance: dict[str, float]  # dtype -> largest relative error against the float64 reference


class Arms(TypedDict):
    """What the kernel benchmark measures on each cell of its grid: all, one, or a list of each."""

    backend: Any
    kernel: Any
    dtype: Any  # null: those of the grid
    operation: Any


class Kernels(TypedDict):
    """Root of `conf/kernels.yaml`."""

    name: str | None  # of the folder, the experiment and the page; null: kernels-<grid>
    arms: Arms
    grid: Grid
    method: Method
    tracking: Tracking
    predict: NotRequired[Annotated[str | None, Choice("cuda")]]  # says what a GPU would run, and ends
    forecast: NotRequired[Annotated[str | None, Choice("cuda")]]  # counts what a GPU would be asked to launch, and ends


class Limits(TypedDict):
    """What the doctor wants of a machine."""

    free_mib: Annotated[int, _COUNT]
    open_files: Annotated[int, _COUNT]
    clock_s: Annotated[float, _SECONDS]
    answer_s: Annotated[float, _SECONDS]


class Doctor(TypedDict):
    """Root of `conf/doctor.yaml`."""

    dataset: Dataset
    storage: Storage
    tracking: Tracking
    sweeps: str
    backends: Any  # all, one, or a list
    kernels: bool
    limits: Limits
    cell: dict[str, Any]  # checked by `kernels/case.py`
    method: Method


class Look(TypedDict):
    """Root of `conf/look.yaml`."""

    dataset: Dataset
    png: str | None
    svg: str | None


class Leak(TypedDict):
    """Root of `conf/leak.yaml`."""

    dataset: Dataset
    seeds: Annotated[int, _SIZE]
    rounds: Annotated[int, Range(5)]
    most: Annotated[int, Range(20)]
    out: str | None
    backend: Backend
    train: Train
    model: NotRequired[Any]  # group `model`: a family in the small model's place


T = typing.TypeVar("T")


def settled(value: T | None) -> T:
    """A value that is there, whatever its type allows: a check has seen to it, or what is composed was settled."""
    assert value is not None
    return value


class Value(NamedTuple):
    """What a key's value may be.

    Attributes:
      kind: Its type; of a group, the group.
      rule: Its range or choices; None where every value of the type will do.
      is_required: Whether a YAML has to have the key.
    """

    kind: Any
    rule: Rule | None
    is_required: bool


@functools.cache
def values(group: Any) -> dict[str, Value]:
    """Key -> what its value may be, of a group or of a root."""

    def value(hint: Any) -> Value:
        is_required = typing.get_origin(hint) is not NotRequired
        inside = hint if is_required else typing.get_args(hint)[0]
        kind, rule = typing.get_args(inside) if typing.get_origin(inside) is Annotated else (inside, None)
        return Value(kind, rule, is_required)

    return {key: value(hint) for key, hint in typing.get_type_hints(group, include_extras=True).items()}


def is_group(kind: Any) -> bool:
    """Whether a type is a group of the schema, not that of a single value."""
    return typing.is_typeddict(kind)


@functools.cache
def structured(group: Any) -> type:
    """A group or root as the dataclass that OmegaConf takes; a key that may be missing is null there, or empty."""

    def entry(key: str, value: Value) -> tuple[str, Any, Any]:
        kind = structured(value.kind) if is_group(value.kind) else value.kind
        if value.is_required:
            return key, kind, dataclasses.field()
        is_mapping = typing.get_origin(kind) is dict
        return key, kind, dataclasses.field(default_factory=dict) if is_mapping else dataclasses.field(default=None)

    entries = [entry(key, value) for key, value in values(group).items()]
    return dataclasses.make_dataclass(group.__name__, entries, kw_only=True)


GROUPS = tuple(key for key, value in values(Sweep).items() if value.is_required)  # without single values
