"""What tests share: where the real MNIST is, and a command line in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.vocabulary import OF_BACKEND

# A worker's backend is its own; the tests' process uses TensorFlow, quietly.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.pop("MLFLOW_TRACKING_URI", None)  # a developer's own server is no place for tests
# Of XLA's programs on a CPU: LLVM's optimiser takes a third of the time of a test that compiles some, and is not what is tested.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
# Threads of BLAS and OpenMP that wait for one another take most of a core each where as many tests run as there are cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# A shell's background job ignores Ctrl-C, and what it starts inherits that: tests that send one would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

Command = Callable[..., subprocess.CompletedProcess[str]]


# What takes a minute or more begins first, so that at the end no process waits for another's last file.
_FIRST = (
    *(
        "test_ray",
        "test_faults",
        "test_measure",
        "test_sweep",
        "test_engine",
        "test_postgres",
        "test_report",
        "test_kernels",
        "test_live",
    ),
    *("test_full_disk", "test_mlflow_source", "test_chaos", "test_ui", "test_docs", "test_fixture_010", "test_local"),
)


# Files, or functions of one, that are not `fast`: what they need takes seconds. Every other test is, unless it is slow or
# runs the `command`.
_NEEDS = {
    "framework": (
        *("test_bare", "test_ceiling", "test_engine", "test_kernel", "test_local"),
        "test_build::test_a_width_stays_within_what_the_family_allows",
        "test_timer::test_a_probe_s_worker_watches_what_else_its_cores_do",
        "test_timer::test_a_probe_times_whole_windows_and_proves_the_kernel",
        "test_timer::test_windows_last_at_least_fifty_milliseconds",
        "test_reference::test_adam_of_keras_makes_the_same_first_step",
        "test_reference::test_keras_agrees_in_outputs_and_gradients",
        *("test_layers", "test_measure", "test_families", "test_numerics", "test_pack", "test_predict"),
        "test_predicted_metrics",
        *("test_fit", "test_tasks", "test_text_training"),
        "test_lean_import::test_a_worker_imports_nothing_that_keras_only_offers_more_for",
    ),
    "service": (  # MLflow, PostgreSQL, Ray, a browser
        *("test_fixture_010", "test_mlflow_source", "test_postgres", "test_ray", "test_store", "test_sync"),
        *("test_client", "test_ui", "test_html"),
    ),
    "time": (  # whole sweeps, benchmarks and reports, an installation, thousands of trials
        *("test_chaos", "test_comparison", "test_docs", "test_faults", "test_full_disk"),
        *("test_kernel_page", "test_kernels", "test_cached", "test_package"),
        *(
            "test_readers",
            "test_report",
            "test_sweep",
            "test_campaign",
            "test_multirun",
            "test_per_class",
            "test_reproduce",
        ),
        "test_case::test_the_reference_takes_no_more_than_the_estimate",
        "test_merge::test_a_crash_anywhere_leaves_the_old_state_or_the_new_one",
        "test_merge::test_a_sweep_that_goes_on_extends_what_was_merged",
        "test_doctor::test_an_option_that_cannot_be_meant_is_refused",
        "test_fast::test_a_fast_test_that_imports_a_framework_fails",
        "test_house::test_reports_start_without_optuna_and_without_a_renderer_of_markdown",
        "test_live::test_a_corrupt_store_ends_the_sweep_at_once",
        "test_live::test_a_server_that_answers_after_twenty_seconds_delays_no_epoch",
        "test_look::test_it_prints_within_the_terminal_leaves_only_the_picture_and_imports_no_framework",
        "test_protections::test_a_test_that_fails_is_red_and_says_why",
        "test_protections::test_every_protection_can_be_switched_off_in_a_process",
        "test_security::test_a_known_vulnerability_fails_the_audit",
        "test_security::test_none_passes_it",
        "test_security::test_titles_hold_no_password_and_a_worker_s_nothing_but_a_number",
        "test_security::test_without_a_network_it_says_that_nothing_was_audited",
        "test_security::test_a_name_that_is_no_folder_is_refused_before_a_file_is_made",
        "test_security::test_a_slip_of_the_pen_does_not_show_the_password",
        "test_trials::test_a_finite_space_is_visited_once_each_interrupted_or_not",
        "test_trials::test_a_study_of_several_objectives_resumes_to_the_same_suggestions",
        "test_trials::test_a_trial_whose_driver_died_while_it_asked_for_it_is_asked_for_anew",
        "test_trials::test_an_interrupted_study_is_suggested_what_an_uninterrupted_one_is",
    ),
}
_NOT_FAST = frozenset(name for names in _NEEDS.values() for name in names)
FRAMEWORKS = ("keras", "tensorflow", "jax", "torch")
# Tests that are fast, tests that are not, and names of `_NEEDS` that no file has.
COLLECTED = pytest.StashKey[tuple[int, int, set[str]]]()


def _only_fast(config: pytest.Config) -> bool:
    return str(config.option.markexpr) == "fast"


def _names(item: pytest.Item) -> set[str]:
    return {item.path.stem, f"{item.path.stem}::{getattr(item, 'originalname', item.name)}"}


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`pytest -m fast` does not import what it leaves out: some of it imports a framework."""
    return True if _only_fast(config) and collection_path.stem in _NOT_FAST else None


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = (
            False  # xdist would begin with the files of the most tests, the quickest of all
        )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is long is slow: `-m "not slow"` leaves out both. What needs little is fast. Files of slow tests come first."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker("slow")
        if not (item.get_closest_marker("slow") or _NOT_FAST & _names(item) or "command" in _fixtures(item)):
            item.add_marker("fast")
    n_fast = sum(item.get_closest_marker("fast") is not None for item in items)
    unknown = _NOT_FAST - {name for item in items for name in _names(item)}
    config.stash[COLLECTED] = n_fast, len(items) - n_fast, unknown
    ranks = {name: rank for rank, name in enumerate(_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own, with the user's MNIST: what they measure and compile is no study's."""

    from lstm_bench.core.cache import cache_folder

    known, folder = cache_folder() / "mnist", tmp_path_factory.mktemp("cache")
    (folder / "lstm_bench").mkdir()
    if known.is_dir():
        (folder / "lstm_bench" / "mnist").symlink_to(known)
    with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": str(folder)}):
        yield


@pytest.fixture(autouse=True)
def _no_framework(request: pytest.FixtureRequest) -> Iterator[None]:
    """A fast test imports no framework; with `-m fast` neither does the collection."""
    before = set() if _only_fast(request.config) else set(sys.modules)
    yield
    if request.node.get_closest_marker("fast"):
        found = [name for name in FRAMEWORKS if name in set(sys.modules) - before]
        assert not found, (
            f"{', '.join(found)}: imported by a test that is `fast`: add its file to `_NEEDS` in conftest.py"
        )


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Folder of the real MNIST: in $LSTM_BENCH_DATA, the user's cache, or downloaded. A missing one fails, it does not skip."""
    from lstm_bench.core.errors import DataError
    from lstm_bench.data import dataset

    settings = yaml.safe_load((conf_dir() / "dataset" / "mnist.yaml").read_text())
    try:
        return Path(dataset.resolve({**settings, "fallback": None}).config["dir"])
    except DataError as error:
        pytest.fail(f"the real MNIST is needed: set LSTM_BENCH_DATA to the folder that holds mnist/ ({error})")


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs `python -m lstm_bench.NAME ARGUMENTS` in `tmp_path`."""

    def run(name: str, *arguments: str, timeout: float = 240, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"lstm_bench.{name}", *arguments],
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1", **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


# Imports once what a command imports while it checks; every command line then has a process and a folder of its own.
_SERIES = """
import importlib, json, os, sys
import hydra
from lstm_bench.core import configuration, hardware, locks
from lstm_bench.data import dataset
from lstm_bench.model import build, kernel
from lstm_bench.study import columns, search_space
from lstm_bench.tracking import client

behind = "" if sys.argv[1] in ("look", "leak") else ".command"
main = importlib.import_module(f"lstm_bench.{sys.argv[1]}{behind}").main
codes = []
for i, arguments in enumerate(json.loads(sys.argv[2])):
    child = os.fork()
    if not child:
        os.chdir(str(i))
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"../{i}.{name}", os.O_CREAT | os.O_WRONLY), stream)
        sys.exit(main(arguments))
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""


