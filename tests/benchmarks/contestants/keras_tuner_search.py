"""KerasTuner over the same list: `GridSearch`, whose trials are exactly the product of the `Choice` axes, each once.

    python keras_tuner_search.py JOB.json

`RandomSearch` with as many trials draws again what it drew before, gives up after a few such collisions, and would leave some
of the list out. The accuracy taken is that after the last epoch; the tuner's own score is the best epoch's.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import keras_models
import keras_tuner


class Listed(keras_tuner.HyperModel):
    """The job's family over the job's axes."""

    def __init__(self, job: dict[str, Any], shape: tuple[int, int]):
        super().__init__()
        self.job, self.shape = job, shape
        self.val_accuracy = [float("nan")] * len(job["configs"])

    def _values(self, hp: Any) -> dict[str, Any]:
        axes = {axis: hp.Choice(axis, choices) for axis, choices in self.job["axes"].items()}
        return {**self.job["configs"][0], **axes}

    def build(self, hp: Any) -> Any:
        import keras

        config = self._values(hp)
        keras.utils.set_random_seed(self.job["configs"].index(config))
        return keras_models.compiled(self.job["family"], config, *self.shape)

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        history = model.fit(*args, **kwargs)
        self.val_accuracy[self.job["configs"].index(self._values(hp))] = history.history["val_accuracy"][-1]
        return history


def main() -> None:
    """Searches; what the tuner prints goes to stderr."""
    job = keras_models.job()
    data = keras_models.arrays(job["data"])
    listed, out = Listed(job, data["x_train"].shape[1:]), sys.stdout
    sys.stdout = sys.stderr
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.GridSearch(
            listed,
            objective="val_accuracy",
            max_trials=len(job["configs"]),
            executions_per_trial=1,
            directory=folder,
            overwrite=True,
        )
        tuner.search(
            data["x_train"],
            data["y_train"],
            batch_size=job["batch_size"],
            epochs=job["epochs"],
            validation_data=(data["x_validation"], data["y_validation"]),
            verbose=0,
        )
    sys.stdout = out
    keras_models.finish(listed.val_accuracy)


if __name__ == "__main__":
    main()
