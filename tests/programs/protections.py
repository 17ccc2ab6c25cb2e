"""Takes each protection out of a copy of the code and sees the test that watches over it fail.

    python tests/programs/protections.py [NAME ...]

Without a NAME all of `PROTECTIONS`, about twenty minutes; else those whose requirement or test has a NAME in it. First each
test is run on the code as it is, and must pass. The table goes to standard output, and from there to
`docs/developers/promises.md`; the exit code is 1 where a test does not see that its protection is gone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 900.0  # of one run of pytest


@dataclass(frozen=True)
class Protection:
    """Something that keeps a promise.

    Attributes:
      requirement: Its number, or the fault in a word.
      promise: What a user may rely on.
      test: pytest's name of the test that watches over it, below `tests/`.
      file: Where the protection is, from the root.
      text: What is there, once in the file.
      instead: What is put in its place.
    """

    requirement: str
    promise: str
    test: str
    file: str
    text: str
    instead: str


def _faults(requirement: str, promise: str, test: str, module: str, text: str, instead: str) -> Protection:
    """A protection that `test_faults.py` watches over."""
    return Protection(requirement, promise, f"test_faults.py::test_{test}", f"lstm_bench/{module}.py", text, instead)


def _other(requirement: str, promise: str, test: str, module: str, text: str, instead: str) -> Protection:
    """A protection that another file of tests watches over."""
    return Protection(requirement, promise, f"test_{test}", f"lstm_bench/{module}.py", text, instead)


PROTECTIONS = (
    _faults(
        "R1",
        "Studies started at once on an empty directory make one MLflow database",
        "r01_four_studies_started_at_once_on_an_empty_directory[1]",
        "tracking/store",
        "fcntl.flock(folder, fcntl.LOCK_EX)",
        "pass",
    ),
    _faults(
        "R2",
        "No trial runs twice, the budget is not overshot",
        "r02_no_trial_runs_twice_and_none_vanishes",
        "sweep/store/trials",
        " - running - queued)",
        ")",
    ),
    _faults(
        "R3",
        "A dead worker's trial runs again with the same parameters",
        "r03_the_trial_of_a_killed_worker_runs_again_within_ten_seconds",
        "core/vocabulary",
        'RETRY_LIMITED = ("worker_died", "oom_shared")',
        "RETRY_LIMITED = ()",
    ),
    _faults(
        "R3",
        "... at most study.max_retry times",
        "r03_a_trial_that_always_dies_fails_after_max_retry_and_the_sweep_ends",
        "sweep/store/trials",
        '> self._settings["max_retry"]\n',
        '> self._settings["max_retry"] + 1\n',
    ),
    _faults(
        "R4",
        "What a killed driver left running is queued again",
        "r04_a_driver_killed_at_random_times_ends_at_the_exact_total[0-6]",
        "sweep/session",
        "repaired = study.repair()",
        "repaired = 0",
    ),
    _faults(
        "R4",
        "Workers end when their driver is gone",
        "r04_workers_in_the_midst_of_work_end_with_their_driver",
        "launcher/worker",
        "            os._exit(0)",
        "            pass",
    ),
    _faults(
        "R5",
        "A Ctrl-C lets what runs finish",
        "r05_one_interrupt_lets_what_runs_finish",
        "launcher/event_loop",
        "numbers = (signal.SIGINT, signal.SIGTERM) if main else ()",
        "numbers = ()",
    ),
    _faults(
        "R5",
        "... and a second one, or a deadline, ends it and queues it again",
        "r05_what_does_not_finish_is_queued_again[twice]",
        "launcher/event_loop",
        "if self._signals > 1 or time.monotonic() > self._deadline:",
        "if False:",
    ),
    _faults(
        "R5",
        "... without counting",
        "r05_what_does_not_finish_is_queued_again[term]",
        "core/vocabulary",
        'RETRY_UNLIMITED = ("driver_died", "interrupted", "pack_failed")',
        'RETRY_UNLIMITED = ("driver_died", "pack_failed")',
    ),
    _faults(
        "R5",
        "It is said at once, whatever the driver waits for",
        "r05_a_driver_that_waits_for_mlflow_hears_an_interrupt_all_the_same",
        "launcher/event_loop",
        'threading.Thread(target=self.display.line, args=(text, "yellow"))',
        'threading.Timer(8, self.display.line, args=(text, "yellow"))',
    ),
    _faults(
        "R5",
        "SIGTERM is a Ctrl-C before the first trial too",
        "r05_sigterm_before_the_first_trial_is_an_interrupt",
        "core/cli",
        "before = signal.signal(signal.SIGTERM, terminated)",
        "before = signal.getsignal(signal.SIGTERM)",
    ),
    _faults(
        "R6",
        "A stopped worker is given up after study.trial_timeout",
        "r06_a_stopped_worker_is_waited_for_until_trial_timeout_and_no_longer",
        "launcher/event_loop",
        "            if elapsed > self._limit * members:\n",
        "            if elapsed > math.inf:\n",
    ),
    _other(
        "R6",
        "What it says after that is nobody's",
        "loop.py::test_events_of_tasks_that_are_gone_are_ignored",
        "launcher/event_loop",
        "        if running is None:\n            return\n        if event.kind",
        "        if event.kind",
    ),
    _faults(
        "R7",
        "A disk that was full while a study was made leaves no half of it",
        "r07_a_full_disk_is_one_line_and_what_was_finished_is_kept",
        "sweep/store/trials",
        "if url is None and not file.exists():",
        "if False:",
    ),
    _faults(
        "R7",
        "A database that cannot be written is one line and exit 4",
        "r07_a_full_disk_is_one_line_and_what_was_finished_is_kept",
        "sweep/store/database",
        "    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, sqlite3.Error) as error:\n        cause",
        "    except ZeroDivisionError as error:\n        cause",
    ),
    _other(
        "R8",
        "A file that is no sound study is left alone",
        "study.py::test_a_file_that_is_no_sound_study_is_refused_and_left_alone",
        "sweep/store/trials",
        "            check_file(file)\n",
        "            pass\n",
    ),
    _other(
        "R8",
        "MLflow's corrupt database is left alone",
        "tracking.py::test_a_corrupt_store_is_refused_and_left_as_it_is",
        "tracking/store",
        "            check_sqlite(path, write, busy)\n",
        "            pass\n",
    ),
    _other(
        "R8",
        "A torn last line is cut off and kept aside",
        "record.py::test_a_torn_last_line_is_cut_off_and_kept_aside",
        "core/fileio",
        "            _cut_torn_tail(path)\n",
        "            pass\n",
    ),
    _faults(
        "R9",
        "One driver per study, also while it is stopped; a dead one holds nothing",
        "r09_a_second_driver_is_refused_and_a_dead_one_holds_nothing",
        "core/locks",
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
    ),
    _faults(
        "R9",
        "... also of a sqlite file that drivers in several folders are given",
        "r09_a_sqlite_file_named_by_a_url_has_one_driver_whatever_the_folder",
        "sweep/command",
        '"study.name"), alone, display',
        '"study.name"), display',
    ),
    *(
        _faults(
            "R10",
            promise,
            f"r10_a_resume_of_something_else_is_refused_and_writes_nothing[{case}]",
            "sweep/store/trials",
            *change,
        )
        for promise, case, change in (
            (
                "Another direction, metric, space or training is refused",
                "direction",
                ("if was.get(p) != now.get(p) and not p.startswith(MAY_CHANGE)]", "if False]"),
            ),
            (
                "Another bound is refused",
                "bound",
                ("not p.startswith(MAY_CHANGE)]", 'not p.startswith((*MAY_CHANGE, "study.space"))]'),
            ),
            (
                "Other data is refused",
                "data",
                ('if self.get("data_sha256") != data_sha256:', "if False:"),
            ),
        )
    ),
    _faults(
        "R11",
        "Interrupted and resumed, a sweep suggests the same",
        "r11_an_interrupted_sweep_suggests_what_an_uninterrupted_one_does",
        "sweep/store/trials",
        "self._suggestions += retry_of is None",
        "self._suggestions += 1",
    ),
    _faults(
        "R11",
        "Workers that start together start at different points",
        "r11_workers_that_start_together_start_at_different_points",
        "sweep/store/trials",
        "self._study.sampler = self._sampler(suggestion, seed)",
        "self._study.sampler = self._sampler(0, seed)",
    ),
    _other(
        "R12",
        "MLflow's outage is a warning",
        "tracking.py::test_an_outage_is_one_warning_and_costs_seconds",
        "tracking/client",
        "        except Exception as error:\n            self.",
        "        except ZeroDivisionError as error:\n            self.",
    ),
    _other(
        "R13",
        "Every run is under its study's",
        "tracking.py::test_every_trial_is_a_nested_run_with_its_state_curves_and_parameters",
        "tracking/client",
        '            "mlflow.parentRunId": self.parent_id,\n',
        "",
    ),
    _faults(
        "R14",
        "Nothing is left RUNNING in MLflow",
        "r14_nothing_is_left_running_in_either_store_once_the_same_command_ran_again",
        "sweep/session",
        "            tracking.finish(status)\n",
        "",
    ),
    _other(
        "R15",
        "The UI is on this machine alone",
        "ui.py::test_another_host_is_refused",
        "ui",
        'found["ui.host"] not in HOSTS:',
        "not HOSTS:",
    ),
    _other(
        "R16",
        "No password is stored",
        "study.py::test_no_password_is_stored",
        "core/config",
        "copy[group][key] = redact(copy[group][key])",
        "pass",
    ),
    _other(
        "R17",
        "A name is a folder of its own",
        "config.py::test_a_name_that_is_no_folder_of_its_own_is_refused",
        "core/config",
        'if not NAME.fullmatch(config["study"]["name"]):',
        "if False:",
    ),
    _other(
        "R18",
        "No pickle is loaded",
        "arrays.py::test_pickles_in_npz_are_never_loaded",
        "data/npz",
        "    if dtype.hasobject:\n",
        "    if False:\n",
    ),
    _other(
        "R19",
        "Data is what was published, or refused",
        "data.py::test_corrupt_mnist_is_one_line_with_the_file_and_never_a_fallback[another label]",
        "data/images",
        "    if fault or actual != pinned:\n",
        "    if fault:\n",
    ),
    _faults(
        "R20",
        "A trial's own exception fails the trial alone",
        "r20_a_bad_trial_fails_with_its_reason_and_the_sweep_goes_on",
        "training/tasks",
        "        except Exception as error:  # any other exception",
        "        except ZeroDivisionError as error:  # any other exception",
    ),
    _faults(
        "R20",
        "... and so does a loss that is not a number",
        "r20_a_bad_trial_fails_with_its_reason_and_the_sweep_goes_on",
        "training/tasks",
        "        except fit.NotFiniteError as error:\n",
        "        except ZeroDivisionError as error:\n",
    ),
    _faults(
        "R20",
        "More bad trials than study.max_failed end the sweep",
        "r20_more_bad_trials_than_allowed_end_the_sweep[nan]",
        "sweep/driver",
        "        if failed > allowed:\n",
        "        if False:\n",
    ),
    _other(
        "R21",
        "An unknown key is refused with the nearest",
        "config.py::test_an_unknown_key_is_refused_with_the_nearest",
        "core/config",
        'raise ConfigError(f"unknown option {key}.{name}", remedy=nearest(name, names))',
        "pass",
    ),
    Protection(
        "R22",
        "The wheel has its configuration with it",
        "test_package.py::test_the_wheel_holds_the_package_and_its_conf_and_nothing_else",
        "pyproject.toml",
        '"conf" = "lstm_bench/conf"\n',
        "",
    ),
    _other(
        "R23",
        "With NO_COLOR there are plain lines",
        "progress.py::test_a_terminal_that_wants_no_colour_gets_plain_lines[NO_COLOR-1]",
        "core/console",
        ' and "NO_COLOR" not in os.environ',
        "",
    ),
    _other(
        "R24",
        "Same records, same reports",
        "report.py::test_same_records_same_bytes_whatever_the_environment",
        "report/figures/study",
        '    "svg.hashsalt": "lstm_bench",\n',
        "",
    ),
    _other(
        "R25",
        "What a lost node worked on is queued again",
        "ray.py::test_only_a_worker_that_dies_before_it_is_ready_on_a_living_node_speaks_against_the_installation",
        "launcher/ray_launcher",
        'return [Event("died", worker.key, {"exit": None, "why": words, "log": str(self._log(worker))})]',
        "return []",
    ),
    _other(
        "R25",
        "... and what was lost on its way to a worker",
        "ray.py::test_a_task_that_is_lost_on_its_way_to_a_worker_has_died",
        "launcher/ray_launcher",
        "            return self._bury(worker, error) if worker in self._workers else []\n",
        "            return []\n",
    ),
    _other(
        "shared",
        "Drivers that ask at once claim each slot of the budget once",
        "postgres.py::test_drivers_that_ask_all_at_once_claim_each_slot_of_the_budget_once",
        "sweep/store/postgres",
        'connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._lock})',
        "pass",
    ),
    _other(
        "shared",
        "What a driver says that was given up does not count beside what was run again",
        "postgres.py::test_a_driver_given_up_is_not_heard_of_what_others_run_again",
        "sweep/store/postgres",
        'return trial.user_attrs.get("reason") != "driver_died"',
        "return True",
    ),
    _other(
        "PostgreSQL away",
        "A server that is restarted is waited for",
        "postgres.py::test_a_sweep_outlasts_a_server_that_is_restarted_and_one_that_is_down_for_ten_seconds",
        "sweep/store/postgres",
        "                if not away(error.__cause__):\n",
        "                if True:\n",
    ),
    _other(
        "MLflow away",
        "sync tells no point of a curve twice",
        "sync.py::test_a_run_that_was_told_all_but_its_end_has_no_point_twice",
        "tracking/client",
        " if (point.key, point.step) not in there]",
        "]",
    ),
    _other(
        "MLflow away",
        "... and the times of the sweep, wherever it is given",
        "sync.py::test_times_are_those_of_the_sweep_in_any_time_zone[Asia/Tokyo]",
        "sweep/backfill",
        ".replace(tzinfo=UTC)",
        "",
    ),
    _other(
        "archive",
        "A merge that crashed leaves the old state or the new one, whatever is merged next",
        "merge.py::test_a_crash_anywhere_leaves_the_old_state_or_the_new_one",
        "merge",
        '    for old in stage.glob("*.old"):\n',
        '    for old in stage.glob(f"{folder.name}.old"):\n',
    ),
    _other(
        "archive",
        "What was checked is what is read",
        "arrays.py::test_a_member_without_npy_is_not_read_in_place_of_the_one_that_was_checked",
        "data/npz",
        "            return {key: member_of(archive, key) for key in keys if key in names}\n",
        "        with np.load(path) as file:\n            return {key: file[key] for key in keys if key in names}\n",
    ),
    _faults(
        "clock",
        "An hour forward ends nothing",
        "a_clock_that_jumps_by_an_hour_changes_no_budget[1-trial]",
        "launcher/event_loop",
        "            elapsed = now - running.since\n",
        "            elapsed = time.time() - running.started_ms / 1000\n",
    ),
    _faults(
        "clock",
        "An hour back prolongs nothing",
        "a_clock_that_jumps_by_an_hour_changes_no_budget[-1-trial]",
        "launcher/event_loop",
        "            elapsed = now - running.since\n",
        "            elapsed = time.time() - running.started_ms / 1000\n",
    ),
    _faults(
        "clock",
        "A seed ends after it began",
        "a_clock_that_jumps_by_an_hour_changes_no_budget[-1-replicate]",
        "sweep/driver",
        "running.started_ms + lasted_ms",
        "int(time.time() * 1000)",
    ),
    _faults(
        "clock",
        "... a trial too",
        "a_clock_put_back_leaves_no_trial_that_ends_before_it_begins",
        "sweep/store/trials",
        "max(started_ms, int(trial.datetime_complete.timestamp() * 1000))",
        "int(trial.datetime_complete.timestamp() * 1000)",
    ),
    _faults(
        "clock",
        "... and the study's own run",
        "a_clock_put_back_leaves_no_study_that_ends_before_it_begins",
        "tracking/client",
        "max(self._since_ms, ended_ms)",
        "ended_ms",
    ),
    _faults(
        "read-only",
        "A folder that cannot be written is one line, before anything starts",
        "a_read_only_folder_is_said_in_one_line_before_anything_starts",
        "core/locks",
        'f"{folder}: cannot be written ({error.strerror})"',
        'f"{folder}"',
    ),
    _faults(
        "read-only",
        "One that becomes so ends the sweep in one line",
        "a_folder_that_becomes_read_only_ends_the_sweep_and_the_same_command_goes_on",
        "launcher/local",
        "if worker.socket.fileno() != -1:",
        "if True:",
    ),
    _faults(
        "stopped driver",
        "It hears first what ended in time",
        "a_stopped_driver_hears_first_what_ended_in_time",
        "launcher/event_loop",
        "if now - running.late < _DRAIN_S:",
        "if False:",
    ),
)


def copied(folder: Path) -> Path:
    """A copy of the code in a folder: what git knows of, and what it would be told of."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in names.decode().split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def _place(folder: Path, test: str) -> str:
    """A test by its path: the names of test files are unique."""
    file, _, name = test.partition("::")
    (found,) = (folder / "tests").rglob(file)
    return f"{found.relative_to(folder)}::{name}"


