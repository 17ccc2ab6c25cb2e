"""Puts something else in the place of functions and attributes, as the modules that they are in are imported.

`protections.py` says what is put where. A process that starts with the name of a protection in `PROTECTIONS_OFF` runs without
it, and so does whatever it starts: tests, drivers, workers.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Replacement:
    """What is put in the place of something.

    Attributes:
      words: What it does, after "it".
      of: Makes it from what was there.
    """

    words: str
    of: Callable[[Any], Any]


def becomes(value: Any, words: str | None = None) -> Replacement:
    """In place of an attribute: a value."""
    return Replacement(words or f"is {value!r}", lambda was: value)


def lacks(key: Any) -> Replacement:
    """In place of a dict or a tuple, or of a function that returns one: the same without a key, or a member."""

    def of(was: Any) -> Any:
        if callable(was):
            return lambda *given, **named: of(was(*given, **named))
        return (
            {k: v for k, v in was.items() if k != key} if isinstance(was, dict) else tuple(k for k in was if k != key)
        )

    return Replacement(f"lacks {key!r}", of)


def has_too(member: Any) -> Replacement:
    """In place of a tuple: the same with one more member."""
    return Replacement(f"has {member!r} too", lambda was: (*was, member))


def returns(value: Any) -> Replacement:
    """In place of a function: one that returns a value, whatever it gets."""
    return Replacement(f"returns {value!r}", lambda was: lambda *_, **__: value)


def returns_its(argument: str) -> Replacement:
    """In place of a function: one that returns an argument as it is."""

    def of(was: Any) -> Any:
        signature = inspect.signature(was)
        return lambda *given, **named: signature.bind(*given, **named).arguments[argument]

    return Replacement(f"returns its {argument}", of)


def gets(**values: Any) -> Replacement:
    """In place of a function: the same, that gets other arguments."""

    def of(was: Any) -> Any:
        signature = inspect.signature(was)

        def called(*given: Any, **named: Any) -> Any:
            bound = signature.bind(*given, **named)
            bound.arguments.update(values)
            return was(*bound.args, **bound.kwargs)

        return called

    return Replacement("gets " + ", ".join(f"{name}={value!r}" for name, value in values.items()), of)


def comes_late(seconds: float) -> Replacement:
    """In place of a function: the same, some seconds later."""

    def of(was: Any) -> Any:
        def called(*given: Any, **named: Any) -> Any:
            time.sleep(seconds)
            return was(*given, **named)

        return called

    return Replacement(f"comes {seconds:g} s late", of)


def _raised(*_: Any, **__: Any) -> Any:
    raise  # what its caller handles


does_nothing = Replacement("does nothing", lambda was: lambda *_, **__: None)
holds_nothing = Replacement("holds nothing", lambda was: lambda *_, **__: contextlib.nullcontext())
raises_again = Replacement("raises again what it was to handle", lambda was: _raised)
counts_one_fewer = Replacement("counts one fewer", lambda was: lambda *given, **named: was(*given, **named) - 1)


def found(module: ModuleType, path: str) -> tuple[Any, str, Any]:
    """What holds the last name of a dotted path in a module, that name, and what is there.

    Raises:
      LookupError: when there is nothing.
    """
    *parents, name = path.split(".")
    owner: Any = module
    for parent in parents:
        owner = vars(owner)[parent]
    return owner, name, vars(owner)[name]


def replace(module: ModuleType, path: str, replacement: Replacement) -> None:
    """Puts a replacement in its place."""
    owner, name, was = found(module, path)
    setattr(owner, name, replacement.of(was))


class _Switch(MetaPathFinder):
    """Finds modules as Python does, and puts replacements into them before who imports them sees them."""

    def __init__(self, off: Mapping[str, Sequence[tuple[str, Replacement]]]):
        self._off = off

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname in self._off else None
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            for attribute, replacement in self._off[fullname]:
                replace(module, attribute, replacement)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def switch_off(places: Sequence[tuple[str, Replacement]]) -> None:
    """Has replacements put into modules that are not imported yet.

    Args:
      places: `module:path.in.it`, and what is put there.
    """
    off: dict[str, list[tuple[str, Replacement]]] = {}
    for place, replacement in places:
        module, _, path = place.partition(":")
        assert module not in sys.modules, f"{module} is imported already"
        off.setdefault(module, []).append((path, replacement))
    sys.meta_path.insert(0, _Switch(off))
