"""The schema of `conf/`: each group's keys, their types, ranges and choices."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any


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


def _in(rule: Range | Choice | Weights | Names, *default: Any) -> Any:
    metadata = {"rule": rule}
    return field(metadata=metadata, default=default[0]) if default else field(metadata=metadata)


_COUNT, _SIZE, _SECONDS = Range(0), Range(1), Range(0, open_low=True)


@dataclass(kw_only=True)
class Dataset:
    """Group `dataset`; a value's further meaning is checked by `data/dataset.py`."""

    name: str
    dir: str | None
    path: str | None
    train_size: int | float | None = _in(Range(0, open_low=True))
    validation_size: int | float = _in(Range(0, open_low=True))
    validation: str = _in(Choice("split", "test"))
    split_seed: int = _in(_COUNT)
    standardize: bool | str  # auto: of file
    fallback: str | None
    length: int | None = None  # of smnist and psmnist, adding and copy
    permutation_seed: int | None = None  # of psmnist
    test_size: int | float | None = None  # of adding and copy, and of a file that does not divide itself
    task: str | None = None  # of npz and file: what its labels are, where their type does not say it
    # Those below are of file; see conf/dataset/file.yaml.
    test_path: str | None = None
    title: str | None = None
    layout: str | None = _in(Choice("long", "wide"), None)
    id: str | None = None
    time: str | None = None
    features: list[str] | None = None
    target: Any = field(default=None, metadata={"rule": Names()})  # or several: a list
    group: str | None = None
    window: int | None = _in(Range(1), None)
    stride: int | None = _in(Range(1), None)
    split: str | None = _in(Choice("auto", "stratified", "group", "time", "given"), None)
    missing: str | None = _in(Choice("refuse", "forward_fill", "mean", "mask"), None)
    lengths: str | None = None
    max_length: int | None = _in(Range(1), None)
    min_length: int | None = _in(Range(1), None)
    truncate: str | None = _in(Choice("refuse", "start", "end"), None)
    scale_target: bool | str | None = None  # of npz and file; auto: of file
    horizon: int | None = _in(Range(1), None)
    context: int | None = _in(Range(1), None)
    scale: str | None = _in(Choice("none", "series", "window", "difference", "return"), None)
    season: int | None = _in(Range(1), None)
    resample: str | None = _in(Choice("refuse", "order", "forward_fill"), None)
    origins: int | None = _in(Range(1), None)
    quantiles: list[float] | None = None
    known: list[str] | None = None
    calendar: list[str] | None = None
    text: str | None = None
    tokens: str | None = _in(Choice("char", "word"), None)  # these of texts: of dataset.text, and languages
    vocabulary: int | None = _in(Range(1), None)
    min_count: int | None = _in(Range(1), None)
    resplit: bool | str | None = (
        None  # of any that draws its validation split: each seed of a confirmation draws its own
    )
    folds: int | None = _in(Range(2, 20), None)  # of any that draws its validation split: see docs/guide/data.md


@dataclass(kw_only=True)
class Kernel:
    """Group `kernel`."""

    name: str = _in(Choice("auto", "cudnn", "fused", "generic", "xla", "unrolled", "unrolled_xla"))
    probe: bool  # measure every kernel for the confirmed winner
    probe_s: float = _in(_SECONDS)  # seconds of timed steps per kernel
    max_unroll: int = _in(_SIZE)  # timesteps up to which auto and the probe consider unrolling
    remember: bool  # whether auto takes over what another study measured, and leaves what it measures
    predict: str | None = _in(Choice("cuda"), None)  # says what a GPU would run, and ends
    forecast: str | None = _in(Choice("cuda"), None)  # counts what a GPU would be asked to launch, and ends


@dataclass(kw_only=True)
class Backend:
    """Group `backend`."""

    name: str = _in(Choice("tensorflow", "jax", "torch"))


