"""Training one configuration, or several in one program: epochs of timed steps, validation after each epoch.

One loop trains the members of a pack; a training of its own is a pack of one.
"""

from __future__ import annotations

import hashlib
import math
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstm_bench.core import schema
from lstm_bench.core.clock import Phases, clock, samples_per_s
from lstm_bench.core.errors import KernelError
from lstm_bench.data.dataset import Dataset
from lstm_bench.data.objective import settled_objective
from lstm_bench.training.batches import Batches
from lstm_bench.training.engine.base import Engine
from lstm_bench.training.engine.pack import KERNEL, Pack
from lstm_bench.training.engine.solo import Solo
from lstm_bench.training.optimizer import Rates

# Between two reports within an epoch. One costs 30 us of the worker: nothing that a training would notice, and the first
# epoch, of which no seconds are known yet, moves too, where an interpolation would have to guess.
PROGRESS_S = 0.5

Trainee = Pack | Solo  # what the loop trains


class NotFiniteError(Exception):
    """The loss became NaN or infinite."""


@dataclass
class Best:
    """The epoch whose weights count: with `train.patience` the best so far; else the last.

    Of equal objectives the lower validation loss is the better one, and of equals in that too the earlier epoch: an accuracy on
    thirty sequences is soon 1, long before a network is trained.

    Attributes:
      epoch: From 1; 0 before the first.
      score: The objective on validation data.
      loss: On validation data.
      outputs: On validation data.
    """

    epoch: int = 0
    score: float = math.nan
    loss: float = math.nan
    outputs: np.ndarray | None = None

    def take(self, config: schema.Sweep, epoch: Mapping[str, Any], outputs: np.ndarray) -> bool:
        """Whether an epoch takes the place of the one before; its number, score and outputs are then here."""
        if config["train"].get("patience") is not None:
            score, loss = epoch[settled_objective(config["study"])], epoch["val_loss"]
            better = score > self.score if config["study"]["direction"] == "maximize" else score < self.score
            if self.epoch and not better and not (score == self.score and loss < self.loss):
                return False
            self.score, self.loss = score, loss
        self.epoch, self.outputs = epoch["epoch"], outputs
        return True

    def is_last(self, config: schema.Sweep, epoch: dict[str, Any]) -> bool:
        """Whether training ends after an epoch: with `train.epochs`, or when `train.patience` of them brought nothing better.

        An epoch that patience makes the last says so, `ended`: a pruner comes too late then.
        """
        patience = config["train"].get("patience")
        if patience is not None and epoch["epoch"] - self.epoch >= patience:
            epoch["ended"] = True
            return True
        # Of `dataset.folds`: a training on all of them ends no later than those with validation data were at their best.
        train = typing.cast(schema.TrainTo, config["train"])
        return bool(epoch["epoch"] == train.get("last_epoch", train["epochs"]))


