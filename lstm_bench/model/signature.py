"""What the signature of a family says: its recurrent layers, its arguments with their ranges, its width."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from lstm_bench.core.configuration import type_words
from lstm_bench.core.errors import ConfigError, nearest
from lstm_bench.core.schema import Choice, Range, Rule
from lstm_bench.model import kernel

LayerMaker = Callable[..., Any]
Shape = tuple[int, int]


OWN = "lstm_bench.model."
OF_ALL = (
    "weights",
    "embedding",
)  # keys of group `model` that are every family's, unless it has an argument of that name
WIDTHS = ("units", "filters")  # the argument that `weights` decides on: the first of these that a family has
_GIVEN = ("input_shape", "n_classes", "return_sequences", "masked")
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def is_own(target: str) -> bool:
    """Whether the family is one of ours, whose module can be imported without a framework."""
    return target.startswith(OWN)


def find(target: str) -> Callable[..., Any]:
    """The function that `_target_` names.

    Raises:
      ConfigError: if it cannot be imported or is no function.
    """
    module_name, _, name = target.rpartition(".")
    if not module_name:
        raise ConfigError("model._target_", expected="package.module.function", received=target)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module may fail in any way while it is imported
        raise ConfigError(
            f"model._target_={target}: cannot be imported ({type(error).__name__}: {error})",
            remedy="A module is looked for in the working directory and on PYTHONPATH.",
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        names = [n for n, f in vars(module).items() if inspect.isfunction(f) and not n.startswith("_")]
        raise ConfigError(f"model._target_={target}: {module_name} has no function {name}", remedy=nearest(name, names))
    return typing.cast(Callable[..., Any], function)


def recurrent_layers(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the recurrent layers that the family asks for: keys of `kernel.LAYERS`."""
    return tuple(name for name in inspect.signature(function).parameters if name in kernel.LAYERS)


def rules(function: Callable[..., Any]) -> dict[str, tuple[Any, Range | Choice | None]]:
    """Argument name -> (type, rule) of the family's own arguments, from its annotations."""
    found: dict[str, tuple[Any, Range | Choice | None]] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in _GIVEN or name in kernel.LAYERS or parameter.kind in _VARIADIC:
            continue
        hint = _hint(function, parameter.annotation)
        extras = typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()
        kind = typing.get_args(hint)[0] if extras else hint
        if parameter.default is None and kind is not Any:
            kind = typing.Optional[kind]  # noqa: UP045 - of a type that is known only here
        found[name] = kind, next((extra for extra in extras if isinstance(extra, Range | Choice)), None)
    return found


def _hint(function: Callable[..., Any], annotation: Any) -> Any:
    """An annotation evaluated alone: another one may name a framework that is not imported here."""
    if annotation is inspect.Parameter.empty:
        return Any
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, getattr(function, "__globals__", {}), include_extras=True)["it"]
    except (NameError, AttributeError, SyntaxError, TypeError):
        return Any


def check(model: Mapping[str, Any]) -> Callable[..., Any]:
    """Checks the group `model` against the signature of its family.

    Returns:
      The family's function.

    Raises:
      ConfigError: for an unknown, missing or unfit argument, or for `weights` of a family without a width.
    """
    function = find(str(model.get("_target_", "")))
    known = rules(function)
    weights = _asked(model, known)
    width_of = width_argument(function)
    if weights is not None and width_of is None:
        raise ConfigError(
            f"model.weights={model['weights']}: {model['_target_']} has no argument {' or '.join(WIDTHS)}",
            remedy="Set its own sizes.",
        )
    parameters = inspect.signature(function).parameters
    anything = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    for name, value in model.items():
        if name == "_target_" or (name not in known and (anything or name in OF_ALL)):
            if name == "embedding":
                check_value("model.embedding", value, int | None, Range(1))
            continue
        if name not in known:
            raise ConfigError(f"unknown option model.{name}", remedy=nearest(name, [*known, *OF_ALL]))
        check_value(f"model.{name}", value, *known[name])
    for name in known:
        found = name in model or (weights is not None and name == width_of)
        if parameters[name].default is inspect.Parameter.empty and not found:
            raise ConfigError(f"model.{name}: {model['_target_']} needs it", remedy=f"Give model.{name}=VALUE.")
    return function


def check_value(path: str, value: Any, kind: Any, rule: Rule | None) -> None:
    """Raises ConfigError when `value` has not the type `kind` or breaks `rule`; null does neither where the type has it."""
    nullable = types.NoneType in typing.get_args(kind)
    if nullable:
        if value is None:
            return
        others = [part for part in typing.get_args(kind) if part is not types.NoneType]
        kind = typing.Union[tuple(others)]  # noqa: UP007 - of types that are known only here
    if typing.get_origin(kind) is typing.Annotated:  # Annotated[int, Range(1)] | None
        kind, *extras = typing.get_args(kind)
        rule = rule or next((extra for extra in extras if isinstance(extra, Range | Choice)), None)
    wrong = {
        int: not isinstance(value, int) or isinstance(value, bool),
        float: not isinstance(value, int | float) or isinstance(value, bool),
        bool: not isinstance(value, bool),
        str: not isinstance(value, str),
    }.get(kind, False)
    if wrong:
        raise ConfigError(path, expected=type_words(kind) + " or null" * nullable, received=value)
    if rule is not None and value not in rule:
        remedy = nearest(str(value), rule.names) if isinstance(rule, Choice) else None
        raise ConfigError(path, expected=str(rule), received=value, remedy=remedy)


def budget(value: Any) -> int | None:
    """A number of parameters as written: 25000, "25k" or "1.5M"; None for None.

    Raises:
      ConfigError: for anything else, or less than 1.
    """
    if value is None:
        return None
    text = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", str(value))
    found = Decimal(text[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[text[2]] if text else Decimal(0)
    if isinstance(value, bool) or found < 1 or found % 1:
        raise ConfigError(
            "model.weights",
            expected="a whole number of at least 1, such as 25000, 25k or 1.5M, or null",
            received=value,
        )
    return int(found)


def width_argument(function: Callable[..., Any]) -> str | None:
    """The argument of a family that is its width: of `WIDTHS`."""
    known = rules(function)
    return next((name for name in WIDTHS if name in known), None)


def _asked(model: Mapping[str, Any], known: Mapping[str, Any]) -> int | None:
    """The number of parameters that a group `model` asks for; not where its family has an argument of that name."""
    return None if "weights" in known else budget(model.get("weights"))
