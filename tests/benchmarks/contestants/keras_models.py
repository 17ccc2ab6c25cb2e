"""What the contestants with Keras share: the four families from plain Keras layers, compiled, and the data.

A job is the JSON file that `contest.py` hands to each contestant: data, family, axes, configs, epochs, batch_size, workers.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

os.environ["KERAS_BACKEND"] = "tensorflow"  # before Keras is imported, which the functions below do
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

Config = Mapping[str, Any]


def job() -> dict[str, Any]:
    """The job named on the command line."""
    return json.loads(Path(sys.argv[1]).read_text())


def arrays(path: str) -> dict[str, np.ndarray]:
    """`x_train y_train x_validation y_validation`: float32 (samples, timesteps, features), int32 (samples,)."""
    with np.load(path) as file:
        return dict(file)


def build(family: str, config: Config, timesteps: int, features: int, n_classes: int = 10) -> Any:
    """Uncompiled model with logits out, as `lstm_bench.model` has it, from layers with Keras's own choice of kernel."""
    from keras import Input, Sequential, layers

    units, head = config["units"], layers.Dense(n_classes)
    if family in ("single", "simple_rnn"):
        recurrent = layers.LSTM(units) if family == "single" else layers.SimpleRNN(units)
        return Sequential([Input((timesteps, features)), recurrent, layers.BatchNormalization(), head])
    model = Sequential([Input((timesteps, features))])
    if family == "stacked":
        for layer in range(config["layers"] - 1):
            model.add(layers.LSTM(units, return_sequences=True, name=f"lstm_{layer}"))
            model.add(layers.Dropout(config["dropout"]))
        model.add(layers.LSTM(units))
        model.add(layers.Dense(config["dense_units"], activation="relu"))
        model.add(layers.Dropout(config["dropout"]))
    else:
        window = config["window"]
        cnn = [
            layers.Conv2D(config["filters"], config["kernel_size"], padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
        ]
        model.add(layers.Reshape((timesteps // window, window, features, 1)))
        model.add(layers.TimeDistributed(Sequential([Input((window, features, 1)), *cnn])))
        model.add(layers.LSTM(units))
    model.add(head)
    return model


def compiled(family: str, config: Config, timesteps: int, features: int) -> Any:
    """The model of one configuration, ready for `fit`."""
    import keras

    model = build(family, config, timesteps, features)
    optimizer = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}[config["optimizer"]]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer(config["learning_rate"]), loss=loss, metrics=["accuracy"])
    return model


def finish(val_accuracy: list[float]) -> None:
    """The contestant's last line. Keras's loops do not say how long training alone took."""
    print(json.dumps({"val_accuracy": val_accuracy, "train_s": None}), flush=True)
