"""`lstm_bench.tracking.store`: URIs, without MLflow; `test_client.py` has the files behind them."""

import contextlib
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import lstm_bench
from lstm_bench.core import busy as held
from lstm_bench.core.errors import ConfigError
from lstm_bench.tracking import store, ui_server
from lstm_bench.tracking.client import open_tracking
from lstm_bench.tracking.live import Live
from lstm_bench.tracking.store import artifact_dir, check, check_sqlite, sqlite_path, store_uri

ROOT = Path(lstm_bench.__file__).parents[1]


def test_importing_and_checking_does_not_import_mlflow():
    code = "import sys, lstm_bench.tracking.store as s; s.check({'name': 'mlflow', 'uri': None}); print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///mlflow.db",
        "sqlite:////var/x.db",
        "http://127.0.0.1:5000",
        "https://me:pw@host/mlflow",
        "postgresql://me@db/mlflow",
        "postgresql+psycopg://me:p%40ss@db:5432/mlflow",
        "mysql+pymysql://me@db/mlflow",
        None,
    ],
)
def test_check_takes_every_store_mlflow_can_use(uri):
    check({"name": "mlflow", "uri": uri})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"name": "mlfow", "uri": None}, "Did you mean mlflow?"),
        ({"name": "mlflow", "uri": 3}, "expected a URI or null"),
        ({"name": "mlflow", "uri": "./mlruns"}, "tracking.uri=sqlite:///mlflow.db"),
        ({"name": "mlflow", "uri": "file:///tmp/mlruns"}, "tracking.uri=sqlite:///mlflow.db"),
        ({"name": "mlflow", "uri": "databricks://x"}, "Valid: http, https, mysql, postgresql, sqlite"),
        ({"name": "mlflow", "uri": "postgres://me:S3CRET@db/x"}, "Did you mean postgresql?"),
        ({"name": "mlflow", "uri": "sqlite+pysqlite:///x.db"}, "Did you mean sqlite"),
        ({"name": "mlflow", "uri": "sqlite://"}, "sqlite:///FILE"),
        ({"name": "mlflow", "uri": "sqlite:///:memory:"}, "sqlite:///FILE"),
        ({"name": "mlflow", "uri": "http://"}, "http://HOST"),
        ({"name": "mlflow", "uri": "http://me:S3CRET@host:port"}, "http://HOST"),
        ({"name": "mlflow", "uri": "http://me:S3CRET'S@host"}, "%27"),
        ({"name": "mlflow", "uri": "postgresql://me:S3CRET S@db/x"}, "%20"),
    ],
)
def test_check_refuses_what_cannot_be_meant(config, said):
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert said in str(caught.value)
    assert "S3CRET" not in str(caught.value)


def test_store_uri_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert store_uri({"name": "mlflow", "uri": None}) == f"sqlite:///{tmp_path}/mlflow.db"
    assert store_uri({"uri": "sqlite:///a/b.db"}) == f"sqlite:///{tmp_path}/a/b.db"
    assert store_uri({"uri": "sqlite:////x/b.db"}) == "sqlite:////x/b.db"
    assert store_uri({"uri": "http://host:5000"}) == "http://host:5000"


def test_a_folder_may_have_any_name(tmp_path, monkeypatch):
    (tmp_path / "c#x").mkdir()
    monkeypatch.chdir(tmp_path / "c#x")
    assert sqlite_path(store_uri({"uri": None})) == tmp_path / "c#x" / "mlflow.db"
    assert artifact_dir(store_uri({"uri": None})) == tmp_path / "c#x" / "mlartifacts"


@contextlib.contextmanager
def held_by_another(path):
    """A process that holds a sqlite file until it is killed."""
    code = "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN EXCLUSIVE')"
    command = [sys.executable, "-c", f"{code}; print(flush=True); time.sleep(60)", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        yield other
        other.kill()


@pytest.mark.parametrize("name", ["mlflow.db", "a b#c.db"])
def test_a_file_that_another_program_holds_is_no_fault_and_is_said_soon(name, tmp_path, monkeypatch, unused_store):
    assert store._NOTICE_S <= 3
    monkeypatch.setattr(store, "_NOTICE_S", 0.1)
    path = tmp_path / name
    shutil.copy(unused_store, path)
    said = []
    check_sqlite(path, busy=said.append)
    assert said == []
    with held_by_another(path) as other:
        check_sqlite(path, busy=said.append)
        assert said[0].startswith(f"{path} is held by another program") and len(said) == 1
        assert f"(pid {other.pid})" in said[0] or not held.holders(path)  # where the kernel tells
    check_sqlite(path, busy=said.append)
    assert len(said) == 1


def test_a_sweep_says_who_holds_its_store_and_goes_on(tmp_path, monkeypatch, unused_store):
    monkeypatch.setattr(store, "_NOTICE_S", 0.1)
    path = tmp_path / "mlflow.db"
    shutil.copy(unused_store, path)
    said = []
    watched = Live(
        tmp_path,
        open_tracking({"name": "mlflow", "uri": f"sqlite:///{path}"}, experiment="a"),
        {"patience": 1, "retry_s": 1, "retry_most_s": 1},
        lambda *_: [],
        shared=False,
        later=lambda work: None,
        say=said.append,
        remedy="sync",
    )
    with held_by_another(path):
        watched.check_store()
    assert len(said) == 1 and said[0].startswith(f"{path} is held by another program")
    assert said[0].endswith(": the sweep goes on, MLflow is told when it is free")


def test_the_ui_waits_until_its_store_is_free(tmp_path, monkeypatch, capsys, unused_store):
    monkeypatch.setattr(store, "_NOTICE_S", 0.1)
    path = tmp_path / "mlflow.db"
    shutil.copy(unused_store, path)
    with held_by_another(path) as other:
        threading.Timer(0.5, other.kill).start()
        ui_server._await_free(path)
    assert capsys.readouterr().err.count("waiting until it is free, Ctrl-C ends\n") == 1
