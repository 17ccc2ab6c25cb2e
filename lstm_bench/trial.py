"""What a worker does with a task: one configuration in, a result out, every exception a state.

A task is a plain dict: `kind` (check, trial, replicate, pack, probe; in a kernel benchmark cell, ceiling), `config` (resolved),
and what the kind needs. A result is a plain dict as well, with `state` COMPLETE, PRUNED, FAIL (with `reason`), or FAULT: a
configuration, data or kernel fault that stops the sweep.
"""

from __future__ import annotations

import json
import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench import data as datasets
from lstm_bench import environment, family, mapping, measurement, probe, train
from lstm_bench.errors import KernelError, LstmBenchError
from lstm_bench.timing import Phases

Send = Callable[[dict[str, Any]], None]
N_WORST = 12


class Bench:
    """A worker's workbench: datasets stay loaded from task to task."""

    def __init__(self, device: str, share: str, gpu: str | None = None, data_fd: int | None = None):
        self.device, self.share, self.gpu, self._data_fd = device, share, gpu, data_fd
        self._data: dict[str, datasets.Dataset] = {}
        self._engines = train.Engines()

    def data(self, config: Mapping[str, Any]) -> datasets.Dataset:
        """The dataset of group `dataset`: the driver's where it shares it, else loaded, once."""
        key = json.dumps(config, sort_keys=True)
        if key not in self._data:
            self._data.clear()
            shared = None if self._data_fd is None else mapping.load(self._data_fd, config)
            self._data[key] = shared or datasets.load(config)
        return self._data[key]

    def run(self, task: Mapping[str, Any], report: Send, stopped: Callable[[], bool]) -> dict[str, Any]:
        """Result of a task. Never raises for a fault of the task itself."""
        phases = Phases()
        try:
            work = {
                "check": self._check,
                "trial": self._trial,
                "replicate": self._trial,
                "pack": self._pack,
                "probe": self._probe,
                "cell": self._cell,
                "ceiling": self._ceiling,
            }
            result = work[task["kind"]](task, phases, report, stopped)
        except train.NotFiniteError as error:
            result = {"state": "FAIL", "reason": "nan", "detail": str(error)}
        except LstmBenchError as error:
            result = {"state": "FAULT", "error": type(error).__name__, "detail": str(error)}
        except Exception as error:  # any other exception is the trial's own, and the sweep goes on
            traceback.print_exc()
            reason = "oom" if out_of_memory(error) else "exception"
            detail = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            result = {"state": "FAIL", "reason": reason, "detail": detail}
        return {**phases.seconds(), **result, "device": self.device, "device_share": self.share}

    def _check(self, task: Mapping[str, Any], *_: Any) -> dict[str, Any]:
        data = self.data(task["config"]["dataset"])
        for config in (task["config"], *task["corners"]):
            model, lengths = family.build(config["model"], data.input_shape, data.n_classes, "plain")
        return {
            "state": "COMPLETE",
            "n_weights": int(model.count_params()),
            "recurrent": len(lengths),
            "layers": list(family.recurrent_layers(family.find(task["config"]["model"]["_target_"]))),
        }

    def _probe(self, task: Mapping[str, Any], *_: Any) -> dict[str, Any]:
        config, data = task["config"], self.data(task["config"]["dataset"])
        per_execution, members = task["steps_per_execution"], task.get("pack", 1)
        try:
            arm: probe.Arm
            if members > 1:
                arm = train.prepare_pack(config, data, range(members), per_execution)
            else:
                arm = train.prepare(config, data, task["kernel"], seed=0, steps_per_execution=per_execution)
        except KernelError as error:  # one arm of several: the others are still to be measured
            return {"state": "FAIL", "reason": "refused", "detail": str(error)}
        batch_size = members * min(config["train"]["batch_size"], len(data.x_train))
        figures = probe.training_throughput(arm, batch_size, len(data.x_train), task["seconds"])
        return {"state": "COMPLETE", "backend": config["backend"]["name"], "kernel": task["kernel"], **figures}

    def _cell(self, task: Mapping[str, Any], phases: Phases, report: Send, *_: Any) -> dict[str, Any]:
        measurement.measure(task, self.gpu, report)
        return {"state": "COMPLETE"}

    def _ceiling(self, task: Mapping[str, Any], *_: Any) -> dict[str, Any]:
        return {"state": "COMPLETE", **measurement.ceilings(task, self.gpu)}

    def _trial(
        self, task: Mapping[str, Any], phases: Phases, report: Send, stopped: Callable[[], bool]
    ) -> dict[str, Any]:
        config = task["config"]
        data = self.data(config["dataset"])
        seed, per_execution = task["seed"], task["steps_per_execution"]
        engine = self._engines.of(config, data, task["kernel"], seed, per_execution)
        trained = train.train(
            engine,
            config,
            data,
            kernel=task["kernel"],
            seed=seed,
            phases=phases,
            report=report,
            stopped=stopped,
        )
        state = "PRUNED" if trained.stopped else "COMPLETE"
        result: dict[str, Any] = {"state": state, **trained.measured, "history": trained.epochs}
        if task["kind"] == "replicate":
            with phases("eval_s"):
                loss, accuracy, probability = train.score(trained.engine, data.x_test, data.y_test)
            result |= {"test_loss": loss, "test_accuracy": accuracy}
            if task.get("keep"):
                # The winner's artefacts are not part of what a training costs.
                result |= predictions(data.x_test, data.y_test, probability) | phases.seconds()
                trained.engine.settle()
                result |= keep(trained.engine.model, task, data)
        return result

    def _pack(self, task: Mapping[str, Any], phases: Phases, report: Send, *_: Any) -> dict[str, Any]:
        """Replicates of the seeds `seeds` in one program: `members` holds what each would be as a task of its own."""
        config, seeds = task["config"], task["seeds"]
        data = self.data(config["dataset"])
        pack = train.prepare_pack(config, data, seeds, task["steps_per_execution"])
        trained = train.train_pack(pack, config, data, seeds=seeds, phases=phases, report=report)
        with phases("eval_s"):
            logits = pack.logits(data.x_test)
        # Every member took as long as the pack did.
        common = {**phases.seconds(), "device": self.device, "device_share": f"packed {len(seeds)}"}
        members = []
        for at, (seed, member) in enumerate(zip(seeds, trained, strict=True)):
            result = {"state": "COMPLETE", **member.measured, "history": member.epochs, **common}
            if member.error:
                result |= {"state": "FAIL", "reason": "nan", "detail": member.error}
            else:
                loss, accuracy, probability = train.scored(logits[at], data.y_test)
                result |= {"test_loss": loss, "test_accuracy": accuracy}
                if seed == 0 and task.get("keep"):
                    result |= predictions(data.x_test, data.y_test, probability)
                    pack.settle(at)
                    result |= keep(pack.model, task, data)
            members.append(result)
        return {"state": "COMPLETE", "members": members}


