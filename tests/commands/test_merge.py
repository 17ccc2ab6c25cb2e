"""`lstm_bench.export` and `lstm_bench.merge`: from one machine to another, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import spy
import yaml
from conftest import Command
from published import LIMITS, PUBLISHED

from lstm_bench import export, merge, repeat
from lstm_bench.core import fileio, locks
from lstm_bench.core.errors import ConfigError, StorageError
from lstm_bench.report.sources import records as result
from lstm_bench.study import archive, columns, reader

SMALL = PUBLISHED / "long_memory-gru-10"


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Files below a folder: contents and time of their last change."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a study, and its archive."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SMALL, tmp_path / "sweeps" / SMALL.name)
    assert export.main([f"study={SMALL.name}"]) == 0
    return tmp_path / f"{SMALL.name}.study.zip"


def test_the_same_file_twice_changes_nothing(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert merge.main([f"input={packed}"]) == 0
    once = state(Path("sweeps/merged"))
    assert {Path(name).name: body for name, (body, _) in once.items()} == {
        f.name: f.read_bytes() for f in SMALL.iterdir()
    }
    capsys.readouterr()
    assert merge.main([f"input={packed}"]) == 0
    assert state(Path("sweeps/merged")) == once
    assert "sweeps/merged/long_memory-gru-10/: nothing new, 4 trials, 3 replicates" in capsys.readouterr().out
    assert not Path("sweeps/merged", merge.STAGE).exists()


def test_an_export_of_what_was_merged_is_the_same_file(packed: Path) -> None:
    body = packed.read_bytes()
    assert merge.main([f"input={packed}"]) == 0
    shutil.rmtree(f"sweeps/{SMALL.name}")
    assert export.main([f"study={SMALL.name}", "output=again.zip"]) == 0
    assert Path("again.zip").read_bytes() == body


def test_what_contradicts_is_refused_and_kept_apart_by_a_name(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert merge.main([f"input={packed}"]) == 0
    before = state(Path("sweeps"))
    other = Path("sweeps", SMALL.name, "trials.csv")
    other.write_text(other.read_text().replace("COMPLETE", "PRUNED", 1))
    assert export.main([f"study={SMALL.name}", "output=other.zip"]) == 0
    before = state(Path("sweeps"))
    assert merge.main(["input=other.zip"]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "trials.csv number 0: state" in error and "Name=OTHER keeps it apart" in error
    assert state(Path("sweeps")) == before
    assert merge.main(["input=other.zip", "name=other"]) == 0
    assert merge.main(["input=other.zip", "name=other"]) == 0
    assert {path.name for path in Path("sweeps/merged").iterdir()} == {"lock", "other", SMALL.name}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["input=none.zip"], 3, "there is no such file"),
        ([], 2, "input=... is missing"),
        (["input={}", "name=../x"], 2, "name: expected"),
        (["input={}", "name=kernels-x"], 2, "name: expected"),
        (["input={}", "max_rows=0"], 2, "max_rows: expected"),
        (["input={}", "max_rows=2"], 3, "too many rows"),
    ],
)
def test_a_wrong_command_is_one_line_and_writes_nothing(
    packed: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert merge.main([argument.format(packed) for argument in arguments]) == code
    assert said in (error := capsys.readouterr().err) and error.count("\n") == 1
    assert not Path("sweeps/merged").exists()


def test_a_damaged_folder_is_left_alone(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert merge.main([f"input={packed}"]) == 0
    damaged = Path("sweeps/merged", SMALL.name, "trials.csv")
    damaged.write_bytes(b"\xff\n")
    before = state(Path("sweeps"))
    assert merge.main([f"input={packed}"]) == 4
    assert "trials.csv: cannot be read" in capsys.readouterr().err
    assert state(Path("sweeps")) == before


def test_two_merges_at_once_do_not_meet(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locks.hold(Path("sweeps/merged"), "time"):
        assert merge.main([f"input={packed}"]) == 4
    assert "merged is running as pid" in capsys.readouterr().err
    assert [path.name for path in Path("sweeps/merged").iterdir()] == ["lock"]


def test_an_export_finds_working_before_merged_before_published(tmp_path: Path) -> None:
    public = [tmp_path / "published" / device / "a" for device in ("x", "y")]
    for folder in public:
        folder.mkdir(parents=True)
        (folder / "config.yaml").touch()
    with pytest.raises(ConfigError, match=r"several machines have published it. Say sweeps=.*x or sweeps=.*y"):
        reader.place("a", tmp_path)
    assert reader.place("a", public[1].parent).folder == public[1]
    for folder in (tmp_path / "merged" / "a", tmp_path / "a"):
        folder.mkdir(parents=True)
        (folder / "config.yaml").touch()
        assert reader.place("a", tmp_path, benchmarks=True).folder == folder
    with pytest.raises(ConfigError, match="Did you mean a"):
        reader.place("ab", tmp_path)


def crash_anywhere(packed: Path) -> None:
    """Merges into a folder in a process that ends at its n-th call that Python audits (open, rename, mkdir, remove, ...),
    for every n."""
    came = archive.read(packed, LIMITS)
    rows = fileio.read_rows(SMALL / "trials.csv")[:2]
    folder = Path("sweeps/merged", SMALL.name)

    def begin() -> None:
        shutil.rmtree("sweeps/merged", ignore_errors=True)
        shutil.copytree(SMALL, folder)
        fileio.write_rows(folder / "trials.csv", tuple(rows[0]), rows)
        (folder / "notes.txt").write_text("of a person")

    def records() -> dict[str, bytes] | None:
        return {file.name: file.read_bytes() for file in folder.iterdir()} if folder.exists() else None

    begin()
    before = records()
    after = {**{file.name: file.read_bytes() for file in SMALL.iterdir()}, "notes.txt": b"of a person"}
    ends = []
    for n in range(1, 1000):
        begin()
        child = os.fork()
        if not child:
            left = [n]

            def end(event: str, _: object, left: list[int] = left) -> None:
                if event.partition(".")[0] in ("open", "os", "shutil"):
                    left[0] -= 1
                    if not left[0]:
                        os._exit(9)

            sys.addaudithook(end)
            merge.merge(folder, came, LIMITS)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = records()
        assert found in (None, before, after)
        ends.append("between" if found is None else "old" if found == before else "new")
        if found is None:  # whatever is merged next puts it back
            merge.merge(folder.with_name("another"), came, LIMITS)
            assert records() == before
        merge.merge(folder, came, LIMITS)
        assert records() == after and not (folder.parent / merge.STAGE).exists()
        if code == 0:
            break
    assert code == 0 and {"old", "new"} <= set(ends)
    assert 1 <= ends.count("between") <= 2  # between two renames nothing is there, and the next merge puts it back


def test_a_crash_anywhere_leaves_the_old_state_or_the_new_one(packed: Path) -> None:
    # In a process of its own: this one may hold the threads of a framework, and forking it is no sound thing to do.
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, pathlib, test_merge; test_merge.crash_anywhere(pathlib.Path(sys.argv[1]))",
            packed,
        ],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                map(str, (*Path(__file__).parents[:2], spy.TESTS, os.environ.get("PYTHONPATH", "")))
            ),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_folder_that_cannot_be_written_is_one_line(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    came = archive.read(packed, LIMITS)
    folder = Path("sweeps/merged", SMALL.name)
    merge.merge(folder, came, LIMITS)
    trials = folder / "trials.csv"
    trials.write_text("".join(trials.read_text().splitlines(keepends=True)[:3]))
    before = state(folder)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\)"):
            merge.merge(folder, came, LIMITS)
    assert state(folder) == before and not (folder.parent / merge.STAGE).exists()


def test_a_merged_study_is_reported_beside_a_working_one_of_its_name(packed: Path, command: Command) -> None:
    assert merge.main([f"input={packed}"]) == 0
    found = [result.load(*place) for place in reader.places(Path("sweeps").resolve())]
    assert {(r.source, r.records) for r in found} == {
        ("working", "sweeps/long_memory-gru-10/"),
        ("merged", "sweeps/merged/long_memory-gru-10/"),
    }
    done = command("report")
    assert done.returncode == 0, done.stderr
    assert "long_memory-gru-10 (merged)" in done.stdout
    assert Path("reports/long_memory-gru-10.md").exists() and Path("reports/merged/long_memory-gru-10.md").exists()


def test_a_study_is_not_named_as_the_folder_of_merged_ones(command: Command) -> None:
    done = command("sweep", "+study=smoke", "study.name=merged")
    assert done.returncode == 2 and "study.name=merged" in done.stderr


def test_a_function_that_an_archive_names_is_not_run(packed: Path) -> None:
    assert merge.main([f"input={packed}"]) == 0
    shutil.rmtree(f"sweeps/{SMALL.name}")
    path = Path("sweeps/merged", SMALL.name, "config.yaml")
    config = yaml.safe_load(path.read_text())
    config["model"]["_target_"] = "subprocess.run"
    fileio.write_yaml(path, config)
    with pytest.raises(ConfigError, match=r"came in an archive, which names 'subprocess.run' to be run"):
        repeat.run([f"study={SMALL.name}", "trial=0"])


def test_a_sweep_that_goes_on_extends_what_was_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two states of a real study, from two sessions: either order gives what its own records say."""
    more = ("study.name=s", "study.replicates=2")
    for n, file in ((3, "first.zip"), (6, "second.zip")):
        code, _, err = spy.swept(tmp_path, *spy.QUICK, *more, f"study.n_trials={n}")
        assert code == 0, err
        monkeypatch.chdir(tmp_path)
        assert export.main(["study=s", f"output={file}"]) == 0
    own = Path("sweeps/s")
    assert json.loads((own / "environment.json").read_text())["study_id"].startswith("s-")
    for sweeps, order in (("a", ("first.zip", "second.zip")), ("b", ("second.zip", "first.zip"))):
        for file in order:
            assert merge.main([f"input={file}", f"sweeps={sweeps}"]) == 0
        for file in columns.RECORDS:
            assert not (own / file).exists() or (own / file).read_bytes() == Path(sweeps, "merged/s", file).read_bytes()


def test_a_recorded_dataset_is_no_path(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("sweeps", SMALL.name, "config.yaml")
    path.write_text(path.read_text().replace("name: adding\n", "name: ../kernels\n", 1))
    assert repeat.main([f"study={SMALL.name}", "trial=0"]) == 4
    assert "dataset.name is '../kernels'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        ("config.yaml", "epochs: ", "epochs: -", "train.epochs: expected"),
        ("config.yaml", "dataset:", "x: &x [1]\ny: *x\ndataset:", "it has an alias"),
        ("config.yaml", "  direction: minimize\n", "", "study.direction"),
        ("environment.json", "{", "[", "environment.json: cannot be read (it is no JSON"),
        ("trials.csv", "6.675568301e-05", "6.675568301e-05x", "trials.csv: cannot be read"),
    ],
)
def test_damaged_records_are_one_line_when_they_are_used(
    packed: Path, file: str, before: str, after: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("sweeps", SMALL.name, file)
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    capsys.readouterr()
    assert repeat.main([f"study={SMALL.name}", "seed=0"]) == 4
    assert said in (error := capsys.readouterr().err) and error.count("\n") == 1
