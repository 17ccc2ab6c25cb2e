"""Study pages beyond the first table: classes, candidates, regressions, fronts, and published scores beside ours."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from test_report import edit, make_study

from lstm_bench.core import fileio
from lstm_bench.report import command as report
from lstm_bench.report import options
from lstm_bench.report.figures import study as figure
from lstm_bench.report.figures import style
from lstm_bench.report.pages import importance, pareto_front, per_class, study_figures
from lstm_bench.report.sources import records
from lstm_bench.report.sources.records import Result
from lstm_bench.study import columns
from lstm_bench.study import pareto as pareto


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(style, "render", lambda made, kind: f"{kind} of {len(made.axes)} axes".encode())
    return tmp_path


def predictions(pairs: str) -> pd.DataFrame:
    """`01 00 11`: label and prediction of each sample."""
    return pd.DataFrame([(float(a), float(b)) for a, b in pairs.split()], columns=["label", "prediction"])


def configure(folder, **values):
    """Changes leaves of config.yaml, `study__confirm=2`."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for path, value in values.items():
        *parents, last = path.split("__")
        node = config
        for key in parents:
            node = node[key]
        node[last] = value
    fileio.write_yaml(folder / "config.yaml", config)


def facts(folder, **values):
    """Changes facts of the data in environment.json."""
    environment = yaml.safe_load((folder / "environment.json").read_text())
    environment["dataset"] |= values
    fileio.write_json(folder / "environment.json", environment)


def rows_of(folder, file, change):
    rows = [change(row) for row in fileio.read_rows(folder / file)]
    fileio.write_rows(folder / file, list(rows[0]), rows)


def counts(rows: pd.DataFrame) -> pd.DataFrame:
    """The confusion of a study with these predictions."""
    return Result(Path("single"), "single", tables={"predictions.csv": rows}).confusion


def test_recall_precision_and_what_a_class_is_taken_for() -> None:
    rows = per_class.per_class(counts(predictions("00 00 01 02 11 11 22 20 20")))
    assert [r["n"] for r in rows] == [4, 2, 3]
    assert [r["recall"] for r in rows] == [0.5, 1, pytest.approx(1 / 3)]
    assert [r["precision"] for r in rows] == [0.5, pytest.approx(2 / 3), 0.5]
    assert [(r["taken_for"], r["times"]) for r in rows] == [(1, 1), (None, 0), (0, 2)]


def test_balanced_accuracy_is_the_mean_recall_and_not_the_accuracy() -> None:
    confusion = counts(predictions("00 00 00 00 00 00 00 00 00 10"))
    assert per_class.balanced_accuracy(confusion) == 0.5
    assert per_class.majority(confusion) == (0, 0.9)


def test_a_class_that_is_only_said_counts_for_no_recall() -> None:
    confusion = counts(predictions("00 02"))
    rows = per_class.per_class(confusion)
    assert math.isnan(rows[1]["recall"]) and rows[1]["precision"] == 0
    assert per_class.balanced_accuracy(confusion) == 0.5


def test_the_page_holds_classes_and_the_majority_line(here):
    folder = make_study(here / "sweeps/single")
    fileio.write_rows(folder / "predictions.csv", columns.PREDICTION_COLUMNS,
                      [{"sample": i, **row} for i, row in enumerate(predictions("00 00 01 11").to_dict("records"))])  # fmt: skip
    report.main([])
    text = (here / "reports/single.md").read_text()
    assert "accuracy 75.00 %, balanced accuracy 83.33 %" in text
    assert "Always the most frequent class (0) would have 75.00 %." in text
    assert "| 0 | 3 | 66.67 | 100.00 | 1 (1) |" in text
    assert "| 1 | 1 | 100.00 | 50.00 | \N{EN DASH} |" in text


def test_many_classes_show_those_with_the_lowest_recall(here):
    folder = make_study(here / "sweeps/single")
    rows = [{"sample": i, "label": i % 50, "prediction": 0 if i == 49 else i % 50} for i in range(100)]
    fileio.write_rows(folder / "predictions.csv", columns.PREDICTION_COLUMNS, rows)
    report.main([])
    text = (here / "reports/single.md").read_text()
    assert "The 30 of 50 classes with the lowest recall." in text
    assert "| 49 | 2 | 50.00 | 100.00 | 0 (1) |" in text


def test_device_seconds_are_added_up(here):
    make_study(here / "sweeps/single")
    report.main([])
    assert "Device seconds in all: 374 (search 264, confirmation 110)" in (here / "reports/single.md").read_text()


