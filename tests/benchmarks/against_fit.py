"""A sweep against a plain `model.fit` loop on the same work: python tests/benchmarks/against_fit.py [ROUNDS].

Eight fixed configurations of `single` (learning rates, no search, no pruning, no confirmation), two epochs of MNIST rows each,
the same data, initial weights and batch size. The loop is what a tutorial would write: one process, numpy arrays into
`model.fit`, validation after each epoch; its wall time holds TensorFlow's import and its end-of-epoch stall. Ours holds
everything too: start-up of the workers, the kernel decision, Optuna, MLflow, the records. The two run in turn.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RATES = [0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.01]
EPOCHS, BATCH = 2, 64
SWEEP = (
    *("+study=single", "sampler=grid", "pruner=none", f"study.n_trials={len(RATES)}", "study.replicates=0"),
    *(f"train.epochs={EPOCHS}", f"train.batch_size={BATCH}", "train.optimizer=adam", "train.momentum=0.0"),
    *("train.schedule=constant", "model.units=64", "dataset.fallback=null"),
    f"study.space.train.learning_rate={{type: categorical, choices: {RATES}}}",
)


def loop(trials: str) -> None:
    """The contestant: a loop around `model.fit`. Prints the final validation accuracies."""
    import keras
    import yaml

    from lstm_bench import data
    from lstm_bench.config import conf_dir

    mnist = data.load(yaml.safe_load((conf_dir() / "dataset" / "mnist.yaml").read_text()))
    accuracies = []
    for trial in json.loads(trials):
        keras.utils.set_random_seed(int(trial["seed"]))
        model = keras.Sequential(
            [
                keras.Input(mnist.input_shape),
                keras.layers.LSTM(64),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(10),
            ]
        )
        model.compile(
            optimizer=keras.optimizers.Adam(float(trial["config_train.learning_rate"])),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        history = model.fit(
            mnist.x_train,
            mnist.y_train,
            batch_size=BATCH,
            epochs=EPOCHS,
            validation_data=(mnist.x_validation, mnist.y_validation),
            verbose=0,
        )
        accuracies.append(history.history["val_accuracy"][-1])
    print(json.dumps(accuracies))


def timed(command: list[str], folder: str) -> tuple[float, str]:
    since = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env={**os.environ}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command} ended with {done.returncode}: {done.stderr[-2000:]}")
    return time.perf_counter() - since, done.stdout


def main(rounds: int) -> None:
    ratios = []
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            ours_s, _ = timed([sys.executable, "-m", "lstm_bench.sweep", *SWEEP], folder)
            with (Path(folder) / "sweeps" / "single" / "trials.csv").open() as file:
                trials = list(csv.DictReader(file))
            assert len(trials) == len(RATES)
            ours = [float(trial["val_accuracy"]) for trial in trials]
            theirs_s, printed = timed([sys.executable, __file__, "--loop", json.dumps(trials)], folder)
        theirs = json.loads(printed.splitlines()[-1])
        ratios.append(theirs_s / ours_s)
        print(
            f"round {number}: sweep {ours_s:.1f} s, val_accuracy {statistics.mean(ours):.4f}; "
            f"model.fit loop {theirs_s:.1f} s, val_accuracy {statistics.mean(theirs):.4f}; ratio {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), n = {rounds}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--loop"]:
        loop(sys.argv[2])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
