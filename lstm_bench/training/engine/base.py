"""What an engine is, and what the engines of all backends share."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from lstm_bench.training.criteria import Criterion
from lstm_bench.training.timer import Program

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


class Engine(Program, Protocol):
    """A Keras model, its optimizer and its data on one device."""

    model: Any
    steps_per_execution: int
    buckets: tuple[
        int | None, ...
    ]  # numbers of timesteps that batches are cut to; (None,) where sequences have one length
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

    def steps(self, indices: np.ndarray, rates: np.ndarray, timesteps: int | None = None) -> Totals:
        """Trains one step per row of `indices` (steps, batch) at the learning rates `rates` (steps,).

        Sequences of unequal length are cut to `timesteps`, one of the engine's `buckets`, which none of them exceeds.
        """

    def logits(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Inference: `(samples, timesteps, features)` -> the model's outputs: logits `(samples, n_classes)`, say; float32.

        With `lengths` (samples,) outputs per timestep are 0 where there is none.
        """

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


def to_device(place: Callable[[np.ndarray], Any], *arrays: np.ndarray | None) -> tuple[Any, ...]:
    """Training data on the device, placed there once for all trials of a worker: only the last dataset is kept."""
    kept = _resident.get("arrays", ())
    if len(kept) != len(arrays) or any(one is not other for one, other in zip(kept, arrays, strict=True)):
        _resident.clear()
        _resident.update(arrays=arrays, placed=tuple(None if array is None else place(array) for array in arrays))
    placed: tuple[Any, ...] = _resident["placed"]
    return placed


