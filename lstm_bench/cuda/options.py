"""The cells of the prediction: recurrent layers with one option each. Knows no framework."""

from __future__ import annotations

KEPT = "mask, kernel=cudnn"  # with the layers that keep cuDNN where sequences differ in length: Keras's, or ours
_BOTH = (
    *(
        "plain",
        "mask",
        KEPT,
        "dropout=0.2",
        "recurrent_dropout=0.2",
        "activation=relu",
        "use_bias=False",
        "unroll=True",
    ),
    *("bidirectional", "stacked", "dtype=bfloat16"),
)
# Layer -> options, each alone. The network is an Input, a Masking where the option says "mask", the layer, and a Dense.
CELLS = {"lstm": _BOTH, "gru": (*_BOTH, "reset_after=False"), "simple_rnn": ("plain", "unroll=True")}
# What a row calls it -> what an engine does.
OPERATIONS = {"training": "train_step", "inference": "inference"}
FAMILY = "family"  # stands where a layer's name does in the rows of our own families
