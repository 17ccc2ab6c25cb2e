"""Kernels: name -> recurrent layer makers, and the proof of what ran.

A kernel is an implementation of the recurrent step. It is named and either runs or refuses:

| kernel         | tensorflow                       | jax                        | torch                   |
|----------------|----------------------------------|----------------------------|-------------------------|
| `cudnn`        | one CudnnRNN op per layer        | one cudnn_rnn call         | one _cudnn_rnn op       |
| `fused`        | -                                | -                          | torch's own LSTM, on a CPU |
| `generic`      | graph `While`, no XLA            | jitted `scan`              | Python loop             |
| `xla`          | the `While` compiled by XLA      | - (generic is XLA)         | -                       |
| `unrolled`     | no loop: every timestep in the graph | every timestep, jitted | - (generic is unrolled) |
| `unrolled_xla` | the same, compiled by XLA        | -                          | -                       |

Sequences of unequal length come with a mask, padded on the right. TensorFlow's cuDNN op takes their lengths, and asserts that
they are padded so. Keras on JAX and on torch leaves cuDNN for a loop where there is a mask: `cudnn` has layers of ours there,
which give JAX's call the lengths (`cudnn_jax.py`), and torch's packed sequences (`fused_torch.py`), as `fused` does. All others
step over the padding and keep the state.

What ran is read from evidence, never from the flag: op names in the traced graph of the very function that trains, the
compiled HLO, or the profiler's op names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from lstm_bench.core.errors import KernelError
from lstm_bench.core.vocabulary import OF_BACKEND
from lstm_bench.model import cudnn_jax, fused_torch

NAMES = ("auto", "cudnn", "fused", "generic", "xla", "unrolled", "unrolled_xla")
# The layers that a family can ask for by an argument of this name, in words; for which of them Keras has a cuDNN path, and
# torch an operation of its own. The rest run timestep by timestep: generic, unrolled, or either compiled by XLA.
LAYERS = {
    "lstm": "LSTM",
    "gru": "GRU",
    "simple_rnn": "SimpleRNN",
    "dropout_lstm": "LSTM with recurrent dropout",
    "layer_norm_lstm": "LSTM with layer normalisation",
}
FUSED_LAYERS = {"lstm", "gru", "simple_rnn"}
CUDNN_LAYERS = {"tensorflow": {"lstm", "gru"}, "jax": {"lstm"}, "torch": {"lstm", "gru"}}
# For which of them it stays so with a mask: by Keras on TensorFlow, elsewhere by layers of ours.
CUDNN_MASKED = {"tensorflow": {"lstm", "gru"}, "jax": {"lstm"}, "torch": {"lstm", "gru"}}


def unavailable(
    kernel: str, backend: str, layers: Iterable[str], gpu: str | None, *, masked: bool = False
) -> str | None:
    """Why `kernel` cannot run, or None when it can.

    Args:
      kernel: A kernel other than "auto".
      backend: Keras backend.
      layers: Recurrent layers of the family, keys of `LAYERS`.
      gpu: Name of the NVIDIA GPU, None where there is none.
      masked: Whether sequences differ in length.
    """
    layers = set(layers)
    if kernel not in OF_BACKEND[backend]:
        return f"backend={backend} has no kernel of that name (it has {', '.join(OF_BACKEND[backend])})"
    if kernel == "cudnn":
        without = sorted(layers - CUDNN_LAYERS[backend])
        if without:
            return f"{LAYERS[without[0]]} has no cuDNN kernel on backend={backend}"
        if not layers:
            return "the family has no recurrent layer"
        if masked and (without := sorted(layers - CUDNN_MASKED[backend])):
            return f"{LAYERS[without[0]]} has no cuDNN kernel on backend={backend} where sequences differ in length"
        if gpu is None:
            return "no GPU"
    if kernel in ("fused", "unrolled", "unrolled_xla") and not layers:
        return "the family has no recurrent layer"
    if kernel == "fused" and layers - FUSED_LAYERS:
        return f"torch has no operation for {LAYERS[min(layers - FUSED_LAYERS)]}"
    if kernel == "fused" and gpu is not None:
        return "torch's own operation is cuDNN on a GPU: kernel=cudnn"
    return None


def require(kernel: str, backend: str, layers: Iterable[str], gpu: str | None, *, masked: bool = False) -> None:
    """Raises KernelError when the named kernel cannot run here; "auto" always can."""
    if kernel == "auto":
        return
    reason = unavailable(kernel, backend, layers, gpu, masked=masked)
    if reason:
        raise KernelError(
            f"kernel={kernel} cannot run: {reason}",
            remedy="Name another, or kernel=auto to take the fastest by measurement.",
        )


def makers(kernel: str, *, masked: bool = False) -> dict[str, Any]:
    """Layer makers `name -> maker(units, **options)` of Keras layers bound to `kernel`; "plain" binds to none.

    Args:
      kernel: A kernel other than "auto", or "plain".
      masked: Whether the layers get a mask, of sequences padded on the right.
    """
    import keras

    from lstm_bench.model import layers as own

    layers = {
        "lstm": keras.layers.LSTM,
        "gru": keras.layers.GRU,
        "simple_rnn": keras.layers.SimpleRNN,
        "dropout_lstm": keras.layers.LSTM,
        "layer_norm_lstm": own.layer_norm_lstm,
    }
    if kernel == "plain":
        return layers

    if kernel == "fused":
        return dict(fused_torch.layers())

    if kernel == "cudnn" and masked:
        ours = {"jax": cudnn_jax, "torch": fused_torch}.get(keras.backend.backend())
        kept = ours.layers() if ours else {}
        layers |= {name: kept[name] for name in kept if name in CUDNN_MASKED[keras.backend.backend()]}

    unroll = kernel in ("unrolled", "unrolled_xla")

    def maker(name: str) -> Any:
        layer = layers[name]
        options: dict[str, Any] = {"unroll": unroll}
        if name == "dropout_lstm":
            options["use_cudnn"] = False
        if name in ("lstm", "gru"):
            options["use_cudnn"] = kernel == "cudnn"
            if kernel == "generic" and keras.backend.backend() == "torch":
                # What a user gets without cuDNN: the loop that "auto" falls back to, twice as fast as that of False. An
                # activation that cuDNN does not know keeps it from cuDNN where there is a GPU.
                options |= {"use_cudnn": "auto", "activation": keras.saving.register_keras_serializable()(_tanh)}
        return lambda units, **more: layer(units, **{**options, **more})

    return {name: maker(name) for name in LAYERS}


def _tanh(x: Any) -> Any:
    from keras import ops

    return ops.tanh(x)


def is_xla(kernel: str) -> bool:
    """Whether TensorFlow is to compile the training step by XLA."""
    return kernel in ("xla", "unrolled_xla")


def _reachable(graph: Any) -> Iterable[Any]:
    """Nodes of a GraphDef and of its function library."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def ran_in_graph(graph: Any, *, recurrent: int, timesteps: int) -> tuple[str, str]:
    """Kernel that a TensorFlow graph runs, and the evidence.

    Args:
      graph: GraphDef of the traced training step, with its function library.
      recurrent: Number of recurrent layers in the model.
      timesteps: Length of the shortest sequence that one runs over; an unrolled step has at least that many products.
    """
    ops = Counter(node.op for node in _reachable(graph))
    xla = any(function.attr["_XlaMustCompile"].b for function in graph.library.function)
    cudnn = sum(n for op, n in ops.items() if op.startswith("CudnnRNN") and "Backprop" not in op)
    loops = ops["While"] + ops["StatelessWhile"]
    evidence = f"CudnnRNN {cudnn}, While {loops}, MatMul {ops['MatMul']}, XlaMustCompile {str(xla).lower()}"
    evidence += f", Assert {ops['Assert']}" if ops["CudnnRNNV3"] and ops["Assert"] else ""  # right-padded lengths
    if not recurrent:
        return "none", evidence
    if cudnn:
        return ("cudnn" if not loops else "mixed"), evidence
    if loops:
        return ("xla" if xla else "generic"), evidence
    if ops["MatMul"] < timesteps:
        return "unknown", evidence
    return ("unrolled_xla" if xla else "unrolled"), evidence


