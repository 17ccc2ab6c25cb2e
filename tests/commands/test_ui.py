"""`lstm_bench.ui`: the real server, seen by a real Chromium, and everything it refuses."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import chromium
import psutil
import pytest

import lstm_bench
from lstm_bench import ui
from lstm_bench.core.errors import ConfigError
from lstm_bench.tracking.client import open_tracking

ROOT = Path(lstm_bench.__file__).parents[1]
STARTED = 1_700_000_000_000
# The smallest picture that a browser takes: one red pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_ui(*arguments, cwd):
    command = [sys.executable, "-m", "lstm_bench.ui", *arguments]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory, unused_store):
    """A directory with a finished study of two trials."""
    place = tmp_path_factory.mktemp("ui")
    shutil.copy(unused_store, place)
    kept = dict(os.environ)
    observer = open_tracking({"name": "mlflow", "uri": f"sqlite:///{place}/mlflow.db"}, experiment="two-trials")
    observer.start(
        {
            "id": "two-trials-1",
            "name": "two-trials",
            "description": "Two trials of a **stacked** LSTM.",
            "params": {"model.units": 64},
            "searched": ["model.units"],
            "objective": "val_accuracy",
        }
    )
    curves = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
    epochs = [{"epoch": epoch, **dict.fromkeys(curves, epoch / 8)} for epoch in range(1, 6)]
    for number in range(2):
        row = {
            "number": number,
            "state": "COMPLETE",
            "val_accuracy": 0.9125 + number / 100,
            "n_weights": 24_714,
            "train_samples_per_s": 17_250.5,
            "kernel_ran": "generic",
            "config_model.units": 64 + number,
        }
        observer.log_trial(row, epochs, STARTED, STARTED + 30_000)
    seen = {"confusion": {f"{pair // 10}/{pair % 10}": 7 for pair in range(100)}, "pictures": []}
    for seed in range(2):
        row = {"trial": 1, "seed": seed, "state": "COMPLETE", "val_accuracy": 0.99, "test_accuracy": 0.9 + seed / 100}
        observer.log_replicate(row | seen, epochs, STARTED, STARTED + 30_000, key="c0ffee")
    observer.log_kernels([{"backend": "jax", "kernel": "xla", "train_samples_per_s": 9.0}])
    confirmed = {"confirmed": "test accuracy 90.50 % +- 6.35 (95 % interval, n = 2)", "winning_trial": 1}
    observer.log_summary({"val_accuracy": 0.9225, "test_accuracy": 0.905, "n_weights": 24_714}, confirmed)
    (place / "curve.png").write_bytes(PNG)
    observer.log_figures([place / "curve.png"])
    observer.finish("FINISHED")
    assert observer.warning is None
    bench = open_tracking({"name": "mlflow", "uri": f"sqlite:///{place}/mlflow.db"}, experiment="kernels-quick")
    bench.start({"id": "kernels-quick-1", "name": "kernels-quick", "source": "lstm_bench.kernels"})
    for units in (32, 64):
        cell = {"layer": "gru", "units": units, "layers": 1, "timesteps": 28, "features": 27, "batch": 16}
        row = {"cell": f"gru-1x{units}", "backend": "jax", "kernel_ran": "generic", "state": "measured"}
        figure = {"kernel": "generic", "operation": "train_step", "samples_per_s": 1234.5 + units}
        bench.log_cell({**cell, "dtype": "bfloat16"}, [row | figure], STARTED, STARTED + 30_000)
    bench.finish("FINISHED")
    assert bench.warning is None
    os.environ.clear()
    os.environ.update(kept)
    return place, observer


@pytest.fixture(scope="module")
def served(store):
    """Address of the running UI, its process, its printed lines; ended by Ctrl-C afterwards."""
    place, _ = store
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "lstm_bench.ui", f"ui.port={port}"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    began = time.monotonic()
    lines = []
    for line in server.stdout:
        lines.append(line.rstrip())
        if "Ctrl-C" in line:
            break
    assert server.poll() is None, lines
    yield f"http://127.0.0.1:{port}", server, lines, time.monotonic() - began
    family = psutil.Process(server.pid).children(recursive=True)
    server.send_signal(signal.SIGINT)
    rest = server.communicate(timeout=30)[0]
    gone, alive = psutil.wait_procs(family, timeout=5)
    assert (server.returncode, rest, alive, len(gone) >= 2) == (0, "", [], True)


@pytest.fixture
def browser(tmp_path):
    driver = chromium.start(tmp_path / "profile")
    yield driver
    driver.quit()


def wait_for(driver, *texts):
    """The page's text, once all of `texts` are in it: the UI loads piece by piece."""
    from selenium.webdriver.common.by import By

    deadline = time.monotonic() + 60
    while True:
        page = driver.find_element(By.TAG_NAME, "body").text
        missing = [text for text in texts if text not in page]
        if not missing:
            return page
        assert time.monotonic() < deadline, f"not on the page: {missing}; there was: {page}"
        time.sleep(0.3)


