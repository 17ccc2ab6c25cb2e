"""Forecasts: no window crosses a border or a series, nothing later is known, and the figures are those that others publish."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import fake
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error
from wheels import wheel

from lstm_bench import look
from lstm_bench.core import configuration, schema
from lstm_bench.core.clock import Phases
from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import ConfigError, DataError, LstmBenchError
from lstm_bench.data import cuts, dataset, forecasts, inspection, readers, warning, windows
from lstm_bench.data.dataset import SPLITS, Dataset
from lstm_bench.data.formats.source import Source
from lstm_bench.data.horizon import Future
from lstm_bench.data.series import Series, calendar, even, written
from lstm_bench.launcher.protocol import ControlTask
from lstm_bench.model import controls, forecasters, linear
from lstm_bench.study.control_rows import asked_by
from lstm_bench.training import artefacts
from lstm_bench.training.controls import fitted, samples

SCALES = ("none", "series", "window", "difference", "return")
ASKED = {"task": "forecasting", "id": "shop", "time": "month", "target": "sold", "horizon": 3, "context": 5}


def loaded(path: object, **given: Any) -> Dataset:
    whole = {**yaml.safe_load((conf_dir() / "dataset" / "file.yaml").read_text()), **ASKED, "path": str(path), **given}
    return dataset.load(whole)


def refused(path: object, **given: Any) -> LstmBenchError:
    with pytest.raises((ConfigError, DataError)) as caught:
        loaded(path, **given)
    assert "\n" not in str(caught.value)
    return caught.value


def table(folder: Path, lengths: tuple[int, ...] = (20, 30, 20), name: str = "sales.csv", **more: Any) -> Path:
    """Series whose values say where they are: 1000 * series + step, and how they are written."""
    path = folder / name
    rows = [
        {"shop": f"s{place}", "month": step, "sold": 1000 * (place + 1) + step}
        for place, n in enumerate(lengths)
        for step in range(n)
    ]
    pd.DataFrame(rows).sample(frac=1, random_state=0).assign(**more).to_csv(path, index=False)
    return path


def noise(folder: Path, n: int = 4, timesteps: int = 40, last: float = 1.0) -> Path:
    """Random walks; the last three values of each times `last`."""
    values = 50 + np.cumsum(np.random.default_rng(0).standard_normal((n, timesteps)), axis=1)
    values[:, -3:] *= last
    months = np.tile(np.arange(timesteps), n)
    frame = pd.DataFrame({"shop": np.repeat(np.arange(n), timesteps), "month": months, "sold": values.ravel()})
    frame.to_csv(path := folder / f"noise-{last:g}.csv", index=False)
    return path


# Against figures of others.


@pytest.mark.parametrize("scale", ["window", "none"])
def test_naive_and_drift_have_the_published_mase_on_m1_yearly(scale: str) -> None:
    """4.894322: autogluon/fev, `benchmarks/chronos_zeroshot`; 3.489173: of the same file, by Hyndman & Koehler's formula."""
    path = f"{wheel('aeon==1.6.0')}!aeon/datasets/data/m1_yearly_dataset/m1_yearly_dataset.tsf"
    found = loaded(path, id=None, time=None, target=None, horizon=None, context=36, scale=scale)
    naive, drift = found.baselines.values()
    assert f"{naive:.6f} {drift:.6f}" == "4.894322 3.489173"
    assert found.kind.trivial(found.y_train, found.y_test)["test_mase"] == naive
    assert (len(found.x_test), len(found.x_validation), found.n_classes) == (181, 181, 6)  # none is dropped
    assert found.lengths_test is not None and found.lengths_test.min() == 15 - 6
    assert any(note.startswith("80 of 181 series have fewer than 21 values: none trains") for note in found.notes)


