"""The float64 reference that every kernel is held to: textbook equations, their gradients, the first step of Adam.

Numpy alone, and written to be read. Sizes: B batch, T timesteps, F features, U units, D directions, G gates. A cell is
a mapping with `layer units layers timesteps features batch`; its dtype plays no part here.

Weights are a flat list in Keras's order and layout: per layer, per direction (forward, backward) a kernel (F, G*U),
a recurrent kernel (U, G*U) and a bias, (G*U,) or, for the GRU, (2, G*U). A layer above the first has F = D*U.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Cell = Mapping[str, Any]
Array: TypeAlias = np.ndarray
Two: TypeAlias = tuple[Array, Array]
Three: TypeAlias = tuple[Array, Array, Array]

RATE = 1e-4
BETA_1 = 0.9
BETA_2 = 0.999
# Larger than most gradients, where 1e-7 is usual: the first update is nearly proportional to the gradient. With 1e-7
# it is RATE times the gradient's sign, and a wrong size would pass. The arithmetic and its cost are the same.
EPSILON = 1.0


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), in the form that cannot overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def lstm(wx: Array, uh: Array, c: Array) -> Two:
    """One timestep of Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000, without peepholes.

        i, f, o = sigmoid(W x + U h + b);  g = tanh(W x + U h + b);  each has its own W, U, b, in the order i, f, g, o
        c' = f * c + i * g;  h' = o * tanh(c')

    wx is W x + b, uh is U h of the previous output h, both (B, 4U). Returns output h' and memory c', (B, U) each.
    """
    i, f, g, o = np.split(wx + uh, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def lstm_gradient(wx: Array, uh: Array, c: Array, dh: Array, dc: Array) -> Three:
    """Chain rule through `lstm`: from the gradients of h' and c' to those of wx, uh and c."""
    i, f, g, o = np.split(wx + uh, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    squashed = np.tanh(f * c + i * g)
    dc = dc + dh * o * (1 - squashed**2)
    di, df, dg, do = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), dh * squashed * o * (1 - o)
    da = np.concatenate([di, df, dg, do], axis=1)
    return da, da, dc * f


def gru(wx: Array, uh: Array, h: Array) -> Two:
    """One timestep of Cho et al. 2014 in cuDNN's form, which resets after the product and so has a second bias b'.

        z, r = sigmoid(W x + b + U h + b');  n = tanh(W x + b + r * (U h + b'));  in the order z, r, n
        h' = z * h + (1 - z) * n

    wx is W x + b, uh is U h + b', both (B, 3U). The output is the memory too: h' is returned as both.
    """
    (xz, xr, xn), (hz, hr, hn) = np.split(wx, 3, axis=1), np.split(uh, 3, axis=1)
    z = sigmoid(xz + hz)
    h = z * h + (1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn)
    return h, h


def gru_gradient(wx: Array, uh: Array, h: Array, dh: Array, dc: Array) -> Three:
    """Chain rule through `gru`: from the gradients of h' in its two roles to those of wx, uh and h as memory."""
    (xz, xr, xn), (hz, hr, hn) = np.split(wx, 3, axis=1), np.split(uh, 3, axis=1)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    n = np.tanh(xn + r * hn)
    dh = dh + dc
    dn = dh * (1 - z) * (1 - n**2)
    dz, dr = dh * (h - n) * z * (1 - z), dn * hn * r * (1 - r)
    return np.concatenate([dz, dr, dn], axis=1), np.concatenate([dz, dr, dn * r], axis=1), dh * z


def simple_rnn(wx: Array, uh: Array, h: Array) -> Two:
    """One timestep of Elman 1990 with tanh: h' = tanh(W x + b + U h), returned as output and as memory."""
    h = np.tanh(wx + uh)
    return h, h


def simple_rnn_gradient(wx: Array, uh: Array, h: Array, dh: Array, dc: Array) -> Three:
    """Chain rule through `simple_rnn`, where the previous h acts through uh alone: its gradient as memory is zero."""
    da = dh * (1 - np.tanh(wx + uh) ** 2)
    return da, da, np.zeros_like(h)


# Per layer: its timestep, the gradient of that, the number of its gates.
KINDS: dict[str, tuple[Callable[..., Two], Callable[..., Three], int]] = {
    "lstm": (lstm, lstm_gradient, 4),
    "gru": (gru, gru_gradient, 3),
    "simple_rnn": (simple_rnn, simple_rnn_gradient, 1),
    "bidirectional_lstm": (lstm, lstm_gradient, 4),
}


def directions(cell: Cell) -> int:
    """Directions of a layer: 2 for a bidirectional one, whose outputs are concatenated, the forward ones first."""
    return 2 if cell["layer"] == "bidirectional_lstm" else 1


