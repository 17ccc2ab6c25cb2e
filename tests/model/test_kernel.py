"""Kernels: availability, and detectors that tell the arms apart from evidence alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstm_bench.core.errors import KernelError
from lstm_bench.model import kernel
from lstm_bench.model.families import recurrent as model
from lstm_bench.training.engine import factory


def ran(name: str, units: int = 4, layer: str = "lstm", timesteps: int = 6) -> factory.Engine:
    import keras

    makers = kernel.makers(name)
    family = model.single if layer == "lstm" else model.simple_rnn
    x = np.zeros((8, timesteps, 3), np.float32)
    y = np.zeros(8, np.int32)
    made = factory.make(
        "tensorflow",
        family((timesteps, 3), 2, makers[layer], units=units),
        keras.optimizers.SGD(0.01),
        x,
        y,
        batch_size=4,
        evaluation_batch_size=4,
        kernel=name,
        lengths=[timesteps],
    )
    made.warm_up()
    return made


@pytest.mark.parametrize("layer", ["lstm", "simple_rnn"])
@pytest.mark.parametrize("name", ["generic", "unrolled", "xla", "unrolled_xla"])
def test_the_traced_step_shows_which_arm_ran(name: str, layer: str) -> None:
    made = ran(name, layer=layer)
    assert made.kernel_ran == name, made.evidence


def test_evidence_names_the_ops() -> None:
    assert ran("generic").evidence == "CudnnRNN 0, While 2, MatMul 13, XlaMustCompile false"
    assert ran("unrolled", timesteps=28).evidence == "CudnnRNN 0, While 0, MatMul 142, XlaMustCompile false"


def cudnn_graph() -> Any:
    """A graph recorded with TensorFlow's own cuDNN op, inside a function as Keras calls it. Recording needs no GPU."""

    import tensorflow as tf

    @tf.function
    def layer(x: tf.Tensor, state: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.CudnnRNNV3(
            input=x,
            input_h=state,
            input_c=state,
            params=weights,
            sequence_lengths=tf.fill([2], 5),
            rnn_mode="lstm",
            is_training=True,
        ).output

    spec = tf.TensorSpec
    return layer.get_concrete_function(
        spec((5, 2, 3), tf.float32), spec((1, 2, 4), tf.float32), spec((144,), tf.float32)
    ).graph.as_graph_def()


def test_cudnn_is_recognised_in_a_recorded_graph() -> None:
    recorded = cudnn_graph()
    assert kernel.ran_in_graph(recorded, recurrent=1, timesteps=5) == (
        "cudnn",
        "CudnnRNN 1, While 0, MatMul 0, XlaMustCompile false",
    )


def test_cudnn_beside_a_loop_is_mixed() -> None:
    recorded = cudnn_graph()
    recorded.node.add(op="While", name="other_layer")
    assert kernel.ran_in_graph(recorded, recurrent=2, timesteps=5)[0] == "mixed"


def test_no_recurrent_layer_is_none_and_no_evidence_is_unknown() -> None:
    import tensorflow as tf

    empty = tf.compat.v1.GraphDef()
    assert kernel.ran_in_graph(empty, recurrent=0, timesteps=5)[0] == "none"
    assert kernel.ran_in_graph(empty, recurrent=1, timesteps=5)[0] == "unknown"


@pytest.mark.parametrize(
    ("hlo", "expected"),
    [
        ('%c = (f32[2]) custom-call(f32[2] %x), custom_call_target="cudnn_rnn", api=1', "cudnn"),
        ("%while.1 = (s32[], f32[4]{0}) while(%tuple), condition=%c, body=%b", "generic"),
        ('%m = f32[4] dot(%a, %b), metadata={op_name="jit(step)/while/body"}', "unrolled"),
        (
            "%while.2 = (s32[], u32[5,8]{1,0}, u32[]) while(%t), condition=%c, body=%b",
            "unrolled",
        ),  # XLA's random generator
        ('%a = () custom-call(), custom_call_target="cudnn_rnn"\n%b = (s32[], f32[4]) while(%t), body=%b', "mixed"),
        (
            '%c = () custom-call(), custom_call_target="__cudnn$convForward"\n%b = (s32[], f32[4]) while(%t), body=%b',
            "generic",
        ),
    ],
)
def test_hlo_shows_which_kernel_ran(hlo: str, expected: str) -> None:
    assert kernel.ran_in_hlo(hlo, recurrent=1)[0] == expected


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        ({"aten::_cudnn_rnn": 1, "aten::addmm": 3}, "cudnn"),
        ({"aten::addmm": 28, "aten::mm": 28}, "generic"),
        ({"aten::_cudnn_rnn": 1, "aten::addmm": 60}, "mixed"),
        ({"aten::add": 9}, "unknown"),
        ({"aten::lstm": 2, "aten::mkldnn_rnn_layer": 2, "aten::mm": 3}, "fused"),
        ({"aten::gru": 2, "aten::addmm": 60}, "fused"),  # ATen's own loop, in one call
        ({"aten::lstm": 2, "aten::_cudnn_rnn": 2}, "cudnn"),
    ],
)
@pytest.mark.parametrize("recurrent", [1, 2])  # Keras runs both directions of a layer in one call
def test_a_profile_shows_which_kernel_ran(ops: dict[str, int], expected: str, recurrent: int) -> None:
    assert kernel.ran_in_profile(ops, recurrent=recurrent, timesteps=28)[0] == expected