def test_metrics_are_in_the_series_own_units_and_as_scikit_learn_has_them(tmp_path: Path) -> None:
    found = loaded(noise(tmp_path), season=2)
    scaled = np.random.default_rng(1).standard_normal((len(found.y_test), 3)).astype(np.float32)
    future = Future.of(found.y_test)
    truth, forecast = future.own(future.targets), future.own(scaled)
    values = pd.read_csv(tmp_path / "noise-1.csv")["sold"].to_numpy().reshape(4, -1)
    assert np.allclose(truth, values[:, -3:])
    scores = found.kind.score(scaled, found.y_test, "test")
    assert scores["test_mae"] == pytest.approx(mean_absolute_error(truth, forecast))
    assert scores["test_rmse"] == pytest.approx(root_mean_squared_error(truth.ravel(), forecast.ravel()))
    unit = np.abs(values[:, 2:-3] - values[:, :-5]).mean(axis=1)
    assert scores["test_mase"] == pytest.approx((np.abs(truth - forecast).mean(axis=1) / unit).mean())
    each = 2 * np.abs(truth - forecast) / (np.abs(truth) + np.abs(forecast))
    assert scores["test_smape"] == pytest.approx(each.mean())
    assert scores["test_loss"] == pytest.approx(np.square(scaled - future.targets).mean())
    seasonal = np.abs(values[:, [-5, -4, -5]] - values[:, -3:]).mean(axis=1) / unit
    assert found.baselines["seasonal naive: the value a season before"] == pytest.approx(seasonal.mean())


# Windows.


def test_no_window_crosses_a_series_or_a_border(tmp_path: Path) -> None:
    lengths = (20, 30, 13, 9, 7, 4)
    found = loaded(table(tmp_path, lengths), scale="none", standardize=False)
    trained: set[float] = set()
    for split in SPLITS:
        x, known = getattr(found, f"x_{split}")[..., 0], found.lengths(split)
        assert known is not None
        for row, n, targets in zip(x, known, Future.of(getattr(found, f"y_{split}")).targets, strict=True):
            whole = np.concatenate([row[:n], targets])
            assert (np.diff(whole) == 1).all() and not row[n:].any()
            series, step = divmod(whole[-1], 1000)
            before_test = lengths[int(series) - 1] - 3
            assert step == before_test - 1 if split == "validation" else True
            assert step == before_test + 2 if split == "test" else True
            assert step < before_test - 3 if split == "train" else True
            trained |= {series} if split == "train" else set()
    assert trained == {1, 2, 3}  # of 13 values: windows shorter than the context, for it has none of that
    # Of 4 values there is but one before the test targets.
    assert (len(found.y_test), len(found.y_validation)) == (6, 5)
    assert "3 of 6 series have fewer than 11 values: none trains, all are tested" in found.notes
    thinned = loaded(table(tmp_path, (20, 30)), stride=4)
    assert thinned.lengths_train is None and len(thinned.x_train) == len(range(5, 12, 4)) + len(range(5, 22, 4))


@pytest.mark.parametrize("scale", SCALES)
def test_what_comes_last_changes_test_targets_and_nothing_else(tmp_path: Path, scale: str) -> None:
    one, other = (loaded(noise(tmp_path, last=factor), scale=scale) for factor in (1.0, 1e6))
    for split in SPLITS:
        assert np.array_equal(getattr(one, f"x_{split}"), getattr(other, f"x_{split}"))
    for split in ("train", "validation"):
        assert np.array_equal(getattr(one, f"y_{split}"), getattr(other, f"y_{split}"))
    before, after = Future.of(one.y_test), Future.of(other.y_test)
    assert all(
        np.array_equal(*pair) for pair in list(zip(before, after, strict=True))[1:]
    )  # scalers, unit, simple forecasts
    assert (np.abs(after.targets) > 100 * np.abs(before.targets)).all()


@pytest.mark.parametrize("scale", SCALES)
def test_forecasts_beyond_the_end_are_made_from_the_last_values_in_their_own_units(tmp_path: Path, scale: str) -> None:
    found = loaded(path := noise(tmp_path), scale=scale, standardize=False)
    about = artefacts.described(found)
    rows = list(csv.reader(path.read_text().splitlines()))
    (tmp_path / "new.csv").write_text("\n".join(",".join(row) for row in rows if row[0] != "3"))
    made = windows.beyond(Source(tmp_path / "new.csv"), about)
    values = pd.read_csv(path)["sold"].to_numpy().reshape(4, -1)[:3]
    assert (
        made.x.shape == (3, 5, 1)
        and made.lengths is None
        and made.ids is not None
        and list(made.ids) == ["0", "1", "2"]
    )
    known = np.diff(values, axis=1)[:, -5:] * 1.0 if scale == "difference" else values[:, -5:]
    known = values[:, -1:] * (values[:, -5:] / values[:, -6:-1] - 1) if scale == "return" else known
    changes = scale in ("difference", "return")
    back = made.x[..., 0] * made.scale[:, None] + (0 if changes else made.offset[:, None])
    assert np.allclose(back, known, atol=1e-4)
    zero = {"none": 0 * values[:, 0], "difference": values[:, -1], "return": values[:, -1], "window": values[:, -1]}
    zero["series"] = values.mean(axis=1)
    assert np.allclose(made.own(np.zeros((3, 3))), np.repeat(zero[scale][:, None], 3, axis=1))
    columns, answers = found.kind.labels.table(made.own(np.ones((3, 3))))
    assert columns == ("sample", "step", "prediction") and [row["step"] for row in answers] == [1, 2, 3] * 3
    with pytest.raises(DataError, match="too short for this model: expected 5 values, received 4"):
        table(tmp_path, (4,), "short.csv")
        windows.beyond(Source(tmp_path / "short.csv"), about)


