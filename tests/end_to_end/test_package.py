"""The wheel: built, installed elsewhere, run from an empty folder, on each Python that the machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import lstm_bench

ROOT = Path(__file__).parents[2]
# What the commands import before a worker starts; the frameworks are not needed to compose a study.
LIGHT = ["hydra-core", "pyyaml", "numpy", "psutil", "rich", "nvidia-ml-py"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)],
        check=True,
        capture_output=True,
    )
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_package_and_its_conf_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    conf = (path for kind in ("yaml", "csv") for path in (ROOT / "conf").rglob(f"*.{kind}"))
    ours = {f"lstm_bench/conf/{path.relative_to(ROOT / 'conf')}" for path in conf}
    ours |= {str(path.relative_to(ROOT)) for kind in ("py", "j2") for path in (ROOT / "lstm_bench").rglob(f"*.{kind}")}
    assert {name for name in names if ".dist-info/" not in name} == ours


def test_the_version_is_the_packages(wheel: Path) -> None:
    assert wheel.name.split("-")[1] == lstm_bench.__version__


def pythons() -> list[str]:
    found = []
    for minor in (11, 12, 13):
        path = shutil.which(f"python3.{minor}")
        if sys.version_info[:2] == (3, minor):
            path = sys.executable
        # A version manager leaves names of Pythons that do not start.
        if path and subprocess.run([path, "-c", "import venv"], capture_output=True).returncode == 0:
            found.append(path)
    return found


@pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).name)
def test_the_wheel_works_from_an_empty_folder(wheel: Path, tmp_path: Path, python: str) -> None:
    subprocess.run([python, "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(tmp_path / "venv" / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, capture_output=True)
    subprocess.run([*pip, *LIGHT], check=True, capture_output=True)
    empty = tmp_path / "empty"
    empty.mkdir()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            [str(tmp_path / "venv" / "bin" / "python"), "-m", "lstm_bench.sweep", *arguments],
            cwd=empty,
            env={**environment, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
        )

    assert "stacked" in run("--help").stdout
    composed = run("+study=stacked", "--cfg", "job")
    assert composed.returncode == 0, composed.stderr
    assert "units: 128" in composed.stdout
    refused = run("+study=stacked", "kernel=cudnn")
    assert refused.returncode == 2, refused.stderr
    assert "no GPU" in refused.stderr
    assert list(empty.iterdir()) == []


def test_pythons_that_cannot_work_are_refused_by_pip(wheel: Path) -> None:
    metadata = zipfile.ZipFile(wheel).read(f"lstm_bench-{lstm_bench.__version__}.dist-info/METADATA").decode()
    assert "Requires-Python: <3.14,>=3.11" in metadata
