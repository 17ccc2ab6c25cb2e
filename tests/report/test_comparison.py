"""The page across studies: scores, pairs in words, budgets, fronts, matched weights, long memory; from made-up records."""

import io
import json
import math
import pathlib
import re
import time

import numpy as np
import pandas as pd
import pytest
import yaml
from test_report import DEVICE, edit, make_study, shuffle_rows

from lstm_bench.core import fileio
from lstm_bench.core.statistics import holm
from lstm_bench.report.figures import style
from lstm_bench.report.pages import budget_and_fronts, campaign, comparability, comparison, index, pairs, rivals, study
from lstm_bench.report.render import markdown
from lstm_bench.report.sources import records
from lstm_bench.study import columns as record
from lstm_bench.study import reader

MNIST = "mnist-ababab-train-50000-val-unknown-unknown"  # what studies of `make_study` share, as part of a file's name


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(folder, facts=None, **config):
    """Merges into a study's configuration by group, and facts on its data into its environment."""
    path = folder / "config.yaml"
    whole = yaml.safe_load(path.read_text())
    for group, values in config.items():
        whole[group] = {**whole.get(group, {}), **values}
    fileio.write_yaml(path, whole)
    environment = json.loads((folder / "environment.json").read_text())
    facts = dict(facts or {})
    environment |= {key: facts.pop(key) for key in ("lstm_bench",) if key in facts}
    environment["dataset"] |= facts
    fileio.write_json(folder / "environment.json", environment)
    return folder


def regression(folder, errors, *, length=None, dataset="adding", **config):
    """A study of the adding problem with these test errors."""
    make_study(folder, accuracies=[0.5] * len(errors), n_trials=0)
    rows = fileio.read_rows(folder / "replicates.csv")
    for row, error in zip(rows, errors, strict=True):
        row |= {"test_accuracy": "", "val_accuracy": "", "test_mse": error, "test_loss": error, "val_mse": error}
    fileio.write_rows(folder / "replicates.csv", record.REPLICATE_COLUMNS, rows)
    study = {"objective": "val_mse", "direction": "minimize"}
    facts = {"name": dataset, "task": "regression", "n_test": 2000, "baselines": {"always_1": 1 / 6}}
    return change(folder, facts, study=study, dataset={"name": dataset, "length": length}, **config)


def made(here):
    """The pages from all studies below `here`."""
    results = [records.load(*place) for place in reader.places(here / "sweeps")]
    return comparison.comparison(results, {}, {id(r): f"{r.name}.md" for r in results})


def page(here):
    """The page, and in `reports/` the data beside it; no figure is drawn."""
    pages = made(here)
    for name, text in pages.texts.items():
        fileio.write_text(here / "reports" / name, text)
    return pages.texts["comparison.md"]


def lines(text, start):
    return [line for line in text.splitlines() if line.startswith(start)]


# --- what it costs ---------------------------------------------------------------------------------------------------


def test_costs_have_a_table_where_a_record_says_them_and_none_before(here):
    make_study(here / "sweeps/single"), make_study(here / "sweeps/stacked")
    assert "### Cost" not in page(here)
    path = here / "sweeps/single/replicates.csv"
    rows = fileio.read_rows(path)
    for row, seconds in zip(rows, "23456", strict=True):
        row |= {"epoch_s": seconds, "peak_memory_mib": "812.25", "latency_ms_batch_1": "", "latency_ms_batch_64": ""}
    rows[0] |= {"latency_ms_batch_1": "1.5", "latency_ms_batch_64": "0.0625"}
    fileio.write_rows(path, tuple(rows[0]), rows)
    text = page(here).partition("### Cost")[2]
    cells = {row.split("|")[1].split("]")[0].strip(" ["): row.split("|")[2:7] for row in lines(text, "| [")[:2]}
    assert [cell.strip() for cell in cells["single"]] == ["4", "812", markdown.NONE, "1.5", "0.0625"]
    assert [cell.strip() for cell in cells["stacked"]] == [markdown.NONE] * 5
    single = records.load(*next(place for place in reader.places(here / "sweeps") if "single" in str(place)))
    assert "batch 64, ms" in study.study_page(single).texts["single.md"]


# --- campaigns ---------------------------------------------------------------------------------------------------------


def test_each_campaign_has_a_page_with_its_verdict_above_its_studies(here):
    for name, campaign_ in (("mine-gru", "mine"), ("mine-single", "mine"), ("single", None), ("other-gru", "other")):
        change(make_study(here / "sweeps" / name), study={"campaign": campaign_})
    results = [records.load(*place) for place in reader.places(here / "sweeps")]
    ((stem, found),) = campaign.of(results).items()
    assert stem == "campaign-mine" and [result.name for result in found] == ["mine-gru", "mine-single"]
    text = campaign.page("mine", found, {}, {id(r): f"{r.name}.md" for r in results})
    assert text.index("# Campaign mine") < text.index("Take ") < text.index("### Studies") < text.index("[mine-gru]")
    assert "[single]" not in text and "other-gru" not in text
    links = {id(r): f"{r.name}.md" for r in results}
    assert "[Campaign mine](campaign-mine.md)" in index.index(results, links, "Reports", "All.", campaigns=[stem])


# --- controls ---------------------------------------------------------------------------------------------------------


