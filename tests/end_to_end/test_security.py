"""What SECURITY.md promises and no other file tests: nothing unpickled, nothing in process titles, names, the audit."""

from __future__ import annotations

import ast
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import spy
from conftest import series
from passwords import PASSWORDS

from lstm_bench.launcher import worker_environment

ROOT = Path(__file__).parents[2]
PACKAGE = sorted((ROOT / "lstm_bench").glob("*.py"))

# What runs code that a file brings along, or a shell: as the last two words of a call's name, and as an argument of any call.
FORBIDDEN = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "cloudpickle.load", "cloudpickle.loads", "dill.load"),
    *("joblib.load", "marshal.load", "marshal.loads", "shelve.open", "pandas.read_pickle", "pd.read_pickle"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.load", "os.system", "os.popen", "eval", "exec"),
    *("config.enable_unsafe_deserialization",),
}
ARGUMENTS = {"allow_pickle": True, "safe_mode": False, "shell": True, "verify": False}


def offences(source: str) -> list[str]:
    """Calls of Python source that are forbidden here."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in FORBIDDEN or ".".join(name.split(".")[-2:]) in FORBIDDEN:
            found.append(name)
        for word in node.keywords:
            allowed = not isinstance(word.value, ast.Constant) or word.value.value is not ARGUMENTS.get(word.arg or "")
            if word.arg in ARGUMENTS and (not allowed or not isinstance(word.value, ast.Constant)):
                found.append(f"{name}({word.arg}=...)")
    return found


# Nothing that a file brings along is run.


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: path.stem)
def test_the_package_unpickles_nothing_and_opens_no_shell(path: Path) -> None:
    assert offences(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "np.load(p, allow_pickle=True)",
        "np.load(p, allow_pickle=flag)",
        "keras.saving.load_model(p, safe_mode=False)",
        "pickle.load(f)",
        "yaml.load(f, Loader=yaml.Loader)",
        "subprocess.run(c, shell=True)",
        "torch.load(p)",
        "keras.config.enable_unsafe_deserialization()",
        "eval(text)",
    ],
)
def test_an_offence_would_be_found(line: str) -> None:
    assert len(offences(line)) == 1


@pytest.mark.long
def test_bandit_finds_nothing() -> None:
    command = [sys.executable, "-m", "bandit", "-q", "-r", "lstm_bench", "-c", "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_exception_from_bandit_has_its_reason() -> None:
    for path in PACKAGE:
        for line in path.read_text().splitlines():
            if re.search(r"\bnosec\b", line):
                assert re.search(r"# \w.* # nosec B\d+$", line), f"{path.name}: {line.strip()}"


def test_nothing_is_downloaded_by_an_open_protocol() -> None:
    """But for this machine's own servers, and names of XML."""
    for path in PACKAGE:
        for address in re.findall(r"[\"'](http://[^\"'{]+)", path.read_text()):
            assert re.match(r"http://(127\.0\.0\.1|localhost|HOST|www\.w3\.org)", address), f"{path.name}: {address}"


# Passwords.


def test_a_worker_is_given_no_password() -> None:
    known = {**PASSWORDS, "PATH": "/bin", "HTTPS_PROXY": "http://me:pw@proxy", "URL": "http://host/x"}
    assert worker_environment.without_passwords(known) == {name: known[name] for name in ("PATH", "HTTPS_PROXY", "URL")}


def test_titles_hold_no_password_and_a_worker_s_nothing_but_a_number(tmp_path: Path) -> None:
    process = spy.start(
        tmp_path,
        *(one for one in spy.QUICK if one != "tracking=none"),
        *("tracking=mlflow", "tracking.uri=${oc.env:TRACK}", "study.n_trials=4", "study.name=titles"),
        SPY_EPOCH_S="1",
        SPY_LOG=str(tmp_path / "log"),
        **PASSWORDS,
    )
    try:
        deadline = time.monotonic() + 120
        while not spy.noted(tmp_path / "log"):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        workers = psutil.Process(process.pid).children(recursive=True)
        titles = [worker.cmdline() for worker in workers]
        environments = [worker.environ() for worker in workers]
        own = psutil.Process(process.pid).cmdline()
    finally:
        process.kill()
        out, err = process.communicate()
    assert len(titles) == 2
    for title in titles:
        assert title[1:3] == ["-m", "lstm_bench.launcher.worker"] and re.fullmatch(r"\d+", title[3]) and len(title) == 4
    assert "S3CRET" not in " ".join(own) + out + err
    for environment in environments:
        assert "S3CRET" not in "\n".join(environment.values())
        assert environment["SPY_EPOCH_S"] == "1"  # the rest is handed on


