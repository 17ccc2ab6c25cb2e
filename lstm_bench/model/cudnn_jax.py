"""A Keras LSTM on JAX that stays on cuDNN where sequences differ in length: the kernel `cudnn` with a mask.

Keras leaves cuDNN for a loop there, though `jax.experimental.rnn.lstm` takes lengths. Weights, their layout and their
initialisation are Keras's: a trained layer's weights are those of the plain one. JAX has no call of cuDNN's GRU. Without a GPU
the same layer runs JAX's reference of that call, `lstm_ref`, a loop: that is how it is tested, `kernel=cudnn` is refused there.
"""

from __future__ import annotations

import functools
from typing import Any

from lstm_bench.model.fused_torch import refused


def on_gpu() -> bool:
    """Whether JAX runs on a GPU."""
    import jax

    return bool(jax.default_backend() == "gpu")


@functools.cache
def layers() -> dict[str, Any]:
    """Layer name (as `kernel.LAYERS`) -> subclass of the Keras layer. Only with the JAX backend.

    A layer refuses (KernelError) what cuDNN does not compute: other activations than tanh and sigmoid, no bias, dropout inside
    the layer, other numbers than float32. A mask of sequences that are not padded on the right is known only while the program
    runs, and makes every output NaN.
    """
    import jax.numpy as jnp
    import keras
    from jax.experimental import rnn

    activations = keras.activations

    def call(x: Any, h: Any, c: Any, matrices: list[Any], bias: Any, lengths: Any) -> tuple[Any, Any, Any]:
        """`jax.experimental.rnn.lstm` of one layer: outputs (batch, timesteps, units), and both states after each sequence."""
        sizes, zeros = (x.shape[2], h.shape[1], 1, 0.0, False), jnp.zeros_like(bias)
        if on_gpu():
            weights = jnp.concatenate([*(matrix.ravel() for matrix in matrices), bias, zeros])
            y, h, c = rnn.lstm(x, h[None], c[None], weights, lengths, *sizes)
        else:
            given = ({0: one} for one in (*matrices, bias, zeros))
            y, h, c = rnn.lstm_ref(x, h[None], c[None], *given, lengths, *sizes)
        return y, h[0], c[0]

    @keras.saving.register_keras_serializable("lstm_bench")
    class CudnnLSTM(keras.layers.LSTM):
        def __init__(self, *args: Any, **options: Any):
            super().__init__(*args, **options)
            cell = self.cell
            plain = cell.activation is activations.tanh and cell.recurrent_activation is activations.sigmoid
            if not plain or not cell.use_bias or cell.dropout or cell.recurrent_dropout:
                raise refused("cuDNN's LSTM needs tanh, sigmoid gates, a bias and no dropout inside the layer")

        def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
            if mask is None:
                return super().inner_loop(sequences, initial_state, mask, training)
            if sequences.dtype != jnp.float32:
                raise refused(f"JAX's cuDNN LSTM takes float32 alone, not {sequences.dtype}")
            timesteps, lengths = sequences.shape[1], jnp.sum(mask, axis=1, dtype=jnp.int32)
            at = jnp.arange(timesteps, dtype=jnp.int32)
            inside = at < lengths[:, None]
            right_padded, empty = (mask == inside).all(), (lengths == 0)[:, None]
            # What stands behind an end neither comes in nor goes out, and has no gradient.
            sequences = jnp.where(inside[..., None], sequences, 0.0)
            lengths = jnp.maximum(lengths, 1)
            if self.go_backwards:  # each sequence from its own end
                back = jnp.maximum(lengths[:, None] - 1 - at, 0)[..., None]
                sequences = jnp.take_along_axis(sequences, back, axis=1)
            kernel, recurrent, bias = (
                one.value for one in (self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)
            )
            h, c = initial_state
            y, *after = call(sequences, h, c, [kernel.T, recurrent.T], bias, lengths)
            after = [jnp.where(empty, before, state) for before, state in zip(initial_state, after, strict=True)]
            after = [jnp.where(right_padded, state, jnp.nan) for state in after]
            if not self.return_sequences:
                return after[0], after[0][:, None], after
            y = jnp.where((inside & right_padded)[..., None], y, jnp.where(right_padded, 0.0, jnp.nan))
            if self.go_backwards:  # as Keras has it: what was read last stands at the end, the padding at the beginning
                from_start = jnp.maximum(at - (timesteps - lengths[:, None]), 0)[..., None]
                behind = (at >= timesteps - lengths[:, None])[..., None]
                y = jnp.where(behind, jnp.take_along_axis(y, from_start, axis=1), 0.0)
            return after[0], y, after

    return {"lstm": CudnnLSTM}