def test_a_study_of_controls_alone_is_no_family_but_what_one_has_to_beat(here):
    def alone(name, **config):
        folder = make_study(here / "sweeps" / name, n_trials=0, replicates=0, **config)
        row = {"control": "linear", "seed": 0, "state": "COMPLETE", "test_accuracy": 0.625, "val_accuracy": 0.5}
        row |= {"n_weights": 7, "n_train": 100, "train_s": 0.25}
        fileio.write_rows(folder / "controls.csv", record.CONTROL_COLUMNS, [row])
        return folder

    change(alone("controls"), {"name": "own"}, dataset={"name": "own"})
    text = page(here)
    assert "No network was trained; [controls](controls.md) has" in text and "62.50" in text and "As data" not in text
    make_study(here / "sweeps/single"), alone("beaten")
    text = page(here)
    table = text.partition("### Controls")
    assert "[single]" in table[0] and "[beaten]" not in text and "| linear on summaries |" in table[2]
    assert [row["study"] for row in fileio.read_rows(here / "reports/comparison.csv")] == ["single"]
    results = [records.load(*place) for place in reader.places(here / "sweeps")]
    assert [row[0] for row in index.short_table(results)[1]] == ["single"]


# --- the table -------------------------------------------------------------------------------------------------------


def test_a_score_stands_beside_both_intervals_the_seeds_spread_and_the_test_set_s_own_error(here):
    accuracies = [0.97, 0.972, 0.974, 0.976, 0.978]
    change(make_study(here / "sweeps/single", accuracies=accuracies), {"n_test": 10000})
    text = page(here)
    # sd sqrt(1e-5); Wilson of 0.974 and 10,000: 97.07 to 97.69 (by hand: 0.974 -+ 1.96 sqrt(p q / n), moved by 0.0002)
    assert "| single | 97.40 ± 0.39 | 5 | 97.07 to 97.69 |" in text
    row = fileio.read_rows(here / "reports/comparison.csv")[0]
    assert (row["measure"], row["n"], row["n_test"]) == ("test_accuracy", "5", "10000")
    assert float(row["score_sd"]) == pytest.approx(math.sqrt(1e-5))
    assert float(row["score_bootstrap_low_95"]) == pytest.approx(0.9716)
    assert float(row["score_bootstrap_high_95"]) == pytest.approx(0.9764)
    assert float(row["test_set_low_95"]) == pytest.approx(0.97069, abs=1e-5)


def test_a_test_set_of_unknown_size_is_not_recorded_and_one_of_timesteps_has_no_such_interval(here):
    make_study(here / "sweeps/single")
    change(make_study(here / "sweeps/stacked"), {"n_test": 100, "task": "tagging", "name": "copy"})
    text = page(here)
    assert lines(text, "| [single]")[0].split(" | ")[4] == "not recorded"
    assert lines(text, "| [stacked]")[0].split(" | ")[4] == markdown.NONE


def test_regressions_have_a_table_of_their_own_by_test_mse_the_least_first(here):
    make_study(here / "sweeps/single")
    regression(here / "sweeps/gru", [0.0021, 0.0023, 0.0022], length=50)
    regression(here / "sweeps/simple_rnn", [0.16, 0.17, 0.18], length=50)
    regression(here / "sweeps/far", [0.16, 0.17], length=200)
    text = page(here)
    assert re.findall("^## .*", text, re.MULTILINE)[:3] == ["## mnist", "## adding, length 50", "## adding, length 200"]
    first, second = text.split("\n## ")[2], text.split("\n## ")[1]
    assert "| test MSE |" in first and "test set, 95 %" not in first and "test accuracy" not in first
    assert "| gru | 0.0022 ± 0.00025 | 3 |" in first
    assert first.index("[gru]") < first.index("[simple_rnn]")
    assert "test accuracy, %" in second and "MSE" not in second
    assert "gru beats simple_rnn by 0.1678 (0.1431 to 0.1925) of test MSE, n = 3" in first
    rows = fileio.read_rows(here / "reports/comparison.csv")
    assert [(r["study"], r["length"], r["measure"]) for r in rows] == [
        ("single", "", "test_accuracy"), ("gru", "50", "test_mse"), ("simple_rnn", "50", "test_mse"),
        ("far", "200", "test_mse"),
    ]  # fmt: skip
    columns, shown, _ = index.short_table([records.load(here / "sweeps" / n) for n in ("single", "gru")])
    assert columns[2] == "test score"
    assert [row[2] for row in shown] == ["97.10 ± 0.10 %", "0.0022 ± 0.00025 (MSE)"]


@pytest.mark.parametrize(
    ("facts", "config", "said"),
    [
        ({"lstm_bench": "0.2.0"}, {}, "version 0.2.0 of lstm_bench, not 0.1.0."),
        ({"sha256": None}, {}, "Data digest not recorded."),
        ({"lstm_bench": None}, {}, "Version of lstm_bench not recorded."),
        ({}, {"study": {"n_trials": 400}}, "400 trials of search, not 12."),
    ],
)
def test_a_row_that_differs_from_most_is_marked_and_the_note_says_in_what(here, facts, config, said):
    for name in ("single", "simple_rnn"):
        make_study(here / "sweeps" / name)
    change(make_study(here / "sweeps/stacked"), facts, **config)
    text = page(here)
    note = next(line for line in text.splitlines() if line.lower().endswith(said.lower()) and line[0].isdigit())
    marked = [
        line for line in text.splitlines() if line.startswith("| [") and f"<sup>{note.split('.')[0]}</sup>" in line
    ]
    assert len(marked) == 1 and marked[0].startswith("| [stacked]")


