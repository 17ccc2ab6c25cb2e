"""The yardstick of torch: its own layers, eager, with its fused Adam. See `kernels/bare.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from lstm_bench.kernels import case, reference
from lstm_bench.model.kernel import LAYERS, ran_in_profile

Cell = Mapping[str, Any]
Arrays = list[np.ndarray]


class TorchArm:
    """Eager, with torch's own layers and its fused Adam. A layer has a second bias: zero at first, then trained."""

    def __init__(self, kernel: str, cell: Cell, weights: Arrays, x: np.ndarray, cotangent: np.ndarray):
        import torch

        self.cell = cell
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.x, self.cotangent = (torch.as_tensor(array, device=self.device) for array in (x, cotangent))
        layer = getattr(torch.nn, LAYERS[case.maker(cell)].removeprefix("Simple"))
        units, ways, widths = cell["units"], case.directions(cell), case.widths(cell)
        depth = cell["layers"] if kernel == "native" else 1
        self.layers = [
            layer(width, units, num_layers=depth, batch_first=True, bidirectional=ways == 2, device=self.device)
            for width in (widths[:1] if kernel == "native" else widths)
        ]
        self.weights = [weight for one in self.layers for run in one.all_weights for weight in run]
        with torch.no_grad():
            for weight, value in zip(self.weights, self._from_keras(weights), strict=True):
                weight.copy_(torch.as_tensor(value))
        self.initial = [weight.detach().clone() for weight in self.weights]
        self.optimizer = torch.optim.Adam(
            self.weights,
            lr=reference.RATE,
            betas=(reference.BETA_1, reference.BETA_2),
            eps=reference.EPSILON,
            fused=True,  # one call for all weights; on a CPU too it is the fastest of the three forms
        )

    def _gates(self, array: np.ndarray) -> np.ndarray:
        """Gates along the last axis from Keras's order to torch's or back: a GRU's z, r, n against r, z, n."""
        if self.cell["layer"] != "gru":
            return array
        z, r, n = np.split(array, 3, -1)
        return np.concatenate([r, z, n], -1)

    def _from_keras(self, arrays: Arrays) -> Arrays:
        found = []
        for kernel, recurrent, bias in zip(*[iter(arrays)] * 3, strict=True):
            biases = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
            found += [self._gates(kernel).T, self._gates(recurrent).T, *self._gates(biases)]
        return found

    def _to_keras(self, tensors: list[Any]) -> Arrays:
        found = []
        arrays = [tensor.detach().float().cpu().numpy() for tensor in tensors]
        for w_ih, w_hh, b_ih, b_hh in zip(*[iter(arrays)] * 4, strict=True):
            bias = np.stack([b_ih, b_hh]) if self.cell["layer"] == "gru" else b_ih
            found += [self._gates(np.array(array)) for array in (w_ih.T, w_hh.T, bias)]
        return found

    def _outputs(self, batch: Any) -> Any:
        for layer in self.layers:
            batch = self._half(layer, batch) if self.cell["dtype"] == "bfloat16" else layer(batch)[0]
        return batch

    def _half(self, layer: Any, batch: Any) -> Any:
        """What `layer` does, in bfloat16. Under autocast cuDNN's recurrent layers compute in float16 whatever is asked."""
        import torch

        run = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN": torch.rnn_tanh}[type(layer).__name__]
        weights = [weight.bfloat16() for one in layer.all_weights for weight in one]
        ways = 2 if layer.bidirectional else 1
        zero = batch.new_zeros((layer.num_layers * ways, len(batch), layer.hidden_size), dtype=torch.bfloat16)
        start = (zero, zero) if run is torch.lstm else zero
        options = (True, layer.num_layers, 0.0, layer.training, layer.bidirectional, layer.batch_first)
        return run(batch.bfloat16(), start, weights, *options)[0]

    def _step(self, operation: str, row: Any) -> list[Any]:
        import torch

        for layer in self.layers:
            layer.train(operation != "inference")  # cuDNN keeps what a backward pass needs where it is to train
        batch = self.x.index_select(0, row)
        if operation == "inference":
            with torch.inference_mode():
                return [self._outputs(batch)]
        if operation == "forward_backward":
            batch.requires_grad_()
        loss = (self._outputs(batch).float() * self.cotangent).sum() / len(batch)
        if operation == "forward_backward":
            return list(torch.autograd.grad(loss, [*self.weights, batch]))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return self.weights

    @contextmanager
    def _from_the_start(self) -> Iterator[Any]:
        """The initial weights and no moments, for a step on the row that is given; then everything as it was."""
        import torch

        now, moments = [weight.detach().clone() for weight in self.weights], self.optimizer.state
        self.optimizer.state = type(moments)(dict)
        try:
            with torch.no_grad():
                torch._foreach_copy_(self.weights, self.initial)
            yield torch.arange(len(self.x), device=self.device)
        finally:
            self.optimizer.state = moments
            with torch.no_grad():
                torch._foreach_copy_(self.weights, now)

    def compile(self, operation: str) -> None:
        """Nothing is compiled: torch runs eagerly."""

    def run(self, operation: str, rows: np.ndarray) -> int:
        import torch

        steps = 0
        for row in torch.as_tensor(rows, device=self.device):
            self._step(operation, row)
            steps += 1
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return steps

    def values(self, operation: str) -> Arrays:
        with self._from_the_start() as row:
            found = self._step(operation, row)
            if operation == "train_step":
                return self._to_keras(found)
            last = found[-1].float().cpu().numpy()
            return [*self._to_keras(found[:-1]), last]

    def kernel_evidence(self, operation: str) -> tuple[str, str]:
        import torch

        with self._from_the_start() as row:
            activities = [torch.profiler.ProfilerActivity.CPU]
            with torch.profiler.profile(activities=activities, acc_events=True) as profile:
                self._step(operation, row)
        ops = Counter({event.key: event.count for event in profile.key_averages()})
        ran, evidence = ran_in_profile(ops, recurrent=len(self.layers), timesteps=self.cell["timesteps"])
        forward, backward = ops["aten::mkldnn_rnn_layer"], ops["aten::mkldnn_rnn_layer_backward"]
        if forward:
            # Autocast counts every call twice. One that left a direction of a layer to ATen would show in the products.
            products = ops["aten::mm"] + ops["aten::addmm"]
            whole = forward >= self.cell["layers"] * reference.directions(self.cell) and ran == "fused"
            whole = whole and products < self.cell["timesteps"]
            evidence = f"aten::mkldnn_rnn_layer {forward}, aten::mkldnn_rnn_layer_backward {backward}, {evidence}"
            return ("onednn" if whole else "mixed"), evidence
        return ("aten" if ran == "fused" else ran), evidence
