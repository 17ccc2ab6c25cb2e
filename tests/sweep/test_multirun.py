"""`lstm_bench.multirun`: with -m, all jobs are checked before the first is run, and a fault of several is told once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fake
import pytest
from published import PUBLISHED

from lstm_bench.core.errors import ConfigError, DataError, InterruptedByUser, TooManyFailedError
from lstm_bench.core.schema import Sweep
from lstm_bench.sweep import campaign, multirun, precheck, validate

APART = "study.name=${hydra:runtime.choices.model}"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command line; returns exit code, names of the studies that were run and checked together, and what was printed."""
    monkeypatch.chdir(tmp_path)

    def run(*line: str, ends: BaseException | None = None, found: Any = ()) -> Any:
        ran: list[str] = []
        checked: list[str] = []

        def study(composed: Any, overrides: Any, jobs: Any, at: int) -> None:
            assert jobs[at][0]["study"]["name"] == composed.study.name
            ran.append(composed.study.name)
            if ends:
                raise ends

        def together(studies: list[Any]) -> Any:
            checked.extend(config["study"]["name"] for config, _, _ in studies)
            return found

        assert multirun.is_asked(line)
        code = multirun.main(line, check=validate.checked, run=study, root=Sweep, together=together)
        assert not list(tmp_path.iterdir())
        return code, ran, checked, capsys.readouterr()

    return run


def test_every_job_is_checked_and_then_run_in_turn(told: Any) -> None:
    code, ran, checked, said = told("-m", "+study=single,smoke", "train.epochs=1")
    assert (code, ran, checked) == (0, ["single", "smoke"], ["single", "smoke"])
    assert (said.out, said.err) == ("", "")


def test_one_job_alone_is_left_to_its_own_check(told: Any) -> None:
    assert told("--multirun", "+study=smoke", found=[(["smoke"], ConfigError("no"))])[:3] == (0, ["smoke"], [])


def test_one_study_s_failure_does_not_stop_the_next(told: Any) -> None:
    code, ran, _, said = told("-m", "+study=single,smoke", ends=TooManyFailedError("too many"))
    assert (code, ran) == (5, ["single", "smoke"])
    assert said.err == "error: too many\n" * 2


def test_an_interrupt_ends_all(told: Any) -> None:
    assert told("-m", "+study=single,smoke", ends=InterruptedByUser("interrupted"))[:2] == (130, ["single"])


def test_several_studies_end_in_one_verdict(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr(campaign, "say_verdict", said.append)
    told("-m", "+study=single,smoke")
    told("-m", "+study=single,smoke", ends=TooManyFailedError("too many"))  # what came of the others is worth saying
    told("-m", "+study=smoke", "study.name=smoke,again,smoke")
    assert said == [["single", "smoke"], ["single", "smoke"], ["smoke", "again"]]
    told("-m", "+study=smoke")
    told("-m", "+study=single,smoke", ends=InterruptedByUser("interrupted"))
    assert len(said) == 3, "one study says its own, and an interrupt ends all"


def test_the_verdict_is_that_of_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["m1_yearly-single", "m1_yearly-gru"]
    for name in names:
        shutil.copytree(PUBLISHED / name, tmp_path / "sweeps" / name)
    campaign.say_verdict([*names, "never-run"])
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert first == "verdict on m1_yearly_dataset" and second.startswith("  Take ")
    assert any("Tried: 2 networks" in line for line in rest) and any("use it: python -m" in line for line in rest)
    campaign.say_verdict(names[:1])
    assert capsys.readouterr().out == "", "one has said it itself"


def test_a_fault_of_the_last_job_keeps_the_first_from_running_and_one_of_several_is_told_once(told: Any) -> None:
    code, ran, checked, said = told("-m", "+study=smoke,single,stacked", "train.epochs=0")
    assert (code, ran, checked) == (2, [], [])
    assert said.err.splitlines() == [
        "error: train.epochs: expected a whole number of at least 1, received 0",
        "-m: nothing was run, because of smoke, single, stacked",
    ]
    code, ran, _, said = told("-m", "+study=smoke", "model=single,gru", "train.epochs=1,0", APART)
    assert (code, ran) == (2, [])
    assert said.err.splitlines()[-1] == "-m: nothing was run, because of single, gru"


def test_what_all_have_in_common_is_told_with_the_worst_code(told: Any) -> None:
    found = [
        precheck.Unfit(["single", "smoke"], DataError("no file")),
        precheck.Unfit(["smoke"], ConfigError("no such")),
    ]
    code, ran, _, said = told("-m", "+study=single,smoke", found=found)
    assert (code, ran) == (3, [])
    assert said.err.splitlines() == [
        "error: no file",
        "error: no such",
        "-m: nothing was run, because of single, smoke",
    ]


def test_a_name_that_does_not_exist_is_told_before_anything_is_run(told: Any) -> None:
    code, ran, _, said = told("-m", "+study=smoke,smokey")
    assert (code, ran) == (2, [])
    assert said.err == "error: study=smokey: there is no such study. Did you mean smoke or stock?\n"


def test_a_file_that_cannot_be_read_is_told_once(told: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("own")
    (folder / "study").mkdir()
    (folder / "study" / "mine.yaml").write_text("study:\n  name: mine\n")
    code, ran, _, said = told("--config-dir", str(folder), "-m", "+study=mine", "train.epochs=1,2")
    assert (code, ran) == (2, [])
    assert said.err.count("does it begin with # @package _global_?") == len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("lines", "way"),
    [
        ([["+study=smoke", "model=single"], ["+study=smoke", "model=mlp"]], "${hydra:runtime.choices.model}"),
        ([["++train.epochs=1", "model=mlp"], ["++train.epochs=2", "model=mlp"]], "${train.epochs}"),
        ([["+study=a", "study.name=x"], ["+study=b", "study.name=x"]], "${hydra:runtime.choices.study}"),
        (
            [["model=a", "train.epochs=1"], ["model=b", "train.epochs=2"]],
            "${hydra:runtime.choices.model}-${train.epochs}",
        ),
    ],
)
def test_jobs_of_one_name_are_told_apart_by_what_they_are_given_alone(lines: list[list[str]], way: str) -> None:
    (fault,) = multirun.one_name([fake.config({"train.epochs": n}) for n in (1, 2)], lines)
    assert fault[0] == ["fake"]
    said = "study.name=fake: several jobs have it, and are not the same study. Name each"
    assert str(fault[1]) == f"{said}: 'study.name={way}'"


def test_jobs_of_one_name_that_are_not_one_study_are_refused_and_can_be_named_as_is_said(told: Any) -> None:
    line = ["-m", "+study=smoke", "model=single,mlp"]
    code, ran, checked, said = told(*line)
    assert (code, ran, checked) == (2, [], [])
    assert said.err.endswith(f"Name each: '{APART}'\n-m: nothing was run, because of smoke\n")
    assert told(*line, APART)[:2] == (0, ["single", "mlp"])


def test_jobs_of_one_name_that_resume_each_other_are_no_fault() -> None:
    more = {"launcher.workers": 2, "study.n_trials": 9, "tracking.uri": "sqlite:///other.db"}
    assert multirun.one_name([fake.config(), fake.config(more)], [["a=1"], ["a=2"]]) == []


def test_help_is_no_multirun() -> None:
    assert not multirun.is_asked(["-m", "--help"]) and not multirun.is_asked(["+study=smoke"])