@pytest.mark.parametrize(
    ("facts", "heading"),
    [
        ({"sha256": "cd" * 32}, "### 50,000 training samples, not recorded held out, data cdcdcdcdcdcd"),
        ({"n_train": 60000}, "### 60,000 training samples, not recorded held out"),
    ],
)
def test_what_was_trained_on_other_samples_is_ranked_in_a_table_of_its_own(here, facts, heading):
    for name in ("single", "simple_rnn"):
        make_study(here / "sweeps" / name)
    change(make_study(here / "sweeps/stacked"), facts)
    text = page(here)
    (mine,) = (part for part in text.split("\n### ") if "| [stacked]" in part)
    assert mine.splitlines()[0] == heading.removeprefix("### ")
    assert len(lines(mine, "| [")) == 1 and "<sup>" not in mine
    assert len(set(re.findall("^### .*", text, re.MULTILINE))) == text.count("\n### ")


def test_tables_have_at_most_eight_columns(here):
    for k, length in enumerate((10, 20, 30, 40, 50, 60, 70, 80, 90)):
        regression(here / f"sweeps/gru-{length}", [0.1, 0.2, 0.15], length=length)
        folder = make_study(here / f"sweeps/single-{k}", n_weights=1000 * (k + 1), accuracies=[0.9 + k / 100, 0.91])
        change(folder, model={"_target_": "lstm_bench.model.single", "weights": 1000 * (k + 1)})
    make_study(here / "sweeps/published/cpu/single")
    text = page(here)
    widths = [line.count(" | ") + 1 for line in lines(text, "| ")]
    assert max(widths) == 8
    assert "| family | length 80 | length 90 |" in text and "| family | 8,000 weights | 9,000 weights |" in text


def test_the_page_begins_with_the_answer_and_reads_the_numbers_below_the_first_table(here):
    make_study(here / "sweeps/single", accuracies=[0.97, 0.971, 0.972, 0.971, 0.97])
    make_study(here / "sweeps/simple_rnn", accuracies=[0.955, 0.957, 0.957, 0.956, 0.956])
    make_study(here / "sweeps/stacked", accuracies=[0.971, 0.969, 0.972, 0.970, 0.97])
    text = page(here)
    head, heading, answer = text.split("\n\n")[:3]
    assert (head, heading) == ("# Comparison of families", "## mnist")
    assert answer.startswith(
        "**[single](single.md)** has the best mean test accuracy of 3 studies, **97.08 ± 0.10 %** (mean and 95 % t "
        "interval, n = 5 seeds; 50,000 training samples), with 24,714 weights and "
    )
    assert answer.endswith(" samples/s. It is not shown to beat stacked; it beats the other one.")
    assert text.index("| study |") < text.index("bootstrap") < text.index("![")


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({"single": [0.97, 0.971, 0.972], "mlp": [0.9, 0.9, 0.901]}, " samples/s. It beats the other one."),
        ({"single": [0.97, 0.98], "mlp": [0.96]}, " samples/s. It is not tested against mlp."),
        ({"single": [0.97], "mlp": []}, "alone has **97.00 %** (n = 1 seed, so no interval"),
        ({"single": [], "mlp": []}, "no study is confirmed on the test set (2 searched)."),
    ],
)
def test_an_answer_claims_no_more_than_was_tested(here, scores, said):
    for name, accuracies in scores.items():
        make_study(here / "sweeps" / name, accuracies=accuracies)
    (answer,) = made(here).answers
    assert answer.startswith("- **mnist**: ") and said in answer


def test_the_answer_is_of_the_most_samples_not_validated_on_the_test_set(here):
    where = {"a": (100, "split"), "b": (100, "split"), "c": (900, "split"), "d": (900, "split"), "e": (999, "test")}
    for k, (name, (n_train, validation)) in enumerate({**where, "f": (999, "test"), "g": (950, "split")}.items()):
        folder = make_study(here / "sweeps" / name, accuracies=[0.9 + k / 100, 0.9 + k / 90])
        change(folder, {"n_train": n_train, "n_validation": 50}, dataset={"validation": validation})
    pages = made(here)
    assert "**[d](d.md)**" in pages.answers[0] and "; 900 training samples)" in pages.answers[0]
    told = lines(pages.texts["comparison.md"], "- ")
    assert [line.partition(":")[0] for line in told[:4]] == [
        "- 950 training samples, 50 held out", "- 900 training samples, 50 held out",
        "- 100 training samples, 50 held out", "- 999 training samples, validated on the test set",
    ]  # fmt: skip


def test_the_index_opens_with_the_answers_and_says_each_note_once(here):
    for name in ("single", "stacked"):
        make_study(here / "sweeps" / name)
    results = [records.load(*place) for place in reader.places(here / "sweeps")]
    text = index.index(results, {id(r): f"{r.name}.md" for r in results}, "T", "R", answers=made(here).answers)
    title, answer, more, links = text.split("\n\n")[:4]
    assert (title, more, links[:18]) == ("# T", "Read on:", "- [Comparison of f")
    assert answer.startswith("- **mnist**: **[stacked](stacked.md)** has the best mean test accuracy of 2 studies, ")
    assert text.count("Recorded by version 0.1.0 of lstm_bench") == 1
    assert text.count("| see<sup>1</sup> |") == 2


def test_other_devices_backends_and_epochs_are_marked_too(here):
    for name in ("single", "simple_rnn"):
        make_study(here / "sweeps" / name)
    other = make_study(here / "sweeps/stacked")
    text = (other / "replicates.csv").read_text()
    text = text.replace(DEVICE, "H200").replace("tensorflow", "jax").replace(",3,", ",9,")
    (other / "replicates.csv").write_text(text)
    said = page(here)
    assert "9 epochs, not 3." in said
    assert ". Backend jax, not tensorflow." in said
    where = "1 core of 2, other busy"
    assert f". Device H200, {where}, not {DEVICE}, {where}; speeds do not compare." in said


