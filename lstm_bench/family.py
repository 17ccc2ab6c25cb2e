"""An architecture family as configured: find the function, check its arguments, build the model."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from lstm_bench import kernel
from lstm_bench.config import Choice, Range, type_words
from lstm_bench.errors import ConfigError, nearest

OWN = "lstm_bench.model."
WIDTHS = ("units", "filters")  # arguments that are a family's width: the first of them that it has
_GIVEN = ("input_shape", "n_classes", "return_sequences")
_WITHIN = 0.02  # of the weights asked for
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
      ConfigError: for an unknown, missing or unfit argument.
    """
    function = find(str(model.get("_target_", "")))
    known = rules(function)
    parameters = inspect.signature(function).parameters
    anything = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    for name, value in model.items():
        if name == "weights" and name not in known:
            count(value)
            continue
        if name == "_target_" or (name not in known and anything):
            continue
        if name not in known:
            raise ConfigError(f"unknown option model.{name}", remedy=nearest(name, known))
        check_value(f"model.{name}", value, *known[name])
    for name in known:
        if parameters[name].default is inspect.Parameter.empty and name not in model:
            raise ConfigError(f"model.{name}: {model['_target_']} needs it", remedy=f"Give model.{name}=VALUE.")
    return function


def check_value(path: str, value: Any, kind: Any, rule: Range | Choice | None) -> None:
    """Raises ConfigError when `value` has not the type `kind` or breaks `rule`."""
    wrong = {
        int: not isinstance(value, int) or isinstance(value, bool),
        float: not isinstance(value, int | float) or isinstance(value, bool),
        bool: not isinstance(value, bool),
        str: not isinstance(value, str),
    }.get(kind, False)
    if wrong:
        raise ConfigError(path, expected=type_words(kind), received=value)
    if rule is not None and value not in rule:
        remedy = nearest(str(value), rule.names) if isinstance(rule, Choice) else None
        raise ConfigError(path, expected=str(rule), received=value, remedy=remedy)


def build(
    model: Mapping[str, Any],
    input_shape: tuple[int, int],
    n_classes: int,
    kernel_name: str,
    *,
    per_timestep: bool = False,
) -> tuple[Any, list[int]]:
    """The uncompiled Keras model, and the length of the sequence that each of its recurrent layers runs over.

    Args:
      model: Group `model` of a resolved configuration.
      input_shape: `(timesteps, features)`.
      n_classes: Number of classes.
      kernel_name: A kernel, or "plain": layers with Keras's own defaults, as winners are saved.
      per_timestep: Whether there are outputs for every timestep.

    Raises:
      ConfigError: for an argument that does not fit, or a family that has no outputs per timestep where they are wanted.
    """
    import keras

    function = check(model)
    if per_timestep and "return_sequences" not in inspect.signature(function).parameters:
        raise ConfigError(
            f"model._target_={model['_target_']}: it has one output per sequence, and the data wants one per timestep",
            remedy=f"Choose one that can: {', '.join(_per_timestep())}.",
        )
    makers = kernel.makers(kernel_name)
    built = function(
        input_shape,
        n_classes,
        **{name: makers[name] for name in recurrent_layers(function)},
        **{name: value for name, value in model.items() if name != "_target_"},
        **({"return_sequences": True} if per_timestep else {}),
    )
    shape = tuple(built.output_shape)
    wanted = (None, input_shape[0], n_classes) if per_timestep else (None, n_classes)
    if shape != wanted:
        raise ConfigError(
            f"model._target_={model['_target_']}", expected=f"outputs of shape {wanted}", received=str(shape)
        )
    lengths = []
    for layer in built.layers:
        inside = layer._flatten_layers(include_self=True, recursive=True)
        recurrent = sum(isinstance(found, keras.layers.RNN) for found in inside)
        # A CNN before it may have shortened the sequence; where the length is open, the data's stands in.
        lengths += [layer.input.shape[1] or input_shape[0]] * recurrent
    return built, lengths


def _per_timestep() -> list[str]:
    """Our families that can give an output for every timestep."""
    functions = vars(importlib.import_module(OWN.rstrip("."))).items()
    return sorted(
        name
        for name, function in functions
        if inspect.isfunction(function) and "return_sequences" in inspect.signature(function).parameters
    )


def count(weights: Any) -> int | None:
    """A number of weights as a person writes it: 25000, "25k", "1.5M"; None for none.

    Raises:
      ConfigError: for anything else.
    """
    if weights is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kM]?)", str(weights))
    number = float(found[1]) * {"": 1, "k": 1e3, "M": 1e6}[found[2]] if found else 0.0
    if isinstance(weights, bool) or number < 1 or number != int(number):
        raise ConfigError("model.weights", expected="a whole number such as 25000, 25k or 1.5M", received=weights)
    return int(number)


def width_argument(model: Mapping[str, Any]) -> str | None:
    """Name of the argument that sets a family's width, None where it has none."""
    parameters = inspect.signature(find(str(model.get("_target_", "")))).parameters
    return next((name for name in WIDTHS if name in parameters), None)


def resolved(
    model: Mapping[str, Any], input_shape: tuple[int, int], n_classes: int, *, per_timestep: bool = False
) -> dict[str, Any]:
    """Group `model` without `weights`: the width is the one whose number of weights is nearest to it.

    Raises:
      ConfigError: when the family has no width, or none within 2 %.
    """
    weights = count(model.get("weights"))
    plain = {name: value for name, value in model.items() if name != "weights"}
    if weights is None:
        return plain
    name = width_argument(model)
    if name is None:
        raise ConfigError(
            f"model.weights={weights}: {model['_target_']} has no width to choose ({' or '.join(WIDTHS)})"
        )
    plain.pop(name, None)
    width, n = _nearest_width(
        json.dumps(plain, sort_keys=True), name, weights, tuple(input_shape), n_classes, per_timestep
    )
    if abs(n - weights) > _WITHIN * weights:
        raise ConfigError(f"model.weights={weights}: the nearest width, {name}={width}, has {n:,} weights")
    return {**plain, name: width}


@functools.lru_cache(maxsize=256)
def _nearest_width(
    model: str, name: str, weights: int, input_shape: tuple[int, int], n_classes: int, per_timestep: bool
) -> tuple[int, int]:
    """Width whose number of weights is nearest `weights`, and that number."""

    def n_weights(width: int) -> int:
        group = {**json.loads(model), name: width}
        return int(build(group, input_shape, n_classes, "plain", per_timestep=per_timestep)[0].count_params())

    high = 1
    while n_weights(high) < weights:
        high *= 2
    low = high // 2  # below `weights`, or 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if n_weights(middle) < weights else (low, middle)
    found = {width: n_weights(width) for width in (low, high) if width}
    width = min(found, key=lambda width: (abs(found[width] - weights), width))
    return width, found[width]
