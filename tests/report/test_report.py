"""Reports of made-up studies: written through `record`, so that the columns are those of a real one."""

import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from conftest import undrawn

from lstm_bench.core import fileio, hardware
from lstm_bench.report import command as report
from lstm_bench.report import manifest as manifests
from lstm_bench.report.figures import study as figure
from lstm_bench.report.figures import style
from lstm_bench.report.figures.comparison import accuracy_against_weights
from lstm_bench.report.pages import budget_and_fronts, study_figures, what_was_run
from lstm_bench.report.render import markdown
from lstm_bench.report.sources import records
from lstm_bench.study import columns

ROOT = Path(report.__file__).parents[2]
DEVICE = "Xeon Test @ 2.20GHz"
FAMILIES = {"single": (24714, 0.97), "stacked": (220874, 0.985), "cnn_lstm": (91594, 0.987), "simple_rnn": (6858, 0.95)}


def measured(rng, accuracy, n_weights, **more):
    """The columns that trials and replicates share."""
    return {
        "val_accuracy": accuracy,
        "val_loss": -float(np.log(accuracy)),
        "train_accuracy": accuracy + 0.004,
        "train_loss": -float(np.log(accuracy + 0.004)),
        "n_weights": n_weights,
        "n_trainable": n_weights - 128,
        "epochs": 3,
        "train_samples_per_s": 9000 + float(rng.normal(0, 200)),
        "kernel_ran": "generic",
        "backend": "tensorflow",
        "device": DEVICE,
        "device_share": "1 core of 2, other busy",
        "setup_s": 0.5,
        "compile_s": 2.0,
        "train_s": 18.0,
        "eval_s": 1.5,
        "total_s": 22.0,
        **more,
    }


def make_study(folder, *, n_trials=12, replicates=5, accuracies=None, n_weights=None, seed=0, **config):
    """Writes the records of a plausible study into `folder`; a family's name there sets weights and accuracy."""
    rng = np.random.default_rng(seed)
    family = folder.name.removeprefix("tutorial_")
    weights, level = FAMILIES.get(family, (10000, 0.9))
    weights = n_weights or weights
    folder.mkdir(parents=True, exist_ok=True)
    fileio.write_yaml(
        folder / "config.yaml",
        {
            "dataset": {"name": "mnist", "validation_size": 10000},
            "model": {"_target_": f"lstm_bench.model.{family}", "units": 64, "layers": 2, "dropout": 0.2},
            "kernel": {"name": "auto", "probe": True},
            "backend": {"name": "tensorflow"},
            "train": {
                "epochs": 3,
                "batch_size": 64,
                "optimizer": "adam",
                "learning_rate": 0.001,
                "schedule": {"name": "cosine"},
            },
            "sampler": {"name": "tpe"},
            "pruner": {"name": "median", "n_startup_trials": 5},
            "study": {
                "name": folder.name,
                "n_trials": n_trials,
                "replicates": replicates,
                "objective": "val_accuracy",
                "direction": "maximize",
                "seed": 0,
                "space": {
                    "model": {"units": {"type": "int", "low": 32, "high": 192, "log": True}},
                    "train.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
                },
            },
            **config,
        },
    )
    fileio.write_json(
        folder / "environment.json",
        {
            "lstm_bench": "0.1.0",
            "python": "3.11.2",
            "platform": "Linux-6.1-x86_64",
            "packages": {"keras": "3.15.1", "tensorflow": "2.21.0", "optuna": "5.0.0", "numpy": "2.3.0"},
            "git": {"commit": "0123456789abcdef", "dirty": False},
            "device": {"name": DEVICE},
            "dataset": {"name": "mnist", "sha256": "ab" * 32, "source": "idx files", "n_train": 50000},
        },
    )
    trials, history = [], []
    for number in range(n_trials):
        rate = float(10 ** rng.uniform(-4, -2))
        units = int(rng.integers(32, 192))
        accuracy = level - 0.02 * abs(np.log10(rate) + 2.7) - 0.01 * float(rng.random())
        ends = {3: ("PRUNED", "", 2), 5: ("FAIL", "nan", 1), 9: ("PRUNED", "", 1)}
        state, reason, epochs = ends.get(number % 12, ("COMPLETE", "", 3))
        row = measured(rng, accuracy, weights + units) | {"epochs": epochs}
        if state == "FAIL":
            row |= {"val_accuracy": float("nan"), "val_loss": float("inf"), "kernel_ran": ""}
        trials.append(
            {"number": number, "state": state, "reason": reason, "seed": number, **row}
            | {"config_model.units": units, "config_train.learning_rate": rate}
        )
        for epoch in range(1, epochs + 1):
            shown = accuracy - 0.12 / epoch**2 + 0.12 / 9
            history.append(
                {
                    "kind": "trial",
                    "number": number,
                    "epoch": epoch,
                    "val_accuracy": shown,
                    "train_accuracy": shown - 0.02,
                }
            )
    accuracies = [level + 0.0005 * (k % 5) for k in range(replicates)] if accuracies is None else accuracies
    seeds = []
    for k, accuracy in enumerate(accuracies):
        row = measured(rng, level, weights)
        seeds.append({"seed": k, "state": "COMPLETE", "test_accuracy": accuracy, "test_loss": 0.05, **row})
        for epoch in (1, 2, 3):
            shown = level - 0.1 / epoch**3 + 0.1 / 27 + 0.001 * k  # hardly rises when it ends
            history.append(
                {
                    "kind": "replicate",
                    "number": k,
                    "epoch": epoch,
                    "val_accuracy": shown,
                    "train_accuracy": shown - 0.01,
                }
            )
    searched = ("config_model.units", "config_train.learning_rate")
    fileio.write_rows(folder / "trials.csv", (*columns.TRIAL_COLUMNS, *searched), trials)
    fileio.write_rows(folder / "replicates.csv", columns.REPLICATE_COLUMNS, seeds)
    fileio.write_rows(folder / "history.csv", columns.HISTORY_COLUMNS, history)
    labels = rng.integers(0, 10, 2000)
    said = np.where(rng.random(2000) < 0.03, rng.integers(0, 10, 2000), labels)
    fileio.write_rows(
        folder / "predictions.csv",
        columns.PREDICTION_COLUMNS,
        [
            {"sample": k, "label": a, "prediction": b, "probability": 0.9}
            for k, (a, b) in enumerate(zip(labels, said, strict=True))
        ],
    )
    images = [np.outer(np.hanning(28), np.roll(np.hanning(28), 3 * k)) for k in range(6)]
    fileio.write_rows(
        folder / "worst.csv",
        columns.WORST_COLUMNS,
        [
            {
                "sample": 10 * k,
                "label": 4,
                "prediction": 9,
                "probability": 0.999 - k / 100,
                "timesteps": 28,
                "features": 28,
            }
            | {"values": " ".join(f"{v:.3f}" for v in image.ravel())}
            for k, image in enumerate(images)
        ],
    )
    kernel = {"backend": "tensorflow", "n": 20, "batch_size": 64, "device": DEVICE}
    fileio.write_rows(
        folder / "kernels.csv",
        columns.KERNEL_COLUMNS,
        [
            {**kernel, "kernel": "cudnn", "reason": "no GPU is visible", "n": None, "device": ""},
            {**kernel, "kernel": "generic", "kernel_ran": "generic", "train_samples_per_s": 9123.4, "step_ms": 7.014}
            | {"p10_samples_per_s": 9000, "p90_samples_per_s": 9200, "compile_s": 1.25, "evidence": "While"},
        ],
    )
    return folder


