"""Texts on every backend: each kernel trains behind an embedding and is proved, and what is saved answers alike."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lstm_bench.core.vocabulary import OF_BACKEND

SCRIPT = Path(__file__).parents[1] / "support" / "text_steps.py"


@pytest.mark.long
@pytest.mark.timeout(1200)  # compiles each kernel
@pytest.mark.parametrize("backend", OF_BACKEND)
def test_every_kernel_trains_behind_an_embedding_and_what_is_saved_answers_alike(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), backend], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if backend == "jax":  # members of a pack have tables of their own, and train as they would alone
        assert max(told.pop("pack")) < 1e-5
    assert len(told) >= 4
    for name, found in told.items():
        family, kernel = name.split()
        assert found["ran"] == (kernel if family in ("single", "bidirectional") else "none"), name
        assert found["losses"][1] < found["losses"][0], name
        assert found["difference"] < 1e-5, "padding counts nowhere, whether its mask is given or read from the ids"
        assert found["n_embedding"] == 6 * 3 < found["n_weights"]
        assert found["files"] == ["input.json", "model.keras", "vocabulary.txt"]
