"""The documents under test: commands compose, tables are those of the records, links resolve, steps do what they say."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from conftest import Command, series

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DATA = (ROOT / "docs" / "guide" / "data.md").read_text()
ADDING = (ROOT / "docs" / "developers" / "adding.md").read_text()
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "sweeps/README.md")), *PAGES]
COMPOSED = ("sweep", "kernels", "doctor", "look", "leak")  # commands whose options are Hydra's


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


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


def prose(path: Path) -> str:
    """A document without its code blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """What a link into a document may end with, as git hosts make it from the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> list[tuple[Path, str]]:
    """Files that a document points to, and the anchors in them."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    parts = [target.partition("#") for target in targets if "://" not in target]
    return [((path.parent / file).resolve() if file else path, anchor) for file, _, anchor in parts]


# Without the command that needs a family which another test adds.
SHOWN = sorted(
    {line for path in DOCUMENTS for line in commands(path.read_text())} - {block(ADDING, "family: command").strip()}
)


def lines_of(name: str, shown: Sequence[str] = SHOWN) -> list[list[str]]:
    """Arguments of every use of a command; a line for each of several studies."""
    found = []
    for line in shown:
        words = shlex.split(line)
        if words[2] != f"lstm_bench.{name}" or "--help" in words:
            continue
        arguments = [word for word in words[3:] if word not in ("-m", "--cfg", "job")]
        studies = arguments[0].removeprefix("+study=").split(",") if arguments[:1] and "+study=" in arguments[0] else []
        found += [[f"+study={study}", *arguments[1:]] for study in studies] or [arguments]
    return found


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("sweep", commands(README), id="sweep of README"),
        # Half a minute: of CI are those of the README alone.
        *(pytest.param(name, SHOWN, marks=[pytest.mark.long] * (name == "sweep"), id=name) for name in COMPOSED),
    ],
)
def test_commands_in_the_docs_compose(tmp_path: Path, name: str, shown: list[str]) -> None:
    lines = [[*line, "--cfg", "job"] for line in lines_of(name, shown)]
    assert lines
    for done in series(tmp_path, name, lines):
        assert done.returncode == 0, (done.args, done.stderr)


@pytest.mark.parametrize("name", ["report", "ui", "predict", "repeat", "sync", "export", "merge"])
def test_options_in_the_docs_are_those_of_the_help(command: Command, name: str) -> None:
    used = {argument.partition("=")[0] for line in lines_of(name) for argument in line}
    known = set(re.findall(r"([\w.]+)=", command(name, "--help").stdout))
    assert lines_of(name) and used <= known


def test_the_readme_shows_each_command_of_the_house() -> None:
    from lstm_bench.__main__ import COMMANDS

    shown = " ".join(commands(README))
    for name in COMMANDS:
        assert f"python -m lstm_bench.{name}" in shown


def test_the_main_and_test_commands_are_one_line_each() -> None:
    for name in ("command: main", "command: test"):
        assert len(block(README, name).strip().splitlines()) == 1


def test_the_readme_stays_short() -> None:
    assert len(README.encode()) < 8000, "the rest belongs to docs/"


def test_what_the_readme_shows_of_a_sweep_is_part_of_what_the_guide_shows() -> None:
    whole = block((ROOT / "docs" / "guide" / "sweeps.md").read_text(), "output: sweep").splitlines()
    for line in block(README, "output: main").splitlines():
        assert line in whole


def test_the_readme_table_is_what_the_published_records_give() -> None:
    from lstm_bench.report.pages import index
    from lstm_bench.report.render import markdown
    from lstm_bench.report.sources import records
    from lstm_bench.study import reader

    shown = re.search(r"<!-- table -->\n(.*?)\n<!-- end of table -->", README, re.DOTALL)
    assert shown
    results = [records.load(folder, device) for folder, device in reader.places(ROOT / "sweeps" / "published")]
    results = [r for r in results if r.dataset == "mnist" and r.get("dataset.train_size") is None]  # on all of it
    assert shown.group(1).strip() == markdown.markdown(*index.short_table(results)).strip()


def test_the_kernels_of_the_guide_are_what_the_published_records_give() -> None:
    from lstm_bench.report.pages import kernel_findings
    from lstm_bench.report.render import markdown
    from lstm_bench.report.sources import benchmarks
    from lstm_bench.study import reader

    guide = (ROOT / "docs" / "guide" / "kernels.md").read_text()
    shown = re.search(r"<!-- kernels -->\n(.*?)\n<!-- end of kernels -->", guide, re.DOTALL)
    assert shown
    published = reader.places(ROOT / "sweeps" / "published", benchmarks=True)
    (tutorial,) = [benchmarks.load(*place) for place in published if place[0].name == "kernels-tutorial"]
    rows = [{str(key): value for key, value in row.items()} for row in tutorial.tables["cells.csv"].to_dict("records")]
    made = markdown.markdown(*kernel_findings.arm_table(rows, "lstm-1x64-t28-f28-b64-float32"))
    assert shown.group(1).strip() == made.strip()


