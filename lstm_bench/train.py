"""Training one configuration: build, compile, epochs of timed steps, validation after each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_bench import engine as engines
from lstm_bench import family
from lstm_bench.data import Dataset
from lstm_bench.errors import KernelError
from lstm_bench.timing import Phases, clock, samples_per_s

# Steps between two looks at whether to stop: a tenth of a second for a small LSTM, a second for a large one on one core.
STEPS_PER_CALL = 50


class NotFiniteError(Exception):
    """The loss became NaN or infinite."""


@dataclass
class Trained:
    """A trained model with what was measured on the way."""

    engine: engines.Engine
    model: Any
    epochs: list[dict[str, float]]
    measured: dict[str, Any]
    stopped: bool


def optimizer(train: Mapping[str, Any], steps: int) -> Any:
    """Keras optimizer with its learning-rate schedule.

    Args:
      train: Group `train`.
      steps: Optimiser updates of the whole training, which is what cosine decays over.
    """
    import keras

    rate: Any = train["learning_rate"]
    if train["schedule"] == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=max(1, steps))
    elif train["schedule"] == "inverse_time":
        rate = keras.optimizers.schedules.InverseTimeDecay(rate, decay_steps=1, decay_rate=train["decay"])
    make = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "nadam": keras.optimizers.Nadam,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }[train["optimizer"]]
    momentum = {"momentum": train["momentum"]} if train["optimizer"] in ("sgd", "rmsprop") else {}
    return make(learning_rate=rate, **momentum)


def prepare(config: Mapping[str, Any], data: Dataset, kernel: str, seed: int) -> tuple[engines.Engine, Any]:
    """Model and engine of a configuration, not compiled yet.

    Args:
      config: Resolved configuration.
      data: Dataset; the training split is made resident.
      kernel: A kernel other than "auto".
      seed: Of the initial weights and of dropout.
    """
    import keras

    keras.utils.set_random_seed(seed)
    settings = config["train"]
    model, lengths = family.build(config["model"], data.input_shape, data.n_classes, kernel)
    batch_size = min(settings["batch_size"], len(data.x_train))
    steps = settings["epochs"] * (len(data.x_train) // batch_size)
    engine = engines.make(
        config["backend"]["name"],
        model,
        optimizer(settings, steps),
        data.x_train,
        data.y_train,
        batch_size=batch_size,
        evaluation_batch_size=min(settings["evaluation_batch_size"], len(data.x_validation)),
        kernel=kernel,
        lengths=lengths,
    )
    return engine, model


def require_ran(kernel: str, engine: engines.Engine) -> None:
    """Raises KernelError when the evidence shows another kernel than the one asked for."""
    if engine.kernel_ran not in (kernel, "none"):
        raise KernelError(
            f"kernel={kernel} was asked for and {engine.kernel_ran} ran ({engine.evidence})",
            remedy="Name another kernel, or kernel=auto.",
        )


def score(engine: engines.Engine, x: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Mean cross-entropy (nats), accuracy (fraction) and class probabilities (samples, n_classes), in float64."""
    logits = engine.logits(x).astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -log_probability[np.arange(len(y)), y].mean()
    return float(loss), float((logits.argmax(axis=1) == y).mean()), np.exp(log_probability)


def train(
    config: Mapping[str, Any],
    data: Dataset,
    *,
    kernel: str,
    seed: int,
    phases: Phases,
    report: Callable[[dict[str, float]], None],
    stopped: Callable[[], bool],
) -> Trained:
    """Trains `train.epochs` epochs; validates after each.

    An epoch is a fresh permutation of the training split, cut to whole batches: the few samples left over differ from
    epoch to epoch.

    Args:
      config: Resolved configuration.
      data: Dataset.
      kernel: A kernel other than "auto".
      seed: Of weights, dropout and order.
      phases: Stopwatch of the trial.
      report: Receives the metrics of each epoch.
      stopped: Asked between calls of `STEPS_PER_CALL` steps; what was trained and measured until then is returned.

    Raises:
      NotFiniteError: when a loss is NaN or infinite.
      KernelError: when another kernel ran than was asked for.
    """
    engine, model = prepare(config, data, kernel, seed)
    with phases("compile_s"):
        engine.warm_up()
    require_ran(kernel, engine)
    batch_size = min(config["train"]["batch_size"], len(data.x_train))
    n_steps = len(data.x_train) // batch_size
    order = np.random.default_rng(seed)
    history: list[dict[str, float]] = []
    samples, seconds = 0, 0.0
    while len(history) < config["train"]["epochs"]:
        rows = order.permutation(len(data.x_train))[: n_steps * batch_size].reshape(n_steps, batch_size)
        losses, correct, epoch_s, done = 0.0, 0, 0.0, 0
        while done < n_steps and not stopped():
            part = rows[done : done + STEPS_PER_CALL]
            with phases("train_s"):
                since = clock()
                loss, right = engine.steps(part)
                epoch_s += clock() - since
            if not math.isfinite(loss):
                raise NotFiniteError(f"loss {loss} in epoch {len(history) + 1}")
            losses, correct, done = losses + loss, correct + right, done + len(part)
        samples, seconds = samples + done * batch_size, seconds + epoch_s
        if done < n_steps:
            break
        with phases("eval_s"):
            val_loss, val_accuracy, _ = score(engine, data.x_validation, data.y_validation)
        if not math.isfinite(val_loss):
            raise NotFiniteError(f"validation loss {val_loss} in epoch {len(history) + 1}")
        history.append(
            {
                "epoch": len(history) + 1,
                "train_loss": losses / n_steps,
                "train_accuracy": correct / rows.size,
                "val_loss": val_loss,
                "val_accuracy": val_accuracy,
                "train_s": epoch_s,
            }
        )
        report(history[-1])
    last = history[-1] if history else {}
    measured = {
        **{name: last.get(name) for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")},
        "epochs": len(history),
        "n_weights": int(model.count_params()),
        "n_trainable": int(sum(math.prod(v.shape) for v in model.trainable_variables)),
        "train_samples_per_s": samples_per_s(samples, seconds),
        "kernel_ran": engine.kernel_ran,
        "backend": config["backend"]["name"],
    }
    return Trained(engine, model, history, measured, len(history) < config["train"]["epochs"])
