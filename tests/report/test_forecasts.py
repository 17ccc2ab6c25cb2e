"""The part of a study's page that shows forecasts: figures and tables as a function of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lstm_bench.report.figures import style
from lstm_bench.report.pages import forecasts
from lstm_bench.report.sources.records import Result
from lstm_bench.study import frames
from lstm_bench.study.columns import FILES


def kept(
    n_series: int = 8, horizon: int = 6, origins: int = 1, quantiles: bool = True
) -> dict[str, list[dict[str, Any]]]:
    """Rows as a study keeps them: random walks, each forecast by its last value and a drift."""
    rng, rows, shown = np.random.default_rng(0), [], []
    for sample in range(n_series * origins):
        past = 100 + np.cumsum(rng.standard_normal(20))
        future = past[-1] + np.cumsum(rng.standard_normal(horizon))
        for step in range(horizon):
            forecast, spread = past[-1] + 0.2 * step, 1.3 * np.sqrt(step + 1)
            row = {"sample": sample, "label": future[step], "prediction": forecast, "series": f"s{sample // origins}"}
            row |= {"step": step + 1, "last": past[-1], "error": abs(forecast - future[step])}
            row |= {"naive_error": abs(past[-1] - future[step])}
            inside = int(abs(forecast - future[step]) <= spread)
            rows.append(
                row | ({"low": forecast - spread, "high": forecast + spread, "covered": inside} if quantiles else {})
            )
        if sample < 6:
            values = " ".join(f"{value:.4g}" for value in past)
            shown.append({"sample": sample, "timesteps": 20, "features": 1, "values": values})
    return {"predictions.csv": rows, "worst.csv": shown}


def study(tables: dict[str, list[dict[str, Any]]], **scores: float) -> Result:
    environment = {"dataset": {"task": "forecasting"}}
    config = {"study": {"name": "own", "objective": "val_mase", "direction": "minimize"}}
    config["dataset"] = {"quantiles": [0.1, 0.5, 0.9]}
    made = Result(Path("own"), "own", config=config, environment=environment)
    naive = {
        "control": "naive",
        "seed": 0,
        "state": "COMPLETE",
        "test_mase": 1.0,
        "test_correlation": 0.98,
        "test_echo": 1.0,
    }
    seeds = [{"seed": seed, "state": "COMPLETE", "val_mase": 1.0} | scores for seed in range(2)]
    tables = {"controls.csv": [naive], "replicates.csv": seeds, **tables}
    notes: list[str] = []
    for file in FILES:
        texts = [{name: str(value) for name, value in row.items()} for row in tables.get(file, [])]
        made.tables[file] = frames.frame(file, texts, made.task, notes)
    assert not notes
    return made


def test_error_and_coverage_by_step_are_means_over_the_forecasts() -> None:
    made = study(kept(), test_mase=0.9, test_correlation=0.97, test_echo=0.96)
    rows = pd.DataFrame(kept()["predictions.csv"])
    table = forecasts.by_step(rows)
    of_step = rows[rows["step"] == 3]
    third = table[table["step"] == 3].iloc[0]
    assert third["error"] == of_step["error"].mean() and third["covered"] == of_step["covered"].mean()
    text = "\n".join(forecasts.section(made, {}))
    assert f"| 3 | {third['error']:.4g} |" in text and f"| {100 * third['covered']:.1f} |" in text
    assert "inside the 80 % interval, %" in text
    assert "correlate 0.970 with what came and 0.960 with the last value before; their MASE is 0.9" in text
    figures = forecasts.figures(made, "10 training samples; CPU")
    assert {*figures} == {"forecasts", "steps", "series"}
    for name, found in figures.items():
        assert not isinstance(found, str) and style.render(found[0](), "svg"), name
        assert "10 training samples; CPU" in found[1]


@pytest.mark.parametrize(("mase", "is_said"), [(1.0, True), (1.3, True), (0.9, False)])
def test_a_curve_that_looks_right_and_is_the_naive_one_is_said_to_be(mase: float, is_said: bool) -> None:
    made = study(kept(1, 1, 50), test_mase=mase, test_correlation=0.979, test_echo=0.9991)
    text = "\n".join(forecasts.section(made, {}))
    assert ("look right, and they are no better than the value before, repeated" in text) is is_said
    figures = forecasts.figures(made, "10 training samples; CPU")
    assert {*figures} == {"forecasts"} and not isinstance(figures["forecasts"], str)
    assert len(figures["forecasts"][0]().axes) == 2  # forecasts, and their errors


def test_records_without_values_of_the_data_have_their_errors_alone() -> None:
    tables = kept()
    for row in tables["predictions.csv"]:
        for column in ("label", "prediction", "last", "low", "high"):
            row[column] = ""
    made = forecasts.figures(
        study({"predictions.csv": tables["predictions.csv"]}, test_mase=1.0), "10 training samples; CPU"
    )
    assert str(made["forecasts"]).startswith("No forecasts are drawn over their series")
    assert not isinstance(made["steps"], str) and not isinstance(made["series"], str)


def test_other_tasks_have_none_of_it() -> None:
    made = Result(Path("own"), "own", environment={"dataset": {"task": "regression"}})
    assert forecasts.figures(made, "10 training samples; CPU") == {} and forecasts.section(made, {}) == []
