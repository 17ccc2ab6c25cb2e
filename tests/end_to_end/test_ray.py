"""Sweeps on a Ray cluster: a real one of two nodes on loopback, whose nodes are killed, added, and refused."""

from __future__ import annotations

import csv
import gc
import itertools
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake
import psutil
import pytest
import spy
from passwords import PASSWORDS
from trainings import ragged_file, text_file

import lstm_bench
from lstm_bench.core.errors import ConfigError, StorageError
from lstm_bench.launcher import ray_actor, ray_cluster, ray_launcher
from lstm_bench.launcher.ray_cluster import Node
from lstm_bench.sweep import validate

# Ray leaves its logs open. It forks, and JAX warns of forks of whoever has imported it, as another file's tests may have.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings(r"ignore:os.fork\(\) was called:RuntimeWarning"),
]
EPOCH_S = 0.1
# Ray reads it once per process.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
Begin = Callable[..., subprocess.Popen[str]]
ON_RAY = tuple(argument for argument in spy.QUICK if "workers" not in argument)


class Cluster:
    """A cluster of this machine: a head that holds no worker, and nodes. Closed to whoever has not its token."""

    def __init__(self, folder: Path):
        from ray.cluster_utils import Cluster as Made

        self.folder, self._names = folder, itertools.count(1)
        self._made = Made(initialize_head=True, head_node_args={**self._arguments("head"), "num_cpus": 0})
        self.address = self._made.address

    @staticmethod
    def _arguments(name: str) -> dict[str, Any]:
        return {"node_name": name, "node_ip_address": "127.0.0.1", "include_dashboard": False}

    def add(self, *, num_cpus: int, **arguments: Any) -> Any:
        arguments["num_cpus"] = num_cpus
        return self._made.add_node(**self._arguments(f"node{next(self._names)}"), **arguments)

    @property
    def nodes(self) -> list[Any]:
        return list(self._made.worker_nodes)

    def kill(self, node: Any) -> None:
        """SIGKILL to a node's raylet, and to what Ray started beside it."""
        processes = [started.process for several in node.all_processes.values() for started in several]
        raylet(node).kill()
        self._made.remove_node(node, allow_graceful=False)
        for process in processes:  # Ray does not wait for them
            process.kill()
            process.wait()

    def two(self) -> None:
        """Makes it a cluster of two nodes for two workers each, whatever an earlier test has left."""
        for node in self.nodes[2:]:
            self.kill(node)
        for node in self.nodes:
            if node._ray_params.num_cpus != 2:
                self.kill(node)
        while len(self.nodes) < 2:
            self.add(num_cpus=2)

    def hold(self) -> None:
        """Lets every trial wait before its first epoch until `let_go`."""
        (self.folder / "hold").touch()

    def let_go(self) -> None:
        (self.folder / "hold").unlink(missing_ok=True)

    def close(self) -> None:
        self._made.shutdown()


def raylet(node: Any) -> Any:
    """The process that is a node."""
    return node.all_processes["raylet"][0].process


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("ray")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH"):
            patch.delenv(name, raising=False)
        # Nodes get the environment of this process, workers that of their node.
        (folder / "faults").mkdir()
        spying = {"SPY_LOG": folder / "log", "SPY_FAULTS": folder / "faults", "SPY_EPOCH_S": EPOCH_S}
        spying["SPY_HOLD"] = folder / "hold"
        quiet = {"RAY_USAGE_STATS_ENABLED": "0"}
        # A dead node is noticed within 5 s instead of 15.
        soon = {"RAY_health_check_initial_delay_ms": 1000, "RAY_health_check_period_ms": 1000}
        soon |= {"RAY_health_check_failure_threshold": 4, "RAY_BACKEND_LOG_LEVEL": "error"}
        for name, value in {**spying, **TOKEN, **quiet, **soon, "PYTHONWARNINGS": "ignore"}.items():
            patch.setenv(name, str(value))
        made = Cluster(folder)
        try:
            yield made
        finally:
            made.close()
            del made
            # What Ray leaves open (logs, processes that it killed) is no fault of a later test in this process.
            with warnings.catch_warnings(action="ignore", category=ResourceWarning):
                gc.collect()


