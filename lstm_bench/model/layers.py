"""Recurrent layers that Keras has not, in `keras.ops` alone: the same on every backend.

A saved model that holds one is loaded after `import lstm_bench.model.layers`, which registers them.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

_register = keras.saving.register_keras_serializable(package="lstm_bench")


@_register
class LayerNormLSTMCell(keras.layers.Layer):
    """One timestep of an LSTM with layer normalisation; gates in Keras's order i, f, g, o.

        i, f, g, o = LN(x W; a1) + LN(h U; a2) + b
        c' = sigmoid(f) c + sigmoid(i) tanh(g)
        h' = sigmoid(o) tanh(LN(c'; a3, b3))

    LN(z; a, b) = a (z - mean(z)) / sqrt(var(z) + epsilon) + b over all of z: the four gates together, as in the paper.
    Weights: kernel W (features, 4 units), recurrent_kernel U (units, 4 units), bias b, kernel_gain a1 and recurrent_gain a2
    (4 units), state_gain a3 and state_bias b3 (units).

    Args:
      units: Width of the state, at least 1.
      epsilon: Added to the variance, above 0; that of `keras.layers.LayerNormalization`.

    Source: Ba et al. 2016 (arXiv 1607.06450), eq. 20-22 of the supplement. Differs: the biases of the first two
    normalisations and b, which occur only as a sum, are one bias. It begins as Keras's LSTM does, 1 for the forget gate, but
    for the candidate g, which begins near 0 and not at it: while all inputs are 0, as the margin of an image is, a state of
    exactly 0 would stay so, and each of its normalisations would multiply the gradient by 1 / sqrt(epsilon).
    """

    def __init__(self, units: int, epsilon: float = 1e-3, **options: Any):
        super().__init__(**options)
        self.units, self.epsilon = units, epsilon
        self.state_size, self.output_size = [units, units], units

    def build(self, input_shape: Any) -> None:
        first_candidate = keras.initializers.RandomNormal(stddev=0.1)

        def first_bias(shape: Any, dtype: Any = None) -> Any:
            i, f, o = ops.zeros((self.units,)), ops.ones((self.units,)), ops.zeros((self.units,))
            return ops.cast(ops.concatenate([i, f, first_candidate((self.units,)), o]), dtype)

        gates = 4 * self.units
        self.kernel = self.add_weight((input_shape[-1], gates), "glorot_uniform", name="kernel")
        self.recurrent_kernel = self.add_weight((self.units, gates), "orthogonal", name="recurrent_kernel")
        self.bias = self.add_weight((gates,), first_bias, name="bias")
        self.kernel_gain = self.add_weight((gates,), "ones", name="kernel_gain")
        self.recurrent_gain = self.add_weight((gates,), "ones", name="recurrent_gain")
        self.state_gain = self.add_weight((self.units,), "ones", name="state_gain")
        self.state_bias = self.add_weight((self.units,), "zeros", name="state_bias")

    def _normal(self, z: Any) -> Any:
        centred = z - ops.mean(z, axis=-1, keepdims=True)
        return centred * ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + self.epsilon)

    def call(self, inputs: Any, states: Any) -> Any:
        """`inputs` (batch, features) and `states` [h, c] (batch, units) -> h', [h', c']."""
        h, c = states
        z = self.kernel_gain * self._normal(ops.matmul(inputs, self.kernel)) + self.bias
        z += self.recurrent_gain * self._normal(ops.matmul(h, self.recurrent_kernel))
        i, f, g, o = ops.split(z, 4, axis=-1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(self.state_gain * self._normal(c) + self.state_bias)
        return h, [h, c]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "epsilon": self.epsilon}


def layer_norm_lstm(units: int, **options: Any) -> Any:
    """A Keras RNN layer of `LayerNormLSTMCell`; `options` are those of `keras.layers.RNN`."""
    return keras.layers.RNN(LayerNormLSTMCell(units), **options)