def test_equal_studies_have_no_marks(here):
    for name in ("single", "simple_rnn"):
        make_study(here / "sweeps" / name)
    assert "<sup>" not in page(here)


# --- pairs -----------------------------------------------------------------------------------------------------------


def loaded(here, **accuracies):
    return rivals.ordered(
        [records.load(make_study(here / "sweeps" / name, accuracies=a)) for name, a in accuracies.items()]
    )


def said(found):
    names = {id(r): r.name for c in found for r in (c.first, c.second)}
    tested = sum(bool(c.test) for c in found)
    return [pairs.verdict_sentence(c, names, tested) for c in found]


def test_with_five_seeds_a_difference_is_shown_by_the_t_test_since_no_exact_one_could(here):
    results = loaded(here, single=[0.97, 0.971, 0.972, 0.971, 0.97], simple_rnn=[0.955, 0.957, 0.957, 0.956, 0.956])
    (pair,) = pairs.contrasts(results)
    assert (pair.test, pair.verdict, pair.found.p_exact) == ("t", "first", 1 / 16)
    # differences .015 .014 .015 .015 .014: mean .0146, s .000548, half 2.776 * .000548 / sqrt(5) = .00068; t = 59.6
    assert said([pair]) == ["single beats simple_rnn by 1.46 (1.39 to 1.53) points, n = 5, p < 0.0001 (paired t test)."]


def test_with_eight_seeds_the_exact_test_decides(here):
    rng = np.random.default_rng(0)
    results = loaded(here, single=list(0.97 + rng.random(8) / 1000), simple_rnn=list(0.95 + rng.random(8) / 1000))
    (pair,) = pairs.contrasts(results)
    assert (pair.test, pair.adjusted) == ("exact", 2 / 256)
    assert said([pair])[0].endswith("points, n = 8, p = 0.0078 (exact sign-flip test).")


def test_no_difference_is_a_sentence(here):
    results = loaded(here, single=[0.970, 0.972, 0.968, 0.971, 0.969], stacked=[0.971, 0.969, 0.97, 0.970, 0.971])
    (pair,) = pairs.contrasts(results)
    assert pair.verdict == "none"
    # differences of stacked less single: .001 -.003 .002 -.001 .002: mean .0002, s .00217, half .00269
    assert said([pair]) == [
        "No difference shown between stacked and single at n = 5: 0.02 (-0.25 to 0.29) points, p = 0.85 (paired t test)."
    ]


def test_p_values_are_corrected_for_the_pairs_of_their_ground(here):
    results = loaded(
        here, single=[0.970, 0.972, 0.968, 0.971, 0.969], stacked=[0.972, 0.974, 0.971, 0.972, 0.971],
        simple_rnn=[0.9, 0.93, 0.91, 0.92, 0.94],
    )  # fmt: skip
    found = pairs.contrasts(results)
    assert [c.adjusted for c in found] == pytest.approx(holm([c.found.p_t for c in found]))
    assert all("Holm over 3 pairs" in line for line in said(found))
    assert found[0].adjusted > found[0].p


def test_one_seed_or_none_in_common_is_no_test_and_not_counted(here):
    results = loaded(here, single=[0.97, 0.98], stacked=[0.96], simple_rnn=[0.90, 0.92])
    found = pairs.contrasts(results)
    assert sorted(line for line in said(found) if "nothing is tested" in line) == [
        "single and stacked: one common seed, so nothing is tested.",
        "stacked and simple_rnn: one common seed, so nothing is tested.",
    ]
    (tested,) = (c for c in found if c.test)
    assert "Holm" not in said(found)[found.index(tested)]


def test_a_longer_search_is_said_beside_its_win(here):
    results = loaded(here, single=[0.97, 0.971, 0.972], simple_rnn=[0.955, 0.957, 0.957])
    results[0].config["study"]["n_trials"] = 100
    (line,) = said(pairs.contrasts(results))
    assert line.endswith("; single had 100 trials of search, simple_rnn 12.")


def test_what_stands_on_other_ground_is_not_paired(here):
    for name, low in (("single", 0.960), ("stacked", 0.975), ("simple_rnn", 0.930), ("cnn_lstm", 0.980)):
        make_study(
            here / "sweeps" / name, accuracies=[low + d for d in (0.0, 0.001, 0.0005 + low / 1000, 0.002, 0.001)]
        )
    change(here / "sweeps/simple_rnn", {"sha256": "cd" * 32})
    change(here / "sweeps/cnn_lstm", {"sha256": "cd" * 32})
    text = page(here)
    rows = fileio.read_rows(here / "reports/pairs.csv")
    assert [(r["first"], r["second"], r["better"]) for r in rows] == [
        ("stacked", "single", "first"), ("cnn_lstm", "simple_rnn", "first"),
    ]  # fmt: skip
    assert "Data abababababab..., 50,000 training samples" in text and "Data cdcdcdcdcdcd..., " in text
    assert (
        len(lines(text, "- stacked beats single by 1.50 (1.50 to 1.50) points, n = 5, p &lt; 0.0001 (paired t test)"))
        == 1
    )
    assert "With 5 seeds no exact p-value is below 0.0625, so the p-values named t are of the paired t test" in text
    assert "It decides from 6 seeds on (`study.replicates=6`)." in text


def test_of_many_studies_the_page_has_the_best_against_the_others_and_the_data_has_all(here):
    for k in range(10):
        make_study(
            here / f"sweeps/s{k}", accuracies=[0.9 + k / 100 + s / 1000 for s in (0, 2, 1, 3, k / 10)], n_trials=1
        )
    text = page(here)
    rows = fileio.read_rows(here / "reports/pairs.csv")
    assert len(rows) == 45
    assert len(lines(text, "- s9 beats ")) == 9
    assert not lines(text, "- s8 ") and "| first | second |" not in text
    assert "all 45 pairs, over which Holm's correction goes, are in [pairs.csv](pairs.csv)" in text
    assert "Holm over 45 pairs" in text


