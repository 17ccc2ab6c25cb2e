"""A family in the leak meter's place of the small model: what is trained on which part, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import fake
import numpy as np
import pytest
import yaml

from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import ConfigError
from lstm_bench.study import leakage
from lstm_bench.study.pool import Pool
from lstm_bench.sweep import trained_scores
from lstm_bench.sweep.trained_scores import TrainedScores


def pool() -> Pool:
    """Forty sequences of eight persons, each with a level of its own, which says nothing of the class but whose it is."""
    rng = np.random.RandomState(0)
    groups = np.repeat(np.arange(8), 5)
    levels = rng.permutation(8)[groups][:, None, None]
    x = (levels + 0.01 * rng.rand(40, 3, 1)).astype(np.float32)
    return Pool(x, groups % 2, 2, groups=groups)


def nearest(task: Mapping[str, Any]) -> Iterator[Any]:
    """Answers as the nearest training sequence, where a worker would train."""
    with np.load(task["config"]["dataset"]["path"]) as held:
        distances = np.abs(held["x_test"][:, None] - held["x_train"][None]).sum(axis=(2, 3))
        answers = held["y_train"][distances.argmin(axis=1)]
        labels = held["y_test"]
    rows = [
        {"sample": i, "label": int(y), "prediction": int(a)}
        for i, (y, a) in enumerate(zip(labels, answers, strict=True))
    ]
    yield {**fake.complete({**task, "config": {**task["config"], "model": {"units": 1}}}), "predictions": rows[::-1]}


def asked() -> dict[str, Any]:
    files = {"model": "gru", "train": "default"}
    groups = {group: yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text()) for group, name in files.items()}
    return {**groups, "backend": {"name": "torch"}}


def test_a_family_that_knows_persons_is_flattered_by_a_random_split(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[fake.FakeLauncher] = []

    def launcher(*_: Any, **__: Any) -> fake.FakeLauncher:
        made.append(fake.FakeLauncher(nearest, workers=2))
        return made[-1]

    monkeypatch.setattr(trained_scores, "LocalLauncher", launcher)
    with TrainedScores(asked(), pool(), settles=True) as score:
        found = leakage.measure(pool(), "group", 1, rounds=5, score=score)
    assert found.random > 0.9 and found.alarm and found.n == 40
    tasks = made[0].submitted
    assert len(tasks) == 5 * (1 + 5)
    train = tasks[0]["config"]["train"]
    assert train["epochs"] == 300 and train["patience"] is None, "by the data, and nothing is chosen"


def test_numbers_are_left_to_the_small_model() -> None:
    with pytest.raises(ConfigError, match="a class for each sequence"):
        TrainedScores(asked(), pool()._replace(n_classes=0), settles=True)
