"""`lstm_bench.sync`: what MLflow is told from the records is what the sweep itself would have told it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pytest
import spy

from lstm_bench import sync
from lstm_bench.core import fileio, locks
from lstm_bench.report.sources import mlflow, records
from lstm_bench.study import columns as record

# Several candidates, trials of every end, a probe.
ARGUMENTS = (
    *spy.QUICK, "tracking=mlflow", "study.n_trials=10", "study.replicates=2", "study.confirm=2", "pruner=median",
    "pruner.n_startup_trials=3", "pruner.n_warmup_epochs=1", "kernel.probe=true", "study.max_failed=4",
)  # fmt: skip
OURS = ("lstm_bench.", "mlflow.parentRunId", "environment.")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, unused_store: Path) -> Path:
    """A working directory after an undisturbed sweep, its MLflow store beside it."""
    folder = tmp_path_factory.mktemp("swept")
    shutil.copy(unused_store, folder)
    (folder / "faults").mkdir()
    for name in ("nan.1", "kill.1"):
        (folder / "faults" / name).touch()
    code, out, err = spy.swept(folder, *ARGUMENTS, SPY_FAULTS=str(folder / "faults"), SPY_EPOCH_S="0.02", timeout=300)
    assert (code, err) == (0, ""), out
    return folder


@pytest.fixture
def here(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of that directory to work in; MLflow's settings are given back."""
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with mock.patch.dict(os.environ):
        yield tmp_path


def dump(path: Path) -> dict[str, list[Any]]:
    """Every row of a store."""
    with sqlite3.connect(path) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: sorted(database.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}


def told(path: Path) -> dict[str, dict[str, Any]]:
    """Name -> everything that a store holds of a run, MLflow's own ids aside."""
    with sqlite3.connect(path) as database:
        names = dict(database.execute("SELECT run_uuid, name FROM runs"))
        found: dict[str, dict[str, Any]] = {name: {} for name in names.values()}
        assert len(found) == len(names)
        for run, status, begun, ended in database.execute("SELECT run_uuid, status, start_time, end_time FROM runs"):
            found[names[run]] |= {"status": status, "times": (begun, ended)}
        for kind, columns in (
            ("params", "key, value"),
            ("tags", "key, value"),
            ("metrics", "key, step, value"),  # not when: epochs are told as they end, or afterwards
        ):
            for run, *values in database.execute(f"SELECT run_uuid, {columns} FROM {kind} ORDER BY key, 3"):
                values = [names.get(value, value) for value in values]  # the parent's id
                found[names[run]].setdefault(kind, []).append(tuple(values))
        inputs = database.execute("SELECT name, digest, dataset_profile FROM datasets").fetchall()
        return {**found, "data": {"inputs": inputs}}