def predictions(x: np.ndarray, y: np.ndarray, probability: np.ndarray) -> dict[str, Any]:
    """Rows of `record.PREDICTION_COLUMNS` for every test sample and of `record.WORST_COLUMNS` for the worst.

    Args:
      x: `(samples, timesteps, features)`.
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
    shape = {"timesteps": x.shape[1], "features": x.shape[2]}
    shown = [{**rows[i], **shape, "values": " ".join(f"{v:.3g}" for v in x[i].ravel())} for i in worst]
    return {"predictions": rows, "worst": shown}


def keep(model: Any, task: Mapping[str, Any], data: datasets.Dataset) -> dict[str, Any]:
    """Saves a replicate's trained model where its task wants it; what goes wrong, as a part of its result."""
    try:
        save(model, task["config"], data, Path(task["keep"]), for_mlflow=task.get("for_mlflow", False))
    except Exception as error:  # what was measured stands, whatever the disk or MLflow says to the model
        traceback.print_exc()
        return {"detail": f"the model was not saved: {type(error).__name__}: {error}"[:500]}
    return {}


def save(model: Any, config: Mapping[str, Any], data: datasets.Dataset, folder: Path, *, for_mlflow: bool) -> None:
    """Saves the trained model as plain Keras layers, or those of `layer.py`: no kernel, no optimizer, no pickle.

    Args:
      model: Trained, its values settled.
      config: Resolved configuration.
      data: Its dataset.
      folder: Receives `model.keras` and, with `for_mlflow`, `mlflow/`, an MLflow model with its signature.
      for_mlflow: Whether an MLflow model is wanted; no tracking store is touched.
    """
    plain, _ = family.build(config["model"], data.input_shape, data.n_classes, "plain")
    plain.set_weights(model.get_weights())
    folder.mkdir(parents=True, exist_ok=True)
    plain.save(folder / "model.keras")
    if for_mlflow:
        import mlflow.keras
        from mlflow.models import infer_signature

        shutil.rmtree(folder / "mlflow", ignore_errors=True)
        example = data.x_test[:2]
        signature = infer_signature(example, np.zeros((len(example), data.n_classes), np.float32))
        # Named here: MLflow would find them by loading the model once more in a process of its own, for seven seconds.
        known = environment.versions()
        needed = [f"{name}=={known[name]}" for name in ("keras", config["backend"]["name"], "numpy") if name in known]
        mlflow.keras.save_model(plain, str(folder / "mlflow"), signature=signature, pip_requirements=needed)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, in the words of any backend."""
    name, text = type(error).__name__, str(error)
    return (
        isinstance(error, MemoryError)
        or name in ("ResourceExhaustedError", "OutOfMemoryError")
        or ("RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower())
    )