def test_a_layer_that_is_not_fused_shows() -> None:
    assert kernel.ran_in_profile({"aten::lstm": 1, "aten::mm": 30}, recurrent=2, timesteps=28)[0] == "mixed"


def test_the_loop_over_steps_says_nothing_of_the_kernel() -> None:
    hlo = "%a = (s32[], f32[4]) while(%t), body=%b\n"
    assert kernel.ran_in_hlo(hlo, recurrent=1, around=1) == (
        "unrolled",
        "cudnn_rnn custom calls 0, while 0 in 1 over steps",
    )
    assert kernel.ran_in_hlo(hlo * 3, recurrent=1, around=1)[0] == "generic"


def test_a_profile_of_no_recurrent_layer_is_none() -> None:
    assert kernel.ran_in_profile({"aten::addmm": 60}, recurrent=0, timesteps=28)[0] == "none"


@pytest.mark.parametrize(
    ("name", "backend", "layers", "gpu", "reason"),
    [
        ("cudnn", "tensorflow", ["lstm"], None, "no GPU"),
        ("cudnn", "tensorflow", ["lstm"], "H200", None),
        ("cudnn", "tensorflow", ["simple_rnn"], "H200", "SimpleRNN has no cuDNN kernel on backend=tensorflow"),
        ("cudnn", "jax", ["gru"], "H200", "GRU has no cuDNN kernel on backend=jax"),
        ("cudnn", "torch", [], "H200", "the family has no recurrent layer"),
        ("xla", "jax", ["lstm"], None, "backend=jax has no kernel of that name (it has cudnn, generic, unrolled)"),
        ("unrolled", "tensorflow", ["lstm"], None, None),
        ("fused", "torch", ["gru"], None, None),
        ("fused", "torch", ["lstm"], "H200", "torch's own operation is cuDNN on a GPU: kernel=cudnn"),
        ("fused", "torch", [], None, "the family has no recurrent layer"),
        (
            "cudnn",
            "tensorflow",
            ["dropout_lstm"],
            "H200",
            "LSTM with recurrent dropout has no cuDNN kernel on backend=tensorflow",
        ),
        (
            "cudnn",
            "jax",
            ["layer_norm_lstm"],
            "H200",
            "LSTM with layer normalisation has no cuDNN kernel on backend=jax",
        ),
        ("fused", "torch", ["dropout_lstm"], None, "torch has no operation for LSTM with recurrent dropout"),
        ("fused", "torch", ["layer_norm_lstm"], None, "torch has no operation for LSTM with layer normalisation"),
        ("generic", "torch", ["dropout_lstm"], None, None),
        ("unrolled", "tensorflow", [], None, "the family has no recurrent layer"),
        ("unrolled_xla", "tensorflow", [], None, "the family has no recurrent layer"),
        ("xla", "tensorflow", [], None, None),
        ("fused", "jax", ["lstm"], None, "backend=jax has no kernel of that name (it has cudnn, generic, unrolled)"),
    ],
)
def test_availability(name: str, backend: str, layers: list[str], gpu: str | None, reason: str | None) -> None:
    assert kernel.unavailable(name, backend, layers, gpu) == reason


