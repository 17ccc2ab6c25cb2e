"""The engine of TensorFlow: many steps per call of one `tf.function`.

tf.data, with its autotune thread and end-of-epoch stall, is not used.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from lstm_bench.model import kernel
from lstm_bench.model.network import masked_call
from lstm_bench.training.engine.base import Base, Totals, cut, judged, penalty, to_device


def _placed(array: np.ndarray) -> Any:
    """An array as a tensor: where it lies if that is possible, for workers share their data, else a copy on the device."""
    import tensorflow as tf

    aligned = array.ctypes.data % 64 == 0  # Eigen ends the process over a tensor that is not
    if aligned and array.flags.c_contiguous and not tf.config.list_physical_devices("GPU"):
        return tf.experimental.dlpack.from_dlpack(_writable(array).__dlpack__())
    return tf.constant(array)


def _writable(array: np.ndarray) -> np.ndarray:
    """The array, or one over the same memory where it may only be read: DLPack has no words for that, and tensors are not
    written to."""
    if array.flags.writeable:
        return array
    bare = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    bare.owner = array  # type: ignore[attr-defined]  # the memory is its, and lives as long
    return np.frombuffer(memoryview(bare), array.dtype).reshape(array.shape)


class TensorflowEngine(Base):
    """Works on the model's own variables."""

    def _load(self, x: np.ndarray, y: np.ndarray, true: np.ndarray | None) -> None:
        import tensorflow as tf

        self.x, self.y, self.true = to_device(_placed, x, y, true)
        self._programs: dict[tuple[str, int | None], tuple[Any, Any]] = {}
        self._forward_functions: dict[int, Any] = {}
        model, optimizer, criterion = self.model, self.optimizer, self.criterion
        variables = model.trainable_variables
        # The sum over one replica is the gradient. Keras forms it by a custom gradient, which TensorFlow registers for good,
        # and with it the graph of every program ever traced.
        optimizer._all_reduce_sum_gradients = list

        def inputs_of(batch: Any, timesteps: int | None) -> tuple[Any, Any]:
            inputs = tf.gather(self.x, batch)
            return (inputs, None) if timesteps is None else cut(inputs, tf.gather(self.true, batch), timesteps)

        def losses_of(batch: Any, inputs: Any, mask: Any) -> Any:
            """What is minimised, and what is counted: the data's loss, the labels predicted right, the penalty."""
            loss, correct = judged(criterion, self.y, batch, self._called(inputs, mask, training=True), mask)
            own = model.losses
            self.penalised = bool(own)
            added = penalty(own)
            return loss + added if own else loss, (loss, correct, added)

        def inference(batch: Any, timesteps: int | None) -> Any:
            return (0.0, 0, 0.0), [self._called(*inputs_of(batch, timesteps), training=False)]

        def forward_backward(batch: Any, timesteps: int | None) -> Any:
            inputs, mask = inputs_of(batch, timesteps)
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                minimised, counted = losses_of(batch, inputs, mask)
            return counted, tape.gradient(minimised, [*variables, inputs])

        def train_step(batch: Any, timesteps: int | None) -> Any:
            inputs, mask = inputs_of(batch, timesteps)
            with tf.GradientTape() as tape:
                minimised, counted = losses_of(batch, inputs, mask)
            # Of a table of tokens it is that of the rows that were read: dense, as every other backend has it.
            gradients = [
                None if one is None else tf.convert_to_tensor(one) for one in tape.gradient(minimised, variables)
            ]
            optimizer.apply(gradients, variables)
            return counted, []

        self._steps = {"inference": inference, "forward_backward": forward_backward, "train_step": train_step}

    def _called(self, inputs: Any, mask: Any, training: bool) -> Any:
        if mask is None:
            return self.model(inputs, training=training)
        return masked_call(self.model, inputs, mask, training=training)

    def graph(self, operation: str) -> Any:
        """GraphDef of one traced step, of the longest program; nothing is compiled or run."""
        return self._traceable(operation, self.buckets[-1]).get_concrete_function().graph.as_graph_def()

    def _traceable(self, operation: str, timesteps: int | None) -> Any:
        import tensorflow as tf

        # Keras's `fit` converts nothing by AutoGraph either; what is converted is a file that an ended worker leaves behind.
        return tf.function(
            lambda batch: self._steps[operation](batch, timesteps),
            input_signature=[tf.TensorSpec((self.batch_size,), tf.int32)],
            jit_compile=kernel.is_xla(self.kernel),
            autograph=False,
        )

    def _compile(self, operation: str, timesteps: int | None) -> None:
        """See `Program`. Traces only: TensorFlow optimises a graph, and XLA compiles it, at its first execution."""
        import tensorflow as tf

        step = self._traceable(operation, timesteps)
        specs = step.get_concrete_function().structured_outputs[1]

        @tf.function(
            input_signature=[tf.TensorSpec((None, self.batch_size), tf.int32), tf.TensorSpec((None,))], autograph=False
        )
        def many(batches: Any, rates: Any) -> Any:
            def one(row: Any, losses: Any, correct: Any, penalties: Any, kept: Any) -> Any:
                self.optimizer.learning_rate.assign(rates[row])
                (step_loss, step_correct, step_penalty), kept = step(batches[row])
                return row + 1, losses + step_loss, correct + step_correct, penalties + step_penalty, kept

            steps = tf.shape(batches)[0]
            # Of the last step: what is returned is computed.
            kept = [tf.zeros(spec.shape, spec.dtype) for spec in specs]
            done, losses, correct, penalties, kept = tf.while_loop(
                lambda row, *_: row < steps,
                one,
                (tf.constant(0), tf.constant(0.0), tf.constant(0), tf.constant(0.0), kept),
                parallel_iterations=1,
            )
            return losses, correct, penalties, done, kept

        self._programs[operation, timesteps] = step.get_concrete_function(), many.get_concrete_function()

    def _kernel_evidence(self, operation: str, timesteps: int | None, run_over: int) -> tuple[str, str]:
        step, many = (program.graph.as_graph_def() for program in self._programs[operation, timesteps])
        # XLA is asked for on the function itself: that attribute is seen from the graph that calls it.
        for function in many.library.function:
            if function.attr["_XlaMustCompile"].b:
                step.library.function.add().attr["_XlaMustCompile"].b = True
        return kernel.ran_in_graph(step, recurrent=self.recurrent, timesteps=run_over)

    def _run(
        self, operation: str, rows: np.ndarray, rates: np.ndarray, timesteps: int | None = None
    ) -> tuple[Totals, int]:
        import tensorflow as tf

        program = self._programs[operation, timesteps][1]
        *counted, done, self._kept = program(tf.constant(rows, tf.int32), tf.constant(rates, tf.float32))
        loss, correct, added = counted
        return Totals(float(loss), int(correct), float(added)), int(done)

    def _values_of(self, operation: str, timesteps: int | None) -> list[np.ndarray]:
        import tensorflow as tf

        rows, rates = self._first_batch()[None], np.array([self.rate], np.float32)
        if operation != "train_step":
            self._run(operation, rows, rates, timesteps)
            return [tf.cast(kept, tf.float32).numpy() for kept in self._kept]
        before = [tf.identity(variable.value) for variable in self._state()]
        self._run(operation, rows, rates, timesteps)
        after = [variable.numpy() for variable in self.model.trainable_variables]
        for variable, value in zip(self._state(), before, strict=True):
            variable.assign(value)
        return after

    def _forward(self, batch: np.ndarray, true: np.ndarray | None = None) -> np.ndarray:
        forward = self._forward_functions.get(batch.shape[1])
        if forward is None:
            forward = self._forward_functions[batch.shape[1]] = self._forward_function(batch.shape, batch.dtype)
        return forward(batch).numpy() if true is None else forward(batch, true).numpy()

    def _forward_function(self, shape: tuple[int, ...], kind: np.dtype[Any]) -> Any:
        import tensorflow as tf

        signature = [tf.TensorSpec(shape, kind)]
        if self.true is not None:
            signature.append(tf.TensorSpec(shape[:1], tf.int32))

        @tf.function(input_signature=signature, jit_compile=kernel.is_xla(self.kernel), autograph=False)
        def forward(inputs: Any, *true: Any) -> Any:
            mask = cut(inputs, true[0], shape[1])[1] if true else None
            return self._called(inputs, mask, training=False)

        return forward
