"""Small data, and a configuration of a training that learns them in a few steps."""

from __future__ import annotations

import csv
import dataclasses
import functools
import random
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench.data.dataset import Dataset


@functools.cache
def data(n: int = 50, scale: float = 1.0) -> Dataset:
    """Two classes that differ in their mean: learnt in a few steps."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    x = (rng.standard_normal((n, 5, 3)) * 0.3 + y[:, None, None]).astype(np.float32) * scale
    split = (x, y.astype(np.int32))
    return Dataset("toy", *split, *split, *split, n_classes=2, sha256="0" * 64, source="here", notice=None)


@functools.cache
def ragged(n: int = 50, longest: int = 12, junk: float = 0.0) -> Dataset:
    """The two classes in sequences of 1 to `longest` timesteps, whatever stands behind their ends."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, longest + 1, n).astype(np.int32)
    lengths[:3] = 1, 2, longest
    y = np.arange(n) % 2
    x = (rng.standard_normal((n, longest, 3)) * 0.3 + y[:, None, None]).astype(np.float32)
    x[np.arange(longest) >= lengths[:, None]] = junk
    made = (x, y.astype(np.int32))
    known = {f"lengths_{split}": lengths for split in ("train", "validation", "test")}
    return Dataset("ragged", *made, *made, *made, n_classes=2, sha256="0" * 64, source="here", **known)


def ragged_file(path: Path, n: int = 60) -> tuple[str, ...]:
    """Writes such sequences to an .npz; the options of a short study on it."""
    made = ragged(n, junk=np.nan)
    np.savez(path, x=made.x_train, y=made.y_train, lengths=made.lengths_train)
    small = ("+study=smoke", "dataset=file", f"dataset.path={path}", "controls=false", "study.n_trials=1")
    small += ("study.replicates=1", "train.epochs=1", "train.batch_size=8", "train.buckets=2", "kernel=generic")
    return *small, "kernel.probe=false", "launcher.workers=1"


def text_file(path: Path, n: int = 60) -> tuple[str, ...]:
    """Writes texts of unequal length whose mood a word tells; the options of a short study on it."""
    rng = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["note", "mood"])
        for i in range(n):
            words = rng.choices(["the", "film", "שלום", "so", "é😀"], k=rng.randint(1, 11))
            table.writerow([" ".join([*words, ("bad", "good")[i % 2]]), ("down", "up")[i % 2]])
    small = ("+study=smoke", "dataset=file", f"dataset.path={path}", "dataset.text=note", "dataset.target=mood")
    small += ("dataset.tokens=word", "controls=false", "study.n_trials=1", "study.replicates=1", "train.epochs=1")
    return *small, "train.batch_size=8", "train.buckets=2", "kernel=generic", "kernel.probe=false", "launcher.workers=1"


def problem(task: str) -> Dataset:
    """Data of a task, of the same inputs: the two classes, their mean as a number, which timesteps or features are above it.

    `scaled` is the regression with targets of another size, by which outputs are scaled.
    """
    toy = data()
    if task == "classification":
        return toy
    y = {
        "regression": toy.x_train.mean(axis=(1, 2)),
        "tagging": (toy.x_train.mean(axis=2) > 0.5).astype(np.int32),
        "multilabel": (toy.x_train.mean(axis=1) > 0.5).astype(np.int32),
        "scaled": 700 + 50 * toy.x_train.mean(axis=(1, 2)),
    }[task]
    more: dict[str, Any] = dict.fromkeys(("y_train", "y_validation", "y_test"), y)
    more["n_classes"] = {"regression": 1, "scaled": 1, "tagging": 2, "multilabel": 3}[task]
    if task == "scaled":
        task, more["target"] = "regression", (float(y.mean()), float(y.std()))
    return dataclasses.replace(toy, **more, task=task)


def config(**changes: Any) -> dict[str, Any]:
    settings = {
        "epochs": 2,
        "batch_size": 8,
        "evaluation_batch_size": 20,
        "optimizer": "adam",
        "learning_rate": 0.02,
        "momentum": 0.0,
        "global_clipnorm": None,
        "schedule": "constant",
        "decay": 0.0,
    }
    return {
        "model": {"_target_": "lstm_bench.model.single", "units": 4},
        "backend": {"name": "tensorflow"},
        "train": {**settings, **changes},
        "launcher": {"keep_engines": 2},
    }