# Time stamps.


def stamped(days: Any, values: Any = None) -> Series:
    stamps = pd.DatetimeIndex(days).astype("datetime64[s]").astype(np.int64).to_numpy().astype(np.float64)
    return Series("", np.arange(len(stamps)) * 1.0 if values is None else values, stamps, dated=True)


@pytest.mark.parametrize("frequency", ["D", "h", "MS", "ME", "QS", "YS", "B", "W"])
def test_calendar_steps_are_even_and_a_missing_one_is_found(frequency: str) -> None:
    days = pd.date_range("2019-12-31", periods=30, freq=frequency)
    found = even(stamped(days[:20]), "refuse", "day", "f")
    assert found.values.tolist() == list(range(20)) and found.made_up is None
    stamps = found.stamps_of(30)
    assert (stamps is not None and written(stamps, True) == [str(day)[:10] for day in days]) or frequency == "h"
    holed = stamped(days.delete([7, 8]))
    with pytest.raises(DataError, match="2 time stamps missing, the first after " + str(days[6])[:10]):
        even(holed, "refuse", "day", "f")
    assert even(holed, "order", "day", "f").step is None
    made = even(holed, "forward_fill", "day", "f")
    assert made.values.tolist() == [*range(7), 6, 6, *range(7, 28)] and made.made_up is not None
    assert np.flatnonzero(made.made_up).tolist() == [7, 8]
    assert made.stamps is not None and np.array_equal(made.stamps, stamped(days).stamps)


def test_stamps_on_no_grid_are_taken_as_rows_or_not_at_all() -> None:
    wild = Series("x", np.zeros(30), np.sort(np.random.default_rng(0).random(30)))
    for rule in ("refuse", "forward_fill"):
        with pytest.raises(DataError, match=r"of x are not even: .*no common grid"):
            even(wild, rule, "t", "f")
    assert even(wild, "order", "t", "f") is wild
    tenths = Series("", np.zeros(30), 1e6 + 0.1 * np.arange(30))
    assert even(tenths, "refuse", "t", "f").step == ("time", pytest.approx(0.1))


def test_gaps_are_filled_from_the_past_and_never_where_it_is_scored(tmp_path: Path) -> None:
    frame = pd.read_csv(table(tmp_path, (30,))).sort_values("month")
    frame.loc[frame["month"].isin([0, 9]), "sold"] = np.nan
    frame.to_csv(tmp_path / "gaps.csv", index=False)
    assert "1 value of s0 missing: expected a number at each step" in str(refused(tmp_path / "gaps.csv"))
    found = loaded(tmp_path / "gaps.csv", missing="forward_fill", scale="none", standardize=False)
    assert found.x_train[0, :, 0].tolist() == [1001, 1002, 1003, 1004, 1005]
    assert 1009 not in found.x_train and "1 value filled with the one before" in found.notes
    frame.loc[frame["month"] == 25, "sold"] = np.nan
    frame.to_csv(tmp_path / "late.csv", index=False)
    assert "lacks values in its last 6 steps" in str(refused(tmp_path / "late.csv", missing="forward_fill"))