def without_clock(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of the parent run, what is not the time of the telling."""
    return {**found, "smoke": {key: value for key, value in found["smoke"].items() if key != "times"}}


def test_the_sweep_had_trials_of_every_end(swept: Path) -> None:
    found = records.load(swept / "sweeps" / "smoke")
    assert {"COMPLETE", "PRUNED", "FAIL"} == set(found.trials["state"])
    assert {"nan", "worker_died"} <= set(found.trials["reason"])
    assert (len(found.candidates), len(found.replicates)) == (2, 4)


def test_the_runs_are_those_of_the_sweep_to_the_last_digit_and_millisecond(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = told(here / "mlflow.db")
    assert sync.main(["tracking.uri=sqlite:///other.db"]) == 0
    after = told(here / "other.db")
    assert capsys.readouterr().out.startswith(f"smoke: {len(after) - 1} of {len(after) - 1} runs added (sqlite:///")
    assert without_clock(after) == without_clock(before)
    trials = [run["times"] for name, run in after.items() if name.startswith("trial")]
    assert after["smoke"]["times"][0] == min(begun for begun, _ in trials)
    runs = [sorted(path.name for path in run.rglob("*.png")) for run in (here / "mlartifacts" / "smoke").iterdir()]
    assert len(runs) == 2
    assert runs[0] == runs[1] != []


def test_twice_gives_nothing_new(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sync.main(["tracking.uri=sqlite:///other.db"]) == 0
    first = dump(here / "other.db")
    assert sync.main(["tracking.uri=sqlite:///other.db"]) == 0
    assert dump(here / "other.db") == first
    assert "smoke: up to date, " in capsys.readouterr().out.splitlines()[-1]


def test_what_a_sweep_told_is_left_as_it_is(here: Path, swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {  # but for the place of its files: the folder is a copy
        table: sorted(
            (tuple(str(value).replace(f"{swept}/mlartifacts", f"{here}/mlartifacts") for value in row) for row in rows),
            key=repr,
        )
        for table, rows in dump(here / "mlflow.db").items()
    }
    assert sync.main([]) == 0
    after = dump(here / "mlflow.db")
    assert {table: sorted((tuple(map(str, row)) for row in rows), key=repr) for table, rows in after.items()} == before
    assert "smoke: up to date, " in capsys.readouterr().out


def test_missing_and_half_told_runs_are_added(here: Path) -> None:
    before = told(here / "mlflow.db")
    with sqlite3.connect(here / "mlflow.db") as database:
        (gone,) = database.execute("SELECT run_uuid FROM runs WHERE name = 'trial 3'").fetchone()
        (half,) = database.execute("SELECT run_uuid FROM runs WHERE name = 'trial 4'").fetchone()
        for table in ("metrics", "latest_metrics", "params"):
            database.execute(f"DELETE FROM {table} WHERE run_uuid IN (?, ?)", (gone, half))
        database.execute("DELETE FROM tags WHERE run_uuid = ?", (gone,))
        database.execute("DELETE FROM runs WHERE run_uuid = ?", (gone,))
        database.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE run_uuid = ?", (half,))
        database.execute("UPDATE runs SET status = 'KILLED' WHERE name = 'smoke'")
    assert sync.main([]) == 0
    assert without_clock(told(here / "mlflow.db")) == without_clock(before)


def test_a_run_that_was_told_all_but_its_end_has_no_point_twice(here: Path) -> None:
    """Of points with other times than the records give, as a driver's clock left them: of equal ones MLflow keeps one itself."""
    of_trial = "run_uuid IN (SELECT run_uuid FROM runs WHERE name = 'trial 4')"
    with sqlite3.connect(here / "mlflow.db") as database:
        database.execute(f"UPDATE metrics SET timestamp = timestamp + 7 WHERE {of_trial}")
    before = told(here / "mlflow.db")
    with sqlite3.connect(here / "mlflow.db") as database:
        database.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE name = 'trial 4'")
    assert sync.main([]) == 0
    after = told(here / "mlflow.db")
    assert after["trial 4"]["status"] == before["trial 4"]["status"]
    assert after["trial 4"]["metrics"] == before["trial 4"]["metrics"]


@pytest.mark.long  # CI: to the last millisecond, in the zone of this machine
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_times_are_those_of_the_sweep_in_any_time_zone(here: Path, zone: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lstm_bench.sync", "tracking.uri=sqlite:///other.db"], env={**os.environ, "TZ": zone}
    )
    assert done.returncode == 0
    assert {name: run.get("times") for name, run in told(here / "other.db").items() if name != "smoke"} == {
        name: run.get("times") for name, run in told(here / "mlflow.db").items() if name != "smoke"
    }


def test_a_study_that_cannot_be_read_does_not_keep_the_next_one_from_its_turn(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("a", "study: {"), ("b", "study: " + "[" * 3000)):
        (here / "sweeps" / name).mkdir()
        (here / "sweeps" / name / "config.yaml").write_text(text)
    assert sync.main(["tracking.uri=sqlite:///other.db"]) == 4
    out, err = capsys.readouterr()
    assert out.startswith("smoke: ") and "runs added" in out
    assert [
        line.startswith(f"error: sweeps/{name}: config.yaml") for name, line in zip("ab", err.splitlines(), strict=True)
    ]
    (here / "sweeps" / "smoke" / "config.yaml").write_text(
        "study: {name: smoke}\ntracking: {name: mlflow, uri: null}\n"
    )
    assert sync.main(["study=smoke"]) == 4
    assert "smoke: its records cannot be read" in capsys.readouterr().err


def test_records_that_name_no_time_give_the_same_tables_and_the_same_identities(here: Path) -> None:
    """As older versions wrote them: their rows are laid one after the other."""
    folder, before = here / "sweeps" / "smoke", told(here / "mlflow.db")
    (folder / "study.db").unlink()
    theirs = records.load(folder)
    for file in ("trials.csv", "replicates.csv"):
        rows = fileio.read_rows(folder / file)
        columns = [column for column in rows[0] if column not in ("started_at", "ended_at")]
        fileio.write_rows(folder / file, columns, rows)
    assert sync.main(["tracking.uri=sqlite:///other.db"]) == 0
    after = told(here / "other.db")
    for name, run in before.items():
        if name != "data":
            assert {tag for tag in after[name]["tags"] if tag[0].startswith(OURS)} == {
                tag for tag in run["tags"] if tag[0].startswith(OURS)
            }
            assert (after[name]["status"], after[name]["params"]) == (run["status"], run["params"])
    (ours,), _ = mlflow.harvest("sqlite:///other.db")
    for file in ("trials.csv", "replicates.csv", "history.csv", "kernels.csv"):
        times = ["started_at", "ended_at"] if file in ("trials.csv", "replicates.csv") else []
        found, expected = (tables[file].drop(columns=times) for tables in (ours.tables, theirs.tables))
        pd.testing.assert_frame_equal(found, expected, check_exact=True, obj=file)
    spans = sorted(run["times"] for name, run in after.items() if name.startswith("trial"))
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))  # one after the other


