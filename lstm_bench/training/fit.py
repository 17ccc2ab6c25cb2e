"""Training one configuration, or several in one program: epochs of timed steps, validation after each epoch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstm_bench.core.clock import Phases, clock, samples_per_s
from lstm_bench.core.errors import KernelError
from lstm_bench.data.dataset import Dataset
from lstm_bench.training.engine import factory as engines
from lstm_bench.training.engine import pack as packed
from lstm_bench.training.optimizer import rates

# Between two reports within an epoch. One costs 30 us of the worker: nothing that a training would notice, and the first
# epoch, of which no seconds are known yet, moves too, where an interpolation would have to guess.
PROGRESS_S = 0.5


class NotFiniteError(Exception):
    """The loss became NaN or infinite."""


@dataclass
class Best:
    """The epoch whose weights count: with `train.patience` the best so far, of equals the earlier one; else the last.

    Attributes:
      epoch: From 1; 0 before the first.
      score: The objective on validation data.
      outputs: On validation data.
      weights: What the engine keeps of it; None without patience.
    """

    epoch: int = 0
    score: float = math.nan
    outputs: np.ndarray | None = None
    weights: list[np.ndarray] | None = None

    def take(self, config: Mapping[str, Any], epoch: Mapping[str, Any], outputs: np.ndarray) -> bool:
        """Whether an epoch takes the place of the one before; its number, score and outputs are then here."""
        if config["train"].get("patience") is not None:
            score, maximize = epoch[config["study"]["objective"]], config["study"]["direction"] == "maximize"
            if self.epoch and not (score > self.score if maximize else score < self.score):
                return False
            self.score = score
        self.epoch, self.outputs = epoch["epoch"], outputs
        return True

    def is_past(self, config: Mapping[str, Any], number: int) -> bool:
        """Whether training ends after epoch `number`, because `train.patience` epochs brought nothing better."""
        patience = config["train"].get("patience")
        return patience is not None and number - self.epoch >= patience


@dataclass
class Trained:
    """A trained engine with what was measured on the way."""

    engine: engines.Engine
    epochs: list[dict[str, Any]]
    measured: dict[str, Any]
    stopped: bool


@dataclass
class Member:
    """One training of a pack: what was measured of it, and why it failed where it did."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    best: Best = field(default_factory=Best)
    over: bool = False  # after `train.epochs`, or by its patience
    seconds: float = 0.0  # of training steps, until then


