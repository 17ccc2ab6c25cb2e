"""`sweeps/<name>/`: the files of a study or kernel benchmark, their columns and units, and how rows get into them safely.

A record is small text, read without Optuna, MLflow or Keras. Durations are seconds on a monotonic clock, all
accuracies and losses are means over samples, accuracies are fractions in 0..1, samples are sequences.

| file               | one row or entry per                    | columns                                          |
|--------------------|-----------------------------------------|--------------------------------------------------|
| `config.yaml`      | the resolved configuration, URLs without passwords | -                                     |
| `environment.json` | the machine, versions, data and commit  | see `core/environment.py`                             |
| `trials.csv`       | trial of the search                     | `TRIAL_COLUMNS`, `config_<path>` per searched path |
| `replicates.csv`   | seed of the confirmation                | `REPLICATE_COLUMNS`                              |
| `history.csv`      | epoch of a trial or replicate           | `HISTORY_COLUMNS`                                |
| `kernels.csv`      | kernel of the winner's probe            | `KERNEL_COLUMNS`                                 |
| `controls.csv`     | control and seed: what a network has to beat | `CONTROL_COLUMNS`                           |
| `predictions.csv`  | test sample, first replicate            | `PREDICTION_COLUMNS`                             |
| `begun.csv`        | training begun in this session, until its end | `BEGUN_COLUMNS`, `config_<path>`            |
| `worst.csv`        | most confidently wrong test sample of the first replicate | `WORST_COLUMNS`                |

A kernel benchmark, `sweeps/kernels-<grid>/`, has the first two and

| file               | one row per                                             | columns           |
|--------------------|---------------------------------------------------------|-------------------|
| `runs.csv`         | cell, arm, operation and round: one process's figures   | `RUN_COLUMNS`     |
| `samples.csv`      | timed window of a run                                   | `SAMPLE_COLUMNS`  |
| `ceilings.csv`     | backend and dtype: the machine's own limits             | `CEILING_COLUMNS` |
| `cells.csv`        | cell, arm and operation: computed from the other three  | `CELL_COLUMNS`    |

A prediction, `sweeps/kernels-predicted/`, has `environment.json` and

| file               | one row per                                             | columns             |
|--------------------|---------------------------------------------------------|---------------------|
| `predicted.csv`    | backend, layer, option and operation                    | `PREDICTED_COLUMNS` |

A forecast, `sweeps/kernels-forecast/`, has `environment.json` and

| file               | one row per                                             | columns             |
|--------------------|---------------------------------------------------------|---------------------|
| `forecast.csv`     | cell, kernel and GPU: one training step, never run      | `LAUNCH_COLUMNS`    |
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstm_bench.data.task import Task

# What training anything yields; shared by trials and replicates.
_MEASURED = (
    "val_accuracy",  # fraction, after the last epoch
    "val_loss",  # mean over samples, of the task: cross-entropy in nats, or squared error
    "train_accuracy",  # fraction, running mean over the last epoch
    "train_loss",  # of the data alone, running mean over the last epoch
    "val_mse",  # of a regression, whose loss is the mean squared error; its accuracies are empty
    "val_mae",  # mean absolute error
    "n_weights",  # trainable and not
    "n_trainable",  # trainable weights
    "width",  # units that model.weights came to
    "epochs",  # finished
    "train_samples_per_s",  # training steps only: no compiling, no evaluation; of a pack's member, by the pack's seconds
    "kernel_ran",  # from evidence: cudnn, fused, generic, xla, unrolled, unrolled_xla, none
    "steps_per_execution",  # steps in one call of the compiled program
    "kernel",  # asked for, by name or by measurement
    "weights_sha256",  # of all trained weights after the last epoch, in Keras's order; of a PRUNED trial there is none
    "backend",  # Keras's: tensorflow, jax, torch
    "device",  # name of the GPU or processor
    "device_share",  # "exclusive", or with whom; rows that say "shared" or "packed K" stay out of speed tables
    "setup_s",  # data and model made ready, and whatever is none of the next three; these five of a member are its pack's
    "compile_s",  # traced and compiled, before the first step
    "train_s",  # executed training steps
    "eval_s",  # validation and test
    "total_s",  # the sum of the four
)
_TIMES = (
    "started_at",  # its task was given to a worker: ISO 8601, UTC, with milliseconds
    "ended_at",  # its result was there
)
# Of trials, replicates and epochs, where a study has them: after the others, and before `config_<path>`.
OPTIONAL_COLUMNS = (
    "penalty",  # what the model adds to the loss that is minimised: regularisers, add_loss; running mean of the last epoch
    "epoch_s",  # of one epoch, its training steps and its validation: the mean over all; of a pack's member its pack's
    "peak_memory_mib",  # of the worker's resident memory while it trained, its framework and the shared data included
    "peak_device_memory_mib",  # of the framework's allocator on a GPU; JAX counts from the worker's start
    "latency_ms_batch_1",  # inference of the saved model, milliseconds per sequence, one at a time; see docs/method.md
    "latency_ms_batch_64",  # likewise, 64 at a time
    "learning_rate",  # of the epoch, where train.schedule=reduce_on_plateau lowers it
    "best_epoch",  # from 1: with train.patience, the epoch whose weights and validation figures these are
    "padding_share",  # of all timesteps that training steps ran over, those that are padding; where sequences differ in length
    "padding_s",  # their share of train_s, batch by batch
    "n_embedding",  # of n_weights, those of the table of tokens of a text: model.weights counts the others
    "folds",  # trainings, or controls, whose mean the validation scores are: dataset.folds; seconds are of all of them
    "fold_deviation",  # standard deviation of the objective over them
)
TRIAL_COLUMNS = (
    "number",  # Optuna's, from 0
    "state",  # COMPLETE, PRUNED, FAIL
    "reason",  # of a FAIL: nan, oom, exception, timeout, worker_died, driver_died, interrupted, pack_failed
    "retry_of",  # number of the trial whose parameters this one runs again
    "seed",  # of initial weights, order of samples and dropout
    *_MEASURED,
    *_TIMES,
)
REPLICATE_COLUMNS = (
    "trial",  # whose configuration this is; empty where nothing was searched
    "seed",
    "state",  # COMPLETE, FAIL
    "reason",  # as of a trial
    "test_accuracy",  # fraction; the only place where the test set is read
    "test_loss",  # as val_loss
    "test_mse",  # of a regression
    "test_mae",  # of a regression
    *_MEASURED,
    *_TIMES,
)
HISTORY_COLUMNS = (
    "kind",  # trial, replicate
    "number",  # of the trial, or seed of the replicate
    "epoch",  # from 1
    "train_loss",  # running mean over the epoch
    "train_accuracy",  # fraction, running mean over the epoch
    "val_loss",  # after the epoch
    "val_accuracy",  # fraction, after the epoch
    "train_s",  # training steps of the epoch
    "val_mse",
    "val_mae",
    "trial",  # of a replicate: see replicates.csv
)
BEGUN_COLUMNS = (
    "kind",  # trial, replicate
    "number",  # of the trial, or seed of the replicate
    "trial",  # of a replicate
    "retry_of",  # of a trial, as in trials.csv
    "seed",
    "started_at",
)
KERNEL_COLUMNS = (
    "backend",
    "kernel",
    "kernel_ran",
    "reason",  # why there is no figure
    "train_samples_per_s",  # median
    "p10_samples_per_s",  # 10th percentile
    "p90_samples_per_s",  # 90th percentile
    "n",  # timed windows
    "step_ms",  # milliseconds per training step
    "compile_s",
    "batch_size",  # sequences per step
    "device",
    "device_share",  # the other workers are idle while a kernel is probed; after a semicolon, what disturbed it
    "evidence",  # op or kernel names
)
CONTROL_COLUMNS = (
    "control",  # trivial, naive, seasonal_naive, drift, smoothing, linear, context, minirocket: see `model/controls.py`
    "seed",  # of what is drawn; 0 where nothing is
    "state",  # COMPLETE, FAIL
    "reason",  # as of a trial
    "test_accuracy",  # these eight as of a replicate; the test set is read when the confirmation reads it
    "test_loss",
    "test_mse",
    "test_mae",
    "val_accuracy",
    "val_loss",
    "val_mse",
    "val_mae",
    "n_weights",  # numbers that were fitted to labels
    "n_train",  # sequences that it was fitted on
    "chosen",  # how strongly it is regularised
    "notes",  # what a reader has to know of it; between two a semicolon
    "setup_s",
    "train_s",  # features and fitting, on one core
    "eval_s",  # validation and test
    "total_s",
    "device",
    *_TIMES,
)
PREDICTION_COLUMNS = (
    "sample",  # index in the test set, from 0
    "label",  # true class or target
    "prediction",  # class, or number of a regression
    "probability",  # of the predicted class, by softmax
)
# Of forecasts, a row of predictions.csv for each step; of worst.csv `values` are the past of a few forecasts, in their own units.
FORECAST_COLUMNS = (
    "series",  # name of the series
    "step",  # of the horizon, from 1
    "last",  # the last value before the forecast, which is the naive one
    "error",  # absolute, by the unit of MASE; none of a series that never changed before
    "naive_error",  # likewise, of the naive forecast
    "low",  # lowest quantile, where such are forecast
    "high",  # highest quantile
    "covered",  # 1 where the value lies between the two, else 0
)
WORST_COLUMNS = (
    *PREDICTION_COLUMNS,
    "timesteps",  # of the sample
    "features",  # of each timestep
    "values",  # x.ravel(), space-joined; empty where the records are not to hold the data
)

_CELL = (
    "cell",  # identity: the next seven in one word
    "layer",  # lstm, gru, simple_rnn, bidirectional_lstm
    "units",  # of each layer
    "layers",  # stacked
    "timesteps",
    "features",
    "batch",  # sequences per step
    "dtype",  # float32, tf32, bfloat16
    "backend",
    "kernel",  # asked for; bare and native are yardsticks without Keras
    "operation",  # inference, forward_backward, train_step
)
RUN_COLUMNS = (
    *_CELL,
    "round",  # from 0; a fresh process each
    "state",  # measured, wrong, other_kernel, compile_limit, failed
    "reason",  # why there is no figure
    "kernel_ran",  # from evidence
    "compile_s",  # traced and compiled
    "first_call_s",  # what the backend leaves to it, one step, results copied to the host
    "error",  # largest relative difference from the float64 reference
    "tolerance",  # what `error` may be at most
    "steps",  # of one sample, as the program counted them
    "warm_up",  # windows run before the first sample
    "n",  # samples
    "peak_memory_mib",  # of the device's allocator; of the process, on a CPU
    "energy_j_per_million",  # joules per million samples, where the GPU counts them
    "marks",  # what else happened: other load, throttling, a shared GPU
    "commit",  # of the code that measured
    "evidence",
    "lengths",  # distribution that the sequences' timesteps are drawn from, of grid.lengths; none: all have the cell's
)
SAMPLE_COLUMNS = (
    "cell",
    "backend",
    "kernel",
    "operation",
    "round",
    "sample",  # timed window of the round, from 0
    "steps",  # in the window
    "seconds",  # they took
)
CEILING_COLUMNS = (
    "backend",
    "dtype",
    "device",
    "matmul_flop_per_s",  # of a large matrix product
    "copy_byte_per_s",  # of a large copy, read and written
    "n",  # samples
)
CELL_COLUMNS = (
    *_CELL,
    "kernel_ran",
    "state",  # as of a run, and unavailable
    "reason",  # why there is no figure
    "samples_per_s",  # median over the samples of all rounds
    "p10_samples_per_s",
    "p90_samples_per_s",
    "step_ms",  # milliseconds per step, median
    "n",  # samples
    "rounds",  # measured
    "steps",  # timed in all
    "compile_s",  # median over the rounds
    "first_call_s",
    "baseline",  # kernel of the same backend that speedup is over
    "speedup",  # ratio of the median rates
    "speedup_low",  # 95 % interval, rounds resampled
    "speedup_high",  # its upper end
    "error",  # largest of the rounds
    "tolerance",
    "flop_per_sample",  # by formula, see kernels/roofline.py
    "bytes_per_sample",  # least that must cross to memory, by formula
    "flop_per_s",  # the two above at the measured speed
    "roofline_flop_per_s",  # what the machine's ceilings allow at that many bytes per operation
    "roofline_fraction",  # flop_per_s over that
    "peak_memory_mib",  # largest of the rounds
    "energy_j_per_million",
    "marks",
    "device",
    "device_share",
    "evidence",
    "lengths",  # as in runs.csv
)


PREDICTED_COLUMNS = (
    "backend",
    "layer",  # lstm, gru, simple_rnn; family: one of conf/model/, as it stands there
    "option",  # what the network has beside the defaults; of a family its name
    "operation",  # training: one whole step; inference
    "predicted",  # on an NVIDIA GPU: cudnn, loop, unrolled, scan, cannot say
    "layers",  # recurrent, in the network; a bidirectional one is one
    "cudnn_layers",  # of them, those that run cuDNN
    "by",  # program: read from the very program; rule, not program: torch, by Keras's rules
    "evidence",  # line of the program, or the rule
    "reason",  # why nothing can be said
    "keras",  # version
    "version",  # of the backend
)

LAUNCH_COLUMNS = (
    "cell",
    *("layer", "units", "layers", "timesteps", "features", "batch", "dtype"),
    "kernel",  # of JAX
    "gpu",  # compiled for: H200, H100, A100
    "state",  # counted; not_known: see reason
    "launches",  # of one training step: the next four; loops times their turns
    "fusions",  # kernels of XLA's own
    "library_calls",  # each one kernel or several
    "copies",  # on the device
    "other",
    "loops",  # turns x launches of each outermost loop
    "temporary_bytes",  # beside arguments and results
    "bound_us",  # microseconds that no step goes below: the roofline; no forecast of a time
    "bound_by",  # products or memory
    "compile_s",  # on the CPU of environment.json
    "reason",  # why there is no count, or why it is too low
    "keras",  # version
    "jaxlib",
    "compiler",  # version of jax-cuda13-pjrt
)

FILES = {
    "trials.csv": TRIAL_COLUMNS,
    "replicates.csv": REPLICATE_COLUMNS,
    "history.csv": HISTORY_COLUMNS,
    "kernels.csv": KERNEL_COLUMNS,
    "predictions.csv": PREDICTION_COLUMNS,
    "worst.csv": WORST_COLUMNS,
    "controls.csv": CONTROL_COLUMNS,
}
BENCHMARK_FILES = {
    "runs.csv": RUN_COLUMNS,
    "samples.csv": SAMPLE_COLUMNS,
    "ceilings.csv": CEILING_COLUMNS,
    "cells.csv": CELL_COLUMNS,
}
# Columns that hold words; those of `config_<path>` hold what was searched, all others numbers.
TEXT = (
    *("state", "reason", "kernel_ran", "backend", "device", "device_share", "kernel", "evidence", "kind", "values"),
    *("cell", "layer", "lengths", "dtype", "operation", "baseline", "marks", "commit", "weights_sha256"),
    *("control", "chosen", "notes", "series"),
    *_TIMES,
)
# What `publish` copies and `report` reads: everything else in the folder is the sweep's own business.
RECORDS = ("config.yaml", "environment.json", *FILES)


def sweeps_dir() -> Path:
    """`sweeps/` below the working directory."""
    return Path.cwd() / "sweeps"


def study_dir(name: str) -> Path:
    """Working folder of study `name`."""
    return sweeps_dir() / name


def pack_size(share: str) -> int:
    """Of a row's `device_share`: how many trainings its seconds are those of."""
    return int(share.removeprefix("packed ")) if re.fullmatch(r"packed [1-9]\d*", share) else 1


