"""Families with convolutions: a CNN over windows before an LSTM, and the CNN control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lstm_bench.core.errors import ConfigError
from lstm_bench.core.schema import Choice, Range
from lstm_bench.model.families.shared import documented, with_head
from lstm_bench.model.signature import LayerMaker, Shape

if TYPE_CHECKING:
    import keras


@documented
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
    masked: bool = False,
) -> keras.Model:
    """A small CNN over windows of timesteps, then an LSTM over the windows, then a dense head.

    Args:
      input_shape: `(timesteps, features)`, without the batch axis; timesteps a multiple of `window`, unless `masked`.
      window: Timesteps that the CNN sees at once, at least 1.
      filters: Filters of the convolution, at least 1.
      kernel_size: Side of the square convolution kernel, at least 1.
      units: Width of the LSTM, at least 1.
      wrapping: "model" wraps the whole CNN in one TimeDistributed, "layers" each of its layers. Both are published, and
        both are the same function of the same weights.
      masked: Whether sequences differ in length: the last window of each is completed by zeros.

    Raises:
      ConfigError: if `window` does not divide the timesteps, and sequences have one length.

    Source: "Comprehensive Guide to LSTM & RNNs", Turing: the two ways of wrapping, without sizes. The sizes are ours.
    """
    from keras import Input, Sequential, layers

    timesteps, features = input_shape
    if timesteps % window and not masked:
        raise ConfigError(
            "model.window",
            expected=f"a divisor of the {timesteps} timesteps",
            received=window,
            remedy=f"Valid: {', '.join(str(n) for n in range(1, timesteps + 1) if timesteps % n == 0)}; "
            "of one study of a campaign cnn_lstm:model.window=N.",
        )
    pool = (2 if window > 1 else 1, 2 if features > 1 else 1)
    cnn = [
        layers.Conv2D(filters, kernel_size, padding="same", activation="relu"),
        layers.MaxPooling2D(pool),
        layers.Flatten(),
    ]
    # The whole before its part: Keras numbers its models, and their names stand in saved files.
    if masked:
        from lstm_bench.model.layers import Windows

        windows = Windows(window)
    else:
        windows = layers.Reshape((timesteps // window, window, features, 1))
    model = Sequential([Input(input_shape), windows])
    for layer in [Sequential([Input((window, features, 1)), *cnn])] if wrapping == "model" else cnn:
        model.add(layers.TimeDistributed(layer))
    model.add(lstm(units))
    model.add(layers.Dense(n_classes))
    return model


@documented
def cnn(
    input_shape: Shape,
    n_classes: int,
    *,
    filters: Annotated[int, Range(1)] = 64,
    kernel_size: Annotated[int, Range(1)] = 5,
    blocks: Annotated[int, Range(1)] = 3,
    masked: bool = False,
) -> keras.Model:
    """A 1-D CNN over time without recurrence: convolution blocks, the mean over time, a dense head. A control.

    Args:
      filters: Filters of every convolution, at least 1.
      kernel_size: Timesteps that a convolution sees at once, at least 1.
      blocks: Number of blocks of convolution, batch normalisation and ReLU, at least 1.

    Source: the FCN of Wang et al. 2016 (arXiv 1611.06455); that convolutions are the control which a recurrence has to beat,
    Bai et al. 2018 (arXiv 1803.01271). Differs: all blocks are alike (Wang et al.: 128, 256, 128 filters over 8, 5, 3
    timesteps), the sizes are ours.
    """
    from keras import layers

    convolution = layers.Conv1D
    if masked:
        from lstm_bench.model.layers import MaskedConv1D as convolution
    body = []
    for _ in range(blocks):
        body += [convolution(filters, kernel_size, padding="same"), layers.BatchNormalization(), layers.ReLU()]
    return with_head(input_shape, n_classes, *body, layers.GlobalAveragePooling1D())
