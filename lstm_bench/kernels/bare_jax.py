"""The yardsticks of JAX: a jitted scan, and its own cuDNN call. See `kernels/bare.py`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from lstm_bench.kernels import case, reference
from lstm_bench.model.kernel import program_bytes, ran_in_hlo

Cell = Mapping[str, Any]
Arrays = list[np.ndarray]


class JaxArm:
    """One ahead-of-time compiled program per operation, dispatched without waiting; the host reads once per run.

    What a step leaves is donated to the next, which therefore cannot begin before it ends, and takes over its memory.
    """

    def __init__(self, cell: Cell, weights: Arrays, x: np.ndarray, cotangent: np.ndarray):
        import jax.numpy as jnp

        self.cell, self.compute = cell, jnp.bfloat16 if cell["dtype"] == "bfloat16" else jnp.float32
        self.initial = self._from_keras(weights)
        self.x, self.cotangent = jnp.asarray(x), jnp.asarray(cotangent)
        self.programs: dict[str, Any] = {}
        self.states: dict[str, Any] = {}

    def _from_keras(self, arrays: Arrays) -> Arrays:
        return arrays

    def _to_keras(self, arrays: Arrays) -> Arrays:
        return arrays

    def _outputs(self, weights: list[Any], batch: Any, hoist: bool = True) -> Any:
        """(B, T, F) -> (B, T, D*U) in the dtype of computation; `hoist` as in `_scanned`."""
        import jax.numpy as jnp

        ways = case.directions(self.cell)
        sequence = batch.astype(self.compute).swapaxes(0, 1)
        weights = [weight.astype(self.compute) for weight in weights]
        for n in range(0, len(weights), 3 * ways):
            runs = [weights[n + 3 * way : n + 3 * way + 3] for way in range(ways)]
            outputs = [_scanned(self.cell["layer"], way == 1, hoist, sequence, *run) for way, run in enumerate(runs)]
            sequence = jnp.concatenate(outputs, -1) if ways == 2 else outputs[0]
        return sequence.swapaxes(0, 1)

    def _step(self, operation: str, state: Any, x: Any, cotangent: Any, row: Any) -> Any:
        import jax
        import jax.numpy as jnp

        weights, moments, time, _, steps = state
        batch = x[row]

        def loss(weights: Any, batch: Any) -> Any:
            return jnp.sum(self._outputs(weights, batch).astype(jnp.float32) * cotangent) / len(row)

        if operation == "inference":
            # On a CPU one product per timestep, out of the cache, is 1.7 times as fast as one for all timesteps.
            hoist = jax.default_backend() == "gpu"
            return weights, moments, time, [self._outputs(weights, batch, hoist)], steps + 1
        if operation == "forward_backward":
            of_weights, of_batch = jax.grad(loss, (0, 1))(weights, batch)
            return weights, moments, time, [*of_weights, of_batch], steps + 1
        gradients, time = jax.grad(loss)(weights, batch), time + 1
        first = [reference.BETA_1 * m + (1 - reference.BETA_1) * g for m, g in zip(moments[0], gradients, strict=True)]
        second = [
            reference.BETA_2 * v + (1 - reference.BETA_2) * g**2 for v, g in zip(moments[1], gradients, strict=True)
        ]
        shares = [1 - beta**time for beta in (reference.BETA_1, reference.BETA_2)]
        weights = [
            w - reference.RATE * (m / shares[0]) / (jnp.sqrt(v / shares[1]) + reference.EPSILON)
            for w, m, v in zip(weights, first, second, strict=True)
        ]
        return weights, (first, second), time, [], steps + 1

    def _start(self, operation: str) -> Any:
        """Weights, moments, Adam's time, results and steps of an arm that has not run; copies, for they are donated."""
        import jax
        import jax.numpy as jnp

        weights = [jnp.array(weight) for weight in self.initial]
        trains = operation == "train_step"
        moments = tuple([jnp.zeros_like(weight) for weight in weights] for _ in range(2)) if trains else ()
        state: Any = (weights, moments, jnp.zeros(()), [], jnp.zeros((), jnp.int32))
        row = jax.ShapeDtypeStruct((len(self.x),), jnp.int32)
        shapes = jax.eval_shape(partial(self._step, operation), state, self.x, self.cotangent, row)[3]
        return (*state[:3], [jnp.zeros(shape.shape, shape.dtype) for shape in shapes], state[4])

    def compile(self, operation: str) -> None:
        import jax
        import jax.numpy as jnp

        # keep_unused: the results of the step before are not read, but their memory is written again.
        jitted = jax.jit(self._step, static_argnums=0, donate_argnums=1, keep_unused=True)
        state, row = self._start(operation), jnp.zeros(len(self.x), jnp.int32)
        self.programs[operation] = jitted.lower(operation, state, self.x, self.cotangent, row).compile()
        self.states[operation] = state

    def run(self, operation: str, rows: np.ndarray) -> int:
        import jax
        import jax.numpy as jnp

        program, x, cotangent = self.programs[operation], self.x, self.cotangent
        state: Any = (*self.states[operation][:4], jnp.zeros((), jnp.int32))
        for row in rows.astype(np.int32):  # slicing one device array would compile a program for every number of rows
            state = program(state, x, cotangent, row)
        self.states[operation] = jax.block_until_ready(state)
        return int(state[4])

    def memory_bytes(self, operation: str) -> int:
        """What the compiled program holds at once: arguments, results and temporaries."""
        return program_bytes(self.programs[operation])

    def values(self, operation: str) -> Arrays:
        row = np.arange(len(self.x), dtype=np.int32)
        weights, _, _, results, _ = self.programs[operation](self._start(operation), self.x, self.cotangent, row)
        found = [np.asarray(array, np.float32) for array in (weights if operation == "train_step" else results)]
        if operation == "forward_backward":
            return [*self._to_keras(found[:-1]), found[-1]]
        return self._to_keras(found) if operation == "train_step" else found

    def kernel_evidence(self, operation: str) -> tuple[str, str]:
        return ran_in_hlo(self.programs[operation].as_text(), recurrent=self.cell["layers"])


