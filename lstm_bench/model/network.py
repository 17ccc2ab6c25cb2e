"""A built Keras model, read as a graph: its input and output, what its recurrent layers run over, how it ends.

Any `keras.Model` will do: Sequential, functional, nested, subclassed.
"""

from __future__ import annotations

import warnings
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


def embedded(model: Any, timesteps: int, ids: int) -> Any:
    """The model behind a table that has a row for each id: it takes ids `(batch, timesteps)` then, and 0 is no timestep."""
    import keras

    start = keras.Input((timesteps,), dtype="int32")
    table = keras.layers.Embedding(ids, model.inputs[0].shape[-1], mask_zero=True)
    with warnings.catch_warnings():  # Keras takes the model for a layer: those inside it do get the mask
        warnings.filterwarnings("ignore", "Layer .* was passed an input with a mask attached")
        return keras.Model(start, without_mask(model(table(start))))


def _ids(model: Any) -> int:
    """How many ids a model of `embedded` takes, 0 of any other."""
    import keras

    if len(model.inputs[0].shape) > 2:
        return 0
    return next(layer.input_dim for layer in model.layers if isinstance(layer, keras.layers.Embedding))


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


def open_time(model: Any) -> None:
    """Lets a model, and those inside it, take sequences of any length: its layers say then whether they can.

    A Sequential model does so by itself; Keras holds a functional one to the shape that it was built with.
    """
    import keras

    for inner in model._flatten_layers(include_self=True, recursive=True):
        if (
            isinstance(inner, keras.Model)
            and not isinstance(inner, keras.Sequential)
            and getattr(inner, "inputs", None)
        ):
            specs = [
                keras.layers.InputSpec(shape=(None, None, *one.shape[2:])) if len(one.shape) > 2 else None
                for one in inner.inputs
            ]
            inner.input_spec = specs if len(specs) > 1 else specs[0]


def keep_backward_outputs(model: Any) -> None:
    """Lets unrolled layers that read backwards keep their outputs where sequences are padded on the right.

    To zero the outputs of the padding (`zero_output_for_mask`, which Bidirectional sets) Keras's unrolled loop on TensorFlow
    takes the mask in the order of time, while the outputs are still in the order in which they were read. Nothing is lost
    without it: what is read first is the padding, and until the first true timestep the outputs are zero.
    """
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if getattr(layer, "unroll", False) and getattr(layer, "go_backwards", False):
            layer.zero_output_for_mask = False


def takes(model: Any, timesteps: int = 1) -> bool:
    """Whether a model takes sequences of so many timesteps; its state is left as it is."""
    import keras

    before = [np.array(variable) for variable in model.non_trainable_variables]
    shape = (1, timesteps, *model.inputs[0].shape[2:])
    try:
        model(keras.ops.ones(shape, dtype=model.inputs[0].dtype), training=False)
    except Exception:  # what a layer raises that wants another number of timesteps
        return False
    finally:
        for variable, value in zip(model.non_trainable_variables, before, strict=True):
            variable.assign(value)
    return True


def masked_call(model: Any, inputs: Any, mask: Any, **options: Any) -> Any:
    """The model's outputs for sequences with a mask `(batch, timesteps)`; 0 is read where there is no timestep."""
    return without_mask(model(blanked(inputs, mask), mask=mask, **options))


def blanked(inputs: Any, mask: Any) -> Any:
    """Inputs, or ids, with 0 where there is no timestep."""
    from keras import ops

    return ops.where(mask[..., None], inputs, 0.0) if len(inputs.shape) > 2 else ops.where(mask, inputs, 0)


def without_mask(outputs: Any) -> Any:
    """Outputs whose mask a loss of Keras does not see: what counts is what the data's lengths say."""
    from keras.src.backend import set_keras_mask

    set_keras_mask(outputs, None)
    return outputs


def require_masked(model: Any, target: str, max_length: int | None) -> None:
    """Raises ConfigError unless a batch gives the same, to whatever length it is padded.

    Its outputs are compared, and what it adds to the loss; where no layer draws at random, what it keeps of a batch in training
    too: the running means of a normalisation. A network that takes one number of timesteps and no other must be told it.

    Args:
      model: See `whole`, after `open_time`; its state is left as it is.
      target: The family.
      max_length: `dataset.max_length`: the number of timesteps, whatever data come.
    """
    from keras import ops

    words, true, rng = f"model._target_={target}", np.array([4, 1, 7, 6]), np.random.default_rng(0)
    form = (len(true), 7, *model.inputs[0].shape[2:])
    x = rng.integers(1, ids, form, np.int32) if (ids := _ids(model)) else rng.standard_normal(form).astype(np.float32)
    before, found, random = [np.array(variable) for variable in model.variables], [], False
    for timesteps in (7, 12):
        padded = np.zeros((len(true), timesteps, *x.shape[2:]), x.dtype)
        padded[:, :7] = x
        mask = np.arange(timesteps) < true[:, None]

        def called(given: np.ndarray, where: np.ndarray, training: bool) -> np.ndarray:
            outputs = masked_call(model, ops.convert_to_tensor(given), ops.convert_to_tensor(where), training=training)
            values = np.asarray(ops.convert_to_numpy(outputs))
            return values[where] if values.ndim == 3 else values

        try:
            kept = [called(padded, mask, False)]
            training = called(padded, mask, True)
        except Exception as error:  # what a layer raises that wants another number of timesteps
            if max_length is not None:
                return
            # Without the error as its cause: what a user has to do is said.
            raise ConfigError(
                f"{words}: it takes sequences of one length, and those of this dataset differ ({type(error).__name__})",
                remedy="Give that length, dataset.max_length=TIMESTEPS, or another family.",
            ) from None
        kept += [np.sum([float(ops.convert_to_numpy(ops.sum(loss))) for loss in model.losses])]
        kept += [np.array(variable) for variable in model.non_trainable_variables if "seed" not in variable.path]
        random = random or not np.array_equal(training, called(padded, mask, True))
        found.append(kept)
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)
    compared = [pair[:1] if random else pair for pair in found]
    if not all(np.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(*compared, strict=True)):
        raise ConfigError(
            f"{words}: its results depend on the padding of a batch: a layer does not heed the mask",
            remedy="Use layers that support masking, or pass `mask` on to those of your own: call(self, inputs, mask=None).",
        )


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
    rng = np.random.default_rng(0)
    x = rng.integers(1, ids, shape, np.int32) if (ids := _ids(model)) else 3 * rng.standard_normal(shape)
    x = x.astype(np.int32 if ids else np.float32)
    found = keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(x), training=False))
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
