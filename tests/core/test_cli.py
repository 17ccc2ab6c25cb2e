"""Values that Hydra's grammar does not take as they stand, and what a person is told about the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from lstm_bench.core import composition, overrides
from lstm_bench.core.configuration import conf_dir, load
from lstm_bench.core.schema import Sweep
from lstm_bench.sweep import command as sweep

NAMES = [
    "run=3.npz",
    "données.npz",
    "数据.npz",
    "x[1].npz",
    "a#b.npz",
    "data (1).npz",
    "it's,a{b}.npz",
    'say "a".npz',
    "a:b%c~d!e&f+g$h|i;j<k>.npz",
    " led by a blank",
    "a\\b'c\\",
    "'",
    "'a'b'",
    "3",
    "true",
    "~/a b.npz",
]


def read(override: str) -> object:
    """What Hydra takes the value of an override for."""
    (argument,) = overrides.arguments([override])
    return OverridesParser.create().parse_override(argument).value()


@pytest.mark.parametrize(
    "key", ["dataset.path", "+dataset.dir", "++storage.url", "dataset.lengths", "study.description"]
)
@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_taken_as_it_stands(key: str, name: str) -> None:
    assert read(f"{key}={name}") == name


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("'a b.npz'", "a b.npz"),
        ('"a=b.npz"', "a=b.npz"),
        (r"a\=b\ c.npz", "a=b c.npz"),
        ("null", None),
        ("", ""),
        ("${oc.env:HOME}/a b.npz", "${oc.env:HOME}/a b.npz"),
        (r"\${a}.npz", r"\${a}.npz"),  # OmegaConf takes the backslash for what it is: ${a}.npz
    ],
)
def test_a_path_that_hydra_can_read_keeps_its_meaning(value: str, want: str | None) -> None:
    assert read(f"dataset.path={value}") == want


@pytest.mark.parametrize("key", ["dataset.features", "dataset.target"])
def test_a_list_of_columns_is_one_whatever_they_are_called(key: str) -> None:
    assert read(f"{key}=[ax,Power (W), a&b]") == ["ax", "Power (W)", "a&b"]
    assert read(f'{key}=[ax,"Power (W), mean"]') == ["ax", "Power (W), mean"]


def test_several_paths_are_asked_for_by_choice() -> None:
    assert overrides.arguments(["-m", "dataset.path=choice(a.npz,b.npz)"]) == ["-m", "dataset.path=choice(a.npz,b.npz)"]


def test_other_values_are_left_to_hydra() -> None:
    given = ["model.units=32", "train.optimizer=adam", "study.name=a b"]
    assert overrides.arguments(given) == given


@pytest.mark.parametrize("name", [*NAMES, r"\${a}.npz"])
def test_a_path_comes_into_the_configuration(name: str) -> None:
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        line = overrides.arguments(["+study=smoke", "dataset=npz", f"dataset.path={name}"])
        found = load(compose("sweep", line), Sweep)["dataset"]["path"]
    assert found == name.replace("\\$", "$")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("study.name=a=b", "study.name=a=b: unreadable. A text is quoted twice: 'study.name=\"a=b\"'"),
        ("study.name=é", "study.name=é: unreadable. A text is quoted twice: 'study.name=\"é\"'"),
        (
            "study.name=it's",
            "study.name=it's: unreadable. A text is quoted twice: 'study.name=\"it'\"'\"'s\"'",
        ),
        (
            "study.name=a,b",
            "study.name=a,b: several values, which need -m. A text is quoted twice: 'study.name=\"a,b\"'",
        ),
        (
            "study.name=f(1)",
            "study.name=f(1): 'f(1)': Unknown function 'f'. A text is quoted twice: 'study.name=\"f(1)\"'",
        ),
        (
            "+study=single,stacked",
            "+study=single,stacked: several values, which need -m. Write -m +study=single,stacked",
        ),
        ("study=single,stacked", "study=single,stacked: several values, which need -m. Write -m +study=single,stacked"),
        ("model=single,stacked", "model=single,stacked: several values, which need -m. Write -m model=single,stacked"),
        (
            "train.epochs=range(1,3)",
            "train.epochs=range(1,3): several values, which need -m. Write -m 'train.epochs=range(1,3)'",
        ),
        (
            "model=choice(gru,mlp)",
            "model=choice(gru,mlp): several values, which need -m. Write -m 'model=choice(gru,mlp)'",
        ),
        ("a b=3", "a b=3: expected KEY=VALUE"),
        *(
            (f"sampler={value}", f"sampler: expected one of cmaes, grid, qmc, random, tpe, received '{value}'")
            for value in ("null", "3", "[3]", "[tpe,null]", "{a:1}", "true", "[true]", "")
        ),
        ("+sampler={1:2}", "unknown option sampler.1. Valid: n_startup_trials, name"),
        (
            "sampler=[tpe,tqe]",
            "sampler=tqe: there is no such sampler. Did you mean tpe? Valid: cmaes, grid, qmc, random, tpe",
        ),
        ("+study=a=b", "+study=a=b: unreadable. A text is quoted twice: '+study=\"a=b\"'"),
    ],
)
def test_what_hydra_cannot_read_is_one_line_with_its_quoting(
    argument: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep.main(["+study=smoke", argument]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"


def test_a_group_names_the_choices_of_a_folder_that_was_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sampler").mkdir()
    (tmp_path / "sampler" / "mine.yaml").write_text("name: tpe\n")
    assert sweep.main(["--config-dir", str(tmp_path), "+study=smoke", "sampler=3"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: sampler: expected one of cmaes, grid, mine, qmc, random, tpe, rec"
    )


HEAD = "# @package _global_\n"
HEADLESS = ": does it begin with # @package _global_? That is to be its first line"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            f"{HEAD}train:\n\tepochs: 1\n",
            ", line 3, column 1: found character '\\t' that cannot start any token. YAML is indented by blanks.",
        ),
        (f"{HEAD}study: [a\n", ", line 3, column 1: expected ',' or ']', but got '<stream end>'"),
        (f"{HEAD}study:\n  name: a\n  name: b\n", ", line 4, column 3: found duplicate key name"),
        (f"{HEAD}# d\xe9j\xe0\n".encode("latin-1"), ", line 2, column 4: expected UTF-8, received '0xe9'"),
        (f"{HEAD}- a\n- b\n", ", line 1: expected a mapping of keys to values, received 'a list'"),
        ("study:\n  name: a\n", HEADLESS),
        ("defaults:\n  - override /model: single\nstudy:\n  name: a\n", HEADLESS),
        (f"# My study.\n{HEAD}study:\n  name: a\n", HEADLESS),
        ("# @pakage _global_\nstudy:\n  name: a\n", HEADLESS),
        ("# @package _globl_\nstudy:\n  name: a\n", HEADLESS),
        ("# @package _global_ x\nstudy:\n  name: a\n", HEADLESS),
    ],
)
def test_a_fault_in_a_study_s_file_is_one_line_with_its_place(
    text: str | bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study" / "mine.yaml"
    path.parent.mkdir()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert sweep.main(["--config-dir", str(tmp_path), "+study=mine"]) == 2
    assert capsys.readouterr().err == f"error: {path}{said}\n"


@pytest.mark.parametrize("text", [f"\n{HEAD}study:\n  name: a\n", "name: a\n", ""])
def test_a_file_that_hydra_can_use_has_no_fault(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert composition.yaml_fault(path, is_global=True) is None


@pytest.mark.parametrize("chooses", [True, False])
def test_a_fault_in_a_family_s_file_is_named(chooses: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model" / "mine.yaml"
    path.parent.mkdir()
    path.write_text("units: {a\n")
    study = tmp_path / "study" / "other.yaml"  # names the family among its defaults
    study.parent.mkdir()
    study.write_text(f"{HEAD}defaults:\n  - override /model: mine\nstudy:\n  name: other\n")
    chosen = ["+study=smoke", "model=mine"] if chooses else ["+study=other"]
    assert sweep.main(["--config-dir", str(tmp_path), *chosen]) == 2
    assert capsys.readouterr().err == f"error: {path}, line 2, column 1: expected ',' or '}}', but got '<stream end>'\n"


def test_a_fault_in_a_file_that_is_not_used_is_no_matter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("units: {a\n")
    assert sweep.main(["--config-dir", str(tmp_path), "+study=smoke", "--cfg", "job"]) == 0


def test_a_fault_in_a_campaign_s_file_is_one_line_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "campaign" / "mine.yaml"
    path.parent.mkdir()
    path.write_text("studies: [smoke\n")
    assert sweep.main(["--config-dir", str(tmp_path), "+campaign=mine"]) == 2
    assert capsys.readouterr().err == f"error: {path}, line 2, column 1: expected ',' or ']', but got '<stream end>'\n"
