"""`report source=mlflow`: the same pages from a store alone as from the records of the same study."""

from __future__ import annotations

import math
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import fake
import numpy as np
import pytest

from lstm_bench import driver, entity, harvest, record, report, result, session, store
from lstm_bench import space as spaces
from lstm_bench.errors import InterruptedByUser
from lstm_bench.progress import Display
from lstm_bench.tracking import open_tracking
from lstm_bench.trial import predictions

SETTINGS = {
    "study.name": "mixed",
    "study.description": "Trials of *every* end; its source: https://example.org/?a=1&b=2",
    "study.n_trials": 12,
    "study.replicates": 3,
    "study.max_failed": 9,
    "kernel.probe": True,
    "tracking.name": "mlflow",
    "sampler.name": "random",
    "pruner.name": "median",
    "pruner.n_startup_trials": 2,
    "pruner.n_warmup_epochs": 1,
    "train.learning_rate": 0.1 + 0.2,  # 17 digits, of which a page shows all
}
NAMES = {"generic": None, "cudnn": "no GPU is visible"}


def script(task: Any) -> Any:
    """Trials that complete, are pruned, fail in every way and are tried again; seeds with predictions; a probe."""
    if task["kind"] == "check":
        yield {"state": "COMPLETE", "layers": ["lstm"]}
        return
    if task["kind"] == "probe":
        figures = {"n": 7, "step_ms": 1 / 3, "p10_samples_per_s": 1999.123456789, "p90_samples_per_s": 2001.0}
        yield fake.complete(task, **figures, batch_size=64, evidence="While x 2, MatMul x 13")
        return
    if task["kind"] == "trial":
        count["trials"] += 1
        epochs = [{**fake.metrics(task["config"], e), "val_mse": e / 3, "train_s": 0.1 * e} for e in (1, 2, 3)]
        yield epochs[0]
        match count["trials"]:
            case 2:
                yield fake.Died()
            case 4:
                yield {**epochs[1], "train_loss": math.inf, "val_loss": math.nan}
                yield fake.failed("nan", val_loss=-math.inf, epochs=2)
            case 5:
                yield fake.failed("exception", "a & b | c < d")
            case 6:
                yield fake.failed("oom", device_share="shared")
            case 12 if count["stop"]:
                raise InterruptedByUser("Ctrl-C")
            case 7:
                yield {**epochs[1], "val_accuracy": 0.1}
                yield {**epochs[2], "val_accuracy": 0.1}
        yield from epochs[1:]
        exact = {"train_samples_per_s": 2000 / 7 + count["trials"], "val_loss": 0.123456789012345}
        yield fake.complete(task, **exact)
        return
    yield from (fake.metrics(task["config"], e) for e in (1, 2, 3))
    random = np.random.default_rng(task["seed"])
    labels, scores = np.arange(60) % 4, random.dirichlet(np.ones(4), 60)
    seen = predictions(random.random((60, 5, 3)), labels, scores) if task["seed"] == 0 else {}
    yield fake.complete(task, **seen, test_accuracy=0.9 + task["seed"] / 300)


count = {"trials": 0, "stop": 0}


class Launcher(fake.FakeLauncher):
    def __init__(self, *_: Any, **__: Any):
        super().__init__(script)


def sweep(folder: Path, uri: str, **values: Any) -> None:
    """One invocation on the study below `folder`, from its header to its summary."""
    config = fake.config({**SETTINGS, "tracking.uri": uri, **values})
    place = folder / "sweeps" / config["study"]["name"]
    place.mkdir(parents=True, exist_ok=True)
    display = Display(config["study"]["objective"], config["train"]["epochs"])
    session.Session(config, spaces.parse(config), place, [], display, "embedded in scikit-learn").run()


@pytest.fixture
def here(tmp_path: Path, unused_store: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty working directory with an unused store, and sweeps that train nothing."""
    count.update(trials=0, stop=0)
    monkeypatch.chdir(tmp_path)
    shutil.copy(unused_store, tmp_path)
    monkeypatch.setattr(session, "LocalLauncher", Launcher)
    monkeypatch.setattr(session.kernel, "unavailable", lambda name, *_: NAMES.get(name, "not asked for"))
    with mock.patch.dict(os.environ):
        yield tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def both(here: Path, uri: str) -> dict[str, bytes]:
    """The reports from the records and from the store, which are the same; the second without anything but the store."""
    assert report.main(["reports=from_records"]) == 0
    wanted = files(here / "from_records")
    (here / "sweeps").rename(here / "hidden")
    if (here / "mlartifacts").exists():
        (here / "mlartifacts").rename(here / "hidden artifacts")
    assert report.main(["source=mlflow", f"uri={uri}", "reports=from_mlflow"]) == 0
    (here / "hidden").rename(here / "sweeps")
    made = files(here / "from_mlflow")
    for name, data in wanted.items():
        if name.endswith((".md", ".csv")):
            assert made[name].decode() == data.decode()
    assert made == wanted
    return wanted


def test_the_pages_are_the_same_bytes_from_records_and_from_mlflow(here: Path) -> None:
    sweep(here, "sqlite:///mlflow.db")
    page = both(here, "sqlite:///mlflow.db")["mixed.md"].decode()
    for part in ("worker_died", "nan 1", "oom_shared", "pruned", "no GPU is visible", "figures/mixed-confusion.svg"):
        assert part in page
    assert "figures/mixed-worst.svg" in page