def edit(path, change):
    """Rewrites a record's lines, header first, by `change`."""
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(change(lines)))


def sums(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pages_only(monkeypatch):
    """Draws no figure: what is tested are tables and files."""
    from lstm_bench.report.figures import style

    monkeypatch.setattr(style, "pictures", undrawn)


@pytest.mark.usefixtures("pages_only")
def test_the_comparison_names_mean_interval_n_weights_speed_kernel_and_device(here, capsys):
    make_study(here / "sweeps/single", accuracies=[0.97, 0.972, 0.974, 0.976, 0.978])
    assert report.main([]) == 0
    text = (here / "reports/comparison.md").read_text()
    speed = np.median(
        [float(r["train_samples_per_s"]) for r in fileio.read_rows(here / "sweeps/single/replicates.csv")]
    )
    # s = sqrt(1e-5) = 0.0031623; t(4, .975) s / sqrt(5) = 2.776445 * 0.0014142 = 0.0039265
    assert (
        f"| [single](single.md) | single | 97.40 ± 0.39 | 5 | not recorded | 24,714 | {speed:,.0f} | generic |\n"
    ) in text
    assert (
        "**[single](single.md)** alone has **97.40 ± 0.39 %** (mean and 95 % t interval, n = 5 seeds; 50,000 training "
        f"samples), with 24,714 "
        f"weights and {speed:,.0f} samples/s."
    ) in text
    assert f"3 epochs; {DEVICE}, 1 core of 2, other busy. Data: mnist." in text
    row = fileio.read_rows(here / "reports/comparison.csv")[0]
    assert row["study"] == "single"
    assert float(row["score_mean"]) == pytest.approx(0.974)
    assert float(row["score_half_width_95"]) == pytest.approx(0.0039265, abs=1e-6)
    assert (row["n"], row["n_weights"], row["trials_failed"], row["source"]) == ("5", "24714", "1", "working")
    spread = [float(row[name]) for name in ("score_bootstrap_low_95", "score_bootstrap_high_95", "score_sd")]
    assert spread == pytest.approx([0.9716, 0.9764, 0.0031623], abs=1e-6)
    assert (row["backend"], row["device"], row["epochs"]) == ("tensorflow", DEVICE, "3")
    out = capsys.readouterr().out
    assert "97.40 ± 0.39" in out
    assert str(Path("reports/comparison.md")) in out


@pytest.mark.usefixtures("pages_only")
def test_rows_are_sorted_by_data_then_accuracy_then_name(here):
    for name in FAMILIES:
        make_study(here / "sweeps" / name)
    make_study(here / "sweeps/unconfirmed", accuracies=[])
    report.main([])
    rows = fileio.read_rows(here / "reports/comparison.csv")
    assert [r["study"] for r in rows] == ["cnn_lstm", "stacked", "single", "simple_rnn", "unconfirmed"]


def test_the_study_page_says_how_long_sequences_are():
    known = {"min": 7, "median": 15.0, "max": 1029, "padding": 0.4625}
    for lengths, text in (
        (known, "mine; 7 to 1,029 timesteps, median 15: 46.2 % of the timesteps are padding"),
        ({}, "mine"),
    ):
        result = records.Result(Path(), "mine", environment={"dataset": {"name": "mine", "lengths": lengths}})
        assert what_was_run._data(result) == text


@pytest.mark.usefixtures("pages_only")
def test_the_study_page_holds_result_data_space_seeds_kernels_failures_and_command(here):
    make_study(here / "sweeps/stacked")
    report.main([])
    text = (here / "reports/stacked.md").read_text()
    best = records.load(here / "sweeps/stacked").best
    for part in (
        "Test accuracy **98.60 ± 0.10 %** (mean and 95 % t interval, n = 5 seeds; 220,874 weights, kernel generic,",
        "| data SHA-256 | `" + "ab" * 32 + "` |",
        "| family | stacked (layers=2 dropout=0.2) |",
        "| training | epochs=3 batch\\_size=64".replace("\\", ""),
        "| pruner | median (n_startup_trials=5) |",
        "| commit | `0123456789abcdef` |",
        "| `model.units` | int | 32 to 192, log |",
        "| `train.learning_rate` | float | 0.0001 to 0.01, log |",
        f"| {best['number']:.0f} | {100 * best['val_accuracy']:.2f} |",
        f"| {best['config_model.units']} | {float(best['config_train.learning_rate']):.4g} |",
        "| 4 | COMPLETE | 98.70 | 0.05 | 98.50 |",
        "unavailable: no GPU is visible",
        "| tensorflow | generic | generic | 9,123 | 9,000 to 9,200 | 20 | 7.01 | 1.25 | 64 |",
        "No speedup of cuDNN over generic",
        "| trial | 5 | nan | – |",  # noqa: RUF001
        "python -m lstm_bench.sweep +study=stacked dataset.validation_size=10000 ",
        "pip install -e . tensorflow==2.21.0 keras==3.15.1 numpy==2.3.0 optuna==5.0.0\n",
        "Too few complete trials to tell: 9, at least 10 are needed.",
        "`sweeps/stacked/`",
        "(figures/stacked-curves.svg)",
        "(figures/stacked-confusion.svg)",
        "Drawn by `python -m lstm_bench.report studies=stacked figures=all`, into this page:",
        "- Optimisation history: 9 complete, 2 pruned, 1 failed trials, and the best so far; ",
    ):
        assert part in text, part


@pytest.mark.usefixtures("pages_only")
def test_a_page_shows_its_essential_figures_and_all_when_asked(here):
    make_study(here / "sweeps/stacked")
    report.main([])
    assert {path.name for path in (here / "reports/figures").glob("stacked-*")} == {
        "stacked-curves.svg", "stacked-confusion.svg",
    }  # fmt: skip
    assert report.main(["figures=all", "check=true"]) == 6
    report.main(["figures=all", "studies=stacked"])
    text = (here / "reports/stacked.md").read_text()
    for name in ("history", "slices", "pairs", "curves", "confusion", "worst"):
        assert f"(figures/stacked-{name}.svg)" in text
        assert (here / f"reports/figures/stacked-{name}.svg").exists()
    assert "## More figures" not in text
    assert report.main(["figures=all", "check=true"]) == 0
    report.main([])
    assert not (here / "reports/figures/stacked-worst.svg").exists()


@pytest.mark.usefixtures("pages_only")
def test_what_is_asked_for_beside_the_pages_changes_no_committed_file_and_no_check(here):
    make_study(here / "sweeps/single", n_trials=2)
    report.main([])
    before = sums(here / "reports")
    asked = ["png=true", "pdf=true", "latex=true", "html=true", "columns=study,score"]
    assert report.main([*asked, "check=true"]) == 0
    assert sums(here / "reports") == before
    report.main(asked)
    after = sums(here / "reports")
    assert {path: after.get(path) for path in before} == before
    more = set(after) - set(before)
    assert {"png/single-curves.png", "pdf/single-curves.pdf", "latex/single/kernels.tex", "report.html"} < more
    assert {"latex/comparison.tex", "csv/comparison.csv"} < more
    listed = json.loads((here / "reports/MANIFEST.json").read_text())["files"]
    assert set(listed) == set(before) - {"MANIFEST.json"}
    assert {path.rpartition(".")[2] for path in listed} == {"md", "csv", "svg"}
    assert report.main(["check=true"]) == 0


@pytest.mark.usefixtures("pages_only")
def test_what_was_asked_for_goes_with_its_study_but_no_edited_file_does(here):
    for name in ("single", "stacked"):
        make_study(here / "sweeps" / name, n_trials=2)
    report.main(["png=true", "latex=true"])
    (here / "reports/latex/stacked/kernels.tex").write_text("mine")
    for file in (here / "sweeps/stacked").iterdir():
        file.unlink()
    report.main(["png=true", "latex=true", "studies=single"])
    assert (here / "reports/png/stacked-curves.png").exists()
    report.main(["png=true", "latex=true"])
    assert not (here / "reports/png/stacked-curves.png").exists()
    assert [path.name for path in (here / "reports/latex/stacked").iterdir()] == ["kernels.tex"]
    assert (here / "reports/png/single-curves.png").exists()


@pytest.mark.usefixtures("pages_only")
def test_speedup_of_cudnn_over_generic(here):
    folder = make_study(here / "sweeps/stacked")
    arm = {"backend": "tensorflow", "n": 20, "batch_size": 64, "device": "H200"}
    rows = [
        {**arm, "kernel": "cudnn", "kernel_ran": "cudnn", "train_samples_per_s": 50000.0, "evidence": "CudnnRNNV3"},
        {**arm, "kernel": "generic", "kernel_ran": "generic", "train_samples_per_s": 10000.0}
        | {"device_share": "exclusive; other load 80 %"},
    ]
    fileio.write_rows(folder / "kernels.csv", columns.KERNEL_COLUMNS, rows)
    report.main([])
    text = (here / "reports/stacked.md").read_text()
    assert "cuDNN over generic on tensorflow, H200: 5.00x." in text
    disturbed = {
        line.split(" | ")[1]: "H200; other load 80 %" in line
        for line in text.splitlines()
        if "H200 " in line or "H200;" in line
    }
    assert disturbed["cudnn"] is False and disturbed["generic"] is True


@pytest.mark.usefixtures("pages_only")
def test_claims_stand_beside_what_was_measured(here):
    make_study(here / "sweeps/tutorial_single", accuracies=[0.969, 0.968, 0.949])
    make_study(here / "sweeps/tutorial_simple_rnn")
    make_study(here / "sweeps/tutorial_stacked")
    report.main([])
    text = (here / "reports/claims.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| tutorial_single |")]
    assert "about 96 % after 10 epochs | 96.20 ± 2.80 % (+0.20 points); seeds from 94.90 to 96.90" in lines[0]
    assert "4.00 (23,808 against 5,952)" in lines[1]
    assert "221,898 weights (with CuDNNLSTM) | 220,874 weights" in text
    assert (
        "| tutorial_cnn_lstm | no sizes and no figure; two ways of wrapping with TimeDistributed | not measured |"
        in text
    )
    comparison = (here / "reports/comparison.md").read_text()
    assert "1. Validates on the test set, as the tutorial did." in comparison
    assert "[tutorial_stacked](tutorial_stacked.md)<sup>1</sup>" in comparison


