"""A sweep of forecasts, from a table of series to the report and to what comes behind the table's end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Command

from lstm_bench.core.fileio import read_rows


def sales(path: Path, months: int, known: int = 0) -> None:
    """Six shops with a season of a year, and rows behind the end for which a price alone is known."""
    rng, steps = np.random.default_rng(0), np.arange(months + known)
    days = pd.date_range("2018-01-01", periods=months + known, freq="MS").strftime("%Y-%m-%d")
    shops = []
    for k in range(6):
        sold = 50 + 5 * k + 8 * np.sin(np.pi * steps / 6) + rng.normal(0, 1, months + known)
        sold[months:] = np.nan
        shops.append(pd.DataFrame({"shop": f"s{k}", "month": days, "sold": sold.round(3), "price": steps % 5}))
    pd.concat(shops).to_csv(path, index=False)


@pytest.mark.long  # CI: `test_own_task.py` goes the same way; forecasts in `test_fit.py` and `report/test_forecasts.py`
def test_a_sweep_of_forecasts_ends_in_a_report_and_in_forecasts_with_time_stamps(
    command: Command, tmp_path: Path
) -> None:
    sales(tmp_path / "sales.csv", 60)
    sales(tmp_path / "now.csv", 60, 3)
    asked = [
        *(
            "model=single",
            "model.units=4",
            "study.name=sales",
            "study.n_trials=0",
            "study.replicates=1",
            "train.epochs=2",
        ),
        *(
            "dataset=file",
            "dataset.path=sales.csv",
            "dataset.task=forecasting",
            "dataset.id=shop",
            "dataset.time=month",
        ),
        *(
            "dataset.target=sold",
            "dataset.horizon=3",
            "dataset.context=12",
            "dataset.season=12",
            "dataset.known=[price]",
        ),
        *(
            "dataset.calendar=[month]",
            "dataset.quantiles=[0.1,0.5,0.9]",
            "tracking=none",
            "kernel=generic",
            "backend=torch",
        ),
        *("kernel.probe=false", "launcher.workers=1"),
    ]
    made = command("sweep", *asked)
    assert made.returncode == 0, made.stdout + made.stderr
    folder = tmp_path / "sweeps" / "sales"
    controls = {row["control"]: row for row in read_rows(folder / "controls.csv")}
    fitted = {"trivial", "naive", "seasonal_naive", "drift", "linear", "context", "minirocket"}
    assert {*controls} - {"smoothing"} == fitted and {row["state"] for row in controls.values()} == {"COMPLETE"}
    [row] = read_rows(folder / "replicates.csv")
    assert 0 <= float(row["test_coverage"]) <= 1 and float(row["test_wql"]) > 0
    kept = read_rows(folder / "predictions.csv")
    means = {name: np.mean([float(line[name]) for line in kept]) for name in ("error", "covered")}
    assert len(kept) == 6 * 3 and means["error"] == pytest.approx(float(row["test_mase"]), rel=1e-6)
    assert means["covered"] == pytest.approx(float(row["test_coverage"]))

    assert command("report").returncode == 0
    page = (tmp_path / "reports" / "sales.md").read_text()
    assert "## Forecasts" in page and ("| exponential smoothing |" in page) == ("smoothing" in controls)
    assert "inside the 80 % interval, %" in page
    figures = {path.stem for path in (tmp_path / "reports" / "figures").glob("sales-*.svg")}
    assert {"sales-forecasts", "sales-steps", "sales-series"} <= figures
    assert command("report", "check=true").returncode == 0

    for control in ([], ["control=context"], ["control=drift"]):
        made = command("predict", "study=sales", "input=now.csv", "output=next.csv", *control)
        assert made.returncode == 0, made.stdout + made.stderr
        found = pd.read_csv(tmp_path / "next.csv")
        assert found["time"].tolist() == ["2023-01-01", "2023-02-01", "2023-03-01"] * 6
        assert found["id"].tolist() == [f"s{k}" for k in range(6) for _ in range(3)]
        if not control:
            assert (found["quantile_0.1"] <= found["prediction"]).all()
            assert (found["prediction"] == found["quantile_0.5"]).all()
    values = pd.read_csv(tmp_path / "sales.csv").query("shop == 's0'")["sold"].to_numpy()
    assert np.allclose(found["prediction"][:3], values[-1] + np.arange(1, 4) * (values[-1] - values[0]) / 59)