@pytest.fixture
def ready(shared: Cluster) -> Cluster:
    """The cluster with its two nodes, and a fresh log."""
    shared.two()
    (shared.folder / "log").unlink(missing_ok=True)
    shared.let_go()
    return shared


def on(made: Cluster, *more: str) -> tuple[str, ...]:
    return (*ON_RAY, "launcher=ray", f"launcher.address={made.address}", *more)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts sweeps of the spy that do not outlive the test."""
    begun: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        begun.append(spy.start(tmp_path, *arguments))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def rows(folder: Path, file: str = "trials.csv") -> list[dict[str, str]]:
    with (folder / "sweeps" / "smoke" / file).open(newline="") as table:
        return list(csv.DictReader(table))


def until(condition: Callable[[], object], seconds: float = 150) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.05)


def noted(made: Cluster, event: str) -> list[dict[str, Any]]:
    return [line for line in spy.noted(made.folder / "log") if line["event"] == event]


def heard(process: subprocess.Popen[str]) -> list[str]:
    """The lines of a sweep's standard output, as they come."""
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda out: lines.extend(out), args=(process.stdout,), daemon=True)
    reader.start()
    return lines


def gone(pids: set[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


def finished_once(folder: Path, n: int) -> list[dict[str, str]]:
    """Asserts that `n` trials are complete, each suggestion once; the rows of those that were lost on the way."""
    every = rows(folder)
    complete = [row for row in every if row["state"] == "COMPLETE"]
    assert len(complete) == n
    assert len({row["config_train.learning_rate"] for row in complete}) == n
    assert [int(row["number"]) for row in every] == list(range(len(every)))
    lost = [row for row in every if row["state"] == "FAIL"]
    assert {row["reason"] for row in lost} <= {"worker_died"}
    assert {row["number"] for row in lost} == {row["retry_of"] for row in every if row["retry_of"]}
    return lost


@pytest.mark.slow
def test_every_trial_is_finished_exactly_once_though_a_node_is_killed_in_mid_trial(
    ready: Cluster, begin: Begin, tmp_path: Path
) -> None:
    ready.hold()
    process = begin(*on(ready, "study.n_trials=8"))
    victim = ready.nodes[0]

    def both_are_in_mid_trial() -> bool:
        begun = {line["pid"] for line in noted(ready, "begin")}
        here = [pid for pid in begun if psutil.pid_exists(pid) and psutil.Process(pid).ppid() == raylet(victim).pid]
        return len(here) == 2

    until(both_are_in_mid_trial)
    killed = time.monotonic()
    ready.kill(victim)
    ready.let_go()
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    lost = finished_once(tmp_path, 8)
    assert len(lost) == 2, "both trials of that node"
    for row in lost:
        begun = [
            line for line in noted(ready, "begin") if str(line["config"]["rate"]) == row["config_train.learning_rate"]
        ]
        assert len(begun) <= 2 and 0 < begun[-1]["time"] - killed < 30, "once more, and soon"
    assert out.count(" was lost") + out.count(" is out of reach") == 2, out
    assert "raylet" not in out + err, "Ray's own words go to a log"
    assert "raylet" in (tmp_path / "sweeps/smoke/logs/ray.log").read_text()


@pytest.mark.long  # CI has a node that is killed, whose trials another takes
def test_a_sweep_waits_without_a_node_and_uses_the_one_that_comes(ready: Cluster, begin: Begin, tmp_path: Path) -> None:
    ready.hold()
    process = begin(*on(ready, "study.n_trials=8"))
    lines = heard(process)
    until(lambda: len(noted(ready, "begin")) >= 4)
    before = {line["pid"] for line in noted(ready, "begin")}
    for node in ready.nodes:
        ready.kill(node)
    until(lambda: any("waiting for a node with 1 CPU" in line for line in lines))
    time.sleep(2.5)  # and looks again
    ready.add(num_cpus=1)

    def new() -> set[int]:
        return {line["pid"] for line in noted(ready, "begin")} - before

    until(new)
    ready.add(num_cpus=2)
    until(lambda: len(new()) >= 2)  # the first of the new nodes holds one: the other is used as well
    ready.let_go()
    assert process.wait(200) == 0
    text = "".join(lines)
    assert text.count("waiting for a node") == 1 and "a worker is there: node" in text
    finished_once(tmp_path, 8)


@pytest.mark.long  # `test_faults.py` has it without a cluster, and a killed driver ends Ray's workers in CI
def test_ctrl_c_ends_the_workers_and_the_same_command_goes_on(ready: Cluster, begin: Begin, tmp_path: Path) -> None:
    command = on(ready, "study.n_trials=4")
    for i in range(4):
        (ready.folder / "faults" / f"hang.{i}").touch()
    process = begin(*command)
    until(lambda: len(noted(ready, "begin")) == 4)
    workers = {line["pid"] for line in noted(ready, "begin")}
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - sent < 15, "alone on the machine: 2"
    assert "interrupted" in out and "Traceback" not in err
    until(lambda: gone(workers), 30)
    code, out, err = spy.swept(tmp_path, *command, timeout=200)
    assert code == 0, err
    states = Counter(row["state"] for row in rows(tmp_path))
    assert states == {"COMPLETE": 4, "FAIL": 4}


@pytest.mark.slow
def test_workers_end_with_a_killed_driver(ready: Cluster, begin: Begin, tmp_path: Path) -> None:
    process = begin(*on(ready, "train.epochs=300", "study.n_trials=4"))
    until(lambda: len(noted(ready, "begin")) == 4)
    process.kill()
    process.communicate()
    until(lambda: gone({line["pid"] for line in noted(ready, "begin")}), 60)


@pytest.mark.long
def test_trials_are_pruned_workers_die_and_are_recycled_as_locally(ready: Cluster, tmp_path: Path) -> None:
    (ready.folder / "faults" / "kill.1").touch()
    pruning = ("pruner=median", "pruner.n_startup_trials=1", "pruner.n_warmup_epochs=1", "launcher.recycle_after=2")
    url = f"storage.url=sqlite:///{tmp_path}/secret.db"
    code, out, err = spy.swept(
        tmp_path, *on(ready, *pruning, "study.n_trials=10", "train.epochs=12", "launcher.workers=2", url), timeout=100
    )
    assert code == 0, err
    states = Counter(row["state"] for row in rows(tmp_path))
    assert states["FAIL"] == 1 and states["COMPLETE"] + states["PRUNED"] == 10 and states["PRUNED"]
    (died,) = [row for row in rows(tmp_path) if row["state"] == "FAIL"]
    assert died["reason"] == "worker_died" and "on node node" in out
    begun = noted(ready, "begin")
    assert max(Counter(line["pid"] for line in begun).values()) == 2, "replaced after two"
    assert all("secret" not in line["task"] for line in begun), "workers see no database"
    ended = [line["epochs"] for line in noted(ready, "end")]
    assert len(ended) == 10 and min(ended) < 12, "stopped in mid-trial, by the driver"
    environment = json.loads((tmp_path / "sweeps/smoke/environment.json").read_text())
    assert sum(environment["ray"]["nodes"].values()) == 2 and environment["ray"]["request"] == {"CPU": 1.0, "GPU": 0.0}


@pytest.mark.slow
def test_two_trials_share_a_gpu_and_a_node_that_runs_other_code_is_refused_by_name(
    ready: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = ready.add(num_cpus=8, num_gpus=1)
    more = ("launcher.gpus_per_trial=0.5", "study.n_trials=6", "launcher.workers=5")
    code, _, err = spy.swept(tmp_path, *on(ready, *more), timeout=200)
    assert code == 0, err
    begun = noted(ready, "begin")
    assert len({line["pid"] for line in begun}) == 2
    assert {tuple(line["gpus"]) for line in begun} == {("0",)}, "as Ray gives them out"
    assert {row["device_share"] for row in rows(tmp_path)} == {"shared"}
    ready.kill(half)

    found = tmp_path / "keras-9.9.dist-info"
    found.mkdir()
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: keras\nVersion: 9.9\n")
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        other = ready.add(num_cpus=1)
    (ready.folder / "log").unlink()
    try:
        # Ray may not have noticed yet that the node with the GPU is dead: `auto` would ask for one.
        code, _, err = spy.swept(tmp_path, *on(ready, "study.name=other", "launcher.gpus_per_trial=0"), timeout=200)
    finally:
        ready.kill(other)
    assert code == 2 and err.count("\n") == 1, err
    assert re.search(
        r"error: node node\d+ \(127.0.0.1\) runs other code: expected keras 3\S+, received 'keras 9.9'", err
    )
    assert not noted(ready, "begin") and not (tmp_path / "sweeps" / "other").exists()


@pytest.mark.long  # CI: what is refused, below, without a cluster more
def test_a_cluster_of_its_own_leaves_no_process_and_is_closed_to_others(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")} | PASSWORDS
    log = tmp_path / "log"
    spy.tiny(tmp_path)
    process = subprocess.Popen(
        [
            sys.executable,
            str(spy.TESTS / "spy.py"),
            *ON_RAY,
            "launcher=ray",
            "launcher.address=local",
            "train.epochs=30",
        ],
        cwd=tmp_path,
        env={**environment, "SPY_LOG": str(log), "SPY_EPOCH_S": "0.1", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: spy.noted(log))
    family = {process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))}
    assert any("raylet" in psutil.Process(pid).name() for pid in family)
    (trains,) = {line["pid"] for line in spy.noted(log)[:1]}
    for pid in family - {process.pid}:
        assert "S3CRET" not in "".join(psutil.Process(pid).environ().values()), psutil.Process(pid).cmdline()
    assert trains in family
    assert os.getpgid(process.pid) == os.getpgid(0), "a Ctrl-C in the terminal reaches the driver"
    listening = [c for pid in family for c in psutil.Process(pid).net_connections() if c.status == "LISTEN"]
    assert listening and {c.laddr.ip.removeprefix("::ffff:") for c in listening} == {"127.0.0.1"}
    head = next(psutil.Process(pid) for pid in family if "gcs_server" in psutil.Process(pid).name())
    assert head.environ()["RAY_AUTH_MODE"] == "token" and len(head.environ()["RAY_AUTH_TOKEN"]) == 64
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.count("\n") == 1, err
    assert gone(family)


@pytest.mark.long  # the server that Ray forks for a client now and then hangs on a busy machine
def test_a_client_of_a_cluster_runs_the_same_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**TOKEN, "SPY_EPOCH_S": "0.1"}.items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster as Made

    monkeypatch.setenv("PYTHONPATH", str(spy.TESTS))  # a client's own folder is not its workers'
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, agent = one.getsockname()[1], other.getsockname()[1]
    with monkeypatch.context() as patch:
        patch.setenv(
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0"
        )  # else its server takes the network's address for its own
        ports = {"ray_client_server_port": port, "runtime_env_agent_port": agent}
        made = Made(initialize_head=True, head_node_args={**Cluster._arguments("head"), **ports, "num_cpus": 0})
    try:
        made.add_node(**Cluster._arguments("node1"), num_cpus=2)
        client = (*ON_RAY, "launcher=ray", f"launcher.address=ray://127.0.0.1:{port}", "study.n_trials=4")
        code, out, err = spy.swept(tmp_path, *client, timeout=200)
    finally:
        made.shutdown()
    assert code == 0, err
    assert finished_once(tmp_path, 4) == []
    assert "2 on node1" in out


@pytest.mark.long  # CI: a real cluster, and training that is a formula
@pytest.mark.parametrize("kind", ["images", "unequal", "texts"])
def test_the_real_bench_trains_on_a_node_and_its_model_comes_back(shared: Cluster, tmp_path: Path, kind: str) -> None:
    shared.two()
    small = ("+study=smoke", "train.epochs=1", "kernel=generic", "kernel.probe=false", "study.replicates=1")
    small = {
        "images": lambda: small,
        "unequal": lambda: ragged_file(tmp_path / "own.npz"),
        "texts": lambda: text_file(tmp_path / "own.csv"),
    }[kind]()
    small += ("study.n_trials=1", "tracking=none")
    small += ("launcher=ray", f"launcher.address={shared.address}")
    done = subprocess.run(
        [sys.executable, "-m", "lstm_bench.sweep", *small, "launcher.workers=1"],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert [row["kernel_ran"] for row in rows(tmp_path)] == ["generic"]
    assert (tmp_path / "sweeps/smoke/model/model.keras").stat().st_size > 10_000
    assert rows(tmp_path, "predictions.csv"), "and what it says"
    assert [0 < float(row.get("padding_share") or 0) < 0.4 for row in rows(tmp_path)] == [kind != "images"]
    assert (tmp_path / "sweeps/smoke/model/vocabulary.txt").exists() == (kind == "texts")


# Without a cluster.


def test_a_cluster_beyond_this_machine_is_refused_where_tokens_are_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    code, _, err = spy.swept(tmp_path, *ON_RAY, "launcher=ray", "launcher.address=10.1.2.3:6379")
    assert code == 2 and err.count("\n") == 1 and "needs token authentication, and it is off" in err
    for far in ("ray://10.1.2.3:10001", "127.0.0.2:6379"):
        with pytest.raises(ConfigError, match="needs token authentication"):
            ray_cluster.check(far)
    for near in ("127.0.0.1:6379", "ray://localhost:10001", "local", "auto"):
        ray_cluster.check(near)
    monkeypatch.setenv("RAY_ADDRESS", "10.1.2.3:6379")
    with pytest.raises(ConfigError, match=r"address=10\.1\.2\.3:6379: a cluster beyond"):
        ray_cluster.check("auto")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    ray_cluster.check("auto")
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.parametrize("given", ["0", "0.5", "1", "1.0", "8", "auto"])
def test_gpus_of_a_trial_are_none_a_share_or_whole_ones(given: str) -> None:
    config = validate.load(fake.composed("+study=smoke", "launcher=ray", f"launcher.gpus_per_trial={given}"))
    assert config["launcher"]["gpus_per_trial"] == (given if given == "auto" else float(given))


@pytest.mark.parametrize("given", ["-1", "1.5", "many", "null", "nan"])
def test_other_numbers_of_gpus_are_refused(given: str) -> None:
    with pytest.raises(
        ConfigError, match=r"launcher.gpus_per_trial: expected auto, a share of one \(0.5\), or a whole"
    ):
        validate.load(fake.composed("+study=smoke", "launcher=ray", f"launcher.gpus_per_trial={given}"))


@pytest.mark.parametrize("given", ["local", "head", "ray://head", "head:port"])
def test_an_address_in_the_environment_that_is_none_is_one_line(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", given)
    with pytest.raises(ConfigError, match=f"RAY_ADDRESS: expected HOST:PORT or ray://HOST:PORT, received '{given}'"):
        ray_cluster._found("auto")


def test_where_nobody_answers_the_sweep_says_so_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    code, _, err = spy.swept(tmp_path, *ON_RAY, "launcher=ray", "launcher.address=127.0.0.1:9")
    assert code == 2 and err.startswith("error: launcher.address=127.0.0.1:9: nobody answers (Connection refused).")
    assert time.monotonic() - began < 30 and not (tmp_path / "sweeps" / "smoke").exists()


OURS = {"lstm_bench": "0.1.0 (aa)", "keras": "3.15.1", "jax": "0.10", "python": "3.11", "auth": ""}


def test_a_node_that_runs_something_else_or_lets_in_anybody_is_refused() -> None:
    far, near = Node("1", "blue", "10.0.0.7"), Node("2", "red", "127.0.0.1")
    assert ray_cluster.refusal(near, OURS, OURS) is None
    assert ray_cluster.refusal(far, {**OURS, "auth": "token"}, OURS) is None
    assert "node blue (10.0.0.7) lets in whoever reaches it" in str(ray_cluster.refusal(far, OURS, OURS))
    assert "lets in whoever" in str(ray_cluster.refusal(far, OURS, {})), "a head that runs nothing of ours too"
    refused = str(ray_cluster.refusal(near, {**OURS, "lstm_bench": "0.1.0 (bb)", "python": "3.12"}, OURS))
    assert "node red (127.0.0.1) runs other code: expected lstm_bench 0.1.0 (aa) and python 3.11" in refused
    assert "received 'lstm_bench 0.1.0 (bb) and python 3.12'" in refused


def test_a_node_with_other_files_of_a_user_s_family_is_refused_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    net, parts = tmp_path / "mine_on_ray.py", tmp_path / "mine_on_ray_parts.py"
    net.write_text("import mine_on_ray_parts\n\ndef net():\n    return 1\n")
    parts.write_text("n = 1\n")
    node, says = Node("1", "red", "127.0.0.1"), ray_cluster.runs("jax", "mine_on_ray.net")
    ours = says()
    assert {net.name, parts.name} <= ours.keys()
    net.write_text("import mine_on_ray_parts  # why\n\n\ndef net():\n    return 1\n")
    assert ray_cluster.refusal(node, says(), ours) is None, "a comment is no other code"
    parts.write_text("n = 2\n")
    there = says()
    assert str(ray_cluster.refusal(node, there, ours)) == (
        f"node red (127.0.0.1) runs other code: expected mine_on_ray_parts.py {ours[parts.name]}, "
        f"received 'mine_on_ray_parts.py {there[parts.name]}'. Put the same files on every node, or let them share a folder."
    )
    parts.unlink()
    gone = str(ray_cluster.refusal(node, says(), ours))
    assert "received 'mine_on_ray_parts.py none'" in gone


def test_what_asks_a_node_for_its_versions_needs_nothing_of_ours_there(tmp_path: Path) -> None:
    import ray.cloudpickle

    sent, other = tmp_path / "sent", tmp_path / "lstm_bench"
    sent.write_bytes(ray.cloudpickle.dumps(ray_cluster.runs("jax")))
    other.mkdir()
    (other / "__init__.py").write_text('__version__ = "9.9.9"\nraise ImportError("another version")\n')

    def told() -> str:
        done = subprocess.run(
            [sys.executable, "-c", f"import pickle; print(pickle.load(open({str(sent)!r}, 'rb'))()['lstm_bench'])"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    first = told()
    assert re.fullmatch(r"9\.9\.9 \([0-9a-f]{8}\)", first)
    for wing in ("sweep", "report"):  # a file of a wing counts, and so does which wing it is in
        (other / wing).mkdir()
    (other / "sweep" / "command.py").write_text("x = 1\n")
    second = told()
    (other / "sweep" / "command.py").rename(other / "report" / "command.py")
    assert len({first, second, told()}) == 3
    assert re.fullmatch(
        rf"{re.escape(lstm_bench.__version__)} \([0-9a-f]{{8}}\)", ray_cluster.runs("jax")()["lstm_bench"]
    )


@pytest.mark.parametrize(
    ("resources", "request_", "places"),
    [
        ({"CPU": 8.0}, {"CPU": 1.0, "GPU": 0.0}, 8),
        ({"CPU": 8.0}, {"CPU": 3.0, "GPU": 0.0}, 2),
        ({"CPU": 8.0}, {"CPU": 1.0, "GPU": 1.0}, 0),
        ({"CPU": 8.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 0.5}, 2),
        ({"CPU": 8.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 0.1}, 8),
        ({"CPU": 16.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 0.1}, 10),
        ({}, {"CPU": 1.0, "GPU": 0.0}, 0),
    ],
)
def test_a_node_holds_as_many_workers_as_its_resources(
    resources: dict[str, float], request_: dict[str, float], places: int
) -> None:
    assert Node("1", "a", "127.0.0.1", resources).holds(request_) == places


def test_workers_of_a_node_have_cores_of_their_own_while_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_actor.hardware, "cores", lambda: (0, 1, 4, 5))
    setup = {"places": 2, "cpus": 2.0, "gpus": 0.0}
    slots = [ray_actor.placed({**setup, "place": place}) for place in (0, 1)]
    assert [slot.cores for slot in slots] == [(0, 1), (4, 5)]
    assert {slot.share for slot in slots} == {"2 cores of 4, other busy"}
    assert slots[0].environment == {"CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": "2"}
    crowded = ray_actor.placed({"place": 5, "places": 6, "cpus": 1.0, "gpus": 0.0})
    assert crowded.cores == (1,) and crowded.share == "shared"
    assert ray_actor.placed({"place": 0, "places": 1, "cpus": 4.0, "gpus": 0.0}).share == "exclusive"


def test_a_gpu_that_is_shared_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from lstm_bench.core.hardware import Gpu

    monkeypatch.setattr(ray_actor.hardware, "gpus", lambda: [Gpu("0", "A GPU", 80_000, "1")])
    for gpus, share in ((1.0, "exclusive"), (0.5, "shared")):
        slot = ray_actor.placed({"place": 0, "places": 1, "cpus": 1.0, "gpus": gpus})
        assert (slot.device, slot.gpu, slot.share) == ("A GPU", "A GPU", share)
        assert "CUDA_VISIBLE_DEVICES" not in slot.environment, "Ray has set it"


def test_files_of_a_node_stay_in_the_folder_that_they_are_for(tmp_path: Path) -> None:
    folder = tmp_path / "candidates" / "model"
    assert ray_launcher._put({"a/b": b"1"}, folder, {"state": "COMPLETE"}) == {"state": "COMPLETE"}
    assert (folder / "a" / "b").read_bytes() == b"1"
    result = ray_launcher._put({"../../../out": b"1"}, folder, {"state": "COMPLETE"})
    assert "is outside of it" in result["detail"] and result["state"] == "COMPLETE"
    assert not (tmp_path.parent / "out").exists() and not (tmp_path / "out").exists()


class FakeRay:
    """What a launcher needs of Ray when no actor ever starts."""

    class exceptions:
        class RayError(Exception):
            pass

        class ActorUnavailableError(RayError):
            pass

    def kill(self, *_: Any, **__: Any) -> None:
        pass

    def wait(self, refs: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        return [ref for ref in refs if isinstance(ref, Exception)], []

    def get(self, ref: Exception) -> None:
        raise ref


def test_a_task_that_is_lost_on_its_way_to_a_worker_has_died(tmp_path: Path) -> None:
    launcher = object.__new__(ray_launcher.RayLauncher)
    launcher._ray, launcher._log_dir, launcher._asked, launcher._data = FakeRay(), tmp_path, {}, {}
    launcher._look_at, launcher._waiting = time.monotonic() + 60, deque([("trial 1/1", {"config": {}})])
    node = Node("1", "here", "127.0.0.1")

    class Alive:
        def nodes(self) -> list[Node]:
            return [node]

    class Full:
        class submit:
            @staticmethod
            def remote(*_: Any) -> Exception:
                return FakeRay.exceptions.RayError("OSError: [Errno 28] No space left on device")

    launcher._connection = Alive()  # type: ignore[assignment]
    launcher._workers = [ray_launcher._Worker(node, 0, Full(), "listening", facts={"log": ""})]
    launcher._assign()
    (event,) = launcher.events(1)
    assert (event.kind, event.key) == ("died", "trial 1/1") and "No space left" in event.body["why"]
    assert launcher._workers == []


def test_only_a_worker_that_dies_before_it_is_ready_on_a_living_node_speaks_against_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = object.__new__(ray_launcher.RayLauncher)
    launcher._ray, launcher._workers, launcher._log_dir = FakeRay(), [], tmp_path
    here, away = Node("1", "here", "127.0.0.1"), Node("2", "away", "127.0.0.1")

    class Alive:
        def nodes(self) -> list[Node]:
            return [here]

    launcher._connection = Alive()  # type: ignore[assignment]

    def buried(node: Node, error: Exception | str = "exit", **values: Any) -> list[Any]:
        return launcher._bury(ray_launcher._Worker(node, 0, None, None, **values), error)

    (event,) = buried(here)
    assert (event.kind, event.key) == ("died", None)
    assert buried(away) == [], "it died with its node"
    assert buried(here, "The actor died because its node has died.") == [], "Ray has not noticed yet"
    assert buried(here, FakeRay.exceptions.ActorUnavailableError()) == [], "nor does Ray know"
    assert buried(here, facts={"log": ""}) == [], "idle, replaced"
    (event,) = buried(away, key="trial 1/1", facts={"log": ""})
    assert (event.key, event.body["why"]) == ("trial 1/1", "node away was lost")


def test_a_cluster_that_cannot_be_logged_is_not_started(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(StorageError, match="cannot be written"):
        ray_cluster.Connection("local", tmp_path / "logs" / "ray.log")
