"""`lstm_bench.sweep.campaign`: what a list of studies comes to, and that they are composed, checked and run as one by one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import spy
import yaml
from conftest import Command

from lstm_bench.core import fileio
from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import ConfigError, InterruptedByUser, StorageError, TooManyFailedError
from lstm_bench.core.schema import Sweep
from lstm_bench.sweep import campaign
from lstm_bench.sweep import command as sweep
from lstm_bench.sweep.validate import checked

OURS = sorted(path.stem for path in (conf_dir() / "campaign").glob("*.yaml"))
TWO: dict[str, Any] = {
    "description": "Two sizes of two families",
    "studies": ["smoke", {"study": "smoke", "name": "rnn", "overrides": ["model=simple_rnn"]}],
    "overrides": ["train.epochs=1", "tracking=none"],
    "each": {"model.weights": ["2k", 4000]},
}
NAMES = ["two-smoke-2k", "two-smoke-4000", "two-rnn-2k", "two-rnn-4000"]


# What a campaign's YAML comes to.


def test_studies_times_values_are_planned_in_order_with_names() -> None:
    described, planned = campaign.plan("two", TWO)
    assert described == "Two sizes of two families"
    assert [one.name for one in planned] == NAMES
    assert planned[2].overrides == [
        "+study=smoke",
        "train.epochs=1",
        "tracking=none",
        "model=simple_rnn",
        "model.weights=2k",
        "study.name=two-rnn-2k",
        "++study.campaign=two",
    ]


def test_overrides_of_the_command_line_come_last_and_replace() -> None:
    _, planned = campaign.plan("two", TWO, ["train.epochs=7", "sampler=random", "++study.space={}"])
    for one in planned:
        assert [o for o in one.overrides if "epochs" in o] == ["train.epochs=7"]
        assert one.overrides[-3:] == ["train.epochs=7", "sampler=random", "++study.space={}"]


def test_a_file_has_not_the_epochs_that_a_campaign_chose_for_other_data() -> None:
    def epochs(*given: str) -> set[str]:
        _, planned = campaign.plan("two", TWO, given)
        return {override for one in planned for override in one.overrides if "epochs" in override}

    assert epochs("dataset=digits") == {"train.epochs=1"}
    assert epochs("dataset=file", "dataset.path=a.csv") == set()
    assert epochs("dataset=file", "train.epochs=9") == {"train.epochs=9"}
    assert epochs("dataset=file", "rnn:train.epochs=9") == {"train.epochs=9"}


def test_several_axes_are_multiplied_and_values_become_names() -> None:
    each = {"dataset.length": [10, 20], "kernel.probe": [True], "train.schedule": ["a b/c", None]}
    _, planned = campaign.plan("c", {"studies": ["single"], "each": each})
    assert [one.name for one in planned] == [
        f"c-single-{length}-true-{word}" for length in (10, 20) for word in ("a-b-c", "null")
    ]
    assert "kernel.probe=true" in planned[0].overrides and "train.schedule=null" in planned[1].overrides


def test_an_option_is_given_to_one_study_by_its_study_its_name_or_its_family() -> None:
    of = {"studies": ["single", {"study": "smoke", "name": "rnn", "overrides": ["model=simple_rnn"]}]}
    for prefix in ("rnn", "smoke", "simple_rnn"):
        _, planned = campaign.plan("c", of, [f"{prefix}:model.units=5", f"{prefix}:model.units=7"])
        assert ["model.units=7" in one.overrides for one in planned] == [False, True]
        assert not any("model.units=5" in one.overrides for one in planned)
    with pytest.raises(ConfigError) as caught:
        campaign.plan("c", of, ["rn:model.units=5"])
    assert str(caught.value) == "rn:model.units=5: campaign c has no study rn. Did you mean rnn?"


def test_a_name_of_ones_own_begins_the_names_of_the_studies(told: Any) -> None:
    code, ran, _ = told("+campaign=two", "study.name=mine")
    assert code == 0
    assert [composed.study.name for composed in ran] == [name.replace("two", "mine") for name in NAMES]
    assert {composed.study.campaign for composed in ran} == {"mine"}
    code, _, said = told("+campaign=two", "study.name=a/b")
    assert code == 2 and "study.name: expected a letter or digit" in said.err


def test_such_an_option_without_a_campaign_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.main(["+study=smoke", "smoke:model.units=5"]) == 2
    assert "Write model.units=5, or name a campaign: +campaign=NAME" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"studies": None}, "campaign two: studies: expected a list of at least one study"),
        ({"studies": []}, "campaign two: studies: expected a list of at least one study, received []"),
        ({"studies": [3]}, "campaign two: studies: expected names, or mappings with a study, received '3'"),
        ({"studies": [{"name": "x"}]}, "expected names, or mappings with a study"),
        ({"studies": [{"study": "x", "override": []}]}, "unknown key override. Did you mean overrides?"),
        ({"study": ["x"]}, "campaign two: unknown key study. Did you mean studies?"),
        ({"overrides": "train.epochs=3"}, "overrides: expected a list of texts such as train.epochs=3"),
        ({"overrides": ["train.epochs"]}, "overrides: expected a list of texts such as train.epochs=3"),
        ({"each": ["x"]}, "campaign two: each: expected a mapping of paths to lists of values"),
        ({"each": {"x": []}}, "campaign two: each: x: expected a list of at least one value, received '[]'"),
        ({"each": {"x": [[1]]}}, "each: x: expected a list of at least one value"),
        ({"studies": ["smoke", "smoke"]}, "two studies are named two-smoke-2k. Give one of them a name."),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(change: Mapping[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        campaign.plan("two", {**TWO, **change})
    assert line in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", OURS)
def test_every_campaign_of_ours_can_be_planned(name: str) -> None:
    described, planned = campaign.plan(name, yaml.safe_load((conf_dir() / "campaign" / f"{name}.yaml").read_text()))
    assert described and len(planned) > 1


# The command line.


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command line on a campaign of the test's own; returns exit code, the studies that ran, and what was printed."""
    (tmp_path / "campaign").mkdir()
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, of: Any = TWO, ends: Mapping[str, BaseException] | None = None) -> Any:
        (tmp_path / "campaign" / "two.yaml").write_text(of if isinstance(of, str) else yaml.safe_dump(of))
        ran = []

        def study(composed: Any, overrides: Any, jobs: Any, at: int) -> None:
            assert jobs[at][0]["study"]["name"] == composed.study.name
            ran.append(composed)
            if error := (ends or {}).get(composed.study.name):
                raise error

        line = ["--config-dir", str(tmp_path), *arguments]
        assert campaign.is_asked(line)
        code = campaign.main(line, conf=conf_dir(), check=checked, run=study, root=Sweep)
        return code, ran, capsys.readouterr()

    return run


