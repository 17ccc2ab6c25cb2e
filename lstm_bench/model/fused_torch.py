"""Keras layers on torch that hand the whole sequence to torch's own recurrent operation.

Keras takes that path on CUDA alone, and without a mask; on a CPU it loops in Python over the timesteps. With a mask the sequences
are packed, each to its length: the operation never sees the padding. On a CPU that is the kernel `fused`; on a GPU, where torch's
operation is cuDNN, it is `cudnn` for sequences of unequal length. Weights, their layout and their initialisation are Keras's: a
trained layer's weights are those of the plain one.
"""

from __future__ import annotations

import functools
from typing import Any

from lstm_bench.core.errors import KernelError


def refused(why: str) -> KernelError:
    """What a layer raises that a library's operation does not compute."""
    error = KernelError(why, remedy="Name another kernel, or kernel=auto.")
    # Keras would make an exception of its own of it, with the arguments of the call.
    error._keras_call_info_injected = True  # type: ignore[attr-defined]
    return error


@functools.cache
def layers() -> dict[str, Any]:
    """Layer name (as `kernel.LAYERS`) -> subclass of the Keras layer. Only with the torch backend.

    A layer refuses (KernelError) what torch's operation does not compute: other activations than tanh and sigmoid, no bias,
    dropout inside the layer, a GRU that resets before the product, a mask of sequences that are not padded on the right.
    """
    import keras
    import torch
    from torch.nn.utils import rnn

    register = keras.saving.register_keras_serializable("lstm_bench")
    activations = keras.activations

    def run(layer: Any, operation: Any, sequences: Any, states: Any, mask: Any, parameters: Any) -> Any:
        if mask is not None:
            return run_packed(layer, operation, sequences, states, mask, parameters)
        if layer.go_backwards:
            sequences = torch.flip(sequences, [1])
        states = [state[None].contiguous() for state in states]
        given = tuple(states) if len(states) > 1 else states[0]
        # has_biases, layers, dropout, train, bidirectional, batch_first
        outputs, *after = operation(sequences, given, parameters, True, 1, 0.0, torch.is_grad_enabled(), False, True)
        after = [state[0] for state in after]
        return after[0], outputs if layer.return_sequences else after[0][:, None], after

    def run_packed(layer: Any, operation: Any, sequences: Any, states: Any, mask: Any, parameters: Any) -> Any:
        timesteps, lengths = sequences.shape[1], mask.sum(1)
        at = torch.arange(timesteps, device=sequences.device)
        if not torch.equal(mask, at < lengths[:, None]):
            raise refused("torch's own operation takes no mask but that of sequences padded on the right")
        empty, lengths, initial = lengths == 0, lengths.clamp(min=1), states
        if layer.go_backwards:  # each sequence from its own end
            sequences = sequences.gather(1, (lengths[:, None] - 1 - at).clamp(min=0)[..., None].expand_as(sequences))
        packed = rnn.pack_padded_sequence(sequences, lengths.cpu(), batch_first=True, enforce_sorted=False)
        order, back = packed.sorted_indices, packed.unsorted_indices
        states = [state.index_select(0, order)[None].contiguous() for state in states]
        given = tuple(states) if len(states) > 1 else states[0]
        train = torch.is_grad_enabled()
        parameters = (
            [one.contiguous() for one in parameters] if sequences.is_cuda else parameters
        )  # as Keras gives cuDNN
        data, *after = operation(packed.data, packed.batch_sizes, given, parameters, True, 1, 0.0, train, False)
        after = [state[0].index_select(0, back) for state in after]
        after = [torch.where(empty[:, None], state, new) for state, new in zip(initial, after, strict=True)]
        if not layer.return_sequences:
            return after[0], after[0][:, None], after
        done = packed._replace(data=data)
        outputs, _ = rnn.pad_packed_sequence(done, batch_first=True, total_length=timesteps)
        if layer.go_backwards:  # as Keras has it: what was read last stands at the end, the padding at the beginning
            from_start = at - (timesteps - lengths[:, None])
            moved = outputs.gather(1, from_start.clamp(min=0)[..., None].expand_as(outputs))
            outputs = moved * (from_start >= 0)[..., None]
        return after[0], outputs, after

    def require(layer: Any, fits: bool) -> None:
        cell = layer.cell
        plain = cell.activation is activations.tanh and cell.use_bias and not (cell.dropout or cell.recurrent_dropout)
        if not (plain and fits):
            raise refused("torch's own operation needs tanh, sigmoid gates, a bias and no dropout inside the layer")

    def weights(layer: Any) -> tuple[Any, Any, Any]:
        return layer.cell.kernel.value, layer.cell.recurrent_kernel.value, layer.cell.bias.value

    def gates(array: Any) -> Any:
        """Keras's z, r, n along the first axis as torch's r, z, n."""
        z, r, n = array.chunk(3)
        return torch.cat([r, z, n])

    @register
    class FusedLSTM(keras.layers.LSTM):
        def __init__(self, *args: Any, **options: Any):
            super().__init__(*args, **options)
            require(self, self.cell.recurrent_activation is activations.sigmoid)

        def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
            kernel, recurrent, bias = weights(self)
            parameters = [kernel.T, recurrent.T, bias, torch.zeros_like(bias)]
            return run(self, torch.lstm, sequences, initial_state, mask, parameters)

    @register
    class FusedGRU(keras.layers.GRU):
        def __init__(self, *args: Any, **options: Any):
            super().__init__(*args, **options)
            require(self, self.cell.recurrent_activation is activations.sigmoid and self.cell.reset_after)

        def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
            kernel, recurrent, bias = weights(self)
            parameters = [gates(kernel.T), gates(recurrent.T), gates(bias[0]), gates(bias[1])]
            return run(self, torch.gru, sequences, initial_state, mask, parameters)

    @register
    class FusedSimpleRNN(keras.layers.SimpleRNN):
        def __init__(self, *args: Any, **options: Any):
            super().__init__(*args, **options)
            require(self, True)

        def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
            kernel, recurrent, bias = weights(self)
            parameters = [kernel.T, recurrent.T, bias, torch.zeros_like(bias)]
            return run(self, torch.rnn_tanh, sequences, initial_state, mask, parameters)

    return {"lstm": FusedLSTM, "gru": FusedGRU, "simple_rnn": FusedSimpleRNN}
