"""Run by test_prediction.py in a process of its own per backend: prints what is predicted, or run, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import keras
from keras import layers, ops

from lstm_bench.core.errors import KernelError
from lstm_bench.cuda import networks, pretended_gpu, torch_rules
from lstm_bench.cuda.options import CELLS, KEPT

backend, asked = sys.argv[1:3]
UNITS = 5


@keras.saving.register_keras_serializable()
class Drops(layers.Dense):
    """A Dense that drops the mask."""

    def compute_mask(self, *given: Any, **more: Any) -> None:
        return None


class Mapped(layers.Layer):
    """Calls an LSTM under the backend's vectorized map."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.LSTM(UNITS)

    def call(self, x: Any) -> Any:
        return ops.vectorized_map(lambda one: self.inner(one[None])[0], x)


def network(shape: tuple[int, int], n_classes: int, *body: Any) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *body, layers.Dense(n_classes)])


def no_bias(input_shape: Any, n_classes: int) -> keras.Model:
    return network(input_shape, n_classes, layers.LSTM(UNITS, use_bias=False))


def reset_before(input_shape: Any, n_classes: int) -> keras.Model:
    return network(input_shape, n_classes, layers.GRU(UNITS, reset_after=False))


def inside(input_shape: Any, n_classes: int) -> keras.Model:
    windows = layers.Reshape((4, input_shape[0] // 4, input_shape[1]))
    return network(input_shape, n_classes, windows, layers.TimeDistributed(layers.LSTM(UNITS)), layers.Flatten())


def dropped(input_shape: Any, n_classes: int) -> keras.Model:
    return network(input_shape, n_classes, layers.Masking(), Drops(4), layers.LSTM(UNITS))


def kept(input_shape: Any, n_classes: int) -> keras.Model:
    return network(input_shape, n_classes, layers.Masking(), layers.Dense(4), layers.LSTM(UNITS))


def mapped(input_shape: Any, n_classes: int) -> keras.Model:
    return network(input_shape, n_classes, Mapped())


def said(engine: Any) -> list[str]:
    """Kernels of training and inference, and what shows or hides that of training."""
    read = networks.readings(backend, engine)
    rows = networks.rows({}, read, backend)
    return [rows[0]["predicted"], rows[1]["predicted"], rows[0]["evidence"] or rows[0]["reason"]]


def few() -> dict[str, Any]:
    found: dict[str, Any] = {}
    with pretended_gpu.pretended(backend):
        networks.require_effect(backend)
        for cell in ("lstm/plain", "lstm/mask", f"lstm/{KEPT}", "lstm/recurrent_dropout=0.2", "gru/plain"):
            found[cell] = said(networks.engine_of(backend, *cell.split("/")))
        for family in (no_bias, reset_before, inside, dropped, kept, mapped):
            model = {"_target_": f"{__name__}.{family.__name__}"}
            found[family.__name__] = said(networks.engine_of_family(backend, model, (8, 3)))
    return found | {"changed": changed()}


def changed() -> dict[str, str]:
    """Name of what another version lacks, or has otherwise -> what is said of it."""
    lines = {}
    for path, names in pretended_gpu.REPLACED[backend].items():
        for name, arguments in names.items():
            module = pretended_gpu._module(backend, path)
            before = getattr(module, name)
            for other in (None, *([lambda another: None] if arguments is not None else [])):
                setattr(module, name, other)
                lines[f"{path}.{name}"] = refused(lambda: pretended_gpu.pretended(backend).__enter__())
            setattr(module, name, before)
    # Everything is where it was, and leads nowhere.
    lines["Keras's way to cuDNN"] = refused(lambda: networks.require_effect(backend)) if backend != "torch" else ""
    if backend == "torch":
        del lines["Keras's way to cuDNN"]
        name = "keras.src.layers.rnn.lstm.LSTM.inner_loop"
        torch_rules.READ[name] = "of another version"
        lines[name] = refused(torch_rules.require_known)
    return lines


def refused(call: Any) -> str:
    try:
        call()
    except KernelError as error:
        return str(error)
    return "nothing was said"


def run() -> dict[str, Any]:
    """What each cell runs, and how that is known; of the cells that were named, where some were."""
    found = {}
    for layer, options in CELLS.items():
        for option in options:
            if sys.argv[3:] and f"{layer}/{option}" not in sys.argv[3:]:
                continue
            engine = networks.engine_of(backend, layer, option)
            engine.warm_up()
            found[f"{layer}/{option}"] = [engine.kernel_ran, engine.evidence]
    return found


if __name__ == "__main__":
    sys.modules["prediction_steps"] = sys.modules["__main__"]
    __name__ = "prediction_steps"
    print(json.dumps({"few": few, "run": run}[asked]()))
