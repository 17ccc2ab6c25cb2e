"""Small networks of one option each, and what any network's programs say of its recurrent layers. Runs in a worker."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_bench.core.errors import LstmBenchError
from lstm_bench.cuda import pretended_gpu, torch_rules, verdict
from lstm_bench.cuda.options import KEPT, OPERATIONS
from lstm_bench.cuda.verdict import Layer, Verdict
from lstm_bench.model import build, kernel
from lstm_bench.training.engine import factory

TIMESTEPS, FEATURES, UNITS, BATCH, CLASSES = 8, 4, 6, 4, 3


class Reading(NamedTuple):
    """What one operation's program says of each layer."""

    layers: list[Layer]
    verdicts: list[Verdict]


def readings(backend: str, engine: Any, operations: Sequence[str] = tuple(OPERATIONS)) -> dict[str, Reading]:
    """Of an engine that nothing was traced of yet: of `training` and of `inference`, each by its own program.

    Raises:
      KernelError: where the installed versions are not those that the reading knows.
    """
    layers, found = verdict.marked(engine.model), {}
    for name in operations:
        try:
            found[name] = Reading(layers, _verdicts(backend, engine, layers, OPERATIONS[name]) if layers else [])
        except LstmBenchError:
            raise
        except Exception as error:  # whatever a layer, Keras or the backend raises: there is no program to read
            reason = f"no program can be built: {type(error).__name__}: {verdict.shortened(str(error))}"
            found[name] = Reading(layers, [Verdict(verdict.UNKNOWN, "", reason)] * len(layers))
    return found


def _verdicts(backend: str, engine: Any, layers: Sequence[Layer], operation: str) -> list[Verdict]:
    if backend == "jax":
        module = engine.lowered(operation, "cuda").compiler_ir("stablehlo")
        return verdict.judged(layers, verdict.in_stablehlo(module, layers), engine.timesteps, verdict.SCAN)
    if backend == "tensorflow":
        graph = verdict.in_graph(engine.graph(operation), layers)
        return verdict.judged(layers, graph, engine.timesteps, verdict.LOOP)
    calls = torch_rules.Calls()
    with calls.watched():
        engine.run(operation, np.arange(engine.batch_size, dtype=np.int32)[None])
    return torch_rules.judged(layers, engine.model, calls)


def require_effect(backend: str) -> None:
    """Raises KernelError unless the pretended GPU gives a plain LSTM cuDNN: then everything it says may be believed."""
    if backend == "torch":
        torch_rules.require_known()
    [one] = readings(backend, engine_of(backend, "lstm", "plain"), ("training",))["training"].verdicts
    if one.kernel != verdict.CUDNN:
        raise pretended_gpu.changed(backend, f"Keras's way to cuDNN (a plain LSTM: {one.reason or one.evidence})")


def engine_of(backend: str, layer: str, option: str) -> Any:
    """The engine of a small network.

    Args:
      backend: Of Keras.
      layer: One of `options.CELLS`.
      option: One of its options.
    """
    import keras

    kinds = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple_rnn": keras.layers.SimpleRNN}
    keras.config.set_dtype_policy("mixed_bfloat16" if option == "dtype=bfloat16" else "float32")
    try:
        body = [keras.layers.Masking()] if option in ("mask", KEPT) else []
        given = _arguments(option)
        if option == KEPT:
            kinds = kernel.makers("cudnn", masked=True)
        if option == "stacked":
            body.append(kinds[layer](UNITS, return_sequences=True))
        last = kinds[layer](UNITS, **given)
        body.append(keras.layers.Bidirectional(last) if option == "bidirectional" else last)
        model = keras.Sequential([keras.Input((TIMESTEPS, FEATURES)), *body, keras.layers.Dense(CLASSES)])
    finally:
        keras.config.set_dtype_policy("float32")
    return _engine(backend, model, (TIMESTEPS, FEATURES), TIMESTEPS)


def engine_of_family(backend: str, model: Mapping[str, Any], input_shape: tuple[int, int] = (28, 28)) -> Any:
    """The engine of a family as `conf/model/` has it, on sequences of MNIST's shape."""
    built, lengths = build.build(model, input_shape, CLASSES, "plain")
    return _engine(backend, built, input_shape, min(lengths, default=0))


def _engine(backend: str, model: Any, input_shape: tuple[int, int], timesteps: int) -> Any:
    import keras

    x, y = np.zeros((BATCH, *input_shape), np.float32), np.zeros(BATCH, np.int32)
    return factory.make(
        backend,
        model,
        keras.optimizers.SGD(0.1),
        x,
        y,
        batch_size=BATCH,
        evaluation_batch_size=BATCH,
        kernel="generic",
        lengths=[timesteps],
    )


def _arguments(option: str) -> dict[str, Any]:
    name, _, value = option.partition("=")
    if not value or name == "dtype" or option == KEPT:
        return {}
    return {name: {"False": False, "True": True}.get(value, value if value.isalpha() else float(value))}


def rows(about: Mapping[str, Any], read: Mapping[str, Reading], backend: str) -> list[dict[str, Any]]:
    """Rows of `predicted.csv`, one per operation: the layers' common kernel, or why there is none."""
    return [{**about, "backend": backend, "operation": name, **_joined(one, backend)} for name, one in read.items()]


def _joined(read: Reading, backend: str) -> dict[str, Any]:
    verdicts = read.verdicts
    kernels = list(dict.fromkeys(one.kernel for one in verdicts))
    reasons = list(dict.fromkeys(one.reason for one in verdicts if one.reason))
    if len(kernels) > 1 and verdict.UNKNOWN not in kernels:
        reasons.append(", ".join(f"{len(list(same))} {kernel}" for kernel, same in itertools.groupby(sorted(kernels))))
    return {
        "predicted": kernels[0] if len(kernels) == 1 else verdict.UNKNOWN if kernels else "none",
        "layers": len(verdicts),
        "cudnn_layers": sum(one.kernel == verdict.CUDNN for one in verdicts),
        "by": verdict.RULE if backend == "torch" else verdict.PROGRAM,
        "evidence": next((one.evidence for one in verdicts if one.evidence), ""),
        "reason": "; ".join(reasons),
    }