# --- budgets ---------------------------------------------------------------------------------------------------------


def random_search(folder, **more):
    return change(make_study(folder, **more), sampler={"name": "random"}, pruner={"name": "none"})


def test_random_search_has_an_expected_best_and_its_trials_cost_their_mean_with_the_failed_ones(here):
    r = records.load(random_search(here / "sweeps/single"))
    c = budget_and_fronts.curve(r)
    scores = r.ranked["val_accuracy"].tolist()
    assert c.expected and c.trials.tolist() == list(range(1, 10))  # 9 of 12 are complete
    assert c.values[0] == pytest.approx(np.mean(scores))
    assert c.values[-1] == max(scores)
    assert c.device_s[0] == pytest.approx(12 * 22 / 9)
    assert (c.low <= c.values + 1e-12).all() and (c.values[:5] <= c.high[:5]).all()
    assert c.at("trials", 3) == c.values[2]
    assert c.at("device_s", 3.5 * 12 * 22 / 9) == c.values[2]
    assert math.isnan(c.at("device_s", 1.0))


@pytest.mark.parametrize(("sampler", "pruner"), [("tpe", "none"), ("random", "median"), (None, None)])
def test_any_other_search_has_its_running_best_and_is_labelled_so(here, sampler, pruner):
    folder = change(make_study(here / "sweeps/single"), sampler={"name": sampler}, pruner={"name": pruner})
    r = records.load(folder)
    c = budget_and_fronts.curve(r)
    assert not c.expected and np.isnan(c.low).all()
    done = r.trials[r.trials["state"] == "COMPLETE"]
    best = done["val_accuracy"].cummax()
    steps = done[best.diff().fillna(1) > 0]
    assert c.trials.tolist() == [*(steps["number"] + 1), 12]
    assert c.values.tolist() == [*steps["val_accuracy"], best.iloc[-1]]
    assert c.device_s[-1] == 12 * 22
    assert c.at("trials", 12) == best.iloc[-1]
    assert {row["kind"] for row in budget_and_fronts.budget_rows([c])} == {"running best"}
    assert budget_and_fronts.budget_rows([c])[0]["search"] == {
        ("tpe", "none"): "tpe, no pruning", ("random", "median"): "random, median pruning",
        (None, None): "sampler not recorded, pruner not recorded",
    }[sampler, pruner]  # fmt: skip


def test_trials_that_are_queued_again_cost_seconds_but_are_no_trials(here):
    folder = make_study(here / "sweeps/single")
    edit(folder / "trials.csv", lambda rows: [row.replace("FAIL,nan", "FAIL,worker_died") for row in rows])
    c = budget_and_fronts.curve(records.load(folder))
    assert (c.trials[-1], c.device_s[-1]) == (11, 12 * 22)


def test_searches_of_unequal_length_are_compared_at_the_budget_that_both_had(here):
    random_search(here / "sweeps/single", n_trials=40)
    random_search(here / "sweeps/stacked", n_trials=12)
    make_study(here / "sweeps/simple_rnn", n_trials=30)
    text = page(here)
    shown = text[text.index("### Budget") :]
    assert "| study | search | what is shown | trials | device, s | at 9 trials | at 264 s |" in shown
    r = records.load(here / "sweeps/single")
    wanted = budget_and_fronts.curve(r).at("trials", 9)
    assert wanted < r.ranked["val_accuracy"].max()
    assert f"| single | random, no pruning | expected best | 30 | 880 | {100 * wanted:.2f} |" in shown
    assert "| simple_rnn | tpe, median pruning | running best | 30 |" in shown
    assert f"(figures/budget-{MNIST}.svg)" in shown
    assert "Lines with a band: expected best of n random trials, unbiased, with 95 % bootstrap interval: " in shown
    where = f"50,000 training samples; 3 epochs; {DEVICE}, 1 core of 2, other busy"
    assert f"simple_rnn (tpe, median pruning, 30 trials). {where}. Data: mnist." in shown
    rows = fileio.read_rows(here / "reports/budget.csv")
    assert {(r["study"], r["kind"]) for r in rows} == {
        ("single", "expected best"), ("stacked", "expected best"), ("simple_rnn", "running best"),
    }  # fmt: skip


# --- fronts and weights ----------------------------------------------------------------------------------------------


def test_the_front_marks_what_no_other_beats_in_score_and_weights_or_speed(here):
    speeds = {
        "single": (0.97, 30000, 5000),
        "stacked": (0.98, 90000, 2000),
        "gru": (0.96, 40000, 9000),
        "mlp": (0.95, 90000, 1000),
    }
    for name, (accuracy, weights, speed) in speeds.items():
        make_study(here / "sweeps" / name, accuracies=[accuracy, accuracy + 0.001], n_weights=weights)
        rows = fileio.read_rows(here / "sweeps" / name / "replicates.csv")
        for row in rows:
            row["train_samples_per_s"] = speed
        fileio.write_rows(here / "sweeps" / name / "replicates.csv", record.REPLICATE_COLUMNS, rows)
    text = page(here)
    text = text[text.index("### Pareto front") :]
    marks = {name: tuple(lines(text, f"| {name} |")[0].split(" | ")[k] for k in (3, 5)) for name in speeds}
    no = markdown.NONE
    assert marks == {"stacked": ("yes", "yes"), "single": ("yes", "yes"), "gru": (no, "yes"), "mlp": (no, no)}


