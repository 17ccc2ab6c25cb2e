"""One function per architecture family: sizes in, uncompiled `keras.Model` with logits out.

A family's first two arguments are `input_shape` and `n_classes`; arguments named `lstm`, `gru` or `simple_rnn` receive
the layer maker of the chosen kernel (`kernel.py`); the keyword arguments are its YAML in `conf/model/`, their ranges
stand in the annotations and are checked before anything is created. Keras is imported inside the functions, so that the
driver can read the signatures without it. `return_sequences`, where a family has it, is no option: the task decides whether
there is an output for every timestep.

Every family gives logits: where a source puts a softmax into the last layer, ours is in the loss (the same function,
numerically safer).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from lstm_bench.config import Choice, Range
from lstm_bench.errors import ConfigError

if TYPE_CHECKING:
    import keras

LayerMaker = Callable[..., Any]
Shape = tuple[int, int]


def single(
    input_shape: Shape,
    n_classes: int,
    lstm: LayerMaker,
    *,
    units: Annotated[int, Range(1)] = 64,
    return_sequences: bool = False,
) -> keras.Model:
    """One LSTM, batch normalisation, a dense head.

    Args:
      input_shape: `(timesteps, features)`, without the batch axis.
      n_classes: Number of classes, at least 2.
      lstm: Layer maker of the chosen kernel.
      units: Width of the LSTM, at least 1.
      return_sequences: Whether there are logits for every timestep.

    Returns:
      Uncompiled model: `(batch, timesteps, features)` -> logits `(batch, n_classes)`, or `(batch, timesteps, n_classes)`.

    Source: "Long Short-Term Memory (LSTM) in Keras", PythonAlgos: 24,714 weights on MNIST rows.
    """
    from keras import Input, Sequential, layers

    recurrent = lstm(units, return_sequences=return_sequences)
    return Sequential([Input(input_shape), recurrent, layers.BatchNormalization(), layers.Dense(n_classes)])


def simple_rnn(
    input_shape: Shape,
    n_classes: int,
    simple_rnn: LayerMaker,
    *,
    units: Annotated[int, Range(1)] = 64,
    return_sequences: bool = False,
) -> keras.Model:
    """One SimpleRNN, batch normalisation, a dense head: the baseline without gates.

    Args:
      input_shape: `(timesteps, features)`, without the batch axis.
      n_classes: Number of classes, at least 2.
      simple_rnn: Layer maker of the chosen kernel.
      units: Width of the SimpleRNN, at least 1.
      return_sequences: Whether there are logits for every timestep.

    Returns:
      Uncompiled model: `(batch, timesteps, features)` -> logits `(batch, n_classes)`, or `(batch, timesteps, n_classes)`.

    Source: the same tutorial as `single`, which compares the two layers: a quarter of the LSTM's weights.
    """
    from keras import Input, Sequential, layers

    recurrent = simple_rnn(units, return_sequences=return_sequences)
    return Sequential([Input(input_shape), recurrent, layers.BatchNormalization(), layers.Dense(n_classes)])


def stacked(
    input_shape: Shape,
    n_classes: int,
    lstm: LayerMaker,
    *,
    units: Annotated[int, Range(1)] = 128,
    layers: Annotated[int, Range(1)] = 2,
    dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.2,
    dense_units: Annotated[int, Range(1)] = 64,
) -> keras.Model:
    """`layers` LSTMs of equal width with dropout between them, the last state to a hidden dense layer and a dense head.

    Args:
      input_shape: `(timesteps, features)`, without the batch axis.
      n_classes: Number of classes, at least 2.
      lstm: Layer maker of the chosen kernel.
      units: Width of every LSTM, at least 1.
      layers: Number of LSTMs, at least 1.
      dropout: Rate between the LSTMs and after the hidden dense layer, 0 <= dropout < 1. Not recurrent dropout: that
        rules out cuDNN.
      dense_units: Width of the hidden dense layer (ReLU), at least 1.

    Returns:
      Uncompiled model: `(batch, timesteps, features)` -> logits `(batch, n_classes)`.

    Source: "How To Code Your First LSTM Network In Keras", Analytics India Magazine, 2019: 2 x 128, 220,874 weights on
    MNIST rows. Differs: its CuDNNLSTM had a second bias per gate (221,898 weights), which today's LSTM has not.
    """
    from keras import Input, Sequential
    from keras import layers as keras_layers

    model = Sequential([Input(input_shape)])
    for layer in range(layers):
        last = layer == layers - 1
        model.add(lstm(units, return_sequences=not last))
        if not last:
            model.add(keras_layers.Dropout(dropout))
    model.add(keras_layers.Dense(dense_units, activation="relu"))
    model.add(keras_layers.Dropout(dropout))
    model.add(keras_layers.Dense(n_classes))
    return model


def cnn_lstm(
    input_shape: Shape,
    n_classes: int,
    lstm: LayerMaker,
    *,
    window: Annotated[int, Range(1)] = 4,
    filters: Annotated[int, Range(1)] = 16,
    kernel_size: Annotated[int, Range(1)] = 3,
    units: Annotated[int, Range(1)] = 64,
    wrapping: Annotated[str, Choice("model", "layers")] = "model",
) -> keras.Model:
    """A small CNN over windows of timesteps, then an LSTM over the windows, then a dense head.

    Args:
      input_shape: `(timesteps, features)`, without the batch axis; timesteps a multiple of `window`.
      n_classes: Number of classes, at least 2.
      lstm: Layer maker of the chosen kernel.
      window: Timesteps that the CNN sees at once, at least 1.
      filters: Filters of the convolution, at least 1.
      kernel_size: Side of the square convolution kernel, at least 1.
      units: Width of the LSTM, at least 1.
      wrapping: "model" wraps the whole CNN in one TimeDistributed, "layers" each of its layers. Both are published, and
        both are the same function of the same weights.

    Returns:
      Uncompiled model: `(batch, timesteps, features)` -> logits `(batch, n_classes)`.

    Raises:
      ConfigError: if `window` does not divide the timesteps.

    Source: "Comprehensive Guide to LSTM & RNNs", Turing: the two ways of wrapping, without sizes. The sizes are ours.
    """
    from keras import Input, Sequential, layers

    timesteps, features = input_shape
    if timesteps % window:
        raise ConfigError(
            "model.window",
            expected=f"a divisor of the {timesteps} timesteps",
            received=window,
            remedy=f"Valid: {', '.join(str(n) for n in range(1, timesteps + 1) if timesteps % n == 0)}.",
        )
    pool = (2 if window > 1 else 1, 2 if features > 1 else 1)
    cnn = [
        layers.Conv2D(filters, kernel_size, padding="same", activation="relu"),
        layers.MaxPooling2D(pool),
        layers.Flatten(),
    ]
    model = Sequential([Input(input_shape), layers.Reshape((timesteps // window, window, features, 1))])
    if wrapping == "model":
        model.add(layers.TimeDistributed(Sequential([Input((window, features, 1)), *cnn])))
    else:
        for layer in cnn:
            model.add(layers.TimeDistributed(layer))
    model.add(lstm(units))
    model.add(layers.Dense(n_classes))
    return model
