"""torch runs step by step and builds no program: what Keras's own rules say of each call of a recurrent layer.

The network runs once on the CPU, so that masks, dropout and activations are those of the very step; the rules are Keras's, in the
versions whose source they were read from. `_cudnn_lstm` and `_cudnn_gru` of Keras swallow every exception and loop then, which no
rule sees: the evidence says "rule".
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from lstm_bench.cuda import pretended_gpu
from lstm_bench.cuda.verdict import CUDNN, LOOP, UNKNOWN, Layer, Verdict, recurrent_parts
from lstm_bench.model import fused_torch

# The functions that the rules were read from, each with the beginning of its source's SHA-256.
READ = {
    "keras.src.backend.torch.rnn.cudnn_ok": "da8b0174c7a05732",
    "keras.src.backend.torch.rnn.lstm": "eee658b90c17df73",
    "keras.src.backend.torch.rnn.gru": "c2e55311d8461817",
    "keras.src.backend.torch.rnn.bidirectional_lstm": "27dab34750e42070",
    "keras.src.backend.torch.rnn.bidirectional_gru": "b66fb984c889b9ec",
    "keras.src.layers.rnn.lstm.LSTM.inner_loop": "8dc385b0e14a252e",
    "keras.src.layers.rnn.gru.GRU.inner_loop": "c60ea87cae404e16",
}


def require_known() -> None:
    """Raises KernelError where the installed Keras has another source than the rules were read from."""
    for name, digest in READ.items():
        if _digest(name) != digest:
            raise pretended_gpu.changed("torch", name)


def _digest(name: str) -> str:
    parts = name.split(".")
    at = next(i for i, part in enumerate(parts) if part[0].isupper() or i == len(parts) - 1)
    try:
        found: Any = importlib.import_module(".".join(parts[:at]))
        for part in parts[at:]:
            found = getattr(found, part)
        return hashlib.sha256(inspect.getsource(found).encode()).hexdigest()[:16]
    except (ImportError, AttributeError, OSError):
        return "gone"


class Calls:
    """Calls of recurrent layers, as they happen: whether each had a mask, and whether it was under `vmap`."""

    def __init__(self) -> None:
        self.seen: dict[int, list[tuple[Any, bool, bool]]] = {}

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """While this lasts, `seen` is filled: by the layer's identity."""
        import keras
        import torch

        kinds = (keras.layers.RNN, keras.layers.LSTM, keras.layers.GRU, *fused_torch.layers().values())
        before = [kind.inner_loop for kind in kinds]

        def spy(original: Any) -> Any:
            def inner_loop(layer: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
                masked = (mask[0] if isinstance(mask, list | tuple) else mask) is not None
                mapped = torch._C._functorch.is_functorch_wrapped_tensor(sequences)
                self.seen.setdefault(id(layer), []).append((layer, masked, mapped))
                return original(layer, sequences, initial_state, mask=mask, training=training)

            return inner_loop

        for kind, original in zip(kinds, before, strict=True):
            kind.inner_loop = spy(original)
        try:
            yield
        finally:
            for kind, original in zip(kinds, before, strict=True):
                kind.inner_loop = original


def judged(layers: Sequence[Layer], model: Any, calls: Calls) -> list[Verdict]:
    """The verdict on each layer, from the calls of one step.

    Args:
      layers: Of `verdict.marked`.
      model: Whose they are.
      calls: Of one step.
    """
    by_mark = {one.name: one for one in model._flatten_layers(include_self=False, recursive=True)}
    return [_judged(by_mark[layer.mark], calls) for layer in layers]


def _judged(layer: Any, calls: Calls) -> Verdict:
    seen = [call for part in recurrent_parts(layer) for call in calls.seen.get(id(part), [])]
    if not seen:
        return Verdict(UNKNOWN, "", "the layer's loop over timesteps was not called as Keras calls it")
    found = {(verdict.kernel, verdict.evidence, verdict.reason) for verdict in (_rule(*call) for call in seen)}
    if len(found) > 1:
        return Verdict(UNKNOWN, "", "its calls differ: " + "; ".join(sorted(e or r for _, e, r in found)))
    return Verdict(*found.pop())


def _rule(layer: Any, masked: bool, mapped: bool) -> Verdict:
    """What `inner_loop` of Keras does with one call on a GPU."""
    import keras
    from keras.src.backend.torch import cudnn_ok

    kind, cell = type(layer).__name__, layer.cell
    if not isinstance(layer, keras.layers.LSTM | keras.layers.GRU):
        return Verdict(LOOP, f"rule: Keras has no cuDNN path for {kind}")
    owner = next(one for one in type(layer).__mro__ if "inner_loop" in vars(one))
    ours = owner.__module__ == fused_torch.__name__  # which gives torch's operation packed sequences
    if not ours and not owner.__module__.startswith("keras."):
        return Verdict(UNKNOWN, "", f"{kind} has an inner_loop of its own")
    if not ours and layer.use_cudnn is False:
        return Verdict(LOOP, "rule: use_cudnn=False")
    if layer.recurrent_dropout:
        return Verdict(LOOP, f"rule: recurrent_dropout={layer.recurrent_dropout:g}")
    if masked and not ours:
        return Verdict(LOOP, "rule: it is called with a mask")
    if getattr(cell, "reset_after", True) is False:
        return Verdict(LOOP, "rule: reset_after=False")
    if not cudnn_ok(cell.activation, cell.recurrent_activation, layer.unroll, use_bias=cell.bias is not None):
        names = (getattr(one, "__name__", str(one)) for one in (cell.activation, cell.recurrent_activation))
        given = f"activations {', '.join(names)}, unroll={layer.unroll}, use_bias={cell.use_bias}"
        return Verdict(LOOP, f"rule: cudnn_ok is false of {given}")
    if mapped:
        return Verdict(UNKNOWN, "", "it is called under vmap, where torch may refuse and Keras loops without a word")
    dtype = keras.backend.standardize_dtype(layer.compute_dtype)
    if dtype not in ("float32", "float64", "float16"):
        return Verdict(UNKNOWN, "", f"torch decides in {dtype} whether it asks cuDNN, which no rule of Keras says")
    called = "torch's own operation on packed sequences" if ours else f"torch._VF.{kind.lower()}"
    return Verdict(CUDNN, f"rule: {kind}.inner_loop calls {called} on CUDA")
