"""Engines: one compiled loop per backend and operation behind one interface, with nothing in Python per step where it can be.

`train.py` sees `warm_up`, `steps` and `logits`; the kernel benchmark times the same compiled programs through `compile`, `run`,
`values` and `proof`. An engine keeps the data resident on its device, gathers batches by index there, and returns host
numbers, so that whoever holds the clock reads it with the device idle.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from lstm_bench import kernel as kernels
from lstm_bench.probe import Arm

Criterion = Callable[[Any, Any, Any], tuple[Any, Any]]


class Engine(Arm, Protocol):
    """A Keras model, its optimizer and its data on one device."""

    @property
    def kernel_ran(self) -> str:
        """Kernel that trains."""

    @property
    def evidence(self) -> str:
        """What says so."""

    def warm_up(self) -> None:
        """Compiles training and evaluation and runs each once; weights and optimizer stay untouched."""

    def steps(self, indices: np.ndarray) -> tuple[float, int]:
        """Trains one step per row of `indices` (steps, batch); returns the summed step losses and the correct samples."""

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Inference: `(samples, timesteps, features)` -> logits `(samples, n_classes)`, float32."""


def classification(y: Any, batch: Any, logits: Any) -> tuple[Any, Any]:
    """Mean cross-entropy (nats) of `logits` (batch, n_classes) for labels `y[batch]`, and how many of them are right."""
    from keras import losses, ops

    labels = ops.take(y, batch, axis=0)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    right = ops.equal(ops.argmax(logits, -1), ops.cast(labels, "int32"))
    return loss, ops.sum(ops.cast(right, "int32"))


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
    criterion: Criterion = classification,
) -> Engine:
    """The engine of `backend` for `model` on training data `x` (samples, timesteps, features) and `y` (samples,).

    `lengths` are those of the sequences that the model's recurrent layers run over, one per layer: what evidence is held to.
    `criterion` maps all of `y`, a batch of indices and the model's outputs for it to a loss and a count.
    """
    engines: dict[str, type[_Engine]] = {"tensorflow": TensorflowEngine, "jax": JaxEngine, "torch": TorchEngine}
    return engines[backend](model, optimizer, x, y, batch_size, evaluation_batch_size, kernel, lengths, criterion)


_resident: dict[str, Any] = {}


def _keep(x: np.ndarray, y: np.ndarray, place: Callable[[np.ndarray], Any]) -> tuple[Any, Any]:
    """Training data on the device, placed there once for all trials of a worker: only the last dataset is kept."""
    if _resident.get("x") is not x:
        _resident.clear()
        _resident.update(x=x, placed=(place(x), place(y)))
    return _resident["placed"]


