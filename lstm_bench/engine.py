"""Engines: one compiled training loop per backend behind one interface, with nothing in Python per step where it can be.

`train.py` sees `compile`, `steps` and `logits`. An engine keeps the data resident on its device, gathers batches by index
there, and returns host numbers, so that whoever holds the clock reads it with the device idle.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from lstm_bench import kernel as kernels


class Engine(Protocol):
    """A model, its optimizer and its data on one device."""

    kernel_ran: str
    evidence: str

    def compile(self) -> None:
        """Traces, compiles and warms up the training step and the forward pass; weights and optimizer stay untouched."""

    def steps(self, indices: np.ndarray) -> tuple[float, int]:
        """Trains one step per row of `indices` (steps, batch); returns the summed step losses and the correct samples."""

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Inference: `(samples, timesteps, features)` -> logits `(samples, n_classes)`, float32."""


def make(
    backend: str,
    model: Any,
    optimizer: Any,
    x: np.ndarray,
    y: np.ndarray,
    *,
    batch_size: int,
    evaluation_batch_size: int,
    kernel: str,
    lengths: Sequence[int],
) -> Engine:
    """The engine of `backend` for `model` on training data `x` (samples, timesteps, features) and `y` (samples,).

    `lengths` are those of the sequences that the model's recurrent layers run over, one per layer: what evidence is held to.
    """
    engines: dict[str, type[_Engine]] = {"tensorflow": TensorflowEngine, "jax": JaxEngine, "torch": TorchEngine}
    return engines[backend](model, optimizer, x, y, batch_size, evaluation_batch_size, kernel, lengths)


_resident: dict[str, Any] = {}


def _keep(x: np.ndarray, y: np.ndarray, place: Callable[[np.ndarray], Any]) -> tuple[Any, Any]:
    """Training data on the device, placed there once for all trials of a worker: only the last dataset is kept."""
    if _resident.get("x") is not x:
        _resident.clear()
        _resident.update(x=x, placed=(place(x), place(y)))
    return _resident["placed"]


