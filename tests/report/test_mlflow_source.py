"""`report source=mlflow`: the same tables and pages from a store alone as from the records of the same study."""

from __future__ import annotations

import math
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import fake
import numpy as np
import pandas as pd
import pytest
from conftest import undrawn

from lstm_bench.core import configuration, fileio
from lstm_bench.core.clock import time_of_day
from lstm_bench.core.console import Display
from lstm_bench.core.errors import ConfigError, StorageError
from lstm_bench.report import command as report
from lstm_bench.report.figures import style
from lstm_bench.report.sources import mlflow, records
from lstm_bench.study import columns
from lstm_bench.study import search_space as spaces
from lstm_bench.sweep import session, workers
from lstm_bench.tracking import runs, store
from lstm_bench.tracking.client import open_tracking
from lstm_bench.tracking.live import Live
from lstm_bench.training.artefacts import predictions

SETTINGS = {
    "study.name": "mixed",
    "study.description": "Trials of *every* end; its source: https://example.org/?a=1&b=2",
    "study.n_trials": 8,
    "study.replicates": 1,
    "study.max_failed": 9,
    "kernel.probe": True,
    "tracking.name": "mlflow",
    "tracking.uri": "sqlite:///mlflow.db",
    "sampler.name": "random",
    "pruner.name": "median",
    "pruner.n_startup_trials": 2,
    "pruner.n_warmup_epochs": 1,
    "train.momentum": 0.1 + 0.2,  # 17 digits, of which a page shows all
}
UNAVAILABLE = {"generic": None, "cudnn": "no GPU is visible"}
STARTED = 1_700_000_000_000


def script(task: Any) -> Iterator[Any]:
    """Trials that complete, are pruned, fail in every way and are tried again; seeds with predictions; a probe."""
    if task["kind"] == "check":
        yield {"state": "COMPLETE", "layers": ["lstm"]}
    elif task["kind"] == "probe":
        figures = {"n": 7, "step_ms": 1 / 3, "p10_samples_per_s": 1999.123456789, "p90_samples_per_s": 2001.0}
        yield fake.complete(task, **figures, batch_size=64, evidence="While x 2, MatMul x 13")
    elif task["kind"] == "trial":
        yield from trial(task)
    else:
        yield from (fake.metrics(task["config"], epoch) for epoch in (1, 2, 3))
        if task["seed"] == 2:
            yield lambda: photograph("confirming")
        random = np.random.default_rng(task["seed"])
        labels, scores = np.arange(60) % 4, random.dirichlet(np.ones(4), 60)
        seen = predictions(random.random((60, 5, 3)), labels, scores) if task["seed"] == 0 else {}
        yield fake.complete(task, **seen, test_accuracy=0.9 + task["seed"] / 300)


def trial(task: Any) -> Iterator[Any]:
    count["trials"] += 1
    epochs = [{**fake.metrics(task["config"], e), "val_mse": e / 3, "train_s": 0.1 * e} for e in (1, 2, 3)]
    yield epochs[0]
    match count["trials"]:
        case 2:
            yield fake.Died()
        case 4:
            yield {**epochs[1], "train_loss": math.inf, "val_loss": math.nan}
            yield fake.failed("nan", val_loss=-math.inf, epochs=2)
        case 5:
            yield fake.failed("exception", "a & b | c < d")
        case 6:
            yield fake.failed("oom", device_share="shared")
        case 7:
            yield {**epochs[1], "val_accuracy": 0.1}
        case 12:
            yield lambda: photograph("running")
    yield from epochs[1:]
    yield fake.complete(task, train_samples_per_s=2000 / 7 + count["trials"], val_loss=0.123456789012345)


count = {"trials": 0}
lives: list[Live] = []
PICTURES: dict[str, Path] = {}  # of a working directory: moment -> copy


def photograph(moment: str) -> None:
    """Keeps the working directory as it is at this moment, when MLflow was told all."""
    lives[-1].leave("FINISHED")
    lives[-1].stay()
    PICTURES[moment] = Path.cwd().with_name(moment)
    shutil.copytree(Path.cwd(), PICTURES[moment])


class Launcher(fake.FakeLauncher):
    def __init__(self, *_: Any, **__: Any):
        super().__init__(script)


