"""An objective that is a formula: what a worker reports and returns when nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def accuracy(config: Mapping[str, Any], epoch: int) -> float:
    """A smooth objective, best at 32 units and a learning rate of 0.003."""
    rate = math.log10(config["train"]["learning_rate"] / 0.003) ** 2
    return 0.9 - 0.05 * rate - abs(config["model"]["units"] - 32) / 1000 - 0.1 / epoch


def metrics(config: Mapping[str, Any], epoch: int) -> dict[str, Any]:
    """What a worker reports after an epoch."""
    score = accuracy(config, epoch)
    return {
        "epoch": epoch,
        "train_loss": 1 - score,
        "train_accuracy": score,
        "val_loss": 1 - score,
        "val_accuracy": score,
        "train_s": 0.5,
    }


def configs(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The configuration of each member of a pack."""
    trains = task.get("trains") or [task["config"]["train"]] * len(task["seeds"])
    return [{**task["config"], "train": train} for train in trains]


SECONDS = {"setup_s": 0.25, "compile_s": 0.5, "train_s": 1.5, "eval_s": 0.25, "total_s": 2.5}
WHERE = {"device": "a CPU", "device_share": "exclusive"}


def complete(task: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """The result of a task that went well."""
    config = task["config"]
    if task["kind"] in ("pack", "trials"):
        k, kind = len(task["seeds"]), {"pack": "replicate", "trials": "trial"}[task["kind"]]
        members = [
            {**complete({**task, "kind": kind, "config": own, "seed": seed}), "device_share": f"packed {k}", "pack": k}
            | {"history": [{**metrics(own, epoch), "val_loss": float(seed)} for epoch in (1, 2)]}
            for seed, own in zip(task["seeds"], configs(task), strict=True)
        ]
        return {**SECONDS, "state": "COMPLETE", "members": members, **WHERE, **values}
    last = metrics(config, config["train"]["epochs"])
    result = {
        "state": "COMPLETE",
        **{key: last[key] for key in last if key not in ("epoch", "train_s")},
        "epochs": last["epoch"],
        "n_weights": 1000 * config["model"]["units"],
        "n_trainable": 1000 * config["model"]["units"],
        "train_samples_per_s": 2000.0,
        "kernel_ran": task["kernel"],
        "backend": "tensorflow",
    }
    if task["kind"] == "replicate":
        result |= {"test_accuracy": 0.9 + task["seed"] / 100, "test_loss": 0.5}
    if task["kind"] == "probe":
        result["kernel"] = task["kernel"]
    return {**SECONDS, **result, **WHERE, **values}


def failed(reason: str, detail: str = "", **values: Any) -> dict[str, Any]:
    """The result of a task that failed by its own fault."""
    return {**SECONDS, "state": "FAIL", "reason": reason, "detail": detail or f"{reason} it is", **WHERE, **values}


def fault(error: str, detail: str) -> dict[str, Any]:
    """The result of a task that found a fault which stops the sweep."""
    return {**SECONDS, "state": "FAULT", "error": error, "detail": detail, **WHERE}
