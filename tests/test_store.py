"""`lstm_bench.tracking.store`: URIs, without MLflow; `test_tracking.py` has the files behind them."""

import subprocess
import sys
from pathlib import Path

import pytest

import lstm_bench
from lstm_bench.core.errors import ConfigError
from lstm_bench.tracking.store import artifact_dir, check, sqlite_path, store_uri

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