def padded(x: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Batches of `size` samples, the last one filled up with `filler`, and how many samples of each are `x`'s."""
    for start in range(0, len(x), size):
        batch = x[start : start + size]
        yield np.concatenate([batch, filler((size - len(batch), *x.shape[1:]), x.dtype)]), len(batch)


def filler(shape: tuple[int, ...], kind: Any) -> np.ndarray:
    """Samples that nobody asked for: zeros; of texts ids of 1, for one of zeros alone has no timestep, which cuDNN refuses."""
    return np.full(shape, int(np.dtype(kind).kind == "i"), kind)


def by_length(
    x: np.ndarray, lengths: np.ndarray, size: int, buckets: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Batches of sequences of about one length: `(size, timesteps, features)`, the lengths in it, which samples they are.

    Each has the fewest timesteps of `buckets` that hold its sequences; the last is filled up with sequences of one timestep.
    """
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(x), size):
        at = order[start : start + size]
        timesteps = next(bucket for bucket in buckets if bucket >= lengths[at[-1]])
        batch, true = filler((size, timesteps, *x.shape[2:]), x.dtype), np.ones(size, np.int32)
        batch[: len(at)], true[: len(at)] = x[at, :timesteps], lengths[at]
        yield batch, true, at


def in_order(batches: Iterable[tuple[Any, np.ndarray]], lengths: np.ndarray, timesteps: int) -> np.ndarray:
    """The outputs of all samples in their order, from those of the batches of `by_length` and which samples they are.

    Args:
      batches: `(..., size, n_outputs)` or `(..., size, timesteps of the batch, n_outputs)`; members, say, stand before.
      lengths: Of all samples.
      timesteps: Of the data, where outputs are per timestep, else 0; an output beyond a sequence's end is 0.
    """
    found: np.ndarray | None = None
    inner = (timesteps,) if timesteps else ()
    for outputs, at in batches:
        some = np.asarray(outputs)
        before = some.shape[: -2 - len(inner)]
        if found is None:
            found = np.zeros((*before, len(lengths), *inner, some.shape[-1]), some.dtype)
        for member in np.ndindex(*before):
            if inner:
                found[member][at, : some.shape[-2]] = some[member][: len(at)]
            else:
                found[member][at] = some[member][: len(at)]
    assert found is not None
    if inner:
        found[..., np.arange(timesteps) >= lengths[:, None], :] = 0
    return found


def cut(inputs: Any, true: Any, timesteps: int) -> tuple[Any, Any]:
    """Sequences cut to `timesteps`, and the mask that Keras is given: where there is a timestep."""
    from keras import ops

    return inputs[:, :timesteps], ops.arange(timesteps, dtype="int32") < true[:, None]


def judged(criterion: Criterion, y: Any, batch: Any, outputs: Any, mask: Any) -> tuple[Any, Any]:
    """A criterion's loss and count. Of outputs per timestep it is given the batch's labels, cut like them, and the mask."""
    from keras import ops

    if mask is None or len(outputs.shape) < 3:
        return criterion(y, batch, outputs)
    labels = ops.take(y, batch, axis=0)[:, : mask.shape[1]]
    return criterion(labels, ops.arange(labels.shape[0], dtype="int32"), outputs, mask)  # type: ignore[call-arg]


class Base(ABC):
    """What is the same on every backend.

    Args:
      model: Keras model, built.
      optimizer: Keras optimizer with a plain learning rate.
      x: Training inputs (samples, timesteps, features), float32; or ids of texts (samples, tokens), int32.
      y: Labels (samples,) or (samples, timesteps), or what else `criterion` takes.
      batch_size: Samples per step.
      evaluation_batch_size: Samples per call of `logits`.
      kernel: Asked for.
      lengths: Of the sequences that the recurrent layers run over, one per layer.
      criterion: See `engine.make`.
      steps_per_execution: See `engine.make`.
      true: Timesteps of each sequence of `x` (samples,), int32; None where all have as many as `x`.
      buckets: With `true`: the numbers of timesteps that batches are cut to, ascending, the last no less than any of `true`.

    Attributes:
      buckets: `(None,)` without `true`.
    """

    x: Any
    y: Any
    true: Any

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
        true: np.ndarray | None = None,
        buckets: Sequence[int] = (),
    ):
        self.model, self.optimizer, self.criterion = model, optimizer, criterion
        self.batch_size, self.evaluation_batch_size = batch_size, evaluation_batch_size
        self.kernel, self.recurrent, self.timesteps = kernel, len(lengths), min(lengths, default=0)
        self.steps_per_execution = steps_per_execution
        self.lengths, self.longest = true, x.shape[1]
        self.kind = np.dtype(np.int32 if x.dtype.kind == "i" else np.float32)  # of what is evaluated
        self.buckets: tuple[int | None, ...] = (None,) if true is None else tuple(buckets)
        if true is not None:  # of the outermost model, which Keras takes for a layer: layers inside it do get the mask
            warnings.filterwarnings("ignore", "Layer .* was passed an input with a mask attached")
        self._proofs: dict[str, tuple[str, str]] = {}
        self._warm = self.penalised = False
        optimizer.build(model.trainable_variables)
        self.rate = float(optimizer.learning_rate)  # of what is timed rather than trained
        self.slots = [np.array(variable) for variable in optimizer.variables]  # as they are at the start
        self._load(x, y, true)

    @abstractmethod
    def _load(self, x: np.ndarray, y: np.ndarray, true: np.ndarray | None) -> None: ...

    @abstractmethod
    def _forward(self, batch: np.ndarray, true: np.ndarray | None = None) -> np.ndarray: ...

    @abstractmethod
    def _compile(self, operation: str, timesteps: int | None) -> None: ...

    @abstractmethod
    def _run(
        self, operation: str, rows: np.ndarray, rates: np.ndarray, timesteps: int | None = None
    ) -> tuple[Totals, int]: ...

    @abstractmethod
    def _values_of(self, operation: str, timesteps: int | None) -> list[np.ndarray]: ...

    @abstractmethod
    def _kernel_evidence(self, operation: str, timesteps: int | None, run_over: int) -> tuple[str, str]:
        """`run_over`: timesteps of the shortest sequence that a recurrent layer runs over."""

    def compile(self, operation: str) -> None:
        for timesteps in self.buckets:
            self._compile(operation, timesteps)

    def values(self, operation: str) -> list[np.ndarray]:
        return self._values_of(operation, self.buckets[-1])

    def run(self, operation: str, rows: np.ndarray) -> int:
        """See `timer.Timed`; batches of sequences of unequal length run in the order of their lengths."""
        rates = np.full(len(rows), self.rate, np.float32)
        return sum(self._run(operation, rows[some], rates[some], cut_to)[1] for cut_to, some in self.grouped(rows))

    def grouped(self, rows: np.ndarray) -> Iterator[tuple[int | None, Any]]:
        """The numbers of timesteps that batches `rows` (steps, batch) need, and which of them need each."""
        if self.lengths is None:
            yield None, slice(None)
            return
        of = np.searchsorted(np.array(self.buckets, np.int64), self.lengths[rows].max(axis=1))
        for at in np.unique(of).tolist():
            yield self.buckets[at], of == at

    def steps(self, indices: np.ndarray, rates: np.ndarray, timesteps: int | None = None) -> Totals:
        return self._run("train_step", indices, rates, timesteps)[0]

    def kernel_evidence(self, operation: str) -> tuple[str, str]:
        """What every program of an operation ran; the evidence is that of the longest."""
        if operation not in self._proofs:
            found = [self._kernel_evidence(operation, each, self._run_over(each)) for each in self._proved()]
            ran = {kernel for kernel, _ in found}
            self._proofs[operation] = ("mixed" if len(ran) > 1 else ran.pop()), found[-1][1]
        return self._proofs[operation]

    def _proved(self) -> Sequence[int | None]:
        """Buckets whose programs are looked at."""
        return self.buckets

    def _run_over(self, timesteps: int | None) -> int:
        return self.timesteps if timesteps is None else max(1, self.timesteps * timesteps // self.longest)

    def warm_up(self) -> None:
        if self._warm:
            return
        self.compile("train_step")
        for timesteps in self.buckets:
            self._values_of("train_step", timesteps)
        # A recurrent layer with dropout draws its masks at inference too, and its random state goes on.
        before = [(variable, np.array(variable)) for variable in self.model.non_trainable_variables]
        size = self.evaluation_batch_size
        for timesteps in self._evaluated():
            true = None if self.lengths is None else np.ones(size, np.int32)
            self._forward(filler((size, timesteps, *self.x.shape[2:]), self.kind), true)
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

    def _evaluated(self) -> list[int]:
        """Numbers of timesteps that are evaluated: `buckets`, and that of the data, which may hold longer ones than training."""
        return sorted({*(bucket for bucket in self.buckets if bucket is not None), self.longest})

    def logits(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """See `Engine`. The last batch is padded: one shape, one compiled program; inference is per sample."""
        size = self.evaluation_batch_size
        if lengths is None:
            return np.concatenate([self._forward(batch)[:n] for batch, n in padded(x, size)])
        batches = by_length(x, lengths, size, self._evaluated())
        return in_order(((self._forward(batch, true), at) for batch, true, at in batches), lengths, self._answers_at(x))

    def _answers_at(self, x: np.ndarray) -> int:
        """Timesteps that the model has outputs for; 0 where it has one per sequence."""
        return x.shape[1] if len(self.model.outputs[0].shape) == 3 else 0