def weights_digest(model: Any) -> str:
    """SHA-256 of a Keras model's weights, in their order: equal where every bit is."""
    total = hashlib.sha256()
    for weight in model.get_weights():
        total.update(np.ascontiguousarray(weight).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def require_ran(kernel: str, engine: engines.Engine | packed.Pack) -> None:
    """Raises KernelError when the evidence shows another kernel than the one asked for."""
    if engine.kernel_ran not in (kernel, "none"):
        raise KernelError(
            f"kernel={kernel} was asked for and {engine.kernel_ran} ran ({engine.evidence})",
            remedy="Name another kernel, or kernel=auto.",
        )


def train(
    engine: engines.Engine,
    config: Mapping[str, Any],
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

    An epoch is a fresh permutation of the training split, cut to whole batches: the few samples left over differ from
    epoch to epoch.

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
    import keras

    with phases("compile_s"):
        engine.warm_up()
    require_ran(kernel, engine)
    keras.utils.set_random_seed(seed)  # whatever was drawn on the way here: a kept engine goes on as a fresh one does
    batch_size, n_steps = _epoch_size(config, data)
    order = np.random.default_rng(seed)
    rate = rates(config["train"], config["train"]["epochs"] * n_steps)
    history: list[dict[str, Any]] = []
    n_weights = int(engine.model.count_params())
    samples, seconds, aims, best, over = 0, 0.0, _aims(config), Best(), False
    told = _Told(progress)
    while not over:
        rows = _epoch_rows(order, data, n_steps, batch_size)
        losses, correct, penalty, epoch_s, done = 0.0, 0, 0.0, 0.0, 0
        while done < n_steps and not stopped():
            part = rows[done : done + engines.MAX_STEPS]
            now = len(history) * n_steps + done
            with phases("train_s"):
                since = clock()
                totals = engine.steps(part, rate[now : now + len(part)])
                epoch_s += clock() - since
            if not math.isfinite(totals.loss):
                raise NotFiniteError(f"loss {totals.loss} in epoch {len(history) + 1}")
            if not math.isfinite(totals.penalty):
                raise NotFiniteError(f"penalty {totals.penalty} in epoch {len(history) + 1}")
            losses, correct, done = losses + totals.loss, correct + totals.correct, done + len(part)
            penalty += totals.penalty
            told(len(history) + done / n_steps)
        samples, seconds = samples + done * batch_size, seconds + epoch_s
        if done < n_steps:
            break
        with phases("eval_s"):
            outputs = engine.logits(data.x_validation)
            validation = data.kind.score(outputs, data.y_validation, "val", late=aims)
        if not math.isfinite(validation["val_loss"]):
            raise NotFiniteError(f"validation loss {validation['val_loss']} in epoch {len(history) + 1}")
        running = _running(data, losses, correct, n_steps, batch_size, penalty if engine.penalised else None)
        known = {"n_weights": n_weights, "train_samples_per_s": samples_per_s(samples, seconds)}  # may be objectives
        history.append({"epoch": len(history) + 1, **running, **validation, "train_s": epoch_s, **known})
        if best.take(config, history[-1], outputs) and config["train"].get("patience") is not None:
            with phases("eval_s"):
                best.weights = engine.weights()
        over = _is_over(config, best, history[-1])
        report(history[-1])
    if over and best.weights is not None:
        engine.restore(best.weights)
    measured = _measured(config, engine, history, samples_per_s(samples, seconds), best if over else None)
    if best.outputs is not None and over:
        with phases("eval_s"):
            measured |= data.kind.score(best.outputs, data.y_validation, "val")
    return Trained(engine, history, measured, not over)


def train_pack(
    pack: packed.Pack,
    config: Mapping[str, Any],
    data: Dataset,
    *,
    seeds: Sequence[int],
    phases: Phases,
    report: Callable[[dict[str, Any]], None],
    stopped: Callable[[], bool] = lambda: False,
    trains: Sequence[Mapping[str, Any]] = (),
    progress: Callable[[float], None] = lambda epochs: None,
) -> list[Member]:
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
    with phases("compile_s"):
        pack.warm_up()
    require_ran(packed.KERNEL, pack)
    batch_size, n_steps = _epoch_size(config, data)
    orders = [np.random.default_rng(seed) for seed in seeds]
    n_epochs = config["train"]["epochs"]
    rate = np.stack([rates(each, n_epochs * n_steps) for each in trains or [config["train"]] * len(seeds)], axis=1)
    n_weights = int(pack.model.count_params())
    members = [Member() for _ in seeds]
    seconds, aims = 0.0, _aims(config)
    told = _Told(progress)

    def going() -> list[int]:
        return [at for at, member in enumerate(members) if member.error is None and not member.over]

    def require_finite(values: Mapping[int, float], what: str) -> None:
        for at, value in values.items():
            if not math.isfinite(value):
                members[at].error = f"{what} {value} in epoch {number}"

    for number in range(1, n_epochs + 1):
        here = going()
        rows = np.stack([_epoch_rows(order, data, n_steps, batch_size) for order in orders], axis=1)
        losses, penalty, epoch_s, done = np.zeros(len(seeds)), np.zeros(len(seeds)), 0.0, 0
        correct = np.zeros(len(seeds), np.int64)
        while done < n_steps and not stopped():
            part = rows[done : done + engines.MAX_STEPS]
            now = (number - 1) * n_steps + done
            with phases("train_s"):
                since = clock()
                totals = pack.steps(part, rate[now : now + len(part)])
                epoch_s += clock() - since
            losses, correct, done = losses + totals.loss, correct + totals.correct, done + len(part)
            penalty += totals.penalty
            require_finite({at: float(totals.loss[at]) for at in going()}, "loss")
            require_finite({at: float(totals.penalty[at]) for at in going()}, "penalty")
            told(number - 1 + done / n_steps)
        if done < n_steps:
            break
        seconds += epoch_s
        with phases("eval_s"):
            logits = pack.logits(data.x_validation)
            validation = {at: data.kind.score(logits[at], data.y_validation, "val", late=aims) for at in going()}
        require_finite({at: found["val_loss"] for at, found in validation.items()}, "validation loss")
        for at in going():
            added = float(penalty[at]) if pack.penalised else None
            running = _running(data, float(losses[at]), int(correct[at]), n_steps, batch_size, added)
            known = {"n_weights": n_weights}  # may be an objective
            members[at].epochs.append({"epoch": number, **running, **validation[at], "train_s": epoch_s, **known})
            members[at].seconds = seconds
        better = [at for at in going() if members[at].best.take(config, members[at].epochs[-1], logits[at])]
        if config["train"].get("patience") is not None:
            with phases("eval_s"):
                pack.keep(better)
        each = [member.epochs[-1] if at in here and not member.error else None for at, member in enumerate(members)]
        ended = [epoch for epoch in each if epoch]
        if not ended:
            break
        for at in going():
            members[at].over = _is_over(config, members[at].best, members[at].epochs[-1])
        names = [name for name in ended[0] if name not in ("epoch", "train_s", "n_weights", "ended")]
        means = {name: float(np.mean([epoch[name] for epoch in ended])) for name in names}
        report({"epoch": number, **means, "train_s": epoch_s, "each": each})
        if not going():
            break
    if config["train"].get("patience") is not None:
        pack.restore()
    for member in members:
        if member.error is not None:
            continue
        throughput = samples_per_s(len(member.epochs) * n_steps * batch_size, member.seconds)
        best = member.best if member.over else None
        member.measured = {**_measured(config, pack, member.epochs, throughput, best), "pack": len(seeds)}
        if member.over and member.best.outputs is not None:
            with phases("eval_s"):
                member.measured |= data.kind.score(member.best.outputs, data.y_validation, "val")
    return members


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


def _is_over(config: Mapping[str, Any], best: Best, epoch: dict[str, Any]) -> bool:
    """Whether this is the last epoch. One that patience makes the last says so, for a pruner comes too late then: `ended`."""
    past = best.is_past(config, epoch["epoch"])
    if past:
        epoch["ended"] = True
    return past or epoch["epoch"] == config["train"]["epochs"]


def _aims(config: Mapping[str, Any]) -> Collection[str]:
    """Columns that the search goes by after each epoch."""
    study = config.get("study", {})
    return study.get("objectives") or [study.get("objective")]


def _running(
    data: Dataset, losses: float, correct: int, n_steps: int, batch_size: int, penalty: float | None
) -> dict[str, float]:
    """The running means of an epoch's training steps, from their sums; without a penalty where the model adds none."""
    means = {"train_loss": losses / n_steps}
    if penalty is not None:
        means["penalty"] = penalty / n_steps
    if data.kind.counted is not None:
        labels = n_steps * batch_size * math.prod(data.y_train.shape[1:])
        means[f"train_{data.kind.counted}"] = correct / labels
    return means


def _epoch_size(config: Mapping[str, Any], data: Dataset) -> tuple[int, int]:
    """Samples of a batch, and whole batches of an epoch."""
    batch_size = min(config["train"]["batch_size"], len(data.x_train))
    return batch_size, len(data.x_train) // batch_size


def _epoch_rows(order: np.random.Generator, data: Dataset, n_steps: int, batch_size: int) -> np.ndarray:
    """The next epoch's samples in their order (steps, batch)."""
    return order.permutation(len(data.x_train))[: n_steps * batch_size].reshape(n_steps, batch_size)


def _measured(
    config: Mapping[str, Any],
    engine: engines.Engine | packed.Pack,
    history: Sequence[Mapping[str, float]],
    throughput: float | None,
    best: Best | None,
) -> dict[str, Any]:
    """What a training yields, as a part of its result: of its best epoch, where it has come to its end, else of its last."""
    last = history[(best.epoch if best else 0) - 1] if history else {}
    by_patience = best is not None and config["train"].get("patience") is not None
    return {
        **{name: value for name, value in last.items() if name not in ("epoch", "train_s", "ended")},
        **({"best_epoch": best.epoch} if best and by_patience else {}),
        "epochs": len(history),
        "n_weights": int(engine.model.count_params()),
        "n_trainable": int(sum(math.prod(v.shape) for v in engine.model.trainable_variables)),
        "train_samples_per_s": throughput,
        "kernel_ran": engine.kernel_ran,
        "steps_per_execution": engine.steps_per_execution,
        "backend": config["backend"]["name"],
    }
