"""Forecasts: no window crosses a border or a series, nothing later is known, and the figures are those that others publish."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import mean_absolute_error, root_mean_squared_error
from wheels import wheel

from lstm_bench import look
from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import ConfigError, DataError, LstmBenchError
from lstm_bench.data import dataset, readers, windows
from lstm_bench.data.dataset import SPLITS, Dataset
from lstm_bench.data.formats.source import Source
from lstm_bench.data.horizon import Future
from lstm_bench.data.series import Series, even
from lstm_bench.model import controls
from lstm_bench.study.control_rows import asked_by
from lstm_bench.training import artefacts
from lstm_bench.training.controls import samples

SCALES = ("none", "series", "window", "difference")
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
    back = made.x[..., 0] * made.scale[:, None] + (0 if scale == "difference" else made.offset[:, None])
    assert np.allclose(back, known, atol=1e-4)
    zero = {"none": 0 * values[:, 0], "difference": values[:, -1], "window": values[:, -1]}
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
    assert even(whole := stamped(days), "refuse", "day", "f") is whole
    holed = stamped(days.delete([7, 8]))
    with pytest.raises(DataError, match="2 time stamps missing, the first after " + str(days[6])[:10]):
        even(holed, "refuse", "day", "f")
    assert even(holed, "order", "day", "f") is holed
    made = even(holed, "forward_fill", "day", "f")
    assert made.values.tolist() == [*range(7), 6, 6, *range(7, 28)] and made.made_up is not None
    assert np.flatnonzero(made.made_up).tolist() == [7, 8]


def test_stamps_on_no_grid_are_taken_as_rows_or_not_at_all() -> None:
    wild = Series("x", np.zeros(30), np.sort(np.random.default_rng(0).random(30)))
    for rule in ("refuse", "forward_fill"):
        with pytest.raises(DataError, match=r"of x are not even: .*no common grid"):
            even(wild, rule, "t", "f")
    assert even(wild, "order", "t", "f") is wild
    tenths = Series("", np.zeros(30), 1e6 + 0.1 * np.arange(30))
    assert even(tenths, "refuse", "t", "f") is tenths


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
        ({"target": None}, "no target is named"),
        ({"target": ["sold", "flat"]}, "dataset.target: expected one column"),
        ({"target": "Sold"}, "dataset.target: "),
        ({"time": "zero"}, "a time stamp of shop s0 is there twice"),
        ({"target": "word"}, "column word: expected a number to forecast, received 'none'"),
        ({"target": "flat"}, "no series changes before its validation targets"),
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
    assert "no format of series to forecast" in str(refused(tmp_path / "a.npz"))
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
    values = np.stack([10 * np.sin(np.pi * steps / 2 + k) + rng.normal(0, 1, 60) for k in range(20)])
    months, shops = np.tile(steps, 20), np.repeat(np.arange(20), 60)
    pd.DataFrame({"shop": shops, "month": months, "sold": values.ravel()}).to_csv(tmp_path / "a.csv")
    found = loaded(tmp_path / "a.csv", scale=scale, season=4, context=12)
    asked = asked_by(found.kind, found.y_train, found.n_classes)
    assert [control.name for control in controls.able(asked)] == ["trivial", "linear", "context", "minirocket"]
    made = controls.CONTROLS["context"].fit(samples(found, "train"), samples(found, "validation"), asked)
    scores = found.kind.score(made.outputs(found.x_test), found.y_test, "test")
    assert scores["test_mase"] < 0.95 * found.baselines["seasonal naive: the value a season before"]


def test_the_latest_values_come_first_whatever_is_behind_the_end() -> None:
    x = np.array([[[1.0, 10], [2, 20], [9, 9]], [[3, 30], [4, 40], [5, 50]]], np.float32)
    found = controls.latest(x, np.array([2, 3]))
    assert found.tolist() == [[2, 20, 1, 10, 0, 0], [5, 50, 4, 40, 3, 30]]
    assert controls.latest(x)[0].tolist() == [9, 9, 2, 20, 1, 10]


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
    plan = windows.Plan(3, 5, 3, 1, "window", 1, "refuse", "refuse")
    assert windows.Plan(**dataclasses.asdict(plan)) == plan