@pytest.mark.parametrize("path", DOCUMENTS, ids=names(DOCUMENTS))
def test_links_lead_to_files_and_headings_that_exist(path: Path) -> None:
    for file, anchor in links(path):
        assert file.exists(), file
        assert not anchor or anchor in anchors(file), f"{file}#{anchor}"


def test_every_page_is_reached_from_the_index() -> None:
    reached, todo = set(), [ROOT / "docs" / "index.md"]
    while todo:
        path = todo.pop()
        reached.add(path)
        todo += [file for file, _ in links(path) if file in PAGES and file not in reached]
    assert reached == set(PAGES)


def test_the_reference_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_reference.py"), "check=true"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_option_and_column_has_a_meaning() -> None:
    for name in ("configuration", "columns"):
        text = (ROOT / "docs" / "reference" / f"{name}.md").read_text()
        assert not re.findall(r"^.*\|\s*\|$", text, re.MULTILINE)


def script(name: str) -> None:
    """Runs the one Python block of a page."""
    (text,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / name).read_text(), re.DOTALL)
    exec(compile(text, name, "exec"), {})


def test_the_script_of_the_tutorial_writes_a_file_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lstm_bench.data import user_files

    monkeypatch.chdir(tmp_path)
    script("tutorial.md")
    x, y = user_files.read(Path("new.npz"), (8, 8))
    assert len(x) == 20 and y is not None


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of the guide on data, without `python -m`; the table that its script writes is in the working folder."""
    monkeypatch.chdir(tmp_path)
    script("guide/data.md")
    return [shlex.split(line)[2:] for line in re.findall(r"^python -m .*", DATA, re.MULTILINE)]


@pytest.mark.long
def test_a_table_is_looked_at_as_the_docs_show(command: Command, tmp_path: Path, table: list[list[str]]) -> None:
    first = table[0]
    looked = command(first[0].partition(".")[2], *first[1:], HOME=str(tmp_path), COLUMNS="80")
    assert looked.returncode == 0, looked.stderr
    assert [line.rstrip() for line in looked.stdout.splitlines()] == block(DATA, "output: look").splitlines()
    (unequal,) = (line for line in table if "dataset.path=unequal.csv" in line)
    looked = command(unequal[0].partition(".")[2], *unequal[1:], HOME=str(tmp_path), COLUMNS="80")
    assert looked.returncode == 0, looked.stderr
    shown = [line.rstrip() for line in looked.stdout.splitlines()]
    assert [line for line in block(DATA, "output: unequal").splitlines() if line not in shown] == []


@pytest.mark.long  # CI: a sweep, its report and predictions in `test_own_task.py`
def test_a_table_is_searched_repeated_and_predicted_as_the_docs_show(
    command: Command, tmp_path: Path, table: list[list[str]]
) -> None:
    sweep, predict = table[2], table[4]
    small = ("study.n_trials=1", "study.replicates=1", "kernel=generic", "kernel.probe=false", "launcher.workers=1")
    done = command("sweep", *sweep[1:], *small, "tracking=none", "dataset.resplit=true")
    assert done.returncode == 0, done.stderr
    assert "each seed draws its training and validation data; the 80 test sequences stay" in done.stdout
    again = command("repeat", "study=mine", "seed=0")  # the draw of that seed, or its figures would be others
    assert again.returncode == 0 and "equal: every figure is that of the record" in again.stdout, again.stdout
    assert "  warning   classes are unbalanced: fall has " in done.stdout
    facts = json.loads((tmp_path / "sweeps" / "mine" / "environment.json").read_text())["dataset"]
    assert facts["classes"] == ["fall", "run", "walk"] and any("unbalanced" in note for note in facts["notes"])
    predicted = command("predict", *predict[1:])
    assert predicted.returncode == 0, predicted.stderr
    shown = [line.split() for line in block(DATA, "output: predict").splitlines()]
    came = [line.split() for line in predicted.stdout.splitlines()]
    assert came[:2] == shown[:2] and [row[:2] for row in came[2:8]] == [row[:2] for row in shown[2:8]]
    head = (tmp_path / "new-predicted.csv").read_text().splitlines()[0]
    assert head.endswith("probability_fall,probability_run,probability_walk")
    assert " most frequent class or mean: test accuracy " in done.stdout
    fitted = list(csv.DictReader((tmp_path / "sweeps" / "mine" / "controls.csv").read_text().splitlines()))
    assert [row["control"] for row in fitted] == ["trivial", "linear", *["minirocket"] * 5]
    assert all(row["state"] == "COMPLETE" and float(row["test_accuracy"]) > 0.1 for row in fitted)
    by_control = command("predict", *predict[1:3], "control=minirocket")
    assert by_control.returncode == 0 and by_control.stdout.startswith("mine: control minirocket trained on my, "), (
        by_control.stderr
    )
    leak = re.findall(r"^python -m lstm_bench.leak .*", (ROOT / "docs/guide/controls.md").read_text(), re.MULTILINE)[0]
    measured = command("leak", *shlex.split(leak)[3:])
    assert measured.returncode == 0 and "under the random split the accuracy of a small" in measured.stdout, (
        measured.stderr
    )


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


def copied(folder: Path) -> None:
    """Puts the package and its configuration into a folder."""
    for name in ("lstm_bench", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


def python(folder: Path, *arguments: str) -> str:
    """What Python prints that imports the package in a folder."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def add_family(folder: Path) -> None:
    """As the page on adding says."""
    package = folder / "lstm_bench" / "model"
    with (package / "families" / "recurrent.py").open("a") as file:
        file.write(block(ADDING, "family: function"))
    with (package / "__init__.py").open("a") as file:
        file.write(block(ADDING, "family: name"))
    (folder / "conf" / "model" / "bigru.yaml").write_text(block(ADDING, "family: yaml"))