@_register
class MinGRU(keras.layers.Layer):
    """A GRU whose gate and candidate do not look at the state, so that all timesteps are computed at once.

        z_t = sigmoid(x_t Wz + bz)
        g_t = x_t Wg + bg
        h_t = (1 - z_t) h_(t-1) + z_t g_t, h_0 = 0

    The last line is a composition of affine maps, which is associative: a parallel scan has it in a few times
    log2(timesteps) steps. `(batch, timesteps, features)` -> `(batch, units)`, or `(batch, timesteps, units)`. Weights:
    kernel [Wz Wg] (features, 2 units), bias [bz bg] (2 units). With a mask, a timestep that is none leaves the state as it is.

    Args:
      units: Width of the state, at least 1.
      return_sequences: Whether every state is returned, or the last one.

    Source: Feng et al. 2024 (arXiv 2410.01201), minGRU, the vanilla version. Differs: the scan is over the products
    themselves, not over their logarithms.
    """

    def __init__(self, units: int, return_sequences: bool = False, **options: Any):
        super().__init__(**options)
        self.units, self.return_sequences = units, return_sequences
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight((input_shape[-1], 2 * self.units), "glorot_uniform", name="kernel")
        self.bias = self.add_weight((2 * self.units,), "zeros", name="bias")

    def call(self, inputs: Any, mask: Any = None) -> Any:
        z, g = ops.split(ops.matmul(inputs, self.kernel) + self.bias, 2, axis=-1)
        z = ops.sigmoid(z)
        if mask is not None:
            z = ops.where(mask[..., None], z, 0.0)
        states = _scanned(1 - z, z * g)
        return states if self.return_sequences else states[:, -1]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return mask if self.return_sequences else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, timesteps, _ = input_shape
        return (batch, timesteps, self.units) if self.return_sequences else (batch, self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "return_sequences": self.return_sequences}


def _scanned(factors: Any, terms: Any) -> Any:
    """`h_t = factors_t h_(t-1) + terms_t` from h_0 = 0, along the second axis of `(batch, timesteps, units)`."""

    def after(first: Any, second: Any) -> Any:
        return first[0] * second[0], second[0] * first[1] + second[1]

    if keras.backend.backend() == "jax":
        return ops.associative_scan(after, (factors, terms), axis=1)[1]
    return _doubled(factors, terms)


def _doubled(factors: Any, terms: Any) -> Any:
    """The same by log2(timesteps) steps over all timesteps (Hillis and Steele 1986), each doubling how far back they look.

    More products than `associative_scan`, but Keras 3.15's, on TensorFlow, loses the shape and takes longer at 28 timesteps, and
    on torch it is many times slower and makes arrays on the default device, whatever that of its inputs.
    """
    timesteps, reach = terms.shape[1], 1
    while reach < timesteps:
        before = ((0, 0), (reach, 0), (0, 0))
        terms = terms + factors * ops.pad(terms[:, :-reach], before)
        factors = factors * ops.pad(factors[:, :-reach], before, constant_values=1.0)
        reach *= 2
    return terms


@_register
class MaskedConv1D(keras.layers.Conv1D):
    """`Conv1D` that sees zeros where there is no timestep, and passes the mask on; for strides of 1 and padding "same".

    Keras's own drops the mask, and sees what the layer before made of the padding: a bias, or the neighbours of the end.
    """

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return super().call(inputs if mask is None else ops.where(mask[..., None], inputs, 0.0))


@_register
class Windows(keras.layers.Layer):
    """`(batch, timesteps, features)` -> `(batch, windows, window, features, 1)`: windows of timesteps, one after another.

    The last one is completed by zeros. With a mask, timesteps that are none are zeros, and a window is one where any of its
    timesteps is.

    Args:
      window: Timesteps of a window, at least 1.
    """

    def __init__(self, window: int, **options: Any):
        super().__init__(**options)
        self.window, self.supports_masking = window, True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is not None:
            inputs = ops.where(mask[..., None], inputs, 0.0)
        inputs = ops.pad(inputs, ((0, 0), (0, -inputs.shape[1] % self.window), (0, 0)))
        _, timesteps, features = inputs.shape
        return ops.reshape(inputs, (-1, timesteps // self.window, self.window, features, 1))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            return None
        missing = -mask.shape[1] % self.window
        mask = ops.pad(ops.cast(mask, "int32"), ((0, 0), (0, missing)))
        return ops.any(ops.reshape(mask, (-1, mask.shape[1] // self.window, self.window)) > 0, axis=2)

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, timesteps, features = input_shape
        return batch, None if timesteps is None else -(-timesteps // self.window), self.window, features, 1

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "window": self.window}
