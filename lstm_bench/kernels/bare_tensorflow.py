"""The yardstick of TensorFlow: BlockLSTMV2, many steps in one graph. See `kernels/bare.py`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_bench.kernels import case, reference

Cell = Mapping[str, Any]
Arrays = list[np.ndarray]


class TensorflowArm:
    """Many steps per call of one `tf.function`, a loop in the graph.

    As the op has it: time-major, and both kernels of a layer in one variable.
    """

    def __init__(self, cell: Cell, weights: Arrays, x: np.ndarray, cotangent: np.ndarray):
        import tensorflow as tf

        self.cell = cell
        self.x, self.cotangent = tf.constant(x), tf.constant(cotangent.swapaxes(0, 1))
        self.initial = []
        for kernel, recurrent, bias in zip(*[iter(weights)] * 3, strict=True):
            self.initial += [np.concatenate([kernel, recurrent]), bias]
        self.weights = [tf.Variable(weight) for weight in self.initial]
        self.moments = [tf.Variable(tf.zeros_like(weight)) for weight in self.weights * 2]
        self.time = tf.Variable(0.0)
        self.programs: dict[str, Any] = {}

    def _to_keras(self, arrays: Arrays) -> Arrays:
        units, found = self.cell["units"], []
        for both, bias in zip(*[iter(arrays)] * 2, strict=True):
            found += [both[:-units], both[-units:], bias]
        return found

    def _outputs(self, weights: list[Any], batch: Any) -> Any:
        """(B, T, F) -> (T, B, D*U)."""
        import tensorflow as tf

        ways = case.directions(self.cell)
        sequence = tf.transpose(batch, (1, 0, 2))
        for n in range(0, len(weights), 2 * ways):
            outputs = [self._layer(sequence, *weights[n : n + 2])]
            if ways == 2:
                outputs += [tf.reverse(self._layer(tf.reverse(sequence, [0]), *weights[n + 2 : n + 4]), [0])]
            sequence = tf.concat(outputs, -1) if ways == 2 else outputs[0]
        return sequence

    def _layer(self, sequence: Any, weight: Any, bias: Any) -> Any:
        """One direction, (T, B, F) -> (T, B, U). The gradient that TensorFlow 2.21 registers for BlockLSTMV2 is BlockLSTM's.

        It reads the gates in that op's order, i, c, f, o, and is wrong. BlockLSTMGradV2 is the right one.
        """
        import tensorflow as tf

        state, peephole = tf.zeros((self.cell["batch"], self.cell["units"])), tf.zeros((self.cell["units"],))
        length = tf.constant(self.cell["timesteps"], tf.int64)

        @tf.custom_gradient
        def block(x: Any, w: Any, b: Any) -> Any:
            given = {"seq_len_max": length, "x": x, "cs_prev": state, "h_prev": state, "w": w, "b": b}
            given.update(wci=peephole, wcf=peephole, wco=peephole, use_peephole=False)
            made = tf.raw_ops.BlockLSTMV2(**given)

            def gradient(dh: Any) -> Any:
                found = tf.raw_ops.BlockLSTMGradV2(**given, **made._asdict(), cs_grad=tf.zeros_like(made.cs), h_grad=dh)
                return found.x_grad, found.w_grad, found.b_grad

            return made.h, gradient

        return block(sequence, weight, bias)

    def _step(self, operation: str, row: Any) -> list[Any]:
        import tensorflow as tf

        weights = [weight.read_value() for weight in self.weights]
        batch = tf.gather(self.x, row)
        if operation == "inference":
            return [tf.transpose(self._outputs(weights, batch), (1, 0, 2))]
        sources = [*weights, batch] if operation == "forward_backward" else weights
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            loss = tf.reduce_sum(self._outputs(weights, batch) * self.cotangent) / self.cell["batch"]
        gradients = tape.gradient(loss, sources)
        if operation == "forward_backward":
            return gradients
        time = self.time.assign_add(1.0)
        count = len(weights)
        for n, gradient in enumerate(gradients):
            tf.raw_ops.ResourceApplyAdam(
                var=self.weights[n].handle,
                m=self.moments[n].handle,
                v=self.moments[count + n].handle,
                beta1_power=tf.pow(reference.BETA_1, time),
                beta2_power=tf.pow(reference.BETA_2, time),
                lr=reference.RATE,
                beta1=reference.BETA_1,
                beta2=reference.BETA_2,
                # The op adds epsilon before it corrects the second moment's bias. This is the same at the first step.
                epsilon=reference.EPSILON * math.sqrt(1 - reference.BETA_2),
                grad=gradient,
            )
        return []

    def compile(self, operation: str) -> None:
        import tensorflow as tf

        index = tf.TensorSpec((None, self.cell["batch"]), tf.int32)

        def program(rows: Any) -> Any:
            """Steps counted, the results of the last step, and one number of what it made, for the host to wait for."""
            total = tf.shape(rows)[0]
            # The loop carries the results, so that no step's can be left out; one iteration at a time.
            empty = {
                "inference": [tf.zeros_like(tf.transpose(self.cotangent, (1, 0, 2)))],
                "forward_backward": [tf.zeros_like(array) for array in (*self.weights, self.x)],
                "train_step": [],
            }[operation]
            steps, results = tf.while_loop(
                lambda steps, _: steps < total,
                lambda steps, _: (steps + 1, self._step(operation, rows[steps])),
                (0, empty),
                parallel_iterations=1,
            )
            return steps, results, tf.reshape((results or self.weights)[-1], [-1])[0]

        made = tf.function(program, input_signature=[index], autograph=False)
        self.programs[operation] = made.get_concrete_function()

    def run(self, operation: str, rows: np.ndarray) -> int:
        import tensorflow as tf

        steps, _, last = self.programs[operation](tf.constant(rows))
        last.numpy()
        return int(steps)

    def values(self, operation: str) -> Arrays:
        import tensorflow as tf

        variables = [*self.weights, *self.moments, self.time]
        now = [tf.identity(variable) for variable in variables]
        initial = [*self.initial, *[tf.zeros_like(moment) for moment in self.moments], 0.0]
        for variable, value in zip(variables, initial, strict=True):
            variable.assign(value)
        _, results, _ = self.programs[operation](tf.range(self.cell["batch"])[None])
        found = [array.numpy() for array in (results or self.weights)]
        for variable, value in zip(variables, now, strict=True):
            variable.assign(value)
        if operation == "forward_backward":
            return [*self._to_keras(found[:-1]), found[-1]]
        return self._to_keras(found) if operation == "train_step" else found

    def kernel_evidence(self, operation: str) -> tuple[str, str]:
        graph = self.programs[operation].graph.as_graph_def()
        ops = Counter(node.op for part in (graph.node, *[f.node_def for f in graph.library.function]) for node in part)
        forward, backward = ops["BlockLSTMV2"], ops["BlockLSTMGradV2"]
        calls = self.cell["layers"] * case.directions(self.cell)
        complete = forward == calls and backward == (0 if operation == "inference" else calls)
        evidence = f"BlockLSTMV2 {forward}, BlockLSTMGradV2 {backward}, MatMul {ops['MatMul']}"
        return ("block" if complete else "unknown"), evidence