def test_speeds_of_two_devices_have_no_common_front(here):
    results = loaded(here, single=[0.97, 0.97], stacked=[0.98, 0.98])
    assert id(results[0]) in budget_and_fronts.fronts(results)[1]  # the more accurate one
    edit(here / "sweeps/single/replicates.csv", lambda rows: [row.replace(DEVICE, "H200") for row in rows])
    assert (
        budget_and_fronts.fronts([records.load(here / "sweeps" / name) for name in ("single", "stacked")])[1] == set()
    )


@pytest.mark.parametrize(("text", "weights"), [(25000, 25e3), ("x", math.nan), (None, math.nan)])
def test_a_weight_budget_is_read_as_it_was_given(text, weights):
    r = records.Result(None, "x", config={"model": {"weights": text}})
    assert budget_and_fronts.weights_of(r) == pytest.approx(weights, nan_ok=True)


def test_families_of_matched_weights_stand_side_by_side(here):
    for family, budget, weights in (("single", 25000, 24700), ("single", 100_000, 99800), ("gru", 25000, 25100)):
        folder = make_study(here / f"sweeps/{family}-{budget}", n_weights=weights, accuracies=[0.97, 0.972])
        change(folder, model={"_target_": f"lstm_bench.model.{family}", "weights": budget})
    text = page(here)
    text = text[text.index("### Matched weights") :]
    assert "| family | 25,000 weights | 100,000 weights |" in text
    assert f"| gru | 97.10 ± 1.27 (25,100, n = 2) | {markdown.NONE} |" in text
    assert "| single | 97.10 ± 1.27 (24,700, n = 2) | 97.10 ± 1.27 (99,800, n = 2) |" in text


# --- long memory -----------------------------------------------------------------------------------------------------


def test_error_against_length_has_a_line_per_family_and_the_recorded_baseline(here):
    levels = {("gru", 20): 0.001, ("gru", 100): 0.004, ("simple_rnn", 20): 0.02, ("simple_rnn", 100): 0.17}
    for (family, length), level in levels.items():
        folder = regression(here / f"sweeps/{family}-{length}", [level, 1.2 * level, 1.1 * level], length=length)
        change(folder, model={"_target_": f"lstm_bench.model.{family}"})
    pages = made(here)
    text = pages.texts["comparison.md"]
    text = text[text.index("## Long memory: adding") :]
    assert "| gru | 0.0011 (0.001 to 0.0012) | 0.0044 (0.004 to 0.0048) |" in text
    assert "| baseline: always 1 | 0.167 | 0.167 |" in text
    assert "Dotted: always 1. 50000 training sequences, 3 epochs;" in text
    assert "n = 3 seeds" in text and DEVICE in text
    assert "(figures/long-memory-adding.svg)" in text
    axes = pages.figures["figures/long-memory-adding"]().axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    dotted = next(line for line in axes.lines if line.get_label() == "always 1")
    assert dotted.get_xydata() == pytest.approx(np.array([[20, 1 / 6], [100, 1 / 6]]))


def test_one_length_or_other_data_makes_no_such_figure(here):
    regression(here / "sweeps/gru", [0.1, 0.2], length=20)
    make_study(here / "sweeps/single")
    assert "Long memory" not in page(here)


# --- figures of those that compare -------------------------------------------------------------------------------------


def captions(text, name):
    return [line for line in text.splitlines() if f"(figures/{name}" in line]


def test_matched_weights_and_other_grounds_have_figures_of_their_own(here):
    for name, weights in (("single", None), ("stacked", None), ("simple_rnn", 25000), ("cnn_lstm", 25000)):
        make_study(here / "sweeps" / name)
        change(here / "sweeps" / name, model={"weights": weights})
    change(make_study(here / "sweeps/other"), {"n_train": 7})
    made_pages = made(here)
    figures = {name for name in made_pages.figures if name.startswith("figures/accuracy")}
    assert figures == {f"figures/accuracy-{MNIST}", f"figures/accuracy-{MNIST}-matched"}  # one alone has its own page
    (usual,), (matched,) = (captions(page(here), f"curves-{MNIST}{of}.svg") for of in ("", "-matched"))
    assert "families at 25,000 weights" in matched and "25,000 weights" not in usual
    assert "training samples" in usual  # which of the two grounds


def test_a_figure_keeps_its_name_whatever_stands_beside_it(here):
    for name in ("single", "stacked"):
        make_study(here / "sweeps" / name)
    before = set(made(here).figures)
    for name in ("gru", "mlp", "cnn", "min_gru"):  # a larger crowd, which comes first
        change(make_study(here / "sweeps" / name), {"n_train": 7, "n_validation": 3}, dataset={"validation": "split"})
    after = set(made(here).figures)
    assert before < after
    assert "figures/curves-mnist-ababab-train-7-val-3" in after - before


def test_the_slug_of_a_ground_says_all_that_grounds_differ_in():
    one = comparability.Ground("adding, length 50", "test_mse", "cd" * 32, "20,000", "5,000", "split", "val_mse")
    assert one.slug() == "adding-50-cdcdcd-train-20000-val-5000"
    others = [
        one._replace(**{field: value})
        for field, value in (
            ("data", "adding"), ("digest", comparability.UNKNOWN), ("n_train", "2"), ("n_validation", "3"),
            ("validation", "test"), ("validation", comparability.UNKNOWN), ("objective", "val_mse, n_weights"),
            ("split", "at random"), ("split", "by group"), ("split", "at random, split_seed 1"),
        )
    ]  # fmt: skip
    assert len({ground.slug() for ground in (one, *others)}) == 11
    assert one._replace(split="as given").slug() == one.slug(), "a file that divides itself does so in one way"
    assert all(re.fullmatch(r"[\w-]+", ground.slug()) for ground in others)