@pytest.mark.usefixtures("pages_only")
def test_speed_measured_on_a_shared_device_is_left_out_and_said(here):
    folder = make_study(here / "sweeps/single")
    for name in ("trials.csv", "replicates.csv"):
        edit(folder / name, lambda lines: [line.replace('"1 core of 2, other busy"', "shared") for line in lines])
    report.main([])
    text = (here / "reports/comparison.md").read_text()
    assert "| 24,714 | – | generic |" in text  # noqa: RUF001
    assert "1. Shared device: the speed compares with nothing and is left out." in text
    assert "no figure of the speed" in text
    assert fileio.read_rows(here / "reports/comparison.csv")[0]["train_samples_per_s"] == ""


@pytest.mark.usefixtures("pages_only")
def test_speed_of_packed_seeds_is_left_out_and_their_seconds_count_once(here):
    folder = make_study(here / "sweeps/single", n_trials=1)
    whole = (here / "sweeps/single/replicates.csv").read_text()
    edit(
        folder / "replicates.csv",
        lambda lines: [line.replace('"1 core of 2, other busy"', "packed 5") for line in lines],
    )
    assert (here / "sweeps/single/replicates.csv").read_text() != whole
    report.main([])
    text = (here / "reports/comparison.md").read_text()
    assert "| 24,714 | – | generic |" in text  # noqa: RUF001
    assert "1. Packed trainings: the speed compares with nothing and is left out." in text
    assert "no figure of the speed" in text
    page = (here / "reports/single.md").read_text()
    assert "speed not comparable (packed trainings)" in page
    assert "Packed seeds were trained in one program: the seconds of each are those of all." in page
    line = next(line for line in page.splitlines() if line.startswith("| all replicates, sum |"))
    assert line.endswith("| 22.0 |"), line  # five rows of 22 seconds, which the pack took once


