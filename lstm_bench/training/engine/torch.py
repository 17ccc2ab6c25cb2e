"""The engine of torch: eager steps, as Keras itself runs them there. There is no compiled loop to prefer."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from lstm_bench.model import kernel
from lstm_bench.model.network import masked_call
from lstm_bench.training.criteria import sparse_categorical_crossentropy
from lstm_bench.training.engine.base import Base, Totals, cut, judged, penalty, to_device


class TorchEngine(Base):
    """Works on the model's own variables."""

    def _load(self, x: np.ndarray, y: np.ndarray, true: np.ndarray | None) -> None:
        from keras.src.backend.torch.core import get_device

        self.device = get_device()
        self.x, self.y, self.true = to_device(self._placed, x, y, true)
        if self.criterion is sparse_categorical_crossentropy:
            self.criterion = _cross_entropy

    def _placed(self, array: np.ndarray) -> Any:
        import torch

        whole = array.dtype.kind == "i"  # labels and ids, which torch indexes with
        return torch.as_tensor(array.astype(np.int64) if whole else array, device=self.device)

    def _called(self, inputs: Any, mask: Any, training: bool) -> Any:
        if mask is None:
            return self.model(inputs, training=training)
        return masked_call(self.model, inputs, mask, training=training)

    def _step(self, operation: str, batch: Any, timesteps: int | None) -> tuple[Totals | None, list[Any]]:
        """Totals of a training step, None of the other operations, and what is kept of those."""
        import torch

        inputs, mask = self.x.index_select(0, batch), None
        if timesteps is not None:
            inputs, mask = cut(inputs, self.true.index_select(0, batch), timesteps)
        if operation == "inference":
            with torch.no_grad():
                return None, [self._called(inputs, mask, training=False)]
        variables = self.model.trainable_variables
        values = [variable.value for variable in variables]
        if operation == "forward_backward":
            inputs.requires_grad_()
        loss, correct = judged(self.criterion, self.y, batch, self._called(inputs, mask, training=True), mask)
        own = self.model.losses
        self.penalised = bool(own)
        added = penalty(own)
        minimised = loss + added if own else loss
        if operation == "forward_backward":
            return None, list(torch.autograd.grad(minimised, [*values, inputs]))
        gradients = torch.autograd.grad(minimised, values, allow_unused=True)
        with torch.no_grad():
            self.optimizer.apply(gradients, variables)
        return Totals(loss.detach(), correct, added.detach() if own else 0.0), []

    def _compile(self, operation: str, timesteps: int | None) -> None:
        """See `Program`. There is nothing to compile."""

    def _proved(self) -> Sequence[int | None]:
        """See `Base`. One code for all: it is looked at once."""
        return self.buckets[-1:]

    def _kernel_evidence(self, operation: str, timesteps: int | None, run_over: int) -> tuple[str, str]:
        """One more step runs under the profiler."""
        import torch

        activities = [torch.profiler.ProfilerActivity.CPU]
        with _large_blocks_apart(), torch.profiler.profile(activities=activities, acc_events=True) as profile:
            self._values_of(operation, timesteps)
        ops = {event.key: event.count for event in profile.key_averages()}
        return kernel.ran_in_profile(ops, recurrent=self.recurrent, timesteps=run_over)

    def _unchanged(self, operation: str, timesteps: int | None) -> list[Any]:
        """One step on the first samples, its results copied, weights and optimizer then put back."""
        import torch

        before = [variable.value.detach().clone() for variable in self._state()]
        batch = torch.as_tensor(self._first_batch(), dtype=torch.long, device=self.device)
        *_, kept = self._step(operation, batch, timesteps)
        if operation == "train_step":
            kept = [variable.value.detach().clone() for variable in self.model.trainable_variables]
            for variable, value in zip(self._state(), before, strict=True):
                variable.assign(value)
        return kept

    def _run(
        self, operation: str, rows: np.ndarray, rates: np.ndarray, timesteps: int | None = None
    ) -> tuple[Totals, int]:
        import torch

        losses, correct, penalties = (torch.zeros((), device=self.device) for _ in range(3))
        done = 0
        now = None
        for batch, rate in zip(torch.as_tensor(rows.astype(np.int64), device=self.device), rates.tolist(), strict=True):
            if operation == "train_step" and rate != now:
                self.optimizer.learning_rate, now = rate, rate
            counted, _ = self._step(operation, batch, timesteps)
            if counted is not None:
                losses += counted.loss
                correct += counted.correct
                penalties += counted.penalty
            done += 1
        if torch.device(self.device).type == "cuda":
            torch.cuda.synchronize()
        return Totals(float(losses), int(correct), float(penalties)), done

    def _values_of(self, operation: str, timesteps: int | None) -> list[np.ndarray]:
        return [value.float().cpu().numpy() for value in self._unchanged(operation, timesteps)]

    def _forward(self, batch: np.ndarray, true: np.ndarray | None = None) -> np.ndarray:
        import torch

        inputs, mask = torch.as_tensor(batch, device=self.device), None
        if true is not None:
            inputs, mask = cut(inputs, torch.as_tensor(true, device=self.device), batch.shape[1])
        with torch.no_grad():
            return self._called(inputs, mask, training=False).cpu().numpy()


_NO_LABEL = -100  # which torch's cross-entropy leaves out


def _cross_entropy(y: Any, batch: Any, logits: Any, mask: Any = None) -> tuple[Any, Any]:
    """`sparse_categorical_crossentropy` in torch's own words: a tenth of the calls, which eager steps pay for one by one."""
    import torch

    if getattr(logits, "_keras_mask", None) is not None:  # which Keras's loss heeds
        return sparse_categorical_crossentropy(y, batch, logits)
    labels = y[batch]
    if mask is not None:
        labels = torch.where(mask, labels, _NO_LABEL)
    right = (logits.argmax(-1) == labels).sum()
    if labels.ndim > 1:  # of every timestep: torch wants the classes second
        logits = logits.movedim(-1, 1)
    return torch.nn.functional.cross_entropy(logits, labels), right


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_APART, _LARGEST = 2**20, 2**25  # bytes: the latter is how far glibc raises its threshold by itself


@contextmanager
def _large_blocks_apart() -> Iterator[None]:
    """Keeps blocks of a mebibyte and more out of the heap, where the C library is glibc.

    The profiler keeps a small record of every call. In the heap it takes the beginning of the gap that a large block left, into
    which the next large one then does not fit: of packed sequences, whose backward pass allocates and frees a gradient of all
    timesteps at every timestep, all of them stay, 5 GiB at 400 timesteps and more than 24 at 1,344.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(_MMAP_THRESHOLD, _APART)
    try:
        yield
    finally:  # where glibc's own adjustment, which a call ends for good, would have taken both
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