def sweep(values: dict[str, Any]) -> None:
    """One invocation on the study in the working directory, from its header to its summary; nothing is trained."""
    config = fake.config({**SETTINGS, **values})
    place = Path("sweeps").absolute() / config["study"]["name"]
    place.mkdir(parents=True, exist_ok=True)
    display = Display(config["study"]["objective"], config["train"]["epochs"])
    session.Session(config, spaces.parse(config), place, [], display, "embedded in scikit-learn").run()


@pytest.fixture(scope="module", autouse=True)
def _unsynced() -> Iterator[None]:
    """No waiting for the disk: a run is three commits, a trial ten."""
    from sqlalchemy import Engine, event

    def listen(connection: Any, _: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", listen)
    yield
    event.remove(Engine, "connect", listen)


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory, unused_store: Path) -> dict[str, Path]:
    """A working directory in the middle of a resumed search, of its confirmation, and at its end."""
    place = tmp_path_factory.mktemp("study") / "work"
    place.mkdir()
    shutil.copy(unused_store, place)
    with pytest.MonkeyPatch.context() as patch, mock.patch.dict(os.environ):
        patch.chdir(place)
        patch.setattr(workers, "LocalLauncher", Launcher)
        patch.setattr(session, "Live", lambda *a, **k: lives.append(Live(*a, **k)) or lives[-1])
        patch.setattr(session.kernel, "unavailable", lambda name, *_, **__: UNAVAILABLE.get(name, "not asked for"))
        sweep({})
        sweep({"study.n_trials": 12, "study.replicates": 3})
        photograph("finished")
    assert sorted(PICTURES) == ["confirming", "finished", "running"]
    return PICTURES


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; MLflow's settings are given back."""
    monkeypatch.chdir(tmp_path)
    with mock.patch.dict(os.environ):
        yield tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """By dotted path: a search space nests its paths or dots them."""
    return configuration.flatten(config)


def assert_same_tables(ours: records.Result, theirs: records.Result) -> None:
    """`ours` is from MLflow: all but the probabilities of single predictions."""
    assert plain(ours.config) == plain(theirs.config)
    assert list(plain(ours.config)) == list(plain(theirs.config))
    assert ours.environment == theirs.environment
    assert ours.notes == theirs.notes
    for file in sorted({*columns.FILES} - {"predictions.csv"}):
        pd.testing.assert_frame_equal(ours.tables[file], theirs.tables[file], check_exact=True, obj=file)
    pd.testing.assert_frame_equal(ours.confusion, theirs.confusion)


def only(uri: str | None, **more: Any) -> records.Result:
    """The one study of a store of which nothing is left out."""
    (found,), remarks = mlflow.harvest(uri, **more)
    assert remarks == []
    return found


# The same study from both.


@pytest.mark.parametrize(
    "moment", [*(pytest.param(name, marks=pytest.mark.long) for name in ("running", "confirming")), "finished"]
)
def test_every_table_is_that_of_the_records(here: Path, moments: dict[str, Path], moment: str) -> None:
    theirs = records.load(moments[moment] / "sweeps" / "mixed")
    shutil.copy(moments[moment] / "mlflow.db", here)
    assert_same_tables(only(None), theirs)
    assert len(theirs.replicates) == {"running": 1, "confirming": 2, "finished": 3}[moment]
    assert {"nan", "exception", "oom_shared", "worker_died"} <= set(theirs.trials["reason"])
    assert theirs.counts["pruned"] and theirs.trials["retry_of"].notna().any()