@pytest.mark.usefixtures("pages_only")
def test_the_seconds_of_packed_trials_count_once(here):
    folder = make_study(here / "sweeps/single", n_trials=8)
    before = records.load(folder)
    edit(folder / "trials.csv", lambda lines: [line.replace('"1 core of 2, other busy"', "packed 4") for line in lines])
    packed = records.load(folder)
    assert packed.search_s == pytest.approx(before.search_s / 4) != 0
    spent = [budget_and_fronts.curve(one).device_s[-1] for one in (before, packed)]
    assert spent[1] == pytest.approx(spent[0] / 4)


@pytest.mark.usefixtures("pages_only")
def test_published_and_working_studies_do_not_share_a_file(here):
    make_study(here / "sweeps/published/cpu-2/stacked")
    report.main([])
    before = sums(here / "reports")
    assert "cpu-2/stacked.md" in before
    make_study(here / "sweeps/stacked", seed=7, accuracies=[0.9, 0.91])
    make_study(here / "sweeps/mine")
    report.main([])
    after = sums(here / "reports")
    assert {k: v for k, v in after.items() if not k.startswith("working/")} == before
    assert {"working/stacked.md", "working/mine.md", "working/comparison.md"} <= set(after)
    text = (here / "reports/working/comparison.md").read_text()
    assert "[stacked](../cpu-2/stacked.md)" in text
    assert "| published/cpu-2 |" in text
    assert "[stacked](stacked.md)" in text
    assert report.main(["sweeps=sweeps/published", "check=true"]) == 0
    assert report.main(["check=true"]) == 0


@pytest.mark.usefixtures("pages_only")
def test_pages_of_studies_that_are_gone_are_removed_but_never_a_users_file(here, capsys):
    make_study(here / "sweeps/single")
    make_study(here / "sweeps/stacked")
    report.main([])
    (here / "reports/mine.md").write_text("notes")
    (here / "reports/figures/mine.svg").write_text("<svg/>")
    (here / "reports/stacked.md").write_text("edited by hand")
    manifest = json.loads((here / "reports/MANIFEST.json").read_text())
    manifest["files"]["../outside.md"] = hashlib.sha256(b"x").hexdigest()
    (here / "reports/MANIFEST.json").write_text(json.dumps(manifest))
    (here / "outside.md").write_text("x")
    for file in (here / "sweeps/stacked").iterdir():
        file.unlink()
    capsys.readouterr()
    assert report.main(["check=true"]) == 6
    assert "left over: reports/figures/stacked-confusion.svg" in capsys.readouterr().err
    assert report.main([]) == 0
    left = sums(here / "reports")
    assert {"mine.md", "figures/mine.svg", "stacked.md"} <= set(left)
    assert "figures/stacked-curves.svg" not in left
    assert "reports/stacked.md is no longer made, but was edited" in capsys.readouterr().out
    assert (here / "outside.md").exists()


