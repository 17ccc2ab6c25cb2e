"""`python -m lstm_bench`: the list of commands, and options that are misspelt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lstm_bench
from lstm_bench import __main__ as listing
from lstm_bench.kernels import command as kernels
from lstm_bench.sweep import command as sweep


def test_the_commands_are_listed_and_are_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert listing.main([]) == 0
    printed = capsys.readouterr().out
    assert listing.main(["--help"]) == 0
    assert capsys.readouterr().out == printed
    package = Path(lstm_bench.__file__).parent
    doors = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    assert set(listing.COMMANDS) == doors | {path.parent.name for path in package.glob("*/__main__.py")}
    assert [line.split()[0] for line in printed.splitlines()[2:-2]] == list(listing.COMMANDS)
    assert max(map(len, printed.splitlines())) <= 120


def test_the_list_imports_no_framework_and_no_hydra() -> None:
    late = "{'hydra', 'omegaconf', 'numpy', 'keras', 'optuna', 'mlflow'}"
    code = f"import sys; from lstm_bench.__main__ import main; main([]); print({late} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["swep"], "python -m lstm_bench swep: there is no such command. Did you mean sweep?"),
        (
            ["sweep", "+study=smoke", "--help"],
            "python -m lstm_bench sweep: a command is a module. Write python -m lstm_bench.sweep",
        ),
    ],
)
def test_another_word_is_refused_with_the_command(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listing.main(argv) == 2
    assert capsys.readouterr().err == f"error: {line}\n"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--n_trials", "4"], "--n_trials: there is no such option, options are key=value. Write study.n_trials=4"),
        (["--n-trial=4"], "--n-trial: there is no such option, options are key=value. Did you mean study.n_trials=4?"),
        (
            ["--epochs", "model=gru"],
            "--epochs: there is no such option, options are key=value. Write train.epochs=VALUE",
        ),
        (
            ["--confg-dir", "x"],
            "--confg-dir: there is no such option, options are key=value. Did you mean --config-dir?",
        ),
        (["--cfg", "jo"], "--cfg: expected job, hydra or all, received 'jo'"),
        (["--config-dir"], "--config-dir: expected a value behind it"),
        (["model.unit=32"], "model.unit: there is no such option. Did you mean model.units?"),
        (["dataset.text=note"], "dataset.text: there is no such option. It is one of dataset=file."),
        (["model=cnn", "model.filter=3"], "model.filter: there is no such option. Did you mean model.filters?"),
        (
            ["study.n_trials=0"],
            "study.n_trials: expected at least 1 where study.space is not empty, received 0. To search nothing, fix what"
            " is searched: train.learning_rate=VALUE",
        ),
        (["study.n_trials=-1"], "study.n_trials: expected a whole number of at least 0, received -1"),
    ],
)
def test_an_option_of_a_sweep_that_cannot_be_meant_is_one_line(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = sweep.main(["+study=smoke", *argv])
    said = capsys.readouterr()
    assert said.err == f"error: {line}\n"
    assert said.out == ""
    assert code == 2


def test_so_is_one_of_the_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert kernels.main(["--grid", "quick"]) == 2
    assert (
        capsys.readouterr().err == "error: --grid: there is no such option, options are key=value. Write grid=quick\n"
    )