# What is refused.


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"horizon": None}, "how many steps are forecast was not said. Give dataset.horizon=12"),
        ({"horizon": 7}, "no series is long enough to train on: expected at least 24 values"),
        ({"horizon": 20}, "series s0 is no longer than the horizon: expected more than 20 values"),
        ({"origins": 18}, "Give a smaller dataset.origins, or take them out of the file."),
        ({"known": ["promo"]}, "dataset.known: "),
        ({"features": ["promo"]}, "dataset.features: "),
        ({"target": None}, "no target is named"),
        ({"target": ["sold", "flat"]}, "dataset.target: expected one column"),
        ({"target": "Sold"}, "dataset.target: "),
        ({"time": "zero"}, "a time stamp of shop s0 is there twice"),
        ({"target": "word"}, "column word: expected a number to forecast, received 'none'"),
        ({"target": "flat"}, "no series changes before its validation targets"),
        ({"season": 40}, "no series changes from one season of 40 steps to the next before its validation targets"),
        ({"split": "stratified"}, "dataset.split: expected auto, for a forecast is tested on what comes last"),
        ({"validation": "test"}, "dataset.validation: expected split"),
        ({"missing": "mean"}, "dataset.missing: expected refuse or forward_fill"),
        ({"window": 5}, "dataset.window: expected null"),
        ({"standardize": True}, "dataset.standardize: expected auto or false"),
        ({"task": "regression"}, "dataset.horizon: expected null without dataset.task=forecasting"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_line(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    path = table(tmp_path, (20, 20), zero=0, word="none", flat=1.5)
    assert said in str(refused(path, **given))


def test_what_is_advised_of_a_forecast_is_no_option_that_it_refuses(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"shop": "s", "month": np.arange(300), "sold": rng.standard_normal(300)})
    asked = {**yaml.safe_load((conf_dir() / "dataset" / "file.yaml").read_text()), **ASKED}
    told = {}
    for name, origins in (("noise", 1), ("noise", 4), ("noise", 30), ("weeks", 1)):
        frame.assign(sold=frame["sold"] if name == "noise" else frame["month"] % 7.0).to_csv(
            tmp_path / "f.csv", index=False
        )
        config = {**asked, "path": str(tmp_path / "f.csv"), "origins": origins}
        told[name, origins] = warning.warnings(inspection.load(config), config)
    for origins in (1, 4):
        assert all(
            said.endswith("Say dataset.origins=30 for more forecasts of each series.")
            for said in told["noise", origins]
        )
        assert len(told["noise", origins]) == 2
    assert told["noise", 30] == []
    (repeats,) = set(told["weeks", 1]) - set(told["noise", 1])
    assert "1 of 1 forecasts of test are made from a past that is in train, value for value" in repeats


def test_a_string_among_numbers_is_found_where_it_is(tmp_path: Path) -> None:
    path = table(tmp_path)
    lines = path.read_text().splitlines()
    lines[41] = "s1,99,many"
    path.write_text("\n".join(lines))
    assert "row 42, column sold: expected a number, received 'many'" in str(refused(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3", "row 1: expected a line with @, before @data"),
        ("@relation a\n", "it has no @data"),
        ("@data\n", "it holds no series"),
        (
            "@attribute series_name string\n@data\nT1:1,x,3\n",
            "row 3: expected finite numbers with commas, received 'x'",
        ),
        ("@attribute series_name string\n@data\nT1:1,1e999\n", "row 3: expected finite numbers"),
        ("@attribute series_name string\n@data\n1,2,3\n", "row 3: expected 1 attributes and values"),
        ("@attribute series_name string\n@data\nT1:1,2\nT1:1,2\n", "series T1 is there twice"),
        ("@attribute series_name string\n@data\nT1:?,?\n", "series of T1 has no value"),
    ],
)
def test_a_torn_tsf_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.tsf").write_text(text)
    assert said in str(refused(tmp_path / "a.tsf", id=None, time=None, target=None))


def test_a_file_of_sequences_is_no_file_of_series(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 3, 1)), y=np.zeros(4))
    assert "no series to forecast: expected one structured array" in str(refused(tmp_path / "a.npz"))
    (tmp_path / "a.ts").write_text("@data\n")
    assert "no format of series to forecast" in str(refused(tmp_path / "a.ts"))
    with pytest.raises(ConfigError, match="dataset=npz holds no series"):
        readers.known_task({"name": "npz", "task": "forecasting"})


def test_numbers_too_large_to_scale_are_one_line(tmp_path: Path) -> None:
    path = table(tmp_path, (20,))
    path.write_text(path.read_text().replace(",1019", ",1e300"))
    assert "finite float32 numbers" in str(refused(path))


