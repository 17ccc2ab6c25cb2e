"""No result depends on the padding: every family, kernel and backend, see `support/unequal_lengths.py`."""

from __future__ import annotations

import pytest
from test_engine import printed

FAST = ("single", "cnn", "cnn_lstm", "min_gru")
REST = ("bidirectional", "stacked", "gru", "simple_rnn", "recurrent_dropout", "layer_norm")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "families", "examples"),
    [
        ("torch", FAST, 3),
        pytest.param("torch", REST, 12, marks=pytest.mark.long),
        *(pytest.param("jax", (name,), 12, marks=pytest.mark.long, id=f"jax-{name}") for name in FAST + REST),
        *(
            pytest.param("tensorflow", (name,), 12, marks=pytest.mark.long, id=f"tensorflow-{name}")
            for name in FAST + REST
        ),
    ],
)
def test_no_result_depends_on_the_padding(backend: str, families: tuple[str, ...], examples: int) -> None:
    said = printed("unequal_lengths.py", backend, ",".join(families), str(examples), timeout=580).splitlines()
    assert said[-1] == "dropped masks are found" and ("pack equal" in said) is (backend == "jax")
    found = [line.split() for line in said if line.startswith(f"{backend} ")]
    assert {name for _, name, *_ in found} == set(families)
    assert all(float(line[-1]) < 2e-5 for line in found)
