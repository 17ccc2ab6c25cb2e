"""Importance of what was searched, from made-up records of which the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from lstm_bench.core import formatting
from lstm_bench.report.pages import importance
from lstm_bench.report.sources.records import Result
from lstm_bench.study import columns as record

SPACE = {
    "train.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True, "step": None},
    "model": {"units": {"type": "int", "low": 8, "high": 64, "log": False}},
    "train.schedule": {"type": "categorical", "choices": ["constant", "cosine"]},
}


STEPPED = {"type": "int", "low": 8, "high": 64, "step": 9, "log": True}  # Optuna takes no step on a log axis


def searched(n: int, score, *, seed: int = 0, space=SPACE, sampler: str = "random") -> Result:
    """A search of `n` random trials whose objective is `score(log10 of the rate, units, schedule)`."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        rate, units, schedule = (
            10 ** rng.uniform(-4, -2),
            int(rng.integers(8, 65)),
            ("constant", "cosine")[rng.integers(2)],
        )
        row = {"number": float(number), "state": "COMPLETE", "val_accuracy": score(math.log10(rate), units, schedule)}
        rows.append(row | {"config_train.learning_rate": formatting.format_field(float(rate)), "config_model.units": str(units)}
                    | {"config_train.schedule": schedule})  # fmt: skip
    columns = [
        *record.TRIAL_COLUMNS,
        *(f"config_{path}" for path in ("train.learning_rate", "model.units", "train.schedule")),
    ]
    trials = pd.DataFrame(rows, columns=columns)
    trials["reason"] = ""
    config = {"study": {"space": space}, "sampler": {"name": sampler}}
    tables = {"trials.csv": trials, "replicates.csv": pd.DataFrame(columns=list(record.REPLICATE_COLUMNS), dtype=float)}
    return Result(None, "made", config=config, tables=tables)  # type: ignore[arg-type]


def by_rate(rate: float, units: int, schedule: str) -> float:
    return 0.9 - 0.05 * (rate + 3) ** 2 + 1e-5 * units


def by_units(rate: float, units: int, schedule: str) -> float:
    return 0.5 + units / 200


def test_the_path_that_alone_decides_has_nearly_all_importance_by_both() -> None:
    found = importance.importance(searched(60, by_rate))
    assert not isinstance(found, str)
    for shares in (found.fanova, found.ped_anova):
        assert sum(shares.values()) == pytest.approx(1)
        assert max(shares, key=lambda path: shares[path]) == "train.learning_rate"
    assert found.fanova["train.learning_rate"] > 0.9
    assert (found.n, found.n_fanova) == (60, 60)


def test_minimised_objectives_are_read_the_other_way_round() -> None:
    """PED-ANOVA asks what makes a trial good: only near 1e-3 is the loss low."""
    up = searched(60, by_rate)
    down = searched(60, lambda *values: 1 - by_rate(*values))
    down.config["study"]["direction"] = "minimize"
    shares = [importance.importance(result) for result in (up, down)]
    assert shares[0].ped_anova == pytest.approx(shares[1].ped_anova)


def test_the_order_of_the_rows_does_not_matter_and_numbers_repeat() -> None:
    first, again = searched(40, by_rate), searched(40, by_rate)
    shuffled = again.trials.sample(frac=1, random_state=3).reset_index(drop=True)
    again.tables["trials.csv"] = shuffled
    assert importance.importance(first) == importance.importance(again)


def test_words_on_greff_follow_the_numbers() -> None:
    result = searched(60, by_rate)
    says = importance.greff(result, importance.importance(result))
    assert "arXiv 1503.04069" in says and "Here it dominates: 9" in says and "drawn from 0.0001 to 0.01" in says
    result = searched(60, by_units)
    says = importance.greff(result, importance.importance(result))
    assert "Here it does not come first, `model.units` does; the learning rate has" in says
    half = importance.Importance(
        {"train.learning_rate": 0.6, "b": 0.4}, {"train.learning_rate": 0.55, "b": 0.45}, 60, 0.1, 60, 60
    )
    assert "it comes first by both, but explains less: 55 % by fANOVA" in importance.greff(result, half)
    split = importance.Importance(
        {"train.learning_rate": 0.4, "b": 0.6}, {"train.learning_rate": 0.8, "b": 0.2}, 60, 0.1, 60, 60
    )
    assert "the two disagree: it comes first by fANOVA, `b` by PED-ANOVA" in importance.greff(result, split)
    other = importance.Importance({"a": 0.4, "b": 0.6}, {"a": 0.8, "b": 0.2}, 60, 0.1, 60, 60)
    assert "It was not searched here." in importance.greff(result, other)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (searched(0, by_rate), "Too few complete trials to tell: 0, at least 10"),
        (searched(9, by_rate), "Too few complete trials to tell: 9, at least 10"),
        (searched(20, lambda *_: 0.5), "All 20 complete trials have the same val_accuracy"),
        (searched(20, lambda *_: math.nan), "Too few complete trials to tell: 0"),
        (searched(20, by_rate, space={}), "Nothing was searched."),
        (searched(20, by_rate, space={"model.units": SPACE["model"]["units"]}), "One path was searched"),
        (searched(20, by_rate, space={**SPACE, "model": {"units": {"type": "int"}}}), "Too few complete trials to tell: 0"),
        (searched(20, by_rate, space={**SPACE, "model": {"units": STEPPED}}), "The records do not fit the space"),
    ],
)  # fmt: skip
def test_where_nothing_can_be_told_a_sentence_says_why(result: Result, said: str) -> None:
    found = importance.importance(result)
    assert isinstance(found, str) and said in found
    assert "".join(importance.section(result, found)) in ("", "## Hyperparameter importance" + found)


def test_trials_without_a_value_of_a_path_are_left_out() -> None:
    result = searched(30, by_rate)
    result.trials.loc[:4, "config_model.units"] = ""
    found = importance.importance(result)
    assert not isinstance(found, str) and found.n == 25


def test_choices_are_read_as_they_are_recorded() -> None:
    domain = {"type": "categorical", "choices": [0.1, True, None, 32, "adam"]}
    texts = [formatting.format_field(choice) for choice in domain["choices"]]
    assert [importance._value(text, domain) for text in texts] == ["0.1", "True", "None", "32", "adam"]
    assert importance._value("33", domain) is None
    assert importance._value("64.0000000001", {"type": "float", "low": 0.0, "high": 64.0}) == 64.0


def test_a_page_says_how_trials_were_drawn_and_that_few_tell_little() -> None:
    result = searched(20, by_rate, sampler="tpe")
    text = "\n".join(importance.section(result, importance.importance(result)))
    assert "They were drawn by tpe, not at random." in text and "So few tell little" in text
    result = searched(60, by_rate)
    text = "\n".join(importance.section(result, importance.importance(result)))
    assert "not at random" not in text and "So few" not in text


def test_many_trials_are_thinned_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "FANOVA_MOST", 20)
    monkeypatch.setattr(importance, "PED_MOST", 50)
    result = searched(100, by_rate)
    found = importance.importance(result)
    assert not isinstance(found, str)
    assert (found.n, found.n_ped, found.n_fanova) == (100, 50, 20)
    told = "from 100 complete trials, thinned out evenly to 50 for PED-ANOVA and 20 for fANOVA"
    assert told in "".join(importance.section(result, found))
