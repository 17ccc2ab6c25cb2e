"""What learns: architecture families, recurrent layers that Keras lacks, and kernels.

A kernel is which implementation of the recurrent step runs, and the proof that it ran; a control is what a network has to beat.
Imports `core`; Keras inside functions only; SciPy, scikit-learn and statsmodels (extra) for controls. The families, and only
they, are names of this package: `_target_: lstm_bench.model.stacked` stands in records and in users' YAML.
"""

from lstm_bench.model.families.convolutional import cnn, cnn_lstm
from lstm_bench.model.families.dense import mlp
from lstm_bench.model.families.recurrent import (
    bidirectional,
    gru,
    layer_norm,
    recurrent_dropout,
    simple_rnn,
    single,
    stacked,
)
from lstm_bench.model.families.scan import min_gru

__all__ = [
    "bidirectional",
    "cnn",
    "cnn_lstm",
    "gru",
    "layer_norm",
    "min_gru",
    "mlp",
    "recurrent_dropout",
    "simple_rnn",
    "single",
    "stacked",
]