@dataclass(kw_only=True)
class Train:
    """Group `train`."""

    epochs: int = _in(_SIZE)
    batch_size: int = _in(_SIZE)
    evaluation_batch_size: int = _in(_SIZE)
    optimizer: str = _in(Choice("adam", "adamw", "nadam", "rmsprop", "sgd"))
    learning_rate: float = _in(Range(0, open_low=True))
    momentum: float = _in(Range(0, 1, open_high=True))  # of sgd and rmsprop
    global_clipnorm: float | None = _in(Range(0, open_low=True))  # scales down all gradients together
    schedule: str = _in(Choice("constant", "cosine", "warmup_cosine", "inverse_time", "reduce_on_plateau"))
    decay: float = _in(Range(0))  # of inverse_time: lr / (1 + decay * step)
    warmup: float | None = _in(
        Range(0, 1, open_low=True, open_high=True), None
    )  # of warmup_cosine: a share of all steps
    plateau_factor: float | None = _in(Range(0, 1, open_low=True, open_high=True), None)  # these of reduce_on_plateau
    plateau_patience: int | None = _in(_SIZE, None)
    plateau_floor: float | None = _in(Range(0), None)
    weight_decay: float | None = _in(Range(0), None)  # of adamw
    class_weight: Any = field(default=None, metadata={"rule": Weights()})  # of the training loss
    buckets: int | None = _in(Range(1, 6), None)  # of sequences of unequal length, see `training/batches.py`
    patience: int | None = _in(_SIZE, None)  # epochs without a better objective that end a training
    deterministic: bool  # the same numbers bit for bit on the same device


@dataclass(kw_only=True)
class Sampler:
    """Group `sampler`."""

    name: str = _in(Choice("tpe", "random", "grid", "qmc", "cmaes"))
    n_startup_trials: int = _in(_COUNT)  # random trials before the model, of tpe and cmaes


@dataclass(kw_only=True)
class Pruner:
    """Group `pruner`."""

    name: str = _in(Choice("none", "median", "hyperband", "dominated"))
    n_startup_trials: int = _in(_COUNT)  # of median and dominated: trials finished before any is pruned
    n_warmup_epochs: int = _in(_COUNT)  # of median and dominated: epochs before a trial is pruned
    reduction_factor: int = _in(Range(2))  # of hyperband


@dataclass(kw_only=True)
class Storage:
    """Group `storage`: where Optuna's database is."""

    url: str | None  # null: sqlite in the study's folder
    patience: float = _in(Range(0))  # the next three are PostgreSQL's alone, in seconds; see conf/storage/
    heartbeat: float = _in(_SECONDS)
    grace: float = _in(_SECONDS)


@dataclass(kw_only=True)
class Tracking:
    """Group `tracking`."""

    name: str = _in(Choice("mlflow", "none"))
    uri: str | None  # null: sqlite:///<working directory>/mlflow.db
    patience: float = _in(_COUNT)  # seconds that a sweep's end waits for MLflow
    retry_s: float = _in(_SECONDS)  # from a failure to the next try, doubled each time up to retry_most_s
    retry_most_s: float = _in(_SECONDS)
    queue: int = _in(_SIZE)  # without effect: in the configurations of older studies


@dataclass(kw_only=True)
class Launcher:
    """Group `launcher`."""

    name: str = _in(Choice("local", "ray"))
    workers: int | str
    pack: int | str
    keep_engines: int = _in(_SIZE)  # networks whose compiled programs a worker keeps
    recycle_after: int = _in(_SIZE)  # trials of one worker process
    recycle_mib: int = _in(_SIZE)  # resident memory above which a worker is replaced after its trial
    address: str | None = None  # of ray, like those below
    cpus_per_trial: float | None = None
    gpus_per_trial: int | float | str | None = None