class CudnnJaxArm(JaxArm):
    """All layers in one call of cuDNN, whose weights are one flat array: per layer and direction both kernels, then biases.

    A layer has a second bias: zero at first, then trained.
    """

    def _from_keras(self, arrays: Arrays) -> Arrays:
        parts = [array.T for n, array in enumerate(arrays) if n % 3 != 2]
        for bias in arrays[2::3]:
            parts += [bias, np.zeros_like(bias)]
        return [np.concatenate([part.ravel() for part in parts])]

    def _to_keras(self, arrays: Arrays) -> Arrays:
        shapes = reference.shapes(self.cell)
        matrices, biases = [shape for n, shape in enumerate(shapes) if n % 3 != 2], shapes[2::3]
        sizes = [*[rows * columns for rows, columns in matrices], *[columns for (columns,) in biases for _ in range(2)]]
        parts = np.split(arrays[0], np.cumsum(sizes)[:-1])
        found = [part.reshape(shape[::-1]).T for part, shape in zip(parts, matrices, strict=False)]
        firsts = parts[len(matrices) :: 2]
        return [array for n, bias in enumerate(firsts) for array in (found[2 * n], found[2 * n + 1], bias)]

    def _outputs(self, weights: list[Any], batch: Any, hoist: bool = True) -> Any:
        import jax.numpy as jnp
        from jax.experimental import rnn

        size, timesteps, features = batch.shape
        units, layers, ways = self.cell["units"], self.cell["layers"], case.directions(self.cell)
        zero, lengths = jnp.zeros((layers * ways, size, units)), jnp.full((size,), timesteps, jnp.int32)
        return rnn.lstm(batch, zero, zero, weights[0], lengths, features, units, layers, 0.0, ways == 2)[0]


def _scanned(layer: str, backwards: bool, hoist: bool, sequence: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """One direction of a layer in JAX: (T, B, F) -> (T, B, U), by one scan; with `hoist`, one product for all inputs before it.

    The gradient of the recurrent kernel is taken out of the scan, where it would be summed up timestep by timestep: it is
    one product over all timesteps, of the outputs before and the gradients that arrive at their products.
    """
    import jax
    import jax.numpy as jnp

    sigmoid, tanh = jax.nn.sigmoid, jnp.tanh

    def timestep(recurrent: Any, carry: Any, given: Any) -> Any:
        h, c = carry
        wx, b = given
        uh = h @ recurrent
        if layer == "gru":
            (xz, xr, xn), (hz, hr, hn) = jnp.split(wx, 3, -1), jnp.split(uh + b, 3, -1)
            z = sigmoid(xz + hz)
            h = z * h + (1 - z) * tanh(xn + sigmoid(xr + hr) * hn)
        elif layer == "simple_rnn":
            h = tanh(wx + uh)
        else:
            i, f, g, o = jnp.split(wx + uh, 4, -1)
            c = sigmoid(f) * c + sigmoid(i) * tanh(g)
            h = sigmoid(o) * tanh(c)
        return (h, c), h

    zero = jnp.zeros((sequence.shape[1], len(recurrent)), sequence.dtype)
    start = (zero, zero if "lstm" in layer else None)
    first, second = (bias[0], bias[1]) if layer == "gru" else (bias, None)
    if not hoist:

        def both_products(carry: Any, x: Any) -> Any:
            return timestep(recurrent, carry, (x @ kernel + first, second))

        return jax.lax.scan(both_products, start, sequence, reverse=backwards)[1]

    def scan(wx: Any, b: Any, recurrent: Any) -> Any:
        return jax.lax.scan(lambda *both: timestep(recurrent, *both), start, (wx, b), reverse=backwards)[1]

    def forward(wx: Any, b: Any, recurrent: Any) -> Any:
        h, pull = jax.vjp(lambda wx, b: scan(wx, b, recurrent), wx, b)
        return h, (h, pull)

    def backward(kept: Any, gradient: Any) -> Any:
        h, pull = kept
        dwx, db = pull(gradient)
        duh = dwx if db is None else db
        before, duh = (h[1:], duh[:-1]) if backwards else (h[:-1], duh[1:])
        return dwx, db, jnp.einsum("tbu,tbg->ug", before, duh)

    hoisted = jax.custom_vjp(scan)
    hoisted.defvjp(forward, backward)
    wx = jnp.einsum("tbf,fg->tbg", sequence, kernel) + first
    # A GRU's second bias has a gradient per timestep of its own, since the reset gate acts after the product.
    return hoisted(wx, None if second is None else jnp.broadcast_to(second, wx.shape), recurrent)
