"""Command: the MLflow UI on the right store, for this machine only, or for others with a name and a password.

Ctrl-C is how it is meant to end, so that exits 0.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import importlib.util
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import psutil

from lstm_bench.core import cli
from lstm_bench.core.errors import ConfigError, StorageError, nearest, redact
from lstm_bench.tracking import runs, store

HELP = """\
python -m lstm_bench.ui [key=value ...]    the MLflow UI in a browser; Ctrl-C ends it

  tracking.uri=URI      the store, as for lstm_bench.sweep; taken as it stands, but for ${oc.env:NAME}, which reads it from
                        the environment; null is mlflow.db in the working directory   (MLFLOW_TRACKING_URI, else null)
  ui.host=127.0.0.1     127.0.0.1 or localhost; with ui.auth=true any address of this machine, or 0.0.0.0 for all
  ui.port=5000          1 to 65535
  ui.auth=false         true: MLflow's basic authentication (extra `auth`). The user is admin, the password comes from
                        the variable LSTM_BENCH_UI_PASSWORD, at least 12 characters; MLflow keeps its hash in
                        mlflow-auth.db beside the store. Without TLS it crosses the network in the clear
  ui.names=null         a,b: further names by which browsers call this machine, with ui.auth=true
"""
DEFAULTS: dict[str, Any] = {
    "tracking.uri": None,
    "ui.host": "127.0.0.1",
    "ui.port": 5000,
    "ui.auth": False,
    "ui.names": None,
}
HOSTS = ("127.0.0.1", "localhost")
USER, PASSWORD = "admin", "LSTM_BENCH_UI_PASSWORD"
_FORMER_DEFAULT = "password1234"  # known to everybody, and refused here
_SHORTEST = 12  # characters of a password: MLflow's own rule
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_START_S = 60.0  # longest wait for the server's first answer


def options(arguments: Sequence[str]) -> dict[str, Any]:
    """`DEFAULTS` with the `key=value` arguments laid over them, checked.

    Raises:
      ConfigError: for an unknown key, a value of the wrong type or range, or a host that is not this machine.
    """
    found = DEFAULTS | {"tracking.uri": store.default()}
    for argument in arguments:
        key, separator, text = argument.partition("=")
        if not separator or key not in DEFAULTS:
            raise ConfigError("option", expected="key=value", received=argument, remedy=nearest(key, DEFAULTS))
        if not text:
            raise ConfigError(key, expected="a value", received=argument)
        text = cli.resolved(key, text)
        if key in ("ui.port", "ui.auth"):
            found[key] = (
                int(text) if re.fullmatch("[0-9]{1,9}", text) else {"true": True, "false": False}.get(text, text)
            )
        else:  # as it stands: a path may hold any character
            found[key] = None if text == "null" else text
    if not isinstance(found["ui.auth"], bool):
        raise ConfigError("ui.auth", expected="true or false", received=found["ui.auth"])
    if found["ui.auth"]:
        _require_authentication(found)
    elif found["ui.names"] is not None:
        raise ConfigError("ui.names", expected="none without ui.auth=true", received=str(found["ui.names"]))
    elif not _is_local(found["ui.host"]):
        raise ConfigError(
            "ui.host",
            expected=" or ".join(HOSTS),
            received=found["ui.host"],
            remedy="The UI asks nobody for a password: from elsewhere, use ssh -L 5000:127.0.0.1:5000 HOST, or ui.auth=true.",
        )
    port = found["ui.port"]
    if type(port) is not int or not 1 <= port <= 65535:
        raise ConfigError("ui.port", expected="a number from 1 to 65535", received=port)
    store.check({"name": "mlflow", "uri": found["tracking.uri"]})
    return found


def _is_local(host: str) -> bool:
    """Whether a server on that host is reached from this machine alone."""
    return host in HOSTS


def _require_authentication(found: dict[str, Any]) -> None:
    """Checks what `ui.auth=true` needs; makes `ui.names` a list."""
    if importlib.util.find_spec("flask_wtf") is None:
        raise ConfigError("ui.auth=true: Flask-WTF is not installed", remedy="pip install 'lstm-bench[auth]'")
    password = os.environ.get(PASSWORD, "")
    if len(password) < _SHORTEST or password == _FORMER_DEFAULT:
        make = f"export {PASSWORD}=$(python -c 'import secrets; print(secrets.token_urlsafe())')"
        raise ConfigError(
            f"ui.auth=true: the variable {PASSWORD}",
            expected=f"a password of at least {_SHORTEST} characters, not MLflow's former default",
            remedy=f"For instance: {make}",
        )
    host, names = found["ui.host"], found["ui.names"]
    try:
        socket.getaddrinfo(host, None, socket.AF_INET)
    except (OSError, TypeError, UnicodeError) as error:
        raise ConfigError(
            "ui.host", expected="an IPv4 address or a name of this machine", received=str(host)
        ) from error
    found["ui.names"] = [] if names is None else [name.strip() for name in str(names).strip("[]").split(",")]
    for name in found["ui.names"]:
        if not _HOSTNAME.fullmatch(name):
            raise ConfigError("ui.names", expected="names of hosts, a,b", received=name)


def _free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _called(host: str, names: Sequence[str]) -> list[str]:
    """The names under which a server on `host` may be called: a page elsewhere that points its own name here is not one."""
    own = [host]
    if host not in HOSTS:
        own += [socket.gethostname(), socket.getfqdn()]
    if host == "0.0.0.0":  # asked for by the user, with authentication  # nosec B104
        cards = (address for card in psutil.net_if_addrs().values() for address in card)
        own = [*own[1:], *(address.address for address in cards if address.family == socket.AF_INET)]
    return list(dict.fromkeys([*HOSTS, *own, *names]))


def _serve(uri: str, options: Mapping[str, Any], log: IO[bytes], scratch: Path) -> subprocess.Popen[bytes]:
    """Starts MLflow's server in a process group of its own. Secrets travel by environment: `ps` shows arguments.

    Args:
      uri: Of the store.
      options: As `options` returned.
      log: Receives what it says.
      scratch: Folder for the configuration of its authentication, which holds no password.
    """
    host, port = options["ui.host"], options["ui.port"]
    allowed = [f"{name}:{port}" for name in _called(host, options["ui.names"] or ())]
    bound = host if options["ui.auth"] and host != "localhost" else "127.0.0.1"
    line = [sys.executable, "-m", "mlflow", "server", "--host", bound, "--port", str(port), "--workers", "1"]
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
    password = environment.pop(PASSWORD, "")
    if options["ui.auth"]:
        line += ["--app-name", "basic-auth"]
        settings = scratch / "basic_auth.ini"
        database = str(_users(uri)).replace("%", "%%")  # as configparser wants it
        settings.write_text(f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{database}\n")
        environment |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_AUTH_ADMIN_USERNAME": USER,
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
            "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",
        }
    # Others of this machine need not read the users' hashes; what the file mode was before stays as it was.
    umask = 0o077 if options["ui.auth"] else -1
    return subprocess.Popen(line, env=environment, stdout=log, stderr=log, start_new_session=True, umask=umask)


def _users(uri: str) -> Path:
    """Where MLflow keeps names and hashes: beside a sqlite store, else in the working directory."""
    return store.artifact_dir(uri).with_name("mlflow-auth.db")


def _ask(address: str, path: str, body: dict[str, Any] | None = None, password: str | None = None) -> bytes | None:
    """The server's answer, None while there is none or it refuses. Proxies are for other machines."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
    if password is not None:
        token = base64.b64encode(f"{USER}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
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


def _experiments(address: str, password: str | None) -> list[dict[str, Any]] | None:
    """The experiments, newest first, None when the server does not let us in."""
    answer = _ask(address, "/api/2.0/mlflow/experiments/search", {"max_results": 1000}, password)
    return None if answer is None else json.loads(answer).get("experiments", [])


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


def run(arguments: Sequence[str]) -> None:
    """Serves until Ctrl-C.

    Raises:
      ConfigError: as `options`; also when the port is taken or there is no store yet.
      StorageError: when the store is corrupt, or the server does not start.
    """
    found = options(arguments)
    uri, host, port = store.store_uri({"uri": found["tracking.uri"]}), found["ui.host"], found["ui.port"]
    if uri.startswith(("http:", "https:")):
        return _say_pages_of(uri)
    path = store.sqlite_path(uri)
    if path is not None and not path.exists():
        raise ConfigError(f"{path}: no runs yet", remedy="First: python -m lstm_bench.sweep +study=stacked")
    if path is not None:
        _await_free(path)
    bound = host if found["ui.auth"] else "127.0.0.1"
    if not _free(port, bound):
        if not _free(0, bound):
            raise ConfigError("ui.host", expected="an address of this machine, or 0.0.0.0", received=host)
        other = next((number for number in range(port + 1, min(port + 100, 65536)) if _free(number, bound)), None)
        raise ConfigError(f"ui.port={port} is in use", remedy=f"Free: ui.port={other}" if other else "Choose another.")
    password = os.environ[PASSWORD] if found["ui.auth"] else None
    near = "127.0.0.1" if host == "0.0.0.0" else host  # compared, not bound to  # nosec B104
    address = f"http://{near}:{port}"
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory(prefix="lstm_bench-") as scratch:
        server = _serve(uri, found, log, Path(scratch))
        try:
            _await(server, address, log)
            experiments = _experiments(address, password)
            if experiments is None and password is not None:
                raise ConfigError(
                    f"{PASSWORD} is not the password of {USER} in {_users(uri)}",
                    remedy="Give the one that it was made with; or end the UI, remove that file, and start it anew.",
                )
            if password:
                print(f"The user is {USER}, the password that from {PASSWORD}.")
                if host not in HOSTS:
                    print(f"Reachable by others on {host}, without TLS: put a proxy with a certificate before it.")
            found_tags = [(e, [tag["key"] for tag in e.get("tags", ())]) for e in experiments or []]
            _say_pages(address, [(e["name"], e["experiment_id"], keys) for e, keys in found_tags])
            print("Ctrl-C ends it.", flush=True)
            code = server.wait()
            raise StorageError(f"mlflow server ended with code {code}")
        finally:
            _stop(server)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    if threading.current_thread() is threading.main_thread():  # in another one, signals are the caller's
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    return cli.guarded(arguments, HELP, _until_interrupted)


def _until_interrupted(arguments: list[str]) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        run(arguments)


if __name__ == "__main__":
    sys.exit(main())
