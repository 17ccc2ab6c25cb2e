"""What tests share: where the real MNIST is, and a command line in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lstm_bench.config import conf_dir

# A worker's backend is its own; the tests' process uses TensorFlow, quietly.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Folder of the real MNIST: in $LSTM_BENCH_DATA, the user's cache, or downloaded. A missing one fails, it does not skip."""
    from lstm_bench import data
    from lstm_bench.errors import DataError

    settings = yaml.safe_load((conf_dir() / "dataset" / "mnist.yaml").read_text())
    try:
        return Path(data.resolve({**settings, "fallback": None}).config["dir"])
    except DataError as error:
        pytest.fail(f"the real MNIST is needed: set LSTM_BENCH_DATA to the folder that holds mnist/ ({error})")


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs `python -m lstm_bench.NAME ARGUMENTS` in `tmp_path`."""

    def run(name: str, *arguments: str, timeout: float = 240, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"lstm_bench.{name}", *arguments],
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1", **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