@pytest.mark.parametrize("moment", [pytest.param("running", marks=pytest.mark.long), "finished"])
def test_the_pages_are_the_same_bytes_from_the_store_alone(
    here: Path,
    moments: dict[str, Path],
    moment: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if moment != "finished":  # one moment's figures will do
        monkeypatch.setattr(style, "pictures", undrawn)
    assert report.main([f"sweeps={moments[moment] / 'sweeps'}", "reports=records", "figures=all"]) == 0
    said = capsys.readouterr().out.replace("records", "reports/mlflow")
    shutil.copy(moments[moment] / "mlflow.db", here)  # no artifacts, no sweeps/
    assert report.main(["source=mlflow", "figures=all"]) == 0
    assert capsys.readouterr() == (said, "")
    wanted, made = files(here / "records"), files(here / "reports/mlflow")
    for name in [name for name in wanted if name.endswith((".md", ".csv"))]:
        assert made[name].decode() == wanted[name].decode()
    assert made == wanted
    assert {"history", "curves", "confusion", "worst"} <= {Path(name).stem.removeprefix("mixed-") for name in made}
    assert "momentum=0.30000000000000004" in wanted["mixed.md"].decode()


def test_reports_from_mlflow_can_be_checked(
    here: Path, moments: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "pictures", undrawn)
    shutil.copy(moments["finished"] / "mlflow.db", here)
    assert report.main(["source=mlflow"]) == 0
    assert report.main(["source=mlflow", "check=true"]) == 0
    (here / "reports/mlflow/mixed.md").write_text("edited")
    assert report.main(["source=mlflow", "check=true"]) == 6
    assert "are not what MLflow gives" in capsys.readouterr().err


def test_pages_of_runs_and_of_points_are_all_read(
    here: Path, moments: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    shutil.copy(moments["finished"] / "mlflow.db", here)
    search = MlflowClient.search_runs
    monkeypatch.setattr(MlflowClient, "search_runs", lambda *a, **k: search(*a, **k, max_results=3))
    monkeypatch.setattr(mlflow, "_RUNS", 4)
    monkeypatch.setattr(mlflow, "_POINTS", 5)
    assert_same_tables(only("sqlite:///mlflow.db"), records.load(moments["finished"] / "sweeps" / "mixed"))


def test_a_store_is_read_without_a_framework_and_without_optuna(here: Path, moments: dict[str, Path]) -> None:
    shutil.copy(moments["finished"] / "mlflow.db", here)
    code = """
import sys
from lstm_bench.report.sources import mlflow as harvest
print(len(harvest.harvest(None)[0]), sorted({"keras", "tensorflow", "jax", "torch", "optuna", "mlflow"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1 ['mlflow']\n", "")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(moments: dict[str, Path], tmp_path: Path) -> Iterator[str]:
    """Address of an `mlflow server` on a copy of the finished study's store, in a folder of its own."""
    folder, port = tmp_path.with_name("server"), free_port()
    folder.mkdir()
    shutil.copy(moments["finished"] / "mlflow.db", folder)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", "sqlite:///mlflow.db", "--workers", "1"]
    environment = {**os.environ, **store.ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            try:
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                    f"http://127.0.0.1:{port}/health", timeout=5
                )
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


@pytest.mark.long  # CI reads a store of its own, and a server in `test_ui.py`
def test_a_server_gives_the_same_and_its_password_is_never_shown(
    here: Path,
    moments: dict[str, Path],
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ADDRESS", f"http://me:S3CRET@{server}")
    assert report.main([f"sweeps={moments['finished'] / 'sweeps'}", "reports=records"]) == 0
    assert report.main(["source=mlflow", "uri=${oc.env:ADDRESS}", "reports=server"]) == 0
    assert files(here / "server") == files(here / "records")
    monkeypatch.setattr(mlflow, "_BULK", "/no-such-page")
    assert report.main(["source=mlflow", "uri=${oc.env:ADDRESS}"]) == 4
    said = capfd.readouterr()
    assert said.err.startswith(f"error: MLflow (http://me:***@{server}) cannot be read: ")
    assert said.err.count("\n") == 1
    assert "S3CRET" not in said.out + said.err


# Stores filled by hand.


def tracked(name: str = "large", **study: Any) -> Any:
    """A study's parent run in `mlflow.db` of the working directory."""
    observer = open_tracking({"name": "mlflow", "uri": None}, experiment=name)
    config = {"study": {"name": name, "space": {"model.units": {"type": "int", "low": 1, "high": 9}}}}
    observer.start(
        {"id": f"{name}-1", "name": name, "params": configuration.flatten(config), "environment": {}, **study}
    )
    assert observer.warning is None
    return observer


def rows(numbers: range) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Trials of two epochs, and those."""
    random = np.random.default_rng(0)
    trials, history = [], []
    for number in numbers:
        values = {"val_accuracy": float(random.random()), "val_loss": float(random.random()), "n_weights": number}
        trials.append({"number": number, "state": "COMPLETE", "seed": number, **values, "config_model.units": number})
        epochs = [{"epoch": e, "val_accuracy": values["val_accuracy"] / (3 - e), "train_s": e} for e in (1, 2)]
        history += [{"kind": "trial", "number": number, **epoch} for epoch in epochs]
    return trials, history


def log(observer: Any, trials: list[dict[str, Any]], history: list[dict[str, Any]]) -> None:
    for row in trials:
        epochs = slice(2 * row["number"], 2 * row["number"] + 2)
        observer.log_trial(row, history[epochs], STARTED + row["number"], STARTED + 99_999)
    assert observer.warning is None


@pytest.mark.long
def test_more_than_a_thousand_runs_are_read_in_seconds(here: Path, unused_store: Path) -> None:
    shutil.copy(unused_store, here)
    trials, history = rows(range(1100))
    log(tracked(), trials, history)
    folder = here / "sweeps/large"
    fileio.write_yaml(folder / "config.yaml", {"study": {"name": "large"}})
    ended_at = time_of_day(STARTED + 99_999)
    timed = [{**row, "started_at": time_of_day(STARTED + row["number"]), "ended_at": ended_at} for row in trials]
    fileio.write_rows(folder / "trials.csv", (*columns.TRIAL_COLUMNS, "config_model.units"), timed)
    fileio.write_rows(folder / "history.csv", columns.HISTORY_COLUMNS, history)
    wanted = records.load(folder)
    began = time.process_time()
    found = only(None)
    assert time.process_time() - began < 20
    assert (len(found.trials), len(found.tables["history.csv"])) == (1100, 2200)
    for file in ("trials.csv", "history.csv"):
        pd.testing.assert_frame_equal(found.tables[file], wanted.tables[file], check_exact=True)


def test_what_is_no_study_is_left_out_with_a_note(
    here: Path, unused_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(unused_store, here)
    log(tracked("mine"), *rows(range(2)))
    tracked("kernels-quick", source=runs.BENCHMARK)
    client = store.connect(store.store_uri({}))
    client.create_run(client.create_experiment("somebody's"), tags={"lstm_bench": "no"})
    assert report.main(["source=mlflow"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "note: MLflow: experiments left out, kernel benchmarks, which are reported from their records: kernels-quick",
        "note: MLflow: experiments left out, not lstm_bench's: somebody's",
    ]
    assert [row["study"] for row in fileio.read_rows(here / "reports/mlflow/comparison.csv")] == ["mine"]
    assert report.main(["source=mlflow", "experiments=somebody's", "reports=none"]) == 0
    assert capsys.readouterr().out.startswith("No studies of lstm_bench in MLflow")
    assert report.main(["source=mlflow", "experiments=mine"]) == 0
    assert capsys.readouterr().err == ""


def test_of_two_studies_of_one_name_the_newer_is_read(here: Path, unused_store: Path) -> None:
    shutil.copy(unused_store, here)
    log(tracked("twice"), *rows(range(3)))
    time.sleep(0.01)
    log(tracked("twice", id="twice-2"), *rows(range(2)))
    (found,), remarks = mlflow.harvest(None)
    assert len(found.trials) == 2
    assert [remark for remark in remarks if remark.startswith("experiment twice holds an older study")] == remarks != []


def test_runs_that_were_not_ended_are_left_out_and_said(here: Path, unused_store: Path) -> None:
    shutil.copy(unused_store, here)
    observer = tracked()
    trials, history = rows(range(3))
    log(observer, trials[:2], history)
    ended, observer._client.set_terminated = observer._client.set_terminated, None
    observer.log_trial(trials[2], [], STARTED, STARTED)
    assert not any("begun" in note for note in only(None).notes)  # it may be at work
    ended(observer.parent_id, "KILLED")
    found = only(None)
    assert list(found.trials["number"]) == [0, 1]
    assert "1 runs in MLflow were begun and not ended: left out." in found.notes


def test_replicates_of_an_earlier_winner_are_no_rows(here: Path, unused_store: Path) -> None:
    shutil.copy(unused_store, here)
    observer = tracked()
    for key in ("old", "new"):
        trial, seen = (1, {"0/0": 3}) if key == "old" else (2, {"0/0": 4})
        row = {"trial": trial, "seed": 0, "state": "COMPLETE", "test_accuracy": 0.5, "confusion": seen}
        observer.log_replicate(row, [], STARTED, STARTED, key=key)
    assert len(only(None).replicates) == 2  # nobody has said which
    observer.log_confirmed(["new"])
    found = only(None)
    assert (len(found.replicates), found.confusion.to_numpy().tolist()) == (1, [[4]])


def test_what_its_files_held_is_left_out_and_said_where_they_are_gone(here: Path, unused_store: Path) -> None:
    shutil.copy(unused_store, here)
    observer = tracked()
    observer.log_kernels([{"backend": "jax", "kernel": "xla", "train_samples_per_s": 9.0}])
    control = {"control": "linear", "seed": 0, "state": "COMPLETE", "test_accuracy": 0.75, "chosen": "C 1", "folds": 3}
    observer.log_controls([control])
    row = {"seed": 0, "state": "COMPLETE", "test_accuracy": 0.5, "confusion": {"0/0": 3, "0/1": 2}}
    observer.log_replicate(row, [], STARTED, STARTED, key="k")
    found = only(None)
    (read,) = found.tables["controls.csv"].to_dict("records")
    assert {name: read[name] for name in control} == control
    assert (found.notes, found.tables["kernels.csv"]["kernel"].tolist()) == ([], ["xla"])
    assert found.confusion.to_numpy().tolist() == [[3, 2], [0, 0]]
    shutil.rmtree(here / "mlartifacts")
    assert only(None).notes == [
        "The winner's kernels are left out: its file in MLflow cannot be reached from here.",
        "The controls are left out: its file in MLflow cannot be reached from here.",
        "No confusion matrix and no pictures of wrong samples: its file in MLflow cannot be reached from here.",
    ]


def test_a_store_of_an_older_version_gives_its_curves_confusion_and_kernels(here: Path, unused_store: Path) -> None:
    shutil.copy(unused_store, here)
    observer = tracked()
    with mock.patch.object(runs, "CURVES", runs.OLD_CURVES):
        epochs = [{"epoch": epoch, "val_accuracy": epoch / 8} for epoch in (1, 2)]
        observer.log_trial({"number": 0, "state": "COMPLETE"}, epochs, STARTED, STARTED)
    observer.log_replicate({"seed": 0, "state": "COMPLETE"}, [], STARTED, STARTED, key="k")
    ids = {run.info.run_name: run.info.run_id for run in observer._client.search_runs([observer.experiment_id])}
    for run, key, value, step in (
        ("trial 0", "end/val_accuracy", 0.5, 0),
        ("replicate seed 0", "confusion/0/1", 4, 0),
        ("replicate seed 0", "worst/0/label", 0, 0),
        ("replicate seed 0", "worst/0/values", 0.25, 0),
        ("large", "kernel_xla_samples_per_s", 9, 0),
    ):
        observer._client.log_metric(ids[run], key, value, step=step)
    observer._client.set_tag(ids["large"], runs.PROBED, '[["jax", "xla"]]')
    found = only(None)
    assert found.tables["history.csv"]["val_accuracy"].tolist() == [0.125, 0.25]
    assert found.trials["val_accuracy"].tolist() == [0.5]
    assert found.confusion.to_numpy().tolist() == [[0, 4], [0, 0]]
    assert found.tables["worst.csv"]["values"].astype(str).tolist() == ["0.25"]
    assert found.tables["kernels.csv"]["train_samples_per_s"].tolist() == [9.0]


def test_pictures_of_long_sequences_are_not_kept_and_the_page_says_so(here: Path, unused_store: Path) -> None:
    shutil.copy(unused_store, here)
    seen = predictions(np.zeros((3, 1025, 1)), np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]))
    row = {"seed": 0, "state": "COMPLETE", "test_accuracy": 0.5, **runs.evidence(seen)}
    assert row["pictures"] == [] and len(runs.evidence(predictions_of(1024))["pictures"]) == 1
    tracked().log_replicate(row, [], STARTED, STARTED, key="k")
    assert only(None).confusion.to_numpy().tolist() == [[1, 0], [1, 1]]
    assert report.main(["source=mlflow"]) == 0
    page = (here / "reports/mlflow/large.md").read_text()
    assert "No pictures of wrong samples: MLflow holds none of sequences this long." in page


def predictions_of(timesteps: int) -> dict[str, Any]:
    return predictions(np.zeros((1, timesteps, 1)), np.array([1]), np.array([[0.9, 0.1]]))


def test_a_study_of_an_older_version_says_so(here: Path, unused_store: Path) -> None:
    shutil.copy(unused_store, here)
    observer = tracked()
    for key in [key for key in observer._parent.tags if key.startswith(runs.KEYS)]:
        observer._client.delete_tag(observer.parent_id, key)
    log(observer, *rows(range(1)))
    assert "MLflow holds no configuration of this study: an older lstm_bench tracked it." in only(None).notes


# Wrong commands and stores.


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["source=mlfow"], 2, "source: expected records or mlflow, received 'mlfow'. Did you mean mlflow?"),
        (["uri=sqlite:///mlflow.db"], 2, "uri: expected none with source=records"),
        (["experiments=a"], 2, "experiments: expected none with source=records"),
        (["source=mlflow", "sweeps=elsewhere"], 2, "sweeps: expected none with source=mlflow"),
        (
            ["source=mlflow", "uri=[1]"],
            2,
            "uri: expected a URI of sqlite, http, https, postgresql, mysql, received '[1]'",
        ),
        (["source=mlflow", "uri=postgres://me:S3CRET@db/x"], 2, "uri: expected a URI of sqlite"),
        (["source=mlflow", "uri=./mlruns"], 2, "MLflow keeps runs in a database now, not in a folder: uri=sqlite"),
        (["source=mlflow", "uri=sqlite:///nowhere.db"], 2, "uri: expected an MLflow store, received 'sqlite:////"),
        (["source=mlflow", "uri=sqlite:///text.db"], 4, "text.db: corrupt"),
        (["source=mlflow", "uri=sqlite:///here.db", "experiments=defalt"], 2, "Did you mean Default?"),
        (["source=mlflow", "uri=sqlite:///here.db", "experiments=Default", "studies=x"], 2, "studies: expected names"),
        (["source=mlflow", "uri=http://me:S3CRET@127.0.0.1:{port}"], 4, "error: MLflow (http://me:***@127.0.0.1:"),
        (["source=mlflow", "uri=postgresql://me:S3CRET@127.0.0.1:{port}/x"], 4, "error: MLflow (postgresql://me:***@"),
    ],
)
def test_a_wrong_store_is_one_line_and_nothing_is_written(
    here: Path, unused_store: Path, capfd: pytest.CaptureFixture[str], args: list[str], code: int, said: str
) -> None:
    shutil.copy(unused_store, here / "here.db")
    (here / "text.db").write_text("hello, this is no database" * 100)
    assert report.main([arg.format(port=free_port()) for arg in args]) == code
    out, err = capfd.readouterr()
    assert said in err
    assert err.startswith("error: ") and err.count("\n") == 1 and out == ""
    assert "S3CRET" not in err
    assert sorted(path.name for path in here.iterdir()) == ["here.db", "text.db"]


def test_a_store_that_cannot_be_written_can_be_read(
    here: Path, moments: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(moments["finished"] / "mlflow.db", here)
    (here / "mlflow.db").chmod(0o444)
    monkeypatch.setattr(store.os, "access", lambda path, mode: mode != os.W_OK)  # the superuser may write anything
    before = (here / "mlflow.db").read_bytes()
    with pytest.raises(StorageError, match="cannot be written"):
        store.connect(store.store_uri({}))
    assert len(only(None).replicates) == 3
    assert (here / "mlflow.db").read_bytes() == before
    with pytest.raises(ConfigError):
        mlflow.harvest("sqlite:///other.db")


# What is written so that it can be read.


@pytest.mark.parametrize(
    "value",
    [
        "adam", "", "3", "1e-3", "true", "null", "NaN", "[1]", '"quoted"', "a: b", "two\nlines", "é", 3, 0, -1, True, False, None,
        0.1 + 0.2, 1e-7, 3.0, 1e22, [], {}, [1, "a", None], {"a": [1.5]}, "sqlite:///x.db",
    ],
)  # fmt: skip
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    back = runs.decode(runs.encode(value))
    assert (back, type(back)) == (value, type(value))


def test_words_stay_bare_and_passwords_do_not_pass() -> None:
    assert runs.param_strings({"a": "adam", "b": 3, "c": None, "d": "3", "e": "http://me:S3CRET@h/"}) == {
        "a": "adam",
        "b": "3",
        "c": "null",
        "d": '"3"',
        "e": "http://me:***@h/",
    }


def test_many_keys_are_several_tags() -> None:
    paths = [f"model.a_long_name_of_an_argument_{n}" for n in range(400)]
    tags = runs.param_order(paths)
    assert max(map(len, tags.values())) == 4000 and len(tags) > 3
    assert "".join(tags[key] for key in sorted(tags)).split("\n") == paths


def test_every_column_of_text_is_a_tag_or_becomes_one() -> None:
    row = {"state": "COMPLETE", "digest": "c0ffee", "val_loss": "0.5", "val_accuracy": "not a number"}
    with mock.patch.object(runs, "_METRICS", ("val_loss", "val_accuracy", "digest")):
        assert {key: value for key, value in runs.text_tags(row).items() if value} == {
            "state": "COMPLETE",
            "digest": "c0ffee",
            "val_accuracy": "not a number",
        }