def add_layer(folder: Path) -> None:
    """As the page on adding says."""
    package = folder / "lstm_bench" / "model"
    with (package / "layers.py").open("a") as file:
        file.write(block(ADDING, "layer: function"))
    text, before = (package / "kernel.py").read_text(), ""
    for line in block(ADDING, "layer: edit").splitlines():
        if line.startswith("+"):
            assert text.count(f"{before}\n") == 1
            text = text.replace(f"{before}\n", f"{before}\n{line[1:]}\n")
        before = line[1:]
    (package / "kernel.py").write_text(text)


@pytest.mark.slow
def test_a_family_costs_one_function_and_one_yaml_and_a_layer_its_name_in_two_tables(tmp_path: Path) -> None:
    copied(tmp_path)
    add_family(tmp_path)
    add_layer(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import keras\n"
        "def mine(input_shape, n_classes, irnn, *, units=8):\n"
        "    return keras.Sequential([keras.Input(input_shape), irnn(units), keras.layers.Dense(n_classes)])\n"
    )
    code = (
        "import os\n"
        "os.environ['KERAS_BACKEND'] = 'torch'\n"
        "from hydra import compose, initialize_config_dir\n"
        "from lstm_bench.core import configuration, schema\n"
        "from lstm_bench.model import build\n"
        "with initialize_config_dir(version_base='1.3', config_dir=os.path.abspath('conf')):\n"
        "    found = configuration.load(compose('sweep', ['+study=single', 'model=bigru']), schema.Sweep)\n"
        "print(found['model']['_target_'], build.build(found['model'], (8, 4), 3, 'generic')[1])\n"
        "for kernel in ('generic', 'unrolled'):\n"
        "    model, lengths = build.build({'_target_': 'mine.mine'}, (8, 4), 3, kernel)\n"
        "    print(model.count_params(), lengths)\n"
    )
    # kernel 4 x 8, recurrent kernel 8 x 8, bias 8, head 8 x 3 + 3; one recurrent layer, over 8 timesteps
    said = python(tmp_path, "-c", code).splitlines()
    assert said == ["lstm_bench.model.bigru [8, 8]", *["131 [8]"] * 2]


@pytest.mark.long
def test_a_family_that_was_added_is_searched(tmp_path: Path) -> None:
    copied(tmp_path)
    add_family(tmp_path)
    line = shlex.split(block(ADDING, "family: command"))
    small = ("study.n_trials=1", "study.replicates=1", "train.epochs=1", "kernel.probe=false", "launcher.workers=1")
    small += ("kernel=generic", "tracking=none")  # to choose a kernel and to store a model take longer than to train
    assert "sweeps/bigru/" in python(tmp_path, *line[1:], *small)
    assert (tmp_path / "sweeps" / "bigru" / "replicates.csv").exists()
