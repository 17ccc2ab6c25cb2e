"""A built Keras model, read as a graph: its input and output, what its recurrent layers run over, how it ends.

Any `keras.Model` will do: Sequential, functional, nested, subclassed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lstm_bench.core.errors import ConfigError

_PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid")
_PASSING = (
    "Dropout",
    "Reshape",
    "Flatten",
    "Permute",
    "Identity",
    "Cropping1D",
)  # layers that leave values as they are


def whole(model: Any, input_shape: tuple[int, int], outputs: tuple[int | None, ...], target: str) -> Any:
    """The model as one with a graph, one input and one output, both of the shapes that are wanted.

    Args:
      model: What a family returned.
      input_shape: `(timesteps, features)`.
      outputs: Shape of the logits, with the batch axis: None.
      target: The family, for what is said.

    Raises:
      ConfigError: where it is no Keras model, or input or output do not fit.
    """
    import keras

    what = f"model._target_={target}"
    if not isinstance(model, keras.Model):
        raise ConfigError(what, expected="a function that returns a keras.Model", received=type(model).__name__)
    if isinstance(model, keras.Sequential) and not model.built:
        model.build((None, *input_shape))
    elif not getattr(model, "inputs", None):  # a subclass, whose call says what it does: inside a model it has a graph
        start = keras.Input(input_shape)
        model = keras.Model(start, model(start))
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        received = f"{len(model.inputs)} and {len(model.outputs)}"
        raise ConfigError(what, expected="a model with one input and one output", received=received)
    given = getattr(model, "_inputs_struct", None), getattr(model, "_outputs_struct", None)
    if any(isinstance(one, list | tuple | dict) for one in given):
        model = keras.Model(model.inputs[0], model.outputs[0])  # they were lists or dictionaries of one
    start, end = model.inputs[0], model.outputs[0]
    shape, wanted = tuple(start.shape), (None, *input_shape)
    fits = len(shape) == len(wanted) and shape[0] is None
    if not fits or any(given not in (None, size) for given, size in zip(shape, wanted, strict=True)):
        raise ConfigError(what, expected=f"an input of shape {wanted}", received=str(shape))
    if not str(start.dtype).startswith(("float", "bfloat")):
        raise ConfigError(what, expected="an input of floating-point numbers", received=str(start.dtype))
    shape = tuple(end.shape)
    # Only the number of timesteps may be left open.
    open_time = len(outputs) == 3 and shape == (None, None, outputs[2])
    if shape != outputs and not open_time:
        raise ConfigError(what, expected=f"logits of shape {outputs}", received=str(shape))
    if len(outputs) == 3 and getattr(end, "_keras_mask", None) is not None:
        raise ConfigError(
            f"{what}: its output carries a mask, and every timestep of this dataset has a label that counts",
            remedy="Leave the mask out, or end it before the output.",
        )
    return model


def scaled(model: Any, mean: float, deviation: float) -> Any:
    """The model with two last operations that give its outputs this mean and deviation: those of the targets."""
    import keras

    # keras.layers.Rescaling would look for TensorFlow on every backend, and workers of another one have it out of reach.
    return keras.Model(model.inputs[0], keras.ops.add(keras.ops.multiply(model.outputs[0], deviation), mean))


def lengths(model: Any, timesteps: int) -> list[int]:
    """The length of the sequence that each recurrent layer runs over, once for each time it is called.

    Args:
      model: See `whole`.
      timesteps: Of the data: stands in where a length is open, or inside a model without a graph.
    """
    import keras

    graph = getattr(model, "_functional", None) or model
    by_depth = getattr(graph, "_nodes_by_depth", None)
    if by_depth is None:
        return [timesteps] * _recurrent(model)
    found: list[int] = []
    for node in (node for nodes in by_depth.values() for node in nodes):
        layer = node.operation
        if isinstance(layer, keras.Model):
            found += lengths(layer, timesteps)
        elif isinstance(layer, keras.layers.Layer) and (n := _recurrent(layer)):
            # The first input is the sequence, the others are states. A wrapper over timesteps has another one inside.
            shape = node.input_tensors[0].shape
            axis = -2 if isinstance(layer, keras.layers.TimeDistributed) else 1
            found += [shape[axis] or timesteps] * n
    return found


def foreign_layers(model: Any) -> list[str]:
    """Classes of the layers that are neither Keras's nor ours, and Lambda: what a saved model may lack when it is loaded."""
    classes = {type(layer) for layer in model._flatten_layers(include_self=True, recursive=True)}
    ours = ("keras.", "lstm_bench.")
    return sorted(c.__name__ for c in classes if c.__name__ == "Lambda" or not c.__module__.startswith(ours))


def _recurrent(layer: Any) -> int:
    import keras

    inside = layer._flatten_layers(include_self=True, recursive=True)
    return sum(isinstance(found, keras.layers.RNN) for found in inside)


def require_logits(model: Any, target: str) -> None:
    """Raises ConfigError where the model ends in a softmax or a sigmoid: it is trained, and read, as one that gives logits.

    The one output of a regression may end in a sigmoid: it is no probability then.
    """
    regression = model.outputs[0].shape[-1] == 1
    for name, ends in _ends(model.outputs[0]):
        if ends in _PROBABILITIES and not (regression and ends != "softmax"):
            raise _not_logits(target, f"{name} ends in {ends}")


def require_no_distribution(model: Any, target: str) -> None:
    """Raises ConfigError where the outputs for random sequences are distributions over the classes, however computed."""
    n_classes = model.outputs[0].shape[-1]
    found = answers(model).reshape(-1, n_classes)
    if n_classes > 1 and (found >= 0).all() and np.allclose(found.sum(axis=1), 1, atol=1e-3):
        raise _not_logits(target, "for random sequences they are positive and sum to 1")


def answers(model: Any, n: int = 8) -> np.ndarray:
    """Outputs for `n` random sequences, the same ones each time; float64."""
    import keras

    shape = (n, *(size or 4 for size in model.inputs[0].shape[1:]))
    x = 3 * np.random.default_rng(0).standard_normal(shape)
    found = keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(x.astype(np.float32)), training=False))
    return np.asarray(found, np.float64)


def _not_logits(target: str, why: str) -> ConfigError:
    return ConfigError(
        f"model._target_={target}: its outputs are probabilities ({why})",
        expected="logits",
        remedy="Leave that activation out: training, evaluation and predict apply it themselves.",
    )


def _ends(tensor: Any) -> Iterator[tuple[str, str]]:
    """Name and activation of what an output ends in, through layers that leave values as they are."""
    import keras

    operation = tensor._keras_history.operation
    if isinstance(operation, keras.Model):
        if getattr(operation, "outputs", None):
            yield from _ends(operation.outputs[0])
        return
    kind, inner = type(operation).__name__, operation
    while isinstance(inner, keras.layers.Wrapper) and not isinstance(inner, keras.layers.Bidirectional):
        inner = inner.layer
        if isinstance(inner, keras.Model) and getattr(inner, "outputs", None):
            yield from _ends(inner.outputs[0])
            return
    if kind in _PASSING:
        node = operation._inbound_nodes[tensor._keras_history.node_index]
        yield from _ends(node.input_tensors[0])
        return
    activation = getattr(inner, "activation", None)
    ends = getattr(activation, "__name__", "") or type(activation).__name__.lower()
    if kind in ("Softmax", "Sigmoid", "HardSigmoid"):  # layers and operations of that name
        ends = {"HardSigmoid": "hard_sigmoid"}.get(kind, kind.lower())
    yield f"layer {operation.name}", ends