def status(address, host, origin=None):
    request = urllib.request.Request(address, headers={"Host": host} | ({"Origin": origin} if origin else {}))
    if origin:
        request.data, request.method = b'{"name": "forged"}', "POST"
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def on_screen(driver, *texts):
    """Where each text stands, its left and upper edge in pixels, once the first screen shows them all: nothing was scrolled."""
    wait_for(driver, *texts)
    places = {}
    deadline = time.monotonic() + 60
    while len(places) < len(texts):
        assert time.monotonic() < deadline, f"not on the first screen: {set(texts) - {*places}}"
        found = driver.execute_script(
            """
            const seen = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (walk.nextNode()) {
              const range = document.createRange();
              range.selectNodeContents(walk.currentNode);
              const box = range.getBoundingClientRect();
              const top = document.elementFromPoint(box.left + 2, box.top + box.height / 2);
              if (box.width && top && top.contains(walk.currentNode)) seen.push([walk.currentNode.data, box.left, box.top]);
            }
            return seen;"""
        )
        places = {text: (left, top) for text in texts for said, left, top in reversed(found) if text in said}
    return places


@pytest.mark.slow
def test_a_first_screen_shows_the_score_then_the_trials_and_one_click_the_curves(served, browser):
    from selenium.webdriver.common.by import By

    address, _, lines, _ = served
    assert all(f"{address}/#/experiments/" in line for line in lines if "://" in line), (
        "a bare address is no page of ours"
    )
    (page,) = [line.split(": ", 1)[1] for line in lines if line.startswith("  two-trials: ")]
    browser.get(page)
    confirmed = "test accuracy 90.50 % +- 6.35 (95 % interval, n = 2)"
    figures = ["0.905", "0.9225", "0.9125", "24714", "17250.5", "COMPLETE"]
    places = on_screen(browser, confirmed, "trial 1", "trial 0", *figures)
    study = max(element.location["y"] for element in browser.find_elements(By.LINK_TEXT, "two-trials"))
    assert places[confirmed][1] < study < places["trial 1"][1] < places["trial 0"][1]  # the best one first
    assert abs(places["0.905"][1] - study) < 20  # the confirmed mean stands in the study's row
    assert "replicate" not in browser.find_element(By.TAG_NAME, "body").text
    browser.find_element(By.LINK_TEXT, "curves").click()
    browser.switch_to.window(browser.window_handles[-1])  # MLflow opens links of a description in a new tab
    on_screen(browser, "trial 1", "train_accuracy", "train_loss", "val_accuracy", "val_loss")
    assert "confusion" not in browser.find_element(By.TAG_NAME, "body").text


@pytest.mark.long
def test_a_browser_sees_a_benchmark_as_a_table_of_its_cells(served, browser):
    from selenium.webdriver.common.by import By

    _, _, lines, _ = served
    browser.set_window_size(2800, 1100)  # columns out of sight are not on the page
    (page,) = [line.split(": ", 1)[1] for line in lines if line.startswith("  kernels-quick: ")]
    browser.get(page)
    shape = ["layer", "units", "layers", "timesteps", "features", "batch", "dtype"]
    seen = wait_for(browser, "gru-1x32", "gru-1x64", "1298.5", "bfloat16", *shape, "kernel_generic_samples_per_s")
    assert seen.index("gru-1x32") < seen.index("gru-1x64")
    assert "2 matching runs" in seen  # the parent is not among them
    places = {
        header.text: header.location["x"] for header in browser.find_elements(By.CSS_SELECTOR, "[role=columnheader]")
    }
    names = [*shape, "kernel_generic_samples_per_s"]
    assert sorted(names, key=places.__getitem__) == names


@pytest.mark.long
def test_a_browser_sees_a_figure(served, store, browser):
    from selenium.webdriver.common.by import By

    _, observer = store
    place = f"/#/experiments/{observer.experiment_id}/runs/{observer.parent_id}/artifacts/figures/curve.png"
    browser.get(served[0] + place)
    wait_for(browser, "curve.png", "environment.json")
    deadline = time.monotonic() + 30
    widths = []
    while 1 not in widths and time.monotonic() < deadline:
        time.sleep(0.3)
        widths = [int(image.get_property("naturalWidth")) for image in browser.find_elements(By.TAG_NAME, "img")]
    assert 1 in widths


