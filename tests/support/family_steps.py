"""Run by test_engine.py in a process of its own per backend: families beyond `single`, each with each kernel that it has.

One training step must run, show the kernel that was asked for, and change the weights as the generic kernel does; the layers of
our own must be those of their papers; and where chance is in a step, an engine that is used again must train as a fresh one.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import layer_reference
import numpy as np

from lstm_bench.core import vocabulary
from lstm_bench.model import build as family
from lstm_bench.model import kernel, layers, signature
from lstm_bench.training import optimizer
from lstm_bench.training.engine import factory

SHAPE, CLASSES = (4, 3), 4
FAMILIES: dict[str, dict[str, Any]] = {
    "gru": {"units": 5},
    "bidirectional": {"units": 5},
    "recurrent_dropout": {"units": 5, "recurrent_dropout": 0.5, "dropout": 0.3},
    "layer_norm": {"units": 5},
    "min_gru": {"units": 5},
    "cnn": {"filters": 5},
    "mlp": {"units": 5},
}
SETTINGS = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.0, "global_clipnorm": None}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, *SHAPE)).astype(np.float32)
Y = RNG.integers(0, CLASSES, 30).astype(np.int32)
ROWS, RATES = RNG.integers(0, 30, (4, 5)), np.full(4, 0.1, np.float32)


def build(name: str, kernel_name: str) -> Any:
    keras.utils.set_random_seed(1)
    return family.build({"_target_": f"lstm_bench.model.{name}", **FAMILIES[name]}, SHAPE, CLASSES, kernel_name)


def fresh(backend: str, name: str, kernel_name: str) -> factory.Engine:
    model, lengths = build(name, kernel_name)
    sizes = {"batch_size": 5, "evaluation_batch_size": 8}
    made = factory.make(
        backend, model, optimizer.optimizer(SETTINGS), X, Y, **sizes, kernel=kernel_name, lengths=lengths
    )  # fmt: skip
    made.warm_up()
    return made


def trained(made: factory.Engine) -> list[np.ndarray]:
    keras.utils.set_random_seed(2)  # as train.train does: torch draws from what is global
    made.steps(ROWS, RATES)
    made.sync_model()
    return list(made.model.get_weights())


def main(backend: str, name: str) -> None:
    takes = signature.recurrent_layers(signature.find(f"lstm_bench.model.{name}"))
    kernels = [k for k in vocabulary.OF_BACKEND[backend] if kernel.unavailable(k, backend, takes, None) is None]
    if name in (
        "gru",
        "bidirectional",
    ):  # Keras's own layers: what XLA makes of them takes long and is tested with `single`
        kernels = [k for k in kernels if "xla" not in k and (backend, k) != ("jax", "unrolled")]
    kernels.sort(key=lambda k: k != "generic")
    chance = name in ("recurrent_dropout", "mlp")
    results = {}
    for kernel_name in kernels:
        made = fresh(backend, name, kernel_name)
        before = [w.copy() for w in build(name, kernel_name)[0].get_weights()]
        for was, now in zip(before, made.model.get_weights(), strict=True):
            np.testing.assert_array_equal(was, now, err_msg="warm_up() changed the weights")
        assert made.kernel_ran == (kernel_name if takes else "none"), (name, kernel_name, made.evidence)
        results[kernel_name] = trained(made)
        assert any((was != now).any() for was, now in zip(before, results[kernel_name], strict=True))
        made.reset(build(name, kernel_name)[0])
        for kept, first in zip(trained(made), results[kernel_name], strict=True):
            np.testing.assert_allclose(kept, first, rtol=1e-4, atol=1e-6, err_msg=f"{name} {kernel_name}: kept")
        if not chance:
            for ours, generic in zip(results[kernel_name], results["generic"], strict=True):
                np.testing.assert_allclose(ours, generic, rtol=2e-3, atol=2e-5, err_msg=f"{name} {kernel_name}")
        print(backend, name, kernel_name, "ran:", made.evidence, flush=True)


def check_layers() -> None:
    x = X.astype(np.float64)
    made = layers.layer_norm_lstm(5, return_sequences=True)
    made.build(X.shape)
    weights = [RNG.standard_normal(w.shape) for w in made.get_weights()]
    made.set_weights(weights)
    found = keras.ops.convert_to_numpy(made(X))
    np.testing.assert_allclose(found, layer_reference.layer_norm_lstm(x, weights, 1e-3), rtol=1e-3, atol=1e-4)
    scan = layers.MinGRU(5, return_sequences=True)
    scan.build(X.shape)
    weights = [RNG.standard_normal(w.shape) for w in scan.get_weights()]
    scan.set_weights(weights)
    found = keras.ops.convert_to_numpy(scan(X))
    np.testing.assert_allclose(found, layer_reference.min_gru(x, weights), rtol=1e-4, atol=1e-5)
    print("layers as published")


def check_saving() -> None:
    for name in FAMILIES:
        plain, _ = build(name, "plain")
        with tempfile.TemporaryDirectory() as folder:
            plain.save(Path(folder) / "model.keras")
            loaded = keras.saving.load_model(Path(folder) / "model.keras", safe_mode=True)
        np.testing.assert_allclose(loaded.predict(X, verbose=0), plain.predict(X, verbose=0), rtol=1e-5, atol=1e-6)
    print("saved and loaded")


if __name__ == "__main__":
    check_layers()
    check_saving()
    for each in sys.argv[2:] or FAMILIES:
        main(sys.argv[1], each)