def gates(cell: Cell) -> int:
    """Gates of a layer, the candidate counted: a kernel has `gates * units` columns."""
    return KINDS[cell["layer"]][2]


def shapes(cell: Cell) -> list[tuple[int, ...]]:
    """Shapes of the weights, in their order."""
    units, columns = cell["units"], gates(cell) * cell["units"]
    bias: tuple[int, ...] = (2, columns) if cell["layer"] == "gru" else (columns,)
    found = []
    for layer in range(cell["layers"]):
        features = directions(cell) * units if layer else cell["features"]
        found += [(features, columns), (units, columns), bias] * directions(cell)
    return found


def weights(cell: Cell, seed: int = 0) -> list[Array]:
    """Random float32 weights: kernels normal / sqrt(fan-in), biases 0.1 * normal.

    No bias is zero, as it is in a fresh layer: one that is forgotten or swapped must show.
    """
    random = np.random.default_rng([seed, 0])
    return [
        random.standard_normal(shape, np.float32) * np.float32(0.1 if n % 3 == 2 else 1 / math.sqrt(shape[0]))
        for n, shape in enumerate(shapes(cell))
    ]


def inputs(cell: Cell, seed: int = 0) -> Two:
    """Standard normal float32 inputs x (B, T, F) and cotangent (B, T, D*U) of the loss, independent of `weights`."""
    random = np.random.default_rng([seed, 1])
    widths = cell["features"], directions(cell) * cell["units"]
    x, cotangent = (random.standard_normal((cell["batch"], cell["timesteps"], n), np.float32) for n in widths)
    return x, cotangent


def _products(sequence: Array, kernel: Array, bias: Array | float = 0.0) -> Array:
    """(T, B, M) times (M, N), as one matrix product, plus bias."""
    return (sequence.reshape(-1, len(kernel)) @ kernel + bias).reshape(*sequence.shape[:2], -1)


def _forward(step: Callable[..., Two], x: Array, kernel: Array, recurrent: Array, bias: Array) -> Two:
    """Outputs and memories (T + 1, B, U) of one direction over x (T, B, F), the zero state first; bias is (2, G*U)."""
    wx = _products(x, kernel, bias[0])
    h = np.zeros((len(x) + 1, x.shape[1], len(recurrent)))
    c = np.zeros_like(h)
    for t in range(len(x)):
        h[t + 1], c[t + 1] = step(wx[t], h[t] @ recurrent + bias[1], c[t])
    return h, c


def _backward(gradient: Callable[..., Three], x: Array, run: list[Array], states: Two, dy: Array) -> list[Array]:
    """Back-propagation through time (Werbos 1990) of one direction: gradients of x, then of the weights.

    The forward pass kept the states alone: with them one product over all timesteps brings the gates back.
    """
    (kernel, recurrent, bias), (h, c) = run, states
    wx, uh = _products(x, kernel, bias[0]), _products(h[:-1], recurrent, bias[1])
    dwx, duh = wx, uh  # a timestep's gradients take the place of its products, which are not needed again
    dh, dc = np.zeros_like(h[0]), np.zeros_like(c[0])
    for t in reversed(range(len(x))):
        dwx[t], duh[t], dc = gradient(wx[t], uh[t], c[t], dy[t] + dh, dc)
        dh = duh[t] @ recurrent.T
    steps = ((0, 1), (0, 1))
    dkernel, drecurrent = np.tensordot(x, dwx, steps), np.tensordot(h[:-1], duh, steps)
    return [_products(dwx, kernel.T), dkernel, drecurrent, np.stack([dwx.sum((0, 1)), duh.sum((0, 1))])]


def gradients(cell: Cell, weights: Sequence[Array], x: Array, cotangent: Array) -> tuple[Array, list[Array]]:
    """Outputs (B, T, D*U), and the gradients of the loss sum(outputs * cotangent) / B, all float64.

    Of the cell its layer alone is read. x is (B, T, F), cotangent has the shape of the outputs. The gradients are those
    of the weights in their order, then that of x.
    """
    step, gradient, _ = KINDS[cell["layer"]]
    ways = (1, -1)[: directions(cell)]  # through time
    exact = [np.asarray(weight, np.float64) for weight in weights]
    # A layer with one bias has a second one of zeros, whose gradient is left out at the end.
    exact[2::3] = [bias if bias.ndim == 2 else np.stack([bias, 0 * bias]) for bias in exact[2::3]]
    runs = [exact[n : n + 3] for n in range(0, len(exact), 3)]
    network = [runs[n : n + len(ways)] for n in range(0, len(runs), len(ways))]

    y = np.asarray(x, np.float64).swapaxes(0, 1)
    kept = []
    for layer in network:
        states = [_forward(step, y[::way], *run) for way, run in zip(ways, layer, strict=True)]
        kept.append((layer, y, states))
        y = np.concatenate([h[1:][::way] for way, (h, _) in zip(ways, states, strict=True)], axis=2)

    dy = np.asarray(cotangent, np.float64).swapaxes(0, 1) / len(x)
    found: list[Array] = []
    for layer, below, states in reversed(kept):
        parts = np.split(dy, len(ways), axis=2)
        dy, of_layer = np.zeros_like(below), []
        for way, run, of_way, part in zip(ways, layer, states, parts, strict=True):
            dx, *of_run = _backward(gradient, below[::way], run, of_way, part[::way])
            dy += dx[::way]
            of_layer += of_run
        found = of_layer + found
    found = [g if g.ndim == w.ndim else g[0] for g, w in zip(found, weights, strict=True)]
    return y.swapaxes(0, 1), [*found, dy.swapaxes(0, 1)]


