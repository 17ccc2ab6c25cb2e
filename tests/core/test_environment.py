"""`lstm_bench.core.environment`: what a study's numbers are traced by."""

from __future__ import annotations

import json
import subprocess

import lstm_bench
from lstm_bench.core import environment
from lstm_bench.core.hardware import Gpu, Slot

SLOTS = [Slot(0, "AMD EPYC", "1 core of 2, other busy", (0,)), Slot(1, "AMD EPYC", "1 core of 2, other busy", (1,))]


def test_a_folder_without_git_has_no_commit(tmp_path):
    assert environment.git(tmp_path) is None


def test_a_commit_and_whether_the_checkout_is_dirty(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    status = {"text": ""}
    monkeypatch.setattr(environment, "_run", lambda command: "abc123" if "rev-parse" in command else status["text"])
    assert environment.git(tmp_path) == {"commit": "abc123", "dirty": False}
    status["text"] = " M lstm_bench/study.py"
    assert environment.git(tmp_path) == {"commit": "abc123", "dirty": True}


def test_a_git_that_fails_is_no_commit(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    for error in (FileNotFoundError(), subprocess.CalledProcessError(128, "git"), subprocess.TimeoutExpired("git", 10)):

        def fails(command, error=error):
            raise error

        monkeypatch.setattr(environment, "_run", fails)
        assert environment.git(tmp_path) is None


def test_versions_are_those_of_what_is_installed():
    import numpy
    import optuna

    found = environment.versions()
    assert found["numpy"] == numpy.__version__
    assert found["optuna"] == optuna.__version__
    assert set(found) <= set(environment._PACKAGES)


def test_the_environment_of_a_cpu(monkeypatch):
    monkeypatch.setattr(environment, "git", lambda folder: None)
    monkeypatch.setattr(environment.hardware, "cpu_name", lambda: "AMD EPYC")
    seen = environment.collect(SLOTS, [], {"name": "digits", "sha256": "ab"})
    assert seen["lstm_bench"] == lstm_bench.__version__
    assert seen["dataset"] == {"name": "digits", "sha256": "ab"}
    assert seen["workers"][1] == {"device": "AMD EPYC", "share": "1 core of 2, other busy", "cores": [1]}
    assert (seen["device"]["name"], seen["device"]["kind"], seen["device"]["gpus"]) == ("AMD EPYC", "cpu", [])
    assert seen["device"]["driver"] is None
    assert json.loads(json.dumps(seen)) == seen


def test_the_environment_of_a_gpu(monkeypatch):
    monkeypatch.setattr(environment, "git", lambda folder: None)
    seen = environment.collect(SLOTS, [Gpu("0", "NVIDIA H200", 143771, "570.86")], {})
    assert (seen["device"]["name"], seen["device"]["kind"], seen["device"]["driver"]) == (
        "NVIDIA H200",
        "gpu",
        "570.86",
    )
    assert seen["device"]["gpus"] == [{"name": "NVIDIA H200", "memory_mib": 143771}]
