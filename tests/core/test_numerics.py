"""`lstm_bench.core.numerics`: one precision, whatever a user's Keras file and variables say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import long_but

from lstm_bench.core import numerics

CODE = """
import json, sys
from lstm_bench.core import numerics
from lstm_bench.training import precision
from lstm_bench.training.backend import load
load(sys.argv[1], False, 1, True, True)
import keras, numpy
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((7, 3)), keras.layers.LSTM(5), keras.layers.Dense(2)])
out = keras.ops.convert_to_numpy(model(numpy.ones((2, 7, 3), "float32")))
print(json.dumps([precision.found(sys.argv[1]), keras.config.backend(), str(out.dtype), out.tobytes().hex()]))
"""
HOSTILE = {
    **{"JAX_ENABLE_X64": "1", "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16", "JAX_DEFAULT_PRNG_IMPL": "rbg"},
    **{"KERAS_MAX_EPOCHS": "many", "KERAS_NNX_ENABLED": "1", "KERAS_BACKEND": "numpy"},
    **{"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
}


def computed(backend: str, **variables: str) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, backend], env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("backend", long_but("jax"))
def test_a_users_keras_file_and_variables_change_no_bit(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    (tmp_path / ".keras").mkdir()
    text = {"floatx": "float64", "backend": "numpy", "image_data_format": "channels_first", "epsilon": 0.1}
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(text))
    clean = computed(backend)
    assert clean[:3] == [numerics.precision(backend), backend, "float32"]
    assert computed(backend, HOME=str(tmp_path), **HOSTILE) == clean


def test_variables_of_the_user_are_told_without_passwords() -> None:
    known = {"XLA_FLAGS": "--a=http://me:secret@host", "OMP_NUM_THREADS": "", "HOME": "/"}
    assert list(numerics.observed(known)) == ["XLA_FLAGS"]
    assert "secret" not in numerics.observed(known)["XLA_FLAGS"]
    assert numerics.changed({"A": "1"}, {"B": "2"}) == ["variable A was 1, is not set", "variable B was not set, is 2"]


def test_what_would_change_the_precision_is_taken_out_of_the_environment() -> None:
    variables = {"NVIDIA_TF32_OVERRIDE": "0", "JAX_ENABLE_X64": "1", "XLA_FLAGS": "--x"}
    numerics.prepare(variables)
    assert variables == {"JAX_ENABLE_X64": "0", "XLA_FLAGS": "--x"}