# Controls.


@pytest.mark.parametrize("scale", SCALES)
def test_the_control_of_forecasts_learns_what_the_last_values_say(tmp_path: Path, scale: str) -> None:
    """Of a season and noise: the value a season before has noise of its own, a ridge takes the mean of several."""
    rng, steps = np.random.default_rng(0), np.arange(60)
    values = 500 + np.stack([10 * np.sin(np.pi * steps / 2 + k) + rng.normal(0, 1, 60) for k in range(20)])
    months, shops = np.tile(steps, 20), np.repeat(np.arange(20), 60)
    pd.DataFrame({"shop": shops, "month": months, "sold": values.ravel()}).to_csv(tmp_path / "a.csv")
    found = loaded(tmp_path / "a.csv", scale=scale, season=4, context=12)
    asked = asked_by(found.kind, found.y_train, found.n_classes)
    names = ["trivial", "naive", "seasonal_naive", "drift", "smoothing", "linear", "context", "minirocket"]
    names = [name for name in names if name != "smoothing" or forecasters.has_smoothing()]
    assert [control.name for control in controls.able(asked)] == names
    made = controls.CONTROLS["context"].fit(samples(found, "train"), samples(found, "validation"), asked)
    scores = found.kind.score(made.outputs(found.x_test), found.y_test, "test")
    assert scores["test_mase"] < 0.95 * found.baselines["seasonal naive: the value a season before"]


def test_the_latest_values_come_first_whatever_is_behind_the_end() -> None:
    x = np.array([[[1.0, 10], [2, 20], [9, 9]], [[3, 30], [4, 40], [5, 50]]], np.float32)
    found = linear.latest(x, np.array([2, 3]))
    assert found.tolist() == [[2, 20, 1, 10, 0, 0], [5, 50, 4, 40, 3, 30]]
    assert linear.latest(x)[0].tolist() == [9, 9, 2, 20, 1, 10]


def test_the_table_of_the_guide_is_looked_at_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "guide" / "forecasting.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec(page.partition("```python\n")[2].partition("```")[0], {})
    line = page.partition("python -m lstm_bench.look ")[2].partition("\n")[0]
    assert look.main(line.split()) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1,000 train, 40 validation, 40 test" in said and "objective study.objective=auto -> val_mase" in said
    assert "nothing speaks against it" in said


def test_a_plan_survives_json() -> None:
    plan = cuts.Plan(3, 5, 3, 1, "window", 1, "refuse", "refuse")
    assert cuts.Plan(**dataclasses.asdict(plan)) == plan


# Quantiles.


def test_three_quantiles_are_scored_by_what_their_definitions_say(tmp_path: Path) -> None:
    found = loaded(noise(tmp_path), quantiles=[0.1, 0.5, 0.9])
    future, n = Future.of(found.y_test), len(found.y_test)
    assert found.n_classes == 9 and future.levels.tolist() == [[0.1, 0.5, 0.9]] * n
    outputs = np.random.default_rng(1).standard_normal((n, 9)).astype(np.float32)
    low, middle, high = np.sort(outputs.reshape(n, 3, 3).astype(np.float64), axis=1).transpose(1, 0, 2)
    truth = future.own(future.targets)
    scores = found.kind.score(outputs, found.y_test, "test")
    parts = [
        mean_pinball_loss(truth.ravel(), future.own(of).ravel(), alpha=level)
        for of, level in zip((low, middle, high), (0.1, 0.5, 0.9), strict=True)
    ]
    assert scores["test_wql"] == pytest.approx(2 * np.mean(parts) / np.abs(truth).mean())
    assert scores["test_mae"] == pytest.approx(mean_absolute_error(truth, future.own(middle)))
    inside = (low <= future.targets) & (future.targets <= high)
    assert scores["test_coverage"] == inside.mean() and 0 < inside.mean() < 1
    scaled = [
        mean_pinball_loss(future.targets.ravel(), of.ravel(), alpha=level)
        for of, level in zip((low, middle, high), (0.1, 0.5, 0.9), strict=True)
    ]
    assert scores["test_loss"] == pytest.approx(np.mean(scaled))
    naive = found.kind.score(
        future.naive(), found.y_test, "test"
    )  # a value stands for all quantiles, and covers nothing
    assert "test_coverage" not in naive and naive["test_wql"] == pytest.approx(naive["test_mae"] / np.abs(truth).mean())
    assert found.kind.trivial(found.y_train, found.y_test)["test_mase"] == naive["test_mase"]
    plain = loaded(noise(tmp_path))
    assert not {"test_wql", "test_coverage"} & {*plain.kind.score(future.naive(), plain.y_test, "test")}


