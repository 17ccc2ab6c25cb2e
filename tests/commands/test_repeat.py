"""A recorded training run again: which row, with what, where, and what the comparison says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import fake
import pytest
from conftest import Command

import lstm_bench
from lstm_bench import repeat
from lstm_bench.core import fileio, hardware
from lstm_bench.core.errors import CheckFailedError, ConfigError, KernelError, StorageError
from lstm_bench.model import kernel
from lstm_bench.study import columns as record
from lstm_bench.study import reader
from lstm_bench.sweep import reproduce

RATE = 0.1 + 0.2
PLACE = {"device": "a CPU", "device_share": "1 core of 2, other busy", "backend": "tensorflow"}
RAN = {"kernel_ran": "unrolled", "kernel": "unrolled", "steps_per_execution": 50, **PLACE}
TRIALS = [
    {"number": 0, "state": "COMPLETE", "seed": 7, "val_accuracy": 0.5, "epochs": 3, "config_train.learning_rate": RATE},
    {
        "number": 1,
        "state": "COMPLETE",
        "seed": 8,
        "val_accuracy": 0.75,
        "epochs": 3,
        "config_train.learning_rate": 1e-3,
    },
    {
        "number": 2,
        "state": "COMPLETE",
        "seed": 9,
        "val_accuracy": 0.75,
        "epochs": 3,
        "config_train.learning_rate": 2e-3,
    },
    {"number": 3, "state": "FAIL", "reason": "worker_died", "config_train.learning_rate": 3e-3},
]


def write(folder: Path, replicates: Any = (), changes: Any = None, **environment: Any) -> reader.StudyRecord:
    """Records of a study, as a session leaves them."""
    space = {"train.learning_rate": fake.SPACE["train.learning_rate"]}
    config = fake.config({"study.space": space, **(changes or {})})
    fileio.write_yaml(folder / "config.yaml", config)
    workers = [{"device": "a CPU", "share": "1 core of 2, other busy", "cores": [1]}]
    fileio.write_json(folder / "environment.json", {"workers": workers, **environment})
    columns = (*record.TRIAL_COLUMNS, "config_train.learning_rate")
    trials = [{**(RAN if row["state"] == "COMPLETE" else {}), **row} for row in TRIALS]
    fileio.write_rows(folder / "trials.csv", columns, trials)
    rows = [{**RAN, "state": "COMPLETE", "test_loss": 0.5, **row} for row in replicates]
    fileio.write_rows(folder / "replicates.csv", record.REPLICATE_COLUMNS, rows)
    return reader.find(folder.name, folder.parent)


def test_a_trial_has_the_very_values_that_were_searched(tmp_path: Path) -> None:
    study = write(tmp_path / "mine")
    name, row, trial = repeat.chosen(study, 0, None)
    assert name == "trial 0"
    work = repeat.task(study, row, trial, [])
    assert work.config["train"]["learning_rate"] == RATE  # not 0.3, which ten digits would make of it
    assert (work.kind, work.kernel, work.steps_per_execution, work.seed) == ("trial", "unrolled", 50, 7)


def test_a_domain_that_the_records_hold_by_halves_is_one_line(tmp_path: Path) -> None:
    study = write(tmp_path / "mine")
    study.config["study"]["space"]["train.learning_rate"] = {"type": "categorical"}
    with pytest.raises(ConfigError, match=r"trial 0: its train\.learning_rate is not in the records"):
        study.config_of(study.rows("trials.csv")[0])


def test_a_replicate_is_that_of_the_winner_and_the_first_of_equals_wins(tmp_path: Path) -> None:
    study = write(tmp_path / "mine", [{"seed": 0}, {"seed": 1}])
    name, row, trial = repeat.chosen(study, None, 1)
    assert (name, row["seed"], trial and trial["number"]) == ("seed 1 of trial 1", "1", "1")
    work = repeat.task(study, row, trial, [])
    assert (work.kind, work.seed, work.config["train"]["learning_rate"]) == ("replicate", 1, 1e-3)


def test_where_several_configurations_were_confirmed_the_trial_says_which(tmp_path: Path) -> None:
    study = write(tmp_path / "mine", [{"trial": 0, "seed": 0}, {"trial": 2, "seed": 0}])
    _, row, trial = repeat.chosen(study, 2, 0)
    assert row["trial"] == trial["number"] == "2"  # type: ignore[index]
    with pytest.raises(ConfigError, match="seed 0 of trial 1 is not recorded"):
        repeat.chosen(study, 1, 0)


def test_a_member_of_a_pack_is_trained_in_a_pack_of_the_same_size(tmp_path: Path) -> None:
    packed = {"device_share": "packed 3", "backend": "jax", "kernel": "generic"}
    study = write(tmp_path / "mine", [{"seed": seed, **packed} for seed in range(6)])
    _, row, trial = repeat.chosen(study, None, 4)
    work = repeat.task(study, row, trial, [])
    assert (work.kind, work.seeds) == ("pack", [3, 4, 5])
    _, row, trial = repeat.chosen(study, 0, None)
    work = repeat.task(study, {**row, **packed}, trial, [])
    assert (work.kind, work.seeds, work.trains) == ("trials", [7, 7, 7], ())


@pytest.mark.parametrize(("longest", "said"), [(30, "differ in length"), (10, "no GPU")])
def test_a_kernel_that_takes_no_mask_is_refused_where_sequences_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: int, said: str
) -> None:
    monkeypatch.setitem(kernel.CUDNN_MASKED, "jax", set())
    lengths = {"min": 10, "max": longest, "padding": 0.1}
    study = write(tmp_path / "mine", [{"seed": 0, "backend": "jax", "kernel": "cudnn"}], dataset={"lengths": lengths})
    _, row, trial = repeat.chosen(study, None, 0)
    with pytest.raises(KernelError, match=said):
        repeat.task(study, row, trial, [])


@pytest.mark.parametrize(
    ("trial", "seed", "said"),
    [
        (77, None, "study mine has no trial 77. There are 0, 1, 2, 3"),
        (None, 5, "study mine has no replicate of seed 5. There are 0"),
    ],
)
def test_what_is_not_recorded_is_said_in_one_line(tmp_path: Path, trial: Any, seed: Any, said: str) -> None:
    study = write(tmp_path / "mine", [{"seed": 0}])
    with pytest.raises(ConfigError) as caught:
        repeat.chosen(study, trial, seed)
    assert str(caught.value) == said


def test_a_trial_that_never_ran_cannot_be_repeated(tmp_path: Path) -> None:
    study = write(tmp_path / "mine")
    _, row, trial = repeat.chosen(study, 3, None)
    with pytest.raises(ConfigError, match=r"holds no training to repeat: FAIL \(worker_died\)"):
        repeat.task(study, row, trial, [])


def test_a_worker_gets_as_many_threads_as_the_recorded_one_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cores", lambda: (4, 5, 6, 7))
    study = write(tmp_path / "mine")
    where = repeat.slot(study, {**RAN, "state": "COMPLETE"}, [])  # type: ignore[dict-item]
    assert (where.cores, where.environment["OMP_NUM_THREADS"]) == ((4,), "1")
    alone = repeat.slot(study, {"device_share": "exclusive"}, [])  # not recorded: all of them
    assert alone.cores == (4, 5, 6, 7)


def test_another_device_or_version_is_named(tmp_path: Path) -> None:
    study = write(tmp_path / "mine", lstm_bench="0.0.1", packages={"keras": "3.0.0"})
    row = {key: str(value) for key, value in RAN.items()}
    said = repeat.elsewhere(study, row, repeat.slot(study, row, []))
    assert f"lstm_bench: recorded 0.0.1, here {lstm_bench.__version__}" in said
    assert any(re.fullmatch(r"keras: recorded 3\.0\.0, here 3\..*", line) for line in said)
    assert any(line.startswith("device: recorded a CPU, here ") for line in said)
    assert not any(line.startswith("threads") for line in said)


ROW = {
    "state": "COMPLETE",
    "epochs": "2",
    "val_loss": "0.3333333333",
    "kernel_ran": "generic",
    "weights_sha256": "ab" * 32,
}
EPOCHS = [{"train_loss": 0.5, "val_loss": 0.5}, {"train_loss": 0.25, "val_loss": 1 / 3}]
RESULT = {**ROW, "epochs": 2, "val_loss": 1 / 3, "history": EPOCHS, "total_s": 2.0}


def test_equal_is_equal_in_every_digit_of_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    history = [{"train_loss": "0.5", "val_loss": "0.5"}, {"train_loss": "0.25", "val_loss": "0.3333333333"}]
    lines = reproduce.compared({**ROW, "total_s": "1.5"}, RESULT, history)
    assert [line.name for line in lines][-2:] == ["epochs that are equal", "total_s"]
    repeat.judge(lines, promised=True, differences=[])  # a time that differs is no difference
    assert capsys.readouterr().out == "equal: every figure is that of the record, to its last digit\n"


def other(**changes: Any) -> list[reproduce.Line]:
    return reproduce.compared(ROW, {**RESULT, **changes}, [])


def test_a_broken_promise_is_exit_6_and_only_on_the_same_device(capsys: pytest.CaptureFixture[str]) -> None:
    lines = other(weights_sha256="cd" * 32, val_loss=0.33333)
    with pytest.raises(CheckFailedError, match="val_loss, weights_sha256 differ on the same device") as caught:
        repeat.judge(lines, promised=True, differences=[])
    assert caught.value.exit_code == 6
    repeat.judge(lines, promised=True, differences=["keras: recorded 3.0.0, here 3.15.1"])
    assert "on the same device and versions alone" in capsys.readouterr().out
    repeat.judge(lines, promised=False, differences=[])
    assert "nothing was promised" in capsys.readouterr().out
    assert [line.difference for line in lines if not line.equal] == ["-3.3e-06", "differs"]


def test_edited_code_is_named_and_exit_6_though_nothing_was_promised(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        CheckFailedError, match=r"code is not the one that was recorded \(net\.py has changed\)\. Put it"
    ):
        repeat.judge(other(val_loss=0.33333), False, [], None, ["net.py has changed"])
    repeat.judge(other(), False, [], None, ["net.py has changed"])
    assert capsys.readouterr().out.startswith("equal: ")


def test_an_epoch_that_differs_is_a_difference_though_the_last_is_equal() -> None:
    history = [{"train_loss": "0.6", "val_loss": "0.5"}, {"train_loss": "0.25", "val_loss": "0.3333333333"}]
    with pytest.raises(CheckFailedError, match="epochs that are equal differs"):
        repeat.judge(reproduce.compared(ROW, RESULT, history), promised=True, differences=[])


def test_a_training_that_ends_otherwise_is_never_equal() -> None:
    lines = other(state="FAIL", reason="oom")
    with pytest.raises(CheckFailedError, match=r"ended otherwise than it was recorded \(no memory\)"):
        repeat.judge(lines, promised=False, differences=[], detail="no memory")


def test_a_published_study_is_found_by_its_name_and_an_older_one_is_complete() -> None:
    root = Path(__file__).parents[2] / "sweeps"
    study = reader.find("single", root)
    assert study.copied and study.config["train"]["deterministic"] is False
    assert study.config["launcher"]["keep_engines"] == 8
    _, row, trial = repeat.chosen(study, None, 0)
    work = repeat.task(study, row, trial, [])
    assert (work.kind, work.kernel, work.steps_per_execution) == ("replicate", "unrolled", 50)
    with pytest.raises(ConfigError, match=r"study=singel: .* Did you mean single"):
        reader.find("singel", root)


def test_a_study_of_two_machines_wants_to_know_which(tmp_path: Path) -> None:
    for machine in ("a", "b"):
        write(tmp_path / "published" / machine / "mine")
    with pytest.raises(ConfigError, match=r"say sweeps=.*published/a or sweeps=.*published/b|Say sweeps="):
        reader.find("mine", tmp_path)
    assert reader.find("mine", tmp_path / "published" / "b").copied
    assert not write(tmp_path / "mine").copied


def test_a_configuration_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "mine")
    (tmp_path / "mine" / "config.yaml").write_text("a: [")
    with pytest.raises(StorageError, match=r"mine/config\.yaml: cannot be read"):
        reader.find("mine", tmp_path)


def test_wrong_commands_are_one_line(command: Command, tmp_path: Path) -> None:
    write(tmp_path / "sweeps" / "mine")
    for arguments, said in (
        (("study=mine",), "nothing to repeat: expected trial=N or seed=N"),
        (("trial=1",), "study=... is missing"),
        (("study=mine", "trial=x"), "trial: expected a whole number of at least 0, received 'x'"),
        (("stdy=mine", "trial=1"), "options: expected key=value, received 'stdy=mine'. Did you mean study"),
    ):
        done = command("repeat", *arguments)
        assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert "trial=N" in command("repeat", "--help").stdout


@pytest.mark.long
def test_trials_and_replicates_of_a_deterministic_study_come_out_equal_and_leave_nothing(
    command: Command, tmp_path: Path
) -> None:
    small = ("+study=smoke", "kernel=generic", "kernel.probe=false", "tracking=none", "train.deterministic=true")
    small += ("dataset.train_size=200",)
    pruned = ("pruner=median", "pruner.n_startup_trials=1", "pruner.n_warmup_epochs=0", "study.n_trials=4")
    done = command("sweep", *small, *pruned, "train.epochs=3", "study.replicates=1", "launcher.workers=1")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "sweeps" / "smoke"
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    states = {row["state"]: row["number"] for row in fileio.read_rows(folder / "trials.csv")}
    assert "PRUNED" in states
    for what in (f"trial={states['COMPLETE']}", f"trial={states['PRUNED']}", "seed=0"):
        again = command("repeat", "study=smoke", what)
        assert again.returncode == 0, again.stderr
        assert "equal: every figure is that of the record" in again.stdout, again.stdout
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()} == before
    text = (folder / "trials.csv").read_text()
    digest = next(row["weights_sha256"] for row in fileio.read_rows(folder / "trials.csv") if row["weights_sha256"])
    (folder / "trials.csv").write_text(text.replace(digest, "0" * 64))
    number = next(r["number"] for r in fileio.read_rows(folder / "trials.csv") if r["weights_sha256"] == "0" * 64)
    broken = command("repeat", "study=smoke", f"trial={number}")
    assert broken.returncode == 6 and "weights_sha256 differs on the same device" in broken.stderr
    facts = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(json.dumps({**facts, "lstm_bench": "0.0.1"}))
    elsewhere = command("repeat", "study=smoke", f"trial={number}")
    assert elsewhere.returncode == 0 and "differs   lstm_bench: recorded 0.0.1" in elsewhere.stdout