class _Engine(ABC):
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
    ):
        self.model, self.optimizer, self.criterion = model, optimizer, criterion
        self.batch_size, self.evaluation_batch_size = batch_size, evaluation_batch_size
        self.kernel, self.recurrent, self.timesteps = kernel, len(lengths), min(lengths, default=0)
        self._proofs: dict[str, tuple[str, str]] = {}
        optimizer.build(model.trainable_variables)
        self._load(x, y)

    @abstractmethod
    def _load(self, x: np.ndarray, y: np.ndarray) -> None: ...

    @abstractmethod
    def _forward(self, batch: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def compile(self, operation: str) -> None: ...

    @abstractmethod
    def _run(self, operation: str, rows: np.ndarray) -> tuple[float, int, int]: ...

    @abstractmethod
    def values(self, operation: str) -> list[np.ndarray]: ...

    @abstractmethod
    def _proof(self, operation: str) -> tuple[str, str]: ...

    def run(self, operation: str, rows: np.ndarray) -> int:
        return self._run(operation, rows)[2]

    def steps(self, indices: np.ndarray) -> tuple[float, int]:
        return self._run("train_step", indices)[:2]

    def proof(self, operation: str) -> tuple[str, str]:
        if operation not in self._proofs:
            self._proofs[operation] = self._proof(operation)
        return self._proofs[operation]

    def warm_up(self) -> None:
        self.compile("train_step")
        self.values("train_step")
        self._forward(np.zeros((self.evaluation_batch_size, *self.x.shape[1:]), np.float32))

    @property
    def kernel_ran(self) -> str:
        """Kernel that trains."""
        return self.proof("train_step")[0]

    @property
    def evidence(self) -> str:
        """What says so."""
        return self.proof("train_step")[1]

    def _state(self) -> list[Any]:
        return [*self.model.variables, *self.optimizer.variables]

    def _first(self) -> np.ndarray:
        return np.arange(self.batch_size, dtype=np.int32)

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
        self._programs: dict[str, tuple[Any, Any]] = {}
        model, optimizer, criterion = self.model, self.optimizer, self.criterion
        variables = model.trainable_variables

        def inference(batch: Any) -> Any:
            return 0.0, 0, [model(tf.gather(self.x, batch), training=False)]

        def forward_backward(batch: Any) -> Any:
            inputs = tf.gather(self.x, batch)
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                loss, correct = criterion(self.y, batch, model(inputs, training=True))
            return loss, correct, tape.gradient(loss, [*variables, inputs])

        def train_step(batch: Any) -> Any:
            inputs = tf.gather(self.x, batch)
            with tf.GradientTape() as tape:
                loss, correct = criterion(self.y, batch, model(inputs, training=True))
            optimizer.apply(tape.gradient(loss, variables), variables)
            return loss, correct, []

        self._steps = {"inference": inference, "forward_backward": forward_backward, "train_step": train_step}

        @tf.function(
            input_signature=[tf.TensorSpec((self.evaluation_batch_size, *x.shape[1:]), tf.float32)],
            jit_compile=kernels.is_xla(self.kernel),
        )
        def forward(inputs: Any) -> Any:
            return model(inputs, training=False)

        self._forward_function = forward

    def compile(self, operation: str) -> None:
        """See `Arm`. Traces only: TensorFlow optimises a graph, and XLA compiles it, at its first execution."""
        import tensorflow as tf

        step = tf.function(
            self._steps[operation],
            input_signature=[tf.TensorSpec((self.batch_size,), tf.int32)],
            jit_compile=kernels.is_xla(self.kernel),
        )
        specs = step.get_concrete_function().structured_outputs[2]

        @tf.function(input_signature=[tf.TensorSpec((None, self.batch_size), tf.int32)])
        def many(batches: Any) -> Any:
            losses, correct, done = 0.0, 0, 0
            kept = [
                tf.zeros(spec.shape, spec.dtype) for spec in specs
            ]  # of the last step: what is returned is computed
            for row in tf.range(tf.shape(batches)[0]):
                tf.autograph.experimental.set_loop_options(parallel_iterations=1)
                step_loss, step_correct, kept = step(batches[row])
                losses += step_loss
                correct += step_correct
                done += 1
            return losses, correct, done, kept

        self._programs[operation] = step.get_concrete_function(), many.get_concrete_function()

    def _proof(self, operation: str) -> tuple[str, str]:
        step, many = (program.graph.as_graph_def() for program in self._programs[operation])
        # XLA is asked for on the function itself: that attribute is seen from the graph that calls it.
        for function in many.library.function:
            if function.attr["_XlaMustCompile"].b:
                step.library.function.add().attr["_XlaMustCompile"].b = True
        return kernels.ran_in_graph(step, recurrent=self.recurrent, timesteps=self.timesteps)

    def _run(self, operation: str, rows: np.ndarray) -> tuple[float, int, int]:
        import tensorflow as tf

        losses, correct, done, self._kept = self._programs[operation][1](tf.constant(rows, tf.int32))
        return float(losses), int(correct), int(done)

    def values(self, operation: str) -> list[np.ndarray]:
        import tensorflow as tf

        if operation != "train_step":
            self._run(operation, self._first()[None])
            return [tf.cast(kept, tf.float32).numpy() for kept in self._kept]
        before = [tf.identity(variable.value) for variable in self._state()]
        self._run(operation, self._first()[None])
        after = [variable.numpy() for variable in self.model.trainable_variables]
        for variable, value in zip(self._state(), before, strict=True):
            variable.assign(value)
        return after

    def _forward(self, batch: np.ndarray) -> np.ndarray:
        return self._forward_function(batch).numpy()


class JaxEngine(_Engine):
    """One ahead-of-time compiled step, dispatched without waiting; the host reads once per call."""

    def _load(self, x: np.ndarray, y: np.ndarray) -> None:
        import jax
        import jax.numpy as jnp

        self.x, self.y = _keep(x, y, jnp.asarray)
        self._programs: dict[str, Any] = {}
        model, optimizer, criterion = self.model, self.optimizer, self.criterion

        def loss_of(trainable: Any, inputs: Any, non_trainable: Any, y: Any, batch: Any) -> Any:
            outputs, non_trainable = model.stateless_call(trainable, non_trainable, inputs, training=True)
            loss, correct = criterion(y, batch, outputs)
            return loss, (correct, non_trainable)

        def inference(state: Any, totals: Any, x: Any, y: Any, batch: Any) -> Any:
            outputs, _ = model.stateless_call(state[0], state[1], x[batch], training=False)
            return None, (totals[0], totals[1], totals[2] + 1), [outputs]

        def forward_backward(state: Any, totals: Any, x: Any, y: Any, batch: Any) -> Any:
            trainable, non_trainable, _ = state
            (loss, (correct, _)), (gradients, of_inputs) = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)(
                trainable, x[batch], non_trainable, y, batch
            )
            return None, (totals[0] + loss, totals[1] + correct, totals[2] + 1), [*gradients, of_inputs]

        def train_step(state: Any, totals: Any, x: Any, y: Any, batch: Any) -> Any:
            trainable, non_trainable, slots = state
            (loss, (correct, non_trainable)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
                trainable, x[batch], non_trainable, y, batch
            )
            trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
            return (trainable, non_trainable, slots), (totals[0] + loss, totals[1] + correct, totals[2] + 1), []

        def forward(trainable: Any, non_trainable: Any, inputs: Any) -> Any:
            return model.stateless_call(trainable, non_trainable, inputs, training=False)[0]

        # Totals go from step to step, so that no two steps can run at once.
        self._steps = {
            "inference": jax.jit(inference, donate_argnums=(1,)),
            "forward_backward": jax.jit(forward_backward, donate_argnums=(1,)),
            "train_step": jax.jit(train_step, donate_argnums=(0, 1)),
        }
        self._forward_function = jax.jit(forward)
        # Copies: the step donates its state, and the model's own variables must outlive it.
        self._values = tuple(
            [jnp.array(variable.value) for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
        )

    def _zeros(self) -> tuple[Any, Any, Any]:
        import jax.numpy as jnp

        return jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)

    def compile(self, operation: str) -> None:
        import jax.numpy as jnp

        batch = jnp.zeros((self.batch_size,), jnp.int32)
        traced = self._steps[operation].lower(self._values, self._zeros(), self.x, self.y, batch)
        self._programs[operation] = traced.compile()

    def _proof(self, operation: str) -> tuple[str, str]:
        return kernels.ran_in_hlo(self._programs[operation].as_text(), recurrent=self.recurrent)

    def _run(self, operation: str, rows: np.ndarray) -> tuple[float, int, int]:
        import jax

        program, totals, kept = self._programs[operation], self._zeros(), []
        for batch in rows.astype(np.int32):  # a small host array costs a call less than one placed before
            state, totals, kept = program(self._values, totals, self.x, self.y, batch)
            self._values = state or self._values
        jax.block_until_ready(kept)
        loss, correct, done = (number.item() for number in totals)
        return loss, correct, done

    def memory_bytes(self, operation: str) -> int:
        """What the compiled program holds at once: arguments, results and temporaries."""
        return kernels.program_bytes(self._programs[operation])

    def values(self, operation: str) -> list[np.ndarray]:
        import jax
        import jax.numpy as jnp

        state = jax.tree.map(jnp.array, self._values)
        batch = jnp.asarray(self._first())
        after, _, kept = self._programs[operation](state, self._zeros(), self.x, self.y, batch)
        return [np.asarray(value, np.float32) for value in (after[0] if operation == "train_step" else kept)]

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
        labels = y.astype(np.int64) if y.dtype.kind == "i" else y  # what torch indexes with
        self.x, self.y = _keep(x, labels, lambda array: torch.as_tensor(array, device=self.device))

    def _step(self, operation: str, batch: Any) -> tuple[Any, Any, list[Any]]:
        """Loss and count of a training step, None of the other operations, and what is kept of those."""
        import torch

        inputs = self.x[batch]
        if operation == "inference":
            with torch.no_grad():
                return None, None, [self.model(inputs, training=False)]
        variables = self.model.trainable_variables
        values = [variable.value for variable in variables]
        if operation == "forward_backward":
            inputs.requires_grad_()
            loss, _ = self.criterion(self.y, batch, self.model(inputs, training=True))
            return None, None, list(torch.autograd.grad(loss, [*values, inputs]))
        self.model.zero_grad()
        loss, correct = self.criterion(self.y, batch, self.model(inputs, training=True))
        loss.backward()
        with torch.no_grad():
            self.optimizer.apply([value.grad for value in values], variables)
        return loss.detach(), correct, []

    def compile(self, operation: str) -> None:
        """See `Arm`. There is nothing to compile."""

    def _proof(self, operation: str) -> tuple[str, str]:
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
        *_, kept = self._step(operation, torch.as_tensor(self._first(), dtype=torch.long, device=self.device))
        if operation == "train_step":
            kept = [variable.value.detach().clone() for variable in self.model.trainable_variables]
            for variable, value in zip(self._state(), before, strict=True):
                variable.assign(value)
        return kept

    def _run(self, operation: str, rows: np.ndarray) -> tuple[float, int, int]:
        import torch

        losses, correct, done = torch.zeros((), device=self.device), torch.zeros((), device=self.device), 0
        for batch in torch.as_tensor(rows.astype(np.int64), device=self.device):
            loss, right, _ = self._step(operation, batch)
            if operation == "train_step":
                losses += loss
                correct += right
            done += 1
        if torch.device(self.device).type == "cuda":
            torch.cuda.synchronize()
        return float(losses), int(correct), done

    def values(self, operation: str) -> list[np.ndarray]:
        return [value.float().cpu().numpy() for value in self._unchanged(operation)]

    def _forward(self, batch: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self.model(torch.as_tensor(batch, device=self.device), training=False).cpu().numpy()