@dataclass(kw_only=True)
class Study:
    """What is searched, how long, and how the winner is confirmed."""

    name: str
    description: str
    shared: bool  # with other drivers, each on a machine of its own
    n_trials: int = _in(_COUNT)
    confirm: int = _in(_SIZE)
    replicates: int = _in(_COUNT)
    objective: str | None  # one of the task's metrics on validation data, or auto: see `data/task.py`
    direction: str | None = _in(Choice("maximize", "minimize"))  # null, where it is composed: that of the objective
    objectives: dict[str, Any]  # metric -> direction; several: the first stands in for objective and direction
    seed: int = _in(_COUNT)
    max_failed: int = _in(_COUNT)
    max_retry: int = _in(_COUNT)
    timeout: float | None = _in(_SECONDS)
    trial_timeout: float | None = _in(_SECONDS)
    space: dict[str, Any]
    campaign: str | None = None  # that it is one study of, which a campaign says itself

    @property
    def aim(self) -> str:
        """The objective, once what is composed was settled by the data."""
        assert self.objective is not None
        return self.objective


@dataclass(kw_only=True)
class Sweep:
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
    controls: bool | None = None  # whether they are fitted beside; null: of dataset=file and npz


@dataclass(kw_only=True)
class Grid:
    """Group `grid` of the kernel benchmark; its cells are checked by `kernels/grid.py`."""

    name: str
    description: str
    dtypes: list[str]
    skip: list[str]  # arms left out, as backend/kernel
    cells: list[Any]
    lengths: dict[str, Any] = field(default_factory=dict)  # distribution of timesteps -> its quantiles, evenly spaced


@dataclass(kw_only=True)
class Method:
    """How the kernel benchmark measures: see docs/method.md."""

    rounds: int = _in(_SIZE)  # fresh processes of every arm
    samples: int = _in(Range(2))  # timed windows per round and operation
    window_s: float = _in(_SECONDS)  # a sample lasts at least as long
    steady: float = _in(
        Range(0, 1, open_low=True)
    )  # warm-up ends when two windows in a row differ by at most this fraction
    compile_limit_s: float = _in(_SECONDS)  # compile and first call; beyond it the arm is ended
    seed: int = _in(_COUNT)  # of weights, inputs and the order of the arms
    max_other_load: float = _in(Range(0, 1))  # share of the cores taken by other processes above which a row is marked
    tolerance: dict[str, float]  # dtype -> largest relative error against the float64 reference


@dataclass(kw_only=True)
class Arms:
    """What the kernel benchmark measures on each cell of its grid: all, one, or a list of each."""

    backend: Any
    kernel: Any
    dtype: Any  # null: those of the grid
    operation: Any


@dataclass(kw_only=True)
class Kernels:
    """Root of `conf/kernels.yaml`."""

    name: str | None  # of the folder, the experiment and the page; null: kernels-<grid>
    arms: Arms
    grid: Grid
    method: Method
    tracking: Tracking
    predict: str | None = _in(Choice("cuda"), None)  # says what a GPU would run, and ends
    forecast: str | None = _in(Choice("cuda"), None)  # counts what a GPU would be asked to launch, and ends


@dataclass(kw_only=True)
class Limits:
    """What the doctor wants of a machine."""

    free_mib: int = _in(_COUNT)
    open_files: int = _in(_COUNT)
    clock_s: float = _in(_SECONDS)
    answer_s: float = _in(_SECONDS)


@dataclass(kw_only=True)
class Doctor:
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


@dataclass(kw_only=True)
class Look:
    """Root of `conf/look.yaml`."""

    dataset: Dataset
    png: str | None
    svg: str | None


@dataclass(kw_only=True)
class Leak:
    """Root of `conf/leak.yaml`."""

    dataset: Dataset
    seeds: int = _in(_SIZE)
    rounds: int = _in(Range(5))
    most: int = _in(Range(20))
    out: str | None
    backend: Backend
    train: Train
    model: Any = None  # group `model`: a family in the small model's place


GROUPS = tuple(f.name for f in dataclasses.fields(Sweep) if f.default is dataclasses.MISSING)  # without single values
