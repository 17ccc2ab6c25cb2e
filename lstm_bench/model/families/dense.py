"""The control without recurrence or convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lstm_bench.core.schema import Range
from lstm_bench.model.signature import Shape

if TYPE_CHECKING:
    import keras


def mlp(
    input_shape: Shape,
    n_classes: int,
    *,
    units: Annotated[int, Range(1)] = 64,
    layers: Annotated[int, Range(1)] = 2,
    dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.2,
) -> keras.Model:
    """The whole sequence as one vector, `layers` dense layers with dropout, a dense head: no notion of time. A control.

    Args:
      input_shape: `(timesteps, features)`, without the batch axis.
      n_classes: Number of classes, at least 2.
      units: Width of every hidden layer (ReLU), at least 1.
      layers: Number of hidden layers, at least 1.
      dropout: Rate after every hidden layer, 0 <= dropout < 1.

    Returns:
      Uncompiled model: `(batch, timesteps, features)` -> logits `(batch, n_classes)`.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", III.C: fully connected nets on
    MNIST. Differs: ReLU and dropout (Srivastava et al. 2014), cross-entropy, hidden layers of equal width; the sizes are ours.
    """
    from keras import Input, Sequential
    from keras import layers as keras_layers

    model = Sequential([Input(input_shape), keras_layers.Flatten()])
    for _ in range(layers):
        model.add(keras_layers.Dense(units, activation="relu"))
        model.add(keras_layers.Dropout(dropout))
    model.add(keras_layers.Dense(n_classes))
    return model