def test_studies_on_one_file_divided_in_two_ways_are_not_compared_and_the_random_split_answers_last(here):
    way = {
        "group": ["a classification task", "divided by group: 60 train (6 groups)"],
        "random": ["divided at random: 60 train"],
    }
    for split, notes in way.items():
        for name, more in (("single", 0.0), ("stacked", 0.02)):
            scores = [more + (0.8 if split == "group" else 0.9) + seed / 500 for seed in range(5)]
            change(make_study(here / f"sweeps/{name}-{split}", accuracies=scores), {"notes": notes})
    pages = made(here)
    (answer,) = pages.answers
    assert "[stacked-group](stacked-group.md)" in answer and "random" not in answer
    text = pages.texts["comparison.md"]
    assert text.index("held out, divided by group") < text.index("held out, divided at random")
    table = pd.read_csv(io.StringIO(pages.texts["pairs.csv"]))
    assert [{*pair} for pair in table[["first", "second"]].to_numpy()] == [
        {f"single-{split}", f"stacked-{split}"} for split in ("group", "random")
    ]
    assert len([path for path in pages.figures if path.startswith("figures/curves-mnist-ababab-random-")]) == 1
    assert len([path for path in pages.figures if path.startswith("figures/curves-mnist-ababab-group-")]) == 1


def test_learning_curves_by_family_are_the_means_and_ranges_of_the_picked_seeds(here):
    folder = make_study(here / "sweeps/single", accuracies=[0.9, 0.92])
    rows = [
        {"kind": kind, "number": seed, "epoch": epoch, "val_accuracy": 0.5 + seed / 10 + epoch / 100}
        for kind in ("trial", "replicate")
        for seed in (0, 1)
        for epoch in (2, 1)
    ]
    fileio.write_rows(folder / "history.csv", record.HISTORY_COLUMNS, rows)
    drawn = made(here).figures[f"figures/curves-{MNIST}"]()
    (line,) = drawn.axes[0].lines
    assert line.get_xydata() == pytest.approx(np.array([[1, 56], [2, 57]]))
    band = drawn.axes[0].collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((51, 62))


def test_one_epoch_is_no_curve(here):
    folder = make_study(here / "sweeps/single", accuracies=[0.9, 0.92])
    rows = [row for row in fileio.read_rows(folder / "history.csv") if row["epoch"] == "1"]
    fileio.write_rows(folder / "history.csv", record.HISTORY_COLUMNS, rows)
    assert "no learning curves" in page(here)


# --- the whole -------------------------------------------------------------------------------------------------------


def fill(root):
    random_search(root / "single")
    make_study(root / "stacked")
    make_study(root / "unconfirmed", accuracies=[])
    for length in (20, 50):
        regression(root / f"gru-{length}", [0.1 / length, 0.2 / length, 0.15 / length], length=length)
    change(root / "stacked", {"n_test": 10000}, model={"weights": "200k"})


def test_the_page_its_data_and_its_figures_do_not_depend_on_the_order_of_the_rows(here):
    fill(here / "sweeps")
    before = made(here)
    assert {"pairs.csv", "budget.csv"} < set(before.texts)
    assert {f"figures/budget-{MNIST}", "figures/long-memory-adding", f"figures/accuracy-{MNIST}"} < set(before.figures)
    for folder in (here / "sweeps").iterdir():
        shuffle_rows(folder)
    after = made(here)
    assert after.texts == before.texts
    assert set(after.figures) == set(before.figures)
    for name, make in before.figures.items():
        assert style.render(after.figures[name](), "svg") == style.render(make(), "svg"), name


def test_studies_without_anything_to_compare_have_a_page_all_the_same(here):
    for name in ("a", "b"):
        folder = make_study(here / "sweeps" / name, accuracies=[])
        for file in ("environment.json", "config.yaml"):
            (folder / file).unlink()
        edit(folder / "trials.csv", lambda rows: rows[:1])
    text = page(here)
    assert "nothing is confirmed" in text
    assert "Version of lstm_bench not recorded." in text
    assert "### " not in text
    assert not (here / "reports/pairs.csv").exists()


@pytest.mark.long
def test_the_page_over_10000_random_trials_takes_seconds(here):
    n = 10_000
    rng = np.random.default_rng(0)
    small = records.load(random_search(here / "sweeps/single", n_trials=2))
    many = pd.concat([small.trials.iloc[:1]] * n, ignore_index=True)
    many = many.assign(number=np.arange(n, dtype=float), val_accuracy=rng.random(n), state="COMPLETE")
    tables = {file: small.frame(file) for file in record.FILES} | {"trials.csv": many}
    r = records.Result(small.folder, config=small.config, environment=small.environment, tables=tables)
    assert len(r.ranked) == n
    start = time.process_time()
    pages = comparison.comparison([r], {}, {id(r): "single.md"})
    for kind in ("svg", "png"):
        style.render(pages.figures[f"figures/budget-{MNIST}"](), kind)
    assert time.process_time() - start < 5
    rows = pages.texts["budget.csv"].splitlines()
    assert 40 < len(rows) <= 61
    assert ",10000," in rows[-1]


def test_grounds_come_in_one_order(here):
    results = loaded(here, single=[0.97], stacked=[0.98], simple_rnn=[0.9])
    results[0].environment["dataset"]["sha256"] = "00"
    assert [len(group) for group in comparability.grounds(results).values()] == [2, 1]


# --- what is compared with what ----------------------------------------------------------------------------------------


