"""A sample of the randomised fault run, and that it sees what is wrong."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import books
import pytest
import rounds
import spy


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study, one of whose trials ran again."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "faults").mkdir()
    (folder / "faults" / "kill.0").touch()
    arguments = (*spy.QUICK, "study.replicates=1", "launcher.workers=1")  # trial 0 is the one that dies
    code, out, err = spy.swept(folder, *arguments, SPY_FAULTS=str(folder / "faults"))
    assert code == 0, out + err
    return folder / "sweeps" / "smoke"


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _sql(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as database:
        assert database.execute(statement).rowcount == 1
    database.close()


TAMPERED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a value": (lambda f: _edit(f / "trials.csv", "\n1,COMPLETE", "\n1,PRUNED"), "records: trial 1: state is 'PRUNED'"),
    "a row twice": (lambda f: _edit(f / "trials.csv", "\n0,", "\n1,"), "1 is in the records twice"),
    "an epoch": (lambda f: _edit(f / "history.csv", "trial,1,2,", "trial,1,4,"), "records: trial 1: curve is"),
    "a seed": (lambda f: _edit(f / "replicates.csv", ",0,COMPLETE", ",0,FAIL"), "replicates: "),
    "a running trial": (
        lambda f: _sql(f / "study.db", "UPDATE trials SET state = 'RUNNING' WHERE number = 0"),
        "trial 0 is RUNNING",
    ),
    "a retry": (
        lambda f: _sql(f / "study.db", "DELETE FROM trial_user_attributes WHERE key = 'retry_of'"),
        "4 suggestions, 3 wanted",
    ),
    "half a file": (lambda f: (f / "trials.csv.part").touch(), "trials.csv.part was left behind"),  # type: ignore[dict-item]
}


def test_the_books_of_a_finished_study_agree(swept: Path) -> None:
    assert books.complaints(swept, n_trials=3, replicates=1) == []
    assert books.complaints(swept, n_trials=4, replicates=1) == ["3 suggestions, 4 wanted"]


@pytest.mark.parametrize("name", TAMPERED)
def test_books_that_disagree_are_seen(swept: Path, tmp_path: Path, name: str) -> None:
    tamper, said = TAMPERED[name]
    folder = tmp_path / swept.name
    shutil.copytree(swept, folder)
    tamper(folder)
    assert any(line.startswith(said) for line in books.complaints(folder, n_trials=3, replicates=1))


def _played(n: int, seed: int, tracking: str, capsys: pytest.CaptureFixture[str]) -> None:
    bad = rounds.run(n, seed, tracking, study_rounds=n)
    out = capsys.readouterr().out
    assert bad == 0 and out.count(": ok ") == n, out


@pytest.mark.slow
def test_after_any_fault_the_same_command_makes_the_books_agree(capsys: pytest.CaptureFixture[str]) -> None:
    _played(1, 11, "none", capsys)


@pytest.mark.long
@pytest.mark.parametrize("tracking", ["sqlite", "server"])
def test_after_any_fault_mlflow_agrees_too(capsys: pytest.CaptureFixture[str], tracking: str) -> None:
    _played(4, 12, tracking, capsys)