def series(
    folder: Path, name: str, lines: Sequence[Sequence[str]], **environment: str
) -> list[subprocess.CompletedProcess[str]]:
    """What `python -m lstm_bench.NAME` says to each of many lines of arguments, run in `folder/0`, `folder/1`, ...

    For command lines that are refused or composed: that takes a tenth of the second in which the command is imported.
    """
    for i in range(len(lines)):
        (folder / str(i)).mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _SERIES, name, json.dumps(lines)],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return [
        subprocess.CompletedProcess(line, code, (folder / f"{i}.out").read_text(), (folder / f"{i}.err").read_text())
        for i, (line, code) in enumerate(zip(lines, json.loads(done.stdout), strict=True))
    ]


def undrawn(make: Callable[[], Any], kinds: Sequence[str] = ("svg",)) -> dict[str, bytes]:
    """Stands in for `style.pictures` where pages and files are tested: to draw takes a third of the time of a report."""
    return dict.fromkeys(kinds, b"drawn")


def long_but(one: str) -> list[Any]:
    """Backends for a test that takes a minute or so on some: CI has time for one of them, `pytest -m long` runs the others'."""
    return [one, *(pytest.param(name, marks=pytest.mark.long) for name in OF_BACKEND if name != one)]


@contextlib.contextmanager
def _no_room(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores SIGXFSZ
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def no_room() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """Within `no_room(size)`, no file of this process grows beyond so many bytes."""
    return _no_room


@pytest.fixture(scope="session")
def unused_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `mlflow.db` as MLflow makes it, nothing logged to it: making one takes a second, copying it nothing."""
    from lstm_bench.tracking import store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with mock.patch.dict(os.environ):  # `connect` sets MLflow's
        store.connect(f"sqlite:///{path}")
    return path
