"""The later of two states of a study, whichever comes first, and what contradicts is said."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from published import KERNELS, LIMITS, PUBLISHED

from lstm_bench.core import fileio
from lstm_bench.core.errors import DataError
from lstm_bench.study import archive, validate
from lstm_bench.study import columns as record
from lstm_bench.study.later import later
from lstm_bench.study.reader import StudyRecord
from lstm_bench.study.validate import IDENTITY

STUDY = validate.from_folder(PUBLISHED / "families-mlp", LIMITS)
BENCHMARK = validate.from_folder(KERNELS, LIMITS)


def read(study: StudyRecord, path: Path) -> StudyRecord:
    """A study as it is after it was written and read."""
    path.write_bytes(archive.packed(study))
    return archive.read(path, LIMITS)


def changed(study: StudyRecord, path: Path, **files: Any) -> StudyRecord:
    """A study some of whose files are changed: a table by a function of its rows, a document by one of its tree."""
    texts = dict(study.texts)
    for name, change in files.items():
        file = next(known for known in texts if known.startswith(name + "."))
        if file in study.checked:
            table = study.checked[file]
            rows = change([dict(row) for row in table.rows.values()])
            columns = tuple(column for column in table.columns if not rows or column in rows[0])
            fileio.write_rows(path / "rows", columns, rows)
            texts[file] = (path / "rows").read_text()
        else:
            tree = change(copy.deepcopy(study.config if name == "config" else study.environment))
            texts[file] = yaml.safe_dump(tree, sort_keys=False) if name == "config" else json.dumps(tree)
    return read(
        StudyRecord(study.folder, environment={**study.environment, "study_id": bundle_id(texts)}, texts=texts),
        path / "a.zip",
    )


def bundle_id(texts: dict[str, str]) -> str | None:
    return json.loads(texts["environment.json"]).get("study_id")


def until(n: int, path: Path, replicates: int = 0) -> StudyRecord:
    """The study as it was after `n` trials, with so many replicates."""
    seeds = [row["seed"] for row in STUDY.checked["replicates.csv"].rows.values()][:replicates]

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
            whole = later(whole, state)
            whole = later(state, whole)
        assert whole.texts == states[-1].texts
    assert states[-1].texts["trials.csv"] == STUDY.texts["trials.csv"]
    assert states[-1].texts["history.csv"] == STUDY.texts["history.csv"]


def test_rows_that_the_further_state_lacks_are_refused(tmp_path: Path) -> None:
    fewer = changed(until(5, tmp_path), tmp_path, trials=lambda rows: rows[1:], history=lambda rows: rows[3:])
    blank = changed(STUDY, tmp_path, trials=lambda rows: [{**row, "total_s": ""} for row in rows])
    early = until(2, tmp_path)
    for one, two, said in (
        (fewer, early, "trials.csv number 0: only in one, which the other does not continue"),
        (blank, early, r"trials.csv number 0: total_s '' and '\d"),
    ):
        for pair in ((one, two), (two, one)):
            with pytest.raises(DataError, match=f"contradict each other: {said}"):
                later(*pair)


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
            later(one, two)


def test_states_of_other_user_code_are_refused_with_the_files(tmp_path: Path) -> None:
    def coded(files: Any) -> StudyRecord:
        code = {"digest": "-", "files": files}
        return changed(STUDY, tmp_path, environment=lambda tree: {**tree, "code": code})

    one, other = coded({"net.py": "a", "parts.py": "c"}), coded({"net.py": "b", "parts.py": "c", "new.py": "d"})
    said = r"contradict each other: the code of net\.py; the code of new\.py\. Name=OTHER keeps it apart"
    for pair in ((one, other), (other, one)):
        with pytest.raises(DataError, match=said):
            later(*pair)
    assert later(one, one).texts == one.texts
    for older in (STUDY, coded({}), coded("torn")):  # of nothing recorded, nothing is known
        assert later(one, older).texts == later(older, one).texts


def test_another_study_of_the_same_name_is_refused(tmp_path: Path) -> None:
    def named(name: str | None) -> StudyRecord:
        return changed(STUDY, tmp_path, environment=lambda tree: {**tree, "study_id": name})

    with pytest.raises(DataError, match=r"study 'families-mlp-.' and study 'families-mlp-.'"):
        later(named("families-mlp-1"), named("families-mlp-2"))
    one, two = named(None), named("families-mlp-1")  # an older version wrote none
    assert later(one, two).study_id == later(two, one).study_id == "families-mlp-1"


@pytest.mark.parametrize(
    ("path", "value"),
    [("study.n_trials", 99), ("launcher.workers", 1), ("study.description", "x"), ("dataset.dir", "/x")],
)
def test_what_a_resumed_sweep_may_change_is_no_contradiction(path: str, value: Any, tmp_path: Path) -> None:
    other = changed(STUDY, tmp_path, config=with_path(path, value))
    assert later(STUDY, other).texts == later(other, STUDY).texts


def test_replicates_of_what_is_no_candidate_any_more_are_left_out_as_in_the_records(tmp_path: Path) -> None:
    early = changed(
        until(5, tmp_path, 5),
        tmp_path,
        replicates=lambda rows: [{**row, "trial": "4"} for row in rows],
        history=lambda rows: [{**row, "trial": "4"} if row["kind"] == "replicate" else row for row in rows],
    )
    for one, two in ((early, STUDY), (STUDY, early)):
        assert later(one, two).texts == STUDY.texts


def rounds(path: Path, *numbers: str) -> StudyRecord:
    """The benchmark as it was after these rounds."""

    def some(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [row for row in rows if row["round"] in numbers]

    return changed(BENCHMARK, path, runs=some, samples=some)


def test_a_benchmark_that_went_on_is_the_later_one(tmp_path: Path) -> None:
    parts = [rounds(tmp_path, "0"), rounds(tmp_path, "0", "1"), BENCHMARK]
    for one, two in itertools.combinations(parts, 2):
        assert later(one, two).texts == later(two, one).texts == two.texts
    with pytest.raises(DataError, match=r"runs\.csv .* round 0: only in one"):
        later(rounds(tmp_path, "1", "2"), rounds(tmp_path, "0"))


def test_a_run_that_failed_gives_way_to_one_that_did_not(tmp_path: Path) -> None:
    def failed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**row, "state": "failed", "reason": "killed"} if i == 0 else row for i, row in enumerate(rows)]

    other = changed(rounds(tmp_path, "0", "1"), tmp_path, runs=failed)
    for one, two in ((BENCHMARK, other), (other, BENCHMARK)):
        assert later(one, two).texts == BENCHMARK.texts


def test_benchmarks_of_two_machines_are_refused(tmp_path: Path) -> None:
    other = changed(BENCHMARK, tmp_path, environment=with_path("device.name", "another"))
    with pytest.raises(DataError, match=r"device.name"):
        later(BENCHMARK, other)


def test_every_table_of_the_records_is_known() -> None:
    whole = {"kernels.csv", "predictions.csv", "worst.csv"}
    assert {*record.FILES, *record.BENCHMARK_FILES} == IDENTITY.keys() | whole