def test_correlation_says_what_a_naive_forecast_is(tmp_path: Path) -> None:
    found = loaded(noise(tmp_path, n=1), horizon=1, origins=10)
    scores = found.kind.score(Future.of(found.y_test).naive(), found.y_test, "test")
    values = pd.read_csv(tmp_path / "noise-1.csv")["sold"].to_numpy()
    assert scores["test_correlation"] == pytest.approx(np.corrcoef(values[-10:], values[-11:-1])[0, 1], abs=1e-5)
    assert scores["test_echo"] == pytest.approx(1)
    assert not {"val_correlation", "val_echo", "val_coverage"} & {*found.kind.objectives}


# Covariates and the calendar.


def dated(folder: Path, n: int = 40, ahead: int = 0, **more: Any) -> Path:
    """One series of months from 2020 on, `sold` and `promo` 0.5 more, with `ahead` rows behind its end; `more`: other columns."""
    days = pd.date_range("2020-01-01", periods=n + ahead, freq="MS").strftime("%Y-%m-%d")
    sold = np.r_[np.arange(n, dtype=float), np.full(ahead, np.nan)]
    rows = pd.DataFrame({"day": days, "sold": sold, "promo": np.arange(n + ahead) + 0.5, "seen": sold + 0.25})
    rows.assign(**more).to_csv(path := folder / "dated.csv", index=False)
    return path


ONE: dict[str, Any] = {"id": None, "time": "day", "scale": "none", "standardize": False}


def test_covariates_are_known_up_to_a_forecast_or_beforehand(tmp_path: Path) -> None:
    found = loaded(dated(tmp_path), **ONE, features=["seen"], known=["promo"], calendar=["month"])
    assert found.reading is not None
    names = found.reading["features"]
    assert names == ["sold", "seen", "promo", "month sine", "month cosine", "is forecast"]
    x = found.x_test[0]
    assert x.shape == (5 + 3, 6) and found.lengths_test is None
    places = np.arange(32, 40)
    assert np.array_equal(x[:, 0], np.r_[places[:5], 0, 0, 0]) and np.array_equal(
        x[:, 1], np.r_[places[:5] + 0.25, 0, 0, 0]
    )
    assert np.array_equal(x[:, 2], places + 0.5) and np.array_equal(x[:, 5], [0, 0, 0, 0, 0, 1, 1, 1])
    assert np.allclose(x[:, 3], np.sin(2 * np.pi * places / 12), atol=1e-6)
    assert Future.of(found.y_test).targets.tolist() == [[37, 38, 39]]
    path = dated(tmp_path, ahead=3)
    made = windows.beyond(Source(path), artefacts.described(found))
    assert np.array_equal(made.x[0, :, 2], np.arange(35, 43) + 0.5) and np.array_equal(
        made.x[0, :, 0], [35, 36, 37, 38, 39, 0, 0, 0]
    )
    columns, rows = made.table(made.own(np.ones((1, 3))))
    assert columns == ("sample", "step", "time", "prediction")
    assert [row["time"] for row in rows] == ["2023-05-01", "2023-06-01", "2023-07-01"]
    assert "known up to each forecast: seen" in found.notes and "known beforehand: promo, month" in found.notes


