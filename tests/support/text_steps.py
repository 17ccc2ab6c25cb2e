"""Trains families on ids of tokens with every kernel of a backend; prints what held, as JSON: see `test_text_training.py`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench.core.clock import Phases
from lstm_bench.core.vocabulary import OF_BACKEND
from lstm_bench.data.dataset import Dataset
from lstm_bench.model import build, kernel
from lstm_bench.model.signature import find, recurrent_layers
from lstm_bench.training import artefacts, fit, inference, programs

TRAIN = {
    **{"epochs": 2, "batch_size": 8, "evaluation_batch_size": 16, "optimizer": "adam", "learning_rate": 1e-2},
    **{"momentum": 0.0, "global_clipnorm": 1.0, "schedule": "constant", "decay": 0.0},
}
STUDY = {"objective": "val_loss", "direction": "minimize", "seed": 0}


def texts(n: int = 40, longest: int = 9) -> Dataset:
    """Whether the token 2 is in a text, of 2 to 9 tokens of 6."""
    rng = np.random.RandomState(0)
    lengths = rng.randint(2, longest + 1, n).astype(np.int32)
    lengths[0] = longest
    x = np.where(np.arange(longest) < lengths[:, None], rng.randint(1, 6, (n, longest)), 0).astype(np.int32)
    y = (x == 2).any(axis=1).astype(np.int32)
    parts: dict[str, Any] = {f"x_{s}": x for s in ("train", "validation", "test")}
    parts |= {f"y_{s}": y for s in ("train", "validation", "test")}
    parts |= {f"lengths_{s}": lengths for s in ("train", "validation", "test")}
    reading = {"vocabulary": {"kind": "char"}, "unequal": True}
    return Dataset("texts", **parts, n_classes=2, sha256="", source="", tokens=tuple("abcd"), reading=reading)


def configured(backend: str, family: str) -> dict[str, Any]:
    model = {"_target_": f"lstm_bench.model.{family}", "embedding": 3}
    model |= {"filters" if family == "cnn" else "units": 4}
    return {"model": model, "train": TRAIN, "backend": {"name": backend}, "study": STUDY, "dataset": {}}


def trained(config: dict[str, Any], data: Dataset, name: str, seed: int = 0) -> Any:
    engine = programs.prepare(config, data, name, seed)
    done = fit.train(
        engine, config, data, kernel=name, seed=seed, phases=Phases(), report=lambda e: None, stopped=lambda: False
    )
    engine.sync_model()
    return engine, done


def main(backend: str) -> None:
    data, told = texts(), dict[str, Any]()
    longer = np.pad(data.x_test, ((0, 0), (0, 4)))
    for family in ("single", "bidirectional", "cnn", "min_gru"):
        config = configured(backend, family)
        layers = recurrent_layers(find(config["model"]["_target_"]))
        for name in OF_BACKEND[backend] if family == "single" else ("generic",):
            if name == "auto" or kernel.unavailable(name, backend, layers, None, masked=True):
                continue
            engine, done = trained(config, data, name)
            answers = engine.logits(data.x_test, data.lengths_test)
            with tempfile.TemporaryDirectory() as folder:
                artefacts.save(engine.model, config, data, Path(folder), for_mlflow=False)
                kept = sorted(path.name for path in Path(folder).iterdir())
                model = build.load(Path(folder) / "model.keras", config["model"]["_target_"])
            again = inference.outputs(model, longer, 16, data.lengths_test)
            unmasked = inference.outputs(model, data.x_test, 16)
            told[f"{family} {name}"] = {
                "ran": engine.kernel_ran,
                "losses": [epoch["train_loss"] for epoch in done.epochs],
                "difference": float(max(np.abs(again - answers).max(), np.abs(unmasked - answers).max())),
                "n_weights": done.measured["n_weights"],
                "n_embedding": done.measured["n_embedding"],
                "files": kept,
            }
    if backend == "jax":
        config = configured(backend, "single")
        pack = programs.prepare_pack(config, data, [0, 1])
        fit.train_pack(pack, config, data, seeds=[0, 1], phases=Phases(), report=lambda e: None)
        found = []
        for member in (0, 1):
            pack.sync_model(member)
            mine = [np.array(weight) for weight in pack.model.get_weights()]
            alone = trained(config, data, "generic", member)[0].model.get_weights()
            found.append(max(float(np.abs(a - b).max()) for a, b in zip(mine, alone, strict=True)))
        told["pack"] = found
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