def said(folder: Path, tests: list[str]) -> tuple[int, str]:
    """pytest's exit code for some tests in a copy of the code, and the first line of what it found wrong."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=short", "-p", "no:cacheprovider", "-m", "not gpu"]
    try:
        done = subprocess.run(
            [*command, *(_place(folder, test) for test in tests)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return -1, f"nothing for {TIMEOUT_S:g} s"
    found = re.findall(r"^E +(.+)$", done.stdout, re.MULTILINE)
    return done.returncode, (found or [" ".join(done.stdout.split()[-30:])])[0]


def shown(text: str, limit: int = 110) -> str:
    """A text as a cell of a table."""
    # No path of the machine that it ran on.
    text = re.sub(r"/\S*/(pytest-\d+/|(?=python\b)|lstm_bench-\w+/)", "", " ".join(text.split())).replace("|", "\\|")
    return f"`{text[:limit]}{'...' if len(text) > limit else ''}`".replace("``", "nothing")


def main(names: list[str]) -> int:
    """Prints the table; 1 where a test passed without its protection, or failed with it."""
    chosen = [
        p for p in PROTECTIONS if not names or any(name in (p.requirement, *p.test.split("::")) for name in names)
    ]
    chosen = chosen or [p for p in PROTECTIONS if any(name in p.test for name in names)]
    bad = 0
    print("| | promise | test | taken out | in its place | the test then | it said |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="lstm_bench-") as place:
        folder = copied(Path(place))
        green: dict[str, tuple[int, str]] = {}
        for protection in chosen:
            if protection.test not in green:
                green[protection.test] = said(folder, [protection.test])
            code, line = green[protection.test]
            if code:
                verdict = "FAILS WITH IT TOO"
            else:
                path = folder / protection.file
                whole = path.read_text()
                path.write_text(whole.replace(protection.text, protection.instead))
                code, line = said(folder, [protection.test])
                path.write_text(whole)
                verdict = "red" if code == 1 else "GREEN" if code == 0 else f"COULD NOT RUN ({code})"
            bad += verdict != "red"
            cells = [
                protection.requirement,
                protection.promise,
                protection.test,
                *map(shown, (protection.text, protection.instead)),
            ]
            print("| " + " | ".join([*cells, verdict, shown(line)]) + " |", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
