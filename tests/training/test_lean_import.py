"""What a worker imports with Keras, and what it can import afterwards."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest
from conftest import long_but

from lstm_bench.training.lean_import import OFFERED, lean

PROGRAM = """
import json, sys
from lstm_bench.training import backend, lean_import
backend.load("{name}", False, 1, True, False)
found = [name for name in lean_import.OFFERED if name in sys.modules]
import keras, numpy, pandas, scipy.stats, sklearn.linear_model, matplotlib.pyplot
layer = keras.layers.LSTM(3)
print(json.dumps([found, list(layer(numpy.zeros((2, 4, 1), "float32")).shape), keras.config.backend()]))
"""


def test_what_was_imported_stays_and_what_was_not_can_be_imported_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    before = {name: sys.modules.get(name) for name in OFFERED if name in sys.modules}
    with lean("tensorflow"):
        with pytest.raises(ImportError):
            import sklearn  # noqa: F401
        assert all(sys.modules[name] is module for name, module in before.items())
    assert {name: sys.modules.get(name) for name in OFFERED if name in sys.modules} == before
    with lean("jax"):
        assert "scipy" not in sys.modules or sys.modules["scipy"] is not None  # JAX is made of it


@pytest.mark.parametrize("name", long_but("tensorflow"))
def test_a_worker_imports_nothing_that_keras_only_offers_more_for(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install 'lstm-bench[{name}]'")
    program = PROGRAM.format(name=name)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [["jax", "scipy"] if name == "jax" else [], [2, 3], name]