def test_families_are_paired_at_their_number_of_weights_and_corrected_among_those_alone(here):
    scores = {"single": (0.95, 0.951, 0.9535), "stacked": (0.96, 0.962, 0.964), "simple_rnn": (0.93, 0.9325, 0.931)}
    for family, accuracies in scores.items():
        make_study(here / f"sweeps/{family}", accuracies=accuracies)
        for budget in (25_000, 100_000):
            folder = make_study(here / f"sweeps/{family}-{budget}", n_weights=budget, accuracies=accuracies)
            change(folder, model={"_target_": f"lstm_bench.model.{family}", "weights": budget})
    text = page(here)
    rows = fileio.read_rows(here / "reports/pairs.csv")
    assert len(rows) == 9, "three pairs each"
    assert all(r["first"].partition("-")[2] == r["second"].partition("-")[2] for r in rows)
    for name in ("Families of any size:", "Families at 25,000 weights:", "Families at 100,000 weights:"):
        assert len(lines(text, name)) >= 1, name
    assert len(lines(text, "- stacked-25000 beats simple_rnn-25000 by ")) == 1 and "Holm over 3 pairs" in text


def test_a_study_of_several_objectives_is_not_paired_with_those_of_one(here):
    for name in ("single", "stacked"):
        make_study(here / "sweeps" / name)
    change(here / "sweeps/stacked", study={"objectives": {}})
    page(here)
    assert len(fileio.read_rows(here / "reports/pairs.csv")) == 1
    (here / "reports/pairs.csv").unlink()
    change(here / "sweeps/stacked", study={"objectives": {"val_accuracy": "maximize", "n_weights": "minimize"}})
    page(here)
    assert not (here / "reports/pairs.csv").exists()


def test_unequal_epochs_and_ways_of_search_are_said(here):
    for name in ("single", "stacked", "simple_rnn"):
        make_study(here / "sweeps" / name, accuracies=[0.9 + len(name) / 1000, 0.9, 0.91])
    path = here / "sweeps/stacked/replicates.csv"
    rows = fileio.read_rows(path)
    fileio.write_rows(path, record.REPLICATE_COLUMNS, [row | {"epochs": 7} for row in rows])
    change(here / "sweeps/simple_rnn", sampler={"name": "random"})
    text = page(here)
    assert "stacked was trained for 7 epochs, " in text
    assert "Searched by random, median, not tpe, median." in text


def test_seeds_that_all_differ_by_the_same_are_no_proof(here):
    make_study(here / "sweeps/single", accuracies=[0.95, 0.96])
    make_study(here / "sweeps/stacked", accuracies=[0.951, 0.961])
    text = page(here)
    assert (
        "No difference shown between stacked and single at n = 2:" in text and "p = 0.5 (exact sign-flip test)" in text
    )


def test_speeds_that_were_measured_beside_other_work_are_left_out_with_the_reason(here):
    for name in ("single", "stacked", "simple_rnn"):
        make_study(here / "sweeps/published/cpu" / name, accuracies=[0.9 + len(name) / 1000, 0.9, 0.91])
    (here / "sweeps/published/cpu/remarks.yaml").write_text("speeds: {s*k*: others were at work, nothing: no}\n")
    speeds = {row["study"]: row["train_samples_per_s"] for row in comparison_rows(here)}
    assert math.isfinite(speeds["single"]) and math.isnan(speeds["stacked"]) and math.isfinite(speeds["simple_rnn"])
    text = page(here)
    assert "Others were at work: the speed compares with nothing and is left out." in text
    assert "Measured beside other work, so that their seconds compare with nothing: stacked." in text
    one = records.load(here / "sweeps/published/cpu/stacked", "cpu")
    assert "Speeds and seconds compare with nothing: others were at work." in one.notes
    assert all(math.isnan(one.speed(row)) for _, row in one.replicates.iterrows())


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("speeds: [a]", "holds no mapping `speeds`"),
        ("- 3", "holds no mapping `speeds`"),
        ("speeds: {a: !!python/name:os.system ''}", "cannot be read"),
    ],
)
def test_remarks_that_are_none_are_a_note(here, text, note):
    folder = make_study(here / "sweeps/published/cpu/single")
    (folder.parent / "remarks.yaml").write_text(text)
    assert note in " ".join(records.load(folder, "cpu").notes)


def test_records_of_another_version_say_so(here):
    folder = make_study(here / "sweeps/single")
    change(folder, {"lstm_bench": "0.0.7"})
    assert any(
        note.startswith("Recorded by version 0.0.7 of lstm_bench, read by ") for note in records.load(folder).notes
    )


def comparison_rows(here):
    return [comparison.comparison_row(records.load(*place)) for place in reader.places(here / "sweeps")]


def test_every_committed_figure_across_studies_says_n_device_and_training_size():
    lacking = []
    for line in (pathlib.Path(__file__).parents[2] / "reports/comparison.md").read_text().splitlines():
        if line.startswith("!["):
            n = " trials)" if "/budget-" in line else "n = "
            lacking += [f"{word}: {line[:90]}" for word in (n, " training s") if word not in line]
            lacking += [] if re.search(r"Intel\(R\) Xeon", line) else [f"device: {line[:90]}"]
    assert lacking == []


def test_every_committed_figure_of_a_study_says_its_device_and_training_size():
    pages = sorted((pathlib.Path(__file__).parents[2] / "reports/intel-xeon-2-cores").glob("*.md"))
    lines = [line for page in pages for line in page.read_text().splitlines() if line.startswith("![")]
    assert len(lines) > 70
    assert [line[:90] for line in lines if "Intel(R) Xeon" not in line or " training samples" not in line] == []
