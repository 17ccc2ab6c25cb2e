"""`lstm_bench.report.figures.style`: how every figure is drawn."""

from __future__ import annotations

import io
import warnings

from lstm_bench.report.figures import style


def test_odd_data_say_nothing_on_standard_error() -> None:
    figure = style.Figure(figsize=(0.3, 0.3), layout="constrained")
    figure.subplots().set(title="数据", xlabel="wide " * 40)
    with warnings.catch_warnings(record=True) as bare:
        warnings.simplefilter("always")
        figure.savefig(io.BytesIO(), format="png")
    assert bare, "matplotlib warns of this figure"
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert style.render(figure, "png")
    assert heard == []
