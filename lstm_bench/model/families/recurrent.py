"""One function per architecture family: sizes in, uncompiled `keras.Model` with logits out.

A family's first two arguments are `input_shape` and `n_classes`; arguments named as a key of `kernel.LAYERS` (`lstm`,
`gru`, ...) receive the layer maker of the chosen kernel; the keyword arguments are its YAML in `conf/model/`, their ranges
stand in the annotations and are checked before anything is created. A family that has the keyword argument
`return_sequences`, which is no option, gives the logits of every timestep where it is true: `(batch, timesteps, n_classes)`.
Where sequences differ in length the model is called with a mask, as Keras passes it, and with fewer timesteps than `input_shape`
has; a family that needs other layers for that has the keyword argument `masked`, no option either, which is true then.
Docstrings hold what is a family's own: `documented` adds the arguments that all families share.
Keras is imported inside the functions, so that the driver can read the signatures without it.

Every family gives logits: where a source puts a softmax into the last layer, ours is in the loss (the same function,
numerically safer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lstm_bench.core.schema import Range
from lstm_bench.model.families.shared import documented, with_head
from lstm_bench.model.signature import LayerMaker, Shape

if TYPE_CHECKING:
    import keras


@documented
def single(
    input_shape: Shape,
    n_classes: int,
    lstm: LayerMaker,
    *,
    units: Annotated[int, Range(1)] = 64,
    batch_norm: bool = True,
    return_sequences: bool = False,
) -> keras.Model:
    """One LSTM, batch normalisation, a dense head.

    Args:
      units: Width of the LSTM, at least 1.

    Source: "Long Short-Term Memory (LSTM) in Keras", PythonAlgos: 24,714 weights on MNIST rows.
    """
    recurrent = lstm(units, return_sequences=return_sequences)
    return with_head(input_shape, n_classes, recurrent, batch_norm=batch_norm)


@documented
def simple_rnn(
    input_shape: Shape,
    n_classes: int,
    simple_rnn: LayerMaker,
    *,
    units: Annotated[int, Range(1)] = 64,
    batch_norm: bool = True,
    return_sequences: bool = False,
) -> keras.Model:
    """One SimpleRNN, batch normalisation, a dense head: the baseline without gates.

    Args:
      units: Width of the SimpleRNN, at least 1.

    Source: the same tutorial as `single`, which compares the two layers: a quarter of the LSTM's weights.
    """
    recurrent = simple_rnn(units, return_sequences=return_sequences)
    return with_head(input_shape, n_classes, recurrent, batch_norm=batch_norm)


@documented
def stacked(
    input_shape: Shape,
    n_classes: int,
    lstm: LayerMaker,
    *,
    units: Annotated[int, Range(1)] = 128,
    layers: Annotated[int, Range(1)] = 2,
    dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.2,
    dense_units: Annotated[int, Range(1)] = 64,
    return_sequences: bool = False,
) -> keras.Model:
    """`layers` LSTMs of equal width with dropout between them, the last state to a hidden dense layer and a dense head.

    Args:
      units: Width of every LSTM, at least 1.
      layers: Number of LSTMs, at least 1.
      dropout: Rate between the LSTMs and after the hidden dense layer, 0 <= dropout < 1. Not recurrent dropout: that
        rules out cuDNN.
      dense_units: Width of the hidden dense layer (ReLU), at least 1.

    Source: "How To Code Your First LSTM Network In Keras", Analytics India Magazine, 2019: 2 x 128, 220,874 weights on
    MNIST rows. Differs: its CuDNNLSTM had a second bias per gate (221,898 weights), which today's LSTM has not.
    """
    from keras.layers import Dense, Dropout

    body = []
    for _ in range(layers - 1):
        body += [lstm(units, return_sequences=True), Dropout(dropout)]
    body += [lstm(units, return_sequences=return_sequences), Dense(dense_units, activation="relu"), Dropout(dropout)]
    return with_head(input_shape, n_classes, *body)


@documented
def gru(
    input_shape: Shape,
    n_classes: int,
    gru: LayerMaker,
    *,
    units: Annotated[int, Range(1)] = 64,
    batch_norm: bool = True,
    return_sequences: bool = False,
) -> keras.Model:
    """One GRU, batch normalisation, a dense head: `single` with another cell.

    Args:
      units: Width of the GRU, at least 1.

    Source: Cho et al. 2014 (arXiv 1406.1078). Differs: Keras's GRU resets after the product with the recurrent kernel and has
    a second bias, as cuDNN does (`reset_after`); the layers around it are those of `single`.
    """
    recurrent = gru(units, return_sequences=return_sequences)
    return with_head(input_shape, n_classes, recurrent, batch_norm=batch_norm)


@documented
def bidirectional(
    input_shape: Shape,
    n_classes: int,
    lstm: LayerMaker,
    *,
    units: Annotated[int, Range(1)] = 64,
    return_sequences: bool = False,
) -> keras.Model:
    """An LSTM in each direction, their outputs side by side, batch normalisation, a dense head.

    Args:
      units: Width of each direction, at least 1.

    Source: Graves and Schmidhuber 2005, "Framewise phoneme classification with bidirectional LSTM". Differs: one class per
    sequence comes from the last state of each direction; the layers around are those of `single`.
    """
    from keras.layers import Bidirectional

    recurrent = Bidirectional(lstm(units, return_sequences=return_sequences))
    return with_head(input_shape, n_classes, recurrent, batch_norm=True)


@documented
def recurrent_dropout(
    input_shape: Shape,
    n_classes: int,
    dropout_lstm: LayerMaker,
    *,
    units: Annotated[int, Range(1)] = 64,
    recurrent_dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.25,
    dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.0,
    return_sequences: bool = False,
) -> keras.Model:
    """One LSTM with dropout on its recurrent state, batch normalisation, a dense head. A slow path: no cuDNN, not fused.

    Args:
      units: Width of the LSTM, at least 1.
      recurrent_dropout: Rate on the state that enters the gates, 0 <= rate < 1.
      dropout: Rate on the inputs, again one mask for all timesteps, 0 <= rate < 1.

    Source: Gal and Ghahramani 2016 (arXiv 1512.05287): one mask per sequence, the same at every timestep, another for each
    gate. Differs: Keras draws one for every sample of a batch; nothing is dropped from the inputs unless `dropout` says so,
    and weights do not decay. (Semeniuk et al. 2016, arXiv 1603.05118, drop the cell's update instead: not this.)
    """
    rates = {"dropout": dropout, "recurrent_dropout": recurrent_dropout}
    recurrent = dropout_lstm(units, **rates, return_sequences=return_sequences)
    return with_head(input_shape, n_classes, recurrent, batch_norm=True)


@documented
def layer_norm(
    input_shape: Shape,
    n_classes: int,
    layer_norm_lstm: LayerMaker,
    *,
    units: Annotated[int, Range(1)] = 64,
    return_sequences: bool = False,
) -> keras.Model:
    """One LSTM with layer normalisation in its cell, batch normalisation, a dense head. No cuDNN, not fused.

    Args:
      units: Width of the LSTM, at least 1.

    Source: Ba et al. 2016 (arXiv 1607.06450): see `layers.LayerNormLSTMCell`. The layers around it are those of `single`.
    """
    recurrent = layer_norm_lstm(units, return_sequences=return_sequences)
    return with_head(input_shape, n_classes, recurrent, batch_norm=True)
