"""What the harness adds to what it times: the probe's windows against a loop written by hand, taken in turn.

    python tests/benchmarks/harness_cost.py [backend ...]

One process per backend. Both sides run the same Keras layer, kernel `generic`, the same weights and inputs, whole training
steps; the hand-written loop is the shortest that trains: no indices, no counters, no interface. Prints the ratio of the
medians (hand-written seconds over the harness's: 1.00 is free, 0.97 is 3 % of cost) with its 95 % interval over the pairs.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

CELL = {"layer": "lstm", "units": 64, "layers": 1, "timesteps": 28, "features": 28, "batch": 64, "dtype": "float32"}
PAIRS = 40
WINDOW_S = 0.2


def by_hand(backend: str, model: Any, optimizer: Any, x: np.ndarray, cotangent: np.ndarray) -> Callable[[int], None]:
    """`run(steps)`, which returns when the device is idle."""
    batch = len(x)
    if backend == "tensorflow":
        import tensorflow as tf

        inputs, slope = tf.constant(x), tf.constant(cotangent)

        @tf.function(input_signature=[tf.TensorSpec((), tf.int32)])
        def loop(steps: Any) -> Any:
            loss = 0.0
            for _ in tf.range(steps):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_sum(model(inputs, training=True) * slope) / batch
                variables = model.trainable_variables
                optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

        return lambda steps: float(loop(tf.constant(steps)))  # type: ignore[return-value]
    if backend == "jax":
        import jax

        inputs, slope = jax.device_put(x), jax.device_put(cotangent)
        fixed = [variable.value for variable in model.non_trainable_variables]

        def step(state: Any) -> Any:
            def loss_of(trainable: Any) -> Any:
                return (model.stateless_call(trainable, fixed, inputs, training=True)[0] * slope).sum() / batch

            trainable, slots = optimizer.stateless_apply(state[1], jax.grad(loss_of)(state[0]), state[0])
            return trainable, slots

        compiled = jax.jit(step, donate_argnums=0)
        held = [
            ([v.value.copy() for v in model.trainable_variables], [v.value.copy() for v in optimizer.variables]),
        ]

        def run(steps: int) -> None:
            state = held.pop()
            for _ in range(steps):
                state = compiled(state)
            held.append(jax.block_until_ready(state))

        return run
    import torch

    inputs, slope = torch.as_tensor(x), torch.as_tensor(cotangent)

    def run_torch(steps: int) -> None:
        variables = model.trainable_variables
        for _ in range(steps):
            model.zero_grad()
            ((model(inputs, training=True) * slope).sum() / batch).backward()
            with torch.no_grad():
                optimizer.apply([v.value.grad for v in variables], variables)

    return run_torch


def main(backend: str) -> None:
    """Prints the line of one backend, in a process that has loaded no other."""
    from lstm_bench.core.clock import clock
    from lstm_bench.kernels import measure, reference
    from lstm_bench.kernels.summary import ratio_interval

    weights, (x, cotangent) = reference.weights(CELL), reference.inputs(CELL)
    measure.set_precision(backend, "float32")
    arm: Any = measure.make(backend, "generic", CELL, weights, x, cotangent)
    arm.compile("train_step")
    twin: Any = measure.make(backend, "generic", CELL, weights, x, cotangent)
    loop = by_hand(backend, twin.model, twin.optimizer, x, cotangent)
    rng = np.random.default_rng(0)

    def harness(steps: int) -> float:
        rows = rng.permuted(np.tile(np.arange(len(x), dtype=np.int32), (steps, 1)), axis=1)
        since = clock()
        assert arm.run("train_step", rows) == steps
        return clock() - since

    def hand(steps: int) -> float:
        since = clock()
        loop(steps)
        return clock() - since

    for _ in range(3):
        harness(3), hand(3)
    steps = max(1, round(WINDOW_S / (harness(10) / 10)))
    seconds: dict[str, dict[int, list[float]]] = {"harness": {}, "hand": {}}
    for pair in range(PAIRS):
        for name, timed in (("harness", harness), ("hand", hand))[:: 1 - 2 * (pair % 2)]:
            seconds[name].setdefault(pair // 4, []).append(timed(steps))
    found = ratio_interval(seconds["hand"], seconds["harness"])
    medians = {
        name: 1000 * np.median([s for r in rounds.values() for s in r]) / steps for name, rounds in seconds.items()
    }
    print(
        f"{backend}: step {medians['harness']:.3f} ms in the harness, {medians['hand']:.3f} ms by hand,"
        f" ratio {found.value:.3f} [{found.low:.3f}, {found.high:.3f}], {PAIRS} pairs of {steps} steps"
    )


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--one":
        main(sys.argv[2])
    else:
        for name in sys.argv[1:] or ["tensorflow", "jax", "torch"]:
            if importlib.util.find_spec(name):
                environment = {**os.environ, "KERAS_BACKEND": name, "TF_CPP_MIN_LOG_LEVEL": "3"}
                subprocess.run([sys.executable, __file__, "--one", name], env=environment, check=True)
