"""Stands in for what a machine without a GPU lacks while a program for one is built. Nothing that trains imports this.

| backend    | what is replaced                                            | by                                   |
|------------|-------------------------------------------------------------|--------------------------------------|
| jax        | `keras.src.backend.jax.rnn._is_gpu_available`               | yes                                  |
| jax        | `lstm_bench.model.cudnn_jax.on_gpu`                         | yes                                  |
| jax        | `jaxlib.gpu_rnn.compute_rnn_workspace_reserve_space_sizes`  | one byte each: no program is run     |
| jax        | for cuda, the lowering of `rnn_fwd_p` and `rnn_bwd_p`       | jaxlib's, a descriptor of one byte   |
| tensorflow | `keras.src.backend.tensorflow.rnn._is_gpu_available`        | yes                                  |
| torch      | `keras.src.backend.torch.rnn._is_cuda_cudnn_available`      | yes                                  |

A name that another version does not have, or has with other arguments, is one line: a program is never built half pretended.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import inspect
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from lstm_bench.core.errors import KernelError

# Module -> name -> its arguments, as the versions have them that this was written for; None where it is not there at all.
REPLACED: dict[str, dict[str, dict[str, tuple[str, ...] | None]]] = {
    "jax": {
        "keras.src.backend.jax.rnn": {"_is_gpu_available": ()},
        "lstm_bench.model.cudnn_jax": {"on_gpu": ()},
        "jaxlib.gpu_rnn": {
            "_rnn_fwd_lowering": (
                *("_rnn", "platform", "ctx", "input", "h_0", "c_0", "weights", "seq_lengths"),
                *("input_size", "hidden_size", "num_layers", "dropout", "bidirectional", "cudnn_allow_tf32"),
            ),
            "_rnn_bwd_lowering": (
                *(
                    "_rnn",
                    "platform",
                    "ctx",
                    "dy",
                    "dhn",
                    "dcn",
                    "x",
                    "h0",
                    "c0",
                    "w",
                    "y",
                    "reserve_space",
                    "seq_lengths",
                ),
                *("input_size", "hidden_size", "num_layers", "dropout", "bidirectional", "cudnn_allow_tf32"),
            ),
        },
        "jax.experimental.rnn": {"rnn_fwd_p": None, "rnn_bwd_p": None},
        "jax._src.interpreters.mlir": {"register_lowering": None},
    },
    "tensorflow": {"keras.src.backend.tensorflow.rnn": {"_is_gpu_available": ()}},
    "torch": {"keras.src.backend.torch.rnn": {"_is_cuda_cudnn_available": ()}},
}


def changed(backend: str, name: str) -> KernelError:
    """What is said where an installed version does not have what is to be replaced."""
    versions = []
    for package in ("keras", "jaxlib" if backend == "jax" else backend):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    return KernelError(
        f"predict=cuda: {name} is not what it was written for ({', '.join(versions)})",
        remedy="Predict with the versions that lstm_bench was released with, or run on a GPU: kernel_ran proves it there.",
    )


@contextlib.contextmanager
def pretended(backend: str) -> Iterator[None]:
    """Has `backend` and Keras believe in a GPU while networks are built and traced; the process is good for nothing else.

    Raises:
      KernelError: where the installed version lacks what is replaced.
    """
    found = {path: _module(backend, path) for path in REPLACED[backend]}
    for path, names in REPLACED[backend].items():
        for name, arguments in names.items():
            _require(backend, f"{path}.{name}", getattr(found[path], name, None), arguments)
    with contextlib.ExitStack() as stack:
        if backend == "jax":
            _replace(stack, found["keras.src.backend.jax.rnn"], "_is_gpu_available", lambda: True)
            _replace(stack, found["lstm_bench.model.cudnn_jax"], "on_gpu", lambda: True)
            _lower_rnn(stack, found)
        elif backend == "tensorflow":
            _replace(stack, found["keras.src.backend.tensorflow.rnn"], "_is_gpu_available", lambda: True)
        else:
            _replace(stack, found["keras.src.backend.torch.rnn"], "_is_cuda_cudnn_available", lambda: True)
        yield


def _module(backend: str, path: str) -> Any:
    try:
        return importlib.import_module(path)  # `keras.src.backend.jax.rnn` is a function where it is an attribute
    except ImportError as error:
        raise changed(backend, path) from error


def _require(backend: str, name: str, found: Any, arguments: Sequence[str] | None) -> None:
    if found is None or (arguments is not None and tuple(inspect.signature(found).parameters) != tuple(arguments)):
        raise changed(backend, name)


def _replace(stack: contextlib.ExitStack, owner: Any, name: str, value: Any) -> None:
    missing = object()
    before = getattr(owner, name, missing)
    setattr(owner, name, value)
    if before is missing:
        stack.callback(delattr, owner, name)
    else:
        stack.callback(setattr, owner, name, before)


def _lower_rnn(stack: contextlib.ExitStack, found: dict[str, Any]) -> None:
    """Has JAX lower cuDNN's calls as jaxlib does with a CUDA plugin, whose part is to ask cuDNN for sizes."""
    gpu_rnn, rnn = found["jaxlib.gpu_rnn"], found["jax.experimental.rnn"]
    register = found["jax._src.interpreters.mlir"].register_lowering
    plugin = SimpleNamespace(build_rnn_descriptor=lambda *sizes: b"\0")
    _replace(stack, gpu_rnn, "compute_rnn_workspace_reserve_space_sizes", lambda *sizes: (1, 1))
    for primitive, lowering in ((rnn.rnn_fwd_p, "_rnn_fwd_lowering"), (rnn.rnn_bwd_p, "_rnn_bwd_lowering")):
        register(primitive, functools.partial(getattr(gpu_rnn, lowering), plugin, "cu"), platform="cuda")
