"""Runs the code without each of its protections, and sees the test that watches over it fail.

    python tests/programs/protections.py [NAME ...]

Without a NAME all of `PROTECTIONS`, about twenty minutes; else those whose own name or whose test has a NAME in it. A protection
is a function or an attribute, known by its name: how it is written may change. It is switched off as `switch_off.py` says, in
the tests and in whatever they start. First each test is run on the code as it is, and must pass. What the tests said goes to
standard output and into `docs/developers/promises.md`; the exit code is 1 where a test does not see that its protection is off.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from switch_off import (
    Replacement,
    becomes,
    comes_late,
    counts_one_fewer,
    does_nothing,
    gets,
    has_too,
    holds_nothing,
    lacks,
    raises_again,
    returns,
    returns_its,
    switch_off,
)

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
PAGE = ROOT / "docs" / "developers" / "promises.md"
TIMEOUT_S = 900.0  # of one run of pytest
VARIABLE = "PROTECTIONS_OFF"  # names of protections, with commas between them
NOT_RUN = "not run since"


@dataclass(frozen=True)
class Protection:
    """Something that keeps a promise.

    Attributes:
      promise: What a user may rely on.
      test: pytest's name of the test that watches over it; its file is somewhere below `tests/`.
      place: `module:path` of the function or attribute that keeps it, or `FILE.toml:path` of a table.
      instead: What is put in its place; None takes a table out.
    """

    promise: str
    test: str
    place: str
    instead: Replacement | None

    @property
    def in_file(self) -> bool:
        """Whether it is a table of a TOML file."""
        return self.place.partition(":")[0].endswith(".toml")


def _loaded_whole(archive: Any, key: str) -> Any:
    import numpy as np

    with np.load(archive.filename) as file:
        return file[key]


_by_the_wall_clock = Replacement(
    "reads the clock on the wall", lambda was: lambda running: time.time() - running.started_ms / 1000
)
_in_local_time = Replacement(
    "takes UTC for local time", lambda was: lambda text: int(datetime.fromisoformat(text[:-1]).timestamp() * 1000)
)

# Requirement, or the fault in a word, and what is kept -> how.
PROTECTIONS = {
    "R1.lock": Protection("Studies started at once on an empty directory make one MLflow database",
        "test_faults.py::test_r01_studies_started_at_once_on_an_empty_directory[names0-1]",
        "lstm_bench.tracking.store:_alone", holds_nothing),
    "R2.budget": Protection("No trial runs twice, the budget is not overshot",
        "test_faults.py::test_r02_no_trial_runs_twice_and_none_vanishes",
        "lstm_bench.sweep.store.tally:Tally._n_left", gets(unfinished=0)),
    "R3.retry": Protection("A dead worker's trial runs again with the same parameters",
        "test_faults.py::test_r03_the_trial_of_a_killed_worker_runs_again_within_ten_seconds",
        "lstm_bench.core.vocabulary:RETRY_LIMITED", becomes(())),
    "R3.limit": Protection("... at most study.max_retry times",
        "test_faults.py::test_r03_a_trial_that_always_dies_fails_after_max_retry_and_the_sweep_ends",
        "lstm_bench.study.candidates:_deaths", counts_one_fewer),
    "R4.requeue": Protection("What a killed driver left running is queued again",
        "test_faults.py::test_r04_a_driver_killed_at_random_times_ends_at_the_exact_total[0-6]",
        "lstm_bench.sweep.store.trials:TrialStore.repair", returns(0)),
    "R4.orphans": Protection("Workers end when their driver is gone",
        "test_faults.py::test_r04_workers_in_the_midst_of_work_end_with_their_driver",
        "lstm_bench.launcher.runner:end_with_driver", does_nothing),
    "R5.interrupt": Protection("A Ctrl-C lets what runs finish",
        "test_faults.py::test_r05_one_interrupt_lets_what_runs_finish",
        "lstm_bench.launcher.event_loop:Loop._signal", does_nothing),
    "R5.grace": Protection("... and a second one, or a deadline, ends it and queues it again",
        "test_faults.py::test_r05_what_does_not_finish_is_queued_again[twice]",
        "lstm_bench.launcher.event_loop:Loop._is_grace_over", returns(False)),
    "R5.uncounted": Protection("... without counting",
        "test_faults.py::test_r05_what_does_not_finish_is_queued_again[term]",
        "lstm_bench.core.vocabulary:RETRY_UNLIMITED", lacks("interrupted")),
    "R5.notice": Protection("It is said at once, whatever the driver waits for",
        "test_faults.py::test_r05_a_driver_that_waits_for_mlflow_hears_an_interrupt_all_the_same",
        "lstm_bench.launcher.event_loop:Loop._say_at_once", comes_late(8)),
    "R5.sigterm": Protection("SIGTERM is a Ctrl-C before the first trial too",
        "test_faults.py::test_r05_sigterm_before_the_first_trial_is_an_interrupt",
        "lstm_bench.core.cli:_terminated", becomes(signal.SIG_DFL, "is SIG_DFL")),
    "R6.timeout": Protection("A stopped worker is given up after study.trial_timeout",
        "test_faults.py::test_r06_a_stopped_worker_is_waited_for_until_trial_timeout_and_no_longer",
        "lstm_bench.launcher.event_loop:Loop._kill_timed_out", does_nothing),
    "R6.stale": Protection("What it says after that is nobody's",
        "test_event_loop.py::test_events_of_tasks_that_are_gone_are_ignored",
        "lstm_bench.launcher.event_loop:Loop._is_running", returns(True)),
    "R7.whole": Protection("A disk that was full while a study was made leaves no half of it",
        "test_faults.py::test_r07_a_full_disk_is_one_line_and_what_was_finished_is_kept",
        "lstm_bench.sweep.store.coordinator:_make_file", does_nothing),
    "R7.line": Protection("A database that cannot be written is one line and exit 4",
        "test_faults.py::test_r07_a_full_disk_is_one_line_and_what_was_finished_is_kept",
        "lstm_bench.sweep.store.database:guarded", holds_nothing),
    "R8.study": Protection("A file that is no sound study is left alone",
        "test_trials.py::test_a_file_that_is_no_sound_study_is_refused_and_left_alone",
        "lstm_bench.sweep.store.database:check_file", does_nothing),
    "R8.mlflow": Protection("MLflow's corrupt database is left alone",
        "test_client.py::test_a_corrupt_store_is_refused_and_left_as_it_is",
        "lstm_bench.tracking.store:check_sqlite", does_nothing),
    "R8.tail": Protection("A torn last line is cut off and kept aside",
        "test_columns.py::test_a_torn_last_line_is_cut_off_and_kept_aside",
        "lstm_bench.core.fileio:_cut_torn_tail", does_nothing),
    "R9.folder": Protection("One driver per study, also while it is stopped; a dead one holds nothing",
        "test_faults.py::test_r09_a_second_driver_is_refused_and_a_dead_one_holds_nothing",
        "lstm_bench.core.locks:_flocked", returns(True)),
    "R9.url": Protection("... also of a sqlite file that drivers in several folders are given",
        "test_faults.py::test_r09_a_sqlite_file_named_by_a_url_has_one_driver_whatever_the_folder",
        "lstm_bench.core.locks:hold_database", holds_nothing),
    "R10.config": Protection("Another direction, metric, space or training is refused",
        "test_faults.py::test_r10_a_resume_of_something_else_is_refused_and_writes_nothing[direction]",
        "lstm_bench.study.resume:changed", returns([])),
    "R10.bound": Protection("Another bound is refused",
        "test_faults.py::test_r10_a_resume_of_something_else_is_refused_and_writes_nothing[bound]",
        "lstm_bench.study.resume:MAY_CHANGE", has_too("study.space")),
    "R10.data": Protection("Other data is refused",
        "test_faults.py::test_r10_a_resume_of_something_else_is_refused_and_writes_nothing[data]",
        "lstm_bench.study.resume:_other_data", returns([])),
    "R11.resume": Protection("Interrupted and resumed, a sweep suggests the same",
        "test_faults.py::test_r11_an_interrupted_sweep_suggests_what_an_uninterrupted_one_does",
        "lstm_bench.sweep.store.tally:_is_suggestion", returns(True)),
    "R11.start": Protection("Workers that start together start at different points",
        "test_faults.py::test_r11_workers_that_start_together_start_at_different_points",
        "lstm_bench.sweep.store.suggestions:Suggestions.sampler", gets(suggestion=0)),
    "R12.outage": Protection("MLflow's outage is a warning",
        "test_client.py::test_an_outage_is_one_warning_and_costs_seconds",
        "lstm_bench.tracking.client:Tracking._warn", raises_again),
    "R13.nested": Protection("Every run is under its study's",
        "test_client.py::test_every_trial_is_a_nested_run_with_its_state_curves_and_parameters",
        "lstm_bench.tracking.run_writer:RunWriter.tags", lacks("mlflow.parentRunId")),
    "R14.ended": Protection("Nothing is left RUNNING in MLflow",
        "test_faults.py::test_r14_nothing_is_left_running_in_either_store_once_the_same_command_ran_again[False]",
        "lstm_bench.tracking.live:Live.finish", does_nothing),
    "R15.host": Protection("The UI is on this machine alone",
        "test_ui.py::test_another_host_is_refused",
        "lstm_bench.ui:is_local", returns(True)),
    "R16.password": Protection("No password is stored",
        "test_trials.py::test_no_password_is_stored",
        "lstm_bench.core.configuration:redacted_config", returns_its("config")),
    "R17.name": Protection("A name is a folder of its own",
        "test_validate.py::test_a_name_that_is_no_folder_of_its_own_is_refused",
        "lstm_bench.sweep.validate:NAME", becomes(re.compile(".*", re.DOTALL), "is any text")),
    "R18.pickle": Protection("No pickle is loaded",
        "test_arrays.py::test_pickles_in_npz_are_never_loaded",
        "lstm_bench.data.npz:check_npy", does_nothing),
    "R19.data": Protection("Data is what was published, or refused",
        "test_dataset.py::test_corrupt_mnist_is_one_line_with_the_file_and_never_a_fallback[another label]",
        "lstm_bench.data.images:_verify", does_nothing),
    "R20.exception": Protection("A trial's own exception fails the trial alone",
        "test_faults.py::test_r20_a_bad_trial_fails_with_its_reason_and_the_sweep_goes_on",
        "lstm_bench.training.tasks:_failed", raises_again),
    "R20.nan": Protection("... and so does a loss that is not a number",
        "test_faults.py::test_r20_a_bad_trial_fails_with_its_reason_and_the_sweep_goes_on",
        "lstm_bench.training.tasks:_diverged", raises_again),
    "R20.many": Protection("More bad trials than study.max_failed end the sweep",
        "test_faults.py::test_r20_more_bad_trials_than_allowed_end_the_sweep[nan]",
        "lstm_bench.sweep.driver:Driver.check_failures", does_nothing),
    "R21.key": Protection("An unknown key is refused with the nearest",
        "test_validate.py::test_an_unknown_key_is_refused_with_the_nearest",
        "lstm_bench.core.configuration:_refuse_unknown", does_nothing),
    "R22.conf": Protection("The wheel has its configuration with it",
        "test_package.py::test_the_wheel_holds_the_package_and_its_conf_and_nothing_else",
        "pyproject.toml:tool.hatch.build.targets.wheel.force-include", None),
    "R23.colour": Protection("With NO_COLOR there are plain lines",
        "test_console.py::test_a_terminal_that_wants_no_colour_gets_plain_lines[NO_COLOR-1]",
        "lstm_bench.core.console:_may_colour", returns(True)),
    "R24.bytes": Protection("Same records, same reports",
        "test_report.py::test_same_records_same_bytes_whatever_the_environment",
        "lstm_bench.report.figures.style:_STYLE", lacks("svg.hashsalt")),
    "R25.node": Protection("What a lost node worked on is queued again",
        "test_ray.py::test_only_a_worker_that_dies_before_it_is_ready_on_a_living_node_speaks_against_the_installation",
        "lstm_bench.launcher.ray_launcher:RayLauncher._bury", returns([])),
    "R25.lost": Protection("... and what was lost on its way to a worker",
        "test_ray.py::test_a_task_that_is_lost_on_its_way_to_a_worker_has_died",
        "lstm_bench.launcher.ray_launcher:RayLauncher._arrived", returns([])),
    "shared.budget": Protection("Drivers that ask at once claim each slot of the budget once",
        "test_postgres.py::test_drivers_that_ask_all_at_once_claim_each_slot_of_the_budget_once",
        "lstm_bench.sweep.store.postgres:Shared._lock_study", does_nothing),
    "shared.given-up": Protection("What a driver says that was given up does not count beside what was run again",
        "test_postgres.py::test_a_driver_given_up_is_not_heard_of_what_others_run_again",
        "lstm_bench.sweep.store.trials:_is_given_up", returns(False)),
    "postgres.away": Protection("A server that is restarted is waited for",
        "test_postgres.py::test_a_sweep_outlasts_a_server_that_is_restarted_and_one_that_is_down_for_ten_seconds",
        "lstm_bench.sweep.store.postgres:away", returns(False)),
    "sync.points": Protection("sync tells no point of a curve twice",
        "test_sync.py::test_a_run_that_was_told_all_but_its_end_has_no_point_twice",
        "lstm_bench.tracking.run_writer:RunWriter.logged_points", returns(frozenset())),
    "sync.times": Protection("... and the times of the sweep, wherever it is given",
        "test_sync.py::test_times_are_those_of_the_sweep_in_any_time_zone[Asia/Tokyo]",
        "lstm_bench.tracking.records:since_1970_ms", _in_local_time),
    "archive.crash": Protection("A merge that crashed leaves the old state or the new one, whatever is merged next",
        "test_merge.py::test_a_crash_anywhere_leaves_the_old_state_or_the_new_one",
        "lstm_bench.merge:_set_aside", returns(())),
    "archive.member": Protection("What was checked is what is read",
        "test_arrays.py::test_a_member_without_npy_is_not_read_in_place_of_the_one_that_was_checked",
        "lstm_bench.data.npz:member_of", becomes(_loaded_whole, "is np.load(path)[key]")),
    "clock.forward": Protection("An hour forward ends nothing",
        "test_faults.py::test_a_clock_that_jumps_by_an_hour_changes_no_budget[1-trial]",
        "lstm_bench.launcher.event_loop:Running.elapsed_s", _by_the_wall_clock),
    "clock.back": Protection("An hour back prolongs nothing",
        "test_faults.py::test_a_clock_that_jumps_by_an_hour_changes_no_budget[-1-trial]",
        "lstm_bench.launcher.event_loop:Running.elapsed_s", _by_the_wall_clock),
    "clock.seed": Protection("A seed ends after it began",
        "test_faults.py::test_a_clock_that_jumps_by_an_hour_changes_no_budget[-1-replicate]",
        "lstm_bench.launcher.event_loop:Running.elapsed_s", _by_the_wall_clock),
    "clock.trial": Protection("... a trial too",
        "test_faults.py::test_a_clock_put_back_leaves_no_trial_that_ends_before_it_begins",
        "lstm_bench.core.clock:end_ms", returns_its("ended_ms")),
    "clock.study": Protection("... and the study's own run",
        "test_faults.py::test_a_clock_put_back_leaves_no_study_that_ends_before_it_begins",
        "lstm_bench.core.clock:end_ms", returns_its("ended_ms")),
    "read-only.start": Protection("A folder that cannot be written is one line, before anything starts",
        "test_faults.py::test_a_read_only_folder_is_said_in_one_line_before_anything_starts",
        "lstm_bench.core.locks:_unwritable", returns_its("error")),
    "read-only.later": Protection("One that becomes so ends the sweep in one line",
        "test_faults.py::test_a_folder_that_becomes_read_only_ends_the_sweep_and_the_same_command_goes_on",
        "lstm_bench.launcher.local:_Worker.in_service", returns(True)),
    "stopped-driver.late": Protection("It hears first what ended in time",
        "test_faults.py::test_a_stopped_driver_hears_first_what_ended_in_time",
        "lstm_bench.launcher.event_loop:_DRAIN_S", becomes(0.0)),
}  # fmt: skip


def switch_off_named() -> None:
    """Switches off what `PROTECTIONS_OFF` names. `sitecustomize.py` of a copy of the code calls it as Python starts."""
    off = [PROTECTIONS[name] for name in filter(None, os.environ.get(VARIABLE, "").split(","))]
    switch_off([(it.place, it.instead) for it in off if it.instead])


def copied(folder: Path) -> Path:
    """A copy of the code in a folder: what git knows of, and what it would be told of; and what reads `PROTECTIONS_OFF`."""
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
    here = str(folder / Path(__file__).parent.relative_to(ROOT))
    (folder / "sitecustomize.py").write_text(
        f"import sys\nsys.path.insert(0, {here!r})\nimport protections\nsys.path.remove({here!r})\n"
        "protections.switch_off_named()\n"
    )
    return folder


def located(folder: Path, test: str) -> str:
    """Where a test is in a checkout: a file of that name is in one folder of `tests/` alone."""
    file, *names = test.split("::")
    (path,) = (folder / "tests").rglob(file)
    return "::".join([str(path.relative_to(folder)), *names])


def without_table(text: str, path: str) -> str:
    """A TOML document without one of its tables."""
    return re.sub(rf"^\[{re.escape(path)}\]\n[^\[]*", "", text, flags=re.MULTILINE)


def said(folder: Path, tests: list[str], off: str = "") -> tuple[int, str]:
    """pytest's exit code for some tests in a copy of the code, and the first line of what it found wrong."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=short", "-p", "no:cacheprovider", "-m", "not gpu"]
    try:
        done = subprocess.run(
            [*command, *(located(folder, test) for test in tests)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", VARIABLE: off},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return -1, f"nothing for {TIMEOUT_S:g} s"
    found = re.findall(r"^E +(.+)$", done.stdout, re.MULTILINE)
    return done.returncode, (found or [" ".join(done.stdout.split()[-30:])])[0]


def said_without(folder: Path, name: str) -> tuple[int, str]:
    """As `said`, of the test of a protection that is switched off."""
    protection = PROTECTIONS[name]
    if not protection.in_file:
        return said(folder, [protection.test], off=name)
    file, _, path = protection.place.partition(":")
    whole = (folder / file).read_text()
    (folder / file).write_text(without_table(whole, path))
    try:
        return said(folder, [protection.test])
    finally:
        (folder / file).write_text(whole)


def shown(text: str, limit: int = 110) -> str:
    """A text as a cell of a table."""
    # No path of the machine that it ran on.
    text = re.sub(r"/\S*/(pytest-\d+/|(?=python\b)|lstm_bench-\w+/)", "", " ".join(text.split())).replace("|", "\\|")
    return f"`{text[:limit]}{'...' if len(text) > limit else ''}`"


def row(name: str, result: tuple[str, str]) -> str:
    """A row of the table: a protection, the verdict on its test, and what the test said."""
    it = PROTECTIONS[name]
    instead = it.instead.words if it.instead else "is gone"
    return f"| {' | '.join([name, it.promise, it.test, f'`{it.place}`', instead, *result])} |"


def page(text: str, results: Mapping[str, tuple[str, str]]) -> str:
    """`promises.md` brought up to date: results of now, and those of earlier runs of what has not changed since.

    Args:
      text: The page as it is. What stands before its table is written by hand, and stays.
      results: Of a protection, the verdict on its test and what the test said.
    """
    head, _, table = text.partition("| | promise")
    known: dict[str, tuple[str, str]] = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and cells[0] in PROTECTIONS and row(cells[0], (cells[-2], cells[-1])) == line:
            known[cells[0]] = cells[-2], cells[-1]
    rows = [row(name, results.get(name) or known.get(name) or (NOT_RUN, "")) for name in PROTECTIONS]
    titles = "| | promise | test | what keeps it | without it, that | the test then | it said |"
    return "\n".join([f"{head}{titles}", "|---" * 7 + "|", *rows, ""])


def chosen(names: Iterable[str]) -> list[str]:
    """Names of the protections that are meant by words; all for none."""
    words = set(names)
    exact = [n for n, it in PROTECTIONS.items() if words & {n, n.partition(".")[0], *it.test.split("::")}]
    parts = [n for n, it in PROTECTIONS.items() if any(word in n or word in it.test for word in words)]
    return (exact or parts) if words else list(PROTECTIONS)


def main(names: list[str]) -> int:
    """Prints a row for each protection and writes the page; 1 where a test passed without its protection, or failed with it."""
    results: dict[str, tuple[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="lstm_bench-") as place:
        folder = copied(Path(place))
        green: dict[str, tuple[int, str]] = {}
        for name in chosen(names):
            test = PROTECTIONS[name].test
            if test not in green:
                green[test] = said(folder, [test])
            code, line = green[test]
            verdict = "FAILS WITH IT TOO"
            if not code:
                code, line = said_without(folder, name)
                verdict = {0: "GREEN", 1: "red"}.get(code, f"COULD NOT RUN ({code})")
            results[name] = verdict, shown(line)
            print(row(name, results[name]), flush=True)
    PAGE.write_text(page(PAGE.read_text(), results))
    return int(any(verdict != "red" for verdict, _ in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