def test_a_named_kernel_that_cannot_run_is_refused() -> None:
    kernel.require("auto", "tensorflow", ["lstm"], None)
    with pytest.raises(KernelError, match=r"kernel=cudnn cannot run: no GPU\. Name another"):
        kernel.require("cudnn", "tensorflow", ["lstm"], None)


def test_makers_bind_the_kernel_and_plain_ones_bind_nothing() -> None:
    generic, unrolled, plain = (kernel.makers(name)["lstm"](4) for name in ("generic", "unrolled", "plain"))
    assert (generic.use_cudnn, generic.unroll) == (False, False)
    assert (unrolled.use_cudnn, unrolled.unroll) == (False, True)
    assert (plain.use_cudnn, plain.unroll) == ("auto", False)
    assert kernel.makers("cudnn")["gru"](4).use_cudnn is True


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_generic_on_torch_is_the_loop_that_auto_falls_back_to(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    import keras

    assert kernel.makers("generic")[name](4).activation is keras.activations.tanh
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    made = kernel.makers("generic")[name](4)
    assert (made.use_cudnn, made.unroll) == ("auto", False)
    # What Keras compares an activation with before it calls cuDNN.
    assert made.activation not in (keras.activations.tanh, keras.ops.tanh)
    x = np.linspace(-3, 3, 7, dtype=np.float32)
    np.testing.assert_allclose(made.activation(x), np.tanh(x), rtol=1e-6)
    # A saved model finds it again.
    assert keras.layers.deserialize(keras.layers.serialize(made)).activation is made.activation
    assert kernel.makers("cudnn")[name](4).use_cudnn is True
    assert kernel.makers("cudnn")[name](4).activation is keras.activations.tanh


def test_a_layer_without_cudnn_is_the_same_on_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    assert kernel.makers("generic")["simple_rnn"](4).activation is keras.activations.tanh


@pytest.mark.parametrize("name", ["generic", "unrolled"])
def test_layers_that_no_library_has_are_bound_to_no_library(name: str) -> None:
    made = kernel.makers(name)
    dropped, normal = made["dropout_lstm"](4, recurrent_dropout=0.1), made["layer_norm_lstm"](4, return_sequences=True)
    assert (dropped.use_cudnn, dropped.unroll, dropped.recurrent_dropout) == (False, name == "unrolled", 0.1)
    assert (normal.unroll, normal.return_sequences) == (name == "unrolled", True)


@pytest.mark.parametrize(("backend", "layers"), kernel.CUDNN_LAYERS.items())
def test_cudnn_takes_sequences_of_unequal_length_wherever_it_has_the_layer(backend: str, layers: set[str]) -> None:
    assert kernel.unavailable("cudnn", backend, layers, "NVIDIA H200", masked=True) is None
    assert kernel.unavailable("cudnn", backend, layers, None, masked=True) == "no GPU"


def test_a_layer_that_loses_cudnn_with_a_mask_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kernel.CUDNN_MASKED, "torch", {"lstm"})
    with pytest.raises(KernelError, match="GRU has no cuDNN kernel on backend=torch where sequences differ in length"):
        kernel.require("cudnn", "torch", ["gru", "lstm"], "NVIDIA H200", masked=True)
    assert kernel.unavailable("cudnn", "torch", ["gru"], "NVIDIA H200") is None
