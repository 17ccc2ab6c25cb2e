"""The documents under test: commands compose, tables are those of reports/, CONTRIBUTING's family works as written."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import Command

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def block(text: str, name: str) -> str:
    """The code block after `<!-- name -->`."""
    found = re.search(rf"<!-- {re.escape(name)} -->\n```\w*\n(.*?)```", text, re.DOTALL)
    assert found, f"no block {name}"
    return found.group(1)


def commands(text: str) -> list[str]:
    """Every `python -m lstm_bench.NAME ...` in the code blocks of a document."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    found = re.findall(r"python -m lstm_bench\.\w+[^\n&#]*", "\n".join(blocks))
    return sorted({command.strip() for command in found})


@pytest.mark.parametrize("line", [c for c in commands(README) if "lstm_bench.sweep" in c])
def test_sweep_commands_of_the_readme_compose(command: Command, tmp_path: Path, line: str) -> None:
    arguments = [argument for argument in shlex.split(line)[3:] if argument != "-m"]
    choices = arguments[0].removeprefix("+study=").split(",") if arguments[0].startswith("+study=") else []
    for study in choices or [None]:
        first = [f"+study={study}", *arguments[1:]] if study else arguments
        done = command("sweep", *first, "--cfg", "job")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", [c for c in commands(README) if "lstm_bench.kernels" in c])
def test_kernel_commands_of_the_readme_compose(command: Command, line: str) -> None:
    done = command("kernels", *shlex.split(line)[3:], "--cfg", "job")
    assert done.returncode == 0, done.stderr


def test_the_readme_shows_each_command_of_the_house() -> None:
    shown = " ".join(commands(README))
    for path in sorted((ROOT / "lstm_bench").glob("*.py")):
        if 'if __name__ == "__main__"' in path.read_text() and path.stem not in ("worker", "__main__"):
            assert f"python -m lstm_bench.{path.stem}" in shown


def test_the_main_and_test_commands_are_one_line_each() -> None:
    for name in ("command: main", "command: test"):
        assert len(block(README, name).strip().splitlines()) == 1


def test_the_readme_table_is_what_the_published_records_give() -> None:
    from lstm_bench.report.pages import comparison
    from lstm_bench.report.render import markdown
    from lstm_bench.report.sources import records

    shown = re.search(r"<!-- table -->\n(.*?)\n<!-- end of table -->", README, re.DOTALL)
    assert shown
    results = [records.load(folder, device) for folder, device in records.find(ROOT / "sweeps" / "published")]
    results = [r for r in results if r.dataset == "mnist" and r.get("dataset.train_size") is None]  # on all of it
    assert shown.group(1).strip() == markdown.markdown(*comparison.short_table(results)).strip()


def test_the_readme_kernels_are_what_the_published_records_give() -> None:
    from lstm_bench.report.pages import kernel_findings
    from lstm_bench.report.render import markdown
    from lstm_bench.report.sources import records

    shown = re.search(r"<!-- kernels -->\n(.*?)\n<!-- end of kernels -->", README, re.DOTALL)
    assert shown
    published = records.find_benchmarks(ROOT / "sweeps" / "published")
    (tutorial,) = [records.load_benchmark(*place) for place in published if place[0].name == "kernels-tutorial"]
    rows = [{str(key): value for key, value in row.items()} for row in tutorial.tables["cells.csv"].to_dict("records")]
    made = markdown.markdown(*kernel_findings.arm_table(rows, "lstm-1x64-t28-f28-b64-float32"))
    assert shown.group(1).strip() == made.strip()


def test_files_that_documents_point_to_exist() -> None:
    for text in (README, CONTRIBUTING):
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / target).exists(), target


def test_the_citation_is_valid_and_of_this_version() -> None:
    """The fields that the schema of version 1.2.0 requires, and the kinds of those that are used."""
    import lstm_bench

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == lstm_bench.__version__
    assert citation["type"] == "software" and citation["license"] == "Apache-2.0"
    assert all(isinstance(citation[key], str) and citation[key] for key in ("title", "message"))
    assert citation["authors"] and all(set(author) <= {"name", "website"} for author in citation["authors"])
    known = {"cff-version", "title", "message", "type", "version", "license", "authors", "keywords"}
    assert set(citation) <= known
    assert "[CITATION.cff](CITATION.cff)" in README


@pytest.mark.slow
def test_contributings_family_costs_one_function_and_one_yaml(tmp_path: Path) -> None:
    for name in ("lstm_bench", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "lstm_bench" / "model.py").open("a") as file:
        file.write(block(CONTRIBUTING, "family: function"))
    (tmp_path / "conf" / "model" / "bigru.yaml").write_text(block(CONTRIBUTING, "family: yaml"))
    line = shlex.split(block(CONTRIBUTING, "family: command"))
    small = ("study.n_trials=1", "study.replicates=1", "train.epochs=1", "kernel.probe=false", "launcher.workers=1")
    small += ("kernel=generic", "tracking=none")  # to choose a kernel and to store a model take longer than to train
    done = subprocess.run(
        [sys.executable, *line[1:], *small],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "sweeps/bigru/" in done.stdout
    assert (tmp_path / "sweeps" / "bigru" / "replicates.csv").exists()
