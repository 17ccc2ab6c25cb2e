"""The engine of torch: eager steps, as Keras itself runs them there. There is no compiled loop to prefer."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_bench.model import kernel as kernels
from lstm_bench.training.criteria import sparse_categorical_crossentropy
from lstm_bench.training.engine.base import Base, Totals, penalty, to_device


class TorchEngine(Base):
    """Works on the model's own variables."""

    def _load(self, x: np.ndarray, y: np.ndarray) -> None:
        import torch
        from keras.src.backend.torch.core import get_device

        self.device = get_device()
        labels = y.astype(np.int64) if y.dtype.kind == "i" else y  # what torch indexes with
        self.x, self.y = to_device(x, labels, lambda array: torch.as_tensor(array, device=self.device))
        if self.criterion is sparse_categorical_crossentropy:
            self.criterion = _cross_entropy

    def _step(self, operation: str, batch: Any) -> tuple[Totals | None, list[Any]]:
        """Totals of a training step, None of the other operations, and what is kept of those."""
        import torch

        inputs = self.x.index_select(0, batch)
        if operation == "inference":
            with torch.no_grad():
                return None, [self.model(inputs, training=False)]
        variables = self.model.trainable_variables
        values = [variable.value for variable in variables]
        if operation == "forward_backward":
            inputs.requires_grad_()
        loss, correct = self.criterion(self.y, batch, self.model(inputs, training=True))
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

    def compile(self, operation: str) -> None:
        """See `Arm`. There is nothing to compile."""

    def _kernel_evidence(self, operation: str) -> tuple[str, str]:
        """One more step runs under the profiler."""
        import torch

        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities, acc_events=True) as profile:
            self._unchanged(operation)
        ops = {event.key: event.count for event in profile.key_averages()}
        return kernels.ran_in_profile(ops, recurrent=self.recurrent, timesteps=self.timesteps)

    def _unchanged(self, operation: str) -> list[Any]:
        """One step on the first samples, its results copied, weights and optimizer then put back."""
        import torch

        before = [variable.value.detach().clone() for variable in self._state()]
        *_, kept = self._step(operation, torch.as_tensor(self._first_batch(), dtype=torch.long, device=self.device))
        if operation == "train_step":
            kept = [variable.value.detach().clone() for variable in self.model.trainable_variables]
            for variable, value in zip(self._state(), before, strict=True):
                variable.assign(value)
        return kept

    def _run(self, operation: str, rows: np.ndarray, rates: np.ndarray) -> tuple[Totals, int]:
        import torch

        losses, correct, penalties = (torch.zeros((), device=self.device) for _ in range(3))
        done = 0
        now = None
        for batch, rate in zip(torch.as_tensor(rows.astype(np.int64), device=self.device), rates.tolist(), strict=True):
            if operation == "train_step" and rate != now:
                self.optimizer.learning_rate, now = rate, rate
            counted, _ = self._step(operation, batch)
            if counted is not None:
                losses += counted.loss
                correct += counted.correct
                penalties += counted.penalty
            done += 1
        if torch.device(self.device).type == "cuda":
            torch.cuda.synchronize()
        return Totals(float(losses), int(correct), float(penalties)), done

    def values(self, operation: str) -> list[np.ndarray]:
        return [value.float().cpu().numpy() for value in self._unchanged(operation)]

    def _forward(self, batch: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self.model(torch.as_tensor(batch, device=self.device), training=False).cpu().numpy()


def _cross_entropy(y: Any, batch: Any, logits: Any) -> tuple[Any, Any]:
    """`sparse_categorical_crossentropy` in torch's own words: a tenth of the calls, which eager steps pay for one by one."""
    import torch

    if getattr(logits, "_keras_mask", None) is not None:  # which Keras's loss heeds
        return sparse_categorical_crossentropy(y, batch, logits)
    labels = y[batch]
    right = (logits.argmax(-1) == labels).sum()
    if labels.ndim > 1:  # of every timestep: torch wants the classes second
        logits = logits.movedim(-1, 1)
    return torch.nn.functional.cross_entropy(logits, labels), right
