"""MLflow's own server on a study's store, for this machine only, and links to the pages that show a study."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from lstm_bench.core.errors import ConfigError, StorageError, redact
from lstm_bench.tracking import runs, store

HOSTS = ("127.0.0.1", "localhost")
_START_S = 60.0  # longest wait for the server's first answer


def is_local(host: str) -> bool:
    """Whether a server on that host is reached from this machine alone."""
    return host in HOSTS


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _started(uri: str, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts MLflow's server in a process group of its own. Secrets travel by environment: `ps` shows arguments.

    Args:
      uri: Of the store.
      port: Of this machine.
      log: Receives what it says.
    """
    allowed = [f"{name}:{port}" for name in HOSTS]
    line = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    line += ["--artifacts-destination", store.artifact_dir(uri).as_uri()]
    line += ["--allowed-hosts", ",".join(allowed)]
    line += ["--cors-allowed-origins", ",".join(f"http://{name}" for name in allowed)]
    line += ["--uvicorn-opts", "--log-level warning"]
    environment = {
        **os.environ,
        **store.ENVIRONMENT,
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return subprocess.Popen(line, env=environment, stdout=log, stderr=log, start_new_session=True)


def _ask(address: str, path: str, body: dict[str, Any] | None = None) -> bytes | None:
    """The server's answer, None while there is none or it refuses. Proxies are for other machines."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return bytes(answer.read())
    except (OSError, http.client.HTTPException):
        return None


def _await_free(path: Path) -> None:
    """Waits while another program holds the store, and says so: the server would end for that, with a page of text.

    Raises:
      StorageError: as `store.check_sqlite`.
    """
    said: list[str] = []
    while True:
        held: list[str] = []
        store.check_sqlite(path, busy=held.append)
        if not held:
            return
        if not said:
            print(f"{held[0]}: waiting until it is free, Ctrl-C ends", file=sys.stderr, flush=True)
            said = held


def _await(server: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while _ask(address, "/health") is None:
        if server.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            said = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
            ended = "did not answer" if server.poll() is None else f"ended with code {server.returncode}"
            raise StorageError(f"mlflow server {ended}: {redact(' / '.join(said[-2:]))[:500]}")
        time.sleep(0.2)


def _experiments(address: str) -> list[dict[str, Any]]:
    """The experiments, newest first."""
    answer = _ask(address, "/api/2.0/mlflow/experiments/search", {"max_results": 1000})
    return [] if answer is None else list(json.loads(answer).get("experiments", []))


def _say_pages(address: str, experiments: Iterable[tuple[str, str, Iterable[str]]]) -> None:
    """Prints a link to the runs of each study and benchmark of ours: the server's own first page shows none of them.

    Args:
      address: Of the server, without a password.
      experiments: Name, id and names of the tags of each.
    """
    ours = [(name, id_) for name, id_, tags in experiments if f"mlflow.sharedViewState.{runs.VIEW}" in tags]
    print("The runs in MLflow of" if ours else "No study in MLflow yet.")
    for name, id_ in ours:
        print(f"  {re.sub(r'[^ -~]', '?', name)}: {runs.page(address, id_)}")


def _say_pages_of(uri: str) -> None:
    """As `_say_pages`, of a server that runs already.

    Raises:
      StorageError: when it does not answer.
    """
    try:
        found = store.connect(uri, False).search_experiments()
    except Exception as error:  # of MLflow or the network
        what = f"MLflow ({redact(uri)}) cannot be read: {store.said(error)}"
        raise StorageError(what, remedy="Check tracking.uri, and that its server runs and can be reached.") from error
    _say_pages(store.bare(uri), [(one.name, one.experiment_id, one.tags) for one in found])


def _stop(server: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10)
    # The group is gone with its leader, unless the worker outlived it: the second signal was for that.


def serve(uri: str, host: str, port: int) -> None:
    """Serves until Ctrl-C; of a server that runs already, says the links and returns.

    Args:
      uri: Of the store.
      host: One of `HOSTS`.
      port: Of this machine.

    Raises:
      ConfigError: when the port is taken, or there is no store yet.
      StorageError: when the store is corrupt, or the server does not start.
    """
    if uri.startswith(("http:", "https:")):
        return _say_pages_of(uri)
    path = store.sqlite_path(uri)
    if path is not None and not path.exists():
        raise ConfigError(f"{path}: no runs yet", remedy="First: python -m lstm_bench.sweep +study=stacked")
    if path is not None:
        _await_free(path)
    if not _free(port):
        other = next((number for number in range(port + 1, min(port + 100, 65536)) if _free(number)), None)
        raise ConfigError(f"ui.port={port} is in use", remedy=f"Free: ui.port={other}" if other else "Choose another.")
    address = f"http://{host}:{port}"
    with tempfile.TemporaryFile() as log:
        server = _started(uri, port, log)
        try:
            _await(server, address, log)
            found_tags = [(e, [tag["key"] for tag in e.get("tags", ())]) for e in _experiments(address)]
            _say_pages(address, [(e["name"], e["experiment_id"], keys) for e, keys in found_tags])
            print("Ctrl-C ends it.", flush=True)
            code = server.wait()
            raise StorageError(f"mlflow server ended with code {code}")
        finally:
            _stop(server)