def test_every_study_is_composed_as_alone_and_run_in_turn(told: Any) -> None:
    code, ran, said = told("+campaign=two", "train.batch_size=16")
    assert code == 0
    assert [composed.study.name for composed in ran] == NAMES
    assert [composed.model._target_ for composed in ran] == [
        f"lstm_bench.model.{f}" for f in ("single", "simple_rnn") for _ in "ab"
    ]
    assert [composed.model.weights for composed in ran] == ["2k", 4000] * 2
    assert {(composed.train.epochs, composed.train.batch_size) for composed in ran} == {(1, 16)}
    assert said.err == ""
    assert said.out.splitlines() == [
        "campaign two: Two sizes of two families",
        *(line for i, name in enumerate(NAMES, 1) for line in ("", f"campaign two: study {i} of 4: {name}")),
        "",
        "campaign two: 4 of 4 studies done",
    ]


def test_one_study_s_failure_does_not_stop_the_next_and_the_worst_code_wins(told: Any) -> None:
    ends = {NAMES[0]: TooManyFailedError("too many"), NAMES[1]: StorageError("full")}
    code, ran, said = told("+campaign=two", ends=ends)
    assert (code, len(ran)) == (5, 4)
    assert said.err.splitlines() == ["error: too many", "error: full"]
    assert f"2 of 4 studies done; not done: {NAMES[0]} (exit 5), {NAMES[1]} (exit 4)" in said.out


@pytest.mark.parametrize("end", [InterruptedByUser("interrupted"), KeyboardInterrupt()])
def test_an_interrupt_ends_all(told: Any, end: BaseException) -> None:
    code, ran, said = told("+campaign=two", ends={NAMES[1]: end})
    assert (code, len(ran)) == (130, 2)
    assert "study 3 of 4" not in said.out


@pytest.mark.parametrize(
    ("change", "code", "line"),
    [
        ({"studies": ["smoke", "smokey"]}, 2, "error: study=smokey: there is no such study. Did you mean smoke"),
        (
            {"overrides": ["train.epochs=0"]},
            2,
            "error: train.epochs: expected a whole number of at least 1, received 0",
        ),
        (
            {"each": {"model.weights": ["2k", "few"]}},
            2,
            "error: model.weights: expected a whole number of at least 1, such as",
        ),
    ],
)
def test_all_studies_are_checked_before_the_first_runs(told: Any, change: Any, code: int, line: str) -> None:
    ended, ran, said = told("+campaign=two", of={**TWO, **change})
    assert (ended, ran, said.out) == (code, [], "")
    assert said.err.startswith(line)
    assert "campaign two: nothing was run, because of two-smok" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["+campaign=tow"], "+campaign=tow: there is no such campaign. Did you mean two?"),
        (["campaign=two"], "campaign=two is not how a campaign is chosen. Write +campaign=NAME."),
        (["+campaign=two", "-m"], "-m: a campaign runs its studies by itself"),
        (
            ["+campaign=two", "model=gru,mlp"],
            "model=gru,mlp: several values. A campaign has those in its file, as `each:",
        ),
        (
            ["+campaign=two", "rnn:train.epochs=range(1,3)"],
            "rnn:train.epochs=range(1,3): several values. A campaign has",
        ),
        (["+campaign=two", "+study=single"], "+study=single: a campaign names its studies itself"),
    ],
)
def test_a_command_line_that_cannot_be_meant_is_refused(told: Any, arguments: list[str], line: str) -> None:
    code, ran, said = told(*arguments)
    assert (code, ran, said.out) == (2, [], "")
    assert said.err.startswith(f"error: {line}")


