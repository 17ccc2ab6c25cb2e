"""Run by test_engine.py in a process of its own per backend: no result depends on the padding.

Of every family with every kernel that it has (the layers of `cudnn` on JAX and torch in their reference, as it runs on a CPU):
(a) a batch gives the same loss, count, weights, running statistics, gradients and outputs to whatever length it is padded and
whatever the padding holds; (b) its outputs are those of each sequence alone in the float64 reference. Where a family can answer
at every timestep it does. One line per arm: the largest difference of (a) and of (b), relative to the largest value.
"""

from __future__ import annotations

import sys
from typing import Any

import family_reference
import keras
import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from lstm_bench.core import vocabulary
from lstm_bench.core.errors import KernelError
from lstm_bench.model import build, kernel, network, signature
from lstm_bench.training import optimizer
from lstm_bench.training.engine import factory
from lstm_bench.training.engine.jax import JaxEngine
from lstm_bench.training.engine.pack import Pack

SHORT, LONG, FEATURES, CLASSES, BATCH, N = 6, 9, 3, 4, 5, 15
FAMILIES: dict[str, dict[str, Any]] = {
    "single": {"units": 5},
    "simple_rnn": {"units": 5},
    "stacked": {"units": 5, "layers": 2, "dropout": 0.0, "dense_units": 4},
    "gru": {"units": 5},
    "bidirectional": {"units": 5},
    "recurrent_dropout": {"units": 5, "recurrent_dropout": 0.5, "dropout": 0.3},
    "layer_norm": {"units": 5},
    "min_gru": {"units": 5},
    "cnn": {"filters": 5, "blocks": 2},
    "cnn_lstm": {"units": 5, "window": 4, "filters": 3},
}
JUNK = (0.0, np.nan, 1e30)
SETTINGS = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.0, "global_clipnorm": None}
RNG = np.random.default_rng(0)
TRUE = np.tile(np.array([1, 2, SHORT, 3, SHORT, 5, 4, 1, 2, SHORT, 3, 5, 2, SHORT, 1], np.int32), len(JUNK))
X = np.tile(RNG.standard_normal((N, LONG, FEATURES)).astype(np.float32), (len(JUNK), 1, 1))
for copy, junk in enumerate(JUNK):
    part = slice(copy * N, (copy + 1) * N)
    X[part][np.arange(LONG) >= TRUE[part, None]] = junk
TOLERANCE = 2e-5
# What the layers that keep cuDNN run on a CPU: `jax.experimental.rnn.lstm_ref`, and torch's own operation.
REFERENCE = {"jax": "generic", "torch": "fused"}


def engine(backend: str, name: str, kernel_name: str, per_timestep: bool, **more: Any) -> factory.Engine:
    y = RNG.integers(0, CLASSES, (N, LONG) if per_timestep else N).astype(np.int32)
    return factory.make(
        backend,
        model(name, kernel_name, per_timestep),
        optimizer.optimizer(SETTINGS),
        X,
        np.tile(y, (len(JUNK), 1) if per_timestep else len(JUNK)),
        batch_size=BATCH,
        evaluation_batch_size=4,
        kernel=kernel_name,
        lengths=[LONG] if signature.recurrent_layers(signature.find(f"lstm_bench.model.{name}")) else [],
        true=TRUE,
        buckets=(SHORT, LONG),
        **more,
    )


def model(name: str, kernel_name: str, per_timestep: bool, seed: int = 1) -> Any:
    keras.utils.set_random_seed(seed)
    family = {"_target_": f"lstm_bench.model.{name}", **FAMILIES[name]}
    options = {"per_timestep": per_timestep, "masked": True}
    return build.build(family, (LONG, FEATURES), CLASSES, kernel_name, **options)[0]


def difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest over arrays of the largest difference, relative to the largest value of both lists of one place, or 1."""
    assert len(found) == len(expected)
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape and np.isfinite(one).all() and np.isfinite(other).all()
        worst = max(worst, float(np.abs(one - other).max(initial=0)) / max(1.0, float(np.abs(other).max(initial=0))))
    return worst


def check(backend: str, name: str, kernel_name: str, per_timestep: bool, examples: int) -> str:
    made = engine(backend, name, kernel_name, per_timestep)
    made.warm_up()
    made.compile("forward_backward")
    expected = REFERENCE[backend] if kernel_name == "cudnn" else kernel_name
    assert made.kernel_ran in (expected, "none"), (name, kernel_name, made.evidence)
    fresh = model(name, kernel_name, per_timestep)
    for layer in fresh._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):  # as after training
            layer.moving_mean.assign(RNG.standard_normal(layer.moving_mean.shape))
            layer.moving_variance.assign(RNG.uniform(0.5, 2, layer.moving_variance.shape))
    worst = [0.0]

    def trained(rows: np.ndarray, timesteps: int) -> list[np.ndarray]:
        """Totals, weights and state after steps on rows."""
        made.reset(fresh)
        keras.utils.set_random_seed(2)
        totals = made.steps(rows, np.full(len(rows), 0.1, np.float32), timesteps)
        return [np.array(list(totals), np.float64), *made.weights()]

    @seed(0)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(st.lists(st.integers(0, N - 1), min_size=BATCH, max_size=BATCH), min_size=1, max_size=3),
        st.sampled_from(range(len(JUNK))),
        st.sampled_from((SHORT, LONG)),
    )
    def padding_changes_nothing(rows: list[list[int]], copy: int, timesteps: int) -> None:
        batches = np.array(rows)
        found, expected = trained(batches + copy * N, timesteps), trained(batches, SHORT)
        worst.append(difference(found, expected))
        assert worst[-1] < TOLERANCE, (name, kernel_name, batches, copy, timesteps)

    padding_changes_nothing()
    gradients = []
    for timesteps in (SHORT, LONG):
        made.reset(fresh)
        keras.utils.set_random_seed(2)
        gradients.append(made._values_of("forward_backward", timesteps))
    (*short, of_inputs), (*long, further) = gradients
    assert not further[:, SHORT:].any()
    worst.append(difference([*long, further[:, :SHORT]], [*short, of_inputs]))
    made.reset(fresh)
    outputs = made.logits(X, TRUE)
    if per_timestep:
        assert not outputs[np.arange(LONG) >= TRUE[:, None]].any()
    alone = 0.0
    for i in range(len(X)):
        expected = family_reference.outputs(fresh, X[i, : TRUE[i]])
        alone = max(alone, difference([outputs[i, : TRUE[i]] if per_timestep else outputs[i]], [expected]))
    assert max(*worst, alone) < TOLERANCE, (name, kernel_name, max(worst), alone)
    return f"{max(worst):.1e} {alone:.1e}"


def a_pack_s_members_train_as_alone(name: str) -> None:
    made = engine("jax", name, "generic", False, steps_per_execution=50)
    assert isinstance(made, JaxEngine)
    pack = Pack(made, (model(name, "generic", False, n) for n in (1, 2)))
    pack.warm_up()
    rows, rates = RNG.integers(0, len(X), (3, 2, BATCH)), np.full((3, 2), 0.1, np.float32)
    totals = pack.steps(rows[:2], rates[:2], LONG)
    pack.steps(rows[2:], rates[2:], SHORT)
    logits = pack.logits(X, TRUE)
    made.warm_up()
    for member in range(2):
        made.reset(model(name, "generic", False, member + 1))
        alone = made.steps(rows[:2, member], rates[:2, member], LONG)
        made.steps(rows[2:, member], rates[2:, member], SHORT)
        assert abs(totals.loss[member] - alone.loss) < 1e-4 and totals.correct[member] == alone.correct
        assert difference([logits[member]], [made.logits(X, TRUE)]) < 1e-4


class Drops(keras.layers.Layer):
    """Ends the mask without a word."""

    def call(self, inputs: Any) -> Any:
        return inputs + 1.0


def what_drops_the_mask_is_found() -> None:
    from lstm_bench.core.errors import ConfigError

    def said(layers: list[Any], max_length: int | None = None) -> str:
        own = keras.Sequential([keras.Input((8, 2)), *layers, keras.layers.Dense(3)])
        network.open_time(own)
        before = [np.array(w) for w in own.weights]
        try:
            network.require_masked(own, "mine.net", max_length)
        except ConfigError as error:
            assert "\n" not in str(error)
            return str(error)
        finally:
            assert all((was == np.array(now)).all() for was, now in zip(before, own.weights, strict=True))
        return ""

    lstm, layers = keras.layers.LSTM, keras.layers
    assert said([lstm(4, return_sequences=True), layers.BatchNormalization(), lstm(4)]) == ""
    assert "does not heed the mask" in said([Drops(), lstm(4)])
    assert "does not heed the mask" in said([layers.Conv1D(4, 3, padding="same"), layers.GlobalMaxPooling1D()])
    regular = lstm(4, return_sequences=True, activity_regularizer="l2")
    assert "does not heed the mask" in said([regular, layers.GlobalAveragePooling1D()])
    assert "sequences of one length" in said([layers.Flatten(), layers.Dense(4)])
    assert said([layers.Flatten(), layers.Dense(4)], max_length=8) == ""
    start = keras.Input((8, 2))
    functional = keras.Model(start, layers.Dense(3)(lstm(4)(layers.Dense(5)(start))))
    network.open_time(functional)
    network.require_masked(functional, "mine.net", None)


def lengths_of_none_and_other_padding_are_told_apart() -> None:
    """Of the JAX layer that keeps cuDNN: a sequence without a timestep keeps its state; another mask than of padding on the right
    gives no number, as a program cannot raise."""
    from lstm_bench.model import cudnn_jax

    for options in ({}, {"go_backwards": True}, {"return_sequences": True}):
        made = cudnn_jax.layers()["lstm"](3, **options)
        x = RNG.standard_normal((2, 4, 2)).astype(np.float32)
        right = np.array([[True, True, False, False], [False] * 4])
        assert not np.asarray(made(x, mask=right))[1].any() and np.isfinite(made(x, mask=right)).all()
        assert np.isnan(made(x, mask=right[:, ::-1])).all()
    for options in ({"activation": "relu"}, {"use_bias": False}, {"dropout": 0.1}):
        try:
            cudnn_jax.layers()["lstm"](3, **options)
        except KernelError as error:
            assert "cuDNN's LSTM needs tanh, sigmoid gates, a bias" in str(error)
        else:
            raise AssertionError(options)


def _gpu(backend: str, kernel_name: str) -> str | None:
    """A GPU that is not there, for layers of ours that compute the same on a processor."""
    return "none, the same layers" if kernel_name == "cudnn" and backend in REFERENCE else None


def arms(backend: str, names: list[str]) -> list[tuple[str, str, bool]]:
    """Family, kernel and whether it answers at every timestep, of all that take a mask; `generic` comes first."""
    found = []
    for name in names:
        takes = signature.recurrent_layers(signature.find(f"lstm_bench.model.{name}"))
        able = [
            each
            for each in vocabulary.OF_BACKEND[backend]
            if not kernel.unavailable(each, backend, takes, _gpu(backend, each), masked=True)
        ]
        found += [(name, each, answers) for each in able for answers in (False, True)]
    known = [arm for arm in found if not arm[2] or arm[0] in build.per_timestep_families()]
    return sorted(known, key=lambda arm: (arm[2], arm[1] != "generic"))


def main(backend: str, names: list[str], examples: int) -> None:
    for name, kernel_name, per_timestep in arms(backend, names):
        found = check(backend, name, kernel_name, per_timestep, examples)
        print(backend, name, kernel_name, "timestep" if per_timestep else "sequence", found, flush=True)
    if backend == "jax":
        lengths_of_none_and_other_padding_are_told_apart()
        a_pack_s_members_train_as_alone("bidirectional")
        print("pack equal", flush=True)
    what_drops_the_mask_is_found()
    print("dropped masks are found", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].split(",") if sys.argv[2] != "all" else list(FAMILIES), int(sys.argv[3]))