@pytest.mark.slow
def test_it_is_up_soon_small_and_on_the_loopback_only(served, store):
    address, server, lines, seconds = served
    port = int(address.rpartition(":")[2])
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    listening = {
        connection.laddr
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", port)}
    assert seconds < 30  # 5 on an idle machine
    assert sum(process.memory_info().rss for process in family) < 700 * 2**20
    assert lines[0] == "The runs in MLflow of"
    assert lines[-1] == "Ctrl-C ends it."
    assert sorted(path.name for path in store[0].iterdir()) == ["curve.png", "mlartifacts", "mlflow.db"]


@pytest.mark.slow
def test_the_server_is_told_to_load_no_pickle(served):
    environments = [process.environ() for process in psutil.Process(served[1].pid).children(recursive=True)]
    assert {environment.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION") for environment in environments} == {"false"}


@pytest.mark.slow
def test_foreign_hosts_and_origins_are_forbidden(served):
    address = served[0]
    port = address.rpartition(":")[2]
    assert status(address, f"127.0.0.1:{port}") == 200
    assert [status(address, host) for host in ("evil.example", f"192.168.1.5:{port}", "127.0.0.1.evil.example")] == [
        403
    ] * 3
    create = f"{address}/api/2.0/mlflow/experiments/create"
    assert status(create, f"127.0.0.1:{port}", "http://evil.example") == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.org", "::"])
def test_another_host_is_refused(host):
    with pytest.raises(ConfigError, match=r"ui\.host: expected 127\.0\.0\.1 or localhost"):
        ui.options([f"ui.host={host}"])


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("ui.prot=3", "Did you mean ui.port"),
        ("--port", "expected key=value"),
        ("5000", "expected key=value"),
        ("ui.port=abc", "a number from 1 to 65535"),
        ("ui.port=0", "a number from 1 to 65535"),
        ("ui.port=", "ui.port: expected a value"),
        ("ui.port=[", "a number from 1 to 65535, received '['"),
        ("ui.port=5_000", "a number from 1 to 65535"),
        ("ui.port=true", "a number from 1 to 65535"),
        ("tracking.uri=", "tracking.uri: expected a value"),
        ("tracking.uri=sqlite:///${nowhere}/a.db", "tracking.uri=sqlite:///${nowhere}/a.db: "),
        ("ui.port=${oc.env:LSTM_BENCH_NOWHERE}", "LSTM_BENCH_NOWHERE"),
        ("tracking.uri=./mlruns", "sqlite:///mlflow.db"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(argument, said):
    with pytest.raises(ConfigError) as caught:
        ui.options([argument])
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_password_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("LSTM_BENCH_STORE", "postgresql://me:a=b@db/mlflow")
    assert ui.options(["tracking.uri=${oc.env:LSTM_BENCH_STORE}"])["tracking.uri"] == "postgresql://me:a=b@db/mlflow"


@pytest.mark.parametrize(
    "name", ["a #b", "a: b", "x[1]", "[1", "{a", "run=3", "a,b", "- a", "'a'", "!a", "données", "1e3"]
)
def test_a_path_is_taken_as_it_stands(name):
    assert ui.options([f"tracking.uri=sqlite:///{name}.db"])["tracking.uri"] == f"sqlite:///{name}.db"


def test_numbers_and_null_are_read(monkeypatch):
    monkeypatch.setenv("LSTM_BENCH_PORT", "6000")
    found = ui.options(["tracking.uri=null", "ui.port=${oc.env:LSTM_BENCH_PORT}"])
    assert found == {**ui.DEFAULTS, "ui.port": 6000}


def test_a_fault_begins_as_those_of_other_commands_do_and_has_no_password(capsys):
    assert ui.main(["tracking.uri=postgres://me:S3CRET@db/x"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: tracking.uri: expected a URI of ") and said.count("\n") == 1
    assert "S3CRET" not in said


def test_ctrl_c_is_how_it_ends(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ui, "serve", interrupted)
    assert ui.main([]) == 0
    assert capsys.readouterr() == ("", "")


def test_no_store_yet_is_said_and_nothing_is_created(tmp_path):
    done = run_ui(cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == f"error: {tmp_path}/mlflow.db: no runs yet. First: python -m lstm_bench.sweep +study=stacked\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_said_with_a_free_one(store):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        done = run_ui(f"ui.port={port}", cwd=store[0])
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: ui.port={port} is in use. Free: ui.port=")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_server_that_runs_is_asked_for_its_studies(served, tmp_path, monkeypatch):
    address, _, lines, _ = served
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.replace("//", "//me:S3CRET@"))
    done = run_ui(cwd=tmp_path)
    assert (done.returncode, done.stderr, sorted(done.stdout.splitlines())) == (0, "", sorted(lines[:-1]))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:S3CRET@127.0.0.1:{free_port()}")
    done = run_ui(cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert done.stderr.startswith("error: MLflow (http://me:***@127.0.0.1:") and "S3CRET" not in done.stderr


def test_an_option_wins_over_mlflow_s_own_variable(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///theirs.db")
    assert ui.options([])["tracking.uri"] == "sqlite:///theirs.db"
    assert ui.options(["tracking.uri=sqlite:///mine.db"])["tracking.uri"] == "sqlite:///mine.db"
    assert ui.options(["tracking.uri=null"])["tracking.uri"] is None


def test_a_corrupt_store_is_one_line(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database" * 1000)
    done = run_ui(f"ui.port={free_port()}", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert "mlflow.db: corrupt" in done.stderr


def test_a_store_that_does_not_answer_is_one_line(tmp_path):
    done = run_ui(f"ui.port={free_port()}", "tracking.uri=sqlite:////proc/version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)


def test_help_is_instant_and_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; from lstm_bench import ui; ui.main(['--help']); print({'mlflow', 'omegaconf'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ui.HELP + "set()\n"
