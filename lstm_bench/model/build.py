"""An architecture family as configured: find the function, check its arguments, build the model.

Two keys of group `model` are every family's: `weights`, a number of parameters, which a width is found for; and `embedding`, of
texts alone, the numbers that stand for a token: a table of them comes before the family, and is none of those parameters.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import json
import math
import random
import tempfile
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench.core.errors import ConfigError
from lstm_bench.core.schema import Range
from lstm_bench.model import kernel, network
from lstm_bench.model.signature import (
    OF_ALL,
    OWN,
    _asked,
    check,
    find,
    is_own,
    recurrent_layers,
    rules,
    width_argument,
)

TOLERANCE = 0.02  # of `weights`, within which the nearest width must come


def width(
    model: Mapping[str, Any], input_shape: tuple[int, int], n_classes: int, weights: int, *, per_timestep: bool = False
) -> int:
    """The width at which the family's number of parameters is nearest to `weights`, all else as in `model`.

    More width is taken to mean more parameters. Models are built to count them, which leaves Python's random state as it was.

    Args:
      model: Group `model` of a resolved configuration.
      input_shape: `(timesteps, features)`.
      n_classes: Number of classes.
      weights: Parameters, trained or not, at least 1.
      per_timestep: See `build`.

    Raises:
      ConfigError: when the nearest number differs by more than 2 %, or the family has no width.
    """
    function = check({**model, "weights": weights})
    name = width_argument(function)
    assert name is not None
    rule = rules(function)[name][1]
    bounds = rule if isinstance(rule, Range) else Range()
    least = 1 if bounds.low is None else math.floor(bounds.low) + int(bounds.open_low)
    most = math.inf if bounds.high is None else math.ceil(bounds.high) - int(bounds.open_high)

    def count(value: int) -> int:
        sizes = {key: kept for key, kept in model.items() if key != "weights"} | {name: value}
        return _counted(json.dumps(sizes, sort_keys=True), tuple(input_shape), n_classes, per_timestep)

    below, above = least, least
    while count(above) < weights and above < most:
        below, above = above, int(min(2 * above, most))
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if count(middle) < weights else (below, middle)
    nearest_one = min((below, above), key=lambda value: abs(count(value) - weights))
    if abs(count(nearest_one) - weights) > TOLERANCE * weights:
        raise ConfigError(
            f"model.weights={weights}: the nearest width, {name}={nearest_one}, has {count(nearest_one):,} weights",
            remedy=f"It must come within {TOLERANCE * 100:g} %: give another number, other sizes, or model.{name}.",
        )
    return nearest_one


@functools.cache
def _counted(model: str, input_shape: tuple[int, int], n_classes: int, per_timestep: bool) -> int:
    state = random.getstate()  # which Keras draws the seeds of initialisers from
    try:
        built, _ = build(json.loads(model), input_shape, n_classes, "plain", per_timestep=per_timestep)
    finally:
        random.setstate(state)
    return int(built.count_params())


def resolved(
    model: Mapping[str, Any], input_shape: tuple[int, int], n_classes: int, *, per_timestep: bool = False
) -> dict[str, Any]:
    """Group `model` with the width that its `weights` ask for, and without them; as it is where they are absent or null.

    Raises:
      ConfigError: see `width`.
    """
    weights = _asked(model, rules(find(str(model.get("_target_", "")))))
    if weights is None:
        return dict(model)
    found = width(model, input_shape, n_classes, weights, per_timestep=per_timestep)
    name = width_argument(check(model))
    return {key: value for key, value in model.items() if key != "weights"} | {str(name): found}


def inside(model: Mapping[str, Any], input_shape: tuple[int, int], tokens: bool) -> tuple[int, int]:
    """The shape that a family is built for: of texts, whose `input_shape` is `(tokens, ids)`, `(tokens, model.embedding)`."""
    return (input_shape[0], int(model["embedding"])) if tokens else input_shape


def per_timestep_families() -> list[str]:
    """Names of our families that can give outputs for every timestep."""
    ours = vars(importlib.import_module(OWN.rstrip(".")))
    return sorted(name for name, value in ours.items() if inspect.isfunction(value) and _gives_sequences(value))


def _gives_sequences(function: Callable[..., Any]) -> bool:
    return "return_sequences" in inspect.signature(function).parameters


def build(
    model: Mapping[str, Any],
    input_shape: tuple[int, int],
    n_classes: int,
    kernel_name: str,
    *,
    per_timestep: bool = False,
    masked: bool = False,
    units: tuple[float, float] | None = None,
    tokens: bool = False,
) -> tuple[Any, list[int]]:
    """The uncompiled Keras model, and the length of the sequence that each of its recurrent layers runs over.

    Args:
      model: Group `model` of a resolved configuration.
      input_shape: `(timesteps, features)`.
      n_classes: Number of classes.
      kernel_name: A kernel, or "plain": layers with Keras's own defaults, as winners are saved.
      per_timestep: Whether logits are wanted for every timestep, `(batch, timesteps, n_classes)`.
      masked: Whether sequences differ in length: the model takes fewer timesteps too, and a mask.
      units: Mean and deviation that a last layer gives the outputs; None for no such layer. It has no weights.
      tokens: Whether samples are texts: `input_shape` is `(tokens, ids)` then, and the model takes ids `(batch, tokens)`.

    Raises:
      ConfigError: for an argument that does not fit, or a family that cannot give what is wanted.
    """
    function = check(model)
    if per_timestep and not _gives_sequences(function):
        raise ConfigError(
            f"model._target_={model['_target_']}: gives one output per sequence, and this dataset wants one per timestep",
            remedy=f"These can: {', '.join(per_timestep_families())}.",
        )
    known, shape = rules(function), inside(model, input_shape, tokens)
    sizes = resolved(model, shape, n_classes, per_timestep=per_timestep)
    own = {name: sizes[name] for name in sizes if name != "_target_" and (name not in OF_ALL or name in known)}
    makers = kernel.makers(kernel_name, masked=masked)
    built = function(
        shape,
        n_classes,
        **{name: makers[name] for name in recurrent_layers(function)},
        **own,
        **({"return_sequences": True} if per_timestep else {}),
        **({"masked": True} if masked and "masked" in inspect.signature(function).parameters else {}),
    )
    wanted = (None, input_shape[0], n_classes) if per_timestep else (None, n_classes)
    target = str(model["_target_"])
    built = network.whole(built, shape, wanted, target)
    network.require_logits(built, target)
    lengths = network.lengths(built, input_shape[0])  # a CNN before a recurrent layer may have shortened the sequence
    if tokens:
        built = network.embedded(built, *input_shape)
    built = built if units is None else network.scaled(built, *units)
    if masked:
        network.open_time(built)
        network.keep_backward_outputs(built)
    return built, lengths


def load(file: Path, target: str) -> Any:
    """A saved model of a family, in safe mode: Keras's layers, ours, and those that the family's module registers.

    Raises:
      ConfigError: when a user's family cannot be imported.
      Exception: of any type, when Keras cannot load the file.
    """
    import keras

    if importlib.util.find_spec("lstm_bench.model.layers"):
        importlib.import_module("lstm_bench.model.layers")  # registers what Keras does not have
    if not is_own(target):
        find(target)  # a user's own layers are registered where the family is
    return keras.saving.load_model(file, compile=False, safe_mode=True)


def require_saveable(model: Any, target: str, registered: Mapping[str, Any]) -> None:
    """Saves a model and loads it as `predict` will, in a process that has only imported the family.

    Args:
      model: Of plain layers.
      target: The family.
      registered: Keras's custom objects from before the model was built.

    Raises:
      ConfigError: when it cannot be saved or loaded, or is another model then.
    """
    import keras

    known, objects = keras.saving.get_custom_objects(), dict(keras.saving.get_custom_objects())
    words = f"model._target_={target}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        try:
            model.save(file)
            known.clear()
            known.update(registered)
            loaded = load(file, target)
            same = np.allclose(network.answers(loaded), network.answers(model), rtol=1e-4, atol=1e-5, equal_nan=True)
        except Exception as error:  # what a user's layer raises, and what Keras says of a file
            own = network.foreign_layers(model)
            reason = f"its own {', '.join(own)}" if own else textwrap.shorten(str(error), 240, placeholder=" ...")
            remedy = "Register it with @keras.saving.register_keras_serializable(); get_config gives every argument of __init__."
            if "Lambda" in own:
                remedy = "A Lambda holds code, which no file may run: write a keras.layers.Layer, and register it."
            raise ConfigError(f"{words}: a model of it cannot be saved and loaded ({reason})", remedy=remedy) from error
        finally:
            known.clear()
            known.update(objects)
    if not same:
        raise ConfigError(
            f"{words}: a model of it gives other outputs once it was saved and loaded",
            remedy="A layer's get_config lacks an argument of its __init__, or it keeps a state that is no weight.",
        )