@pytest.mark.parametrize("text", ["studies: [", "- smoke", ""])
def test_a_file_that_is_no_campaign_is_refused(told: Any, text: str) -> None:
    code, ran, said = told("+campaign=two", of=text)
    assert (code, ran) == (2, [])
    assert said.err.startswith("error: ") and len(said.err.splitlines()) == 1


def test_cfg_job_prints_every_study_and_runs_none(told: Any) -> None:
    code, ran, said = told("+campaign=two", "--cfg", "job")
    assert (code, ran) == (0, [])
    assert [line.split()[1] for line in said.out.splitlines() if line.startswith("  name: two-")] == NAMES


def test_help_names_every_campaign(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.main(["+campaign=matched", "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"campaigns {', '.join(OURS)}" in printed
    assert "campaign (" not in printed


@pytest.mark.long
def test_a_campaign_of_real_studies_is_resumed_like_one(command: Command, tmp_path: Path) -> None:
    (tmp_path / "campaign").mkdir()
    small = ["train.epochs=1", "dataset.train_size=200", "kernel=generic", "kernel.probe=false", "tracking=none"]
    of = {**TWO, "overrides": [*small, "study.n_trials=2", "study.replicates=2", "study.confirm=2"]}
    (tmp_path / "campaign" / "two.yaml").write_text(yaml.safe_dump(of))
    line = ["--config-dir", str(tmp_path), "+campaign=two"]
    done = command("sweep", *line, timeout=500)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "sweeps").iterdir()) == sorted(NAMES)
    for name in NAMES:
        rows = fileio.read_rows(tmp_path / "sweeps" / name / "replicates.csv")
        assert len(rows) == 2 * 2
        wanted = 2000 if name.endswith("2k") else 4000
        assert all(row["width"] and abs(float(row["n_weights"]) - wanted) <= 0.02 * wanted for row in rows)
        assert (tmp_path / "sweeps" / name / "model" / "model.keras").exists()
        assert (tmp_path / "sweeps" / name / "predictions.csv").exists()
    again = subprocess.run(
        [sys.executable, "-m", "lstm_bench.sweep", *line],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert again.stdout.count("nothing to do: the study is complete") == 4


@pytest.mark.long  # CI: an interrupt that ends all, above; a study that goes on, in `test_faults.py`
def test_a_campaign_that_was_interrupted_in_its_second_study_goes_on_there(tmp_path: Path) -> None:
    (tmp_path / "campaign").mkdir()
    of = {"studies": ["smoke"], "each": {"study.seed": [1, 2, 3]}}
    (tmp_path / "campaign" / "two.yaml").write_text(yaml.safe_dump(of))
    quick = [argument for argument in spy.QUICK if not argument.startswith("+study")]
    line = ["--config-dir", str(tmp_path), "+campaign=two", *quick, "study.n_trials=6"]

    def complete(seed: int) -> list[tuple[str, str]]:
        path = tmp_path / f"sweeps/two-smoke-{seed}/trials.csv"
        rows = fileio.read_rows(path) if path.is_file() else []
        return [(row["number"], row["val_accuracy"]) for row in rows if row["state"] == "COMPLETE"]

    begun = spy.start(tmp_path, *line, SPY_EPOCH_S="0.1")
    end = time.monotonic() + 120
    while not complete(2) and time.monotonic() < end:
        time.sleep(0.05)
    begun.send_signal(signal.SIGINT)
    begun.communicate(timeout=60)
    assert begun.returncode == 130
    kept = complete(2)
    assert len(complete(1)) == 6 and 1 <= len(kept) < 6 and not complete(3)
    code, out, err = spy.swept(tmp_path, *line)
    assert code == 0, err
    assert out.count("nothing to do: the study is complete") == 1
    assert [len(complete(seed)) for seed in (1, 2, 3)] == [6, 6, 6]
    assert set(kept) < set(complete(2)), "what was finished is there as it was"