def adam_step(weights: Sequence[Array], gradients: Sequence[Array]) -> list[Array]:
    """Weights (float64) after the first step of Adam (Kingma & Ba 2015) from zero moments; one gradient per weight.

    The bias-corrected moments are then g and g**2, whatever the betas: w - RATE * g / (|g| + EPSILON).
    """
    pairs = zip(weights, gradients, strict=True)
    return [np.asarray(w, np.float64) - RATE * g / (np.abs(g) + EPSILON) for w, g in pairs]


def error(found: Sequence[Array], expected: Sequence[Array]) -> float:
    """Relative error of a list of arrays: the largest ||found - expected|| / ||expected|| (Frobenius) among them.

    Absolute where all that is expected is zero. Infinite when a value is not finite or a number or shape differs.
    """
    return step_error(found, [np.zeros_like(array) for array in expected], expected)


def step_error(found: Sequence[Array], weights: Sequence[Array], expected: Sequence[Array]) -> float:
    """The same for weights after a training step, relative to the size of the expected update of `weights`.

    An update is thousands of times smaller than its weight, so that storing the sum in float32 already changes it: by
    up to ||weights|| * 2**-24 per array, which is not counted. A fault smaller than that cannot be told from rounding.
    Absolute where no update is expected.
    """
    if len(found) != len(expected):
        return math.inf
    errors = []
    for arrays in zip(found, weights, expected, strict=True):
        array, weight, right = (np.asarray(each, np.float64) for each in arrays)
        if array.shape != right.shape or not np.isfinite([array, right]).all():
            return math.inf
        off = np.linalg.norm(array - right) - np.linalg.norm(weight) * 2**-24
        errors.append(max(0.0, float(off)) / (float(np.linalg.norm(right - weight)) or 1.0))
    return max(errors)


def unequal(
    cell: Cell, theta: Sequence[Array], x: Array, cotangent: Array, lengths: Sequence[int]
) -> tuple[Array, list[Array]]:
    """`gradients` of sequences that end after `lengths` timesteps: each alone; 0 where there is no timestep."""
    outputs, total = np.zeros(cotangent.shape), [np.zeros(weight.shape) for weight in theta]
    of_inputs = np.zeros(x.shape)
    for i, n in enumerate(lengths):
        outputs[i : i + 1, :n], found = gradients(cell, theta, x[i : i + 1, :n], cotangent[i : i + 1, :n])
        total = [before + own / len(x) for before, own in zip(total, found, strict=False)]
        of_inputs[i, :n] = found[-1][0] / len(x)
    return outputs, [*total, of_inputs]


def write(cell: Cell, seed: int, path: Path, lengths: Sequence[int] | None = None) -> None:
    """Writes what every arm must compute on a cell: float64 results, kept as float32, as arrays `<operation>/<index>`.

    Args:
      cell: See above.
      seed: Of weights and inputs.
      path: File to be written.
      lengths: Timesteps of each sequence; None where all have those of the cell.
    """
    theta, (x, cotangent) = weights(cell, seed), inputs(cell, seed)
    known = (cell, theta, x, cotangent)
    outputs, slopes = gradients(*known) if lengths is None else unequal(*known, lengths)
    updated = adam_step(theta, slopes[:-1])
    results = {"inference": [outputs], "forward_backward": slopes, "train_step": updated}
    # The new weights stay float64: what matters of them is how little they differ from the old ones.
    arrays = {
        f"{operation}/{i}": array if operation == "train_step" else array.astype(np.float32)
        for operation, values in results.items()
        for i, array in enumerate(values)
    }
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    part.replace(path)


def disagreement(operation: str, found: list[np.ndarray], weights: list[np.ndarray], path: Path) -> float:
    """Relative error of an operation's results against the float64 reference in `path`."""
    with np.load(path, allow_pickle=False) as stored:
        n = sum(name.startswith(f"{operation}/") for name in stored.files)
        expected = [stored[f"{operation}/{i}"] for i in range(n)]
    if operation == "train_step":
        return step_error(found, weights, expected)
    return error(found, expected)