class _Engine(ABC):
    kernel_ran = "unknown"
    evidence = ""

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
    ):
        import keras

        self.model, self.optimizer = model, optimizer
        self.batch_size, self.evaluation_batch_size = batch_size, evaluation_batch_size
        self.kernel, self.recurrent, self.timesteps = kernel, len(lengths), min(lengths, default=0)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer.build(model.trainable_variables)
        self._load(x, y)

    @abstractmethod
    def _load(self, x: np.ndarray, y: np.ndarray) -> None: ...

    @abstractmethod
    def _forward(self, batch: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def compile(self) -> None: ...

    @abstractmethod
    def steps(self, indices: np.ndarray) -> tuple[float, int]: ...

    def _state(self) -> list[Any]:
        return [*self.model.variables, *self.optimizer.variables]

    def logits(self, x: np.ndarray) -> np.ndarray:
        """See `Engine`. The last batch is padded: one shape, one compiled program; inference is per sample."""
        size = self.evaluation_batch_size
        out = []
        for start in range(0, len(x), size):
            batch = x[start : start + size]
            padded = np.concatenate([batch, np.zeros((size - len(batch), *x.shape[1:]), x.dtype)])
            out.append(self._forward(padded)[: len(batch)])
        return np.concatenate(out)


class TensorflowEngine(_Engine):
    """Many steps per call of one `tf.function`; tf.data, with its autotune thread and end-of-epoch stall, is not used."""

    def _load(self, x: np.ndarray, y: np.ndarray) -> None:
        import tensorflow as tf

        self.x, self.y = _keep(x, y, tf.constant)
        model, optimizer, loss_of = self.model, self.optimizer, self.loss
        variables = model.trainable_variables
        index = tf.TensorSpec((self.batch_size,), tf.int32)

        @tf.function(input_signature=[index], jit_compile=kernels.is_xla(self.kernel))
        def step(batch: Any) -> Any:
            inputs, labels = tf.gather(self.x, batch), tf.gather(self.y, batch)
            with tf.GradientTape() as tape:
                logits = model(inputs, training=True)
                loss = loss_of(labels, logits)
            optimizer.apply(tape.gradient(loss, variables), variables)
            correct = tf.math.equal(tf.argmax(logits, -1, output_type=tf.int32), labels)
            return loss, tf.reduce_sum(tf.cast(correct, tf.int32))

        @tf.function(input_signature=[tf.TensorSpec((None, self.batch_size), tf.int32)])
        def steps(batches: Any) -> Any:
            losses, correct = 0.0, 0
            for row in tf.range(tf.shape(batches)[0]):
                step_loss, step_correct = step(batches[row])
                losses += step_loss
                correct += step_correct
            return losses, correct

        @tf.function(
            input_signature=[tf.TensorSpec((self.evaluation_batch_size, *x.shape[1:]), tf.float32)],
            jit_compile=kernels.is_xla(self.kernel),
        )
        def forward(inputs: Any) -> Any:
            return model(inputs, training=False)

        self._step, self._steps, self._forward_function = step, steps, forward

    def compile(self) -> None:
        import tensorflow as tf

        before = [tf.identity(variable.value) for variable in self._state()]
        self.steps(np.zeros((1, self.batch_size), np.int32))
        for variable, value in zip(self._state(), before, strict=True):
            variable.assign(value)
        self._forward(np.zeros((self.evaluation_batch_size, *self.x.shape[1:]), np.float32))
        graph = self._step.get_concrete_function().graph.as_graph_def()
        # XLA is asked for on the function itself: that attribute is seen from the graph that calls it.
        caller = self._steps.get_concrete_function().graph.as_graph_def()
        for function in caller.library.function:
            if function.attr["_XlaMustCompile"].b:
                graph.library.function.add().attr["_XlaMustCompile"].b = True
        self.kernel_ran, self.evidence = kernels.ran_in_graph(graph, recurrent=self.recurrent, timesteps=self.timesteps)

    def steps(self, indices: np.ndarray) -> tuple[float, int]:
        losses, correct = self._steps(indices.astype(np.int32))
        return float(losses), int(correct)

    def _forward(self, batch: np.ndarray) -> np.ndarray:
        return self._forward_function(batch).numpy()


class JaxEngine(_Engine):
    """One ahead-of-time compiled step, dispatched without waiting; the host reads once per call."""

    def _load(self, x: np.ndarray, y: np.ndarray) -> None:
        import jax
        import jax.numpy as jnp

        self.x, self.y = _keep(x, y, jnp.asarray)
        model, optimizer, loss_of = self.model, self.optimizer, self.loss

        def forward_loss(trainable: Any, non_trainable: Any, inputs: Any, labels: Any) -> Any:
            logits, non_trainable = model.stateless_call(trainable, non_trainable, inputs, training=True)
            return loss_of(labels, logits), (logits, non_trainable)

        def step(state: Any, totals: Any, x: Any, y: Any, batch: Any) -> Any:
            trainable, non_trainable, slots = state
            inputs, labels = x[batch], y[batch]
            (loss, (logits, non_trainable)), gradients = jax.value_and_grad(forward_loss, has_aux=True)(
                trainable, non_trainable, inputs, labels
            )
            trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
            correct = jnp.sum(jnp.argmax(logits, -1).astype(labels.dtype) == labels)
            return (trainable, non_trainable, slots), (totals[0] + loss, totals[1] + correct)

        def forward(trainable: Any, non_trainable: Any, inputs: Any) -> Any:
            return model.stateless_call(trainable, non_trainable, inputs, training=False)[0]

        self._step, self._forward_function = jax.jit(step, donate_argnums=(0, 1)), jax.jit(forward)
        # Copies: the step donates its state, and the model's own variables must outlive it.
        self._values = tuple(
            [jnp.array(variable.value) for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
        )

    def _zeros(self) -> tuple[Any, Any]:
        import jax.numpy as jnp

        return jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)

    def compile(self) -> None:
        import jax
        import jax.numpy as jnp

        batch = jnp.zeros((self.batch_size,), jnp.int32)
        self._compiled = self._step.lower(self._values, self._zeros(), self.x, self.y, batch).compile()
        copy = jax.tree.map(jnp.array, self._values)
        jax.block_until_ready(self._compiled(copy, self._zeros(), self.x, self.y, batch))
        self._forward(np.zeros((self.evaluation_batch_size, *self.x.shape[1:]), np.float32))
        self.kernel_ran, self.evidence = kernels.ran_in_hlo(self._compiled.as_text(), recurrent=self.recurrent)

    def steps(self, indices: np.ndarray) -> tuple[float, int]:
        import jax.numpy as jnp

        totals = self._zeros()
        for batch in jnp.asarray(indices, jnp.int32):
            self._values, totals = self._compiled(self._values, totals, self.x, self.y, batch)
        loss, correct = float(totals[0]), int(totals[1])
        return loss, correct

    def _forward(self, batch: np.ndarray) -> np.ndarray:
        return np.asarray(self._forward_function(self._values[0], self._values[1], batch))

    def settle(self) -> None:
        """Writes the trained values back into the Keras model, for saving."""
        variables = (self.model.trainable_variables, self.model.non_trainable_variables)
        for group, values in zip(variables, self._values[:2], strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)


class TorchEngine(_Engine):
    """Eager steps, as Keras itself runs them on torch: there is no compiled loop to prefer."""

    def _load(self, x: np.ndarray, y: np.ndarray) -> None:
        import torch
        from keras.src.backend.torch.core import get_device

        self.device = get_device()
        self.x, self.y = _keep(x, y.astype(np.int64), lambda array: torch.as_tensor(array, device=self.device))

    def _train_step(self, batch: Any) -> tuple[Any, Any]:
        import torch

        inputs, labels = self.x[batch], self.y[batch]
        self.model.zero_grad()
        logits = self.model(inputs, training=True)
        loss = self.loss(labels, logits)
        loss.backward()
        variables = self.model.trainable_variables
        with torch.no_grad():
            self.optimizer.apply([variable.value.grad for variable in variables], variables)
        return loss.detach(), (logits.argmax(-1) == labels).sum()

    def compile(self) -> None:
        import torch

        before = [variable.value.detach().clone() for variable in self._state()]
        batch = torch.zeros(self.batch_size, dtype=torch.long, device=self.device)
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities, acc_events=True) as profile:
            self._train_step(batch)
        ops = {event.key: event.count for event in profile.key_averages()}
        for variable, value in zip(self._state(), before, strict=True):
            variable.assign(value)
        self._forward(np.zeros((self.evaluation_batch_size, *self.x.shape[1:]), np.float32))
        self.kernel_ran, self.evidence = kernels.ran_in_profile(ops, recurrent=self.recurrent, timesteps=self.timesteps)

    def steps(self, indices: np.ndarray) -> tuple[float, int]:
        import torch

        losses = torch.zeros((), device=self.device)
        correct = torch.zeros((), dtype=torch.long, device=self.device)
        for batch in torch.as_tensor(indices.astype(np.int64), device=self.device):
            loss, right = self._train_step(batch)
            losses += loss
            correct += right
        return float(losses), int(correct)

    def _forward(self, batch: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self.model(torch.as_tensor(batch, device=self.device), training=False).cpu().numpy()
