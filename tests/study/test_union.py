"""Two states of a study as one: any order, any number of times, and what contradicts is said."""

from __future__ import annotations

import copy
import functools
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published import LIMITS, PUBLISHED

from lstm_bench.core import fileio
from lstm_bench.core.errors import DataError
from lstm_bench.kernels import merge_cells
from lstm_bench.study import archive, validate
from lstm_bench.study import columns as record
from lstm_bench.study.union import union as united
from lstm_bench.study.validate import IDENTITY, Bundle

union = functools.partial(united, benchmark=merge_cells)

STUDY = validate.from_folder(PUBLISHED / "families-mlp", LIMITS)
BENCHMARK = validate.from_folder(PUBLISHED / "kernels-tutorial", LIMITS)


def read(study: Bundle, path: Path) -> Bundle:
    """A study as it is after it was written and read."""
    path.write_bytes(archive.packed(study))
    return archive.read(path, LIMITS)


def changed(study: Bundle, path: Path, **files: Any) -> Bundle:
    """A study some of whose files are changed: a table by a function of its rows, a document by one of its tree."""
    texts = dict(study.texts)
    for name, change in files.items():
        file = next(known for known in texts if known.startswith(name + "."))
        if file in study.tables:
            table = study.tables[file]
            rows = change([dict(row) for row in table.rows.values()])
            columns = tuple(column for column in table.columns if not rows or column in rows[0])
            fileio.write_rows(path / "rows", columns, rows)
            texts[file] = (path / "rows").read_text()
        else:
            tree = change(copy.deepcopy(study.config if name == "config" else study.environment))
            texts[file] = yaml.safe_dump(tree, sort_keys=False) if name == "config" else json.dumps(tree)
    return read(Bundle(study.name, bundle_id(texts), texts, {}, study.environment, {}), path / "a.zip")


def bundle_id(texts: dict[str, str]) -> str | None:
    return json.loads(texts["environment.json"]).get("study_id")