@pytest.mark.usefixtures("pages_only")
def test_check_names_what_is_stale_or_missing_and_writes_nothing(here, capsys, monkeypatch):
    make_study(here / "sweeps/single")
    monkeypatch.setattr(report, "_LISTED", 8)
    assert report.main(["check=true"]) == 6
    assert not (here / "reports").exists()
    shown = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in shown[:8]] == ["missing"] * 8
    report.main([])
    assert shown[8] == f"... and {len(sums(here / 'reports')) - 8} more" and shown[9].startswith("error: ")
    assert report.main(["check=true"]) == 0
    path = here / "reports/comparison.md"
    path.write_text(path.read_text().replace("98", "99").replace("97", "99"))
    (here / "reports/figures/single-curves.svg").unlink()
    before = sums(here / "reports")
    capsys.readouterr()
    assert report.main(["check=true"]) == 6
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["stale: reports/comparison.md", "missing: reports/figures/single-curves.svg"]
    assert lines[2].startswith("error: 2 of ")
    assert len(lines) == 3
    assert sums(here / "reports") == before


@pytest.mark.usefixtures("pages_only")
def test_figures_of_another_matplotlib_are_compared_by_checksum(here, capsys):
    make_study(here / "sweeps/single")
    report.main([])
    path = here / "reports/MANIFEST.json"
    manifest = json.loads(path.read_text())
    manifest["drawn_by"]["matplotlib"] = "1.0"
    path.write_text(json.dumps(manifest, indent=1) + "\n")
    assert report.main(["check=true"]) == 0
    assert "figures were drawn by other versions" in capsys.readouterr().out
    (here / "reports/figures/single-curves.svg").write_bytes(b"other")
    assert report.main(["check=true"]) == 6
    assert "stale: reports/figures/single-curves.svg" in capsys.readouterr().err


@pytest.mark.usefixtures("pages_only")
def test_a_second_run_writes_nothing(here, capsys):
    make_study(here / "sweeps/single")
    report.main([])
    times = {p: p.stat().st_mtime_ns for p in (here / "reports").rglob("*") if p.is_file()}
    capsys.readouterr()
    report.main([])
    assert ", 0 written" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in (here / "reports").rglob("*") if p.is_file()} == times