def further(task: Task, file: str = "replicates.csv") -> tuple[str, ...]:
    """Columns that the metrics of a task have in a file beside the fixed ones."""
    if file == "predictions.csv":
        return FORECAST_COLUMNS if task.labels.ahead else ()
    if file not in ("trials.csv", "replicates.csv", "history.csv", "controls.csv"):
        return ()
    tested = file in ("replicates.csv", "controls.csv")
    own = (column for column in task.columns if tested or not column.startswith("test_"))
    return tuple(column for column in own if column not in FILES[file])


@functools.cache
def optional_columns() -> tuple[str, ...]:
    """`OPTIONAL_COLUMNS`, and what the metrics of all tasks have beside the fixed columns."""
    from lstm_bench.data.task import tasks  # numpy, which the UI does without

    return tuple(dict.fromkeys((*OPTIONAL_COLUMNS, *(name for task in tasks().values() for name in further(task)))))


def evidence_columns(file: str, rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Columns of `predictions.csv` or `worst.csv` for those rows."""
    rows = list(rows)
    return (*FILES[file], *(column for column in FORECAST_COLUMNS if any(row.get(column) is not None for row in rows)))


def optional(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Those of `optional_columns` that any of the rows has."""
    rows = list(rows)
    return tuple(column for column in optional_columns() if any(row.get(column) is not None for row in rows))