def two_candidates(here):
    """Trials 0 and 1 replicated three times each; trial 1 has the better validation score over its seeds."""
    folder = make_study(here / "sweeps/single", replicates=6)
    configure(folder, study__confirm=2, study__replicates=3)
    numbered = itertools.count()

    def change(row):
        k = next(numbered)
        trial = k // 3
        value = {"trial": str(trial), "seed": str(k % 3), "val_accuracy": str(0.95 + 0.01 * trial)}
        return {**row, **value, "test_accuracy": str(0.97 - 0.01 * trial)}

    rows_of(folder, "replicates.csv", change)
    rows_of(folder, "trials.csv", lambda row: {**row, "val_accuracy": "0.99" if row["number"] == "0" else "0.9"})
    return folder


def test_candidates_stand_with_their_means_and_the_pick_is_by_validation(here):
    two_candidates(here)
    report.main([])
    text = (here / "reports/single.md").read_text()
    assert "Test accuracy **96.00 ± 0.00 %**" in text
    assert "The 2 best configurations were trained afresh with the same seeds; trial 1 is picked" in text
    assert "Trial 0, the best of the search, is not: its one run there was luck in part." in text
    assert "| 1 | 90.00 | 96.00 ± 0.00 | 3 | 96.00 ± 0.00 | picked |" in text
    assert "| 0 | 99.00 | 95.00 ± 0.00 | 3 | 97.00 ± 0.00 | \N{EN DASH} |" in text
    assert "| trial | seed | state |" in text
    assert "replicates failed or gave no finite" not in text


def regression(here, **more):
    folder = make_study(here / "sweeps/adding", replicates=3)
    configure(folder, study__objective="val_mse", study__direction="minimize", dataset__name="adding")
    facts(folder, name="adding", task="regression", baselines={"always predicting 1": 1 / 6}, **more)

    def change(row):
        seed = int(row["seed"]) % 3
        lost = dict.fromkeys(("val_accuracy", "test_accuracy", "train_accuracy"), "")
        found = {"test_mse": f"0.0{1 + seed}", "test_mae": "0.08", "val_mse": str(0.01 + seed / 1000)}
        return {**row, **lost, **found}

    rows_of(folder, "replicates.csv", change)
    rows_of(folder, "trials.csv", change)
    rows_of(folder, "history.csv", lambda row: {**row, "val_accuracy": "", "train_accuracy": "", "val_mse": "0.02"})
    for name in ("predictions.csv", "worst.csv"):
        edit(folder / name, lambda lines: lines[:1])
    return folder


def test_a_regression_shows_errors_its_baseline_and_no_classes(here):
    regression(here)
    report.main([])
    text = (here / "reports/adding.md").read_text()
    assert "Test MSE **0.02 ± 0.025** (mean and 95 % t interval, n = 3 seeds;" in text
    assert "| seed | state | test MSE | test MAE | val MSE |" in text
    assert "| 0 | COMPLETE | 0.01 | 0.08 | 0.01 |" in text
    assert "In closed form, without learning (MSE): always predicting 1: 0.1667." in text
    assert "No confusion matrix: the task is regression." in text
    assert "(figures/adding-curves.svg)" in text
    assert "nan" not in re.sub(r"nan 1\.|\| nan \|", "", text.lower())  # but as the reason of a failure


def test_a_class_per_timestep_is_said_to_be_per_position(here):
    folder = make_study(here / "sweeps/copy")
    facts(folder, name="copy", task="tagging", baselines={"without memory": 0.1})
    edit(folder / "predictions.csv", lambda lines: lines[:1])
    report.main([])
    text = (here / "reports/copy.md").read_text()
    assert "Test accuracy per position **" in text
    assert "(cross-entropy): without memory: 0.1." in text
    assert "No confusion matrix: the task is tagging." in text


def test_the_front_of_small_examples() -> None:
    up, both = ["maximize", "minimize"], ["minimize", "minimize"]
    points = [(1.0, 1.0), (2.0, 2.0), (2.0, 3.0), (0.5, 1.0), (2.0, 2.0)]
    assert pareto.front(points, up) == [0, 1, 4]
    assert pareto.front(points, both) == [3]
    assert pareto.front([], up) == []