@pytest.mark.usefixtures("pages_only")
def test_studies_limits_the_pages_and_keeps_the_others(here):
    for name in ("single", "stacked"):
        make_study(here / "sweeps" / name)
    report.main(["studies=single"])
    assert not (here / "reports/stacked.md").exists()
    assert len(fileio.read_rows(here / "reports/comparison.csv")) == 2
    report.main([])
    report.main(["studies=single,stacked"])
    report.main(["studies=single"])
    assert (here / "reports/stacked.md").exists()
    assert report.main(["check=true"]) == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["sweps=x"], "Did you mean sweeps"),
        (["check"], "expected key=value, received 'check'"),
        (["check=maybe"], "check: expected true or false, received 'maybe'"),
        (["sweeps=nowhere"], "sweeps: expected a folder of studies, received 'nowhere'"),
        (["studies=singel"], "Did you mean single?"),
        (["sweeps=["], "sweeps: expected a folder of studies, received '['"),
        (["studies=["], "error: report options"),
        (["reports="], "reports: expected a folder"),
        (["figures=al"], "figures: expected essential or all, received 'al'. Did you mean all?"),
        (["png=1"], "png: expected true or false"),
        (["columns=study,wieghts"], "columns: expected columns of budget.csv, comparison.csv, received 'wieghts'"),
        (["columns=study,n_wieghts"], "Did you mean n_weights"),
        (
            ["columns=device_s,score_mean"],
            "columns: expected columns of one data file, received 'device_s, score_mean'",
        ),
        (["columns=[]"], "columns: expected names of columns, received 'none'"),
        (["columns=study,n", "names=Study"], "names: expected one for each of the 2 columns, received 'Study'"),
        (["names=Study"], "names: expected none without columns=, received 'Study'"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(here, capsys, args, said):
    make_study(here / "sweeps/single", n_trials=1)
    assert report.main(args) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not (here / "reports").exists()


def test_reports_that_cannot_be_written_are_exit_4(here, capsys):
    make_study(here / "sweeps/single", n_trials=1)
    (here / "reports").write_text("a file")
    assert report.main([]) == 4
    assert capsys.readouterr().err.startswith("error: reports/")


def test_no_studies_is_said_and_nothing_is_written(here, capsys):
    assert report.main([]) == 0
    assert "No studies below sweeps: run `python -m lstm_bench.sweep +study=stacked` first." in capsys.readouterr().out
    (here / "sweeps").mkdir()
    assert report.main(["check=true"]) == 0
    assert not (here / "reports").exists()


def test_help_is_instant_and_loads_no_pandas():
    code = (
        "import sys; from lstm_bench.report import command as report; report.main(['--help']);"
        "sys.exit(any(m in sys.modules for m in ('pandas', 'matplotlib', 'scipy', 'keras', 'optuna', 'mlflow')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "check=true" in done.stdout


def no_trials(folder):
    edit(folder / "trials.csv", lambda lines: lines[:1])
    return "0 of 12 trials are done"


def one_trial(folder):
    edit(folder / "trials.csv", lambda lines: lines[:2])
    return "1 of 12 trials are done: the search is unfinished or still running."


def all_failed(folder):
    edit(folder / "trials.csv", lambda lines: [line.replace(",COMPLETE,,", ",FAIL,oom,") for line in lines])
    (folder / "replicates.csv").unlink()
    return "No result"


def all_pruned(folder):
    edit(folder / "trials.csv", lambda lines: [line.replace(",COMPLETE,", ",PRUNED,") for line in lines])
    (folder / "replicates.csv").unlink()
    return "No trial is complete with a finite objective."


def nan_and_inf(folder):
    rows = fileio.read_rows(folder / "trials.csv")
    for k, row in enumerate(rows):
        row["val_accuracy"] = ("nan", "inf", "-inf")[k % 3]
    fileio.write_rows(folder / "trials.csv", list(rows[0]), rows)
    return "Complete without a finite val_accuracy, never a winner: trials 0, 1,"


def nan_replicates(folder):
    edit(folder / "replicates.csv", lambda lines: [line.replace(",0.9", ",nan") for line in lines])
    return "5 of 5 replicates failed or gave no finite accuracy"


def one_replicate(folder):
    edit(folder / "replicates.csv", lambda lines: lines[:2])
    return "(n = 1 seed, so no interval;"


def failed_replicate(folder):
    edit(folder / "replicates.csv", lambda lines: [*lines[:-1], lines[-1].replace(",COMPLETE,,", ",FAIL,oom,")])
    return "| replicate | seed 4 | oom |"


def no_replicates(folder):
    (folder / "replicates.csv").unlink()
    return "**Not confirmed on the test set.** The best of 9 complete trials"


def torn_last_line(folder):
    with (folder / "trials.csv").open("a") as file:
        file.write("12,COMPL")
    return "trials.csv ends in a torn line, which is left out."


def torn_line_inside(folder):
    edit(folder / "trials.csv", lambda lines: [*lines[:4], lines[4][:30] + "\n", *lines[5:]])
    return "trials.csv: 1 of 12 lines are torn and left out."


def binary(folder):
    (folder / "history.csv").write_bytes(b"\xff\xfe\x00kind\n\x80\n")
    return "history.csv cannot be read: UnicodeDecodeError."


def empty_files(folder):
    for file in folder.iterdir():
        file.write_text("")
    return "config.yaml does not hold a mapping."


def only_config(folder):
    for file in columns.FILES:
        (folder / file).unlink(missing_ok=True)
    return "**No result**: no trial is complete."


def no_config(folder):
    (folder / "config.yaml").unlink()
    (folder / "environment.json").write_text("{")
    return "environment.json cannot be read: it is no JSON ("


def nothing_searched(folder):
    (folder / "trials.csv").unlink()
    edit(folder / "history.csv", lambda lines: [line for line in lines if not line.startswith("trial")])
    edit(folder / "config.yaml", lambda lines: [line.replace("n_trials: 12", "n_trials: 0") for line in lines])
    return "Nothing was searched."


def odd_config(folder):
    fileio.write_yaml(folder / "config.yaml", {"study": "text", "model": None, "dataset": [1], "train": 3})
    return "Test accuracy **97.10 ± 0.10 %**"


def other_objective(folder):
    edit(
        folder / "config.yaml",
        lambda lines: [line.replace("objective: val_accuracy", "objective: f1") for line in lines],
    )
    return "trials.csv has no column f1, the objective."


def missing_columns(folder):
    (folder / "trials.csv").write_text("number,state,val_accuracy\n0,COMPLETE,0.9\n")
    return "| 0 | 90.00 |"


def hostile_text(folder):
    edit(
        folder / "trials.csv",
        lambda lines: [line.replace(",nan,", ",a|b `c` <img> [x](y)\u4e2d,", 1) for line in lines],
    )
    return "a\\|b \\`c\\` &lt;img&gt; \\[x\\](y)\u4e2d"


def repeated_rows(folder):
    edit(folder / "replicates.csv", lambda lines: [*lines, lines[-1], lines[-1].replace("0.05", "0.06", 1)])
    return "replicates.csv: 1 rows repeat a seed and are left out."


@pytest.mark.usefixtures("pages_only")
@pytest.mark.parametrize(
    "damage",
    [
        no_trials, one_trial, all_failed, all_pruned, nan_and_inf, nan_replicates, one_replicate, failed_replicate,
        no_replicates, torn_last_line, torn_line_inside, binary, empty_files, only_config, no_config, odd_config,
        other_objective, missing_columns, hostile_text, repeated_rows, nothing_searched,
    ],
)  # fmt: skip
def test_a_study_that_is_not_whole_is_reported_and_says_so(here, damage):
    folder = make_study(here / "sweeps/single")
    said = damage(folder)
    assert report.main([]) == 0
    assert said in (here / "reports/single.md").read_text()
    assert report.main(["check=true"]) == 0


DEGENERATE = (nan_and_inf, all_failed)  # CI: numbers that cannot be drawn, and nothing to draw


@pytest.mark.parametrize(
    "damages",
    [DEGENERATE, pytest.param((*DEGENERATE, one_trial, one_replicate, nothing_searched), marks=pytest.mark.long)],
    ids=["worst", "all"],
)
def test_figures_of_degenerate_rows_are_drawn(here, damages):
    for k, damage in enumerate(damages):
        folder = make_study(here / f"sweeps/s{k}", n_trials=2 + 11 * (damage is all_failed))
        damage(folder)
        edit(folder / "predictions.csv", lambda lines: lines[:2])
        edit(folder / "worst.csv", lambda lines: lines[:2])
    assert report.main(["figures=all", "png=true"]) == 0
    drawn = list((here / "reports/png").glob("*.png"))
    assert len(drawn) == len(list((here / "reports/figures").glob("*.svg"))) > 10
    for path in drawn:
        assert path.read_bytes().startswith(b"\x89PNG"), path


def test_reserved_and_odd_names_have_pages_of_their_own(here, capsys, pages_only):
    for name in ("README", "comparison", "figures", "a.b-c_d"):
        make_study(here / "sweeps" / name, n_trials=1)
    make_study(here / "sweeps/no | name", n_trials=1)
    assert report.main([]) == 0
    made = sums(here / "reports")
    assert {"README.md", "README-study.md", "comparison-study.md", "figures-study.md", "a.b-c_d.md"} <= set(made)
    assert not any("|" in name for name in made)
    assert "'no | name' is not a study's or device's name" in capsys.readouterr().err


def test_study_figures_for_the_tracker(here):
    folder = make_study(here / "sweeps/single")
    (folder / "worst.csv").unlink()
    paths = report.study_figures(folder, here / "out")
    assert [p.name for p in paths] == ["history.png", "slices.png", "pairs.png", "curves.png", "confusion.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in paths)
    assert report.comparison_row(folder)["n"] == 5


def shuffle_rows(folder):
    rng = np.random.default_rng(1)
    for name in columns.FILES:
        if (folder / name).exists():
            edit(folder / name, lambda lines: [lines[0], *(lines[1:][i] for i in rng.permutation(len(lines) - 1))])


@pytest.mark.long  # CI draws every published figure anew and compares the bytes; the kernels' page has this test in CI
def test_same_records_same_bytes_whatever_the_environment(tmp_path):
    homes = []
    for name, env in (
        ("one", {"TZ": "UTC", "LANG": "C", "LC_ALL": "C", "PYTHONHASHSEED": "0"}),
        ("two/deeper", {"TZ": "Asia/Kolkata", "LANG": "de_DE.UTF-8", "LC_ALL": "", "PYTHONHASHSEED": "12345"}),
    ):
        home = tmp_path / name
        for study, n_trials in (("single", 16), ("stacked", 4)):  # 16: enough for the importance of what was searched
            folder = make_study(home / "sweeps" / study, n_trials=n_trials)
            if name != "one":
                shuffle_rows(folder)
        make_study(home / "sweeps/published/cpu/single", n_trials=4)
        cwd = home if name == "one" else tmp_path
        asked = ["html=true", "latex=true", "pdf=true", "figures=all"]
        args = [*asked, *([] if name == "one" else [f"sweeps={home}/sweeps", f"reports={home}/reports"])]
        if name != "one":
            (cwd / "matplotlibrc").write_text("axes.grid: False\nfont.size: 20\nsavefig.dpi: 30\n")
        environment = {**os.environ, **env, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "lstm_bench.report", *args],
            cwd=cwd, env=environment, capture_output=True, text=True, timeout=200, encoding="utf-8",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        homes.append(sums(home / "reports"))
    assert len(homes[0]) > 30
    some = ("latex/single/hyperparameter-importance.tex", "report.html", "pdf/single-pairs.pdf")
    assert {f"working/{path}" for path in some} <= set(homes[0])
    assert homes[0] == homes[1]
    for path in (tmp_path / "one/reports").rglob("*.svg"):
        text = path.read_text()
        assert "<dc:date>" not in text
        assert str(tmp_path) not in text


@pytest.mark.long
def test_1500_trials_are_reported_in_reasonable_time(here):
    folder = make_study(here / "sweeps/stacked", n_trials=1500)
    start = time.process_time()  # not of the clock, which counts what else runs here
    assert report.main(["figures=all"]) == 0
    assert time.process_time() - start < 30
    text = (here / "reports/stacked.md").read_text()
    assert "of 1125 complete trials" in text
    assert "And 95 more in the records." in text
    assert (here / "reports/figures/stacked-curves.svg").stat().st_size < 2_000_000
    assert len(records.load(folder).trials) == 1500


def many_rows(n):
    """Trials and history of `n` trials of three epochs, every one complete and below the first."""
    level = np.where(np.arange(n) == 0, 0.99, 0.9 + 0.05 * np.random.default_rng(0).random(n))
    trials = pd.DataFrame({"number": np.arange(n, dtype=float), "state": "COMPLETE", "val_accuracy": level})
    history = trials.loc[trials.index.repeat(3)].assign(kind="trial", epoch=np.tile([1.0, 2.0, 3.0], n))
    return trials, history.assign(train_accuracy=history["val_accuracy"])


def test_figures_of_10000_trials_are_quick_and_small():
    trials, history = many_rows(10_000)
    start = time.process_time()
    curves = figure.learning_curves(history, 0)
    assert time.process_time() - start < 2.0  # a search of the whole table for every trial took seven
    assert len(style.render(curves, "svg")) < 500_000
    picture = figure.optimisation_history(trials)
    (best,) = (line for line in picture.axes[0].lines if line.get_label() == "best so far")
    assert best.get_xydata().tolist() == [[0, 99], [9999, 99]]
    assert len(style.render(picture, "svg")) < 500_000


def test_many_figures_are_drawn_on_several_cores_and_are_the_same_bytes(monkeypatch):
    history = many_rows(3)[1]
    makers = {f"figure-{n}": functools.partial(figure.learning_curves, history, n % 3) for n in range(4)}
    alone = manifests._drawn(makers, ("svg", "png"))
    monkeypatch.setattr(manifests, "_FIGURES_PER_CORE", 2)
    monkeypatch.setattr(hardware, "cores", lambda: (0, 1))
    assert manifests._drawn(makers, ("svg", "png")) == alone
    assert sorted(alone) == [f"figure-{n}.{kind}" for n in range(4) for kind in ("png", "svg")]


def test_each_curve_is_one_trial_s_epochs_whatever_the_order_of_the_rows():
    _, history = many_rows(300)
    history.loc[history["number"] == 7, "val_accuracy"] = [0.1, 0.2, 0.3]
    history.loc[history["number"] == 9, "epoch"] = [1.0, np.nan, 3.0]
    of_epochs = pd.concat([history.iloc[epoch::3] for epoch in range(3)])
    axes = figure.learning_curves(of_epochs, 7).axes[0]
    winner = next(line for line in axes.lines if line.get_label() == "winner, trial 7")
    assert winner.get_xydata() == pytest.approx(np.array([[1, 10], [2, 20], [3, 30]]))
    drawn = axes.collections[0].get_segments()
    assert len(drawn) == 299
    torn = next(
        line for line in figure.learning_curves(of_epochs, 9).axes[0].lines if line.get_label() == "winner, trial 9"
    )
    assert torn.get_xdata().tolist() == [1, 3]
    level = 100 * history[history["number"] == 42]["val_accuracy"].to_numpy()
    assert drawn[41][:, 1] == pytest.approx(level)


def test_few_trials_are_drawn_as_large_as_ever_and_many_smaller():
    sizes = [figure.optimisation_history(many_rows(n)[0]).axes[0].collections[0].get_sizes()[0] for n in (200, 400)]
    assert sizes == [26, 13]


def test_whiskers_of_an_accuracy_end_at_100_percent_and_those_of_an_error_do_not():
    rows = [{"label": "a", "n_weights": 1e4, "mean": 0.995, "half_width": 0.02}]
    accuracy, error = (accuracy_against_weights(rows, "score", percent) for percent in (True, False))
    (ends,), (others,) = (
        [c.get_segments()[0][:, 1].tolist() for c in made.axes[0].collections] for made in (accuracy, error)
    )
    assert ends == pytest.approx([97.5, 100]) and others == pytest.approx([0.975, 1.015])
    few = accuracy_against_weights([{**rows[0], "mean": 0.25, "half_width": 1.9}], "score", True)
    assert few.axes[0].collections[0].get_segments()[0][:, 1].tolist() == pytest.approx([0, 100])


def test_a_line_that_was_better_than_it_ended_is_drawn_whole():
    from lstm_bench.report.figures import comparison

    mean = [0.15, 0.1022, 0.14, 0.1022, 0.0992, 0.1023]
    line = {"label": "a", "epochs": range(1, 7), "mean": mean, "min": mean, "max": mean}
    (_, high) = comparison.curves_by_family([line], "val_macro_f1").axes[0].get_ylim()
    assert high > 0.15


@pytest.mark.parametrize(
    ("dataset", "features", "curves", "pictures"),
    [("machine", 3, 6, 0), ("machine", 28, 0, 2), ("mnist", 3, 0, 2), ("smnist", 1, 2, 0)],
)
def test_wrong_signals_are_curves_and_wrong_pictures_are_pictures(here, dataset, features, curves, pictures):
    folder = make_study(here / "sweeps/single", n_trials=1)
    shape = {"label": 0, "prediction": 1, "probability": 0.9, "timesteps": 20, "features": features}
    rows = [{"sample": k, **shape, "values": " ".join("0.5" for _ in range(20 * features))} for k in range(2)]
    fileio.write_rows(folder / "worst.csv", columns.WORST_COLUMNS, rows)
    study = records.load(folder)
    study.environment["dataset"]["name"] = dataset
    drawn = study_figures.study_figure_makers(study)["worst"][0]().axes
    assert (sum(len(axes.lines) for axes in drawn), sum(len(axes.images) for axes in drawn)) == (curves, pictures)


def test_an_svg_is_small_and_its_text_is_text():
    trials, _ = many_rows(5)
    drawn = style.render(figure.optimisation_history(trials), "svg").decode()
    assert len(drawn) < 15_000
    assert re.search(r"<text [^>]*>validation accuracy, %</text>", drawn)
    assert "<!--" not in drawn and "<metadata>" not in drawn and 'id="figure' not in drawn
    assert not re.search(r"\d\.\d{5}", re.sub(r">[^<]*<", "", drawn))
    ids = set(re.findall(r' id="([^"]+)"', drawn))
    assert set(re.findall(r"url\(#([^)]+)\)", drawn)) | set(re.findall(r'href="#([^"]+)"', drawn)) <= ids
    ElementTree.fromstring(drawn)


def test_numbers_that_an_svg_says_are_not_rounded():
    assert style._compact("<svg><text x='1.23456789'>0.123456789</text></svg>") == (
        "<svg><text x='1.235'>0.123456789</text></svg>"
    )


def test_a_pdf_holds_its_text_as_text_and_no_date():
    drawn = style.render(figure.optimisation_history(many_rows(5)[0]), "pdf")
    assert drawn.startswith(b"%PDF") and b"/Type0" in drawn and b"/Type3" not in drawn
    assert b"CreationDate" not in drawn and b"Matplotlib" not in drawn


def test_markdown_escapes_what_would_end_a_cell():
    assert markdown.markdown(["a|b"], [["x\ny | `z` \\"]]) == "| a\\|b |\n| --- |\n| x y \\| \\`z\\` \\\\ |"


@pytest.mark.parametrize(
    ("value", "text"),
    [("0.00123456", "0.001235"), ("1e-05", "1e-05"), ("128", "128"), ("adam", "adam"), ("", ""), ("0.5", "0.5")],
)
def test_short_values(value, text):
    assert markdown.short(value) == text
