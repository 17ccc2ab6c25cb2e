"""Which faults of a framework are whose."""

from __future__ import annotations

from lstm_bench.core.errors import KernelError


def not_deterministic(error: BaseException) -> bool:
    """Whether an exception says that an operation has no deterministic implementation, in the words of any backend."""
    text = str(error).lower()
    return "does not have a deterministic implementation" in text or "deterministic gpu implementation" in text


def undetermined(error: BaseException) -> KernelError:
    """The fault of an operation that cannot give the same bits twice."""
    return KernelError(
        f"train.deterministic=true: an operation of this training has no deterministic implementation ({error})"[:500],
        remedy="Name another kernel or backend, or set train.deterministic=false.",
    )


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, in the words of any backend."""
    name, text = type(error).__name__, str(error)
    return (
        isinstance(error, MemoryError)
        or name in ("ResourceExhaustedError", "OutOfMemoryError")
        or ("RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower())
    )
