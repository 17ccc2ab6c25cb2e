"""The four families in JAX alone, as fast as it goes on one core: what a sweep is held against.

    python bare_jax.py JOB.json

Scans with a backward pass written by hand (a step with one LSTM of 64 takes 1.7 times as long where JAX derives it), not
unrolled, which is slower. One compiled step serves all trials of one shape: learning rate, dropout and the choice of the
optimizer are its arguments. One call per step: an epoch as one scan over its steps was as fast.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import bare_workers
import numpy as np

EVALUATION_BATCH = 1000


def recurrent(lstm: bool) -> Any:
    """`run(inputs, kernel)`: products of inputs with their kernel (T, B, G*U) and recurrent kernel -> outputs (T, B, U)."""
    import jax
    import jax.numpy as jnp

    def forward(products: Any, kernel: Any) -> Any:
        def lstm_step(carry: Any, product: Any) -> Any:
            h, c = carry
            i, f, g, o = jnp.split(product + h @ kernel, 4, -1)
            i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
            after = f * c + i * g
            tanh = jnp.tanh(after)
            return (o * tanh, after), (o * tanh, i, f, g, o, tanh, c)

        def rnn_step(h: Any, product: Any) -> Any:
            h = jnp.tanh(product + h @ kernel)
            return h, (h,)

        zero = jnp.zeros((products.shape[1], len(kernel)))
        kept = jax.lax.scan(lstm_step if lstm else rnn_step, (zero, zero) if lstm else zero, products)[1]
        return kept[0], (kept, kernel)

    def backward(found: Any, gradient: Any) -> Any:
        (h, *kept), kernel = found
        back = kernel.T

        def lstm_step(carry: Any, given: Any) -> Any:
            inner, dc = carry
            dh, i, f, g, o, tanh, c = given
            dh += inner @ back
            dc += dh * o * (1 - tanh**2)
            gates = [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), dh * tanh * o * (1 - o)]
            inner = jnp.concatenate(gates, -1)
            return (inner, dc * f), inner

        def rnn_step(inner: Any, given: Any) -> Any:
            dh, h = given
            inner = (dh + inner @ back) * (1 - h**2)
            return inner, inner

        zero = jnp.zeros((h.shape[1], back.shape[0]))
        start, given = ((zero, jnp.zeros_like(h[0])), (gradient, *kept)) if lstm else (zero, (gradient, h))
        inner = jax.lax.scan(lstm_step if lstm else rnn_step, start, given, reverse=True)[1]
        return inner, jnp.einsum("tbu,tbg->ug", h[:-1], inner[1:])

    run = jax.custom_vjp(lambda products, kernel: forward(products, kernel)[0])
    run.defvjp(forward, backward)
    return run


def initial(family: str, config: Mapping[str, Any], features: int, rng: np.random.Generator) -> dict[str, Any]:
    """Weights as Keras draws them: name -> arrays."""

    def glorot(*shape: int, receptive: int = 1) -> np.ndarray:
        limit = math.sqrt(6 / (receptive * (shape[-2] + shape[-1])))
        return rng.uniform(-limit, limit, shape).astype(np.float32)

    def zeros(size: int) -> np.ndarray:
        return np.zeros(size, np.float32)

    units, width, weights = config["units"], features, {}
    if family == "cnn_lstm":
        size, filters = config["kernel_size"], config["filters"]
        weights["convolution"] = [glorot(size, size, 1, filters, receptive=size**2), zeros(filters)]
        width = filters * (config["window"] // 2) * (features // 2)
    gates = 1 if family == "simple_rnn" else 4
    for layer in range(config.get("layers", 1)):
        q, r = np.linalg.qr(rng.standard_normal((gates * units, units)))
        bias = zeros(gates * units)
        if gates == 4:
            bias[units : 2 * units] = 1  # the forget gate
        weights[f"recurrent_{layer}"] = [glorot(width, gates * units), (q * np.sign(np.diag(r))).T, bias]
        width = units
    if family in ("single", "simple_rnn"):
        weights["normalization"] = [np.ones(units, np.float32), zeros(units)]
    if family == "stacked":
        weights["hidden"] = [glorot(units, config["dense_units"]), zeros(config["dense_units"])]
        width = config["dense_units"]
    weights["head"] = [glorot(width, 10), zeros(10)]
    return {name: [np.asarray(array, np.float32) for array in arrays] for name, arrays in weights.items()}


def logits(
    family: str, window: int, weights: Any, moving: Any, x: Any, dropout: Any = None, key: Any = None
) -> tuple[Any, Any]:
    """Logits (batch, 10) and the moved averages of the normalisation; training where there is a `key`."""
    import jax
    import jax.numpy as jnp

    keys = [None, None] if key is None else list(jax.random.split(key))

    def dropped(x: Any) -> Any:
        if (key := keys.pop()) is None:
            return x
        kept = jax.random.bits(key, x.shape, "uint16") >= dropout * 65536
        return jnp.where(kept, x / (1 - dropout), 0)

    def dense(x: Any, weights: Any) -> Any:
        return x @ weights[0] + weights[1]

    if family == "cnn_lstm":
        x = pooled(x, window, *weights["convolution"])
    sequence, run = x.swapaxes(0, 1), recurrent(family != "simple_rnn")
    for name in sorted(name for name in weights if name.startswith("recurrent")):
        if name != "recurrent_0":
            sequence = dropped(sequence)
        kernel, recurrent_kernel, bias = weights[name]
        sequence = run(jnp.einsum("tbf,fg->tbg", sequence, kernel) + bias, recurrent_kernel)
    x = sequence[-1]
    if family in ("single", "simple_rnn"):
        mean, variance = moving if key is None else (x.mean(0), x.var(0))
        if key is not None:
            moving = [0.99 * old + 0.01 * new for old, new in zip(moving, (mean, variance), strict=True)]
        scale, offset = weights["normalization"]
        x = (x - mean) * jax.lax.rsqrt(variance + 1e-3) * scale + offset
    if family == "stacked":
        x = dropped(jax.nn.relu(dense(x, weights["hidden"])))
    return dense(x, weights["head"]), moving


def pooled(x: Any, window: int, kernel: Any, bias: Any) -> Any:
    """The CNN: (batch, timesteps, features) -> (batch, timesteps / window, what it finds)."""
    import jax
    import jax.numpy as jnp

    images = x.reshape(-1, window, x.shape[2], 1)
    layout = ("NHWC", "HWIO", "NHWC")
    found = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=layout)
    height, width = window // 2, x.shape[2] // 2
    found = found[:, : 2 * height, : 2 * width].reshape(-1, height, 2, width, 2, len(bias))
    rows = jnp.maximum(found[:, :, 0], found[:, :, 1])
    highest = jnp.maximum(rows[:, :, :, 0], rows[:, :, :, 1])  # before bias and ReLU: fewer of both, and the same
    return jax.nn.relu(highest + bias).reshape(len(x), x.shape[1] // window, -1)


def step(family: str, window: int, state: Any, settings: Any, x: Any, y: Any, row: Any) -> Any:
    """One training step. `settings`: learning rate, dropout, whether Adam, and a key.

    Keras's RMSprop is the same formula: no first moment, 0.9 in the second, no correction, epsilon below the root.
    """
    import jax
    import jax.numpy as jnp

    weights, moving, first, second, time = state
    rate, dropout, adam, key = settings
    inputs, labels, time = x[row], y[row], time + 1

    def loss(weights: Any) -> Any:
        found, moved = logits(family, window, weights, moving, inputs, dropout, jax.random.fold_in(key, time))
        return -jnp.take_along_axis(jax.nn.log_softmax(found), labels[:, None], 1).mean(), moved

    gradients, moving = jax.grad(loss, has_aux=True)(weights)
    beta_1, beta_2 = jnp.where(adam, 0.9, 0.0), jnp.where(adam, 0.999, 0.9)
    rate *= jnp.where(adam, jnp.sqrt(1 - beta_2**time) / (1 - beta_1**time), 1.0)
    inside, outside = jnp.where(adam, 0.0, 1e-7), jnp.where(adam, 1e-7, 0.0)
    first = jax.tree.map(lambda m, g: beta_1 * m + (1 - beta_1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: beta_2 * v + (1 - beta_2) * g**2, second, gradients)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v + inside) + outside), weights, first, second)
    return weights, moving, first, second, time


def load(job: Mapping[str, Any]) -> bare_workers.Train:
    """The data as arrays, once per worker, and the training of one trial on them."""
    import jax
    import jax.numpy as jnp

    with np.load(job["data"]) as file:
        data = {name: jnp.asarray(file[name]) for name in file.files}
    x, y, family, batch_size = data["x_train"], data["y_train"], job["family"], job["batch_size"]
    window = job["configs"][0].get("window", 0)
    programs: dict[int, Any] = {}  # units -> the compiled step: the only size that a list varies
    infer = jax.jit(lambda weights, moving, x: logits(family, window, weights, moving, x)[0].argmax(1))

    def accuracy(weights: Any, moving: Any) -> float:
        right = 0
        for start in range(0, len(data["x_validation"]), EVALUATION_BATCH):
            part = slice(start, start + EVALUATION_BATCH)
            right += int((infer(weights, moving, data["x_validation"][part]) == data["y_validation"][part]).sum())
        return right / len(data["y_validation"])

    def train(config: Mapping[str, Any], seed: int) -> tuple[float, float]:
        rng = np.random.default_rng(seed)
        weights = jax.tree.map(jnp.asarray, initial(family, config, x.shape[2], rng))
        moving = [jnp.zeros(config["units"]), jnp.ones(config["units"])]
        zeros = [jax.tree.map(jnp.zeros_like, weights) for _ in range(2)]
        state: Any = (weights, moving, *zeros, jnp.zeros((), jnp.int32))
        key = jax.random.key(seed, impl="unsafe_rbg")  # of dropout: threefry is slow on a CPU
        settings = (config["learning_rate"], config.get("dropout", 0.0), config["optimizer"] == "adam", key)
        settings = tuple(jnp.asarray(setting) for setting in settings)
        if config["units"] not in programs:
            jitted = jax.jit(partial(step, family, window), donate_argnums=0)
            row = jnp.zeros(batch_size, jnp.int32)
            programs[config["units"]] = jitted.lower(state, settings, x, y, row).compile()
        program, seconds, reached = programs[config["units"]], 0.0, math.nan
        for _ in range(job["epochs"]):
            since = time.perf_counter()
            rows = rng.permutation(len(x))[: len(x) // batch_size * batch_size].astype(np.int32)
            for row in rows.reshape(-1, batch_size):
                state = program(state, settings, x, y, row)
            jax.block_until_ready(state)
            seconds += time.perf_counter() - since
            reached = accuracy(state[0], state[1])
        return reached, seconds

    return train


if __name__ == "__main__":
    bare_workers.run(load)
