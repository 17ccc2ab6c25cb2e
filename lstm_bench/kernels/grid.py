"""Grids: a YAML of `conf/grid/` -> cells and arms, each checked before anything runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from lstm_bench.core import vocabulary
from lstm_bench.core.errors import ConfigError, nearest
from lstm_bench.kernels import bare, case, roofline
from lstm_bench.model import kernel

Arm = tuple[str, str]  # backend, kernel


def chosen(path: str, value: Any, valid: Sequence[str]) -> list[str]:
    """The names that an option asks for, in the order of `valid`: "all", one name, or a list.

    Raises:
      ConfigError: for a name that is none of `valid`.
    """
    if value == "all":
        return list(valid)
    names = value if isinstance(value, list) else [value]
    for name in names:
        if name not in valid:
            remedy = nearest(str(name), valid)
            raise ConfigError(path, expected="all, or some of " + ", ".join(valid), received=name, remedy=remedy)
    if not names:
        raise ConfigError(path, expected="all, or some of " + ", ".join(valid), received=[])
    return [name for name in valid if name in names]


def cells_of(grid: Mapping[str, Any], dtypes: Sequence[str]) -> list[dict[str, Any]]:
    """The cells of a grid, in its order, each once. Lists are expanded to their Cartesian product.

    Args:
      grid: Group `grid`.
      dtypes: Precisions, for every cell.

    Raises:
      ConfigError: for an axis that is unknown or missing, or a size below 1.
    """
    axes = [axis for axis in vocabulary.AXES if axis != "dtype"]
    found: dict[str, dict[str, Any]] = {}
    for index, entry in enumerate(grid["cells"]):
        path = f"grid.cells[{index}]"
        if not isinstance(entry, Mapping):
            raise ConfigError(path, expected="a mapping of " + ", ".join(axes), received=entry)
        for axis in entry:
            if axis not in (*axes, "lengths"):
                raise ConfigError(f"unknown option {path}.{axis}", remedy=nearest(str(axis), (*axes, "lengths")))
        for axis in axes:
            if axis not in entry:
                raise ConfigError(f"{path}.{axis}: expected a value", remedy=f"Give {', '.join(axes)}.")
        values = [value if isinstance(value, list) else [value] for value in (entry[axis] for axis in axes)]
        for axis, choices in zip(axes, values, strict=True):
            if not choices:
                raise ConfigError(f"{path}.{axis}", expected="a value, or a list of at least one", received=choices)
        for point in itertools.product(*values, dtypes):
            one = dict(zip((*axes, "dtype"), point, strict=True))
            case.check(path, one)
            if name := entry.get("lengths"):
                if name not in grid.get("lengths", {}):
                    known = ", ".join(grid.get("lengths", {}))
                    raise ConfigError(f"{path}.lengths", expected=f"one of grid.lengths: {known}", received=name)
                one["lengths"] = name
            found.setdefault(case.name(one), one)
    if not found:
        raise ConfigError("grid.cells", expected="at least one cell", received=[])
    return list(found.values())


def drawn(grid: Mapping[str, Any], cell: Mapping[str, Any]) -> list[int] | None:
    """Timesteps of each sequence of a cell's batch, evenly from its distribution, none beyond its own; None where all are equal.

    Raises:
      ConfigError: for a distribution that is no ascending list of lengths.
    """
    import numpy as np

    if not cell.get("lengths"):
        return None
    quantiles = grid["lengths"][cell["lengths"]]
    sound = isinstance(quantiles, list) and quantiles and all(type(n) is int and n >= 1 for n in quantiles)
    if not sound or quantiles != sorted(quantiles):
        path = f"grid.lengths.{cell['lengths']}"
        raise ConfigError(path, expected="an ascending list of whole numbers of at least 1", received=quantiles)
    levels = (np.arange(cell["batch"]) + 0.5) / cell["batch"]
    found = np.interp(levels, np.linspace(0, 1, len(quantiles)), quantiles).round().astype(int)
    return [int(n) for n in np.minimum(found, cell["timesteps"])]


def arms_of(backends: Sequence[str], kernels: Sequence[str], skip: Sequence[str]) -> list[Arm]:
    """Backend and kernel of every arm that exists in name, less those to skip: Keras's kernels, then the yardsticks.

    Raises:
      ConfigError: for an arm to skip that does not exist.
    """
    valid = [
        f"{backend}/{name}"
        for backend in vocabulary.OF_BACKEND
        for name in (*vocabulary.OF_BACKEND[backend], *vocabulary.NAMES)
    ]
    for arm in skip:
        if arm not in valid:
            raise ConfigError("grid.skip", expected="backend/kernel", received=arm, remedy=nearest(arm, valid))
    return [
        (backend, name)
        for backend in backends
        for name in (*vocabulary.OF_BACKEND[backend], *vocabulary.NAMES)
        if name in kernels and f"{backend}/{name}" not in skip
    ]


def unavailable(arm: Arm, cell: Mapping[str, Any], gpu: str | None) -> str | None:
    """Why an arm cannot run a cell here, None when it can.

    Args:
      arm: Backend and kernel.
      cell: See `kernels/case.py`.
      gpu: Name of the NVIDIA GPU, None where there is none.
    """
    backend, name = arm
    if cell["dtype"] == "tf32" and gpu is None:
        return "no GPU"
    if name in vocabulary.NAMES and cell.get("lengths"):
        return "the yardsticks take no mask"
    if name in vocabulary.NAMES:
        return bare.unavailable(name, backend, cell, gpu)
    if (backend, name, cell["dtype"]) == ("jax", "cudnn", "bfloat16"):
        return "JAX's cuDNN call has no bfloat16"
    return kernel.unavailable(name, backend, {case.maker(cell)}, gpu, masked=bool(cell.get("lengths")))


def expected(arm: Arm, cell: Mapping[str, Any], gpu: str | None) -> str:
    """What `kernel_ran` is when an arm runs what it is named after."""
    backend, name = arm
    return bare.expected(name, backend, cell, gpu) if name in vocabulary.NAMES else name


def require_memory(plan: Sequence[Mapping[str, Any]], host_mib: int, gpu_mib: int | None) -> None:
    """Raises ConfigError, naming the cell, when one needs more memory than there is, by the estimate of `kernels/case.py`.

    Args:
      plan: Cells.
      host_mib: Free memory of the machine, where the reference is computed.
      gpu_mib: Memory of the GPU, None where there is none.
    """
    limit, where = (host_mib, "free") if gpu_mib is None else min((host_mib, "free"), (gpu_mib, "of GPU memory"))
    for cell in plan:
        need = roofline.memory_mib(cell)
        if need > limit:
            raise ConfigError(
                f"{case.name(cell)} needs about {need:,} MiB",
                expected=f"at most the {limit:,} MiB {where}",
                remedy="Take it out of the grid, or make it smaller.",
            )
