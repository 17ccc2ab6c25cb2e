"""Logarithmic axes are drawn the same on every processor."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pytest

import lstm_bench
from lstm_bench.report.figures.style import log_scale

PACKAGE = Path(lstm_bench.__file__).parent


def by_numpy(source: str) -> list[str]:
    """Places where a module asks for matplotlib's own logarithmic scale by its name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg in ("xscale", "yscale"):
            given = node.value
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2].endswith("scale") and node.args:
            given = node.args[0]
        else:
            continue
        if isinstance(given, ast.Constant) and given.value == "log":
            found.append(f"line {given.lineno}")
    return found


@pytest.mark.parametrize("path", sorted((PACKAGE / "report/figures").glob("*.py")), ids=lambda path: path.stem)
def test_no_figure_has_matplotlib_s_own_logarithm(path):
    assert by_numpy(path.read_text(encoding="utf-8")) == []


def test_such_an_axis_would_be_found():
    source = "axes.set(xscale='log')\naxes.set_yscale('log', base=10)\nscale('log')\naxes.set_xscale(log_scale())\n"
    assert sorted(by_numpy(source)) == ["line 1", "line 2", "line 3"]


def test_its_logarithm_is_the_c_library_s_and_takes_what_numpy_s_takes():
    drawn = log_scale().get_transform()
    values = [*(10 ** np.random.default_rng(0).uniform(-9, 9, 500)).tolist(), 1e-300, 1.0, 1000.0]
    assert drawn.transform(values).tolist() == [math.log10(value) for value in values]
    assert drawn.transform([0.0, -1.0, -math.inf, math.inf]).tolist() == [-1000.0, -1000.0, -1000.0, math.inf]
    odd = drawn.transform_non_affine(np.ma.masked_invalid([[10.0, math.nan]]))
    assert odd[0, 0] == 1.0
    assert math.isnan(odd[0, 1])


def test_and_its_inverse_too():
    back = log_scale().get_transform().inverted()
    assert back.transform([-1000.0, -3.0, 0.0, 400.0]).tolist() == [0.0, math.exp(-3 * math.log(10)), 1.0, math.inf]
    assert back.inverted().transform([100.0]).tolist() == [2.0]