@dataclass
class Trained:
    """One training: what was measured of it, and why it failed where it did.

    Attributes:
      epochs: Metrics of each.
      measured: Its part of a result.
      error: Which number is NaN or infinite, and in which epoch; None where none is.
      best: The epoch whose weights it has.
      over: Whether it has come to its end: after `train.epochs`, or by its patience.
      seconds: Of its training steps.
      samples: That it was trained on in them.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    best: Best = field(default_factory=Best)
    over: bool = False
    seconds: float = 0.0
    samples: int = 0

    @property
    def stopped(self) -> bool:
        """Whether it was ended from outside."""
        return self.error is None and not self.over

    def fails(self, value: float, what: str, epoch: int) -> None:
        """Ends it where a number of its is NaN or infinite."""
        if self.error is None and not math.isfinite(value):
            self.error = f"{what} {float(value)} in epoch {epoch}"


def weights_digest(model: Any) -> str:
    """SHA-256 of a Keras model's weights, in their order: equal where every bit is."""
    total = hashlib.sha256()
    for weight in model.get_weights():
        total.update(np.ascontiguousarray(weight).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def require_ran(kernel: str, engine: Engine | Trainee) -> None:
    """Raises KernelError when the evidence shows another kernel than the one asked for."""
    if engine.kernel_ran not in (kernel, "none"):
        raise KernelError(
            f"kernel={kernel} was asked for and {engine.kernel_ran} ran ({engine.evidence})",
            remedy="Name another kernel, or kernel=auto.",
        )


def train(
    engine: Engine,
    config: schema.Sweep,
    data: Dataset,
    *,
    kernel: str,
    seed: int,
    phases: Phases,
    report: Callable[[dict[str, Any]], None],
    stopped: Callable[[], bool],
    progress: Callable[[float], None] = lambda epochs: None,
) -> Trained:
    """Trains `train.epochs` epochs, or until `train.patience` of them brought nothing better; validates after each.

    With patience the engine has the weights of the best epoch afterwards, unless training was stopped from outside.

    Args:
      engine: Of this configuration, with fresh weights.
      config: Resolved configuration.
      data: Dataset.
      kernel: The one that was asked for.
      seed: Of dropout and order.
      phases: Stopwatch of the trial.
      report: Receives the metrics of each epoch, with the number of weights and the throughput so far.
      stopped: Asked between calls of `engine.MAX_STEPS` steps; what was trained and measured until then is returned.
      progress: Told between such calls, every `PROGRESS_S` at most, how many epochs are done, parts of them too.

    Raises:
      NotFiniteError: when a loss is NaN or infinite.
      KernelError: when another kernel ran than was asked for.
    """
    loop = _EpochLoop(Solo(engine), kernel, config, data, [seed], [config["train"]], phases)
    [trained] = loop.run(lambda each: report(each[0] or {}), stopped, progress)
    if trained.error is not None:
        raise NotFiniteError(trained.error)
    return trained


def train_pack(
    pack: Pack,
    config: schema.Sweep,
    data: Dataset,
    *,
    seeds: Sequence[int],
    phases: Phases,
    report: Callable[[dict[str, Any]], None],
    stopped: Callable[[], bool] = lambda: False,
    trains: Sequence[Mapping[str, Any]] = (),
    progress: Callable[[float], None] = lambda epochs: None,
) -> list[Trained]:
    """Trains every member of a pack as `train` trains it alone: its seed gives the order of its samples.

    A member whose loss is NaN or infinite has failed, and one whose patience has ended is done; the others go on. Seconds are
    the pack's: a member's throughput is its own samples by the seconds of all.

    Args:
      pack: Of this configuration, a member per seed, with fresh weights.
      config: Resolved configuration.
      data: Dataset.
      seeds: Of the members.
      phases: Stopwatch of the pack.
      report: Receives after each epoch the mean metrics of the members that go on, and of `each` member its own, None where
        it has failed or was done before.
      stopped: As of `train`.
      trains: Group `train` of each member, where they differ in what gives the learning rate of a step; none: all of `config`.
      progress: As of `train`.

    Raises:
      KernelError: when another kernel ran than `pack.KERNEL`.
    """

    def ended(each: Sequence[Mapping[str, Any] | None]) -> None:
        epochs = [epoch for epoch in each if epoch]
        names = [name for name in epochs[0] if name not in ("epoch", "train_s", "n_weights", "ended")]
        means = {name: float(np.mean([epoch[name] for epoch in epochs])) for name in names}
        report({"epoch": epochs[0]["epoch"], **means, "train_s": epochs[0]["train_s"], "each": each})

    loop = _EpochLoop(pack, KERNEL, config, data, seeds, trains or [config["train"]] * len(seeds), phases)
    return loop.run(ended, stopped, progress)


class _EpochLoop:
    """Trains the members of a pack, side by side.

    Args:
      trainee: What trains them.
      kernel: The one that was asked for.
      config: Resolved configuration.
      data: Dataset.
      seeds: Of the members.
      trains: Group `train` of each.
      phases: Stopwatch of all.
    """

    def __init__(
        self,
        trainee: Trainee,
        kernel: str,
        config: schema.Sweep,
        data: Dataset,
        seeds: Sequence[int],
        trains: Sequence[Mapping[str, Any]],
        phases: Phases,
    ):
        self._trainee, self._kernel, self._config, self._data, self._phases = trainee, kernel, config, data, phases
        self._seeds, self._patient = seeds, config["train"].get("patience") is not None
        seed = config.get("study", {}).get("seed", 0)
        self._batches = Batches(data, config["train"]["batch_size"], seeds, trainee.buckets, seed)
        self._padding = np.zeros(3)  # timesteps that are padding, all timesteps, seconds of the former
        self._rates = Rates(trains, self._batches.per_epoch)
        self._aims = _aims(config)
        self._members = [Trained() for _ in seeds]

    def run(
        self,
        report: Callable[[list[dict[str, Any] | None]], None],
        stopped: Callable[[], bool],
        progress: Callable[[float], None],
    ) -> list[Trained]:
        """Trains all to their ends.

        Args:
          report: Receives after each epoch the metrics of each member, None where it has failed or was done before.
          stopped: As of `train`.
          progress: As of `train`.
        """
        import keras

        with self._phases("compile_s"):
            self._trainee.warm_up()
        require_ran(self._kernel, self._trainee)
        # Whatever was drawn on the way here: a kept engine goes on as a fresh one does.
        keras.utils.set_random_seed(self._seeds[0])
        told, number = _Told(progress), 0
        while going := self._going():
            number += 1
            running = self._steps(number, stopped, told)
            if running is None:
                break
            self._validate(number, *running)
            ended = {at: self._members[at].epochs[-1] for at in going if self._members[at].error is None}
            if ended:
                report([ended.get(at) for at in range(len(self._members))])
        self._conclude()
        return self._members

    def _going(self) -> list[int]:
        return [at for at, member in enumerate(self._members) if member.stopped]

    def _steps(
        self, number: int, stopped: Callable[[], bool], told: _Told
    ) -> tuple[list[dict[str, float]], float] | None:
        """Trains an epoch.

        Returns:
          The running means of each member, and the seconds of the steps; None when the epoch was not finished: training
          was stopped, or no member is left.
        """
        sums, seconds, done = np.zeros((4, len(self._members))), 0.0, 0
        rates, n_steps = self._rates.epoch(number), self._batches.per_epoch
        for part in self._batches.epoch():
            n = len(part.rows)
            if stopped() or not self._going():
                return None
            with self._phases("train_s"):
                since = clock()
                totals = self._trainee.steps(part.rows, rates[done : done + n], part.timesteps)
                lasted = clock() - since
            sums += np.stack([*totals, self._batches.labels(part)])
            seconds, done = seconds + lasted, done + n
            timesteps = part.rows.size * (part.timesteps or 0)
            self._padding += (part.padding * timesteps, timesteps, part.padding * lasted)
            for at in self._going():
                member = self._members[at]
                member.fails(totals.loss[at], "loss", number)
                member.fails(totals.penalty[at], "penalty", number)
                member.seconds, member.samples = member.seconds + lasted, member.samples + n * self._batches.size
            told(number - 1 + done / n_steps)
        return ([self._running(*own) for own in sums.T], seconds) if self._going() else None

    def _running(self, loss: float, correct: float, penalty: float, labels: float) -> dict[str, float]:
        """The running means of an epoch's training steps, from their sums; without a penalty where the model adds none."""
        n_steps = self._batches.per_epoch
        means = {"train_loss": float(loss) / n_steps}
        if self._trainee.penalised:
            means["penalty"] = float(penalty) / n_steps
        if self._data.kind.counted is not None:
            means[f"train_{self._data.kind.counted}"] = int(correct) / int(labels)
        return means

    def _validate(self, number: int, running: Sequence[Mapping[str, float]], train_s: float) -> None:
        """Scores the epoch of every member that goes on, keeps what is the best of it, and ends those whose last it is."""
        with self._phases("eval_s"):
            outputs = self._trainee.logits(self._data.x_validation, self._data.lengths_validation)
            scores = {at: self._score(outputs[at], self._aims) for at in self._going()}
        n_weights, better = int(self._trainee.model.count_params()), []
        for at, score in scores.items():
            member = self._members[at]
            member.fails(score["val_loss"], "validation loss", number)
            if member.error is not None:
                continue
            known: dict[str, float | None] = {"n_weights": n_weights}  # may be objectives
            if len(self._members) == 1:
                known["train_samples_per_s"] = samples_per_s(member.samples, member.seconds)
            member.epochs.append({"epoch": number, **running[at], **score, "train_s": train_s, **known})
            self._rates.heed(at, member.epochs[-1], self._config.get("study", {}))
            if member.best.take(self._config, member.epochs[-1], outputs[at]):
                better.append(at)
            member.over = member.best.is_last(self._config, member.epochs[-1])
        if better and self._patient:
            with self._phases("eval_s"):
                self._trainee.keep(better)

    def _score(self, outputs: np.ndarray, late: Collection[str] | None = None) -> dict[str, Any]:
        mask = self._data.label_mask("validation")
        return self._data.kind.score(outputs, self._data.y_validation, "val", mask=mask, late=late)

    def _conclude(self) -> None:
        """Gives the members that are over the weights that count, and every one that has not failed what was measured."""
        if any(member.over for member in self._members):
            self._trainee.restore()
        for member in self._members:
            if member.error is not None:
                continue
            member.measured = _measured(self._config, self._trainee, member)
            if self._data.tokens is not None:
                member.measured["n_embedding"] = self._data.input_shape[1] * self._config["model"]["embedding"]
            if self._padding[1]:
                share, seconds = float(self._padding[0] / self._padding[1]), float(self._padding[2])
                member.measured |= {"padding_share": share, "padding_s": seconds}
            if len(self._members) > 1:
                member.measured["pack"] = len(self._members)
            if member.over and member.best.outputs is not None:
                with self._phases("eval_s"):
                    member.measured |= self._score(member.best.outputs)


class _Told:
    """Says how far a training is, and not more often than a person can see.

    Args:
      say: Takes the epochs done, parts of them too.
    """

    def __init__(self, say: Callable[[float], None]):
        self._say, self._at = say, -math.inf

    def __call__(self, epochs: float) -> None:
        if (now := clock()) >= self._at:
            self._say(epochs)
            self._at = now + PROGRESS_S


def _aims(config: schema.Sweep) -> Collection[str]:
    """Columns that the search goes by after each epoch."""
    study: Mapping[str, Any] = config.get("study", {})  # a benchmark has none
    return study.get("objectives") or [study.get("objective")]


def _measured(config: schema.Sweep, trainee: Trainee, trained: Trained) -> dict[str, Any]:
    """What a training yields, as a part of its result: of its best epoch, where it has come to its end, else of its last."""
    history, best = trained.epochs, trained.best if trained.over else None
    last = history[(best.epoch if best else 0) - 1] if history else {}
    by_patience = best is not None and config["train"].get("patience") is not None
    return {
        **{name: value for name, value in last.items() if name not in ("epoch", "train_s", "ended", "learning_rate")},
        **({"best_epoch": best.epoch} if best and by_patience else {}),
        "epochs": len(history),
        "n_weights": int(trainee.model.count_params()),
        "n_trainable": int(sum(math.prod(v.shape) for v in trainee.model.trainable_variables)),
        "train_samples_per_s": samples_per_s(trained.samples, trained.seconds),
        "kernel_ran": trainee.kernel_ran,
        "steps_per_execution": trainee.steps_per_execution,
        "backend": config["backend"]["name"],
    }
