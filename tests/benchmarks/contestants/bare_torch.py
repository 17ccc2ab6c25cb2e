"""The four families in torch alone, as fast as eager torch goes on one core: what a sweep is held against.

    python bare_torch.py JOB.json

Keras's initial weights and hyperparameters. LSTMs are `torch.nn.LSTM` (oneDNN; an LSTM with a backward pass written by hand in
torch was no faster). The SimpleRNN has a backward pass of its own, which takes two thirds of the time of `torch.nn.RNN`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import bare_workers
import numpy as np

EVALUATION_BATCH = 1000


def network(family: str, config: Mapping[str, Any], features: int) -> Any:
    """`torch.nn.Module`: (batch, timesteps, features) -> logits (batch, 10), initialised as Keras does."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Rnn(torch.autograd.Function):
        """Last output (B, U) of a SimpleRNN over `x` (T, B, F), which takes no gradient."""

        @staticmethod
        def forward(ctx: Any, x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
            timesteps, batch, features = x.shape
            h = torch.addmm(bias, x.view(-1, features), kernel.t()).view(timesteps, batch, -1)
            before = h[0].tanh_()
            for now in h[1:]:
                before = now.addmm_(before, recurrent.t()).tanh_()
            ctx.save_for_backward(x, h, recurrent)
            return before.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            x, h, recurrent = ctx.saved_tensors
            inner = torch.addcmul(torch.ones(()), h, h, value=-1)  # of tanh, and then of what goes into it
            after = inner[-1].mul_(gradient)
            for t in range(len(h) - 2, -1, -1):
                after = inner[t].mul_(after @ recurrent)
            flat = inner.flatten(0, 1)
            return None, flat.t() @ x.flatten(0, 1), inner[1:].flatten(0, 1).t() @ h[:-1].flatten(0, 1), flat.sum(0)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            units, self.recurrent, width = config["units"], nn.ModuleList(), features
            if family == "cnn_lstm":
                filters, size = config["filters"], config["kernel_size"]
                self.convolution = nn.Conv2d(1, filters, size, padding="same")
                self.convolution.to(memory_format=torch.channels_last)  # a fifth of the whole step faster
                width = self.found = filters * (config["window"] // 2) * (features // 2)
            for _ in range(config.get("layers", 1)):
                layer = nn.RNN if family == "simple_rnn" else nn.LSTM
                self.recurrent.append(layer(width, units, batch_first=True))
                width = units
            if family in ("single", "simple_rnn"):
                self.normalization = nn.BatchNorm1d(units, eps=1e-3, momentum=0.01)
            if family == "stacked":
                self.hidden = nn.Linear(units, config["dense_units"])
                width = config["dense_units"]
            self.head = nn.Linear(width, 10)
            for name, weight in self.named_parameters():
                if name.endswith("weight_hh_l0"):
                    nn.init.orthogonal_(weight)
                elif weight.dim() > 1:
                    nn.init.xavier_uniform_(weight)
                elif "bias" in name:
                    nn.init.zeros_(weight)
            for layer in self.recurrent:
                layer.bias_hh_l0.requires_grad_(False)  # Keras has one bias
                if family != "simple_rnn":
                    layer.bias_ih_l0.data[units : 2 * units] = 1  # the forget gate

        def forward(self, x: Any) -> Any:
            if family == "simple_rnn":
                (layer,) = self.recurrent
                weights = (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0)
                return self.head(self.normalization(Rnn.apply(x.transpose(0, 1).contiguous(), *weights)))
            if family == "cnn_lstm":
                windows = x.reshape(-1, 1, config["window"], features)
                # The maximum first: a ReLU of fewer numbers, and the same. Then the filters are last as they lie.
                found = functional.max_pool2d(self.convolution(windows), 2).relu_().permute(0, 2, 3, 1)
                x = found.reshape(len(x), -1, self.found)
            for n, layer in enumerate(self.recurrent):
                if n:
                    x = functional.dropout(x, config["dropout"], self.training)
                x = layer(x)[0]
            x = x[:, -1]
            if family == "single":
                x = self.normalization(x)
            if family == "stacked":
                x = functional.dropout(self.hidden(x).relu_(), config["dropout"], self.training)
            return self.head(x)

    return Network()


class RmsProp:
    """Keras's RMSprop, whose epsilon stands below the root, where torch's own adds it to the root."""

    def __init__(self, weights: list[Any], rate: float):
        import torch

        self.weights, self.rate = weights, rate
        self.squares = [torch.zeros_like(weight) for weight in weights]

    def step(self) -> None:
        """One update."""
        import torch

        gradients = [weight.grad for weight in self.weights]
        with torch.no_grad():
            torch._foreach_mul_(self.squares, 0.9)
            torch._foreach_addcmul_(self.squares, gradients, gradients, 0.1)
            roots = torch._foreach_add(self.squares, 1e-7)
            torch._foreach_sqrt_(roots)
            torch._foreach_addcdiv_(self.weights, gradients, roots, -self.rate)


def load(job: Mapping[str, Any]) -> bare_workers.Train:
    """The data as tensors, once per worker, and the training of one trial on them."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    with np.load(job["data"]) as file:
        data = {name: torch.from_numpy(file[name]) for name in file.files}
    x, y = data["x_train"], data["y_train"].long()
    x_validation, y_validation = data["x_validation"], data["y_validation"].long()
    batch_size = job["batch_size"]

    def accuracy(model: Any) -> float:
        model.eval()
        with torch.inference_mode():
            right = [
                (model(inputs).argmax(1) == labels).sum()
                for inputs, labels in zip(
                    x_validation.split(EVALUATION_BATCH), y_validation.split(EVALUATION_BATCH), strict=True
                )
            ]
        model.train()
        return float(sum(right)) / len(y_validation)

    def train(config: Mapping[str, Any], seed: int) -> tuple[float, float]:
        torch.manual_seed(seed)
        model = network(job["family"], config, x.shape[2])
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        rate, seconds, reached = config["learning_rate"], 0.0, math.nan
        adam = config["optimizer"] == "adam"
        optimizer = torch.optim.Adam(weights, rate, eps=1e-7, fused=True) if adam else RmsProp(weights, rate)
        for _ in range(job["epochs"]):
            since = time.perf_counter()
            rows = torch.randperm(len(x))
            for row in rows[: len(x) // batch_size * batch_size].view(-1, batch_size):
                logits = model(x.index_select(0, row))
                loss = torch.nn.functional.cross_entropy(logits, y.index_select(0, row))
                for weight in weights:
                    weight.grad = None
                loss.backward()
                optimizer.step()
            seconds += time.perf_counter() - since
            reached = accuracy(model)
        return reached, seconds

    return train


if __name__ == "__main__":
    bare_workers.run(load)