def test_covariates_that_end_too_early_are_one_line(tmp_path: Path) -> None:
    found = loaded(dated(tmp_path), **ONE, known=["promo"])
    path = dated(tmp_path, ahead=2)
    with pytest.raises(
        DataError, match=r"what is known beforehand ends too early: expected promo of 3 steps .*received 2"
    ):
        windows.beyond(Source(path), artefacts.described(found))
    short = np.r_[np.arange(35.0), np.full(5, np.nan)]
    for key in ("features", "known"):
        said = str(refused(dated(tmp_path, promo=short), **ONE, **{key: ["promo"]}, missing="forward_fill"))
        assert "column promo ends too early: expected a value at each step of sold, 40 from its first on" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"features": ["word"]}, "column word: expected a number, as every covariate is, received 'none'"),
        ({"known": ["nothing"]}, "nothing"),
        ({"features": ["promo"], "known": ["promo"]}, "covariates, each once"),
        ({"known": ["sold"]}, "none of them the target"),
        ({"calendar": ["year"]}, "dataset.calendar: expected any of month, day, weekday, hour"),
        ({"calendar": ["month", "month"]}, "dataset.calendar: expected any of month, day, weekday, hour, each once"),
        ({"calendar": ["month"], "time": None}, "dataset.calendar needs the date of each step"),
        ({"quantiles": [0.1, 0.9]}, "dataset.quantiles: expected three ascending levels"),
        ({"quantiles": [0.1, 0.4, 0.9]}, "the median in the middle"),
        ({"quantiles": [0.0, 0.5, 1.0]}, "between 0 and 1"),
        ({"scale": "return"}, "dataset.scale=return: expected values above 0"),
        ({"origins": 20}, "no series is long enough to train on"),
    ],
)
def test_what_cannot_be_meant_of_covariates_and_quantiles_is_one_line(
    tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    assert said in str(refused(dated(tmp_path, word="none"), **{**ONE, **given}))


@pytest.mark.parametrize("key", ["horizon", "origins", "context"])
def test_a_horizon_of_0_is_one_line(key: str) -> None:
    asked = fake.composed("dataset=file", "dataset.path=a.csv", "dataset.task=forecasting", f"dataset.{key}=0")
    with pytest.raises(ConfigError, match=rf"dataset\.{key}: expected .*1.*, received 0"):
        configuration.load(asked, schema.Sweep)


# Origins, stamps, what is kept.


def test_forecasts_from_several_origins_know_what_came_before_each(tmp_path: Path) -> None:
    found = loaded(table(tmp_path, (40, 7)), horizon=2, origins=3, scale="none", standardize=False)
    targets = Future.of(found.y_test).targets
    assert targets.tolist() == [[1036, 1037], [1037, 1038], [1038, 1039], [2003, 2004], [2004, 2005], [2005, 2006]]
    assert [row[4, 0] for row in found.x_test[:3]] == [1035, 1036, 1037]
    assert Future.of(found.y_validation).targets[0].tolist() == [1032, 1033]
    assert max(Future.of(found.y_train).targets.ravel()) == 1031  # no target of a later part


def test_a_tsf_says_when_its_forecasts_are(tmp_path: Path) -> None:
    head = "@attribute series_name string\n@attribute start_timestamp date\n@frequency quarterly\n@horizon 2\n@data\n"
    values = ",".join(map(str, range(1, 30)))
    (tmp_path / "a.tsf").write_text(f"{head}T1:1979-10-01 00-00-00:{values}\nT2:1979-10-01:{values}\n")
    found = loaded(tmp_path / "a.tsf", id=None, time=None, target=None, horizon=None)
    made = windows.beyond(Source(tmp_path / "a.tsf"), artefacts.described(found))
    rows = made.table(made.own(np.zeros((2, 2))))[1]
    assert [row["time"] for row in rows] == ["1987-01-01", "1987-04-01", "", ""]


def test_uneven_steps_have_no_stamps_to_come_and_it_is_said(tmp_path: Path) -> None:
    path = dated(tmp_path)
    rows = pd.read_csv(path).drop(index=[7])
    rows.to_csv(path, index=False)
    found = loaded(path, **ONE, resample="order")
    made = windows.beyond(Source(path), artefacts.described(found))
    assert made.table(made.own(np.zeros((1, 3))))[0] == ("sample", "step", "prediction")
    assert "the steps of the file are uneven: forecasts have no time stamps" in made.notes


def test_calendar_turns_are_those_of_the_dates() -> None:
    stamps = np.array(["2021-03-01T06:00", "2024-02-29T18:00"], "datetime64[s]").astype(np.int64).astype(float)
    found = calendar(stamps, ["month", "day", "weekday", "hour"])
    places = np.array([[2 / 12, 0 / 31, 0 / 7, 6 / 24], [1 / 12, 28 / 31, 3 / 7, 18 / 24]]) * 2 * np.pi
    assert np.allclose(found[:, ::2], np.sin(places)) and np.allclose(found[:, 1::2], np.cos(places))


@pytest.mark.parametrize("scale", SCALES)
def test_what_is_kept_of_forecasts_is_in_the_series_own_units(tmp_path: Path, scale: str) -> None:
    found = loaded(noise(tmp_path), scale=scale, quantiles=[0.1, 0.5, 0.9])
    values = pd.read_csv(tmp_path / "noise-1.csv")["sold"].to_numpy().reshape(4, -1)
    kept = forecasts.evidence(found, np.zeros((4, 9), np.float32))
    assert [row["label"] for row in kept["predictions"]] == pytest.approx(values[:, -3:].ravel(), rel=1e-5)
    assert [row["last"] for row in kept["predictions"]] == pytest.approx(np.repeat(values[:, -4], 3), rel=1e-5)
    assert [row["series"] for row in kept["predictions"][::3]] == ["0", "1", "2", "3"]
    assert {row["covered"] for row in kept["predictions"]} == {0}
    past = {row["sample"]: np.array(row["values"].split(), float) for row in kept["worst"]}
    assert all(np.allclose(past[k], values[k, -8:-3], rtol=1e-4) for k in range(4))
    scores = found.kind.score(np.zeros((4, 9), np.float32), found.y_test, "test")
    assert np.mean([row["error"] for row in kept["predictions"]]) == pytest.approx(scores["test_mase"])


# Forecasts without a network.


def test_controls_of_series_look_at_their_whole_past() -> None:
    pasts = [np.array([1.0, 2, 3, 4, 6]), np.array([5.0])]
    assert forecasters.naive(pasts, 2, 4)[0].tolist() == [[6, 6], [5, 5]]
    assert forecasters.seasonal_naive(pasts, 5, 4)[0].tolist() == [[2, 3, 4, 6, 2], [5] * 5]
    assert forecasters.drift(pasts, 2, 4)[0].tolist() == [[7.25, 8.5], [5, 5]]
    pytest.importorskip("statsmodels")
    rng, steps = np.random.default_rng(0), np.arange(60)
    line, season = 5 + 2 * steps + rng.normal(0, 0.1, 60), 20 + 3 * np.sin(np.pi * steps / 2) + rng.normal(0, 0.1, 60)
    found, chosen = forecasters.smoothing([line, season, np.array([7.0])], 4, 4)
    assert np.allclose(found[0], 5 + 2 * np.arange(60, 64), atol=0.5) and "trend" in chosen
    assert np.allclose(found[1], 20 + 3 * np.sin(np.pi * np.arange(60, 64) / 2), atol=0.5)
    assert found[2].tolist() == [7.0] * 4


@pytest.mark.parametrize("name", ["naive", "seasonal_naive", "drift"])
def test_a_control_of_series_scores_what_the_baseline_of_its_name_does(tmp_path: Path, name: str) -> None:
    path = noise(tmp_path)
    found = loaded(path, season=2)
    settings = (
        yaml.safe_load((conf_dir() / "dataset" / "file.yaml").read_text()) | ASKED | {"path": str(path), "season": 2}
    )
    task = ControlTask(config={"dataset": settings}, control=name, seed=0, tests=True, keep=str(tmp_path / name))
    row = fitted(task, lambda _: found, Phases()).row()
    words = name.replace("_", " ")
    assert row["test_mase"] == pytest.approx(
        next(v for k, v in found.baselines.items() if k.startswith(words)), rel=1e-5
    )
    made, _ = controls.load(tmp_path / name)
    assert made.forecasts([np.arange(9.0)])[0].shape == (1, 3) and row["n_weights"] == made.n_weights == 0


def test_a_structured_array_of_an_installed_package_is_a_table(tmp_path: Path) -> None:
    found = loaded(
        "package:matplotlib/mpl-data/sample_data/goog.npz",
        **{"id": None, "time": "date", "target": "adj_close", "horizon": 1, "origins": 100, "resample": "order"},
    )
    assert (len(found.x_train), len(found.x_test)) == (1047 - 201 - 4, 100) and found.source.startswith("package:")
    for name in ("package:nowhere/a.npz", "package:matplotlib/none.npz"):
        assert refused(name).exit_code == 3
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    assert "expected one structured array" in str(refused(tmp_path / "a.npz"))