def test_a_study_whose_driver_was_killed_is_told_as_far_as_it_came(here: Path) -> None:
    folder = here / "sweeps" / "smoke"
    for name in ("replicates.csv", "kernels.csv"):
        (folder / name).unlink()
    trials, history = fileio.read_rows(folder / "trials.csv"), fileio.read_rows(folder / "history.csv")
    fileio.write_rows(
        folder / "trials.csv", list(trials[0]), trials[:-1]
    )  # the last had begun, and two epochs of it ended
    last = {**trials[-1], "kind": "trial", "trial": ""}
    columns = [*record.BEGUN_COLUMNS, *(name for name in last if name.startswith("config_"))]
    fileio.write_rows(folder / "begun.csv", columns, [last])
    kept = [
        row for row in history if row["kind"] == "trial" and (row["number"] != last["number"] or row["epoch"] < "3")
    ]
    fileio.write_rows(folder / "history.csv", list(history[0]), kept)
    assert sync.main(["tracking.uri=sqlite:///other.db"]) == 0
    first, name = dump(here / "other.db"), f"trial {last['number']}"
    found = told(here / "other.db")
    assert {run["status"] for run in found.values() if "status" in run} <= {"FINISHED", "FAILED", "KILLED"}
    assert (found[name]["status"], "state" in dict(found[name]["tags"])) == ("KILLED", False)
    assert [step for key, step, _ in found[name]["metrics"] if key == "curves/val_accuracy"] == [1, 2]
    assert sync.main(["tracking.uri=sqlite:///other.db"]) == 0
    assert dump(here / "other.db") == first
    (ours,), _ = mlflow.harvest("sqlite:///other.db")
    assert len(ours.trials) == len(trials) - 1
    fileio.write_rows(folder / "trials.csv", list(trials[0]), trials)  # and so goes on
    fileio.write_rows(folder / "history.csv", list(history[0]), history)
    assert sync.main(["tracking.uri=sqlite:///other.db"]) == 0
    before, after = told(here / "mlflow.db")[name], told(here / "other.db")[name]
    assert after == before


def test_predictions_of_the_first_seed_are_counted(here: Path) -> None:
    folder = here / "sweeps" / "smoke"
    facts = dict(sqlite3.connect(folder / "study.db").execute("SELECT key, value_json FROM study_user_attributes"))
    (folder / "study.db").unlink()
    digest = json.loads(facts["placed"])
    rows = [{"sample": i, "label": i % 2, "prediction": 0, "probability": 0.5} for i in range(4)]
    worst = [{**rows[1], "timesteps": 1, "features": 2, "values": "0.5 1"}]
    for place in (folder, folder / "candidates" / digest):
        fileio.write_rows(place / "predictions.csv", record.PREDICTION_COLUMNS, rows)
        fileio.write_rows(place / "worst.csv", record.WORST_COLUMNS, worst)
    assert sync.main(["tracking.uri=sqlite:///other.db"]) == 0
    (ours,), _ = mlflow.harvest("sqlite:///other.db")
    theirs = records.load(folder)
    pd.testing.assert_frame_equal(ours.confusion, theirs.confusion)
    pd.testing.assert_frame_equal(ours.tables["worst.csv"], theirs.tables["worst.csv"])
    assert ours.confusion.to_numpy().tolist() == [[2, 0], [2, 0]]