def until(n: int, path: Path, replicates: int = 0) -> Bundle:
    """The study as it was after `n` trials, with so many replicates."""
    seeds = [row["seed"] for row in STUDY.tables["replicates.csv"].rows.values()][:replicates]

    def history(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [r for r in rows if (int(r["number"]) < n if r["kind"] == "trial" else r["number"] in seeds)]

    def config(tree: dict[str, Any]) -> dict[str, Any]:
        return {**tree, "study": {**tree["study"], "n_trials": n}}

    return changed(
        STUDY,
        path,
        trials=lambda rows: rows[:n],
        replicates=lambda rows: rows[:replicates],
        history=history,
        predictions=lambda rows: rows if replicates else [],
        worst=lambda rows: rows if replicates else [],
        config=config,
    )


def test_any_order_of_the_states_of_a_study_gives_its_last_one(tmp_path: Path) -> None:
    states = [until(2, tmp_path), until(5, tmp_path), until(8, tmp_path, 3), until(8, tmp_path, 5)]
    for order in itertools.permutations(states):
        whole = order[0]
        for state in order[1:]:
            whole = union(whole, state)
            whole = union(state, whole)
        assert whole.texts == states[-1].texts
    assert states[-1].texts["trials.csv"] == STUDY.texts["trials.csv"]
    assert states[-1].texts["history.csv"] == STUDY.texts["history.csv"]


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_rows_of_both_are_united_whichever_comes_first(tmp_path_factory: Any, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("union")

    def some(rows: list[Any]) -> list[Any]:
        mask = data.draw(st.integers(0, 2 ** len(rows) - 1))
        return [row for place, row in enumerate(rows) if mask >> place & 1]

    def blank(rows: list[Any]) -> list[Any]:
        column = data.draw(st.sampled_from(["val_loss", "total_s", "kernel_ran"]))
        return [{key: value for key, value in row.items() if key != column} for row in rows]

    parts = [
        changed(STUDY, folder, trials=lambda rows: blank(some(rows)) or rows[:1], replicates=some, history=some)
        for _ in range(2)
    ]
    whole = union(*parts)
    assert whole.texts == union(*reversed(parts)).texts
    for part in parts:
        assert union(whole, part).texts == whole.texts == union(part, whole).texts
    for file in ("trials.csv", "replicates.csv", "history.csv"):
        assert whole.tables[file].rows.keys() == parts[0].tables[file].rows.keys() | parts[1].tables[file].rows.keys()
        for part in parts:
            for key, row in part.tables[file].rows.items():
                assert row.items() <= whole.tables[file].rows[key].items()


def score(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{**row, "val_accuracy": "0.5"} if i == 3 else row for i, row in enumerate(rows)]


def with_path(path: str, value: Any) -> Any:
    def change(tree: dict[str, Any]) -> dict[str, Any]:
        group, key = path.split(".")
        return {**tree, group: {**tree[group], key: value}}

    return change


CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a trial": ({"trials": score}, r"trials.csv number 3: val_accuracy '0\.[0-9]+' and '0\.[0-9]+'"),
    "a replicate": ({"replicates": score}, r"replicates.csv trial 1 seed 3: val_accuracy"),
    "an epoch": ({"history": score}, r"history.csv kind trial number 1 epoch 1: val_accuracy"),
    "the configuration": ({"config": with_path("train.epochs", 9)}, r"train.epochs '[39]' and '[39]'"),
    "the data": ({"environment": with_path("dataset.sha256", "0" * 64)}, "dataset.sha256 "),
}


@pytest.mark.parametrize(("change", "said"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_what_contradicts_is_refused_with_the_difference(change: Any, said: str, tmp_path: Path) -> None:
    other = changed(STUDY, tmp_path, **change)
    for one, two in ((STUDY, other), (other, STUDY)):
        with pytest.raises(DataError, match=f"contradict each other: .*{said}.*Name=OTHER keeps it apart"):
            union(one, two)


def test_states_of_other_user_code_are_refused_with_the_files(tmp_path: Path) -> None:
    def coded(files: Any) -> Bundle:
        code = {"digest": "-", "files": files}
        return changed(STUDY, tmp_path, environment=lambda tree: {**tree, "code": code})

    one, other = coded({"net.py": "a", "parts.py": "c"}), coded({"net.py": "b", "parts.py": "c", "new.py": "d"})
    said = r"contradict each other: the code of net\.py; the code of new\.py\. Name=OTHER keeps it apart"
    for pair in ((one, other), (other, one)):
        with pytest.raises(DataError, match=said):
            union(*pair)
    assert union(one, one).texts == one.texts
    for older in (STUDY, coded({}), coded("torn")):  # of nothing recorded, nothing is known
        assert union(one, older).tables == union(older, one).tables


def test_another_study_of_the_same_name_is_refused(tmp_path: Path) -> None:
    def named(name: str) -> Bundle:
        return changed(STUDY, tmp_path, environment=lambda tree: {**tree, "study_id": name})

    with pytest.raises(DataError, match=r"study 'families-mlp-.' and study 'families-mlp-.'"):
        union(named("families-mlp-1"), named("families-mlp-2"))
    assert union(STUDY, named("families-mlp-1")).study_id == "families-mlp-1"  # an older version wrote none
    whole = union(named("families-mlp-1"), STUDY)
    assert bundle_id(whole.texts) == "families-mlp-1"


@pytest.mark.parametrize(
    ("path", "value"),
    [("study.n_trials", 99), ("launcher.workers", 1), ("study.description", "x"), ("dataset.dir", "/x")],
)
def test_what_a_resumed_sweep_may_change_is_no_contradiction(path: str, value: Any, tmp_path: Path) -> None:
    other = changed(STUDY, tmp_path, config=with_path(path, value))
    assert union(STUDY, other).texts == union(other, STUDY).texts


def test_replicates_of_what_is_no_candidate_any_more_are_left_out_as_in_the_records(tmp_path: Path) -> None:
    early = changed(
        until(5, tmp_path, 5),
        tmp_path,
        replicates=lambda rows: [{**row, "trial": "4"} for row in rows],
        history=lambda rows: [{**row, "trial": "4"} if row["kind"] == "replicate" else row for row in rows],
    )
    for one, two in ((early, STUDY), (STUDY, early)):
        assert union(one, two).texts == STUDY.texts


def test_rounds_of_a_benchmark_are_united_and_its_cells_computed_anew(tmp_path: Path) -> None:
    def rounds(*numbers: str) -> Bundle:
        part = changed(
            BENCHMARK,
            tmp_path,
            runs=lambda rows: [row for row in rows if row["round"] in numbers],
            samples=lambda rows: [row for row in rows if row["round"] in numbers],
        )
        return changed(part, tmp_path, cells=lambda rows: [{**row, "n": row["n"] and "1"} for row in rows])

    parts = [rounds("0", "1"), rounds("1", "2")]
    whole = union(*parts)
    assert whole.texts == union(*reversed(parts)).texts
    for file in ("runs.csv", "samples.csv", "ceilings.csv", "cells.csv"):
        assert whole.texts[file] == BENCHMARK.texts[file], file
    assert read(whole, tmp_path / "b.zip").texts == whole.texts
    assert union(whole, parts[0]).texts == whole.texts


def test_numbers_of_no_benchmark_cost_no_memory(tmp_path: Path) -> None:
    def vast(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**row, "layers": str(10**15)} for row in rows]

    def more(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [*rows, *({**rows[0], "sample": str(i)} for i in range(1000, 2100))]

    def deep(n: int) -> Bundle:
        return changed(BENCHMARK, tmp_path, runs=lambda rows: vast(rows)[:n], cells=lambda rows: [])

    assert union(deep(1), deep(2)).count("runs.csv") == 2
    with pytest.raises(DataError, match="too many samples of a run: expected at most 1000"):
        union(BENCHMARK, changed(BENCHMARK, tmp_path, samples=more, runs=lambda rows: rows[:-1]))


def test_a_run_that_failed_gives_way_to_one_that_did_not(tmp_path: Path) -> None:
    def failed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**row, "state": "failed", "reason": "killed"} if i == 0 else row for i, row in enumerate(rows)]

    other = changed(BENCHMARK, tmp_path, runs=failed)
    for one, two in ((BENCHMARK, other), (other, BENCHMARK)):
        assert union(one, two).texts["runs.csv"] == BENCHMARK.texts["runs.csv"]


def test_benchmarks_of_two_machines_are_refused(tmp_path: Path) -> None:
    other = changed(BENCHMARK, tmp_path, environment=with_path("device.name", "another"))
    with pytest.raises(DataError, match=r"device.name"):
        union(BENCHMARK, other)


def test_a_name_of_many_digits_is_no_number(tmp_path: Path) -> None:
    other = changed(BENCHMARK, tmp_path, ceilings=lambda rows: [{**row, "device": "1" * 5000} for row in rows])
    assert union(BENCHMARK, other).count("ceilings.csv") == 2 * BENCHMARK.count("ceilings.csv")


def test_every_table_of_the_records_is_known() -> None:
    whole = {"kernels.csv", "predictions.csv", "worst.csv"}
    assert {*record.FILES, *record.BENCHMARK_FILES} == IDENTITY.keys() | whole
