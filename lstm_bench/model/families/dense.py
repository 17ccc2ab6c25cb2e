"""The control without recurrence or convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lstm_bench.core.schema import Range
from lstm_bench.model.families.shared import documented, with_head
from lstm_bench.model.signature import Shape

if TYPE_CHECKING:
    import keras


@documented
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
      units: Width of every hidden layer (ReLU), at least 1.
      layers: Number of hidden layers, at least 1.
      dropout: Rate after every hidden layer, 0 <= dropout < 1.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", III.C: fully connected nets on
    MNIST. Differs: ReLU and dropout (Srivastava et al. 2014), cross-entropy, hidden layers of equal width; the sizes are ours.
    """
    from keras.layers import Dense, Dropout, Flatten

    body = [Flatten()]
    for _ in range(layers):
        body += [Dense(units, activation="relu"), Dropout(dropout)]
    return with_head(input_shape, n_classes, *body)
