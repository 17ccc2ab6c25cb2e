"""A loop around `model.fit`, as a tutorial writes it: one process, numpy arrays, default settings.

    python fit.py JOB.json [fresh | no_stall]

`fresh` runs every trial in a process of its own, one after the other. `no_stall` feeds `fit` from a dataset of its own with
tf.data's autotune switched off: its thread stalls the end of every epoch in TensorFlow 2.21.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import keras_models


def datasets(data: dict[str, Any], batch_size: int) -> tuple[Any, Any]:
    """Shuffled training batches and validation batches, gathered by index as `fit` gathers its own, without autotune."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False

    def batches(split: str, shuffled: bool) -> Any:
        x, y = tf.constant(data[f"x_{split}"]), tf.constant(data[f"y_{split}"])
        rows = tf.data.Dataset.range(len(y))
        rows = (rows.shuffle(len(y)) if shuffled else rows).batch(batch_size)
        return rows.map(lambda row: (tf.gather(x, row), tf.gather(y, row))).prefetch(2).with_options(options)

    return batches("train", True), batches("validation", False)


def loop(job: dict[str, Any], trials: list[int], stalls: bool) -> list[float]:
    """Validation accuracies after the last epoch of the trials with these indices."""
    import keras

    data = keras_models.arrays(job["data"])
    x, y, batch_size = data["x_train"], data["y_train"], job["batch_size"]
    accuracies = []
    for trial in trials:
        keras.utils.set_random_seed(trial)
        model = keras_models.compiled(job["family"], job["configs"][trial], *x.shape[1:])
        if stalls:
            validation = (data["x_validation"], data["y_validation"])
            history = model.fit(
                x, y, batch_size=batch_size, epochs=job["epochs"], validation_data=validation, verbose=0
            )
        else:
            train, validation = datasets(data, batch_size)
            history = model.fit(train, epochs=job["epochs"], validation_data=validation, verbose=0)
        accuracies.append(history.history["val_accuracy"][-1])
    return accuracies


def fresh(job: dict[str, Any]) -> list[float]:
    """The same, each trial in a new process."""
    accuracies = []
    for trial in range(len(job["configs"])):
        command = [sys.executable, __file__, sys.argv[1], str(trial)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        accuracies += json.loads(done.stdout.splitlines()[-1])["val_accuracy"]
    return accuracies


def main() -> None:
    """Runs the job as the second argument says, which is a number for the one trial of a fresh process."""
    job, way = keras_models.job(), "".join(sys.argv[2:])
    if way == "fresh":
        keras_models.finish(fresh(job))
    else:
        trials = [int(way)] if way.isdigit() else list(range(len(job["configs"])))
        keras_models.finish(loop(job, trials, stalls=way != "no_stall"))


if __name__ == "__main__":
    main()