def ran_in_hlo(hlo: str, *, recurrent: int, around: int = 0) -> tuple[str, str]:
    """Kernel that a compiled XLA program (JAX) runs, and the evidence, from the HLO's text.

    `around` loops are those over steps, which are ours: they say nothing of the kernel.
    """
    cudnn = len(re.findall(r'custom_call_target="[^"]*cudnn_rnn[^"]*"', hlo))
    # A recurrence carries a state of floating-point numbers; XLA's random generator, in a loop of its own, whole numbers alone.
    carried = re.findall(r"^(.*) while\(", hlo, re.MULTILINE)
    loops = sum(bool(re.search(r"\b(?:bf16|f\d\w*)\[", state)) for state in carried) - around
    evidence = f"cudnn_rnn custom calls {cudnn}, while {loops}" + (f" in {around} over steps" if around else "")
    if not recurrent:
        return "none", evidence
    if cudnn:
        return ("cudnn" if not loops else "mixed"), evidence
    return ("generic" if loops else "unrolled"), evidence


def program_bytes(program: Any) -> int:
    """Bytes that a compiled JAX program holds at once: arguments, results that take over none of them, temporaries."""
    analysis = program.memory_analysis()
    sizes = analysis.argument_size_in_bytes + analysis.output_size_in_bytes + analysis.temp_size_in_bytes
    return int(sizes - analysis.alias_size_in_bytes)


def ran_in_profile(ops: Mapping[str, int], *, recurrent: int, timesteps: int) -> tuple[str, str]:
    """Kernel that a profiled torch step ran, and the evidence, from op name -> number of calls."""
    cudnn = sum(n for name, n in ops.items() if name == "aten::_cudnn_rnn")
    own = sum(n for name, n in ops.items() if name in ("aten::lstm", "aten::gru", "aten::rnn_tanh"))
    products = sum(n for name, n in ops.items() if name in ("aten::mm", "aten::addmm"))
    evidence = f"aten::_cudnn_rnn {cudnn}, aten::mm + aten::addmm {products}"
    evidence += f", aten::lstm + gru + rnn_tanh {own}" if own else ""
    if not recurrent:
        return "none", evidence
    if cudnn:
        # Keras runs both directions of a layer in one call: a layer that left cuDNN shows by its products.
        return ("cudnn" if products < timesteps else "mixed"), evidence
    if own:
        return ("fused" if own >= recurrent else "mixed"), evidence
    return ("generic" if products >= timesteps else "unknown"), evidence
