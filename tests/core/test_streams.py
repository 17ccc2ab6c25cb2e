"""Output that is full, closed or read by nobody; a home that is not there; `main` in a thread."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lstm_bench import repeat
from lstm_bench.core import errors, home, streams
from lstm_bench.core.cache import cache_folder
from lstm_bench.core.configuration import redacted_config
from lstm_bench.core.errors import ConfigError
from lstm_bench.report import command as report
from lstm_bench.sweep import command as sweep

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def run(arguments: str, redirection: str) -> subprocess.CompletedProcess[str]:
    line = f"{sys.executable} -m lstm_bench{arguments} {redirection}; echo code $? >&3"
    with Path(os.devnull).open("w") as nowhere:
        return subprocess.run(
            ["bash", "-c", f"exec 3>&2; {line}"], env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=nowhere, text=True
        )


@pytest.mark.parametrize("command", ["", ".export --help", ".report --help", ".predict --help"])
@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">/dev/full", 4, "error: what is printed cannot be written (No space left on device)"),
        (">&-", 0, ""),
        ("<&- >&-", 0, ""),
        ("| true", 0, ""),
        (">/dev/full 2>/dev/full", 4, ""),
    ],
)
def test_a_command_that_only_prints_says_in_one_line_that_it_could_not(
    command: str, redirection: str, code: int, said: str
) -> None:
    lines = run(command, redirection).stderr.splitlines()
    if redirection == "| true":
        assert lines == ["code 0"]
    else:
        assert lines == [*([said] if said else []), f"code {code}"]


def test_a_file_opened_later_does_not_become_the_closed_output() -> None:
    script = (
        "import sys; from lstm_bench.core import streams; streams.ensure(); print('lost'); "
        "sys.exit(open('/dev/null').fileno())"
    )
    done = subprocess.run(["bash", "-c", f'{sys.executable} -c "{script}" <&- >&- 2>&-'], env=ENVIRONMENT)
    assert done.returncode == 3


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Gone(io.StringIO):
    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("broken", [Full, Gone])
def test_what_is_printed_by_a_sweep_never_fails(monkeypatch: pytest.MonkeyPatch, broken: type[io.StringIO]) -> None:
    output = broken()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", broken())
    assert sweep.main(["--help"]) == errors.DONE
    assert sweep.main(["+study=stackd"]) == errors.ConfigError("x").exit_code
    assert sys.stdout is output
    with pytest.raises(ZeroDivisionError), streams.lasting():
        print(1 / 0)
    assert sys.stdout is output


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    def nobody(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.setattr(Path, "expanduser", lambda self: nobody() if str(self).startswith("~") else self)
    for name in ("HOME", "LSTM_BENCH_LENT_HOME"):
        monkeypatch.setenv(name, "")  # so that what is lent is taken back
    for name in ("HOME", "LSTM_BENCH_LENT_HOME", "XDG_CACHE_HOME", "LSTM_BENCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_home_the_cache_lies_in_the_working_folder(homeless: Path) -> None:
    from lstm_bench.data import dataset

    assert cache_folder() == homeless / ".cache" / "lstm_bench"
    assert dataset.folders("mnist") == [homeless / ".cache" / "lstm_bench" / "mnist"]
    config = {"dataset": {"dir": "/there", "path": None}, "storage": {"url": None}, "tracking": {"uri": None}}
    assert redacted_config(config)["dataset"]["dir"] == "/there"
    assert home.expanded("sweeps") == Path("sweeps")
    with pytest.raises(
        ConfigError, match=r"^~/x: there is no home folder\. Write the path from the root, or set HOME\.$"
    ):
        home.expanded("~/x")
    assert report.main(["sweeps=~/x"]) == 2
    # What is lent to libraries is no home of the user.
    assert os.environ["HOME"] == str(homeless / ".cache" / "lstm_bench" / "home")
    assert home.folder() is None and cache_folder() == homeless / ".cache" / "lstm_bench"
    with pytest.raises(ConfigError, match="there is no home folder"):
        home.expanded("~/x")


@pytest.mark.parametrize(
    ("argv", "code"), [(["--help"], 0), (["+study=stackd"], 2), (["+study=smoke", "study.n_trials=-1"], 2)]
)
def test_a_sweep_s_command_line_may_be_run_in_a_thread(argv: list[str], code: int) -> None:
    came: list[int] = []
    thread = threading.Thread(target=lambda: came.append(sweep.main(argv)))
    thread.start()
    thread.join(60)
    assert came == [code]


def test_repeat_takes_where_the_data_lie_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert repeat.main([f"sweeps={tmp_path}", "study=s", "trial=0", "dataset.path=there.npz"]) == 2
    assert "dataset.path" not in capsys.readouterr().err  # what is missing is the study


NOBODY = """
import pwd
def getpwuid(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = getpwuid
"""


@pytest.mark.long  # CI: without a home, and output that nobody reads, each by itself, above
@pytest.mark.parametrize(("backend", "tracking"), [("torch", "none"), ("tensorflow", "mlflow")])
def test_a_sweep_without_a_home_goes_on_to_its_end_though_nobody_can_read_it(
    tmp_path: Path, backend: str, tracking: str
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NOBODY)
    gone = {"HOME", "XDG_CACHE_HOME", "USER", "LOGNAME", "KERAS_HOME", "MPLCONFIGDIR"}
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in gone}
    environment["PYTHONPATH"] = f"{tmp_path / 'site'}{os.pathsep}{environment['PYTHONPATH']}"
    arguments = (
        "+study=smoke",
        "dataset=digits",
        "launcher.workers=1",
        "study.n_trials=1",
        "study.replicates=1",
        "kernel=generic",
        "kernel.probe=false",
        "controls=false",
        "train.epochs=1",
        "dataset.train_size=200",
        f"backend={backend}",
        f"tracking={tracking}",
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lstm_bench.sweep", *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=240,
        )
    assert (done.returncode, done.stderr) == (0, "")
    folder = next((tmp_path / "sweeps").iterdir())
    assert len((folder / "trials.csv").read_text().splitlines()) == 2
    assert len((folder / "replicates.csv").read_text().splitlines()) == 2
    assert (folder / "model" / "model.keras").exists()
    assert (tmp_path / "mlflow.db").exists() is (tracking == "mlflow")