SLIPS = (
    "storage.url=postgresql://me:S3CRET@h/x'",  # what Hydra's grammar stumbles over, it repeats
    "storage.ulr=postgresql://me:S3CRET@h/x",
    "storage=postgresql://me:S3CRET@h/x",
    "storage.url='postgresql://me:S3 CRET@h/x'",
    'storage.url="postgresql://me:S3\'CRET@h/x"',
    "tracking.uri='http://me:S3\"CRET@h/x'",
    "storage.url=[postgresql://me:S3CRET@h/x]",
    "storage.url={a: postgresql://me:S3CRET@h/x}",
    "tracking.uri=htp://me:S3CRET@h/x",
    "tracking=mlflow://me:S3CRET@h/x",
    "study.n_trials=postgresql://me:S3CRET@h/x",
    "dataset.path=postgresql://me:S3CRET@h/x",
)


@pytest.mark.long  # CI: `core/test_errors.py` has what hides them
@pytest.mark.parametrize("command", ["sweep", "doctor"])
def test_a_slip_of_the_pen_does_not_show_the_password(tmp_path: Path, command: str) -> None:
    study = ["+study=smoke"] if command == "sweep" else []
    for slip, one in zip(SLIPS, series(tmp_path, command, [[*study, slip] for slip in SLIPS]), strict=True):
        assert one.returncode in (1, 2) and one.stderr.startswith("error: "), (slip, one)
        assert not re.search("S3.?CRET", one.stdout + one.stderr), (slip, one)


# Names.

NAMES = ("../x", "''", '"it\'s"', "'<script>'", "a" * 600, "'naïve'", "a/b", "..", "-x", "'a b'")


def test_a_name_that_is_no_folder_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    done = series(tmp_path, "sweep", [["+study=smoke", "tracking=none", f"study.name={name}"] for name in NAMES])
    for number, (name, one) in enumerate(zip(NAMES, done, strict=True)):
        assert one.returncode == 2, (name, one)
        assert one.stderr.count("\n") == 1 and "Traceback" not in one.stderr
        assert list((tmp_path / str(number)).iterdir()) == [], name


# The audit of what is installed, by the real pip-audit and an advisory database of our own.

ADVISORY = {
    "id": "GHSA-xxxx-xxxx-xxxx",
    "summary": "made up",
    "aliases": ["CVE-2000-0001"],
    "affected": [
        {
            "package": {"name": "made-up", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


class Advisories(http.server.BaseHTTPRequestHandler):
    """Knows of one vulnerability, in version 1.0 of a package."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = asked["package"]["name"] == "made-up" and asked["version"] == "1.0"
        body = json.dumps({"vulns": [ADVISORY]} if known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def advisories() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


def audit(folder: Path, version: str, address: str) -> subprocess.CompletedProcess[str]:
    """The audit of a folder in which one package of that version is installed."""
    about = folder / f"made_up-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: made-up\nVersion: {version}\n")
    command = [sys.executable, str(ROOT / "tests" / "programs" / "audit.py"), "--path", str(folder), "-s", "osv"]
    # No cache of the user's own, whose answers may be others.
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder), "PIP_NO_CACHE_DIR": "1"}
    return subprocess.run(
        [*command, "--osv-url", address], env=environment, capture_output=True, text=True, timeout=120
    )


def test_a_known_vulnerability_fails_the_audit(tmp_path: Path, advisories: str) -> None:
    done = audit(tmp_path, "1.0", advisories)
    assert done.returncode == 1, done
    assert "made-up 1.0: CVE-2000-0001 GHSA-xxxx-xxxx-xxxx, mended in: 1.1" in done.stdout


def test_none_passes_it(tmp_path: Path, advisories: str) -> None:
    done = audit(tmp_path, "1.1", advisories)
    assert (done.returncode, done.stdout) == (0, "1 packages audited, 0 vulnerabilities, 0 accepted\n"), done


def test_a_database_that_knows_no_package_is_no_pass(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'pip_audit' in sys.argv or '-m' in sys.argv[:1]:\n"
        "    import json, os\n"
        "    print(json.dumps({'dependencies': [{'name': 'made-up', 'skip_reason': 'not found on PyPI'}]}), flush=True)\n"
        "    os._exit(0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(ROOT / "tests" / "programs" / "audit.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    assert done.stdout == (
        "NOT AUDITED: the advisory database knows none of 1 packages, such as made-up (not found on PyPI)\n"
    )


def test_without_a_network_it_says_that_nothing_was_audited(tmp_path: Path) -> None:
    done = audit(tmp_path, "1.0", "http://127.0.0.1:9/v1/query")
    assert done.returncode == 0 and done.stdout.startswith("NOT AUDITED: the advisory database cannot be reached"), done


# What SECURITY.md says of the tests.


def test_every_promise_names_a_test_that_exists() -> None:
    named = re.findall(r"`(test_\w+)\.py::(test_\w+)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 20
    for file, name in named:
        assert f"def {name}(" in next((ROOT / "tests").rglob(f"{file}.py")).read_text(), f"{file}.py::{name}"
