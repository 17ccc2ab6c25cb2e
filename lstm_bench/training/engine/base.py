"""What an engine is, and what the engines of all backends share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from lstm_bench.training.criteria import Criterion
from lstm_bench.training.timer import Arm

# Steps in one call of a compiled program that holds a loop. It is also how often a training looks whether to stop: a tenth
# of a second for a small LSTM on one core, a second for a large one.
MAX_STEPS = 50


class Totals(NamedTuple):
    """Sums over training steps; of a pack, arrays (members,).

    Attributes:
      loss: The data's mean loss of each step, without the penalty.
      correct: Labels that were predicted right; 0 where there are none.
      penalty: What the model itself adds to the loss that is minimised, see `penalty`.
    """

    loss: Any
    correct: Any
    penalty: Any


class Engine(Arm, Protocol):
    """A Keras model, its optimizer and its data on one device."""

    model: Any
    steps_per_execution: int
    penalised: bool  # whether the model has losses of its own; known once training is compiled

    @property
    def kernel_ran(self) -> str:
        """Kernel that trains."""

    @property
    def evidence(self) -> str:
        """What says so."""

    def warm_up(self) -> None:
        """Compiles training and evaluation, unless that was done, and runs each once; weights and optimizer stay untouched."""

    def reset(self, model: Any) -> None:
        """Takes over the weights and random state of a fresh model of the same network; the optimizer begins anew."""

    def steps(self, indices: np.ndarray, rates: np.ndarray) -> Totals:
        """Trains one step per row of `indices` (steps, batch) at the learning rates `rates` (steps,)."""

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Inference: `(samples, timesteps, features)` -> the model's outputs: logits `(samples, n_classes)`, say; float32."""

    def weights(self) -> list[np.ndarray]:
        """A copy of the model's weights and random state, as `restore` takes it."""

    def restore(self, weights: list[np.ndarray]) -> None:
        """Puts back what `weights` gave; the optimizer is left as it is, so that no training goes on from there."""

    def sync_model(self) -> None:
        """Writes the trained values back into the Keras model, for saving."""


def penalty(losses: Iterable[Any]) -> Any:
    """The sum of a model's own losses, `model.losses` after a call: regularisers of weights and outputs, and `add_loss`.

    Keras's `compute_loss` adds them to the data's loss in the same way; it has divided those of an activity regulariser by
    the batch size before. 0.0 where there are none.
    """
    from keras import ops

    return sum((ops.sum(loss) for loss in losses), 0.0)


_resident: dict[str, Any] = {}


def to_device(x: np.ndarray, y: np.ndarray, place: Callable[[np.ndarray], Any]) -> tuple[Any, Any]:
    """Training data on the device, placed there once for all trials of a worker: only the last dataset is kept."""
    if _resident.get("x") is not x:
        _resident.clear()
        _resident.update(x=x, placed=(place(x), place(y)))
    return _resident["placed"]


def padded(x: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Batches of `size` samples, the last one filled up with zeros, and how many samples of each are `x`'s."""
    for start in range(0, len(x), size):
        batch = x[start : start + size]
        yield np.concatenate([batch, np.zeros((size - len(batch), *x.shape[1:]), x.dtype)]), len(batch)


class Base(ABC):
    """What is the same on every backend.

    Args:
      model: Keras model, built.
      optimizer: Keras optimizer with a plain learning rate.
      x: Training inputs (samples, timesteps, features).
      y: Labels (samples,) or (samples, timesteps), or what else `criterion` takes.
      batch_size: Samples per step.
      evaluation_batch_size: Samples per call of `logits`.
      kernel: Asked for.
      lengths: Of the sequences that the recurrent layers run over, one per layer.
      criterion: See `engine.make`.
      steps_per_execution: See `engine.make`.
    """

    x: Any
    y: Any

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int,
        evaluation_batch_size: int,
        kernel: str,
        lengths: Sequence[int],
        criterion: Criterion,
        steps_per_execution: int,
    ):
        self.model, self.optimizer, self.criterion = model, optimizer, criterion
        self.batch_size, self.evaluation_batch_size = batch_size, evaluation_batch_size
        self.kernel, self.recurrent, self.timesteps = kernel, len(lengths), min(lengths, default=0)
        self.steps_per_execution = steps_per_execution
        self._proofs: dict[str, tuple[str, str]] = {}
        self._warm = self.penalised = False
        optimizer.build(model.trainable_variables)
        self.rate = float(optimizer.learning_rate)  # of what is timed rather than trained
        self.slots = [np.array(variable) for variable in optimizer.variables]  # as they are at the start
        self._load(x, y)

    @abstractmethod
    def _load(self, x: np.ndarray, y: np.ndarray) -> None: ...

    @abstractmethod
    def _forward(self, batch: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def compile(self, operation: str) -> None: ...

    @abstractmethod
    def _run(self, operation: str, rows: np.ndarray, rates: np.ndarray) -> tuple[Totals, int]: ...

    @abstractmethod
    def values(self, operation: str) -> list[np.ndarray]: ...

    @abstractmethod
    def _kernel_evidence(self, operation: str) -> tuple[str, str]: ...

    def run(self, operation: str, rows: np.ndarray) -> int:
        return self._run(operation, rows, np.full(len(rows), self.rate, np.float32))[1]

    def steps(self, indices: np.ndarray, rates: np.ndarray) -> Totals:
        return self._run("train_step", indices, rates)[0]

    def kernel_evidence(self, operation: str) -> tuple[str, str]:
        if operation not in self._proofs:
            self._proofs[operation] = self._kernel_evidence(operation)
        return self._proofs[operation]

    def warm_up(self) -> None:
        if self._warm:
            return
        self.compile("train_step")
        self.values("train_step")
        # A recurrent layer with dropout draws its masks at inference too, and its random state goes on.
        before = [(variable, np.array(variable)) for variable in self.model.non_trainable_variables]
        self._forward(np.zeros((self.evaluation_batch_size, *self.x.shape[1:]), np.float32))
        for variable, value in before:
            variable.assign(value)
        self._warm = True

    def reset(self, model: Any) -> None:
        for variable, fresh in zip(self.model.variables, model.variables, strict=True):
            variable.assign(fresh.value)
        for variable, start in zip(self.optimizer.variables, self.slots, strict=True):
            variable.assign(start)

    def weights(self) -> list[np.ndarray]:
        return [np.array(variable) for variable in self.model.variables]

    def restore(self, weights: list[np.ndarray]) -> None:
        for variable, value in zip(self.model.variables, weights, strict=True):
            variable.assign(value)

    def sync_model(self) -> None:  # noqa: B027 (no abstract method: most backends have nothing to do)
        """Nothing to do where a program works on the model's own variables."""

    @property
    def kernel_ran(self) -> str:
        return self.kernel_evidence("train_step")[0]

    @property
    def evidence(self) -> str:
        return self.kernel_evidence("train_step")[1]

    def _state(self) -> list[Any]:
        return [*self.model.variables, *self.optimizer.variables]

    def _first_batch(self) -> np.ndarray:
        return np.arange(self.batch_size, dtype=np.int32)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """See `Engine`. The last batch is padded: one shape, one compiled program; inference is per sample."""
        return np.concatenate([self._forward(batch)[:n] for batch, n in padded(x, self.evaluation_batch_size)])
