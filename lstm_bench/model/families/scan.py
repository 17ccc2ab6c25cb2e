"""Families whose recurrence is a parallel scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lstm_bench.core.schema import Range
from lstm_bench.model.families.shared import documented
from lstm_bench.model.signature import Shape

if TYPE_CHECKING:
    import keras


@documented
def min_gru(
    input_shape: Shape,
    n_classes: int,
    *,
    units: Annotated[int, Range(1)] = 64,
    layers: Annotated[int, Range(1)] = 2,
    return_sequences: bool = False,
) -> keras.Model:
    """`layers` minGRUs of equal width, batch normalisation, a dense head: a recurrence computed by a parallel scan.

    No kernel has a part in it: `kernel_ran` is "none".

    Args:
      units: Width of every minGRU, at least 1.
      layers: Number of minGRUs, at least 1; more than one, for a gate sees the past through the layer below alone.

    Source: Feng et al. 2024 (arXiv 2410.01201), the vanilla version: see `layers.MinGRU`. Differs: nothing stands between the
    layers (the paper's language models have a convolution, an MLP and residuals there); the head is that of `single`.
    """
    from keras import Input, Sequential
    from keras.layers import BatchNormalization, Dense

    from lstm_bench.model.layers import MinGRU

    # Built one by one: a MinGRU draws its seed as it is built, before the head draws its own.
    model = Sequential([Input(input_shape)])
    for layer in range(layers):
        model.add(MinGRU(units, return_sequences=return_sequences or layer < layers - 1))
    model.add(BatchNormalization())
    model.add(Dense(n_classes))
    return model
