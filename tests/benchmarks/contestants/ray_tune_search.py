"""Ray Tune over the same list: a grid, one trial per core, each a `model.fit`.

    python ray_tune_search.py JOB.json

Ray gives a trial that asks for one core one thread (OMP_NUM_THREADS). Actors are reused, so that TensorFlow is imported once
per core; the arrays are read by each trial from the uncompressed .npz, which costs no more than Ray's object store.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras_models

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would report its use over the network


def trial(values: dict[str, Any], job: dict[str, Any]) -> None:
    """One trial, in an actor's process."""
    import keras
    from ray import tune

    config = {**job["configs"][0], **values}
    keras.utils.set_random_seed(job["configs"].index(config))
    data = keras_models.arrays(job["data"])
    model = keras_models.compiled(job["family"], config, *data["x_train"].shape[1:])
    history = model.fit(
        data["x_train"],
        data["y_train"],
        batch_size=job["batch_size"],
        epochs=job["epochs"],
        validation_data=(data["x_validation"], data["y_validation"]),
        verbose=0,
    )
    tune.report({"val_accuracy": history.history["val_accuracy"][-1]})


def main() -> None:
    """Runs the grid; what Ray prints goes to stderr."""
    import ray
    from ray import tune

    job, out = keras_models.job(), sys.stdout
    sys.stdout = sys.stderr
    with tempfile.TemporaryDirectory() as folder:
        ray.init(
            num_cpus=job["workers"],
            num_gpus=0,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}},
        )
        trainable = tune.with_resources(tune.with_parameters(trial, job=job), {"cpu": 1})
        results = tune.Tuner(
            trainable,
            param_space={axis: tune.grid_search(choices) for axis, choices in job["axes"].items()},
            tune_config=tune.TuneConfig(metric="val_accuracy", mode="max", reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        if results.errors:
            raise results.errors[0]
        ray.shutdown()
    found = {job["configs"].index({**job["configs"][0], **result.config}): result for result in results}
    sys.stdout = out
    keras_models.finish([found[n].metrics["val_accuracy"] for n in range(len(found))])


if __name__ == "__main__":
    main()