def test_the_front_is_what_comparing_every_pair_gives() -> None:
    rng = np.random.default_rng(0)
    points = [tuple(map(float, row)) for row in rng.integers(0, 6, (80, 3))]
    ways = ["maximize", "minimize", "maximize"]
    signs = np.array([-1, 1, -1])
    rows = np.array(points) * signs
    kept = [i for i, a in enumerate(rows) if not any((b <= a).all() and (b < a).any() for b in rows)]
    assert pareto.front(points, ways) == kept


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_hypervolume_is_what_counting_cells_gives(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    points = [tuple(map(float, row)) for row in rng.integers(0, 7, (12, dimensions))]
    cells = itertools.product(range(7), repeat=dimensions)
    counted = sum(any(all(p[k] <= c[k] for k in range(dimensions)) for p in points) for c in cells)
    assert pareto.hypervolume(points, (7.0,) * dimensions, ["minimize"] * dimensions) == counted
    flipped = [tuple(-v for v in p) for p in points]
    assert pareto.hypervolume(flipped, (-7.0,) * dimensions, ["maximize"] * dimensions) == counted


OBJECTIVES = {"val_accuracy": "maximize", "n_weights": "minimize", "train_samples_per_s": "maximize"}


def test_several_objectives_show_their_front_with_its_hypervolume_and_figure(here):
    folder = make_study(here / "sweeps/pareto")
    configure(folder, study__objectives=dict(list(OBJECTIVES.items())[:2]))
    values = {"0": ("0.9", "100"), "1": ("0.8", "50"), "2": ("0.7", "200")}

    def change(row):
        accuracy, weights = values.get(row["number"], ("0.7", "200"))
        return {**row, "state": "COMPLETE", "reason": "", "val_accuracy": accuracy, "n_weights": weights}

    rows_of(folder, "trials.csv", change)
    report.main([])
    text = (here / "reports/pareto.md").read_text()
    # box 0.2 x 150; (0.9, 100) covers 0.2 x 100, (0.8, 50) 0.1 x 50 more: 25 of 30
    assert "Of 12 complete trials 2 are dominated by no other" in text
    assert "Hypervolume: 0.8333 of the box" in text
    assert text.index("| 0 | 90.00 | 100 |") < text.index("| 1 | 80.00 | 50 |")
    assert "(figures/pareto-front.svg)" in text


@pytest.mark.parametrize("lost", ["trials", "column", "nan"])
def test_a_front_of_nothing_says_so(here, lost):
    folder = make_study(here / "sweeps/pareto")
    configure(folder, study__objectives={**OBJECTIVES, **({"f1": "maximize"} if lost == "column" else {})})
    if lost == "trials":
        edit(folder / "trials.csv", lambda lines: lines[:1])
    if lost == "nan":
        rows_of(folder, "trials.csv", lambda row: {**row, "n_weights": "nan"})
    assert report.main([]) == 0
    text = (here / "reports/pareto.md").read_text()
    assert "no trial is complete with finite values of all." in text
    assert "front.svg" not in text


def test_studies_of_one_objective_have_no_front(here):
    folder = make_study(here / "sweeps/single")
    assert pareto_front.front(records.load(folder)) is None
    assert pareto_front.section(records.load(folder)) == []


@pytest.mark.parametrize("third", [False, True])
def test_a_front_is_drawn(third: bool) -> None:
    rng = np.random.default_rng(0)
    trials = pd.DataFrame({"number": np.arange(30.0), **{name: rng.random(30) + 1 for name in OBJECTIVES}})
    objectives = OBJECTIVES if third else dict(list(OBJECTIVES.items())[:2])
    points = [tuple(map(float, row)) for row in trials[list(objectives)].to_numpy()]
    members = trials.iloc[pareto.front(points, list(objectives.values()))]
    made = figure.pareto(trials, members, objectives)
    assert made.axes[0].get_xlabel() == "weights (less is better)"
    assert len(made.axes) == 1 + third
    assert f"front ({len(members)})" in [text.get_text() for text in made.axes[0].get_legend().get_texts()]


def test_slices_have_a_panel_per_path_and_leave_out_what_is_not_complete() -> None:
    trials = pd.DataFrame({
        "number": [0.0, 1, 2, 3], "state": ["COMPLETE", "PRUNED", "COMPLETE", "COMPLETE"],
        "val_loss": [0.5, 0.1, 0.2, math.nan], "config_a": ["1", "2", "3", "4"], "config_b": ["x", "y", "x", ""],
    })  # fmt: skip
    space = {"a": {"type": "int", "low": 1, "high": 4}, "b": {"type": "categorical", "choices": ["x", "y"]}}
    made = figure.slices(trials, space, "val_loss", maximize=False)
    axes = [a for a in made.axes if a.get_visible()]
    assert [a.get_xlabel() for a in axes] == ["a", "b"]
    assert axes[0].collections[0].get_offsets().tolist() == [[1, 0.5], [3, 0.2]]
    assert axes[0].collections[1].get_offsets().tolist() == [[3, 0.2]]  # the ring


@pytest.mark.parametrize("maximize", [False, True])
def test_pairs_have_a_panel_per_plane_with_the_best_ringed(maximize) -> None:
    trials = pd.DataFrame({
        "number": [0.0, 1, 2, 3], "state": ["COMPLETE", "PRUNED", "COMPLETE", "COMPLETE"],
        "val_loss": [0.5, 0.1, 0.2, math.nan], "config_a": ["1", "2", "3", "4"], "config_b": ["x", "y", "x", ""],
        "config_c": ["0.1", "0.2", "0.3", "0.4"],
    })  # fmt: skip
    space = {
        "a": {"type": "int", "low": 1, "high": 4}, "b": {"type": "categorical", "choices": ["x", "y"]},
        "c": {"type": "float", "low": 0.1, "high": 1, "log": True},
    }  # fmt: skip
    made = figure.pairs(trials, space, "val_loss", maximize)
    axes = {(a.get_xlabel(), a.get_ylabel()): a for a in made.axes[:4] if a.get_visible()}
    assert set(axes) == {("", "b"), ("a", "c"), ("b", "")}
    plane = axes["a", "c"]
    assert plane.get_yscale() == "log" and plane.get_xscale() == "linear"
    assert sorted(plane.collections[0].get_offsets().tolist()) == [[1, 0.1], [3, 0.3]]
    assert plane.collections[1].get_offsets().tolist() == [[1, 0.1] if maximize else [3, 0.3]]


def test_of_many_paths_the_most_important_make_the_planes(here):
    folder = make_study(here / "sweeps/single")
    study = records.load(folder)
    paths = [f"p{n}" for n in range(7)]
    study.config["study"]["space"] = {path: {"type": "float", "low": 0.0, "high": 1.0} for path in paths}
    for path in paths:
        study.trials["config_" + path] = np.linspace(0, 1, len(study.trials)).astype(str)
    shares = importance.Importance({path: (path == "p6") / 1 for path in paths}, {}, 9, 0.1, 9, 9)
    make, caption = study_figures.study_figure_makers(study, shares)["pairs"]
    assert list(make.args[1]) == ["p6", "p0", "p1", "p2", "p3"]
    assert "(5 of 7, by importance)" in caption


def test_the_test_set_s_own_error_stands_beside_the_spread_of_the_seeds(here):
    make_study(here / "sweeps/single", accuracies=[0.97, 0.972, 0.974, 0.976, 0.978])
    path = here / "sweeps/single/environment.json"
    environment = json.loads(path.read_text())
    environment["dataset"]["n_test"] = 10000
    path.write_text(json.dumps(environment))
    report.main([])
    text = (here / "reports/single.md").read_text()
    assert "The 10,000 test samples alone leave 97.07 to 97.69 % open" in text
    assert "standard error 0.16 %); the seeds' standard deviation is 0.32 %" in text
    environment["dataset"]["task"] = "tagging"
    path.write_text(json.dumps(environment))
    report.main([])
    assert "test samples alone" not in (here / "reports/single.md").read_text()


def test_published_scores_stand_beside_ours_with_conditions_and_source(here):
    make_study(here / "sweeps/single", accuracies=[0.97, 0.98])
    regression(here)
    make_study(here / "sweeps/unconfirmed", accuracies=[])
    report.main([])
    text = (here / "reports/literature.md").read_text()
    mnist = text[text.index("## MNIST by rows") : text.index("## sequential MNIST")]
    assert (
        "| published | LSTM | 24.1 k | 98.5 % | \N{EN DASH} | one run | lh9171338/MNIST-Classify README, commit f0939508 |"
        in mnist
    )
    assert (
        "| ours | [single](single.md) | 24,714 | 97.50 ± 6.35 % | 2 | 50,000 training samples, 3 epochs, Xeon Test"
        in mnist
    )
    assert "unconfirmed" not in text
    adding = text[text.index("## adding problem") : text.index("## copy memory")]
    assert "| published | always predicting 1 | 0 | 0.167 |" in adding
    assert "| ours | [adding](adding.md) |" in adding and "| 0.02 ± 0.025 | 3 |" in adding
    assert text.count("Not measured here.") == 7


def test_every_published_score_names_its_source() -> None:
    literature = options._conf("literature.yaml")
    for group in literature["scores"]:
        for entry in group["entries"]:
            assert entry["source"] and entry["conditions"] and entry["score"], entry


def test_hostile_facts_start_no_markup(here):
    folder = make_study(here / "sweeps/single")
    facts(folder, task="<img src=x>", baselines={"<img src=x>": "<img src=x>"})
    configure(folder, study__objectives={"<img src=x>": "<img src=x>"}, sampler__name="<img src=x>")
    configure(folder, train__optimizer="```\n<img src=x>", study__space={"model.units": {"type": "<img src=x>"}})
    environment = yaml.safe_load((folder / "environment.json").read_text())
    environment |= {"python": "<img src=x>", "git": {"commit": "`<img src=x>"}, "packages": {"keras": "1; <img src=x>"}}
    fileio.write_json(folder / "environment.json", environment)
    edit(folder / "predictions.csv", lambda lines: lines[:1])
    assert report.main([]) == 0
    text = (here / "reports/single.md").read_text()
    outside = re.sub(r"```sh\n.*?\n```", "", text, flags=re.DOTALL).replace("\\`", "")
    assert "<img" not in re.sub(r"`[^`]*`", "", outside)
    assert text.count("\n```") == 2