def test_an_interrupted_search_is_killed_and_has_no_winner(here: Path) -> None:
    folder = here / "sweeps" / "smoke"
    (folder / "study.db").unlink()
    (folder / "replicates.csv").unlink()
    (folder / "kernels.csv").unlink()
    lines = (folder / "trials.csv").read_text().splitlines(keepends=True)
    (folder / "trials.csv").write_text("".join(lines[:4]))
    assert sync.main(["tracking.uri=sqlite:///other.db"]) == 0
    found = told(here / "other.db")
    assert sorted(found) == ["data", "smoke", "trial 0", "trial 1", "trial 2"]
    assert found["smoke"]["status"] == "KILLED"
    assert "winner" not in dict(found["smoke"]["tags"])


def test_a_study_at_work_is_left_out_and_refused_by_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mlflow.db").unlink()
    with locks.hold(here / "sweeps" / "smoke", "study.name"):
        assert sync.main([]) == 0
        assert capsys.readouterr().out.startswith(f"smoke: left out, smoke is running as pid {os.getpid()} on ")
        assert sync.main(["study=smoke"]) == 4
    assert "smoke is running as pid" in capsys.readouterr().err
    assert not (here / "mlflow.db").exists()


def test_published_records_are_told_when_asked_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = here / "sweeps" / "published" / "a-device" / "smoke"
    target.mkdir(parents=True)
    for file in record.RECORDS:
        if (here / "sweeps" / "smoke" / file).exists():
            shutil.move(here / "sweeps" / "smoke" / file, target)
    shutil.rmtree(here / "sweeps" / "smoke")
    assert sync.main(["tracking.uri=sqlite:///other.db"]) == 0
    assert capsys.readouterr().out == "No studies below sweeps: nothing to bring up to date.\n"
    environment = json.loads((target / "environment.json").read_text())
    del environment["study_id"]  # as older versions wrote them
    fileio.write_json(target / "environment.json", environment)
    before = sorted(target.iterdir())
    for _ in range(2):
        assert sync.main(["tracking.uri=sqlite:///other.db", "sweeps=sweeps/published"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "runs added" in first
    assert "up to date" in second
    assert sorted(target.iterdir()) == before  # nothing is written beside them


def test_a_sweep_that_tracked_nothing_is_left_out_unless_a_store_is_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = here / "sweeps" / "smoke" / "config.yaml"
    config.write_text(config.read_text().replace("name: mlflow", "name: none"))
    (here / "mlflow.db").unlink()
    assert sync.main([]) == 0
    assert "smoke: left out, its sweep tracked nothing" in capsys.readouterr().out
    assert not (here / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["study=smok"], 2, "error: study=smok: there is no such study below sweeps. Did you mean smoke?"),
        (["stdy=smoke"], 2, "error: options: expected key=value, received 'stdy=smoke'. Did you mean study?"),
        (["tracking.uri=mlruns"], 2, "error: tracking.uri: expected a URI of sqlite"),
        (
            ["tracking.uri=${oc.env:NOWHERE}"],
            2,
            "error: tracking.uri=${oc.env:NOWHERE}: Environment variable 'NOWHERE' not",
        ),
        (
            ["tracking.uri=http://me:S3CRET@127.0.0.1:9"],
            4,
            "error: smoke: MLflow (http://me:***@127.0.0.1:9) does not take",
        ),
    ],
)
def test_faults_are_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert sync.main(arguments) == code
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert err.count("\n") == 1 and "S3CRET" not in err


def test_a_password_that_the_records_do_not_hold_is_asked_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = here / "sweeps" / "smoke" / "config.yaml"
    config.write_text(config.read_text().replace("  uri: null", "  uri: http://me:***@host:5000"))
    assert sync.main([]) == 2
    assert "the records hold no password of http://me:***@host:5000" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["config.yaml", "environment.json", "trials.csv"])
def test_unreadable_records_are_one_line(here: Path, capsys: pytest.CaptureFixture[str], file: str) -> None:
    (here / "sweeps" / "smoke" / file).write_bytes(b"number\n\xff\n[")
    before = dump(here / "mlflow.db")
    assert sync.main([]) == 4
    assert capsys.readouterr().err.count("\n") == 1
    assert dump(here / "mlflow.db") == before


def test_it_needs_neither_optuna_nor_a_framework(here: Path) -> None:
    late = "{'optuna', 'keras', 'tensorflow', 'jax', 'torch'}"
    code = (
        "import sys; from lstm_bench import sync; before = {'mlflow', 'pandas'} & set(sys.modules);"
        f"code = sync.main(['tracking.uri=sqlite:///mlflow.db']); print(code, before, {late} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set() set()"
