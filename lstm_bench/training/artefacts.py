"""What a confirmed model leaves behind: predictions, the worst samples, the saved model and its description."""

from __future__ import annotations

import hashlib
import shutil
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench.core import environment, fileio, schema
from lstm_bench.data import dataset
from lstm_bench.data.metric import log_probability
from lstm_bench.launcher.protocol import PackTask, TrialTask
from lstm_bench.model import build
from lstm_bench.training import inference

N_WORST = 12


def predicted(data: dataset.Dataset, outputs: np.ndarray) -> dict[str, Any]:
    """`predictions` of the test set from a model's outputs; nothing where a sample has not one class, and nothing is forecast."""
    if not data.kind.has_classes:
        evidence = getattr(data.kind.own_cutter, "evidence", None)
        return dict(evidence(data, outputs)) if evidence else {}
    return predictions(data.x_test, data.y_test, np.exp(log_probability(outputs)))


def predictions(x: np.ndarray, y: np.ndarray, probability: np.ndarray) -> dict[str, Any]:
    """Rows of `columns.PREDICTION_COLUMNS` for every test sample and of `columns.WORST_COLUMNS` for the worst.

    Args:
      x: `(samples, timesteps, features)`, or ids of texts `(samples, tokens)`.
      y: Labels `(samples,)`.
      probability: `(samples, n_classes)`.
    """
    predicted = probability.argmax(axis=1)
    rows = [
        {"sample": i, "label": int(y[i]), "prediction": int(predicted[i]), "probability": float(probability[i].max())}
        for i in range(len(y))
    ]
    wrong = np.flatnonzero(predicted != y)
    worst = wrong[np.argsort(probability[wrong, y[wrong]], kind="stable")][:N_WORST]
    if x.ndim == 2:  # texts: what they say stands in no record
        return {"predictions": rows, "worst": [{**rows[i], "timesteps": x.shape[1], "features": 0} for i in worst]}
    shape = {"timesteps": x.shape[1], "features": x.shape[2]}
    shown = [{**rows[i], **shape, "values": " ".join(f"{v:.3g}" for v in x[i].ravel())} for i in worst]
    return {"predictions": rows, "worst": shown}


def keep(model: Any, task: TrialTask | PackTask, data: dataset.Dataset) -> dict[str, Any]:
    """Saves a replicate's trained model where its task wants it; how long it takes to answer, or what went wrong.

    Both are parts of the replicate's result.
    """
    try:
        plain = save(model, task.config, data, Path(str(task.keep)), for_mlflow=task.for_mlflow)
    except Exception as error:  # what was measured stands, whatever the disk or MLflow says to the model
        traceback.print_exc()
        return {"detail": f"the model was not saved: {type(error).__name__}: {error}"[:500]}
    return inference.latency(plain, data.x_test)


def save(model: Any, config: schema.Sweep, data: dataset.Dataset, folder: Path, *, for_mlflow: bool) -> Any:
    """Saves the trained model as plain Keras layers, or those of `model/layers.py`: no kernel, no optimizer, no pickle.

    Args:
      model: Trained, its values synchronised.
      config: Resolved configuration.
      data: Its dataset.
      folder: Receives `model.keras`, `input.json` and, with `for_mlflow`, `mlflow/`, an MLflow model with its signature.
      for_mlflow: Whether an MLflow model is wanted; no tracking store is touched.

    Returns:
      What was saved.
    """
    plain, _ = _plain(config, data)
    plain.set_weights(model.get_weights())
    folder.mkdir(parents=True, exist_ok=True)
    plain.save(folder / "model.keras")
    fileio.write_json(folder / "input.json", described_input(config, data, folder / "model.keras"))
    if data.vocabulary is not None:
        data.vocabulary.save(folder)
    if for_mlflow:
        import mlflow.keras
        from mlflow.models import infer_signature

        shutil.rmtree(folder / "mlflow", ignore_errors=True)
        example = data.x_test[:2]
        signature = infer_signature(example, np.zeros((len(example), *plain.output_shape[1:]), np.float32))
        # Named here: MLflow would find them by loading the model once more in a process of its own, for seven seconds.
        known = environment.versions()
        needed = [f"{name}=={known[name]}" for name in ("keras", config["backend"]["name"], "numpy") if name in known]
        mlflow.keras.save_model(plain, str(folder / "mlflow"), signature=signature, pip_requirements=needed)
    return plain


def _plain(config: schema.Sweep, data: dataset.Dataset) -> tuple[Any, list[int]]:
    """`build.build` of a configuration for its data, of plain layers."""
    sizes, masked = (data.input_shape, data.n_classes), data.lengths_train is not None
    answers = data.per_timestep
    more: dict[str, Any] = {"masked": masked, "units": data.target, "tokens": data.tokens is not None}
    return build.build(config["model"], *sizes, "plain", per_timestep=answers, **more)


def described_input(config: schema.Sweep, data: dataset.Dataset, model: Path) -> dict[str, Any]:
    """What `input.json` says beside a saved model: how arrays become what it was trained on, and what it gives.

    Args:
      config: Resolved configuration.
      data: Its dataset.
      model: The saved file, whose digest is taken.
    """
    return {
        **described(data),
        "backend": config["backend"]["name"],
        "keras": environment.versions().get("keras"),
        "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
    }


def described(data: dataset.Dataset) -> dict[str, Any]:
    """How arrays become what anything was trained on, and what it gives."""
    timesteps, features = data.input_shape
    return {
        "dataset": data.name,
        "task": data.task,
        "timesteps": timesteps,
        "features": features,
        "n_classes": data.n_classes,
        "divisor": data.divisor,
        "mean": None if data.mean is None else data.mean.tolist(),
        "scale": None if data.scale is None else data.scale.tolist(),
        **({"reading": data.reading} if data.reading is not None else {}),
        **({"classes": list(data.classes)} if data.classes is not None else {}),
        **({"target": {"mean": data.target[0], "scale": data.target[1]}} if data.target is not None else {}),
    }
